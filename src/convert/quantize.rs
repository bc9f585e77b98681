//! From the float network to integers: scales of all tensors from the statistics, then one step after the other, each with the integers that the device will see.

use super::align::is_depthwise;
use super::calibrate::{Statistics, TensorStatistics};
use super::exact::{Kept, unit_of_sum};
use super::graph::{self, Network, TensorId};
use super::parallel::in_order;
use super::place::place;
use super::quantized::{Op, Quantized, Step, Sum, Tensor, params};
use super::round::integer;
use super::scales::{Found, scales};
use super::stream::{WIDE_FACTOR, Wide, wide};
use super::{ConvertError, layer, sums};
use crate::format::proof::FACTOR_LIMIT;
use crate::kernels::Kernels;
use crate::quant::{DataType, MULTIPLIER_LIMIT};
use crate::shape::{View, Window};
use std::borrow::Cow;
use std::string::{String, ToString};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use std::vec::Vec;

pub use super::choices::{Options, Stream};

/// Live tensors of the walk take at most this many bytes.
const LIVE_LIMIT: usize = 512 << 20;
/// 2^31.
pub(super) const ONE: f64 = 2_147_483_648.0;
/// A little room between a unit and the smallest scale whose multiplier fits.
pub(super) const ROOM: f64 = 2.0 * (1.0 + 1e-6);

/// The positive levels of a type.
pub(super) const fn levels(kind: DataType) -> f64 {
    if matches!(kind, DataType::U8) { 255.0 } else { 127.0 }
}

/// The pictures that the quantizer walks with: all, or so many, evenly spaced, that their live tensors fit into memory.
#[must_use]
pub fn walked(network: &Network, pictures: usize) -> Vec<usize> {
    let bytes = |t: TensorId| network.tensors[t].shape.iter().map(|&v| v as usize).product::<usize>().max(1);
    let last = last_reads(network);
    let (mut peak, mut live) = (1, bytes(0));
    for (i, step) in network.steps.iter().enumerate() {
        live += bytes(step.output);
        peak = peak.max(live);
        live -= dead_after(step, i, &last).map(bytes).sum::<usize>();
    }
    let n = pictures.min((LIVE_LIMIT / peak).max(1));
    (0..n).map(|i| i * pictures / n).collect()
}

/// For each tensor the last step that reads it; nothing where none does.
fn last_reads(network: &Network) -> Vec<Option<usize>> {
    let mut last = std::vec![None; network.tensors.len()];
    for (i, step) in network.steps.iter().enumerate() {
        step.reads().for_each(|t| last[t] = Some(i));
    }
    last
}

/// The tensors that nobody needs when step `i` is done, each once.
fn dead_after(step: &graph::Step, i: usize, last: &[Option<usize>]) -> impl Iterator<Item = TensorId> {
    let mut dead: Vec<TensorId> = step.reads().filter(|&t| last[t] == Some(i)).collect();
    dead.extend(last[step.output].is_none().then_some(step.output));
    dead.sort_unstable();
    dead.dedup();
    dead.into_iter()
}

/// What a step reads.
pub(super) type Operands = (TensorId, Option<TensorId>, Option<TensorId>);

/// Seconds that parts of the work took.
#[derive(Debug, Default)]
pub struct Spent {
    /// Ranges and scales.
    pub scales: Seconds,
    /// Moments of the layers' inputs.
    pub moments: Seconds,
    /// Rounding of weights.
    pub rounding: Seconds,
}

/// A sum of times.
#[derive(Debug, Default)]
pub struct Seconds(Mutex<f64>);

