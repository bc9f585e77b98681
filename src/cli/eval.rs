//! `skipstone eval`: accuracy on labelled pictures, and agreement with the float network.

use super::args::{DataArgs, EngineArgs, ThreadArgs};
use super::converter::{self, Float};
use super::dataset::DataSet;
use super::engine::{Engine, input_bytes, put};
use super::error::{CliError, Result};
use super::host::{Host, Watch};
use super::output::{Output, hex};
use super::progress::Progress;
use super::staged::Staged;
use super::stream;
use crate::classify;
use crate::crc::Crc32;
use crate::picture::Geometry;
use crate::session::Scores;
use clap::Args;
use core::fmt::Write as _;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Instant;

const AGAINST: &str = if cfg!(feature = "convert") {
    "Compare with the float network of this ONNX file on the same inputs"
} else {
    "Compare with the float network of an ONNX file (needs the program with the converter)"
};

/// Accuracy on labelled pictures
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  skipstone eval net.stone --data test_batch.bin --limit 1000\n  \
                        skipstone eval net.stone --data validation --truth validation.csv --against net.onnx --predictions table.csv")]
pub struct EvalArgs {
    /// The network
    net: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// An ONNX file.
    #[arg(long, value_name = "NET.onnx", help = AGAINST)]
    against: Option<PathBuf>,
    /// Write index,file,truth,class,float_class of every picture
    #[arg(long, value_name = "FILE.csv")]
    predictions: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    threads: ThreadArgs,
}

#[derive(Serialize)]
struct Report {
    schema: &'static str,
    network: String,
    pictures: u64,
    labelled: u64,
    top1: Option<f64>,
    top5: Option<f64>,
    float_top1: Option<f64>,
    float_top5: Option<f64>,
    agreement: Option<f64>,
    sqnr_db: Option<f64>,
    input_crc32: String,
    scores_crc32: String,
    seconds: f64,
    isa: &'static str,
    threads: usize,
    plan: &'static str,
    host: Host,
}

/// Runs the command.
///
/// # Errors
/// If the network or a picture cannot be used, or the predictions cannot be written.
pub fn run(args: &EvalArgs, output: Output) -> Result {
    let engine = Engine::open(&args.net, &args.engine)?;
    let set = args.data.open(&engine.model)?;
    let float = args.against.as_deref().map(|onnx| converter::against(onnx, &engine, &args.net)).transpose()?;
    let mut table = args.predictions.as_deref().map(|path| Predictions::create(path, args)).transpose()?;
    let threads = args.threads.threads;
    engine.warn_of_turns(threads);
    let watch = Watch::new(&engine.cores).warn();
    let start = Instant::now();
    let job = Job { engine: &engine, set: &set, geometry: args.data.geometry.of(&engine.model)?, skip_bad: args.data.choice.skip_bad, threads, output };
    let tally = job.measure(float.as_ref(), |i, row, float_class| table.as_mut().map_or(Ok(()), |table| table.row(i, &set, row, float_class)))?;
    if let Some(table) = table {
        table.finish()?;
    }
    if tally.pictures == 0 {
        return Err(CliError::input(format!("no picture of {} could be read", args.data.data.display()), "leave out --skip-bad to see why"));
    }
    let seconds = start.elapsed().as_secs_f64();
    let report = tally.report(&engine, threads, seconds, float.is_some(), watch.end());
    output.show(&report, || report.text())
}

/// What is measured.
pub(super) struct Job<'a> {
    pub engine: &'a Engine,
    pub set: &'a DataSet,
    pub geometry: Geometry,
    pub skip_bad: bool,
    pub threads: usize,
    pub output: Output,
}

