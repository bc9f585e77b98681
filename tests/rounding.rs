//! What the quantizer is made of: moments of inputs, rounding that looks at them, statistics of channels, scales of channels.
#![cfg(feature = "convert")]

#[path = "support/float.rs"]
mod float;

use float::{Builder, Noise, Random, run, three};
use skipstone::Kernels;
use skipstone::convert::calibrate::{TensorStatistics, calibrate};
use skipstone::convert::channels::Channels;
use skipstone::convert::choices::{Bias, Options, Rounding, Scales, Stream};
use skipstone::convert::explain::ladder;
use skipstone::convert::graph::{Op, Second};
use skipstone::convert::hessian::{Moments, Reads, moments};
use skipstone::convert::histogram::Histogram;
use skipstone::convert::matrix::cholesky;
use skipstone::convert::plane::{Grid, round};
use skipstone::convert::quantize::{quantize, walked};
use skipstone::convert::quantized;
use skipstone::convert::range::{Method, bounds};
use skipstone::pack::{Depth, position};
use skipstone::quant::DataType;
use skipstone::shape::{View, Window};

fn real(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap())
}

/// The full matrix and its upper triangle alone, rows of `n`: positive definite, with strong correlations.
fn correlated(n: usize, seed: u64) -> Vec<f64> {
    let mut random = Random::new(seed);
    let common: Vec<f64> = (0..n).map(|_| 1.0 + random.unit()).collect();
    let mut a = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..n {
            a[i * n + j] = 4.0 * common[i] * common[j] + if i == j { 0.3 + random.unit() } else { 0.0 };
        }
    }
    a
}

#[test]
fn the_factor_times_itself_is_the_matrix() {
    for n in [4, 60, 64, 132, 200] {
        let a = correlated(n, 3);
        let mut r = a.clone();
        cholesky(&mut r, n, Kernels::scalar(), 1);
        for i in 0..n {
            for j in i..n {
                let sum: f64 = (0..=i).map(|k| r[k * n + i] * r[k * n + j]).sum();
                assert!((sum - a[i * n + j]).abs() < 1e-9 * real(n), "{n}: {i} {j}: {sum} for {}", a[i * n + j]);
            }
        }
        for (kernels, threads) in Kernels::all().flat_map(|kernels| (1..4).map(move |threads| (kernels, threads))) {
            let mut other = a.clone();
            cholesky(&mut other, n, kernels, threads);
            assert!((0..n).all(|i| other[i * n + i..(i + 1) * n] == r[i * n + i..(i + 1) * n]), "{kernels:?}: {threads} threads change a bit");
        }
    }
}

/// The value that a window's tap meets at one pixel.
fn met(picture: &[u8], view: &View, window: &Window, padding: &[u8], [oy, ox]: [u32; 2], [ky, kx, c]: [u32; 3]) -> f64 {
    let inside =
        |o: u32, k: u32, axis: usize, limit: u32| (o * window.stride[axis] + k * window.dilation[axis]).checked_sub(window.pads[axis]).filter(|&v| v < limit);
    let byte = match (inside(oy, ky, 0, view.h), inside(ox, kx, 1, view.w)) {
        (Some(y), Some(x)) => picture[view.offset + y as usize * view.row + x as usize * view.pixel + c as usize],
        _ => padding.get(c as usize).copied().unwrap_or(0),
    };
    if view.kind == DataType::S8 { f64::from(byte.cast_signed()) } else { f64::from(byte) }
}

/// Pictures of neighbours that go together, without the values that are not told apart from those below them.
fn textures(view: &View, n: usize, random: &mut Random) -> Vec<Vec<u8>> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 255")]
    let mut byte = |last: u8| ((random.unit() * 254.9 + f64::from(last)) / 2.0) as u8;
    let one = |_| {
        let bytes = (0..view.offset + view.bytes()).scan(0, |last, _| {
            *last = byte(*last);
            Some(*last)
        });
        bytes.map(|b| if view.kind == DataType::S8 && b == 127 { 126 } else { b }).collect()
    };
    (0..n).map(one).collect()
}

