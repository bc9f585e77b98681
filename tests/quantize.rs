//! Float networks made of random numbers, quantized: close to their float values, proven, and the same at any number of threads.
#![cfg(feature = "convert")]

#[path = "support/emitted.rs"]
mod emitted;
#[path = "support/float.rs"]
mod float;

use emitted::emitted;
use float::{Builder, Noise, evaluate, point, run, three};
use skipstone::convert::ConvertError;
use skipstone::convert::calibrate::{Statistics, calibrate};
use skipstone::convert::graph::{Function, Network, Op, Second};
use skipstone::convert::quantize::{self, quantize, walked};
use skipstone::convert::quantized::{self, Quantized};
use skipstone::convert::range::Method;
use skipstone::format::{Operation, proof};
use skipstone::pack::{LANES, params};
use skipstone::quant::DataType;
use skipstone::shape::Window;
use skipstone::{Kernels, Model, PlanKind, Session};

struct Made {
    quantized: Quantized,
    statistics: Statistics,
    file: Vec<u8>,
}

fn make(network: &Network, pictures: &Noise, options: quantize::Options) -> Result<Made, ConvertError> {
    let walked = walked(network, pictures.0.len());
    let statistics = calibrate(network, &run(network), pictures, &walked, options.threads, &|_| {})?;
    let quantized = quantize(network, &statistics, pictures.0.clone(), options, &|_| {})?;
    let file = emitted(&quantized, network.input.tensor)?;
    Ok(Made { quantized, statistics, file })
}

/// Integer scores as real values.
fn scores(file: &[u8], picture: &[u8]) -> Vec<f64> {
    let model = Model::parse(file).unwrap();
    let mut arena = vec![0; model.plan(PlanKind::Fast).unwrap().arena_bytes(1)];
    let mut session = Session::new(&model, Kernels::detect(), PlanKind::Fast, &mut arena).unwrap();
    session.input().copy_from_slice(picture);
    let scores = session.run();
    let scale = f64::from(scores.scale());
    scores.iter().map(|s| f64::from(s) * scale).collect()
}

/// The step whose tensor is the least like the float network's, and its signal to noise in decibels.
fn sqnr(network: &Network, file: &[u8], pictures: &Noise) -> (String, f64) {
    let model = Model::parse(file).unwrap();
    let plan = model.plan(PlanKind::Fast).unwrap();
    let mut arena = vec![0; plan.arena_bytes(1)];
    let mut session = Session::new(&model, Kernels::detect(), PlanKind::Fast, &mut arena).unwrap();
    let mut sums = vec![(0.0, 0.0); network.steps.len()];
    for picture in &pictures.0 {
        let values = evaluate(network, picture);
        session.input().copy_from_slice(picture);
        session.run_with(|step, session| {
            let tensor = plan.tensor(step.output());
            let Some(i) = network.steps.iter().position(|s| s.value == tensor.name()) else { return };
            assert_eq!(values[i].len(), session.tensor(&tensor).values().count());
            let channels = tensor.view().c as usize;
            for (at, (&f, q)) in values[i].iter().zip(session.tensor(&tensor).values()).enumerate() {
                let scale = f64::from(tensor.scale(at % channels));
                let f = if network.steps[i].relu { f.max(0.0).min(network.tensors[network.steps[i].output].limit) } else { f };
                // What lies below a byte's range is clipped on purpose.
                let zero = f64::from(tensor.zero());
                let f = if zero > 0.0 { f.max(-zero * scale) } else { f };
                sums[i].0 += f * f;
                sums[i].1 += (f - (f64::from(q) - zero) * scale).powi(2);
            }
        });
    }
    let ratio = |(signal, noise): (f64, f64)| 10.0 * (signal / noise).log10();
    // What only arranges channels is no step of the file.
    let steps = network.steps.iter().zip(sums).filter(|(_, s)| *s != (0.0, 0.0)).map(|(s, sums)| (s.name.clone(), ratio(sums)));
    steps.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap()
}

/// Quantizes with one set of pictures and measures with another.
fn measured(network: &Network, at_least: f64) -> Made {
    let made = make(network, &Noise::new(network, 64, 5), quantize::Options::default()).unwrap_or_else(|e| panic!("{e}"));
    let (step, found) = sqnr(network, &made.file, &Noise::new(network, 24, 77));
    assert!(found > at_least, "{step}: {found:.1} dB, expected {at_least}");
    made
}

