//! The pool: the same bits at any number of threads, no lost wake-up.
#![cfg(feature = "std")]

#[path = "support/tiny.rs"]
mod tiny;

use core::panic::AssertUnwindSafe;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use skipstone::session::Workers;
use skipstone::shape::share;
use skipstone::{Kernels, Model, PlanKind, Pool, Session, os};
use std::panic::catch_unwind;
use std::sync::Mutex;

fn scores(model: &Model<'_>, kernels: Kernels, plan: PlanKind, pool: &Pool, runs: usize) -> Vec<i32> {
    let mut arena = os::buffer(model.plan(plan).expect("there").arena_bytes(pool.count())).expect("memory");
    let mut session = Session::threaded(model, kernels, plan, &mut arena, pool).expect("it fits");
    let mut all = Vec::new();
    for run in 0..runs {
        skipstone::format::check::check_input(u32::try_from(run).expect("few"), model.input_shape(), session.input());
        all.extend(session.run().iter());
    }
    all
}

#[test]
fn every_number_of_threads_gives_the_same_bits() {
    for seed in 0..4 {
        let file = tiny::file(tiny::Options { seed, small: true, size: [14, 9], block_rows: 3 });
        let model = Model::parse(&file).expect("valid");
        let known = scores(&model, Kernels::scalar(), PlanKind::Fast, &Pool::new(1, &[]).expect("a pool"), 20);
        for kernels in Kernels::all() {
            for threads in 1..=5 {
                let pool = Pool::new(threads, &[]).expect("a pool");
                for plan in PlanKind::ALL {
                    assert_eq!(scores(&model, kernels, plan, &pool, 20), known, "{kernels:?}, {threads} threads, {plan:?}");
                }
            }
        }
    }
}

/// Every byte of the output is written once by the worker to whom it belongs, and the scratch is divided evenly, whatever the cuts.
#[test]
fn parts_are_disjoint_and_complete() {
    for threads in 1..=6 {
        let pool = Pool::new(threads, &[]).expect("a pool");
        for len in [0usize, 1, 5, 64, 1000] {
            let (mut out, mut scratch) = (vec![0u8; len + 3], vec![0u8; threads * 8]);
            for round in 0..200 {
                out.fill(0);
                let cut = |i: usize| 2.min(len) + (len - 2.min(len)) * i / threads;
                pool.share(&mut out, &cut, &mut scratch, &|i, out, scratch| {
                    out.iter_mut().for_each(|b| *b += 1 + u8::try_from(i).expect("few"));
                    assert_eq!(scratch.len(), 8);
                    scratch.fill(u8::try_from(i).expect("few"));
                });
                for (at, &byte) in out.iter().enumerate() {
                    let owner = (0..threads).find(|&i| (cut(i)..cut(i + 1)).contains(&at));
                    assert_eq!(usize::from(byte), owner.map_or(0, |i| i + 1), "byte {at} of {len}, {threads} threads, round {round}");
                }
                assert!(scratch.iter().enumerate().all(|(at, &b)| at / 8 == usize::from(b)));
            }
        }
    }
}

/// Pauses between the steps let workers and caller fall asleep at every possible point.
#[test]
fn no_wake_up_is_lost() {
    for threads in [2, 3, 8] {
        let pool = Pool::new(threads, &[]).expect("a pool");
        let done = AtomicUsize::new(0);
        let rounds = 3000;
        for round in 0..rounds {
            pool.share(&mut [], &|_| 0, &mut [], &|i, _, _| {
                if (round + i) % 97 == 0 {
                    std::thread::sleep(Duration::from_micros(60));
                }
                done.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(done.load(Ordering::Relaxed), (round + 1) * threads, "every worker is done when share returns");
            if round % 101 == 0 {
                std::thread::sleep(Duration::from_micros(80));
            }
        }
    }
}

#[test]
fn sessions_may_share_a_pool() {
    let file = tiny::file(tiny::Options::default());
    let model = Model::parse(&file).expect("valid");
    let pool = Pool::new(2, &[]).expect("a pool");
    let known = scores(&model, Kernels::scalar(), PlanKind::Fast, &pool, 50);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| assert_eq!(scores(&model, Kernels::detect(), PlanKind::Fast, &pool, 50), known));
        }
    });
}

#[test]
fn bad_cuts_and_panics_reach_the_caller() {
    let pool = Pool::new(2, &[]).expect("a pool");
    let share = |cuts: [usize; 3], bad: Option<usize>| {
        let mut out = [0u8; 8];
        catch_unwind(AssertUnwindSafe(|| pool.share(&mut out, &|i| cuts[i], &mut [], &|i, _, _| assert_ne!(Some(i), bad)))).is_err()
    };
    assert!(share([0, 9, 9], None), "a cut outside the output");
    assert!(share([4, 2, 8], None), "cuts that fall");
    assert!(share([0, 4, 8], Some(0)) && share([0, 4, 8], Some(1)), "a panic of any worker");
    assert!(!share([0, 4, 8], None), "the pool goes on after all that");
}

#[test]
fn pools_come_and_go() {
    for round in 0..100 {
        let pool = Pool::new(4, &[]).expect("a pool");
        assert_eq!(pool.count(), 4);
        if round % 2 == 0 {
            pool.share(&mut [], &|_| 0, &mut [], &|_, _, _| {});
        }
    }
    assert_eq!(Pool::new(0, &[]).expect("a pool").count(), 1);
}

#[cfg(target_os = "linux")]
#[test]
fn threads_are_bound_where_asked() {
    std::thread::spawn(|| {
        let allowed = || {
            let status = std::fs::read_to_string("/proc/thread-self/status").expect("readable");
            status.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:")).expect("a line").trim().to_owned()
        };
        let pool = Pool::new(2, &[0]).expect("core 0 is there");
        let seen = Mutex::new(Vec::new());
        pool.share(&mut [], &|_| 0, &mut [], &|_, _, _| seen.lock().expect("unbroken").push(allowed()));
        assert_eq!(seen.into_inner().expect("unbroken"), ["0", "0"]);
        assert!(Pool::new(2, &[100_000]).is_err());
    })
    .join()
    .expect("bound as asked");
}

#[test]
fn shares_of_any_size() {
    for (n, parts) in [(0, 3), (7, 3), (usize::MAX, 4050), (2_073_600, 4050), (5, 9)] {
        let mut next = 0;
        for i in 0..parts {
            let share = share(n, i, parts);
            assert!(share.start == next && share.len().abs_diff(n / parts) <= 1, "{n} {parts} {i}: {share:?}");
            next = share.end;
        }
        assert_eq!(next, n);
    }
}
