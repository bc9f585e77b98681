//! Rounding of weights that looks at how their inputs go together: Babai's nearest plane. The error of each weight is made good by those that are rounded after it.

use super::hessian::Moments;
use super::matrix::{BLOCK, Strip, TILE, cholesky, products};
use super::parallel::chunks;
use super::round::{LARGEST, integer, nearest};
use super::sums::count;
use crate::format::proof::PAIR_LIMIT;
use crate::kernels::Kernels;
use core::ops::Range;
use std::vec::Vec;

/// What is added to all moments, as a share of their mean: inputs that hardly move leave their weights free otherwise.
const DAMPING: f64 = 0.01;
/// And more where few samples stand behind the moments: this times positions over samples, since what was seen says little of the rest then.
const DAMPING_OF_FEW: f64 = 0.1;
/// And at least this.
const LEAST: f64 = 1e-9;
/// Rows that a thread takes at a time, a multiple of [`TILE`].
const ROWS: usize = 16;

/// A weight kernel's rows and grids, in the order of depth.
#[derive(Clone, Copy, Debug)]
pub struct Grid<'a> {
    /// Weights, a row for each output.
    pub rows: &'a [Vec<f64>],
    /// Grid step of each row, for positions below `split` and for those from there on.
    pub steps: &'a [[f64; 2]],
    /// Where the second window's positions begin.
    pub split: usize,
    /// True if neighbours of one sign must sum to at most [`PAIR_LIMIT`].
    pub pair_safe: bool,
}

/// One row while it is rounded.
struct Row<'a> {
    weights: &'a [f64],
    steps: [f64; 2],
}

/// Integers of the rows that make the error of the outputs small, row by row: those of the positions whose moments these are go into `rounded`.
pub fn round(grid: &Grid<'_>, moments: Moments, rounded: &mut [Vec<i8>], kernels: Kernels, threads: usize) {
    let Moments { order, matrix: mut r, samples } = moments;
    let n = order.len();
    let mean = (0..n).map(|i| r[i * n + i]).sum::<f64>() / count(n.max(1));
    let damping = DAMPING + DAMPING_OF_FEW * count(n.max(1)) / count(samples.max(1));
    (0..n).for_each(|i| r[i * n + i] += damping * mean + LEAST);
    let diagonal: Vec<f64> = (0..n).map(|i| r[i * n + i]).collect();
    cholesky(&mut r, n, kernels, threads);
    let mut rank: Vec<usize> = std::vec![usize::MAX; order.iter().max().map_or(0, |m| m + 2)];
    order.iter().enumerate().for_each(|(k, &p)| rank[p] = k);
    let partners: Vec<Option<usize>> = order.iter().map(|p| Some(rank[p ^ 1]).filter(|&k| grid.pair_safe && k < n)).collect();
    // Row by row: what finished columns add to a column that is to come, and the integer of one that is finished.
    // Behind them stands the error of the row's output so far.
    let (outputs, stride) = (grid.rows.len(), n + TILE);
    let mut state = std::vec![0.0; outputs * stride];
    let blocks: Vec<usize> = (0..n).step_by(BLOCK).rev().collect();
    for from in blocks {
        let columns = from..n.min(from + BLOCK);
        let (inner, outer) = (inner_strips(&r, n, &columns), outer_strips(&r, n, &columns));
        chunks(&mut state, ROWS * stride, threads, |chunk, state| {
            let mut errors = std::vec![Strip::default(); columns.len() * ROWS / TILE];
            for (i, (state, errors)) in state.chunks_mut(TILE * stride).zip(errors.chunks_mut(columns.len())).enumerate() {
                let first = chunk * ROWS + i * TILE;
                for k in columns.clone().rev() {
                    for ((o, state), error) in (first..).zip(state.chunks_mut(stride)).zip(&mut errors[k - from]) {
                        let row = Row { weights: &grid.rows[o], steps: grid.steps[o] };
                        let position = order[k];
                        let step = row.steps[usize::from(position >= grid.split)];
                        let (low, high) = partners[k].map_or((-LARGEST, LARGEST), |p| room(&row, state, (k, p), (order[p], step)));
                        let weight = row.weights[position];
                        let wanted = weight + state[k];
                        state[k] = (wanted / step + 0.5).floor().clamp(low, high);
                        state[n] += (r[k * n + k] * (wanted - step * state[k])).powi(2);
                        *error = weight - step * state[k];
                    }
                    let factors = inner[(k - from) * columns.len() / TILE..][..(k - from).div_ceil(TILE)].as_flattened();
                    for (state, error) in state.chunks_mut(stride).zip(errors[k - from]) {
                        state[from..].iter_mut().zip(factors).for_each(|(s, f)| *s += error * f);
                    }
                }
            }
            for (at, factors) in (0..from).step_by(TILE).zip(outer.chunks(columns.len())) {
                for (errors, rows) in errors.chunks(columns.len()).zip(state.chunks_mut(TILE * stride)) {
                    for (sums, row) in products(errors, factors, kernels).iter().zip(rows.chunks_mut(stride)) {
                        row[at..].iter_mut().zip(sums).for_each(|(x, s)| *x += s);
                    }
                }
            }
        });
    }
    for (o, row) in rounded.iter_mut().enumerate() {
        let near = near(grid, o);
        let step = |p: usize| grid.steps[o][usize::from(p >= grid.split)];
        let error = |(&p, moment): (&usize, &f64)| moment * (grid.rows[o][p] - step(p) * f64::from(near[p])).powi(2);
        // Where the limits of the integers stand in the way, errors pile up: each weight by itself does less harm.
        if state[o * stride + n] > order.iter().zip(&diagonal).map(error).sum() {
            order.iter().for_each(|&p| row[p] = near[p]);
        } else {
            order.iter().zip(&state[o * stride..]).for_each(|(&p, &q)| row[p] = i8::try_from(integer(q)).unwrap_or_default());
        }
    }
}

