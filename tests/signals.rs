//! Networks that read no pictures, the whole way: from ONNX and `.npy` to scores, in the library and on the command line.
#![cfg(all(feature = "convert", feature = "cli"))]

#[path = "support/float.rs"]
mod float;
#[path = "support/program.rs"]
mod program;

use float::{Builder, Noise, Random, run};
use program::Folder;
use serde_json::Value;
use skipstone::convert::calibrate::calibrate;
use skipstone::convert::emit::{About, emit};
use skipstone::convert::graph::{Conv, Input, Op, Second, Tensor};
use skipstone::convert::input::{Values, stored_scale};
use skipstone::convert::pipeline::{Options, Source, convert};
use skipstone::convert::quantize::{self, quantize, walked};
use skipstone::convert::range::Method;
use skipstone::convert::{ConvertError, Pictures, plan};
use skipstone::format::view::{Preprocess, Resize, TensorInput};
use skipstone::quant::DataType;
use skipstone::shape::Window;
use skipstone::tensor::{fill, nearest};
use skipstone::{Kernels, Model, PlanKind, Session};
use std::path::Path;

/// Signal over error of the scores that every file must reach, in dB.
const LEAST_DB: f64 = 14.0;

const fn preprocess(scale: f32) -> Preprocess {
    Preprocess { resize: Resize::Never, crop: None, bgr: false, scale: 1.0, mean: [0.0; 4], deviation: [1.0; 4], tensor: Some(scale) }
}

fn scores(file: &[u8], kernels: Kernels, values: &[f32]) -> (Vec<u8>, Vec<f64>) {
    let model = Model::parse(file).unwrap();
    let mut arena = vec![0; model.plan(PlanKind::Fast).unwrap().arena_bytes(1)];
    let mut session = Session::new(&model, kernels, PlanKind::Fast, &mut arena).unwrap();
    fill(session.input(), values, &model.tensor().unwrap()).unwrap();
    let scores = session.run();
    (scores.bytes().to_vec(), scores.iter().map(|s| f64::from(s) * f64::from(scores.scale())).collect())
}

/// Smooth random signals in the layout of the ONNX.
struct Signals(Vec<Vec<f32>>);

impl Signals {
    fn new(elements: usize, n: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut last = 0.0;
        #[expect(clippy::cast_possible_truncation, reason = "values of a test")]
        let mut value = |_| {
            last = 0.7 * last + random.signed();
            (3.0 * last) as f32
        };
        Self((0..n).map(|_| (0..elements).map(&mut value).collect()).collect())
    }
}

impl Pictures for Signals {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn load(&self, i: usize, input: &Input) -> Result<Vec<u8>, ConvertError> {
        let mut bytes = vec![0; self.0[i].len()];
        fill(&mut bytes, &self.0[i], &input.tensor.unwrap()).unwrap();
        Ok(bytes)
    }

    fn floats(&self, i: usize) -> Result<Option<Vec<f32>>, ConvertError> {
        Ok(Some(self.0[i].clone()))
    }
}

