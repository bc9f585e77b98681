//! Sums over the integers of a tensor: what the bias needs to know of a layer's input.

use crate::pack::Depth;
use crate::quant::DataType;
use crate::shape::{View, Window};
use std::vec::Vec;

/// The value of a stored byte.
#[inline]
pub(super) fn value(byte: u8, kind: DataType) -> i32 {
    if matches!(kind, DataType::S8) { i32::from(byte.cast_signed()) } else { i32::from(byte) }
}

/// Adds to `sums`, one for each position in depth, what the taps of a window read over all output pixels; the border is `padding`, or zeros where that is empty.
pub fn taps(sums: &mut [i64], x: &[u8], view: &View, window: &Window, [oh, ow]: [u32; 2], padding: &[u8]) {
    let depth = Depth::new(window, view.stored_channels());
    let c = view.c as usize;
    let mut row_sums: Vec<i32> = std::vec![0; c];
    for ky in 0..window.kernel[0] {
        for kx in 0..window.kernel[1] {
            let at = depth.index(ky as usize, kx as usize, 0);
            let sums = &mut sums[at..at + c];
            for oy in 0..oh {
                row_sums.fill(0);
                let y = (oy * window.stride[0] + ky * window.dilation[0]).checked_sub(window.pads[0]).filter(|&y| y < view.h);
                let mut border = 0;
                for ox in 0..ow {
                    let column = (ox * window.stride[1] + kx * window.dilation[1]).checked_sub(window.pads[1]).filter(|&x| x < view.w);
                    if let (Some(y), Some(column)) = (y, column) {
                        let at = y as usize * view.row + column as usize * view.pixel;
                        row_sums.iter_mut().zip(&x[at..at + c]).for_each(|(s, &b)| *s += value(b, view.kind));
                    } else {
                        border += 1;
                    }
                }
                sums.iter_mut().zip(&row_sums).for_each(|(s, &r)| *s += i64::from(r));
                sums.iter_mut().zip(padding).for_each(|(s, &p)| *s += border * i64::from(value(p, view.kind)));
            }
        }
    }
}

/// Adds to `sums`, one for each output channel, what a skip contributes over all output pixels.
fn skip(sums: &mut [i64], x: &[u8], view: &View, stride: [u32; 2], front: u32, [oh, ow]: [u32; 2]) {
    let front = front as usize;
    for y in 0..oh {
        for column in 0..ow {
            let at = (y * stride[0]) as usize * view.row + (column * stride[1]) as usize * view.pixel;
            let elements = x[at..at + view.c as usize * view.kind.bytes()].chunks_exact(view.kind.bytes());
            sums.iter_mut().skip(front).zip(elements).for_each(|(s, e)| *s += i64::from(view.kind.read(e)));
        }
    }
}

/// The sums of [`skip`] over some pictures, for `outputs` channels.
#[must_use]
pub fn skips(pictures: &[Vec<u8>], view: &View, stride: [u32; 2], front: u32, size: [u32; 2], outputs: usize) -> Vec<f64> {
    let mut sums = std::vec![0; outputs];
    pictures.iter().for_each(|x| skip(&mut sums, x, view, stride, front, size));
    sums.into_iter().map(real).collect()
}

/// Mean over the pixels of the sum of squares of a pixel's channels, less the squares of the channel means: the energy that weight noise meets.
#[must_use]
pub fn energy(pictures: &[&[u8]], view: &View) -> f64 {
    let c = view.c as usize;
    let (mut sums, mut squares) = (std::vec![0i64; c], std::vec![0i64; c]);
    for x in pictures {
        for y in 0..view.h as usize {
            for column in 0..view.w as usize {
                let at = y * view.row + column * view.pixel;
                for ((s, q), &b) in sums.iter_mut().zip(&mut squares).zip(&x[at..at + c]) {
                    let v = i64::from(value(b, view.kind));
                    *s += v;
                    *q += v * v;
                }
            }
        }
    }
    let n = count(view.pixels() * pictures.len()).max(1.0);
    sums.iter().zip(&squares).map(|(&s, &q)| real(q) / n - (real(s) / n).powi(2)).sum()
}

/// A number of things, below 2^53, as a float.
#[must_use]
pub fn count(n: usize) -> f64 {
    real(i64::try_from(n).unwrap_or(i64::MAX))
}

/// An integer below 2^53 as a float.
#[expect(clippy::cast_precision_loss, reason = "sums of bytes stay far below 2^53")]
#[must_use]
pub const fn real(value: i64) -> f64 {
    value as f64
}
