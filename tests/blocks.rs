//! Residual blocks: how steps are numbered, what `inspect --blocks` says of them, and networks without some.
#![cfg(all(feature = "cli", feature = "convert"))]

#[path = "support/emitted.rs"]
mod emitted;
#[path = "support/float.rs"]
mod float;
#[path = "support/program.rs"]
mod program;

use emitted::emitted;
use program::Folder;
use serde_json::Value;
use skipstone::convert::Source;
use skipstone::convert::bypass::{Bypass, instead};
use skipstone::convert::fold::fold;
use skipstone::convert::graph::{Network, Op};
use skipstone::convert::import::import;
use skipstone::convert::onnx::Onnx;
use skipstone::convert::quantized::{self, Conv, Quantized, Second, Step, Tensor};
use skipstone::format::view::{Preprocess, Resize};
use skipstone::pack::{Depth, LANES, panels, params};
use skipstone::quant::DataType;
use skipstone::shape::Window;
use std::path::Path;

const PREPROCESS: Preprocess = Preprocess {
    resize: Resize::ToInput,
    crop: None,
    bgr: false,
    scale: 255.0,
    mean: [0.4914, 0.4822, 0.4465, 0.0],
    deviation: [0.247, 0.2435, 0.2616, 1.0],
    tensor: None,
};

/// A network of zeros: only its shapes count.
struct Zeros(Quantized);

impl Zeros {
    fn new(side: u32) -> Self {
        let picture = Tensor { name: "picture".into(), shape: [side, side, 3], kind: DataType::U8, scales: vec![1.0; 3], zero: 0, picture: true, part: None };
        Self(Quantized { tensors: vec![picture], ..Default::default() })
    }

    fn step(&mut self, op: quantized::Op, input: usize, second: Option<usize>, shape: [u32; 3], kind: DataType, block: Option<u32>) -> usize {
        let output = self.0.tensors.len();
        let scales = vec![1.0; shape[2] as usize];
        self.0.tensors.push(Tensor { name: format!("t{output}"), shape, kind, scales, zero: 0, picture: false, part: None });
        self.0.steps.push(Step { name: format!("s{output}"), op, input, second, third: None, output, block, macs: 0, factors: None });
        output
    }

    fn sized(&self, window: &Window, input: usize, channels: u32) -> [u32; 3] {
        let [h, w, _] = self.0.tensors[input].shape;
        let [h, w] = window.output(h, w).unwrap();
        [h, w, channels]
    }

    /// A convolution of `k` by `k`, with a shortcut from a tensor: the identity, or a projection where the shapes differ.
    fn conv(&mut self, input: usize, k: u32, stride: u32, channels: u32, shortcut: Option<usize>, block: Option<u32>) -> usize {
        let window = Window { kernel: [k; 2], stride: [stride; 2], dilation: [1, 1], pads: [k / 2; 4] };
        let shape = self.sized(&window, input, channels);
        let bytes = |view: usize, window: &Window| {
            let stored = self.0.tensors[view].view(0).stored_channels();
            vec![0; Depth::new(window, stored).bytes(channels as usize)]
        };
        let projection = |t: usize| {
            let down = self.0.tensors[t].shape[0] / shape[0];
            let window = Window::point([down; 2]);
            Second::Projection { window, weights: bytes(t, &window) }
        };
        let second = match shortcut {
            None => Second::None,
            Some(t) if self.0.tensors[t].shape == shape => Second::Skip { stride: [1, 1], front: 0 },
            Some(t) => projection(t),
        };
        let rows = params::rows(matches!(second, Second::Skip { .. }), matches!(second, Second::Projection { .. }));
        let params = vec![0; panels(channels as usize) * rows * LANES * 4];
        let macs = u64::from(shape[0] * shape[1] * channels) * u64::from(k * k * self.0.tensors[input].shape[2]);
        let conv = Conv { window, groups: 1, narrow: None, weights: bytes(input, &window), params, padding: Vec::new(), second, pair_safe: false };
        let kind = if shape[0] == 1 { DataType::I32 } else { DataType::U8 };
        let output = self.step(quantized::Op::Conv(conv), input, shortcut, shape, kind, block);
        self.0.steps[output - 1].macs = macs;
        output
    }

