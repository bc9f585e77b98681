//! Which residual block, or which layer of a dense block, a step belongs to.

use crate::convert::graph::{Conv, Op, Second, Step, TensorId};
use std::collections::{BTreeMap, HashMap};

/// Numbers the blocks in the order in which they end.
///
/// A residual block is what lies between an addition and the tensor where its two branches part, with the normalization in front of a pre-activation block and the
/// function behind the sum. Additions between the parts of a block (Res2Net) close nothing. A layer of a dense block is what lies between a concatenation and its
/// newest part, if all its other parts were read to make that.
pub fn number(steps: &mut [Step]) {
    let blocks = Blocks { makers: steps.iter().enumerate().map(|(i, s)| (s.output, i)).collect(), steps };
    let mut spans: Vec<(usize, usize)> = (0..steps.len()).filter_map(|i| blocks.residual(i).or_else(|| blocks.dense(i))).collect();
    spans.sort_by_key(|s| s.1);
    // An addition is inside a block if a later one's branches part at or before the place where its own do.
    let mut outer: Vec<(usize, usize)> = Vec::new();
    for (from, to) in spans {
        while outer.last().is_some_and(|last| from <= last.0) {
            outer.pop();
        }
        outer.push((outer.last().map_or(from, |last| from.max(last.1 + 1)), to));
    }
    let members: Vec<Vec<usize>> = outer.iter().map(|&(from, to)| blocks.members(from, to)).collect();
    for (block, members) in (0u32..).zip(members) {
        members.into_iter().for_each(|i| steps[i].block = Some(block));
    }
}

struct Blocks<'a> {
    steps: &'a [Step],
    makers: HashMap<TensorId, usize>,
}

impl Blocks<'_> {
    /// The first and the last step of the residual block that addition `i` closes.
    fn residual(&self, i: usize) -> Option<(usize, usize)> {
        let step = &self.steps[i];
        let shortcut = match &step.op {
            Op::Add(t) | Op::Gate { skip: Some(t), .. } => *t,
            Op::Conv(Conv { second: Second::Skip { tensor: t, .. } | Second::Projection { tensor: t, .. }, .. }) => *t,
            _ => return None,
        };
        let gate = if let Op::Gate { gate, .. } = &step.op { Some(*gate) } else { None };
        let parting = self.parting([Some(step.input), gate], shortcut);
        let normalized = parting.filter(|&p| matches!(self.steps[p].op, Op::Affine { .. }));
        let from = normalized.or(parting.map(|p| p + 1)).unwrap_or(0);
        let mut readers = self.steps.iter().enumerate().skip(i + 1).filter(|(_, s)| s.reads().any(|t| t == step.output));
        let function = match (readers.next(), readers.next()) {
            (Some((j, Step { op: Op::Function(_), .. })), None) => j,
            _ => i,
        };
        Some((from, function))
    }

    /// The step that makes the latest tensor on which both branches depend; nothing if that is the picture.
    fn parting(&self, main: [Option<TensorId>; 2], shortcut: TensorId) -> Option<usize> {
        let mut seen: BTreeMap<Option<usize>, u8> = BTreeMap::new();
        let see = |seen: &mut BTreeMap<_, u8>, t: TensorId, branch: u8| *seen.entry(self.makers.get(&t).copied()).or_default() |= branch;
        main.into_iter().flatten().for_each(|t| see(&mut seen, t, 1));
        see(&mut seen, shortcut, 2);
        while let Some((Some(i), branches)) = seen.pop_last() {
            if branches == 3 {
                return Some(i);
            }
            self.steps[i].reads().for_each(|t| see(&mut seen, t, branches));
        }
        None
    }

    /// The first and the last step of the dense layer whose result concatenation `i` puts beside what it has read.
    fn dense(&self, i: usize) -> Option<(usize, usize)> {
        if !matches!(self.steps[i].op, Op::Concat(_)) {
            return None;
        }
        let mut others = self.parts(self.steps[i].output);
        let newest = others.pop()??;
        if !matches!(self.steps[newest].op, Op::Conv(Conv { second: Second::None, .. })) {
            return None;
        }
        let up = |&t: &TensorId| self.makers.get(&t).map(|&m| self.steps[m].input);
        let mut chain = core::iter::successors(Some(self.steps[newest].input), up);
        let read = chain.find(|&t| self.parts(t) == others)?;
        Some((self.makers.get(&read).map_or(0, |m| m + 1), newest))
    }

    /// The steps that make the parts of a tensor, in order: itself, or what was concatenated, before a ReLU of its own.
    fn parts(&self, tensor: TensorId) -> Vec<Option<usize>> {
        let mut found = Vec::new();
        let mut open = vec![tensor];
        while let Some(t) = open.pop() {
            let maker = self.makers.get(&t).copied();
            match maker.map(|i| (&self.steps[i].op, &self.steps[i])) {
                Some((Op::Concat(_), step)) => open.extend(step.reads()),
                Some((Op::Affine { scale, shift }, step)) if scale.iter().all(|s| *s == 1.0) && shift.iter().all(|s| *s == 0.0) => open.push(step.input),
                _ => found.push(maker),
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The steps from `from` on of which step `to` needs the results.
    fn members(&self, from: usize, to: usize) -> Vec<usize> {
        let (mut found, mut open) = (Vec::new(), vec![to]);
        while let Some(i) = open.pop() {
            if i >= from && !found.contains(&i) {
                found.push(i);
                open.extend(self.steps[i].reads().filter_map(|t| self.makers.get(&t).copied()));
            }
        }
        found
    }
}
