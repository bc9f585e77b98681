//! Small ONNX files of every kind that is supported, against ONNX Runtime's scores, and of kinds that are refused (`tests/onnx/make.py` makes them).
#![cfg(feature = "convert")]

use skipstone::convert::ConvertError;
use skipstone::convert::float::{FloatInput, FloatNet, feed};
use skipstone::convert::fold::fold;
use skipstone::convert::graph::{GAP, Input, Network, Op, Second, Step, Tensor};
use skipstone::convert::import::import;
use skipstone::convert::onnx::Onnx;
use std::path::{Path, PathBuf};

#[path = "support/float.rs"]
mod float;

/// A file that is imported, folded and ready to run in tract.
struct Loaded {
    network: Network,
    float: FloatNet,
    fed: Input,
}

/// Imports and folds a file whose input is `byte · scale + shift`.
fn load(path: &Path, scale: &[f64], shift: &[f64]) -> Result<Loaded, ConvertError> {
    let graph = import(Onnx::load(path)?)?;
    let network = fold(&graph, scale, shift)?;
    let input = FloatInput { name: graph.input.clone(), dims: graph.dims[&graph.input].clone(), bytes: graph.bytes };
    let values: Vec<String> = network.steps.iter().map(|s| s.value.clone()).collect();
    let float = FloatNet::new(&std::fs::read(path).unwrap(), path.parent().unwrap(), &input, &values)?;
    let fed = Input { scale: scale.to_vec(), shift: shift.to_vec(), ..network.input.clone() };
    Ok(Loaded { network, float, fed })
}

fn pixels(shape: [u32; 3]) -> Vec<u8> {
    let count: usize = shape.iter().map(|&n| n as usize).product();
    (0..count).map(|i| u8::try_from((i * 73 + i * i / 7 * 5) % 256).unwrap()).collect()
}

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    let mut found: Vec<PathBuf> = entries.filter(|p| p.extension().is_some_and(|e| e == "onnx")).collect();
    found.sort();
    assert!(!found.is_empty(), "{folder} is empty");
    found
}

/// The largest difference as a part of the largest value.
fn difference(got: impl IntoIterator<Item = f64>, want: &[f64]) -> f64 {
    let got: Vec<f64> = got.into_iter().collect();
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(1e-9, |m: f64, v| m.max(v.abs()));
    got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / largest
}

/// The channels of a tensor that an ONNX value has.
fn shown(values: &[f64], stored: u32, channels: &[u32]) -> Vec<f64> {
    let keep = |i: &usize| channels.get(i % stored as usize).is_none_or(|&c| c != GAP);
    (0..values.len()).filter(keep).map(|i| values[i]).collect()
}

/// Compares every step of the folded network with tract's value, and returns tract's scores.
fn steps_agree(loaded: &Loaded, picture: &[u8], name: &str, bound: f64) -> Vec<f64> {
    let tensors = float::tensors(&loaded.network, picture);
    let values = loaded.float.run(&feed(picture, &loaded.fed)).unwrap();
    for (step, value) in loaded.network.steps.iter().zip(&values) {
        let Tensor { shape, limit, channels, .. } = &loaded.network.tensors[step.output];
        let value = value.iter().map(|&v| if step.relu { f64::from(v).max(0.0).min(*limit) } else { f64::from(v) });
        let error = difference(value, &shown(&tensors[step.output], shape[2], channels));
        assert!(error < bound, "{name}: step {} differs by {error}", step.name);
    }
    values.last().unwrap().iter().map(|&v| f64::from(v)).collect()
}

