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

/// Whether it is the text of an x86.
pub(super) fn is_x86(cpuinfo: &str) -> bool {
    value(cpuinfo, "vendor_id").is_some() && value(cpuinfo, "CPU implementer").is_none()
}

/// The processor's name: the kinds of its cores where ARM's part numbers tell them, else as it calls itself.
pub(super) fn name(cpuinfo: &str) -> Option<String> {
    let kinds: BTreeSet<_> = arm_cores(cpuinfo).into_iter().map(|(_, kind)| kind).collect();
    let kinds: Vec<_> = kinds.into_iter().collect();
    Some(kinds.join(" + ")).filter(|n| !n.is_empty()).or_else(|| value(cpuinfo, "model name"))
}

/// The name of every core, by its number.
pub(super) fn cores(cpuinfo: &str) -> BTreeMap<usize, String> {
    let (mut names, mut core) = (BTreeMap::new(), None);
    for (key, value) in lines(cpuinfo) {
        match key {
            "processor" => core = value.parse().ok(),
            "model name" => drop(core.map(|core| names.insert(core, value.to_owned()))),
            _ => {}
        }
    }
    names.extend(arm_cores(cpuinfo).into_iter().filter_map(|(core, kind)| Some((core?, kind))));
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

/// What kind each core of an ARM processor is, beside its number where one stands before it.
fn arm_cores(cpuinfo: &str) -> Vec<(Option<usize>, String)> {
    let (mut kinds, mut core, mut implementer) = (Vec::new(), None, "");
    for (key, value) in lines(cpuinfo) {
        match key {
            "processor" => core = value.parse().ok(),
            "CPU implementer" => implementer = value,
            "CPU part" => kinds.push((core, arm_core(implementer, value))),
            _ => {}
        }
    }
    kinds
}

/// The name of a core by its main ID register, or else the numbers there: each implementer counts its parts by itself.
fn arm_core(implementer: &str, part: &str) -> String {
    const ARM: &str = "0x41";
    const NVIDIA: &str = "0x4e";
    const QUALCOMM: &str = "0x51";
    const AMPERE: &str = "0xc0";
    let known = match (implementer, part) {
        (ARM, "0xb76") => "ARM1176",
        (ARM, "0xc07") => "Cortex-A7",
        (ARM, "0xc08") => "Cortex-A8",
        (ARM, "0xc09") => "Cortex-A9",
        (ARM, "0xc0f") => "Cortex-A15",
        (ARM, "0xd03") => "Cortex-A53",
        (ARM, "0xd04") => "Cortex-A35",
        (ARM, "0xd05") => "Cortex-A55",
        (ARM, "0xd07") => "Cortex-A57",
        (ARM, "0xd08") => "Cortex-A72",
        (ARM, "0xd09") => "Cortex-A73",
        (ARM, "0xd0a") => "Cortex-A75",
        (ARM, "0xd0b") => "Cortex-A76",
        (ARM, "0xd0c") => "Neoverse-N1",
        (ARM, "0xd0d") => "Cortex-A77",
        (ARM, "0xd40") => "Neoverse-V1",
        (ARM, "0xd41") => "Cortex-A78",
        (ARM, "0xd42") => "Cortex-A78AE",
        (ARM, "0xd46") => "Cortex-A510",
        (ARM, "0xd47") => "Cortex-A710",
        (ARM, "0xd49") => "Neoverse-N2",
        (ARM, "0xd4f") => "Neoverse-V2",
        (ARM, "0xd80") => "Cortex-A520",
        (ARM, "0xd81") => "Cortex-A720",
        (ARM, "0xd83") => "Neoverse-V3AE",
        (NVIDIA, "0x003") => "Denver 2",
        (NVIDIA, "0x004") => "Carmel",
        (QUALCOMM, "0x001") => "Oryon",
        (QUALCOMM, "0x802") => "Kryo 3xx Gold",
        (QUALCOMM, "0x803") => "Kryo 3xx Silver",
        (QUALCOMM, "0x804") => "Kryo 4xx Gold",
        (QUALCOMM, "0x805") => "Kryo 4xx Silver",
        (AMPERE, "0xac3") => "Ampere-1",
        _ => return format!("part {part} of implementer {implementer}"),
    };
    known.to_owned()
}
