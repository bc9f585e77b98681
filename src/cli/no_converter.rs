//! What `convert`, `calibrate`, `compare`, `report`, `demo` and `eval --against` say in a build without the converter.

use super::calibrate::CalibrateArgs;
use super::compare::CompareArgs;
use super::convert::ConvertArgs;
use super::dataset::DataSet;
use super::demo::DemoArgs;
use super::engine::Engine;
use super::error::{CliError, Result};
use super::output::Output;
use super::report::ReportArgs;
use std::path::Path;

fn missing(onnx: &Path) -> CliError {
    CliError::machine(
        format!("the converter is not built into this program, so it cannot read {}", onnx.display()),
        "build it with `cargo build --release` (the default features hold `convert`), or convert on another machine: the .stone file is the same",
    )
}

pub(super) fn convert(args: &ConvertArgs, _: Output) -> Result {
    Err(missing(&args.onnx))
}

pub(super) fn calibrate(args: &CalibrateArgs, _: Output) -> Result {
    Err(missing(args.onnx.iter().chain(&args.merge).next().map_or(Path::new("its inputs"), |path| path)))
}

pub(super) fn compare(args: &CompareArgs, _: Output) -> Result {
    Err(missing(&args.onnx))
}

pub(super) fn report(args: &ReportArgs, _: Output) -> Result {
    Err(missing(&args.onnx))
}

pub(super) fn demo(_: &DemoArgs, _: Output) -> Result {
    Err(missing(Path::new("the demo's network")))
}

/// The float scores of inputs `[h][w][c]`.
pub(super) struct Float(core::convert::Infallible);

impl Float {
    pub(super) fn scores(&self, _: &DataSet, _: &[usize], _: &[&[u8]], _: usize) -> Result<Vec<Vec<f32>>> {
        match self.0 {}
    }
}

pub(super) fn against(onnx: &Path, _: &Engine, _: &Path) -> Result<Float> {
    Err(missing(onnx))
}