    /// Mean and dense layer behind the last map.
    fn scores(&mut self, x: usize) {
        let [h, w, c] = self.0.tensors[x].shape;
        let window = Window { kernel: [h, w], stride: [1, 1], dilation: [1, 1], pads: [0; 4] };
        let multipliers = vec![[0; 4]; (h * w) as usize];
        let mean = self.step(quantized::Op::AveragePool { window, include_pad: false, multipliers, p: 0 }, x, None, [1, 1, c], DataType::U8, None);
        self.conv(mean, 1, 1, 1000, None, None);
    }

    /// ResNet of these numbers of blocks; `wide` is 4 with bottlenecks, 1 with basic blocks.
    fn resnet(depths: [u32; 4], wide: u32) -> Quantized {
        let mut net = Self::new(64);
        let stem = net.conv(0, 7, 2, 64, None, None);
        let window = Window { kernel: [3, 3], stride: [2, 2], dilation: [1, 1], pads: [1; 4] };
        let shape = net.sized(&window, stem, 64);
        let mut x = net.step(quantized::Op::MaxPool(window), stem, None, shape, DataType::U8, None);
        let mut block = 0;
        for (stage, depth) in (0..4).zip(depths) {
            for i in 0..depth {
                let (stride, c) = (if stage > 0 && i == 0 { 2 } else { 1 }, 64 << stage);
                x = if wide == 1 {
                    let a = net.conv(x, 3, stride, c, None, Some(block));
                    net.conv(a, 3, 1, c, Some(x), Some(block))
                } else {
                    let a = net.conv(x, 1, 1, c, None, Some(block));
                    let b = net.conv(a, 3, stride, c, None, Some(block));
                    net.conv(b, 1, 1, c * wide, Some(x), Some(block))
                };
                block += 1;
            }
        }
        net.scores(x);
        net.0
    }
}

fn file(network: &Quantized) -> Vec<u8> {
    emitted(network, None).unwrap()
}

fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or_else(|| panic!("{field} is no number in {value}"))
}

#[test]
fn the_published_sizes() {
    let folder = Folder::new("sizes");
    let networks = [
        (18, [2, 2, 2, 2], 1, 11_689_512),
        (34, [3, 4, 6, 3], 1, 21_797_672),
        (50, [3, 4, 6, 3], 4, 25_557_032),
        (101, [3, 4, 23, 3], 4, 44_549_160),
        (152, [3, 8, 36, 3], 4, 60_192_808),
    ];
    for (layers, depths, wide, published) in networks {
        folder.write("net.stone", &file(&Zeros::resnet(depths, wide)));
        let json = folder.run("inspect net.stone --blocks --json").json(0, "inspect");
        let blocks = json["blocks"].as_array().unwrap();
        let residual: Vec<&Value> = blocks.iter().filter(|b| !b["block"].is_null()).collect();
        assert_eq!(residual.len(), depths.iter().sum::<u32>() as usize);
        assert_eq!(residual.iter().map(|b| number(b, "block")).collect::<Vec<_>>(), (0..residual.len() as u64).collect::<Vec<_>>());
        for b in &residual {
            let (c, from) = (number(b, "channels"), number(b, "in_channels"));
            let (kind, own, projection) =
                if wide == 1 { ("basic", 9 * c * from + 9 * c * c, from * c) } else { ("bottleneck", c / 4 * from + 9 * c * c / 16 + c * c / 4, from * c) };
            let identity = from == c && number(b, "stride") == 1;
            assert_eq!((&b["kind"], &b["shortcut"]), (&kind.into(), &if identity { "identity" } else { "projection" }.into()));
            assert_eq!(number(b, "weights"), own + if identity { 0 } else { projection });
            if identity {
                assert_eq!(if wide == 1 { 18 * c * c } else { 17 * c * c / 16 }, number(b, "weights"));
            }
        }
        // The published totals count two parameters of batch normalization for each channel of a convolution, those of a projection too.
        let projected: u64 = residual.iter().filter(|b| b["shortcut"] == "projection").map(|b| number(b, "channels")).sum();
        let (weights, biases) = blocks.iter().fold((0, 0), |(w, b), one| (w + number(one, "weights"), b + number(one, "biases")));
        assert_eq!(weights + 2 * (biases - 1000 + projected) + 1000, published, "ResNet-{layers}");
        assert_eq!(blocks.iter().map(|b| number(b, "macs")).sum::<u64>(), number(&json, "macs"));
        assert!(blocks.iter().all(|b| b["arena_percent"].as_f64().is_some_and(|p| p > 0.0 && p <= 100.0)));
    }
}

