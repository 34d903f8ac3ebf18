//! Provisioning documents in WBXML.

use super::{Attribute, Bounds, Element, Event, NoDocument, Tag, codes};
use crate::syncml::{
    header::{PublicId, Span},
    malformed::{Malformed, Problem},
    wbxml::{
        head::Head,
        token::{END, LITERAL, STR_I, SWITCH_PAGE},
        tokens::{Kind, Part, Piece, Token, Tokens},
    },
};

/// The public identifier of provisioning documents, and the one that says nothing.
const PROV: u32 = 0x0B;
const UNKNOWN: u32 = 0x01;

pub(super) fn read(raw: &[u8]) -> Result<Vec<Event>, NoDocument> {
    let head = Head::read(raw)?;
    let is_prov = match head.public_id {
        PublicId::Number { value, .. } => matches!(value, PROV | UNKNOWN),
        PublicId::Text { fpi } => String::from_utf8_lossy(fpi.of(raw)).to_ascii_uppercase().contains("DTD PROV "),
    };
    if !is_prov {
        return Err(NoDocument::SomethingElse);
    }
    let mut tokens = Tokens::new(raw, &head);
    let mut bounds = Bounds::default();
    let mut events = Vec::new();
    // Attributes have code pages of their own, which last from one tag to the next.
    let mut page = 0;
    loop {
        match tokens.next()? {
            None => return Err(Malformed::new(Problem::Truncated, raw.len()).into()),
            Some(Token::Tag(tag)) => {
                bounds.start(tag.span.start, tag.empty)?;
                let element = match tag.code {
                    LITERAL => Element::named(&String::from_utf8_lossy(tag.name.of(raw))),
                    code => Element::named(codes::tag(code)),
                };
                if events.is_empty() && element != Element::Root {
                    return Err(NoDocument::SomethingElse);
                }
                let attributes = read_attributes(raw, head.string_table, tag.attributes, &mut page)?;
                events.push(Event::Start(Tag { element, span: tag.span, empty: tag.empty, attributes }));
            }
            Some(Token::End(at)) => {
                bounds.depth = bounds.depth.checked_sub(1).ok_or(Malformed { problem: Problem::Syntax, at })?;
                events.push(Event::End(Span { start: at, end: at + 1 }));
            }
            Some(Token::Piece(piece)) if events.is_empty() => {
                return Err(Malformed { problem: Problem::Syntax, at: piece.token.start }.into());
            }
            Some(Token::Piece(_)) => {}
        }
        if bounds.depth == 0 {
            tokens.only_instructions()?;
            return Ok(events);
        }
    }
}

fn read_attributes(raw: &[u8], table: Span, inside: Span, page: &mut u8) -> Result<Vec<Attribute>, Malformed> {
    let mut attributes: Vec<Attribute> = Vec::new();
    if inside.is_empty() {
        return Ok(attributes);
    }
    let mut tokens = Tokens::at(raw, inside.range().start, table, 0);
    // A switch that more of the same value may follow.
    let mut switched = None;
    loop {
        let part = tokens.part()?;
        let at = tokens.position();
        let begin = |name: &str, begins: &str| {
            let (name, text) = (name.to_owned(), begins.to_owned());
            Attribute { name, text, place: Span::at(at), page: None }
        };
        let more = match part {
            Part::End => return Ok(attributes),
            Part::Page(to) => {
                *page = to;
                switched = Some(to);
                continue;
            }
            Part::Start(code) => {
                let (name, begins) = codes::start(*page, code).unwrap_or_default();
                attributes.push(begin(name, begins));
                switched = None;
                continue;
            }
            Part::Name(name) => {
                let name = name.map(|name| String::from_utf8_lossy(name.of(raw)).into_owned());
                attributes.push(begin(name.as_deref().unwrap_or("xmlns"), ""));
                switched = None;
                continue;
            }
            Part::Value(code) => codes::value(*page, code).unwrap_or("\u{fffd}").to_owned(),
            Part::Piece(piece) => text(raw, piece),
        };
        let attribute = attributes.last_mut().ok_or(Malformed::new(Problem::Syntax, at))?;
        attribute.text.push_str(&more);
        attribute.place = Span { end: Span::at(at).end, ..attribute.place };
        attribute.page = switched.or(attribute.page);
    }
}

fn text(raw: &[u8], piece: Piece) -> String {
    match piece.kind {
        Kind::Entity(character) => character.to_string(),
        Kind::Inline | Kind::Table | Kind::Opaque => String::from_utf8_lossy(piece.text.of(raw)).into_owned(),
    }
}

/// A value as an inline string.
pub(super) fn string(value: &str) -> Vec<u8> {
    [&[STR_I], value.as_bytes(), &[0]].concat()
}

/// A value in the place of another, which leaves the code page as that did.
pub(super) fn instead(attribute: &Attribute, value: &str) -> Vec<u8> {
    let mut out = string(value);
    out.extend(attribute.page.into_iter().flat_map(|page| [SWITCH_PAGE, page]));
    out
}

/// A parameter. Its codes are the same on every code page.
pub(super) fn parameter(name: &str, value: &str) -> Vec<u8> {
    [&[codes::PARM_TAG, codes::NAME][..], &string(name), &[codes::VALUE], &string(value), &[END]].concat()
}

/// A `value=` for a parameter that has none, in front of the end of its attributes.
pub(super) fn value(value: &str) -> Vec<u8> {
    [&[codes::VALUE][..], &string(value)].concat()
}
