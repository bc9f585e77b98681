//! What a conversion is worth, and what `convert` says of it.

use super::convert::ConvertArgs;
use super::converter::{Calibration, Float, in_file, in_memory, named, with_progress};
use super::engine::{Engine, put};
use super::ensemble::Skip;
use super::error::Result;
use super::eval::Tally;
use super::layers::{Layer, compare_layers, worst};
use super::output::{Output, Table, or_dash, thousands};
use super::profile::Shape;
use crate::convert::choices::Stream;
use crate::convert::explain::Rung;
use crate::convert::quantize;
use crate::convert::{Calibrated, ConvertError, Converted, Options, Pictures, Source};
use core::fmt::Write as _;
use serde::Serialize;
use std::collections::BTreeMap;

/// Pictures on which the error of each layer is shown.
const LAYER_PICTURES: usize = 8;
/// With so little signal over error, in dB, scores are of little use: a tenth of their energy is error.
const USEFUL_DB: f64 = 10.0;
/// So many percent of the pictures keep their class at least, where there are enough of them to tell.
const USEFUL_AGREEMENT: f64 = 80.0;
const ENOUGH: u64 = 20;

/// What each part of the quantizer brings.
#[derive(Serialize)]
pub(super) struct Brought {
    /// Pictures that were held out.
    pub pictures: usize,
    /// From the plainest quantizer to the chosen one.
    pub ladder: Vec<RungReport>,
}

impl Brought {
    fn text(&self) -> String {
        let mut table = Table::new(&["quantizer", ">median dB", ">gain dB", ">together dB", ">same class"]);
        for rung in &self.ladder {
            let one = |v: Option<f64>| or_dash(v.map(|v| format!("{v:.1}")));
            table.row([
                rung.quantizer.clone(),
                format!("{:.1}", rung.median_db),
                or_dash(rung.gain_db.map(|gain| format!("{:+.1} ± {}", (gain * 10.0).round() / 10.0 + 0.0, one(rung.gain_error_db)))),
                one(rung.sqnr_db),
                format!("{:.1} %", rung.agreement),
            ]);
        }
        format!(
            "brought       on {} pictures that this series was not fitted to, signal over error of the scores:\n{table}              \
             median of the pictures; mean gain over the row above ± its standard error: less than two of them may be chance;\n              \
             all pictures together, where a single one can decide\n",
            self.pictures
        )
    }
}

/// A rung of the ladder for `--json`.
#[derive(Serialize)]
pub(super) struct RungReport {
    quantizer: String,
    /// Of all pictures together.
    sqnr_db: Option<f64>,
    /// Of each picture: the median.
    median_db: f64,
    /// Over the rung before, the mean over the pictures.
    gain_db: Option<f64>,
    /// Its standard error.
    gain_error_db: Option<f64>,
    agreement: f64,
}

impl RungReport {
    pub(super) fn of(rung: &Rung) -> Self {
        let ([gain_db, gain_error_db], finite) = ([0, 1].map(|i| rung.gain.map(|gain| gain[i])), |v: &f64| v.is_finite());
        Self {
            quantizer: rung.options.to_string(),
            sqnr_db: Some(rung.sqnr_db).filter(finite),
            median_db: rung.median_db,
            gain_db,
            gain_error_db: gain_error_db.filter(finite),
            agreement: rung.agreement,
        }
    }
}

#[derive(Serialize)]
pub(super) struct Report {
    pub schema: &'static str,
    pub file: String,
    pub bytes: usize,
    pub arena_bytes: usize,
    pub layers: u32,
    pub macs: u64,
    pub parameters: u64,
    pub method: String,
    pub scales: String,
    pub rounding: String,
    pub bias: String,
    /// Bits of the residual stream, and of what functions and gates read: 8 or 16.
    pub stream: String,
    /// With `--explain`.
    pub brought: Option<Brought>,
    pub seconds: f64,
    pub stages: BTreeMap<&'static str, f64>,
    pub pictures: usize,
    pub agreement: Option<f64>,
    pub sqnr_db: Option<f64>,
    /// Pictures on which agreement and the rest were measured.
    pub measured_on: u64,
    pub float_top1: Option<f64>,
    pub top1: Option<f64>,
    /// Residual blocks that were left out, by their numbers in the whole network.
    pub skipped: Vec<u32>,
    /// What that is worth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skip: Option<Skip>,
    pub notes: Vec<String>,
}

