//! Channels side by side, and parts of them.

use super::layout::Order;
use super::{ConvertError, Folder, Operation, StepOp, Value};

impl<'a> Folder<'a> {
    pub(super) fn concat(&mut self, operation: &'a Operation) -> Result<Value, ConvertError> {
        let mut parts = Vec::with_capacity(operation.reads.len());
        for i in 0..operation.reads.len() {
            let value = self.read(operation, i)?;
            let tensor = self.whole(operation, &value)?;
            self.channels_second(operation, &operation.reads[i], value.order, self.tensors[tensor].shape)?;
            parts.push(tensor);
        }
        let shapes: Vec<[u32; 3]> = parts.iter().map(|&t| self.tensors[t].shape).collect();
        let [h, w, _] = shapes[0];
        let channels = shapes.iter().try_fold(0u32, |sum, s| sum.checked_add(s[2]));
        let shape = [h, w, channels.ok_or_else(|| operation.node.wrong("too many channels"))?];
        if shapes.iter().any(|s| [s[0], s[1]] != [h, w]) {
            return Err(operation.node.wrong("its operands differ in height or width"));
        }
        self.channels_second(operation, &operation.output, Order::Chw, shape)?;
        let nonnegative = parts.iter().all(|&t| self.nonnegative(t));
        let limit = parts.iter().map(|&t| self.tensors[t].limit).fold(0.0, f64::max);
        let first = parts.remove(0);
        let value = self.draft(operation, StepOp::Concat(parts), first, shape, nonnegative);
        if let Some(draft) = self.last_draft() {
            draft.limit = limit;
        }
        Ok(value)
    }

    /// The channels from `first` on.
    pub(super) fn channels(&mut self, operation: &'a Operation, first: usize) -> Result<Value, ConvertError> {
        let value = self.read(operation, 0)?;
        let tensor = self.whole(operation, &value)?;
        let [h, w, c] = self.tensors[tensor].shape;
        self.channels_second(operation, &operation.reads[0], value.order, [h, w, c])?;
        let count = self.dims(operation, &operation.output)?.get(1).and_then(|&n| u32::try_from(n).ok());
        let first = u32::try_from(first).ok();
        let (Some(first), Some(count)) = (first, count) else { return Err(operation.node.wrong("a channel is out of range")) };
        if first.checked_add(count).is_none_or(|end| end > c) {
            return Err(operation.node.wrong(format!("{count} channels from channel {first} of {c}")));
        }
        self.channels_second(operation, &operation.output, value.order, [h, w, count])?;
        let nonnegative = self.nonnegative(tensor);
        Ok(self.draft(operation, StepOp::Slice(first), tensor, [h, w, count], nonnegative))
    }
}
