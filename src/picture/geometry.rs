//! Where in the source the pixels of the network's input lie.

use super::PictureError;
use super::resample::Axis;
use crate::format::view::{self, Preprocess};

/// Largest side of a source, crop or network input.
const SIDE: u32 = 65_535;

/// How a picture is resized before it is cropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resize {
    /// Not at all.
    None,
    /// The shorter side to this many pixels (1 to 65,535), the longer one to `floor(pixels · longer / shorter)`, as torchvision's `Resize(pixels)` does.
    Shorter(u32),
    /// To the height and width of the network's input; the proportions may change.
    #[default]
    Network,
}

/// What is done to a picture before the network reads it: first the resizing, then the crop, then the order of the colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Geometry {
    /// The resizing.
    pub resize: Resize,
    /// Height and width of the centre crop. Its offset is half of what is left over, rounded to even; where the picture is smaller it is padded with
    /// zeros, the odd one at the bottom and the right. Both are as in torchvision's `CenterCrop`.
    pub crop: Option<[u32; 2]>,
    /// True if the network reads blue, green, red.
    pub bgr: bool,
}

/// The geometry that a file asks for.
impl From<Preprocess> for Geometry {
    fn from(kept: Preprocess) -> Self {
        let resize = match kept.resize {
            view::Resize::ToInput => Resize::Network,
            view::Resize::Shorter(n) => Resize::Shorter(n),
            view::Resize::Never => Resize::None,
        };
        Self { resize, crop: kept.crop, bgr: kept.bgr }
    }
}

/// One axis of the way from source to input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placement {
    /// The resizing.
    pub axis: Axis,
    /// First resized sample that the input shows.
    pub first: u32,
    /// Zeros in the input before it.
    pub skip: u32,
    /// Resized samples that the input shows.
    pub count: u32,
}

impl Placement {
    const fn new(axis: Axis, crop: u32) -> Self {
        if axis.to < crop {
            return Self { axis, first: 0, skip: (crop - axis.to) / 2, count: axis.to };
        }
        let over = axis.to - crop;
        let half = over / 2;
        let first = if over % 2 == 1 { half + half % 2 } else { half };
        Self { axis, first, skip: 0, count: crop }
    }
}

impl Geometry {
    /// The preprocessing of most ImageNet networks: the shorter side to 256, the centre 224 by 224.
    pub const IMAGENET: Self = Self { resize: Resize::Shorter(256), crop: Some([224, 224]), bgr: false };

    /// Vertical and horizontal placement of a picture of `size` (height, width) in a network's input `[h, w, c]`.
    pub(super) const fn place(&self, size: [u32; 2], network: [u32; 3]) -> Result<[Placement; 2], PictureError> {
        let [h, w] = size;
        let target = [network[0], network[1]];
        if h == 0 || w == 0 || h > SIDE || w > SIDE {
            return Err(PictureError::Source { width: w, height: h });
        }
        if target[0] == 0 || target[1] == 0 || target[0] > SIDE || target[1] > SIDE || (network[2] != 1 && network[2] != 3) {
            return Err(PictureError::Network { input: network });
        }
        let [th, tw] = match self.resize {
            Resize::None => size,
            Resize::Network => target,
            Resize::Shorter(0) => return Err(PictureError::Result { made: [0, 0], input: target }),
            Resize::Shorter(n) if n > SIDE => return Err(PictureError::Result { made: [n, n], input: target }),
            Resize::Shorter(n) if w <= h => [longer(n, h, w), n],
            Resize::Shorter(n) => [n, longer(n, w, h)],
        };
        let made = match self.crop {
            Some(crop) => crop,
            None => [th, tw],
        };
        if made[0] != target[0] || made[1] != target[1] {
            return Err(PictureError::Result { made, input: target });
        }
        Ok([Placement::new(Axis { from: h, to: th }, made[0]), Placement::new(Axis { from: w, to: tw }, made[1])])
    }
}

/// `floor(n · long / short)`.
#[expect(clippy::cast_possible_truncation, reason = "the sides are below 2^16")]
const fn longer(n: u32, long: u32, short: u32) -> u32 {
    (n as u64 * long as u64 / short as u64) as u32
}
