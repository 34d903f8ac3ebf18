//! The same walk as [`decide`](super::decide::decide), with the reasons on the way.

use std::sync::Arc;

use super::{decide, decision::Decision, facts::Facts, matching::Subject, site::Site};
use crate::syncml::version::VersionTable;

pub use super::matching::Condition;

/// A decision, and the rules that did not make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The decision.
    pub decision: Decision,
    /// The rules in front of the one that matched, all of them when none did: name, and the first
    /// condition that does not hold.
    pub missed: Vec<(Arc<str>, Condition)>,
}

/// Decides, and says why earlier rules did not match.
#[must_use]
pub fn explain(site: &Site, versions: &VersionTable, facts: &Facts<'_>) -> Explanation {
    let subject = Subject::new(facts);
    let mut missed = Vec::new();
    let mut matched = None;
    for rule in &site.rules {
        match subject.misses(rule) {
            Some(condition) => missed.push((Arc::clone(&rule.name), condition)),
            None => {
                matched = Some(rule);
                break;
            }
        }
    }
    Explanation { decision: decide::by(site, versions, facts, matched), missed }
}
