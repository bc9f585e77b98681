//! ReLU: part of the step that makes its operand, or a step of its own behind a tensor that others read with its sign.

use super::{ConvertError, Draft, Folder, HashMap, HashSet, Op, Operation, StepOp, Tensor, TensorId, Value, What};
use crate::convert::graph::Function;

/// The values that may be stored behind a ReLU, because whoever reads them wants that: every reader is a ReLU, or gives its largest elements or all of them on to such
/// readers only.
pub fn wanted<'a>(needed: &[&'a Operation], readers: &HashMap<&'a str, Vec<&'a Operation>>, output: &str) -> HashSet<&'a str> {
    let never_negative = never_negative(needed);
    let mut excluded = HashSet::new();
    loop {
        let mut found: HashSet<&str> = HashSet::new();
        for operation in needed.iter().rev() {
            let name = operation.output.as_str();
            let able = passes(&operation.op)
                || matches!(operation.op, Op::Conv { .. } | Op::Dense { .. } | Op::BatchNorm { .. } | Op::Affine { .. })
                || matches!(operation.op, Op::Add | Op::Product);
            let wants = |r: &&Operation| r.op == Op::Relu || passes(&r.op) && found.contains(r.output.as_str());
            if able && name != output && !excluded.contains(name) && readers.get(name).is_some_and(|all| all.iter().all(wants)) {
                found.insert(name);
            }
        }
        // What is given on from several tensors is behind a ReLU only if all of them are.
        let ready = |read: &String| found.contains(read.as_str()) || never_negative.contains(read.as_str());
        let mixed = |o: &&&Operation| passes(&o.op) && found.contains(o.output.as_str()) && !o.reads.iter().all(ready);
        let before = excluded.len();
        excluded.extend(needed.iter().filter(mixed).map(|o| o.output.as_str()));
        if excluded.len() == before {
            return found;
        }
    }
}

/// True if an operation computes the same before and behind a ReLU.
const fn passes(op: &Op) -> bool {
    matches!(op, Op::Concat | Op::MaxPool(_) | Op::Mirror(_) | Op::Slice { .. })
}

/// The values of which no element is below 0, whatever the weights are.
fn never_negative<'a>(needed: &[&'a Operation]) -> HashSet<&'a str> {
    let mut found: HashSet<&str> = HashSet::new();
    for operation in needed {
        let all = operation.reads.iter().all(|r| found.contains(r.as_str()));
        let never = match &operation.op {
            Op::Relu | Op::Function(Function::Sigmoid | Function::HardSigmoid { .. }) => true,
            Op::Function(Function::Clip { low, .. }) => *low >= 0.0,
            Op::Concat | Op::MaxPool(_) | Op::Mirror(_) | Op::Slice { .. } | Op::AveragePool { .. } | Op::Mean(_) | Op::Reshape | Op::Add => all,
            _ => false,
        };
        if never {
            found.insert(&operation.output);
        }
    }
    found
}

impl<'a> Folder<'a> {
    /// `max(0, min(limit, x))`.
    pub(super) fn rectify(&mut self, operation: &'a Operation, limit: f64) -> Result<Value, ConvertError> {
        let mut value = self.read(operation, 0)?;
        let name = operation.reads[0].as_str();
        let tensor = match value.what {
            What::Draft(d) => {
                if let Some(draft) = &self.drafts[d] {
                    let concatenated = matches!(draft.op, StepOp::Concat(_)) && !draft.op.reads(draft.input).any(|t| t == 0);
                    let alone = name != self.graph.output && self.readers[name].iter().all(|r| r.op == operation.op);
                    if alone && matches!(draft.op, StepOp::Conv(_) | StepOp::Add(_) | StepOp::Affine { .. } | StepOp::Gate { .. }) {
                        self.emit_rectified(d, limit);
                    } else if alone && draft.nonnegative && draft.limit <= limit {
                        return Ok(value);
                    } else if alone && concatenated {
                        let parts = draft.op.reads(draft.input).collect();
                        let mut behind = self.rectified_parts(parts, limit);
                        if let Some(draft) = &mut self.drafts[d] {
                            draft.input = behind.remove(0);
                            draft.op = StepOp::Concat(behind);
                            draft.value.clone_from(&operation.output);
                            (draft.nonnegative, draft.limit) = (true, limit);
                        }
                        return Ok(value);
                    }
                }
                self.emit(d)
            }
            What::Tensor(t) => t,
            What::View(view) => {
                if !self.nonnegative(view.tensor) || self.tensors[view.tensor].limit > limit || view.value < 0.0 {
                    return Err(operation.node.unsupported("a ReLU behind a Slice or a Pad", "put the ReLU in front of it"));
                }
                return Ok(value);
            }
        };
        if !self.nonnegative(tensor) || self.tensors[tensor].limit > limit {
            value.what = What::Draft(self.rectified(Some(operation), tensor, limit));
        }
        Ok(value)
    }

