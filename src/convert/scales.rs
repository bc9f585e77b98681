//! The scale of every channel of every tensor, from the statistics alone.
//!
//! A channel's scale may be as fine as its range allows, and coarser where that spares its readers: a reader's weights take the scale, and the largest of them sets the
//! grid of all. The rule `s = sqrt(sigma / sqrt(A))` balances the rounding of the channel, which weighs with the energy A of the weights that read it,
//! against the rounding of these weights, which weighs with the channel's variance over its squared scale.

use super::calibrate::Statistics;
use super::choices::{Options, Scales};
use super::graph::{Conv, Network, Op, Second, Step, TensorId};
use super::layer::SHOWN_LIMIT;
use super::parallel::in_order;
use super::range;
use super::round::{LARGEST, integer};
use super::sums::count;
use super::zeros::{Around, around};
use std::vec::Vec;

/// Energies and variances count as at least this share of the largest.
const LEAST_SHARE: f64 = 1e-8;
/// Channels whose range is below this share of the largest do not count in a tensor's range.
const DEAD: f64 = 1e-6;
/// The least factor that an identity skip should have, and how much coarser it may become for that.
const FACTOR: f64 = 8.0;
const COARSER: f64 = 4.0;
/// A mean's scales are at least this part of its input's.
const LEAST_RATIO: f64 = 1.0 / 4096.0;
/// Values of a byte above 0.
const ABOVE_ZERO: f64 = 255.0;
/// How far a gate is open as a rule.
const HALF_OPEN: f64 = 0.5;

/// The weights of one reader of a tensor.
struct Reader {
    /// Largest magnitude over the taps, a row of channels for each output.
    largest: Vec<f64>,
    /// Sum of squares for each channel.
    energy: Vec<f64>,
    /// Taps of the window.
    taps: f64,
    /// One over the variance of what the reader makes.
    gain: f64,
}

impl Reader {
    /// A reader whose weights `[out][tap][in]` fall into groups.
    fn new(weights: &[f64], channels: usize, taps: usize, groups: usize, gain: f64) -> Self {
        let own = channels / groups;
        let outputs = weights.len() / (own * taps);
        let mut largest = std::vec![0.0f64; outputs * channels];
        let mut energy = std::vec![0.0; channels];
        for (o, (row, output)) in largest.chunks_exact_mut(channels).zip(weights.chunks_exact(own * taps)).enumerate() {
            let group = o * groups / outputs * own..(o * groups / outputs + 1) * own;
            for tap in output.chunks_exact(own) {
                row[group.clone()].iter_mut().zip(tap).for_each(|(l, w)| *l = l.max(w.abs()));
                energy[group.clone()].iter_mut().zip(tap).for_each(|(e, w)| *e += w * w);
            }
        }
        Self { largest, energy, taps: count(taps) / count(groups), gain }
    }

    /// The same reader of other channels: channel `c` of them is its channel `of(c)`, if it has one.
    fn through(&self, channels: usize, of: impl Fn(usize) -> Option<usize>) -> Self {
        let row = |row: &[f64]| -> Vec<f64> { (0..channels).map(|c| of(c).map_or(0.0, |i| row[i])).collect() };
        Self { largest: self.largest.chunks_exact(self.energy.len()).flat_map(row).collect(), energy: row(&self.energy), ..*self }
    }

    /// Noise of the rounding of its weights, over the squared noise of an input of unit energy.
    fn grid(&self, scales: &[f64]) -> f64 {
        let unit = |row: &[f64]| largest(row, scales) / LARGEST;
        self.gain * self.taps * self.largest.chunks_exact(scales.len()).map(|row| unit(row).powi(2)).sum::<f64>()
    }
}

/// All that reads a tensor.
struct Readers {
    weights: Vec<Reader>,
    /// Sum of the gains of what adds it, for each channel.
    added: Vec<f64>,
}

impl Readers {
    fn add(&mut self, gain: f64, factor: impl Fn(usize) -> f64) {
        self.added.iter_mut().enumerate().for_each(|(c, a)| *a += gain * factor(c).powi(2));
    }

