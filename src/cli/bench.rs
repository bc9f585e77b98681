//! `skipstone bench`: how long a run takes, on what, and whether that has changed.

use super::args::{EngineArgs, threads};
use super::baseline::{self, Baseline};
use super::engine::{Engine, Preparer, input_bytes};
use super::error::{CliError, Result};
use super::host::{Binding, Host, Watch};
use super::latency::{Latency, millis, percentile};
use super::output::{Output, Table, ms, or_dash, print, thousands};
use super::peak;
use super::progress::Progress;
use super::soak::{self, Soak};
use super::timer::Timer;
use crate::count;
use crate::os;
use crate::picture::{Format, Geometry, Picture, Resize};
use crate::tensor;
use clap::Args;
use core::fmt::Write as _;
use core::time::Duration;
use serde::Serialize;
use std::io::{IsTerminal, stdout};
use std::path::PathBuf;
use std::time::Instant;

/// Runs are at most this many: their times are kept.
const MAX_RUNS: usize = 1 << 22;

/// Latency with percentiles
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  skipstone bench net.stone\n  skipstone bench net.stone --threads 1,2,4 --time 10 --pin 0-3\n  \
                        skipstone bench net.stone --threads 4 --soak 10m\n  skipstone bench net.stone --json > before.json\n  skipstone bench net.stone --baseline before.json --fail-over 5\n\n\
                        Timed is the run with the input in place. gmac_per_s and percent_of_peak are those of the median run. A sustained run is \
                        divided into 100 intervals, or intervals of a second if it is shorter; its percentiles are right to half a percent.")]
pub struct BenchArgs {
    /// The network
    net: PathBuf,
    /// Runs to measure
    #[arg(long, value_name = "N", conflicts_with = "time", value_parser = clap::value_parser!(u32).range(1..))]
    runs: Option<u32>,
    /// Seconds to measure (default: 3)
    #[arg(long, value_name = "S", value_parser = seconds)]
    time: Option<f64>,
    /// Measure a sustained run, with latency, clock and temperature over time: 30s, 10m, 1h
    #[arg(long, value_name = "DURATION", conflicts_with_all = ["runs", "time"], value_parser = soak::duration)]
    soak: Option<Duration>,
    /// Runs before the measured ones (default: until the time is stable)
    #[arg(long, value_name = "N")]
    warmup: Option<u32>,
    /// Threads, or auto for one a core; a list gives one table
    #[arg(long, value_name = "N,...", default_value = "1", value_delimiter = ',', value_parser = threads)]
    threads: Vec<usize>,
    /// An earlier `bench --json` of the same threads: exit code 1 if the median is slower by more than --fail-over
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Percent by which the median may be slower than the baseline
    #[arg(long, value_name = "PCT", default_value = "5", requires = "baseline", value_parser = baseline::percent)]
    fail_over: f64,
    #[command(flatten)]
    engine: EngineArgs,
}

fn seconds(text: &str) -> core::result::Result<f64, &'static str> {
    text.trim_end_matches('s').parse().ok().filter(|s| (0.001..=86_400.0).contains(s)).ok_or("seconds, from 0.001 to 86400")
}

#[derive(Serialize)]
struct Single<'a> {
    schema: &'static str,
    #[serde(flatten)]
    result: &'a Measured,
}

#[derive(Serialize)]
struct Several<'a> {
    schema: &'static str,
    results: &'a [Measured],
}

/// One measurement. Times are in milliseconds.
#[derive(Serialize)]
pub struct Measured {
    /// Name of the network.
    pub network: String,
    /// Percentiles.
    #[serde(flatten)]
    pub latency: Latency,
    fill_ms: f64,
    /// The picture from which the input was filled, width by height, or the values.
    fill_from: String,
    runs: u64,
    warmup: usize,
    /// Threads that ran.
    pub threads: usize,
    /// Their cores, if they are bound.
    binding: Option<Vec<Binding>>,
    isa: &'static str,
    plan: &'static str,
    /// Multiplications and additions of a run.
    pub macs: u64,
    gmac_per_s: f64,
    peak_gmac_per_s: f64,
    percent_of_peak: f64,
    arena_bytes: usize,
    weight_bytes: usize,
    rss_peak_bytes: Option<u64>,
    allocations: u64,
    #[serde(flatten)]
    soak: Option<Soak>,
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline: Option<baseline::Change>,
    host: Host,
}

