//! Narrow groups for 32-bit ARM with NEON, as `neon32` multiplies: whole functions in assembly.

#![expect(unsafe_code, reason = "functions in assembly, called inside the bounds that a block was checked for")]

use super::{Sums, finish};
use crate::kernels::ConvBlock;
use crate::kernels::raw::{Cut, Job, SignedPanel, Tile};
use crate::pack::{LANES, Narrow};
use crate::shape::LINE;
use core::arch::naked_asm;

/// # Safety
/// The CPU must have NEON.
pub unsafe fn narrow(block: &mut ConvBlock<'_>, narrow: Narrow) {
    let job = Job::new(block);
    let mut panel = SignedPanel::new(&job, 0);
    let tile = |t: Tile| {
        if t.panel != panel.index {
            panel = SignedPanel::new(&job, t.panel);
        }
        let (reads, lines) = (&job.main, narrow.lines());
        let mut halves = [[[0; LANES]; SIDE]; 2];
        for (line, sums) in halves[..lines].iter_mut().enumerate() {
            let work = Side {
                at: reads.at(t.row, t.pixel).wrapping_add(t.panel * LANES),
                step: reads.out_pixel,
                line: reads.weights(t.panel).wrapping_add(line * LINE),
                lines: lines * LINE,
                taps: reads.taps.rows * reads.taps.cols,
                cols: reads.taps.cols,
                tap_row: reads.tap_row,
                tap_col: reads.tap_col,
                first: if lines == 1 { &panel.first } else { &[0; LANES] },
                sums,
                pixels: t.pixels,
            };
            // SAFETY: the tile lies inside the block, whose taps all have their bytes and lines; the CPU has NEON.
            unsafe { side(&work) };
        }
        let [sums, others] = &mut halves;
        // SAFETY: as above.
        unsafe {
            if lines == 2 {
                sums.iter_mut().zip(others).take(t.pixels).for_each(|(sums, other)| pair_up(sums, other, &panel.first));
            }
            finish(&mut sums[..t.pixels], Some(narrow), &job, t);
        }
    };
    job.tiles(&Cut::ROWS, |_| (1, SIDE), tile);
}

/// Pixels of a tile of narrow groups.
const SIDE: usize = 8;

/// What [`side`] works on. The assembly knows the places of the fields.
#[repr(C)]
struct Side<'a> {
    at: *const u8,
    /// Bytes from one pixel to the next.
    step: usize,
    /// The first line, and bytes from one to the next.
    line: *const u8,
    lines: usize,
    taps: usize,
    cols: usize,
    tap_row: usize,
    tap_col: usize,
    first: &'a Sums,
    sums: &'a mut [Sums; SIDE],
    pixels: usize,
}

/// The next run: its row goes on, or the row below begins. `$label` is a number of its own.
macro_rules! advance {
    ($label:literal) => {
        concat!("add r2, r2, r10\nsubs r7, r7, #1\nbne ", $label, "f\nadd r1, r1, r11\nmov r2, r1\nmov r7, r8\n", $label, ":\n")
    };
}

/// Products of half a line with the first tap's bytes in q0; `second` adds those with the second tap's in q1.
macro_rules! half_line {
    (first) => {
        "vld1.8 {{d4, d5, d6, d7}}, [r4]!\nvmull.s8 q4, d4, d0\nvmull.s8 q5, d5, d1\nvmull.s8 q6, d6, d0\nvmull.s8 q7, d7, d1\n"
    };
    (second) => {
        "vld1.8 {{d4, d5, d6, d7}}, [r5]!\nvmlal.s8 q4, d4, d2\nvmlal.s8 q5, d5, d3\nvmlal.s8 q6, d6, d2\nvmlal.s8 q7, d7, d3\n"
    };
    (add $a:literal $b:literal $c:literal $d:literal) => {
        concat!("vpadal.s16 q", $a, ", q4\nvpadal.s16 q", $b, ", q5\nvpadal.s16 q", $c, ", q6\nvpadal.s16 q", $d, ", q7\n")
    };
}

