//! The addition that no convolution could take, and the factor and shift of each channel that none could.

use super::{Units, byte_of};
use crate::kernels::{AddRow, Kernels};
use crate::shape::View;
use core::ops::Range;

/// `rdm((bias + K1·x + K2·y) << p, M)`, channel by channel, ready to run on any kernel set.
#[derive(Clone, Copy, Debug)]
pub struct Add<'a> {
    /// First operand, U8, S8 or S16.
    pub x: View,
    /// Second operand, of the same shape; where there is none, K2 is 0.
    pub y: Option<View>,
    /// What it makes.
    pub output: View,
    /// Rows of 16 words, [`crate::pack::params::ADD_ROWS`] a panel.
    pub params: &'a [u8],
    /// Binary places by which the sum is shifted left before it is rounded, at most 15.
    pub p: u32,
}

impl Add<'_> {
    /// How the output is divided.
    #[must_use]
    pub const fn units(&self) -> Units {
        Units::of(&self.output, false)
    }

    /// Computes `units` of the output. `x` and `y` are the bytes of the operands' views, `out` those of the units.
    ///
    /// # Panics
    /// If a slice is shorter than its view says; a plan that was validated never does that.
    pub fn run(&self, kernels: Kernels, x: &[u8], y: &[u8], out: &mut [u8], units: Range<usize>) {
        let (second, y) = self.y.as_ref().map_or((&self.x, x), |view| (view, y));
        // Rows that follow each other without a gap are one row.
        let dense = |view: &View| view.row == view.w as usize * view.pixel;
        let width = if dense(&self.x) && dense(second) && dense(&self.output) { self.output.pixels() } else { self.output.w as usize };
        let mut at = units.start;
        while at < units.end {
            let pixels = (width - at % width).min(units.end - at);
            let to = byte_of(&self.output, at) - byte_of(&self.output, units.start);
            kernels.add(&mut AddRow {
                x: (&x[byte_of(&self.x, at)..], self.x.pixel),
                y: (&y[byte_of(second, at)..], second.pixel),
                kinds: [self.x.kind, second.kind],
                params: self.params.as_chunks().0,
                p: self.p,
                out: (&mut out[to..], self.output.pixel),
                pixels,
                channels: self.output.stored_channels(),
                kind: self.output.kind,
            });
            at += pixels;
        }
    }
}
