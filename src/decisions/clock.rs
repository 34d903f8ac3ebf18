//! The only place that reads the time of day, so that lines agree with each other.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One moment, by both clocks: the time of day for people, the steady one for durations.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The time of day.
    pub wall: SystemTime,
    /// The steady clock, which no adjustment moves.
    pub steady: Instant,
}

/// The last second that RFC 3339 can write.
const LAST: Duration = Duration::from_secs(253_402_300_799);

/// Now. A clock that stands before 1970 is taken to stand at its beginning, and one behind the year 9999 at its
/// end.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> Moment {
    Moment { wall: SystemTime::now().clamp(UNIX_EPOCH, UNIX_EPOCH + LAST), steady: Instant::now() }
}
