//! The float network, run by loops of our own: for files that are quantized already, every value of which is rounded and clamped as ONNX says.

use super::ConvertError;
use super::graph::{Function, Quantization};
use super::import::{Arithmetic, Graph, Op, Operation};
use crate::ops::mirror::mirrored;
use crate::shape::Window;
use std::collections::HashMap;
use std::string::String;
use std::vec::Vec;

mod matrix;
mod strides;

use matrix::convolve;
use strides::{offsets, strides};

/// A network of floats that computes some of its values. Several threads may run it at once.
#[derive(Clone, Debug)]
pub struct Evaluator {
    steps: Vec<Step>,
    /// Elements of the input.
    input: usize,
    /// Number of values, the input being the first.
    values: usize,
    /// The wanted values.
    wanted: Vec<usize>,
    /// Dimensions of all values.
    dims: Vec<Vec<usize>>,
}

/// One operation over numbered values.
#[derive(Clone, Debug)]
struct Step {
    kind: Kind,
    reads: Vec<usize>,
    output: usize,
    /// The values that nobody reads afterwards.
    gone: Vec<usize>,
}

#[derive(Clone, Debug)]
enum Kind {
    /// Groups of filters over `[channels][height][width]`.
    Conv {
        window: Window,
        groups: usize,
        weights: Vec<f32>,
        bias: Vec<f32>,
    },
    /// Factor and term of every element.
    Affine {
        factor: Vec<f32>,
        term: Vec<f32>,
    },
    /// A function of every element.
    Each(Each),
    Add,
    Product([Vec<usize>; 2]),
    Concat,
    /// Elements at these places.
    Pick(Vec<usize>),
    /// Elements to these places among a value.
    Put(Vec<usize>, f32),
    Pool {
        window: Window,
        mean: Option<bool>,
    },
    /// Each element is added to one of these, and the sums divided.
    Mean(Vec<usize>, f32),
}

#[derive(Clone, Copy, Debug)]
enum Each {
    Same,
    Relu,
    Function(Function),
    Quantize(Quantization),
}

impl Evaluator {
    /// Prepares the network of a graph.
    ///
    /// # Errors
    /// If a wanted value is not computed, or an operation has operands that it cannot have.
    pub fn new(graph: &Graph, values: &[String]) -> Result<Self, ConvertError> {
        let mut numbers: HashMap<&str, usize> = HashMap::from([(graph.input.as_str(), 0)]);
        let lost = |name: &str| ConvertError::Float { what: std::format!("no node computes value `{name}`") };
        let of = |name: &str| graph.dims.get(name).cloned().ok_or_else(|| lost(name));
        let mut dims = std::vec![of(&graph.input)?];
        let mut steps: Vec<Step> = Vec::with_capacity(graph.operations.len());
        for operation in &graph.operations {
            let reads = operation.reads.iter().map(|r| numbers.get(r.as_str()).copied().ok_or_else(|| lost(r))).collect::<Result<Vec<_>, _>>()?;
            let output = dims.len();
            dims.push(of(&operation.output)?);
            numbers.insert(&operation.output, output);
            let kind = kind(graph, operation, &reads.iter().map(|&r| &dims[r][..]).collect::<Vec<_>>(), &dims[output])?;
            steps.push(Step { kind, reads, output, gone: Vec::new() });
        }
        let wanted = values.iter().map(|v| numbers.get(v.as_str()).copied().ok_or_else(|| lost(v))).collect::<Result<Vec<_>, _>>()?;
        let mut seen = std::vec![false; dims.len()];
        wanted.iter().for_each(|&v| seen[v] = true);
        for step in steps.iter_mut().rev() {
            for &read in &step.reads {
                if !core::mem::replace(&mut seen[read], true) {
                    step.gone.push(read);
                }
            }
        }
        Ok(Self { steps, input: dims[0].iter().product(), values: dims.len(), wanted, dims })
    }

    /// Computes the wanted values for one input, each in the order `[h][w][c]`.
    ///
    /// # Errors
    /// If the input has another size.
    pub fn run(&self, x: &[f32]) -> Result<Vec<Vec<f32>>, ConvertError> {
        if x.len() != self.input {
            return Err(ConvertError::Float { what: std::format!("an input of {} values instead of {}", x.len(), self.input) });
        }
        let mut values: Vec<Vec<f32>> = std::vec![Vec::new(); self.values];
        values[0] = x.to_vec();
        for step in &self.steps {
            values[step.output] = step.run(&values, &self.dims);
            step.gone.iter().for_each(|&v| values[v] = Vec::new());
        }
        Ok(self.wanted.iter().map(|&v| pixel_by_pixel(&values[v], &self.dims[v])).collect())
    }
}

/// A value `[1][c][h][w]` or `[1][c][w]` as `[h][w][c]`; any other as it is.
fn pixel_by_pixel(value: &[f32], dims: &[usize]) -> Vec<f32> {
    let pixels: usize = if matches!(dims, [1, _, _, _] | [1, _, _]) { dims[2..].iter().product() } else { 1 };
    (0..pixels).flat_map(|p| value[p..].iter().step_by(pixels).copied()).collect()
}

