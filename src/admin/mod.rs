//! The listener for operators: whether protover lives and is ready, its metrics, what it decided of late, the
//! policy in force, and a way to reload it. On this machine's own addresses, or behind a token.

mod accept;
mod page;
mod ready;
mod ring;
mod sites;

use std::{convert::Infallible, fmt, io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::prometheus_text;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc, oneshot},
    task::JoinSet,
};

use crate::{
    decisions::{Record, Watch},
    policy::site,
    secrets,
    server::{Inherited, Watched},
    telemetry::Metrics,
};
use ring::Ring;

/// Connections at one time. Operators and their collectors are few.
const CONNECTIONS: usize = 64;
/// For a whole request head.
const HEAD: Duration = Duration::from_secs(10);
/// For a connection with all its requests.
const LONGEST: Duration = Duration::from_secs(60);

/// What became of a reload.
#[derive(Clone, Debug, Default)]
pub struct Reloaded {
    /// Whether the new policies are in force.
    pub ok: bool,
    /// What only a restart can bring.
    pub restart: Vec<&'static str>,
    /// Errors and warnings, as they are printed.
    pub diagnostics: String,
}

/// Asks for a reload, and gets what became of it.
pub type Reload = oneshot::Sender<Reloaded>;

/// What the admin listener watches of the log.
#[derive(Debug)]
struct Watcher {
    metrics: Arc<Metrics>,
    ring: Ring,
}

impl Watch for Watcher {
    fn written(&self, record: &Record, duration: Duration, line: &str) {
        self.metrics.decided(record, duration);
        self.ring.push(record, line);
    }
}

/// A running admin listener. It ends when it is dropped.
#[derive(Debug)]
pub struct Admin {
    /// Where it listens.
    pub address: SocketAddr,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Whether somebody else holds its socket too.
    pub inherited: bool,
    _accepting: JoinSet<()>,
}

struct State {
    watched: Watched,
    watcher: Arc<Watcher>,
    token: Option<SecretString>,
    reload: mpsc::Sender<Reload>,
    reach: ready::Reach,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

impl Admin {
    /// Binds the listener, or takes the sockets that were inherited for it, and begins to watch the log. Reloads
    /// are asked for through `reload`.
    ///
    /// # Errors
    /// When the address cannot be bound, or the token cannot be read.
    pub async fn start(
        settings: &site::Admin,
        watched: Watched,
        reload: mpsc::Sender<Reload>,
        inherited: &mut Inherited,
    ) -> io::Result<Self> {
        let token = settings.token_file.as_deref().map(token).transpose()?;
        let named = |error: io::Error| io::Error::new(error.kind(), format!("admin on {}: {error}", settings.address));
        let passed = inherited.at(settings.address);
        let inherited = !passed.is_empty();
        let mut listeners = passed.into_iter().map(TcpListener::from_std).collect::<io::Result<Vec<_>>>()?;
        if !inherited {
            listeners.push(TcpListener::bind(settings.address).await.map_err(named)?);
        }
        let address = listeners.first().ok_or(io::ErrorKind::NotFound)?.local_addr()?;
        let metrics = Arc::new(Metrics::default());
        let watcher = Arc::new(Watcher { metrics: Arc::clone(&metrics), ring: Ring::new(settings.ring) });
        watched.log().watch(Arc::clone(&watcher) as Arc<dyn Watch>);
        let state = Arc::new(State { watched, watcher, token, reload, reach: ready::Reach::default() });
        let permits = Arc::new(Semaphore::new(CONNECTIONS));
        let accepting = listeners.into_iter().map(|listener| accept(listener, Arc::clone(&permits), Arc::clone(&state)));
        Ok(Self { address, metrics, inherited, _accepting: accepting.collect() })
    }
}

/// The token that a file holds. An empty one would let everybody in.
fn token(path: &Path) -> io::Result<SecretString> {
    let token = secrets::read(path)?;
    if token.expose_secret().trim().is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{}: there is no token in it", path.display())));
    }
    Ok(token)
}

async fn accept(listener: TcpListener, permits: Arc<Semaphore>, state: Arc<State>) {
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::error!(%error, "admin: cannot accept connections");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let state = Arc::clone(&state);
                async move { Ok::<_, Infallible>(state.answer(request).await) }
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD).keep_alive(true);
            // Also when it does not take its answer: others wait for the connection.
            let _ = tokio::time::timeout(LONGEST, http.serve_connection(TokioIo::new(stream), service)).await;
            drop(permit);
        });
    }
}

type Answer = Response<Full<Bytes>>;

fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

fn text(status: StatusCode, line: &str) -> Answer {
    answer(status, TEXT, format!("{line}\n"))
}

/// `(path, method)` of all there is.
const PATHS: [(&str, &Method); 7] = [
    ("/", &Method::GET),
    ("/livez", &Method::GET),
    ("/readyz", &Method::GET),
    ("/metrics", &Method::GET),
    ("/decisions", &Method::GET),
    ("/sites", &Method::GET),
    ("/reload", &Method::POST),
];

