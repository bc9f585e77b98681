//! Histograms of the channels of a tensor. Their bins lie where each channel's largest magnitude wants them, and still the counts do not depend on the order of the pictures.

use std::vec::Vec;

/// Binary places of the mantissa that tell bins apart.
const PLACES: u32 = 5;
/// Powers of two below the largest magnitude that have bins; smaller values are only counted.
const OCTAVES: u32 = 10;
const BINS: usize = (OCTAVES << PLACES) as usize;
/// Pixels of a picture that are counted, at most; maxima see all.
const PIXELS: usize = 4096;

/// What is known of the channels of a tensor, of its even (0) and of its odd (1) pictures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Channels {
    tops: [Vec<f32>; 2],
    /// The bin above the last one of each channel, counted from magnitude 0.
    ends: Vec<u32>,
    counts: [Vec<u32>; 2],
    small: [Vec<u64>; 2],
    seen: [u64; 2],
}

impl Channels {
    /// Counts the values `[h][w][c]` of a picture, magnitudes or, if `nonnegative`, what a ReLU leaves.
    pub fn add(&mut self, half: usize, values: &[f32], channels: usize, nonnegative: bool) {
        if self.ends.is_empty() {
            *self = Self::new(channels);
        }
        let magnitude = |v: f32| if nonnegative { v.max(0.0) } else { v.abs() };
        let tops = &mut self.tops[half];
        for pixel in values.chunks_exact(channels) {
            tops.iter_mut().zip(pixel).for_each(|(t, &v)| *t = t.max(magnitude(v)));
        }
        for c in 0..channels {
            let top = self.tops[half][c].to_bits() >> 23;
            if (top + 1) << PLACES > self.ends[c] && top > 0 {
                self.raise(c, (top + 1) << PLACES);
            }
        }
        let pixels = values.len() / channels.max(1);
        let every = pixels.div_ceil(PIXELS) | 1;
        let (counts, small) = (&mut self.counts[half], &mut self.small[half]);
        for pixel in values.chunks_exact(channels).step_by(every) {
            self.seen[half] += 1;
            for (c, &value) in pixel.iter().enumerate() {
                let bits = magnitude(value).to_bits();
                if bits != 0 {
                    match (bits >> (23 - PLACES)).checked_sub(self.ends[c].saturating_sub(OCTAVES << PLACES)) {
                        Some(bin) => counts[c * BINS + bin as usize] += 1,
                        None => small[c] += 1,
                    }
                }
            }
        }
    }

    fn new(channels: usize) -> Self {
        let [counts, tops, small] = [BINS * channels, channels, channels];
        Self {
            tops: [std::vec![0.0; tops], std::vec![0.0; tops]],
            ends: std::vec![OCTAVES << PLACES; channels],
            counts: [std::vec![0; counts], std::vec![0; counts]],
            small: [std::vec![0; small], std::vec![0; small]],
            seen: [0; 2],
        }
    }

    /// Moves the bins of a channel up.
    fn raise(&mut self, c: usize, end: u32) {
        let by = ((end - self.ends[c]) as usize).min(BINS);
        for half in 0..2 {
            let bins = &mut self.counts[half][c * BINS..][..BINS];
            self.small[half][c] += bins[..by].iter().map(|&n| u64::from(n)).sum::<u64>();
            bins.copy_within(by.., 0);
            bins[BINS - by..].fill(0);
        }
        self.ends[c] = end;
    }

    /// How many channels there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    /// True if nothing was counted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Largest magnitude of channel `c` over one half of the pictures.
    #[must_use]
    pub fn top(&self, half: usize, c: usize) -> f64 {
        f64::from(self.tops[half][c])
    }

    /// The bins of channel `c` that are not empty, from small to large, with the middle and the count of each; `halves` says which pictures count.
    #[must_use]
    pub fn bins(&self, halves: &[usize], c: usize) -> Vec<(f64, f64)> {
        let first = self.ends[c] - (OCTAVES << PLACES);
        let edge = |bin: u32| f64::from(f32::from_bits(bin << (23 - PLACES)));
        let count = |i: usize| halves.iter().map(|&h| f64::from(self.counts[h][c * BINS + i])).sum::<f64>();
        let all = (first..self.ends[c]).zip(0..BINS).map(|(bin, i)| (f64::midpoint(edge(bin), edge(bin + 1)), count(i)));
        all.filter(|(_, n)| *n > 0.0).collect()
    }

    /// How many values of channel `c` are too small for a bin.
    #[must_use]
    pub fn small(&self, halves: &[usize], c: usize) -> f64 {
        halves.iter().map(|&h| real(self.small[h][c])).sum()
    }

    /// Mean and mean square of the magnitudes of channel `c`, zeros included.
    #[must_use]
    pub fn moments(&self, c: usize) -> [f64; 2] {
        let n = real(self.seen[0] + self.seen[1]).max(1.0);
        let sums = self.bins(&[0, 1], c).iter().fold([0.0, 0.0], |[s, q], (x, count)| [s + x * count, q + x * x * count]);
        sums.map(|v| v / n)
    }
}

/// Counts stay below 2^53.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
const fn real(count: u64) -> f64 {
    count as f64
}