    /// Adds the readers of another tensor, whose channel `of(c)` is channel `c` of this one.
    fn hand_on(&mut self, other: &Self, of: impl Fn(usize) -> Option<usize>) {
        let channels = self.added.len();
        self.weights.extend(other.weights.iter().map(|r| r.through(channels, &of)));
        self.added.iter_mut().enumerate().for_each(|(c, a)| *a += of(c).map_or(0.0, |i| other.added[i]));
    }

    fn energy(&self) -> Vec<f64> {
        let mut sums = self.added.clone();
        for reader in &self.weights {
            sums.iter_mut().zip(&reader.energy).for_each(|(s, e)| *s += reader.gain * e);
        }
        sums
    }
}

struct Search<'a> {
    network: &'a Network,
    statistics: &'a Statistics,
    options: Options,
    around: Vec<Option<Around>>,
}

/// How the integers of tensors stand for values.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// The scales of each tensor; the picture's are its own.
    pub scales: Vec<Vec<f64>>,
    /// Whether all of its channels must have the same.
    pub uniform: Vec<bool>,
    /// The byte above 0 that stands for 0 in a tensor with signs that is stored in bytes without.
    pub zeros: Vec<Option<i32>>,
}

/// Finds the scales of all tensors.
#[must_use]
pub(super) fn scales(network: &Network, statistics: &Statistics, options: Options) -> Found {
    let search = Search { network, statistics, options, around: around(network, statistics) };
    let channels = |t: TensorId| network.tensors[t].shape[2] as usize;
    let mut scales: Vec<Vec<f64>> = (0..network.tensors.len()).map(|t| std::vec![1.0; channels(t)]).collect();
    let mut ratios: Vec<Option<f64>> = std::vec![None; network.steps.len()];
    let find = |i: usize| {
        let step = &network.steps[i];
        Ok::<_, core::convert::Infallible>(match network.tensors[step.output].foreign {
            Some(q) => (std::vec![f64::from(q.scale); channels(step.output)], None),
            None if arranges(&step.op) => (std::vec![1.0; channels(step.output)], None),
            None => match search.read(step.output) {
                Some(scale) => (std::vec![scale; channels(step.output)], None),
                None if options.scales == Scales::Tensor => (search.whole(i), None),
                None => search.step(i),
            },
        })
    };
    let Ok(()) = in_order(network.steps.len(), options.threads, find, |i, (found, ratio)| {
        scales[network.steps[i].output] = found;
        ratios[i] = ratio;
        Ok(())
    });
    search.arrange(&mut scales);
    search.raise_skips(&mut scales);
    for (step, ratio) in network.steps.iter().zip(&mut ratios) {
        let (tensor, scales) = (&network.tensors[step.output], &mut scales[step.output]);
        let most = tensor.limit / 255.0;
        if tensor.nonnegative && tensor.limit > 0.0 && scales.iter().any(|s| *s > most) {
            scales.iter_mut().for_each(|s| *s = s.min(most));
            // It belonged to the scales that were found.
            *ratio = None;
        }
    }
    let uniform = search.uniform(&mut scales);
    search.raise_gated(&mut scales, &uniform);
    let zeros = search.hand_on(&mut scales, &ratios);
    for (scales, q) in scales.iter_mut().zip(&network.tensors).filter_map(|(s, t)| Some((s, t.foreign?))) {
        scales.fill(f64::from(q.scale));
    }
    Found { scales, uniform, zeros }
}

