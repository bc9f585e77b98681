//! What the sets of 64-bit ARM share: a panel's 16 lanes are four registers. They differ in how they multiply ([`Dot`]).
//!
//! The bytes are signed: U8 values are stored XOR 0x80, and `128·sum(w)` makes up for it.

#![expect(unsafe_code, reason = "vector loads and stores inside the bounds that a block was checked for")]

use super::raw::{self, Cut, Job, Reads, Second, Skip, Tile, flat, unroll};
use super::{AddRow, Average, ConvBlock, PoolRow, scalar};
use crate::pack::{LANES, params};
use crate::quant::DataType;
use core::arch::aarch64::*;

/// How the sets of this file store U8.
pub const FLIP: u8 = 0x80;

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
pub unsafe fn conv<D: Dot>(block: &mut ConvBlock<'_>) {
    let job = Job::new(block);
    // SAFETY: the block has a panel, and the tiles lie inside it; the instructions are the caller's promise.
    unsafe {
        let mut panel = Panel::new(&job, 0);
        let tile = |t: Tile| {
            if t.panel != panel.index {
                panel = Panel::new(&job, t.panel);
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

/// What all tiles of a panel share.
struct Panel {
    index: usize,
    /// What the sums start from.
    first: Sums,
    /// What those of a projection start from.
    second: Sums,
    /// The factors of a skip, if they fit.
    k2: [int16x8_t; 2],
    /// The lanes that meet a channel of the skip, one bit a lane.
    lanes: u16,
}

impl Panel {
    /// # Safety
    /// The block must have that panel.
    unsafe fn new(job: &Job, index: usize) -> Self {
        // SAFETY: as the caller's; NEON is part of the target.
        unsafe {
            let mut panel =
                Self { index, first: correction(job, &job.main, index, params::SUM), second: [vdupq_n_s32(0); 4], k2: [vdupq_n_s16(0); 2], lanes: 0 };
            match &job.second {
                Second::None => {}
                Second::Skip(skip) => {
                    panel.lanes = skip.lanes(index);
                    let k2 = line(job, index, params::K2);
                    panel.k2 = [vmovn_high_s32(vmovn_s32(k2[0]), k2[1]), vmovn_high_s32(vmovn_s32(k2[2]), k2[3])];
                    if !skip.signed && job.plain {
                        panel.first = core::array::from_fn(|q| vaddq_s32(panel.first[q], vshlq_n_s32::<7>(k2[q])));
                    }
                }
                Second::Projection(reads) => {
                    panel.second = correction(job, reads, index, params::SUM2);
                    return panel;
                }
            }
            let bias = line(job, index, params::BIAS);
            panel.first = core::array::from_fn(|q| vaddq_s32(panel.first[q], bias[q]));
            panel
        }
    }
}

/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn any_tile<D: Dot, const P: usize>(job: &Job, panel: &Panel, t: Tile) {
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
unsafe fn tile<D: Dot, const P: usize>(job: &Job, panel: &Panel, t: Tile) {
    // SAFETY: as the caller's.
    unsafe {
        let mut acc = D::dot::<P>(panel.first, &job.main, t);
        // A skip with factors of any size is added where the sums are rounded.
        if let Second::Skip(skip) = &job.second
            && job.plain
        {
            add_skip(&mut acc, panel, skip, t);
        }
        finish(acc, job, t);
    }
}

/// Computes a tile of a convolution with a projection.
///
/// # Safety
/// As [`tile`]; `reads` is the projection.
#[inline(never)]
unsafe fn projected<D: Dot, const P: usize>(job: &Job, panel: &Panel, reads: &Reads, t: Tile) {
    // SAFETY: as the caller's.
    unsafe {
        let mut acc = D::dot::<P>(panel.first, &job.main, t);
        let other = D::dot::<P>(panel.second, reads, t);
        let (k1, k2, bias) = (line(job, t.panel, params::K1), line(job, t.panel, params::K2), line(job, t.panel, params::BIAS));
        unroll!(p < P => unroll!(q < 4 => acc[p][q] = vmlaq_s32(vmlaq_s32(bias[q], acc[p][q], k1[q]), other[p][q], k2[q])));
        finish(acc, job, t);
    }
}

/// Rounds the sums of a tile and stores them.
#[inline(always)]
unsafe fn finish<const P: usize>(mut acc: [Sums; P], job: &Job, t: Tile) {
    // SAFETY: the tile lies inside the block.
    unsafe {
        if job.plain {
            let m = line(job, t.panel, params::MULTIPLIER);
            unroll!(p < P => unroll!(q < 4 => acc[p][q] = vqrdmulhq_s32(acc[p][q], m[q])));
            let mut bytes = [vdupq_n_u8(0); P];
            match job.kind {
                DataType::U8 => {
                    unroll!(p < P => bytes[p] = unsigned(acc[p]));
                    return store_bytes(bytes, job, t);
                }
                DataType::S8 => {
                    unroll!(p < P => bytes[p] = signed(acc[p]));
                    return store_bytes(bytes, job, t);
                }
                DataType::S16 | DataType::I32 => {}
            }
        }
        let mut values = acc;
        any_finish(&mut values, job, t);
    }
}

/// Rounds where the parameters are of any size, and stores in any type.
#[cold]
#[inline(never)]
unsafe fn any_finish(acc: &mut [Sums], job: &Job, t: Tile) {
    // SAFETY: the tile lies inside the block.
    unsafe {
        for (p, sums) in acc.iter_mut().enumerate() {
            let (row, pixel) = t.place(p);
            let sums = flat(core::slice::from_mut(sums));
            if !job.plain {
                raw::finish::<FLIP>(sums, job, row, pixel, t.panel);
            }
            raw::store::<FLIP>(sums, job, row, pixel, t.panel);
        }
    }
}

/// A row of a panel's parameters.
#[inline(always)]
unsafe fn line(job: &Job, panel: usize, row: usize) -> Sums {
    let at = job.params(panel, row).cast::<i32>();
    // SAFETY: a row is 64 bytes.
    unsafe { [vld1q_s32(at), vld1q_s32(at.wrapping_add(4)), vld1q_s32(at.wrapping_add(8)), vld1q_s32(at.wrapping_add(12))] }
}

/// What makes up for the bytes of U8 values.
#[inline(always)]
unsafe fn correction(job: &Job, reads: &Reads, panel: usize, sums: usize) -> Sums {
    // SAFETY: a row of parameters is 64 bytes; NEON is part of the target.
    unsafe {
        if reads.signed {
            return [vdupq_n_s32(0); 4];
        }
        line(job, panel, sums).map(|s| vshlq_n_s32::<7>(s))
    }
}

/// Adds a skip whose factors fit into 16 bits.
#[inline(always)]
unsafe fn add_skip<const P: usize>(acc: &mut [Sums; P], panel: &Panel, skip: &Skip, t: Tile) {
    // SAFETY: only lanes that meet a channel are read.
    unsafe {
        let Panel { k2, lanes, .. } = *panel;
        let at = skip.at(t.row, t.pixel, t.panel);
        let mut bytes = [vdupq_n_s8(0); P];
        if lanes == u16::MAX {
            unroll!(p < P => bytes[p] = vld1q_s8(at.wrapping_add(skip.step(&t, p)).cast()));
        } else {
            // A lane that meets no channel takes the byte that stands for 0.
            let zero = if skip.signed { 0 } else { FLIP };
            unroll!(p < P => bytes[p] = edge(at.wrapping_add(skip.step(&t, p)), lanes, zero));
        }
        unroll!(p < P => {
            let (low, high) = (vmovl_s8(vget_low_s8(bytes[p])), vmovl_high_s8(bytes[p]));
            acc[p][0] = vmlal_s16(acc[p][0], vget_low_s16(low), vget_low_s16(k2[0]));
            acc[p][1] = vmlal_high_s16(acc[p][1], low, k2[0]);
            acc[p][2] = vmlal_s16(acc[p][2], vget_low_s16(high), vget_low_s16(k2[1]));
            acc[p][3] = vmlal_high_s16(acc[p][3], high, k2[1]);
        });
    }
}

/// The bytes of `lanes`, `zero` elsewhere.
#[cold]
unsafe fn edge(at: *const u8, lanes: u16, zero: u8) -> int8x16_t {
    let mut bytes = [zero; LANES];
    for (lane, byte) in bytes.iter_mut().enumerate() {
        if lanes >> lane & 1 != 0 {
            // SAFETY: the lane meets a channel.
            *byte = unsafe { *at.wrapping_add(lane) };
        }
    }
    // SAFETY: 16 bytes.
    unsafe { vld1q_s8(bytes.as_ptr().cast()) }
}

/// Clamped to U8 and as it is stored.
#[inline(always)]
unsafe fn unsigned([a, b, c, d]: Sums) -> uint8x16_t {
    // SAFETY: NEON is part of the target.
    unsafe {
        let (low, high) = (vqmovn_high_s32(vqmovn_s32(a), b), vqmovn_high_s32(vqmovn_s32(c), d));
        veorq_u8(vqmovun_high_s16(vqmovun_s16(low), high), vdupq_n_u8(FLIP))
    }
}

/// Clamped to S8.
#[inline(always)]
unsafe fn signed([a, b, c, d]: Sums) -> uint8x16_t {
    // SAFETY: NEON is part of the target.
    unsafe {
        let (low, high) = (vqmovn_high_s32(vqmovn_s32(a), b), vqmovn_high_s32(vqmovn_s32(c), d));
        vreinterpretq_u8_s8(vqmovn_high_s16(vqmovn_s16(low), high))
    }
}

/// Stores the bytes of a tile.
#[inline(always)]
unsafe fn store_bytes<const P: usize>(bytes: [uint8x16_t; P], job: &Job, t: Tile) {
    // SAFETY: the channels of the pixels lie inside the output.
    unsafe {
        let (channels, out) = (job.channels(t.panel, 1), job.out(t.row, t.pixel, t.panel));
        if channels == LANES {
            unroll!(p < P => vst1q_u8(out.wrapping_add(job.out_step(&t, p)), bytes[p]));
        } else {
            unroll!(p < P => store_part(bytes[p], out.wrapping_add(job.out_step(&t, p)), channels));
        }
    }
}

/// Stores the first `channels` bytes, a multiple of 4.
#[cold]
unsafe fn store_part(bytes: uint8x16_t, out: *mut u8, channels: usize) {
    let mut words = [0u32; 4];
    // SAFETY: the caller's output has that many bytes.
    unsafe {
        vst1q_u8(words.as_mut_ptr().cast(), bytes);
        for (i, word) in words[..channels / 4].iter().enumerate() {
            out.wrapping_add(i * 4).cast::<u32>().write_unaligned(*word);
        }
    }
}

pub fn max_pool(row: &mut PoolRow<'_>) {
    scalar::max_pool::<FLIP>(row);
}

pub fn average_pool(row: &mut PoolRow<'_>, average: Average<'_>) {
    scalar::average_pool::<FLIP>(row, average);
}

pub fn add(row: &mut AddRow<'_>) {
    scalar::add::<FLIP>(row);
}
