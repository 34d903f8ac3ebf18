//! One line of the log, before it is written.

use std::{borrow::Cow, net::SocketAddr, sync::Arc, time::Duration};

use super::{Pii, clock::Moment, id::Id};
use crate::{
    policy::{
        facts::Integrity,
        reason::{Reason, Requirement, Verdict},
        site::Mode,
    },
    syncml::{
        alert::StartedBy,
        header::Encoding,
        version::{Declared, Version},
    },
};

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A request to a DM listener.
    Message,
    /// A notification on its way to the push gateway.
    Notification,
    /// A DM account.
    Account,
    /// A connection that failed before a request.
    Connection,
}

impl Kind {
    /// The name in log lines.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Notification => "notification",
            Self::Account => "account",
            Self::Connection => "connection",
        }
    }
}

/// What is known about one request; what is not is `None`, and `null` in the log.
///
/// It never holds credentials, nonces or bodies: there is no field for them.
#[derive(Clone, Debug)]
pub struct Record {
    pub(super) id: Id,
    pub(super) at: Moment,
    pub(super) listener: Arc<str>,
    pub(super) peer: SocketAddr,
    /// What it is about.
    pub kind: Kind,
    /// The name of the site.
    pub site: Option<Arc<str>>,
    /// The name of the server that got it.
    pub server: Option<Arc<str>>,
    /// The digest of the site's policy.
    pub policy: Option<Arc<str>>,
    /// Whether the decision was carried out.
    pub mode: Option<Mode>,
    /// Source/LocURI, as it may be shown.
    pub device: Option<Pii>,
    /// SessionID.
    pub session: Option<Box<str>>,
    /// MsgID.
    pub message: Option<Box<str>>,
    /// The encoding of the body.
    pub encoding: Option<Encoding>,
    /// What protects the body.
    pub integrity: Option<Integrity>,
    /// Who started the session.
    pub started_by: Option<StartedBy>,
    /// VerProto.
    pub declared: Option<Declared>,
    /// VerDTD.
    pub declared_dtd: Option<Box<str>>,
    /// The version in which the server saw it.
    pub used: Option<Version>,
    /// The recommended version.
    pub recommended: Option<Version>,
    /// The versions that the device was told of; `null` when empty.
    pub supported: Arc<[Version]>,
    /// What became of it.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// The requirement that this fulfils.
    pub requirement: Option<Requirement>,
    /// The rule that said so.
    pub rule: Option<Arc<str>>,
    /// The store that was asked, when state was needed: `memory`, `redis` or `degraded`.
    pub store: Option<&'static str>,
    /// The names of what was changed; `null` when empty.
    pub edits: Vec<Cow<'static, str>>,
    /// The carriers of the recommended version that were used; `null` when empty.
    pub hints: Vec<&'static str>,
    /// The status of the HTTP answer.
    pub http_status: Option<u16>,
    /// The status of the SyncHdr in an answer that protover wrote.
    pub syncml_status: Option<u16>,
    /// How often an upstream was tried.
    pub attempts: Option<u32>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// How long the upstream took.
    pub upstream: Option<Duration>,
    /// What stood in the way, in a few words: an element, a place in the message, an error of TLS.
    pub detail: Option<Box<str>>,
}

impl Record {
    /// A request about which nothing is known yet. Until more is, it counts as abandoned.
    pub(super) fn new(id: Id, at: Moment, listener: Arc<str>, peer: SocketAddr, kind: Kind) -> Self {
        Self {
            id,
            at,
            listener,
            peer,
            kind,
            site: None,
            server: None,
            policy: None,
            mode: None,
            device: None,
            session: None,
            message: None,
            encoding: None,
            integrity: None,
            started_by: None,
            declared: None,
            declared_dtd: None,
            used: None,
            recommended: None,
            supported: Arc::default(),
            verdict: Verdict::Abandon,
            reason: Reason::ClientGone,
            requirement: None,
            rule: None,
            store: None,
            edits: Vec::new(),
            hints: Vec::new(),
            http_status: None,
            syncml_status: None,
            attempts: None,
            bytes_in: 0,
            bytes_out: 0,
            upstream: None,
            detail: None,
        }
    }

    /// The identifier, as in the `Protover-Decision` header.
    #[must_use]
    pub fn id(&self) -> &str {
        self.id.as_str()
    }

    /// When it began; `ts` in the log.
    #[must_use]
    pub const fn started(&self) -> Moment {
        self.at
    }

    /// The name of the listener.
    #[must_use]
    pub const fn listener(&self) -> &Arc<str> {
        &self.listener
    }

    /// Where it came from.
    #[must_use]
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }
}
