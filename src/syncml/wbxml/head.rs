//! What stands before the root: version, public identifier, charset and string table
//! (WAP-192-WBXML, sections 5.4 to 5.7).

use super::{
    token::{US_ASCII, UTF_8},
    tokens::{in_table, integer},
};
use crate::syncml::{
    header::{PublicId, Span},
    malformed::{Malformed, Problem},
};

/// What stands before the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The version byte: `02` is 1.2.
    pub(crate) version: u8,
    pub(crate) public_id: PublicId,
    /// An IANA MIBenum; 0 when unknown, and in WBXML 1.0, which does not say.
    pub(crate) charset: u32,
    /// Of a textual public identifier: the index of the string.
    pub(crate) index: Span,
    /// The length of the string table.
    pub(crate) table_len: Span,
    /// Without its length.
    pub(crate) string_table: Span,
    /// The first byte of the body.
    pub(crate) body: usize,
}

impl Head {
    /// Reads it.
    pub(crate) fn read(raw: &[u8]) -> Result<Self, Malformed> {
        let version = *raw.first().ok_or(Malformed::new(Problem::Truncated, 0))?;
        if version > 0x03 {
            return Err(Malformed::new(Problem::Syntax, 0));
        }
        let mut at = 1;
        let number = integer(raw, &mut at)?;
        let place = Span::new(1..at);
        let text = if number == 0 { Some(integer(raw, &mut at)?) } else { None };
        let index = Span::new(place.range().end..at);
        let charset_at = at;
        let charset = if version == 0x00 { 0 } else { integer(raw, &mut at)? };
        if !readable(charset) {
            return Err(Malformed::new(Problem::Charset, charset_at));
        }
        let len_at = at;
        let len = integer(raw, &mut at)? as usize;
        let table_len = Span::new(len_at..at);
        let body = at.checked_add(len).filter(|body| *body <= raw.len());
        let body = body.ok_or(Malformed::new(Problem::Truncated, raw.len()))?;
        let string_table = Span::new(at..body);
        let public_id = match text {
            None => PublicId::Number { value: number, place },
            Some(offset) => {
                let fpi = in_table(raw, string_table, offset);
                PublicId::Text { fpi: fpi.ok_or(Malformed { problem: Problem::Reference, at: index.start })? }
            }
        };
        Ok(Self { version, public_id, charset, index, table_len, string_table, body })
    }
}

/// Whether a charset is UTF-8 or a part of it, or said to be unknown, which means UTF-8 as well.
pub(crate) const fn is_utf8(charset: u32) -> bool {
    matches!(charset, 0 | US_ASCII | UTF_8)
}

/// Whether the tokens of a document in this charset can be told apart, and plain letters and digits
/// read: strings end with one NUL byte, and ASCII bytes mean ASCII.
const fn readable(charset: u32) -> bool {
    // ISO 8859, Shift_JIS, EUC, GB, Big5, KOI8 and the code pages of Windows. Not the stateful
    // ISO 2022, nor what takes two or four bytes for a letter, nor EBCDIC.
    is_utf8(charset) || matches!(charset, 4..=13 | 17 | 18 | 38 | 109..=114 | 2025 | 2026 | 2084 | 2088 | 2250..=2259)
}
