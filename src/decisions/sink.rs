//! From many threads to one destination: a shared buffer, and a thread that writes it out.
//!
//! Whoever has a line puts it into the buffer and goes on. The thread takes the whole buffer and
//! writes it at once, so a batch ends where a line ends. While it works, nobody has to wake it. What
//! cannot be written stays, and is tried again; the buffer may grow to [`CAPACITY`] meanwhile, then
//! further lines are lost, counted, and the loss is said on stderr.

use std::{
    io::{self, ErrorKind, Write},
    mem,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::destination::Destination;

/// How many bytes of lines are kept while they cannot be written: some hundred thousand lines.
pub(super) const CAPACITY: usize = 64 << 20;
/// A buffer that has grown beyond this is given back.
const KEEP: usize = 1 << 20;
/// How long the thread gathers lines before it writes again. It takes its time from the cores that serve, and at a
/// thousand times a second that was three in a hundred.
const GATHER: Duration = Duration::from_millis(5);
/// The first and the longest pause before a failed write is tried again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// A write that takes longer than this has failed as far as callers are concerned.
const STALLED: Duration = Duration::from_secs(5);
/// How often the same trouble is said.
const SAY: Duration = Duration::from_secs(10);

/// Says something on stderr that no filter of the diagnostics may hide.
pub(super) fn say(what: &str) {
    // Nobody is left to tell when stderr is gone too.
    let _ = writeln!(io::stderr(), "protover: {what}");
}

#[derive(Debug)]
pub(super) struct Sink {
    capacity: usize,
    state: Mutex<State>,
    /// Wakes the thread.
    work: Condvar,
    /// Wakes those who wait for everything to be written.
    done: Condvar,
    /// The last attempt to write failed.
    failing: AtomicBool,
    /// Bytes in the buffer and on their way out.
    backlog: AtomicUsize,
    /// Lines that were lost.
    lost: AtomicU64,
    epoch: Instant,
    /// When the write that is under way began, in milliseconds since the epoch; 0 when none is.
    writing: AtomicU64,
    /// When trouble was last said, as above.
    said: AtomicU64,
    /// The destination has to be opened again, before the next line.
    reopen: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    buffer: Vec<u8>,
    /// Bytes that the thread has taken and not yet written.
    taken: usize,
    /// How many bytes came in, and how many have gone out, ever.
    came: u64,
    gone: u64,
    /// The same in lines, and how many of those that came the thread has taken.
    lines: (u64, u64),
    lines_taken: u64,
    /// The thread waits for a line, and has to be woken for it.
    asleep: bool,
    /// Someone waits for everything to be written.
    hurry: bool,
    closing: bool,
}

impl Sink {
    pub(super) fn start(destination: Destination, capacity: usize) -> io::Result<Arc<Self>> {
        let sink = Arc::new(Self {
            capacity,
            state: Mutex::default(),
            work: Condvar::new(),
            done: Condvar::new(),
            failing: AtomicBool::new(false),
            backlog: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
            epoch: Instant::now(),
            writing: AtomicU64::new(0),
            said: AtomicU64::new(0),
            reopen: AtomicBool::new(false),
        });
        let shared = Arc::clone(&sink);
        thread::Builder::new().name("decision-log".into()).spawn(move || Writer { sink: shared, destination }.run())?;
        Ok(sink)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a line, with its end.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        let backlog = state.taken + state.buffer.len() + line.len();
        if backlog > self.capacity {
            drop(state);
            let lost = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
            if self.may_say() {
                say(&format!("the decision log takes no lines and the buffer is full; {lost} lines are lost so far"));
            }
            return;
        }
        self.backlog.store(backlog, Ordering::Relaxed);
        state.buffer.extend_from_slice(line);
        state.came += line.len() as u64;
        state.lines.0 += 1;
        let wake = mem::take(&mut state.asleep);
        drop(state);
        if wake {
            self.work.notify_one();
        }
    }

    /// Whether lines are being written: no failure, no stall, and the buffer not half full.
    pub(super) fn writes(&self) -> bool {
        let since = self.writing.load(Ordering::Relaxed);
        !self.failing.load(Ordering::Relaxed)
            && self.backlog.load(Ordering::Relaxed) <= self.capacity / 2
            && (since == 0 || self.now() - since < millis(STALLED))
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// How many lines have come, and how many of them have gone out.
    pub(super) fn lines(&self) -> (u64, u64) {
        self.lock().lines
    }

    pub(super) fn backlog(&self) -> usize {
        self.backlog.load(Ordering::Relaxed)
    }

    /// Waits until everything that came before has gone; whether it has.
    pub(super) fn flush(&self, time: Duration) -> bool {
        let mut state = self.lock();
        let target = state.came;
        state.hurry = true;
        self.work.notify_one();
        let waited = self.done.wait_timeout_while(state, time, |state| state.gone < target);
        waited.unwrap_or_else(PoisonError::into_inner).0.gone >= target
    }

    /// Has the destination opened again, between two lines and soon.
    pub(super) fn reopen(&self) {
        // Under the lock: the thread is asleep or has yet to look.
        let _state = self.lock();
        self.reopen.store(true, Ordering::Relaxed);
        self.work.notify_one();
    }

    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.work.notify_one();
    }

    fn now(&self) -> u64 {
        millis(self.epoch.elapsed()) + 1
    }

    fn may_say(&self) -> bool {
        let (now, said) = (self.now(), self.said.load(Ordering::Relaxed));
        (said == 0 || now - said >= millis(SAY))
            && self.said.compare_exchange(said, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The thread's side.
struct Writer {
    sink: Arc<Sink>,
    destination: Destination,
}

impl Writer {
    fn run(mut self) {
        let mut batch = Vec::new();
        while self.take(&mut batch) {
            self.reopen_if_asked();
            if !self.write(&batch) {
                return;
            }
            let mut state = self.sink.lock();
            state.gone += batch.len() as u64;
            state.lines.1 = state.lines_taken;
            state.taken = 0;
            self.sink.backlog.store(state.buffer.len(), Ordering::Relaxed);
            drop(state);
            self.sink.done.notify_all();
            batch.clear();
            batch.shrink_to(KEEP);
        }
    }

    fn reopen_if_asked(&mut self) {
        if self.sink.reopen.swap(false, Ordering::Relaxed) {
            self.destination.reopen();
        }
    }

    /// Waits for lines, or to be asked to open the destination again, and takes all lines; false when
    /// there are none and never will be.
    fn take(&self, batch: &mut Vec<u8>) -> bool {
        let sink = &*self.sink;
        let state = sink.lock();
        // A short nap first: under load the lines of that time go out together, and nobody has to
        // wake anybody.
        let nap = sink.work.wait_timeout_while(state, GATHER, |state| !state.hurry && !state.closing);
        let mut state = nap.unwrap_or_else(PoisonError::into_inner).0;
        while state.buffer.is_empty() && !state.closing && !sink.reopen.load(Ordering::Relaxed) {
            state.asleep = true;
            state.hurry = false;
            state = sink.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.asleep = false;
        state.hurry = false;
        mem::swap(&mut state.buffer, batch);
        state.taken = batch.len();
        state.lines_taken = state.lines.0;
        !batch.is_empty() || !state.closing
    }

    /// Writes a batch, however long it takes; false when the log was closed while it could not.
    fn write(&mut self, batch: &[u8]) -> bool {
        let mut at = 0;
        let mut pause = PAUSE.0;
        while at < batch.len() {
            match self.attempt(batch, at) {
                Ok(written) => {
                    at += written;
                    pause = PAUSE.0;
                    self.succeeded();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failed(&error);
                    if !self.pause(pause) {
                        return false;
                    }
                    if error.kind() != ErrorKind::WouldBlock {
                        pause = (pause * 2).min(PAUSE.1);
                    }
                    let line = line_start(batch, at);
                    if at > line && self.destination.lost_the_beginning() {
                        at = line;
                    }
                }
            }
        }
        true
    }

    /// Writes what comes next: everything, or after a failure within a line, the rest of that line.
    /// Nothing else may get between the two halves.
    fn attempt(&mut self, batch: &[u8], at: usize) -> io::Result<usize> {
        let next = if line_start(batch, at) == at {
            self.reopen_if_asked();
            self.destination.between_lines()?;
            &batch[at..]
        } else {
            let end = memchr::memchr(b'\n', &batch[at..]).map_or(batch.len(), |end| at + end + 1);
            &batch[at..end]
        };
        self.sink.writing.store(self.sink.now(), Ordering::Relaxed);
        let written = self.destination.write(next);
        self.sink.writing.store(0, Ordering::Relaxed);
        match written {
            Ok(0) => Err(ErrorKind::WriteZero.into()),
            written => written,
        }
    }

    fn succeeded(&self) {
        if self.sink.failing.swap(false, Ordering::Relaxed) {
            say(&format!("the decision log takes lines again; {} were lost", self.sink.lost()));
        }
    }

    fn failed(&self, error: &io::Error) {
        // A stream that is full for the moment, left non-blocking by whoever shares it with us.
        if error.kind() == ErrorKind::WouldBlock {
            return;
        }
        let first = !self.sink.failing.swap(true, Ordering::Relaxed);
        if self.sink.may_say() || first {
            say(&format!("the decision log cannot be written: {error}; {} bytes wait", self.sink.backlog()));
        }
    }

    /// Waits before the next attempt; false when the log is closed meanwhile.
    fn pause(&self, pause: Duration) -> bool {
        let waited = self.sink.work.wait_timeout_while(self.sink.lock(), pause, |state| !state.closing);
        !waited.unwrap_or_else(PoisonError::into_inner).0.closing
    }
}

/// Where the line at an index begins.
fn line_start(batch: &[u8], at: usize) -> usize {
    memchr::memrchr(b'\n', &batch[..at]).map_or(0, |end| end + 1)
}
