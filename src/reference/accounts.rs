//! What a device knows of its servers.

use std::collections::BTreeMap;

use crate::syncml::version::Version;

/// Which version the device uses with a server: requirements Client-1 to Client-4.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    stored: BTreeMap<String, Version>,
}

impl Accounts {
    /// Stores the version that a server recommended, or that its account came with.
    pub fn store(&mut self, server: &str, version: Version) {
        self.stored.insert(server.to_owned(), version);
    }

    /// The version for a session. `speaks` are the device's own. A notified version comes first
    /// (Client-1), then the stored one (Client-4); when the device does not speak it, the highest below
    /// it (Client-2), never one above (Client-3). `None` when it speaks no such version.
    #[must_use]
    pub fn select(&self, server: &str, speaks: &[Version], notified: Option<Version>) -> Option<Version> {
        let limit = notified.or_else(|| self.stored.get(server).copied());
        let allowed = speaks.iter().copied().filter(|version| limit.is_none_or(|limit| *version <= limit));
        allowed.reduce(|highest, version| if version > highest { version } else { highest })
    }
}
