//! Narrow groups on 64-bit ARM: tiles of a few pixels side by side, many of them in one call, so that what they share stays in registers.
//!
//! The sets differ in how they multiply ([`Side`]).

#![expect(unsafe_code, reason = "loops in assembly inside the bounds that a block was checked for")]

use super::{Sums, any_finish, line};
use crate::kernels::ConvBlock;
use crate::kernels::raw::{Job, Tile, unroll};
use crate::pack::{LANES, Narrow, params};
use crate::quant::DataType;
use crate::shape::LINE;
use core::arch::aarch64::*;

/// A set's way to multiply narrow groups.
pub trait Side {
    /// The most pixels of a tile, at most 6.
    const PIXELS: usize;
    /// Tiles have a multiple of so many pixels, 1 or 2. The last of an odd number is its own neighbour.
    const MULTIPLE: usize = 1;

    /// What the tiles of a panel of `lines` lines a tap share.
    ///
    /// # Safety
    /// NEON is part of the target.
    unsafe fn panel(first: Sums, multipliers: Sums, narrow: Narrow) -> Panel;

    /// Computes tiles of `P` pixels.
    ///
    /// # Safety
    /// The CPU must have the instructions of the set; all that the strip names must be there.
    unsafe fn strip<const P: usize>(strip: &mut Strip<'_>);
}

/// What the tiles of a panel share. The assembly knows the places of the fields.
#[repr(C)]
pub struct Panel {
    /// What the sums start from, as the set keeps them: line by line.
    pub first: [Sums; 4],
    /// Multipliers, as the set keeps the sums in the end.
    pub multipliers: [Sums; 2],
    /// The order of the channels.
    pub lanes: [uint8x16_t; 2],
}

/// Tiles of a panel that lie equally far apart.
pub struct Strip<'a> {
    pub panel: &'a Panel,
    /// Where the first tile's first run begins, and where its results go.
    pub at: *const u8,
    pub out: *mut u8,
    pub tiles: usize,
    /// Bytes from one tile to the next, in what is read and what is written.
    pub tile: [usize; 2],
    /// Bytes from one pixel to the next.
    pub pixel: [usize; 2],
    /// Bytes from the pixel before the last to the last: 0 if there is no such pixel.
    pub last: [usize; 2],
    /// Rows and columns of taps, and the bytes from one to the next.
    pub taps: [usize; 2],
    pub tap: [usize; 2],
    /// The first line of weights, and the bytes from one tap's to the next's.
    pub line: *const u8,
    pub lines: usize,
    /// What becomes of the sums: [`SIGNED`], [`WORDS`] or 0; and [`SHARED`].
    pub mode: usize,
    /// The sums of a tile, where they are left if they are wanted as words.
    pub sums: [Sums; 6],
}

/// Results are S8.
pub const SIGNED: usize = 1;
/// The sums of the only tile are wanted, in order of the lanes.
pub const WORDS: usize = 2;
/// A tap's bytes are those of the neighbour pixel's tap before it, and there are three taps in a row.
pub const SHARED: usize = 4;

/// Computes a block of narrow groups.
///
/// # Safety
/// The CPU must have the instructions of `F`, for groups of 4, and of `E`, for groups of 8.
pub unsafe fn narrow<F: Side, E: Side>(block: &mut ConvBlock<'_>, narrow: Narrow) {
    // SAFETY: as the caller's.
    unsafe {
        match narrow {
            Narrow::Four => whole::<F>(block, narrow),
            Narrow::Eight => whole::<E>(block, narrow),
        }
    }
}

