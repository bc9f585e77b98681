//! The kernels, one file per instruction set, behind one table.
//!
//! A kernel computes a block of output rows and knows nothing of plans, files or threads. Every set returns the bits of the file `scalar`, which is the
//! reference and the fallback. Owning a [`Kernels`] value is the proof that the CPU has the set's instructions.
//!
//! A set keeps the bytes of U8 tensors as the instructions want them: as they are, or XOR 0x80 as signed bytes ([`Kernels::flip`]). What leaves the tensors is
//! turned back, so that every set shows the same bytes.

pub(crate) mod copy;
mod detect;
mod peak;
mod scalar;

#[cfg(arm64)]
mod arm64;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512vnni;
#[cfg(target_arch = "x86_64")]
mod avxvnni;
#[cfg(arm64)]
mod dotprod;
#[cfg(arm64)]
mod i8mm;
#[cfg(arm64)]
mod neon;
#[cfg(neon32)]
mod neon32;
#[cfg(any(target_arch = "x86_64", arm64, neon32))]
#[expect(dead_code, reason = "each architecture takes its part")]
mod raw;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use peak::cycles as cycles_loop;

use crate::pack::{LANES, Narrow, Taps};
use crate::quant::DataType;
use core::fmt;

/// A kernel set, named after the instructions it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Set {
    /// Portable Rust.
    Scalar,
    /// x86 with AVX2.
    Avx2,
    /// x86 with AVX-VNNI (256-bit dot products without AVX-512).
    AvxVnni,
    /// x86 with AVX512-VNNI (and AVX512 F, BW, VL).
    Avx512Vnni,
    /// 32-bit ARM with NEON, in builds for ARMv7.
    Neon32,
    /// 64-bit ARM with what every such CPU has.
    Neon,
    /// 64-bit ARM with the dot product.
    Dotprod,
    /// 64-bit ARM with the matrix product (and the dot product).
    I8mm,
}

impl Set {
    /// Every set that this version knows, the portable one first, then from slow to fast for each architecture.
    pub const ALL: [Self; 8] = [Self::Scalar, Self::Avx2, Self::AvxVnni, Self::Avx512Vnni, Self::Neon32, Self::Neon, Self::Dotprod, Self::I8mm];

    /// The sets that this build has, the portable one first, then from slow to fast. A CPU need not have them all.
    #[must_use = "the iterator does nothing by itself"]
    pub fn built() -> impl DoubleEndedIterator<Item = Self> {
        TABLES.iter().map(|t| t.set)
    }

    /// The name as on the command line and in the file names.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::AvxVnni => "avxvnni",
            Self::Avx512Vnni => "avx512vnni",
            Self::Neon32 => "neon32",
            Self::Neon => "neon",
            Self::Dotprod => "dotprod",
            Self::I8mm => "i8mm",
        }
    }

    /// The set of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The kernels of one set, on a CPU that has its instructions.
#[derive(Clone, Copy)]
pub struct Kernels {
    table: &'static Table,
}

