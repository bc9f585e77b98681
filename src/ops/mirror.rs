//! The border that mirrors a picture.

use super::{Units, byte_of};
use crate::shape::View;
use core::ops::Range;

/// A tensor of bytes with a border in which its pixels stand in reverse order, the outermost ones not twice; the same on every kernel set.
#[derive(Clone, Copy, Debug)]
pub struct Mirror {
    /// Pixels of border at the top and at the left, like those at the bottom and at the right fewer than the input has.
    pub before: [usize; 2],
    /// What it reads.
    pub input: View,
    /// What it makes, of the type and channels of the input.
    pub output: View,
}

impl Mirror {
    /// How the output is divided.
    #[must_use]
    pub const fn units(&self) -> Units {
        Units::of(&self.output, false)
    }

    /// Computes `units` of the output. `x` are the bytes of the input's view, `out` those of the units.
    ///
    /// # Panics
    /// If a slice is shorter than its view says; a plan that was validated never does that.
    pub fn run(&self, x: &[u8], out: &mut [u8], units: Range<usize>) {
        let ([h, w], [top, left]) = ([self.input.h, self.input.w].map(|n| n as usize), self.before);
        let (width, channels) = (self.output.w as usize, self.output.stored_channels());
        let dense = self.input.pixel == channels && self.output.pixel == channels;
        let mut at = units.start;
        while at < units.end {
            let (y, column) = (at / width, at % width);
            // Pixels inside the picture follow each other.
            let inside = if dense && column >= left { (left + w).saturating_sub(column) } else { 1 };
            let pixels = inside.clamp(1, units.end - at);
            let from = mirrored(y, top, h) * self.input.row + mirrored(column, left, w) * self.input.pixel;
            let to = byte_of(&self.output, at) - byte_of(&self.output, units.start);
            out[to..][..pixels * channels].copy_from_slice(&x[from..][..pixels * channels]);
            at += pixels;
        }
    }
}

/// Which of `size` rows or columns stands at place `at` behind a border that begins `before` places in front of the first.
#[must_use]
pub const fn mirrored(at: usize, before: usize, size: usize) -> usize {
    let from_first = at.abs_diff(before);
    if from_first < size { from_first } else { 2 * (size - 1) - from_first }
}
