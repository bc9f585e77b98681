//! The residual stream in 16 bits: what blocks hand on through their shortcuts is rounded finely, what their convolutions read is a copy of it in bytes.
//!
//! Each block rounds the stream once more, and that noise stays in it to the end. A shortcut in bytes has some thousand units of the accumulator to a step, one in 16 bits some
//! tens of them: next to nothing beside what the weights bring.

use super::ConvertError;
use super::graph::{self, Conv, Network, Op, Second, TensorId};
use super::quantize::{ROOM, Walk, derived, levels};
use super::round::LARGEST;
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
/// The value that stands for zero behind a ReLU: all 16 bits lie above it.
const LEAST: i32 = -32768;

/// Which tensors are the stream: what convolutions make, add to and hand on.
#[must_use]
pub fn streams(network: &Network) -> Vec<bool> {
    let mut streams = std::vec![false; network.tensors.len()];
    for step in &network.steps {
        if let Op::Conv(Conv { second: Second::Skip { tensor, .. }, .. }) = &step.op {
            let made = network.steps.iter().find(|s| s.output == *tensor);
            streams[*tensor] = made.is_some_and(|s| matches!(s.op, Op::Conv(_))) && network.tensors[*tensor].foreign.is_none();
        }
    }
    streams
}

impl Walk<'_> {
    /// The tensor of the integer network that is added where the network adds this one.
    pub fn added(&self, t: TensorId) -> TensorId {
        self.wide[t].unwrap_or(self.stands_for[t])
    }

    /// The stored value that stands for 0 in the 16 bits of a tensor.
    pub fn wide_zero(&self, t: TensorId) -> i32 {
        if self.network.tensors[t].nonnegative { LEAST } else { 0 }
    }

    /// Scales of the stream, none finer than twice the unit of what makes it: as fine as its range allows and its readers need.
    pub fn wide_scales(&self, t: TensorId, units: &[f64]) -> Vec<f64> {
        self.wide_bounds(t).iter().zip(units).map(|(s, u)| s.max(u * ROOM)).collect()
    }

    /// The finest scales of the stream that its range and its readers allow.
    pub fn wide_bounds(&self, t: TensorId) -> Vec<f64> {
        let steps = &self.network.steps;
        let made = steps.iter().position(|s| s.output == t);
        let span = if self.wide_zero(t) == 0 { 32767.0 } else { 65535.0 };
        let coarse = &self.scales[t];
        let mut bounds: Vec<f64> = coarse.iter().map(|s| s * levels(if span > 32767.0 { DataType::U8 } else { DataType::S8 }) / span).collect();
        if let Some(i) = made {
            let channels = &self.statistics.outputs[i].channels;
            bounds.iter_mut().enumerate().for_each(|(c, b)| *b = b.max(HEADROOM * channels.largest(c) / span));
        }
        for step in steps {
            let Op::Conv(conv @ Conv { second: Second::Skip { tensor, front, .. }, .. }) = &step.op else { continue };
            if *tensor == t {
                let unit = self.planned_units(step, conv);
                let wanted = |u: f64, coarse: f64| (FACTOR * u).min((LEAST_FACTOR * u).max(coarse / FINER)).min(coarse);
                bounds.iter_mut().zip(&unit[*front as usize..]).zip(coarse).for_each(|((b, u), coarse)| *b = b.max(wanted(*u, *coarse)));
            }
        }
        bounds
    }

    /// The units of a convolution's outputs as the planned scales of its input make them.
    fn planned_units(&self, step: &graph::Step, conv: &Conv) -> Vec<f64> {
        let groups = conv.groups as usize;
        let input = if step.input == 0 { &self.network.input.scale } else { &self.scales[step.input] };
        let (own, outputs) = (input.len() / groups, conv.bias.len());
        let row = conv.weights.len() / outputs;
        let largest = |(o, weights): (usize, &[f64])| {
            let input = &input[o * groups / outputs * own..][..own];
            weights.iter().enumerate().fold(0.0f64, |m, (i, w)| m.max((w * input[i % own]).abs())) / LARGEST
        };
        conv.weights.chunks_exact(row).enumerate().map(largest).collect()
    }

    /// Sees to it that the stream is there in bytes, if a step reads it otherwise than by adding or scaling it.
    pub fn bytes_of_stream(&mut self, step: &graph::Step) -> Result<(), ConvertError> {
        let added = match &step.op {
            Op::Conv(Conv { second: Second::Skip { tensor, .. }, .. }) => Some(*tensor).filter(|t| *t != step.input),
            Op::Affine { .. } => Some(step.input),
            _ => None,
        };
        for t in step.reads().filter(|t| Some(*t) != added) {
            let Some(wide) = self.wide[t].filter(|wide| self.stands_for[t] == *wide) else { continue };
            let kind = if self.network.tensors[t].nonnegative { DataType::U8 } else { DataType::S8 };
            let maker = self.network.steps.iter().find(|s| s.output == t).map_or_else(|| step.name.clone(), |s| s.name.clone());
            let copy = graph::Step { name: derived(&maker, "bytes"), ..step.clone() };
            self.stands_for[t] = self.rescaled(&copy, wide, kind, self.scales[t].clone(), 0)?;
        }
        Ok(())
    }
}
