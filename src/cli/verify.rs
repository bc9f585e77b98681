//! `skipstone verify`: whether this machine computes the bits that the file promises.

use super::args::{EngineArgs, threads};
use super::engine::{Engine, input_bytes, put};
use super::error::{CliError, Result};
use super::output::{Output, hex};
use crate::format::{Plan, proof};
use crate::kernels::Kernels;
use clap::Args;
use core::fmt::Write as _;
use serde::Serialize;
use std::path::PathBuf;

/// Replays the check input and compares every step
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  skipstone verify net.stone\n  skipstone verify net.stone --isa all")]
pub struct VerifyArgs {
    /// The network
    net: PathBuf,
    /// Threads, or auto for one a core (default: 1; with --isa all 1, 2 and 4)
    #[arg(long, value_name = "N", value_parser = threads)]
    threads: Option<usize>,
    /// What replays it.
    #[command(flatten)]
    engine: EngineArgs,
}

#[derive(Serialize)]
struct Report {
    schema: &'static str,
    ok: bool,
    /// Steps of the plans that were replayed.
    steps: usize,
    isa: Vec<&'static str>,
    threads: Vec<usize>,
    plans: Vec<&'static str>,
    first_difference: Option<Difference>,
    /// Promises of the file that do not hold.
    broken_proofs: Vec<Broken>,
}

#[derive(Serialize)]
struct Difference {
    step: String,
    index: usize,
    plan: &'static str,
    isa: &'static str,
    threads: usize,
    expected: String,
    found: String,
}

/// A step whose flags or numbers do not keep what the file promises.
#[derive(Clone, Debug, Serialize)]
pub struct Broken {
    step: String,
    what: &'static str,
}

/// Says in the help what `--isa` takes here beside names.
#[must_use]
pub fn describe(command: clap::Command) -> clap::Command {
    command.mut_arg("isa", |isa| {
        let help = isa.get_help().map_or_else(String::new, ToString::to_string);
        isa.help(format!("{help}; all takes every set of this CPU, with 1, 2 and 4 threads"))
    })
}

/// Recomputes the proofs of a plan.
#[must_use]
pub fn broken_proofs(plan: &Plan<'_>) -> Vec<Broken> {
    plan.steps().filter_map(|step| Some(Broken { step: step.name().to_owned(), what: proof::check(&step).err()? })).collect()
}

/// The error for a file with broken proofs.
#[must_use]
pub fn broken_error(net: &std::path::Path, broken: &Broken) -> CliError {
    CliError::check(format!("{}: step {}: {}", net.display(), broken.step, broken.what), "the file was not made by this converter: convert the network again")
}

/// Runs the command.
///
/// # Errors
/// With exit code 1 if a step differs or a promise does not hold.
pub fn run(args: &VerifyArgs, output: Output) -> Result {
    let all = args.engine.isa.as_deref() == Some("all");
    let mut engine_args = args.engine.clone();
    engine_args.isa = engine_args.isa.filter(|_| !all);
    let engine = Engine::open(&args.net, &engine_args)?;
    let plans: Vec<_> = if engine_args.plan.is_some() { vec![engine.plan] } else { engine.model.plans().collect() };
    let sets: Vec<_> = if all { Kernels::all().collect() } else { vec![engine.kernels] };
    let counts = args.threads.map_or_else(|| if all { vec![1, 2, 4] } else { vec![1] }, |n| vec![n]);
    let broken: Vec<_> = plans.iter().flat_map(broken_proofs).collect();
    let mut difference = None;
    for &plan in &plans {
        for &kernels in &sets {
            for &threads in &counts {
                let engine = Engine { plan, kernels, ..engine.clone() };
                difference = difference.or(replay(&engine, threads)?);
            }
        }
    }
    let report = Report {
        schema: "skipstone.verify/1",
        ok: difference.is_none() && broken.is_empty(),
        steps: plans.iter().map(Plan::len).sum(),
        isa: sets.iter().map(|k| k.set().name()).collect(),
        threads: counts,
        plans: plans.iter().map(|p| p.kind().name()).collect(),
        first_difference: difference,
        broken_proofs: broken,
    };
    output.show(&report, || text(&report))?;
    // Kernels rely on the proofs: where one does not hold, a difference may follow from it.
    match (report.broken_proofs.first(), &report.first_difference) {
        (Some(broken), _) => Err(broken_error(&args.net, broken)),
        (None, Some(d)) => {
            let what = format!("step {} ({}) differs on {}, {} threads: CRC-32 {}, the file says {}", d.index, d.step, d.isa, d.threads, d.found, d.expected);
            Err(CliError::check(what, "run it again; if it stays, this machine or this build computes wrong: report both with `skipstone devices`"))
        }
        (None, None) => Ok(()),
    }
}

/// Runs the check input; gives the first step that differs.
fn replay(engine: &Engine, threads: usize) -> Result<Option<Difference>> {
    let pool = engine.pool(threads)?;
    let mut arena = engine.arena(threads)?;
    let mut session = engine.session(&mut arena, &pool)?;
    let mut input = vec![0; input_bytes(&engine.model)];
    engine.model.check_input(&mut input);
    put(&mut session, &input);
    let (mut first, mut index) = (None, 0);
    session.run_with(|step, session| {
        let found = session.tensor(&engine.plan.tensor(step.output())).crc32();
        if found != step.check() && first.is_none() {
            first = Some(Difference {
                step: step.name().to_owned(),
                index,
                plan: engine.plan.kind().name(),
                isa: engine.kernels.set().name(),
                threads,
                expected: hex(step.check()),
                found: hex(found),
            });
        }
        index += 1;
    });
    Ok(first)
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    let counts: Vec<_> = report.threads.iter().map(ToString::to_string).collect();
    let state = if report.ok { "ok" } else { "DIFFERS" };
    let _ = writeln!(
        text,
        "{state}: {} steps of plan {}, kernel sets {}, threads {}",
        report.steps,
        report.plans.join(" and "),
        report.isa.join(" "),
        counts.join(" ")
    );
    text
}
