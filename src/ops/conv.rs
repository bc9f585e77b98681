//! Convolution and dense layer with everything fused: batch normalization, ReLU, skip-add or projection shortcut.

use super::rows::{Fill, Padded};
use super::{Units, byte_of};
use crate::kernels::{BlockSecond, ConvBlock, Kernels, Source, copy};
use crate::pack::{Depth, LANES, Narrow, Taps, panels, params};
use crate::quant::DataType;
use crate::shape::{View, Window};
use core::ops::Range;

/// What a convolution adds before it rounds.
#[derive(Clone, Copy, Debug)]
pub enum Second<'a> {
    /// Nothing.
    None,
    /// A tensor: channel `c` of pixel `(y, x)` takes channel `c - front` of pixel `(y·stride[0], x·stride[1])`, or 0 where there is none.
    Skip {
        /// The tensor, U8 or S8.
        view: View,
        /// Vertical and horizontal stride.
        stride: [u32; 2],
        /// Channels of zeros in front.
        front: u32,
    },
    /// An unpadded convolution over a U8 tensor.
    Projection {
        /// The tensor.
        view: View,
        /// Its window.
        window: Window,
        /// Its packed weights.
        weights: &'a [u8],
    },
}

/// What one call of a kernel computes of a convolution.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// The first stored channels that it reads and makes.
    pub first: [usize; 2],
    /// Stored channels that it makes.
    pub channels: usize,
    /// Narrow groups, if they are such.
    pub narrow: Option<Narrow>,
    /// Its depth.
    pub taps: Taps,
    /// Its first panel.
    pub panel: usize,
    /// Its first line of 64 bytes of weights.
    pub line: usize,
}

/// All panels of a part.
const ALL: Range<usize> = 0..usize::MAX / LANES;

/// A convolution, ready to run on any kernel set.
#[derive(Clone, Copy, Debug)]
pub struct Conv<'a> {
    /// The window.
    pub window: Window,
    /// Groups, at least 1: each reads an equal part of the input channels and makes an equal part of the output channels, both a multiple of 4 where there are
    /// several.
    pub groups: usize,
    /// Groups that lie side by side in the panels: then there are 16 input channels and as many output channels at least, and nothing is added.
    pub narrow: Option<Narrow>,
    /// What it reads: U8 or S8.
    pub input: View,
    /// What it makes.
    pub output: View,
    /// Weights as [`crate::pack`] lays them out, group by group.
    pub weights: &'a [u8],
    /// Rows of 16 words a panel, see [`params`].
    pub params: &'a [u8],
    /// One border byte per input channel; empty for zeros.
    pub padding: &'a [u8],
    /// What is added.
    pub second: Second<'a>,
    /// True if the weights are proven exact for 16-bit pair sums.
    pub pair_safe: bool,
    /// Output rows that are computed together, at least 1.
    pub block_rows: usize,
}

impl<'a> Conv<'a> {
    /// True if the input is copied to rows with a border before it is used: with padding, for pictures and for signed inputs.
    #[must_use]
    pub const fn copies(&self) -> bool {
        !self.window.unpadded() || self.input.is_picture() || matches!(self.input.kind, DataType::S8)
    }

    const fn padded(&self) -> Padded {
        let block = if self.block_rows < self.output.h as usize { self.block_rows } else { self.output.h as usize };
        Padded::new(&self.input, &self.window, self.output.w, block)
    }

    /// Bytes of scratch that a thread needs.
    #[must_use]
    pub const fn scratch(&self) -> usize {
        if self.copies() { self.padded().bytes() } else { 0 }
    }

    /// How the output is divided.
    #[must_use]
    pub const fn units(&self) -> Units {
        Units::of(&self.output, self.groups == 1)
    }

    /// Stored channels that a group reads and makes.
    #[must_use]
    pub const fn group_channels(&self) -> [usize; 2] {
        [self.input.stored_channels() / self.groups, self.output.stored_channels() / self.groups]
    }

    /// How many calls of a kernel compute it: one a group, or one for the whole panels of narrow groups and one for what is beyond them.
    #[must_use]
    pub const fn parts(&self) -> usize {
        match self.narrow {
            None => self.groups,
            Some(_) => 1 + !self.output.stored_channels().is_multiple_of(LANES) as usize,
        }
    }

    /// What call `index` computes.
    #[must_use]
    pub const fn part(&self, index: usize) -> Part {
        let Some(narrow) = self.narrow else {
            let [inputs, outputs] = self.group_channels();
            let (panel, taps) = (index * panels(outputs), Depth::new(&self.window, inputs).taps(self.adjacent()));
            return Part { first: [index * inputs, index * outputs], channels: outputs, narrow: None, taps, panel, line: panel * taps.total() };
        };
        let channels = self.output.stored_channels();
        let (panel, rest, taps) = (channels / LANES, channels % LANES, narrow.taps(&self.window));
        if index == 0 {
            return Part { first: [0; 2], channels: channels - rest, narrow: Some(narrow), taps, panel: 0, line: 0 };
        }
        let line = panel * taps.total();
        Part { first: [channels - rest; 2], channels: rest, narrow: None, taps: Depth::new(&self.window, rest).taps(false), panel, line }
    }

