//! The graph of ONNX operations to fused steps: what is linear and stands behind a convolution becomes part of it, what stands before the first layer part of the input.
//!
//! A step stays a *draft* until somebody reads it, so that normalization, addition and ReLU behind it can still be merged. A tensor is made when a draft is read.

use super::align::align;
use super::error::ConvertError;
use super::graph::{Conv, Input, Network, Op as StepOp, Second, Step, Tensor, TensorId};
use super::import::{Graph, Op, Operation};
use crate::format::view::TensorInput;
use crate::shape::Window;
use std::collections::{HashMap, HashSet};

mod add;
mod affine;
mod blocks;
mod branches;
mod concat;
mod conv;
mod foreign;
mod function;
mod gate;
mod layout;
mod pool;
mod rectify;

use layout::Order;

/// A value of the ONNX graph.
#[derive(Clone, Debug)]
struct Value {
    what: What,
    /// How its elements lie.
    order: Order,
}

/// What a value is.
#[derive(Clone, Debug)]
enum What {
    Tensor(TensorId),
    Draft(usize),
    View(View),
}

/// A tensor as a Slice or a Pad shows it. It becomes part of the step that reads it.
#[derive(Clone, Copy, Debug)]
struct View {
    tensor: TensorId,
    stride: [u32; 2],
    /// Channels of zeros in front and behind.
    channels: [u32; 2],
    /// Border at the top, left, bottom and right.
    pads: [u32; 4],
    /// Value of the border.
    value: f32,
}

impl View {
    const fn whole(tensor: TensorId) -> Self {
        Self { tensor, stride: [1, 1], channels: [0, 0], pads: [0; 4], value: 0.0 }
    }
}

/// A step that may still change.
#[derive(Debug)]
struct Draft {
    name: String,
    value: String,
    op: StepOp,
    input: TensorId,
    shape: [u32; 3],
    nonnegative: bool,
    /// No value is larger.
    limit: f64,
    /// True if a ReLU follows.
    relu: bool,
}

struct Folder<'a> {
    graph: &'a Graph,
    /// The operations that read a value. The scores have no reader.
    readers: HashMap<&'a str, Vec<&'a Operation>>,
    /// The values that may be stored behind a ReLU: all readers want that.
    wanted: HashSet<&'a str>,
    values: HashMap<&'a str, Value>,
    drafts: Vec<Option<Draft>>,
    /// The tensor that a draft became.
    made: HashMap<usize, TensorId>,
    /// The drafts that are a tensor behind a ReLU of its own, with the ReLU's upper limit.
    rectified: Vec<(TensorId, f64, usize)>,
    input: Input,
    tensors: Vec<Tensor>,
    steps: Vec<Step>,
}

/// Folds `graph`. Its input is `byte · scale[c] + shift[c]` of a picture's bytes, the chosen preprocessing: one entry a channel, or one for all.
///
/// # Errors
/// A node that no fused step can hold, what [`align`] says, an output that is no row of scores, a preprocessing with another number of channels than the input has.
pub fn fold(graph: &Graph, scale: &[f64], shift: &[f64]) -> Result<Network, ConvertError> {
    fold_input(graph, scale, shift, None)
}

/// As [`fold`] for an input that is no picture: it is `step` times an S8.
///
/// # Errors
/// As [`fold`]; an input of u8.
pub fn fold_tensor(graph: &Graph, step: f32) -> Result<Network, ConvertError> {
    if graph.bytes {
        return Err(ConvertError::Preprocess { what: "the network reads bytes".into(), help: "such a network reads pictures: say how they were prepared" });
    }
    fold_input(graph, &[f64::from(step)], &[0.0], Some(step))
}

