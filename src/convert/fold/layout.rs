//! How the elements of ONNX values lie: Reshape, Transpose, Slice and Pad make no step.

use super::{Folder, HashMap, Value, View, What};
use crate::convert::error::ConvertError;
use crate::convert::graph::Input;
use crate::convert::import::{Graph, Op, Operation};

/// The order of the elements of a value, whatever its dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Channel by channel.
    Chw,
    /// Pixel by pixel.
    Hwc,
    /// Both are the same: one pixel, or one channel.
    Any,
}

/// The input of the network and the order of its ONNX value.
pub fn input<'a>(graph: &'a Graph, readers: &HashMap<&'a str, Vec<&'a Operation>>, scale: &[f64], shift: &[f64]) -> Result<(Input, Order), ConvertError> {
    let name = graph.input.as_str();
    let wrong = |what: String| ConvertError::Value {
        name: name.to_owned(),
        what,
        help: "networks over one picture or signal are supported: [n][channels][height][width], [n][height][width][channels], [n][channels][length]",
    };
    let dims = graph.dims.get(name).map_or(&[][..], Vec::as_slice);
    let nhwc = transposed(graph, readers, name);
    let shape = match dims {
        [1, h, w, c] if nhwc => [*h, *w, *c],
        [1, w, c] if nhwc => [1, *w, *c],
        [1, c, h, w] => [*h, *w, *c],
        [1, h, w] if becomes_picture(graph, readers, name) => [*h, *w, 1],
        [1, c, w] => [1, *w, *c],
        [1, n] => [1, 1, *n],
        _ => return Err(wrong(format!("an input of the shape {dims:?}"))),
    };
    let [h, w, c] = shape;
    let order = match (h * w == 1 || c == 1, nhwc) {
        (true, _) => Order::Any,
        (false, true) => Order::Hwc,
        (false, false) => Order::Chw,
    };
    let mut sizes = [0; 3];
    for (to, n) in sizes.iter_mut().zip(shape) {
        *to = u32::try_from(n).ok().filter(|&n| n > 0).ok_or_else(|| wrong(format!("an input of the shape {dims:?}")))?;
    }
    let spread = |values: &[f64]| match values {
        [one] => Ok(vec![*one; c]),
        many if many.len() == c => Ok(many.to_vec()),
        // The preprocessing of a file has room for four channels.
        [..] if values.len() == 4 && c < 4 => Ok(values[..c].to_vec()),
        _ => Err(ConvertError::Preprocess {
            what: format!("{} values for {c} channels", values.len()),
            help: "give one mean and one std for all channels, or three for three; inputs of other channels are read from .npy, --preprocess tensor",
        }),
    };
    Ok((Input { shape: sizes, nhwc, bytes: graph.bytes, scale: spread(scale)?, shift: spread(shift)?, tensor: None }, order))
}

/// True if the input is turned from [h][w][c] to [c][h][w] before the first layer.
fn transposed<'a>(graph: &Graph, readers: &HashMap<&'a str, Vec<&'a Operation>>, name: &'a str) -> bool {
    let dims = |name: &str| graph.dims.get(name).map_or(&[][..], Vec::as_slice);
    match first(readers, name) {
        Some(Operation { op: Op::Transpose(axes), .. }) => axes[..] == [0, 3, 1, 2] || axes[..] == [0, 2, 1],
        Some(o @ Operation { op: Op::Reshape, .. }) => matches!((dims(&o.reads[0]), dims(&o.output)), (&[1, h, w, 1], &[1, 1, y, x]) if [h, w] == [y, x]),
        _ => false,
    }
}

/// True if the input, of three dimensions, is turned into a picture of one channel before the first layer.
fn becomes_picture<'a>(graph: &Graph, readers: &HashMap<&'a str, Vec<&'a Operation>>, name: &'a str) -> bool {
    match first(readers, name) {
        Some(o @ Operation { op: Op::Reshape, .. }) => graph.dims.get(&o.output).is_some_and(|d| d.len() != 3),
        Some(Operation { op: Op::Conv { .. } | Op::BatchNorm { .. } | Op::MaxPool(_) | Op::AveragePool { .. } | Op::Pad { .. } | Op::Mirror(_), .. }) => false,
        _ => true,
    }
}

/// The first operation on the input that is more than arithmetic with constants, if it is the only one.
fn first<'a>(readers: &HashMap<&'a str, Vec<&'a Operation>>, mut name: &'a str) -> Option<&'a Operation> {
    while let Some([only]) = readers.get(name).map(Vec::as_slice) {
        if !matches!(only.op, Op::Cast | Op::Quantize(_) | Op::Affine { .. }) {
            return Some(only);
        }
        name = &only.output;
    }
    None
}

/// True if `dims` are those of a picture of `c` channels, or those of a signal where the height is 1.
pub fn is_picture(dims: &[usize], [n, c, h, w]: [u32; 4]) -> bool {
    dims == [n, c, h, w].map(|n| n as usize) || h == 1 && dims == [n, c, w].map(|n| n as usize)
}

/// Elements along some of the axes.
fn size(dims: &[usize], axes: &[usize]) -> usize {
    axes.iter().map(|&a| dims.get(a).copied().unwrap_or(1)).product()
}

