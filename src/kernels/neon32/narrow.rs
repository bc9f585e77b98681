//! Narrow groups for 32-bit ARM with NEON, as `neon32` multiplies: whole functions in assembly.

#![expect(unsafe_code, reason = "functions in assembly, called inside the bounds that a block was checked for")]

use super::{Sums, finish};
use crate::kernels::raw::{Job, Tile};
use crate::kernels::{ConvBlock, words};
use crate::pack::{LANES, Narrow, params};
use crate::quant::DataType;
use crate::shape::LINE;
use core::arch::naked_asm;
use core::mem::offset_of;

/// Computes a block of narrow groups.
///
/// # Safety
/// The CPU must have NEON.
pub unsafe fn narrow(block: &mut ConvBlock<'_>, narrow: Narrow) {
    let job = Job::new(block);
    let (reads, lines) = (&job.main, narrow.lines() * LINE);
    // A column of pixels is as good as a row.
    let ([rows, pixels], [step, out_step]) =
        if job.pixels == 1 { ([1, job.rows], [reads.out_row, job.out_row]) } else { ([job.rows, job.pixels], [reads.out_pixel, job.out_pixel]) };
    let bytes = job.plain && matches!(job.kind, DataType::U8 | DataType::S8);
    let mode = if !bytes { WORDS } else { usize::from(matches!(job.kind, DataType::S8)) * SIGNED };
    let mut sums = [[0; LANES]; 1 + SIDE];
    for index in 0..job.panels {
        let panel = Panel::new(&job, index, narrow);
        let mut work = Side {
            at: reads.bytes.wrapping_add(index * LANES),
            step,
            line: reads.weights(index),
            next: lines,
            after: 2 * lines - LINE / 2,
            taps: reads.taps.rows * reads.taps.cols,
            cols: reads.taps.cols,
            next_row: reads.tap_row.wrapping_sub(reads.taps.cols * reads.tap_col),
            tap_col: reads.tap_col,
            panel: &panel,
            sums: &mut sums,
            pixels,
            out: job.out(0, 0, index),
            out_step,
            mode,
            multipliers: job.params(index, params::MULTIPLIER),
            rows: 1,
            jump: reads.out_row.wrapping_sub(pixels * step),
            out_jump: job.out_row.wrapping_sub(pixels * out_step),
            lanes: narrow.lanes(),
        };
        // SAFETY: the pixels lie inside the block, whose taps all have their bytes and lines; the CPU has NEON.
        unsafe {
            if bytes {
                work.rows = rows;
                side(&mut work);
                continue;
            }
            for row in 0..rows {
                words_of(&mut work, &job, index, row, pixels);
                work.at = work.at.wrapping_add(reads.out_row);
            }
        }
    }
}

/// A row whose parameters are of any size, or whose results are not bytes.
///
/// # Safety
/// As [`side`]; the row is the block's.
#[cold]
unsafe fn words_of(work: &mut Side<'_>, job: &Job, panel: usize, row: usize, pixels: usize) {
    let start = work.at;
    for first in (0..pixels).step_by(SIDE) {
        (work.rows, work.at, work.pixels) = (1, start.wrapping_add(first * work.step), SIDE.min(pixels - first));
        // SAFETY: as the caller's.
        unsafe {
            side(work);
            for p in 0..work.pixels {
                let (row, pixel) = if job.pixels == 1 { (first + p, 0) } else { (row, first + p) };
                finish(&mut work.sums[1..][p..=p], job, Tile { row, ..Tile::of(pixel, 1, panel) });
            }
        }
    }
    work.at = start;
}

/// Pixels whose sums are kept, where they are not stored at once.
const SIDE: usize = 8;

/// Results are S8.
const SIGNED: usize = 1;
/// Sums are wanted.
const WORDS: usize = 2;

/// What all pixels of a panel share. The assembly knows the places of the fields.
#[repr(C)]
struct Panel {
    /// What the sums start from: line by line, two of each word.
    first: [i32; 4 * LANES],
}

impl Panel {
    fn new(job: &Job, index: usize, narrow: Narrow) -> Self {
        // SAFETY: a row of parameters is 64 bytes, and the block has the panel.
        let [bias, sums] = [params::BIAS, params::SUM].map(|row| words(unsafe { &*job.params(index, row).cast() }));
        // A byte of a U8 value lacks 128.
        let missing = if job.main.signed { 0 } else { 128i32 };
        let mut first = [0; 4 * LANES];
        for (lane, (bias, sum)) in bias.into_iter().zip(sums).enumerate() {
            let at = match narrow {
                Narrow::Four => lane * 2,
                Narrow::Eight => lane % 4 / 2 * 2 * LANES + lane / 4 * 8 + lane % 2 * 4,
            };
            first[at] = bias.wrapping_add(sum.wrapping_mul(missing));
        }
        Self { first }
    }
}

