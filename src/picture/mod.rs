//! Bytes of a camera or a decoded picture to network input, in integers.
//!
//! Everything here is exact: a picture gives the same input on every machine, and the input that Pillow's `resize(…, BILINEAR)` and torchvision's
//! `CenterCrop` give. Mean and deviation are not applied: they are folded into the network's first layer, which reads raw bytes.
//!
//! The order is: to the network's channels, resize, crop, order of the colours.
//! * Grey to colour: the byte three times. Colour to grey, as Pillow's `convert("L")`: `(19595·R + 38470·G + 7471·B + 32768) >> 16`.
//! * yuv420, BT.601 in limited range, with `y = Y - 16`, `u = U - 128`, `v = V - 128`, each result clamped to 0..255:
//!   `R = (298·y + 409·v + 128) >> 8`, `G = (298·y - 100·u - 208·v + 128) >> 8`, `B = (298·y + 516·u + 128) >> 8` (`>>` rounds down).
//!
//! ```
//! use skipstone::picture::{Format, Geometry, Picture, Resize, fill, scratch_bytes};
//!
//! const GEOMETRY: Geometry = Geometry { resize: Resize::Shorter(36), crop: Some([32, 32]), bgr: false };
//! const SCRATCH: usize = match scratch_bytes(160, 120, &GEOMETRY, [32, 32, 3]) {
//!     Ok(bytes) => bytes,
//!     Err(_) => panic!("this camera does not fit this network"),
//! };
//!
//! let camera = [90u8; 160 * 120 * 3];
//! let frame = Picture { bytes: &camera, width: 160, height: 120, format: Format::Rgb24 };
//! let (mut input, mut scratch) = ([0; 32 * 32 * 3], [0; SCRATCH]);
//! fill(&mut input, &frame, &GEOMETRY, [32, 32, 3], &mut scratch)?;
//! assert_eq!(input, [90; 32 * 32 * 3]);
//! # Ok::<(), skipstone::picture::PictureError>(())
//! ```

mod geometry;
mod resample;

use core::fmt;

use geometry::Placement;
pub use geometry::{Geometry, Resize};
use resample::{Buffers, resample};

/// How the bytes of a picture are ordered. Rows follow each other without gaps, the top one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Red, green and blue, a byte each, pixel by pixel.
    Rgb24,
    /// One byte a pixel.
    Gray8,
    /// Planar I420: a plane of Y, then U, then V, the latter two of half the width and height, rounded up; each of their samples stands for 2x2 pixels.
    Yuv420,
}

impl Format {
    /// The format of this name: `rgb24`, `gray8` or `yuv420`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "rgb24" => Self::Rgb24,
            "gray8" => Self::Gray8,
            "yuv420" => Self::Yuv420,
            _ => return None,
        })
    }

    /// Bytes of a picture of this size.
    #[must_use]
    pub const fn bytes(self, width: u32, height: u32) -> u64 {
        let pixels = width as u64 * height as u64;
        match self {
            Self::Rgb24 => pixels * 3,
            Self::Gray8 => pixels,
            Self::Yuv420 => pixels + 2 * width.div_ceil(2) as u64 * height.div_ceil(2) as u64,
        }
    }
}

/// A picture in memory.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    /// Exactly [`Format::bytes`] bytes.
    pub bytes: &'a [u8],
    /// Width in pixels, 1 to 65,535.
    pub width: u32,
    /// Height in pixels, 1 to 65,535.
    pub height: u32,
    /// Order of the bytes.
    pub format: Format,
}

/// Why a picture could not be made into an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureError {
    /// A side of the picture is 0 or over 65,535.
    Source {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// The bytes are not those of a picture of this size.
    Bytes {
        /// Bytes of such a picture.
        needed: u64,
        /// Bytes given.
        given: usize,
    },
    /// The network reads no picture: a side is 0 or over 65,535, or the channels are neither 1 nor 3.
    Network {
        /// Height, width and channels.
        input: [u32; 3],
    },
    /// Resizing and cropping give another size than the network reads.
    Result {
        /// Height and width after them.
        made: [u32; 2],
        /// Height and width that the network reads.
        input: [u32; 2],
    },
    /// The input buffer has not the size of the network's input.
    Input {
        /// Bytes of the network's input.
        needed: u64,
        /// Bytes given.
        given: usize,
    },
    /// The scratch buffer is too small.
    Scratch {
        /// Bytes needed.
        needed: usize,
        /// Bytes given.
        given: usize,
    },
}

impl fmt::Display for PictureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Source { width, height } => write!(f, "a picture of {width}x{height} pixels"),
            Self::Bytes { needed, given } => write!(f, "a picture of this size has {needed} bytes, given are {given}"),
            Self::Network { input: [h, w, c] } => write!(f, "an input of {h}x{w} with {c} channels takes no picture"),
            Self::Result { made: [mh, mw], input: [h, w] } => write!(f, "resize and crop give {mw}x{mh} pixels, the network reads {w}x{h}"),
            Self::Input { needed, given } => write!(f, "the network's input has {needed} bytes, the buffer {given}"),
            Self::Scratch { needed, given } => write!(f, "resizing needs {needed} bytes of scratch, given are {given}"),
        }
    }
}

impl PictureError {
    /// What to do about it.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Source { .. } => "each side has 1 to 65535 pixels",
            Self::Bytes { .. } => "check width, height and format: rgb24 has 3 bytes a pixel, gray8 1, yuv420 1.5 (chroma rounded up)",
            Self::Network { .. } => "a picture goes to a network that reads 1 or 3 channels of pictures; other inputs are .npy files of f32 or i8",
            Self::Result { .. } => "crop to the network's size, or leave out both resize and crop to resize to it",
            Self::Input { .. } => "give the whole input of the session",
            Self::Scratch { .. } => "ask scratch_bytes how many bytes this picture needs",
        }
    }
}

