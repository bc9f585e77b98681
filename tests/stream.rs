//! The residual stream, and what functions and gates read, in 16 bits: what is made of it, what it brings, and that every kernel set makes the same of it.
#![cfg(all(feature = "cli", feature = "convert"))]

#[path = "support/emitted.rs"]
mod emitted;
#[path = "support/float.rs"]
mod float;
#[path = "support/program.rs"]
mod program;
#[path = "support/sealed.rs"]
mod sealed;

use emitted::{PREPROCESS, emitted};
use float::{Builder, Noise, evaluate, point, run, three};
use program::Folder;
use sealed::{seal, section};
use skipstone::convert::calibrate::calibrate;
use skipstone::convert::choices::{Bias, Options, Rounding, Stream};
use skipstone::convert::graph::{Function, Network, Op, Second};
use skipstone::convert::pipeline::Calibrated;
use skipstone::convert::quantize::{Spent, quantize, walked};
use skipstone::format::view::Fault;
use skipstone::format::{op, proof, section as name, step};
use skipstone::ops::table::{POINT_LIMIT, POINTS};
use skipstone::quant::DataType;
use skipstone::{Kernels, Model, PlanKind, Session};
use std::path::Path;

/// The file of a network, and its quantizer's own opinion of the scores.
fn made(network: &Network, stream: Stream) -> (Vec<u8>, f64) {
    let pictures = Noise::new(network, 48, 5);
    let (walked, options) = (walked(network, 48), Options { stream, ..Options::default() });
    let statistics = calibrate(network, &run(network), &pictures, &walked, 1, &|_| {}).unwrap();
    let quantized = quantize(network, &statistics, pictures.0.clone(), options, &|_| {}).unwrap();
    (emitted(&quantized, None).unwrap(), quantized.sqnr_db.unwrap())
}

/// Signal over error of the scores in decibels, on other pictures, the same on every kernel set.
fn sqnr(network: &Network, file: &[u8]) -> f64 {
    let model = Model::parse(file).unwrap();
    let sets: Vec<Kernels> = Kernels::all().collect();
    let (mut signal, mut noise) = (0.0, 0.0);
    for picture in &Noise::new(network, 16, 77).0 {
        let scores = |kernels: Kernels| {
            let mut arena = vec![0; model.plan(PlanKind::Fast).unwrap().arena_bytes(1)];
            let mut session = Session::new(&model, kernels, PlanKind::Fast, &mut arena).unwrap();
            session.input().copy_from_slice(picture);
            let scores = session.run();
            (scores.iter().collect::<Vec<i32>>(), f64::from(scores.scale()))
        };
        let (made, scale) = scores(Kernels::scalar());
        sets.iter().for_each(|&kernels| assert_eq!(scores(kernels).0, made));
        for (float, int) in evaluate(network, picture).last().unwrap().iter().zip(made) {
            signal += float.powi(2);
            noise += (float - f64::from(int) * scale).powi(2);
        }
    }
    10.0 * (signal / noise).log10()
}

/// Blocks whose sums are rectified: identities, a projection, and zeros for new channels.
fn rectified(seed: u64) -> Network {
    let mut b = Builder::new(seed, 9, 8);
    let mut x = b.conv(0, three(1), 10, true, Second::None);
    for _ in 0..5 {
        let y = b.conv(x, three(1), 12, true, Second::None);
        x = b.conv(y, three(1), 10, true, Builder::skip(x));
    }
    let projection = b.projection(x, 2, 14);
    let y = b.conv(x, three(2), 12, true, Second::None);
    x = b.conv(y, three(1), 14, true, projection);
    let y = b.conv(x, three(2), 12, true, Second::None);
    x = b.conv(y, three(1), 20, true, Second::Skip { tensor: x, stride: [2, 2], front: 3 });
    for _ in 0..3 {
        let y = b.conv(x, point(1), 8, true, Second::None);
        x = b.conv(y, three(1), 20, true, Builder::skip(x));
    }
    b.finish(x, 9)
}

