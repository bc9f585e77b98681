//! What each part of the quantizer brings: it is fitted without every fifth picture, and measured on those.

use super::choices::{Bias, Options, Rounding, Scales};
use super::parallel::in_order;
use super::pipeline::{Calibrated, Progress};
use super::quantize::{Spent, run_operation};
use super::quantized::Quantized;
use super::range::Method;
use super::{ConvertError, Pictures};
use crate::format::view::Preprocess;
use crate::kernels::Kernels;
use std::path::Path;
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

    fn load(&self, i: usize, shape: [u32; 3]) -> Result<Vec<u8>, ConvertError> {
        self.all.load(self.numbers[i], shape)
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
    let (source, shape) = (&calibrated.source, calibrated.source.network.input.shape);
    let float = source.float(&source.values().pop().into_iter().collect::<Vec<_>>())?;
    let inputs = (0..unseen.len()).map(|i| unseen.load(i, shape)).collect::<Result<Vec<_>, _>>()?;
    let mut expected = Vec::with_capacity(inputs.len());
    let run = |i: usize| Ok(float.run(&source.feed(&inputs[i]))?.pop().unwrap_or_default());
    in_order(inputs.len(), options.threads, run, |_, scores| {
        expected.push(scores);
        Ok::<_, ConvertError>(())
    })?;
    let mut rungs = Vec::new();
    for options in ladder(options) {
        let quantized = calibrated.quantize(options, &seen, &Spent::default(), progress)?;
        rungs.push(Rung { options, sqnr_db: sqnr(&quantized, &inputs, &expected, options.threads)? });
    }
    Ok((rungs, inputs.len()))
}

/// Signal over error of the scores in dB.
fn sqnr(quantized: &Quantized, inputs: &[Vec<u8>], expected: &[Vec<f32>], threads: usize) -> Result<f64, ConvertError> {
    let (mut signal, mut noise) = (0.0, 0.0);
    in_order(
        inputs.len(),
        threads,
        |i| Ok::<_, ConvertError>(scores(quantized, &inputs[i])),
        |i, made| {
            for (&real, made) in expected[i].iter().zip(made) {
                signal += f64::from(real).powi(2);
                noise += (f64::from(real) - made).powi(2);
            }
            Ok(())
        },
    )?;
    Ok(10.0 * (signal / noise).log10())
}

/// The scores of a picture.
fn scores(quantized: &Quantized, picture: &[u8]) -> Vec<f64> {
    let views: Vec<_> = quantized.tensors.iter().map(|t| t.view(0)).collect();
    let mut data: Vec<Vec<u8>> = std::vec![Vec::new(); quantized.tensors.len()];
    data[0] = picture.to_vec();
    for step in &quantized.steps {
        let second = step.second.map_or(&[][..], |t| &data[t][..]);
        data[step.output] = run_operation(&step.operation(&views, 4), Kernels::detect(), &data[step.input], second, &views[step.output]);
    }
    let Some(last) = quantized.steps.last() else { return Vec::new() };
    let words = data[last.output].as_chunks::<4>().0.iter().map(|w| f64::from(i32::from_le_bytes(*w)));
    words.zip(&quantized.tensors[last.output].scales).map(|(word, scale)| word * scale).collect()
}
