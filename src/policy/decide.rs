//! From facts to a decision: the only place where decisions are made. Total: every request has one.

use super::{
    decision::Decision,
    facts::{Content, Dtd, Facts, Integrity, Message},
    matching::Subject,
    reason::{Reason, Requirement, Verdict},
    site::{OnMalformed, Rule, Site, Then, Unsupported},
};
use crate::syncml::{
    alert::StartedBy,
    header::Encoding,
    status::Status,
    version::{Declared, Family, Version, VersionTable},
};

/// Decides about a request. The first rule that matches is asked first; what it leaves open, and what
/// no rule matches, is decided by the versions that the servers speak. In observe mode the decision is
/// the same: carrying it out is not the business of this function.
#[must_use]
pub fn decide(site: &Site, versions: &VersionTable, facts: &Facts<'_>) -> Decision {
    let subject = Subject::new(facts);
    let rule = site.rules.iter().find(|rule| subject.misses(rule).is_none());
    by(site, versions, facts, rule)
}

/// The decision with a rule that matches, or with none.
pub(super) fn by(site: &Site, versions: &VersionTable, facts: &Facts<'_>, rule: Option<&Rule>) -> Decision {
    let open = Then::default();
    let then = rule.map_or(&open, |rule| &rule.then);
    let name = rule.map(|rule| rule.name.clone());
    let decision = match &facts.content {
        Content::Message(message) => {
            let case = Case { site, versions, message, then, recommended: recommended(site, message.declared.family(), then) };
            case.by_rule().unwrap_or_else(|| case.by_default())
        }
        Content::Malformed | Content::NotSyncMl | Content::Dm2 => without_message(site, &facts.content, then),
    };
    Decision { rule: name, ..decision }
}

/// The version to recommend: a rule may name another, never one of another family.
fn recommended(site: &Site, family: Family, then: &Then) -> Option<Version> {
    then.recommend.filter(|version| version.family() == family).or_else(|| site.recommended(family))
}

/// A decision with everything else at its most ordinary: the first server, nothing recommended.
const fn ruling(verdict: Verdict, reason: Reason) -> Decision {
    Decision {
        verdict,
        reason,
        requirement: None,
        rule: None,
        server: 0,
        used: None,
        recommended: None,
        lossy: false,
        status: Status::PROTOCOL_VERSION_NOT_SUPPORTED,
        body_hints: false,
    }
}

/// A request without a message that could be read.
fn without_message(site: &Site, content: &Content<'_>, then: &Then) -> Decision {
    let decision = match (then.verdict, content) {
        (Some(Verdict::Pass | Verdict::Advise), _) => ruling(Verdict::Pass, Reason::Rule),
        (Some(Verdict::Refuse), _) => ruling(Verdict::Refuse, Reason::Rule),
        (_, Content::Dm2) => Decision {
            requirement: Some(Requirement::Server3),
            recommended: recommended(site, Family::Dm, then),
            ..ruling(Verdict::Refuse, Reason::UnrecognisedVersion)
        },
        (_, Content::Malformed) => match site.malformed {
            OnMalformed::Refuse => ruling(Verdict::Refuse, Reason::Malformed),
            OnMalformed::Pass => ruling(Verdict::Pass, Reason::Malformed),
        },
        (_, Content::NotSyncMl | Content::Message(_)) => ruling(Verdict::Pass, Reason::NotSyncMl),
    };
    Decision { server: then.server.unwrap_or(0), ..decision }
}

/// What a decision about a message is made from.
struct Case<'c> {
    site: &'c Site,
    versions: &'c VersionTable,
    message: &'c Message<'c>,
    then: &'c Then,
    recommended: Option<Version>,
}

/// Where a message can go.
enum Way {
    /// To this server.
    To(usize),
    /// Servers speak the version, but none takes the encoding.
    Encoding,
    /// No server speaks the version.
    Nowhere,
}

