//! What `skipstone demo` shows.

use super::dataset::DataSet;
use super::demo::DemoArgs;
use super::error::{CliError, Result};
use super::output::{Output, line, print};
use crate::os;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[derive(Serialize)]
struct Report {
    schema: &'static str,
    /// Where the network and the pictures lie.
    folder: String,
    commands: Vec<Done>,
}

#[derive(Serialize)]
struct Done {
    command: String,
    result: serde_json::Value,
}

const NETWORK: &str = "resnet20";
/// Pictures that are labelled one by one.
const SHOWN: usize = 3;

pub(super) fn demo(args: &DemoArgs, output: Output) -> Result {
    let models = args.models.clone().map_or_else(find_models, Ok)?;
    let folder = &args.output;
    std::fs::create_dir_all(folder).map_err(|e| CliError::write(folder, &e))?;
    let name = folder.display().to_string();
    if !output.json {
        print(&format!("What the demo makes goes to {name}.\n"))?;
    }
    let pictures = pictures(&models.join("test.bin"), folder)?;
    let text = |path: PathBuf| path.display().to_string();
    let [onnx, calib, labels, test] = [&format!("{NETWORK}.onnx"), "calibration.bin", "cifar10-labels.txt", "test.bin"].map(|f| text(models.join(f)));
    let stone = text(folder.join(format!("{NETWORK}.stone")));
    let shown: Vec<&str> = ["run", &stone].into_iter().chain(pictures.iter().map(String::as_str)).chain(["--top", "3"]).collect();
    let threads = if os::cores() > 1 { "1,2" } else { "1" };
    let tour: [(&str, &[&str]); 7] = [
        (
            "Convert the float network to integers, with pictures from the training set.",
            &["convert", &onnx, "-o", &stone, "--calib", &calib, "--preprocess", "cifar10", "--labels", &labels],
        ),
        ("What the network sees in pictures of the test set.", &shown),
        ("Accuracy against the float network.", &["eval", &stone, "--data", &test, "--against", &onnx]),
        ("Latency and memory.", &["bench", &stone, "--time", "2", "--threads", threads]),
        ("Where the time goes, against what this core can do.", &["profile", &stone]),
        ("The same bits on every kernel set of this CPU and 1, 2 and 4 threads.", &["verify", &stone, "--isa", "all"]),
        ("What is in the file.", &["inspect", &stone]),
    ];
    let mut commands = Vec::new();
    for (why, command) in tour {
        commands.extend(one(why, command, output)?);
    }
    if output.json {
        return line(&Report { schema: "skipstone.demo/1", folder: name, commands });
    }
    print(&format!("\nThe network is {stone}, beside it lie {SHOWN} of its pictures. Yours: `skipstone convert --help`.\n"))
}

/// Runs one command, printed first; as JSON its result is kept.
fn one(why: &str, arguments: &[&str], output: Output) -> Result<Option<Done>> {
    let name = std::env::args().next().unwrap_or_else(|| "skipstone".into());
    let quoted = |word: &str| if word.contains(' ') { format!("'{word}'") } else { word.to_owned() };
    let shown = [name.as_str()].iter().chain(arguments).map(|w| quoted(w)).collect::<Vec<_>>().join(" ");
    let failed = |e: std::io::Error| CliError::machine(format!("cannot start {shown}: {e}"), "run it by hand");
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.args(arguments).stdin(Stdio::null());
    let (status, result) = if output.json {
        let done = command.arg("--json").stderr(Stdio::inherit()).output().map_err(failed)?;
        (done.status, serde_json::from_slice(&done.stdout).ok())
    } else {
        print(&format!("\n# {why}\n$ {shown}\n"))?;
        (command.status().map_err(failed)?, None)
    };
    match status.code() {
        Some(0) => Ok(result.map(|result| Done { command: shown, result })),
        code => Err(CliError {
            code: code.and_then(|c| u8::try_from(c).ok()).unwrap_or(1),
            what: format!("the demo ends here, {shown}"),
            help: "see the error above".into(),
        }),
    }
}

/// The folder `models`: here, or where the program was built.
fn find_models() -> Result<PathBuf> {
    let here = [PathBuf::from("models"), Path::new(env!("CARGO_MANIFEST_DIR")).join("models")];
    let found = here.into_iter().find(|p| p.join(format!("{NETWORK}.onnx")).is_file());
    found.ok_or_else(|| {
        CliError::input(format!("no models/{NETWORK}.onnx here"), "run the demo in a clone of the repository, or say where its models are with --models")
    })
}

/// Writes the first pictures of a data set as PNG; gives their paths.
fn pictures(from: &Path, folder: &Path) -> Result<Vec<String>> {
    let set = DataSet::open(from, None, Some(SHOWN), None)?;
    let write = |i: usize| {
        let (picture, path) = (set.load(i)?, folder.join(format!("{i}.png")));
        let failed = |e: image::ImageError| CliError::input(format!("cannot write {}: {e}", path.display()), "check that the folder may be written");
        image::save_buffer(&path, &picture.rgb, picture.width, picture.height, image::ColorType::Rgb8).map_err(failed)?;
        Ok(path.display().to_string())
    };
    (0..set.len()).map(write).collect()
}
