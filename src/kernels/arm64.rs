//! What the sets of 64-bit ARM share: a panel's 16 lanes are four registers. They differ in how they multiply ([`Dot`]).
//!
//! The bytes are signed: U8 values are stored XOR 0x80, and `128·sum(w)` makes up for it.

#![expect(unsafe_code, reason = "vector loads and stores inside the bounds that a block was checked for")]

pub mod narrow;
mod tables;

use super::raw::addition::{self, Addition, Operand};
use super::raw::windows::{self, Window};
use super::raw::{self, Cut, Job, Reads, SIGNED_FLIP, Second, SignedPanel, Skip, Tile, flat, store_part, unroll};
use super::{AddRow, Average, ConvBlock, PoolRow, Set, Table};
use crate::pack::{LANES, params};
use crate::quant::DataType;
use core::arch::aarch64::*;
use core::hint::black_box;
use core::ops::Range;
use narrow::Side;

/// The sums of a pixel, four lanes a register.
pub type Sums = [int32x4_t; 4];

/// A set's way to multiply.
pub trait Dot {
    /// The most pixels of a tile for which the registers suffice, at most 6.
    const PIXELS: usize;
    /// How it wants a block to be cut.
    const CUT: Cut = Cut { wrap: true, ..Cut::ROWS };

    /// `first` plus the sums of products of the tile's panel for each of its `P` pixels.
    ///
    /// # Safety
    /// The CPU must have the instructions of the set; the tile must lie inside the block that `reads` was made from.
    unsafe fn dot<const P: usize>(first: Sums, reads: &Reads, t: Tile) -> [Sums; P];
}

/// Computes a block.
///
/// # Safety
/// The CPU must have the instructions of `D`.
unsafe fn conv<D: Dot>(block: &mut ConvBlock<'_>) {
    let job = Job::new(block);
    let mut panel = SignedPanel::new(&job, 0);
    // SAFETY: the tiles lie inside the block; the instructions are the caller's promise.
    unsafe {
        let tile = |t: Tile| {
            if t.panel != panel.index {
                panel = SignedPanel::new(&job, t.panel);
            }
            match t.pixels {
                1 => any_tile::<D, 1>(&job, &panel, t),
                2 => any_tile::<D, 2>(&job, &panel, t),
                3 if D::PIXELS >= 3 => any_tile::<D, 3>(&job, &panel, t),
                4 if D::PIXELS >= 4 => any_tile::<D, 4>(&job, &panel, t),
                5 if D::PIXELS >= 5 => any_tile::<D, 5>(&job, &panel, t),
                6 if D::PIXELS >= 6 => any_tile::<D, 6>(&job, &panel, t),
                _ => unreachable!("a tile is wider than the set's tiles"),
            }
        };
        job.tiles(&D::CUT, |_| (1, D::PIXELS), tile);
    }
}

/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn any_tile<D: Dot, const P: usize>(job: &Job, panel: &SignedPanel, t: Tile) {
    // SAFETY: as the caller's.
    unsafe {
        match &job.second {
            Second::None | Second::Skip(_) => tile::<D, P>(job, panel, t),
            Second::Projection(reads) => projected::<D, P>(job, panel, reads, t),
        }
    }
}

/// Computes a tile. It is on its own, so that the registers are the tile's.
///
/// # Safety
/// The CPU must have the instructions of `D`; the tile must lie inside the block that `job` was made from, in that panel.
#[inline(never)]
unsafe fn tile<D: Dot, const P: usize>(job: &Job, panel: &SignedPanel, t: Tile) {
    // SAFETY: as the caller's.
    unsafe {
        let mut acc = D::dot::<P>(registers(&panel.first), &job.main, t);
        // A skip of S16, or with factors of any size, is added where the sums are rounded.
        match &job.second {
            Second::Skip(skip) if job.plain && !matches!(skip.kind, DataType::S16) => add_skip(&mut acc, panel, skip, t),
            _ => {}
        }
        finish(acc, job, t);
    }
}

