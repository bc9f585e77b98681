//! Reading: a file as it lies in memory, checked once.

use super::check::check_input;
use super::plan::{Plan, PlanKind};
use super::{HEADER, NONE, SECTION, header, layout, network, origin, section, step, tensor, validate};
use crate::kernels::Set;
use crate::shape::round_up;
use core::fmt;

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It does not begin like a `.stone` file.
    NotStone,
    /// It has a version that this library does not read.
    Version(u32),
    /// It is shorter or longer than its header says.
    Length,
    /// Its checksum is not that of its bytes.
    Checksum,
    /// A part of it is wrong: which, and what.
    Part(&'static str, &'static str),
}

/// Why a file was refused, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Byte of the file.
    pub byte: usize,
    /// What is wrong there.
    pub fault: Fault,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault {
            Fault::NotStone => write!(f, "not a .stone file, at byte {}", self.byte),
            Fault::Version(v) => write!(f, "format version {v} is not supported, at byte {}", self.byte),
            Fault::Length => write!(f, "the file is not as long as its header says, at byte {}", self.byte),
            Fault::Checksum => write!(f, "the checksum does not match the file, at byte {}", self.byte),
            Fault::Part(part, what) => write!(f, "{part}: {what}, at byte {}", self.byte),
        }
    }
}

impl core::error::Error for ParseError {}

/// The word at `index` of a record.
pub(super) const fn word(record: &[u8], index: usize) -> u32 {
    let at = index * 4;
    u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]])
}

pub(super) fn words<const N: usize>(record: &[u8], index: usize) -> [u32; N] {
    core::array::from_fn(|i| word(record, index + i))
}

pub(super) fn float(record: &[u8], index: usize) -> f32 {
    f32::from_bits(word(record, index))
}

pub(super) fn long(record: &[u8], index: usize) -> u64 {
    u64::from(word(record, index)) | u64::from(word(record, index + 1)) << 32
}

/// A parsed file. It borrows the bytes, holds nothing else and may be shared by any number of sessions and threads.
#[derive(Clone, Copy, Debug)]
pub struct Model<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) network: &'a [u8],
    pub(super) names: &'a str,
    pub(super) plans: &'a [[u8; layout::BYTES]],
    pub(super) tensors: &'a [[u8; tensor::BYTES]],
    pub(super) steps: &'a [[u8; step::BYTES]],
    pub(super) weights: &'a [u8],
    pub(super) checks: &'a [[u8; 4]],
    pub(super) labels: &'a [u8],
    pub(super) origin: &'a [u8],
    pub(super) picture: &'a [u8],
}

impl<'a> Model<'a> {
    /// Checks a file once and for all.
    ///
    /// # Errors
    /// If the file is damaged or of another version: what is wrong, and at which byte.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        validate::parse(bytes)
    }

    /// The whole file.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Name of the network.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.text(self.network, network::NAME)
    }

    /// Height, width and channels of the input.
    #[must_use]
    pub fn input_shape(&self) -> [u32; 3] {
        words(self.network, network::DIMENSIONS)
    }

    /// Number of classes.
    #[must_use]
    pub fn classes(&self) -> u32 {
        word(self.network, network::CLASSES)
    }

    /// Multiply-accumulates of one run.
    #[must_use]
    pub fn macs(&self) -> u64 {
        long(self.network, network::MACS)
    }

    /// Weights and biases of the float network.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        long(self.network, network::PARAMETERS)
    }

    /// Convolutions and dense layers.
    #[must_use]
    pub fn layers(&self) -> u32 {
        word(self.network, network::LAYERS)
    }

    /// Bytes of weights and their parameters.
    #[must_use]
    pub const fn weight_bytes(&self) -> usize {
        self.weights.len()
    }

    /// Seed of the check input, see [`super::check`].
    #[must_use]
    pub fn seed(&self) -> u32 {
        word(self.network, network::SEED)
    }

    /// Fills an input with the check input: the picture that is stored in the file, or what its seed makes.
    pub fn check_input(&self, input: &mut [u8]) {
        if self.picture.len() == input.len() { input.copy_from_slice(self.picture) } else { check_input(self.seed(), self.input_shape(), input) }
    }

    /// How values become the input where it is no picture.
    #[must_use]
    pub fn tensor(&self) -> Option<TensorInput> {
        let n = self.network;
        (word(n, network::INPUT_KIND) == 1).then(|| TensorInput {
            scale: float(n, network::INPUT_SCALE),
            shape: self.input_shape(),
            sizes: words(n, network::ONNX),
            channels_last: word(n, network::FLAGS) & 2 != 0,
        })
    }

    /// How a picture becomes the input.
    #[must_use]
    pub fn preprocess(&self) -> Preprocess {
        let n = self.network;
        let [h, w] = words(n, network::CROP);
        Preprocess {
            resize: match word(n, network::RESIZE) {
                1 => Resize::Shorter(word(n, network::RESIZE_TO)),
                2 => Resize::Never,
                _ => Resize::ToInput,
            },
            crop: (h > 0).then_some([h, w]),
            bgr: word(n, network::FLAGS) & 1 == 1,
            scale: float(n, network::SCALE),
            mean: core::array::from_fn(|i| float(n, network::MEAN + i)),
            deviation: core::array::from_fn(|i| float(n, network::DEVIATION + i)),
            tensor: self.tensor().map(|t| t.scale),
        }
    }

    /// Label of a class, if the file has labels.
    #[must_use]
    pub fn label(&self, class: usize) -> Option<&'a str> {
        let count = word(self.labels.get(..4)?, 0) as usize;
        if class >= count {
            return None;
        }
        let text = self.labels.get(count.checked_mul(4)?.checked_add(8)?..)?;
        let text = text.get(word(self.labels, 1 + class) as usize..word(self.labels, 2 + class) as usize)?;
        core::str::from_utf8(text).ok()
    }

    /// SHA-256 of the ONNX file from which this one was made.
    #[must_use]
    pub fn source_sha256(&self) -> &'a [u8] {
        &self.origin[origin::SHA256..origin::SHA256 + 32]
    }

    /// Pictures with which it was calibrated.
    #[must_use]
    pub fn calibration_pictures(&self) -> u32 {
        word(self.origin, origin::PICTURES)
    }

    /// Calibration method.
    #[must_use]
    pub fn method(&self) -> &'a str {
        self.text(self.origin, origin::METHOD)
    }

    /// Name and version of the converter.
    #[must_use]
    pub fn converter(&self) -> &'a str {
        self.text(self.origin, origin::CONVERTER)
    }

    /// Numbers of the residual blocks that were left out, as they were counted before.
    pub fn skipped(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.text(self.origin, origin::SKIPPED).split(',').filter_map(|n| n.parse().ok())
    }

    /// The plans of the file.
    pub fn plans(&self) -> impl Iterator<Item = Plan<'a>> + use<'a> {
        let model = *self;
        model.plans.iter().map(move |record| Plan { model, record })
    }

    /// The plan of a kind, if the file has it.
    #[must_use]
    pub fn plan(&self, kind: PlanKind) -> Option<Plan<'a>> {
        self.plans().find(|p| p.kind() == kind)
    }

    pub(super) fn text(&self, record: &[u8], index: usize) -> &'a str {
        let [at, len] = words(record, index).map(|v: u32| v as usize);
        at.checked_add(len).and_then(|end| self.names.get(at..end)).unwrap_or_default()
    }

    /// True if a name lies in the names.
    pub(super) fn named(&self, record: &[u8], index: usize) -> bool {
        let [at, len] = words(record, index).map(|v: u32| v as usize);
        at.checked_add(len).is_some_and(|end| self.names.get(at..end).is_some())
    }

    /// Bytes of the weights section; empty where they do not lie in it.
    pub(super) fn weights(&self, offset: u32, len: usize) -> &'a [u8] {
        let at = offset as usize;
        if offset == NONE { &[] } else { at.checked_add(len).and_then(|end| self.weights.get(at..end)).unwrap_or_default() }
    }
}

