//! The pictures or tensors that the user names with `--calib`, `--data` or `--eval`.
//!
//! A data set is one of
//! * a JPEG or PNG;
//! * a folder, searched recursively, its pictures in the order of their paths, with classes from `--truth` or, where no picture lies in the folder
//!   itself but some in two or more of its sub-folders, from these: the class is the label that each of them is named as, or the number that is its name, or else
//!   the number of the sub-folder in the order of their names;
//! * a CIFAR-10 binary file (`.bin`): records of a class and 3,072 bytes, the planes red, green and blue of 32x32 pixels;
//! * an `.npy` of u8 `[n, h, w, 3]`;
//! * for a network that reads no pictures an `.npy` of f32 or i8: `n` and the dimensions of the ONNX input behind its batch.

use core::fmt;
use core::str::FromStr;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::decode::{DecodeError, Decoded, decode};
use super::npy::{self, NpyError};
use super::truth::{Truth, TruthError};
use crate::format::view::TensorInput;
use crate::tensor::{self, TensorError};

const CIFAR_SIDE: u32 = 32;
const CIFAR_PLANE: usize = 1024;
const CIFAR_RECORD: u64 = 1 + 3 * CIFAR_PLANE as u64;
const CIFAR_CLASSES: u8 = 10;
/// Endings of pictures that are not read.
const OTHERS: [&str; 9] = ["webp", "bmp", "gif", "tif", "tiff", "heic", "avif", "jxl", "ppm"];
/// Largest file that is read as a picture.
const MAX_FILE: u64 = 1 << 30;

/// Every `count`-th picture, from number `index`: shards with the same count are disjoint and together everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Number of the first picture, below `count`.
    pub index: usize,
    /// Distance between pictures, at least 1.
    pub count: usize,
}

impl FromStr for Shard {
    type Err = &'static str;

    /// Reads `I/N` with `I` from 0 to `N` - 1.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('/').and_then(|(i, n)| Some(Self { index: i.parse().ok()?, count: n.parse().ok()? }));
        parts.filter(|shard| shard.index < shard.count).ok_or("a shard is I/N with I from 0 to N-1")
    }
}

/// Pictures in a fixed order, with their classes where these are known. May be read by several threads at once.
#[derive(Debug)]
pub struct DataSet {
    path: PathBuf,
    source: Source,
    /// Numbers of the pictures within the source, after limit and shard.
    chosen: Vec<usize>,
    /// Pictures after the limit.
    whole: usize,
    /// Classes of the chosen pictures.
    labels: Option<Vec<u32>>,
    /// Names of the sub-folders that are the classes.
    folders: Vec<String>,
    exif: bool,
}

#[derive(Debug)]
enum Source {
    Files(Vec<PathBuf>),
    Cifar { file: Mutex<File>, count: u64 },
    Npy { file: Mutex<File>, data: u64, count: u64, kind: Kind, shape: Vec<u32> },
}

/// Elements of an `.npy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Pictures,
    Floats,
    Integers,
}

