//! Runs the program in a folder of its own.

#![allow(dead_code, reason = "each test file uses what it needs")]

use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A temporary folder that goes when it is dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("skipstone-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a writable folder for temporary files");
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("inside the folder")).expect("writable");
        std::fs::write(&path, bytes).expect("writable");
        path
    }

    /// A PNG with pixels from a formula.
    pub fn png(&self, name: &str, width: u32, height: u32, seed: u8) -> PathBuf {
        let path = self.write(name, &[]);
        let pixel = |x: u32, y: u32| image::Rgb([x * 9 + u32::from(seed), y * 13, (x * y) ^ u32::from(seed)].map(|v| v.to_le_bytes()[0]));
        image::RgbImage::from_fn(width, height, pixel).save(&path).expect("a PNG");
        path
    }

    /// Runs the program here with these arguments, divided by spaces; `{}` in them stands for nothing special.
    pub fn run(&self, args: &str) -> Ran {
        self.run_with(args, &[], &[])
    }

    /// As `run`, with something on stdin and variables in the environment.
    pub fn run_with(&self, args: &str, stdin: &[u8], env: &[(&str, &str)]) -> Ran {
        let mut command = self.command(args);
        let mut child =
            command.envs(env.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let mut input = child.stdin.take().expect("piped");
        let bytes = stdin.to_vec();
        // The program may end without reading all of it.
        let writer = std::thread::spawn(move || drop(input.write_all(&bytes)));
        let output = child.wait_with_output().expect("the program ends");
        writer.join().expect("it writes");
        Ran::new(&output)
    }

    pub fn command(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skipstone"));
        command.args(args.split_whitespace()).current_dir(&self.0).env_remove("SKIPSTONE_ISA");
        command
    }

    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a run of the program gave.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    fn new(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Fails unless the exit code is that.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// The one JSON object on stdout, after checking the exit code and the schema.
    #[track_caller]
    pub fn json(self, code: i32, schema: &str) -> Value {
        let ran = self.expect(code);
        assert!(ran.out.starts_with(&format!("{{\"schema\":\"skipstone.{schema}/1\",")), "{}", ran.out);
        assert_eq!(ran.out.lines().count(), 1);
        let json = serde_json::from_str(&ran.out).expect("JSON");
        documented(schema, &json);
        json
    }

    /// What stands on stderr but warnings: of those a machine whose clock changes has some before every measurement.
    pub fn errors(&self) -> impl Iterator<Item = &str> {
        self.err.lines().filter(|l| !l.starts_with("warning: "))
    }

    /// Fails unless it is an error of this code in the usual form that names all of `names`.
    #[track_caller]
    pub fn error(self, code: i32, names: &[&str]) {
        let ran = self.expect(code);
        let lines: Vec<_> = ran.errors().collect();
        assert!(matches!(lines[..], [what, help] if what.starts_with("error: ") && help.starts_with("help: ") && help.len() > 10), "{}", ran.err);
        assert_eq!(ran.out, "");
        for name in names {
            assert!(lines[0].contains(name), "'{}' does not name {name}", lines[0]);
        }
    }
}

/// Fails unless the documentation names every field of a command's result.
#[track_caller]
fn documented(command: &str, json: &Value) {
    let docs = include_str!("../../docs/json.md");
    let section = docs.split("\n## ").find(|s| s.starts_with(&format!("`{command}`"))).expect("a section of docs/json.md");
    for field in json.as_object().expect("an object").keys().filter(|f| *f != "schema") {
        assert!(section.contains(&format!("`{field}`")), "docs/json.md: {command} has no field {field}");
    }
}
