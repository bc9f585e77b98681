//! Folding of graphs made by hand, against values computed by hand.
#![cfg(feature = "convert")]

use skipstone::convert::ConvertError;
use skipstone::convert::fold::fold;
use skipstone::convert::graph::{Function, Network, Op as Step, Second};
use skipstone::convert::import::{Arithmetic, Graph, Op, Operation};
use skipstone::convert::onnx::{Data, Node, Tensor};
use skipstone::shape::Window;
use std::collections::{BTreeMap, HashMap};

#[path = "support/float.rs"]
mod float;

const DENSE: Window = Window { kernel: [3, 3], stride: [1, 1], dilation: [1, 1], pads: [1; 4] };

/// A graph that grows node by node; a node and the value that it makes have one name.
struct Build(Graph);

impl Build {
    fn new(dims: &[usize]) -> Self {
        let dims = HashMap::from([("x".to_owned(), dims.to_vec())]);
        let (name, input) = ("hand".into(), "x".into());
        Self(Graph {
            end: None,
            name,
            sha256: [0; 32],
            opset: 17,
            input,
            bytes: false,
            operations: Vec::new(),
            constants: HashMap::new(),
            dims,
            output: String::new(),
            left_out: Vec::new(),
            grids: HashMap::new(),
        })
    }

    fn constant(mut self, name: &str, dims: &[usize], data: &[f32]) -> Self {
        self.0.constants.insert(name.into(), Tensor { dims: dims.to_vec(), data: Data::Floats(data.to_vec()) });
        self
    }

    fn node(mut self, name: &str, op: Op, reads: &[&str], dims: &[usize]) -> Self {
        let reads: Vec<String> = reads.iter().map(|&s| s.to_owned()).collect();
        let kind = format!("{op:?}").split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned();
        let node = Node { name: format!("node-{name}"), op: kind, inputs: reads.clone(), outputs: vec![name.into()], attributes: BTreeMap::new() };
        self.0.operations.push(Operation { node, op, reads, output: name.into() });
        self.0.dims.insert(name.into(), dims.to_vec());
        self.0.output = name.into();
        self
    }

    fn conv(self, name: &str, read: &str, window: Window, weights: &str, bias: Option<&str>, dims: &[usize]) -> Self {
        self.node(name, Op::Conv { window, groups: 1, weights: weights.into(), bias: bias.map(Into::into) }, &[read], dims)
    }

    fn fold(&self) -> Result<Network, ConvertError> {
        fold(&self.0, &[1.0], &[0.0])
    }
}

fn affine(kind: Arithmetic, constant: &str) -> Op {
    Op::Affine { kind, constant: constant.into(), left: false }
}

fn near(got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{got:?}");
    for (a, b) in got.iter().zip(want) {
        assert!((a - b).abs() < 1e-6, "{got:?} instead of {want:?}");
    }
}

fn scores(network: &Network, picture: &[u8]) -> Vec<f64> {
    float::tensors(network, picture).pop().unwrap()
}

/// The node that an error names.
fn refused(build: &Build) -> String {
    match build.fold() {
        Err(ConvertError::Unsupported { node, .. }) => node,
        other => panic!("{other:?}"),
    }
}

#[test]
fn batch_norm_and_constants_go_into_the_convolution() {
    let build = Build::new(&[1, 2, 1, 1])
        .constant("w", &[2, 2, 1, 1], &[1.0, 2.0, 3.0, 4.0])
        .constant("b", &[2], &[0.5, -0.5])
        .constant("g", &[2], &[2.0, 4.0])
        .constant("beta", &[2], &[1.0, -1.0])
        .constant("m", &[2], &[3.0, 5.0])
        .constant("v", &[2], &[3.0, 15.0])
        .constant("k", &[2, 1, 1], &[10.0, 100.0])
        .conv("c", "x", Window::point([1, 1]), "w", Some("b"), &[1, 2, 1, 1])
        .node("n", Op::BatchNorm { parameters: ["g", "beta", "m", "v"].map(Into::into), epsilon: 1.0 }, &["c"], &[1, 2, 1, 1])
        .node("y", affine(Arithmetic::Sub, "k"), &["n"], &[1, 2, 1, 1]);
    let network = build.fold().unwrap();
    assert_eq!(network.steps.len(), 1);
    assert_eq!((network.steps[0].name.as_str(), network.steps[0].value.as_str()), ("node-c", "y"));
    // c = (7 + 2·5 + 0.5, 21 + 4·5 - 0.5); the factors are 2/sqrt(4) and 4/sqrt(16)
    near(&scores(&network, &[7, 5]), &[17.5 - 3.0 + 1.0 - 10.0, 40.5 - 5.0 - 1.0 - 100.0]);
}

