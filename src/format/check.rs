//! The check input: made from a seed by an integer formula, so that no one's picture is in the file and every device can make it.

/// Fills `[h][w][c]` bytes with smooth ramps plus noise.
///
/// Byte `(y, x, c)` is the low byte of `(3·y + 5·x + 70·c + (y·x >> 3)) + noise`, noise the top 5 bits of a xorshift generator started with `seed`
/// (0 counts as 1), one step a byte.
pub fn check_input(seed: u32, [h, w, c]: [u32; 3], input: &mut [u8]) {
    let mut state = seed.max(1);
    let mut bytes = input.iter_mut();
    for y in 0..h {
        for x in 0..w {
            for channel in 0..c {
                let Some(byte) = bytes.next() else { return };
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                let ramp = (3 * y + 5 * x + 70 * channel).wrapping_add(y.wrapping_mul(x) >> 3);
                *byte = ramp.wrapping_add(state >> 27).to_le_bytes()[0];
            }
        }
    }
}