/// Computes a block panel by panel.
///
/// # Safety
/// As [`narrow`].
unsafe fn whole<S: Side>(block: &mut ConvBlock<'_>, narrow: Narrow) {
    let job = Job::new(block);
    let reads = &job.main;
    // A column of pixels is as good as a row.
    let column = job.pixels == 1;
    let sides = [[reads.out_row, job.out_row], [reads.out_pixel, job.out_pixel]];
    let (rows, pixels, [row, pixel]) = if column { (1, job.rows, [sides[1], sides[0]]) } else { (job.rows, job.pixels, sides) };
    let bytes = job.plain && matches!(job.kind, DataType::U8 | DataType::S8);
    let shared = pixel[0] == reads.tap_col && reads.taps.cols == 3;
    let mode = (if !bytes { WORDS } else { usize::from(matches!(job.kind, DataType::S8)) * SIGNED }) | (usize::from(shared) * SHARED);
    let units = pixels.div_ceil(S::MULTIPLE);
    let count = units.div_ceil(S::PIXELS / S::MULTIPLE);
    let (least, more) = (units / count, units % count);
    for index in 0..job.panels {
        // SAFETY: NEON is part of the target; the panel has its parameters.
        let panel = unsafe { panel::<S>(&job, index, narrow) };
        let mut strip = Strip {
            panel: &panel,
            at: reads.bytes,
            out: job.out(0, 0, index),
            tiles: 1,
            tile: row,
            pixel,
            last: pixel,
            taps: [reads.taps.rows, reads.taps.cols],
            tap: [reads.tap_row, reads.tap_col],
            line: reads.weights(index),
            lines: narrow.lines() * LINE,
            mode,
            sums: [[panel.multipliers[0][0]; 4]; 6],
        };
        let mut left = 0;
        for (width, tiles) in [(least + 1, more), (least, count - more)] {
            let width = width * S::MULTIPLE;
            // The longer side of what is covered by tiles of one width is that of a strip.
            let across = tiles > rows && pixels.is_multiple_of(S::MULTIPLE);
            let (strips, length) = if !bytes { (tiles * rows, 1) } else if across { (rows, tiles) } else { (tiles, rows) };
            for i in 0..strips {
                let (y, x) = if !bytes { (i / tiles, i % tiles) } else if across { (i, 0) } else { (0, i) };
                let x = left + x * width;
                let [from, to] = [0, 1].map(|side| y * row[side] + x * pixel[side]);
                strip.at = reads.bytes.wrapping_add(index * LANES + from);
                strip.out = job.out(0, 0, index).wrapping_add(to);
                (strip.tiles, strip.tile) = (length, if across { pixel.map(|bytes| bytes * width) } else { row });
                strip.last = if x + width > pixels { [0; 2] } else { pixel };
                // SAFETY: the tiles lie inside the block, whose pixels and taps all have their bytes; the instructions are the caller's promise.
                unsafe {
                    of_width::<S>(&mut strip, width);
                    if !bytes {
                        let m = line(&job, index, params::MULTIPLIER);
                        for (p, sums) in strip.sums[..width.min(pixels - x)].iter_mut().enumerate() {
                            let (row, pixel) = if column { (x + p, 0) } else { (y, x + p) };
                            if job.plain {
                                unroll!(q < 4 => sums[q] = vqrdmulhq_s32(sums[q], m[q]));
                            }
                            any_finish(core::slice::from_mut(sums), &job, Tile { row, ..Tile::of(pixel, 1, index) });
                        }
                    }
                }
            }
            left += tiles * width;
        }
    }
}

/// # Safety
/// The panel must be the job's.
unsafe fn panel<S: Side>(job: &Job, index: usize, narrow: Narrow) -> Panel {
    // SAFETY: as the caller's; NEON is part of the target.
    unsafe {
        let [mut first, sums, multipliers] = [params::BIAS, params::SUM, params::MULTIPLIER].map(|row| line(job, index, row));
        if !job.main.signed {
            // A byte of a U8 value lacks 128.
            unroll!(q < 4 => first[q] = vaddq_s32(first[q], vshlq_n_s32::<7>(sums[q])));
        }
        S::panel(first, multipliers, narrow)
    }
}

/// The words of two lines that start from the sums of lanes: each lane is two of them.
///
/// # Safety
/// NEON is part of the target.
pub unsafe fn spread(first: Sums) -> [Sums; 2] {
    // SAFETY: as the caller's.
    unsafe {
        let zero = vdupq_n_s32(0);
        [first.map(|f| vzip1q_s32(f, zero)), first.map(|f| vzip2q_s32(f, zero))]
    }
}

/// # Safety
/// As [`Side::strip`].
#[inline(always)]
unsafe fn of_width<S: Side>(strip: &mut Strip<'_>, width: usize) {
    // SAFETY: as the caller's.
    unsafe {
        match width {
            1 if S::MULTIPLE == 1 => S::strip::<1>(strip),
            2 => S::strip::<2>(strip),
            3 if S::PIXELS >= 3 && S::MULTIPLE == 1 => S::strip::<3>(strip),
            4 if S::PIXELS >= 4 => S::strip::<4>(strip),
            5 if S::PIXELS >= 5 && S::MULTIPLE == 1 => S::strip::<5>(strip),
            6 if S::PIXELS >= 6 => S::strip::<6>(strip),
            _ => unreachable!("a tile is wider than the set's tiles"),
        }
    }
}

/// Text for tiles of more than `$pixel` pixels.
macro_rules! only {
    ($pixel:literal, $text:expr) => {
        concat!(".if {pixels} > ", $pixel, "\n", $text, ".endif\n")
    };
}
pub(in crate::kernels) use only;

/// A macro over the four registers of each pixel.
macro_rules! pixels {
    ($one:ident) => {
        concat!(
            only!(0, $one!(0 1 2 3)),
            only!(1, $one!(4 5 6 7)),
            only!(2, $one!(8 9 10 11)),
            only!(3, $one!(12 13 14 15)),
            only!(4, $one!(16 17 18 19)),
        )
    };
}
pub(in crate::kernels) use pixels;

/// Four registers of a pixel from `{x}`.
macro_rules! load {
    ($a:literal $b:literal $c:literal $d:literal) => {
        concat!("ld1 {{v", $a, ".4s, v", $b, ".4s, v", $c, ".4s, v", $d, ".4s}}, [{x}]\n")
    };
}
pub(in crate::kernels) use load;

