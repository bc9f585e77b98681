//! What would make a measured time wrong, said before it is measured, one line each.

use super::clock::{Cluster, ranges};
use super::host::Host;
use super::thermal::Zone;
use super::throttle::{Throttle, advice, names};

/// Nearer than this to where the clock is held down, a measurement is likely to get there: degrees.
const NEAR_C: f64 = 10.0;

/// What to know before a measurement on these cores, or on any if there are none.
#[must_use]
pub fn before(host: &Host, cores: &[usize]) -> Vec<String> {
    let clusters: Vec<_> = host.clusters.iter().filter(|c| cores.is_empty() || c.cores.iter().any(|core| cores.contains(core))).collect();
    [emulated(host), governor(&clusters), limit(&clusters), power_mode(host), throttled(host), throttled_earlier(host), hot(host)]
        .into_iter()
        .flatten()
        .collect()
}

/// What to know after a measurement: that throttling began meanwhile.
#[must_use]
pub fn after(before: &Host, after: &Host) -> Option<String> {
    let (before, after) = before.throttle.as_ref().zip(after.throttle.as_ref())?;
    let began = &Throttle::between(before, after) - &before.now;
    let names = names(&began)?;
    Some(format!("the clock was held down during the measurement ({names}), the times are too long: {}", advice(&began)))
}

/// Clusters for which `what` gives something, as one list.
fn list(clusters: &[&Cluster], what: impl Fn(&Cluster) -> Option<String>) -> Option<String> {
    let found: Vec<_> = clusters.iter().filter_map(|c| Some(format!("{} on cores {}", what(c)?, ranges(&c.cores)))).collect();
    Some(found.join(", ")).filter(|l| !l.is_empty())
}

fn emulated(host: &Host) -> Option<String> {
    host.emulated.then(|| "emulated: this program for ARM runs on an x86, its times say nothing about the device: measure on the device itself".to_owned())
}

fn governor(clusters: &[&Cluster]) -> Option<String> {
    let list = list(clusters, |c| c.governor.clone().filter(|g| g != "performance"))?;
    let set = "echo performance | sudo tee /sys/devices/system/cpu/cpufreq/policy*/scaling_governor";
    Some(format!("the governor is {list}, so the clock changes with the load: `{set}`"))
}

fn limit(clusters: &[&Cluster]) -> Option<String> {
    let of = |c: &Cluster| c.limit_mhz.zip(c.max_mhz).filter(|_| c.limited()).map(|(limit, max)| format!("{limit:.0} of {max:.0} MHz"));
    Some(format!("the clock is limited to {}: see scaling_max_freq in /sys/devices/system/cpu/cpufreq", list(clusters, of)?))
}

fn power_mode(host: &Host) -> Option<String> {
    let mode = host.power_mode.as_ref()?;
    let (id, name) = mode.higher.as_ref()?;
    Some(format!("the power mode is {}, not the highest: `sudo nvpmodel -m {id}` sets {name}", mode.label()))
}

fn throttled(host: &Host) -> Option<String> {
    let now = &host.throttle.as_ref()?.now;
    Some(format!("the clock is held down now ({}): {}", names(now)?, advice(now)))
}

fn throttled_earlier(host: &Host) -> Option<String> {
    let throttle = host.throttle.as_ref()?;
    let earlier = &throttle.since_boot() - &throttle.now;
    Some(format!("the clock has been held down since the machine started ({}): {}", names(&earlier)?, advice(&earlier)))
}

fn hot(host: &Host) -> Option<String> {
    let near = |zone: &&Zone| zone.margin_c().is_some_and(|m| m <= NEAR_C);
    let zone = host.zones.iter().filter(near).min_by(|a, b| a.margin_c().partial_cmp(&b.margin_c()).unwrap_or(core::cmp::Ordering::Equal))?;
    let (name, now, limit) = (&zone.name, zone.temperature_c, zone.limit_c?);
    Some(format!("{name} is at {now:.0} degrees and the clock is held down from {limit:.0} on: cool the processor, or let it rest"))
}
