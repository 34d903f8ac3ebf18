//! Safe trial and error: a server is asked in one version after the other, when its answer to the first
//! message of a session says that it does not speak the version. Real clients never do that themselves.
//!
//! It is safe since a server that says so has done nothing else: an answer that holds a command, or that
//! says that one was carried out, ends the trial, and so does one that did not come whole.

use super::{arrived::Arrived, exchange::Exchange};
use crate::{
    policy::{
        decision::Decision,
        site::{Mode, Trial as Policy, Trigger},
    },
    session::{Attempts, Learnt},
    syncml::{
        self,
        status::Status,
        version::{Family, Version, VersionTable},
    },
};

/// A trial with one server.
#[derive(Debug)]
pub(super) struct Trial {
    policy: Policy,
    attempts: Attempts,
    family: Family,
    /// The version of the last attempt.
    asked: Version,
    /// The versions that the server said it does not speak.
    refused: Vec<Version>,
    /// The versions with which it failed in some way that may have other causes.
    suspected: Vec<Version>,
    /// The versions that it named last.
    named: Vec<Version>,
}

/// What an answer says about the version.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// The server speaks it.
    Took,
    /// It does not; it may name others.
    Refused(Vec<Version>),
    /// Nothing.
    Nothing,
}

impl Trial {
    /// A trial, where the decision allows one.
    pub(super) fn new(exchange: &Exchange, decision: &Decision) -> Option<Self> {
        let site = &exchange.collected.site.site;
        if !decision.trial() || site.mode == Mode::Observe {
            return None;
        }
        let policy = site.servers.get(decision.server())?.trial.clone()?;
        let declared = exchange.message.as_ref()?.declared.known()?;
        let asked = decision.used()?;
        let attempts = Attempts::new(declared, asked);
        Some(Self {
            policy,
            attempts,
            family: declared.family(),
            asked,
            refused: Vec::new(),
            suspected: Vec::new(),
            named: Vec::new(),
        })
    }

    /// Hears what an answer says.
    pub(super) fn hear(&mut self, arrived: &Arrived, learnt: Option<&Learnt>) -> Told {
        // Of a version that the server took before, only a Status says that it does so no more.
        let takes = learnt.is_some_and(|learnt| learnt.accepts(self.asked));
        let told = told(arrived, &self.policy, self.family, takes);
        if let Told::Refused(named) = &told {
            if !named.is_empty() {
                self.named.clone_from(named);
            }
            // Only a Status says why; what HTTP says may have other causes.
            let list = if arrived.message().is_some() { &mut self.refused } else { &mut self.suspected };
            list.push(self.asked);
        }
        told
    }

    /// The version to ask with next.
    pub(super) fn next(&mut self, named: &[Version], versions: &VersionTable, learnt: Option<&Learnt>) -> Option<Version> {
        self.asked = self.attempts.next(named, &versions.versions(), learnt)?;
        Some(self.asked)
    }

    /// The version of the last attempt.
    pub(super) const fn asked(&self) -> Version {
        self.asked
    }

    /// The versions that the server does not speak. What was only suspected is true when it took another.
    pub(super) fn refused(&self, took: bool) -> Vec<Version> {
        let suspected = self.suspected.iter().filter(|_| took);
        self.refused.iter().chain(suspected).copied().collect()
    }

    /// The versions to tell a device of that was taken in none: those that the server named, else those
    /// that it is said to speak, in either case without those that it has just refused.
    pub(super) fn left(&self, said: &[Version]) -> Vec<Version> {
        let all = if self.named.is_empty() { said } else { &self.named };
        let refused = self.refused(true);
        all.iter().copied().filter(|version| !refused.contains(version)).collect()
    }

    /// Whether it is only by what HTTP says that a version is taken for refused.
    pub(super) fn suspects(&self) -> bool {
        !self.suspected.is_empty()
    }

    /// What went wrong, for the record.
    pub(super) fn detail(&self) -> String {
        let names: Vec<String> = self.refused.iter().chain(&self.suspected).map(Version::to_string).collect();
        format!("the server refused {}", names.join(", "))
    }
}

/// What an answer says about the version of its request. `takes`: the server is known to take it.
pub(super) fn told(arrived: &Arrived, policy: &Policy, family: Family, takes: bool) -> Told {
    let Some((plain, index)) = arrived.message() else {
        // What cannot be read may say that the server has acted.
        if takes || arrived.is_opaque() {
            return Told::Nothing;
        }
        let status = arrived.head.status;
        let by_status = policy.is_on(Trigger::Http(status.as_u16()));
        // Other HTTP errors speak of the way, or of the moment.
        let senseless = status.is_success() || matches!(status.as_u16(), 400 | 500 | 501);
        let refused = by_status || (senseless && policy.is_on(Trigger::NoSyncMl));
        return if refused { Told::Refused(Vec::new()) } else { Told::Nothing };
    };
    let Ok(answer) = syncml::answer::answer(plain, index, family) else { return Told::Nothing };
    match answer.status {
        Some(status) if policy.is_on(Trigger::Status(status)) && !answer.commands && !answer.acted => Told::Refused(answer.named),
        // It may speak of the version, and has acted all the same.
        Some(Status::PROTOCOL_VERSION_NOT_SUPPORTED | Status::DTD_VERSION_NOT_SUPPORTED) | None => Told::Nothing,
        Some(_) => Told::Took,
    }
}
