//! `--preprocess` and its parts: what was done to pictures when the network was trained.

use super::args::ResizeArg;
use super::error::{CliError, Result};
use crate::format::view::{Preprocess, Resize};
use crate::picture;
use clap::{Args, ValueEnum};
use core::str::FromStr;

/// How a picture becomes the network's input.
#[derive(Args, Clone, Debug)]
pub struct PreprocessArgs {
    /// Preprocessing of the training; or spell it out with --resize, --crop, --mean, --std, --scale
    #[arg(long, value_name = "NAME", value_enum)]
    preprocess: Option<Preset>,
    /// Resize the shorter side to N, or none (default: to the network's input)
    #[arg(long, value_name = "N|none")]
    resize: Option<ResizeArg>,
    /// Crop the centre, N by N pixels
    #[arg(long, value_name = "N", value_parser = super::args::pixels)]
    crop: Option<u32>,
    /// Mean of each channel: real = (byte / scale - mean) / std
    #[arg(long, value_name = "A,B,C", allow_hyphen_values = true)]
    mean: Option<Channels>,
    /// Standard deviation of each channel
    #[arg(long, value_name = "A,B,C")]
    std: Option<Channels>,
    /// What bytes are divided by (default: 255 with --mean or --std, else 1)
    #[arg(long, value_name = "S")]
    scale: Option<f32>,
    /// The network reads blue, green, red
    #[arg(long)]
    bgr: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Preset {
    /// Shorter side to 256, centre crop 224, mean .485 .456 .406, deviation .229 .224 .225 after /255
    Imagenet,
    /// Mean .4914 .4822 .4465, deviation .2470 .2435 .2616 after /255
    Cifar10,
    /// 0 to 255 as they are
    Raw255,
    /// Divided by 255
    Unit,
    /// The input is no picture but an .npy of f32; its scale is chosen by the calibration
    Tensor,
}

/// One number for all channels, or one a channel.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Channels([f32; 4]);

impl FromStr for Channels {
    type Err = &'static str;

    fn from_str(text: &str) -> core::result::Result<Self, Self::Err> {
        let numbers: Option<Vec<f32>> = text.split(',').map(|t| t.trim().parse().ok().filter(|v: &f32| v.is_finite())).collect();
        match numbers.as_deref() {
            Some([one]) => Ok(Self([*one; 4])),
            Some([a, b, c]) => Ok(Self([*a, *b, *c, 0.0])),
            _ => Err("one number, or three divided by commas"),
        }
    }
}

/// A mean beyond this counts in bytes, not in values from 0 to 1.
const BYTES: f32 = 8.0;

impl PreprocessArgs {
    /// The preprocessing, or `known` where nothing is stated.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn or(&self, known: Option<Preprocess>) -> Result<Preprocess> {
        known.filter(|_| !self.stated()).map_or_else(|| self.get(), Ok)
    }

    /// True if anything is said of it.
    #[must_use]
    pub const fn stated(&self) -> bool {
        self.preprocess.is_some() || self.parts() || self.bgr
    }

    const fn parts(&self) -> bool {
        self.resize.is_some() || self.crop.is_some() || self.mean.is_some() || self.std.is_some() || self.scale.is_some()
    }

    /// The preprocessing; the scale of a tensor is for the calibration to choose.
    ///
    /// # Errors
    /// If it is not stated, or twice.
    pub fn get(&self) -> Result<Preprocess> {
        let mut preprocess = match (self.preprocess, self.parts()) {
            (None, false) => {
                let help = "say how the network's pictures were prepared: --preprocess imagenet, cifar10, raw255 or unit, or --mean, --std, --scale, --resize, --crop; \
                     tensor if they are no pictures";
                return Err(CliError::usage("nothing says how pictures are prepared, --preprocess", help));
            }
            (Some(_), true) => {
                let what = "--preprocess cannot stand beside --resize, --crop, --mean, --std or --scale";
                let help = "give a name or the parts: imagenet is --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225, cifar10 is --mean 0.4914,0.4822,0.4465 --std 0.2470,0.2435,0.2616";
                return Err(CliError::usage(what, help));
            }
            (Some(Preset::Tensor), _) if self.bgr => return Err(CliError::usage("--bgr is for pictures, --preprocess tensor", "leave one of them out")),
            (Some(preset), false) => preset.get(),
            (None, true) if self.mean.is_none() && self.std.is_none() && self.scale.is_none() => {
                let help = "add --mean and --std of the training, --scale 255 for values from 0 to 1, or --scale 1 for bytes as they are";
                return Err(CliError::usage("--resize and --crop say nothing of the values, --preprocess", help));
            }
            (None, true) => self.spelled_out()?,
        };
        preprocess.bgr = self.bgr;
        Ok(preprocess)
    }

