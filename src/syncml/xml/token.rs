//! XML to tokens: spans of tags, attributes, text and markup, each checked against the grammar of
//! XML 1.0 (fifth edition) as far as it goes without a DTD.

use memchr::{memchr, memchr2, memmem};

use super::{
    super::{
        header::Span,
        limits,
        malformed::{Malformed, Problem},
    },
    attribute::Names,
    chars::{is_ascii_name, is_name, is_space, referred},
};

/// A token. Spans are indices into the message.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Token {
    /// A start tag, or the tag of an empty element.
    Start { tag: Span, name: Span, attributes: Span, empty: bool },
    /// An end tag.
    End { tag: Span, name: Span },
    /// Character data without references, at least one byte.
    Text(Span),
    /// A reference to a character or to one of the five predefined entities.
    Reference(Span),
    /// The content of a CDATA section.
    CData(Span),
    /// A comment or a processing instruction.
    Aside(Span),
    /// A DOCTYPE declaration.
    Doctype { whole: Span, public: Option<Span>, system: Option<Span> },
}

impl Token {
    /// Where it is, for errors.
    pub(crate) fn span(self) -> Span {
        match self {
            Self::Start { tag, .. } | Self::End { tag, .. } => tag,
            Self::Text(span) | Self::Reference(span) | Self::CData(span) | Self::Aside(span) => span,
            Self::Doctype { whole, .. } => whole,
        }
    }
}

/// Where the reading stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tokens<'a> {
    pub(crate) raw: &'a [u8],
    pub(crate) at: usize,
}

pub(crate) type Result<T> = std::result::Result<T, Malformed>;

impl<'a> Tokens<'a> {
    pub(crate) fn new(raw: &'a [u8], at: usize) -> Self {
        Self { raw, at }
    }

    /// The next token; `None` at the end of the bytes.
    pub(crate) fn next(&mut self) -> Result<Option<Token>> {
        let start = self.at;
        let token = match self.raw.get(start..) {
            None | Some([]) => return Ok(None),
            Some([b'<', b'/', ..]) => self.end_tag()?,
            Some([b'<', b'?', ..]) => self.processing_instruction()?,
            Some([b'<', b'!', rest @ ..]) if rest.starts_with(b"--") => self.comment()?,
            Some([b'<', b'!', rest @ ..]) if rest.starts_with(b"[CDATA[") => {
                let (inner, end) = self.until(start + 9, b"]]>")?;
                self.characters(inner, b"")?;
                self.at = end;
                Token::CData(inner)
            }
            Some([b'<', b'!', rest @ ..]) if rest.starts_with(b"DOCTYPE") => self.doctype()?,
            Some([b'<', b'!', rest @ ..]) => {
                let partial = [&b"--"[..], b"[CDATA[", b"DOCTYPE"].iter().any(|opening| opening.starts_with(rest));
                return Err(self.problem(if partial { Problem::Truncated } else { Problem::Syntax }));
            }
            Some([b'<', ..]) => self.start_tag()?,
            Some([b'&', ..]) => Token::Reference(self.reference()?),
            Some(rest) => {
                let len = memchr2(b'<', b'&', rest).unwrap_or(rest.len());
                let span = Span::new(start..start + len);
                self.characters(span, b"]]>")?;
                self.at = start + len;
                Token::Text(span)
            }
        };
        Ok(Some(token))
    }

    /// `<?xml … ?>` at the beginning: its attributes.
    pub(crate) fn declaration(&mut self) -> Result<Option<Span>> {
        let start = self.at;
        if !self.raw.get(start..).is_some_and(|rest| rest.starts_with(b"<?xml") && rest.get(5).copied().is_some_and(is_space)) {
            return Ok(None);
        }
        let (inside, end) = self.until(start + 5, b"?>")?;
        self.at = end;
        Ok(Some(inside))
    }

