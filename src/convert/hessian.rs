//! How the inputs of a layer go together: the centred second moments of what its weights meet, in the order of depth.
//!
//! The sums of products are a matrix product of bytes, so the device's own convolution kernels make them: exact integers, the same on every kernel set.

use super::parallel::chunks;
use super::quantized::params;
use super::sums::{count, real};
use crate::kernels::Kernels;
use crate::ops::conv::{Conv, Second};
use crate::pack::{Depth, LANES, panels};
use crate::quant::{DataType, MULTIPLIER_LIMIT};
use crate::shape::{LINE, View, Window};
use core::ops::Range;
use std::borrow::Cow;
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
    fn depth(&self) -> usize {
        Depth::new(&self.window, self.view.stored_channels()).len()
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
/// Positions that a thread gathers at a time, and that it multiplies with all others.
const BAND: usize = 4 * LANES;
/// The byte that stands for zero among the products' second factors.
const MIDDLE: u8 = 127;

/// The pixels of one picture that are looked at: evenly spaced, and others in every picture.
fn sampled(picture: usize, pictures: usize, pixels: usize, depth: usize) -> impl Iterator<Item = usize> {
    let wanted = (BYTES / depth.max(1)).min(SAMPLES - pictures.min(SAMPLES / 2)).max(4 * depth);
    let each = wanted.div_ceil(pictures.max(1)).min(pixels);
    (0..each).map(move |i| (i * pixels / each + 7919 * picture) % pixels)
}

/// The moments of what windows read side by side, whose output has the given size, in as many parts as it takes, one after the other: a part is large.
pub fn moments(reads: &[Reads<'_>], size: [u32; 2], kernels: Kernels, threads: usize) -> impl Iterator<Item = Moments> {
    let depth: usize = reads.iter().map(Reads::depth).sum();
    let parts = depth.div_ceil(TOGETHER);
    let share = depth.div_ceil(parts.max(1)).next_multiple_of(4);
    let ranges = (0..depth).step_by(share.max(1)).map(move |from| from..depth.min(from + share));
    ranges.map(move |range| part(reads, range, size, kernels, threads))
}

fn part(reads: &[Reads<'_>], positions: Range<usize>, size: [u32; 2], kernels: Kernels, threads: usize) -> Moments {
    let (pictures, pixels, n) = (reads[0].pictures.len(), (size[0] * size[1]) as usize, positions.len());
    let mut pixels: Vec<(usize, usize)> = (0..pictures).flat_map(|p| sampled(p, pictures, pixels, n).map(move |i| (p, i))).collect();
    pixels = pixels.iter().step_by(pixels.len().div_ceil(SAMPLES).max(1)).copied().collect();
    pixels.truncate((pixels.len() & !3).max(4));
    let samples = pixels.len().next_multiple_of(4);
    // One row of samples for each position: the bytes are moved to 0..=254, where 127 stands in the middle.
    let mut rows = std::vec![MIDDLE; n * samples];
    chunks(&mut rows, BAND * samples, threads, |chunk, rows| {
        let from = positions.start + chunk * BAND;
        gather(reads, from..from + rows.len() / samples, &pixels, size[1], samples, rows);
    });
    let mut totals = std::vec![[0.0; 2]; n];
    chunks(&mut totals, LANES, threads, |chunk, totals| {
        totals.iter_mut().zip(rows[chunk * LANES * samples..].chunks_exact(samples)).for_each(|(t, row)| *t = sums(row));
    });
    let count = count(samples);
    let moment = |i: usize| totals[i][1] / count - (totals[i][0] / count).powi(2);
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| moment(a).total_cmp(&moment(b)));
    let mut rank = std::vec![0; n];
    order.iter().enumerate().for_each(|(r, &i)| rank[i] = r);
    let mut stored = Cow::Borrowed(&rows[..]);
    if kernels.flip() != 0 {
        kernels.flip_tensor(DataType::U8, stored.to_mut());
    }
    let mut matrix = std::vec![0.0; n * n];
    let sink = Mutex::new(&mut matrix);
    let mut bands: Vec<usize> = (0..n).step_by(BAND).rev().collect();
    chunks(&mut bands, 1, threads, |_, band| {
        let from = band[0];
        let to = n.min(from + BAND);
        let products = multiply(&rows, &stored, samples, from..to, kernels);
        let mut matrix = sink.lock().unwrap_or_else(PoisonError::into_inner);
        for (i, products) in products.chunks_exact(4 * (to - from)).enumerate() {
            for (j, word) in (from..to).zip(products.as_chunks::<4>().0).filter(|(j, _)| *j >= i) {
                let sum = 2.0 * f64::from(i32::from_le_bytes(*word)) + f64::from(MIDDLE) * totals[i][0];
                let (a, b) = (rank[i].min(rank[j]), rank[i].max(rank[j]));
                matrix[a * n + b] = sum / count - totals[i][0] / count * (totals[j][0] / count);
            }
        }
    });
    order.iter_mut().for_each(|i| *i += positions.start);
    Moments { order, matrix, samples }
}

/// Sum and sum of squares.
fn sums(row: &[u8]) -> [f64; 2] {
    let (sum, squares) = row.iter().fold((0u32, 0u32), |(s, q), &b| (s + u32::from(b), q + u32::from(b) * u32::from(b)));
    [sum, squares].map(|v| real(v.into()))
}

/// Half of the sums of products of all rows up to the end of `band` with the rows of `band`, less [`MIDDLE`]; `stored` are the rows as the kernel set stores them.
fn multiply(rows: &[u8], stored: &[u8], samples: usize, band: Range<usize>, kernels: Kernels) -> Vec<u8> {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let outputs = band.len();
    let mut weights = std::vec![0; panels(outputs) * LANES * samples];
    let mut totals = Vec::with_capacity(outputs);
    for (o, row) in rows[band.start * samples..band.end * samples].chunks_exact(samples).enumerate() {
        let panel = &mut weights[o / LANES * LANES * samples..][..LANES * samples];
        for (group, bytes) in panel.chunks_exact_mut(LINE).zip(row.as_chunks::<4>().0) {
            group[o % LANES * 4..][..4].copy_from_slice(&bytes.map(|b| b.wrapping_sub(MIDDLE)));
        }
        totals.push(row.iter().map(|&b| i32::from(b) - i32::from(MIDDLE)).sum::<i32>());
    }
    let input = View::packed(1, count(band.end), count(samples), DataType::U8, 0);
    let output = View::packed(1, count(band.end), count(outputs), DataType::I32, 0);
    let (zeros, half) = (std::vec![0; outputs], std::vec![MULTIPLIER_LIMIT - 1; outputs]);
    let params = params(&[&zeros, &totals, &half], outputs);
    let window = Window::point([1, 1]);
    let conv = Conv {
        window,
        groups: 1,
        narrow: None,
        input,
        output,
        weights: &weights,
        params: &params,
        padding: &[],
        second: Second::None,
        pair_safe: false,
        block_rows: 1,
    };
    let mut products = std::vec![0; output.bytes()];
    conv.run(kernels, &stored[..band.end * samples], &[], &mut products, 0..conv.units().count, &mut []);
    products
}

/// Fills `rows`, one for each of some positions in depth, at most [`BAND`], with what they meet at the sampled pixels.
fn gather(reads: &[Reads<'_>], positions: Range<usize>, pixels: &[(usize, usize)], width: u32, samples: usize, rows: &mut [u8]) {
    // Rows lie a power of two apart, so that their lines push each other out of the cache: a line of each is put together elsewhere.
    // What no tap covers stays in the middle.
    let mut lines = [[MIDDLE; LINE]; BAND];
    for (at, pixels) in (0..).step_by(LINE).zip(pixels.chunks(LINE)) {
        let mut before = 0;
        for read in reads {
            gather_lines(read, before, &positions, pixels, width, &mut lines);
            before += read.depth();
        }
        for (row, line) in rows.chunks_exact_mut(samples).zip(&lines) {
            row[at..][..pixels.len()].copy_from_slice(&line[..pixels.len()]);
        }
    }
}

/// Fills lines of samples with what one window reads; its positions begin at `before`.
fn gather_lines(read: &Reads<'_>, before: usize, positions: &Range<usize>, pixels: &[(usize, usize)], width: u32, lines: &mut [[u8; LINE]; BAND]) {
    let (view, window) = (&read.view, &read.window);
    let depth = Depth::new(window, view.stored_channels());
    let flip = if matches!(view.kind, DataType::S8) { 0x80 } else { 0 };
    let turned = |byte: u8| (byte ^ flip).min(2 * MIDDLE);
    for (ky, kx) in (0..window.kernel[0]).flat_map(|ky| (0..window.kernel[1]).map(move |kx| (ky, kx))) {
        let tap = before + depth.index(ky as usize, kx as usize, 0);
        let from = positions.start.max(tap);
        let channels = from - tap..positions.end.min(tap + view.c as usize).max(from) - tap;
        if channels.is_empty() {
            continue;
        }
        let lines = &mut lines[from - positions.start..][..channels.len()];
        for (n, &(picture, pixel)) in pixels.iter().enumerate() {
            let (oy, ox) = (u32::try_from(pixel).unwrap_or(0) / width, u32::try_from(pixel).unwrap_or(0) % width);
            let inside = |o: u32, k: u32, axis: usize, limit: u32| {
                (o * window.stride[axis] + k * window.dilation[axis]).checked_sub(window.pads[axis]).filter(|&v| v < limit)
            };
            let bytes = match (inside(oy, ky, 0, view.h), inside(ox, kx, 1, view.w)) {
                (Some(y), Some(x)) => &read.pictures[picture][view.offset + y as usize * view.row + x as usize * view.pixel..][..view.c as usize],
                _ => read.padding,
            };
            if bytes.is_empty() {
                lines.iter_mut().for_each(|line| line[n] = turned(0));
            } else {
                lines.iter_mut().zip(&bytes[channels.clone()]).for_each(|(line, &b)| line[n] = turned(b));
            }
        }
    }
}
