//! Pools and additions of every set, the scalar one included, against their definition.

use super::{ADDED, GUARD, KINDS, Noise, lines, rounds, sets};
use skipstone::kernels::{AddRow, Average, Kernels, PoolRow};
use skipstone::pack::{LANES, panels, params};
use skipstone::quant::{DataType, rdm};

/// What stands where a kernel writes nothing.
const EMPTY: u8 = 99;

/// A row of a pool with its memory, in the bytes of the definition.
pub struct Pool {
    source: Vec<u8>,
    rows: (usize, usize),
    cols: (usize, usize),
    horizontal: [usize; 4],
    first: usize,
    pixels: usize,
    out_pixel: usize,
    channels: usize,
    signed: bool,
    multipliers: Vec<[u8; 4]>,
    p: u32,
    /// Pixels that a mean counts where the border does.
    whole: Option<usize>,
}

impl Pool {
    /// A random one, or none where the window is larger than the picture.
    pub fn new(noise: &mut Noise, whole_width: bool) -> Option<Self> {
        let (height, width) = (noise.between(1, 7), noise.between(1, 20));
        let kernel = if whole_width { width } else { noise.between(1, 4) };
        let (stride, dilation) = (noise.between(1, 3), noise.between(1, 2));
        let pad = noise.below(kernel.div_ceil(2) + 1).min((kernel - 1) * dilation);
        let room = (width + 2 * pad).checked_sub((kernel - 1) * dilation + 1)?;
        let (all, channels) = (room / stride + 1, noise.between(1, 50) * 4);
        let first = noise.below(all);
        let pixel = channels + noise.below(3) * 4;
        let pitch = width * pixel + noise.below(2) * 4;
        Some(Self {
            source: noise.bytes((height - 1) * pitch + (width - 1) * pixel + channels),
            rows: (pitch, height),
            cols: (pixel, width),
            horizontal: [kernel, stride, dilation, pad],
            first,
            pixels: noise.between(1, all - first),
            out_pixel: channels + noise.below(2) * 4,
            channels,
            signed: noise.flag(),
            multipliers: (1..=height * kernel).map(|n| ((1i32 << 30) / n as i32 - noise.below(3) as i32).max(0).to_le_bytes()).collect(),
            p: noise.below(4) as u32,
            whole: noise.flag().then_some(height * kernel),
        })
    }

    /// Bytes of the output.
    pub const fn length(&self) -> usize {
        (self.pixels - 1) * self.out_pixel + self.channels
    }

    /// The source as a set stores it.
    pub fn stored(&self, kernels: Kernels) -> Vec<u8> {
        let mut bytes = self.source.clone();
        kernels.flip_tensor(self.kind(), &mut bytes);
        bytes
    }

    /// Computes the row from a stored source into an output that holds [`EMPTY`], both of any memory, and gives it in the bytes of the definition.
    pub fn run(&self, kernels: Kernels, source: &[u8], out: &mut [u8], mean: bool) -> Vec<u8> {
        out.fill(EMPTY);
        let mut row = PoolRow {
            source,
            rows: self.rows,
            cols: self.cols,
            horizontal: self.horizontal,
            first: self.first,
            pixels: self.pixels,
            out,
            out_pixel: self.out_pixel,
            channels: self.channels,
            signed: self.signed,
        };
        if mean {
            kernels.average_pool(&mut row, Average { multipliers: &self.multipliers, p: self.p, count: self.whole });
        } else {
            kernels.max_pool(&mut row);
        }
        definition(kernels, self.kind(), out, self.out_pixel, self.channels)
    }

    /// The output by the definition, from the pixels of the window that lie inside.
    pub fn expected(&self, mean: bool) -> Vec<u8> {
        let [kernel, stride, dilation, pad] = self.horizontal;
        let mut out = vec![EMPTY; self.length()];
        for pixel in 0..self.pixels {
            for c in 0..self.channels {
                let mut seen = Vec::new();
                for y in 0..self.rows.1 {
                    for k in 0..kernel {
                        let x = ((self.first + pixel) * stride + k * dilation).checked_sub(pad).filter(|&x| x < self.cols.1);
                        seen.extend(x.map(|x| value(self.source[y * self.rows.0 + x * self.cols.0 + c], self.signed)));
                    }
                }
                let result = if mean {
                    let n = self.whole.unwrap_or(seen.len());
                    let sum: i32 = seen.iter().sum();
                    self.kind().clamp(if n == 0 { 0 } else { rdm(sum << self.p, i32::from_le_bytes(self.multipliers[n - 1])) })
                } else {
                    seen.iter().copied().max().unwrap_or(if self.signed { -128 } else { 0 })
                };
                out[pixel * self.out_pixel + c] = result as u8;
            }
        }
        out
    }

