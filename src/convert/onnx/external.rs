//! Weights in files beside the ONNX.

use super::pb::StringStringEntryProto;
use crate::convert::error::ConvertError;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

/// The external files of one model.
pub(super) struct Files {
    folder: PathBuf,
    open: BTreeMap<String, File>,
    /// Bytes that were handed out.
    total: u64,
}

/// Bytes that all external tensors together may have: several may point to the same ones.
const MOST: u64 = 4 << 30;

impl Files {
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf(), open: BTreeMap::new(), total: 0 }
    }

    /// The `need` bytes that `entries` point to.
    pub fn read(&mut self, tensor: &str, entries: &[StringStringEntryProto], need: usize) -> Result<Vec<u8>, ConvertError> {
        let entry = |key: &str| entries.iter().find(|e| e.key == key).map(|e| e.value.as_str());
        let location = entry("location").unwrap_or_default().to_owned();
        let wrong = |what: String| ConvertError::External { tensor: tensor.to_owned(), location: location.clone(), what };
        let number = |key: &str| entry(key).map(|v| v.trim().parse::<u64>().map_err(|_| wrong(format!("{key} `{v}` is no number")))).transpose();
        let offset = number("offset")?.unwrap_or(0);
        if let Some(length) = number("length")?
            && length != need as u64
        {
            return Err(wrong(format!("length is {length} where the dimensions need {need}")));
        }
        self.total += need as u64;
        if self.total > MOST {
            return Err(wrong("more than 4 GiB of external data".into()));
        }
        let mut file = self.file(&location, wrong)?;
        let size = file.metadata().map_err(|e| wrong(e.to_string()))?.len();
        if offset.checked_add(need as u64).is_none_or(|end| end > size) {
            return Err(wrong(format!("bytes {offset} to {} lie beyond its end at {size}", offset.saturating_add(need as u64))));
        }
        let mut bytes = vec![0; need];
        file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(&mut bytes)).map_err(|e| wrong(e.to_string()))?;
        Ok(bytes)
    }

    /// Adds the whole of every file that was read, in the order of their names.
    pub fn hash(&mut self, hash: &mut Sha256) -> Result<(), ConvertError> {
        for (location, file) in &mut self.open {
            let failed = |e: std::io::Error| ConvertError::File { path: location.into(), what: e.to_string() };
            file.seek(SeekFrom::Start(0)).map_err(failed)?;
            let mut block = vec![0; 1 << 16];
            loop {
                match file.read(&mut block).map_err(failed)? {
                    0 => break,
                    n => hash.update(&block[..n]),
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, location: &str, wrong: impl Fn(String) -> ConvertError) -> Result<&File, ConvertError> {
        let path = Path::new(location);
        let inside =
            !location.is_empty() && !location.contains(['\\', ':']) && path.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
        if !inside {
            return Err(wrong("the path may not leave the folder of the ONNX".into()));
        }
        if !self.open.contains_key(location) {
            let missing = |e: std::io::Error| wrong(format!("cannot be read ({e})"));
            let folder = self.folder.canonicalize().map_err(missing)?;
            let whole = folder.join(path).canonicalize().map_err(missing)?;
            if !whole.starts_with(&folder) {
                return Err(wrong("the path may not leave the folder of the ONNX".into()));
            }
            if !whole.is_file() {
                return Err(wrong("is no file".into()));
            }
            self.open.insert(location.to_owned(), File::open(whole).map_err(missing)?);
        }
        self.open.get(location).ok_or_else(|| wrong("cannot be read".into()))
    }
}
