//! What each operator means, with the dimensions of its result.

use super::attributes::{check_rank, conv_window, output_size, pool_window};
use super::constant::axis;
use super::{Importer, Meaning, Op};
use crate::convert::error::{ConvertError, SUPPORTED};
use crate::convert::onnx::Node;
use crate::shape::Window;

const UNKNOWN: &str = "this operator is not supported";

impl Importer {
    /// What `node`, whose first output is `output`, amounts to. `end` names the Softmax or ArgMax whose result it reads.
    ///
    /// # Errors
    /// An operator or an attribute that is not supported, inputs that do not fit.
    pub(super) fn meaning(&mut self, node: &Node, output: &str, end: Option<String>) -> Result<Meaning, ConvertError> {
        const HARMLESS: [&str; 12] = [
            "QuantizeLinear",
            "DequantizeLinear",
            "Identity",
            "Dropout",
            "Cast",
            "Reshape",
            "Flatten",
            "Squeeze",
            "Unsqueeze",
            "Softmax",
            "LogSoftmax",
            "ArgMax",
        ];
        if let Some(end) = end {
            if !HARMLESS.contains(&node.op.as_str()) {
                return Err(
                    node.unsupported(format!("it reads the result of {end}"), "Softmax and ArgMax are supported behind the scores, at the end of the network")
                );
            }
            // Behind a Softmax, which changes no order, another of its kind says what the output is.
            let last = if matches!(node.op.as_str(), "Softmax" | "LogSoftmax" | "ArgMax") { node.op.clone() } else { end };
            self.ends.insert(output.to_owned(), last);
            return Ok(Meaning::Alias(node.input(0)?.to_owned()));
        }
        if matches!(node.op.as_str(), "Identity" | "Dropout") {
            return self.identity(node);
        }
        if let Some(meaning) = self.quantized(node, output)? {
            return Ok(meaning);
        }
        if let Some(tensor) = self.evaluate(node)? {
            self.hand_on_grid(node, output);
            return Ok(Meaning::Constant(tensor));
        }
        let reads_bytes = node.inputs.iter().any(|n| self.bytes.contains(n));
        if reads_bytes && !matches!(node.op.as_str(), "Cast" | "Transpose" | "Reshape") {
            return Err(node.unsupported("it computes with a u8 input", "a u8 input is supported with a Cast to float before anything is computed"));
        }
        if reads_bytes && node.op != "Cast" {
            self.bytes.insert(output.to_owned());
        }
        match node.op.as_str() {
            "Conv" => self.conv(node),
            "Gemm" => self.gemm(node),
            "MatMul" => self.matmul(node),
            "BatchNormalization" => self.batch_norm(node),
            "Relu" => self.keep(node, Op::Relu),
            "Clip" => self.clip(node),
            "Sigmoid" | "HardSigmoid" | "HardSwish" | "LeakyRelu" | "PRelu" | "Swish" => self.function(node),
            "Add" | "Sub" | "Mul" | "Div" | "Sum" => self.arithmetic(node),
            "MaxPool" | "AveragePool" => self.pool(node),
            "GlobalMaxPool" | "GlobalAveragePool" => self.global_pool(node),
            "ReduceMean" => self.mean(node),
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => {
                let dims = self.reshaped(node, self.shape(node, node.input(0)?)?)?;
                self.unless_same(node, Op::Reshape, dims)
            }
            "Transpose" => {
                let from = self.shape(node, node.input(0)?)?;
                let axes = self.permutation(node, from.len())?;
                let dims: Vec<usize> = axes.iter().map(|&a| from[a]).collect();
                let moved: Vec<usize> = axes.iter().copied().filter(|&a| from[a] != 1).collect();
                let op = if moved.is_sorted() { Op::Reshape } else { Op::Transpose(axes) };
                self.unless_same(node, op, dims)
            }
            "Slice" => self.slice(node),
            "Pad" => self.pad(node),
            "Cast" => self.cast(node),
            "Softmax" | "LogSoftmax" | "ArgMax" => self.end(node, output),
            "Concat" => self.concat(node),
            "Expand" => self.expand(node),
            other => Err(node.unsupported(UNKNOWN, help(other))),
        }
    }

    /// An operation on the first input that keeps its dimensions.
    pub(super) fn keep(&self, node: &Node, op: Op) -> Result<Meaning, ConvertError> {
        let read = node.input(0)?;
        Ok(Meaning::Operation { op, reads: vec![read.to_owned()], dims: self.shape(node, read)?.to_vec() })
    }

    /// An operation on the first input that does nothing where the dimensions stay.
    pub(super) fn unless_same(&self, node: &Node, op: Op, dims: Vec<usize>) -> Result<Meaning, ConvertError> {
        let read = node.input(0)?;
        if matches!(op, Op::Reshape | Op::Expand) && self.shape(node, read)? == dims {
            return Ok(Meaning::Alias(read.to_owned()));
        }
        Ok(Meaning::Operation { op, reads: vec![read.to_owned()], dims })
    }

