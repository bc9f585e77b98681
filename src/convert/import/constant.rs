//! Constants: what can be computed without the picture.

use super::Importer;
use crate::convert::error::{ConvertError, SUPPORTED};
use crate::convert::onnx::{Attribute, Data, Node, Tensor};

/// Elements that a computed constant may have at most.
const MOST: usize = 1 << 26;

impl Importer {
    /// The constant that `node` makes, or `None` if it depends on the picture.
    ///
    /// # Errors
    /// All inputs are constant, but the operator cannot be evaluated or its inputs do not fit.
    pub(super) fn evaluate(&self, node: &Node) -> Result<Option<Tensor>, ConvertError> {
        match node.op.as_str() {
            "Constant" => return constant(node).map(Some),
            "Shape" => return self.shape_of(node).map(Some),
            _ => {}
        }
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for name in node.inputs.iter().filter(|s| !s.is_empty()) {
            match self.constant(name) {
                Some(t) => inputs.push(t),
                None => return Ok(None),
            }
        }
        let Some(&first) = inputs.first() else { return Err(node.unsupported("it has no input", SUPPORTED)) };
        let result = match node.op.as_str() {
            "Gather" => gather(node, first, argument(node, &inputs, 1)?)?,
            "Concat" => concat(node, &inputs)?,
            "Cast" => cast(node, first)?,
            "ConstantOfShape" => filled(node, first)?,
            "Add" | "Sub" | "Mul" | "Div" => arithmetic(node, first, argument(node, &inputs, 1)?)?,
            "Unsqueeze" | "Squeeze" | "Reshape" | "Flatten" => Tensor { dims: self.reshaped(node, &first.dims)?, data: first.data.clone() },
            "Transpose" => {
                let axes = self.permutation(node, first.dims.len())?;
                let dims: Vec<usize> = axes.iter().map(|&a| first.dims[a]).collect();
                let strides = strides(&first.dims);
                let steps: Vec<isize> = axes.iter().map(|&a| strides[a]).collect();
                pick(first, &dims, &steps, 0)
            }
            "Slice" => {
                let cut = self.slices(node, &first.dims, true)?;
                let dims: Vec<usize> = cut.iter().map(|c| c.len).collect();
                let strides = strides(&first.dims);
                let steps: Vec<isize> = cut.iter().zip(&strides).map(|(c, s)| c.step * s).collect();
                let start = cut.iter().zip(&strides).map(|(c, s)| c.start * s).sum();
                pick(first, &dims, &steps, start)
            }
            _ => {
                return Err(node.unsupported(
                    "this operator on constants is not supported",
                    "compute the constants before: run `onnxsim` on the file, or export with constant folding",
                ));
            }
        };
        Ok(Some(result))
    }

    fn shape_of(&self, node: &Node) -> Result<Tensor, ConvertError> {
        let dims = self.shape(node, node.input(0)?)?;
        let rank = i64::try_from(dims.len()).unwrap_or(i64::MAX);
        let bound = |v: i64| usize::try_from(if v < 0 { v.saturating_add(rank) } else { v }.clamp(0, rank)).unwrap_or(0);
        let (start, end) = (bound(node.int("start", 0)?), bound(node.int("end", rank)?));
        Ok(Tensor::ints(dims.get(start..end).unwrap_or_default().iter().map(|&d| i64::try_from(d).unwrap_or(i64::MAX)).collect()))
    }
}

fn argument<'a>(node: &Node, inputs: &[&'a Tensor], i: usize) -> Result<&'a Tensor, ConvertError> {
    inputs.get(i).copied().ok_or_else(|| node.wrong(format!("input {i} is missing")))
}

fn constant(node: &Node) -> Result<Tensor, ConvertError> {
    let Some((name, value)) = node.attributes.first_key_value() else { return Err(node.wrong("it has no value")) };
    Ok(match value {
        Attribute::Tensor(t) => t.clone(),
        Attribute::Int(i) => Tensor { dims: vec![], data: Data::Ints(vec![*i]) },
        Attribute::Ints(v) => Tensor::ints(v.clone()),
        Attribute::Float(f) => Tensor { dims: vec![], data: Data::Floats(vec![*f]) },
        Attribute::Floats(v) => Tensor { dims: vec![v.len()], data: Data::Floats(v.clone()) },
        Attribute::Text(_) | Attribute::Other => return Err(node.unsupported(format!("a constant given as {name}"), "constants of numbers are supported")),
    })
}

