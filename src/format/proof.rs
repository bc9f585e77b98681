//! What the converter promised of each step, recomputed from the file's own integers.
//!
//! The promises choose no memory: a file whose flags lie computes wrong scores, it cannot do harm. `verify` and `inspect` report it.

use super::plan::{Operation, StepRecord};
use crate::kernels::words;
use crate::ops::add::Add;
use crate::ops::conv::{Conv, Second};
use crate::ops::gate::Gate;
use crate::ops::pool::{Kind, Pool};
use crate::pack::{Depth, LANES, Narrow, panels, params};
use crate::quant::{DataType, MULTIPLIER_LIMIT};

/// Accumulators stay below this.
pub const ACCUMULATOR_LIMIT: i64 = 1 << 31;
/// A convolution's own sum stays below this where exact Winograd kernels may run.
pub const WINOGRAD_LIMIT: i64 = 1 << 25;
/// Weights that meet in one pair sum are together at most this: 255 times it fits into 16 bits.
pub const PAIR_LIMIT: i32 = 128;
/// Factors of a skip or of an addition are at most this.
pub const FACTOR_LIMIT: i32 = 32767;

/// What holds for every possible input of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The largest magnitude of an accumulator.
    pub accumulator: i64,
    /// The largest magnitude of a convolution's own sum.
    pub own: i64,
    /// True if no pair of neighbours in depth exceeds [`PAIR_LIMIT`].
    pub pair_safe: bool,
    /// True if every multiplier and factor is in its range.
    pub factors: bool,
    /// True if the sums that stand beside the weights are theirs.
    pub sums: bool,
    /// True if no weight is -128.
    pub weights: bool,
}

impl Proof {
    /// True if exact Winograd kernels may run.
    #[must_use]
    pub const fn winograd4(&self) -> bool {
        self.own < WINOGRAD_LIMIT
    }
}

/// What holds where nothing is summed.
const HOLDS: Proof = Proof { accumulator: 0, own: 0, pair_safe: true, factors: true, sums: true, weights: true };

/// Computes what holds for a step.
#[must_use]
pub fn prove(step: &StepRecord<'_>) -> Proof {
    match step.operation() {
        Operation::Conv(conv) => prove_conv(&conv),
        Operation::Pool(pool) => prove_pool(&pool),
        Operation::Add(add) => prove_add(&add),
        Operation::Gate(gate) => prove_gate(&gate),
        Operation::Table(_) | Operation::Mirror(_) => HOLDS,
    }
}

