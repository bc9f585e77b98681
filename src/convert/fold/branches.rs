//! Linear branches over one tensor that are added: one convolution.

use super::{Conv, Draft, Folder, Operation, Second, StepOp, Value, What, Window};

impl<'a> Folder<'a> {
    /// The sum of two operands as one convolution, where both are linear in the same tensor and one convolution's window covers the other.
    pub(super) fn parallel(&mut self, operation: &'a Operation) -> Option<Value> {
        let (a, b) = (self.own_draft(operation, 0)?, self.own_draft(operation, 1)?);
        let sum = match (&self.drafts[a], &self.drafts[b]) {
            (Some(x), Some(y)) if a != b && x.input == y.input && x.shape == y.shape => {
                let (x, y) = (self.linear(x)?, self.linear(y)?);
                if !matches!((&self.drafts[a].as_ref()?.op, &self.drafts[b].as_ref()?.op), (StepOp::Conv(_), _) | (_, StepOp::Conv(_))) {
                    return None;
                }
                embedded(&x, &y).or_else(|| embedded(&y, &x))?
            }
            _ => return None,
        };
        let (kept, gone) = if matches!(self.drafts[a].as_ref()?.op, StepOp::Conv(_)) { (a, b) } else { (b, a) };
        self.drafts[gone] = None;
        let draft = self.drafts[kept].as_mut()?;
        draft.op = StepOp::Conv(sum);
        draft.value.clone_from(&operation.output);
        let order = self.read(operation, usize::from(kept == b)).ok()?.order;
        Some(Value { what: What::Draft(kept), order })
    }

    /// A draft as a convolution, if it is one or an affine: a 1x1 convolution of as many groups as channels.
    fn linear(&self, draft: &Draft) -> Option<Conv> {
        match &draft.op {
            StepOp::Conv(conv @ Conv { second: Second::None, .. }) => Some(conv.clone()),
            StepOp::Affine { scale, shift } if !draft.relu => {
                let groups = self.tensors[draft.input].shape[2];
                Some(Conv { window: Window::point([1, 1]), groups, weights: scale.clone(), steps: Vec::new(), bias: shift.clone(), second: Second::None })
            }
            _ => None,
        }
    }
}

/// `large` plus `small`, both over the same tensor, if every tap of `small` is one of `large`.
fn embedded(large: &Conv, small: &Conv) -> Option<Conv> {
    let (wide, narrow) = (&large.window, &small.window);
    if wide.stride != narrow.stride || large.bias.len() != small.bias.len() {
        return None;
    }
    // One channel a group is part of any grouping that maps as many channels to as many.
    let diagonal = small.groups as usize == small.bias.len() && small.weights.len() == small.bias.len();
    let taps = |w: &Window| (w.kernel[0] * w.kernel[1]) as usize;
    let depth = large.weights.len() / large.bias.len() / taps(wide);
    let square = depth * large.groups as usize == large.bias.len();
    if small.groups != large.groups && !(diagonal && square) {
        return None;
    }
    let mut places = Vec::with_capacity(taps(narrow));
    for ky in 0..narrow.kernel[0] {
        for kx in 0..narrow.kernel[1] {
            let place = |axis: usize, k: u32| {
                let at = (wide.pads[axis] + k * narrow.dilation[axis]).checked_sub(narrow.pads[axis])?;
                let tap = at / wide.dilation[axis];
                (at % wide.dilation[axis] == 0 && tap < wide.kernel[axis]).then_some(tap)
            };
            places.push((place(0, ky)? * wide.kernel[1] + place(1, kx)?) as usize);
        }
    }
    let mut sum = Conv { steps: Vec::new(), ..large.clone() };
    for (o, bias) in sum.bias.iter_mut().enumerate() {
        *bias += small.bias[o];
        for (tap, &place) in places.iter().enumerate() {
            let to = &mut sum.weights[(o * taps(wide) + place) * depth..][..depth];
            if small.groups == large.groups {
                let from = &small.weights[(o * places.len() + tap) * depth..][..depth];
                to.iter_mut().zip(from).for_each(|(t, f)| *t += f);
            } else {
                to[o % depth] += small.weights[o];
            }
        }
    }
    Some(sum)
}
