//! From the histogram of a tensor to the largest value that its integers stand for.

use super::calibrate::TensorStatistics;
use super::channels::{ALL, Channels};
use super::histogram::Histogram;
use super::round::integer;
use core::fmt;
use core::str::FromStr;
use std::string::String;
use std::vec::Vec;

/// How the range of a tensor is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
#[non_exhaustive]
pub enum Method {
    /// The largest magnitude that was seen.
    MinMax,
    /// The magnitude below which this many percent of the values other than zero lie.
    Percentile(f64),
    /// The clipping point with the least expected square error.
    Mse,
    /// The same with a margin and a least share of the tensor's range, so chosen that points found on three quarters of the pictures serve the last one best.
    #[default]
    CrossValidated,
    /// The clipping point whose quantized distribution has the least Kullback-Leibler divergence from the real one.
    Entropy,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MinMax => f.write_str("minmax"),
            Self::Percentile(p) => write!(f, "percentile:{p}"),
            Self::Mse => f.write_str("mse"),
            Self::CrossValidated => f.write_str("cv"),
            Self::Entropy => f.write_str("entropy"),
        }
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("percentile:").map(str::parse::<f64>)) {
            ("minmax", _) => Ok(Self::MinMax),
            ("mse", _) => Ok(Self::Mse),
            ("cv", _) => Ok(Self::CrossValidated),
            ("entropy", _) => Ok(Self::Entropy),
            (_, Some(Ok(p))) if p > 50.0 && p <= 100.0 => Ok(Self::Percentile(p)),
            _ => Err(std::format!("unknown method '{text}': cv, minmax, percentile:P with P over 50 and at most 100, mse or entropy")),
        }
    }
}

/// Margins over the clipping point that are tried.
const MARGINS: [f64; 6] = [1.0, 1.15, 1.3, 1.5, 1.75, 2.0];
/// Shares of the tensor's clipping point under which no channel's falls.
const SHARES: [f64; 8] = [0.0, 0.125, 0.18, 0.25, 0.35, 0.5, 0.7, 1.0];
/// Clipping errors of neighbouring values go together, so they weigh more than rounding errors.
const CORRELATION: f64 = 2.0;

/// The magnitudes other than zero of a tensor or of a channel.
struct Magnitudes {
    /// Middle and count, from small to large.
    bins: Vec<(f64, f64)>,
    /// How many there are, with those too small for a bin.
    total: f64,
    max: f64,
}

impl Magnitudes {
    fn of(histogram: &Histogram, max: f64) -> Self {
        Self { bins: histogram.bins().map(|(middle, _, count)| (middle, count)).collect(), total: histogram.total(), max }
    }

    fn channel(channels: &Channels, groups: &[usize], c: usize) -> Self {
        let bins = channels.bins(groups, c);
        let total = bins.iter().map(|b| b.1).sum::<f64>() + channels.small(groups, c);
        Self { bins, total, max: groups.iter().fold(0.0, |m, &g| channels.top(g, c).max(m)) }
    }

    /// Expected square error if values over `clip` are clipped, which weighs `weight`, and the others rounded to `levels` levels.
    fn error(&self, clip: f64, levels: f64, weight: f64) -> f64 {
        let clipped: f64 = self.bins.iter().rev().take_while(|b| b.0 > clip).map(|(x, count)| count * (x - clip).powi(2)).sum();
        self.total * (clip / levels).powi(2) / 12.0 + weight * clipped
    }

    /// The clipping point with the least error, in hundredths of the maximum.
    fn clipping_point(&self, levels: f64) -> f64 {
        let points = (20..=100).map(|f| f64::from(f) / 100.0 * self.max);
        least(points, |&p| self.error(p, levels, 1.0)).unwrap_or(self.max)
    }

    fn largest(&self, levels: f64, method: Method) -> f64 {
        match method {
            Method::MinMax => self.max,
            Method::Percentile(p) => self.percentile(p).min(self.max),
            Method::Mse | Method::CrossValidated => self.clipping_point(levels),
            Method::Entropy => self.entropy(),
        }
    }

    fn percentile(&self, percent: f64) -> f64 {
        let below = self.total * percent / 100.0;
        let mut sum = self.total - self.bins.iter().map(|b| b.1).sum::<f64>();
        let mut bins = self.bins.iter().map(|(middle, count)| {
            sum += count;
            (*middle, sum)
        });
        bins.find(|(_, sum)| *sum >= below).map_or(0.0, |(middle, _)| middle)
    }

