//! The store that several processes share.
//!
//! Every call is one command about one key, so whatever shares out the keys over nodes behind one address
//! (a proxy, or a managed cluster's endpoint) has it easy. `GETEX` asks for Redis 6.2, or for Valkey.

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use redis::{Cmd, FromRedisValue};
use tokio::time::timeout;

use self::{
    breaker::{Breaker, Turn},
    link::{Failure, Kind, Link, Target},
};
use super::{Pending, Store, Unavailable};
use crate::policy::site;

mod breaker;
mod link;

/// The longest that Redis is asked to keep something, in milliseconds: a year.
const LONGEST: u128 = 365 * 86_400_000;

/// Values in a Redis, over one connection that is made when it is needed, and made again.
pub struct Redis {
    target: Arc<Target>,
    /// Host, port and database, for the log.
    place: Box<str>,
    prefix: Box<str>,
    timeout: Duration,
    state: Mutex<State>,
    failures: AtomicU64,
}

struct State {
    breaker: Breaker,
    link: Option<Link>,
}

impl Redis {
    /// Gets ready. Nothing is sent yet.
    ///
    /// # Errors
    /// When the file with the password or that with the authorities cannot be used.
    pub fn new(settings: &site::Redis) -> io::Result<Self> {
        let site::Redis { host, port, database, .. } = settings;
        Ok(Self {
            target: Arc::new(Target::new(settings)?),
            place: format!("{host}:{port}/{database}").into(),
            prefix: settings.prefix.clone(),
            timeout: settings.timeout,
            state: Mutex::new(State { breaker: Breaker::new(settings.timeout), link: None }),
            failures: AtomicU64::new(0),
        })
    }

    fn command(&self, name: &str, key: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg([&*self.prefix, key].concat());
        command
    }

    async fn call<T: FromRedisValue>(&self, command: Cmd) -> Result<T, Unavailable> {
        let Some(mut link) = self.admitted() else {
            self.failures.fetch_add(1, Ordering::Relaxed);
            return Err(Unavailable);
        };
        let asking = async {
            match ask(&link, &command).await {
                // Redis closes connections that were idle for long, and all when it starts again. Every
                // command here may come twice.
                Err(Failure { kind: Kind::Lost, .. }) => {
                    link = self.another(&link);
                    ask(&link, &command).await
                }
                outcome => outcome,
            }
        };
        let outcome = timeout(self.timeout, asking).await.unwrap_or_else(|_| Err(Failure::late()));
        self.learn(&link, outcome)
    }

    /// The connection for a call, unless it is better not made now.
    fn admitted(&self) -> Option<Link> {
        let mut state = self.state();
        state.breaker.admits(Instant::now()).then(|| state.link(&self.target))
    }

    /// A connection in place of one that had ended; the same for all who noticed.
    fn another(&self, ended: &Link) -> Link {
        let mut state = self.state();
        if state.is_at(ended) {
            state.link = None;
        }
        state.link(&self.target)
    }

    /// Draws the conclusions from a call. Those of a connection that was given up meanwhile say nothing
    /// about the one that is in use.
    fn learn<T>(&self, link: &Link, outcome: Result<T, Failure>) -> Result<T, Unavailable> {
        let mut state = self.state();
        let now = Instant::now();
        let turn = match &outcome {
            _ if !state.is_at(link) => None,
            Ok(_) => state.breaker.succeeded(now),
            Err(Failure { kind: Kind::Refused, .. }) => state.breaker.refused(now),
            Err(_) => {
                // One that is still being made is waited for.
                if link.peek().is_some() {
                    state.link = None;
                }
                state.breaker.failed(now)
            }
        };
        drop(state);
        if turn == Some(Turn::Up) {
            tracing::info!(store = &*self.place, "the store answers again");
        }
        outcome.map_err(|failure| {
            self.failures.fetch_add(1, Ordering::Relaxed);
            if turn == Some(Turn::Down) {
                tracing::warn!(store = &*self.place, why = &*failure.why, "the store is down: going on without it");
            }
            Unavailable
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The connection, or a new one when there is none or none came of it.
    fn link(&mut self, target: &Arc<Target>) -> Link {
        match &self.link {
            Some(link) if !matches!(link.peek(), Some(Err(_))) => link.clone(),
            _ => self.link.insert(target.link()).clone(),
        }
    }

    fn is_at(&self, link: &Link) -> bool {
        self.link.as_ref().is_some_and(|current| current.ptr_eq(link))
    }
}

async fn ask<T: FromRedisValue>(link: &Link, command: &Cmd) -> Result<T, Failure> {
    link.clone().await?.call(command).await
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis().clamp(1, LONGEST)).unwrap_or(u64::MAX)
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Store for Redis {
    fn get<'a>(&'a self, key: &'a str, renew: Option<Duration>) -> Pending<'a, Option<Bytes>> {
        Box::pin(async move {
            let mut command = self.command(if renew.is_some() { "GETEX" } else { "GET" }, key);
            if let Some(ttl) = renew {
                command.arg("PX").arg(millis(ttl));
            }
            let value: Option<Vec<u8>> = self.call(command).await?;
            Ok(value.map(Bytes::from))
        })
    }

    fn put<'a>(&'a self, key: &'a str, value: Bytes, ttl: Duration) -> Pending<'a, ()> {
        Box::pin(async move {
            let mut command = self.command("SET", key);
            command.arg(&*value).arg("PX").arg(millis(ttl));
            self.call(command).await
        })
    }

    fn remove<'a>(&'a self, key: &'a str) -> Pending<'a, ()> {
        Box::pin(self.call(self.command("DEL", key)))
    }

    fn name(&self) -> &'static str {
        "redis"
    }

    fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}
