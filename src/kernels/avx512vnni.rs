//! x86 with AVX512-VNNI: a panel's 16 lanes are one register.
#![expect(unsafe_code, reason = "vector loads and stores inside the bounds that a block was checked for")]

use super::raw::{Job, Reads, Second, Tile, unroll};
use super::x86::{flat, requantize, store};
use super::{AddRow, Average, ConvBlock, PoolRow, Set, Table, peak, scalar};
use crate::pack::params;
use crate::quant::DataType;
use core::arch::x86_64::*;

pub(super) static TABLE: Table = Table { set: Set::Avx512Vnni, conv, max_pool, average_pool, add, peak: peak::avx512vnni };

/// Computes a tile of the number of panels and pixels that the function is made for.
type TileFn = unsafe fn(&Job, Tile);

const FOUR: [TileFn; 6] = [tile::<4, 1>, tile::<4, 2>, tile::<4, 3>, tile::<4, 4>, tile::<4, 5>, tile::<4, 6>];
const TWO: [TileFn; 12] = [
    tile::<2, 1>,
    tile::<2, 2>,
    tile::<2, 3>,
    tile::<2, 4>,
    tile::<2, 5>,
    tile::<2, 6>,
    tile::<2, 7>,
    tile::<2, 8>,
    tile::<2, 9>,
    tile::<2, 10>,
    tile::<2, 11>,
    tile::<2, 12>,
];
const ONE: [TileFn; 16] = [
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
    tile::<1, 15>,
    tile::<1, 16>,
];

