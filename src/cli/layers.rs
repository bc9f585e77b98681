//! Float against integer, layer by layer: the work of `compare`, and the table of `convert`.

use super::compare::CompareArgs;
use super::converter::{fed, source_of};
use super::engine::{Engine, Preparer, input_bytes, load, put};
use super::error::Result;
use super::eval::Tally;
use super::foreign::Foreign;
use super::output::{Output, Table, or_dash};
use super::progress::Progress;
use crate::convert::float::FloatNet;
use crate::convert::{Pictures, Source, calibrate};
use crate::format::StepRecord;
use crate::kernels::Kernels;
use crate::quant::DataType;
use crate::session::{Session, TensorBytes};
use crate::shape::View;
use serde::Serialize;
use std::collections::HashMap;

/// How a step's integers compare with the float network.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Layer {
    pub name: String,
    /// Signal over error in dB, with the errors of all steps before it.
    pub sqnr_db: Option<f64>,
    pub cosine: f64,
    pub max_abs: f64,
    /// Signal over error in dB of this step alone: it reads the float network's values, rounded to its inputs' grids.
    pub isolated_sqnr_db: Option<f64>,
}

/// Sums over pictures.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    signal: f64,
    made: f64,
    product: f64,
    error: f64,
    max_abs: f64,
}

impl Sums {
    fn add(&mut self, real: f64, made: f64) {
        self.signal += real * real;
        self.made += made * made;
        self.product += real * made;
        self.error += (real - made).powi(2);
        self.max_abs = self.max_abs.max((real - made).abs());
    }

    fn sqnr_db(&self) -> Option<f64> {
        Some(10.0 * (self.signal / self.error).log10()).filter(|db| db.is_finite())
    }

    fn cosine(&self) -> f64 {
        let norms = (self.signal * self.made).sqrt();
        if norms > 0.0 { self.product / norms } else { 1.0 }
    }
}

