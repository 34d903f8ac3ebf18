//! `protover completions`.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Failure, print};

/// Writes the completion script for a shell to stdout.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  protover completions bash > /etc/bash_completion.d/protover")]
pub(super) struct Completions {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "protover", &mut script);
        print(script)
    }
}
