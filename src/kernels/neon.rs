//! 64-bit ARM as every such CPU has it (Cortex-A53, A57, A72): SMULL and SMLAL of two depths each into 16 bits, SADALP of their pairs into the sums.

#![expect(unsafe_code, reason = "the loop is written in assembly inside the bounds that a block was checked for")]

use super::arm64::narrow::{
    Field, Panel, Side, fields, halve, lift, load, low_halves, narrowed, next_tile, only, pair_up, pixels, put, rounded, rounds, spread, store, tiles,
};
use super::arm64::{self, Dot, Sums, each_run, next_run};
use super::raw::{Reads, Tile};
use super::{Set, Table, peak};
use crate::pack::Narrow;
use core::arch::aarch64::{int32x4_t, vaddq_s32, vdupq_n_s32, vpaddq_s32};
use core::arch::asm;

pub(super) static TABLE: Table = arm64::table::<Pairs, Pairs, Pairs>(Set::Neon, peak::neon);

/// Products of two groups meet in 16 bits: two of at most 127·128 always fit. Each lane has two sums, of its even and of its odd pairs of depths.
///
/// A product goes through three steps, each two rounds after the one before, so that an in-order core never waits for a result. The rounds of one iteration of
/// the loop run on into the next; at its beginning they work on zeros.
struct Pairs;

macro_rules! half {
    ($op:literal low) => {
        $op
    };
    ($op:literal high) => {
        concat!($op, "2")
    };
}

macro_rules! bytes {
    (low) => {
        ".8b"
    };
    (high) => {
        ".16b"
    };
}

/// The first step: 16-bit products of the lower or upper half of a line of weights.
macro_rules! first {
    ($t:literal $w:literal $x:literal $half:ident) => {
        concat!(half!("smull" $half), " v", $t, ".8h, v", $w, bytes!($half), ", v", $x, bytes!($half), "\n")
    };
}

/// The second step: the products of the next line on top.
macro_rules! second {
    ($t:literal $w:literal $x:literal $half:ident) => {
        concat!(half!("smlal" $half), " v", $t, ".8h, v", $w, bytes!($half), ", v", $x, bytes!($half), "\n")
    };
}

/// The third step: pairs of 16-bit products to the sums.
macro_rules! add {
    ($sums:literal $t:literal) => {
        concat!("sadalp v", $sums, ".4s, v", $t, ".8h\n")
    };
}

/// The third step of one product, the second of another and the first of a third, which takes the register that the third step frees.
macro_rules! round {
    ($sums:literal $t:literal, $t2:literal $w2:literal $x2:literal $half2:ident, $w1:literal $x1:literal $half1:ident) => {
        concat!(add!($sums $t), second!($t2 $w2 $x2 $half2), first!($t $w1 $x1 $half1))
    };
}

macro_rules! last {
    ($sums:literal $t:literal, $t2:literal $w2:literal $x2:literal $half2:ident) => {
        concat!(add!($sums $t), second!($t2 $w2 $x2 $half2))
    };
}

/// A single group of a pixel.
macro_rules! alone {
    ($x:literal, $a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal) => {
        concat!(
            first!(28 20 $x low), first!(29 20 $x high), first!(30 21 $x low), first!(31 21 $x high),
            add!($a 28), add!($b 29), add!($c 30), add!($d 31),
            first!(28 22 $x low), first!(29 22 $x high), first!(30 23 $x low), first!(31 23 $x high),
            add!($e 28), add!($f 29), add!($g 30), add!($h 31),
        )
    };
}

impl Dot for Pairs {
    const PIXELS: usize = 2;

    #[inline(always)]
    unsafe fn dot<const P: usize>(first: Sums, reads: &Reads, t: Tile) -> [Sums; P] {
        // SAFETY: as the caller's.
        unsafe {
            let halves = sums::<P>(reads, t);
            core::array::from_fn(|p| core::array::from_fn(|q| vaddq_s32(first[q], vpaddq_s32(halves[8 * p + 2 * q], halves[8 * p + 2 * q + 1]))))
        }
    }
}

