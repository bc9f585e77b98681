//! Narrow groups on 64-bit ARM: tiles of a few pixels side by side, many of them in one call, so that what they share stays in registers.
//!
//! The sets differ in how they multiply ([`Side`]).

#![expect(unsafe_code, reason = "loops in assembly, loads and stores inside the bounds that a block was checked for")]

use super::{Sums, any_finish, clamped, line};
use crate::kernels::ConvBlock;
use crate::kernels::raw::{Job, Reads, Tile, unroll};
use crate::pack::{LANES, Narrow, params};
use crate::quant::DataType;
use crate::shape::LINE;
use core::arch::aarch64::*;
use core::mem::offset_of;

/// A set's way to multiply narrow groups.
pub trait Side {
    /// The most pixels of a tile, at most 6.
    const PIXELS: usize;
    /// Tiles have a multiple of so many pixels, 1 or 2.
    const MULTIPLE: usize = 1;

    /// Writes what the tiles of a panel share.
    ///
    /// # Safety
    /// NEON is part of the target.
    unsafe fn panel(to: &mut Panel, first: Sums, multipliers: Sums, narrow: Narrow);

    /// Computes tiles of `P` pixels.
    ///
    /// # Safety
    /// The CPU must have the instructions of the set; all that the field names must be there.
    unsafe fn tiles<const P: usize>(field: &mut Field);
}

/// What the tiles of a panel share. The assembly knows the places of the fields.
#[repr(C)]
pub struct Panel {
    /// What the sums start from, as the set keeps them: line by line.
    pub first: [Sums; 4],
    /// Multipliers, as the set keeps the sums in the end.
    pub multipliers: [Sums; 2],
    /// The order of the channels.
    pub lanes: [[u8; LANES]; 2],
}

/// Tiles of a panel in strips: equally far apart, strips as well. The assembly knows the places of the fields.
#[repr(C)]
pub struct Field {
    /// Rows and columns of taps.
    taps: [usize; 2],
    /// Bytes from one row of taps to the next, from one column to the next.
    tap: [usize; 2],
    /// Bytes from one pixel to the next, in what is read and what is written.
    pixel: [usize; 2],
    /// From one tile to the next.
    tile: [usize; 2],
    /// From one strip to the next.
    strip: [usize; 2],
    /// Tiles of a strip, and strips.
    count: [usize; 2],
    /// Where the first tile's first run begins, and where its results go.
    at: *const u8,
    out: *mut u8,
    /// The first line of weights, and the bytes from one tap's to the next's.
    line: *const u8,
    lines: usize,
    /// What becomes of the sums: [`SIGNED`], [`WORDS`], or 0 and perhaps [`SMALL`]; and what [`shared`] says.
    mode: usize,
    panel: Panel,
    /// The sums of a tile, where they are left if they are wanted as words.
    sums: [Sums; 6],
}

// The places that the assembly knows.
const _: () = {
    assert!(offset_of!(Field, taps) == 0 && offset_of!(Field, tap) == 16 && offset_of!(Field, pixel) == 32 && offset_of!(Field, tile) == 48);
    assert!(offset_of!(Field, strip) == 64 && offset_of!(Field, count) == 80 && offset_of!(Field, at) == 96 && offset_of!(Field, out) == 104);
    assert!(offset_of!(Field, line) == 112 && offset_of!(Field, lines) == 120 && offset_of!(Field, mode) == 128);
    let panel = offset_of!(Field, panel);
    assert!(panel + offset_of!(Panel, first) == 144 && panel + offset_of!(Panel, multipliers) == 400 && panel + offset_of!(Panel, lanes) == 528);
    assert!(offset_of!(Field, sums) == 560);
};

