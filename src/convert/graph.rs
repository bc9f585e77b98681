//! The float network after folding: what [`super::fold`] makes and every later stage of the converter reads.

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
}

/// A tensor of the folded network.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Height, width and channels.
    pub shape: [u32; 3],
    /// True if no value is negative (it comes out of a ReLU, or of a pool over such a tensor).
    pub nonnegative: bool,
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
    /// Name of the ONNX node that the step comes from (the convolution, pool or addition), unique in the network.
    pub name: String,
    /// Name of the ONNX value that holds the step's result before its ReLU.
    pub value: String,
    /// True if a ReLU follows.
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
    /// Sum of the input and another tensor of the same shape.
    Add(TensorId),
}

/// A convolution. The first layer's weights and bias belong to the values of [`Input`] after `scale` and `shift`, as in the ONNX file.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// Window over the input.
    pub window: Window,
    /// Weights `[out][ky][kx][in]`.
    pub weights: Vec<f64>,
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

impl Step {
    /// The tensors that the step reads.
    pub fn reads(&self) -> impl Iterator<Item = TensorId> + '_ {
        let second = match &self.op {
            Op::Conv(Conv { second: Second::Skip { tensor, .. } | Second::Projection { tensor, .. }, .. }) | Op::Add(tensor) => Some(*tensor),
            _ => None,
        };
        core::iter::once(self.input).chain(second)
    }
}
