//! 32-bit ARM with NEON (Cortex-A7, and the 64-bit cores under a 32-bit system): VMULL and VMLAL of two depths each into 16 bits, VPADAL of their pairs.
//!
//! Rust has no stable NEON for this architecture and does not name the upper registers as clobbered: what touches them is whole functions in assembly, with the
//! calling convention of the platform. The bytes are signed: U8 values are stored XOR 0x80, and `128·sum(w)` makes up for it.

#![expect(unsafe_code, reason = "functions in assembly, called inside the bounds that a block was checked for")]

mod narrow;
mod rows;

use super::raw::{self, Cut, Job, Reads, SIGNED_FLIP, Second, SignedPanel, Skip, Tile, store_part};
use super::{ConvBlock, Set, Table, peak, scalar};
use crate::pack::{LANES, params};
use crate::quant::DataType;
use core::arch::naked_asm;
use narrow::narrow;

pub(super) static TABLE: Table = Table {
    set: Set::Neon32,
    flip: SIGNED_FLIP,
    conv,
    narrow,
    max_pool: rows::max_pool,
    average_pool: rows::average_pool,
    add: rows::add,
    lookup: scalar::lookup,
    lines: scalar::lines,
    peak: peak::neon32,
};

/// The sums of a pixel.
pub type Sums = [i32; LANES];

/// # Safety
/// The CPU must have NEON.
unsafe fn conv(block: &mut ConvBlock<'_>) {
    let job = Job::new(block);
    let mut panel = SignedPanel::new(&job, 0);
    let cut = Cut { wrap: true, ..Cut::ROWS };
    job.tiles(
        &cut,
        |_| (1, 2),
        |t| {
            if t.panel != panel.index {
                panel = SignedPanel::new(&job, t.panel);
            }
            // SAFETY: the tile lies inside the block; the CPU has NEON.
            unsafe { tile(&job, &panel, t) };
        },
    );
}

/// # Safety
/// The CPU must have NEON; the tile, of one or two pixels, must lie inside the block that `job` was made from, in that panel.
unsafe fn tile(job: &Job, panel: &SignedPanel, t: Tile) {
    // SAFETY: as the caller's.
    unsafe {
        let mut sums = dot_of(&panel.first, &job.main, t);
        let sums = &mut sums[..t.pixels];
        match &job.second {
            Second::Skip(skip) if job.plain => add_skip(sums, panel, skip, t),
            // A skip with factors of any size is added where the sums are rounded.
            Second::None | Second::Skip(_) => {}
            Second::Projection(reads) => {
                let other = dot_of(&panel.second, reads, t);
                let line = |row| job.params(t.panel, row).cast();
                for (sums, other) in sums.iter_mut().zip(&other) {
                    combine(sums, other, line(params::K1), line(params::K2), line(params::BIAS));
                }
            }
        }
        finish(sums, job, t);
    }
}

/// Rounds and stores the sums of a tile.
///
/// # Safety
/// As [`tile`].
#[inline(always)]
pub unsafe fn finish(sums: &mut [Sums], job: &Job, t: Tile) {
    // SAFETY: as the caller's.
    unsafe {
        let channels = job.channels(t.panel, 1);
        for (p, sums) in sums.iter_mut().enumerate() {
            let (row, pixel) = t.place(p);
            let bytes = matches!(job.kind, DataType::U8 | DataType::S8);
            if !job.plain {
                raw::finish::<SIGNED_FLIP>(core::slice::from_mut(sums), job, row, pixel, t.panel);
            } else if bytes {
                let round = if matches!(job.kind, DataType::U8) { round_u8 } else { round_s8 };
                let out = job.out(row, pixel, t.panel);
                let mut part = [0u8; LANES];
                let whole = channels == LANES;
                round(sums, job.params(t.panel, params::MULTIPLIER).cast(), if whole { out } else { part.as_mut_ptr() });
                if !whole {
                    store_part(&part, out, channels);
                }
                continue;
            } else if matches!(job.kind, DataType::S16) {
                if channels == LANES && job.narrow.is_none() {
                    round_s16(sums, job.params(t.panel, params::MULTIPLIER).cast(), job.out(row, pixel, t.panel));
                } else {
                    ordered_s16(sums, job, t.panel, job.out(row, pixel, t.panel));
                }
                continue;
            } else {
                round_words(sums, job.params(t.panel, params::MULTIPLIER).cast());
            }
            raw::store::<SIGNED_FLIP>(core::slice::from_ref(sums), job, row, pixel, t.panel);
        }
    }
}

