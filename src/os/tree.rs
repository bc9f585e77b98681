//! Trees of small text files, as `/proc` and `/sys` are.

use core::str::FromStr;
use std::fs;
use std::path::Path;

/// The folder in which `proc`, `sys`, `etc` and `var` lie. Paths are relative to it.
#[derive(Clone, Copy)]
pub(super) struct Tree<'a>(pub &'a Path);

impl Tree<'_> {
    /// What a file says, without the space around it; `None` if it cannot be read or says nothing.
    pub fn text(self, path: &str) -> Option<String> {
        let bytes = fs::read(self.0.join(path)).ok()?;
        let text = String::from_utf8_lossy(&bytes).trim_matches(|c: char| c == '\0' || c.is_whitespace()).to_owned();
        Some(text).filter(|t| !t.is_empty())
    }

    /// The number that a file says.
    pub fn number<T: FromStr>(self, path: &str) -> Option<T> {
        self.text(path)?.parse().ok()
    }

    /// A number of thousandths: millidegrees, or kHz as MHz.
    pub fn thousandths(self, path: &str) -> Option<f64> {
        Some(self.number::<f64>(path)? / 1000.0)
    }

    /// Paths of the entries of a folder whose names begin with `prefix`, shorter ones first, so that `zone10` comes after `zone9`.
    pub fn entries(self, folder: &str, prefix: &str) -> Vec<String> {
        let found = fs::read_dir(self.0.join(folder)).into_iter().flatten().flatten();
        let mut names: Vec<_> = found.filter_map(|e| e.file_name().into_string().ok()).filter(|n| n.starts_with(prefix)).collect();
        names.sort_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
        names.iter().map(|name| format!("{folder}/{name}")).collect()
    }
}
