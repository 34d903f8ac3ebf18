//! The servers behind a site, and how it is found out what they speak.

use std::{path::PathBuf, sync::Arc, time::Duration};

use crate::{
    session::Learnt,
    syncml::{header::Encoding, status::Status, version::Version},
};

/// A DM server behind a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its name.
    pub name: Arc<str>,
    /// `http` or `https`; its path is put before the request's.
    pub url: http::Uri,
    /// Its other addresses, which differ in host and port only.
    pub other_urls: Vec<http::Uri>,
    /// How connections to it are kept.
    pub pool: Pool,
    /// How it is asked whether it is well.
    pub health: Option<Health>,
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
    /// The digest of what its PEM files held when the policy was read: with other files it is another server.
    pub pem: [u8; 32],
}

impl Server {
    /// A push gateway, which speaks HTTP and nothing else.
    #[must_use]
    pub fn gateway(name: &Arc<str>, url: http::Uri) -> Self {
        Self {
            name: Arc::clone(name),
            url,
            other_urls: Vec::new(),
            pool: Pool::default(),
            health: None,
            speaks: Vec::new(),
            trial: None,
            resp_uri: RespUri::Keep,
            encodings: Vec::new(),
            ca: None,
            identity: None,
            host: HostHeader::Rewrite,
            pem: [0; 32],
        }
    }

    /// Every address, in the order of the policy.
    pub fn urls(&self) -> impl Iterator<Item = &http::Uri> {
        std::iter::once(&self.url).chain(&self.other_urls)
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

/// How the connections to each address of a server are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// How many requests may be under way.
    pub max_pending: usize,
    /// After how many failures in a row an address is left out.
    pub eject_after: u32,
}

impl Default for Pool {
    /// Connections are kept for less than common servers keep them. Apache, with 5 s, is the exception, for
    /// which a dead connection is noticed before anything is sent.
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(5), idle_timeout: Duration::from_secs(55), max_pending: 1024, eject_after: 5 }
    }
}

/// A request that a server that is well answers with success, or by leading elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What is asked for, from the root of the server.
    pub path: Box<str>,
    /// How long from an answer to the next question, and at most for an answer.
    pub interval: Duration,
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
