//! Sums of products of rows of bytes.

use super::MIDDLE;
use crate::convert::quantized::params;
use crate::kernels::Kernels;
use crate::ops::conv::{Conv, Second};
use crate::pack::{LANES, panels};
use crate::quant::{DataType, MULTIPLIER_LIMIT};
use crate::shape::{LINE, View, Window};
use std::vec::Vec;

/// Half of the sums of products of each row of `stored` with each of `rows` less [`MIDDLE`], for rows of `samples` bytes, a multiple of 4: the products of
/// one stored row stand side by side. `stored` are rows as the kernel set stores them.
pub fn halves(stored: &[u8], rows: &[u8], samples: usize, kernels: Kernels) -> Vec<i32> {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let (inputs, outputs) = (stored.len() / samples, rows.len() / samples);
    let mut weights = std::vec![0; panels(outputs) * LANES * samples];
    let mut totals = Vec::with_capacity(outputs);
    for (o, row) in rows.chunks_exact(samples).enumerate() {
        let panel = &mut weights[o / LANES * LANES * samples..][..LANES * samples];
        for (group, bytes) in panel.chunks_exact_mut(LINE).zip(row.as_chunks::<4>().0) {
            group[o % LANES * 4..][..4].copy_from_slice(&bytes.map(|b| b.wrapping_sub(MIDDLE)));
        }
        totals.push(row.iter().map(|&b| i32::from(b) - i32::from(MIDDLE)).sum::<i32>());
    }
    let input = View::packed(1, count(inputs), count(samples), DataType::U8, 0);
    let output = View::packed(1, count(inputs), count(outputs), DataType::I32, 0);
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
    conv.run(kernels, stored, &[], &mut products, 0..conv.units().count, &mut []);
    let mut halves = Vec::with_capacity(inputs * outputs);
    for row in products.chunks_exact(output.pixel) {
        halves.extend(row.as_chunks::<4>().0[..outputs].iter().map(|word| i32::from_le_bytes(*word)));
    }
    halves
}
