//! A fixed pool of threads that share the steps of a run.
//!
//! A pool of `n` workers is `n - 1` threads beside the calling one. A step is handed over through atomics: a worker looks for it for some microseconds and
//! then sleeps, so that a run of steps costs neither a lock nor a system call, and an idle pool costs no time. Nothing is allocated after [`Pool::new`].
//!
//! Each worker begins with the part that has its number, so that it finds in its cache what it wrote before. A part that no one has begun is taken by
//! whoever is free: a worker that the system does not let run holds no one up.

use crate::os;
use crate::session::{Job, Workers};
use core::any::Any;
use core::panic::AssertUnwindSafe;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use core::time::Duration;
use std::collections::BTreeSet;
use std::io;
use std::panic::{catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle, Thread};

/// How often a waiting thread looks before it sleeps, if there is a core for it: some microseconds.
const LOOKS: u32 = 400;

/// A fixed set of threads. They end when it is dropped.
///
/// Two sessions may hold one pool. While it works for one of them, the other computes its steps alone.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    threads: Vec<Worker>,
}

#[derive(Debug)]
struct Shared {
    /// The task in hand. It lives on the stack of the thread that is in [`Workers::share`].
    task: AtomicPtr<Task<'static>>,
    /// Counts the tasks; the last value ends the workers.
    ticket: AtomicUsize,
    /// For each part the ticket of the last task of which it was begun.
    begun: Box<[AtomicUsize]>,
    /// Parts of the task that are not finished, plus [`WAITING`] if the calling thread sleeps until they are.
    pending: AtomicUsize,
    /// True while a task is in hand.
    busy: AtomicBool,
    /// True if a worker panicked.
    panicked: AtomicBool,
    /// Where the parts of the output begin and end.
    cuts: Box<[AtomicUsize]>,
    /// How often a waiting thread looks before it sleeps.
    looks: u32,
}

#[derive(Debug)]
struct Worker {
    handle: JoinHandle<()>,
    asleep: Arc<Asleep>,
}

/// Whether a worker sleeps or is about to. On a cache line of its own, since its thread writes it while others work.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Asleep(AtomicBool);

/// What one call of `share` hands to the workers.
struct Task<'a> {
    out: *mut u8,
    scratch: *mut u8,
    scratch_each: usize,
    job: &'a Job<'a>,
    caller: Thread,
}

/// The ticket that ends the workers.
const END: usize = usize::MAX;

/// Bit of `pending`: the calling thread sleeps. The last worker takes it away and wakes the thread.
const WAITING: usize = 1 << (usize::BITS - 1);

type Panic = Box<dyn Any + Send>;

impl Pool {
    /// A pool of `threads` workers, the calling thread among them; 0 counts as 1. Worker `i` is bound to core `cores[i % len]`, the calling thread (worker 0)
    /// too, and it stays bound when the pool is gone; without cores nothing is bound.
    ///
    /// # Errors
    /// If the system gives no thread, or there is no such core.
    pub fn new(threads: usize, cores: &[usize]) -> io::Result<Self> {
        let threads = threads.max(1);
        let places = if cores.is_empty() { os::cores() } else { cores.iter().collect::<BTreeSet<_>>().len() };
        let shared = Arc::new(Shared {
            task: AtomicPtr::new(core::ptr::null_mut()),
            ticket: AtomicUsize::new(0),
            begun: (0..threads).map(|_| AtomicUsize::new(0)).collect(),
            pending: AtomicUsize::new(0),
            busy: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            cuts: (0..=threads).map(|_| AtomicUsize::new(0)).collect(),
            looks: if threads <= places { LOOKS } else { 0 },
        });
        let mut pool = Self { shared, threads: Vec::with_capacity(threads - 1) };
        let (ready, started) = channel();
        // A thread inherits the binding of the one that starts it: worker 0 is bound last.
        for i in (0..threads).rev() {
            if !cores.is_empty() {
                os::pin(cores[i % cores.len()])?;
            }
            if i > 0 {
                pool.threads.push(Worker::start(i, Arc::clone(&pool.shared), ready.clone())?);
            }
        }
        // What a thread allocates when it begins belongs to `new`.
        drop(ready);
        started.into_iter().for_each(drop);
        Ok(pool)
    }
}

impl Worker {
    fn start(i: usize, shared: Arc<Shared>, ready: Sender<()>) -> io::Result<Self> {
        let asleep = Arc::new(Asleep::default());
        let own = Arc::clone(&asleep);
        let serve = move || {
            thread::park_timeout(Duration::ZERO);
            drop(ready);
            shared.serve(i, &own);
        };
        let handle = thread::Builder::new().name(format!("skipstone {i}")).spawn(serve)?;
        Ok(Self { handle, asleep })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.ticket.store(END, Ordering::SeqCst);
        for worker in self.threads.drain(..) {
            worker.handle.thread().unpark();
            // A worker catches the panics of its jobs; there is nothing to report.
            let _ = worker.handle.join();
        }
    }
}

impl Workers for Pool {
    fn count(&self) -> usize {
        self.threads.len() + 1
    }

    fn share(&self, out: &mut [u8], cut: &(dyn Fn(usize) -> usize + Sync), scratch: &mut [u8], job: &Job<'_>) {
        let n = self.count();
        if n == 1 || self.shared.busy.swap(true, Ordering::Acquire) {
            return alone(n, out, cut, scratch, job);
        }
        let result = catch_unwind(AssertUnwindSafe(|| self.shared.cut(out.len(), cut)));
        let result = result.and_then(|()| self.hand_out(out, scratch, job));
        self.shared.busy.store(false, Ordering::Release);
        if let Err(panic) = result {
            resume_unwind(panic);
        }
    }
}

