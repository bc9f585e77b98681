//! The one layout of weights: `[panel][depth/4][16 outputs][4 depth]`, written by the converter and read in place by every kernel.
//!
//! A panel is 16 output channels (lanes). Depth runs over kernel rows, kernel columns and input channels; four neighbours in depth form a group,
//! so that each 32-bit word holds four depths of one output and each group of a panel is one cache line of 64 bytes.
//! The input channels of a tensor are padded to a multiple of 4. A picture has no padding channels: there the taps of one kernel row lie side by side,
//! and the row as a whole is padded.
//!
//! A convolution in groups has the panels of each group one after the other. Narrow groups ([`Narrow`]) lie side by side in a panel instead.

use crate::shape::{LINE, Window, round_up};

/// Output channels of a panel.
pub const LANES: usize = 16;

/// Panels that `channels` outputs need.
#[must_use]
pub const fn panels(channels: usize) -> usize {
    channels.div_ceil(LANES)
}

/// How a kernel's taps are laid out in depth: `rows` times `cols` runs of `groups` groups. A run is read from adjacent bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taps {
    /// Runs from top to bottom: the kernel's height.
    pub rows: usize,
    /// Runs side by side: 1 where a whole kernel row lies in adjacent bytes, else the kernel's width.
    pub cols: usize,
    /// Groups of 4 bytes in a run, each with its line of weights. Of [`Narrow`] groups a panel reads 16 bytes in a run, and this is how many lines they have.
    pub groups: usize,
}

impl Taps {
    /// Groups in the whole depth.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.rows * self.cols * self.groups
    }
}

/// The depth of a convolution: which position a weight has in its panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    kernel: [usize; 2],
    /// Bytes from one tap of a kernel row to the next.
    tap: usize,
    /// Bytes of a kernel row, a multiple of 4.
    row: usize,
}

impl Depth {
    /// The depth of `window` over `stored` channels (a multiple of 4, or a picture's).
    #[must_use]
    pub const fn new(window: &Window, stored: usize) -> Self {
        let kernel = [window.kernel[0] as usize, window.kernel[1] as usize];
        let tap = if window.dilation[1] == 1 { stored } else { round_up(stored, 4) };
        Self { kernel, tap, row: round_up(kernel[1] * tap, 4) }
    }

    /// Bytes of depth, a multiple of 4.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.kernel[0] * self.row
    }

    /// False: a kernel has at least one tap.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Position in depth of kernel row `ky`, kernel column `kx`, input channel `c`. Positions 2n and 2n+1 are a pair: they meet in one 16-bit product sum.
    #[must_use]
    pub const fn index(&self, ky: usize, kx: usize, c: usize) -> usize {
        ky * self.row + kx * self.tap + c
    }

    /// The runs, where a kernel row of the source lies in adjacent bytes (`adjacent`) or tap by tap.
    #[must_use]
    pub const fn taps(&self, adjacent: bool) -> Taps {
        if adjacent {
            Taps { rows: self.kernel[0], cols: 1, groups: self.row / 4 }
        } else {
            Taps { rows: self.kernel[0], cols: self.kernel[1], groups: self.tap / 4 }
        }
    }

    /// Bytes of packed weights for `outputs` channels.
    #[must_use]
    pub const fn bytes(&self, outputs: usize) -> usize {
        panels(outputs) * self.len() / 4 * LINE
    }
}

/// Byte of the weight of output `o` at depth `d` in weights packed with depth `depth` (a multiple of 4).
#[must_use]
pub const fn position(depth: usize, o: usize, d: usize) -> usize {
    (o / LANES * (depth / 4) + d / 4) * LINE + o % LANES * 4 + d % 4
}

/// Packs `weights`, rows of `depth` bytes (one row an output, each in the order of [`Depth::index`]), into `packed`.
///
/// # Panics
/// If `packed` is shorter than the rows need.
pub fn pack(weights: &[i8], depth: usize, packed: &mut [u8]) {
    packed.fill(0);
    for (o, row) in weights.chunks_exact(depth).enumerate() {
        for (d, &w) in row.iter().enumerate() {
            packed[position(depth, o, d)] = w.cast_unsigned();
        }
    }
}