/// Elements from one element to the next along each axis.
fn strides(dims: &[usize]) -> Vec<isize> {
    let mut strides = vec![1isize; dims.len()];
    for a in (1..dims.len()).rev() {
        strides[a - 1] = strides[a].saturating_mul(isize::try_from(dims[a]).unwrap_or(isize::MAX));
    }
    strides
}

/// A tensor of `dims` whose element at index `i` is element `start + sum(i · steps)` of `from`.
fn pick(from: &Tensor, dims: &[usize], steps: &[isize], start: isize) -> Tensor {
    let count: usize = dims.iter().product();
    let mut index = vec![0usize; dims.len()];
    let mut order = Vec::with_capacity(count);
    let mut at = start;
    for _ in 0..count {
        order.push(usize::try_from(at).unwrap_or(usize::MAX));
        for a in (0..dims.len()).rev() {
            index[a] += 1;
            at += steps[a];
            if index[a] < dims[a] {
                break;
            }
            at -= steps[a] * isize::try_from(dims[a]).unwrap_or(0);
            index[a] = 0;
        }
    }
    let data = match &from.data {
        Data::Floats(v) => Data::Floats(order.iter().map(|&i| v.get(i).copied().unwrap_or_default()).collect()),
        Data::Ints(v) => Data::Ints(order.iter().map(|&i| v.get(i).copied().unwrap_or_default()).collect()),
    };
    Tensor { dims: dims.to_vec(), data }
}

fn gather(node: &Node, from: &Tensor, indices: &Tensor) -> Result<Tensor, ConvertError> {
    let rank = from.dims.len();
    let axis = axis(node, node.int("axis", 0)?, rank)?;
    let wanted = indices.as_ints().ok_or_else(|| node.wrong("the indices are no integers"))?;
    let size = from.dims[axis];
    let mut parts = Vec::with_capacity(wanted.len());
    for &i in wanted {
        let at = if i < 0 { i.saturating_add(i64::try_from(size).unwrap_or(i64::MAX)) } else { i };
        parts.push(usize::try_from(at).ok().filter(|&a| a < size).ok_or_else(|| node.wrong(format!("index {i} is out of range")))?);
    }
    let inner: usize = from.dims[axis + 1..].iter().product();
    let outer: usize = from.dims[..axis].iter().product();
    let dims = [&from.dims[..axis], &indices.dims[..], &from.dims[axis + 1..]].concat();
    let ranges: Vec<_> = (0..outer).flat_map(|o| parts.iter().map(move |p| (o * size + p) * inner..(o * size + p + 1) * inner)).collect();
    limit(node, ranges.len().saturating_mul(inner))?;
    let data = match &from.data {
        Data::Floats(v) => Data::Floats(ranges.into_iter().flat_map(|r| v[r].iter().copied()).collect()),
        Data::Ints(v) => Data::Ints(ranges.into_iter().flat_map(|r| v[r].iter().copied()).collect()),
    };
    Ok(Tensor { dims, data })
}

fn concat(node: &Node, inputs: &[&Tensor]) -> Result<Tensor, ConvertError> {
    let first = inputs[0];
    let axis = axis(node, node.int("axis", 0)?, first.dims.len())?;
    let same = |t: &&Tensor| t.dims.len() == first.dims.len() && t.dims.iter().zip(&first.dims).enumerate().all(|(a, (x, y))| a == axis || x == y);
    let floats = first.as_floats().is_some();
    if !inputs.iter().all(|t| same(t) && t.as_floats().is_some() == floats) {
        return Err(node.wrong("the inputs do not fit each other"));
    }
    limit(node, inputs.iter().map(|t| t.len()).fold(0, usize::saturating_add))?;
    let mut dims = first.dims.clone();
    dims[axis] = inputs.iter().map(|t| t.dims[axis]).sum();
    let outer: usize = first.dims[..axis].iter().product();
    let piece = |t: &Tensor, o: usize| o * (t.len() / outer.max(1))..(o + 1) * (t.len() / outer.max(1));
    let data = if floats {
        Data::Floats((0..outer).flat_map(|o| inputs.iter().flat_map(move |t| t.as_floats().unwrap_or_default()[piece(t, o)].iter().copied())).collect())
    } else {
        Data::Ints((0..outer).flat_map(|o| inputs.iter().flat_map(move |t| t.as_ints().unwrap_or_default()[piece(t, o)].iter().copied())).collect())
    };
    Ok(Tensor { dims, data })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "ONNX casts truncate towards zero and round to f32")]
