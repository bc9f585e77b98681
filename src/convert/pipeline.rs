//! The whole way from an ONNX file to the bytes of a `.stone` file.

use super::bypass::{self, Bypass};
use super::calib::Calib;
use super::calibrate::{Statistics, calibrate, count, follow};
use super::counts::Counts;
use super::emit::{About, emit};
use super::float::{FloatInput, FloatNet, feed};
use super::fold::{fold, fold_tensor};
use super::graph::{Input, Network, Op};
use super::import::{self, Graph, import};
use super::onnx::Onnx;
use super::quantize::{self, Spent, Stream, timed, walked};
use super::quantized::Quantized;
use super::scales::scales;
use super::stream::uses;
use super::{ConvertError, Pictures, plan};
use crate::format::view::Preprocess;
use crate::quant::DataType;
use std::path::{Path, PathBuf};
use std::string::{String, ToString};
use std::time::Instant;
use std::vec::Vec;

/// How to convert.
#[derive(Clone, Debug)]
pub struct Options {
    /// How a picture becomes the network's input.
    pub preprocess: Preprocess,
    /// How to quantize, and on how many threads.
    pub quantize: quantize::Options,
    /// Class labels; none, or one a class.
    pub labels: Vec<String>,
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The ONNX is read and folded.
    Import,
    /// The float network runs over the pictures.
    Calibrate,
    /// Ranges and scales are chosen.
    Scales,
    /// The second moments of the layers' inputs are summed up.
    Moments,
    /// Weights are rounded.
    Round,
    /// Steps become integers; as a time, what the three above leave of it: the integer network runs over the pictures.
    Quantize,
    /// The file is written and proven.
    Emit,
}

impl Stage {
    /// One word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::Calibrate => "calibrate",
            Self::Scales => "scales",
            Self::Moments => "moments",
            Self::Round => "rounding",
            Self::Quantize => "quantize",
            Self::Emit => "emit",
        }
    }
}

/// A converted network.
#[derive(Clone, Debug)]
pub struct Converted {
    /// The bytes of the `.stone` file.
    pub file: Vec<u8>,
    /// How it was quantized.
    pub method: quantize::Options,
    /// The integer network that is in it.
    pub quantized: Quantized,
    /// Float scores of the pictures that the quantizer walked with.
    pub float_scores: Vec<Vec<f32>>,
    /// Numbers of the pictures that the quantizer walked with.
    pub walked: Vec<usize>,
    /// Pictures that the statistics saw.
    pub pictures: usize,
    /// Seconds that each stage took.
    pub seconds: Vec<(Stage, f64)>,
}

/// Scores nearer than this, in dB, need no finer stream.
const NEAR: f64 = 22.0;
/// What a finer stream must bring, in dB.
const GAIN: f64 = 1.0;
/// Fewer calibration pictures than this are worth a word.
const FEW: usize = 50;

/// Called with the stage, what is done of it and what there is to do.
pub type Progress<'a> = dyn Fn(Stage, usize, usize) + 'a;

/// The float network and its folded form: what a conversion begins with, and what integers are compared with.
#[derive(Debug)]
pub struct Source {
    /// The folded network.
    pub network: Network,
    /// SHA-256 of the ONNX and its external data.
    pub sha256: [u8; 32],
    /// The residual blocks that can be left out.
    pub bypasses: Vec<Bypass>,
    /// Those that are.
    left_out: Vec<Bypass>,
    /// Outputs of the ONNX file that are not computed.
    outputs: Vec<String>,
    /// The operator behind the scores, which is not computed either.
    end: Option<String>,
    path: PathBuf,
    feed: FloatInput,
    /// The input as the ONNX file expects it, before any arithmetic of its own.
    fed: Input,
    /// The graph, where it is quantized already.
    quantized: Option<Graph>,
}

impl Source {
    /// Reads, checks and folds an ONNX file.
    ///
    /// # Errors
    /// What is wrong with the file or not supported, with the node.
    pub fn open(path: &Path, preprocess: &Preprocess) -> Result<Self, ConvertError> {
        Self::without(path, preprocess, &[])
    }