/// Results are S8.
pub const SIGNED: usize = 1;
/// The sums of the only tile are wanted, in the order of the lanes.
pub const WORDS: usize = 2;
/// A tap's bytes are those of the neighbour pixel's tap before it, and there are three taps in a row.
pub const SHARED: usize = 4;
/// As [`SHARED`], but there are not three rows.
pub const ROWS: usize = 8;
/// A pixel's first bytes are those of the neighbour pixel's third tap, and there are three taps in a row.
pub const APART: usize = 16;
/// Results are U8, and rounded sums fit into 16 bits.
pub const SMALL: usize = 32;

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
    let sides = [[reads.out_row, job.out_row], [reads.out_pixel, job.out_pixel]];
    let ([rows, pixels], [row, pixel]) = if job.pixels == 1 { ([1, job.rows], [sides[1], sides[0]]) } else { ([job.rows, job.pixels], sides) };
    let bytes = job.plain && matches!(job.kind, DataType::U8 | DataType::S8);
    let result = if !bytes { WORDS } else { usize::from(matches!(job.kind, DataType::S8)) * SIGNED };
    let mode = result | shared(reads, pixel[0]);
    let columns = columns::<S>(pixels);
    // SAFETY: NEON is part of the target.
    let zero = unsafe { vdupq_n_s32(0) };
    let mut field = Field {
        taps: [reads.taps.rows, reads.taps.cols],
        tap: [reads.tap_row, reads.tap_col],
        pixel: if pixels < S::MULTIPLE { [0; 2] } else { pixel },
        tile: row,
        strip: row,
        count: [1; 2],
        at: reads.bytes,
        out: job.out(0, 0, 0),
        line: reads.weights,
        lines: narrow.lines() * LINE,
        mode,
        panel: Panel { first: [[zero; 4]; 4], multipliers: [[zero; 4]; 2], lanes: [*narrow.lanes(); 2] },
        sums: [[zero; 4]; 6],
    };
    for index in 0..job.panels {
        // SAFETY: NEON is part of the target; the block has the panel.
        let small = unsafe { fill::<S>(&mut field.panel, &job, index, narrow) };
        field.mode = mode | if small && mode & (SIGNED | WORDS) == 0 { SMALL } else { 0 };
        field.line = reads.weights(index);
        for &(first, width, count) in columns.iter().filter(|(.., count)| *count > 0) {
            let start = [reads.bytes.wrapping_add(index * LANES + first * pixel[0]), job.out(0, 0, index).wrapping_add(first * pixel[1]).cast_const()];
            let next = pixel.map(|bytes| bytes * width);
            // SAFETY: the tiles lie inside the block, whose pixels and taps all have their bytes; the instructions are the caller's promise.
            unsafe {
                if bytes {
                    (field.at, field.out) = (start[0], start[1].cast_mut());
                    // The longer side is that of a strip.
                    (field.count, field.tile, field.strip) = if rows < count { ([count, rows], next, row) } else { ([rows, count], row, next) };
                    // The last tile's pixels have been passed.
                    field.tile[1] = field.tile[1].wrapping_sub(next[1]);
                    of_width::<S>(&mut field, width);
                } else {
                    words::<S>(&mut field, &job, index, [rows, count], start[0], [row[0], next[0]], (first, width));
                }
            }
        }
    }
}

/// Which bytes are shared by pixels that lie so far apart: [`SHARED`] and the like.
const fn shared(reads: &Reads, pixel: usize) -> usize {
    match (reads.taps.cols, reads.taps.rows) {
        (3, 3) if pixel == reads.tap_col => SHARED,
        (3, _) if pixel == reads.tap_col => SHARED | ROWS,
        (3, _) if pixel == 2 * reads.tap_col => APART,
        _ => 0,
    }
}

/// How a row falls into tiles: the first pixel of those of a width, the width, and how many they are. The last of an odd number of pixels, where tiles have an
/// even one, is computed with the pixel before once more.
fn columns<S: Side>(pixels: usize) -> [(usize, usize, usize); 3] {
    let units = (pixels / S::MULTIPLE).max(1);
    let count = units.div_ceil(S::PIXELS / S::MULTIPLE);
    let (least, more) = (units / count * S::MULTIPLE, units % count);
    let (wide, covered) = (least + S::MULTIPLE, units * S::MULTIPLE);
    let rest = if covered < pixels { 1 } else { 0 };
    [(0, wide, more), (more * wide, least, count - more), (pixels.saturating_sub(S::MULTIPLE), S::MULTIPLE, rest)]
}

/// Computes tiles whose results are not bytes, or whose parameters are of any size.
///
/// # Safety
/// As [`narrow`]; the field and the panel must be the job's, and the tiles must lie inside the block.
#[inline(never)]
unsafe fn words<S: Side>(
    field: &mut Field,
    job: &Job,
    panel: usize,
    [rows, count]: [usize; 2],
    start: *const u8,
    next: [usize; 2],
    (first, width): (usize, usize),
) {
    let Some(narrow) = job.narrow else { unreachable!("the groups are narrow") };
    // SAFETY: as the caller's; a block of narrow groups has whole panels.
    unsafe {
        let (multipliers, order) = (line(job, panel, params::MULTIPLIER), words_in_order(narrow.lanes()));
        for (y, x) in (0..rows).flat_map(|y| (0..count).map(move |x| (y, x))) {
            (field.at, field.count) = (start.wrapping_add(y * next[0] + x * next[1]), [1; 2]);
            of_width::<S>(field, width);
            for (p, sums) in field.sums[..width].iter_mut().enumerate() {
                let pixel = first + x * width + p;
                let (row, pixel) = if job.pixels == 1 { (pixel, 0) } else { (y, pixel) };
                if row < job.rows && pixel < job.pixels {
                    if job.wide {
                        finish_words(*sums, &multipliers, order, job.out(row, pixel, panel));
                    } else {
                        any_finish(core::slice::from_mut(sums), job, Tile { row, ..Tile::of(pixel, 1, panel) });
                    }
                }
            }
        }
    }
}

