//! The commands, one file each. A command is a `clap::Args` with `run(self)`; a new one is a `mod`
//! line and a line in `commands!`.

mod account;
mod certs;
mod check;
mod completions;
mod demo;
mod device;
mod explain;
mod inspect;
mod man;
mod notify;
mod probe;
mod report;
mod serve;
mod table;

use std::{
    fs::{self, File},
    io::{self, ErrorKind, IsTerminal, Write},
    path::Path,
};

use clap::{Parser, Subcommand};

macro_rules! commands {
    ($($name:ident($args:ty),)+) => {
        #[derive(Debug, Subcommand)]
        enum Command { $($name($args),)+ }

        impl Command {
            fn run(self) -> Result<(), Failure> {
                match self { $(Self::$name(command) => command.run(),)+ }
            }
        }
    };
}

commands! {
    Account(account::AccountCommand),
    Demo(demo::Demo),
    Serve(serve::Serve),
    Check(check::Check),
    Explain(explain::Explain),
    Inspect(inspect::Inspect),
    Notify(notify::Notify),
    Device(device::DeviceCommand),
    Probe(probe::Probe),
    Report(report::Report),
    Certs(certs::Certs),
    Completions(completions::Completions),
    Man(man::Man),
}

/// A version-negotiating proxy for OMA DM (SyncML DM).
///
/// It stands between devices and servers that speak different protocol versions. Every conversation
/// uses a version that both sides support, or the device is told which one to use.
#[derive(Debug, Parser)]
#[command(name = "protover", version, arg_required_else_help = true, after_help = STATUS)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const STATUS: &str = "Exit status: 0 done; 1 it failed while running; 2 wrong usage or an invalid policy.";

impl Cli {
    /// Runs the command that was asked for.
    ///
    /// # Errors
    /// [`Failure`], with what to say on stderr.
    pub fn run(self) -> Result<(), Failure> {
        self.command.run()
    }
}

/// Why a command did not do what it was asked to: one line, then detail if there is any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Wrong usage or an invalid policy: exit status 2.
    Usage(String),
    /// It failed while running: exit status 1.
    Failed(String),
}

impl Failure {
    /// A failure while running, with what was being done.
    #[must_use]
    pub fn doing(what: impl std::fmt::Display, error: impl std::fmt::Display) -> Self {
        Self::Failed(format!("{what}: {error}"))
    }
}

/// Whether to write to stderr in colour.
fn colour() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
}

/// Writes to stdout. A reader that has seen enough (`| head`) is no failure.
fn print(text: impl AsRef<[u8]>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_ref()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::doing("stdout", error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes a file anew, beside the old one first: a full disk leaves that as it is. One that was there keeps
/// its permissions.
fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let new = folder.join(format!(".{name}.new"));
    let written = File::create(&new).and_then(|mut file| {
        if let Ok(before) = fs::metadata(path) {
            file.set_permissions(before.permissions())?;
        }
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.and_then(|()| fs::rename(&new, path)).inspect_err(|_| drop(fs::remove_file(&new)))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_command_line_is_consistent_and_every_command_has_an_example() {
        Cli::command().debug_assert();
        for command in Cli::command().get_subcommands() {
            let leaves: Vec<_> = command.get_subcommands().collect();
            for leaf in if leaves.is_empty() { vec![command] } else { leaves } {
                let help = leaf.clone().render_long_help().to_string();
                assert!(help.contains("Example"), "`{}` has no example", leaf.get_name());
            }
        }
    }
}
