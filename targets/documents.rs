//! Writes the man pages and shell completions of the program into a folder: `cargo run --release --example documents -- FOLDER`.

use clap_complete::aot::{Shell, generate_to};
use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let Some(folder) = env::args_os().nth(1).map(PathBuf::from) else {
        return Err(io::Error::other("the folder is missing"));
    };
    let man = folder.join("man");
    fs::create_dir_all(&man)?;
    clap_mangen::generate_to(skipstone::cli::command(), &man)?;
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        generate_to(shell, &mut skipstone::cli::command(), "skipstone", &folder)?;
    }
    Ok(())
}
