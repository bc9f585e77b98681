//! One pass of the float network over the pictures: what the quantizer needs to know of every tensor. Memory does not grow with the number of pictures.

use super::graph::{Network, Op};
use super::histogram::Histogram;
use super::parallel::in_order;
use super::{ConvertError, Pictures};
use std::sync::{Mutex, PoisonError};
use std::vec::Vec;

/// What is known of a tensor. Counts and maxima are exact to merge, in any order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TensorStatistics {
    /// Largest magnitude.
    pub max: f32,
    /// Magnitudes over the even and over the odd pictures.
    pub halves: [Histogram; 2],
}

impl TensorStatistics {
    /// Magnitudes over all pictures.
    #[must_use]
    pub fn merged(&self) -> Histogram {
        let mut all = self.halves[0].clone();
        all.merge(&self.halves[1]);
        all
    }

    fn merge(&mut self, other: &Self) {
        self.max = self.max.max(other.max);
        self.halves.iter_mut().zip(&other.halves).for_each(|(a, b)| a.merge(b));
    }
}

/// The result of calibration.
#[derive(Clone, Debug)]
pub struct Statistics {
    /// What is known of the output of each step.
    pub outputs: Vec<TensorStatistics>,
    /// Mean of each output channel of each step before its ReLU, over the pictures that the quantizer walks with.
    pub means: Vec<Vec<f64>>,
    /// Float scores of these pictures.
    pub scores: Vec<Vec<f32>>,
}

/// Computes the value of every step before its ReLU, `[h][w][c]`, for one picture of bytes `[h][w][c]`.
pub type RunFloat<'a> = dyn Fn(&[u8]) -> Result<Vec<Vec<f32>>, ConvertError> + Sync + 'a;

/// Runs the float network over all pictures. `walked` says which pictures the quantizer will walk with.
///
/// # Errors
/// If a picture cannot be read or the float network fails.
pub fn calibrate(
    network: &Network,
    float: &RunFloat<'_>,
    pictures: &dyn Pictures,
    walked: &[usize],
    threads: usize,
    progress: &dyn Fn(usize),
) -> Result<Statistics, ConvertError> {
    let n = pictures.len();
    // One set of counts a thread: they merge exactly, so it does not matter which thread saw which picture.
    let fresh = || Mutex::new(std::vec![TensorStatistics::default(); network.steps.len()]);
    let counts: Vec<_> = (0..threads.max(1)).map(|_| fresh()).collect();
    let mut means: Vec<Vec<f64>> = network.steps.iter().map(|s| std::vec![0.0; network.tensors[s.output].shape[2] as usize]).collect();
    let mut scores = Vec::with_capacity(walked.len());
    let work = |i: usize| {
        let values = float(&pictures.load(i, network.input.shape)?)?;
        if let Some((step, _)) = network.steps.iter().zip(&values).find(|(_, v)| v.iter().any(|x| !x.is_finite())) {
            return Err(ConvertError::Float { what: std::format!("the float network gives a value that is not finite at `{}` for picture {i}", step.name) });
        }
        let mut outputs = counts[i % counts.len()].lock().unwrap_or_else(PoisonError::into_inner);
        for ((step, value), output) in network.steps.iter().zip(&values).zip(outputs.iter_mut()) {
            count(value, network.tensors[step.output].nonnegative, &mut output.halves[i % 2], &mut output.max);
        }
        let sums: Vec<Vec<f64>> = network.steps.iter().zip(&values).map(|(s, v)| channel_means(v, network.tensors[s.output].shape[2] as usize)).collect();
        Ok((sums, values.into_iter().next_back().unwrap_or_default()))
    };
    in_order(n, threads, work, |i, (sums, last)| {
        if walked.binary_search(&i).is_ok() {
            for (mean, sum) in means.iter_mut().zip(&sums) {
                mean.iter_mut().zip(sum).for_each(|(m, s)| *m += s);
            }
            scores.push(last);
        }
        progress(i + 1);
        Ok(())
    })?;
    let divisor = f64::from(u32::try_from(walked.len()).unwrap_or(u32::MAX));
    means.iter_mut().flatten().for_each(|m| *m /= divisor);
    let mut outputs = std::vec![TensorStatistics::default(); network.steps.len()];
    for set in counts {
        let set = set.into_inner().unwrap_or_else(PoisonError::into_inner);
        outputs.iter_mut().zip(&set).for_each(|(a, b)| a.merge(b));
    }
    // A max pool hands values on: its range serves its input too.
    for (i, step) in network.steps.iter().enumerate().rev() {
        if let (Op::MaxPool(_), Some(before)) = (
            &step.op,
            network.steps.iter().position(|s| s.output == step.input && network.steps.iter().filter(|r| r.reads().any(|t| t == step.input)).count() == 1),
        ) {
            outputs[before] = outputs[i].clone();
        }
    }
    Ok(Statistics { outputs, means, scores })
}

fn count(values: &[f32], nonnegative: bool, histogram: &mut Histogram, max: &mut f32) {
    for &v in values {
        let v = if nonnegative { v.max(0.0) } else { v };
        histogram.add(v);
        *max = max.max(v.abs());
    }
}

/// Mean of each channel of `[h][w][c]`.
fn channel_means(values: &[f32], channels: usize) -> Vec<f64> {
    let mut sums = std::vec![0.0; channels];
    for pixel in values.chunks_exact(channels) {
        sums.iter_mut().zip(pixel).for_each(|(s, &v)| *s += f64::from(v));
    }
    let pixels = f64::from(u32::try_from(values.len() / channels.max(1)).unwrap_or(u32::MAX)).max(1.0);
    sums.iter_mut().for_each(|s| *s /= pixels);
    sums
}