#[test]
fn a_batch_norm_without_a_convolution_of_its_own_is_a_step() {
    let bn = || Op::BatchNorm { parameters: ["two", "one", "one", "two"].map(Into::into), epsilon: 2.0 };
    let start = || {
        let build = Build::new(&[1, 1, 1, 1]).constant("w", &[1, 1, 1, 1], &[-1.0]).constant("one", &[1], &[1.0]).constant("two", &[1], &[2.0]);
        build.conv("c", "x", Window::point([1, 1]), "w", None, &[1, 1, 1, 1])
    };
    let ops = |network: &Network| -> Vec<String> { network.steps.iter().map(|s| format!("{} {}", s.name, s.relu)).collect() };
    let shared = start().node("n", bn(), &["c"], &[1, 1, 1, 1]).node("y", Op::Add, &["c", "n"], &[1, 1, 1, 1]).fold().unwrap();
    assert_eq!(ops(&shared), ["node-c false", "node-n false", "node-y false"]);
    near(&scores(&shared, &[5]), &[-5.0 + -6.0 + 1.0]);
    let rectified = start().node("r", Op::Relu, &["c"], &[1, 1, 1, 1]).node("n", bn(), &["r"], &[1, 1, 1, 1]).node(
        "y",
        affine(Arithmetic::Add, "one"),
        &["n"],
        &[1, 1, 1, 1],
    );
    let rectified = rectified.fold().unwrap();
    assert_eq!(ops(&rectified), ["node-c true", "node-n false"]);
    near(&scores(&rectified, &[5]), &[-1.0 + 1.0 + 1.0]);
    let twice = start().node("r", Op::Relu, &["c"], &[1, 1, 1, 1]).node("y", Op::Add, &["c", "r"], &[1, 1, 1, 1]).fold().unwrap();
    assert_eq!(ops(&twice), ["node-c false", "node-r true", "node-y false"]);
    assert_eq!(twice.steps[1].value, "c");
    near(&scores(&twice, &[5]), &[-5.0]);
}

#[test]
fn an_identity_skip_is_part_of_the_later_convolution() {
    let build = Build::new(&[1, 1, 1, 2])
        .constant("w", &[1, 1, 1, 1], &[2.0])
        .constant("minus", &[1, 1, 1, 1], &[-3.0])
        .conv("a", "x", Window::point([1, 1]), "w", None, &[1, 1, 1, 2])
        .node("r", Op::Relu, &["a"], &[1, 1, 1, 2])
        .node("rr", Op::Relu, &["r"], &[1, 1, 1, 2])
        .conv("b", "rr", Window::point([1, 1]), "w", None, &[1, 1, 1, 2])
        .node("br", Op::Relu, &["b"], &[1, 1, 1, 2])
        .conv("c", "br", Window::point([1, 1]), "minus", None, &[1, 1, 1, 2])
        .node("s", Op::Add, &["rr", "c"], &[1, 1, 1, 2])
        .node("p", Op::Mean(vec![2, 3]), &["s"], &[1, 1]);
    let network = build.fold().unwrap();
    let blocks: Vec<_> = network.steps.iter().map(|s| (s.name.as_str(), s.relu, s.block)).collect();
    assert_eq!(blocks, [("node-a", true, None), ("node-b", true, Some(0)), ("node-c", false, Some(0)), ("node-p", false, None)]);
    assert_eq!(network.steps[2].value, "s");
    assert_eq!(network.tensors.iter().map(|t| t.nonnegative).collect::<Vec<_>>(), [true, true, true, false, false]);
    let tensors = float::tensors(&network, &[1, 4]);
    near(&tensors[3], &[2.0 - 12.0, 8.0 - 48.0]);
    near(&tensors[4], &[-25.0]);
}

