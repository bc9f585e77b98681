//! Pools and additions.

#![expect(unsafe_code, reason = "functions in assembly, called inside the bounds that a row was checked for")]

use crate::kernels::raw::addition::{self, Addition};
use crate::kernels::raw::{SIGNED_FLIP, store_part, windows};
use crate::kernels::{AddRow, Average, PoolRow, scalar, words};
use crate::pack::{LANES, params};
use crate::quant::DataType;
use core::arch::naked_asm;

/// # Safety
/// The CPU must have NEON.
pub unsafe fn max_pool(row: &mut PoolRow<'_>) {
    windows::max_pool::<SIGNED_FLIP>(row, |w, out| {
        // SAFETY: the window's bytes are there, and 16 to write; the CPU has NEON.
        unsafe { max_of(w.source, w.rows.0, w.rows.1, w.cols.0, w.cols.1, out.as_mut_ptr().cast()) };
        1
    });
}

/// The maximum of 16 signed bytes over a window of `height` rows and `width` columns, both at least 1.
///
/// # Safety
/// The CPU must have NEON; 16 bytes of each pixel must be readable, and 16 bytes writable.
#[unsafe(naked)]
unsafe extern "C" fn max_of(source: *const u8, row: usize, height: usize, step: usize, width: usize, out: *mut u8) {
    naked_asm!(
        ".fpu neon",
        "push {{r4, lr}}",
        "vmov.i8 q0, #0x80",
        "2:",
        "mov r12, r0",
        "ldr r4, [sp, #8]",
        "3:",
        "vld1.8 {{d2, d3}}, [r12], r3",
        "subs r4, r4, #1",
        "vmax.s8 q0, q0, q1",
        "bne 3b",
        "add r0, r0, r1",
        "subs r2, r2, #1",
        "bne 2b",
        "ldr r4, [sp, #12]",
        "vst1.8 {{d0, d1}}, [r4]",
        "pop {{r4, pc}}",
    )
}

/// # Safety
/// The CPU must have NEON.
pub unsafe fn average_pool(row: &mut PoolRow<'_>, average: Average<'_>) {
    windows::average_pool::<SIGNED_FLIP>(row, average, |w| {
        let mut sums = [0; LANES];
        // SAFETY: the window's bytes are there; the CPU has NEON.
        unsafe { sums_of(w.source, w.rows.0, w.rows.1, w.cols.0, w.cols.1, &mut sums) };
        sums
    });
}

/// The sums of 16 signed bytes over a window of `height` rows and `width` columns, both at least 1.
///
/// # Safety
/// The CPU must have NEON; 16 bytes of each pixel must be readable.
#[unsafe(naked)]
unsafe extern "C" fn sums_of(source: *const u8, row: usize, height: usize, step: usize, width: usize, sums: &mut [i32; LANES]) {
    naked_asm!(
        ".fpu neon",
        "push {{r4, lr}}",
        "vmov.i32 q8, #0",
        "vmov.i32 q9, #0",
        "vmov.i32 q10, #0",
        "vmov.i32 q11, #0",
        "2:",
        "mov r12, r0",
        "ldr r4, [sp, #8]",
        "3:",
        "vld1.8 {{d0, d1}}, [r12], r3",
        "subs r4, r4, #1",
        "vmovl.s8 q1, d0",
        "vmovl.s8 q2, d1",
        "vaddw.s16 q8, q8, d2",
        "vaddw.s16 q9, q9, d3",
        "vaddw.s16 q10, q10, d4",
        "vaddw.s16 q11, q11, d5",
        "bne 3b",
        "add r0, r0, r1",
        "subs r2, r2, #1",
        "bne 2b",
        "ldr r4, [sp, #12]",
        "vst1.32 {{d16, d17, d18, d19}}, [r4]!",
        "vst1.32 {{d20, d21, d22, d23}}, [r4]",
        "pop {{r4, pc}}",
    )
}