/// One row of the table of kernels.
///
/// Each function may only be called on a CPU with the instructions of `set`; beyond that they are safe.
pub(crate) struct Table {
    set: Set,
    /// See [`Kernels::flip`].
    flip: u8,
    conv: unsafe fn(&mut ConvBlock<'_>),
    /// A convolution of narrow groups.
    narrow: unsafe fn(&mut ConvBlock<'_>, Narrow),
    max_pool: unsafe fn(&mut PoolRow<'_>),
    average_pool: unsafe fn(&mut PoolRow<'_>, Average<'_>),
    add: unsafe fn(&mut AddRow<'_>),
    /// `table[x]` for each byte.
    lookup: unsafe fn(&[u8; 256], &[u8], &mut [u8]),
    lines: unsafe fn(&mut LineRow<'_>),
    peak: unsafe fn(u64) -> u64,
}

/// The sets that this build has, from slow to fast.
static TABLES: &[&Table] = &[
    &scalar::TABLE,
    #[cfg(target_arch = "x86_64")]
    &avx2::TABLE,
    #[cfg(target_arch = "x86_64")]
    &avxvnni::TABLE,
    #[cfg(target_arch = "x86_64")]
    &avx512vnni::TABLE,
    #[cfg(neon32)]
    &neon32::TABLE,
    #[cfg(arm64)]
    &neon::TABLE,
    #[cfg(arm64)]
    &dotprod::TABLE,
    #[cfg(arm64)]
    &i8mm::TABLE,
];

impl fmt::Debug for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kernels({})", self.set())
    }
}

#[expect(unsafe_code, reason = "a kernel of a set is only called through the value that proves the set is there")]
impl Kernels {
    /// The kernels of `set`, or `None` if this CPU or this build lacks them.
    #[must_use]
    pub fn for_set(set: Set) -> Option<Self> {
        TABLES.iter().find(|t| t.set == set && detect::has(set)).map(|table| Self { table })
    }

    /// The fastest kernels that this CPU has.
    #[must_use]
    pub fn detect() -> Self {
        TABLES.iter().rev().find(|t| detect::has(t.set)).map_or_else(Self::scalar, |table| Self { table })
    }

    /// The fastest kernels that every CPU of the target has, without asking the CPU.
    #[must_use]
    pub fn baseline() -> Self {
        TABLES.iter().rev().find(|t| detect::guaranteed(t.set)).map_or_else(Self::scalar, |table| Self { table })
    }

    /// The portable kernels.
    #[must_use]
    pub fn scalar() -> Self {
        Self { table: &scalar::TABLE }
    }

    /// Every set of this build that this CPU has, the portable one first.
    #[must_use = "the iterator does nothing by itself"]
    pub fn all() -> impl DoubleEndedIterator<Item = Self> {
        TABLES.iter().filter(|t| detect::has(t.set)).map(|table| Self { table })
    }

    /// The kernels of [`Set::AvxVnni`] with the dot product of [`Set::Avx512Vnni`], so that tests run their bodies where only that is there.
    #[cfg(target_arch = "x86_64")]
    #[doc(hidden)]
    #[must_use]
    pub fn avxvnni_twin() -> Option<Self> {
        detect::has(Set::Avx512Vnni).then_some(Self { table: &avxvnni::TWIN })
    }

    /// Which set this is.
    #[must_use]
    pub const fn set(self) -> Set {
        self.table.set
    }

    /// What this set XORs to each byte of a U8 tensor when it stores it: 0, or 0x80 where the instructions multiply signed bytes.
    #[must_use]
    pub const fn flip(self) -> u8 {
        self.table.flip
    }

    /// Turns the bytes of a tensor from the definition's form to the one that this set stores, and back.
    pub fn flip_tensor(self, kind: DataType, bytes: &mut [u8]) {
        if matches!(kind, DataType::U8) && self.flip() != 0 {
            bytes.iter_mut().for_each(|b| *b ^= self.flip());
        }
    }

    /// Computes a block of a convolution.
    pub fn conv(self, block: &mut ConvBlock<'_>) {
        // SAFETY: `self` exists, so the CPU has the set's instructions.
        unsafe {
            match block.narrow {
                None => (self.table.conv)(block),
                Some(narrow) => (self.table.narrow)(block, narrow),
            }
        }
    }

    /// Computes a row of a max pool.
    pub fn max_pool(self, row: &mut PoolRow<'_>) {
        // SAFETY: as above.
        unsafe { (self.table.max_pool)(row) }
    }

    /// Computes a row of an average pool.
    pub fn average_pool(self, row: &mut PoolRow<'_>, average: Average<'_>) {
        // SAFETY: as above.
        unsafe { (self.table.average_pool)(row, average) }
    }

    /// Adds two tensors.
    pub fn add(self, row: &mut AddRow<'_>) {
        // SAFETY: as above.
        unsafe { (self.table.add)(row) }
    }

    /// `table[x]` for each byte of `x`, as many as `out` has.
    pub fn lookup(self, table: &[u8; 256], x: &[u8], out: &mut [u8]) {
        // SAFETY: as above.
        unsafe { (self.table.lookup)(table, x, out) }
    }

    /// Looks values of S16 up on lines.
    pub fn lines(self, row: &mut LineRow<'_>) {
        // SAFETY: as above.
        unsafe { (self.table.lines)(row) }
    }

    /// What `work` returns, its loops compiled with AVX2 where the set has it. Floating-point operations stay those of the source, in their order: the same bits on
    /// every set.
    #[inline(always)]
    pub fn vectorized<R>(self, work: impl FnOnce() -> R) -> R {
        match self.set() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above; each of these sets has AVX2.
            Set::Avx2 | Set::AvxVnni | Set::Avx512Vnni => unsafe { avx2::vectorized(work) },
            _ => apart(work),
        }
    }

    /// Does the set's multiply-accumulate in registers only, `iterations` times a few, and returns how many products that were: timed, it gives the peak.
    #[must_use]
    pub fn peak_loop(self, iterations: u64) -> u64 {
        // SAFETY: as above.
        unsafe { (self.table.peak)(iterations) }
    }
}

/// Calls `work` in a function of its own: inlined into other loops it would be taken apart.
#[inline(never)]
fn apart<R>(work: impl FnOnce() -> R) -> R {
    work()
}

/// Bytes that a convolution reads, with the distances between them.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The bytes; the first run of the first output pixel begins at 0. They are unsigned, S8 values XOR 0x80, where [`Kernels::flip`] is 0, and signed, U8
    /// values XOR 0x80, where it is 0x80.
    pub bytes: &'a [u8],
    /// Bytes from one output row to the next.
    pub out_row: usize,
    /// Bytes from one output pixel to the next.
    pub out_pixel: usize,
    /// Bytes from one run to the one below it.
    pub tap_row: usize,
    /// Bytes from one run to the one beside it.
    pub tap_col: usize,
    /// True if the values are S8, false if they are U8. Where the bytes are XORed, the sums of the weights correct the accumulators.
    pub signed: bool,
}

impl Source<'_> {
    /// Bytes that `rows` by `pixels` outputs read; `usize::MAX`, which no slice has, if they are more than can be counted.
    #[must_use]
    pub const fn reach(&self, taps: &Taps, rows: usize, pixels: usize) -> usize {
        let run = taps.groups.saturating_mul(4);
        reach(&[(rows, self.out_row), (pixels, self.out_pixel), (taps.rows, self.tap_row), (taps.cols, self.tap_col)], run)
    }
}