/// The moments of a window, held against their definition for each pair of every `every`-th position.
fn moments_as_defined(view: View, window: Window, padding: &[u8], pictures: &[Vec<u8>], every: usize) -> Vec<Moments> {
    let size = window.output(view.h, view.w).unwrap();
    let depth = Depth::new(&window, view.stored_channels());
    let taps: Vec<[u32; 3]> = (0..window.kernel[0]).flat_map(|ky| (0..window.kernel[1]).flat_map(move |kx| (0..view.c).map(move |c| [ky, kx, c]))).collect();
    let pixels: Vec<(&[u8], [u32; 2])> = pictures.iter().flat_map(|p| (0..size[0]).flat_map(move |y| (0..size[1]).map(move |x| (&p[..], [y, x])))).collect();
    let mut values = vec![Vec::new(); depth.len()];
    for tap in taps.into_iter().step_by(every) {
        let [ky, kx, c] = tap.map(|v| v as usize);
        values[depth.index(ky, kx, c)] = pixels.iter().map(|(p, at)| met(p, &view, &window, padding, *at, tap)).collect();
    }
    let n = real(pixels.len());
    for row in &mut values {
        let mean = row.iter().sum::<f64>() / n;
        row.iter_mut().for_each(|v| *v -= mean);
    }
    let reads = [Reads { pictures, view, window, padding }];
    let parts: Vec<_> = moments(&reads, size, Kernels::detect(), 1).collect();
    for Moments { order, matrix, .. } in &parts {
        let n_positions = order.len();
        for (a, &i) in order.iter().enumerate().filter(|(_, i)| !values[**i].is_empty()) {
            for (b, &j) in order.iter().enumerate().skip(a).filter(|(_, j)| !values[**j].is_empty()) {
                let expected = values[i].iter().zip(&values[j]).map(|(x, y)| x * y).sum::<f64>() / n;
                assert!((matrix[a * n_positions + b] - expected).abs() < 0.05, "{i} {j}: {} for {expected}", matrix[a * n_positions + b]);
            }
        }
        assert!((1..n_positions).all(|a| matrix[a * n_positions + a] >= matrix[(a - 1) * (n_positions + 1)] - 0.05), "the order goes up");
    }
    for (kernels, threads) in Kernels::all().map(|k| (k, 1)).chain([(Kernels::detect(), 3)]) {
        let others: Vec<_> = moments(&reads, size, kernels, threads).collect();
        let same = |(p, q): (&Moments, &Moments)| p.order == q.order && p.matrix == q.matrix && p.samples == q.samples;
        assert!(others.len() == parts.len() && parts.iter().zip(&others).all(same), "{kernels:?}, {threads} threads");
    }
    parts
}

#[test]
fn moments_are_those_of_the_inputs() {
    let mut random = Random::new(8);
    let signed = View::packed(7, 6, 8, DataType::S8, 0);
    let unsigned = View::packed(7, 6, 72, DataType::U8, 0);
    let picture = View::picture(7, 6, 3, 0);
    let window = Window { kernel: [3, 3], stride: [2, 1], dilation: [1, 1], pads: [1, 1, 1, 1] };
    for (view, padding) in [(signed, &[][..]), (unsigned, &[]), (picture, &[9, 200, 77])] {
        assert_eq!(moments_as_defined(view, window, padding, &textures(&view, 5, &mut random), 1).len(), 1);
    }
}

/// A window that moves by single pixels over many is looked at everywhere: taps that lie equally far apart share their products.
#[test]
fn moments_are_those_of_all_pixels_where_taps_share_their_products() {
    let mut random = Random::new(9);
    let window = |kernel, dilation, pads| Window { kernel, stride: [1, 1], dilation, pads };
    let byte = DataType::U8;
    for (view, window, padding) in [
        (View::packed(24, 24, 8, DataType::S8, 0), window([3, 3], [1, 1], [1, 1, 1, 1]), &[][..]),
        (View::packed(25, 23, 10, byte, 0), window([3, 3], [2, 3], [2, 3, 2, 3]), &[3, 250, 0, 9, 17, 127, 2, 3, 100, 0]),
        (View::packed(22, 26, 16, byte, 0), window([1, 3], [1, 1], [0, 2, 0, 0]), &[]),
        (View::packed(25, 26, 13, byte, 0), window([3, 2], [1, 1], [0, 1, 1, 0]), &[]),
        (View::packed(1, 300, 8, byte, 0), window([1, 5], [1, 2], [0, 4, 0, 4]), &[200; 8]),
        (View::picture(32, 32, 3, 0), window([7, 7], [1, 1], [3, 3, 3, 3]), &[9, 200, 77]),
        (View { offset: 8, pixel: 20, row: 500, ..View::packed(24, 24, 8, byte, 0) }, window([3, 3], [1, 1], [1, 1, 1, 1]), &[]),
    ] {
        let [h, w] = window.output(view.h, view.w).unwrap().map(|v| v as usize);
        // More than would be sampled, and more than a sum of products may have where the window meets them all.
        let some = 81_000 / (h * w) + 1;
        let parts = moments_as_defined(view, window, padding, &textures(&view, some, &mut random), 1);
        assert_eq!(parts.iter().map(|p| p.samples).collect::<Vec<_>>(), [some * h * w], "{view:?}");
    }
}