/// `first` plus the sums of words of the lines of all taps, pixel by pixel. Each word has two sums in q8 to q15. Products of two taps meet in 16 bits.
///
/// # Safety
/// The CPU must have NEON; all that `work` names must be there.
#[unsafe(naked)]
unsafe extern "C" fn side(work: &Side<'_>) {
    naked_asm!(
        ".fpu neon",
        "push {{r4-r11, lr}}",
        "vpush {{d8-d15}}",
        "ldr r3, [r0]",
        "ldr r9, [r0, #12]",
        "ldr r8, [r0, #20]",
        "ldr r11, [r0, #24]",
        "ldr r10, [r0, #28]",
        "ldr r12, [r0, #36]",
        "ldr lr, [r0, #40]",
        "2:", // a pixel
        "vmov.i32 q8, #0",
        "vmov.i32 q9, #0",
        "vmov.i32 q10, #0",
        "vmov.i32 q11, #0",
        "vmov.i32 q12, #0",
        "vmov.i32 q13, #0",
        "vmov.i32 q14, #0",
        "vmov.i32 q15, #0",
        "mov r1, r3",
        "mov r2, r3",
        "ldr r4, [r0, #8]",
        "ldr r6, [r0, #16]",
        "mov r7, r8",
        "subs r6, r6, #2",
        "bcc 6f",
        "5:", // two taps
        "vld1.8 {{d0, d1}}, [r2]",
        advance!(3),
        "vld1.8 {{d2, d3}}, [r2]",
        advance!(4),
        "add r5, r4, r9",
        half_line!(first),
        half_line!(second),
        half_line!(add 8 9 10 11),
        half_line!(first),
        half_line!(second),
        half_line!(add 12 13 14 15),
        "add r4, r5, r9",
        "sub r4, r4, #64",
        "subs r6, r6, #2",
        "bcs 5b",
        "6:",
        "tst r6, #1",
        "beq 7f", // no tap is left over
        "vld1.8 {{d0, d1}}, [r2]",
        half_line!(first),
        half_line!(add 8 9 10 11),
        half_line!(first),
        half_line!(add 12 13 14 15),
        "7:",
        "ldr r1, [r0, #32]",
        "vpadd.i32 d16, d16, d17",
        "vpadd.i32 d17, d18, d19",
        "vpadd.i32 d18, d20, d21",
        "vpadd.i32 d19, d22, d23",
        "vld1.32 {{d0, d1, d2, d3}}, [r1]!",
        "vpadd.i32 d20, d24, d25",
        "vpadd.i32 d21, d26, d27",
        "vpadd.i32 d22, d28, d29",
        "vpadd.i32 d23, d30, d31",
        "vld1.32 {{d4, d5, d6, d7}}, [r1]",
        "vadd.i32 q8, q8, q0",
        "vadd.i32 q9, q9, q1",
        "vadd.i32 q10, q10, q2",
        "vadd.i32 q11, q11, q3",
        "vst1.32 {{d16, d17, d18, d19}}, [r12]!",
        "vst1.32 {{d20, d21, d22, d23}}, [r12]!",
        "ldr r1, [r0, #4]",
        "add r3, r3, r1",
        "subs lr, lr, #1",
        "bne 2b",
        "vpop {{d8-d15}}",
        "pop {{r4-r11, pc}}",
    )
}

/// The sums of words of two lines to lanes: `sums` and `other` in pairs, plus `first`.
///
/// # Safety
/// The CPU must have NEON.
#[unsafe(naked)]
unsafe extern "C" fn pair_up(sums: &mut Sums, other: &Sums, first: &Sums) {
    naked_asm!(
        ".fpu neon",
        "mov r3, #4",
        "2:",
        "vld1.32 {{d0, d1}}, [r0]",
        "vld1.32 {{d2, d3}}, [r1]!",
        "vld1.32 {{d4, d5}}, [r2]!",
        "vpadd.i32 d0, d0, d1",
        "vpadd.i32 d1, d2, d3",
        "subs r3, r3, #1",
        "vadd.i32 q0, q0, q2",
        "vst1.32 {{d0, d1}}, [r0]!",
        "bne 2b",
        "bx lr",
    )
}