/// # Safety
/// The CPU must have NEON.
pub unsafe fn add(row: &mut AddRow<'_>) {
    let sum = match row.kind {
        DataType::U8 => sum_u8,
        DataType::S8 => sum_s8,
        DataType::S16 => sum_s16,
        DataType::I32 => return scalar::add(row, SIGNED_FLIP),
    };
    addition::add(row, SIGNED_FLIP, |addition, panel, pixels| {
        let (job, channels, ready) = (&addition.job, addition.job.channels(panel, 1), Panel::new(addition, panel));
        let work = |pixel, pixels, out| Work {
            x: addition.x.at(pixel, panel),
            x_pixel: addition.x.pixel,
            y: addition.y.at(pixel, panel),
            y_pixel: addition.y.pixel,
            out,
            out_pixel: job.out_pixel,
            pixels,
            panel: &ready,
            multipliers: job.params(panel, params::MULTIPLIER).cast(),
            form: usize::from(addition.x.wide()) | if ready.two { 2 << usize::from(addition.y.wide()) } else { 0 },
        };
        if channels == LANES {
            // SAFETY: the pixels and the panel are the addition's; the CPU has NEON.
            return unsafe { sum(&work(pixels.start, pixels.len(), job.out(0, pixels.start, panel))) };
        }
        for pixel in pixels {
            let mut part = [0i16; LANES];
            // SAFETY: as above, for 16 elements of any type of result; the channels of the pixel lie inside the output.
            unsafe {
                sum(&work(pixel, 1, part.as_mut_ptr().cast()));
                let out = job.out(0, pixel, panel);
                if job.wide { store_part(&part, out, channels) } else { store_part(&*part.as_ptr().cast::<[u8; LANES]>(), out, channels) }
            }
        }
    });
}

/// What all pixels of a panel share: a sum is `bias + k1·x + k2·y` of signed bytes or words. The assembly knows the places of the first three fields.
#[repr(C)]
struct Panel {
    bias: [i32; LANES],
    k1: [i16; LANES],
    k2: [i16; LANES],
    /// False if the second operand has no weight.
    two: bool,
}

impl Panel {
    #[expect(clippy::cast_possible_truncation, reason = "factors that fit, as the addition says")]
    fn new(addition: &Addition, panel: usize) -> Self {
        // SAFETY: a row of parameters is 64 bytes, and the addition has the panel.
        let line = |row| words(unsafe { &*addition.job.params(panel, row).cast() }).map(|w| w << addition.p);
        let (mut bias, factors) = (line(params::BIAS), [line(params::K1), line(params::K2)]);
        // A byte of a U8 value lacks 128.
        for (k, _) in factors.iter().zip(addition.are(DataType::U8)).filter(|(_, unsigned)| *unsigned) {
            bias.iter_mut().zip(k).for_each(|(b, k)| *b = b.wrapping_add(k << 7));
        }
        let [k1, k2] = factors.map(|k| k.map(|w| w as i16));
        Self { bias, k1, k2, two: k2 != [0; LANES] }
    }
}

/// What [`sum_u8`], [`sum_s8`] and [`sum_s16`] work on. The assembly knows the places of the fields.
#[repr(C)]
struct Work<'a> {
    x: *const u8,
    /// Bytes from one pixel to the next.
    x_pixel: usize,
    y: *const u8,
    y_pixel: usize,
    out: *mut u8,
    out_pixel: usize,
    /// At least one.
    pixels: usize,
    panel: &'a Panel,
    multipliers: *const i32,
    /// 1 if `x` has words; 2 if `y` has bytes, 4 if it has words, neither if it has no weight.
    form: usize,
}