/// The largest bytes in the most samples that are added up at a time.
#[test]
fn sums_of_the_largest_products_do_not_overflow() {
    let view = View::packed(32, 32, 16, DataType::U8, 0);
    let window = Window { kernel: [3, 3], stride: [1, 1], dilation: [1, 1], pads: [1; 4] };
    let textures = textures(&view, 100, &mut Random::new(11));
    let pictures: Vec<Vec<u8>> = textures.into_iter().map(|p| p.into_iter().map(|b| 254 - b % 2).collect()).collect();
    let parts = moments_as_defined(view, window, &[254; 16], &pictures, 1);
    assert_eq!(parts.iter().map(|p| p.samples).collect::<Vec<_>>(), [102_400]);
}

#[test]
fn taps_share_their_products_in_each_part_of_a_deep_layer() {
    let view = View::packed(1, 150, 200, DataType::U8, 0);
    let window = Window { kernel: [1, 25], stride: [1, 1], dilation: [1, 1], pads: [0, 12, 0, 12] };
    let parts = moments_as_defined(view, window, &[], &textures(&view, 12, &mut Random::new(10)), 97);
    assert_eq!(parts.iter().map(|p| p.order.len()).collect::<Vec<_>>(), [2500, 2500]);
}

/// A dense layer over a large map is a window of one output pixel, with a tap for each pixel of the map.
#[test]
fn moments_of_a_dense_layer_over_a_map() {
    let view = View::packed(40, 40, 4, DataType::U8, 0);
    let window = Window { kernel: [40, 40], stride: [1, 1], dilation: [1, 1], pads: [0; 4] };
    let parts = moments_as_defined(view, window, &[], &textures(&view, 100, &mut Random::new(12)), 97);
    assert_eq!(parts.iter().map(|p| p.order.len()).collect::<Vec<_>>(), [3200, 3200]);
}

/// Places between the taps, and channels that a tensor does not have, move nothing, however few samples there are.
#[test]
fn what_no_tap_covers_has_no_moments() {
    for (view, window, covered) in [
        (View::picture(3, 3, 3, 0), Window { kernel: [3, 3], stride: [1, 1], dilation: [1, 1], pads: [0; 4] }, 27),
        (View::packed(1, 1, 6, DataType::U8, 0), Window::point([1, 1]), 6),
    ] {
        let picture: Vec<u8> = (0..view.bytes()).map(|i| u8::try_from(250 - i).unwrap()).collect();
        let reads = [Reads { pictures: &[picture], view, window, padding: &[] }];
        let parts: Vec<_> = moments(&reads, [1, 1], Kernels::detect(), 1).collect();
        let n = parts[0].order.len();
        let still = (0..n).filter(|a| (0..n).all(|b| parts[0].matrix[a.min(&b) * n + a.max(&b)].abs() < 0.5)).count();
        assert_eq!(still, n - covered, "of {n} positions");
    }
}

#[test]
fn deep_layers_are_taken_in_parts() {
    let view = View::packed(1, 1, 4800, DataType::U8, 0);
    let pictures: Vec<Vec<u8>> = (0..8u8).map(|p| (0..4800u32).map(|c| u8::try_from((c * 31 + u32::from(p) * 57) % 251).unwrap()).collect()).collect();
    let reads = [Reads { pictures: &pictures, view, window: Window::point([1, 1]), padding: &[] }];
    let parts: Vec<_> = moments(&reads, [1, 1], Kernels::detect(), 2).collect();
    let mut all: Vec<usize> = parts.iter().flat_map(|p| p.order.clone()).collect();
    all.sort_unstable();
    assert_eq!((parts.len(), all), (2, (0..4800).collect()));
}

