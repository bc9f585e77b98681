//! The residual stream in 16 bits: what blocks hand on through their shortcuts is rounded finely, what their convolutions read is a copy of it in bytes.
//!
//! Each block rounds the stream once more, and that noise stays in it to the end. A shortcut in bytes has some thousand units of the accumulator to a step, one in 16 bits some
//! tens of them: next to nothing beside what the weights bring.

use super::ConvertError;
use super::calibrate::Statistics;
use super::graph::{self, Conv, Network, Op, Second, TensorId};
use super::quantize::{Walk, derived, levels};
use super::scales::units;
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

/// The finest scales of the stream that its range and its readers allow; nothing for other tensors. `scales` are those in bytes.
pub(super) fn bounds(network: &Network, statistics: &Statistics, scales: &[Vec<f64>]) -> Vec<Option<Vec<f64>>> {
    let mut found: Vec<Option<Vec<f64>>> = streams(network).into_iter().map(|stream| stream.then(Vec::new)).collect();
    for (step, seen) in network.steps.iter().zip(&statistics.outputs) {
        let Some(bounds) = &mut found[step.output] else { continue };
        let tensor = &network.tensors[step.output];
        let (levels, span) = (levels(tensor.bytes()), if tensor.nonnegative { 65535.0 } else { 32767.0 });
        let least = |(c, s): (usize, &f64)| (s * levels / span).max(HEADROOM * seen.channels.largest(c) / span);
        *bounds = scales[step.output].iter().enumerate().map(least).collect();
    }
    for step in &network.steps {
        let Op::Conv(conv @ Conv { second: Second::Skip { tensor, front, .. }, .. }) = &step.op else { continue };
        let Some(bounds) = &mut found[*tensor] else { continue };
        let unit = units(conv, if step.input == 0 { &network.input.scale } else { &scales[step.input] });
        let wanted = |u: f64, coarse: f64| (FACTOR * u).min((LEAST_FACTOR * u).max(coarse / FINER)).min(coarse);
        bounds.iter_mut().zip(&unit[*front as usize..]).zip(&scales[*tensor]).for_each(|((b, u), coarse)| *b = b.max(wanted(*u, *coarse)));
    }
    found
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

    /// The finest scales of a tensor of the stream.
    pub fn wide_bounds(&self, t: TensorId) -> &[f64] {
        self.streams[t].as_deref().unwrap_or_default()
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
            let maker = self.network.steps.iter().find(|s| s.output == t).map_or_else(|| step.name.clone(), |s| s.name.clone());
            let copy = graph::Step { name: derived(&maker, "bytes"), ..step.clone() };
            self.stands_for[t] = self.rescaled(&copy, wide, self.network.tensors[t].bytes(), self.scales[t].clone(), 0)?;
        }
        Ok(())
    }
}
