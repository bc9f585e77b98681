//! One convolution in integers: grid steps and factors, then weights, then the bias in closed form.

use super::ConvertError;
use super::calibrate::TensorStatistics;
use super::choices::{self, Scales};
use super::exact::{Exact, exact};
use super::expected::Expected;
use super::graph::{self, Second};
use super::merge::Merged;
use super::middle::{Middle, coarse, is_projected, middle, shared};
use super::parallel::in_order;
use super::quantize::{ONE, ROOM, Walk, derived, levels, observe};
use super::quantized::{self, Conv, Op, Step};
use super::round::{fraction, integer, unit};
use super::rounding::{Rows, by_group, integers};
use super::stream::{Use, WIDE_FACTOR};
use super::{range, sums};
use crate::format::proof::FACTOR_LIMIT;
use crate::pack::{Depth, pack};
use crate::quant::{DataType, MULTIPLIER_LIMIT};
use crate::shape::{View, Window};
use std::vec::Vec;

/// A row without weights has this unit.
const EMPTY: f64 = 1e-12;
/// Biases stay below this many units.
const BIAS_LIMIT: f64 = 268_435_456.0;
/// The value for zero stays below this many units.
pub(super) const SHOWN_LIMIT: f64 = 134_217_728.0;
/// Half of what accumulators may hold.
const ACCUMULATOR: f64 = 1_073_741_824.0;
/// The largest magnitude of an integer that a convolution reads.
const READ: f64 = 255.0;
/// A byte for 0 that lies this far from the byte 0 is met exactly.
const FAR: i32 = 32;
/// A skip whose factors would enlarge the weights' noise power beyond this is added in a step of its own.
const NOISE_LIMIT: f64 = 1.5;

/// The weights of a convolution of some groups as rows in the order of a group's depth, in units of one step of the input.
pub(super) fn rows(weights: &[f64], window: &Window, view: &View, groups: u32, scale: impl Fn(usize) -> f64) -> Vec<Vec<f64>> {
    let part = part(view, groups, 0);
    let depth = Depth::new(window, part.stored_channels());
    let (c, taps) = (part.c as usize, [window.kernel[0] as usize, window.kernel[1] as usize]);
    let outputs = weights.len() / (c * taps[0] * taps[1]) / groups as usize;
    let fill = |(o, weights): (usize, &[f64])| {
        let (mut row, first) = (std::vec![0.0; depth.len()], o / outputs * c);
        for (tap, weights) in weights.chunks_exact(c).enumerate() {
            let at = depth.index(tap / taps[1], tap % taps[1], 0);
            weights.iter().enumerate().for_each(|(i, w)| row[at + i] = w * scale(first + i));
        }
        row
    };
    weights.chunks_exact(c * taps[0] * taps[1]).enumerate().map(fill).collect()
}

/// The channels of a tensor that a group reads.
pub(super) fn part(view: &View, groups: u32, group: u32) -> View {
    if groups == 1 {
        return *view;
    }
    let c = view.c / groups;
    View { c, offset: view.offset + (group * c) as usize, ..*view }
}

/// The grid of a convolution: the unit of each channel's accumulator, and the factors of the two sums.
struct Grid {
    unit: Vec<f64>,
    k1: Vec<i32>,
    k2: Vec<i32>,
}