    /// As [`open`](Self::open), with residual blocks left out, given by their numbers in the whole network.
    ///
    /// # Errors
    /// What is wrong with the file or not supported, with the node; a block that cannot be left out.
    pub fn without(path: &Path, preprocess: &Preprocess, skipped: &[u32]) -> Result<Self, ConvertError> {
        let mut graph = import(Onnx::load(path)?)?;
        let feed = FloatInput { name: graph.input.clone(), dims: graph.dims.get(&graph.input).cloned().unwrap_or_default(), bytes: graph.bytes };
        let (sha256, (mut scale, mut shift)) = (graph.sha256, normalization(preprocess));
        let folded = |graph: &Graph| preprocess.tensor.map_or_else(|| fold(graph, &scale, &shift), |step| fold_tensor(graph, step));
        let mut network = folded(&graph)?;
        let quantized = graph.operations.iter().any(|o| matches!(o.op, import::Op::Quantize(_))) || !graph.grids.is_empty();
        let quantized = quantized.then(|| graph.clone());
        let bypasses = bypass::bypasses(&graph, &network);
        let left_out = bypass::pick(&bypasses, skipped)?;
        if !left_out.is_empty() {
            bypass::apply(&mut graph, &left_out);
            network = folded(&graph)?;
        }
        let channels = network.input.shape[2] as usize;
        if let Some(step) = preprocess.tensor {
            (scale, shift) = (std::vec![f64::from(step); channels], std::vec![0.0; channels]);
        }
        scale.truncate(channels);
        shift.truncate(channels);
        let fed = Input { scale, shift, ..network.input.clone() };
        let source = Self { quantized, network, sha256, bypasses, left_out, outputs: graph.left_out, end: graph.end, path: path.to_path_buf(), feed, fed };
        let shape = source.network.input.shape;
        if let Some(crop) = preprocess.crop.filter(|c| *c != [shape[0], shape[1]]) {
            let what = std::format!("the crop is {}x{}, the network reads {}x{}", crop[1], crop[0], shape[1], shape[0]);
            return Err(ConvertError::Preprocess {
                what,
                help: "spell it out for this size, in place of --preprocess: --resize and --crop of the training beside --mean and --std (of imagenet: 0.485,0.456,0.406 and 0.229,0.224,0.225)",
            });
        }
        Ok(source)
    }

    /// The float network, computing the values of the given names.
    ///
    /// # Errors
    /// If tract cannot run it.
    pub fn float(&self, values: &[String]) -> Result<FloatNet, ConvertError> {
        self.float_without(values, &self.left_out)
    }

    /// As [`float`](Self::float), with these residual blocks left out.
    ///
    /// # Errors
    /// If tract cannot run it.
    pub fn float_without(&self, values: &[String], left_out: &[Bypass]) -> Result<FloatNet, ConvertError> {
        if let Some(graph) = &self.quantized {
            let mut graph = graph.clone();
            bypass::apply(&mut graph, left_out);
            return FloatNet::own(&graph, values);
        }
        let bytes = std::fs::read(&self.path).map_err(|e| ConvertError::File { path: self.path.clone(), what: e.to_string() })?;
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        FloatNet::without(bytes, folder, &self.feed, values, left_out)
    }

    /// Names of the values that the steps compute before their ReLU.
    #[must_use]
    pub fn values(&self) -> Vec<String> {
        self.network.steps.iter().map(|s| s.value.clone()).collect()
    }

    /// The input of the float network for a picture of `[h][w][c]` bytes.
    #[must_use]
    pub fn feed(&self, picture: &[u8]) -> Vec<f32> {
        feed(picture, &self.fed)
    }

    /// The same, or what the bytes were rounded from where that is known.
    #[must_use]
    pub fn fed(&self, bytes: &[u8], floats: Option<Vec<f32>>) -> Vec<f32> {
        floats.unwrap_or_else(|| self.feed(bytes))
    }
}

/// `byte · scale + shift` of each channel.
fn normalization(p: &Preprocess) -> (Vec<f64>, Vec<f64>) {
    let channel = |c: usize| (1.0 / (f64::from(p.scale) * f64::from(p.deviation[c])), -f64::from(p.mean[c]) / f64::from(p.deviation[c]));
    (0..4).map(channel).unzip()
}

/// A network whose statistics are known: what quantizing begins with, as often as one likes.
#[derive(Debug)]
pub struct Calibrated {
    /// The float network.
    pub source: Source,
    /// What the pictures said.
    pub statistics: Statistics,
    /// Numbers of the pictures that the quantizer walks with.
    pub walked: Vec<usize>,
    /// Pictures that the statistics saw.
    pub counted: usize,
    /// Pictures of their set that they did not see.
    missing: usize,
    seconds: [(Stage, f64); 2],
}

impl Calibrated {
    /// Reads an ONNX file and runs its float network over the pictures.
    ///
    /// # Errors
    /// What is wrong with the file, a picture or the network, and where.
    pub fn new(path: &Path, preprocess: &Preprocess, threads: usize, pictures: &dyn Pictures, progress: &Progress<'_>) -> Result<Self, ConvertError> {
        Self::without(path, preprocess, &[], threads, pictures, progress)
    }