#[test]
fn layouts_of_the_onnx_input() {
    let files: [(&str, &[u32], [u32; 3]); 6] = [
        ("signal", &[3, 20], [1, 20, 3]),
        ("signal_transposed", &[20, 3], [1, 20, 3]),
        ("signal_features", &[10, 8], [10, 8, 1]),
        ("nhwc", &[8, 8, 3], [8, 8, 3]),
        ("dense", &[3, 8, 8], [8, 8, 3]),
        ("input_normalization", &[3, 8, 8], [8, 8, 3]),
    ];
    for (name, sizes, shape) in files {
        let path = Path::new("tests/onnx").join(name).with_extension("onnx");
        let elements = sizes.iter().map(|&n| n as usize).product();
        let (seen, unseen) = (Signals::new(elements, 60, 3), Signals::new(elements, 16, 4));
        let mut range = Values::default();
        seen.0.iter().for_each(|values| range.add(values));
        let preprocess = preprocess(range.scale(Method::default()));
        let options = Options { preprocess, quantize: quantize::Options::default(), labels: Vec::new() };
        let file = convert(&path, &options, &seen, None, &|_, _, _| {}).unwrap_or_else(|e| panic!("{name}: {e}")).file;
        let layout = Model::parse(&file).unwrap().tensor().unwrap();
        assert_eq!((layout.dimensions(), layout.shape), (sizes, shape), "{name}");
        let source = Source::open(&path, &preprocess).unwrap();
        let net = source.float(&[source.network.steps.last().unwrap().value.clone()]).unwrap();
        let (mut signal, mut noise) = (0.0, 0.0);
        for values in &unseen.0 {
            let real = net.run(values).unwrap().pop().unwrap();
            let (bits, found) = scores(&file, Kernels::scalar(), values);
            for kernels in Kernels::all() {
                assert!(scores(&file, kernels, values).0 == bits, "{name}: {} differs", kernels.set());
            }
            for (real, found) in real.iter().map(|&v| f64::from(v)).zip(found) {
                signal += real * real;
                noise += (real - found).powi(2);
            }
        }
        let db = 10.0 * (signal / noise).log10();
        eprintln!("{db:6.1} dB  {name}");
        assert!(db >= LEAST_DB, "{name}: {db} dB");
    }
    // A file that is quantized already keeps the scale of its input: no step rounds it once more.
    let symmetric = Path::new("tests/onnx/quantized/qdq_symmetric.onnx");
    let stored = stored_scale(symmetric).unwrap().unwrap();
    let network = Source::open(symmetric, &preprocess(stored)).unwrap().network;
    assert!(network.input.scale.iter().all(|&s| s == f64::from(stored)) && network.input.shift.iter().all(|&s| s == 0.0));
    let other = Source::open(symmetric, &preprocess(2.0 * stored)).unwrap().network;
    assert_eq!(other.steps.len(), network.steps.len() + 1);
    assert_eq!(stored_scale(Path::new("tests/onnx/quantized/qdq_tensor_u8.onnx")).unwrap(), None);
    let bytes = Source::open(Path::new("tests/onnx/u8_input.onnx"), &preprocess(1.0));
    assert!(matches!(bytes, Err(ConvertError::Preprocess { .. })));
}

/// The file that the documentation's examples and the devices' tests read. To make it again after a change of the format: `BLESS=1 cargo test --release --test signals`.
#[test]
fn the_committed_file_is_this_one() {
    let mut b = Builder::new(9, 1, 40);
    let layout = TensorInput { scale: 0.0625, shape: [1, 40, 3], sizes: [3, 40, 0], channels_last: false };
    b.network.input = Input { scale: vec![0.0625; 3], shift: vec![0.0; 3], tensor: Some(layout), ..b.network.input.clone() };
    b.network.tensors[0] = Tensor::new(layout.shape, false);
    let seven = |stride| Window { kernel: [1, 7], stride: [1, stride], dilation: [1, 1], pads: [0, 3, 0, 3] };
    let x = b.conv(0, seven(2), 8, true, Second::None);
    let y = b.conv(x, seven(1), 8, true, Second::None);
    let y = b.conv(y, seven(1), 8, true, Second::Skip { tensor: x, stride: [1, 1], front: 0 });
    let network = b.finish(y, 5);
    let pictures = Noise::new(&network, 24, 2);
    let walked = walked(&network, 24);
    let statistics = calibrate(&network, &run(&network), &pictures, &walked, 1, &|_| {}).unwrap();
    let quantized = quantize(&network, &statistics, pictures.0.clone(), quantize::Options::default(), &|_| {}).unwrap();
    assert_eq!(quantized.tensors[0].kind, DataType::S8);
    let about = About {
        name: "signal".into(),
        parameters: network.steps.iter().map(|s| if let Op::Conv(Conv { weights, bias, .. }) = &s.op { weights.len() + bias.len() } else { 0 } as u64).sum(),
        preprocess: preprocess(layout.scale),
        tensor: network.input.tensor,
        labels: Vec::new(),
        sha256: [0; 32],
        pictures: 24,
        method: quantize::Options::default().to_string(),
        skipped: Vec::new(),
        check_picture: Vec::new(),
    };
    let file = emit(&quantized, &[plan::fast(&quantized)], &about).unwrap();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/files/signal.stone");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &file).expect("it can be written");
    }
    assert!(std::fs::read(path).expect("it is committed") == file, "tests/files/signal.stone is out of date");
}

fn model(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name).display().to_string()
}

/// An `.npy` of the given type and shape.
fn npy(kind: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{:<117}\n", format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"));
    [b"\x93NUMPY\x01\0v\0", header.as_bytes(), data].concat()
}

