//! The 256-bit kernel, written over the multiply-accumulate that its sets differ in: a panel's 16 lanes are two registers.
//!
//! Nothing here enables instructions of its own: a set compiles these bodies inside a function with its features.

#![expect(unsafe_code, reason = "vector loads and stores inside the bounds that a block was checked for")]

use super::raw::addition::{Addition, Operand};
use super::raw::{Cut, Job, Reads, Second, Skip, Tile, finish, flat, store, store_part, unroll};
use super::{ConvBlock, LineRow, scalar};
use crate::pack::{LANES, Narrow, params};
use crate::quant::DataType;
use crate::shape::LINE;
use core::arch::x86_64::*;
use core::ops::Range;

/// A multiply-accumulate: each 32-bit lane of `acc` gains the four products of an unsigned byte of `x` with a signed byte of `w`.
pub trait Dot {
    /// The most pixels of a tile for which the registers suffice, at most 6.
    const PIXELS: usize;

    /// # Safety
    /// The CPU must have the instructions of the set.
    unsafe fn dot(acc: __m256i, x: __m256i, w: __m256i) -> __m256i;
}

/// The sums of a pixel: lanes 0 to 7 and lanes 8 to 15.
type Sums = [__m256i; 2];

/// Computes a tile of one panel.
///
/// # Safety
/// The CPU must have the instructions of `D` and AVX2; the tile must lie inside the block that `job` was made from.
#[inline(always)]
pub unsafe fn any_tile<D: Dot>(job: &Job, t: Tile) {
    // SAFETY: as the caller's.
    unsafe {
        match t.pixels {
            1 => tile::<D, 1>(job, t),
            2 => tile::<D, 2>(job, t),
            3 => tile::<D, 3>(job, t),
            4 => tile::<D, 4>(job, t),
            5 if D::PIXELS >= 5 => tile::<D, 5>(job, t),
            6 if D::PIXELS >= 6 => tile::<D, 6>(job, t),
            _ => unreachable!("a tile is wider than the set's tiles"),
        }
    }
}

#[inline(always)]
unsafe fn tile<D: Dot, const P: usize>(job: &Job, t: Tile) {
    // SAFETY: as the caller's.
    unsafe {
        prefetch::<P>(job, t);
        let mut acc = dot::<D, P>(first(job, &job.main, t.panel, params::SUM), &job.main, t);
        if let Second::Projection(reads) = &job.second {
            let (k1, k2, bias) = (line(job, t.panel, params::K1), line(job, t.panel, params::K2), line(job, t.panel, params::BIAS));
            unroll!(p < P => unroll!(h < 2 => acc[p][h] = _mm256_add_epi32(_mm256_mullo_epi32(acc[p][h], k1[h]), bias[h])));
            let other = dot::<D, P>(first(job, reads, t.panel, params::SUM2), reads, t);
            unroll!(p < P => unroll!(h < 2 => acc[p][h] = _mm256_add_epi32(acc[p][h], _mm256_mullo_epi32(other[p][h], k2[h]))));
        }
        if job.plain {
            match &job.second {
                Second::Skip(Skip { kind: DataType::S16, .. }) | Second::None | Second::Projection(_) => {}
                Second::Skip(skip) if matches!(skip.kind, DataType::S8) => add_skip::<P, true>(&mut acc, job, skip, t),
                Second::Skip(skip) => add_skip::<P, false>(&mut acc, job, skip, t),
            }
            if job.wide {
                let sums = acc;
                return finish_wide(&sums, job, t);
            }
            requantize(&mut acc, job, t);
        } else {
            let mut sums = acc;
            unroll!(p < P => finish::<0>(flat(&mut sums[p]), job, t.row, t.pixel + p, t.panel));
            acc = sums;
        }
        store_any(acc, job, t);
    }
}

/// Stores a tile.
#[inline(always)]
unsafe fn store_any<const P: usize>(acc: [Sums; P], job: &Job, t: Tile) {
    // SAFETY: as the caller's.
    unsafe {
        match job.kind {
            DataType::U8 => store_bytes::<P, false>(&acc, job, t),
            DataType::S8 => store_bytes::<P, true>(&acc, job, t),
            DataType::S16 => {
                let channels = job.channels(t.panel, 1);
                unroll!(p < P => store_words(acc[p], job.out(t.row, t.pixel + p, t.panel), channels));
            }
            DataType::I32 => {
                let mut values = acc;
                unroll!(p < P => store::<0>(flat(&mut values[p]), job, t.row, t.pixel + p, t.panel));
            }
        }
    }
}

