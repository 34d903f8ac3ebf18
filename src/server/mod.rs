//! Listeners: accepting connections, the PROXY protocol, TLS, HTTP, and ending it all in order.

mod connection;
mod heads;
mod listener;
mod proxy_protocol;
pub mod pulse;
pub mod tls;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::{
    decisions::Log,
    policy::site::{Policies, Settings},
    proxy::{Earlier, Live, Shared},
    store,
};
use listener::Listening;
pub use listener::expiries;

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Not at all.
    Serving,
    /// Nothing new is accepted; what is under way finishes.
    Draining,
    /// Everything ends now.
    Stopping,
}

/// What connections share.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) shared: Arc<Shared>,
    pub(crate) phase: watch::Receiver<Phase>,
    /// One permit for each connection.
    pub(crate) connections: Arc<Semaphore>,
    /// One for each that is being told that there are too many.
    pub(crate) turned_away: Arc<Semaphore>,
}

/// How many connections are told at one time that there are too many.
const TURNED_AWAY: usize = 256;

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    listening: Vec<Arc<Listening>>,
    phase: watch::Sender<Phase>,
    /// Gives `None` when every connection and exchange is over: each holds a sender.
    over: mpsc::Receiver<()>,
}

impl Proxy {
    /// Binds the listeners and begins to serve.
    ///
    /// # Errors
    /// When an address cannot be bound, or a PEM file cannot be used.
    pub async fn start(policies: Policies, log: Log) -> io::Result<Self> {
        let settings = policies.settings.clone();
        let live = ArcSwap::from_pointee(Live::new(policies, None)?);
        let store = store::open(&settings.store)?;
        let shared = Arc::new(Shared {
            live,
            earlier: Earlier::default(),
            store,
            log,
            draining: false.into(),
            expiries: ArcSwap::default(),
        });
        let (phase, watched) = watch::channel(Phase::Serving);
        let (alive, over) = mpsc::channel(1);
        let connections = Arc::new(Semaphore::new(settings.limits.connections));
        let turned_away = Arc::new(Semaphore::new(TURNED_AWAY));
        let context = Arc::new(Context { shared: Arc::clone(&shared), phase: watched, connections, turned_away });
        let mut bound = Vec::new();
        for listener in &settings.listeners {
            let (listening, socket) = Listening::bind(listener)?;
            bound.push((Arc::new(listening), socket));
        }
        let mut listening = Vec::new();
        for (on, socket) in bound {
            tokio::spawn(listener::accept(Arc::clone(&on), socket, Arc::clone(&context), alive.clone()));
            listening.push(on);
        }
        shared.expiries.store(Arc::new(listening.iter().flat_map(|on| on.expiries()).collect()));
        tokio::spawn(tls::watch(Arc::clone(&shared), phase.subscribe()));
        Ok(Self { shared, listening, phase, over })
    }

    /// The address of a listener, by name.
    #[must_use]
    pub fn address(&self, listener: &str) -> Option<SocketAddr> {
        self.listening.iter().find(|on| &*on.name == listener).map(|on| on.address)
    }

    /// The name and address of every listener.
    pub fn addresses(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.listening.iter().map(|on| (&*on.name, on.address))
    }

    /// Puts another policy in force, for every request that comes from now on. Requests that are under
    /// way keep to theirs. Certificates of listeners are read again. Returns what of it only a restart
    /// can bring.
    ///
    /// # Errors
    /// When a PEM file cannot be used; the old policy stays in force then.
    pub fn reload(&self, policies: Policies) -> io::Result<Vec<&'static str>> {
        let before = self.shared.live.load_full();
        let settings = policies.settings.clone();
        let live = Live::new(policies, Some(&before))?;
        let fronts: Vec<_> = self.listening.iter().map(|on| on.front_for(&settings.listeners)).collect::<io::Result<_>>()?;
        for (on, front) in self.listening.iter().zip(fronts) {
            on.set_front(front);
        }
        self.shared.expiries.store(Arc::new(self.listening.iter().flat_map(|on| on.expiries()).collect()));
        // Sessions go on under the policy they began with. It is kept before the new one is in force, so
        // that no request sees neither.
        if !before.has_the_sites_of(&live) {
            self.shared.earlier.push(Arc::clone(&before));
        }
        self.shared.live.store(Arc::new(live));
        Ok(needs_restart(before.settings(), &settings))
    }

    /// Stops accepting, and waits until what is under way has finished, at most for `drain_timeout`.
    /// What has not finished by then is cut off; each gets its decision line.
    pub async fn drain(&mut self) {
        let limit = self.shared.live.load().limits().drain_timeout;
        self.shared.draining.store(true, Ordering::Relaxed);
        self.phase.send_replace(Phase::Draining);
        if tokio::time::timeout(limit, self.over.recv()).await.is_err() {
            tracing::warn!(after = ?limit, "requests were cut off at the end of the drain");
            self.stop().await;
        }
    }

    /// Cuts everything off.
    pub async fn stop(&mut self) {
        const GRACE: std::time::Duration = std::time::Duration::from_secs(1);
        self.shared.log.draining();
        self.shared.draining.store(true, Ordering::Relaxed);
        self.phase.send_replace(Phase::Stopping);
        let _ = tokio::time::timeout(GRACE, self.over.recv()).await;
    }
}

fn needs_restart(before: &Settings, after: &Settings) -> Vec<&'static str> {
    let bare = |settings: &Settings| -> Vec<_> {
        settings
            .listeners
            .iter()
            .map(|listener| (listener.name.clone(), listener.address, listener.tls.is_some(), listener.gateway.is_some()))
            .collect()
    };
    [
        ("listener", bare(before) != bare(after)),
        ("limits.connections", before.limits.connections != after.limits.connections),
        ("decisions", before.decisions != after.decisions),
        ("store", before.store != after.store),
    ]
    .into_iter()
    .filter_map(|(name, changed)| changed.then_some(name))
    .collect()
}