impl Search<'_> {
    /// Positive levels of what step `i` makes.
    fn levels(&self, i: usize) -> f64 {
        let t = self.network.steps[i].output;
        match self.around[t] {
            _ if self.network.tensors[t].nonnegative => 255.0,
            Some(around) => around.levels(range::largest(&self.statistics.outputs[i], 255.0, self.options.method)),
            None => 127.0,
        }
    }

    fn whole(&self, i: usize) -> Vec<f64> {
        let levels = self.levels(i);
        let scale = range::largest(&self.statistics.outputs[i], levels, self.options.method) / levels;
        std::vec![scale; self.network.tensors[self.network.steps[i].output].shape[2] as usize]
    }

    /// The scale of what a function alone reads, as what it makes wants it.
    fn read(&self, t: TensorId) -> Option<f64> {
        let around @ Around::Read { step, .. } = self.around[t]? else { return None };
        Some(around.scale_of_read(range::largest(&self.statistics.outputs[step], 255.0, self.options.method)))
    }

    /// The scales of a step's output; where nothing but a mean reads it, the mean's scale over them.
    fn step(&self, i: usize) -> (Vec<f64>, Option<f64>) {
        let t = self.network.steps[i].output;
        if let Some((pool, pixels)) = self.mean_of(t) {
            let mean = self.network.steps[pool].output;
            let readers = self.readers(mean);
            let energy = readers.energy();
            let (own, of_mean) = (self.bounds(i, &energy), self.bounds(pool, &energy));
            let variance = self.variances(pool);
            let ratio = |k: i32| 2f64.powf(-f64::from(k) / 4.0);
            let search = |k: i32| {
                let bounds: Vec<f64> = own.iter().zip(&of_mean).map(|(o, m)| m.max(ratio(k) * o)).collect();
                let noise = 1.0 + 1.0 / (pixels * ratio(k).powi(2));
                let (scales, cost) = balance(&bounds, &variance, &readers, &energy, noise);
                (cost, scales, ratio(k))
            };
            let best = (0..=16).map(search).reduce(|best, next| if next.0 < best.0 { next } else { best });
            if let Some((_, scales, ratio)) = best {
                return (scales.iter().map(|s| s / ratio).collect(), Some(ratio));
            }
        }
        let readers = self.readers(t);
        let energy = readers.energy();
        (balance(&self.bounds(i, &energy), &self.variances(i), &readers, &energy, 1.0).0, None)
    }

    /// The smallest admissible scales of a step's output.
    fn bounds(&self, i: usize, energy: &[f64]) -> Vec<f64> {
        let levels = self.levels(i);
        let bounds = range::bounds(&self.statistics.outputs[i], levels, self.options.method, energy);
        let largest = bounds.iter().fold(0.0f64, |a, &b| a.max(b));
        let least = if largest > 0.0 { largest * LEAST_SHARE } else { 1.0 };
        let step = &self.network.steps[i];
        if let (Some(Around::Made(low)), Op::Gate { .. }) = (self.around[step.output], &step.op) {
            return shared_zero(&bounds, -low, energy);
        }
        bounds.iter().map(|b| b.max(least) / levels).collect()
    }

    /// Variance of each channel of a step's output.
    fn variances(&self, i: usize) -> Vec<f64> {
        let signed = !self.network.tensors[self.network.steps[i].output].nonnegative;
        let channels = &self.statistics.outputs[i].channels;
        let of = |c: usize| {
            let [mean, square] = channels.moments(c);
            let mean = if signed { self.statistics.means[i][c] } else { mean };
            (square - mean * mean).max(0.0)
        };
        (0..channels.len()).map(of).collect()
    }

    /// The mean that alone reads a tensor and is read by convolutions alone, and over how many pixels it goes.
    fn mean_of(&self, t: TensorId) -> Option<(usize, f64)> {
        let steps = &self.network.steps;
        let mut reading = (0..steps.len()).filter(|&i| steps[i].reads().any(|r| r == t));
        let (pool, None) = (reading.next()?, reading.next()) else { return None };
        let Op::AveragePool { window, .. } = &steps[pool].op else { return None };
        let output = steps[pool].output;
        let convolution = |s: &Step| matches!(&s.op, Op::Conv(Conv { second: Second::None | Second::Projection { .. }, .. }));
        let mut readers = steps.iter().filter(|s| s.reads().any(|r| r == output)).peekable();
        (readers.peek().is_some() && readers.all(convolution)).then(|| (pool, f64::from(window.kernel[0] * window.kernel[1])))
    }

    /// What reads a tensor, pools handing it on.
    fn readers(&self, t: TensorId) -> Readers {
        let channels = self.network.tensors[t].shape[2] as usize;
        let mut all = Readers { weights: Vec::new(), added: std::vec![0.0; channels] };
        for (i, step) in self.network.steps.iter().enumerate().filter(|(_, s)| s.reads().any(|r| r == t)) {
            let gain = 1.0 / self.statistics.variances[i].max(1e-30);
            let one = |_: usize| 1.0;
            match &step.op {
                Op::Conv(conv) => {
                    if step.input == t {
                        all.weights.push(Reader::new(&conv.weights, channels, taps(&conv.window.kernel), conv.groups as usize, gain));
                    }
                    match &conv.second {
                        Second::Projection { tensor, window, weights } if *tensor == t => {
                            all.weights.push(Reader::new(weights, channels, taps(&window.kernel), 1, gain));
                        }
                        Second::Skip { tensor, .. } if *tensor == t => all.add(gain, one),
                        _ => {}
                    }
                }
                Op::MaxPool(_) | Op::Mirror(_) | Op::AveragePool { .. } => all.hand_on(&self.readers(step.output), Some),
                Op::Function(function) if function.keeps_factors() => all.hand_on(&self.readers(step.output), Some),
                Op::Add(_) | Op::Function(_) => all.add(gain, one),
                Op::Affine { scale, .. } => all.add(gain, |c| scale[c]),
                Op::Gate { skip, .. } => all.add(gain, |_| if *skip == Some(t) { 1.0 } else { HALF_OPEN }),
                Op::Concat(_) => {
                    let (whole, mut first) = (self.readers(step.output), 0);
                    for part in step.reads() {
                        if part == t {
                            all.hand_on(&whole, |c| Some(first + c));
                        }
                        first += self.network.tensors[part].shape[2] as usize;
                    }
                }
                Op::Slice(first) => {
                    let (first, shown) = (*first as usize, self.network.tensors[step.output].shape[2] as usize);
                    all.hand_on(&self.readers(step.output), |c| c.checked_sub(first).filter(|&i| i < shown));
                }
            }
        }
        all
    }

    /// Raises the scales of skips whose factors would be small.
    fn raise_skips(&self, scales: &mut [Vec<f64>]) {
        for step in self.network.steps.iter().rev() {
            let Op::Conv(conv @ Conv { second: Second::Skip { tensor, stride, front }, .. }) = &step.op else { continue };
            let unit = units(conv, if step.input == 0 { &self.network.input.scale } else { &scales[step.input] });
            // Where nothing else can be done, the skip must have a factor; else it may be added apart.
            let forced = *stride != [1, 1] || *front != 0;
            let skip = &mut scales[*tensor];
            let front = *front as usize;
            if self.options.scales == Scales::Tensor {
                let largest = if forced { unit[front..][..skip.len()].iter().copied().fold(0.0, f64::max) * 2.0 } else { 0.0 };
                skip.iter_mut().for_each(|s| *s = s.max(largest));
                continue;
            }
            for (c, s) in skip.iter_mut().enumerate() {
                let wanted = FACTOR * unit[front + c];
                if forced || wanted < COARSER * *s {
                    *s = s.max(wanted);
                }
            }
        }
    }

    /// Raises the scales of what is gated into tensors around zero, so that the byte for 0 fits into the bias: what is finer lies far below a step of the output.
    fn raise_gated(&self, scales: &mut [Vec<f64>], uniform: &[bool]) {
        for step in self.network.steps.iter().filter(|s| matches!(s.op, Op::Gate { .. }) && self.around[s.output].is_some()) {
            let least: Vec<f64> = scales[step.output].iter().map(|s| s * ABOVE_ZERO * ABOVE_ZERO / SHOWN_LIMIT).collect();
            let largest = least.iter().fold(0.0f64, |a, &b| a.max(b));
            scales[step.input].iter_mut().zip(least).for_each(|(s, least)| *s = s.max(if uniform[step.input] { largest } else { least }));
        }
    }

    /// Gives one scale to all channels of what a function reads or makes, and to all of which that is a part.
    fn uniform(&self, scales: &mut [Vec<f64>]) -> Vec<bool> {
        let steps = &self.network.steps;
        let mut uniform = std::vec![false; scales.len()];
        for step in steps.iter().rev() {
            if matches!(step.op, Op::Function(function) if !function.keeps_factors()) {
                (uniform[step.input], uniform[step.output]) = (true, true);
            }
            let passes = keeps_scales(&step.op) || matches!(step.op, Op::AveragePool { .. } | Op::Concat(_) | Op::Slice(_));
            if passes && uniform[step.output] {
                step.reads().for_each(|t| uniform[t] = true);
            }
        }
        for (scales, _) in scales.iter_mut().zip(&uniform).filter(|(_, uniform)| **uniform) {
            let largest = scales.iter().fold(0.0f64, |a, &b| a.max(b));
            scales.fill(largest);
        }
        for step in steps.iter().rev().filter(|s| matches!(s.op, Op::Concat(_)) && uniform[s.output]) {
            let largest = step.reads().map(|t| scales[t][0]).fold(0.0, f64::max);
            step.reads().for_each(|t| scales[t].fill(largest));
        }
        uniform
    }

    /// The input and output of a max pool, of a mirrored border or of a function that keeps factors have the same scales or those of one ratio; those of an average are in one ratio to its input's; parts keep theirs.
    /// Returns the byte that stands for 0 in each tensor that is around one.
    fn hand_on(&self, scales: &mut [Vec<f64>], ratios: &[Option<f64>]) -> Vec<Option<i32>> {
        let steps = &self.network.steps;
        for step in steps.iter().rev().filter(|s| keeps_scales(&s.op) && s.input != 0) {
            // What is clipped in front of a function does not count: see `Around`.
            let clips = matches!(step.op, Op::Function(_)) && self.around[step.input].is_some();
            let least = if clips { 0.0 } else { 1.0 };
            let larger: Vec<f64> = scales[step.input].iter().zip(&scales[step.output]).map(|(a, b)| (least * a).max(*b)).collect();
            let ratio = self.ratio(step);
            scales[step.input] = larger.iter().map(|s| s / ratio).collect();
            scales[step.output] = larger;
        }
        let mut zeros = std::vec![None; scales.len()];
        for (i, step) in steps.iter().enumerate() {
            let ratio = match step.op {
                _ if step.input == 0 => None,
                _ if keeps_scales(&step.op) => Some(self.ratio(step)),
                Op::AveragePool { .. } => {
                    let known = steps.iter().position(|s| s.output == step.input).and_then(|maker| ratios[maker]);
                    Some(self.ratio_of_mean(i, known, &scales[step.input], zeros[step.input]))
                }
                _ => None,
            };
            match ratio {
                Some(ratio) => scales[step.output] = scales[step.input].iter().map(|s| ratio * s).collect(),
                None => self.arranged(step, scales),
            }
            zeros[step.output] = self.around[step.output].map(|around| match (&step.op, zeros[step.input]) {
                (Op::MaxPool(_) | Op::Mirror(_) | Op::Slice(_), Some(zero)) => zero,
                (Op::AveragePool { .. }, Some(zero)) => integer((f64::from(zero) / ratio.unwrap_or(1.0) + 0.5).floor()),
                _ => around.zero(scales[step.output].iter().fold(f64::INFINITY, |a, &b| a.min(b))),
            });
        }
        zeros
    }

    /// The scales of a mean over those of its input, which `known` is where they were found together. The byte for 0 is a whole one before and behind it.
    fn ratio_of_mean(&self, i: usize, known: Option<f64>, input: &[f64], zero: Option<i32>) -> f64 {
        let (energy, seen) = (self.readers(self.network.steps[i].output).energy(), &self.statistics.outputs[i].channels);
        let levels = self.levels(i);
        // A channel needs no more than twice what was seen, whatever the others have, and no mean is larger than what it is the mean of.
        let needed = |((c, s), bound): ((usize, &f64), f64)| (bound.min(2.0 * seen.largest(c) / levels) / s).min(1.0);
        let ratio = known.unwrap_or_else(|| input.iter().enumerate().zip(self.bounds(i, &energy)).map(needed).fold(LEAST_RATIO, f64::max));
        let Some(zero) = zero.map(f64::from) else { return ratio };
        let tops = range::bounds(&self.statistics.outputs[i], ABOVE_ZERO, self.options.method, &energy);
        let ratio = tops.iter().zip(input).fold(ratio, |ratio, (top, s)| ratio.max(((top / s).min(ABOVE_ZERO - zero) + zero) / ABOVE_ZERO));
        zero / (zero / ratio).floor().max(1.0)
    }

    /// The scales of what a step makes over those of what it reads, where they keep one ratio.
    fn ratio(&self, step: &Step) -> f64 {
        match self.around[step.input] {
            Some(Around::Byte { levels, .. }) if self.around[step.output].is_none() => levels / 127.0,
            _ => 1.0,
        }
    }

    /// Gives concatenations and slices the scales of their parts.
    fn arrange(&self, scales: &mut [Vec<f64>]) {
        self.network.steps.iter().for_each(|step| self.arranged(step, scales));
    }

    fn arranged(&self, step: &Step, scales: &mut [Vec<f64>]) {
        match step.op {
            Op::Concat(_) => scales[step.output] = step.reads().flat_map(|t| scales[t].clone()).collect(),
            Op::Slice(first) => {
                let shown = self.network.tensors[step.output].shape[2] as usize;
                scales[step.output] = scales[step.input][first as usize..][..shown].to_vec();
            }
            _ => {}
        }
    }
}