/// Groups of 4 or 8 input channels and as many output channels, side by side: a panel has the 16 outputs of 4 or 2 groups, and reads 16 bytes of a tap.
///
/// A tap has a line of weights for each 4 channels of a group. Word `i` of a line multiplies word `i % 4` of what is read, so that the 16 bytes as they are,
/// again and again, meet all of it. With groups of 4 a word's products are a lane; with groups of 8 those of words `4·i` and `4·i + 1`, and of `4·i + 2` and
/// `4·i + 3`, are together lanes `4·i` and `4·i + 1` in the first line, lanes `4·i + 2` and `4·i + 3` in the second. The lanes of such a panel, and the words
/// of its parameters, are not in the order of the channels: [`Self::lane`].
///
/// Channels beyond the last whole panel are a panel of their own, packed with zeros between the groups as if they were one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Narrow {
    /// Groups of 4 channels.
    Four,
    /// Groups of 8 channels.
    Eight,
}

impl Narrow {
    /// Groups of that many channels.
    #[must_use]
    pub const fn of(channels: usize) -> Option<Self> {
        match channels {
            4 => Some(Self::Four),
            8 => Some(Self::Eight),
            _ => None,
        }
    }

    /// Channels of a group.
    #[must_use]
    pub const fn channels(self) -> usize {
        self.lines() * 4
    }

    /// Lines of weights of a tap.
    #[must_use]
    pub const fn lines(self) -> usize {
        match self {
            Self::Four => 1,
            Self::Eight => 2,
        }
    }

    /// The runs of a panel.
    #[must_use]
    pub const fn taps(self, window: &Window) -> Taps {
        Taps { rows: window.kernel[0] as usize, cols: window.kernel[1] as usize, groups: self.lines() }
    }

    /// The lane that computes output `o` of a panel.
    #[must_use]
    pub const fn lane(self, o: usize) -> usize {
        let fourth = o / 4;
        o % 4 * 4
            + match self {
                Self::Four => fourth,
                Self::Eight => fourth % 2 * 2 + fourth / 2,
            }
    }

    /// [`Self::lane`] of each output.
    #[must_use]
    pub const fn lanes(self) -> &'static [u8; LANES] {
        match self {
            Self::Four => &[0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15],
            Self::Eight => &[0, 4, 8, 12, 2, 6, 10, 14, 1, 5, 9, 13, 3, 7, 11, 15],
        }
    }

    /// Byte, in the lines of a tap, of the weight of output `o` of a panel for channel `c` of its group.
    #[must_use]
    pub const fn position(self, o: usize, c: usize) -> usize {
        let fourth = o / 4;
        let (line, word) = match self {
            Self::Four => (0, fourth),
            Self::Eight => (fourth % 2, fourth / 2 * 2 + c / 4),
        };
        line * LINE + o % 4 * LANES + word * 4 + c % 4
    }
}

/// Rows of 16 words that stand beside the weights of each panel.
pub mod params {
    /// Bias.
    pub const BIAS: usize = 0;
    /// Sum of the weights, for kernels that store activations with another offset.
    pub const SUM: usize = 1;
    /// Multiplier of the requantization.
    pub const MULTIPLIER: usize = 2;
    /// Factor of the second operand (skip or projection).
    pub const K2: usize = 3;
    /// Factor of the convolution's own sum, with a projection only.
    pub const K1: usize = 4;
    /// Sum of the projection's weights.
    pub const SUM2: usize = 5;

    /// Rows of a panel of an addition: bias, (unused), multiplier, K2, K1.
    pub const ADD_ROWS: usize = 5;

    /// Rows of a panel: 3 for a plain convolution, 4 with a skip, 6 with a projection.
    #[must_use]
    pub const fn rows(skip: bool, projection: bool) -> usize {
        if projection {
            6
        } else if skip {
            4
        } else {
            3
        }
    }
}
