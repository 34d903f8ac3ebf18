//! The store of a process that shares nothing.

use std::{
    fmt,
    future::ready,
    time::{Duration, Instant},
};

use bytes::Bytes;
use moka::{
    Expiry,
    ops::compute::{CompResult, Op},
    policy::EvictionPolicy,
    sync::Cache,
};

use super::{Pending, Store};

/// What it takes to keep an entry, besides its key and value: about 360 bytes for the cache's tables, queues
/// and timers, in ten allocations, and what the allocator adds to each (`tests/allocations.rs`).
const OVERHEAD: usize = 512;

/// Values in memory, never more than a given size of them.
pub struct Memory {
    cache: Cache<String, Kept>,
}

#[derive(Clone)]
struct Kept {
    value: Bytes,
    ttl: Duration,
}

/// Every entry lives as long as it was said when it was last written; reading alone renews nothing.
struct AsSaid;

impl Expiry<String, Kept> for AsSaid {
    fn expire_after_create(&self, _: &String, kept: &Kept, _: Instant) -> Option<Duration> {
        Some(kept.ttl)
    }

    fn expire_after_update(&self, _: &String, kept: &Kept, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(kept.ttl)
    }
}

impl Memory {
    /// An empty one, for so many bytes.
    #[must_use]
    pub fn new(size: usize) -> Self {
        let weigh = |key: &String, kept: &Kept| {
            let bytes = key.len().saturating_add(kept.value.len()).saturating_add(OVERHEAD);
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let cache = Cache::builder()
            .max_capacity(u64::try_from(size).unwrap_or(u64::MAX))
            .weigher(weigh)
            // The default would rather turn away a new session than forget one that was seen often.
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(AsSaid)
            .build();
        Self { cache }
    }

    fn renewed(&self, key: &str, ttl: Duration) -> Option<Bytes> {
        // In one step: between a look and a write, another message could have written or removed it.
        let renewed = self.cache.entry_by_ref(key).and_compute_with(|entry| match entry {
            Some(entry) => Op::Put(Kept { ttl, ..entry.into_value() }),
            None => Op::Nop,
        });
        match renewed {
            CompResult::ReplacedWith(entry) => Some(entry.into_value().value),
            _ => None,
        }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the keys and values, which the cache would show.
        f.debug_struct("Memory").field("bytes", &self.cache.weighted_size()).finish_non_exhaustive()
    }
}

impl Store for Memory {
    fn get<'a>(&'a self, key: &'a str, renew: Option<Duration>) -> Pending<'a, Option<Bytes>> {
        let found = match renew {
            Some(ttl) => self.renewed(key, ttl),
            None => self.cache.get(key).map(|kept| kept.value),
        };
        Box::pin(ready(Ok(found)))
    }

    fn put<'a>(&'a self, key: &'a str, value: Bytes, ttl: Duration) -> Pending<'a, ()> {
        // A copy: a slice would keep all that it was cut from, such as a whole message.
        self.cache.insert(key.to_owned(), Kept { value: Bytes::copy_from_slice(&value), ttl });
        Box::pin(ready(Ok(())))
    }

    fn remove<'a>(&'a self, key: &'a str) -> Pending<'a, ()> {
        self.cache.invalidate(key);
        Box::pin(ready(Ok(())))
    }

    fn name(&self) -> &'static str {
        "memory"
    }

    fn failures(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);
    const SHORT: Duration = Duration::from_millis(200);

    async fn text(store: &Memory, key: &str, renew: Option<Duration>) -> Option<String> {
        let value = store.get(key, renew).await.unwrap();
        value.map(|value| String::from_utf8(value.to_vec()).unwrap())
    }

    async fn put(store: &Memory, key: &str, value: &str, ttl: Duration) {
        store.put(key, Bytes::copy_from_slice(value.as_bytes()), ttl).await.unwrap();
    }

    #[tokio::test]
    async fn what_was_put_last_is_there_until_it_is_removed() {
        let store = Memory::new(1 << 20);
        assert_eq!(text(&store, "a", None).await, None);
        put(&store, "a", "1", LONG).await;
        put(&store, "a", "2", LONG).await;
        put(&store, "b", "3", LONG).await;
        assert_eq!(text(&store, "a", None).await.as_deref(), Some("2"));
        assert_eq!(text(&store, "a", Some(LONG)).await.as_deref(), Some("2"));
        store.remove("a").await.unwrap();
        store.remove("a").await.unwrap();
        assert_eq!(text(&store, "a", None).await, None);
        assert_eq!(text(&store, "b", None).await.as_deref(), Some("3"));
        assert_eq!((store.name(), store.failures()), ("memory", 0));
    }

    #[tokio::test]
    async fn a_value_is_gone_when_its_time_is_up_and_renewal_alone_puts_that_off() {
        let store = Memory::new(1 << 20);
        for key in ["left", "read", "renewed", "written"] {
            put(&store, key, "1", SHORT).await;
        }
        tokio::time::sleep(SHORT / 2).await;
        assert!(text(&store, "read", None).await.is_some());
        assert!(text(&store, "renewed", Some(LONG)).await.is_some());
        put(&store, "written", "2", LONG).await;
        tokio::time::sleep(SHORT).await;
        let mut there = Vec::new();
        for key in ["left", "read", "renewed", "written"] {
            there.push(text(&store, key, None).await.is_some());
        }
        assert_eq!(there, [false, false, true, true]);
        // What is gone is not brought back by asking for more time.
        assert_eq!(text(&store, "left", Some(LONG)).await, None);
        // A renewal may also shorten.
        assert!(text(&store, "renewed", Some(SHORT)).await.is_some());
        tokio::time::sleep(SHORT * 2).await;
        assert_eq!(text(&store, "renewed", Some(LONG)).await, None);
    }

    #[tokio::test]
    async fn it_never_weighs_more_than_it_may_and_keeps_what_was_used_last() {
        let store = Memory::new(1 << 20);
        put(&store, "pinned", "1", LONG).await;
        for n in 0..20_000 {
            put(&store, &format!("key-{n}"), &"v".repeat(200), LONG).await;
            if n % 50 == 0 {
                assert!(text(&store, "pinned", None).await.is_some(), "forgotten after {n}");
            }
        }
        store.cache.run_pending_tasks();
        assert!(store.cache.weighted_size() <= 1 << 20, "{store:?}");
        assert!(store.cache.entry_count() > 1000, "{}", store.cache.entry_count());
        assert!(text(&store, "key-19999", None).await.is_some());
        assert_eq!(text(&store, "key-0", None).await, None);
    }

    #[tokio::test]
    async fn neither_keys_nor_values_are_shown() {
        let store = Memory::new(1 << 20);
        put(&store, "IMEI:493005100592800", "hush", LONG).await;
        let shown = format!("{store:?}");
        assert!(!shown.contains("IMEI") && !shown.contains("hush"), "{shown}");
    }
}