/// Adds a convolution whose second operand is a skip, a projection or nothing; splits it where the arithmetic does not allow to fuse.
pub(super) fn conv(walk: &mut Walk<'_>, step: &graph::Step, conv: &graph::Conv, kind: DataType, means: &[f64]) -> Result<(), ConvertError> {
    let shape = walk.network.tensors[step.output].shape;
    let channels = walk.network.tensors[step.input].shape[2] / conv.groups;
    if conv.groups > 1 && (channels > 1 && !channels.is_multiple_of(2) || walk.tensor(step.input).picture) {
        // Weights that meet in pairs would be of two groups.
        return self::conv(walk, step, &dense(conv, channels as usize), kind, means);
    }
    if let Second::Projection { tensor, window, weights } = &conv.second {
        let source = walk.tensor(*tensor);
        if source.kind != DataType::U8 || source.picture {
            // The runtime projects from unsigned tensors only: the shortcut becomes a step of its own and is added as a skip.
            let own = graph::Conv {
                window: *window,
                groups: 1,
                weights: weights.clone(),
                steps: Vec::new(),
                bias: std::vec![0.0; conv.bias.len()],
                second: Second::None,
            };
            let name = derived(&step.name, "shortcut");
            let shortcut = graph::Step { name: name.clone(), value: name, relu: false, input: *tensor, ..step.clone() };
            let t = measured(walk, &shortcut, &own, shape, None)?;
            return fused_or_split(walk, step, conv, kind, means, Some(Skip::of(t, [1, 1], 0)));
        }
        return fused(walk, step, conv, kind, means, None, None);
    }
    if let Second::Skip { tensor, stride, front } = conv.second {
        return fused_or_split(walk, step, conv, kind, means, Some(Skip::of(walk.added(tensor), stride, front)));
    }
    let own = [step.input, step.output].iter().all(|&t| walk.network.tensors[t].foreign.is_none()) && kind != DataType::I32;
    let input = walk.tensor(step.input);
    if !own || input.picture {
        return fused(walk, step, conv, kind, means, None, None);
    }
    // The runtime projects from unsigned tensors only.
    let (inputs, unsigned) = (input.scales.len(), input.kind == DataType::U8);
    match middle(conv, step, inputs, unsigned, input_scale(walk, walk.stands_for[step.input])) {
        Middle::Kept => fused(walk, step, conv, kind, means, None, None),
        Middle::Projected(conv) => fused(walk, step, &conv, kind, means, None, None),
        Middle::Diagonal(rest, factors) => {
            let skip = Skip { factors, ..Skip::of(walk.stands_for[step.input], [1, 1], 0) };
            fused(walk, step, &rest, kind, means, Some(&skip), None)
        }
    }
}

/// A convolution in groups of so many input channels as one without groups: what was not read has zero weights.
fn dense(conv: &graph::Conv, channels: usize) -> graph::Conv {
    let (groups, taps) = (conv.groups as usize, (conv.window.kernel[0] * conv.window.kernel[1]) as usize);
    let outputs = conv.bias.len() / groups;
    let mut weights = Vec::with_capacity(conv.weights.len() * groups);
    for (o, row) in conv.weights.chunks_exact(taps * channels).enumerate() {
        for tap in row.chunks_exact(channels) {
            let at = weights.len() + o / outputs * channels;
            weights.resize(weights.len() + groups * channels, 0.0);
            weights[at..at + channels].copy_from_slice(tap);
        }
    }
    graph::Conv { groups: 1, weights, ..conv.clone() }
}

/// A tensor of the integer network that is added.
struct Skip {
    tensor: usize,
    stride: [u32; 2],
    /// Channels of zeros in front.
    front: u32,
    /// Of each channel, 0 where it is not added; empty for ones.
    factors: Vec<f64>,
}

impl Skip {
    const fn of(tensor: usize, stride: [u32; 2], front: u32) -> Self {
        Self { tensor, stride, front, factors: Vec::new() }
    }
}

fn fused_or_split(walk: &mut Walk<'_>, step: &graph::Step, conv: &graph::Conv, kind: DataType, means: &[f64], skip: Option<Skip>) -> Result<(), ConvertError> {
    let Some(skip) = skip else { return fused(walk, step, conv, kind, means, None, None) };
    let Skip { tensor, stride, front, .. } = skip;
    let plain = graph::Conv { second: Second::None, ..conv.clone() };
    let rows = main_rows(walk, step, &plain);
    let grid = grid(walk, step, &plain, kind, &rows, Some(&skip));
    let alone = self::grid(walk, step, &plain, kind, &rows, None);
    let noise = |g: &Grid| g.unit.iter().map(|u| u * u).sum::<f64>();
    let coarse = kind != DataType::I32 && grid.unit.iter().zip(&walk.scales[step.output]).any(|(u, s)| u * ROOM > 1.3 * s);
    let splittable = stride == [1, 1] && front == 0 && kind != DataType::I32;
    let missing = grid.k2.iter().zip(&alone.unit).any(|(k, u)| *k == 0 && *u > EMPTY) && front == 0;
    if splittable && (missing || coarse || noise(&grid) > NOISE_LIMIT * noise(&alone)) {
        let shape = walk.network.tensors[step.output].shape;
        let own = derived(&step.name, "sum");
        let before = graph::Step { value: own, relu: false, ..step.clone() };
        let t = measured(walk, &before, &plain, shape, Some((means, tensor)))?;
        let name = derived(&step.name, "add");
        let sum = graph::Step { name, ..step.clone() };
        let (scales, zero) = if kind == DataType::S16 {
            (walk.wide_bounds(step.output).to_vec(), walk.wide_zero(step.output))
        } else {
            (walk.scales[step.output].clone(), walk.zero(step.output))
        };
        let output = walk.output_around(step, kind, scales, zero);
        return walk.addition(&sum, t, tensor, output);
    }
    fused(walk, step, &plain, kind, means, Some(&skip), None)
}

