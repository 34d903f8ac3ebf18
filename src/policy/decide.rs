//! From facts to a decision: the only place where decisions are made. Total: every request has one.

use std::{cmp::Ordering, sync::Arc};

use super::{
    decision::Decision,
    facts::{Content, Dtd, Facts, Integrity, Message},
    matching::Subject,
    reason::{Reason, Requirement, Verdict},
    site::{Higher, OnMalformed, Rule, Server, Site, Speaks, Then, Unsupported},
};
use crate::{
    session::{Kept, Pin},
    syncml::{
        alert::StartedBy,
        status::Status,
        version::{Declared, Family, Version, VersionTable},
    },
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
            let case = Case::new(site, versions, facts, message, then);
            case.accounted(case.as_notified(case.by_rule().unwrap_or_else(|| case.by_default())))
        }
        Content::Malformed | Content::NotSyncMl | Content::Dm2 => without_message(site, facts, then),
    };
    Decision { rule: name, ..decision }
}

/// The decision about a later message of a session: as its first one was decided. `None` when that cannot
/// be: the device has changed its version, or the server is not there any more.
#[must_use]
pub fn pinned(site: &Site, versions: &VersionTable, facts: &Facts<'_>, pin: &Pin) -> Option<Decision> {
    let Content::Message(message) = &facts.content else { return None };
    let server = site.servers.iter().position(|server| *server.name == *pin.server)?;
    if message.declared.known() != pin.declared {
        return None;
    }
    let (recommend, account) = (pin.recommended, Some(pin.account));
    let then = Then { server: Some(server), recommend, lossy: pin.lossy, account, ..Then::default() };
    let case = Case::new(site, versions, facts, message, &then);
    let passed = || Decision { server, used: pin.used, ..case.pass(Reason::SessionPinned) };
    let decision = match pin.kept {
        Kept::Pass => passed(),
        Kept::Advise => case.advise(passed()),
        Kept::Bridge => case.bridge(pin.used?, server, Reason::SessionPinned),
    };
    Some(Decision { rule: pin.rule.as_deref().map(Into::into), ..case.accounted(decision) })
}

/// The versions of a family that are known to be spoken, descending.
fn spoken(site: &Site, family: Family, facts: &Facts<'_>) -> Arc<[Version]> {
    let listed = site.supported(family);
    if facts.learnt.is_empty() {
        return Arc::clone(listed);
    }
    let mut all = listed.to_vec();
    all.extend(facts.learnt.iter().flat_map(|learnt| learnt.accepted(family)));
    let by_someone = |version: &Version| {
        site.servers.iter().enumerate().any(|(index, server)| server.speaks(*version, facts.learnt.get(index)) == Speaks::Yes)
    };
    all.retain(by_someone);
    all.sort_by(|a, b| b.partial_cmp(a).unwrap_or(Ordering::Equal));
    all.dedup();
    all.into()
}

/// The version to recommend, which a rule may name, never one of another family; and it with the others
/// that are spoken, in front.
fn recommended(site: &Site, family: Family, facts: &Facts<'_>, then: &Then) -> (Option<Version>, Arc<[Version]>) {
    let spoken = spoken(site, family, facts);
    let chosen = then.recommend.filter(|version| version.family() == family).or_else(|| site.recommended(family));
    match chosen {
        Some(version) if spoken.first() != Some(&version) => (chosen, in_front(version, &spoken)),
        _ => (chosen.or_else(|| spoken.first().copied()), spoken),
    }
}

/// A version, and others behind it.
fn in_front(version: Version, others: &[Version]) -> Arc<[Version]> {
    let others = others.iter().copied().filter(|other| *other != version);
    std::iter::once(version).chain(others).collect()
}

/// A decision with everything else at its most ordinary: the first server, nothing recommended.
pub(super) fn ruling(verdict: Verdict, reason: Reason) -> Decision {
    Decision {
        verdict,
        reason,
        requirement: None,
        rule: None,
        server: 0,
        used: None,
        recommended: None,
        supported: Arc::default(),
        lossy: false,
        status: Status::PROTOCOL_VERSION_NOT_SUPPORTED,
        body_hints: false,
        account: false,
        trial: false,
    }
}

