//! The `.calib` file: what a set of pictures, or a part of it, says of a network. Parts add up to the bytes that the whole set gives, in any order.

use super::ConvertError;
use super::bytes::{Damage, Reader, Writer};
use super::counts::{Counts, Overflow};
use super::graph::Network;
use super::pipeline::Source;
use super::scales::arranges;
use crate::crc::crc32;
use crate::format::view::{Preprocess, Resize};
use core::fmt;
use std::vec::Vec;

/// The first bytes of a file.
pub const MAGIC: [u8; 8] = *b"\x89CALIB\r\n";
const VERSION: u32 = 0;
/// Pixels a side that pictures are resized or cropped to, at most.
const SIDES: u32 = 65_535;
/// A set has at most this many pictures: the counts of each of its groups fit 32 bits.
pub const PICTURES_LIMIT: usize = 1 << 21;

/// Some of the numbers below a limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Numbers(Vec<u8>);

impl Numbers {
    fn new(of: usize, numbers: &[usize]) -> Self {
        let mut bits = std::vec![0; of.div_ceil(8)];
        numbers.iter().for_each(|n| bits[n / 8] |= 1 << (n % 8));
        Self(bits)
    }

    fn count(&self) -> usize {
        self.0.iter().map(|byte| byte.count_ones() as usize).sum()
    }

    fn has(&self, n: usize) -> bool {
        self.0.get(n / 8).is_some_and(|byte| byte >> (n % 8) & 1 == 1)
    }

    fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }
}

/// The statistics of a set of pictures or of a part of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Calib {
    /// SHA-256 of the ONNX and its external data.
    pub sha256: [u8; 32],
    /// How a picture became the network's input.
    pub preprocess: Preprocess,
    /// True if pictures were turned by their EXIF orientation.
    pub exif: bool,
    /// Pictures of the whole set.
    pub of: usize,
    /// What was counted.
    pub counts: Counts,
    seen: Numbers,
    bad: Numbers,
}

/// Why bytes are no `.calib` file, or two of them cannot be added.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CalibError {
    /// It is another kind of file.
    Kind,
    /// It was written by another version of skipstone.
    Version(u32),
    /// It was changed or cut off: its checksum is another.
    Checksum,
    /// It contradicts itself.
    Damage(Damage),
    /// They were made from different ONNX files.
    Network,
    /// They were made from the same ONNX file by versions of skipstone that see other steps in it.
    Steps,
    /// Pictures were prepared differently.
    Preprocess,
    /// They are parts of sets of different sizes.
    Set([usize; 2]),
    /// Both hold the picture of this number.
    Twice(usize),
    /// There are more pictures than counts have room for.
    Pictures(usize),
    /// A sum is too large.
    Overflow,
}

impl CalibError {
    /// What to do about it.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Kind => "give a .calib file, made by `skipstone calibrate`",
            Self::Version(_) | Self::Checksum | Self::Damage(_) => "copy the file again, or make it again with `skipstone calibrate`",
            Self::Network => "calibrate all shards with the same ONNX file",
            Self::Steps => "calibrate all shards with the same version of skipstone",
            Self::Preprocess => "calibrate all shards with the same --preprocess (or its parts) and --exif",
            Self::Set(_) => "calibrate all shards with the same --calib and --limit",
            Self::Twice(_) => "give every shard once: --shard 0/N to N-1/N with one N",
            Self::Pictures(_) => "take fewer with --limit",
            Self::Overflow => "normalize the network's input, or take fewer pictures with --limit",
        }
    }
}

