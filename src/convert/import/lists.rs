//! Lists of integers that are attributes in old operator sets and inputs in new ones: axes, shapes, slices.

use super::Importer;
use super::constant::axis;
use crate::convert::error::ConvertError;
use crate::convert::onnx::Node;

/// What a Slice takes along one axis.
pub(super) struct Cut {
    /// First index.
    pub start: isize,
    /// Step, not 0.
    pub step: isize,
    /// Number of elements.
    pub len: usize,
}

impl Importer {
    /// The list that is attribute `name` or input `i`.
    pub(super) fn int_list<'a>(&'a self, node: &'a Node, name: &str, i: usize) -> Result<Option<&'a [i64]>, ConvertError> {
        let Some(input) = node.optional(i) else { return node.ints(name) };
        let tensor = self.constant(input).ok_or_else(|| node.unsupported(format!("{name} depend on the picture"), "constant values are supported there"))?;
        tensor.as_ints().map(Some).ok_or_else(|| node.wrong(format!("{name} are no integers")))
    }

    /// The dimensions that a Reshape, Flatten, Squeeze or Unsqueeze makes of `from`.
    pub(super) fn reshaped(&self, node: &Node, from: &[usize]) -> Result<Vec<usize>, ConvertError> {
        let axes = |rank: usize| -> Result<Vec<usize>, ConvertError> {
            self.int_list(node, "axes", 1)?.unwrap_or_default().iter().map(|&a| axis(node, a, rank)).collect()
        };
        match node.op.as_str() {
            "Flatten" => {
                let at = node.int("axis", 1)?;
                let rank = i64::try_from(from.len()).unwrap_or(i64::MAX);
                let at = usize::try_from(if at < 0 { at.saturating_add(rank) } else { at }).ok().filter(|&a| a <= from.len());
                let (front, back) = from.split_at(at.ok_or_else(|| node.wrong("the axis is out of range"))?);
                Ok(vec![front.iter().product(), back.iter().product()])
            }
            "Squeeze" => {
                let given = axes(from.len())?;
                if given.iter().any(|&a| from[a] != 1) {
                    return Err(node.wrong(format!("it squeezes axes {given:?} of {from:?}")));
                }
                let gone = |a: usize| if given.is_empty() { from[a] == 1 } else { given.contains(&a) };
                Ok((0..from.len()).filter(|&a| !gone(a)).map(|a| from[a]).collect())
            }
            "Unsqueeze" => {
                let count = self.int_list(node, "axes", 1)?.map_or(0, <[i64]>::len);
                let mut given = axes(from.len() + count)?;
                given.sort_unstable();
                given.dedup();
                if given.len() != count {
                    return Err(node.wrong("an axis stands there twice"));
                }
                let mut dims = from.to_vec();
                for a in given {
                    dims.insert(a, 1);
                }
                Ok(dims)
            }
            _ => self.reshape(node, from),
        }
    }

    fn reshape(&self, node: &Node, from: &[usize]) -> Result<Vec<usize>, ConvertError> {
        let target = self.int_list(node, "shape", 1)?.ok_or_else(|| node.wrong("it has no shape"))?;
        let all: usize = from.iter().product();
        let keep_zero = node.int("allowzero", 0)? != 0;
        let fail = || node.wrong(format!("{from:?} cannot become {target:?}"));
        let resolve = |batch_to_one: bool| -> Option<Vec<usize>> {
            let mut open = None;
            let mut dims = Vec::with_capacity(target.len());
            for (a, &t) in target.iter().enumerate() {
                dims.push(match t {
                    -1 if open.is_none() => {
                        open = Some(a);
                        1
                    }
                    0 if !keep_zero => *from.get(a)?,
                    t if batch_to_one && a == 0 && usize::try_from(t).ok() == self.batch => 1,
                    t => usize::try_from(t).ok()?,
                });
            }
            let known = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
            if let Some(a) = open {
                dims[a] = all.checked_div(known)?;
            }
            (dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d))? == all).then_some(dims)
        };
        resolve(from.len() > 1).or_else(|| resolve(false)).ok_or_else(fail)
    }

    /// The permutation of a Transpose.
    pub(super) fn permutation(&self, node: &Node, rank: usize) -> Result<Vec<usize>, ConvertError> {
        let Some(perm) = node.ints("perm")? else { return Ok((0..rank).rev().collect()) };
        let axes = perm.iter().map(|&a| axis(node, a, rank)).collect::<Result<Vec<_>, _>>()?;
        let mut sorted = axes.clone();
        sorted.sort_unstable();
        if sorted.iter().copied().eq(0..rank) { Ok(axes) } else { Err(node.wrong(format!("perm {perm:?} is no permutation of {rank} axes"))) }
    }

    /// What a Slice takes along each axis of `from`; a negative step only where `backwards` allows it.
    pub(super) fn slices(&self, node: &Node, from: &[usize], backwards: bool) -> Result<Vec<Cut>, ConvertError> {
        let missing = |what: &str| node.wrong(format!("it has no {what}"));
        let starts = self.int_list(node, "starts", 1)?.ok_or_else(|| missing("starts"))?;
        let ends = self.int_list(node, "ends", 2)?.ok_or_else(|| missing("ends"))?;
        let axes = match self.int_list(node, "axes", 3)? {
            Some(list) => list.iter().map(|&a| axis(node, a, from.len())).collect::<Result<Vec<_>, _>>()?,
            None => (0..starts.len()).collect(),
        };
        let steps = self.int_list(node, "steps", 4)?.map_or_else(|| vec![1; starts.len()], <[i64]>::to_vec);
        if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() || axes.iter().any(|&a| a >= from.len()) {
            return Err(node.wrong("starts, ends, axes and steps differ in length"));
        }
        let mut cuts: Vec<Cut> = from.iter().map(|&len| Cut { start: 0, step: 1, len }).collect();
        for (i, &a) in axes.iter().enumerate() {
            let size = i64::try_from(from[a]).map_err(|_| node.wrong("a size is out of range"))?;
            let step = steps[i];
            if step == 0 || (step < 0 && !backwards) {
                return Err(node.unsupported(format!("a step of {step}"), "steps of 1 and more are supported"));
            }
            if size == 0 {
                continue;
            }
            let from_end = |v: i64| if v < 0 { v.saturating_add(size) } else { v };
            let (low, high) = if step > 0 { (0, size) } else { (-1, size - 1) };
            let start = from_end(starts[i]).clamp(low.max(0), high);
            let end = if step < 0 && ends[i] < -size { -1 } else { from_end(ends[i]).clamp(low, high) };
            let span = if step > 0 { end - start } else { start - end };
            let len = if span <= 0 { 0 } else { (span - 1) / step.saturating_abs() + 1 };
            let number = |v: i64| isize::try_from(v.clamp(-size - 1, size.max(1))).map_err(|_| node.wrong("a size is out of range"));
            cuts[a] = Cut { start: number(start)?, step: number(step)?, len: usize::try_from(len).map_err(|_| node.wrong("a size is out of range"))? };
        }
        Ok(cuts)
    }
}
