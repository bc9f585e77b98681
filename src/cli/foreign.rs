//! What was given where another kind of file is expected, by its first bytes.

use super::decode::is_picture;
use super::error::{CliError, Result};
use crate::format::MAGIC;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// What users take for a `.stone` file, or for an ONNX file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// A folder.
    Folder,
    /// A network that is still to be converted.
    Onnx,
    /// A JPEG or PNG.
    Picture,
    /// A network that is converted already.
    Stone,
    /// Something that is to be unpacked first.
    Packed,
}

impl Foreign {
    /// What lies at `path`; `None` if it is none of these.
    #[must_use]
    pub fn at(path: &Path) -> Option<Self> {
        if path.is_dir() {
            return Some(Self::Folder);
        }
        let mut begin = Vec::new();
        if !path.is_file() {
            return None;
        }
        File::open(path).ok()?.take(4).read_to_end(&mut begin).ok()?;
        match begin[..] {
            _ if is_picture(&begin) => Some(Self::Picture),
            _ if begin == MAGIC[..begin.len()] && !begin.is_empty() => Some(Self::Stone),
            [0xFD, b'7', b'z', b'X'] | [0x1F, 0x8B, ..] | [b'P', b'K', 3, 4] | [0x28, 0xB5, 0x2F, 0xFD] => Some(Self::Packed),
            // The fields of a protobuf in the order of their numbers: 1, the version of the format, then one of 2 to 8.
            [0x08, 1..=0x7F, 0x12 | 0x1A | 0x22 | 0x28 | 0x32 | 0x3A | 0x42, _] => Some(Self::Onnx),
            _ => None,
        }
    }

    /// Refuses a file that certainly is no ONNX.
    ///
    /// # Errors
    /// If it is none.
    pub fn unless_onnx(path: &Path) -> Result {
        let Some(foreign) = Self::at(path).filter(|&foreign| foreign != Self::Onnx) else { return Ok(()) };
        let help = match foreign {
            Self::Packed => foreign.help(path),
            _ => "give the network as PyTorch and others export it; where a .stone file stands beside it, the ONNX comes first".into(),
        };
        Err(CliError::input(format!("{}: this is {}, no ONNX file", path.display(), foreign.name()), help))
    }

    /// What it is.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Folder => "a folder",
            Self::Onnx => "an ONNX file",
            Self::Picture => "a picture",
            Self::Stone => "a .stone file",
            Self::Packed => "a compressed file",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn help(self, path: &Path) -> String {
        match self {
            Self::Folder | Self::Stone => "give a .stone file, made by `skipstone convert`".into(),
            Self::Onnx => {
                let stone = path.with_extension("stone");
                format!("convert it first with `skipstone convert {} -o {} --calib PICTURES --preprocess NAME`", path.display(), stone.display())
            }
            Self::Packed => "unpack it first".into(),
            Self::Picture => "the .stone file comes first: `skipstone run NET.stone PICTURE`".into(),
        }
    }
}
