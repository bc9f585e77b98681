//! The operators against their definitions, on every kernel set: groups, gates, single operands, tables and mirrored borders.

#[path = "support/random.rs"]
mod random;

use random::Random;
use skipstone::Kernels;
use skipstone::ops::conv::{Conv, Second};
use skipstone::ops::gate::Gate;
use skipstone::ops::mirror::Mirror;
use skipstone::ops::table::{POINT_LIMIT, POINTS, Table, point_bits};
use skipstone::pack::{Depth, LANES, Narrow, pack, panels, params};
use skipstone::quant::{DataType, rdm};
use skipstone::shape::{View, Window};

fn bytes(random: &mut Random, n: usize) -> Vec<u8> {
    (0..n).map(|_| integer(random, 0, 255)).map(|v| v.to_le_bytes()[0]).collect()
}

/// An integer from `low` to `high`.
#[expect(clippy::cast_possible_truncation, reason = "in range")]
fn integer(random: &mut Random, low: i32, high: i32) -> i32 {
    low + (random.unit() * f64::from(high - low + 1)) as i32
}

fn value(byte: u8, kind: DataType) -> i32 {
    if kind == DataType::S8 { i32::from(byte.cast_signed()) } else { i32::from(byte) }
}

/// Element `i` of a tensor of bytes or S16.
fn element(bytes: &[u8], i: usize, kind: DataType) -> i32 {
    if kind == DataType::S16 { i32::from(i16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]])) } else { value(bytes[i], kind) }
}

fn table(rows: &[Vec<i32>], channels: usize) -> Vec<u8> {
    let word = |row: &Vec<i32>, c: usize| row.get(c).copied().unwrap_or(0).to_le_bytes();
    (0..panels(channels)).flat_map(|p| rows.iter().flat_map(move |row| (0..LANES).flat_map(move |l| word(row, p * LANES + l)))).collect()
}

/// The definition's bytes to the ones of a set, or back.
fn turned(kernels: Kernels, kind: DataType, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    kernels.flip_tensor(kind, &mut bytes);
    bytes
}

/// Weights and parameters of narrow groups, of which those beyond the last whole panel are as one.
fn side_by_side(narrow: Narrow, window: &Window, weights: &[i8], rows: &[Vec<Vec<i32>>]) -> (Vec<u8>, Vec<u8>) {
    let (n, [height, width]) = (narrow.channels(), window.kernel.map(|k| k as usize));
    let (channels, own) = (rows.len() * n, Depth::new(window, n));
    let (whole, rest) = (channels / LANES * LANES, channels % LANES);
    let lines = height * width * narrow.lines() * 64;
    let mut packed = vec![0; whole / LANES * lines];
    let last = Depth::new(window, rest);
    let mut others = vec![0; rest * last.len()];
    for (o, weights) in weights.chunks_exact(own.len()).enumerate() {
        for (i, c) in (0..height * width).flat_map(|i| (0..n).map(move |c| (i, c))) {
            let weight = weights[own.index(i / width, i % width, c)];
            if o < whole {
                packed[o / LANES * lines + i * narrow.lines() * 64 + narrow.position(o % LANES, c)] = weight.cast_unsigned();
            } else {
                others[(o - whole) * last.len() + last.index(i / width, i % width, (o - whole) / n * n + c)] = weight;
            }
        }
    }
    if rest > 0 {
        let mut panel = vec![0; last.bytes(rest)];
        pack(&others, last.len(), &mut panel);
        packed.extend(panel);
    }
    let ordered = |row: usize| {
        let mut words: Vec<i32> = rows.iter().flat_map(|group| group[row].clone()).collect();
        for panel in words.chunks_exact_mut(LANES) {
            let channels = panel.to_vec();
            (0..LANES).for_each(|o| panel[narrow.lane(o)] = channels[o]);
        }
        words
    };
    (packed, table(&[0, 1, 2].map(ordered), channels))
}

