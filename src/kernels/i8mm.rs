//! 64-bit ARM with the matrix product (Neoverse V1 and N2, Cortex-A510, A710, X2 and later): SMMLA, 2 pixels by 2 lanes by 8 depths an instruction.

#![expect(unsafe_code, reason = "the loop is written in assembly inside the bounds that a block was checked for")]

use super::arm64::{self, Dot, FLIP, Sums};
use super::dotprod::ByElement;
use super::raw::{Reads, Tile};
use super::{Set, Table, peak};
use core::arch::asm;
use core::mem::MaybeUninit;

pub(super) static TABLE: Table = Table {
    set: Set::I8mm,
    flip: FLIP,
    conv: arm64::conv::<Matrix>,
    max_pool: arm64::max_pool,
    average_pool: arm64::average_pool,
    add: arm64::add,
    peak: peak::i8mm,
};

/// Pairs of pixels by pairs of lanes. A matrix of weights is two lanes by eight depths: words of a group zipped with those of the next.
struct Matrix;

/// Loads eight depths of pair `$pair`: `$a` and `$b` are its pointers.
macro_rules! pair {
    ($pair:literal, $a:literal, $b:literal, $x:literal) => {
        concat!(".if {pairs} > ", $pair, "\nldr d", $x, ", [{x", $a, "}], #8\nld1 {{v", $x, ".d}}[1], [{x", $b, "}], #8\n.endif\n")
    };
}

/// The same where one group is left: four depths, and zeros.
macro_rules! pair_of_one {
    ($pair:literal, $a:literal, $b:literal, $x:literal) => {
        concat!(".if {pairs} > ", $pair, "\nldr s", $x, ", [{x", $a, "}], #4\nld1 {{v", $x, ".s}}[2], [{x", $b, "}], #4\n.endif\n")
    };
}

/// Zips two lines of weights: registers 27, 28 (a group) and 29, 30 (the next) give the lanes in 31, 27, 29, 28.
macro_rules! zip {
    () => {
        concat!("zip1 v31.4s, v27.4s, v29.4s\n", "zip2 v27.4s, v27.4s, v29.4s\n", "zip1 v29.4s, v28.4s, v30.4s\n", "zip2 v28.4s, v28.4s, v30.4s\n",)
    };
}

