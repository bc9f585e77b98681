//! The float network, run by tract or, where it is quantized already, by loops of our own: one picture at a time, with every value that the converter wants to see.

use super::ConvertError;
use super::bypass::{Bypass, instead};
use super::evaluate::Evaluator;
use super::graph::Input;
use super::import::Graph;
use super::onnx::widen;
use super::split::split;
use crate::quant::DataType;
use core::cell::Cell;
use core::panic::AssertUnwindSafe;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::panic::catch_unwind;
use std::path::Path;
use std::string::{String, ToString};
use std::sync::{Arc, Once};
use std::vec::Vec;
use tract_onnx::pb::tensor_proto::DataType as T;
use tract_onnx::prelude::*;
use tract_onnx::{onnx, pb};

/// How the network is fed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FloatInput {
    /// Name of the ONNX input.
    pub name: String,
    /// Its dimensions, the batch being 1.
    pub dims: Vec<usize>,
    /// True if it reads u8.
    pub bytes: bool,
}

/// A float network that computes some of its values. Several threads may run it at once.
#[derive(Clone)]
pub struct FloatNet(Engine);

#[derive(Clone)]
enum Engine {
    Tract {
        /// One after another: the last output of a part is the input of the next one.
        parts: Vec<Arc<TypedRunnableModel>>,
        input: FloatInput,
        /// For each wanted value the part and the output that holds it.
        outputs: Vec<(usize, usize)>,
    },
    Own(Arc<Evaluator>),
}

impl core::fmt::Debug for FloatNet {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let name = if matches!(self.0, Engine::Tract { .. }) { "tract" } else { "own" };
        f.debug_tuple("FloatNet").field(&name).finish()
    }
}

impl FloatNet {
    /// Prepares a network from the bytes of an ONNX file, with its external data in `folder`.
    ///
    /// # Errors
    /// If tract cannot run it.
    pub fn new(bytes: &[u8], folder: &Path, input: &FloatInput, values: &[String]) -> Result<Self, ConvertError> {
        Self::without(bytes.to_vec(), folder, input, values, &[])
    }

    /// As [`new`](Self::new), with residual blocks left out. Each form of the network is dropped when the next one stands: they are as large as the file.
    ///
    /// # Errors
    /// If tract cannot run it.
    pub fn without(bytes: Vec<u8>, folder: &Path, input: &FloatInput, values: &[String], left_out: &[Bypass]) -> Result<Self, ConvertError> {
        let (parts, outputs) = guarded(|| {
            let mut proto = onnx().proto_model_for_read(&mut &*bytes)?;
            drop(bytes);
            let mut graph = proto.graph.take().ok_or_else(|| TractError::msg("it has no graph"))?;
            if !graph.input.iter().any(|i| i.name == input.name) {
                return Err(TractError::msg(std::format!("it has no input `{}`", input.name)));
            }
            if let Some(missing) = values.iter().find(|v| !graph.node.iter().any(|n| n.output.contains(*v))) {
                return Err(TractError::msg(std::format!("no node computes value `{missing}`")));
            }
            for read in graph.node.iter_mut().flat_map(|n| &mut n.input) {
                if let Some(other) = instead(left_out, read) {
                    *read = other.into();
                }
            }
            prepare(&mut graph, input, folder, values)?;
            let reader = onnx().with_ignore_output_shapes(true).with_ignore_output_types(true).with_ignore_value_info(true);
            let mut fact = if input.bytes { u8::fact(&input.dims) } else { f32::fact(&input.dims) };
            let (mut parts, mut outputs) = (Vec::new(), std::vec![None; values.len()]);
            for part in split(graph, values) {
                for (output, made) in part.output.iter().enumerate() {
                    values.iter().zip(&mut outputs).filter(|(value, _)| **value == made.name).for_each(|(_, o)| *o = o.or(Some((parts.len(), output))));
                }
                proto.graph = Some(part);
                let mut model = reader.parse(&proto, folder.to_str())?.model;
                proto.graph = None;
                model.set_input_fact(0, fact.into())?;
                let model = model.into_optimized()?;
                fact = model.output_fact(model.outputs.len() - 1)?.without_value();
                parts.push(model.into_runnable()?);
            }
            let outputs = outputs.into_iter().collect::<Option<Vec<_>>>().ok_or_else(|| TractError::msg("a value is in no part"))?;
            Ok((parts, outputs))
        })?;
        Ok(Self(Engine::Tract { parts, input: input.clone(), outputs }))
    }

    /// Prepares a network that is quantized already: it runs without tract, which knows not all of its operators and clamps nothing.
    ///
    /// # Errors
    /// What [`Evaluator::new`] says.
    pub fn own(graph: &Graph, values: &[String]) -> Result<Self, ConvertError> {
        Ok(Self(Engine::Own(Arc::new(Evaluator::new(graph, values)?))))
    }

