//! The kernel sets that are there and the one that is chosen are those that this CPU is known to have.
//!
//! `SKIPSTONE_EXPECTED_ISA=scalar,avx2` names them from slow to fast; without it the standard library says what the CPU has.

use skipstone::Kernels;

/// The sets that this CPU should have, by the detection of the standard library; `None` where it has none that is stable.
fn detected() -> Option<String> {
    #[cfg(target_arch = "x86_64")]
    let sets = {
        use std::arch::is_x86_feature_detected as has;
        let avx2 = has!("avx2");
        let avx512vnni = avx2 && has!("avx512f") && has!("avx512bw") && has!("avx512vl") && has!("avx512vnni");
        Some([("avx2", avx2), ("avxvnni", avx2 && has!("avxvnni")), ("avx512vnni", avx512vnni)])
    };
    #[cfg(all(target_arch = "aarch64", feature = "std"))]
    let sets = {
        use std::arch::is_aarch64_feature_detected as has;
        Some([("neon", has!("neon")), ("dotprod", has!("dotprod")), ("i8mm", has!("dotprod") && has!("i8mm"))])
    };
    #[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", feature = "std"))))]
    let sets: Option<[(&str, bool); 0]> = None;
    let there = sets?.into_iter().filter(|(_, there)| *there).map(|(name, _)| name);
    Some(core::iter::once("scalar").chain(there).collect::<Vec<_>>().join(","))
}

#[test]
fn the_expected_kernels_are_chosen() {
    let Some(expected) = std::env::var("SKIPSTONE_EXPECTED_ISA").ok().or_else(detected) else {
        eprintln!("skipped: nothing says what this CPU has, SKIPSTONE_EXPECTED_ISA could");
        return;
    };
    let names: Vec<_> = Kernels::all().map(|k| k.set().name()).collect();
    assert_eq!(names.join(","), expected, "the sets of this CPU");
    assert_eq!(Some(Kernels::detect().set().name()), expected.split(',').next_back(), "the chosen set");
    eprintln!("chosen: {}, of {expected}", Kernels::detect().set());
}