#[test]
fn accepted_files_agree_with_onnx_runtime() {
    let mut wrong = Vec::new();
    for path in files("tests/onnx") {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(path.with_extension("txt")).unwrap();
        let mut lines = text.lines();
        let mut row = || lines.next().unwrap().split(' ').map(|v| v.parse().unwrap()).collect::<Vec<f64>>();
        let (scale, shift) = (row(), row());
        let want: Vec<f64> = lines.map(|v| v.parse().unwrap()).collect();
        // ONNX Runtime computes an f16 network in f16.
        let bound = if name == "f16" { 5e-3 } else { 1e-4 };
        match load(&path, &scale, &shift) {
            Ok(loaded) => {
                let picture = pixels(loaded.network.input.shape);
                let folded = float::tensors(&loaded.network, &picture)[loaded.network.steps.last().unwrap().output].clone();
                let float = steps_agree(&loaded, &picture, &name, 1e-5);
                for (of, scores) in [("folded", folded), ("float", float)] {
                    let error = difference(scores, &want);
                    if error >= bound {
                        wrong.push(format!("{name}: {of} differs by {error}"));
                    }
                }
            }
            Err(e) => wrong.push(format!("{name}: {e}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn other_outputs_are_named() {
    let mut onnx = Onnx::load(Path::new("models/resnet8.onnx")).unwrap();
    let whole = import(onnx.clone()).unwrap();
    onnx.outputs.extend(["features".to_owned(), "boxes".to_owned()]);
    let graph = import(onnx).unwrap();
    assert_eq!((graph.output, graph.left_out), (whole.output, vec!["features".to_owned(), "boxes".to_owned()]));
    assert!(whole.left_out.is_empty());
}

#[test]
fn what_ends_a_network_is_named() {
    let end = |file: &str| import(Onnx::load(Path::new(&format!("tests/onnx/{file}.onnx"))).unwrap()).unwrap().end;
    assert_eq!(end("argmax").as_deref(), Some("ArgMax"));
    assert_eq!(end("option_a"), None);
}

#[test]
fn refused_files_are_named() {
    let mut wrong = Vec::new();
    for path in files("tests/onnx/refused") {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        match load(&path, &[1.0], &[0.0]) {
            Ok(_) => wrong.push(format!("{name} is accepted")),
            Err(e) => {
                let (line, words) = (e.to_string(), std::fs::read_to_string(path.with_extension("txt")).unwrap());
                if !words.lines().all(|w| line.contains(w)) || line.contains('\n') || e.help().is_empty() {
                    wrong.push(format!("{name}: {line}, not {words}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_shortcuts_are_part_of_the_convolution() {
    let seconds = |file: &str| -> Vec<String> {
        let loaded = load(Path::new(file), &[1.0], &[0.0]).unwrap();
        let kind = |op: &Op| match op {
            Op::Conv(c) => match &c.second {
                Second::None => None,
                Second::Skip { stride, front, .. } => Some(format!("skip {stride:?} {front}")),
                Second::Projection { window, .. } => Some(format!("projection {:?}", window.stride)),
            },
            Op::Add(_) => Some("add".into()),
            _ => None,
        };
        loaded.network.steps.iter().filter_map(|s| kind(&s.op).map(|k| format!("{k} of block {:?}", s.block))).collect()
    };
    assert_eq!(seconds("tests/onnx/opset13.onnx"), ["skip [1, 1] 0 of block Some(0)", "projection [2, 2] of block Some(1)"]);
    assert_eq!(seconds("tests/onnx/option_a.onnx"), ["skip [2, 2] 2 of block Some(0)"]);
    assert_eq!(seconds("tests/onnx/plain_add.onnx").len(), 1);
}

#[test]
fn nodes_without_names_get_unique_ones() {
    let onnx = Onnx::load(Path::new("tests/onnx/opset7.onnx")).unwrap();
    let mut names: Vec<&str> = onnx.nodes.iter().map(|n| n.name.as_str()).collect();
    assert_eq!(names[..3], ["Conv_0", "BatchNormalization_1", "Relu_2"]);
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), onnx.nodes.len());
}

#[test]
fn the_hash_covers_external_data() {
    let folder = std::env::temp_dir().join(format!("skipstone-external-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let hash = |change: bool| {
        std::fs::copy("tests/onnx/external.onnx", folder.join("external.onnx")).unwrap();
        let mut data = std::fs::read("tests/onnx/external.bin").unwrap();
        if change {
            data[0] ^= 1;
        }
        std::fs::write(folder.join("external.bin"), data).unwrap();
        Onnx::load(&folder.join("external.onnx")).unwrap().sha256
    };
    assert_eq!(hash(false), hash(false));
    assert_ne!(hash(false), hash(true));
    #[cfg(unix)]
    {
        std::fs::rename(folder.join("external.bin"), folder.with_extension("bin")).unwrap();
        std::os::unix::fs::symlink(folder.with_extension("bin"), folder.join("external.bin")).unwrap();
        let error = Onnx::load(&folder.join("external.onnx")).unwrap_err();
        assert!(error.to_string().contains("may not leave the folder"), "{error}");
        std::fs::remove_file(folder.with_extension("bin")).unwrap();
    }
    std::fs::remove_dir_all(folder).unwrap();
}

/// Thousands of damaged files: an error or a network, never a panic.
#[test]
fn damaged_files_do_no_harm() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % n as u64).unwrap()
    };
    let (mut read, mut accepted) = (0, 0);
    for file in ["opset9", "shape_chain", "option_a", "nhwc", "external"] {
        let original = std::fs::read(format!("tests/onnx/{file}.onnx")).unwrap();
        // Weights make up most of a file: half of the damage goes to the first part, where the nodes stand.
        for round in 0..1500 {
            let mut bytes = original.clone();
            for _ in 0..=random(3) {
                let at = random(if round % 2 == 0 { bytes.len() } else { bytes.len().min(1200) });
                match random(12) {
                    0 => bytes.truncate(at.max(1)),
                    1 => bytes.insert(at, u8::try_from(random(256)).unwrap()),
                    2 if bytes.len() > 1 => drop(bytes.remove(at)),
                    3..=6 => bytes[at] = u8::try_from(random(256)).unwrap(),
                    _ => bytes[at] ^= 1 << random(8),
                }
            }
            let Ok(onnx) = Onnx::parse(&bytes, Path::new("tests/onnx"), "damaged") else { continue };
            read += 1;
            let Ok(graph) = import(onnx) else { continue };
            let Ok(network) = fold(&graph, &[1.0], &[0.0]) else { continue };
            accepted += 1;
            let input = FloatInput { name: graph.input.clone(), dims: graph.dims[&graph.input].clone(), bytes: graph.bytes };
            let work: usize = graph.dims.values().map(|d| d.iter().product::<usize>()).sum();
            if round % 10 == 0 && work < 100_000 {
                let values: Vec<String> = network.steps.iter().map(|s| s.value.clone()).collect();
                let _ = FloatNet::new(&bytes, Path::new("tests/onnx"), &input, &values).map(|f| f.run(&feed(&pixels(network.input.shape), &network.input)));
            }
        }
    }
    eprintln!("{read} of 7500 damaged files were read, {accepted} accepted");
    assert!(accepted > 100 && accepted < read);
}

#[test]
fn trained_networks_fold_to_the_same_scores() {
    let (mean, deviation) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    let imagenet = (deviation.map(|s| 1.0 / (255.0 * s)), [0, 1, 2].map(|c| -mean[c] / deviation[c]));
    let raw = ([1.0; 3], [0.0; 3]);
    let folder = Path::new("../shared/data/models");
    for (file, (scale, shift)) in [
        ("resnet8-cifar10.onnx", raw),
        ("resnet20-cifar10.onnx", imagenet),
        ("resnet20-cifar10-pytorch.onnx", imagenet),
        ("resnet56-cifar10.onnx", imagenet),
        ("own/resnet8.onnx", imagenet),
        ("own/resnet20.onnx", imagenet),
        ("own/plain20.onnx", imagenet),
        ("own/densenet22.onnx", imagenet),
        ("own/preact20.onnx", imagenet),
        ("own/res2net29.onnx", imagenet),
        ("own/resnext29.onnx", imagenet),
        ("own/seresnet20.onnx", imagenet),
        ("densenet40-cifar10.onnx", imagenet),
    ] {
        let path = folder.join(file);
        if !path.exists() {
            eprintln!("SKIPPED: {} is absent", path.display());
            continue;
        }
        let loaded = load(&path, &scale, &shift).unwrap();
        steps_agree(&loaded, &pixels(loaded.network.input.shape), file, 1e-4);
    }
}

/// The steps of small networks, each with the first letters of its operation; `+` stands behind one that adds a tensor, `r` behind one with a ReLU.
#[test]
fn patterns_become_these_steps() {
    let steps = |file: &str| -> String {
        let loaded = load(Path::new(&format!("tests/onnx/{file}.onnx")), &[1.0 / 255.0], &[0.0]).unwrap();
        let word = |s: &Step| {
            let (name, adds) = match &s.op {
                Op::Conv(c) if c.groups > 1 => ("Group", c.second != Second::None),
                Op::Conv(c) => ("Conv", c.second != Second::None),
                Op::MaxPool(_) => ("Max", false),
                Op::Mirror(_) => ("Mirror", false),
                Op::AveragePool { .. } => ("Mean", false),
                Op::Add(_) => ("Add", false),
                Op::Affine { .. } => ("Affine", false),
                Op::Gate { skip, .. } => ("Gate", skip.is_some()),
                Op::Function(_) => ("Function", false),
                Op::Concat(_) => ("Concat", false),
                Op::Slice(_) => ("Slice", false),
            };
            format!("{name}{}{}", if adds { "+" } else { "" }, if s.relu { "r" } else { "" })
        };
        loaded.network.steps.iter().map(word).collect::<Vec<_>>().join(" ")
    };
    for (file, want) in [
        ("groups", "Convr Groupr Groupr Group+r Group Group Group+r Mean Conv"),
        ("gate_gemm", "Convr Convr Conv Mean Convr Conv Function Gate+r Conv Mean Convr Conv Function Conv Gate+r Mean Convr Conv Function Gate Mean Conv"),
        ("gate_clip", "Convr Convr Conv Mean Convr Convr Affine Gate+r Conv Mean Convr Convr Affine Conv Gate+r Mean Convr Convr Affine Gate Mean Conv"),
        ("gate_along_channels", "Convr Conv Mean Conv Function Gate+r Mean Conv Function Gate Mean Conv"),
        ("functions", "Conv Function Conv Function Conv Function Conv Function Convr Conv Function Add Function Conv Function Function Mean Conv"),
        ("preactivation", "Conv Affiner Convr Conv+ Affiner Convr Conv+ Affiner Conv+ Affiner Mean Conv"),
        ("affines", "Convr Convr Max Affine Convr Groupr Mean Conv"),
        ("dense", "Convr Convr Concat Convr Concat Convr Concat Conv Affiner Conv Max Affiner Concatr Affiner Concat Group Conv"),
        ("split13", "Convr Convr Slice Convr Slice Add Convr Slice Add Groupr Slice Mean Concat Conv+r Mean Conv"),
        ("slices", "Conv Function Slice Mean Convr Conv Function Slice Conv Gate Function Concat Conv Mean Conv"),
        ("branches", "Convr Convr Convr Groupr Convr Mean Conv"),
        ("pools", "Convr Convr Convr Group Mean Conv Conv+r Conv Mean Max Affiner Mean Conv"),
        ("mirror", "Convr Mirror Group Max Conv Conv+ Mirror Convr Mirror Convr Mean Conv"),
        ("mirror_attributes", "Conv Function Mirror Convr Mean Conv"),
        ("signal", "Convr Max Group+r Mean Mean Conv"),
    ] {
        assert_eq!(steps(file), want, "{file}");
    }
}