/// Rounds and stores the S16 of a panel that is not whole, or of narrow groups, in the order of their channels.
///
/// # Safety
/// The panel is the job's, and `out` has room for its channels.
#[inline(never)]
unsafe fn ordered_s16(sums: &Sums, job: &Job, panel: usize, out: *mut u8) {
    let mut part = [0i16; LANES];
    // SAFETY: as the caller's.
    unsafe {
        round_s16(sums, job.params(panel, params::MULTIPLIER).cast(), part.as_mut_ptr().cast());
        let ordered = job.narrow.map_or(part, |narrow| narrow.lanes().map(|lane| part[usize::from(lane) % LANES]));
        store_part(&ordered, out, job.channels(panel, 1));
    }
}

/// `first` plus the sums of products of the tile's panel, for its pixels.
///
/// # Safety
/// As [`tile`]; the tile must lie inside the block that `reads` was made from.
unsafe fn dot_of(first: &Sums, reads: &Reads, t: Tile) -> [Sums; 2] {
    let mut sums = [[0; LANES]; 2];
    let taps = reads.taps;
    let work = Work {
        row: reads.at(t.row, t.pixel),
        step: if t.pixels == 2 { reads.step(&t, 1) } else { 0 },
        weights: reads.weights(t.panel),
        rows: taps.rows,
        cols: taps.cols,
        pairs: taps.groups / 2,
        odd: taps.groups % 2,
        tap_row: reads.tap_row,
        tap_col: reads.tap_col,
        first,
        sums: &mut sums,
    };
    // SAFETY: the tile's pixels read inside the source and its panel inside the weights, exactly as many bytes as the taps say; a single pixel is read twice.
    unsafe { dot(&work) };
    sums
}

/// # Safety
/// As [`tile`].
unsafe fn add_skip(sums: &mut [Sums], panel: &SignedPanel, skip: &Skip, t: Tile) {
    for (p, sums) in sums.iter_mut().enumerate() {
        let at = skip.at(t.row, t.pixel, t.panel).wrapping_add(skip.step(&t, p));
        if matches!(skip.kind, DataType::S16) {
            // SAFETY: the lanes meet channels.
            let part = (panel.lanes != u16::MAX).then(|| unsafe { Skip::part(at, panel.lanes, 0i16) });
            // SAFETY: 16 elements, all of which meet a channel or are here; the CPU has NEON.
            unsafe { multiply_add_words(sums, &panel.k2, part.as_ref().map_or(at, |p| p.as_ptr().cast())) };
            continue;
        }
        // SAFETY: the lanes meet channels; one that meets none takes the byte that stands for 0.
        let part = (panel.lanes != u16::MAX).then(|| unsafe { Skip::part(at, panel.lanes, if matches!(skip.kind, DataType::S8) { 0 } else { SIGNED_FLIP }) });
        // SAFETY: 16 bytes, all of which meet a channel or are here; the CPU has NEON.
        unsafe { multiply_add(sums, &panel.k2, part.as_ref().map_or(at, |p| p.as_ptr())) };
    }
}

/// What [`dot`] works on. The assembly knows the places of the fields.
#[repr(C)]
struct Work<'a> {
    row: *const u8,
    /// Bytes from the first pixel to the second.
    step: usize,
    weights: *const u8,
    rows: usize,
    cols: usize,
    /// Pairs of groups in a run, and whether one is left over.
    pairs: usize,
    odd: usize,
    tap_row: usize,
    tap_col: usize,
    first: &'a Sums,
    sums: &'a mut [Sums; 2],
}

