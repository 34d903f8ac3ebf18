//! Where lines go: a stream, or a path that may be rotated away under us.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    mem,
    os::{
        fd::AsFd,
        unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::sink::say;
use crate::policy::site::DecisionsTo;

/// How often a path is looked at for a rotation.
const LOOK: Duration = Duration::from_secs(1);

/// Where lines go.
#[derive(Debug)]
pub(super) enum Destination {
    /// Standard output or error, or a pipe. Unbuffered: a line is written or it is not.
    Stream(File),
    /// Something at a path.
    Path(AtPath),
}

impl Destination {
    pub(super) fn open(to: &DecisionsTo) -> io::Result<Self> {
        Ok(match to {
            DecisionsTo::Stdout => Self::Stream(io::stdout().as_fd().try_clone_to_owned()?.into()),
            DecisionsTo::Stderr => Self::Stream(io::stderr().as_fd().try_clone_to_owned()?.into()),
            DecisionsTo::File(path) => Self::Path(AtPath::open(path)?),
        })
    }

    /// To be called between two lines: opens the path again when something else, or nothing, is
    /// there now.
    pub(super) fn between_lines(&mut self) -> io::Result<()> {
        match self {
            Self::Stream(_) => Ok(()),
            Self::Path(at) => at.between_lines(),
        }
    }

    /// To be called between two lines: opens the path again, whatever is there now, and says how that went.
    /// A stream stays as it is.
    pub(super) fn reopen(&mut self) {
        let Self::Path(at) = self else { return };
        at.stayed = false;
        let path = at.path.display().to_string();
        match at.open_again() {
            Ok(true) => tracing::info!(path, "decision log opened again"),
            Ok(false) => {}
            // The next line is tried at the path, and kept for as long as there is nothing.
            Err(error) => {
                at.looked = None;
                say(&format!("the {error}"));
            }
        }
    }

    /// To be called after an error in the middle of a line: whether the part that was written is gone,
    /// so that the line has to be written from its start.
    pub(super) fn lost_the_beginning(&mut self) -> bool {
        match self {
            Self::Stream(_) => false,
            Self::Path(at) => at.lost_the_beginning(),
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stream(file) | Self::Path(AtPath { file, .. }) => file.write(bytes),
        }
    }
}

/// An open file, and the path at which it should be.
#[derive(Debug)]
pub(super) struct AtPath {
    path: PathBuf,
    file: File,
    /// Device and inode.
    identity: (u64, u64),
    /// When the path was looked at; `None` when that is due.
    looked: Option<Instant>,
    /// The file ends in half a line: someone was killed while writing it.
    half_line: bool,
    /// Nothing can be opened at the path, so lines go on into the file that was there.
    stayed: bool,
}

impl AtPath {
    fn open(path: &Path) -> io::Result<Self> {
        Self::try_open(path).map_err(|error| io::Error::new(error.kind(), format!("decision log {}: {error}", path.display())))
    }

    fn try_open(path: &Path) -> io::Result<Self> {
        // Opened for writing only, a FIFO blocks until there is a reader, and is broken when it goes.
        let fifo = fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo());
        let file = OpenOptions::new().append(true).create(true).read(fifo).mode(0o640).open(path)?;
        let found = file.metadata()?;
        let half_line = ends_in_half_a_line(path, &found);
        Ok(Self {
            path: path.to_owned(),
            file,
            identity: identity(&found),
            looked: Some(Instant::now()),
            half_line,
            stayed: false,
        })
    }

    /// Opens what is at the path now; whether it could be. When it cannot, but the file that was there still has
    /// a name elsewhere, lines are better off in that than nowhere.
    fn open_again(&mut self) -> io::Result<bool> {
        match Self::open(&self.path) {
            Ok(new) => *self = new,
            Err(error) if self.file.metadata().is_ok_and(|file| file.is_file() && file.nlink() > 0) => {
                if !mem::replace(&mut self.stayed, true) {
                    say(&format!("the {error}; it goes on in the file that was there"));
                }
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    fn between_lines(&mut self) -> io::Result<()> {
        if self.looked.is_none_or(|looked| looked.elapsed() >= LOOK) {
            self.looked = None;
            match fs::metadata(&self.path) {
                Ok(found) if identity(&found) == self.identity => self.stayed = false,
                Ok(_) | Err(_) => _ = self.open_again()?,
            }
            self.looked = Some(Instant::now());
        }
        if self.half_line && self.file.write(b"\n")? == 1 {
            self.half_line = false;
        }
        Ok(())
    }

    fn lost_the_beginning(&mut self) -> bool {
        // Room may have been made by taking our file away: look again before the next line.
        self.looked = None;
        self.file.metadata().is_ok_and(|file| file.is_file() && (file.nlink() == 0 || file.len() == 0))
    }
}

fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// Another process may be in the middle of a line, as in an upgrade: then the rest is there at the next look, or some
/// line's end. What someone left who was killed stays as it is.
#[expect(clippy::disallowed_methods, reason = "at the start, or on the log's own thread")]
fn ends_in_half_a_line(path: &Path, found: &Metadata) -> bool {
    const LOOKS: usize = 10;
    found.is_file()
        && (0..LOOKS).all(|look| {
            if look > 0 {
                thread::sleep(Duration::from_millis(5));
            }
            last_byte(path).is_ok_and(|last| last != b'\n')
        })
}

/// Of a file that is not empty.
fn last_byte(path: &Path) -> io::Result<u8> {
    let mut file = File::open(path)?;
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last[0])
}