    /// Computes the wanted values for one network input, each in the order `[h][w][c]`.
    ///
    /// # Errors
    /// If the network fails.
    pub fn run(&self, x: &[f32]) -> Result<Vec<Vec<f32>>, ConvertError> {
        let (parts, input, outputs) = match &self.0 {
            Engine::Tract { parts, input, outputs } => (parts, input, outputs),
            Engine::Own(evaluator) => return evaluator.run(x),
        };
        guarded(|| {
            let x = Tensor::from_shape(&input.dims, x)?;
            let x = if input.bytes { x.cast_to::<u8>()?.into_owned() } else { x };
            let mut carried: TValue = x.into();
            let mut made = Vec::with_capacity(parts.len());
            for part in parts {
                let values = part.run(tvec!(carried))?;
                carried = values.last().cloned().ok_or_else(|| TractError::msg("a part makes nothing"))?;
                made.push(values);
            }
            outputs.iter().map(|&(part, output)| hwc(&made[part][output])).collect()
        })
    }
}

/// Pixels that are turned from planes to channels together.
const PIXELS: usize = 16;

/// A value of one picture as `[h][w][c]`; so is a signal `[1][c][w]`; what has other dimensions stays as it is.
fn hwc(value: &Tensor) -> TractResult<Vec<f32>> {
    let value = value.cast_to::<f32>()?;
    let dims = value.shape().to_vec();
    let data = value.to_plain_array_view::<f32>()?;
    let data = data.as_slice().map_or_else(|| Cow::Owned(data.iter().copied().collect()), Cow::Borrowed);
    if dims.first() != Some(&1) && data.len() > 1 {
        return Err(TractError::msg(std::format!("a value has the shape {dims:?}, its batch is not 1")));
    }
    let (c, pixels) = match dims[..] {
        [1, c, h, w] => (c, h * w),
        [1, c, w] => (c, w),
        _ => return Ok(data.into_owned()),
    };
    if pixels == 1 {
        return Ok(data.into_owned());
    }
    let mut out = std::vec![0.0; data.len()];
    // As many pixels at a time as stay in the cache.
    for (first, out) in (0..).step_by(PIXELS).zip(out.chunks_mut((PIXELS * c).max(1))) {
        for (channel, plane) in data.chunks_exact(pixels).enumerate() {
            out[channel..].iter_mut().step_by(c).zip(&plane[first..]).for_each(|(o, v)| *o = *v);
        }
    }
    Ok(out)
}

/// The network input for a picture of `[h][w][c]` bytes, or for a tensor of S8: `byte · scale + shift`, in the layout of the ONNX.
#[must_use]
pub fn feed(picture: &[u8], input: &Input) -> Vec<f32> {
    let [h, w, c] = input.shape.map(|v| v as usize);
    let table: Vec<[f32; 256]> = (0..c).map(|i| core::array::from_fn(|b| normalized(input.kind(), b, input.scale[i], input.shift[i]))).collect();
    let (pixel, channel) = if input.nhwc { (c, 1) } else { (1, h * w) };
    let mut x = std::vec![0.0; h * w * c];
    for (i, bytes) in picture.chunks_exact(c).enumerate() {
        for (j, &b) in bytes.iter().enumerate() {
            x[i * pixel + j * channel] = if input.bytes { f32::from(b) } else { table[j][usize::from(b)] };
        }
    }
    x
}

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "the float network works in f32; a byte is exact")]
fn normalized(kind: DataType, byte: usize, scale: f64, shift: f64) -> f32 {
    let value = if matches!(kind, DataType::S8) { f64::from((byte as u8).cast_signed()) } else { byte as f64 };
    (value * scale + shift) as f32
}