/// Compares the steps of a plan with the float network.
pub(super) struct Comparison<'a> {
    engine: &'a Engine,
    /// For each step of the plan, the float step whose result it stands for.
    floats: Vec<Option<usize>>,
    /// For each tensor of the plan likewise.
    tensors: Vec<Option<usize>>,
    /// The stored value that stands for 0 in each.
    zeros: Vec<f64>,
    cumulative: Vec<Sums>,
    isolated: Vec<Sums>,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(engine: &'a Engine, source: &Source) -> Self {
        let steps = &source.network.steps;
        let mut by_value: HashMap<&str, Vec<usize>> = HashMap::new();
        steps.iter().enumerate().for_each(|(i, s)| by_value.entry(&s.value).or_default().push(i));
        let plan = engine.plan;
        // A value may be shown before and behind its ReLU, by steps of two names.
        let made: HashMap<usize, &str> = plan.steps().map(|s| (s.output(), s.name().split(':').next().unwrap_or_default())).collect();
        let step_of = |t: usize| {
            let shown = by_value.get(plan.tensor(t).name())?;
            shown.iter().copied().find(|&i| made.get(&t) == Some(&steps[i].name.as_str())).or_else(|| shown.first().copied())
        };
        let tensors: Vec<_> = (0..plan.tensor_count()).map(step_of).collect();
        let floats: Vec<_> = plan.steps().map(|s| tensors[s.output()]).collect();
        let zeros = (0..plan.tensor_count()).map(|t| f64::from(plan.tensor(t).zero())).collect();
        let sums = vec![Sums::default(); floats.len()];
        Self { engine, floats, tensors, zeros, cumulative: sums.clone(), isolated: sums }
    }

    /// Adds a picture `[h][w][c]`: runs the session, and every step alone on the float values, which are as [`shown`] makes them.
    pub(super) fn add(&mut self, session: &mut Session<'_>, picture: &[u8], float: &[Vec<f32>]) {
        put(session, picture);
        let plan = self.engine.plan;
        let (floats, zeros, sums, mut index) = (&self.floats, &self.zeros, &mut self.cumulative, 0);
        session.run_with(|step, session| {
            if let Some(real) = floats[index].map(|i| &float[i]) {
                let record = plan.tensor(step.output());
                add_tensor(&mut sums[index], real, session.tensor(&record), zeros[step.output()], |c| f64::from(record.scale(c)));
            }
            index += 1;
        });
        for (index, step) in plan.steps().enumerate() {
            let operands = [Some(step.input()), step.second(), step.third()];
            let rounded = operands.map(|t| t.map_or_else(|| Some(Vec::new()), |t| self.rounded(t, picture, float)));
            let [Some(x), Some(y), Some(z)] = &rounded else { continue };
            let Some(real) = self.floats[index].map(|i| &float[i]) else { continue };
            let record = plan.tensor(step.output());
            let (mut out, view) = alone(&step, self.engine.kernels, [x, y, z]);
            self.engine.kernels.flip_tensor(view.kind, &mut out);
            add_tensor(&mut self.isolated[index], real, TensorBytes::new(&out, view), self.zeros[step.output()], |c| f64::from(record.scale(c)));
        }
    }

    /// The bytes of a tensor's view that stand for the float values, or for the picture, as the kernel set stores them.
    fn rounded(&self, tensor: usize, picture: &[u8], float: &[Vec<f32>]) -> Option<Vec<u8>> {
        let record = self.engine.plan.tensor(tensor);
        let view = record.view();
        let is_input = record.name() == self.engine.plan.input().name();
        let values = self.tensors[tensor].map(|i| &float[i]);
        if !is_input && values.is_none() {
            return None;
        }
        let mut bytes = vec![0; view.bytes()];
        for pixel in 0..view.pixels() {
            let at = pixel / view.w as usize * view.row + pixel % view.w as usize * view.pixel;
            for c in 0..view.c as usize {
                let from = pixel * view.c as usize + c;
                let element = &mut bytes[at + c * view.kind.bytes()..][..view.kind.bytes()];
                match values {
                    Some(values) if !is_input => {
                        let stored = nearest(f64::from(values[from]) / f64::from(record.scale(c)) + self.zeros[tensor], view.kind);
                        element.copy_from_slice(&stored.to_le_bytes()[..element.len()]);
                    }
                    _ => element[0] = picture[from],
                }
            }
        }
        self.engine.kernels.flip_tensor(view.kind, &mut bytes);
        Some(bytes)
    }

    pub(super) fn layers(&self) -> Vec<Layer> {
        let named = self.engine.plan.steps().zip(self.cumulative.iter().zip(&self.isolated)).zip(&self.floats).filter(|(_, float)| float.is_some());
        named
            .map(|((step, (all, alone)), _)| Layer {
                name: step.name().to_owned(),
                sqnr_db: all.sqnr_db(),
                cosine: all.cosine(),
                max_abs: all.max_abs,
                isolated_sqnr_db: alone.sqnr_db(),
            })
            .collect()
    }
}

/// Makes of what the float steps compute what their tensors show: behind the ReLU, with the channels in their places.
pub(super) fn shown(source: &Source, float: &mut [Vec<f32>]) {
    for (step, values) in source.network.steps.iter().zip(float) {
        let tensor = &source.network.tensors[step.output];
        calibrate::shown(tensor, values);
        if step.relu {
            #[expect(clippy::cast_possible_truncation, reason = "a limit is 6 or infinity")]
            let limit = tensor.limit as f32;
            values.iter_mut().for_each(|v| *v = v.max(0.0).min(limit));
        }
    }
}

/// The nearest value of a type.
#[expect(clippy::cast_possible_truncation, reason = "clamped")]
fn nearest(value: f64, kind: DataType) -> i32 {
    let (low, high) = kind.range();
    (value + 0.5).floor().clamp(f64::from(low), f64::from(high)) as i32
}

fn add_tensor(sums: &mut Sums, real: &[f32], made: TensorBytes<'_>, zero: f64, scale: impl Fn(usize) -> f64) {
    let channels = made.view().c as usize;
    for (i, (&real, made)) in real.iter().zip(made.values()).enumerate() {
        sums.add(f64::from(real), (f64::from(made) - zero) * scale(i % channels));
    }
}

