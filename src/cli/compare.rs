//! `skipstone compare`: float against integer, layer by layer.

use super::args::{DataArgs, EngineArgs};
use super::converter;
use super::error::Result;
use super::output::Output;
use clap::Args;
use std::path::PathBuf;

/// Float against integer, layer by layer
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  skipstone compare net.onnx net.stone --data pictures --limit 20")]
pub struct CompareArgs {
    /// The float network
    #[arg(value_name = "NET.onnx")]
    pub onnx: PathBuf,
    /// The network that was made of it
    #[arg(value_name = "NET.stone")]
    pub net: PathBuf,
    /// Pictures to compare on.
    #[command(flatten)]
    pub data: DataArgs,
    /// What runs it.
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// Runs the command.
///
/// # Errors
/// If a file or picture cannot be used.
pub fn run(args: &CompareArgs, output: Output) -> Result {
    converter::compare(args, output)
}
