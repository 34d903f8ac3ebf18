//! How a session went.

use crate::syncml::version::Version;

/// A message that was sent, and what came back.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The message.
    pub sent: Vec<u8>,
    /// The HTTP status of the answer.
    pub http_status: u16,
    /// The answer.
    pub got: Vec<u8>,
    /// The version that the answer declares.
    pub version: Option<String>,
    /// `DM-Recommended-Version` of the answer.
    pub recommended: Option<Version>,
    /// The Items in the Status of the SyncHdr.
    pub items: Vec<String>,
}

/// A server's command that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// The command.
    pub name: String,
    /// Its Target.
    pub target: String,
}

/// The error that ended a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The status of the SyncHdr.
    pub status: String,
    /// The Items with it.
    pub items: Vec<String>,
}

/// How a session went.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The versions of the sessions that were begun, one after another.
    pub versions: Vec<Version>,
    /// Every message, of all of them.
    pub exchanges: Vec<Exchange>,
    /// Every command that was carried out.
    pub carried_out: Vec<Carried>,
    /// The server refused.
    pub refused: Option<Refused>,
    /// The device gave up, and why.
    pub gave_up: Option<String>,
}

impl Outcome {
    /// Whether the session came to its regular end.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.refused.is_none() && self.gave_up.is_none()
    }

    /// The version that was recommended last.
    #[must_use]
    pub fn recommended(&self) -> Option<Version> {
        self.exchanges.iter().rev().find_map(|exchange| exchange.recommended)
    }
}
