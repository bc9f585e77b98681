//! What the thermal zones say: how hot it is, and from where on the clock is held down.

use super::tree::Tree;

const FOLDER: &str = "sys/class/thermal";

/// Names in the types of zones that measure the processor, the most telling first.
const PROCESSOR: [&[&str]; 3] = [&["cpu", "pkg", "core"], &["soc"], &["tj"]];

/// Processors' own sensors, where there is no zone.
const SENSORS: [&str; 4] = ["coretemp", "k10temp", "zenpower", "cpu_thermal"];

/// A place where the temperature is measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone {
    /// What the kernel calls it: `cpu-thermal`, `CPU-therm`, `x86_pkg_temp` ...
    pub name: String,
    /// Degrees Celsius.
    pub temperature_c: f64,
    /// From here on the clock of the processor is held down, in degrees Celsius.
    pub limit_c: Option<f64>,
}

impl Zone {
    /// Its place in the order of [`PROCESSOR`].
    fn rank(&self) -> Option<usize> {
        let name = self.name.to_lowercase();
        PROCESSOR.iter().position(|words| words.iter().any(|w| name.contains(w)))
    }

    /// Degrees that are left to the limit; negative beyond it.
    #[must_use]
    pub fn margin_c(&self) -> Option<f64> {
        Some(self.limit_c? - self.temperature_c)
    }
}

/// All zones that can be read, in the kernel's order. Limits of zones of the processor are the first passive trip point, or where the firmware of a Raspberry
/// Pi holds the clock down by itself if that comes earlier.
pub(super) fn zones(tree: Tree<'_>, board: Option<&str>) -> Vec<Zone> {
    let firmware = board.and_then(firmware_limit);
    let zone = |path: &String| {
        let mut zone = Zone { name: tree.text(&format!("{path}/type"))?, temperature_c: tree.thousandths(&format!("{path}/temp"))?, limit_c: None };
        if zone.rank().is_some() {
            zone.limit_c = [passive_trip(tree, path), firmware].into_iter().flatten().reduce(f64::min);
        }
        Some(zone)
    };
    tree.entries(FOLDER, "thermal_zone").iter().filter_map(zone).collect()
}

/// The lowest passive trip point above the freezing point: lower ones stand for none.
fn passive_trip(tree: Tree<'_>, zone: &str) -> Option<f64> {
    let trips = tree.entries(zone, "trip_point_");
    let passive = trips.iter().filter(|t| t.ends_with("_type") && tree.text(t).as_deref() == Some("passive"));
    passive.filter_map(|t| tree.thousandths(&t.replace("_type", "_temp"))).filter(|&t| t > 0.0).reduce(f64::min)
}

/// Where the firmware of a Raspberry Pi begins to lower the clock.
fn firmware_limit(board: &str) -> Option<f64> {
    let soft = ["Raspberry Pi 3 Model B Plus", "Raspberry Pi 3 Model A Plus"];
    board.starts_with("Raspberry Pi").then(|| if soft.iter().any(|b| board.starts_with(b)) { 60.0 } else { 80.0 })
}

/// The temperature of the processor: of the hottest zone that measures it, or of its own sensor, or else of the first zone.
pub(super) fn processor(tree: Tree<'_>, zones: &[Zone]) -> Option<f64> {
    let best = zones.iter().filter_map(Zone::rank).min();
    let hottest = zones.iter().filter(|z| best.is_some() && z.rank() == best).map(|z| z.temperature_c).reduce(f64::max);
    let sensor = || {
        let sensors = tree.entries("sys/class/hwmon", "hwmon");
        let own = sensors.iter().filter(|s| tree.text(&format!("{s}/name")).is_some_and(|n| SENSORS.contains(&n.as_str())));
        own.filter_map(|s| tree.thousandths(&format!("{s}/temp1_input"))).reduce(f64::max)
    };
    hottest.or_else(sensor).or_else(|| zones.first().map(|z| z.temperature_c))
}

/// Whether the kernel cools the processor by its clock now; `None` where it never does.
pub(super) fn cooling(tree: Tree<'_>) -> Option<bool> {
    let devices = tree.entries(FOLDER, "cooling_device");
    let of_clock = |device: &&String| tree.text(&format!("{device}/type")).is_some_and(|t| lowers_clock(&t.to_lowercase()));
    devices.iter().filter(of_clock).filter_map(|d| tree.number::<i64>(&format!("{d}/cur_state"))).map(|state| state > 0).reduce(|a, b| a | b)
}

/// Cooling devices that lower the processor's clock: those of the kernel, and those of NVIDIA's kernels for what the firmware does.
fn lowers_clock(kind: &str) -> bool {
    kind.contains("cpufreq") || kind.contains("cpu") && ["throttle", "balanced"].iter().any(|w| kind.contains(w))
}