/// How a picture becomes the input: geometry, and the normalization that is folded into the first layer: `real = (byte / scale - mean) / deviation`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preprocess {
    /// Resizing.
    pub resize: Resize,
    /// Height and width of the centre crop.
    pub crop: Option<[u32; 2]>,
    /// True if the network reads blue, green, red.
    pub bgr: bool,
    /// Divisor of a byte.
    pub scale: f32,
    /// Mean of each channel.
    pub mean: [f32; 4],
    /// Standard deviation of each channel.
    pub deviation: [f32; 4],
    /// Real value of one step of an input that is no picture: then nothing else is done to it. Nothing for a picture.
    pub tensor: Option<f32>,
}

/// An input that is no picture: values in the layout of the ONNX network, kept as S8 `[h][w][c]` with one scale. [`crate::tensor`] makes the one of the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TensorInput {
    /// Real value of one step, above 0.
    pub scale: f32,
    /// Height, width and channels.
    pub shape: [u32; 3],
    /// Sizes of the ONNX input behind the batch, as many as there are, then 0.
    pub sizes: [u32; 3],
    /// True if the channels are the last of them, false if they are the first.
    pub channels_last: bool,
}

impl TensorInput {
    /// Sizes of the ONNX input behind the batch, one to three.
    #[must_use]
    pub fn dimensions(&self) -> &[u32] {
        let rank = self.sizes.iter().take_while(|&&n| n > 0).count();
        &self.sizes[..rank]
    }
}

/// How a picture is resized before it is cropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resize {
    /// To the network's input, if it has another size.
    ToInput,
    /// So that its shorter side has this many pixels.
    Shorter(u32),
    /// Not at all.
    Never,
}

/// Bytes of the arena that a session of `file` needs, readable in a `const`.
///
/// # Panics
/// If the file is not a `.stone` file or has no such plan; in a `const` that is a compile error.
#[must_use]
pub const fn arena_bytes(file: &[u8], _set: Set, threads: usize, kind: PlanKind) -> usize {
    let sections = word(file, header::SECTIONS / 4) as usize;
    let mut i = 0;
    while i < sections {
        let entry = (HEADER + i * SECTION) / 4;
        let name = [word(file, entry), word(file, entry + 1)];
        let plans = [word(&section::PLANS, 0), word(&section::PLANS, 1)];
        if name[0] == plans[0] && name[1] == plans[1] {
            let (first, bytes) = (word(file, entry + 4) as usize, word(file, entry + 5) as usize);
            let mut at = first;
            while at < first + bytes {
                let record = at / 4;
                if word(file, record + layout::KIND) == kind.code() {
                    let (tensors, scratch) = (word(file, record + layout::TENSOR_BYTES), word(file, record + layout::SCRATCH_BYTES));
                    return round_up(tensors as usize + scratch as usize * threads, 64);
                }
                at += layout::BYTES;
            }
        }
        i += 1;
    }
    panic!("the file has no such plan")
}
