//! WBXML: the binary form of XML that most handsets send (WAP-192-WBXML, version 1.3 of 25 July 2001).
//!
//! Nothing is converted to XML on the way: a message is read where it stands, and an edit replaces
//! the few bytes that it is about. Nested documents are opaque bytes and stay so.

mod codebook;
mod cursor;
mod dump;
pub(crate) mod head;
mod listing;
mod names;
mod text;
pub(crate) mod token;
pub(crate) mod tokens;
mod write;

pub use cursor::Cursor;
pub use dump::dump;
pub use listing::{Listing, kind, listing};
pub(super) use names::names;
pub use write::{Writer, value};

use super::{
    header::{Encoding, HeaderIndex, Prologue, Span, WbxmlPrologue},
    limits,
    malformed::{Malformed, Problem},
    scan::header,
};
use head::Head;
use tokens::Tokens;

/// Reads the header, the root's tag and SyncHdr.
///
/// # Errors
/// [`Malformed`] as [`super::scan()`].
pub fn scan(raw: &[u8]) -> Result<HeaderIndex, Malformed> {
    let bounded = raw.get(..limits::HEADER).unwrap_or(raw);
    match read(bounded) {
        Err(Malformed { problem: Problem::Truncated, at }) if bounded.len() < raw.len() => {
            Err(Malformed { problem: Problem::TooLarge, at })
        }
        Err(malformed) if malformed.at == u32::MAX => Err(Malformed::new(malformed.problem, raw.len())),
        other => other,
    }
}

fn read(raw: &[u8]) -> Result<HeaderIndex, Malformed> {
    let head = Head::read(raw)?;
    let mut cursor = Cursor::new(Tokens::new(raw, &head));
    header(&mut cursor, Encoding::Wbxml, |cursor: &mut Cursor<'_>| {
        Prologue::Wbxml(WbxmlPrologue {
            version: head.version,
            public_id: head.public_id,
            charset: head.charset,
            string_table: head.string_table,
            xmlns: names::xmlns(raw, head.string_table, cursor.root_attributes()),
        })
    })
}

/// The characters of a value in several pieces.
#[must_use]
pub(super) fn decode(raw: &[u8], prologue: &WbxmlPrologue, span: Span) -> String {
    let bytes = text::pieces(raw, prologue.string_table, span);
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Whether values of a message in this charset may be replaced by ASCII: UTF-8, US-ASCII, or
/// unknown, which means UTF-8 as well. A message in another charset is passed on or refused as it is.
pub(super) const fn editable(prologue: &WbxmlPrologue) -> bool {
    head::is_utf8(prologue.charset)
}

/// What to put in the place of an element that is dropped, so that what follows it is read in the
/// same code page as before: nothing, or a switch. `before` is the page behind its Start, `after`
/// the one behind its End.
#[must_use]
pub fn dropped(before: u8, after: u8) -> Vec<u8> {
    if before == after { Vec::new() } else { vec![token::SWITCH_PAGE, after] }
}

#[cfg(test)]
mod tests;
