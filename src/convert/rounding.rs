//! From real weights to integers on a grid that stands already.

use super::choices::Rounding;
use super::hessian::{Reads, moments};
use super::layer::part;
use super::plane;
use super::quantize::Walk;
use super::round::nearest;
use crate::pack::Depth;
use crate::shape::{View, Window};
use std::vec::Vec;

/// The weights of one window of a layer, and what they read.
pub(super) struct Rows<'a> {
    /// The tensor of the integer network that they read, and where in its bytes.
    pub tensor: usize,
    pub view: View,
    pub window: Window,
    pub padding: &'a [u8],
    /// In the order of depth, in units of one step of the input.
    pub rows: Vec<Vec<f64>>,
    /// What the unit of each row is multiplied with.
    pub factors: &'a [i32],
}

/// The integers of the weights of a layer and of its projection, row by row.
pub(super) fn integers(walk: &Walk<'_>, unit: &[f64], main: Rows<'_>, projection: Option<Rows<'_>>, size: [u32; 2]) -> [Vec<i8>; 2] {
    let pair_safe = walk.options.pair_safe;
    let step = |rows: &Rows<'_>, o: usize| unit[o] * f64::from(rows.factors[o]);
    if walk.options.rounding == Rounding::Nearest {
        let one = |rows: &Rows<'_>| rows.rows.iter().enumerate().flat_map(|(o, row)| nearest(row, step(rows, o), pair_safe)).collect();
        return [one(&main), projection.as_ref().map(one).unwrap_or_default()];
    }
    let reads = |rows: &Rows<'_>| (rows.tensor, rows.view, rows.window);
    let windows = [Some((reads(&main), main.padding)), projection.as_ref().map(|p| (reads(p), p.padding))];
    let reads: Vec<Reads<'_>> =
        windows.iter().flatten().map(|&((t, view, window), padding)| Reads { pictures: &walk.data[t], view, window, padding }).collect();
    let split = Depth::new(&main.window, main.view.stored_channels()).len();
    let steps: Vec<[f64; 2]> = (0..unit.len()).map(|o| [step(&main, o), projection.as_ref().map_or(1.0, |p| step(p, o))]).collect();
    let mut rows = main.rows;
    if let Some(p) = projection {
        rows.iter_mut().zip(p.rows).for_each(|(row, more)| row.extend(more));
    }
    let grid = plane::Grid { rows: &rows, steps: &steps, split, pair_safe };
    let mut rounded: Vec<Vec<i8>> = rows.iter().map(|r| std::vec![0; r.len()]).collect();
    let mut parts = moments(&reads, size, walk.kernels, walk.options.threads);
    while let Some(part) = walk.spent.moments.of(|| parts.next()) {
        walk.spent.rounding.of(|| plane::round(&grid, part, &mut rounded, walk.kernels, walk.options.threads));
    }
    let part = |pick: fn(&[i8], usize) -> &[i8]| rounded.iter().flat_map(|row| pick(row, split)).copied().collect();
    [part(|row, split| &row[..split]), part(|row, split| &row[split..])]
}

/// The integers of the weights of a layer in groups.
pub(super) fn by_group(walk: &Walk<'_>, unit: &[f64], main: Rows<'_>, groups: u32, size: [u32; 2]) -> Vec<i8> {
    let (outputs, channels) = (unit.len() / groups as usize, main.view.c / groups);
    if channels == 1 {
        // A depthwise convolution has too many groups, and too few weights in each, to look at moments.
        return main.rows.iter().zip(unit).flat_map(|(row, unit)| nearest(row, *unit, walk.options.pair_safe)).collect();
    }
    let mut rows = main.rows.into_iter();
    let group = |g: u32| {
        let first = (g * channels) as usize;
        let padding = main.padding.get(first..first + channels as usize).unwrap_or_default();
        let view = part(&main.view, groups, g);
        let part = Rows { tensor: main.tensor, view, window: main.window, padding, rows: rows.by_ref().take(outputs).collect(), factors: main.factors };
        let [weights, _] = integers(walk, &unit[g as usize * outputs..][..outputs], part, None, size);
        weights
    };
    (0..groups).flat_map(group).collect()
}
