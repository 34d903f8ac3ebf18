//! The command line of protover: parse, run, and say by the exit status how it went.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use protover::cli::{Cli, Failure};

/// A request makes and frees some hundred small things on one thread; this allocator is made for that. It takes
/// the place of `malloc` (the feature `override`), which costs less than to be Rust's global allocator: as that
/// the crate asks it for an alignment with every call. Without huge pages, which saved no time and took 8 MiB.
use mimalloc as _;

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