/// A 3x3 convolution and a shortcut with stride 2, added in either order.
fn projection(kernel: u32, pads: u32, swapped: bool) -> Build {
    let two = Window { stride: [2, 2], ..DENSE };
    let shortcut = Window { kernel: [kernel; 2], stride: [2, 2], dilation: [1, 1], pads: [pads; 4] };
    let mut ones = vec![0.0; (kernel * kernel) as usize];
    ones[(kernel * kernel / 2) as usize] = 1.0;
    let k = kernel as usize;
    Build::new(&[1, 1, 2, 2])
        .constant("w", &[1, 1, 3, 3], &[1.0; 9])
        .constant("p", &[1, 1, k, k], &ones)
        .constant("five", &[1], &[5.0])
        .constant("six", &[1], &[6.0])
        .conv("a", "x", DENSE, "w", None, &[1, 1, 2, 2])
        .node("r", Op::Relu, &["a"], &[1, 1, 2, 2])
        .conv("b", "r", DENSE, "w", None, &[1, 1, 2, 2])
        .node("br", Op::Relu, &["b"], &[1, 1, 2, 2])
        .conv("c", "br", two, "w", Some("five"), &[1, 1, 1, 1])
        .conv("d", "r", shortcut, "p", Some("six"), &[1, 1, 1, 1])
        .node("s", Op::Add, if swapped { &["d", "c"] } else { &["c", "d"] }, &[1, 1, 1, 1])
}

#[test]
fn a_projection_is_part_of_the_main_convolution_in_either_order() {
    for swapped in [false, true] {
        let network = projection(1, 0, swapped).fold().unwrap();
        assert_eq!(network.steps.iter().map(|s| (s.name.as_str(), s.block)).collect::<Vec<_>>(), [("node-a", None), ("node-b", Some(0)), ("node-c", Some(0))]);
        let Step::Conv(conv) = &network.steps[2].op else { panic!() };
        assert_eq!(conv.bias, [11.0]);
        assert_eq!(conv.second, Second::Projection { tensor: 1, window: Window::point([2, 2]), weights: vec![1.0] });
        // a is 10 everywhere, b 40, c 160 + 5; d is 10 + 6
        near(&scores(&network, &[1, 2, 3, 4]), &[181.0]);
    }
}

#[test]
fn a_padded_convolution_on_the_shortcut_stays_a_step() {
    let network = projection(3, 1, false).fold().unwrap();
    let names: Vec<_> = network.steps.iter().map(|s| (s.name.as_str(), s.block)).collect();
    assert_eq!(names, [("node-a", None), ("node-b", Some(0)), ("node-d", Some(0)), ("node-c", Some(0))]);
    near(&scores(&network, &[1, 2, 3, 4]), &[181.0]);
}

#[test]
fn a_slice_and_a_pad_of_channels_are_a_skip() {
    let two = Window::point([2, 2]);
    let build = Build::new(&[1, 1, 3, 3])
        .constant("one", &[1, 1, 1, 1], &[1.0])
        .constant("w", &[3, 1, 1, 1], &[1.0, 10.0, 100.0])
        .conv("a", "x", Window::point([1, 1]), "one", None, &[1, 1, 3, 3])
        .node("r", Op::Relu, &["a"], &[1, 1, 3, 3])
        .node("half", Op::Slice { start: vec![0; 4], step: vec![1, 1, 2, 2] }, &["r"], &[1, 1, 2, 2])
        .node("wide", Op::Pad { before: vec![0, 1, 0, 0], after: vec![0, 1, 0, 0], value: 0.0 }, &["half"], &[1, 3, 2, 2])
        .conv("b", "r", two, "w", None, &[1, 3, 2, 2])
        .node("s", Op::Add, &["b", "wide"], &[1, 3, 2, 2])
        .node("t", Op::Relu, &["s"], &[1, 3, 2, 2])
        .node("m", Op::AveragePool { window: Window { kernel: [2, 2], ..Window::point([1, 1]) }, include_pad: false }, &["t"], &[1, 3, 1, 1]);
    let network = build.fold().unwrap();
    let Step::Conv(conv) = &network.steps[1].op else { panic!() };
    assert_eq!(conv.second, Second::Skip { tensor: 1, stride: [2, 2], front: 1 });
    // the corners 0, 2, 6, 8 have the mean 4
    near(&scores(&network, &[0, 1, 2, 3, 4, 5, 6, 7, 8]), &[4.0, 44.0, 400.0]);
}

