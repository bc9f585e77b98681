//! The commands that need the converter: `convert`, `compare`, and the float network of `eval --against`.

use super::args::{ChoiceArgs, EngineArgs, kernels};
use super::convert::ConvertArgs;
use super::dataset::{DataError, DataSet};
use super::engine::{Engine, Preparer, load, put};
use super::ensemble::Skip;
use super::error::{CliError, Result};
use super::eval::{Job, Tally};
pub(super) use super::layers::compare;
use super::layers::{Layer, compare_layers};
use super::output::{Output, Table, or_dash, thousands};
use super::profile::Shape;
use super::progress::Progress;
pub(super) use super::report::gather::report;
use super::shards;
pub(super) use super::shards::calibrate;
use super::staged::Staged;
pub(super) use super::tour::demo;
use crate::convert::choices::{Rounding, Scales, Stream};
use crate::convert::explain::Rung;
use crate::convert::float::FloatNet;
use crate::convert::graph::Input;
use crate::convert::input;
use crate::convert::quantize;
use crate::convert::range::Method;
use crate::convert::{self, Calib, Calibrated, Converted, Options, Source, Stage};
use crate::convert::{ConvertError, Pictures};
use crate::format::view::{Preprocess, TensorInput};
use crate::format::{Model, PlanKind};
use crate::picture::Geometry;
use core::cell::RefCell;
use core::fmt::Write as _;
use core::str::FromStr;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Pictures on which the error of each layer is shown.
const LAYER_PICTURES: usize = 8;

impl From<ConvertError> for CliError {
    fn from(error: ConvertError) -> Self {
        Self::input(error.to_string(), error.help())
    }
}

/// The error of a conversion, with the path of the ONNX file.
pub(super) fn named(onnx: &Path, error: ConvertError) -> CliError {
    let (error, path) = (CliError::from(error), onnx.display().to_string());
    if error.what.contains(&path) { error } else { CliError { what: format!("{path}: {}", error.what), ..error } }
}

/// The float scores of inputs.
pub(super) struct Float {
    source: Source,
    net: FloatNet,
}

/// The float network of an ONNX file.
pub(super) fn float(onnx: &Path, preprocess: &Preprocess) -> Result<Float> {
    let source = Source::open(onnx, preprocess).map_err(|e| named(onnx, e))?;
    let scores = source.values().pop().into_iter().collect::<Vec<_>>();
    Ok(Float { net: source.float(&scores)?, source })
}

impl Float {
    /// The scores of members of a set whose inputs are these, `[h][w][c]`, each computed alone, on some threads.
    pub(super) fn scores(&self, set: &DataSet, indices: &[usize], inputs: &[&[u8]], threads: usize) -> Result<Vec<Vec<f32>>> {
        let fed: Vec<_> = indices.iter().zip(inputs).map(|(&i, input)| fed(&self.source, set, i, input)).collect::<Result<_>>()?;
        scores(&self.net, &fed, threads)
    }
}

/// What the float network reads for member `i` of a set, whose input is this: the values themselves where the set has them.
pub(super) fn fed(source: &Source, set: &DataSet, i: usize, input: &[u8]) -> Result<Vec<f32>> {
    Ok(source.fed(input, floats(set, i)?))
}

/// The real values of tensor `i`.
pub(super) fn floats(set: &DataSet, i: usize) -> core::result::Result<Option<Vec<f32>>, DataError> {
    Ok(set.values(i)?.and_then(|(values, floats)| floats.then_some(values)))
}

/// The last value of a float network for what it reads, each computed alone, on some threads.
pub(super) fn scores(net: &FloatNet, inputs: &[Vec<f32>], threads: usize) -> Result<Vec<Vec<f32>>> {
    let one = |input: &Vec<f32>| Ok(net.run(input)?.pop().unwrap_or_default());
    let share = inputs.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let parts: Vec<_> = inputs.chunks(share).map(|part| scope.spawn(move || part.iter().map(one).collect::<Result<Vec<_>>>())).collect();
        let mut all = Vec::with_capacity(inputs.len());
        for part in parts {
            all.extend(part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(all)
    })
}

