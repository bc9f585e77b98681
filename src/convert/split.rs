//! A long network in parts, for an optimizer that takes time in the square of the length.

use std::collections::{HashMap, HashSet};
use std::string::String;
use std::vec::Vec;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, NodeProto, TypeProto, ValueInfoProto, type_proto};

/// Nodes of a part, where the network can be cut so early.
const NODES: usize = 300;

/// Cuts a graph of one input where a single value passes from the nodes before to those behind, and makes the wanted values that a part computes its outputs.
/// The last output of a part is the only input of the next one. Constants stand in every part.
#[must_use]
pub(super) fn split(graph: GraphProto, wanted: &[String]) -> Vec<GraphProto> {
    let GraphProto { input, mut initializer, node, .. } = graph;
    let (constants, nodes): (Vec<_>, Vec<_>) = node.into_iter().partition(|n| n.input.iter().all(String::is_empty));
    let mut cuts = cuts(&nodes, &input);
    cuts.push((nodes.len(), None));
    let (mut parts, mut first, mut reads) = (Vec::new(), 0, input);
    let mut rest = nodes.into_iter();
    for (end, passed) in cuts {
        let node: Vec<NodeProto> = rest.by_ref().take(end - first).collect();
        let made: HashSet<&String> = node.iter().chain(&constants).flat_map(|n| &n.output).collect();
        let mut output: Vec<&String> = wanted.iter().filter(|w| made.contains(w) && Some(*w) != passed.as_ref()).collect();
        output.extend(&passed);
        let mut seen = HashSet::new();
        output.retain(|o| seen.insert(*o));
        let output = output.into_iter().map(|name| value(name)).collect();
        let (read, later) = (read(&node), read(rest.as_slice()));
        let (own, mut other): (Vec<_>, Vec<_>) = initializer.into_iter().partition(|t| read.contains(&t.name));
        other.extend(own.iter().filter(|t| later.contains(&t.name)).cloned());
        initializer = other;
        let input = core::mem::replace(&mut reads, passed.iter().map(|p| value(p)).collect());
        parts.push(GraphProto { input, output, initializer: own, node: constants.iter().cloned().chain(node).collect(), ..Default::default() });
        first = end;
    }
    parts
}

fn read(nodes: &[NodeProto]) -> HashSet<String> {
    nodes.iter().flat_map(|n| n.input.iter().cloned()).collect()
}

/// A value of floats; its shape is told later.
fn value(name: &str) -> ValueInfoProto {
    let floats = type_proto::Tensor { elem_type: DataType::Float as i32, shape: None };
    let kind = TypeProto { value: Some(type_proto::Value::TensorType(floats)), ..Default::default() };
    ValueInfoProto { name: name.into(), r#type: Some(kind), ..Default::default() }
}

/// Where the nodes may be cut, [`NODES`] apart or more: how many stand before, and the value that passes.
fn cuts(nodes: &[NodeProto], inputs: &[ValueInfoProto]) -> Vec<(usize, Option<String>)> {
    let last: HashMap<&str, usize> = nodes.iter().enumerate().flat_map(|(i, n)| n.input.iter().map(move |v| (v.as_str(), i))).collect();
    let made: HashMap<&str, usize> = nodes.iter().enumerate().flat_map(|(i, n)| n.output.iter().map(move |v| (v.as_str(), i))).collect();
    let mut cuts: Vec<(usize, Option<String>)> = Vec::new();
    // Nodes in another order than they run in cannot be cut.
    if nodes.iter().enumerate().any(|(i, n)| n.input.iter().any(|v| made.get(v.as_str()).is_some_and(|&m| m >= i))) {
        return cuts;
    }
    let mut alive: Vec<&str> = inputs.iter().map(|i| i.name.as_str()).filter(|v| last.contains_key(v)).collect();
    for (i, node) in nodes.iter().enumerate() {
        alive.retain(|v| last[v] > i);
        alive.extend(node.output.iter().map(String::as_str).filter(|v| last.get(v).is_some_and(|&l| l > i)));
        let before = cuts.last().map_or(0, |c| c.0);
        if let [passed] = alive[..]
            && i + 1 - before >= NODES
            && nodes.len() - i > NODES / 2
        {
            cuts.push((i + 1, Some(passed.into())));
        }
    }
    cuts
}
