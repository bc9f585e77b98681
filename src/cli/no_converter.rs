//! What a build without the converter says of the commands that need it, and of `eval --against`.

use super::dataset::DataSet;
use super::engine::Engine;
use super::error::{CliError, Result};
use clap::{Args, Subcommand};
use std::ffi::OsString;
use std::path::Path;

/// The commands that are not there.
#[derive(Debug, Subcommand)]
pub enum Missing {
    /// ONNX to file (needs the program with the converter)
    Convert(Anything),
    /// Ranges for `convert --ranges` (needs the program with the converter)
    Calibrate(Anything),
    /// Float against integer, layer by layer (needs the program with the converter)
    Compare(Anything),
    /// One HTML page with plots (needs the program with the converter)
    Report(Anything),
    /// The tour (needs the program with the converter)
    Demo(Anything),
}

/// Whatever arguments.
#[derive(Args, Debug)]
pub struct Anything {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

impl Missing {
    /// Says that it is not there.
    ///
    /// # Errors
    /// Always, with exit code 4.
    pub fn run(&self) -> Result {
        let (Self::Convert(given) | Self::Calibrate(given) | Self::Compare(given) | Self::Report(given) | Self::Demo(given)) = self;
        let first = given
            .arguments
            .iter()
            .find(|argument| !argument.as_encoded_bytes().starts_with(b"-"))
            .map(|argument| format!(", so it cannot read {}", argument.display()));
        Err(missing(&first.unwrap_or_default()))
    }
}

fn missing(so: &str) -> CliError {
    CliError::machine(
        format!("the converter is not built into this program{so}"),
        "build it with `cargo build --release` (the default features hold `convert`), or convert on another machine: the .stone file is the same",
    )
}

/// The float scores of inputs `[h][w][c]`.
pub(super) struct Float(core::convert::Infallible);

impl Float {
    pub(super) fn scores(&self, _: &DataSet, _: &[usize], _: &[&[u8]], _: usize) -> Result<Vec<Vec<f32>>> {
        match self.0 {}
    }
}

pub(super) fn against(onnx: &Path, _: &Engine, _: &Path) -> Result<Float> {
    Err(missing(&format!(", so it cannot read {}", onnx.display())))
}
