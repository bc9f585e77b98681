//! Tensors: what the protobuf says, as f32 or i64.

use super::external::Files;
use super::pb::TensorProto;
use super::pb::tensor_proto::{DataLocation, DataType};
use crate::convert::error::ConvertError;
use half::f16;

/// A constant tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its dimensions; none for a scalar.
    pub dims: Vec<usize>,
    /// Its elements, the last dimension fastest.
    pub data: Data,
}

/// Elements of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// f32, from f32, f16 or f64.
    Floats(Vec<f32>),
    /// Integers of any width, and truth values.
    Ints(Vec<i64>),
}

impl Tensor {
    /// A vector of integers.
    #[must_use]
    pub fn ints(values: Vec<i64>) -> Self {
        Self { dims: vec![values.len()], data: Data::Ints(values) }
    }

    /// Number of elements.
    #[must_use]
    pub const fn len(&self) -> usize {
        match &self.data {
            Data::Floats(v) => v.len(),
            Data::Ints(v) => v.len(),
        }
    }

    /// True if there is no element.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The integers, or `None` if these are floats.
    #[must_use]
    pub fn as_ints(&self) -> Option<&[i64]> {
        match &self.data {
            Data::Ints(v) => Some(v),
            Data::Floats(_) => None,
        }
    }

    /// The floats, or `None` if these are integers.
    #[must_use]
    pub fn as_floats(&self) -> Option<&[f32]> {
        match &self.data {
            Data::Floats(v) => Some(v),
            Data::Ints(_) => None,
        }
    }
}

/// Decodes a tensor, its bytes from `files` where they lie outside.
///
/// # Errors
/// The type is not supported, bytes and dimensions disagree, a float is not finite.
pub(super) fn decode(mut proto: TensorProto, name: &str, files: &mut Files) -> Result<Tensor, ConvertError> {
    let wrong = |what: String| ConvertError::Initializer { name: name.to_owned(), what };
    let mut count = 1usize;
    let mut dims = Vec::with_capacity(proto.dims.len());
    for &d in &proto.dims {
        let size = usize::try_from(d).map_err(|_| wrong(format!("dimension {d} is out of range")))?;
        count = count.checked_mul(size).filter(|&n| n <= 1 << 30).ok_or_else(|| wrong(format!("dimensions {:?} are out of range", proto.dims)))?;
        dims.push(size);
    }
    if proto.segment.is_some() {
        return Err(wrong("segments are not supported".into()));
    }
    let kind = DataType::try_from(proto.data_type).map_err(|_| wrong(format!("data type {} is unknown", proto.data_type)))?;
    let size = match kind {
        DataType::Double | DataType::Int64 | DataType::Uint64 => 8,
        DataType::Float | DataType::Int32 | DataType::Uint32 => 4,
        DataType::Float16 | DataType::Int16 | DataType::Uint16 => 2,
        DataType::Int8 | DataType::Uint8 | DataType::Bool => 1,
        _ => return Err(wrong(format!("data type {} is not supported", kind.as_str_name()))),
    };
    if count * size > 1 << 30 {
        return Err(wrong(format!("a tensor {dims:?} of more than 1 GiB")));
    }
    let outside = proto.data_location == Some(DataLocation::External as i32);
    let raw = if outside { files.read(name, &proto.external_data, count * size)? } else { core::mem::take(&mut proto.raw_data) };
    let typed = [proto.float_data.len(), proto.int32_data.len(), proto.int64_data.len(), proto.double_data.len(), proto.uint64_data.len()];
    let data = if outside || !raw.is_empty() || typed.iter().all(|&n| n == 0) {
        if raw.len() != count * size {
            return Err(wrong(format!("{} bytes where dimensions {dims:?} need {}", raw.len(), count * size)));
        }
        from_bytes(kind, &raw)
    } else {
        let data = from_fields(kind, proto);
        let len = match &data {
            Data::Floats(v) => v.len(),
            Data::Ints(v) => v.len(),
        };
        if len != count {
            return Err(wrong(format!("{len} elements where dimensions {dims:?} need {count}")));
        }
        data
    };
    if let Data::Floats(v) = &data
        && let Some((i, bad)) = v.iter().enumerate().find(|(_, f)| !f.is_finite())
        && (bad.is_nan() || v.len() > 1)
    {
        return Err(wrong(format!("element {i} is {bad}")));
    }
    Ok(Tensor { dims, data })
}

fn from_bytes(kind: DataType, raw: &[u8]) -> Data {
    macro_rules! words {
        ($t:ty, $n:literal, $map:expr) => {
            raw.as_chunks::<$n>().0.iter().map(|b| $map(<$t>::from_le_bytes(*b))).collect()
        };
    }
    match kind {
        DataType::Float => Data::Floats(words!(f32, 4, |v| v)),
        DataType::Double => Data::Floats(words!(f64, 8, narrow)),
        DataType::Float16 => Data::Floats(words!(f16, 2, f16::to_f32)),
        DataType::Int64 => Data::Ints(words!(i64, 8, |v| v)),
        DataType::Uint64 => Data::Ints(words!(u64, 8, saturate)),
        DataType::Int32 => Data::Ints(words!(i32, 4, i64::from)),
        DataType::Uint32 => Data::Ints(words!(u32, 4, i64::from)),
        DataType::Int16 => Data::Ints(words!(i16, 2, i64::from)),
        DataType::Uint16 => Data::Ints(words!(u16, 2, i64::from)),
        DataType::Int8 => Data::Ints(words!(i8, 1, i64::from)),
        _ => Data::Ints(raw.iter().map(|&b| i64::from(b)).collect()),
    }
}

fn from_fields(kind: DataType, proto: TensorProto) -> Data {
    match kind {
        DataType::Float => Data::Floats(proto.float_data),
        DataType::Double => Data::Floats(proto.double_data.into_iter().map(narrow).collect()),
        DataType::Float16 => Data::Floats(proto.int32_data.iter().map(|&v| f16::from_bits(u16::try_from(v).unwrap_or(u16::MAX)).to_f32()).collect()),
        DataType::Int64 => Data::Ints(proto.int64_data),
        DataType::Uint64 | DataType::Uint32 => Data::Ints(proto.uint64_data.into_iter().map(saturate).collect()),
        _ => Data::Ints(proto.int32_data.into_iter().map(i64::from).collect()),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the float network is f32")]
const fn narrow(v: f64) -> f32 {
    v as f32
}

fn saturate(v: u64) -> i64 {
    i64::try_from(v).unwrap_or(i64::MAX)
}