impl Case<'_> {
    /// The verdict of the rule; `None` when it has none, or one that cannot be carried out here.
    fn by_rule(&self) -> Option<Decision> {
        let declared = self.message.declared.known();
        match self.then.verdict? {
            Verdict::Pass => Some(self.pass(Reason::Rule)),
            Verdict::Advise => Some(Decision {
                verdict: Verdict::Advise,
                requirement: Some(Requirement::Server2),
                ..self.hinted(self.pass(Reason::Rule))
            }),
            Verdict::Refuse => Some(self.refuse(Reason::Rule, Status::PROTOCOL_VERSION_NOT_SUPPORTED)),
            Verdict::Bridge => {
                let from = declared?;
                let to = match self.then.to {
                    Some(to) => to,
                    None if matches!(self.way(from), Way::To(_)) => return None,
                    None => self.target(from)?,
                };
                // A message in that version already, or of another family, has nowhere to be taken.
                (to != from && to.family() == from.family()).then(|| self.bridge(to, Reason::Rule))
            }
            Verdict::Fail | Verdict::Abandon => None,
        }
    }

    /// The decision that follows from the versions that the servers speak.
    fn by_default(&self) -> Decision {
        let Message { declared, dtd, media_type_agrees, .. } = self.message;
        let declared = match declared {
            Declared::Known(version) => *version,
            Declared::Unrecognised(_) => {
                return self.refuse(Reason::UnrecognisedVersion, Status::PROTOCOL_VERSION_NOT_SUPPORTED);
            }
        };
        match dtd {
            Dtd::Unknown => return self.refuse(Reason::DtdMismatch, Status::DTD_VERSION_NOT_SUPPORTED),
            Dtd::Contradicts if self.site.strict => return self.refuse(Reason::DtdMismatch, Status::DTD_VERSION_NOT_SUPPORTED),
            Dtd::Contradicts | Dtd::Agrees => {}
        }
        if self.site.strict && !media_type_agrees {
            return self.refuse(Reason::MediaTypeMismatch, Status::UNSUPPORTED_MEDIA_TYPE);
        }
        match self.way(declared) {
            Way::To(_) if self.recommended.is_none_or(|recommended| recommended == declared) => self.pass(Reason::Recommended),
            Way::To(_) => Decision {
                verdict: Verdict::Advise,
                requirement: Some(Requirement::Server2),
                ..self.hinted(self.pass(Reason::SupportedNotRecommended))
            },
            Way::Encoding => self.refuse(Reason::UnsupportedEncoding, Status::UNSUPPORTED_MEDIA_TYPE),
            Way::Nowhere => match self.site.unsupported {
                Unsupported::Pass => self.pass(Reason::UnsupportedVersion),
                Unsupported::Refuse => self.unsupported(),
                Unsupported::Bridge => {
                    self.target(declared).map_or_else(|| self.unsupported(), |to| self.bridge(to, Reason::Bridged))
                }
            },
        }
    }

    fn unsupported(&self) -> Decision {
        self.refuse(Reason::UnsupportedVersion, Status::PROTOCOL_VERSION_NOT_SUPPORTED)
    }

    /// The servers that may get the message: the one that the rule names, or all.
    fn servers(&self) -> impl Iterator<Item = usize> {
        let only = self.then.server;
        (0..self.site.servers.len()).filter(move |index| only.is_none_or(|only| only == *index))
    }

    fn any(&self, fits: impl Fn(&super::site::Server) -> bool) -> Option<usize> {
        self.servers().find(|index| self.site.servers.get(*index).is_some_and(|server| fits(server)))
    }

    /// The first server that takes a version in the encoding of the message.
    fn way(&self, version: Version) -> Way {
        let encoding: Encoding = self.message.encoding;
        if let Some(index) = self.any(|server| server.takes(version, encoding)) {
            return Way::To(index);
        }
        if self.any(|server| server.speaks.contains(&version)).is_some() { Way::Encoding } else { Way::Nowhere }
    }

    /// The version to bridge to: the highest spoken below, else the lowest above. One that is spoken in
    /// the encoding of the message comes before one that is not.
    fn target(&self, from: Version) -> Option<Version> {
        let spoken = |fits: &dyn Fn(&super::site::Server, Version) -> bool| {
            let spoken = |version: &Version| self.any(|server| fits(server, *version)).is_some();
            let mut below = self.site.supported.iter().copied().filter(|version| *version < from);
            let above = self.site.supported.iter().copied().filter(|version| *version > from);
            // Descending, so the first below is the highest and the last above the lowest.
            below.find(spoken).or_else(|| above.filter(spoken).last())
        };
        let encoding = self.message.encoding;
        spoken(&|server, version| server.takes(version, encoding))
            .or_else(|| spoken(&|server, version| server.speaks.contains(&version)))
    }

    /// To the server that fits best, as it is.
    fn pass(&self, reason: Reason) -> Decision {
        let used = self.message.declared.known();
        let server = used.and_then(|version| match self.way(version) {
            Way::To(index) => Some(index),
            Way::Encoding => self.any(|server| server.speaks.contains(&version)),
            Way::Nowhere => None,
        });
        let server = server.or_else(|| self.servers().next()).unwrap_or(0);
        Decision { server, used, recommended: self.recommended, ..ruling(Verdict::Pass, reason) }
    }

    /// Adds where hints may go. A protected message shows a device that checks what it gets; for that
    /// the body stays as it is.
    fn hinted(&self, decision: Decision) -> Decision {
        let body_hints = self.message.integrity == Integrity::None;
        let falls_back = !body_hints && self.site.carriers.any_in_body() && decision.reason != Reason::Rule;
        let reason = if falls_back { Reason::IntegrityProtected } else { decision.reason };
        Decision { body_hints, reason, ..decision }
    }

    /// Into another version, unless something forbids it.
    fn bridge(&self, to: Version, reason: Reason) -> Decision {
        let known = self.message.declared.known().is_some_and(|from| self.versions.get(from).is_some());
        if !known || self.versions.get(to).is_none() {
            return self.unsupported();
        }
        let server = match self.way(to) {
            Way::To(server) => server,
            Way::Encoding => return self.refuse(Reason::UnsupportedEncoding, Status::UNSUPPORTED_MEDIA_TYPE),
            Way::Nowhere => return self.unsupported(),
        };
        if self.message.integrity != Integrity::None {
            return self.refuse(Reason::IntegrityProtected, Status::PROTOCOL_VERSION_NOT_SUPPORTED);
        }
        // The device would use the version of its account if it knew about accounts: this is done for it.
        let requirement = (self.message.started_by == Some(StartedBy::Client)).then_some(Requirement::Client4);
        Decision {
            server,
            used: Some(to),
            recommended: self.recommended,
            requirement,
            lossy: self.then.lossy,
            ..ruling(Verdict::Bridge, reason)
        }
    }

    /// An answer in the server's stead.
    fn refuse(&self, reason: Reason, status: Status) -> Decision {
        // What is wrong with the encoding or the HTTP header is no matter of versions.
        let about_version = status != Status::UNSUPPORTED_MEDIA_TYPE;
        let requirement = about_version.then_some(Requirement::Server3);
        let server = self.servers().next().unwrap_or(0);
        Decision { server, status, requirement, recommended: self.recommended, ..ruling(Verdict::Refuse, reason) }
    }
}

#[cfg(test)]
mod tests;
