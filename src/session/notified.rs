//! The version that a device was notified of: the session that answers is judged by it.

use serde::{Deserialize, Serialize};

use super::{FORM, name};
use crate::syncml::version::Version;

/// A notification that is waiting for its session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notified {
    v: u8,
    #[serde(with = "name")]
    version: Option<Version>,
    /// Stands for the address that it went to.
    to: String,
    /// Whether another device was notified with the same session id since.
    ambiguous: bool,
}

impl Notified {
    /// A notification that says a version, to an address; `before` is what waits under its session id.
    /// Notifications do not name the device, so two of them under one id are told from each other by
    /// nothing.
    #[must_use]
    pub fn new(version: Version, to: &str, before: Option<&Self>) -> Self {
        let ambiguous = before.is_some_and(|before| before.ambiguous || before.to != to);
        Self { v: FORM, version: Some(version), to: to.to_owned(), ambiguous }
    }

    /// Where it waits: by the site, and the session id however it is written.
    #[must_use]
    pub fn key(site: &str, session: &str) -> String {
        let session = session.trim().trim_start_matches('0').to_ascii_uppercase();
        format!("notified:{}:{site}:{session}", site.len())
    }

    /// Reads a stored value. `None` when it cannot be read.
    #[must_use]
    pub fn read(value: &[u8]) -> Option<Self> {
        serde_json::from_slice(value).ok().filter(|notified: &Self| notified.v <= FORM)
    }

    /// The value to store.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The version; `None` when it cannot be told which device it is for.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.version.filter(|_| !self.ambiguous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_devices_under_one_session_id_are_never_guessed() {
        let first = Notified::new(Version::DM_1_2, "a", None);
        let again = Notified::new(Version::DM_1_3, "a", Notified::read(&first.write()).as_ref());
        assert_eq!(again.version(), Some(Version::DM_1_3));
        let other = Notified::new(Version::DM_1_2, "b", Some(&again));
        assert_eq!(other.version(), None);
        assert_eq!(Notified::new(Version::DM_1_2, "b", Some(&other)).version(), None, "still");
    }

    #[test]
    fn a_session_id_is_the_same_however_it_is_written() {
        assert_eq!(Notified::key("s", "00ab"), Notified::key("s", "AB"));
        assert_ne!(Notified::key("s", "AB"), Notified::key("s", "AB0"));
        assert_ne!(Notified::key("s:1", "A"), Notified::key("s", "1:A"));
    }
}
