//! The ONNX file: bytes to nodes and tensors of our own, checked before anything else reads them.
//!
//! What is checked here: the protobuf decodes; every tensor has as many bytes as its dimensions say and is finite; attributes have one value of one type and are in
//! range; external data exists, is long enough and lies in the folder of the ONNX or below.

use super::error::ConvertError;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use tract_onnx::pb;
use tract_onnx::prelude::Framework;

mod external;
mod tensor;

pub use tensor::{Data, Tensor};

/// The oldest and the newest version of the operator set that is read.
pub const OPSETS: core::ops::RangeInclusive<i64> = 7..=24;

/// Attributes and dimensions beyond this are taken for damage.
const LIMIT: i64 = 1 << 31;

/// A decoded ONNX model.
#[derive(Clone, Debug, PartialEq)]
pub struct Onnx {
    /// Name of the graph, or of the file where it has none.
    pub name: String,
    /// Version of the default operator set.
    pub opset: i64,
    /// Graph inputs that are no initializers, in order.
    pub inputs: Vec<ValueInfo>,
    /// Names of the graph outputs, in order.
    pub outputs: Vec<String>,
    /// The nodes in the order of the file; names are unique.
    pub nodes: Vec<Node>,
    /// The initializers by name.
    pub tensors: HashMap<String, Tensor>,
    /// ONNX data types of the initializers and of what the Constant nodes make.
    pub types: HashMap<String, i32>,
    /// SHA-256 of the file, followed by every external file in the order of their names.
    pub sha256: [u8; 32],
}

/// A graph input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueInfo {
    /// Its name.
    pub name: String,
    /// Its ONNX data type.
    pub data_type: i32,
    /// Its dimensions; `None` where one is symbolic or missing.
    pub dims: Vec<Option<usize>>,
}

/// A node of the graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its name, invented (`Conv_12`) where the file has none.
    pub name: String,
    /// Its operator.
    pub op: String,
    /// Names of its inputs, empty where an optional one is left out.
    pub inputs: Vec<String>,
    /// Names of its outputs, empty where an optional one is left out.
    pub outputs: Vec<String>,
    /// Its attributes by name.
    pub attributes: BTreeMap<String, Attribute>,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// An integer.
    Int(i64),
    /// A float, finite or infinite.
    Float(f32),
    /// Integers.
    Ints(Vec<i64>),
    /// Floats.
    Floats(Vec<f32>),
    /// A string.
    Text(String),
    /// A tensor.
    Tensor(Tensor),
    /// A kind that no supported operator has.
    Other,
}

impl Onnx {
    /// Reads an ONNX file and the external data beside it.
    ///
    /// # Errors
    /// What [`Onnx::parse`] says, or that the file cannot be read.
    pub fn load(path: &Path) -> Result<Self, ConvertError> {
        let bytes = std::fs::read(path).map_err(|e| ConvertError::File { path: path.to_path_buf(), what: e.to_string() })?;
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = path.file_stem().map_or_else(|| "network".into(), |s| s.to_string_lossy().into_owned());
        Self::parse(&bytes, folder, &name)
    }

    /// Decodes an ONNX model. External data is looked for in `folder`; `name` names a graph that has no name.
    ///
    /// # Errors
    /// The bytes are no ONNX, the operator set is out of range, a tensor or an attribute is damaged, external data is missing.
    pub fn parse(bytes: &[u8], folder: &Path, name: &str) -> Result<Self, ConvertError> {
        let wrong = |what: String| ConvertError::Protobuf { model: name.to_owned(), what };
        let mut hash = Sha256::new();
        hash.update(bytes);
        let mut reader = bytes;
        let model = tract_onnx::onnx().proto_model_for_read(&mut reader).map_err(|e| wrong(one_line(&e.root_cause().to_string())))?;
        let opset = model.opset_import.iter().find(|o| o.domain.is_empty() || o.domain == "ai.onnx").map_or(0, |o| o.version);
        let graph = model.graph.ok_or_else(|| wrong("it has no graph".into()))?;
        if !OPSETS.contains(&opset) {
            return Err(wrong(format!("operator set {opset}, supported are {} to {}", OPSETS.start(), OPSETS.end())));
        }
        if !graph.sparse_initializer.is_empty() {
            return Err(wrong("sparse initializers are not supported".into()));
        }
        let mut files = external::Files::new(folder);
        let mut tensors = HashMap::new();
        let mut types = constant_types(&graph.node);
        for proto in graph.initializer {
            let name = proto.name.clone();
            types.insert(name.clone(), proto.data_type);
            let tensor = tensor::decode(proto, &name, &mut files)?;
            if tensors.insert(name.clone(), tensor).is_some() {
                return Err(ConvertError::Initializer { name, what: "two initializers have one name".into() });
            }
        }
        let inputs = graph.input.iter().filter(|i| !tensors.contains_key(&i.name)).map(value_info).collect();
        let outputs = graph.output.into_iter().map(|o| o.name).collect();
        let nodes = nodes(graph.node, &mut files)?;
        files.hash(&mut hash)?;
        // Exporters that were given no name write one of these.
        let unnamed = matches!(graph.name.as_str(), "" | "main_graph" | "main" | "torch_jit" | "torch-jit-export" | "tf2onnx");
        let name = if unnamed { name.to_owned() } else { graph.name };
        Ok(Self { name, opset, inputs, outputs, nodes, tensors, types, sha256: hash.finalize().into() })
    }
}