    /// Panels of weights, and the lines of 64 bytes that they have together.
    #[must_use]
    pub const fn size(&self) -> [usize; 2] {
        let last = self.part(self.parts() - 1);
        [last.panel + panels(last.channels), last.line + panels(last.channels) * last.taps.total()]
    }

    /// Computes `units` of the output. `x` and `second` are the bytes of the operands' views, `out` those of the units.
    ///
    /// # Panics
    /// If a slice is shorter than its view says; a plan that was validated never does that.
    pub fn run(&self, kernels: Kernels, x: &[u8], second: &[u8], out: &mut [u8], units: Range<usize>, scratch: &mut [u8]) {
        if self.output.pixels() == 1 && self.groups == 1 {
            self.run_panels(kernels, x, second, out, units, scratch);
        } else if self.flat() {
            self.run_flat(kernels, x, second, out, units);
        } else {
            self.run_rows(kernels, x, second, out, units, scratch);
        }
    }

    /// True if rows play no part: a 1x1 convolution of stride 1 whose operands all lie in one piece.
    fn flat(&self) -> bool {
        let second = match &self.second {
            Second::None => true,
            Second::Skip { view, stride, .. } => *stride == [1, 1] && view.is_dense() && view.w == self.output.w,
            Second::Projection { view, window, .. } => *window == Window::point([1, 1]) && view.is_dense() && view.w == self.output.w,
        };
        self.window == Window::point([1, 1]) && !self.copies() && self.input.is_dense() && self.output.is_dense() && second
    }

    /// One output pixel: units are panels.
    fn run_panels(&self, kernels: Kernels, x: &[u8], second: &[u8], out: &mut [u8], panels: Range<usize>, scratch: &mut [u8]) {
        let source = if self.copies() {
            self.fill_rows(kernels, scratch, &self.padded(), [0, 1, 0], x);
            self.scratch_source(scratch)
        } else {
            self.input_source(x)
        };
        self.block(kernels, source, self.second_at(second, 0, 0), out, [1, 1], panels);
    }

    fn run_flat(&self, kernels: Kernels, x: &[u8], second: &[u8], out: &mut [u8], pixels: Range<usize>) {
        let (first, count) = (pixels.start, pixels.len());
        let second_pixel = match &self.second {
            Second::None => 0,
            Second::Skip { view, .. } | Second::Projection { view, .. } => view.pixel,
        };
        let operand = self.operand(second.get(first * second_pixel..).unwrap_or_default());
        self.block(kernels, self.input_source(&x[first * self.input.pixel..]), operand, out, [1, count], ALL);
    }

    fn run_rows(&self, kernels: Kernels, x: &[u8], second: &[u8], out: &mut [u8], pixels: Range<usize>, scratch: &mut [u8]) {
        let width = self.output.w as usize;
        let padded = self.padded();
        let mut at = pixels.start;
        let mut filled = None;
        while at < pixels.end {
            let (y, left) = (at / width, at % width);
            let whole = left == 0 && pixels.end - at >= width;
            let (rows, count) = if whole { (((pixels.end - at) / width).min(self.block_rows.max(1)), width) } else { (1, (width - left).min(pixels.end - at)) };
            let source = if self.copies() {
                let kept = if filled == Some(y) { padded.kept } else { 0 };
                self.fill_rows(kernels, scratch, &padded, [y, rows, kept], x);
                let source = self.scratch_source(scratch);
                Source { bytes: &source.bytes[left * source.out_pixel..], ..source }
            } else {
                let source = self.input_source(x);
                Source { bytes: &x[y * source.out_row + left * source.out_pixel..], ..source }
            };
            let to = &mut out[byte_of(&self.output, at) - byte_of(&self.output, pixels.start)..];
            self.block(kernels, source, self.second_at(second, y, left), to, [rows, count], ALL);
            if self.copies() {
                filled = self.keep(scratch, &padded, y, rows);
            }
            at += if whole { rows * width } else { count };
        }
    }

    /// Fills the scratch with what `rows` output rows from `y` see; its first `kept` rows are there already.
    fn fill_rows(&self, kernels: Kernels, scratch: &mut [u8], padded: &Padded, [y, rows, kept]: [usize; 3], x: &[u8]) {
        let needed = (rows - 1) * self.window.stride[0] as usize + self.window.extent()[0] as usize;
        let first = (y * self.window.stride[0] as usize + kept).cast_signed() - (self.window.pads[0] as usize).cast_signed();
        let signed = matches!(self.input.kind, DataType::S8);
        let zero = kernels.flip() ^ if signed { 0x80 } else { 0 };
        let flip = if signed { zero } else { 0 };
        Fill { padded, input: &self.input, left: self.window.pads[1] as usize, border: self.padding, flip, zero }.rows(scratch, kept..needed, first, x);
    }

