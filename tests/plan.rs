//! Plans: tensors that live at the same time never share memory, and the arena has exactly the bytes that it needs.
#![cfg(feature = "convert")]

#[path = "support/float.rs"]
mod float;

use float::Random;
use skipstone::convert::plan::{Plan, fast};
use skipstone::convert::quantized::{Conv, Op, Quantized, Second, Step, Tensor};
use skipstone::quant::DataType;
use skipstone::shape::Window;

fn network(size: u32) -> Quantized {
    let picture = Tensor { name: "input".into(), shape: [size, size, 3], kind: DataType::U8, scales: vec![1.0; 3], picture: true };
    Quantized { tensors: vec![picture], ..Quantized::default() }
}

/// A convolution without weights: a plan looks at shapes only.
fn conv(network: &mut Quantized, input: usize, kernel: u32, channels: u32, skip: Option<usize>) -> usize {
    let pad = kernel / 2;
    let window = Window { kernel: [kernel; 2], stride: [1, 1], dilation: [1, 1], pads: [pad; 4] };
    let [h, w, _] = network.tensors[input].shape;
    let output = network.tensors.len();
    network.tensors.push(Tensor { name: format!("t{output}"), shape: [h, w, channels], kind: DataType::U8, scales: vec![1.0; channels as usize], picture: false });
    let second = if skip.is_some() { Second::Skip { stride: [1, 1], front: 0 } } else { Second::None };
    let op = Op::Conv(Conv { window, weights: Vec::new(), params: Vec::new(), padding: Vec::new(), second, pair_safe: true });
    network.steps.push(Step { name: format!("s{output}"), op, input, second: skip, output, block: None, macs: 0, factors: None });
    output
}

/// When a tensor is in use: from the step that makes it to the last one that reads it.
fn life(network: &Quantized, tensor: usize) -> core::ops::RangeInclusive<usize> {
    let made = network.steps.iter().position(|s| s.output == tensor).unwrap_or(0);
    let last = network.steps.iter().rposition(|s| s.input == tensor || s.second == Some(tensor));
    made..=last.unwrap_or(network.steps.len())
}

fn check(network: &Quantized, plan: &Plan) {
    for (a, x) in plan.views.iter().enumerate() {
        assert!(x.offset.is_multiple_of(64) && x.range().end <= plan.tensor_bytes);
        for (b, y) in plan.views.iter().enumerate().skip(a + 1) {
            let (m, n) = (life(network, a), life(network, b));
            let together = m.start() <= n.end() && n.start() <= m.end();
            let apart = x.range().end <= y.offset || y.range().end <= x.offset;
            assert!(!together || apart, "tensors {a} and {b} overlap");
        }
    }
}

#[test]
fn live_tensors_never_overlap() {
    let mut random = Random::new(99);
    for _ in 0..200 {
        let mut net = network(8);
        let mut pick = |n: usize| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "small numbers")]
            let i = (random.unit() * n as f64) as usize;
            i
        };
        for _ in 0..12 {
            let input = pick(net.tensors.len());
            let channels = [4, 16, 20, 64][pick(4)];
            let same: Vec<usize> = (1..net.tensors.len()).filter(|&t| net.tensors[t].shape[2] == channels).collect();
            let skip = if same.is_empty() { None } else { Some(same[pick(same.len())]) };
            conv(&mut net, input, [1, 3][pick(2)], channels, skip);
        }
        check(&net, &fast(&net));
    }
}

#[test]
fn a_chain_needs_its_two_largest_neighbours() {
    let mut net = network(8);
    let a = conv(&mut net, 0, 3, 16, None);
    let b = conv(&mut net, a, 3, 32, None);
    let c = conv(&mut net, b, 3, 16, None);
    conv(&mut net, c, 3, 8, None);
    let plan = fast(&net);
    check(&net, &plan);
    assert_eq!(plan.tensor_bytes, 8 * 8 * (32 + 16));
}

#[test]
fn a_residual_block_keeps_its_input() {
    let mut net = network(8);
    let a = conv(&mut net, 0, 3, 16, None);
    let b = conv(&mut net, a, 3, 16, None);
    let c = conv(&mut net, b, 3, 16, Some(a));
    conv(&mut net, c, 1, 4, None);
    let plan = fast(&net);
    check(&net, &plan);
    assert_eq!(plan.tensor_bytes, 8 * 8 * 16 * 3);
}

#[test]
fn scratch_holds_the_rows_of_the_largest_block() {
    let mut net = network(8);
    let a = conv(&mut net, 0, 3, 16, None);
    conv(&mut net, a, 1, 16, None);
    let plan = fast(&net);
    // All 8 rows and the border: 10 rows of (10 pixels · 3 bytes + 3 spare bytes, rounded up to 48), rounded up to a cache line.
    assert_eq!((plan.block_rows[0], plan.scratch_bytes), (8, 512));
}
