//! Dense linear algebra in f64 with a fixed order of additions: the same bits on every CPU and for any number of threads.

use super::parallel::chunks;
use crate::kernels::Kernels;
use std::vec::Vec;

/// Columns that are finished before the rest is updated with them.
pub const BLOCK: usize = 64;
/// Rows and columns of a register tile. Sizes of matrices are multiples of it.
pub const TILE: usize = 4;
/// Rows that a thread takes at a time.
const ROWS: usize = 16;

/// A tile of sums: rows of columns.
pub type Tile = [[f64; TILE]; TILE];
/// One value of each row or column of a tile.
pub type Strip = [f64; TILE];

/// The sums of products of rows and columns, `rows[k][i]·columns[k][j]` over all `k` from the first on.
#[must_use]
pub fn products(rows: &[Strip], columns: &[Strip], kernels: Kernels) -> Tile {
    kernels.vectorized(|| {
        let mut tile = Tile::default();
        for (row, column) in rows.iter().zip(columns) {
            for (sums, r) in tile.iter_mut().zip(row) {
                for (sum, c) in sums.iter_mut().zip(column) {
                    *sum += r * c;
                }
            }
        }
        tile
    })
}

/// Replaces the upper triangle of the symmetric positive definite matrix `a` of `n` rows by R, where A = R'R. What lies below the diagonal is neither read nor written.
///
/// # Panics
/// If `n` is no multiple of [`TILE`].
pub fn cholesky(a: &mut [f64], n: usize, kernels: Kernels, threads: usize) {
    assert_eq!(n % TILE, 0, "the size of a matrix is a multiple of the tile");
    for from in (0..n).step_by(BLOCK) {
        let to = n.min(from + BLOCK);
        let (above, below) = a.split_at_mut(to * n);
        let panel = &mut above[from * n..];
        factor(panel, n, from, to - from);
        let columns = solve(panel, n, from, to - from, threads);
        let strips = |tile: usize| &columns[tile * (to - from)..][..to - from];
        chunks(below, ROWS * n, threads, |chunk, rows| {
            let first = chunk * ROWS;
            for column in first / TILE..(n - to) / TILE {
                for (i, tile_rows) in rows.chunks_mut(TILE * n).enumerate() {
                    let row = first / TILE + i;
                    if row > column {
                        break;
                    }
                    let sums = products(strips(row), strips(column), kernels);
                    for (sums, row) in sums.iter().zip(tile_rows.chunks_mut(n)) {
                        row[to + column * TILE..].iter_mut().zip(sums).for_each(|(x, s)| *x -= s);
                    }
                }
            }
        });
    }
}

/// Factors the diagonal block: `size` rows of `n` whose diagonal begins at column `from`.
fn factor(panel: &mut [f64], n: usize, from: usize, size: usize) {
    for k in 0..size {
        let (before, row) = panel.split_at_mut(k * n);
        let row = &mut row[from..from + size];
        for (p, above) in before.chunks(n).enumerate() {
            let above = &above[from..from + size];
            let factor = above[k];
            debug_assert!(p < k);
            row[k..].iter_mut().zip(&above[k..]).for_each(|(x, a)| *x -= factor * a);
        }
        let root = row[k].sqrt();
        row[k..].iter_mut().for_each(|x| *x /= root);
    }
}

/// Solves for the rest of the block's rows, in place; gives them as strips, those of four columns one after the other.
fn solve(panel: &mut [f64], n: usize, from: usize, size: usize, threads: usize) -> Vec<Strip> {
    let to = from + size;
    let mut strips = std::vec![Strip::default(); size * ((n - to) / TILE)];
    let rows = &*panel;
    // The diagonal block, column by column: in the panel a column's values lie far apart.
    let block: Vec<f64> = (0..size).flat_map(|k| (0..=k).map(move |p| rows[p * n + from + k])).collect();
    chunks(&mut strips, size * ROWS, threads, |chunk, strips| {
        for (i, strips) in strips.chunks_mut(size).enumerate() {
            let at = to + (chunk * ROWS + i) * TILE;
            for k in 0..size {
                let mut x: Strip = core::array::from_fn(|c| rows[k * n + at + c]);
                let (factors, pivot) = (&block[k * (k + 1) / 2..][..k], block[k * (k + 1) / 2 + k]);
                for (factor, done) in factors.iter().zip(&strips[..k]) {
                    x.iter_mut().zip(done).for_each(|(x, d)| *x -= factor * d);
                }
                strips[k] = x.map(|x| x / pivot);
            }
        }
    });
    for (tile, strips) in strips.chunks(size).enumerate() {
        for (k, strip) in strips.iter().enumerate() {
            panel[k * n + to + tile * TILE..][..TILE].copy_from_slice(strip);
        }
    }
    strips
}