/// A conversion and what it is worth.
pub(super) struct Outcome {
    pub quantize: quantize::Options,
    pub converted: Converted,
    pub engine: Engine,
    pub tally: Tally,
}

impl Outcome {
    pub fn new(args: &ConvertArgs, calibrated: &Calibrated, options: &Options, calibration: &Calibration, output: Output) -> Result<Self> {
        let check = args.check_picture.as_deref().map(|path| Calibration::one(path, calibration.geometry)).transpose()?;
        let check = check.as_ref().map(|c| c as &dyn Pictures);
        let converted = with_progress(output, |progress| calibrated.convert(options, calibration, check, progress));
        let converted = converted.map_err(|e| match (&args.labels, &e) {
            (Some(labels), ConvertError::Labels { .. }) => named(labels, e),
            _ => in_file(&args.onnx, e),
        })?;
        let engine = in_memory(converted.file.clone(), &args.output)?;
        Ok(Self { quantize: converted.method, converted, engine, tally: Tally::default() })
    }

    /// Agreement with the float network on the calibration pictures.
    pub fn on_calibration(&self, calibration: &Calibration, whole: Option<&Float>) -> Result<Tally> {
        let pool = self.engine.pool(self.quantize.threads)?;
        let mut arena = self.engine.arena(self.quantize.threads)?;
        let mut session = self.engine.session(&mut arena, &pool)?;
        let mut tally = Tally::default();
        for (&i, float) in self.converted.walked.iter().zip(&self.converted.float_scores) {
            let input = calibration.input(i, self.engine.model.input_shape(), self.engine.model.tensor())?;
            put(&mut session, &input);
            let scores = session.run();
            let row = tally.add(None, scores);
            match whole {
                Some(whole) => tally.add_float(row, scores, &whole.scores(calibration.set()?, &[calibration.good[i]], &[&input], 1)?.concat())?,
                None => tally.add_float(row, scores, float)?,
            };
        }
        Ok(tally)
    }

    /// Says on stderr where the time went.
    pub fn say_time(&self, output: Output) {
        if !output.quiet {
            let parts = self.converted.seconds.iter().map(|(stage, seconds)| format!("{} {seconds:.1} s", stage.name()));
            eprintln!("time: {}", parts.collect::<Vec<_>>().join(", "));
        }
    }

    pub fn report(&self, args: &ConvertArgs, seconds: f64, brought: Option<Brought>) -> Report {
        let model = &self.engine.model;
        Report {
            schema: "skipstone.convert/1",
            file: args.output.display().to_string(),
            bytes: self.converted.file.len(),
            arena_bytes: self.engine.plan.arena_bytes(1),
            layers: model.layers(),
            macs: model.macs(),
            parameters: model.parameters(),
            method: self.quantize.method.to_string(),
            scales: self.quantize.scales.to_string(),
            rounding: self.quantize.rounding.to_string(),
            bias: self.quantize.bias.to_string(),
            stream: self.quantize.stream.to_string(),
            brought,
            seconds,
            stages: self.converted.seconds.iter().map(|(stage, seconds)| (stage.name(), *seconds)).collect(),
            pictures: self.converted.pictures,
            agreement: self.tally.agreement(),
            sqnr_db: self.tally.sqnr_db(),
            measured_on: self.tally.pictures,
            float_top1: self.tally.float_top1().filter(|_| args.eval.is_some()),
            top1: self.tally.top1().filter(|_| args.eval.is_some()),
            skipped: Vec::new(),
            skip: None,
            notes: self.converted.quantized.notes.clone(),
        }
    }

    /// The error of each step on some of the pictures.
    pub fn layers(&self, source: &Source, calibration: &Calibration) -> Result<Vec<Layer>> {
        let net = source.float(&source.values())?;
        compare_layers(&self.engine, source, &net, calibration, calibration.len().min(LAYER_PICTURES))
    }

    /// True if the network is so far from the float network that it is of little use.
    pub fn far(&self) -> bool {
        let low = |value: Option<f64>, least| value.is_some_and(|v| v < least);
        low(self.tally.sqnr_db(), USEFUL_DB) || self.tally.pictures >= ENOUGH && low(self.tally.agreement(), USEFUL_AGREEMENT)
    }

