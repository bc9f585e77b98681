//! Runs a network once with a mark after each step, for the counting plugin `instructions.c`; `instructions.py` builds and runs both and prints the tables.
//!
//! `instructions FILE [SET]` writes one JSON line a step: name, kind, shape and multiply-accumulates.

use skipstone::format::{Operation, StepRecord};
use skipstone::ops::conv::Second;
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
    let model = Model::open(file.as_ref())?;
    let plan = model.plan(PlanKind::Fast).ok_or("no plan `fast`")?;
    let kernels = match set {
        Some(name) => Set::from_name(name).and_then(Kernels::for_set).ok_or("this CPU lacks the set")?,
        None => Kernels::detect(),
    };
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

fn describe(step: &StepRecord<'_>, set: Set) -> String {
    let (kind, depth, weights) = match step.operation() {
        Operation::Conv(conv) if conv.output.pixels() == 1 => ("dense".to_owned(), conv.input.c, conv.output.c * conv.input.c),
        Operation::Conv(conv) => {
            let [kh, kw] = conv.window.kernel;
            let (second, more) = match &conv.second {
                Second::None => ("", 0),
                Second::Skip { .. } => (" + skip", 0),
                Second::Projection { view, window, .. } => (" + projection", window.kernel[0] * window.kernel[1] * view.c),
            };
            let stem = if conv.input.c <= 4 { "stem " } else { "" };
            (format!("{stem}{kh}x{kw}/{}{second}", conv.window.stride[0]), conv.input.c, conv.output.c * (kh * kw * conv.input.c + more))
        }
        Operation::Pool(_) => ("pool".to_owned(), 0, 0),
        Operation::Add(_) => ("add".to_owned(), 0, 0),
        Operation::Gate(_) => ("gate".to_owned(), 0, 0),
        Operation::Table(_) => ("table".to_owned(), 0, 0),
    };
    let view = step.operation().output();
    let macs = u64::from(weights) * view.pixels() as u64;
    let (name, h, w, c) = (step.name(), view.h, view.w, view.c);
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
