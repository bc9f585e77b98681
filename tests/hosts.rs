//! What is read of machines whose files are stored, and what is said of it before a measurement.
#![cfg(feature = "std")]

#[path = "support/hosts.rs"]
mod hosts;

use hosts::Stored;
use skipstone::os::caution;
use skipstone::os::clock::{Cluster, ranges};
use skipstone::os::host::{Cache, Host};
use skipstone::os::power::PowerMode;
use skipstone::os::throttle::{Reason, Throttle, advice, names};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

fn cluster(cores: &[usize], name: &str, governor: &str, mhz: [f64; 3]) -> Cluster {
    let [clock, limit, max] = mhz.map(Some);
    Cluster { cores: cores.to_vec(), name: Some(name.into()), governor: Some(governor.into()), clock_mhz: clock, limit_mhz: limit, max_mhz: max }
}

fn throttle(now: &[Reason], past: &[Reason], counts: &[(Reason, u64)]) -> Option<Throttle> {
    Some(Throttle { now: now.iter().copied().collect(), past: past.iter().copied().collect(), counts: counts.iter().copied().collect() })
}

/// Fails unless the warnings are as many and hold these words, one after the other.
#[track_caller]
fn warns(host: &Host, cores: &[usize], expected: &[&[&str]]) {
    let said = caution::before(host, cores);
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    for (line, words) in said.iter().zip(expected) {
        assert!(!line.contains('\n') && words.iter().all(|w| line.contains(w)), "{line}\n{words:?}");
    }
}

#[test]
fn a_raspberry_pi_3() {
    let stored = Stored::new("pi3", "pi3");
    let host = stored.read();
    assert_eq!((host.cpu.as_deref(), host.board.as_deref()), (Some("Cortex-A53"), Some("Raspberry Pi 3 Model B Plus Rev 1.3")));
    assert_eq!(host.features, ["neon", "vfpv4"]);
    assert_eq!(host.clusters, [cluster(&[0, 1, 2, 3], "Cortex-A53", "ondemand", [1400.0; 3])]);
    assert_eq!(host.throttle, throttle(&[Reason::SoftLimit], &[Reason::UnderVoltage, Reason::SoftLimit], &[]));
    assert_eq!((host.temperature_c, host.zones[0].limit_c), (Some(61.224), Some(60.0)));
    let (governor, now) = (["ondemand on cores 0-3", "scaling_governor"], ["now (soft temperature limit): cool"]);
    warns(&host, &[], &[&governor, &now, &["since the machine started (under-voltage)", "power supply"], &["61 degrees", "60"]]);
    stored.write("sys/class/thermal/thermal_zone0/trip_point_1_type", "passive\n");
    stored.write("sys/class/thermal/thermal_zone0/trip_point_1_temp", "80000\n");
    assert_eq!(stored.read().zones[0].limit_c, Some(60.0), "its firmware comes before the kernel");
}

#[test]
fn a_raspberry_pi_4() {
    let stored = Stored::new("pi4", "pi4");
    let host = stored.read();
    let expected = Host {
        emulated: false,
        cpu: Some("Cortex-A72".into()),
        board: Some("Raspberry Pi 4 Model B Rev 1.4".into()),
        features: vec!["asimd".into()],
        cores: (0..4).map(|i| (i, "Cortex-A72".into())).collect(),
        core: 0,
        governor: Some("ondemand".into()),
        clock_mhz: Some(600.0),
        clock_max_mhz: Some(1800.0),
        clusters: vec![cluster(&[0, 1, 2, 3], "Cortex-A72", "ondemand", [600.0, 1500.0, 1800.0])],
        temperature_c: Some(61.831),
        zones: host.zones.clone(),
        throttle: throttle(&[Reason::UnderVoltage, Reason::Throttled], &[Reason::UnderVoltage, Reason::Throttled], &[]),
        power_mode: None,
        caches: Vec::new(),
        memory_bytes: Some(3_884_396 * 1024),
        os: Some("Debian GNU/Linux 12 (bookworm), kernel 6.1.21-v8+".into()),
    };
    assert_eq!(host, expected);
    assert_eq!(host.zones[0].margin_c(), Some(80.0 - 61.831), "the firmware begins at 80 degrees");
    let supply = ["held down now (under-voltage, throttled): use a stronger power supply"];
    warns(&host, &[], &[&["ondemand"], &["limited to 1500 of 1800 MHz on cores 0-3"], &supply]);
    stored.write("sys/devices/platform/soc/soc:firmware/get_throttled", "not a number\n");
    assert_eq!(stored.read().throttle, throttle(&[Reason::UnderVoltage], &[], &[]), "the voltage monitor still says it");
    stored.remove("sys/class/hwmon/hwmon1/in0_lcrit_alarm");
    assert_eq!(stored.read().throttle, None);
}

