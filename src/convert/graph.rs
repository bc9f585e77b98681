//! The float network after folding: what [`super::fold`] makes and every later stage of the converter reads.

use crate::format::view::TensorInput;
use crate::quant::DataType;
use crate::shape::Window;

/// Index of a tensor in [`Network::tensors`].
pub type TensorId = usize;

/// How the bytes that the program reads relate to the values that the ONNX network expects.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Height, width and channels of the picture.
    pub shape: [u32; 3],
    /// True if the ONNX input is `[n][h][w][c]`, false if it is `[n][c][h][w]`.
    pub nhwc: bool,
    /// True if the ONNX input has the type u8.
    pub bytes: bool,
    /// The value that the network's first layers see is `byte · scale[c] + shift[c]`: the chosen preprocessing, one entry a channel.
    pub scale: Vec<f64>,
    /// See `scale`.
    pub shift: Vec<f64>,
    /// Where it is no picture: the bytes are S8, and come of values in this layout.
    pub tensor: Option<TensorInput>,
}

impl Input {
    /// Type of the bytes.
    #[must_use]
    pub const fn kind(&self) -> DataType {
        if self.tensor.is_some() { DataType::S8 } else { DataType::U8 }
    }
}

/// A tensor of the folded network.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Height, width and channels.
    pub shape: [u32; 3],
    /// True if no value is negative (it comes out of a ReLU, or of a pool over such a tensor).
    pub nonnegative: bool,
    /// No value is larger than this: 6 behind a ReLU6, infinity as a rule.
    pub limit: f64,
    /// How the ONNX file itself stores it, where it says so.
    pub foreign: Option<Quantization>,
    /// The channel of the ONNX value that each channel shows, or [`GAP`] for a channel that only aligns the next one; empty where all are shown in order.
    pub channels: Vec<u32>,
}

/// No channel: see [`Tensor::channels`]. It holds zeros, or what a function makes of zeros, and only weights of zero read it.
pub const GAP: u32 = u32::MAX;

impl Tensor {
    /// A tensor that shows all channels in order and has no limit.
    #[must_use]
    pub const fn new(shape: [u32; 3], nonnegative: bool) -> Self {
        Self { shape, nonnegative, limit: f64::INFINITY, foreign: None, channels: Vec::new() }
    }

    /// The type of its bytes where 0 stands for 0.
    #[must_use]
    pub const fn bytes(&self) -> DataType {
        if self.nonnegative { DataType::U8 } else { DataType::S8 }
    }
}

/// How an ONNX file stores a tensor: `scale · (byte - zero)`, the byte from 0 to 255. Signed bytes are counted from -128.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantization {
    /// Real value of one step, positive.
    pub scale: f32,
    /// The byte that stands for 0.
    pub zero: u8,
}

impl Quantization {
    /// The byte for `x` as ONNX defines it: rounded half to even, then clamped.
    #[must_use]
    pub fn byte(self, x: f32) -> u8 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        let byte = ((x / self.scale).round_ties_even() + f32::from(self.zero)).clamp(0.0, 255.0) as u8;
        byte
    }

    /// The value of the byte for `x`.
    #[must_use]
    pub fn at(self, x: f32) -> f32 {
        (f32::from(self.byte(x)) - f32::from(self.zero)) * self.scale
    }

    /// The largest value for which a byte stands.
    #[must_use]
    pub fn largest(self) -> f64 {
        f64::from(u8::MAX - self.zero) * f64::from(self.scale)
    }

    /// True if no byte stands for a value outside of `low` to `high`, but for the rounding of these two.
    #[must_use]
    pub fn within(self, low: f64, high: f64) -> bool {
        let (scale, zero) = (f64::from(self.scale), f64::from(self.zero));
        (low / scale + 0.5).floor() + zero <= 0.0 && (high / scale + 0.5).floor() + zero >= 255.0
    }
}

/// The folded float network: steps in an order in which they can run.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// Name of the ONNX graph, or of the file where it has none.
    pub name: String,
    /// What is fed in. Tensor 0 is the picture.
    pub input: Input,
    /// All tensors; each but the first is the output of one step.
    pub tensors: Vec<Tensor>,
    /// The steps. The output of the last one is the scores, `[1][1][classes]`.
    pub steps: Vec<Step>,
}

/// One fused operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Name of the ONNX node that the step comes from (the convolution, pool or addition), unique in the network: with `.0`, `.1` ... behind it for the parts of a Split, and
    /// `.relu` for a part of a concatenation behind a ReLU.
    pub name: String,
    /// Name of the ONNX value that holds the step's result before its ReLU.
    pub value: String,
    /// True if a ReLU follows, which takes what is larger than the output's [`Tensor::limit`] to that limit. On an operation that only passes values on ([`Op::Concat`],
    /// [`Op::Slice`], [`Op::MaxPool`], [`Op::Mirror`]) it says that they came from behind a ReLU already, while `value` is from before.
    pub relu: bool,
    /// The operation.
    pub op: Op,
    /// What it reads.
    pub input: TensorId,
    /// What it makes.
    pub output: TensorId,
    /// The residual block that the step belongs to, counted from 0.
    pub block: Option<u32>,
}