/// True if what an operation makes has the scales of what it reads.
const fn keeps_scales(op: &Op) -> bool {
    match op {
        Op::MaxPool(_) | Op::Mirror(_) => true,
        Op::Function(function) => function.keeps_factors(),
        _ => false,
    }
}

/// The units of a convolution's outputs where its input has these scales: the grids of its rows.
pub(super) fn units(conv: &Conv, input: &[f64]) -> Vec<f64> {
    let (groups, outputs) = (conv.groups as usize, conv.bias.len());
    let (own, row) = (input.len() / groups, conv.weights.len() / outputs);
    let unit = |(o, weights): (usize, &[f64])| {
        let input = &input[o * groups / outputs * own..][..own];
        weights.iter().enumerate().fold(0.0f64, |m, (i, w)| m.max((w * input[i % own]).abs())) / LARGEST
    };
    conv.weights.chunks_exact(row).enumerate().map(unit).collect()
}

/// True if an operation computes nothing.
pub(super) const fn arranges(op: &Op) -> bool {
    matches!(op, Op::Concat(_) | Op::Slice(_))
}

/// Scales no smaller than `bounds`, and their predicted noise; the noise of the tensor itself weighs `own`.
fn balance(bounds: &[f64], variance: &[f64], readers: &Readers, energy: &[f64], own: f64) -> (Vec<f64>, f64) {
    let at_least = |values: &[f64]| values.iter().fold(0.0f64, |a, &b| a.max(b)).max(1e-30) * LEAST_SHARE;
    let (least_variance, least_energy) = (at_least(variance), at_least(energy));
    let wish: Vec<f64> = variance.iter().zip(energy).map(|(v, a)| (v.max(least_variance) / a.max(least_energy)).sqrt().sqrt()).collect();
    let largest = bounds.iter().fold(0.0f64, |a, &b| a.max(b));
    let live = bounds.iter().zip(&wish).filter(|(b, _)| **b > DEAD * largest);
    let top = live.map(|(b, w)| b / w).fold(0.0, f64::max);
    let mut best = (bounds.to_vec(), f64::INFINITY);
    for k in 0..=40 {
        let size = top * 2f64.powf(-f64::from(k) / 4.0);
        let scales: Vec<f64> = bounds.iter().zip(&wish).map(|(b, w)| b.max(size * w)).collect();
        let noise: f64 = scales.iter().zip(energy).map(|(s, a)| s * s * a).sum();
        let signal: f64 = scales.iter().zip(variance).map(|(s, v)| v / (s * s)).sum();
        let cost = own * noise + signal * readers.weights.iter().map(|r| r.grid(&scales)).sum::<f64>();
        if cost < best.1 {
            best = (scales, cost);
        }
    }
    best
}

/// The finest scales of channels that reach up to `tops` and down to `-low` around one byte for 0, the one that costs least noise.
fn shared_zero(tops: &[f64], low: f64, energy: &[f64]) -> Vec<f64> {
    let scales = |zero: u8| tops.iter().map(move |top| (top / f64::from(255 - zero)).max(low / f64::from(zero)));
    let noise = |zero: u8| scales(zero).zip(energy).map(|(s, a)| s * s * a).sum::<f64>();
    let best = (1..=127).map(|zero| (noise(zero), zero)).reduce(|best, next| if next.0 < best.0 { next } else { best });
    scales(best.map_or(1, |(_, zero)| zero)).collect()
}

/// The largest product of two positive vectors' entries.
fn largest(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 8;
    let greater = |m: f64, v: f64| if v > m { v } else { m };
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        lanes = core::array::from_fn(|i| greater(lanes[i], a[i] * b[i]));
    }
    a_rest.iter().zip(b_rest).map(|(a, b)| a * b).chain(lanes).fold(0.0, greater)
}

fn taps(kernel: &[u32; 2]) -> usize {
    (kernel[0] * kernel[1]) as usize
}