/// A convolution by itself into a tensor that the float network does not have: its range is measured on its own integers.
fn measured(walk: &mut Walk<'_>, step: &graph::Step, conv: &graph::Conv, shape: [u32; 3], means: Option<(&[f64], usize)>) -> Result<usize, ConvertError> {
    let stands_for = walk.stands_for[step.output];
    let means: Option<Vec<f64>> = means.map(|(means, skip)| {
        let (view, scales, zero) = (walk.view(skip), &walk.made.tensors[skip].scales, f64::from(walk.made.tensors[skip].zero));
        let totals = sums::skips(&walk.data[skip], &view, [1, 1], 0, [shape[0], shape[1]], means.len());
        let n = count(view.pixels() * walk.data[skip].len());
        means.iter().zip(totals).zip(scales).map(|((m, t), scale)| m - scale * (t / n - zero)).collect()
    });
    let bias = if means.is_some() { Bias::Means } else { Bias::Float };
    fused(walk, step, conv, DataType::S8, means.as_deref().unwrap_or(&[]), None, Some(bias))?;
    let output = walk.stands_for[step.output];
    walk.stands_for[step.output] = stands_for;
    Ok(output)
}

/// Where the bias of a measured convolution comes from.
#[derive(Clone, Copy, PartialEq)]
enum Bias {
    Means,
    Float,
}

/// The scale of an input channel.
fn input_scale(walk: &Walk<'_>, tensor: usize) -> impl Fn(usize) -> f64 {
    let scales = walk.made.tensors[tensor].scales.clone();
    move |c| scales[c]
}

/// The sign of an input channel: a preprocessing may turn bytes around.
pub(super) fn input_sign(walk: &Walk<'_>, tensor: usize, c: usize) -> f64 {
    if walk.made.tensors[tensor].picture { walk.network.input.scale[c].signum() } else { 1.0 }
}

pub(super) fn main_rows(walk: &Walk<'_>, step: &graph::Step, conv: &graph::Conv) -> Vec<Vec<f64>> {
    let input = walk.stands_for[step.input];
    let scale = input_scale(walk, input);
    rows(&conv.weights, &conv.window, &walk.view(input), conv.groups, |c| scale(c) * input_sign(walk, input, c))
}

fn count(n: usize) -> f64 {
    sums::count(n).max(1.0)
}

/// The float bias of each channel, with what the input's shift adds.
fn float_bias(walk: &Walk<'_>, step: &graph::Step, conv: &graph::Conv) -> Vec<f64> {
    let mut bias = conv.bias.clone();
    if walk.made.tensors[walk.stands_for[step.input]].picture {
        let shift = &walk.network.input.shift;
        let row = conv.weights.len() / bias.len();
        for (b, weights) in bias.iter_mut().zip(conv.weights.chunks_exact(row)) {
            *b += weights.iter().enumerate().map(|(i, w)| w * shift[i % shift.len()]).sum::<f64>();
        }
    }
    bias
}

