//! A function of every value, given as a table.

use super::{Units, byte_of};
use crate::kernels::Kernels;
use crate::quant::DataType;
use crate::shape::View;
use core::ops::Range;

/// `table[x]` for every byte, U8 or S8, in and out: sigmoid, hard swish and the like.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    /// What it reads.
    pub input: View,
    /// What it makes, of the same shape.
    pub output: View,
    /// The result for each byte.
    pub table: &'a [u8],
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
        let table: [u8; 256] = core::array::from_fn(|byte| self.table[byte ^ usize::from(from)] ^ to);
        let (start, width) = (byte_of(&self.output, units.start), self.output.w as usize);
        let dense = self.input.pixel == channels && self.output.pixel == channels;
        let mut at = units.start;
        while at < units.end {
            // Pixels of a row follow each other.
            let pixels = if dense { (width - at % width).min(units.end - at) } else { 1 };
            let target = &mut out[byte_of(&self.output, at) - start..][..pixels * channels];
            kernels.lookup(&table, &x[byte_of(&self.input, at)..][..pixels * channels], target);
            at += pixels;
        }
    }
}
