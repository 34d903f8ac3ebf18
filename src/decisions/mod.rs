//! The decision log: one line of JSON for every request and for every connection that failed before
//! one. A line cannot be forgotten ([`Open`] writes it when it is dropped), filtered (it has its own
//! tracing dispatcher), or lost in silence (what cannot be written is kept, retried, and said).

pub mod clock;

mod destination;
mod id;
mod layer;
mod line;
mod open;
mod pii;
mod record;
mod sink;
#[cfg(test)]
mod tests;

use std::{
    cell::Cell,
    io,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tracing::Dispatch;

pub use id::Id;
pub use layer::TARGET;
pub use open::Open;
pub use pii::Pii;
pub use record::{Kind, Record};

use crate::policy::site::{Decisions, OnLogFailure};
use destination::Destination;
use sink::Sink;

/// How long [`Log::flush`] waits for a destination that does not take lines.
const FLUSH: Duration = Duration::from_secs(5);
/// The same for one that has failed already.
const FLUSH_FAILING: Duration = Duration::from_secs(1);

/// The decision log. Clones share it; the last one that goes writes out what is left.
#[derive(Clone, Debug)]
pub struct Log(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dispatch: Dispatch,
    sink: Arc<Sink>,
    ids: id::Ids,
    shown: pii::Shown,
    on_failure: OnLogFailure,
    draining: AtomicBool,
    watch: OnceLock<Arc<dyn Watch>>,
    #[cfg(feature = "otlp")]
    tracer: OnceLock<opentelemetry_sdk::trace::SdkTracer>,
}

/// What became of the lines so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lines {
    /// Were written.
    pub written: u64,
    /// Wait to be written.
    pub pending: u64,
    /// Are lost: the destination took none for too long.
    pub lost: u64,
    /// Whether the destination takes lines now.
    pub writable: bool,
}

/// Sees every line that is written.
pub trait Watch: std::fmt::Debug + Send + Sync {
    /// A line was written: what is in it, and how long the request took.
    fn written(&self, record: &Record, duration: Duration, line: &str);
}

impl Log {
    /// Opens the destination and starts the thread that writes to it.
    ///
    /// # Errors
    /// When the destination or the key of device hashes cannot be opened; the message names the file.
    pub fn start(settings: &Decisions) -> io::Result<Self> {
        Self::with(settings, Destination::open(&settings.to)?, sink::CAPACITY)
    }

    fn with(settings: &Decisions, destination: Destination, capacity: usize) -> io::Result<Self> {
        let shown = pii::Shown::new(settings)?;
        let sink = Sink::start(destination, capacity)?;
        Ok(Self(Arc::new(Inner {
            dispatch: layer::dispatch(Arc::clone(&sink)),
            sink,
            ids: id::Ids::new(),
            shown,
            on_failure: settings.on_failure,
            draining: AtomicBool::new(false),
            watch: OnceLock::new(),
            #[cfg(feature = "otlp")]
            tracer: OnceLock::new(),
        })))
    }

    /// Opens the record of a request, or of a connection that failed before one.
    pub fn open(&self, listener: Arc<str>, peer: SocketAddr, kind: Kind) -> Open {
        let at = clock::now();
        let record = Record::new(self.0.ids.next(at.wall), at, listener, peer, kind);
        Open::new(self.clone(), Box::new(record))
    }

    /// Lets somebody see every line from now on. There is one who does; a second one is not heard.
    pub fn watch(&self, watch: Arc<dyn Watch>) {
        let _ = self.0.watch.set(watch);
    }

    /// Makes spans of every request from now on. There is one tracer; a second one is not asked.
    #[cfg(feature = "otlp")]
    pub fn trace(&self, tracer: opentelemetry_sdk::trace::SdkTracer) {
        let _ = self.0.tracer.set(tracer);
    }

    #[cfg(feature = "otlp")]
    pub(crate) fn tracer(&self) -> Option<&opentelemetry_sdk::trace::SdkTracer> {
        self.0.tracer.get()
    }

    /// Whether requests may be served: false while lines cannot be written and the policy says
    /// `on_failure = "refuse"`.
    #[must_use]
    pub fn available(&self) -> bool {
        match self.0.on_failure {
            OnLogFailure::Serve => true,
            OnLogFailure::Refuse => self.0.sink.writes(),
        }
    }

    /// An identifier of a device, as it may be shown.
    #[must_use]
    pub fn pii(&self, identifier: &str) -> Pii {
        self.0.shown.show(identifier)
    }

    /// From now on a dropped [`Open`] was ended by the shutdown, not by its client.
    pub fn draining(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    /// Has the file of the log opened again, for whoever moved it away: between two lines, and within
    /// milliseconds. When nothing can be opened there, the old file stays in use, and that is said on stderr.
    pub fn reopen(&self) {
        self.0.sink.reopen();
    }

    /// Blocks until everything so far is written, at most five seconds; says so on stderr when it
    /// was not. Not for a task of a runtime that has other things to do.
    pub fn flush(&self) {
        self.0.flush();
    }

    /// Blocks until everything so far is written, or the time is over; whether it was written.
    #[must_use]
    pub fn flush_within(&self, time: Duration) -> bool {
        self.0.sink.flush(time)
    }

    /// How many lines were lost because the destination took none for too long.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.0.sink.lost()
    }

    /// What became of the lines so far.
    #[must_use]
    pub fn lines(&self) -> Lines {
        let (came, written) = self.0.sink.lines();
        Lines { written, pending: came - written, lost: self.lost(), writable: self.0.sink.writes() }
    }

    fn write(&self, record: &Record) {
        thread_local! {
            /// Kept, since there is a line for every request.
            static LINE: Cell<String> = const { Cell::new(String::new()) };
        }
        let duration = record.at.steady.elapsed();
        let mut line = LINE.take();
        line::write(record, duration, &mut line);
        if let Some(watch) = self.0.watch.get() {
            watch.written(record, duration, &line);
        }
        layer::send(&self.0.dispatch, &line);
        line.clear();
        line.shrink_to(4096);
        LINE.set(line);
    }
}

impl Inner {
    fn flush(&self) {
        let time = if self.sink.writes() { FLUSH } else { FLUSH_FAILING };
        if !self.sink.flush(time) {
            sink::say(&format!("{} bytes of decision lines are not written", self.sink.backlog()));
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.flush();
        self.sink.close();
    }
}
