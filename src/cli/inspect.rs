//! `skipstone inspect`: what is in a file.

use super::args::{EngineArgs, geometry};
use super::blocks::{self, Block};
use super::engine::Engine;
use super::error::Result;
use super::map;
use super::output::{Output, Table, or_dash, thousands};
use super::profile::Shape;
use super::verify::{Broken, broken_error, broken_proofs};
use crate::format::{Model, Plan, VERSION};
use crate::kernels::Set;
use crate::picture::Resize;
use crate::quant::DataType;
use clap::Args;
use core::fmt::Write as _;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What is in a file
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  skipstone inspect net.stone\n  skipstone inspect net.stone --map\n  skipstone inspect net.stone --blocks")]
pub struct InspectArgs {
    /// The network
    net: PathBuf,
    /// Draw which step uses which part of the arena
    #[arg(long)]
    map: bool,
    /// Residual block by residual block: kind, channels, stride, shortcut, parameters, MACs, arena (with their times: profile --blocks)
    #[arg(long)]
    blocks: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

#[derive(Serialize)]
struct Report {
    schema: &'static str,
    network: String,
    input: Tensor,
    outputs: Vec<Tensor>,
    classes: u32,
    labels: bool,
    layers: u32,
    macs: u64,
    parameters: u64,
    file_bytes: usize,
    weight_bytes: usize,
    /// By plan and kernel set, at one thread.
    arena_bytes: BTreeMap<&'static str, BTreeMap<&'static str, usize>>,
    /// By plan: what the tensors of the most demanding step need.
    lower_bound_bytes: BTreeMap<&'static str, usize>,
    steps: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocks: Option<Vec<Block>>,
    /// Residual blocks of the source that were left out, by their numbers there.
    skipped: Vec<u32>,
    /// Nothing where the input is no picture.
    preprocess: Option<Preprocess>,
    source_sha256: String,
    calibration_pictures: u32,
    method: String,
    converter: String,
    /// Of the file format.
    version: u32,
    broken_proofs: Vec<Broken>,
}

#[derive(Serialize)]
struct Tensor {
    name: String,
    shape: [u32; 3],
    r#type: &'static str,
    scale: f32,
    /// Of the ONNX input behind its batch, where it is no picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<Vec<u32>>,
}

#[derive(Serialize)]
struct Preprocess {
    /// `network`: to the input's size; a number: the shorter side; `none`.
    resize: String,
    crop: Option<[u32; 2]>,
    colours: &'static str,
    scale: f32,
    mean: Vec<f32>,
    std: Vec<f32>,
}

/// Runs the command.
///
/// # Errors
/// If the file cannot be used; with exit code 1 if it breaks its promises.
pub fn run(args: &InspectArgs, output: Output) -> Result {
    let engine = Engine::open(&args.net, &args.engine)?;
    let (model, plan) = (engine.model, engine.plan);
    let broken: Vec<_> = model.plans().flat_map(|p| broken_proofs(&p)).collect();
    let report = Report { blocks: args.blocks.then(|| blocks::of(&plan)), ..report(&model, &plan, broken) };
    output.show(&report, || {
        let mut text = text(&report, &plan);
        if args.map {
            text.push_str(&map::draw(&plan));
        }
        text
    })?;
    report.broken_proofs.first().map_or(Ok(()), |broken| Err(broken_error(&args.net, broken)))
}

fn report(model: &Model<'_>, plan: &Plan<'_>, broken_proofs: Vec<Broken>) -> Report {
    let tensor = |record: crate::format::TensorRecord<'_>| {
        let view = record.view();
        Tensor { name: record.name().to_owned(), shape: [view.h, view.w, view.c], r#type: type_name(view.kind), scale: record.scale(0), dimensions: None }
    };
    let arenas = |plan: &Plan<'_>| Set::ALL.iter().map(|s| (s.name(), plan.arena_bytes(1))).collect();
    Report {
        schema: "skipstone.inspect/1",
        network: model.name().to_owned(),
        input: match model.tensor() {
            None => tensor(plan.input()),
            Some(layout) => Tensor { scale: layout.scale, dimensions: Some(layout.dimensions().to_vec()), ..tensor(plan.input()) },
        },
        outputs: vec![tensor(plan.output())],
        classes: model.classes(),
        labels: model.label(0).is_some(),
        layers: model.layers(),
        macs: model.macs(),
        parameters: model.parameters(),
        file_bytes: model.bytes().len(),
        weight_bytes: model.weight_bytes(),
        arena_bytes: model.plans().map(|p| (p.kind().name(), arenas(&p))).collect(),
        lower_bound_bytes: model.plans().map(|p| (p.kind().name(), map::lower_bound(&p))).collect(),
        steps: plan.len(),
        blocks: None,
        skipped: model.skipped().collect(),
        preprocess: model.tensor().is_none().then(|| preprocess(model)),
        source_sha256: model.source_sha256().iter().map(|b| format!("{b:02x}")).collect(),
        calibration_pictures: model.calibration_pictures(),
        method: model.method().to_owned(),
        converter: model.converter().to_owned(),
        version: VERSION,
        broken_proofs,
    }
}

fn preprocess(model: &Model<'_>) -> Preprocess {
    let (kept, channels) = (model.preprocess(), model.input_shape()[2].min(4) as usize);
    let geometry = geometry(model);
    Preprocess {
        resize: match geometry.resize {
            Resize::None => "none".into(),
            Resize::Network => "network".into(),
            Resize::Shorter(n) => n.to_string(),
        },
        crop: geometry.crop,
        colours: if channels == 1 {
            "grey"
        } else if geometry.bgr {
            "bgr"
        } else {
            "rgb"
        },
        scale: kept.scale,
        mean: kept.mean[..channels].to_vec(),
        std: kept.deviation[..channels].to_vec(),
    }
}

const fn type_name(kind: DataType) -> &'static str {
    match kind {
        DataType::U8 => "u8",
        DataType::S8 => "s8",
        DataType::S16 => "s16",
        DataType::I32 => "i32",
    }
}

