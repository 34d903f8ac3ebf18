//! With which versions a server is asked, one after another.

use super::Learnt;
use crate::syncml::version::Version;

/// The versions of one trial: each is asked with once.
#[derive(Clone, Debug)]
pub struct Attempts {
    declared: Version,
    tried: Vec<Version>,
}

impl Attempts {
    /// A trial for a message that declares `declared`, and was sent as `first`.
    #[must_use]
    pub fn new(declared: Version, first: Version) -> Self {
        Self { declared, tried: vec![first] }
    }

    /// The version to ask with next: the first that the server's answer `named`, else the device's own,
    /// else the next lower, and when there is none below, the next above. Only of the device's family, of
    /// those that are `known`, and none that the server refused lately; but what was learnt counts for
    /// nothing when the server has refused what it was said to take.
    pub fn next(&mut self, named: &[Version], known: &[Version], learnt: Option<&Learnt>) -> Option<Version> {
        let family = self.declared.family();
        let fits = |version: &&Version| version.family() == family && !self.tried.contains(version) && known.contains(version);
        let learnt = learnt.filter(|learnt| !self.tried.iter().any(|version| learnt.accepts(*version)));
        let untried = |version: &&Version| fits(version) && !learnt.is_some_and(|learnt| learnt.refuses(**version));
        let own = || Some(&self.declared).filter(untried);
        let by_number = |a: &&Version, b: &&Version| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal);
        let below = || known.iter().filter(untried).filter(|version| **version < self.declared).max_by(by_number);
        let above = || known.iter().filter(untried).filter(|version| **version > self.declared).min_by(by_number);
        // What the server names now counts for more than what it refused once.
        let next = named.iter().find(fits).or_else(own).or_else(below).or_else(above).copied()?;
        self.tried.push(next);
        Some(next)
    }

    /// What was asked with, in that order.
    #[must_use]
    pub fn tried(&self) -> &[Version] {
        &self.tried
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syncml::version::VersionTable;

    fn order(declared: Version, named: &[Version], learnt: Option<&Learnt>) -> Vec<String> {
        let known = VersionTable::default().versions();
        let mut attempts = Attempts::new(declared, declared);
        while attempts.next(named, &known, learnt).is_some() {}
        attempts.tried().iter().map(Version::to_string).collect()
    }

    #[test]
    fn each_version_once_the_named_ones_first_then_down_then_up() {
        assert_eq!(order(Version::DM_1_3, &[], None), ["DM/1.3", "DM/1.2", "DM/1.1"]);
        assert_eq!(order(Version::DM_1_2, &[], None), ["DM/1.2", "DM/1.1", "DM/1.3"]);
        assert_eq!(order(Version::DM_1_1, &[], None), ["DM/1.1", "DM/1.2", "DM/1.3"]);
        assert_eq!(order(Version::DM_1_3, &[Version::DM_1_1], None), ["DM/1.3", "DM/1.1", "DM/1.2"]);
        assert_eq!(order(Version::SYNCML_1_2, &[Version::DM_1_1], None), ["SyncML/1.2", "SyncML/1.1", "SyncML/1.0"]);
    }

    #[test]
    fn what_was_refused_lately_is_not_asked_again_unless_it_is_named() {
        let mut learnt = Learnt::nothing(0);
        learnt.refuse(Version::DM_1_2);
        assert_eq!(order(Version::DM_1_3, &[], Some(&learnt)), ["DM/1.3", "DM/1.1"]);
        assert_eq!(order(Version::DM_1_3, &[Version::DM_1_2], Some(&learnt)), ["DM/1.3", "DM/1.2", "DM/1.1"]);
    }

    #[test]
    fn a_server_that_refuses_what_it_took_is_asked_in_all_versions() {
        let mut learnt = Learnt::nothing(0);
        learnt.refuse(Version::DM_1_2);
        learnt.accept(Version::DM_1_1);
        let known = VersionTable::default().versions();
        let mut attempts = Attempts::new(Version::DM_1_2, Version::DM_1_1);
        assert_eq!(attempts.next(&[], &known, Some(&learnt)), Some(Version::DM_1_2));
        assert_eq!(attempts.next(&[], &known, Some(&learnt)), Some(Version::DM_1_3));
        assert_eq!(attempts.next(&[], &known, Some(&learnt)), None);
    }
}