/// Runs the command.
///
/// # Errors
/// If the network cannot run here; with exit code 1 if it is slower than the baseline allows.
pub fn run(args: &BenchArgs, output: Output) -> Result {
    let engine = Engine::open(&args.net, &args.engine)?;
    let baseline = args.baseline.as_deref().map(Baseline::read).transpose()?;
    let mut results = Vec::new();
    let _ = Watch::new(&engine.cores).warn();
    for &threads in &args.threads {
        let mut measured = measure(&engine, args, threads, output)?;
        measured.baseline = baseline.as_ref().map(|b| b.change(&measured, args.fail_over)).transpose()?;
        results.push(measured);
    }
    if !output.json {
        print(&text(&engine, &results))?;
    } else if let [result] = &results[..] {
        super::output::line(&Single { schema: "skipstone.bench/1", result })?;
    } else {
        super::output::line(&Several { schema: "skipstone.bench/1", results: &results })?;
    }
    results.iter().filter_map(|r| r.baseline.as_ref()).find(|c| c.exceeded()).map_or(Ok(()), |change| Err(change.error()))
}

fn measure(engine: &Engine, args: &BenchArgs, threads: usize, output: Output) -> Result<Measured> {
    engine.warn_of_turns(threads);
    let watch = Watch::new(&engine.cores);
    let binding = watch.binding(threads, &engine.cores);
    let pool = engine.pool(threads)?;
    let mut arena = engine.arena(threads)?;
    let mut session = engine.session(&mut arena, &pool)?;
    let mut input = vec![0; input_bytes(&engine.model)];
    let (fill_ms, fill_from) = fill_time(engine, &mut input)?;
    engine.model.check_input(&mut input);
    let mut timer = Timer { session: &mut session, input: &input };
    let (warmup, fastest) = match args.warmup {
        Some(n) => timer.warm_up_by(n),
        None => timer.warm_up(),
    };
    let times = match args.soak {
        Some(duration) => soak_times(&mut timer, duration, output),
        None => short_times(&mut timer, args, fastest),
    };
    let rss_peak_bytes = os::peak_memory();
    let host = watch.end();
    let peak_gmac_per_s = peak::of(engine.kernels).gmac_per_s * engine.places(threads) as f64;
    let gmac_per_s = engine.model.macs() as f64 / times.latency.p50_ms / 1e6;
    Ok(Measured {
        network: engine.model.name().to_owned(),
        latency: times.latency,
        fill_ms,
        fill_from,
        runs: times.runs,
        warmup,
        threads,
        binding,
        isa: engine.kernels.set().name(),
        plan: engine.plan.kind().name(),
        macs: engine.model.macs(),
        gmac_per_s,
        peak_gmac_per_s,
        percent_of_peak: 100.0 * gmac_per_s / peak_gmac_per_s,
        arena_bytes: engine.plan.arena_bytes(threads),
        weight_bytes: engine.model.weight_bytes(),
        rss_peak_bytes,
        allocations: times.allocations,
        soak: times.soak,
        baseline: None,
        host,
    })
}

/// What the measured runs took.
struct Times {
    latency: Latency,
    runs: u64,
    /// Memory asked for in the measured loops.
    allocations: u64,
    soak: Option<Soak>,
}

/// A number of runs or some seconds; all their times are kept.
fn short_times(timer: &mut Timer<'_, '_>, args: &BenchArgs, fastest: Duration) -> Times {
    let time = Duration::from_secs_f64(args.time.unwrap_or(3.0));
    let capacity = args.runs.map_or_else(|| expected_runs(time, fastest), |n| n as usize).min(MAX_RUNS);
    let mut times = Vec::with_capacity(capacity);
    let allocations = count::allocations();
    timer.measure(&mut times, args.runs.is_none().then_some(time));
    let allocations = count::allocations() - allocations;
    Times { latency: Latency::of(&mut times), runs: times.len() as u64, allocations, soak: None }
}

/// A sustained run; its times are counted.
fn soak_times(timer: &mut Timer<'_, '_>, duration: Duration, output: Output) -> Times {
    let progress = Progress::new(output, soak::intervals(duration) as usize, "intervals");
    let (times, soak, allocations) = soak::run(timer, duration, &progress);
    Times { latency: times.latency(), runs: times.count(), allocations, soak: Some(soak) }
}

