//! What has to be remembered between the messages of a session, and between sessions: the decision that
//! a session began with, what was learnt of servers that do not say what they speak, the nonces of MACs, and
//! what is known of a device's account.
//!
//! Nothing here knows where it is kept: these are values, and the keys they are found under. Each says
//! with `v` which release can read it, so that two releases can share one store. A reader ignores what
//! it does not know, and takes a value of a later form for none at all.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

mod account;
mod address;
mod attempts;
mod injected;
mod learnt;
mod nonces;
mod notified;
mod pin;

pub use account::{Account, Left, Step, Wanted};
pub use address::Address;
pub use attempts::Attempts;
pub use injected::{Injected, Injection};
pub use learnt::Learnt;
pub use nonces::Nonces;
pub use notified::Notified;
pub use pin::{Kept, Pin, key};

/// The form of the values that this release writes, and the latest that it reads.
const FORM: u8 = 1;

/// Versions in stored values, by their VerProto.
mod names {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::syncml::version::Version;

    pub(super) fn serialize<S: Serializer>(versions: &[Version], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(versions.iter().map(Version::to_string))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Version>, D::Error> {
        // One of a later release is as good as none.
        Ok(Vec::<String>::deserialize(from)?.iter().filter_map(|text| Version::parse(text)).collect())
    }
}

/// A version in stored values.
mod name {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use crate::syncml::version::Version;

    #[allow(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
    pub(super) fn serialize<S: Serializer>(version: &Option<Version>, to: S) -> Result<S::Ok, S::Error> {
        version.map(|version| version.to_string()).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Version>, D::Error> {
        let Some(text) = Option::<String>::deserialize(from)? else { return Ok(None) };
        Version::parse(&text).map(Some).ok_or_else(|| D::Error::custom("not a version"))
    }
}
