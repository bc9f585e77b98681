//! Errors as the user sees them: what is wrong and where, then what to do; and the exit code that scripts rely on.

use super::dataset::DataError;
use super::foreign::Foreign;
use crate::os::OpenError;
use crate::picture::PictureError;
use crate::session::SessionError;
use clap::error::ErrorKind;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// Why the program ends without success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CliError {
    /// 1 a check failed, 2 usage, 3 a bad input or an output that cannot be written, 4 this machine or this build cannot. 0 ends quietly.
    pub code: u8,
    /// What is wrong, and where.
    pub what: String,
    /// What to do about it.
    pub help: String,
}

const COMMANDS: &str = "`skipstone --help` lists the commands, `skipstone COMMAND --help` what each takes";

/// What a command gives.
pub type Result<T = ()> = core::result::Result<T, CliError>;

impl CliError {
    fn new(code: u8, what: impl Into<String>, help: impl Into<String>) -> Self {
        Self { code, what: what.into(), help: help.into() }
    }

    /// A check did not hold.
    #[cold]
    #[inline(never)]
    pub fn check(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(1, what, help)
    }

    /// The arguments make no sense.
    #[cold]
    #[inline(never)]
    pub fn usage(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(2, what, help)
    }

    /// An input is bad or an output cannot be written.
    #[cold]
    #[inline(never)]
    pub fn input(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(3, what, help)
    }

    /// The machine or this build cannot.
    #[cold]
    #[inline(never)]
    pub fn machine(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(4, what, help)
    }

    /// A `.stone` file cannot be used.
    #[must_use]
    pub fn open(path: &Path, error: &OpenError) -> Self {
        if let Some(foreign) = Foreign::at(path).filter(|&foreign| foreign != Foreign::Stone) {
            return Self::input(format!("{}: this is {}, no .stone file", path.display(), foreign.name()), foreign.help(path));
        }
        let help = match error {
            OpenError::Read(_) => "check the path and that it may be read",
            OpenError::NoFile => "give a .stone file, made by `skipstone convert`",
            OpenError::Parse(_) => "convert the network again with this version of skipstone, or copy the file again",
        };
        Self::input(format!("{}: {error}", path.display()), help)
    }

    /// A file cannot be written.
    #[must_use]
    pub fn write(path: &Path, error: &io::Error) -> Self {
        Self::input(format!("cannot write {}: {error}", path.display()), "check that its folder exists, may be written and has room")
    }

    /// A file cannot be read.
    #[must_use]
    pub fn read(path: &Path, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::InvalidData {
            return Self::input(format!("{} is no text", path.display()), "give a text file, UTF-8");
        }
        Self::input(format!("cannot read {}: {error}", path.display()), "check the path and that it may be read")
    }

    /// The result cannot be written: quietly if the reader has gone.
    #[must_use]
    pub fn stdout(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(0, "", "");
        }
        Self::input(format!("cannot write the result: {error}"), "check where stdout goes")
    }

    /// A picture does not fit the network.
    #[must_use]
    pub fn picture(name: &str, error: &PictureError) -> Self {
        Self::input(format!("{name}: {error}"), error.help())
    }

    /// Says it on stderr, and gives the exit code.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        if !self.what.is_empty() {
            eprintln!("error: {}\nhelp: {}", self.what, self.help);
        }
        ExitCode::from(self.code)
    }
}

impl From<DataError> for CliError {
    fn from(error: DataError) -> Self {
        Self::input(error.to_string(), error.help())
    }
}

impl From<SessionError> for CliError {
    fn from(error: SessionError) -> Self {
        Self::machine(error.to_string(), "use `skipstone inspect` to see what the file needs")
    }
}

impl From<clap::Error> for CliError {
    /// The first paragraph of clap's message is what is wrong, its tips are the help.
    fn from(error: clap::Error) -> Self {
        if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            return Self::usage("a command is missing", COMMANDS);
        }
        let text = error.render().to_string();
        let body = text.split("\n\nUsage:").next().unwrap_or_default().split("\n\nFor more information").next().unwrap_or_default();
        let mut parts = body.split("\n\n").map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
        let what = parts.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let command =
            text.split("Usage: skipstone ").nth(1).and_then(|usage| usage.split_whitespace().next()).filter(|word| !word.starts_with(['[', '<', '-']));
        let takes = command.map_or_else(|| COMMANDS.to_owned(), |command| format!("`skipstone {command} --help` shows what it takes"));
        let tips: Vec<_> = parts.map(|tip| tip.trim_start_matches("tip: ").to_owned()).filter(|tip| !tip.is_empty() && !tip.contains("use '-- -")).collect();
        let help = if tips.is_empty() { takes } else { tips.join("; ") };
        Self::usage(what, help)
    }
}
