//! x86 with AVX2. Bytes are multiplied by `vpmaddubsw` where the weights are proven not to saturate it, else after widening to 16 bits.

#![expect(unsafe_code, reason = "the 256-bit kernel is called with the instructions that it needs")]

use super::raw::{Cut, Job, Tile, addition};
use super::x86::{self, Dot};
use super::{AddRow, Average, ConvBlock, PoolRow, Set, Table, peak, scalar};
use crate::pack::Narrow;
use core::arch::x86_64::*;

pub(super) static TABLE: Table =
    Table { set: Set::Avx2, flip: 0, conv, narrow, max_pool, average_pool, add, lookup: scalar::lookup, lines: x86::lines, peak: peak::avx2 };

/// Exact for weights of which no pair exceeds 128 in its positive or in its negative sum.
struct PairSafe;

impl Dot for PairSafe {
    const PIXELS: usize = 5;

    #[inline(always)]
    unsafe fn dot(acc: __m256i, x: __m256i, w: __m256i) -> __m256i {
        // SAFETY: the caller has AVX2.
        unsafe { _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(x, w), _mm256_set1_epi16(1))) }
    }
}

/// Exact for all weights: the bytes at even and at odd places are widened and multiplied apart.
struct Widened;

impl Dot for Widened {
    const PIXELS: usize = 4;

    #[inline(always)]
    unsafe fn dot(acc: __m256i, x: __m256i, w: __m256i) -> __m256i {
        // SAFETY: the caller has AVX2.
        unsafe {
            let even = _mm256_madd_epi16(_mm256_and_si256(x, _mm256_set1_epi16(0xFF)), _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(w)));
            let odd = _mm256_madd_epi16(_mm256_srli_epi16::<8>(x), _mm256_srai_epi16::<8>(w));
            _mm256_add_epi32(_mm256_add_epi32(acc, even), odd)
        }
    }
}

/// # Safety
/// The CPU has AVX2.
unsafe fn conv(block: &mut ConvBlock<'_>) {
    let job = Job::new(block);
    if block.pair_safe {
        // SAFETY: the tile lies inside the block; the caller has AVX2.
        job.tiles(&Cut::ROWS, |_| (1, PairSafe::PIXELS), |t| unsafe { pair_safe(&job, t) });
    } else {
        // SAFETY: as above.
        job.tiles(&Cut::ROWS, |_| (1, Widened::PIXELS), |t| unsafe { widened(&job, t) });
    }
}

#[target_feature(enable = "avx2")]
unsafe fn pair_safe(job: &Job, tile: Tile) {
    // SAFETY: AVX2 is enabled here; the rest is the caller's.
    unsafe { x86::any_tile::<PairSafe>(job, tile) }
}

#[target_feature(enable = "avx2")]
unsafe fn widened(job: &Job, tile: Tile) {
    // SAFETY: AVX2 is enabled here; the rest is the caller's.
    unsafe { x86::any_tile::<Widened>(job, tile) }
}

/// # Safety
/// The CPU has AVX2.
unsafe fn narrow(block: &mut ConvBlock<'_>, narrow: Narrow) {
    let pair_safe = block.pair_safe;
    let pixels = if pair_safe { PairSafe::PIXELS } else { Widened::PIXELS } / narrow.lines();
    // SAFETY: the tile lies inside the block; the caller has AVX2.
    x86::narrow(block, pixels, |job, t| unsafe {
        match (pair_safe, narrow) {
            (true, Narrow::Four) => narrow_tile::<PairSafe, 1>(job, t),
            (true, Narrow::Eight) => narrow_tile::<PairSafe, 2>(job, t),
            (false, Narrow::Four) => narrow_tile::<Widened, 1>(job, t),
            (false, Narrow::Eight) => narrow_tile::<Widened, 2>(job, t),
        }
    });
}

#[target_feature(enable = "avx2")]
unsafe fn narrow_tile<D: Dot, const LINES: usize>(job: &Job, t: Tile) {
    // SAFETY: AVX2 is enabled here; the rest is the caller's.
    unsafe { x86::any_narrow::<D, LINES>(job, t) }
}

/// See [`super::Kernels::vectorized`].
#[target_feature(enable = "avx2")]
pub(super) fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    work()
}

#[target_feature(enable = "avx2")]
fn max_pool(row: &mut PoolRow<'_>) {
    scalar::max_pool::<0>(row);
}

#[target_feature(enable = "avx2")]
fn average_pool(row: &mut PoolRow<'_>, average: Average<'_>) {
    scalar::average_pool::<0>(row, average);
}

/// # Safety
/// The CPU has AVX2.
unsafe fn add(row: &mut AddRow<'_>) {
    // SAFETY: the caller has AVX2.
    addition::add(row, 0, |addition, panel, pixels| unsafe { x86::add(addition, panel, pixels) });
}