/// The grid for the rows `main` of the convolution's own weights.
fn grid(walk: &Walk<'_>, step: &graph::Step, conv: &graph::Conv, kind: DataType, main: &[Vec<f64>], skip: Option<&Skip>) -> Grid {
    let bias = float_bias(walk, step, conv);
    // What stands for zero must fit into the bias.
    let (zero, shown) = match kind {
        DataType::S16 => (walk.wide_zero(step.output), walk.wide_bounds(step.output)),
        _ => (walk.zero(step.output), &walk.scales[step.output][..]),
    };
    let finest: Vec<f64> = shown.iter().map(|s| f64::from(zero.abs()) * s / SHOWN_LIMIT).collect();
    // No input may bring an accumulator to its limit: half of it is left for the rounding of the weights and for the bias that replaces this one.
    let reach = |row: &[f64]| READ * row.iter().map(|w| w.max(0.0)).sum::<f64>().max(row.iter().map(|w| -w.min(0.0)).sum());
    let units =
        |rows: &[Vec<f64>]| -> Vec<f64> { rows.iter().zip(&bias).map(|(r, b)| unit(r, walk.options.pair_safe).max(b.abs() / BIAS_LIMIT).max(EMPTY)).collect() };
    let least = |(o, (row, b)): (usize, (&Vec<f64>, &f64))| ((reach(row) + b.abs()) / ACCUMULATOR).max(finest.get(o).copied().unwrap_or(0.0));
    let least: Vec<f64> = main.iter().zip(&bias).enumerate().map(least).collect();
    let u: Vec<f64> = units(main).iter().zip(&least).map(|(u, l)| u.max(*l)).collect();
    let ones = std::vec![1; u.len()];
    if let Second::Projection { tensor, window, weights } = &conv.second {
        let (input, other) = (walk.stands_for[step.input], walk.stands_for[*tensor]);
        let scale = input_scale(walk, other);
        let projected = rows(weights, window, &walk.view(other), 1, scale);
        let u2 = units(&projected);
        let least = least.iter().zip(&projected).map(|(l, row)| l + reach(row) / ACCUMULATOR);
        if is_projected(conv, step) {
            let (unit, k2) = u.iter().zip(least).zip(&u2).map(|((u, l), u2)| coarse(u.max(l), *u2)).unzip();
            return Grid { unit, k1: ones, k2 };
        }
        let energy = |network: usize, t: usize, w: &Window| {
            if walk.blind {
                return Expected::new(walk, network, w).energy();
            }
            let pictures: Vec<&[u8]> = walk.data[t].iter().map(Vec::as_slice).collect();
            f64::from(w.kernel[0] * w.kernel[1]) * sums::energy(&pictures, &walk.view(t))
        };
        let (a1, a2) = (energy(step.input, input, &conv.window), energy(*tensor, other, window));
        let found: Vec<_> = u.iter().zip(&u2).map(|(&u1, &u2)| fraction(u1, u2, a1, a2)).collect();
        let k = |pick: fn(&(u32, u32, f64)) -> u32| found.iter().map(|f| pick(f).cast_signed()).collect();
        return Grid { unit: found.iter().zip(least).map(|(f, l)| f.2.max(l)).collect(), k1: k(|f| f.0), k2: k(|f| f.1) };
    }
    let Some(&Skip { tensor, front, ref factors, .. }) = skip else { return Grid { k1: ones.clone(), k2: std::vec![0; u.len()], unit: u } };
    let scales = &walk.made.tensors[tensor].scales;
    let scale = |o: usize| o.checked_sub(front as usize).and_then(|c| Some(scales.get(c)? * factors.get(c).unwrap_or(&1.0)));
    let limit = f64::from(if walk.made.tensors[tensor].kind == DataType::S16 { WIDE_FACTOR } else { FACTOR_LIMIT });
    let factor = |(o, u): (usize, &f64)| scale(o).map_or(0, |s| integer((s / u).floor().min(limit)));
    let k2: Vec<i32> = u.iter().enumerate().map(factor).collect();
    let unit = u.iter().enumerate().zip(&k2).map(|((o, u), &k)| scale(o).filter(|_| k > 0).map_or(*u, |s| s / f64::from(k))).collect();
    Grid { unit, k1: ones, k2 }
}

