//! The same walk as [`decide`](super::decide::decide), with the reasons on the way.

use std::sync::Arc;

use super::{
    decide,
    decision::Decision,
    facts::{Content, Facts},
    glob::Glob,
    matching::{Subject, bucket},
    site::{Rule, Site},
};
use crate::syncml::version::VersionTable;

pub use super::matching::Condition;

/// A decision, and the rules that did not make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The decision.
    pub decision: Decision,
    /// The rules in front of the one that matched; all of them when none did.
    pub missed: Vec<Missed>,
}

/// A rule that did not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed {
    /// Its name.
    pub rule: Arc<str>,
    /// The first condition that does not hold.
    pub condition: Condition,
    /// What the rule wants there.
    pub wanted: String,
    /// What is there, if anything.
    pub is: Option<String>,
}

/// Decides, and says why earlier rules did not match.
#[must_use]
pub fn explain(site: &Site, versions: &VersionTable, facts: &Facts<'_>) -> Explanation {
    let subject = Subject::new(facts);
    let mut missed = Vec::new();
    let mut matched = None;
    for rule in &site.rules {
        match subject.misses(rule) {
            Some(condition) => missed.push(miss(rule, condition, facts)),
            None => {
                matched = Some(rule);
                break;
            }
        }
    }
    Explanation { decision: decide::by(site, versions, facts, matched), missed }
}

/// What a rule wants, and what it found.
fn miss(rule: &Rule, condition: Condition, facts: &Facts<'_>) -> Missed {
    let when = &rule.when;
    let message = match &facts.content {
        Content::Message(message) => Some(message),
        Content::Malformed | Content::NotSyncMl | Content::Dm2 => None,
    };
    let glob = |glob: &Option<Glob>| glob.as_ref().map(Glob::pattern);
    let per_cent = |hundredths: u16| format!("{}.{:02}%", hundredths / 100, hundredths % 100);
    let (wanted, is) = match condition {
        Condition::Version => {
            let any: Vec<String> = when.version.iter().flatten().map(ToString::to_string).collect();
            (Some(any.join(", ")), message.map(|message| message.declared.to_string()))
        }
        Condition::Device => (glob(&when.device), message.map(|message| message.device.to_string())),
        Condition::UserAgent => (glob(&when.user_agent), facts.user_agent.map(str::to_owned)),
        Condition::Encoding => {
            (when.encoding.map(|encoding| encoding.name().to_owned()), message.map(|message| message.encoding.name().to_owned()))
        }
        Condition::ClientCertificate => (glob(&when.client_certificate), facts.client_certificate.map(str::to_owned)),
        Condition::ClientFingerprint => {
            (when.client_fingerprint.as_ref().map(|any| any.join(", ")), facts.client_fingerprint.map(str::to_owned))
        }
        Condition::Path => (glob(&when.path), Some(facts.path.to_owned())),
        Condition::StartedBy => (
            when.started_by.map(|by| by.code().to_owned()),
            message.and_then(|message| message.started_by).map(|by| by.code().to_owned()),
        ),
        Condition::Share => (
            when.share.map(|share| format!("below {}", per_cent(share))),
            message.map(|message| per_cent(bucket(&message.device))),
        ),
    };
    Missed { rule: Arc::clone(&rule.name), condition, wanted: wanted.unwrap_or_default(), is }
}
