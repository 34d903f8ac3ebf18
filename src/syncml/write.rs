//! Writing elements, in the encoding of the message that they go into or answer.

use super::{
    element::Element,
    header::{Field, HeaderIndex, Prologue, Slot, Span},
    version::Forms,
    wbxml, xml,
};

/// Writes elements in XML or WBXML.
#[derive(Debug)]
pub enum Writer {
    /// XML.
    Xml(xml::Writer),
    /// WBXML.
    Wbxml(wbxml::Writer),
}

impl Writer {
    /// For a whole message that answers `raw`: its encoding, DOCTYPE or public id form, and xmlns.
    /// `forms` are those of the version to write; `None` writes exactly what `raw` has.
    #[must_use]
    pub fn document(raw: &[u8], index: &HeaderIndex, forms: Option<&Forms>) -> Self {
        match index.prologue {
            Prologue::Xml(prologue) => Self::Xml(xml::Writer::document(raw, &prologue, forms)),
            Prologue::Wbxml(_) => Self::Wbxml(wbxml::Writer::document(raw, index, forms)),
        }
    }

    /// Opens an element.
    pub fn open(&mut self, element: Element) {
        match self {
            Self::Xml(writer) => writer.open(element),
            Self::Wbxml(writer) => writer.open(element),
        }
    }

    /// Closes the element that was opened last.
    pub fn close(&mut self) {
        match self {
            Self::Xml(writer) => writer.close(),
            Self::Wbxml(writer) => writer.close(),
        }
    }

    /// Writes an element that holds a text.
    pub fn leaf(&mut self, element: Element, text: &str) {
        match self {
            Self::Xml(writer) => writer.leaf(element, text),
            Self::Wbxml(writer) => writer.leaf(element, text),
        }
    }

    /// Writes an element without content.
    pub fn empty(&mut self, element: Element) {
        match self {
            Self::Xml(writer) => writer.empty(element),
            Self::Wbxml(writer) => writer.empty(element),
        }
    }

    /// What was written.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        match self {
            Self::Xml(writer) => writer.finish(),
            Self::Wbxml(writer) => writer.finish(),
        }
    }
}

/// The edit that adds children at the end of `element`: what to put in `slot.span`. `tag` is a tag
/// of that element, or of one with the same prefix.
#[must_use]
pub fn fill(
    raw: &[u8],
    index: &HeaderIndex,
    slot: Slot,
    tag: Option<Span>,
    element: Element,
    children: impl FnOnce(&mut Writer),
) -> Vec<u8> {
    match index.prologue {
        Prologue::Xml(prologue) => {
            let prefix = tag.map_or(prologue.prefix, |tag| xml::prefix(raw, tag));
            let mut writer = Writer::Xml(xml::Writer::fragment(prefix.of(raw)));
            if slot.empty
                && let Writer::Xml(xml) = &mut writer
            {
                xml.reopen(element);
            }
            children(&mut writer);
            if slot.empty {
                writer.close();
            }
            writer.finish()
        }
        Prologue::Wbxml(_) => {
            let mut writer = wbxml::Writer::fragment(slot.page);
            if slot.empty {
                writer.reopen(slot.span.of(raw));
            }
            let mut writer = Writer::Wbxml(writer);
            children(&mut writer);
            if slot.empty {
                writer.close();
            }
            writer.finish()
        }
    }
}

/// What to put in `field.place` so that `element` holds `text`, which has no `]]>` in it.
#[must_use]
pub fn value(raw: &[u8], index: &HeaderIndex, field: Field, element: Element, text: &str) -> Vec<u8> {
    match index.prologue {
        Prologue::Xml(prologue) => xml::value(raw, prologue.prefix, field, element, text),
        Prologue::Wbxml(prologue) => wbxml::value(raw, &prologue, field, text),
    }
}