    /// As [`new`](Self::new), with residual blocks left out, given by their numbers in the whole network.
    ///
    /// # Errors
    /// As [`new`](Self::new); a block that cannot be left out.
    pub fn without(
        path: &Path,
        preprocess: &Preprocess,
        skipped: &[u32],
        threads: usize,
        pictures: &dyn Pictures,
        progress: &Progress<'_>,
    ) -> Result<Self, ConvertError> {
        let mut clock = Clock(Instant::now());
        progress(Stage::Import, 0, 1);
        let source = Source::without(path, preprocess, skipped)?;
        let float = source.float(&source.values())?;
        let import = clock.lap();
        let (n, walked) = (pictures.len(), walked(&source.network, pictures.len()));
        let run = |i: usize, picture: &[u8]| float.run(&source.fed(picture, pictures.floats(i)?));
        let statistics = calibrate(&source.network, &run, pictures, &walked, threads, &|done| progress(Stage::Calibrate, done, n))?;
        drop(float);
        Ok(Self { source, statistics, walked, counted: n, missing: 0, seconds: [(Stage::Import, import), (Stage::Calibrate, clock.lap())] })
    }

    /// Reads an ONNX file and takes the statistics from a `.calib` file. The float network runs over those pictures only that the quantizer walks with; there may be none.
    ///
    /// # Errors
    /// As [`new`](Self::new); if the statistics were made from another network or with another preprocessing.
    pub fn with(
        path: &Path,
        preprocess: &Preprocess,
        ranges: Calib,
        threads: usize,
        pictures: &dyn Pictures,
        progress: &Progress<'_>,
    ) -> Result<Self, ConvertError> {
        let mut clock = Clock(Instant::now());
        progress(Stage::Import, 0, 1);
        let source = Source::open(path, preprocess)?;
        ranges.fits(&source, preprocess)?;
        let counted = usize::try_from(ranges.counts.pictures).unwrap_or(usize::MAX);
        let missing = ranges.missing();
        let mut statistics = ranges.counts.statistics(&source.network);
        let walked = walked(&source.network, pictures.len());
        let mut import = clock.lap();
        if !walked.is_empty() {
            let float = source.float(&source.values())?;
            import += clock.lap();
            let run = |i: usize, picture: &[u8]| float.run(&source.fed(picture, pictures.floats(i)?));
            let report = |done| progress(Stage::Calibrate, done, walked.len());
            follow(&source.network, &run, pictures, &walked, threads, &mut statistics, &report)?;
        }
        Ok(Self { source, statistics, walked, counted, missing, seconds: [(Stage::Import, import), (Stage::Calibrate, clock.lap())] })
    }

    /// The integer network. The pictures are those of [`walked`](Self::walked) and the others among which they were chosen.
    ///
    /// # Errors
    /// If a picture cannot be read or a step cannot be expressed in the arithmetic of the device.
    pub fn quantize(&self, options: quantize::Options, pictures: &dyn Pictures, spent: &Spent, progress: &Progress<'_>) -> Result<Quantized, ConvertError> {
        let network = &self.source.network;
        let found = spent.scales.of(|| scales(network, &self.statistics, options));
        let quantize = |options| {
            let inputs = self.walked.iter().map(|&i| pictures.load(i, &network.input)).collect::<Result<_, _>>()?;
            timed(network, &self.statistics, found.clone(), inputs, options, spent, &|done| progress(Stage::Quantize, done, network.steps.len()))
        };
        let mut made = quantize(options)?;
        let widens = uses(network).iter().any(Option::is_some);
        if options.with(self.walked.len()).stream == Stream::Wide && !widens {
            made.notes
                .push("nothing here can have 16 bits (--stream 16): no sum, function or gate reads what a convolution makes without a limit above".into());
        }
        let far = made.sqnr_db.filter(|db| options.stream == Stream::Auto && *db < NEAR && widens);
        let Some(db) = far else { return Ok(made) };
        let Ok(mut wide) = quantize(quantize::Options { stream: Stream::Wide, ..options }) else { return Ok(made) };
        let gained = wide.sqnr_db.unwrap_or(f64::INFINITY);
        if gained < db + GAIN {
            return Ok(made);
        }
        wide.notes.push(std::format!(
            "the residual stream, and what functions and gates read, has 16 bits: scores are at {gained:.1} dB, with 8 bits they are at {db:.1} dB, in less time and memory (--stream 8; `skipstone bench` compares)"
        ));
        Ok(wide)
    }

