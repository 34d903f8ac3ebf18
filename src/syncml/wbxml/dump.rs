//! A document token by token, with the bytes of each, for people to read.

use std::fmt::Write as _;

use super::{
    codebook::Codebook,
    head::Head,
    listing::{Listing, charset, hex, public_id, shown, tag_name},
    tokens::{Any, Kind, Piece, Token, Tokens, in_table},
};
use crate::syncml::{
    header::Span,
    limits,
    malformed::{Malformed, Problem},
};

/// How many bytes of a token are shown.
const SHOWN: usize = 8;

/// Shows a document token by token. Nested documents are opaque bytes.
#[must_use]
pub fn dump(raw: &[u8]) -> Listing {
    let mut text = String::new();
    let malformed = Head::read(raw).and_then(|head| {
        heading(&mut text, raw, &head);
        body(&mut text, raw, &head)
    });
    Listing { text, malformed: malformed.err() }
}

fn heading(out: &mut String, raw: &[u8], head: &Head) {
    let charset_at = head.index.range().end;
    line(out, raw, Span::new(0..1), 0, &format!("version 1.{}", head.version));
    line(out, raw, Span::new(1..charset_at), 0, &format!("public id {}", public_id(raw, head)));
    if head.version > 0 {
        let span = Span::new(charset_at..head.table_len.range().start);
        line(out, raw, span, 0, &format!("charset {}", charset(head.charset)));
    }
    line(out, raw, head.table_len, 0, &format!("string table, {} bytes", head.string_table.len()));
    let mut index = 0;
    while let Some(string) = in_table(raw, head.string_table, index) {
        let piece = Piece { token: string, text: string, kind: Kind::Table };
        line(out, raw, string, 1, &format!("{index}: \"{}\"", shown(raw, piece)));
        index = string.end + 1 - head.string_table.start;
    }
}

fn body(out: &mut String, raw: &[u8], head: &Head) -> Result<(), Malformed> {
    let book = Codebook::of(raw, head).unwrap_or(Codebook::SyncMl);
    let mut tokens = Tokens::new(raw, head);
    let mut open: Vec<String> = Vec::new();
    let mut begun = false;
    while !begun || !open.is_empty() {
        match tokens.any()?.ok_or(Malformed::new(Problem::Truncated, raw.len()))? {
            Any::Switch(span) => line(out, raw, span, open.len(), &format!("SWITCH_PAGE {}", tokens.page())),
            Any::Instruction(span) => line(out, raw, span, open.len(), "PI"),
            Any::Token(Token::Tag(tag)) => {
                if open.len() >= limits::DEPTH {
                    return Err(Malformed { problem: Problem::TooDeep, at: tag.span.start });
                }
                let name = tag_name(raw, book, tokens.page(), &tag);
                let attributes = if tag.attributes.is_empty() { "" } else { " with attributes" };
                line(out, raw, tag.span, open.len(), &format!("<{name}{}>{attributes}", if tag.empty { "/" } else { "" }));
                begun = true;
                if !tag.empty {
                    open.push(name);
                }
            }
            Any::Token(Token::End(at)) => {
                let name = open.pop().ok_or(Malformed { problem: Problem::Syntax, at })?;
                line(out, raw, Span { start: at, end: at.saturating_add(1) }, open.len(), &format!("END {name}"));
            }
            Any::Token(Token::Piece(piece)) => {
                let text = match piece.kind {
                    Kind::Inline => format!("STR_I \"{}\"", shown(raw, piece)),
                    Kind::Table => format!("STR_T \"{}\"", shown(raw, piece)),
                    Kind::Opaque => format!("OPAQUE {} bytes {}", piece.text.len(), shown(raw, piece)),
                    Kind::Entity(_) => format!("ENTITY {}", shown(raw, piece)),
                };
                line(out, raw, piece.token, open.len(), &text);
            }
        }
    }
    tokens.only_instructions()
}

/// The place of a token, its bytes and what it is.
fn line(out: &mut String, raw: &[u8], span: Span, indent: usize, text: &str) {
    // A place, the bytes, and the mark that there are more.
    const WIDTH: usize = 3 * SHOWN + 1;
    let _ = writeln!(out, "{:06x}  {:WIDTH$}  {:3$}{text}", span.start, hex(span.of(raw), SHOWN), "", 2 * indent);
}
