//! x86 with AVX512-VNNI: a panel's 16 lanes are one register.
#![expect(unsafe_code, reason = "vector loads and stores inside the bounds that a block was checked for")]

mod narrow;

use super::raw::addition::{self, Addition, Operand};
use super::raw::{Cut, Job, Reads, Second, Skip, Tile, finish, flat, store, unroll};
use super::x86;
use super::{AddRow, Average, ConvBlock, PoolRow, Set, Table, peak, scalar};
use crate::pack::{LANES, params};
use crate::quant::DataType;
use core::arch::x86_64::*;
use core::ops::Range;

pub(super) static TABLE: Table = Table {
    set: Set::Avx512Vnni,
    flip: 0,
    conv,
    narrow: narrow::narrow,
    max_pool,
    average_pool,
    add,
    lookup: scalar::lookup,
    lines: x86::lines,
    peak: peak::avx512vnni,
};

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

/// Groups of depth up to which whole lines of output count more than few reads of weights.
const SHALLOW: usize = 16;

/// # Safety
/// The CPU has AVX512-VNNI.
unsafe fn conv(block: &mut ConvBlock<'_>) {
    let job = Job::new(block);
    let shallow = job.main.taps.total() <= SHALLOW;
    let shape = |left| match left {
        4.. if shallow || job.pixels <= FOUR.len() => (4, FOUR.len()),
        2.. => (2, TWO.len()),
        _ => (1, ONE.len()),
    };
    job.tiles(&Cut::ROWS, shape, |t| {
        let tiles: &[TileFn] = match t.panels {
            4 => &FOUR,
            2 => &TWO,
            _ => &ONE,
        };
        // SAFETY: the tile lies inside the block; the caller has the instructions.
        unsafe { tiles[t.pixels - 1](&job, t) }
    });
}

/// N panels of P pixels.
type Sums<const N: usize, const P: usize> = [[__m512i; N]; P];

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn tile<const N: usize, const P: usize>(job: &Job, t: Tile) {
    // SAFETY: as the caller's: the tile lies inside the block.
    unsafe {
        x86::prefetch::<P>(job, t);
        let mut acc = dot::<N, P>(first(job, &job.main, t, params::SUM), &job.main, t);
        if job.plain {
            match &job.second {
                Second::Skip(Skip { kind: DataType::S16, .. }) | Second::None => {}
                Second::Skip(skip) if matches!(skip.kind, DataType::S8) => add_skip::<N, P, true>(&mut acc, job, skip, t),
                Second::Skip(skip) => add_skip::<N, P, false>(&mut acc, job, skip, t),
                Second::Projection(reads) => {
                    let mut sums = acc;
                    project(&mut sums, job, reads, t);
                    acc = sums;
                }
            }
            if job.wide {
                let sums = acc;
                return finish_wide(sums.as_flattened(), job, t);
            }
            requantize(&mut acc, job, t);
        } else {
            let mut sums = acc;
            if let Second::Projection(reads) = &job.second {
                project(&mut sums, job, reads, t);
            }
            unroll!(p < P => finish::<0>(flat(&mut sums[p]), job, t.row, t.pixel + p, t.panel));
            acc = sums;
        }
        store_any(acc, job, t);
    }
}

/// Stores a tile.
#[inline(always)]
unsafe fn store_any<const N: usize, const P: usize>(acc: Sums<N, P>, job: &Job, t: Tile) {
    // SAFETY: as the caller's: the tile lies inside the block.
    unsafe {
        match job.kind {
            DataType::U8 => store_bytes::<N, P, false>(&acc, job, t),
            DataType::S8 => store_bytes::<N, P, true>(&acc, job, t),
            DataType::S16 if N == 1 => unroll!(p < P => store_words(acc[p][0], job, Tile { pixel: t.pixel + p, ..t })),
            DataType::S16 | DataType::I32 => {
                let mut values = acc;
                unroll!(p < P => store::<0>(flat(&mut values[p]), job, t.row, t.pixel + p, t.panel));
            }
        }
    }
}