/// Keeps what the wanted values need, makes the batch 1, and mends what tract reads more strictly than the standard.
fn prepare(graph: &mut pb::GraphProto, input: &FloatInput, folder: &Path, values: &[String]) -> TractResult<()> {
    let initializers: HashSet<String> = graph.initializer.iter().map(|t| t.name.clone()).collect();
    graph.input.retain(|i| i.name == input.name && !initializers.contains(&i.name));
    let batch = graph.input.first().and_then(batch_of).unwrap_or(1);
    for node in &mut graph.node {
        if matches!(node.op_type.as_str(), "BatchNormalization" | "Dropout" | "MaxPool") {
            node.output.truncate(1);
        }
        // tract pads with a value where there is one, whatever the mode.
        if node.op_type == "Pad" && node.attribute.iter().any(|a| a.name == "mode" && a.s != b"constant") {
            node.input.iter_mut().skip(2).take(1).for_each(String::clear);
        }
        for attribute in &mut node.attribute {
            match (node.op_type.as_str(), attribute.name.as_str()) {
                ("Squeeze", "axes") => attribute.ints.sort_by_key(|&a| (a < 0, a)),
                ("Cast", "to") if [T::Float16 as i64, T::Double as i64].contains(&attribute.i) => attribute.i = T::Float as i64,
                _ => {}
            }
        }
    }
    keep_needed(&mut graph.node, values);
    let constants_of =
        |op: &str, at: usize| -> HashSet<String> { graph.node.iter().filter(|n| n.op_type == op).filter_map(|n| n.input.get(at).cloned()).collect() };
    let (pads, shapes, squeezed) = (constants_of("Pad", 2), constants_of("Reshape", 1), constants_of("Squeeze", 1));
    let mend = |name: &str, tensor: &mut pb::TensorProto| -> TractResult<()> {
        widen(tensor, folder).map_err(|e| TractError::msg(e.to_string()))?;
        if squeezed.contains(name) {
            sort_axes(tensor);
        }
        if pads.contains(name) && tensor.dims == [1] {
            tensor.dims.clear();
        }
        if shapes.contains(name) && batch > 1 {
            first_to_one(tensor, batch);
        }
        Ok(())
    };
    for tensor in &mut graph.initializer {
        mend(&tensor.name.clone(), tensor)?;
    }
    for node in graph.node.iter_mut().filter(|n| n.op_type == "Constant") {
        let Some(name) = node.output.first().cloned() else { continue };
        node.attribute.iter_mut().filter_map(|a| a.t.as_mut()).try_for_each(|t| mend(&name, t))?;
    }
    graph.value_info.clear();
    Ok(())
}

/// tract wants the axes of a Squeeze in ascending order.
fn sort_axes(tensor: &mut pb::TensorProto) {
    let raw = tensor.raw_data.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b));
    let mut axes: Vec<i64> = if tensor.raw_data.is_empty() { tensor.int64_data.clone() } else { raw.collect() };
    axes.sort_by_key(|&a| (a < 0, a));
    tensor.raw_data.clear();
    tensor.int64_data = axes;
}

/// The batch that the file declares.
fn batch_of(input: &pb::ValueInfoProto) -> Option<i64> {
    use pb::tensor_shape_proto::dimension::Value;
    let pb::type_proto::Value::TensorType(tensor) = input.r#type.as_ref()?.value.as_ref()?;
    match tensor.shape.as_ref()?.dim.first()?.value.as_ref()? {
        Value::DimValue(n) => Some(*n),
        Value::DimParam(_) => None,
    }
}

/// Drops the nodes on which no wanted value depends.
fn keep_needed(nodes: &mut Vec<pb::NodeProto>, values: &[String]) {
    let makers: HashMap<&str, usize> = nodes.iter().enumerate().flat_map(|(i, n)| n.output.iter().map(move |o| (o.as_str(), i))).collect();
    let mut needed = std::vec![false; nodes.len()];
    let mut stack: Vec<usize> = values.iter().filter_map(|v| makers.get(v.as_str()).copied()).collect();
    while let Some(i) = stack.pop() {
        if !core::mem::replace(&mut needed[i], true) {
            stack.extend(nodes[i].input.iter().filter_map(|v| makers.get(v.as_str()).copied()));
        }
    }
    let mut needed = needed.into_iter();
    nodes.retain(|_| needed.next().unwrap_or(false));
}

/// A target shape whose first entry is the batch of the file gets a batch of 1.
fn first_to_one(tensor: &mut pb::TensorProto, batch: i64) {
    if tensor.int64_data.first() == Some(&batch) {
        tensor.int64_data[0] = 1;
    } else if tensor.raw_data.get(..8) == Some(&batch.to_le_bytes()) {
        let mut raw = tensor.raw_data.to_vec();
        raw[..8].copy_from_slice(&1i64.to_le_bytes());
        tensor.raw_data = raw;
    }
}

std::thread_local! {
    static SILENT: Cell<bool> = const { Cell::new(false) };
}

/// Runs what tract does: a panic of it becomes an error, without a word on the terminal.
fn guarded<T>(work: impl FnOnce() -> TractResult<T>) -> Result<T, ConvertError> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !SILENT.get() {
                before(info);
            }
        }));
    });
    let outer = SILENT.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    SILENT.set(outer);
    let what = match result {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => std::format!("{error:#}"),
        Err(panic) => panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default(),
    };
    Err(ConvertError::Float { what: std::format!("the float network does not run: {}", what.split_whitespace().collect::<Vec<_>>().join(" ")) })
}
