//! `skipstone demo`: the tour on what ships in the repository.

use super::converter;
use super::error::Result;
use super::output::Output;
use clap::Args;
use std::path::PathBuf;

/// The tour: converts a network of the repository, runs, measures and verifies it
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  skipstone demo\n\nRun it in a clone of the repository: it takes what lies in models/.")]
pub struct DemoArgs {
    /// Folder with resnet20.onnx and the pictures (default: models, here or where the program was built)
    #[arg(long, value_name = "FOLDER")]
    pub models: Option<PathBuf>,
    /// Folder for what the demo makes (default: target/demo, where it is run)
    #[arg(short, long, value_name = "FOLDER", default_value = "target/demo", hide_default_value = true)]
    pub output: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// If the files are not there, or one of the commands fails: with its exit code.
pub fn run(args: &DemoArgs, output: Output) -> Result {
    converter::demo(args, output)
}