#[test]
fn speech_from_the_command_line() {
    let folder = Folder::new("speakers");
    let [onnx, calibration, test, truth] = ["speakers-res8.onnx", "speakers-calibration.npy", "speakers-test.npy", "speakers-test-classes.npy"].map(model);
    let json = |args: &str| -> Value { folder.run(&format!("{args} --json")).json(0, args.split(' ').next().unwrap()) };
    let made = json(&format!("convert {onnx} -o net.stone --calib {calibration} --preprocess tensor --eval {test} --truth {truth} --max-drop 1"));
    assert!(made["float_top1"].as_f64().unwrap() > 98.0 && made["top1"].as_f64().unwrap() > 97.0 && made["sqnr_db"].as_f64().unwrap() > 25.0, "{made}");
    let inspected = json("inspect net.stone");
    let input = &inspected["input"];
    assert_eq!((&input["type"], &input["shape"], &input["dimensions"]), (&"s8".into(), &serde_json::json!([29, 12, 1]), &serde_json::json!([1, 29, 12])));
    assert!(inspected["preprocess"].is_null());
    // f32 and the integers that it becomes give the same scores, on every kernel set.
    let text = folder.run("inspect net.stone").expect(0).out;
    assert!(text.contains("[1, 29, 12]"), "{text}");
    #[expect(clippy::cast_possible_truncation, reason = "the scale is f32")]
    let scale = input["scale"].as_f64().unwrap() as f32;
    let floats = std::fs::read(&test).unwrap();
    let data = &floats[128..];
    let integers: Vec<u8> = data.as_chunks().0.iter().map(|b| nearest(f32::from_le_bytes(*b), scale).unwrap().cast_unsigned()).collect();
    folder.write("i8.npy", &npy("|i1", "(370, 1, 29, 12)", &integers));
    let classes = std::fs::read(&truth).unwrap();
    let lines: String = classes[128..].as_chunks().0.iter().enumerate().map(|(i, c)| format!("{i},{}\n", i32::from_le_bytes(*c))).collect();
    folder.write("truth.csv", lines.as_bytes());
    let first = json(&format!("eval net.stone --data {test} --truth {truth} --against {onnx} --isa scalar"));
    assert_eq!((first["pictures"].as_u64(), &first["top1"]), (Some(370), &made["top1"]));
    for kernels in Kernels::all() {
        let again = json(&format!("eval net.stone --data i8.npy --truth truth.csv --isa {}", kernels.set()));
        for field in ["pictures", "top1", "top5", "input_crc32", "scores_crc32"] {
            assert_eq!(again[field], first[field], "{field} on {}", kernels.set());
        }
    }
    folder.write("three.npy", &npy("<f4", "(3, 1, 29, 12)", &data[..3 * 348 * 4]));
    let labelled = json("run net.stone three.npy --top 2");
    let pictures = labelled["pictures"].as_array().unwrap();
    assert_eq!((pictures.len(), &pictures[2]["path"]), (3, &"three.npy[2]".into()));
    let compared = json(&format!("compare {onnx} net.stone --data three.npy"));
    assert!(compared["layers"].as_array().unwrap().len() > 15 && compared["output_sqnr_db"].as_f64().unwrap() > 25.0, "{compared}");
    assert_eq!(json("verify net.stone --isa all")["ok"], true);
    assert_eq!(json("bench net.stone --runs 5")["fill_from"], "f32 [1, 29, 12]");
    assert!(json("profile net.stone")["steps"].as_array().unwrap().len() > 15);
    assert!(json(&format!("report {onnx} net.stone --data three.npy -o page.html"))["bytes"].as_u64().unwrap() > 10_000);
    what_does_not_fit(&folder, &onnx, data);
}