/// The sums of a panel over pixels, rounded, clamped to 16 bits in q12 and q13 and stored by `$store`, which may use `$flip` in q8.
macro_rules! sums {
    ($flip:literal, $($store:literal)*) => {
        concat!(
            ".fpu neon\n",
            "push {{r4-r11, lr}}\n",
            "vpush {{d8-d15}}\n",
            "ldm r0, {{r1-r10}}\n",
            "add r11, r8, #32\n",
            "add r12, r8, #64\n",
            "vld1.16 {{d0, d1, d2, d3}}, [r12]!\n",
            "vld1.16 {{d4, d5, d6, d7}}, [r12]\n",
            "vld1.32 {{d8, d9, d10, d11}}, [r9]!\n",
            "vld1.32 {{d12, d13, d14, d15}}, [r9]\n",
            "vmov.i8 q8, #",
            $flip,
            "\n",
            "2:\n",
            "tst r10, #1\n",
            "vld1.32 {{d24, d25, d26, d27}}, [r8]\n",
            "bne 4f\n",
            "vld1.8 {{d18, d19}}, [r1], r2\n",
            "vmovl.s8 q10, d18\n",
            "vmovl.s8 q11, d19\n",
            "5:\n",
            "vld1.32 {{d28, d29, d30, d31}}, [r11]\n",
            "vmlal.s16 q12, d20, d0\n",
            "vmlal.s16 q13, d21, d1\n",
            "tst r10, #6\n",
            "vmlal.s16 q14, d22, d2\n",
            "vmlal.s16 q15, d23, d3\n",
            "beq 3f\n",
            "tst r10, #4\n",
            "bne 6f\n",
            "vld1.8 {{d18, d19}}, [r3], r4\n",
            "vmovl.s8 q10, d18\n",
            "vmovl.s8 q11, d19\n",
            "7:\n",
            "vmlal.s16 q12, d20, d4\n",
            "vmlal.s16 q13, d21, d5\n",
            "vmlal.s16 q14, d22, d6\n",
            "vmlal.s16 q15, d23, d7\n",
            "3:\n",
            "subs r7, r7, #1\n",
            "vqrdmulh.s32 q12, q12, q4\n",
            "vqrdmulh.s32 q13, q13, q5\n",
            "vqrdmulh.s32 q14, q14, q6\n",
            "vqrdmulh.s32 q15, q15, q7\n",
            "vqmovn.s32 d24, q12\n",
            "vqmovn.s32 d25, q13\n",
            "vqmovn.s32 d26, q14\n",
            "vqmovn.s32 d27, q15\n",
            $($store, "\n",)*
            "bne 2b\n",
            "vpop {{d8-d15}}\n",
            "pop {{r4-r11, pc}}\n",
            "4:\n",
            "vld1.8 {{d20, d21, d22, d23}}, [r1], r2\n",
            "b 5b\n",
            "6:\n",
            "vld1.8 {{d20, d21, d22, d23}}, [r3], r4\n",
            "b 7b",
        )
    };
}

/// Adds and clamps to U8, as it is stored.
///
/// # Safety
/// The CPU must have NEON; 16 elements of each pixel must be readable and writable, those of `y` if it has weight.
#[unsafe(naked)]
unsafe extern "C" fn sum_u8(work: &Work<'_>) {
    naked_asm!(sums!("0x80", "vqmovun.s16 d24, q12" "vqmovun.s16 d25, q13" "veor q12, q12, q8" "vst1.8 {{d24, d25}}, [r5], r6"))
}

/// Adds and clamps to S8.
///
/// # Safety
/// As [`sum_u8`].
#[unsafe(naked)]
unsafe extern "C" fn sum_s8(work: &Work<'_>) {
    naked_asm!(sums!("0", "vqmovn.s16 d24, q12" "vqmovn.s16 d25, q13" "vst1.8 {{d24, d25}}, [r5], r6"))
}

/// Adds and clamps to S16.
///
/// # Safety
/// As [`sum_u8`].
#[unsafe(naked)]
unsafe extern "C" fn sum_s16(work: &Work<'_>) {
    naked_asm!(sums!("0", "vst1.8 {{d24, d25, d26, d27}}, [r5], r6"))
}
