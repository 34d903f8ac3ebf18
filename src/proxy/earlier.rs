//! The policies that were in force before. A session goes on under the policy it began with, so the ones
//! that were replaced are kept for as long as sessions still use them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwap;
use tokio::time::{Duration, Instant};

use super::live::{Live, LiveSite};

/// The policies that were replaced, the latest first.
#[derive(Debug)]
pub struct Earlier {
    list: ArcSwap<Vec<Arc<Past>>>,
    start: Instant,
}

/// A policy that was replaced.
#[derive(Debug)]
struct Past {
    live: Arc<Live>,
    /// When a session last went on under it, in milliseconds since the start.
    used: AtomicU64,
}

impl Default for Earlier {
    fn default() -> Self {
        Self { list: ArcSwap::default(), start: Instant::now() }
    }
}

impl Earlier {
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn since(&self, idle: Duration) -> u64 {
        self.now().saturating_sub(u64::try_from(idle.as_millis()).unwrap_or(u64::MAX))
    }

    /// Keeps a policy that was replaced just now. Of very many the oldest are let go.
    pub fn push(&self, live: Arc<Live>) {
        const MOST: usize = 16;
        let past = Arc::new(Past { live, used: self.now().into() });
        self.list.rcu(|list| {
            let mut list = Vec::clone(list);
            list.insert(0, Arc::clone(&past));
            list.truncate(MOST);
            list
        });
    }

    /// Whether a site was another one under a policy that sessions may still go on under. Those that
    /// have not been used for `idle` are let go.
    pub fn differs(&self, site: &LiveSite, host: &str, path: &str, idle: Duration) -> bool {
        let list = self.list.load();
        if list.is_empty() {
            return false;
        }
        let since = self.since(idle);
        // What is older than a living one has to stay as well: the oldest stands for all before it.
        let living = |list: &[Arc<Past>]| {
            list.iter().rposition(|past| past.used.load(Ordering::Relaxed) >= since).map_or(0, |last| last + 1)
        };
        let keep = living(&list);
        if keep < list.len() {
            self.list.rcu(|list| list.iter().take(living(list)).cloned().collect::<Vec<_>>());
        }
        list.iter().take(keep).any(|past| past.live.site(host, path).is_none_or(|before| before.site.digest != site.site.digest))
    }

    /// The policy with a digest, when it is still there.
    pub fn with_digest(&self, host: &str, path: &str, digest: &str) -> Option<(Arc<Live>, Arc<LiveSite>)> {
        self.find(|past| past.live.site(host, path).filter(|site| *site.site.digest == *digest).cloned())
    }

    /// The oldest that is still there: that of a session of which nothing is kept, since all that began
    /// after the first replacement are. It is kept from then on, so this is no use that makes it stay.
    pub fn oldest(&self, host: &str, path: &str) -> Option<(Arc<Live>, Arc<LiveSite>)> {
        let list = self.list.load();
        let oldest = list.last()?;
        let site = oldest.live.site(host, path).cloned()?;
        Some((Arc::clone(&oldest.live), site))
    }

    /// The latest that has a site for a host and path, and was used within `idle`.
    pub fn latest(&self, host: &str, path: &str, idle: Duration) -> Option<(Arc<Live>, Arc<LiveSite>)> {
        let list = self.list.load();
        let since = self.since(idle);
        let mut living = list.iter().filter(|past| past.used.load(Ordering::Relaxed) >= since);
        living.find_map(|past| Some((Arc::clone(&past.live), past.live.site(host, path).cloned()?)))
    }

    fn find(&self, site: impl Fn(&Past) -> Option<Arc<LiveSite>>) -> Option<(Arc<Live>, Arc<LiveSite>)> {
        self.list.load().iter().find_map(|past| {
            let site = site(past)?;
            past.used.store(self.now(), Ordering::Relaxed);
            Some((Arc::clone(&past.live), site))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Source, compile};

    fn live(comment: &str) -> Arc<Live> {
        let sources = [
            ("proxy.toml", "[[listener]]\nname = \"d\"\naddress = \"127.0.0.1:0\"\n".to_owned()),
            (
                "a.toml",
                format!(
                    "# {comment}\n[site]\nname = \"a\"\nhosts = [\"a\"]\n[[server]]\nname = \"s\"\nurl = \"http://b\"\nspeaks = [\"1.2\"]\n"
                ),
            ),
        ];
        let sources = sources.map(|(name, text)| Source { name: name.into(), text });
        Arc::new(Live::new(compile(&sources).policies.expect("a policy"), None).expect("no TLS"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_policy_stays_for_as_long_as_sessions_use_it() {
        let idle = Duration::from_secs(60);
        let (first, second, third) = (live("1"), live("2"), live("3"));
        let digest = |live: &Live| live.site("a", "/").expect("a site").site.digest.clone();
        let earlier = Earlier::default();
        let now = third.site("a", "/").expect("a site");
        assert!(!earlier.differs(now, "a", "/", idle));
        earlier.push(Arc::clone(&first));
        earlier.push(Arc::clone(&second));
        assert!(earlier.differs(now, "a", "/", idle));
        assert!(earlier.with_digest("a", "/", &digest(&second)).is_some());
        assert_eq!(earlier.oldest("a", "/").expect("the first").1.site.digest, digest(&first));
        tokio::time::advance(Duration::from_secs(50)).await;
        // Both stay: the second is used, and what it replaced may be.
        assert!(earlier.with_digest("a", "/", &digest(&first)).is_some());
        tokio::time::advance(Duration::from_secs(50)).await;
        assert!(earlier.differs(now, "a", "/", idle));
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(!earlier.differs(now, "a", "/", idle));
        assert!(earlier.oldest("a", "/").is_none());
    }

    #[tokio::test]
    async fn the_same_site_under_another_policy_is_no_other_site() {
        let earlier = Earlier::default();
        earlier.push(live("1"));
        let same = live("1");
        assert!(!earlier.differs(same.site("a", "/").expect("a site"), "a", "/", Duration::from_secs(60)));
    }
}
