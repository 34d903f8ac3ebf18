//! Policies as they are used: checked, resolved and complete.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{glob::Glob, reason::Verdict};
use crate::session::Learnt;
use crate::syncml::{
    alert::StartedBy,
    header::Encoding,
    status::Status,
    version::{Family, Version, VersionTable},
};

/// All that a folder of policies says.
#[derive(Clone, Debug)]
pub struct Policies {
    /// How the process runs.
    pub settings: Settings,
    /// The versions that protover knows.
    pub versions: VersionTable,
    /// The sites, in the order of their files' names.
    pub sites: Vec<Arc<Site>>,
}

/// What devices address, and the servers behind it.
#[derive(Clone, Debug)]
pub struct Site {
    /// Its name.
    pub name: Arc<str>,
    /// The first 16 hexadecimal digits of the SHA-256 of its file.
    pub digest: Arc<str>,
    /// Hosts in lower case without port; `*` matches any, `*.example.com` any below.
    pub hosts: Vec<Box<str>>,
    /// The prefix of the paths that belong to it, matched at segment boundaries.
    pub path: Box<str>,
    /// Whether decisions are carried out.
    pub mode: Mode,
    /// Whether whole messages are checked.
    pub strict: bool,
    /// The version that the policy recommends of each family, in the order of [`Family::ALL`]; where it
    /// names none, the highest that is spoken.
    pub recommend: [Option<Version>; 2],
    /// The versions that its servers speak, each once, descending within their families.
    pub supported: Vec<Version>,
    /// At least one.
    pub servers: Vec<Arc<Server>>,
    /// What becomes of a known version that no server speaks.
    pub unsupported: Unsupported,
    /// What becomes of a malformed message.
    pub malformed: OnMalformed,
    /// Where the recommended version is said.
    pub carriers: Carriers,
    /// The file with the passwords that MACs are made with.
    pub secrets: Option<PathBuf>,
    /// What becomes of notifications, and of the sessions that answer them.
    pub notification: Option<Notification>,
    /// First match wins.
    pub rules: Vec<Rule>,
}

impl Site {
    /// The version of a family that the policy recommends, when it names one.
    #[must_use]
    pub fn recommended(&self, family: Family) -> Option<Version> {
        match family {
            Family::Dm => self.recommend[0],
            Family::SyncMl => self.recommend[1],
        }
    }

    /// Whether some of its servers have versions that are found out by trial.
    #[must_use]
    pub fn tries(&self) -> bool {
        self.servers.iter().any(|server| server.trial.is_some())
    }

    /// Whether a later message of a session may match other rules than its first one did: only the first
    /// says who started the session, and a RespURI may lead to another path.
    #[must_use]
    pub fn rules_may_change(&self) -> bool {
        self.rules.iter().any(|rule| rule.when.started_by.is_some() || rule.when.path.is_some())
    }
}

/// Whether decisions are carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// They are.
    #[default]
    Enforce,
    /// They are made and logged; everything is passed unchanged.
    Observe,
}

impl Mode {
    /// The name in policies and log lines.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Observe => "observe",
        }
    }
}

/// What becomes of notifications, and of the sessions that answer them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Notification {
    /// Whether they are made to say the recommended version.
    pub recommend: bool,
    /// For which devices, by the address of the push; many clients take only what every notification has.
    pub devices: Vec<Glob>,
    /// Where they say it.
    pub carrier: NotificationCarrier,
    /// What becomes of a device that answers with a version above the one it was notified of.
    pub higher: Higher,
}

/// Where a notification says the recommended version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NotificationCarrier {
    /// In its version field: 12 for DM 1.2.
    #[default]
    VersionField,
    /// In front of the vendor's body.
    VendorBody,
}

/// What becomes of a device that answers a notification with a higher version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Higher {
    /// It is only taken down.
    #[default]
    Log,
    /// Its messages are rewritten to the version that it was notified of.
    Bridge,
    /// It is refused.
    Refuse,
}

/// A DM server behind a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its name.
    pub name: Arc<str>,
    /// `http` or `https`; its path is put before the request's.
    pub url: http::Uri,
    /// The versions that it is said to speak; none when all is found out by trial.
    pub speaks: Vec<Version>,
    /// Whether its versions are found out by trial, when the list is not right or there is none.
    pub trial: Option<Trial>,
    /// What becomes of its RespURI.
    pub resp_uri: RespUri,
    /// The encodings that it takes.
    pub encodings: Vec<Encoding>,
    /// PEM file with the authorities that its certificate may come from; those of the system without.
    pub ca: Option<PathBuf>,
    /// PEM files that protover shows it: certificate and key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Whether it sees the host that the device addressed, or its own.
    pub host: HostHeader,
}

impl Server {
    /// A push gateway, which speaks HTTP and nothing else.
    #[must_use]
    pub fn gateway(name: &Arc<str>, url: http::Uri) -> Self {
        Self {
            name: Arc::clone(name),
            url,
            speaks: Vec::new(),
            trial: None,
            resp_uri: RespUri::Keep,
            encodings: Vec::new(),
            ca: None,
            identity: None,
            host: HostHeader::Rewrite,
        }
    }

    /// Whether it is said to take messages of this version in this encoding.
    #[must_use]
    pub fn takes(&self, version: Version, encoding: Encoding) -> bool {
        self.speaks.contains(&version) && self.encodings.contains(&encoding)
    }