    /// Moves the rows that the next block sees again to the front; gives the output row for which they stand there.
    fn keep(&self, scratch: &mut [u8], padded: &Padded, y: usize, rows: usize) -> Option<usize> {
        let from = rows * self.window.stride[0] as usize;
        if padded.kept > 0 {
            copy::to_front(scratch, from * padded.pitch..(from + padded.kept) * padded.pitch);
        }
        Some(y + rows)
    }

    fn scratch_source<'b>(&self, scratch: &'b [u8]) -> Source<'b> {
        let padded = self.padded();
        self.source(scratch, padded.pitch, padded.pixel)
    }

    fn input_source<'b>(&self, x: &'b [u8]) -> Source<'b> {
        self.source(x, self.input.row, self.input.pixel)
    }

    fn source<'b>(&self, bytes: &'b [u8], row: usize, pixel: usize) -> Source<'b> {
        source(&self.window, bytes, row, pixel, matches!(self.input.kind, DataType::S8))
    }

    /// True if a kernel row of the source lies in adjacent bytes.
    const fn adjacent(&self) -> bool {
        self.groups == 1 && adjacent(&self.window, &self.input, self.copies())
    }

    fn second_at<'b>(&self, bytes: &'b [u8], y: usize, left: usize) -> BlockSecond<'b>
    where
        'a: 'b,
    {
        let (view, stride) = match &self.second {
            Second::None => return BlockSecond::None,
            Second::Skip { view, stride, .. } => (view, *stride),
            Second::Projection { view, window, .. } => (view, window.stride),
        };
        self.operand(&bytes[y * stride[0] as usize * view.row + left * stride[1] as usize * view.pixel..])
    }

    fn operand<'b>(&self, bytes: &'b [u8]) -> BlockSecond<'b>
    where
        'a: 'b,
    {
        match &self.second {
            Second::None => BlockSecond::None,
            Second::Skip { view, stride, front } => BlockSecond::Skip {
                bytes,
                out_row: stride[0] as usize * view.row,
                out_pixel: stride[1] as usize * view.pixel,
                first: -(*front as usize).cast_signed(),
                channels: view.c as usize,
                kind: view.kind,
            },
            Second::Projection { view, window, weights } => BlockSecond::Projection {
                source: source(window, bytes, view.row, view.pixel, false),
                taps: Depth::new(window, view.stored_channels()).taps(adjacent(window, view, false)),
                weights: weights.as_chunks().0,
            },
        }
    }

    /// Calls the kernel for `rows` by `pixels` outputs of a range of panels of each part.
    fn block(&self, kernels: Kernels, source: Source<'_>, second: BlockSecond<'_>, out: &mut [u8], [rows, pixels]: [usize; 2], panels: Range<usize>) {
        if panels.is_empty() {
            return;
        }
        let param_rows = params::rows(matches!(second, BlockSecond::Skip { .. }), matches!(second, BlockSecond::Projection { .. }));
        for index in 0..self.parts() {
            let Part { first: [input, output], channels, narrow, taps, panel, line } = self.part(index);
            let (panel, line) = (panel + panels.start, line + panels.start * taps.total());
            let second = match second {
                BlockSecond::Skip { bytes, out_row, out_pixel, first, channels, kind } => {
                    let first = first + (output + panels.start * LANES).cast_signed();
                    BlockSecond::Skip { bytes, out_row, out_pixel, first, channels, kind }
                }
                BlockSecond::Projection { source, taps, weights } => BlockSecond::Projection { source, taps, weights: &weights[panel * taps.total()..] },
                BlockSecond::None => BlockSecond::None,
            };
            kernels.conv(&mut ConvBlock {
                source: Source { bytes: &source.bytes[input..], ..source },
                taps,
                narrow,
                weights: &self.weights.as_chunks().0[line..],
                params: &self.params.as_chunks().0[panel * param_rows..],
                second,
                pair_safe: self.pair_safe,
                rows,
                pixels,
                out: &mut out[output * self.output.kind.bytes()..],
                out_row: self.output.row,
                out_pixel: self.output.pixel,
                channels: channels.min(panels.end * LANES) - panels.start * LANES,
                kind: self.output.kind,
            });
        }
    }
}

/// True if a kernel row lies in adjacent bytes: no dilation, and no foreign channels between the pixels.
const fn adjacent(window: &Window, view: &View, copied: bool) -> bool {
    window.dilation[1] == 1 && (copied || window.kernel[1] == 1 || view.pixel == view.stored_channels() * view.kind.bytes())
}

const fn source<'b>(window: &Window, bytes: &'b [u8], row: usize, pixel: usize, signed: bool) -> Source<'b> {
    Source {
        bytes,
        out_row: window.stride[0] as usize * row,
        out_pixel: window.stride[1] as usize * pixel,
        tap_row: window.dilation[0] as usize * row,
        tap_col: window.dilation[1] as usize * pixel,
        signed,
    }
}