    fn identity(&self, node: &Node) -> Result<Meaning, ConvertError> {
        if let Some(mode) = node.optional(2)
            && self.constant(mode).and_then(|t| t.as_ints()).is_none_or(|v| v != [0])
        {
            return Err(node.unsupported("training_mode is not false", "export the model in evaluation mode (`model.eval()`)"));
        }
        Ok(Meaning::Alias(node.input(0)?.to_owned()))
    }

    /// Channels, height and width of the first input; a signal has the height 1.
    fn picture(&self, node: &Node) -> Result<(usize, [usize; 2]), ConvertError> {
        match *self.shape(node, node.input(0)?)? {
            [1, c, h, w] => {
                check_rank(node, 2)?;
                Ok((c, [h, w]))
            }
            [1, c, w] => {
                check_rank(node, 1)?;
                Ok((c, [1, w]))
            }
            ref dims => Err(node.unsupported(
                format!("its input is a tensor {dims:?}"),
                "pictures `[1][channels][height][width]` and signals `[1][channels][length]` are supported there",
            )),
        }
    }

    /// An operation on the first input, a picture or a signal, that makes one of `c` channels.
    fn picture_of(&self, node: &Node, op: Op, c: usize, [h, w]: [usize; 2]) -> Result<Meaning, ConvertError> {
        let read = node.input(0)?;
        let dims = if self.shape(node, read)?.len() == 3 { vec![1, c, w] } else { vec![1, c, h, w] };
        Ok(Meaning::Operation { op, reads: vec![read.to_owned()], dims })
    }

