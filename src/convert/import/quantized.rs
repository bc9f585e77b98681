//! Files that are quantized already: QuantizeLinear and DequantizeLinear, and the operators on integers that stand for some of them around a float operator.
//!
//! A quantized value becomes the real values that its bytes stand for, so that what follows knows one kind of number.

use super::constant::axis;
use super::{Grid, Importer, Meaning, Op};
use crate::convert::error::{ConvertError, SUPPORTED};
use crate::convert::graph::Quantization;
use crate::convert::onnx::{Attribute, Data, Node, Tensor};
use std::collections::BTreeMap;

/// ONNX data types.
const U8: i32 = 2;
const I8: i32 = 3;
const I32: i32 = 6;
/// Weights of a grid lie within this many steps.
const FARTHEST: f64 = 128.0;
const TYPES: &str = "activations of uint8 and int8 with one scale, weights of uint8 and int8, and biases of int32 are supported";

/// The node without the name of the domain that some quantizers write.
fn plain(op: &str) -> &str {
    op.strip_prefix("com.microsoft.").unwrap_or(op)
}

/// The standard nodes that an operator on integers stands for, if it is one.
///
/// # Errors
/// An operator that chooses its scales while it runs, or a missing input.
pub(super) fn parts(node: &Node) -> Result<Option<Vec<Node>>, ConvertError> {
    let output = node.outputs.first().cloned().unwrap_or_default();
    let mut parts = Parts { node, output, nodes: Vec::new() };
    let scaled = |i: usize| [node.input(i).unwrap_or_default(), node.optional(i + 1).unwrap_or_default()];
    match plain(&node.op) {
        "QLinearConv" => {
            let mut inputs = vec![parts.real("x", node.input(0)?, scaled(1), None), parts.real("w", node.input(3)?, scaled(4), Some(0))];
            inputs.extend(parts.bias(8, [1, 4], 0));
            parts.finish("Conv", inputs, scaled(6));
        }
        "QLinearMatMul" => {
            let inputs = vec![parts.real("x", node.input(0)?, scaled(1), None), parts.real("w", node.input(3)?, scaled(4), Some(1))];
            parts.finish("MatMul", inputs, scaled(6));
        }
        "QGemm" => {
            if node.float("alpha", 1.0)? != 1.0 {
                return Err(node.unsupported("alpha is not 1", "export the network again with an alpha of 1"));
            }
            let along = i64::from(node.int("transB", 0)? == 0);
            let mut inputs = vec![parts.real("x", node.input(0)?, scaled(1), None), parts.real("w", node.input(3)?, scaled(4), Some(along))];
            inputs.extend(parts.bias(6, [1, 4], 0));
            parts.finish("Gemm", inputs, scaled(7));
        }
        op @ ("QLinearAdd" | "QLinearMul") => {
            let inputs = vec![parts.real("x", node.input(0)?, scaled(1), None), parts.real("w", node.input(3)?, scaled(4), None)];
            parts.finish(&op[7..], inputs, scaled(6));
        }
        op @ ("QLinearGlobalAveragePool" | "QLinearAveragePool" | "QLinearSigmoid" | "QLinearLeakyRelu" | "QLinearSoftmax" | "QLinearReduceMean") => {
            if node.int("channels_last", 0)? != 0 {
                return Err(node.unsupported("channels_last is 1", "the layout [n][channels][height][width] is supported"));
            }
            let x = parts.real("x", node.input(0)?, scaled(1), None);
            parts.finish(&op[7..], vec![x], scaled(3));
        }
        "QLinearConcat" => {
            let values = (2..node.inputs.len()).step_by(3);
            let inputs = values.map(|i| Ok(parts.real(&format!("x{i}"), node.input(i)?, scaled(i + 1), None))).collect::<Result<_, ConvertError>>()?;
            parts.finish("Concat", inputs, scaled(0));
        }
        "ConvInteger" | "MatMulInteger" | "DynamicQuantizeLinear" | "DynamicQuantizeMatMul" => {
            return Err(node.unsupported(
                "its scales are chosen while it runs",
                "give the float network instead, or one that was quantized statically, with calibration pictures",
            ));
        }
        _ => return Ok(None),
    }
    Ok(Some(parts.nodes))
}

/// The nodes that one node stands for.
struct Parts<'a> {
    node: &'a Node,
    output: String,
    nodes: Vec<Node>,
}

