//! The reference: what every other kernel set must return bit for bit, in plain Rust. It is also the fallback where a CPU has nothing better.

use super::{AddRow, Average, BlockSecond, ConvBlock, LineRow, PoolRow, Set, Source, Table, words};
use crate::pack::{LANES, Narrow, Taps, params};
use crate::quant::{DataType, rdm};

pub(super) static TABLE: Table = Table {
    set: Set::Scalar,
    flip: 0,
    conv,
    narrow,
    max_pool: max_pool::<0>,
    average_pool: average_pool::<0>,
    add: |row| add(row, 0),
    lookup,
    lines,
    peak: super::peak::scalar,
};

fn conv(block: &mut ConvBlock<'_>) {
    block.check();
    for row in 0..block.rows {
        for pixel in 0..block.pixels {
            for panel in 0..block.panels() {
                let y = lanes(block, row, pixel, panel);
                let at = row * block.out_row + pixel * block.out_pixel + panel * LANES * block.kind.bytes();
                store(&mut block.out[at..], &y[..LANES.min(block.channels - panel * LANES)], block.kind, 0);
            }
        }
    }
}

fn narrow(block: &mut ConvBlock<'_>, narrow: Narrow) {
    block.check();
    let rows = block.param_rows();
    for panel in 0..block.panels() {
        let [bias, sums, multiplier] = [params::BIAS, params::SUM, params::MULTIPLIER].map(|row| words(&block.params[panel * rows + row]));
        let offset = if block.source.signed { -128 } else { 0 };
        let first: [i32; LANES] = core::array::from_fn(|lane| bias[lane].wrapping_add(sums[lane].wrapping_mul(offset)));
        for row in 0..block.rows {
            for pixel in 0..block.pixels {
                let acc = narrow_sums(block, narrow, row, pixel, panel);
                let y = narrow.lanes().map(|lane| {
                    let lane = usize::from(lane);
                    rdm(acc[lane].wrapping_add(first[lane]), multiplier[lane])
                });
                let at = row * block.out_row + pixel * block.out_pixel + panel * LANES * block.kind.bytes();
                store(&mut block.out[at..], &y, block.kind, 0);
            }
        }
    }
}

pub(super) fn lookup(table: &[u8; 256], x: &[u8], out: &mut [u8]) {
    out.iter_mut().zip(x).for_each(|(y, x)| *y = table[usize::from(*x)]);
}

pub(super) fn lines(row: &mut LineRow<'_>) {
    let (low, high) = row.kind.range();
    let value = |x: &[u8; 2]| {
        let place = u16::from_le_bytes(*x) ^ 0x8000;
        let [begin, slope] = row.lines[usize::from(place >> 8)];
        ((begin + slope * i32::from(place & 255)) >> row.shift).clamp(low, high).to_le_bytes()
    };
    let x = row.x.as_chunks().0;
    if matches!(row.kind, DataType::S16) {
        row.out.as_chunks_mut().0.iter_mut().zip(x).for_each(|(out, x): (&mut [u8; 2], _)| [out[0], out[1], ..] = value(x));
    } else {
        row.out.iter_mut().zip(x).for_each(|(out, x)| *out = value(x)[0] ^ row.flip);
    }
}

/// The sums of products of one pixel with the 16 lanes of a panel of narrow groups.
fn narrow_sums(block: &ConvBlock<'_>, narrow: Narrow, row: usize, pixel: usize, panel: usize) -> [i32; LANES] {
    let (source, taps) = (&block.source, &block.taps);
    let mut acc = [[[0i32; 4]; 4]; 2];
    let mut lines = block.weights[panel * taps.total()..].iter();
    for tap_row in 0..taps.rows {
        for tap_col in 0..taps.cols {
            let at = row * source.out_row + pixel * source.out_pixel + tap_row * source.tap_row + tap_col * source.tap_col + panel * LANES;
            let (x, _) = source.bytes[at..][..LANES].as_chunks::<4>();
            for (acc, w) in acc.iter_mut().take(narrow.lines()).zip(&mut lines) {
                let (w, _) = w.as_chunks::<4>().0.as_chunks::<4>();
                for (word, x) in x.iter().enumerate() {
                    let x = x.map(i32::from);
                    for (acc, w) in acc.iter_mut().zip(w) {
                        let w = w[word].map(|w| i32::from(w.cast_signed()));
                        acc[word] = acc[word].wrapping_add(x[0] * w[0] + x[1] * w[1] + x[2] * w[2] + x[3] * w[3]);
                    }
                }
            }
        }
    }
    core::array::from_fn(|lane| match narrow {
        Narrow::Four => acc[0][lane / 4][lane % 4],
        Narrow::Eight => {
            let words = &acc[lane % 4 / 2][lane / 4][lane % 2 * 2..][..2];
            words[0].wrapping_add(words[1])
        }
    })
}

