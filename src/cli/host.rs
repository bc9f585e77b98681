//! The `host` of JSON results.

use super::output::or_dash;
use super::peak;
use crate::os::clock::ranges;
use crate::os::throttle::{Throttle, names};
use crate::os::{self, caution, host};
use serde::Serialize;

/// What a figure was measured on.
#[derive(Clone, Debug, Serialize)]
pub struct Host {
    /// Whether the program is emulated: then next to nothing is known of the processor.
    emulated: bool,
    cpu: Option<String>,
    board: Option<String>,
    cores: usize,
    features: Vec<String>,
    /// The core of the calling thread: that of the governor and the clocks.
    core: usize,
    governor: Option<String>,
    /// MHz.
    clock: Option<f64>,
    clock_max: Option<f64>,
    /// MHz, as a loop of known length finds it: also where firmware holds the clock down and the system does not know.
    clock_measured: f64,
    clusters: Vec<Cluster>,
    /// Degrees Celsius.
    temperature: Option<f64>,
    zones: Vec<Zone>,
    /// Whether the clock was held down while it was measured.
    throttled: Option<bool>,
    /// Why it was.
    throttle_reason: Option<String>,
    /// Why it has been held down since the machine started.
    throttle_since_boot: Option<String>,
    /// Of a Jetson.
    power_mode: Option<String>,
    /// What may have spoiled the measurement.
    warnings: Vec<String>,
    caches: Vec<Cache>,
    memory_bytes: Option<u64>,
    os: Option<String>,
    /// Of this program.
    version: &'static str,
}

/// Cores of one kind with one governor and the same limits. Clocks are in MHz.
#[derive(Clone, Debug, Serialize)]
struct Cluster {
    cores: Vec<usize>,
    name: Option<String>,
    governor: Option<String>,
    clock: Option<f64>,
    clock_limit: Option<f64>,
    clock_max: Option<f64>,
}

/// A place where the temperature is measured, in degrees Celsius.
#[derive(Clone, Debug, Serialize)]
struct Zone {
    name: String,
    temperature: f64,
    /// From here on the clock is held down.
    limit: Option<f64>,
}

#[derive(Clone, Debug, Serialize)]
struct Cache {
    level: u32,
    kind: String,
    bytes: u64,
}

/// A thread and the core to which it is bound.
#[derive(Clone, Debug, Serialize)]
pub struct Binding {
    thread: usize,
    core: usize,
    name: Option<String>,
}

/// A look at the machine from before a measurement until after it.
#[derive(Debug)]
pub struct Watch {
    before: host::Host,
    warnings: Vec<String>,
}

impl Watch {
    /// Looks at the machine before a measurement on these cores, or on any if there are none.
    #[must_use]
    pub fn new(cores: &[usize]) -> Self {
        let before = host::Host::read();
        Self { warnings: caution::before(&before, cores), before }
    }

    /// Says on stderr what will spoil the measurement.
    #[must_use]
    pub fn warn(self) -> Self {
        self.warnings.iter().for_each(|w| warn(w));
        self
    }

    /// To which cores so many threads are bound; `None` if they are not.
    #[must_use]
    pub fn binding(&self, threads: usize, cores: &[usize]) -> Option<Vec<Binding>> {
        let bound = |(thread, &core)| Binding { thread, core, name: self.before.cores.get(&core).cloned() };
        (!cores.is_empty()).then(|| (0..threads).zip(cores.iter().cycle()).map(bound).collect())
    }

    /// The machine after the measurement; says on stderr what has spoiled it meanwhile.
    #[must_use]
    pub fn end(mut self) -> Host {
        let clock_measured = peak::clock_mhz();
        let now = host::Host::read();
        if let Some(warning) = caution::after(&self.before, &now) {
            warn(&warning);
            self.warnings.push(warning);
        }
        Host::new(&self, now, clock_measured)
    }
}

fn warn(text: &str) {
    eprintln!("warning: {text}");
}

