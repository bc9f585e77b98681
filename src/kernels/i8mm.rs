//! 64-bit ARM with the matrix product (Neoverse V1 and N2, Cortex-A510, A710, X2 and later): SMMLA, 2 pixels by 2 lanes by 8 depths an instruction.

#![expect(unsafe_code, reason = "the loop is written in assembly inside the bounds that a block was checked for")]

use super::arm64::narrow::{Field, Panel, Side, fields, next_tile, only};
use super::arm64::{self, Dot, Sums, each_run, next_run};
use super::dotprod::ByElement;
use super::raw::{Cut, PIECE, Reads, Tile};
use super::{Set, Table, peak};
use crate::pack::{LANES, Narrow};
use core::arch::aarch64::{int32x4_t, vreinterpretq_s32_s64, vreinterpretq_s64_s32, vzip1q_s32, vzip1q_s64, vzip2q_s32, vzip2q_s64};
use core::arch::asm;

pub(super) static TABLE: Table = arm64::table::<Matrix, ByElement, Matrix>(Set::I8mm, peak::i8mm);

/// Pairs of pixels by pairs of lanes. A matrix of weights is two lanes by eight depths: words of a group zipped with those of the next.
struct Matrix;

/// Loads pair `$pair`, whose pointers are `$a` and `$b`: of each pixel one element of the size `$size`, the second to place `$place`, and `$bytes` further.
macro_rules! pair {
    ($pair:literal, $a:literal $b:literal $x:literal, $size:literal [$place:literal] $bytes:literal) => {
        concat!(
            ".if {pairs} > ",
            $pair,
            "\n",
            "ldr ",
            $size,
            $x,
            ", [{x",
            $a,
            "}], #",
            $bytes,
            "\nld1 {{v",
            $x,
            ".",
            $size,
            "}}[",
            $place,
            "], [{x",
            $b,
            "}], #",
            $bytes,
            "\n",
            ".endif\n",
        )
    };
}

/// Loads all pairs: eight depths (`"d" [1] 8`), or four and zeros (`"s" [2] 4`).
macro_rules! pairs {
    ($($what:tt)*) => {
        concat!(pair!(0, 0 1 24, $($what)*), pair!(1, 2 3 25, $($what)*), pair!(2, 4 5 26, $($what)*))
    };
}

/// Zips two lines of weights: registers 27, 28 (a group) and 29, 30 (the next) give the lanes in 31, 27, 29, 28.
macro_rules! zip {
    () => {
        concat!("zip1 v31.4s, v27.4s, v29.4s\n", "zip2 v27.4s, v27.4s, v29.4s\n", "zip1 v29.4s, v28.4s, v30.4s\n", "zip2 v28.4s, v28.4s, v30.4s\n",)
    };
}

/// Sums `$sums` gain the products of a pair of pixels with a pair of lanes.
macro_rules! smmla {
    ($sums:literal $x:literal $w:literal) => {
        concat!("smmla v", $sums, ".4s, v", $x, ".16b, v", $w, ".16b\n")
    };
}

/// Eight lanes of pair `$pair`.
macro_rules! products {
    ($pair:literal, $x:literal, $a:literal $b:literal $c:literal $d:literal) => {
        concat!(
            ".if {pairs} > ", $pair, "\n",
            smmla!($a $x 31), smmla!($b $x 27), smmla!($c $x 29), smmla!($d $x 28),
            ".endif\n",
        )
    };
}

macro_rules! lower {
    () => {
        concat!(zip!(), products!(0, 24, 0 1 2 3), products!(1, 25, 8 9 10 11), products!(2, 26, 16 17 18 19))
    };
}

macro_rules! upper {
    () => {
        concat!(zip!(), products!(0, 24, 4 5 6 7), products!(1, 25, 12 13 14 15), products!(2, 26, 20 21 22 23))
    };
}

macro_rules! two_groups {
    () => {
        concat!(
            "ldp q27, q28, [{w}], #128\nldp q29, q30, [{w}, #-64]\n",
            pairs!("d" [1] 8),
            lower!(),
            "ldp q27, q28, [{w}, #-96]\nldp q29, q30, [{w}, #-32]\n",
            upper!(),
        )
    };
}

