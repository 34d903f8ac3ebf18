//! Identifiers of decisions: short, unique, and in the order of time.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

/// Digits and letters in the order of their code points, without those that people take for others.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 55 bits of microseconds last until the year 3111.
const TIME: usize = 11;
/// 20 random bits keep replicas apart.
const PROCESS: usize = 4;

/// The identifier of a decision, as in the log and in `Protover-Decision`: the microsecond and the
/// process, in base 32. Sorts by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id([u8; TIME + PROCESS]);

impl Id {
    /// The text: digits and lower-case letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Gives every identifier out once.
#[derive(Debug)]
pub(super) struct Ids {
    process: [u8; PROCESS],
    last: AtomicU64,
}

impl Ids {
    pub(super) fn new() -> Self {
        let mut process = [0; PROCESS];
        digits(fastrand::u64(..), &mut process);
        Self { process, last: AtomicU64::new(0) }
    }

    /// The identifier for a moment. Two in one microsecond, or a clock that was set back, take the
    /// next one that is free.
    pub(super) fn next(&self, at: SystemTime) -> Id {
        let micros = at.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(0));
        let free = |last: u64| micros.max(last + 1);
        let last = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(free(last)));
        let mut id = [0; TIME + PROCESS];
        let (time, process) = id.split_at_mut(TIME);
        digits(last.map_or(micros, free), time);
        process.copy_from_slice(&self.process);
        Id(id)
    }
}

fn digits(mut number: u64, into: &mut [u8]) {
    for digit in into.iter_mut().rev() {
        *digit = ALPHABET[(number % 32) as usize];
        number /= 32;
    }
}
