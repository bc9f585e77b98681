//! Residual blocks that are left out: whoever reads a block's sum reads its shortcut instead.
//!
//! "Residual Networks Behave Like Ensembles of Relatively Shallow Networks" (Veit et al. 2016): without one of its blocks a residual network loses little.

use super::ConvertError;
use super::graph::Network;
use super::import::{Graph, Op};
use std::collections::{HashMap, HashSet};
use std::string::String;
use std::vec::Vec;

/// The two ONNX values of a residual block that can be left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bypass {
    /// The block's number.
    pub block: u32,
    /// `x + F(x)`, before its ReLU.
    pub sum: String,
    /// `x`.
    pub shortcut: String,
}

/// The blocks of `network`, the folded form of `graph`, whose shortcut is the identity: the others cannot be left out.
#[must_use]
pub fn bypasses(graph: &Graph, network: &Network) -> Vec<Bypass> {
    let makers: HashMap<&str, usize> = graph.operations.iter().enumerate().map(|(i, o)| (o.output.as_str(), i)).collect();
    let (mut found, mut closed) = (Vec::new(), HashSet::new());
    for step in network.steps.iter().rev() {
        let sum = makers.get(step.value.as_str()).map(|&i| &graph.operations[i]).filter(|o| o.op == Op::Add);
        let (Some(block), Some([a, b])) = (step.block, sum.map(|o| o.reads.as_slice())) else { continue };
        if !closed.insert(block) {
            continue;
        }
        let leads = |from: &str, to: &str| leads(graph, &makers, from, to);
        let shortcut = if leads(a, b) { a } else { b };
        if *shortcut != graph.input && leads(shortcut, if shortcut == a { b } else { a }) {
            found.push(Bypass { block, sum: step.value.clone(), shortcut: shortcut.clone() });
        }
    }
    found.sort_by_key(|f: &Bypass| f.block);
    found
}

/// True if value `to` is computed from value `from`.
fn leads(graph: &Graph, makers: &HashMap<&str, usize>, from: &str, to: &str) -> bool {
    let first = makers.get(from).copied();
    let (mut open, mut seen) = (std::vec![to], HashSet::new());
    while let Some(value) = open.pop() {
        if value == from {
            return true;
        }
        if let Some(&i) = makers.get(value).filter(|&&i| first.is_none_or(|f| i > f))
            && seen.insert(i)
        {
            open.extend(graph.operations[i].reads.iter().map(String::as_str));
        }
    }
    false
}

/// Picks blocks by their numbers.
///
/// # Errors
/// If a block cannot be left out.
pub fn pick(all: &[Bypass], blocks: &[u32]) -> Result<Vec<Bypass>, ConvertError> {
    let one = |&n: &u32| {
        all.iter().find(|b| b.block == n).cloned().ok_or_else(|| {
            let able = all.iter().map(|b| std::format!("{}", b.block)).collect::<Vec<_>>().join(", ");
            let able = if able.is_empty() { "none".into() } else { able };
            ConvertError::Block {
                what: std::format!("residual block {n} cannot be left out"),
                help: std::format!("those whose shortcut is the identity can: {able}"),
            }
        })
    };
    blocks.iter().map(one).collect()
}

/// The value to read instead of `name`, if it is the sum of a block that is left out.
#[must_use]
pub fn instead<'a>(left_out: &'a [Bypass], name: &str) -> Option<&'a str> {
    let step = |name: &str| left_out.iter().find(|b| b.sum == name).map(|b| b.shortcut.as_str());
    core::iter::successors(step(name), |next| step(next)).last()
}

/// Leaves blocks out of a graph.
pub fn apply(graph: &mut Graph, left_out: &[Bypass]) {
    for read in graph.operations.iter_mut().flat_map(|o| &mut o.reads) {
        if let Some(other) = instead(left_out, read) {
            *read = other.into();
        }
    }
}
