//! The part of a convolution that hands each channel on: taken out of the kernel, it is an exact factor of a skip.
//!
//! Where branches were folded into one convolution (RepVGG), the middle tap of a channel's own input holds the identity and is many times larger than all else in its
//! row. As a weight it would set the grid of them all.

use super::graph::{Conv, Second};
use crate::pack::LANES;
use std::vec::Vec;

/// A row counts if its own middle weight is larger than the others by this factor.
const LARGER: f64 = 4.0;

/// The convolution without its diagonal, and the diagonal: 0 in channels that keep theirs. None if it does not map its input's pixels and channels to themselves, or if
/// less than half of the channels have a diagonal that stands out. `scale` is that of an input channel.
pub(super) fn diagonal(conv: &Conv, inputs: usize, scale: impl Fn(usize) -> f64) -> Option<(Conv, Vec<f64>)> {
    let (window, outputs) = (&conv.window, conv.bias.len());
    let middle = |axis: usize| {
        let (pad, kernel) = (window.pads[axis], window.kernel[axis]);
        let odd = !kernel.is_multiple_of(2) && pad == window.pads[axis + 2] && pad * 2 == (kernel - 1) * window.dilation[axis];
        (odd && window.stride[axis] == 1).then_some(kernel as usize / 2)
    };
    let taps = (window.kernel[0] * window.kernel[1]) as usize;
    if conv.second != Second::None || inputs != outputs || taps == 1 || !conv.steps.is_empty() {
        return None;
    }
    let groups = conv.groups as usize;
    if groups > 1 && inputs / groups < LANES {
        // They have kernels of their own, which add nothing.
        return None;
    }
    let (tap, own) = (middle(0)? * window.kernel[1] as usize + middle(1)?, inputs / groups);
    let (mut rest, mut factors) = (conv.clone(), std::vec![0.0; outputs]);
    for (o, (row, factor)) in rest.weights.chunks_exact_mut(taps * own).zip(&mut factors).enumerate() {
        let (at, first) = (tap * own + o % own, o / own * own);
        let others = row.iter().enumerate().filter(|(i, _)| *i != at).fold(0.0f64, |m, (i, w)| m.max((w * scale(first + i % own)).abs()));
        if row[at] * scale(o) > LARGER * others {
            *factor = core::mem::take(&mut row[at]);
        }
    }
    (factors.iter().filter(|f| **f > 0.0).count() * 2 >= outputs).then_some((rest, factors))
}
