//! CRC-32 (ISO-HDLC, as in zip and PNG), without tables on the heap.

/// A running CRC-32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crc32(u32);

const POLYNOMIAL: u32 = 0xEDB8_8320;
const TABLES: [[u32; 256]; 8] = tables();

#[expect(clippy::cast_possible_truncation, reason = "i is below 256")]
const fn tables() -> [[u32; 256]; 8] {
    let mut t = [[0u32; 256]; 8];
    let mut i = 0;
    while i < 256 {
        let mut c = i as u32;
        let mut bit = 0;
        while bit < 8 {
            c = if c & 1 == 1 { POLYNOMIAL ^ (c >> 1) } else { c >> 1 };
            bit += 1;
        }
        t[0][i] = c;
        i += 1;
    }
    let mut k = 1;
    while k < 8 {
        let mut i = 0;
        while i < 256 {
            let before = t[k - 1][i];
            t[k][i] = (before >> 8) ^ t[0][(before & 255) as usize];
            i += 1;
        }
        k += 1;
    }
    t
}

impl Crc32 {
    /// The CRC of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(!0)
    }

    /// The CRC of what came before, followed by `bytes`.
    #[must_use]
    pub fn update(self, bytes: &[u8]) -> Self {
        let t = &TABLES;
        let mut c = self.0;
        let (eights, rest) = bytes.as_chunks::<8>();
        for b in eights {
            let x = c ^ u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            let low = x.to_le_bytes();
            c = t[7][low[0] as usize] ^ t[6][low[1] as usize] ^ t[5][low[2] as usize] ^ t[4][low[3] as usize];
            c ^= t[3][b[4] as usize] ^ t[2][b[5] as usize] ^ t[1][b[6] as usize] ^ t[0][b[7] as usize];
        }
        for &b in rest {
            c = (c >> 8) ^ t[0][usize::from(c.to_le_bytes()[0] ^ b)];
        }
        Self(c)
    }

    /// The 32 bits.
    #[must_use]
    pub const fn value(self) -> u32 {
        !self.0
    }
}

impl Default for Crc32 {
    fn default() -> Self {
        Self::new()
    }
}

/// The CRC-32 of `bytes`.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    Crc32::new().update(bytes).value()
}
