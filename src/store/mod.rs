//! What is remembered between messages, for a while and under keys: in this process, or in a Redis that
//! several share. A store may be down: then calls fail soon, and whoever asked goes on without it.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

use std::{fmt::Debug, io, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::policy::site;

mod memory;
mod redis;

pub use self::{memory::Memory, redis::Redis};

/// What is under way at a store.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, Unavailable>> + Send + 'a>>;

/// The store did not answer, or not in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable;

/// Keeps values under keys until their time is up. Every call is about one key, so that no store has to
/// hold two of them in one place.
pub trait Store: Debug + Send + Sync {
    /// The value of a key. `renew` lets it live that long from now.
    fn get<'a>(&'a self, key: &'a str, renew: Option<Duration>) -> Pending<'a, Option<Bytes>>;

    /// Keeps a value, in place of what was there.
    fn put<'a>(&'a self, key: &'a str, value: Bytes, ttl: Duration) -> Pending<'a, ()>;

    /// Forgets a key; one that is not there is no mistake.
    fn remove<'a>(&'a self, key: &'a str) -> Pending<'a, ()>;

    /// `memory` or `redis`, as the decision log names it.
    fn name(&self) -> &'static str;

    /// How many calls have failed so far.
    fn failures(&self) -> u64;
}

/// Opens the store. Redis is connected to when it is first needed, so that protover starts without it.
///
/// # Errors
/// When a file that the settings name cannot be used.
pub fn open(settings: &site::Store) -> io::Result<Arc<dyn Store>> {
    Ok(match settings {
        site::Store::Memory { size } => Arc::new(Memory::new(*size)),
        site::Store::Redis(redis) => Arc::new(Redis::new(redis)?),
    })
}