/// Computes a tile of a convolution with a projection.
///
/// # Safety
/// As [`tile`]; `reads` is the projection.
#[inline(never)]
unsafe fn projected<D: Dot, const P: usize>(job: &Job, panel: &SignedPanel, reads: &Reads, t: Tile) {
    // SAFETY: as the caller's.
    unsafe {
        let (mut sums, mut next) = ([line(job, t.panel, params::BIAS); P], (&panel.first, &job.main));
        // In a loop, so that the multiplications stand in the program once.
        for k in [params::K1, params::K2].into_iter().take(black_box(2)) {
            let (acc, k) = (D::dot::<P>(registers(next.0), next.1, t), line(job, t.panel, k));
            unroll!(p < P => unroll!(q < 4 => sums[p][q] = vmlaq_s32(sums[p][q], acc[p][q], k[q])));
            next = (&panel.second, reads);
        }
        finish_apart(&sums, job, t);
    }
}

/// [`finish`] in a function of its own, that all sets share.
///
/// # Safety
/// As [`finish`].
#[inline(never)]
unsafe fn finish_apart<const P: usize>(acc: &[Sums; P], job: &Job, t: Tile) {
    // SAFETY: as the caller's.
    unsafe { finish(*acc, job, t) }
}

/// Rounds the sums of a tile and stores them.
///
/// # Safety
/// The tile must lie inside the block that `job` was made from.
#[inline(always)]
unsafe fn finish<const P: usize>(mut acc: [Sums; P], job: &Job, t: Tile) {
    // SAFETY: the tile lies inside the block.
    unsafe {
        if job.plain && !job.wide && matches!(job.kind, DataType::U8 | DataType::S8) {
            let m = line(job, t.panel, params::MULTIPLIER);
            unroll!(p < P => unroll!(q < 4 => acc[p][q] = vqrdmulhq_s32(acc[p][q], m[q])));
            return store_bytes(acc, job, t);
        }
        let mut values = acc;
        wide_finish(&mut values[..t.pixels.min(P)], job, t);
    }
}

/// Adds a skip of S16, rounds and stores in S16 where the panel is whole; the rest goes the long way.
///
/// # Safety
/// As [`finish`].
#[inline(never)]
unsafe fn wide_finish(acc: &mut [Sums], job: &Job, t: Tile) {
    // SAFETY: the tile lies inside the block, and all lanes meet channels.
    unsafe {
        let skip = job.second.wide();
        let whole = job.channels(t.panel, 1) == LANES && skip.is_none_or(|skip| skip.lanes(t.panel) == u16::MAX);
        if !whole || !job.wide || !matches!(job.kind, DataType::S16) {
            return any_finish(acc, job, t);
        }
        let added = skip.map(|skip| (skip, skip.at(t.row, t.pixel, t.panel), narrow_words(line(job, t.panel, params::K2))));
        let (m, out) = (line(job, t.panel, params::MULTIPLIER), job.out(t.row, t.pixel, t.panel));
        for (p, sums) in acc.iter().enumerate() {
            let mut sums = *sums;
            if let Some((skip, at, k2)) = added {
                multiply_add(&mut sums, load_words(at.wrapping_add(skip.step(&t, p))), k2);
            }
            unroll!(q < 4 => sums[q] = vqrdmulhq_s32(sums[q], m[q]));
            store_words(sums, out.wrapping_add(job.out_step(&t, p)), LANES);
        }
    }
}

/// Clamps to S16 and stores the first `channels` lanes.
///
/// # Safety
/// The output must have room for so many channels, which are [`LANES`] or a multiple of 4 below.
#[inline(always)]
unsafe fn store_words(sums: Sums, out: *mut u8, channels: usize) {
    // SAFETY: the caller's output has so many channels.
    unsafe {
        let words = clamped(sums);
        if channels == LANES {
            vst1q_u8(out, vreinterpretq_u8_s16(words[0]));
            vst1q_u8(out.wrapping_add(16), vreinterpretq_u8_s16(words[1]));
        } else {
            let mut part = [0i16; LANES];
            vst1q_s16(&raw mut part[0], words[0]);
            vst1q_s16(&raw mut part[8], words[1]);
            store_part(&part, out, channels);
        }
    }
}

