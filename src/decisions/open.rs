//! The guard that writes exactly one line, whatever becomes of the request.

use std::{
    ops::{Deref, DerefMut},
    thread,
};

use tokio::sync::OwnedSemaphorePermit;

use super::{Log, record::Record};
use crate::policy::reason::{Reason, Verdict};
#[cfg(feature = "otlp")]
use crate::telemetry::traces::Spans;

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
    /// The same record as spans, when traces are sent.
    #[cfg(feature = "otlp")]
    spans: Option<Box<Spans>>,
}

impl Open {
    pub(super) const fn new(log: Log, record: Box<Record>) -> Self {
        Self {
            log,
            record,
            finished: false,
            held: None,
            #[cfg(feature = "otlp")]
            spans: None,
        }
    }

    /// Makes spans of it too, when traces are sent. They end with the record.
    #[cfg(feature = "otlp")]
    pub(crate) fn traced<B>(mut self, request: &http::Request<B>, tls: bool) -> Self {
        let begin = |tracer| Box::new(Spans::begin(tracer, self.record.at, self.record.kind, request, tls));
        self.spans = self.log.tracer().map(begin);
        self
    }

    /// Its spans, when traces are sent.
    #[cfg(feature = "otlp")]
    pub(crate) fn spans(&mut self) -> Option<&mut Spans> {
        self.spans.as_deref_mut()
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
        #[cfg(feature = "otlp")]
        if let Some(spans) = self.spans.take() {
            spans.end(&self.record);
        }
    }
}