/// Adds a skip of S16, if there is one, rounds and stores the sums of a plain tile.
#[inline(never)]
#[target_feature(enable = "avx2")]
unsafe fn finish_wide(sums: &[Sums], job: &Job, t: Tile) {
    // SAFETY: the tile lies inside the block; only lanes that meet a channel are read.
    unsafe {
        let skip = job.second.wide();
        let (k2, lanes) = skip.map_or(([_mm256_setzero_si256(); 2], 0), |skip| (factors(job, t.panel), skip.lanes(t.panel)));
        for (p, &sums) in sums.iter().enumerate() {
            let (mut acc, t) = ([sums], Tile { pixel: t.pixel + p, pixels: 1, ..t });
            if let Some(skip) = skip {
                let at = skip.at(t.row, t.pixel, t.panel);
                let words = if lanes == u16::MAX { load_words(at) } else { load_words(Skip::part(at, lanes, 0i16).as_ptr().cast()) };
                let x = [_mm256_cvtepi16_epi32(_mm256_castsi256_si128(words)), _mm256_cvtepi16_epi32(_mm256_extracti128_si256::<1>(words))];
                unroll!(h < 2 => acc[0][h] = _mm256_add_epi32(acc[0][h], _mm256_madd_epi16(x[h], k2[h])));
            }
            requantize(&mut acc, job, t);
            store_any(acc, job, t);
        }
    }
}

/// 16 elements of S16.
#[inline(always)]
unsafe fn load_words(at: *const u8) -> __m256i {
    // SAFETY: the caller has 32 bytes there.
    unsafe { _mm256_loadu_si256(at.cast()) }
}

/// Clamps a pixel to S16 and stores it.
#[inline(always)]
unsafe fn store_words(sums: Sums, out: *mut u8, channels: usize) {
    // SAFETY: the caller's output has so many channels.
    unsafe {
        let words = _mm256_permute4x64_epi64::<0xD8>(_mm256_packs_epi32(sums[0], sums[1]));
        if channels == LANES {
            _mm256_storeu_si256(out.cast(), words);
        } else {
            let mut part = [0i16; LANES];
            _mm256_storeu_si256(part.as_mut_ptr().cast(), words);
            store_part(&part, out, channels);
        }
    }
}

/// What all pixels of a panel of an addition share. Bytes are read as unsigned ones.
struct Terms {
    bias: Sums,
    /// Of each lane the factors of `x` and `y`, side by side as 16 bits.
    factors: Sums,
    flips: [__m128i; 2],
    /// False if the second operand has no weight.
    two: bool,
}

/// Computes pixels of a panel of an addition.
///
/// # Safety
/// The CPU must have AVX2; the pixels and the panel must be those of an addition's body.
#[target_feature(enable = "avx2")]
pub unsafe fn add(addition: &Addition, panel: usize, pixels: Range<usize>) {
    // SAFETY: as the caller's.
    unsafe {
        let shift = _mm_cvtsi32_si128(addition.p.cast_signed());
        let shifted = |row| line(&addition.job, panel, row).map(|v| _mm256_sll_epi32(v, shift));
        let (mut bias, k1, k2) = (shifted(params::BIAS), shifted(params::K1), shifted(params::K2));
        for (k, _) in [k1, k2].iter().zip(addition.are(DataType::S8)).filter(|(_, signed)| *signed) {
            unroll!(h < 2 => bias[h] = _mm256_sub_epi32(bias[h], _mm256_slli_epi32::<7>(k[h])));
        }
        let any = _mm256_or_si256(k2[0], k2[1]);
        let mut factors = k1;
        unroll!(h < 2 => factors[h] = _mm256_blend_epi16::<0xAA>(k1[h], _mm256_slli_epi32::<16>(k2[h])));
        let terms = Terms { bias, factors, flips: addition.flips().map(|f| _mm_set1_epi8(f)), two: _mm256_testz_si256(any, any) == 0 };
        let wide = addition.x.wide() || terms.two && addition.y.wide();
        let mut pixel = pixels.start;
        while pixel + 4 <= pixels.end {
            if wide {
                add_tile::<4, true>(addition, panel, &terms, pixel)
            } else {
                add_tile::<4, false>(addition, panel, &terms, pixel)
            }
            pixel += 4;
        }
        for pixel in pixel..pixels.end {
            if wide { add_tile::<1, true>(addition, panel, &terms, pixel) } else { add_tile::<1, false>(addition, panel, &terms, pixel) }
        }
    }
}

