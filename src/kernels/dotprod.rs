//! 64-bit ARM with the dot product (Cortex-A55, A76, A78): SDOT by element, 16 lanes by up to 4 pixels.

#![expect(unsafe_code, reason = "the loop is written in assembly inside the bounds that a block was checked for")]

use super::arm64::{self, Dot, Side, Sums, each_run, next_run};
use super::raw::{Reads, Tile};
use super::{Set, Table, peak};
use core::arch::asm;

pub(super) static TABLE: Table = arm64::table::<ByElement, ByElement, 6>(Set::Dotprod, peak::dotprod);

/// SDOT with four depths of one pixel, taken from a register that holds sixteen.
pub(super) struct ByElement;

/// Sums `$sums` gain the products of a line of weights with element `$g` of register `$x`.
macro_rules! sdot {
    ($sums:literal $w:literal $x:literal [$g:literal]) => {
        concat!("sdot v", $sums, ".4s, v", $w, ".16b, v", $x, ".4b[", $g, "]\n")
    };
}

/// One pixel of a group: its four registers of sums, and four lines of weights.
macro_rules! dots {
    ($pixel:literal, $x:literal [$g:literal], $a:literal $b:literal $c:literal $d:literal, $w:literal $v:literal $u:literal $t:literal) => {
        concat!(
            ".if {pixels} > ", $pixel, "\n",
            sdot!($a $w $x [$g]), sdot!($b $v $x [$g]), sdot!($c $u $x [$g]), sdot!($d $t $x [$g]),
            ".endif\n",
        )
    };
}

/// A group of all pixels, with a line of other instructions after each pixel. Pixel 0 comes last, since its load moves the pointer.
macro_rules! group {
    ([$g:literal] $w:literal $v:literal $u:literal $t:literal, $after1:expr, $after2:expr, $after3:expr) => {
        concat!(
            dots!(1, 17 [$g], 4 5 6 7, $w $v $u $t), $after1, "\n",
            dots!(2, 18 [$g], 8 9 10 11, $w $v $u $t), $after2, "\n",
            dots!(3, 19 [$g], 12 13 14 15, $w $v $u $t), $after3, "\n",
            dots!(0, 16 [$g], 0 1 2 3, $w $v $u $t),
        )
    };
}

/// A load of pixel `$pixel` (1 to 3) into its register.
macro_rules! load {
    ($pixel:literal, $register:literal) => {
        concat!(".if {pixels} > ", $pixel, "\nldr ", $register, ", [{x}, {p", $pixel, "}]\n.endif")
    };
}

impl Dot for ByElement {
    const PIXELS: usize = 4;

    #[inline(always)]
    unsafe fn dot<const P: usize>(first: Sums, reads: &Reads, t: Tile) -> [Sums; P] {
        let mut acc = [first; 4];
        let taps = reads.taps;
        let [[a0, a1, a2, a3], [b0, b1, b2, b3], [c0, c1, c2, c3], [d0, d1, d2, d3]] = &mut acc;
        // SAFETY: the tile's pixels read inside the source and its panel inside the weights, exactly as many bytes as the taps say.
        unsafe {
            asm!(
                ".arch_extension dotprod",
                each_run!(),
                "mov {x}, {run}",
                "cbz {chunks}, 5f",
                "mov {n}, {chunks}",
                "4:", // four groups
                "ldp q20, q21, [{w}], #256",
                load!(1, "q17"),
                "ldp q22, q23, [{w}, #-224]",
                load!(2, "q18"),
                load!(3, "q19"),
                "ldr q16, [{x}], #16",
                "subs {n}, {n}, #1",
                group!([0] 20 21 22 23, "ldp q24, q25, [{w}, #-192]", "ldp q26, q27, [{w}, #-160]", ""),
                group!([1] 24 25 26 27, "ldp q20, q21, [{w}, #-128]", "ldp q22, q23, [{w}, #-96]", ""),
                group!([2] 20 21 22 23, "ldp q24, q25, [{w}, #-64]", "ldp q26, q27, [{w}, #-32]", ""),
                group!([3] 24 25 26 27, "", "", ""),
                "b.ne 4b",
                "5:",
                "cbz {rest}, 7f",
                "mov {n}, {rest}",
                "6:", // a group that is left over
                "ldp q20, q21, [{w}], #64",
                load!(1, "s17"),
                load!(2, "s18"),
                load!(3, "s19"),
                "ldr s16, [{x}], #4",
                "ldp q22, q23, [{w}, #-32]",
                "subs {n}, {n}, #1",
                group!([0] 20 21 22 23, "", "", ""),
                "b.ne 6b",
                "7:",
                next_run!(),
                pixels = const P,
                row = inout(reg) reads.at(t.row, t.pixel) => _,
                run = out(reg) _,
                x = out(reg) _,
                w = inout(reg) reads.weights(t.panel) => _,
                rows = inout(reg) taps.rows => _,
                cols = out(reg) _,
                n = out(reg) _,
                all_cols = in(reg) taps.cols,
                chunks = in(reg) taps.groups / 4,
                rest = in(reg) taps.groups % 4,
                tap_row = in(reg) reads.tap_row,
                tap_col = in(reg) reads.tap_col,
                p1 = in(reg) reads.step(&t, 1),
                p2 = in(reg) reads.step(&t, 2),
                p3 = in(reg) reads.step(&t, 3),
                inout("v0") *a0, inout("v1") *a1, inout("v2") *a2, inout("v3") *a3,
                inout("v4") *b0, inout("v5") *b1, inout("v6") *b2, inout("v7") *b3,
                inout("v8") *c0, inout("v9") *c1, inout("v10") *c2, inout("v11") *c3,
                inout("v12") *d0, inout("v13") *d1, inout("v14") *d2, inout("v15") *d3,
                out("v16") _, out("v17") _, out("v18") _, out("v19") _, out("v20") _, out("v21") _,
                out("v22") _, out("v23") _, out("v24") _, out("v25") _, out("v26") _, out("v27") _,
                options(readonly, nostack),
            );
        }
        core::array::from_fn(|p| acc[p])
    }
}

