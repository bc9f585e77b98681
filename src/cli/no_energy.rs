//! The energy of residual blocks is measured by the program with the converter: one for a device is small.

use super::blocks::Block;
use super::engine::Engine;
use super::error::{CliError, Result};
use super::output::Output;
use clap::Args;
use std::path::PathBuf;

/// What asks for it.
#[derive(Args, Debug)]
pub struct EnergyArgs {
    /// Asks for it.
    #[arg(long, hide = true)]
    energy: bool,
    /// Pictures.
    #[arg(long, hide = true)]
    data: Option<PathBuf>,
}

#[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "as the program with the converter has it")]
impl EnergyArgs {
    /// Refuses it.
    ///
    /// # Errors
    /// If it is wanted, with exit code 4.
    pub fn check(&self) -> Result {
        if self.energy || self.data.is_some() {
            let help = "measure it with the program that has the converter, on another machine: the bits are the same";
            return Err(CliError::machine("this program does not measure the energy of residual blocks, --energy and --data", help));
        }
        Ok(())
    }

    /// Never.
    pub const fn wanted(&self) -> bool {
        false
    }

    /// Nothing.
    pub const fn measure(&self, _: &Engine, _: &mut [Block], _: Output) -> Result<Option<usize>> {
        Ok(None)
    }
}