fn what_does_not_fit(folder: &Folder, onnx: &str, data: &[u8]) {
    let one = &data[..348 * 4];
    let nan = [&one[..8], &f32::NAN.to_le_bytes(), &one[12..]].concat();
    let infinite = [&one[..8], &f32::INFINITY.to_le_bytes(), &one[12..]].concat();
    folder.write("one.npy", &npy("<f4", "(1, 1, 29, 12)", one));
    folder.write("flat.npy", &npy("<f4", "(1, 29, 12)", one));
    folder.write("double.npy", &npy("<f8", "(1, 1, 29, 6)", one));
    folder.write("short.npy", &npy("<f4", "(1, 1, 29, 12)", &one[1..]));
    folder.write("nan.npy", &npy("<f4", "(1, 1, 29, 12)", &nan));
    folder.write("infinite.npy", &npy("<f4", "(1, 1, 29, 12)", &infinite));
    folder.write("some.npy", &npy("<f4", "(2, 1, 29, 12)", &[&nan, one].concat()));
    folder.write(
        "fortran.npy",
        &[b"\x93NUMPY\x01\0v\0".as_slice(), format!("{:<117}\n", "{'descr': '<f4', 'fortran_order': True, 'shape': (1, 1, 29, 12), }").as_bytes(), one]
            .concat(),
    );
    folder.write("three.npy", &npy("<f4", "(3, 1, 29, 12)", &[one, &infinite, one].concat()));
    folder.write("zeros.npy", &npy("<f4", "(1, 1, 29, 12)", &vec![0; one.len()]));
    folder.write("huge.npy", &npy("<f4", "(1, 1, 29, 12)", &1e12f32.to_le_bytes().repeat(348)));
    folder.write("wrong.csv", b"1,3\n");
    folder.png("a.png", 12, 29, 0);
    let resnet = model("resnet8.onnx");
    let table: &[(i32, &str, &[&str])] = &[
        (3, "run net.stone flat.npy", &["flat.npy[0]", "[29, 12]", "[1, 29, 12]"]),
        (3, "run net.stone fortran.npy", &["fortran.npy", "Fortran"]),
        (3, "run net.stone double.npy", &["<f8", "f32 or i8"]),
        (3, "eval net.stone --data short.npy", &["short.npy", "bytes"]),
        (3, "run net.stone nan.npy", &["nan.npy[0]", "value 2 is not a number"]),
        (3, &format!("eval net.stone --data three.npy --against {onnx}"), &["not finite", "input 2"]),
        (3, &format!("convert {onnx} -o x.stone --calib zeros.npy --preprocess tensor"), &["0e0", "--calib"]),
        (3, &format!("convert {onnx} -o x.stone --calib huge.npy --preprocess tensor"), &["1e12", "--calib"]),
        (3, &format!("convert {onnx} -o one.npy --calib one.npy --preprocess tensor"), &["one.npy", "inputs"]),
        (2, &format!("calibrate {onnx} -o x.stone --calib one.npy --preprocess tensor"), &["pictures only", "--preprocess tensor"]),
        (3, "run net.stone a.png", &["a.png", "picture"]),
        (3, "eval net.stone --data a.png", &["a.png", "a picture where the network reads [1, 29, 12]"]),
        (3, "eval net.stone --data one.npy --truth wrong.csv", &["one.npy[0]", "wrong.csv"]),
        (2, "run net.stone one.npy --crop 5", &["--crop"]),
        (2, &format!("convert {onnx} -o x.stone --calib one.npy"), &["--preprocess"]),
        (2, &format!("convert {onnx} -o x.stone --calib one.npy --preprocess tensor --bgr"), &["--bgr"]),
        (2, &format!("convert {onnx} -o x.stone --calib one.npy --preprocess tensor --scale 2"), &["--scale"]),
        (3, &format!("convert {onnx} -o x.stone --calib one.npy --preprocess unit"), &["one.npy[0]", "a tensor"]),
        (3, &format!("convert {onnx} -o x.stone --calib a.png --preprocess tensor"), &["a.png", "--preprocess tensor"]),
        (3, &format!("convert {onnx} -o x.stone --calib i8.npy --preprocess tensor"), &["i8.npy[0]", "integers"]),
        (3, &format!("convert {onnx} -o x.stone --calib nan.npy --preprocess tensor"), &["nan.npy[0]", "not a number"]),
        (3, &format!("convert {onnx} -o x.stone --calib infinite.npy --preprocess tensor"), &["infinite.npy[0]", "infinite"]),
        (3, &format!("convert {onnx} -o x.stone --calib flat.npy --preprocess tensor"), &["flat.npy[0]", "[1, 29, 12]"]),
        (3, &format!("convert {resnet} -o x.stone --calib one.npy --preprocess tensor"), &["one.npy[0]", "[3, 32, 32]"]),
    ];
    for (code, args, words) in table {
        folder.run(args).error(*code, words);
    }
    assert!(!folder.path("x.stone").exists());
    let skipped = folder.run("eval net.stone --data some.npy --skip-bad --json").json(0, "eval");
    assert_eq!(skipped["pictures"], 1);
    for data in ["some.npy", "three.npy"] {
        let ran = folder.run(&format!("convert {onnx} -o y.stone --calib {data} --skip-bad --preprocess tensor")).expect(0);
        assert!(
            ran.err.contains(&format!("warning: skipped {data}[{}]: a value is infinite or not a number", usize::from(data == "three.npy"))),
            "{}",
            ran.err
        );
    }
    let ran = folder.run("run net.stone some.npy --json").expect(3);
    assert!(ran.err.contains("some.npy[0]: value 2 is not a number"), "{}", ran.err);
    let labelled: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&labelled["pictures"][0]["path"], &labelled["bad"][0]["path"]), (&"some.npy[1]".into(), &"some.npy[0]".into()));
}