/// Eight lanes of pair `$pair`.
macro_rules! products {
    ($pair:literal, $x:literal, $a:literal $b:literal $c:literal $d:literal) => {
        concat!(
            ".if {pairs} > ",
            $pair,
            "\n",
            "smmla v",
            $a,
            ".4s, v",
            $x,
            ".16b, v31.16b\n",
            "smmla v",
            $b,
            ".4s, v",
            $x,
            ".16b, v27.16b\n",
            "smmla v",
            $c,
            ".4s, v",
            $x,
            ".16b, v29.16b\n",
            "smmla v",
            $d,
            ".4s, v",
            $x,
            ".16b, v28.16b\n",
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

macro_rules! copy {
    ($pair:literal, $a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal) => {
        concat!(
            ".if {pairs} > ",
            $pair,
            "\n",
            "mov v",
            $a,
            ".16b, v0.16b\nmov v",
            $b,
            ".16b, v1.16b\nmov v",
            $c,
            ".16b, v2.16b\nmov v",
            $d,
            ".16b, v3.16b\n",
            "mov v",
            $e,
            ".16b, v4.16b\nmov v",
            $f,
            ".16b, v5.16b\nmov v",
            $g,
            ".16b, v6.16b\nmov v",
            $h,
            ".16b, v7.16b\n",
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

/// Writes the sums of pair `$pair`, first those of its first pixel.
macro_rules! keep {
    ($pair:literal, $a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal) => {
        concat!(
            ".if {pairs} > ",
            $pair,
            "\n",
            "zip1 v28.2d, v",
            $a,
            ".2d, v",
            $b,
            ".2d\nzip2 v29.2d, v",
            $a,
            ".2d, v",
            $b,
            ".2d\n",
            "zip1 v30.2d, v",
            $c,
            ".2d, v",
            $d,
            ".2d\nzip2 v31.2d, v",
            $c,
            ".2d, v",
            $d,
            ".2d\n",
            "stp q28, q30, [{sums}, #128*",
            $pair,
            "]\nstp q29, q31, [{sums}, #128*",
            $pair,
            "+64]\n",
            "zip1 v28.2d, v",
            $e,
            ".2d, v",
            $f,
            ".2d\nzip2 v29.2d, v",
            $e,
            ".2d, v",
            $f,
            ".2d\n",
            "zip1 v30.2d, v",
            $g,
            ".2d, v",
            $h,
            ".2d\nzip2 v31.2d, v",
            $g,
            ".2d, v",
            $h,
            ".2d\n",
            "stp q28, q30, [{sums}, #128*",
            $pair,
            "+32]\nstp q29, q31, [{sums}, #128*",
            $pair,
            "+96]\n",
            ".endif\n",
        )
    };
}

impl Dot for Matrix {
    const PIXELS: usize = 6;
    const MULTIPLE: usize = 2;

    #[inline(always)]
    unsafe fn dot<const P: usize>(first: Sums, reads: &Reads, t: Tile) -> [Sums; P] {
        // SAFETY: as the caller's; the sums of three pairs are written where as many pixels are read.
        unsafe {
            if P == 1 {
                return ByElement::dot::<P>(first, reads, t);
            }
            let mut sums = MaybeUninit::<[Sums; 6]>::uninit();
            matrices::<P>(first, reads, t, &mut sums);
            *sums.as_ptr().cast()
        }
    }
}

/// [`Dot::dot`] of up to three pairs of pixels: eight registers a pair, each of two pixels by two lanes. An odd pixel at the end is its own partner.
///
/// # Safety
/// As [`Dot::dot`].
#[inline(always)]
unsafe fn matrices<const P: usize>(first: Sums, reads: &Reads, t: Tile, sums: &mut MaybeUninit<[Sums; 6]>) {
    let (taps, stride) = (reads.taps, reads.out_pixel);
    let partner = if P % 2 == 0 { stride } else { 0 };
    // SAFETY: as the caller's: the pixels read inside the source and the panel inside the weights, exactly as many bytes as the taps say.
    unsafe {
        asm!(
            ".arch_extension i8mm",
            start!(),
            "2:", // a row of runs
            "mov {run}, {row}",
            "mov {cols}, {all_cols}",
            "3:", // a run
            "mov {x0}, {run}",
            ".if {pairs} == 1",
            "add {x1}, {x0}, {partner}",
            ".else",
            "add {x1}, {x0}, {stride}",
            "add {x2}, {x1}, {stride}",
            ".if {pairs} == 2",
            "add {x3}, {x2}, {partner}",
            ".else",
            "add {x3}, {x2}, {stride}",
            "add {x4}, {x3}, {stride}",
            "add {x5}, {x4}, {partner}",
            ".endif",
            ".endif",
            "cbz {twos}, 5f",
            "mov {n}, {twos}",
            "4:", // two groups
            "ldp q27, q28, [{w}], #128",
            "ldp q29, q30, [{w}, #-64]",
            "subs {n}, {n}, #1",
            pair!(0, 0, 1, 24),
            pair!(1, 2, 3, 25),
            pair!(2, 4, 5, 26),
            lower!(),
            "ldp q27, q28, [{w}, #-96]",
            "ldp q29, q30, [{w}, #-32]",
            upper!(),
            "b.ne 4b",
            "5:",
            "cbz {odd}, 6f", // a group that is left over
            "ldp q27, q28, [{w}], #64",
            "movi v29.2d, #0",
            "movi v30.2d, #0",
            pair_of_one!(0, 0, 1, 24),
            pair_of_one!(1, 2, 3, 25),
            pair_of_one!(2, 4, 5, 26),
            lower!(),
            "ldp q27, q28, [{w}, #-32]",
            "movi v29.2d, #0",
            "movi v30.2d, #0",
            upper!(),
            "6:",
            "add {run}, {run}, {tap_col}",
            "subs {cols}, {cols}, #1",
            "b.ne 3b",
            "add {row}, {row}, {tap_row}",
            "subs {rows}, {rows}, #1",
            "b.ne 2b",
            keep!(0, 0 1 2 3 4 5 6 7),
            keep!(1, 8 9 10 11 12 13 14 15),
            keep!(2, 16 17 18 19 20 21 22 23),
            pairs = const P.div_ceil(2),
            row = inout(reg) reads.at(t.row, t.pixel) => _,
            run = out(reg) _,
            w = inout(reg) reads.weights(t.panel) => _,
            rows = inout(reg) taps.rows => _,
            cols = out(reg) _,
            n = out(reg) _,
            all_cols = in(reg) taps.cols,
            twos = in(reg) taps.groups / 2,
            odd = in(reg) taps.groups % 2,
            tap_row = in(reg) reads.tap_row,
            tap_col = in(reg) reads.tap_col,
            stride = in(reg) stride,
            partner = in(reg) partner,
            x0 = out(reg) _, x1 = out(reg) _, x2 = out(reg) _, x3 = out(reg) _, x4 = out(reg) _, x5 = out(reg) _,
            sums = in(reg) sums.as_mut_ptr(),
            inout("v24") first[0] => _, inout("v25") first[1] => _, inout("v26") first[2] => _, inout("v27") first[3] => _,
            out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            out("v8") _, out("v9") _, out("v10") _, out("v11") _, out("v12") _, out("v13") _, out("v14") _, out("v15") _,
            out("v16") _, out("v17") _, out("v18") _, out("v19") _, out("v20") _, out("v21") _, out("v22") _, out("v23") _,
            out("v28") _, out("v29") _, out("v30") _, out("v31") _,
            options(nostack),
        );
    }
}
