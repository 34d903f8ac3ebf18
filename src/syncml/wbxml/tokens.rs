//! From bytes to tokens: tags, ends and pieces of text. Page switches and processing instructions
//! are taken in on the way.

use memchr::memchr;

use super::{
    head::Head,
    token::{ATTRIBUTES, CODE, CONTENT, CONTINUES, END, ENTITY, LITERAL, OPAQUE, PI, STR_I, STR_T, SWITCH_PAGE},
};
use crate::syncml::{
    element::Element,
    header::{Field, Form, Span},
    limits,
    malformed::{Malformed, Problem},
};

/// Code page switches in a row. One is enough, and some writers add a redundant one.
const SWITCHES: usize = 16;
/// Bytes of a multi-byte integer. Five are enough, and some writers pad.
const INTEGER: usize = 10;

/// A token of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A tag with its attributes.
    Tag(Tag),
    /// The end of an element's content, and where it stands.
    End(u32),
    /// A piece of text.
    Piece(Piece),
}

/// Whatever stands in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Any {
    Token(Token),
    /// Another code page from here on.
    Switch(Span),
    /// A processing instruction, up to its end.
    Instruction(Span),
}

/// A tag with its attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    /// The whole of it.
    pub(crate) span: Span,
    /// The attributes with their end; empty without.
    pub(crate) attributes: Span,
    /// The code, without the bits for attributes and content; [`LITERAL`] for a name.
    pub(crate) code: u8,
    /// The name in the string table, of a literal tag.
    pub(crate) name: Span,
    /// Whether there is no content.
    pub(crate) empty: bool,
}

/// A piece of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The whole token.
    pub(crate) token: Span,
    /// Its characters or bytes, here or in the string table.
    pub(crate) text: Span,
    /// How they are written.
    pub(crate) kind: Kind,
}

/// How a piece of text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// STR_I.
    Inline,
    /// STR_T.
    Table,
    /// OPAQUE.
    Opaque,
    /// ENTITY: a character by its number.
    Entity(char),
}

impl Piece {
    /// The piece as the whole value of an element.
    #[inline(always)]
    pub(crate) fn field(self, raw: &[u8]) -> Field {
        match self.kind {
            Kind::Inline => Field { place: self.text, text: self.text, form: Form::Literal },
            Kind::Table => Field { place: self.token, text: self.text, form: Form::WbxmlTable },
            Kind::Opaque => Field { place: self.token, text: trim(raw, self.text), form: Form::WbxmlOpaque },
            Kind::Entity(_) => Field { place: self.token, text: self.token, form: Form::WbxmlMixed },
        }
    }
}

/// Without the NULs at the end: some phones count the terminator of a C string as part of the opaque.
fn trim(raw: &[u8], text: Span) -> Span {
    let nuls = text.of(raw).iter().rev().take_while(|byte| **byte == 0).count();
    Span::new(text.range().start..text.range().end - nuls)
}

/// A part of an attribute list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A code for an attribute's name, and perhaps the start of its value.
    Start(u8),
    /// A name in the string table; `None` for Nokia's, which have no string table to stand in.
    Name(Option<Span>),
    /// A code for a part of the value.
    Value(u8),
    /// A part of the value, spelt out.
    Piece(Piece),
    /// Another attribute code page from here on.
    Page(u8),
    /// The end of the list.
    End,
}

/// A reader of tokens.
///
/// Its parts are always inlined into the walk: a token handed over in memory costs as much again as
/// reading it (`tests/bench/wbxml.rs`).
#[derive(Clone, Debug)]
pub(crate) struct Tokens<'a> {
    raw: &'a [u8],
    at: usize,
    table: Span,
    page: u8,
    /// How many more bytes of the string table may be looked up.
    budget: usize,
}

impl<'a> Tokens<'a> {
    /// From the first byte of the body.
    pub(crate) fn new(raw: &'a [u8], head: &Head) -> Self {
        Self::at(raw, head.body, head.string_table, 0)
    }

    /// From any byte at which a token begins.
    pub(crate) fn at(raw: &'a [u8], at: usize, table: Span, page: u8) -> Self {
        Self { raw, at, table, page, budget: limits::LOOKUPS }
    }

    /// The message.
    pub(crate) fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Where the next token begins.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// The code page in force.
    pub(crate) fn page(&self) -> u8 {
        self.page
    }

    /// Which element of SyncML a tag stands for. A literal name means the same as the token, in any
    /// code page, so that no message can hide an element by spelling it out.
    #[inline(always)]
    pub(crate) fn element(&self, tag: &Tag) -> Element {
        if tag.code != LITERAL {
            return Element::from_token(self.page, tag.code);
        }
        std::str::from_utf8(tag.name.of(self.raw)).map_or(Element::Other, Element::named)
    }