/// The data types of what the Constant nodes make, by name.
fn constant_types(nodes: &[pb::NodeProto]) -> HashMap<String, i32> {
    let kind = |n: &pb::NodeProto| n.attribute.iter().find_map(|a| a.t.as_ref()).map(|t| t.data_type);
    nodes.iter().filter(|n| n.op_type == "Constant").filter_map(|n| Some((n.output.first()?.clone(), kind(n)?))).collect()
}

/// A tensor of f16 or f64 as one of f32 that holds its own data; any other as it is.
pub(super) fn widen(proto: &mut pb::TensorProto, folder: &Path) -> Result<(), ConvertError> {
    use pb::tensor_proto::DataType as T;
    if ![T::Float16 as i32, T::Double as i32].contains(&proto.data_type) {
        return Ok(());
    }
    let name = proto.name.clone();
    let dims = proto.dims.clone();
    let tensor = tensor::decode(core::mem::take(proto), &name, &mut external::Files::new(folder))?;
    let raw_data = tensor.as_floats().unwrap_or_default().iter().flat_map(|v| v.to_le_bytes()).collect();
    *proto = pb::TensorProto { name, dims, data_type: T::Float as i32, raw_data, ..Default::default() };
    Ok(())
}

impl Node {
    /// An error that says that this node contradicts the standard.
    pub(super) fn wrong(&self, what: impl Into<String>) -> ConvertError {
        ConvertError::Node { node: self.name.clone(), op: self.op.clone(), what: what.into() }
    }

    /// An error that says that this node is not supported as it is.
    pub(super) fn unsupported(&self, what: impl Into<String>, help: &'static str) -> ConvertError {
        ConvertError::Unsupported { node: self.name.clone(), op: self.op.clone(), what: what.into(), help }
    }

    /// The name of input `i`, or an error where the node has none.
    pub(super) fn input(&self, i: usize) -> Result<&str, ConvertError> {
        self.optional(i).ok_or_else(|| self.wrong(format!("input {i} is missing")))
    }

    /// The name of input `i` where the node has one.
    pub(super) fn optional(&self, i: usize) -> Option<&str> {
        self.inputs.get(i).map(String::as_str).filter(|s| !s.is_empty())
    }

    /// The integer attribute `name`, or `default`.
    pub(super) fn int(&self, name: &str, default: i64) -> Result<i64, ConvertError> {
        match self.attributes.get(name) {
            None => Ok(default),
            Some(Attribute::Int(i)) => Ok(*i),
            Some(_) => Err(self.wrong(format!("attribute {name} is no integer"))),
        }
    }

    /// The float attribute `name`, or `default`.
    pub(super) fn float(&self, name: &str, default: f32) -> Result<f32, ConvertError> {
        match self.attributes.get(name) {
            None => Ok(default),
            Some(Attribute::Float(f)) => Ok(*f),
            Some(_) => Err(self.wrong(format!("attribute {name} is no float"))),
        }
    }

    /// The attribute `name`, a list of integers, where the node has it.
    pub(super) fn ints(&self, name: &str) -> Result<Option<&[i64]>, ConvertError> {
        match self.attributes.get(name) {
            None => Ok(None),
            Some(Attribute::Ints(v)) => Ok(Some(v)),
            Some(_) => Err(self.wrong(format!("attribute {name} is no list of integers"))),
        }
    }

