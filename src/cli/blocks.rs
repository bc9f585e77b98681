//! The steps of a plan by residual block: what kind it is, how large, what its shortcut does.

use super::map;
use super::output::{Table, ms, or_dash, thousands};
use super::profile::{Shape, copies};
use crate::format::{Operation, Plan, StepRecord};
use crate::ops::conv::{Conv, Second};
use crate::shape::Window;
use serde::Serialize;

/// A residual block, a layer of a dense block, or a sequence of other steps.
#[derive(Clone, Debug, Serialize)]
pub struct Block {
    /// Its number; none for a plain sequence.
    pub block: Option<u32>,
    /// The first of its traits, or `plain`.
    pub kind: &'static str,
    /// All that it is of: `dense`, `res2net`, `se`, `pre-activation`, `grouped`, `bottleneck`, `basic`.
    pub traits: Vec<&'static str>,
    /// Name of its first step.
    pub first: String,
    /// Name of its last step.
    pub last: String,
    /// Number of its steps.
    pub steps: usize,
    /// Their places in the plan.
    #[serde(skip)]
    pub places: Vec<usize>,
    /// Channels of what it reads.
    pub in_channels: u32,
    /// Channels of what it makes.
    pub channels: u32,
    /// Its input's height over its output's.
    pub stride: u32,
    /// `identity`, `projection`, `option A` or `pooled`; none for a dense layer or a plain sequence.
    pub shortcut: Option<&'static str>,
    /// Kernel, stride and groups of the convolutions between input and sum, in order.
    pub convolutions: Vec<String>,
    /// Factors of its convolutions and dense layers, those of the shortcut too.
    pub weights: u64,
    /// Their biases, one an output channel.
    pub biases: u64,
    /// Weights and biases.
    pub parameters: u64,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Bytes of tensors that its most demanding step needs or keeps for later steps.
    pub arena_bytes: usize,
    /// The same in percent of the arena.
    pub arena_percent: f64,
    /// Its time, where that was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms: Option<f64>,
    /// Its share of the whole time in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// Norm of what it adds over the norm of what it adds it to, where that was measured and the shortcut is no projection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy: Option<f64>,
}

/// The step that closes a residual block, and the tensor that it adds.
#[derive(Clone, Copy, Debug)]
pub struct Sum {
    /// Place of the step in the plan.
    pub place: usize,
    /// The shortcut's tensor.
    pub shortcut: usize,
    /// True if the shortcut is the step's first operand.
    pub first: bool,
}

/// The blocks of a plan, in the order of their first steps.
#[must_use]
pub fn of(plan: &Plan<'_>) -> Vec<Block> {
    let live = map::live_bytes(plan);
    let mut groups: Vec<(Option<u32>, Vec<usize>)> = Vec::new();
    for (i, step) in plan.steps().enumerate() {
        let last = groups.len().saturating_sub(1);
        let known = groups.iter().position(|g| step.block().is_some() && g.0 == step.block());
        match known.or_else(|| groups.last().filter(|g| g.0.is_none() && step.block().is_none()).map(|_| last)) {
            Some(n) => groups[n].1.push(i),
            None => groups.push((step.block(), vec![i])),
        }
    }
    let steps: Vec<_> = plan.steps().collect();
    groups.into_iter().map(|(block, places)| Members { steps: &steps, places: &places }.block(plan, block, &live)).collect()
}

/// The steps of one block.
#[derive(Clone, Copy)]
pub(super) struct Members<'a> {
    /// Those of the whole plan.
    pub steps: &'a [StepRecord<'a>],
    /// Which of them.
    pub places: &'a [usize],
}

