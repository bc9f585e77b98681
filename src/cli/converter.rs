//! The commands that need the converter: `convert`, `compare`, and the float network of `eval --against`.

use super::args::{ChoiceArgs, EngineArgs, kernels};
use super::convert::ConvertArgs;
use super::converted::{Brought, Outcome, Report, RungReport};
use super::dataset::{DataError, DataSet};
use super::engine::{Engine, Preparer, load};
use super::ensemble::Skip;
use super::error::{CliError, Result};
use super::eval::Job;
use super::foreign::Foreign;
pub(super) use super::layers::compare;
use super::output::Output;
use super::progress::Progress;
pub(super) use super::report::gather::report;
use super::shards;
pub(super) use super::shards::calibrate;
use super::staged::Staged;
pub(super) use super::tour::demo;
use crate::convert::choices::{Rounding, Scales, Stream};
use crate::convert::explain::LEAST_PICTURES;
use crate::convert::float::FloatNet;
use crate::convert::graph::Input;
use crate::convert::input;
use crate::convert::quantize;
use crate::convert::range::Method;
use crate::convert::{self, Calib, Calibrated, Options, Source, Stage};
use crate::convert::{ConvertError, Pictures};
use crate::format::view::{Preprocess, TensorInput};
use crate::format::{Model, PlanKind};
use crate::picture::Geometry;
use core::cell::RefCell;
use core::str::FromStr;
use std::path::{Path, PathBuf};
use std::time::Instant;

impl From<ConvertError> for CliError {
    fn from(error: ConvertError) -> Self {
        Self::input(error.to_string(), error.help())
    }
}

/// The error of a conversion, with the path of the ONNX file.
pub(super) fn named(onnx: &Path, error: ConvertError) -> CliError {
    if let (ConvertError::Protobuf { .. } | ConvertError::File { .. }, Err(foreign)) = (&error, Foreign::unless_onnx(onnx)) {
        return foreign;
    }
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

/// The float network that a file is measured against. Another one than it was made of may be meant, such as the float original of a quantized ONNX: that is said on stderr.
pub(super) fn against(onnx: &Path, engine: &Engine, net: &Path) -> Result<Float> {
    let float = float(onnx, &engine.model.preprocess())?;
    if float.source.sha256 != engine.model.source_sha256() {
        let (onnx, net) = (onnx.display(), net.display());
        eprintln!("warning: {net} was not made from {onnx}: their checksums differ, so agreement and dB compare two networks, not one with its integers");
    }
    Ok(float)
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
    pub(super) good: Vec<usize>,
    /// The same, and those that cannot be read, in the set of which these are a shard.
    numbers: [Vec<usize>; 2],
    pub(super) geometry: Geometry,
}

impl Calibration {
    /// No picture.
    const fn none(geometry: Geometry) -> Self {
        Self { set: None, good: Vec::new(), numbers: [Vec::new(), Vec::new()], geometry }
    }

    /// One picture.
    pub(super) fn one(path: &Path, geometry: Geometry) -> Result<Self> {
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

    pub(super) fn set(&self) -> Result<&DataSet> {
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
    pub(super) fn input(&self, i: usize, shape: [u32; 3], tensor: Option<TensorInput>) -> Result<Vec<u8>> {
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
    Foreign::unless_onnx(&args.onnx)?;
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
    if args.explain && calibration.len() < LEAST_PICTURES {
        let what = format!("{} pictures are too few to hold out every fifth, --explain", calibration.len());
        return Err(CliError::input(what, format!("give {LEAST_PICTURES} at least; 100 or more tell small differences apart")));
    }
    if let Some(scale) = &mut preprocess.tensor {
        let stored = input::stored_scale(&args.onnx).map_err(|e| named(&args.onnx, e))?;
        *scale = stored.map_or_else(|| calibration.scale(rungs[0].method), Ok)?;
    }
    let exif = args.choice.exif || ranges.as_ref().is_some_and(|r| r.exif);
    let test = args.eval.as_deref().map(|data| open_eval(args, data, exif, &labels)).transpose()?;
    let whole = args.eval.is_some() || args.skip_blocks.is_some();
    let float = whole.then(|| float(&args.onnx, &preprocess)).transpose()?;
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
        // Shares of pictures are no binary fractions.
        let holds = args.max_drop.is_none_or(|most| drop <= most + 1e-9);
        if holds {
            let brought = if args.explain { Some(brought(args, &preprocess, quantize, &calibration, output)?) } else { None };
            staged.finish(&outcome.converted.file)?;
            let skip = skip.map(|skip| skip.done(&outcome.engine)).transpose()?;
            let mut report = Report { skipped, skip, ..outcome.report(args, start.elapsed().as_secs_f64(), brought) };
            outcome.say_time(output);
            report.notes.iter().filter(|_| args.ranges.is_some() && output.json && !output.quiet).for_each(|note| eprintln!("note: {note}"));
            let shown = !calibration.is_empty() && (outcome.far() || !output.json);
            let layers = if shown { outcome.layers(&calibrated.source, &calibration)? } else { Vec::new() };
            let doubt = outcome.far().then(|| outcome.doubt(args, &layers));
            report.notes.extend(doubt.clone().filter(|_| output.json));
            output.show(&report, || outcome.text(&report, args, &layers))?;
            doubt.iter().for_each(|doubt| eprintln!("warning: {doubt}"));
            return Ok(());
        }
        eprintln!("method {quantize}: top-1 drops by {drop:.2} points");
        if best.as_ref().is_none_or(|(_, least)| drop < *least) {
            best = Some((outcome, drop));
        }
    }
    let (method, drop) = best.map_or_else(Default::default, |(o, drop)| (o.quantize.to_string(), drop));
    let what = format!("top-1 drops by {drop:.2} points with the best method ({method}), {} are allowed, --max-drop", args.max_drop.unwrap_or_default());
    let help = if args.skip_blocks.is_some() {
        "leave out fewer residual blocks, --skip-blocks, or allow more: what is lost is what they did"
    } else {
        "give more calibration pictures, or allow more; `skipstone compare` shows which layer loses it"
    };
    Err(CliError::check(what, help))
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
        // A stage may be gone through twice.
        if done == 1 || bar.as_ref().is_none_or(|(shown, _)| *shown != stage) {
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

fn open_eval(args: &ConvertArgs, data: &Path, exif: bool, labels: &[String]) -> Result<DataSet> {
    Ok(DataSet::open(data, args.truth.as_deref(), args.eval_limit, None)?.with_exif(exif).with_labels(labels, labels.len()))
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
