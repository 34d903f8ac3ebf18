//! Listeners: accepting connections, the PROXY protocol, TLS, HTTP, and ending it all in order.

mod connection;
mod heads;
mod inherited;
mod listener;
mod proxy_protocol;
pub mod pulse;
mod streams;
pub mod tls;
pub mod turns;
mod workers;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::SystemTime,
};

use arc_swap::ArcSwap;
use tokio::{
    net::TcpListener,
    runtime::Handle,
    sync::{Semaphore, mpsc, watch},
};

use crate::{
    decisions::Log,
    policy::site::{Policies, Settings},
    proxy::{Earlier, Live, Shared},
    store,
    telemetry::{Address, Expires, Now},
};
use listener::Listening;
use turns::Turns;

pub use inherited::Inherited;
pub use listener::expiries;
pub use workers::Workers;

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

/// What the connections of a worker share.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) shared: Arc<Shared>,
    pub(crate) phase: watch::Receiver<Phase>,
    /// One permit for each connection.
    pub(crate) connections: Arc<Semaphore>,
    /// One for each that is being told that there are too many.
    pub(crate) turned_away: Arc<Semaphore>,
    /// This is each worker's own.
    pub(crate) turns: Arc<Turns>,
}

/// How often it is said how far a drain is.
const PROGRESS: std::time::Duration = std::time::Duration::from_secs(5);

/// How many connections are told at one time that there are too many.
const TURNED_AWAY: usize = 256;

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    listening: Arc<[Arc<Listening>]>,
    phase: watch::Sender<Phase>,
    /// One permit for each connection, and how many there are.
    connections: (Arc<Semaphore>, usize),
    /// How many requests may be under way.
    requests: usize,
    /// Gives `None` when every connection and exchange is over: each holds a sender.
    over: mpsc::Receiver<()>,
}

impl Proxy {
    /// Binds the listeners and begins to serve.
    ///
    /// # Errors
    /// When an address cannot be bound, or a PEM file cannot be used.
    pub async fn start(policies: Policies, log: Log) -> io::Result<Self> {
        Self::start_on(policies, log, &[], &mut Inherited::default()).await
    }

    /// The same, on the runtime it is called on and on others too. Each accepts connections from sockets
    /// of its own, and serves them to their end. Where sockets were inherited, all accept from those.
    ///
    /// # Errors
    /// As above.
    pub async fn start_on(policies: Policies, log: Log, others: &[Handle], inherited: &mut Inherited) -> io::Result<Self> {
        let settings = policies.settings.clone();
        let live = ArcSwap::from_pointee(Live::new(policies, None)?);
        let store = store::open(&settings.store)?;
        let shared = Arc::new(Shared {
            live,
            earlier: Earlier::default(),
            store,
            log,
            requests: Arc::new(Semaphore::new(settings.limits.requests)),
            draining: false.into(),
            expiries: ArcSwap::default(),
        });
        let (phase, watched) = watch::channel(Phase::Serving);
        let (alive, over) = mpsc::channel(1);
        let ceiling = settings.limits.connections;
        let connections = Arc::new(Semaphore::new(ceiling));
        let counted = (Arc::clone(&connections), ceiling);
        let turned_away = Arc::new(Semaphore::new(TURNED_AWAY));
        let context = |runtime| {
            let (shared, phase) = (Arc::clone(&shared), watched.clone());
            let (connections, turned_away) = (Arc::clone(&connections), Arc::clone(&turned_away));
            (runtime, Arc::new(Context { shared, phase, connections, turned_away, turns: Arc::default() }))
        };
        let workers: Vec<(Handle, _)> = std::iter::once(Handle::current()).chain(others.iter().cloned()).map(context).collect();
        let mut bound = Vec::new();
        for listener in &settings.listeners {
            let (listening, sockets) = Listening::bind(listener, workers.len(), &inherited.at(listener.address))?;
            bound.push((Arc::new(listening), sockets));
        }
        let mut listening = Vec::new();
        for (on, sockets) in bound {
            for ((runtime, context), socket) in workers.iter().cycle().zip(sockets) {
                // The socket belongs to the runtime that waits for it.
                let socket = {
                    let _on = runtime.enter();
                    TcpListener::from_std(socket)?
                };
                runtime.spawn(listener::accept(Arc::clone(&on), socket, Arc::clone(context), alive.clone()));
            }
            listening.push(on);
        }
        shared.expiries.store(Arc::new(listening.iter().flat_map(|on| on.expiries()).collect()));
        tokio::spawn(tls::watch(Arc::clone(&shared), phase.subscribe()));
        let requests = settings.limits.requests;
        Ok(Self { shared, listening: listening.into(), phase, connections: counted, requests, over })
    }

