//! The energy of residual blocks is measured by the program with the converter: one for a device is small.

use super::blocks::Block;
use super::engine::Engine;
use super::error::Result;
use super::output::Output;
use clap::Args;

/// Nothing to choose.
#[derive(Args, Debug)]
pub struct EnergyArgs {}

#[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "as the program with the converter has it")]
impl EnergyArgs {
    /// Nothing to refuse.
    pub const fn check(&self) -> Result {
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
