//! Values to network input, for networks that read no picture: signals, spectra, any tensor.
//!
//! The values stand in the layout of the ONNX network without its batch, as [`TensorInput::dimensions`] says: `[c][h][w]`, `[c][w]`, `[h][w][c]` ... What the
//! network reads is `[h][w][c]` in S8, with the scale that the converter has chosen. Everything here is exact: the same values give the same bytes on every device.
//!
//! ```
//! use skipstone::{Model, include_model, tensor};
//!
//! static FILE: &[u8] = include_model!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/files/signal.stone"));
//!
//! let model = Model::parse(FILE)?;
//! let layout = model.tensor().ok_or("a network of pictures")?;
//! assert_eq!((layout.dimensions(), layout.shape), (&[3, 40][..], [1, 40, 3]));   // three channels of 40 values
//! let mut input = [0; 120];                                                      // as a rule session.input()
//! tensor::fill(&mut input, &[0.0; 120], &layout)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::format::view::TensorInput;
use core::fmt;

/// Why values could not be made into an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TensorError {
    /// The values or the input buffer are not as many as the network reads.
    Count {
        /// Values that the network reads.
        needed: usize,
        /// Values given.
        values: usize,
        /// Bytes of the buffer.
        input: usize,
    },
    /// The value of this index is not a number.
    NotANumber(usize),
}

impl fmt::Display for TensorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Count { needed, values, input } => write!(f, "the network reads {needed} values, given are {values} for {input} bytes"),
            Self::NotANumber(i) => write!(f, "value {i} is not a number"),
        }
    }
}

impl core::error::Error for TensorError {}

/// The integer for `x` where one step stands for `scale`: `clamp(floor(x / scale + 0.5), -128, 127)`; `None` for NaN.
///
/// The quotient and the sum are rounded to f32, each to the nearest, ties to even, as IEEE 754 says; infinities are clamped. `scale` is above 0.
#[must_use]
pub const fn nearest(x: f32, scale: f32) -> Option<i8> {
    let sum = x / scale + 0.5;
    if sum.is_nan() {
        return None;
    }
    let clamped = sum.clamp(-128.0, 127.0);
    #[expect(clippy::cast_possible_truncation, reason = "clamped; it rounds towards 0")]
    let whole = clamped as i8;
    Some(if clamped < whole as f32 { whole - 1 } else { whole })
}

/// Makes the network's input, S8 `[h][w][c]`, from values in the layout of the ONNX network, each as [`nearest`] says.
///
/// # Errors
/// If there are more or fewer values or bytes than the network reads, or a value is not a number; the input is then unspecified.
pub fn fill(input: &mut [u8], values: &[f32], layout: &TensorInput) -> Result<(), TensorError> {
    arrange(input, values, layout, |x| nearest(x, layout.scale))
}

/// As [`fill`] from values that are integers already, in steps of the layout's scale.
///
/// # Errors
/// If there are more or fewer values or bytes than the network reads.
pub fn fill_integers(input: &mut [u8], values: &[i8], layout: &TensorInput) -> Result<(), TensorError> {
    arrange(input, values, layout, Some)
}

fn arrange<T: Copy>(input: &mut [u8], values: &[T], layout: &TensorInput, integer: impl Fn(T) -> Option<i8>) -> Result<(), TensorError> {
    let [h, w, c] = layout.shape.map(|n| n as usize);
    let needed = h.checked_mul(w).and_then(|n| n.checked_mul(c)).unwrap_or(usize::MAX);
    if values.len() != needed || input.len() != needed {
        return Err(TensorError::Count { needed, values: values.len(), input: input.len() });
    }
    let (pixel, channel) = if layout.channels_last { (c, 1) } else { (1, h * w) };
    for (i, bytes) in input.chunks_exact_mut(c.max(1)).enumerate() {
        for (j, byte) in bytes.iter_mut().enumerate() {
            let at = i * pixel + j * channel;
            *byte = integer(values[at]).ok_or(TensorError::NotANumber(at))?.cast_unsigned();
        }
    }
    Ok(())
}
