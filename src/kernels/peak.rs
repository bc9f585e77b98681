//! Loops that touch registers only: how many multiply-accumulates of a set this core does, and how fast its clock runs.

#![cfg_attr(any(target_arch = "x86_64", arm64, neon32), expect(unsafe_code, reason = "the loops are written in assembly so that nothing is folded away"))]

use core::hint::black_box;

/// Runs `iterations` rounds of dependent additions and exclusive ors of registers, one cycle each on every core, and returns the cycles that they take.
#[must_use]
pub fn cycles(iterations: u64) -> u64 {
    let (mut x, a, b) = (black_box(1usize), black_box(0x1234_5677usize), black_box(0x7654_321fusize));
    for _ in 0..iterations {
        // So many that the counter of the round does not count, where it takes several instructions.
        for _ in 0..128 {
            x = x.wrapping_add(a) ^ b;
        }
    }
    black_box(x);
    iterations * 256
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

/// A loop of `$count` rounds of `$lines`.
#[cfg(arm64)]
macro_rules! rounds {
    ($count:ident, $($lines:expr),*) => {
        // SAFETY: only vector registers and the counter change, all of them listed, and the caller has the instructions.
        unsafe {
            core::arch::asm!(
                "2:",
                $($lines,)*
                "subs {n}, {n}, #1",
                "b.ne 2b",
                n = inout(reg) $count => _,
                out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _, out("v6") _, out("v7") _,
                out("v8") _, out("v9") _, out("v10") _, out("v11") _, out("v12") _, out("v13") _, out("v14") _, out("v15") _,
                out("v16") _, out("v17") _, out("v18") _, out("v19") _, out("v20") _, out("v21") _, out("v22") _, out("v23") _,
                out("v24") _, out("v25") _, out("v26") _, out("v27") _, out("v28") _, out("v29") _, out("v30") _, out("v31") _,
                options(nomem, nostack),
            );
        }
    };
}

/// A line for each of 20 chains; `\\r` stands for the number of the chain's register, 30 and 31 are operands.
#[cfg(arm64)]
macro_rules! chains {
    ($line:literal) => {
        concat!(".irp r,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19\n", $line, "\n.endr")
    };
}

/// 16 chains of 16 products, three instructions each: two that multiply and one that adds. Eight products are on their way at a time.
#[cfg(arm64)]
pub fn neon(iterations: u64) -> u64 {
    macro_rules! eight {
        ($($sums:literal $product:literal),*) => {
            concat!(
                $("smull v", $product, ".8h, v30.8b, v31.8b\n",)*
                $("smlal2 v", $product, ".8h, v30.16b, v31.16b\n",)*
                $("sadalp v", $sums, ".4s, v", $product, ".8h\n",)*
            )
        };
    }

    let count = iterations.max(1);
    rounds!(count, eight!(0 16, 1 17, 2 18, 3 19, 4 20, 5 21, 6 22, 7 23), eight!(8 16, 9 17, 10 18, 11 19, 12 20, 13 21, 14 22, 15 23));
    count * 16 * 16
}

/// 20 chains of 16 products.
#[cfg(arm64)]
pub fn dotprod(iterations: u64) -> u64 {
    let count = iterations.max(1);
    rounds!(count, ".arch_extension dotprod", chains!("sdot v\\r\\().4s, v30.16b, v31.4b[0]"));
    count * 20 * 16
}

/// 20 chains of 32 products.
#[cfg(arm64)]
pub fn i8mm(iterations: u64) -> u64 {
    let count = iterations.max(1);
    rounds!(count, ".arch_extension i8mm", chains!("smmla v\\r\\().4s, v30.16b, v31.16b"));
    count * 20 * 32
}

/// 8 chains of 16 products, three instructions each: two that multiply and one that adds. Four products are on their way at a time.
#[cfg(neon32)]
pub fn neon32(iterations: u64) -> u64 {
    macro_rules! four {
        ($($sums:literal $product:literal),*) => {
            concat!(
                $("vmull.s8 q", $product, ", d0, d1\n",)*
                $("vmlal.s8 q", $product, ", d2, d3\n",)*
                $("vpadal.s16 q", $sums, ", q", $product, "\n",)*
            )
        };
    }

    #[unsafe(naked)]
    unsafe extern "C" fn chains(count: u32) {
        core::arch::naked_asm!(
            ".fpu neon",
            "vpush {{d8-d15}}",
            "2:",
            four!(8 4, 9 5, 10 6, 11 7),
            four!(12 4, 13 5, 14 6, 15 7),
            "subs r0, r0, #1",
            "bne 2b",
            "vpop {{d8-d15}}",
            "bx lr",
        )
    }

    let count = u32::try_from(iterations.max(1)).unwrap_or(u32::MAX);
    // SAFETY: the caller has NEON.
    unsafe { chains(count) };
    u64::from(count) * 8 * 16
}
