//! Float networks built in code, and a naive evaluator of them.

#![allow(dead_code, reason = "each test file uses what it needs")]

#[path = "random.rs"]
mod random;

pub use random::Random;
use skipstone::convert::graph::{Conv, Function, Input, Network, Op, Second, Step, Tensor, TensorId};
use skipstone::convert::{ConvertError, Pictures};
use skipstone::shape::Window;

/// A 3x3 window that keeps the size at stride 1.
pub fn three(stride: u32) -> Window {
    Window { kernel: [3, 3], stride: [stride; 2], dilation: [1, 1], pads: [1; 4] }
}

/// A 1x1 window.
pub fn point(stride: u32) -> Window {
    Window::point([stride; 2])
}

/// A network in the making.
pub struct Builder {
    pub network: Network,
    pub random: Random,
}

impl Builder {
    /// A network that reads `h` by `w` pixels of 3 channels, normalized.
    pub fn new(seed: u64, h: u32, w: u32) -> Self {
        let scale = [0.229, 0.224, 0.225].map(|d| 1.0 / (255.0 * d)).to_vec();
        let shift = [0.485 / 0.229, 0.456 / 0.224, 0.406 / 0.225].map(|m: f64| -m).to_vec();
        let input = Input { shape: [h, w, 3], nhwc: false, bytes: false, scale, shift, tensor: None };
        let tensors = vec![Tensor::new([h, w, 3], false)];
        Self { network: Network { name: "random".into(), input, tensors, steps: Vec::new() }, random: Random::new(seed) }
    }

    fn step(&mut self, op: Op, input: TensorId, shape: [u32; 3], nonnegative: bool, relu: bool) -> TensorId {
        let (output, i) = (self.network.tensors.len(), self.network.steps.len());
        self.network.tensors.push(Tensor::new(shape, nonnegative));
        self.network.steps.push(Step { name: format!("step{i}"), value: format!("value{i}"), relu, op, input, output, block: None });
        output
    }

    fn sized(&self, window: &Window, input: TensorId, channels: u32) -> [u32; 3] {
        let [h, w, _] = self.network.tensors[input].shape;
        let [oh, ow] = window.output(h, w).expect("a window that fits");
        [oh, ow, channels]
    }

    /// Random weights `[out][ky][kx][in]` that keep the size of the values.
    pub fn weights(&mut self, window: &Window, input: TensorId, channels: u32) -> Vec<f64> {
        let depth = window.kernel[0] * window.kernel[1] * self.network.tensors[input].shape[2];
        let size = (6.0 / f64::from(depth)).sqrt();
        (0..depth * channels).map(|_| size * self.random.signed()).collect()
    }

    /// A convolution.
    pub fn conv(&mut self, input: TensorId, window: Window, channels: u32, relu: bool, second: Second) -> TensorId {
        let weights = self.weights(&window, input, channels);
        let bias = (0..channels).map(|_| 0.2 * self.random.signed()).collect();
        let shape = self.sized(&window, input, channels);
        self.step(Op::Conv(Conv { window, groups: 1, weights, steps: Vec::new(), bias, second }), input, shape, relu, relu)
    }

    /// A convolution in groups.
    pub fn grouped(&mut self, input: TensorId, window: Window, groups: u32, channels: u32, second: Second) -> TensorId {
        let own = self.network.tensors[input].shape[2] / groups;
        let depth = window.kernel[0] * window.kernel[1] * own;
        let size = (6.0 / f64::from(depth)).sqrt();
        let weights = (0..depth * channels).map(|_| size * self.random.signed()).collect();
        let bias = (0..channels).map(|_| 0.2 * self.random.signed()).collect();
        let shape = self.sized(&window, input, channels);
        self.step(Op::Conv(Conv { window, groups, weights, steps: Vec::new(), bias, second }), input, shape, true, true)
    }

    /// A factor and a shift for each channel, behind a ReLU if `relu`.
    pub fn affine(&mut self, input: TensorId, relu: bool) -> TensorId {
        let shape = self.network.tensors[input].shape;
        let mut values = |low: f64, range: f64| (0..shape[2]).map(|_| low + range * self.random.unit()).collect::<Vec<_>>();
        let (scale, shift) = (values(-0.5, 2.0), values(-0.3, 0.6));
        self.step(Op::Affine { scale, shift }, input, shape, relu, relu)
    }