/// The 16 results of one pixel and panel.
fn lanes(block: &ConvBlock<'_>, row: usize, pixel: usize, panel: usize) -> [i32; LANES] {
    let total = block.taps.total();
    let weights = &block.weights[panel * total..][..total];
    let rows = block.param_rows();
    let params = &block.params[panel * rows..][..rows];
    let mut acc = dot(&block.source, &block.taps, weights, words(&params[params::SUM]), row, pixel);
    match &block.second {
        BlockSecond::None => {}
        BlockSecond::Skip { bytes, out_row, out_pixel, first, channels, kind } => {
            let k2 = words(&params[params::K2]);
            for (lane, a) in acc.iter_mut().enumerate() {
                let channel = (panel * LANES + lane).checked_add_signed(*first).filter(|c| c < channels);
                let skip = channel.map_or(0, |c| kind.read(&bytes[row * out_row + pixel * out_pixel + c * kind.bytes()..]));
                *a = a.wrapping_add(skip.wrapping_mul(k2[lane]));
            }
        }
        BlockSecond::Projection { source, taps, weights } => {
            let (k1, k2) = (words(&params[params::K1]), words(&params[params::K2]));
            let weights = &weights[panel * taps.total()..][..taps.total()];
            let other = dot(source, taps, weights, words(&params[params::SUM2]), row, pixel);
            for (lane, a) in acc.iter_mut().enumerate() {
                *a = a.wrapping_mul(k1[lane]).wrapping_add(other[lane].wrapping_mul(k2[lane]));
            }
        }
    }
    let (bias, multiplier) = (words(&params[params::BIAS]), words(&params[params::MULTIPLIER]));
    core::array::from_fn(|lane| rdm(acc[lane].wrapping_add(bias[lane]), multiplier[lane]))
}

/// The sums of products of one pixel with the 16 outputs of a panel.
fn dot(source: &Source<'_>, taps: &Taps, weights: &[[u8; 64]], sums: [i32; LANES], row: usize, pixel: usize) -> [i32; LANES] {
    let mut acc = if source.signed { sums.map(|s| s.wrapping_mul(-128)) } else { [0; LANES] };
    let mut lines = weights.iter();
    for tap_row in 0..taps.rows {
        for tap_col in 0..taps.cols {
            let at = row * source.out_row + pixel * source.out_pixel + tap_row * source.tap_row + tap_col * source.tap_col;
            let (groups, _) = source.bytes[at..][..taps.groups * 4].as_chunks::<4>();
            for (x, w) in groups.iter().zip(&mut lines) {
                let x = x.map(i32::from);
                let (w, _) = w.as_chunks::<4>();
                for (a, w) in acc.iter_mut().zip(w) {
                    let w = w.map(|v| i32::from(v.cast_signed()));
                    *a = a.wrapping_add(x[0] * w[0] + x[1] * w[1] + x[2] * w[2] + x[3] * w[3]);
                }
            }
        }
    }
    acc
}

/// Writes `values`, clamped to `kind`, to the front of `out`, for a set that stores U8 XOR `flip`.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
pub(super) fn store(out: &mut [u8], values: &[i32], kind: DataType, flip: u8) {
    match kind {
        DataType::U8 | DataType::S8 => {
            let flip = if matches!(kind, DataType::U8) { flip } else { 0 };
            for (o, &v) in out.iter_mut().zip(values) {
                *o = kind.clamp(v) as u8 ^ flip;
            }
        }
        DataType::S16 => {
            for (o, &v) in out.as_chunks_mut::<2>().0.iter_mut().zip(values) {
                *o = (kind.clamp(v) as i16).to_le_bytes();
            }
        }
        DataType::I32 => {
            for (o, &v) in out.as_chunks_mut::<4>().0.iter_mut().zip(values) {
                *o = v.to_le_bytes();
            }
        }
    }
}

