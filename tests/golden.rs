//! The same bits on every kernel set and thread count: a network of every kind of step against the check values in its file, and against numbers pinned here.

use skipstone::crc::Crc32;
use skipstone::format::check::check_input;
use skipstone::threads::Pool;
use skipstone::{Kernels, Model, PlanKind, Session};

const FILE: &[u8] = include_bytes!("files/tiny.stone");
/// CRC-32 of the scores of eight check inputs, seeds 1 to 8.
const SCORES: u32 = 0xD8DB_BDB0;

fn scores(kernels: Kernels, kind: PlanKind, threads: usize) -> u32 {
    let model = Model::parse(FILE).unwrap();
    let pool = Pool::new(threads, &[]).unwrap();
    let mut arena = vec![0; model.plan(kind).unwrap().arena_bytes(threads)];
    let mut session = Session::threaded(&model, kernels, kind, &mut arena, &pool).unwrap();
    let mut crc = Crc32::new();
    for seed in 1..=8 {
        check_input(seed, model.input_shape(), session.input());
        crc = crc.update(session.run().bytes());
    }
    crc.value()
}

#[test]
fn every_set_plan_and_thread_count_gives_the_pinned_scores() {
    for kernels in Kernels::all() {
        for kind in PlanKind::ALL {
            for threads in 1..=5 {
                assert_eq!(scores(kernels, kind, threads), SCORES, "{}, {}, {threads} threads", kernels.set(), kind.name());
            }
        }
    }
    let missing: Vec<_> = skipstone::Set::built().filter(|&s| Kernels::for_set(s).is_none()).collect();
    if !missing.is_empty() {
        eprintln!("skipped, this CPU lacks them: {missing:?}");
    }
}

#[test]
fn every_step_has_the_digest_of_the_file() {
    let model = Model::parse(FILE).unwrap();
    for kernels in Kernels::all() {
        for plan in model.plans() {
            let mut arena = vec![0; plan.arena_bytes(1)];
            let mut session = Session::new(&model, kernels, plan.kind(), &mut arena).unwrap();
            check_input(model.seed(), model.input_shape(), session.input());
            session.run_with(|step, session| {
                let output = session.plan().tensor(step.output());
                assert_eq!(session.tensor(&output).crc32(), step.check(), "{} on {}", step.name(), kernels.set());
            });
        }
    }
}
