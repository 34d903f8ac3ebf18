//! What was decided. Only [`decide`](super::decide::decide) makes decisions, so every one of them
//! has been through the policy.

use std::sync::Arc;

use super::reason::{Reason, Requirement, Verdict};
use crate::syncml::{status::Status, version::Version};

/// What to do with one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub(super) verdict: Verdict,
    pub(super) reason: Reason,
    pub(super) requirement: Option<Requirement>,
    pub(super) rule: Option<Arc<str>>,
    pub(super) server: usize,
    pub(super) used: Option<Version>,
    pub(super) recommended: Option<Version>,
    pub(super) supported: Arc<[Version]>,
    pub(super) lossy: bool,
    pub(super) status: Status,
    pub(super) body_hints: bool,
    pub(super) account: bool,
    pub(super) trial: bool,
}

impl Decision {
    /// What to do.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Why.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// The requirement of the contribution that this fulfils.
    #[must_use]
    pub const fn requirement(&self) -> Option<Requirement> {
        self.requirement
    }

    /// The name of the rule that said so.
    #[must_use]
    pub const fn rule(&self) -> Option<&Arc<str>> {
        self.rule.as_ref()
    }

    /// The server that gets the message, as an index into the site's servers.
    #[must_use]
    pub const fn server(&self) -> usize {
        self.server
    }

    /// The version in which the server sees the message; `None` when it is not SyncML of a known
    /// version, or nothing goes to a server.
    #[must_use]
    pub const fn used(&self) -> Option<Version> {
        self.used
    }

    /// The version recommended to the device.
    #[must_use]
    pub const fn recommended(&self) -> Option<Version> {
        self.recommended
    }

    /// The versions that the site's servers are known to speak, of the family of the message: the
    /// recommended one first, then descending. The order of the Items in a Server-3 answer and of
    /// `DM-Supported-Versions`.
    #[must_use]
    pub const fn supported(&self) -> &Arc<[Version]> {
        &self.supported
    }

    /// Whether a bridge may drop what the other version has no word for.
    #[must_use]
    pub const fn lossy(&self) -> bool {
        self.lossy
    }

    /// The status of the answer when it is refused: 513, or 505.
    #[must_use]
    pub const fn status(&self) -> Status {
        self.status
    }

    /// Whether the server may be asked in other versions, when its answer says that it does not speak
    /// this one.
    #[must_use]
    pub const fn trial(&self) -> bool {
        self.trial
    }

    /// The same decision, for another server.
    #[must_use]
    pub fn at(self, server: usize) -> Self {
        Self { server, ..self }
    }

    /// The same decision, with the version that the server is asked with next; `refused` are those that it
    /// has not taken.
    #[must_use]
    pub fn stepped_down(self, declared: Version, used: Version, refused: &[Version]) -> Self {
        let verdict = if used == declared { Verdict::Pass } else { Verdict::Bridge };
        let supported: Arc<[Version]> = self.supported.iter().copied().filter(|version| !refused.contains(version)).collect();
        let recommended = self.recommended.filter(|version| !refused.contains(version)).or(supported.first().copied());
        Self { verdict, reason: Reason::SteppedDown, used: Some(used), recommended, supported, ..self }
    }

    /// The refusal that is left when the server took the message in no version; `supported` is what it
    /// named, or what is left of what it was said to speak.
    #[must_use]
    pub fn exhausted(self, supported: Arc<[Version]>) -> Self {
        let (reason, requirement) = (Reason::UnsupportedVersion, Some(Requirement::Server3));
        let recommended = supported.first().copied();
        Self {
            verdict: Verdict::Refuse,
            reason,
            requirement,
            used: None,
            status: Status::PROTOCOL_VERSION_NOT_SUPPORTED,
            recommended,
            supported,
            ..self
        }
    }

    /// Whether the recommended version is to be written into the device's account: the site does that, no
    /// rule says otherwise, and the device uses another.
    #[must_use]
    pub const fn account(&self) -> bool {
        self.account
    }

    /// Whether hints may go into the body; without, they go into an HTTP header only.
    #[must_use]
    pub const fn body_hints(&self) -> bool {
        self.body_hints
    }
}
