//! What each part of the quantizer brings, measured on pictures that it was not fitted to.

use super::choices::{Bias, Options, Rounding, Scales, Stream};
use super::graph::Input;
use super::parallel::in_order;
use super::pipeline::{self, Calibrated, Progress};
use super::range::Method;
use super::stream::uses;
use super::sums::count;
use super::{ConvertError, Pictures};
use crate::format::view::Preprocess;
use crate::format::{Model, PlanKind};
use crate::kernels::Kernels;
use crate::session::Session;
use std::path::Path;
use std::string::{String, ToString};
use std::vec::Vec;

/// One picture of so many is held out.
const HELD_OUT: usize = 5;
/// Pictures of which enough are held out for a mean.
pub const LEAST_PICTURES: usize = 2 * HELD_OUT;
/// Fewer held out pictures do not tell how far they differ.
const TELLING: f64 = 10.0;
/// A picture's scores are taken to be this near to the float network's in dB, or this far, at most.
const LIMIT_DB: f64 = 120.0;

/// One rung of the ladder from the plainest quantizer to the chosen one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rung {
    /// How it quantizes.
    pub options: Options,
    /// Signal over error of the scores in dB, on pictures that it was not fitted to, all together: one of them with a large error can decide it.
    pub sqnr_db: f64,
    /// The same of each picture by itself: the median.
    pub median_db: f64,
    /// What the rung gains over the one before it in dB, the mean over the pictures, and the standard error of that mean. The first has none.
    pub gain: Option<[f64; 2]>,
    /// Percent of these pictures whose first class is the float network's; of equal scores the first counts.
    pub agreement: f64,
}

/// Some of the pictures.
struct Part<'a> {
    all: &'a dyn Pictures,
    numbers: Vec<usize>,
}

impl Pictures for Part<'_> {
    fn len(&self) -> usize {
        self.numbers.len()
    }

    fn load(&self, i: usize, input: &Input) -> Result<Vec<u8>, ConvertError> {
        self.all.load(self.numbers[i], input)
    }

    fn floats(&self, i: usize) -> Result<Option<Vec<f32>>, ConvertError> {
        self.all.floats(self.numbers[i])
    }
}

/// The options from the plainest to `chosen`, each with one thing more, what can have 16 bits in 16 last.
#[must_use]
pub fn ladder(chosen: Options) -> Vec<Options> {
    let plain = Options { method: Method::MinMax, scales: Scales::Tensor, rounding: Rounding::Nearest, bias: Bias::Float, stream: Stream::Narrow, ..chosen };
    let ranges = Options { method: chosen.method, ..plain };
    let biases = Options { bias: chosen.bias, ..ranges };
    let rounding = Options { rounding: chosen.rounding, ..biases };
    let wide = Options { stream: if chosen.stream == Stream::Narrow { Stream::Narrow } else { Stream::Wide }, ..chosen };
    let mut rungs = std::vec![plain, ranges, biases, rounding, Options { stream: Stream::Narrow, ..chosen }, wide];
    rungs.dedup();
    rungs
}

/// Quantizes with each rung of the [`ladder`] to `options`, without every fifth picture, and measures on those how far the scores are from the float network's.
/// Gives the rungs and how many pictures were held out; no rung with fewer than [`LEAST_PICTURES`].
///
/// # Errors
/// What is wrong with the file, a picture or the network, and where.
pub fn explain(
    path: &Path,
    preprocess: &Preprocess,
    options: Options,
    pictures: &dyn Pictures,
    progress: &Progress<'_>,
) -> Result<(Vec<Rung>, usize), ConvertError> {
    if pictures.len() < LEAST_PICTURES {
        return Ok((Vec::new(), 0));
    }
    let (unseen, seen): (Vec<usize>, Vec<usize>) = (0..pictures.len()).partition(|i| i % HELD_OUT == HELD_OUT - 1);
    let (unseen, seen) = (Part { all: pictures, numbers: unseen }, Part { all: pictures, numbers: seen });
    Ok((climb(path, preprocess, options, [&seen, &unseen], progress)?, unseen.len()))
}