/// Every proof of the file holds, and no step lacks what it could promise.
fn proven(file: &[u8]) -> Vec<proof::Proof> {
    let model = Model::parse(file).unwrap();
    let plan = model.plan(PlanKind::Fast).unwrap();
    plan.steps().map(|s| proof::check(&s).unwrap_or_else(|e| panic!("{}: {e}", s.name()))).collect()
}

fn plain(seed: u64) -> Network {
    let mut b = Builder::new(seed, 10, 12);
    let x = b.conv(0, three(1), 14, true, Second::None);
    let y = b.conv(x, three(2), 18, true, Second::None);
    b.finish(y, 7)
}

#[test]
fn convolutions() {
    for seed in 1..4 {
        let made = measured(&plain(seed), 30.0);
        assert!(proven(&made.file).iter().all(|p| p.pair_safe));
    }
}

#[test]
fn identity_skips_are_exact_multiples() {
    let mut b = Builder::new(4, 10, 12);
    let x = b.conv(0, three(1), 16, true, Second::None);
    let y = b.conv(x, three(1), 20, true, Second::None);
    let z = b.conv(y, three(1), 16, true, Builder::skip(x));
    let made = measured(&b.finish(z, 7), 30.0);
    let step = &made.quantized.steps[2];
    let quantized::Op::Conv(conv) = &step.op else { panic!("the addition was not fused") };
    assert_eq!(conv.second, quantized::Second::Skip { stride: [1, 1], front: 0 });
    let (least, most) = step.factors.unwrap();
    assert!(least >= 4 && most <= 32767, "{least} {most}");
    // M/2^31 is the unit over the output's scale, and K of these units is one step of the skip: to the rounding of M.
    let scale = |t: usize, lane: usize| made.quantized.tensors[t].scales[lane];
    let words = |row: usize, lane: usize| i32::from_le_bytes(conv.params.as_chunks::<4>().0[row * 16 + lane]);
    for lane in 0..16 {
        let (k, m) = (f64::from(words(params::K2, lane)), f64::from(words(params::MULTIPLIER, lane)));
        let expected = scale(step.second.unwrap(), lane) / scale(step.output, lane);
        assert!((k * m / 2f64.powi(31) / expected - 1.0).abs() < 1.0 / m, "lane {lane}: K {k}, M {m}");
    }
}

#[test]
fn option_a_shortcuts() {
    let mut b = Builder::new(5, 12, 12);
    let x = b.conv(0, three(1), 8, true, Second::None);
    let y = b.conv(x, three(2), 16, true, Second::None);
    let z = b.conv(y, three(1), 16, true, Second::Skip { tensor: x, stride: [2, 2], front: 4 });
    measured(&b.finish(z, 7), 30.0);
}

#[test]
fn projections() {
    for seed in 6..9 {
        let mut b = Builder::new(seed, 12, 12);
        let x = b.conv(0, three(1), 12, true, Second::None);
        let y = b.conv(x, three(2), 20, true, Second::None);
        let second = b.projection(x, 2, 20);
        let z = b.conv(y, three(1), 20, true, second);
        let made = measured(&b.finish(z, 7), 30.0);
        let quantized::Op::Conv(conv) = &made.quantized.steps[2].op else { panic!("no convolution") };
        let rows = params::rows(false, true);
        let words = |lane: usize, row: usize| i32::from_le_bytes(conv.params.as_chunks::<4>().0[(lane / 16 * rows + row) * 16 + lane % 16]);
        let factors: Vec<_> = (0..20).map(|lane| (words(lane, params::K1), words(lane, params::K2))).collect();
        assert!(factors.iter().all(|(a, b)| (1..=16).contains(a) && (1..=16).contains(b)), "{factors:?}");
        assert!(proven(&made.file)[2].pair_safe);
    }
}

#[test]
fn a_projection_of_values_with_a_sign_is_a_step_of_its_own() {
    let mut b = Builder::new(9, 10, 10);
    let x = b.conv(0, three(1), 12, false, Second::None);
    let y = b.conv(x, three(1), 16, true, Second::None);
    let second = b.projection(x, 1, 16);
    let z = b.conv(y, three(1), 16, true, second);
    let made = measured(&b.finish(z, 7), 30.0);
    assert_eq!(made.quantized.steps[2].name, "step2:shortcut");
    assert_eq!(made.quantized.tensors[made.quantized.steps[2].output].kind, DataType::S8);
}

