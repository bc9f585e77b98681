//! Which nodes are needed, in which order.

use super::operators::within_the_family;
use crate::convert::error::ConvertError;
use crate::convert::onnx::{Node, Tensor, ValueInfo};
use std::collections::{HashMap, HashSet};

/// The nodes that an output depends on.
pub(super) struct Needed {
    /// Their indices, each behind those that it reads from.
    pub nodes: Vec<usize>,
    /// The graph inputs that they read.
    pub inputs: HashSet<String>,
}

/// Sorts the nodes that `output` depends on.
///
/// # Errors
/// A value that nobody makes or that two nodes make, a cycle.
pub(super) fn needed(nodes: &[Node], inputs: &[ValueInfo], tensors: &HashMap<String, Tensor>, output: &str) -> Result<Needed, ConvertError> {
    let mut makers: HashMap<&str, usize> = HashMap::new();
    for (index, node) in nodes.iter().enumerate() {
        for name in node.outputs.iter().filter(|s| !s.is_empty()) {
            if makers.insert(name, index).is_some() || tensors.contains_key(name) || inputs.iter().any(|i| i.name == *name) {
                return Err(node.wrong(format!("output `{name}` exists already")));
            }
        }
    }
    let dangling =
        |name: &str| ConvertError::Value { name: name.to_owned(), what: "no node, input or initializer makes it".into(), help: "export the model again" };
    let mut found = Needed { nodes: Vec::new(), inputs: HashSet::new() };
    if !makers.contains_key(output) {
        if inputs.iter().any(|i| i.name == output) || tensors.contains_key(output) {
            return Err(ConvertError::Value { name: output.to_owned(), what: "the output is not computed".into(), help: "export the model again" });
        }
        return Err(dangling(output));
    }
    let mut state = vec![State::New; nodes.len()];
    let mut stack = vec![makers[output]];
    let mut file_order = true;
    while let Some(&index) = stack.last() {
        let node = &nodes[index];
        if state[index] != State::New {
            stack.pop();
            if state[index] == State::Open {
                state[index] = State::Done;
                found.nodes.push(index);
            }
            continue;
        }
        state[index] = State::Open;
        for name in node.inputs.iter().filter(|s| !s.is_empty()) {
            match makers.get(name.as_str()) {
                Some(&maker) => {
                    if nodes[maker].outputs.first() != Some(name) && nodes[maker].op != "Split" {
                        within_the_family(&nodes[maker])?;
                        return Err(
                            nodes[maker].unsupported(format!("output `{name}` is read"), "only the first output of a node is supported, except of a Split")
                        );
                    }
                    file_order &= maker < index;
                    match state[maker] {
                        State::New => stack.push(maker),
                        State::Open => return Err(nodes[maker].wrong("it depends on its own output")),
                        State::Done => {}
                    }
                }
                None if tensors.contains_key(name) => {}
                None if inputs.iter().any(|i| i.name == *name) => {
                    found.inputs.insert(name.clone());
                }
                None => return Err(node.wrong(format!("input `{name}` is made by no node, input or initializer"))),
            }
        }
    }
    if file_order {
        found.nodes.sort_unstable();
    }
    Ok(found)
}

/// How far the search has come with a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    /// Its inputs are being looked at.
    Open,
    Done,
}