/// Bytes from the first of things to the end of the last, which is `last` bytes long: how many there are, at least one, and how far they lie apart, dimension by
/// dimension. `usize::MAX` if they are more than can be counted.
const fn reach(dimensions: &[(usize, usize)], last: usize) -> usize {
    let (mut total, mut i) = (last, 0);
    while i < dimensions.len() {
        let (count, distance) = dimensions[i];
        total = total.saturating_add(count.saturating_sub(1).saturating_mul(distance));
        i += 1;
    }
    total
}

/// The second operand of a convolution.
#[derive(Clone, Copy)]
pub enum BlockSecond<'a> {
    /// There is none: `acc = bias + sum`.
    None,
    /// A tensor added with the factor K2: `acc = bias + sum + K2·skip`.
    Skip {
        /// The bytes as the set stores them; channel `-first` of the first pixel lies at 0.
        bytes: &'a [u8],
        /// Bytes from one output row to the next.
        out_row: usize,
        /// Bytes from one output pixel to the next.
        out_pixel: usize,
        /// Channel of the skip that meets lane 0 of the block; negative where channels were padded in front.
        first: isize,
        /// Channels of the skip; lanes that meet none of them take 0.
        channels: usize,
        /// Type of the skip: U8, S8 or S16.
        kind: DataType,
    },
    /// Another convolution: `acc = bias + K1·sum + K2·sum2`.
    Projection {
        /// What it reads; its runs count from the same output pixels.
        source: Source<'a>,
        /// Its depth.
        taps: Taps,
        /// Its packed weights, panel by panel.
        weights: &'a [[u8; 64]],
    },
}

/// One call of the convolution kernel: `rows` by `pixels` output pixels, all panels of `params`.
pub struct ConvBlock<'a> {
    /// What is read.
    pub source: Source<'a>,
    /// The depth.
    pub taps: Taps,
    /// Narrow groups, if the block has such: each panel then reads 16 bytes of a run, next to those of the panel before, and nothing is added.
    pub narrow: Option<Narrow>,
    /// Packed weights, -127 to 127: `taps.total()` cache lines a panel.
    pub weights: &'a [[u8; 64]],
    /// Rows of 16 little-endian words, [`crate::pack::params::rows`] a panel.
    pub params: &'a [[u8; 64]],
    /// What is added.
    pub second: BlockSecond<'a>,
    /// True if the weights keep the rule of [`crate::format::proof`] that makes `vpmaddubsw` exact.
    pub pair_safe: bool,
    /// Output rows.
    pub rows: usize,
    /// Output pixels of a row.
    pub pixels: usize,
    /// Where the results go, as the set stores them; lane 0 of the first pixel lies at 0.
    pub out: &'a mut [u8],
    /// Bytes from one output row to the next.
    pub out_row: usize,
    /// Bytes from one output pixel to the next.
    pub out_pixel: usize,
    /// Channels that are written, a multiple of 4 (padding channels included).
    pub channels: usize,
    /// Type of the results.
    pub kind: DataType,
}