/// Blocks that normalize in front: the stream has a sign, and is scaled before it is read.
fn signed(seed: u64) -> Network {
    let mut b = Builder::new(seed, 9, 8);
    let mut x = b.conv(0, three(1), 12, false, Second::None);
    for i in 0..6 {
        let on = b.affine(x, true);
        let y = b.conv(on, three(1), 12, true, Second::None);
        // Once it is read by a convolution, too.
        let y = if i == 2 { b.conv(x, point(1), 12, true, Second::None) } else { y };
        x = b.conv(y, three(1), 12, false, Builder::skip(x));
    }
    let on = b.affine(x, true);
    b.finish(on, 9)
}

#[test]
fn a_finer_stream_brings_the_scores_nearer() {
    for (make, zero, streams) in [(rectified as fn(u64) -> Network, -32768, 9), (signed, 0, 6)] {
        let mut gains = Vec::new();
        for seed in 1..5 {
            let network = make(seed);
            let (narrow, own) = made(&network, Stream::Narrow);
            let (wide, own_wide) = made(&network, Stream::Wide);
            let model = Model::parse(&wide).unwrap();
            let plan = model.plan(PlanKind::Fast).unwrap();
            plan.steps().for_each(|s| _ = proof::check(&s).unwrap_or_else(|e| panic!("{}: {e}", s.name())));
            let found: Vec<_> = plan.steps().map(|s| plan.tensor(s.output())).filter(|t| t.view().kind == DataType::S16).collect();
            assert!(found.len() == streams && found.iter().all(|t| t.zero() == zero), "{} tensors of 16 bits", found.len());
            let [narrow, wide] = [&narrow, &wide].map(|file| sqnr(&network, file));
            assert!(own_wide > own, "seed {seed}: {narrow:.1} dB, {wide:.1} dB with 16 bits, by itself {own:.1} and {own_wide:.1} dB");
            gains.push(wide - narrow);
        }
        assert!(gains.iter().sum::<f64>() > 2.0 && gains.iter().all(|g| *g > -0.5), "{gains:?} dB");
    }
}

/// Blocks whose branches outweigh what passes them by this factor.
fn amplifying(factor: f64) -> Network {
    let mut b = Builder::new(2, 9, 8);
    let mut x = b.conv(0, three(1), 12, true, Second::None);
    for _ in 0..3 {
        let y = b.conv(x, three(1), 12, true, Second::None);
        x = b.conv(y, three(1), 12, true, Builder::skip(x));
        if let Op::Conv(conv) = &mut b.network.steps.last_mut().unwrap().op {
            conv.weights.iter_mut().for_each(|w| *w *= factor);
        }
    }
    b.finish(x, 9)
}

/// Blocks of two curves with squeeze-and-excitation, whose sums are added apart.
fn curved(seed: u64) -> Network {
    let mut b = Builder::new(seed, 9, 8);
    let mut x = b.conv(0, three(1), 12, true, Second::None);
    for function in [Function::Silu, Function::HardSwish, Function::Silu].into_iter().cycle().take(8) {
        let y = b.conv(x, point(1), 16, false, Second::None);
        let y = b.function(y, function);
        let y = b.conv(y, three(1), 16, false, Second::None);
        let y = b.function(y, function);
        let y = b.excited(y, Function::Sigmoid, None);
        x = b.conv(y, point(1), 12, true, Builder::skip(x));
    }
    b.finish(x, 9)
}

/// Squeeze-and-excitation of what a convolution makes, behind a ReLU or not, with a shortcut behind it.
fn gated(seed: u64) -> Network {
    let mut b = Builder::new(seed, 9, 8);
    let mut x = b.conv(0, three(1), 12, true, Second::None);
    for (i, function) in [Function::Sigmoid, Function::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 }].into_iter().cycle().take(5).enumerate() {
        let y = b.conv(x, three(1), 12, true, Second::None);
        let y = b.conv(y, three(1), 12, i % 2 == 0, Second::None);
        x = b.excited(y, function, Some(x));
    }
    b.finish(x, 9)
}