/// Two groups: those at byte `$at` of the weights, with words `$g` and `$h` of the pixel that register 26 holds.
macro_rules! groups_of_one {
    ($at:literal, $g:literal $h:literal) => {
        concat!(
            "ldp q20, q21, [{w}, #", $at, "]\n",
            "dup v16.4s, v26.s[", $g, "]\n",
            "ldp q22, q23, [{w}, #", $at, " + 64]\n",
            round!(4 28, 30 25 17 low, 20 16 low),
            round!(5 29, 31 25 17 high, 20 16 high),
            "dup v17.4s, v26.s[", $h, "]\n",
            "ldp q8, q9, [{w}, #", $at, " + 32]\n",
            "ldp q24, q25, [{w}, #", $at, " + 96]\n",
            round!(6 30, 28 22 17 low, 21 16 low),
            round!(7 31, 29 22 17 high, 21 16 high),
            round!(0 28, 30 23 17 low, 8 16 low),
            round!(1 29, 31 23 17 high, 8 16 high),
            round!(2 30, 28 24 17 low, 9 16 low),
            round!(3 31, 29 24 17 high, 9 16 high),
        )
    };
}

/// Two groups: those at byte `$at` of the weights, with words `$g` and `$h` of the pixels that registers 26 and 27 hold.
macro_rules! groups_of_two {
    ($at:literal, $g:literal $h:literal) => {
        concat!(
            "ldp q20, q21, [{w}, #", $at, "]\n",
            "dup v16.4s, v26.s[", $g, "]\n",
            "dup v18.4s, v27.s[", $g, "]\n",
            "ldp q22, q23, [{w}, #", $at, " + 64]\n",
            "dup v17.4s, v26.s[", $h, "]\n",
            round!(6 28, 30 25 19 low, 20 16 low),
            round!(7 29, 31 25 19 high, 20 16 high),
            "dup v19.4s, v27.s[", $h, "]\n",
            round!(14 30, 28 22 17 low, 20 18 low),
            round!(15 31, 29 22 17 high, 20 18 high),
            round!(0 28, 30 22 19 low, 21 16 low),
            "ldp q24, q25, [{w}, #", $at, " + 96]\n",
            round!(1 29, 31 22 19 high, 21 16 high),
            round!(8 30, 28 23 17 low, 21 18 low),
            round!(9 31, 29 23 17 high, 21 18 high),
            "ldp q20, q21, [{w}, #", $at, " + 32]\n",
            round!(2 28, 30 23 19 low, 20 16 low),
            round!(3 29, 31 23 19 high, 20 16 high),
            round!(10 30, 28 24 17 low, 20 18 low),
            round!(11 31, 29 24 17 high, 20 18 high),
            round!(4 28, 30 24 19 low, 21 16 low),
            round!(5 29, 31 24 19 high, 21 16 high),
            round!(12 30, 28 25 17 low, 21 18 low),
            round!(13 31, 29 25 17 high, 21 18 high),
        )
    };
}

/// Two groups of the tile's one or two pixels.
macro_rules! groups {
    ($at:literal, $g:literal $h:literal) => {
        concat!(".if {pixels} == 1\n", groups_of_one!($at, $g $h), ".else\n", groups_of_two!($at, $g $h), ".endif\n")
    };
}

/// What is still on its way when a run ends.
macro_rules! drain {
    () => {
        concat!(
            ".if {pixels} == 1\n",
            last!(4 28, 30 25 17 low), last!(5 29, 31 25 17 high), add!(6 30), add!(7 31),
            ".else\n",
            last!(6 28, 30 25 19 low), last!(7 29, 31 25 19 high), add!(14 30), add!(15 31),
            ".endif\n",
        )
    };
}

/// A line for tiles of two pixels.
macro_rules! for_two {
    ($line:expr) => {
        concat!(".if {pixels} == 2\n", $line, "\n.endif\n")
    };
}

