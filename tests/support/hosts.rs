//! Machines of which the files are stored: each text of `tests/hosts` is unfolded into a folder that holds its `proc`, `sys`, `etc` and `var`.
//!
//! A line `PATH = TEXT` is a file of one line; a file of several begins with `PATH <<` and ends before a line `>>`.

#![allow(dead_code, reason = "each test file uses what it needs")]

use skipstone::os::host::Host;
use std::fs;
use std::path::{Path, PathBuf};

/// A machine, in a temporary folder that goes when it is dropped.
pub struct Stored(PathBuf);

impl Stored {
    /// The machine of this name; `test` keeps apart the folders of tests that run at once.
    pub fn new(name: &str, test: &str) -> Self {
        let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hosts").join(format!("{name}.txt"));
        let text = fs::read_to_string(text).expect("a stored machine");
        let root = std::env::temp_dir().join(format!("skipstone-host-{test}-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        let machine = Self(root);
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some((path, text)) = line.split_once(" = ") {
                machine.write(path, &format!("{text}\n"));
            } else {
                let path = line.strip_suffix(" <<").expect("a path");
                let body: Vec<_> = lines.by_ref().take_while(|l| *l != ">>").collect();
                machine.write(path, &format!("{}\n", body.join("\n")));
            }
        }
        machine
    }

    /// Replaces or adds a file.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().expect("inside the folder")).expect("writable");
        fs::write(path, text).expect("writable");
    }

    /// Removes a file.
    pub fn remove(&self, path: &str) {
        fs::remove_file(self.0.join(path)).expect("it was there");
    }

    /// Where its files lie.
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// What is read of it.
    pub fn read(&self) -> Host {
        Host::read_from(&self.0)
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
