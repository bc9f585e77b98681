//! The `.stone` file: what stands at which byte.
//!
//! All numbers are little-endian; offsets count bytes. A file is a header of 64 bytes, a table of sections, the sections (each at a multiple
//! of 64) and, in the last 4 bytes, the CRC-32 of everything before. `docs/FORMAT.md` describes every field.
//! This is version 0: it may still change.
//!
//! [`view`] reads a file without copying: [`Model::parse`] checks everything once, afterwards no accessor can fail. [`proof`] recomputes what the
//! converter promised. [`check`] makes the input with which a device proves that it computes the same bits.

pub mod check;
pub mod plan;
pub mod proof;
mod validate;
pub mod view;
#[cfg(feature = "std")]
pub mod write;

pub use plan::{Operation, Plan, PlanKind, StepRecord, TensorRecord};
pub use view::{Model, ParseError, arena_bytes};

/// The first 8 bytes of a file.
pub const MAGIC: [u8; 8] = *b"\x89STONE\r\n";
/// The version that this library writes and reads.
pub const VERSION: u32 = 0;
/// Bytes of the header.
pub const HEADER: usize = 64;
/// Bytes of an entry in the table of sections.
pub const SECTION: usize = 32;
/// What stands where there is no tensor, offset or block.
pub const NONE: u32 = u32::MAX;

/// Byte offsets in the header.
pub mod header {
    /// Version.
    pub const VERSION: usize = 8;
    /// Bytes of the file, the checksum included.
    pub const BYTES: usize = 12;
    /// Sections.
    pub const SECTIONS: usize = 16;
}

/// Names of the sections, 8 bytes each, zero padded.
pub mod section {
    /// One [`super::network`] record.
    pub const NETWORK: [u8; 8] = *b"network\0";
    /// UTF-8 text; names are an offset and a length in it.
    pub const NAMES: [u8; 8] = *b"names\0\0\0";
    /// [`super::layout`] records.
    pub const PLANS: [u8; 8] = *b"plans\0\0\0";
    /// [`super::tensor`] records.
    pub const TENSORS: [u8; 8] = *b"tensors\0";
    /// [`super::step`] records.
    pub const STEPS: [u8; 8] = *b"steps\0\0\0";
    /// Weights, parameters of panels, padding bytes, multipliers: offsets of the other records count in it.
    pub const WEIGHTS: [u8; 8] = *b"weights\0";
    /// CRC-32 of the output of each step for the check input, one word a step of all plans.
    pub const CHECKS: [u8; 8] = *b"checks\0\0";
    /// Class labels: a count, count + 1 offsets into the text that follows them.
    pub const LABELS: [u8; 8] = *b"labels\0\0";
    /// The check input as bytes, where a real picture was chosen instead of the one that the seed makes.
    pub const PICTURE: [u8; 8] = *b"picture\0";
    /// One [`super::origin`] record.
    pub const ORIGIN: [u8; 8] = *b"origin\0\0";
}

/// Word offsets in the network record.
pub mod network {
    /// Bytes of the record.
    pub const BYTES: usize = 256;
    /// Name: offset and length.
    pub const NAME: usize = 0;
    /// 0 for a picture of u8, 1 for a tensor of s8 with a scale.
    pub const INPUT_KIND: usize = 2;
    /// Number of dimensions of the input, at most 4.
    pub const RANK: usize = 3;
    /// The dimensions: height, width, channels for a picture.
    pub const DIMENSIONS: usize = 4;
    /// Classes.
    pub const CLASSES: usize = 8;
    /// Multiply-accumulates of one run, 64 bits.
    pub const MACS: usize = 10;
    /// Weights and biases of the float network, 64 bits.
    pub const PARAMETERS: usize = 12;
    /// Convolutions and dense layers.
    pub const LAYERS: usize = 14;
    /// Seed of the check input.
    pub const SEED: usize = 15;
    /// 0: pictures of another size are resized to the network's. 1: the shorter side is resized. 2: no resizing.
    pub const RESIZE: usize = 16;
    /// Size of the shorter side.
    pub const RESIZE_TO: usize = 17;
    /// Height and width of the centre crop, 0 for none.
    pub const CROP: usize = 18;
    /// Bit 0: the network reads blue, green, red. Bit 1: the channels are the last of the dimensions of [`ONNX`].
    pub const FLAGS: usize = 20;
    /// Divisor of a byte, f32.
    pub const SCALE: usize = 21;
    /// Mean of up to 4 channels, f32.
    pub const MEAN: usize = 22;
    /// Standard deviation of up to 4 channels, f32.
    pub const DEVIATION: usize = 26;
    /// Scale of a tensor input, f32.
    pub const INPUT_SCALE: usize = 30;
    /// Sizes of the ONNX input behind the batch where it is a tensor, three words: what there are fewer is 0.
    pub const ONNX: usize = 31;
}

/// Word offsets in a plan record.
pub mod layout {
    /// Bytes of a record.
    pub const BYTES: usize = 64;
    /// 0 fast, 1 small.
    pub const KIND: usize = 0;
    /// First tensor, and number of tensors.
    pub const TENSORS: usize = 1;
    /// First step, and number of steps. The check values of a plan have the same indices.
    pub const STEPS: usize = 3;
    /// Bytes of the arena that hold tensors, a multiple of 64.
    pub const TENSOR_BYTES: usize = 5;
    /// Bytes of scratch for each thread, a multiple of 64.
    pub const SCRATCH_BYTES: usize = 6;
    /// Input tensor, counted from the plan's first.
    pub const INPUT: usize = 7;
    /// Tensor of the scores, counted from the plan's first.
    pub const OUTPUT: usize = 8;
}

