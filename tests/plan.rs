//! Plans: tensors that live at the same time never share memory, and the arena has exactly the bytes that it needs.
#![cfg(feature = "convert")]

#[path = "support/float.rs"]
mod float;

use float::Random;
use skipstone::convert::place::place;
use skipstone::convert::plan::{Plan, fast};
use skipstone::convert::quantized::{Conv, Op, Quantized, Second, Step, Tensor};
use skipstone::quant::DataType;
use skipstone::shape::Window;

fn network(size: u32) -> Quantized {
    let picture = Tensor { name: "input".into(), shape: [size, size, 3], kind: DataType::U8, scales: vec![1.0; 3], zero: 0, picture: true, part: None };
    Quantized { tensors: vec![picture], ..Quantized::default() }
}

/// A convolution without weights: a plan looks at shapes only.
fn conv(network: &mut Quantized, input: usize, kernel: u32, channels: u32, skip: Option<usize>) -> usize {
    let pad = kernel / 2;
    let window = Window { kernel: [kernel; 2], stride: [1, 1], dilation: [1, 1], pads: [pad; 4] };
    let [h, w, _] = network.tensors[input].shape;
    let output = network.tensors.len();
    network.tensors.push(tensor([h, w, channels]));
    let second = if skip.is_some() { Second::Skip { stride: [1, 1], front: 0 } } else { Second::None };
    let op = Op::Conv(Conv { window, groups: 1, narrow: None, weights: Vec::new(), params: Vec::new(), padding: Vec::new(), second, pair_safe: true });
    network.steps.push(step(op, input, skip, output));
    output
}

fn tensor(shape: [u32; 3]) -> Tensor {
    Tensor { name: "t".into(), shape, kind: DataType::U8, scales: vec![1.0; shape[2] as usize], zero: 0, picture: false, part: None }
}

fn step(op: Op, input: usize, second: Option<usize>, output: usize) -> Step {
    Step { name: format!("s{output}"), op, input, second, third: None, output, block: None, macs: 0, factors: None }
}

fn concat(network: &mut Quantized, parts: &[usize]) -> usize {
    let [h, w, _] = network.tensors[parts[0]].shape;
    let output = network.tensors.len();
    network.tensors.push(tensor([h, w, parts.iter().map(|&t| network.tensors[t].shape[2]).sum()]));
    network.steps.push(step(Op::Concat(parts[1..].to_vec()), parts[0], None, output));
    output
}

fn slice(network: &mut Quantized, input: usize, first: u32, channels: u32) -> usize {
    let [h, w, _] = network.tensors[input].shape;
    let output = network.tensors.len();
    network.tensors.push(tensor([h, w, channels]));
    network.steps.push(step(Op::Slice(first), input, None, output));
    output
}

