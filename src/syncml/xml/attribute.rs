//! Attributes of a tag, and of an XML declaration.

use memchr::memchr;

use super::{
    super::{
        header::Span,
        limits,
        malformed::{Malformed, Problem},
    },
    chars::{SHORT, class},
    token::{Result, Tokens},
};

/// An attribute: its name, and its value without the quotes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attribute {
    pub(crate) name: Span,
    pub(crate) value: Span,
}

impl Tokens<'_> {
    /// An attribute, checked: name, `=`, quoted value.
    pub(crate) fn attribute(&mut self) -> Result<Attribute> {
        const USUAL: &[u8] = b"xmlns=";
        let start = self.at;
        let name = if self.raw.get(start..).is_some_and(|rest| rest.starts_with(USUAL)) {
            self.at += USUAL.len();
            Span::new(start..self.at - 1)
        } else {
            let name = self.name()?;
            self.space();
            self.expect(b"=")?;
            name
        };
        self.space();
        if let Some(value) = self.plainly_quoted() {
            return Ok(Attribute { name, value });
        }
        let value = self.quoted()?;
        if memchr(b'<', value.of(self.raw)).is_some() {
            return Err(Malformed { problem: Problem::Syntax, at: value.start });
        }
        let end = self.at;
        let mut from = value.start as usize;
        while let Some(found) = memchr(b'&', self.raw.get(from..value.end as usize).unwrap_or_default()) {
            self.at = from + found;
            self.reference()?;
            from = self.at;
        }
        self.at = end;
        Ok(Attribute { name, value })
    }

    /// A value in quotes that is short and holds nothing that needs a closer look.
    fn plainly_quoted(&mut self) -> Option<Span> {
        let [quote @ (b'"' | b'\''), rest @ ..] = self.raw.get(self.at..)? else { return None };
        let len = rest.iter().take(SHORT).position(|byte| byte == quote || class::has(*byte, class::MARKUP | class::SUSPECT))?;
        if rest.get(len) != Some(quote) {
            return None;
        }
        let start = self.at + 1;
        self.at = start + len + 1;
        Some(Span::new(start..start + len))
    }
}

/// The attributes of a tag that was read already, or of an XML declaration.
pub(crate) fn attributes(raw: &[u8], inside: Span) -> impl Iterator<Item = Result<Attribute>> {
    let end = inside.end as usize;
    let mut tokens = Tokens::new(raw.get(..end).unwrap_or_default(), inside.start as usize);
    std::iter::from_fn(move || {
        let spaced = tokens.space();
        if tokens.at >= end {
            return None;
        }
        if !spaced {
            let at = std::mem::replace(&mut tokens.at, end);
            return Some(Err(Malformed::new(Problem::Syntax, at)));
        }
        let attribute = tokens.attribute();
        if attribute.is_err() {
            tokens.at = end;
        }
        Some(attribute)
    })
}

/// The names of one tag's attributes, none of them twice.
pub(crate) struct Names {
    list: [Span; limits::ATTRIBUTES],
    len: usize,
}

impl Names {
    /// With one name.
    pub(crate) fn of(first: Span) -> Self {
        Self { list: [first; limits::ATTRIBUTES], len: 1 }
    }

    pub(crate) fn add(&mut self, raw: &[u8], name: Span) -> Result<()> {
        let earlier = self.list.get(..self.len).unwrap_or_default();
        if earlier.iter().any(|other| other.of(raw) == name.of(raw)) {
            return Err(Malformed { problem: Problem::Syntax, at: name.start });
        }
        let place = self.list.get_mut(self.len).ok_or(Malformed { problem: Problem::TooLarge, at: name.start })?;
        *place = name;
        self.len += 1;
        Ok(())
    }
}
