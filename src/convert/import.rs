//! ONNX to a graph of typed operations over one picture: constants are folded, shapes are known, what is not supported is refused.

use super::error::ConvertError;
use super::graph::{Function, Quantization};
use super::onnx::{Node, Onnx, Tensor};
use crate::shape::Window;
use std::collections::{HashMap, HashSet};

mod attributes;
mod constant;
mod elementwise;
mod lists;
mod operators;
mod order;
mod parts;
mod quantized;

/// Bytes that one intermediate tensor may have at most, as f32.
const LARGEST: usize = 1 << 30;

/// The network as operations in an order in which they can run. The batch is 1 everywhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// Name of the network.
    pub name: String,
    /// SHA-256 of the ONNX and its external data.
    pub sha256: [u8; 32],
    /// Version of the operator set.
    pub opset: i64,
    /// Name of the input value.
    pub input: String,
    /// True if the input has the type u8.
    pub bytes: bool,
    /// The operations.
    pub operations: Vec<Operation>,
    /// Constant tensors by name: the initializers and what could be computed from them.
    pub constants: HashMap<String, Tensor>,
    /// Dimensions of the input and of what the operations make.
    pub dims: HashMap<String, Vec<usize>>,
    /// Name of the value that holds the scores.
    pub output: String,
    /// The operator behind the scores, which is not computed: Softmax, LogSoftmax, ArgMax or Sigmoid.
    pub end: Option<String>,
    /// The other outputs of the file, which nothing here computes.
    pub left_out: Vec<String>,
    /// The constants that the file stores as integers.
    pub grids: HashMap<String, Grid>,
}

/// The real value of one step of a constant that an ONNX file stores as integers from -128 to 128.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// One for all, or one for each index along an axis.
    pub steps: Vec<f64>,
    /// That axis.
    pub axis: usize,
}

/// A node that computes something from the picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// The ONNX node, its inputs renamed where nodes that do nothing were left out.
    pub node: Node,
    /// What it does.
    pub op: Op,
    /// The values that it reads, without constants: one, two for [`Op::Add`] and [`Op::Product`], two and more for [`Op::Concat`].
    pub reads: Vec<String>,
    /// The value that it makes.
    pub output: String,
}

/// What an operation does. Constants are given by name.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Convolution of `[1][c][h][w]` with weights `[out][in][ky][kx]`, or of `[1][c][w]` with weights `[out][in][kx]`.
    Conv {
        /// The window.
        window: Window,
        /// Groups: output channels of group `g` read the input channels of group `g` only, `in` of them.
        groups: usize,
        /// The weights.
        weights: String,
        /// One value an output channel.
        bias: Option<String>,
    },
    /// `alpha · x · weights + beta · bias` of a row vector `[1][n]`.
    Dense {
        /// The weights, `[in][out]`.
        weights: String,
        /// True if the weights are `[out][in]`.
        transposed: bool,
        /// Factor of the product.
        alpha: f64,
        /// The bias and its factor.
        bias: Option<(String, f64)>,
    },
    /// `(x - mean) / sqrt(variance + epsilon) · scale + shift` along the second axis.
    BatchNorm {
        /// Scale, shift, mean, variance.
        parameters: [String; 4],
        /// Added to the variance.
        epsilon: f64,
    },
    /// Addition, subtraction, multiplication or division with a constant.
    Affine {
        /// Which of the four.
        kind: Arithmetic,
        /// The constant.
        constant: String,
        /// True if the constant is the left operand.
        left: bool,
    },
    /// Conversion of u8 to float.
    Cast,
    /// `max(x, 0)`.
    Relu,
    /// The values that bytes can stand for.
    Quantize(Quantization),
    /// Another function of every value.
    Function(Function),
    /// Sum of two values of the same shape.
    Add,
    /// Product of two values, one of which may be repeated along some axes.
    Product,
    /// Several values side by side along the second axis.
    Concat,
    /// The value, repeated along axes of size 1.
    Expand,
    /// Maximum over the window of `[1][c][h][w]`.
    MaxPool(Window),
    /// Mean over the window of `[1][c][h][w]`.
    AveragePool {
        /// The window.
        window: Window,
        /// True if border pixels are counted in the divisor.
        include_pad: bool,
    },
    /// Mean over some axes.
    Mean(Vec<usize>),
    /// The same elements in the same order under other dimensions.
    Reshape,
    /// Axis `i` of the result is axis `.0[i]` of the input.
    Transpose(Vec<usize>),
    /// Every `step`-th element from `start`, along each axis.
    Slice {
        /// First index, an axis.
        start: Vec<usize>,
        /// Step, an axis.
        step: Vec<usize>,
    },
    /// A border of one value.
    Pad {
        /// Elements in front, an axis.
        before: Vec<usize>,
        /// Elements behind, an axis.
        after: Vec<usize>,
        /// The value.
        value: f32,
    },
    /// A border of `[1][c][h][w]` that mirrors it, the outermost pixels not twice: at the top, left, bottom and right, each smaller than the side.
    Mirror([u32; 4]),
}