#[test]
fn the_arena_does_not_grow_with_depth() {
    let folder = Folder::new("depth");
    let arenas = |each: u32, wide: u32| {
        folder.write("net.stone", &file(&Zeros::resnet([each; 4], wide)));
        folder.run("inspect net.stone --json").json(0, "inspect")["arena_bytes"].clone()
    };
    for wide in [1, 4] {
        let shallow = arenas(2, wide);
        assert!(shallow["fast"]["scalar"].as_u64().is_some_and(|bytes| bytes > 0), "{shallow}");
        assert_eq!(arenas(60, wide), shallow);
    }
}

#[test]
fn a_pooled_shortcut_is_told_from_the_branch() {
    pooled("bottleneck", &["1x1", "3x3/2", "1x1"]);
    pooled("basic", &["3x3/2", "1x1"]);
}

/// A block whose shortcut is pooled.
fn pooled(kind: &str, convolutions: &[&str]) {
    let folder = Folder::new(kind);
    let mut net = Zeros::new(64);
    let stem = net.conv(0, 3, 1, 64, None, None);
    let a = if kind == "basic" { stem } else { net.conv(stem, 1, 1, 32, None, Some(0)) };
    let b = net.conv(a, 3, 2, 32, None, Some(0));
    let window = Window { kernel: [2, 2], stride: [2, 2], dilation: [1, 1], pads: [0; 4] };
    let shape = net.sized(&window, stem, 64);
    let pooled = net.step(quantized::Op::MaxPool(window), stem, None, shape, DataType::U8, Some(0));
    // What is pooled goes through the kernel, the branch through the projection.
    let sum = net.conv(pooled, 1, 1, 128, Some(b), Some(0));
    net.scores(sum);
    folder.write("net.stone", &file(&net.0));
    let json = folder.run("inspect net.stone --blocks --json").json(0, "inspect");
    let block = &json["blocks"][1];
    assert_eq!((&block["kind"], &block["shortcut"], number(block, "stride")), (&kind.into(), &"pooled".into(), 2));
    assert_eq!(block["convolutions"], serde_json::json!(convolutions));
}

#[test]
fn kinds_of_our_own_networks() {
    let folder = Folder::new("kinds");
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let table: [(&str, &[&str], &[&str]); 6] = [
        ("resnet20", &["basic"], &["identity", "projection"]),
        ("preact20", &["pre-activation", "basic"], &["identity", "projection"]),
        ("seresnet20", &["se", "basic"], &["identity", "projection"]),
        ("res2net29", &["res2net", "bottleneck"], &["projection", "identity"]),
        ("resnext29", &["grouped", "bottleneck"], &["projection", "identity"]),
        ("densenet22", &["dense"], &[]),
    ];
    for (name, traits, shortcuts) in table {
        let from = format!("{0}/{name}.onnx -o net.stone --calib {0}/calibration.bin", models.display());
        folder.run(&format!("convert {from} --preprocess cifar10 --limit 2 --rounding nearest --quiet")).expect(0);
        let json = folder.run("inspect net.stone --blocks --json").json(0, "inspect");
        let residual: Vec<&Value> = json["blocks"].as_array().unwrap().iter().filter(|b| !b["block"].is_null()).collect();
        assert_eq!(residual.len(), if name == "densenet22" { 18 } else { 9 }, "{name}");
        assert!(residual.iter().all(|b| b["traits"] == serde_json::json!(traits)), "{name}: {residual:?}");
        let mut found: Vec<&str> = residual.iter().filter_map(|b| b["shortcut"].as_str()).collect();
        found.dedup();
        assert_eq!(found.iter().take(shortcuts.len()).collect::<Vec<_>>(), shortcuts.iter().collect::<Vec<_>>(), "{name}");
        assert!(found.iter().all(|s| shortcuts.contains(s)), "{name}: {found:?}");
    }
}

