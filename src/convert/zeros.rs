//! Bytes for values whose negative part is small: what leaky ReLU, SiLU and hard swish read and make.
//!
//! A sign would cost half of the values. Instead a byte above 0 stands for zero, as near to 0 as the negative part allows.

use super::calibrate::Statistics;
use super::channels::ALL;
use super::graph::{Function, Network, Op, TensorId};
use super::round::integer;
use std::vec::Vec;

/// Values of a byte above 0.
const ABOVE: f64 = 255.0;
/// Values of a byte with a sign above 0.
const SIGNED: f64 = 127.0;
/// What a SiLU reads below this is nearly nothing.
const SILU_END: f64 = -4.0;
/// What a hard swish reads below this is nothing.
const SWISH_END: f64 = -3.0;
/// The part of the largest value that is about what ranges keep.
const KEPT: f64 = 0.7;
/// No channel's range is smaller than about this part of the largest.
const SHARE: f64 = 0.25;

/// How a tensor that has signs is stored in bytes without.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Around {
    /// This byte stands for 0, and so many values above it are meant.
    Byte { zero: i32, levels: f64 },
    /// What a function makes, or some of it: no value is less than this one.
    Made(f64),
    /// What nothing but this step reads, a function with the least value `least`: values below `end` do not matter to it.
    Read { step: usize, end: f64, least: f64 },
}

impl Around {
    /// Values above the one that stands for 0, in a tensor that reaches up to `top`.
    pub fn levels(self, top: f64) -> f64 {
        match self {
            Self::Byte { levels, .. } => levels,
            Self::Made(least) => ABOVE * top / (top - least),
            Self::Read { end, least, .. } => ABOVE * (top - least) / (top - least - end),
        }
    }

    /// The scale of what a function reads whose results reach up to `top`. It never takes more from a value than its least value.
    pub fn scale_of_read(self, top: f64) -> f64 {
        if let Self::Read { end, least, .. } = self { (top - least - end) / ABOVE } else { top / self.levels(top) }
    }

    /// The byte that stands for 0 where one step has this scale.
    pub fn zero(self, scale: f64) -> i32 {
        let steps = |least: f64| integer((-least / scale).ceil().clamp(1.0, ABOVE));
        match self {
            Self::Byte { zero, .. } => zero,
            Self::Made(least) => steps(least),
            Self::Read { end, .. } => steps(end),
        }
    }
}

/// The least value of a function of values down to `-reach`, and below which value of what it reads nothing matters.
fn least(function: Function, reach: f64) -> Option<(f64, f64)> {
    let (lowest, end) = match function {
        Function::Silu => (-1.2785, SILU_END),
        Function::HardSwish => (-1.5, SWISH_END),
        _ => return None,
    };
    (reach > 0.0).then(|| (function.at(f64::max(lowest, -reach)), end.max(-reach)))
}

/// Sums of what magnitudes, given by middle and count from small to large, exceed `end` by, and of its squares.
fn excess(bins: &[(f64, f64)], end: f64) -> [f64; 2] {
    let above = bins.iter().rev().take_while(|(middle, _)| *middle > end);
    above.fold([0.0; 2], |[sum, squares], (middle, count)| [sum + count * (middle - end), squares + count * (middle - end).powi(2)])
}

/// The byte for 0 in front of the leaky ReLUs of a slope and behind them, if it serves all of them together better than a sign.
fn leaky(network: &Network, statistics: &Statistics, slope: f64) -> Option<[i32; 2]> {
    let zeros: Vec<f64> = (2..=31).map(|z| 4.0 * f64::from(z)).collect();
    let (mut costs, mut signed) = (std::vec![0.0; zeros.len()], 0.0);
    for (i, step) in network.steps.iter().enumerate().filter(|(_, s)| s.op == Op::Function(Function::LeakyRelu { slope }) && alone(network, s.input)) {
        let Some(maker) = network.steps.iter().position(|s| s.output == step.input) else { continue };
        let (read, made) = (&statistics.outputs[maker].channels, &statistics.outputs[i].channels);
        let weight = 1.0 / (statistics.variances[i].max(1e-30) * f64::from(network.tensors[step.output].shape[2]));
        let whole = (0..made.len()).map(|c| made.largest(c)).fold(0.0, f64::max);
        for c in (0..made.len()).filter(|&c| made.largest(c) > 0.0) {
            let (bins, behind) = (read.bins(&ALL, c), made.bins(&ALL, c));
            let n = bins.iter().map(|(_, count)| count).sum::<f64>() + read.small(&ALL, c);
            let top = KEPT * made.largest(c).max(SHARE * whole);
            signed += weight * (top.max(KEPT * read.largest(c)) / SIGNED).powi(2) / 12.0;
            for (cost, zero) in costs.iter_mut().zip(&zeros) {
                let scale = top / (ABOVE - zero);
                // Both have the same values above 0; what is below is small behind the function. Biases take the mean.
                let [all, above] = [&bins, &behind].map(|bins| excess(bins, zero * scale));
                let [mean, square] = [0, 1].map(|k| (all[k] - above[k]).max(0.0) / n.max(1.0));
                let clipped = (square - mean * mean).max(0.0);
                *cost += weight * (scale * scale / 12.0 + slope * slope * clipped);
            }
        }
    }
    let (cost, zero) = costs.into_iter().zip(zeros).reduce(|best, next| if next.0 < best.0 { next } else { best })?;
    (slope > 0.0 && slope < 1.0 && cost < signed).then(|| [zero, (slope * zero).ceil()].map(integer))
}