/// The four kinds of arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// `x + y`
    Add,
    /// `x - y`
    Sub,
    /// `x · y`
    Mul,
    /// `x / y`
    Div,
}

/// The state of an import.
struct Importer {
    opset: i64,
    /// The batch that the file declares.
    batch: Option<usize>,
    constants: HashMap<String, Tensor>,
    /// ONNX data types of constants.
    types: HashMap<String, i32>,
    grids: HashMap<String, Grid>,
    dims: HashMap<String, Vec<usize>>,
    /// Values that are another one under a new name.
    alias: HashMap<String, String>,
    /// Values of type u8.
    bytes: HashSet<String>,
    /// Values behind a Softmax or ArgMax, with the name of that operator.
    ends: HashMap<String, String>,
    operations: Vec<Operation>,
    /// Elements of the constants that were computed.
    computed: usize,
}

/// What a node amounts to.
enum Meaning {
    /// Nothing: its output is this value.
    Alias(String),
    /// Its output is this constant.
    Constant(Tensor),
    /// An operation on values, with the dimensions of its result.
    Operation { op: Op, reads: Vec<String>, dims: Vec<usize> },
}

/// Imports the part of `onnx` that its first output depends on.
///
/// # Errors
/// A cyclic graph, a value that nobody makes, an operator or an attribute that is not supported, shapes that do not fit, a tensor over 1 GiB.
pub fn import(onnx: Onnx) -> Result<Graph, ConvertError> {
    let Onnx { name, opset, inputs, outputs, nodes, tensors, types, sha256 } = onnx;
    let value = |name: &str, what: String, help| ConvertError::Value { name: name.to_owned(), what, help };
    let mut outputs = outputs.into_iter();
    let output = outputs.next().ok_or_else(|| value("", "the graph has no output".into(), "export the model again"))?;
    let sorted = order::needed(&nodes, &inputs, &tensors, &output)?;
    sorted.nodes.iter().try_for_each(|&i| operators::within_the_family(&nodes[i]))?;
    let mut used = inputs.into_iter().filter(|i| sorted.inputs.contains(&i.name));
    let input = used.next().ok_or_else(|| value(&output, "the output does not depend on an input".into(), "export the model with its input"))?;
    if let Some(second) = used.next() {
        return Err(value(&second.name, format!("a second input beside `{}`", input.name), "networks with one input, a picture, are supported"));
    }
    let bytes = match input.data_type {
        2 => true,
        1 | 10 | 11 => false,
        t => return Err(value(&input.name, format!("an input of ONNX data type {t}"), "inputs of type float, float16, double and uint8 are supported")),
    };
    let batch = input.dims.first().copied().flatten();
    let mut dims = vec![1];
    for d in input.dims.iter().skip(1) {
        dims.push(d.ok_or_else(|| {
            value(
                &input.name,
                "a height, width or channel count that is not fixed".into(),
                "export the model with a fixed picture size; only the batch may be symbolic",
            )
        })?);
    }
    let mut importer = Importer {
        opset,
        batch,
        constants: tensors,
        types,
        grids: HashMap::new(),
        dims: HashMap::new(),
        alias: HashMap::new(),
        bytes: bytes.then(|| input.name.clone()).into_iter().collect(),
        ends: HashMap::new(),
        operations: Vec::new(),
        computed: 0,
    };
    check_size(&dims).map_err(|what| value(&input.name, what, "use smaller pictures"))?;
    importer.dims.insert(input.name.clone(), dims);
    let mut nodes: Vec<Option<Node>> = nodes.into_iter().map(Some).collect();
    for index in sorted.nodes {
        if let Some(node) = nodes[index].take() {
            importer.node(node)?;
        }
    }
    let mut end = importer.ends.get(&output).cloned();
    let mut output = importer.resolve(&output).to_owned();
    // Like a Softmax, a Sigmoid behind the scores keeps their order.
    if let Some(last) = importer.operations.pop_if(|o| o.output == output && o.op == Op::Function(Function::Sigmoid)) {
        output.clone_from(&last.reads[0]);
        end = Some("Sigmoid".into());
    }
    if importer.constants.contains_key(&output) {
        return Err(value(&output, "the output is a constant".into(), "export the model with its input"));
    }
    importer.prune();
    let Importer { constants, dims, operations, grids, .. } = importer;
    Ok(Graph { name, sha256, opset, input: input.name, bytes, operations, constants, dims, output, end, left_out: outputs.collect(), grids })
}

