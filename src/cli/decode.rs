//! JPEG and PNG to RGB bytes, as Pillow's `convert("RGB")` gives them.
//!
//! Grey is repeated, palettes are looked up, alpha is dropped, 16 bits become their high byte, CMYK and YCCK JPEGs are taken as Adobe writes them
//! (inverted). JPEG is decoded in integers without SIMD, so that every CPU gives the same bytes; they may differ from libjpeg's by a few units.

use core::fmt;
use std::io::Cursor;

use image::codecs::png::PngDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, Limits, RgbImage};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use crate::picture::{Format, Picture};

/// Most pixels of a picture.
const MAX_PIXELS: u64 = 1 << 26;
/// Longest side of a picture.
const MAX_SIDE: u32 = 65_535;
/// Most bytes that a PNG may take beside its pixels (text, profiles, a row).
const PNG_EXTRA: u64 = 1 << 26;

/// A decoded picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Red, green and blue of each pixel, `[height][width][3]`.
    pub rgb: Vec<u8>,
}

impl Decoded {
    /// The picture as [`fill`](crate::picture::fill) takes it.
    #[must_use]
    pub fn picture(&self) -> Picture<'_> {
        Picture { bytes: &self.rgb, width: self.width, height: self.height, format: Format::Rgb24 }
    }
}

/// Why bytes could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// They begin neither as a JPEG nor as a PNG.
    Foreign,
    /// The file ends before the picture does.
    Truncated,
    /// More than 67,108,864 pixels, or a side over 65,535.
    TooLarge {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// Damaged, or a kind of JPEG or PNG that is not supported; in the decoder's words.
    Broken(String),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("neither a JPEG nor a PNG"),
            Self::Truncated => f.write_str("the file ends before the picture does"),
            Self::TooLarge { width, height } => write!(f, "{width}x{height} pixels are more than is read"),
            Self::Broken(why) => write!(f, "cannot be decoded: {why}"),
        }
    }
}

impl DecodeError {
    /// What to do about it.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Foreign => "give a JPEG or a PNG (save other formats as PNG); a data set may also be a folder of them, a CIFAR-10 .bin or an .npy",
            Self::Truncated => "copy or download the file again, or leave it out (--skip-bad, where a data set is read)",
            Self::TooLarge { .. } => "scale it down: at most 67108864 pixels, and 65535 a side",
            Self::Broken(_) => "check that other programs open it, or leave it out (--skip-bad, where a data set is read)",
        }
    }
}

impl core::error::Error for DecodeError {}

/// Decodes a JPEG or PNG. With `exif` it is turned as its EXIF orientation says; without, as training pipelines do, it is not.
///
/// # Errors
/// If the bytes are no JPEG or PNG, damaged, incomplete or too large. There are no half pictures.
pub fn decode(bytes: &[u8], exif: bool) -> Result<Decoded, DecodeError> {
    let (decoded, metadata) = match bytes {
        [0xFF, 0xD8, ..] => jpeg(bytes)?,
        [0x89, b'P', b'N', b'G', ..] => png(bytes)?,
        _ => return Err(DecodeError::Foreign),
    };
    match metadata.filter(|_| exif).and_then(|chunk| Orientation::from_exif_chunk(&chunk)) {
        Some(orientation) => Ok(turned(decoded, orientation)),
        None => Ok(decoded),
    }
}

/// Whether bytes begin as a JPEG or a PNG does.
#[must_use]
pub const fn is_picture(bytes: &[u8]) -> bool {
    matches!(bytes, [0xFF, 0xD8, ..] | [0x89, b'P', b'N', b'G', ..])
}

fn check(width: u32, height: u32) -> Result<(), DecodeError> {
    let fits = width <= MAX_SIDE && height <= MAX_SIDE && u64::from(width) * u64::from(height) <= MAX_PIXELS;
    if fits { Ok(()) } else { Err(DecodeError::TooLarge { width, height }) }
}

fn turned(picture: Decoded, orientation: Orientation) -> Decoded {
    let Decoded { width, height, rgb } = picture;
    let mut turned = DynamicImage::ImageRgb8(RgbImage::from_raw(width, height, rgb).unwrap_or_default());
    turned.apply_orientation(orientation);
    Decoded { width: turned.width(), height: turned.height(), rgb: turned.into_bytes() }
}

