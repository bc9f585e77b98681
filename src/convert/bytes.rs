//! Numbers of any size as bytes, seven bits a byte, the least first; what is written has one form only.

use std::string::{String, ToString};
use std::vec::Vec;

/// A count is below this: sums of thousands of them are exact and fit.
const COUNT_LIMIT: u64 = 1 << 50;
/// Names are shorter than this.
const NAME_LIMIT: usize = 1 << 16;

/// Bytes in the making.
#[derive(Clone, Debug, Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    /// A number.
    pub fn number(&mut self, mut value: u128) {
        while value > 0x7F {
            self.0.push(0x80 | value.to_le_bytes()[0]);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }

    /// A length.
    pub fn length(&mut self, value: usize) {
        self.number(value as u128);
    }

    /// A number with a sign, which is the lowest bit.
    pub fn signed(&mut self, value: i128) {
        self.number(((value << 1) ^ (value >> 127)).cast_unsigned());
    }

    /// A real number.
    pub fn real(&mut self, value: f32) {
        self.0.extend(value.to_le_bytes());
    }

    /// A name.
    pub fn name(&mut self, name: &str) {
        self.length(name.len());
        self.0.extend(name.as_bytes());
    }

    /// Counts; a run of zeros is one 0 and its length.
    pub fn counts(&mut self, counts: impl Iterator<Item = u64>) {
        let mut zeros = 0;
        for count in counts {
            if count == 0 {
                zeros += 1;
                continue;
            }
            self.zeros(core::mem::take(&mut zeros));
            self.number(count.into());
        }
        self.zeros(zeros);
    }

    fn zeros(&mut self, run: usize) {
        if run > 0 {
            self.number(0);
            self.length(run);
        }
    }
}

/// The place in a file where something is wrong, and what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Byte of the file.
    pub at: usize,
    /// What is wrong.
    pub what: &'static str,
}

/// Bytes that are read from the first to the last.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Begins at byte `at`.
    #[must_use]
    pub const fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// Something is wrong here.
    #[must_use]
    pub const fn damage(&self, what: &'static str) -> Damage {
        Damage { at: self.at, what }
    }

    /// The next bytes.
    ///
    /// # Errors
    /// If there are not so many.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], Damage> {
        let end = self.at.checked_add(n).filter(|&end| end <= self.bytes.len()).ok_or(self.damage("the file ends here"))?;
        Ok(&self.bytes[core::mem::replace(&mut self.at, end)..end])
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// If there are not so many.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let bytes = self.take(N)?;
        Ok(core::array::from_fn(|i| bytes[i]))
    }

    /// A number that fits `T`.
    ///
    /// # Errors
    /// If there is none.
    pub fn number<T: TryFrom<u128>>(&mut self) -> Result<T, Damage> {
        let start = self.clone();
        let mut value = 0;
        for shift in (0..128).step_by(7) {
            let [byte] = self.array()?;
            let part = u128::from(byte & 0x7F);
            if part << shift >> shift != part {
                break;
            }
            value |= part << shift;
            if byte < 0x80 {
                return T::try_from(value).map_err(|_| start.damage("a number is too large"));
            }
        }
        Err(start.damage("a number is too large"))
    }

    /// A length of at most `limit`.
    ///
    /// # Errors
    /// If there is none.
    pub fn length(&mut self, limit: usize) -> Result<usize, Damage> {
        let start = self.clone();
        self.number().ok().filter(|&n| n <= limit).ok_or(start.damage("a length is too large"))
    }

    /// A number with a sign.
    ///
    /// # Errors
    /// If there is none.
    pub fn signed(&mut self) -> Result<i128, Damage> {
        let value: u128 = self.number()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// A real number that is finite.
    ///
    /// # Errors
    /// If there is none.
    pub fn real(&mut self) -> Result<f32, Damage> {
        let start = self.clone();
        Some(f32::from_le_bytes(self.array()?)).filter(|v| v.is_finite()).ok_or(start.damage("a value is not finite"))
    }

    /// A magnitude.
    ///
    /// # Errors
    /// If there is none.
    pub fn magnitude(&mut self) -> Result<f32, Damage> {
        let start = self.clone();
        Some(self.real()?).filter(|v| *v >= 0.0).ok_or(start.damage("a magnitude is negative"))
    }

    /// A name.
    ///
    /// # Errors
    /// If there is none.
    pub fn name(&mut self) -> Result<String, Damage> {
        let start = self.clone();
        let n = self.length(NAME_LIMIT)?;
        core::str::from_utf8(self.take(n)?).map(ToString::to_string).map_err(|_| start.damage("a name is no text"))
    }

    /// `n` counts; `put` takes those that are not 0, with their numbers.
    ///
    /// # Errors
    /// If there are not so many, or more.
    pub fn counts(&mut self, n: usize, mut put: impl FnMut(usize, u64)) -> Result<(), Damage> {
        let mut i = 0;
        while i < n {
            let start = self.clone();
            match self.number()? {
                0u64 => i += self.length(n - i)?.max(1),
                count if count < COUNT_LIMIT => {
                    put(i, count);
                    i += 1;
                }
                _ => return Err(start.damage("a count is too large")),
            }
        }
        Ok(())
    }

    /// True if everything was read.
    #[must_use]
    pub const fn done(&self) -> bool {
        self.at == self.bytes.len()
    }
}
