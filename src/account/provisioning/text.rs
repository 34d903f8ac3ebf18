//! Provisioning documents in XML.

use super::{Attribute, Bounds, Element, Event, NoDocument, Tag, codes};
use crate::syncml::{
    header::Span,
    malformed::{Malformed, Problem},
    xml::{
        self,
        attribute::attributes,
        token::{Token, Tokens},
    },
};

pub(super) fn read(raw: &[u8]) -> Result<Vec<Event>, NoDocument> {
    let mark = if raw.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
    let mut tokens = Tokens::new(raw, mark);
    tokens.declaration()?;
    let mut bounds = Bounds::default();
    let mut open: Vec<Span> = Vec::new();
    let mut events = Vec::new();
    while let Some(token) = tokens.next()? {
        let outside = open.is_empty();
        let at = token.span().start;
        match token {
            Token::Start { .. } if outside && !events.is_empty() => return Err(problem(Problem::Trailing, at)),
            Token::Start { tag, name, attributes, empty } => {
                bounds.start(at, empty)?;
                let element = Element::named(local(name.of(raw)));
                if outside && element != Element::Root {
                    return Err(NoDocument::SomethingElse);
                }
                let attributes = read_attributes(raw, attributes)?;
                events.push(Event::Start(Tag { element, span: tag, empty, attributes }));
                if !empty {
                    open.push(name);
                }
            }
            Token::End { tag, name } => {
                if open.pop().is_none_or(|opened| opened.of(raw) != name.of(raw)) {
                    return Err(problem(Problem::Syntax, at));
                }
                bounds.depth -= 1;
                events.push(Event::End(tag));
            }
            Token::Text(span) if outside && !span.of(raw).trim_ascii().is_empty() => return Err(problem(Problem::Syntax, at)),
            Token::Reference(_) | Token::CData(_) if outside => return Err(problem(Problem::Syntax, at)),
            Token::Doctype { .. } if !events.is_empty() => return Err(problem(Problem::Syntax, at)),
            Token::Text(_) | Token::Reference(_) | Token::CData(_) | Token::Aside(_) | Token::Doctype { .. } => {}
        }
    }
    if !open.is_empty() || events.is_empty() {
        return Err(Malformed::new(Problem::Truncated, raw.len()).into());
    }
    Ok(events)
}

fn problem(problem: Problem, at: u32) -> NoDocument {
    NoDocument::Malformed(Malformed { problem, at })
}

/// A name without its prefix.
fn local(name: &[u8]) -> &str {
    let name = std::str::from_utf8(name).unwrap_or_default();
    name.rsplit(':').next().unwrap_or_default()
}

fn read_attributes(raw: &[u8], inside: Span) -> Result<Vec<Attribute>, Malformed> {
    let read = |attribute: Result<xml::attribute::Attribute, Malformed>| {
        let attribute = attribute?;
        Ok(Attribute {
            name: local(attribute.name.of(raw)).to_owned(),
            text: xml::decode(attribute.value.of(raw)),
            place: attribute.value,
            page: None,
        })
    };
    attributes(raw, inside).map(read).collect()
}

/// What to put behind `neighbour` for another parameter like it: its white space, and its tag with another
/// name and value.
pub(super) fn beside(raw: &[u8], tag: &Tag, plain: bool, name: &str, value: &str) -> Vec<u8> {
    let before = raw.get(..tag.span.start as usize).unwrap_or_default();
    let blanks = before.iter().rev().take_while(|byte| byte.is_ascii_whitespace()).count();
    let space = before.get(before.len() - blanks..).unwrap_or_default();
    let mut out = space.to_vec();
    let place = |name: &str| tag.attribute(name).map(|attribute| attribute.place);
    if let (true, true, Some(old_name), Some(old_value)) = (plain, tag.empty, place("name"), place("value")) {
        let mut replaced = [(old_name, name), (old_value, value)];
        replaced.sort_by_key(|(span, _)| span.start);
        let mut at = tag.span.start;
        for (span, with) in replaced {
            out.extend_from_slice(Span { start: at, end: span.start }.of(raw));
            out.extend_from_slice(with.as_bytes());
            at = span.end;
        }
        out.extend_from_slice(Span { start: at, end: tag.span.end }.of(raw));
    } else {
        out.extend_from_slice(format!("<{} name=\"{name}\" value=\"{value}\"/>", codes::PARM).as_bytes());
    }
    out
}