    const fn kind(&self) -> DataType {
        if self.signed { DataType::S8 } else { DataType::U8 }
    }
}

fn value(byte: u8, signed: bool) -> i32 {
    if signed { i32::from(byte.cast_signed()) } else { i32::from(byte) }
}

/// What a kernel wrote, in the bytes of the definition; what stands between the pixels stays as it is.
fn definition(kernels: Kernels, kind: DataType, out: &[u8], out_pixel: usize, bytes: usize) -> Vec<u8> {
    let mut out = out.to_vec();
    for pixel in out.chunks_mut(out_pixel) {
        kernels.flip_tensor(kind, &mut pixel[..bytes]);
    }
    out
}

/// A run of an addition with its memory, in the bytes of the definition.
pub struct Addition {
    operands: [Vec<u8>; 2],
    steps: [usize; 3],
    kinds: [DataType; 2],
    params: Vec<i32>,
    p: u32,
    pixels: usize,
    channels: usize,
    kind: DataType,
}

impl Addition {
    /// A random one with that many pixels and channels.
    pub fn new(noise: &mut Noise, pixels: usize, channels: usize) -> Self {
        let kind = KINDS[noise.below(4)];
        let wide = noise.below(3) * noise.below(150);
        let kinds = [ADDED[noise.below(3)], ADDED[noise.below(3)]];
        let [x, y] = kinds.map(|kind| channels * kind.bytes() + noise.below(8) + wide);
        let steps = [x, y, (channels + noise.below(3) * 4 + wide) * kind.bytes()];
        let mut operands = [0, 1].map(|i| noise.bytes((pixels - 1) * steps[i] + channels * kinds[i].bytes()));
        let p = if noise.flag() { 0 } else { noise.below(8) as u32 };
        // Parameters of any size, factors that fit into 16 bits with the shift and those that do only without it, and each as large as it can be, as the operands of
        // 16 bits then are.
        let (wild, bits, extreme) = (noise.below(5) == 0, if noise.flag() { 16 - p } else { 16 }, noise.below(4) == 0);
        for (i, bytes) in operands.iter_mut().enumerate().filter(|(i, _)| extreme && kinds[*i] == DataType::S16) {
            for word in bytes.chunks_mut(steps[i]).flat_map(|pixel| pixel.as_chunks_mut::<2>().0) {
                *word = [i16::MIN, i16::MAX][noise.below(2)].to_le_bytes();
            }
        }
        let mut params: Vec<i32> = (0..panels(channels) * params::ADD_ROWS * LANES).map(|_| noise.word()).collect();
        for panel in params.chunks_exact_mut(params::ADD_ROWS * LANES) {
            let alone = noise.below(3) == 0;
            for (row, words) in panel.chunks_exact_mut(LANES).enumerate().filter(|_| !wild) {
                for word in words {
                    *word = match row {
                        params::K1 | params::K2 if extreme => [i32::from(i16::MAX), i32::from(i16::MIN)][noise.below(2)] >> (16 - bits),
                        params::K1 | params::K2 => *word >> (32 - bits),
                        params::MULTIPLIER if extreme => (1 << 30) - 1,
                        params::MULTIPLIER => (*word >> noise.between(2, 20)).max(0),
                        _ => *word >> noise.between(2, 20),
                    };
                    if alone && row == params::K2 {
                        *word = 0;
                    }
                }
            }
        }
        Self { operands, steps, kinds, params, p, pixels, channels, kind }
    }

    /// Bytes of the output.
    pub const fn length(&self) -> usize {
        (self.pixels - 1) * self.steps[2] + self.channels * self.kind.bytes()
    }

    /// The operands as a set stores them.
    pub fn stored(&self, kernels: Kernels) -> [Vec<u8>; 2] {
        let mut operands = self.operands.clone();
        for (bytes, kind) in operands.iter_mut().zip(self.kinds) {
            kernels.flip_tensor(kind, bytes);
        }
        operands
    }

    /// The parameters as bytes.
    pub fn params(&self) -> Vec<u8> {
        self.params.iter().flat_map(|w| w.to_le_bytes()).collect()
    }

