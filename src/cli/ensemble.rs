//! A residual network as an ensemble: which blocks it can do without, and what that costs. Veit et al. 2016.

use super::blocks;
use super::convert::{ConvertArgs, SkipBlocks};
use super::converter::{floats, in_memory, named, scores};
use super::dataset::DataSet;
use super::engine::{Engine, Preparer, input_bytes, load};
use super::error::{CliError, Result};
use super::output::{Output, Table, ms, or_dash, thousands};
use super::profile;
use super::progress::Progress;
use crate::convert::bypass::{self, Bypass};
use crate::convert::choices::{Bias, Rounding, Scales};
use crate::convert::graph::Input;
use crate::convert::quantize;
use crate::convert::range::Method;
use crate::convert::{self, ConvertError, Pictures, Source};
use crate::format::view::Preprocess;
use crate::picture::Geometry;
use serde::Serialize;
use std::collections::BTreeMap;

/// Pictures on which networks without blocks are compared with the whole one: at least, and more of small ones, as many as take so many multiply-accumulates.
const PICTURES: usize = 32;
const MOST_PICTURES: usize = 256;
const MACS: u64 = 30_000_000_000;
/// Blocks that are tried one by one, those that add least.
const CANDIDATES: usize = 24;

/// Inputs `[h][w][c]` with their classes, where these are known.
pub(super) struct Inputs {
    pub inputs: Vec<Vec<u8>>,
    /// The values that these were rounded from.
    floats: Vec<Option<Vec<f32>>>,
    pub truth: Vec<Option<u32>>,
}

impl Inputs {
    /// Some pictures, evenly spaced, without their classes.
    fn of(pictures: &dyn Pictures, input: &Input, macs: u64) -> Result<Self> {
        let chosen = || spaced(pictures.len(), macs);
        let inputs: Vec<_> = chosen().map(|i| pictures.load(i, input)).collect::<core::result::Result<_, _>>()?;
        let floats = chosen().map(|i| pictures.floats(i)).collect::<core::result::Result<_, _>>()?;
        Ok(Self { truth: vec![None; inputs.len()], inputs, floats })
    }

    /// Some pictures of a data set, evenly spaced, with their classes.
    pub(super) fn of_set(set: &DataSet, engine: &Engine, geometry: Geometry, skip_bad: bool) -> Result<Self> {
        let mut preparer = Preparer::new(&engine.model, geometry);
        let (mut inputs, mut real, mut truth) = (Vec::new(), Vec::new(), Vec::new());
        let mut input = vec![0; input_bytes(&engine.model)];
        for i in spaced(set.len(), engine.model.macs()) {
            if load(set, i, skip_bad, &mut preparer, &mut input)? {
                inputs.push(input.clone());
                real.push(floats(set, i)?);
                truth.push(set.label(i));
            }
        }
        Ok(Self { inputs, floats: real, truth })
    }

    /// What the float network reads.
    fn fed(&self, source: &Source) -> Vec<Vec<f32>> {
        self.inputs.iter().zip(&self.floats).map(|(input, floats)| source.fed(input, floats.clone())).collect()
    }
}

/// Some numbers below `all` for a network of so many multiply-accumulates.
fn spaced(all: usize, macs: u64) -> impl Iterator<Item = usize> {
    let n = usize::try_from(MACS / macs.max(1)).unwrap_or(MOST_PICTURES).clamp(PICTURES, MOST_PICTURES).min(all);
    (0..n).map(move |i| i * all / n)
}

/// What each block of a whole network takes.
#[derive(Clone, Debug, Default)]
pub(super) struct Costs {
    pub ms: f64,
    pub macs: u64,
    blocks: BTreeMap<u32, (f64, u64)>,
}

impl Costs {
    /// Measures the steps of a file; its blocks were left out of nothing.
    pub(super) fn measure(engine: &Engine) -> Result<Self> {
        Ok(Self::of(engine, &profile::measure(engine, None, 1)?.1))
    }

    /// From the times of the steps.
    pub(super) fn of(engine: &Engine, times: &[f64]) -> Self {
        let mut found = blocks::of(&engine.plan);
        blocks::time(&mut found, times);
        let blocks = found.iter().filter_map(|b| Some((b.block?, (b.ms?, b.macs)))).collect();
        Self { ms: times.iter().sum(), macs: engine.model.macs(), blocks }
    }

    fn without(&self, skipped: &[u32]) -> (f64, u64) {
        skipped.iter().filter_map(|n| self.blocks.get(n)).fold((self.ms, self.macs), |(ms, macs), b| (ms - b.0, macs - b.1))
    }
}

/// The float network without some blocks, against the whole one.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Point {
    /// The blocks that are left out.
    pub skipped: Vec<u32>,
    /// The whole network's measured time without theirs.
    pub ms: f64,
    pub macs: u64,
    /// Percent of the pictures that have the whole network's class.
    pub agreement: f64,
    /// Signal over error of the scores.
    pub sqnr_db: Option<f64>,
    /// Percent of the labelled pictures that are right.
    pub top1: Option<f64>,
}