#[test]
fn values_with_a_sign_and_additions() {
    let mut b = Builder::new(10, 10, 10);
    let x = b.conv(0, three(1), 12, true, Second::None);
    let y = b.conv(x, point(1), 12, false, Second::None);
    let z = b.conv(y, three(1), 12, true, Second::None);
    let sum = b.add(z, y, true);
    let last = b.conv(sum, three(1), 16, true, Second::None);
    let made = measured(&b.finish(last, 7), 30.0);
    assert!(made.quantized.steps.iter().any(|s| matches!(s.op, quantized::Op::Add(_))));
}

#[test]
fn a_skip_too_fine_for_a_factor_is_added_apart() {
    let mut b = Builder::new(11, 10, 10);
    let x = b.conv(0, three(1), 12, true, Second::None);
    let y = b.conv(x, three(1), 12, true, Second::None);
    let z = b.conv(y, three(1), 12, true, Builder::skip(x));
    // One channel of the main branch outweighs the skip by far.
    let Op::Conv(conv) = &mut b.network.steps[2].op else { panic!("no convolution") };
    let row = conv.weights.len() / 12;
    conv.weights[3 * row..4 * row].iter_mut().for_each(|w| *w *= 3000.0);
    let made = measured(&b.finish(z, 7), 15.0);
    assert!(made.quantized.steps.iter().any(|s| matches!(s.op, quantized::Op::Add(_)) && s.name == "step2:add"));
}

#[test]
fn pools_with_borders() {
    let window = |pads: [u32; 4], stride: u32| Window { kernel: [3, 3], stride: [stride; 2], dilation: [1, 1], pads };
    for include_pad in [false, true] {
        let mut b = Builder::new(12, 13, 11);
        let x = b.conv(0, three(1), 12, true, Second::None);
        let m = b.max_pool(x, window([1; 4], 2));
        let a = b.average_pool(m, window([1, 0, 1, 2], 1), include_pad);
        let s = b.conv(a, point(1), 16, false, Second::None);
        let signed = b.max_pool(s, window([1; 4], 1));
        let mean = b.average_pool(signed, window([1; 4], 2), include_pad);
        let made = measured(&b.finish(mean, 7), 30.0);
        let pool = |i: usize| &made.quantized.steps[i];
        assert_eq!(made.quantized.tensors[pool(1).output].scales, made.quantized.tensors[pool(1).input].scales);
        let quantized::Op::AveragePool { multipliers, .. } = &pool(2).op else { panic!("no average") };
        let occurs: Vec<usize> = (1..=9).filter(|n| multipliers[n - 1] != [0; 4]).collect();
        assert_eq!(occurs, if include_pad { vec![9] } else { vec![2, 3, 4, 6, 9] });
    }
}

#[test]
fn borders_that_mirror() {
    let unpadded = Window { pads: [0; 4], ..three(1) };
    let mut b = Builder::new(31, 9, 8);
    let x = b.conv(0, three(1), 12, true, Second::None);
    let m = b.mirror(x, [1, 2, 3, 0]);
    let signed = b.conv(m, unpadded, 10, false, Second::None);
    let n = b.mirror(signed, [0, 1, 1, 7]);
    let y = b.conv(n, unpadded, 10, true, Second::None);
    let made = measured(&b.finish(y, 7), 30.0);
    for i in [1, 3] {
        let step = &made.quantized.steps[i];
        let [input, output] = [step.input, step.output].map(|t| &made.quantized.tensors[t]);
        assert!(matches!(step.op, quantized::Op::Mirror(_)));
        assert!((input.kind, input.zero, &input.scales) == (output.kind, output.zero, &output.scales), "{input:?}, {output:?}");
    }
}

#[test]
fn the_bias_takes_the_mean_error() {
    let network = plain(13);
    let pictures = Noise::new(&network, 16, 5);
    let made = make(&network, &pictures, quantize::Options::default()).unwrap();
    let scale = made.quantized.tensors.last().unwrap().scales[0];
    let all: Vec<Vec<f64>> = pictures.0.iter().map(|p| scores(&made.file, p)).collect();
    for (class, expected) in made.statistics.means.last().unwrap().iter().enumerate() {
        let mean = all.iter().map(|s| s[class]).sum::<f64>() / 16.0;
        assert!((mean - expected).abs() < 0.75 * scale, "class {class}: {mean} for {expected}, a step is {scale}");
    }
}

