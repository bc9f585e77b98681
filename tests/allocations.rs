//! A run allocates nothing, counted by the allocator itself. The count is that of the whole process, so this test is a program without a harness.

#[path = "support/tiny.rs"]
mod tiny;

use skipstone::{Kernels, Model, PlanKind, Pool, Session, count, os};

#[global_allocator]
static ALLOCATOR: count::Counting = count::Counting;

fn main() {
    let file = tiny::file(tiny::Options { small: true, ..Default::default() });
    let model = Model::parse(&file).expect("valid");
    for kernels in Kernels::all() {
        for plan in PlanKind::ALL {
            for threads in 1..=3 {
                let pool = Pool::new(threads, &[]).expect("a pool");
                let mut arena = os::buffer(model.plan(plan).expect("there").arena_bytes(threads)).expect("memory");
                let mut session = Session::threaded(&model, kernels, plan, &mut arena, &pool).expect("it fits");
                session.run();
                let before = count::allocations();
                for _ in 0..200 {
                    session.input().fill(9);
                    session.run();
                }
                assert_eq!(count::allocations() - before, 0, "{kernels:?}, {plan:?}, {threads} threads");
            }
        }
    }
    let before = count::allocations();
    drop(vec![1u8; 100]);
    assert!(count::allocations() > before, "the allocator counts");
    println!("runs do not allocate: ok");
}
