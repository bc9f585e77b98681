//! An output file that is either whole or not there.

use super::error::{CliError, Result};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A file to come. Its bytes are written under another name in the folder of the output, which then takes the place of the output.
#[derive(Debug)]
pub struct Staged {
    output: PathBuf,
    path: PathBuf,
}

impl Staged {
    /// Fails before any work is done where the output cannot be written, or where that would replace something else than a file of results: one of `inputs`,
    /// a folder, a device. A link is followed.
    ///
    /// # Errors
    /// If the output cannot or should not be written.
    pub fn create(output: &Path, inputs: &[&Path]) -> Result<Self> {
        let refuse = |what: &str| Err(CliError::input(format!("cannot write {}: {what}", output.display()), "give the path of a file that may be replaced"));
        if output.file_name().is_none_or(|name| name == "-") {
            return refuse("it names no file");
        }
        let target = fs::canonicalize(output).unwrap_or_else(|_| output.to_owned());
        if fs::metadata(&target).is_ok_and(|kind| !kind.is_file()) {
            return refuse(if target.is_dir() { "it is a folder" } else { "it is no ordinary file" });
        }
        if inputs.iter().any(|input| fs::canonicalize(input).is_ok_and(|input| input == target)) {
            return refuse("it is one of the inputs");
        }
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let path = target.with_file_name(format!(".{name}.{}", std::process::id()));
        File::create(&path).and_then(|_| fs::remove_file(&path)).map_err(|e| CliError::write(output, &e))?;
        Ok(Self { output: target, path })
    }

    /// Writes the bytes and gives the file its name.
    ///
    /// # Errors
    /// If it cannot be written; then nothing is left.
    pub fn finish(self, bytes: &[u8]) -> Result {
        let write = || {
            let mut file = File::create(&self.path)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&self.path, &self.output)
        };
        write().map_err(|e| {
            let _ = fs::remove_file(&self.path);
            CliError::write(&self.output, &e)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn whole_or_not_there() {
        let folder = std::env::temp_dir().join(format!("skipstone-staged-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let files = || fs::read_dir(&folder).unwrap().count();
        let output = folder.join("a.stone");
        drop(Staged::create(&output, &[]).unwrap());
        assert_eq!(files(), 0);
        Staged::create(&output, &[]).unwrap().finish(b"abc").unwrap();
        Staged::create(&output, &[]).unwrap().finish(b"abcd").unwrap();
        assert_eq!((files(), fs::read(&output).unwrap()), (1, b"abcd".to_vec()));
        assert_eq!(Staged::create(&folder.join("no/such/folder"), &[]).unwrap_err().code, 3);
        assert_eq!(Staged::create(&folder, &[]).unwrap_err().code, 3);
        assert_eq!(Staged::create(Path::new("/dev/null"), &[]).unwrap_err().code, 3);
        assert_eq!(Staged::create(&output, &[&folder.join("./a.stone")]).unwrap_err().code, 3);
        let link = folder.join("link.stone");
        std::os::unix::fs::symlink(&output, &link).unwrap();
        Staged::create(&link, &[]).unwrap().finish(b"linked").unwrap();
        assert!(link.is_symlink() && fs::read(&output).unwrap() == b"linked");
        fs::remove_dir_all(&folder).unwrap();
    }
}
