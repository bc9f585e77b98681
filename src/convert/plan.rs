//! Where each tensor lies in the arena, and how many rows a convolution computes together.

use super::quantized::{Op, Quantized};
use crate::format::{Operation, PlanKind};
use crate::shape::{LINE, View, round_up};
use std::vec::Vec;

/// A plan: memory for the tensors of a [`Quantized`] network, in its own order of steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Which plan it is.
    pub kind: PlanKind,
    /// Where each tensor lies; tensors that no step uses lie at 0.
    pub views: Vec<View>,
    /// Output rows that each step computes together.
    pub block_rows: Vec<usize>,
    /// Bytes of the arena that hold tensors.
    pub tensor_bytes: usize,
    /// Bytes of scratch a thread.
    pub scratch_bytes: usize,
}

/// The first and the last step that need the buffer of a tensor; the picture is there before the first step, the scores outlive the last.
fn lifetime(network: &Quantized, buffer: usize) -> Option<(usize, usize)> {
    let lies_there = |t: usize| t == buffer || network.tensors[t].part.is_some_and(|(whole, _)| whole == buffer);
    let made = network.steps.iter().position(|s| lies_there(s.output));
    let read = network.steps.iter().rposition(|s| s.reads().any(lies_there));
    match (made, read) {
        (None, Some(last)) => Some((0, last)),
        (Some(first), None) => Some((first, network.steps.len())),
        (Some(first), Some(last)) => Some((first, network.steps.iter().rposition(|s| lies_there(s.output)).unwrap_or(first).max(last))),
        (None, None) => None,
    }
}

/// The plan with the least time: layer by layer, the largest tensors placed first, each at the lowest place that is free for as long as it lives.
#[must_use]
pub fn fast(network: &Quantized) -> Plan {
    let buffers = (0..network.tensors.len()).filter(|&t| network.tensors[t].part.is_none());
    let mut order: Vec<_> = buffers.filter_map(|t| Some((t, lifetime(network, t)?))).collect();
    let bytes = |t: usize| round_up(network.tensors[t].view(0).bytes(), LINE);
    order.sort_by_key(|&(t, (first, _))| (core::cmp::Reverse(bytes(t)), first));
    let mut views: Vec<View> = network.tensors.iter().map(|t| t.view(0)).collect();
    let mut placed: Vec<(usize, usize, (usize, usize))> = Vec::new();
    for (t, life) in order {
        let mut taken: Vec<_> = placed.iter().filter(|(_, _, other)| other.0 <= life.1 && life.0 <= other.1).map(|&(at, len, _)| (at, at + len)).collect();
        taken.sort_unstable();
        let mut at = 0;
        for (start, end) in taken {
            if at + bytes(t) <= start {
                break;
            }
            at = at.max(end);
        }
        views[t] = network.tensors[t].view(at);
        placed.push((at, bytes(t), life));
    }
    for (t, tensor) in network.tensors.iter().enumerate() {
        if let Some((whole, channel)) = tensor.part {
            let View { offset, pixel, row, .. } = views[whole];
            views[t] = View { offset: offset + channel as usize * tensor.kind.bytes(), pixel, row, ..views[t] };
        }
    }
    let tensor_bytes = placed.iter().map(|(at, len, _)| at + len).max().unwrap_or(0);
    let block_rows: Vec<usize> = network
        .steps
        .iter()
        .map(|s| if matches!(s.op, Op::Conv(_)) { block_rows(&views[s.input], &views[s.output], s.operation(&views, 1)) } else { 1 })
        .collect();
    let scratch = |(step, &rows): (&super::quantized::Step, &usize)| step.operation(&views, rows).map_or(0, |operation| round_up(operation.scratch(), LINE));
    let scratch_bytes = network.steps.iter().zip(&block_rows).map(scratch).max().unwrap_or(0);
    Plan { kind: PlanKind::Fast, views, block_rows, tensor_bytes, scratch_bytes }
}

/// Bytes that a block of rows should stay within, so that it lies in the first-level cache while all panels of weights pass over it.
const BLOCK_BYTES: usize = 24 << 10;

/// Output rows of a block: as many as keep what they read and, without a copy, what they write near [`BLOCK_BYTES`].
fn block_rows(input: &View, output: &View, operation: Option<Operation<'_>>) -> usize {
    let Some(Operation::Conv(conv)) = operation else { return 1 };
    let stride = conv.window.stride[0] as usize;
    let row = input.row.max(1) * stride + if conv.copies() { 0 } else { output.row };
    let halo = (conv.window.extent()[0] as usize).saturating_sub(stride) * input.row;
    (BLOCK_BYTES.saturating_sub(halo) / row).clamp(1, output.h as usize)
}
