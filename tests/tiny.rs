//! The hand-made network of the other tests is what it claims to be.

#[path = "support/tiny.rs"]
mod tiny;

use skipstone::format::proof;
use skipstone::{Kernels, Model, PlanKind, Session};
use std::collections::HashSet;

#[test]
fn it_is_valid_deterministic_and_proven() {
    let options = tiny::Options { small: true, ..Default::default() };
    let file = tiny::file(options);
    assert_eq!(file, tiny::file(options));
    assert_ne!(file, tiny::file(tiny::Options { seed: 2, ..options }));
    let model = Model::parse(&file).expect("valid");
    assert_eq!((model.name(), model.classes(), model.layers()), ("tiny", 10, 14));
    let [fast, small] = PlanKind::ALL.map(|kind| model.plan(kind).expect("both plans"));
    assert!(small.tensor_bytes() < fast.tensor_bytes());
    for step in fast.steps().chain(small.steps()) {
        proof::check(&step).unwrap_or_else(|e| panic!("{}: {e}", step.name()));
    }
}

#[test]
fn no_step_is_dead() {
    let file = tiny::file(tiny::Options::default());
    let model = Model::parse(&file).expect("valid");
    let plan = model.plan(PlanKind::Fast).expect("there");
    let mut arena = vec![0; plan.arena_bytes(1)];
    let mut session = Session::new(&model, Kernels::scalar(), PlanKind::Fast, &mut arena).expect("it fits");
    skipstone::format::check::check_input(model.seed(), model.input_shape(), session.input());
    session.run_with(|step, session| {
        let values: HashSet<_> = session.tensor(&plan.tensor(step.output())).values().collect();
        assert!(values.len() > 4, "{} makes {} values", step.name(), values.len());
    });
    let checks: HashSet<_> = plan.steps().map(|s| s.check()).collect();
    assert_eq!(checks.len(), plan.len());
}

/// The file that the documentation's examples read. To make it again after a change of the format: `BLESS=1 cargo test --release --test tiny`.
#[test]
fn the_committed_file_is_this_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/files/tiny.stone");
    let file = tiny::file(tiny::Options { size: [8, 8], small: true, ..Default::default() });
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &file).expect("it can be written");
    }
    assert!(std::fs::read(path).expect("it is committed") == file, "tests/files/tiny.stone is out of date");
}
