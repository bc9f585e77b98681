//! A curve drawn with characters.

use super::output::ms;
use core::fmt::Write as _;

const ROWS: usize = 6;
const COLUMNS: usize = 64;
/// Eighths of a cell, filled from below.
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Values over time.
#[derive(Clone, Copy, Debug)]
pub struct Plot<'a> {
    /// What they are.
    pub title: &'a str,
    /// One for each interval, where it is known.
    pub values: &'a [Option<f64>],
    /// The axis spans at least this share of the highest value, so that small changes look small.
    pub least: f64,
    /// Seconds at the end.
    pub end: f64,
}

impl Plot<'_> {
    /// The lines of the plot, with Unicode blocks or plain; nothing if no value is known.
    #[must_use]
    pub fn draw(&self, blocks: bool) -> String {
        let columns = self.columns();
        let known = || columns.iter().flatten().copied();
        let Some(high) = known().reduce(f64::max) else { return String::new() };
        let low = known().fold(high - self.least * high.abs(), f64::min);
        let unit = (high - low) / (ROWS * 8 - 1) as f64;
        let level = |v: f64| (1..ROWS * 8).filter(|&n| v - low > (n as f64 - 0.5) * unit).count() + 1;
        let mut text = format!("{}\n", self.title);
        for row in (0..ROWS).rev() {
            let label = match row {
                0 => ms(low),
                _ if row == ROWS - 1 => ms(high),
                _ => String::new(),
            };
            let cell = |v: &Option<f64>| v.map_or(' ', |v| cell(level(v).saturating_sub(row * 8).min(8), blocks));
            let bars: String = columns.iter().map(cell).collect();
            let _ = writeln!(text, "{label:>9} |{}", bars.trim_end());
        }
        let _ = writeln!(text, "{:>9} 0{:>width$}", "", format!("{:.0} s", self.end), width = columns.len().max(8) - 1);
        text
    }

    /// The highest value of each column.
    fn columns(&self) -> Vec<Option<f64>> {
        let (n, columns) = (self.values.len(), self.values.len().min(COLUMNS));
        (0..columns).map(|i| self.values[i * n / columns..(i + 1) * n / columns].iter().flatten().copied().reduce(f64::max)).collect()
    }
}

fn cell(eighths: usize, blocks: bool) -> char {
    match (blocks, eighths) {
        (true, n) => BLOCKS[n],
        (false, 0) => ' ',
        (false, 1..=3) => '.',
        (false, 4..=6) => ':',
        (false, _) => '#',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(values: &[Option<f64>], blocks: bool) -> Vec<String> {
        Plot { title: "t", values, least: 0.2, end: 30.0 }.draw(blocks).lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_slope() {
        let values: Vec<_> = (0..48).map(|i| Some(f64::from(i))).collect();
        let lines = draw(&values, true);
        assert_eq!((lines.len(), lines[0].as_str(), lines[7].trim()), (8, "t", "0                                           30 s"));
        assert!(lines[1].starts_with("   47.000 |") && lines[1].ends_with("▁▂▃▄▅▆▇█"), "{lines:#?}");
        assert_eq!(lines[6], format!("   0.0000 |▁▂▃▄▅▆▇█{}", "█".repeat(40)));
    }

    #[test]
    fn many_values_and_gaps() {
        let values: Vec<_> = (0..1000).map(|i| (i >= 500).then_some(if i == 999 { 20.0 } else { 10.0 })).collect();
        let lines = draw(&values, false);
        assert_eq!(lines[1].chars().count(), 11 + COLUMNS, "the last column is the highest");
        assert_eq!(lines[6], format!("   10.000 |{}{}#", " ".repeat(32), ".".repeat(31)));
    }

    #[test]
    fn equal_and_unknown_values() {
        let lines = draw(&[Some(3.0); 10], false);
        assert!(lines[1].ends_with("##########") && lines[6].contains("2.400 |"), "{lines:#?}");
        assert_eq!(draw(&[Some(0.0)], true)[6], "   0.0000 |▁");
        assert!(draw(&[None, None], true).is_empty() && draw(&[], true).is_empty());
    }
}