    /// What can be seen of it while it runs.
    #[must_use]
    pub fn watched(&self) -> Watched {
        Watched {
            shared: Arc::clone(&self.shared),
            listening: Arc::clone(&self.listening),
            connections: self.connections.clone(),
            requests: self.requests,
        }
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
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            let next = deadline.min(tokio::time::Instant::now() + PROGRESS);
            match tokio::time::timeout_at(next, self.over.recv()).await {
                Ok(_) => return,
                Err(_) if next < deadline => tracing::info!(connections = self.watched().now().connections, "draining"),
                Err(_) => break,
            }
        }
        let connections = self.watched().now().connections;
        tracing::warn!(after = ?limit, connections, "requests were cut off at the end of the drain");
        self.stop().await;
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

/// What can be seen of a proxy while it runs.
#[derive(Clone, Debug)]
pub struct Watched {
    shared: Arc<Shared>,
    listening: Arc<[Arc<Listening>]>,
    connections: (Arc<Semaphore>, usize),
    requests: usize,
}

impl Watched {
    /// The decision log.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.shared.log
    }

    /// The policy in force.
    #[must_use]
    pub fn live(&self) -> Arc<Live> {
        self.shared.live.load_full()
    }

    /// How things stand.
    #[must_use]
    pub fn now(&self) -> Now {
        let (permits, ceiling) = &self.connections;
        let seconds = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let expiries = self.shared.expiries.load();
        let expiry = |expiry: &tls::Expiry| Expires {
            listener: Arc::clone(&expiry.listener),
            certificate: expiry.expires.file.display().to_string(),
            seconds: i64::try_from(seconds(expiry.expires.at)).unwrap_or(i64::MAX),
        };
        Now {
            connections: ceiling.saturating_sub(permits.available_permits()),
            listeners: self.listening.iter().map(|on| on.connections()).collect(),
            requests: self.requests.saturating_sub(self.shared.requests.available_permits()),
            draining: self.shared.draining.load(Ordering::Relaxed),
            lines: self.shared.log.lines(),
            expiries: expiries.iter().map(expiry).collect(),
            addresses: self.addresses(),
        }
    }

    /// Every address of every server, push gateways last.
    fn addresses(&self) -> Vec<Address> {
        let live = self.shared.live.load();
        let of_sites =
            live.sites().iter().flat_map(|live| live.upstreams.iter().map(|upstream| (Some(&live.site.name), upstream)));
        let all = of_sites.chain(live.gateways().iter().map(|gateway| (None, gateway)));
        let addresses = all.flat_map(|(site, upstream)| {
            let server = &upstream.server().name;
            let of = move |status| Address { site: site.cloned(), server: Arc::clone(server), status };
            upstream.status().into_iter().map(of)
        });
        addresses.collect()
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
        ("limits.requests", before.limits.requests != after.limits.requests),
        ("decisions", before.decisions != after.decisions),
        ("store", before.store != after.store),
        ("admin", before.admin != after.admin),
        ("runtime", before.workers != after.workers),
    ]
    .into_iter()
    .filter_map(|(name, changed)| changed.then_some(name))
    .collect()
}
