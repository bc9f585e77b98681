//! Values of which the ONNX file itself says how they are stored: a step makes just these bytes.

use super::layout::Order;
use super::{Conv, ConvertError, Draft, Folder, Op, Operation, Second, StepOp, TensorId, Value, View, What, Window};
use crate::convert::graph::{Function, Quantization};

/// Every value as it is.
const AS_IT_IS: Function = Function::Clip { low: f64::NEG_INFINITY, high: f64::INFINITY };
/// How far a preprocessing may be from what a file stores of its input, in steps.
const NEAR: f64 = 1e-4;
/// The weight that stands for one.
const ONE: f64 = 127.0;
/// The byte, from 0 to 255, of a signed 0.
const MIDDLE: f64 = 128.0;

impl<'a> Folder<'a> {
    /// The real value of one step of constant weights for each of `outputs` channels, which lie along `axis`; nothing where the file has floats.
    pub(super) fn steps(&self, weights: &str, axis: usize, outputs: usize) -> Vec<f64> {
        match self.graph.grids.get(weights) {
            Some(grid) if grid.steps.len() == 1 => vec![grid.steps[0]; outputs],
            Some(grid) if grid.axis == axis && grid.steps.len() == outputs => grid.steps.clone(),
            _ => Vec::new(),
        }
    }

    /// The value as the bytes of `q` show it.
    pub(super) fn quantize(&mut self, operation: &'a Operation, q: Quantization) -> Result<Value, ConvertError> {
        let value = self.read(operation, 0)?;
        let name = operation.reads[0].as_str();
        let alone = self.uses(name) == 1 && name != self.graph.output;
        let tensor = match value.what {
            What::View(view) if self.tensors[view.tensor].foreign == Some(q) && view.value == 0.0 => return Ok(value),
            What::View(view) => match self.copied(operation.node.name.clone(), &view, Some(q), &operation.output) {
                Some(tensor) => tensor,
                None => {
                    return Err(operation.node.unsupported(
                        "it quantizes the result of a Pad of height and width",
                        "a border with the scale and zero point of what it surrounds is supported",
                    ));
                }
            },
            What::Tensor(0) => return self.quantize_picture(operation, q, value),
            What::Draft(d) if alone && self.drafts[d].is_some() => self.quantize_draft(operation, d, q),
            What::Draft(d) => {
                let tensor = self.emit(d);
                self.stored(operation, tensor, q, alone)
            }
            What::Tensor(tensor) => self.stored(operation, tensor, q, alone),
        };
        Ok(Value { what: What::Tensor(tensor), order: value.order })
    }

    fn quantize_draft(&mut self, operation: &'a Operation, d: usize, q: Quantization) -> TensorId {
        let Some(Draft { op, input, .. }) = &self.drafts[d] else { return self.made[&d] };
        let (input, zero) = (*input, q.zero);
        let converted = match op {
            StepOp::MaxPool(_) | StepOp::Mirror(_) | StepOp::Slice(_) => {
                let tensor = self.emit(d);
                return self.stored(operation, tensor, q, true);
            }
            StepOp::AveragePool { window, include_pad } if zero != 0 || self.zero(input) != 0 => {
                let Some(sum) = self.summed(window, *include_pad, input) else {
                    let tensor = self.emit(d);
                    return self.stored(operation, tensor, q, true);
                };
                Some((sum, input))
            }
            StepOp::Concat(parts) => {
                let parts: Vec<TensorId> = core::iter::once(input).chain(parts.iter().copied()).collect();
                let mut parts: Vec<TensorId> = parts.into_iter().map(|part| self.stored(operation, part, q, false)).collect();
                let first = parts.remove(0);
                Some((StepOp::Concat(parts), first))
            }
            _ => None,
        };
        if let Some(draft) = &mut self.drafts[d] {
            if let Some(converted) = converted {
                (draft.op, draft.input) = converted;
            }
            draft.value.clone_from(&operation.output);
        }
        let tensor = self.emit(d);
        self.set_foreign(tensor, q);
        tensor
    }

