//! Histograms of the channels of a tensor. Their bins lie where each channel's largest magnitude wants them, and still the counts do not depend on the order of the pictures.

use super::bytes::{Damage, Reader, Writer};
use super::histogram::count_of;
use std::vec::Vec;

/// Binary places of the mantissa that tell bins apart.
const PLACES: u32 = 5;
/// Powers of two below the largest magnitude that have bins; smaller values are only counted.
const OCTAVES: u32 = 6;
const BINS: usize = (OCTAVES << PLACES) as usize;
/// What a channel has: one count of small values, and those of the bins.
const SLOTS: usize = 1 + BINS;
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
    /// [`SLOTS`] a channel.
    counts: [Vec<u32>; GROUPS],
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
        self.seen[group] += values.chunks_exact(channels).step_by(every).len() as u64;
        let (counts, ends) = (self.counts[group].chunks_mut(TOGETHER * SLOTS), self.ends.chunks(TOGETHER));
        for ((first, counts), ends) in (0..).step_by(TOGETHER).zip(counts).zip(ends) {
            for pixel in values.chunks_exact(channels).step_by(every) {
                for ((&value, counts), end) in pixel[first..].iter().zip(counts.chunks_exact_mut(SLOTS)).zip(ends) {
                    // Nothing here branches: which values are zero cannot be predicted.
                    let bits = magnitude(value).to_bits();
                    let slot = ((bits >> (23 - PLACES)) + 1).saturating_sub(end - (OCTAVES << PLACES)) as usize;
                    counts[slot] = counts[slot].saturating_add(u32::from(bits != 0));
                }
            }
        }
    }

    fn new(channels: usize) -> Self {
        Self {
            tops: core::array::from_fn(|_| std::vec![0.0; channels]),
            ends: std::vec![OCTAVES << PLACES; channels],
            counts: core::array::from_fn(|_| std::vec![0; SLOTS * channels]),
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
            self.seen[group] = self.seen[group].saturating_add(other.seen[group]);
        }
    }

    /// Writes the counts.
    pub fn write(&self, out: &mut Writer) {
        out.length(self.ends.len());
        self.ends.iter().for_each(|end| out.number((end >> PLACES).into()));
        for group in ALL.into_iter().take_while(|_| !self.is_empty()) {
            self.tops[group].iter().for_each(|&top| out.real(top));
            out.counts(self.counts[group].chunks_exact(SLOTS).flat_map(|slots| &slots[1..]).map(|&n| n.into()));
            out.counts(self.counts[group].iter().step_by(SLOTS).map(|&n| n.into()));
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
            let mut put = |slot: usize, count| all.counts[group][slot] = u32::try_from(count).unwrap_or(u32::MAX);
            bytes.counts(BINS * channels, |i, count| put(i / BINS * SLOTS + 1 + i % BINS, count))?;
            bytes.counts(channels, |c, count| put(c * SLOTS, count))?;
            all.seen[group] = bytes.number::<u32>()?.into();
        }
        Ok(all)
    }

    /// Moves the bins of a channel up.
    fn raise(&mut self, c: usize, end: u32) {
        let by = ((end - self.ends[c]) as usize).min(BINS);
        for group in 0..GROUPS {
            let slots = &mut self.counts[group][c * SLOTS..][..SLOTS];
            slots[0] = slots[..=by].iter().fold(0, |sum, &n| sum.saturating_add(n));
            slots.copy_within(1 + by.., 1);
            slots[SLOTS - by..].fill(0);
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
        let count = |i: usize| groups.iter().map(|&g| f64::from(self.counts[g][c * SLOTS + i])).sum::<f64>();
        let all = (first..self.ends[c]).zip(1..SLOTS).map(|(bin, i)| (f64::midpoint(edge(bin), edge(bin + 1)), count(i)));
        all.filter(|(_, n)| *n > 0.0).collect()
    }

    /// How many values of channel `c` are too small for a bin.
    #[must_use]
    pub fn small(&self, groups: &[usize], c: usize) -> f64 {
        groups.iter().map(|&g| f64::from(self.counts[g][c * SLOTS])).sum()
    }

    /// The largest magnitude of channel `c`.
    #[must_use]
    pub fn largest(&self, c: usize) -> f64 {
        ALL.iter().map(|&group| self.top(group, c)).fold(0.0, f64::max)
    }

    /// The largest magnitude of all channels.
    #[must_use]
    pub fn max(&self) -> f32 {
        self.tops.iter().flatten().fold(0.0, |max, &top| top.max(max))
    }

    /// Mean and mean square of the magnitudes of channel `c`, zeros included.
    #[must_use]
    pub fn moments(&self, c: usize) -> [f64; 2] {
        let n = count_of(self.seen.iter().sum()).max(1.0);
        let sums = self.bins(&ALL, c).iter().fold([0.0, 0.0], |[s, q], (x, count)| [s + x * count, q + x * x * count]);
        sums.map(|v| v / n)
    }
}
