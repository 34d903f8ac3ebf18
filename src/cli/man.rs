//! `protover man`.

use std::{fs, path::PathBuf};

use clap::CommandFactory;

use super::{Cli, Failure, print};

/// Writes the manual: the page of protover to stdout, or with --dir the pages of all commands.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  protover man | man -l -\n  protover man --dir /usr/local/share/man/man1")]
pub(super) struct Man {
    /// The folder for the pages, one file for each command.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Man {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Some(dir) = self.dir else {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(|error| Failure::doing("man", error))?;
            return print(page);
        };
        fs::create_dir_all(&dir)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), &dir))
            .map_err(|error| Failure::doing(dir.display(), error))
    }
}
