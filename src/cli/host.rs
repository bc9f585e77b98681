//! The `host` of JSON results.

use super::output::or_dash;
use crate::os::{self, host};
use serde::Serialize;

/// What a figure was measured on.
#[derive(Clone, Debug, Serialize)]
pub struct Host {
    cpu: Option<String>,
    board: Option<String>,
    cores: usize,
    features: Vec<String>,
    governor: Option<String>,
    /// MHz.
    clock: Option<f64>,
    clock_max: Option<f64>,
    /// Degrees Celsius.
    temperature: Option<f64>,
    /// Whether the clock was held down while it was measured.
    throttled: Option<bool>,
    caches: Vec<Cache>,
    memory_bytes: Option<u64>,
    os: Option<String>,
    /// Of this program.
    version: &'static str,
}

#[derive(Clone, Debug, Serialize)]
struct Cache {
    level: u32,
    kind: String,
    bytes: u64,
}

impl Host {
    /// The machine now.
    #[must_use]
    pub fn now() -> Self {
        let now = host::Host::read();
        Self::new(&now, &now)
    }

    /// The machine after a measurement that began at `before`.
    #[must_use]
    pub fn since(before: &host::Host) -> Self {
        Self::new(before, &host::Host::read())
    }

    fn new(before: &host::Host, now: &host::Host) -> Self {
        let now = now.clone();
        Self {
            cpu: now.cpu,
            board: now.board,
            cores: os::cores(),
            features: now.features,
            governor: now.governor,
            clock: now.clock_mhz,
            clock_max: now.clock_max_mhz,
            temperature: now.temperature_c,
            throttled: before.throttle.zip(now.throttle).map(|(a, b)| host::Throttle::between(a, b)),
            caches: now.caches.into_iter().map(|c| Cache { level: c.level, kind: c.kind, bytes: c.bytes }).collect(),
            memory_bytes: now.memory_bytes,
            os: now.os,
            version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// Cores that this process may use.
    #[must_use]
    pub const fn cores(&self) -> usize {
        self.cores
    }

    /// Instructions that matter here.
    #[must_use]
    pub fn features(&self) -> &[String] {
        &self.features
    }

    /// One line: processor, clock, governor, temperature, throttling.
    #[must_use]
    pub fn line(&self) -> String {
        let mhz = |v: f64| format!("{v:.0} MHz");
        let throttled = self.throttled.map(|t| if t { "THROTTLED" } else { "not throttled" }.to_owned());
        let parts = [
            Some(or_dash(self.cpu.clone())),
            self.board.clone(),
            Some(format!("{} cores", self.cores)),
            self.clock.map(mhz),
            self.governor.as_ref().map(|g| format!("governor {g}")),
            self.temperature.map(|t| format!("{t:.0} degrees")),
            throttled,
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// The lines of `devices`.
    #[must_use]
    pub fn lines(&self) -> String {
        let caches: Vec<_> = self.caches.iter().map(|c| format!("L{} {} {} KiB", c.level, c.kind.to_lowercase(), c.bytes / 1024)).collect();
        format!(
            "machine   {}\nfeatures  {}\ncaches    {}\nmemory    {}\nsystem    {}\n",
            self.line(),
            or_dash(Some(self.features.join(" ")).filter(|t| !t.is_empty())),
            or_dash(Some(caches.join(", ")).filter(|t| !t.is_empty())),
            or_dash(self.memory_bytes.map(|b| format!("{} MiB", b >> 20))),
            or_dash(self.os.clone()),
        )
    }
}