    /// The dimensions of a constant input.
    pub(super) fn weights<'a>(&self, node: &'a Node, i: usize) -> Result<(&'a str, &[usize]), ConvertError> {
        let name = node.input(i)?;
        let tensor = self.constant(name).ok_or_else(|| node.unsupported(format!("input `{name}` is not constant"), "constant weights are supported"))?;
        if tensor.as_floats().is_none() {
            return Err(node.unsupported(format!("input `{name}` is of integers"), "weights of f32 and f16 are supported"));
        }
        Ok((name, &tensor.dims))
    }

    fn conv(&self, node: &Node) -> Result<Meaning, ConvertError> {
        let (c, size) = self.picture(node)?;
        let (weights, dims) = self.weights(node, 1)?;
        let signal = self.shape(node, node.input(0)?)?.len() == 3;
        let (oc, ic, ky, kx) = match *dims {
            [oc, ic, ky, kx] if !signal => (oc, ic, ky, kx),
            [oc, ic, kx] if signal => (oc, ic, 1, kx),
            _ => return Err(node.wrong(format!("weights {dims:?} for an input of {c} channels of {size:?}"))),
        };
        let stated = node.int("group", 1)?;
        let groups = usize::try_from(stated).ok().filter(|&g| g > 0 && c.is_multiple_of(g) && oc.is_multiple_of(g));
        let groups = groups.ok_or_else(|| node.wrong(format!("{stated} groups of {c} input and {oc} output channels")))?;
        if ic != c / groups || oc == 0 || ky == 0 || kx == 0 {
            return Err(node.wrong(format!("weights {dims:?} for an input of {c} channels in {groups} groups")));
        }
        let window = conv_window(node, size, [ky, kx])?;
        let [oh, ow] = output_size(node, &window, size)?;
        let bias = self.vector(node, 2, oc)?;
        self.picture_of(node, Op::Conv { window, groups, weights: weights.to_owned(), bias }, oc, [oh, ow])
    }

    /// The name of the optional constant input `i`, a vector of `len` elements.
    fn vector(&self, node: &Node, i: usize, len: usize) -> Result<Option<String>, ConvertError> {
        if node.optional(i).is_none() {
            return Ok(None);
        }
        let (name, dims) = self.weights(node, i)?;
        if dims != [len] {
            return Err(node.wrong(format!("input `{name}` has the shape {dims:?} instead of [{len}]")));
        }
        Ok(Some(name.to_owned()))
    }

    fn gemm(&self, node: &Node) -> Result<Meaning, ConvertError> {
        let x = self.shape(node, node.input(0)?)?;
        let n = match (node.int("transA", 0)? != 0, x) {
            (false, &[1, n]) | (true, &[n, 1]) => n,
            _ => return Err(node.unsupported(format!("its input is a tensor {x:?}"), "a dense layer over one row `[1][n]` is supported; flatten before it")),
        };
        let transposed = node.int("transB", 0)? != 0;
        let (weights, dims) = self.weights(node, 1)?;
        let m = match (transposed, dims) {
            (false, &[i, o]) | (true, &[o, i]) if i == n && o > 0 => o,
            _ => return Err(node.wrong(format!("weights {dims:?} for an input {x:?}"))),
        };
        let mut bias = None;
        if node.optional(2).is_some() {
            let (name, dims) = self.weights(node, 2)?;
            let (last, rest) = dims.split_last().map_or((1, &[][..]), |(l, r)| (*l, r));
            if (last != m && last != 1) || rest.iter().any(|&d| d != 1) {
                return Err(node.wrong(format!("a bias {dims:?} for {m} outputs")));
            }
            bias = Some((name.to_owned(), f64::from(node.float("beta", 1.0)?)));
        }
        let op = Op::Dense { weights: weights.to_owned(), transposed, alpha: f64::from(node.float("alpha", 1.0)?), bias };
        Ok(Meaning::Operation { op, reads: vec![node.input(0)?.to_owned()], dims: vec![1, m] })
    }

    fn matmul(&self, node: &Node) -> Result<Meaning, ConvertError> {
        let x = self.shape(node, node.input(0)?)?;
        if [0, 1].iter().all(|&i| node.optional(i).is_some_and(|name| self.constant(name).is_none())) {
            return Err(node.unsupported("both operands depend on the picture", "a product with constant weights is supported; attention is not"));
        }
        let (weights, dims) = self.weights(node, 1)?;
        let Some((&n, rest)) = x.split_last().filter(|(_, rest)| rest.iter().all(|&d| d == 1)) else {
            return Err(node.unsupported(format!("its input is a tensor {x:?}"), "a dense layer over one row `[1][n]` is supported; flatten before it"));
        };
        let &[i, m] = dims else { return Err(node.wrong(format!("its weights are a tensor {dims:?}"))) };
        if i != n || m == 0 {
            return Err(node.wrong(format!("weights {dims:?} for an input {x:?}")));
        }
        let op = Op::Dense { weights: weights.to_owned(), transposed: false, alpha: 1.0, bias: None };
        Ok(Meaning::Operation { op, reads: vec![node.input(0)?.to_owned()], dims: [rest, &[m]].concat() })
    }

    fn batch_norm(&self, node: &Node) -> Result<Meaning, ConvertError> {
        if node.int("training_mode", 0)? != 0 {
            return Err(node.unsupported("training_mode is 1", "export the model in evaluation mode (`model.eval()`)"));
        }
        if node.int("spatial", 1)? != 1 {
            return Err(node.unsupported("spatial is 0", "one mean and variance a channel are supported"));
        }
        let dims = self.shape(node, node.input(0)?)?;
        let Some(&channels) = dims.get(1) else { return Err(node.wrong(format!("its input is a tensor {dims:?}"))) };
        let mut parameters: [String; 4] = Default::default();
        for (i, name) in parameters.iter_mut().enumerate() {
            *name = self.vector(node, i + 1, channels)?.ok_or_else(|| node.wrong(format!("input {} is missing", i + 1)))?;
        }
        let epsilon = f64::from(node.float("epsilon", 1e-5)?);
        let variance = self.constant(&parameters[3]).and_then(|t| t.as_floats()).unwrap_or_default();
        if !epsilon.is_finite() || variance.iter().any(|&v| f64::from(v) + epsilon <= 0.0) {
            return Err(node.wrong("a variance is not positive"));
        }
        self.keep(node, Op::BatchNorm { parameters, epsilon })
    }

    fn pool(&self, node: &Node) -> Result<Meaning, ConvertError> {
        let (c, size) = self.picture(node)?;
        let (window, enlarged) = pool_window(node, size)?;
        let [oh, ow] = output_size(node, &window, size)?;
        let op = if node.op == "MaxPool" {
            Op::MaxPool(window)
        } else {
            let explicit = node.ints("pads")?.is_some_and(|p| p.iter().any(|&v| v != 0)) || node.text("auto_pad", "NOTSET")?.starts_with("SAME");
            let include_pad = node.int("count_include_pad", 0)? != 0 && !window.unpadded() && explicit;
            if include_pad && enlarged {
                return Err(node.unsupported("count_include_pad together with a ceil_mode that enlarges the border", "one of the two is supported"));
            }
            Op::AveragePool { window, include_pad }
        };
        self.picture_of(node, op, c, [oh, ow])
    }

    fn global_pool(&self, node: &Node) -> Result<Meaning, ConvertError> {
        let (c, size) = self.picture(node)?;
        let kernel = size.map(|v| u32::try_from(v).unwrap_or(u32::MAX));
        let window = Window { kernel, stride: [1, 1], dilation: [1, 1], pads: [0; 4] };
        output_size(node, &window, size)?;
        let op = if node.op == "GlobalMaxPool" { Op::MaxPool(window) } else { Op::AveragePool { window, include_pad: false } };
        self.picture_of(node, op, c, [1, 1])
    }

    fn mean(&self, node: &Node) -> Result<Meaning, ConvertError> {
        let from = self.shape(node, node.input(0)?)?;
        let mut axes = match self.int_list(node, "axes", 1)? {
            Some(axes) => axes.iter().map(|&a| axis(node, a, from.len())).collect::<Result<Vec<_>, _>>()?,
            None => Vec::new(),
        };
        if axes.is_empty() {
            return Err(node.unsupported("a mean over all axes", "a mean over height and width is supported"));
        }
        axes.sort_unstable();
        axes.dedup();
        let keep = node.int("keepdims", 1)? != 0;
        let dims = from.iter().enumerate().filter_map(|(a, &d)| if !axes.contains(&a) { Some(d) } else { keep.then_some(1) }).collect();
        Ok(Meaning::Operation { op: Op::Mean(axes), reads: vec![node.input(0)?.to_owned()], dims })
    }

    fn cast(&self, node: &Node) -> Result<Meaning, ConvertError> {
        let (read, to) = (node.input(0)?, node.int("to", 0)?);
        match to {
            1 | 10 | 11 if self.bytes.contains(read) => self.keep(node, Op::Cast),
            1 | 10 | 11 => Ok(Meaning::Alias(read.to_owned())),
            _ => Err(node.unsupported(format!("a cast to ONNX data type {to}"), "casts to float are supported")),
        }
    }

    /// Softmax or ArgMax: the order of the scores before it is the same, so that it is left out and must be the end.
    fn end(&mut self, node: &Node, output: &str) -> Result<Meaning, ConvertError> {
        let read = node.input(0)?;
        let dims = self.shape(node, read)?;
        let all: usize = dims.iter().product();
        let old = node.op != "ArgMax" && self.opset < 13;
        let default = if node.op == "ArgMax" {
            0
        } else if old {
            1
        } else {
            -1
        };
        let axis = axis(node, node.int("axis", default)?, dims.len())?;
        let together = if old { dims[axis..].iter().product() } else { dims[axis] };
        if together != all {
            return Err(node.unsupported(
                format!("it goes over axis {axis} of {dims:?}"),
                "Softmax and ArgMax over all classes are supported, at the end; attention by softmax, across branches or pixels, is not",
            ));
        }
        self.ends.insert(output.to_owned(), node.op.clone());
        Ok(Meaning::Alias(read.to_owned()))
    }
}