/// The sums of two pixels, eight lanes at a time: two of each lane, of its even and of its odd pairs of depths, in q8 to q11 and q12 to q15. Products of two
/// groups meet in 16 bits: two of at most 127·128 always fit.
///
/// # Safety
/// The CPU must have NEON; all that `work` names must be there.
#[unsafe(naked)]
unsafe extern "C" fn dot(work: &Work<'_>) {
    naked_asm!(
        ".fpu neon",
        "push {{r4-r11, lr}}",
        "vpush {{d8-d15}}",
        "mov lr, #0", // bytes of a line that are done: 0 or 32
        "mov r9, #112",
        "2:", // eight lanes
        "vmov.i32 q8, #0",
        "vmov.i32 q9, #0",
        "vmov.i32 q10, #0",
        "vmov.i32 q11, #0",
        "vmov.i32 q12, #0",
        "vmov.i32 q13, #0",
        "vmov.i32 q14, #0",
        "vmov.i32 q15, #0",
        "ldr r1, [r0]",
        "ldr r10, [r0, #4]",
        "ldr r4, [r0, #8]",
        "add r4, r4, lr",
        "ldr r8, [r0, #12]",
        "3:", // a row of runs
        "mov r2, r1",
        "ldr r7, [r0, #16]",
        "4:", // a run
        "mov r3, r2",
        "add r12, r2, r10",
        "add r5, r4, #64",
        "ldr r6, [r0, #20]",
        "cmp r6, #0",
        "beq 6f",
        "5:", // two groups
        "vld1.8 {{d4, d5}}, [r4]!",
        "vld1.32 {{d0[]}}, [r3]!",
        "vld1.32 {{d2[]}}, [r12]!",
        "vld1.8 {{d6, d7}}, [r5]!",
        "vld1.32 {{d1[]}}, [r3]!",
        "vmull.s8 q4, d4, d0",
        "vmull.s8 q5, d5, d0",
        "vld1.32 {{d3[]}}, [r12]!",
        "vmull.s8 q6, d4, d2",
        "vmull.s8 q7, d5, d2",
        "vld1.8 {{d4, d5}}, [r4], r9",
        "vmlal.s8 q4, d6, d1",
        "vmlal.s8 q5, d7, d1",
        "vmlal.s8 q6, d6, d3",
        "vmlal.s8 q7, d7, d3",
        "vld1.8 {{d6, d7}}, [r5], r9",
        "vpadal.s16 q8, q4",
        "vpadal.s16 q9, q5",
        "vpadal.s16 q12, q6",
        "vpadal.s16 q13, q7",
        "vmull.s8 q4, d4, d0",
        "vmull.s8 q5, d5, d0",
        "vmull.s8 q6, d4, d2",
        "vmull.s8 q7, d5, d2",
        "subs r6, r6, #1",
        "vmlal.s8 q4, d6, d1",
        "vmlal.s8 q5, d7, d1",
        "vmlal.s8 q6, d6, d3",
        "vmlal.s8 q7, d7, d3",
        "vpadal.s16 q10, q4",
        "vpadal.s16 q11, q5",
        "vpadal.s16 q14, q6",
        "vpadal.s16 q15, q7",
        "bne 5b",
        "6:",
        "ldr r6, [r0, #24]",
        "cmp r6, #0",
        "beq 7f", // no group is left over
        "vld1.8 {{d4, d5, d6, d7}}, [r4]",
        "vld1.32 {{d0[]}}, [r3]",
        "vld1.32 {{d2[]}}, [r12]",
        "add r4, r4, #64",
        "vmull.s8 q4, d4, d0",
        "vmull.s8 q5, d5, d0",
        "vmull.s8 q6, d4, d2",
        "vmull.s8 q7, d5, d2",
        "vpadal.s16 q8, q4",
        "vpadal.s16 q9, q5",
        "vpadal.s16 q12, q6",
        "vpadal.s16 q13, q7",
        "vmull.s8 q4, d6, d0",
        "vmull.s8 q5, d7, d0",
        "vmull.s8 q6, d6, d2",
        "vmull.s8 q7, d7, d2",
        "vpadal.s16 q10, q4",
        "vpadal.s16 q11, q5",
        "vpadal.s16 q14, q6",
        "vpadal.s16 q15, q7",
        "7:",
        "ldr r6, [r0, #32]",
        "add r2, r2, r6",
        "subs r7, r7, #1",
        "bne 4b",
        "ldr r6, [r0, #28]",
        "add r1, r1, r6",
        "subs r8, r8, #1",
        "bne 3b",
        "vpadd.i32 d16, d16, d17",
        "vpadd.i32 d17, d18, d19",
        "vpadd.i32 d18, d20, d21",
        "vpadd.i32 d19, d22, d23",
        "vpadd.i32 d24, d24, d25",
        "vpadd.i32 d25, d26, d27",
        "vpadd.i32 d26, d28, d29",
        "vpadd.i32 d27, d30, d31",
        "ldr r2, [r0, #36]",
        "add r2, r2, lr",
        "vld1.32 {{d0, d1, d2, d3}}, [r2]",
        "ldr r3, [r0, #40]",
        "add r3, r3, lr",
        "add r12, r3, #64",
        "vadd.i32 q8, q8, q0",
        "vadd.i32 q9, q9, q1",
        "vadd.i32 q12, q12, q0",
        "vadd.i32 q13, q13, q1",
        "vst1.32 {{d16, d17, d18, d19}}, [r3]",
        "vst1.32 {{d24, d25, d26, d27}}, [r12]",
        "adds lr, lr, #32",
        "cmp lr, #64",
        "bne 2b",
        "vpop {{d8-d15}}",
        "pop {{r4-r11, pc}}",
    )
}