/// One pixel of a line: its four registers of sums, and its bytes.
macro_rules! side {
    ($x:literal, $a:literal $b:literal $c:literal $d:literal) => {
        concat!(
            "sdot v",
            $a,
            ".4s, v28.16b, v",
            $x,
            ".16b\nsdot v",
            $b,
            ".4s, v29.16b, v",
            $x,
            ".16b\n",
            "sdot v",
            $c,
            ".4s, v30.16b, v",
            $x,
            ".16b\nsdot v",
            $d,
            ".4s, v31.16b, v",
            $x,
            ".16b\n",
        )
    };
}

impl Side<6> for ByElement {
    #[inline(always)]
    unsafe fn sums<const LINES: usize>(first: Sums, reads: &Reads, at: *const u8, steps: &[[usize; 2]; 6], line: *const u8) -> [Sums; 6] {
        let mut acc = [first; 6];
        let taps = reads.taps;
        let [[a0, a1, a2, a3], [b0, b1, b2, b3], [c0, c1, c2, c3], [d0, d1, d2, d3], [e0, e1, e2, e3], [f0, f1, f2, f3]] = &mut acc;
        // SAFETY: every tap has its bytes and its line.
        unsafe {
            asm!(
                ".arch_extension dotprod",
                each_run!(),
                "ldr q24, [{run}]",
                "ldp q30, q31, [{w}, #32]",
                "ldp q28, q29, [{w}], #{lines}",
                "ldr q25, [{run}, {p1}]",
                "ldr q26, [{run}, {p2}]",
                side!(24, 0 1 2 3),
                "ldr q27, [{run}, {p3}]",
                side!(25, 4 5 6 7),
                "ldr q24, [{run}, {p4}]",
                side!(26, 8 9 10 11),
                "ldr q25, [{run}, {p5}]",
                side!(27, 12 13 14 15),
                side!(24, 16 17 18 19),
                side!(25, 20 21 22 23),
                next_run!(),
                lines = const LINES * 64,
                row = inout(reg) at => _,
                run = out(reg) _,
                w = inout(reg) line => _,
                rows = inout(reg) taps.rows => _,
                cols = out(reg) _,
                all_cols = in(reg) taps.cols,
                tap_row = in(reg) reads.tap_row,
                tap_col = in(reg) reads.tap_col,
                p1 = in(reg) steps[1][0],
                p2 = in(reg) steps[2][0],
                p3 = in(reg) steps[3][0],
                p4 = in(reg) steps[4][0],
                p5 = in(reg) steps[5][0],
                inout("v0") *a0, inout("v1") *a1, inout("v2") *a2, inout("v3") *a3,
                inout("v4") *b0, inout("v5") *b1, inout("v6") *b2, inout("v7") *b3,
                inout("v8") *c0, inout("v9") *c1, inout("v10") *c2, inout("v11") *c3,
                inout("v12") *d0, inout("v13") *d1, inout("v14") *d2, inout("v15") *d3,
                inout("v16") *e0, inout("v17") *e1, inout("v18") *e2, inout("v19") *e3,
                inout("v20") *f0, inout("v21") *f1, inout("v22") *f2, inout("v23") *f3,
                out("v24") _, out("v25") _, out("v26") _, out("v27") _, out("v28") _, out("v29") _, out("v30") _, out("v31") _,
                options(readonly, nostack),
            );
        }
        acc
    }
}
