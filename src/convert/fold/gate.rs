//! Products of two tensors: a gate for every channel, or `x` times a function of `x`.

use super::{ConvertError, Folder, Operation, StepOp, TensorId, Value, What};
use crate::convert::graph::Function;

const HELP: &str = "a product of a tensor and a gate of one value from 0 to 1 for every channel (squeeze-and-excitation, behind a Sigmoid or HardSigmoid) is supported, \
    and x times Sigmoid(x) or HardSigmoid(x); attention over pixels or across branches is not";

impl<'a> Folder<'a> {
    pub(super) fn product(&mut self, operation: &'a Operation) -> Result<Value, ConvertError> {
        for (of, x) in [(0, 1), (1, 0)] {
            if let Some(value) = self.swish(operation, of, x)? {
                return Ok(value);
            }
        }
        let values = [self.read(operation, 0)?, self.read(operation, 1)?];
        let tensors = [self.whole(operation, &values[0])?, self.whole(operation, &values[1])?];
        let mut what = "a product of two tensors";
        for (gate, x) in [(1, 0), (0, 1)] {
            let [h, w, c] = self.tensors[tensors[x]].shape;
            let fits = self.tensors[tensors[gate]].shape == [1, 1, c] && self.repeats(operation, gate, x, c)?;
            if fits && self.nonnegative(tensors[gate]) && self.tensors[tensors[gate]].limit <= 1.0 + 1e-6 {
                self.channels_first(operation, &operation.output, values[x].order, [h, w, c])?;
                let nonnegative = self.nonnegative(tensors[x]);
                return Ok(self.draft(operation, StepOp::Gate { gate: tensors[gate], skip: None }, tensors[x], [h, w, c], nonnegative));
            }
            if fits {
                what = "a product of a tensor and a value for every channel that may be negative or over 1";
            }
        }
        Err(operation.node.unsupported(what, HELP))
    }

    /// True if operand `gate` has one value for every channel of operand `x`, the result having the dimensions of `x`.
    fn repeats(&self, operation: &Operation, gate: usize, x: usize, channels: u32) -> Result<bool, ConvertError> {
        let dims = self.dims(operation, &operation.output)?;
        let (own, whole) = (self.dims(operation, &operation.reads[gate])?, self.dims(operation, &operation.reads[x])?);
        // The channels stand on the second axis of `[1][c][h][w]`.
        let behind = dims.len().saturating_sub(2);
        let one_each = own.len() > behind && own[own.len() - behind - 1] == channels as usize && own[own.len() - behind..].iter().all(|&n| n == 1);
        Ok(dims == whole && (own == dims || one_each))
    }

    /// `x · sigmoid(x)`, operand `of` being the function of operand `x`, and its result read here only.
    fn swish(&mut self, operation: &'a Operation, of: usize, x: usize) -> Result<Option<Value>, ConvertError> {
        let (value, source) = (self.read(operation, of)?, self.read(operation, x)?);
        if [of, x].into_iter().any(|i| self.dims(operation, &operation.reads[i]).ok() != self.dims(operation, &operation.output).ok()) {
            return Ok(None);
        }
        let Some(tensor) = self.made(&source) else { return Ok(None) };
        let Some(d) = self.own_draft(operation, of) else { return Ok(None) };
        let Some(draft) = &mut self.drafts[d] else { return Ok(None) };
        let merged = match draft.op {
            StepOp::Function(Function::Sigmoid) => Function::Silu,
            StepOp::Function(Function::HardSigmoid { alpha, beta }) if (alpha - 1.0 / 6.0).abs() < 1e-6 && beta == 0.5 => Function::HardSwish,
            _ => return Ok(None),
        };
        if draft.input != tensor {
            return Ok(None);
        }
        draft.op = StepOp::Function(merged);
        draft.value.clone_from(&operation.output);
        (draft.nonnegative, draft.limit) = (self.tensors[tensor].nonnegative, self.tensors[tensor].limit);
        Ok(Some(value))
    }

    /// The tensor that a value already is.
    fn made(&self, value: &Value) -> Option<TensorId> {
        match value.what {
            What::Tensor(t) => Some(t),
            What::Draft(d) => self.made.get(&d).copied(),
            What::View(_) => None,
        }
    }
}