/// What [`side`] works on. The assembly knows the places of the fields.
#[repr(C)]
struct Side<'a> {
    at: *const u8,
    /// Bytes from one pixel to the next.
    step: usize,
    /// The first line, and bytes from one tap's to the next's.
    line: *const u8,
    next: usize,
    /// Bytes from the second half of a line to the first of that of the tap after the next.
    after: usize,
    taps: usize,
    cols: usize,
    /// Bytes from behind the last run of a row to the first of the next.
    next_row: usize,
    tap_col: usize,
    panel: &'a Panel,
    /// Those of one line while the other is summed up; then those that are wanted.
    sums: &'a mut [Sums; 1 + SIDE],
    pixels: usize,
    out: *mut u8,
    out_step: usize,
    /// What becomes of the sums: [`SIGNED`], [`WORDS`] or 0.
    mode: usize,
    multipliers: *const u8,
    rows: usize,
    /// Bytes from behind the last pixel of a row to the first of the next, in what is read and what is written.
    jump: usize,
    out_jump: usize,
    lanes: &'static [u8; LANES],
}

// The places that the assembly knows.
const _: () = {
    assert!(offset_of!(Side<'_>, at) == 0 && offset_of!(Side<'_>, step) == 4 && offset_of!(Side<'_>, line) == 8 && offset_of!(Side<'_>, next) == 12);
    assert!(offset_of!(Side<'_>, after) == 16 && offset_of!(Side<'_>, taps) == 20 && offset_of!(Side<'_>, cols) == 24);
    assert!(offset_of!(Side<'_>, next_row) == 28 && offset_of!(Side<'_>, tap_col) == 32 && offset_of!(Side<'_>, panel) == 36);
    assert!(offset_of!(Side<'_>, sums) == 40 && offset_of!(Side<'_>, pixels) == 44 && offset_of!(Side<'_>, out) == 48 && offset_of!(Side<'_>, out_step) == 52);
    assert!(offset_of!(Side<'_>, mode) == 56 && offset_of!(Side<'_>, multipliers) == 60 && offset_of!(Side<'_>, rows) == 64);
    assert!(offset_of!(Side<'_>, jump) == 68 && offset_of!(Side<'_>, out_jump) == 72 && offset_of!(Side<'_>, lanes) == 76);
    assert!(offset_of!(Panel, first) == 0);
};

/// A tap's bytes, and on to the next run: its row goes on, or the row below begins.
macro_rules! tap {
    ($x:literal) => {
        concat!("vld1.8 {{", $x, "}}, [r2], r10\nsubs r7, r7, #1\nbne 3f\nadd r2, r2, r11\nmov r7, r8\n3:\n")
    };
}

/// Products of half a line, which is at `$at`, with the first tap's bytes in q0; `second` adds those with the second tap's in q1.
macro_rules! half_line {
    (first $at:literal) => {
        concat!("vld1.8 {{d4, d5, d6, d7}}, ", $at, "\nvmull.s8 q4, d4, d0\nvmull.s8 q5, d5, d1\nvmull.s8 q6, d6, d0\nvmull.s8 q7, d7, d1\n")
    };
    (second $at:literal) => {
        concat!("vld1.8 {{d4, d5, d6, d7}}, ", $at, "\nvmlal.s8 q4, d4, d2\nvmlal.s8 q5, d5, d3\nvmlal.s8 q6, d6, d2\nvmlal.s8 q7, d7, d3\n")
    };
    (add $a:literal $b:literal $c:literal $d:literal) => {
        concat!("vpadal.s16 q", $a, ", q4\nvpadal.s16 q", $b, ", q5\nvpadal.s16 q", $c, ", q6\nvpadal.s16 q", $d, ", q7\n")
    };
}

/// The sums of all taps, pixel by pixel, rounded and stored unless they are wanted. Each word has two sums in q8 to q15. Products of two taps meet in 16 bits.
///
/// # Safety
/// The CPU must have NEON; all that `work` names must be there.
#[unsafe(naked)]
unsafe extern "C" fn side(work: &mut Side<'_>) {
    naked_asm!(
        ".fpu neon",
        "push {{r4-r11, lr}}",
        "vpush {{d8-d15}}",
        "ldr r3, [r0]",
        "ldr r9, [r0, #16]",
        "ldr r8, [r0, #24]",
        "ldr r11, [r0, #28]",
        "ldr r10, [r0, #32]",
        "ldr r1, [r0, #48]",
        "11:", // a row
        "ldr lr, [r0, #44]",
        "2:", // a pixel
        "ldr r12, [r0, #36]",
        "ldr r4, [r0, #8]",
        "4:", // a line of each tap
        "ldr r5, [r0, #12]",
        "ldr r6, [r0, #20]",
        "vldmia r12!, {{d16-d31}}",
        "add r5, r4, r5",
        "mov r2, r3",
        "mov r7, r8",
        "subs r6, r6, #2",
        "bcc 6f",
        "5:", // two taps
        tap!("d0, d1"),
        tap!("d2, d3"),
        half_line!(first "[r4]!"),
        half_line!(second "[r5]!"),
        half_line!(add 8 9 10 11),
        half_line!(first "[r4], r9"),
        half_line!(second "[r5], r9"),
        half_line!(add 12 13 14 15),
        "subs r6, r6, #2",
        "bcs 5b",
        "6:",
        "tst r6, #1",
        "beq 7f", // no tap is left over
        "vld1.8 {{d0, d1}}, [r2]",
        half_line!(first "[r4]!"),
        half_line!(add 8 9 10 11),
        half_line!(first "[r4]"),
        half_line!(add 12 13 14 15),
        "7:",
        "vpadd.i32 d16, d16, d17",
        "vpadd.i32 d17, d18, d19",
        "vpadd.i32 d18, d20, d21",
        "vpadd.i32 d19, d22, d23",
        "tst r9, #128",
        "vpadd.i32 d20, d24, d25",
        "vpadd.i32 d21, d26, d27",
        "vpadd.i32 d22, d28, d29",
        "vpadd.i32 d23, d30, d31",
        "bne 9f",
        "8:",
        "ldr r12, [r0, #56]",
        "ldr r5, [r0, #60]",
        "cmp r12, #1",
        "bhi 14f",
        // The multipliers lie in the file, at any address.
        "vld1.8 {{d0-d3}}, [r5]!",
        "vld1.8 {{d4-d7}}, [r5]",
        "ldr r5, [r0, #76]",
        "vqrdmulh.s32 q0, q8, q0",
        "vqrdmulh.s32 q1, q9, q1",
        "vqrdmulh.s32 q2, q10, q2",
        "vqrdmulh.s32 q3, q11, q3",
        "vld1.8 {{d16, d17}}, [r5]",
        "vqmovn.s32 d0, q0",
        "vqmovn.s32 d1, q1",
        "vqmovn.s32 d2, q2",
        "vqmovn.s32 d3, q3",
        "beq 12f", // S8
        "vmov.i8 q9, #0x80",
        "vqmovun.s16 d0, q0",
        "vqmovun.s16 d1, q1",
        "veor q0, q0, q9",
        "13:",
        "ldr r12, [r0, #52]",
        "vtbl.8 d2, {{d0, d1}}, d16",
        "vtbl.8 d3, {{d0, d1}}, d17",
        "vst1.8 {{d2, d3}}, [r1], r12",
        "15:",
        "ldr r5, [r0, #4]",
        "subs lr, lr, #1",
        "add r3, r3, r5",
        "bne 2b",
        "ldr r5, [r0, #64]",
        "ldr r4, [r0, #68]",
        "ldr r12, [r0, #72]",
        "subs r5, r5, #1",
        "add r3, r3, r4",
        "add r1, r1, r12",
        "str r5, [r0, #64]",
        "bne 11b",
        "vpop {{d8-d15}}",
        "pop {{r4-r11, pc}}",
        "9:", // one of two lines
        "ldr r5, [r0, #36]",
        "ldr r6, [r0, #40]",
        "sub r5, r12, r5",
        "ldr r4, [r0, #8]",
        "cmp r5, #128",
        "bne 9f",
        "add r4, r4, #64",
        "vstmia r6, {{d16-d23}}",
        "b 4b",
        "9:", // neighbours are a lane
        "vldmia r6, {{d0-d7}}",
        "vpadd.i32 d23, d22, d23",
        "vpadd.i32 d22, d6, d7",
        "vpadd.i32 d21, d20, d21",
        "vpadd.i32 d20, d4, d5",
        "vpadd.i32 d19, d18, d19",
        "vpadd.i32 d18, d2, d3",
        "vpadd.i32 d17, d16, d17",
        "vpadd.i32 d16, d0, d1",
        "b 8b",
        "12:",
        "vqmovn.s16 d0, q0",
        "vqmovn.s16 d1, q1",
        "b 13b",
        "14:", // the sums
        "ldr r6, [r0, #40]",
        "ldr r12, [r0, #44]",
        "sub r12, r12, lr",
        "add r6, r6, r12, lsl #6",
        "add r6, r6, #64",
        "vstmia r6, {{d16-d23}}",
        "b 15b",
    )
}
