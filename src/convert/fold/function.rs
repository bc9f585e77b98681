//! Functions of one value.

use super::{ConvertError, Folder, Operation, StepOp, Value};
use crate::convert::graph::Function;

impl<'a> Folder<'a> {
    pub(super) fn function(&mut self, operation: &'a Operation, function: Function) -> Result<Value, ConvertError> {
        if let Function::Clip { low: 0.0, high } = function {
            return self.rectify(operation, high);
        }
        let value = self.read(operation, 0)?;
        let tensor = self.whole(operation, &value)?;
        let shape = self.tensors[tensor].shape;
        self.channels_first(operation, &operation.output, value.order, shape)?;
        let mut made = self.draft(operation, StepOp::Function(function), tensor, shape, self.nonnegative(tensor));
        if let Some(draft) = self.last_draft() {
            (draft.nonnegative, draft.limit) = match function {
                Function::Sigmoid | Function::HardSigmoid { .. } => (true, 1.0),
                Function::Silu | Function::HardSwish | Function::LeakyRelu { .. } => (draft.nonnegative, draft.limit),
                Function::Clip { low, high } => (low >= 0.0 || draft.nonnegative && high >= 0.0, high.min(draft.limit.max(low))),
            };
        }
        made.order = value.order;
        Ok(made)
    }
}