macro_rules! mov {
    ($to:literal $from:literal) => {
        concat!("mov v", $to, ".16b, v", $from, ".16b\n")
    };
}

macro_rules! copy {
    ($pair:literal, $a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal) => {
        concat!(
            ".if {pairs} > ", $pair, "\n",
            mov!($a 0), mov!($b 1), mov!($c 2), mov!($d 3), mov!($e 4), mov!($f 5), mov!($g 6), mov!($h 7),
            ".endif\n",
        )
    };
}

/// Starts all sums from registers 24 to 27: pairs of lanes, for both pixels of a pair.
macro_rules! start {
    () => {
        concat!(
            "zip1 v0.2d, v24.2d, v24.2d\nzip2 v1.2d, v24.2d, v24.2d\nzip1 v2.2d, v25.2d, v25.2d\nzip2 v3.2d, v25.2d, v25.2d\n",
            "zip1 v4.2d, v26.2d, v26.2d\nzip2 v5.2d, v26.2d, v26.2d\nzip1 v6.2d, v27.2d, v27.2d\nzip2 v7.2d, v27.2d, v27.2d\n",
            copy!(1, 8 9 10 11 12 13 14 15),
            copy!(2, 16 17 18 19 20 21 22 23),
        )
    };
}

/// Parts the sums of a pair's pixels: `$t` and `$b` hold those of its first and second pixel, `$a` is free again.
macro_rules! part {
    ($pair:literal, $($t:literal <- $a:literal $b:literal),*) => {
        concat!(
            ".if {pairs} > ", $pair, "\n",
            $("zip1 v", $t, ".2d, v", $a, ".2d, v", $b, ".2d\nzip2 v", $b, ".2d, v", $a, ".2d, v", $b, ".2d\n",)*
            ".endif\n",
        )
    };
}

impl Dot for Matrix {
    const PIXELS: usize = 6;
    const CUT: Cut = Cut { multiple: 2, wrap: true, piece: 2 * PIECE };

    #[inline(always)]
    unsafe fn dot<const P: usize>(first: Sums, reads: &Reads, t: Tile) -> [Sums; P] {
        // SAFETY: as the caller's.
        unsafe { if P == 1 { ByElement::dot::<P>(first, reads, t) } else { matrices::<P>(first, reads, t) } }
    }
}

