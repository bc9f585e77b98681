//! The program `skipstone`.

use skipstone::count::Counting;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    skipstone::cli::main()
}
