//! Whether a rule matches. The one place where conditions are compared with facts: a decision and its
//! explanation cannot disagree.

use std::{cell::OnceCell, fmt};

use super::{
    facts::{Content, Facts, Message},
    site::{Rule, When},
};

/// The first condition of a rule that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// `version`.
    Version,
    /// `device`.
    Device,
    /// `user_agent`.
    UserAgent,
    /// `encoding`.
    Encoding,
    /// `client_certificate`.
    ClientCertificate,
    /// `client_fingerprint`.
    ClientFingerprint,
    /// `path`.
    Path,
    /// `started_by`.
    StartedBy,
    /// `share`.
    Share,
}

impl Condition {
    /// The key in a policy.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Device => "device",
            Self::UserAgent => "user_agent",
            Self::Encoding => "encoding",
            Self::ClientCertificate => "client_certificate",
            Self::ClientFingerprint => "client_fingerprint",
            Self::Path => "path",
            Self::StartedBy => "started_by",
            Self::Share => "share",
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

/// What rules are compared with.
pub(super) struct Subject<'f> {
    pub(super) facts: &'f Facts<'f>,
    message: Option<&'f Message<'f>>,
    /// Reckoned when the first rule asks for it.
    bucket: OnceCell<u16>,
}

impl<'f> Subject<'f> {
    pub(super) fn new(facts: &'f Facts<'f>) -> Self {
        let message = match &facts.content {
            Content::Message(message) => Some(message),
            Content::Malformed | Content::NotSyncMl | Content::Dm2 => None,
        };
        Self { facts, message, bucket: OnceCell::new() }
    }

    /// The first condition of a rule that does not hold; `None` when the rule matches. What a message
    /// would say does not hold for a request that is none.
    pub(super) fn misses(&self, rule: &Rule) -> Option<Condition> {
        let When { version, device, user_agent, encoding, client_certificate, client_fingerprint, path, started_by, share } =
            &rule.when;
        let Facts { path: sent, user_agent: agent, client_certificate: subject, client_fingerprint: print, .. } = *self.facts;
        let message = self.message;
        // The cheap ones first.
        if version
            .as_ref()
            .is_some_and(|any| !message.is_some_and(|m| m.declared.known().is_some_and(|declared| any.contains(&declared))))
        {
            return Some(Condition::Version);
        }
        if encoding.is_some_and(|encoding| !message.is_some_and(|m| m.encoding == encoding)) {
            return Some(Condition::Encoding);
        }
        if started_by.is_some_and(|starter| !message.is_some_and(|m| m.started_by == Some(starter))) {
            return Some(Condition::StartedBy);
        }
        if device.as_ref().is_some_and(|glob| !message.is_some_and(|m| glob.matches(&m.device))) {
            return Some(Condition::Device);
        }
        if user_agent.as_ref().is_some_and(|glob| !agent.is_some_and(|agent| glob.matches(agent))) {
            return Some(Condition::UserAgent);
        }
        if client_certificate.as_ref().is_some_and(|glob| !subject.is_some_and(|subject| glob.matches(subject))) {
            return Some(Condition::ClientCertificate);
        }
        if client_fingerprint.as_ref().is_some_and(|any| !print.is_some_and(|print| any.iter().any(|one| **one == *print))) {
            return Some(Condition::ClientFingerprint);
        }
        if path.as_ref().is_some_and(|glob| !glob.matches(sent)) {
            return Some(Condition::Path);
        }
        if share.is_some_and(|share| message.is_none_or(|m| *self.bucket.get_or_init(|| bucket(&m.device)) >= share)) {
            return Some(Condition::Share);
        }
        None
    }
}

/// Where a device stands among all of them: 0 to 9999. The same in every rule, so that a device that
/// is in `10%` is in `20%` too; the same on every machine and in every release.
pub(super) fn bucket(device: &str) -> u16 {
    // FNV-1a, finished by the last steps of MurmurHash3 since device identifiers differ in few digits.
    let mut hash =
        device.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^= hash >> 33;
    u16::try_from(hash % 10_000).unwrap_or(0)
}
