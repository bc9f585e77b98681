//! The float network against ONNX Runtime 1.32.
#![cfg(feature = "convert")]

use skipstone::convert::error::ConvertError;
use skipstone::convert::float::{FloatInput, FloatNet, feed};
use skipstone::convert::graph::Input;
use std::path::Path;

/// What ONNX Runtime says of a network for [`pixels`].
struct Case {
    path: &'static str,
    input: &'static str,
    /// The last ReLU's value, `[1][64][8][8]`.
    relu: &'static str,
    output: &'static str,
    scores: [f32; 10],
    /// Mean of the ReLU's value.
    mean: f64,
    /// Mean of the ReLU's value as `[h][w][c]`, entry `i` times `i % 101`.
    weighted: f64,
}

#[rustfmt::skip]
const CASES: [Case; 5] = [
    Case {
        path: "models/resnet8.onnx",
        input: "input",
        relu: "/blocks/blocks.2/Relu_1_output_0",
        output: "logits",
        scores: [-2.743197, -1.0655, 4.330215, 2.870208, 2.260787, -1.519741, 0.7274942, -1.321525, -1.355627, -2.306656],
        mean: 0.2294446,
        weighted: 11.4106,
    },
    Case {
        path: "../shared/data/models/resnet8-cifar10.onnx",
        input: "input",
        relu: "relu_25",
        output: "logits",
        scores: [1.343982, -3.477309, -1.745318, 0.9993322, 2.825093, -3.153219, -0.09501395, -1.215097, -1.47137, -4.121119],
        mean: 0.1912842,
        weighted: 9.421173,
    },
    Case {
        path: "../shared/data/models/resnet20-cifar10.onnx",
        input: "input",
        relu: "relu_69",
        output: "logits",
        scores: [-5.210538, -3.849952, 6.351755, 3.190433, 5.535818, -0.4051543, 4.837322, -4.691277, -3.765763, -1.989884],
        mean: 0.1877214,
        weighted: 9.38278,
    },
    Case {
        path: "../shared/data/models/resnet20-cifar10-pytorch.onnx",
        input: "input.1",
        relu: "198",
        output: "208",
        scores: [-3.079817, -2.044553, 4.482342, -0.5321142, 2.544418, -2.061359, 4.960701, -1.421623, -1.037915, -1.809796],
        mean: 0.2939574,
        weighted: 14.47799,
    },
    Case {
        path: "../shared/data/models/resnet56-cifar10.onnx",
        input: "input",
        relu: "relu_195",
        output: "logits",
        scores: [-4.437532, -2.418207, 3.779564, 1.169483, 0.9554802, -1.537627, 7.280578, -2.845064, -1.557306, -0.3793891],
        mean: 0.2472602,
        weighted: 12.56948,
    },
];

fn pixels() -> Vec<f32> {
    (0u16..3 * 32 * 32).map(|i| (f32::from(i * 7 % 13) - 6.0) / 4.0).collect()
}

fn input(name: &str) -> FloatInput {
    FloatInput { name: name.into(), dims: vec![1, 3, 32, 32], bytes: false }
}

fn net(case: &Case, values: &[&str]) -> Option<Result<FloatNet, ConvertError>> {
    let path = Path::new(case.path);
    let Ok(bytes) = std::fs::read(path) else {
        eprintln!("SKIPPED: {} is absent", case.path);
        return None;
    };
    let values: Vec<String> = values.iter().map(|&v| v.to_owned()).collect();
    Some(FloatNet::new(&bytes, path.parent().unwrap(), &input(case.input), &values))
}

#[test]
fn scores_and_inner_values_are_those_of_onnx_runtime() {
    for case in &CASES {
        let Some(net) = net(case, &[case.relu, case.output]) else { continue };
        let values = net.unwrap().run(&pixels()).unwrap();
        let [relu, scores] = values.as_slice() else { panic!("{} values", values.len()) };
        assert_eq!((relu.len(), scores.len()), (8 * 8 * 64, 10), "{}", case.path);
        for (got, want) in scores.iter().zip(case.scores) {
            assert!((got - want).abs() < 1e-4, "{}: {scores:?}, not {:?}", case.path, case.scores);
        }
        let mean = |weight: fn(u16) -> u16| relu.iter().zip(0u16..).map(|(&v, i)| f64::from(v) * f64::from(weight(i))).sum::<f64>() / 4096.0;
        assert!((mean(|_| 1) - case.mean).abs() < 1e-6, "{}: mean {}", case.path, mean(|_| 1));
        assert!((mean(|i| i % 101) - case.weighted).abs() < 1e-4, "{}: weighted mean {}", case.path, mean(|i| i % 101));
    }
}

#[test]
fn a_value_may_be_asked_for_twice_or_alone() {
    let case = &CASES[0];
    let twice = net(case, &[case.output, case.relu, case.output]).unwrap().unwrap().run(&pixels()).unwrap();
    assert_eq!(twice[0], twice[2]);
    let alone = net(case, &[case.relu]).unwrap().unwrap().run(&pixels()).unwrap();
    assert_eq!(alone, twice[1..2]);
}

#[test]
fn threads_share_a_network() {
    let net = net(&CASES[0], &[CASES[0].output]).unwrap().unwrap();
    let alone = net.run(&pixels()).unwrap();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| net.run(&pixels()).unwrap())).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), alone);
        }
    });
}