/// [`Dot::dot`] of up to three pairs of pixels: eight registers a pair, each of two pixels by two lanes. An odd pixel at the end is its own partner.
///
/// # Safety
/// As [`Dot::dot`].
#[inline(always)]
unsafe fn matrices<const P: usize>(first: Sums, reads: &Reads, t: Tile) -> [Sums; P] {
    let taps = reads.taps;
    let at = |p: usize| reads.step(&t, p.min(P - 1));
    // SAFETY: as the caller's: the pixels read inside the source and the panel inside the weights, exactly as many bytes as the taps say.
    unsafe {
        let mut sums = [first; 6];
        asm!(
            ".arch_extension i8mm",
            start!(),
            each_run!(),
            "mov {x0}, {run}",
            "add {x1}, {x0}, {p1}",
            ".if {pairs} > 1",
            "add {x2}, {x0}, {p2}",
            "add {x3}, {x0}, {p3}",
            ".endif",
            ".if {pairs} > 2",
            "add {x4}, {x0}, {p4}",
            "add {x5}, {x0}, {p5}",
            ".endif",
            "cbz {fours}, 5f",
            "mov {n}, {fours}",
            "4:", // four groups
            "subs {n}, {n}, #1",
            two_groups!(),
            two_groups!(),
            "b.ne 4b",
            "5:",
            "tbz {rest}, #1, 5f",
            two_groups!(),
            "5:",
            "tbz {rest}, #0, 6f", // a group that is left over
            "ldp q27, q28, [{w}], #64",
            "movi v29.2d, #0",
            "movi v30.2d, #0",
            pairs!("s" [2] 4),
            lower!(),
            "ldp q27, q28, [{w}, #-32]",
            "movi v29.2d, #0",
            "movi v30.2d, #0",
            upper!(),
            "6:",
            next_run!(),
            part!(0, 24 <- 0 1, 0 <- 2 3, 2 <- 4 5, 4 <- 6 7),
            part!(1, 6 <- 8 9, 8 <- 10 11, 10 <- 12 13, 12 <- 14 15),
            part!(2, 14 <- 16 17, 16 <- 18 19, 18 <- 20 21, 20 <- 22 23),
            pairs = const P.div_ceil(2),
            row = inout(reg) reads.at(t.row, t.pixel) => _,
            run = out(reg) _,
            w = inout(reg) reads.weights(t.panel) => _,
            rows = inout(reg) taps.rows => _,
            cols = out(reg) _,
            n = out(reg) _,
            all_cols = in(reg) taps.cols,
            fours = in(reg) taps.groups / 4,
            rest = in(reg) taps.groups % 4,
            tap_row = in(reg) reads.tap_row,
            tap_col = in(reg) reads.tap_col,
            p1 = in(reg) at(1),
            p2 = in(reg) at(2),
            p3 = in(reg) at(3),
            p4 = in(reg) at(4),
            p5 = in(reg) at(5),
            x0 = out(reg) _, x1 = out(reg) _, x2 = out(reg) _, x3 = out(reg) _, x4 = out(reg) _, x5 = out(reg) _,
            out("v0") sums[0][1], out("v1") sums[1][0], out("v2") sums[0][2], out("v3") sums[1][1],
            out("v4") sums[0][3], out("v5") sums[1][2], out("v6") sums[2][0], out("v7") sums[1][3],
            out("v8") sums[2][1], out("v9") sums[3][0], out("v10") sums[2][2], out("v11") sums[3][1],
            out("v12") sums[2][3], out("v13") sums[3][2], out("v14") sums[4][0], out("v15") sums[3][3],
            out("v16") sums[4][1], out("v17") sums[5][0], out("v18") sums[4][2], out("v19") sums[5][1],
            out("v20") sums[4][3], out("v21") sums[5][2], out("v22") _, out("v23") sums[5][3],
            inout("v24") first[0] => sums[0][0], inout("v25") first[1] => _, inout("v26") first[2] => _, inout("v27") first[3] => _,
            out("v28") _, out("v29") _, out("v30") _, out("v31") _,
            options(readonly, nostack),
        );
        core::array::from_fn(|p| sums[p])
    }
}

/// A macro over the eight registers of each pair of pixels, and of what it reads.
macro_rules! each_pair {
    ($one:ident $($more:tt)*) => {
        concat!(
            only!(0, $one!(0 1 2 3 4 5 6 7, 24 25 $($more)*)),
            only!(2, $one!(8 9 10 11 12 13 14 15, 26 27 $($more)*)),
            only!(4, $one!(16 17 18 19 20 21 22 23, 28 29 $($more)*)),
        )
    };
}

macro_rules! start_pair {
    ($a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal, $x:literal $y:literal) => {
        concat!(
            "ld1 {{v",
            $a,
            ".4s, v",
            $b,
            ".4s, v",
            $c,
            ".4s, v",
            $d,
            ".4s}}, [{first}]\n",
            "ld1 {{v",
            $e,
            ".4s, v",
            $f,
            ".4s, v",
            $g,
            ".4s, v",
            $h,
            ".4s}}, [{w}]\n",
        )
    };
}

/// The matrices of two pixels, one for each group.
macro_rules! read_pair {
    ($a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal, $x:literal $y:literal) => {
        concat!("ld1 {{v30.16b}}, [{x}], {pixel}\nld1 {{v31.16b}}, [{x}], {pixel}\n", "zip1 v", $x, ".2d, v30.2d, v31.2d\nzip2 v", $y, ".2d, v30.2d, v31.2d\n",)
    };
}

/// The products of two outputs of both groups: those of a line's first or second half.
macro_rules! outputs {
    ($a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal, $x:literal $y:literal first lower) => {
        concat!(smmla!($a $x 30), smmla!($b $y 31))
    };
    ($a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal, $x:literal $y:literal first upper) => {
        concat!(smmla!($e $x 30), smmla!($f $y 31))
    };
    ($a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal, $x:literal $y:literal second lower) => {
        concat!(smmla!($c $x 30), smmla!($d $y 31))
    };
    ($a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal, $x:literal $y:literal second upper) => {
        concat!(smmla!($g $x 30), smmla!($h $y 31))
    };
}

