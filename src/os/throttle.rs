//! Whether the clock is held down, and why: as the firmware of a Raspberry Pi, the kernel of a Jetson and x86 say it.

use super::thermal;
use super::tree::Tree;
use std::collections::{BTreeMap, BTreeSet};

/// Why a clock is held down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// The supply gives too little voltage.
    UnderVoltage,
    /// The board draws more current than its supply or its regulators allow (Jetson).
    OverCurrent,
    /// The firmware caps the clock, for heat or a weak supply (Raspberry Pi).
    Capped,
    /// The firmware holds the clock down, for heat or a weak supply (Raspberry Pi).
    Throttled,
    /// The soft temperature limit is reached (Raspberry Pi 3B+ and later).
    SoftLimit,
    /// The processor is too hot.
    Heat,
}

impl Reason {
    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnderVoltage => "under-voltage",
            Self::OverCurrent => "over-current",
            Self::Capped => "frequency capped",
            Self::Throttled => "throttled",
            Self::SoftLimit => "soft temperature limit",
            Self::Heat => "heat",
        }
    }

    const fn of_supply(self) -> bool {
        matches!(self, Self::UnderVoltage | Self::OverCurrent)
    }

    const fn of_heat(self) -> bool {
        matches!(self, Self::SoftLimit | Self::Heat)
    }
}

/// Reasons as one text: `under-voltage, throttled`; `None` if there is none.
#[must_use]
pub fn names(reasons: &BTreeSet<Reason>) -> Option<String> {
    let names: Vec<_> = reasons.iter().map(|r| r.name()).collect();
    Some(names.join(", ")).filter(|n| !n.is_empty())
}

/// What helps against them. A cap alone comes from heat: a weak supply would be among the reasons.
#[must_use]
pub fn advice(reasons: &BTreeSet<Reason>) -> &'static str {
    let supply = reasons.iter().any(|r| r.of_supply());
    let heat = reasons.iter().any(|r| r.of_heat());
    match (supply, heat) {
        (true, true) => "use a stronger power supply with a short cable, and cool the processor",
        (true, false) => "use a stronger power supply with a short cable",
        (false, _) => "cool the processor",
    }
}

/// What the machine says of throttling.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Throttle {
    /// What holds the clock down now.
    pub now: BTreeSet<Reason>,
    /// What has held it down since the machine began, where a flag of that is kept.
    pub past: BTreeSet<Reason>,
    /// How often it was held down since the machine began, where that is counted.
    pub counts: BTreeMap<Reason, u64>,
}

impl Throttle {
    /// What held the clock down at one of two readings, or came between them.
    #[must_use]
    pub fn between(before: &Self, after: &Self) -> BTreeSet<Reason> {
        let new = after.past.difference(&before.past);
        let counted = after.counts.iter().filter(|&(reason, n)| n > before.counts.get(reason).unwrap_or(&0)).map(|(reason, _)| reason);
        before.now.iter().chain(&after.now).chain(new).chain(counted).copied().collect()
    }

    /// What has held the clock down since the machine began, by flags or counts.
    #[must_use]
    pub fn since_boot(&self) -> BTreeSet<Reason> {
        let counted = self.counts.iter().filter(|&(_, &n)| n > 0).map(|(reason, _)| reason);
        self.now.iter().chain(&self.past).chain(counted).copied().collect()
    }

    fn bits(bits: u32) -> Self {
        let reasons = [Reason::UnderVoltage, Reason::Capped, Reason::Throttled, Reason::SoftLimit];
        let set = |first: usize| (0..4).filter(|i| bits >> (first + i) & 1 == 1).map(|i| reasons[i]).collect();
        Self { now: set(0), past: set(16), counts: BTreeMap::new() }
    }

    fn count(&mut self, reason: Reason, n: u64) {
        *self.counts.entry(reason).or_default() += n;
    }
}

/// What the machine says; `None` where nothing says anything.
pub(super) fn read(tree: Tree<'_>) -> Option<Throttle> {
    let firmware = firmware_bits(tree).map(Throttle::bits);
    let alarm = voltage_alarm(tree);
    let cooling = thermal::cooling(tree);
    let counts: Vec<_> = over_currents(tree).into_iter().chain(x86_counts(tree)).collect();
    if firmware.is_none() && alarm.is_none() && cooling.is_none() && counts.is_empty() {
        return None;
    }
    let mut throttle = firmware.unwrap_or_default();
    throttle.now.extend((alarm == Some(true)).then_some(Reason::UnderVoltage));
    throttle.now.extend((cooling == Some(true)).then_some(Reason::Heat));
    for (reason, n) in counts {
        throttle.count(reason, n);
    }
    Some(throttle)
}

/// What `vcgencmd get_throttled` prints: bits 0 to 3 are what holds now, 16 to 19 what has held since the machine began. The device of the firmware has
/// other places under other kernels; its driver knows them all.
fn firmware_bits(tree: Tree<'_>) -> Option<u32> {
    let mut devices = tree.entries("sys/bus/platform/drivers/raspberrypi-firmware", "");
    for soc in tree.entries("sys/devices/platform", "soc") {
        devices.extend(tree.entries(&soc, "").into_iter().filter(|d| d.ends_with(":firmware")));
        devices.push(soc);
    }
    devices.iter().find_map(|device| {
        let text = tree.text(&format!("{device}/get_throttled"))?;
        u32::from_str_radix(text.trim_start_matches("0x"), 16).ok()
    })
}

/// The alarm of the Raspberry Pi's voltage monitor.
fn voltage_alarm(tree: Tree<'_>) -> Option<bool> {
    let monitor = sensors(tree, "rpi_volt").next()?;
    Some(tree.number::<u32>(&format!("{monitor}/in0_lcrit_alarm"))? != 0)
}

/// Counted events of a Jetson's supply: the first counter is of under-voltage, the others of average and of instantaneous over-current.
fn over_currents(tree: Tree<'_>) -> Vec<(Reason, u64)> {
    let count = |path: &String| {
        let number = path.rsplit('/').next()?.strip_prefix("oc")?.strip_suffix("_event_cnt")?.parse::<u32>().ok()?;
        Some((if number == 1 { Reason::UnderVoltage } else { Reason::OverCurrent }, tree.number(path)?))
    };
    sensors(tree, "soctherm_oc").flat_map(|s| tree.entries(&s, "oc")).filter_map(|path| count(&path)).collect()
}

/// How often the first core and its package were too hot (x86).
fn x86_counts(tree: Tree<'_>) -> Vec<(Reason, u64)> {
    let counts = ["core_throttle_count", "package_throttle_count"];
    counts.iter().filter_map(|name| Some((Reason::Heat, tree.number(&format!("sys/devices/system/cpu/cpu0/thermal_throttle/{name}"))?))).collect()
}

/// Folders of the sensors of this name.
fn sensors(tree: Tree<'_>, name: &str) -> impl Iterator<Item = String> {
    tree.entries("sys/class/hwmon", "hwmon").into_iter().filter(move |s| tree.text(&format!("{s}/name")).as_deref() == Some(name))
}
