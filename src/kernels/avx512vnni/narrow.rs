//! Narrow groups with AVX512-VNNI: a panel's 16 lanes are one register for each line of a tap.

#![expect(unsafe_code, reason = "vector loads and stores inside the bounds that a block was checked for")]

use super::{Sums, TileFn, first, line, requantize};
use crate::kernels::raw::{Job, Reads, Tile, finish, flat, store, unroll};
use crate::kernels::{ConvBlock, x86};
use crate::pack::{LANES, Narrow, params};
use crate::quant::DataType;
use crate::shape::LINE;
use core::arch::x86_64::*;

const FOURS: [TileFn; 14] = [
    tile::<1, 1>,
    tile::<1, 2>,
    tile::<1, 3>,
    tile::<1, 4>,
    tile::<1, 5>,
    tile::<1, 6>,
    tile::<1, 7>,
    tile::<1, 8>,
    tile::<1, 9>,
    tile::<1, 10>,
    tile::<1, 11>,
    tile::<1, 12>,
    tile::<1, 13>,
    tile::<1, 14>,
];
const EIGHTS: [TileFn; 10] =
    [tile::<2, 1>, tile::<2, 2>, tile::<2, 3>, tile::<2, 4>, tile::<2, 5>, tile::<2, 6>, tile::<2, 7>, tile::<2, 8>, tile::<2, 9>, tile::<2, 10>];

/// Computes a block of narrow groups.
///
/// # Safety
/// The CPU has AVX512-VNNI.
pub unsafe fn narrow(block: &mut ConvBlock<'_>, narrow: Narrow) {
    let tiles: &[TileFn] = match narrow {
        Narrow::Four => &FOURS,
        Narrow::Eight => &EIGHTS,
    };
    // SAFETY: the tile lies inside the block; the caller has the instructions.
    x86::narrow(block, tiles.len(), |job, t| unsafe { tiles[t.pixels - 1](job, t) });
}

/// Computes a tile of narrow groups, which have `LINES` lines a tap.
///
/// # Safety
/// The CPU has AVX512-VNNI; the tile must lie inside the block that `job` was made from.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn tile<const LINES: usize, const P: usize>(job: &Job, t: Tile) {
    // SAFETY: as the caller's: the tile lies inside the block.
    unsafe {
        let bytes = job.plain && matches!(job.kind, DataType::U8 | DataType::S8);
        for panel in t.panel..t.panel + t.panels {
            let t = Tile { panel, ..t };
            let [first] = first::<1>(job, &job.main, t, params::SUM);
            let acc = dot::<LINES, P>(first, &job.main, t);
            let m = line(job, t, 0, params::MULTIPLIER);
            if bytes && _mm512_cmpge_epu32_mask(_mm512_abs_epi32(m), _mm512_set1_epi32(1 << 29)) == 0 {
                let mut values = [_mm512_setzero_si512(); P];
                twice::<LINES, P>(&mut values, &acc, _mm512_slli_epi32::<2>(m));
                store_bytes::<P>(&values, job, t);
            } else {
                let sums = acc;
                any_finish(sums.as_flattened(), job, t);
            }
        }
    }
}

/// What the sums of a pixel of narrow groups start from: of two lines each lane is two words.
///
/// # Safety
/// The CPU has AVX512-VNNI.
#[inline(always)]
unsafe fn start<const LINES: usize>(first: __m512i) -> [__m512i; LINES] {
    // SAFETY: as the caller's.
    unsafe {
        let zero = _mm512_setzero_si512();
        let mut lines = [first; LINES];
        if LINES == 2 {
            (lines[0], lines[LINES - 1]) = (_mm512_unpacklo_epi32(first, zero), _mm512_unpackhi_epi32(first, zero));
        }
        lines
    }
}

