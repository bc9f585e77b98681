//! Which residual block a step belongs to.

use crate::convert::graph::{Conv, Op, Second, Step, TensorId};
use std::collections::{HashMap, HashSet};

/// Numbers the blocks: an addition closes one, and what lies between two additions belongs to the later. The first begins where its two branches part.
/// Additions between the parts of a block (Res2Net) close nothing.
pub fn number(steps: &mut [Step]) {
    let makers: HashMap<TensorId, usize> = steps.iter().enumerate().map(|(i, s)| (s.output, i)).collect();
    let parted = |(i, s): (usize, &Step)| second(s).map(|t| (parting(steps, &makers, s.input, t), i));
    let spans: Vec<(usize, usize)> = steps.iter().enumerate().filter_map(parted).collect();
    // An addition is inside a block if a later one's branches part at or before the place where its own do.
    let mut outer: Vec<(usize, usize)> = Vec::new();
    for span in spans {
        while outer.last().is_some_and(|last| span.0 <= last.0) {
            outer.pop();
        }
        outer.push(span);
    }
    let Some(&(mut from, _)) = outer.first() else { return };
    for (block, &(_, to)) in (0u32..).zip(&outer) {
        steps[from..=to].iter_mut().for_each(|s| s.block = Some(block));
        from = to + 1;
    }
}

/// The tensor that a step adds.
fn second(step: &Step) -> Option<TensorId> {
    match &step.op {
        Op::Add(t) | Op::Gate { skip: Some(t), .. } => Some(*t),
        Op::Conv(Conv { second: Second::Skip { tensor: t, .. } | Second::Projection { tensor: t, .. }, .. }) => Some(*t),
        _ => None,
    }
}

/// The first step behind the tensor that both branches of an addition come from.
fn parting(steps: &[Step], makers: &HashMap<TensorId, usize>, input: TensorId, shortcut: TensorId) -> usize {
    let up = |&t: &TensorId| makers.get(&t).map(|&i| steps[i].input);
    let main: HashSet<TensorId> = core::iter::successors(Some(input), up).collect();
    let mut chain = core::iter::successors(Some(shortcut), up);
    chain.find(|t| main.contains(t)).and_then(|t| makers.get(&t)).map_or(0, |i| i + 1)
}
