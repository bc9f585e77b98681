//! Runs a plan in the caller's memory.

use crate::format::{Plan, PlanKind, StepRecord, TensorRecord};
use crate::kernels::Kernels;
use crate::ops::Units;
use crate::quant::DataType;
use crate::shape::View;
use crate::{crc::Crc32, format::Model};
use core::fmt;

/// Workers that share the steps of a run. `threads` implements it; [`Alone`] is the calling thread by itself.
pub trait Workers: Sync {
    /// How many there are, at least 1.
    fn count(&self) -> usize;

    /// Calls `job(i, part, scratch)` for every worker `i` and returns when all are done. Part `i` of `out` begins at `cut(i)` and ends at `cut(i + 1)`;
    /// the scratch is divided evenly.
    ///
    /// # Panics
    /// If the cuts do not rise or leave `out`.
    fn share(&self, out: &mut [u8], cut: &(dyn Fn(usize) -> usize + Sync), scratch: &mut [u8], job: &Job<'_>);
}

/// What a worker does with its number, its part of the output and its scratch.
pub type Job<'a> = dyn Fn(usize, &mut [u8], &mut [u8]) + Sync + 'a;

/// The calling thread, alone.
#[derive(Clone, Copy, Debug)]
pub struct Alone;

impl Workers for Alone {
    fn count(&self) -> usize {
        1
    }

    fn share(&self, out: &mut [u8], cut: &(dyn Fn(usize) -> usize + Sync), scratch: &mut [u8], job: &Job<'_>) {
        job(0, &mut out[cut(0)..cut(1)], scratch);
    }
}

/// Why a session could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionError {
    /// The arena is too small.
    Arena {
        /// Bytes that are needed.
        needed: usize,
        /// Bytes that were given.
        given: usize,
    },
    /// The file has no such plan.
    NoPlan(PlanKind),
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arena { needed, given } => write!(f, "the arena has {given} bytes, {} are missing", needed - given),
            Self::NoPlan(kind) => write!(f, "the file has no plan '{}'", kind.name()),
        }
    }
}

impl core::error::Error for SessionError {}

/// A buffer of `N` bytes that begins at a cache line. Its size is [`crate::arena_bytes`].
#[repr(C, align(64))]
#[derive(Clone, Debug)]
pub struct Arena<const N: usize>(pub [u8; N]);

impl<const N: usize> Arena<N> {
    /// A buffer of zeros.
    #[must_use]
    pub const fn new() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> Default for Arena<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// A plan of a model, ready to run: nothing that follows can fail or allocates.
pub struct Session<'a> {
    plan: Plan<'a>,
    kernels: Kernels,
    tensors: &'a mut [u8],
    scratch: &'a mut [u8],
    workers: &'a dyn Workers,
}

impl<'a> Session<'a> {
    /// A session on the calling thread. The arena, best aligned to 64 bytes, needs [`Plan::arena_bytes`] for one thread.
    ///
    /// # Errors
    /// If the file has no such plan or the arena is too small.
    pub fn new(model: &Model<'a>, kernels: Kernels, plan: PlanKind, arena: &'a mut [u8]) -> Result<Self, SessionError> {
        Self::threaded(model, kernels, plan, arena, &Alone)
    }

    /// A session whose steps are shared by `workers`. The arena needs [`Plan::arena_bytes`] for as many threads.
    ///
    /// # Errors
    /// If the file has no such plan or the arena is too small.
    pub fn threaded(model: &Model<'a>, kernels: Kernels, plan: PlanKind, arena: &'a mut [u8], workers: &'a dyn Workers) -> Result<Self, SessionError> {
        let plan = model.plan(plan).ok_or(SessionError::NoPlan(plan))?;
        let (needed, given) = (plan.arena_bytes(workers.count()), arena.len());
        if given < needed {
            return Err(SessionError::Arena { needed, given });
        }
        let (tensors, scratch) = arena.split_at_mut(plan.tensor_bytes());
        let scratch = &mut scratch[..plan.scratch_bytes() * workers.count()];
        Ok(Self { plan, kernels, tensors, scratch, workers })
    }