/// Quantizes with each rung of the [`ladder`] to `options` on the first pictures, and measures on the others.
///
/// # Errors
/// What is wrong with the file, a picture or the network, and where.
pub fn climb(
    path: &Path,
    preprocess: &Preprocess,
    options: Options,
    [seen, unseen]: [&dyn Pictures; 2],
    progress: &Progress<'_>,
) -> Result<Vec<Rung>, ConvertError> {
    let calibrated = Calibrated::new(path, preprocess, options.threads, seen, progress)?;
    let source = &calibrated.source;
    let float = source.float(&source.values().pop().into_iter().collect::<Vec<_>>())?;
    let inputs = (0..unseen.len()).map(|i| unseen.load(i, &source.network.input)).collect::<Result<Vec<_>, _>>()?;
    let mut expected = Vec::with_capacity(inputs.len());
    let run = |i: usize| Ok(float.run(&source.fed(&inputs[i], unseen.floats(i)?))?.pop().unwrap_or_default());
    in_order(inputs.len(), options.threads, run, |_, scores| {
        expected.push(scores);
        Ok::<_, ConvertError>(())
    })?;
    let (mut rungs, mut before): (_, Option<Vec<f64>>) = (Vec::new(), None);
    let widens = uses(&source.network).iter().any(Option::is_some);
    for options in ladder(options).into_iter().filter(|o| widens || o.stream != Stream::Wide) {
        let conversion = pipeline::Options { preprocess: *preprocess, quantize: options, labels: Vec::new() };
        let file = match calibrated.convert(&conversion, seen, None, progress) {
            Ok(made) => made.file,
            // Where 16 bits cannot be had, the ladder ends below.
            Err(ConvertError::Arithmetic { .. }) if options.stream == Stream::Wide => continue,
            Err(error) => return Err(error),
        };
        let Worth { sqnr_db, each, agreement } = worth(&file, &inputs, &expected, options.threads)?;
        rungs.push(Rung { options, sqnr_db, median_db: median(&each), gain: before.map(|before| gain(&before, &each)), agreement });
        before = Some(each);
    }
    Ok(rungs)
}

/// What a quantized network is worth, as a device runs it.
struct Worth {
    /// Signal over error of the scores in dB, all together.
    sqnr_db: f64,
    /// The same of each input.
    each: Vec<f64>,
    /// Percent of the inputs with the float network's class.
    agreement: f64,
}

fn worth(file: &[u8], inputs: &[Vec<u8>], expected: &[Vec<f32>], threads: usize) -> Result<Worth, ConvertError> {
    let failed = |what: String| ConvertError::Arithmetic { node: "scores".into(), what };
    let model = Model::parse(file).map_err(|e| failed(e.to_string()))?;
    let scores = |i: usize| {
        let mut arena = std::vec![0; model.plan(PlanKind::Fast).map_or(0, |p| p.arena_bytes(1))];
        let mut session = Session::new(&model, Kernels::detect(), PlanKind::Fast, &mut arena).map_err(|e| failed(e.to_string()))?;
        session.input().copy_from_slice(&inputs[i]);
        let scores = session.run();
        Ok(scores.iter().map(|v| f64::from(v) * f64::from(scores.scale())).collect::<Vec<_>>())
    };
    let (mut signal, mut noise, mut agreed, mut each) = (0.0, 0.0, 0u32, Vec::new());
    in_order(inputs.len(), threads, scores, |i, made| {
        let real: Vec<f64> = expected[i].iter().map(|&v| v.into()).collect();
        agreed += u32::from(first(&real) == first(&made));
        let energy: f64 = real.iter().map(|v| v.powi(2)).sum();
        let error: f64 = real.iter().zip(made).map(|(real, made)| (real - made).powi(2)).sum();
        (signal, noise) = (signal + energy, noise + error);
        each.push(if error > 0.0 { decibels(energy, error).clamp(-LIMIT_DB, LIMIT_DB) } else { LIMIT_DB });
        Ok(())
    })?;
    Ok(Worth { sqnr_db: decibels(signal, noise), each, agreement: 100.0 * f64::from(agreed) / count(inputs.len()) })
}

fn decibels(signal: f64, noise: f64) -> f64 {
    10.0 * (signal / noise).log10()
}

/// The value in the middle, or the mean of both; 0 for none.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |i: usize| sorted.get(i).copied().unwrap_or(0.0);
    f64::midpoint(at(sorted.len() / 2), at(sorted.len().saturating_sub(1) / 2))
}

/// Mean of the differences of two series, and its standard error, which is infinite where there are too few to tell.
fn gain(before: &[f64], after: &[f64]) -> [f64; 2] {
    let (differences, n) = (before.iter().zip(after).map(|(before, after)| after - before), count(before.len()));
    let mean = differences.clone().sum::<f64>() / n;
    let squares: f64 = differences.map(|d| (d - mean).powi(2)).sum();
    [mean, if n >= TELLING { (squares / (n - 1.0) / n).sqrt() } else { f64::INFINITY }]
}

/// The first of the largest scores.
fn first(scores: &[f64]) -> Option<usize> {
    scores.iter().enumerate().rev().max_by(|a, b| a.1.total_cmp(b.1)).map(|(i, _)| i)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_picture_does_not_decide() {
        let [plain, better] = [[30.0, 31.0, 32.0, 33.0, 34.0], [32.0, 33.0, 34.0, 35.0, 6.0]];
        assert_eq!((median(&plain), median(&better), median(&plain[..4]), median(&[])), (32.0, 33.0, 31.5, 0.0));
        let [mean, error] = gain(&[plain, plain].concat(), &[better, better].concat());
        assert!((mean + 4.0).abs() < 1e-12 && (error - 4.0).abs() < 1e-12, "{mean} {error}");
        assert_eq!(gain(&plain, &better), [-4.0, f64::INFINITY]);
    }
}