impl Members<'_> {
    /// The step that makes a tensor inside the block.
    fn maker(&self, tensor: usize) -> Option<usize> {
        self.places.iter().copied().find(|&p| self.steps[p].output() == tensor)
    }

    /// The steps inside the block, last first, from which a tensor comes along their first operands.
    fn chain(&self, tensor: usize) -> Vec<usize> {
        core::iter::successors(self.maker(tensor), |&p| self.maker(self.steps[p].input()).filter(|&before| before < p)).collect()
    }

    /// The sum that closes the block.
    pub(super) fn sum(&self) -> Option<Sum> {
        self.places.iter().rev().find_map(|&place| {
            let step = &self.steps[place];
            let (input, second) = (step.input(), step.second());
            let added = |shortcut, first| Sum { place, shortcut, first };
            match step.operation() {
                Operation::Conv(Conv { second: Second::Skip { .. }, .. }) => Some(added(second?, false)),
                Operation::Gate(_) => Some(added(step.third()?, false)),
                Operation::Conv(Conv { second: Second::Projection { .. }, .. }) if has_middle(step) => None,
                // Either operand may be the branch: it is the one that more steps lead to, and of as many not the one without a convolution.
                Operation::Conv(Conv { second: Second::Projection { .. }, .. }) | Operation::Add(_) => {
                    let second = second?;
                    let [x, y] = [input, second].map(|tensor| self.chain(tensor));
                    let convolved = |chain: &[usize]| chain.iter().any(|&p| matches!(self.steps[p].operation(), Operation::Conv(_)));
                    let first = x.len() < y.len() || x.len() == y.len() && !convolved(&x) && convolved(&y);
                    Some(added(if first { input } else { second }, first))
                }
                _ => None,
            }
        })
    }

    fn shortcut(&self, sum: Sum) -> &'static str {
        let chain = self.chain(sum.shortcut);
        let any = |of: fn(&Operation<'_>) -> bool| chain.iter().any(|&p| !copies(&self.steps[p]) && of(&self.steps[p].operation()));
        let operation = self.steps[sum.place].operation();
        let (shape, pooled) = (Shape::of(&self.steps[sum.place]), any(|o| matches!(o, Operation::Pool(_))));
        match operation {
            _ if pooled => "pooled",
            Operation::Conv(Conv { second: Second::Projection { .. }, .. }) => "projection",
            Operation::Conv(Conv { second: Second::Skip { view, stride, front }, .. }) if stride != [1, 1] || front > 0 || view.c != shape.output.c => {
                "option A"
            }
            _ if any(|o| matches!(o, Operation::Conv(_))) => "projection",
            _ => "identity",
        }
    }

    /// The convolutions over a picture between input and sum.
    fn convolutions(&self, sum: Option<Sum>) -> Vec<Conv<'_>> {
        let shortcut = sum.map_or_else(Vec::new, |s| self.chain(s.shortcut));
        let conv = |&p: &usize| match self.steps[p].operation() {
            // The branch ends in what is projected, the shortcut in the kernel beside it.
            Operation::Conv(conv @ Conv { second: Second::Projection { view, window, .. }, .. }) if sum.is_some_and(|s| s.first && s.place == p) => {
                Some(Conv { input: view, window, ..conv })
            }
            Operation::Conv(conv) if conv.input.pixels() > 1 || self.places.len() < 3 => Some(conv),
            _ => None,
        };
        self.places.iter().filter(|p| !shortcut.contains(p)).filter_map(conv).collect()
    }

    fn traits(&self, sum: Option<Sum>, convolutions: &[Conv<'_>]) -> Vec<&'static str> {
        let Some(sum) = sum else { return vec!["dense"] };
        let wide = |c: &Conv<'_>| c.window.kernel != [1, 1];
        let part = |c: &&Conv<'_>| wide(c) && c.output.pixel > c.output.stored_channels() * c.output.kind.bytes();
        let before = |p: &usize| matches!(self.steps[*p].operation(), Operation::Add(add) if add.y.is_none()) && *p < sum.place;
        let ends = [convolutions.first(), convolutions.last()];
        let bottleneck = convolutions.len() > 2 && ends.iter().flatten().all(|c| !wide(c)) && convolutions.iter().any(wide);
        let found = [
            ("res2net", convolutions.iter().filter(part).count() > 1),
            ("se", self.places.iter().any(|&p| matches!(self.steps[p].operation(), Operation::Gate(_)))),
            ("pre-activation", self.places.iter().find(|&&p| !copies(&self.steps[p])).is_some_and(before)),
            ("grouped", convolutions.iter().any(|c| c.groups > 1)),
            ("bottleneck", bottleneck),
            ("basic", !bottleneck),
        ];
        found.iter().filter(|t| t.1).map(|t| t.0).collect()
    }

    fn block(&self, plan: &Plan<'_>, block: Option<u32>, live: &[usize]) -> Block {
        let step = |p: Option<&usize>| p.map_or(&self.steps[0], |&p| &self.steps[p]);
        let (first, last) = (step(self.places.first()), step(self.places.last()));
        let sum = self.sum().filter(|_| block.is_some());
        let convolutions = self.convolutions(sum);
        let traits = if block.is_some() { self.traits(sum, &convolutions) } else { Vec::new() };
        let (input, output) = (plan.tensor(first.input()).view(), plan.tensor(last.output()).view());
        let counts = self.places.iter().map(|&p| parameters(&self.steps[p]));
        let (weights, biases) = counts.fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        let arena_bytes = self.places.iter().map(|&p| live[p]).max().unwrap_or(0);
        Block {
            block,
            kind: traits.first().copied().unwrap_or("plain"),
            traits,
            first: first.name().to_owned(),
            last: last.name().to_owned(),
            steps: self.places.len(),
            places: self.places.to_vec(),
            in_channels: input.c,
            channels: output.c,
            stride: input.h.div_ceil(output.h),
            shortcut: sum.map(|s| self.shortcut(s)),
            convolutions: convolutions.iter().map(spelled).collect(),
            weights,
            biases,
            parameters: weights + biases,
            macs: self.places.iter().map(|&p| self.steps[p].macs()).sum(),
            arena_bytes,
            arena_percent: 100.0 * arena_bytes as f64 / plan.arena_bytes(1).max(1) as f64,
            ms: None,
            share: None,
            energy: None,
        }
    }
}

/// A convolution in short: `3x3`, `3x3/2`, `3x3 g32`.
fn spelled(conv: &Conv<'_>) -> String {
    let [h, w] = conv.window.kernel;
    let stride = if conv.window.stride == [1, 1] { String::new() } else { format!("/{}", conv.window.stride[0]) };
    let groups = if conv.groups == 1 { String::new() } else { format!(" g{}", conv.groups) };
    format!("{h}x{w}{stride}{groups}")
}

/// True if what a convolution projects is its own middle tap, which the converter takes out of the kernel where it stands out: no shortcut, and no weights beside the kernel's.
fn has_middle(step: &StepRecord<'_>) -> bool {
    let Operation::Conv(conv) = step.operation() else { return false };
    let own = |window: &Window| step.second() == Some(step.input()) && *window == Window::point(conv.window.stride) && conv.window.kernel != [1, 1];
    matches!(&conv.second, Second::Projection { window, .. } if own(window))
}

/// Weights and biases of a step; zeros between groups that are multiplied together do not count.
fn parameters(step: &StepRecord<'_>) -> (u64, u64) {
    let Operation::Conv(conv) = step.operation() else { return (0, 0) };
    let taps = |kernel: [u32; 2]| u64::from(kernel[0]) * u64::from(kernel[1]);
    let outputs = u64::from(conv.output.c);
    let weights = match &conv.second {
        Second::Projection { view, window, .. } => {
            let projected = if has_middle(step) { 0 } else { u64::from(view.c) * taps(window.kernel) };
            (u64::from(conv.input.c) * taps(conv.window.kernel) + projected) * outputs
        }
        _ => step.macs() / conv.output.pixels() as u64,
    };
    (weights, outputs)
}

/// Adds the times of the steps.
pub fn time(blocks: &mut [Block], ms: &[f64]) {
    let total: f64 = ms.iter().sum();
    for block in blocks {
        let sum: f64 = block.places.iter().map(|&p| ms[p]).sum();
        (block.ms, block.share) = (Some(sum), Some(100.0 * sum / total));
    }
}

/// A line a block.
#[must_use]
pub fn table(blocks: &[Block]) -> String {
    let mut table = Table::new(&[
        ">block",
        "kind",
        ">in",
        ">out",
        ">stride",
        "shortcut",
        "convolutions",
        ">parameters",
        ">MACs",
        ">arena",
        ">%",
        ">ms",
        ">%",
        ">|F|/|x|",
        "steps",
    ]);
    for b in blocks {
        let kind = if b.traits.is_empty() { b.kind.to_owned() } else { b.traits.join(" ") };
        let convolutions = if b.block.is_some() { b.convolutions.join(", ") } else { format!("{} of them", b.convolutions.len()) };
        let steps = if b.steps == 1 { b.first.clone() } else { format!("{} .. {}", b.first, b.last) };
        table.row([
            or_dash(b.block.map(|n| n.to_string())),
            kind,
            b.in_channels.to_string(),
            b.channels.to_string(),
            b.stride.to_string(),
            or_dash(b.shortcut.map(str::to_owned)),
            convolutions,
            thousands(b.parameters),
            thousands(b.macs),
            thousands(b.arena_bytes as u64),
            format!("{:.0}", b.arena_percent),
            or_dash(b.ms.map(ms)),
            or_dash(b.share.map(|v| format!("{v:.1}"))),
            or_dash(b.energy.map(|v| format!("{v:.3}"))),
            steps,
        ]);
    }
    table.without_empty().to_string()
}
