//! How the float network's values fill the integers of each tensor.

use crate::cli::engine::Engine;
use crate::convert::Source;
use crate::quant::DataType;
use std::collections::HashMap;

/// Bins over the integers, from left to right.
const BINS: usize = 80;
/// The bins reach this much further than the integers do.
const REACH: f64 = 1.25;

/// The values of a tensor in steps of its integers.
#[derive(Clone, Debug)]
pub(super) struct Distribution {
    /// Name of the step that makes the tensor.
    pub name: String,
    /// Least and largest integer.
    pub range: [f64; 2],
    /// What the bins span.
    pub span: [f64; 2],
    /// Counts; values beyond the span count in the outermost bins.
    pub bins: Vec<u64>,
    /// Values beyond the range.
    pub clipped: u64,
    /// All values.
    pub count: u64,
    /// Real values of the largest integer: of the channel with the finest scale and of that with the coarsest.
    pub largest: [f64; 2],
    /// The float step that the tensor stands for.
    float: usize,
    scales: Vec<f64>,
}

/// One distribution for each step whose bytes stand for values of the float network.
pub(super) fn of(engine: &Engine, source: &Source) -> Vec<Distribution> {
    let steps = &source.network.steps;
    let by_value: HashMap<&str, usize> = steps.iter().enumerate().map(|(i, s)| (s.value.as_str(), i)).collect();
    let made = engine.plan.steps().filter_map(|step| {
        let record = engine.plan.tensor(step.output());
        let view = record.view();
        let range = match view.kind {
            DataType::U8 | DataType::S8 | DataType::S16 => view.kind.range(),
            DataType::I32 => return None,
        };
        let zero = record.zero();
        // Counted from what stands for zero.
        let (range, scales) =
            ([f64::from(range.0 - zero), f64::from(range.1 - zero)], (0..view.c as usize).map(|c| f64::from(record.scale(c))).collect::<Vec<_>>());
        let known = || scales.iter().copied().filter(|s| *s > 0.0);
        let largest = [known().fold(f64::INFINITY, f64::min), known().fold(0.0, f64::max)].map(|s| s * range[1]);
        let name = step.name().to_owned();
        let float = *by_value.get(record.name())?;
        Some(Distribution { name, range, span: range.map(|v| v * REACH), bins: vec![0; BINS], clipped: 0, count: 0, largest, float, scales })
    });
    made.collect()
}

impl Distribution {
    /// Counts the values of a picture, given those of all float steps as the tensors show them.
    pub(super) fn add(&mut self, float: &[Vec<f32>]) {
        let width = (self.span[1] - self.span[0]) / BINS as f64;
        for (v, scale) in float[self.float].iter().zip(self.scales.iter().cycle()).filter(|(v, s)| **v != 0.0 && **s > 0.0) {
            let q = f64::from(*v) / scale;
            let bin = ((q - self.span[0]) / width).clamp(0.0, BINS as f64 - 1.0);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
            let bin = bin as usize;
            self.bins[bin] += 1;
            self.clipped += u64::from(q < self.range[0] - 0.5 || q > self.range[1] + 0.5);
        }
        self.count += float[self.float].len() as u64;
    }
}
