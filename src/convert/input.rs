//! The scale of an input that is no picture.

use super::ConvertError;
use super::calibrate::TensorStatistics;
use super::import::{Op, import};
use super::onnx::Onnx;
use super::quantize::levels;
use super::range::{Method, largest};
use crate::quant::DataType;
use std::path::Path;

/// What is known of the values of an input.
#[derive(Clone, Debug, Default)]
pub struct Values(TensorStatistics);

impl Values {
    /// Counts values, all of which are finite.
    pub fn add(&mut self, values: &[f32]) {
        for &v in values {
            self.0.histogram.add(v);
            self.0.max = self.0.max.max(v.abs());
        }
    }

    /// The largest magnitude.
    #[must_use]
    pub const fn largest(&self) -> f32 {
        self.0.max
    }

    /// True if the histogram tells such values apart: the largest is not 0, and neither tiny nor huge.
    #[must_use]
    pub fn countable(&self) -> bool {
        (1e-7..=1e9).contains(&self.0.max)
    }

    /// The real value of one step of S8 for such values.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the scale is kept in f32")]
    pub fn scale(&self, method: Method) -> f32 {
        (largest(&self.0, levels(DataType::S8), method) / levels(DataType::S8)) as f32
    }
}

/// The scale with which an ONNX file itself stores its input, where it does so in signed bytes around 0.
///
/// # Errors
/// What is wrong with the file.
pub fn stored_scale(path: &Path) -> Result<Option<f32>, ConvertError> {
    let graph = import(Onnx::load(path)?)?;
    let mut readers = graph.operations.iter().filter(|o| o.reads.contains(&graph.input));
    Ok(match (readers.next().map(|o| &o.op), readers.next()) {
        (Some(Op::Quantize(q)), None) if q.zero == 128 => Some(q.scale),
        _ => None,
    })
}
