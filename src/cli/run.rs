//! `skipstone run`: labels of pictures.

use super::args::{EngineArgs, GeometryArgs, ThreadArgs, count};
use super::dataset::{DataSet, extension, load_picture};
use super::decode::decode;
use super::engine::{Engine, Preparer, input_bytes, load, put};
use super::error::{CliError, Result};
use super::output::{Output, hex, line};
use crate::crc::crc32;
use crate::os;
use crate::picture::{Format, Picture};
use crate::session::{Scores, Session};
use clap::Args;
use core::fmt::Write as _;
use core::str::FromStr;
use serde::Serialize;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Labels of pictures
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  skipstone run net.stone cat.jpg dog.png\n  curl -s https://example.org/cat.jpg | skipstone run net.stone -\n  \
                        ffmpeg -i /dev/video0 -f rawvideo -pix_fmt yuv420p - | skipstone run net.stone --raw 640x480:yuv420")]
pub struct RunArgs {
    /// The network
    net: PathBuf,
    /// Pictures, JPEG or PNG; - reads one from stdin; an .npy of tensors or pictures. Bad ones are named at the end, with exit code 3; the others are labelled
    #[arg(required_unless_present = "raw", conflicts_with = "raw")]
    pictures: Vec<PathBuf>,
    /// Classes to show
    #[arg(long, value_name = "K", default_value = "5", value_parser = count)]
    top: usize,
    /// Read frames from stdin until it ends: WxH:rgb24, gray8 or yuv420 (planar I420, BT.601 limited range); prints one JSON object a line
    #[arg(long, value_name = "WxH:FORMAT")]
    raw: Option<Raw>,
    /// Turn pictures as their EXIF orientation says
    #[arg(long)]
    exif: bool,
    #[command(flatten)]
    geometry: GeometryArgs,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    threads: ThreadArgs,
}

/// Size and format of raw frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Raw {
    width: u32,
    height: u32,
    format: Format,
}

impl FromStr for Raw {
    type Err = &'static str;

    fn from_str(text: &str) -> core::result::Result<Self, Self::Err> {
        let number = |t: &str| (!t.is_empty() && t.bytes().all(|b| b.is_ascii_digit())).then(|| t.parse().unwrap_or(u32::MAX));
        let parse = || {
            let (size, format) = text.split_once(':')?;
            let (width, height) = size.split_once('x')?;
            Some(Self { width: number(width)?, height: number(height)?, format: Format::named(format)? })
        };
        let raw = parse().ok_or("WIDTHxHEIGHT:FORMAT with FORMAT rgb24, gray8 or yuv420, as in 640x480:yuv420")?;
        let fits = [raw.width, raw.height].iter().all(|side| (1..=65_535).contains(side));
        if fits { Ok(raw) } else { Err("a frame has 1 to 65535 pixels a side") }
    }
}

#[derive(Serialize)]
struct Report {
    schema: &'static str,
    pictures: Vec<Labelled>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    bad: Vec<Bad>,
}

/// A picture that cannot be labelled.
#[derive(Serialize)]
struct Bad {
    path: String,
    error: String,
}

#[derive(Serialize)]
struct Labelled {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    frame: Option<u64>,
    top: Vec<Class>,
    scores_crc32: String,
}

#[derive(Serialize)]
struct Class {
    class: usize,
    label: Option<String>,
    score: f64,
    probability: f64,
}

const SCHEMA: &str = "skipstone.run/1";
/// Bad pictures that are named on stderr.
const SHOWN: usize = 20;

/// Runs the command.
///
/// # Errors
/// If the network or a picture cannot be used.
pub fn run(args: &RunArgs, output: Output) -> Result {
    let engine = Engine::open(&args.net, &args.engine)?;
    engine.warn_of_turns(args.threads.threads);
    let pool = engine.pool(args.threads.threads)?;
    let mut arena = engine.arena(args.threads.threads)?;
    let mut runner = Runner {
        session: engine.session(&mut arena, &pool)?,
        preparer: Preparer::new(&engine.model, args.geometry.of(&engine.model)?),
        input: vec![0; input_bytes(&engine.model)],
        top: args.top,
    };
    if let Some(raw) = args.raw {
        return runner.frames(raw, io::stdin().lock());
    }
    let (mut pictures, mut bad, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for path in &args.pictures {
        let found = if extension(path) == "npy" { runner.array(path) } else { vec![(path.display().to_string(), runner.file(path, args.exif))] };
        for (path, labelled) in found {
            match labelled {
                Ok(labelled) => pictures.push(labelled),
                Err(error) => {
                    bad.push(Bad { path, error: error.what.clone() });
                    errors.push(error);
                }
            }
        }
    }
    let report = Report { schema: SCHEMA, pictures, bad };
    if output.json || !report.pictures.is_empty() {
        output.show(&report, || text(&report))?;
    }
    if errors.len() > 1 {
        report.bad.iter().take(SHOWN).for_each(|bad| eprintln!("warning: skipped {}", bad.error));
        let (bad, all) = (report.bad.len(), report.bad.len() + report.pictures.len());
        let paths: Vec<_> = report.bad.iter().take(SHOWN).map(|bad| bad.path.as_str()).collect();
        let others = if bad > SHOWN { format!(" and {} more (`bad` in --json has all)", bad - SHOWN) } else { String::new() };
        let what = format!("{bad} of {all} pictures are bad: {}{others}", paths.join(", "));
        return Err(CliError::input(what, "the warnings say why: mend them or leave them out"));
    }
    errors.pop().map_or(Ok(()), Err)
}

struct Runner<'a> {
    session: Session<'a>,
    preparer: Preparer,
    input: Vec<u8>,
    top: usize,
}