/// Why a data set or one of its pictures cannot be used. Each names the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataError {
    /// A file or folder cannot be read.
    Read(PathBuf, String),
    /// A folder where one picture is expected.
    Folder(PathBuf),
    /// There is no picture in it, or none in the part that limit and shard leave.
    Empty(PathBuf),
    /// A picture (by its name) cannot be decoded.
    Picture(String, DecodeError),
    /// The size of a `.bin` is no number of CIFAR-10 records.
    CifarSize(PathBuf, u64),
    /// A record of a `.bin` has a class over 9.
    CifarClass(String, u8),
    /// An `.npy` cannot be read.
    Npy(PathBuf, NpyError),
    /// An `.npy` has neither the type nor the shape of pictures or tensors.
    NpyShape(PathBuf, String, Vec<u64>),
    /// An `.npy` has not the bytes that its header says, or not just these.
    NpyBytes(PathBuf),
    /// A tensor, by its name, stands where the network reads pictures.
    Tensor(String),
    /// A tensor, by its name, has not the dimensions that the network reads, or is a picture.
    Layout(String, Option<Vec<u32>>, Vec<u32>),
    /// The values of a tensor, by its name, are no input.
    Values(String, TensorError),
    /// A tensor to calibrate with, by its name, has values without end or that are no numbers.
    Infinite(String),
    /// The file of `--truth` cannot be used.
    Truth(PathBuf, TruthError),
    /// A picture (by its name) has no line in the file of `--truth`.
    NoTruth(String, PathBuf),
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, why) => write!(f, "cannot read {}: {why}", path.display()),
            Self::Folder(path) => write!(f, "{} is a folder, not a picture", path.display()),
            Self::Empty(path) => write!(f, "no pictures in {}", path.display()),
            Self::Picture(name, error) => write!(f, "{name}: {error}"),
            Self::CifarSize(path, bytes) => write!(f, "{}: {bytes} bytes are no CIFAR-10 records of {CIFAR_RECORD} bytes", path.display()),
            Self::CifarClass(name, class) => write!(f, "{name}: class {class}, CIFAR-10 has 0 to 9"),
            Self::Npy(path, error) => write!(f, "{}: {error}", path.display()),
            Self::NpyShape(path, kind, shape) => {
                write!(f, "{}: an array of {kind} {shape:?} is neither u8 [n, h, w, 3] nor f32 or i8 [n, ...]", path.display())
            }
            Self::NpyBytes(path) => write!(f, "{}: an .npy file with more or fewer bytes than its header says", path.display()),
            Self::Tensor(name) => write!(f, "{name}: a tensor where the network reads pictures"),
            Self::Layout(name, None, read) => write!(f, "{name}: a picture where the network reads {read:?}"),
            Self::Layout(name, Some(given), read) => write!(f, "{name}: a tensor {given:?} where the network reads {read:?}"),
            Self::Values(name, error) => write!(f, "{name}: {error}"),
            Self::Infinite(name) => write!(f, "{name}: a value is infinite or not a number"),
            Self::Truth(path, error) => write!(f, "{}: {error}", path.display()),
            Self::NoTruth(name, truth) => write!(f, "no class for {name} in {}", truth.display()),
        }
    }
}

impl DataError {
    /// What to do about it.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Read(..) | Self::Truth(_, TruthError::Read(_)) => "check the path and that it may be read",
            Self::Folder(..) => "name the pictures in it, as your shell's FOLDER/* does; `skipstone eval NET.stone --data FOLDER` goes through a whole folder",
            Self::Empty(..) => {
                "give a JPEG, a PNG, a folder of them (other formats are left out: save these as PNG), a CIFAR-10 .bin or an .npy; check --limit and --shard"
            }
            Self::Picture(_, error) => error.help(),
            Self::CifarSize(..) | Self::CifarClass(..) => "give a file of the CIFAR-10 binary version (not CIFAR-100, and unpacked)",
            Self::Npy(..) => "save it anew with numpy.save(file, numpy.ascontiguousarray(array))",
            Self::NpyShape(..) => {
                "save pictures as numpy.uint8 [n, height, width, 3], tensors as numpy.float32 or numpy.int8 in little-endian order, n in front"
            }
            Self::NpyBytes(..) => "copy or save it again",
            Self::Tensor(..) => "give pictures (in an .npy as numpy.uint8 [n, height, width, 3]), or convert the network with --preprocess tensor",
            Self::Layout(..) => "save an .npy of f32 or i8 in the layout of the ONNX input, n in front",
            Self::Values(..) | Self::Infinite(..) => "mend the data, or leave it out (--skip-bad)",
            Self::Truth(..) => "write one `file,class` a line (for .npy and .bin `index,class`), the class as a number from 0",
            Self::NoTruth(..) => {
                "name each picture by its path in the folder or by its file name, or in a .bin or .npy by its number from 0; then a comma and its class"
            }
        }
    }
}

impl core::error::Error for DataError {}

