//! Numbers that look random and are the same everywhere.

#![allow(dead_code, reason = "each test file uses what it needs")]

/// A generator of numbers that are the same everywhere.
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    /// A generator for a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number in `0..1`.
    pub fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        f64::from(u32::try_from(self.0 >> 40).unwrap()) / f64::from(1u32 << 24)
    }

    /// A whole number below `n`.
    pub fn below(&mut self, n: u32) -> u32 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
        let number = (self.unit() * f64::from(n)) as u32;
        number
    }

    /// A number in `-1..1`, small ones more often.
    pub fn signed(&mut self) -> f64 {
        self.unit() + self.unit() - 1.0
    }
}
