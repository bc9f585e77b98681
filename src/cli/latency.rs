//! Times of many runs, as percentiles: exact from a list, or nearly so from a histogram of fixed size.

use serde::Serialize;

/// What many runs took, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// The shortest.
    pub min_ms: f64,
    /// The median.
    pub p50_ms: f64,
    /// Nine of ten take at most this.
    pub p90_ms: f64,
    /// 95 of 100.
    pub p95_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
    /// 999 of 1000.
    pub p999_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// The mean.
    pub mean_ms: f64,
}

impl Latency {
    /// Of times in nanoseconds, which it sorts.
    #[must_use]
    pub fn of(times: &mut [u64]) -> Self {
        times.sort_unstable();
        let mean = times.iter().map(|&t| millis(t)).sum::<f64>() / times.len() as f64;
        Self::with(mean, |thousandths| percentile(times, thousandths))
    }

    fn with(mean_ms: f64, nanoseconds: impl Fn(usize) -> u64) -> Self {
        let at = |thousandths| millis(nanoseconds(thousandths));
        Self { min_ms: at(0), p50_ms: at(500), p90_ms: at(900), p95_ms: at(950), p99_ms: at(990), p999_ms: at(999), max_ms: at(1000), mean_ms }
    }
}

/// Nanoseconds as milliseconds.
#[must_use]
pub fn millis(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}

/// The value at or below which so many thousandths of the sorted values lie; 0 if there are none.
#[must_use]
pub fn percentile(sorted: &[u64], thousandths: usize) -> u64 {
    let rank = (thousandths * sorted.len()).div_ceil(1000);
    sorted.get(rank.max(1) - 1).copied().unwrap_or(0)
}

/// Bits of a value that a bin tells apart: values of a bin differ by less than one in 128.
const BITS: u32 = 7;
const SUB: usize = 1 << BITS;
const BINS: usize = (64 - BITS as usize + 1) * SUB;

/// Counts of times by bins whose width grows with the time. Its size does not depend on how many there are, and adding one allocates nothing.
#[derive(Clone, Debug)]
pub struct Histogram {
    bins: Box<[u64]>,
    count: u64,
    sum: u128,
    min: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { bins: vec![0; BINS].into(), count: 0, sum: 0, min: u64::MAX, max: 0 }
    }
}

impl Histogram {
    /// How many times were added.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Adds a time in nanoseconds.
    pub fn add(&mut self, nanoseconds: u64) {
        self.bins[bin(nanoseconds)] += 1;
        self.count += 1;
        self.sum += u128::from(nanoseconds);
        self.min = self.min.min(nanoseconds);
        self.max = self.max.max(nanoseconds);
    }

    /// Adds the times of another.
    pub fn merge(&mut self, other: &Self) {
        self.bins.iter_mut().zip(&other.bins).for_each(|(own, n)| *own += n);
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.bins.fill(0);
        (self.count, self.sum, self.min, self.max) = (0, 0, u64::MAX, 0);
    }

    /// What was added. Shortest, longest and mean are exact, the others right to half a percent.
    #[must_use]
    pub fn latency(&self) -> Latency {
        let mean = self.sum as f64 / self.count as f64 / 1e6;
        Latency::with(mean, |thousandths| match thousandths {
            0 => self.min,
            1000 => self.max,
            _ => self.percentile(thousandths),
        })
    }

    fn percentile(&self, thousandths: usize) -> u64 {
        let (rank, mut seen) = ((thousandths as u64 * self.count).div_ceil(1000).max(1), 0);
        let found = self.bins.iter().position(|n| {
            seen += n;
            seen >= rank
        });
        found.map_or(0, |bin| middle(bin).clamp(self.min, self.max))
    }
}

/// The bin of a value: the value itself below 256, else its magnitude and its highest bits.
const fn bin(value: u64) -> usize {
    let shift = (64 - value.leading_zeros()).saturating_sub(BITS + 1);
    shift as usize * SUB + (value >> shift).to_le_bytes()[0] as usize
}

/// The middle of a bin.
const fn middle(bin: usize) -> u64 {
    if bin < 2 * SUB {
        return bin as u64;
    }
    let shift = bin / SUB - 1;
    let first = ((bin - shift * SUB) as u64) << shift;
    first + (1 << shift) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let times: Vec<u64> = (1..=1000).collect();
        let at = |p| percentile(&times, p);
        assert_eq!([at(0), at(500), at(900), at(990), at(999), at(1000)], [1, 500, 900, 990, 999, 1000]);
        assert_eq!((percentile(&[7], 500), percentile(&[7], 999), percentile(&[], 500)), (7, 7, 0));
    }

    #[test]
    fn bins_follow_each_other() {
        let mut values: Vec<u64> = (0..70_000).chain((16..63).flat_map(|e| [(1 << e) - 1, 1 << e, (1 << e) + 1])).chain([u64::MAX]).collect();
        values.sort_unstable();
        assert!(values.is_sorted_by_key(|&v| bin(v)) && bin(u64::MAX) == BINS - 1);
        assert!((0..70_000).map(bin).is_sorted_by(|a, b| a == b || a + 1 == *b), "none is left out");
        for &v in &values {
            assert!(middle(bin(v)).abs_diff(v) <= v / 256 + u64::from(v >= 256), "{v}");
        }
    }

    #[test]
    fn a_histogram_is_close_to_the_list() {
        let mut times: Vec<u64> = (0..20_011u64).map(|i| 400_000 + (i * 7919) % 90_001 + if i % 500 == 0 { 5_000_000 } else { 0 }).collect();
        let (mut halves, mut all) = ([Histogram::default(), Histogram::default()], Histogram::default());
        times.iter().enumerate().for_each(|(i, &t)| halves[i % 2].add(t));
        halves.iter().for_each(|half| all.merge(half));
        let (near, exact) = (all.latency(), Latency::of(&mut times));
        assert_eq!((near.min_ms, near.max_ms, all.count()), (exact.min_ms, exact.max_ms, 20_011));
        assert!((near.mean_ms / exact.mean_ms - 1.0).abs() < 1e-9);
        for (near, exact) in [(near.p50_ms, exact.p50_ms), (near.p90_ms, exact.p90_ms), (near.p99_ms, exact.p99_ms), (near.p999_ms, exact.p999_ms)] {
            assert!((near / exact - 1.0).abs() <= 0.004, "{near} {exact}");
        }
        all.clear();
        all.add(5);
        assert_eq!((all.latency().max_ms, all.latency().p50_ms, all.latency().min_ms), (5e-6, 5e-6, 5e-6));
    }
}