impl Seconds {
    /// The sum.
    #[must_use]
    pub fn get(&self) -> f64 {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the time that `work` takes.
    pub(super) fn of<T>(&self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += start.elapsed().as_secs_f64();
        result
    }
}

/// The walk over the steps.
pub(super) struct Walk<'a> {
    pub network: &'a Network,
    pub statistics: &'a Statistics,
    /// True if there are no pictures: what they would say is taken from the statistics.
    pub blind: bool,
    pub options: Options,
    pub spent: &'a Spent,
    pub kernels: Kernels,
    pub made: Quantized,
    /// Scales of the channels of each tensor of the network as the statistics want them.
    pub scales: Vec<Vec<f64>>,
    /// Bytes of the live tensors of `made`, picture by picture.
    pub data: Vec<Vec<Vec<u8>>>,
    /// Which tensor of `made` stands for a tensor of the network.
    pub stands_for: Vec<TensorId>,
    /// Whether all channels of a tensor must have one scale.
    pub uniform: Vec<bool>,
    /// The byte above 0 that stands for 0 in a tensor with signs that is made in bytes without.
    pub zeros: Vec<Option<i32>>,
    /// The tensors of the network that are made in 16 bits.
    pub widened: Vec<Option<Wide>>,
    /// The tensor of `made` that stands for a tensor of the network in 16 bits.
    pub wide: Vec<Option<TensorId>>,
    /// What became of the integers of the ONNX file.
    pub foreign: Kept,
    /// Tensors whose ranges nobody has measured.
    pub estimated: usize,
}

/// Quantizes. `pictures` are the inputs of the walked pictures, `statistics` those of [`super::calibrate`]. Without pictures
/// [`Options::left_out`] says what is not done.
///
/// # Errors
/// If a step cannot be expressed in the arithmetic of the device.
pub fn quantize(
    network: &Network,
    statistics: &Statistics,
    pictures: Vec<Vec<u8>>,
    options: Options,
    progress: &dyn Fn(usize),
) -> Result<Quantized, ConvertError> {
    timed(network, statistics, scales(network, statistics, options), pictures, options, &Spent::default(), progress)
}

/// [`quantize`] with scales that are found already, and with the time that parts of it took.
///
/// # Errors
/// As [`quantize`].
pub(super) fn timed(
    network: &Network,
    statistics: &Statistics,
    Found { scales, uniform, zeros }: Found,
    pictures: Vec<Vec<u8>>,
    options: Options,
    spent: &Spent,
    progress: &dyn Fn(usize),
) -> Result<Quantized, ConvertError> {
    let blind = pictures.is_empty();
    let options = options.with(pictures.len());
    let of_picture = network.input.scale.iter().map(|s| s.abs()).collect();
    let picture =
        Tensor { name: "input".into(), shape: network.input.shape, kind: network.input.kind(), scales: of_picture, zero: 0, picture: true, part: None };
    let made = Quantized { tensors: std::vec![picture], ..Quantized::default() };
    let stands_for = std::vec![0; network.tensors.len()];
    let foreign = Kept::default();
    let widened = if options.stream == Stream::Wide { wide(network, statistics, &scales, &zeros) } else { std::vec![None; network.tensors.len()] };
    let wide = std::vec![None; network.tensors.len()];
    let kernels = Kernels::detect();
    let mut walk = Walk {
        network,
        statistics,
        blind,
        options,
        spent,
        kernels,
        made,
        scales,
        data: std::vec![pictures],
        stands_for,
        uniform,
        zeros,
        widened,
        wide,
        foreign,
        estimated: 0,
    };
    let last = last_reads(network);
    for (i, step) in network.steps.iter().enumerate() {
        let before = walk.made.tensors.len();
        let means = statistics.walked.get(i).unwrap_or(&statistics.means[i]);
        walk.step(i, step, means)?;
        for tensor in before..walk.made.tensors.len() {
            if !walk.stands_for.contains(&tensor) && !walk.wide.contains(&Some(tensor)) {
                walk.data[tensor] = Vec::new();
            }
        }
        for tensor in dead_after(step, i, &last).filter(|_| i + 1 < network.steps.len()) {
            walk.data[walk.stands_for[tensor]] = Vec::new();
            walk.wide[tensor].into_iter().for_each(|wide| walk.data[wide] = Vec::new());
        }
        progress(i + 1);
    }
    walk.made.sqnr_db = walk.sqnr_db();
    walk.foreign.note(network, &mut walk.made.notes);
    let depthwise = || network.steps.iter().filter(|step| matches!(&step.op, graph::Op::Conv(conv) if is_depthwise(conv)));
    if let Some(first) = depthwise().next() {
        let note = "is computed with zeros beside every weight, in groups of 4 channels at best: right, but slow for what it does";
        walk.made.notes.push(std::format!("depthwise convolution ({} of them, the first is `{}`) {note}", depthwise().count(), first.name));
    }
    if walk.estimated > 0 {
        let note = std::format!("left out, for it needs pictures: measuring {} tensors between steps; their ranges follow from what is read", walk.estimated);
        walk.made.notes.push(note);
    }
    Ok(place(walk.made))
}

