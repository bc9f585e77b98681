//! Histograms of the channels of a tensor. Their bins lie where each channel's largest magnitude wants them, and still the counts do not depend on the order of the pictures.

use super::bytes::{Damage, Reader, Writer};
use super::histogram::count_of;
use std::vec::Vec;

/// Binary places of the mantissa that tell bins apart.
const PLACES: u32 = 5;
/// Powers of two below the largest magnitude that have bins; smaller values are only counted.
const OCTAVES: u32 = 6;
const BINS: usize = (OCTAVES << PLACES) as usize;
/// Pixels of a picture that are counted, at most; maxima see all.
const PIXELS: usize = 4096;
/// Channels whose counts stay in the first cache together.
const TOGETHER: usize = 16;

/// Pictures are counted in so many groups, turn by turn.
pub const GROUPS: usize = 4;

/// All groups.
pub const ALL: [usize; GROUPS] = [0, 1, 2, 3];

/// What is known of the channels of a tensor, group by group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Channels {
    tops: [Vec<f32>; GROUPS],
    /// The bin above the last one of each channel, counted from magnitude 0.
    ends: Vec<u32>,
    counts: [Vec<u32>; GROUPS],
    small: [Vec<u64>; GROUPS],
    seen: [u64; GROUPS],
}

impl Channels {
    /// Counts the values `[h][w][c]` of picture `i`, magnitudes or, if `nonnegative`, what a ReLU leaves.
    pub fn add(&mut self, i: usize, values: &[f32], channels: usize, nonnegative: bool) {
        if self.ends.is_empty() {
            *self = Self::new(channels);
        }
        let group = i % GROUPS;
        let magnitude = |v: f32| {
            if !nonnegative {
                v.abs()
            } else if v > 0.0 {
                v
            } else {
                0.0
            }
        };
        let tops = &mut self.tops[group];
        for pixel in values.chunks_exact(channels) {
            tops.iter_mut().zip(pixel).for_each(|(t, &v)| *t = t.max(magnitude(v)));
        }
        for c in 0..channels {
            let top = self.tops[group][c].to_bits() >> 23;
            if (top + 1) << PLACES > self.ends[c] && top > 0 {
                self.raise(c, (top + 1) << PLACES);
            }
        }
        let pixels = values.len() / channels.max(1);
        let every = pixels.div_ceil(PIXELS) | 1;
        let (counts, small) = (&mut self.counts[group], &mut self.small[group]);
        self.seen[group] += values.chunks_exact(channels).step_by(every).len() as u64;
        for first in (0..channels).step_by(TOGETHER) {
            for pixel in values.chunks_exact(channels).step_by(every) {
                for (c, &value) in (first..).zip(&pixel[first..channels.min(first + TOGETHER)]) {
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
    }

    fn new(channels: usize) -> Self {
        Self {
            tops: core::array::from_fn(|_| std::vec![0.0; channels]),
            ends: std::vec![OCTAVES << PLACES; channels],
            counts: core::array::from_fn(|_| std::vec![0; BINS * channels]),
            small: core::array::from_fn(|_| std::vec![0; channels]),
            seen: [0; GROUPS],
        }
    }

    /// Adds what was counted of other pictures. Both have the same channels, or one has counted nothing.
    pub fn merge(&mut self, other: &Self) {
        if self.is_empty() || other.is_empty() {
            if self.is_empty() {
                self.clone_from(other);
            }
            return;
        }
        let mut other = other.clone();
        for c in 0..self.ends.len() {
            let end = self.ends[c].max(other.ends[c]);
            self.raise(c, end);
            other.raise(c, end);
        }
        for group in 0..GROUPS {
            self.tops[group].iter_mut().zip(&other.tops[group]).for_each(|(a, b)| *a = a.max(*b));
            self.counts[group].iter_mut().zip(&other.counts[group]).for_each(|(a, b)| *a = a.saturating_add(*b));
            self.small[group].iter_mut().zip(&other.small[group]).for_each(|(a, b)| *a = a.saturating_add(*b));
            self.seen[group] = self.seen[group].saturating_add(other.seen[group]);
        }
    }

    /// Writes the counts.
    pub fn write(&self, out: &mut Writer) {
        out.length(self.ends.len());
        self.ends.iter().for_each(|end| out.number((end >> PLACES).into()));
        for group in ALL.into_iter().take_while(|_| !self.is_empty()) {
            self.tops[group].iter().for_each(|&top| out.real(top));
            out.counts(self.counts[group].iter().map(|&n| n.into()));
            out.counts(self.small[group].iter().copied());
            out.number(self.seen[group].into());
        }
    }

    /// Reads what [`write`](Self::write) wrote, of `channels` channels or none.
    ///
    /// # Errors
    /// Where the bytes are wrong.
    pub fn read(bytes: &mut Reader<'_>, channels: usize) -> Result<Self, Damage> {
        let n = bytes.length(channels)?;
        if n == 0 {
            return Ok(Self::default());
        }
        if n != channels {
            return Err(bytes.damage("a tensor has another number of channels"));
        }
        let mut all = Self::new(channels);
        for end in &mut all.ends {
            let octave = bytes.number()?;
            if !(OCTAVES..256).contains(&octave) {
                return Err(bytes.damage("the bins of a channel lie beyond all values"));
            }
            *end = octave << PLACES;
        }
        for group in ALL {
            for top in &mut all.tops[group] {
                *top = bytes.magnitude()?;
            }
            bytes.counts(BINS * channels, |i, count| all.counts[group][i] = u32::try_from(count).unwrap_or(u32::MAX))?;
            bytes.counts(channels, |c, count| all.small[group][c] = count)?;
            all.seen[group] = bytes.number::<u32>()?.into();
        }
        Ok(all)
    }

    /// Moves the bins of a channel up.
    fn raise(&mut self, c: usize, end: u32) {
        let by = ((end - self.ends[c]) as usize).min(BINS);
        for group in 0..GROUPS {
            let bins = &mut self.counts[group][c * BINS..][..BINS];
            self.small[group][c] += bins[..by].iter().map(|&n| u64::from(n)).sum::<u64>();
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

    /// Largest magnitude of channel `c` over one group of the pictures.
    #[must_use]
    pub fn top(&self, group: usize, c: usize) -> f64 {
        f64::from(self.tops[group][c])
    }

    /// The bins of channel `c` that are not empty, from small to large, with the middle and the count of each; `groups` says which pictures count.
    #[must_use]
    pub fn bins(&self, groups: &[usize], c: usize) -> Vec<(f64, f64)> {
        let first = self.ends[c] - (OCTAVES << PLACES);
        let edge = |bin: u32| f64::from(f32::from_bits(bin << (23 - PLACES)));
        let count = |i: usize| groups.iter().map(|&g| f64::from(self.counts[g][c * BINS + i])).sum::<f64>();
        let all = (first..self.ends[c]).zip(0..BINS).map(|(bin, i)| (f64::midpoint(edge(bin), edge(bin + 1)), count(i)));
        all.filter(|(_, n)| *n > 0.0).collect()
    }

    /// How many values of channel `c` are too small for a bin.
    #[must_use]
    pub fn small(&self, groups: &[usize], c: usize) -> f64 {
        groups.iter().map(|&g| count_of(self.small[g][c])).sum()
    }

    /// The largest magnitude of channel `c`.
    #[must_use]
    pub fn largest(&self, c: usize) -> f64 {
        ALL.iter().map(|&group| self.top(group, c)).fold(0.0, f64::max)
    }

    /// Mean and mean square of the magnitudes of channel `c`, zeros included.
    #[must_use]
    pub fn moments(&self, c: usize) -> [f64; 2] {
        let n = count_of(self.seen.iter().sum()).max(1.0);
        let sums = self.bins(&ALL, c).iter().fold([0.0, 0.0], |[s, q], (x, count)| [s + x * count, q + x * x * count]);
        sums.map(|v| v / n)
    }
}
