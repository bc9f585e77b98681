//! The plots of the page.

use super::distribution::Distribution;
use super::svg::{Chart, escape, number};
use crate::cli::blocks::Block;
use crate::cli::ensemble::Ensemble;
use crate::cli::layers::Layer;
use crate::cli::map;
use crate::cli::output::{ms, thousands};
use crate::cli::profile::Step;
use crate::convert::explain::Rung;
use crate::format::Plan;

const WIDTH: f64 = 1060.0;
/// Most rows and small plots that are drawn.
const MOST: usize = 160;

/// Signal over error of each layer, alone and with all errors before it.
pub(super) fn error(layers: &[Layer]) -> String {
    let high = layers.iter().flat_map(|l| [l.sqnr_db, l.isolated_sqnr_db]).flatten().fold(10.0, f64::max);
    let low = layers.iter().flat_map(|l| [l.sqnr_db, l.isolated_sqnr_db]).flatten().fold(0.0, f64::min);
    let mut chart = Chart::new([WIDTH, 300.0], [50.0, 30.0, 20.0, 40.0], [0.0, layers.len().saturating_sub(1).max(1) as f64], [low, high * 1.05]);
    chart.rows("SQNR in dB");
    chart.columns("layer");
    chart.legend(&[("first", "with all errors before it"), ("second", "alone")]);
    for (class, of) in [("second", (|l: &Layer| l.isolated_sqnr_db) as fn(&Layer) -> Option<f64>), ("first", |l| l.sqnr_db)] {
        let points: Vec<_> = layers.iter().enumerate().filter_map(|(i, l)| Some(([i as f64, of(l)?], l))).collect();
        chart.line(&points.iter().map(|p| p.0).collect::<Vec<_>>(), class);
        for (at, layer) in points {
            chart.dot(at, class, &format!("{}: {:.1} dB", layer.name, at[1]));
        }
    }
    chart.finish()
}

/// A row a quantizer: signal over error of the scores, the median of the pictures.
pub(super) fn methods(rungs: &[Rung]) -> String {
    if rungs.is_empty() {
        return String::new();
    }
    let (row, most) = (24.0, rungs.iter().map(|r| r.median_db).fold(1.0, f64::max));
    let mut chart = Chart::new([WIDTH, 70.0 + row * rungs.len() as f64], [400.0, 30.0, 110.0, 40.0], [0.0, most * 1.02], [0.0, rungs.len() as f64]);
    chart.columns("SQNR in dB");
    for (i, rung) in rungs.iter().enumerate() {
        let top = (rungs.len() - i) as f64;
        let worth = format!("{:.1} dB, {:.1} %", rung.median_db, rung.agreement);
        let end = rung.median_db.clamp(0.0, most);
        let title = format!("{}: {worth} have the float network's class; {:.1} dB for all pictures together", rung.options, rung.sqnr_db);
        chart.area([0.0, end], [top - 0.8, top - 0.2], "first", &title);
        let (x, y) = (chart.at_x(end) + 4.0, chart.at_y(top - 0.62));
        chart.text([394.0, y], "end", rung.options);
        chart.text([x, y], "start", worth);
    }
    chart.finish()
}

/// A row a step: its time, and within it the time that its products would take at this core's peak.
pub(super) fn time(steps: &[Step], peak_gmac_per_s: f64) -> String {
    let shown = &steps[..steps.len().min(MOST)];
    let (row, most) = (15.0, shown.iter().map(|s| s.ms).fold(0.0, f64::max));
    let height = 70.0 + row * shown.len() as f64;
    let mut chart = Chart::new([WIDTH, height], [330.0, 30.0, 110.0, 40.0], [0.0, most * 1.02], [0.0, shown.len() as f64]);
    chart.columns("ms");
    chart.legend(&[("first", "at the peak"), ("pale", "measured")]);
    for (i, step) in shown.iter().enumerate() {
        let top = (shown.len() - i) as f64;
        let at_peak = step.macs as f64 / peak_gmac_per_s / 1e6;
        let percent = step.percent_of_peak.map(|p| format!(", {p:.0} % of the peak")).unwrap_or_default();
        let title = format!("{}: {} ms, {} MACs{percent}", step.name, ms(step.ms), thousands(step.macs));
        chart.area([0.0, step.ms], [top - 0.85, top - 0.1], "pale", &title);
        chart.area([0.0, at_peak.min(step.ms)], [top - 0.85, top - 0.1], "first", &title);
        let y = chart.at_y(top - 0.65);
        chart.text([324.0, y], "end", tail(&step.name, 42));
        let end = chart.at_x(step.ms) + 4.0;
        chart.text([end, y], "start", step.percent_of_peak.map_or_else(|| step.op.to_owned(), |p| format!("{p:.0} %")));
    }
    format!("{}{}", chart.finish(), left_out(steps.len(), shown.len(), "steps"))
}

/// The end of a name.
fn tail(name: &str, most: usize) -> String {
    let n = name.chars().count();
    if n <= most { name.to_owned() } else { format!("…{}", name.chars().skip(n - most + 1).collect::<String>()) }
}

fn left_out(all: usize, shown: usize, what: &str) -> String {
    if all > shown { format!("<p class=note>The first {shown} of {all} {what}.</p>") } else { String::new() }
}

