//! What the system says of the machine, from stored samples; and the mapped file.
#![cfg(feature = "std")]

#[path = "support/tiny.rs"]
mod tiny;

use skipstone::os::OpenError;
use skipstone::os::host::{Cache, Host, Throttle, peak_memory};
use skipstone::{Model, os};
use std::path::Path;

fn sample(name: &str) -> Host {
    Host::read_from(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/os").join(name))
}

#[test]
fn a_raspberry_pi() {
    let expected = Host {
        cpu: Some("Cortex-A72".into()),
        board: Some("Raspberry Pi 4 Model B Rev 1.4".into()),
        features: vec!["asimd".into()],
        governor: Some("ondemand".into()),
        clock_mhz: Some(600.0),
        clock_max_mhz: Some(1800.0),
        temperature_c: Some(61.831),
        throttle: Some(Throttle::Now(true)),
        caches: Vec::new(),
        memory_bytes: Some(3_884_396 * 1024),
        os: Some("Debian GNU/Linux 12 (bookworm), kernel 6.1.21-v8+".into()),
    };
    assert_eq!(sample("pi4"), expected);
}

#[test]
fn a_laptop() {
    let host = sample("laptop");
    assert_eq!(host.cpu.as_deref(), Some("12th Gen Intel(R) Core(TM) i7-12700"));
    assert_eq!(host.features, ["avx", "avx2", "avx_vnni", "bmi2", "f16c", "fma", "gfni", "sse4_1", "ssse3"]);
    assert_eq!((host.clock_mhz, host.governor, host.os), (Some(2100.0), None, None));
    assert_eq!(host.temperature_c, Some(45.0), "the package, not the board");
    assert_eq!(host.throttle, Some(Throttle::Count(15)));
    assert_eq!(host.caches.len(), 4);
    assert_eq!(host.caches[2], Cache { level: 2, kind: "Unified".into(), bytes: 1280 << 10 });
}

#[test]
fn a_board_with_two_kinds_of_cores() {
    let host = sample("board");
    assert_eq!(host.cpu.as_deref(), Some("0xabc + Cortex-A55 + Cortex-A76"));
    assert_eq!((host.board.as_deref(), host.os.as_deref()), (Some("Some Board Rev B"), Some("6.1.0")));
    assert_eq!(host.features, ["asimd", "asimddp"]);
}

#[test]
fn a_machine_that_says_nothing() {
    assert_eq!(sample("nowhere"), Host::default());
}

#[test]
fn throttling_between_two_readings() {
    assert!(Throttle::between(Throttle::Count(3), Throttle::Count(4)));
    assert!(!Throttle::between(Throttle::Count(3), Throttle::Count(3)));
    assert!(Throttle::between(Throttle::Now(false), Throttle::Now(true)));
}

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