/// The pictures to calibrate with.
pub(super) struct Calibration {
    /// Nothing where the ranges stand in a file.
    set: Option<DataSet>,
    /// Numbers of those that can be read.
    good: Vec<usize>,
    /// The same, and those that cannot be read, in the set of which these are a shard.
    numbers: [Vec<usize>; 2],
    geometry: Geometry,
}

impl Calibration {
    /// No picture.
    const fn none(geometry: Geometry) -> Self {
        Self { set: None, good: Vec::new(), numbers: [Vec::new(), Vec::new()], geometry }
    }

    /// One picture.
    fn one(path: &Path, geometry: Geometry) -> Result<Self> {
        Ok(Self { set: Some(DataSet::open(path, None, Some(1), None)?), good: vec![0], ..Self::none(geometry) })
    }

    pub(super) fn open(data: &Path, choice: &ChoiceArgs, geometry: Geometry) -> Result<Self> {
        let set = choice.open(data, None)?;
        let readable = |&i: &usize| match set.finite(i) {
            Ok(None) => matches!(DataSet::unless_bad(set.load(i), true), Ok(Some(_))),
            values => matches!(DataSet::unless_bad(values, true), Ok(Some(_))),
        };
        let (good, bad): (Vec<usize>, _) = (0..set.len()).partition(|i| !choice.skip_bad || readable(i));
        let numbers = [&good, &bad].map(|part| part.iter().map(|&i| set.number(i)).collect());
        Ok(Self { set: Some(set), good, numbers, geometry })
    }

    /// Fails where no picture could be read.
    pub(super) fn some(&self, data: &Path) -> Result {
        if self.good.is_empty() {
            return Err(CliError::input(format!("no picture of {} could be read", data.display()), "leave out --skip-bad to see why"));
        }
        Ok(())
    }

    /// Numbers of the pictures that can be read and of those that cannot, in the set of which these are a shard.
    pub(super) fn numbers(&self) -> [&[usize]; 2] {
        self.numbers.each_ref().map(Vec::as_slice)
    }

    fn set(&self) -> Result<&DataSet> {
        self.set.as_ref().ok_or_else(|| CliError::usage("there are no pictures", "give pictures with --calib"))
    }

    /// Pictures of that set.
    pub(super) fn whole(&self) -> usize {
        self.set.as_ref().map_or(0, DataSet::whole)
    }

    /// The scale of an input that is no picture.
    fn scale(&self, method: Method) -> Result<f32> {
        let (set, mut values) = (self.set()?, input::Values::default());
        for &i in &self.good {
            let (what, help) = match set.finite(i)? {
                Some((floats, true)) => {
                    values.add(&floats);
                    continue;
                }
                Some((_, false)) => ("integers, --calib", "calibrate with f32: the scale of the input is chosen from its values"),
                None => ("a picture, --preprocess tensor", "give an .npy of f32, or say how the pictures are prepared"),
            };
            return Err(CliError::input(format!("{}: {what}", set.name(i)), help));
        }
        if !values.countable() {
            let what = format!("the largest magnitude is {:e}, --calib", values.largest());
            return Err(CliError::input(what, "give values of which the largest lies between 1e-7 and 1e9: scale them, and let the network scale them back"));
        }
        Ok(values.scale(method))
    }

    /// The input of one of them.
    fn input(&self, i: usize, shape: [u32; 3], tensor: Option<TensorInput>) -> Result<Vec<u8>> {
        let mut input = vec![0; shape.iter().map(|&n| n as usize).product()];
        load(self.set()?, self.good[i], false, &mut Preparer::with_shape(shape, tensor, self.geometry), &mut input)?;
        Ok(input)
    }
}

/// The error of a picture, for the converter.
fn bad(error: CliError) -> ConvertError {
    ConvertError::Picture { what: error.what, help: error.help }
}

impl Pictures for Calibration {
    fn len(&self) -> usize {
        self.good.len()
    }

