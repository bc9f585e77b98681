//! The command line.

pub mod dataset;
pub mod decode;
pub mod npy;
pub mod truth;

use std::process::ExitCode;

/// Runs the program with the arguments of the process.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