macro_rules! half_line {
    ($line:ident $half:ident) => {
        concat!("ld2 {{v30.2d, v31.2d}}, [{w}], #32\n", each_pair!(outputs $line $half))
    };
}

macro_rules! rounds_pair {
    (@ $($a:literal $m:literal),*) => {
        concat!($("sqrdmulh v", $a, ".4s, v", $a, ".4s, v", $m, ".4s\n",)*)
    };
    ($a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal, $x:literal $y:literal) => {
        rounds_pair!(@ $a 24, $b 25, $c 26, $d 27, $e 28, $f 29, $g 30, $h 31)
    };
}

macro_rules! halve_pair {
    (@ $($a:literal $b:literal),*) => {
        concat!($("sqxtn v", $a, ".4h, v", $a, ".4s\nsqxtn2 v", $a, ".8h, v", $b, ".4s\n",)*)
    };
    ($a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal, $x:literal $y:literal) => {
        halve_pair!(@ $a $b, $c $d, $e $f, $g $h)
    };
}

macro_rules! low_halves_pair {
    (@ $($a:literal $b:literal),*) => {
        concat!($("uzp1 v", $a, ".8h, v", $a, ".8h, v", $b, ".8h\n",)*)
    };
    ($a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal, $x:literal $y:literal) => {
        low_halves_pair!(@ $a $b, $c $d, $e $f, $g $h)
    };
}

/// S8 as if it were U8: plus 128.
macro_rules! lift_pair {
    (@ $($a:literal)*) => {
        concat!($("sqadd v", $a, ".8h, v", $a, ".8h, v26.8h\n",)*)
    };
    ($a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal, $x:literal $y:literal) => {
        lift_pair!(@ $a $c $e $g)
    };
}

/// Stores the bytes of two pixels in order.
macro_rules! put_pair {
    (@ $($to:literal <- $a:literal $c:literal),*) => {
        concat!($(
            "sqxtun v", $to, ".8b, v", $a, ".8h\nsqxtun2 v", $to, ".16b, v", $c, ".8h\neor v", $to, ".16b, v", $to, ".16b, v27.16b\n",
        )*)
    };
    ($a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal, $x:literal $y:literal) => {
        concat!(
            put_pair!(@ $a <- $a $c, $b <- $e $g),
            "tbl v", $c, ".16b, {{v", $a, ".16b, v", $b, ".16b}}, v24.16b\ntbl v", $d, ".16b, {{v", $a, ".16b, v", $b, ".16b}}, v25.16b\n",
            "st1 {{v", $c, ".16b}}, [{out}], {out_pixel}\nst1 {{v", $d, ".16b}}, [{out}], {out_pixel}\n",
        )
    };
}

/// The sums of two pixels in the order of the lanes, to `{x}`.
macro_rules! store_pair {
    (@ $($place:literal $a:literal $b:literal $c:literal $d:literal),*) => {
        concat!($("st4 {{v", $a, ".s, v", $b, ".s, v", $c, ".s, v", $d, ".s}}[", $place, "], [{x}], #16\n",)*)
    };
    ($a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal, $x:literal $y:literal) => {
        store_pair!(@ 0 $a $b $c $d, 1 $a $b $c $d, 0 $e $f $g $h, 1 $e $f $g $h, 2 $a $b $c $d, 3 $a $b $c $d, 2 $e $f $g $h, 3 $e $f $g $h)
    };
}

/// A register of words of two pixels for each pair of lanes that a matrix product gives.
///
/// # Safety
/// NEON is part of the target.
unsafe fn pairs_of([a, b, c, d]: Sums) -> [Sums; 2] {
    // SAFETY: NEON is part of the target.
    unsafe {
        let twice = |v: int32x4_t| {
            let v = vreinterpretq_s64_s32(v);
            [vreinterpretq_s32_s64(vzip1q_s64(v, v)), vreinterpretq_s32_s64(vzip2q_s64(v, v))]
        };
        let four = |even, odd| {
            let ([p, q], [r, s]) = (twice(vzip1q_s32(even, odd)), twice(vzip2q_s32(even, odd)));
            [p, q, r, s]
        };
        [four(a, b), four(c, d)]
    }
}

