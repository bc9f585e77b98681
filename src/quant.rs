//! The arithmetic of requantization: one rounding rule, defined in integers, for every device.

/// Type of the elements of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataType {
    /// 0 to 255: what comes out of a ReLU, and pictures.
    U8,
    /// -128 to 127: linear outputs.
    S8,
    /// -32768 to 32767.
    S16,
    /// Not clamped: scores.
    I32,
}

impl DataType {
    /// Bytes of an element.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::S8 => 1,
            Self::S16 => 2,
            Self::I32 => 4,
        }
    }

    /// The smallest and the largest value.
    #[must_use]
    pub const fn range(self) -> (i32, i32) {
        match self {
            Self::U8 => (0, 255),
            Self::S8 => (-128, 127),
            Self::S16 => (-32768, 32767),
            Self::I32 => (i32::MIN, i32::MAX),
        }
    }

    /// The element at the front of `bytes`, little-endian.
    ///
    /// # Panics
    /// If there are fewer bytes than an element has.
    #[must_use]
    #[inline(always)]
    pub const fn read(self, bytes: &[u8]) -> i32 {
        match self {
            Self::U8 => bytes[0] as i32,
            Self::S8 => bytes[0].cast_signed() as i32,
            Self::S16 => i16::from_le_bytes([bytes[0], bytes[1]]) as i32,
            Self::I32 => i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
        }
    }

    /// `value` brought into the range of the type.
    #[must_use]
    pub const fn clamp(self, value: i32) -> i32 {
        let (low, high) = self.range();
        if value < low {
            low
        } else if value > high {
            high
        } else {
            value
        }
    }
}

/// The multipliers of [`rdm`] are below this.
pub const MULTIPLIER_LIMIT: i32 = 1 << 30;

/// Rounding doubling multiply: `(a·m + 2^30) >> 31` with the product in 64 bits and a floor shift.
///
/// `m / 2^31` is the factor; ties round up. For `0 <= m < 2^30` the result fits into 32 bits; a larger or negative `m` gives the low 32 bits of the formula.
/// It is VQRDMULH on NEON and SMMULR of `2·m` on a Cortex-M with DSP instructions.
#[must_use]
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the definition takes the low 32 bits")]
pub const fn rdm(a: i32, m: i32) -> i32 {
    ((a as i64 * m as i64 + (1 << 30)) >> 31) as i32
}
