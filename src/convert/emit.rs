//! The file: records, weights, proofs and check values.

use super::ConvertError;
use super::plan::Plan;
use super::quantized::{Op, Quantized, Second, Step};
use crate::format::view::{Preprocess, Resize, TensorInput};
use crate::format::write::{Writer, word};
use crate::format::{Model, NONE, Operation, flag, layout, network, op, origin, proof, step, tensor};
use crate::kernels::Kernels;
use crate::quant::DataType;
use crate::session::Session;
use crate::shape::Window;
use std::string::String;
use std::vec::Vec;

/// What the file says beside the network itself.
#[derive(Clone, Debug)]
pub struct About {
    /// Name of the network.
    pub name: String,
    /// Weights and biases of the float network.
    pub parameters: u64,
    /// How a picture becomes the input.
    pub preprocess: Preprocess,
    /// The input, where it is no picture.
    pub tensor: Option<TensorInput>,
    /// Class labels.
    pub labels: Vec<String>,
    /// SHA-256 of the ONNX and its external data.
    pub sha256: [u8; 32],
    /// Calibration pictures.
    pub pictures: usize,
    /// Calibration method.
    pub method: String,
    /// Residual blocks of the source that were left out.
    pub skipped: Vec<u32>,
    /// The check input, or nothing where the seed makes it.
    pub check_picture: Vec<u8>,
}

/// Seed of the check input.
const SEED: u32 = 0x5170_0001;

/// Writes the file, proves every step and records what every step makes of the check input.
///
/// # Errors
/// If a proof fails: the step is named.
pub fn emit(quantized: &Quantized, plans: &[Plan], about: &About) -> Result<Vec<u8>, ConvertError> {
    let mut writer = Writer::default();
    write_network(&mut writer, quantized, about);
    writer.picture.clone_from(&about.check_picture);
    let weights: Vec<Placed> = quantized.steps.iter().map(|s| Placed::new(&mut writer, s)).collect();
    let scales: Vec<u32> = quantized.tensors.iter().map(|t| channel_scales(&mut writer, &t.scales)).collect();
    for plan in plans {
        write_plan(&mut writer, quantized, plan, &weights, &scales);
    }
    let (flags, checks) = prove(&writer.finish())?;
    for ((record, flags), check) in writer.steps.iter_mut().zip(flags).zip(checks) {
        record[step::FLAGS] |= flags;
        writer.checks.push(check);
    }
    writer.checks.drain(..writer.steps.len());
    Ok(writer.finish())
}

fn split(value: u64) -> [u32; 2] {
    let bytes = value.to_le_bytes();
    let (words, _) = bytes.as_chunks::<4>();
    [u32::from_le_bytes(words[0]), u32::from_le_bytes(words[1])]
}

fn write_network(writer: &mut Writer, quantized: &Quantized, about: &About) {
    let mut record = [0; network::BYTES / 4];
    record[network::NAME..][..2].copy_from_slice(&writer.name(&about.name));
    record[network::RANK] = 3;
    record[network::DIMENSIONS..][..3].copy_from_slice(&quantized.tensors[0].shape);
    let classes = quantized.steps.last().map_or(0, |s| quantized.tensors[s.output].shape[2]);
    record[network::CLASSES] = classes;
    record[network::MACS..][..2].copy_from_slice(&split(quantized.steps.iter().map(|s| s.macs).sum()));
    record[network::PARAMETERS..][..2].copy_from_slice(&split(about.parameters));
    record[network::LAYERS] = word(quantized.steps.iter().filter(|s| matches!(s.op, Op::Conv(_))).count());
    record[network::SEED] = SEED;
    let p = &about.preprocess;
    [record[network::RESIZE], record[network::RESIZE_TO]] = match p.resize {
        Resize::ToInput => [0, 0],
        Resize::Shorter(n) => [1, n],
        Resize::Never => [2, 0],
    };
    record[network::CROP..][..2].copy_from_slice(&p.crop.unwrap_or_default());
    record[network::FLAGS] = u32::from(p.bgr);
    record[network::SCALE] = p.scale.to_bits();
    if let Some(tensor) = &about.tensor {
        record[network::INPUT_KIND] = 1;
        record[network::INPUT_SCALE] = tensor.scale.to_bits();
        record[network::ONNX..][..3].copy_from_slice(&tensor.sizes);
        record[network::FLAGS] |= u32::from(tensor.channels_last) << 1;
    }
    for c in 0..4 {
        record[network::MEAN + c] = p.mean[c].to_bits();
        record[network::DEVIATION + c] = p.deviation[c].to_bits();
    }
    writer.network = record;
    writer.origin[origin::SHA256..][..32].copy_from_slice(&about.sha256);
    let mut put = |at: usize, value: u32| writer.origin[at * 4..][..4].copy_from_slice(&value.to_le_bytes());
    put(origin::PICTURES, word(about.pictures));
    let skipped = about.skipped.iter().map(|n| std::format!("{n}")).collect::<Vec<_>>().join(",");
    let texts =
        [(origin::METHOD, about.method.as_str()), (origin::CONVERTER, concat!("skipstone ", env!("CARGO_PKG_VERSION"))), (origin::SKIPPED, skipped.as_str())];
    for (at, text) in texts {
        let name = writer.name(text);
        let mut put = |at: usize, value: u32| writer.origin[at * 4..][..4].copy_from_slice(&value.to_le_bytes());
        put(at, name[0]);
        put(at + 1, name[1]);
    }
    writer.labels.clone_from(&about.labels);
}