#[test]
fn a_dense_layer_takes_its_weights_in_the_order_of_the_flattened_values() {
    let weights: Vec<f32> = (0u8..12).map(f32::from).collect();
    let start = || {
        Build::new(&[1, 2, 1, 3]).constant("w", &[6, 2], &weights).constant("t", &[2, 6], &weights).constant("b", &[2], &[1.0, 2.0]).constant(
            "k",
            &[2],
            &[7.0, 8.0],
        )
    };
    let dense = |name: &str, transposed| Op::Dense { weights: name.into(), transposed, alpha: 2.0, bias: Some(("b".into(), 3.0)) };
    let picture = [1, 2, 3, 4, 5, 6]; // [w][c]: channel 0 is 1 3 5, channel 1 is 2 4 6
    let (chw, hwc) = ([1.0, 3.0, 5.0, 2.0, 4.0, 6.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let product = |x: &[f64; 6], transposed: bool| -> Vec<f64> {
        let weight = |o: usize, i: usize| f64::from(weights[if transposed { o * 6 + i } else { i * 2 + o }]);
        (0..2).map(|o| 2.0 * (0..6).map(|i| x[i] * weight(o, i)).sum::<f64>() + 3.0 * [1.0, 2.0][o] + [7.0, 8.0][o]).collect()
    };
    for (name, transposed) in [("w", false), ("t", true)] {
        let end = |build: Build, read| build.node("d", dense(name, transposed), &[read], &[1, 2]).node("y", affine(Arithmetic::Add, "k"), &["d"], &[1, 2]);
        let flat = end(start().node("f", Op::Reshape, &["x"], &[1, 6]), "f").fold().unwrap();
        assert_eq!(flat.steps.len(), 1);
        near(&scores(&flat, &picture), &product(&chw, transposed));
        let turned = start().node("q", Op::Transpose(vec![0, 2, 3, 1]), &["x"], &[1, 1, 3, 2]).node("f", Op::Reshape, &["q"], &[1, 6]);
        near(&scores(&end(turned, "f").fold().unwrap(), &picture), &product(&hwc, transposed));
    }
    let odd = start().node("q", Op::Transpose(vec![0, 3, 2, 1]), &["x"], &[1, 3, 1, 2]).node("v", Op::Transpose(vec![0, 3, 1, 2]), &["q"], &[1, 2, 3, 1]);
    let back = odd.node("f", Op::Reshape, &["v"], &[1, 6]).node("d", dense("w", false), &["f"], &[1, 2]);
    near(&scores(&back.fold().unwrap(), &picture), &product(&chw, false).iter().zip([7.0, 8.0]).map(|(a, b)| a - b).collect::<Vec<_>>());
}

#[test]
fn normalization_at_the_input_joins_the_preprocessing() {
    let build = Build::new(&[1, 1, 2, 2])
        .constant("mean", &[2], &[10.0, 20.0])
        .constant("std", &[1, 1, 1, 2], &[2.0, 4.0])
        .constant("w", &[1, 2, 3, 3], &[1.0; 18])
        .node("c", Op::Cast, &["x"], &[1, 1, 2, 2])
        .node("m", affine(Arithmetic::Sub, "mean"), &["c"], &[1, 1, 2, 2])
        .node("d", affine(Arithmetic::Div, "std"), &["m"], &[1, 1, 2, 2])
        .node("t", Op::Transpose(vec![0, 3, 1, 2]), &["d"], &[1, 2, 1, 2])
        .node("p", Op::Pad { before: vec![0, 0, 1, 1], after: vec![0, 0, 1, 1], value: 0.0 }, &["t"], &[1, 2, 3, 4])
        .conv("y", "p", Window { pads: [0; 4], stride: [1, 2], ..DENSE }, "w", None, &[1, 1, 1, 1]);
    let network = fold(&build.0, &[0.5, 1.0], &[1.0, 0.0]).unwrap();
    assert!(network.input.nhwc);
    assert_eq!(network.input.shape, [1, 2, 2]);
    near(&network.input.scale, &[0.25, 0.25]);
    near(&network.input.shift, &[-4.5, -5.0]);
    let Step::Conv(conv) = &network.steps[0].op else { panic!() };
    assert_eq!(conv.window.pads, [1; 4]);
    near(&scores(&network, &[10, 20, 30, 40]), &[40.0 * 0.25 - 9.0 + 60.0 * 0.25 - 10.0]);
    let shared = build.node("z", affine(Arithmetic::Add, "w0"), &["y"], &[1, 1, 1, 1]).constant("w0", &[], &[1.0]);
    assert!(matches!(fold(&shared.0, &[1.0; 3], &[0.0; 3]), Err(ConvertError::Preprocess { .. })));
}

#[test]
fn pools_merge_with_what_stands_beside_them() {
    let pool = Window { kernel: [2, 2], stride: [2, 2], dilation: [1, 1], pads: [0; 4] };
    let pad = || Op::Pad { before: vec![0, 0, 1, 1], after: vec![0, 0, 1, 1], value: 0.0 };
    let start = || {
        let build = Build::new(&[1, 1, 2, 2]).constant("w", &[1, 1, 1, 1], &[-2.0]).constant("ones", &[1, 1, 2, 2], &[1.0; 4]);
        build.conv("c", "x", Window::point([1, 1]), "w", None, &[1, 1, 2, 2])
    };
    let mean = start().node("y", Op::AveragePool { window: pool, include_pad: false }, &["c"], &[1, 1, 1, 1]).fold().unwrap();
    assert_eq!(mean.steps.len(), 1);
    near(&scores(&mean, &[1, 2, 3, 4]), &[-5.0]);
    let bad = start().node("p", pad(), &["c"], &[1, 1, 4, 4]).node("m", Op::MaxPool(pool), &["p"], &[1, 1, 2, 2]);
    assert_eq!(refused(&bad), "node-m");
    let good = start().node("r", Op::Relu, &["c"], &[1, 1, 2, 2]).node("p", pad(), &["r"], &[1, 1, 4, 4]).node("m", Op::MaxPool(pool), &["p"], &[1, 1, 2, 2]);
    let good = good.conv("y", "m", Window { kernel: [2, 2], ..Window::point([1, 1]) }, "ones", None, &[1, 1, 1, 1]).fold().unwrap();
    assert!(good.tensors[2].nonnegative);
    let Step::MaxPool(window) = good.steps[1].op else { panic!() };
    assert_eq!(window.pads, [1; 4]);
    let behind = start().node("m", Op::MaxPool(pool), &["c"], &[1, 1, 1, 1]).node("r", Op::Relu, &["m"], &[1, 1, 1, 1]).conv(
        "y",
        "r",
        Window::point([1, 1]),
        "w",
        None,
        &[1, 1, 1, 1],
    );
    let behind = behind.fold().unwrap();
    assert!(behind.steps[0].relu && !behind.steps[1].relu && behind.tensors[2].nonnegative);
}

#[test]
fn mirrored_borders_hand_everything_on() {
    let six = Op::Function(Function::Clip { low: 0.0, high: 6.0 });
    let start = || {
        let build = Build::new(&[1, 1, 2, 3]).constant("w", &[1, 1, 1, 1], &[-0.5]);
        build.conv("c", "x", Window::point([1, 1]), "w", Some("b"), &[1, 1, 2, 3]).constant("b", &[1], &[8.0])
    };
    let row = Window { kernel: [1, 6], ..Window::point([1, 1]) };
    // Columns 2 1 0 1 2 1 of the rows 1 0 1 0.
    let bordered = start().node("r", six, &["c"], &[1, 1, 2, 3]).node("m", Op::Mirror([1, 2, 1, 1]), &["r"], &[1, 1, 4, 6]);
    let network = bordered.constant("row", &[1, 1, 1, 6], &[1.0, 10.0, 100.0, 1e3, 1e4, 1e5]).conv("y", "m", row, "row", None, &[1, 1, 4, 1]);
    let network = network.node("g", Op::AveragePool { window: Window { kernel: [4, 1], ..Window::point([1, 1]) }, include_pad: false }, &["y"], &[1, 1, 1, 1]);
    let network = network.fold().unwrap();
    let mirror = network.steps.iter().position(|s| s.op == Step::Mirror([1, 2, 1, 1])).unwrap();
    let tensor = &network.tensors[network.steps[mirror].output];
    assert!(tensor.nonnegative && tensor.limit <= 6.0 && tensor.shape == [4, 6, 1], "{tensor:?}");
    let first = 1.0 * 5.0 + 10.0 * 6.0 + 100.0 * 6.0 + 1e3 * 6.0 + 1e4 * 5.0 + 1e5 * 6.0;
    let second = 1.0 * 1.0 + 10.0 * 2.0 + 100.0 * 3.0 + 1e3 * 2.0 + 1e4 * 1.0 + 1e5 * 2.0;
    near(&scores(&network, &[2, 4, 6, 10, 12, 14]), &[(first + second) / 2.0]);
    let zeros = Op::Pad { before: vec![0, 0, 1, 1], after: vec![0, 0, 1, 1], value: 0.0 };
    assert_eq!(refused(&start().node("p", zeros, &["c"], &[1, 1, 4, 5]).node("m", Op::Mirror([1; 4]), &["p"], &[1, 1, 6, 7])), "node-m");
    assert_eq!(refused(&Build::new(&[1, 1, 2, 3]).node("m", Op::Mirror([1; 4]), &["x"], &[1, 1, 4, 5])), "node-m");
}

#[test]
fn two_plain_tensors_are_added_by_a_step() {
    let build = Build::new(&[1, 1, 1, 1])
        .constant("w", &[1, 1, 1, 1], &[2.0])
        .conv("a", "x", Window::point([1, 1]), "w", None, &[1, 1, 1, 1])
        .node("r", Op::Relu, &["a"], &[1, 1, 1, 1])
        .node("s", Op::Add, &["r", "x"], &[1, 1, 1, 1])
        .node("unread", Op::Relu, &["s"], &[1, 1, 1, 1])
        .conv("y", "s", Window::point([1, 1]), "w", None, &[1, 1, 1, 1]);
    let network = build.fold().unwrap();
    assert_eq!(network.steps.len(), 3);
    assert_eq!(network.steps[1].op, Step::Add(0));
    near(&scores(&network, &[7]), &[42.0]);
}

/// Three 1x1 convolutions of one channel, by 1, -1 and 2.
fn three_convs() -> Build {
    let build =
        Build::new(&[1, 1, 1, 2]).constant("one", &[1, 1, 1, 1], &[1.0]).constant("minus", &[1, 1, 1, 1], &[-1.0]).constant("two", &[1, 1, 1, 1], &[2.0]);
    let conv = |build: Build, name, weights| build.conv(name, "x", Window::point([1, 1]), weights, None, &[1, 1, 1, 2]);
    conv(conv(conv(build, "a", "one"), "b", "minus"), "c", "two")
}

#[test]
fn a_relu_moves_in_front_of_a_concatenation_only_if_all_readers_want_it() {
    let two = [1, 2, 1, 2];
    let start = || three_convs().node("ab", Op::Concat, &["a", "b"], &two).node("r", Op::Relu, &["ab"], &two);
    let mean = |build: Build, name, of, dims: &[usize]| build.node(name, Op::Mean(vec![2, 3]), &[of], dims);
    let dense = || Op::Dense { weights: "w".into(), transposed: false, alpha: 1.0, bias: None };
    let alone = mean(start(), "m", "r", &[1, 2]).constant("w", &[2, 1], &[1.0, 10.0]).node("z", dense(), &["m"], &[1, 1]).fold().unwrap();
    assert_eq!(
        alone.steps.iter().map(|s| (s.name.as_str(), s.relu)).collect::<Vec<_>>(),
        [("node-a", true), ("node-b", true), ("node-ab", false), ("node-m", false), ("node-z", false)]
    );
    assert_eq!(alone.steps[2].value, "r");
    near(&scores(&alone, &[3, 5]), &[4.0]);
    let raw = mean(start(), "m", "r", &[1, 2]);
    let raw = mean(raw, "n", "a", &[1, 1]).node("y", Op::Concat, &["m", "n"], &[1, 3]).constant("w", &[3, 1], &[1.0, 10.0, 100.0]);
    let raw = raw.node("z", dense(), &["y"], &[1, 1]).fold().unwrap();
    assert!(raw.steps.iter().any(|s| s.name == "node-a" && !s.relu));
    near(&scores(&raw, &[3, 5]), &[404.0]);
}

#[test]
fn relu6_is_a_limit_and_another_clip_a_function() {
    let clip = |low, high| Op::Function(Function::Clip { low, high });
    let dims = [1, 1, 1, 2];
    let build = three_convs().node("s", clip(0.0, 6.0), &["c"], &dims).node("t", clip(-1.0, 8.0), &["c"], &dims);
    let build = build.node("u", Op::Relu, &["s"], &dims).node("v", Op::Add, &["u", "t"], &dims).node("m", Op::Mean(vec![2, 3]), &["v"], &[1, 1]);
    let network = build.fold().unwrap();
    assert_eq!(
        network.steps.iter().map(|s| (s.name.as_str(), s.relu)).collect::<Vec<_>>(),
        [("node-c", false), ("node-s", true), ("node-t", false), ("node-v", false), ("node-m", false)]
    );
    assert_eq!(network.tensors.iter().map(|t| t.limit).collect::<Vec<_>>(), [f64::INFINITY, f64::INFINITY, 6.0, 8.0, f64::INFINITY, f64::INFINITY]);
    // 4 and 10 become 4 and 6, and 4 and 8
    near(&scores(&network, &[2, 5]), &[11.0]);
}

#[test]
fn branches_of_windows_that_do_not_cover_each_other_stay_apart() {
    let row = Window { kernel: [1, 3], stride: [1, 1], dilation: [1, 1], pads: [0, 1, 0, 1] };
    let column = Window { kernel: [3, 1], stride: [1, 1], dilation: [1, 1], pads: [1, 0, 1, 0] };
    let dims = [1, 1, 2, 2];
    let start = || {
        Build::new(&dims).constant("r", &[1, 1, 1, 3], &[1.0, 2.0, 3.0]).constant("c", &[1, 1, 3, 1], &[4.0, 5.0, 6.0]).constant("d", &[1, 1, 3, 3], &[1.0; 9])
    };
    let end = |build: Build| build.node("m", Op::Mean(vec![2, 3]), &["s"], &[1, 1]).fold().unwrap();
    let apart = start().conv("a", "x", row, "r", None, &dims).conv("b", "x", column, "c", None, &dims).node("s", Op::Add, &["a", "b"], &dims);
    let apart = end(apart);
    assert_eq!(apart.steps.len(), 3);
    let together = start().conv("a", "x", row, "r", None, &dims).conv("b", "x", DENSE, "d", None, &dims).node("s", Op::Add, &["a", "b"], &dims);
    let together = end(together);
    let Step::Conv(conv) = &together.steps[0].op else { panic!() };
    assert_eq!((together.steps.len(), conv.weights.as_slice()), (2, &[1.0, 1.0, 1.0, 2.0, 3.0, 4.0, 1.0, 1.0, 1.0][..]));
    // a row of 1 2 is 8 5, a row of 3 4 is 18 11; the columns are 5 + 18, 10 + 24, 15 + 4, 20 + 8; the square is 10 everywhere
    near(&scores(&apart, &[1, 2, 3, 4]), &[(42.0 + 104.0) / 4.0]);
    near(&scores(&together, &[1, 2, 3, 4]), &[(42.0 + 40.0) / 4.0]);
}

#[test]
fn an_affine_goes_into_the_convolution_behind_it_only_where_the_border_allows_it() {
    let build = |pads: u32, shift: f32| {
        let build = Build::new(&[1, 1, 1, 2]).constant("w", &[1, 1, 1, 1], &[1.0]).constant("k", &[], &[2.0]).constant("b", &[], &[shift]);
        let build = build.conv("c", "x", Window::point([1, 1]), "w", None, &[1, 1, 1, 2]).node("r", Op::Relu, &["c"], &[1, 1, 1, 2]);
        let build = build.node("k2", affine(Arithmetic::Mul, "k"), &["r"], &[1, 1, 1, 2]).node("b2", affine(Arithmetic::Add, "b"), &["k2"], &[1, 1, 1, 2]);
        let width = 1 + 2 * pads as usize;
        let window = Window { kernel: [1, 2], stride: [1, 1], dilation: [1, 1], pads: [0, pads, 0, pads] };
        let build = build.constant("v", &[1, 1, 1, 2], &[1.0, 10.0]).conv("d", "b2", window, "v", None, &[1, 1, 1, width]);
        build.node("m", Op::Mean(vec![2, 3]), &["d"], &[1, 1]).fold().unwrap()
    };
    let steps = |network: &Network| network.steps.len();
    let (open, zero, border) = (build(0, 3.0), build(1, 0.0), build(1, 3.0));
    assert_eq!([&open, &zero, &border].map(steps), [3, 3, 4]);
    near(&scores(&open, &[4, 5]), &[11.0 + 130.0]);
    near(&scores(&zero, &[4, 5]), &[(8.0 + 10.0) * 11.0 / 3.0]);
    near(&scores(&border, &[4, 5]), &[(11.0 + 13.0) * 11.0 / 3.0]);
}
