//! The scalar kernel against the convolution as a textbook has it.

use super::{ADDED, Case, GUARD, Noise, Operand, Second, lines};
use skipstone::kernels::Kernels;
use skipstone::pack::{Depth, LANES, Taps, pack, panels, params};
use skipstone::quant::{DataType, rdm};
use skipstone::shape::Window;

/// The convolution as a textbook has it, in 64 bits, from weights `[o][ky][kx][c]` over a picture `[h][w][c]` without a border.
struct Textbook {
    window: Window,
    channels: usize,
    outputs: usize,
    input: Vec<u8>,
    /// Height and width of the input.
    size: [usize; 2],
    weights: Vec<i8>,
}

impl Textbook {
    fn new(noise: &mut Noise, window: Window, channels: usize, outputs: usize, output: [usize; 2]) -> Self {
        let extent = window.extent();
        let size = [0, 1].map(|i| (output[i] - 1) * window.stride[i] as usize + extent[i] as usize);
        let taps = window.kernel[0] as usize * window.kernel[1] as usize;
        let weights = (0..outputs * taps * channels).map(|_| noise.byte().cast_signed()).collect();
        Self { window, channels, outputs, input: noise.bytes(size[0] * size[1] * channels), size, weights }
    }

    fn sum(&self, y: usize, x: usize, o: usize, signed: bool) -> i64 {
        let [kh, kw] = self.window.kernel.map(|k| k as usize);
        let at = |i: usize, out: usize, tap: usize| out * self.window.stride[i] as usize + tap * self.window.dilation[i] as usize;
        let mut sum = 0;
        for ky in 0..kh {
            for kx in 0..kw {
                for c in 0..self.channels {
                    let byte = self.input[(at(0, y, ky) * self.size[1] + at(1, x, kx)) * self.channels + c];
                    let value = i64::from(byte) - if signed { 128 } else { 0 };
                    sum += value * i64::from(self.weights[((o * kh + ky) * kw + kx) * self.channels + c]);
                }
            }
        }
        sum
    }

    /// The input and the weights as the kernels read them; `adjacent` says whether the taps of a kernel row are one run.
    fn operand(&self, adjacent: bool, signed: bool) -> Operand {
        let depth = Depth::new(&self.window, self.channels);
        let [kh, kw] = self.window.kernel.map(|k| k as usize);
        let mut rows = vec![0i8; self.outputs * depth.len()];
        for o in 0..self.outputs {
            for ky in 0..kh {
                for kx in 0..kw {
                    for c in 0..self.channels {
                        rows[o * depth.len() + depth.index(ky, kx, c)] = self.weights[((o * kh + ky) * kw + kx) * self.channels + c];
                    }
                }
            }
        }
        let mut packed = vec![0; depth.bytes(self.outputs)];
        pack(&rows, depth.len(), &mut packed);
        let (pixel, row) = (self.channels, self.size[1] * self.channels);
        let [[stride_y, stride_x], [dilation_y, dilation_x]] = [self.window.stride, self.window.dilation].map(|v| v.map(|v| v as usize));
        let mut bytes = self.input.clone();
        bytes.extend([77; 4]);
        Operand {
            bytes,
            taps: depth.taps(adjacent),
            out_row: stride_y * row,
            out_pixel: stride_x * pixel,
            tap_row: dilation_y * row,
            tap_col: dilation_x * pixel,
            signed,
            weights: lines(&packed),
        }
    }
}

#[test]
fn scalar_equals_a_textbook() {
    let mut noise = Noise(8);
    for round in 0..400 {
        let side = noise.between(1, 5) as u32;
        let dilation = if round % 3 == 0 { noise.between(1, 2) as u32 } else { 1 };
        let stride = [noise.between(1, 3) as u32, noise.between(1, 2) as u32];
        let window = Window { kernel: [noise.between(1, 5) as u32, side], stride, dilation: [dilation; 2], pads: [0; 4] };
        let picture = dilation == 1 && noise.below(3) == 0;
        let channels = if picture { noise.between(1, 7) } else { noise.between(1, 4) * 4 };
        let output = [noise.between(1, 3), noise.between(1, 5)];
        let outputs = noise.between(1, 10) * 4;
        let book = Textbook::new(&mut noise, window, channels, outputs, output);
        let point = Window::point([noise.between(1, 2) as u32, noise.between(1, 2) as u32]);
        let second_channels = noise.between(1, 4) * 4;
        let projected = Textbook::new(&mut noise, point, second_channels, outputs, output);
        let signed = noise.flag() && !picture;
        let mut case = Case::new(&mut noise, Taps { rows: 1, cols: 1, groups: 1 }, [output[0], output[1], outputs]);
        let adjacent = dilation == 1 && (picture || noise.flag());
        case.main = book.operand(adjacent, signed);
        let mut skip_channels = 0;
        case.second = match round % 3 {
            0 => Second::None,
            1 => {
                skip_channels = noise.between(1, outputs);
                let first = -noise.below(outputs).cast_signed();
                let kind = ADDED[noise.below(3)];
                let out_pixel = skip_channels * kind.bytes();
                let bytes = noise.bytes(output[0] * output[1] * out_pixel);
                Second::Skip { bytes, out_row: output[1] * out_pixel, out_pixel, first, channels: skip_channels, kind }
            }
            _ => Second::Projection(projected.operand(noise.flag(), false)),
        };
        case.kind = DataType::I32;
        (case.out_pixel, case.out_row) = (outputs * 4, outputs * 4 * output[1]);
        case.make_params(&mut noise, false);
        let rows = case.params.len() / panels(outputs);
        let word = |o: usize, row: usize| {
            let bytes = &case.params[o / LANES * rows + row][o % LANES * 4..][..4];
            i64::from(i32::from_le_bytes(bytes.try_into().unwrap()))
        };
        let out = case.run(Kernels::scalar());
        let found: Vec<i32> = out[GUARD..].as_chunks::<4>().0.iter().map(|b| i32::from_le_bytes(*b)).collect();
        for y in 0..output[0] {
            for x in 0..output[1] {
                for o in 0..outputs {
                    let sum = book.sum(y, x, o, signed);
                    let acc = word(o, params::BIAS)
                        + match &case.second {
                            Second::None => sum,
                            Second::Skip { bytes, first, kind, .. } => {
                                let channel = usize::try_from(o.cast_signed() + first).ok().filter(|&c| c < skip_channels);
                                let element = channel.map_or(&[0; 2][..], |c| &bytes[((y * output[1] + x) * skip_channels + c) * kind.bytes()..]);
                                let value = match kind {
                                    DataType::U8 => i64::from(element[0]),
                                    DataType::S8 => i64::from(element[0].cast_signed()),
                                    _ => i64::from(element[0]) + (i64::from(element[1].cast_signed()) << 8),
                                };
                                sum + word(o, params::K2) * value
                            }
                            Second::Projection(_) => sum * word(o, params::K1) + projected.sum(y, x, o, false) * word(o, params::K2),
                        };
                    let acc = acc as i32;
                    let expected = ((i128::from(acc) * i128::from(word(o, params::MULTIPLIER)) + (1 << 30)) >> 31) as i32;
                    assert_eq!(found[(y * output[1] + x) * outputs + o], expected, "round {round}, pixel {y} {x}, output {o}: {}", case.describe());
                    assert_eq!(rdm(acc, word(o, params::MULTIPLIER) as i32), expected);
                }
            }
        }
    }
}