#[test]
fn the_border_of_the_picture_is_the_byte_of_zero() {
    let mut network = plain(14);
    let made = make(&network, &Noise::new(&network, 8, 5), quantize::Options::default()).unwrap();
    let quantized::Op::Conv(conv) = &made.quantized.steps[0].op else { panic!("no convolution") };
    assert_eq!((&conv.padding[..], made.quantized.notes.len()), (&[124, 116, 104][..], 0));
    network.input.shift[1] = 0.3;
    let made = make(&network, &Noise::new(&network, 8, 5), quantize::Options::default()).unwrap();
    let quantized::Op::Conv(conv) = &made.quantized.steps[0].op else { panic!("no convolution") };
    assert_eq!((&conv.padding[..], made.quantized.notes.len()), (&[124, 0, 104][..], 1));
}

#[test]
fn channels_without_weights_keep_their_bias() {
    let mut network = plain(15);
    let Op::Conv(conv) = &mut network.steps[1].op else { panic!("no convolution") };
    let row = conv.weights.len() / 18;
    conv.weights[2 * row..4 * row].fill(0.0);
    conv.bias[2] = 0.9;
    conv.bias[3] = 0.0;
    let made = measured(&network, 30.0);
    proven(&made.file);
}

#[test]
fn accumulators_stay_in_range_by_construction() {
    let mut b = Builder::new(16, 6, 6);
    let x = b.conv(0, three(1), 64, true, Second::None);
    let y = b.conv(x, three(1), 600, true, Second::None);
    let second = b.projection(x, 1, 8);
    let z = b.conv(y, three(1), 8, true, second);
    // All weights alike: the sum of a channel is as large as it can be, and the projection is much coarser.
    if let Op::Conv(conv) = &mut b.network.steps[2].op {
        conv.weights.fill(0.01);
        if let Second::Projection { weights, .. } = &mut conv.second {
            weights.fill(0.7);
        }
    }
    let network = b.finish(z, 5);
    let made = make(&network, &Noise::new(&network, 3, 5), quantize::Options::default()).unwrap();
    assert!(proven(&made.file).iter().all(|p| p.accumulator < 1 << 31));
}

#[test]
fn threads_change_no_byte() {
    let mut b = Builder::new(17, 12, 12);
    let x = b.conv(0, three(1), 12, true, Second::None);
    let y = b.conv(x, three(2), 20, true, Second::None);
    let second = b.projection(x, 2, 20);
    let z = b.conv(y, three(1), 20, true, second);
    let network = b.finish(z, 7);
    let pictures = Noise::new(&network, 11, 5);
    let one = make(&network, &pictures, quantize::Options::default()).unwrap().file;
    for threads in 2..5 {
        assert!(make(&network, &pictures, quantize::Options { threads, ..quantize::Options::default() }).unwrap().file == one, "{threads} threads");
    }
}

#[test]
fn pairs_are_safe_only_where_asked_for() {
    let mut network = plain(18);
    let Op::Conv(conv) = &mut network.steps[1].op else { panic!("no convolution") };
    conv.weights[..2].fill(1.0);
    let pictures = Noise::new(&network, 8, 5);
    let safe = |pair_safe| {
        let made = make(&network, &pictures, quantize::Options { pair_safe, ..quantize::Options::default() }).unwrap();
        let model = Model::parse(&made.file).unwrap();
        let steps = model.plan(PlanKind::Fast).unwrap().steps();
        let flags: Vec<bool> = steps.filter_map(|s| if let Operation::Conv(c) = s.operation() { Some(c.pair_safe) } else { None }).collect();
        flags
    };
    assert!(safe(true).iter().all(|&s| s));
    assert!(!safe(false)[1]);
}