#[test]
fn groups_read_their_own_channels() {
    let mut random = Random::new(1);
    for round in 0..240 {
        let narrow = [None, Some(Narrow::Four), None, Some(Narrow::Eight)][round / 2 % 4];
        let [ic, oc] = [0, 0].map(|_| narrow.map_or_else(|| 4 * usize::try_from(integer(&mut random, 1, 6)).unwrap(), Narrow::channels));
        let groups = narrow.map_or([1, 2, 3, 5, 8][round % 5], |n| usize::try_from(integer(&mut random, 16, 75)).unwrap() / n.channels());
        let kernel = [1, 3][round / 5 % 2];
        let window = Window { kernel: [kernel; 2], stride: [1 + u32::from(round % 3 == 0); 2], dilation: [1, 1], pads: [kernel / 2; 4] };
        let (kind, skipped) = ([DataType::U8, DataType::S8][round / 3 % 2], round % 4 < 2 && narrow.is_none());
        let sizes = [ic, oc].map(|c| u32::try_from(c * groups).unwrap());
        let input = View::packed(6, 5, sizes[0], kind, 0);
        let [h, w] = window.output(6, 5).unwrap();
        let output = View::packed(h, w, sizes[1], DataType::U8, 0);
        let (x, skip) = (bytes(&mut random, input.bytes()), bytes(&mut random, output.bytes()));
        let depth = Depth::new(&window, ic);
        let weights: Vec<i8> = (0..groups * oc * depth.len()).map(|_| i8::try_from(integer(&mut random, -60, 60)).unwrap()).collect();
        let (mut packed, mut parameters, mut rows) = (Vec::new(), Vec::new(), Vec::new());
        for weights in weights.chunks_exact(oc * depth.len()) {
            let mut part = vec![0; depth.bytes(oc)];
            pack(weights, depth.len(), &mut part);
            packed.extend(part);
            let sums = weights.chunks_exact(depth.len()).map(|w| w.iter().map(|&w| i32::from(w)).sum()).collect();
            let random_row = |random: &mut Random, low, high| -> Vec<i32> { (0..oc).map(|_| integer(random, low, high)).collect() };
            let mut group = vec![random_row(&mut random, -9000, 9000), sums, random_row(&mut random, 1 << 20, 1 << 23)];
            if skipped {
                group.push(random_row(&mut random, 0, 99));
            }
            parameters.extend(table(&group, oc));
            rows.push(group);
        }
        if let Some(narrow) = narrow {
            (packed, parameters) = side_by_side(narrow, &window, &weights, &rows);
        }
        let second = if skipped { Second::Skip { view: output, stride: [1, 1], front: 0 } } else { Second::None };
        let conv = Conv { window, groups, narrow, input, output, weights: &packed, params: &parameters, padding: &[], second, pair_safe: false, block_rows: 2 };
        let expected: Vec<u8> = (0..output.bytes())
            .map(|i| {
                let (c, px, py) = (i % (oc * groups), i / (oc * groups) % w as usize, i / (oc * groups) / w as usize);
                let (group, o) = (c / oc, c % oc);
                let mut acc = rows[group][params::BIAS][o] + if skipped { rows[group][params::K2][o] * i32::from(skip[i]) } else { 0 };
                for ky in 0..kernel as usize {
                    for kx in 0..kernel as usize {
                        let at = |out: usize, tap: usize, axis: usize| (out * window.stride[axis] as usize + tap).checked_sub(window.pads[axis] as usize);
                        let Some((y, column)) = at(py, ky, 0).filter(|&y| y < 6).zip(at(px, kx, 1).filter(|&x| x < 5)) else { continue };
                        for k in 0..ic {
                            let byte = x[(y * 5 + column) * ic * groups + group * ic + k];
                            acc += value(byte, kind) * i32::from(weights[(group * oc + o) * depth.len() + depth.index(ky, kx, k)]);
                        }
                    }
                }
                rdm(acc, rows[group][params::MULTIPLIER][o]).clamp(0, 255).to_le_bytes()[0]
            })
            .collect();
        for kernels in Kernels::all() {
            let (mut out, mut scratch) = (vec![0; output.bytes()], vec![0; conv.scratch()]);
            let operands = [turned(kernels, kind, &x), turned(kernels, DataType::U8, &skip)];
            conv.run(kernels, &operands[0], &operands[1], &mut out, 0..conv.units().count, &mut scratch);
            assert!(turned(kernels, DataType::U8, &out) == expected, "{}, round {round}, {groups} groups of {ic} to {oc}, {narrow:?}", kernels.set());
        }
    }
}

