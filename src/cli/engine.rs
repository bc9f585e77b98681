//! A file on this machine: model, plan, kernels, threads and arena.

use super::args::{EngineArgs, kernels};
use super::dataset::DataSet;
use super::decode::Decoded;
use super::error::{CliError, Result};
use crate::format::view::TensorInput;
use crate::format::{Model, Plan};
use crate::kernels::Kernels;
use crate::os;
use crate::picture::{Geometry, Picture, PictureError, fill, scratch_bytes};
use crate::session::{Session, Workers};
use crate::threads::Pool;
use memmap2::MmapMut;
use std::collections::BTreeSet;
use std::path::Path;

/// A plan of a file and the kernels to run it with.
#[derive(Clone, Debug)]
pub struct Engine {
    /// The file.
    pub model: Model<'static>,
    /// Its plan.
    pub plan: Plan<'static>,
    /// The kernels.
    pub kernels: Kernels,
    /// True if the user named the kernel set.
    pub forced: bool,
    /// Cores to which threads are bound.
    pub cores: Vec<usize>,
}

impl Engine {
    /// Opens a file and chooses plan and kernels.
    ///
    /// # Errors
    /// If the file is bad, or plan or kernel set are not to be had.
    pub fn open(net: &Path, args: &EngineArgs) -> Result<Self> {
        let kernels = kernels(args.isa.as_deref())?;
        Self::of(open(net)?, args, kernels, net)
    }

    /// Chooses the plan of a file that is open; `net` is its name in errors.
    ///
    /// # Errors
    /// If it has no such plan.
    pub fn of(model: Model<'static>, args: &EngineArgs, kernels: Kernels, net: &Path) -> Result<Self> {
        let plan = match args.plan {
            None => model.plans().next(),
            Some(kind) => model.plan(kind),
        };
        let plan = plan.ok_or_else(|| {
            let has: Vec<_> = model.plans().map(|p| p.kind().name()).collect();
            let asked = args.plan.map_or("", |p| p.name());
            CliError::input(format!("{} has no plan '{asked}', --plan", net.display()), format!("it has {}", has.join(" and ")))
        })?;
        let cores = args.pin.as_ref().map(|c| c.0.clone()).unwrap_or_default();
        let forced = args.isa.is_some() || std::env::var("SKIPSTONE_ISA").is_ok_and(|v| !v.is_empty());
        Ok(Self { model, plan, kernels, forced, cores })
    }

    /// Says on stderr that so many threads cannot all run at once.
    pub fn warn_of_turns(&self, threads: usize) {
        let places = self.places(threads);
        if threads > places {
            eprintln!("warning: {threads} threads on {places} cores take turns and are slower than one a core");
        }
    }

    /// Threads, bound as asked.
    ///
    /// # Errors
    /// If there are no such cores or not as many threads.
    pub fn pool(&self, threads: usize) -> Result<Pool> {
        Pool::new(threads, &self.cores).map_err(|e| {
            let what =
                if self.cores.is_empty() { format!("no {threads} threads, --threads: {e}") } else { format!("cannot bind threads to cores, --pin: {e}") };
            CliError::machine(what, format!("this machine has {} cores, counted from 0", os::cores()))
        })
    }

    /// On how many cores so many threads run at once.
    #[must_use]
    pub fn places(&self, threads: usize) -> usize {
        let bound: BTreeSet<_> = self.cores.iter().take(threads).collect();
        if bound.is_empty() { threads.min(os::cores()) } else { bound.len() }
    }

    /// Memory for a session of as many threads.
    ///
    /// # Errors
    /// If there is not as much.
    pub fn arena(&self, threads: usize) -> Result<MmapMut> {
        let bytes = self.plan.arena_bytes(threads);
        os::buffer(bytes).map_err(|e| CliError::machine(format!("no memory for an arena of {bytes} bytes: {e}"), "use fewer --threads"))
    }

    /// A session in `arena`.
    ///
    /// # Errors
    /// If the arena is too small.
    pub fn session<'a>(&self, arena: &'a mut [u8], pool: &'a Pool) -> Result<Session<'a>> {
        Ok(Session::threaded(&self.model, self.kernels, self.plan.kind(), arena, pool as &dyn Workers)?)
    }
}

/// Opens a `.stone` file.
///
/// # Errors
/// If it cannot be read or is not valid.
pub fn open(net: &Path) -> Result<Model<'static>> {
    Model::open(net).map_err(|e| CliError::open(net, &e))
}

/// Bytes of the network's input, `[h][w][c]`.
#[must_use]
pub fn input_bytes(model: &Model<'_>) -> usize {
    model.input_shape().iter().map(|&n| n as usize).product()
}

/// Puts `[h][w][c]` bytes into the input of a session.
pub fn put(session: &mut Session<'_>, picture: &[u8]) {
    session.input().copy_from_slice(picture);
}

/// Makes inputs of pictures of any size, or of tensors where the network reads these.
#[derive(Clone, Debug)]
pub struct Preparer {
    geometry: Geometry,
    shape: [u32; 3],
    tensor: Option<TensorInput>,
    scratch: Vec<u8>,
}

impl Preparer {
    /// For the input of `model`.
    #[must_use]
    pub fn new(model: &Model<'_>, geometry: Geometry) -> Self {
        Self::with_shape(model.input_shape(), model.tensor(), geometry)
    }

    /// For an input of height, width and channels; `tensor` where it is no picture.
    #[must_use]
    pub const fn with_shape(shape: [u32; 3], tensor: Option<TensorInput>, geometry: Geometry) -> Self {
        Self { geometry, shape, tensor, scratch: Vec::new() }
    }

    /// Makes the input `[h][w][c]` of a picture.
    ///
    /// # Errors
    /// If the picture does not fit.
    pub fn fill(&mut self, input: &mut [u8], picture: &Picture<'_>) -> core::result::Result<(), PictureError> {
        if self.tensor.is_some() {
            return Err(PictureError::Network { input: self.shape });
        }
        let bytes = scratch_bytes(picture.width, picture.height, &self.geometry, self.shape)?;
        if self.scratch.len() < bytes {
            self.scratch.resize(bytes, 0);
        }
        fill(input, picture, &self.geometry, self.shape, &mut self.scratch)
    }

    /// As [`fill`](Self::fill), naming the picture in the error.
    ///
    /// # Errors
    /// If the picture does not fit.
    pub fn prepare(&mut self, input: &mut [u8], picture: &Decoded, name: &str) -> Result {
        self.fill(input, &picture.picture()).map_err(|e| CliError::picture(name, &e))
    }
}

/// Loads picture or tensor `i` of a set and makes its input; `false` if it is bad and may be skipped.
///
/// # Errors
/// If it cannot be read or does not fit.
pub fn load(set: &DataSet, i: usize, skip_bad: bool, preparer: &mut Preparer, input: &mut [u8]) -> Result<bool> {
    if let Some(layout) = &preparer.tensor {
        return Ok(DataSet::unless_bad(set.fill(i, input, layout), skip_bad)?.is_some());
    }
    let Some(picture) = DataSet::unless_bad(set.load(i), skip_bad)? else { return Ok(false) };
    preparer.prepare(input, &picture, &set.name(i))?;
    Ok(true)
}