    /// A tensor that is there already, as the bytes of `q` show it. `alone` says that nobody else reads the value.
    fn stored(&mut self, operation: &'a Operation, tensor: TensorId, q: Quantization, alone: bool) -> TensorId {
        if self.tensors[tensor].foreign == Some(q) {
            return tensor;
        }
        let mut function = AS_IT_IS;
        let limit = self.tensors[tensor].limit;
        let read = self.steps.iter().any(|s| s.reads().any(|t| t == tensor));
        let computes = |op: &StepOp| matches!(op, StepOp::Conv(_) | StepOp::Add(_) | StepOp::Affine { .. } | StepOp::Gate { .. } | StepOp::Function(_));
        if alone
            && !read
            && self.tensors[tensor].foreign.is_none()
            && let Some(step) = self.steps.iter_mut().find(|s| s.output == tensor && computes(&s.op))
        {
            let low = if step.relu { 0.0 } else { f64::NEG_INFINITY };
            step.relu = false;
            let within = q.within(low, limit);
            if within {
                step.value.clone_from(&operation.output);
            }
            self.set_foreign(tensor, q);
            if within {
                return tensor;
            }
            function = Function::Clip { low, high: limit };
        }
        let shape = self.tensors[tensor].shape;
        let name = if alone { operation.node.name.clone() } else { format!("{}.{tensor}", operation.node.name) };
        let value = operation.output.clone();
        let draft = Draft { name, value, op: StepOp::Function(function), input: tensor, shape, nonnegative: false, limit, relu: false };
        self.drafts.push(Some(draft));
        let made = self.emit(self.drafts.len() - 1);
        self.set_foreign(made, q);
        made
    }

    /// Step `name` that copies a tensor, or every other pixel of it, or the tensor with more channels, and shows the value `value`; nothing for one with a border.
    pub(super) fn copied(&mut self, name: String, view: &View, q: Option<Quantization>, value: &str) -> Option<TensorId> {
        let [h, w, c] = self.tensors[view.tensor].shape;
        if view.pads != [0; 4] || view.tensor == 0 {
            return None;
        }
        let window = Window::point(view.stride);
        let [oh, ow] = window.output(h, w)?;
        let [front, back] = view.channels;
        let outputs = front.checked_add(c)?.checked_add(back)?;
        let (groups, inputs, channels) = (if outputs == c { c } else { 1 }, c as usize, outputs as usize);
        let one = |i: usize| if (i / inputs).checked_sub(front as usize) == Some(i % inputs) { 1.0 } else { 0.0 };
        let weights = if groups == 1 { (0..channels * inputs).map(one).collect() } else { vec![1.0; channels] };
        let conv = Conv { window, groups, weights, steps: vec![1.0 / ONE; channels], bias: vec![0.0; channels], second: Second::None };
        let (op, shape) = (StepOp::Conv(conv), [oh, ow, outputs]);
        self.drafts.push(Some(Draft { name, value: value.to_owned(), op, input: view.tensor, shape, nonnegative: false, limit: f64::INFINITY, relu: false }));
        let made = self.emit(self.drafts.len() - 1);
        if let Some(q) = q {
            self.set_foreign(made, q);
        }
        Some(made)
    }

    fn set_foreign(&mut self, tensor: TensorId, q: Quantization) {
        let tensor = &mut self.tensors[tensor];
        (tensor.foreign, tensor.nonnegative, tensor.limit) = (Some(q), q.zero == 0, q.largest());
    }

    fn zero(&self, tensor: TensorId) -> u8 {
        self.tensors[tensor].foreign.map_or(0, |q| q.zero)
    }

