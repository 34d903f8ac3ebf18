//! Walking through a message, element by element, the same way in XML and WBXML.
//!
//! A walk checks what it passes: it is an error, not a surprise later, when the message is not
//! well-formed up to the present step.

use super::{
    element::Element,
    header::{Encoding, Field, HeaderIndex, Slot, Span},
    malformed::Malformed,
    wbxml, xml,
};

/// One step of a walk. Every Start has its End, also when the element is written as empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// An element begins.
    Start {
        /// Which one.
        element: Element,
        /// XML: its start tag, `<` to `>`. WBXML: its tag token with the attributes.
        tag: Span,
        /// Whether it is written as empty: `<Final/>`, or a WBXML token without content. Its End
        /// comes next.
        empty: bool,
    },
    /// The text between two tags: everything that makes up the value, as one field. White space
    /// counts; comments and processing instructions do not.
    Text(Field),
    /// An element ends.
    End {
        /// Which one.
        element: Element,
        /// XML: its end tag. WBXML: its END token. For an element written as empty: nothing, right
        /// behind its start.
        tag: Span,
    },
}

/// An element that comes next, and about which nothing is special.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    /// Which one.
    pub element: Element,
    /// The one around it.
    pub outer: Element,
    /// How many elements are open in it, itself among them.
    pub depth: usize,
    /// The whole of it, when it holds a text and nothing else. Without, it may hold a text all the same, which is
    /// written in a way that is not passed so.
    pub leaf: Option<Leaf>,
}

/// What an element is made of that holds a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The text, which is not empty.
    pub field: Field,
    /// Its end tag, as in [`Step::End`].
    pub end: Span,
    /// The WBXML code page in force behind that, as [`Steps::page`] gives it.
    pub page: u8,
}

/// What every walk offers, whatever the encoding.
pub trait Steps {
    /// The next step; `None` at the end of the document. Past an error there is nothing more.
    ///
    /// # Errors
    /// [`Malformed`] when the message cannot be read any further.
    fn step(&mut self) -> Result<Option<Step>, Malformed>;

    /// Goes through what comes next the quick way, as far as nothing is special about it: shows each element, and
    /// passes it where it is taken. What is in an element that holds more than a text is shown in turn, but for
    /// texts between elements. It ends before an element that is not taken, and before a text or the End of one
    /// that was open already. How far it comes depends on how a message is written, and it may not come
    /// anywhere: what it does not pass are the next steps.
    fn skim(&mut self, take: impl FnMut(Plain) -> bool);

    /// The WBXML code page in force behind the last step: behind a Start it is the page of the
    /// content, behind an End the one that the next token will be read in. Always 0 in XML.
    fn page(&self) -> u8;

    /// How many elements are open: 1 inside the root, 0 before and behind it.
    fn depth(&self) -> usize;

    /// The element that is open at a depth: at 1 the root. [`Element::Other`] where none is.
    fn open(&self, depth: usize) -> Element;
}

/// A walk through a message of either encoding.
#[derive(Debug)]
pub enum Cursor<'a> {
    /// Through XML.
    Xml(xml::Cursor<'a>),
    /// Through WBXML.
    Wbxml(wbxml::Cursor<'a>),
}

impl<'a> Cursor<'a> {
    /// A walk through a whole message. Its first step is the Start of the root.
    ///
    /// # Errors
    /// [`Malformed`] when what stands before the root cannot be read.
    pub fn document(encoding: Encoding, raw: &'a [u8]) -> Result<Self, Malformed> {
        match encoding {
            Encoding::Xml => xml::Cursor::document(raw).map(Self::Xml),
            Encoding::Wbxml => wbxml::Cursor::document(raw).map(Self::Wbxml),
        }
    }

    /// A walk through what follows SyncHdr. The root is open; its End is the last step.
    ///
    /// # Errors
    /// [`Malformed`] when the index does not belong to the message.
    pub fn body(raw: &'a [u8], index: &HeaderIndex) -> Result<Self, Malformed> {
        match index.encoding {
            Encoding::Xml => xml::Cursor::body(raw, index).map(Self::Xml),
            Encoding::Wbxml => wbxml::Cursor::body(raw, index).map(Self::Wbxml),
        }
    }

    /// The place at the end of an element's content: from its Start when that is written as empty,
    /// else from its End, right behind that step.
    #[must_use]
    pub fn slot(&self, step: Step) -> Option<Slot> {
        match (step, self) {
            (Step::End { tag, .. }, _) if !tag.is_empty() => {
                Some(Slot { span: Span { start: tag.start, end: tag.start }, empty: false, page: self.page() })
            }
            (Step::Start { tag, empty: true, .. }, Self::Xml(_)) => {
                Some(Slot { span: Span { start: tag.end.saturating_sub(2), end: tag.end }, empty: true, page: 0 })
            }
            (Step::Start { tag, empty: true, .. }, Self::Wbxml(_)) => Some(Slot { span: tag, empty: true, page: self.page() }),
            _ => None,
        }
    }
}

impl Steps for Cursor<'_> {
    fn step(&mut self) -> Result<Option<Step>, Malformed> {
        match self {
            Self::Xml(cursor) => cursor.step(),
            Self::Wbxml(cursor) => cursor.step(),
        }
    }

    fn skim(&mut self, take: impl FnMut(Plain) -> bool) {
        match self {
            Self::Xml(cursor) => cursor.skim(take),
            Self::Wbxml(cursor) => cursor.skim(take),
        }
    }

    fn page(&self) -> u8 {
        match self {
            Self::Xml(cursor) => cursor.page(),
            Self::Wbxml(cursor) => cursor.page(),
        }
    }

    fn depth(&self) -> usize {
        match self {
            Self::Xml(cursor) => cursor.depth(),
            Self::Wbxml(cursor) => cursor.depth(),
        }
    }

    fn open(&self, depth: usize) -> Element {
        match self {
            Self::Xml(cursor) => cursor.open(depth),
            Self::Wbxml(cursor) => cursor.open(depth),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
