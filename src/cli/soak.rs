//! `bench --soak`: a sustained run, with latency, clock and temperature over time.

use super::latency::{Histogram, Latency};
use super::output::{Table, ms, or_dash, thousands};
use super::peak;
use super::plot::Plot;
use super::progress::Progress;
use super::timer::Timer;
use crate::count;
use crate::os::host::Host;
use crate::os::throttle::{Throttle, names};
use core::fmt::Write as _;
use core::time::Duration;
use serde::Serialize;
use std::time::Instant;

/// A sustained run has at most so many intervals, each at least a second long.
const INTERVALS: u32 = 100;
/// The table of the text has at most so many rows.
const ROWS: usize = 10;

/// Reads the value of `--soak`.
pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
    let unit = match unit {
        "" | "s" => Some(1.0),
        "m" => Some(60.0),
        "h" => Some(3600.0),
        _ => None,
    };
    let seconds = number.parse::<f64>().ok().zip(unit).map(|(n, unit)| n * unit).filter(|s| (1.0..=604_800.0).contains(s));
    seconds.map(Duration::from_secs_f64).ok_or("a time from 1s to 168h such as 30s, 10m, 1h")
}

/// An interval of a sustained run.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// From the start of the run to the end of the interval.
    seconds: f64,
    runs: u64,
    min_ms: f64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// MHz, as the system says.
    clock: Option<f64>,
    /// MHz, as a loop of known length found at the end of the interval.
    clock_measured: f64,
    /// Degrees Celsius.
    temperature: Option<f64>,
    throttled: Option<bool>,
    throttle_reason: Option<String>,
}

/// What a sustained run gave.
#[derive(Clone, Debug, Serialize)]
pub struct Soak {
    /// How long it was asked to take.
    soak_s: f64,
    /// Median of the last tenth of the intervals to that of the first: over 1 where it became slower.
    last_to_first: f64,
    samples: Vec<Sample>,
}

/// Into how many intervals of equal length it is divided.
pub(super) fn intervals(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(INTERVALS).clamp(1, INTERVALS)
}

/// Runs for this long. Gives the times of all runs, the intervals, and how often memory was asked for in the measured loops.
pub(super) fn run(timer: &mut Timer<'_, '_>, duration: Duration, progress: &Progress) -> (Histogram, Soak, u64) {
    let (mut all, mut part, mut allocations) = (Histogram::default(), Histogram::default(), 0);
    let (n, mut next, mut samples) = (intervals(duration), 0, Vec::<Sample>::new());
    let mut before = Host::read();
    let start = Instant::now();
    while samples.is_empty() || start.elapsed() < duration {
        next += 1;
        let end = if next < n { duration / n * next } else { duration };
        let counted = count::allocations();
        part.add(timer.nanoseconds());
        while start.elapsed() < end {
            part.add(timer.nanoseconds());
        }
        allocations += count::allocations() - counted;
        let seconds = start.elapsed().as_secs_f64();
        let clock_measured = peak::clock_mhz();
        let now = Host::read();
        samples.push(Sample::new(seconds, &part, clock_measured, &before, &now));
        before = now;
        all.merge(&part);
        part.clear();
        progress.step();
    }
    let soak = Soak { soak_s: duration.as_secs_f64(), last_to_first: last_to_first(&samples), samples };
    (all, soak, allocations)
}

/// Mean of the medians of the last tenth to that of the first.
fn last_to_first(samples: &[Sample]) -> f64 {
    let tenth = samples.len().div_ceil(10);
    let mean = |part: &[Sample]| part.iter().map(|s| s.p50_ms).sum::<f64>() / part.len() as f64;
    mean(&samples[samples.len() - tenth..]) / mean(&samples[..tenth])
}

impl Sample {
    fn new(seconds: f64, part: &Histogram, clock_measured: f64, before: &Host, now: &Host) -> Self {
        let Latency { min_ms, p50_ms, p99_ms, max_ms, .. } = part.latency();
        let reasons = before.throttle.as_ref().zip(now.throttle.as_ref()).map(|(a, b)| Throttle::between(a, b));
        Self {
            seconds,
            runs: part.count(),
            min_ms,
            p50_ms,
            p99_ms,
            max_ms,
            clock: now.clock_mhz,
            clock_measured,
            temperature: now.temperature_c,
            throttled: reasons.as_ref().map(|r| !r.is_empty()),
            throttle_reason: reasons.as_ref().and_then(names),
        }
    }
}

