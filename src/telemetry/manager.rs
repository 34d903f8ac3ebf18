//! What the service manager is told, by the protocol of systemd (`NOTIFY_SOCKET`). Without one nobody is
//! told anything.

use std::time::Duration;

use futures_util::future::join_all;
use sd_notify::NotifyState;
use tokio::runtime::Handle;

/// Everything that has to be there is there.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The policies are read again; [`ready`] says when that is over.
pub fn reloading() {
    // Without the time it is no reload for systemd 253 and later.
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// The drain begins, and takes no longer than `at_most`.
pub fn stopping(at_most: Duration) {
    let micros = u32::try_from(at_most.as_micros()).unwrap_or(u32::MAX);
    tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(micros)]);
}

/// How things stand, in a line for people.
pub fn status(line: &str) {
    tell(&[NotifyState::Status(line)]);
}

/// Shows twice in the time that the manager allows that every worker still runs tasks. Ends at once when
/// the manager does not ask for it.
pub async fn watchdog(workers: Vec<Handle>) {
    let Some(within) = sd_notify::watchdog_enabled().filter(|within| !within.is_zero()) else { return };
    let mut tick = tokio::time::interval(within / 2);
    loop {
        tick.tick().await;
        // One that hangs keeps us waiting here, and the manager does what it was told to do then.
        join_all(workers.iter().map(|worker| worker.spawn(async {}))).await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told how things stand");
    }
}