    /// A function of every value.
    pub fn function(&mut self, input: TensorId, function: Function) -> TensorId {
        let shape = self.network.tensors[input].shape;
        let gate = matches!(function, Function::Sigmoid | Function::HardSigmoid { .. });
        let output = self.step(Op::Function(function), input, shape, gate, false);
        if gate {
            self.network.tensors[output].limit = 1.0;
        }
        output
    }

    /// Squeeze-and-excitation of `input`, with a skip behind it.
    pub fn excited(&mut self, input: TensorId, function: Function, skip: Option<TensorId>) -> TensorId {
        let shape = self.network.tensors[input].shape;
        let mean = self.mean(input);
        let narrow = self.conv(mean, point(1), 8, true, Second::None);
        let wide = self.conv(narrow, point(1), shape[2], false, Second::None);
        let gate = self.function(wide, function);
        let nonnegative = skip.is_some() || self.network.tensors[input].nonnegative;
        self.step(Op::Gate { gate, skip }, input, shape, nonnegative, skip.is_some())
    }

    /// Tensors side by side.
    pub fn concat(&mut self, parts: &[TensorId]) -> TensorId {
        let [h, w, _] = self.network.tensors[parts[0]].shape;
        let channels = parts.iter().map(|&t| self.network.tensors[t].shape[2]).sum();
        let nonnegative = parts.iter().all(|&t| self.network.tensors[t].nonnegative);
        self.step(Op::Concat(parts[1..].to_vec()), parts[0], [h, w, channels], nonnegative, false)
    }

    /// Some channels of a tensor.
    pub fn slice(&mut self, input: TensorId, first: u32, channels: u32) -> TensorId {
        let Tensor { shape: [h, w, _], nonnegative, .. } = self.network.tensors[input];
        self.step(Op::Slice(first), input, [h, w, channels], nonnegative, false)
    }

    /// An identity skip.
    pub fn skip(tensor: TensorId) -> Second {
        Second::Skip { tensor, stride: [1, 1], front: 0 }
    }

    /// A projection with random weights.
    pub fn projection(&mut self, tensor: TensorId, stride: u32, channels: u32) -> Second {
        let window = point(stride);
        Second::Projection { tensor, window, weights: self.weights(&window, tensor, channels) }
    }

    /// A max pool.
    pub fn max_pool(&mut self, input: TensorId, window: Window) -> TensorId {
        let Tensor { shape, nonnegative, .. } = self.network.tensors[input];
        let shape = self.sized(&window, input, shape[2]);
        self.step(Op::MaxPool(window), input, shape, nonnegative, false)
    }

    /// A border that mirrors.
    pub fn mirror(&mut self, input: TensorId, pads: [u32; 4]) -> TensorId {
        let Tensor { shape: [h, w, c], nonnegative, .. } = self.network.tensors[input];
        self.step(Op::Mirror(pads), input, [h + pads[0] + pads[2], w + pads[1] + pads[3], c], nonnegative, false)
    }

    /// An average pool.
    pub fn average_pool(&mut self, input: TensorId, window: Window, include_pad: bool) -> TensorId {
        let Tensor { shape, nonnegative, .. } = self.network.tensors[input];
        let shape = self.sized(&window, input, shape[2]);
        self.step(Op::AveragePool { window, include_pad }, input, shape, nonnegative, false)
    }

    /// A global mean.
    pub fn mean(&mut self, input: TensorId) -> TensorId {
        let [h, w, _] = self.network.tensors[input].shape;
        self.average_pool(input, Window { kernel: [h, w], stride: [1, 1], dilation: [1, 1], pads: [0; 4] }, false)
    }

    /// A sum.
    pub fn add(&mut self, x: TensorId, y: TensorId, relu: bool) -> TensorId {
        let shape = self.network.tensors[x].shape;
        self.step(Op::Add(y), x, shape, relu, relu)
    }

    /// The scores.
    pub fn dense(&mut self, input: TensorId, classes: u32) -> TensorId {
        self.conv(input, point(1), classes, false, Second::None)
    }

    /// A global mean and scores behind `input`.
    pub fn finish(mut self, input: TensorId, classes: u32) -> Network {
        let mean = self.mean(input);
        self.dense(mean, classes);
        self.network
    }
}

/// A tensor of floats, `[h][w][c]`.
type Values = Vec<f64>;