#[test]
fn a_raspberry_pi_5() {
    let stored = Stored::new("pi5", "pi5");
    let host = stored.read();
    assert_eq!((host.cpu.as_deref(), host.core, host.governor.as_deref()), (Some("Cortex-A76"), 2, Some("performance")));
    assert_eq!(host.features, ["asimd", "asimddp", "asimdhp"]);
    assert_eq!((host.clock_mhz, host.temperature_c), (Some(2400.0), Some(54.85)));
    assert_eq!(host.throttle, Some(Throttle::default()), "a fan that turns is no throttling");
    warns(&host, &[], &[]);
    assert_eq!(caution::after(&host, &host), None);
    stored.write("sys/class/thermal/thermal_zone0/temp", "70000\n");
    warns(&stored.read(), &[], &[&["cpu-thermal is at 70 degrees", "from 80"]]);
    stored.write("sys/class/thermal/thermal_zone0/temp", "85300\n");
    stored.write("sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled", "e000e\n");
    let hot = stored.read();
    assert_eq!(names(&hot.throttle.as_ref().expect("said").now).as_deref(), Some("frequency capped, throttled, soft temperature limit"));
    warns(&hot, &[], &[&["now (frequency capped, throttled, soft temperature limit): cool the processor"], &["85 degrees"]]);
    assert!(caution::after(&host, &hot).is_some_and(|w| w.contains("during the measurement (frequency capped") && w.ends_with("cool the processor")));
    assert_eq!(caution::after(&hot, &hot), None, "that was said before it");
}

#[test]
fn other_places_of_the_firmware() {
    let stored = Stored::new("pi5", "places");
    stored.remove("sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled");
    assert_eq!(stored.read().throttle, Some(Throttle::default()), "from the voltage monitor");
    stored.write("sys/devices/platform/soc:firmware/get_throttled", "0x20000\n");
    assert_eq!(stored.read().throttle, throttle(&[], &[Reason::Capped], &[]));
    stored.write("sys/bus/platform/drivers/raspberrypi-firmware/scb:firmware/get_throttled", "f000f\n");
    let all = [Reason::UnderVoltage, Reason::Capped, Reason::Throttled, Reason::SoftLimit];
    assert_eq!(stored.read().throttle, throttle(&all, &all, &[]));
    let both = advice(&all.into());
    assert!(both.contains("power supply") && both.contains("cool"), "{both}");
}

#[test]
fn a_jetson_nano() {
    let stored = Stored::new("jetson-nano", "nano");
    let host = stored.read();
    assert_eq!((host.cpu.as_deref(), host.board.as_deref()), (Some("Cortex-A57"), Some("NVIDIA Jetson Nano Developer Kit")));
    assert_eq!(host.clusters, [cluster(&[0, 1], "Cortex-A57", "schedutil", [918.0, 918.0, 1479.0])]);
    assert_eq!(host.power_mode, Some(PowerMode { id: 1, name: Some("5W".into()), higher: Some((0, "MAXN".into())) }));
    assert_eq!((host.temperature_c, host.zones.len()), (Some(34.0), 6));
    let limits: Vec<_> = host.zones.iter().map(|z| z.limit_c).collect();
    assert_eq!(limits, [None, Some(97.0), None, None, None, None]);
    assert_eq!(host.throttle, Some(Throttle::default()));
    warns(&host, &[], &[&["schedutil on cores 0-1"], &["918 of 1479 MHz"], &["5W", "sudo nvpmodel -m 0", "MAXN"]]);
    stored.write("sys/class/thermal/cooling_device0/cur_state", "4\n");
    assert_eq!(stored.read().throttle, throttle(&[Reason::Heat], &[], &[]));
    for (status, mode) in [("pmode:0000 fmode:cool", "MAXN"), ("pmode:0007", "7")] {
        stored.write("var/lib/nvpmodel/status", status);
        let mode_now = stored.read().power_mode.expect("a mode");
        assert_eq!((mode_now.label().as_str(), mode_now.higher), (mode, None));
    }
    for wrong in ["pmode:", "fmode:quiet", "pmode:99999999999", ""] {
        stored.write("var/lib/nvpmodel/status", wrong);
        assert_eq!(stored.read().power_mode, None, "{wrong}");
    }
}