impl Parts<'_> {
    fn push(&mut self, op: &str, what: &str, inputs: Vec<String>) -> String {
        let made = format!("{}:{what}", self.output);
        let name = format!("{}:{what}", self.node.name);
        self.nodes.push(Node { name, op: op.into(), inputs, outputs: vec![made.clone()], attributes: BTreeMap::new() });
        made
    }

    /// The real values of an integer input.
    fn real(&mut self, what: &str, input: &str, [scale, zero]: [&str; 2], along: Option<i64>) -> String {
        let made = self.push("DequantizeLinear", what, vec![input.into(), scale.into(), zero.into()]);
        if let (Some(along), Some(node)) = (along, self.nodes.last_mut()) {
            node.attributes.insert("axis".into(), Attribute::Int(along));
        }
        made
    }

    /// The real values of input `i`, a bias in units of the product of two scales, where there is one.
    fn bias(&mut self, i: usize, scales: [usize; 2], along: i64) -> Option<String> {
        let input = self.node.optional(i)?.to_owned();
        let scales = scales.iter().map(|&s| self.node.inputs[s].clone()).collect();
        let unit = self.push("Mul", "unit", scales);
        Some(self.real("b", &input, [&unit, ""], Some(along)))
    }

    /// The float operator itself, and its result as integers where there is a scale for them.
    fn finish(&mut self, op: &str, inputs: Vec<String>, [scale, zero]: [&str; 2]) {
        let node = Node { op: op.into(), inputs, ..self.node.clone() };
        self.nodes.push(node);
        if !scale.is_empty() {
            let made = format!("{}:y", self.output);
            if let Some(node) = self.nodes.last_mut() {
                node.outputs = vec![made.clone()];
            }
            self.push("QuantizeLinear", "q", vec![made, scale.into(), zero.into()]);
            if let Some(node) = self.nodes.last_mut() {
                node.outputs = vec![self.output.clone()];
            }
        }
    }
}

/// Scale and zero point of a node, along an axis.
struct Along<'a> {
    scales: &'a [f32],
    zeros: Vec<i64>,
    /// ONNX data type of the integers.
    kind: i32,
    axis: usize,
}

impl Along<'_> {
    /// The index of the scale of element `i` of a tensor.
    fn of(&self, dims: &[usize], i: usize) -> usize {
        if self.scales.len() == 1 { 0 } else { i / dims[self.axis + 1..].iter().product::<usize>().max(1) % dims[self.axis] }
    }
}

impl Importer {
    /// What a QuantizeLinear or DequantizeLinear amounts to; nothing for another operator.
    pub(super) fn quantized(&mut self, node: &Node, output: &str) -> Result<Option<Meaning>, ConvertError> {
        let quantizes = match plain(&node.op) {
            "QuantizeLinear" => true,
            "DequantizeLinear" => false,
            _ => return Ok(None),
        };
        let read = node.input(0)?;
        let dims = self.shape(node, read)?.to_vec();
        let along = self.along(node, &dims, quantizes)?;
        let Some(tensor) = self.constant(read) else {
            let quantization = single(node, &along)?;
            if quantizes {
                return self.keep(node, Op::Quantize(quantization)).map(Some);
            }
            // A DequantizeLinear without zero point has the zero of its operand's type.
            let same = |q: Quantization| q == quantization || q.scale == quantization.scale && q.zero == 128 && node.optional(2).is_none();
            if !self.quantization(read).is_some_and(same) {
                return Err(node.unsupported(
                    format!("`{read}` is not quantized with the same scale and zero point"),
                    "a DequantizeLinear behind a QuantizeLinear of the same scale and zero point is supported",
                ));
            }
            return Ok(Some(Meaning::Alias(read.to_owned())));
        };
        let (tensor, grid) = if quantizes { (integers(node, tensor, &along)?, None) } else { reals(node, tensor, &along)? };
        let kind = along.kind;
        if quantizes {
            self.types.insert(output.to_owned(), kind);
        }
        if let Some(grid) = grid {
            self.grids.insert(output.to_owned(), grid);
        }
        Ok(Some(Meaning::Constant(tensor)))
    }

