//! The digest in front of a notification (OMA-TS-DM_Security-V1_2_1, section 5.5.1):
//! `H(B64(H(server-id ":" server-password)) ":" nonce ":" B64(H(trigger)))`, with MD5 for H.

use crate::syncml::integrity::{Key, mac};

/// The nonce by which both sides find together again when they have lost the other's.
pub const RESYNC: [u8; 4] = [0; 4];

/// The digest of a trigger: everything behind the digest. `key.user` is the server's identifier. It is made
/// as the MACs of messages are.
#[must_use]
pub fn digest(key: &Key<'_>, trigger: &[u8]) -> [u8; 16] {
    mac(key, trigger)
}