impl Walk<'_> {
    /// The tensor of `made` that stands for a tensor of the network.
    pub fn tensor(&self, t: TensorId) -> &Tensor {
        &self.made.tensors[self.stands_for[t]]
    }

    /// Where a tensor of `made` lies in the bytes of `data`.
    pub fn view(&self, t: TensorId) -> View {
        self.made.tensors[t].view(0)
    }

    pub fn views(&self) -> Vec<View> {
        (0..self.made.tensors.len()).map(|t| self.view(t)).collect()
    }

    /// Adds a tensor without bytes.
    pub fn add_tensor(&mut self, name: &str, shape: [u32; 3], kind: DataType, scales: Vec<f64>) -> TensorId {
        self.made.tensors.push(Tensor { name: name.to_string(), shape, kind, scales, zero: 0, picture: false, part: None });
        self.data.push(Vec::new());
        self.made.tensors.len() - 1
    }

    /// The byte that stands for 0 in a tensor of the network: 0 but where the ONNX file or a function says otherwise.
    pub fn zero(&self, t: TensorId) -> i32 {
        self.network.tensors[t].foreign.map_or(self.zeros[t].unwrap_or(0), |q| q.zero.into())
    }

    /// The tensor that a step makes, without bytes.
    pub fn output(&mut self, step: &graph::Step, kind: DataType, scales: Vec<f64>) -> TensorId {
        self.output_around(step, kind, scales, self.zero(step.output))
    }

    /// The same, the byte `zero` standing for 0.
    pub fn output_around(&mut self, step: &graph::Step, kind: DataType, scales: Vec<f64>, zero: i32) -> TensorId {
        let output = self.add_tensor(&step.value, self.network.tensors[step.output].shape, kind, scales);
        self.made.tensors[output].zero = zero;
        output
    }

    fn step(&mut self, index: usize, step: &graph::Step, means: &[f64]) -> Result<(), ConvertError> {
        self.bytes_of_wide(step)?;
        let tensor = &self.network.tensors[step.output];
        let last = index + 1 == self.network.steps.len();
        let kind = if last {
            DataType::I32
        } else if self.widened[step.output].is_some() {
            DataType::S16
        } else if tensor.foreign.is_some() || self.zeros[step.output].is_some() {
            DataType::U8
        } else {
            tensor.bytes()
        };
        let input = self.stands_for[step.input];
        if let Some((op, what, help)) = self.refused(step, last) {
            return Err(ConvertError::Unsupported { node: step.name.clone(), op: op.into(), what: what.into(), help });
        }
        match &step.op {
            graph::Op::Conv(conv) => layer::conv(self, step, conv, kind, means),
            graph::Op::MaxPool(window) => self.handed_on(step, Op::MaxPool(*window)),
            graph::Op::Mirror(pads) => self.handed_on(step, Op::Mirror(*pads)),
            graph::Op::AveragePool { window, include_pad } => {
                let Tensor { kind, mut scales, zero, .. } = self.made.tensors[input].clone();
                let ratio = self.scales[step.output][0] / self.scales[step.input][0];
                scales.iter_mut().for_each(|s| *s *= ratio);
                let output = self.output_around(step, kind, scales, self.zeros[step.output].unwrap_or(zero));
                let (multipliers, p) = averages(window, &self.view(input), &self.view(output), *include_pad, 1.0 / ratio);
                self.finish(step, Op::AveragePool { window: *window, include_pad: *include_pad, multipliers, p }, (input, None, None), output)
            }
            graph::Op::Add(other) => {
                let other = self.stands_for[*other];
                let output = self.output(step, kind, self.scales[step.output].clone());
                self.addition(step, input, other, output)
            }
            graph::Op::Affine { scale, shift } => self.affine(step, scale, shift, kind, means),
            graph::Op::Gate { gate, skip } => self.gate(step, *gate, *skip, kind),
            graph::Op::Function(function) => self.function(step, *function, kind),
            graph::Op::Concat(parts) => self.concat(step, parts, kind),
            graph::Op::Slice(first) => self.slice(step, *first),
        }
    }

    /// The operator, what the device cannot do with it, and what helps.
    fn refused(&self, step: &graph::Step, last: bool) -> Option<(&'static str, &'static str, &'static str)> {
        let signed = self.made.tensors[self.stands_for[step.input]].kind != DataType::U8;
        let pool = matches!(step.op, graph::Op::MaxPool(_) | graph::Op::AveragePool { .. });
        match &step.op {
            graph::Op::Conv(graph::Conv { second: graph::Second::Skip { tensor: 0, .. }, .. }) => {
                Some(("Add", "a shortcut from the picture", "begin the network with a convolution"))
            }
            graph::Op::Conv(_) if last && step.relu => Some(("Relu", "a ReLU behind the scores", "remove the ReLU at the end of the network")),
            graph::Op::Conv(_) => None,
            _ if last => Some(("output", "the network ends without a dense layer or convolution", "put a dense layer or a 1x1 convolution at the end")),
            _ if step.reads().any(|t| t == 0) => {
                Some(("input", "the picture is read by another operator than a convolution", "begin the network with a convolution"))
            }
            _ if pool && step.relu && signed => Some(("Relu", "a ReLU behind a pool of values with a sign", "put the ReLU in front of the pool")),
            _ => None,
        }
    }

    /// A step whose output has the integers of its input.
    fn handed_on(&mut self, step: &graph::Step, op: Op) -> Result<(), ConvertError> {
        let input = self.stands_for[step.input];
        let Tensor { kind, scales, zero, .. } = self.made.tensors[input].clone();
        let output = self.output_around(step, kind, scales, zero);
        self.finish(step, op, (input, None, None), output)
    }

    /// An addition as a step of its own: both factors in 15 bits.
    pub fn addition(&mut self, step: &graph::Step, x: TensorId, y: TensorId, output: TensorId) -> Result<(), ConvertError> {
        let scales = |t: TensorId| &self.made.tensors[t].scales;
        let limit = if [x, y].iter().any(|&t| self.made.tensors[t].kind == DataType::S16) { WIDE_FACTOR } else { FACTOR_LIMIT };
        let mut unit: Vec<f64> = scales(x).iter().zip(scales(y)).map(|(x, y)| x.max(*y) / f64::from(limit)).collect();
        // What stands for zero must fit into the bias.
        let shown = f64::from(self.made.tensors[output].zero.abs()) / layer::SHOWN_LIMIT;
        unit.iter_mut().zip(scales(output)).for_each(|(u, s)| *u = u.max(shown * s));
        if let Some(q) = self.network.tensors[step.output].foreign {
            let same = |t: TensorId| scales(t).iter().all(|s| *s == scales(t)[0]);
            if same(x) && same(y) {
                unit.fill(unit_of_sum([x, y, output].map(|t| scales(t)[0]), f64::from(q.zero)));
            }
        }
        let rounded = |v: f64| integer((v + 0.5).floor());
        let over = |t: TensorId| -> Vec<i32> { scales(t).iter().zip(&unit).map(|(s, u)| rounded(s / u)).collect() };
        let multiplier = |(s, u): (&f64, &f64)| rounded((ONE * u / s).min(f64::from(MULTIPLIER_LIMIT - 1)));
        let multipliers: Vec<i32> = scales(output).iter().zip(&unit).map(multiplier).collect();
        let zeros = std::vec![0; unit.len()];
        let (kx, ky) = (over(x), over(y));
        let [zx, zy, zero] = [x, y, output].map(|t| f64::from(self.made.tensors[t].zero));
        let bias = |c: usize| rounded(zero * scales(output)[c] / unit[c] - zx * f64::from(kx[c]) - zy * f64::from(ky[c]));
        let bias: Vec<i32> = (0..unit.len()).map(bias).collect();
        let rows = [&bias[..], &zeros, &multipliers, &ky, &kx];
        let params = params(&rows, self.view(output).stored_channels());
        self.finish(step, Op::Add(Sum { params, p: 0 }), (x, Some(y), None), output)
    }

    /// Signal over error of the scores in dB, over all pictures.
    fn sqnr_db(&self) -> Option<f64> {
        let scores = self.stands_for[self.network.steps.last()?.output];
        let scale = self.made.tensors[scores].scales[0];
        let (mut signal, mut noise) = (0.0, 0.0);
        for (float, bytes) in self.statistics.scores.iter().zip(&self.data[scores]) {
            for (float, word) in float.iter().zip(bytes.as_chunks::<4>().0) {
                signal += f64::from(*float).powi(2);
                noise += (f64::from(*float) - f64::from(i32::from_le_bytes(*word)) * scale).powi(2);
            }
        }
        (noise > 0.0).then(|| 10.0 * (signal / noise).log10())
    }

    /// Adds the step, runs it on all pictures, and keeps its output.
    pub fn finish(&mut self, step: &graph::Step, op: Op, (input, second, third): Operands, output: TensorId) -> Result<(), ConvertError> {
        let macs = macs(&op, &self.view(input), second.map(|t| self.view(t)), &self.view(output));
        let step_made = Step { name: step.name.clone(), op, input, second, third, output, block: step.block, macs, factors: None };
        self.data[output] = self.run(&step_made)?;
        self.made.steps.push(step_made);
        self.stands_for[step.output] = output;
        if self.made.tensors[output].kind == DataType::S16 {
            self.wide[step.output] = Some(output);
        }
        Ok(())
    }

    /// Runs a step on all pictures.
    pub fn run(&self, step: &Step) -> Result<Vec<Vec<u8>>, ConvertError> {
        let mut outputs = Vec::with_capacity(self.data[step.input].len());
        self.each(step, |bytes| outputs.push(bytes))?;
        Ok(outputs)
    }

    /// Runs a step on all pictures, without keeping what it makes.
    pub fn each(&self, step: &Step, mut sink: impl FnMut(Vec<u8>)) -> Result<(), ConvertError> {
        let views = self.views();
        let Some(operation) = step.operation(&views, 4) else {
            self.rearranged(step).into_iter().for_each(sink);
            return Ok(());
        };
        let work = |i: usize| {
            // The walk keeps the definition's bytes, whatever the kernel set stores.
            let stored = |t: TensorId| {
                let bytes = &self.data[t][i];
                if self.kernels.flip() == 0 {
                    return Cow::Borrowed(&bytes[..]);
                }
                let mut bytes = bytes.clone();
                self.kernels.flip_tensor(self.made.tensors[t].kind, &mut bytes);
                Cow::Owned(bytes)
            };
            let operands = [Some(step.input), step.second, step.third].map(|t| t.map_or(Cow::Borrowed(&[][..]), stored));
            let (mut out, mut scratch) = (std::vec![0; operation.output().bytes()], std::vec![0; operation.scratch()]);
            operation.run(self.kernels, operands.each_ref().map(|o| &**o), &mut out, 0..operation.units().count, &mut scratch);
            self.kernels.flip_tensor(operation.output().kind, &mut out);
            Ok(out)
        };
        in_order(self.data[step.input].len(), self.options.threads, work, |_, bytes| {
            sink(bytes);
            Ok(())
        })
    }

    /// The pictures of a step that computes nothing: parts side by side, or some of the channels.
    fn rearranged(&self, step: &Step) -> Vec<Vec<u8>> {
        let output = self.view(step.output);
        let mut outputs = std::vec![Vec::with_capacity(output.bytes()); self.data[step.input].len()];
        let parts: Vec<_> = step.reads().map(|t| (t, self.view(t).pixel)).collect();
        for (i, out) in outputs.iter_mut().enumerate() {
            for pixel in 0..output.pixels() {
                if let Op::Slice(first) = step.op {
                    out.extend(&self.data[step.input][i][pixel * parts[0].1 + first as usize..][..output.pixel]);
                } else {
                    parts.iter().for_each(|&(t, len)| out.extend(&self.data[t][i][pixel * len..][..len]));
                }
            }
        }
        outputs
    }
}

