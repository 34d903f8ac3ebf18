//! A listening socket.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, mpsc},
    time::Instant,
};

use super::{
    Context, Phase, connection,
    tls::{Acceptor, Expiry},
};
use crate::{
    decisions::Kind,
    policy::{
        reason::{Reason, Verdict},
        site::Listener,
    },
    telemetry,
};

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 4096;

/// How many bytes that a client has no room for the kernel keeps, for each connection.
#[cfg(any(target_os = "android", target_os = "linux"))]
const UNSENT: u32 = 128 * 1024;

/// How long is waited when none can be accepted, at first and at most, and how often it is said.
const PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const SAYING: Duration = Duration::from_secs(10);

/// A listener that is bound.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) name: Arc<str>,
    pub(super) address: SocketAddr,
    /// Whether notifications come here.
    pub(super) push: bool,
    /// Somebody else holds its socket too: whoever waits there is not lost when we close it.
    inherited: bool,
    front: ArcSwap<Front>,
    /// Its connections: those that are open, and all so far.
    open: AtomicUsize,
    accepted: AtomicU64,
}

/// What comes before HTTP on a listener. A reload replaces it, for connections that come from then on.
#[derive(Debug)]
pub(super) struct Front {
    pub(super) acceptor: Option<Acceptor>,
    trusted: Vec<IpNet>,
    /// Whether connections begin with the PROXY protocol.
    pub(super) proxy_protocol: bool,
}

impl Front {
    /// Reads the files of a listener.
    fn new(listener: &Listener, before: Option<&Self>) -> io::Result<Self> {
        let before = before.and_then(|front| front.acceptor.as_ref());
        let acceptor = listener.tls.as_ref().map(|tls| Acceptor::new(tls, before)).transpose()?;
        Ok(Self { acceptor, trusted: listener.trusted_proxies.clone(), proxy_protocol: listener.proxy_protocol })
    }

    /// Whether an address is that of a proxy in front.
    pub(super) fn trusts(&self, peer: SocketAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&peer.ip()))
    }
}

impl Listening {
    /// Binds a listener, with a socket for each of so many workers; or has them share those that were inherited.
    pub(super) fn bind(
        listener: &Listener,
        workers: usize,
        passed: &[std::net::TcpListener],
    ) -> io::Result<(Self, Vec<std::net::TcpListener>)> {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("listener {} on {}: {error}", listener.name, listener.address))
        };
        let front = Front::new(listener, None).map_err(named)?;
        let inherited = !passed.is_empty();
        let bound = if inherited { share(passed, workers) } else { listen(listener.address, workers) };
        let (address, sockets) = bound.map_err(named)?;
        let front = ArcSwap::from_pointee(front);
        let (name, push) = (listener.name.clone(), listener.gateway.is_some());
        let (open, accepted) = (AtomicUsize::new(0), AtomicU64::new(0));
        Ok((Self { name, address, push, inherited, front, open, accepted }, sockets))
    }

    /// What comes before HTTP, as the listener of this name has it now.
    pub(super) fn front_for(&self, listeners: &[Listener]) -> io::Result<Arc<Front>> {
        let before = self.front.load_full();
        match listeners.iter().find(|listener| listener.name == self.name) {
            // Whether TLS is spoken at all is fixed while the listener is bound.
            Some(listener) if listener.tls.is_some() == before.acceptor.is_some() => {
                let front = Front::new(listener, Some(&before));
                front.map(Arc::new).map_err(|error| io::Error::new(error.kind(), format!("listener {}: {error}", self.name)))
            }
            _ => Ok(before),
        }
    }

    pub(super) fn set_front(&self, front: Arc<Front>) {
        self.front.store(front);
    }

    /// How many connections there are, and were.
    pub(super) fn connections(&self) -> telemetry::Listener {
        let (open, accepted) = (self.open.load(Ordering::Relaxed), self.accepted.load(Ordering::Relaxed));
        telemetry::Listener { name: Arc::clone(&self.name), open, accepted }
    }

    /// When its certificates end.
    pub(super) fn expiries(&self) -> Vec<Expiry> {
        let front = self.front.load();
        let expires = front.acceptor.iter().flat_map(|acceptor| acceptor.expiries.iter().cloned());
        expires.map(|expires| Expiry { listener: Arc::clone(&self.name), expires }).collect()
    }
}

/// When the certificates of listeners end, as their files are now.
///
/// # Errors
/// When a file cannot be used. The text names the listener and the file.
pub fn expiries(listeners: &[Listener]) -> io::Result<Vec<Expiry>> {
    let mut found = Vec::new();
    for listener in listeners {
        let front = Front::new(listener, None)
            .map_err(|error| io::Error::new(error.kind(), format!("listener {}: {error}", listener.name)))?;
        let expires = front.acceptor.into_iter().flat_map(|acceptor| acceptor.expiries);
        found.extend(expires.map(|expires| Expiry { listener: Arc::clone(&listener.name), expires }));
    }
    Ok(found)
}