fn at(values: &[f64], [h, w, c]: [u32; 3], y: i64, x: i64, channel: u32) -> Option<f64> {
    let inside = (0..i64::from(h)).contains(&y) && (0..i64::from(w)).contains(&x);
    inside.then(|| values[usize::try_from((y * i64::from(w) + x) * i64::from(c) + i64::from(channel)).unwrap()])
}

/// The pixels of a window that lie inside, with their tap.
fn taps(window: &Window, shape: [u32; 3], oy: u32, ox: u32) -> Vec<(usize, i64, i64)> {
    let mut found = Vec::new();
    for ky in 0..window.kernel[0] {
        for kx in 0..window.kernel[1] {
            let y = i64::from(oy * window.stride[0] + ky * window.dilation[0]) - i64::from(window.pads[0]);
            let x = i64::from(ox * window.stride[1] + kx * window.dilation[1]) - i64::from(window.pads[1]);
            if (0..i64::from(shape[0])).contains(&y) && (0..i64::from(shape[1])).contains(&x) {
                found.push(((ky * window.kernel[1] + kx) as usize, y, x));
            }
        }
    }
    found
}

fn convolve(x: &[f64], shape: [u32; 3], window: &Window, groups: u32, weights: &[f64], [oh, ow, oc]: [u32; 3]) -> Values {
    let (c, kernel) = ((shape[2] / groups) as usize, (window.kernel[0] * window.kernel[1]) as usize);
    let mut out = Vec::new();
    for oy in 0..oh {
        for ox in 0..ow {
            let taps = taps(window, shape, oy, ox);
            for o in 0..oc as usize {
                let (mut sum, first) = (0.0, o / (oc / groups) as usize * c);
                for &(tap, y, px) in &taps {
                    for i in 0..c {
                        sum += weights[(o * kernel + tap) * c + i] * at(x, shape, y, px, u32::try_from(first + i).unwrap()).unwrap();
                    }
                }
                out.push(sum);
            }
        }
    }
    out
}

fn pool(x: &[f64], shape: [u32; 3], window: &Window, [oh, ow, oc]: [u32; 3], combine: impl Fn(&[f64]) -> f64) -> Values {
    let mut out = Vec::new();
    for oy in 0..oh {
        for ox in 0..ow {
            for o in 0..oc {
                let seen: Vec<f64> = taps(window, shape, oy, ox).iter().map(|&(_, y, px)| at(x, shape, y, px, o).unwrap()).collect();
                out.push(combine(&seen));
            }
        }
    }
    out
}

/// The value of every step before its ReLU, for a picture of bytes.
pub fn evaluate(network: &Network, picture: &[u8]) -> Vec<Values> {
    evaluate_all(network, picture).1
}

/// Every tensor, for a picture of bytes: tensor 0 is the picture after scale and shift.
pub fn tensors(network: &Network, picture: &[u8]) -> Vec<Values> {
    evaluate_all(network, picture).0
}