fn png(bytes: &[u8]) -> Result<(Decoded, Option<Vec<u8>>), DecodeError> {
    let failed = |error| match error {
        ImageError::IoError(ref e) if e.kind() == std::io::ErrorKind::UnexpectedEof => DecodeError::Truncated,
        other => DecodeError::Broken(one_line(&other.to_string())),
    };
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(PNG_EXTRA);
    let mut decoder = PngDecoder::with_limits(Cursor::new(bytes), limits).map_err(failed)?;
    let (width, height) = decoder.dimensions();
    check(width, height)?;
    let exif = decoder.exif_metadata().map_err(failed)?;
    let colour = decoder.color_type();
    let (channels, size) = (usize::from(colour.channel_count()), usize::from(colour.bytes_per_pixel()));
    let mut raw = vec![0; width as usize * height as usize * size];
    decoder.read_image(&mut raw).map_err(failed)?;
    let deep = size > channels;
    let sample = |pixel: &[u8], k: usize| if deep { u16::from_ne_bytes([pixel[2 * k], pixel[2 * k + 1]]).to_be_bytes()[0] } else { pixel[k] };
    let from = if channels < 3 { [0, 0, 0] } else { [0, 1, 2] };
    let rgb = if size == 3 { raw } else { raw.chunks_exact(size).flat_map(|pixel| from.map(|k| sample(pixel, k))).collect() };
    Ok((Decoded { width, height, rgb }, exif))
}

fn jpeg(bytes: &[u8]) -> Result<(Decoded, Option<Vec<u8>>), DecodeError> {
    let failed = |error: zune_jpeg::errors::DecodeErrors| DecodeError::Broken(one_line(&error.to_string()));
    if !jpeg_is_complete(bytes) {
        return Err(DecodeError::Truncated);
    }
    let side = MAX_SIDE as usize;
    let options = DecoderOptions::default().set_strict_mode(true).set_max_width(side).set_max_height(side);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(failed)?;
    let (width, height) = decoder.info().map_or((0, 0), |info| (u32::from(info.width), u32::from(info.height)));
    check(width, height)?;
    let colours = decoder.input_colorspace().unwrap_or(ColorSpace::Unknown);
    if matches!(colours, ColorSpace::CMYK | ColorSpace::YCCK) {
        decoder.set_options(options.jpeg_set_out_colorspace(colours));
    }
    let raw = decoder.decode().map_err(failed)?;
    let rgb = match colours {
        ColorSpace::CMYK => raw.as_chunks::<4>().0.iter().flat_map(|&[c, m, y, k]| inked([255 - c, 255 - m, 255 - y], k)).collect(),
        ColorSpace::YCCK => raw.as_chunks::<4>().0.iter().flat_map(|&[y, cb, cr, k]| inked(ycc_to_rgb(y, cb, cr), k)).collect(),
        _ => raw,
    };
    if rgb.len() as u64 != u64::from(width) * u64::from(height) * 3 {
        return Err(DecodeError::Broken("not a grey, colour or CMYK picture".to_owned()));
    }
    Ok((Decoded { width, height, rgb }, decoder.exif().cloned()))
}

/// Whether the scans of a JPEG are followed by the marker of its end. (An embedded preview may have one of its own, before the first scan.)
fn jpeg_is_complete(bytes: &[u8]) -> bool {
    const SCAN: u8 = 0xDA;
    const END: [u8; 2] = [0xFF, 0xD9];
    let mut rest = &bytes[2..];
    while let [0xFF, marker, tail @ ..] = rest {
        match (*marker, tail) {
            (SCAN, _) => return tail.windows(2).any(|pair| pair == END),
            (0xFF, _) => rest = &rest[1..],
            (_, [high, low, ..]) => match tail.get(usize::from(u16::from_be_bytes([*high, *low]))..) {
                Some(next) => rest = next,
                None => return false,
            },
            _ => return false,
        }
    }
    !rest.is_empty()
}

/// Pillow's CMYK to RGB: `ink` are cyan, magenta and yellow, `k` is how much light black lets through.
fn inked(ink: [u8; 3], k: u8) -> [u8; 3] {
    ink.map(|c| {
        let product = u32::from(c) * u32::from(k) + 128;
        k.saturating_sub(u8::try_from((product + (product >> 8)) >> 8).unwrap_or(u8::MAX))
    })
}

/// JFIF's YCbCr to RGB in 16-bit fixed point, rounded as libjpeg does it.
fn ycc_to_rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let r = y + ((91_881 * cr + 32_768) >> 16);
    let g = y + ((-22_554 * cb - 46_802 * cr + 32_768) >> 16);
    let b = y + ((116_130 * cb + 32_768) >> 16);
    [r, g, b].map(|v| u8::try_from(v.clamp(0, 255)).unwrap_or(0))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
