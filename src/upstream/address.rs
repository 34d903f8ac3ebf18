//! One address of a server, and the connections to it.

use std::{
    io,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, Uri, header,
    uri::{Authority, PathAndQuery, Scheme},
};
use rustls::ClientConfig;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

use super::{
    Failure,
    body::{Incoming, Ticket},
    pool::{Error, Pool},
    state::{State, Status},
};
use crate::{
    policy::site::{Health, Server},
    proxy::body::Sent,
};

/// How long a request waits for its turn when as many as may be are under way. Devices come again.
const TURN: Duration = Duration::from_secs(1);

/// One address of a server.
#[derive(Debug)]
pub struct Address {
    server: Arc<Server>,
    url: Uri,
    scheme: Scheme,
    authority: Authority,
    pub(super) pool: Arc<Pool>,
    pub(super) turns: Semaphore,
    pub(super) state: State,
    /// Its place among those of its server.
    pub(super) index: usize,
}

impl Address {
    pub(super) fn new(server: &Arc<Server>, index: usize, url: &Uri, tls: ClientConfig) -> io::Result<Self> {
        let parts = url.clone().into_parts();
        let bad = || io::Error::new(io::ErrorKind::InvalidInput, format!("server {}: the URL has no host", server.name));
        let scheme = parts.scheme.ok_or_else(bad)?;
        let authority = parts.authority.ok_or_else(bad)?;
        let pool = Arc::new(Pool::new(url.clone(), server.pool, tls));
        let turns = Semaphore::new(server.pool.max_pending);
        let state = State::default();
        Ok(Self { server: Arc::clone(server), url: url.clone(), scheme, authority, pool, turns, state, index })
    }

    /// The server.
    #[must_use]
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Host and port, as in its URL.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.scheme.as_str()
    }

    /// The path of its URL, without its last slash.
    #[must_use]
    pub fn prefix(&self) -> &str {
        self.url.path().trim_end_matches('/')
    }

    /// What to ask it for: its own path before the client's target, the query byte for byte.
    #[must_use]
    pub fn target(&self, asked: &PathAndQuery) -> Option<PathAndQuery> {
        match self.prefix() {
            "" => Some(asked.clone()),
            prefix => PathAndQuery::from_maybe_shared(format!("{prefix}{}", asked.as_str())).ok(),
        }
    }

    /// How it is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        self.state.status(self.url.to_string())
    }

    /// Sends a request, boxed since every future on the way would keep room for it, and waits for the head of
    /// the answer. It is sent a second time only when a kept connection turned out to be dead before anything
    /// of the request was written to it.
    ///
    /// # Errors
    /// When there is no answer by the deadline.
    pub async fn send(self: &Arc<Self>, request: Box<Request<Sent>>, deadline: Instant) -> Result<Response<Incoming>, Failure> {
        self.state.pending.fetch_add(1, Ordering::Relaxed);
        // From here on whatever becomes of it, also that nobody waits any more, ends with the ticket.
        let mut ticket = Ticket { address: Arc::clone(self), has_turn: false, connection: None };
        if !self.turn(deadline).await {
            self.went(Some(Failure::Busy));
            return Err(Failure::Busy);
        }
        ticket.has_turn = true;
        self.state.asked();
        let failure = match self.pool.send(request, deadline).await {
            Ok((response, connection)) => {
                ticket.connection = Some(connection);
                return Ok(response.map(|body| Incoming::new(body, ticket, deadline)));
            }
            Err(error) => {
                tracing::debug!(server = &*self.server.name, error = &error as &dyn std::error::Error, "no answer");
                match error {
                    Error::Connect(_) => Failure::Unreachable,
                    Error::Exchange(error) => Failure::of(&error),
                    Error::Late => Failure::TooSlow,
                }
            }
        };
        self.went(Some(failure));
        Err(failure)
    }

    /// Takes a turn, which its ticket gives back. There is no timer when nobody has to wait.
    async fn turn(&self, deadline: Instant) -> bool {
        let turn = match self.turns.try_acquire() {
            Ok(turn) => Ok(turn),
            Err(_) => match tokio::time::timeout_at(deadline.min(Instant::now() + TURN), self.turns.acquire()).await {
                Ok(turn) => turn,
                Err(_) => return false,
            },
        };
        turn.map(SemaphorePermit::forget).is_ok()
    }

    /// Takes down how a request went.
    pub(super) fn went(&self, failure: Option<Failure>) {
        let (server, address) = (&*self.server.name, self.authority.as_str());
        match failure {
            Some(failure) => {
                if let Some(pause) = self.state.failed(failure, self.server.pool.eject_after) {
                    tracing::warn!(server, address, ?pause, ?failure, "address ejected after consecutive failures");
                }
            }
            None => {
                if self.state.succeeded() {
                    tracing::info!(server, address, "address returned");
                }
            }
        }
    }

    /// Asks again and again how the server is, for as long as there is the address.
    pub(super) async fn watch(address: Weak<Self>, health: Health) {
        static ASKED: AtomicU64 = AtomicU64::new(0);
        // Not all instances and addresses at once.
        let spread = ASKED.fetch_add(1, Ordering::Relaxed) % 8;
        tokio::time::sleep(health.interval.mul_f64(0.125) * u32::try_from(spread).unwrap_or(0)).await;
        loop {
            let Some(this) = address.upgrade() else { return };
            let healthy = this.ask(&health).await;
            if this.state.checked(healthy) {
                let (server, address) = (&*this.server.name, this.authority.as_str());
                if healthy {
                    tracing::info!(server, address, "health check succeeds: address returned");
                } else {
                    tracing::warn!(server, address, "health check fails: address ejected");
                }
            }
            drop(this);
            tokio::time::sleep(health.interval).await;
        }
    }

    /// Whether a check is answered with success, or by leading elsewhere.
    async fn ask(&self, health: &Health) -> bool {
        let Ok(target) = health.path.parse::<PathAndQuery>() else { return false };
        let mut request = Request::new(Sent::whole(Bytes::new()));
        *request.uri_mut() = target.into();
        if let Ok(host) = HeaderValue::from_str(self.authority.as_str()) {
            request.headers_mut().insert(header::HOST, host);
        }
        let Ok((response, connection)) = self.pool.send(request.into(), Instant::now() + health.interval).await else {
            return false;
        };
        self.pool.give_back(connection);
        response.status().is_success() || response.status().is_redirection()
    }
}
