//! A folded network on one picture in f64, as plainly as it can be said: the reference of the tests.

use skipstone::convert::graph::{Conv, Network, Op, Second};
use skipstone::shape::Window;

/// All tensors `[h][w][c]` of a network for the bytes `[h][w][c]` of a picture; tensor 0 is the picture after scale and shift.
pub fn run(network: &Network, picture: &[u8]) -> Vec<Vec<f64>> {
    let input = &network.input;
    let channels = input.shape[2] as usize;
    assert_eq!(picture.len(), input.shape.iter().map(|&n| n as usize).product::<usize>());
    let mut tensors = vec![Vec::new(); network.tensors.len()];
    tensors[0] = picture.iter().enumerate().map(|(i, &b)| f64::from(b) * input.scale[i % channels] + input.shift[i % channels]).collect();
    let shape = |t: usize| network.tensors[t].shape.map(|n| n as usize);
    for step in &network.steps {
        let (x, [h, w, c], to) = (&tensors[step.input], shape(step.input), shape(step.output));
        let [oh, ow, oc] = to;
        let mut out: Vec<f64> = match &step.op {
            Op::Conv(conv) => {
                let mut z = convolve(x, [h, w, c], &conv.window, &conv.weights, to);
                z.iter_mut().enumerate().for_each(|(i, v)| *v += conv.bias[i % oc]);
                add_second(&mut z, conv, &tensors, &shape, to);
                z
            }
            Op::MaxPool(window) => {
                let seen = |y, x_, k| pixels(window, [h, w], y, x_).map(|p| x[p.1 * c + k]).fold(f64::NEG_INFINITY, f64::max);
                each(to, seen)
            }
            Op::AveragePool { window, include_pad } => each(to, |y, x_, k| {
                let seen: Vec<f64> = pixels(window, [h, w], y, x_).map(|p| x[p.1 * c + k]).collect();
                let count = if *include_pad { (window.kernel[0] * window.kernel[1]) as usize } else { seen.len() };
                seen.iter().sum::<f64>() / count as f64
            }),
            Op::Add(other) => x.iter().zip(&tensors[*other]).map(|(a, b)| a + b).collect(),
        };
        assert_eq!(out.len(), oh * ow * oc, "{}", step.name);
        if step.relu {
            out.iter_mut().for_each(|v| *v = v.max(0.0));
        }
        tensors[step.output] = out;
    }
    tensors
}

fn each([h, w, c]: [usize; 3], f: impl Fn(usize, usize, usize) -> f64) -> Vec<f64> {
    (0..h * w * c).map(|i| f(i / c / w, i / c % w, i % c)).collect()
}

/// The taps of the window at output pixel (y, x) that lie in the picture, each with its pixel.
fn pixels(window: &Window, [h, w]: [usize; 2], y: usize, x: usize) -> impl Iterator<Item = (usize, usize)> {
    let size = |n: u32| n as usize;
    let ([kh, kw], stride, dilation, pads) = (window.kernel.map(size), window.stride.map(size), window.dilation.map(size), window.pads.map(size));
    (0..kh * kw).filter_map(move |tap| {
        let row = (y * stride[0] + tap / kw * dilation[0]).checked_sub(pads[0])?;
        let column = (x * stride[1] + tap % kw * dilation[1]).checked_sub(pads[1])?;
        (row < h && column < w).then_some((tap, row * w + column))
    })
}

fn convolve(x: &[f64], [h, w, c]: [usize; 3], window: &Window, weights: &[f64], to: [usize; 3]) -> Vec<f64> {
    let taps = (window.kernel[0] * window.kernel[1]) as usize;
    assert_eq!(weights.len(), to[2] * taps * c);
    each(to, |y, x_, o| pixels(window, [h, w], y, x_).map(|(t, p)| (0..c).map(|i| weights[(o * taps + t) * c + i] * x[p * c + i]).sum::<f64>()).sum())
}

fn add_second(z: &mut [f64], conv: &Conv, tensors: &[Vec<f64>], shape: &dyn Fn(usize) -> [usize; 3], to: [usize; 3]) {
    let term = match &conv.second {
        Second::None => return,
        Second::Skip { tensor, stride, front } => {
            let ([_, w, c], x) = (shape(*tensor), &tensors[*tensor]);
            each(to, |y, x_, o| {
                let channel = o.checked_sub(*front as usize).filter(|&k| k < c);
                channel.map_or(0.0, |k| x[(y * stride[0] as usize * w + x_ * stride[1] as usize) * c + k])
            })
        }
        Second::Projection { tensor, window, weights } => convolve(&tensors[*tensor], shape(*tensor), window, weights, to),
    };
    z.iter_mut().zip(term).for_each(|(a, b)| *a += b);
}
