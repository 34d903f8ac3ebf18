//! Connections to the DM servers: pooled, kept alive, over http or https.
//!
//! Servers are spoken to in HTTP/1.1 only: legacy DM servers know nothing else, and a pool of plain
//! connections is what they were built for.

use std::{
    io,
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::{
    Request, Response, Uri,
    uri::{Authority, PathAndQuery, Scheme},
};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore};

use crate::{policy::site::Server, proxy::body::Sent, server::tls};

/// How long an unused connection to a server is kept. Shorter than the keep-alive of common servers
/// (Apache 5 s is the exception, for which a dead connection is noticed before anything is sent).
const IDLE: Duration = Duration::from_secs(55);

/// A DM server and the connections to it.
#[derive(Clone, Debug)]
pub struct Upstream {
    server: Arc<Server>,
    scheme: Scheme,
    authority: Authority,
    /// The path of the server's URL without its last slash.
    prefix: Box<str>,
    client: Client<HttpsConnector<HttpConnector>, Sent>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection could be made.
    Unreachable,
    /// The connection broke, or what came was not HTTP.
    Broke,
    /// The request's body was not all there.
    Body,
    /// The request's body is larger than the limit.
    BodyTooLarge,
}

impl Upstream {
    /// Gets ready to speak to a server. Nothing is sent yet.
    ///
    /// # Errors
    /// When a PEM file cannot be used.
    pub fn new(server: &Arc<Server>) -> io::Result<Self> {
        let url = server.url.clone().into_parts();
        let bad = || io::Error::new(io::ErrorKind::InvalidInput, format!("server {}: the URL has no host", server.name));
        let scheme = url.scheme.ok_or_else(bad)?;
        let authority = url.authority.ok_or_else(bad)?;
        let path = url.path_and_query.as_ref().map_or("/", PathAndQuery::path);

        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        tcp.set_connect_timeout(Some(Duration::from_secs(10)));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls_config(server, scheme == Scheme::HTTPS)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .http1_preserve_header_case(true)
            .set_host(false)
            .build(connector);
        let prefix = path.trim_end_matches('/').into();
        Ok(Self { server: Arc::clone(server), scheme, authority, prefix, client })
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

    /// The server's address for a request target: its own path before the client's, the query byte
    /// for byte.
    #[must_use]
    pub fn uri(&self, target: &PathAndQuery) -> Option<Uri> {
        let path_and_query = if self.prefix.is_empty() {
            target.clone()
        } else {
            PathAndQuery::from_maybe_shared(format!("{}{}", self.prefix, target.as_str())).ok()?
        };
        self.at(path_and_query)
    }

    /// The address of a path and query at the server.
    #[must_use]
    pub fn at(&self, path_and_query: PathAndQuery) -> Option<Uri> {
        Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone()).path_and_query(path_and_query).build().ok()
    }

    /// The path of its URL, without its last slash.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.scheme.as_str()
    }

    /// Sends a request and waits for the head of the answer. It is sent a second time only when a
    /// kept connection turned out to be dead before anything of the request was written to it.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(&self, request: Request<Sent>) -> Result<Response<Incoming>, Failure> {
        self.client.request(request).await.map_err(|error| {
            tracing::debug!(server = &*self.server.name, error = &error as &dyn std::error::Error, "no answer");
            if error.is_connect() { Failure::Unreachable } else { Failure::of(&error) }
        })
    }
}

impl Failure {
    /// Which side broke off: an error of the body that is sent is the device's.
    fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut ours = false;
        let mut source = Some(error);
        while let Some(error) = source {
            ours |= error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_user);
            if let Some(error) = error.downcast_ref::<io::Error>().filter(|_| ours) {
                return if error.kind() == io::ErrorKind::FileTooLarge { Self::BodyTooLarge } else { Self::Body };
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