/// All parts on the calling thread.
fn alone(n: usize, out: &mut [u8], cut: &(dyn Fn(usize) -> usize + Sync), scratch: &mut [u8], job: &Job<'_>) {
    let each = scratch.len() / n;
    for i in 0..n {
        job(i, &mut out[cut(i)..cut(i + 1)], &mut scratch[i * each..(i + 1) * each]);
    }
}

impl Pool {
    /// Has the workers do the job, the calling thread too, and waits until all parts are done.
    fn hand_out(&self, out: &mut [u8], scratch: &mut [u8], job: &Job<'_>) -> Result<(), Panic> {
        let shared = &self.shared;
        let (n, scratch_each) = (self.count(), scratch.len() / self.count());
        let task = Task { out: out.as_mut_ptr(), scratch: scratch.as_mut_ptr(), scratch_each, job, caller: thread::current() };
        shared.task.store(core::ptr::from_ref(&task).cast::<Task<'static>>().cast_mut(), Ordering::Relaxed);
        shared.pending.store(n, Ordering::Relaxed);
        let ticket = after(shared.ticket.load(Ordering::Relaxed));
        shared.ticket.store(ticket, Ordering::SeqCst);
        for worker in &self.threads {
            if worker.asleep.0.load(Ordering::SeqCst) {
                worker.handle.thread().unpark();
            }
        }
        shared.take_parts(ticket, 0);
        shared.join();
        if shared.panicked.swap(false, Ordering::Relaxed) { Err(Box::new("a worker of the pool panicked")) } else { Ok(()) }
    }
}

/// The ticket after another.
const fn after(ticket: usize) -> usize {
    (ticket + 1) % END
}

impl Shared {
    /// Stores the cuts once they are known to rise inside an output of `len` bytes.
    fn cut(&self, len: usize, cut: &(dyn Fn(usize) -> usize + Sync)) {
        let mut last = 0;
        for (i, place) in self.cuts.iter().enumerate() {
            let at = cut(i);
            assert!(last <= at && at <= len, "the cuts must rise inside the output");
            last = at;
            place.store(at, Ordering::Relaxed);
        }
    }

    /// The life of worker `i`.
    fn serve(&self, i: usize, asleep: &Asleep) {
        let mut seen = 0;
        loop {
            seen = self.next(seen, &asleep.0);
            if seen == END {
                return;
            }
            self.take_parts(seen, i);
        }
    }

    /// Waits for a ticket other than `seen`.
    fn next(&self, seen: usize, asleep: &AtomicBool) -> usize {
        let other = || Some(self.ticket.load(Ordering::SeqCst)).filter(|&ticket| ticket != seen);
        if let Some(ticket) = self.look(other) {
            return ticket;
        }
        asleep.store(true, Ordering::SeqCst);
        loop {
            if let Some(ticket) = other() {
                asleep.store(false, Ordering::Relaxed);
                return ticket;
            }
            thread::park();
        }
    }

    /// Looks for something for a while.
    fn look<T>(&self, find: impl Fn() -> Option<T>) -> Option<T> {
        (0..self.looks).find_map(|_| {
            core::hint::spin_loop();
            find()
        })
    }

    /// The calling thread waits until all parts are finished.
    fn join(&self) {
        let done = || (self.pending.load(Ordering::Acquire) == 0).then_some(());
        if self.look(done).is_some() || self.pending.fetch_or(WAITING, Ordering::AcqRel) == 0 {
            self.pending.store(0, Ordering::Relaxed);
            return;
        }
        while done().is_none() {
            thread::park();
        }
    }

    /// Does the parts of a task that no one has begun, part `first` first.
    fn take_parts(&self, ticket: usize, first: usize) {
        let n = self.begun.len();
        for i in (first..n).chain(0..first) {
            let begun = &self.begun[i];
            let before = begun.load(Ordering::Relaxed);
            if after(before) == ticket && begun.compare_exchange(before, ticket, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                self.work(i);
            }
        }
    }

    /// Does part `i`, which the caller has begun: until it is finished, the task stays valid. The last to finish wakes the calling thread if that sleeps.
    #[expect(unsafe_code, reason = "the parts of one buffer go to several threads")]
    fn work(&self, i: usize) {
        // SAFETY: `hand_out` stored a pointer to a task on its stack before it gave out the ticket, and does not return before `pending` is 0, which is
        // after the last use here.
        let task = unsafe { &*self.task.load(Ordering::Relaxed) };
        let [from, to] = [i, i + 1].map(|i| self.cuts[i].load(Ordering::Relaxed));
        // SAFETY: `cut` found that the cuts rise inside the output, so the parts are disjoint and inside the exclusive borrow that `hand_out` holds; the
        // scratch is divided into equal parts likewise. Each part is begun once.
        let (out, scratch) = unsafe {
            let scratch = core::slice::from_raw_parts_mut(task.scratch.add(i * task.scratch_each), task.scratch_each);
            (core::slice::from_raw_parts_mut(task.out.add(from), to - from), scratch)
        };
        if catch_unwind(AssertUnwindSafe(|| (task.job)(i, out, scratch))).is_err() {
            self.panicked.store(true, Ordering::Relaxed);
        }
        if self.pending.fetch_sub(1, Ordering::AcqRel) == WAITING + 1 {
            let caller = task.caller.clone();
            self.pending.store(0, Ordering::Release);
            caller.unpark();
        }
    }
}