/// Each lane multiplies an element of `x` and an element of `y`, side by side as 16 bits, with its factors. `WIDE` if one of them is S16.
#[inline(always)]
unsafe fn add_tile<const P: usize, const WIDE: bool>(addition: &Addition, panel: usize, terms: &Terms, pixel: usize) {
    // SAFETY: as the caller's: 16 elements of the pixels may be read.
    unsafe {
        let mut acc = [terms.bias; P];
        let bytes = |operand: &Operand, i: usize, p: usize| _mm_xor_si128(_mm_loadu_si128(operand.at(pixel + p, panel).cast()), terms.flips[i]);
        let words = |operand: &Operand, i: usize, p: usize| {
            if operand.wide() { load_words(operand.at(pixel + p, panel)) } else { _mm256_cvtepu8_epi16(bytes(operand, i, p)) }
        };
        unroll!(p < P => {
            let pairs = if WIDE {
                let x = _mm256_permute4x64_epi64::<0xD8>(words(&addition.x, 0, p));
                let y = if terms.two { _mm256_permute4x64_epi64::<0xD8>(words(&addition.y, 1, p)) } else { _mm256_setzero_si256() };
                [_mm256_unpacklo_epi16(x, y), _mm256_unpackhi_epi16(x, y)]
            } else {
                let (x, y) = (bytes(&addition.x, 0, p), bytes(&addition.y, 1, p));
                [_mm256_cvtepu8_epi16(_mm_unpacklo_epi8(x, y)), _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(x, y))]
            };
            unroll!(h < 2 => acc[p][h] = _mm256_add_epi32(acc[p][h], _mm256_madd_epi16(pairs[h], terms.factors[h])));
        });
        let t = Tile::of(pixel, P, panel);
        requantize(&mut acc, &addition.job, t);
        store_any(acc, &addition.job, t);
    }
}

/// Computes a block of narrow groups in tiles of at most so many pixels.
pub fn narrow(block: &mut ConvBlock<'_>, pixels: usize, tile: impl Fn(&Job, Tile)) {
    let job = Job::new(block);
    job.tiles(&Cut::ROWS, |left| (left.min(LINE / LANES), pixels), |t| tile(&job, t));
}

/// Computes a tile of narrow groups, which have `LINES` lines a tap, at most `D::PIXELS / LINES` pixels.
///
/// # Safety
/// As [`any_tile`].
#[inline(always)]
pub unsafe fn any_narrow<D: Dot, const LINES: usize>(job: &Job, t: Tile) {
    // SAFETY: as the caller's.
    unsafe {
        match t.pixels {
            1 => narrow_tile::<D, LINES, 1>(job, t),
            2 => narrow_tile::<D, LINES, 2>(job, t),
            3 if D::PIXELS >= 3 * LINES => narrow_tile::<D, LINES, 3>(job, t),
            4 if D::PIXELS >= 4 * LINES => narrow_tile::<D, LINES, 4>(job, t),
            5 if D::PIXELS >= 5 * LINES => narrow_tile::<D, LINES, 5>(job, t),
            6 if D::PIXELS >= 6 * LINES => narrow_tile::<D, LINES, 6>(job, t),
            _ => unreachable!("a tile is wider than the set's tiles"),
        }
    }
}

