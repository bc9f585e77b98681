//! A network with other channels in its tensors.

use super::{Conv, ConvertError, GAP, Layout, Network, Op, Second, is_depthwise};
use crate::convert::graph::Step;

/// The network with its tensors stored as `layouts` say; `moved` are those that change.
pub fn apply(mut network: Network, layouts: &[Layout], moved: &[bool]) -> Result<Network, ConvertError> {
    if moved[0] {
        let mut readers = network.steps.iter().filter(|s| s.reads().any(|t| t == 0));
        let name = readers.find(|s| !matches!(s.op, Op::Conv(_))).map_or_else(|| network.name.clone(), |s| s.name.clone());
        return Err(unsupported(name, "Concat or Slice", "channels of the network's input that are no multiple of 4 are put together or taken apart"));
    }
    if let Some(last) = network.steps.last().filter(|s| moved[s.output]) {
        return Err(unsupported(last.name.clone(), "the scores", "the scores are put together from numbers of channels that are no multiple of 4"));
    }
    for step in &mut network.steps {
        let (from, to) = (&layouts[step.input], &layouts[step.output]);
        if let Op::Conv(conv) = &step.op
            && let Second::Skip { tensor, front, .. } = conv.second
            && (moved[tensor] || moved[step.output])
            && (front != 0 || layouts[tensor] != *to)
        {
            return Err(unsupported(step.name.clone(), "Add", "a shortcut that fills in channels meets a tensor that is sliced or concatenated"));
        }
        rewrite(step, from, to, layouts);
    }
    for (t, tensor) in network.tensors.iter_mut().enumerate().filter(|(t, _)| moved[*t]) {
        tensor.shape[2] = u32::try_from(layouts[t].len()).unwrap_or(u32::MAX);
        tensor.channels.clone_from(&layouts[t]);
    }
    Ok(network)
}

fn unsupported(node: String, op: &str, what: &str) -> ConvertError {
    let help = "numbers of channels that are multiples of 4 are supported there";
    ConvertError::Unsupported { node, op: op.into(), what: what.into(), help }
}

fn rewrite(step: &mut Step, from: &Layout, to: &Layout, layouts: &[Layout]) {
    match &mut step.op {
        Op::Conv(conv) => {
            convolution(conv, from, to);
            if let Second::Projection { tensor, weights, .. } = &mut conv.second {
                *weights = spread(weights, &layouts[*tensor], to, 1, 1);
            }
        }
        Op::Slice(first) => *first = from.iter().position(|c| c == first).and_then(|p| u32::try_from(p).ok()).unwrap_or(*first),
        Op::Affine { scale, shift } => {
            *scale = to.iter().map(|&c| scale.get(c as usize).copied().unwrap_or(1.0)).collect();
            *shift = to.iter().map(|&c| shift.get(c as usize).copied().unwrap_or(0.0)).collect();
        }
        _ => {}
    }
}

fn convolution(conv: &mut Conv, from: &Layout, to: &Layout) {
    let groups = conv.groups as usize;
    let kept = if is_depthwise(conv) && from == to { to.len() } else { (1..=groups).rev().find(|&g| splits(groups, g, from, to)).unwrap_or(1) };
    conv.weights = if kept > groups {
        let taps = conv.weights.len() / conv.bias.len();
        let filter = |&c: &u32| if c == GAP { vec![0.0; taps] } else { conv.weights[c as usize * taps..][..taps].to_vec() };
        to.iter().flat_map(filter).collect()
    } else {
        spread(&conv.weights, from, to, groups, kept)
    };
    if !conv.steps.is_empty() {
        conv.steps = to.iter().map(|&c| conv.steps.get(c as usize).copied().unwrap_or(1.0)).collect();
    }
    conv.bias = to.iter().map(|&c| conv.bias.get(c as usize).copied().unwrap_or(0.0)).collect();
    conv.groups = u32::try_from(kept).unwrap_or(1);
}

/// True if `kept` groups of equal width, each of them some whole groups of the `groups` there are, can be told apart in both layouts.
fn splits(groups: usize, kept: usize, from: &Layout, to: &Layout) -> bool {
    let even = |layout: &Layout| {
        let real = layout.iter().filter(|&&c| c != GAP).count();
        let width = layout.len() / kept;
        layout.len().is_multiple_of(kept)
            && layout.chunks_exact(width).enumerate().all(|(g, part)| part.iter().all(|&c| c == GAP || c as usize * kept / real == g))
    };
    groups.is_multiple_of(kept) && even(from) && even(to)
}

/// Weights `[out][tap][in]` of `groups` groups for channels stored as `from` and `to`, in `kept` groups.
fn spread(weights: &[f64], from: &Layout, to: &Layout, groups: usize, kept: usize) -> Vec<f64> {
    let count = |layout: &Layout| layout.iter().filter(|&&c| c != GAP).count();
    let (outputs, depth) = (count(to), count(from) / groups);
    let taps = weights.len() / outputs / depth;
    let (width, height) = (from.len() / kept, to.len() / kept);
    let mut all = Vec::with_capacity(to.len() * taps * width);
    for (o, &out) in to.iter().enumerate() {
        let inputs = &from[o / height * width..][..width];
        for tap in 0..taps {
            all.extend(inputs.iter().map(|&i| {
                let (group, own) = (i as usize / depth, out as usize * groups / outputs);
                if out == GAP || i == GAP || group != own { 0.0 } else { weights[(out as usize * taps + tap) * depth + i as usize % depth] }
            }));
        }
    }
    all
}
