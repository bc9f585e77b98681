//! Concatenations and slices as views of wide buffers: each part is made where it belongs, and what cannot be is copied there.

use super::graph::TensorId;
use super::quantized::{Op, Quantized, Step, Tensor};
use crate::shape::Window;
use std::vec::Vec;

/// For each tensor the one whose channels it is, and from which channel on.
struct Homes(Vec<Option<(TensorId, u32)>>);

impl Homes {
    /// The buffer in which a tensor lies, and from which channel on.
    fn root(&self, mut tensor: TensorId) -> (TensorId, u32) {
        let mut first = 0;
        while let Some((whole, channel)) = self.0[tensor] {
            (tensor, first) = (whole, first + channel);
        }
        (tensor, first)
    }
}

/// The same network without steps that compute nothing: their tensors are channels of others.
#[must_use]
pub fn place(mut network: Quantized) -> Quantized {
    let mut homes = Homes(std::vec![None; network.tensors.len()]);
    for step in &network.steps {
        if let Op::Slice(first) = step.op {
            homes.0[step.output] = Some((step.input, first));
        }
    }
    let mut copies: Vec<(usize, Step)> = Vec::new();
    for index in (0..network.steps.len()).rev() {
        let Op::Concat(_) = network.steps[index].op else { continue };
        let whole = network.steps[index].output;
        let parts = with_channels(&network, &network.steps[index]);
        if homes.0[whole].is_none()
            && let Some(home) = together(&homes, whole, &parts)
        {
            homes.0[whole] = Some(home);
            continue;
        }
        for (part, channel) in parts {
            let (root, first) = homes.root(whole);
            if homes.0[part].is_none() && part != root && part != 0 {
                homes.0[part] = Some((whole, channel));
            } else if homes.root(part) != (root, first + channel) {
                let copied = fresh(&mut network, &mut homes, part);
                homes.0[copied] = Some((whole, channel));
                copies.push((index, copy(&network.steps[index], part, copied)));
            }
        }
    }
    insert(&mut network, copies);
    let aliased = aliased(&mut network, &mut homes);
    insert(&mut network, aliased);
    network.steps.retain(|s| !matches!(s.op, Op::Concat(_) | Op::Slice(_)));
    for t in 0..network.tensors.len() {
        network.tensors[t].part = Some(homes.root(t)).filter(|(root, _)| *root != t);
    }
    network
}

/// The parts of a concatenation and the channel at which each begins.
fn with_channels(network: &Quantized, step: &Step) -> Vec<(TensorId, u32)> {
    let mut channel = 0;
    let place = |part: TensorId| {
        let first = channel;
        channel += network.tensors[part].shape[2];
        (part, first)
    };
    step.reads().map(place).collect()
}

/// Where all parts lie side by side already, if they do.
fn together(homes: &Homes, whole: TensorId, parts: &[(TensorId, u32)]) -> Option<(TensorId, u32)> {
    let (root, first) = homes.root(parts[0].0);
    (root != whole && parts.iter().all(|&(part, channel)| homes.root(part) == (root, first + channel) && homes.0[part].is_some())).then_some((root, first))
}

/// Another tensor like this one.
fn fresh(network: &mut Quantized, homes: &mut Homes, like: TensorId) -> TensorId {
    let tensor = Tensor { part: None, ..network.tensors[like].clone() };
    network.tensors.push(tensor);
    homes.0.push(None);
    network.tensors.len() - 1
}

/// A copy is the maximum over one pixel.
fn copy(of: &Step, input: TensorId, output: TensorId) -> Step {
    let name = std::format!("{}:copy{output}", of.name);
    Step { name, op: Op::MaxPool(Window::point([1, 1])), input, second: None, third: None, output, block: of.block, macs: 0, factors: None }
}

/// Lets steps that would write into a buffer which they read write elsewhere; gives the copies that follow them.
fn aliased(network: &mut Quantized, homes: &mut Homes) -> Vec<(usize, Step)> {
    let mut copies = Vec::new();
    for index in 0..network.steps.len() {
        let step = &network.steps[index];
        let output = step.output;
        if matches!(step.op, Op::Concat(_) | Op::Slice(_)) || !step.reads().any(|t| homes.root(t).0 == homes.root(output).0) {
            continue;
        }
        let own = fresh(network, homes, output);
        network.steps[index].output = own;
        copies.push((index + 1, copy(&network.steps[index], own, output)));
    }
    copies
}

/// Inserts steps, each before the one of its index.
fn insert(network: &mut Quantized, mut steps: Vec<(usize, Step)>) {
    steps.sort_by_key(|(index, _)| *index);
    for (index, step) in steps.into_iter().rev() {
        network.steps.insert(index, step);
    }
}