    fn load(&self, i: usize, input: &Input) -> core::result::Result<Vec<u8>, ConvertError> {
        self.input(i, input.shape, input.tensor).map_err(bad)
    }

    fn floats(&self, i: usize) -> core::result::Result<Option<Vec<f32>>, ConvertError> {
        floats(self.set().map_err(bad)?, self.good[i]).map_err(|e| bad(e.into()))
    }
}

/// What each part of the quantizer brings.
#[derive(Serialize)]
struct Brought {
    /// Pictures that were held out.
    pictures: usize,
    /// From the plainest quantizer to the chosen one.
    ladder: Vec<RungReport>,
}

/// A rung of the ladder for `--json`.
#[derive(Serialize)]
pub(super) struct RungReport {
    quantizer: String,
    sqnr_db: Option<f64>,
    agreement: f64,
}

impl RungReport {
    pub(super) fn of(rung: &Rung) -> Self {
        Self { quantizer: rung.options.to_string(), sqnr_db: Some(rung.sqnr_db).filter(|db| db.is_finite()), agreement: rung.agreement }
    }
}

#[derive(Serialize)]
struct Report {
    schema: &'static str,
    file: String,
    bytes: usize,
    arena_bytes: usize,
    layers: u32,
    macs: u64,
    parameters: u64,
    method: String,
    scales: String,
    rounding: String,
    bias: String,
    /// Bits of the residual stream: 8 or 16.
    stream: String,
    /// With `--explain`.
    brought: Option<Brought>,
    seconds: f64,
    stages: BTreeMap<&'static str, f64>,
    pictures: usize,
    agreement: Option<f64>,
    sqnr_db: Option<f64>,
    /// Pictures on which agreement and the rest were measured.
    measured_on: u64,
    float_top1: Option<f64>,
    top1: Option<f64>,
    /// Residual blocks that were left out, by their numbers in the whole network.
    skipped: Vec<u32>,
    /// What that is worth.
    #[serde(skip_serializing_if = "Option::is_none")]
    skip: Option<Skip>,
    notes: Vec<String>,
}