/// How many runs fit into a time, with room for faster ones than were seen.
fn expected_runs(time: Duration, fastest: Duration) -> usize {
    let runs = time.as_nanos() / fastest.as_nanos().max(1);
    usize::try_from(runs + runs / 4).unwrap_or(MAX_RUNS).saturating_add(1000)
}

/// How long it takes to fill the input from a decoded picture: 640x480 where the network's preprocessing resizes to a fixed side, else of the input's own size;
/// where the network reads no pictures, from values in f32.
fn fill_time(engine: &Engine, input: &mut [u8]) -> Result<(f64, String)> {
    let [h, w, c] = engine.model.input_shape();
    if let Some(layout) = engine.model.tensor() {
        let values = vec![layout.scale; input.len()];
        let ms = median_fill(&mut || _ = tensor::fill(input, &values, &layout));
        return Ok((ms, format!("f32 {:?}", layout.dimensions())));
    }
    let geometry = super::args::geometry(&engine.model);
    let resizes = matches!(geometry.resize, Resize::Shorter(_));
    let (width, height) = if resizes { (640, 480) } else { (w, h) };
    let geometry = Geometry { crop: geometry.crop.filter(|_| resizes), ..geometry };
    let format = if c == 1 { Format::Gray8 } else { Format::Rgb24 };
    let bytes: Vec<u8> = (0..format.bytes(width, height)).map(|i| (i * 7 + (i >> 9)).to_le_bytes()[0]).collect();
    let picture = Picture { bytes: &bytes, width, height, format };
    let mut preparer = Preparer::new(&engine.model, geometry);
    preparer.fill(input, &picture).map_err(|e| CliError::picture("a picture to measure with", &e))?;
    let ms = median_fill(&mut || _ = preparer.fill(input, &picture));
    Ok((ms, format!("{width}x{height}")))
}

/// Milliseconds that filling takes, in the median of some.
fn median_fill(fill: &mut dyn FnMut()) -> f64 {
    let mut times = Vec::new();
    let start = Instant::now();
    while times.len() < 5 || times.len() < 200 && start.elapsed() < Duration::from_millis(50) {
        let start = Instant::now();
        fill();
        times.push(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    times.sort_unstable();
    millis(percentile(&times, 500))
}

fn text(engine: &Engine, results: &[Measured]) -> String {
    let mut table = Table::new(&[
        ">threads",
        ">min ms",
        ">p50",
        ">p90",
        ">p95",
        ">p99",
        ">p99.9",
        ">max",
        ">mean",
        ">runs",
        ">GMAC/s",
        ">% of peak",
        ">allocations",
        ">peak MiB",
    ]);
    for r in results {
        let percent = format!("{:.1}", r.percent_of_peak);
        let memory = r.rss_peak_bytes.map(|b| format!("{:.1}", b as f64 / f64::from(1 << 20)));
        let t = &r.latency;
        let times = [t.min_ms, t.p50_ms, t.p90_ms, t.p95_ms, t.p99_ms, t.p999_ms, t.max_ms, t.mean_ms].map(ms);
        let [a, b, c, d, e, f, g, h] = times;
        let rate = format!("{:.1}", r.gmac_per_s);
        let (runs, allocations) = (thousands(r.runs), r.allocations.to_string());
        table.row([r.threads.to_string(), a, b, c, d, e, f, g, h, runs, rate, percent, allocations, or_dash(memory)]);
    }
    let mut text = format!(
        "{}: {} MACs, kernels {}, plan {}, {} bytes of weights, {} of arena\n\n{table}\n",
        engine.model.name(),
        thousands(engine.model.macs()),
        engine.kernels.set(),
        engine.plan.kind().name(),
        thousands(engine.model.weight_bytes() as u64),
        thousands(engine.plan.arena_bytes(1) as u64),
    );
    for r in results {
        if let Some(soak) = &r.soak {
            let _ = writeln!(text, "{} threads over time\n\n{}", r.threads, soak.text(stdout().is_terminal()));
        }
        if let Some(change) = &r.baseline {
            let _ = writeln!(text, "{}", change.line());
        }
    }
    if let Some(r) = results.first() {
        let _ = writeln!(text, "filling the input from {}: {} ms", r.fill_from, ms(r.fill_ms));
        let _ = writeln!(text, "{}", r.host.line());
    }
    text
}
