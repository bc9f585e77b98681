//! The integer network: what [`super::quantize`] makes, with everything that a file needs but memory offsets.

use super::graph::TensorId;
use crate::format::Operation;
use crate::kernels::Average;
use crate::ops::{add, conv, gate, mirror, pool, table};
use crate::pack::{LANES, Narrow, panels};
use crate::quant::DataType;
use crate::shape::{View, Window};
use std::string::String;
use std::vec::Vec;

/// A tensor of integers.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// The ONNX value that it stands for.
    pub name: String,
    /// Height, width and channels.
    pub shape: [u32; 3],
    /// Type of its elements.
    pub kind: DataType,
    /// Real value of one step of each channel.
    pub scales: Vec<f64>,
    /// The stored value that stands for 0: in tensors of our own it is 0, the least or the next value of 16 bits behind a ReLU, or a byte above 0 around a function with a small
    /// negative part.
    pub zero: i32,
    /// True for the picture that is fed in, or the tensor: its channels have no padding.
    pub picture: bool,
    /// The tensor whose channels it is, and from which channel on; nothing where it has a buffer of its own.
    pub part: Option<(TensorId, u32)>,
}

impl Tensor {
    /// Where it lies if its buffer begins at `offset`.
    #[must_use]
    pub const fn view(&self, offset: usize) -> View {
        let [h, w, c] = self.shape;
        if self.picture { View { kind: self.kind, ..View::picture(h, w, c, offset) } } else { View::packed(h, w, c, self.kind, offset) }
    }
}

/// The integer network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quantized {
    /// Its tensors; the first one is the picture.
    pub tensors: Vec<Tensor>,
    /// Its steps in order. The last one makes the scores.
    pub steps: Vec<Step>,
    /// What the user should know.
    pub notes: Vec<String>,
    /// Signal over error of the scores in dB, on the pictures with which it was made; none without any.
    pub sqnr_db: Option<f64>,
}

/// A step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Name of the ONNX node.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// What it reads.
    pub input: TensorId,
    /// Its second operand.
    pub second: Option<TensorId>,
    /// Its third operand.
    pub third: Option<TensorId>,
    /// What it makes.
    pub output: TensorId,
    /// Its residual block.
    pub block: Option<u32>,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Smallest and largest K of the channels that have a skip.
    pub factors: Option<(i32, i32)>,
}

/// What a step computes.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Convolution or dense layer.
    Conv(Conv),
    /// Maximum.
    MaxPool(Window),
    /// Mean.
    AveragePool {
        /// The window.
        window: Window,
        /// True if the border counts.
        include_pad: bool,
        /// M for every number of pixels, from 1; 0 where that number does not occur.
        multipliers: Vec<[u8; 4]>,
        /// Binary places by which the sum is shifted left.
        p: u32,
    },
    /// A border that mirrors the input: at the top, left, bottom and right.
    Mirror([u32; 4]),
    /// Addition; without a second operand a factor and a shift for each channel.
    Add(Sum),
    /// The input times the second operand, a gate, plus the third.
    Gate(Sum),
    /// A function of every value: the result for each byte, or the points of lines over 16 bits.
    Table(Vec<u8>),
    /// The channels of the input and of these tensors side by side: nothing to compute.
    Concat(Vec<TensorId>),
    /// The channels from this one on: nothing to compute.
    Slice(u32),
}

/// The parameters of an addition or a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// Rows of words, panel by panel.
    pub params: Vec<u8>,
    /// Binary places by which the sum is shifted left.
    pub p: u32,
}

/// A convolution in integers.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// The window.
    pub window: Window,
    /// Groups.
    pub groups: usize,
    /// Whether they lie side by side in the panels.
    pub narrow: Option<Narrow>,
    /// Packed weights, group by group.
    pub weights: Vec<u8>,
    /// Parameters of the panels.
    pub params: Vec<u8>,
    /// Padding bytes; empty for zeros.
    pub padding: Vec<u8>,
    /// How the second operand is taken.
    pub second: Second,
    /// True if the weights were made so that 16-bit pair sums are exact.
    pub pair_safe: bool,
}

/// How a convolution takes its second operand.
#[derive(Clone, Debug, PartialEq)]
pub enum Second {
    /// There is none.
    None,
    /// As a skip.
    Skip {
        /// Stride.
        stride: [u32; 2],
        /// Channels of zeros in front.
        front: u32,
    },
    /// Through a projection.
    Projection {
        /// Its window.
        window: Window,
        /// Its packed weights.
        weights: Vec<u8>,
    },
}

impl Step {
    /// The step over tensors that lie at `views`; nothing for one that computes nothing.
    #[must_use]
    pub fn operation<'a>(&'a self, views: &[View], block_rows: usize) -> Option<Operation<'a>> {
        let (input, output, other) = (views[self.input], views[self.output], self.second.map(|t| views[t]));
        Some(match &self.op {
            Op::Conv(c) => {
                let second = match (&c.second, other) {
                    (Second::Skip { stride, front }, Some(view)) => conv::Second::Skip { view, stride: *stride, front: *front },
                    (Second::Projection { window, weights }, Some(view)) => conv::Second::Projection { view, window: *window, weights },
                    _ => conv::Second::None,
                };
                let Conv { window, groups, narrow, weights, params, padding, pair_safe, .. } = c;
                Operation::Conv(conv::Conv {
                    window: *window,
                    groups: *groups,
                    narrow: *narrow,
                    input,
                    output,
                    weights,
                    params,
                    padding,
                    second,
                    pair_safe: *pair_safe,
                    block_rows,
                })
            }
            Op::MaxPool(window) => Operation::Pool(pool::Pool { window: *window, input, output, kind: pool::Kind::Max }),
            Op::AveragePool { window, include_pad, multipliers, p } => {
                let count = include_pad.then_some(multipliers.len());
                let kind = pool::Kind::Average(Average { multipliers, p: *p, count });
                Operation::Pool(pool::Pool { window: *window, input, output, kind })
            }
            Op::Mirror([top, left, ..]) => Operation::Mirror(mirror::Mirror { before: [*top as usize, *left as usize], input, output }),
            Op::Add(Sum { params, p }) => Operation::Add(add::Add { x: input, y: other, output, params, p: *p }),
            Op::Gate(Sum { params, p }) => {
                let skip = self.third.map(|t| views[t]);
                Operation::Gate(gate::Gate { x: input, gate: other?, skip, output, params, p: *p })
            }
            Op::Table(table) => Operation::Table(table::Table { input, output, table }),
            Op::Concat(_) | Op::Slice(_) => return None,
        })
    }

    /// The tensors that it reads.
    pub fn reads(&self) -> impl Iterator<Item = TensorId> + '_ {
        let parts = if let Op::Concat(parts) = &self.op { &parts[..] } else { &[] };
        [Some(self.input), self.second, self.third].into_iter().flatten().chain(parts.iter().copied())
    }
}

/// Parameters of panels: `rows` of one word a channel, padded to whole panels.
#[must_use]
pub fn params(rows: &[&[i32]], channels: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for panel in 0..panels(channels) {
        for row in rows {
            for lane in 0..LANES {
                bytes.extend(row.get(panel * LANES + lane).copied().unwrap_or(0).to_le_bytes());
            }
        }
    }
    bytes
}