fn conv(block: &mut ConvBlock<'_>) {
    let job = Job::new(block);
    let shape = |left| match left {
        4.. if job.pixels <= FOUR.len() => (4, FOUR.len()),
        2.. => (2, TWO.len()),
        _ => (1, ONE.len()),
    };
    job.tiles(shape, |t| {
        let tiles: &[TileFn] = match t.panels {
            4 => &FOUR,
            2 => &TWO,
            _ => &ONE,
        };
        // SAFETY: the tile lies inside the block; the table's caller has the instructions.
        unsafe { tiles[t.pixels - 1](&job, t) }
    });
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn tile<const N: usize, const P: usize>(job: &Job, t: Tile) {
    let line = |n: usize, row: usize| unsafe { _mm512_loadu_si512(job.params(t.panel + n, row).cast()) };
    let mut first = [_mm512_setzero_si512(); N];
    unroll!(n < N => {
        if !matches!(job.second, Second::Projection(_)) {
            first[n] = line(n, params::BIAS);
        }
        if job.main.signed {
            first[n] = _mm512_sub_epi32(first[n], _mm512_slli_epi32::<7>(line(n, params::SUM)));
        }
    });
    let mut acc = unsafe { dot::<N, P>(first, &job.main, t) };
    match &job.second {
        Second::None => {}
        Second::Skip(skip) => {
            unroll!(n < N => {
                let k2 = line(n, params::K2);
                let lanes = skip.lanes(t.panel + n);
                unroll!(p < P => {
                    let at = skip.at(t.row, t.pixel + p, t.panel + n);
                    let bytes = unsafe { _mm_maskz_loadu_epi8(lanes, at.cast()) };
                    let x = if skip.signed { _mm512_cvtepi8_epi32(bytes) } else { _mm512_cvtepu8_epi32(bytes) };
                    acc[p][n] = _mm512_add_epi32(acc[p][n], _mm512_mullo_epi32(x, k2));
                });
            });
        }
        Second::Projection(reads) => {
            let mut sums = acc;
            unsafe { project(&mut sums, job, reads, t) };
            acc = sums;
        }
    }
    let mut wide = 0;
    unroll!(n < N => {
        let m = line(n, params::MULTIPLIER);
        wide |= _mm512_cmpneq_epi32_mask(_mm512_srai_epi32::<1>(_mm512_slli_epi32::<1>(m)), m);
    });
    if wide == 0 {
        let half = _mm512_set1_epi64(1 << 31);
        unroll!(n < N => {
            let even = _mm512_slli_epi32::<1>(line(n, params::MULTIPLIER));
            let odd = _mm512_shuffle_epi32::<0xF5>(even);
            unroll!(p < P => {
                let x = _mm512_add_epi64(_mm512_mul_epi32(acc[p][n], even), half);
                let y = _mm512_add_epi64(_mm512_mul_epi32(_mm512_shuffle_epi32::<0xF5>(acc[p][n]), odd), half);
                acc[p][n] = _mm512_mask_shuffle_epi32::<0xF5>(y, 0x5555, x);
            });
        });
    } else {
        let mut sums = acc;
        unroll!(p < P => {
            requantize(flat(&mut sums[p]), job, t.panel);
        });
        acc = sums;
    }
    match job.kind {
        DataType::U8 => store_bytes::<N, P, false>(&acc, job, t),
        DataType::S8 => store_bytes::<N, P, true>(&acc, job, t),
        DataType::S16 | DataType::I32 => {
            let mut values = acc;
            unroll!(p < P => {
                store(flat(&mut values[p]), job, t.row, t.pixel + p, t.panel);
            });
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn store_bytes<const N: usize, const P: usize, const SIGNED: bool>(acc: &[[__m512i; N]; P], job: &Job, t: Tile) {
    let channels = job.channels(t.panel, N);
    let mask = u64::MAX >> (64 - channels);
    let quads = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    let per = 4 / N;
    unroll!(q < P.div_ceil(per) => {
        let v = |i: usize| acc[(q * per + i / N).min(P - 1)][i % N];
        let low = _mm512_packs_epi32(v(0), v(1));
        let high = _mm512_packs_epi32(v(2), v(3));
        let bytes = if SIGNED { _mm512_packs_epi16(low, high) } else { _mm512_packus_epi16(low, high) };
        let bytes = _mm512_permutexvar_epi32(quads, bytes);
        unroll!(i < per => {
            let p = q * per + i;
            if p < P {
                let out = job.out(t.row, t.pixel + p, t.panel);
                unsafe {
                    match N {
                        4 => _mm512_mask_storeu_epi8(out.cast(), mask, bytes),
                        2 => {
                            let half = if i == 0 { _mm512_castsi512_si256(bytes) } else { _mm512_extracti64x4_epi64::<1>(bytes) };
                            _mm256_mask_storeu_epi8(out.cast(), mask as u32, half);
                        }
                        _ => {
                            let quarter = match i {
                                0 => _mm512_castsi512_si128(bytes),
                                1 => _mm512_extracti32x4_epi32::<1>(bytes),
                                2 => _mm512_extracti32x4_epi32::<2>(bytes),
                                _ => _mm512_extracti32x4_epi32::<3>(bytes),
                            };
                            _mm_mask_storeu_epi8(out.cast(), mask as u16, quarter);
                        }
                    }
                }
            }
        });
    });
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn dot<const N: usize, const P: usize>(first: [__m512i; N], reads: &Reads, t: Tile) -> [[__m512i; N]; P] {
    let mut acc = [[_mm512_setzero_si512(); N]; P];
    unroll!(p < P => unroll!(n < N => acc[p][n] = first[n]));
    let (origin, stride, pitch) = (reads.at(t.row, t.pixel), reads.out_pixel, reads.panel);
    let mut weights = reads.weights(t.panel);
    for tap_row in 0..reads.taps.rows {
        for tap_col in 0..reads.taps.cols {
            let mut x = origin.wrapping_add(tap_row * reads.tap_row + tap_col * reads.tap_col);
            for _ in 0..reads.taps.groups {
                let mut w = [_mm512_setzero_si512(); N];
                unroll!(n < N => {
                    w[n] = unsafe { _mm512_loadu_si512(weights.wrapping_add(n * pitch).cast()) };
                });
                unroll!(p < P => {
                    let b = _mm512_set1_epi32(unsafe { x.wrapping_add(p * stride).cast::<i32>().read_unaligned() });
                    unroll!(n < N => {
                        acc[p][n] = _mm512_dpbusd_epi32(acc[p][n], b, w[n]);
                    });
                });
                x = x.wrapping_add(4);
                weights = weights.wrapping_add(64);
            }
        }
    }
    acc
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn project<const N: usize, const P: usize>(acc: &mut [[__m512i; N]; P], job: &Job, reads: &Reads, t: Tile) {
    let line = |n: usize, row: usize| unsafe { _mm512_loadu_si512(job.params(t.panel + n, row).cast()) };
    let mut first = [_mm512_setzero_si512(); N];
    if reads.signed {
        unroll!(n < N => {
            first[n] = _mm512_slli_epi32::<7>(_mm512_sub_epi32(_mm512_setzero_si512(), line(n, params::SUM2)));
        });
    }
    let other = unsafe { dot::<N, P>(first, reads, t) };
    unroll!(n < N => {
        let (k1, k2, bias) = (line(n, params::K1), line(n, params::K2), line(n, params::BIAS));
        unroll!(p < P => {
            let own = _mm512_add_epi32(_mm512_mullo_epi32(acc[p][n], k1), bias);
            acc[p][n] = _mm512_add_epi32(own, _mm512_mullo_epi32(other[p][n], k2));
        });
    });
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn max_pool(row: &mut PoolRow<'_>) {
    scalar::max_pool(row);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn average_pool(row: &mut PoolRow<'_>, average: Average<'_>) {
    scalar::average_pool(row, average);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn add(row: &mut AddRow<'_>) {
    scalar::add(row);
}
