//! Operators that take parts of a tensor or put tensors together.

use super::constant::axis;
use super::elementwise::broadcast;
use super::{Importer, Meaning, Op};
use crate::convert::error::{ConvertError, SUPPORTED};
use crate::convert::onnx::Node;

impl Importer {
    pub(super) fn slice(&self, node: &Node) -> Result<Meaning, ConvertError> {
        let from = self.shape(node, node.input(0)?)?;
        let cuts = self.slices(node, from, false)?;
        let dims: Vec<usize> = cuts.iter().map(|c| c.len).collect();
        if dims == from {
            return Ok(Meaning::Alias(node.input(0)?.to_owned()));
        }
        let index = |v: isize| usize::try_from(v).map_err(|_| node.wrong("a negative index"));
        let start = cuts.iter().map(|c| index(c.start)).collect::<Result<_, _>>()?;
        let step = cuts.iter().map(|c| index(c.step)).collect::<Result<_, _>>()?;
        Ok(Meaning::Operation { op: Op::Slice { start, step }, reads: vec![node.input(0)?.to_owned()], dims })
    }

    pub(super) fn pad(&self, node: &Node) -> Result<Meaning, ConvertError> {
        let mode = node.text("mode", "constant")?;
        if !matches!(mode, "constant" | "reflect") {
            return Err(node.unsupported(format!("padding of mode {mode}"), "the modes constant and reflect are supported"));
        }
        let from = self.shape(node, node.input(0)?)?;
        let rank = from.len();
        let pads = self.int_list(node, "pads", 1)?.ok_or_else(|| node.wrong("it has no pads"))?;
        let axes = match self.int_list(node, "axes", 3)? {
            Some(list) => list.iter().map(|&a| axis(node, a, rank)).collect::<Result<Vec<_>, _>>()?,
            None => (0..rank).collect(),
        };
        if pads.len() != 2 * axes.len() {
            return Err(node.wrong(format!("{} pads for {} axes", pads.len(), axes.len())));
        }
        let (mut before, mut after, mut dims) = (vec![0; rank], vec![0; rank], from.to_vec());
        for (k, &a) in axes.iter().enumerate() {
            let size = |v: i64| match v {
                v @ 0..=65536 => usize::try_from(v).map_err(|_| node.wrong("a pad is out of range")),
                v if v < 0 => Err(node.unsupported("a negative pad", "pads of 0 and more are supported")),
                _ => Err(node.wrong("a pad is out of range")),
            };
            (before[a], after[a]) = (size(pads[k])?, size(pads[k + axes.len()])?);
            dims[a] = from[a] + before[a] + after[a];
        }
        if dims == from {
            return Ok(Meaning::Alias(node.input(0)?.to_owned()));
        }
        let op = if mode == "reflect" {
            mirror(node, from, &before, &after)?
        } else {
            let value = match node.optional(2) {
                None => node.float("value", 0.0)?,
                Some(name) => self
                    .constant(name)
                    .and_then(|t| t.as_floats())
                    .and_then(|v| v.first())
                    .copied()
                    .ok_or_else(|| node.unsupported("the value is no constant float", SUPPORTED))?,
            };
            Op::Pad { before, after, value }
        };
        Ok(Meaning::Operation { op, reads: vec![node.input(0)?.to_owned()], dims })
    }