impl<'a> Folder<'a> {
    /// Height, width and channels of a value whose view is not padded, sliced or widened.
    pub(super) fn shape(&self, value: &Value) -> [u32; 3] {
        match value.what {
            What::Tensor(t) => self.tensors[t].shape,
            What::View(v) => self.tensors[v.tensor].shape,
            What::Draft(d) => self.drafts[d].as_ref().map_or_else(|| self.tensors[self.made[&d]].shape, |draft| draft.shape),
        }
    }

    /// Refuses a value of more than one pixel that is not `[1][c][h][w]`: what is folded into a step there would be compared with the wrong elements.
    pub(super) fn channels_first(&self, operation: &Operation, name: &str, order: Order, [h, w, c]: [u32; 3]) -> Result<(), ConvertError> {
        let dims = self.dims(operation, name)?;
        if h * w == 1 || order != Order::Hwc && is_picture(dims, [1, c, h, w]) {
            return Ok(());
        }
        let what = format!("it works on {dims:?} where {c} channels of {h}x{w} pixels stand");
        Err(operation.node.unsupported(what, "between convolutions the layout [n][channels][height][width] is supported"))
    }

    /// Refuses a value whose second axis is not that of the channels.
    pub(super) fn channels_second(&self, operation: &Operation, name: &str, order: Order, [h, w, c]: [u32; 3]) -> Result<(), ConvertError> {
        let dims = self.dims(operation, name)?;
        if h * w == 1 && dims.get(1) == Some(&(c as usize)) && dims.iter().filter(|&&n| n != 1).count() <= 1 {
            return Ok(());
        }
        if order != Order::Hwc && is_picture(dims, [1, c, h, w]) {
            return Ok(());
        }
        let what = format!("it works on {dims:?} where {c} channels of {h}x{w} pixels stand");
        Err(operation.node.unsupported(what, "Concat, Split and Slice are supported along the channels of [n][channels][height][width]"))
    }

    /// An operation that gives its input's elements under another name.
    pub(super) fn alias(&mut self, operation: &'a Operation) -> Result<Value, ConvertError> {
        let value = self.read(operation, 0)?;
        let name = operation.reads[0].as_str();
        match value.what {
            What::Draft(d) if self.uses(name) > 1 || name == self.graph.output => {
                self.emit(d);
            }
            What::View(v) if operation.op == Op::Reshape && (v.pads != [0; 4] || v.stride != [1, 1] || v.channels != [0, 0]) => {
                return Err(operation
                    .node
                    .unsupported("it reads the result of a Slice or a Pad", "Reshape and Transpose are supported at the input and before a dense layer"));
            }
            _ => {}
        }
        Ok(value)
    }

    /// One value a channel, repeated for every pixel, on the way to a product.
    pub(super) fn expand(&mut self, operation: &'a Operation) -> Result<Value, ConvertError> {
        let value = self.alias(operation)?;
        let (from, to) = (self.dims(operation, &operation.reads[0])?, self.dims(operation, &operation.output)?);
        let [h, w, c] = self.shape(&value);
        let products = self.readers.get(operation.output.as_str()).is_some_and(|all| all.iter().all(|r| r.op == Op::Product));
        if h * w != 1 || from.len() != to.len() || from.get(1) != Some(&(c as usize)) || to.get(1) != from.get(1) || !products {
            return Err(operation
                .node
                .unsupported(format!("it repeats {from:?} as {to:?}"), "a gate of one value a channel is repeated, as in squeeze-and-excitation"));
        }
        Ok(value)
    }

    pub(super) fn transpose(&mut self, operation: &'a Operation, axes: &[usize]) -> Result<Value, ConvertError> {
        let refuse = || {
            operation.node.unsupported(
                format!("it permutes the axes as {axes:?}"),
                "Transpose is supported between [h][w][c] and [c][h][w], at the input and before a dense layer",
            )
        };
        let mut value = self.alias(operation)?;
        if matches!(value.what, What::View(_)) {
            return Err(refuse());
        }
        let dims = self.dims(operation, &operation.reads[0])?;
        let moved: Vec<usize> = axes.iter().copied().filter(|&a| dims.get(a).is_none_or(|&n| n != 1)).collect();
        if moved.is_sorted() {
            return Ok(value);
        }
        // The axes in front of the cut change places with those behind it.
        let cut = moved.iter().position(|&a| a < moved[0]).unwrap_or(0);
        let (behind, front) = moved.split_at(cut);
        let [h, w, c] = self.shape(&value).map(|n| n as usize);
        if !behind.is_sorted() || !front.is_sorted() || front.last() > behind.first() {
            return Err(refuse());
        }
        value.order = match value.order {
            Order::Chw if size(dims, front) == c && size(dims, behind) == h * w => Order::Hwc,
            Order::Hwc if size(dims, front) == h * w && size(dims, behind) == c => Order::Chw,
            _ => return Err(refuse()),
        };
        Ok(value)
    }