/// The sums of a tile of one or two pixels, eight registers a pixel, two for each four lanes.
///
/// # Safety
/// As [`Dot::dot`].
#[inline(always)]
unsafe fn sums<const P: usize>(reads: &Reads, t: Tile) -> [int32x4_t; 16] {
    let taps = reads.taps;
    // SAFETY: as the caller's: the pixels read inside the source and the panel inside the weights, exactly as many bytes as the taps say.
    unsafe {
        let mut a = [vdupq_n_s32(0); 16];
        asm!(
            each_run!(),
            "mov {xa}, {run}",
            for_two!("add {xb}, {run}, {step}"),
            "movi v17.2d, #0",
            "movi v19.2d, #0",
            "movi v28.2d, #0",
            "movi v29.2d, #0",
            "movi v30.2d, #0",
            "movi v31.2d, #0",
            "cbz {fours}, 5f",
            "mov {n}, {fours}",
            "4:", // four groups
            "ldr q26, [{xa}]",
            for_two!("ldr q27, [{xb}]"),
            groups!(0, 0 1),
            groups!(128, 2 3),
            "add {xa}, {xa}, #16",
            for_two!("add {xb}, {xb}, #16"),
            "add {w}, {w}, #256",
            "subs {n}, {n}, #1",
            "b.ne 4b",
            "5:",
            "tbz {rest}, #1, 6f",
            "ldr d26, [{xa}], #8",
            for_two!("ldr d27, [{xb}], #8"),
            groups!(0, 0 1),
            "add {w}, {w}, #128",
            "6:", // what is still on its way
            drain!(),
            "tbz {rest}, #0, 7f",
            "ldp q20, q21, [{w}], #64", // a group that is left over
            "ld1r {{v16.4s}}, [{xa}]",
            for_two!("ld1r {{v18.4s}}, [{xb}]"),
            "ldp q22, q23, [{w}, #-32]",
            alone!(16, 0 1 2 3 4 5 6 7),
            for_two!(alone!(18, 8 9 10 11 12 13 14 15)),
            "7:",
            next_run!(),
            pixels = const P,
            row = inout(reg) reads.at(t.row, t.pixel) => _,
            run = out(reg) _,
            xa = out(reg) _,
            xb = out(reg) _,
            step = in(reg) reads.step(&t, 1),
            w = inout(reg) reads.weights(t.panel) => _,
            rows = inout(reg) taps.rows => _,
            cols = out(reg) _,
            n = out(reg) _,
            all_cols = in(reg) taps.cols,
            fours = in(reg) taps.groups / 4,
            rest = in(reg) taps.groups % 4,
            tap_row = in(reg) reads.tap_row,
            tap_col = in(reg) reads.tap_col,
            inout("v0") a[0], inout("v1") a[1], inout("v2") a[2], inout("v3") a[3],
            inout("v4") a[4], inout("v5") a[5], inout("v6") a[6], inout("v7") a[7],
            inout("v8") a[8], inout("v9") a[9], inout("v10") a[10], inout("v11") a[11],
            inout("v12") a[12], inout("v13") a[13], inout("v14") a[14], inout("v15") a[15],
            out("v16") _, out("v17") _, out("v18") _, out("v19") _, out("v20") _, out("v21") _, out("v22") _, out("v23") _,
            out("v24") _, out("v25") _, out("v26") _, out("v27") _, out("v28") _, out("v29") _, out("v30") _, out("v31") _,
            options(readonly, nostack),
        );
        a
    }
}

/// The bytes of a tap in registers `$x` and `$y`, its line from register `$a` on; and on to the next run: its row goes on, or the row below begins.
macro_rules! tap {
    ($x:literal $y:literal, $a:literal $b:literal $c:literal $d:literal) => {
        concat!(
            "ld1 {{v",
            $a,
            ".16b, v",
            $b,
            ".16b, v",
            $c,
            ".16b, v",
            $d,
            ".16b}}, [{w}], {lines}\n",
            only!(1, concat!("ldr q", $y, ", [{run}, {pixel}]\n")),
            "ld1 {{v",
            $x,
            ".16b}}, [{run}], {tap_col}\nsubs {cols}, {cols}, #1\nb.ne 4f\n",
            "add {row}, {row}, {tap_row}\nmov {run}, {row}\nmov {cols}, {all_cols}\n4:\n",
        )
    };
}

/// Four registers of products, of one pixel with two registers of weights: a step of each.
macro_rules! four {
    (first $w:literal $v:literal $x:literal) => {
        concat!(first!(16 $w $x low), first!(17 $w $x high), first!(18 $v $x low), first!(19 $v $x high))
    };
    (second $w:literal $v:literal $x:literal) => {
        concat!(second!(16 $w $x low), second!(17 $w $x high), second!(18 $v $x low), second!(19 $v $x high))
    };
    (add $s:literal $t:literal $u:literal $v:literal) => {
        concat!(add!($s 16), add!($t 17), add!($u 18), add!($v 19))
    };
}