/// # Safety
/// As [`any_narrow`].
#[inline(always)]
unsafe fn narrow_tile<D: Dot, const LINES: usize, const P: usize>(job: &Job, t: Tile) {
    // SAFETY: as the caller's.
    unsafe {
        let bytes = job.plain && matches!(job.kind, DataType::U8 | DataType::S8);
        for panel in t.panel..t.panel + t.panels {
            let t = Tile { panel, ..t };
            let acc = narrow_dot::<D, LINES, P>(first(job, &job.main, panel, params::SUM), &job.main, t);
            let m = line(job, panel, params::MULTIPLIER);
            let large = _mm256_or_si256(_mm256_abs_epi32(m[0]), _mm256_abs_epi32(m[1]));
            if bytes && _mm256_testz_si256(large, _mm256_set1_epi32(-1 << 29)) != 0 {
                let mut values = [[_mm256_setzero_si256(); 2]; P];
                narrow_twice::<LINES, P>(&mut values, &acc, m.map(|m| _mm256_slli_epi32::<2>(m)));
                narrow_store::<P>(&values, job, t);
            } else {
                let sums = acc;
                narrow_finish(sums.as_flattened(), job, t);
            }
        }
    }
}

/// The sums of products of the tile, line by line.
///
/// # Safety
/// As [`any_narrow`]; `reads` is the job's.
#[inline(always)]
unsafe fn narrow_dot<D: Dot, const LINES: usize, const P: usize>(first: Sums, reads: &Reads, t: Tile) -> [[Sums; LINES]; P] {
    // SAFETY: the tile's pixels read inside the source, its panel inside the weights.
    unsafe {
        let mut start = [first; LINES];
        if LINES == 2 {
            // Each lane is two words.
            let zero = _mm256_setzero_si256();
            (start[0], start[LINES - 1]) = (first.map(|f| _mm256_unpacklo_epi32(f, zero)), first.map(|f| _mm256_unpackhi_epi32(f, zero)));
        }
        let mut acc = [start; P];
        let (origin, stride) = (reads.at(t.row, t.pixel).wrapping_add(t.panel * LANES), reads.out_pixel);
        let mut weights = reads.weights(t.panel);
        for tap_row in 0..reads.taps.rows {
            for tap_col in 0..reads.taps.cols {
                let x = origin.wrapping_add(tap_row * reads.tap_row + tap_col * reads.tap_col);
                unroll!(l < LINES => {
                    let w = [_mm256_loadu_si256(weights.wrapping_add(64 * l).cast()), _mm256_loadu_si256(weights.wrapping_add(64 * l + 32).cast())];
                    unroll!(p < P => {
                        let x = _mm256_broadcastsi128_si256(_mm_loadu_si128(x.wrapping_add(p * stride).cast()));
                        unroll!(h < 2 => acc[p][l][h] = D::dot(acc[p][l][h], x, w[h]));
                    });
                });
                weights = weights.wrapping_add(64 * LINES);
            }
        }
        acc
    }
}

/// Twice the results of each lane, rounded down: the upper halves of the products with the multipliers' fourfold, `m`.
///
/// # Safety
/// The CPU must have AVX2.
#[inline(always)]
unsafe fn narrow_twice<const LINES: usize, const P: usize>(values: &mut [Sums; P], acc: &[[Sums; LINES]; P], m: Sums) {
    // SAFETY: as the caller's.
    unsafe {
        unroll!(h < 2 => if LINES == 2 {
            let m = [_mm256_unpacklo_epi32(m[h], m[h]), _mm256_unpackhi_epi32(m[h], m[h])];
            unroll!(p < P => {
                let [a, b] = [acc[p][0][h], acc[p][LINES - 1][h]].map(|a| _mm256_add_epi32(a, _mm256_srli_epi64::<32>(a)));
                let [a, b] = [_mm256_mul_epi32(a, m[0]), _mm256_mul_epi32(b, m[1])].map(|a| _mm256_castsi256_ps(a));
                values[p][h] = _mm256_castps_si256(_mm256_shuffle_ps::<0xDD>(a, b));
            });
        } else {
            let odd = _mm256_srli_epi64::<32>(m[h]);
            unroll!(p < P => {
                let a = acc[p][0][h];
                let (x, y) = (_mm256_mul_epi32(a, m[h]), _mm256_mul_epi32(_mm256_srli_epi64::<32>(a), odd));
                values[p][h] = _mm256_blend_epi32::<0xAA>(_mm256_srli_epi64::<32>(x), y);
            });
        });
    }
}

