//! What a decision is made from.

use std::borrow::Cow;

use crate::{
    session::Learnt,
    syncml::{
        alert::StartedBy,
        header::Encoding,
        version::{Declared, Version},
    },
};

/// What protects a body from being edited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Integrity {
    /// Nothing.
    #[default]
    None,
    /// `x-syncml-hmac`.
    Hmac,
    /// `MS-Signature` or `MDM-Signature`.
    Signed,
}

impl Integrity {
    /// The name in log lines.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Hmac => "hmac",
            Self::Signed => "signed",
        }
    }
}

/// How VerDTD relates to VerProto.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dtd {
    /// It is the one that belongs to the version.
    Agrees,
    /// It belongs to another known version.
    Contradicts,
    /// No known version has it.
    Unknown,
}

/// What SyncHdr says.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// The encoding of the body.
    pub encoding: Encoding,
    /// VerProto.
    pub declared: Declared,
    /// VerDTD, against VerProto. [`Dtd::Agrees`] when VerProto is unrecognised.
    pub dtd: Dtd,
    /// Whether the Content-Type (media type, `verproto`, `verdtd`) agrees with the body.
    pub media_type_agrees: bool,
    /// Source/LocURI.
    pub device: Cow<'a, str>,
    /// Whether MsgID is 1: the first message of a session.
    pub first: bool,
    /// Who started the session, when this message says so.
    pub started_by: Option<StartedBy>,
    /// What protects the body.
    pub integrity: Integrity,
}

/// What a request brings.
#[derive(Clone, Debug)]
pub enum Content<'a> {
    /// A SyncML message whose header could be read.
    Message(Message<'a>),
    /// Said to be SyncML, but cannot be read.
    Malformed,
    /// Something else.
    NotSyncMl,
    /// A DM 2.0 JSON media type.
    Dm2,
}

/// Everything that a decision is made from.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The path of the request, without the query.
    pub path: &'a str,
    /// The `User-Agent`.
    pub user_agent: Option<&'a str>,
    /// The subject of the client's certificate.
    pub client_certificate: Option<&'a str>,
    /// The SHA-256 of the client's certificate, in 64 lower-case hexadecimal digits.
    pub client_fingerprint: Option<&'a str>,
    /// What the body holds.
    pub content: Content<'a>,
    /// The version that the device was notified of, when its session answers a notification.
    pub notified: Option<Version>,
    /// What was learnt of the site's servers, one for each; none when nothing is learnt there.
    pub learnt: &'a [Learnt],
}
