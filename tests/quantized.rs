//! Files that are quantized already, against ONNX Runtime's scores (`tests/onnx/quantized.py` makes them): the device computes with their integers.
#![cfg(feature = "convert")]

use skipstone::convert::pipeline::{Converted, Source};
use skipstone::convert::{ConvertError, Options, Pictures, convert, quantize};
use skipstone::format::proof;
use skipstone::format::view::{Preprocess, Resize};
use skipstone::{Kernels, Model, PlanKind, Session};
use std::path::{Path, PathBuf};

/// Pictures of bytes `[h][w][c]`, the same as those of the script.
struct Shown;

fn picture(k: usize, shape: [u32; 3]) -> Vec<u8> {
    let count = shape.iter().map(|&n| n as usize).product();
    (0..count).map(|i: usize| u8::try_from((i * 73 + i * i / 7 * 5 + 31 * k + i / 11 * k) % 256).unwrap()).collect()
}

impl Pictures for Shown {
    fn len(&self) -> usize {
        24
    }

    fn load(&self, i: usize, input: &skipstone::convert::graph::Input) -> Result<Vec<u8>, ConvertError> {
        Ok(picture(i, input.shape))
    }
}

/// A file and what is known of it.
struct Case {
    path: PathBuf,
    preprocess: Preprocess,
    /// ONNX Runtime's scores of the first pictures.
    scores: Vec<Vec<f64>>,
}

impl Case {
    fn new(name: &str) -> Self {
        let path = Path::new("tests/onnx/quantized").join(name).with_extension("onnx");
        let text = std::fs::read_to_string(path.with_extension("txt")).unwrap();
        let mut rows: Vec<Vec<f64>> = text.lines().map(|line| line.split(' ').map(|v| v.parse().unwrap()).collect()).collect();
        let scores = rows.split_off(2);
        // `byte · scale + shift` is `(byte / 255 - mean) / deviation`, or the byte itself.
        let raw = rows[0][0] == 1.0;
        let mut preprocess = Preprocess {
            resize: Resize::Never,
            crop: None,
            bgr: false,
            scale: if raw { 1.0 } else { 255.0 },
            mean: [0.0; 4],
            deviation: [1.0; 4],
            tensor: None,
        };
        if !raw {
            preprocess.mean = [0.485, 0.456, 0.406, 0.0];
            preprocess.deviation = [0.229, 0.224, 0.225, 1.0];
        }
        Self { path, preprocess, scores }
    }

    fn converted(&self) -> Converted {
        let options = Options { preprocess: self.preprocess, quantize: quantize::Options::default(), labels: Vec::new() };
        convert(&self.path, &options, &Shown, None, &|_, _, _| ()).unwrap()
    }
}

/// The integer scores of the first pictures as real values.
fn scores(file: &[u8], pictures: usize) -> Vec<Vec<f64>> {
    let model = Model::parse(file).unwrap();
    let mut arena = vec![0; model.plan(PlanKind::Fast).unwrap().arena_bytes(1)];
    let mut session = Session::new(&model, Kernels::detect(), PlanKind::Fast, &mut arena).unwrap();
    let shape = model.input_shape();
    let run = |k: usize| {
        session.input().copy_from_slice(&picture(k, shape));
        let scores = session.run();
        let scale = f64::from(scores.scale());
        scores.iter().map(|s| f64::from(s) * scale).collect()
    };
    (0..pictures).map(run).collect()
}

/// The least difference between two scores of ONNX Runtime: one step of its bytes.
fn step(scores: &[Vec<f64>]) -> f64 {
    let mut all: Vec<f64> = scores.iter().flatten().copied().collect();
    all.sort_by(f64::total_cmp);
    let gaps = all.windows(2).map(|w| w[1] - w[0]).filter(|gap| *gap > 1e-6);
    gaps.fold(f64::INFINITY, f64::min)
}

