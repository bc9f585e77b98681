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
        let table: &[u8; 256] = self.table.first_chunk().expect("a table has 256 entries");
        let start = byte_of(&self.output, units.start);
        for pixel in units {
            let source = &x[byte_of(&self.input, pixel)..][..channels];
            let target = &mut out[byte_of(&self.output, pixel) - start..][..channels];
            target.iter_mut().zip(source).for_each(|(y, x)| *y = table[usize::from(x ^ from)] ^ to);
        }
    }
}
