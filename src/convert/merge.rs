//! Groups of a convolution as the device computes them: groups of up to 8 channels lie side by side in the panels; of others neighbouring ones are taken
//! together, with zeros between them, so that panels of 16 outputs are filled.

use super::quantized::params;
use crate::pack::{Depth, LANES, Narrow, pack};
use crate::shape::{LINE, View, Window, round_up};
use std::vec::Vec;

/// Groups of a convolution, several of the network's in each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Merged {
    /// How many there are.
    pub groups: usize,
    /// Whether they lie side by side.
    pub narrow: Option<Narrow>,
    /// How many of the network's are in each.
    of: usize,
    /// Channels that a group of the network reads and makes.
    channels: [usize; 2],
}

impl Merged {
    /// The division of `groups` groups over `inputs` and `outputs` channels that takes the fewest multiplications. With a second operand (`added`) groups do not
    /// lie side by side.
    pub fn new(groups: u32, inputs: u32, outputs: u32, added: bool) -> Self {
        let (groups, channels) = (groups as usize, [inputs, outputs].map(|c| c as usize / groups as usize));
        let narrow = Narrow::of(channels[0].max(4)).filter(|n| channels[0] == channels[1] && n.channels().is_multiple_of(channels[0]));
        if let Some(narrow) = narrow.filter(|n| !added && inputs as usize >= LANES && (inputs as usize).is_multiple_of(n.channels())) {
            return Self { groups: inputs as usize / narrow.channels(), narrow: Some(narrow), of: narrow.channels() / channels[0], channels };
        }
        let fits = |&of: &usize| of == groups || groups.is_multiple_of(of) && channels.iter().all(|c| (of * c).is_multiple_of(4));
        let products = |of: usize| groups / of * round_up(of * channels[1], LANES) * of * channels[0];
        let of = (1..=groups).filter(fits).min_by_key(|&of| (products(of), core::cmp::Reverse(of))).unwrap_or(groups);
        Self { groups: groups / of, narrow: None, of, channels }
    }

    /// The packed weights of rows in the order of a network's group's depth.
    pub fn packed(&self, weights: &[i8], own: &Depth, window: &Window, view: &View) -> Vec<u8> {
        let [inputs, outputs] = self.channels;
        let Some(narrow) = self.narrow else {
            let stored = if self.groups == 1 { view.stored_channels() } else { self.of * inputs };
            return weights
                .chunks_exact(self.of * outputs * own.len())
                .flat_map(|group| self.together(group, own, &Depth::new(window, stored), window))
                .collect();
        };
        let panels = weights.chunks_exact(LANES * own.len());
        let rest = panels.remainder();
        let mut bytes: Vec<u8> = panels.flat_map(|panel| self.side_by_side(panel, narrow, own, window)).collect();
        if !rest.is_empty() {
            bytes.extend(self.together(rest, own, &Depth::new(window, rest.len() / own.len()), window));
        }
        bytes
    }

    /// Packs groups as one, over so many input channels.
    fn together(&self, weights: &[i8], own: &Depth, depth: &Depth, window: &Window) -> Vec<u8> {
        let [inputs, outputs] = self.channels;
        let channels = weights.len() / own.len();
        let mut rows = std::vec![0; channels * depth.len()];
        for (o, (row, weights)) in rows.chunks_exact_mut(depth.len()).zip(weights.chunks_exact(own.len())).enumerate() {
            for (ky, kx) in taps(window) {
                let from = own.index(ky, kx, 0);
                row[depth.index(ky, kx, o / outputs * inputs)..][..inputs].copy_from_slice(&weights[from..from + inputs]);
            }
        }
        let mut bytes = std::vec![0; depth.bytes(channels.next_multiple_of(4))];
        pack(&rows, depth.len(), &mut bytes);
        bytes
    }

    /// Packs a whole panel of narrow groups.
    fn side_by_side(&self, weights: &[i8], narrow: Narrow, own: &Depth, window: &Window) -> Vec<u8> {
        let (inputs, lines) = (self.channels[0], narrow.lines() * LINE);
        let mut bytes = std::vec![0; taps(window).count() * lines];
        for (tap, (ky, kx)) in bytes.chunks_exact_mut(lines).zip(taps(window)) {
            for (o, weights) in weights.chunks_exact(own.len()).enumerate() {
                for c in 0..inputs {
                    tap[narrow.position(o, o % narrow.channels() / inputs * inputs + c)] = weights[own.index(ky, kx, c)].cast_unsigned();
                }
            }
        }
        bytes
    }

    /// Parameters, rows of one word a channel, group by group.
    pub fn params(&self, rows: &[&[i32]], channels: usize) -> Vec<u8> {
        if let Some(narrow) = self.narrow {
            let ordered = |row: &&[i32]| -> Vec<i32> {
                let mut lanes = row.to_vec();
                for (lanes, row) in lanes.chunks_exact_mut(LANES).zip(row.chunks_exact(LANES)) {
                    (0..LANES).for_each(|o| lanes[narrow.lane(o)] = row[o]);
                }
                lanes
            };
            let rows: Vec<Vec<i32>> = rows.iter().map(ordered).collect();
            return params(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>(), channels);
        }
        let own = channels / self.groups;
        let group = |g: usize| {
            let rows: Vec<&[i32]> = rows.iter().map(|row| &row[g * own..][..own]).collect();
            params(&rows, own.next_multiple_of(4))
        };
        (0..self.groups).flat_map(group).collect()
    }
}

/// Rows and columns of the taps of a window.
fn taps(window: &Window) -> impl Iterator<Item = (usize, usize)> + use<> {
    let [rows, cols] = window.kernel.map(|k| k as usize);
    (0..rows * cols).map(move |tap| (tap / cols, tap % cols))
}