/// Halves, rounds and clamps what [`narrow_twice`] gives, and stores it in the order of the channels, two pixels at a time.
///
/// # Safety
/// As [`any_narrow`], of a job with results of bytes.
#[inline(always)]
unsafe fn narrow_store<const P: usize>(twice: &[Sums; P], job: &Job, t: Tile) {
    // SAFETY: the channels of the pixels lie inside the output.
    unsafe {
        let (order, half) = (_mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7), _mm256_set1_epi16(1 << 14));
        // Not known before the program runs, so that both orders stay an instruction each.
        let lanes = job.narrow.unwrap_or(Narrow::Four).lanes();
        let lanes = _mm256_broadcastsi128_si256(_mm_loadu_si128(lanes.as_ptr().cast()));
        unroll!(i < P.div_ceil(2) => {
            let [a, b] = [twice[2 * i], twice[(2 * i + 1).min(P - 1)]].map(|v| _mm256_mulhrs_epi16(_mm256_packs_epi32(v[0], v[1]), half));
            let bytes = if matches!(job.kind, DataType::S8) { _mm256_packs_epi16(a, b) } else { _mm256_packus_epi16(a, b) };
            let bytes = _mm256_shuffle_epi8(_mm256_permutevar8x32_epi32(bytes, order), lanes);
            _mm_storeu_si128(job.out(t.row, t.pixel + 2 * i, t.panel).cast(), _mm256_castsi256_si128(bytes));
            if 2 * i + 1 < P {
                _mm_storeu_si128(job.out(t.row, t.pixel + 2 * i + 1, t.panel).cast(), _mm256_extracti128_si256::<1>(bytes));
            }
        });
    }
}

/// Rounds with parameters of any size and stores in any type.
///
/// # Safety
/// As [`any_narrow`]; there are two registers for each line of each pixel.
#[inline(never)]
#[target_feature(enable = "avx2")]
unsafe fn narrow_finish(sums: &[Sums], job: &Job, t: Tile) {
    // SAFETY: as the caller's.
    unsafe {
        for (p, lines) in sums.chunks_exact(sums.len() / t.pixels).enumerate() {
            let mut sums = lines[0];
            if let [a, b] = lines {
                unroll!(h < 2 => sums[h] = _mm256_hadd_epi32(a[h], b[h]));
            }
            if job.wide {
                let mut acc = [sums];
                requantize(&mut acc, job, t);
                [sums] = acc;
            } else {
                finish::<0>(flat(&mut sums), job, t.row, t.pixel + p, t.panel);
            }
            store::<0>(flat(&mut sums), job, t.row, t.pixel + p, t.panel);
        }
    }
}

/// Looks eight values at a time up on lines.
///
/// # Safety
/// The CPU must have AVX2.
#[target_feature(enable = "avx2")]
pub unsafe fn lines(row: &mut LineRow<'_>) {
    let (bytes, table) = (row.kind.bytes(), row.lines.as_ptr().cast::<i32>());
    let eights = (row.x.len() / 2).min(row.out.len() / bytes) / 8;
    let shift = _mm_cvtsi32_si128(row.shift.cast_signed());
    for i in 0..eights {
        // SAFETY: eight values and eight results lie there; a line's number is at most 255.
        unsafe {
            let x = _mm_xor_si128(_mm_loadu_si128(row.x.as_ptr().add(16 * i).cast()), _mm_set1_epi16(i16::MIN));
            let place = _mm256_cvtepu16_epi32(x);
            let line = _mm256_srli_epi32::<8>(place);
            let (begin, slope) = (_mm256_i32gather_epi32::<8>(table, line), _mm256_i32gather_epi32::<8>(table.add(1), line));
            let y = _mm256_add_epi32(begin, _mm256_mullo_epi32(slope, _mm256_and_si256(place, _mm256_set1_epi32(255))));
            let y = _mm256_sra_epi32(y, shift);
            let words = _mm_packs_epi32(_mm256_castsi256_si128(y), _mm256_extracti128_si256::<1>(y));
            let out = row.out.as_mut_ptr().add(8 * bytes * i);
            let narrow = match row.kind {
                DataType::U8 => _mm_packus_epi16(words, words),
                DataType::S8 => _mm_packs_epi16(words, words),
                DataType::S16 | DataType::I32 => {
                    _mm_storeu_si128(out.cast(), words);
                    continue;
                }
            };
            _mm_storel_epi64(out.cast(), _mm_xor_si128(narrow, _mm_set1_epi8(row.flip.cast_signed())));
        }
    }
    scalar::lines(&mut LineRow { x: &row.x[16 * eights..], out: &mut row.out[8 * bytes * eights..], ..*row });
}