    /// Computes the run from stored operands and parameters into an output, all of any memory, and gives it in the bytes of the definition.
    pub fn run(&self, kernels: Kernels, [x, y]: [&[u8]; 2], params: &[[u8; 64]], out: &mut [u8]) -> Vec<u8> {
        out.fill(EMPTY);
        let (x, y, to) = ((x, self.steps[0]), (y, self.steps[1]), (&mut *out, self.steps[2]));
        let &Self { kinds, p, pixels, channels, kind, .. } = self;
        kernels.add(&mut AddRow { x, y, kinds, params, p, out: to, pixels, channels, kind });
        definition(kernels, kind, out, self.steps[2], channels * kind.bytes())
    }

    /// The output by the definition.
    pub fn expected(&self) -> Vec<u8> {
        let mut out = vec![EMPTY; self.length()];
        for pixel in 0..self.pixels {
            for c in 0..self.channels {
                let word = |row: usize| i64::from(self.params[(c / LANES * params::ADD_ROWS + row) * LANES + c % LANES]);
                let operand = |i: usize| {
                    let element = &self.operands[i][pixel * self.steps[i] + c * self.kinds[i].bytes()..];
                    match self.kinds[i] {
                        DataType::S16 => i64::from(element[0]) + (i64::from(element[1].cast_signed()) << 8),
                        kind => i64::from(value(element[0], kind == DataType::S8)),
                    }
                };
                let acc = word(params::BIAS) + word(params::K1) * operand(0) + word(params::K2) * operand(1);
                let result = self.kind.clamp(rdm((acc << self.p) as i32, word(params::MULTIPLIER) as i32)).to_le_bytes();
                let bytes = self.kind.bytes();
                out[pixel * self.steps[2] + c * bytes..][..bytes].copy_from_slice(&result[..bytes]);
            }
        }
        out
    }

    pub fn describe(&self) -> String {
        format!("{} pixels, {} channels, steps {:?}, of {:?}, shift {}, {:?}", self.pixels, self.channels, self.steps, self.kinds, self.p, self.kind)
    }
}

#[test]
fn pools() {
    let (mut sets, mut noise) = (sets(), Noise(9));
    sets.push(("scalar".into(), Kernels::scalar()));
    for round in 0..rounds(3000, 1000) {
        let Some(pool) = Pool::new(&mut noise, round % 10 == 0) else { continue };
        for mean in [false, true] {
            let expected = pool.expected(mean);
            for (name, kernels) in &sets {
                let mut out = vec![EMPTY; pool.length() + 2 * GUARD];
                let found = pool.run(*kernels, &pool.stored(*kernels), &mut out[GUARD..][..expected.len()], mean);
                assert!(found == expected, "{name}, round {round}, mean {mean}");
                assert!(out[..GUARD].iter().chain(&out[GUARD + expected.len()..]).all(|&b| b == EMPTY), "{name} writes outside");
            }
        }
    }
}

fn check_addition(sets: &[(String, Kernels)], addition: &Addition) {
    let expected = addition.expected();
    let params = lines(&addition.params());
    for (name, kernels) in sets {
        let mut out = vec![EMPTY; expected.len() + 2 * GUARD];
        let [x, y] = addition.stored(*kernels);
        let found = addition.run(*kernels, [&x, &y], &params, &mut out[GUARD..][..expected.len()]);
        let wrong = found.iter().zip(&expected).position(|(f, e)| f != e);
        assert!(wrong.is_none(), "{name}, byte {}: {}", wrong.unwrap_or(0), addition.describe());
        assert!(out[..GUARD].iter().chain(&out[GUARD + expected.len()..]).all(|&b| b == EMPTY), "{name} writes outside");
    }
}

#[test]
fn additions() {
    let (mut sets, mut noise) = (sets(), Noise(10));
    sets.push(("scalar".into(), Kernels::scalar()));
    for round in 0..rounds(3000, 1000) {
        let pixels = if round % 50 == 0 { noise.between(100, 300) } else { noise.between(1, 12) };
        let channels = noise.between(1, 40) * 4;
        check_addition(&sets, &Addition::new(&mut noise, pixels, channels));
    }
}

#[test]
fn additions_of_all_widths_and_channels() {
    let (mut sets, mut noise) = (sets(), Noise(12));
    sets.push(("scalar".into(), Kernels::scalar()));
    for pixels in 1..=9 {
        for channels in (4..=68).step_by(4) {
            for _ in 0..rounds(16, 8) {
                check_addition(&sets, &Addition::new(&mut noise, pixels, channels));
            }
        }
    }
}