impl ConvBlock<'_> {
    /// Panels of the block.
    #[must_use]
    pub const fn panels(&self) -> usize {
        self.channels.div_ceil(LANES)
    }

    /// Rows of `params` a panel.
    #[must_use]
    pub const fn param_rows(&self) -> usize {
        crate::pack::params::rows(matches!(self.second, BlockSecond::Skip { .. }), matches!(self.second, BlockSecond::Projection { .. }))
    }

    /// Bytes of the source that it reads.
    const fn reach(&self) -> usize {
        match self.narrow {
            None => self.source.reach(&self.taps, self.rows, self.pixels),
            Some(_) => self.source.reach(&Taps { groups: LANES / 4 * self.panels(), ..self.taps }, self.rows, self.pixels),
        }
    }

    /// Panics if the block would read or write outside its slices: kernels call it once and then rely on it.
    pub(crate) fn check(&self) {
        let (rows, pixels, panels) = (self.rows, self.pixels, self.panels());
        let lines = |taps: &Taps| panels.saturating_mul(taps.rows).saturating_mul(taps.cols).saturating_mul(taps.groups);
        assert!(rows > 0 && pixels > 0 && self.channels > 0 && self.channels.is_multiple_of(4) && lines(&self.taps) > 0);
        assert!(self.source.bytes.len() >= self.reach());
        if let Some(narrow) = self.narrow {
            assert!(self.taps.groups == narrow.lines() && self.channels.is_multiple_of(LANES) && matches!(self.second, BlockSecond::None));
        }
        assert!(self.weights.len() >= lines(&self.taps) && self.params.len() >= panels.saturating_mul(self.param_rows()));
        assert!(self.out.len() >= reach(&[(rows, self.out_row), (pixels, self.out_pixel)], self.channels.saturating_mul(self.kind.bytes())));
        match self.second {
            BlockSecond::None => {}
            BlockSecond::Skip { bytes, out_row, out_pixel, channels, kind, .. } => {
                assert!(!matches!(kind, DataType::I32) && bytes.len() >= reach(&[(rows, out_row), (pixels, out_pixel)], channels.saturating_mul(kind.bytes())));
            }
            BlockSecond::Projection { source, taps, weights } => {
                assert!(lines(&taps) > 0 && source.bytes.len() >= source.reach(&taps, rows, pixels));
                assert!(weights.len() >= lines(&taps));
            }
        }
    }
}

/// One row of a pool's output, `[pixels][channels]` of bytes, U8 or S8, in and out as the set stores them.
pub struct PoolRow<'a> {
    /// The input from the first row that the windows see, border left out.
    pub source: &'a [u8],
    /// Bytes from one row of the window to the next, and how many rows it has.
    pub rows: (usize, usize),
    /// Bytes from one input pixel to the next, and how many pixels an input row has.
    pub cols: (usize, usize),
    /// Kernel width, horizontal stride, horizontal dilation and left padding.
    pub horizontal: [usize; 4],
    /// The first output pixel to compute.
    pub first: usize,
    /// Output pixels to compute.
    pub pixels: usize,
    /// Where the results go; the first pixel lies at 0.
    pub out: &'a mut [u8],
    /// Bytes from one output pixel to the next.
    pub out_pixel: usize,
    /// Channels, a multiple of 4.
    pub channels: usize,
    /// True for S8, false for U8, in and out.
    pub signed: bool,
}

/// How an average pool divides: `rdm(sum << p, multipliers[n - 1])`, n the number of pixels that are counted.
#[derive(Clone, Copy)]
pub struct Average<'a> {
    /// One little-endian word for each possible n.
    pub multipliers: &'a [[u8; 4]],
    /// Binary places by which the sum is shifted left.
    pub p: u32,
    /// n where it is the same everywhere because the border counts, else `None`: the pixels inside the picture.
    pub count: Option<usize>,
}

/// One run of an element-wise addition `rdm((bias + K1·x + K2·y) << p, M)` of tensors as the set stores them.
pub struct AddRow<'a> {
    /// First operand, `[pixels][channels]`, and the bytes from one pixel to the next.
    pub x: (&'a [u8], usize),
    /// Second operand.
    pub y: (&'a [u8], usize),
    /// Types of the operands: U8, S8 or S16.
    pub kinds: [DataType; 2],
    /// Rows of 16 words, 5 a panel: bias, (unused), M, K2, K1.
    pub params: &'a [[u8; 64]],
    /// Binary places by which the sum is shifted left before it is rounded.
    pub p: u32,
    /// Where the results go, and the bytes from one pixel to the next.
    pub out: (&'a mut [u8], usize),
    /// Pixels.
    pub pixels: usize,
    /// Channels, a multiple of 4.
    pub channels: usize,
    /// Type of the results.
    pub kind: DataType,
}

/// A run of `clamp((begin + slope·(x & 255)) >> shift)` of S16 values `x`, begin and slope those of line `(x + 32768) >> 8`.
pub struct LineRow<'a> {
    /// Begin and slope of each line.
    pub lines: &'a [[i32; 2]; 256],
    /// Binary places that are dropped.
    pub shift: u32,
    /// The values.
    pub x: &'a [u8],
    /// Where the results go.
    pub out: &'a mut [u8],
    /// Their type: U8, S8 or S16.
    pub kind: DataType,
    /// What is XORed to results of bytes.
    pub flip: u8,
}

/// The 16 words of row `row` of a panel's parameters.
#[inline(always)]
pub(crate) fn words(line: &[u8; 64]) -> [i32; 16] {
    let (words, _) = line.as_chunks::<4>();
    core::array::from_fn(|i| i32::from_le_bytes(words[i]))
}