/// The error of the outputs: e'He for the error e of each row.
fn error(rows: &[Vec<f64>], step: f64, integers: &[Vec<i8>], a: &[f64]) -> f64 {
    let n = rows[0].len();
    let one = |(row, q): (&Vec<f64>, &Vec<i8>)| -> f64 {
        let e: Vec<f64> = row.iter().zip(q).map(|(w, &q)| w - step * f64::from(q)).collect();
        (0..n).map(|i| (0..n).map(|j| e[i] * a[i * n + j] * e[j]).sum::<f64>()).sum()
    };
    rows.iter().zip(integers).map(one).sum()
}

/// The integers of some rows whose inputs have these moments, in the order of `order`.
fn rounded(grid: &Grid<'_>, order: impl Iterator<Item = usize>, matrix: &[f64], threads: usize) -> Vec<Vec<i8>> {
    with(Kernels::detect(), grid, order, matrix, threads)
}

fn with(kernels: Kernels, grid: &Grid<'_>, order: impl Iterator<Item = usize>, matrix: &[f64], threads: usize) -> Vec<Vec<i8>> {
    let mut rounded: Vec<Vec<i8>> = grid.rows.iter().map(|r| vec![0; r.len()]).collect();
    round(grid, Moments { order: order.collect(), matrix: matrix.to_vec(), samples: 100_000 }, &mut rounded, kernels, threads);
    rounded
}

fn weights(rows: usize, n: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut random = Random::new(seed);
    (0..rows).map(|_| (0..n).map(|_| 0.9 * random.signed()).collect()).collect()
}

fn nearest(rows: &[Vec<f64>], step: f64) -> Vec<Vec<i8>> {
    #[expect(clippy::cast_possible_truncation, reason = "within a byte")]
    rows.iter().map(|r| r.iter().map(|w| (w / step + 0.5).floor() as i8).collect()).collect()
}

#[test]
fn rounding_together_makes_the_outputs_better() {
    let step = 1.0 / 127.0;
    for (n, outputs) in [(36, 5), (144, 18)] {
        let (a, rows) = (correlated(n, 21), weights(outputs, n, 4));
        let steps = vec![[step, step]; outputs];
        let grid = Grid { rows: &rows, steps: &steps, split: n, pair_safe: false };
        let together = rounded(&grid, 0..n, &a, 1);
        let (better, plain) = (error(&rows, step, &together, &a), error(&rows, step, &nearest(&rows, step), &a));
        assert!(better < 0.2 * plain, "{better} against {plain}");
        assert!((2..5).all(|threads| rounded(&grid, 0..n, &a, threads) == together));
        assert!(Kernels::all().all(|kernels| with(kernels, &grid, 0..n, &a, 1) == together));
    }
}

#[test]
fn inputs_that_do_not_go_together_leave_every_weight_at_its_nearest() {
    let (n, step) = (72, 1.0 / 127.0);
    let mut diagonal = vec![0.0; n * n];
    (0..n).for_each(|i| diagonal[i * n + i] = 1.0 + real(i));
    let rows = weights(7, n, 9);
    let grid = Grid { rows: &rows, steps: &[[step, step]; 7], split: n, pair_safe: false };
    assert_eq!(rounded(&grid, 0..n, &diagonal, 1), nearest(&rows, step));
}

#[test]
fn pairs_stay_safe_and_no_weight_is_below_127() {
    let n = 64;
    // Pairs at the limit, of both signs, and weights at the end of the grid.
    let rows: Vec<Vec<f64>> = weights(9, n, 31).iter().map(|r| r.iter().enumerate().map(|(i, w)| if i % 8 < 2 { 0.503 } else { *w * 0.5 }).collect()).collect();
    let rows: Vec<Vec<f64>> = rows.iter().enumerate().map(|(o, r)| r.iter().map(|w| if o % 2 == 0 { *w } else { -w }).collect()).collect();
    let step = 1.006 / 128.0;
    let steps = vec![[step, 2.0 * step]; 9];
    let safe = rounded(&Grid { rows: &rows, steps: &steps, split: 40, pair_safe: true }, (0..n).rev(), &correlated(n, 6), 1);
    for pair in safe.iter().flat_map(|row| row.chunks(2)) {
        let [a, b] = [i32::from(pair[0]), i32::from(pair[1])];
        assert!(a.max(0) + b.max(0) <= 128 && a.min(0) + b.min(0) >= -128, "{a} {b}");
    }
    let wild = vec![vec![-3.0; n]];
    let limited = rounded(&Grid { rows: &wild, steps: &[[0.01, 0.01]], split: n, pair_safe: false }, 0..n, &correlated(n, 6), 1);
    assert!(limited[0].iter().all(|&q| q == -127));
}