/// The columns of a window inside the picture: the first one and how many.
#[inline(always)]
pub(super) fn columns(row: &PoolRow<'_>, pixel: usize) -> (usize, usize) {
    let [kernel, stride, dilation, pad] = row.horizontal;
    let start = (row.first + pixel) * stride;
    let steps = |n: usize| if dilation == 1 { n } else { n.div_ceil(dilation) };
    let skipped = steps(pad.saturating_sub(start));
    let first = start + skipped * dilation - pad;
    let inside = steps(row.cols.1.saturating_sub(first));
    (first, (kernel - skipped.min(kernel)).min(inside))
}

/// True where compilers keep many channels in vectors; else as many are computed at once as there are registers for.
const VECTORS: bool = cfg!(target_arch = "x86_64");

/// Portable body for sets that store U8 XOR `FLIP`; other sets compile it with their own instructions.
#[inline(always)]
pub(super) fn max_pool<const FLIP: u8>(row: &mut PoolRow<'_>) {
    for pixel in 0..row.pixels {
        let window = columns(row, pixel);
        let mut channel = 0;
        while channel < row.channels {
            channel += match row.channels - channel {
                64.. if VECTORS => max_of::<FLIP, 64>(row, pixel, window, channel),
                16.. if VECTORS => max_of::<FLIP, 16>(row, pixel, window, channel),
                8.. if !VECTORS => max_of::<FLIP, 8>(row, pixel, window, channel),
                _ => max_of::<FLIP, 4>(row, pixel, window, channel),
            };
        }
    }
}

/// The maximum of N channels over the columns of a pixel's window; returns N.
#[inline(always)]
pub(super) fn max_of<const FLIP: u8, const N: usize>(row: &mut PoolRow<'_>, pixel: usize, (first, count): (usize, usize), channel: usize) -> usize {
    let flip = if row.signed { 0x80 } else { FLIP };
    let mut max = [0u8; N];
    let (rows, step) = (row.rows, row.horizontal[2] * row.cols.0);
    for y in 0..if count == 0 { 0 } else { rows.1 } {
        let line = &row.source[y * rows.0 + first * row.cols.0 + channel..];
        for x in 0..count {
            let source: &[u8; N] = line[x * step..].first_chunk().expect("a window lies inside its source");
            max = core::array::from_fn(|i| max[i].max(source[i] ^ flip));
        }
    }
    row.out[pixel * row.out_pixel + channel..][..N].copy_from_slice(&max.map(|m| m ^ flip));
    N
}

/// Portable body for sets that store U8 XOR `FLIP`; other sets compile it with their own instructions.
#[inline(always)]
pub(super) fn average_pool<const FLIP: u8>(row: &mut PoolRow<'_>, average: Average<'_>) {
    for pixel in 0..row.pixels {
        let window = columns(row, pixel);
        let multiplier = multiplier(row, window.1, &average);
        let mut channel = 0;
        while channel < row.channels {
            channel += match row.channels - channel {
                64.. if VECTORS => mean_of::<FLIP, 64>(row, pixel, window, channel, average.p, multiplier),
                16.. if VECTORS => mean_of::<FLIP, 16>(row, pixel, window, channel, average.p, multiplier),
                8.. if !VECTORS => mean_of::<FLIP, 8>(row, pixel, window, channel, average.p, multiplier),
                _ => mean_of::<FLIP, 4>(row, pixel, window, channel, average.p, multiplier),
            };
        }
    }
}

/// What the sums of a window with that many columns inside the picture are multiplied by; 0 where none is.
pub(super) fn multiplier(row: &PoolRow<'_>, columns: usize, average: &Average<'_>) -> i32 {
    let n = average.count.unwrap_or(row.rows.1 * columns);
    n.checked_sub(1).and_then(|n| average.multipliers.get(n)).map_or(0, |m| i32::from_le_bytes(*m))
}