impl Host {
    fn new(watch: &Watch, now: host::Host, clock_measured: f64) -> Self {
        let reasons = watch.before.throttle.as_ref().zip(now.throttle.as_ref()).map(|(a, b)| Throttle::between(a, b));
        let cluster = |c: os::clock::Cluster| Cluster {
            cores: c.cores,
            name: c.name,
            governor: c.governor,
            clock: c.clock_mhz,
            clock_limit: c.limit_mhz,
            clock_max: c.max_mhz,
        };
        Self {
            emulated: now.emulated,
            cpu: now.cpu,
            board: now.board,
            cores: os::cores(),
            features: now.features,
            core: now.core,
            governor: now.governor,
            clock: now.clock_mhz,
            clock_max: now.clock_max_mhz,
            clock_measured,
            clusters: now.clusters.into_iter().map(cluster).collect(),
            temperature: now.temperature_c,
            zones: now.zones.into_iter().map(|z| Zone { name: z.name, temperature: z.temperature_c, limit: z.limit_c }).collect(),
            throttled: reasons.as_ref().map(|r| !r.is_empty()),
            throttle_reason: reasons.as_ref().and_then(names),
            throttle_since_boot: now.throttle.and_then(|t| names(&t.since_boot())),
            power_mode: now.power_mode.map(|m| m.label()),
            warnings: watch.warnings.clone(),
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

    /// One line: processor, clock, governor, power mode, temperature, throttling.
    #[must_use]
    pub fn line(&self) -> String {
        let mhz = |v: f64| format!("{v:.0} MHz");
        let throttled = self.throttled.map(|_| self.throttle_reason.as_ref().map_or_else(|| "not throttled".into(), |r| format!("THROTTLED ({r})")));
        let parts = [
            Some(self.cpu.clone().unwrap_or_else(|| "unknown processor".into())),
            self.board.clone(),
            Some(format!("{} cores", self.cores)),
            self.clock.map(mhz),
            Some(format!("measured {}", mhz(self.clock_measured))),
            self.governor.as_ref().map(|g| format!("governor {g}")),
            self.power_mode.as_ref().map(|m| format!("power mode {m}")),
            self.temperature.map(|t| format!("{t:.0} degrees")),
            throttled,
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// The lines of `devices`.
    #[must_use]
    pub fn lines(&self) -> String {
        let caches: Vec<_> = self.caches.iter().map(|c| format!("L{} {} {} KiB", c.level, c.kind.to_lowercase(), c.bytes / 1024)).collect();
        let zones: Vec<_> = self.zones.iter().map(Zone::text).collect();
        let list = |parts: &[String]| or_dash(Some(parts.join(", ")).filter(|t| !t.is_empty()));
        let clusters: Vec<_> = self.clusters.iter().map(Cluster::text).collect();
        format!(
            "machine   {}\nfeatures  {}\nclocks    {}\nheat      {}\nthrottled {}\ncaches    {}\nmemory    {}\nsystem    {}\n",
            self.line(),
            or_dash(Some(self.features.join(" ")).filter(|t| !t.is_empty())),
            list(&clusters),
            list(&zones),
            self.throttling(),
            list(&caches),
            or_dash(self.memory_bytes.map(|b| format!("{} MiB", b >> 20))),
            or_dash(self.os.clone()),
        )
    }

    fn throttling(&self) -> String {
        let or_no = |reasons: &Option<String>| reasons.clone().unwrap_or_else(|| "no".into());
        let said = self.throttled.map(|_| format!("now: {}; since the machine started: {}", or_no(&self.throttle_reason), or_no(&self.throttle_since_boot)));
        or_dash(said)
    }
}

impl Cluster {
    fn text(&self) -> String {
        let name = self.name.as_ref().map(|n| format!("{n} ")).unwrap_or_default();
        let mhz = |v: Option<f64>| or_dash(v.map(|v| format!("{v:.0}")));
        let limit = self.clock_limit.filter(|_| self.clock_limit < self.clock_max).map(|l| format!("limited to {l:.0}"));
        let set_by: Vec<_> = self.governor.clone().into_iter().chain(limit).collect();
        let set_by = if set_by.is_empty() { String::new() } else { format!(" ({})", set_by.join("; ")) };
        format!("{name}cores {} at {} of {} MHz{set_by}", ranges(&self.cores), mhz(self.clock), mhz(self.clock_max))
    }
}

impl Zone {
    fn text(&self) -> String {
        let limit = self.limit.map(|l| format!(" of {l:.0}")).unwrap_or_default();
        format!("{} {:.0}{limit}", self.name, self.temperature)
    }
}
