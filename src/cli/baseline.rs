//! An earlier measurement to compare with.

use super::bench::Measured;
use super::error::{CliError, Result};
use super::output::{ms, thousands};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What is read of an earlier `bench --json`.
#[derive(Debug)]
pub struct Baseline {
    path: PathBuf,
    results: Vec<Earlier>,
}

#[derive(Debug, Deserialize)]
struct File {
    #[serde(default)]
    results: Vec<Earlier>,
}

#[derive(Debug, Deserialize)]
struct Earlier {
    p50_ms: f64,
    threads: usize,
    network: Option<String>,
    macs: Option<u64>,
}

/// How a measurement compares with the baseline.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    file: String,
    threads: usize,
    p50_ms: f64,
    /// Percent by which the median is slower, negative if it is faster.
    change_percent: f64,
    fail_over_percent: f64,
}

/// Reads a percentage.
pub(super) fn percent(text: &str) -> core::result::Result<f64, &'static str> {
    text.trim_end_matches('%').parse().ok().filter(|p: &f64| *p >= 0.0 && p.is_finite()).ok_or("a percentage such as 5")
}

impl Baseline {
    /// Reads the result of `bench --json`, of one or several numbers of threads.
    ///
    /// # Errors
    /// If it is none.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| CliError::read(path, &e))?;
        let one = serde_json::from_str::<Earlier>(&text).map(|r| vec![r]);
        let results = one.or_else(|_| serde_json::from_str::<File>(&text).map(|f| f.results)).unwrap_or_default();
        if results.is_empty() {
            let what = format!("{} is no result of `bench --json`, --baseline", path.display());
            return Err(CliError::input(what, "make one with `skipstone bench NET.stone --json > FILE`"));
        }
        Ok(Self { path: path.to_owned(), results })
    }

    /// Compares a measurement with the earlier one of as many threads.
    ///
    /// # Errors
    /// If there is none, or it is one of another network.
    pub fn change(&self, now: &Measured, fail_over_percent: f64) -> Result<Change> {
        let file = self.path.display().to_string();
        let Some(earlier) = self.results.iter().find(|r| r.threads == now.threads && r.p50_ms > 0.0) else {
            let what = format!("{file} has no measurement of {} threads, --baseline", now.threads);
            return Err(CliError::input(what, "measure the baseline with the same --threads"));
        };
        if earlier.network.as_ref().is_some_and(|name| *name != now.network) {
            let what = format!("{file} measures another network than {}, --baseline", now.network);
            return Err(CliError::input(what, "measure the baseline with this network"));
        }
        if earlier.macs.is_some_and(|macs| macs != now.macs) {
            eprintln!("warning: {file} measures a network of other size than {} with {} MACs", now.network, thousands(now.macs));
        }
        let change_percent = 100.0 * (now.latency.p50_ms / earlier.p50_ms - 1.0);
        Ok(Change { file, threads: now.threads, p50_ms: earlier.p50_ms, change_percent, fail_over_percent })
    }
}

impl Change {
    /// True if it is slower by more than is allowed.
    #[must_use]
    pub fn exceeded(&self) -> bool {
        self.change_percent > self.fail_over_percent
    }

    /// One line of text.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{} threads: median {:+.1} % against {} ms of {}", self.threads, self.change_percent, ms(self.p50_ms), self.file)
    }

    /// The error where it is exceeded.
    #[must_use]
    pub fn error(&self) -> CliError {
        let what = format!("{}, {} % are allowed, --fail-over", self.line(), self.fail_over_percent);
        CliError::check(what, "measure again on a quiet machine; if it stays, something became slower")
    }
}
