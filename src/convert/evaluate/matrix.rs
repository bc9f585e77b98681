//! Convolutions as products of filters and the columns that they see.

use crate::shape::Window;
use std::vec::Vec;

/// Output pixels that are computed together.
const PIXELS: usize = 8;
/// Output channels likewise.
const CHANNELS: usize = 4;

/// The convolution of `[c][h][w]` with filters `[out][in][ky][kx]` in groups: `[out][oh][ow]`.
pub(super) fn convolve(x: &[f32], [c, h, w]: [usize; 3], window: &Window, groups: usize, weights: &[f32], bias: &[f32]) -> Vec<f32> {
    let size = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let [oh, ow] = window.output(size(h), size(w)).unwrap_or_default().map(|n| n as usize);
    let (pixels, inputs, outputs) = (oh * ow, c / groups, bias.len() / groups);
    let depth = inputs * (window.kernel[0] * window.kernel[1]) as usize;
    let mut out = std::vec![0.0; bias.len() * pixels];
    let mut columns = std::vec![[0.0f32; PIXELS]; depth];
    for group in 0..groups {
        let (planes, filters) = (&x[group * inputs * h * w..][..inputs * h * w], &weights[group * outputs * depth..][..outputs * depth]);
        for first in (0..pixels).step_by(PIXELS) {
            let count = PIXELS.min(pixels - first);
            for lane in 0..count {
                column(&mut columns, lane, planes, [h, w], window, [(first + lane) / ow, (first + lane) % ow]);
            }
            for (block, filters) in filters.chunks(CHANNELS * depth).enumerate() {
                let sums = products(&columns, filters, depth);
                for (j, sums) in sums.iter().enumerate().take(filters.len() / depth) {
                    let o = group * outputs + block * CHANNELS + j;
                    let to = &mut out[o * pixels + first..][..count];
                    to.iter_mut().zip(sums).for_each(|(t, s)| *t = s + bias[o]);
                }
            }
        }
    }
    out
}

/// Writes what the window sees for one output pixel into a lane of the columns.
fn column(columns: &mut [[f32; PIXELS]], lane: usize, planes: &[f32], [h, w]: [usize; 2], window: &Window, [oy, ox]: [usize; 2]) {
    let [kh, kw] = window.kernel.map(|k| k as usize);
    let at = |o: usize, k: usize, axis: usize, size: usize| {
        let at = (o * window.stride[axis] as usize + k * window.dilation[axis] as usize).checked_sub(window.pads[axis] as usize)?;
        Some(at).filter(|&at| at < size)
    };
    for (plane, columns) in planes.chunks_exact(h * w).zip(columns.chunks_exact_mut(kh * kw)) {
        for ky in 0..kh {
            let y = at(oy, ky, 0, h);
            for kx in 0..kw {
                let seen = y.and_then(|y| Some(plane[y * w + at(ox, kx, 1, w)?]));
                columns[ky * kw + kx][lane] = seen.unwrap_or(0.0);
            }
        }
    }
}

/// The products of up to four filters with the columns.
fn products(columns: &[[f32; PIXELS]], filters: &[f32], depth: usize) -> [[f32; PIXELS]; CHANNELS] {
    let filter = |j: usize| filters.get(j * depth..(j + 1) * depth).unwrap_or(&filters[..depth]);
    let rows: [&[f32]; CHANNELS] = core::array::from_fn(filter);
    let mut sums = [[0.0; PIXELS]; CHANNELS];
    for (d, column) in columns.iter().enumerate() {
        for (sums, row) in sums.iter_mut().zip(rows) {
            let w = row[d];
            sums.iter_mut().zip(column).for_each(|(s, v)| *s += w * v);
        }
    }
    sums
}