impl DataSet {
    /// Opens a data set; pictures are read when they are loaded. `limit` takes the first so many, of these `shard` its part.
    ///
    /// # Errors
    /// If there is nothing to read, a file is no data set, or `truth` does not know one of the pictures.
    pub fn open(path: &Path, truth: Option<&Path>, limit: Option<usize>, shard: Option<Shard>) -> Result<Self, DataError> {
        let unreadable = |error: io::Error| DataError::Read(path.to_owned(), error.to_string());
        let metadata = fs::metadata(path).map_err(unreadable)?;
        let source = match extension(path).as_str() {
            _ if metadata.is_dir() => Source::Files(pictures_in(path)?),
            "bin" => cifar(path, metadata.len())?,
            "npy" => array(path, metadata.len())?,
            _ => Source::Files(vec![path.to_owned()]),
        };
        let shard = shard.unwrap_or(Shard { index: 0, count: 1 });
        let whole = source.count().min(limit.unwrap_or(usize::MAX));
        let chosen: Vec<usize> = (0..whole).skip(shard.index).step_by(shard.count.max(1)).collect();
        if chosen.is_empty() {
            return Err(DataError::Empty(path.to_owned()));
        }
        let mut set = Self { path: path.to_owned(), source, chosen, whole, labels: None, folders: Vec::new(), exif: false };
        set.labels = match truth {
            Some(file) => Some(set.classes_from(file)?),
            None => set.classes_within()?,
        };
        Ok(set)
    }

    /// The same pictures; where sub-folders are their classes and each is named as a label of the network, or as the number of one of its `classes`, that is the class.
    /// Says on stderr where some are not, or where they are not as many as the classes.
    #[must_use]
    pub fn with_labels(mut self, labels: &[impl AsRef<str>], classes: usize) -> Self {
        let label = |folder: &String| labels.iter().zip(0..).find(|(label, _)| label.as_ref() == folder).map(|(_, number)| number);
        let number = |folder: &String| folder.parse().ok().filter(|&n: &u32| (n as usize) < classes);
        let named: Vec<Option<u32>> = self.folders.iter().map(label).collect();
        let numbers = |found: &[Option<u32>]| found.iter().copied().collect::<Option<Vec<u32>>>();
        let counted: Vec<Option<u32>> = self.folders.iter().map(number).collect();
        if let Some(numbers) = numbers(&named).or_else(|| numbers(&counted)) {
            self.labels.iter_mut().flatten().for_each(|class| *class = numbers.get(*class as usize).copied().unwrap_or(*class));
            return self;
        }
        // Other names altogether, in the order of the classes, are usual.
        let unnamed = named.iter().position(Option::is_none).filter(|_| named.iter().any(Option::is_some));
        if classes > 0 && classes != self.folders.len() || unnamed.is_some() {
            let (set, folders) = (self.path.display(), self.folders.len());
            let odd = unnamed.map_or_else(String::new, |i| format!(", {} is no label of it", self.folders[i]));
            eprintln!(
                "warning: {set}: {folders} folders for the network's {classes} classes{odd}: they are counted in the order of their names; \
                 name each folder as its label or by the number of its class, or give the classes with --truth"
            );
        }
        self
    }

    /// The same pictures, turned as their EXIF orientation says.
    #[must_use]
    pub fn with_exif(self, exif: bool) -> Self {
        Self { exif, ..self }
    }

    /// Number of pictures, at least 1.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a data set is never empty")]
    pub fn len(&self) -> usize {
        self.chosen.len()
    }

    /// Number of pictures of the set of which a shard was taken.
    #[must_use]
    pub const fn whole(&self) -> usize {
        self.whole
    }

    /// The number of picture `i` in that set.
    ///
    /// # Panics
    /// If `i` is not below [`len`](Self::len).
    #[must_use]
    pub fn number(&self, i: usize) -> usize {
        self.chosen[i]
    }

    /// The name of picture `i`: its path, or the file and its number there, as in `test.bin[12]`.
    ///
    /// # Panics
    /// If `i` is not below [`len`](Self::len).
    #[must_use]
    pub fn name(&self, i: usize) -> String {
        match &self.source {
            Source::Files(files) => files[self.chosen[i]].display().to_string(),
            Source::Cifar { .. } | Source::Npy { .. } => format!("{}[{}]", self.path.display(), self.chosen[i]),
        }
    }