/// Offsets of what all plans share of a step.
struct Placed {
    weights: u32,
    second: u32,
    params: u32,
    padding: u32,
    table: u32,
}

impl Placed {
    fn new(writer: &mut Writer, step: &Step) -> Self {
        let mut placed = Self { weights: NONE, second: NONE, params: NONE, padding: NONE, table: NONE };
        match &step.op {
            Op::Conv(conv) => {
                placed.weights = writer.weights(&conv.weights);
                placed.params = writer.weights(&conv.params);
                if let Second::Projection { weights, .. } = &conv.second {
                    placed.second = writer.weights(weights);
                }
                if !conv.padding.is_empty() {
                    placed.padding = writer.weights(&conv.padding);
                }
            }
            Op::AveragePool { multipliers, .. } => placed.params = writer.weights(multipliers.as_flattened()),
            Op::Add(sum) | Op::Gate(sum) => placed.params = writer.weights(&sum.params),
            Op::Table(table) => placed.table = writer.weights(table),
            Op::MaxPool(_) | Op::Mirror(_) | Op::Concat(_) | Op::Slice(_) => {}
        }
        placed
    }
}

/// Writes the scales of a tensor's channels where they differ; gives their offset.
fn channel_scales(writer: &mut Writer, scales: &[f64]) -> u32 {
    if scales.iter().all(|s| *s == scales[0]) {
        return NONE;
    }
    let bytes: Vec<u8> = scales.iter().flat_map(|&s| narrow(s).to_le_bytes()).collect();
    writer.weights(&bytes)
}

fn write_plan(writer: &mut Writer, quantized: &Quantized, plan: &Plan, placed: &[Placed], scales: &[u32]) {
    let used = |t: usize| quantized.steps.iter().any(|s| s.output == t || s.reads().any(|r| r == t));
    let tensors: Vec<usize> = (0..quantized.tensors.len()).filter(|&t| used(t)).collect();
    let index = |t: usize| word(tensors.iter().position(|&u| u == t).unwrap_or_default());
    let mut record = [0; layout::BYTES / 4];
    record[layout::KIND] = plan.kind.code();
    record[layout::TENSORS..][..2].copy_from_slice(&[word(writer.tensors.len()), word(tensors.len())]);
    record[layout::STEPS..][..2].copy_from_slice(&[word(writer.steps.len()), word(quantized.steps.len())]);
    record[layout::TENSOR_BYTES] = word(plan.tensor_bytes);
    record[layout::SCRATCH_BYTES] = word(plan.scratch_bytes);
    record[layout::INPUT] = index(quantized.steps.first().map_or(0, |s| s.input));
    record[layout::OUTPUT] = index(quantized.steps.last().map_or(0, |s| s.output));
    writer.plans.push(record);
    for &t in &tensors {
        let (tensor, view) = (&quantized.tensors[t], &plan.views[t]);
        let mut record = [0; tensor::BYTES / 4];
        record[tensor::NAME..][..2].copy_from_slice(&writer.name(&tensor.name));
        record[tensor::TYPE] = match tensor.kind {
            DataType::U8 => 0,
            DataType::S8 => 1,
            DataType::S16 => 2,
            DataType::I32 => 3,
        };
        record[tensor::SHAPE..][..3].copy_from_slice(&tensor.shape);
        let channel = tensor.part.map_or(0, |(_, channel)| channel as usize * tensor.kind.bytes());
        record[tensor::OFFSET] = word(view.offset - channel);
        record[tensor::CHANNEL] = word(channel);
        record[tensor::PIXEL] = word(view.pixel);
        record[tensor::ROW] = word(view.row);
        record[tensor::SCALE] = narrow(tensor.scales.iter().fold(0.0, |a, &b| a.max(b))).to_bits();
        record[tensor::CHANNEL_SCALES] = scales[t];
        record[tensor::ZERO] = tensor.zero.cast_unsigned();
        writer.tensors.push(record);
    }
    for ((made, placed), &rows) in quantized.steps.iter().zip(placed).zip(&plan.block_rows) {
        let mut record = step_record(made, placed);
        record[step::NAME..][..2].copy_from_slice(&writer.name(&made.name));
        record[step::INPUT] = index(made.input);
        record[step::SECOND] = made.second.map_or(NONE, index);
        record[step::THIRD] = made.third.map_or(NONE, index);
        record[step::OUTPUT] = index(made.output);
        record[step::BLOCK_ROWS] = word(rows);
        writer.steps.push(record);
        writer.checks.push(0);
    }
}

