//! How the process runs: what `proxy.toml` says.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;

/// How the process runs: `proxy.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where devices connect. At least one.
    pub listeners: Vec<Listener>,
    /// The listener for operators.
    pub admin: Option<Admin>,
    /// What clients and servers may take up.
    pub limits: Limits,
    /// Where decision lines go.
    pub decisions: Decisions,
    /// Where it is kept what is remembered between messages.
    pub store: Store,
    /// What is remembered of sessions.
    pub sessions: Sessions,
    /// Threads that serve; as many as there are cores when that is left open.
    pub workers: Option<NonZeroUsize>,
}

/// The listener for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Address and port.
    pub address: core::net::SocketAddr,
    /// The file with the token that requests have to show; it is for its owner alone.
    pub token_file: Option<PathBuf>,
    /// How many decisions are kept to be looked at.
    pub ring: usize,
}

/// What is remembered of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sessions {
    /// For a session without a message to be forgotten.
    pub idle: Duration,
    /// For what was learnt of a server to be tried again.
    pub learnt: Duration,
    /// For a notification to wait for the session that answers it.
    pub notified: Duration,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { idle: Duration::from_secs(30 * 60), learnt: Duration::from_secs(86_400), notified: Duration::from_secs(15 * 60) }
    }
}

/// A place where devices connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name in log lines.
    pub name: Arc<str>,
    /// Address and port; port 0 takes any free one.
    pub address: core::net::SocketAddr,
    /// TLS, when it is spoken.
    pub tls: Option<ListenerTls>,
    /// Proxies in front: what they say of clients is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether they say it in the PROXY protocol, in front of everything else; nobody else may connect then.
    pub proxy_protocol: bool,
    /// Of a listener for notifications: the push gateway behind it.
    pub gateway: Option<http::Uri>,
}

/// The TLS side of a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenerTls {
    /// At least one. The first is for clients that ask for no name, or for one that none has.
    pub certificates: Vec<Identity>,
    /// PEM file: the authorities that clients' certificates may come from.
    pub client_ca: Option<PathBuf>,
    /// PEM files: what these authorities have revoked.
    pub client_crl: Vec<PathBuf>,
    /// Whether clients show a certificate.
    pub client_auth: ClientAuth,
    /// File with the keys of session tickets; keys of the process's own without.
    pub ticket_keys: Option<PathBuf>,
}

/// A certificate with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// PEM file: the certificate and those between it and the root.
    pub certificate: PathBuf,
    /// PEM file: its private key.
    pub key: PathBuf,
}

/// Whether clients show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked.
    #[default]
    Off,
    /// They may.
    Optional,
    /// They must.
    Required,
}

/// What clients and servers may take up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's body, and of an answer that protover reads; packed and unpacked.
    pub body: usize,
    /// Connections of clients at one time, over all listeners.
    pub connections: usize,
    /// Requests that are under way at one time, over all listeners.
    pub requests: usize,
    /// How often one address may come.
    pub per_address: Option<Rate>,
    /// How often one device of a site may come.
    pub per_device: Option<Rate>,
    /// For the TLS handshake, and for a whole request head.
    pub header_timeout: Duration,
    /// For a whole message to arrive; for other bodies, and for an answer to be taken, without progress.
    pub body_timeout: Duration,
    /// For a connection without a request.
    pub idle_timeout: Duration,
    /// For a server to answer, from connecting to the last byte of a message.
    pub upstream_timeout: Duration,
    /// For requests that are under way at SIGTERM.
    pub drain_timeout: Duration,
}

/// How often somebody may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests a second, on the average.
    pub per_second: NonZeroU32,
    /// Requests at once.
    pub burst: NonZeroU32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 1 << 20,
            connections: 10_000,
            requests: 10_000,
            per_address: None,
            per_device: None,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            upstream_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// Where decision lines go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decisions {
    /// The destination.
    pub to: DecisionsTo,
    /// How device identifiers appear, in decision lines and in diagnostics.
    pub device: DeviceIds,
    /// File with the key of [`DeviceIds::Hash`]; a random key for the life of the process without.
    pub key_file: Option<PathBuf>,
    /// What becomes of requests when lines cannot be written.
    pub on_failure: OnLogFailure,
}

/// The destination of decision lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DecisionsTo {
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, appended to.
    File(PathBuf),
}

/// How device identifiers appear in logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceIds {
    /// As they are.
    #[default]
    Plain,
    /// As a keyed hash.
    Hash,
    /// Not at all.
    Omit,
}

/// What becomes of requests when decision lines cannot be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLogFailure {
    /// They are served.
    #[default]
    Serve,
    /// They are answered with 503.
    Refuse,
}

/// Where it is kept what is remembered between messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// In this process.
    Memory {
        /// Bytes that it may take up, with what it costs to keep it in order.
        size: usize,
    },
    /// In a Redis that several processes share.
    Redis(Redis),
}

impl Default for Store {
    fn default() -> Self {
        Self::Memory { size: 64 << 20 }
    }
}

/// How Redis is reached. The password is not here but in its file, so that no policy that is shown or
/// logged holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// A name or an IP address, without the brackets of IPv6.
    pub host: Box<str>,
    /// Its port.
    pub port: u16,
    /// The user of the ACL; the default one without.
    pub user: Option<Box<str>>,
    /// The number of the database.
    pub database: u16,
    /// What every key begins with.
    pub prefix: Box<str>,
    /// For a call to be answered.
    pub timeout: Duration,
    /// File with the password.
    pub password_file: Option<PathBuf>,
    /// PEM file with the authorities that its certificate may come from; those of the system without.
    pub ca: Option<PathBuf>,
}
