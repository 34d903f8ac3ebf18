//! Values that are written in several pieces.

use super::tokens::{Any, Kind, Token, Tokens};
use crate::syncml::header::Span;

/// The bytes of all pieces in a span, one after the other, without NULs at the end. It stops where
/// something else stands, and where more is looked up in the string table than any message needs.
pub(super) fn pieces(raw: &[u8], table: Span, span: Span) -> Vec<u8> {
    let mut out = Vec::new();
    let mut tokens = Tokens::at(raw.get(..span.range().end).unwrap_or_default(), span.range().start, table, 0);
    while let Ok(Some(Token::Piece(piece))) = tokens.next() {
        match piece.kind {
            Kind::Entity(character) => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            Kind::Inline | Kind::Table | Kind::Opaque => out.extend_from_slice(piece.text.of(raw)),
        }
    }
    while out.last() == Some(&0) {
        out.pop();
    }
    out
}

/// The code page that the last switch between the pieces goes to.
pub(super) fn last_switch(raw: &[u8], table: Span, span: Span) -> Option<u8> {
    let mut tokens = Tokens::at(raw.get(..span.range().end).unwrap_or_default(), span.range().start, table, 0);
    let mut page = None;
    while let Ok(Some(any)) = tokens.any() {
        if let Any::Switch(_) = any {
            page = Some(tokens.page());
        }
    }
    page
}
