//! A function of every value, given as a table.

use super::{Units, byte_of};
use crate::kernels::{Kernels, LineRow};
use crate::quant::DataType;
use crate::shape::View;
use core::ops::Range;

/// A line of the table for S16 goes over 2 to this of its values.
const SEGMENT: u32 = 8;
/// Points between which these lines are drawn.
pub const POINTS: usize = 257;
/// A point is at most this: what lies between two of them fits into 32 bits.
pub const POINT_LIMIT: i32 = 1 << 22;

/// A function of every value: sigmoid, hard swish and the like.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    /// What it reads, U8, S8 or S16.
    pub input: View,
    /// What it makes, of the same shape; S16 only of S16.
    pub output: View,
    /// For bytes, the result for each byte. For S16 [`POINTS`] words: the results for -32768, -32512 and so on up to 32768, with [`point_bits`] binary places;
    /// the values between two of them lie on the line.
    pub table: &'a [u8],
}

/// Bytes of a table for values of this type.
#[must_use]
pub const fn table_bytes(input: DataType) -> usize {
    if matches!(input, DataType::S16) { POINTS * 4 } else { 256 }
}

/// Binary places of the points of results of this type.
#[must_use]
pub const fn point_bits(output: DataType) -> u32 {
    if matches!(output, DataType::S16) { 5 } else { 12 }
}

impl Table<'_> {
    /// How the output is divided.
    #[must_use]
    pub const fn units(&self) -> Units {
        Units::of(&self.output, false)
    }

    /// Computes `units` of the output. `x` are the bytes of the input's view, `out` those of the units.
    ///
    /// # Panics
    /// If a slice is shorter than its view says; a plan that was validated never does that.
    pub fn run(&self, kernels: Kernels, x: &[u8], out: &mut [u8], units: Range<usize>) {
        let flip = |view: &View| if matches!(view.kind, DataType::U8) { kernels.flip() } else { 0 };
        let (from, to, channels) = (flip(&self.input), flip(&self.output), self.output.stored_channels());
        let [read, made] = [&self.input, &self.output].map(|view| channels * view.kind.bytes());
        let (start, width) = (byte_of(&self.output, units.start), self.output.w as usize);
        let dense = self.input.pixel == read && self.output.pixel == made;
        let mut pieces = |look_up: &dyn Fn(&[u8], &mut [u8])| {
            let mut at = units.start;
            while at < units.end {
                // Pixels of a row follow each other.
                let pixels = if dense { (width - at % width).min(units.end - at) } else { 1 };
                let target = &mut out[byte_of(&self.output, at) - start..][..pixels * made];
                look_up(&x[byte_of(&self.input, at)..][..pixels * read], target);
                at += pixels;
            }
        };
        if matches!(self.input.kind, DataType::S16) {
            let (words, kind) = (self.table.as_chunks().0, self.output.kind);
            let point = |i: usize| i32::from_le_bytes(words[i]);
            // Where each line begins, rounded, and how steep it is.
            let half = 1 << (SEGMENT + point_bits(kind) - 1);
            let lines = core::array::from_fn(|i| [(point(i) << SEGMENT) + half, point(i + 1) - point(i)]);
            let shift = SEGMENT + point_bits(kind);
            return pieces(&|x, out| kernels.lines(&mut LineRow { lines: &lines, shift, x, out, kind, flip: to }));
        }
        let table: [u8; 256] = core::array::from_fn(|byte| self.table[byte ^ usize::from(from)] ^ to);
        pieces(&|x, out| kernels.lookup(&table, x, out));
    }
}
