//! Arguments that several commands share.

use super::dataset::{DataSet, Shard};
use super::error::{CliError, Result};
use crate::format::{Model, PlanKind};
use crate::kernels::{Kernels, Set};
use crate::os;
use crate::picture::{Geometry, Resize};
use clap::Args;
use core::str::FromStr;
use std::path::PathBuf;

/// Kernel sets of other machines and of versions to come: their names are known, this program does not have them.
const FOREIGN: [&str; 3] = ["amx", "dsp", "mve"];
/// Threads are at most this.
const MAX_THREADS: usize = 1024;

/// What runs a network.
#[derive(Args, Clone, Debug)]
pub struct EngineArgs {
    /// Name of a kernel set.
    #[arg(long, value_name = "NAME", help = isa_help())]
    pub isa: Option<String>,
    /// Plan of the file: fast, the only one that the converter makes so far
    #[arg(long, value_name = "PLAN", value_parser = plan)]
    pub plan: Option<PlanKind>,
    /// Bind the threads to these cores: 0,2 or 0-3
    #[arg(long, value_name = "LIST")]
    pub pin: Option<Cores>,
}

/// A number of threads.
#[derive(Args, Clone, Copy, Debug)]
pub struct ThreadArgs {
    /// Threads, or auto for one a core
    #[arg(long, value_name = "N", default_value = "1", value_parser = threads)]
    pub threads: usize,
}

/// Pictures to measure with.
#[derive(Args, Clone, Debug)]
pub struct DataArgs {
    /// Pictures: a JPEG or PNG, a folder (also one sub-folder a class), a CIFAR-10 .bin, an .npy of u8 [n,h,w,3]; tensors: an .npy of f32 or i8
    #[arg(long, value_name = "DATA")]
    pub data: PathBuf,
    /// Where their classes stand.
    #[command(flatten)]
    pub labels: LabelArgs,
    /// Which of them.
    #[command(flatten)]
    pub choice: ChoiceArgs,
    /// How they were prepared.
    #[command(flatten)]
    pub geometry: GeometryArgs,
}

/// Where the classes of pictures stand.
#[derive(Args, Clone, Debug)]
pub struct LabelArgs {
    /// Classes of the pictures: a CSV of file,class (index,class for .npy and .bin), or an .npy of integers
    #[arg(long, value_name = "FILE")]
    pub truth: Option<PathBuf>,
}

/// Which pictures are taken, and how they are read.
#[derive(Args, Clone, Copy, Debug)]
pub struct ChoiceArgs {
    /// Take the first N pictures
    #[arg(long, value_name = "N", value_parser = count)]
    pub limit: Option<usize>,
    /// Take every N-th picture from number I
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Leave out pictures that cannot be read, with a warning, instead of stopping
    #[arg(long)]
    pub skip_bad: bool,
    /// Turn pictures as their EXIF orientation says (training pipelines do not)
    #[arg(long)]
    pub exif: bool,
}

/// Geometry of pictures that were prepared otherwise.
#[derive(Args, Clone, Copy, Debug)]
pub struct GeometryArgs {
    /// Resize the shorter side to N, or none (default: as the file says)
    #[arg(long, value_name = "N|none")]
    pub resize: Option<ResizeArg>,
    /// Crop the centre, N by N pixels (default: as the file says)
    #[arg(long, value_name = "N", value_parser = pixels)]
    pub crop: Option<u32>,
}

/// The value of `--resize`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResizeArg(pub Resize);

impl FromStr for ResizeArg {
    type Err = &'static str;

    fn from_str(text: &str) -> core::result::Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self(Resize::None)),
            _ => pixels(text).map(|n| Self(Resize::Shorter(n))).map_err(|_| "a number of pixels from 1 to 65535, or none"),
        }
    }
}

/// A list of cores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores(pub Vec<usize>);

impl FromStr for Cores {
    type Err = &'static str;

    fn from_str(text: &str) -> core::result::Result<Self, Self::Err> {
        let number = |t: &str| t.trim().parse().ok().filter(|&n: &usize| n < 4096);
        let range = |part: &str| match part.split_once('-') {
            Some((a, b)) => Some(number(a)?..=number(b)?).filter(|r| !r.is_empty()),
            None => number(part).map(|n| n..=n),
        };
        let parts: Option<Vec<_>> = text.split(',').map(range).collect();
        let cores: Vec<_> = parts.into_iter().flatten().flatten().collect();
        if cores.is_empty() { Err("a list of cores such as 0,2 or 0-3") } else { Ok(Self(cores)) }
    }
}

