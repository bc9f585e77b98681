//! Networks whose slices and concatenations lie at any channel, against the same networks with channels of zeros between.
#![cfg(feature = "convert")]

use float::{Builder, Noise, point, tensors, three};
use skipstone::convert::ConvertError;
use skipstone::convert::align::align;
use skipstone::convert::graph::{Conv, Function, GAP, Network, Op, Second, Step, Tensor, TensorId};
use skipstone::shape::Window;

#[path = "support/float.rs"]
mod float;

const SIDE: u32 = 4;

/// A network that grows at random: any tensor of full size may be read by the next step.
struct Growth {
    builder: Builder,
    /// Tensors of 4 by 4 pixels, without the picture.
    wide: Vec<TensorId>,
}

impl Growth {
    fn new(seed: u64) -> Self {
        let mut builder = Builder::new(seed, SIDE, SIDE);
        let channels = 5 + builder.random.below(20);
        let first = builder.conv(0, three(1), channels, true, Second::None);
        Self { builder, wide: vec![first] }
    }

    fn below(&mut self, n: usize) -> usize {
        self.builder.random.below(u32::try_from(n).unwrap()) as usize
    }

    fn pick(&mut self) -> TensorId {
        let i = self.below(self.wide.len());
        self.wide[i]
    }

    fn channels(&self, t: TensorId) -> u32 {
        self.builder.network.tensors[t].shape[2]
    }

    fn step(&mut self, op: Op, input: TensorId, channels: u32, relu: bool) -> TensorId {
        let [h, w, _] = self.builder.network.tensors[input].shape;
        let network = &mut self.builder.network;
        let (output, i) = (network.tensors.len(), network.steps.len());
        network.tensors.push(Tensor::new([h, w, channels], relu));
        network.steps.push(Step { name: format!("step{i}"), value: format!("value{i}"), relu, op, input, output, block: None });
        output
    }

    fn values(&mut self, n: u32) -> Vec<f64> {
        (0..n).map(|_| self.builder.random.signed()).collect()
    }

    /// A grouped convolution to `channels` channels.
    fn grouped(&mut self, input: TensorId, channels: u32, groups: u32) -> TensorId {
        let window = three(1);
        let weights = self.values(channels * 9 * self.channels(input) / groups);
        let bias = self.values(channels);
        self.step(Op::Conv(Conv { window, groups, weights, steps: Vec::new(), bias, second: Second::None }), input, channels, false)
    }

    fn grow(&mut self) {
        let x = self.pick();
        let c = self.channels(x);
        let made = match self.below(10) {
            0 | 1 => {
                let same: Vec<TensorId> = self.wide.iter().copied().filter(|&t| self.channels(t) == c).collect();
                let other = same[self.below(same.len())];
                let second = match self.below(3) {
                    0 => Second::None,
                    1 => Builder::skip(other),
                    _ => self.builder.projection(other, 1, c),
                };
                self.builder.conv(x, three(1), c, true, second)
            }
            2 => {
                let channels = 3 + self.builder.random.below(14);
                self.builder.conv(x, point(1), channels, false, Second::None)
            }
            3 => self.grouped(x, c, c),
            4 => {
                let groups = (2..=c).find(|g| c.is_multiple_of(*g)).unwrap_or(1);
                self.grouped(x, 2 * groups, groups)
            }
            5 | 6 => {
                let first = self.builder.random.below(c);
                let count = 1 + self.builder.random.below(c - first);
                self.step(Op::Slice(first), x, count, false)
            }
            7 => {
                let parts: Vec<TensorId> = (0..=self.below(2)).map(|_| self.pick()).collect();
                let channels = c + parts.iter().map(|&t| self.channels(t)).sum::<u32>();
                self.step(Op::Concat(parts), x, channels, false)
            }
            8 => {
                let (scale, shift) = (self.values(c), self.values(c));
                self.step(Op::Affine { scale, shift }, x, c, true)
            }
            _ => match self.below(4) {
                0 => self.step(Op::Function(Function::Sigmoid), x, c, false),
                3 => {
                    let bordered = self.builder.mirror(x, [1; 4]);
                    self.builder.max_pool(bordered, Window { pads: [0; 4], ..three(1) })
                }
                1 => self.builder.max_pool(x, three(1)),
                _ => {
                    let mean = self.builder.mean(x);
                    let dense = self.builder.dense(mean, c);
                    let gate = self.step(Op::Function(Function::Sigmoid), dense, c, false);
                    let skip = (self.below(2) == 0).then_some(x);
                    self.step(Op::Gate { gate, skip }, x, c, true)
                }
            },
        };
        if self.channels(made) < 100 {
            self.wide.push(made);
        }
    }
}