/// Adds a skip of S16, if there is one, rounds and stores the sums of a plain tile.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn finish_wide(sums: &[__m512i], job: &Job, t: Tile) {
    // SAFETY: as the caller's: the tile lies inside the block; only lanes that meet a channel are read.
    unsafe {
        let skip = job.second.wide();
        for n in 0..t.panels {
            let panel = t.panel + n;
            let (k2, lanes) = skip.map_or((_mm512_setzero_si512(), 0), |skip| (factors(job, t, n), skip.lanes(panel)));
            for first in (0..t.pixels).step_by(4) {
                // Where there are not four more pixels, the last one stands for those that are missing.
                let places: [usize; 4] = core::array::from_fn(|i| (first + i).min(t.pixels - 1));
                let mut acc = [[_mm512_setzero_si512()]; 4];
                unroll!(p < 4 => acc[p][0] = sums[places[p] * t.panels + n]);
                if let Some(skip) = skip {
                    unroll!(p < 4 => {
                        let at = skip.at(t.row, t.pixel + places[p], panel);
                        let words = if lanes == u16::MAX { _mm256_loadu_si256(at.cast()) } else { _mm256_maskz_loadu_epi16(lanes, at.cast()) };
                        acc[p][0] = _mm512_dpwssd_epi32(acc[p][0], _mm512_cvtepi16_epi32(words), k2);
                    });
                }
                requantize(&mut acc, job, Tile { panel, ..t });
                unroll!(p < 4 => store_any([acc[p]], job, Tile { pixel: t.pixel + places[p], panel, ..t }));
            }
        }
    }
}

/// Clamps the first panel of a pixel to S16 and stores it.
#[inline(always)]
unsafe fn store_words(sums: __m512i, job: &Job, t: Tile) {
    // SAFETY: the mask lets only the channels of the pixel through, which lie inside the output.
    unsafe {
        let (words, out, channels) = (_mm512_cvtsepi32_epi16(sums), job.out(t.row, t.pixel, t.panel), job.channels(t.panel, 1));
        if channels == LANES { _mm256_storeu_si256(out.cast(), words) } else { _mm256_mask_storeu_epi16(out.cast(), (1 << channels) - 1, words) }
    }
}

/// The factors of a skip, that fit into 16 bits, beside zeros.
#[inline(always)]
unsafe fn factors(job: &Job, t: Tile, n: usize) -> __m512i {
    // SAFETY: the tile's panels have parameters.
    unsafe { _mm512_and_si512(line(job, t, n, params::K2), _mm512_set1_epi32(0xFFFF)) }
}

/// A row of the parameters of the tile's panel `n`.
#[inline(always)]
unsafe fn line(job: &Job, t: Tile, n: usize, row: usize) -> __m512i {
    // SAFETY: a row is 64 bytes.
    unsafe { _mm512_loadu_si512(job.params(t.panel + n, row).cast()) }
}

/// What the sums of a convolution start from: the correction for signed bytes, and the bias where nothing multiplies the sums.
#[inline(always)]
unsafe fn first<const N: usize>(job: &Job, reads: &Reads, t: Tile, sums: usize) -> [__m512i; N] {
    // SAFETY: the tile's panels have parameters.
    unsafe {
        let mut first = [_mm512_setzero_si512(); N];
        if !matches!(job.second, Second::Projection(_)) {
            unroll!(n < N => first[n] = line(job, t, n, params::BIAS));
        }
        if reads.signed {
            unroll!(n < N => first[n] = _mm512_sub_epi32(first[n], _mm512_slli_epi32::<7>(line(job, t, n, sums))));
        }
        first
    }
}

/// The sums of products of the tile, while the input of the tile to the right is asked for, and weights of the panels to come where they are many.
#[inline(always)]
unsafe fn dot<const N: usize, const P: usize>(first: [__m512i; N], reads: &Reads, t: Tile) -> Sums<N, P> {
    // SAFETY: the tile's pixels read inside the source, its panels inside the weights; a prefetch of any address is harmless.
    unsafe {
        let mut acc = [[_mm512_setzero_si512(); N]; P];
        unroll!(p < P => acc[p] = first);
        let (origin, stride, pitch) = (reads.at(t.row, t.pixel), reads.out_pixel, reads.panel);
        let mut ahead = origin.wrapping_add(P * stride);
        let mut weights = reads.weights(t.panel);
        let (mut later, step) = if t.index < N && reads.many { (reads.weights(t.panel + N + t.index), 64) } else { (weights, 0) };
        for tap_row in 0..reads.taps.rows {
            for tap_col in 0..reads.taps.cols {
                let mut x = origin.wrapping_add(tap_row * reads.tap_row + tap_col * reads.tap_col);
                for _ in 0..reads.taps.groups {
                    let mut w = [_mm512_setzero_si512(); N];
                    unroll!(n < N => w[n] = _mm512_loadu_si512(weights.wrapping_add(n * pitch).cast()));
                    unroll!(p < P => {
                        let x = _mm512_set1_epi32(x.wrapping_add(p * stride).cast::<i32>().read_unaligned());
                        unroll!(n < N => acc[p][n] = _mm512_dpbusd_epi32(acc[p][n], x, w[n]));
                    });
                    _mm_prefetch::<_MM_HINT_T0>(ahead.cast());
                    ahead = ahead.wrapping_add(4 * P);
                    _mm_prefetch::<_MM_HINT_T1>(later.cast());
                    later = later.wrapping_add(step);
                    x = x.wrapping_add(4);
                    weights = weights.wrapping_add(64);
                }
            }
        }
        acc
    }
}

