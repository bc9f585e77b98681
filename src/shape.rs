//! Sizes of tensors and windows, checked.

use crate::quant::DataType;
use core::ops::Range;

/// Bytes of a cache line, the alignment of weights, parameters and tensors.
pub const LINE: usize = 64;

/// `n` rounded up to a multiple of `to` (a power of two).
#[must_use]
pub const fn round_up(n: usize, to: usize) -> usize {
    (n + to - 1) & !(to - 1)
}

/// A sliding window over a picture: kernel size, stride, dilation and padding, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Kernel height and width, at least 1.
    pub kernel: [u32; 2],
    /// Vertical and horizontal stride, at least 1.
    pub stride: [u32; 2],
    /// Vertical and horizontal dilation, at least 1.
    pub dilation: [u32; 2],
    /// Padding at the top, left, bottom and right.
    pub pads: [u32; 4],
}

impl Window {
    /// The window of a 1x1 convolution with the given stride.
    #[must_use]
    pub const fn point(stride: [u32; 2]) -> Self {
        Self { kernel: [1, 1], stride, dilation: [1, 1], pads: [0; 4] }
    }

    /// Rows and columns of the input that one output pixel sees.
    #[must_use]
    pub const fn extent(&self) -> [u32; 2] {
        [(self.kernel[0] - 1) * self.dilation[0] + 1, (self.kernel[1] - 1) * self.dilation[1] + 1]
    }

    /// Output height and width for an input of `h` by `w`, or `None` where the window does not fit or a size is out of range.
    #[must_use]
    pub fn output(&self, h: u32, w: u32) -> Option<[u32; 2]> {
        const LIMIT: u32 = 1 << 16;
        let mut out = [0; 2];
        for (axis, size) in [h, w].into_iter().enumerate() {
            let (k, s, d) = (self.kernel[axis], self.stride[axis], self.dilation[axis]);
            let (before, after) = (self.pads[axis], self.pads[axis + 2]);
            if [k, s, d].iter().any(|&v| v == 0 || v > LIMIT) || [before, after, size].iter().any(|&v| v > LIMIT) || size == 0 {
                return None;
            }
            let extent = (k - 1).checked_mul(d)?.checked_add(1)?;
            let room = (size + before + after).checked_sub(extent)?;
            out[axis] = room / s + 1;
        }
        Some(out)
    }

    /// True if no pixel outside the picture is seen.
    #[must_use]
    pub const fn unpadded(&self) -> bool {
        self.pads[0] | self.pads[1] | self.pads[2] | self.pads[3] == 0
    }
}

/// Where a tensor `[h][w][c]` lies in memory. It may be a slice of the channels of a wider buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Height in pixels.
    pub h: u32,
    /// Width in pixels.
    pub w: u32,
    /// Channels, without padding channels.
    pub c: u32,
    /// Type of an element.
    pub kind: DataType,
    /// Byte at which the first channel of the first pixel lies.
    pub offset: usize,
    /// Bytes from one pixel to the next.
    pub pixel: usize,
    /// Bytes from one row to the next.
    pub row: usize,
}

impl View {
    /// A tensor in a buffer of its own that starts at `offset`, with its channels padded to a multiple of 4.
    #[must_use]
    pub const fn packed(h: u32, w: u32, c: u32, kind: DataType, offset: usize) -> Self {
        let pixel = round_up(c as usize, 4) * kind.bytes();
        Self { h, w, c, kind, offset, pixel, row: pixel * w as usize }
    }

    /// A picture as a camera gives it: `[h][w][c]` bytes without padding channels. The input of another network is the same in S8.
    #[must_use]
    pub const fn picture(h: u32, w: u32, c: u32, offset: usize) -> Self {
        let pixel = c as usize;
        Self { h, w, c, kind: DataType::U8, offset, pixel, row: pixel * w as usize }
    }

    /// Pixels of the tensor.
    #[must_use]
    pub const fn pixels(&self) -> usize {
        self.h as usize * self.w as usize
    }

    /// Channels as stored: padded to a multiple of 4, except in a picture (one whose pixels lie closer than that).
    #[must_use]
    pub const fn stored_channels(&self) -> usize {
        let padded = round_up(self.c as usize, 4);
        if self.pixel < padded * self.kind.bytes() { self.c as usize } else { padded }
    }

    /// True if the channels are not padded to a multiple of 4.
    #[must_use]
    pub const fn is_picture(&self) -> bool {
        !self.stored_channels().is_multiple_of(4)
    }

    /// True if the pixels follow each other at the same distance across rows.
    #[must_use]
    pub const fn is_dense(&self) -> bool {
        self.h == 1 || self.row == self.pixel * self.w as usize
    }

    /// Bytes from the first byte of the view to the end of its last pixel's channels.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        (self.h as usize - 1) * self.row + (self.w as usize - 1) * self.pixel + self.stored_channels() * self.kind.bytes()
    }

    /// The bytes of the view in the buffer that `offset` counts in.
    #[must_use]
    pub const fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.bytes()
    }
}

/// Part `i` of `parts` nearly equal parts of `n` things in a row.
///
/// # Panics
/// If there are no parts.
#[must_use]
pub const fn share(n: usize, i: usize, parts: usize) -> Range<usize> {
    let (least, more) = (n / parts, n % parts);
    let start = i * least + if i < more { i } else { more };
    start..start + least + (i < more) as usize
}