    fn start_tag(&mut self) -> Result<Token> {
        let start = self.at;
        self.at += 1;
        let name = self.name()?;
        let attributes = self.at;
        let (mut first, mut seen) = (None, None);
        loop {
            let spaced = self.space();
            let tag_end = match self.raw.get(self.at..) {
                Some([b'>', ..]) => Some((1, false)),
                Some([b'/', b'>', ..]) => Some((2, true)),
                Some([] | [b'/']) | None => return Err(self.problem(Problem::Truncated)),
                Some(_) if !spaced => return Err(self.problem(Problem::Syntax)),
                Some(_) => None,
            };
            if let Some((len, empty)) = tag_end {
                let attributes = Span::new(attributes..self.at);
                self.at += len;
                return Ok(Token::Start { tag: Span::new(start..self.at), name, attributes, empty });
            }
            let attribute = self.attribute()?;
            // Most tags have one, which cannot be there twice.
            match first {
                None => first = Some(attribute.name),
                Some(first) => {
                    let seen = seen.get_or_insert_with(|| Names::of(first));
                    seen.add(self.raw, attribute.name)?;
                }
            }
        }
    }

    fn end_tag(&mut self) -> Result<Token> {
        let start = self.at;
        self.at += 2;
        let name = self.name()?;
        self.space();
        self.expect(b">")?;
        Ok(Token::End { tag: Span::new(start..self.at), name })
    }

    /// A value in quotes; the reading stands behind them.
    pub(crate) fn quoted(&mut self) -> Result<Span> {
        let quote = match self.raw.get(self.at) {
            Some(quote @ (b'"' | b'\'')) => *quote,
            Some(_) => return Err(self.problem(Problem::Syntax)),
            None => return Err(self.problem(Problem::Truncated)),
        };
        let (value, end) = self.until(self.at + 1, &[quote])?;
        self.characters(value, b"")?;
        self.at = end;
        Ok(value)
    }

