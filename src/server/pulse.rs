//! How a connection is doing: what it last read, wrote and asked for, and when it has gone quiet for
//! too long.
//!
//! hyper's own `header_read_timeout` also runs while a kept-alive connection is idle, and nothing in
//! hyper ends a connection that never says anything or never takes its answer. One watchdog per
//! connection does all of that, with one timer per connection rather than one per request.

mod noticed;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

use noticed::Reads;
pub use noticed::{Noticed, Socket};

use super::turns::{Place, Turns};
use crate::{
    decisions::Open,
    policy::{reason::Reason, site::Limits},
};

/// How long a connection is quiet before it ends in a drain. Whoever has used it within this time may do so
/// again just now.
const LEAVING: Duration = Duration::from_secs(1);

/// A moment, in microseconds after the connection was accepted, plus one; 0 is never.
#[derive(Debug, Default)]
struct Moment(AtomicU64);

impl Moment {
    fn set(&self, born: Instant) {
        self.0.store(u64::try_from(born.elapsed().as_micros()).unwrap_or(u64::MAX - 1) + 1, Relaxed);
    }

    fn set_if_never(&self, born: Instant) {
        if self.0.load(Relaxed) == 0 {
            self.set(born);
        }
    }

    fn clear(&self) {
        self.0.store(0, Relaxed);
    }

    fn get(&self, born: Instant) -> Option<Instant> {
        let micros = self.0.load(Relaxed).checked_sub(1)?;
        Some(born + Duration::from_micros(micros))
    }
}

/// What a connection is known to be doing. Shared by its socket, its requests and its watchdog.
#[derive(Debug)]
pub struct Pulse {
    born: Instant,
    /// Those of the worker that serves the connection.
    turns: Arc<Turns>,
    /// HTTP/1: bytes that arrive between requests begin a head. In HTTP/2 they may be a ping.
    heads_are_bytes: bool,
    under_way: AtomicU32,
    requests: AtomicU32,
    head_since: Moment,
    quiet_since: Moment,
    body_since: Moment,
    blocked_since: Moment,
    /// Something has come that waits for its turn to be read. However long that takes, it is not the client's doing.
    waits: AtomicBool,
    /// HTTP/2: answers that have not been handed over to their end, and since when none of them went on.
    owed: AtomicU32,
    owed_since: Moment,
    /// HTTP/2: requests that were begun.
    begun: AtomicU32,
    /// The number of the request whose framing is ambiguous; 0 without.
    ambiguous: AtomicU32,
    /// The process is about to end, and this connection with it.
    leaving: AtomicBool,
    /// Whether it was ended because the client sent or took nothing for too long.
    too_slow: AtomicBool,
    /// Answers that were handed over, but not yet written to the socket.
    answered: Mutex<VecDeque<(Open, UnderWay)>>,
}

/// Why a connection has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expired {
    /// It never sent a request, or not all of its head.
    Head,
    /// It is idle after earlier requests: nothing is lost.
    Idle,
    /// It stopped sending the body of a request that is passed through.
    Body,
    /// It does not take its answer.
    Blocked,
}

impl Pulse {
    /// A connection that was accepted just now.
    #[must_use]
    pub fn new(heads_are_bytes: bool, turns: Arc<Turns>) -> Self {
        Self {
            born: Instant::now(),
            turns,
            heads_are_bytes,
            under_way: AtomicU32::new(0),
            requests: AtomicU32::new(0),
            head_since: Moment::default(),
            quiet_since: Moment::default(),
            body_since: Moment::default(),
            blocked_since: Moment::default(),
            waits: AtomicBool::new(false),
            owed: AtomicU32::new(0),
            owed_since: Moment::default(),
            begun: AtomicU32::new(0),
            ambiguous: AtomicU32::new(0),
            leaving: AtomicBool::new(false),
            too_slow: AtomicBool::new(false),
            answered: Mutex::default(),
        }
    }