    /// The text attribute `name`, or `default`.
    pub(super) fn text<'a>(&'a self, name: &str, default: &'a str) -> Result<&'a str, ConvertError> {
        match self.attributes.get(name) {
            None => Ok(default),
            Some(Attribute::Text(s)) => Ok(s),
            Some(_) => Err(self.wrong(format!("attribute {name} is no text"))),
        }
    }
}

fn value_info(info: &pb::ValueInfoProto) -> ValueInfo {
    let tensor = info.r#type.as_ref().and_then(|t| t.value.as_ref()).map(|pb::type_proto::Value::TensorType(t)| t);
    let dims = tensor.and_then(|t| t.shape.as_ref()).map_or(&[][..], |s| &s.dim[..]);
    let size = |d: &pb::tensor_shape_proto::Dimension| match d.value {
        Some(pb::tensor_shape_proto::dimension::Value::DimValue(v)) if (1..LIMIT).contains(&v) => usize::try_from(v).ok(),
        _ => None,
    };
    ValueInfo { name: info.name.clone(), data_type: tensor.map_or(0, |t| t.elem_type), dims: dims.iter().map(size).collect() }
}

fn nodes(protos: Vec<pb::NodeProto>, files: &mut external::Files) -> Result<Vec<Node>, ConvertError> {
    let mut used = HashMap::new();
    let mut names: Vec<String> = protos.iter().map(|p| if p.name.is_empty() { String::new() } else { unique(&p.name, &mut used) }).collect();
    for (index, (name, proto)) in names.iter_mut().zip(&protos).enumerate().filter(|(_, (n, _))| n.is_empty()) {
        *name = unique(&format!("{}_{index}", proto.op_type), &mut used);
    }
    let mut nodes = Vec::with_capacity(protos.len());
    for (name, proto) in names.into_iter().zip(protos) {
        let op = if proto.domain.is_empty() || proto.domain == "ai.onnx" { proto.op_type } else { format!("{}.{}", proto.domain, proto.op_type) };
        let mut node = Node { name, op, inputs: proto.input, outputs: proto.output, attributes: BTreeMap::new() };
        for a in proto.attribute {
            let value = attribute(&node, &a, files)?;
            if node.attributes.insert(a.name.clone(), value).is_some() {
                return Err(node.wrong(format!("attribute {} stands there twice", a.name)));
            }
        }
        nodes.push(node);
    }
    Ok(nodes)
}

/// `wanted`, or with a number behind it where that name is taken.
fn unique(wanted: &str, used: &mut HashMap<String, usize>) -> String {
    loop {
        let count = used.entry(wanted.to_owned()).or_insert(0);
        *count += 1;
        let name = if *count == 1 { wanted.to_owned() } else { format!("{wanted}_{}", *count - 1) };
        if name == wanted || used.insert(name.clone(), 1).is_none() {
            return name;
        }
    }
}

fn attribute(node: &Node, a: &pb::AttributeProto, files: &mut external::Files) -> Result<Attribute, ConvertError> {
    use pb::attribute_proto::AttributeType as T;
    let in_range = |v: &i64| (-LIMIT..=LIMIT).contains(v) || *v == i64::MAX || *v == i64::MIN;
    let out_of_range = || node.wrong(format!("attribute {} is out of range", a.name));
    Ok(match T::try_from(a.r#type).unwrap_or(T::Undefined) {
        T::Int if in_range(&a.i) => Attribute::Int(a.i),
        T::Ints if a.ints.iter().all(in_range) => Attribute::Ints(a.ints.clone()),
        T::Int | T::Ints => return Err(out_of_range()),
        T::Float if !a.f.is_nan() => Attribute::Float(a.f),
        T::Floats if a.floats.iter().all(|f| !f.is_nan()) => Attribute::Floats(a.floats.clone()),
        T::Float | T::Floats => return Err(out_of_range()),
        T::String => Attribute::Text(String::from_utf8_lossy(&a.s).into_owned()),
        T::Tensor => match &a.t {
            Some(t) => Attribute::Tensor(tensor::decode(t.clone(), &format!("{}.{}", node.name, a.name), files)?),
            None => return Err(node.wrong(format!("attribute {} has no value", a.name))),
        },
        _ => Attribute::Other,
    })
}

/// The first line of a message.
pub(super) fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}
