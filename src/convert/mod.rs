//! ONNX to `.stone`: import, fold, align, calibrate, quantize, plan, emit.

pub mod align;
pub mod bypass;
pub mod bytes;
pub mod calib;
pub mod calibrate;
pub mod channels;
pub mod choices;
pub mod counts;
mod elementwise;
pub mod emit;
pub mod error;
pub mod evaluate;
mod exact;
mod expected;
pub mod explain;
pub mod float;
pub mod fold;
pub mod graph;
pub mod hessian;
pub mod histogram;
pub mod import;
pub mod input;
mod layer;
pub mod matrix;
mod merge;
mod middle;
pub mod onnx;
mod parallel;
pub mod pipeline;
pub mod place;
pub mod plan;
pub mod plane;
pub mod quantize;
pub mod quantized;
pub mod range;
mod round;
mod rounding;
mod scales;
mod split;
pub mod stream;
mod sums;
mod zeros;

pub use calib::Calib;
pub use error::ConvertError;
pub use explain::explain;
pub use pipeline::{Calibrated, Converted, Options, Progress, Source, Stage, convert, gather};

use graph::Input;
use std::vec::Vec;

/// Pictures to calibrate with.
pub trait Pictures: Sync {
    /// How many there are.
    fn len(&self) -> usize;

    /// True if there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of picture `i`, by which its turn comes: in the whole set, where these are a part of one.
    fn number(&self, i: usize) -> usize {
        i
    }

    /// Picture `i`, or tensor, as the network reads it: `[h][w][c]` bytes.
    ///
    /// # Errors
    /// [`ConvertError::Picture`] if it cannot be read.
    fn load(&self, i: usize, input: &Input) -> Result<Vec<u8>, ConvertError>;

    /// What the bytes of tensor `i` were rounded from, in the layout of the ONNX: what the float network reads. Nothing where the bytes are all there is.
    ///
    /// # Errors
    /// [`ConvertError::Picture`] if it cannot be read.
    fn floats(&self, i: usize) -> Result<Option<Vec<f32>>, ConvertError> {
        let _ = i;
        Ok(None)
    }
}
