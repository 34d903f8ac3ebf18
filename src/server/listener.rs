//! A listening socket.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, mpsc},
};
use tokio_rustls::TlsAcceptor;

use super::{Context, Phase, connection, tls};
use crate::{
    decisions::Kind,
    policy::{
        reason::{Reason, Verdict},
        site::Listener,
    },
};

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 4096;

/// A listener that is bound.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) name: Arc<str>,
    pub(super) address: SocketAddr,
    /// Whether notifications come here.
    pub(super) push: bool,
    acceptor: ArcSwapOption<Acceptor>,
}

/// TLS of a listener.
pub(super) struct Acceptor(pub(super) TlsAcceptor);

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Acceptor")
    }
}

impl Listening {
    /// Binds a listener.
    pub(super) fn bind(listener: &Listener) -> io::Result<(Self, TcpListener)> {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("listener {} on {}: {error}", listener.name, listener.address))
        };
        let acceptor = acceptor(listener).map_err(named)?;
        let socket = listen(listener.address).map_err(named)?;
        let address = socket.local_addr()?;
        let acceptor = ArcSwapOption::from(acceptor);
        Ok((Self { name: listener.name.clone(), address, push: listener.gateway.is_some(), acceptor }, socket))
    }

    /// TLS as the listener of this name has it now.
    pub(super) fn acceptor_for(&self, listeners: &[Listener]) -> io::Result<Option<Arc<Acceptor>>> {
        match listeners.iter().find(|listener| listener.name == self.name) {
            // Whether TLS is spoken at all is fixed while the listener is bound.
            Some(listener) if listener.tls.is_some() == self.acceptor.load().is_some() => acceptor(listener),
            _ => Ok(self.acceptor.load_full()),
        }
    }

    pub(super) fn set_acceptor(&self, acceptor: Option<Arc<Acceptor>>) {
        self.acceptor.store(acceptor);
    }
}

fn acceptor(listener: &Listener) -> io::Result<Option<Arc<Acceptor>>> {
    listener.tls.as_ref().map(|tls| Ok(Arc::new(Acceptor(tls::acceptor(tls)?)))).transpose()
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts connections until the drain begins.
pub(super) async fn accept(on: Arc<Listening>, socket: TcpListener, context: Arc<Context>, alive: mpsc::Sender<()>) {
    let mut phase = context.phase.clone();
    let mut pause = Duration::from_millis(5);
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = phase.wait_for(|phase| *phase > Phase::Serving) => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_the_connections(&error) => continue,
            Err(error) => {
                // Most likely too many open files: accepting again at once would only burn the processor.
                tracing::error!(listener = &*on.name, %error, "cannot accept connections");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
                continue;
            }
        };
        pause = Duration::from_millis(5);
        let Ok(permit) = Arc::clone(&context.connections).try_acquire_owned() else {
            // Saying so takes a moment; when very many have to be told, the rest are told nothing.
            let told = Arc::clone(&context.turned_away).try_acquire_owned().ok();
            tokio::spawn(overloaded(stream, peer, Arc::clone(&on), Arc::clone(&context), told));
            continue;
        };
        let (on, context, alive) = (Arc::clone(&on), Arc::clone(&context), alive.clone());
        let acceptor = on.acceptor.load_full();
        tokio::spawn(async move {
            connection::serve(stream, peer, &on, acceptor, &context, alive).await;
            drop(permit);
        });
    }
}

fn is_the_connections(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// Turns a connection away. What it wanted is not read.
async fn overloaded(
    mut stream: TcpStream,
    peer: SocketAddr,
    on: Arc<Listening>,
    context: Arc<Context>,
    told: Option<OwnedSemaphorePermit>,
) {
    let mut open = context.shared.log.open(on.name.clone(), peer, Kind::Connection);
    open.verdict = Verdict::Fail;
    open.reason = Reason::Overloaded;
    if on.acceptor.load().is_none() && told.is_some() {
        let text = format!("503 overloaded (decision {})\n", open.id());
        let head = format!(
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nRetry-After: 30\r\n\
             Connection: close\r\nProtover-Decision: {}\r\n\r\n",
            text.len(),
            open.id()
        );
        open.http_status = Some(503);
        let answer = [head, text].concat();
        let _ = tokio::time::timeout(Duration::from_secs(1), stream.write_all(answer.as_bytes())).await;
        linger(stream).await;
    }
    open.finish();
}

/// Closes a connection so that its last answer arrives: unread bytes would make the kernel reset it.
pub(super) async fn linger(mut stream: TcpStream) {
    use tokio::io::AsyncReadExt;
    let _ = stream.shutdown().await;
    let drain = async {
        let mut sink = [0; 4096];
        let mut left = 64 * 1024_usize;
        while let Ok(read @ 1..) = stream.read(&mut sink).await {
            left = left.saturating_sub(read);
            if left == 0 {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), drain).await;
}
