//! What `/proc` and `/sys` say of the machine: a latency without it says little.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Features that decide which kernels run, or how fast: the names of `/proc/cpuinfo`.
const FEATURES: &[&str] = &[
    "sse4_1",
    "ssse3",
    "avx",
    "avx2",
    "fma",
    "f16c",
    "bmi2",
    "avx_vnni",
    "avx512f",
    "avx512bw",
    "avx512dq",
    "avx512vl",
    "avx512_vnni",
    "avx512vbmi",
    "gfni",
    "avx_vnni_int8",
    "amx_tile",
    "amx_int8",
    "neon",
    "vfpv4",
    "asimd",
    "asimdhp",
    "asimddp",
    "i8mm",
    "sve",
    "sve2",
    "bf16",
];

/// What is known of a machine. What it does not say is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    /// Name of the processor.
    pub cpu: Option<String>,
    /// Name of the board, on boards that have one.
    pub board: Option<String>,
    /// Instructions that matter here, in the order of the alphabet.
    pub features: Vec<String>,
    /// What sets the clock: `performance`, `ondemand`, `schedutil` ...
    pub governor: Option<String>,
    /// Clock of the first core now, in MHz.
    pub clock_mhz: Option<f64>,
    /// The highest clock of the first core, in MHz.
    pub clock_max_mhz: Option<f64>,
    /// Temperature of the processor in degrees Celsius.
    pub temperature_c: Option<f64>,
    /// Whether the clock is or was held down.
    pub throttle: Option<Throttle>,
    /// Caches of the first core.
    pub caches: Vec<Cache>,
    /// Memory of the machine in bytes.
    pub memory_bytes: Option<u64>,
    /// Operating system and kernel.
    pub os: Option<String>,
}

/// What the machine says of throttling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Throttle {
    /// Whether the clock is held down now, by heat or by a weak supply (Raspberry Pi).
    Now(bool),
    /// How often it was since the machine began (x86).
    Count(u64),
}

impl Throttle {
    /// Whether the clock was held down between two readings.
    #[must_use]
    pub const fn between(before: Self, after: Self) -> bool {
        match (before, after) {
            (Self::Count(a), Self::Count(b)) => b > a,
            (Self::Now(a), Self::Now(b)) => a || b,
            _ => false,
        }
    }
}

/// A cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// 1, 2, 3 ...
    pub level: u32,
    /// `Data`, `Instruction` or `Unified`.
    pub kind: String,
    /// Its size.
    pub bytes: u64,
}

impl Host {
    /// This machine.
    #[must_use]
    pub fn read() -> Self {
        Self::read_from(Path::new("/"))
    }

    /// The machine whose `proc`, `sys` and `etc` lie under `root`.
    #[must_use]
    pub fn read_from(root: &Path) -> Self {
        let text = |path: &str| Some(fs::read_to_string(root.join(path)).ok()?.trim_matches(['\0', '\n', ' ']).to_owned()).filter(|t| !t.is_empty());
        let number = |path: &str| text(path)?.parse::<f64>().ok();
        let cpuinfo = text("proc/cpuinfo").unwrap_or_default();
        let core = "sys/devices/system/cpu/cpu0/";
        let clock = |name: &str| Some(number(&format!("{core}cpufreq/{name}"))? / 1000.0);
        let board = text("proc/device-tree/model").or_else(|| value(&cpuinfo, "Model"));
        Self {
            cpu: cpu_name(&cpuinfo).or_else(|| board.clone()),
            features: features(&cpuinfo),
            governor: text(&format!("{core}cpufreq/scaling_governor")),
            clock_mhz: clock("scaling_cur_freq").or_else(|| value(&cpuinfo, "cpu MHz")?.parse().ok()),
            clock_max_mhz: clock("cpuinfo_max_freq"),
            temperature_c: temperature(root),
            throttle: throttle(root),
            caches: caches(&root.join(core).join("cache")),
            memory_bytes: text("proc/meminfo").and_then(|t| kilobytes(&t, "MemTotal")),
            os: os_name(&text("etc/os-release").unwrap_or_default(), text("proc/sys/kernel/osrelease")),
            board,
        }
    }
}

/// The value of the first line `key : value`.
fn value(text: &str, key: &str) -> Option<String> {
    let found = text.lines().filter_map(|l| l.split_once(':')).find(|(k, _)| k.trim() == key)?;
    Some(found.1.trim().to_owned()).filter(|v| !v.is_empty())
}

