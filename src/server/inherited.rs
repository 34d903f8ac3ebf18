//! Listening sockets that the process was started with, by the protocol of systemd: `LISTEN_FDS`,
//! `LISTEN_PID`, `LISTEN_FDNAMES`. A listener takes those at its address, so it need not be said anywhere
//! which is whose.

use std::{
    env, io,
    net::{SocketAddr, TcpListener},
};

use listenfd::ListenFd;
use socket2::SockRef;

/// The sockets that nobody has taken yet.
#[derive(Debug, Default)]
pub struct Inherited(Vec<Passed>);

#[derive(Debug)]
struct Passed {
    /// What the socket is called in messages.
    what: String,
    address: SocketAddr,
    socket: TcpListener,
}

impl Inherited {
    /// Takes over what the environment speaks of; nothing when it was meant for another process. To be called
    /// once, before there are threads: it empties the variables.
    ///
    /// # Errors
    /// When one of them is no TCP socket that listens. The text says which.
    pub fn take() -> io::Result<Self> {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').filter(|name| !name.is_empty());
        let mut passed = ListenFd::from_env();
        let mut found = Vec::new();
        for index in 0..passed.len() {
            let what = match names.next() {
                Some(name) => format!("inherited socket {} ({name})", index + 1),
                None => format!("inherited socket {}", index + 1),
            };
            let no_listener = || io::Error::new(io::ErrorKind::InvalidInput, format!("{what} is no TCP socket that listens"));
            let socket = passed.take_tcp_listener(index).ok().flatten().ok_or_else(no_listener)?;
            if !SockRef::from(&socket).is_listener().unwrap_or_default() {
                return Err(no_listener());
            }
            socket.set_nonblocking(true)?;
            found.push(Passed { address: socket.local_addr()?, what, socket });
        }
        Ok(Self(found))
    }

    /// Refuses what is at none of these addresses: whoever made the socket believes that it is served.
    ///
    /// # Errors
    /// The text names the first such socket, and the addresses.
    pub fn only_at(&self, addresses: &[SocketAddr]) -> io::Result<()> {
        let Some(stray) = self.0.iter().find(|passed| !addresses.iter().any(|address| is_same(passed.address, *address))) else {
            return Ok(());
        };
        let listeners = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let text = format!("{} is at {}, where no listener is; there are {listeners}", stray.what, stray.address);
        Err(io::Error::new(io::ErrorKind::AddrNotAvailable, text))
    }

    /// Takes the sockets at an address.
    pub(crate) fn at(&mut self, address: SocketAddr) -> Vec<TcpListener> {
        self.0.extract_if(.., |passed| is_same(passed.address, address)).map(|passed| passed.socket).collect()
    }
}

fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    (one.ip(), one.port()) == (other.ip(), other.port())
}