/// What leaving out blocks is worth.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Ensemble {
    /// Pictures on which the points were measured.
    pub pictures: usize,
    /// From the whole network on, one more block left out each time, the least useful first.
    pub curve: Vec<Point>,
}

/// Score rows of a float network without some blocks.
fn run(source: &Source, inputs: &Inputs, left_out: &[Bypass], threads: usize) -> Result<Vec<Vec<f32>>> {
    let output: Vec<String> = source.values().pop().into_iter().collect();
    scores(&source.float_without(&output, left_out)?, &inputs.fed(source), threads)
}

fn squares(rows: &[Vec<f32>], other: impl Fn(usize, usize) -> f32) -> f64 {
    rows.iter().enumerate().flat_map(|(i, row)| row.iter().enumerate().map(move |(c, v)| (i, c, *v))).map(|(i, c, v)| f64::from(v - other(i, c)).powi(2)).sum()
}

fn class(row: &[f32]) -> usize {
    (0..row.len()).rev().max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0)
}

/// The blocks that can be left out, the least useful first: of those with the least |F(x)| / |x|, those without which the scores change least.
pub(super) fn order(source: &Source, inputs: &Inputs, threads: usize, output: Output) -> Result<Vec<Bypass>> {
    let all = &source.bypasses;
    let mut candidates: Vec<(f64, &Bypass)> = energies(source, inputs)?.into_iter().zip(all).collect();
    candidates.sort_by(|a, b| a.0.total_cmp(&b.0));
    candidates.truncate(CANDIDATES);
    let whole = run(source, inputs, &[], threads)?;
    let progress = Progress::new(output, candidates.len(), "blocks");
    let mut tried = Vec::with_capacity(candidates.len());
    for (_, one) in candidates {
        let without = run(source, inputs, core::slice::from_ref(one), threads)?;
        tried.push((squares(&whole, |i, c| without[i][c]), one.clone()));
        progress.step();
    }
    tried.sort_by(|a, b| a.0.total_cmp(&b.0));
    Ok(tried.into_iter().map(|(_, one)| one).collect())
}

/// |F(x)| / |x| of each block in the float network.
fn energies(source: &Source, inputs: &Inputs) -> Result<Vec<f64>> {
    let values: Vec<String> = source.bypasses.iter().flat_map(|b| [b.sum.clone(), b.shortcut.clone()]).collect();
    let mut sums = vec![(0.0, 0.0); source.bypasses.len()];
    if sums.is_empty() {
        return Ok(Vec::new());
    }
    let net = source.float_without(&values, &[])?;
    for input in inputs.fed(source) {
        let made = net.run(&input)?;
        for (sum, pair) in sums.iter_mut().zip(made.chunks_exact(2)) {
            sum.0 += pair[0].iter().zip(&pair[1]).map(|(s, x)| f64::from(s - x).powi(2)).sum::<f64>();
            sum.1 += pair[1].iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        }
    }
    Ok(sums.into_iter().map(|(f, x)| if x > 0.0 { (f / x).sqrt() } else { f64::INFINITY }).collect())
}

/// The curve of leaving out blocks in some order.
pub(super) fn curve(source: &Source, inputs: &Inputs, order: &[Bypass], costs: &Costs, threads: usize, output: Output) -> Result<Ensemble> {
    let whole = run(source, inputs, &[], threads)?;
    let progress = Progress::new(output, order.len(), "networks without blocks");
    let signal = squares(&whole, |_, _| 0.0);
    let labelled = inputs.truth.iter().flatten().count();
    let share = |n: usize, of: usize| 100.0 * n as f64 / of.max(1) as f64;
    let mut curve = Vec::with_capacity(order.len() + 1);
    for n in 0..=order.len() {
        let rows = if n == 0 { whole.clone() } else { run(source, inputs, &order[..n], threads)? };
        let skipped: Vec<u32> = order[..n].iter().map(|b| b.block).collect();
        let (ms, macs) = costs.without(&skipped);
        let right = rows.iter().zip(&inputs.truth).filter(|(row, truth)| truth.is_some_and(|t| class(row) == t as usize)).count();
        let agree = rows.iter().zip(&whole).filter(|(a, b)| class(a) == class(b)).count();
        let sqnr_db = Some(10.0 * (signal / squares(&whole, |i, c| rows[i][c])).log10()).filter(|db| db.is_finite());
        curve.push(Point { skipped, ms, macs, agreement: share(agree, rows.len()), sqnr_db, top1: (labelled > 0).then(|| share(right, labelled)) });
        if n > 0 {
            progress.step();
        }
    }
    Ok(Ensemble { pictures: inputs.inputs.len(), curve })
}

