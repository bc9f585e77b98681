//! Tensors in 16 bits: the residual stream, what functions read, and what is gated.
//!
//! What blocks hand on through their shortcuts is rounded finely, what their convolutions read is a copy of it in bytes.
//! Each block rounds the stream once more, and that noise stays in it to the end. A shortcut in bytes has some thousand units of the accumulator to a step, one in 16 bits some
//! tens of them: next to nothing beside what the weights bring. A function or a gate between two convolutions makes bytes of what it reads: in 16 bits, that is the only rounding.

use super::ConvertError;
use super::calibrate::{Statistics, TensorStatistics};
use super::graph::{self, Conv, Function, Network, Op, Second, TensorId};
use super::layer::SHOWN_LIMIT;
use super::quantize::{Walk, derived, levels};
use super::scales::units;
use crate::format::proof::FACTOR_LIMIT;
use crate::quant::DataType;
use std::vec::Vec;

/// Units of the accumulator in one step of the stream, where its range allows.
const FACTOR: f64 = 32.0;
/// Fewer units, down to this, keep the stream so much finer than in bytes where a branch outweighs it; it is never coarser.
const LEAST_FACTOR: f64 = 8.0;
const FINER: f64 = 16.0;
/// Factors of a tensor of 16 bits are at most this, so that an accumulator holds it and what its zero point adds.
pub(super) const WIDE_FACTOR: i32 = 8191;
/// The range of the stream in multiples of the largest value of the calibration pictures.
const HEADROOM: f64 = 2.0;
/// Values of a gate.
const GATE_LEVELS: f64 = 255.0;
/// Beyond this a sigmoid is 0 or 1, to less than a hundredth of a byte's step.
const SATURATED: f64 = 12.0;
/// The value that stands for zero behind a ReLU: all 16 bits lie above it.
const LEAST: i32 = -32768;

/// What a tensor of 16 bits is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It is the stream: what convolutions make, add to and hand on.
    Stream,
    /// A function reads it, and nothing else does.
    Function,
    /// It is gated; else only means read it.
    Gate,
}

/// A tensor that is made in 16 bits.
#[derive(Clone, Debug)]
pub struct Wide {
    /// What it is for.
    pub for_: Use,
    /// The finest scales that its range and its readers allow.
    pub bounds: Vec<f64>,
}

/// Which tensors can have 16 bits, and what for: those that are read otherwise than by multiplications with weights, where a byte is all that these take.
#[must_use]
pub fn uses(network: &Network) -> Vec<Option<Use>> {
    let mut uses = std::vec![None; network.tensors.len()];
    let maker = |t: TensorId| network.steps.iter().find(|s| s.output == t).filter(|_| network.tensors[t].foreign.is_none());
    // A ReLU6 is the end of a byte's range.
    let convolution = |t: TensorId| network.tensors[t].limit.is_infinite() && maker(t).is_some_and(|s| matches!(s.op, Op::Conv(_)));
    for step in &network.steps {
        if let Op::Conv(Conv { second: Second::Skip { tensor, .. }, .. }) = &step.op {
            uses[*tensor] = convolution(*tensor).then_some(Use::Stream);
        }
    }
    let readers = |t: TensorId| network.steps.iter().filter(move |s| s.reads().any(|r| r == t));
    for step in &network.steps {
        let curve = matches!(step.op, Op::Function(function) if function.bends());
        if curve && uses[step.input].is_none() && convolution(step.input) && readers(step.input).count() == 1 {
            uses[step.input] = Some(Use::Function);
        }
    }
    for step in network.steps.iter().filter(|s| matches!(s.op, Op::Gate { .. })) {
        let t = step.input;
        let function = || maker(t).is_some_and(|s| matches!(s.op, Op::Function(_)) && uses[s.input] == Some(Use::Function));
        let alone = || {
            readers(t).all(|s| match s.op {
                Op::Gate { gate, skip } => s.input == t && gate != t && skip != Some(t),
                _ => matches!(s.op, Op::AveragePool { .. }),
            })
        };
        if uses[t].is_none() && (convolution(t) || function()) && alone() {
            uses[t] = Some(Use::Gate);
        }
    }
    uses
}

