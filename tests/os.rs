//! Memory, cores and mapped files.
#![cfg(feature = "std")]

#[path = "support/tiny.rs"]
mod tiny;

use skipstone::os::OpenError;
use skipstone::os::host::{Host, peak_memory};
use skipstone::{Model, os};

#[test]
fn memory() {
    assert_eq!(peak_memory("Name:\tskipstone\nVmPeak:\t  999 kB\nVmHWM:\t    5120 kB\n"), Some(5120 * 1024));
    assert_eq!(peak_memory("VmHWM:\t lots kB\n"), None);
    assert!(os::page_bytes().is_power_of_two());
    assert!(os::cores() >= 1);
    let buffer = os::buffer(100_000).expect("memory");
    assert!(buffer.len() == 100_000 && buffer.as_ptr().addr().is_multiple_of(64) && buffer.iter().all(|&b| b == 0));
    assert!(os::buffer(usize::MAX / 2).is_err(), "an error where there is not as much memory");
    if cfg!(target_os = "linux") {
        assert!(os::peak_memory().expect("Linux says it") > 1 << 16);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_bound_thread_does_not_change_the_number_of_cores() {
    let bound = std::thread::spawn(|| (0..1024).any(|core| os::pin(core).is_ok()).then(os::cores)).join().expect("no panic");
    assert_eq!(bound, Some(std::thread::available_parallelism().expect("Linux says it").get()));
    assert_eq!(bound, Some(os::cores()));
}

#[cfg(target_os = "linux")]
#[test]
fn the_core_of_the_calling_thread() {
    let found = std::thread::spawn(|| (0..1024).filter(|&core| os::pin(core).is_ok()).take(2).map(|core| (core, Host::read().core)).collect::<Vec<_>>());
    let found = found.join().expect("no panic");
    assert!(!found.is_empty() && found.iter().all(|(bound, said)| bound == said), "{found:?}");
}

#[test]
fn opening_files() {
    let folder = std::env::temp_dir().join(format!("skipstone-os-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("writable");
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, bytes).expect("writable");
        path
    };
    let good = tiny::file(tiny::Options::default());
    let model = Model::open(&write("good.stone", &good)).expect("valid");
    assert_eq!(model.bytes(), good);
    assert!(matches!(Model::open(&write("cut.stone", &good[..good.len() - 1])), Err(OpenError::Parse(_))));
    assert!(matches!(Model::open(&write("empty.stone", &[])), Err(OpenError::NoFile)));
    assert!(matches!(Model::open(&folder), Err(OpenError::NoFile)));
    assert!(matches!(Model::open(&folder.join("nowhere")), Err(OpenError::Read(_))));
    std::fs::remove_dir_all(&folder).expect("ours");
}
