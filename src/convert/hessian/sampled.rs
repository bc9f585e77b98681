//! Moments of windows at some of the pixels.

use super::products::halves;
use super::{BAND, BYTES, Field, MIDDLE, Moments, Reads, SAMPLES, sums};
use crate::convert::parallel::chunks;
use crate::kernels::Kernels;
use crate::pack::LANES;
use crate::quant::DataType;
use crate::shape::LINE;
use core::ops::Range;
use std::borrow::Cow;
use std::vec::Vec;

/// Some positions in depth, and pixels where windows are looked at.
pub struct Sampled<'a> {
    reads: &'a [Reads<'a>],
    positions: Range<usize>,
    /// Picture and pixel of the output.
    pixels: Vec<(usize, usize)>,
    /// Columns of the output.
    width: u32,
}

impl<'a> Sampled<'a> {
    /// What windows read side by side, at as many pixels as fit.
    pub fn new(reads: &'a [Reads<'a>], positions: Range<usize>, [height, width]: [u32; 2]) -> Self {
        let pictures = reads[0].pictures.len();
        let mut pixels: Vec<(usize, usize)> =
            (0..pictures).flat_map(|p| spread(p, pictures, (height * width) as usize, positions.len()).map(move |i| (p, i))).collect();
        pixels = pixels.iter().step_by(pixels.len().div_ceil(SAMPLES).max(1)).copied().collect();
        pixels.truncate((pixels.len() & !3).max(4));
        Self { reads, positions, pixels, width }
    }

    /// About how many products the moments take.
    pub fn products(&self) -> u64 {
        (self.positions.len() as u64).pow(2) / 2 * self.pixels.len() as u64
    }

    /// The moments.
    pub fn moments(self, kernels: Kernels, threads: usize) -> Moments {
        let (n, samples) = (self.positions.len(), self.pixels.len().next_multiple_of(4));
        // One row of samples for each position.
        let mut rows = std::vec![MIDDLE; n * samples];
        chunks(&mut rows, BAND * samples, threads, |chunk, rows| {
            let from = self.positions.start + chunk * BAND;
            self.gather(from..from + rows.len() / samples, samples, rows);
        });
        let mut totals = std::vec![[0.0; 2]; n];
        chunks(&mut totals, LANES, threads, |chunk, totals| {
            totals.iter_mut().zip(rows[chunk * LANES * samples..].chunks_exact(samples)).for_each(|(t, row)| *t = sums(row));
        });
        let field = Field::new(totals, samples);
        let mut stored = Cow::Borrowed(&rows[..]);
        if kernels.flip() != 0 {
            kernels.flip_tensor(DataType::U8, stored.to_mut());
        }
        let mut bands: Vec<usize> = (0..n).step_by(BAND).rev().collect();
        chunks(&mut bands, 1, threads, |_, band| {
            let band = band[0]..n.min(band[0] + BAND);
            let halves = halves(&stored[..band.end * samples], &rows[band.start * samples..band.end * samples], samples, kernels);
            let pairs = (0..band.end).flat_map(|i| band.clone().map(move |j| (i, j)));
            field.fill(pairs.zip(halves).filter(|((i, j), _)| j >= i).map(|((i, j), half)| (i, j, f64::from(half))));
        });
        field.moments(self.positions.start)
    }

    /// Fills `rows`, one for each of some positions in depth, at most [`BAND`], with what they meet at the sampled pixels.
    fn gather(&self, positions: Range<usize>, samples: usize, rows: &mut [u8]) {
        // Rows lie a power of two apart, so that their lines push each other out of the cache: a line of each is put together elsewhere.
        // What no tap covers stays in the middle.
        let mut lines = [[MIDDLE; LINE]; BAND];
        for (at, pixels) in (0..).step_by(LINE).zip(self.pixels.chunks(LINE)) {
            let mut before = 0;
            for read in self.reads {
                gather_lines(read, before, &positions, pixels, self.width, &mut lines);
                before += read.depth().len();
            }
            for (row, line) in rows.chunks_exact_mut(samples).zip(&lines) {
                row[at..][..pixels.len()].copy_from_slice(&line[..pixels.len()]);
            }
        }
    }
}

/// The pixels of one picture that are looked at: evenly spaced, and others in every picture.
fn spread(picture: usize, pictures: usize, pixels: usize, depth: usize) -> impl Iterator<Item = usize> {
    let wanted = (BYTES / depth.max(1)).min(SAMPLES - pictures.min(SAMPLES / 2)).max(4 * depth);
    let each = wanted.div_ceil(pictures.max(1)).min(pixels);
    (0..each).map(move |i| (i * pixels / each + 7919 * picture) % pixels)
}

/// Fills lines of samples with what one window reads; its positions begin at `before`.
fn gather_lines(read: &Reads<'_>, before: usize, positions: &Range<usize>, pixels: &[(usize, usize)], width: u32, lines: &mut [[u8; LINE]; BAND]) {
    let (view, window) = (&read.view, &read.window);
    let depth = read.depth();
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
                lines.iter_mut().for_each(|line| line[n] = read.turned(0));
            } else {
                lines.iter_mut().zip(&bytes[channels.clone()]).for_each(|(line, &b)| line[n] = read.turned(b));
            }
        }
    }
}
