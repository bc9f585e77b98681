//! `skipstone devices`: what this machine offers.

use super::args::kernels;
use super::error::Result;
use super::host::{Host, Watch};
use super::output::{Output, Table};
use super::peak::{self, Peak};
use crate::kernels::{Kernels, Set};
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;

/// What this machine offers: kernel sets and their measured peaks, caches, clocks
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  skipstone devices")]
pub struct DevicesArgs {}

#[derive(Serialize)]
struct Report {
    schema: &'static str,
    isa: Vec<&'static str>,
    chosen: &'static str,
    why: String,
    features: Vec<String>,
    peaks: BTreeMap<&'static str, Peak>,
    /// There is no GPU path yet.
    gpu: Option<String>,
    host: Host,
}

/// Runs the command.
///
/// # Errors
/// If `SKIPSTONE_ISA` names a set that is not to be had.
pub fn run(_: &DevicesArgs, output: Output) -> Result {
    let chosen = kernels(None)?;
    let sets: Vec<_> = Kernels::all().collect();
    let watch = Watch::new(&[]).warn();
    let peaks = sets.iter().map(|k| (k.set().name(), peak::of(*k))).collect();
    let host = watch.end();
    let report = Report {
        schema: "skipstone.devices/1",
        isa: sets.iter().map(|k| k.set().name()).collect(),
        chosen: chosen.set().name(),
        why: why(chosen.set()),
        features: host.features().to_vec(),
        peaks,
        gpu: None,
        host,
    };
    output.show(&report, || text(&report))
}

fn why(chosen: Set) -> String {
    let fastest = Kernels::detect().set();
    if chosen != fastest {
        return format!("SKIPSTONE_ISA asks for it; this CPU also has {fastest}");
    }
    let lacking: Vec<_> = Set::built().filter(|&s| Kernels::for_set(s).is_none()).map(Set::name).collect();
    let rest = if lacking.is_empty() { String::new() } else { format!("; it lacks {}", lacking.join(", ")) };
    format!("the fastest that this CPU has{rest}")
}

fn text(report: &Report) -> String {
    let mut table = Table::new(&["kernels", ">MAC/cycle", ">GMAC/s", ""]);
    for &set in &report.isa {
        let (cycle, rate) = report.peaks.get(set).map_or((0.0, 0.0), |p| (p.mac_per_cycle, p.gmac_per_s));
        let mark = if set == report.chosen { format!("chosen: {}", report.why) } else { String::new() };
        table.row([set.to_owned(), format!("{cycle:.1}"), format!("{rate:.1}"), mark]);
    }
    format!("{}gpu       -\n\n{table}\npeaks are of one core, measured with a loop that touches registers only\n", report.host.lines())
}