/// Groups of 8: two pixels by two outputs of a group by its 8 channels.
impl Side for Matrix {
    const PIXELS: usize = 6;
    const MULTIPLE: usize = 2;

    unsafe fn panel(to: &mut Panel, first: Sums, multipliers: Sums, _narrow: Narrow) {
        // SAFETY: as the caller's.
        unsafe {
            [to.first[0], to.first[1]] = pairs_of(first);
            to.multipliers = pairs_of(multipliers);
        }
        to.lanes = LANES_OF_PAIR;
    }

    #[inline(always)]
    unsafe fn tiles<const P: usize>(field: &mut Field) {
        // SAFETY: as the caller's.
        unsafe {
            asm!(
                ".arch_extension i8mm",
                fields!(),
                "2:\nadd {w}, {first}, #64",
                each_pair!(start_pair),
                "mov {w}, {line}\nmov {row}, {at}\nldp {rows}, {all_cols}, [{field}]",
                "3:\nmov {run}, {row}\nmov {cols}, {all_cols}",
                "4:\nmov {x}, {run}", // a tap
                each_pair!(read_pair),
                half_line!(first lower),
                half_line!(first upper),
                half_line!(second lower),
                "add {run}, {run}, {tap_col}\nsubs {cols}, {cols}, #1",
                half_line!(second upper),
                "b.ne 4b",
                "add {row}, {row}, {tap_row}\nsubs {rows}, {rows}, #1\nb.ne 3b",
                "tbnz {mode}, #1, 15f",
                "add {x}, {field}, #400",
                "ld1 {{v24.4s, v25.4s, v26.4s, v27.4s}}, [{x}], #64\nld1 {{v28.4s, v29.4s, v30.4s, v31.4s}}, [{x}]",
                each_pair!(rounds_pair),
                "tbz {mode}, #5, 16f",
                each_pair!(low_halves_pair),
                "13:\nldp q24, q25, [{field}, #528]\nmovi v27.16b, #128",
                each_pair!(put_pair),
                next_tile!(),
                "16:",
                each_pair!(halve_pair),
                "tbz {mode}, #0, 13b\nmovi v26.8h, #128",
                each_pair!(lift_pair),
                "b 13b",
                "15:\nadd {x}, {field}, #560",
                each_pair!(store_pair),
                "12:",
                pixels = const P,
                field = in(reg) field,
                tap_row = out(reg) _, tap_col = out(reg) _, pixel = out(reg) _, out_pixel = out(reg) _, tile = out(reg) _, out_tile = out(reg) _,
                tiles = out(reg) _, at = out(reg) _, out = out(reg) _, line = out(reg) _, lines = out(reg) _, mode = out(reg) _, first = out(reg) _,
                w = out(reg) _, x = out(reg) _, row = out(reg) _, run = out(reg) _, rows = out(reg) _, cols = out(reg) _, all_cols = out(reg) _,
                out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _, out("v6") _, out("v7") _,
                out("v8") _, out("v9") _, out("v10") _, out("v11") _, out("v12") _, out("v13") _, out("v14") _, out("v15") _,
                out("v16") _, out("v17") _, out("v18") _, out("v19") _, out("v20") _, out("v21") _, out("v22") _, out("v23") _,
                out("v24") _, out("v25") _, out("v26") _, out("v27") _, out("v28") _, out("v29") _, out("v30") _, out("v31") _,
                options(nostack),
            );
        }
    }
}

/// Where the bytes of the outputs of both pixels of a pair are: line by line of a group, two of each half.
const LANES_OF_PAIR: [[u8; LANES]; 2] =
    [[0, 1, 16, 17, 8, 9, 24, 25, 4, 5, 20, 21, 12, 13, 28, 29], [2, 3, 18, 19, 10, 11, 26, 27, 6, 7, 22, 23, 14, 15, 30, 31]];
