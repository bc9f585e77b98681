//! Copies rows of a tensor to a scratch where their border is physically present.

use crate::kernels::copy::copy;
use crate::shape::{View, Window, round_up};
use core::ops::Range;

/// The layout of padded rows for a window over a tensor: `rows` rows of `pitch` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Padded {
    /// Bytes of a pixel.
    pub pixel: usize,
    /// Bytes from one row to the next, a few spare bytes included: a run may be read past its end up to a multiple of 4.
    pub pitch: usize,
    /// Rows that a block of output rows sees.
    pub rows: usize,
    /// Rows that the next block sees again.
    pub kept: usize,
}

impl Padded {
    /// The layout for blocks of `block` rows of an output of width `ow`.
    #[must_use]
    pub const fn new(input: &View, window: &Window, ow: u32, block: usize) -> Self {
        let extent = window.extent();
        let pixel = input.stored_channels() * input.kind.bytes();
        let width = (ow as usize - 1) * window.stride[1] as usize + extent[1] as usize;
        let (stride, extent) = (window.stride[0] as usize, extent[0] as usize);
        Self { pixel, pitch: round_up(width * pixel + 3, 16), rows: (block - 1) * stride + extent, kept: extent.saturating_sub(stride) }
    }

    /// Bytes of the scratch.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.rows * self.pitch
    }
}

/// How rows are copied.
#[derive(Clone, Copy)]
pub struct Fill<'a> {
    /// The layout of the copies.
    pub padded: &'a Padded,
    /// The tensor.
    pub input: &'a View,
    /// Border pixels at the left.
    pub left: usize,
    /// What stands in the border: one stored byte per channel; empty for zeros.
    pub border: &'a [u8],
    /// XORed to every byte of the tensor: it turns what is stored into what the kernels read.
    pub flip: u8,
    /// What the kernels read for the value 0.
    pub zero: u8,
}

impl Fill<'_> {
    /// Fills scratch rows `slots` with the input rows that begin at `first` (counted from the top of the picture, negative inside the border).
    pub fn rows(&self, scratch: &mut [u8], slots: Range<usize>, first: isize, x: &[u8]) {
        let (w, pixel) = (self.input.w as usize, self.padded.pixel);
        for (i, slot) in slots.enumerate() {
            let row = &mut scratch[slot * self.padded.pitch..][..self.padded.pitch];
            let Some(y) = usize::try_from(first + i.cast_signed()).ok().filter(|&y| y < self.input.h as usize) else {
                self.pad(row);
                continue;
            };
            let source = &x[y * self.input.row..];
            let (before, rest) = row.split_at_mut((self.left * pixel).min(row.len()));
            let (middle, after) = rest.split_at_mut((w * pixel).min(rest.len()));
            self.pad(before);
            self.pad(after);
            if self.input.pixel == pixel {
                copy(middle, &source[..middle.len()]);
            } else {
                for (to, from) in middle.chunks_mut(pixel).zip(source.chunks(self.input.pixel)) {
                    to.copy_from_slice(&from[..to.len()]);
                }
            }
            if self.flip != 0 {
                middle.iter_mut().for_each(|b| *b ^= self.flip);
            }
        }
    }

    /// Fills whole pixels of border.
    fn pad(&self, bytes: &mut [u8]) {
        bytes.fill(self.zero);
        if !self.border.is_empty() {
            for pixel in bytes.chunks_mut(self.padded.pixel) {
                pixel.iter_mut().zip(self.border).for_each(|(p, b)| *p ^= b);
            }
        }
    }
}