/// The nearest integers of a row.
fn near(grid: &Grid<'_>, o: usize) -> Vec<i8> {
    let (first, second) = grid.rows[o].split_at(grid.split.min(grid.rows[o].len()));
    [(first, grid.steps[o][0]), (second, grid.steps[o][1])].into_iter().flat_map(|(row, step)| nearest(row, step, grid.pair_safe)).collect()
}

/// Four rows of a column of R, divided by its diagonal; 0 from the diagonal on.
fn strip(r: &[f64], n: usize, row: usize, k: usize) -> Strip {
    core::array::from_fn(|i| if row + i < k { r[(row + i) * n + k] / r[(row + i) * n + row + i] } else { 0.0 })
}

/// The strips of some columns, a multiple of [`TILE`], in their own rows, column by column.
fn inner_strips(r: &[f64], n: usize, columns: &Range<usize>) -> Vec<Strip> {
    columns.clone().flat_map(|k| columns.clone().step_by(TILE).map(move |row| strip(r, n, row, k))).collect()
}

/// Their strips in all rows before, row by row.
fn outer_strips(r: &[f64], n: usize, columns: &Range<usize>) -> Vec<Strip> {
    (0..columns.start).step_by(TILE).flat_map(|row| columns.clone().map(move |k| strip(r, n, row, k))).collect()
}

/// What the partner `p` of column `k` leaves: its integer if it has one, else what it would be rounded to by itself.
fn room(row: &Row<'_>, integers: &[f64], (k, p): (usize, usize), (position, step): (usize, f64)) -> (f64, f64) {
    let limit = f64::from(PAIR_LIMIT);
    let other = if p > k { integers[p] } else { (row.weights[position] / step + 0.5).floor().clamp(-LARGEST, LARGEST) };
    ((-limit - other.min(0.0)).max(-LARGEST), (limit - other.max(0.0)).min(LARGEST))
}
