//! How to quantize: what can be chosen, and the words for it.

use super::range::Method;
use core::fmt;
use core::str::FromStr;
use std::string::String;
use std::vec::Vec;

/// How to quantize.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// How ranges are chosen.
    pub method: Method,
    /// What has a scale of its own.
    pub scales: Scales,
    /// How weights are rounded.
    pub rounding: Rounding,
    /// Where biases come from.
    pub bias: Bias,
    /// How finely what blocks hand on is rounded.
    pub stream: Stream,
    /// Whether weights are made so that 16-bit pair sums are exact: the fastest AVX2 kernels need it.
    pub pair_safe: bool,
    /// Threads. They change no bit of the result.
    pub threads: usize,
}

impl Default for Options {
    fn default() -> Self {
        let (method, scales, rounding, bias, stream) = Default::default();
        Self { method, scales, rounding, bias, stream, pair_safe: true, threads: 1 }
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, scales {}, rounding {}, bias {}", self.method, self.scales, self.rounding, self.bias)?;
        if self.stream == Stream::Wide { write!(f, ", stream {}", self.stream) } else { Ok(()) }
    }
}

impl Options {
    /// What can be done with so many pictures to walk with: without any, weights are rounded to the nearest.
    #[must_use]
    pub const fn with(self, pictures: usize) -> Self {
        if pictures == 0 { Self { rounding: Rounding::Nearest, stream: Stream::Narrow, ..self } } else { self }
    }

    /// The parts of the quantizer that pictures are missing for, if there are none.
    #[must_use]
    pub fn left_out(self) -> Vec<&'static str> {
        let rounding = "weights rounded together (--rounding hessian): each went to the nearest integer";
        let bias = "biases by a walk of the integer network (--bias means): they make up for the rounding of weights only, by the means in the ranges";
        let stream = "16 bits in residual streams and in front of functions and gates (--stream 16): they have 8";
        let asked = [(self.rounding == Rounding::Hessian, rounding), (self.bias == Bias::Means, bias), (self.stream == Stream::Wide, stream)];
        asked.into_iter().filter(|(asked, _)| *asked).map(|(_, what)| what).chain(["the agreement with the float network"]).collect()
    }
}

/// What has a scale of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Scales {
    /// Every tensor.
    Tensor,
    /// Every channel: producer and readers absorb them, the device sees none.
    #[default]
    Channel,
}

/// How weights are rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Rounding {
    /// Each to the nearest integer.
    Nearest,
    /// Together, so that their errors cancel where inputs go together.
    #[default]
    Hessian,
}

/// Where biases come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Bias {
    /// The float network's.
    Float,
    /// Chosen so that each channel's mean over the pictures is the float network's.
    #[default]
    Means,
}

/// How finely what residual blocks hand on through their shortcuts, and what functions and gates read, is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Stream {
    /// In 8 bits, unless the scores lie too far from the float network's on the calibration pictures.
    #[default]
    Auto,
    /// In 8 bits.
    Narrow,
    /// In 16 bits where no weights read it.
    Wide,
}

/// A choice among words.
macro_rules! words {
    ($kind:ident, $what:literal, $($variant:ident $word:literal),+) => {
        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word),+ })
            }
        }

        impl FromStr for $kind {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let words: Vec<&str> = [$($word),+].to_vec();
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(std::format!(concat!("unknown ", $what, " '{}': {}"), text, words.join(" or "))),
                }
            }
        }
    };
}

words!(Scales, "scales", Tensor "tensor", Channel "channel");
words!(Rounding, "rounding", Nearest "nearest", Hessian "hessian");
words!(Bias, "bias", Float "float", Means "means");
words!(Stream, "stream", Auto "auto", Narrow "8", Wide "16");