impl Job<'_> {
    /// Runs the network, and the float network if there is one, over all pictures. `each` gets a picture's number, what came out and the float class.
    pub(super) fn measure(&self, float: Option<&Float>, mut each: impl FnMut(usize, Row, Option<usize>) -> Result) -> Result<Tally> {
        let (engine, bytes) = (self.engine, input_bytes(&self.engine.model));
        let pool = engine.pool(self.threads)?;
        let mut arena = engine.arena(self.threads)?;
        let mut session = engine.session(&mut arena, &pool)?;
        let progress = Progress::new(self.output, self.set.len(), "pictures");
        let mut tally = Tally::default();
        stream::pictures(&engine.model, self.set, self.geometry, self.skip_bad, |indices, inputs| {
            let inputs: Vec<&[u8]> = inputs.chunks_exact(bytes).collect();
            let mut floats = float.map(|f| f.scores(self.set, indices, &inputs, self.threads)).transpose()?.map(Vec::into_iter);
            for (&i, input) in indices.iter().zip(inputs) {
                tally.input = tally.input.update(input);
                put(&mut session, input);
                let scores = session.run();
                let row = tally.add(self.truth(i)?, scores);
                let float = floats.as_mut().and_then(Iterator::next);
                let float_class = float.map(|float| tally.add_float(row, scores, &float)).transpose()?;
                each(i, row, float_class)?;
                progress.step();
            }
            Ok(())
        })?;
        Ok(tally)
    }

    /// The true class of a picture, where it is known.
    fn truth(&self, i: usize) -> Result<Option<usize>> {
        let (truth, classes) = (self.set.label(i), self.engine.model.classes());
        if let Some(truth) = truth.filter(|&t| t >= classes) {
            let what = format!("{}: class {truth}, the network has {classes}", self.set.name(i));
            return Err(CliError::input(what, "give the classes of this network, counted from 0"));
        }
        Ok(truth.map(|t| t as usize))
    }
}

/// What is counted.
#[derive(Default)]
pub(super) struct Tally {
    /// Pictures that ran.
    pub pictures: u64,
    labelled: u64,
    top1: u64,
    top5: u64,
    float_top1: u64,
    float_top5: u64,
    agree: u64,
    signal: f64,
    noise: f64,
    input: Crc32,
    scores: Crc32,
}

/// The class of a picture, and the true one where it is known.
#[derive(Clone, Copy)]
pub(super) struct Row {
    truth: Option<usize>,
    class: usize,
}

impl Tally {
    /// Adds the scores of a picture.
    pub(super) fn add(&mut self, truth: Option<usize>, scores: Scores<'_>) -> Row {
        let best = classify::top::<5>(scores).map(|c| c.map(|c| c.class));
        self.pictures += 1;
        self.scores = self.scores.update(scores.bytes());
        self.labelled += u64::from(truth.is_some());
        self.top1 += u64::from(truth.is_some() && best[0] == truth);
        self.top5 += u64::from(truth.is_some() && best.contains(&truth));
        Row { truth, class: best[0].unwrap_or(0) }
    }

    /// Adds the float network's scores; gives its class.
    pub(super) fn add_float(&mut self, row: Row, scores: Scores<'_>, float: &[f32]) -> Result<usize> {
        if float.len() != scores.len() {
            let what = format!("the float network has {} classes, the .stone file {}", float.len(), scores.len());
            return Err(CliError::input(what, "give the ONNX file from which it was converted, --against"));
        }
        if float.iter().any(|v| !v.is_finite()) {
            let what = format!("the float network gives scores that are not finite, for input {} of those that were read", self.pictures);
            return Err(CliError::input(what, "look for infinite values in it, and mend it or leave it out"));
        }
        let scale = f64::from(scores.scale());
        for (q, &real) in scores.iter().zip(float) {
            self.signal += f64::from(real).powi(2);
            self.noise += (f64::from(real) - f64::from(q) * scale).powi(2);
        }
        let mut order: Vec<usize> = (0..float.len()).collect();
        order.sort_by(|&a, &b| float[b].total_cmp(&float[a]).then(a.cmp(&b)));
        let class = order.first().copied().unwrap_or(0);
        self.float_top1 += u64::from(row.truth == Some(class));
        self.float_top5 += u64::from(order.iter().take(5).any(|&c| row.truth == Some(c)));
        self.agree += u64::from(class == row.class);
        Ok(class)
    }

    /// Percent of the labelled pictures that are right.
    pub(super) fn top1(&self) -> Option<f64> {
        share(self.top1, self.labelled)
    }