/// When a tensor is in use: from the step that makes it to the last one that reads it.
fn life(network: &Quantized, tensor: usize) -> core::ops::RangeInclusive<usize> {
    let made = network.steps.iter().position(|s| s.output == tensor).unwrap_or(0);
    let last = network.steps.iter().rposition(|s| s.reads().any(|t| t == tensor));
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

/// What every channel of every tensor holds: the tensor that a step computed, and which of its channels.
type Contents = Vec<Vec<(usize, u32)>>;

fn contents(network: &Quantized) -> Contents {
    let own = |t: usize| -> Vec<(usize, u32)> { (0..network.tensors[t].shape[2]).map(|c| (t, c)).collect() };
    let mut all: Contents = (0..network.tensors.len()).map(own).collect();
    for step in &network.steps {
        all[step.output] = match &step.op {
            Op::Concat(_) => step.reads().flat_map(|t| all[t].clone()).collect(),
            Op::Slice(first) => all[step.input][*first as usize..][..network.tensors[step.output].shape[2] as usize].to_vec(),
            _ => own(step.output),
        };
    }
    all
}

/// Runs a placed network byte by byte: every step must find in the arena what the network before it was placed would hand to it. Returns the number of copies.
fn check_bytes(before: &Quantized, after: &Quantized) -> usize {
    let (expected, plan) = (contents(before), fast(after));
    let bytes = |t: usize| {
        let v = plan.views[t];
        (0..v.pixels()).flat_map(move |i| (0..v.c).map(move |c| (v.offset + i / v.w as usize * v.row + i % v.w as usize * v.pixel + c as usize, i, c)))
    };
    let mut arena = vec![None; plan.tensor_bytes];
    bytes(0).for_each(|(at, pixel, c)| arena[at] = Some((0, c, pixel)));
    let mut copies = 0;
    for step in &after.steps {
        let Some(made) = before.steps.iter().find(|s| s.name == step.name) else {
            // A copy moves what it finds.
            copies += 1;
            let found: Vec<_> = bytes(step.input).map(|(at, ..)| arena[at]).collect();
            bytes(step.output).zip(found).for_each(|((at, ..), v)| arena[at] = v);
            continue;
        };
        for (read, original) in step.reads().zip(made.reads()) {
            for (at, pixel, c) in bytes(read) {
                let (tensor, channel) = expected[original][c as usize];
                assert_eq!(arena[at], Some((tensor, channel, pixel)), "{} reads tensor {original} at channel {c}, pixel {pixel}", step.name);
            }
        }
        bytes(step.output).for_each(|(at, pixel, c)| arena[at] = Some((made.output, c, pixel)));
    }
    copies
}

#[test]
fn parts_are_made_where_they_belong() {
    // A dense block whose layers read the concatenation through a bottleneck: exported as one growing list, as pairs, or with the newest part in front.
    for (pairs, front) in [(false, false), (true, false), (true, true)] {
        let mut net = network(4);
        let mut parts = vec![conv(&mut net, 0, 3, 16, None)];
        let mut whole = parts[0];
        for _ in 0..5 {
            let narrow = conv(&mut net, whole, 1, 8, None);
            parts.push(conv(&mut net, narrow, 3, 12, None));
            let newest = parts[parts.len() - 1];
            whole = match (pairs, front) {
                (true, true) => concat(&mut net, &[newest, whole]),
                (true, false) => concat(&mut net, &[whole, newest]),
                _ => concat(&mut net, &parts),
            };
        }
        conv(&mut net, whole, 1, 4, None);
        assert_eq!(check_bytes(&net, &place(net.clone())), 0);
    }
    // Without a bottleneck a layer would write into what it reads.
    let mut net = network(4);
    let mut whole = conv(&mut net, 0, 3, 16, None);
    for _ in 0..3 {
        let new = conv(&mut net, whole, 3, 12, None);
        whole = concat(&mut net, &[whole, new]);
    }
    conv(&mut net, whole, 1, 4, None);
    assert_eq!(check_bytes(&net, &place(net.clone())), 3);
}

#[test]
fn any_concatenations_and_slices_hold_their_bytes() {
    let mut random = Random::new(5);
    let mut total = 0;
    for _ in 0..400 {
        let mut net = network(4);
        let mut pick = |n: usize| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "small numbers")]
            let i = (random.unit() * n as f64) as usize;
            i
        };
        for i in 0..16 {
            let made = net.tensors.len();
            let t = if made == 1 { 0 } else { 1 + pick(made - 1) };
            match if i < 3 { 0 } else { pick(4) } {
                0 | 1 => conv(&mut net, t, [1, 3][pick(2)], [4, 8, 16][pick(3)], None),
                2 => {
                    let parts: Vec<usize> = (0..2 + pick(3)).map(|_| 1 + pick(made - 1)).collect();
                    concat(&mut net, &parts)
                }
                _ => {
                    let c = net.tensors[t].shape[2] / 4;
                    let first = pick(c as usize);
                    slice(&mut net, t, 4 * u32::try_from(first).unwrap(), 4 * u32::try_from(1 + pick(c as usize - first)).unwrap())
                }
            };
        }
        let last = net.tensors.len() - 1;
        conv(&mut net, last, 1, 4, None);
        let placed = place(net.clone());
        assert!(placed.steps.iter().all(|s| !matches!(s.op, Op::Concat(_) | Op::Slice(_))));
        total += check_bytes(&net, &placed);
    }
    // Of the parts of 1,300 concatenations in which tensors come again and again.
    assert!(total < 3000, "{total} copies");
}
