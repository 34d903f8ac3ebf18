//! WBXML: the binary form of a message. The names that the common code needs; what is behind them
//! comes with the WBXML reader.

use super::{
    body::{Step, Steps},
    bridge::{Bridged, Crossing},
    element::Element,
    header::WbxmlPrologue,
    header::{Field, HeaderIndex},
    malformed::{Malformed, Problem},
    version::Forms,
};

/// Reads the header, the root's tag and SyncHdr.
///
/// # Errors
/// [`Malformed`] as [`super::scan`].
pub fn scan(_raw: &[u8]) -> Result<HeaderIndex, Malformed> {
    Err(Malformed::new(Problem::Charset, 0))
}

/// The edits that name another version in the WBXML header and in the root's attributes: the public
/// identifier as a number or as text, and `xmlns`, each where it agrees with the version the message is in.
pub(super) fn names(_raw: &[u8], _prologue: &WbxmlPrologue, _crossing: &Crossing<'_>, _bridged: &mut Bridged) {}

/// A walk through a WBXML document.
#[derive(Debug)]
pub struct Cursor<'a> {
    _raw: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// A walk from the root's Start.
    ///
    /// # Errors
    /// [`Malformed`] when the WBXML header cannot be read.
    pub fn document(_raw: &'a [u8]) -> Result<Self, Malformed> {
        Err(Malformed::new(Problem::Charset, 0))
    }

    /// A walk from behind SyncHdr, the root open.
    ///
    /// # Errors
    /// [`Malformed`] when the index does not belong to the message.
    pub fn body(_raw: &'a [u8], _index: &HeaderIndex) -> Result<Self, Malformed> {
        Err(Malformed::new(Problem::Charset, 0))
    }
}

impl Steps for Cursor<'_> {
    fn step(&mut self) -> Result<Option<Step>, Malformed> {
        Err(Malformed::new(Problem::Charset, 0))
    }

    fn page(&self) -> u8 {
        0
    }

    fn depth(&self) -> usize {
        0
    }
}

/// Writes WBXML elements: a fragment of a message, or a whole one. Switches code pages as needed.
#[derive(Debug)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// For a fragment at a place where `page` is in force; [`Writer::finish`] leaves that page in force.
    #[must_use]
    pub fn fragment(_page: u8) -> Self {
        Self { out: Vec::new() }
    }

    /// For a whole message that answers another: its WBXML version (at most 1.2 unless it is 1.3),
    /// the form of its public id, UTF-8, no string table but for a textual public id, the root's
    /// `xmlns` attribute when it has one. `forms` are those of the version to write, or `None` to
    /// write exactly what the other message has. The root is opened by the caller, as any element.
    #[must_use]
    pub fn document(_raw: &[u8], _index: &HeaderIndex, _forms: Option<&Forms>) -> Self {
        Self { out: Vec::new() }
    }

    /// Opens an element.
    pub fn open(&mut self, _element: Element) {}

    /// Closes the element that was opened last.
    pub fn close(&mut self) {}

    /// Writes an element without content.
    pub fn empty(&mut self, _element: Element) {}

    /// Writes an element that holds a text.
    pub fn leaf(&mut self, _element: Element, _text: &str) {}

    /// What was written.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.out
    }
}

/// What to put in `field.place` so that `element` holds `text`. Where the element is written as
/// empty, `field.place` is its tag token, and is opened.
#[must_use]
pub fn value(_raw: &[u8], _field: Field, _element: Element, _text: &str) -> Vec<u8> {
    Vec::new()
}
