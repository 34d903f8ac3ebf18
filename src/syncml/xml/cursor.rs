//! A walk through an XML message.

use super::{
    super::{
        body::{Step, Steps},
        element::Element,
        header::{Field, Form, HeaderIndex, Prologue, Span, XmlPrologue},
        limits,
        malformed::{Malformed, Problem},
    },
    chars::is_space,
    plain,
    prologue::{self, Before},
    scope::Scope,
    token::{Token, Tokens},
};

/// A walk through an XML message: checks tags against each other, name spaces, and [`limits`].
#[derive(Debug)]
pub struct Cursor<'a> {
    raw: &'a [u8],
    tokens: Tokens<'a>,
    scope: Scope,
    open: Vec<Open>,
    /// A tag that was read already: to find the end of the text before it, or with the Start of an element
    /// written as empty.
    tag: Option<Token>,
    elements: usize,
    before: Before,
    /// For the test that compares the two: nothing is taken for plain.
    #[cfg(test)]
    pub(super) slow: bool,
}

/// An element that is open.
#[derive(Clone, Copy, Debug)]
struct Open {
    element: Element,
    name: Span,
    /// Whether it declares name spaces.
    declares: bool,
    end: plain::End,
}

impl<'a> Cursor<'a> {
    /// A walk through the whole message, from the Start of the root.
    ///
    /// # Errors
    /// [`Malformed`] when byte-order mark, XML declaration, or what else stands before the root
    /// cannot be read.
    pub fn document(raw: &'a [u8]) -> Result<Self, Malformed> {
        let (before, root, tokens) = prologue::read(raw)?;
        Ok(Self::at(tokens, Some(root), before))
    }

    fn at(tokens: Tokens<'a>, tag: Option<Token>, before: Before) -> Self {
        let (scope, open) = (Scope::default(), Vec::with_capacity(16));
        Self {
            raw: tokens.raw,
            tokens,
            scope,
            open,
            tag,
            elements: 0,
            before,
            #[cfg(test)]
            slow: false,
        }
    }

    /// A walk through what follows SyncHdr, the root open.
    ///
    /// # Errors
    /// [`Malformed`] when the index does not belong to the message.
    pub fn body(raw: &'a [u8], index: &HeaderIndex) -> Result<Self, Malformed> {
        let no_root = |at: u32| Malformed { problem: Problem::NoSyncHdr, at };
        let Prologue::Xml(XmlPrologue { root, .. }) = index.prologue else { return Err(no_root(0)) };
        let mut tokens = Tokens::new(raw, root as usize);
        let tag = tokens.next()?.filter(|token| matches!(token, Token::Start { empty: false, .. })).ok_or(no_root(root))?;
        let mut cursor = Self::at(tokens, Some(tag), Before::default());
        cursor.step()?;
        cursor.tokens = Tokens::new(raw, index.body as usize);
        Ok(cursor)
    }

    /// What stands before the root.
    pub(super) fn before(&self) -> Before {
        self.before
    }

    /// The value of the name space declaration that covers a name.
    pub(super) fn declaration(&self, name: Span) -> Option<Span> {
        self.scope.declaration(self.raw, name)
    }

    fn start(&mut self, tag: Span, name: Span, attributes: Span, empty: bool) -> Result<Step, Malformed> {
        self.elements += 1;
        if self.elements > limits::ELEMENTS {
            return Err(Malformed { problem: Problem::TooLarge, at: tag.start });
        }
        if self.open.len() >= limits::DEPTH {
            return Err(Malformed { problem: Problem::TooDeep, at: tag.start });
        }
        if !attributes.is_empty() {
            self.scope.enter(self.raw, attributes, self.open.len())?;
        }
        let element = self.scope.element(self.raw, name);
        let end = plain::End::of(name.of(self.raw));
        self.open.push(Open { element, name, declares: !attributes.is_empty(), end });
        if empty {
            self.tag = Some(Token::End { tag: Span { start: tag.end, end: tag.end }, name });
        }
        Ok(Step::Start { element, tag, empty })
    }

    fn end(&mut self, tag: Span, name: Span) -> Result<Step, Malformed> {
        match self.close() {
            Some(open) if open.name.of(self.raw) == name.of(self.raw) => Ok(Step::End { element: open.element, tag }),
            _ => Err(Malformed { problem: Problem::Syntax, at: tag.start }),
        }
    }

    /// Takes off the element that began last.
    fn close(&mut self) -> Option<Open> {
        let open = self.open.pop()?;
        if open.declares {
            self.scope.leave(self.open.len());
        }
        Some(open)
    }

    /// What is still to be read, when the next step may be plain, and the element that is open there.
    #[inline]
    fn rest(&self) -> Option<(&'a [u8], &Open)> {
        #[cfg(test)]
        if self.slow {
            return None;
        }
        let open = self.open.last().filter(|_| self.tag.is_none())?;
        Some((self.raw.get(self.tokens.at..)?, open))
    }

    /// Passes over bytes that were read.
    #[inline]
    fn pass(&mut self, len: usize) -> Span {
        let start = self.tokens.at;
        self.tokens.at += len;
        Span::new(start..self.tokens.at)
    }