fn kilobytes(text: &str, key: &str) -> Option<u64> {
    Some(value(text, key)?.strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// The most memory that a process held, in bytes, from the text of its `status`.
#[must_use]
pub fn peak_memory(status: &str) -> Option<u64> {
    kilobytes(status, "VmHWM")
}

/// The processor's name from `/proc/cpuinfo`: as x86 gives it, or the cores that ARM's part numbers stand for.
fn cpu_name(cpuinfo: &str) -> Option<String> {
    if let Some(name) = value(cpuinfo, "model name") {
        return Some(name);
    }
    let parts: BTreeSet<_> = cpuinfo.lines().filter_map(|l| l.split_once(':')).filter(|(k, _)| k.trim() == "CPU part").map(|(_, v)| v.trim()).collect();
    let names: Vec<_> = parts.iter().map(|part| arm_core(part).unwrap_or(part)).collect();
    Some(names.join(" + ")).filter(|n| !n.is_empty())
}

/// ARM's own cores by the part number of their main ID register.
fn arm_core(part: &str) -> Option<&'static str> {
    Some(match part {
        "0xb76" => "ARM1176",
        "0xc07" => "Cortex-A7",
        "0xc08" => "Cortex-A8",
        "0xc09" => "Cortex-A9",
        "0xd03" => "Cortex-A53",
        "0xd05" => "Cortex-A55",
        "0xd07" => "Cortex-A57",
        "0xd08" => "Cortex-A72",
        "0xd0b" => "Cortex-A76",
        "0xd0c" => "Neoverse-N1",
        "0xd40" => "Neoverse-V1",
        "0xd42" => "Cortex-A78AE",
        "0xd49" => "Neoverse-N2",
        _ => return None,
    })
}

fn features(cpuinfo: &str) -> Vec<String> {
    let line = value(cpuinfo, "flags").or_else(|| value(cpuinfo, "Features")).unwrap_or_default();
    let known: BTreeSet<_> = line.split_whitespace().filter(|f| FEATURES.contains(f)).collect();
    known.into_iter().map(str::to_owned).collect()
}

fn os_name(release: &str, kernel: Option<String>) -> Option<String> {
    let name = release.lines().find_map(|l| l.strip_prefix("PRETTY_NAME=")).map(|n| n.trim_matches('"').to_owned());
    match (name, kernel) {
        (Some(name), Some(kernel)) => Some(format!("{name}, kernel {kernel}")),
        (name, kernel) => name.or(kernel),
    }
}

/// The entries of a folder, in order.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
    all.sort();
    all
}

fn line(path: PathBuf) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

/// The thermal zone of the processor, or else the first one; or the processor's own sensor.
fn temperature(root: &Path) -> Option<f64> {
    let zones = entries(&root.join("sys/class/thermal"));
    let sensors = entries(&root.join("sys/class/hwmon"));
    let of_cpu = |zone: &&PathBuf| line(zone.join("type")).is_some_and(|t| ["cpu", "pkg", "soc"].iter().any(|n| t.to_lowercase().contains(n)));
    let own = |sensor: &&PathBuf| line(sensor.join("name")).is_some_and(|n| ["coretemp", "k10temp", "cpu_thermal"].contains(&n.as_str()));
    let millidegrees = |path: PathBuf| Some(line(path)?.parse::<f64>().ok()? / 1000.0);
    let zone = zones.iter().filter(of_cpu).find_map(|z| millidegrees(z.join("temp")));
    zone.or_else(|| sensors.iter().filter(own).find_map(|s| millidegrees(s.join("temp1_input"))))
        .or_else(|| zones.iter().find_map(|z| millidegrees(z.join("temp"))))
}

fn throttle(root: &Path) -> Option<Throttle> {
    if let Some(bits) = line(root.join("sys/devices/platform/soc/soc:firmware/get_throttled")) {
        let bits = u32::from_str_radix(bits.trim_start_matches("0x"), 16).ok()?;
        return Some(Throttle::Now(bits & 0xF != 0));
    }
    let core = root.join("sys/devices/system/cpu/cpu0/thermal_throttle");
    let counts = ["core_throttle_count", "package_throttle_count"].iter().filter_map(|n| line(core.join(n))?.parse::<u64>().ok());
    counts.reduce(|a, b| a + b).map(Throttle::Count)
}

fn caches(folder: &Path) -> Vec<Cache> {
    let cache = |entry: &PathBuf| {
        let size = line(entry.join("size"))?;
        let (digits, unit) = size.split_at(size.find(|c: char| !c.is_ascii_digit()).unwrap_or(size.len()));
        let unit = match unit {
            "K" => 1 << 10,
            "M" => 1 << 20,
            _ => 1,
        };
        Some(Cache { level: line(entry.join("level"))?.parse().ok()?, kind: line(entry.join("type"))?, bytes: digits.parse::<u64>().ok()? * unit })
    };
    entries(folder).iter().filter_map(cache).collect()
}