#[test]
fn functions_and_gates_read_sixteen_bits() {
    // Of each block: what its functions read, what its gate reads, and but for the first, what it adds.
    for (make, words) in [(curved as fn(u64) -> Network, 8 * (3 + 1 + 1)), (gated, 5 + 5)] {
        let mut gains = Vec::new();
        for seed in 1..9 {
            let network = make(seed);
            let files = [Stream::Narrow, Stream::Wide].map(|stream| made(&network, stream).0);
            let model = Model::parse(&files[1]).unwrap();
            let plan = model.plan(PlanKind::Fast).unwrap();
            plan.steps().for_each(|s| _ = proof::check(&s).unwrap_or_else(|e| panic!("{}: {e}", s.name())));
            let found = plan.steps().filter(|s| plan.tensor(s.output()).view().kind == DataType::S16).count();
            assert_eq!(found, words);
            let [narrow, wide] = files.each_ref().map(|file| sqnr(&network, file));
            gains.push(wide - narrow);
        }
        assert!(gains.iter().sum::<f64>() > 4.0 && gains.iter().all(|g| *g > -2.5), "{gains:?} dB");
    }
}

#[test]
fn a_finer_stream_costs_nothing_where_branches_outweigh_it() {
    for factor in [30.0, 1000.0] {
        let network = amplifying(factor);
        let [narrow, wide] = [Stream::Narrow, Stream::Wide].map(|stream| sqnr(&network, &made(&network, stream).0));
        assert!(wide > narrow - 1.5, "{factor}: {narrow:.1} dB, {wide:.1} dB with 16 bits");
    }
}

#[test]
fn biases_of_the_float_network_and_one_scale_a_tensor_work_too() {
    let network = rectified(3);
    let pictures = Noise::new(&network, 32, 5);
    let statistics = calibrate(&network, &run(&network), &pictures, &walked(&network, 32), 1, &|_| {}).unwrap();
    for scales in ["tensor", "channel"] {
        let options = Options { stream: Stream::Wide, scales: scales.parse().unwrap(), bias: Bias::Float, ..Options::default() };
        let quantized = quantize(&network, &statistics, pictures.0.clone(), options, &|_| {}).unwrap();
        assert!(quantized.sqnr_db.unwrap() > 25.0 && quantized.tensors.iter().any(|t| t.kind == DataType::S16));
    }
    // Without pictures there is nothing to measure with.
    let blind = quantize(&network, &statistics, Vec::new(), Options { stream: Stream::Wide, ..Options::default() }, &|_| {}).unwrap();
    assert!(blind.tensors.iter().all(|t| t.kind != DataType::S16) && blind.sqnr_db.is_none());
}

/// So many blocks, each adding as much as passes it by.
fn deep(blocks: usize) -> Network {
    let mut b = Builder::new(3, 6, 6);
    let mut x = b.conv(0, three(1), 8, true, Second::None);
    for _ in 0..blocks {
        let y = b.conv(x, three(1), 8, true, Second::None);
        x = b.conv(y, three(1), 8, true, Builder::skip(x));
    }
    b.finish(x, 9)
}

/// The network with the mean over the pictures taken away from each score.
fn centred(mut network: Network, pictures: &Noise) -> Network {
    let scores: Vec<Vec<f64>> = pictures.0.iter().map(|p| evaluate(&network, p).pop().unwrap()).collect();
    if let Op::Conv(conv) = &mut network.steps.last_mut().unwrap().op {
        let mean = |c: usize| scores.iter().map(|s| s[c]).sum::<f64>() / f64::from(u32::try_from(scores.len()).unwrap());
        conv.bias.iter_mut().enumerate().for_each(|(c, b)| *b -= mean(c));
    }
    network
}