    /// The next token; `None` behind the last byte.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> Result<Option<Token>, Malformed> {
        let mut switches = 0;
        loop {
            match self.any()? {
                None => return Ok(None),
                Some(Any::Token(token)) => return Ok(Some(token)),
                Some(Any::Instruction(_)) => {}
                Some(Any::Switch(_)) if switches < SWITCHES => switches += 1,
                Some(Any::Switch(span)) => return Err(Malformed { problem: Problem::TooLarge, at: span.start }),
            }
        }
    }

    /// The next token, page switch or processing instruction; `None` behind the last byte.
    #[inline(always)]
    pub(crate) fn any(&mut self) -> Result<Option<Any>, Malformed> {
        let start = self.at;
        let Some(first) = self.raw.get(start).copied() else { return Ok(None) };
        self.at += 1;
        Ok(Some(match first {
            SWITCH_PAGE => {
                self.page = self.byte()?;
                Any::Switch(Span::new(start..self.at))
            }
            END => Any::Token(Token::End(Span::at(start).start)),
            PI => {
                self.skip_attributes()?;
                Any::Instruction(Span::new(start..self.at))
            }
            _ => match self.piece(first, start)? {
                Some(piece) => Any::Token(Token::Piece(piece)),
                None => Any::Token(Token::Tag(self.tag(first, start)?)),
            },
        }))
    }

    /// Where the next token begins, and in which code page, when no more than one page switch stands before it.
    #[inline(always)]
    pub(crate) fn peek(&self) -> (usize, u8) {
        match self.raw.get(self.at..) {
            Some([SWITCH_PAGE, page, ..]) => (self.at + 2, *page),
            _ => (self.at, self.page),
        }
    }

    /// The text that stands there, when it is a single piece, not empty, and an END follows it: the text, and
    /// where the END stands.
    #[inline(always)]
    pub(crate) fn peek_text(&self, at: usize) -> Option<(Field, usize)> {
        let first = self.raw.get(at).copied().filter(|first| matches!(*first, STR_I | OPAQUE))?;
        let mut ahead = Tokens { at: at + 1, ..*self };
        let field = ahead.piece(first, at).ok()??.field(self.raw);
        (!field.text.is_empty() && self.raw.get(ahead.at) == Some(&END)).then_some((field, ahead.at))
    }

    /// Goes on elsewhere, with another code page in force.
    #[inline(always)]
    pub(crate) fn go(&mut self, at: usize, page: u8) {
        (self.at, self.page) = (at, page);
    }

    /// Nothing but processing instructions up to the last byte.
    pub(crate) fn only_instructions(&mut self) -> Result<(), Malformed> {
        while self.at < self.raw.len() {
            if self.byte()? != PI {
                return Err(Malformed::new(Problem::Trailing, self.at - 1));
            }
            self.skip_attributes()?;
        }
        Ok(())
    }

    /// The rest of a piece of text, if its first byte begins one.
    #[inline(always)]
    fn piece(&mut self, first: u8, start: usize) -> Result<Option<Piece>, Malformed> {
        let (text, kind) = match first {
            STR_I => (self.string()?, Kind::Inline),
            STR_T => {
                let index = self.integer()?;
                (self.lookup(index, start)?, Kind::Table)
            }
            OPAQUE => {
                let len = self.integer()?;
                (self.bytes(len as usize)?, Kind::Opaque)
            }
            ENTITY => {
                let character = char::from_u32(self.integer()?).ok_or(Malformed::new(Problem::Syntax, start))?;
                (Span::at(self.at), Kind::Entity(character))
            }
            // EXT_I, EXT_T, EXT: each document type gives them a meaning of its own, and SyncML none.
            0x40..=0x42 | 0x80..=0x82 | 0xC0..=0xC2 => return Err(Malformed::new(Problem::Syntax, start)),
            _ => return Ok(None),
        };
        Ok(Some(Piece { token: Span::new(start..self.at), text, kind }))
    }

    /// The rest of a tag.
    #[inline(always)]
    fn tag(&mut self, first: u8, start: usize) -> Result<Tag, Malformed> {
        let code = first & CODE;
        let name = if code == LITERAL {
            let index = self.integer()?;
            self.lookup(index, start)?
        } else {
            Span::at(self.at)
        };
        let attributes = self.at;
        if first & ATTRIBUTES != 0 {
            self.skip_attributes()?;
        }
        let attributes = Span::new(attributes..self.at);
        Ok(Tag { span: Span::new(start..self.at), attributes, code, name, empty: first & CONTENT == 0 })
    }

    /// Past the attributes of a tag or the parts of a processing instruction.
    fn skip_attributes(&mut self) -> Result<(), Malformed> {
        let mut count = 0;
        loop {
            match self.part()? {
                Part::End => return Ok(()),
                Part::Start(_) | Part::Name(_) => {
                    count += 1;
                    if count > limits::ATTRIBUTES {
                        return Err(Malformed::new(Problem::TooLarge, self.at));
                    }
                }
                Part::Value(_) | Part::Piece(_) | Part::Page(_) => {}
            }
        }
    }

    /// The next part of an attribute list.
    pub(crate) fn part(&mut self) -> Result<Part, Malformed> {
        let start = self.at;
        let first = self.byte()?;
        Ok(match first {
            SWITCH_PAGE => Part::Page(self.byte()?),
            END => Part::End,
            LITERAL => {
                let index = self.integer()?;
                let nokia = index == 0 && self.table.is_empty();
                Part::Name(if nokia { None } else { Some(self.lookup(index, start)?) })
            }
            0x43 | 0x44 | 0x84 | 0xC4 => return Err(Malformed::new(Problem::Syntax, start)),
            _ => match self.piece(first, start)? {
                Some(piece) => Part::Piece(piece),
                None if first < 0x80 => Part::Start(first),
                None => Part::Value(first),
            },
        })
    }

    #[inline(always)]
    fn byte(&mut self) -> Result<u8, Malformed> {
        let byte = self.raw.get(self.at).copied().ok_or(Malformed::new(Problem::Truncated, self.at))?;
        self.at += 1;
        Ok(byte)
    }

    #[inline(always)]
    fn integer(&mut self) -> Result<u32, Malformed> {
        integer(self.raw, &mut self.at)
    }

    #[inline(always)]
    fn bytes(&mut self, len: usize) -> Result<Span, Malformed> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.raw.len());
        let end = end.ok_or(Malformed::new(Problem::Truncated, self.raw.len()))?;
        let span = Span::new(self.at..end);
        self.at = end;
        Ok(span)
    }

    /// Characters up to their NUL.
    #[inline(always)]
    fn string(&mut self) -> Result<Span, Malformed> {
        let rest = self.raw.get(self.at..).unwrap_or_default();
        let len = memchr(0, rest).ok_or(Malformed::new(Problem::Truncated, self.raw.len()))?;
        let span = self.bytes(len)?;
        self.at += 1;
        Ok(span)
    }

    /// A string of the table: up to its NUL, or to the end of a table that lacks the last one.
    #[inline(always)]
    fn lookup(&mut self, index: u32, at: usize) -> Result<Span, Malformed> {
        let found = in_table(self.raw, self.table, index).ok_or(Malformed::new(Problem::Reference, at))?;
        self.budget = self.budget.checked_sub(found.len() + 1).ok_or(Malformed::new(Problem::TooLarge, at))?;
        Ok(found)
    }
}