/// The places of the bytes of S16, from the order of channels.
///
/// # Safety
/// NEON is part of the target.
unsafe fn words_in_order(lanes: &[u8; LANES]) -> uint8x16x2_t {
    // SAFETY: as the caller's; there are 16 lanes.
    unsafe {
        let low = vshlq_n_u8::<1>(vld1q_u8(lanes.as_ptr()));
        let high = vaddq_u8(low, vdupq_n_u8(1));
        uint8x16x2_t(vzip1q_u8(low, high), vzip2q_u8(low, high))
    }
}

/// Rounds the sums of a pixel, clamps them to S16 and stores them in the order of the channels.
///
/// # Safety
/// The output must have room for [`LANES`] words; NEON is part of the target.
#[inline(always)]
unsafe fn finish_words(mut sums: Sums, multipliers: &Sums, order: uint8x16x2_t, out: *mut u8) {
    // SAFETY: as the caller's.
    unsafe {
        unroll!(q < 4 => sums[q] = vqrdmulhq_s32(sums[q], multipliers[q]));
        let [low, high] = clamped(sums).map(|words| vreinterpretq_u8_s16(words));
        let all = uint8x16x2_t(low, high);
        vst1q_u8(out, vqtbl2q_u8(all, order.0));
        vst1q_u8(out.wrapping_add(LANES), vqtbl2q_u8(all, order.1));
    }
}

/// Writes what the tiles of a panel share; true if its rounded sums fit into 16 bits.
///
/// # Safety
/// The panel must be the job's; NEON is part of the target.
unsafe fn fill<S: Side>(to: &mut Panel, job: &Job, index: usize, narrow: Narrow) -> bool {
    // SAFETY: as the caller's; NEON is part of the target.
    unsafe {
        let [mut first, sums, multipliers] = [params::BIAS, params::SUM, params::MULTIPLIER].map(|row| line(job, index, row));
        if !job.main.signed {
            // A byte of a U8 value lacks 128.
            unroll!(q < 4 => first[q] = vaddq_s32(first[q], vshlq_n_s32::<7>(sums[q])));
        }
        S::panel(to, first, multipliers, narrow);
        let taps = job.main.taps.rows * job.main.taps.cols;
        let products = vdupq_n_s32(i32::try_from(taps * narrow.channels() * PRODUCT).unwrap_or(i32::MAX));
        let mut most = vdupq_n_s32(0);
        unroll!(q < 4 => {
            let sum = vqaddq_s32(vqabsq_s32(first[q]), products);
            most = vmaxq_s32(most, vqrdmulhq_s32(sum, vqabsq_s32(multipliers[q])));
        });
        vmaxvq_s32(most) < i32::from(i16::MAX)
    }
}

/// The largest product of a signed byte and a weight.
const PRODUCT: usize = 128 * 127;

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