/// The numbers of the blocks to which the steps of an ONNX file belong.
fn numbers(path: &Path) -> Network {
    let graph = import(Onnx::load(path).unwrap()).unwrap();
    fold(&graph, &[1.0; 3], &[0.0; 3]).unwrap()
}

#[test]
fn blocks_of_the_whole_family() {
    let folder = Path::new("models");
    for (name, blocks, each) in
        [("resnet20", 9, 2), ("preact20", 9, 3), ("seresnet20", 9, 7), ("res2net29", 9, 5), ("resnext29", 9, 3), ("densenet22", 18, 2), ("plain20", 0, 0)]
    {
        let network = numbers(&folder.join(format!("{name}.onnx")));
        let found: Vec<Vec<&str>> =
            (0..=blocks).map(|b| network.steps.iter().filter(|s| s.block == Some(b)).map(|s| s.name.as_str()).collect::<Vec<_>>()).collect();
        assert!(found[blocks as usize].is_empty(), "{name} has more than {blocks} blocks");
        for (steps, b) in found.iter().zip(0..blocks) {
            assert!(steps.len() >= each, "block {b} of {name}: {steps:?}");
            // The exporter named each step after its block; a DenseNet counts its transitions as well.
            let part = |n: &str| n.split('/').find_map(|p| p.strip_prefix("blocks.").and_then(|p| p.parse::<u32>().ok()));
            let own = part(steps[0]).unwrap();
            assert!(name == "densenet22" || own == b, "block {b} of {name}: {steps:?}");
            assert!(steps.iter().all(|s| part(s) == Some(own)), "block {b} of {name}: {steps:?}");
        }
        let outside: Vec<&str> =
            network.steps.iter().filter(|s| s.block.is_none() && matches!(s.op, Op::Conv(_)) && name != "plain20").map(|s| s.name.as_str()).collect();
        let expected = match name {
            "plain20" => 0,
            "densenet22" => 4,
            _ => 2,
        };
        assert_eq!(outside.len(), expected, "{name}: {outside:?}");
    }
}

/// Pictures of 32 by 32 pixels.
fn pictures() -> Vec<Vec<u8>> {
    let records = std::fs::read("models/test.bin").unwrap();
    let picture = |r: &[u8]| (0..1024).flat_map(|p| [r[1 + p], r[1025 + p], r[2049 + p]]).collect();
    records.chunks_exact(3073).take(2).map(picture).collect()
}

#[test]
fn a_network_without_blocks_is_the_same_in_tract_and_folded() {
    let onnx = Path::new("models/resnet20.onnx");
    let whole = Source::open(onnx, &PREPROCESS).unwrap();
    assert_eq!(whole.bypasses.iter().map(|b| b.block).collect::<Vec<_>>(), [0, 1, 2, 4, 5, 7, 8]);
    assert!(Source::without(onnx, &PREPROCESS, &[3]).unwrap_err().to_string().contains("residual block 3"));
    let without = Source::without(onnx, &PREPROCESS, &[4, 1, 2]).unwrap();
    assert_eq!(without.network.steps.len(), whole.network.steps.len() - 6);
    let scores: Vec<String> = without.values().pop().into_iter().collect();
    let net = without.float(&scores).unwrap();
    let same = whole.float_without(&scores, &whole.bypasses.iter().filter(|b| [1, 2, 4].contains(&b.block)).cloned().collect::<Vec<_>>()).unwrap();
    let all = whole.float(&scores).unwrap();
    for picture in pictures() {
        let folded = float::evaluate(&without.network, &picture).pop().unwrap();
        let tract = net.run(&without.feed(&picture)).unwrap().pop().unwrap();
        assert!(folded.iter().zip(&tract).all(|(a, b)| (a - f64::from(*b)).abs() < 1e-3), "{folded:?} {tract:?}");
        assert_eq!(same.run(&whole.feed(&picture)).unwrap()[0], tract);
        assert_ne!(all.run(&whole.feed(&picture)).unwrap()[0], tract);
    }
}

