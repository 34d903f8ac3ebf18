//! SyncML messages: from bytes to meaning and back. Pure: no clock, no I/O, nothing async.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

pub mod alert;
pub mod answer;
pub mod body;
pub mod bridge;
pub mod edit;
pub mod element;
pub mod header;
pub mod hint;
pub mod integrity;
pub mod limits;
pub mod malformed;
pub mod media_type;
pub mod reply;
pub mod scan;
pub mod status;
pub mod version;
pub mod wbxml;
pub mod write;
pub mod xml;

mod check;

pub use alert::started_by;
pub use check::check;

use header::{Encoding, HeaderIndex};
use malformed::Malformed;

/// Reads a message up to the end of SyncHdr, and no further.
///
/// # Errors
/// [`Malformed`] when what stands there is not well-formed, is no SyncHdr, lacks VerDTD, VerProto,
/// SessionID, MsgID, Target/LocURI or Source/LocURI, has something twice, or exceeds [`limits`].
pub fn scan(encoding: Encoding, raw: &[u8]) -> Result<HeaderIndex, Malformed> {
    match encoding {
        Encoding::Xml => xml::scan(raw),
        Encoding::Wbxml => wbxml::scan(raw),
    }
}