fn placed(network: &Network) -> bool {
    let width = |t: TensorId| network.tensors[t].shape[2];
    network.steps.iter().all(|step| match &step.op {
        Op::Slice(first) => first % 4 == 0 && width(step.output) % 4 == 0,
        Op::Concat(_) => step.reads().all(|t| width(t) % 4 == 0),
        _ => true,
    })
}

#[test]
fn aligned_networks_compute_the_same() {
    let mut moved = 0;
    for seed in 0..120 {
        let mut growth = Growth::new(seed);
        for _ in 0..14 {
            growth.grow();
        }
        let last = *growth.wide.last().unwrap();
        let network = growth.builder.finish(last, 6);
        let aligned = align(network.clone()).unwrap();
        assert!(placed(&aligned), "seed {seed}");
        moved += usize::from(aligned != network);
        let picture = &Noise::new(&network, 1, seed).0[0];
        let (want, got) = (tensors(&network, picture), tensors(&aligned, picture));
        for (t, tensor) in aligned.tensors.iter().enumerate() {
            let (wide, narrow) = (tensor.shape[2] as usize, network.tensors[t].shape[2] as usize);
            assert_eq!(tensor.channels.len(), if wide == narrow { 0 } else { wide });
            let mut shown = Vec::new();
            for pixel in got[t].chunks_exact(wide) {
                shown.extend((0..wide).filter(|&i| tensor.channels.get(i) != Some(&GAP)).map(|i| pixel[i]));
            }
            assert_eq!(shown.len(), want[t].len());
            for (i, (a, b)) in shown.iter().zip(&want[t]).enumerate() {
                assert!((a - b).abs() < 1e-9 * (1.0 + b.abs()), "seed {seed}, tensor {t}, element {i}: {a} instead of {b}");
            }
        }
        assert!(align(aligned.clone()).unwrap() == aligned, "seed {seed}: aligned twice");
    }
    assert!(moved > 60, "{moved} of 120 networks were no multiples of 4 throughout");
}

#[test]
fn four_slices_of_26_channels_take_28_each_and_depthwise_groups_stay_apart() {
    let mut growth = Growth::new(1);
    let wide = growth.builder.conv(0, three(1), 104, true, Second::None);
    let parts: Vec<TensorId> = (0..4).map(|i| growth.step(Op::Slice(26 * i), wide, 26, false)).collect();
    let depthwise = growth.grouped(parts[1], 26, 26);
    let halves = growth.grouped(parts[2], 26, 2);
    let all = growth.step(Op::Concat(vec![depthwise, halves, parts[3]]), parts[0], 104, false);
    let aligned = align(growth.builder.finish(all, 5)).unwrap();
    let widths: Vec<u32> = [wide, parts[1], depthwise, halves, all].iter().map(|&t| aligned.tensors[t].shape[2]).collect();
    assert_eq!(widths, [112, 28, 28, 28, 112]);
    assert_eq!(aligned.tensors[wide].channels[25..30], [25, GAP, GAP, 26, 27]);
    let groups = |t: TensorId| aligned.steps.iter().find(|s| s.output == t).map(|s| if let Op::Conv(c) = &s.op { c.groups } else { 0 });
    assert_eq!((groups(depthwise), groups(halves)), (Some(28), Some(1)));
    let firsts: Vec<u32> = aligned.steps.iter().filter_map(|s| if let Op::Slice(first) = s.op { Some(first) } else { None }).collect();
    assert_eq!(firsts, [0, 28, 56, 84]);
}

#[test]
fn a_picture_and_a_shortcut_of_other_channels_are_refused_by_name() {
    let mut growth = Growth::new(2);
    let first = growth.wide[0];
    let width = 3 + growth.channels(first);
    let all = growth.step(Op::Concat(vec![first]), 0, width, false);
    let error = align(growth.builder.finish(all, 5)).unwrap_err();
    assert!(matches!(&error, ConvertError::Unsupported { node, .. } if node == "step1"), "{error}");
    let mut growth = Growth::new(3);
    let narrow = growth.builder.conv(0, three(1), 6, true, Second::None);
    let skip = Second::Skip { tensor: narrow, stride: [1, 1], front: 2 };
    let sum = growth.builder.conv(narrow, Window { kernel: [3, 3], ..three(1) }, 10, true, skip);
    let part = growth.step(Op::Slice(3), sum, 7, false);
    let error = align(growth.builder.finish(part, 5)).unwrap_err();
    assert!(matches!(&error, ConvertError::Unsupported { node, .. } if node == "step2"), "{error}");
}
