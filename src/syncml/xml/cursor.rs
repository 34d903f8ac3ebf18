//! A walk through an XML message.

use super::{
    super::{
        body::{Step, Steps},
        element::Element,
        header::{Field, Form, HeaderIndex, Prologue, Span, XmlPrologue},
        limits,
        malformed::{Malformed, Problem},
    },
    chars::{is_space, run},
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
    /// The End to give next, of an element written as empty.
    ending: Option<(Element, u32)>,
    /// A tag that was read to find the end of the text before it.
    tag: Option<Token>,
    elements: usize,
    before: Before,
    over: bool,
    /// For the test that compares the two: nothing is taken for plain.
    #[cfg(test)]
    pub(super) slow: bool,
}

/// An element that is open.
#[derive(Clone, Copy, Debug)]
struct Open {
    element: Element,
    name: Span,
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
            ending: None,
            tag,
            elements: 0,
            before,
            over: false,
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
        self.open.push(Open { element, name });
        if empty {
            self.ending = Some((element, tag.end));
        }
        Ok(Step::Start { element, tag, empty })
    }

    fn end(&mut self, tag: Span, name: Span) -> Result<Step, Malformed> {
        match self.open.pop() {
            Some(open) if open.name.of(self.raw) == name.of(self.raw) => {
                self.scope.leave(self.open.len());
                Ok(Step::End { element: open.element, tag })
            }
            _ => Err(Malformed { problem: Problem::Syntax, at: tag.start }),
        }
    }

    /// The next step where there is nothing special about it: a tag as nearly all are, or text in one plain
    /// piece. `None` for any other, right or wrong, and nothing is passed.
    fn plain(&mut self) -> Option<Result<Step, Malformed>> {
        #[cfg(test)]
        if self.slow {
            return None;
        }
        let open = *self.open.last()?;
        let rest = self.raw.get(self.tokens.at..)?;
        match rest {
            [b'<', b'/', ..] => {
                let tag = self.tokens.closing(open.name)?.span();
                self.open.pop();
                self.scope.leave(self.open.len());
                Some(Ok(Step::End { element: open.element, tag }))
            }
            [b'<', ..] => match self.tokens.plain_start()? {
                Token::Start { tag, name, attributes, empty } => Some(self.start(tag, name, attributes, empty)),
                _ => None,
            },
            _ => {
                let (len, plain) = run(rest);
                let len = len.filter(|len| plain && *len > 0)?;
                let from = self.tokens.at;
                self.tokens.at += len;
                let text = Span::new(from..self.tokens.at);
                // The tag too, as always: text before a broken one is no text.
                self.tag = self.tokens.closing(open.name).or_else(|| self.tokens.plain_start());
                if self.tag.is_none() {
                    self.tokens.at = from;
                    return None;
                }
                Some(Ok(Step::Text(Field { place: text, text, form: Form::Literal })))
            }
        }
    }

    /// The text before the next tag, and that tag.
    fn text(&mut self) -> Result<Option<Field>, Malformed> {
        let mut run = Run::default();
        let open = self.open.last().map(|open| open.name);
        loop {
            let closing = open.and_then(|name| self.tokens.closing(name));
            let next = if closing.is_some() { closing } else { self.tokens.next()? };
            match next {
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
        self.over = true;
        Ok(None)
    }
}

impl Steps for Cursor<'_> {
    fn step(&mut self) -> Result<Option<Step>, Malformed> {
        if let Some((element, at)) = self.ending.take() {
            self.open.pop();
            self.scope.leave(self.open.len());
            return Ok(Some(Step::End { element, tag: Span { start: at, end: at } }));
        }
        if self.over {
            return Ok(None);
        }
        if self.tag.is_none() {
            if self.open.is_empty() {
                return self.after();
            }
            if let Some(step) = self.plain() {
                return step.map(Some);
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
