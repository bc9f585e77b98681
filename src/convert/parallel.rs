//! Work on many pictures with several threads, its results in the order of the pictures.

use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::vec::Vec;

/// Calls `work(i)` for every `i` below `n` on up to `threads` threads, this one among them, and `sink(i, result)` on this one, in order, so that sums do not
/// depend on the threads. Each thread goes on when this one has taken what it made.
///
/// # Errors
/// The first error in the order of `i`, of `work` or of `sink`.
///
/// # Panics
/// If `work` or `sink` panics.
pub fn in_order<T: Send, E: Send>(
    n: usize,
    threads: usize,
    work: impl Fn(usize) -> Result<T, E> + Sync,
    mut sink: impl FnMut(usize, T) -> Result<(), E>,
) -> Result<(), E> {
    let (threads, work) = (threads.min(n).max(1), &work);
    thread::scope(|scope| {
        let begin = |first: usize| {
            let (line, results) = sync_channel(0);
            scope.spawn(move || {
                (first..n).step_by(threads).all(|i| {
                    let result = work(i);
                    let goes_on = result.is_ok();
                    line.send(result).is_ok() && goes_on
                })
            });
            results
        };
        let lines: Vec<_> = (1..threads).map(begin).collect();
        for i in 0..n {
            // A line ends early where its thread panics, and the scope passes that on.
            let Some(result) = lines.get((i + threads - 1) % threads).map_or_else(|| Some(work(i)), |line| line.recv().ok()) else { break };
            sink(i, result?)?;
        }
        Ok(())
    })
}

/// Calls `work(i, chunk)` for every chunk of `size` items on up to `threads` threads. Which thread takes which chunk is open.
pub fn chunks<T: Send>(data: &mut [T], size: usize, threads: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    let size = size.max(1);
    let threads = threads.min(data.len().div_ceil(size));
    let queue = Mutex::new(data.chunks_mut(size).enumerate());
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