/// Adds a skip of S16, rounds where the parameters are of any size, and stores in any type.
///
/// # Safety
/// As [`finish`].
#[cold]
#[inline(never)]
unsafe fn any_finish(acc: &mut [Sums], job: &Job, t: Tile) {
    // SAFETY: the tile lies inside the block; only lanes that meet a channel are read.
    unsafe {
        let skip = job.second.wide().map(|skip| (skip, skip.lanes(t.panel), narrow_words(line(job, t.panel, params::K2))));
        let m = line(job, t.panel, params::MULTIPLIER);
        for (p, sums) in acc.iter_mut().enumerate() {
            let (row, pixel) = t.place(p);
            if job.plain {
                if let Some((skip, lanes, k2)) = skip {
                    let at = skip.at(row, pixel, t.panel);
                    multiply_add(sums, if lanes == u16::MAX { load_words(at) } else { words(&Skip::part(at, lanes, 0i16)) }, k2);
                }
                unroll!(q < 4 => sums[q] = vqrdmulhq_s32(sums[q], m[q]));
            } else {
                raw::finish::<SIGNED_FLIP>(flat(core::slice::from_mut(sums)), job, row, pixel, t.panel);
            }
            match job.kind {
                DataType::S16 if job.narrow.is_none() => store_words(*sums, job.out(row, pixel, t.panel), job.channels(t.panel, 1)),
                DataType::U8 | DataType::S8 if job.wide => store_bytes([*sums], job, Tile { row, pixel, wrap: 1, ..t }),
                _ => raw::store::<SIGNED_FLIP>(flat(core::slice::from_mut(sums)), job, row, pixel, t.panel),
            }
        }
    }
}

/// A row of a panel's parameters.
///
/// # Safety
/// The panel must be the job's, and its parameters must have the row.
#[inline(always)]
unsafe fn line(job: &Job, panel: usize, row: usize) -> Sums {
    let at = job.params(panel, row).cast::<i32>();
    // SAFETY: a row is 64 bytes.
    unsafe { [vld1q_s32(at), vld1q_s32(at.wrapping_add(4)), vld1q_s32(at.wrapping_add(8)), vld1q_s32(at.wrapping_add(12))] }
}

/// Sixteen lanes.
///
/// # Safety
/// NEON is part of the target.
#[inline(always)]
unsafe fn registers(lanes: &[i32; LANES]) -> Sums {
    // SAFETY: NEON is part of the target.
    unsafe { [vld1q_s32(&raw const lanes[0]), vld1q_s32(&raw const lanes[4]), vld1q_s32(&raw const lanes[8]), vld1q_s32(&raw const lanes[12])] }
}

/// Adds a skip whose factors fit into 16 bits.
///
/// # Safety
/// As [`finish`]; `skip` is what the job adds, of bytes.
#[inline(always)]
unsafe fn add_skip<const P: usize>(acc: &mut [Sums; P], panel: &SignedPanel, skip: &Skip, t: Tile) {
    // SAFETY: only lanes that meet a channel are read.
    unsafe {
        let lanes = panel.lanes;
        let at = skip.at(t.row, t.pixel, t.panel);
        let mut bytes = [vdupq_n_s8(0); P];
        if lanes == u16::MAX {
            unroll!(p < P => bytes[p] = vld1q_s8(at.wrapping_add(skip.step(&t, p)).cast()));
        } else {
            // A lane that meets no channel takes the byte that stands for 0.
            let zero = if matches!(skip.kind, DataType::S8) { 0 } else { SIGNED_FLIP };
            unroll!(p < P => bytes[p] = vld1q_s8(Skip::part(at.wrapping_add(skip.step(&t, p)), lanes, zero).as_ptr().cast()));
        }
        let k2 = words(&panel.k2);
        unroll!(p < P => multiply_add(&mut acc[p], widened(bytes[p]), k2));
    }
}

