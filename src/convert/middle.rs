//! The middle tap of a convolution into which branches were folded (RepVGG): its weights are much larger than all else in their rows, and as weights among the others they would set the
//! grid of them all.
//!
//! What hands each channel on, the diagonal, becomes an exact factor of a skip. Where more of the tap stands out, it becomes a projection of the same pixels: weights with a
//! coarse unit, a multiple of the others', while the remainder stays in the kernel. Together they are exact to the fine unit.

use super::graph::{Conv, Second, Step};
use super::round::{LARGEST, integer, nearest};
use super::rounding::Rows;
use crate::pack::{Depth, LANES};
use crate::shape::Window;
use std::vec::Vec;

/// A diagonal is taken out of a row whose other weights are smaller by this factor.
const LARGER: f64 = 1.5;
/// The middle tap is taken out where the noise power of the weights is so many times larger with it.
const NOISIER: f64 = 3.0;
/// The coarse unit is at most so many fine ones: the remainder, half a coarse unit, fits into a weight twice.
const COARSEST: f64 = 127.0;

/// The number of the middle tap, of a window that has one.
fn middle_tap(window: &Window) -> Option<usize> {
    let middle = |axis: usize| {
        let (pad, kernel) = (window.pads[axis], window.kernel[axis]);
        let odd = !kernel.is_multiple_of(2) && pad == window.pads[axis + 2] && pad * 2 == (kernel - 1) * window.dilation[axis];
        odd.then_some(kernel as usize / 2)
    };
    (window.kernel != [1, 1]).then_some(middle(0)? * window.kernel[1] as usize + middle(1)?)
}

const fn taps(window: &Window) -> usize {
    (window.kernel[0] * window.kernel[1]) as usize
}

/// What each row has where, in steps of its inputs: the largest weight of the middle tap, that of a channel's own aside, its own, and the largest of all other taps.
struct Sizes {
    tap: f64,
    own: f64,
    others: f64,
}

fn sizes(conv: &Conv, tap: usize, inputs: usize, scale: impl Fn(usize) -> f64) -> Vec<Sizes> {
    let groups = conv.groups as usize;
    let (outputs, channels) = (conv.bias.len(), inputs / groups);
    let of_row = |(o, row): (usize, &[f64])| {
        let mut sizes = Sizes { tap: 0.0, own: 0.0, others: 0.0 };
        let first = o / (outputs / groups) * channels;
        for (i, w) in row.iter().enumerate() {
            let (at, c) = (i / channels, first + i % channels);
            let size = (w * scale(c)).abs();
            match &mut sizes {
                Sizes { own, .. } if at == tap && c == o && inputs == outputs => *own = size,
                Sizes { tap: middle, .. } if at == tap => *middle = middle.max(size),
                Sizes { others, .. } => *others = others.max(size),
            }
        }
        sizes
    };
    conv.weights.chunks_exact(conv.weights.len() / outputs).enumerate().map(of_row).collect()
}

/// What becomes of a convolution's middle tap.
pub(super) enum Middle {
    /// It is weights as the others.
    Kept,
    /// The convolution without its diagonal, and the diagonal: 0 in channels that keep theirs.
    Diagonal(Conv, Vec<f64>),
    /// The convolution with its middle tap as a projection of its own input.
    Projected(Conv),
}

/// Takes out the middle tap of `step`, or its diagonal, where that makes the weights' noise much smaller. `unsigned` says whether the input can be projected, `scale` is that of an
/// input channel.
pub(super) fn middle(conv: &Conv, step: &Step, inputs: usize, unsigned: bool, scale: impl Fn(usize) -> f64) -> Middle {
    let Some(tap) = middle_tap(&conv.window).filter(|_| conv.second == Second::None && conv.steps.is_empty()) else { return Middle::Kept };
    let sizes = sizes(conv, tap, inputs, scale);
    let diagonal = diagonal(conv, tap, inputs, &sizes);
    let (mut together, mut apart) = (0.0, 0.0);
    for (o, &Sizes { tap, own, others }) in sizes.iter().enumerate() {
        let middle = tap.max(own);
        let whole = others.max(if diagonal.as_ref().is_some_and(|d| d[o] > 0.0) { tap } else { middle }).powi(2);
        together += whole;
        // A row of nothing but its middle gains nothing.
        apart += if others > 0.0 { others.max(middle / (LARGEST * COARSEST)).powi(2) } else { whole };
    }
    if unsigned && conv.groups == 1 && together > NOISIER * apart {
        return Middle::Projected(projected(conv, step, tap, inputs));
    }
    let Some(factors) = diagonal else { return Middle::Kept };
    let mut rest = conv.clone();
    (0..factors.len()).filter(|&o| factors[o] > 0.0).for_each(|o| rest.weights[diagonal_at(conv, tap, inputs, o)] = 0.0);
    Middle::Diagonal(rest, factors)
}

