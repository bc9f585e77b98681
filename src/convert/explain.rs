//! What each part of the quantizer brings, measured on pictures that it was not fitted to.

use super::choices::{Bias, Options, Rounding, Scales, Stream};
use super::graph::Input;
use super::parallel::in_order;
use super::pipeline::{self, Calibrated, Progress};
use super::range::Method;
use super::stream::streams;
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

/// One rung of the ladder from the plainest quantizer to the chosen one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rung {
    /// How it quantizes.
    pub options: Options,
    /// Signal over error of the scores in dB, on pictures that it was not fitted to.
    pub sqnr_db: f64,
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

/// The options from the plainest to `chosen`, each with one thing more, a residual stream of 16 bits last.
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
/// Gives the rungs and how many pictures were held out; no rung with fewer than two pictures.
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
    let held = |i: &usize| i % HELD_OUT == HELD_OUT.min(pictures.len()) - 1;
    let (unseen, seen): (Vec<usize>, Vec<usize>) = (0..pictures.len()).partition(held);
    if seen.is_empty() || unseen.is_empty() {
        return Ok((Vec::new(), 0));
    }
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
    let mut rungs = Vec::new();
    let streams = streams(&source.network).contains(&true);
    for options in ladder(options).into_iter().filter(|o| streams || o.stream != Stream::Wide) {
        let conversion = pipeline::Options { preprocess: *preprocess, quantize: options, labels: Vec::new() };
        let file = calibrated.convert(&conversion, seen, None, progress)?.file;
        let (sqnr_db, agreement) = worth(&file, &inputs, &expected, options.threads)?;
        rungs.push(Rung { options, sqnr_db, agreement });
    }
    Ok(rungs)
}

/// Signal over error of the scores in dB, of the network as a device runs it, and percent of the inputs with the float network's class.
fn worth(file: &[u8], inputs: &[Vec<u8>], expected: &[Vec<f32>], threads: usize) -> Result<(f64, f64), ConvertError> {
    let failed = |what: String| ConvertError::Arithmetic { node: "scores".into(), what };
    let model = Model::parse(file).map_err(|e| failed(e.to_string()))?;
    let scores = |i: usize| {
        let mut arena = std::vec![0; model.plan(PlanKind::Fast).map_or(0, |p| p.arena_bytes(1))];
        let mut session = Session::new(&model, Kernels::detect(), PlanKind::Fast, &mut arena).map_err(|e| failed(e.to_string()))?;
        session.input().copy_from_slice(&inputs[i]);
        let scores = session.run();
        Ok(scores.iter().map(|v| f64::from(v) * f64::from(scores.scale())).collect::<Vec<_>>())
    };
    let (mut signal, mut noise, mut agreed) = (0.0, 0.0, 0u32);
    in_order(inputs.len(), threads, scores, |i, made| {
        let real: Vec<f64> = expected[i].iter().map(|&v| v.into()).collect();
        agreed += u32::from(first(&real) == first(&made));
        for (real, made) in real.iter().zip(made) {
            signal += real.powi(2);
            noise += (real - made).powi(2);
        }
        Ok(())
    })?;
    Ok((10.0 * (signal / noise).log10(), 100.0 * f64::from(agreed) / count(inputs.len())))
}

/// The first of the largest scores.
fn first(scores: &[f64]) -> Option<usize> {
    scores.iter().enumerate().rev().max_by(|a, b| a.1.total_cmp(b.1)).map(|(i, _)| i)
}