/// The choice between 8 and 16 bits where it is left to the converter.
#[test]
fn a_finer_stream_is_chosen_where_it_is_needed_and_helps() {
    let models = Path::new("models");
    for (network, method, chosen) in [(deep(100), "cv", true), (deep(40), "cv", false), (amplifying(1000.0), "percentile:97", false)] {
        let mut pictures = Noise::new(&network, 32, 5);
        pictures.0.iter_mut().flatten().for_each(|byte| *byte = 96 + *byte / 4);
        let network = centred(network, &pictures);
        let mut calibrated = Calibrated::new(&models.join("resnet8.onnx"), &PREPROCESS, 1, &Noise(vec![vec![9; 3072]; 2]), &|_, _, _| {}).unwrap();
        calibrated.walked = walked(&network, 32);
        calibrated.statistics = calibrate(&network, &run(&network), &pictures, &calibrated.walked, 1, &|_| {}).unwrap();
        calibrated.source.network = network;
        let made = [Stream::Narrow, Stream::Wide, Stream::Auto].map(|stream| {
            let options = Options { stream, method: method.parse().unwrap(), rounding: Rounding::Nearest, ..Options::default() };
            calibrated.quantize(options, &pictures, &Spent::default(), &|_, _, _| {}).unwrap()
        });
        let db = made.each_ref().map(|m| m.sqnr_db.unwrap());
        let notes: Vec<&String> = made[2].notes.iter().filter(|n| n.contains("16 bits")).collect();
        assert_eq!((made[2].tensors.iter().any(|t| t.kind == DataType::S16), notes.len()), (chosen, usize::from(chosen)), "{db:?}, {notes:?}");
        assert_eq!(db[2], db[usize::from(chosen)]);
        // 22 dB are enough, and a decibel is the least that it must bring.
        assert!(if chosen { db[0] < 22.0 && db[1] > db[0] + 1.0 } else { db[0] > 22.0 || db[1] < db[0] + 1.0 }, "{db:?}");
        assert!(notes.iter().all(|n| n.contains(&format!("{:.1} dB, with 8 bits they are at {:.1} dB", db[1], db[0]))), "{notes:?}");
    }
}

/// Steps that are made to read a tensor of 16 bits: only what adds, scales, gates or looks up may.
#[test]
fn sixteen_bits_are_not_read_by_weights_and_pools() {
    for network in [rectified(1), signed(1), curved(1)] {
        let (file, _) = made(&network, Stream::Wide);
        let model = Model::parse(&file).unwrap();
        let plan = model.plan(PlanKind::Fast).unwrap();
        let wide: Vec<usize> = (0..plan.tensor_count()).filter(|&t| plan.tensor(t).view().kind == DataType::S16).collect();
        let first = section(&file, &name::STEPS);
        let (mut refused, mut others) = (0, 0);
        for record in (0..plan.len()).map(|i| first + i * step::BYTES) {
            let word = |at: usize| u32::from_le_bytes(file[record + at * 4..][..4].try_into().unwrap());
            for (operand, &tensor) in [step::INPUT, step::SECOND].into_iter().flat_map(|operand| wide.iter().map(move |tensor| (operand, tensor))) {
                let mut file = file.clone();
                file[record + operand * 4..][..4].copy_from_slice(&u32::try_from(tensor).unwrap().to_le_bytes());
                seal(&mut file);
                let of_type = matches!(Model::parse(&file), Err(e) if matches!(e.fault, Fault::Part("step", what) if what.contains("of this type")));
                let may = match word(step::OP) {
                    op::ADD => true,
                    op::TABLE | op::GATE => operand == step::INPUT,
                    _ => word(step::OP) == op::CONV && word(step::SECOND_KIND) == 1 && operand == step::SECOND,
                };
                assert!(!(may && of_type), "tensor {tensor} as operand {operand} of operation {}", word(step::OP));
                assert!(may || Model::parse(&file).is_err(), "tensor {tensor} as operand {operand} of operation {}", word(step::OP));
                refused += usize::from(of_type);
                others += usize::from(may);
            }
        }
        assert!(refused > 30 && others > 30, "{refused} refused for their type, {others} that may read it");
    }
}

/// A point of a table that would leave 32 bits on its line.
#[test]
fn points_of_a_table_are_in_range() {
    let (file, _) = made(&curved(1), Stream::Wide);
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    let records = (section(&file, &name::STEPS)..).step_by(step::BYTES);
    let record = records.into_iter().find(|&at| word(at + step::OP * 4) == op::TABLE).unwrap();
    let point = section(&file, &name::WEIGHTS) + word(record + step::TABLE * 4) as usize + 4 * (POINTS - 1);
    for (value, good) in [(POINT_LIMIT, true), (-POINT_LIMIT, true), (POINT_LIMIT + 1, false), (i32::MIN, false)] {
        let mut file = file.clone();
        file[point..][..4].copy_from_slice(&value.to_le_bytes());
        seal(&mut file);
        let found = Model::parse(&file).map(|_| ()).map_err(|e| e.fault);
        assert_eq!(found, if good { Ok(()) } else { Err(Fault::Part("table", "a point of it is out of range")) });
    }
}