/// 16 words, as they lie in memory.
type Words = [int16x8_t; 2];

/// Sixteen words.
///
/// # Safety
/// NEON is part of the target.
#[inline(always)]
unsafe fn words(words: &[i16; LANES]) -> Words {
    // SAFETY: NEON is part of the target.
    unsafe { [vld1q_s16(&raw const words[0]), vld1q_s16(&raw const words[8])] }
}

/// The low halves of 16 lanes.
///
/// # Safety
/// NEON is part of the target.
#[inline(always)]
unsafe fn narrow_words(k: Sums) -> Words {
    // SAFETY: NEON is part of the target.
    unsafe { [vmovn_high_s32(vmovn_s32(k[0]), k[1]), vmovn_high_s32(vmovn_s32(k[2]), k[3])] }
}

/// Sixteen lanes, clamped to words.
///
/// # Safety
/// NEON is part of the target.
#[inline(always)]
unsafe fn clamped([a, b, c, d]: Sums) -> Words {
    // SAFETY: NEON is part of the target.
    unsafe { [vqmovn_high_s32(vqmovn_s32(a), b), vqmovn_high_s32(vqmovn_s32(c), d)] }
}

/// 16 elements of S16, at any address.
///
/// # Safety
/// There must be 32 bytes.
#[inline(always)]
unsafe fn load_words(at: *const u8) -> Words {
    // SAFETY: the caller has 32 bytes there.
    unsafe { [vreinterpretq_s16_u8(vld1q_u8(at)), vreinterpretq_s16_u8(vld1q_u8(at.wrapping_add(16)))] }
}

/// Sixteen bytes as words.
///
/// # Safety
/// NEON is part of the target.
#[inline(always)]
unsafe fn widened(bytes: int8x16_t) -> Words {
    // SAFETY: NEON is part of the target.
    unsafe { [vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes)] }
}

/// Adds the products of 16 elements and factors.
///
/// # Safety
/// NEON is part of the target.
#[inline(always)]
unsafe fn multiply_add(acc: &mut Sums, [low, high]: Words, k: Words) {
    // SAFETY: NEON is part of the target.
    unsafe {
        acc[0] = vmlal_s16(acc[0], vget_low_s16(low), vget_low_s16(k[0]));
        acc[1] = vmlal_high_s16(acc[1], low, k[0]);
        acc[2] = vmlal_s16(acc[2], vget_low_s16(high), vget_low_s16(k[1]));
        acc[3] = vmlal_high_s16(acc[3], high, k[1]);
    }
}

/// Less `offset`, clamped to signed bytes.
///
/// # Safety
/// NEON is part of the target.
#[inline(always)]
unsafe fn narrowed(sums: Sums, offset: int16x8_t) -> uint8x16_t {
    // SAFETY: NEON is part of the target.
    unsafe {
        let [low, high] = clamped(sums);
        vreinterpretq_u8_s8(vqmovn_high_s16(vqmovn_s16(vqsubq_s16(low, offset)), vqsubq_s16(high, offset)))
    }
}

/// Clamps a tile to bytes and stores it.
///
/// # Safety
/// As [`finish`].
#[inline(always)]
unsafe fn store_bytes<const P: usize>(acc: [Sums; P], job: &Job, t: Tile) {
    // SAFETY: the channels of the pixels lie inside the output.
    unsafe {
        // A byte of a U8 value lacks 128.
        let offset = vdupq_n_s16(if matches!(job.kind, DataType::U8) { 128 } else { 0 });
        let mut bytes = [vdupq_n_u8(0); P];
        unroll!(p < P => bytes[p] = narrowed(acc[p], offset));
        let (channels, out) = (job.channels(t.panel, 1), job.out(t.row, t.pixel, t.panel));
        if channels == LANES {
            unroll!(p < P => vst1q_u8(out.wrapping_add(job.out_step(&t, p)), bytes[p]));
        } else {
            let bytes = bytes;
            store_parts(&bytes, job, t, channels);
        }
    }
}

