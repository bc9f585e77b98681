//! The kernel sets that are there and the one that is chosen are those that this CPU is known to have.
//!
//! `SKIPSTONE_EXPECTED_ISA=scalar,avx2` names them from slow to fast; without it nothing is known of the CPU and nothing is tested.

use skipstone::Kernels;

#[test]
fn the_expected_kernels_are_chosen() {
    let Ok(expected) = std::env::var("SKIPSTONE_EXPECTED_ISA") else {
        eprintln!("skipped: SKIPSTONE_EXPECTED_ISA does not say what this CPU has");
        return;
    };
    let names: Vec<_> = Kernels::all().map(|k| k.set().name()).collect();
    assert_eq!(names.join(","), expected, "the sets of this CPU");
    assert_eq!(Some(Kernels::detect().set().name()), expected.split(',').next_back(), "the chosen set");
    eprintln!("chosen: {}, of {expected}", Kernels::detect().set());
}