/// What an operation computes, with its constants.
fn kind(graph: &Graph, operation: &Operation, reads: &[&[usize]], out: &[usize]) -> Result<Kind, ConvertError> {
    let constant = |name: &str| {
        let tensor = graph.constants.get(name).and_then(|t| Some((t.as_floats()?, &t.dims[..])));
        tensor.ok_or_else(|| operation.node.wrong(std::format!("`{name}` is no constant of floats")))
    };
    let repeated = |values: &[f32], dims: &[usize]| -> Vec<f32> { offsets(out, &strides(dims, out.len()), 0).into_iter().map(|i| values[i]).collect() };
    let from = reads.first().copied().unwrap_or_default();
    Ok(match &operation.op {
        Op::Conv { window, groups, weights, bias } => {
            let (weights, dims) = constant(weights)?;
            let bias = bias.as_ref().map_or_else(|| Ok(std::vec![0.0; dims[0]]), |name| constant(name).map(|(b, _)| b.to_vec()))?;
            Kind::Conv { window: *window, groups: *groups, weights: weights.to_vec(), bias }
        }
        Op::Dense { weights, transposed, alpha, bias } => {
            let (weights, dims) = constant(weights)?;
            let &[first, second] = dims else { return Err(operation.node.wrong("its weights are no matrix")) };
            let (inner, outputs) = if *transposed { (second, first) } else { (first, second) };
            let at = |o: usize, i: usize| if *transposed { o * inner + i } else { i * outputs + o };
            let weights = (0..outputs).flat_map(|o| (0..inner).map(move |i| (o, i))).map(|(o, i)| narrow(f64::from(weights[at(o, i)]) * alpha)).collect();
            let bias = match bias {
                None => std::vec![0.0; outputs],
                Some((name, beta)) => {
                    let (values, _) = constant(name)?;
                    (0..outputs).map(|o| narrow(f64::from(values[o.min(values.len() - 1)]) * beta)).collect()
                }
            };
            Kind::Conv { window: Window::point([1, 1]), groups: 1, weights, bias }
        }
        Op::BatchNorm { parameters, epsilon } => {
            let [scale, shift, mean, variance] = parameters.each_ref().map(|name| constant(name).map(|(v, _)| v));
            let (scale, shift, mean, variance) = (scale?, shift?, mean?, variance?);
            let factor: Vec<f64> = scale.iter().zip(variance).map(|(s, v)| f64::from(*s) / (f64::from(*v) + epsilon).sqrt()).collect();
            let term: Vec<f32> = shift.iter().zip(mean).zip(&factor).map(|((t, m), f)| narrow(f64::from(*t) - f64::from(*m) * f)).collect();
            let factor: Vec<f32> = factor.into_iter().map(narrow).collect();
            let mut along = std::vec![1; out.len()];
            along[1] = factor.len();
            Kind::Affine { factor: repeated(&factor, &along), term: repeated(&term, &along) }
        }
        Op::Affine { kind, constant: name, left } => {
            let (values, dims) = constant(name)?;
            let k = repeated(values, dims);
            let (ones, zeros) = (|| std::vec![1.0; k.len()], || std::vec![0.0; k.len()]);
            let (factor, term) = match (kind, left) {
                (Arithmetic::Add, _) => (ones(), k),
                (Arithmetic::Sub, false) => (ones(), k.iter().map(|v| -v).collect()),
                (Arithmetic::Sub, true) => (std::vec![-1.0; k.len()], k),
                (Arithmetic::Mul, _) => (k.clone(), zeros()),
                (Arithmetic::Div, _) => (k.iter().map(|v| 1.0 / v).collect(), zeros()),
            };
            Kind::Affine { factor, term }
        }
        Op::Cast | Op::Reshape => Kind::Each(Each::Same),
        Op::Relu => Kind::Each(Each::Relu),
        Op::Function(function) => Kind::Each(Each::Function(*function)),
        Op::Quantize(quantization) => Kind::Each(Each::Quantize(*quantization)),
        Op::Add => Kind::Add,
        Op::Product => Kind::Product([0, 1].map(|i| offsets(out, &strides(reads[i], out.len()), 0))),
        Op::Concat => Kind::Concat,
        Op::Expand => Kind::Pick(offsets(out, &strides(from, out.len()), 0)),
        Op::MaxPool(window) => Kind::Pool { window: *window, mean: None },
        Op::AveragePool { window, include_pad } => Kind::Pool { window: *window, mean: Some(*include_pad) },
        Op::Mean(axes) => {
            let kept: Vec<usize> = from.iter().enumerate().map(|(a, &d)| if axes.contains(&a) { 1 } else { d }).collect();
            let count: usize = axes.iter().map(|&a| from[a]).product();
            Kind::Mean(offsets(from, &strides(&kept, from.len()), 0), narrow(real(count)))
        }
        Op::Transpose(axes) => {
            let own = strides(from, from.len());
            Kind::Pick(offsets(out, &axes.iter().map(|&a| own[a]).collect::<Vec<_>>(), 0))
        }
        Op::Slice { start, step } => {
            let own = strides(from, from.len());
            let first = start.iter().zip(&own).map(|(s, o)| s * o).sum();
            Kind::Pick(offsets(out, &own.iter().zip(step).map(|(o, s)| o * s).collect::<Vec<_>>(), first))
        }
        Op::Pad { before, value, .. } => {
            let own = strides(out, out.len());
            let first = before.iter().zip(&own).map(|(b, o)| b * o).sum();
            Kind::Put(offsets(from, &own, first), *value)
        }
        Op::Mirror([top, left, ..]) => {
            let ([c, h, w], [_, oh, ow]) = (picture(from), picture(out));
            let row = |y: usize| (0..ow).map(move |x| y * w + mirrored(x, *left as usize, w));
            let plane = |plane: usize| (0..oh).flat_map(move |y| row(plane * h + mirrored(y, *top as usize, h)));
            Kind::Pick((0..c).flat_map(plane).collect())
        }
    })
}

