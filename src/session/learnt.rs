//! What was learnt of a server by trial.

use serde::{Deserialize, Serialize};

use super::{FORM, names};
use crate::syncml::version::{Family, Version};

/// The versions that a server took and those that it refused, as far as they were tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learnt {
    v: u8,
    #[serde(with = "names")]
    accepted: Vec<Version>,
    #[serde(with = "names")]
    refused: Vec<Version>,
    /// When the first of it was learnt, in seconds since 1970.
    since: u64,
}

impl Learnt {
    /// Nothing, as yet.
    #[must_use]
    pub const fn nothing(now: u64) -> Self {
        Self { v: FORM, accepted: Vec::new(), refused: Vec::new(), since: now }
    }

    /// Reads a stored value. `None` when it cannot be read, or is older than `keep` seconds: then it is
    /// time to try again, since servers are upgraded.
    #[must_use]
    pub fn read(value: &[u8], now: u64, keep: u64) -> Option<Self> {
        let learnt: Self = serde_json::from_slice(value).ok()?;
        (learnt.v <= FORM && learnt.age(now) < keep).then_some(learnt)
    }

    /// The value to store.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Where the value for a server of a site is kept. Under another URL it is another server.
    #[must_use]
    pub fn key(site: &str, server: &str, url: &str) -> String {
        // Lengths in front, so that no two of them make the same key.
        format!("learnt:{}:{site}:{}:{server}:{url}", site.len(), server.len())
    }

    /// How many seconds old it is.
    #[must_use]
    pub const fn age(&self, now: u64) -> u64 {
        now.saturating_sub(self.since)
    }

    /// Whether the server took a version.
    #[must_use]
    pub fn accepts(&self, version: Version) -> bool {
        self.accepted.contains(&version)
    }

    /// Whether the server refused a version.
    #[must_use]
    pub fn refuses(&self, version: Version) -> bool {
        self.refused.contains(&version)
    }

    /// The versions of a family that the server took.
    pub fn accepted(&self, family: Family) -> impl Iterator<Item = Version> + '_ {
        self.accepted.iter().copied().filter(move |version| version.family() == family)
    }

    /// The versions that the server refused.
    #[must_use]
    pub fn refused(&self) -> &[Version] {
        &self.refused
    }

    /// Takes down that the server took a version, whatever was known before. Whether that is new.
    pub fn accept(&mut self, version: Version) -> bool {
        self.refused.retain(|other| *other != version);
        add(&mut self.accepted, version)
    }

    /// Takes down that the server refused a version, whatever was known before. Whether that is new.
    pub fn refuse(&mut self, version: Version) -> bool {
        self.accepted.retain(|other| *other != version);
        add(&mut self.refused, version)
    }
}

fn add(versions: &mut Vec<Version>, version: Version) -> bool {
    let new = !versions.contains(&version);
    if new {
        versions.push(version);
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_learnt_comes_back_as_it_was_stored() {
        let mut learnt = Learnt::nothing(100);
        assert!(learnt.refuse(Version::DM_1_3));
        assert!(!learnt.refuse(Version::DM_1_3));
        assert!(learnt.accept(Version::DM_1_2));
        let read = Learnt::read(&learnt.write(), 150, 3600).expect("readable");
        assert_eq!(read, learnt);
        assert_eq!(read.age(150), 50);
        assert!(read.accepts(Version::DM_1_2) && read.refuses(Version::DM_1_3));
        assert_eq!(read.accepted(Family::SyncMl).count(), 0);
    }

    #[test]
    fn a_later_answer_overturns_an_earlier_one() {
        let mut learnt = Learnt::nothing(0);
        learnt.accept(Version::DM_1_2);
        assert!(learnt.refuse(Version::DM_1_2));
        assert!(!learnt.accepts(Version::DM_1_2));
        assert!(learnt.accept(Version::DM_1_2));
        assert!(!learnt.refuses(Version::DM_1_2));
    }

    #[test]
    fn what_is_old_or_of_a_later_form_is_nothing() {
        let learnt = Learnt::nothing(100);
        assert!(Learnt::read(&learnt.write(), 3700, 3600).is_none());
        assert!(Learnt::read(br#"{"v":2,"accepted":[],"refused":[],"since":100}"#, 100, 3600).is_none());
        assert!(Learnt::read(b"", 0, 1).is_none());
        // A later release may add to this form, and know other versions.
        let read = Learnt::read(br#"{"v":1,"accepted":["DM/1.2","XX"],"refused":[],"since":9,"new":1}"#, 10, 60);
        assert!(read.is_some_and(|learnt| learnt.accepts(Version::DM_1_2)));
    }

    #[test]
    fn no_two_servers_share_a_key() {
        assert_ne!(Learnt::key("a:b", "c", "d"), Learnt::key("a", "b:c", "d"));
        assert_ne!(Learnt::key("a", "b:c", "d"), Learnt::key("a", "b", "c:d"));
    }
}
