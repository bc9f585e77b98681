//! Functions with a small negative part: bytes around a zero point serve them better than bytes with a sign, wherever their readers allow.
#![cfg(feature = "convert")]

#[path = "support/emitted.rs"]
mod emitted;
#[path = "support/float.rs"]
mod float;

use emitted::emitted;
use float::{Builder, Noise, evaluate, point, run, three};
use skipstone::convert::calibrate::{Statistics, calibrate};
use skipstone::convert::choices::{Bias, Rounding, Scales};
use skipstone::convert::graph::{Function, Network, Op, Second};
use skipstone::convert::quantize::{Options, quantize, walked};
use skipstone::convert::quantized::{self, Quantized};
use skipstone::format::proof;
use skipstone::quant::DataType;
use skipstone::{Kernels, Model, PlanKind, Session};

const LEAKY: Function = Function::LeakyRelu { slope: 0.01 };
const STEEP: Function = Function::LeakyRelu { slope: 0.2 };

fn statistics(network: &Network, pictures: &Noise) -> Statistics {
    calibrate(network, &run(network), pictures, &walked(network, pictures.0.len()), 1, &|_| {}).unwrap()
}

fn made(network: &Network, statistics: &Statistics, pictures: &[Vec<u8>], options: Options) -> (Quantized, Vec<u8>) {
    let quantized = quantize(network, statistics, pictures.to_vec(), options, &|_| {}).unwrap_or_else(|e| panic!("{e}"));
    let file = emitted(&quantized, network.input.tensor).unwrap();
    (quantized, file)
}

fn scores(kernels: Kernels, file: &[u8], picture: &[u8]) -> Vec<f64> {
    let model = Model::parse(file).unwrap();
    let mut arena = vec![0; model.plan(PlanKind::Fast).unwrap().arena_bytes(1)];
    let mut session = Session::new(&model, kernels, PlanKind::Fast, &mut arena).unwrap();
    session.input().copy_from_slice(picture);
    let scores = session.run();
    let scale = f64::from(scores.scale());
    scores.iter().map(|s| f64::from(s) * scale).collect()
}

/// Signal over error in decibels of what the last mean reads. All kernel sets make the same scores, and all proofs hold.
fn decibels(network: &Network, file: &[u8]) -> f64 {
    let model = Model::parse(file).unwrap();
    let plan = model.plan(PlanKind::Fast).unwrap();
    plan.steps().for_each(|s| assert_eq!(proof::check(&s).err(), None, "{}", s.name()));
    let mut arena = vec![0; plan.arena_bytes(1)];
    let mut session = Session::new(&model, Kernels::scalar(), PlanKind::Fast, &mut arena).unwrap();
    let map = network.steps.len() - 3;
    let (mut signal, mut noise) = (0.0, 0.0);
    for picture in &Noise::new(network, 16, 99).0 {
        let expected = scores(Kernels::scalar(), file, picture);
        Kernels::all().for_each(|kernels| assert_eq!(scores(kernels, file, picture), expected, "{}", kernels.set()));
        let real = evaluate(network, picture);
        session.input().copy_from_slice(picture);
        session.run_with(|step, session| {
            let tensor = plan.tensor(step.output());
            if tensor.name() == network.steps[map].value {
                let channels = tensor.view().c as usize;
                for (at, (real, found)) in real[map].iter().zip(session.tensor(&tensor).values()).enumerate() {
                    signal += real.max(0.0).powi(2);
                    noise += (real.max(0.0) - f64::from(found) * f64::from(tensor.scale(at % channels))).powi(2);
                }
            }
        });
    }
    10.0 * (signal / noise).log10()
}

/// A function of a convolution. If `signed`, a step reads what it reads and what it makes that takes no zero point.
fn act(b: &mut Builder, x: usize, function: Function, signed: bool) -> usize {
    let y = b.function(x, function);
    if signed {
        b.average_pool(x, point(1), false);
        if matches!(function, Function::LeakyRelu { .. }) {
            b.average_pool(y, point(1), false);
        } else {
            b.function(y, Function::Sigmoid);
        }
    }
    y
}

/// Residual blocks of every kind of reader: padded and grouped convolutions, skips, projections, additions, affines, pools, slices, and concatenations if `beside`.
fn blocks(function: Function, beside: bool, signed: bool) -> Network {
    let mut b = Builder::new(31, 12, 12);
    let x = b.conv(0, three(1), 24, false, Second::None);
    let x = act(&mut b, x, function, signed);
    let x = b.max_pool(x, point(1));
    let y = b.conv(x, three(1), 24, false, Second::None);
    let y = act(&mut b, y, function, signed);
    let y = b.conv(y, three(1), 24, false, Builder::skip(x));
    let x = act(&mut b, y, function, signed);
    let part = b.slice(x, 8, 16);
    let z = b.conv(part, three(1), 16, false, Second::None);
    let z = act(&mut b, z, function, signed);
    let z = if beside { b.concat(&[part, z]) } else { b.add(part, z, false) };
    let projection = b.projection(x, 2, 32);
    let z = b.conv(z, three(2), 32, false, projection);
    let z = act(&mut b, z, function, signed);
    let g = b.grouped(z, three(1), 4, 32, Second::None);
    let a = b.affine(z, false);
    let a = act(&mut b, a, function, signed);
    let s = b.add(a, g, false);
    let s = act(&mut b, s, function, signed);
    let y = b.conv(s, three(1), 32, true, Second::None);
    b.finish(y, 10)
}

