//! The guard that writes exactly one line, whatever becomes of the request.

use std::{
    ops::{Deref, DerefMut},
    thread,
};

use tokio::sync::OwnedSemaphorePermit;

use super::{Log, record::Record};
use crate::policy::reason::{Reason, Verdict};

/// A decision that is being made. It is written once: by [`finish`](Self::finish) or
/// [`fail`](Self::fail), or else when it is dropped, because the client went away, the process
/// drains, or a handler panicked.
#[derive(Debug)]
#[must_use = "dropping it writes a line that says that the client went away"]
pub struct Open {
    log: Log,
    record: Box<Record>,
    finished: bool,
    /// Given back when the line is written.
    held: Option<OwnedSemaphorePermit>,
}

impl Open {
    pub(super) const fn new(log: Log, record: Box<Record>) -> Self {
        Self { log, record, finished: false, held: None }
    }

    /// Counts as under way until its line is written.
    pub fn holds(&mut self, permit: OwnedSemaphorePermit) {
        self.held = Some(permit);
    }

    /// Writes the line as the record stands.
    pub fn finish(mut self) {
        self.finished = true;
    }

    /// Writes the line with the verdict `fail`.
    pub fn fail(mut self, reason: Reason) {
        self.record.verdict = Verdict::Fail;
        self.record.reason = reason;
        self.finished = true;
    }
}

impl Deref for Open {
    type Target = Record;

    fn deref(&self) -> &Record {
        &self.record
    }
}

impl DerefMut for Open {
    fn deref_mut(&mut self) -> &mut Record {
        &mut self.record
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.finished {
            (self.record.verdict, self.record.reason) = if thread::panicking() {
                self.record.http_status = Some(500);
                (Verdict::Fail, Reason::Panic)
            } else if self.log.is_draining() {
                (Verdict::Fail, Reason::Draining)
            } else {
                (Verdict::Abandon, Reason::ClientGone)
            };
        }
        self.log.write(&self.record);
    }
}
