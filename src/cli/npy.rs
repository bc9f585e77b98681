//! `.npy` files: NumPy's array format, versions 1 to 3.

use core::fmt;
use std::io::Read;

/// Longest header that is read.
const MAX_HEADER: u32 = 1 << 16;

/// What stands before the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// NumPy's name of the element type, such as `|u1` or `<f4`.
    pub kind: String,
    /// The sizes, outermost first.
    pub shape: Vec<u64>,
    /// Byte of the file at which the data begins.
    pub data: u64,
}

impl Header {
    /// Elements of the array, or `None` where they are too many to count.
    #[must_use]
    pub fn elements(&self) -> Option<u64> {
        self.shape.iter().try_fold(1u64, |all, &n| all.checked_mul(n))
    }
}

/// Why a file is not an array that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NpyError {
    /// It does not begin as an `.npy` file does.
    Foreign,
    /// A version after 3.
    Version(u8),
    /// The header is damaged or incomplete.
    Header,
    /// Columns come first (Fortran order).
    Order,
    /// Its elements are no integers.
    Kind,
}

impl fmt::Display for NpyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("not an .npy file"),
            Self::Version(v) => write!(f, "an .npy file of version {v}"),
            Self::Header => f.write_str("an .npy file with a damaged header"),
            Self::Order => f.write_str("an .npy file in Fortran order"),
            Self::Kind => f.write_str("an .npy file whose elements are none"),
        }
    }
}

impl core::error::Error for NpyError {}

/// Reads the header.
///
/// # Errors
/// If this is no `.npy` file of a known version in C order, or its header is damaged.
pub fn header(file: &mut impl Read) -> Result<Header, NpyError> {
    let mut start = [0; 8];
    file.read_exact(&mut start).map_err(|_| NpyError::Foreign)?;
    let [b'\x93', b'N', b'U', b'M', b'P', b'Y', version, _] = start else { return Err(NpyError::Foreign) };
    let width = match version {
        1 => 2,
        2 | 3 => 4,
        other => return Err(NpyError::Version(other)),
    };
    let mut length = [0; 4];
    file.read_exact(&mut length[..width]).map_err(|_| NpyError::Header)?;
    let length = u32::from_le_bytes(length);
    if length > MAX_HEADER {
        return Err(NpyError::Header);
    }
    let mut text = vec![0; length as usize];
    file.read_exact(&mut text).map_err(|_| NpyError::Header)?;
    let text = String::from_utf8(text).map_err(|_| NpyError::Header)?;
    let data = 8 + width as u64 + u64::from(length);
    parse(&text, data)
}

/// Reads the dictionary, such as `{'descr': '|u1', 'fortran_order': False, 'shape': (2, 8, 8, 3), }`.
fn parse(text: &str, data: u64) -> Result<Header, NpyError> {
    let value = |key: &str| {
        let (_, after) = text.split_once(&format!("'{key}'")).ok_or(NpyError::Header)?;
        after.trim_start().strip_prefix(':').map(str::trim_start).ok_or(NpyError::Header)
    };
    let kind = value("descr")?.strip_prefix('\'').and_then(|rest| rest.split_once('\'')).ok_or(NpyError::Header)?.0;
    match value("fortran_order")? {
        order if order.starts_with("False") => {}
        order if order.starts_with("True") => return Err(NpyError::Order),
        _ => return Err(NpyError::Header),
    }
    let sizes = value("shape")?.strip_prefix('(').and_then(|rest| rest.split_once(')')).ok_or(NpyError::Header)?.0;
    let sizes = sizes.split(',').map(str::trim).filter(|size| !size.is_empty());
    let shape = sizes.map(|size| size.parse().map_err(|_| NpyError::Header)).collect::<Result<_, _>>()?;
    Ok(Header { kind: kind.to_owned(), shape, data })
}

/// Reads an array of integers of any width as classes.
///
/// # Errors
/// If the header is refused or the data is incomplete; `None` stands where an element is no class (negative or over 2^32).
pub fn integers(bytes: &[u8]) -> Result<Vec<Option<u32>>, NpyError> {
    let mut rest = bytes;
    let header = header(&mut rest)?;
    let (order, kind) = header.kind.split_at_checked(1).ok_or(NpyError::Header)?;
    let width = match kind {
        "u1" | "i1" => 1,
        "u2" | "i2" => 2,
        "u4" | "i4" => 4,
        "u8" | "i8" => 8,
        _ => return Err(NpyError::Kind),
    };
    if header.elements() != Some(rest.len() as u64 / width as u64) || (order == ">" && width > 1) {
        return Err(NpyError::Header);
    }
    let signed = kind.starts_with('i');
    let element = |bytes: &[u8]| {
        let negative = signed && bytes.last().is_some_and(|&b| b > 127);
        let mut wide = [0; 8];
        wide[..width].copy_from_slice(bytes);
        u32::try_from(u64::from_le_bytes(wide)).ok().filter(|_| !negative)
    };
    Ok(rest.chunks_exact(width).map(element).collect())
}