/// Quantizes one convolution with everything fused, and runs it.
fn fused(
    walk: &mut Walk<'_>,
    step: &graph::Step,
    conv: &graph::Conv,
    kind: DataType,
    means: &[f64],
    skip: Option<&Skip>,
    bias_from: Option<Bias>,
) -> Result<(), ConvertError> {
    let shape = walk.network.tensors[step.output].shape;
    let (input, size) = (walk.stands_for[step.input], [shape[0], shape[1]]);
    let foreign = walk.network.tensors[step.output].foreign.filter(|_| bias_from.is_none());
    let own = main_rows(walk, step, conv);
    let mut exact = if bias_from.is_none() && skip.is_none() { exact(walk, step, conv, &own) } else { None };
    if exact.is_none() && !conv.steps.is_empty() {
        walk.foreign.rounded.push(step.name.clone());
    }
    let grid = match &exact {
        Some(Exact { unit, .. }) => Grid { k1: std::vec![1; unit.len()], k2: std::vec![0; unit.len()], unit: unit.clone() },
        None => grid(walk, step, conv, kind, &own, skip),
    };
    if let Some(&Skip { tensor, front, ref factors, .. }) = skip {
        let mut sources = (0..walk.made.tensors[tensor].shape[2] as usize).filter(|&c| factors.get(c).is_none_or(|f| *f > 0.0)).map(|c| c + front as usize);
        if let Some(o) = sources.find(|&o| grid.k2.get(o) == Some(&0)) {
            return Err(ConvertError::Arithmetic { node: step.name.clone(), what: std::format!("the shortcut is too fine for the weights of channel {o}") });
        }
    }
    let (view, groups) = (walk.view(input), conv.groups);
    let layout = Depth::new(&conv.window, part(&view, groups, 0).stored_channels());
    let depth = layout.len();
    let padding = padding(walk, input, &conv.window);
    // Means of the accumulators without bias: they are linear in the sums of what each tap reads.
    let whole = tap_means(walk, step.input, &conv.window, size, &padding)?;
    let outputs = own.len() / groups as usize;
    let seen: Vec<Vec<f64>> = (0..groups).map(|group| group_means(&whole, &conv.window, &view, &layout, part(&view, groups, group))).collect();
    let float = float_bias(walk, step, conv);
    let zeros: Vec<f64> = walk.made.tensors.iter().map(|t| t.zero.into()).collect();
    let zero = |t: usize| zeros[t];
    // The same of real weights, with the bias.
    let mut wanted = float.clone();
    for (o, (mean, row)) in wanted.iter_mut().zip(&own).enumerate() {
        *mean += row.iter().zip(&seen[o / outputs]).map(|(w, s)| w * (s - zero(input))).sum::<f64>();
    }
    let unseen = || Expected::new(walk, step.input, &conv.window).largest(&own, &layout, groups as usize, |o| wanted[o]);
    let unseen = (walk.blind && bias_from.is_some()).then(unseen);
    walk.estimated += usize::from(unseen.is_some());
    let mut main = Rows { tensor: input, view, window: conv.window, padding: &padding, rows: own, factors: &grid.k1 };
    let mut projected_taps = Vec::new();
    let projection = if let Second::Projection { tensor, window, weights } = &conv.second {
        projected_taps = tap_means(walk, *tensor, window, size, &[])?;
        let tensor = walk.stands_for[*tensor];
        let rows = rows(weights, window, &walk.view(tensor), 1, input_scale(walk, tensor));
        wanted.iter_mut().zip(&rows).for_each(|(mean, row)| *mean += row.iter().zip(&projected_taps).map(|(w, s)| w * (s - zero(tensor))).sum::<f64>());
        Some(Rows { tensor, view: walk.view(tensor), window: *window, padding: &[], rows, factors: &grid.k2 })
    } else {
        None
    };
    let [weights, projected] = if let Some(exact) = &mut exact {
        if groups == 1 {
            exact.make_up(walk, &main, size);
        }
        [exact.weights.clone(), Vec::new()]
    } else if let Some(middle) = projection.as_ref().filter(|_| is_projected(conv, step)) {
        let coarse = shared(&mut main, middle, &grid.unit, walk.options.pair_safe);
        let [fine, _] = integers(walk, &grid.unit, main, None, size);
        [fine, coarse]
    } else if groups == 1 {
        integers(walk, &grid.unit, main, projection, size)
    } else {
        [by_group(walk, &grid.unit, main, groups, size), Vec::new()]
    };
    let mut mean: Vec<f64> = seen.iter().zip(weights.chunks_exact(outputs * depth)).flat_map(|(seen, weights)| weighted(weights, depth, seen)).collect();
    mean.iter_mut().zip(&grid.k1).for_each(|(m, &k)| *m *= f64::from(k));
    let (mut second, mut second_tensor, mut second_sums, mut factors) = (quantized::Second::None, None, Vec::new(), None);
    if let Some(&Skip { tensor, stride, front, .. }) = skip {
        let other = walk.view(tensor);
        let totals = sums::skips(&walk.data[tensor], &other, stride, front, size, mean.len());
        let n = count(walk.data[tensor].len() * (size[0] * size[1]) as usize);
        // What nobody has seen counts as 0, as in `wanted`.
        let unknown = if walk.blind { zero(tensor) } else { 0.0 };
        mean.iter_mut().zip(totals).zip(&grid.k2).for_each(|((m, t), &k)| *m += f64::from(k) * (t / n + unknown));
        let live = || grid.k2.iter().copied().filter(|&k| k > 0);
        factors = live().min().zip(live().max());
        (second, second_tensor) = (quantized::Second::Skip { stride, front }, Some(tensor));
    } else if let Second::Projection { tensor, window, .. } = &conv.second {
        let other = walk.stands_for[*tensor];
        let depth = Depth::new(window, walk.view(other).stored_channels());
        let term = weighted(&projected, depth.len(), &projected_taps);
        mean.iter_mut().zip(&term).zip(&grid.k2).for_each(|((m, t), &k)| *m += f64::from(k) * t);
        second_sums = row_sums(&projected, depth.len());
        (second, second_tensor) =
            (quantized::Second::Projection { window: *window, weights: packed(&projected, depth.len(), &depth, mean.len()) }, Some(other));
    }
    let sums = row_sums(&weights, depth);
    // What zero points add to the accumulators.
    let second_zero = second_tensor.map_or(0.0, zero);
    let excess = |o: usize| {
        let own = zero(input) * f64::from(sums[o]) * f64::from(grid.k1[o]) - exact.as_ref().map_or(0.0, |e| e.lost(o, &seen, zero(input)));
        own + second_zero * f64::from(grid.k2[o]) * second_sums.get(o).map_or(1.0, |&s| f64::from(s))
    };
    let floating = exact.is_some() || foreign.is_some() || means.is_empty() || bias_from == Some(Bias::Float) || walk.options.bias == choices::Bias::Float;
    let means = if walk.blind { &wanted[..] } else { means };
    let value = |o: usize| if floating { float[o] - grid.unit[o] * excess(o) } else { means[o] - grid.unit[o] * mean[o] };
    let zero = match kind {
        DataType::I32 => 0,
        DataType::S16 => walk.wide_zero(step.output),
        _ if bias_from.is_some() => 0,
        _ => walk.zero(step.output),
    };
    let merged = Merged::new(groups, view.c, u32::try_from(mean.len()).unwrap_or(u32::MAX), second_tensor.is_some());
    // M must fit: a scale is more than twice the unit. The kernels of narrow groups are fastest for multipliers of half as much: not even a channel that never
    // fires asks for more.
    let room = if merged.narrow.is_some() && foreign.is_none() && matches!(kind, DataType::U8 | DataType::S8) { 2.0 * ROOM } else { ROOM };
    let largest = grid.unit.iter().fold(0.0f64, |a, &b| a.max(b)) * room;
    let own_scales = foreign.is_none() && walk.options.scales == Scales::Channel && !walk.uniform[step.output];
    let least = if kind == DataType::S16 { walk.wide_bounds(step.output) } else { &walk.scales[step.output] };
    let each = if kind == DataType::S16 { !walk.is_wide_for(step.output, Use::Function) } else { own_scales };
    let scale = |(s, u): (&f64, &f64)| s.max(if each { u * room } else { largest });
    let planned: Vec<f64> = least.iter().zip(&grid.unit).map(scale).collect();
    let shown: Vec<f64> = planned.iter().zip(&grid.unit).map(|(s, u)| (f64::from(zero) * s / u + 0.5).floor()).collect();
    let bias: Vec<i32> =
        (0..mean.len()).map(|o| integer(((value(o) / grid.unit[o] + 0.5).floor() + shown[o]).clamp(-4.0 * BIAS_LIMIT, 4.0 * BIAS_LIMIT))).collect();
    let made = Conv {
        window: conv.window,
        groups: merged.groups,
        narrow: merged.narrow,
        weights: merged.packed(&weights, &layout, &conv.window, &view),
        params: Vec::new(),
        padding,
        second,
        pair_safe: walk.options.pair_safe && exact.is_none(),
    };
    let with = [matches!(made.second, quantized::Second::Skip { .. }), matches!(made.second, quantized::Second::Projection { .. })];
    let build = |multiplier: &[i32]| {
        let rows: Vec<&[i32]> = match with {
            [false, false] => std::vec![&bias, &sums, multiplier],
            [true, _] => std::vec![&bias, &sums, multiplier, &grid.k2],
            [_, true] => std::vec![&bias, &sums, multiplier, &grid.k2, &grid.k1, &second_sums],
        };
        merged.params(&rows, mean.len())
    };
    let scales = match (kind, bias_from) {
        (DataType::S16, _) => planned,
        (DataType::I32, _) if foreign.is_none() => std::vec![largest; mean.len()],
        (_, None) => planned,
        (_, Some(_)) if walk.blind => std::vec![(unseen.unwrap_or_default() / levels(kind)).max(largest); mean.len()],
        (_, Some(_)) => {
            let half = Conv { params: build(&std::vec![MULTIPLIER_LIMIT - 1; mean.len()]), ..made.clone() };
            let range = range_of(walk, step, half, (input, second_tensor), &grid.unit, kind)?;
            std::vec![(range / levels(kind)).max(largest); mean.len()]
        }
    };
    // The byte that stands for 0 is met exactly, at the price of a tiny change of scale, where it is far from 0.
    let ratio = |o: usize| if zero.abs() < FAR { grid.unit[o] / scales[o] } else { (f64::from(zero) / shown[o]).min(0.5 - 1e-9) };
    let multiplier: Vec<i32> = (0..mean.len()).map(|o| integer((ONE * ratio(o) + 0.5).floor())).collect();
    let op = Op::Conv(Conv { params: build(&multiplier), ..made });
    let output = walk.output_around(step, kind, scales, zero);
    let macs = conv.weights.len() as u64 * u64::from(size[0]) * u64::from(size[1]);
    walk.finish(step, op, (input, second_tensor, None), output)?;
    if let Some(made) = walk.made.steps.last_mut() {
        made.macs = if groups == 1 { made.macs } else { macs };
        made.factors = factors;
    }
    Ok(())
}