/// Adds a skip of bytes whose factors fit into 16 bits.
#[inline(always)]
unsafe fn add_skip<const N: usize, const P: usize, const SIGNED: bool>(acc: &mut Sums<N, P>, job: &Job, skip: &Skip, t: Tile) {
    // SAFETY: only lanes that meet a channel are read.
    unsafe {
        unroll!(n < N => {
            let (k2, lanes) = (factors(job, t, n), skip.lanes(t.panel + n));
            unroll!(p < P => {
                let at = skip.at(t.row, t.pixel + p, t.panel + n);
                let bytes = if lanes == u16::MAX { _mm_loadu_si128(at.cast()) } else { _mm_maskz_loadu_epi8(lanes, at.cast()) };
                let x = if SIGNED { _mm512_cvtepi8_epi32(bytes) } else { _mm512_cvtepu8_epi32(bytes) };
                acc[p][n] = _mm512_dpwssd_epi32(acc[p][n], x, k2);
            });
        });
    }
}

/// Adds a projection: its sums are made in registers of their own, the first ones wait in memory.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn project<const N: usize, const P: usize>(acc: &mut Sums<N, P>, job: &Job, reads: &Reads, t: Tile) {
    // SAFETY: as the caller's: the tile lies inside the block.
    unsafe {
        let other = dot::<N, P>(first(job, reads, t, params::SUM2), reads, t);
        unroll!(n < N => {
            let (k1, k2, bias) = (line(job, t, n, params::K1), line(job, t, n, params::K2), line(job, t, n, params::BIAS));
            unroll!(p < P => {
                let own = _mm512_add_epi32(_mm512_mullo_epi32(acc[p][n], k1), bias);
                acc[p][n] = _mm512_add_epi32(own, _mm512_mullo_epi32(other[p][n], k2));
            });
        });
    }
}

/// Rounds with multipliers whose doubles fit: the result is the upper half of the product with the double.
#[inline(always)]
unsafe fn requantize<const N: usize, const P: usize>(acc: &mut Sums<N, P>, job: &Job, t: Tile) {
    // SAFETY: the tile's panels have parameters.
    unsafe {
        let half = _mm512_set1_epi64(1 << 31);
        unroll!(n < N => {
            let even = _mm512_slli_epi32::<1>(line(job, t, n, params::MULTIPLIER));
            let odd = _mm512_shuffle_epi32::<0xF5>(even);
            unroll!(p < P => {
                let a = acc[p][n];
                let x = _mm512_add_epi64(_mm512_mul_epi32(a, even), half);
                let y = _mm512_add_epi64(_mm512_mul_epi32(_mm512_shuffle_epi32::<0xF5>(a), odd), half);
                acc[p][n] = _mm512_mask_shuffle_epi32::<0xF5>(y, 0x5555, x);
            });
        });
    }
}

