//! What goes to stdout: one JSON object, or text with small tables.

use super::error::{CliError, Result};
use core::fmt::Write as _;
use serde::Serialize;
use std::io::{self, Write as _};

/// How the user wants the result.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Output {
    /// Print one JSON object instead of text
    #[arg(long, global = true, display_order = 900)]
    pub json: bool,
    /// Show no progress
    #[arg(long, global = true, display_order = 900)]
    pub quiet: bool,
}

impl Output {
    /// Prints `object` as JSON if that is asked for, else the text.
    ///
    /// # Errors
    /// If stdout cannot be written.
    pub fn show(self, object: &impl Serialize, text: impl FnOnce() -> String) -> Result {
        if self.json { line(object) } else { print(&text()) }
    }
}

/// Prints an object as one line of JSON.
///
/// # Errors
/// If stdout cannot be written.
pub fn line(object: &impl Serialize) -> Result {
    let mut text = serde_json::to_string(object).map_err(|e| CliError::input(format!("cannot write JSON: {e}"), "report this"))?;
    text.push('\n');
    print(&text)
}

/// Prints text and flushes it.
///
/// # Errors
/// If stdout cannot be written.
pub fn print(text: &str) -> Result {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| CliError::stdout(&e))
}

/// A table of text: columns whose heads begin with `>` are aligned to the right.
#[derive(Clone, Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these heads.
    #[must_use]
    pub fn new(heads: &[&str]) -> Self {
        Self { rows: vec![heads.iter().map(|&h| h.to_owned()).collect()] }
    }

    /// Removes the columns of which no cell but the head says something.
    #[must_use]
    pub fn without_empty(mut self) -> Self {
        let keep: Vec<bool> = (0..self.rows[0].len()).map(|i| self.rows.iter().skip(1).any(|r| r[i] != "-")).collect();
        for row in &mut self.rows {
            let mut keep = keep.iter();
            row.retain(|_| keep.next().is_none_or(|k| *k));
        }
        self
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }
}

impl core::fmt::Display for Table {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let right: Vec<bool> = self.rows[0].iter().map(|h| h.starts_with('>')).collect();
        let text = |cell: &String, head: bool| if head { cell.trim_start_matches('>').to_owned() } else { cell.clone() };
        let width = |i: usize| self.rows.iter().enumerate().filter_map(|(n, r)| r.get(i).map(|c| text(c, n == 0).chars().count())).max().unwrap_or(0);
        let widths: Vec<usize> = (0..right.len()).map(width).collect();
        for (n, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (i, cell) in row.iter().enumerate() {
                let (cell, width) = (text(cell, n == 0), widths[i]);
                if right[i] { write!(line, "  {cell:>width$}")? } else { write!(line, "  {cell:<width$}")? }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// A number with a comma for every thousand.
#[must_use]
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// 8 lower-case hex digits.
#[must_use]
pub fn hex(crc: u32) -> String {
    format!("{crc:08x}")
}

/// A number such as a time in milliseconds with four figures or so.
#[must_use]
pub fn ms(value: f64) -> String {
    if value < 1.0 {
        format!("{value:.4}")
    } else if value < 100.0 {
        format!("{value:.3}")
    } else {
        format!("{value:.1}")
    }
}

/// A value, or a dash where there is none.
#[must_use]
pub fn or_dash(value: Option<String>) -> String {
    value.unwrap_or_else(|| "-".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align() {
        let mut table = Table::new(&["name", ">ms"]);
        table.row(["a".into(), "10.5".into()]);
        table.row(["longer".into(), "1".into()]);
        assert_eq!(table.to_string(), "  name      ms\n  a       10.5\n  longer     1\n");
    }

    #[test]
    fn columns_that_say_nothing() {
        let mut table = Table::new(&["name", ">ms", ">%"]);
        table.row(["a".into(), "-".into(), "-".into()]);
        table.row(["b".into(), "-".into(), "3".into()]);
        assert_eq!(table.without_empty().to_string(), "  name  %\n  a     -\n  b     3\n");
    }

    #[test]
    fn numbers() {
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.012_34, 1.5, 250.0].map(ms), ["0.0123", "1.500", "250.0"]);
        assert_eq!(hex(255), "000000ff");
    }
}