/// So many sockets that listen at one address. The kernel deals the connections out among them.
fn listen(address: SocketAddr, count: usize) -> io::Result<(SocketAddr, Vec<std::net::TcpListener>)> {
    let first = socket(address)?;
    // Shared only once it is bound: an address that another process shares in the same way is taken.
    first.bind(&address.into())?;
    let bound: std::net::TcpListener = first.into();
    let address = bound.local_addr()?;
    let mut sockets = vec![bound.into()];
    if count > 1 {
        sockets.iter().try_for_each(|socket: &Socket| socket.set_reuse_port(true))?;
    }
    for _ in 1..count {
        let another = socket(address)?;
        another.set_reuse_port(true)?;
        another.bind(&address.into())?;
        sockets.push(another);
    }
    // Bound, all of them, before the first gets a connection.
    sockets.iter().try_for_each(|socket| socket.listen(BACKLOG))?;
    Ok((address, sockets.into_iter().map(Into::into).collect()))
}

/// One of these for each of so many workers, and each at least once.
fn share(passed: &[std::net::TcpListener], count: usize) -> io::Result<(SocketAddr, Vec<std::net::TcpListener>)> {
    let address = passed.first().ok_or(io::ErrorKind::NotFound)?.local_addr()?;
    passed.iter().try_for_each(|socket| keep_little(&SockRef::from(socket)))?;
    let shared = passed.iter().cycle().take(count.max(passed.len())).map(std::net::TcpListener::try_clone);
    Ok((address, shared.collect::<io::Result<_>>()?))
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    keep_little(&socket)?;
    Ok(socket)
}

/// Leaves what a client does not take with us, where it is noticed. Connections have it from their socket.
#[cfg(any(target_os = "android", target_os = "linux"))]
fn keep_little(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_notsent_lowat(UNSENT)
}

#[cfg(not(any(target_os = "android", target_os = "linux")))]
fn keep_little(_: &Socket) -> io::Result<()> {
    Ok(())
}

/// Accepts connections until the drain begins. Those that came before are served.
pub(super) async fn accept(on: Arc<Listening>, socket: TcpListener, context: Arc<Context>, alive: mpsc::Sender<()>) {
    let mut phase = context.phase.clone();
    let mut pause = PAUSE;
    let (mut said, mut times): (Option<Instant>, u64) = (None, 0);
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = phase.wait_for(|phase| *phase > Phase::Serving) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                pause = PAUSE;
                take(stream, peer, &on, &context, &alive);
            }
            Err(error) if is_the_connections(&error) => {}
            Err(error) => {
                // Most likely too many open files: accepting again at once would only burn the processor.
                times += 1;
                if said.is_none_or(|at| at.elapsed() >= SAYING) {
                    tracing::error!(listener = &*on.name, %error, times, "cannot accept connections");
                    (said, times) = (Some(Instant::now()), 0);
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
    // Who waits at a socket that lives on is for those who come after us.
    if on.inherited {
        return;
    }
    // The kernel resets connections that wait at a socket when it is closed.
    let Ok(socket) = socket.into_std() else { return };
    loop {
        match socket.accept() {
            Ok((stream, peer)) => {
                if let Ok(stream) = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
                    take(stream, peer, &on, &context, &alive);
                }
            }
            Err(error) if is_the_connections(&error) => {}
            Err(_) => return,
        }
    }
}

/// Serves a connection, in a task of its own.
fn take(stream: TcpStream, peer: SocketAddr, on: &Arc<Listening>, context: &Arc<Context>, alive: &mpsc::Sender<()>) {
    let peer = canonical(peer);
    on.accepted.fetch_add(1, Ordering::Relaxed);
    let (on, context, alive) = (Arc::clone(on), Arc::clone(context), alive.clone());
    let Ok(permit) = Arc::clone(&context.connections).try_acquire_owned() else {
        // Saying so takes a moment; when very many have to be told, the rest are told nothing.
        let told = Arc::clone(&context.turned_away).try_acquire_owned().ok();
        tokio::spawn(overloaded(stream, peer, on, context, told));
        return;
    };
    let front = on.front.load_full();
    let open = OpenOn::new(on, permit);
    tokio::spawn(async move {
        connection::serve(stream, peer, &open.on, front, &context, alive).await;
        drop(open);
    });
}

/// A connection that is open, however it ends.
struct OpenOn {
    on: Arc<Listening>,
    _permit: OwnedSemaphorePermit,
}

impl OpenOn {
    fn new(on: Arc<Listening>, permit: OwnedSemaphorePermit) -> Self {
        on.open.fetch_add(1, Ordering::Relaxed);
        Self { on, _permit: permit }
    }
}

impl Drop for OpenOn {
    fn drop(&mut self) {
        self.on.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An address of IPv4, also where it was written as one of IPv6: `[::ffff:192.0.2.7]`.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => SocketAddr::new(address.ip().to_canonical(), address.port()),
        IpAddr::V4(_) | IpAddr::V6(_) => address,
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
    if on.front.load().acceptor.is_none() && told.is_some() {
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