    /// The start tag behind a `<`, when it is plain and means what it says.
    #[inline]
    fn plain_start(&self, rest: &[u8]) -> Option<plain::Start> {
        let start = plain::Start::read(rest)?;
        let room = self.elements < limits::ELEMENTS && self.open.len() < limits::DEPTH;
        // The declaration changes nothing where SyncML's name space covers, but for what SyncHdr is in.
        let known = !self.scope.foreign() && (!start.metinf || self.open.len() > 1);
        (room && known).then_some(start)
    }

    /// The next step when it is plain. `None` for any other, right or wrong, and nothing is passed.
    #[inline]
    pub(super) fn plain(&mut self) -> Option<Step> {
        let (rest, open) = self.rest()?;
        match rest {
            [b'<', b'/', rest @ ..] => {
                let element = open.element;
                let len = open.end.len(rest)?;
                self.close();
                Some(Step::End { element, tag: self.pass(len + 2) })
            }
            [b'<', rest @ ..] => {
                let start = self.plain_start(rest)?;
                let (element, name) = (start.element, self.tokens.at + 1);
                let tag = self.pass(start.len);
                self.elements += 1;
                self.open.push(Open { element, name: Span::new(name..name + start.name), declares: false, end: start.end });
                Some(Step::Start { element, tag, empty: false })
            }
            _ => {
                let len = plain::text(rest)?;
                // Text before a broken tag is none.
                let followed = match rest.get(len..)? {
                    [b'<', b'/', rest @ ..] => open.end.len(rest).is_some(),
                    [b'<', rest @ ..] => self.plain_start(rest).is_some(),
                    _ => false,
                };
                let text = followed.then(|| self.pass(len))?;
                Some(Step::Text(Field { place: text, text, form: Form::Literal }))
            }
        }
    }

    /// The next step, by the whole grammar.
    #[cold]
    fn by_grammar(&mut self) -> Result<Option<Step>, Malformed> {
        if self.tag.is_none() {
            if self.open.is_empty() {
                return self.after();
            }
            if let Some(field) = self.text()? {
                return Ok(Some(Step::Text(field)));
            }
        }
        match self.tag.take() {
            Some(Token::Start { tag, name, attributes, empty }) => self.start(tag, name, attributes, empty).map(Some),
            Some(Token::End { tag, name }) => self.end(tag, name).map(Some),
            _ => Ok(None),
        }
    }

    /// The text before the next tag, and that tag.
    fn text(&mut self) -> Result<Option<Field>, Malformed> {
        let mut run = Run::default();
        loop {
            match self.tokens.next()? {
                None => return Err(Malformed::new(Problem::Truncated, self.raw.len())),
                Some(tag @ (Token::Start { .. } | Token::End { .. })) => {
                    self.tag = Some(tag);
                    return Ok(run.field());
                }
                Some(Token::Text(span)) => run.add(span, span, Form::Literal),
                Some(Token::CData(span)) if span.is_empty() => {}
                Some(Token::CData(span)) => {
                    let whole = Span { start: span.start.saturating_sub(9), end: span.end.saturating_add(3) };
                    run.add(span, whole, Form::Literal);
                }
                Some(Token::Reference(span)) => run.add(span, span, Form::XmlMixed),
                Some(Token::Aside(_)) => {}
                Some(Token::Doctype { whole, .. }) => return Err(Malformed { problem: Problem::Syntax, at: whole.start }),
            }
        }
    }

    /// Behind the root only white space, comments and processing instructions may follow.
    fn after(&mut self) -> Result<Option<Step>, Malformed> {
        while let Some(token) = self.tokens.next().map_err(|malformed| Malformed { problem: Problem::Trailing, ..malformed })? {
            match token {
                Token::Aside(_) => {}
                Token::Text(span) if span.of(self.raw).iter().copied().all(is_space) => {}
                _ => return Err(Malformed { problem: Problem::Trailing, at: token.span().start }),
            }
        }
        Ok(None)
    }
}

impl Steps for Cursor<'_> {
    #[inline]
    fn step(&mut self) -> Result<Option<Step>, Malformed> {
        match self.plain() {
            Some(step) => Ok(Some(step)),
            None => self.by_grammar(),
        }
    }

    #[inline]
    fn leaf(&mut self) -> Option<Field> {
        let (rest, open) = self.rest()?;
        let len = plain::text(rest)?;
        let [b'<', b'/', rest @ ..] = rest.get(len..)? else { return None };
        let end = open.end.len(rest)?;
        let text = self.pass(len);
        self.close();
        self.pass(end + 2);
        Some(Field { place: text, text, form: Form::Literal })
    }

    fn page(&self) -> u8 {
        0
    }

    fn depth(&self) -> usize {
        self.open.len()
    }
}

/// The pieces of text between two tags.
#[derive(Default)]
struct Run {
    /// From the first piece to the last, with the markup around them, and how they are written.
    whole: Option<(Span, Form)>,
    /// The characters of the only piece.
    text: Span,
}

impl Run {
    /// Takes a piece: its characters, with the markup around them, and how it is written.
    fn add(&mut self, text: Span, whole: Span, form: Form) {
        self.text = text;
        self.whole = Some(match self.whole {
            None => (whole, form),
            Some((first, _)) => (Span { start: first.start, end: whole.end }, Form::XmlMixed),
        });
    }

    fn field(self) -> Option<Field> {
        match self.whole? {
            (_, Form::Literal) => Some(Field { place: self.text, text: self.text, form: Form::Literal }),
            (whole, form) => Some(Field { place: whole, text: whole, form }),
        }
    }
}
