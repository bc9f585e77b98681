//! 64-bit ARM as every such CPU has it (Cortex-A53, A57, A72): SMULL and SMLAL of two depths each into 16 bits, SADALP of their pairs into the sums.

#![expect(unsafe_code, reason = "the loop is written in assembly inside the bounds that a block was checked for")]

use super::arm64::{self, Dot, Side, Sums, each_run, next_run};
use super::raw::{Reads, Tile};
use super::{Set, Table, peak};
use core::arch::aarch64::{int32x4_t, vaddq_s32, vdupq_n_s32, vpaddq_s32};
use core::arch::asm;

pub(super) static TABLE: Table = arm64::table::<Pairs, Pairs, 2>(Set::Neon, peak::neon);

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

/// The next run: its row goes on, or the row below begins. `$label` is a number of its own.
macro_rules! advance {
    ($label:literal) => {
        concat!(
            "add {run}, {run}, {tap_col}\nsubs {cols}, {cols}, #1\nb.ne ",
            $label,
            "f\n",
            "add {row}, {row}, {tap_row}\nmov {run}, {row}\nmov {cols}, {all_cols}\n",
            $label,
            ":\n",
        )
    };
}

/// Four registers of products, of one pixel with two registers of weights: a step of each.
macro_rules! four {
    (first $a:literal $b:literal $c:literal $d:literal, $w:literal $v:literal $x:literal) => {
        concat!(first!($a $w $x low), first!($b $w $x high), first!($c $v $x low), first!($d $v $x high))
    };
    (second $a:literal $b:literal $c:literal $d:literal, $w:literal $v:literal $x:literal) => {
        concat!(second!($a $w $x low), second!($b $w $x high), second!($c $v $x low), second!($d $v $x high))
    };
    (add $a:literal $b:literal $c:literal $d:literal, $s:literal $t:literal $u:literal $v:literal) => {
        concat!(add!($s $a), add!($t $b), add!($u $c), add!($v $d))
    };
}

/// Half of the lines of two taps, for both pixels; their sums.
macro_rules! half_lines {
    ($at:literal, $a:literal $b:literal $c:literal $d:literal, $e:literal $f:literal $g:literal $h:literal) => {
        concat!(
            "ldp q20, q21, [{w}, #", $at, "]\nldp q22, q23, [{next}, #", $at, "]\n",
            four!(first 16 17 18 19, 20 21 24), four!(first 28 29 30 31, 20 21 26),
            four!(second 16 17 18 19, 22 23 25), four!(second 28 29 30 31, 22 23 27),
            four!(add 16 17 18 19, $a $b $c $d), four!(add 28 29 30 31, $e $f $g $h),
        )
    };
}

impl Side<2> for Pairs {
    /// Products of two taps meet in 16 bits; an odd last tap meets zeros.
    #[inline(always)]
    unsafe fn sums<const LINES: usize>(first: Sums, reads: &Reads, at: *const u8, steps: &[[usize; 2]; 2], line: *const u8) -> [Sums; 2] {
        // SAFETY: every tap has its bytes and its line.
        unsafe {
            let mut a = [vdupq_n_s32(0); 16];
            asm!(
                "mov {run}, {row}",
                "mov {cols}, {all_cols}",
                "2:",
                "ldr q24, [{run}]",
                "ldr q26, [{run}, {step}]",
                advance!(3),
                "movi v25.2d, #0",
                "movi v27.2d, #0",
                "mov {next}, {w}",
                "subs {n}, {n}, #1",
                "b.eq 5f",
                "ldr q25, [{run}]",
                "ldr q27, [{run}, {step}]",
                "add {next}, {w}, #{lines}",
                "sub {n}, {n}, #1",
                advance!(4),
                "5:",
                half_lines!(0, 0 1 2 3, 8 9 10 11),
                half_lines!(32, 4 5 6 7, 12 13 14 15),
                "add {w}, {next}, #{lines}",
                "cbnz {n}, 2b",
                lines = const LINES * 64,
                row = inout(reg) at => _,
                run = out(reg) _,
                step = in(reg) steps[1][0],
                w = inout(reg) line => _,
                next = out(reg) _,
                n = inout(reg) reads.taps.rows * reads.taps.cols => _,
                cols = out(reg) _,
                all_cols = in(reg) reads.taps.cols,
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
            core::array::from_fn(|p| core::array::from_fn(|q| vaddq_s32(first[q], vpaddq_s32(a[8 * p + 2 * q], a[8 * p + 2 * q + 1]))))
        }
    }
}