/// Runs `convert`.
pub(super) fn convert(args: &ConvertArgs, output: Output) -> Result {
    let start = Instant::now();
    let ranges = args.ranges.as_deref().map(|path| ranges(args, path)).transpose()?;
    let mut preprocess = args.preprocess.or(ranges.as_ref().map(|r| r.preprocess))?;
    if preprocess.tensor.is_some() && args.ranges.is_some() {
        return Err(CliError::usage(
            "ranges are those of pictures: --ranges cannot stand beside --preprocess tensor",
            "leave out --ranges: calibrate tensors with --calib",
        ));
    }
    let rungs = rungs(args)?;
    let labels = args.labels.as_deref().map(read_labels).transpose()?.unwrap_or_default();
    let data = PathBuf::from(format!("{}.data", args.onnx.display()));
    let others = [&args.ranges, &args.calib, &args.eval, &args.truth, &args.labels, &args.check_picture];
    let inputs: Vec<&Path> = [&args.onnx, &data].into_iter().chain(others.into_iter().flatten()).map(PathBuf::as_path).collect();
    let staged = Staged::create(&args.output, &inputs)?;
    if !args.onnx.is_file() {
        let missing = std::fs::metadata(&args.onnx).err().unwrap_or_else(|| std::io::ErrorKind::InvalidInput.into());
        return Err(CliError::read(&args.onnx, &missing));
    }
    let geometry = Geometry::from(preprocess);
    let calibration = match &args.calib {
        Some(data) => Calibration::open(data, &args.choice, geometry)?,
        None => Calibration::none(geometry),
    };
    args.calib.as_deref().map_or(Ok(()), |data| calibration.some(data))?;
    if let Some(scale) = &mut preprocess.tensor {
        let stored = input::stored_scale(&args.onnx).map_err(|e| named(&args.onnx, e))?;
        *scale = stored.map_or_else(|| calibration.scale(rungs[0].method), Ok)?;
    }
    let exif = args.choice.exif || ranges.as_ref().is_some_and(|r| r.exif);
    let test = args.eval.as_deref().map(|data| open_eval(args, data, exif)).transpose()?;
    let whole = args.eval.is_some() || args.skip_blocks.is_some();
    let float = whole.then(|| float(&args.onnx, &preprocess)).transpose()?;
    let brought = if args.explain { Some(brought(args, &preprocess, given(args)?, &calibration, output)?) } else { None };
    let pictures = test.as_ref().map(|set| (set, geometry));
    let skip = args.skip_blocks.as_ref().map(|choice| Skip::choose(args, choice, &preprocess, &calibration, pictures, output)).transpose()?;
    let skipped = skip.as_ref().map_or_else(Vec::new, Skip::blocks);
    let calibrated = with_progress(output, |progress| match ranges {
        Some(ranges) => Calibrated::with(&args.onnx, &preprocess, ranges, args.threads.threads, &calibration, progress),
        None => Calibrated::without(&args.onnx, &preprocess, &skipped, args.threads.threads, &calibration, progress),
    });
    let calibrated = calibrated.map_err(|e| match &args.ranges {
        Some(path) if matches!(e, ConvertError::Ranges { .. }) => named(path, e),
        _ => in_file(&args.onnx, e),
    })?;
    let mut best: Option<(Outcome, f64)> = None;
    for quantize in rungs {
        let options = Options { preprocess, quantize, labels: labels.clone() };
        let outcome = Outcome::new(args, &calibrated, &options, &calibration, output)?;
        let tally = match &test {
            Some(set) => {
                let job = Job { engine: &outcome.engine, set, geometry, skip_bad: args.choice.skip_bad, threads: args.threads.threads, output };
                job.measure(float.as_ref(), |_, _, _| Ok(()))?
            }
            None => outcome.on_calibration(&calibration, float.as_ref())?,
        };
        let drop = tally.float_top1().zip(tally.top1()).map(|(float, int)| float - int);
        if args.max_drop.is_some() && drop.is_none() {
            return Err(CliError::input(format!("{} has no classes, --max-drop", calibration_name(args)), "give them with --truth, or one folder a class"));
        }
        let outcome = Outcome { tally, ..outcome };
        let drop = drop.unwrap_or(0.0);
        let holds = args.max_drop.is_none_or(|most| drop <= most);
        if holds {
            staged.finish(&outcome.converted.file)?;
            let skip = skip.map(|skip| skip.done(&outcome.engine)).transpose()?;
            let report = Report { skipped, skip, ..outcome.report(args, start.elapsed().as_secs_f64(), brought) };
            outcome.say_time(output);
            report.notes.iter().filter(|_| args.ranges.is_some() && output.json && !output.quiet).for_each(|note| eprintln!("note: {note}"));
            return if output.json { super::output::line(&report) } else { super::output::print(&outcome.text(&report, args, &preprocess, &calibration)?) };
        }
        eprintln!("method {quantize}: top-1 drops by {drop:.2} points");
        if best.as_ref().is_none_or(|(_, least)| drop < *least) {
            best = Some((outcome, drop));
        }
    }
    let (method, drop) = best.map_or_else(Default::default, |(o, drop)| (o.quantize.to_string(), drop));
    let what = format!("top-1 drops by {drop:.2} points with the best method ({method}), {} are allowed, --max-drop", args.max_drop.unwrap_or_default());
    Err(CliError::check(what, "give more calibration pictures, or allow more; `skipstone compare` shows which layer loses it"))
}

/// The ranges from a file, which fit the pictures that may stand beside it.
fn ranges(args: &ConvertArgs, path: &Path) -> Result<Calib> {
    let ranges = shards::open(path)?;
    if args.calib.is_some() && ranges.exif != args.choice.exif {
        let what = format!("{}: the ranges were made {} --exif", path.display(), if ranges.exif { "with" } else { "without" });
        return Err(CliError::input(what, "read the pictures of --calib in the same way"));
    }
    Ok(ranges)
}