/// Checks that a step keeps what its flags and the arithmetic promise.
///
/// # Errors
/// What does not hold.
pub fn check(step: &StepRecord<'_>) -> Result<Proof, &'static str> {
    let proof = prove(step);
    if proof.accumulator >= ACCUMULATOR_LIMIT {
        return Err("an accumulator may overflow");
    }
    if !proof.factors {
        return Err("a multiplier or factor is out of range");
    }
    if !proof.weights {
        return Err("a weight is -128");
    }
    if !proof.sums {
        return Err("a sum of weights is not true");
    }
    if step.winograd4() && !proof.winograd4() {
        return Err("the flag winograd4 is not true");
    }
    if matches!(step.operation(), Operation::Conv(conv) if conv.pair_safe) && !proof.pair_safe {
        return Err("the flag pair_safe is not true");
    }
    Ok(proof)
}

/// Sums of the positive and of the negated negative weights of one lane of a panel, and whether its pairs are safe.
fn sums(weights: &[[u8; 64]], narrow: Option<Narrow>, lane: usize) -> (i64, i64, bool) {
    let (mut positive, mut negative, mut safe) = (0, 0, true);
    let mut add = |word: &[u8]| {
        for pair in word.as_chunks::<2>().0 {
            let pair = pair.map(|b| i32::from(b.cast_signed()));
            let (p, n) = (pair[0].max(0) + pair[1].max(0), -pair[0].min(0) - pair[1].min(0));
            positive += i64::from(p);
            negative += i64::from(n);
            safe &= p <= PAIR_LIMIT && n <= PAIR_LIMIT;
        }
    };
    match narrow {
        None | Some(Narrow::Four) => weights.iter().for_each(|line| add(&line[lane * 4..][..4])),
        Some(Narrow::Eight) => {
            let first = lane / 4 * LANES + lane % 2 * 8;
            weights.iter().skip(lane % 4 / 2).step_by(2).for_each(|line| add(&line[first..][..8]));
        }
    }
    (positive, negative, safe)
}

fn symmetric(weights: &[[u8; 64]]) -> bool {
    !weights.as_flattened().contains(&0x80)
}

const fn magnitude(kind: DataType, (positive, negative): (i64, i64)) -> i64 {
    let (a, b) = match kind {
        DataType::S8 => (127 * positive + 128 * negative, 128 * positive + 127 * negative),
        _ => (255 * positive, 255 * negative),
    };
    if a > b { a } else { b }
}

fn largest(kind: DataType) -> i64 {
    let (low, high) = kind.range();
    i64::from(high).max(-i64::from(low))
}

fn prove_conv(conv: &Conv<'_>) -> Proof {
    let mut proof = HOLDS;
    let rows = params::rows(matches!(conv.second, Second::Skip { .. }), matches!(conv.second, Second::Projection { .. }));
    let parts = (0..conv.parts()).map(|i| conv.part(i));
    for (part, i) in parts.flat_map(|part| (0..panels(part.channels)).map(move |i| (part, i))) {
        let (panel, total) = (part.panel + i, part.taps.total());
        let weights = &conv.weights.as_chunks().0[part.line + i * total..][..total];
        let params = &conv.params.as_chunks().0[panel * rows..][..rows];
        let row = |i: usize| words(&params[i]);
        proof.weights &= symmetric(weights);
        if let Second::Projection { view, window, weights } = &conv.second {
            let total = Depth::new(window, view.stored_channels()).len() / 4;
            proof.weights &= symmetric(&weights.as_chunks().0[panel * total..][..total]);
        }
        for lane in 0..LANES {
            let (positive, negative, safe) = sums(weights, part.narrow, lane);
            let own = magnitude(conv.input.kind, (positive, negative));
            let mut accumulator = i64::from(row(params::BIAS)[lane]).abs();
            proof.pair_safe &= safe;
            proof.sums &= i64::from(row(params::SUM)[lane]) == positive - negative;
            proof.factors &= (0..MULTIPLIER_LIMIT).contains(&row(params::MULTIPLIER)[lane]);
            match &conv.second {
                Second::None => accumulator += own,
                Second::Skip { view, .. } => {
                    let k = row(params::K2)[lane];
                    proof.factors &= (0..=FACTOR_LIMIT).contains(&k);
                    accumulator += own + largest(view.kind) * i64::from(k).abs();
                }
                Second::Projection { view, window, weights } => {
                    let total = Depth::new(window, view.stored_channels()).len() / 4;
                    let (positive, negative, safe) = sums(&weights.as_chunks().0[panel * total..][..total], None, lane);
                    let (k1, k2) = (row(params::K1)[lane], row(params::K2)[lane]);
                    proof.pair_safe &= safe;
                    proof.sums &= i64::from(row(params::SUM2)[lane]) == positive - negative;
                    proof.factors &= (0..=FACTOR_LIMIT).contains(&k1) && (0..=FACTOR_LIMIT).contains(&k2);
                    let other = magnitude(view.kind, (positive, negative)).saturating_mul(i64::from(k2).abs());
                    accumulator = accumulator.saturating_add(own.saturating_mul(i64::from(k1).abs())).saturating_add(other);
                }
            }
            proof.own = proof.own.max(own);
            proof.accumulator = proof.accumulator.max(accumulator);
        }
    }
    proof
}

fn prove_pool(pool: &Pool<'_>) -> Proof {
    let mut proof = HOLDS;
    if let Kind::Average(average) = &pool.kind {
        let taps = i64::from(pool.window.kernel[0]) * i64::from(pool.window.kernel[1]);
        proof.accumulator = (taps * largest(pool.input.kind)) << average.p;
        proof.factors = average.multipliers.iter().all(|m| (0..MULTIPLIER_LIMIT).contains(&i32::from_le_bytes(*m)));
    }
    proof
}

fn prove_add(add: &Add<'_>) -> Proof {
    prove_sum(add.params, add.p, add.y.unwrap_or(add.x).kind, |k1| i64::from(k1).abs() * largest(add.x.kind))
}

fn prove_gate(gate: &Gate<'_>) -> Proof {
    prove_sum(gate.params, gate.p, gate.skip.unwrap_or(gate.x).kind, |k1| largest(gate.gate.kind) * (i64::from(k1).abs() + largest(gate.x.kind)))
}

/// An addition whose first term is at most `term` of its factor.
fn prove_sum(params: &[u8], p: u32, second: DataType, term: impl Fn(i32) -> i64) -> Proof {
    let mut proof = HOLDS;
    for params in params.as_chunks::<64>().0.chunks_exact(params::ADD_ROWS) {
        let row = |i: usize| words(&params[i]);
        for lane in 0..LANES {
            let (k1, k2) = (row(params::K1)[lane], row(params::K2)[lane]);
            let sum = i64::from(row(params::BIAS)[lane]).abs() + term(k1) + i64::from(k2).abs() * largest(second);
            proof.accumulator = proof.accumulator.max(sum << p);
            proof.factors &=
                [k1, k2].iter().all(|k| k.unsigned_abs() <= FACTOR_LIMIT.unsigned_abs()) && (0..MULTIPLIER_LIMIT).contains(&row(params::MULTIPLIER)[lane]);
        }
    }
    proof
}