/// What the column `proofs` says.
const PROOFS: &str = "\
proofs of a step's weights, which `verify` makes again; kernels may rest on them
  pair_safe  sums of two products, of a byte and a weight each, stay within 16 bits
  winograd4  the sum of all products stays below 2^25, so that a transform for 3x3 windows (Winograd's F(4x4, 3x3)) gives the same bits
";

fn text(report: &Report, plan: &Plan<'_>) -> String {
    let [h, w, c] = report.input.shape;
    let mut text = String::new();
    let mut put = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<13} {value}");
    };
    put("network", report.network.clone());
    put(
        "input",
        match &report.input.dimensions {
            None => format!("{w}x{h}x{c} {}", report.input.r#type),
            Some(of) => format!("{of:?} as in the ONNX, f32 or i8; kept as {w}x{h}x{c} {}, one step is {}", report.input.r#type, report.input.scale),
        },
    );
    put("classes", format!("{}{}", report.classes, if report.labels { " with labels" } else { "" }));
    put("layers", format!("{}, {} parameters, {} MACs", report.layers, thousands(report.parameters), thousands(report.macs)));
    put(
        "file",
        format!("{} bytes, {} of them weights; format version {}", thousands(report.file_bytes as u64), thousands(report.weight_bytes as u64), report.version),
    );
    for (plan, sets) in &report.arena_bytes {
        let (bytes, bound) = (sets.values().max().copied().unwrap_or(0), report.lower_bound_bytes.get(plan).copied().unwrap_or(0));
        put("arena", format!("plan {plan}: {} bytes at one thread; its tensors need {} at least", thousands(bytes as u64), thousands(bound as u64)));
    }
    if let Some(p) = &report.preprocess {
        let crop = or_dash(p.crop.map(|[h, w]| format!("{w}x{h}")));
        put("preprocess", format!("resize {}, crop {crop}, {}; (byte / {} - {:?}) / {:?}", p.resize, p.colours, p.scale, p.mean, p.std));
    }
    put("made by", format!("{}, {} pictures, method {}", report.converter, report.calibration_pictures, report.method));
    put("from", format!("ONNX with SHA-256 {}", report.source_sha256));
    if !report.skipped.is_empty() {
        put("left out", format!("residual blocks {:?} of the source", report.skipped));
    }
    if let Some(blocks) = &report.blocks {
        let _ = write!(text, "\nplan {}\n{}", plan.kind().name(), blocks::table(blocks));
        return text;
    }
    let mut table = Table::new(&["step", "op", "window", ">in", ">out", ">MACs", ">block", "proofs"]);
    for step in plan.steps() {
        let shape = Shape::of(&step);
        let window = shape.window.map(|w| format!("{}x{}/{}", w.kernel[0], w.kernel[1], w.stride[0]));
        let size = |v: &crate::shape::View| format!("{}x{}x{} {}", v.h, v.w, v.c, type_name(v.kind));
        let pair_safe = matches!(step.operation(), crate::format::Operation::Conv(conv) if conv.pair_safe);
        let flags: Vec<_> = [(step.winograd4(), "winograd4"), (pair_safe, "pair_safe")].iter().filter(|f| f.0).map(|f| f.1).collect();
        table.row([
            step.name().to_owned(),
            shape.op.to_owned(),
            or_dash(window),
            size(&shape.input),
            size(&shape.output),
            thousands(step.macs()),
            or_dash(step.block().map(|b| b.to_string())),
            flags.join(" "),
        ]);
    }
    let _ = write!(text, "\nplan {}\n{table}\n{PROOFS}", plan.kind().name());
    text
}