#[test]
fn modes_with_the_most_power() {
    let stored = Stored::new("jetson-orin", "modes");
    let higher = |own: u32, names: &[&str]| {
        let modes: Vec<_> = names.iter().enumerate().map(|(id, name)| format!("< POWER_MODEL ID={id} NAME={name} >")).collect();
        stored.write("etc/nvpmodel.conf", &modes.join("\nCPU_A78_0 MAX_FREQ -1\n"));
        stored.write("var/lib/nvpmodel/status", &format!("pmode:{own:04}\n"));
        stored.read().power_mode.expect("a mode").higher.map(|(id, _)| id)
    };
    let super_modes = ["15W", "25W", "MAXN_SUPER", "7W"];
    assert_eq!((0..4).map(|own| higher(own, &super_modes)).collect::<Vec<_>>(), [Some(2), Some(2), None, Some(2)]);
    let xavier = ["MODE_15W_2CORE", "MODE_15W_4CORE", "MODE_10W_2CORE", "MODE_20W_6CORE", "MODE_20W_2CORE"];
    assert_eq!((0..5).map(|own| higher(own, &xavier)).collect::<Vec<_>>(), [Some(3), Some(3), Some(3), None, None]);
    assert_eq!(higher(1, &["MAXN", "MODE_50W"]), Some(0));
}

#[test]
fn a_jetson_orin() {
    let stored = Stored::new("jetson-orin", "orin");
    let host = stored.read();
    assert_eq!(host.clusters, [cluster(&[0, 1, 2, 3, 4, 5], "Cortex-A78AE", "schedutil", [1344.0, 1510.4, 1510.4])]);
    assert_eq!((host.temperature_c, host.zones.len()), (Some(98.125), 6), "zones that cannot be read are left out");
    assert_eq!(host.power_mode, Some(PowerMode { id: 0, name: Some("15W".into()), higher: None }));
    assert_eq!(host.throttle, throttle(&[Reason::Heat], &[], &[(Reason::UnderVoltage, 0), (Reason::OverCurrent, 52)]));
    let (supply, heat) = (["started (over-current): use a stronger"], ["cpu-thermal is at 98 degrees", "from 99"]);
    warns(&host, &[], &[&["schedutil"], &["now (heat): cool"], &supply, &heat]);
    stored.write("sys/class/hwmon/hwmon3/oc1_event_cnt", "2\n");
    assert!(caution::after(&host, &stored.read()).is_some_and(|w| w.contains("(under-voltage)") && w.contains("power supply")));
}

#[test]
fn a_board_with_two_kinds_of_cores() {
    let stored = Stored::new("rk3588", "rk3588");
    let host = stored.read();
    assert_eq!(host.cpu.as_deref(), Some("Cortex-A55 + Cortex-A76"));
    let little = cluster(&[0, 1, 2, 3], "Cortex-A55", "ondemand", [1800.0; 3]);
    assert_eq!(host.clusters, [little, cluster(&[4, 5, 6, 7], "Cortex-A76", "performance", [2400.0; 3])]);
    assert_eq!((host.core, host.clock_mhz, host.governor.as_deref()), (6, Some(2400.0), Some("performance")), "of the core on which it runs");
    assert_eq!((host.cores[&3].as_str(), host.cores[&4].as_str()), ("Cortex-A55", "Cortex-A76"));
    assert_eq!(host.temperature_c, Some(48.076), "the hottest core");
    warns(&host, &[], &[&["ondemand on cores 0-3"]]);
    warns(&host, &[3, 4], &[&["ondemand on cores 0-3"]]);
    warns(&host, &[4, 7], &[]);
    stored.write("sys/devices/system/cpu/cpufreq/policy6/scaling_max_freq", "1608000\n");
    warns(&stored.read(), &[4, 5, 6], &[&["1608 of 2400 MHz on cores 6-7"]]);
}

#[test]
fn a_laptop() {
    let stored = Stored::new("laptop", "laptop");
    let host = stored.read();
    assert_eq!(host.cpu.as_deref(), Some("12th Gen Intel(R) Core(TM) i7-12700"));
    assert_eq!(host.features, ["avx", "avx2", "avx_vnni", "bmi2", "f16c", "fma", "gfni", "sse4_1", "ssse3"]);
    assert_eq!((host.clock_mhz, host.governor.clone(), host.os.clone()), (Some(2100.0), None, None));
    assert_eq!(host.temperature_c, Some(45.0), "the package, not the board");
    assert_eq!(host.zones[1].limit_c, None, "trip points at or below the freezing point stand for none");
    assert_eq!(host.throttle, throttle(&[], &[], &[(Reason::Heat, 15)]));
    assert_eq!(host.caches.len(), 4);
    assert_eq!(host.caches[2], Cache { level: 2, kind: "Unified".into(), bytes: 1280 << 10 });
    warns(&host, &[], &[&["since the machine started (heat)"]]);
    stored.write("sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count", "4\n");
    assert!(caution::after(&host, &stored.read()).is_some_and(|w| w.contains("(heat)")));
}

