//! One connection, from the first byte to the last.

use std::{error::Error, io, net::SocketAddr, sync::Arc};

use hyper::server::conn::{http1, http2};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::mpsc,
};
use tokio_rustls::server::TlsStream;

use super::{
    Context, Phase,
    listener::{Front, Listening, canonical},
    proxy_protocol,
    pulse::{Expired, Noticed, Pulse, Socket},
    tls::ClientCertificate,
};
use crate::{
    decisions::Kind,
    policy::{
        reason::{Reason, Verdict},
        site::Limits,
    },
    proxy::{self, Connection, HEAD},
    wake::Quietable,
};

/// How many requests may be under way on one HTTP/2 connection.
const STREAMS: u32 = 100;

/// What is known of a request of HTTP/2 that never came here: it was malformed, or taken back at once.
const RESET: &str = "the stream was reset before there was a request";

/// Serves a connection.
pub(super) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    on: &Listening,
    front: Arc<Front>,
    context: &Context,
    alive: mpsc::Sender<()>,
) {
    let _ = stream.set_nodelay(true);
    let mut connection = Connection {
        listener: on.name.clone(),
        peer,
        tls: front.acceptor.is_some(),
        server_name: None,
        push: on.push,
        certificate: None,
        // Of a proxy that speaks the PROXY protocol it is the client that says them.
        forwards: front.trusts(peer) && !front.proxy_protocol,
        said: std::sync::OnceLock::new(),
        alive,
    };
    let limits = *context.shared.live.load().limits();
    let mut phase = context.phase.clone();
    let begun = tokio::select! {
        begun = tokio::time::timeout(limits.header_timeout, begin(stream, &front, &mut connection)) => begun,
        _ = phase.wait_for(|phase| *phase == Phase::Stopping) => return,
    };
    match begun {
        Ok(Ok(Begun::Plain(stream))) => http(stream, false, connection.into(), context, &limits).await,
        Ok(Ok(Begun::Tls(stream))) => {
            let session = stream.get_ref().1;
            let h2 = session.alpn_protocol() == Some(b"h2");
            connection.server_name = session.server_name().map(Into::into);
            connection.certificate =
                session.peer_certificates().and_then(<[_]>::first).and_then(ClientCertificate::of).map(Arc::new);
            http(stream, h2, connection.into(), context, &limits).await;
        }
        Ok(Ok(Begun::Nothing)) => {}
        Ok(Err((reason, detail))) => failed(reason, detail.as_deref(), None, &connection, context),
        Err(_) => failed(Reason::ConnectionTooSlow, None, None, &connection, context),
    }
}

/// What a connection is, once all that comes before HTTP is done with.
enum Begun {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// Closed without a word: a health check, not a failure.
    Nothing,
}

/// The PROXY protocol, then TLS, as far as the listener has them.
async fn begin(mut stream: TcpStream, front: &Front, connection: &mut Connection) -> Result<Begun, (Reason, Option<String>)> {
    if front.proxy_protocol {
        if is_closed(&stream).await {
            return Ok(Begun::Nothing);
        }
        if !front.trusts(connection.peer) {
            return Err((Reason::UntrustedProxy, None));
        }
        let told = proxy_protocol::read(&mut stream).await.map_err(|error| (Reason::ClientGone, Some(error.to_string())))?;
        let told = told.map_err(|wrong| (Reason::BadProxyHeader, Some(wrong.to_string())))?;
        connection.peer = told.client.map_or(connection.peer, canonical);
        connection.tls |= told.tls;
    }
    let Some(acceptor) = &front.acceptor else { return Ok(Begun::Plain(stream)) };
    if is_closed(&stream).await {
        return Ok(Begun::Nothing);
    }
    let accepted = acceptor.accept(stream).await;
    accepted.map(|stream| Begun::Tls(Box::new(stream))).map_err(|(reason, detail)| (reason, Some(detail)))
}

/// Waits for the first byte, and tells when there is none.
async fn is_closed(stream: &TcpStream) -> bool {
    stream.peek(&mut [0]).await.unwrap_or(0) == 0
}