/// The sums of products of a tile of narrow groups, line by line.
///
/// # Safety
/// As [`tile`]; `reads` is the job's.
#[inline(always)]
unsafe fn dot<const LINES: usize, const P: usize>(first: __m512i, reads: &Reads, t: Tile) -> Sums<LINES, P> {
    // SAFETY: the tile's pixels read inside the source, its panel inside the weights.
    unsafe {
        let mut acc = [start::<LINES>(first); P];
        let (origin, stride) = (reads.at(t.row, t.pixel).wrapping_add(t.panel * LANES), reads.out_pixel);
        let mut weights = reads.weights(t.panel);
        for tap_row in 0..reads.taps.rows {
            let x = origin.wrapping_add(tap_row * reads.tap_row);
            if reads.taps.cols == 3 && stride == reads.tap_col {
                row::<LINES, P, 1>(&mut acc, x, reads, weights);
            } else if LINES == 1 && reads.taps.cols == 3 && stride == 2 * reads.tap_col {
                row::<LINES, P, 2>(&mut acc, x, reads, weights);
            } else {
                for tap in 0..reads.taps.cols {
                    let (x, weights) = (x.wrapping_add(tap * reads.tap_col), weights.wrapping_add(LINE * LINES * tap));
                    let w = lines::<LINES>(weights);
                    unroll!(p < P => multiply::<LINES>(&mut acc[p], column(x.wrapping_add(p * stride)), &w));
                }
            }
            weights = weights.wrapping_add(LINE * LINES * reads.taps.cols);
        }
        acc
    }
}

/// Adds the products of three taps side by side, where pixels are `STEP` taps apart, 1 or 2: each column is read once for all the taps that it is.
///
/// # Safety
/// The CPU has AVX512-VNNI; the columns of the pixels and the lines of three taps must be there.
#[inline(always)]
unsafe fn row<const LINES: usize, const P: usize, const STEP: usize>(acc: &mut Sums<LINES, P>, x: *const u8, reads: &Reads, weights: *const u8) {
    // SAFETY: as the caller's: the columns lie inside the source, the lines inside the weights.
    unsafe {
        let w = [0, 1, 2].map(|k| lines::<LINES>(weights.wrapping_add(LINE * LINES * k)));
        unroll!(c < P + 2 => {
            let (at, before) = (x.wrapping_add(c * reads.out_pixel), [c.saturating_sub(1), c.saturating_sub(2)]);
            // Sums are met again after two others.
            if c < P + 2 / STEP {
                let column = column(at);
                if c < P {
                    multiply::<LINES>(&mut acc[c], column, &w[0]);
                }
                if c >= 1 && c <= P {
                    multiply::<LINES>(&mut acc[before[0]], column, &w[STEP]);
                }
                if c >= 2 && STEP == 1 {
                    multiply::<LINES>(&mut acc[before[1]], column, &w[2]);
                }
            }
            if c >= 2 && STEP == 2 {
                multiply::<LINES>(&mut acc[before[1]], column(x.wrapping_add(before[1] * reads.out_pixel + reads.tap_col)), &w[1]);
            }
        });
    }
}

/// Adds the products of a column with the lines of a tap.
///
/// # Safety
/// The CPU has AVX512-VNNI.
#[inline(always)]
unsafe fn multiply<const LINES: usize>(acc: &mut [__m512i; LINES], x: __m512i, w: &[__m512i; LINES]) {
    // SAFETY: as the caller's.
    unsafe {
        acc[0] = _mm512_dpbusd_epi32(acc[0], x, w[0]);
        if LINES == 2 {
            acc[LINES - 1] = _mm512_dpbusd_epi32(acc[LINES - 1], x, w[LINES - 1]);
        }
    }
}

/// The lines of a tap.
///
/// # Safety
/// The CPU has AVX512-VNNI; the lines must be there.
#[inline(always)]
unsafe fn lines<const LINES: usize>(at: *const u8) -> [__m512i; LINES] {
    // SAFETY: the caller has the lines there.
    unsafe { core::array::from_fn(|l| _mm512_loadu_si512(at.wrapping_add(LINE * l).cast())) }
}

/// 16 bytes, four times.
///
/// # Safety
/// The CPU has AVX512-VNNI; the bytes must be there.
#[inline(always)]
unsafe fn column(at: *const u8) -> __m512i {
    // SAFETY: the caller has 16 bytes there.
    unsafe { _mm512_broadcast_i32x4(_mm_loadu_si128(at.cast())) }
}