    /// The draft, already a step, that holds a tensor behind a ReLU; `operation` is the ReLU, if it reads that very tensor. Where the tensor is a concatenation, its parts are
    /// stored behind a ReLU, once for all that read them.
    fn rectified(&mut self, operation: Option<&Operation>, tensor: TensorId, limit: f64) -> usize {
        if let Some(&(.., d)) = self.rectified.iter().find(|r| r.0 == tensor && r.1 == limit) {
            return d;
        }
        let Tensor { shape, .. } = self.tensors[tensor];
        let source = self.steps.iter().find(|s| s.output == tensor);
        let parts: Vec<TensorId> = source.filter(|s| matches!(s.op, StepOp::Concat(_))).map_or_else(Vec::new, |s| s.reads().collect());
        let (mut name, mut value) = source.map_or_else(Default::default, |s| {
            (format!("{}.relu{}", s.name, if limit.is_finite() { limit.to_string() } else { String::new() }), s.value.clone())
        });
        if let Some(operation) = operation {
            name.clone_from(&operation.node.name);
            value.clone_from(&operation.reads[0]);
        }
        let mut relu = true;
        let (op, input) = if let Some(operation) = operation.filter(|_| self.tensors[tensor].foreign.is_some()) {
            value.clone_from(&operation.output);
            relu = false;
            (StepOp::Function(Function::Clip { low: 0.0, high: limit }), tensor)
        } else if parts.is_empty() || parts.contains(&0) {
            let channels = shape[2] as usize;
            (StepOp::Affine { scale: vec![1.0; channels], shift: vec![0.0; channels] }, tensor)
        } else {
            if let Some(operation) = operation {
                value.clone_from(&operation.output);
                relu = false;
            }
            let mut behind = self.rectified_parts(parts, limit);
            (StepOp::Concat(behind.split_off(1)), behind[0])
        };
        self.drafts.push(Some(Draft { name, value, op, input, shape, nonnegative: true, limit, relu }));
        let d = self.drafts.len() - 1;
        self.emit(d);
        self.rectified.push((tensor, limit, d));
        d
    }

    /// The tensors behind a ReLU.
    fn rectified_parts(&mut self, parts: Vec<TensorId>, limit: f64) -> Vec<TensorId> {
        let mut behind = Vec::with_capacity(parts.len());
        for t in parts {
            let ready = self.nonnegative(t) && self.tensors[t].limit <= limit;
            let d = if ready { None } else { Some(self.rectified(None, t, limit)) };
            behind.push(d.map_or(t, |d| self.emit(d)));
        }
        behind
    }

    /// Makes a draft a step with a ReLU.
    fn emit_rectified(&mut self, d: usize, limit: f64) {
        if let Some(draft) = &mut self.drafts[d] {
            draft.relu = true;
            draft.limit = draft.limit.min(limit);
            draft.nonnegative = true;
        }
        self.emit(d);
    }

    /// What a new draft of an operation that passes its operands on is worth: the ONNX value that holds its result, and whether a ReLU comes behind that.
    pub(super) fn passed_on(&self, operation: &'a Operation, nonnegative: bool) -> (&'a str, bool) {
        let name = operation.output.as_str();
        if !nonnegative || !self.wanted.contains(name) {
            return (name, false);
        }
        let relu = self.readers[name].iter().find(|r| r.op == Op::Relu);
        relu.map_or((name, true), |r| (r.output.as_str(), false))
    }
}
