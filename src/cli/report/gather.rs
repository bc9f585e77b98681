//! Measures what the page shows.

use super::distribution::{self, Distribution};
use super::{ReportArgs, page};
use crate::cli::args::ChoiceArgs;
use crate::cli::blocks::{self, Block};
use crate::cli::converted::RungReport;
use crate::cli::converter::{Calibration, fed, float, in_file, source_of, with_progress};
use crate::cli::dataset::DataSet;
use crate::cli::engine::{Engine, Preparer, input_bytes, load};
use crate::cli::ensemble::{self, Costs, Ensemble, Inputs};
use crate::cli::error::{CliError, Result};
use crate::cli::eval::{Job, Tally};
use crate::cli::foreign::Foreign;
use crate::cli::host::{Host, Watch};
use crate::cli::layers::{Comparison, Layer, shown};
use crate::cli::output::Output;
use crate::cli::peak::Peak;
use crate::cli::profile::{self, Step};
use crate::cli::progress::Progress;
use crate::cli::staged::Staged;
use crate::cli::{energy, output};
use crate::convert::Source;
use crate::convert::choices::Options;
use crate::convert::explain::{Rung, climb};
use crate::picture::Geometry;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Pictures on which layers are compared and values are counted.
const LAYER_PICTURES: usize = 16;

/// What was measured.
pub(super) struct Measured {
    pub title: String,
    pub engine: Engine,
    pub host: Host,
    /// Pictures on which accuracy and energy were measured.
    pub pictures: usize,
    pub tally: Tally,
    pub layer_pictures: usize,
    pub layers: Vec<Layer>,
    pub distributions: Vec<Distribution>,
    pub passes: usize,
    pub steps: Vec<Step>,
    pub peak: Peak,
    pub blocks: Vec<Block>,
    pub ensemble: Option<Ensemble>,
    /// From the plainest quantizer to the default one; none without pictures to calibrate with.
    pub rungs: Vec<Rung>,
}

#[derive(Serialize)]
struct Report {
    schema: &'static str,
    file: String,
    bytes: usize,
    pictures: usize,
    seconds: f64,
    agreement: Option<f64>,
    sqnr_db: Option<f64>,
    float_top1: Option<f64>,
    top1: Option<f64>,
    ms: f64,
    layers: Vec<Layer>,
    blocks: Vec<Block>,
    /// What it would cost to leave out residual blocks.
    ensemble: Option<Ensemble>,
    /// What each part of the quantizer brings, with `--calib`.
    ladder: Vec<RungReport>,
}

/// Runs the command.
pub(in crate::cli) fn report(args: &ReportArgs, output: Output) -> Result {
    let start = Instant::now();
    let data = PathBuf::from(format!("{}.data", args.onnx.display()));
    let staged = Staged::create(&args.output, &[&args.onnx, &data, &args.net, &args.data.data])?;
    Foreign::unless_onnx(&args.onnx)?;
    let engine = Engine::open(&args.net, &args.engine)?;
    let set = args.data.open(&engine.model)?;
    let source = source_of(&args.onnx, &engine, &args.net)?;
    let measured = measure(args, engine, &set, &source, output)?;
    let html = page::html(&measured);
    staged.finish(html.as_bytes())?;
    let tally = &measured.tally;
    let report = Report {
        schema: "skipstone.report/1",
        file: args.output.display().to_string(),
        bytes: html.len(),
        pictures: measured.pictures,
        seconds: start.elapsed().as_secs_f64(),
        agreement: tally.agreement(),
        sqnr_db: tally.sqnr_db(),
        float_top1: tally.float_top1(),
        top1: tally.top1(),
        ms: measured.steps.iter().map(|s| s.ms).sum(),
        layers: measured.layers,
        blocks: measured.blocks,
        ensemble: measured.ensemble,
        ladder: measured.rungs.iter().map(RungReport::of).collect(),
    };
    output
        .show(&report, || format!("{}: {} bytes, {} pictures, {:.1} s\n", report.file, output::thousands(report.bytes as u64), report.pictures, report.seconds))
}