/// A request without a message that could be read.
fn without_message(site: &Site, facts: &Facts<'_>, then: &Then) -> Decision {
    let decision = match (then.verdict, &facts.content) {
        (Some(Verdict::Pass | Verdict::Advise), _) => ruling(Verdict::Pass, Reason::Rule),
        (Some(Verdict::Refuse), _) => ruling(Verdict::Refuse, Reason::Rule),
        (_, Content::Dm2) => {
            Decision { requirement: Some(Requirement::Server3), ..ruling(Verdict::Refuse, Reason::UnrecognisedVersion) }
        }
        (_, Content::Malformed) => match site.malformed {
            OnMalformed::Refuse => ruling(Verdict::Refuse, Reason::Malformed),
            OnMalformed::Pass => ruling(Verdict::Pass, Reason::Malformed),
        },
        (_, Content::NotSyncMl | Content::Message(_)) => ruling(Verdict::Pass, Reason::NotSyncMl),
    };
    // A DM 2.0 client is told what to speak instead.
    let told = decision.verdict == Verdict::Refuse && matches!(facts.content, Content::Dm2);
    let (recommended, supported) = if told { recommended(site, Family::Dm, facts, then) } else { (None, Arc::default()) };
    Decision { server: then.server.unwrap_or(0), recommended, supported, ..decision }
}

/// What a decision about a message is made from.
struct Case<'c> {
    site: &'c Site,
    versions: &'c VersionTable,
    facts: &'c Facts<'c>,
    message: &'c Message<'c>,
    then: &'c Then,
    recommended: Option<Version>,
    /// What is known to be spoken, the recommended version in front.
    supported: Arc<[Version]>,
}

/// Where a message can go.
enum Way {
    /// To this server.
    To(usize),
    /// To this server, of which nobody knows whether it speaks the version.
    Ask(usize),
    /// Servers speak the version, but none takes the encoding.
    Encoding,
    /// No server speaks the version.
    Nowhere,
}

impl<'c> Case<'c> {
    fn new(site: &'c Site, versions: &'c VersionTable, facts: &'c Facts<'c>, message: &'c Message<'c>, then: &'c Then) -> Self {
        let (recommended, supported) = recommended(site, message.declared.family(), facts, then);
        Self { site, versions, facts, message, then, recommended, supported }
    }