    /// True if the classes are known.
    #[must_use]
    pub const fn has_labels(&self) -> bool {
        self.labels.is_some()
    }

    /// The class of picture `i`, where classes are known.
    #[must_use]
    pub fn label(&self, i: usize) -> Option<u32> {
        self.labels.as_ref()?.get(i).copied()
    }

    /// Reads picture `i`.
    ///
    /// # Errors
    /// If the file cannot be read or decoded.
    ///
    /// # Panics
    /// If `i` is not below [`len`](Self::len).
    pub fn load(&self, i: usize) -> Result<Decoded, DataError> {
        let k = self.chosen[i] as u64;
        match &self.source {
            Source::Files(files) => load_picture(&files[self.chosen[i]], self.exif),
            Source::Cifar { file, .. } => {
                let mut planes = vec![0; 3 * CIFAR_PLANE];
                self.read_at(file, k * CIFAR_RECORD + 1, &mut planes)?;
                let rgb = (0..CIFAR_PLANE).flat_map(|p| [planes[p], planes[CIFAR_PLANE + p], planes[2 * CIFAR_PLANE + p]]).collect();
                Ok(Decoded { width: CIFAR_SIDE, height: CIFAR_SIDE, rgb })
            }
            Source::Npy { file, data, kind: Kind::Pictures, shape, .. } => {
                let (height, width) = (shape[0], shape[1]);
                let mut rgb = vec![0; height as usize * width as usize * 3];
                self.read_at(file, data + k * rgb.len() as u64, &mut rgb)?;
                Ok(Decoded { width, height, rgb })
            }
            Source::Npy { .. } => Err(DataError::Tensor(self.name(i))),
        }
    }

    /// Sizes of each tensor, outermost first; nothing for pictures.
    #[must_use]
    pub fn dimensions(&self) -> Option<&[u32]> {
        match &self.source {
            Source::Npy { kind: Kind::Floats | Kind::Integers, shape, .. } => Some(shape),
            _ => None,
        }
    }

    /// Reads tensor `i`: its values, or as `false` says, integers that count steps of a scale. Nothing for pictures.
    ///
    /// # Errors
    /// If the file cannot be read.
    ///
    /// # Panics
    /// If `i` is not below [`len`](Self::len).
    pub fn values(&self, i: usize) -> Result<Option<(Vec<f32>, bool)>, DataError> {
        let Source::Npy { file, data, kind: kind @ (Kind::Floats | Kind::Integers), shape, .. } = &self.source else { return Ok(None) };
        let floats = *kind == Kind::Floats;
        // The file is as long as its header says.
        let elements = shape.iter().fold(1, |all, &n| all * n as usize);
        let mut bytes = vec![0; if floats { 4 * elements } else { elements }];
        self.read_at(file, data + self.chosen[i] as u64 * bytes.len() as u64, &mut bytes)?;
        let values = if floats {
            bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
        } else {
            bytes.into_iter().map(|b| f32::from(b.cast_signed())).collect()
        };
        Ok(Some((values, floats)))
    }

    /// As [`values`](Self::values), all of them finite.
    ///
    /// # Errors
    /// If the file cannot be read, or a value is infinite or not a number.
    ///
    /// # Panics
    /// If `i` is not below [`len`](Self::len).
    pub fn finite(&self, i: usize) -> Result<Option<(Vec<f32>, bool)>, DataError> {
        match self.values(i)? {
            Some((values, _)) if values.iter().any(|v| !v.is_finite()) => Err(DataError::Infinite(self.name(i))),
            found => Ok(found),
        }
    }

    /// Makes the input of a network from tensor `i`.
    ///
    /// # Errors
    /// If it cannot be read, is not what the network reads, or a value is not a number.
    ///
    /// # Panics
    /// If `i` is not below [`len`](Self::len).
    pub fn fill(&self, i: usize, input: &mut [u8], layout: &TensorInput) -> Result<(), DataError> {
        let read = layout.dimensions();
        let Some((values, floats)) = self.values(i)?.filter(|_| self.dimensions() == Some(read)) else {
            return Err(DataError::Layout(self.name(i), self.dimensions().map(<[u32]>::to_vec), read.to_vec()));
        };
        let scale = if floats { layout.scale } else { 1.0 };
        tensor::fill(input, &values, &TensorInput { scale, ..*layout }).map_err(|error| DataError::Values(self.name(i), error))
    }

