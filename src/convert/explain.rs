//! What each part of the quantizer brings: it is fitted without every fifth picture, and measured on those.

use super::choices::{Bias, Options, Rounding, Scales};
use super::graph::Input;
use super::parallel::in_order;
use super::pipeline::{self, Calibrated, Progress};
use super::range::Method;
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
    /// Signal over error of the scores in dB, on the pictures held out.
    pub sqnr_db: f64,
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

/// The options from the plainest to `chosen`, each with one thing more.
#[must_use]
pub fn ladder(chosen: Options) -> Vec<Options> {
    let plain = Options { method: Method::MinMax, scales: Scales::Tensor, rounding: Rounding::Nearest, bias: Bias::Float, ..chosen };
    let ranges = Options { method: chosen.method, ..plain };
    let biases = Options { bias: chosen.bias, ..ranges };
    let rounding = Options { rounding: chosen.rounding, ..biases };
    let mut rungs = std::vec![plain, ranges, biases, rounding, chosen];
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
    let calibrated = Calibrated::new(path, preprocess, options.threads, &seen, progress)?;
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
    for options in ladder(options) {
        let conversion = pipeline::Options { preprocess: *preprocess, quantize: options, labels: Vec::new() };
        let file = calibrated.convert(&conversion, &seen, None, progress)?.file;
        rungs.push(Rung { options, sqnr_db: sqnr(&file, &inputs, &expected, options.threads)? });
    }
    Ok((rungs, inputs.len()))
}

/// Signal over error of the scores in dB, of the network as a device runs it.
fn sqnr(file: &[u8], inputs: &[Vec<u8>], expected: &[Vec<f32>], threads: usize) -> Result<f64, ConvertError> {
    let failed = |what: String| ConvertError::Arithmetic { node: "scores".into(), what };
    let model = Model::parse(file).map_err(|e| failed(e.to_string()))?;
    let scores = |i: usize| {
        let mut arena = std::vec![0; model.plan(PlanKind::Fast).map_or(0, |p| p.arena_bytes(1))];
        let mut session = Session::new(&model, Kernels::detect(), PlanKind::Fast, &mut arena).map_err(|e| failed(e.to_string()))?;
        session.input().copy_from_slice(&inputs[i]);
        let scores = session.run();
        Ok(scores.iter().map(|v| f64::from(v) * f64::from(scores.scale())).collect::<Vec<_>>())
    };
    let (mut signal, mut noise) = (0.0, 0.0);
    in_order(inputs.len(), threads, scores, |i, made| {
        for (&real, made) in expected[i].iter().zip(made) {
            signal += f64::from(real).powi(2);
            noise += (f64::from(real) - made).powi(2);
        }
        Ok(())
    })?;
    Ok(10.0 * (signal / noise).log10())
}