    /// `&name;`, `&#10;` or `&#xA;`.
    pub(crate) fn reference(&mut self) -> Result<Span> {
        const LONGEST: usize = 12;
        let start = self.at;
        let rest = self.raw.get(start + 1..).unwrap_or_default();
        let Some(len) = memchr(b';', rest.get(..LONGEST).unwrap_or(rest)) else {
            let unfinished = rest.len() < LONGEST && rest.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'#');
            return Err(self.problem(if unfinished { Problem::Truncated } else { Problem::Syntax }));
        };
        let name = rest.get(..len).unwrap_or_default();
        if name.is_empty() || !name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"#_-.:".contains(byte)) {
            return Err(self.problem(Problem::Syntax));
        }
        if referred(name).is_none() {
            return Err(self.problem(Problem::Reference));
        }
        self.at = start + len + 2;
        Ok(Span::new(start..self.at))
    }

    fn comment(&mut self) -> Result<Token> {
        let start = self.at;
        let (inside, end) = self.until(start + 4, b"--")?;
        self.characters(inside, b"")?;
        self.at = end;
        self.expect(b">")?;
        Ok(Token::Aside(Span::new(start..self.at)))
    }

    fn processing_instruction(&mut self) -> Result<Token> {
        let start = self.at;
        self.at += 2;
        let target = self.name()?;
        if target.of(self.raw).eq_ignore_ascii_case(b"xml") {
            return Err(Malformed::new(Problem::Syntax, start));
        }
        let (inside, end) = self.until(self.at, b"?>")?;
        if !inside.is_empty() && !self.space() {
            return Err(self.problem(Problem::Syntax));
        }
        self.characters(inside, b"")?;
        self.at = end;
        Ok(Token::Aside(Span::new(start..end)))
    }

    /// A DOCTYPE. One with declarations of its own is refused, whatever they declare: entities are
    /// how XML readers are attacked, attribute defaults how two of them are made to disagree, and no
    /// SyncML message has either.
    fn doctype(&mut self) -> Result<Token> {
        let start = self.at;
        self.at += b"<!DOCTYPE".len();
        self.require_space()?;
        self.name()?;
        let (mut public, mut system) = (None, None);
        if self.space() {
            let rest = self.raw.get(self.at..).unwrap_or_default();
            if rest.starts_with(b"PUBLIC") {
                self.at += 6;
                self.require_space()?;
                public = Some(self.quoted()?);
                self.require_space()?;
                system = Some(self.quoted()?);
            } else if rest.starts_with(b"SYSTEM") {
                self.at += 6;
                self.require_space()?;
                system = Some(self.quoted()?);
            }
            self.space();
        }
        if self.raw.get(self.at) == Some(&b'[') {
            self.at += 1;
            self.space();
            match self.raw.get(self.at) {
                Some(b']') => self.at += 1,
                Some(b'<' | b'%') => return Err(self.problem(Problem::Entities)),
                Some(_) => return Err(self.problem(Problem::Syntax)),
                None => return Err(self.problem(Problem::Truncated)),
            }
            self.space();
        }
        self.expect(b">")?;
        Ok(Token::Doctype { whole: Span::new(start..self.at), public, system })
    }

    pub(crate) fn name(&mut self) -> Result<Span> {
        let start = self.at;
        let rest = self.raw.get(start..).unwrap_or_default();
        let mut len = rest.iter().position(|byte| !is_ascii_name(*byte)).unwrap_or(rest.len());
        if rest.get(len).is_some_and(|byte| *byte >= 0x80) {
            let bound = rest.get(..limits::NAME * 2).unwrap_or(rest);
            let text = match std::str::from_utf8(bound) {
                Ok(text) => text,
                Err(error) => std::str::from_utf8(bound.get(..error.valid_up_to()).unwrap_or_default()).unwrap_or_default(),
            };
            len = text.find(|character| !is_name(character)).unwrap_or(text.len());
        }
        if len == rest.len() {
            return Err(Malformed::new(Problem::Truncated, start + len));
        }
        if len > limits::NAME {
            return Err(Malformed::new(Problem::TooLarge, start));
        }
        if rest.first().is_none_or(|first| len == 0 || first.is_ascii_digit() || matches!(first, b'-' | b'.')) {
            return Err(Malformed::new(Problem::Syntax, start));
        }
        self.at = start + len;
        Ok(Span::new(start..self.at))
    }

    /// Passes over white space; whether there was any.
    pub(crate) fn space(&mut self) -> bool {
        let rest = self.raw.get(self.at..).unwrap_or_default();
        let len = rest.iter().position(|byte| !is_space(*byte)).unwrap_or(rest.len());
        self.at += len;
        len > 0
    }

    fn require_space(&mut self) -> Result<()> {
        if self.space() {
            return Ok(());
        }
        Err(self.problem(if self.at >= self.raw.len() { Problem::Truncated } else { Problem::Syntax }))
    }

    pub(crate) fn expect(&mut self, what: &[u8]) -> Result<()> {
        let rest = self.raw.get(self.at..).unwrap_or_default();
        if rest.starts_with(what) {
            self.at += what.len();
            return Ok(());
        }
        Err(self.problem(if what.starts_with(rest) { Problem::Truncated } else { Problem::Syntax }))
    }

    /// From `from` up to `end`, and the index behind `end`.
    fn until(&self, from: usize, end: &[u8]) -> Result<(Span, usize)> {
        let rest = self.raw.get(from..).unwrap_or_default();
        let found = match end {
            [one] => memchr(*one, rest),
            _ => memmem::find(rest, end),
        };
        match found {
            Some(len) => Ok((Span::new(from..from + len), from + len + end.len())),
            None => Err(Malformed::new(Problem::Truncated, self.raw.len())),
        }
    }

    /// Checks that a run holds only characters that XML allows, in UTF-8, and not `forbidden`.
    fn characters(&self, span: Span, forbidden: &[u8]) -> Result<()> {
        let run = span.of(self.raw);
        let (mut control, mut high, mut bracket) = (false, false, false);
        for byte in run {
            control |= *byte < 0x20 && !is_space(*byte);
            high |= *byte >= 0x80;
            bracket |= *byte == b']';
        }
        let place = |offset: usize| span.start as usize + offset;
        if control {
            let offset = run.iter().position(|byte| *byte < 0x20 && !is_space(*byte)).unwrap_or_default();
            return Err(Malformed::new(Problem::Syntax, place(offset)));
        }
        if high {
            let text = std::str::from_utf8(run).map_err(|error| Malformed::new(Problem::Charset, place(error.valid_up_to())))?;
            if let Some(offset) = text.find(['\u{FFFE}', '\u{FFFF}']) {
                return Err(Malformed::new(Problem::Syntax, place(offset)));
            }
        }
        if bracket
            && !forbidden.is_empty()
            && let Some(offset) = memmem::find(run, forbidden)
        {
            return Err(Malformed::new(Problem::Syntax, place(offset)));
        }
        Ok(())
    }

    pub(crate) fn problem(&self, problem: Problem) -> Malformed {
        Malformed::new(problem, self.at)
    }
}