/// The tensors of 16 bits with their finest scales. `scales` are those in bytes, `zeros` the bytes that stand for 0.
pub(super) fn wide(network: &Network, statistics: &Statistics, scales: &[Vec<f64>], zeros: &[Option<i32>]) -> Vec<Option<Wide>> {
    let mut found: Vec<Option<Wide>> = uses(network).into_iter().map(|for_| for_.map(|for_| Wide { for_, bounds: Vec::new() })).collect();
    for (step, seen) in network.steps.iter().zip(&statistics.outputs) {
        let Some(Wide { bounds, .. }) = &mut found[step.output] else { continue };
        let tensor = &network.tensors[step.output];
        let (levels, span) = (levels(tensor.bytes()), if tensor.nonnegative { 65535.0 } else { 32767.0 });
        let least = |(c, s): (usize, &f64)| (s * levels / span).max(HEADROOM * seen.channels.largest(c) / span);
        *bounds = scales[step.output].iter().enumerate().map(least).collect();
    }
    for (step, made) in network.steps.iter().zip(&statistics.outputs) {
        match &step.op {
            Op::Conv(conv @ Conv { second: Second::Skip { tensor, front, .. }, .. }) => {
                let Some(Wide { bounds, .. }) = &mut found[*tensor] else { continue };
                let unit = units(conv, if step.input == 0 { &network.input.scale } else { &scales[step.input] });
                let wanted = |u: f64, coarse: f64| (FACTOR * u).min((LEAST_FACTOR * u).max(coarse / FINER)).min(coarse);
                bounds.iter_mut().zip(&unit[*front as usize..]).zip(&scales[*tensor]).for_each(|((b, u), coarse)| *b = b.max(wanted(*u, *coarse)));
            }
            Op::Function(function) => {
                let Some(Wide { for_: Use::Function, bounds }) = &mut found[step.input] else { continue };
                let largest = |of: &TensorStatistics| f64::from(of.channels.max());
                let maker = network.steps.iter().position(|s| s.output == step.input).map_or(0.0, |i| largest(&statistics.outputs[i]));
                bounds.fill(reach(*function, HEADROOM * maker, HEADROOM * largest(made)) / 32768.0);
            }
            Op::Gate { gate, skip } => {
                let Some(Wide { for_: Use::Gate, bounds }) = &mut found[step.input] else { continue };
                // What is added and what stands for zero, in units of the product, must fit.
                let zero = network.tensors[step.output].foreign.map_or(zeros[step.output].unwrap_or(0), |q| q.zero.into());
                let shown = f64::from(zero) / SHOWN_LIMIT;
                let gates = gate_scale(network, *gate).map_or_else(|| scales[*gate].clone(), |scale| std::vec![scale; bounds.len()]);
                for (c, b) in bounds.iter_mut().enumerate() {
                    let added = skip.map_or(0.0, |t| 2.0 * scales[t][c] / f64::from(FACTOR_LIMIT));
                    *b = b.max(added.max(shown * scales[step.output][c]) / gates[c]);
                }
            }
            _ => {}
        }
    }
    found
}

/// How far from 0 a function must be known of what is at most `read` and of which it makes at most `made`: beyond, it is what it is there, or is not met.
fn reach(function: Function, read: f64, made: f64) -> f64 {
    let (end, bend) = match function {
        Function::HardSigmoid { alpha, beta } => (beta.max(1.0 - beta) / alpha, Some(beta / alpha)),
        Function::HardSwish => (made.max(3.0), Some(3.0)),
        Function::Sigmoid => (SATURATED, None),
        _ => (made.max(SATURATED), None),
    };
    let reach = read.min(end);
    // A bend lies on a point of the table.
    let points = |bend: f64| (128.0 * bend / reach).floor();
    bend.filter(|&b| b.is_finite() && points(b) >= 1.0).map_or(reach, |b| 128.0 * b / points(b))
}

/// The scale of a gate from 0 to 1 that a function makes.
pub(super) fn gate_scale(network: &Network, gate: TensorId) -> Option<f64> {
    let tensor = &network.tensors[gate];
    let function = || network.steps.iter().any(|s| s.output == gate && matches!(s.op, Op::Function(_)));
    (tensor.nonnegative && tensor.limit <= 1.0 && tensor.foreign.is_none() && function()).then_some(1.0 / GATE_LEVELS)
}

impl Walk<'_> {
    /// The tensor of the integer network that is added where the network adds this one.
    pub fn added(&self, t: TensorId) -> TensorId {
        self.wide[t].unwrap_or(self.stands_for[t])
    }

    /// The stored value that stands for 0 in the 16 bits of a tensor.
    pub fn wide_zero(&self, t: TensorId) -> i32 {
        match self.network.tensors[t].nonnegative {
            // A gate takes it off, as a factor of its own.
            true if self.is_wide_for(t, Use::Gate) => -FACTOR_LIMIT,
            true => LEAST,
            false => 0,
        }
    }

    /// The finest scales of a tensor of 16 bits.
    pub fn wide_bounds(&self, t: TensorId) -> &[f64] {
        self.widened[t].as_ref().map_or(&[], |wide| &wide.bounds)
    }

    /// True if a tensor has 16 bits for this.
    pub fn is_wide_for(&self, t: TensorId, for_: Use) -> bool {
        self.widened[t].as_ref().is_some_and(|wide| wide.for_ == for_)
    }

    /// Sees to it that what has 16 bits is there in bytes, if a step reads it otherwise than it can in 16.
    pub fn bytes_of_wide(&mut self, step: &graph::Step) -> Result<(), ConvertError> {
        let read = match &step.op {
            Op::Conv(Conv { second: Second::Skip { tensor, .. }, .. }) => Some(*tensor).filter(|t| *t != step.input),
            Op::Affine { .. } => Some(step.input),
            Op::Function(_) => Some(step.input).filter(|&t| self.is_wide_for(t, Use::Function)),
            Op::Gate { .. } => Some(step.input).filter(|&t| self.is_wide_for(t, Use::Gate)),
            _ => None,
        };
        for t in step.reads().filter(|t| Some(*t) != read) {
            let Some(wide) = self.wide[t].filter(|wide| self.stands_for[t] == *wide) else { continue };
            let maker = self.network.steps.iter().find(|s| s.output == t).map_or_else(|| step.name.clone(), |s| s.name.clone());
            let copy = graph::Step { name: derived(&maker, "bytes"), ..step.clone() };
            let kind = if self.zeros[t].is_some() { DataType::U8 } else { self.network.tensors[t].bytes() };
            self.stands_for[t] = self.rescaled(&copy, wide, kind, self.scales[t].clone(), self.zeros[t].unwrap_or(0))?;
        }
        Ok(())
    }
}
