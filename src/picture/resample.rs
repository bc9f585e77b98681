//! Bilinear resampling with antialiasing, equal to Pillow's byte for byte.
//!
//! Pillow's triangle filter computes its coefficients in doubles and rounds them to 22 bits. Here they are exact fractions rounded to 22 bits,
//! half up: with `n = max(from, to)`, sample `x` weighs `2n - |(2x + 1)·to - (2i + 1)·from|` in output `i` (nothing where that is negative), divided
//! by the sum of these weights. The two agree wherever both sizes are at most 16,384; beyond that a coefficient of Pillow's may be off by one
//! in the last of its 22 bits, and the fraction is the definition.
//!
//! One axis is resampled to bytes, then the other. The horizontal one comes first unless the height shrinks by more than twice as many pixels as
//! the width; then the vertical one does, as in Pillow since version 13 (earlier ones always begin with the horizontal one).

/// Bits behind the point of a coefficient.
const BITS: u32 = 22;
/// Half a unit of the result.
const HALF: u32 = 1 << (BITS - 1);
/// Outputs that the vertical pass keeps in registers at a time.
const BLOCK: usize = 64;

/// One axis of a picture: `from` samples become `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    /// Samples of the source, 1 to 65,535.
    pub from: u32,
    /// Samples of the result, at least 1.
    pub to: u32,
}

impl Axis {
    /// Samples that every output reads; some may weigh nothing.
    #[expect(clippy::cast_possible_truncation, reason = "at most `from`")]
    pub const fn taps(self) -> usize {
        let needed = if self.from > self.to { (2 * self.from as u64).div_ceil(self.to as u64) } else { 2 };
        if needed < self.from as u64 { needed as usize } else { self.from as usize }
    }

    /// The first of the samples that output `i` reads.
    #[expect(clippy::cast_possible_truncation, reason = "below `from`")]
    pub const fn start(self, i: u32) -> usize {
        let (from, to) = (self.from as u64, self.to as u64);
        let centre = (2 * i as u64 + 1) * from;
        let reach = 2 * if from > to { from } else { to } + to;
        let first = if centre < reach { 0 } else { (centre - reach) / (2 * to) + 1 };
        let last = self.from as usize - self.taps();
        if first < last as u64 { first as usize } else { last }
    }

    /// Writes the coefficients of output `i`, one for each tap, little-endian, and returns the first sample they stand for.
    fn weights(self, i: u32, out: &mut [[u8; 4]]) -> usize {
        let (from, to) = (u64::from(self.from), u64::from(self.to));
        let start = self.start(i);
        let centre = (2 * u64::from(i) + 1) * from;
        let weight = |tap: usize| (2 * from.max(to)).saturating_sub(((2 * (start + tap) as u64 + 1) * to).abs_diff(centre));
        let sum: u64 = (0..out.len()).map(weight).sum();
        for (tap, bytes) in out.iter_mut().enumerate() {
            let rounded = ((weight(tap) << (BITS + 1)) + sum) / (2 * sum);
            *bytes = u32::try_from(rounded).unwrap_or(0).to_le_bytes();
        }
        start
    }
}

/// True if the columns are resampled before the rows.
const fn vertical_first([v, h]: [Axis; 2]) -> bool {
    v.to < v.from && (v.from - v.to) as i64 > 2 * (h.from as i64 - h.to as i64)
}

/// Sizes of the buffers that a resampling needs, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buffers {
    /// For each column of the result the first source pixel and the coefficients.
    table: usize,
    /// The coefficients of one row of the result.
    weights: usize,
    /// One row of the source, as far as it is used.
    row: usize,
    /// The rows that one row of the result is made of.
    ring: usize,
}

impl Buffers {
    /// Buffers for the outputs `first..first + count` of both axes (vertical, horizontal) with `c` channels.
    pub const fn new(axes: [Axis; 2], first: [u32; 2], count: [u32; 2], c: usize) -> Self {
        let [up, along] = [axes[0].taps(), axes[1].taps()];
        let columns = count[1] as usize;
        let span = axes[1].start(first[1] + count[1] - 1) + along - axes[1].start(first[1]);
        let pitch = if vertical_first(axes) { span } else { columns };
        Self { table: columns.saturating_mul(along + 1).saturating_mul(4), weights: up * 4, row: span * c, ring: pitch.saturating_mul(up).saturating_mul(c) }
    }