/// Steps of a file that are named as copies: `profile` and `inspect` show them as such, without a window, and no others.
fn copies(folder: &Folder, net: &str, named: &str) -> usize {
    let json = folder.run(&format!("profile {net} --runs 2 --json")).json(0, "profile");
    let steps = json["steps"].as_array().unwrap();
    let is_named = |name: &str| name.contains(named);
    assert!(steps.iter().all(|s| is_named(s["name"].as_str().unwrap()) == (s["op"] == "copy")), "{steps:?}");
    let text = folder.run(&format!("inspect {net}")).expect(0).out;
    let rows: Vec<Vec<&str>> = text.lines().map(|l| l.split_whitespace().collect()).filter(|r: &Vec<_>| r.first().is_some_and(|n| is_named(n))).collect();
    assert!(rows.iter().all(|r| r[1..3] == ["copy", "-"]), "{rows:?}");
    rows.len()
}

#[test]
fn the_commands_show_it() {
    let folder = Folder::new("stream");
    let models = std::env::current_dir().unwrap().join("models");
    let models = models.display();
    let convert = |more: &str| {
        folder.run(&format!("convert {models}/resnet20.onnx --calib {models}/calibration.bin --preprocess cifar10 --limit 60 --json --quiet {more}"))
    };
    let narrow = convert("-o narrow.stone").json(0, "convert");
    let wide = convert("-o wide.stone --stream 16").json(0, "convert");
    assert_eq!((narrow["stream"].as_str(), wide["stream"].as_str()), (Some("8"), Some("16")));
    assert!(wide["arena_bytes"].as_u64() > narrow["arena_bytes"].as_u64());
    convert("-o x.stone --stream 12").error(2, &["--stream", "8 or 16"]);
    folder.run("verify wide.stone --isa all --json").expect(0);
    let inspected = folder.run("inspect wide.stone --json").json(0, "inspect");
    assert!(inspected["method"].as_str().is_some_and(|m| m.ends_with("stream 16")));
    // What the branches read is a copy of the stream, no normalization before a convolution.
    let blocks = folder.run("inspect wide.stone --blocks --json").json(0, "inspect");
    let found: Vec<_> = blocks["blocks"].as_array().unwrap().iter().filter(|b| b["block"].is_number()).collect();
    assert!(found.len() == 9 && found.iter().all(|b| b["kind"] == "basic" && b["traits"].as_array().unwrap().len() == 1), "{found:?}");
    assert_eq!(found.iter().filter(|b| b["shortcut"] == "identity").count(), 7, "{found:?}");
    assert_eq!(copies(&folder, "wide.stone", ":bytes:"), 7);
    // So is what the parts of a concatenation hold, where it is read elsewhere, too.
    folder.run(&format!("convert {models}/res2net29.onnx -o parts.stone --calib {models}/calibration.bin --preprocess cifar10 --limit 20 --quiet")).expect(0);
    assert!(copies(&folder, "parts.stone", ":copy") > 3);
    // The errors of the layers are measured from the value that stands for zero.
    let compared = folder.run(&format!("compare {models}/resnet20.onnx wide.stone --data {models}/test.bin --limit 4 --json")).json(0, "compare");
    let layers = compared["layers"].as_array().unwrap();
    let least = layers.iter().filter_map(|l| l["isolated_sqnr_db"].as_f64()).fold(f64::INFINITY, f64::min);
    assert!(layers.len() > 20 && least > 25.0, "{least} dB");
    // So are the energies of the blocks.
    let energies = ["narrow", "wide"].map(|net| {
        let json = folder.run(&format!("profile {net}.stone --runs 2 --energy --data {models}/test.bin --limit 2 --json")).json(0, "profile");
        json["blocks"].as_array().unwrap().iter().filter_map(|b| b["energy"].as_f64()).collect::<Vec<_>>()
    });
    assert!(energies[0].len() > 5 && energies[0].len() == energies[1].len());
    for (narrow, wide) in energies[0].iter().zip(&energies[1]) {
        assert!((narrow / wide - 1.0).abs() < 0.1, "{energies:?}");
    }
}
