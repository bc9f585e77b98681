//! 64-bit ARM with the dot product (Cortex-A55, A76, A78): SDOT by element, 16 lanes by up to 4 pixels.

#![expect(unsafe_code, reason = "the loop is written in assembly inside the bounds that a block was checked for")]

use super::arm64::narrow::{
    Field, Panel, Side, fields, halve, lift, load, low_halves, narrowed, next_tile, only, pair_up, pixels, put, rounded, rounds, spread, store, tiles,
};
use super::arm64::{self, Dot, Sums, each_run, next_run};
use super::raw::{Reads, Tile};
use super::{Set, Table, peak};
use crate::pack::Narrow;
use core::arch::asm;

pub(super) static TABLE: Table = arm64::table::<ByElement, ByElement, ByElement>(Set::Dotprod, peak::dotprod);

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
macro_rules! load_pixel {
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
                load_pixel!(1, "q17"),
                "ldp q22, q23, [{w}, #-224]",
                load_pixel!(2, "q18"),
                load_pixel!(3, "q19"),
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
                load_pixel!(1, "s17"),
                load_pixel!(2, "s18"),
                load_pixel!(3, "s19"),
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

/// The products of a line with a pixel's bytes.
macro_rules! side {
    ($a:literal $b:literal $c:literal $d:literal, $x:literal) => {
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

/// The products of the next line with the pixels whose bytes are in these registers.
macro_rules! tap {
    ($a:literal $b:literal $c:literal $d:literal $e:literal) => {
        concat!(
            only!(0, side!(0 1 2 3, $a)),
            only!(1, side!(4 5 6 7, $b)),
            only!(2, side!(8 9 10 11, $c)),
            only!(3, side!(12 13 14 15, $d)),
            only!(4, side!(16 17 18 19, $e)),
        )
    };
}

macro_rules! next_line {
    () => {
        next_line!("lines")
    };
    ($next:literal) => {
        concat!("ld1 {{v28.16b, v29.16b, v30.16b, v31.16b}}, [{w}], {", $next, "}\n")
    };
}

/// The column behind the tile's first `$pixel` ones. Behind the last one `$next` further are those that are read then.
macro_rules! column {
    ($pixel:literal, $x:literal, $next:literal) => {
        concat!(
            ".if {pixels} > ",
            $pixel,
            "\nld1 {{v",
            $x,
            ".16b}}, [{x}], {pixel}\n.endif\n.if {pixels} == ",
            $pixel,
            "\nld1 {{v",
            $x,
            ".16b}}, [{x}], {",
            $next,
            "}\n.endif\n",
        )
    };
}

/// Three taps of pixels side by side.
macro_rules! row {
    () => {
        concat!(
            next_line!(),
            "ld1 {{v20.16b}}, [{x}], {pixel}\nld1 {{v21.16b}}, [{x}], {pixel}\n",
            column!(1, 22, "back"), column!(2, 23, "back"), column!(3, 24, "back"), column!(4, 25, "back"), column!(5, 26, "back"),
            tap!(20 21 22 23 24),
            next_line!(),
            tap!(21 22 23 24 25),
            next_line!(),
            tap!(22 23 24 25 26),
        )
    };
}

/// Three taps of pixels with a column between them: the first, the third, the second.
macro_rules! row_apart {
    () => {
        concat!(
            next_line!("p2"),
            "ld1 {{v20.16b}}, [{x}], {pixel}\n",
            column!(1, 21, "p4"), column!(2, 22, "p4"), column!(3, 23, "p4"), column!(4, 24, "p4"), column!(5, 25, "p4"),
            tap!(20 21 22 23 24),
            next_line!("p3"),
            tap!(21 22 23 24 25),
            next_line!("p2"),
            column!(1, 20, "back"), column!(2, 21, "back"), column!(3, 22, "back"), column!(4, 23, "back"), column!(5, 24, "back"),
            tap!(20 21 22 23 24),
        )
    };
}

impl Side for ByElement {
    const PIXELS: usize = 5;

    unsafe fn panel(to: &mut Panel, first: Sums, multipliers: Sums, narrow: Narrow) {
        to.multipliers[0] = multipliers;
        to.first[0] = first;
        if narrow == Narrow::Eight {
            // SAFETY: as the caller's.
            [to.first[0], to.first[1]] = unsafe { spread(first) };
        }
    }

    #[inline(always)]
    unsafe fn tiles<const P: usize>(field: &mut Field) {
        // SAFETY: as the caller's.
        unsafe {
            asm!(
                ".arch_extension dotprod",
                tiles!(
                    concat!(
                        "mov {x}, #{pixels}\ntbnz {mode}, #4, 1f\n",
                        "lsl {p2}, {pixel}, #1\nadd {p3}, {p2}, {pixel}\nlsl {p4}, {pixel}, #2\n",
                        "madd {back}, {x}, {pixel}, {pixel}\nsub {back}, {tap_row}, {back}\nb 2f\n",
                        // The pixels that are apart: twice a tap's lines, a tap's lines back, from behind the tile to its second column and on to its next row.
                        "1:\nlsl {p2}, {lines}, #1\nneg {p3}, {lines}\nmsub {p4}, {x}, {pixel}, {tap_col}\n",
                        "sub {x}, {x}, #1\nmsub {back}, {x}, {pixel}, {tap_row}\nsub {back}, {back}, {tap_col}\n",
                    ),
                    concat!(
                        pixels!(load),
                        "mov {x}, {at}\ntbz {mode}, #2, 5f\ntbnz {mode}, #3, 10f\n",
                        row!(),
                        row!(),
                        "4:\n",
                        row!(),
                        "tbnz {mode}, #3, 11f\n",
                    ),
                    concat!(
                        "10:\nldr {rows}, [{field}]\nb 4b\n",
                        "11:\nsubs {rows}, {rows}, #1\nb.ne 4b\nb 7b\n",
                        "5:\nldr {rows}, [{field}]\ntbz {mode}, #4, 5f\n",
                        "4:\n",
                        row_apart!(),
                        "subs {rows}, {rows}, #1\nb.ne 4b\nb 7b\n",
                        "5:\nmov {run}, {x}\nldr {cols}, [{field}, #8]\n",
                        "6:\n", // a tap
                        next_line!(),
                        only!(1, "ldr q21, [{run}, {pixel}]\n"),
                        only!(2, "ldr q22, [{run}, {p2}]\n"),
                        only!(3, "ldr q23, [{run}, {p3}]\n"),
                        only!(4, "ldr q24, [{run}, {p4}]\n"),
                        "ld1 {{v20.16b}}, [{run}], {tap_col}\nsubs {cols}, {cols}, #1\n",
                        tap!(20 21 22 23 24),
                        "b.ne 6b\nadd {x}, {x}, {tap_row}\nsubs {rows}, {rows}, #1\nb.ne 5b\nb 7b\n",
                    ),
                    64
                ),
                pixels = const P,
                field = in(reg) field,
                tap_row = out(reg) _, tap_col = out(reg) _, pixel = out(reg) _, out_pixel = out(reg) _, tile = out(reg) _, out_tile = out(reg) _,
                tiles = out(reg) _, at = out(reg) _, out = out(reg) _, line = out(reg) _, lines = out(reg) _, mode = out(reg) _, first = out(reg) _,
                w = out(reg) _, x = out(reg) _, run = out(reg) _, rows = out(reg) _, cols = out(reg) _, back = out(reg) _,
                p2 = out(reg) _, p3 = out(reg) _, p4 = out(reg) _,
                out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _, out("v6") _, out("v7") _,
                out("v8") _, out("v9") _, out("v10") _, out("v11") _, out("v12") _, out("v13") _, out("v14") _, out("v15") _,
                out("v16") _, out("v17") _, out("v18") _, out("v19") _, out("v20") _, out("v21") _, out("v22") _, out("v23") _,
                out("v24") _, out("v25") _, out("v26") _, out("v27") _, out("v28") _, out("v29") _, out("v30") _, out("v31") _,
                options(nostack),
            );
        }
    }
}