impl State {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path();
        let Some((_, method)) = PATHS.iter().find(|(known, _)| *known == path) else {
            return text(StatusCode::NOT_FOUND, "404 no such page");
        };
        if !(request.method() == *method || (request.method() == Method::HEAD && *method == Method::GET)) {
            let mut wrong = text(StatusCode::METHOD_NOT_ALLOWED, "405 wrong method");
            if let Ok(allowed) = HeaderValue::from_str(method.as_str()) {
                wrong.headers_mut().insert(header::ALLOW, allowed);
            }
            return wrong;
        }
        if let Some(refused) = self.refused(&request) {
            return refused;
        }
        match path {
            "/livez" => text(StatusCode::OK, "alive"),
            "/readyz" => self.ready().await,
            "/metrics" => {
                // Looked at anew by whoever asks, so that alerts need nothing else.
                self.reach.unreachable(&self.watched.live(), &self.watcher.metrics).await;
                let (metrics, now) = (&self.watcher.metrics, self.watched.now());
                match accept::preferred(request.headers(), &["text/plain", "application/openmetrics-text"]) {
                    1 => answer(StatusCode::OK, OPENMETRICS, metrics.openmetrics(&now)),
                    _ => answer(StatusCode::OK, prometheus_text::CONTENT_TYPE, metrics.text(&now)),
                }
            }
            "/decisions" => match ring::Query::read(request.uri().query().unwrap_or_default()) {
                Ok(query) => answer(StatusCode::OK, JSON, self.watcher.ring.newest(&query)),
                Err(why) => text(StatusCode::BAD_REQUEST, &format!("400 {why}")),
            },
            "/sites" => answer(StatusCode::OK, JSON, sites::json(&self.watched.live())),
            "/reload" => self.reload(request.headers()).await,
            _ => {
                let lines = self.watcher.ring.newest(&ring::Query::default());
                answer(StatusCode::OK, "text/html; charset=utf-8", page::html(&self.watched.live(), &lines))
            }
        }
    }

    /// Without the token nobody is let in. Without a token, nobody whose browser was led here by a name of
    /// somebody else's.
    fn refused(&self, request: &Request<Incoming>) -> Option<Answer> {
        let header = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let Some(token) = &self.token else {
            let own = header(header::HOST).is_none_or(is_own);
            let led = header(header::ORIGIN).is_some_and(|origin| !is_own(origin.split("://").last().unwrap_or_default()));
            return (!own || led).then(|| text(StatusCode::FORBIDDEN, "403 this listener is for this machine"));
        };
        let given = header(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        // Digests are compared, so that the time it takes says nothing about the token.
        let digest = |token: &str| Sha256::digest(token.trim().as_bytes());
        let same = given.is_some_and(|given| digest(given) == digest(token.expose_secret()));
        (!same).then(|| {
            let mut refused = text(StatusCode::UNAUTHORIZED, "401 a token is needed");
            refused.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            refused
        })
    }

    async fn ready(&self) -> Answer {
        let now = self.watched.now();
        if now.draining {
            return text(StatusCode::SERVICE_UNAVAILABLE, &format!("draining: {} connections are open", now.connections));
        }
        let unreachable = self.reach.unreachable(&self.watched.live(), &self.watcher.metrics).await;
        if unreachable.is_empty() {
            return text(StatusCode::OK, "ready");
        }
        let line = format!("no server can be reached of: {}", unreachable.join(", "));
        text(StatusCode::SERVICE_UNAVAILABLE, &line)
    }

    async fn reload(&self, headers: &HeaderMap) -> Answer {
        let (asks, told) = oneshot::channel();
        let asked = self.reload.send(asks).await.is_ok();
        let over = || Reloaded { diagnostics: "protover is shutting down".to_owned(), ..Reloaded::default() };
        let reloaded = if asked { told.await.unwrap_or_else(|_| over()) } else { over() };
        let Reloaded { ok, restart, diagnostics } = reloaded;
        let status = if ok { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
        if accept::preferred(headers, &["application/json", "text/plain"]) == 1 {
            let first = if ok { "reloaded" } else { "not reloaded: the old policies stay in force" };
            let restart = restart.iter().map(|what| format!("{what}: this change needs a restart; the old value stays"));
            let lines: Vec<String> = std::iter::once(first.to_owned()).chain(restart).chain([diagnostics]).collect();
            return text(status, lines.join("\n").trim_end());
        }
        let body = serde_json::json!({ "reloaded": ok, "restart": restart, "diagnostics": diagnostics });
        answer(status, JSON, format!("{body}\n"))
    }
}

/// Whether a host is this machine by any of its own names.
fn is_own(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machines_own_names_are_its_own() {
        for own in ["localhost", "LOCALHOST:9900", "127.0.0.1", "127.0.0.9:1", "[::1]:9900"] {
            assert!(is_own(own), "{own}");
        }
        for other in ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:9900", "", "[::2]", "localhost.evil"] {
            assert!(!is_own(other), "{other}");
        }
    }
}