/// What a step computes.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Convolution or dense layer, batch normalization folded in.
    Conv(Conv),
    /// Maximum over the window; the border takes no part.
    MaxPool(Window),
    /// Mean over the window; with `include_pad` the border counts as zeros.
    AveragePool {
        /// The window; a global mean's is the whole picture.
        window: Window,
        /// True if border pixels are counted in the divisor.
        include_pad: bool,
    },
    /// The input with a border that mirrors it, the outermost pixels not twice: at the top, left, bottom and right, each smaller than the side.
    Mirror([u32; 4]),
    /// Sum of the input and another tensor of the same shape.
    Add(TensorId),
    /// The input times a factor, plus a shift, channel by channel: a batch normalization that no convolution could take, or (1 and 0) a ReLU of a tensor that others read
    /// with its sign.
    Affine {
        /// One factor a channel.
        scale: Vec<f64>,
        /// One shift a channel.
        shift: Vec<f64>,
    },
    /// The input times a gate, channel by channel, plus a tensor of the input's shape where there is one: squeeze-and-excitation.
    Gate {
        /// `[1][1][channels]`, values 0 to 1.
        gate: TensorId,
        /// What is added before the ReLU.
        skip: Option<TensorId>,
    },
    /// A function of every value.
    Function(Function),
    /// The channels of the input and of these tensors side by side. It computes nothing: the parts are made where they belong.
    Concat(Vec<TensorId>),
    /// The channels from this one on, as many as the output has, a multiple of 4. It computes nothing.
    Slice(u32),
}

/// A function of one value, as ONNX defines it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `max(0, min(1, alpha·x + beta))`
    HardSigmoid {
        /// Slope.
        alpha: f64,
        /// Value at 0.
        beta: f64,
    },
    /// `x · sigmoid(x)`
    Silu,
    /// `x · max(0, min(1, x / 6 + 1 / 2))`
    HardSwish,
    /// `x` where it is positive, `slope·x` elsewhere.
    LeakyRelu {
        /// Slope of the negative part.
        slope: f64,
    },
    /// `max(low, min(high, x))`
    Clip {
        /// Least result.
        low: f64,
        /// Largest result.
        high: f64,
    },
}

impl Function {
    /// True if it keeps factors: `f(k·x) = k·f(x)` for every `k` over 0. Channels may then have scales of their own.
    #[must_use]
    pub const fn keeps_factors(self) -> bool {
        matches!(self, Self::LeakyRelu { .. })
    }

    /// True if it is a curve: neither made of two rays nor a limit.
    #[must_use]
    pub const fn bends(self) -> bool {
        matches!(self, Self::Sigmoid | Self::HardSigmoid { .. } | Self::Silu | Self::HardSwish)
    }

    /// Its value at `x`.
    #[must_use]
    pub fn at(self, x: f64) -> f64 {
        match self {
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Self::HardSigmoid { alpha, beta } => alpha.mul_add(x, beta).clamp(0.0, 1.0),
            Self::Silu => x / (1.0 + (-x).exp()),
            Self::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
            Self::LeakyRelu { slope } => {
                if x > 0.0 {
                    x
                } else {
                    slope * x
                }
            }
            Self::Clip { low, high } => x.max(low).min(high),
        }
    }
}

/// A convolution. The first layer's weights and bias belong to the values of [`Input`] after `scale` and `shift`, as in the ONNX file.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// Window over the input.
    pub window: Window,
    /// Groups: output channels of group `g` read the input channels of group `g` only.
    pub groups: u32,
    /// Weights `[out][ky][kx][in]`, `in` being the input channels of a group.
    pub weights: Vec<f64>,
    /// Where the ONNX file stores the weights as integers, the real value of one step for each output channel; else empty.
    pub steps: Vec<f64>,
    /// One value an output channel.
    pub bias: Vec<f64>,
    /// What is added before the ReLU.
    pub second: Second,
}

/// What a convolution adds to its result.
#[derive(Clone, Debug, PartialEq)]
pub enum Second {
    /// Nothing.
    None,
    /// A tensor: channel `c` of output pixel `(y, x)` takes channel `c - front` of pixel `(y·stride[0], x·stride[1])`, or 0 where there is none.
    Skip {
        /// The tensor.
        tensor: TensorId,
        /// 1, or 2 for the shortcut that takes every other pixel (option A).
        stride: [u32; 2],
        /// Channels of zeros in front.
        front: u32,
    },
    /// Another convolution, unpadded; its bias is part of the main one's.
    Projection {
        /// What it reads.
        tensor: TensorId,
        /// Its window.
        window: Window,
        /// Its weights `[out][ky][kx][in]`.
        weights: Vec<f64>,
    },
}

impl Op {
    /// The tensors that the operation reads; `input` is the first.
    pub fn reads(&self, input: TensorId) -> impl Iterator<Item = TensorId> + '_ {
        let (second, third, parts) = match self {
            Self::Conv(Conv { second: Second::Skip { tensor, .. } | Second::Projection { tensor, .. }, .. }) | Self::Add(tensor) => {
                (Some(*tensor), None, &[][..])
            }
            Self::Gate { gate, skip } => (Some(*gate), *skip, &[][..]),
            Self::Concat(parts) => (None, None, &parts[..]),
            _ => (None, None, &[][..]),
        };
        core::iter::once(input).chain(second).chain(third).chain(parts.iter().copied())
    }
}

impl Step {
    /// The tensors that the step reads.
    pub fn reads(&self) -> impl Iterator<Item = TensorId> + '_ {
        self.op.reads(self.input)
    }
}
