//! An output file that is either whole or not there.

use super::error::{CliError, Result};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A file in the making, under another name in the folder of the output. It goes when it is dropped before it is finished.
#[derive(Debug)]
pub struct Staged {
    output: PathBuf,
    path: PathBuf,
    file: File,
}

impl Staged {
    /// Begins a file: fails before any work is done where the output cannot be written.
    ///
    /// # Errors
    /// If the folder does not exist or may not be written.
    pub fn create(output: &Path) -> Result<Self> {
        let name = output.file_name().ok_or_else(|| CliError::input(format!("{} names no file", output.display()), "give the path of a file"))?;
        if output.is_dir() {
            return Err(CliError::input(format!("cannot write {}: it is a folder", output.display()), "give the path of a file"));
        }
        let path = output.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
        let file = File::create(&path).map_err(|e| CliError::write(output, &e))?;
        Ok(Self { output: output.to_owned(), path, file })
    }

    /// Writes the bytes and gives the file its name.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(mut self, bytes: &[u8]) -> Result {
        let written = self.file.write_all(bytes).and_then(|()| self.file.sync_all()).and_then(|()| fs::rename(&self.path, &self.output));
        written.map_err(|e| CliError::write(&self.output, &e))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After `finish` it has another name.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_or_not_there() {
        let folder = std::env::temp_dir().join(format!("skipstone-staged-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let files = || fs::read_dir(&folder).unwrap().count();
        let output = folder.join("a.stone");
        drop(Staged::create(&output).unwrap());
        assert_eq!(files(), 0);
        Staged::create(&output).unwrap().finish(b"abc").unwrap();
        Staged::create(&output).unwrap().finish(b"abcd").unwrap();
        assert_eq!((files(), fs::read(&output).unwrap()), (1, b"abcd".to_vec()));
        assert_eq!(Staged::create(&folder.join("no/such/folder")).unwrap_err().code, 3);
        assert_eq!(Staged::create(&folder).unwrap_err().code, 3);
        fs::remove_dir_all(&folder).unwrap();
    }
}
