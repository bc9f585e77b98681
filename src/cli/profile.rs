//! `skipstone profile`: the time of every step, against the peak of this core.

use super::args::{EngineArgs, ThreadArgs};
use super::blocks::{self, Block};
use super::energy::EnergyArgs;
use super::engine::{Engine, input_bytes, put};
use super::error::Result;
use super::host::{Binding, Host, Watch};
use super::output::{Output, Table, ms, or_dash, thousands};
use super::peak::{self, Peak};
use crate::format::{Operation, StepRecord};
use crate::kernels::{Kernels, Set};
use crate::ops::conv::{Conv, Second};
use crate::ops::pool::Kind;
use crate::quant::DataType;
use crate::shape::{View, Window};
use clap::Args;
use core::time::Duration;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;

/// The time of every step
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  skipstone profile net.stone\n  skipstone profile net.stone --blocks\n  skipstone profile net.stone --energy --data pictures\n\n\
                        Each step is the minimum of many passes of the whole network, so that weights and tensors lie where they lie in a real run."
)]
pub struct ProfileArgs {
    /// The network
    net: PathBuf,
    /// Passes (default: as many as fit into 2 seconds, at least 5)
    #[arg(long, value_name = "N", value_parser = super::args::count)]
    runs: Option<usize>,
    /// Residual block by residual block
    #[arg(long)]
    blocks: bool,
    #[command(flatten)]
    energy: EnergyArgs,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    threads: ThreadArgs,
}

#[derive(Serialize)]
struct Report {
    schema: &'static str,
    isa: &'static str,
    threads: usize,
    plan: &'static str,
    /// The cores of the threads, if they are bound.
    binding: Option<Vec<Binding>>,
    passes: usize,
    /// Sum of the steps.
    ms: f64,
    peak_gmac_per_s: f64,
    steps: Vec<Step>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocks: Option<Vec<Block>>,
    /// Pictures on which the energy was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pictures: Option<usize>,
    host: Host,
}

#[derive(Serialize)]
pub(super) struct Step {
    pub name: String,
    pub op: &'static str,
    kernel: String,
    kh: Option<u32>,
    kw: Option<u32>,
    sh: u32,
    sw: u32,
    ic: u32,
    oc: u32,
    oh: u32,
    ow: u32,
    groups: usize,
    pub macs: u64,
    pub ms: f64,
    /// Share of the whole time, in percent.
    share: f64,
    gmac_per_s: Option<f64>,
    pub percent_of_peak: Option<f64>,
    bytes: usize,
    why: &'static str,
}

/// Runs the command.
///
/// # Errors
/// If the network cannot run here.
pub fn run(args: &ProfileArgs, output: Output) -> Result {
    args.energy.check()?;
    let engine = Engine::open(&args.net, &args.engine)?;
    let threads = args.threads.threads;
    let watch = Watch::new(&engine.cores).warn();
    let binding = watch.binding(threads, &engine.cores);
    let (passes, times) = measure(&engine, args.runs, threads)?;
    let host = watch.end();
    let total: f64 = times.iter().sum();
    let (steps, peak) = steps(&engine, &times, threads);
    let mut found = (args.blocks || args.energy.wanted()).then(|| blocks::of(&engine.plan));
    if let Some(blocks) = &mut found {
        blocks::time(blocks, &times);
    }
    let pictures = found.as_mut().map_or(Ok(None), |blocks| args.energy.measure(&engine, blocks, output))?;
    let report = Report {
        schema: "skipstone.profile/1",
        isa: engine.kernels.set().name(),
        threads,
        plan: engine.plan.kind().name(),
        binding,
        passes,
        ms: total,
        peak_gmac_per_s: peak.gmac_per_s,
        steps,
        blocks: found,
        pictures,
        host,
    };
    output.show(&report, || text(&report))
}

/// The steps with their times, and the peak of the cores on which they ran.
pub(super) fn steps(engine: &Engine, times: &[f64], threads: usize) -> (Vec<Step>, Peak) {
    let (peak, total) = (peak::of(engine.kernels), times.iter().sum());
    let peak = Peak { gmac_per_s: peak.gmac_per_s * engine.places(threads) as f64, ..peak };
    (engine.plan.steps().zip(times).map(|(step, &ms)| Step::new(&step, engine.kernels, ms, total, peak)).collect(), peak)
}