/// Speaks HTTP over a connection until one side has had enough.
async fn http<S>(stream: S, h2: bool, connection: Arc<Connection>, context: &Context, limits: &Limits)
where
    S: AsyncRead + AsyncWrite + Socket + Unpin + Send + 'static,
{
    let pulse = Arc::new(Pulse::new(!h2, Arc::clone(&context.turns)));
    let stack = proxy::stack(&context.shared, Arc::clone(&connection), Arc::clone(&pulse));
    let service = TowerToHyperService::new(stack);
    let io = TokioIo::new(Noticed::new(stream, Arc::clone(&pulse)));
    let ended = if h2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(u32::try_from(HEAD).unwrap_or(u32::MAX));
        let connection = builder.serve_connection(io, service);
        watch(connection, http2::Connection::graceful_shutdown, &pulse, limits, context).await
    } else {
        let mut builder = http1::Builder::new();
        // Its timeout would also end connections that are merely idle; the watchdog does it better.
        builder.header_read_timeout(None).half_close(true).preserve_header_case(true).max_buf_size(HEAD);
        let connection = Quietable::new(builder.serve_connection(io, service));
        // Closed at once, an idle connection would lose the request that may be on its way. It is closed with
        // the next answer, or when there is none for a while.
        watch(connection, |_| pulse.leave(), &pulse, limits, context).await
    };
    let failed = |reason, detail: Option<&str>, status| failed(reason, detail, status, &connection, context);
    // What came of no request, in HTTP/2; and in any case the connection, when it did not even come to that.
    let lost = |reason, detail: Option<&str>, least: u32| (0..pulse.lost().max(least)).for_each(|_| failed(reason, detail, None));
    match ended {
        Ended::Closed if *context.phase.borrow() > Phase::Serving => lost(Reason::Draining, None, 0),
        Ended::Closed if pulse.in_head() => lost(Reason::ClientGone, None, 0),
        Ended::Closed => lost(Reason::BadHttp, Some(RESET), 0),
        Ended::Failed(error) if error.is_parse() => {
            let status = if error.is_parse_too_large() { 431 } else { 400 };
            failed(Reason::BadHttp, Some(&error.to_string()), Some(status));
        }
        Ended::Failed(error) if h2 && !is_of_the_socket(&error) => lost(Reason::BadHttp, Some(&explained(&error)), 1),
        Ended::Failed(error) => {
            tracing::debug!(%error, peer = %connection.peer, "connection broke off");
            // Requests that were under way have lines of their own.
            lost(Reason::ClientGone, None, pulse.in_head().into());
        }
        Ended::Expired(Expired::Head) => lost(Reason::ConnectionTooSlow, None, (pulse.is_unused() || pulse.in_head()).into()),
        Ended::Expired(expired) => {
            tracing::debug!(?expired, peer = %connection.peer, "connection ended");
            lost(Reason::BadHttp, Some(RESET), 0);
        }
    }
}

/// Whether the socket failed, and not what came over it.
fn is_of_the_socket(error: &hyper::Error) -> bool {
    error.source().is_some_and(<dyn Error>::is::<io::Error>)
}

/// An error with what is behind it.
fn explained(error: &hyper::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

/// How a connection ended.
enum Ended {
    Closed,
    Failed(hyper::Error),
    Expired(Expired),
}

/// Runs a connection until it closes, expires, or the process ends.
async fn watch<C>(
    connection: C,
    shut_down: impl FnOnce(std::pin::Pin<&mut C>),
    pulse: &Pulse,
    limits: &Limits,
    context: &Context,
) -> Ended
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut phase = context.phase.clone();
    let mut connection = std::pin::pin!(connection);
    let mut expired = std::pin::pin!(pulse.expired(limits));
    let mut shut_down = Some(shut_down);
    loop {
        let next = if shut_down.is_some() { Phase::Draining } else { Phase::Stopping };
        tokio::select! {
            biased;
            done = &mut connection => return done.map_or_else(Ended::Failed, |()| Ended::Closed),
            reason = &mut expired => return Ended::Expired(reason),
            _ = phase.wait_for(|phase| *phase >= next) => match shut_down.take() {
                Some(shut_down) => {
                    shut_down(connection.as_mut());
                    expired.set(pulse.expired(limits));
                }
                None => return Ended::Closed,
            },
        }
    }
}

/// Writes the line of a connection that no request came of.
fn failed(reason: Reason, detail: Option<&str>, http_status: Option<u16>, connection: &Connection, context: &Context) {
    let mut open = context.shared.log.open(connection.listener.clone(), connection.peer, Kind::Connection);
    open.verdict = if reason == Reason::ClientGone { Verdict::Abandon } else { Verdict::Fail };
    open.reason = reason;
    open.detail = detail.map(Into::into);
    open.http_status = http_status;
    open.finish();
}