    fn along(&self, node: &Node, dims: &[usize], quantizes: bool) -> Result<Along<'_>, ConvertError> {
        let constant = |i: usize| -> Result<Option<&Tensor>, ConvertError> {
            let Some(name) = node.optional(i) else { return Ok(None) };
            let missing = || node.unsupported(format!("`{name}` is not constant"), "constant scales and zero points are supported");
            self.constant(name).ok_or_else(missing).map(Some)
        };
        let scales = constant(1)?.and_then(Tensor::as_floats).ok_or_else(|| node.wrong("it has no scale"))?;
        if let Some(bad) = scales.iter().find(|s| !s.is_normal() || **s <= 0.0) {
            return Err(node.wrong(format!("a scale of {bad}")));
        }
        let (zero, input) = (node.optional(2), node.input(0)?);
        let kind = match zero.or((!quantizes).then_some(input)).and_then(|name| self.types.get(name)) {
            Some(&kind) => kind,
            None if zero.is_none() && quantizes => match i32::try_from(node.int("output_dtype", 0)?) {
                Ok(0) => U8,
                Ok(kind) => kind,
                Err(_) => 0,
            },
            // What depends on the picture has the type that its QuantizeLinear gave it.
            None => self.quantization(input).map_or(0, |_| U8),
        };
        if ![U8, I8, I32].contains(&kind) || kind == I32 && quantizes {
            return Err(node.unsupported(format!("integers of ONNX data type {kind}"), TYPES));
        }
        if node.int("block_size", 0)? != 0 {
            return Err(node.unsupported("a scale for every block", TYPES));
        }
        let zeros = constant(2)?.map_or(Some(&[0][..]), Tensor::as_ints).ok_or_else(|| node.wrong("its zero point is a float"))?.to_vec();
        let axis = if scales.len() == 1 { 0 } else { axis(node, node.int("axis", 1)?, dims.len())? };
        let range = if kind == I8 { -128..=127 } else { 0..=255 };
        let fits = scales.len() == 1 || dims.get(axis) == Some(&scales.len());
        if scales.is_empty() || !fits || zeros.len() != 1 && zeros.len() != scales.len() || zeros.iter().any(|z| !range.contains(z)) {
            return Err(node.wrong(format!("{} scales and {} zero points for {dims:?}", scales.len(), zeros.len())));
        }
        Ok(Along { scales, zeros, kind, axis })
    }

    /// How a value that depends on the picture is quantized.
    fn quantization(&self, name: &str) -> Option<Quantization> {
        let maker = self.operations.iter().rfind(|o| o.output == name)?;
        match &maker.op {
            Op::Quantize(quantization) => Some(*quantization),
            Op::MaxPool(_) | Op::Mirror(_) | Op::Reshape | Op::Transpose(_) | Op::Slice { .. } | Op::Relu => self.quantization(&maker.reads[0]),
            _ => None,
        }
    }

    /// Lets a constant that only lies otherwise have the grid of the one that it is made of.
    pub(super) fn hand_on_grid(&mut self, node: &Node, output: &str) {
        let Some(grid) = node.optional(0).and_then(|name| self.grids.get(name)) else { return };
        let moved = match node.op.as_str() {
            "Transpose" => self.shape(node, &node.inputs[0]).ok().and_then(|dims| self.permutation(node, dims.len()).ok()),
            "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten" if grid.steps.len() == 1 => Some(Vec::new()),
            _ => None,
        };
        if let Some(axes) = moved {
            let axis = axes.iter().position(|&a| a == grid.axis).unwrap_or(0);
            let grid = Grid { steps: grid.steps.clone(), axis };
            self.grids.insert(output.to_owned(), grid);
        }
    }
}

/// The quantization of an activation: one scale and one zero point.
fn single(node: &Node, along: &Along<'_>) -> Result<Quantization, ConvertError> {
    let (&[scale], &[zero]) = (along.scales, &along.zeros[..]) else {
        return Err(node.unsupported(format!("{} scales for a value that depends on the picture", along.scales.len()), TYPES));
    };
    let zero = if along.kind == I8 { zero + 128 } else { zero };
    let zero = u8::try_from(zero).map_err(|_| node.unsupported("activations of int32", TYPES))?;
    Ok(Quantization { scale, zero })
}

/// A constant as integers.
fn integers(node: &Node, tensor: &Tensor, along: &Along<'_>) -> Result<Tensor, ConvertError> {
    let values = tensor.as_floats().ok_or_else(|| node.unsupported("it quantizes integers", SUPPORTED))?;
    let (low, high) = if along.kind == I8 { (-128.0, 127.0) } else { (0.0, 255.0) };
    let integer = |(i, v): (usize, &f32)| {
        let s = along.of(&tensor.dims, i);
        #[expect(clippy::cast_precision_loss, reason = "a byte")]
        let zero = along.zeros[s.min(along.zeros.len() - 1)] as f32;
        #[expect(clippy::cast_possible_truncation, reason = "clamped")]
        let q = ((v / along.scales[s]).round_ties_even() + zero).clamp(low, high) as i64;
        q
    };
    Ok(Tensor { dims: tensor.dims.clone(), data: Data::Ints(values.iter().enumerate().map(integer).collect()) })
}

/// The real values of integers, and their grid where every weight of the device can stand on it.
fn reals(node: &Node, tensor: &Tensor, along: &Along<'_>) -> Result<(Tensor, Option<Grid>), ConvertError> {
    let values = tensor.as_ints().ok_or_else(|| node.wrong("it reads floats"))?;
    let mut fits = true;
    let real = |(i, &q): (usize, &i64)| {
        let s = along.of(&tensor.dims, i);
        let from_zero = q.saturating_sub(along.zeros[s.min(along.zeros.len() - 1)]);
        #[expect(clippy::cast_precision_loss, reason = "ONNX computes in f32")]
        let steps = from_zero as f32;
        fits &= f64::from(steps.abs()) <= FARTHEST;
        steps * along.scales[s]
    };
    let data: Vec<f32> = values.iter().enumerate().map(real).collect();
    if data.iter().any(|v| !v.is_finite()) {
        return Err(node.wrong("a value is not finite"));
    }
    let grid = fits.then(|| Grid { steps: along.scales.iter().map(|&s| f64::from(s)).collect(), axis: along.axis });
    Ok((Tensor { dims: tensor.dims.clone(), data: Data::Floats(data) }, grid))
}
