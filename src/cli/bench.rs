//! `skipstone bench`: how long a run takes, on what, and whether that has changed.

use super::args::{EngineArgs, threads};
use super::baseline::{self, Baseline};
use super::engine::{Engine, Preparer, input_bytes, put};
use super::error::{CliError, Result};
use super::host::Host;
use super::output::{Output, Table, ms, or_dash, print, thousands};
use super::peak;
use crate::count;
use crate::os;
use crate::picture::{Format, Geometry, Picture, Resize};
use crate::session::Session;
use clap::Args;
use core::fmt::Write as _;
use core::time::Duration;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;

/// Runs are at most this many: their times are kept.
const MAX_RUNS: usize = 1 << 22;
/// The warm-up that looks for a stable time takes at most this long.
const WARM_UP: Duration = Duration::from_secs(1);

/// Latency with percentiles
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  skipstone bench net.stone\n  skipstone bench net.stone --threads 1,2,4 --time 10 --pin 0-3\n  \
                        skipstone bench net.stone --json > before.json\n  skipstone bench net.stone --baseline before.json --fail-over 5\n\n\
                        Timed is the run with the input in place. gmac_per_s and percent_of_peak are those of the median run.")]
pub struct BenchArgs {
    /// The network
    net: PathBuf,
    /// Runs to measure
    #[arg(long, value_name = "N", conflicts_with = "time", value_parser = clap::value_parser!(u32).range(1..))]
    runs: Option<u32>,
    /// Seconds to measure (default: 3)
    #[arg(long, value_name = "S", value_parser = seconds)]
    time: Option<f64>,
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
    min_ms: f64,
    /// The median.
    pub p50_ms: f64,
    p90_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    max_ms: f64,
    mean_ms: f64,
    fill_ms: f64,
    /// The picture from which the input was filled, width by height.
    fill_from: String,
    runs: usize,
    warmup: usize,
    /// Threads that ran.
    pub threads: usize,
    isa: &'static str,
    plan: &'static str,
    macs: u64,
    gmac_per_s: f64,
    peak_gmac_per_s: f64,
    percent_of_peak: f64,
    arena_bytes: usize,
    weight_bytes: usize,
    rss_peak_bytes: Option<u64>,
    allocations: u64,
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
    for &threads in &args.threads {
        let mut measured = measure(&engine, args, threads)?;
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

fn measure(engine: &Engine, args: &BenchArgs, threads: usize) -> Result<Measured> {
    let before = os::host::Host::read();
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
    let time = Duration::from_secs_f64(args.time.unwrap_or(3.0));
    let capacity = args.runs.map_or_else(|| expected_runs(time, fastest), |n| n as usize).min(MAX_RUNS);
    let mut times = Vec::with_capacity(capacity);
    let allocations = count::allocations();
    timer.measure(&mut times, args.runs.is_none().then_some(time));
    let allocations = count::allocations() - allocations;
    let rss_peak_bytes = os::peak_memory();
    times.sort_unstable();
    let host = Host::since(&before);
    let peak_gmac_per_s = peak::of(engine.kernels).gmac_per_s * threads.min(host.cores()) as f64;
    let at = |thousandths| millis(percentile(&times, thousandths));
    let gmac_per_s = engine.model.macs() as f64 / at(500) / 1e6;
    Ok(Measured {
        min_ms: at(0),
        p50_ms: at(500),
        p90_ms: at(900),
        p95_ms: at(950),
        p99_ms: at(990),
        p999_ms: at(999),
        max_ms: at(1000),
        mean_ms: times.iter().map(|&t| millis(t)).sum::<f64>() / times.len() as f64,
        fill_ms,
        fill_from,
        runs: times.len(),
        warmup,
        threads,
        isa: engine.kernels.set().name(),
        plan: engine.plan.kind().name(),
        macs: engine.model.macs(),
        gmac_per_s,
        peak_gmac_per_s,
        percent_of_peak: 100.0 * gmac_per_s / peak_gmac_per_s,
        arena_bytes: engine.plan.arena_bytes(threads),
        weight_bytes: engine.model.weight_bytes(),
        rss_peak_bytes,
        allocations,
        baseline: None,
        host,
    })
}

/// How many runs fit into a time, with room for faster ones than were seen.
fn expected_runs(time: Duration, fastest: Duration) -> usize {
    let runs = time.as_nanos() / fastest.as_nanos().max(1);
    usize::try_from(runs + runs / 4).unwrap_or(MAX_RUNS).saturating_add(1000)
}

fn millis(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}

/// The value at or below which so many thousandths of the sorted values lie.
fn percentile(sorted: &[u64], thousandths: usize) -> u64 {
    let rank = (thousandths * sorted.len()).div_ceil(1000);
    sorted.get(rank.max(1) - 1).copied().unwrap_or(0)
}

/// Runs a session on the same input again and again.
struct Timer<'a, 'b> {
    session: &'b mut Session<'a>,
    input: &'b [u8],
}

impl Timer<'_, '_> {
    fn once(&mut self) -> Duration {
        put(self.session, self.input);
        let start = Instant::now();
        self.session.run();
        start.elapsed()
    }

    /// A number of runs, at least one; gives it and the shortest.
    fn warm_up_by(&mut self, runs: u32) -> (usize, Duration) {
        let runs = runs.max(1) as usize;
        (runs, (0..runs).map(|_| self.once()).min().unwrap_or_default())
    }

    /// Rounds of runs until the shortest of a round has not changed by over 1 % twice; gives the number of runs and the shortest.
    fn warm_up(&mut self) -> (usize, Duration) {
        let start = Instant::now();
        let (mut runs, mut last, mut stable) = (0, self.once(), 0);
        while stable < 2 && start.elapsed() < WARM_UP {
            let round = Instant::now();
            let mut shortest = Duration::MAX;
            while round.elapsed() < Duration::from_millis(20) || shortest == Duration::MAX {
                shortest = shortest.min(self.once());
                runs += 1;
            }
            stable = if shortest.abs_diff(last) <= last / 100 { stable + 1 } else { 0 };
            last = shortest;
        }
        (runs + 1, last)
    }

    /// Fills the room that `times` has, or stops after some time, but not before 5 runs.
    fn measure(&mut self, times: &mut Vec<u64>, time: Option<Duration>) {
        let start = Instant::now();
        while times.len() < times.capacity() && (times.len() < 5 || time.is_none_or(|t| start.elapsed() < t)) {
            let once = self.once();
            times.push(u64::try_from(once.as_nanos()).unwrap_or(u64::MAX));
        }
    }
}

/// How long it takes to fill the input from a decoded picture: 640x480 where the network's preprocessing resizes to a fixed side, else of the input's own size.
fn fill_time(engine: &Engine, input: &mut [u8]) -> Result<(f64, String)> {
    let [h, w, c] = engine.model.input_shape();
    let geometry = super::args::geometry(&engine.model);
    let resizes = matches!(geometry.resize, Resize::Shorter(_));
    let (width, height) = if resizes { (640, 480) } else { (w, h) };
    let geometry = Geometry { crop: geometry.crop.filter(|_| resizes), ..geometry };
    let format = if c == 1 { Format::Gray8 } else { Format::Rgb24 };
    let bytes: Vec<u8> = (0..format.bytes(width, height)).map(|i| (i * 7 + (i >> 9)).to_le_bytes()[0]).collect();
    let picture = Picture { bytes: &bytes, width, height, format };
    let mut preparer = Preparer::new(&engine.model, geometry);
    let mut times = Vec::new();
    let start = Instant::now();
    while times.len() < 5 || times.len() < 200 && start.elapsed() < Duration::from_millis(50) {
        let start = Instant::now();
        preparer.fill(input, &picture).map_err(|e| CliError::picture("a picture to measure with", &e))?;
        times.push(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    times.sort_unstable();
    Ok((millis(percentile(&times, 500)), format!("{width}x{height}")))
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
        let times = [r.min_ms, r.p50_ms, r.p90_ms, r.p95_ms, r.p99_ms, r.p999_ms, r.max_ms, r.mean_ms].map(ms);
        let [a, b, c, d, e, f, g, h] = times;
        let rate = format!("{:.1}", r.gmac_per_s);
        let (runs, allocations) = (thousands(r.runs as u64), r.allocations.to_string());
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
        if let Some(change) = &r.baseline {
            let _ = writeln!(text, "{}", change.line());
        }
    }
    if let Some(r) = results.first() {
        let _ = writeln!(text, "filling the input from a picture of {}: {} ms", r.fill_from, ms(r.fill_ms));
        let _ = writeln!(text, "{}", r.host.line());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let times: Vec<u64> = (1..=1000).collect();
        let at = |p| percentile(&times, p);
        assert_eq!([at(0), at(500), at(900), at(990), at(999), at(1000)], [1, 500, 900, 990, 999, 1000]);
        assert_eq!((percentile(&[7], 500), percentile(&[7], 999), percentile(&[], 500)), (7, 7, 0));
    }
}