/// Times every step: the minimum over passes of the whole network. Gives the number of passes and the milliseconds.
pub(super) fn measure(engine: &Engine, runs: Option<usize>, threads: usize) -> Result<(usize, Vec<f64>)> {
    engine.warn_of_turns(threads);
    let pool = engine.pool(threads)?;
    let mut arena = engine.arena(threads)?;
    let mut session = engine.session(&mut arena, &pool)?;
    let mut input = vec![0; input_bytes(&engine.model)];
    engine.model.check_input(&mut input);
    let mut least = vec![Duration::MAX; engine.plan.len()];
    let (start, mut passes) = (Instant::now(), 0);
    while runs.map_or(passes < 5 || start.elapsed() < Duration::from_secs(2), |n| passes < n) {
        put(&mut session, &input);
        let mut steps = least.iter_mut();
        let mut last = Instant::now();
        session.run_with(|_, _| {
            let now = Instant::now();
            if let Some(least) = steps.next() {
                *least = (*least).min(now - last);
            }
            last = now;
        });
        passes += 1;
    }
    Ok((passes, least.iter().map(|t| t.as_secs_f64() * 1e3).collect()))
}

impl Step {
    fn new(step: &StepRecord<'_>, kernels: Kernels, ms: f64, total: f64, peak: Peak) -> Self {
        let shape = Shape::of(step);
        let macs = step.macs();
        let rate = (macs > 0 && ms > 0.0).then(|| macs as f64 / ms / 1e6);
        Self {
            name: step.name().to_owned(),
            op: shape.op,
            kernel: format!("{}::{}", kernels.set(), shape.kernel),
            kh: shape.window.filter(|_| shape.over_picture()).map(|w| w.kernel[0]),
            kw: shape.window.filter(|_| shape.over_picture()).map(|w| w.kernel[1]),
            sh: shape.window.map_or(1, |w| w.stride[0]),
            sw: shape.window.map_or(1, |w| w.stride[1]),
            ic: shape.input.c,
            oc: shape.output.c,
            oh: shape.output.h,
            ow: shape.output.w,
            groups: if let Operation::Conv(conv) = step.operation() { conv.groups } else { 1 },
            macs,
            ms,
            share: 100.0 * ms / total,
            gmac_per_s: rate,
            percent_of_peak: rate.map(|r| 100.0 * r / peak.gmac_per_s),
            bytes: shape.bytes,
            why: why(&step.operation(), kernels.set()),
        }
    }
}

/// What is shown of an operation.
pub(super) struct Shape {
    /// Its name.
    pub op: &'static str,
    kernel: &'static str,
    /// Its window, if it has one.
    pub window: Option<Window>,
    /// What it reads first.
    pub input: View,
    /// What it writes.
    pub output: View,
    /// Bytes of tensors, weights and parameters that it reads and writes.
    pub bytes: usize,
}

impl Shape {
    pub(super) fn of(step: &StepRecord<'_>) -> Self {
        let shape = Self::of_operation(&step.operation());
        if copies(step) { Self { op: "copy", window: None, ..shape } } else { shape }
    }

    fn of_operation(operation: &Operation<'_>) -> Self {
        match operation {
            Operation::Conv(conv) => {
                let second = match &conv.second {
                    Second::None => 0,
                    Second::Skip { view, .. } => view.bytes(),
                    Second::Projection { view, weights, .. } => view.bytes() + weights.len(),
                };
                let bytes = conv.input.bytes() + conv.output.bytes() + conv.weights.len() + conv.params.len() + second;
                Self { op: conv_name(conv), kernel: "conv", window: Some(conv.window), input: conv.input, output: conv.output, bytes }
            }
            Operation::Pool(pool) => {
                let op = if matches!(pool.kind, Kind::Max) { "max_pool" } else { "average_pool" };
                let bytes = pool.input.bytes() + pool.output.bytes();
                Self { op, kernel: op, window: Some(pool.window), input: pool.input, output: pool.output, bytes }
            }
            Operation::Add(add) => {
                let bytes = add.x.bytes() + add.y.map_or(0, |y| y.bytes()) + add.output.bytes() + add.params.len();
                Self { op: if add.y.is_some() { "add" } else { "affine" }, kernel: "add", window: None, input: add.x, output: add.output, bytes }
            }
            Operation::Gate(gate) => {
                let bytes = gate.x.bytes() + gate.skip.map_or(0, |view| view.bytes()) + gate.output.bytes() + gate.params.len();
                Self { op: "gate", kernel: "add", window: None, input: gate.x, output: gate.output, bytes }
            }
            Operation::Table(table) => {
                let bytes = table.input.bytes() + table.output.bytes() + table.table.len();
                Self { op: "table", kernel: "table", window: None, input: table.input, output: table.output, bytes }
            }
            Operation::Mirror(mirror) => {
                let bytes = mirror.input.bytes() + mirror.output.bytes();
                Self { op: "mirror", kernel: "mirror", window: None, input: mirror.input, output: mirror.output, bytes }
            }
        }
    }

