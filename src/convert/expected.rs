//! Where there are no pictures to walk with: what a layer reads, by the statistics.

use super::calibrate::Statistics;
use super::graph::{Network, Op, TensorId};
use super::quantize::Walk;
use super::sums::count;
use crate::pack::Depth;
use crate::shape::{View, Window};
use std::vec::Vec;

/// So many standard deviations from the mean end a range that nobody has seen.
const DEVIATIONS: f64 = 5.0;

/// Mean and mean square of each channel of a tensor of the network; of the picture those of its bytes.
fn moments(network: &Network, statistics: &Statistics, t: TensorId) -> Vec<[f64; 2]> {
    let Some(i) = network.steps.iter().position(|s| s.output == t) else { return statistics.input.clone() };
    let step = &network.steps[i];
    match step.op {
        Op::Concat(_) => step.reads().flat_map(|part| moments(network, statistics, part)).collect(),
        Op::Slice(first) => moments(network, statistics, step.input)[first as usize..][..network.tensors[t].shape[2] as usize].to_vec(),
        _ => {
            let channels = &statistics.outputs[i].channels;
            let of = |c: usize| {
                let [mean, square] = channels.moments(c);
                [if network.tensors[t].nonnegative { mean } else { statistics.means[i][c] }, square]
            };
            (0..channels.len()).map(of).collect()
        }
    }
}

/// What a window reads.
pub(super) struct Expected {
    /// Mean and variance of the bytes of each channel.
    channels: Vec<[f64; 2]>,
    window: Window,
}

impl Expected {
    /// The bytes of a tensor of the network, of which the integer network has one already.
    pub fn new(walk: &Walk<'_>, t: TensorId, window: &Window) -> Self {
        let made = walk.tensor(t);
        let byte = |([mean, square], scale): ([f64; 2], &f64)| {
            let variance = (square - mean * mean).max(0.0);
            if made.picture { [mean, variance] } else { [mean / scale + f64::from(made.zero), variance / (scale * scale)] }
        };
        Self { channels: moments(walk.network, walk.statistics, t).into_iter().zip(&made.scales).map(byte).collect(), window: *window }
    }

    /// The energy that weight noise meets: the variance of all that the window reads.
    pub fn energy(&self) -> f64 {
        f64::from(self.window.kernel[0] * self.window.kernel[1]) * self.channels.iter().map(|[_, variance]| variance).sum::<f64>()
    }

    /// Mean over output pixels of what each position in depth reads; beyond the border lies `padding`, or zeros where that is empty.
    pub fn taps(&self, view: &View, size: [u32; 2], padding: &[u8]) -> Vec<f64> {
        let (window, depth) = (&self.window, Depth::new(&self.window, view.stored_channels()));
        let mut taps = std::vec![0.0; depth.len()];
        let within = |axis: usize, k: u32, length: u32| {
            let inside = |o: &u32| (o * window.stride[axis] + k * window.dilation[axis]).checked_sub(window.pads[axis]).is_some_and(|i| i < length);
            count((0..size[axis]).filter(inside).count()) / f64::from(size[axis].max(1))
        };
        for (ky, kx) in (0..window.kernel[0]).flat_map(|ky| (0..window.kernel[1]).map(move |kx| (ky, kx))) {
            let share = within(0, ky, view.h) * within(1, kx, view.w);
            let at = depth.index(ky as usize, kx as usize, 0);
            for (c, [mean, _]) in self.channels.iter().enumerate() {
                taps[at + c] = share * mean + (1.0 - share) * padding.get(c).map_or(0.0, |&p| p.into());
            }
        }
        taps
    }

    /// The largest magnitude that a convolution should stand for, whose outputs have these `means`; `rows` are weights of some groups in units of one step of what
    /// they read. The taps of a channel go together, channels do not.
    pub fn largest(&self, rows: &[Vec<f64>], layout: &Depth, groups: usize, means: impl Fn(usize) -> f64) -> f64 {
        let (own, outputs) = (self.channels.len() / groups, rows.len() / groups);
        let one = |(o, row): (usize, &Vec<f64>)| {
            let channels = &self.channels[o / outputs * own..][..own];
            let taps = || (0..self.window.kernel[0] as usize).flat_map(|ky| (0..self.window.kernel[1] as usize).map(move |kx| (ky, kx)));
            let weight = |c: usize| taps().map(|(ky, kx)| row[layout.index(ky, kx, c)].abs()).sum::<f64>();
            let variance: f64 = channels.iter().enumerate().map(|(c, [_, variance])| weight(c).powi(2) * variance).sum();
            means(o).abs() + DEVIATIONS * variance.sqrt()
        };
        rows.iter().enumerate().map(one).fold(0.0, f64::max)
    }
}