#[test]
fn methods() {
    let network = plain(19);
    let pictures = Noise::new(&network, 12, 5);
    for (method, at_least) in [("cv", 30.0), ("minmax", 25.0), ("percentile:99.9", 25.0), ("mse", 25.0), ("entropy", 10.0)] {
        let made = make(&network, &pictures, quantize::Options { method: method.parse().unwrap(), ..quantize::Options::default() }).unwrap();
        let (step, found) = sqnr(&network, &made.file, &pictures);
        assert!(found > at_least, "{method}: {step} {found:.1} dB");
        assert_eq!(method.parse::<Method>().unwrap().to_string(), method);
    }
    for method in ["", "kl", "percentile", "percentile:", "percentile:101", "percentile:x"] {
        assert!(method.parse::<Method>().unwrap_err().contains("unknown method"), "{method}");
    }
}

#[test]
fn what_the_device_cannot_do_is_refused() {
    let refused = |network: &Network, what: &str| {
        let error = make(network, &Noise::new(network, 2, 5), quantize::Options::default()).err().expect("it must be refused");
        assert!(error.to_string().contains(what), "{error}");
    };
    let mut network = plain(20);
    network.steps.last_mut().unwrap().relu = true;
    refused(&network, "a ReLU behind the scores, node `step3`");
    let mut network = plain(20);
    network.steps.pop();
    network.tensors.pop();
    refused(&network, "the network ends without a dense layer or convolution, node `step2`");
    let mut b = Builder::new(21, 8, 8);
    let x = b.max_pool(0, point(1));
    refused(&b.finish(x, 3), "the picture is read by another operator than a convolution, node `step0`");
}

#[test]
fn the_walk_takes_an_evenly_spaced_part_of_many_pictures() {
    let mut b = Builder::new(22, 1024, 1024);
    let x = b.conv(0, three(1), 64, true, Second::None);
    let network = b.finish(x, 3);
    assert_eq!(walked(&network, 4), [0, 1, 2, 3]);
    // 67 MB of output and 3 MB of picture: seven pictures stay below 512 MiB.
    assert_eq!(walked(&network, 21), [0, 3, 6, 9, 12, 15, 18]);
}

/// A stem, the layers that `add` puts behind it, and scores.
fn behind_a_stem(seed: u64, channels: u32, add: impl Fn(&mut Builder, usize) -> usize) -> Network {
    let mut b = Builder::new(seed, 10, 12);
    let stem = b.conv(0, three(1), channels, true, Second::None);
    let last = add(&mut b, stem);
    b.finish(last, 7)
}

#[test]
fn groups_of_every_size() {
    // Channels of a group: 1 (depthwise), 2, 3, 4, 8, 16 and 24.
    for (groups, channels) in [(16, 16), (4, 8), (4, 12), (8, 32), (4, 32), (2, 32), (2, 48)] {
        for stride in 1..3 {
            let network = behind_a_stem(u64::from(groups), channels, |b, x| {
                let y = b.grouped(x, three(stride), groups, channels, Second::None);
                b.grouped(y, three(1), groups, channels, Builder::skip(y))
            });
            let made = measured(&network, 28.0);
            assert!(proven(&made.file).iter().all(|p| p.pair_safe));
            let macs = |step: usize| made.quantized.steps[step].macs;
            let [h, w] = [10u32.div_ceil(stride), 12u32.div_ceil(stride)];
            // Groups of 3 channels are computed as one.
            let own = if channels / groups == 3 { channels } else { channels / groups };
            assert_eq!(macs(1), u64::from(h * w * channels * 9 * own), "a group multiplies its own channels only");
            assert_eq!(made.quantized.notes.iter().any(|note| note.starts_with("depthwise convolution (2 of them")), groups == channels, "{groups}");
        }
    }
}

#[test]
fn a_channel_that_never_fires_leaves_narrow_groups_on_their_fast_way() {
    let mut network = behind_a_stem(3, 32, |b, x| b.grouped(x, three(1), 8, 32, Second::None));
    for step in &mut network.steps {
        if let Op::Conv(conv) = &mut step.op
            && conv.groups > 1
        {
            conv.bias[5] = -1000.0;
        }
    }
    let made = measured(&network, 26.0);
    let narrow = |op: &quantized::Op| if let quantized::Op::Conv(conv) = op { conv.narrow.map(|_| conv.params.clone()) } else { None };
    let params = made.quantized.steps.iter().find_map(|s| narrow(&s.op)).expect("a convolution of narrow groups");
    let panels = params.chunks_exact(params::rows(false, false) * 4 * LANES);
    let multipliers = panels.flat_map(|panel| panel[params::MULTIPLIER * 4 * LANES..][..4 * LANES].as_chunks::<4>().0);
    let largest = multipliers.map(|word| i32::from_le_bytes(*word)).max();
    assert!(largest.is_some_and(|m| (1 << 28..1 << 29).contains(&m)), "{largest:?}");
}

