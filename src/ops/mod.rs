//! The operators: safe and portable, each computing a range of its output from slices. They cut the work into blocks for the kernels.
//!
//! The output of an operator is divided into units that follow each other in memory: pixels, or panels of 16 channels where there is one pixel only.
//! Threads share a step by taking ranges of units; any division gives the same bits.

pub mod add;
pub mod conv;
pub mod gate;
pub mod mirror;
pub mod pool;
pub mod rows;
pub mod table;

use crate::pack::{LANES, panels};
use crate::shape::{View, share};
use core::ops::Range;

/// How the output of a step is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Units {
    /// How many units there are.
    pub count: usize,
    by_panel: bool,
}

impl Units {
    /// The units of an output: pixels, or the panels of a single pixel if `by_panel`.
    #[must_use]
    pub const fn of(output: &View, by_panel: bool) -> Self {
        let by_panel = by_panel && output.pixels() == 1;
        Self { count: if by_panel { panels(output.stored_channels()) } else { output.pixels() }, by_panel }
    }

    /// The byte of the output view at which unit `i` begins; the end of the view behind the last one.
    #[must_use]
    pub const fn start(&self, output: &View, i: usize) -> usize {
        if i >= self.count {
            output.bytes()
        } else if self.by_panel {
            i * LANES * output.kind.bytes()
        } else {
            byte_of(output, i)
        }
    }

    /// The units of part `i` of `n` nearly equal parts.
    #[must_use]
    pub const fn part(&self, i: usize, n: usize) -> Range<usize> {
        share(self.count, i, n)
    }
}

/// The byte of a view at which a pixel, counted row by row, begins.
const fn byte_of(view: &View, pixel: usize) -> usize {
    let width = view.w as usize;
    pixel / width * view.row + pixel % width * view.pixel
}