/// Tensors around a byte above 0.
fn around(quantized: &Quantized) -> usize {
    quantized.tensors.iter().filter(|t| t.zero > 0).count()
}

#[test]
fn bytes_around_zero_are_finer_than_bytes_with_a_sign() {
    for (function, beside) in [(LEAKY, true), (STEEP, true), (Function::Silu, false), (Function::HardSwish, false)] {
        for options in [Options::default(), Options { scales: Scales::Tensor, rounding: Rounding::Nearest, bias: Bias::Float, ..Options::default() }] {
            let [(with, own), (without, signed)] = [false, true].map(|signed| {
                let network = blocks(function, beside, signed);
                let pictures = Noise::new(&network, 64, 5);
                let (quantized, file) = made(&network, &statistics(&network, &pictures), &pictures.0, options);
                (around(&quantized), decibels(&network, &file))
            });
            println!("{function:?}, {:?}: {with} tensors, {own:.1} dB, with a sign {signed:.1}", options.scales);
            assert!((with >= 15 || function == STEEP) && without == 0, "{function:?}: {with} and {without} tensors");
            assert!(own > signed + if function == STEEP { -0.3 } else { 0.8 } && own > 22.0, "{function:?}, {options:?}: {own:.1} dB, with a sign {signed:.1}");
        }
    }
}

/// What a gate and a mean read and make is around zero, too, in bytes of channels with scales of their own.
#[test]
fn excitation_behind_functions_is_finer() {
    for (function, gate) in [(Function::Silu, Function::Sigmoid), (Function::HardSwish, Function::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 })] {
        let [(with, own), (without, signed)] = [false, true].map(|signed| {
            let mut b = Builder::new(12, 12, 12);
            let mut x = b.conv(0, three(1), 24, false, Second::None);
            for _ in 0..3 {
                let y = act(&mut b, x, function, signed);
                let gated = b.excited(y, gate, None);
                x = b.conv(gated, three(1), 24, false, Second::None);
            }
            let x = act(&mut b, x, function, signed);
            let x = b.conv(x, three(1), 32, true, Second::None);
            let network = b.finish(x, 10);
            let pictures = Noise::new(&network, 64, 5);
            let (quantized, file) = made(&network, &statistics(&network, &pictures), &pictures.0, Options::default());
            (around(&quantized), decibels(&network, &file))
        });
        println!("{function:?}: {with} tensors, {own:.1} dB, with a sign {signed:.1}");
        assert!(with == 14 && without == 3, "{function:?}: {with} and {without} tensors");
        assert!(own > signed + 1.0, "{function:?}: {own:.1} dB, with a sign {signed:.1}");
    }
}

/// The last convolution's outputs times these factors, in turn.
fn scaled(b: &mut Builder, factors: &[f64]) {
    let Op::Conv(conv) = &mut b.network.steps.last_mut().unwrap().op else { panic!("no convolution") };
    let row = conv.weights.len() / conv.bias.len();
    for (o, factor) in (0..conv.bias.len()).zip(factors.iter().cycle()) {
        conv.weights[o * row..][..row].iter_mut().for_each(|w| *w *= factor);
        conv.bias[o] *= factor;
    }
}

/// Channels of very different sizes behind gates: means have one ratio and whole bytes for zero, which leave room above; what is nearly nothing ruins nothing.
#[test]
fn means_and_gates_of_channels_of_any_size() {
    let spread: &[f64] = &[1.0, 0.1, 3.0, 0.4, 6.0, 0.03, 1.5, 0.7];
    let dead: &[f64] = &[1.0, 1.0, 0.0, 1.0, 1.0, 1e-3];
    for (factors, tail) in [(spread, "mean"), (spread, "slice"), (spread, "average"), (dead, "mean"), (dead, "function"), (spread, "function")] {
        let mut b = Builder::new(7, 12, 12);
        let mut x = b.conv(0, three(1), 24, false, Second::None);
        scaled(&mut b, factors);
        if tail != "function" {
            x = b.function(x, Function::Silu);
        }
        x = b.excited(x, Function::Sigmoid, None);
        x = match tail {
            "slice" => b.slice(x, 8, 16),
            "average" => b.average_pool(x, three(2), false),
            "function" => b.function(x, Function::Silu),
            _ => x,
        };
        let narrow = b.mean(x);
        let narrow = b.conv(narrow, point(1), 16, true, Second::None);
        let network = b.finish(narrow, 10);
        let pictures = Noise::new(&network, 48, 5);
        let statistics = statistics(&network, &pictures);
        for method in ["cv", "minmax", "percentile:99.99", "mse"] {
            let options = Options { method: method.parse().unwrap(), ..Options::default() };
            let (quantized, file) = made(&network, &statistics, &pictures.0, options);
            let found = decibels(&network, &file);
            println!("{tail} of {} channels, {method}: {found:.1} dB", factors.len());
            assert!(found > 22.0, "{tail} of {} channels, {method}: {found:.1} dB", factors.len());
            for step in quantized.steps.iter().filter(|s| matches!(s.op, quantized::Op::AveragePool { .. })) {
                let [input, output] = [step.input, step.output].map(|t| &quantized.tensors[t]);
                let zeros = [input, output].map(|t| f64::from(t.zero) * t.scales[0]);
                assert!((zeros[0] - zeros[1]).abs() <= 1e-9 * zeros[0].abs() && output.zero <= 255, "{}: {zeros:?}", step.name);
            }
        }
    }
}