#[test]
fn gates_scale_and_add() {
    let mut random = Random::new(2);
    for round in 0..40 {
        let channels = 4 * usize::try_from(integer(&mut random, 1, 20)).unwrap();
        let [kind, skip_kind] = [round, round / 3].map(|i| [DataType::U8, DataType::S8, DataType::S16][i % 3]);
        let c = u32::try_from(channels).unwrap();
        let (x, skip) = (View::packed(3, 4, c, kind, 0), (round % 4 > 0).then_some(View::packed(3, 4, c, skip_kind, 0)));
        let (gate, output) = (View::packed(1, 1, c, DataType::U8, 0), View::packed(3, 4, c, DataType::U8, 0));
        let k2 = if skip.is_some() { 300 } else { 0 };
        let zero = if kind == DataType::S16 { 32767 } else { 255 };
        let rows: Vec<Vec<i32>> = [(-900, 900), (0, 0), (1 << 20, 1 << 22), (0, k2), (-zero, 7)]
            .into_iter()
            .map(|(low, high)| (0..channels).map(|_| integer(&mut random, low, high)).collect())
            .collect();
        let parameters = table(&rows, channels);
        let op = Gate { x, gate, skip, output, params: &parameters, p: 2 };
        let [a, b, g] = [x.bytes(), skip.unwrap_or(x).bytes(), channels].map(|n| bytes(&mut random, n));
        let expected: Vec<u8> = (0..output.bytes())
            .map(|i| {
                let c = i % channels;
                let added = if skip.is_some() { rows[3][c] * element(&b, i, skip_kind) } else { 0 };
                let acc = rows[0][c] + (element(&a, i, kind) + rows[4][c]) * i32::from(g[c]) + added;
                rdm(acc << 2, rows[2][c]).clamp(0, 255).to_le_bytes()[0]
            })
            .collect();
        for kernels in Kernels::all() {
            let operands = [turned(kernels, kind, &a), turned(kernels, DataType::U8, &g), turned(kernels, skip_kind, &b)];
            let (mut out, mut scratch) = (vec![0; output.bytes()], vec![0; op.scratch()]);
            op.run(kernels, operands.each_ref().map(Vec::as_slice), &mut out, 0..op.units().count, &mut scratch);
            assert!(turned(kernels, DataType::U8, &out) == expected, "{}, round {round}", kernels.set());
        }
    }
}

#[test]
fn tables_map_the_bytes_of_the_definition() {
    let mut random = Random::new(3);
    let table: Vec<u8> = bytes(&mut random, 256);
    for (from, to) in [(DataType::U8, DataType::S8), (DataType::S8, DataType::U8), (DataType::S8, DataType::S8)] {
        let (input, output) = (View::packed(3, 5, 22, from, 0), View::packed(3, 5, 22, to, 0));
        let x = bytes(&mut random, input.bytes());
        let op = Table { input, output, table: &table };
        for kernels in Kernels::all() {
            let mut out = vec![0; output.bytes()];
            for units in [0..4, 4..15] {
                let start = units.start * output.pixel;
                op.run(kernels, &turned(kernels, from, &x), &mut out[start..], units);
            }
            let expected: Vec<u8> = x.iter().map(|&b| table[usize::from(b)]).collect();
            assert!(turned(kernels, to, &out) == expected, "{}", kernels.set());
        }
    }
}