    fn spelled_out(&self) -> Result<Preprocess> {
        let normalized = self.mean.is_some() || self.std.is_some();
        if self.mean.is_some() && self.std.is_none() {
            eprintln!("warning: --mean without --std: a deviation of 1 is taken; give that of the training, or --std 1 if there was none");
        }
        let scale = self.scale.unwrap_or(if normalized { 255.0 } else { 1.0 });
        let deviation = self.std.map_or([1.0; 4], |c| c.0);
        if self.scale.is_none() && self.mean.is_some_and(|m| m.0.iter().any(|v| v.abs() > BYTES)) {
            let help = "add --scale 1 if mean and deviation count in bytes, or --scale 255 if they are meant as they stand";
            return Err(CliError::usage("means over 8 for bytes that are divided by 255, --mean", help));
        }
        if !scale.is_finite() || scale <= 0.0 {
            return Err(CliError::usage("the divisor of bytes must be over 0, --scale", "255 gives values from 0 to 1"));
        }
        if deviation[..3].iter().any(|&d| d <= 0.0) {
            return Err(CliError::usage("deviations must be over 0, --std", "give those of the training"));
        }
        let resize = match self.resize.map(|r| r.0) {
            None | Some(picture::Resize::Network) => Resize::ToInput,
            Some(picture::Resize::None) => Resize::Never,
            Some(picture::Resize::Shorter(n)) => Resize::Shorter(n),
        };
        // A crop alone cuts the picture as it is.
        let resize = if self.crop.is_some() && self.resize.is_none() { Resize::Never } else { resize };
        Ok(Preprocess { resize, crop: self.crop.map(|n| [n, n]), bgr: false, scale, mean: self.mean.map_or([0.0; 4], |c| c.0), deviation, tensor: None })
    }
}

impl Preset {
    fn get(self) -> Preprocess {
        let plain = Preprocess { resize: Resize::ToInput, crop: None, bgr: false, scale: 255.0, mean: [0.0; 4], deviation: [1.0; 4], tensor: None };
        match self {
            Self::Imagenet => Preprocess {
                resize: Resize::Shorter(256),
                crop: Some([224, 224]),
                mean: [0.485, 0.456, 0.406, 0.0],
                deviation: [0.229, 0.224, 0.225, 1.0],
                ..plain
            },
            Self::Cifar10 => Preprocess { mean: [0.4914, 0.4822, 0.4465, 0.0], deviation: [0.2470, 0.2435, 0.2616, 1.0], ..plain },
            Self::Raw255 => Preprocess { scale: 1.0, ..plain },
            Self::Unit => plain,
            Self::Tensor => Preprocess { resize: Resize::Never, scale: 1.0, tensor: Some(1.0), ..plain },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        args: PreprocessArgs,
    }

    fn get(args: &str) -> core::result::Result<Preprocess, u8> {
        let program = Program::try_parse_from(["x"].into_iter().chain(args.split_whitespace())).map_err(|_| 2)?;
        program.args.get().map_err(|e| e.code)
    }

    #[test]
    fn names_and_parts() {
        assert_eq!(get("--preprocess raw255").map(|p| (p.scale, p.mean[0], p.deviation[0])), Ok((1.0, 0.0, 1.0)));
        assert_eq!(get("--preprocess unit").map(|p| p.scale), Ok(255.0));
        assert_eq!(get("--preprocess imagenet").map(|p| (p.resize, p.crop)), Ok((Resize::Shorter(256), Some([224, 224]))));
        assert_eq!(get("--preprocess imagenet --bgr").map(|p| p.bgr), Ok(true));
        let spelled =
            get("--resize 256 --crop 224 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225").map(|p| Preprocess { deviation: [0.229, 0.224, 0.225, 1.0], ..p });
        assert_eq!(spelled, get("--preprocess imagenet"));
        assert_eq!(get("--mean 0.5").map(|p| (p.mean, p.scale)), Ok(([0.5; 4], 255.0)));
        assert_eq!(get("--scale 127.5 --mean 1,1,1").map(|p| p.scale), Ok(127.5));
        assert_eq!(get("--resize none --scale 1").map(|p| (p.resize, p.scale)), Ok((Resize::Never, 1.0)));
        assert_eq!(get("--preprocess tensor").map(|p| p.tensor.is_some()), Ok(true));
        assert_eq!(get("--crop 32 --scale 1").map(|p| p.resize), Ok(Resize::Never));
    }

    #[test]
    fn what_makes_no_sense() {
        for args in [
            "",
            "--bgr",
            "--preprocess martian",
            "--preprocess unit --mean 1",
            "--std 0,1,1",
            "--scale 0",
            "--scale nan",
            "--mean 1,2",
            "--mean x",
            "--crop 0",
            "--crop 32",
            "--resize none",
            "--std inf",
            "--preprocess tensor --bgr",
            "--preprocess tensor --scale 2",
        ] {
            assert_eq!(get(args), Err(2), "{args}");
        }
    }
}