/// `sums += k2·bytes`.
///
/// # Safety
/// The CPU must have NEON; 16 bytes must be readable.
#[unsafe(naked)]
unsafe extern "C" fn multiply_add(sums: &mut Sums, k2: &[i16; LANES], bytes: *const u8) {
    naked_asm!(
        ".fpu neon",
        "vld1.8 {{d0, d1}}, [r2]",
        "vld1.16 {{d4, d5, d6, d7}}, [r1]",
        "mov r3, r0",
        "vld1.32 {{d16, d17, d18, d19}}, [r3]!",
        "vld1.32 {{d20, d21, d22, d23}}, [r3]",
        "vmovl.s8 q12, d0",
        "vmovl.s8 q13, d1",
        "vmlal.s16 q8, d24, d4",
        "vmlal.s16 q9, d25, d5",
        "vmlal.s16 q10, d26, d6",
        "vmlal.s16 q11, d27, d7",
        "vst1.32 {{d16, d17, d18, d19}}, [r0]!",
        "vst1.32 {{d20, d21, d22, d23}}, [r0]",
        "bx lr",
    )
}

/// `sums += k2·words`.
///
/// # Safety
/// The CPU must have NEON; 16 words must be readable, at any address.
#[unsafe(naked)]
unsafe extern "C" fn multiply_add_words(sums: &mut Sums, k2: &[i16; LANES], words: *const u8) {
    naked_asm!(
        ".fpu neon",
        "vld1.8 {{d24, d25, d26, d27}}, [r2]",
        "vld1.16 {{d4, d5, d6, d7}}, [r1]",
        "mov r3, r0",
        "vld1.32 {{d16, d17, d18, d19}}, [r3]!",
        "vld1.32 {{d20, d21, d22, d23}}, [r3]",
        "vmlal.s16 q8, d24, d4",
        "vmlal.s16 q9, d25, d5",
        "vmlal.s16 q10, d26, d6",
        "vmlal.s16 q11, d27, d7",
        "vst1.32 {{d16, d17, d18, d19}}, [r0]!",
        "vst1.32 {{d20, d21, d22, d23}}, [r0]",
        "bx lr",
    )
}