/// Asks for the lines that the tile to the right will write and add, where each pixel has its own.
#[inline(always)]
pub unsafe fn prefetch<const P: usize>(job: &Job, t: Tile) {
    // SAFETY: a prefetch of any address is harmless.
    unsafe {
        if job.out_pixel >= LINE {
            for line in (0..t.panels * LANES * job.kind.bytes()).step_by(LINE) {
                unroll!(p < P => _mm_prefetch::<_MM_HINT_T0>(job.out(t.row, t.pixel + P + p, t.panel).wrapping_add(line).cast()));
            }
        }
        if let Second::Skip(skip) = &job.second
            && skip.out_pixel >= LINE
        {
            for line in (0..t.panels * LANES * skip.kind.bytes()).step_by(LINE) {
                unroll!(p < P => _mm_prefetch::<_MM_HINT_T0>(skip.at(t.row, t.pixel + P + p, t.panel).wrapping_add(line).cast()));
            }
        }
    }
}

/// What the sums of a convolution start from: the correction for signed bytes, and the bias where nothing multiplies the sums.
#[inline(always)]
unsafe fn first(job: &Job, reads: &Reads, panel: usize, sums: usize) -> Sums {
    // SAFETY: a row of parameters is 64 bytes.
    unsafe {
        let mut first = if matches!(job.second, Second::Projection(_)) { [_mm256_setzero_si256(); 2] } else { line(job, panel, params::BIAS) };
        if reads.signed {
            let sums = line(job, panel, sums);
            unroll!(h < 2 => first[h] = _mm256_sub_epi32(first[h], _mm256_slli_epi32::<7>(sums[h])));
        }
        first
    }
}

/// The sums of products of the tile, while the input of the tile to the right is asked for.
#[inline(always)]
unsafe fn dot<D: Dot, const P: usize>(first: Sums, reads: &Reads, t: Tile) -> [Sums; P] {
    // SAFETY: the tile's pixels read inside the source, its panel inside the weights; a prefetch of any address is harmless.
    unsafe {
        let mut acc = [[_mm256_setzero_si256(); 2]; P];
        unroll!(p < P => acc[p] = first);
        let (origin, stride) = (reads.at(t.row, t.pixel), reads.out_pixel);
        let mut ahead = origin.wrapping_add(P * stride);
        let mut weights = reads.weights(t.panel);
        for tap_row in 0..reads.taps.rows {
            for tap_col in 0..reads.taps.cols {
                let mut x = origin.wrapping_add(tap_row * reads.tap_row + tap_col * reads.tap_col);
                for _ in 0..reads.taps.groups {
                    let w = [_mm256_loadu_si256(weights.cast()), _mm256_loadu_si256(weights.wrapping_add(32).cast())];
                    unroll!(p < P => {
                        let x = _mm256_set1_epi32(x.wrapping_add(p * stride).cast::<i32>().read_unaligned());
                        unroll!(h < 2 => acc[p][h] = D::dot(acc[p][h], x, w[h]));
                    });
                    _mm_prefetch::<_MM_HINT_T0>(ahead.cast());
                    ahead = ahead.wrapping_add(4 * P);
                    x = x.wrapping_add(4);
                    weights = weights.wrapping_add(64);
                }
            }
        }
        acc
    }
}

/// A row of a panel's parameters.
#[inline(always)]
unsafe fn line(job: &Job, panel: usize, row: usize) -> Sums {
    let at = job.params(panel, row);
    // SAFETY: a row is 64 bytes.
    unsafe { [_mm256_loadu_si256(at.cast()), _mm256_loadu_si256(at.wrapping_add(32).cast())] }
}

