//! How much each residual block adds to what it is given: |F(x)| / |x|, as in "Residual Networks Behave Like Ensembles of Relatively Shallow Networks" (Veit et al. 2016).

use super::args::{ChoiceArgs, GeometryArgs};
use super::blocks::{Block, Members, Sum};
use super::dataset::DataSet;
use super::engine::{Engine, input_bytes, put};
use super::error::{CliError, Result};
use super::output::Output;
use super::progress::Progress;
use super::stream;
use crate::format::{Operation, Plan, StepRecord, TensorRecord};
use crate::kernels::Kernels;
use crate::ops::add::Add;
use crate::ops::conv::Conv;
use crate::ops::gate::Gate;
use crate::pack::{LANES, params};
use crate::picture::Geometry;
use crate::quant::DataType;
use crate::session::{Session, TensorBytes};
use crate::shape::View;
use clap::Args;
use std::path::PathBuf;

/// Whether the energy of the blocks is measured, and on which pictures.
#[derive(Args, Debug)]
pub struct EnergyArgs {
    /// How much each residual block adds to its input, |F(x)| / |x|, on the pictures of --data: a block that adds little can be left out with little loss
    #[arg(long, requires = "data")]
    energy: bool,
    /// Pictures for --energy
    #[arg(long, value_name = "DATA", requires = "energy")]
    data: Option<PathBuf>,
    #[command(flatten)]
    choice: ChoiceArgs,
    #[command(flatten)]
    geometry: GeometryArgs,
}

impl EnergyArgs {
    /// Refuses what chooses or prepares pictures where there are none.
    ///
    /// # Errors
    /// If something does without `--data`.
    pub fn check(&self) -> Result {
        let (choice, geometry) = (&self.choice, &self.geometry);
        let given = [
            (choice.limit.is_some(), "--limit"),
            (choice.shard.is_some(), "--shard"),
            (choice.skip_bad, "--skip-bad"),
            (choice.exif, "--exif"),
            (geometry.resize.is_some(), "--resize"),
            (geometry.crop.is_some(), "--crop"),
        ];
        let idle = given.into_iter().find(|(given, _)| *given && self.data.is_none());
        idle.map_or(Ok(()), |(_, flag)| {
            Err(CliError::usage(format!("{flag} is for pictures of --data, which are not there"), "add --energy --data PICTURES, or leave it out"))
        })
    }

    /// True if it is.
    pub const fn wanted(&self) -> bool {
        self.energy
    }

    /// Measures it if it is wanted; gives the number of pictures.
    ///
    /// # Errors
    /// If a picture cannot be read.
    pub fn measure(&self, engine: &Engine, blocks: &mut [Block], output: Output) -> Result<Option<usize>> {
        let Some(data) = &self.data else { return Ok(None) };
        let set = self.choice.open(data, None)?;
        measure(engine, blocks, &set, self.geometry.of(&engine.model)?, self.choice.skip_bad, output).map(Some)
    }
}

/// A block whose sum is computed once more without its shortcut.
struct Probe<'a> {
    /// Its place among the blocks.
    block: usize,
    sum: Sum,
    step: StepRecord<'a>,
    /// Parameters of the step in which the factor of the shortcut is 0.
    params: Vec<u8>,
    residual: f64,
    input: f64,
}

/// Measures the energy of the blocks whose shortcut is no projection, on pictures; gives how many there were.
///
/// # Errors
/// If a picture cannot be read.
pub fn measure(engine: &Engine, blocks: &mut [Block], set: &DataSet, geometry: Geometry, skip_bad: bool, output: Output) -> Result<usize> {
    let steps: Vec<_> = engine.plan.steps().collect();
    let mut probes: Vec<_> = blocks.iter().enumerate().filter_map(|(i, b)| Probe::new(i, b, &steps, &engine.plan)).collect();
    let pool = engine.pool(1)?;
    let mut arena = engine.arena(1)?;
    let mut session = engine.session(&mut arena, &pool)?;
    let (progress, bytes, mut pictures) = (Progress::new(output, set.len(), "pictures"), input_bytes(&engine.model), 0);
    stream::pictures(&engine.model, set, geometry, skip_bad, |_, inputs| {
        for input in inputs.chunks_exact(bytes) {
            put(&mut session, input);
            let mut place = 0;
            session.run_with(|_, session| {
                probes.iter_mut().filter(|p| p.sum.place == place).for_each(|p| p.add(engine, session));
                place += 1;
            });
            pictures += 1;
            progress.step();
        }
        Ok(())
    })?;
    for probe in probes.iter().filter(|p| p.input > 0.0) {
        blocks[probe.block].energy = Some((probe.residual / probe.input).sqrt());
    }
    Ok(pictures)
}