/// The blocks to leave out, and the curve up to there.
pub(super) fn choose(choice: &SkipBlocks, source: &Source, inputs: &Inputs, costs: &Costs, threads: usize, output: Output) -> Result<Ensemble> {
    let picked = match choice {
        SkipBlocks::List(list) => bypass::pick(&source.bypasses, list)?,
        SkipBlocks::Auto(percent) => {
            if source.bypasses.is_empty() {
                return Err(CliError::check("no residual block of this network can be left out, --skip-blocks", "convert it without"));
            }
            let order = order(source, inputs, threads, output)?;
            let numbers: Vec<u32> = order.iter().map(|b| b.block).collect();
            let saved = |n: usize| 100.0 * (1.0 - costs.without(&numbers[..n]).0 / costs.ms);
            let enough = (1..=order.len()).find(|&n| saved(n) >= *percent).ok_or_else(|| {
                let what = format!(
                    "without the {} residual blocks that can be left out {:.1} % of the time are saved, not {percent} %, --skip-blocks",
                    order.len(),
                    saved(order.len())
                );
                CliError::check(what, "ask for less")
            })?;
            order[..enough].to_vec()
        }
    };
    curve(source, inputs, &picked, costs, threads, output)
}

/// What a conversion without some blocks is worth.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Skip {
    /// Measured time of the whole network.
    full_ms: f64,
    /// Measured time of the converted file.
    ms: f64,
    saved_percent: f64,
    full_macs: u64,
    macs: u64,
    #[serde(flatten)]
    ensemble: Ensemble,
}

impl Skip {
    /// Measures what the whole network takes, chooses blocks and measures their worth: on the pictures of `--eval`, or else on those of the calibration.
    pub(super) fn choose(
        args: &ConvertArgs,
        choice: &SkipBlocks,
        preprocess: &Preprocess,
        calibration: &dyn Pictures,
        test: Option<(&DataSet, Geometry)>,
        output: Output,
    ) -> Result<Self> {
        let source = Source::open(&args.onnx, preprocess).map_err(|e| named(&args.onnx, e))?;
        if let SkipBlocks::List(list) = choice {
            bypass::pick(&source.bypasses, list).map_err(|e| named(&args.onnx, e))?;
        }
        // The time depends on the shapes only.
        let quantize =
            quantize::Options { method: Method::MinMax, scales: Scales::Tensor, rounding: Rounding::Nearest, bias: Bias::Float, ..Default::default() };
        let options = convert::Options { preprocess: *preprocess, quantize, labels: Vec::new() };
        let whole = convert::convert(&args.onnx, &options, &Few(calibration), None, &|_, _, _| {})?;
        let engine = in_memory(whole.file, &args.output)?;
        let costs = Costs::measure(&engine)?;
        let inputs = match test {
            Some((set, geometry)) => Inputs::of_set(set, &engine, geometry, args.choice.skip_bad)?,
            None => Inputs::of(calibration, &source.network.input, costs.macs)?,
        };
        let ensemble = choose(choice, &source, &inputs, &costs, args.threads.threads, output)?;
        Ok(Self { full_ms: costs.ms, ms: costs.ms, saved_percent: 0.0, full_macs: costs.macs, macs: costs.macs, ensemble })
    }

    /// The blocks that are left out.
    pub(super) fn blocks(&self) -> Vec<u32> {
        self.ensemble.curve.last().map_or_else(Vec::new, |p| p.skipped.clone())
    }

    /// Measures the converted file.
    pub(super) fn done(self, engine: &Engine) -> Result<Self> {
        let Costs { ms, macs, .. } = Costs::measure(engine)?;
        Ok(Self { ms, macs, saved_percent: 100.0 * (1.0 - ms / self.full_ms), ..self })
    }

    /// What was chosen and what it costs.
    pub(super) fn text(&self) -> String {
        let blocks = self.blocks().iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        format!(
            "left out      residual blocks {blocks}: {} ms instead of {}, {:.1} % less; {} MACs instead of {}; agreement and scores above are against the whole network\n{}\
             the float network without them against the whole one, on {} pictures\n",
            ms(self.ms),
            ms(self.full_ms),
            self.saved_percent,
            thousands(self.macs),
            thousands(self.full_macs),
            table(&self.ensemble),
            self.ensemble.pictures
        )
    }
}

/// The first of some pictures.
struct Few<'a>(&'a dyn Pictures);

impl Pictures for Few<'_> {
    fn len(&self) -> usize {
        self.0.len().min(2)
    }

    fn load(&self, i: usize, input: &Input) -> core::result::Result<Vec<u8>, ConvertError> {
        self.0.load(i, input)
    }

    fn floats(&self, i: usize) -> core::result::Result<Option<Vec<f32>>, ConvertError> {
        self.0.floats(i)
    }
}

/// A line for each point of the curve.
pub(super) fn table(ensemble: &Ensemble) -> String {
    let mut table = Table::new(&["left out", ">ms", ">% less", ">MACs", ">agreement %", ">SQNR dB", ">float top-1 %"]);
    let whole = ensemble.curve.first().map_or(1.0, |p| p.ms);
    for p in &ensemble.curve {
        let last = p.skipped.last().map_or_else(|| "nothing".into(), |n| format!("and block {n}"));
        table.row([
            last,
            ms(p.ms),
            format!("{:.1}", 100.0 * (1.0 - p.ms / whole)),
            thousands(p.macs),
            format!("{:.1}", p.agreement),
            or_dash(p.sqnr_db.map(|v| format!("{v:.1}"))),
            or_dash(p.top1.map(|v| format!("{v:.1}"))),
        ]);
    }
    table.to_string()
}