/// Computes tiles of so many pixels.
///
/// # Safety
/// As [`Side::tiles`].
unsafe fn of_width<S: Side>(field: &mut Field, width: usize) {
    // SAFETY: as the caller's.
    unsafe {
        match width {
            1 if S::MULTIPLE == 1 => S::tiles::<1>(field),
            2 => S::tiles::<2>(field),
            3 if S::PIXELS >= 3 && S::MULTIPLE == 1 => S::tiles::<3>(field),
            4 if S::PIXELS >= 4 => S::tiles::<4>(field),
            5 if S::PIXELS >= 5 && S::MULTIPLE == 1 => S::tiles::<5>(field),
            6 if S::PIXELS >= 6 => S::tiles::<6>(field),
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

/// Four registers of a pixel from `{first}`.
macro_rules! load {
    ($a:literal $b:literal $c:literal $d:literal) => {
        concat!("ld1 {{v", $a, ".4s, v", $b, ".4s, v", $c, ".4s, v", $d, ".4s}}, [{first}]\n")
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
            "sqxtn v",
            $a,
            ".4h, v",
            $a,
            ".4s\nsqxtn2 v",
            $a,
            ".8h, v",
            $b,
            ".4s\n",
            "sqxtn v",
            $c,
            ".4h, v",
            $c,
            ".4s\nsqxtn2 v",
            $c,
            ".8h, v",
            $d,
            ".4s\n",
        )
    };
}
pub(in crate::kernels) use halve;

/// [`halve`], where the numbers fit.
macro_rules! low_halves {
    ($a:literal $b:literal $c:literal $d:literal) => {
        concat!("uzp1 v", $a, ".8h, v", $a, ".8h, v", $b, ".8h\nuzp1 v", $c, ".8h, v", $c, ".8h, v", $d, ".8h\n")
    };
}
pub(in crate::kernels) use low_halves;

/// S8 as if it were U8: plus 128.
macro_rules! lift {
    ($a:literal $b:literal $c:literal $d:literal) => {
        concat!("sqadd v", $a, ".8h, v", $a, ".8h, v26.8h\nsqadd v", $c, ".8h, v", $c, ".8h, v26.8h\n")
    };
}
pub(in crate::kernels) use lift;

/// Registers `$a` and `$c` of 16 bits to bytes, as U8 is stored, in `$to`.
macro_rules! narrowed {
    ($to:literal <- $a:literal $c:literal) => {
        concat!("sqxtun v", $to, ".8b, v", $a, ".8h\nsqxtun2 v", $to, ".16b, v", $c, ".8h\n", "eor v", $to, ".16b, v", $to, ".16b, v27.16b\n",)
    };
}
pub(in crate::kernels) use narrowed;

/// Stores the bytes of a pixel in order.
macro_rules! put {
    ($a:literal $b:literal $c:literal $d:literal) => {
        concat!(
            narrowed!($a <- $a $c),
            "tbl v", $a, ".16b, {{v", $a, ".16b}}, v25.16b\nst1 {{v", $a, ".16b}}, [{out}], {out_pixel}\n",
        )
    };
}
pub(in crate::kernels) use put;

/// What all tiles share, from the field.
macro_rules! fields {
    () => {
        concat!(
            "ldp {tap_row}, {tap_col}, [{field}, #16]\nldp {pixel}, {out_pixel}, [{field}, #32]\nldp {tile}, {out_tile}, [{field}, #48]\n",
            "ldr {tiles}, [{field}, #80]\nldp {at}, {out}, [{field}, #96]\nldp {line}, {lines}, [{field}, #112]\nldr {mode}, [{field}, #128]\n",
            "add {first}, {field}, #144\nmovi v27.16b, #128\n",
        )
    };
}
pub(in crate::kernels) use fields;

/// The next tile of the strip, then the next strip.
macro_rules! next_tile {
    () => {
        concat!(
            "add {at}, {at}, {tile}\nadd {out}, {out}, {out_tile}\nsubs {tiles}, {tiles}, #1\nb.ne 2b\n",
            "ldp {tiles}, {x}, [{field}, #80]\nsubs {x}, {x}, #1\nb.eq 12f\nstr {x}, [{field}, #88]\n",
            "ldp {at}, {out}, [{field}, #96]\nldp {x}, {w}, [{field}, #64]\nadd {at}, {at}, {x}\n",
            "add {out}, {out}, {w}\nstp {at}, {out}, [{field}, #96]\nb 2b\n",
        )
    };
}
pub(in crate::kernels) use next_tile;

/// Tiles one after the other, after `$start`. `$sums`, which may go on in `$other`, sums up a line of each tap and goes on to 7: `{first}` says from which words, `{w}` where the
/// first line is; a pixel's sums are four registers. `$bytes` are those of a line's first words. Register 27 is for the stores.
macro_rules! tiles {
    ($start:expr, $sums:expr, $other:expr, $bytes:literal) => {
        concat!(
            fields!(),
            $start,
            "2:\nmov {w}, {line}\n",
            "3:\n",
            $sums,
            "7:\ntbnz {lines}, #7, 9f\n",
            "8:\nldp q28, q29, [{field}, #400]\nldp q30, q31, [{field}, #432]\n",
            "tbz {mode}, #5, 16f\n",
            pixels!(rounds),
            pixels!(low_halves),
            "13:\nldr q25, [{field}, #528]\n",
            pixels!(put),
            next_tile!(),
            $other,
            "9:\nadd {x}, {field}, #560\nsub {w}, {first}, {field}\ncmp {w}, #144\nb.ne 9f\n", // the first of two lines
            pixels!(store),
            "add {first}, {first}, #",
            $bytes,
            "\nadd {w}, {line}, #64\nb 3b\n",
            "9:\nadd {first}, {field}, #144\n",
            pixels!(pair_up),
            "b 8b\n",
            "16:\ntbnz {mode}, #1, 15f\n",
            pixels!(rounds),
            pixels!(halve),
            "tbz {mode}, #0, 13b\nmovi v26.8h, #128\n",
            pixels!(lift),
            "b 13b\n",
            "15:\nadd {x}, {field}, #560\n",
            pixels!(store),
            "12:\n",
        )
    };
}
pub(in crate::kernels) use tiles;