#[test]
fn ranges_without_pictures_are_enough() {
    for (function, beside) in [(LEAKY, true), (STEEP, true), (Function::Silu, false), (Function::HardSwish, false)] {
        let network = blocks(function, beside, false);
        let statistics = statistics(&network, &Noise::new(&network, 64, 5));
        let (quantized, file) = made(&network, &statistics, &[], Options::default());
        assert!(around(&quantized) >= 15 || function == STEEP);
        let found = decibels(&network, &file);
        println!("{function:?}: {found:.1} dB without pictures");
        assert!(found > 20.0, "{function:?}: {found:.1} dB");
    }
}

/// Something with a sign lies beside it, what it reads is read again, or a mean reads what has no least value: there is no zero point.
#[test]
fn readers_that_take_no_zero_point() {
    let signs = |build: &dyn Fn(&mut Builder, usize) -> usize| {
        let mut b = Builder::new(8, 10, 10);
        let x = b.conv(0, three(1), 16, true, Second::None);
        let y = b.conv(x, three(1), 16, false, Second::None);
        let z = build(&mut b, y);
        let network = b.finish(z, 7);
        let pictures = Noise::new(&network, 24, 5);
        let (quantized, file) = made(&network, &statistics(&network, &pictures), &pictures.0, Options::default());
        assert!(decibels(&network, &file) > 20.0);
        let made = |name: &str| quantized.tensors.iter().find(|t| t.name == name).map(|t| (t.kind, t.zero > 0)).unwrap();
        [made("value1"), made("value2")]
    };
    let (signed, around) = ((DataType::S8, false), (DataType::U8, true));
    for function in [Function::LeakyRelu { slope: 0.001 }, Function::Silu] {
        let conv = |b: &mut Builder, x: usize| b.conv(x, three(1), 16, true, Second::None);
        let plain = signs(&|b, y| {
            let z = b.function(y, function);
            conv(b, z)
        });
        assert_eq!(plain, [around, around], "{function:?}");
        let gated = signs(&|b, y| {
            let z = b.function(y, function);
            let w = b.excited(z, Function::Sigmoid, None);
            conv(b, w)
        });
        let small = if function == Function::Silu { around } else { signed };
        assert_eq!(gated, [around, small], "{function:?}");
        let beside = signs(&|b, y| {
            let z = b.function(y, function);
            let other = b.conv(z, three(1), 8, false, Second::None);
            let w = b.concat(&[z, other]);
            conv(b, w)
        });
        assert_eq!(beside, [around, signed], "{function:?}");
        let twice = signs(&|b, y| {
            let z = b.function(y, function);
            let w = b.conv(z, three(1), 16, false, Builder::skip(y));
            conv(b, w)
        });
        assert_eq!(twice[0], signed, "{function:?}");
    }
}

#[test]
fn channels_with_hardly_a_weight_keep_their_value() {
    for function in [LEAKY, Function::Silu, Function::HardSwish] {
        for factor in [1e-5, 0.0] {
            let mut b = Builder::new(4, 9, 9);
            let x = b.conv(0, three(1), 16, true, Second::None);
            let y = b.conv(x, three(1), 16, false, Second::None);
            if let Op::Conv(conv) = &mut b.network.steps.last_mut().unwrap().op {
                let row = conv.weights.len() / 16;
                conv.weights[..4 * row].iter_mut().for_each(|w| *w *= factor);
                conv.bias[..4].fill(0.5);
            }
            let z = b.function(y, function);
            let w = b.conv(z, three(1), 16, true, Second::None);
            let network = b.finish(w, 7);
            let pictures = Noise::new(&network, 24, 5);
            for bias in [Bias::Float, Bias::Means] {
                let (_, file) = made(&network, &statistics(&network, &pictures), &pictures.0, Options { bias, ..Options::default() });
                let found = decibels(&network, &file);
                assert!(found > 30.0, "{function:?}, weights by {factor}, biases {bias}: {found:.1} dB");
            }
        }
    }
}
