//! Batch normalization and arithmetic with constants: part of the convolution in front or behind, or of the input, or a step of its own.

use super::{Draft, Folder, Second, StepOp, Tensor, Value, What};
use crate::convert::error::ConvertError;
use crate::convert::graph::Conv;
use crate::convert::import::{Arithmetic, Op, Operation};

const HELP: &str = "normalization and arithmetic with constants of one value, or one value a channel, are supported";

impl<'a> Folder<'a> {
    pub(super) fn batch_norm(&mut self, operation: &'a Operation, parameters: &[String; 4], epsilon: f64) -> Result<Value, ConvertError> {
        let value = self.read(operation, 0)?;
        let dims = self.dims(operation, &operation.reads[0])?;
        let channels = self.shape(&value)[2] as usize;
        if channels > 1 && self.channel_axis(&value, dims) != Some(1) {
            return Err(operation.node.unsupported("its second axis is not that of the channels", HELP));
        }
        let [scale, shift, mean, variance] = parameters.each_ref().map(|name| self.vector(operation, name, channels));
        let (mut factor, mut term) = (scale?, shift?);
        for (c, (m, v)) in mean?.into_iter().zip(variance?).enumerate() {
            factor[c] /= (v + epsilon).sqrt();
            term[c] -= m * factor[c];
        }
        self.affine(operation, value, &factor, &term)
    }

    pub(super) fn arithmetic(&mut self, operation: &'a Operation, kind: Arithmetic, constant: &str, left: bool) -> Result<Value, ConvertError> {
        let value = self.read(operation, 0)?;
        let dims = self.dims(operation, &operation.reads[0])?;
        let k = self.per_channel(operation, &value, dims, constant)?;
        let all = |x: f64| vec![x; k.len()];
        let negative = || k.iter().map(|x| -x).collect();
        let (factor, term) = match (kind, left) {
            (Arithmetic::Add, _) => (all(1.0), k),
            (Arithmetic::Sub, false) => (all(1.0), negative()),
            (Arithmetic::Sub, true) => (all(-1.0), k),
            (Arithmetic::Mul, _) => (k.clone(), all(0.0)),
            (Arithmetic::Div, false) => (k.iter().map(|x| 1.0 / x).collect(), all(0.0)),
            (Arithmetic::Div, true) => return Err(operation.node.unsupported("it divides a constant by a value", HELP)),
        };
        self.affine(operation, value, &factor, &term)
    }

    /// A constant as one value a channel.
    fn per_channel(&self, operation: &Operation, value: &Value, dims: &[usize], constant: &str) -> Result<Vec<f64>, ConvertError> {
        let (data, sizes) = self.constant(operation, constant)?;
        let channels = self.shape(value)[2] as usize;
        if self.dims(operation, &operation.output)? != dims {
            return Err(operation.node.unsupported("the constant makes the value larger", HELP));
        }
        if let [one] = data[..] {
            return Ok(vec![one; channels]);
        }
        let axis = self.channel_axis(value, dims).and_then(|a| (a + sizes.len()).checked_sub(dims.len()));
        if axis.is_none_or(|a| sizes[a] != data.len()) || data.len() != channels {
            return Err(operation.node.unsupported(format!("a constant of the shape {sizes:?}"), "a constant has one value, or one for every channel"));
        }
        Ok(data)
    }

    /// `x · factor + term` of each channel.
    fn affine(&mut self, operation: &'a Operation, value: Value, factor: &[f64], term: &[f64]) -> Result<Value, ConvertError> {
        if factor.iter().chain(term).any(|v| !v.is_finite()) {
            return Err(operation.node.unsupported("a factor is not finite", "export the model again with finite weights and variances above 0"));
        }
        if let What::Tensor(0) = value.what
            && self.input_alone(operation)
            && !factor.contains(&0.0)
        {
            for (c, (scale, shift)) in self.input.scale.iter_mut().zip(&mut self.input.shift).enumerate() {
                *scale *= factor[c];
                *shift = *shift * factor[c] + term[c];
            }
            return Ok(value);
        }
        let shape = self.shape(&value);
        self.channels_first(operation, &operation.output, value.order, shape)?;
        if let Some((_, draft)) = self.own_conv(operation, 0) {
            if let StepOp::Conv(Conv { weights, steps, bias, second: Second::None, .. }) = &mut draft.op {
                let depth = weights.len() / bias.len();
                steps.clear();
                for (c, row) in weights.chunks_exact_mut(depth).enumerate() {
                    row.iter_mut().for_each(|w| *w *= factor[c]);
                    bias[c] = bias[c] * factor[c] + term[c];
                }
            }
            draft.value.clone_from(&operation.output);
            return Ok(value);
        }
        if let Some(d) = self.own_draft(operation, 0)
            && let Some(Draft { op: StepOp::Affine { scale, shift }, relu: false, value: name, input, nonnegative, limit, .. }) = &mut self.drafts[d]
        {
            for c in 0..factor.len() {
                scale[c] *= factor[c];
                shift[c] = shift[c] * factor[c] + term[c];
            }
            name.clone_from(&operation.output);
            let source = (*input != 0).then(|| &self.tensors[*input]);
            (*nonnegative, *limit) = bounds(source, scale, shift);
            return Ok(value);
        }
        let tensor = self.whole(operation, &value)?;
        let source = (tensor != 0).then(|| &self.tensors[tensor]);
        let (nonnegative, limit) = bounds(source, factor, term);
        let op = StepOp::Affine { scale: factor.to_vec(), shift: term.to_vec() };
        let mut made = self.draft(operation, op, tensor, shape, nonnegative);
        if let Some(draft) = self.last_draft() {
            draft.limit = limit;
        }
        made.order = value.order;
        Ok(made)
    }

    /// True if what `operation` reads is all that is read of the input, so that its normalization can be part of the preprocessing.
    fn input_alone(&self, operation: &Operation) -> bool {
        let mut name = self.graph.input.as_str();
        while name != operation.reads[0] {
            match self.readers.get(name).map(Vec::as_slice) {
                Some([only]) if !matches!(only.op, Op::Relu) => name = &only.output,
                _ => return false,
            }
        }
        self.uses(name) == 1
    }
}

/// Whether `x · scale + shift` is never negative, and its largest value, given what is known of `x`.
fn bounds(x: Option<&Tensor>, scale: &[f64], shift: &[f64]) -> (bool, f64) {
    let Some(x) = x.filter(|x| x.nonnegative) else { return (false, f64::INFINITY) };
    let pairs = || scale.iter().zip(shift);
    let largest = |(a, b): (&f64, &f64)| if *a > 0.0 { a * x.limit + b } else { *b };
    (pairs().all(|(a, b)| *a >= 0.0 && *b >= 0.0), pairs().map(largest).fold(0.0, f64::max))
}