/// The range of what a convolution makes that halves its accumulators, units of the channels in `unit`, for values of this type.
fn range_of(
    walk: &mut Walk<'_>,
    step: &graph::Step,
    half: Conv,
    (input, second): (usize, Option<usize>),
    unit: &[f64],
    kind: DataType,
) -> Result<f64, ConvertError> {
    let common = unit.iter().fold(0.0f64, |a, &b| a.max(b)) * ROOM;
    let output = walk.add_tensor("", walk.network.tensors[step.output].shape, DataType::I32, std::vec![1.0; unit.len()]);
    let probe = Step { name: step.name.clone(), op: Op::Conv(half), input, second, third: None, output, block: None, macs: 0, factors: None };
    let (channels, mut seen) = (unit.len().next_multiple_of(4), TensorStatistics::default());
    walk.each(&probe, |bytes| observe(&mut seen, &in_common_unit(&bytes, channels, unit, common), 2.0 * common))?;
    walk.made.tensors.pop();
    walk.data.pop();
    Ok(range::largest(&seen, levels(kind), walk.options.method))
}

/// Words of all channels brought to the unit `common`, a multiple of every channel's.
fn in_common_unit(bytes: &[u8], channels: usize, units: &[f64], common: f64) -> Vec<u8> {
    let words = bytes.as_chunks::<4>().0.iter().enumerate();
    let scaled = words.map(|(i, w)| units.get(i % channels).map_or(0, |u| integer((f64::from(i32::from_le_bytes(*w)) * u / common).round())));
    scaled.flat_map(i32::to_le_bytes).collect()
}

