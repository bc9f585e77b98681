//! Max pool and average pool.

use super::{Units, byte_of};
use crate::kernels::{Average, Kernels, PoolRow};
use crate::quant::DataType;
use crate::shape::{View, Window};
use core::ops::Range;

/// How a pool combines the pixels of its window.
#[derive(Clone, Copy)]
pub enum Kind<'a> {
    /// The largest; the border takes no part.
    Max,
    /// The mean.
    Average(Average<'a>),
}

/// A pool over U8 or S8, ready to run on any kernel set. The output has the type of the input.
#[derive(Clone, Copy)]
pub struct Pool<'a> {
    /// The window.
    pub window: Window,
    /// What it reads.
    pub input: View,
    /// What it makes.
    pub output: View,
    /// Maximum or mean.
    pub kind: Kind<'a>,
}

impl Pool<'_> {
    /// How the output is divided.
    #[must_use]
    pub const fn units(&self) -> Units {
        Units::of(&self.output, false)
    }

    /// Computes `units` of the output. `x` is the bytes of the input's view, `out` those of the units.
    ///
    /// # Panics
    /// If a slice is shorter than its view says; a plan that was validated never does that.
    pub fn run(&self, kernels: Kernels, x: &[u8], out: &mut [u8], units: Range<usize>) {
        let width = self.output.w as usize;
        let mut at = units.start;
        while at < units.end {
            let (y, first) = (at / width, at % width);
            let pixels = (width - first).min(units.end - at);
            let (top, rows) = self.span(y);
            let mut row = PoolRow {
                source: &x[top * self.input.row..],
                rows: (self.window.dilation[0] as usize * self.input.row, rows),
                cols: (self.input.pixel, self.input.w as usize),
                horizontal: [self.window.kernel[1], self.window.stride[1], self.window.dilation[1], self.window.pads[1]].map(|v| v as usize),
                first,
                pixels,
                out: &mut out[byte_of(&self.output, at) - byte_of(&self.output, units.start)..],
                out_pixel: self.output.pixel,
                channels: self.output.stored_channels(),
                signed: matches!(self.input.kind, DataType::S8),
            };
            match self.kind {
                Kind::Max => kernels.max_pool(&mut row),
                Kind::Average(average) => kernels.average_pool(&mut row, average),
            }
            at += pixels;
        }
    }

    /// The rows of the window of output row `y` that lie inside the picture: the first one and how many.
    fn span(&self, y: usize) -> (usize, usize) {
        let [kernel, stride, dilation, pad] = [self.window.kernel[0], self.window.stride[0], self.window.dilation[0], self.window.pads[0]].map(|v| v as usize);
        let start = y * stride;
        let skipped = pad.saturating_sub(start).div_ceil(dilation);
        let first = start + skipped * dilation - pad;
        let inside = (self.input.h as usize).saturating_sub(first).div_ceil(dilation);
        let first = first.min(self.input.h as usize - 1);
        (first, kernel.saturating_sub(skipped).min(inside))
    }
}
