//! XML: reading a message by spans, and writing fragments and answers.
//!
//! The reader is our own rather than quick-xml's. What protover needs of a message is where things
//! stand in it, to the byte: a prefix, an attribute's value, the identifiers inside a DOCTYPE, the
//! `/>` of an empty element. And it needs each message judged by the letter, since a device and a
//! server may otherwise read two different messages from the same bytes. quick-xml gives whole tags,
//! and leaves names, characters, references, attributes, a DOCTYPE's inside, second roots and missing
//! ends to its caller, so every byte would be looked at twice. quick-xml does what it is best at: it
//! escapes what is written, and the tests hold its reading against ours.

pub(crate) mod attribute;
mod chars;
mod cursor;
mod plain;
mod prologue;
mod scope;
mod text;
pub(crate) mod token;
mod write;

pub use cursor::Cursor;
pub use text::decode;
pub(super) use write::xmlns_as;
pub use write::{Writer, prefix, value};

use super::{
    header::{Encoding, HeaderIndex, Prologue, XmlPrologue},
    limits,
    malformed::{Malformed, Problem},
    scan::header,
};

/// Reads prologue, root tag and SyncHdr.
///
/// # Errors
/// [`Malformed`] as [`super::scan()`].
pub fn scan(raw: &[u8]) -> Result<HeaderIndex, Malformed> {
    let bounded = raw.get(..limits::HEADER).unwrap_or(raw);
    let index = Cursor::document(bounded).and_then(|mut cursor| {
        let prologue = |cursor: &mut Cursor<'_>| {
            let before = cursor.before();
            let (prefix, xmlns) = cursor.name_space();
            let (root, doctype, fpi, dtd_url) = (before.root, before.doctype, before.fpi, before.dtd_url);
            Prologue::Xml(XmlPrologue { root, prefix, xmlns, doctype, fpi, dtd_url })
        };
        header(&mut cursor, Encoding::Xml, prologue)
    });
    match index {
        Err(Malformed { problem: Problem::Truncated, at }) if bounded.len() < raw.len() => {
            Err(Malformed { problem: Problem::TooLarge, at })
        }
        Err(malformed) if malformed.at == u32::MAX => Err(Malformed::new(malformed.problem, raw.len())),
        other => other,
    }
}

#[cfg(test)]
mod tests;
