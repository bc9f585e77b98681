//! Operators that compute every element from the same element of their operands.

use super::{Arithmetic, Importer, Meaning, Op};
use crate::convert::error::{ConvertError, SUPPORTED};
use crate::convert::graph::Function;
use crate::convert::onnx::Node;

impl Importer {
    /// A function of one value, and what the standard says of its attributes.
    pub(super) fn function(&self, node: &Node) -> Result<Meaning, ConvertError> {
        let attribute = |name: &str, default: f32| node.float(name, default).map(f64::from);
        let function = match node.op.as_str() {
            "Sigmoid" => Function::Sigmoid,
            "HardSigmoid" => Function::HardSigmoid { alpha: attribute("alpha", 0.2)?, beta: attribute("beta", 0.5)? },
            "HardSwish" => Function::HardSwish,
            "LeakyRelu" => Function::LeakyRelu { slope: attribute("alpha", 0.01)? },
            "PRelu" => {
                let (name, _) = self.weights(node, 1)?;
                let slopes = self.constant(name).and_then(|t| t.as_floats()).unwrap_or_default();
                let &[slope] = slopes else {
                    return Err(node.unsupported(format!("it has {} slopes", slopes.len()), "one slope for all channels is supported, as in LeakyRelu"));
                };
                Function::LeakyRelu { slope: f64::from(slope) }
            }
            _ => {
                let alpha = attribute("alpha", 1.0)?;
                if alpha != 1.0 {
                    return Err(node.unsupported(format!("an alpha of {alpha}"), "Swish with an alpha of 1, x times sigmoid(x), is supported"));
                }
                Function::Silu
            }
        };
        if let Function::HardSigmoid { alpha: v, beta } = function
            && !(v.is_finite() && beta.is_finite())
        {
            return Err(node.wrong("an attribute is not finite"));
        }
        if let Function::LeakyRelu { slope } = function
            && !slope.is_finite()
        {
            return Err(node.wrong("its slope is not finite"));
        }
        self.keep(node, Op::Function(function))
    }

    pub(super) fn clip(&self, node: &Node) -> Result<Meaning, ConvertError> {
        let bound = |name: &str, i: usize, default: f32| -> Result<f32, ConvertError> {
            let Some(input) = node.optional(i) else { return node.float(name, default) };
            let value = self.constant(input).and_then(|t| t.as_floats());
            value.filter(|v| v.len() == 1).map(|v| v[0]).ok_or_else(|| node.unsupported(format!("{name} is no constant number"), SUPPORTED))
        };
        let (low, high) = (bound("min", 1, f32::NEG_INFINITY)?, bound("max", 2, f32::INFINITY)?);
        let open = |v: f32| v.abs() >= f32::MAX;
        match (open(low), open(high)) {
            (true, true) => Ok(Meaning::Alias(node.input(0)?.to_owned())),
            (false, true) if low == 0.0 => self.keep(node, Op::Relu),
            _ if low < high => {
                let side = |v: f32| if open(v) { f64::from(v.signum()) * f64::INFINITY } else { f64::from(v) };
                self.keep(node, Op::Function(Function::Clip { low: side(low), high: side(high) }))
            }
            _ => Err(node.unsupported(format!("it clips to {low} .. {high}"), "a Clip whose least value is below its largest is supported")),
        }
    }

    pub(super) fn arithmetic(&self, node: &Node) -> Result<Meaning, ConvertError> {
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
            let reads = vec![a.to_owned(), b.to_owned()];
            return match kind {
                Arithmetic::Add if x == y => Ok(Meaning::Operation { op: Op::Add, reads, dims: x.to_vec() }),
                Arithmetic::Add => Err(node.unsupported(format!("its operands are {x:?} and {y:?}"), "sums of tensors of one shape are supported")),
                Arithmetic::Mul => {
                    let dims = broadcast(x, y).ok_or_else(|| node.wrong(format!("its operands are {x:?} and {y:?}")))?;
                    Ok(Meaning::Operation { op: Op::Product, reads, dims })
                }
                _ => Err(node.unsupported(
                    "both operands depend on the picture",
                    "sums of two tensors, and products of a tensor and a gate for every channel, are supported; normalization by the picture's own statistics is not",
                )),
            };
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
}

/// The dimensions of what two tensors make together, where each axis has one size or is 1 in one of them.
pub(super) fn broadcast(x: &[usize], y: &[usize]) -> Option<Vec<usize>> {
    let rank = x.len().max(y.len());
    let at = |dims: &[usize], a: usize| (a + dims.len()).checked_sub(rank).map_or(1, |i| dims[i]);
    let size = |a: usize| match (at(x, a), at(y, a)) {
        (m, n) if m == n || n == 1 => Some(m),
        (1, n) => Some(n),
        _ => None,
    };
    (0..rank).map(size).collect()
}
