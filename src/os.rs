//! What only the operating system can do: map a file, give a buffer, bind a thread to a core, say how much memory was used.
//!
//! [`host`] reads what the system says of the machine, [`caution`] what of that spoils a measurement.

pub mod caution;
pub mod clock;
mod cpu;
pub mod host;
pub mod power;
pub mod thermal;
pub mod throttle;
mod tree;

use crate::format::{Model, ParseError};
use core::fmt;
use memmap2::{Mmap, MmapMut};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::OnceLock;

/// Why a file could not be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// It cannot be read.
    Read(io::Error),
    /// It is a folder or a device, or empty.
    NoFile,
    /// It is no valid `.stone` file.
    Parse(ParseError),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::NoFile => f.write_str("not a file with something in it"),
            Self::Parse(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for OpenError {}

impl Model<'static> {
    /// Maps a `.stone` file into memory and checks it. The mapping stays until the process ends; as long as it is in use the file must not be changed in
    /// place (replace it by renaming a new one over it).
    ///
    /// ```no_run
    /// use skipstone::{Kernels, Model, PlanKind, Session, os};
    ///
    /// let model = Model::open("resnet20.stone".as_ref())?;
    /// let plan = model.plan(PlanKind::Fast).ok_or("no such plan")?;
    /// let mut arena = os::buffer(plan.arena_bytes(1))?;
    /// let mut session = Session::new(&model, Kernels::detect(), PlanKind::Fast, &mut arena)?;
    /// session.input().fill(128);
    /// println!("{:?}", session.run().iter().max());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read, or is no valid `.stone` file.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let file = File::open(path).map_err(OpenError::Read)?;
        let about = file.metadata().map_err(OpenError::Read)?;
        if !about.is_file() || about.len() == 0 {
            return Err(OpenError::NoFile);
        }
        let bytes: &'static [u8] = Box::leak(Box::new(map(&file).map_err(OpenError::Read)?));
        Self::parse(bytes).map_err(OpenError::Parse)
    }
}

#[expect(unsafe_code, reason = "a mapped file is memory that others may change")]
fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the documentation of `Model::open` asks that the file is not changed in place while it is mapped.
    unsafe { Mmap::map(file) }
}

/// A buffer of zeros that begins at a page: an arena. It takes memory as it is first touched.
///
/// # Errors
/// If there is not as much memory.
pub fn buffer(bytes: usize) -> io::Result<MmapMut> {
    MmapMut::map_anon(bytes.max(1))
}

/// Cores that this process may use, at least 1, not counting what [`pin`] has bound since.
#[must_use]
pub fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, core::num::NonZero::get))
}

/// Binds the calling thread to a core, counted from 0.
///
/// # Errors
/// If this process may not use that core, or the system knows no binding.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "a system call")]
pub fn pin(core: usize) -> io::Result<()> {
    if core >= libc::CPU_SETSIZE.cast_unsigned() as usize {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // What a bound thread may use is no longer what the process may use.
    let _ = cores();
    // SAFETY: an empty set is all zeros; `core` was found to be inside it; the set outlives the call.
    let result = unsafe {
        let mut set: libc::cpu_set_t = core::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Binds the calling thread to a core, counted from 0.
///
/// # Errors
/// Always: the system knows no binding.
#[cfg(not(target_os = "linux"))]
pub fn pin(_core: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Bytes of a page of memory.
#[must_use]
#[expect(unsafe_code, reason = "a system call")]
pub fn page_bytes() -> usize {
    // SAFETY: it only reads a constant of the system.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).unwrap_or(4096)
}

/// The most memory that this process held at once, in bytes; `None` where the system does not say.
#[must_use]
pub fn peak_memory() -> Option<u64> {
    host::peak_memory(&std::fs::read_to_string("/proc/self/status").ok()?)
}