    /// The plan that runs.
    #[must_use]
    pub const fn plan(&self) -> Plan<'a> {
        self.plan
    }

    /// The kernel set that runs.
    #[must_use]
    pub const fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// The input, `[h][w][c]` bytes: of a picture, or the S8 that [`crate::tensor`] makes. [`run`](Self::run) may overwrite it: fill it before every run.
    pub fn input(&mut self) -> &mut [u8] {
        let range = self.plan.input().view().range();
        &mut self.tensors[range]
    }

    /// Computes the scores. Without a fresh input they are unspecified, but nothing worse happens.
    pub fn run(&mut self) -> Scores<'_> {
        self.run_with(|_, _| {})
    }

    /// As [`run`](Self::run), calling `after` with each step and the session when the step is done.
    pub fn run_with(&mut self, mut after: impl FnMut(StepRecord<'a>, &Self)) -> Scores<'_> {
        let input = self.plan.input().view();
        self.kernels.flip_tensor(input.kind, &mut self.tensors[input.range()]);
        for step in self.plan.steps() {
            self.step(&step);
            after(step, self);
        }
        let output = self.plan.output();
        let bytes = &self.tensors[output.view().range()];
        Scores { words: &bytes.as_chunks().0[..output.view().c as usize], scale: output.scale(0) }
    }

    /// The tensor that a step has just made, in the definition's bytes: valid until a later step reuses its memory.
    #[must_use]
    pub fn tensor(&self, tensor: &TensorRecord<'a>) -> TensorBytes<'_> {
        let view = tensor.view();
        TensorBytes { bytes: &self.tensors[view.range()], view, flip: if matches!(view.kind, DataType::U8) { self.kernels.flip() } else { 0 } }
    }

    fn step(&mut self, step: &StepRecord<'a>) {
        let view = |i: usize| self.plan.tensor(i).view();
        let output = view(step.output());
        let (before, rest) = self.tensors.split_at_mut(output.offset);
        let (out, after) = rest.split_at_mut(output.bytes());
        let operand = |view: View| -> &[u8] {
            let range = view.range();
            if range.end <= before.len() { &before[range] } else { &after[range.start - output.range().end..range.end - output.range().end] }
        };
        let x = operand(view(step.input()));
        let [y, z] = [step.second(), step.third()].map(|i| i.map_or(&[][..], |i| operand(view(i))));
        let (kernels, operation) = (self.kernels, step.operation());
        share(self.workers, operation.units(), &output, out, self.scratch, &|part, out, scratch| operation.run(kernels, [x, y, z], out, part, scratch));
    }
}

type Part<'a> = dyn Fn(core::ops::Range<usize>, &mut [u8], &mut [u8]) + Sync + 'a;

/// Gives each worker an equal part of the units.
fn share(workers: &dyn Workers, units: Units, output: &View, out: &mut [u8], scratch: &mut [u8], run: &Part<'_>) {
    let n = workers.count();
    let cut = |i: usize| units.start(output, units.part(i, n).start);
    workers.share(out, &cut, scratch, &|i, out, scratch| {
        let part = units.part(i, n);
        if !part.is_empty() {
            run(part, out, scratch);
        }
    });
}

/// The bytes of a tensor in the arena.
#[derive(Clone, Copy, Debug)]
pub struct TensorBytes<'a> {
    bytes: &'a [u8],
    view: View,
    /// XORed to each byte.
    flip: u8,
}

impl<'a> TensorBytes<'a> {
    /// The tensor whose view begins at the first of `bytes`, in the definition's bytes.
    #[must_use]
    pub const fn new(bytes: &'a [u8], view: View) -> Self {
        Self { bytes, view, flip: 0 }
    }

    /// Its shape and type.
    #[must_use]
    pub const fn view(&self) -> View {
        self.view
    }

    /// The stored elements of each pixel, row by row, without padding channels.
    fn pixels(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (bytes, view) = (self.bytes, self.view);
        let len = view.c as usize * view.kind.bytes();
        (0..view.h as usize).flat_map(move |y| (0..view.w as usize).map(move |x| &bytes[y * view.row + x * view.pixel..][..len]))
    }

    /// The integer values, row by row, pixel by pixel, without padding channels.
    pub fn values(&self) -> impl Iterator<Item = i32> + use<'a> {
        let (kind, flip) = (self.view.kind, self.flip);
        self.pixels().flat_map(move |p| p.chunks_exact(kind.bytes()).map(move |b| kind.read(b) ^ i32::from(flip)))
    }

    /// CRC-32 of the values' little-endian bytes.
    #[must_use]
    pub fn crc32(&self) -> u32 {
        let update = |crc: Crc32, bytes: &[u8]| {
            let mut turned = [0; 64];
            bytes.chunks(turned.len()).fold(crc, |crc, part| {
                turned.iter_mut().zip(part).for_each(|(t, b)| *t = b ^ self.flip);
                crc.update(&turned[..part.len()])
            })
        };
        self.pixels().fold(Crc32::new(), update).value()
    }
}

/// The scores of a run: one integer a class, all in one scale.
#[derive(Clone, Copy, Debug)]
pub struct Scores<'a> {
    words: &'a [[u8; 4]],
    scale: f32,
}

impl<'a> Scores<'a> {
    /// The integers.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = i32> + Clone + use<'a> {
        self.words.iter().map(|w| i32::from_le_bytes(*w))
    }

    /// Their little-endian bytes.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.words.as_flattened()
    }

    /// Real value of one step.
    #[must_use]
    pub const fn scale(&self) -> f32 {
        self.scale
    }

    /// Number of classes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.words.len()
    }

    /// True if there is no class.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.words.is_empty()
    }
}
