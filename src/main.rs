//! The command line of protover: parse, run, and say by the exit status how it went.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use protover::cli::{Cli, Failure};

/// A request makes and frees some hundred small things on one thread; this allocator is made for that. Without
/// huge pages, which saved no time and took 8 MiB.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let outcome = match Cli::try_parse() {
        Ok(cli) => cli.run(),
        Err(error) => {
            // Help and versions are errors of their own kind here, with status 0 and on stdout.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let (what, status) = match outcome {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Failed(what)) => (what, 1),
        Err(Failure::Usage(what)) => (what, 2),
    };
    // A closed stderr is no reason for a panic.
    let _ = writeln!(io::stderr(), "protover: {}", what.trim_end());
    ExitCode::from(status)
}
