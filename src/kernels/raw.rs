//! What the vector sets share: a block as raw pointers, how its rows fall into tiles, and what a tile does with parameters of any size.

#![expect(unsafe_code, reason = "parameters and results are read and written inside the bounds that a block was checked for")]

/// `unroll!(i < N => body)`: the body for each `i`, written out, so that arrays that are indexed with it stay in registers. N is at most 16.
#[cfg(not(target_arch = "arm"))]
macro_rules! unroll {
    ($i:ident < $n:expr => $body:expr) => {
        unroll!(@ $i $n, $body, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    (@ $i:ident $n:expr, $body:expr, $($k:literal)*) => {
        { $(if $k < $n {
            let $i: usize = $k;
            $body
        })* }
    };
}
#[cfg(not(target_arch = "arm"))]
pub(super) use unroll;

pub mod addition;
#[cfg(any(arm64, neon32))]
pub mod windows;

use super::{BlockSecond, ConvBlock, Source, scalar, words};
use crate::pack::{LANES, Narrow, Taps, params};
use crate::quant::{DataType, rdm};
use crate::shape::share;
use core::ops::Range;

/// One convolution as a tile reads it. The pointers stay inside their slices for every pixel of the block: [`ConvBlock::check`] has proven it.
#[derive(Clone, Copy)]
pub struct Reads {
    /// The first run of the block's first pixel.
    pub bytes: *const u8,
    pub out_row: usize,
    pub out_pixel: usize,
    pub tap_row: usize,
    pub tap_col: usize,
    pub taps: Taps,
    /// Weights of the block's first panel.
    pub weights: *const u8,
    /// Bytes from one panel's weights to the next.
    pub panel: usize,
    pub signed: bool,
    /// True if the weights are too many to be read again and again from the second cache.
    pub many: bool,
    /// Bytes from behind the last pixel of a row to the first of the next.
    pub jump: usize,
}

impl Reads {
    fn new(source: &Source<'_>, taps: Taps, weights: &[[u8; 64]], pixels: usize) -> Self {
        Self {
            bytes: source.bytes.as_ptr(),
            out_row: source.out_row,
            out_pixel: source.out_pixel,
            tap_row: source.tap_row,
            tap_col: source.tap_col,
            taps,
            weights: weights.as_ptr().cast(),
            panel: taps.total() * 64,
            signed: source.signed,
            many: size_of_val(weights) > FEW_WEIGHTS,
            jump: jump(source.out_row, source.out_pixel, pixels),
        }
    }

    /// The first run of a pixel.
    #[inline(always)]
    pub const fn at(&self, row: usize, pixel: usize) -> *const u8 {
        self.bytes.wrapping_add(row * self.out_row + pixel * self.out_pixel)
    }

    /// Bytes from the first run of a tile's first pixel to that of its pixel `p`.
    #[inline(always)]
    pub const fn step(&self, t: &Tile, p: usize) -> usize {
        t.step(p, self.out_pixel, self.jump)
    }

    /// The weights of a panel.
    #[inline(always)]
    pub const fn weights(&self, panel: usize) -> *const u8 {
        self.weights.wrapping_add(panel * self.panel)
    }
}

/// What is added and stored in vectors: bytes and 16-bit words.
pub trait Element: Copy {}

impl Element for u8 {}
impl Element for i16 {}

/// A skip operand as a tile reads it.
#[derive(Clone, Copy)]
pub struct Skip {
    bytes: *const u8,
    out_row: usize,
    pub out_pixel: usize,
    first: isize,
    channels: usize,
    pub kind: DataType,
    jump: usize,
}

impl Skip {
    /// Bytes from a tile's first pixel to its pixel `p`.
    #[inline(always)]
    pub const fn step(&self, t: &Tile, p: usize) -> usize {
        t.step(p, self.out_pixel, self.jump)
    }

    /// Where lane 0 of a panel meets the skip; only the lanes of [`Self::lanes`] lie inside its slice.
    #[inline(always)]
    pub const fn at(&self, row: usize, pixel: usize, panel: usize) -> *const u8 {
        let channel = (panel * LANES).cast_signed() + self.first;
        self.bytes.wrapping_add(row * self.out_row + pixel * self.out_pixel).wrapping_offset(channel * self.kind.bytes().cast_signed())
    }

    /// The lanes of a panel that meet a channel, one bit a lane.
    #[inline(always)]
    pub fn lanes(&self, panel: usize) -> u16 {
        let first = (panel * LANES).cast_signed() + self.first;
        let below = first.saturating_neg().clamp(0, 16).cast_unsigned();
        let end = (self.channels.cast_signed() - first).clamp(0, 16).cast_unsigned();
        ones(end) & !ones(below)
    }

    /// The elements at `at` that `lanes` names, `zero` elsewhere.
    ///
    /// # Safety
    /// The lanes meet channels of the pixel, which are of type `T`, and the block's slices still live.
    #[cold]
    pub unsafe fn part<T: Element>(at: *const u8, lanes: u16, zero: T) -> [T; LANES] {
        let mut elements = [zero; LANES];
        for (lane, element) in elements.iter_mut().enumerate() {
            if lanes >> lane & 1 != 0 {
                // SAFETY: the lane meets a channel.
                *element = unsafe { at.cast::<T>().wrapping_add(lane).read_unaligned() };
            }
        }
        elements
    }
}

/// A mask of the first `n` of 16 lanes.
#[inline(always)]
const fn ones(n: usize) -> u16 {
    if n == 16 { u16::MAX } else { (1 << n) - 1 }
}

/// The second operand as a tile reads it.
#[derive(Clone, Copy)]
pub enum Second {
    None,
    Skip(Skip),
    Projection(Reads),
}

impl Second {
    /// A skip of S16.
    #[inline(always)]
    pub const fn wide(&self) -> Option<&Skip> {
        match self {
            Self::Skip(skip) if matches!(skip.kind, DataType::S16) => Some(skip),
            _ => None,
        }
    }
}

/// A block as raw pointers.
#[derive(Clone, Copy)]
pub struct Job {
    pub main: Reads,
    pub second: Second,
    params: *const u8,
    param_bytes: usize,
    pub rows: usize,
    pub pixels: usize,
    pub panels: usize,
    out: *mut u8,
    pub out_row: usize,
    pub out_pixel: usize,
    pub jump: usize,
    channels: usize,
    pub kind: DataType,
    pub narrow: Option<Narrow>,
    /// True if the doubles of all multipliers fit into 32 bits and the factors of a skip into 16, as a converter sees to it.
    pub plain: bool,
    /// True if it is plain and the skip or the output is S16: such a tile is finished apart.
    pub wide: bool,
}

impl Job {
    /// Checks the block and takes its pointers, which live as long as the block's slices.
    pub fn new(block: &mut ConvBlock<'_>) -> Self {
        block.check();
        let second = match &block.second {
            BlockSecond::None => Second::None,
            &BlockSecond::Skip { bytes, out_row, out_pixel, first, channels, kind } => {
                Second::Skip(Skip { bytes: bytes.as_ptr(), out_row, out_pixel, first, channels, kind, jump: jump(out_row, out_pixel, block.pixels) })
            }
            BlockSecond::Projection { source, taps, weights } => Second::Projection(Reads::new(source, *taps, weights, block.pixels)),
        };
        let plain = plain(block);
        Self {
            main: Reads::new(&block.source, block.taps, block.weights, block.pixels),
            wide: plain && (second.wide().is_some() || matches!(block.kind, DataType::S16)),
            second,
            params: block.params.as_ptr().cast(),
            param_bytes: block.param_rows() * 64,
            rows: block.rows,
            pixels: block.pixels,
            panels: block.panels(),
            out: block.out.as_mut_ptr(),
            out_row: block.out_row,
            out_pixel: block.out_pixel,
            jump: jump(block.out_row, block.out_pixel, block.pixels),
            channels: block.channels,
            kind: block.kind,
            narrow: block.narrow,
            plain,
        }
    }

    /// Row `row` (see [`crate::pack::params`]) of a panel's parameters: 64 bytes.
    #[inline(always)]
    pub const fn params(&self, panel: usize, row: usize) -> *const u8 {
        self.params.wrapping_add(panel * self.param_bytes + row * 64)
    }

    /// Where lane 0 of a panel goes.
    #[inline(always)]
    pub const fn out(&self, row: usize, pixel: usize, panel: usize) -> *mut u8 {
        self.out.wrapping_add(row * self.out_row + pixel * self.out_pixel + panel * LANES * self.kind.bytes())
    }

    /// Bytes from where a tile's first pixel goes to where its pixel `p` goes.
    #[inline(always)]
    pub const fn out_step(&self, t: &Tile, p: usize) -> usize {
        t.step(p, self.out_pixel, self.jump)
    }

    /// Channels to write from panel `panel` on, at most `panels` panels.
    #[inline(always)]
    pub const fn channels(&self, panel: usize, panels: usize) -> usize {
        let left = self.channels - panel * LANES;
        if left < panels * LANES { left } else { panels * LANES }
    }

    /// Calls `tile` for pieces that together are the block. `shape` says, for the panels that are left, how many to take and the most pixels of a tile.
    ///
    /// Where the weights are few, a piece of the picture that stays in the first cache meets all panels before the next one comes; else each panel meets all pixels.
    #[inline]
    pub fn tiles(&self, cut: &Cut, shape: impl Fn(usize) -> (usize, usize), mut tile: impl FnMut(Tile)) {
        let second = match &self.second {
            Second::None => 0,
            Second::Skip(skip) => skip.out_pixel,
            Second::Projection(reads) => reads.out_pixel,
        };
        let piece = if self.main.many { usize::MAX } else { cut.piece / (self.main.out_pixel + self.out_pixel + second).max(1) };
        let (_, widest) = shape(self.panels);
        let parts = self.pixels.div_ceil((piece / widest).max(1).saturating_mul(widest));
        let band = (piece / self.pixels).clamp(1, self.rows);
        for top in (0..self.rows).step_by(band) {
            for part in 0..parts {
                let Range { start: left, end: right } = share(self.pixels, part, parts);
                let rows = band.min(self.rows - top);
                let mut panel = 0;
                while panel < self.panels {
                    let (panels, widest) = shape(self.panels - panel);
                    let width = right - left;
                    let (lines, length) = if cut.wrap && parts == 1 && width >= widest { (1, rows * width) } else { (rows, width) };
                    let count = length.div_ceil(widest);
                    let units = length.div_ceil(cut.multiple);
                    let (least, more) = (units / count, units % count);
                    let mut index = 0;
                    for line in 0..lines {
                        let (mut row, mut pixel, mut rest) = (top + line, left, length);
                        for i in 0..count {
                            let pixels = ((least + usize::from(i < more)) * cut.multiple).min(rest);
                            tile(Tile { row, pixel, pixels, panel, panels, index, wrap: right - pixel });
                            index += 1;
                            rest -= pixels;
                            pixel += pixels;
                            if pixel >= right && rest > 0 {
                                (row, pixel) = (row + 1, pixel - width);
                            }
                        }
                    }
                    panel += panels;
                }
            }
        }
    }
}

fn plain(block: &ConvBlock<'_>) -> bool {
    let (rows, skip) = (block.param_rows(), matches!(block.second, BlockSecond::Skip { .. }));
    block.params.chunks_exact(rows).take(block.panels()).all(|p| fits(&p[params::MULTIPLIER], 31) && (!skip || fits(&p[params::K2], 16)))
}

/// True if the words of a line are numbers of so many bits, 1 to 31.
fn fits(line: &[u8; 64], bits: u32) -> bool {
    words(line).iter().fold(0, |used, w| used | (w ^ (w >> 31))) < 1 << (bits - 1)
}

/// How a set wants a block to be cut into tiles.
pub struct Cut {
    /// All but the last tile of a line have a multiple of this many pixels.
    pub multiple: usize,
    /// True if tiles may run on into the next row.
    pub wrap: bool,
    /// Bytes of a piece's tensors.
    pub piece: usize,
}

impl Cut {
    /// Row by row, any number of pixels.
    pub const ROWS: Self = Self { multiple: 1, wrap: false, piece: PIECE };
}

/// A piece of a block.
#[derive(Clone, Copy)]
pub struct Tile {
    pub row: usize,
    /// The first pixel, and how many there are.
    pub pixel: usize,
    pub pixels: usize,
    /// The first panel, and how many there are.
    pub panel: usize,
    pub panels: usize,
    /// How many tiles of these panels have come before in this piece of the block.
    pub index: usize,
    /// How many pixels of its first row are left: those of the tile beyond them lie at the beginning of the next row.
    pub wrap: usize,
}

impl Tile {
    /// A tile of one panel in one row.
    pub const fn of(pixel: usize, pixels: usize, panel: usize) -> Self {
        Self { row: 0, pixel, pixels, panel, panels: 1, index: 0, wrap: usize::MAX }
    }

    /// Row and pixel of pixel `p`.
    #[inline(always)]
    pub const fn place(&self, p: usize) -> (usize, usize) {
        if p < self.wrap { (self.row, self.pixel + p) } else { (self.row + 1, p - self.wrap) }
    }

    #[inline(always)]
    const fn step(&self, p: usize, pixel: usize, jump: usize) -> usize {
        (p * pixel).wrapping_add(if p >= self.wrap { jump } else { 0 })
    }
}

/// Bytes from behind the last pixel of a row to the first of the next; it wraps around where rows overlap.
const fn jump(row: usize, pixel: usize, pixels: usize) -> usize {
    row.wrapping_sub(pixels * pixel)
}

/// Bytes of weights that can be read again and again from the second cache.
const FEW_WEIGHTS: usize = 256 * 1024;
/// Bytes of a piece's tensors that leave room in a first cache of 32 KiB.
pub const PIECE: usize = 16 * 1024;

/// The lanes of registers, panel by panel.
///
/// # Safety
/// `V` is a vector register.
pub unsafe fn flat<V>(registers: &mut [V]) -> &mut [[i32; LANES]] {
    let panels = size_of_val(registers) / size_of::<[i32; LANES]>();
    // SAFETY: registers are vectors of 32-bit lanes without gaps, more strictly aligned than their lanes.
    unsafe { core::slice::from_raw_parts_mut(registers.as_mut_ptr().cast(), panels) }
}

/// Adds the skip to the panels of a pixel and rounds, with parameters of any size, for a set that stores U8 XOR `FLIP`.
///
/// # Safety
/// The pixel and its panels lie inside the block, whose slices still live.
#[cold]
#[inline(never)]
pub unsafe fn finish<const FLIP: u8>(sums: &mut [[i32; LANES]], job: &Job, row: usize, pixel: usize, panel: usize) {
    for (n, sums) in sums.iter_mut().enumerate() {
        // SAFETY: a row of parameters is 64 bytes.
        let line = |row| words(unsafe { &*job.params(panel + n, row).cast() });
        if let Second::Skip(skip) = &job.second {
            let (lanes, at, k2) = (skip.lanes(panel + n), skip.at(row, pixel, panel + n), line(params::K2));
            for (lane, sum) in sums.iter_mut().enumerate().filter(|(lane, _)| lanes >> lane & 1 != 0) {
                // SAFETY: the lane meets a channel.
                let element = unsafe { core::slice::from_raw_parts(at.wrapping_add(lane * skip.kind.bytes()), skip.kind.bytes()) };
                let flip = if matches!(skip.kind, DataType::U8) { i32::from(FLIP) } else { 0 };
                *sum = sum.wrapping_add((skip.kind.read(element) ^ flip).wrapping_mul(k2[lane]));
            }
        }
        let m = line(params::MULTIPLIER);
        *sums = core::array::from_fn(|lane| rdm(sums[lane], m[lane]));
    }
}

/// Stores the panels of a pixel in the type of the output, for a set that stores U8 XOR `FLIP`.
///
/// # Safety
/// The pixel and its panels lie inside the block, whose slices still live.
#[inline(never)]
pub unsafe fn store<const FLIP: u8>(values: &[[i32; LANES]], job: &Job, row: usize, pixel: usize, panel: usize) {
    let channels = job.channels(panel, values.len());
    // SAFETY: the channels of the pixel lie inside the output, which nothing else borrows meanwhile.
    let out = unsafe { core::slice::from_raw_parts_mut(job.out(row, pixel, panel), channels * job.kind.bytes()) };
    if let Some(narrow) = job.narrow {
        for (values, out) in values.iter().zip(out.chunks_mut(LANES * job.kind.bytes())) {
            scalar::store(out, &narrow.lanes().map(|lane| values[usize::from(lane)]), job.kind, FLIP);
        }
        return;
    }
    scalar::store(out, &values.as_flattened()[..channels], job.kind, FLIP);
}

/// Stores the first `channels` elements, a multiple of 4.
///
/// # Safety
/// The output has room for them.
#[inline(always)]
pub unsafe fn store_part<T: Element>(elements: &[T; LANES], out: *mut u8, channels: usize) {
    for (i, four) in elements[..channels].as_chunks::<4>().0.iter().enumerate() {
        // SAFETY: as the caller's.
        unsafe { out.cast::<[T; 4]>().wrapping_add(i).write_unaligned(*four) };
    }
}

/// How the sets that multiply signed bytes store U8.
pub const SIGNED_FLIP: u8 = 0x80;

/// What all tiles of a panel share, for sets that multiply signed bytes.
pub struct SignedPanel {
    pub index: usize,
    /// What the sums start from.
    pub first: [i32; LANES],
    /// What those of a projection start from.
    pub second: [i32; LANES],
    /// The factors of a skip, if they fit.
    pub k2: [i16; LANES],
    /// The lanes that meet a channel of the skip, one bit a lane.
    pub lanes: u16,
}

impl SignedPanel {
    /// A panel of the block.
    #[expect(clippy::cast_possible_truncation, reason = "used where the factors fit")]
    pub fn new(job: &Job, index: usize) -> Self {
        assert!(index < job.panels);
        // SAFETY: a row of parameters is 64 bytes, and the block has the panel.
        let line = |row| words(unsafe { &*job.params(index, row).cast() });
        let sum = |a: [i32; LANES], b: [i32; LANES]| core::array::from_fn(|i| a[i].wrapping_add(b[i]));
        // A byte of a U8 value lacks 128.
        let correction = |reads: &Reads, row| if reads.signed { [0; LANES] } else { line(row).map(|s| s << 7) };
        let mut panel = Self { index, first: correction(&job.main, params::SUM), second: [0; LANES], k2: [0; LANES], lanes: 0 };
        match &job.second {
            Second::None => {}
            Second::Skip(skip) => {
                let k2 = line(params::K2);
                (panel.lanes, panel.k2) = (skip.lanes(index), k2.map(|k| k as i16));
                if matches!(skip.kind, DataType::U8) && job.plain {
                    panel.first = sum(panel.first, k2.map(|k| k << 7));
                }
            }
            Second::Projection(reads) => {
                panel.second = correction(reads, params::SUM2);
                return panel;
            }
        }
        panel.first = sum(panel.first, line(params::BIAS));
        panel
    }
}
