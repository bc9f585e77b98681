//! The operators: safe and portable, each computing a range of its output from slices. They cut the work into blocks for the kernels.
//!
//! The output of an operator is divided into units that follow each other in memory: pixels, or panels of 16 channels where there is one pixel only.
//! Threads share a step by taking ranges of units; any division gives the same bits.

pub mod add;
pub mod conv;
pub mod pool;
pub mod rows;

use crate::pack::{LANES, panels};
use crate::shape::View;
use core::ops::Range;

/// How the output of a step is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Units {
    /// How many units there are.
    pub count: usize,
    /// Bytes from the start of one unit to the next.
    pub bytes: usize,
}

impl Units {
    /// The units of an output: pixels, or the panels of a single pixel if `by_panel`.
    #[must_use]
    pub const fn of(output: &View, by_panel: bool) -> Self {
        if by_panel && output.pixels() == 1 {
            Self { count: panels(output.stored_channels()), bytes: LANES * output.kind.bytes() }
        } else {
            Self { count: output.pixels(), bytes: output.pixel }
        }
    }

    /// The bytes, counted from the start of the output view, of a range of units. The last unit ends with the view.
    #[must_use]
    pub const fn range(&self, output: &View, units: &Range<usize>) -> Range<usize> {
        let end = if units.end == self.count { output.bytes() } else { units.end * self.bytes };
        units.start * self.bytes..end
    }

    /// The units of part `i` of `n` nearly equal parts.
    #[must_use]
    pub const fn part(&self, i: usize, n: usize) -> Range<usize> {
        self.count * i / n..self.count * (i + 1) / n
    }
}