fn evaluate_all(network: &Network, picture: &[u8]) -> (Vec<Values>, Vec<Values>) {
    assert_eq!(picture.len(), network.input.shape.iter().map(|&n| n as usize).product::<usize>());
    let c = network.input.scale.len();
    let value = |b: u8| if network.input.tensor.is_some() { f64::from(b.cast_signed()) } else { f64::from(b) };
    let input = picture.iter().enumerate().map(|(i, &b)| value(b) * network.input.scale[i % c] + network.input.shift[i % c]).collect();
    let mut tensors: Vec<Values> = vec![Vec::new(); network.tensors.len()];
    tensors[0] = input;
    let mut values = Vec::new();
    for step in &network.steps {
        let (x, shape, out) = (&tensors[step.input], network.tensors[step.input].shape, network.tensors[step.output].shape);
        let count = |n: usize| f64::from(u32::try_from(n).unwrap());
        let mut value = match &step.op {
            Op::Conv(conv) => convolve(x, shape, &conv.window, conv.groups, &conv.weights, out),
            Op::MaxPool(window) => pool(x, shape, window, out, |v| v.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b))),
            Op::AveragePool { window, include_pad } => {
                let all = (window.kernel[0] * window.kernel[1]) as usize;
                pool(x, shape, window, out, |v| v.iter().sum::<f64>() / count(if *include_pad { all } else { v.len() }))
            }
            Op::Mirror([top, left, bottom, right]) => {
                let [rows, columns] = [(top, shape[0], bottom), (left, shape[1], right)]
                    .map(|(before, n, after)| (1..=*before).rev().chain(0..n).chain((n - 1 - after..n - 1).rev()).map(i64::from).collect::<Vec<_>>());
                let pixel = |y: i64, px: i64| (0..shape[2]).map(move |c| at(x, shape, y, px, c).unwrap());
                rows.iter().flat_map(|&y| columns.iter().flat_map(move |&px| pixel(y, px))).collect()
            }
            Op::Add(other) => x.iter().zip(&tensors[*other]).map(|(a, b)| a + b).collect(),
            Op::Affine { scale, shift } => x.iter().enumerate().map(|(i, v)| v * scale[i % scale.len()] + shift[i % shift.len()]).collect(),
            Op::Gate { gate, skip } => {
                let gate = &tensors[*gate];
                let added = |i: usize| skip.map_or(0.0, |t| tensors[t][i]);
                x.iter().enumerate().map(|(i, v)| v * gate[i % gate.len()] + added(i)).collect()
            }
            Op::Function(function) => x.iter().map(|&v| function.at(v)).collect(),
            Op::Concat(_) => {
                let parts: Vec<_> = step.reads().map(|t| tensors[t].chunks_exact(network.tensors[t].shape[2] as usize)).collect();
                let pixel = |i: usize| parts.iter().flat_map(move |p| p.clone().nth(i).unwrap().iter().copied());
                (0..(out[0] * out[1]) as usize).flat_map(pixel).collect()
            }
            Op::Slice(first) => x.chunks_exact(shape[2] as usize).flat_map(|p| p[*first as usize..][..out[2] as usize].iter().copied()).collect(),
        };
        if let Op::Conv(conv) = &step.op {
            let second = match &conv.second {
                Second::None => vec![0.0; value.len()],
                Second::Skip { tensor, stride, front } => {
                    let (other, from) = (&tensors[*tensor], network.tensors[*tensor].shape);
                    let source = |i: usize| {
                        let i = u32::try_from(i).unwrap();
                        let (o, px, y) = (i % out[2], i / out[2] % out[1], i / out[2] / out[1]);
                        let channel = o.checked_sub(*front).filter(|&c| c < from[2]);
                        channel.map_or(0.0, |c| at(other, from, i64::from(y * stride[0]), i64::from(px * stride[1]), c).unwrap())
                    };
                    (0..value.len()).map(source).collect()
                }
                Second::Projection { tensor, window, weights } => convolve(&tensors[*tensor], network.tensors[*tensor].shape, window, 1, weights, out),
            };
            let oc = conv.bias.len();
            value.iter_mut().enumerate().for_each(|(i, v)| *v += conv.bias[i % oc] + second[i]);
        }
        assert_eq!(value.len(), out.iter().map(|&n| n as usize).product::<usize>(), "{}", step.name);
        let limit = network.tensors[step.output].limit;
        tensors[step.output] = if step.relu { value.iter().map(|v| v.max(0.0).min(limit)).collect() } else { value.clone() };
        values.push(value);
    }
    (tensors, values)
}

/// As the converter wants it.
pub fn run(network: &Network) -> impl Fn(usize, &[u8]) -> Result<Vec<Vec<f32>>, ConvertError> + Sync + '_ {
    #[expect(clippy::cast_possible_truncation, reason = "f32 is what tract gives")]
    move |_, picture| Ok(evaluate(network, picture).into_iter().map(|v| v.into_iter().map(|x| x as f32).collect()).collect())
}

/// Random smooth pictures.
pub struct Noise(pub Vec<Vec<u8>>);

impl Noise {
    /// `n` pictures for the input of `network`.
    pub fn new(network: &Network, n: usize, seed: u64) -> Self {
        let [h, w, c] = network.input.shape;
        let mut random = Random::new(seed);
        let mut picture = |_| {
            let slopes: Vec<[f64; 3]> = (0..c).map(|_| [random.unit() * 200.0, random.signed() * 12.0, random.signed() * 12.0]).collect();
            let mut bytes = Vec::new();
            for y in 0..h {
                for x in 0..w {
                    for s in &slopes {
                        let v = s[0] + s[1] * f64::from(y) + s[2] * f64::from(x) + 40.0 * random.unit();
                        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
                        bytes.push(v.clamp(0.0, 255.0) as u8);
                    }
                }
            }
            bytes
        };
        Self((0..n).map(&mut picture).collect())
    }
}

impl Pictures for Noise {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn load(&self, i: usize, _: &Input) -> Result<Vec<u8>, ConvertError> {
        Ok(self.0[i].clone())
    }
}