fn calibration_name(args: &ConvertArgs) -> String {
    args.eval.as_ref().or(args.calib.as_ref()).map_or_else(|| "--ranges".into(), |data| data.display().to_string())
}

/// What was chosen with flags, or the default.
fn given(args: &ConvertArgs) -> Result<quantize::Options> {
    let (scales, rounding, bias) = (args.scales.as_ref(), args.rounding.as_ref(), args.bias.as_ref());
    let method = chosen(args.method.as_ref(), "--method")?;
    let (scales, rounding, bias) = (chosen(scales, "--scales")?, chosen(rounding, "--rounding")?, chosen(bias, "--bias")?);
    let stream = chosen(args.stream.as_ref(), "--stream")?;
    Ok(quantize::Options { method, scales, rounding, bias, stream, pair_safe: true, threads: args.threads.threads })
}

/// What to try, in order: what was chosen or, with `--max-drop`, from quick to thorough.
fn rungs(args: &ConvertArgs) -> Result<Vec<quantize::Options>> {
    let given = given(args)?;
    if args.max_drop.is_none() {
        return Ok(vec![given]);
    }
    let quick = quantize::Options {
        scales: if args.scales.is_none() { Scales::Tensor } else { given.scales },
        rounding: if args.rounding.is_none() { Rounding::Nearest } else { given.rounding },
        stream: if args.stream.is_none() { Stream::Narrow } else { given.stream },
        ..given
    };
    let others = [Method::CrossValidated, Method::Mse, Method::MinMax, Method::Percentile(99.99)].map(|method| quantize::Options { method, ..given });
    let mut all = Vec::new();
    let wide = quantize::Options { stream: if args.stream.is_none() { Stream::Wide } else { given.stream }, ..given };
    [quick, given].into_iter().chain(others).chain([wide]).for_each(|o| {
        if !all.contains(&o) {
            all.push(o)
        }
    });
    Ok(all)
}

/// What each part of the quantizer brings, measured on pictures held out.
fn brought(args: &ConvertArgs, preprocess: &Preprocess, options: quantize::Options, calibration: &Calibration, output: Output) -> Result<Brought> {
    let explained = with_progress(output, |progress| convert::explain(&args.onnx, preprocess, options, calibration, progress));
    let (rungs, pictures) = explained.map_err(|e| in_file(&args.onnx, e))?;
    Ok(Brought { pictures, ladder: rungs.iter().map(RungReport::of).collect() })
}