    /// A request has come; it is under way until the guard is dropped.
    #[must_use]
    pub fn request(self: &Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, Relaxed);
        self.turns.began();
        let number = self.requests.fetch_add(1, Relaxed) + 1;
        self.head_since.clear();
        UnderWay { pulse: Arc::clone(self), number }
    }

    /// HTTP/2: an answer begins. A client that opens no window for it must not hold the connection for ever.
    pub fn owes(&self) {
        if self.heads_are_bytes {
            return;
        }
        self.owed.fetch_add(1, Relaxed);
        self.owed_since.set(self.born);
    }

    /// HTTP/2: an answer went on; or it waits for its server, which has a time of its own.
    pub fn owing(&self, waits_for_server: bool) {
        if self.heads_are_bytes {
            return;
        }
        if waits_for_server { self.owed_since.clear() } else { self.owed_since.set(self.born) }
    }

    /// HTTP/2: an answer has ended.
    pub fn owes_no_more(&self) {
        if self.heads_are_bytes {
            return;
        }
        self.owed.fetch_sub(1, Relaxed);
        self.owed_since.set(self.born);
    }

    /// The last byte of an answer was handed over. In HTTP/1 its line waits until that byte is written:
    /// only then is it known that the client has not gone. HTTP/2 writes streams as it sees fit.
    pub fn answered(&self, record: Open, under_way: UnderWay) {
        if self.heads_are_bytes {
            self.answers().push_back((record, under_way));
        } else {
            record.finish();
        }
    }

    /// Whether the connection is ended because the client sent or took nothing for too long.
    #[must_use]
    pub fn is_too_slow(&self) -> bool {
        self.too_slow.load(Relaxed)
    }

    /// Ends the record of an answer that could not be given to its last byte: by the client's going away,
    /// or because it took nothing for too long.
    pub fn not_answered(&self, record: Open) {
        if self.is_too_slow() {
            record.fail(Reason::ClientTooSlow);
        }
    }

    fn answers(&self) -> MutexGuard<'_, VecDeque<(Open, UnderWay)>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn written(&self) {
        loop {
            let Some((record, _under_way)) = self.answers().pop_front() else { return };
            record.finish();
        }
    }

    /// The body of a request is awaited, or has come.
    pub fn awaiting_body(&self, awaiting: bool) {
        if awaiting { self.body_since.set_if_never(self.born) } else { self.body_since.clear() }
    }

    /// How many requests of HTTP/2 were begun that none came of.
    #[must_use]
    pub fn lost(&self) -> u32 {
        self.begun.load(Relaxed).saturating_sub(self.requests.load(Relaxed))
    }

    /// Whether no request ever came.
    #[must_use]
    pub fn is_unused(&self) -> bool {
        self.requests.load(Relaxed) == 0
    }

    /// Whether part of a request head is there that no request came of.
    #[must_use]
    pub fn in_head(&self) -> bool {
        self.head_since.0.load(Relaxed) != 0
    }

    /// Whether the next byte is the first of a request; in HTTP/1, where they come one by one.
    fn is_between(&self, reads: &Reads) -> bool {
        matches!(reads, Reads::Heads(heads) if heads.is_between()) && self.under_way.load(Relaxed) == 0
    }

    /// Ready when a request that has arrived may begin.
    fn poll_turn(&self, place: &mut Place, cx: &Context<'_>) -> Poll<()> {
        let turn = self.turns.poll(place, cx);
        self.waits.store(turn.is_pending(), Relaxed);
        turn
    }

    fn read(&self, bytes: &[u8], reads: &mut Reads) {
        match reads {
            Reads::Heads(heads) => {
                if self.under_way.load(Relaxed) == 0 {
                    self.head_since.set_if_never(self.born);
                }
                heads.read(bytes);
                self.ambiguous.store(heads.ambiguous().unwrap_or(0), Relaxed);
            }
            Reads::Streams(streams) => {
                streams.read(bytes);
                self.begun.store(streams.begun(), Relaxed);
                if streams.in_head() { self.head_since.set_if_never(self.born) } else { self.head_since.clear() }
            }
        }
    }

    fn deadline(&self, limits: &Limits) -> Option<(Instant, Expired)> {
        if let Some(since) = self.blocked_since.get(self.born) {
            return Some((since + limits.body_timeout, Expired::Blocked));
        }
        if self.owed.load(Relaxed) > 0
            && let Some(since) = self.owed_since.get(self.born)
        {
            return Some((since + limits.body_timeout, Expired::Blocked));
        }
        if let Some(since) = self.body_since.get(self.born) {
            return Some((since + limits.body_timeout, Expired::Body));
        }
        if self.under_way.load(Relaxed) > 0 || self.waits.load(Relaxed) {
            return None;
        }
        if let Some(since) = self.head_since.get(self.born) {
            return Some((since + limits.header_timeout, Expired::Head));
        }
        if self.leaving.load(Relaxed) {
            let quiet_since = self.quiet_since.get(self.born).unwrap_or(self.born);
            return Some((quiet_since + limits.idle_timeout.min(LEAVING), Expired::Idle));
        }
        match self.quiet_since.get(self.born) {
            Some(since) => Some((since + limits.idle_timeout, Expired::Idle)),
            None => Some((self.born + limits.header_timeout, Expired::Head)),
        }
    }

    /// From now on the connection ends when it is quiet for a moment. For HTTP/1, whose peers are told by
    /// `Connection: close`.
    pub fn leave(&self) {
        self.leaving.store(true, Relaxed);
    }

    /// Whether the answer that begins now is the last one.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Relaxed)
    }

    /// Returns when the connection has to end.
    pub async fn expired(&self, limits: &Limits) -> Expired {
        // A deadline that begins while we sleep is noticed at the next look, at most half of the
        // shortest limit later.
        let step = limits.header_timeout.min(limits.body_timeout).max(Duration::from_millis(20)) / 2;
        loop {
            let now = Instant::now();
            let mut until = now + step;
            if let Some((deadline, expired)) = self.deadline(limits) {
                if deadline <= now {
                    self.too_slow.store(matches!(expired, Expired::Body | Expired::Blocked), Relaxed);
                    return expired;
                }
                until = until.min(deadline);
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

/// A request that is under way.
#[derive(Debug)]
pub struct UnderWay {
    pulse: Arc<Pulse>,
    /// Counted from 1.
    number: u32,
}

impl UnderWay {
    /// The connection it came over.
    #[must_use]
    pub fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    /// Whether its head said in two ways where its body ends.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        self.pulse.ambiguous.load(Relaxed) == self.number
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.pulse.quiet_since.set(self.pulse.born);
        self.pulse.body_since.clear();
        self.pulse.under_way.fetch_sub(1, Relaxed);
        self.pulse.turns.ended();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_turn_is_not_taken_for_silent() {
        let limits = Limits::default();
        let pulse = Pulse::new(true, Arc::default());
        assert!(pulse.deadline(&limits).is_some());
        // So many are under way that nobody else begins at once.
        let others = Arc::new(Pulse::new(false, Arc::clone(&pulse.turns)));
        let under_way: Vec<_> = (0..100).map(|_| others.request()).collect();
        let (mut place, mut waited) = (Place::default(), false);
        std::future::poll_fn(|cx| {
            let turn = pulse.poll_turn(&mut place, cx);
            assert_eq!(pulse.deadline(&limits).is_none(), turn.is_pending());
            waited |= turn.is_pending();
            turn
        })
        .await;
        assert!(waited);
        assert!(pulse.deadline(&limits).is_some());
        drop(under_way);
    }
}