/// Which bytes of the arena hold which tensor during which steps.
pub(super) fn memory(plan: &Plan<'_>) -> String {
    let (bytes, steps) = (plan.arena_bytes(1), plan.len());
    let mut chart = Chart::new([WIDTH, 320.0], [60.0, 30.0, 20.0, 40.0], [0.0, steps as f64], [0.0, bytes as f64]);
    chart.rows("bytes of the arena");
    chart.columns("step");
    chart.legend(&[("first", "input"), ("second", "made and read"), ("third", "scratch"), ("bound", "live bytes")]);
    chart.area(
        [0.0, steps as f64],
        [plan.tensor_bytes() as f64, bytes as f64],
        "third",
        &format!("scratch: {} bytes", thousands((bytes - plan.tensor_bytes()) as u64)),
    );
    for (t, life) in map::lives(plan).into_iter().enumerate() {
        let Some(life) = life else { continue };
        let (record, range) = (plan.tensor(t), plan.tensor(t).view().range());
        let maker = plan.steps().find(|s| s.output() == t).map_or_else(|| "the input".to_owned(), |s| s.name().to_owned());
        let class = if record.name() == plan.input().name() { "first" } else { "second" };
        let title = format!("{maker}: {} bytes, steps {} to {}", thousands(range.len() as u64), life.start(), life.end());
        chart.area([*life.start() as f64, *life.end() as f64 + 1.0], [range.start as f64, range.end as f64], class, &title);
    }
    let live = map::live_bytes(plan);
    let bound: Vec<_> = live.iter().enumerate().flat_map(|(i, &b)| [[i as f64, b as f64], [i as f64 + 1.0, b as f64]]).collect();
    chart.line(&bound, "bound");
    chart.finish()
}

/// A bar a block: |F(x)| / |x|.
pub(super) fn energy(blocks: &[Block]) -> String {
    let known: Vec<_> = blocks.iter().filter_map(|b| Some((b.block?, b.energy?))).collect();
    if known.is_empty() {
        return String::new();
    }
    let (end, most) = (known.iter().map(|k| k.0).max().unwrap_or(0), known.iter().map(|k| k.1).fold(0.0, f64::max));
    let mut chart = Chart::new([WIDTH, 220.0], [50.0, 30.0, 20.0, 40.0], [-0.5, f64::from(end) + 0.5], [0.0, most * 1.05]);
    chart.rows("|F(x)| / |x|");
    chart.columns("residual block");
    for (block, energy) in known {
        let x = f64::from(block);
        chart.area([x - 0.35, x + 0.35], [0.0, energy], "first", &format!("block {block}: {energy:.3}"));
    }
    chart.finish()
}

/// What it costs to leave out residual blocks.
pub(super) fn curve(ensemble: &Ensemble) -> String {
    let whole = ensemble.curve.first().map_or(1.0, |p| p.ms);
    let saved = |ms: f64| 100.0 * (1.0 - ms / whole);
    let most = ensemble.curve.iter().map(|p| saved(p.ms)).fold(1.0, f64::max);
    let mut chart = Chart::new([WIDTH, 300.0], [50.0, 30.0, 20.0, 40.0], [0.0, most * 1.02], [0.0, 102.0]);
    chart.rows("percent");
    chart.columns("% less time");
    let labelled = ensemble.curve.iter().any(|p| p.top1.is_some());
    chart.legend(if labelled { &[("first", "agreement"), ("second", "top-1")][..] } else { &[("first", "agreement")][..] });
    let mut series = |class: &str, values: Vec<Option<f64>>| {
        let points: Vec<_> = ensemble.curve.iter().zip(values).filter_map(|(p, v)| Some(([saved(p.ms), v?], p))).collect();
        chart.line(&points.iter().map(|p| p.0).collect::<Vec<_>>(), class);
        for (at, point) in points {
            chart.dot(at, class, &format!("without {:?}: {:.1} %, {} ms", point.skipped, at[1], ms(point.ms)));
        }
    };
    series("second", ensemble.curve.iter().map(|p| p.top1).collect());
    series("first", ensemble.curve.iter().map(|p| Some(p.agreement)).collect());
    chart.finish()
}

/// A small plot for each tensor.
pub(super) fn histograms(distributions: &[Distribution]) -> String {
    let shown = &distributions[..distributions.len().min(MOST)];
    let plots: String = shown.iter().map(histogram).collect();
    format!("<div class=small>{plots}</div>{}", left_out(distributions.len(), shown.len(), "tensors"))
}

fn histogram(d: &Distribution) -> String {
    let height = |n: u64| if n == 0 { 0.0 } else { (n as f64).log10() + 0.3 };
    let most = d.bins.iter().map(|&n| height(n)).fold(1.0, f64::max);
    let mut chart = Chart::new([256.0, 84.0], [4.0, 4.0, 4.0, 4.0], d.span, [0.0, most]);
    let width = (d.span[1] - d.span[0]) / d.bins.len() as f64;
    for (i, &n) in d.bins.iter().enumerate().filter(|(_, n)| **n > 0) {
        let x = d.span[0] + i as f64 * width;
        let inside = x + width / 2.0 >= d.range[0] && x + width / 2.0 <= d.range[1];
        chart.area([x, x + width], [0.0, height(n)], if inside { "first" } else { "over" }, "");
    }
    for edge in d.range.into_iter().filter(|e| *e != 0.0) {
        chart.line(&[[edge, 0.0], [edge, most]], "edge");
    }
    let clipped = 100.0 * d.clipped as f64 / d.count.max(1) as f64;
    let [fine, coarse] = d.largest.map(number);
    let range = if fine == coarse { fine } else { format!("{fine} to {coarse}") };
    let title = escape(&d.name);
    format!(
        "<figure><figcaption title=\"{title}\">{}</figcaption>{}<figcaption class=note>up to {range}; {clipped:.3} % clipped</figcaption></figure>",
        escape(&tail(&d.name, 36)),
        chart.finish()
    )
}