#[test]
fn a_server() {
    let host = Stored::new("server", "server").read();
    assert_eq!(host.cpu.as_deref(), Some("AMD EPYC 9354P 32-Core Processor"));
    assert_eq!(host.clusters, [cluster(&[0, 1, 2, 3], "AMD EPYC 9354P 32-Core Processor", "schedutil", [3799.947, 3250.0, 3250.0])]);
    assert_eq!((host.clock_mhz, host.clock_max_mhz), (Some(1500.0), Some(3250.0)), "of the first core");
    assert_eq!((host.temperature_c, &host.throttle, &host.power_mode), (Some(43.25), &None, &None), "the processor, not the disk");
    warns(&host, &[], &[&["schedutil on cores 0-3"]]);
}

#[test]
fn a_device_that_is_emulated() {
    let stored = Stored::new("server", "emulated");
    let host = Host::read_by_arm(stored.root());
    let real = stored.read();
    assert_eq!(host, Host { emulated: true, memory_bytes: real.memory_bytes, os: real.os, ..Host::default() }, "nothing of the x86's processor");
    assert!(host.os.is_some());
    warns(&host, &[], &[&["emulated", "nothing about the device"]]);
    let board = Stored::new("pi4", "real");
    assert_eq!(Host::read_by_arm(board.root()), board.read());
}

#[test]
fn part_numbers_are_the_implementers_own() {
    let stored = Stored::new("pi4", "parts");
    let core = |implementer: &str, part: &str| {
        stored.write("proc/cpuinfo", &format!("processor\t: 0\nCPU implementer\t: {implementer}\nCPU part\t: {part}\n"));
        let host = stored.read();
        assert_eq!(host.cores[&0], host.cpu.clone().expect("a name"));
        host.cores[&0].clone()
    };
    assert_eq!(core("0x4e", "0x004"), "Carmel");
    assert_eq!(core("0x51", "0x804"), "Kryo 4xx Gold");
    assert_eq!(core("0x41", "0xd0b"), "Cortex-A76");
    assert_eq!(core("0x41", "0x004"), "part 0x004 of implementer 0x41");
    assert_eq!(core("0x51", "0xd0b"), "part 0xd0b of implementer 0x51");
}

#[test]
fn a_machine_that_says_nothing() {
    let host = Host::read_from(Path::new("/nowhere"));
    assert_eq!(host, Host::default());
    warns(&host, &[], &[]);
    assert_eq!(caution::after(&host, &host), None);
}

#[test]
fn throttling_between_two_readings() {
    let of = |now: &[Reason], past: &[Reason], counts: &[(Reason, u64)]| throttle(now, past, counts).expect("some");
    let between = |a: &Throttle, b: &Throttle| Throttle::between(a, b).into_iter().collect::<Vec<_>>();
    let (none, count) = (Throttle::default(), |n| of(&[], &[], &[(Reason::Heat, n)]));
    assert_eq!(between(&none, &none), []);
    assert_eq!((between(&count(3), &count(4)), between(&count(3), &count(3))), (vec![Reason::Heat], vec![]));
    let now = of(&[Reason::UnderVoltage], &[], &[]);
    assert_eq!((between(&now, &none), between(&none, &now)), (vec![Reason::UnderVoltage], vec![Reason::UnderVoltage]));
    let past = of(&[], &[Reason::Capped], &[]);
    assert_eq!((between(&none, &past), between(&past, &past)), (vec![Reason::Capped], vec![]), "a flag that came meanwhile counts, an old one does not");
    assert_eq!(past.since_boot(), BTreeSet::from([Reason::Capped]));
    assert_eq!(Throttle { counts: BTreeMap::from([(Reason::Heat, 0)]), ..none }.since_boot(), BTreeSet::new());
}

#[test]
fn numbers_of_cores() {
    assert_eq!([&[0, 1, 2, 3][..], &[4], &[0, 2, 3, 6, 7], &[]].map(ranges), ["0-3", "4", "0,2-3,6-7", ""]);
}
