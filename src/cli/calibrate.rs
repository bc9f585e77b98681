//! `skipstone calibrate`: the statistics of pictures, in shards that add up. The work is in `shards`.

use super::args::{ChoiceArgs, ThreadArgs};
use super::converter;
use super::error::{CliError, Result};
use super::output::Output;
use super::preprocess::PreprocessArgs;
use clap::Args;
use std::path::PathBuf;

/// Ranges for `convert --ranges`, from shards of the pictures that add up exactly
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  skipstone calibrate net.onnx --calib train --preprocess unit --shard 0/2 -o 0.calib\n  \
                        skipstone calibrate net.onnx --calib train --preprocess unit --shard 1/2 -o 1.calib\n  \
                        skipstone calibrate --merge 0.calib 1.calib -o all.calib\n  \
                        skipstone convert net.onnx -o net.stone --ranges all.calib")]
pub struct CalibrateArgs {
    /// The float network
    #[arg(value_name = "NET.onnx", required_unless_present = "merge", conflicts_with = "merge")]
    pub onnx: Option<PathBuf>,
    /// Pictures to calibrate with: a folder, a CIFAR-10 .bin, an .npy of u8 [n,h,w,3]
    #[arg(long, value_name = "DATA", required_unless_present = "merge", conflicts_with = "merge")]
    pub calib: Option<PathBuf>,
    /// Which of them.
    #[command(flatten)]
    pub choice: ChoiceArgs,
    /// What was done to pictures.
    #[command(flatten)]
    pub preprocess: PreprocessArgs,
    /// Add up these files, in any order: as if all of their pictures had been calibrated with at once
    #[arg(long, value_name = "PART.calib", num_args = 1..)]
    pub merge: Vec<PathBuf>,
    /// Where the statistics go
    #[arg(short, long, value_name = "ALL.calib")]
    pub output: PathBuf,
    /// How many work.
    #[command(flatten)]
    pub threads: ThreadArgs,
}

/// Runs the command.
///
/// # Errors
/// If an input is bad or the file cannot be written.
pub fn run(args: &CalibrateArgs, output: Output) -> Result {
    let choice = [
        (args.choice.limit.is_some(), "--limit"),
        (args.choice.shard.is_some(), "--shard"),
        (args.choice.skip_bad, "--skip-bad"),
        (args.choice.exif, "--exif"),
        (args.preprocess.stated(), "preprocessing"),
    ];
    if let Some((_, flag)) = choice.into_iter().find(|(given, _)| *given && !args.merge.is_empty()) {
        return Err(CliError::usage(format!("{flag} cannot stand beside --merge"), "calibrate the shards first, then merge them"));
    }
    converter::calibrate(args, output)
}