/// Largest and mean difference in steps.
fn differences(got: &[Vec<f64>], want: &[Vec<f64>]) -> (f64, f64) {
    let step = step(want);
    let all: Vec<f64> = got.iter().flatten().zip(want.iter().flatten()).map(|(a, b)| (a - b).abs() / step).collect();
    (all.iter().fold(0.0, |m: f64, v| m.max(*v)), all.iter().sum::<f64>() / f64::from(u32::try_from(all.len()).unwrap()))
}

/// Compares the device's scores and those of the reference with ONNX Runtime's; gives the notes of the conversion.
fn agrees(name: &str, largest: f64, mean: f64) -> Vec<String> {
    let case = Case::new(name);
    let converted = case.converted();
    let source = Source::open(&case.path, &case.preprocess).unwrap();
    let reference = source.float(&[source.values().pop().unwrap()]).unwrap();
    let shape = source.network.input.shape;
    let float: Vec<Vec<f64>> =
        (0..case.scores.len()).map(|k| reference.run(&source.feed(&picture(k, shape))).unwrap().remove(0).iter().map(|&v| f64::from(v)).collect()).collect();
    let (most, usual) = differences(&float, &case.scores);
    assert!(most < 1.01 && usual < 0.25, "{name}: the reference differs by {most:.2} steps, in the mean by {usual:.3}");
    let (most, usual) = differences(&scores(&converted.file, case.scores.len()), &case.scores);
    eprintln!("{name}: at most {most:.2} steps, in the mean {usual:.3}; {:?}", converted.quantized.notes);
    assert!(most < largest + 0.05 && usual <= mean, "{name}: scores differ by {most:.2} steps, in the mean by {usual:.3}");
    let model = Model::parse(&converted.file).unwrap();
    model.plan(PlanKind::Fast).unwrap().steps().for_each(|step| assert!(proof::check(&step).is_ok(), "{name}: {}", step.name()));
    converted.quantized.notes
}

fn no_weight_is_rounded(notes: &[String]) {
    assert!(notes.iter().any(|n| n.contains("were kept")), "{notes:?}");
    assert!(!notes.iter().any(|n| n.contains("rounded again") || n.contains("-128")), "{notes:?}");
}

#[test]
fn the_integers_of_quantize_and_dequantize_nodes_are_kept() {
    for name in ["qdq_tensor_u8", "qdq_channel_s8", "qdq_option_a", "qdq_symmetric", "qdq_mirror"] {
        no_weight_is_rounded(&agrees(name, 1.0, 0.4));
    }
}

#[test]
fn the_integers_of_operators_on_integers_are_kept() {
    for name in ["qoperator_tensor_u8", "qoperator_channel_s8", "qoperator_option_a"] {
        no_weight_is_rounded(&agrees(name, 1.0, 0.4));
    }
}

#[test]
fn pools_and_concatenations_of_values_with_a_sign() {
    // The mean of four bytes often lies half way between two others, where ONNX rounds to even and the device up.
    for name in ["qdq_linear", "qoperator_linear"] {
        no_weight_is_rounded(&agrees(name, 2.0, 0.6));
    }
}

#[test]
fn gates_of_squeeze_and_excitation() {
    for name in ["qdq_gated", "qoperator_gated"] {
        no_weight_is_rounded(&agrees(name, 1.0, 0.4));
    }
}

#[test]
fn what_cannot_be_kept_is_said() {
    let notes = agrees("by_hand", 3.0, 1.0);
    assert!(notes.iter().any(|n| n.contains("-128 and became -127")), "{notes:?}");
    assert!(notes.iter().any(|n| n.contains("rounded again")), "{notes:?}");
}

#[test]
fn both_forms_of_a_network_give_the_same_scores() {
    for kind in ["tensor_u8", "channel_s8"] {
        let [a, b] = ["qdq", "qoperator"].map(|form| Case::new(&format!("{form}_{kind}")).converted());
        assert_eq!(scores(&a.file, 4), scores(&b.file, 4), "{kind}");
    }
}
