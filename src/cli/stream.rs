//! Pictures prepared ahead: one thread reads, decodes and resizes while another computes.

use super::dataset::DataSet;
use super::engine::{Preparer, input_bytes, load};
use super::error::{CliError, Result};
use crate::format::Model;
use crate::picture::Geometry;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

/// Bytes of inputs that are handed over together, and the most pictures of them.
const BATCH_BYTES: usize = 1 << 21;
const BATCH_PICTURES: usize = 64;

/// Inputs of pictures, one behind the other.
struct Batch {
    indices: Vec<usize>,
    inputs: Vec<u8>,
}

/// Calls `each` with the numbers of some pictures of a set and their inputs `[h][w][c]`, one behind the other, until it had all of them, in order;
/// pictures that cannot be read are left out if `skip_bad`.
///
/// # Errors
/// If a picture cannot be read or does not fit, or `each` fails.
pub fn pictures(model: &Model<'_>, set: &DataSet, geometry: Geometry, skip_bad: bool, mut each: impl FnMut(&[usize], &[u8]) -> Result) -> Result {
    let bytes = input_bytes(model);
    let size = (BATCH_BYTES / bytes.max(1)).clamp(1, BATCH_PICTURES);
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(2);
        let ahead = thread::Builder::new().name("pictures".into());
        let preparer = Preparer::new(model, geometry);
        let started = ahead.spawn_scoped(scope, move || produce(set, preparer, skip_bad, bytes, size, &sender));
        started.map_err(|e| CliError::machine(format!("no thread to read pictures: {e}"), "close other programs"))?;
        for batch in receiver {
            let batch = batch?;
            each(&batch.indices, &batch.inputs[..batch.indices.len() * bytes])?;
        }
        Ok(())
    })
}

/// Sends batches until the set or the interest ends.
fn produce(set: &DataSet, mut preparer: Preparer, skip_bad: bool, bytes: usize, size: usize, sender: &SyncSender<Result<Batch>>) {
    for first in (0..set.len()).step_by(size) {
        let batch = batch(set, &mut preparer, skip_bad, bytes, first..(first + size).min(set.len()));
        let last = batch.is_err();
        if sender.send(batch).is_err() || last {
            return;
        }
    }
}

fn batch(set: &DataSet, preparer: &mut Preparer, skip_bad: bool, bytes: usize, range: core::ops::Range<usize>) -> Result<Batch> {
    let mut batch = Batch { indices: Vec::with_capacity(range.len()), inputs: vec![0; range.len() * bytes] };
    for i in range {
        let at = batch.indices.len() * bytes;
        if load(set, i, skip_bad, preparer, &mut batch.inputs[at..at + bytes])? {
            batch.indices.push(i);
        }
    }
    Ok(batch)
}