    /// The file. The first picture of `check` becomes its check input instead of the one that a seed makes.
    ///
    /// # Errors
    /// As [`Self::quantize`], or if the labels do not fit or a proof fails.
    pub fn convert(
        &self,
        options: &Options,
        pictures: &dyn Pictures,
        check: Option<&dyn Pictures>,
        progress: &Progress<'_>,
    ) -> Result<Converted, ConvertError> {
        let (network, n, walked) = (&self.source.network, self.counted, &self.walked);
        let classes = network.steps.last().map_or(0, |s| network.tensors[s.output].shape[2] as usize);
        if !options.labels.is_empty() && options.labels.len() != classes {
            return Err(ConvertError::Labels { given: options.labels.len(), classes });
        }
        let (mut clock, spent) = (Clock(Instant::now()), Spent::default());
        let mut quantized = self.quantize(options.quantize, pictures, &spent, progress)?;
        let whole = clock.lap();
        progress(Stage::Emit, 0, 1);
        let stream = if quantized.tensors.iter().any(|t| t.kind == DataType::S16) { Stream::Wide } else { Stream::Narrow };
        let method = quantize::Options { stream, ..options.quantize }.with(walked.len());
        let about = About {
            name: network.name.clone(),
            parameters: parameters(network),
            preprocess: options.preprocess,
            tensor: network.input.tensor,
            labels: options.labels.clone(),
            sha256: self.source.sha256,
            pictures: n,
            method: method.to_string(),
            skipped: self.source.left_out.iter().map(|b| b.block).collect(),
            check_picture: check.map_or_else(|| Ok(Vec::new()), |c| c.load(0, &network.input))?,
        };
        if walked.is_empty() {
            let left_out = options.quantize.left_out().into_iter();
            quantized.notes.extend(left_out.map(|what| std::format!("left out, for it needs pictures: {what}")));
        }
        if !self.source.outputs.is_empty() {
            let others = self.source.outputs.join("`, `");
            quantized.notes.push(std::format!("the first output of the ONNX file is computed, not the others: `{others}`"));
        }
        // What is shown beside the scores is their softmax anyway.
        if let Some(end) = self.source.end.as_ref().filter(|end| *end != "Softmax") {
            quantized
                .notes
                .push(std::format!("{end} at the end is left out: the scores are what it reads (`score` in `run --json`), percentages their softmax"));
        }
        if self.missing > 0 {
            quantized.notes.push(std::format!("{} pictures of the set are not in the ranges: merge all shards", self.missing));
        }
        if n < FEW {
            quantized.notes.push(std::format!(
                "calibrated on {n} pictures only: take 100 or more like those that the network will see; what is measured on these few flatters"
            ));
        }
        if walked.len() < pictures.len() {
            let (some, all) = (walked.len(), pictures.len());
            quantized.notes.push(std::format!("weights and biases were fitted on {some} of the {all} pictures, evenly spaced: more do not fit into memory"));
        }
        let file = emit(&quantized, &[plan::fast(&quantized)], &about)?;
        let parts = [(Stage::Scales, spent.scales.get()), (Stage::Moments, spent.moments.get()), (Stage::Round, spent.rounding.get())];
        let rest = whole - parts.iter().map(|p| p.1).sum::<f64>();
        let seconds = self.seconds.into_iter().chain(parts).chain([(Stage::Quantize, rest), (Stage::Emit, clock.lap())]).collect();
        Ok(Converted { file, method, quantized, float_scores: self.statistics.scores.clone(), walked: walked.clone(), pictures: n, seconds })
    }
}

/// Runs the float network of a file over pictures and counts what a [`Calib`] holds.
///
/// # Errors
/// If a picture cannot be read or the float network fails.
pub fn gather(source: &Source, pictures: &dyn Pictures, threads: usize, progress: &Progress<'_>) -> Result<Counts, ConvertError> {
    let (float, n) = (source.float(&source.values())?, pictures.len());
    let run = |i: usize, picture: &[u8]| float.run(&source.fed(picture, pictures.floats(i)?));
    count(&source.network, &run, pictures, threads, &|done| progress(Stage::Calibrate, done, n))
}

/// Converts an ONNX file with the help of pictures. The first picture of `check` becomes the file's check input instead of the one that a seed makes.
///
/// # Errors
/// What is wrong with the file, a picture or the network, and where.
pub fn convert(
    path: &Path,
    options: &Options,
    pictures: &dyn Pictures,
    check: Option<&dyn Pictures>,
    progress: &Progress<'_>,
) -> Result<Converted, ConvertError> {
    Calibrated::new(path, &options.preprocess, options.quantize.threads, pictures, progress)?.convert(options, pictures, check, progress)
}

struct Clock(Instant);

impl Clock {
    fn lap(&mut self) -> f64 {
        let seconds = self.0.elapsed().as_secs_f64();
        self.0 = Instant::now();
        seconds
    }
}

/// Weights and biases.
fn parameters(network: &Network) -> u64 {
    let conv = |op: &Op| match op {
        Op::Conv(c) => {
            let shortcut = if let super::graph::Second::Projection { weights, .. } = &c.second { weights.len() } else { 0 };
            c.weights.len() + shortcut + c.bias.len()
        }
        _ => 0,
    };
    network.steps.iter().map(|s| conv(&s.op) as u64).sum()
}
