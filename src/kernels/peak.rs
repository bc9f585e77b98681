//! Loops that touch registers only: how many multiply-accumulates of a set this core does, and how fast its clock runs.

#![cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "the loops are written in assembly so that nothing is folded away"))]

use core::hint::black_box;

/// Runs `iterations` rounds of dependent additions and exclusive ors of registers, one cycle each on every core, and returns the cycles that they take.
#[must_use]
pub fn cycles(iterations: u64) -> u64 {
    let (mut x, a, b) = (black_box(1usize), black_box(0x1234_5677usize), black_box(0x7654_321fusize));
    for _ in 0..iterations {
        for _ in 0..16 {
            x = x.wrapping_add(a) ^ b;
        }
    }
    black_box(x);
    iterations * 32
}

/// The products of the portable kernel: 16 lanes by 4 depths.
pub fn scalar(iterations: u64) -> u64 {
    let (mut acc, w) = (black_box([1i32; 16]), black_box([[3i8; 4]; 16]));
    let w = w.map(|w| w.map(i32::from));
    for _ in 0..iterations {
        let x = black_box([7u8; 4]).map(i32::from);
        for (a, w) in acc.iter_mut().zip(&w) {
            *a = a.wrapping_add(x[0] * w[0] + x[1] * w[1] + x[2] * w[2] + x[3] * w[3]);
        }
    }
    black_box(acc);
    iterations * 64
}

/// A loop of `$count` rounds over 8 or 12 chains; `\\r` in the line stands for the number of the chain's register, 12 to 15 are operands.
#[cfg(target_arch = "x86_64")]
macro_rules! chains {
    ($count:ident, $numbers:literal, $line:literal) => {
        // SAFETY: only vector registers and the counter change, all of them listed, and the caller has the instructions.
        unsafe {
            core::arch::asm!(
                "2:",
                concat!(".irp r,", $numbers),
                $line,
                ".endr",
                "dec {n}",
                "jnz 2b",
                "vzeroupper",
                n = inout(reg) $count => _,
                out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
                out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _, out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                options(nomem, nostack),
            );
        }
    };
}

/// 12 chains of 64 products.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
pub fn avx512vnni(iterations: u64) -> u64 {
    let count = iterations.max(1);
    chains!(count, "0,1,2,3,4,5,6,7,8,9,10,11", "vpdpbusd zmm\\r, zmm14, zmm15");
    count * 12 * 64
}

/// 12 chains of 32 products.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,avxvnni")]
pub fn avxvnni(iterations: u64) -> u64 {
    let count = iterations.max(1);
    chains!(count, "0,1,2,3,4,5,6,7,8,9,10,11", "{{vex}} vpdpbusd ymm\\r, ymm14, ymm15");
    count * 12 * 32
}

/// 8 chains of 32 products, three instructions each.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
pub fn avx2(iterations: u64) -> u64 {
    let count = iterations.max(1);
    chains!(count, "0,1,2,3,4,5,6,7", "vpmaddubsw ymm12, ymm14, ymm15\nvpmaddwd ymm12, ymm12, ymm13\nvpaddd ymm\\r, ymm\\r, ymm12");
    count * 8 * 32
}