impl Soak {
    /// A table of a few intervals, and plots of all of them; with blocks where the terminal can draw them.
    #[must_use]
    pub fn text(&self, blocks: bool) -> String {
        let mut text = format!("{}\n", self.table());
        let curve = |title, least, value: fn(&Sample) -> Option<f64>| {
            let values: Vec<_> = self.samples.iter().map(value).collect();
            Plot { title, values: &values, least, end: self.samples.last().map_or(0.0, |s| s.seconds) }.draw(blocks)
        };
        text += &curve("median latency in ms", 0.2, |s| Some(s.p50_ms));
        text += &curve("temperature in degrees", 0.1, |s| s.temperature);
        let percent = 100.0 * (self.last_to_first - 1.0);
        let _ = writeln!(text, "the last tenth takes {:.3} times as long as the first ({percent:+.1} %)", self.last_to_first);
        text
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&[">after s", ">runs", ">min ms", ">p50", ">p99", ">max", ">MHz", ">measured", ">degrees", "throttled"]);
        let rows = self.samples.len().min(ROWS);
        for i in 0..rows {
            let s = &self.samples[if rows > 1 { i * (self.samples.len() - 1) / (rows - 1) } else { 0 }];
            let whole = |v: Option<f64>| or_dash(v.map(|v| format!("{v:.0}")));
            let throttled = s.throttled.map(|t| if t { s.throttle_reason.clone().unwrap_or_else(|| "yes".into()) } else { "no".into() });
            table.row([
                format!("{:.0}", s.seconds),
                thousands(s.runs),
                ms(s.min_ms),
                ms(s.p50_ms),
                ms(s.p99_ms),
                ms(s.max_ms),
                whole(s.clock),
                whole(Some(s.clock_measured)),
                or_dash(s.temperature.map(|t| format!("{t:.1}"))),
                or_dash(throttled),
            ]);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let seconds = |text: &str| duration(text).map(|d| d.as_secs_f64());
        assert_eq!(["30s", "10m", "1h", "90", "1.5m", "168h"].map(seconds), [30.0, 600.0, 3600.0, 90.0, 90.0, 604_800.0].map(Ok));
        assert!(["", "0", "0.5s", "-3", "1d", "m", "10ms", "169h", "inf", "nan", "1e3h"].iter().all(|t| duration(t).is_err()));
    }

    #[test]
    fn intervals_are_a_second_or_longer_and_not_too_many() {
        assert_eq!([1, 5, 100, 150, 600, 3600, 604_800].map(|s| intervals(Duration::from_secs(s))), [1, 5, 100, 100, 100, 100, 100]);
        assert_eq!(intervals(Duration::from_millis(1999)), 1);
    }

    fn sample(i: u32, temperature: Option<f64>) -> Sample {
        let mut part = Histogram::default();
        part.add(1_000_000 + 10_000 * u64::from(i));
        let mut now = Host { temperature_c: temperature, clock_mhz: Some(1500.0), ..Host::default() };
        let cool = Host { throttle: Some(Throttle::default()), ..Host::default() };
        now.throttle = Some(Throttle { now: (i > 14).then_some(crate::os::throttle::Reason::Heat).into_iter().collect(), ..Throttle::default() });
        Sample::new(f64::from(i + 1), &part, 1490.0, &cool, &now)
    }

    #[test]
    fn a_run_that_became_slower() {
        let samples: Vec<_> = (0..20).map(|i| sample(i, Some(50.0 + f64::from(i)))).collect();
        assert!((last_to_first(&samples) - 1.185 / 1.005).abs() < 1e-9, "{}", last_to_first(&samples));
        assert_eq!((samples[14].throttled, samples[15].throttled), (Some(false), Some(true)));
        let soak = Soak { soak_s: 20.0, last_to_first: last_to_first(&samples), samples };
        let text = soak.text(false);
        let rows: Vec<_> = text.lines().skip(1).take(ROWS).map(|l| l.split_whitespace().next().unwrap_or_default()).collect();
        assert_eq!((rows[0], rows[9], rows.len()), ("1", "20", 10), "the first and the last are there: {text}");
        assert!(text.contains("heat") && text.contains("temperature in degrees") && text.contains("1.179 times"), "{text}");
        let one = Soak { soak_s: 1.0, last_to_first: 1.0, samples: vec![sample(0, None)] };
        assert!(!one.text(true).contains("temperature"), "nothing is drawn of what is not known");
    }
}