fn fold_input(graph: &Graph, scale: &[f64], shift: &[f64], step: Option<f32>) -> Result<Network, ConvertError> {
    let needed = needed(graph);
    let mut readers: HashMap<&str, Vec<&Operation>> = HashMap::new();
    for operation in &needed {
        for read in &operation.reads {
            readers.entry(read).or_default().push(operation);
        }
    }
    let (mut input, order) = layout::input(graph, &readers, scale, shift)?;
    if let Some(scale) = step {
        let dims = graph.dims.get(&graph.input).map_or(&[][..], |d| &d[1..]);
        let mut sizes = [0; 3];
        sizes.iter_mut().zip(dims).for_each(|(to, &n)| *to = u32::try_from(n).unwrap_or(0));
        input.tensor = Some(TensorInput { scale, shape: input.shape, sizes, channels_last: input.nhwc });
    }
    let tensors = vec![Tensor::new(input.shape, input.tensor.is_none())];
    let values = HashMap::from([(graph.input.as_str(), Value { what: What::Tensor(0), order })]);
    let wanted = rectify::wanted(&needed, &readers, &graph.output);
    let (drafts, made, rectified) = (Vec::new(), HashMap::new(), Vec::new());
    let mut folder = Folder { graph, readers, wanted, values, drafts, made, rectified, input, tensors, steps: Vec::new() };
    for operation in needed {
        let value = folder.operation(operation)?;
        folder.values.insert(&operation.output, value);
    }
    align(folder.finish()?)
}

/// The operations that the scores depend on.
fn needed(graph: &Graph) -> Vec<&Operation> {
    let mut wanted = HashSet::from([graph.output.as_str()]);
    let mut found = Vec::new();
    for operation in graph.operations.iter().rev() {
        if wanted.contains(operation.output.as_str()) {
            wanted.extend(operation.reads.iter().map(String::as_str));
            found.push(operation);
        }
    }
    found.reverse();
    found
}

impl<'a> Folder<'a> {
    fn operation(&mut self, operation: &'a Operation) -> Result<Value, ConvertError> {
        match &operation.op {
            Op::Conv { window, groups, weights, bias } => self.conv(operation, *window, *groups, weights, bias.as_deref()),
            Op::Dense { weights, transposed, alpha, bias } => {
                self.dense(operation, weights, *transposed, *alpha, bias.as_ref().map(|(name, beta)| (name.as_str(), *beta)))
            }
            Op::BatchNorm { parameters, epsilon } => self.batch_norm(operation, parameters, *epsilon),
            Op::Affine { kind, constant, left } => self.arithmetic(operation, *kind, constant, *left),
            Op::Cast => self.alias(operation),
            Op::Relu => self.rectify(operation, f64::INFINITY),
            Op::Quantize(quantization) => self.quantize(operation, *quantization),
            Op::Function(function) => self.function(operation, *function),
            Op::Add => self.add(operation),
            Op::Product => self.product(operation),
            Op::Concat => self.concat(operation),
            Op::Expand => self.expand(operation),
            Op::MaxPool(window) => self.max_pool(operation, *window),
            Op::AveragePool { window, include_pad } => self.average_pool(operation, *window, *include_pad),
            Op::Mean(axes) => self.mean(operation, axes),
            Op::Mirror(pads) => self.mirror(operation, *pads),
            Op::Reshape => self.alias(operation),
            Op::Transpose(axes) => self.transpose(operation, axes),
            Op::Slice { start, step } => self.slice(operation, start, step),
            Op::Pad { before, after, value } => self.pad(operation, before, after, *value),
        }
    }

    fn finish(mut self) -> Result<Network, ConvertError> {
        let wrong = |what: String, help| ConvertError::Value { name: self.graph.output.clone(), what, help };
        let value = self.values.get(self.graph.output.as_str()).cloned();
        let value = value.ok_or_else(|| wrong("nothing computes the output".into(), "export the model again"))?;
        let mut view = self.view(&value);
        // Scores are 32-bit integers: what a file stores as bytes is copied.
        if self.tensors[view.tensor].foreign.is_some()
            && let Some(tensor) = self.copied(format!("{}.scores", self.graph.output), &view, None, &self.graph.output)
        {
            view = View::whole(tensor);
        }
        let output = view.tensor;
        let shape = self.tensors[output].shape;
        let wrong = |what: String, help| ConvertError::Value { name: self.graph.output.clone(), what, help };
        if shape[0] != 1 || shape[1] != 1 || view.channels != [0, 0] || view.pads != [0; 4] {
            return Err(wrong(format!("the output has the shape {shape:?}"), "networks whose output is one score a class are supported"));
        }
        let linear =
            |s: &Step| !s.relu && matches!(s.op, StepOp::Conv(_) | StepOp::Add(_) | StepOp::MaxPool(_) | StepOp::AveragePool { .. } | StepOp::Affine { .. });
        if self.steps.last().is_none_or(|s| s.output != output || !linear(s)) {
            return Err(wrong(
                "the output is not the result of a last linear step".into(),
                "cut the activation or the part behind the scores off before the export",
            ));
        }
        let mut wanted = HashSet::from([output]);
        for step in core::mem::take(&mut self.steps).into_iter().rev() {
            if wanted.contains(&step.output) {
                wanted.extend(step.reads());
                self.steps.push(step);
            }
        }
        self.steps.reverse();
        blocks::number(&mut self.steps);
        Ok(Network { name: self.graph.name.clone(), input: self.input, tensors: self.tensors, steps: self.steps })
    }

