//! What can go wrong between an ONNX file and the folded network.

use core::fmt;
use std::path::PathBuf;

/// Why a network cannot be converted. [`fmt::Display`] gives one line, `WHAT, WHERE`; [`ConvertError::help`] says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConvertError {
    /// A file cannot be read.
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        what: String,
    },
    /// The bytes are no ONNX model.
    Protobuf {
        /// Name of the model.
        model: String,
        /// What is wrong.
        what: String,
    },
    /// There is not one label a class.
    Labels {
        /// How many there are.
        given: usize,
        /// Classes of the network.
        classes: usize,
    },
    /// Data that an initializer keeps in another file is missing or out of bounds.
    External {
        /// Name of the initializer.
        tensor: String,
        /// The file as the ONNX spells it.
        location: String,
        /// What is wrong.
        what: String,
    },
    /// An initializer is damaged or of a type that is not supported.
    Initializer {
        /// Name of the initializer.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// An input, an output or another value of the graph does not fit.
    Value {
        /// Name of the value.
        name: String,
        /// What is wrong.
        what: String,
        /// What to do.
        help: &'static str,
    },
    /// A node contradicts the ONNX standard or its own inputs.
    Node {
        /// Name of the node.
        node: String,
        /// Its operator.
        op: String,
        /// What is wrong.
        what: String,
    },
    /// A node is correct ONNX, but outside what is supported.
    Unsupported {
        /// Name of the node.
        node: String,
        /// Its operator.
        op: String,
        /// What is not supported.
        what: String,
        /// What is.
        help: &'static str,
    },
    /// The preprocessing does not fit the network.
    Preprocess {
        /// What is wrong.
        what: String,
        /// What to do.
        help: &'static str,
    },
    /// A residual block cannot be left out.
    Block {
        /// Which.
        what: String,
        /// Those that can.
        help: String,
    },
    /// A step cannot be expressed in the device's arithmetic.
    Arithmetic {
        /// Name of the node.
        node: String,
        /// What does not hold.
        what: String,
    },
    /// A calibration picture cannot be read.
    Picture {
        /// What is wrong, and with which picture.
        what: String,
        /// What to do.
        help: String,
    },
    /// Statistics from a file do not fit.
    Ranges {
        /// What does not.
        what: String,
        /// What to do.
        help: &'static str,
    },
    /// tract, which runs the float network, refuses it or fails.
    Float {
        /// What tract says.
        what: String,
    },
}

/// The operators that are supported, for the error that names another one.
pub const SUPPORTED: &str = "supported are Conv (1-d, 2-d, in groups), BatchNormalization, Relu, Clip, LeakyRelu, PRelu with one slope, Sigmoid, HardSigmoid, HardSwish, Swish, Add, \
    Mul of a tensor and a gate, Concat, Split and Slice of channels, MaxPool, AveragePool, GlobalAveragePool, GlobalMaxPool, ReduceMean over height and width, Gemm, MatMul with \
    constant weights, Flatten, Reshape, Squeeze, Unsqueeze, Expand of a gate, Transpose at the input, Identity, Dropout, Pad with zeros before a convolution or pool, Pad of mode reflect, \
    Slice + Pad as a shortcut, Sub, Div, Mul, Add of constants, Softmax, Sigmoid and ArgMax at the end; \
    QuantizeLinear, DequantizeLinear and the QLinear operators in files that are quantized already";

impl ConvertError {
    /// What the user can do about it.
    #[must_use]
    pub fn help(&self) -> &str {
        match self {
            Self::File { .. } => "check the path and the permissions",
            Self::Protobuf { .. } => "export the model again, or check that the file is complete (`python -m onnx.checker FILE`)",
            Self::External { .. } => "keep the ONNX and its data file together in one folder, or export with the weights inside the ONNX",
            Self::Initializer { .. } => "export the model again with finite f32 or f16 weights",
            Self::Value { help, .. } | Self::Unsupported { help, .. } | Self::Preprocess { help, .. } | Self::Ranges { help, .. } => help,
            Self::Node { .. } => "the graph contradicts itself there: export the model again, or run `onnx.checker` and `onnx.shape_inference` on it",
            Self::Labels { .. } => "give a file with one label a line, one for each class",
            Self::Arithmetic { .. } => "please report this network: the converter should have found a scale for it",
            Self::Picture { help, .. } | Self::Block { help, .. } => help,
            Self::Float { .. } => "tract cannot run this network: simplify it (`onnxsim`) or export it with another opset",
        }
    }
}

impl fmt::Display for ConvertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, what } => write!(f, "{what}, file `{}`", path.display()),
            Self::Protobuf { model, what } => write!(f, "no ONNX model: {what}, file `{model}`"),
            Self::External { tensor, location, what } => write!(f, "{what}, external data `{location}` of initializer `{tensor}`"),
            Self::Initializer { name, what } => write!(f, "{what}, initializer `{name}`"),
            Self::Value { name, what, .. } => write!(f, "{what}, value `{name}`"),
            Self::Node { node, op, what } | Self::Unsupported { node, op, what, .. } => write!(f, "{what}, node `{node}` ({op})"),
            Self::Arithmetic { node, what } => write!(f, "{what}, node `{node}`"),
            Self::Picture { what, .. } | Self::Block { what, .. } | Self::Ranges { what, .. } => f.write_str(what),
            Self::Labels { given, classes } => write!(f, "{given} labels for {classes} classes"),
            Self::Preprocess { what, .. } => write!(f, "{what}, preprocessing"),
            Self::Float { what } => write!(f, "{what}, float network"),
        }
    }
}

impl core::error::Error for ConvertError {}
