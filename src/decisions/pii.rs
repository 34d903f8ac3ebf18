//! Device identifiers are IMEIs: they appear only as the operator allows.

use std::{fmt, fs, io, path::Path};

use hmac::{Hmac, KeyInit, Mac};
use serde::{Serialize, Serializer};
use sha2::Sha256;

use crate::policy::site::{Decisions, DeviceIds};

/// The fewest bytes of a key file.
const KEY: usize = 16;
/// How many bytes of the hash are shown: enough to tell a hundred million devices apart.
const SHOWN: usize = 8;

/// An identifier of a device, as it may be shown: itself, a keyed hash, or nothing. The identifier
/// is not kept when it may not be shown, so no way of printing this can leak it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pii(Option<Box<str>>);

impl Pii {
    /// What may be shown; `None` when nothing may.
    #[must_use]
    pub fn shown(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl fmt::Display for Pii {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown().unwrap_or("(omitted)"))
    }
}

impl fmt::Debug for Pii {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pii({self})")
    }
}

impl Serialize for Pii {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// How identifiers are shown.
pub(super) enum Shown {
    Plain,
    /// HMAC-SHA256 with the key in it: whoever has the log but not the key cannot try all IMEIs.
    Hash(Box<Hmac<Sha256>>),
    Omit,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "Plain",
            Self::Hash(_) => "Hash",
            Self::Omit => "Omit",
        })
    }
}

impl Shown {
    pub(super) fn new(settings: &Decisions) -> io::Result<Self> {
        Ok(match settings.device {
            DeviceIds::Plain => Self::Plain,
            DeviceIds::Omit => Self::Omit,
            DeviceIds::Hash => {
                let key = settings.key_file.as_deref().map_or_else(random_key, read_key)?;
                let keyed = Hmac::new_from_slice(&key).map_err(io::Error::other)?;
                Self::Hash(Box::new(keyed))
            }
        })
    }

    pub(super) fn show(&self, identifier: &str) -> Pii {
        Pii(match self {
            Self::Plain => Some(identifier.into()),
            Self::Hash(keyed) => {
                let mut mac = (**keyed).clone();
                mac.update(identifier.as_bytes());
                let hash = mac.finalize().into_bytes();
                Some(hash.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect::<String>().into())
            }
            Self::Omit => None,
        })
    }
}

/// The bytes of a key file without the line end that editors add.
fn read_key(path: &Path) -> io::Result<Vec<u8>> {
    let named =
        |what: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("decisions.key_file {}: {what}", path.display()));
    let mut key = fs::read(path).map_err(|error| io::Error::new(error.kind(), named(&error.to_string())))?;
    while key.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        key.pop();
    }
    if key.len() < KEY { Err(named("a key needs 16 bytes or more")) } else { Ok(key) }
}

fn random_key() -> io::Result<Vec<u8>> {
    let mut key = vec![0; 32];
    let provider = rustls::crypto::ring::default_provider();
    provider.secure_random.fill(&mut key).map_err(|_| io::Error::other("no random numbers for the key of device hashes"))?;
    super::sink::say(
        "device identifiers are hashed with a random key; they change at every start (decisions.key_file keeps them)",
    );
    Ok(key)
}
