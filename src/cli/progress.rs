//! A bar with rate and time left, on a terminal, for what takes over a second.

use super::output::Output;
use core::cell::Cell;
use core::time::Duration;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, stderr};
use std::time::Instant;

/// Progress of a number of equal things.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    /// When the bar may appear, until it does.
    waits: Cell<Option<Instant>>,
}

impl Progress {
    /// A bar for `count` things, named `what`.
    #[must_use]
    pub fn new(output: Output, count: usize, what: &'static str) -> Self {
        let bar = ProgressBar::with_draw_target(Some(count as u64), ProgressDrawTarget::hidden()).with_message(what);
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos} of {len}, {per_sec}, {eta} left") {
            bar.set_style(style);
        }
        let shown = !output.quiet && stderr().is_terminal();
        Self { bar, waits: Cell::new(shown.then(|| Instant::now() + Duration::from_secs(1))) }
    }

    /// One more is done.
    pub fn step(&self) {
        self.bar.inc(1);
        if self.waits.get().is_some_and(|until| Instant::now() >= until) {
            self.waits.set(None);
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
