//! A walk through a message, element by element.

use super::{
    head::Head,
    token::{CODE, CONTENT, END, LITERAL},
    tokens::{Piece, Tag, Token, Tokens},
};
use crate::syncml::{
    body::{Leaf, Plain, Step, Steps},
    element::Element,
    header::{Field, Form, HeaderIndex, Prologue, Span},
    limits,
    malformed::{Malformed, Problem},
};

/// The tags with content, without attributes, that a code page names.
const PLAIN_FIRST: u8 = CONTENT | (LITERAL + 1);
const PLAIN_LAST: u8 = CONTENT | CODE;

/// A walk through a WBXML message.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    tokens: Tokens<'a>,
    open: [Element; limits::DEPTH],
    depth: usize,
    elements: usize,
    /// Of an element without content: its End comes next.
    ending: Option<(Element, u32)>,
    /// A token that was read to find the end of the text before it.
    ahead: Option<Token>,
    /// Whether the root has begun, and its attributes.
    begun: bool,
    root_attributes: Span,
    /// Whether there is nothing more, after an error or at the end.
    done: bool,
}

impl<'a> Cursor<'a> {
    /// A walk through a whole message.
    ///
    /// # Errors
    /// [`Malformed`] when what stands before the root cannot be read.
    pub fn document(raw: &'a [u8]) -> Result<Self, Malformed> {
        Ok(Self::new(Tokens::new(raw, &Head::read(raw)?)))
    }

    /// A walk through what follows SyncHdr.
    ///
    /// # Errors
    /// [`Malformed`] when the index does not belong to a WBXML message of this length.
    pub fn body(raw: &'a [u8], index: &HeaderIndex) -> Result<Self, Malformed> {
        let Prologue::Wbxml(prologue) = index.prologue else { return Err(Malformed::new(Problem::Syntax, 0)) };
        let at = index.body as usize;
        if at > raw.len() {
            return Err(Malformed::new(Problem::Truncated, raw.len()));
        }
        let mut cursor = Self::new(Tokens::at(raw, at, prologue.string_table, index.header.page));
        cursor.push(Element::SyncML, 0)?;
        Ok(cursor)
    }

    pub(super) fn new(tokens: Tokens<'a>) -> Self {
        let open = [Element::Other; limits::DEPTH];
        Self {
            tokens,
            open,
            depth: 0,
            elements: 0,
            ending: None,
            ahead: None,
            begun: false,
            root_attributes: Span::default(),
            done: false,
        }
    }

    /// The attributes of the root; empty without, and before it.
    pub(super) fn root_attributes(&self) -> Span {
        self.root_attributes
    }

    fn push(&mut self, element: Element, at: u32) -> Result<(), Malformed> {
        *self.open.get_mut(self.depth).ok_or(Malformed { problem: Problem::TooDeep, at })? = element;
        self.depth += 1;
        self.begun = true;
        Ok(())
    }

    fn start(&mut self, tag: &Tag) -> Result<Step, Malformed> {
        let element = self.tokens.element(tag);
        self.elements += 1;
        if self.elements > limits::ELEMENTS {
            return Err(Malformed { problem: Problem::TooLarge, at: tag.span.start });
        }
        if !self.begun {
            self.root_attributes = tag.attributes;
        }
        self.push(element, tag.span.start)?;
        if tag.empty {
            self.ending = Some((element, tag.span.end));
        }
        Ok(Step::Start { element, tag: tag.span, empty: tag.empty })
    }

    /// The pieces up to the next tag or end, as one field.
    fn text(&mut self, first: &Piece) -> Result<Step, Malformed> {
        let mut field = first.field(self.tokens.raw());
        loop {
            match self.tokens.next()? {
                Some(Token::Piece(piece)) => {
                    let whole = Span { start: first.token.start, end: piece.token.end };
                    field = Field { place: whole, text: whole, form: Form::WbxmlMixed };
                }
                other => {
                    self.ahead = other;
                    return Ok(Step::Text(field));
                }
            }
        }
    }

    /// The next step inside or before the root.
    fn advance(&mut self) -> Result<Option<Step>, Malformed> {
        if let Some((element, at)) = self.ending.take() {
            self.depth = self.depth.saturating_sub(1);
            return Ok(Some(Step::End { element, tag: Span { start: at, end: at } }));
        }
        if self.depth == 0 && self.begun {
            return self.tokens.only_instructions().map(|()| None);
        }
        let position = self.tokens.position();
        let token = match self.ahead.take() {
            None => self.tokens.next()?,
            ahead => ahead,
        };
        match token {
            None => Err(Malformed::new(Problem::Truncated, self.tokens.raw().len())),
            Some(Token::Tag(tag)) => self.start(&tag).map(Some),
            Some(_) if self.depth == 0 => Err(Malformed::new(Problem::Syntax, position)),
            Some(Token::Piece(piece)) => self.text(&piece).map(Some),
            Some(Token::End(at)) => {
                self.depth = self.depth.saturating_sub(1);
                let element = self.open.get(self.depth).copied().unwrap_or(Element::Other);
                Ok(Some(Step::End { element, tag: Span { start: at, end: at.saturating_add(1) } }))
            }
        }
    }
}

impl Steps for Cursor<'_> {
    fn step(&mut self) -> Result<Option<Step>, Malformed> {
        if self.done {
            return Ok(None);
        }
        let step = self.advance();
        self.done = !matches!(step, Ok(Some(_)));
        step
    }

    fn skim(&mut self, mut take: impl FnMut(Plain) -> bool) {
        let open = self.depth;
        if open == 0 || self.done || self.ending.is_some() || self.ahead.is_some() {
            return;
        }
        loop {
            let (at, page) = self.tokens.peek();
            match self.tokens.raw().get(at).copied() {
                Some(END) if self.depth > open => {
                    self.depth -= 1;
                    self.tokens.go(at + 1, page);
                }
                Some(first @ PLAIN_FIRST..=PLAIN_LAST) if self.elements < limits::ELEMENTS => {
                    let outer = self.open(self.depth);
                    let Some(place) = self.open.get_mut(self.depth) else { return };
                    let element = Element::from_token(page, first & CODE);
                    let text = self.tokens.peek_text(at + 1);
                    let leaf = text.map(|(field, end)| Leaf { field, end: Span::new(end..end + 1), page });
                    if !take(Plain { element, outer, depth: self.depth + 1, leaf }) {
                        return;
                    }
                    self.elements += 1;
                    if let Some((_, end)) = text {
                        self.tokens.go(end + 1, page);
                    } else {
                        *place = element;
                        self.depth += 1;
                        self.tokens.go(at + 1, page);
                    }
                }
                _ => return,
            }
        }
    }

    fn page(&self) -> u8 {
        self.tokens.page()
    }

    fn depth(&self) -> usize {
        self.depth
    }

    fn open(&self, depth: usize) -> Element {
        let open = self.open.get(..self.depth).unwrap_or_default();
        open.get(depth.wrapping_sub(1)).copied().unwrap_or(Element::Other)
    }
}
