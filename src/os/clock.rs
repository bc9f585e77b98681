//! What `cpufreq` says: the clocks of the cores, and what sets them.

use super::tree::Tree;
use std::collections::BTreeMap;

/// Cores of one kind with one governor and the same limits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cluster {
    /// Their numbers, rising.
    pub cores: Vec<usize>,
    /// What they are called, where that is known.
    pub name: Option<String>,
    /// What sets the clock: `performance`, `ondemand`, `schedutil` ...
    pub governor: Option<String>,
    /// The fastest clock among them now, in MHz. Firmware that holds the clock down may not say so here.
    pub clock_mhz: Option<f64>,
    /// The highest clock that the governor may choose, in MHz.
    pub limit_mhz: Option<f64>,
    /// The highest clock of these cores, in MHz.
    pub max_mhz: Option<f64>,
}

impl Cluster {
    /// Whether the governor may not choose the highest clock.
    #[must_use]
    pub fn limited(&self) -> bool {
        self.limit_mhz.zip(self.max_mhz).is_some_and(|(limit, max)| limit < max)
    }

    fn like(&self, other: &Self) -> bool {
        (&self.name, &self.governor, self.limit_mhz, self.max_mhz) == (&other.name, &other.governor, other.limit_mhz, other.max_mhz)
    }
}

/// The cores that share a clock, one entry a policy of the kernel.
pub(super) fn policies(tree: Tree<'_>, names: &BTreeMap<usize, String>) -> Vec<Cluster> {
    let policy = |path: &String| {
        let cores = tree.text(&format!("{path}/affected_cpus")).or_else(|| tree.text(&format!("{path}/related_cpus")));
        let mut cores: Vec<usize> = cores?.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        cores.sort_unstable();
        let mhz = |name: &str| tree.thousandths(&format!("{path}/{name}"));
        Some(Cluster {
            name: names.get(cores.first()?).cloned(),
            governor: tree.text(&format!("{path}/scaling_governor")),
            clock_mhz: mhz("scaling_cur_freq"),
            limit_mhz: mhz("scaling_max_freq"),
            max_mhz: mhz("cpuinfo_max_freq"),
            cores,
        })
    };
    tree.entries("sys/devices/system/cpu/cpufreq", "policy").iter().filter_map(policy).collect()
}

/// Policies that are alike, taken together.
pub(super) fn clusters(policies: &[Cluster]) -> Vec<Cluster> {
    let mut clusters: Vec<Cluster> = Vec::new();
    for policy in policies {
        if let Some(cluster) = clusters.iter_mut().find(|c| c.like(policy)) {
            cluster.cores.extend(&policy.cores);
            cluster.cores.sort_unstable();
            cluster.clock_mhz = [cluster.clock_mhz, policy.clock_mhz].into_iter().flatten().reduce(f64::max);
        } else {
            clusters.push(policy.clone());
        }
    }
    clusters
}

/// Numbers as they are written for people: `0-3,6`. The numbers must rise.
#[must_use]
pub fn ranges(numbers: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &n in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == n => *last = n,
            _ => runs.push((n, n)),
        }
    }
    let text: Vec<_> = runs.iter().map(|&(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") }).collect();
    text.join(",")
}