/// Word offsets in a tensor record.
pub mod tensor {
    /// Bytes of a record.
    pub const BYTES: usize = 64;
    /// Name: offset and length.
    pub const NAME: usize = 0;
    /// 0 U8, 1 S8, 2 S16, 3 I32.
    pub const TYPE: usize = 2;
    /// Height, width and channels.
    pub const SHAPE: usize = 3;
    /// Byte in the arena at which the buffer begins.
    pub const OFFSET: usize = 6;
    /// Bytes from one pixel to the next.
    pub const PIXEL: usize = 7;
    /// Bytes from one row to the next.
    pub const ROW: usize = 8;
    /// Bytes from the start of a pixel of the buffer to the tensor's first channel.
    pub const CHANNEL: usize = 9;
    /// Real value of one step, f32.
    pub const SCALE: usize = 10;
    /// Offset of one f32 per channel in the weights, instead of the one scale; or none.
    pub const CHANNEL_SCALES: usize = 11;
    /// Stored value that stands for zero, i32; like the scale it is for reports: biases and padding bytes have absorbed it.
    pub const ZERO: usize = 12;
}

/// Word offsets in a step record.
pub mod step {
    /// Bytes of a record.
    pub const BYTES: usize = 256;
    /// Name: offset and length.
    pub const NAME: usize = 0;
    /// See [`super::op`].
    pub const OP: usize = 2;
    /// Input tensor, counted from the plan's first.
    pub const INPUT: usize = 3;
    /// Second operand, or none.
    pub const SECOND: usize = 4;
    /// Output tensor.
    pub const OUTPUT: usize = 5;
    /// Kernel, stride, dilation (vertical, horizontal each) and pads (top, left, bottom, right).
    pub const WINDOW: usize = 6;
    /// Groups of a convolution, 1 as a rule.
    pub const GROUPS: usize = 16;
    /// How a convolution takes its second operand: 0 not at all, 1 as a skip, 2 through a projection.
    pub const SECOND_KIND: usize = 17;
    /// Kernel and stride (vertical, horizontal each) of the second operand.
    pub const SECOND_WINDOW: usize = 18;
    /// Channels of zeros in front of a skip.
    pub const FRONT: usize = 22;
    /// Offset of the packed weights.
    pub const WEIGHTS: usize = 23;
    /// Offset of the projection's packed weights, or none.
    pub const SECOND_WEIGHTS: usize = 24;
    /// Offset of the panels' parameters; of an average pool's multipliers, one word for each number of pixels.
    pub const PARAMS: usize = 25;
    /// Offset of the padding bytes, one per input channel, or none: then the border is zero.
    pub const PADDING: usize = 26;
    /// Offset of a table, or none: 256 bytes, 257 words where S16 is read.
    pub const TABLE: usize = 27;
    /// Bit 0 `winograd4`, bit 1 `pair_safe`, bit 2 an average pool counts the border.
    pub const FLAGS: usize = 28;
    /// Output rows that are computed together.
    pub const BLOCK_ROWS: usize = 29;
    /// Residual block, counted from 0, or none.
    pub const BLOCK: usize = 30;
    /// Binary places by which a sum is shifted left before it is rounded.
    pub const P: usize = 31;
    /// Multiply-accumulates, 64 bits.
    pub const MACS: usize = 32;
    /// Third operand, or none.
    pub const THIRD: usize = 34;
    /// Channels of a group, 4 or 8, where groups lie side by side in the panels ([`crate::pack::Narrow`]), else 0.
    pub const NARROW: usize = 35;
}

/// Operations of a step.
pub mod op {
    /// Convolution or dense layer.
    pub const CONV: u32 = 0;
    /// Max pool.
    pub const MAX_POOL: u32 = 1;
    /// Average pool or global mean.
    pub const AVERAGE_POOL: u32 = 2;
    /// Addition; without a second operand the first one takes its place.
    pub const ADD: u32 = 3;
    /// The input times the second operand, a gate for each channel, plus the third.
    pub const GATE: u32 = 4;
    /// A table, looked up for every byte; for S16 the points of lines.
    pub const TABLE: u32 = 5;
    /// A border that mirrors the input, as wide as the pads.
    pub const MIRROR: u32 = 6;
}

/// Bits of a step's flags.
pub mod flag {
    /// The convolution's own sum stays below 2^25 for every input.
    pub const WINOGRAD4: u32 = 1;
    /// Weights that meet in one 16-bit pair sum are at most 128 together, or -128.
    pub const PAIR_SAFE: u32 = 2;
    /// The border counts in the divisor of an average.
    pub const INCLUDE_PAD: u32 = 4;
}

/// Layout of the origin record.
pub mod origin {
    /// Bytes of the record.
    pub const BYTES: usize = 96;
    /// Byte: SHA-256 of the ONNX file and its external data.
    pub const SHA256: usize = 0;
    /// Word: calibration pictures.
    pub const PICTURES: usize = 8;
    /// Word: calibration method: offset and length.
    pub const METHOD: usize = 9;
    /// Word: version of the converter: offset and length.
    pub const CONVERTER: usize = 11;
    /// Word: numbers of the residual blocks that were left out, as text with commas: offset and length.
    pub const SKIPPED: usize = 13;
}