/// The factors of a skip, that fit into 16 bits, beside zeros.
#[inline(always)]
unsafe fn factors(job: &Job, panel: usize) -> Sums {
    // SAFETY: the panel has parameters.
    unsafe { line(job, panel, params::K2).map(|k| _mm256_and_si256(k, _mm256_set1_epi32(0xFFFF))) }
}

/// Adds a skip of bytes whose factors fit into 16 bits.
#[inline(always)]
unsafe fn add_skip<const P: usize, const SIGNED: bool>(acc: &mut [Sums; P], job: &Job, skip: &Skip, t: Tile) {
    // SAFETY: only lanes that meet a channel are read.
    unsafe {
        let (k2, lanes) = (factors(job, t.panel), skip.lanes(t.panel));
        unroll!(p < P => {
            let at = skip.at(t.row, t.pixel + p, t.panel);
            let bytes = if lanes == u16::MAX { _mm_loadu_si128(at.cast()) } else { _mm_loadu_si128(Skip::part(at, lanes, 0u8).as_ptr().cast()) };
            let high = _mm_unpackhi_epi64(bytes, bytes);
            let x = if SIGNED { [_mm256_cvtepi8_epi32(bytes), _mm256_cvtepi8_epi32(high)] } else { [_mm256_cvtepu8_epi32(bytes), _mm256_cvtepu8_epi32(high)] };
            unroll!(h < 2 => acc[p][h] = _mm256_add_epi32(acc[p][h], _mm256_madd_epi16(x[h], k2[h])));
        });
    }
}

/// Rounds with multipliers whose doubles fit: the result is the upper half of the product with the double.
#[inline(always)]
unsafe fn requantize<const P: usize>(acc: &mut [Sums; P], job: &Job, t: Tile) {
    // SAFETY: the tile's panel has parameters.
    unsafe {
        let m = line(job, t.panel, params::MULTIPLIER);
        let half = _mm256_set1_epi64x(1 << 31);
        unroll!(h < 2 => {
            let even = _mm256_slli_epi32::<1>(m[h]);
            let odd = _mm256_shuffle_epi32::<0xF5>(even);
            unroll!(p < P => {
                let a = acc[p][h];
                let x = _mm256_add_epi64(_mm256_mul_epi32(a, even), half);
                let y = _mm256_add_epi64(_mm256_mul_epi32(_mm256_shuffle_epi32::<0xF5>(a), odd), half);
                acc[p][h] = _mm256_blend_epi32::<0xAA>(_mm256_shuffle_epi32::<0xF5>(x), y);
            });
        });
    }
}

#[inline(always)]
unsafe fn store_bytes<const P: usize, const SIGNED: bool>(acc: &[Sums; P], job: &Job, t: Tile) {
    // SAFETY: the channels of the pixels lie inside the output.
    unsafe {
        let channels = job.channels(t.panel, 1);
        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        unroll!(i < P.div_ceil(2) => {
            let (a, b) = (acc[2 * i], acc[(2 * i + 1).min(P - 1)]);
            let (a, b) = (_mm256_packs_epi32(a[0], a[1]), _mm256_packs_epi32(b[0], b[1]));
            let bytes = if SIGNED { _mm256_packs_epi16(a, b) } else { _mm256_packus_epi16(a, b) };
            let bytes = _mm256_permutevar8x32_epi32(bytes, order);
            store_lanes(_mm256_castsi256_si128(bytes), job.out(t.row, t.pixel + 2 * i, t.panel), channels);
            if 2 * i + 1 < P {
                store_lanes(_mm256_extracti128_si256::<1>(bytes), job.out(t.row, t.pixel + 2 * i + 1, t.panel), channels);
            }
        });
    }
}

/// Stores the first `channels` bytes, a multiple of 4.
#[inline(always)]
unsafe fn store_lanes(bytes: __m128i, out: *mut u8, channels: usize) {
    // SAFETY: the caller's output has that many bytes.
    unsafe {
        if channels == LANES {
            _mm_storeu_si128(out.cast(), bytes);
        } else {
            let mut part = [0u8; LANES];
            _mm_storeu_si128(part.as_mut_ptr().cast(), bytes);
            store_part(&part, out, channels);
        }
    }
}