/// Runs one step on operands of its own, all as the kernel set stores them.
fn alone(step: &StepRecord<'_>, kernels: Kernels, operands: [&[u8]; 3]) -> (Vec<u8>, View) {
    let operation = step.operation();
    let (mut out, mut scratch) = (vec![0; operation.output().bytes()], vec![0; operation.scratch()]);
    operation.run(kernels, operands, &mut out, 0..operation.units().count, &mut scratch);
    (out, operation.output())
}

/// The step that has the lowest signal over error by itself, which it is in dB.
pub(super) fn worst(layers: &[Layer]) -> Option<(f64, &Layer)> {
    layers.iter().filter_map(|l| Some((l.isolated_sqnr_db?, l))).min_by(|a, b| a.0.total_cmp(&b.0))
}

/// A line a layer.
pub(super) fn table(layers: &[Layer]) -> String {
    let mut table = Table::new(&["layer", ">SQNR dB", ">alone dB", ">cosine", ">largest error"]);
    let db = |v: Option<f64>| or_dash(v.map(|v| format!("{v:.1}")));
    for l in layers {
        table.row([l.name.clone(), db(l.sqnr_db), db(l.isolated_sqnr_db), format!("{:.5}", l.cosine), format!("{:.4}", l.max_abs)]);
    }
    table.to_string()
}

/// Compares the layers on the first of some pictures.
pub(super) fn compare_layers(engine: &Engine, source: &Source, net: &FloatNet, pictures: &dyn Pictures, count: usize) -> Result<Vec<Layer>> {
    let pool = engine.pool(1)?;
    let mut arena = engine.arena(1)?;
    let mut session = engine.session(&mut arena, &pool)?;
    let mut comparison = Comparison::new(engine, source);
    // From all over the set: one class may come after the other.
    for i in (0..count).map(|i| i * pictures.len() / count) {
        let input = pictures.load(i, &source.network.input)?;
        let mut values = net.run(&source.fed(&input, pictures.floats(i)?))?;
        shown(source, &mut values);
        comparison.add(&mut session, &input, &values);
    }
    Ok(comparison.layers())
}

#[derive(Serialize)]
struct CompareReport {
    schema: &'static str,
    pictures: u64,
    layers: Vec<Layer>,
    output_sqnr_db: Option<f64>,
    agreement: Option<f64>,
}

/// Runs `compare`.
pub(super) fn compare(args: &CompareArgs, output: Output) -> Result {
    Foreign::unless_onnx(&args.onnx)?;
    let engine = Engine::open(&args.net, &args.engine)?;
    let set = args.data.open(&engine.model)?;
    let source = source_of(&args.onnx, &engine, &args.net)?;
    let net = source.float(&source.values())?;
    let pool = engine.pool(1)?;
    let mut arena = engine.arena(1)?;
    let mut session = engine.session(&mut arena, &pool)?;
    let mut preparer = Preparer::new(&engine.model, args.data.geometry.of(&engine.model)?);
    let (mut comparison, mut tally) = (Comparison::new(&engine, &source), Tally::default());
    let mut input = vec![0; input_bytes(&engine.model)];
    let progress = Progress::new(output, set.len(), "pictures");
    for i in 0..set.len() {
        progress.step();
        if !load(&set, i, args.data.choice.skip_bad, &mut preparer, &mut input)? {
            continue;
        }
        let mut float = net.run(&fed(&source, &set, i, &input)?)?;
        put(&mut session, &input);
        let scores = session.run();
        let row = tally.add(None, scores);
        tally.add_float(row, scores, float.last().map_or(&[][..], |v| v))?;
        shown(&source, &mut float);
        comparison.add(&mut session, &input, &float);
    }
    let (sqnr, agreement) = (tally.sqnr_db(), tally.agreement());
    let report = CompareReport { schema: "skipstone.compare/1", pictures: tally.pictures, layers: comparison.layers(), output_sqnr_db: sqnr, agreement };
    output.show(&report, || {
        let line = format!("scores {} dB, agreement {} % on {} pictures", one(sqnr), one(agreement), report.pictures);
        let worst = worst(&report.layers).map(|(db, l)| format!("\nthe step that loses most by itself is {} ({db:.1} dB)", l.name)).unwrap_or_default();
        format!("{}\n{line}{worst}\n", table(&report.layers))
    })
}

fn one(value: Option<f64>) -> String {
    or_dash(value.map(|v| format!("{v:.1}")))
}