    /// The same of the float network.
    pub(super) fn float_top1(&self) -> Option<f64> {
        share(self.float_top1, self.labelled)
    }

    /// Percent of the pictures that have the float network's class.
    pub(super) fn agreement(&self) -> Option<f64> {
        share(self.agree, self.pictures)
    }

    /// Signal over noise of the scores in dB.
    pub(super) fn sqnr_db(&self) -> Option<f64> {
        Some(10.0 * (self.signal / self.noise).log10()).filter(|db| db.is_finite())
    }

    fn report(&self, engine: &Engine, threads: usize, seconds: f64, float: bool, host: Host) -> Report {
        Report {
            schema: "skipstone.eval/1",
            network: engine.model.name().to_owned(),
            pictures: self.pictures,
            labelled: self.labelled,
            top1: self.top1(),
            top5: share(self.top5, self.labelled),
            float_top1: self.float_top1().filter(|_| float),
            float_top5: share(self.float_top5, self.labelled).filter(|_| float),
            agreement: self.agreement().filter(|_| float),
            sqnr_db: self.sqnr_db().filter(|_| float),
            input_crc32: hex(self.input.value()),
            scores_crc32: hex(self.scores.value()),
            seconds,
            isa: engine.kernels.set().name(),
            threads,
            plan: engine.plan.kind().name(),
            host,
        }
    }
}

fn share(n: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| 100.0 * n as f64 / of as f64)
}

impl Report {
    fn text(&self) -> String {
        let mut text = String::new();
        let mut put = |name: &str, value: Option<f64>, unit: &str| {
            if let Some(value) = value {
                let _ = writeln!(text, "{name:<14}{value:6.2} {unit}");
            }
        };
        put("top-1", self.top1, "%");
        put("top-5", self.top5, "%");
        put("float top-1", self.float_top1, "%");
        put("float top-5", self.float_top5, "%");
        put("agreement", self.agreement, "% of the pictures have the float network's class");
        put("scores", self.sqnr_db, "dB of signal over quantization noise");
        if self.labelled == 0 {
            text.push_str("top-1              - no classes are known: give them with --truth, or sort all pictures into one folder a class\n");
        }
        let rate = self.pictures as f64 / self.seconds;
        let labelled = if self.labelled == self.pictures { String::new() } else { format!(", {} of them labelled", self.labelled) };
        let _ = writeln!(text, "pictures      {:6}{labelled}, {rate:.0} a second", self.pictures);
        let _ = writeln!(text, "ran           {}, plan {}, {} threads", self.isa, self.plan, self.threads);
        let _ = writeln!(text, "CRC-32        input {}, scores {}", self.input_crc32, self.scores_crc32);
        text
    }
}

/// The table of `--predictions`.
struct Predictions {
    staged: Staged,
    writer: csv::Writer<Vec<u8>>,
}

impl Predictions {
    fn create(path: &Path, args: &EvalArgs) -> Result<Self> {
        let others = [args.data.labels.truth.as_deref(), args.against.as_deref()];
        let inputs: Vec<&Path> = [args.net.as_path(), &args.data.data].into_iter().chain(others.into_iter().flatten()).collect();
        let mut table = Self { staged: Staged::create(path, &inputs)?, writer: csv::Writer::from_writer(Vec::new()) };
        table.record(["index", "file", "truth", "class", "float_class"].map(str::to_owned))?;
        Ok(table)
    }

    fn record(&mut self, cells: [String; 5]) -> Result {
        self.writer.write_record(cells).map_err(|e| no_room(&e))
    }

    fn row(&mut self, i: usize, set: &DataSet, row: Row, float_class: Option<usize>) -> Result {
        let number = |n: Option<usize>| n.map_or_else(String::new, |n| n.to_string());
        self.record([i.to_string(), set.name(i), number(row.truth), row.class.to_string(), number(float_class)])
    }

    fn finish(self) -> Result {
        self.staged.finish(&self.writer.into_inner().map_err(|e| no_room(e.error()))?)
    }
}

fn no_room(error: &dyn core::error::Error) -> CliError {
    CliError::machine(format!("no memory for the table of --predictions: {error}"), "take fewer pictures")
}