impl fmt::Display for CalibError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind => f.write_str("this is no .calib file"),
            Self::Version(version) => write!(f, "version {version} of the .calib format, this program reads version {VERSION}"),
            Self::Checksum => f.write_str("the file is damaged or not all there: its checksum is another"),
            Self::Damage(Damage { at, what }) => write!(f, "the file is damaged: {what}, byte {at}"),
            Self::Network => f.write_str("the ONNX files are different"),
            Self::Steps => f.write_str("the steps of the network are different"),
            Self::Preprocess => f.write_str("the pictures were prepared differently"),
            Self::Set([a, b]) => write!(f, "the sets have {a} and {b} pictures"),
            Self::Twice(n) => write!(f, "picture {n} of the set is in both"),
            Self::Pictures(n) => write!(f, "{n} pictures, at most {PICTURES_LIMIT} can be counted"),
            Self::Overflow => f.write_str("the sums are too large to be added"),
        }
    }
}

impl core::error::Error for CalibError {}

impl From<Damage> for CalibError {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

impl From<Overflow> for CalibError {
    fn from(_: Overflow) -> Self {
        Self::Overflow
    }
}

impl Calib {
    /// What the pictures `seen` say, of a set of `of` pictures of which those in `bad` cannot be read.
    ///
    /// # Errors
    /// If there are too many pictures.
    pub fn new(sha256: [u8; 32], preprocess: Preprocess, exif: bool, of: usize, [seen, bad]: [&[usize]; 2], counts: Counts) -> Result<Self, CalibError> {
        if of > PICTURES_LIMIT {
            return Err(CalibError::Pictures(of));
        }
        let [seen, bad] = [seen, bad].map(|numbers| Numbers::new(of, numbers));
        Ok(Self { sha256, preprocess, exif, of, counts, seen, bad })
    }

    /// Pictures that could not be read.
    #[must_use]
    pub fn bad(&self) -> usize {
        self.bad.count()
    }

    /// Pictures of the set that it does not know.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.of - self.seen.count() - self.bad()
    }

    /// Adds another part of the same set.
    ///
    /// # Errors
    /// If it is of another network or set, or holds a picture that is here already.
    pub fn merge(&mut self, other: &Self) -> Result<(), CalibError> {
        if self.sha256 != other.sha256 {
            return Err(CalibError::Network);
        }
        if !self.counts.alike(&other.counts) {
            return Err(CalibError::Steps);
        }
        if self.preprocess != other.preprocess || self.exif != other.exif {
            return Err(CalibError::Preprocess);
        }
        if self.of != other.of {
            return Err(CalibError::Set([self.of, other.of]));
        }
        let known = |part: &Self, n: usize| part.seen.has(n) || part.bad.has(n);
        if let Some(n) = (0..self.of).find(|&n| known(self, n) && known(other, n)) {
            return Err(CalibError::Twice(n));
        }
        self.seen.merge(&other.seen);
        self.bad.merge(&other.bad);
        Ok(self.counts.merge(&other.counts)?)
    }

    /// Checks that it was made from a network, with this preprocessing.
    ///
    /// # Errors
    /// What does not fit.
    pub fn fits(&self, source: &Source, preprocess: &Preprocess) -> Result<(), ConvertError> {
        let refuse = |what: &str, help| Err(ConvertError::Ranges { what: what.into(), help });
        if self.sha256 != source.sha256 {
            return refuse("the ranges were made from another ONNX file: the checksums differ", "give the ONNX file with which the .calib file was made");
        }
        if self.preprocess != *preprocess {
            return refuse("the ranges were made with another preprocessing", "give the --preprocess (or its parts) with which the .calib file was made");
        }
        if self.counts.pictures == 0 {
            return refuse("there is no picture in the ranges", "merge all shards");
        }
        if !self.counts.alike(&Counts::new(&source.network)) || !self.complete(&source.network) {
            return refuse("the ranges are of other steps than this program sees in the network", "make them again with this version of skipstone");
        }
        Ok(())
    }

    /// True if every step that computes something was counted.
    fn complete(&self, network: &Network) -> bool {
        let counted = |(step, counts): (&super::graph::Step, &super::counts::StepCounts)| arranges(&step.op) == counts.tensor.channels.is_empty();
        network.steps.iter().zip(&self.counts.steps).all(counted)
    }

