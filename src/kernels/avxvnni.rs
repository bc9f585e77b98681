//! x86 with AVX-VNNI: 256-bit dot products of bytes, without AVX-512.

#![expect(unsafe_code, reason = "the 256-bit kernel is called with the instructions that it needs")]

use super::raw::{Cut, Job, Tile, addition};
use super::x86::{self, Dot};
use super::{AddRow, Average, ConvBlock, PoolRow, Set, Table, peak, scalar};
use core::arch::x86_64::*;

pub(super) static TABLE: Table = Table { set: Set::AvxVnni, flip: 0, conv, max_pool, average_pool, add, peak: peak::avxvnni };

/// The same kernel with the dot product of AVX512-VNNI, for tests on a CPU that has only that.
pub(super) static TWIN: Table = Table { set: Set::AvxVnni, flip: 0, conv: twin, max_pool, average_pool, add, peak: peak::avx512vnni };

struct Vex;

impl Dot for Vex {
    const PIXELS: usize = 6;

    #[inline(always)]
    unsafe fn dot(acc: __m256i, x: __m256i, w: __m256i) -> __m256i {
        // SAFETY: the caller has AVX-VNNI.
        unsafe { _mm256_dpbusd_avx_epi32(acc, x, w) }
    }
}

struct Evex;

impl Dot for Evex {
    const PIXELS: usize = Vex::PIXELS;

    #[inline(always)]
    unsafe fn dot(acc: __m256i, x: __m256i, w: __m256i) -> __m256i {
        // SAFETY: the caller has AVX512-VNNI and AVX512-VL.
        unsafe { _mm256_dpbusd_epi32(acc, x, w) }
    }
}

/// # Safety
/// The CPU has AVX-VNNI.
unsafe fn conv(block: &mut ConvBlock<'_>) {
    let job = Job::new(block);
    // SAFETY: the tile lies inside the block; the caller has AVX-VNNI.
    job.tiles(&Cut::ROWS, |_| (1, Vex::PIXELS), |t| unsafe { vex(&job, t) });
}

/// # Safety
/// The CPU has AVX512-VNNI.
unsafe fn twin(block: &mut ConvBlock<'_>) {
    let job = Job::new(block);
    // SAFETY: the tile lies inside the block; the caller has AVX512-VNNI.
    job.tiles(&Cut::ROWS, |_| (1, Evex::PIXELS), |t| unsafe { evex(&job, t) });
}

#[target_feature(enable = "avx2,avxvnni")]
unsafe fn vex(job: &Job, tile: Tile) {
    // SAFETY: AVX2 and AVX-VNNI are enabled here; the rest is the caller's.
    unsafe { x86::any_tile::<Vex>(job, tile) }
}

#[target_feature(enable = "avx2,avx512f,avx512vl,avx512vnni")]
unsafe fn evex(job: &Job, tile: Tile) {
    // SAFETY: AVX2, AVX512-VNNI and AVX512-VL are enabled here; the rest is the caller's.
    unsafe { x86::any_tile::<Evex>(job, tile) }
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