    /// Whether it speaks a version, by its list and by what was learnt of it.
    #[must_use]
    pub fn speaks(&self, version: Version, learnt: Option<&Learnt>) -> Speaks {
        let learnt = learnt.filter(|_| self.trial.is_some());
        if learnt.is_some_and(|learnt| learnt.accepts(version)) {
            return Speaks::Yes;
        }
        match learnt {
            Some(learnt) if learnt.refuses(version) => Speaks::No,
            _ if self.speaks.contains(&version) => Speaks::Yes,
            _ if self.trial.is_some() && self.speaks.is_empty() => Speaks::Perhaps,
            _ => Speaks::No,
        }
    }
}

/// Whether a server speaks a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// Nobody knows; asking is safe.
    Perhaps,
}

/// How the versions of a server are found out: the first message of a session is sent again in another
/// version when the answer says that the version is not supported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trial {
    /// What says so, besides the Status 513 and 505 of SyncHdr.
    pub also_on: Vec<Trigger>,
}

/// An answer that says that a version is not supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// A Status of SyncHdr.
    Status(Status),
    /// An HTTP status, whatever the body.
    Http(u16),
    /// Anything that is no SyncML.
    NoSyncMl,
}

impl Trial {
    /// Whether a Status of SyncHdr says that the version is not supported.
    #[must_use]
    pub fn is_on(&self, trigger: Trigger) -> bool {
        let by_itself = [Status::PROTOCOL_VERSION_NOT_SUPPORTED, Status::DTD_VERSION_NOT_SUPPORTED];
        matches!(trigger, Trigger::Status(status) if by_itself.contains(&status)) || self.also_on.contains(&trigger)
    }
}

/// What becomes of a RespURI that a server gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RespUri {
    /// One that would lead the device past protover is rewritten to the address that it used.
    #[default]
    Rewrite,
    /// It is left as it is.
    Keep,
}

/// Which `Host` a server sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostHeader {
    /// The one that the device sent.
    #[default]
    Keep,
    /// That of the server's URL.
    Rewrite,
}

/// What becomes of a known version that no server speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unsupported {
    /// It is rewritten to one that a server speaks.
    Bridge,
    /// It is answered with the error that names the recommended version.
    #[default]
    Refuse,
    /// It is passed to the first server.
    Pass,
}

/// What becomes of a malformed message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnMalformed {
    /// It is answered with HTTP 400.
    #[default]
    Refuse,
    /// It is passed to the first server.
    Pass,
}

/// Where the recommended version is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carriers {
    /// `DM-Recommended-Version` and `DM-Supported-Versions` of the HTTP answer.
    pub http_header: bool,
    /// An Item in the Status that answers SyncHdr.
    pub status_item: bool,
    /// An EMI in SyncHdr/Meta.
    pub header_meta: bool,
}

impl Carriers {
    /// Whether any of them is in the body.
    #[must_use]
    pub const fn any_in_body(self) -> bool {
        self.status_item || self.header_meta
    }
}

/// A rule of a site.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name.
    pub name: Arc<str>,
    /// When it matches: all of these.
    pub when: When,
    /// What it says.
    pub then: Then,
}

/// The conditions of a rule; those that are `None` always hold.
#[derive(Clone, Debug, Default)]
pub struct When {
    /// The declared version is one of these (a comparison has been resolved over the table).
    pub version: Option<Vec<Version>>,
    /// Source/LocURI.
    pub device: Option<Glob>,
    /// `User-Agent`.
    pub user_agent: Option<Glob>,
    /// The encoding of the body.
    pub encoding: Option<Encoding>,
    /// The subject of the client's certificate.
    pub client_certificate: Option<Glob>,
    /// The path of the request.
    pub path: Option<Glob>,
    /// Who started the session.
    pub started_by: Option<StartedBy>,
    /// The part of the devices, in hundredths of a per cent: 10 000 is all.
    pub share: Option<u16>,
}

/// What a rule says; what it leaves open is decided as without the rule.
#[derive(Clone, Debug, Default)]
pub struct Then {
    /// `pass`, `advise`, `bridge` or `refuse`.
    pub verdict: Option<Verdict>,
    /// The server that gets the message, as an index.
    pub server: Option<usize>,
    /// The version to bridge to.
    pub to: Option<Version>,
    /// The version to recommend.
    pub recommend: Option<Version>,
    /// Whether a bridge may drop what the other version has no word for.
    pub lossy: bool,
}

/// How the process runs: `proxy.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where devices connect. At least one.
    pub listeners: Vec<Listener>,
    /// What clients and servers may take up.
    pub limits: Limits,
    /// Where decision lines go.
    pub decisions: Decisions,
    /// Where it is kept what is remembered between messages.
    pub store: Store,
    /// What is remembered of sessions.
    pub sessions: Sessions,
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
    /// Of a listener for notifications: the push gateway behind it.
    pub gateway: Option<http::Uri>,
}

/// The TLS side of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// PEM file: the certificate and those between it and the root.
    pub certificate: PathBuf,
    /// PEM file: its private key.
    pub key: PathBuf,
    /// PEM file: the authorities that clients' certificates may come from.
    pub client_ca: Option<PathBuf>,
    /// Whether clients show a certificate.
    pub client_auth: ClientAuth,
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

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 1 << 20,
            connections: 10_000,
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