/// Multiply-accumulates of a convolution and its projection; pools and additions count none.
fn macs(op: &Op, input: &View, second: Option<View>, output: &View) -> u64 {
    let products = |window: &Window, view: &View| window.kernel.iter().map(|&k| u64::from(k)).product::<u64>() * u64::from(view.c);
    let Op::Conv(conv) = op else { return 0 };
    let mut depth = products(&conv.window, input);
    if let (super::quantized::Second::Projection { window, .. }, Some(view)) = (&conv.second, second) {
        depth += products(window, &view);
    }
    depth * output.pixels() as u64 * u64::from(output.c)
}

/// Mean of each channel over the pixels of some pictures.
pub(super) fn channel_means(pictures: &[Vec<u8>], view: &View) -> Vec<f64> {
    let n = sums::count(view.pixels() * pictures.len()).max(1.0);
    sums::skips(pictures, view, [1, 1], 0, [view.h, view.w], view.c as usize).iter().map(|t| t / n).collect()
}

/// M for every number of pixels that a window of an average pool can count, and p; `ratio` is the input's scale over the output's.
fn averages(window: &Window, input: &View, output: &View, include_pad: bool, ratio: f64) -> (Vec<[u8; 4]>, u32) {
    let taps = (window.kernel[0] * window.kernel[1]) as usize;
    let counts = |axis: usize, size: u32, out: u32| -> Vec<usize> {
        let inside = |o: u32, k: u32| (o * window.stride[axis] + k * window.dilation[axis]).checked_sub(window.pads[axis]).is_some_and(|i| i < size);
        (0..out).map(|o| (0..window.kernel[axis]).filter(|&k| inside(o, k)).count()).collect()
    };
    let mut occurs = std::vec![false; taps + 1];
    if include_pad {
        occurs[taps] = true;
    } else {
        let columns = counts(1, input.w, output.w);
        counts(0, input.h, output.h).iter().for_each(|r| columns.iter().for_each(|c| occurs[r * c] = true));
    }
    let factor = |n: usize, p: u32| (ONE * ratio / (f64::from(u32::try_from(n).unwrap_or(u32::MAX)) * f64::from(1u32 << p)) + 0.5).floor();
    let fits = |p: &u32| (1..=taps).filter(|&n| occurs[n]).all(|n| factor(n, *p) < f64::from(MULTIPLIER_LIMIT));
    let p = (0..15).find(fits).unwrap_or(15);
    let multiplier = |n: usize| if occurs[n] { integer(factor(n, p).min(f64::from(MULTIPLIER_LIMIT - 1))) } else { 0 };
    ((1..=taps).map(|n| multiplier(n).to_le_bytes()).collect(), p)
}

/// Counts integers in units of `unit`, as calibration would.
pub(super) fn observe(statistics: &mut TensorStatistics, bytes: &[u8], unit: f64) {
    for word in bytes.as_chunks::<4>().0 {
        let value = narrow(f64::from(i32::from_le_bytes(*word)) * unit);
        statistics.histogram.add(value);
        statistics.max = statistics.max.max(value.abs());
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a histogram needs no more than f32")]
const fn narrow(value: f64) -> f32 {
    value as f32
}

/// A name for a tensor that the float network does not have.
pub(super) fn derived(name: &str, what: &str) -> String {
    std::format!("{name}:{what}")
}