    /// Bytes of all of them, or the largest number if they are more.
    pub const fn bytes(&self) -> usize {
        self.table.saturating_add(self.weights).saturating_add(self.row).saturating_add(self.ring)
    }
}

/// Resamples the outputs `first..first + count` of both axes (vertical, horizontal) into `rows`, each `[w][C]` bytes.
///
/// `read(y, x, row)` gives the source's pixels of row `y` from column `x`. `scratch` has at least [`Buffers::bytes`].
pub(super) fn resample<'a, const C: usize>(
    axes: [Axis; 2],
    first: [u32; 2],
    count: [u32; 2],
    scratch: &mut [u8],
    read: impl Fn(usize, usize, &mut [[u8; C]]),
    rows: impl Iterator<Item = &'a mut [u8]>,
) {
    let [vertical, horizontal] = axes;
    let (up, along) = (vertical.taps(), horizontal.taps());
    let sizes = Buffers::new(axes, first, count, C);
    let (table, rest) = scratch.split_at_mut(sizes.table);
    let (weights, rest) = rest.split_at_mut(sizes.weights);
    let (row, rest) = rest.split_at_mut(sizes.row);
    let ring = &mut rest[..sizes.ring];
    let (table, weights) = (table.as_chunks_mut::<4>().0, weights.as_chunks_mut::<4>().0);

    let left = horizontal.start(first[1]);
    for (i, column) in (first[1]..).zip(table.chunks_exact_mut(along + 1)) {
        let start = horizontal.weights(i, &mut column[1..]) - left;
        column[0] = u32::try_from(start).unwrap_or(0).to_le_bytes();
    }
    let pitch = sizes.ring / up;
    let mut ready = 0;
    for (i, out) in (first[0]..first[0] + count[0]).zip(rows) {
        let start = vertical.weights(i, weights);
        for y in ready.max(start)..start + up {
            let kept = &mut ring[y % up * pitch..][..pitch];
            if vertical_first(axes) {
                read(y, left, kept.as_chunks_mut().0);
            } else {
                read(y, left, row.as_chunks_mut().0);
                across::<C>(table, along, row, kept);
            }
        }
        ready = start + up;
        if vertical_first(axes) {
            down(weights, start, ring, pitch, row);
            across::<C>(table, along, row, out);
        } else {
            down(weights, start, ring, pitch, out);
        }
    }
}

/// The horizontal pass over one row.
fn across<const C: usize>(table: &[[u8; 4]], taps: usize, row: &[u8], out: &mut [u8]) {
    let row = row.as_chunks::<C>().0;
    for (out, column) in out.as_chunks_mut::<C>().0.iter_mut().zip(table.chunks_exact(taps + 1)) {
        let mut sums = [HALF; C];
        let start = u32::from_le_bytes(column[0]) as usize;
        for (weight, pixel) in column[1..].iter().zip(&row[start..start + taps]) {
            let weight = u32::from_le_bytes(*weight);
            for (sum, &byte) in sums.iter_mut().zip(pixel) {
                *sum += weight * u32::from(byte);
            }
        }
        *out = sums.map(byte);
    }
}

/// The vertical pass for one row of the result; source row `y` lies in `ring` at `y` modulo its rows.
fn down(weights: &[[u8; 4]], start: usize, ring: &[u8], pitch: usize, out: &mut [u8]) {
    for (block, out) in out.chunks_mut(BLOCK).enumerate() {
        let mut sums = [HALF; BLOCK];
        for (weight, y) in weights.iter().zip(start..) {
            let weight = u32::from_le_bytes(*weight);
            let row = &ring[y % weights.len() * pitch + block * BLOCK..][..out.len()];
            for (sum, &byte) in sums.iter_mut().zip(row) {
                *sum += weight * u32::from(byte);
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = byte(sum);
        }
    }
}

/// The byte of a sum of coefficients times bytes.
fn byte(sum: u32) -> u8 {
    u8::try_from(sum >> BITS).unwrap_or(u8::MAX)
}