/// `sums = bias + k1·sums + k2·other`.
///
/// # Safety
/// The CPU must have NEON.
#[unsafe(naked)]
unsafe extern "C" fn combine(sums: &mut Sums, other: &Sums, k1: *const i32, k2: *const i32, bias: *const i32) {
    naked_asm!(
        ".fpu neon",
        "ldr r12, [sp]",
        "push {{r4, lr}}",
        "mov r4, #2",
        "2:", // eight lanes
        "vld1.32 {{d0, d1, d2, d3}}, [r0]",
        "vld1.32 {{d4, d5, d6, d7}}, [r1]!",
        "vld1.32 {{d16, d17, d18, d19}}, [r2]!",
        "vld1.32 {{d20, d21, d22, d23}}, [r3]!",
        "vld1.32 {{d24, d25, d26, d27}}, [r12]!",
        "vmla.i32 q12, q0, q8",
        "vmla.i32 q13, q1, q9",
        "vmla.i32 q12, q2, q10",
        "vmla.i32 q13, q3, q11",
        "vst1.32 {{d24, d25, d26, d27}}, [r0]!",
        "subs r4, r4, #1",
        "bne 2b",
        "pop {{r4, pc}}",
    )
}

/// The rounded sums in q0 to q3.
macro_rules! rounded {
    () => {
        concat!(
            "mov r3, r0\n",
            "vld1.32 {{d0, d1, d2, d3}}, [r3]!\n",
            "vld1.32 {{d4, d5, d6, d7}}, [r3]\n",
            "vld1.32 {{d16, d17, d18, d19}}, [r1]!\n",
            "vld1.32 {{d20, d21, d22, d23}}, [r1]\n",
            "vqrdmulh.s32 q0, q0, q8\n",
            "vqrdmulh.s32 q1, q1, q9\n",
            "vqrdmulh.s32 q2, q2, q10\n",
            "vqrdmulh.s32 q3, q3, q11\n",
        )
    };
}

/// The rounded sums in q0 and q1, clamped to 16 bits.
macro_rules! narrowed {
    () => {
        concat!(rounded!(), "vqmovn.s32 d0, q0\nvqmovn.s32 d1, q1\nvqmovn.s32 d2, q2\nvqmovn.s32 d3, q3\n")
    };
}

/// Rounds and clamps to 16 bytes of U8, as they are stored.
///
/// # Safety
/// The CPU must have NEON; 16 bytes must be writable.
#[unsafe(naked)]
unsafe extern "C" fn round_u8(sums: &Sums, multipliers: *const i32, out: *mut u8) {
    naked_asm!(".fpu neon", narrowed!(), "vmov.i8 q2, #0x80", "vqmovun.s16 d0, q0", "vqmovun.s16 d1, q1", "veor q0, q0, q2", "vst1.8 {{d0, d1}}, [r2]", "bx lr",)
}

/// Rounds and clamps to 16 bytes of S8.
///
/// # Safety
/// As [`round_u8`].
#[unsafe(naked)]
unsafe extern "C" fn round_s8(sums: &Sums, multipliers: *const i32, out: *mut u8) {
    naked_asm!(".fpu neon", narrowed!(), "vqmovn.s16 d0, q0", "vqmovn.s16 d1, q1", "vst1.8 {{d0, d1}}, [r2]", "bx lr",)
}

/// Rounds and clamps to 16 words of S16.
///
/// # Safety
/// The CPU must have NEON; 32 bytes must be writable.
#[unsafe(naked)]
unsafe extern "C" fn round_s16(sums: &Sums, multipliers: *const i32, out: *mut u8) {
    naked_asm!(".fpu neon", narrowed!(), "vst1.8 {{d0, d1, d2, d3}}, [r2]", "bx lr",)
}

/// Rounds in place.
///
/// # Safety
/// The CPU must have NEON.
#[unsafe(naked)]
unsafe extern "C" fn round_words(sums: &mut Sums, multipliers: *const i32) {
    naked_asm!(".fpu neon", rounded!(), "vst1.32 {{d0, d1, d2, d3}}, [r0]!", "vst1.32 {{d4, d5, d6, d7}}, [r0]", "bx lr",)
}
