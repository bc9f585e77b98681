//! Work on many pictures with several threads, its results in the order of the pictures.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::vec::Vec;

/// Calls `work(i)` for every `i` below `n` on up to `threads` threads and `sink(i, result)` on this one, in order, so that sums do not depend on the threads.
///
/// # Errors
/// The first error in the order of `i`, of `work` or of `sink`.
pub fn in_order<T: Send, E: Send>(
    n: usize,
    threads: usize,
    work: impl Fn(usize) -> Result<T, E> + Sync,
    mut sink: impl FnMut(usize, T) -> Result<(), E>,
) -> Result<(), E> {
    let threads = threads.max(1);
    for first in (0..n).step_by(threads) {
        let end = n.min(first + threads);
        let results: Vec<_> = thread::scope(|scope| {
            let others: Vec<_> = (first + 1..end)
                .map(|i| {
                    scope.spawn({
                        let work = &work;
                        move || work(i)
                    })
                })
                .collect();
            let mut results = std::vec![work(first)];
            results.extend(others.into_iter().map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))));
            results
        });
        for (i, result) in results.into_iter().enumerate() {
            sink(first + i, result?)?;
        }
    }
    Ok(())
}

/// Calls `work(i, chunk)` for every chunk of `size` items on up to `threads` threads. Which thread takes which chunk is open.
pub fn chunks<T: Send>(data: &mut [T], size: usize, threads: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    let queue = Mutex::new(data.chunks_mut(size.max(1)).enumerate());
    let run = || {
        while let Some((i, chunk)) = { queue.lock().unwrap_or_else(PoisonError::into_inner).next() } {
            work(i, chunk);
        }
    };
    thread::scope(|scope| {
        (1..threads).for_each(|_| {
            scope.spawn(run);
        });
        run();
    });
}