    /// That it is far, which of these steps loses most, and what may help.
    pub fn doubt(&self, args: &ConvertArgs, layers: &[Layer]) -> String {
        let (pictures, on) = (self.tally.pictures, measured_on(args));
        let [agreement, db] = [self.tally.agreement(), self.tally.sqnr_db()].map(|v| or_dash(v.map(|v| format!("{v:.1}"))));
        if args.skip_blocks.is_some() {
            return format!(
                "far from the float network: {agreement} % of {pictures} {on} pictures keep its class, scores {db} dB: that is what leaving out residual blocks costs; \
                 leave out less, --skip-blocks"
            );
        }
        let worst = worst(layers).map(|(db, l)| format!("; the step that loses most by itself is {} ({db:.1} dB)", l.name)).unwrap_or_default();
        let wide = if self.quantize.stream == Stream::Wide || args.stream.as_deref() == Some("16") { "" } else { ", --stream 16" };
        let ladder = if args.max_drop.is_some() { "" } else { ", --eval with --max-drop, which tries one method after the other" };
        format!(
            "far from the float network: {agreement} % of {pictures} {on} pictures keep its class, scores {db} dB \
             (a network that is of use has {USEFUL_AGREEMENT} % and {USEFUL_DB} dB at least){worst}; \
             what may help: more pictures like those that it will see{wide}{ladder}; \
             `skipstone compare` shows the error layer by layer"
        )
    }

    /// The network in a table with the error of each step, and what it is worth.
    pub fn text(&self, report: &Report, args: &ConvertArgs, layers: &[Layer]) -> String {
        let by_name: BTreeMap<&str, &Layer> = layers.iter().map(|l| (l.name.as_str(), l)).collect();
        let mut table = Table::new(&["step", "op", "window", ">output", ">MACs", ">SQNR dB", ">alone dB"]);
        for step in self.engine.plan.steps() {
            let (shape, layer) = (Shape::of(&step), by_name.get(step.name()));
            let db = |v: Option<Option<f64>>| or_dash(v.flatten().map(|v| format!("{v:.1}")));
            table.row([
                step.name().to_owned(),
                shape.op.to_owned(),
                or_dash(shape.window.map(|w| format!("{}x{}/{}", w.kernel[0], w.kernel[1], w.stride[0]))),
                format!("{}x{}x{}", shape.output.h, shape.output.w, shape.output.c),
                thousands(step.macs()),
                db(layer.map(|l| l.sqnr_db)),
                db(layer.map(|l| l.isolated_sqnr_db)),
            ]);
        }
        let mut text = format!("{}\n", table.without_empty());
        if !layers.is_empty() {
            let _ = writeln!(
                text,
                "errors        of the steps on {} calibration pictures: SQNR of all up to there, alone of the step by itself",
                report.pictures.min(LAYER_PICTURES)
            );
        }
        let percent = |v: Option<f64>| or_dash(v.map(|v| format!("{v:.2} %")));
        let on = measured_on(args);
        if report.top1.is_some() {
            let _ = writeln!(text, "top-1         {} (float {})", percent(report.top1), percent(report.float_top1));
        }
        let sqnr = or_dash(report.sqnr_db.map(|v| format!("{v:.1} dB")));
        if report.measured_on > 0 {
            let _ =
                writeln!(text, "agreement     {} with the float network, scores {sqnr}, on {} {on} pictures", percent(report.agreement), report.measured_on);
        }
        let _ = writeln!(text, "method        {}, {} pictures, {:.1} s", self.quantize, report.pictures, report.seconds);
        if let Some(skip) = &report.skip {
            text.push_str(&skip.text());
        }
        report.brought.iter().for_each(|brought| text.push_str(&brought.text()));
        for note in &report.notes {
            let _ = writeln!(text, "note          {note}");
        }
        let (bytes, parameters, arena) = (thousands(report.bytes as u64), thousands(report.parameters), thousands(report.arena_bytes as u64));
        let _ = writeln!(text, "{}: {bytes} bytes, {parameters} parameters, arena {arena} bytes", report.file);
        text
    }
}

/// What the pictures are called on which the network was measured.
const fn measured_on(args: &ConvertArgs) -> &'static str {
    if args.eval.is_some() { "--eval" } else { "calibration" }
}
