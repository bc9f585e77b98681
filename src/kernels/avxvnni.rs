//! x86 with AVX-VNNI: 256-bit dot products of bytes, without AVX-512.

#![expect(unsafe_code, reason = "the 256-bit kernel is called with the instructions that it needs")]

use super::raw::{Cut, Job, Tile, addition};
use super::x86::{self, Dot};
use super::{AddRow, Average, ConvBlock, PoolRow, Set, Table, peak, scalar};
use crate::pack::Narrow;
use core::arch::x86_64::*;

pub(super) static TABLE: Table =
    Table { set: Set::AvxVnni, flip: 0, conv, narrow, max_pool, average_pool, add, lookup: scalar::lookup, lines: x86::lines, peak: peak::avxvnni };

/// The same kernel with the dot product of AVX512-VNNI, for tests on a CPU that has only that.
pub(super) static TWIN: Table = Table {
    set: Set::AvxVnni,
    flip: 0,
    conv: twin,
    narrow: narrow_twin,
    max_pool,
    average_pool,
    add,
    lookup: scalar::lookup,
    lines: x86::lines,
    peak: peak::avx512vnni,
};

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

/// # Safety
/// The CPU has AVX-VNNI.
unsafe fn narrow(block: &mut ConvBlock<'_>, narrow: Narrow) {
    // SAFETY: the tile lies inside the block; the caller has AVX-VNNI.
    x86::narrow(block, Vex::PIXELS / narrow.lines(), |job, t| unsafe {
        match narrow {
            Narrow::Four => narrow_vex::<1>(job, t),
            Narrow::Eight => narrow_vex::<2>(job, t),
        }
    });
}

/// # Safety
/// The CPU has AVX512-VNNI.
unsafe fn narrow_twin(block: &mut ConvBlock<'_>, narrow: Narrow) {
    // SAFETY: the tile lies inside the block; the caller has AVX512-VNNI.
    x86::narrow(block, Evex::PIXELS / narrow.lines(), |job, t| unsafe {
        match narrow {
            Narrow::Four => narrow_evex::<1>(job, t),
            Narrow::Eight => narrow_evex::<2>(job, t),
        }
    });
}

#[target_feature(enable = "avx2,avxvnni")]
unsafe fn narrow_vex<const LINES: usize>(job: &Job, t: Tile) {
    // SAFETY: AVX2 and AVX-VNNI are enabled here; the rest is the caller's.
    unsafe { x86::any_narrow::<Vex, LINES>(job, t) }
}

#[target_feature(enable = "avx2,avx512f,avx512vl,avx512vnni")]
unsafe fn narrow_evex<const LINES: usize>(job: &Job, t: Tile) {
    // SAFETY: AVX2, AVX512-VNNI and AVX512-VL are enabled here; the rest is the caller's.
    unsafe { x86::any_narrow::<Evex, LINES>(job, t) }
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
