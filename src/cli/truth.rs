//! The classes of pictures, from a file that the user gives.

use core::fmt;
use std::collections::HashMap;
use std::path::Path;

use super::npy;

/// Classes by name: `file,class` lines, or by number: `index,class` lines or an `.npy` of integers.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// By the name as it stands in the file.
    whole: HashMap<String, u32>,
    /// By the last part of the name; `None` where lines with this last part give several classes.
    last: HashMap<String, Option<u32>>,
}

/// Why a file gives no classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TruthError {
    /// It cannot be read.
    Read(String),
    /// A line is not `file,class`.
    Line(u64),
    /// A line whose class is no number.
    Class(u64, String),
    /// A name stands there twice, with different classes.
    Twice(String),
    /// The `.npy` is none of integers.
    Npy(npy::NpyError),
    /// An element of the `.npy` is no class.
    Element(usize),
}

impl fmt::Display for TruthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(why) => write!(f, "cannot be read: {why}"),
            Self::Line(line) => write!(f, "line {line} is not `file,class`"),
            Self::Class(line, class) => write!(f, "line {line}: the class `{class}` is no number"),
            Self::Twice(name) => write!(f, "{name} stands there with two classes"),
            Self::Npy(error) => write!(f, "no array of integers: {error}"),
            Self::Element(i) => write!(f, "element {i} is no class"),
        }
    }
}

impl core::error::Error for TruthError {}

impl Truth {
    /// Reads a CSV (a first line without a number for a class is its header) or an `.npy` of integers.
    ///
    /// # Errors
    /// If the file cannot be read, a line is not `file,class`, or a name has two classes.
    pub fn read(path: &Path) -> Result<Self, TruthError> {
        let bytes = std::fs::read(path).map_err(|e| TruthError::Read(e.to_string()))?;
        let mut truth = Self::default();
        if bytes.starts_with(b"\x93NUMPY") {
            for (i, class) in npy::integers(&bytes).map_err(TruthError::Npy)?.into_iter().enumerate() {
                truth.insert(i.to_string(), class.ok_or(TruthError::Element(i))?)?;
            }
            return Ok(truth);
        }
        let mut lines = csv::ReaderBuilder::new().has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(bytes.as_slice());
        for (k, line) in lines.byte_records().enumerate() {
            let line = line.map_err(|e| TruthError::Read(e.to_string()))?;
            let number = line.position().map_or(0, csv::Position::line);
            let text = |field: usize| line.get(field).map(String::from_utf8_lossy);
            match (text(0), text(1).map(|class| class.parse())) {
                (Some(name), Some(Ok(class))) => truth.insert(plain(&name), class)?,
                (Some(_), Some(Err(_))) if k == 0 => {}
                (Some(_), Some(Err(_))) => return Err(TruthError::Class(number, text(1).unwrap_or_default().into_owned())),
                _ => return Err(TruthError::Line(number)),
            }
        }
        Ok(truth)
    }

    fn insert(&mut self, name: String, class: u32) -> Result<(), TruthError> {
        let last = name.rsplit('/').next().unwrap_or_default().to_owned();
        self.last.entry(last).and_modify(|known| *known = known.filter(|&k| k == class)).or_insert(Some(class));
        match self.whole.insert(name.clone(), class) {
            Some(known) if known != class => Err(TruthError::Twice(name)),
            _ => Ok(()),
        }
    }

    /// The class of a picture: by its path relative to the data set's folder, else by its file name.
    #[must_use]
    pub fn class(&self, relative: &str) -> Option<u32> {
        let relative = plain(relative);
        let last = relative.rsplit('/').next().unwrap_or_default();
        self.whole.get(&relative).copied().or_else(|| self.last.get(last).copied().flatten())
    }
}

/// A relative path with `/` between its parts and no `./` before it.
fn plain(name: &str) -> String {
    let name = name.replace('\\', "/");
    name.trim_start_matches("./").to_owned()
}
