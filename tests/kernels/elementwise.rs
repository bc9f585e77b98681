//! Pools and additions of every set, the scalar one included, against their definition.

use super::{GUARD, KINDS, Noise, lines, sets};
use skipstone::kernels::{AddRow, Average, Kernels, PoolRow};
use skipstone::pack::{LANES, panels, params};
use skipstone::quant::{DataType, rdm};

/// Both pools of a row by the definition, from the pixels of the window that lie inside.
fn pool_by_hand(row: &PoolRow<'_>, average: Option<Average<'_>>) -> Vec<u8> {
    let [kernel, stride, dilation, pad] = row.horizontal;
    let value = |b: u8| if row.signed { i32::from(b.cast_signed()) } else { i32::from(b) };
    let mut out = Vec::new();
    for pixel in 0..row.pixels {
        for c in 0..row.channels {
            let mut seen = Vec::new();
            for y in 0..row.rows.1 {
                for k in 0..kernel {
                    let x = ((row.first + pixel) * stride + k * dilation).checked_sub(pad).filter(|&x| x < row.cols.1);
                    seen.extend(x.map(|x| value(row.source[y * row.rows.0 + x * row.cols.0 + c])));
                }
            }
            let result = match average {
                None => seen.iter().copied().max().unwrap_or(if row.signed { -128 } else { 0 }),
                Some(average) => {
                    let n = average.count.unwrap_or(seen.len());
                    let sum: i32 = seen.iter().sum();
                    let y = if n == 0 { 0 } else { rdm(sum << average.p, i32::from_le_bytes(average.multipliers[n - 1])) };
                    if row.signed { y.clamp(-128, 127) } else { y.clamp(0, 255) }
                }
            };
            out.push(result as u8);
        }
    }
    out
}

#[test]
fn pools() {
    let (mut sets, mut noise) = (sets(), Noise(9));
    sets.push(("scalar".into(), Kernels::scalar()));
    for round in 0..3000 {
        let (rows, width) = (noise.between(1, 7), noise.between(1, 20));
        let kernel = if round % 10 == 0 { width } else { noise.between(1, 4) };
        let (stride, dilation) = (noise.between(1, 3), noise.between(1, 2));
        let pad = noise.below(kernel.div_ceil(2) + 1).min((kernel - 1) * dilation);
        let Some(room) = (width + 2 * pad).checked_sub((kernel - 1) * dilation + 1) else { continue };
        let (whole, channels) = (room / stride + 1, noise.between(1, 50) * 4);
        let first = noise.below(whole);
        let pixels = noise.between(1, whole - first);
        let pixel = channels + noise.below(3) * 4;
        let pitch = width * pixel + noise.below(2) * 4;
        let source = noise.bytes((rows - 1) * pitch + (width - 1) * pixel + channels);
        let signed = noise.flag();
        let multipliers: Vec<[u8; 4]> = (1..=rows * kernel).map(|n| ((1i32 << 30) / n as i32 - noise.below(3) as i32).max(0).to_le_bytes()).collect();
        let count = noise.flag().then_some(rows * kernel);
        let average = Average { multipliers: &multipliers, p: noise.below(4) as u32, count };
        let out_pixel = channels + noise.below(2) * 4;
        let length = (pixels - 1) * out_pixel + channels;
        for (name, kernels) in &sets {
            let (kind, mut stored) = (if signed { DataType::S8 } else { DataType::U8 }, source.clone());
            kernels.flip_tensor(kind, &mut stored);
            for average in [None, Some(average)] {
                let mut out = vec![99; length + 2 * GUARD];
                kernels.flip_tensor(kind, &mut out);
                let (rows, cols, horizontal) = ((pitch, rows), (pixel, width), [kernel, stride, dilation, pad]);
                let mut row =
                    PoolRow { source: &source, rows, cols, horizontal, first, pixels, out: &mut out[GUARD..GUARD + length], out_pixel, channels, signed };
                let expected = pool_by_hand(&row, average);
                row.source = &stored;
                match average {
                    None => kernels.max_pool(&mut row),
                    Some(average) => kernels.average_pool(&mut row, average),
                }
                kernels.flip_tensor(kind, &mut out);
                for (i, out) in out[GUARD..GUARD + length].chunks(out_pixel).enumerate() {
                    assert_eq!(out[..channels], expected[i * channels..][..channels], "{name}, round {round}, pixel {i}, average {}", average.is_some());
                    assert!(out[channels..].iter().all(|&b| b == 99), "{name} writes between pixels");
                }
                assert!(out[..GUARD].iter().chain(&out[GUARD + length..]).all(|&b| b == 99), "{name} writes outside");
            }
        }
    }
}

#[test]
fn additions() {
    let (mut sets, mut noise) = (sets(), Noise(10));
    sets.push(("scalar".into(), Kernels::scalar()));
    for round in 0..3000 {
        let (pixels, channels, kind) = (noise.between(1, 9), noise.between(1, 40) * 4, KINDS[noise.below(4)]);
        let signed = [noise.flag(), noise.flag()];
        let steps = [channels + noise.below(8), channels + noise.below(8), (channels + noise.below(3) * 4) * kind.bytes()];
        let (x, y) = (noise.bytes((pixels - 1) * steps[0] + channels), noise.bytes((pixels - 1) * steps[1] + channels));
        let (p, wild) = (noise.below(8) as u32, noise.below(4) == 0);
        let rows = params::ADD_ROWS;
        let words: Vec<i32> = (0..panels(channels) * rows * LANES).map(|_| if wild { noise.word() } else { noise.word() >> 16 }).collect();
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        let length = (pixels - 1) * steps[2] + channels * kind.bytes();
        for (name, kernels) in &sets {
            let mut out = vec![99; length + 2 * GUARD];
            let params = lines(&bytes);
            let mut operands = [x.clone(), y.clone()];
            for (bytes, signed) in operands.iter_mut().zip(signed) {
                kernels.flip_tensor(if signed { DataType::S8 } else { DataType::U8 }, bytes);
            }
            kernels.flip_tensor(kind, &mut out);
            let to = (&mut out[GUARD..GUARD + length], steps[2]);
            kernels.add(&mut AddRow { x: (&operands[0], steps[0]), y: (&operands[1], steps[1]), signed, params: &params, p, out: to, pixels, channels, kind });
            kernels.flip_tensor(kind, &mut out);
            for pixel in 0..pixels {
                for c in 0..channels {
                    let word = |row: usize| i64::from(words[(c / LANES * rows + row) * LANES + c % LANES]);
                    let value = |b: u8, signed: bool| if signed { i64::from(b.cast_signed()) } else { i64::from(b) };
                    let acc = word(params::BIAS)
                        + word(params::K1) * value(x[pixel * steps[0] + c], signed[0])
                        + word(params::K2) * value(y[pixel * steps[1] + c], signed[1]);
                    let expected = kind.clamp(rdm((acc << p) as i32, word(params::MULTIPLIER) as i32)).to_le_bytes();
                    let at = GUARD + pixel * steps[2] + c * kind.bytes();
                    assert_eq!(out[at..][..kind.bytes()], expected[..kind.bytes()], "{name}, round {round}, pixel {pixel}, channel {c}");
                }
            }
            assert!(out[..GUARD].iter().chain(&out[GUARD + length..]).all(|&b| b == 99), "{name} writes outside");
        }
    }
}