/// A string of the table: up to its NUL, or to the end of a table that lacks the last one.
pub(crate) fn in_table(raw: &[u8], table: Span, index: u32) -> Option<Span> {
    let start = table.start.checked_add(index).filter(|start| *start < table.end)?;
    let rest = Span { start, end: table.end };
    let len = memchr(0, rest.of(raw)).unwrap_or(rest.len());
    Some(Span::new(start as usize..start as usize + len))
}

/// A multi-byte integer: seven bits in each byte, the most significant first, and the high bit set
/// in all but the last (WAP-192-WBXML, section 5.1). Padding with `80` is accepted.
pub(crate) fn integer(raw: &[u8], at: &mut usize) -> Result<u32, Malformed> {
    let start = *at;
    // Most have one byte.
    if let Some(byte @ ..CONTINUES) = raw.get(start) {
        *at += 1;
        return Ok(u32::from(*byte));
    }
    let mut value: u32 = 0;
    for byte in raw.get(start..).unwrap_or_default().iter().take(INTEGER) {
        *at += 1;
        if value >> 25 != 0 {
            return Err(Malformed::new(Problem::TooLarge, start));
        }
        value = value << 7 | u32::from(byte & !CONTINUES);
        if byte & CONTINUES == 0 {
            return Ok(value);
        }
    }
    let problem = if *at == raw.len() { Problem::Truncated } else { Problem::TooLarge };
    Err(Malformed::new(problem, *at))
}
