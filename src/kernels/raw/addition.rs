//! Additions as the vector sets compute them: panel by panel over many pixels, with the parameters made ready once.

use super::{Job, PIECE, Reads, Second, fits};
use crate::kernels::{AddRow, reach, scalar};
use crate::pack::{LANES, Taps, params};
use crate::quant::DataType;
use core::ops::Range;

/// An operand of an addition as raw pointers, which stay inside its slice for what a body is called with.
#[derive(Clone, Copy)]
pub struct Operand {
    bytes: *const u8,
    /// Bytes from one pixel to the next.
    pub pixel: usize,
    pub kind: DataType,
}

impl Operand {
    const fn new(&(bytes, pixel): &(&[u8], usize), kind: DataType) -> Self {
        Self { bytes: bytes.as_ptr(), pixel, kind }
    }

    /// The 16 channels of a panel.
    #[inline(always)]
    pub const fn at(&self, pixel: usize, panel: usize) -> *const u8 {
        self.bytes.wrapping_add(pixel * self.pixel + panel * LANES * self.kind.bytes())
    }

    /// How many pixels have 16 readable elements from that channel on.
    fn whole(&(bytes, pixel): &(&[u8], usize), kind: DataType, channel: usize) -> usize {
        bytes.len().checked_sub((channel + LANES) * kind.bytes()).map_or(0, |spare| spare / pixel.max(1) + 1)
    }

    /// True if it is S16.
    #[inline(always)]
    pub const fn wide(&self) -> bool {
        matches!(self.kind, DataType::S16)
    }
}

/// An addition as raw pointers.
pub struct Addition {
    /// Where the results go, with the multipliers that round the sums.
    pub job: Job,
    pub x: Operand,
    pub y: Operand,
    /// Binary places by which a sum is shifted left before it is rounded, less than 16.
    pub p: u32,
}

/// Computes a run for a set that stores U8 XOR `flip`. `body` computes the pixels of a panel, at least one; 16 elements of each may be read.
#[inline(always)]
pub fn add(row: &mut AddRow<'_>, flip: u8, body: impl Fn(&Addition, usize, Range<usize>)) {
    let (pixels, channels, panels) = (row.pixels, row.channels, row.channels.div_ceil(LANES));
    assert!(channels.is_multiple_of(4) && row.params.len() >= panels * params::ADD_ROWS);
    let [kind_x, kind_y] = row.kinds;
    for (length, pixel, kind) in [(row.x.0.len(), row.x.1, kind_x), (row.y.0.len(), row.y.1, kind_y), (row.out.0.len(), row.out.1, row.kind)] {
        assert!(length >= reach(&[(pixels, pixel)], channels * kind.bytes()));
    }
    if pixels == 0 || channels == 0 {
        return;
    }
    if !plain(row) {
        return scalar::add(row, flip);
    }
    let addition = Addition { job: Job::rounding(row), x: Operand::new(&row.x, kind_x), y: Operand::new(&row.y, kind_y), p: row.p };
    let tail = (panels - 1) * LANES;
    let whole = Operand::whole(&row.x, kind_x, tail).min(Operand::whole(&row.y, kind_y, tail)).min(pixels);
    let second = if row.x.0.as_ptr() == row.y.0.as_ptr() { 0 } else { row.y.1 };
    let piece = (PIECE / (row.x.1 + second + row.out.1).max(1)).next_multiple_of(4).max(4);
    for start in (0..pixels).step_by(piece) {
        for index in 0..panels {
            let end = (start + piece).min(if index + 1 == panels { whole } else { pixels });
            if start < end {
                body(&addition, index, start..end);
            }
        }
    }
    if whole < pixels {
        let out = &mut row.out.0[whole * row.out.1 + tail * row.kind.bytes()..];
        let mut rest = AddRow {
            x: (&row.x.0[whole * row.x.1 + tail * kind_x.bytes()..], row.x.1),
            y: (&row.y.0[whole * row.y.1 + tail * kind_y.bytes()..], row.y.1),
            params: &row.params[(panels - 1) * params::ADD_ROWS..],
            out: (out, row.out.1),
            pixels: pixels - whole,
            channels: channels - tail,
            ..*row
        };
        scalar::add(&mut rest, flip);
    }
}

/// True if the doubles of all multipliers fit into 32 bits and the shifted factors into 16, as a converter sees to it.
fn plain(row: &AddRow<'_>) -> bool {
    let panel = |p: &[[u8; 64]]| fits(&p[params::MULTIPLIER], 31) && [params::K1, params::K2].iter().all(|&k| row.p < 16 && fits(&p[k], 16 - row.p));
    row.params.chunks_exact(params::ADD_ROWS).take(row.channels.div_ceil(LANES)).all(panel)
}

impl Addition {
    /// Where an operand is of a type.
    pub fn are(&self, kind: DataType) -> [bool; 2] {
        [self.x.kind == kind, self.y.kind == kind]
    }
}

#[cfg(target_arch = "x86_64")]
impl Addition {
    /// What is XORed to the operands' bytes where they are read as unsigned ones.
    pub fn flips(&self) -> [i8; 2] {
        self.are(DataType::S8).map(|s| if s { i8::MIN } else { 0 })
    }
}

impl Job {
    /// Output and multipliers of an addition, as a convolution that reads nothing.
    fn rounding(row: &mut AddRow<'_>) -> Self {
        let taps = Taps { rows: 0, cols: 0, groups: 0 };
        let nothing = Reads {
            bytes: core::ptr::null(),
            out_row: 0,
            out_pixel: 0,
            tap_row: 0,
            tap_col: 0,
            taps,
            weights: core::ptr::null(),
            panel: 0,
            signed: false,
            many: false,
            jump: 0,
        };
        Self {
            main: nothing,
            second: Second::None,
            params: row.params.as_ptr().cast(),
            param_bytes: params::ADD_ROWS * 64,
            rows: 1,
            pixels: row.pixels,
            panels: row.channels.div_ceil(LANES),
            narrow: None,
            out: row.out.0.as_mut_ptr(),
            out_row: 0,
            out_pixel: row.out.1,
            jump: 0,
            channels: row.channels,
            kind: row.kind,
            plain: true,
            wide: matches!(row.kind, DataType::S16),
        }
    }
}
