//! The decision that a session began with. It holds for all its messages.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{FORM, name};
use crate::syncml::version::Version;

/// What is kept of a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    v: u8,
    /// What is done with the messages.
    pub kept: Kept,
    /// The version that the device declares.
    #[serde(with = "name")]
    pub declared: Option<Version>,
    /// The version that the server sees.
    #[serde(with = "name")]
    pub used: Option<Version>,
    /// The version that is recommended.
    #[serde(with = "name")]
    pub recommended: Option<Version>,
    /// The server's name: its place in the policy may change.
    pub server: String,
    /// Whether a bridge may drop what the other version has no word for.
    pub lossy: bool,
    /// Whether the device's account is to learn the recommended version.
    #[serde(default)]
    pub account: bool,
    /// The rule that decided.
    pub rule: Option<String>,
    /// The digest of the policy that decided.
    pub policy: String,
}

/// The verdicts that a session can go on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kept {
    /// Passed as they are.
    Pass,
    /// Passed, with the recommended version in the answer.
    Advise,
    /// Rewritten, both ways.
    Bridge,
}

impl Pin {
    /// A decision to keep; the rest is filled in by the caller.
    #[must_use]
    pub fn new(kept: Kept, server: &str, policy: &str) -> Self {
        Self {
            v: FORM,
            kept,
            declared: None,
            used: None,
            recommended: None,
            server: server.to_owned(),
            lossy: false,
            account: false,
            rule: None,
            policy: policy.to_owned(),
        }
    }

    /// Reads a stored value. `None` when it cannot be read.
    #[must_use]
    pub fn read(value: &[u8]) -> Option<Self> {
        serde_json::from_slice(value).ok().filter(|pin: &Self| pin.v <= FORM)
    }

    /// The value to store.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// Where something about a session is kept: by site, device and SessionID, as the opaque strings that they
/// are. Hashed, since device identifiers are IMEIs and a store is read by more people than a handset;
/// with lengths, so that no two sessions share a key. `what` tells the values of one session apart.
#[must_use]
pub fn key(what: &str, site: &str, device: &str, session: &str) -> String {
    let mut hash = Sha256::new();
    for part in [site, device, session] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut key = String::with_capacity(what.len() + 1 + 32);
    key.push_str(what);
    key.push(':');
    for byte in hash.finalize().iter().take(16) {
        for digit in [byte >> 4, byte & 15] {
            key.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_comes_back_as_it_was_stored() {
        let mut pin = Pin::new(Kept::Bridge, "dm11", "0123456789abcdef");
        pin.declared = Some(Version::DM_1_2);
        pin.used = Some(Version::DM_1_1);
        pin.lossy = true;
        pin.rule = Some("canary".to_owned());
        assert_eq!(Pin::read(&pin.write()), Some(pin));
    }

    #[test]
    fn a_pin_of_a_later_form_is_none() {
        let text = String::from_utf8(Pin::new(Kept::Pass, "a", "b").write()).expect("JSON");
        assert!(Pin::read(text.as_bytes()).is_some());
        assert!(Pin::read(text.replace("\"v\":1", "\"v\":2").as_bytes()).is_none());
        assert!(Pin::read(text.replace("\"v\":1", "\"v\":1,\"more\":[1]").as_bytes()).is_some());
        assert!(Pin::read(b"{}").is_none());
    }

    #[test]
    fn no_two_sessions_share_a_key() {
        let keys = [
            key("pin", "operator", "IMEI:1", "1"),
            key("pin", "operator", "IMEI:", "11"),
            key("pin", "operatorI", "MEI:1", "1"),
            key("pin", "it", "IMEI:1", "1"),
            key("uri", "operator", "IMEI:1", "1"),
        ];
        for (at, one) in keys.iter().enumerate() {
            assert!(keys.iter().skip(at + 1).all(|other| other != one));
            assert!(!one.contains("IMEI"));
        }
    }
}