    /// The value that `operation` reads first.
    fn read(&self, operation: &Operation, index: usize) -> Result<Value, ConvertError> {
        let name = operation.reads.get(index).ok_or_else(|| operation.node.wrong(format!("input {index} is missing")))?;
        self.values.get(name.as_str()).cloned().ok_or_else(|| operation.node.wrong(format!("nothing computes the input `{name}`")))
    }

    /// Dimensions of a value.
    fn dims(&self, operation: &Operation, name: &str) -> Result<&'a [usize], ConvertError> {
        self.graph.dims.get(name).map(Vec::as_slice).ok_or_else(|| operation.node.wrong(format!("`{name}` has no known shape")))
    }

    /// Floats of a constant and its dimensions.
    fn constant(&self, operation: &Operation, name: &str) -> Result<(Vec<f64>, &'a [usize]), ConvertError> {
        let tensor = self
            .graph
            .constants
            .get(name)
            .ok_or_else(|| operation.node.unsupported(format!("`{name}` is not constant"), "export the model with constant weights"))?;
        let data = tensor.as_floats().ok_or_else(|| operation.node.wrong(format!("`{name}` holds integers")))?;
        if let Some(bad) = data.iter().find(|v| !v.is_finite()) {
            return Err(operation.node.wrong(format!("`{name}` holds {bad}")));
        }
        Ok((data.iter().map(|&v| f64::from(v)).collect(), &tensor.dims))
    }

    /// A constant vector of `n` values.
    fn vector(&self, operation: &Operation, name: &str, n: usize) -> Result<Vec<f64>, ConvertError> {
        let (data, dims) = self.constant(operation, name)?;
        if data.len() == n { Ok(data) } else { Err(operation.node.wrong(format!("`{name}` has the shape {dims:?} instead of [{n}]"))) }
    }

    /// How often a value is read.
    fn uses(&self, name: &str) -> usize {
        self.readers.get(name).map_or(0, Vec::len)
    }

    /// The draft that operation `reader` reads as its input `index`, if nobody else reads it.
    fn own_draft(&self, reader: &Operation, index: usize) -> Option<usize> {
        let name = reader.reads.get(index)?.as_str();
        match self.values.get(name)?.what {
            What::Draft(d) if self.uses(name) == 1 && name != self.graph.output => self.drafts[d].is_some().then_some(d),
            _ => None,
        }
    }

    /// The convolution among the drafts that `reader` alone reads, to which nothing has been added yet.
    fn own_conv(&mut self, reader: &Operation, index: usize) -> Option<(usize, &mut Draft)> {
        let d = self.own_draft(reader, index)?;
        let draft = self.drafts[d].as_mut()?;
        matches!(draft.op, StepOp::Conv(Conv { second: Second::None, .. })).then_some((d, draft))
    }

    /// A new draft and the value that is its result.
    fn draft(&mut self, operation: &'a Operation, op: StepOp, input: TensorId, shape: [u32; 3], nonnegative: bool) -> Value {
        let order = if shape[0] * shape[1] == 1 { Order::Any } else { Order::Chw };
        let kept =
            matches!(op, StepOp::MaxPool(_) | StepOp::Mirror(_) | StepOp::AveragePool { .. } | StepOp::Slice(_) | StepOp::Gate { .. } | StepOp::Function(_));
        let limit = if kept && input != 0 { self.tensors[input].limit } else { f64::INFINITY };
        let passes = matches!(op, StepOp::MaxPool(_) | StepOp::Mirror(_) | StepOp::Slice(_) | StepOp::Concat(_));
        let (value, relu) = if passes { self.passed_on(operation, nonnegative) } else { (operation.output.as_str(), false) };
        let (name, value) = (operation.node.name.clone(), value.to_owned());
        self.drafts.push(Some(Draft { name, value, op, input, shape, nonnegative, limit, relu }));
        Value { what: What::Draft(self.drafts.len() - 1), order }
    }

    /// The draft made last.
    fn last_draft(&mut self) -> Option<&mut Draft> {
        self.drafts.last_mut().and_then(Option::as_mut)
    }

    /// Makes a draft a step.
    fn emit(&mut self, d: usize) -> TensorId {
        if let Some(Draft { name, value, op, input, shape, nonnegative, limit, relu }) = self.drafts[d].take() {
            let computes = matches!(op, StepOp::Conv(_) | StepOp::Add(_) | StepOp::Affine { .. } | StepOp::Gate { .. });
            let relu = relu || computes && self.wanted.contains(value.as_str());
            let (op, foreign) = self.inherited(op, input);
            let output = self.tensors.len();
            self.tensors.push(Tensor { limit, foreign, ..Tensor::new(shape, nonnegative || relu) });
            self.steps.push(Step { name, value, relu, op, input, output, block: None });
            self.made.insert(d, output);
        }
        self.made[&d]
    }

    /// The value as a view of a tensor, which is made now if it is a draft.
    fn view(&mut self, value: &Value) -> View {
        match value.what {
            What::Tensor(t) => View::whole(t),
            What::Draft(d) => View::whole(self.emit(d)),
            What::View(v) => v,
        }
    }

    /// The tensor that the value is, made now if it is a draft; a Slice or Pad of pixels is refused.
    fn whole(&mut self, operation: &Operation, value: &Value) -> Result<TensorId, ConvertError> {
        let view = self.view(value);
        if view.pads != [0; 4] || view.stride != [1, 1] || view.channels != [0, 0] {
            return Err(operation.node.unsupported(
                "it reads the result of a Slice or of a Pad",
                "Pad is supported before a convolution or a pool, Pad of channels and Slice with a step on the way to a residual addition",
            ));
        }
        Ok(view.tensor)
    }

    /// True if no element of the tensor is below 0, after preprocessing.
    fn nonnegative(&self, tensor: TensorId) -> bool {
        let Input { scale, shift, .. } = &self.input;
        match tensor {
            0 => {
                let (low, high) = self.input.kind().range();
                scale.iter().zip(shift).all(|(a, b)| (a * f64::from(low) + b).min(a * f64::from(high) + b) >= 0.0)
            }
            t => self.tensors[t].nonnegative,
        }
    }

    /// The picture that `operation` reads, as a view that has no stride and no further channels.
    fn picture(&mut self, operation: &Operation) -> Result<(View, [u32; 3]), ConvertError> {
        let value = self.read(operation, 0)?;
        let dims = self.dims(operation, &operation.reads[0])?;
        let view = self.view(&value);
        let shape = self.tensors[view.tensor].shape;
        if view.stride != [1, 1] || view.channels != [0, 0] {
            return Err(operation
                .node
                .unsupported("it reads the result of a Slice or of a Pad of channels", "these are supported on the way to a residual addition"));
        }
        let [h, w, c] = shape;
        let padded = [1, c, h + view.pads[0] + view.pads[2], w + view.pads[1] + view.pads[3]];
        if !layout::is_picture(dims, padded) || value.order == Order::Hwc {
            return Err(operation.node.unsupported(
                format!("its input {dims:?} is not a tensor [1][c][h][w] of the network"),
                "Reshape and Transpose are supported at the input and before a dense layer",
            ));
        }
        Ok((view, shape))
    }
}

/// The window with the border of a Pad in front of it merged.
fn padded(mut window: Window, pads: [u32; 4]) -> Window {
    for (a, b) in window.pads.iter_mut().zip(pads) {
        *a += b;
    }
    window
}