/// Reads a number of threads.
pub(super) fn threads(text: &str) -> core::result::Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=MAX_THREADS) => Ok(n),
        _ if text == "auto" => Ok(os::cores()),
        _ => Err(format!("a number from 1 to {MAX_THREADS}, or auto")),
    }
}

/// Reads a length in pixels.
pub(super) fn pixels(text: &str) -> core::result::Result<u32, &'static str> {
    text.parse().ok().filter(|n| (1..=65_535).contains(n)).ok_or("a number of pixels from 1 to 65535")
}

/// Reads a number of at least 1.
pub(super) fn count(text: &str) -> core::result::Result<usize, &'static str> {
    text.parse().ok().filter(|&n| n > 0).ok_or("a number of at least 1")
}

fn isa_help() -> String {
    let names: Vec<_> = Set::built().map(Set::name).collect();
    format!("Kernel set: {} (default: the fastest of this CPU; also SKIPSTONE_ISA)", names.join(", "))
}

fn plan(text: &str) -> core::result::Result<PlanKind, &'static str> {
    PlanKind::ALL.into_iter().find(|k| k.name() == text).ok_or("fast or small")
}

/// The kernels of a name, or the fastest of this CPU.
///
/// # Errors
/// With exit code 2 if there is no such set, 4 if this CPU or build lacks it.
pub fn kernels(isa: Option<&str>) -> Result<Kernels> {
    let (name, from) = match (isa, std::env::var("SKIPSTONE_ISA").ok().filter(|v| !v.is_empty())) {
        (Some(name), _) => (name.to_owned(), "--isa"),
        (None, Some(name)) => (name, "SKIPSTONE_ISA"),
        (None, None) => return Ok(Kernels::detect()),
    };
    let here: Vec<_> = Kernels::all().map(|k| k.set().name()).collect();
    let help = format!("this CPU has {}", here.join(", "));
    match Set::built().find(|s| s.name() == name) {
        Some(set) => Kernels::for_set(set).ok_or_else(|| CliError::machine(format!("this CPU lacks the kernel set '{name}', {from}"), help)),
        None if Set::from_name(&name).is_some() || FOREIGN.contains(&name.as_str()) => {
            Err(CliError::machine(format!("kernel set '{name}' is not for this machine, {from}"), help))
        }
        None => Err(CliError::usage(format!("unknown kernel set '{name}', {from}"), help)),
    }
}

impl DataArgs {
    /// The data set, with the classes of `model`.
    ///
    /// # Errors
    /// If there is none, or the truth does not fit.
    pub fn open(&self, model: &Model<'_>) -> Result<DataSet> {
        let labels: Vec<&str> = (0..).map_while(|class| model.label(class)).collect();
        Ok(self.choice.open(&self.data, self.labels.truth.as_deref())?.with_labels(&labels, model.classes() as usize))
    }
}

impl ChoiceArgs {
    /// The chosen part of a data set.
    ///
    /// # Errors
    /// If there is none, or the truth does not fit.
    pub fn open(&self, data: &std::path::Path, truth: Option<&std::path::Path>) -> Result<DataSet> {
        Ok(DataSet::open(data, truth, self.limit, self.shard)?.with_exif(self.exif))
    }
}

impl GeometryArgs {
    /// The geometry of a file, with what is overridden here.
    ///
    /// # Errors
    /// If something is, but the network reads no pictures.
    pub fn of(&self, model: &Model<'_>) -> Result<Geometry> {
        if model.tensor().is_some() && (self.resize.is_some() || self.crop.is_some()) {
            return Err(CliError::usage("the network reads no pictures, --resize or --crop", "leave them out"));
        }
        let kept = geometry(model);
        Ok(Geometry { resize: self.resize.map_or(kept.resize, |r| r.0), crop: self.crop.map_or(kept.crop, |n| Some([n, n])), bgr: kept.bgr })
    }
}

/// The geometry that a file asks for.
#[must_use]
pub fn geometry(model: &Model<'_>) -> Geometry {
    model.preprocess().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores() {
        assert_eq!("0,2".parse(), Ok(Cores(vec![0, 2])));
        assert_eq!("0-2,5".parse(), Ok(Cores(vec![0, 1, 2, 5])));
        assert!(["", "a", "3-1", "-1", "0,", "99999999999"].iter().all(|t| t.parse::<Cores>().is_err()));
    }

    #[test]
    fn numbers_of_threads() {
        assert_eq!((threads("3"), threads("auto")), (Ok(3), Ok(os::cores())));
        assert!(["0", "-1", "", "1e9", "99999"].iter().all(|t| threads(t).is_err()));
    }
}