/// Four registers of a pixel to `{x}`.
macro_rules! store {
    ($a:literal $b:literal $c:literal $d:literal) => {
        concat!("st1 {{v", $a, ".4s, v", $b, ".4s, v", $c, ".4s, v", $d, ".4s}}, [{x}], #64\n")
    };
}
pub(in crate::kernels) use store;

/// Neighbours of the first line's sums and of these are lanes.
macro_rules! pair_up {
    (@ $first:literal $a:literal) => {
        concat!("addp v", $a, ".4s, v", $first, ".4s, v", $a, ".4s\n")
    };
    ($a:literal $b:literal $c:literal $d:literal) => {
        concat!(
            "ld1 {{v28.4s, v29.4s, v30.4s, v31.4s}}, [{x}], #64\n",
            pair_up!(@ 28 $a), pair_up!(@ 29 $b), pair_up!(@ 30 $c), pair_up!(@ 31 $d),
        )
    };
}
pub(in crate::kernels) use pair_up;

/// Register `$a` times the multipliers in register `$m`, rounded.
macro_rules! rounded {
    ($a:literal $m:literal) => {
        concat!("sqrdmulh v", $a, ".4s, v", $a, ".4s, v", $m, ".4s\n")
    };
}
pub(in crate::kernels) use rounded;

macro_rules! rounds {
    ($a:literal $b:literal $c:literal $d:literal) => {
        concat!(rounded!($a 28), rounded!($b 29), rounded!($c 30), rounded!($d 31))
    };
}
pub(in crate::kernels) use rounds;

/// To 16 bits, the first two registers to the first and the others to the third.
macro_rules! halve {
    ($a:literal $b:literal $c:literal $d:literal) => {
        concat!(
            "sqxtn v", $a, ".4h, v", $a, ".4s\nsqxtn2 v", $a, ".8h, v", $b, ".4s\n",
            "sqxtn v", $c, ".4h, v", $c, ".4s\nsqxtn2 v", $c, ".8h, v", $d, ".4s\n",
        )
    };
}
pub(in crate::kernels) use halve;

/// S8 as if it were U8: plus 128.
macro_rules! lift {
    ($a:literal $b:literal $c:literal $d:literal) => {
        concat!("sqadd v", $a, ".8h, v", $a, ".8h, v27.8h\nsqadd v", $c, ".8h, v", $c, ".8h, v27.8h\n")
    };
}
pub(in crate::kernels) use lift;

/// Registers `$a` and `$c` of 16 bits to bytes, as U8 is stored, in `$to`.
macro_rules! narrowed {
    ($to:literal <- $a:literal $c:literal) => {
        concat!(
            "sqxtun v", $to, ".8b, v", $a, ".8h\nsqxtun2 v", $to, ".16b, v", $c, ".8h\n",
            "eor v", $to, ".16b, v", $to, ".16b, v26.16b\n",
        )
    };
}
pub(in crate::kernels) use narrowed;

/// Stores the bytes of a pixel in order.
macro_rules! put {
    ($a:literal $b:literal $c:literal $d:literal) => {
        concat!(
            narrowed!($a <- $a $c),
            "tbl v", $a, ".16b, {{v", $a, ".16b}}, v25.16b\nst1 {{v", $a, ".16b}}, [{x}], {out_pixel}\n",
        )
    };
}
pub(in crate::kernels) use put;

/// Tiles one after the other. `$sums` sums up a line of each tap: `{x}` says from which words, `{w}` where the first line is; a pixel's sums are four registers.
/// `$bytes` are those of a line's first words.
macro_rules! tiles {
    ($sums:expr, $bytes:literal) => {
        concat!(
            "2:\nmov {turn}, {lines}\nmov {w}, {line}\nmov {x}, {panel}\n",
            "3:\n",
            $sums,
            "subs {turn}, {turn}, #64\nb.eq 8f\nmov {x}, {sums}\n",
            pixels!(store),
            "add {w}, {line}, #64\nadd {x}, {panel}, #",
            $bytes,
            "\nb 3b\n",
            "8:\ntbz {lines}, #7, 8f\nmov {x}, {sums}\n",
            pixels!(pair_up),
            "8:\ntbnz {mode}, #1, 9f\nadd {x}, {panel}, #256\n",
            "ld1 {{v28.4s, v29.4s, v30.4s, v31.4s}}, [{x}]\n",
            pixels!(rounds),
            pixels!(halve),
            "tbz {mode}, #0, 8f\nmovi v27.8h, #128\n",
            pixels!(lift),
            "8:\nldr q25, [{panel}, #384]\nmovi v26.16b, #128\nmov {x}, {out}\n",
            pixels!(put),
            "add {at}, {at}, {tile}\nadd {out}, {out}, {out_tile}\nsubs {tiles}, {tiles}, #1\nb.ne 2b\nb 12f\n",
            "9:\nmov {x}, {sums}\n",
            pixels!(store),
            "12:\n",
        )
    };
}
pub(in crate::kernels) use tiles;
