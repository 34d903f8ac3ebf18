//! How an address has been doing: what is under way there, what failed, and whether it is left out.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::Failure;

/// How long an address is left out at first; twice as long each time it fails right after its return.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// What is known of an address.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) pending: AtomicUsize,
    requests: AtomicU64,
    unreachable: AtomicU64,
    broke: AtomicU64,
    too_slow: AtomicU64,
    busy: AtomicU64,
    ejections: AtomicU64,
    /// Whether there was a health check, and whether the last one failed.
    checked: AtomicBool,
    sick: AtomicBool,
    trouble: Mutex<Trouble>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Trouble {
    /// Failures since the last success.
    failures: u32,
    /// Ejections since the last success.
    ejections: u32,
    until: Option<Instant>,
}

/// How an address is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its URL.
    pub url: String,
    /// Requests that are under way or wait for their turn.
    pub pending: usize,
    /// Whether it is left out for its failures, while there are others.
    pub ejected: bool,
    /// Failures since the last answer that came whole.
    pub consecutive_failures: u32,
    /// Requests that were sent or tried.
    pub requests: u64,
    /// Requests for which no connection could be made.
    pub unreachable: u64,
    /// Requests whose connection broke, or whose answer was not HTTP.
    pub broke: u64,
    /// Requests that were not answered in time.
    pub too_slow: u64,
    /// Requests that were not sent, since too many were under way.
    pub busy: u64,
    /// How often it was ejected.
    pub ejections: u64,
    /// What the last health check found.
    pub healthy: Option<bool>,
}

impl State {
    /// Whether it is left out while there are others.
    pub(super) fn is_out(&self) -> bool {
        self.sick.load(Ordering::Relaxed) || self.is_ejected()
    }

    fn is_ejected(&self) -> bool {
        self.trouble().until.is_some_and(|until| until > Instant::now())
    }

    fn trouble(&self) -> std::sync::MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn asked(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// An answer came whole. Whether the address had been ejected.
    pub(super) fn succeeded(&self) -> bool {
        std::mem::take(&mut *self.trouble()).until.is_some()
    }

    /// Counts a failure. For how long the address is left out now, when it is.
    pub(super) fn failed(&self, failure: Failure, eject_after: u32) -> Option<Duration> {
        let counter = match failure {
            Failure::Unreachable => &self.unreachable,
            Failure::Broke => &self.broke,
            Failure::TooSlow => &self.too_slow,
            Failure::Busy => &self.busy,
            Failure::Body(_) => return None,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if failure == Failure::Busy {
            return None;
        }
        let mut trouble = self.trouble();
        trouble.failures = trouble.failures.saturating_add(1);
        let now = Instant::now();
        // What was under way when it was ejected says nothing new.
        if trouble.failures < eject_after || trouble.until.is_some_and(|until| until > now) {
            return None;
        }
        let pause = FIRST.saturating_mul(1 << trouble.ejections.min(6)).min(LONGEST);
        trouble.ejections = trouble.ejections.saturating_add(1);
        trouble.until = Some(now + pause);
        self.ejections.fetch_add(1, Ordering::Relaxed);
        Some(pause)
    }

    /// Takes down what a health check found. Whether that is news.
    pub(super) fn checked(&self, healthy: bool) -> bool {
        self.checked.store(true, Ordering::Relaxed);
        self.sick.swap(!healthy, Ordering::Relaxed) == healthy
    }

    pub(super) fn status(&self, url: String) -> Status {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let healthy = !self.sick.load(Ordering::Relaxed);
        Status {
            url,
            pending: self.pending.load(Ordering::Relaxed),
            ejected: self.is_ejected(),
            consecutive_failures: self.trouble().failures,
            requests: count(&self.requests),
            unreachable: count(&self.unreachable),
            broke: count(&self.broke),
            too_slow: count(&self.too_slow),
            busy: count(&self.busy),
            ejections: count(&self.ejections),
            healthy: self.checked.load(Ordering::Relaxed).then_some(healthy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::Gone;

    #[tokio::test(start_paused = true)]
    async fn an_address_is_left_out_for_longer_each_time_until_it_answers() {
        let state = State::default();
        assert_eq!(state.failed(Failure::Broke, 2), None);
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(state.failed(Failure::Broke, 2), Some(Duration::from_secs(seconds)));
            assert_eq!(state.failed(Failure::TooSlow, 2), None, "it is out already");
            assert!(state.is_out());
            tokio::time::advance(Duration::from_secs(seconds)).await;
            assert!(!state.is_out());
        }
        assert!(state.succeeded());
        assert!(!state.succeeded());
        assert_eq!(state.failed(Failure::Unreachable, 2), None);
        assert_eq!(state.failed(Failure::Unreachable, 2), Some(FIRST));
        assert_eq!(state.failed(Failure::Body(Gone::TooLarge), 1), None, "the device's fault");
        let status = state.status(String::new());
        assert_eq!((status.unreachable, status.broke, status.too_slow, status.ejections), (2, 9, 8, 9));
    }
}