/// Stores the first `channels` bytes of each pixel of a tile.
///
/// # Safety
/// As [`finish`]; `channels` is a multiple of 4 below [`LANES`].
#[inline(never)]
unsafe fn store_parts(bytes: &[uint8x16_t], job: &Job, t: Tile, channels: usize) {
    let out = job.out(t.row, t.pixel, t.panel);
    for (p, &bytes) in bytes.iter().enumerate() {
        let mut part = [0u8; LANES];
        // SAFETY: the channels of the pixels lie inside the output.
        unsafe {
            vst1q_u8(part.as_mut_ptr(), bytes);
            store_part(&part, out.wrapping_add(job.out_step(&t, p)), channels);
        }
    }
}

fn max_pool(row: &mut PoolRow<'_>) {
    windows::max_pool::<SIGNED_FLIP>(row, |w, out| {
        if let Some(four) = out.first_chunk_mut::<4>() {
            // SAFETY: the window has as many vectors as there is room for.
            unsafe { max_of(&w, four) };
            return 4;
        }
        let one = out.first_chunk_mut::<1>().expect("a window has a vector");
        // SAFETY: as above.
        unsafe { max_of(&w, one) };
        1
    });
}

/// The maxima of the first vectors of a window.
///
/// # Safety
/// The window must have as many vectors.
#[inline(always)]
unsafe fn max_of<const V: usize>(w: &Window, out: &mut [[u8; LANES]; V]) {
    // SAFETY: all bytes of the window lie inside its source.
    unsafe {
        let mut max = [vdupq_n_s8(i8::MIN); V];
        let mut line = w.source;
        for _ in 0..w.rows.1 {
            let mut at = line;
            for _ in 0..w.cols.1 {
                unroll!(v < V => max[v] = vmaxq_s8(max[v], vld1q_s8(at.wrapping_add(v * LANES).cast())));
                at = at.wrapping_add(w.cols.0);
            }
            line = line.wrapping_add(w.rows.0);
        }
        unroll!(v < V => vst1q_s8(out[v].as_mut_ptr().cast(), max[v]));
    }
}

fn average_pool(row: &mut PoolRow<'_>, average: Average<'_>) {
    // SAFETY: the window's bytes are there.
    windows::average_pool::<SIGNED_FLIP>(row, average, |w| unsafe { sums_of(&w) });
}

/// The sums of the first vector of a window.
///
/// # Safety
/// The window must have a vector.
#[inline(always)]
unsafe fn sums_of(w: &Window) -> [i32; LANES] {
    // SAFETY: all bytes of the window lie inside its source.
    unsafe {
        let mut sums = [vdupq_n_s32(0); 4];
        let mut line = w.source;
        for _ in 0..w.rows.1 {
            let mut at = line;
            for _ in 0..w.cols.1 {
                let bytes = vld1q_s8(at.cast());
                let (low, high) = (vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes));
                sums = [
                    vaddw_s16(sums[0], vget_low_s16(low)),
                    vaddw_high_s16(sums[1], low),
                    vaddw_s16(sums[2], vget_low_s16(high)),
                    vaddw_high_s16(sums[3], high),
                ];
                at = at.wrapping_add(w.cols.0);
            }
            line = line.wrapping_add(w.rows.0);
        }
        flat(&mut sums)[0]
    }
}

fn add(row: &mut AddRow<'_>) {
    // SAFETY: the body gets what it asks for.
    addition::add(row, SIGNED_FLIP, |addition, panel, pixels| unsafe { add_panel(addition, panel, pixels) });
}

