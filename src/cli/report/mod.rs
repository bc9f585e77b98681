//! `skipstone report`: one HTML page about a converted network. The work is in `gather`.

mod charts;
mod distribution;
pub(super) mod gather;
mod page;
mod svg;

use super::args::{DataArgs, EngineArgs, ThreadArgs};
use super::converter;
use super::error::Result;
use super::output::Output;
use clap::Args;
use std::path::PathBuf;

/// One HTML page with plots: accuracy, error and time by layer, distributions, memory, residual blocks
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  skipstone report net.onnx net.stone --data pictures --truth classes.csv -o report.html\n\n\
                        The page needs nothing from elsewhere: it can be mailed, and opened without a network.")]
pub struct ReportArgs {
    /// The float network
    #[arg(value_name = "NET.onnx")]
    pub onnx: PathBuf,
    /// The network that was made of it
    #[arg(value_name = "NET.stone")]
    pub net: PathBuf,
    /// Where the page goes
    #[arg(short, long, value_name = "REPORT.html")]
    pub output: PathBuf,
    /// Pictures to measure on.
    #[command(flatten)]
    pub data: DataArgs,
    /// Pictures to calibrate with: adds what each part of the quantizer brings, which takes a conversion for each
    #[arg(long, value_name = "DATA")]
    pub calib: Option<PathBuf>,
    /// Leave out what takes longest: what it would cost to leave out residual blocks
    #[arg(long)]
    pub quick: bool,
    /// What runs it.
    #[command(flatten)]
    pub engine: EngineArgs,
    /// How many work on the float network.
    #[command(flatten)]
    pub threads: ThreadArgs,
}

/// Runs the command.
///
/// # Errors
/// If a file or picture cannot be used or the page cannot be written.
pub fn run(args: &ReportArgs, output: Output) -> Result {
    converter::report(args, output)
}
