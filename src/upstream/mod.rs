//! Connections to the DM servers: pooled, kept alive, over http or https.
//!
//! Servers are spoken to in HTTP/1.1 only: legacy DM servers know nothing else, and a pool of plain
//! connections is what they were built for. A server may have several addresses. The first message of a
//! session goes to the one with the fewest requests under way, the rest of the session to the same one,
//! since legacy servers keep their sessions in memory; that is remembered here and not in the store, as
//! other instances have connections of their own.

mod address;
mod body;
mod pool;
mod state;

use std::{
    borrow::Cow,
    hash::{BuildHasher, RandomState},
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustls::{ClientConfig, RootCertStore};

pub use self::{address::Address, body::Incoming, state::Status};
use crate::{policy::site::Server, proxy::Gone, server::tls};

/// How many sessions are known to be at an address, and for how long after their last message.
const SESSIONS: u64 = 200_000;
const SESSION: Duration = Duration::from_secs(600);

/// A DM server and the connections to it.
#[derive(Clone, Debug)]
pub struct Upstream {
    server: Arc<Server>,
    addresses: Arc<[Arc<Address>]>,
    /// Where sessions are, when there is a choice.
    sessions: Option<Sessions>,
    /// Where the search begins, so that equals take turns.
    next: Arc<AtomicUsize>,
}

#[derive(Clone, Debug)]
struct Sessions {
    hasher: RandomState,
    at: moka::sync::Cache<u64, usize>,
}

/// What a message belongs to.
#[derive(Clone, Debug)]
pub struct Session<'a> {
    /// Source of SyncHdr.
    pub device: Cow<'a, str>,
    /// SessionID.
    pub id: Cow<'a, str>,
    /// Whether this is the first message.
    pub first: bool,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection could be made: nothing was sent.
    Unreachable,
    /// The connection broke, or what came was not HTTP.
    Broke,
    /// There was none in time.
    TooSlow,
    /// As many requests as may be were under way: nothing was sent.
    Busy,
    /// The request's body was not all there.
    Body(Gone),
}

impl Upstream {
    /// Gets ready to speak to a server. Nothing is sent yet, but where its health is to be checked.
    ///
    /// # Errors
    /// When a PEM file cannot be used.
    pub fn new(server: &Arc<Server>) -> io::Result<Self> {
        let tls = tls_config(server, server.url.scheme_str() == Some("https"))?;
        let address = |(index, url)| Address::new(server, index, url, tls.clone()).map(Arc::new);
        let addresses: Arc<[_]> = server.urls().enumerate().map(address).collect::<io::Result<Vec<_>>>()?.into();
        if let (Some(health), Ok(runtime)) = (&server.health, tokio::runtime::Handle::try_current()) {
            for address in addresses.iter() {
                runtime.spawn(Address::watch(Arc::downgrade(address), health.clone()));
            }
        }
        let sessions = (addresses.len() > 1).then(|| Sessions {
            hasher: RandomState::new(),
            at: moka::sync::Cache::builder().max_capacity(SESSIONS).time_to_idle(SESSION).build(),
        });
        Ok(Self { server: Arc::clone(server), addresses, sessions, next: Arc::default() })
    }

    /// The server.
    #[must_use]
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Whether there is a choice of addresses.
    #[must_use]
    pub fn has_choice(&self) -> bool {
        self.sessions.is_some()
    }

    /// How each address is doing, in the order of the policy.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        self.addresses.iter().map(|address| address.status()).collect()
    }

    /// The address for a request: that of its session, unless it is left out; else the one with the fewest
    /// requests under way, of those that are not left out; of all when all are. `None` when all were tried.
    #[must_use]
    pub fn choose(&self, session: Option<Session<'_>>, tried: &[Arc<Address>]) -> Option<Arc<Address>> {
        let Some(sessions) = &self.sessions else {
            return self.addresses.first().filter(|_| tried.is_empty()).map(Arc::clone);
        };
        let is_new = |address: &&Arc<Address>| !tried.iter().any(|known| Arc::ptr_eq(known, address));
        let key = session.as_ref().map(|session| sessions.hasher.hash_one((&session.device, &session.id)));
        let later = session.is_some_and(|session| !session.first);
        let known = key.filter(|_| later).and_then(|key| sessions.at.get(&key));
        let stays = known.and_then(|index| self.addresses.get(index)).filter(is_new).filter(|at| !at.state.is_out());
        // Only those that choose take turns: sessions of two messages would all begin at the same address.
        let turn = if stays.is_some() { 0 } else { self.next.fetch_add(1, Ordering::Relaxed) };
        let start = turn % self.addresses.len();
        let from = || self.addresses.iter().cycle().skip(start).take(self.addresses.len()).filter(is_new);
        let pending = |address: &&Arc<Address>| address.state.pending.load(Ordering::Relaxed);
        let least = || from().filter(|address| !address.state.is_out()).min_by_key(pending);
        let chosen = stays.or_else(least).or_else(|| from().min_by_key(pending))?;
        if let Some(key) = key.filter(|_| known != Some(chosen.index)) {
            sessions.at.insert(key, chosen.index);
        }
        Some(Arc::clone(chosen))
    }
}

impl Failure {
    /// Which side broke off: an error of the body that is sent is the device's.
    fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut source = Some(error);
        while let Some(error) = source {
            if let Some(gone) = error.downcast_ref::<Gone>() {
                return Self::Body(*gone);
            }
            source = error.source();
        }
        Self::Broke
    }
}

fn tls_config(server: &Server, used: bool) -> io::Result<ClientConfig> {
    let roots = match &server.ca {
        Some(path) => tls::roots(path)?,
        None if used => system_roots(),
        None => RootCertStore::empty(),
    };
    let builder = ClientConfig::builder().with_root_certificates(roots);
    match &server.identity {
        Some((certificate, key)) => builder
            .with_client_auth_cert(tls::certificates(certificate)?, tls::key(key)?)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, format!("{}: {error}", certificate.display()))),
        None => Ok(builder.with_no_client_auth()),
    }
}

/// The authorities of the system, read once. Those that rustls cannot use are left out, as every
/// client does.
pub(crate) fn system_roots() -> RootCertStore {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    let read = || {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        let (usable, unusable) = roots.add_parsable_certificates(found.certs);
        tracing::debug!(usable, unusable, "authorities of the system");
        roots
    };
    ROOTS.get_or_init(read).clone()
}