/// The padding bytes of the first layer: what stands for zero behind the preprocessing.
fn padding(walk: &mut Walk<'_>, input: usize, window: &Window) -> Vec<u8> {
    let zero = walk.made.tensors[input].zero;
    if zero != 0 && !window.unpadded() {
        return std::vec![zero.to_le_bytes()[0]; walk.made.tensors[input].shape[2] as usize];
    }
    let network = walk.network;
    if !walk.made.tensors[input].picture || window.unpadded() || network.input.shift.iter().all(|&s| s == 0.0) {
        return Vec::new();
    }
    let (low, high) = network.input.kind().range();
    let mut bytes = Vec::new();
    for (c, (scale, shift)) in network.input.scale.iter().zip(&network.input.shift).enumerate() {
        let zero = -shift / scale;
        let byte = (zero + 0.5).floor().clamp(f64::from(low), f64::from(high));
        if (zero - byte).abs() > 0.5 {
            walk.made.notes.push(std::format!("the border of channel {c} should be byte {zero:.1} and is {byte}: pictures are padded with the nearest byte"));
        }
        bytes.push(integer(byte).to_le_bytes()[0]);
    }
    bytes
}

/// Mean over output pixels and pictures of what each position in depth reads of a tensor of the network.
fn tap_means(walk: &Walk<'_>, t: graph::TensorId, window: &Window, size: [u32; 2], padding: &[u8]) -> Result<Vec<f64>, ConvertError> {
    let tensor = walk.stands_for[t];
    let view = &walk.view(tensor);
    if walk.blind {
        return Ok(Expected::new(walk, t, window).taps(view, size, padding));
    }
    let depth = Depth::new(window, view.stored_channels()).len();
    let pictures = &walk.data[tensor];
    let mut totals = std::vec![0i64; depth];
    let work = |i: usize| {
        let mut sums = std::vec![0i64; depth];
        sums::taps(&mut sums, &pictures[i][view.offset..], view, window, size, padding);
        Ok(sums)
    };
    in_order(pictures.len(), walk.options.threads, work, |_, sums: Vec<i64>| {
        totals.iter_mut().zip(&sums).for_each(|(t, s)| *t += s);
        Ok::<(), ConvertError>(())
    })?;
    let n = count(pictures.len() * (size[0] * size[1]) as usize);
    Ok(totals.iter().map(|&t| sums::real(t) / n).collect())
}

