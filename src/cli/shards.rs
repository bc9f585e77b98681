//! Statistics of pictures in files, made and added up.

use super::calibrate::CalibrateArgs;
use super::converter::{Calibration, in_file, named, with_progress};
use super::error::{CliError, Result};
use super::output::{Output, thousands};
use super::staged::Staged;
use crate::convert::calib::CalibError;
use crate::convert::graph::Input;
use crate::convert::{self, Calib, ConvertError, Pictures, Source};
use crate::picture::Geometry;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Instant;

#[derive(Serialize)]
struct Report {
    schema: &'static str,
    file: String,
    /// Pictures that were counted.
    pictures: u64,
    /// Pictures of the whole set.
    of: usize,
    /// Pictures of the set that could not be read, with `--skip-bad`.
    bad: usize,
    tensors: usize,
    bytes: usize,
    seconds: f64,
    notes: Vec<String>,
}

/// Pictures that take their turns by their numbers in the whole set.
struct Numbered<'a>(&'a Calibration);

impl Pictures for Numbered<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn number(&self, i: usize) -> usize {
        self.0.numbers()[0][i]
    }

    fn load(&self, i: usize, input: &Input) -> core::result::Result<Vec<u8>, ConvertError> {
        self.0.load(i, input)
    }
}

fn refused(path: &Path, error: &CalibError) -> CliError {
    CliError::input(format!("{}: {error}", path.display()), error.help())
}

/// Reads a file of statistics.
pub(super) fn open(path: &Path) -> Result<Calib> {
    let bytes = std::fs::read(path).map_err(|e| CliError::read(path, &e))?;
    Calib::parse(&bytes).map_err(|e| refused(path, &e))
}

/// Runs `calibrate`.
pub(super) fn calibrate(args: &CalibrateArgs, output: Output) -> Result {
    let start = Instant::now();
    let (staged, all, notes) = match (&args.onnx, &args.calib) {
        (Some(onnx), Some(data)) => {
            let (staged, all) = one(args, onnx, data, output)?;
            (staged, all, Vec::new())
        }
        _ => merged(args)?,
    };
    let bytes = all.to_bytes();
    staged.finish(&bytes)?;
    let (pictures, of, bad, tensors) = (all.counts.pictures, all.of, all.bad(), all.counts.steps.len());
    let (schema, file, seconds) = ("skipstone.calibrate/1", args.output.display().to_string(), start.elapsed().as_secs_f64());
    let report = Report { schema, file, pictures, of, bad, tensors, bytes: bytes.len(), seconds, notes };
    report.notes.iter().filter(|_| !output.quiet).for_each(|note| eprintln!("note: {note}"));
    let bad = if bad > 0 { format!(" ({bad} could not be read)") } else { String::new() };
    let size = thousands(report.bytes as u64);
    output.show(&report, || format!("{}: {pictures} of {of} pictures{bad}, {tensors} tensors, {size} bytes, {seconds:.1} s\n", report.file))
}

/// The statistics of a set or of a shard.
fn one(args: &CalibrateArgs, onnx: &Path, data: &Path, output: Output) -> Result<(Staged, Calib)> {
    let preprocess = args.preprocess.get()?;
    if preprocess.tensor.is_some() {
        return Err(CliError::usage("calibrate counts pictures only, --preprocess tensor", "convert tensors with `skipstone convert --calib`"));
    }
    let staged = Staged::create(&args.output, &[onnx, &PathBuf::from(format!("{}.data", onnx.display())), data])?;
    let pictures = Calibration::open(data, &args.choice, Geometry::from(preprocess))?;
    if args.choice.shard.is_none() {
        pictures.some(data)?;
    }
    let source = Source::open(onnx, &preprocess).map_err(|e| named(onnx, e))?;
    let counts = with_progress(output, |progress| convert::gather(&source, &Numbered(&pictures), args.threads.threads, progress));
    let counts = counts.map_err(|e| in_file(onnx, e))?;
    let [seen, bad] = pictures.numbers();
    let part = Calib::new(source.sha256, preprocess, args.choice.exif, pictures.whole(), [seen, bad], counts).map_err(|e| refused(data, &e))?;
    Ok((staged, part))
}

/// The statistics of all files together.
fn merged(args: &CalibrateArgs) -> Result<(Staged, Calib, Vec<String>)> {
    let paths: Vec<&Path> = args.merge.iter().map(PathBuf::as_path).collect();
    let staged = Staged::create(&args.output, &paths)?;
    let Some((first, others)) = paths.split_first() else {
        return Err(CliError::usage("nothing to merge, --merge", "give the files that `skipstone calibrate --shard` made"));
    };
    let mut all = open(first)?;
    for (i, path) in others.iter().enumerate() {
        let part = open(path)?;
        all.merge(&part).map_err(|error| {
            let same = |earlier: &&&Path| open(earlier).is_ok_and(|mut earlier| earlier.merge(&part) == Err(error.clone()));
            let other = paths[..=i].iter().find(same).unwrap_or(first);
            CliError::input(format!("cannot merge {} and {}: {error}", other.display(), path.display()), error.help())
        })?;
    }
    let missing = all.missing();
    let note = || format!("{missing} of the {} pictures of the set are in none of the files", all.of);
    let notes = (missing > 0).then(note).into_iter().collect();
    Ok((staged, all, notes))
}
