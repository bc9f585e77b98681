//! `skipstone convert`: an ONNX file to a `.stone` file. The work is in `converter`.

use super::args::{ChoiceArgs, ThreadArgs, count};
use super::baseline::percent;
use super::converter;
use super::error::{CliError, Result};
use super::output::Output;
use super::preprocess::PreprocessArgs;
use clap::Args;
use core::str::FromStr;
use std::path::PathBuf;

/// ONNX to file
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  skipstone convert resnet18.onnx -o resnet18.stone --calib pictures --preprocess imagenet --labels labels.txt\n  \
                        skipstone convert net.onnx -o net.stone --calib data_batch_1.bin --limit 500 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225\n  \
                        skipstone convert net.onnx -o net.stone --calib train --preprocess unit --eval validation --max-drop 0.5\n  \
                        skipstone convert net.onnx -o faster.stone --calib train --preprocess unit --eval validation --skip-blocks auto:10\n  \
                        skipstone convert words.onnx -o words.stone --calib features.npy --preprocess tensor")]
pub struct ConvertArgs {
    /// The float network
    #[arg(value_name = "NET.onnx")]
    pub onnx: PathBuf,
    /// Where the file goes
    #[arg(short, long, value_name = "NET.stone")]
    pub output: PathBuf,
    /// Pictures to calibrate with, 100 or more, like those it will see: a folder, a CIFAR-10 .bin, an .npy of u8 [n,h,w,3]; tensors: an .npy of f32
    #[arg(long, value_name = "DATA", required_unless_present = "ranges")]
    pub calib: Option<PathBuf>,
    /// Ranges that `calibrate` stored, with its preprocessing; what else needs pictures is done with those of --calib, or left out and named
    #[arg(long, value_name = "ALL.calib", conflicts_with_all = ["explain", "skip_blocks"])]
    pub ranges: Option<PathBuf>,
    /// Which of them.
    #[command(flatten)]
    pub choice: ChoiceArgs,
    /// What was done to pictures.
    #[command(flatten)]
    pub preprocess: PreprocessArgs,
    /// Names of the classes, one a line
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// How ranges are chosen: cv (the least square error, cross-validated among the pictures), mse, minmax, percentile:99.99 or entropy (default: cv)
    #[arg(long, value_name = "METHOD")]
    pub method: Option<String>,
    /// What has a scale of its own: channel or tensor (default: channel)
    #[arg(long, value_name = "WHAT")]
    pub scales: Option<String>,
    /// How weights are rounded: hessian (together, by how their inputs go together) or nearest (default: hessian)
    #[arg(long, value_name = "HOW")]
    pub rounding: Option<String>,
    /// Where biases come from: means (each channel keeps the float network's mean) or float (default: means)
    #[arg(long, value_name = "FROM")]
    pub bias: Option<String>,
    /// How finely what residual blocks hand on, functions read and gates scale is rounded: 8 or 16 bits, or auto for 16 where the scores are far from the float network's (default: auto)
    #[arg(long, value_name = "BITS")]
    pub stream: Option<String>,
    /// Leave out residual blocks: 3,5-7 as `inspect --blocks` counts them, or auto:10 for the least useful ones until that saves 10 % of the time
    #[arg(long, value_name = "LIST|auto:PERCENT")]
    pub skip_blocks: Option<SkipBlocks>,
    /// Say what each part of the quantizer brings, measured on every fifth picture, which it is then fitted without: takes several times as long, 10 pictures at least
    #[arg(long, conflicts_with = "skip_blocks")]
    pub explain: bool,
    /// Labelled pictures to measure the accuracy on
    #[arg(long, value_name = "DATA")]
    pub eval: Option<PathBuf>,
    /// Classes of the pictures of --eval: a CSV of file,class (index,class for .npy and .bin), or an .npy of integers
    #[arg(long, value_name = "FILE", requires = "eval")]
    pub truth: Option<PathBuf>,
    /// Take the first N pictures of --eval
    #[arg(long, value_name = "N", requires = "eval", value_parser = count)]
    pub eval_limit: Option<usize>,
    /// Points of top-1 that may be lost on --eval: the quickest way that holds is taken, which may be cruder than the default; where none does, no file is written
    #[arg(long, value_name = "PP", requires = "eval", value_parser = drop, allow_hyphen_values = true)]
    pub max_drop: Option<f64>,
    /// A picture whose results are kept in the file for verify, instead of those of generated noise
    #[arg(long, value_name = "FILE")]
    pub check_picture: Option<PathBuf>,
    /// How many work.
    #[command(flatten)]
    pub threads: ThreadArgs,
}

/// Residual blocks to leave out.
#[derive(Clone, Debug, PartialEq)]
pub enum SkipBlocks {
    /// These.
    List(Vec<u32>),
    /// The least useful ones, until so many percent of the time are saved.
    Auto(f64),
}

impl FromStr for SkipBlocks {
    type Err = &'static str;

    fn from_str(text: &str) -> core::result::Result<Self, Self::Err> {
        const HELP: &str = "a list of blocks such as 3,5-7, or auto:PERCENT with over 0 and under 100";
        if let Some(percent) = text.strip_prefix("auto:") {
            let percent = percent.trim_end_matches('%').parse().ok().filter(|p| *p > 0.0 && *p < 100.0);
            return percent.map(Self::Auto).ok_or(HELP);
        }
        let number = |t: &str| t.trim().parse::<u32>().ok().filter(|n| *n < 1 << 16);
        let range = |part: &str| match part.split_once('-') {
            Some((a, b)) => Some(number(a)?..=number(b)?),
            None => number(part).map(|n| n..=n),
        };
        let parts: Vec<_> = text.split(',').map(range).collect::<Option<_>>().ok_or(HELP)?;
        let mut blocks: Vec<u32> = Vec::new();
        for n in parts.into_iter().flatten() {
            if !blocks.contains(&n) {
                blocks.push(n);
            }
        }
        if blocks.is_empty() { Err(HELP) } else { Ok(Self::List(blocks)) }
    }
}

fn drop(text: &str) -> core::result::Result<f64, &'static str> {
    percent(text).map_err(|_| "a drop is 0 points or more, such as 0.5")
}

/// Runs the command.
///
/// # Errors
/// If an input is bad or the file cannot be written; with exit code 1 if it loses more accuracy than is allowed.
pub fn run(args: &ConvertArgs, output: Output) -> Result {
    let choice = [(args.choice.limit.is_some(), "--limit"), (args.choice.shard.is_some(), "--shard")];
    if let Some((_, flag)) = choice.into_iter().find(|(given, _)| *given && args.calib.is_none()) {
        return Err(CliError::usage(format!("{flag} chooses pictures of --calib, which is not there"), "leave it out, or give --calib"));
    }
    converter::convert(args, output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_to_leave_out() {
        assert_eq!("3,5-7,6".parse(), Ok(SkipBlocks::List(vec![3, 5, 6, 7])));
        assert_eq!(("auto:10".parse(), "auto:2.5%".parse()), (Ok(SkipBlocks::Auto(10.0)), Ok(SkipBlocks::Auto(2.5))));
        assert!(["", "auto", "auto:", "auto:0", "auto:100", "x", "7-5", "3,", "-1", "99999999"].iter().all(|t| t.parse::<SkipBlocks>().is_err()));
    }
}
