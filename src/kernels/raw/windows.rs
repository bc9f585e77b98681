//! Pools by vectors of 16 channels, for the sets that have bodies of their own; the channels that are left over by the portable ones.

use crate::kernels::scalar::{columns, max_of, mean, mean_of, multiplier};
use crate::kernels::{Average, PoolRow, reach};
use crate::pack::LANES;

/// What a body reads of a window: vectors of 16 channels, every one of them inside the source. It has at least one row and one column.
#[derive(Clone, Copy)]
pub struct Window {
    /// The first pixel's first channel.
    pub source: *const u8,
    /// Bytes from one row to the next, and the rows.
    pub rows: (usize, usize),
    /// Bytes from one column to the next, and the columns.
    pub cols: (usize, usize),
    /// Vectors side by side.
    pub vectors: usize,
}

impl Window {
    /// The window of a pixel inside the picture (its first column and how many) from `channel` on, if there are 16 channels.
    fn new(row: &PoolRow<'_>, (first, count): (usize, usize), channel: usize) -> Option<Self> {
        let (rows, cols, vectors) = (row.rows, (row.horizontal[2] * row.cols.0, count), (row.channels - channel) / LANES);
        if vectors == 0 || rows.1 == 0 || count == 0 {
            return None;
        }
        let source = &row.source[first * row.cols.0 + channel..];
        let source = &source[..reach(&[(rows.1, rows.0), (count, cols.0)], vectors * LANES)];
        Some(Self { source: source.as_ptr(), rows, cols, vectors })
    }
}

/// A max pool of a set that stores U8 XOR `FLIP`. `body` writes the maxima of some vectors, at least one, to the front of what it is given and says how many.
#[inline(always)]
pub fn max_pool<const FLIP: u8>(row: &mut PoolRow<'_>, body: impl Fn(Window, &mut [[u8; LANES]]) -> usize) {
    for pixel in 0..row.pixels {
        let columns = columns(row, pixel);
        let mut channel = 0;
        while channel < row.channels {
            channel += if let Some(window) = Window::new(row, columns, channel) {
                let out = &mut row.out[pixel * row.out_pixel + channel..][..window.vectors * LANES];
                body(window, out.as_chunks_mut().0) * LANES
            } else {
                max_of::<FLIP, 4>(row, pixel, columns, channel)
            };
        }
    }
}

/// An average pool of a set that stores U8 XOR `FLIP`. `body` returns the sums of a window's first vector, of signed bytes where `FLIP` is not 0.
#[inline(always)]
pub fn average_pool<const FLIP: u8>(row: &mut PoolRow<'_>, average: Average<'_>, body: impl Fn(Window) -> [i32; LANES]) {
    for pixel in 0..row.pixels {
        let columns = columns(row, pixel);
        let multiplier = multiplier(row, columns.1, &average);
        let mut channel = 0;
        while channel < row.channels {
            channel += if let Some(window) = Window::new(row, columns, channel) {
                mean(row, pixel, columns.1, channel, &body(window), (average.p, multiplier), FLIP);
                LANES
            } else {
                mean_of::<FLIP, 4>(row, pixel, columns, channel, average.p, multiplier)
            };
        }
    }
}