fn cast(node: &Node, from: &Tensor) -> Result<Tensor, ConvertError> {
    let data = match (node.int("to", 0)?, &from.data) {
        (1 | 10 | 11, Data::Ints(v)) => Data::Floats(v.iter().map(|&i| i as f32).collect()),
        (6 | 7, Data::Floats(v)) => Data::Ints(v.iter().map(|&f| f as i64).collect()),
        (1 | 10 | 11, Data::Floats(_)) | (6 | 7, Data::Ints(_)) => from.data.clone(),
        (to, _) => {
            return Err(
                node.unsupported(format!("a cast to ONNX data type {to}"), "casts of constants to float and to integers of 32 and 64 bits are supported")
            );
        }
    };
    Ok(Tensor { dims: from.dims.clone(), data })
}

fn filled(node: &Node, shape: &Tensor) -> Result<Tensor, ConvertError> {
    let sizes = shape.as_ints().ok_or_else(|| node.wrong("the shape is no list of integers"))?;
    let dims: Option<Vec<usize>> = sizes.iter().map(|&s| usize::try_from(s).ok()).collect();
    let dims = dims.ok_or_else(|| node.wrong("the shape is out of range"))?;
    let count = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).unwrap_or(usize::MAX);
    limit(node, count)?;
    let data = match node.attributes.get("value") {
        None => Data::Floats(vec![0.0; count]),
        Some(Attribute::Tensor(Tensor { data: Data::Floats(v), .. })) if v.len() == 1 => Data::Floats(vec![v[0]; count]),
        Some(Attribute::Tensor(Tensor { data: Data::Ints(v), .. })) if v.len() == 1 => Data::Ints(vec![v[0]; count]),
        Some(_) => return Err(node.wrong("attribute value is no single number")),
    };
    Ok(Tensor { dims, data })
}

fn arithmetic(node: &Node, a: &Tensor, b: &Tensor) -> Result<Tensor, ConvertError> {
    let rank = a.dims.len().max(b.dims.len());
    let padded = |t: &Tensor| [vec![1; rank - t.dims.len()], t.dims.clone()].concat();
    let (left, right) = (padded(a), padded(b));
    let mut dims = Vec::with_capacity(rank);
    for (&l, &r) in left.iter().zip(&right) {
        if l != r && l != 1 && r != 1 {
            return Err(node.wrong(format!("the inputs {:?} and {:?} do not fit each other", a.dims, b.dims)));
        }
        dims.push(if l == 1 { r } else { l });
    }
    limit(node, dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).unwrap_or(usize::MAX))?;
    let spread = |t: &Tensor, own: &[usize]| {
        let steps: Vec<isize> = strides(own).into_iter().zip(own).map(|(s, &d)| if d == 1 { 0 } else { s }).collect();
        pick(t, &dims, &steps, 0).data
    };
    let data = match (spread(a, &left), spread(b, &right)) {
        (Data::Floats(x), Data::Floats(y)) => {
            let f = |(&x, &y): (&f32, &f32)| match node.op.as_str() {
                "Add" => x + y,
                "Sub" => x - y,
                "Mul" => x * y,
                _ => x / y,
            };
            Data::Floats(x.iter().zip(&y).map(f).collect())
        }
        (Data::Ints(x), Data::Ints(y)) => {
            let f = |(&x, &y): (&i64, &i64)| match node.op.as_str() {
                "Add" => x.checked_add(y),
                "Sub" => x.checked_sub(y),
                "Mul" => x.checked_mul(y),
                _ => x.checked_div(y),
            };
            Data::Ints(x.iter().zip(&y).map(f).collect::<Option<_>>().ok_or_else(|| node.wrong("the result is out of range"))?)
        }
        _ => return Err(node.wrong("the inputs have different types")),
    };
    match &data {
        Data::Floats(v) if v.iter().any(|f| !f.is_finite()) => Err(node.wrong("the result is not finite")),
        _ => Ok(Tensor { dims, data }),
    }
}

fn limit(node: &Node, elements: usize) -> Result<(), ConvertError> {
    if elements > MOST { Err(node.wrong("a constant of more than 256 MiB")) } else { Ok(()) }
}

/// The axis that `value` names, counted from the end where it is negative.
pub(super) fn axis(node: &Node, value: i64, rank: usize) -> Result<usize, ConvertError> {
    let at = if value < 0 { value.saturating_add(i64::try_from(rank).unwrap_or(0)) } else { value };
    usize::try_from(at).ok().filter(|&a| a < rank).ok_or_else(|| node.wrong(format!("axis {value} is out of range")))
}