    /// True for a convolution over more than one pixel.
    fn over_picture(&self) -> bool {
        self.op.starts_with("conv")
    }
}

/// True if a step only hands a tensor on: to another place, as the maximum over one pixel, or in bytes where it has 16 bits.
pub(super) fn copies(step: &StepRecord<'_>) -> bool {
    match step.operation() {
        Operation::Pool(pool) => matches!(pool.kind, Kind::Max) && pool.window == Window::point([1, 1]),
        Operation::Add(add) => add.y.is_none() && add.x.kind == DataType::S16 && step.name().rsplit(':').nth(1) == Some("bytes"),
        _ => false,
    }
}

fn conv_name(conv: &Conv<'_>) -> &'static str {
    if conv.input.pixels() == 1 {
        return "dense";
    }
    match conv.second {
        Second::None => "conv",
        Second::Skip { .. } => "conv+skip",
        Second::Projection { .. } => "conv+projection",
    }
}

/// Why this kernel runs.
const fn why(operation: &Operation<'_>, set: Set) -> &'static str {
    match (operation, set) {
        (Operation::Conv(conv), Set::Avx2) if conv.pair_safe => "the weights are proven exact for 16-bit pair sums",
        (Operation::Conv(_), Set::Avx2) => "16-bit pair sums might overflow: bytes are widened",
        (Operation::Conv(_), Set::Scalar) => "portable code",
        (Operation::Conv(_), Set::Neon | Set::Neon32) => "16-bit sums of two products, which always fit",
        (Operation::Conv(_), Set::I8mm) => "products of 2 x 8 by 8 x 2 bytes",
        (Operation::Conv(_), _) => "dot products of four bytes",
        (Operation::Pool(_) | Operation::Add(_) | Operation::Gate(_), _) => "one kernel for all",
        (Operation::Table(_), _) => "looked up",
        (Operation::Mirror(_), _) => "portable code",
    }
}

fn text(report: &Report) -> String {
    let table = report.blocks.as_ref().map_or_else(|| step_table(report), |found| blocks::table(found));
    let on = report.pictures.map(|n| format!("|F|/|x| on {} pictures\n", thousands(n as u64))).unwrap_or_default();
    format!(
        "{table}\n{} ms in {} steps, each the least of {} passes; peak {:.1} GMAC/s on {} threads\n{on}{}\n",
        ms(report.ms),
        report.steps.len(),
        thousands(report.passes as u64),
        report.peak_gmac_per_s,
        report.threads,
        report.host.line()
    )
}

fn step_table(report: &Report) -> String {
    let mut table = Table::new(&["step", "op", "kernel", "window", "output", ">MACs", ">ms", ">%", ">GMAC/s", ">% of peak", ">bytes", "why"]);
    for s in &report.steps {
        let window = s.kh.zip(s.kw).map(|(h, w)| format!("{h}x{w}/{}", s.sh));
        let one = |v: Option<f64>| or_dash(v.map(|v| format!("{v:.1}")));
        table.row([
            s.name.clone(),
            s.op.to_owned(),
            s.kernel.clone(),
            or_dash(window),
            format!("{}x{}x{}", s.oh, s.ow, s.oc),
            thousands(s.macs),
            ms(s.ms),
            format!("{:.1}", s.share),
            one(s.gmac_per_s),
            one(s.percent_of_peak),
            thousands(s.bytes as u64),
            s.why.to_owned(),
        ]);
    }
    table.to_string()
}
