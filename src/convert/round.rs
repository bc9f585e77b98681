//! Grid steps and rounding of weights. A row is the weights of one output in the order of [`crate::pack::Depth`], in units of one input step.

use crate::format::proof::PAIR_LIMIT;
use std::vec::Vec;

/// The largest magnitude of a weight.
pub const LARGEST: f64 = 127.0;

/// The smallest admissible grid step of a row: no weight beyond ±127 and, if `pair_safe`, no pair of neighbours of one sign beyond ±128 together.
#[must_use]
pub fn unit(row: &[f64], pair_safe: bool) -> f64 {
    let largest = row.iter().fold(0.0f64, |m, w| m.max(w.abs())) / LARGEST;
    if !pair_safe {
        return largest;
    }
    let pairs = row.as_chunks::<2>().0.iter().filter(|[a, b]| a * b > 0.0).map(|[a, b]| (a + b).abs());
    pairs.fold(largest, |m, sum| m.max(sum / f64::from(PAIR_LIMIT)))
}

/// The row on a grid of `step`: nearest integers, ties up. Where the rounding of a `pair_safe` pair passes its limit, the weight whose error grows least gives way.
#[must_use]
pub fn nearest(row: &[f64], step: f64, pair_safe: bool) -> Vec<i8> {
    let mut rounded: Vec<i32> = row.iter().map(|w| integer((w / step + 0.5).floor().clamp(-LARGEST, LARGEST))).collect();
    if pair_safe {
        for (pair, real) in rounded.as_chunks_mut::<2>().0.iter_mut().zip(row.as_chunks::<2>().0) {
            let sign = pair[0].signum();
            while sign != 0 && sign == pair[1].signum() && (pair[0] + pair[1]).abs() > PAIR_LIMIT {
                let excess = |i: usize| f64::from(sign) * (f64::from(pair[i]) - real[i] / step);
                let i = usize::from(excess(1) > excess(0));
                pair[i] -= sign;
            }
        }
    }
    rounded.into_iter().map(|q| i8::try_from(q).unwrap_or_default()).collect()
}

/// `value` as an integer; it is one already, in range.
#[expect(clippy::cast_possible_truncation, reason = "the caller has brought it into range")]
#[must_use]
pub const fn integer(value: f64) -> i32 {
    value as i32
}

/// Largest small factor of a projection's sum.
const FACTORS: u32 = 16;

/// The coprime factors K1 and K2, and the common unit g with `g·K1 >= u1` and `g·K2 >= u2`, that make the least noise when the inputs have the energies `a1` and `a2`.
#[must_use]
pub fn fraction(u1: f64, u2: f64, a1: f64, a2: f64) -> (u32, u32, f64) {
    let mut best = (1, 1, u1.max(u2), f64::INFINITY);
    for k1 in 1..=FACTORS {
        for k2 in (1..=FACTORS).filter(|&k2| gcd(k1, k2) == 1) {
            let (f1, f2) = (f64::from(k1), f64::from(k2));
            let g = (u1 / f1).max(u2 / f2);
            let cost = a1 * (g * f1).powi(2) + a2 * (g * f2).powi(2);
            if cost < best.3 {
                best = (k1, k2, g, cost);
            }
        }
    }
    (best.0, best.1, best.2)
}

const fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
