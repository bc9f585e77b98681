//! Convolutions in which branches were folded: the diagonal that hands each channel on becomes the exact factor of a skip, a middle tap that stands out a projection.
#![cfg(feature = "convert")]

#[path = "support/float.rs"]
mod float;

use float::{Builder, Noise, evaluate, run, three};
use skipstone::convert::calibrate::calibrate;
use skipstone::convert::choices::Options;
use skipstone::convert::graph::{Network, Op, Second};
use skipstone::convert::quantize::{quantize, walked};
use skipstone::convert::quantized::{self, Quantized};
use skipstone::shape::Window;

/// Plain layers whose middle taps hold `identity`, except in every third channel, where they hold `third`.
fn network(seed: u64, [identity, third]: [f64; 2], groups: u32, window: Window) -> Network {
    let mut b = Builder::new(seed, 9, 8);
    let mut x = b.conv(0, three(1), 16, true, Second::None);
    for _ in 0..4 {
        x = b.grouped(x, window, groups, 16, Second::None);
        let own = 16 / groups as usize;
        let taps = (window.kernel[0] * window.kernel[1]) as usize;
        if let Op::Conv(conv) = &mut b.network.steps.last_mut().unwrap().op {
            for (o, row) in conv.weights.chunks_exact_mut(taps * own).enumerate() {
                row.iter_mut().for_each(|w| *w *= 0.3);
                row[taps / 2 * own + o % own] += if o % 3 == 2 { third } else { identity };
            }
        }
    }
    b.finish(x, 9)
}

fn made(network: &Network) -> Quantized {
    let pictures = Noise::new(network, 48, 5);
    let walked = walked(network, 48);
    let statistics = calibrate(network, &run(network), &pictures, &walked, 1, &|_| {}).unwrap();
    quantize(network, &statistics, pictures.0.clone(), Options::default(), &|_| {}).unwrap()
}

/// How many convolutions add a skip.
fn skips(quantized: &Quantized) -> usize {
    let skip = |op: &quantized::Op| matches!(op, quantized::Op::Conv(conv) if matches!(conv.second, quantized::Second::Skip { .. }));
    quantized.steps.iter().filter(|s| skip(&s.op)).count()
}

#[test]
fn a_diagonal_that_stands_out_leaves_the_kernel() {
    let network = network(1, [2.0, 0.0], 1, three(1));
    let quantized = made(&network);
    assert_eq!((skips(&quantized), projections(&quantized)), (4, 0));
    for step in &quantized.steps[1..5] {
        assert!(step.second == Some(step.input) && step.factors.unwrap().0 > 100, "{step:?}");
    }
    assert!(quantized.sqnr_db.unwrap() > 35.0, "{:?}", quantized.sqnr_db);
    assert!(evaluate(&network, &Noise::new(&network, 1, 3).0[0]).last().unwrap().iter().any(|v| v.abs() > 0.01));
}

/// How many convolutions project their own input.
fn projections(quantized: &Quantized) -> usize {
    let own = |s: &&quantized::Step| {
        matches!(&s.op, quantized::Op::Conv(conv) if matches!(conv.second, quantized::Second::Projection { .. })) && s.second == Some(s.input)
    };
    quantized.steps.iter().filter(own).count()
}

/// Layers of growing width, every other one of stride 2, whose middle taps are larger than the others by `factor`.
fn swollen(factor: f64, relu: bool) -> Network {
    let mut b = Builder::new(3, 17, 13);
    let mut x = b.conv(0, three(1), 16, relu, Second::None);
    for i in 0..4 {
        let channels = b.network.tensors[x].shape[2];
        x = b.conv(x, three(1 + i % 2), 16 + 5 * i, relu, Second::None);
        if let Op::Conv(conv) = &mut b.network.steps.last_mut().unwrap().op {
            let taps = conv.weights.chunks_exact_mut(channels as usize).enumerate();
            taps.for_each(|(tap, weights)| weights.iter_mut().for_each(|w| *w *= if tap % 9 == 4 { 1.0 } else { 1.0 / factor }));
        }
    }
    b.finish(x, 9)
}

#[test]
fn a_middle_tap_that_stands_out_is_a_projection_of_the_same_pixels() {
    let network = swollen(6.0, true);
    let quantized = made(&network);
    assert_eq!((projections(&quantized), skips(&quantized)), (4, 0));
    assert!(quantized.sqnr_db.unwrap() > 38.0, "{:?}", quantized.sqnr_db);
}

#[test]
fn a_swollen_diagonal_is_part_of_the_projection() {
    let mut network = swollen(6.0, true);
    let Op::Conv(conv) = &mut network.steps[1].op else { unreachable!("a convolution") };
    (0..16).for_each(|o| conv.weights[(o * 9 + 4) * 16 + o] += 8.0);
    let quantized = made(&network);
    assert_eq!(projections(&quantized), 4);
    assert!(quantized.sqnr_db.unwrap() > 38.0, "{:?}", quantized.sqnr_db);
}

#[test]
fn a_diagonal_that_no_skip_can_add_is_projected() {
    // Most of it negative, and pixels that are not the input's.
    assert_eq!(projections(&made(&network(1, [-2.0, 2.0], 1, three(1)))), 4);
    let strided = made(&network(2, [2.0, 2.0], 1, Window { stride: [2, 1], ..three(1) }));
    assert_eq!((projections(&strided), skips(&strided)), (4, 0));
    assert!(strided.sqnr_db.unwrap() > 35.0, "{:?}", strided.sqnr_db);
}

#[test]
fn others_stay_as_they_are() {
    // One that does not stand out, groups with kernels of their own, no border.
    assert_eq!(skips(&made(&network(1, [2.0, 2.0], 4, three(1)))), 0);
    assert_eq!(skips(&made(&network(2, [0.0, 0.0], 1, three(1)))), 0);
    assert_eq!(skips(&made(&network(2, [2.0, 2.0], 1, Window { pads: [1, 1, 1, 0], ..three(1) }))), 0);
    // A middle tap that hardly stands out, and inputs with signs.
    assert_eq!(projections(&made(&swollen(1.5, true))), 0);
    assert_eq!(projections(&made(&swollen(6.0, false))), 0);
}