#[test]
#[expect(clippy::cast_possible_truncation, reason = "clamped")]
fn tables_of_words_are_lines_between_points() {
    let mut random = Random::new(5);
    for to in [DataType::U8, DataType::S8, DataType::S16] {
        let (input, output) = (View::packed(3, 5, 24, DataType::S16, 0), View::packed(3, 5, 24, to, 0));
        let (low, high) = to.range();
        // Some points lie beyond what the type holds; none beyond what a file may have.
        let points: Vec<i32> =
            (0..POINTS).map(|_| integer(&mut random, 2 * low - 99, 2 * high) << point_bits(to)).map(|p| p.clamp(-POINT_LIMIT, POINT_LIMIT)).collect();
        let table: Vec<u8> = points.iter().flat_map(|p| p.to_le_bytes()).collect();
        let mut x = bytes(&mut random, input.bytes());
        x[..8].copy_from_slice(&[0, 0x80, 0xFF, 0x7F, 0, 0, 0xFF, 0xFF]);
        let expected: Vec<u8> = (0..output.bytes() / to.bytes())
            .flat_map(|i| {
                let place = i64::from(element(&x, i, DataType::S16)) + 32768;
                let [a, b] = [0, 1].map(|k| i64::from(points[usize::try_from(place / 256 + k).unwrap()]));
                let step = f64::from(1u32 << point_bits(to)) * 256.0;
                let line = ((a * (256 - place % 256) + b * (place % 256)) as f64 / step + 0.5).floor().clamp(f64::from(low), f64::from(high));
                (line as i32).to_le_bytes().into_iter().take(to.bytes())
            })
            .collect();
        let op = Table { input, output, table: &table };
        for kernels in Kernels::all() {
            let mut out = vec![0; output.bytes()];
            for units in [0..4, 4..15] {
                op.run(kernels, &x, &mut out[units.start * output.pixel..], units);
            }
            assert!(turned(kernels, to, &out) == expected, "{}, {to:?}", kernels.set());
        }
    }
}

#[test]
fn borders_mirror_what_they_surround() {
    let mut random = Random::new(4);
    for round in 0..200 {
        let [h, w, c] = [7, 9, 40].map(|most| usize::try_from(integer(&mut random, 1, most)).unwrap());
        let pads = [h, w, h, w].map(|side| usize::try_from(integer(&mut random, 0, i32::try_from(side).unwrap() - 1)).unwrap());
        let places = |before: usize, n: usize, after: usize| -> Vec<usize> { (1..=before).rev().chain(0..n).chain((n - 1 - after..n - 1).rev()).collect() };
        let (rows, columns) = (places(pads[0], h, pads[2]), places(pads[1], w, pads[3]));
        let size = |n: usize| u32::try_from(n).unwrap();
        // Some tensors are a part of the channels of wider buffers, and rows may be apart.
        let wider = |view: View, by: usize| View { pixel: view.pixel + by, row: (view.pixel + by) * view.w as usize + by, ..view };
        let input = wider(View::packed(size(h), size(w), size(c), DataType::S8, 0), round % 2 * 8);
        let output = wider(View::packed(size(rows.len()), size(columns.len()), size(c), DataType::S8, 0), round / 2 % 2 * 4);
        let op = Mirror { before: [pads[0], pads[1]], input, output };
        let x = bytes(&mut random, input.bytes());
        let channels = input.stored_channels();
        let mut expected = vec![0; output.bytes()];
        for (y, row) in rows.iter().enumerate() {
            for (p, column) in columns.iter().enumerate() {
                let from = &x[row * input.row + column * input.pixel..][..channels];
                expected[y * output.row + p * output.pixel..][..channels].copy_from_slice(from);
            }
        }
        let count = op.units().count;
        for parts in [1, 2, 3, count] {
            let mut out = vec![0; output.bytes()];
            for part in (0..parts).map(|i| op.units().part(i, parts)).filter(|part| !part.is_empty()) {
                let [start, end] = [part.start, part.end].map(|unit| op.units().start(&output, unit));
                op.run(&x, &mut out[start..end], part);
            }
            assert!(out == expected, "round {round}: {h} x {w} x {c} by {pads:?} in {parts} parts");
        }
    }
}