/// The rounded mean of N channels over the columns of a pixel's window; returns N.
#[inline(always)]
pub(super) fn mean_of<const FLIP: u8, const N: usize>(
    row: &mut PoolRow<'_>,
    pixel: usize,
    window: (usize, usize),
    channel: usize,
    p: u32,
    multiplier: i32,
) -> usize {
    let sums = if row.signed || FLIP != 0 {
        sums::<N>(row, window, channel, |byte| i32::from(byte.cast_signed()))
    } else {
        sums::<N>(row, window, channel, i32::from)
    };
    mean(row, pixel, window.1, channel, &sums, (p, multiplier), FLIP);
    N
}

/// The sums of N channels over the columns of a window.
#[inline(always)]
fn sums<const N: usize>(row: &PoolRow<'_>, (first, count): (usize, usize), channel: usize, value: impl Fn(u8) -> i32) -> [i32; N] {
    let mut sums = [0i32; N];
    let (rows, step) = (row.rows, row.horizontal[2] * row.cols.0);
    for y in 0..if count == 0 { 0 } else { rows.1 } {
        let line = &row.source[y * rows.0 + first * row.cols.0 + channel..];
        for x in 0..count {
            let source: &[u8; N] = line[x * step..].first_chunk().expect("a window lies inside its source");
            for (sum, &byte) in sums.iter_mut().zip(source) {
                *sum = sum.wrapping_add(value(byte));
            }
        }
    }
    sums
}

/// Rounds sums over the pixels of a window, which has that many columns inside the picture, and stores them. Sums of U8 values XOR `flip` are of signed bytes.
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "a sum wraps around")]
pub(super) fn mean(row: &mut PoolRow<'_>, pixel: usize, columns: usize, channel: usize, sums: &[i32], (p, multiplier): (u32, i32), flip: u8) {
    let (kind, offset) = if row.signed { (DataType::S8, 0) } else { (DataType::U8, (row.rows.1 * columns * usize::from(flip)) as i32) };
    let out = &mut row.out[pixel * row.out_pixel + channel..][..sums.len()];
    for (sums, out) in sums.as_chunks::<4>().0.iter().zip(out.as_chunks_mut::<4>().0) {
        store(out, &sums.map(|s| rdm(s.wrapping_add(offset).wrapping_shl(p), multiplier)), kind, flip);
    }
}

/// The portable addition for sets that store U8 XOR `flip`: the others take it for parameters of any size and for what is left over.
pub(super) fn add(row: &mut AddRow<'_>, flip: u8) {
    let [flip_x, flip_y] = row.kinds.map(|kind| if matches!(kind, DataType::U8) { i32::from(flip) } else { 0 });
    let [kind_x, kind_y] = row.kinds;
    for (panel, params) in row.params.chunks_exact(params::ADD_ROWS).take(row.channels.div_ceil(LANES)).enumerate() {
        let [bias, m, k1, k2] = [params::BIAS, params::MULTIPLIER, params::K1, params::K2].map(|r| words(&params[r]));
        let len = LANES.min(row.channels - panel * LANES);
        for pixel in 0..row.pixels {
            let x = &row.x.0[pixel * row.x.1 + panel * LANES * kind_x.bytes()..][..len * kind_x.bytes()];
            let y = &row.y.0[pixel * row.y.1 + panel * LANES * kind_y.bytes()..][..len * kind_y.bytes()];
            let mut sum = [0; LANES];
            for lane in 0..len {
                let (x, y) = (kind_x.read(&x[lane * kind_x.bytes()..]) ^ flip_x, kind_y.read(&y[lane * kind_y.bytes()..]) ^ flip_y);
                let products = x.wrapping_mul(k1[lane]).wrapping_add(y.wrapping_mul(k2[lane]));
                sum[lane] = rdm(products.wrapping_add(bias[lane]).wrapping_shl(row.p), m[lane]);
            }
            store(&mut row.out.0[pixel * row.out.1 + panel * LANES * row.kind.bytes()..], &sum[..len], row.kind, flip);
        }
    }
}