    /// The slices that a Split makes, each with its index among the outputs: those that have a name.
    pub(super) fn split(&self, node: &Node) -> Result<Vec<(usize, Meaning)>, ConvertError> {
        let from = self.shape(node, node.input(0)?)?;
        let along = axis(node, node.int("axis", 0)?, from.len())?;
        let (size, count) = (from[along], node.outputs.len());
        let lens: Vec<usize> = match self.int_list(node, "split", 1)? {
            Some(list) => list.iter().map(|&n| usize::try_from(n).map_err(|_| node.wrong("a size is negative"))).collect::<Result<_, _>>()?,
            None => {
                let len = size.div_ceil(count.max(1));
                (0..count).map(|i| len.min(size.saturating_sub(i * len))).collect()
            }
        };
        let stated = node.int("num_outputs", i64::try_from(count).unwrap_or(i64::MAX))?;
        let sum = lens.iter().fold(0usize, |s, &n| s.saturating_add(n));
        if lens.len() != count || usize::try_from(stated).ok() != Some(count) || sum != size || lens.contains(&0) {
            return Err(node.wrong(format!("it splits {size} elements into {lens:?} for {count} outputs")));
        }
        let mut first = 0;
        let mut slices = Vec::with_capacity(count);
        for (index, &len) in lens.iter().enumerate() {
            let (mut start, mut dims) = (vec![0; from.len()], from.to_vec());
            (start[along], dims[along]) = (first, len);
            first += len;
            if !node.outputs[index].is_empty() {
                let read = node.input(0)?.to_owned();
                let slice = Meaning::Operation { op: Op::Slice { start, step: vec![1; from.len()] }, reads: vec![read.clone()], dims };
                slices.push((index, if count == 1 { Meaning::Alias(read) } else { slice }));
            }
        }
        Ok(slices)
    }

    pub(super) fn concat(&self, node: &Node) -> Result<Meaning, ConvertError> {
        let mut dims = self.shape(node, node.input(0)?)?.to_vec();
        let along = axis(node, node.int("axis", 1)?, dims.len())?;
        let mut reads = Vec::with_capacity(node.inputs.len());
        for (i, name) in node.inputs.iter().enumerate() {
            if self.constant(name).is_some() {
                return Err(node.unsupported(format!("input `{name}` is constant"), "tensors of the network are put together"));
            }
            let part = self.shape(node, node.input(i)?)?;
            if part.len() != dims.len() || (0..dims.len()).any(|a| a != along && part[a] != dims[a]) {
                return Err(node.wrong(format!("its operands are {dims:?} and {part:?}")));
            }
            if i > 0 {
                dims[along] = dims[along].saturating_add(part[along]);
            }
            reads.push(name.clone());
        }
        if reads.len() == 1 {
            return Ok(Meaning::Alias(reads.remove(0)));
        }
        if along != 1 {
            return Err(node.unsupported(format!("it puts {dims:?} together along axis {along}"), "tensors are put together along the channels, axis 1"));
        }
        Ok(Meaning::Operation { op: Op::Concat, reads, dims })
    }

    pub(super) fn expand(&self, node: &Node) -> Result<Meaning, ConvertError> {
        let read = node.input(0)?;
        let from = self.shape(node, read)?;
        let target = self.int_list(node, "shape", 1)?.ok_or_else(|| node.wrong("it has no shape"))?;
        let mut wanted = target.iter().map(|&n| usize::try_from(n).ok()).collect::<Option<Vec<_>>>().ok_or_else(|| node.wrong("a size is negative"))?;
        // A file that was exported with a larger batch.
        if let Some(batch) = wanted.first_mut()
            && target.len() == from.len()
            && Some(*batch) == self.batch
        {
            *batch = 1;
        }
        let dims = broadcast(from, &wanted).ok_or_else(|| node.wrong(format!("{from:?} cannot become {wanted:?}")))?;
        self.unless_same(node, Op::Expand, dims)
    }
}

/// A border that mirrors height and width of a picture, or the length of a signal.
fn mirror(node: &Node, from: &[usize], before: &[usize], after: &[usize]) -> Result<Op, ConvertError> {
    let pads = match (before, after) {
        (&[0, 0, top, left], &[0, 0, bottom, right]) => [top, left, bottom, right],
        (&[0, 0, left], &[0, 0, right]) => [0, left, 0, right],
        _ => {
            let what = format!("it mirrors {before:?} in front and {after:?} behind");
            return Err(node.unsupported(what, "padding of mode reflect is supported of height and width"));
        }
    };
    if (0..from.len()).any(|a| before[a].max(after[a]) >= from[a]) {
        return Err(node.unsupported("a mirrored border as wide as the picture", "padding of mode reflect is supported by less than height and width"));
    }
    Ok(Op::Mirror(pads.map(|n| u32::try_from(n).unwrap_or(u32::MAX))))
}