impl<'a> Probe<'a> {
    fn new(block: usize, of: &Block, steps: &[StepRecord<'a>], plan: &Plan<'_>) -> Option<Self> {
        of.shortcut.filter(|&s| s == "identity" || s == "option A")?;
        let sum = Members { steps, places: &of.places }.sum()?;
        let step = steps[sum.place];
        let (params, rows, factor) = match step.operation() {
            Operation::Conv(conv) => (conv.params, params::rows(true, false), params::K2),
            Operation::Add(add) => (add.params, params::ADD_ROWS, if sum.first { params::K1 } else { params::K2 }),
            Operation::Gate(gate) => (gate.params, params::ADD_ROWS, params::K2),
            Operation::Pool(_) | Operation::Table(_) | Operation::Mirror(_) => return None,
        };
        let mut params = params.to_vec();
        let zero = plan.tensor(sum.shortcut).zero();
        for panel in params.as_chunks_mut::<4>().0.chunks_exact_mut(rows * LANES) {
            for lane in 0..LANES {
                let k = core::mem::take(&mut panel[factor * LANES + lane]);
                let bias = &mut panel[params::BIAS * LANES + lane];
                // The bias has made up for what stands for zero in the shortcut.
                *bias = i32::from_le_bytes(*bias).wrapping_add(zero.wrapping_mul(i32::from_le_bytes(k))).to_le_bytes();
            }
        }
        Some(Self { block, sum, step, params, residual: 0.0, input: 0.0 })
    }

    /// Adds what the block made of a picture, its last step being done.
    fn add(&mut self, engine: &Engine, session: &Session<'_>) {
        let record = |t: usize| engine.plan.tensor(t);
        let operands = [Some(self.step.input()), self.step.second(), self.step.third()];
        let bytes = operands.map(|t| t.map_or_else(Vec::new, |t| stored(engine.kernels, session.tensor(&record(t)))));
        let (out, view) = self.alone(engine.kernels, [&bytes[0], &bytes[1], &bytes[2]]);
        self.residual += squares(TensorBytes::new(&out, view), &record(self.step.output()));
        self.input += squares(session.tensor(&record(self.sum.shortcut)), &record(self.sum.shortcut));
    }

    /// The step without its shortcut, not clamped, in units of its output.
    fn alone(&self, kernels: Kernels, operands: [&[u8]; 3]) -> (Vec<u8>, View) {
        let raw = |v: View| View::packed(v.h, v.w, v.c, DataType::I32, 0);
        let operation = match self.step.operation() {
            Operation::Conv(conv) => Operation::Conv(Conv { output: raw(conv.output), params: &self.params, ..conv }),
            Operation::Add(add) => Operation::Add(Add { output: raw(add.output), params: &self.params, ..add }),
            Operation::Gate(gate) => Operation::Gate(Gate { output: raw(gate.output), params: &self.params, ..gate }),
            other => other,
        };
        let view = operation.output();
        let (mut out, mut scratch) = (vec![0; view.bytes()], vec![0; operation.scratch()]);
        operation.run(kernels, operands, &mut out, 0..operation.units().count, &mut scratch);
        (out, view)
    }
}

/// A tensor's bytes as a kernel set stores them.
fn stored(kernels: Kernels, tensor: TensorBytes<'_>) -> Vec<u8> {
    let view = tensor.view();
    let mut bytes = vec![0; view.bytes()];
    let mut values = tensor.values();
    for pixel in 0..view.pixels() {
        let at = pixel / view.w as usize * view.row + pixel % view.w as usize * view.pixel;
        for (element, value) in bytes[at..].chunks_exact_mut(view.kind.bytes()).zip(values.by_ref().take(view.c as usize)) {
            element.copy_from_slice(&value.to_le_bytes()[..view.kind.bytes()]);
        }
    }
    kernels.flip_tensor(view.kind, &mut bytes);
    bytes
}

/// Sum of squares of the real values, in the units of `record`.
fn squares(tensor: TensorBytes<'_>, record: &TensorRecord<'_>) -> f64 {
    let scales: Vec<f64> = (0..tensor.view().c as usize).map(|c| f64::from(record.scale(c))).collect();
    let zero = f64::from(record.zero());
    tensor.values().zip(scales.iter().cycle()).map(|(v, s)| ((f64::from(v) - zero) * s).powi(2)).sum()
}