#[test]
fn gates_with_and_without_a_skip() {
    for function in [Function::Sigmoid, Function::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 }] {
        for skip in [false, true] {
            let network = behind_a_stem(9, 24, |b, x| {
                let y = b.conv(x, three(1), 24, false, Second::None);
                let gated = b.excited(y, function, skip.then_some(x));
                b.conv(gated, three(1), 16, true, Second::None)
            });
            let made = measured(&network, 24.0);
            proven(&made.file);
            assert!(made.quantized.steps.iter().any(|s| matches!(s.op, quantized::Op::Gate(_)) && s.third.is_some() == skip));
        }
    }
}

#[test]
fn functions_of_values() {
    for function in [Function::Silu, Function::HardSwish, Function::LeakyRelu { slope: 0.1 }, Function::Clip { low: -0.5, high: 0.7 }] {
        let network = behind_a_stem(12, 20, |b, x| {
            let y = b.conv(x, three(1), 20, false, Second::None);
            let z = b.function(y, function);
            b.conv(z, three(1), 16, true, Second::None)
        });
        proven(&measured(&network, 26.0).file);
    }
}

#[test]
fn normalizations_of_their_own() {
    let network = behind_a_stem(13, 20, |b, x| {
        let stream = b.conv(x, three(1), 20, false, Second::None);
        let a = b.affine(stream, true);
        let c = b.conv(a, three(1), 20, false, Builder::skip(stream));
        b.affine(c, true)
    });
    proven(&measured(&network, 26.0).file);
}

/// Parts of different ranges and signs, a part that is read again, and a slice that is a part.
#[test]
fn concatenations_keep_the_scales_of_their_parts() {
    let network = behind_a_stem(14, 16, |b, x| {
        let left = b.conv(x, three(1), 12, true, Second::None);
        let wide = b.concat(&[x, left]);
        let right = b.conv(wide, three(1), 8, true, Second::None);
        let all = b.concat(&[wide, right]);
        let middle = b.slice(all, 8, 20);
        let signed = b.conv(middle, point(1), 8, false, Second::None);
        let mixed = b.concat(&[signed, middle, left]);
        b.conv(mixed, three(1), 16, true, Second::None)
    });
    proven(&measured(&network, 26.0).file);
}

/// A function over parts of different scales, types and kinds of step.
#[test]
fn functions_of_concatenations() {
    let network = behind_a_stem(16, 16, |b, x| {
        let signed = b.conv(x, three(1), 12, false, Second::None);
        let sigmoid = b.function(signed, Function::Sigmoid);
        let inner = b.concat(&[signed, x]);
        let whole = b.concat(&[inner, sigmoid]);
        let part = b.slice(whole, 4, 16);
        let mixed = b.concat(&[part, signed]);
        let y = b.function(mixed, Function::Silu);
        b.conv(y, three(1), 16, true, Second::None)
    });
    proven(&measured(&network, 22.0).file);
}

/// A bound with a sign does not narrow the bytes: only what is never negative ends where its bytes do.
#[test]
fn bounds_of_values_with_a_sign() {
    let mut network = behind_a_stem(17, 16, |b, x| {
        let y = b.conv(x, three(1), 16, false, Second::None);
        let z = b.function(y, Function::Clip { low: -1.0, high: 1.0 });
        b.conv(z, three(1), 16, true, Second::None)
    });
    network.tensors[3].limit = 1.0;
    proven(&measured(&network, 26.0).file);
}

/// The bound of a ReLU6 is where its bytes end.
#[test]
fn limits_are_kept() {
    let mut network = behind_a_stem(15, 16, |b, x| b.conv(x, three(1), 16, true, Second::None));
    network.tensors[2].limit = 0.4;
    let made = make(&network, &Noise::new(&network, 8, 5), quantize::Options::default()).unwrap();
    assert!(made.quantized.tensors[2].scales.iter().all(|s| s * 255.0 <= 0.4 * (1.0 + 1e-9)));
}