    /// The axis of `dims` that counts the channels, where there is one.
    pub(super) fn channel_axis(&self, value: &Value, dims: &[usize]) -> Option<usize> {
        let [h, w, c] = self.shape(value).map(|n| n as usize);
        let axis = match value.order {
            Order::Chw => dims.iter().position(|&n| n != 1),
            Order::Hwc => dims.iter().rposition(|&n| n != 1),
            Order::Any if h * w == 1 => dims.iter().position(|&n| n != 1),
            Order::Any => None,
        };
        axis.filter(|&a| dims[a] == c && c > 1)
    }

    /// True if `axes` are those of height and width: all that have more than one element but the channels.
    pub(super) fn are_pixels(&self, value: &Value, dims: &[usize], axes: &[usize]) -> bool {
        let [h, w, c] = self.shape(value).map(|n| n as usize);
        let kept: Vec<usize> = (0..dims.len()).filter(|a| !axes.contains(a) && dims[*a] != 1).collect();
        let gone: Vec<usize> = (0..dims.len()).filter(|a| axes.contains(a) && dims[*a] != 1).collect();
        let apart = match value.order {
            Order::Chw => kept.last() < gone.first(),
            Order::Hwc => gone.last() < kept.first(),
            Order::Any => true,
        };
        size(dims, &kept) == c && size(dims, &gone) == h * w && (apart || kept.is_empty() || gone.is_empty())
    }

    pub(super) fn slice(&mut self, operation: &'a Operation, start: &[usize], step: &[usize]) -> Result<Value, ConvertError> {
        let (from, to) = (self.dims(operation, &operation.reads[0])?, self.dims(operation, &operation.output)?);
        if step.iter().all(|&s| s == 1) && from.len() == to.len() && (0..from.len()).all(|a| a == 1 || from[a] == to[a]) {
            return self.channels(operation, start.get(1).copied().unwrap_or(0));
        }
        let (mut view, dims) = self.spread(operation)?;
        let number = |n: usize| u32::try_from(n).map_err(|_| operation.node.wrong("a step is out of range"));
        let (&[0, 0, 0, 0], &[1, 1, y, x]) = (start, step) else {
            return Err(operation.node.unsupported(
                format!("it takes every {step:?}th element from {start:?}"),
                "a shortcut takes every other pixel, from the first, and all channels",
            ));
        };
        let out = self.dims(operation, &operation.output)?;
        if y == 0 || x == 0 || view.pads != [0; 4] || out != [1, dims[1], dims[2].div_ceil(y), dims[3].div_ceil(x)] {
            return Err(operation.node.unsupported("it cuts a part out", "a shortcut takes every other pixel to the last, and all channels"));
        }
        view.stride = [view.stride[0] * number(y)?, view.stride[1] * number(x)?];
        Ok(Value { what: What::View(view), order: Order::Chw })
    }

    pub(super) fn pad(&mut self, operation: &'a Operation, before: &[usize], after: &[usize], value: f32) -> Result<Value, ConvertError> {
        let (mut view, _) = self.spread(operation)?;
        let (&[0, front, top, left], &[0, back, bottom, right]) = (before, after) else {
            return Err(operation
                .node
                .unsupported(format!("it pads {before:?} in front and {after:?} behind"), "Pad of height, width and channels is supported"));
        };
        let number = |n: usize| u32::try_from(n).ok().filter(|&n| n <= 1 << 16).ok_or_else(|| operation.node.wrong("a border is out of range"));
        let (pads, channels) = ([number(top)?, number(left)?, number(bottom)?, number(right)?], [number(front)?, number(back)?]);
        let (border, wider) = (pads != [0; 4], channels != [0, 0]);
        let mixed = border && (wider || view.channels != [0, 0] || view.stride != [1, 1]) || wider && view.pads != [0; 4];
        if mixed || wider && value != 0.0 || border && view.pads != [0; 4] && view.value != value {
            return Err(operation
                .node
                .unsupported("a border of this kind", "a border of zeros before a convolution or pool, or channels of zeros on a shortcut"));
        }
        if border {
            view.value = value;
        }
        for (a, b) in view.pads.iter_mut().zip(pads).chain(view.channels.iter_mut().zip(channels)) {
            *a += b;
        }
        Ok(Value { what: What::View(view), order: Order::Chw })
    }

    /// The picture that a Slice or Pad reads, and its dimensions `[1][c][h][w]`.
    fn spread(&mut self, operation: &Operation) -> Result<(View, &'a [usize]), ConvertError> {
        let value = self.read(operation, 0)?;
        let dims = self.dims(operation, &operation.reads[0])?;
        let view = self.view(&value);
        let [h, w, c] = self.tensors[view.tensor].shape;
        let [h, w] = [h.div_ceil(view.stride[0]) + view.pads[0] + view.pads[2], w.div_ceil(view.stride[1]) + view.pads[1] + view.pads[3]];
        let expected = [1, c + view.channels[0] + view.channels[1], h, w].map(|n| n as usize);
        if dims != expected || value.order == Order::Hwc {
            return Err(operation
                .node
                .unsupported(format!("its input {dims:?} is not a tensor [1][c][h][w] of the network"), "Slice and Pad are supported on such tensors"));
        }
        Ok((view, dims))
    }
}
