//! What pictures say of a network, as integers: counts that add up exactly, whatever pictures are counted together and in whatever order.

use super::bytes::{Damage, Reader, Writer};
use super::calibrate::{Statistics, TensorStatistics};
use super::channels::Channels;
use super::graph::{Network, Op};
use super::histogram::{Histogram, count_of};
use std::string::String;
use std::vec::Vec;

/// Channels of all tensors together: what a reader makes room for.
const CHANNELS_LIMIT: usize = 1 << 18;
/// Means are whole numbers of 2^-60.
const UNIT: f64 = (1u64 << 60) as f64;

/// Of each channel the sum over pictures of its mean and of its mean square.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums([Vec<i128>; 2]);

/// A sum is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

impl Sums {
    /// Sums over no picture.
    #[must_use]
    pub fn new(channels: usize) -> Self {
        Self([std::vec![0; channels], std::vec![0; channels]])
    }

    /// How many channels there are.
    #[must_use]
    pub const fn channels(&self) -> usize {
        self.0[0].len()
    }

    /// Adds a picture `[h][w][c]`.
    ///
    /// # Errors
    /// If a sum is too large.
    pub fn add(&mut self, values: &[f32]) -> Result<(), Overflow> {
        let channels = self.channels();
        let (mut means, mut squares) = (std::vec![0.0; channels], std::vec![0.0; channels]);
        for pixel in values.chunks_exact(channels.max(1)) {
            for ((s, q), &v) in means.iter_mut().zip(&mut squares).zip(pixel) {
                *s += f64::from(v);
                *q += f64::from(v) * f64::from(v);
            }
        }
        let pixels = count_of(values.len() as u64) / count_of(channels as u64).max(1.0);
        for (sum, term) in self.0.iter_mut().flatten().zip(means.iter().chain(&squares)) {
            *sum = whole(term / pixels.max(1.0) * UNIT).and_then(|term| sum.checked_add(term)).ok_or(Overflow)?;
        }
        Ok(())
    }

    /// Adds other pictures.
    ///
    /// # Errors
    /// If a sum is too large.
    pub fn merge(&mut self, other: &Self) -> Result<(), Overflow> {
        for (sum, term) in self.0.iter_mut().flatten().zip(other.0.iter().flatten()) {
            *sum = sum.checked_add(*term).ok_or(Overflow)?;
        }
        Ok(())
    }

    /// Mean and mean square of each channel over so many pictures.
    #[must_use]
    pub fn moments(&self, pictures: u64) -> Vec<[f64; 2]> {
        let mean = |sum: &i128| nearest(*sum) / UNIT / count_of(pictures.max(1));
        self.0[0].iter().zip(&self.0[1]).map(|(s, q)| [mean(s), mean(q)]).collect()
    }

    fn write(&self, out: &mut Writer) {
        self.0.iter().flatten().for_each(|&sum| out.signed(sum));
    }

    fn read(bytes: &mut Reader<'_>, channels: usize) -> Result<Self, Damage> {
        let mut sums = Self::new(channels);
        for sum in sums.0.iter_mut().flatten() {
            *sum = bytes.signed()?;
        }
        Ok(sums)
    }
}

/// What was counted of the output of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepCounts {
    /// Name of the value before its ReLU.
    pub name: String,
    /// Its magnitudes; none of a step that computes nothing.
    pub tensor: TensorStatistics,
    /// Its means before the ReLU.
    pub sums: Sums,
}

/// What was counted of all steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Counts {
    /// Pictures that were counted.
    pub pictures: u64,
    /// The pictures' own bytes.
    pub input: Sums,
    /// The steps in their order.
    pub steps: Vec<StepCounts>,
}

impl Counts {
    /// Nothing was counted yet.
    #[must_use]
    pub fn new(network: &Network) -> Self {
        let channels = |t: usize| network.tensors[t].shape[2] as usize;
        let step = |s: &super::graph::Step| StepCounts { name: s.value.clone(), tensor: TensorStatistics::default(), sums: Sums::new(channels(s.output)) };
        Self { pictures: 0, input: Sums::new(network.input.shape[2] as usize), steps: network.steps.iter().map(step).collect() }
    }

