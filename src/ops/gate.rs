//! The gate of squeeze-and-excitation, with the skip-add behind it.

use super::Units;
use super::add::Add;
use crate::kernels::Kernels;
use crate::pack::{LANES, panels, params};
use crate::shape::View;
use core::ops::Range;

/// `rdm((bias + gate[c]·(x + K1) + K2·skip) << p, M)`, channel by channel: an addition whose first factor is computed by the network.
#[derive(Clone, Copy, Debug)]
pub struct Gate<'a> {
    /// What is gated, U8, S8 or S16.
    pub x: View,
    /// The gate, `[1][1][c]` of U8.
    pub gate: View,
    /// What is added, U8, S8 or S16, of the shape of `x`; where there is nothing, K2 is 0.
    pub skip: Option<View>,
    /// What it makes.
    pub output: View,
    /// Rows of 16 words, [`params::ADD_ROWS`] a panel.
    pub params: &'a [u8],
    /// Binary places by which the sum is shifted left before it is rounded, at most 15.
    pub p: u32,
}

impl Gate<'_> {
    /// How the output is divided.
    #[must_use]
    pub const fn units(&self) -> Units {
        Units::of(&self.output, false)
    }

    /// Bytes of scratch that a thread needs: the parameters with the gate.
    #[must_use]
    pub const fn scratch(&self) -> usize {
        panels(self.output.stored_channels()) * params::ADD_ROWS * 64
    }

    /// Computes `units` of the output. `x`, `gate` and `skip` are the bytes of the operands' views, `out` those of the units.
    ///
    /// # Panics
    /// If a slice is shorter than its view says; a plan that was validated never does that.
    pub fn run(&self, kernels: Kernels, [x, gate, skip]: [&[u8]; 3], out: &mut [u8], units: Range<usize>, scratch: &mut [u8]) {
        let filled = &mut scratch[..self.scratch()];
        filled.copy_from_slice(self.params);
        for (panel, gates) in filled.as_chunks_mut::<{ params::ADD_ROWS * 64 }>().0.iter_mut().zip(gate[..self.gate.stored_channels()].chunks(LANES)) {
            let words = panel.as_chunks_mut().0;
            for (lane, g) in gates.iter().enumerate() {
                let g = i32::from(g ^ kernels.flip());
                let [bias, k1] = [params::BIAS, params::K1].map(|row| row * LANES + lane);
                words[bias] = i32::from_le_bytes(words[k1]).wrapping_mul(g).wrapping_add(i32::from_le_bytes(words[bias])).to_le_bytes();
                words[k1] = g.to_le_bytes();
            }
        }
        Add { x: self.x, y: self.skip, output: self.output, params: filled, p: self.p }.run(kernels, x, skip, out, units);
    }
}