#[test]
fn blocks_left_out_one_behind_the_other() {
    let chain = |block: u32| Bypass { block, sum: format!("s{}", block + 1), shortcut: format!("s{block}") };
    let left_out = [chain(2), chain(1), chain(4)];
    assert_eq!((instead(&left_out, "s3"), instead(&left_out, "s2"), instead(&left_out, "s5")), (Some("s1"), Some("s1"), Some("s4")));
    assert_eq!(instead(&left_out, "s4"), None);
}

#[test]
fn energy_is_that_of_the_float_network() {
    let folder = Folder::new("energy");
    let models = std::env::current_dir().unwrap().join("models");
    let models = models.display();
    folder.run(&format!("convert {models}/resnet20.onnx -o net.stone --calib {models}/calibration.bin --limit 20 --preprocess cifar10 --quiet")).expect(0);
    let json = folder.run(&format!("profile net.stone --runs 5 --energy --data {models}/test.bin --limit 2 --json")).json(0, "profile");
    assert_eq!(number(&json, "pictures"), 2);
    let source = Source::open(Path::new("models/resnet20.onnx"), &PREPROCESS).unwrap();
    let values: Vec<String> = source.bypasses.iter().flat_map(|b| [b.sum.clone(), b.shortcut.clone()]).collect();
    let net = source.float(&values).unwrap();
    let mut sums = vec![[0.0; 2]; source.bypasses.len()];
    for picture in pictures() {
        for (sum, pair) in sums.iter_mut().zip(net.run(&source.feed(&picture)).unwrap().chunks(2)) {
            sum[0] += pair[0].iter().zip(&pair[1]).map(|(s, x)| f64::from(s - x).powi(2)).sum::<f64>();
            sum[1] += pair[1].iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        }
    }
    let total: f64 = json["blocks"].as_array().unwrap().iter().map(|b| b["ms"].as_f64().unwrap()).sum();
    assert!((total - json["ms"].as_f64().unwrap()).abs() < 1e-9);
    for (b, [f, x]) in source.bypasses.iter().zip(sums) {
        let block = json["blocks"].as_array().unwrap().iter().find(|j| j["block"] == b.block).unwrap();
        let (made, real) = (block["energy"].as_f64().unwrap(), (f / x).sqrt());
        assert!((made / real - 1.0).abs() < 0.05, "block {}: {made} instead of {real}", b.block);
    }
    assert!(json["blocks"].as_array().unwrap().iter().filter(|b| b["shortcut"] == "projection").all(|b| b.get("energy").is_none()));
}