    /// True if both count the same values.
    #[must_use]
    pub fn alike(&self, other: &Self) -> bool {
        let same = |(a, b): (&StepCounts, &StepCounts)| a.name == b.name && a.sums.channels() == b.sums.channels();
        self.steps.len() == other.steps.len() && self.input.channels() == other.input.channels() && self.steps.iter().zip(&other.steps).all(same)
    }

    /// Adds other pictures. Both count the same values.
    ///
    /// # Errors
    /// If a sum is too large.
    pub fn merge(&mut self, other: &Self) -> Result<(), Overflow> {
        self.pictures = self.pictures.checked_add(other.pictures).ok_or(Overflow)?;
        self.input.merge(&other.input)?;
        for (own, other) in self.steps.iter_mut().zip(&other.steps) {
            own.sums.merge(&other.sums)?;
            own.tensor.max = own.tensor.max.max(other.tensor.max);
            own.tensor.histogram.merge(&other.tensor.histogram);
            own.tensor.channels.merge(&other.tensor.channels);
        }
        Ok(())
    }

    /// What follows for the quantizer.
    #[must_use]
    pub fn statistics(self, network: &Network) -> Statistics {
        let moments: Vec<_> = self.steps.iter().map(|s| s.sums.moments(self.pictures)).collect();
        let variance = |m: &Vec<[f64; 2]>| m.iter().map(|[mean, square]| square - mean * mean).sum::<f64>() / count_of(m.len() as u64).max(1.0);
        let variances = moments.iter().map(variance).collect();
        let means = moments.iter().map(|m| m.iter().map(|[mean, _]| *mean).collect()).collect();
        let input = self.input.moments(self.pictures);
        let mut outputs: Vec<TensorStatistics> = self.steps.into_iter().map(|s| s.tensor).collect();
        // A max pool and a mirrored border hand values on: their range serves their input too.
        for (i, step) in network.steps.iter().enumerate().rev() {
            if let (Op::MaxPool(_) | Op::Mirror(_), Some(before)) = (
                &step.op,
                network.steps.iter().position(|s| s.output == step.input && network.steps.iter().filter(|r| r.reads().any(|t| t == step.input)).count() == 1),
            ) {
                outputs[before] = outputs[i].clone();
            }
        }
        Statistics { outputs, means, variances, input, walked: Vec::new(), scores: Vec::new() }
    }

    /// Writes everything.
    pub fn write(&self, out: &mut Writer) {
        out.number(self.pictures.into());
        out.length(self.input.channels());
        self.input.write(out);
        out.length(self.steps.len());
        for StepCounts { name, tensor, sums } in &self.steps {
            out.name(name);
            out.length(sums.channels());
            sums.write(out);
            out.real(tensor.max);
            tensor.histogram.write(out);
            tensor.channels.write(out);
        }
    }

    /// Reads what [`write`](Self::write) wrote.
    ///
    /// # Errors
    /// Where the bytes are wrong.
    pub fn read(bytes: &mut Reader<'_>) -> Result<Self, Damage> {
        let pictures = bytes.number::<u32>()?.into();
        let channels = bytes.length(4)?;
        let input = Sums::read(bytes, channels)?;
        let (n, mut room) = (bytes.length(CHANNELS_LIMIT)?, CHANNELS_LIMIT);
        let mut steps = Vec::new();
        for _ in 0..n {
            let (name, channels) = (bytes.name()?, bytes.length(room)?);
            room -= channels;
            let sums = Sums::read(bytes, channels)?;
            let max = bytes.magnitude()?;
            let histogram = Histogram::read(bytes)?;
            let tensor = TensorStatistics { max, histogram, channels: Channels::read(bytes, channels)? };
            steps.push(StepCounts { name, tensor, sums });
        }
        Ok(Self { pictures, input, steps })
    }
}

/// The nearest integer, if 127 bits hold it.
#[expect(clippy::cast_possible_truncation, reason = "checked")]
fn whole(value: f64) -> Option<i128> {
    (value.abs() < 2f64.powi(126)).then(|| value.round() as i128)
}

/// The nearest float.
#[expect(clippy::cast_precision_loss, reason = "that is what it is for")]
const fn nearest(value: i128) -> f64 {
    value as f64
}