fn pictures(n: usize, values: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut random = Random::new(seed);
    #[expect(clippy::cast_possible_truncation, reason = "test values")]
    let mut value = || (random.signed() * 2f64.powf(12.0 * random.unit() - 9.0)) as f32;
    (0..n).map(|_| (0..values).map(|_| value()).collect()).collect()
}

/// Of values so small that no bin has been moved to them, and of none at all, in every order.
#[test]
fn channels_of_zeros_and_tiny_values_are_counted_in_any_order() {
    let tiny = |exponent: i32| 2.0f32.powi(exponent);
    let pictures = [vec![0.0; 4], vec![tiny(-122); 4], vec![tiny(-118), 0.0, tiny(-123), tiny(-130)]];
    let counted = |order: [usize; 3]| {
        let mut all = Channels::default();
        order.iter().for_each(|&p| all.add(0, &pictures[p], 1, true));
        all
    };
    let first = counted([0, 1, 2]);
    assert_eq!(first.bins(&[0], 0).iter().map(|b| b.1).sum::<f64>() + first.small(&[0], 0), 7.0);
    for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        assert_eq!(counted(order), first, "{order:?}");
    }
}

#[test]
fn statistics_of_channels_do_not_depend_on_the_order() {
    let all = pictures(12, 40 * 6, 5);
    let count = |order: &[usize]| {
        let mut channels = Channels::default();
        order.iter().for_each(|&i| channels.add(i, &all[i], 6, false));
        channels
    };
    let forward: Vec<usize> = (0..12).collect();
    let backward: Vec<usize> = forward.iter().rev().copied().collect();
    let mixed: Vec<usize> = (0..12).map(|i| i * 5 % 12).collect();
    assert!(count(&forward) == count(&backward) && count(&forward) == count(&mixed));
    let top = |c: usize| all.iter().flat_map(|p| p.iter().skip(c).step_by(6)).fold(0.0f64, |m, v| m.max(f64::from(v.abs())));
    let counted = count(&mixed);
    for c in 0..6 {
        let found = (0..4).fold(0.0f64, |m, g| m.max(counted.top(g, c)));
        let values = counted.bins(&[0, 1, 2, 3], c).iter().map(|b| b.1).sum::<f64>() + counted.small(&[0, 1, 2, 3], c);
        assert!(found == top(c) && (values - 12.0 * 40.0).abs() < 0.5, "channel {c}: {found}, {values} values");
    }
}

fn statistics(all: &[Vec<f32>], channels: usize) -> TensorStatistics {
    let mut counted = TensorStatistics { max: 0.0, histogram: Histogram::default(), channels: Channels::default() };
    for (i, picture) in all.iter().enumerate() {
        counted.channels.add(i, picture, channels, false);
        picture.iter().for_each(|&v| counted.histogram.add(v));
        counted.max = picture.iter().fold(counted.max, |m, v| m.max(v.abs()));
    }
    counted
}

#[test]
fn ranges_of_few_pictures_leave_room_for_others() {
    // Values with heavy tails: the largest of four pictures is not the largest that will come.
    let cost = |all: &[Vec<f32>], bounds: &[f64]| -> f64 {
        let one = |(i, v): (usize, &f32)| {
            let (v, bound) = (f64::from(v.abs()), bounds[i % 4]);
            if v > bound { (v - bound).powi(2) } else { (bound / 127.0).powi(2) / 12.0 }
        };
        all.iter().flat_map(|p| p.iter().enumerate()).map(one).sum()
    };
    let (few, unseen) = (pictures(8, 4 * 30, 17), pictures(400, 4 * 30, 18));
    let counted = statistics(&few, 4);
    let of = |method| cost(&unseen, &bounds(&counted, 127.0, method, &[1.0; 4]));
    assert!(of(Method::CrossValidated) < of(Method::Mse), "{} {}", of(Method::CrossValidated), of(Method::Mse));
    assert!(bounds(&counted, 127.0, Method::MinMax, &[1.0; 4]).iter().zip(0..4).all(|(b, c)| (0..4).any(|g| (b - counted.channels.top(g, c)).abs() < 1e-9)));
}