/// Where the weights hold that of the middle tap for a channel's own number.
const fn diagonal_at(conv: &Conv, tap: usize, inputs: usize, o: usize) -> usize {
    let channels = inputs / conv.groups as usize;
    (o * taps(&conv.window) + tap) * channels + o % channels
}

/// The diagonal, 0 in channels that keep theirs. None if the convolution does not map its input's pixels and channels to themselves, or if less than half of the channels have a positive
/// diagonal that stands out.
fn diagonal(conv: &Conv, tap: usize, inputs: usize, sizes: &[Sizes]) -> Option<Vec<f64>> {
    let groups = conv.groups as usize;
    // Narrow groups have kernels of their own, which add nothing.
    if inputs != conv.bias.len() || conv.window.stride != [1, 1] || groups > 1 && inputs / groups < LANES {
        return None;
    }
    let factor = |(o, sizes): (usize, &Sizes)| {
        let weight = conv.weights[diagonal_at(conv, tap, inputs, o)];
        if weight > 0.0 && sizes.own > LARGER * sizes.others.max(sizes.tap) { weight } else { 0.0 }
    };
    let factors: Vec<f64> = sizes.iter().enumerate().map(factor).collect();
    (factors.iter().filter(|f| **f > 0.0).count() * 2 >= factors.len()).then_some(factors)
}

fn projected(conv: &Conv, step: &Step, tap: usize, inputs: usize) -> Conv {
    let (mut rest, mut weights) = (conv.clone(), Vec::with_capacity(conv.bias.len() * inputs));
    for row in rest.weights.chunks_exact_mut(taps(&conv.window) * inputs) {
        let middle = &mut row[tap * inputs..][..inputs];
        weights.extend_from_slice(middle);
        middle.fill(0.0);
    }
    Conv { second: Second::Projection { tensor: step.input, window: Window::point(conv.window.stride), weights }, ..rest }
}

/// True if the projection of a convolution is its own middle tap, which the kernel then lacks.
pub(super) fn is_projected(conv: &Conv, step: &Step) -> bool {
    let own = matches!(&conv.second, Second::Projection { tensor, window, .. } if *tensor == step.input && *window == Window::point(conv.window.stride));
    let Some(tap) = middle_tap(&conv.window).filter(|_| own) else { return false };
    let row = conv.weights.len() / conv.bias.len();
    let inputs = row / taps(&conv.window);
    conv.weights.chunks_exact(row).all(|row| row[tap * inputs..][..inputs].iter().all(|w| *w == 0.0))
}

/// The unit of a row and the factor of its middle tap, whose own units are `unit` and `tap`.
pub(super) fn coarse(unit: f64, tap: f64) -> (f64, i32) {
    let unit = unit.max(tap / COARSEST);
    // A hair more than a whole number is one.
    (unit, integer((tap / unit - 1e-9).ceil().max(1.0)))
}

/// The coarse integers of the middle tap; what they leave goes into the rows of the others.
pub(super) fn shared(main: &mut Rows<'_>, middle: &Rows<'_>, unit: &[f64], pair_safe: bool) -> Vec<i8> {
    let window = &main.window;
    let at = Depth::new(window, main.view.stored_channels()).index(window.kernel[0] as usize / 2, window.kernel[1] as usize / 2, 0);
    let mut integers = Vec::new();
    for (((row, tap), unit), factor) in main.rows.iter_mut().zip(&middle.rows).zip(unit).zip(middle.factors) {
        let step = unit * f64::from(*factor);
        let coarse = nearest(tap, step, pair_safe);
        row[at..].iter_mut().zip(tap.iter().zip(&coarse)).for_each(|(w, (tap, q))| *w += tap - step * f64::from(*q));
        integers.extend(coarse);
    }
    integers
}