    fn entropy(&self) -> f64 {
        let mut bins = [0.0; LINEAR_BINS];
        for (middle, count) in &self.bins {
            let at = (middle / self.max * 2048.0).floor().clamp(0.0, 2047.0);
            bins[usize::try_from(integer(at)).unwrap_or_default()] += count;
        }
        let points = (MERGED_BINS..=LINEAR_BINS).step_by(16);
        let best = least(points, |&n| divergence(&bins, n)).unwrap_or(LINEAR_BINS);
        self.max * f64::from(u32::try_from(best).unwrap_or(u32::MAX)) / 2048.0
    }
}

/// The largest value that a tensor with `levels` positive levels and one scale should stand for; positive.
#[must_use]
pub fn largest(tensor: &TensorStatistics, levels: f64, method: Method) -> f64 {
    let all = Magnitudes::of(&tensor.histogram, f64::from(tensor.max));
    let point = all.largest(levels, method);
    let margin = |m: &f64| all.error(m * point, levels, CORRELATION);
    let range = if method == Method::CrossValidated { point * least(MARGINS.into_iter(), margin).unwrap_or(1.0) } else { point };
    if range > 0.0 { range } else { 1.0 }
}

/// The largest value that each channel of such a tensor should stand for, 0 for channels without values. Errors of channel `c` weigh `weights[c]`.
#[must_use]
pub fn bounds(tensor: &TensorStatistics, levels: f64, method: Method, weights: &[f64]) -> Vec<f64> {
    let channels = &tensor.channels;
    let point = |groups: &[usize], c: usize| Magnitudes::channel(channels, groups, c).largest(levels, method);
    let points: Vec<f64> = (0..channels.len()).map(|c| point(&ALL, c)).collect();
    if method != Method::CrossValidated {
        return points;
    }
    let whole = Magnitudes::of(&tensor.histogram, f64::from(tensor.max)).clipping_point(levels);
    let choices: Vec<(f64, f64)> = MARGINS.into_iter().flat_map(|m| SHARES.into_iter().map(move |s| (m, s))).collect();
    let bound = |(margin, share): (f64, f64), point: f64| margin * point.max(share * whole);
    let mut costs = std::vec![0.0; choices.len()];
    for (c, weight) in weights.iter().enumerate() {
        for group in ALL {
            let others: Vec<usize> = ALL.into_iter().filter(|&g| g != group).collect();
            let (point, unseen) = (point(&others, c), Magnitudes::channel(channels, &[group], c));
            for (cost, &choice) in costs.iter_mut().zip(&choices) {
                *cost += weight * unseen.error(bound(choice, point), levels, CORRELATION);
            }
        }
    }
    let choice = least(choices.iter().zip(&costs), |(_, cost)| **cost).map_or((1.0, 1.0), |(choice, _)| *choice);
    points.into_iter().map(|point| bound(choice, point)).collect()
}

/// Linear bins in which distributions are compared, and in how many of them quantization merges them.
const LINEAR_BINS: usize = 2048;
const MERGED_BINS: usize = 128;

/// Kullback-Leibler divergence of the first `n` bins, what lies beyond added to the last, from the same bins merged in groups.
fn divergence(bins: &[f64; LINEAR_BINS], n: usize) -> f64 {
    let mut real = bins[..n].to_vec();
    real[n - 1] += bins[n..].iter().sum::<f64>();
    let mut merged = std::vec![0.0; n];
    for group in 0..MERGED_BINS {
        let range = group * n / MERGED_BINS..(group + 1) * n / MERGED_BINS;
        let sum: f64 = bins[range.clone()].iter().sum();
        let live = bins[range.clone()].iter().filter(|&&b| b > 0.0).count();
        let mean = sum / f64::from(u32::try_from(live.max(1)).unwrap_or(1));
        range.filter(|&i| bins[i] > 0.0).for_each(|i| merged[i] = mean);
    }
    let (all, kept) = (real.iter().sum::<f64>(), merged.iter().sum::<f64>());
    // A bin that the merged distribution does not have weighs as if it held a thousandth of a value.
    real.iter().zip(&merged).filter(|(p, _)| **p > 0.0).map(|(p, q)| p / all * ((p / all) / (q.max(1e-3) / kept)).ln()).sum()
}

/// The first item with the least cost.
fn least<T>(items: impl Iterator<Item = T>, cost: impl Fn(&T) -> f64) -> Option<T> {
    let mut best: Option<(f64, T)> = None;
    for item in items {
        let c = cost(&item);
        if best.as_ref().is_none_or(|(b, _)| c < *b) {
            best = Some((c, item));
        }
    }
    best.map(|(_, item)| item)
}