/// What a step makes whose results are no less than those of the function behind which it stands.
fn made(around: Option<Around>) -> Option<Around> {
    around.filter(|a| matches!(a, Around::Made(_)))
}

/// True if a step that may put 0 anywhere makes a tensor, and one step alone reads it.
fn alone(network: &Network, t: TensorId) -> bool {
    let able = |op: &Op| matches!(op, Op::Conv(_) | Op::Add(_) | Op::Affine { .. } | Op::Gate { .. });
    network.steps.iter().any(|s| s.output == t && able(&s.op)) && network.steps.iter().filter(|s| s.reads().any(|r| r == t)).count() == 1
}

/// The tensors of a network that are stored so.
#[must_use]
pub(super) fn around(network: &Network, statistics: &Statistics) -> Vec<Option<Around>> {
    let mut slopes: Vec<(f64, Option<[i32; 2]>)> = Vec::new();
    let mut around = std::vec![None; network.tensors.len()];
    let own = |t: TensorId| t != 0 && !network.tensors[t].nonnegative && network.tensors[t].foreign.is_none();
    for (i, step) in network.steps.iter().enumerate().filter(|(_, s)| own(s.input) && own(s.output)) {
        let alone = alone(network, step.input);
        match step.op {
            Op::Function(Function::LeakyRelu { slope }) if alone => {
                let byte = |zero: [i32; 2]| zero.map(|z| Some(Around::Byte { zero: z, levels: ABOVE - f64::from(zero[0]) }));
                let known = slopes.iter().find(|s| s.0.total_cmp(&slope).is_eq()).map(|s| s.1);
                let zero = known.unwrap_or_else(|| leaky(network, statistics, slope));
                slopes.push((slope, zero));
                [around[step.input], around[step.output]] = zero.map_or([None; 2], byte);
            }
            Op::Function(function) => {
                let reach = network.steps.iter().position(|s| s.output == step.input).map_or(0.0, |maker| f64::from(statistics.outputs[maker].max));
                if let Some((least, end)) = least(function, reach) {
                    around[step.output] = Some(Around::Made(least));
                    around[step.input] = alone.then_some(Around::Read { step: i, end, least });
                }
            }
            Op::MaxPool(_) | Op::Mirror(_) | Op::Slice(_) if !step.relu => around[step.output] = around[step.input],
            Op::Concat(_) => around[step.output] = around[step.input].filter(|a| matches!(a, Around::Byte { .. })),
            // A gate only takes from what it gates.
            Op::Gate { gate, skip: None } if network.tensors[gate].limit <= 1.0 => around[step.output] = made(around[step.input]),
            Op::AveragePool { include_pad, .. } if !include_pad => around[step.output] = made(around[step.input]),
            _ => {}
        }
    }
    while let Some(t) = (0..around.len()).find(|&t| around[t].is_some() && !holds(network, &around, t)) {
        around[t] = None;
    }
    around
}

/// True if what makes a tensor and all that reads it can take that another byte than 0 stands for 0.
fn holds(network: &Network, around: &[Option<Around>], t: TensorId) -> bool {
    let this = around[t];
    let mut steps = network.steps.iter().filter(|s| s.output == t || s.reads().any(|r| r == t));
    steps.all(|step| match &step.op {
        Op::Function(function) if function.keeps_factors() => around[step.input].is_some(),
        Op::Function(_) => step.output == t || matches!(this, Some(Around::Read { .. })),
        Op::MaxPool(_) | Op::Mirror(_) | Op::Slice(_) => around[step.input] == around[step.output],
        Op::Concat(_) => step.reads().chain([step.output]).all(|other| around[other] == this),
        Op::Gate { gate, .. } => *gate != t,
        Op::AveragePool { .. } => around[step.input].is_some() && around[step.output].is_some(),
        Op::Conv(_) | Op::Add(_) | Op::Affine { .. } => true,
    })
}