/// Clamps and stores, four registers at a time.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "a mask has as many bits as there are lanes")]
unsafe fn store_bytes<const N: usize, const P: usize, const SIGNED: bool>(acc: &Sums<N, P>, job: &Job, t: Tile) {
    // SAFETY: the masks let only the channels of the pixels through, which lie inside the output.
    unsafe {
        let channels = job.channels(t.panel, N);
        let (whole, mask) = (channels == N * LANES, u64::MAX >> (64 - channels));
        let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        let pixels = 4 / N;
        unroll!(i < P.div_ceil(pixels) => {
            let mut four = [_mm512_setzero_si512(); 4];
            unroll!(v < 4 => four[v] = acc[(i * pixels + v / N).min(P - 1)][v % N]);
            let (low, high) = (_mm512_packs_epi32(four[0], four[1]), _mm512_packs_epi32(four[2], four[3]));
            let bytes = if SIGNED { _mm512_packs_epi16(low, high) } else { _mm512_packus_epi16(low, high) };
            let bytes = _mm512_permutexvar_epi32(order, bytes);
            unroll!(j < pixels => if i * pixels + j < P {
                let out = job.out(t.row, t.pixel + i * pixels + j, t.panel);
                match N {
                    4 if whole => _mm512_storeu_si512(out.cast(), bytes),
                    4 => _mm512_mask_storeu_epi8(out.cast(), mask, bytes),
                    2 => {
                        let half = if j == 0 { _mm512_castsi512_si256(bytes) } else { _mm512_extracti64x4_epi64::<1>(bytes) };
                        if whole { _mm256_storeu_si256(out.cast(), half) } else { _mm256_mask_storeu_epi8(out.cast(), mask as u32, half) }
                    }
                    _ => {
                        let quarter = match j {
                            0 => _mm512_castsi512_si128(bytes),
                            1 => _mm512_extracti32x4_epi32::<1>(bytes),
                            2 => _mm512_extracti32x4_epi32::<2>(bytes),
                            _ => _mm512_extracti32x4_epi32::<3>(bytes),
                        };
                        if whole { _mm_storeu_si128(out.cast(), quarter) } else { _mm_mask_storeu_epi8(out.cast(), mask as u16, quarter) }
                    }
                }
            });
        });
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn max_pool(row: &mut PoolRow<'_>) {
    scalar::max_pool::<0>(row);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn average_pool(row: &mut PoolRow<'_>, average: Average<'_>) {
    scalar::average_pool::<0>(row, average);
}

/// # Safety
/// The CPU has AVX512-VNNI.
unsafe fn add(row: &mut AddRow<'_>) {
    // SAFETY: the caller has the instructions.
    addition::add(row, 0, |addition, panel, pixels| unsafe { add_panel(addition, panel, pixels) });
}

/// What all pixels of a panel of an addition share. Bytes are read as unsigned ones.
struct Terms {
    bias: __m512i,
    /// The factors of `x` and `y`.
    factors: [__m512i; 2],
    flips: [__m128i; 2],
    /// False if the second operand has no weight.
    two: bool,
}

/// Computes pixels of a panel of an addition.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn add_panel(addition: &Addition, panel: usize, pixels: Range<usize>) {
    // SAFETY: as the caller's: the pixels and the panel are those of an addition's body.
    unsafe {
        let shift = _mm_cvtsi32_si128(addition.p.cast_signed());
        let shifted = |row| _mm512_sll_epi32(line(&addition.job, Tile::of(0, 1, panel), 0, row), shift);
        let (mut bias, factors) = (shifted(params::BIAS), [shifted(params::K1), shifted(params::K2)]);
        for (k, _) in factors.iter().zip(addition.are(DataType::S8)).filter(|(_, signed)| *signed) {
            bias = _mm512_sub_epi32(bias, _mm512_slli_epi32::<7>(*k));
        }
        let two = _mm512_test_epi32_mask(factors[1], factors[1]) != 0;
        let factors = factors.map(|k| _mm512_and_si512(k, _mm512_set1_epi32(0xFFFF)));
        let terms = Terms { bias, factors, flips: addition.flips().map(|f| _mm_set1_epi8(f)), two };
        let mut pixel = pixels.start;
        while pixel + 4 <= pixels.end {
            add_tile::<4>(addition, panel, &terms, pixel);
            pixel += 4;
        }
        for pixel in pixel..pixels.end {
            add_tile::<1>(addition, panel, &terms, pixel);
        }
    }
}

#[inline(always)]
unsafe fn add_tile<const P: usize>(addition: &Addition, panel: usize, terms: &Terms, pixel: usize) {
    // SAFETY: as the caller's: 16 elements of the pixels may be read.
    unsafe {
        let mut acc = [[terms.bias]; P];
        multiply_add(&mut acc, &addition.x, panel, pixel, (terms.flips[0], terms.factors[0]));
        if terms.two {
            multiply_add(&mut acc, &addition.y, panel, pixel, (terms.flips[1], terms.factors[1]));
        }
        let t = Tile::of(pixel, P, panel);
        requantize(&mut acc, &addition.job, t);
        store_any(acc, &addition.job, t);
    }
}

/// Adds the products of an operand and its factors.
#[inline(always)]
unsafe fn multiply_add<const P: usize>(acc: &mut Sums<1, P>, operand: &Operand, panel: usize, pixel: usize, (flip, factors): (__m128i, __m512i)) {
    // SAFETY: as the caller's: 16 elements of the pixels may be read.
    unsafe {
        let at = |p| operand.at(pixel + p, panel);
        if operand.wide() {
            unroll!(p < P => acc[p][0] = _mm512_dpwssd_epi32(acc[p][0], _mm512_cvtepi16_epi32(_mm256_loadu_si256(at(p).cast())), factors));
        } else {
            let bytes = |at: *const u8| _mm512_cvtepu8_epi32(_mm_xor_si128(_mm_loadu_si128(at.cast()), flip));
            unroll!(p < P => acc[p][0] = _mm512_dpwssd_epi32(acc[p][0], bytes(at(p)), factors));
        }
    }
}
