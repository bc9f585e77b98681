//! Which residual block a step belongs to.

use crate::convert::graph::{Conv, Op, Second, Step, TensorId};
use std::collections::HashSet;

/// Numbers the blocks: an addition closes one, and what lies between two additions belongs to the later. The first begins where its two branches part.
pub fn number(steps: &mut [Step]) {
    let additions: Vec<(usize, TensorId)> = steps.iter().enumerate().filter_map(|(i, s)| second(s).map(|t| (i, t))).collect();
    let Some(&(first, shortcut)) = additions.first() else { return };
    let mut from = parting(steps, first, shortcut);
    for (block, &(to, _)) in (0u32..).zip(&additions) {
        steps[from..=to].iter_mut().for_each(|s| s.block = Some(block));
        from = to + 1;
    }
}

/// The tensor that a step adds.
fn second(step: &Step) -> Option<TensorId> {
    match &step.op {
        Op::Add(t) | Op::Conv(Conv { second: Second::Skip { tensor: t, .. } | Second::Projection { tensor: t, .. }, .. }) => Some(*t),
        _ => None,
    }
}

/// The first step behind the tensor that both branches of addition `at` come from.
fn parting(steps: &[Step], at: usize, shortcut: TensorId) -> usize {
    let maker = |t: TensorId| steps.iter().position(|s| s.output == t);
    let main: HashSet<TensorId> = core::iter::successors(Some(steps[at].input), |&t| maker(t).map(|i| steps[i].input)).collect();
    let mut chain = core::iter::successors(Some(shortcut), |&t| maker(t).map(|i| steps[i].input));
    chain.find(|t| main.contains(t)).and_then(maker).map_or(0, |i| i + 1)
}
