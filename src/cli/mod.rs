//! The command line: one file a command, beside what they share.
#![allow(rustdoc::broken_intra_doc_links, reason = "comments of arguments are help texts")]

pub mod args;
pub mod baseline;
pub mod bench;
pub mod blocks;
pub mod dataset;
pub mod decode;
pub mod devices;
pub mod engine;
pub mod error;
pub mod eval;
pub mod foreign;
pub mod host;
pub mod inspect;
pub mod latency;
pub mod map;
pub mod npy;
pub mod output;
pub mod peak;
pub mod plot;
pub mod profile;
pub mod progress;
pub mod run;
pub mod soak;
pub mod staged;
pub mod stream;
mod timer;
pub mod truth;
pub mod verify;

#[cfg(feature = "convert")]
pub mod calibrate;
#[cfg(feature = "convert")]
pub mod compare;
#[cfg(feature = "convert")]
pub mod convert;
#[cfg(feature = "convert")]
mod converted;
#[cfg(feature = "convert")]
mod converter;
#[cfg(feature = "convert")]
pub mod demo;
#[cfg(feature = "convert")]
mod energy;
#[cfg(feature = "convert")]
mod ensemble;
#[cfg(feature = "convert")]
mod layers;
#[cfg(feature = "convert")]
pub mod preprocess;
#[cfg(feature = "convert")]
pub mod report;
#[cfg(feature = "convert")]
mod shards;
#[cfg(feature = "convert")]
mod tour;

#[cfg(not(feature = "convert"))]
#[path = "no_converter.rs"]
mod converter;
#[cfg(not(feature = "convert"))]
#[path = "no_energy.rs"]
mod energy;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use error::{CliError, Result};
use output::Output;
use std::process::ExitCode;

/// Quantized inference for residual networks: one file, the same bits on every device
#[derive(Debug, Parser)]
#[command(name = "skipstone", version, disable_help_subcommand = true)]
struct Program {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "convert")]
    Convert(Box<convert::ConvertArgs>),
    #[cfg(feature = "convert")]
    Calibrate(Box<calibrate::CalibrateArgs>),
    Run(run::RunArgs),
    Eval(eval::EvalArgs),
    Bench(bench::BenchArgs),
    Profile(profile::ProfileArgs),
    Inspect(inspect::InspectArgs),
    Verify(verify::VerifyArgs),
    #[cfg(feature = "convert")]
    Compare(compare::CompareArgs),
    #[cfg(feature = "convert")]
    Report(report::ReportArgs),
    Devices(devices::DevicesArgs),
    #[cfg(feature = "convert")]
    Demo(demo::DemoArgs),
    #[cfg(not(feature = "convert"))]
    #[command(flatten)]
    Missing(converter::Missing),
}

impl Program {
    fn run(&self) -> Result {
        match &self.command {
            #[cfg(feature = "convert")]
            Command::Convert(args) => convert::run(args, self.output),
            #[cfg(feature = "convert")]
            Command::Calibrate(args) => calibrate::run(args, self.output),
            Command::Run(args) => run::run(args, self.output),
            Command::Eval(args) => eval::run(args, self.output),
            Command::Bench(args) => bench::run(args, self.output),
            Command::Profile(args) => profile::run(args, self.output),
            Command::Inspect(args) => inspect::run(args, self.output),
            Command::Verify(args) => verify::run(args, self.output),
            #[cfg(feature = "convert")]
            Command::Compare(args) => compare::run(args, self.output),
            #[cfg(feature = "convert")]
            Command::Report(args) => report::run(args, self.output),
            Command::Devices(args) => devices::run(args, self.output),
            #[cfg(feature = "convert")]
            Command::Demo(args) => demo::run(args, self.output),
            #[cfg(not(feature = "convert"))]
            Command::Missing(command) => command.run(),
        }
    }
}

/// The program's arguments, for its man pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Program::command().mut_subcommand("verify", verify::describe)
}

/// Reads the arguments of the process.
fn parse() -> core::result::Result<Program, clap::Error> {
    let mut command = command();
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    Program::from_arg_matches(&matches).map_err(|e| e.format(&mut command))
}

/// Runs the program with the arguments of the process.
#[must_use]
pub fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("error: internal error, {panic}\nhelp: this is a bug in skipstone: please report it with the command");
    }));
    let result = match parse() {
        Ok(program) => program.run(),
        Err(help) if matches!(help.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => output::print(&help.render().to_string()),
        Err(error) => Err(CliError::from(error)),
    };
    result.map_or_else(|error| error.report(), |()| ExitCode::SUCCESS)
}
