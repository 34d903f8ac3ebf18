//! What stands before the root: byte-order mark, XML declaration, comments, DOCTYPE.

use super::{
    super::{
        header::Span,
        malformed::{Malformed, Problem},
    },
    attribute::attributes,
    chars::is_space,
    token::{Token, Tokens},
};

/// How most XML declarations are written.
const USUAL: [&[u8]; 2] = [br#"<?xml version="1.0" encoding="UTF-8"?>"#, br#"<?xml version="1.0"?>"#];

/// What was found before the root.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Before {
    /// Where the root's tag begins.
    pub(super) root: u32,
    pub(super) doctype: Option<Span>,
    pub(super) fpi: Option<Span>,
    pub(super) dtd_url: Option<Span>,
}

/// Reads up to the root's start tag.
pub(super) fn read(raw: &[u8]) -> Result<Before, Malformed> {
    const BOM: &[u8] = b"\xEF\xBB\xBF";
    let utf16 = matches!(raw, [0xFE, 0xFF, ..] | [0xFF, 0xFE, ..] | [0, b'<', ..] | [b'<', 0, ..]);
    if utf16 {
        return Err(Malformed::new(Problem::Charset, 0));
    }
    let mut tokens = Tokens::new(raw, if raw.starts_with(BOM) { BOM.len() } else { 0 });
    let rest = raw.get(tokens.at..).unwrap_or_default();
    if let Some(usual) = USUAL.iter().find(|usual| rest.starts_with(usual)) {
        tokens.at += usual.len();
    } else if let Some(inside) = tokens.declaration()? {
        declaration(raw, inside)?;
    }
    let mut before = Before::default();
    loop {
        let start = Span::at(tokens.at).start;
        if let Some([b'<', first, ..]) = raw.get(tokens.at..)
            && !matches!(first, b'!' | b'?')
        {
            return Ok(Before { root: start, ..before });
        }
        match tokens.next()?.ok_or(Malformed::new(Problem::Truncated, raw.len()))? {
            Token::Aside(_) => {}
            Token::Text(span) if span.of(raw).iter().copied().all(is_space) => {}
            Token::Doctype { whole, public, system } if before.doctype.is_none() => {
                before = Before { doctype: Some(whole), fpi: public, dtd_url: system, ..before };
            }
            token => return Err(Malformed { problem: Problem::Syntax, at: token.span().start }),
        }
    }
}

/// Checks `version`, `encoding` and `standalone` of an XML declaration.
fn declaration(raw: &[u8], inside: Span) -> Result<(), Malformed> {
    const ORDER: [&[u8]; 3] = [b"version", b"encoding", b"standalone"];
    let mut next = 0;
    for attribute in attributes(raw, inside) {
        let attribute = attribute?;
        let syntax = Malformed { problem: Problem::Syntax, at: attribute.name.start };
        let place = ORDER.iter().position(|name| *name == attribute.name.of(raw)).filter(|place| *place >= next).ok_or(syntax)?;
        if next == 0 && place != 0 {
            return Err(syntax);
        }
        next = place + 1;
        let value = attribute.value.of(raw);
        match place {
            0 if !value.starts_with(b"1.") => return Err(syntax),
            1 if !value.eq_ignore_ascii_case(b"UTF-8") && !value.eq_ignore_ascii_case(b"US-ASCII") => {
                return Err(Malformed { problem: Problem::Charset, at: attribute.value.start });
            }
            2 if value != b"yes" && value != b"no" => return Err(syntax),
            _ => {}
        }
    }
    if next == 0 { Err(Malformed { problem: Problem::Syntax, at: inside.start }) } else { Ok(()) }
}
