//! A histogram of magnitudes whose bins are fixed beforehand: exact to merge, in any order.

use super::bytes::{Damage, Reader, Writer};
use std::vec::Vec;

/// Binary places of the mantissa that tell bins apart.
const PLACES: u32 = 7;
/// The exponents of f32 that have bins of their own: 2^-32 to 2^32.
const FIRST: u32 = (127 - 32) << PLACES;
const LAST: u32 = (127 + 32) << PLACES;

/// Counts of values by magnitude; zeros are not counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    counts: Vec<u64>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: std::vec![0; (LAST - FIRST) as usize] }
    }
}

impl Histogram {
    /// Counts `|value|`.
    #[inline]
    pub fn add(&mut self, value: f32) {
        // No branch: which values are zero cannot be predicted.
        let bits = value.abs().to_bits();
        let bin = (bits >> (23 - PLACES)).clamp(FIRST, LAST - 1) - FIRST;
        self.counts[bin as usize] += u64::from(bits != 0);
    }

    /// Adds what another histogram has counted.
    pub fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(a, b)| *a = a.saturating_add(*b));
    }

    /// Writes the counts.
    pub fn write(&self, out: &mut Writer) {
        out.counts(self.counts.iter().copied());
    }

    /// Reads what [`write`](Self::write) wrote.
    ///
    /// # Errors
    /// Where the bytes are wrong.
    pub fn read(bytes: &mut Reader<'_>) -> Result<Self, Damage> {
        let mut histogram = Self::default();
        bytes.counts(histogram.counts.len(), |i, count| histogram.counts[i] = count)?;
        Ok(histogram)
    }

    /// The bins that are not empty, from small to large: the middle of the bin, its upper end, and the count.
    pub fn bins(&self) -> impl Iterator<Item = (f64, f64, f64)> + '_ {
        let edge = |i: u32| f64::from(f32::from_bits((i + FIRST) << (23 - PLACES)));
        let bins = self.counts.iter().zip(0u32..).filter(|(count, _)| **count > 0);
        bins.map(move |(&count, i)| (f64::midpoint(edge(i), edge(i + 1)), edge(i + 1), count_of(count)))
    }

    /// How many values were counted.
    #[must_use]
    pub fn total(&self) -> f64 {
        count_of(self.counts.iter().sum())
    }
}

/// Counts stay below 2^53.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
pub(super) const fn count_of(count: u64) -> f64 {
    count as f64
}
