//! Groups of a convolution as the device computes them: neighbouring groups are taken together, with zeros between them, so that panels of 16 outputs are filled.

use super::quantized::params;
use crate::pack::{Depth, LANES, pack};
use crate::shape::{View, Window, round_up};
use std::vec::Vec;

/// Groups of a convolution, several of the network's in each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Merged {
    /// How many there are.
    pub groups: usize,
    /// How many of the network's are in each.
    of: usize,
    /// Channels that a group of the network reads and makes.
    channels: [usize; 2],
}

impl Merged {
    /// The division of `groups` groups over `inputs` and `outputs` channels that takes the fewest multiplications.
    pub fn new(groups: u32, inputs: u32, outputs: u32) -> Self {
        let (groups, channels) = (groups as usize, [inputs, outputs].map(|c| c as usize / groups as usize));
        let fits = |&of: &usize| of == groups || groups.is_multiple_of(of) && channels.iter().all(|c| (of * c).is_multiple_of(4));
        let products = |of: usize| groups / of * round_up(of * channels[1], LANES) * of * channels[0];
        let of = (1..=groups).filter(fits).min_by_key(|&of| (products(of), core::cmp::Reverse(of))).unwrap_or(groups);
        Self { groups: groups / of, of, channels }
    }

    /// The packed weights of rows in the order of a network's group's depth.
    pub fn packed(&self, weights: &[i8], own: &Depth, window: &Window, view: &View) -> Vec<u8> {
        let [inputs, outputs] = self.channels;
        let stored = if self.groups == 1 { view.stored_channels() } else { self.of * inputs };
        let depth = Depth::new(window, stored);
        let mut bytes = Vec::new();
        for group in weights.chunks_exact(self.of * outputs * own.len()) {
            let mut rows = std::vec![0; self.of * outputs * depth.len()];
            for (o, (row, weights)) in rows.chunks_exact_mut(depth.len()).zip(group.chunks_exact(own.len())).enumerate() {
                for (ky, kx) in (0..window.kernel[0] as usize).flat_map(|ky| (0..window.kernel[1] as usize).map(move |kx| (ky, kx))) {
                    let from = own.index(ky, kx, 0);
                    row[depth.index(ky, kx, o / outputs * inputs)..][..inputs].copy_from_slice(&weights[from..from + inputs]);
                }
            }
            let mut part = std::vec![0; depth.bytes((self.of * outputs).next_multiple_of(4))];
            pack(&rows, depth.len(), &mut part);
            bytes.extend(part);
        }
        bytes
    }

    /// Parameters, rows of one word a channel, group by group.
    pub fn params(&self, rows: &[&[i32]], channels: usize) -> Vec<u8> {
        let own = channels / self.groups;
        let group = |g: usize| {
            let rows: Vec<&[i32]> = rows.iter().map(|row| &row[g * own..][..own]).collect();
            params(&rows, own.next_multiple_of(4))
        };
        (0..self.groups).flat_map(group).collect()
    }
}
