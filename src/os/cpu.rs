//! What `/proc/cpuinfo` says: names of the cores, and the instructions that matter here.

use std::collections::{BTreeMap, BTreeSet};

/// Features that decide which kernels run, or how fast.
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

/// The value of the first line `key : value`.
pub(super) fn value(text: &str, key: &str) -> Option<String> {
    let found = text.lines().filter_map(|l| l.split_once(':')).find(|(k, _)| k.trim() == key)?;
    Some(found.1.trim().to_owned()).filter(|v| !v.is_empty())
}

/// The processor's name: the kinds of its cores where ARM's part numbers tell them, else as it calls itself.
pub(super) fn name(cpuinfo: &str) -> Option<String> {
    let parts: BTreeSet<_> = lines(cpuinfo).filter(|(key, _)| *key == "CPU part").map(|(_, part)| part).collect();
    let kinds: Vec<_> = parts.iter().map(|part| arm_core(part).unwrap_or(part)).collect();
    Some(kinds.join(" + ")).filter(|n| !n.is_empty()).or_else(|| value(cpuinfo, "model name"))
}

/// The name of every core, by its number.
pub(super) fn cores(cpuinfo: &str) -> BTreeMap<usize, String> {
    let (mut names, mut core) = (BTreeMap::new(), None);
    for (key, value) in lines(cpuinfo) {
        match key {
            "processor" => core = value.parse().ok(),
            "CPU part" => drop(core.and_then(|core| names.insert(core, arm_core(value).unwrap_or(value).to_owned()))),
            "model name" => drop(core.map(|core| names.entry(core).or_insert_with(|| value.to_owned()))),
            _ => {}
        }
    }
    names
}

/// Instructions that matter here, in the order of the alphabet.
pub(super) fn features(cpuinfo: &str) -> Vec<String> {
    let line = value(cpuinfo, "flags").or_else(|| value(cpuinfo, "Features")).unwrap_or_default();
    let known: BTreeSet<_> = line.split_whitespace().filter(|f| FEATURES.contains(f)).collect();
    known.into_iter().map(str::to_owned).collect()
}

fn lines(cpuinfo: &str) -> impl Iterator<Item = (&str, &str)> {
    cpuinfo.lines().filter_map(|l| l.split_once(':')).map(|(key, value)| (key.trim(), value.trim()))
}

/// Cores by the part number of their main ID register: ARM's own, and two of NVIDIA's whose numbers are not among ARM's.
fn arm_core(part: &str) -> Option<&'static str> {
    Some(match part {
        "0x003" => "Denver 2",
        "0x004" => "Carmel",
        "0xb76" => "ARM1176",
        "0xc07" => "Cortex-A7",
        "0xc08" => "Cortex-A8",
        "0xc09" => "Cortex-A9",
        "0xc0f" => "Cortex-A15",
        "0xd03" => "Cortex-A53",
        "0xd04" => "Cortex-A35",
        "0xd05" => "Cortex-A55",
        "0xd07" => "Cortex-A57",
        "0xd08" => "Cortex-A72",
        "0xd09" => "Cortex-A73",
        "0xd0a" => "Cortex-A75",
        "0xd0b" => "Cortex-A76",
        "0xd0c" => "Neoverse-N1",
        "0xd0d" => "Cortex-A77",
        "0xd40" => "Neoverse-V1",
        "0xd41" => "Cortex-A78",
        "0xd42" => "Cortex-A78AE",
        "0xd46" => "Cortex-A510",
        "0xd47" => "Cortex-A710",
        "0xd49" => "Neoverse-N2",
        "0xd4f" => "Neoverse-V2",
        "0xd80" => "Cortex-A520",
        "0xd81" => "Cortex-A720",
        "0xd83" => "Neoverse-V3AE",
        _ => return None,
    })
}