/// Computes pixels of a panel of an addition.
///
/// # Safety
/// The pixels and the panel must be those of an addition's body.
unsafe fn add_panel(addition: &Addition, panel: usize, pixels: Range<usize>) {
    // SAFETY: as the caller's.
    unsafe {
        let shift = vdupq_n_s32(addition.p.cast_signed());
        let shifted = |row| line(&addition.job, panel, row).map(|v| vshlq_s32(v, shift));
        let (mut bias, factors) = (shifted(params::BIAS), [shifted(params::K1), shifted(params::K2)]);
        for (k, unsigned) in factors.iter().zip(addition.are(DataType::U8)) {
            // A byte of a U8 value lacks 128.
            let missing = if unsigned { 128 } else { 0 };
            unroll!(q < 4 => bias[q] = vmlaq_n_s32(bias[q], k[q], missing));
        }
        let factors = factors.map(|k| narrow_words(k));
        let two = vmaxvq_u16(vreinterpretq_u16_s16(vorrq_s16(factors[1][0], factors[1][1]))) != 0;
        let mut pixel = pixels.start;
        while pixel + 2 <= pixels.end {
            add_tile::<2>(addition, panel, bias, factors, two, pixel);
            pixel += 2;
        }
        if pixel < pixels.end {
            add_tile::<1>(addition, panel, bias, factors, two, pixel);
        }
    }
}

/// Computes `P` pixels of a panel of an addition.
///
/// # Safety
/// As [`add_panel`].
#[inline(always)]
unsafe fn add_tile<const P: usize>(addition: &Addition, panel: usize, bias: Sums, [k1, k2]: [Words; 2], two: bool, pixel: usize) {
    // SAFETY: as the caller's: 16 elements of the pixels may be read.
    unsafe {
        let (job, mut acc) = (&addition.job, [bias; P]);
        add_operand(&mut acc, &addition.x, panel, pixel, k1);
        if two {
            add_operand(&mut acc, &addition.y, panel, pixel, k2);
        }
        if job.wide {
            let (m, channels) = (line(job, panel, params::MULTIPLIER), job.channels(panel, 1));
            unroll!(p < P => {
                unroll!(q < 4 => acc[p][q] = vqrdmulhq_s32(acc[p][q], m[q]));
                store_words(acc[p], job.out(0, pixel + p, panel), channels);
            });
        } else {
            finish(acc, job, Tile::of(pixel, P, panel));
        }
    }
}

/// Adds the products of an operand and its factors.
///
/// # Safety
/// As [`add_panel`]; the operand is the addition's.
#[inline(always)]
unsafe fn add_operand<const P: usize>(acc: &mut [Sums; P], operand: &Operand, panel: usize, pixel: usize, k: Words) {
    // SAFETY: as the caller's: 16 elements of the pixels may be read.
    unsafe {
        if operand.wide() {
            unroll!(p < P => multiply_add(&mut acc[p], load_words(operand.at(pixel + p, panel)), k));
        } else {
            unroll!(p < P => multiply_add(&mut acc[p], widened(vld1q_s8(operand.at(pixel + p, panel).cast())), k));
        }
    }
}

/// The kernels of a set that multiplies by `D`, groups of 4 by `F` and groups of 8 by `E`.
pub const fn table<D: Dot, F: Side, E: Side>(set: Set, peak: unsafe fn(u64) -> u64) -> Table {
    Table {
        set,
        flip: SIGNED_FLIP,
        conv: conv::<D>,
        narrow: narrow::narrow::<F, E>,
        max_pool,
        average_pool,
        add,
        lookup: tables::lookup,
        lines: tables::lines,
        peak,
    }
}

/// The loops over rows of runs and over the runs of a row, around what [`next_run`] ends: `{run}` is where a run begins.
macro_rules! each_run {
    () => {
        "2:\nmov {run}, {row}\nmov {cols}, {all_cols}\n3:\n"
    };
}
pub(super) use each_run;

/// The end of the loops of [`each_run`].
macro_rules! next_run {
    () => {
        concat!("add {run}, {run}, {tap_col}\nsubs {cols}, {cols}, #1\nb.ne 3b\n", "add {row}, {row}, {tap_row}\nsubs {rows}, {rows}, #1\nb.ne 2b\n",)
    };
}
pub(super) use next_run;