/// What to do about an operator that no network of the family has, whatever it reads.
fn outside(op: &str) -> Option<&'static str> {
    Some(match op {
        "GroupNormalization"
        | "InstanceNormalization"
        | "LayerNormalization"
        | "SimplifiedLayerNormalization"
        | "RMSNormalization"
        | "MeanVarianceNormalization"
        | "LpNormalization"
        | "LRN" => {
            "a normalization by the statistics of the picture itself is not supported: train the network with batch normalization, which becomes part of the convolutions"
        }
        "Resize" | "Upsample" | "ConvTranspose" | "DepthToSpace" | "GridSample" | "NonMaxSuppression" | "TopK" | "RoiAlign" => {
            "networks that end in one row of scores are supported: cut heads for detection or segmentation off before the export"
        }
        "LSTM" | "GRU" | "RNN" | "Scan" | "Loop" | "If" => {
            "recurrent networks and control flow are not supported: export a feed-forward network, traced with one input"
        }
        "Attention" | "MultiHeadAttention" | "Einsum" => "transformers are not supported: residual networks of convolutions are",
        _ => return None,
    })
}

/// Refuses such an operator, before its neighbours are said to lack something.
pub fn within_the_family(node: &Node) -> Result<(), ConvertError> {
    outside(&node.op).map_or(Ok(()), |help| Err(node.unsupported(UNKNOWN, help)))
}

/// What to do about an operator that is not supported.
fn help(op: &str) -> &'static str {
    match op {
        "ReduceSum" | "ReduceMax" | "ReduceProd" => {
            "sums over axes and attention across branches, as in SKNet and ResNeSt, are not supported: use a variant of the network without it"
        }
        "Pow" | "Sqrt" => {
            "powers and roots are not supported, neither in a normalization by the statistics of the picture itself (train with batch normalization) nor in an activation such as GELU (Relu, LeakyRelu, Sigmoid, HardSigmoid, HardSwish and SiLU are)"
        }
        "Elu" | "Selu" | "Celu" | "Gelu" | "Mish" | "Softplus" | "Softsign" | "Tanh" | "Erf" | "ThresholdedRelu" | "Exp" | "Log" => {
            "the activations that are supported are Relu, Clip (ReLU6), LeakyRelu, Sigmoid, HardSigmoid, HardSwish and x times Sigmoid(x) (SiLU)"
        }
        _ => SUPPORTED,
    }
}
