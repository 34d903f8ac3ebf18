//! The recommended version inside a message.

use super::{edit::Edits, header::HeaderIndex, version::Version};

/// Appends an Item with the version to the Status that answers the SyncHdr. `None` when there is no
/// such Status, or it says so already.
#[must_use]
pub fn status_item(_raw: &[u8], _index: &HeaderIndex, _recommended: Version) -> Option<Edits> {
    None
}

/// Adds `<EMI xmlns="syncml:metinf">DM-Recommended-Version=…</EMI>` to SyncHdr/Meta. `None` when it
/// is there already.
#[must_use]
pub fn header_meta(_raw: &[u8], _index: &HeaderIndex, _recommended: Version) -> Option<Edits> {
    None
}
