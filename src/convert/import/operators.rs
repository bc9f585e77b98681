//! What each operator means, with the dimensions of its result.

use super::attributes::{conv_window, output_size, pool_window};
use super::constant::axis;
use super::{Arithmetic, Importer, Meaning, Op};
use crate::convert::error::{ConvertError, SUPPORTED};
use crate::convert::onnx::Node;
use crate::shape::Window;

impl Importer {
    /// What `node`, whose first output is `output`, amounts to. `end` names the Softmax or ArgMax whose result it reads.
    ///
    /// # Errors
    /// An operator or an attribute that is not supported, inputs that do not fit.
    pub(super) fn meaning(&mut self, node: &Node, output: &str, end: Option<String>) -> Result<Meaning, ConvertError> {
        const HARMLESS: [&str; 10] = ["Identity", "Dropout", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Softmax", "LogSoftmax", "ArgMax"];
        if let Some(end) = end {
            if !HARMLESS.contains(&node.op.as_str()) {
                return Err(
                    node.unsupported(format!("it reads the result of {end}"), "Softmax and ArgMax are supported behind the scores, at the end of the network")
                );
            }
            self.ends.insert(output.to_owned(), end);
            return Ok(Meaning::Alias(node.input(0)?.to_owned()));
        }
        if matches!(node.op.as_str(), "Identity" | "Dropout") {
            return self.identity(node);
        }
        if let Some(tensor) = self.evaluate(node)? {
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
            "Concat" if node.inputs.len() == 1 => Ok(Meaning::Alias(node.input(0)?.to_owned())),
            _ => Err(node.unsupported("this operator is not supported", SUPPORTED)),
        }
    }

    /// An operation on the first input that keeps its dimensions.
    fn keep(&self, node: &Node, op: Op) -> Result<Meaning, ConvertError> {
        let read = node.input(0)?;
        Ok(Meaning::Operation { op, reads: vec![read.to_owned()], dims: self.shape(node, read)?.to_vec() })
    }

    /// An operation on the first input that does nothing where the dimensions stay.
    fn unless_same(&self, node: &Node, op: Op, dims: Vec<usize>) -> Result<Meaning, ConvertError> {
        let read = node.input(0)?;
        if op == Op::Reshape && self.shape(node, read)? == dims {
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

    /// Channels, height and width of the first input.
    fn picture(&self, node: &Node) -> Result<(usize, [usize; 2]), ConvertError> {
        match *self.shape(node, node.input(0)?)? {
            [1, c, h, w] => Ok((c, [h, w])),
            ref dims => Err(node.unsupported(format!("its input is a tensor {dims:?}"), "pictures `[1][channels][height][width]` are supported there")),
        }
    }

    /// The dimensions of a constant input.
    fn weights<'a>(&self, node: &'a Node, i: usize) -> Result<(&'a str, &[usize]), ConvertError> {
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
        let &[oc, ic, ky, kx] = dims else {
            return Err(node.unsupported(format!("its weights are a tensor {dims:?}"), "two-dimensional convolutions are supported"));
        };
        let groups = node.int("group", 1)?;
        if groups != 1 {
            return Err(node.unsupported(format!("a convolution of {groups} groups"), "dense convolutions (one group) are supported"));
        }
        if ic != c || oc == 0 || ky == 0 || kx == 0 {
            return Err(node.wrong(format!("weights {dims:?} for an input of {c} channels")));
        }
        let window = conv_window(node, size, [ky, kx])?;
        let [oh, ow] = output_size(node, &window, size)?;
        let bias = self.vector(node, 2, oc)?;
        Ok(Meaning::Operation { op: Op::Conv { window, weights: weights.to_owned(), bias }, reads: vec![node.input(0)?.to_owned()], dims: vec![1, oc, oh, ow] })
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
        let &[1, n] = x else {
            return Err(node.unsupported(format!("its input is a tensor {x:?}"), "a dense layer over one row `[1][n]` is supported; flatten before it"));
        };
        let (weights, dims) = self.weights(node, 1)?;
        let &[i, m] = dims else { return Err(node.wrong(format!("its weights are a tensor {dims:?}"))) };
        if i != n || m == 0 {
            return Err(node.wrong(format!("weights {dims:?} for an input {x:?}")));
        }
        let op = Op::Dense { weights: weights.to_owned(), transposed: false, alpha: 1.0, bias: None };
        Ok(Meaning::Operation { op, reads: vec![node.input(0)?.to_owned()], dims: vec![1, m] })
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

    fn clip(&self, node: &Node) -> Result<Meaning, ConvertError> {
        let bound = |name: &str, i: usize, default: f32| -> Result<f32, ConvertError> {
            let Some(input) = node.optional(i) else { return node.float(name, default) };
            let value = self.constant(input).and_then(|t| t.as_floats());
            value.filter(|v| v.len() == 1).map(|v| v[0]).ok_or_else(|| node.unsupported(format!("{name} is no constant number"), SUPPORTED))
        };
        let (low, high) = (bound("min", 1, f32::NEG_INFINITY)?, bound("max", 2, f32::INFINITY)?);
        if high < f32::MAX || (low > f32::MIN && low != 0.0) {
            return Err(node.unsupported(format!("it clips to {low} .. {high}"), "Clip(0, inf), which is a ReLU, is supported"));
        }
        if low == 0.0 { self.keep(node, Op::Relu) } else { Ok(Meaning::Alias(node.input(0)?.to_owned())) }
    }

    fn arithmetic(&self, node: &Node) -> Result<Meaning, ConvertError> {
        if node.op == "Sum" && node.inputs.len() == 1 {
            return Ok(Meaning::Alias(node.input(0)?.to_owned()));
        }
        if node.inputs.len() != 2 {
            return Err(node.unsupported(format!("it adds {} values", node.inputs.len()), "sums of two values are supported"));
        }
        let (a, b) = (node.input(0)?, node.input(1)?);
        let kind = match node.op.as_str() {
            "Sub" => Arithmetic::Sub,
            "Mul" => Arithmetic::Mul,
            "Div" => Arithmetic::Div,
            _ => Arithmetic::Add,
        };
        let (left, right) = (self.constant(a).is_some(), self.constant(b).is_some());
        let (x, y) = (self.shape(node, a)?, self.shape(node, b)?);
        if !left && !right {
            if kind != Arithmetic::Add {
                return Err(node.unsupported("both operands depend on the picture", "only the sum of two tensors is supported"));
            }
            if x != y {
                return Err(node.unsupported(format!("its operands are {x:?} and {y:?}"), "sums of tensors of one shape are supported"));
            }
            return Ok(Meaning::Operation { op: Op::Add, reads: vec![a.to_owned(), b.to_owned()], dims: x.to_vec() });
        }
        let (constant, own, other, value) = if left { (a, x, y, b) } else { (b, y, x, a) };
        self.weights(node, usize::from(!left))?;
        let fits = own.len() <= other.len() && own.iter().rev().zip(other.iter().rev()).all(|(&c, &v)| c == 1 || c == v);
        if !fits {
            return Err(
                node.unsupported(format!("its operands are {other:?} and a constant {own:?}"), "constants of one value, or one value a channel, are supported")
            );
        }
        let zero = self.constant(constant).and_then(|t| t.as_floats()).is_some_and(|v| v.contains(&0.0));
        if kind == Arithmetic::Div && (left || zero) {
            return Err(node.unsupported("it divides by the picture or by zero", "division by constants is supported"));
        }
        let op = Op::Affine { kind, constant: constant.to_owned(), left };
        Ok(Meaning::Operation { op, reads: vec![value.to_owned()], dims: other.to_vec() })
    }

    fn pool(&self, node: &Node) -> Result<Meaning, ConvertError> {
        let (c, size) = self.picture(node)?;
        let (window, enlarged) = pool_window(node, size)?;
        let [oh, ow] = output_size(node, &window, size)?;
        let op = if node.op == "MaxPool" {
            Op::MaxPool(window)
        } else {
            let include_pad = node.int("count_include_pad", 0)? != 0 && !window.unpadded();
            if include_pad && enlarged {
                return Err(node.unsupported("count_include_pad together with a ceil_mode that enlarges the border", "one of the two is supported"));
            }
            Op::AveragePool { window, include_pad }
        };
        Ok(Meaning::Operation { op, reads: vec![node.input(0)?.to_owned()], dims: vec![1, c, oh, ow] })
    }

    fn global_pool(&self, node: &Node) -> Result<Meaning, ConvertError> {
        let (c, size) = self.picture(node)?;
        let kernel = size.map(|v| u32::try_from(v).unwrap_or(u32::MAX));
        let window = Window { kernel, stride: [1, 1], dilation: [1, 1], pads: [0; 4] };
        output_size(node, &window, size)?;
        let op = if node.op == "GlobalMaxPool" { Op::MaxPool(window) } else { Op::AveragePool { window, include_pad: false } };
        Ok(Meaning::Operation { op, reads: vec![node.input(0)?.to_owned()], dims: vec![1, c, 1, 1] })
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

    fn slice(&self, node: &Node) -> Result<Meaning, ConvertError> {
        let from = self.shape(node, node.input(0)?)?;
        let cuts = self.slices(node, from, false)?;
        let dims: Vec<usize> = cuts.iter().map(|c| c.len).collect();
        if dims == from {
            return Ok(Meaning::Alias(node.input(0)?.to_owned()));
        }
        let index = |v: isize| usize::try_from(v).map_err(|_| node.wrong("a negative index"));
        let start = cuts.iter().map(|c| index(c.start)).collect::<Result<_, _>>()?;
        let step = cuts.iter().map(|c| index(c.step)).collect::<Result<_, _>>()?;
        Ok(Meaning::Operation { op: Op::Slice { start, step }, reads: vec![node.input(0)?.to_owned()], dims })
    }

    fn pad(&self, node: &Node) -> Result<Meaning, ConvertError> {
        let mode = node.text("mode", "constant")?;
        if mode != "constant" {
            return Err(node.unsupported(format!("padding of mode {mode}"), "padding with a constant is supported"));
        }
        let from = self.shape(node, node.input(0)?)?;
        let rank = from.len();
        let pads = self.int_list(node, "pads", 1)?.ok_or_else(|| node.wrong("it has no pads"))?;
        let axes = match self.int_list(node, "axes", 3)? {
            Some(list) => list.iter().map(|&a| axis(node, a, rank)).collect::<Result<Vec<_>, _>>()?,
            None => (0..rank).collect(),
        };
        if pads.len() != 2 * axes.len() {
            return Err(node.wrong(format!("{} pads for {} axes", pads.len(), axes.len())));
        }
        let value = match node.optional(2) {
            None => node.float("value", 0.0)?,
            Some(name) => self
                .constant(name)
                .and_then(|t| t.as_floats())
                .and_then(|v| v.first())
                .copied()
                .ok_or_else(|| node.unsupported("the value is no constant float", SUPPORTED))?,
        };
        let (mut before, mut after, mut dims) = (vec![0; rank], vec![0; rank], from.to_vec());
        for (k, &a) in axes.iter().enumerate() {
            let size = |v: i64| match v {
                v @ 0..=65536 => usize::try_from(v).map_err(|_| node.wrong("a pad is out of range")),
                v if v < 0 => Err(node.unsupported("a negative pad", "pads of 0 and more are supported")),
                _ => Err(node.wrong("a pad is out of range")),
            };
            (before[a], after[a]) = (size(pads[k])?, size(pads[k + axes.len()])?);
            dims[a] = from[a] + before[a] + after[a];
        }
        if dims == from {
            return Ok(Meaning::Alias(node.input(0)?.to_owned()));
        }
        Ok(Meaning::Operation { op: Op::Pad { before, after, value }, reads: vec![node.input(0)?.to_owned()], dims })
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
            return Err(node.unsupported(format!("it goes over axis {axis} of {dims:?}"), "Softmax and ArgMax over all classes are supported"));
        }
        self.ends.insert(output.to_owned(), node.op.clone());
        Ok(Meaning::Alias(read.to_owned()))
    }
}