/// Runs a part of the conversion with a bar for each of its stages.
pub(super) fn with_progress<T>(output: Output, work: impl FnOnce(&convert::Progress<'_>) -> T) -> T {
    let bar: RefCell<Option<(Stage, Progress)>> = RefCell::new(None);
    work(&|stage, done, of| {
        let mut bar = bar.borrow_mut();
        if bar.as_ref().is_none_or(|(shown, _)| *shown != stage) {
            *bar = Some((stage, Progress::new(output, of, stage.name())));
        }
        if let Some((_, bar)) = bar.as_ref().filter(|_| done > 0) {
            bar.step();
        }
    })
}

/// The error of a conversion: with the path of the ONNX file, unless it is a picture's.
pub(super) fn in_file(onnx: &Path, error: ConvertError) -> CliError {
    if matches!(error, ConvertError::Picture { .. }) { error.into() } else { named(onnx, error) }
}

/// What was chosen with a flag, or the default.
fn chosen<T: FromStr<Err = String> + Default>(text: Option<&String>, flag: &str) -> Result<T> {
    let parse = |text: &String| text.parse().map_err(|e| CliError::usage(format!("{e}, {flag}"), format!("leave {flag} out for the default")));
    text.map(parse).transpose().map(Option::unwrap_or_default)
}

fn read_labels(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(|e| CliError::read(path, &e))?;
    Ok(text.lines().map(|l| l.trim().to_owned()).filter(|l| !l.is_empty()).collect())
}

fn open_eval(args: &ConvertArgs, data: &Path, exif: bool) -> Result<DataSet> {
    Ok(DataSet::open(data, args.truth.as_deref(), args.eval_limit, None)?.with_exif(exif))
}

/// A conversion and what it is worth.
struct Outcome {
    quantize: quantize::Options,
    converted: Converted,
    engine: Engine,
    tally: Tally,
}

impl Outcome {
    fn new(args: &ConvertArgs, calibrated: &Calibrated, options: &Options, calibration: &Calibration, output: Output) -> Result<Self> {
        let check = args.check_picture.as_deref().map(|path| Calibration::one(path, calibration.geometry)).transpose()?;
        let check = check.as_ref().map(|c| c as &dyn Pictures);
        let converted = with_progress(output, |progress| calibrated.convert(options, calibration, check, progress));
        let converted = converted.map_err(|e| in_file(&args.onnx, e))?;
        let engine = in_memory(converted.file.clone(), &args.output)?;
        Ok(Self { quantize: converted.method, converted, engine, tally: Tally::default() })
    }

    /// Agreement with the float network on the calibration pictures.
    fn on_calibration(&self, calibration: &Calibration, whole: Option<&Float>) -> Result<Tally> {
        let pool = self.engine.pool(1)?;
        let mut arena = self.engine.arena(1)?;
        let mut session = self.engine.session(&mut arena, &pool)?;
        let mut tally = Tally::default();
        for (&i, float) in self.converted.walked.iter().zip(&self.converted.float_scores) {
            let input = calibration.input(i, self.engine.model.input_shape(), self.engine.model.tensor())?;
            put(&mut session, &input);
            let scores = session.run();
            let row = tally.add(None, scores);
            match whole {
                Some(whole) => tally.add_float(row, scores, &whole.scores(calibration.set()?, &[calibration.good[i]], &[&input], 1)?.concat())?,
                None => tally.add_float(row, scores, float)?,
            };
        }
        Ok(tally)
    }

    /// Says on stderr where the time went.
    fn say_time(&self, output: Output) {
        if !output.quiet {
            let parts = self.converted.seconds.iter().map(|(stage, seconds)| format!("{} {seconds:.1} s", stage.name()));
            eprintln!("time: {}", parts.collect::<Vec<_>>().join(", "));
        }
    }

    fn report(&self, args: &ConvertArgs, seconds: f64, brought: Option<Brought>) -> Report {
        let model = &self.engine.model;
        Report {
            schema: "skipstone.convert/1",
            file: args.output.display().to_string(),
            bytes: self.converted.file.len(),
            arena_bytes: self.engine.plan.arena_bytes(1),
            layers: model.layers(),
            macs: model.macs(),
            parameters: model.parameters(),
            method: self.quantize.method.to_string(),
            scales: self.quantize.scales.to_string(),
            rounding: self.quantize.rounding.to_string(),
            bias: self.quantize.bias.to_string(),
            stream: self.quantize.stream.to_string(),
            brought,
            seconds,
            stages: self.converted.seconds.iter().map(|(stage, seconds)| (stage.name(), *seconds)).collect(),
            pictures: self.converted.pictures,
            agreement: self.tally.agreement(),
            sqnr_db: self.tally.sqnr_db(),
            measured_on: self.tally.pictures,
            float_top1: self.tally.float_top1().filter(|_| args.eval.is_some()),
            top1: self.tally.top1().filter(|_| args.eval.is_some()),
            skipped: Vec::new(),
            skip: None,
            notes: self.converted.quantized.notes.clone(),
        }
    }

    /// The error of each step on some of the pictures.
    fn layers(&self, args: &ConvertArgs, preprocess: &Preprocess, skipped: &[u32], calibration: &Calibration) -> Result<Vec<Layer>> {
        let source = Source::without(&args.onnx, preprocess, skipped)?;
        let net = source.float(&source.values())?;
        compare_layers(&self.engine, &source, &net, calibration, calibration.len().min(LAYER_PICTURES))
    }

    /// The network in a table with the error of each step, and what it is worth.
    fn text(&self, report: &Report, args: &ConvertArgs, preprocess: &Preprocess, calibration: &Calibration) -> Result<String> {
        let layers = if calibration.is_empty() { Vec::new() } else { self.layers(args, preprocess, &report.skipped, calibration)? };
        let by_name: BTreeMap<&str, &Layer> = layers.iter().map(|l| (l.name.as_str(), l)).collect();
        let mut table = Table::new(&["step", "op", "window", ">output", ">MACs", ">SQNR dB", ">alone dB"]);
        for step in self.engine.plan.steps() {
            let (shape, layer) = (Shape::of(&step.operation()), by_name.get(step.name()));
            let db = |v: Option<Option<f64>>| or_dash(v.flatten().map(|v| format!("{v:.1}")));
            table.row([
                step.name().to_owned(),
                shape.op.to_owned(),
                or_dash(shape.window.map(|w| format!("{}x{}/{}", w.kernel[0], w.kernel[1], w.stride[0]))),
                format!("{}x{}x{}", shape.output.h, shape.output.w, shape.output.c),
                thousands(step.macs()),
                db(layer.map(|l| l.sqnr_db)),
                db(layer.map(|l| l.isolated_sqnr_db)),
            ]);
        }
        let mut text = format!("{}\n", table.without_empty());
        let percent = |v: Option<f64>| or_dash(v.map(|v| format!("{v:.2} %")));
        let on = if args.eval.is_some() { "--eval" } else { "calibration" };
        if report.top1.is_some() {
            let _ = writeln!(text, "top-1         {} (float {})", percent(report.top1), percent(report.float_top1));
        }
        let sqnr = or_dash(report.sqnr_db.map(|v| format!("{v:.1} dB")));
        if report.measured_on > 0 {
            let _ =
                writeln!(text, "agreement     {} with the float network, scores {sqnr}, on {} {on} pictures", percent(report.agreement), report.measured_on);
        }
        let _ = writeln!(text, "method        {}, {} pictures, {:.1} s", self.quantize, report.pictures, report.seconds);
        if let Some(skip) = &report.skip {
            text.push_str(&skip.text());
        }
        for rung in report.brought.iter().flat_map(|b| &b.ladder) {
            let _ = writeln!(text, "brought       {:>8} dB, {:.1} % with {}", or_dash(rung.sqnr_db.map(|v| format!("{v:.1}"))), rung.agreement, rung.quantizer);
        }
        if let Some(brought) = &report.brought {
            let _ = writeln!(text, "              measured on {} pictures that this series was not fitted to", brought.pictures);
        }
        for note in &report.notes {
            let _ = writeln!(text, "note          {note}");
        }
        let (bytes, parameters, arena) = (thousands(report.bytes as u64), thousands(report.parameters), thousands(report.arena_bytes as u64));
        let _ = writeln!(text, "{}: {bytes} bytes, {parameters} parameters, arena {arena} bytes", report.file);
        Ok(text)
    }
}

/// An engine for the bytes of a file; `name` is its name in errors.
pub(super) fn in_memory(file: Vec<u8>, name: &Path) -> Result<Engine> {
    // The model lives as long as the program, as a mapped file does.
    let bytes: &'static [u8] = Box::leak(file.into_boxed_slice());
    let model =
        Model::parse(bytes).map_err(|e| CliError::input(format!("the converted file is not valid: {e}"), "this is a bug in skipstone: please report it"))?;
    Engine::of(model, &EngineArgs { isa: None, plan: Some(PlanKind::Fast), pin: None }, kernels(None)?, name)
}

/// The float network from which a file was made, without the blocks that the file lacks.
pub(super) fn source_of(onnx: &Path, engine: &Engine, net: &Path) -> Result<Source> {
    let skipped: Vec<u32> = engine.model.skipped().collect();
    let source = Source::without(onnx, &engine.model.preprocess(), &skipped).map_err(|e| named(onnx, e))?;
    if source.sha256 != engine.model.source_sha256() {
        let what = format!("{} was not made from {}: their checksums differ", net.display(), onnx.display());
        return Err(CliError::input(what, "give the ONNX file from which the .stone file was made"));
    }
    Ok(source)
}
