//! The steps without weights: factors of channels, gates, functions, and views.

use super::ConvertError;
use super::choices::Bias;
use super::graph::{self, Function, TensorId};
use super::quantize::{ONE, Walk, channel_means, derived, levels};
use super::quantized::{Op, Sum, params};
use super::round::integer;
use super::stream::{Use, WIDE_FACTOR, gate_scale};
use crate::format::proof::FACTOR_LIMIT;
use crate::ops::table::{POINT_LIMIT, point_bits};
use crate::quant::{DataType, MULTIPLIER_LIMIT};
use std::vec::Vec;

/// Shifts stay below this many units.
const SHIFT_LIMIT: f64 = 268_435_456.0;

impl Walk<'_> {
    /// Factor and shift of each channel, with factors of 15 bits.
    pub fn affine(&mut self, step: &graph::Step, scale: &[f64], shift: &[f64], kind: DataType, means: &[f64]) -> Result<(), ConvertError> {
        // M must fit: the output is no finer than twice the unit.
        let least = scale.iter().zip(&self.made.tensors[self.added(step.input)].scales).map(|(a, s)| 2.5 * (a * s).abs() / f64::from(WIDE_FACTOR));
        let scales = self.scales[step.output].iter().zip(least).map(|(s, l)| s.max(l)).collect();
        let output = self.output(step, kind, scales);
        let foreign = self.network.tensors[step.output].foreign.is_some();
        let means = if self.options.bias == Bias::Means && !foreign && !self.blind { means } else { &[] };
        self.scaled(step, self.added(step.input), scale, shift, means, output)
    }

    /// `factor·x + shift` of a tensor, the shift so that the result has the given means where there are any.
    fn scaled(&mut self, step: &graph::Step, x: TensorId, scale: &[f64], shift: &[f64], means: &[f64], output: TensorId) -> Result<(), ConvertError> {
        let (input, outputs) = (&self.made.tensors[x].scales, &self.made.tensors[output].scales);
        let seen = channel_means(&self.data[x], &self.view(x));
        let limit = f64::from(if self.made.tensors[x].kind == DataType::S16 { WIDE_FACTOR } else { FACTOR_LIMIT });
        let [zero, shown] = [x, output].map(|t| f64::from(self.made.tensors[t].zero));
        let mut rows: [Vec<i32>; 3] = Default::default();
        for (c, (&s, &out)) in input.iter().zip(outputs).enumerate() {
            let unit = ((scale[c] * s).abs() / limit).max(out / limit).max(shift[c].abs() / SHIFT_LIMIT);
            let factor = (scale[c] * s / unit + 0.5).floor();
            let wanted = shown * out + means.get(c).map_or(shift[c] - factor * unit * zero, |m| m - factor * unit * seen[c]);
            let words = [(wanted / unit + 0.5).floor().clamp(-2.0 * SHIFT_LIMIT, 2.0 * SHIFT_LIMIT), (ONE * unit / out + 0.5).floor(), factor];
            rows.iter_mut().zip(words).for_each(|(row, w)| row.push(integer(w.min(f64::from(MULTIPLIER_LIMIT - 1)))));
        }
        let zeros = std::vec![0; rows[0].len()];
        let params = params(&[&rows[0], &zeros, &rows[1], &zeros, &rows[2]], self.view(output).stored_channels());
        self.finish(step, Op::Add(Sum { params, p: 0 }), (x, None, None), output)
    }

    /// A tensor as the values of another type, its scales changed as little as the type allows.
    fn converted(&mut self, step: &graph::Step, x: TensorId, kind: DataType) -> Result<TensorId, ConvertError> {
        let from = &self.made.tensors[x];
        let scales = from.scales.iter().map(|s| s * levels(from.kind) / levels(kind)).collect();
        self.rescaled(step, x, kind, scales, 0)
    }

    /// A tensor in another type or with other scales, the value `zero` standing for 0.
    pub(super) fn rescaled(&mut self, step: &graph::Step, x: TensorId, kind: DataType, scales: Vec<f64>, zero: i32) -> Result<TensorId, ConvertError> {
        let from = self.made.tensors[x].clone();
        let (ones, zeros) = (std::vec![1.0; scales.len()], std::vec![0.0; scales.len()]);
        let output = self.add_tensor(&derived(&from.name, kind_name(kind)), from.shape, kind, scales);
        self.made.tensors[output].zero = zero;
        let name = derived(&step.name, &std::format!("{}{x}", kind_name(kind)));
        let (stands_for, wide) = (self.stands_for[step.output], self.wide[step.output]);
        self.scaled(&graph::Step { name, ..step.clone() }, x, &ones, &zeros, &[], output)?;
        (self.stands_for[step.output], self.wide[step.output]) = (stands_for, wide);
        Ok(output)
    }

    /// A gate for each channel, with the skip-add behind it.
    pub fn gate(&mut self, step: &graph::Step, gate: TensorId, skip: Option<TensorId>, kind: DataType) -> Result<(), ConvertError> {
        let x = if self.is_wide_for(step.input, Use::Gate) { self.added(step.input) } else { self.stands_for[step.input] };
        let (gate, skip) = (self.stands_for[gate], skip.map(|t| self.stands_for[t]));
        let (tensor, gates) = (&self.made.tensors[x], &self.made.tensors[gate]);
        if gates.kind != DataType::U8 || tensor.picture {
            let what = if tensor.picture { "it gates the picture" } else { "its gate has a sign" };
            return Err(ConvertError::Arithmetic { node: step.name.clone(), what: what.into() });
        }
        let units: Vec<f64> = tensor.scales.iter().zip(&gates.scales).map(|(s, g)| s * g).collect();
        if self.made.tensors[gate].zero != 0 {
            let what = "another byte than 0 stands for zero in its gate";
            return Err(ConvertError::Arithmetic { node: step.name.clone(), what: what.into() });
        }
        let nearest = |v: f64| (v + 0.5).floor();
        let factors: Vec<f64> = match skip {
            Some(t) => self.made.tensors[t].scales.iter().zip(&units).map(|(s, u)| nearest(s / u)).collect(),
            None => std::vec![0.0; units.len()],
        };
        if let Some(c) = factors.iter().position(|&k| k > f64::from(FACTOR_LIMIT)) {
            return Err(ConvertError::Arithmetic { node: step.name.clone(), what: std::format!("channel {c} is too fine for the shortcut") });
        }
        // M must fit: the output is no finer than twice the unit.
        let scales: Vec<f64> = self.scales[step.output].iter().zip(&units).map(|(s, u)| s.max(2.5 * u)).collect();
        let multipliers: Vec<i32> = units.iter().zip(&scales).map(|(u, s)| integer(nearest(ONE * u / s))).collect();
        let k2: Vec<i32> = factors.iter().map(|&k| integer(k)).collect();
        let zeros = std::vec![0; units.len()];
        let (added, shown) = (skip.map_or(0.0, |t| f64::from(self.made.tensors[t].zero)), f64::from(self.zero(step.output)));
        let bias: Vec<i32> = (0..units.len()).map(|c| integer(nearest(shown * scales[c] / units[c] - added * factors[c]))).collect();
        let k1 = std::vec![-self.made.tensors[x].zero; units.len()];
        let output = self.output(step, kind, scales);
        let params = params(&[&bias, &zeros, &multipliers, &k2, &k1], self.view(output).stored_channels());
        self.finish(step, Op::Gate(Sum { params, p: 0 }), (x, Some(gate), skip), output)
    }

    /// A function of every value, as a table over the bytes, or the points of lines over the 16 bits, of a tensor that has one scale, or any scales if the function keeps factors.
    pub fn function(&mut self, step: &graph::Step, function: Function, kind: DataType) -> Result<(), ConvertError> {
        let mut input = self.stands_for[step.input];
        if self.made.tensors[input].picture {
            return Err(ConvertError::Arithmetic { node: step.name.clone(), what: "it reads the picture".into() });
        }
        let mut scale = self.made.tensors[input].scales.iter().fold(0.0f64, |a, &b| a.max(b));
        let from = self.made.tensors[input].kind;
        let (mut scales, tensor) = (self.scales[step.output].clone(), &self.network.tensors[step.output]);
        if function.keeps_factors() && tensor.foreign.is_none() {
            let ratio = if self.zeros[step.input].is_some() { scales[0] / self.scales[step.input][0] } else { 1.0 };
            scale = self.made.tensors[input].scales[0];
            scales = self.made.tensors[input].scales.iter().map(|s| s * ratio).collect();
        } else if self.made.tensors[input].scales.iter().any(|s| *s != scale) {
            let scales = std::vec![scale; self.made.tensors[input].scales.len()];
            input = self.rescaled(step, input, from, scales, self.made.tensors[input].zero)?;
        }
        let zero = f64::from(self.made.tensors[input].zero);
        let shown = if kind == DataType::S16 { self.wide_zero(step.output) } else { self.zero(step.output) };
        if kind == DataType::S16 {
            let largest = self.wide_bounds(step.output).iter().fold(0.0f64, |a, &b| a.max(b));
            scales.fill(largest);
        } else if let Some(scale) = gate_scale(self.network, step.output) {
            scales.fill(scale);
        }
        // What stands for f(x) before it is rounded.
        let at = |x: f64| function.at((x - zero) * scale) / scales[0] + f64::from(shown);
        let table = if from == DataType::S16 {
            let (one, limit) = (f64::from(1 << point_bits(kind)), f64::from(POINT_LIMIT));
            let point = |i: u16| integer((at(f64::from(i) * 256.0 - 32768.0) * one + 0.5).floor().clamp(-limit, limit));
            (0..=256).flat_map(|i| point(i).to_le_bytes()).collect()
        } else {
            let (low, high) = kind.range();
            let entry = |byte: u8| {
                let x = if from == DataType::S8 { f64::from(byte.cast_signed()) } else { f64::from(byte) };
                integer((at(x) + 0.5).floor().clamp(f64::from(low), f64::from(high))).to_le_bytes()[0]
            };
            (0..=255).map(entry).collect()
        };
        let output = self.output_around(step, kind, scales, shown);
        self.finish(step, Op::Table(table), (input, None, None), output)
    }

    /// Tensors side by side: each keeps its scales, all are of one type.
    pub fn concat(&mut self, step: &graph::Step, parts: &[TensorId], kind: DataType) -> Result<(), ConvertError> {
        let mut made = Vec::with_capacity(parts.len() + 1);
        for &part in core::iter::once(&step.input).chain(parts) {
            let tensor = self.stands_for[part];
            let fits = self.made.tensors[tensor].kind == kind && self.made.tensors[tensor].zero == self.zero(step.output) && !self.made.tensors[tensor].picture;
            made.push(if fits { tensor } else { self.converted(step, tensor, kind)? });
        }
        let scales = made.iter().flat_map(|&t| self.made.tensors[t].scales.clone()).collect();
        let output = self.output(step, kind, scales);
        self.finish(step, Op::Concat(made[1..].to_vec()), (made[0], None, None), output)
    }

    /// Some of the channels of a tensor.
    pub fn slice(&mut self, step: &graph::Step, first: u32) -> Result<(), ConvertError> {
        let input = self.stands_for[step.input];
        let (shape, tensor) = (self.network.tensors[step.output].shape, &self.made.tensors[input]);
        if tensor.picture {
            return Err(ConvertError::Arithmetic { node: step.name.clone(), what: "it takes channels of the picture".into() });
        }
        let (kind, zero, scales) = (tensor.kind, tensor.zero, tensor.scales[first as usize..][..shape[2] as usize].to_vec());
        let output = self.output_around(step, kind, scales, zero);
        self.finish(step, Op::Slice(first), (input, None, None), output)
    }
}

const fn kind_name(kind: DataType) -> &'static str {
    match kind {
        DataType::U8 => "u8",
        DataType::S8 => "s8",
        DataType::S16 => "s16",
        DataType::I32 => "i32",
    }
}
