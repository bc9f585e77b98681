//! One pass of the float network over the pictures: what the quantizer needs to know of every tensor. Memory does not grow with the number of pictures.

use super::channels::Channels;
use super::counts::{Counts, Sums};
use super::graph::{Network, Step, Tensor};
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
        values.iter().for_each(|&v| self.histogram.add(if nonnegative { v.max(0.0) } else { v }));
        self.channels.add(i, values, channels, nonnegative);
        self.max = self.channels.max();
    }
}

/// The result of calibration.
#[derive(Clone, Debug)]
pub struct Statistics {
    /// What is known of the output of each step.
    pub outputs: Vec<TensorStatistics>,
    /// Mean of each output channel of each step before its ReLU.
    pub means: Vec<Vec<f64>>,
    /// Variance of each step's value before its ReLU, in the mean over the channels.
    pub variances: Vec<f64>,
    /// Mean and mean square of the bytes of each channel of the picture.
    pub input: Vec<[f64; 2]>,
    /// `means` over the pictures that the quantizer walks with; nothing where there are none.
    pub walked: Vec<Vec<f64>>,
    /// Float scores of these pictures.
    pub scores: Vec<Vec<f32>>,
}

/// Computes the value of every step before its ReLU, `[h][w][c]`, for one picture: its number and its bytes `[h][w][c]`.
pub type RunFloat<'a> = dyn Fn(usize, &[u8]) -> Result<Vec<Vec<f32>>, ConvertError> + Sync + 'a;

/// The float network's means and scores for the pictures that the quantizer walks with.
struct Followed {
    sums: Vec<Sums>,
    scores: Vec<Vec<f32>>,
}

impl Followed {
    /// Nothing yet.
    fn new(network: &Network) -> Self {
        Self { sums: network.steps.iter().map(|s| Sums::new(channels(network, s))).collect(), scores: Vec::new() }
    }

    /// Picture `i` alone. `count` is called for each step in turn, with its value and the sums of that.
    ///
    /// # Errors
    /// If the float network fails, at the first step whose value is not finite or too large to add up, or if `count` fails.
    fn one(
        network: &Network,
        float: &RunFloat<'_>,
        i: usize,
        picture: &[u8],
        mut count: impl FnMut(usize, &[f32], &Sums) -> Result<(), ConvertError>,
    ) -> Result<Self, ConvertError> {
        let mut one = Self::new(network);
        let mut values = float(i, picture)?;
        for (s, (step, value)) in network.steps.iter().zip(&mut values).enumerate() {
            shown(&network.tensors[step.output], value);
            if value.iter().any(|x| !x.is_finite()) {
                let what = std::format!("the float network gives a value that is not finite at `{}` for picture {i}", step.name);
                return Err(ConvertError::Float { what });
            }
            one.sums[s].add(value).map_err(|_| too_large(&step.name))?;
            count(s, value, &one.sums[s])?;
        }
        one.scores.extend(values.pop());
        Ok(one)
    }

    fn add(&mut self, network: &Network, picture: Self) -> Result<(), ConvertError> {
        self.scores.extend(picture.scores);
        let mut sums = self.sums.iter_mut().zip(&picture.sums).zip(&network.steps);
        sums.try_for_each(|((sums, terms), step)| sums.merge(terms).map_err(|_| too_large(&step.name)))
    }

    fn into(self, statistics: &mut Statistics) {
        let pictures = self.scores.len() as u64;
        statistics.walked = self.sums.iter().map(|s| s.moments(pictures).iter().map(|[mean, _]| *mean).collect()).collect();
        statistics.scores = self.scores;
    }
}

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
    let mut followed = Followed::new(network);
    let counts = each(network, float, pictures, threads, |i, picture| {
        if walked.binary_search(&i).is_ok() {
            followed.add(network, picture)?;
        }
        progress(i + 1);
        Ok(())
    })?;
    let mut statistics = counts.statistics(network);
    followed.into(&mut statistics);
    Ok(statistics)
}

/// Runs the float network over all pictures and counts.
///
/// # Errors
/// As [`calibrate`].
pub fn count(network: &Network, float: &RunFloat<'_>, pictures: &dyn Pictures, threads: usize, progress: &dyn Fn(usize)) -> Result<Counts, ConvertError> {
    each(network, float, pictures, threads, |i, _| {
        progress(i + 1);
        Ok(())
    })
}

/// Runs the float network over the pictures that the quantizer walks with, for statistics that came from a file.
///
/// # Errors
/// As [`calibrate`].
pub fn follow(
    network: &Network,
    float: &RunFloat<'_>,
    pictures: &dyn Pictures,
    walked: &[usize],
    threads: usize,
    statistics: &mut Statistics,
    progress: &dyn Fn(usize),
) -> Result<(), ConvertError> {
    let mut followed = Followed::new(network);
    let work = |k: usize| Followed::one(network, float, walked[k], &pictures.load(walked[k], &network.input)?, |_, _, _| Ok(()));
    in_order(walked.len(), threads, work, |k, picture| {
        followed.add(network, picture)?;
        progress(k + 1);
        Ok(())
    })?;
    followed.into(statistics);
    Ok(())
}

/// Counts all pictures, and hands the means and scores of each on in their order.
fn each(
    network: &Network,
    float: &RunFloat<'_>,
    pictures: &dyn Pictures,
    threads: usize,
    mut sink: impl FnMut(usize, Followed) -> Result<(), ConvertError>,
) -> Result<Counts, ConvertError> {
    let Counts { input, steps, .. } = Counts::new(network);
    let (input, steps) = (Mutex::new(input), steps.into_iter().map(Mutex::new).collect::<Vec<_>>());
    let work = |i: usize| {
        let picture = pictures.load(i, &network.input)?;
        let bytes: Vec<f32> = picture.iter().map(|&b| if network.input.tensor.is_some() { b.cast_signed().into() } else { b.into() }).collect();
        input.lock().unwrap_or_else(PoisonError::into_inner).add(&bytes).map_err(|_| too_large("input"))?;
        Followed::one(network, float, i, &picture, |s, value, sums| {
            let step = &network.steps[s];
            let mut counts = steps[s].lock().unwrap_or_else(PoisonError::into_inner);
            counts.sums.merge(sums).map_err(|_| too_large(&step.name))?;
            if !arranges(&step.op) {
                counts.tensor.add(pictures.number(i), value, channels(network, step), network.tensors[step.output].nonnegative);
            }
            Ok(())
        })
    };
    in_order(pictures.len(), threads, work, &mut sink)?;
    let steps = steps.into_iter().map(|s| s.into_inner().unwrap_or_else(PoisonError::into_inner)).collect();
    Ok(Counts { pictures: pictures.len() as u64, input: input.into_inner().unwrap_or_else(PoisonError::into_inner), steps })
}

fn channels(network: &Network, step: &Step) -> usize {
    network.tensors[step.output].shape[2] as usize
}

fn too_large(name: &str) -> ConvertError {
    ConvertError::Float { what: std::format!("the values of the float network are too large to add up at `{name}`") }
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