fn step_record(made: &Step, placed: &Placed) -> [u32; step::BYTES / 4] {
    let mut record = [0; step::BYTES / 4];
    record[step::GROUPS] = if let Op::Conv(conv) = &made.op { word(conv.groups) } else { 1 };
    record[step::TABLE] = placed.table;
    record[step::WEIGHTS] = placed.weights;
    record[step::SECOND_WEIGHTS] = placed.second;
    record[step::PARAMS] = placed.params;
    record[step::PADDING] = placed.padding;
    record[step::BLOCK] = made.block.unwrap_or(NONE);
    record[step::MACS..][..2].copy_from_slice(&split(made.macs));
    let point = Window::point([1, 1]);
    let (code, window, other) = match &made.op {
        Op::Conv(conv) => {
            let (kind, front, other) = match &conv.second {
                Second::None => (0, 0, point),
                Second::Skip { stride, front } => (1, *front, Window::point(*stride)),
                Second::Projection { window, .. } => (2, 0, *window),
            };
            record[step::SECOND_KIND] = kind;
            record[step::NARROW] = conv.narrow.map_or(0, |narrow| word(narrow.channels()));
            record[step::FRONT] = front;
            (op::CONV, conv.window, other)
        }
        Op::MaxPool(window) => (op::MAX_POOL, *window, point),
        Op::Mirror(pads) => (op::MIRROR, Window { pads: *pads, ..point }, point),
        Op::AveragePool { window, include_pad, p, .. } => {
            record[step::P] = *p;
            record[step::FLAGS] = if *include_pad { flag::INCLUDE_PAD } else { 0 };
            (op::AVERAGE_POOL, *window, point)
        }
        Op::Add(sum) | Op::Gate(sum) => {
            record[step::P] = sum.p;
            (if matches!(made.op, Op::Add(_)) { op::ADD } else { op::GATE }, point, point)
        }
        Op::Table(_) | Op::Concat(_) | Op::Slice(_) => (op::TABLE, point, point),
    };
    record[step::OP] = code;
    let pairs = [window.kernel, window.stride, window.dilation];
    record[step::WINDOW..][..6].copy_from_slice(pairs.as_flattened());
    record[step::WINDOW + 6..][..4].copy_from_slice(&window.pads);
    record[step::SECOND_WINDOW..][..4].copy_from_slice([other.kernel, other.stride].as_flattened());
    record
}

/// Flags and check values of all steps of a file that has none yet.
fn prove(bytes: &[u8]) -> Result<(Vec<u32>, Vec<u32>), ConvertError> {
    let wrong = |name: &str, what: &str| ConvertError::Arithmetic { node: name.into(), what: what.into() };
    let model = Model::parse(bytes).map_err(|e| wrong("", &std::format!("{e}")))?;
    let (mut flags, mut checks) = (Vec::new(), Vec::new());
    for plan in model.plans() {
        for step in plan.steps() {
            let proof = proof::check(&step).map_err(|what| wrong(step.name(), what))?;
            let conv = matches!(step.operation(), Operation::Conv(_));
            let set = |holds: bool, flag: u32| if holds && conv { flag } else { 0 };
            flags.push(set(proof.winograd4(), flag::WINOGRAD4) | set(proof.pair_safe, flag::PAIR_SAFE));
        }
        let mut arena = std::vec![0; plan.arena_bytes(1)];
        let mut session = Session::new(&model, Kernels::detect(), plan.kind(), &mut arena).map_err(|e| wrong("", &std::format!("{e}")))?;
        model.check_input(session.input());
        session.run_with(|step, session| checks.push(session.tensor(&plan.tensor(step.output())).crc32()));
    }
    Ok((flags, checks))
}

#[expect(clippy::cast_possible_truncation, reason = "the scale is for reports")]
const fn narrow(value: f64) -> f32 {
    value as f32
}
