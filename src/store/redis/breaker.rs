//! When Redis is asked, and when not: an outage is not to cost every message a timeout.

use std::time::{Duration, Instant};

/// For how long nobody asks after a failure.
pub(super) const PAUSE: Duration = Duration::from_millis(500);

/// How long nothing must have failed for an outage to be over. Longer than the pause: a store of which
/// every other call fails is not back.
const CALM: Duration = Duration::from_secs(1);

/// What is worth a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Down,
    Up,
}

/// Lets calls through until one fails; then nobody, except one after each pause.
#[derive(Debug)]
pub(super) struct Breaker {
    /// How long the one that is let through may take to come back. Should it never, because its message
    /// was given up, the next one goes.
    lease: Duration,
    /// Down: when the next one is let through.
    again: Option<Instant>,
    /// Of an outage that was told: the last failure.
    told: Option<Instant>,
}

impl Breaker {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { lease: timeout.saturating_add(PAUSE), again: None, told: None }
    }

    /// Whether a call may go.
    pub(super) fn admits(&mut self, now: Instant) -> bool {
        match self.again {
            None => true,
            Some(again) if now < again => false,
            Some(_) => {
                self.again = now.checked_add(self.lease);
                true
            }
        }
    }

    /// A call got no answer.
    pub(super) fn failed(&mut self, now: Instant) -> Option<Turn> {
        let turn = self.refused(now);
        self.again = now.checked_add(PAUSE);
        turn
    }

    /// A call was answered with an error: nothing to wait for, but nothing to be silent about.
    pub(super) fn refused(&mut self, now: Instant) -> Option<Turn> {
        self.again = None;
        self.told.replace(now).is_none().then_some(Turn::Down)
    }

    /// A call was answered.
    pub(super) fn succeeded(&mut self, now: Instant) -> Option<Turn> {
        self.again = None;
        self.told.take_if(|last| now.duration_since(*last) >= CALM).map(|_| Turn::Up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(100);

    #[test]
    fn after_a_failure_one_call_goes_in_each_pause() {
        let (mut breaker, start) = (Breaker::new(TIMEOUT), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert!(breaker.admits(at(0)) && breaker.admits(at(0)));
        assert_eq!(breaker.failed(at(100)), Some(Turn::Down));
        assert!(!breaker.admits(at(100)) && !breaker.admits(at(599)));
        assert!(breaker.admits(at(600)) && !breaker.admits(at(600)), "one");
        assert_eq!(breaker.failed(at(700)), None, "told already");
        assert!(!breaker.admits(at(1199)) && breaker.admits(at(1200)));
        // The one that was let through never came back.
        assert!(!breaker.admits(at(1799)) && breaker.admits(at(1800)));
        assert_eq!(breaker.succeeded(at(1801)), Some(Turn::Up));
        assert!(breaker.admits(at(1801)) && breaker.admits(at(1801)));
        assert_eq!(breaker.succeeded(at(1802)), None);
    }

    #[test]
    fn an_outage_that_flickers_is_told_once() {
        let (mut breaker, start) = (Breaker::new(TIMEOUT), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(breaker.failed(at(0)), Some(Turn::Down));
        for ms in (500..10_000).step_by(600) {
            assert!(breaker.admits(at(ms)));
            assert_eq!(breaker.succeeded(at(ms)), None, "{ms}");
            assert_eq!(breaker.failed(at(ms + 1)), None, "{ms}");
        }
        assert_eq!(breaker.succeeded(at(12_000)), Some(Turn::Up));
        assert_eq!(breaker.failed(at(12_001)), Some(Turn::Down));
    }

    #[test]
    fn an_answer_that_is_an_error_lets_others_go_on() {
        let (mut breaker, start) = (Breaker::new(TIMEOUT), Instant::now());
        assert_eq!(breaker.refused(start), Some(Turn::Down));
        assert_eq!(breaker.refused(start), None);
        assert!(breaker.admits(start) && breaker.admits(start));
    }
}
