//! A session that runs on the same input again and again.

use super::engine::put;
use crate::session::Session;
use core::time::Duration;
use std::time::Instant;

/// The warm-up that looks for a stable time takes at most this long.
const WARM_UP: Duration = Duration::from_secs(1);

/// A session and its input.
pub(super) struct Timer<'a, 'b> {
    pub session: &'b mut Session<'a>,
    pub input: &'b [u8],
}

impl Timer<'_, '_> {
    /// Fills the input and runs; gives the time of the run alone.
    pub fn once(&mut self) -> Duration {
        put(self.session, self.input);
        let start = Instant::now();
        self.session.run();
        start.elapsed()
    }

    /// As [`once`](Self::once), in nanoseconds.
    pub fn nanoseconds(&mut self) -> u64 {
        u64::try_from(self.once().as_nanos()).unwrap_or(u64::MAX)
    }

    /// A number of runs, at least one; gives it and the shortest.
    pub fn warm_up_by(&mut self, runs: u32) -> (usize, Duration) {
        let runs = runs.max(1) as usize;
        (runs, (0..runs).map(|_| self.once()).min().unwrap_or_default())
    }

    /// Rounds of runs until the shortest of a round has not changed by over 1 % twice; gives the number of runs and the shortest.
    pub fn warm_up(&mut self) -> (usize, Duration) {
        let start = Instant::now();
        let (mut runs, mut last, mut stable) = (0, self.once(), 0);
        while stable < 2 && start.elapsed() < WARM_UP {
            let round = Instant::now();
            let mut shortest = Duration::MAX;
            while round.elapsed() < Duration::from_millis(20) || shortest == Duration::MAX {
                shortest = shortest.min(self.once());
                runs += 1;
            }
            stable = if shortest.abs_diff(last) <= last / 100 { stable + 1 } else { 0 };
            last = shortest;
        }
        (runs + 1, last)
    }

    /// Fills the room that `times` has, or stops after some time, but not before 5 runs.
    pub fn measure(&mut self, times: &mut Vec<u64>, time: Option<Duration>) {
        let start = Instant::now();
        while times.len() < times.capacity() && (times.len() < 5 || time.is_none_or(|t| start.elapsed() < t)) {
            times.push(self.nanoseconds());
        }
    }
}
