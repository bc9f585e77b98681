//! Convolutions whose weights an ONNX file stores as integers: the same integers, where they fit the device.

use super::graph::{self, Network, Second};
use super::layer::{input_sign, part, rows};
use super::quantize::{ONE as TWO_31, ROOM, Walk};
use super::round::{LARGEST, integer};
use super::rounding::{Rows, integers};
use crate::format::proof::FACTOR_LIMIT;
use crate::pack::Depth;
use std::string::String;
use std::vec::Vec;

/// Weights of a file lie within this many steps.
const FARTHEST: f64 = 128.0;
/// Two scales are the same if they differ by less than this part.
const SAME: f64 = 1e-9;

/// The integers of a convolution.
pub(super) struct Exact {
    /// Unit of each channel's accumulator.
    pub unit: Vec<f64>,
    /// Rows in the order of depth.
    pub weights: Vec<i8>,
    /// The rows as the file has them.
    wanted: Vec<Vec<f64>>,
    /// For each row the places in depth where that is not the same, and the differences.
    clamped: Vec<Vec<(usize, f64)>>,
}

impl Exact {
    /// How much less than the file says an accumulator is in the mean, when each position in depth of each group reads `seen`, and `zero` stands for 0.
    pub fn lost(&self, o: usize, seen: &[Vec<f64>], zero: f64) -> f64 {
        let group = o * seen.len() / self.clamped.len();
        self.clamped[o].iter().map(|&(at, less)| less * (seen[group][at] - zero)).sum()
    }

    /// Rounds the rows anew in which a weight of ±128 had to give way, so that the others make up for it where inputs go together.
    pub fn make_up(&mut self, walk: &mut Walk<'_>, main: &Rows<'_>, size: [u32; 2]) {
        let touched: Vec<usize> = (0..self.clamped.len()).filter(|&o| !self.clamped[o].is_empty()).collect();
        if touched.is_empty() {
            return;
        }
        let rows = touched.iter().map(|&o| self.wanted[o].iter().map(|w| w * self.unit[o]).collect()).collect();
        let unit: Vec<f64> = touched.iter().map(|&o| self.unit[o]).collect();
        let asked = core::mem::replace(&mut walk.options.pair_safe, false);
        let [weights, _] = integers(walk, &unit, Rows { rows, ..*main }, None, size);
        walk.options.pair_safe = asked;
        for (&o, made) in touched.iter().zip(weights.chunks_exact(main.rows[0].len())) {
            let depth = made.len();
            self.weights[o * depth..][..depth].copy_from_slice(made);
            let less = self.wanted[o].iter().zip(made).map(|(w, &m)| w - f64::from(m));
            self.clamped[o] = less.enumerate().filter(|(_, less)| *less != 0.0).collect();
        }
    }
}

/// What became of the integers of an ONNX file.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Convolutions whose integers were kept.
    kept: usize,
    /// Weights of ±128.
    clamped: usize,
    /// Names of the convolutions that were rounded again.
    pub rounded: Vec<String>,
}

impl Kept {
    /// Says what was kept of a quantized file.
    pub fn note(&self, network: &Network, notes: &mut Vec<String>) {
        let stored = network.tensors.iter().filter(|t| t.foreign.is_some()).count();
        if stored + self.kept + self.rounded.len() == 0 {
            return;
        }
        notes.push(std::format!(
            "the file is quantized already: its scales of {stored} tensors and its weights of {} convolutions and dense layers were kept",
            self.kept
        ));
        if self.clamped > 0 {
            notes.push(std::format!("{} of its weights are -128 and became -127, and the others of their filters and the biases make up for it", self.clamped));
        }
        if let Some(first) = self.rounded.first() {
            let others = if self.rounded.len() > 1 { std::format!(" and {} more", self.rounded.len() - 1) } else { String::new() };
            notes.push(std::format!("the weights of {first}{others} were rounded again: a float addition follows them, or their scales do not fit the device"));
        }
    }
}

/// The unit of a sum of bytes of two scales that shows them best on a third, on which the byte `zero` stands for 0.
pub(super) fn unit_of_sum([x, y, output]: [f64; 3], zero: f64) -> f64 {
    let larger = x.max(y);
    let off = |v: f64| (v - (v + 0.5).floor()).abs();
    let cost = |unit: f64| {
        let multiplier = TWO_31 * unit / output;
        let rounded = FARTHEST * (off(x / unit) + off(y / unit)) + off(zero * output / unit);
        rounded * unit / output + FARTHEST * off(multiplier) / multiplier
    };
    let units = (1..=FACTOR_LIMIT).map(|k| larger / f64::from(k)).filter(|unit| unit * ROOM < output);
    let best = units.map(|unit| (cost(unit), unit)).reduce(|best, next| if next.0 < best.0 { next } else { best });
    best.map_or(larger / f64::from(FACTOR_LIMIT), |(_, unit)| unit)
}

/// The integers of a convolution that adds nothing, if the file has them and the device can take them. `scaled` are its rows in units of one step of the input.
pub(super) fn exact(walk: &mut Walk<'_>, step: &graph::Step, conv: &graph::Conv, scaled: &[Vec<f64>]) -> Option<Exact> {
    if conv.steps.is_empty() || conv.second != Second::None {
        return None;
    }
    let input = walk.stands_for[step.input];
    let view = walk.view(input);
    let plain = rows(&conv.weights, &conv.window, &view, conv.groups, |c| input_sign(walk, input, c));
    let depth = Depth::new(&conv.window, part(&view, conv.groups, 0).stored_channels()).len();
    let foreign = walk.network.tensors[step.output].foreign;
    let mut exact = Exact { unit: Vec::new(), weights: Vec::with_capacity(plain.len() * depth), wanted: Vec::new(), clamped: Vec::new() };
    for ((plain, scaled), &grid) in plain.iter().zip(scaled).zip(&conv.steps) {
        let mut ratios = plain.iter().zip(scaled).filter(|(w, _)| **w != 0.0).map(|(w, s)| s / w);
        let first = ratios.next();
        let scale = first.unwrap_or_else(|| walk.made.tensors[input].scales[0]);
        if ratios.any(|r| (r / scale - 1.0).abs() > SAME) {
            return None;
        }
        let mut row: Vec<f64> = plain.iter().map(|w| (w / grid + 0.5).floor()).collect();
        let largest = row.iter().fold(0.0f64, |m, w| m.max(w.abs()));
        let mut unit = scale * grid;
        if let Some(q) = foreign {
            // M must fit: the output is no finer than twice the unit.
            let factor = (unit * ROOM / f64::from(q.scale)).ceil().max(1.0);
            if factor > 1.0 && largest * factor > LARGEST {
                return None;
            }
            row.iter_mut().for_each(|w| *w *= factor);
            unit /= factor;
        }
        if largest > FARTHEST || !unit.is_normal() {
            return None;
        }
        let far = row.iter().enumerate().filter(|(_, w)| w.abs() > LARGEST).map(|(at, w)| (at, w.signum() * (w.abs() - LARGEST)));
        exact.clamped.push(far.collect());
        exact.weights.extend(row.iter().map(|w| i8::try_from(integer(w.clamp(-LARGEST, LARGEST))).unwrap_or_default()));
        exact.unit.push(unit);
        exact.wanted.push(row);
    }
    walk.foreign.kept += 1;
    walk.foreign.clamped += exact.clamped.iter().map(Vec::len).sum::<usize>();
    Some(exact)
}