impl Step {
    fn run(&self, values: &[Vec<f32>], dims: &[Vec<usize>]) -> Vec<f32> {
        let read = |i: usize| &values[self.reads[i]][..];
        let x = read(0);
        let size: usize = dims[self.output].iter().product();
        match &self.kind {
            Kind::Conv { window, groups, weights, bias } => {
                let picture =
                    if *window == Window::point([1, 1]) && weights.len() == x.len() * bias.len() { [x.len(), 1, 1] } else { picture(&dims[self.reads[0]]) };
                convolve(x, picture, window, *groups, weights, bias)
            }
            Kind::Affine { factor, term } => x.iter().zip(factor).zip(term).map(|((v, f), t)| v * f + t).collect(),
            Kind::Each(Each::Same) => x.to_vec(),
            Kind::Each(Each::Relu) => x.iter().map(|v| v.max(0.0)).collect(),
            Kind::Each(Each::Function(function)) => x.iter().map(|&v| narrow(function.at(f64::from(v)))).collect(),
            Kind::Each(Each::Quantize(quantization)) => x.iter().map(|&v| quantization.at(v)).collect(),
            Kind::Add => x.iter().zip(read(1)).map(|(a, b)| a + b).collect(),
            Kind::Product([left, right]) => left.iter().zip(right).map(|(&a, &b)| x[a] * read(1)[b]).collect(),
            Kind::Concat => (0..self.reads.len()).flat_map(|i| read(i).iter().copied()).collect(),
            Kind::Pick(places) => places.iter().map(|&i| x[i]).collect(),
            Kind::Put(places, value) => {
                let mut out = std::vec![*value; size];
                places.iter().zip(x).for_each(|(&i, v)| out[i] = *v);
                out
            }
            Kind::Pool { window, mean } => pool(x, picture(&dims[self.reads[0]]), window, *mean),
            Kind::Mean(places, count) => {
                let mut sums = std::vec![0.0f64; size];
                places.iter().zip(x).for_each(|(&i, v)| sums[i] += f64::from(*v));
                sums.iter().map(|s| narrow(s / f64::from(*count))).collect()
            }
        }
    }
}

/// Channels, height and width of a value `[1][c][h][w]` or `[1][c][w]`.
fn picture(dims: &[usize]) -> [usize; 3] {
    match *dims {
        [_, c, h, w] => [c, h, w],
        [_, c, w] => [c, 1, w],
        _ => [dims.iter().product(), 1, 1],
    }
}

/// Maxima or means over windows; `mean` says whether the border counts.
fn pool(x: &[f32], [c, h, w]: [usize; 3], window: &Window, mean: Option<bool>) -> Vec<f32> {
    let size = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let [oh, ow] = window.output(size(h), size(w)).unwrap_or_default();
    let mut out = Vec::with_capacity(c * (oh * ow) as usize);
    let inside = |o: u32, k: u32, axis: usize, size: usize| {
        let at = (o * window.stride[axis] + k * window.dilation[axis]).checked_sub(window.pads[axis])?;
        Some(at as usize).filter(|&at| at < size)
    };
    for plane in x.chunks_exact(h * w) {
        for oy in 0..oh {
            for ox in 0..ow {
                let (mut sum, mut largest, mut count) = (0.0f64, f32::NEG_INFINITY, 0);
                for y in (0..window.kernel[0]).filter_map(|k| inside(oy, k, 0, h)) {
                    for column in (0..window.kernel[1]).filter_map(|k| inside(ox, k, 1, w)) {
                        let v = plane[y * w + column];
                        (sum, largest, count) = (sum + f64::from(v), largest.max(v), count + 1);
                    }
                }
                if mean == Some(true) {
                    count = window.kernel[0] * window.kernel[1];
                }
                out.push(if mean.is_some() { narrow(sum / f64::from(count)) } else { largest });
            }
        }
    }
    out
}

fn real(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

#[expect(clippy::cast_possible_truncation, reason = "the float network works in f32")]
const fn narrow(v: f64) -> f32 {
    v as f32
}
