//! From the histogram of a tensor to the largest value that its integers stand for.

use super::calibrate::TensorStatistics;
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
    /// The clipping point with the least expected square error, and a margin for what other pictures may bring.
    #[default]
    Mse,
    /// The clipping point whose quantized distribution has the least Kullback-Leibler divergence from the real one.
    Entropy,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MinMax => f.write_str("minmax"),
            Self::Percentile(p) => write!(f, "percentile:{p}"),
            Self::Mse => f.write_str("mse"),
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
            ("entropy", _) => Ok(Self::Entropy),
            (_, Some(Ok(p))) if p > 50.0 && p <= 100.0 => Ok(Self::Percentile(p)),
            _ => Err(std::format!("unknown method '{text}': minmax, percentile:P with P over 50 and at most 100, mse or entropy")),
        }
    }
}

/// Margins over the clipping point that are tried.
const MARGINS: [f64; 6] = [1.0, 1.15, 1.3, 1.5, 1.75, 2.0];
/// Clipping errors of neighbouring values go together, so they weigh more than rounding errors.
const CORRELATION: f64 = 2.0;

/// The largest value that a tensor with `levels` positive levels should stand for; positive.
#[must_use]
pub fn largest(tensor: &TensorStatistics, levels: f64, method: Method) -> f64 {
    let max = f64::from(tensor.max);
    let range = match method {
        Method::MinMax => max,
        Method::Percentile(p) => percentile(&tensor.merged(), p).min(max),
        Method::Mse => with_margin(tensor, levels),
        Method::Entropy => entropy(&tensor.merged(), max),
    };
    if range > 0.0 { range } else { 1.0 }
}

fn percentile(histogram: &Histogram, percent: f64) -> f64 {
    let below = histogram.total() * percent / 100.0;
    let mut sum = 0.0;
    let mut bins = histogram.bins().map(|(_, upper, count)| {
        sum += count;
        (upper, sum)
    });
    bins.find(|(_, sum)| *sum >= below).map_or(0.0, |(upper, _)| upper)
}

/// Linear bins in which distributions are compared, and in how many of them quantization merges them.
const LINEAR_BINS: usize = 2048;
const MERGED_BINS: usize = 128;

fn entropy(histogram: &Histogram, max: f64) -> f64 {
    let mut bins = [0.0; LINEAR_BINS];
    for (middle, _, count) in histogram.bins() {
        let at = (middle / max * 2048.0).floor().clamp(0.0, 2047.0);
        bins[usize::try_from(integer(at)).unwrap_or_default()] += count;
    }
    let points = (MERGED_BINS..=LINEAR_BINS).step_by(16);
    let best = least(points, |&n| divergence(&bins, n)).unwrap_or(LINEAR_BINS);
    max * f64::from(u32::try_from(best).unwrap_or(u32::MAX)) / 2048.0
}

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

/// Expected square error if values over `clip` are clipped and the others rounded to `levels` levels.
fn error(bins: &[(f64, f64)], clip: f64, levels: f64, weight: f64) -> f64 {
    let total: f64 = bins.iter().map(|b| b.1).sum();
    let clipped: f64 = bins.iter().rev().take_while(|b| b.0 > clip).map(|(x, count)| count * (x - clip).powi(2)).sum();
    total * (clip / levels).powi(2) / 12.0 + weight * clipped
}

/// The clipping point with the least error, in hundredths of the maximum.
fn clipping_point(bins: &[(f64, f64)], max: f64, levels: f64) -> f64 {
    let points = (20..=100).map(|f| f64::from(f) / 100.0 * max);
    least(points, |&p| error(bins, p, levels, 1.0)).unwrap_or(max)
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

/// The clipping point, times the margin with the least error when clipping weighs more.
fn with_margin(tensor: &TensorStatistics, levels: f64) -> f64 {
    let bins: Vec<(f64, f64)> = tensor.merged().bins().map(|(middle, _, count)| (middle, count)).collect();
    let point = clipping_point(&bins, f64::from(tensor.max), levels);
    point * least(MARGINS.into_iter(), |m| error(&bins, m * point, levels, CORRELATION)).unwrap_or(1.0)
}
