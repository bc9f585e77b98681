//! The float network, to compare with.

use super::error::{CliError, Result};
use crate::format::Model;
use std::path::Path;

/// Computes the float scores of inputs.
pub trait Float {
    /// The scores of an input `[h][w][c]`.
    ///
    /// # Errors
    /// If the float network fails.
    fn scores(&mut self, input: &[u8]) -> Result<Vec<f32>>;
}

/// The float network of an ONNX file.
///
/// # Errors
/// This build has no converter.
pub fn open(onnx: &Path, _: &Model<'_>) -> Result<Box<dyn Float>> {
    Err(CliError::machine(
        format!("this build cannot read {}: the converter is not built in", onnx.display()),
        "build with the default features: cargo build --release",
    ))
}
