//! Runs a network once with a mark after each step, for the counting plugin `instructions.c`; `instructions.py` builds and runs both and prints the tables.
//!
//! `instructions FILE [SET]` writes one JSON line a step: name, kind, shape and multiply-accumulates. The file `groups` stands for layers with and without groups,
//! `streams` for layers in residual streams of 8 and of 16 bits, and for functions.

use skipstone::format::{Operation, StepRecord};
use skipstone::kernels::AddRow;
use skipstone::ops::conv::{Conv, Second};
use skipstone::ops::table::{Table, table_bytes};
use skipstone::pack::{LANES, Narrow, params};
use skipstone::quant::DataType;
use skipstone::shape::{View, Window};
use skipstone::{Kernels, Model, PlanKind, Session, Set, os};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).filter(|a| a != "--bench");
    let Some(file) = arguments.next() else {
        eprintln!("instructions: left out, it needs a .stone file and the emulator: see instructions.py");
        return ExitCode::SUCCESS;
    };
    match count(&file, arguments.next().as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

fn count(file: &str, set: Option<&str>) -> Result<(), Box<dyn core::error::Error>> {
    let kernels = match set {
        Some(name) => Set::from_name(name).and_then(Kernels::for_set).ok_or("this CPU lacks the set")?,
        None => Kernels::detect(),
    };
    let shapes = match file {
        "groups" => Some(groups()),
        "streams" => Some(streams()),
        _ => None,
    };
    if let Some(shapes) = shapes {
        let mut lines = layers(kernels, &shapes);
        if file == "streams" {
            lines.extend(additions(kernels));
            lines.extend(tables(kernels));
        }
        for ((kind, depth, weights), view) in lines {
            let words = |kind: &str, weights| line("", kernels.set(), (kind.to_owned(), depth, weights), &view);
            println!("{}\n{}", words("not counted", 0), words(&kind, weights));
        }
        return Ok(());
    }
    let model = Model::open(file.as_ref())?;
    let plan = model.plan(PlanKind::Fast).ok_or("no plan `fast`")?;
    let mut arena = os::buffer(plan.arena_bytes(1))?;
    let mut session = Session::new(&model, kernels, PlanKind::Fast, &mut arena)?;
    model.check_input(session.input());
    session.run();
    model.check_input(session.input());
    mark();
    session.run_with(|_, _| mark());
    for step in plan.steps() {
        println!("{}", describe(&step, kernels.set()));
    }
    Ok(())
}

/// A square convolution, as many channels out as in.
struct Layer {
    kernel: u32,
    stride: u32,
    channels: u32,
    /// Height and width of the output.
    size: u32,
    narrow: Option<Narrow>,
    /// Type of the output.
    kind: DataType,
    /// True if a skip of the same type is added.
    skip: bool,
}

/// Without groups, and in narrow ones.
const GROUPS: [Option<Narrow>; 3] = [None, Some(Narrow::Eight), Some(Narrow::Four)];

/// Layers as they are in networks, and the same in groups of 8 and of 4 channels.
fn groups() -> Vec<Layer> {
    let shapes = [(1, 64, 28), (1, 128, 14), (1, 256, 7), (2, 128, 14)];
    let each = |(stride, channels, size)| GROUPS.map(|narrow| Layer { kernel: 3, stride, channels, size, narrow, kind: DataType::U8, skip: false });
    shapes.into_iter().flat_map(each).collect()
}

/// Layers that add a stream of 8 and of 16 bits, and layers in groups that make such.
fn streams() -> Vec<Layer> {
    let kinds = [DataType::U8, DataType::S16];
    let added = |(kernel, channels, size)| kinds.map(|kind| Layer { kernel, stride: 1, channels, size, narrow: None, kind, skip: true });
    let made = |narrow| kinds.map(|kind| Layer { kernel: 3, stride: 1, channels: 128, size: 14, narrow, kind, skip: false });
    [(3, 16, 32), (3, 64, 28), (1, 64, 28)].into_iter().flat_map(added).chain(GROUPS.into_iter().flat_map(made)).collect()
}

/// Runs each layer twice, with a mark after each run.
fn layers(kernels: Kernels, layers: &[Layer]) -> Vec<((String, u32, u32), View)> {
    let mut lines = Vec::new();
    mark();
    for &Layer { kernel, stride, channels, size, narrow, kind, skip } in layers {
        let window = Window { kernel: [kernel; 2], stride: [stride; 2], dilation: [1; 2], pads: [kernel / 2; 4] };
        let input = View::packed(size * stride, size * stride, channels, DataType::U8, 0);
        let output = View::packed(size, size, channels, kind, 0);
        let second = if skip { Second::Skip { view: output, stride: [1; 2], front: 0 } } else { Second::None };
        let (groups, padding, block_rows) = (narrow.map_or(1, |n| channels as usize / n.channels()), &[][..], 4);
        let empty = Conv { window, groups, narrow, input, output, weights: &[], params: &[], padding, second, pair_safe: true, block_rows };
        let [panels, lines_of_weights] = empty.size();
        let (weights, rows) = (vec![1; lines_of_weights * 64], vec![0; panels * params::rows(skip, false) * 64]);
        let conv = Conv { weights: &weights, params: &rows, ..empty };
        let (x, skip, mut out, mut scratch) = (vec![7; input.bytes()], vec![7; output.bytes()], vec![0; output.bytes()], vec![0; conv.scratch()]);
        for _ in 0..2 {
            conv.run(kernels, &x, &skip, &mut out, 0..conv.units().count, &mut scratch);
            mark();
        }
        lines.push((step(&conv), output));
    }
    lines
}

/// The same for the addition of a stream and for its reading.
fn additions(kernels: Kernels) -> Vec<((String, u32, u32), View)> {
    let (view, mut lines) = (View::packed(28, 28, 64, DataType::U8, 0), Vec::new());
    let (pixels, channels) = (view.pixels(), view.c as usize);
    for (kinds, kind, two) in [
        ([DataType::U8; 2], DataType::U8, true),
        ([DataType::S8, DataType::S16], DataType::S16, true),
        ([DataType::U8; 2], DataType::U8, false),
        ([DataType::S16; 2], DataType::U8, false),
    ] {
        let [x, y] = kinds.map(|kind| vec![7; pixels * channels * kind.bytes()]);
        let mut rows = vec![[0; 64]; channels / LANES * params::ADD_ROWS];
        if two {
            rows.iter_mut().skip(params::K2).step_by(params::ADD_ROWS).for_each(|line| line.as_chunks_mut().0.fill(1i32.to_le_bytes()));
        }
        let mut out = vec![0; pixels * channels * kind.bytes()];
        for _ in 0..2 {
            let [x_step, y_step, step] = [kinds[0], kinds[1], kind].map(|kind| channels * kind.bytes());
            kernels.add(&mut AddRow { x: (&x, x_step), y: (&y, y_step), kinds, params: &rows, p: 0, out: (&mut out, step), pixels, channels, kind });
            mark();
        }
        let name = if two { format!("add {:?} and {:?} to {kind:?}", kinds[0], kinds[1]) } else { format!("read {:?} as {kind:?}", kinds[0]) };
        lines.push(((name, 0, 0), view));
    }
    lines
}

/// The same for functions: of bytes, and of S16.
fn tables(kernels: Kernels) -> Vec<((String, u32, u32), View)> {
    let kinds = [[DataType::U8; 2], [DataType::S16, DataType::U8], [DataType::S16; 2]];
    let mut lines = Vec::new();
    for [from, to] in kinds {
        let [input, output] = [from, to].map(|kind| View::packed(28, 28, 64, kind, 0));
        let points = vec![0; table_bytes(from)];
        let (function, x, mut out) = (Table { input, output, table: &points }, vec![7; input.bytes()], vec![0; output.bytes()]);
        for _ in 0..2 {
            function.run(kernels, &x, &mut out, 0..function.units().count);
            mark();
        }
        lines.push(((format!("table of {from:?} to {to:?}"), 0, 0), output));
    }
    lines
}

/// Kind, input channels and weights of a convolution.
fn step(conv: &Conv<'_>) -> (String, u32, u32) {
    if conv.output.pixels() == 1 {
        return ("dense".to_owned(), conv.input.c, conv.output.c * conv.input.c);
    }
    let [kh, kw] = conv.window.kernel;
    let (second, more) = match &conv.second {
        Second::None if conv.output.kind == DataType::S16 => (" to S16", 0),
        Second::None => ("", 0),
        Second::Skip { view, .. } if view.kind == DataType::S16 => (" + skip of S16", 0),
        Second::Skip { .. } => (" + skip", 0),
        Second::Projection { view, window, .. } => (" + projection", window.kernel[0] * window.kernel[1] * view.c),
    };
    let depth = conv.input.c / u32::try_from(conv.groups).unwrap_or(1);
    let groups = conv.narrow.map_or_else(String::new, |n| format!(" groups of {}", n.channels()));
    let stem = if conv.input.c <= 4 { "stem " } else { "" };
    (format!("{stem}{kh}x{kw}/{}{second}{groups}", conv.window.stride[0]), conv.input.c, conv.output.c * (kh * kw * depth + more))
}

fn describe(record: &StepRecord<'_>, set: Set) -> String {
    let what = match record.operation() {
        Operation::Conv(conv) => step(&conv),
        Operation::Pool(_) => ("pool".to_owned(), 0, 0),
        Operation::Add(_) => ("add".to_owned(), 0, 0),
        Operation::Gate(_) => ("gate".to_owned(), 0, 0),
        Operation::Table(_) => ("table".to_owned(), 0, 0),
        Operation::Mirror(_) => ("mirror".to_owned(), 0, 0),
    };
    line(record.name(), set, what, &record.operation().output())
}

fn line(name: &str, set: Set, (kind, depth, weights): (String, u32, u32), view: &View) -> String {
    let macs = u64::from(weights) * view.pixels() as u64;
    let View { h, w, c, .. } = view;
    format!(r#"{{"name": "{name}", "set": "{set}", "kind": "{kind}", "ic": {depth}, "h": {h}, "w": {w}, "c": {c}, "macs": {macs}}}"#)
}

/// An instruction without effect that the plugin knows.
#[cfg_attr(any(target_arch = "aarch64", target_arch = "arm"), expect(unsafe_code, reason = "an instruction without effect"))]
fn mark() {
    // SAFETY: it does nothing.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        core::arch::asm!("hint #127", options(nostack, preserves_flags));
    }
    // SAFETY: it does nothing.
    #[cfg(target_arch = "arm")]
    unsafe {
        core::arch::asm!("mov r11, r11", options(nostack, preserves_flags));
    }
}
