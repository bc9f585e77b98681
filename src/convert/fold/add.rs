//! Residual additions: part of the convolution or the gate that makes the later operand.

use super::layout::Order;
use super::{Conv, ConvertError, Draft, Folder, Operation, Second, StepOp, Value, View, What, Window};

impl<'a> Folder<'a> {
    pub(super) fn add(&mut self, operation: &'a Operation) -> Result<Value, ConvertError> {
        let (left, right) = (self.read(operation, 0)?, self.read(operation, 1)?);
        let dims = self.dims(operation, &operation.output)?;
        if [0, 1].iter().any(|&i: &usize| self.graph.dims.get(&operation.reads[i]).is_none_or(|d| d != dims)) {
            return Err(operation.node.unsupported("it repeats one of its operands", "an addition of two tensors of one shape is supported"));
        }
        if left.order != right.order && ![left.order, right.order].contains(&Order::Any) {
            return Err(operation.node.unsupported("its operands lie in different orders", "remove the Transpose"));
        }
        let order = if left.order == Order::Any { right.order } else { left.order };
        let shape = self.shape(if matches!(left.what, What::View(_)) { &right } else { &left });
        self.channels_first(operation, &operation.output, order, shape)?;
        if let Some(value) = self.parallel(operation) {
            return Ok(value);
        }
        if let Some(value) = self.gated(operation, [&left, &right])? {
            return Ok(value);
        }
        let fresh = [0, 1].map(|i| self.own_conv(operation, i).map(|(d, draft)| (d, draft.input)));
        let (main, other) = match fresh {
            [Some(a), Some(b)] => {
                let (main, second, value) = if (a.1, self.is_point(b.0)) >= (b.1, self.is_point(a.0)) { (a.0, b.0, right) } else { (b.0, a.0, left) };
                if self.is_point(second) && self.is_dense(main) {
                    return Ok(self.project(operation, main, second));
                }
                (main, value)
            }
            [Some((d, _)), None] => (d, right),
            [None, Some((d, _))] => (d, left),
            [None, None] => return self.plain(operation, &left, &right),
        };
        let view = self.view(&other);
        let Some(shape) = self.drafts[main].as_ref().map(|d| d.shape) else { return Err(operation.node.wrong("its input is gone")) };
        if !self.fits(&view, shape) {
            return Err(operation
                .node
                .unsupported("the shortcut has another shape", "a shortcut is a tensor, or every other pixel of one with channels of zeros"));
        }
        let second = Second::Skip { tensor: view.tensor, stride: view.stride, front: view.channels[0] };
        Ok(self.merge(operation, main, second, &[]))
    }

    /// True if draft `d` can be a projection: a 1x1 convolution without border.
    fn is_point(&self, d: usize) -> bool {
        self.is_dense(d) && matches!(&self.drafts[d], Some(Draft { op: StepOp::Conv(c), .. }) if c.window.kernel == [1, 1] && c.window.unpadded())
    }

    /// True if draft `d` is a convolution of one group.
    fn is_dense(&self, d: usize) -> bool {
        matches!(&self.drafts[d], Some(Draft { op: StepOp::Conv(Conv { groups: 1, .. }), .. }))
    }

    /// The sum where one operand is a gated tensor that nobody else reads: part of the gate's step.
    fn gated(&mut self, operation: &'a Operation, values: [&Value; 2]) -> Result<Option<Value>, ConvertError> {
        let gate = |d: &Option<Draft>| matches!(d, Some(Draft { op: StepOp::Gate { skip: None, .. }, relu: false, .. }));
        for (i, other) in [(0, values[1]), (1, values[0])] {
            let Some(d) = self.own_draft(operation, i).filter(|&d| gate(&self.drafts[d])) else { continue };
            let added = self.whole(operation, other)?;
            let nonnegative = self.nonnegative(added);
            if let Some(Draft { op: StepOp::Gate { skip, .. }, value, nonnegative: positive, limit, .. }) = &mut self.drafts[d] {
                *skip = Some(added);
                value.clone_from(&operation.output);
                *positive &= nonnegative;
                *limit = f64::INFINITY;
            }
            return Ok(Some(values[i].clone()));
        }
        Ok(None)
    }

    /// True if the view has no border and the shape `shape`.
    fn fits(&self, view: &View, shape: [u32; 3]) -> bool {
        let [h, w, c] = self.tensors[view.tensor].shape;
        let seen = [h.div_ceil(view.stride[0]), w.div_ceil(view.stride[1]), c + view.channels[0] + view.channels[1]];
        view.pads == [0; 4] && seen == shape
    }

    /// Makes the convolution `second` the projection of `main`.
    fn project(&mut self, operation: &Operation, main: usize, second: usize) -> Value {
        match self.drafts[second].take() {
            Some(Draft { op: StepOp::Conv(Conv { window, weights, bias, .. }), input, .. }) => {
                let window = Window { dilation: [1, 1], ..window };
                self.merge(operation, main, Second::Projection { tensor: input, window, weights }, &bias)
            }
            _ => self.merge(operation, main, Second::None, &[]),
        }
    }

    fn merge(&mut self, operation: &Operation, main: usize, added: Second, term: &[f64]) -> Value {
        let mut order = Order::Chw;
        if let Some(draft) = &mut self.drafts[main] {
            if let StepOp::Conv(conv) = &mut draft.op {
                conv.second = added;
                conv.bias.iter_mut().zip(term).for_each(|(b, t)| *b += t);
            }
            draft.value.clone_from(&operation.output);
            if draft.shape[0] * draft.shape[1] == 1 {
                order = Order::Any;
            }
        }
        Value { what: What::Draft(main), order }
    }

    /// The sum of two tensors, a step of its own.
    fn plain(&mut self, operation: &'a Operation, left: &Value, right: &Value) -> Result<Value, ConvertError> {
        let (mut a, mut b) = (self.view(left), self.view(right));
        let whole = |v: &View| v.stride == [1, 1] && v.channels == [0, 0];
        for (view, read) in [&mut a, &mut b].into_iter().zip(&operation.reads) {
            if let Some(q) = self.tensors[view.tensor].foreign.filter(|_| !whole(view))
                && let Some(tensor) = self.copied(format!("{}.{read}", operation.node.name), view, Some(q), read)
            {
                *view = View::whole(tensor);
            }
        }
        let shape = self.tensors[a.tensor].shape;
        if !whole(&a) || !whole(&b) || !self.fits(&a, shape) || !self.fits(&b, shape) {
            return Err(operation.node.unsupported(
                "a shortcut without a convolution beside it",
                "a sliced or padded shortcut is added to the result of a convolution that nobody else reads",
            ));
        }
        let nonnegative = self.nonnegative(a.tensor) && self.nonnegative(b.tensor);
        let mut value = self.draft(operation, StepOp::Add(b.tensor), a.tensor, shape, nonnegative);
        value.order = if left.order == Order::Any { right.order } else { left.order };
        Ok(value)
    }
}