fn measure(args: &ReportArgs, engine: Engine, set: &DataSet, source: &Source, output: Output) -> Result<Measured> {
    let (geometry, skip_bad, threads) = (args.data.geometry.of(&engine.model)?, args.data.choice.skip_bad, args.threads.threads);
    let watch = Watch::new(&engine.cores).warn();
    let (passes, times) = profile::measure(&engine, None, 1)?;
    let host = watch.end();
    let (steps, peak) = profile::steps(&engine, &times, 1);
    let whole = float(&args.onnx, &engine.model.preprocess())?;
    let tally = Job { engine: &engine, set, geometry, skip_bad, threads, output }.measure(Some(&whole), |_, _, _| Ok(()))?;
    if tally.pictures == 0 {
        return Err(CliError::input(format!("no picture of {} could be read", args.data.data.display()), "leave out --skip-bad to see why"));
    }
    let (layer_pictures, layers, distributions) = by_layer(&engine, set, source, geometry, skip_bad, output)?;
    let mut found = blocks::of(&engine.plan);
    blocks::time(&mut found, &times);
    let pictures = energy::measure(&engine, &mut found, set, geometry, skip_bad, output)?;
    let ensemble = if args.quick || source.bypasses.is_empty() || engine.model.skipped().next().is_some() {
        None
    } else {
        let inputs = Inputs::of_set(set, &engine, geometry, skip_bad)?;
        let order = ensemble::order(source, &inputs, threads, output)?;
        Some(ensemble::curve(source, &inputs, &order, &Costs::of(&engine, &times), threads, output)?)
    };
    let rungs = args.calib.as_ref().map_or_else(|| Ok(Vec::new()), |calib| rungs(args, &engine, calib, geometry, output))?;
    let title = args.net.file_stem().map_or_else(|| engine.model.name().to_owned(), |s| s.to_string_lossy().into_owned());
    Ok(Measured { title, engine, host, pictures, tally, layer_pictures, layers, distributions, passes, steps, peak, blocks: found, ensemble, rungs })
}

/// What each part of the quantizer brings: fitted to the pictures of `calib`, measured on those of the page.
fn rungs(args: &ReportArgs, engine: &Engine, calib: &Path, geometry: Geometry, output: Output) -> Result<Vec<Rung>> {
    let choice = args.data.choice;
    let seen = Calibration::open(calib, &ChoiceArgs { limit: None, shard: None, ..choice }, geometry)?;
    let unseen = Calibration::open(&args.data.data, &choice, geometry)?;
    seen.some(calib)?;
    let options = Options { threads: args.threads.threads, ..Options::default() };
    let climbed = with_progress(output, |progress| climb(&args.onnx, &engine.model.preprocess(), options, [&seen, &unseen], progress));
    climbed.map_err(|e| in_file(&args.onnx, e))
}

/// Errors and distributions by layer, on some pictures, evenly spaced.
fn by_layer(
    engine: &Engine,
    set: &DataSet,
    source: &Source,
    geometry: Geometry,
    skip_bad: bool,
    output: Output,
) -> Result<(usize, Vec<Layer>, Vec<Distribution>)> {
    let net = source.float(&source.values())?;
    let pool = engine.pool(1)?;
    let mut arena = engine.arena(1)?;
    let mut session = engine.session(&mut arena, &pool)?;
    let (mut comparison, mut distributions) = (Comparison::new(engine, source), distribution::of(engine, source));
    let mut preparer = Preparer::new(&engine.model, geometry);
    let mut input = vec![0; input_bytes(&engine.model)];
    let n = set.len().min(LAYER_PICTURES);
    let progress = Progress::new(output, n, "pictures");
    let mut seen = 0;
    for i in (0..n).map(|i| i * set.len() / n) {
        progress.step();
        if load(set, i, skip_bad, &mut preparer, &mut input)? {
            let mut values = net.run(&fed(source, set, i, &input)?)?;
            shown(source, &mut values);
            distributions.iter_mut().for_each(|d| d.add(&values));
            comparison.add(&mut session, &input, &values);
            seen += 1;
        }
    }
    Ok((seen, comparison.layers(), distributions))
}