    /// The bytes of the file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer(MAGIC.to_vec());
        out.0.extend(VERSION.to_le_bytes());
        out.0.extend(self.sha256);
        let p = &self.preprocess;
        let (resize, side) = match p.resize {
            Resize::ToInput => (0, 0),
            Resize::Shorter(side) => (1, side),
            Resize::Never => (2, 0),
        };
        let [height, width] = p.crop.unwrap_or_default();
        out.0.extend([resize, p.bgr.into(), self.exif.into(), p.crop.is_some().into()]);
        [side, height, width].into_iter().for_each(|n| out.number(n.into()));
        core::iter::once(&p.scale).chain(&p.mean).chain(&p.deviation).for_each(|&v| out.real(v));
        out.length(self.of);
        out.0.extend(&self.seen.0);
        out.0.extend(&self.bad.0);
        self.counts.write(&mut out);
        let crc = crc32(&out.0);
        out.0.extend(crc.to_le_bytes());
        out.0
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(bytes: &[u8]) -> Result<Self, CalibError> {
        let Some(rest) = bytes.strip_prefix(&MAGIC) else { return Err(CalibError::Kind) };
        let version = rest.first_chunk().map(|v| u32::from_le_bytes(*v)).ok_or(CalibError::Checksum)?;
        if version != VERSION {
            return Err(CalibError::Version(version));
        }
        let (body, crc) = bytes.split_last_chunk().ok_or(CalibError::Checksum)?;
        if crc32(body) != u32::from_le_bytes(*crc) {
            return Err(CalibError::Checksum);
        }
        let mut bytes = Reader::new(body, MAGIC.len() + 4);
        let sha256 = bytes.array()?;
        let [resize, bgr, exif, crop] = bytes.array()?;
        let (side, crop_size) = (bytes.number()?, [bytes.number()?, bytes.number()?]);
        let resize = match resize {
            0 => Resize::ToInput,
            1 => Resize::Shorter(side),
            2 => Resize::Never,
            _ => return Err(bytes.damage("unknown resizing").into()),
        };
        let scale = bytes.real()?;
        let mut four = || Ok::<_, Damage>([bytes.real()?, bytes.real()?, bytes.real()?, bytes.real()?]);
        let (mean, deviation) = (four()?, four()?);
        let preprocess = Preprocess { resize, crop: (crop != 0).then_some(crop_size), bgr: bgr != 0, scale, mean, deviation, tensor: None };
        let side = |n: u32| (1..=SIDES).contains(&n);
        let flags = [crop, bgr, exif].iter().all(|&flag| flag <= 1);
        let resized = !matches!(resize, Resize::Shorter(n) if !side(n));
        let cropped = if crop == 0 { crop_size == [0, 0] } else { crop_size.into_iter().all(side) };
        let positive = |v: &f32| v.is_finite() && *v > 0.0;
        let normalized = positive(&scale) && deviation[..3].iter().all(positive) && mean[..3].iter().all(|v| v.is_finite());
        if !(flags && resized && cropped && normalized) {
            return Err(bytes.damage("the preprocessing is none").into());
        }
        let of = bytes.length(PICTURES_LIMIT)?;
        let mut numbers = || bytes.take(of.div_ceil(8)).map(|bits| Numbers(bits.to_vec()));
        let (seen, bad) = (numbers()?, numbers()?);
        let once = |n: usize| !(seen.has(n) && bad.has(n));
        let counts = Counts::read(&mut bytes)?;
        let pictures = usize::try_from(counts.pictures).unwrap_or(usize::MAX);
        if (of..of.next_multiple_of(8)).any(|n| seen.has(n) || bad.has(n)) || !(0..of).all(once) || seen.count() != pictures || !bytes.done() {
            return Err(bytes.damage("the numbers of the pictures contradict the counts").into());
        }
        Ok(Self { sha256, preprocess, exif: exif != 0, of, counts, seen, bad })
    }
}
