//! Messages that protover writes itself.

use super::{
    bridge::Obstacle,
    header::HeaderIndex,
    status::Status,
    version::{Forms, Version, VersionTable},
};

/// What a refusal says.
#[derive(Clone, Copy, Debug)]
pub struct Refusal<'a> {
    /// 513, or 505 for the DTD.
    pub status: Status,
    /// The versions to list, the recommended one first.
    pub supported: &'a [Version],
    /// The recommended version.
    pub recommended: Option<Version>,
    /// The forms of every version.
    pub table: &'a VersionTable,
}

/// The answer to a client's message whose version is not supported (Server-3).
#[must_use]
pub fn refusal(_raw: &[u8], _index: &HeaderIndex, _refusal: &Refusal<'_>) -> Vec<u8> {
    Vec::new()
}

/// The answer to a client whose message cannot go to the server.
#[must_use]
pub fn cannot_go(_raw: &[u8], _index: &HeaderIndex, _obstacle: &Obstacle) -> Vec<u8> {
    Vec::new()
}

/// The answer to a client when the server's answer cannot come back. `raw` is the client's message.
#[must_use]
pub fn cannot_come(_raw: &[u8], _index: &HeaderIndex) -> Vec<u8> {
    Vec::new()
}

/// A message to the server in the client's stead, when the server's answer (`raw`) cannot go to the
/// client: answers it and ends the session. `client` are the forms the server speaks; `msg_id` is
/// the client's last.
#[must_use]
pub fn in_the_clients_stead(_raw: &[u8], _index: &HeaderIndex, _obstacle: &Obstacle, _forms: &Forms, _msg_id: &str) -> Vec<u8> {
    Vec::new()
}
