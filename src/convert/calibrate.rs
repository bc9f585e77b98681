//! One pass of the float network over the pictures: what the quantizer needs to know of every tensor. Memory does not grow with the number of pictures.

use super::channels::Channels;
use super::graph::{Network, Op, Step, Tensor};
use super::histogram::Histogram;
use super::parallel::in_order;
use super::scales::arranges;
use super::{ConvertError, Pictures};
use std::sync::{Mutex, PoisonError};
use std::vec::Vec;

/// What is known of a tensor. Counts and maxima do not depend on the order of the pictures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TensorStatistics {
    /// Largest magnitude.
    pub max: f32,
    /// All magnitudes.
    pub histogram: Histogram,
    /// Those of each channel.
    pub channels: Channels,
}

impl TensorStatistics {
    /// Counts the value of a step, `[h][w][c]` before its ReLU, for picture `i`.
    fn add(&mut self, i: usize, values: &[f32], channels: usize, nonnegative: bool) {
        for &v in values {
            let v = if nonnegative { v.max(0.0) } else { v };
            self.histogram.add(v);
            self.max = self.max.max(v.abs());
        }
        self.channels.add(i, values, channels, nonnegative);
    }
}

/// The result of calibration.
#[derive(Clone, Debug)]
pub struct Statistics {
    /// What is known of the output of each step.
    pub outputs: Vec<TensorStatistics>,
    /// Mean of each output channel of each step before its ReLU, over the pictures that the quantizer walks with.
    pub means: Vec<Vec<f64>>,
    /// Variance of each step's value before its ReLU over the same pictures, in the mean over the channels.
    pub variances: Vec<f64>,
    /// Float scores of these pictures.
    pub scores: Vec<Vec<f32>>,
}

/// Computes the value of every step before its ReLU, `[h][w][c]`, for one picture: its number and its bytes `[h][w][c]`.
pub type RunFloat<'a> = dyn Fn(usize, &[u8]) -> Result<Vec<Vec<f32>>, ConvertError> + Sync + 'a;

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
    let fresh = || Mutex::new(TensorStatistics::default());
    let outputs: Vec<Mutex<TensorStatistics>> = network.steps.iter().map(|_| fresh()).collect();
    let channels = |s: &Step| network.tensors[s.output].shape[2] as usize;
    let mut sums: Vec<[Vec<f64>; 2]> = network.steps.iter().map(|s| [std::vec![0.0; channels(s)], std::vec![0.0; channels(s)]]).collect();
    let mut scores = Vec::with_capacity(walked.len());
    let work = |i: usize| {
        let mut values = float(i, &pictures.load(i, &network.input)?)?;
        for (step, value) in network.steps.iter().zip(&mut values) {
            shown(&network.tensors[step.output], value);
        }
        if let Some((step, _)) = network.steps.iter().zip(&values).find(|(_, v)| v.iter().any(|x| !x.is_finite())) {
            return Err(ConvertError::Float { what: std::format!("the float network gives a value that is not finite at `{}` for picture {i}", step.name) });
        }
        for ((step, value), output) in network.steps.iter().zip(&values).zip(&outputs).filter(|((step, _), _)| !arranges(&step.op)) {
            let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
            output.add(i, value, channels(step), network.tensors[step.output].nonnegative);
        }
        let sums: Vec<[Vec<f64>; 2]> = network.steps.iter().zip(&values).map(|(s, v)| channel_means(v, channels(s))).collect();
        Ok((sums, values.into_iter().next_back().unwrap_or_default()))
    };
    in_order(n, threads, work, |i, (picture, last)| {
        if walked.binary_search(&i).is_ok() {
            for (sum, term) in sums.iter_mut().flatten().zip(picture.iter().flatten()) {
                sum.iter_mut().zip(term).for_each(|(s, t)| *s += t);
            }
            scores.push(last);
        }
        progress(i + 1);
        Ok(())
    })?;
    let divisor = f64::from(u32::try_from(walked.len()).unwrap_or(u32::MAX));
    sums.iter_mut().flatten().flatten().for_each(|s| *s /= divisor);
    let variance = |[means, squares]: &[Vec<f64>; 2]| {
        let channels = f64::from(u32::try_from(means.len().max(1)).unwrap_or(u32::MAX));
        means.iter().zip(squares).map(|(m, q)| q - m * m).sum::<f64>() / channels
    };
    let variances = sums.iter().map(variance).collect();
    let means = sums.into_iter().map(|[means, _]| means).collect();
    let mut outputs: Vec<TensorStatistics> = outputs.into_iter().map(|o| o.into_inner().unwrap_or_else(PoisonError::into_inner)).collect();
    // A max pool hands values on: its range serves its input too.
    for (i, step) in network.steps.iter().enumerate().rev() {
        if let (Op::MaxPool(_), Some(before)) = (
            &step.op,
            network.steps.iter().position(|s| s.output == step.input && network.steps.iter().filter(|r| r.reads().any(|t| t == step.input)).count() == 1),
        ) {
            outputs[before] = outputs[i].clone();
        }
    }
    Ok(Statistics { outputs, means, variances, scores })
}

/// Puts the channels of an ONNX value where a tensor shows them.
pub fn shown(tensor: &Tensor, value: &mut Vec<f32>) {
    if !tensor.channels.is_empty() {
        let pixels = tensor.shape[0] as usize * tensor.shape[1] as usize;
        let channels = value.len() / pixels.max(1);
        let pixel = |p: &[f32]| tensor.channels.iter().map(|&c| p.get(c as usize).copied().unwrap_or(0.0)).collect::<Vec<_>>();
        *value = value.chunks_exact(channels.max(1)).flat_map(pixel).collect();
    }
}

/// Mean and mean square of each channel of `[h][w][c]`.
fn channel_means(values: &[f32], channels: usize) -> [Vec<f64>; 2] {
    let (mut sums, mut squares) = (std::vec![0.0; channels], std::vec![0.0; channels]);
    for pixel in values.chunks_exact(channels) {
        for ((s, q), &v) in sums.iter_mut().zip(&mut squares).zip(pixel) {
            *s += f64::from(v);
            *q += f64::from(v) * f64::from(v);
        }
    }
    let pixels = f64::from(u32::try_from(values.len() / channels.max(1)).unwrap_or(u32::MAX)).max(1.0);
    sums.iter_mut().chain(&mut squares).for_each(|s| *s /= pixels);
    [sums, squares]
}
