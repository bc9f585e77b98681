//! How the inputs of a layer go together: the centred second moments of what its weights meet, in the order of depth.
//!
//! The sums of products are a matrix product of bytes, so the device's own convolution kernels make them: integers, the same on every kernel set.

mod products;
mod sampled;
mod shifted;

use super::sums::{count, real};
use crate::kernels::Kernels;
use crate::pack::{Depth, LANES};
use crate::quant::DataType;
use crate::shape::{View, Window};
use core::ops::Range;
use sampled::Sampled;
use shifted::Shifted;
use std::sync::{Mutex, PoisonError};
use std::vec::Vec;

/// What a window reads: the bytes of all pictures, the bytes of its border (empty for zeros).
#[derive(Clone, Copy, Debug)]
pub struct Reads<'a> {
    /// One tensor a picture.
    pub pictures: &'a [Vec<u8>],
    /// Where it lies in these bytes.
    pub view: View,
    /// The window over it.
    pub window: Window,
    /// One byte a channel, or none.
    pub padding: &'a [u8],
}

impl Reads<'_> {
    fn depth(&self) -> Depth {
        Depth::new(&self.window, self.view.stored_channels())
    }

    /// A byte of a tensor or of its border, moved to 0..=254, where [`MIDDLE`] stands in the middle.
    fn turned(&self, byte: u8) -> u8 {
        let flip = if matches!(self.view.kind, DataType::S8) { 0x80 } else { 0 };
        (byte ^ flip).min(2 * MIDDLE)
    }
}

/// Moments of some neighbouring positions in depth.
#[derive(Clone, Debug)]
pub struct Moments {
    /// The positions in the order of the matrix, from the least to the greatest moment; those of a second window follow those of the first.
    pub order: Vec<usize>,
    /// The matrix, row by row; only its upper triangle is filled.
    pub matrix: Vec<f64>,
    /// How many windows were looked at.
    pub samples: usize,
}

/// Positions in depth whose moments are looked at together. Deeper layers are taken in parts.
const TOGETHER: usize = 4608;
/// Sums of so many products of bytes stay below 2^31, and so many squares below 2^32.
const SAMPLES: usize = 65_536;
/// Bytes that samples of a layer may take.
const BYTES: usize = 64 << 20;
/// Rows of samples that a thread multiplies with all others at a time.
const BAND: usize = 4 * LANES;
/// The byte that stands for zero among the products' second factors.
const MIDDLE: u8 = 127;

/// The moments of what windows read side by side, whose output has the given size, in as many parts as it takes, one after the other: a part is large.
pub fn moments(reads: &[Reads<'_>], size: [u32; 2], kernels: Kernels, threads: usize) -> impl Iterator<Item = Moments> {
    let depth: usize = reads.iter().map(|r| r.depth().len()).sum();
    let parts = depth.div_ceil(TOGETHER);
    let share = depth.div_ceil(parts.max(1)).next_multiple_of(4);
    let ranges = (0..depth).step_by(share.max(1)).map(move |from| from..depth.min(from + share));
    ranges.map(move |range| part(reads, range, size, kernels, threads))
}

fn part(reads: &[Reads<'_>], positions: Range<usize>, size: [u32; 2], kernels: Kernels, threads: usize) -> Moments {
    let sampled = Sampled::new(reads, positions.clone(), size);
    let shifted = if let [read] = reads { Shifted::new(read, positions.clone(), size) } else { None };
    match shifted.filter(|s| s.products() < sampled.products()) {
        Some(shifted) => shifted.moments(kernels, threads),
        None => sampled.moments(kernels, threads),
    }
}

/// Sum and sum of squares of at most [`SAMPLES`] bytes.
fn sums(row: &[u8]) -> [f64; 2] {
    let (sum, squares) = row.iter().fold((0u32, 0u32), |(s, q), &b| (s + u32::from(b), q + u32::from(b) * u32::from(b)));
    [sum, squares].map(|v| real(v.into()))
}

/// Moments that are being filled in.
struct Field {
    /// Sum and sum of squares of each position's samples.
    totals: Vec<[f64; 2]>,
    samples: usize,
    order: Vec<usize>,
    /// The place of each position in the order.
    rank: Vec<usize>,
    matrix: Mutex<Vec<f64>>,
}

impl Field {
    fn new(totals: Vec<[f64; 2]>, samples: usize) -> Self {
        let (n, count) = (totals.len(), count(samples));
        let moment = |i: usize| totals[i][1] / count - (totals[i][0] / count).powi(2);
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&a, &b| moment(a).total_cmp(&moment(b)));
        let mut rank = std::vec![0; n];
        order.iter().enumerate().for_each(|(r, &i)| rank[i] = r);
        Self { totals, samples, order, rank, matrix: Mutex::new(std::vec![0.0; n * n]) }
    }

    /// Fills in pairs of positions, each with half of the sum of products that [`products::halves`] makes of the samples of the first and of the second.
    fn fill(&self, halves: impl Iterator<Item = (usize, usize, f64)>) {
        let (n, count) = (self.rank.len(), count(self.samples));
        let mut matrix = self.matrix.lock().unwrap_or_else(PoisonError::into_inner);
        for (i, j, half) in halves {
            let sum = 2.0 * half + f64::from(MIDDLE) * self.totals[i][0];
            let (a, b) = (self.rank[i].min(self.rank[j]), self.rank[i].max(self.rank[j]));
            matrix[a * n + b] = sum / count - self.totals[i][0] / count * (self.totals[j][0] / count);
        }
    }

    /// The moments, of positions that begin at `first`.
    fn moments(mut self, first: usize) -> Moments {
        self.order.iter_mut().for_each(|i| *i += first);
        Moments { order: self.order, matrix: self.matrix.into_inner().unwrap_or_else(PoisonError::into_inner), samples: self.samples }
    }
}