impl core::error::Error for PictureError {}

/// Bytes of scratch that [`fill`] needs for a picture of this size; 0 where nothing is resized. `network` is height, width and channels of the input.
///
/// # Errors
/// As [`fill`], as far as sizes are concerned.
pub const fn scratch_bytes(width: u32, height: u32, geometry: &Geometry, network: [u32; 3]) -> Result<usize, PictureError> {
    match geometry.place([height, width], network) {
        Ok(at) => Ok(scratch(&at, network[2] as usize)),
        Err(error) => Err(error),
    }
}

const fn scratch(at: &[Placement; 2], c: usize) -> usize {
    let [v, h] = at;
    if v.axis.from == v.axis.to && h.axis.from == h.axis.to {
        return 0;
    }
    Buffers::new([v.axis, h.axis], [v.first, h.first], [v.count, h.count], c).bytes()
}

/// Makes the network's input `[h][w][c]`, bytes, from a picture. `network` is height, width and channels (3, or 1 for a grey network).
///
/// # Errors
/// If a size is out of range, a buffer has the wrong size, or resize and crop do not give the network's size. Then nothing is written.
pub fn fill(input: &mut [u8], source: &Picture<'_>, geometry: &Geometry, network: [u32; 3], scratch: &mut [u8]) -> Result<(), PictureError> {
    let at = geometry.place([source.height, source.width], network)?;
    let needed = source.format.bytes(source.width, source.height);
    if needed != source.bytes.len() as u64 {
        return Err(PictureError::Bytes { needed, given: source.bytes.len() });
    }
    let needed = network.iter().map(|&n| u64::from(n)).product();
    if needed != input.len() as u64 {
        return Err(PictureError::Input { needed, given: input.len() });
    }
    let needed = self::scratch(&at, network[2] as usize);
    if needed > scratch.len() {
        return Err(PictureError::Scratch { needed, given: scratch.len() });
    }
    match network[2] {
        1 => paint::<1>(input, source, &at, network, scratch),
        _ => paint::<3>(input, source, &at, network, scratch),
    }
    if geometry.bgr && network[2] == 3 {
        input.as_chunks_mut::<3>().0.iter_mut().for_each(|pixel| pixel.swap(0, 2));
    }
    Ok(())
}

/// [`fill`] for a network that reads `C` channels, after the checks.
fn paint<const C: usize>(input: &mut [u8], source: &Picture<'_>, at: &[Placement; 2], [height, width, _]: [u32; 3], scratch: &mut [u8]) {
    let [v, h] = at;
    let (skip, count) = (h.skip as usize * C, h.count as usize * C);
    if (v.count, h.count) != (height, width) {
        input.fill(0);
    }
    let rows = input.chunks_exact_mut(width as usize * C).skip(v.skip as usize).take(v.count as usize).map(|row| &mut row[skip..skip + count]);
    if v.axis.from == v.axis.to && h.axis.from == h.axis.to {
        for (y, row) in (v.first as usize..).zip(rows) {
            source.read::<C>(y, h.first as usize, row.as_chunks_mut().0);
        }
    } else {
        let read = |y, x, row: &mut [[u8; C]]| source.read(y, x, row);
        resample([v.axis, h.axis], [v.first, h.first], [v.count, h.count], scratch, read, rows);
    }
}

impl Picture<'_> {
    /// The pixels of row `y` from column `x`, with `C` channels (1 or 3).
    fn read<const C: usize>(&self, y: usize, x: usize, out: &mut [[u8; C]]) {
        let (width, height) = (self.width as usize, self.height as usize);
        let from = y * width + x;
        match self.format {
            Format::Rgb24 => {
                let pixels = &self.bytes.as_chunks::<3>().0[from..from + out.len()];
                out.iter_mut().zip(pixels).for_each(|(out, &pixel)| *out = channels(pixel));
            }
            Format::Gray8 => out.iter_mut().zip(&self.bytes[from..]).for_each(|(out, &byte)| *out = [byte; C]),
            Format::Yuv420 => {
                let (luma, chroma) = self.bytes.split_at(width * height);
                let (u, v) = chroma.split_at(chroma.len() / 2);
                let half = y / 2 * width.div_ceil(2);
                for (k, out) in out.iter_mut().enumerate() {
                    let c = half + (x + k) / 2;
                    *out = channels(yuv_to_rgb(luma[from + k], u[c], v[c]));
                }
            }
        }
    }
}

/// A pixel as the network reads it.
fn channels<const C: usize>(rgb: [u8; 3]) -> [u8; C] {
    if C == 1 { [luma(rgb); C] } else { core::array::from_fn(|k| rgb[k]) }
}

/// Pillow's `convert("L")`.
fn luma([r, g, b]: [u8; 3]) -> u8 {
    let sum = 19_595 * u32::from(r) + 38_470 * u32::from(g) + 7_471 * u32::from(b) + 32_768;
    sum.to_le_bytes()[2]
}

/// BT.601 in limited range, in 8-bit fixed point.
fn yuv_to_rgb(y: u8, u: u8, v: u8) -> [u8; 3] {
    let (y, u, v) = (298 * (i32::from(y) - 16) + 128, i32::from(u) - 128, i32::from(v) - 128);
    [y + 409 * v, y - 100 * u - 208 * v, y + 516 * u].map(|sum| u8::try_from((sum >> 8).clamp(0, 255)).unwrap_or(0))
}