#[test]
fn scales_of_channels_leave_the_function_as_it_is() {
    let mut b = Builder::new(41, 10, 12);
    let x = b.conv(0, three(1), 16, true, Second::None);
    let y = b.conv(x, three(1), 20, true, Second::None);
    let mut network = b.finish(y, 7);
    // Channels of very different sizes, made up for by their reader.
    let factors: Vec<f64> = (0..16).map(|c| 2f64.powi(c % 5 - 2)).collect();
    if let Op::Conv(conv) = &mut network.steps[0].op {
        let row = conv.weights.len() / 16;
        conv.weights.iter_mut().enumerate().for_each(|(i, w)| *w *= factors[i / row]);
        conv.bias.iter_mut().zip(&factors).for_each(|(b, f)| *b *= f);
    }
    if let Op::Conv(conv) = &mut network.steps[1].op {
        conv.weights.iter_mut().enumerate().for_each(|(i, w)| *w /= factors[i % 16]);
    }
    let pictures = Noise::new(&network, 16, 5);
    let options = Options { rounding: Rounding::Nearest, pair_safe: false, ..Options::default() };
    let statistics = calibrate(&network, &run(&network), &pictures, &walked(&network, 16), 1, &|_| {}).unwrap();
    let made = quantize(&network, &statistics, pictures.0.clone(), options, &|_| {}).unwrap();
    let input = &made.tensors[made.steps[1].input];
    let [least, most] = [f64::min, f64::max].map(|f| input.scales.iter().copied().reduce(f).unwrap());
    assert!(most > 4.0 * least, "the scales follow the channels: {least} to {most}");
    // What the integers stand for is each weight, to half a step of its row's grid.
    let (quantized::Op::Conv(integers), Op::Conv(real)) = (&made.steps[1].op, &network.steps[1].op) else { panic!("convolutions") };
    let (depth, row) = (Depth::new(&integers.window, 16), real.weights.len() / 20);
    for o in 0..20 {
        let largest = real.weights[o * row..][..row].iter().enumerate().fold(0.0f64, |m, (i, w)| m.max(w.abs() * input.scales[i % 16]));
        let unit = largest / 127.0;
        for (i, w) in real.weights[o * row..][..row].iter().enumerate() {
            let at = position(depth.len(), o, depth.index(i / 16 / 3, i / 16 % 3, i % 16));
            let made = f64::from(integers.weights[at].cast_signed()) * unit / input.scales[i % 16];
            assert!((made - w).abs() <= 0.501 * unit / input.scales[i % 16], "output {o}, weight {i}: {made} for {w}");
        }
    }
}

#[test]
fn words() {
    assert_eq!(Options::default().to_string(), "cv, scales channel, rounding hessian, bias means");
    assert_eq!(("tensor".parse(), "nearest".parse(), "float".parse()), (Ok(Scales::Tensor), Ok(Rounding::Nearest), Ok(Bias::Float)));
    assert_eq!("learned".parse::<Rounding>().unwrap_err(), "unknown rounding 'learned': nearest or hessian");
    let rungs = ladder(Options::default());
    assert_eq!((rungs.len(), rungs[4]), (6, Options { stream: Stream::Narrow, ..Options::default() }));
    assert_eq!(rungs[5], Options { stream: Stream::Wide, ..Options::default() });
    let plain = Options {
        method: Method::MinMax,
        scales: Scales::Tensor,
        rounding: Rounding::Nearest,
        bias: Bias::Float,
        stream: Stream::Narrow,
        ..Options::default()
    };
    assert_eq!(ladder(plain), [plain]);
    assert_eq!(("16".parse(), "8".parse(), "auto".parse()), (Ok(Stream::Wide), Ok(Stream::Narrow), Ok(Stream::default())));
    assert!(rungs[5].to_string().ends_with(", stream 16") && !rungs[4].to_string().contains("stream"));
}
