//! The file of an integer network that was made in code.

use skipstone::convert::ConvertError;
use skipstone::convert::emit::{About, emit};
use skipstone::convert::plan;
use skipstone::convert::quantized::Quantized;
use skipstone::format::view::{Preprocess, Resize, TensorInput};

/// Pictures of the input's size, bytes to about -2 to 2.
pub const PREPROCESS: Preprocess =
    Preprocess { resize: Resize::ToInput, crop: None, bgr: false, scale: 255.0, mean: [0.5; 4], deviation: [0.25; 4], tensor: None };

/// The file of a network that reads pictures, or tensors of this layout.
pub fn emitted(network: &Quantized, tensor: Option<TensorInput>) -> Result<Vec<u8>, ConvertError> {
    let about = About {
        name: "made in code".into(),
        parameters: 1,
        preprocess: PREPROCESS,
        tensor,
        labels: Vec::new(),
        sha256: [7; 32],
        check_picture: Vec::new(),
        pictures: 1,
        method: "any".into(),
        skipped: Vec::new(),
    };
    emit(network, &[plan::fast(network)], &about)
}