/// The means that a group reads, of those that the whole window reads.
fn group_means(whole: &[f64], window: &Window, view: &View, layout: &Depth, part: View) -> Vec<f64> {
    if part.c == view.c {
        return whole.to_vec();
    }
    let (depth, mut means) = (Depth::new(window, view.stored_channels()), std::vec![0.0; layout.len()]);
    for (ky, kx) in (0..window.kernel[0] as usize).flat_map(|ky| (0..window.kernel[1] as usize).map(move |kx| (ky, kx))) {
        let from = depth.index(ky, kx, part.offset - view.offset);
        means[layout.index(ky, kx, 0)..][..part.c as usize].copy_from_slice(&whole[from..from + part.c as usize]);
    }
    means
}

fn weighted(weights: &[i8], depth: usize, means: &[f64]) -> Vec<f64> {
    weights.chunks_exact(depth).map(|row| row.iter().zip(means).map(|(&w, m)| f64::from(w) * m).sum()).collect()
}

fn row_sums(weights: &[i8], depth: usize) -> Vec<i32> {
    weights.chunks_exact(depth).map(|row| row.iter().map(|&w| i32::from(w)).sum()).collect()
}

fn packed(weights: &[i8], depth: usize, layout: &Depth, outputs: usize) -> Vec<u8> {
    let mut bytes = std::vec![0; layout.bytes(outputs.next_multiple_of(4))];
    pack(weights, depth, &mut bytes);
    bytes
}