#[test]
fn fewer_blocks_for_less_time() {
    let folder = Folder::new("skip");
    let models = std::env::current_dir().unwrap().join("models");
    let models = models.display();
    let convert = |more: &str| {
        folder.run(&format!(
            "convert {models}/resnet20.onnx -o net.stone --calib {models}/calibration.bin --limit 20 --preprocess cifar10 --rounding nearest --method mse --quiet {more}"
        ))
    };
    convert("--skip-blocks 3").error(3, &["residual block 3", "resnet20.onnx"]);
    convert("--skip-blocks 0,x").error(2, &["--skip-blocks"]);
    convert("--skip-blocks auto:99").error(1, &["99 %", "--skip-blocks"]);
    assert!(!folder.path("net.stone").exists());
    let json = convert(&format!("--skip-blocks 4,1 --eval {models}/test.bin --eval-limit 20 --json")).json(0, "convert");
    assert_eq!(json["skipped"], Value::from(vec![4, 1]));
    let skip = &json["skip"];
    assert_eq!((number(skip, "full_macs") - number(skip, "macs"), number(skip, "pictures")), (2 * 2 * 2_359_296, 20));
    let curve = skip["curve"].as_array().unwrap();
    assert_eq!(curve.iter().map(|p| p["skipped"].clone()).collect::<Vec<_>>(), [Value::from(Vec::<u32>::new()), vec![4].into(), vec![4, 1].into()]);
    assert!(curve[0]["agreement"] == 100.0 && curve[2]["top1"].is_number() && curve[2]["sqnr_db"].as_f64() < curve[1]["sqnr_db"].as_f64());
    assert_eq!(number(&curve[2], "macs"), number(&json, "macs"));
    let inspected = folder.run("inspect net.stone --blocks --json").json(0, "inspect");
    assert_eq!((&inspected["skipped"], inspected["blocks"].as_array().unwrap().len()), (&json["skipped"], 9));
    folder.run("verify net.stone").expect(0);
    let compared = folder.run(&format!("compare {models}/resnet20.onnx net.stone --data {models}/test.bin --limit 3 --json")).json(0, "compare");
    assert!(compared["output_sqnr_db"].as_f64().unwrap() > 20.0, "the float network lacks the same blocks: {compared}");
    let auto = convert("--skip-blocks auto:5%").expect(0).out;
    assert!(auto.contains("left out      residual blocks ") && auto.contains("and block "), "{auto}");
}

#[test]
fn a_page_that_needs_nothing_from_elsewhere() {
    let folder = Folder::new("report");
    let models = std::env::current_dir().unwrap().join("models");
    let models = models.display();
    folder.run(&format!("convert {models}/resnet8.onnx -o net.stone --calib {models}/calibration.bin --limit 20 --preprocess cifar10 --quiet")).expect(0);
    let report = |more: &str| folder.run(&format!("report {models}/resnet8.onnx net.stone --data {models}/test.bin --limit 5 {more}"));
    report("-o net.stone").error(3, &["net.stone", "one of the inputs"]);
    report("-o no/such/page.html").error(3, &["no/such/page.html"]);
    folder.run(&format!("report {models}/resnet20.onnx net.stone --data {models}/test.bin -o page.html")).error(3, &["was not made from"]);
    assert!(!folder.path("page.html").exists());
    let json = report(&format!("--calib {models}/calibration.bin -o page.html --json")).json(0, "report");
    let ladder = json["ladder"].as_array().unwrap();
    let real = |rung: &Value, field: &str| rung[field].as_f64().unwrap();
    let far = |field: &str| real(&ladder[4], field) > real(&ladder[0], field) + 3.0;
    assert!(ladder.len() == 6 && far("sqnr_db") && far("median_db"), "{ladder:?}");
    assert!(ladder.iter().all(|rung| (0.0..=100.0).contains(&real(rung, "agreement"))), "{ladder:?}");
    assert_eq!((number(&json, "pictures"), json["layers"].as_array().unwrap().len()), (5, 9));
    assert_eq!(json["ensemble"]["curve"].as_array().unwrap().len(), 2, "one block of ResNet-8 has an identity shortcut");
    let page = std::fs::read_to_string(folder.path("page.html")).unwrap();
    assert_eq!(page.len() as u64, number(&json, "bytes"));
    for part in [
        "Error by layer",
        "Accuracy by method",
        "Time by layer",
        "Memory over time",
        "Residual blocks",
        "Accuracy for time",
        "Distributions",
        "top-1 of the float network",
    ] {
        assert!(page.contains(part), "no {part}");
    }
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    assert!(["http", "<script", "<link", "@import", "url(", "NaN", "=inf", "=-inf"].iter().all(|w| !page.contains(w)), "{page}");
    let quick = report("-o page.html --quick").expect(0).out;
    let page = std::fs::read_to_string(folder.path("page.html")).unwrap();
    assert!(quick.starts_with("page.html: ") && !page.contains("Accuracy for time") && !page.contains("Accuracy by method"));
}