    /// What was loaded, but with `skip_bad` something bad is `None` and named in a warning on stderr.
    ///
    /// # Errors
    /// The error of what is bad, or does not fit the network at all.
    pub fn unless_bad<T>(loaded: Result<T, DataError>, skip_bad: bool) -> Result<Option<T>, DataError> {
        match loaded {
            Ok(item) => Ok(Some(item)),
            Err(error) if skip_bad && !matches!(error, DataError::Tensor(_) | DataError::Layout(..)) => {
                eprintln!("warning: skipped {error}");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn read_at(&self, file: &Mutex<File>, at: u64, out: &mut [u8]) -> Result<(), DataError> {
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(out));
        read.map_err(|error| DataError::Read(self.path.clone(), error.to_string()))
    }

    /// Classes that the file of `--truth` gives.
    fn classes_from(&self, file: &Path) -> Result<Vec<u32>, DataError> {
        let truth = Truth::read(file).map_err(|error| DataError::Truth(file.to_owned(), error))?;
        let key = |k: usize| match &self.source {
            Source::Files(files) if files[k] == self.path => files[k].file_name().unwrap_or_default().to_string_lossy().into_owned(),
            Source::Files(files) => files[k].strip_prefix(&self.path).unwrap_or(&files[k]).to_string_lossy().into_owned(),
            Source::Cifar { .. } | Source::Npy { .. } => k.to_string(),
        };
        let class = |(i, &k): (usize, &usize)| truth.class(&key(k)).ok_or_else(|| DataError::NoTruth(self.name(i), file.to_owned()));
        self.chosen.iter().enumerate().map(class).collect()
    }

    /// Classes that the data set itself gives.
    fn classes_within(&mut self) -> Result<Option<Vec<u32>>, DataError> {
        match &self.source {
            Source::Files(files) => Ok(folder_classes(&self.path, files)?.map(|(folders, all)| {
                self.folders = folders;
                self.chosen.iter().map(|&k| all[k]).collect()
            })),
            Source::Npy { .. } => Ok(None),
            Source::Cifar { file, .. } => {
                let class = |(i, &k): (usize, &usize)| {
                    let mut class = [0];
                    self.read_at(file, k as u64 * CIFAR_RECORD, &mut class)?;
                    let [class] = class;
                    if class < CIFAR_CLASSES { Ok(u32::from(class)) } else { Err(DataError::CifarClass(self.name(i), class)) }
                };
                self.chosen.iter().enumerate().map(class).collect::<Result<_, _>>().map(Some)
            }
        }
    }
}

impl Source {
    fn count(&self) -> usize {
        match self {
            Self::Files(files) => files.len(),
            Self::Cifar { count, .. } | Self::Npy { count, .. } => usize::try_from(*count).unwrap_or(usize::MAX),
        }
    }
}

/// Reads and decodes one file; with `exif` it is turned as its EXIF orientation says.
///
/// # Errors
/// If the file cannot be read or decoded.
pub fn load_picture(path: &Path, exif: bool) -> Result<Decoded, DataError> {
    let unreadable = |error: io::Error| DataError::Read(path.to_owned(), error.to_string());
    if path.is_dir() {
        return Err(DataError::Folder(path.to_owned()));
    }
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes).map_err(unreadable)?;
    decode(&bytes, exif).map_err(|error| DataError::Picture(path.display().to_string(), error))
}

/// What stands behind the last dot of a file's name, in small letters.
pub(super) fn extension(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}

fn cifar(path: &Path, bytes: u64) -> Result<Source, DataError> {
    if bytes == 0 || !bytes.is_multiple_of(CIFAR_RECORD) {
        return Err(DataError::CifarSize(path.to_owned(), bytes));
    }
    let file = File::open(path).map_err(|error| DataError::Read(path.to_owned(), error.to_string()))?;
    Ok(Source::Cifar { file: Mutex::new(file), count: bytes / CIFAR_RECORD })
}

fn array(path: &Path, bytes: u64) -> Result<Source, DataError> {
    let mut file = File::open(path).map_err(|error| DataError::Read(path.to_owned(), error.to_string()))?;
    let header = npy::header(&mut file).map_err(|error| DataError::Npy(path.to_owned(), error))?;
    let (kind, width) = match (header.kind.as_str(), header.shape.as_slice()) {
        (_, shape) if shape.is_empty() || shape.iter().any(|&n| n == 0 || n > u64::from(u32::MAX)) => {
            return Err(DataError::NpyShape(path.to_owned(), header.kind, header.shape));
        }
        ("|u1" | "<u1" | ">u1", [_, 1..=65_535, 1..=65_535, 3]) => (Kind::Pictures, 1),
        ("|i1" | "<i1" | ">i1", _) => (Kind::Integers, 1),
        ("<f4", _) => (Kind::Floats, 4),
        _ => return Err(DataError::NpyShape(path.to_owned(), header.kind, header.shape)),
    };
    if header.elements().and_then(|n| n.checked_mul(width)?.checked_add(header.data)) != Some(bytes) {
        return Err(DataError::NpyBytes(path.to_owned()));
    }
    let shape = header.shape[1..].iter().map(|&n| u32::try_from(n).unwrap_or(u32::MAX)).collect();
    Ok(Source::Npy { file: Mutex::new(file), data: header.data, count: header.shape[0], kind, shape })
}

/// The entries of a folder without hidden ones, in the order of their names.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let unreadable = |error: io::Error| DataError::Read(folder.to_owned(), error.to_string());
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// The pictures of a folder and all folders in it, in the order of their paths.
fn pictures_in(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let (mut found, mut others) = (Vec::new(), Vec::new());
    collect(folder, &mut Vec::new(), &mut found, &mut others)?;
    found.sort();
    if let Some(first) = others.first() {
        let (count, set) = (others.len(), folder.display());
        eprintln!("warning: {set}: {count} pictures of other formats are left out, such as {}: save them as PNG", first.display());
    }
    Ok(found)
}

/// Those of other formats become `others`. `above` are the real paths of the folders around, so that a link to one of them is not followed in circles.
fn collect(folder: &Path, above: &mut Vec<PathBuf>, found: &mut Vec<PathBuf>, others: &mut Vec<PathBuf>) -> Result<(), DataError> {
    let real = fs::canonicalize(folder).map_err(|error| DataError::Read(folder.to_owned(), error.to_string()))?;
    if above.contains(&real) {
        return Ok(());
    }
    above.push(real);
    for path in entries(folder)? {
        if path.is_dir() {
            collect(&path, above, found, others)?;
        } else if ["jpg", "jpeg", "png"].contains(&extension(&path).as_str()) {
            found.push(path);
        } else if OTHERS.contains(&extension(&path).as_str()) {
            others.push(path);
        }
    }
    above.pop();
    Ok(())
}

/// The names of sub-folders, and the number of that in which each file lies.
type Folders = (Vec<String>, Vec<u32>);

/// The sub-folders, if the pictures are sorted into them.
fn folder_classes(folder: &Path, files: &[PathBuf]) -> Result<Option<Folders>, DataError> {
    if files == [folder] {
        return Ok(None);
    }
    let folders: Vec<_> = entries(folder)?.into_iter().filter(|path| path.is_dir()).collect();
    let names = folders.iter().map(|path| path.file_name().unwrap_or_default().to_string_lossy().into_owned()).collect();
    let numbers: HashMap<PathBuf, u32> = folders.into_iter().zip(0..).collect();
    let top = |file: &PathBuf| Some(folder.join(file.strip_prefix(folder).ok()?.components().next()?));
    let class = |file: &PathBuf| numbers.get(&top(file)?).copied();
    let classes: Option<Vec<u32>> = files.iter().map(class).collect();
    Ok(classes.filter(|classes| classes.first() != classes.last()).map(|classes| (names, classes)))
}