impl Runner<'_> {
    fn file(&mut self, path: &Path, exif: bool) -> Result<Labelled> {
        let name = path.display().to_string();
        let picture = if name == "-" {
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes).map_err(|e| CliError::read(Path::new("stdin"), &e))?;
            decode(&bytes, exif).map_err(|e| CliError::input(format!("stdin: {e}"), e.help()))?
        } else {
            load_picture(path, exif)?
        };
        self.label(&picture.picture(), name, None)
    }

    /// Labels all that is in an `.npy`.
    fn array(&mut self, path: &Path) -> Vec<(String, Result<Labelled>)> {
        let set = match DataSet::open(path, None, None, None) {
            Ok(set) => set,
            Err(error) => return vec![(path.display().to_string(), Err(error.into()))],
        };
        let one = |i: usize| {
            let name = set.name(i);
            let loaded = load(&set, i, false, &mut self.preparer, &mut self.input);
            (name.clone(), loaded.map(|_| self.scored(name, None)))
        };
        (0..set.len()).map(one).collect()
    }

    fn frames(&mut self, raw: Raw, mut from: impl Read) -> Result {
        let Raw { width, height, format } = raw;
        let bytes =
            usize::try_from(format.bytes(width, height)).map_err(|e| CliError::machine(format!("frames of this size, --raw: {e}"), "use smaller frames"))?;
        let mut frame =
            os::buffer(bytes).map_err(|e| CliError::machine(format!("no memory for a frame of {bytes} bytes, --raw: {e}"), "use smaller frames"))?;
        for number in 0.. {
            let got = fill_from(&mut from, &mut frame).map_err(|e| CliError::read(Path::new("stdin"), &e))?;
            if got == 0 && number == 0 {
                let help = format!("check that the source runs: a frame is {bytes} bytes");
                return Err(CliError::input("stdin: no frame came, --raw", help));
            }
            if got == 0 {
                break;
            }
            if got < bytes {
                let what = format!("stdin: frame {number} ends after {got} of {bytes} bytes");
                return Err(CliError::input(what, "check that width, height and format are those of the source, --raw"));
            }
            let picture = Picture { bytes: &frame, width, height, format };
            let labelled = self.label(&picture, "-".into(), Some(number))?;
            line(&Report { schema: SCHEMA, pictures: vec![labelled], bad: Vec::new() })?;
        }
        Ok(())
    }

    fn label(&mut self, picture: &Picture<'_>, path: String, frame: Option<u64>) -> Result<Labelled> {
        self.preparer.fill(&mut self.input, picture).map_err(|e| CliError::picture(&path, &e))?;
        Ok(self.scored(path, frame))
    }

    /// What the network says of the input.
    fn scored(&mut self, path: String, frame: Option<u64>) -> Labelled {
        put(&mut self.session, &self.input);
        let model = self.session.plan().model();
        let scores = self.session.run();
        let label = |class: usize| model.label(class).map(str::to_owned);
        let top = best(scores, self.top).into_iter().map(|(class, score, probability)| Class { class, label: label(class), score, probability }).collect();
        Labelled { path, frame, top, scores_crc32: hex(crc32(scores.bytes())) }
    }
}

/// Fills the buffer as far as the source reaches.
fn fill_from(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match from.read(&mut buffer[got..]) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(got)
}

/// The `k` best classes, best first, equal scores by the lower index; with their real scores and the softmax of these.
fn best(scores: Scores<'_>, k: usize) -> Vec<(usize, f64, f64)> {
    let mut order: Vec<(usize, i32)> = scores.iter().enumerate().collect();
    order.sort_by_key(|&(class, score)| (core::cmp::Reverse(score), class));
    let most = order.first().map_or(0, |&(_, score)| score);
    let scale = f64::from(scores.scale());
    let power = |score: i32| ((f64::from(score) - f64::from(most)) * scale).exp();
    let sum: f64 = order.iter().map(|&(_, score)| power(score)).sum();
    order.into_iter().take(k).map(|(class, score)| (class, f64::from(score) * scale, power(score) / sum)).collect()
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for picture in &report.pictures {
        let _ = writeln!(text, "{}", picture.path);
        for class in &picture.top {
            let name = class.label.clone().unwrap_or_else(|| format!("class {}", class.class));
            let _ = writeln!(text, "  {:5.1} %  {name}", class.probability * 100.0);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_formats() {
        assert_eq!("640x480:yuv420".parse(), Ok(Raw { width: 640, height: 480, format: Format::Yuv420 }));
        assert!(["640x480", "0x5:rgb24", "5x:rgb24", "5x5:bgr", "x:gray8", "70000x1:gray8"].iter().all(|t| t.parse::<Raw>().is_err()));
    }

    #[test]
    fn reads_in_pieces() {
        let mut buffer = [0; 4];
        assert_eq!(fill_from(&mut (&[1u8, 2][..]).chain(&[3u8][..]), &mut buffer).ok(), Some(3));
        assert_eq!(buffer, [1, 2, 3, 0]);
    }
}
