//! What `/proc` and `/sys` say of the machine: a latency without it says little.

use super::clock::{self, Cluster};
use super::cpu::{self, value};
use super::power::{self, PowerMode};
use super::thermal::{self, Zone};
use super::throttle::{self, Throttle};
use super::tree::Tree;
use std::collections::BTreeMap;
use std::path::Path;

/// What is known of a machine. What it does not say is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    /// True if the program is emulated: then next to nothing is known.
    pub emulated: bool,
    /// Name of the processor.
    pub cpu: Option<String>,
    /// Name of the board, on boards that have one.
    pub board: Option<String>,
    /// Instructions that matter here, in the order of the alphabet.
    pub features: Vec<String>,
    /// Names of the cores, by their numbers.
    pub cores: BTreeMap<usize, String>,
    /// The core on which the calling thread ran when this was read: that of `governor` and the clocks.
    pub core: usize,
    /// What sets the clock: `performance`, `ondemand`, `schedutil` ...
    pub governor: Option<String>,
    /// Clock now, in MHz. Firmware that holds the clock down may not say so here.
    pub clock_mhz: Option<f64>,
    /// The highest clock, in MHz.
    pub clock_max_mhz: Option<f64>,
    /// Cores of one kind with one governor and the same limits, together.
    pub clusters: Vec<Cluster>,
    /// Temperature of the processor in degrees Celsius.
    pub temperature_c: Option<f64>,
    /// Where temperatures are measured.
    pub zones: Vec<Zone>,
    /// Whether the clock is or was held down.
    pub throttle: Option<Throttle>,
    /// The power mode of a Jetson.
    pub power_mode: Option<PowerMode>,
    /// Caches of the first core.
    pub caches: Vec<Cache>,
    /// Memory of the machine in bytes.
    pub memory_bytes: Option<u64>,
    /// Operating system and kernel.
    pub os: Option<String>,
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
        let root = Path::new("/");
        if cfg!(any(target_arch = "arm", target_arch = "aarch64")) { Self::read_by_arm(root) } else { Self::read_from(root) }
    }

    /// The machine under `root` as a program for ARM has it: what an x86 says of itself says nothing of the device that is emulated there.
    #[must_use]
    pub fn read_by_arm(root: &Path) -> Self {
        let host = Self::read_from(root);
        // Some emulators make up a `cpuinfo` of the device; the kernel still says what it runs on.
        let tree = Tree(root);
        let foreign = tree.text("proc/sys/kernel/arch").is_some_and(|arch| !arch.starts_with("arm") && !arch.starts_with("aarch64"));
        let emulated = foreign || tree.text("proc/cpuinfo").is_some_and(|cpuinfo| cpu::is_x86(&cpuinfo));
        if emulated { Self { emulated, core: host.core, memory_bytes: host.memory_bytes, os: host.os, ..Self::default() } } else { host }
    }

    /// The machine whose `proc`, `sys`, `etc` and `var` lie under `root`.
    #[must_use]
    pub fn read_from(root: &Path) -> Self {
        let tree = Tree(root);
        let cpuinfo = tree.text("proc/cpuinfo").unwrap_or_default();
        let board = tree.text("proc/device-tree/model").or_else(|| value(&cpuinfo, "Model"));
        let cores = cpu::cores(&cpuinfo);
        let core = tree.text("proc/thread-self/stat").and_then(|stat| last_core(&stat)).unwrap_or(0);
        let policies = clock::policies(tree, &cores);
        let own = policies.iter().find(|p| p.cores.contains(&core)).cloned().unwrap_or_default();
        let zones = thermal::zones(tree, board.as_deref());
        Self {
            emulated: false,
            cpu: cpu::name(&cpuinfo).or_else(|| board.clone()),
            features: cpu::features(&cpuinfo),
            cores,
            core,
            governor: own.governor,
            clock_mhz: own.clock_mhz.or_else(|| value(&cpuinfo, "cpu MHz")?.parse().ok()),
            clock_max_mhz: own.max_mhz,
            clusters: clock::clusters(&policies),
            temperature_c: thermal::processor(tree, &zones),
            zones,
            throttle: throttle::read(tree),
            power_mode: power::read(tree),
            caches: caches(tree),
            memory_bytes: tree.text("proc/meminfo").and_then(|t| kilobytes(&t, "MemTotal")),
            os: os_name(&tree.text("etc/os-release").unwrap_or_default(), tree.text("proc/sys/kernel/osrelease")),
            board,
        }
    }
}

/// The core on which a thread last ran: field 39 of its `stat`, counted behind the name, which may hold anything.
fn last_core(stat: &str) -> Option<usize> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(36)?.parse().ok()
}

fn kilobytes(text: &str, key: &str) -> Option<u64> {
    value(text, key)?.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The most memory that a process held, in bytes, from the text of its `status`.
#[must_use]
pub fn peak_memory(status: &str) -> Option<u64> {
    kilobytes(status, "VmHWM")
}

fn os_name(release: &str, kernel: Option<String>) -> Option<String> {
    let name = release.lines().find_map(|l| l.strip_prefix("PRETTY_NAME=")).map(|n| n.trim_matches('"').to_owned());
    match (name, kernel) {
        (Some(name), Some(kernel)) => Some(format!("{name}, kernel {kernel}")),
        (name, kernel) => name.or(kernel),
    }
}

fn caches(tree: Tree<'_>) -> Vec<Cache> {
    let cache = |entry: &String| {
        let size = tree.text(&format!("{entry}/size"))?;
        let (digits, unit) = size.split_at(size.find(|c: char| !c.is_ascii_digit()).unwrap_or(size.len()));
        let unit = match unit {
            "K" => 1 << 10,
            "M" => 1 << 20,
            _ => 1,
        };
        let bytes = digits.parse::<u64>().ok()?.checked_mul(unit)?;
        Some(Cache { level: tree.number(&format!("{entry}/level"))?, kind: tree.text(&format!("{entry}/type"))?, bytes })
    };
    tree.entries("sys/devices/system/cpu/cpu0/cache", "index").iter().filter_map(cache).collect()
}