    /// The verdict of the rule; `None` when it has none, or one that cannot be carried out here.
    fn by_rule(&self) -> Option<Decision> {
        let declared = self.message.declared.known();
        match self.then.verdict? {
            Verdict::Pass => Some(self.pass(Reason::Rule)),
            Verdict::Advise => Some(self.advise(self.pass(Reason::Rule))),
            Verdict::Refuse => Some(self.refuse(Reason::Rule, Status::PROTOCOL_VERSION_NOT_SUPPORTED)),
            Verdict::Bridge => {
                let from = declared?;
                let to = match self.then.to {
                    Some(to) => to,
                    None if matches!(self.way(from), Way::To(_) | Way::Ask(_)) => return None,
                    None => self.target(from, false)?,
                };
                // A message in that version already, or of another family, has nowhere to be taken.
                (to != from && to.family() == from.family()).then(|| self.bridge_to(to, Reason::Rule))
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
            Way::To(_) if self.recommended.is_none_or(|recommended| recommended == declared) => {
                self.tried(self.pass(Reason::Recommended))
            }
            Way::To(_) => self.tried(self.advise(self.pass(Reason::SupportedNotRecommended))),
            Way::Ask(_) => self.tried(self.pass(Reason::Discovering)),
            Way::Encoding => self.refuse(Reason::UnsupportedEncoding, Status::UNSUPPORTED_MEDIA_TYPE),
            Way::Nowhere => self.nowhere(declared),
        }
    }

    /// A known version that no server speaks. One that refused it in a trial is there to be asked in
    /// another, whatever the site does otherwise.
    fn nowhere(&self, declared: Version) -> Decision {
        let bridged = |to| self.tried(self.bridge_to(to, Reason::Bridged));
        match (self.target(declared, true), self.site.unsupported) {
            (Some(to), _) => bridged(to),
            (None, Unsupported::Pass) => self.pass(Reason::UnsupportedVersion),
            (None, Unsupported::Refuse) => self.unsupported(),
            (None, Unsupported::Bridge) => self.target(declared, false).map_or_else(|| self.unsupported(), bridged),
        }
    }

    /// Compares the version with the one that the device was notified of (Client-1 to Client-3). A rule
    /// with a verdict of its own has the last word.
    fn as_notified(&self, decision: Decision) -> Decision {
        let (Some(notified), Some(declared)) = (self.facts.notified, self.message.declared.known()) else { return decision };
        let requirement = match declared.partial_cmp(&notified) {
            Some(Ordering::Equal) => Requirement::Client1,
            Some(Ordering::Less) => Requirement::Client2,
            Some(Ordering::Greater) => Requirement::Client3,
            None => return decision,
        };
        let higher = self.site.notification.as_ref().map(|notification| notification.higher).unwrap_or_default();
        let reason = Reason::HigherThanNotified;
        let decision = match higher {
            _ if requirement != Requirement::Client3 || decision.verdict == Verdict::Refuse => decision,
            _ if self.then.verdict.is_some() => decision,
            Higher::Log => decision,
            Higher::Bridge => self.bridge_to(notified, reason),
            Higher::Refuse => self.refuse(reason, Status::PROTOCOL_VERSION_NOT_SUPPORTED),
        };
        if decision.verdict == Verdict::Refuse && decision.reason == reason {
            let supported = in_front(notified, &decision.supported);
            return Decision { requirement: Some(requirement), recommended: Some(notified), supported, ..decision };
        }
        Decision { requirement: Some(requirement), ..decision }
    }

    fn unsupported(&self) -> Decision {
        self.refuse(Reason::UnsupportedVersion, Status::PROTOCOL_VERSION_NOT_SUPPORTED)
    }

    /// The servers that may get the message: the one that the rule names, or all.
    fn servers(&self) -> impl Iterator<Item = usize> {
        let only = self.then.server;
        (0..self.site.servers.len()).filter(move |index| only.is_none_or(|only| only == *index))
    }

    /// The first server that speaks a version like this, and that `fits`.
    fn first(&self, version: Version, speaks: Speaks, fits: impl Fn(&Server) -> bool) -> Option<usize> {
        self.servers().find(|index| {
            let server = self.site.servers.get(*index);
            server.is_some_and(|server| server.speaks(version, self.facts.learnt.get(*index)) == speaks && fits(server))
        })
    }

    /// The first server that takes a version in the encoding of the message.
    fn way(&self, version: Version) -> Way {
        let encoding = |server: &Server| server.encodings.contains(&self.message.encoding);
        if let Some(index) = self.first(version, Speaks::Yes, encoding) {
            return Way::To(index);
        }
        if let Some(index) = self.first(version, Speaks::Perhaps, encoding) {
            return Way::Ask(index);
        }
        if self.first(version, Speaks::Yes, |_| true).is_some() { Way::Encoding } else { Way::Nowhere }
    }

    /// The version to bridge to: the highest spoken below, else the lowest above. One that is spoken in
    /// the encoding of the message comes before one that is not, and one that is known to be spoken
    /// before one that has to be asked for. `trials`: only to servers that are found out by trial.
    fn target(&self, from: Version, trials: bool) -> Option<Version> {
        if trials && !self.site.tries() {
            return None;
        }
        let versions = self.versions.versions();
        let by_number = |a: &Version, b: &Version| a.partial_cmp(b).unwrap_or(Ordering::Equal);
        let best = |speaks: Speaks, any_encoding: bool| {
            let fits = |server: &Server| {
                (any_encoding || server.encodings.contains(&self.message.encoding)) && (!trials || server.trial.is_some())
            };
            let spoken = |version: &Version| self.first(*version, speaks, fits).is_some();
            let below = versions.iter().copied().filter(|version| *version < from && spoken(version)).max_by(by_number);
            below.or_else(|| versions.iter().copied().filter(|version| *version > from && spoken(version)).min_by(by_number))
        };
        let ways = [(Speaks::Yes, false), (Speaks::Perhaps, false), (Speaks::Yes, true)];
        ways.into_iter().find_map(|(speaks, any_encoding)| best(speaks, any_encoding))
    }

    /// A decision about this message, as far as it is the same for all of them.
    fn ruling(&self, verdict: Verdict, reason: Reason) -> Decision {
        Decision { recommended: self.recommended, supported: self.supported.clone(), ..ruling(verdict, reason) }
    }

    /// To the server that fits best, as it is.
    fn pass(&self, reason: Reason) -> Decision {
        let used = self.message.declared.known();
        let server = used.and_then(|version| match self.way(version) {
            Way::To(index) | Way::Ask(index) => Some(index),
            Way::Encoding => self.first(version, Speaks::Yes, |_| true),
            Way::Nowhere => None,
        });
        let server = server.or_else(|| self.servers().next()).unwrap_or(0);
        Decision { server, used, ..self.ruling(Verdict::Pass, reason) }
    }

    /// The same, with the recommended version in the answer.
    fn advise(&self, passed: Decision) -> Decision {
        Decision { verdict: Verdict::Advise, requirement: Some(Requirement::Server2), ..self.hinted(passed) }
    }

    /// Lets the server be asked in other versions when it refuses this one: at the first message of a
    /// session, before it has acted on anything, and when the message may be edited.
    fn tried(&self, decision: Decision) -> Decision {
        let tries = self.site.servers.get(decision.server).is_some_and(|server| server.trial.is_some());
        let may = self.message.first && self.message.integrity == Integrity::None && decision.verdict != Verdict::Refuse;
        Decision { trial: tries && may, ..decision }
    }

    /// Adds whether the device's account is to learn the recommended version: only where the device goes on
    /// with another for now.
    fn accounted(&self, decision: Decision) -> Decision {
        let wanted = self.site.carriers.account && self.then.account.unwrap_or(true);
        let other =
            self.message.declared.known().is_some_and(|declared| decision.recommended.is_some_and(|told| told != declared));
        let goes_on = matches!(decision.verdict, Verdict::Advise | Verdict::Bridge);
        Decision { account: wanted && other && goes_on && self.message.declared.family() == Family::Dm, ..decision }
    }

    /// Adds where hints may go. A protected message shows a device that checks what it gets; for that
    /// the body stays as it is.
    fn hinted(&self, decision: Decision) -> Decision {
        let body_hints = self.message.integrity == Integrity::None;
        let falls_back = !body_hints && self.site.carriers.any_in_body() && decision.reason != Reason::Rule;
        let reason = if falls_back { Reason::IntegrityProtected } else { decision.reason };
        Decision { body_hints, reason, ..decision }
    }

    /// Into another version, to the server that fits best.
    fn bridge_to(&self, to: Version, reason: Reason) -> Decision {
        match self.way(to) {
            Way::To(server) | Way::Ask(server) => self.bridge(to, server, reason),
            Way::Encoding => self.refuse(Reason::UnsupportedEncoding, Status::UNSUPPORTED_MEDIA_TYPE),
            Way::Nowhere => self.unsupported(),
        }
    }

    /// Into another version, unless something forbids it.
    fn bridge(&self, to: Version, server: usize, reason: Reason) -> Decision {
        let known = self.message.declared.known().is_some_and(|from| self.versions.get(from).is_some());
        if !known || self.versions.get(to).is_none() {
            return self.unsupported();
        }
        if self.message.integrity != Integrity::None {
            return self.refuse(Reason::IntegrityProtected, Status::PROTOCOL_VERSION_NOT_SUPPORTED);
        }
        // The device would use the version of its account if it knew about accounts: this is done for it.
        let requirement = (self.message.started_by == Some(StartedBy::Client)).then_some(Requirement::Client4);
        Decision { server, used: Some(to), requirement, lossy: self.then.lossy, ..self.ruling(Verdict::Bridge, reason) }
    }

    /// An answer in the server's stead.
    fn refuse(&self, reason: Reason, status: Status) -> Decision {
        // What is wrong with the encoding or the HTTP header is no matter of versions.
        let about_version = status != Status::UNSUPPORTED_MEDIA_TYPE;
        let requirement = about_version.then_some(Requirement::Server3);
        let server = self.servers().next().unwrap_or(0);
        Decision { server, status, requirement, ..self.ruling(Verdict::Refuse, reason) }
    }
}

#[cfg(test)]
mod tests;