/// A pixel's products of two taps.
macro_rules! two_taps {
    ($x:literal $y:literal, $a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal) => {
        concat!(
            four!(first 20 21 $x), four!(second 28 29 $y), four!(add $a $b $c $d),
            four!(first 22 23 $x), four!(second 30 31 $y), four!(add $e $f $g $h),
        )
    };
}

/// A pixel's products of a tap.
macro_rules! one_tap {
    ($x:literal, $a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal) => {
        concat!(four!(first 20 21 $x), four!(add $a $b $c $d), four!(first 22 23 $x), four!(add $e $f $g $h))
    };
}

/// Sums of even and of odd pairs of depths together.
macro_rules! together {
    ($($to:literal <- $a:literal $b:literal),*) => {
        concat!($("addp v", $to, ".4s, v", $a, ".4s, v", $b, ".4s\n",)*)
    };
}

impl Side for Pairs {
    const PIXELS: usize = 2;

    unsafe fn panel(to: &mut Panel, first: Sums, multipliers: Sums, narrow: Narrow) {
        // SAFETY: as the caller's.
        unsafe {
            let lines = if narrow == Narrow::Four { [first; 2] } else { spread(first) };
            // A word is two sums again, one register after the other.
            let [[a, b], [c, d]] = lines.map(|line| {
                let [even, odd] = spread(line);
                [[even[0], odd[0], even[1], odd[1]], [even[2], odd[2], even[3], odd[3]]]
            });
            (to.first, to.multipliers[0]) = ([a, b, c, d], multipliers);
        }
    }

    /// Products of two taps meet in 16 bits.
    #[inline(always)]
    unsafe fn tiles<const P: usize>(field: &mut Field) {
        // SAFETY: as the caller's.
        unsafe {
            asm!(
                tiles!(
                    "ldr {all_cols}, [{field}, #8]\n",
                    concat!(
                        load!(0 1 2 3),
                        only!(1, load!(8 9 10 11)),
                        "add {first}, {first}, #64\n",
                        load!(4 5 6 7),
                        only!(1, load!(12 13 14 15)),
                        "sub {first}, {first}, #64\n",
                        "mov {row}, {at}\nmov {run}, {at}\nmov {cols}, {all_cols}\nldr {n}, [{field}]\nmul {n}, {n}, {all_cols}\nsubs {n}, {n}, #2\nb.lo 6f\n",
                        "5:\n",
                        tap!(24 25, 20 21 22 23),
                        tap!(26 27, 28 29 30 31),
                        two_taps!(24 26, 0 1 2 3 4 5 6 7),
                        only!(1, two_taps!(25 27, 8 9 10 11 12 13 14 15)),
                        "subs {n}, {n}, #2\nb.hs 5b\n",
                        "6:\ntbz {n}, #0, 7f\n", // a tap that is left over
                        tap!(24 25, 20 21 22 23),
                        one_tap!(24, 0 1 2 3 4 5 6 7),
                        only!(1, one_tap!(25, 8 9 10 11 12 13 14 15)),
                        "7:\nmovi v27.16b, #128\n",
                        together!(0 <- 0 1, 1 <- 2 3, 2 <- 4 5, 3 <- 6 7),
                        only!(1, together!(4 <- 8 9, 5 <- 10 11, 6 <- 12 13, 7 <- 14 15)),
                    ),
                    "",
                    128
                ),
                pixels = const P,
                field = in(reg) field,
                tap_row = out(reg) _, tap_col = out(reg) _, pixel = out(reg) _, out_pixel = out(reg) _, tile = out(reg) _, out_tile = out(reg) _,
                tiles = out(reg) _, at = out(reg) _, out = out(reg) _, line = out(reg) _, lines = out(reg) _, mode = out(reg) _, first = out(reg) _,
                w = out(reg) _, x = out(reg) _, row = out(reg) _, run = out(reg) _, n = out(reg) _, cols = out(reg) _, all_cols = out(reg) _,
                out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _, out("v6") _, out("v7") _,
                out("v8") _, out("v9") _, out("v10") _, out("v11") _, out("v12") _, out("v13") _, out("v14") _, out("v15") _,
                out("v16") _, out("v17") _, out("v18") _, out("v19") _, out("v20") _, out("v21") _, out("v22") _, out("v23") _,
                out("v24") _, out("v25") _, out("v26") _, out("v27") _, out("v28") _, out("v29") _, out("v30") _, out("v31") _,
                options(nostack),
            );
        }
    }
}
