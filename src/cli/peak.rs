//! The most that one core of this machine can do, measured with loops that touch registers only.

use crate::kernels::{Kernels, cycles_loop};
use core::time::Duration;
use serde::Serialize;
use std::time::Instant;

/// How long a peak is looked for, and how long one try takes about.
const SEARCH: Duration = Duration::from_millis(60);
const TRY: Duration = Duration::from_micros(40);

/// The peak of a kernel set on one core.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Peak {
    /// Multiply-accumulates in a cycle.
    pub mac_per_cycle: f64,
    /// Billions of multiply-accumulates a second.
    pub gmac_per_s: f64,
}

/// Measures the peak of a kernel set: the best of many short tries, between which the clock is taken by a loop of known length.
#[must_use]
pub fn of(kernels: Kernels) -> Peak {
    let macs = |n| kernels.peak_loop(n);
    let (mac_tries, cycle_tries) = (iterations(&macs), iterations(&cycles_loop));
    let (mut rate, mut clock) = (0f64, 0f64);
    let start = Instant::now();
    while start.elapsed() < SEARCH {
        rate = rate.max(per_nanosecond(&macs, mac_tries));
        clock = clock.max(per_nanosecond(&cycles_loop, cycle_tries));
    }
    Peak { mac_per_cycle: rate / clock, gmac_per_s: rate }
}

/// The clock of this core now in MHz: the best of a few short tries with a loop of known length. It is right also where the system does not say that the
/// clock is held down.
#[must_use]
pub fn clock_mhz() -> f64 {
    let tries = iterations(&cycles_loop);
    (0..8).map(|_| per_nanosecond(&cycles_loop, tries)).fold(0.0, f64::max) * 1e3
}

fn per_nanosecond(work: &impl Fn(u64) -> u64, iterations: u64) -> f64 {
    let start = Instant::now();
    let done = work(iterations);
    done as f64 / start.elapsed().as_nanos().max(1) as f64
}

/// How many iterations one try takes.
fn iterations(work: &impl Fn(u64) -> u64) -> u64 {
    let mut n = 64;
    loop {
        let start = Instant::now();
        work(n);
        if start.elapsed() >= TRY || n > 1 << 40 {
            return n;
        }
        n *= 2;
    }
}
