//! The only place that reads the time of day, so that lines agree with each other.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// One moment, by both clocks: the time of day for people, the steady one for durations.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The time of day.
    pub wall: SystemTime,
    /// The steady clock, which no adjustment moves.
    pub steady: Instant,
}

/// Now. A clock that stands before 1970 is taken to stand at its beginning.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> Moment {
    Moment { wall: SystemTime::now().max(UNIX_EPOCH), steady: Instant::now() }
}
