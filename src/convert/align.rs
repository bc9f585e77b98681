//! Channels to places: every [`Op::Slice`] begins at a multiple of 4 channels and takes a multiple of 4, every part of an [`Op::Concat`] has a multiple of 4.
//!
//! Where a network says otherwise (Res2Net: four slices of 26 channels), tensors get further channels, [`GAP`]s, that the convolutions around them make with zero weights and
//! read with zero weights. [`Tensor::channels`](super::graph::Tensor::channels) keeps which channel of the ONNX value is where.

use super::error::ConvertError;
use super::graph::{Conv, GAP, Network, Op, Second, Step, TensorId};
use std::collections::BTreeSet;

mod apply;

/// The channels of a tensor as they are stored: an ONNX channel each, or [`GAP`].
type Layout = Vec<u32>;

/// Gives every tensor the channels that its slices and concatenations need.
///
/// # Errors
/// The picture itself is sliced or concatenated at other channels, the scores are concatenated so, or a shortcut that fills in channels meets such a tensor.
pub fn align(network: Network) -> Result<Network, ConvertError> {
    let cuts = cuts(&network);
    let layouts: Vec<Layout> = network.tensors.iter().zip(&cuts).map(|(tensor, cuts)| layout(tensor.shape[2], cuts)).collect();
    let moved: Vec<bool> = network.tensors.iter().zip(&layouts).map(|(t, l)| l.len() != t.shape[2] as usize).collect();
    if moved.contains(&true) { apply::apply(network, &layouts, &moved) } else { Ok(network) }
}

/// The stored channels of a tensor of `channels` channels where each part that ends at a cut fills a multiple of 4.
fn layout(channels: u32, cuts: &BTreeSet<u32>) -> Layout {
    let mut layout = Vec::new();
    for c in 0..channels {
        layout.push(c);
        if cuts.contains(&(c + 1)) {
            layout.resize(layout.len().next_multiple_of(4), GAP);
        }
    }
    layout
}

/// The channels of each tensor in front of which a multiple of 4 must be stored: where slices begin and end, and concatenated parts.
fn cuts(network: &Network) -> Vec<BTreeSet<u32>> {
    let mut cuts = vec![BTreeSet::new(); network.tensors.len()];
    let mut changed = true;
    while changed {
        let before: usize = cuts.iter().map(BTreeSet::len).sum();
        for step in network.steps.iter().rev().chain(&network.steps) {
            share(network, step, &mut cuts);
        }
        changed = before != cuts.iter().map(BTreeSet::len).sum::<usize>();
    }
    cuts
}

/// Lets the tensors of a step have each other's cuts.
fn share(network: &Network, step: &Step, cuts: &mut [BTreeSet<u32>]) {
    let channels = |t: TensorId| network.tensors[t].shape[2];
    match &step.op {
        Op::Slice(first) => part(cuts, step.input, step.output, *first, channels(step.output)),
        Op::Concat(_) => {
            let mut first = 0;
            for t in step.reads() {
                part(cuts, step.output, t, first, channels(t));
                first += channels(t);
            }
        }
        Op::Conv(conv) => {
            if is_depthwise(conv) && step.input != 0 {
                same(cuts, step.input, step.output);
            }
            if let Second::Skip { tensor, front: 0, .. } = conv.second
                && channels(tensor) == channels(step.output)
            {
                same(cuts, tensor, step.output);
            }
        }
        _ => {
            for t in step.reads() {
                same(cuts, t, step.output);
            }
        }
    }
}

/// True if every output channel reads the input channel of its own number only, and there are several.
pub(super) fn is_depthwise(conv: &Conv) -> bool {
    conv.groups > 1
        && conv.groups as usize == conv.bias.len()
        && conv.weights.len() == conv.bias.len() * (conv.window.kernel[0] * conv.window.kernel[1]) as usize
}

/// Two tensors of the same channels.
fn same(cuts: &mut [BTreeSet<u32>], a: TensorId, b: TensorId) {
    if cuts[a] != cuts[b] {
        let both: BTreeSet<u32> = cuts[a].union(&cuts[b]).copied().collect();
        cuts[a].clone_from(&both);
        cuts[b] = both;
    }
}

/// `inner` is the channels of `outer` from `first` on.
fn part(cuts: &mut [BTreeSet<u32>], outer: TensorId, inner: TensorId, first: u32, channels: u32) {
    let mut here: BTreeSet<u32> = cuts[outer].range(first..=first + channels).map(|c| c - first).filter(|&c| c > 0).collect();
    here.extend(&cuts[inner]);
    here.insert(channels);
    cuts[outer].extend(here.iter().map(|c| c + first));
    if first > 0 {
        cuts[outer].insert(first);
    }
    cuts[inner] = here;
}
