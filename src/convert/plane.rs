//! Rounding of weights that looks at how their inputs go together: Babai's nearest plane. The error of each weight is made good by those that are rounded after it.

use super::hessian::Moments;
use super::matrix::{BLOCK, Strip, TILE, Tile, cholesky, multiply_add};
use super::parallel::chunks;
use super::round::{LARGEST, integer, nearest};
use super::sums::count;
use crate::format::proof::PAIR_LIMIT;
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

/// Integers of the rows that make the error of the outputs small, row by row.
#[must_use]
pub fn round(grid: &Grid<'_>, moments: Vec<Moments>, threads: usize) -> Vec<Vec<i8>> {
    let mut rounded: Vec<Vec<i8>> = grid.rows.iter().map(|r| std::vec![0; r.len()]).collect();
    for part in moments {
        round_part(grid, part, &mut rounded, threads);
    }
    rounded
}

fn round_part(grid: &Grid<'_>, part: Moments, rounded: &mut [Vec<i8>], threads: usize) {
    let Moments { order, matrix: mut r, samples } = part;
    let n = order.len();
    let mean = (0..n).map(|i| r[i * n + i]).sum::<f64>() / count(n.max(1));
    let damping = DAMPING + DAMPING_OF_FEW * count(n.max(1)) / count(samples.max(1));
    (0..n).for_each(|i| r[i * n + i] += damping * mean + LEAST);
    let diagonal: Vec<f64> = (0..n).map(|i| r[i * n + i]).collect();
    cholesky(&mut r, n, threads);
    let mut rank: Vec<usize> = std::vec![usize::MAX; order.iter().max().map_or(0, |m| m + 2)];
    order.iter().enumerate().for_each(|(k, &p)| rank[p] = k);
    let partners: Vec<Option<usize>> = order.iter().map(|p| Some(rank[p ^ 1]).filter(|&k| grid.pair_safe && k < n)).collect();
    // Row by row: what finished columns add to a column that is to come, and the integer of one that is finished.
    // Behind them stands the error of the row's output so far.
    let (outputs, stride) = (grid.rows.len(), n + TILE);
    let mut state = std::vec![0.0; outputs * stride];
    let blocks: Vec<usize> = (0..n).step_by(BLOCK).rev().collect();
    for from in blocks {
        let to = n.min(from + BLOCK);
        let strips = strips(&r, n, from, to);
        chunks(&mut state, ROWS * stride, threads, |chunk, state| {
            let mut errors = std::vec![Strip::default(); (to - from) * ROWS / TILE];
            for (i, state) in state.chunks_mut(stride).enumerate() {
                let o = chunk * ROWS + i;
                let row = Row { weights: &grid.rows[o], steps: grid.steps[o] };
                let errors = &mut errors[i / TILE * (to - from)..][..to - from];
                for k in (from..to).rev() {
                    let position = order[k];
                    let step = row.steps[usize::from(position >= grid.split)];
                    let (low, high) = partners[k].map_or((-LARGEST, LARGEST), |p| room(&row, state, (k, p), (order[p], step)));
                    let weight = row.weights[position];
                    let wanted = weight + state[k];
                    state[k] = (wanted / step + 0.5).floor().clamp(low, high);
                    state[n] += (r[k * n + k] * (wanted - step * state[k])).powi(2);
                    let error = weight - step * state[k];
                    errors[k - from][i % TILE] = error;
                    let below = strips[k - from..].iter().step_by(to - from).take((k - from).div_ceil(TILE));
                    for (sums, factors) in state[from..].as_chunks_mut::<TILE>().0.iter_mut().zip(below) {
                        sums.iter_mut().zip(factors).for_each(|(s, f)| *s += error * f);
                    }
                }
            }
            for (i, factors) in strips[..].chunks(to - from).enumerate().skip((to - from).div_ceil(TILE)) {
                let at = (i - (to - from) / TILE) * TILE;
                for (errors, rows) in errors.chunks(to - from).zip(state.chunks_mut(TILE * stride)) {
                    let mut tile = Tile::default();
                    multiply_add(&mut tile, errors, factors);
                    for (tile, row) in tile.iter().zip(rows.chunks_mut(stride)) {
                        row[at..].iter_mut().zip(tile).for_each(|(s, t)| *s += t);
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

/// R of some columns as strips of four rows, each divided by its diagonal: first those of the rows `from..to`, then those of all rows before.
fn strips(r: &[f64], n: usize, from: usize, to: usize) -> Vec<Strip> {
    let tiles = (from..to).step_by(TILE).chain((0..from).step_by(TILE));
    let strip = |(row, k): (usize, usize)| core::array::from_fn(|i| if row + i < k { r[(row + i) * n + k] / r[(row + i) * n + row + i] } else { 0.0 });
    tiles.flat_map(|row| (from..to).map(move |k| (row, k))).map(strip).collect()
}

/// What the partner `p` of column `k` leaves: its integer if it has one, else what it would be rounded to by itself.
fn room(row: &Row<'_>, integers: &[f64], (k, p): (usize, usize), (position, step): (usize, f64)) -> (f64, f64) {
    let limit = f64::from(PAIR_LIMIT);
    let other = if p > k { integers[p] } else { (row.weights[position] / step + 0.5).floor().clamp(-LARGEST, LARGEST) };
    ((-limit - other.min(0.0)).max(-LARGEST), (limit - other.max(0.0)).min(LARGEST))
}