#[test]
fn what_does_not_fit_is_an_error() {
    let says = |result: Result<FloatNet, ConvertError>, text: &str| match result {
        Err(ConvertError::Float { what }) => assert!(what.contains(text) && !what.contains('\n'), "{what}"),
        other => panic!("{other:?}"),
    };
    let case = &CASES[0];
    says(net(case, &["nowhere"]).unwrap(), "no node computes value `nowhere`");
    let bytes = std::fs::read(case.path).unwrap();
    let values = [case.output.to_owned()];
    says(FloatNet::new(&bytes, Path::new("models"), &input("other"), &values), "it has no input `other`");
    says(FloatNet::new(&bytes[..bytes.len() / 2], Path::new("models"), &input(case.input), &values), "");
    says(FloatNet::new(&bytes, Path::new("models"), &FloatInput { dims: vec![1, 4, 32, 32], ..input(case.input) }, &values), "");
    let run = net(case, &[case.output]).unwrap().unwrap().run(&[0.0; 5]);
    assert!(matches!(run, Err(ConvertError::Float { .. })), "{run:?}");
}

#[test]
fn bytes_are_normalised_into_the_layout_of_the_network() {
    let picture = [0, 10, 20, 30, 40, 255];
    let mut input = Input { shape: [1, 2, 3], nhwc: false, bytes: false, scale: vec![1.0, 0.5, 0.1], shift: vec![0.0, -1.0, 0.25], tensor: None };
    assert_eq!(feed(&picture, &input), [0.0, 30.0, 4.0, 19.0, 2.25, 25.75]);
    input.nhwc = true;
    assert_eq!(feed(&picture, &input), [0.0, 4.0, 2.25, 30.0, 19.0, 25.75]);
    input.bytes = true;
    assert_eq!(feed(&picture, &input), [0.0, 10.0, 20.0, 30.0, 40.0, 255.0]);
}

/// A protobuf field of bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut len = bytes.len();
    while len >= 128 {
        out.push(u8::try_from(len % 128 + 128).unwrap());
        len /= 128;
    }
    out.push(u8::try_from(len).unwrap());
    out.extend(bytes);
    out
}

fn node(op: &str, inputs: &[String], output: &str) -> Vec<u8> {
    let inputs = inputs.iter().flat_map(|i| field(1, i.as_bytes()));
    field(1, &inputs.chain(field(2, output.as_bytes())).chain(field(4, op.as_bytes())).collect::<Vec<u8>>())
}

/// `x[i + 1] = x[i] + relu(x[i] · k)`, k being +1/64 and -1/64 in turn, as ONNX: values `x0` to `x{blocks}`.
fn stream(blocks: usize, backwards: bool) -> Vec<u8> {
    let tensor = |name: &str, value: f32| field(5, &[vec![16, 1], field(9, &value.to_le_bytes()), field(8, name.as_bytes())].concat());
    let float = field(2, &field(1, &[8, 1]));
    let mut graph = [tensor("k0", 1.0 / 64.0), tensor("k1", -1.0 / 64.0), field(11, &[field(1, b"x0"), float].concat())].concat();
    let mut nodes = Vec::new();
    for i in 0..blocks {
        let [x, scaled, made, next] = [format!("x{i}"), format!("m{i}"), format!("r{i}"), format!("x{}", i + 1)];
        nodes.push(node("Mul", &[x.clone(), format!("k{}", i % 2)], &scaled));
        nodes.push(node("Relu", &[scaled], &made));
        nodes.push(node("Add", &[x, made], &next));
    }
    if backwards {
        nodes.reverse();
    }
    graph.extend(nodes.concat());
    [vec![8, 8], field(8, &[16, 13]), field(7, &graph)].concat()
}

#[test]
fn a_long_network_runs_in_parts() {
    let names = ["x7", "x100", "r101", "x250", "x500"].map(String::from);
    let input = FloatInput { name: "x0".into(), dims: vec![1, 2, 2, 1], bytes: false };
    let made = FloatNet::new(&stream(500, false), Path::new("."), &input, &names).unwrap().run(&[-1.0, 0.5, 2.0, 0.0]).unwrap();
    let mut x = [-1.0f32, 2.0, 0.5, 0.0];
    let mut wanted = std::collections::HashMap::new();
    for i in 0..500u16 {
        let k = if i % 2 == 0 { 1.0 / 64.0 } else { -1.0 / 64.0 };
        let relu = x.map(|v| (v * k).max(0.0));
        x = core::array::from_fn(|j| x[j] + relu[j]);
        wanted.insert(format!("r{i}"), relu);
        wanted.insert(format!("x{}", i + 1), x);
    }
    for (name, values) in names.iter().zip(made) {
        let wanted = wanted[name];
        assert!(values.iter().zip(wanted).all(|(a, b)| (a - b).abs() <= 1e-4 * b.abs()), "{name}: {values:?}, not {wanted:?}");
    }
}

#[test]
fn nodes_in_another_order_than_they_run_in() {
    let input = FloatInput { name: "x0".into(), dims: vec![1, 2, 2, 1], bytes: false };
    let run = |backwards| FloatNet::new(&stream(150, backwards), Path::new("."), &input, &["x150".into()]).unwrap().run(&[-1.0, 0.5, 2.0, 0.0]).unwrap();
    assert_eq!(run(true), run(false));
}
