//! What the store knows of a session and of the servers of its site. No call here fails: a store that is
//! down means that nothing is known, and the record says so.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    decisions::clock,
    policy::{
        decision::Decision,
        reason::Verdict,
        site::{Sessions, Site},
    },
    session::{Address, Kept, Learnt, Nonces, Notified, Pin, key},
    store::Store,
    syncml::version::Version,
};

/// The store, for one message.
#[derive(Debug)]
pub struct Remembered {
    store: Arc<dyn Store>,
    keep: Sessions,
    /// Where the pin of the session is.
    pin: String,
    /// What was learnt of the site's servers, one for each; empty where nothing is learnt.
    learnt: Vec<Learnt>,
    /// The nonces of the device's MACs, and where they are; known where the site has secrets.
    nonces: Option<(String, Nonces, Nonces)>,
    /// Whether it is known how the session began.
    pinned: bool,
    /// Whether the store did not answer.
    degraded: bool,
}

/// For how long the nonces of a device are kept: it may not come back for weeks.
const NONCES: Duration = Duration::from_secs(90 * 86_400);

/// Seconds since 1970.
pub(crate) fn seconds() -> u64 {
    clock::now().wall.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Remembered {
    /// For a message of a session.
    pub(crate) fn new(store: &Arc<dyn Store>, keep: Sessions, site: &str, device: &str, session: &str) -> Self {
        let pin = key("pin", site, device, session);
        Self { store: Arc::clone(store), keep, pin, learnt: Vec::new(), nonces: None, pinned: false, degraded: false }
    }

    /// How the record names the store: `degraded` when it did not answer.
    pub(super) fn name(&self) -> &'static str {
        if self.degraded { "degraded" } else { self.store.name() }
    }

    /// Whether the store did not answer.
    pub(crate) const fn is_degraded(&self) -> bool {
        self.degraded
    }

    /// Whether it is known how the session began.
    pub(super) const fn is_pinned(&self) -> bool {
        self.pinned
    }

    /// What was learnt of the site's servers.
    pub(crate) fn learnt(&self) -> &[Learnt] {
        &self.learnt
    }

    async fn get(&mut self, key: &str, renew: Option<Duration>) -> Option<Bytes> {
        let value = self.store.get(key, renew).await;
        self.degraded |= value.is_err();
        value.ok().flatten()
    }

    async fn put(&mut self, key: &str, value: Vec<u8>, ttl: Duration) {
        self.keep(key, value, ttl).await;
    }

    /// The value of a key, which lives as long again then.
    pub(super) async fn recall(&mut self, key: &str, renew: Duration) -> Option<Bytes> {
        self.get(key, Some(renew)).await
    }

    /// Keeps a value. Whether it is kept.
    pub(super) async fn keep(&mut self, key: &str, value: Vec<u8>, ttl: Duration) -> bool {
        let kept = self.store.put(key, value.into(), ttl).await.is_ok();
        self.degraded |= !kept;
        kept
    }

    /// For how long a session is remembered.
    pub(super) const fn idle(&self) -> Duration {
        self.keep.idle
    }

    /// Asks what is known of the servers whose versions are found out.
    pub(crate) async fn recall_learnt(&mut self, site: &Site) {
        let now = seconds();
        let mut all = Vec::with_capacity(site.servers.len());
        for server in &site.servers {
            let known = if server.trial.is_some() {
                let key = Learnt::key(&site.name, &server.name, &server.url.to_string());
                let value = self.get(&key, None).await;
                value.and_then(|value| Learnt::read(&value, now, self.keep.learnt.as_secs()))
            } else {
                None
            };
            all.push(known.unwrap_or(Learnt::nothing(now)));
        }
        self.learnt = all;
    }

    /// Keeps the version that a device was notified of.
    pub(super) async fn keep_notified(&mut self, site: &str, session: &str, version: Version, to: &str) {
        let key = Notified::key(site, session);
        let before = self.get(&key, None).await.and_then(|value| Notified::read(&value));
        self.put(&key, Notified::new(version, to, before.as_ref()).write(), self.keep.notified).await;
    }

    /// Takes what waits for a session: it is answered now.
    pub(super) async fn take_notified(&mut self, site: &str, session: &str) -> Option<Notified> {
        let key = Notified::key(site, session);
        let notified = self.get(&key, None).await.and_then(|value| Notified::read(&value))?;
        // One that may be for several devices stays, so that each of them is told from those it is clear of.
        if notified.version().is_some() {
            self.degraded |= self.store.remove(&key).await.is_err();
        }
        Some(notified)
    }

    /// Asks for the nonces of a device.
    pub(super) async fn recall_nonces(&mut self, site: &str, device: &str) -> Nonces {
        let key = key("mac", site, device, "");
        let value = self.get(&key, Some(NONCES)).await;
        let nonces = value.and_then(|value| Nonces::read(&value)).unwrap_or_default();
        self.nonces = Some((key, nonces.clone(), nonces.clone()));
        nonces
    }

    /// Changes the nonces of the device; they are stored with the answer.
    pub(super) fn keep_nonces(&mut self, nonces: Nonces) {
        if let Some((_, now, _)) = &mut self.nonces {
            *now = nonces;
        }
    }

    /// Whether the nonces of the device are followed.
    pub(super) const fn follows_nonces(&self) -> bool {
        self.nonces.is_some()
    }

    /// Stores the nonces of the device, with the one that the answer hands it.
    pub(super) async fn store_nonces(&mut self, handed: Option<Vec<u8>>) {
        let Some((key, mut now, before)) = self.nonces.take() else { return };
        if let Some(nonce) = handed {
            now.for_client(&nonce);
        }
        if now != before {
            self.put(&key, now.write(), NONCES).await;
        }
    }

    /// Asks how the session began, and lets that be known for as long again.
    pub(super) async fn recall_pin(&mut self) -> Option<Pin> {
        let key = std::mem::take(&mut self.pin);
        let value = self.get(&key, Some(self.keep.idle)).await;
        self.pin = key;
        let pin = Pin::read(&value?);
        self.pinned = pin.is_some();
        pin
    }

    /// Keeps how the session began.
    pub(super) async fn begin(&mut self, site: &Site, declared: Option<Version>, decision: &Decision) {
        let kept = match decision.verdict() {
            Verdict::Pass => Kept::Pass,
            Verdict::Advise => Kept::Advise,
            Verdict::Bridge => Kept::Bridge,
            Verdict::Refuse | Verdict::Fail | Verdict::Abandon => return,
        };
        let Some(server) = site.servers.get(decision.server()) else { return };
        let mut pin = Pin::new(kept, &server.name, &site.digest);
        pin.declared = declared;
        pin.used = decision.used();
        pin.recommended = decision.recommended();
        pin.lossy = decision.lossy();
        pin.account = decision.account();
        pin.rule = decision.rule().map(ToString::to_string);
        let key = std::mem::take(&mut self.pin);
        self.put(&key, pin.write(), self.keep.idle).await;
        self.pin = key;
    }

    /// Forgets the session: it is over.
    pub(super) async fn end(&mut self) {
        self.degraded |= self.store.remove(&self.pin).await.is_err();
    }

    /// Takes down what a server took and what it refused. Nothing is kept of a server that took nothing:
    /// it may be ill, and is asked again by the next device. What is only suspected is kept for an hour.
    pub(super) async fn learn(
        &mut self,
        site: &Site,
        server: usize,
        took: Option<Version>,
        refused: &[Version],
        suspected: bool,
    ) {
        const SUSPICION: Duration = Duration::from_secs(3600);
        let Some(server_policy) = site.servers.get(server).filter(|server| server.trial.is_some()) else { return };
        if self.learnt.is_empty() {
            self.recall_learnt(site).await;
        }
        let Some(learnt) = self.learnt.get_mut(server) else { return };
        let mut new = false;
        for version in refused {
            new |= learnt.refuse(*version);
        }
        if let Some(version) = took {
            new |= learnt.accept(version);
        }
        if !new {
            return;
        }
        let anything = crate::syncml::version::Family::ALL.into_iter().any(|family| learnt.accepted(family).next().is_some());
        let key = Learnt::key(&site.name, &server_policy.name, &server_policy.url.to_string());
        if anything {
            let value = learnt.write();
            let keep = if suspected { self.keep.learnt.min(SUSPICION) } else { self.keep.learnt };
            self.put(&key, value, keep).await;
        } else {
            self.degraded |= self.store.remove(&key).await.is_err();
        }
    }

    /// The path and query that a token of a RespURI stands for.
    pub(super) async fn recall_uri(&mut self, site: &str, token: &str) -> Option<String> {
        let value = self.get(&uri_key(site, token), Some(self.keep.idle)).await?;
        Address::read(&value)
    }

    /// Keeps what a token of a RespURI stands for. Whether it is kept.
    pub(super) async fn keep_uri(&mut self, site: &str, token: &str, path_and_query: String) -> bool {
        self.keep(&uri_key(site, token), Address::write(path_and_query), self.keep.idle).await
    }
}

fn uri_key(site: &str, token: &str) -> String {
    format!("uri:{site}:{token}")
}
/// A message that goes no further ends its session.
pub(super) async fn ends(remembered: Option<Box<Remembered>>) {
    if let Some(mut remembered) = remembered {
        remembered.store_nonces(None).await;
        remembered.end().await;
    }
}