    /// A mean as a convolution, which has a bias for zero points; nothing where its border does not count.
    fn summed(&self, window: &Window, include_pad: bool, input: TensorId) -> Option<StepOp> {
        if !include_pad && !window.unpadded() {
            return None;
        }
        let groups = self.tensors[input].shape[2];
        let (channels, taps) = (groups as usize, (window.kernel[0] * window.kernel[1]) as usize);
        let share = 1.0 / f64::from(window.kernel[0] * window.kernel[1]);
        let (weights, steps) = (vec![share; channels * taps], vec![share / ONE; channels]);
        Some(StepOp::Conv(Conv { window: *window, groups, weights, steps, bias: vec![0.0; channels], second: Second::None }))
    }

    fn is_concat(&self, tensor: TensorId) -> bool {
        self.steps.iter().any(|s| s.output == tensor && matches!(s.op, StepOp::Concat(_)))
    }

    /// The operation of a new step over `input`, and how its result is stored where its operands say that.
    pub(super) fn inherited(&self, op: StepOp, input: TensorId) -> (StepOp, Option<Quantization>) {
        let foreign = self.tensors[input].foreign;
        match op {
            StepOp::MaxPool(_) | StepOp::Mirror(_) | StepOp::Slice(_) => (op, foreign),
            StepOp::Concat(ref parts) => {
                let all = parts.iter().all(|&t| self.tensors[t].foreign == foreign);
                (op, foreign.filter(|_| all))
            }
            StepOp::AveragePool { ref window, include_pad } if self.zero(input) != 0 => match self.summed(window, include_pad, input) {
                Some(sum) => (sum, None),
                None => (op, foreign),
            },
            // The parts have scales of their own, which a mean keeps in one ratio; as a convolution it has a ratio for each channel.
            StepOp::AveragePool { ref window, include_pad } if foreign.is_none() && self.is_concat(input) => match self.summed(window, include_pad, input) {
                Some(StepOp::Conv(sum)) => (StepOp::Conv(Conv { steps: Vec::new(), ..sum }), None),
                _ => (op, None),
            },
            _ => (op, None),
        }
    }

    /// The input as the file stores it: the bytes that the program reads, where they are the same (an S8 is 128 less), or a step that makes them.
    fn quantize_picture(&mut self, operation: &'a Operation, q: Quantization, value: Value) -> Result<Value, ConvertError> {
        let (scale, zero) = (f64::from(q.scale), f64::from(q.zero));
        let middle = if self.input.tensor.is_some() { MIDDLE } else { 0.0 };
        let near = |(factor, shift): (&f64, &f64)| (factor / scale - 1.0).abs() * 255.0 < NEAR && (shift / scale + zero - middle).abs() < NEAR;
        if self.uses(&operation.reads[0]) == 1 && self.input.scale.iter().zip(&self.input.shift).all(near) {
            self.input.scale.fill(scale);
            self.input.shift.fill((middle - zero) * scale);
            return Ok(value);
        }
        let shape = self.tensors[0].shape;
        let channels = shape[2] as usize;
        let weights = (0..channels * channels).map(|i| if i / channels == i % channels { 1.0 } else { 0.0 }).collect();
        let conv =
            Conv { window: Window::point([1, 1]), groups: 1, weights, steps: vec![1.0 / ONE; channels], bias: vec![0.0; channels], second: Second::None };
        // Where the picture lies pixel by pixel, its value is read behind the Transpose.
        let turned = self.readers.get(operation.output.as_str()).and_then(|all| all.iter().find(|r| matches!(r.op, Op::Transpose(_))));
        let shown = turned.filter(|_| value.order == Order::Hwc).map_or(&operation.output, |r| &r.output).clone();
        let order = value.order;
        let made = self.draft(operation, StepOp::Conv(conv), 0, shape, false);
        if let (What::Draft(d), Some(draft)) = (made.what, self.last_draft()) {
            draft.value = shown;
            let tensor = self.emit(d);
            self.set_foreign(tensor, q);
            return Ok(Value { what: What::Tensor(tensor), order });
        }
        Ok(value)
    }
}