/// Twice the results of each lane, rounded down: the upper halves of the products with the multipliers' fourfold, `m`.
///
/// # Safety
/// The CPU has AVX512-VNNI.
#[inline(always)]
unsafe fn twice<const LINES: usize, const P: usize>(values: &mut [__m512i; P], acc: &Sums<LINES, P>, m: __m512i) {
    // SAFETY: as the caller's.
    unsafe {
        if LINES == 2 {
            let m = [_mm512_unpacklo_epi32(m, m), _mm512_unpackhi_epi32(m, m)];
            unroll!(p < P => {
                let (a, b) = (acc[p][0], acc[p][LINES - 1]);
                let [a, b] = [a, b].map(|a| _mm512_add_epi32(a, _mm512_srli_epi64::<32>(a)));
                let [a, b] = [_mm512_mul_epi32(a, m[0]), _mm512_mul_epi32(b, m[1])].map(|a| _mm512_castsi512_ps(a));
                values[p] = _mm512_castps_si512(_mm512_shuffle_ps::<0xDD>(a, b));
            });
        } else {
            let odd = _mm512_srli_epi64::<32>(m);
            unroll!(p < P => {
                let (x, y) = (_mm512_mul_epi32(acc[p][0], m), _mm512_mul_epi32(_mm512_srli_epi64::<32>(acc[p][0]), odd));
                values[p] = _mm512_mask_shuffle_epi32::<0xF5>(y, 0x5555, x);
            });
        }
    }
}

/// Halves, rounds and clamps what [`twice`] gives, and stores it in the order of the channels, four pixels at a time.
///
/// # Safety
/// As [`tile`], of a job with results of bytes.
#[inline(always)]
unsafe fn store_bytes<const P: usize>(twice: &[__m512i; P], job: &Job, t: Tile) {
    // SAFETY: the channels of the pixels lie inside the output.
    unsafe {
        let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        // Not known before the program runs, so that both orders stay an instruction each.
        let lanes = job.narrow.unwrap_or(Narrow::Four).lanes();
        let (half, lanes) = (_mm512_set1_epi16(1 << 14), _mm512_broadcast_i32x4(_mm_loadu_si128(lanes.as_ptr().cast())));
        unroll!(i < P.div_ceil(4) => {
            let mut four = [_mm512_setzero_si512(); 4];
            unroll!(v < 4 => four[v] = twice[(4 * i + v).min(P - 1)]);
            let [low, high] = [_mm512_packs_epi32(four[0], four[1]), _mm512_packs_epi32(four[2], four[3])].map(|v| _mm512_mulhrs_epi16(v, half));
            let bytes = if matches!(job.kind, DataType::S8) { _mm512_packs_epi16(low, high) } else { _mm512_packus_epi16(low, high) };
            let bytes = _mm512_shuffle_epi8(_mm512_permutexvar_epi32(order, bytes), lanes);
            unroll!(j < 4 => if 4 * i + j < P {
                let pixel = match j {
                    0 => _mm512_castsi512_si128(bytes),
                    1 => _mm512_extracti32x4_epi32::<1>(bytes),
                    2 => _mm512_extracti32x4_epi32::<2>(bytes),
                    _ => _mm512_extracti32x4_epi32::<3>(bytes),
                };
                _mm_storeu_si128(job.out(t.row, t.pixel + 4 * i + j, t.panel).cast(), pixel);
            });
        });
    }
}

/// Rounds with parameters of any size and stores in any type; S16 quickly where the parameters are of the usual size.
///
/// # Safety
/// As [`tile`]; there is a register for each line of each pixel.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn any_finish(sums: &[__m512i], job: &Job, t: Tile) {
    // SAFETY: as the caller's: the tile lies inside the block.
    unsafe {
        for (p, lines) in sums.chunks_exact(sums.len() / t.pixels).enumerate() {
            let mut sums = [lines[0]];
            if let &[a, b] = lines {
                let [a, b] = [a, b].map(|a| _mm512_castsi512_ps(a));
                let halves = [_mm512_shuffle_ps::<0x88>(a, b), _mm512_shuffle_ps::<0xDD>(a, b)].map(|h| _mm512_castps_si512(h));
                sums = [_mm512_add_epi32(halves[0], halves[1])];
            }
            if job.wide {
                let (mut acc, lanes) = ([sums], job.narrow.unwrap_or(Narrow::Four).lanes());
                requantize(&mut acc, job, t);
                let lanes = _mm256_cvtepu8_epi16(_mm_loadu_si128(lanes.as_ptr().cast()));
                let words = _mm256_permutexvar_epi16(lanes, _mm512_cvtsepi32_epi16(acc[0][0]));
                _mm256_storeu_si256(job.out(t.row, t.pixel + p, t.panel).cast(), words);
                continue;
            }
            finish::<0>(flat(&mut sums), job, t.row, t.pixel + p, t.panel);
            store::<0>(flat(&mut sums), job, t.row, t.pixel + p, t.panel);
        }
    }
}