impl Importer {
    fn resolve<'a>(&'a self, name: &'a str) -> &'a str {
        self.alias.get(name).map_or(name, String::as_str)
    }

    /// The constant `name`, or `None` if it depends on the picture.
    fn constant(&self, name: &str) -> Option<&Tensor> {
        self.constants.get(name)
    }

    /// Dimensions of the value or constant `name`.
    fn shape(&self, node: &Node, name: &str) -> Result<&[usize], ConvertError> {
        let known = self.dims.get(name).map(Vec::as_slice).or_else(|| self.constants.get(name).map(|t| &t.dims[..]));
        known.ok_or_else(|| node.wrong(format!("input `{name}` has no known shape")))
    }

    fn node(&mut self, mut node: Node) -> Result<(), ConvertError> {
        let end = node.inputs.iter().find_map(|name| self.ends.get(name)).cloned();
        for name in &mut node.inputs {
            if let Some(source) = self.alias.get(name) {
                *name = source.clone();
            }
        }
        if node.op == "Split" && end.is_none() && node.inputs.first().is_some_and(|name| self.constant(name).is_none()) {
            for (index, meaning) in self.split(&node)? {
                let (output, read) = (node.outputs[index].clone(), node.input(0)?.to_owned());
                let name = format!("{}.{index}", node.name);
                let part = Node { name, inputs: vec![read], outputs: vec![output.clone()], ..node.clone() };
                self.record(part, output, meaning)?;
            }
            return Ok(());
        }
        if let Some(parts) = quantized::parts(&node)? {
            return parts.into_iter().try_for_each(|part| self.node(part));
        }
        let output = node.outputs.first().filter(|s| !s.is_empty()).cloned().ok_or_else(|| node.wrong("it has no output"))?;
        let meaning = self.meaning(&node, &output, end)?;
        self.record(node, output, meaning)
    }

    /// Keeps what `node` makes as `output`.
    fn record(&mut self, node: Node, output: String, meaning: Meaning) -> Result<(), ConvertError> {
        match meaning {
            Meaning::Alias(source) => {
                self.alias.insert(output, source);
            }
            Meaning::Constant(tensor) => {
                self.computed += tensor.len();
                if self.computed > LARGEST / 4 {
                    return Err(node.wrong("the constants that must be computed are larger than 1 GiB"));
                }
                self.constants.insert(output, tensor);
            }
            Meaning::Operation { op, reads, dims } => {
                check_size(&dims).map_err(|what| node.wrong(what))?;
                self.dims.insert(output.clone(), dims);
                self.operations.push(Operation { node, op, reads, output });
            }
        }
        Ok(())
    }

    /// Forgets what no operation reads.
    fn prune(&mut self) {
        let read: HashSet<&String> = self.operations.iter().flat_map(|o| &o.node.inputs).collect();
        self.constants.retain(|name, _| read.contains(name));
    }
}

/// Says what is wrong with a tensor of `dims` where it is empty or too large.
fn check_size(dims: &[usize]) -> Result<(), String> {
    let bytes = dims.iter().try_fold(4usize, |n, &d| n.checked_mul(d)).unwrap_or(usize::MAX);
    match bytes {
        0 => Err(format!("a tensor {dims:?} without elements")),
        b if b > LARGEST => Err(format!("a tensor {dims:?} of more than 1 GiB")),
        _ => Ok(()),
    }
}
