//! A walk through an XML message.

use super::{
    super::{
        body::{Leaf, Plain, Step, Steps},
        element::Element,
        header::{Field, Form, HeaderIndex, Prologue, Span, XmlPrologue},
        limits,
        malformed::{Malformed, Problem},
    },
    chars::is_space,
    plain,
    prologue::{self, Before},
    scope::{Scope, split},
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
    /// Whether the name is written as the element's, without a prefix.
    plain: bool,
}

impl<'a> Cursor<'a> {
    /// A walk through the whole message, from the Start of the root.
    ///
    /// # Errors
    /// [`Malformed`] when byte-order mark, XML declaration, or what else stands before the root
    /// cannot be read.
    pub fn document(raw: &'a [u8]) -> Result<Self, Malformed> {
        let before = prologue::read(raw)?;
        Ok(Self::at(raw, before))
    }

    fn at(raw: &'a [u8], before: Before) -> Self {
        let (scope, open) = (Scope::default(), Vec::with_capacity(16));
        Self {
            raw,
            tokens: Tokens::new(raw, before.root as usize),
            scope,
            open,
            tag: None,
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
        let mut cursor = Self::at(raw, Before { root, ..Before::default() });
        let Some(Step::Start { empty: false, .. }) = cursor.step()? else { return Err(no_root(root)) };
        cursor.tokens.at = index.body as usize;
        Ok(cursor)
    }

    /// What stands before the root.
    pub(super) fn before(&self) -> Before {
        self.before
    }

    /// The prefix of the element that began last, and the value of the declaration that covers it.
    pub(super) fn name_space(&self) -> (Span, Option<Span>) {
        let name = self.open.last().map(|open| open.name).unwrap_or_default();
        let (prefix, local) = split(self.raw, name);
        (Span { start: name.start, end: local.start }, self.scope.declaration(self.raw, prefix))
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
        self.open.push(Open { element, name, declares: !attributes.is_empty(), plain: false });
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
    #[inline(always)]
    fn close(&mut self) -> Option<Open> {
        let open = self.open.pop()?;
        if open.declares {
            self.scope.leave(self.open.len());
        }
        Some(open)
    }

    /// What is still to be read, when the next step may be plain.
    #[inline]
    fn rest(&self) -> Option<&'a [u8]> {
        #[cfg(test)]
        if self.slow {
            return None;
        }
        if self.tag.is_some() { None } else { self.raw.get(self.tokens.at..) }
    }

    /// Passes over bytes that were read.
    #[inline]
    fn pass(&mut self, len: usize) -> Span {
        let start = self.tokens.at;
        self.tokens.at += len;
        Span::new(start..self.tokens.at)
    }

    /// How long the end tag is that goes on like this behind its `</`, when it is plain and may stand here.
    #[inline(always)]
    fn plain_end(&self, rest: &[u8]) -> Option<usize> {
        let open = self.open.last()?;
        if open.plain { plain::Name::ends(open.element, rest) } else { plain::ends(open.name.of(self.raw), rest) }
    }

    /// The start tag behind a `<`, when it is plain and may stand here.
    #[inline(always)]
    fn plain_start(&self, rest: &[u8]) -> Option<plain::Start> {
        let room = self.elements < limits::ELEMENTS && self.open.len() < limits::DEPTH;
        if !room || self.is_over() || self.scope.foreign() {
            return None;
        }
        plain::Start::read(rest)
    }

    /// The next step when it is plain. `None` for any other, right or wrong, and nothing is passed.
    #[inline]
    pub(super) fn plain(&mut self) -> Option<Step> {
        let rest = self.rest()?;
        match rest {
            [b'<', b'/', rest @ ..] => {
                let len = self.plain_end(rest)?;
                let element = self.close()?.element;
                Some(Step::End { element, tag: self.pass(len) })
            }
            [b'<', rest @ ..] => {
                let start = self.plain_start(rest)?;
                Some(self.begin(&start))
            }
            _ => {
                let text = self.plain_text(rest).map(|len| self.pass(len))?;
                Some(Step::Text(Field { place: text, text, form: Form::Literal }))
            }
        }
    }

    /// How long the text is that comes next, when it is plain and may stand here.
    fn plain_text(&self, rest: &[u8]) -> Option<usize> {
        let len = plain::text(rest)?;
        // Text before a broken tag is none.
        let followed = match rest.get(len..)? {
            [b'<', b'/', rest @ ..] => self.plain_end(rest).is_some(),
            [b'<', rest @ ..] => !self.open.is_empty() && self.is_plain_start(rest),
            _ => false,
        };
        followed.then_some(len)
    }

    /// Takes a plain start tag.
    #[inline(always)]
    fn begin(&mut self, start: &plain::Start) -> Step {
        let plain::Start { element, declared, .. } = *start;
        let tag = self.pass(start.len);
        let name = Span { start: tag.start + 1, end: tag.end - 1 - declared };
        // Inside of SyncHdr and SyncBody, one of SyncML's name spaces in another changes nothing.
        let declares = declared > 0 && self.open.len() < 2;
        if declares {
            self.scope.declare(Span { start: name.end, end: tag.end - 1 }, self.open.len());
        }
        self.elements += 1;
        self.open.push(Open { element, name, declares, plain: true });
        Step::Start { element, tag, empty: false }
    }

    /// How long text and end tag are behind a plain start tag, when both are plain. `rest` is what follows it.
    #[inline(always)]
    fn leaf(start: &plain::Start, rest: &[u8]) -> Option<(usize, usize)> {
        if rest.first() == Some(&b'<') {
            return None;
        }
        let text = plain::text(rest).filter(|text| *text > 0)?;
        let [b'<', b'/', rest @ ..] = rest.get(text..)? else { return None };
        Some((text, plain::Name::ends(start.element, rest)?))
    }

    #[inline(never)]
    fn is_plain_start(&self, rest: &[u8]) -> bool {
        self.plain_start(rest).is_some()
    }

    /// Whether the root has ended.
    #[inline]
    fn is_over(&self) -> bool {
        self.open.is_empty() && self.elements > 0
    }

    /// The next step, by the whole grammar.
    #[cold]
    fn by_grammar(&mut self) -> Result<Option<Step>, Malformed> {
        if self.tag.is_none() {
            if self.is_over() {
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
    fn step(&mut self) -> Result<Option<Step>, Malformed> {
        match self.plain() {
            Some(step) => Ok(Some(step)),
            None => self.by_grammar(),
        }
    }

    fn skim(&mut self, mut take: impl FnMut(Plain) -> bool) {
        let open = self.open.len();
        while let Some(rest) = self.rest() {
            match rest {
                [b'<', b'/', rest @ ..] if self.open.len() > open => {
                    let Some(len) = self.plain_end(rest) else { return };
                    self.close();
                    self.tokens.at += len;
                }
                [b'<', rest @ ..] => {
                    let Some(start) = self.plain_start(rest) else { return };
                    let leaf = rest.get(start.len - 1..).and_then(|rest| Self::leaf(&start, rest));
                    let plain = Plain {
                        element: start.element,
                        outer: self.open.last().map_or(Element::Other, |open| open.element),
                        depth: self.open.len() + 1,
                        leaf: leaf.map(|(text, end)| {
                            let at = self.tokens.at + start.len;
                            let (text, end) = (Span::new(at..at + text), Span::new(at + text..at + text + end));
                            Leaf { field: Field { place: text, text, form: Form::Literal }, end, page: 0 }
                        }),
                    };
                    if !take(plain) {
                        return;
                    }
                    match leaf {
                        Some((text, end)) => {
                            self.elements += 1;
                            self.tokens.at += start.len + text + end;
                        }
                        None => _ = self.begin(&start),
                    }
                }
                _ if self.open.len() > open => {
                    let Some(len) = self.plain_text(rest) else { return };
                    self.tokens.at += len;
                }
                _ => return,
            }
        }
    }

    fn page(&self) -> u8 {
        0
    }

    fn depth(&self) -> usize {
        self.open.len()
    }

    fn open(&self, depth: usize) -> Element {
        self.open.get(depth.wrapping_sub(1)).map_or(Element::Other, |open| open.element)
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
