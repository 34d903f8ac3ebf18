//! Character data: to characters and back.

use super::{
    super::header::Span,
    chars::referred,
    token::{Token, Tokens},
};

/// The characters that a piece of XML content stands for: references resolved, CDATA sections and
/// comments taken apart. Stops where the content is not well-formed.
#[must_use]
pub fn decode(content: &[u8]) -> String {
    let mut out = String::with_capacity(content.len());
    let mut tokens = Tokens::new(content, 0);
    while let Ok(Some(token)) = tokens.next() {
        match token {
            Token::Text(span) | Token::CData(span) => out.push_str(&String::from_utf8_lossy(span.of(content))),
            Token::Reference(span) => {
                let name = Span { start: span.start + 1, end: span.end.saturating_sub(1) };
                out.extend(referred(name.of(content)));
            }
            Token::Start { .. } | Token::End { .. } | Token::Aside(_) | Token::Doctype { .. } => {}
        }
    }
    out
}
