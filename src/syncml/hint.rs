//! The recommended version inside a message, for clients whose HTTP stack hides headers.

use super::{
    body::{Cursor, Leaf, Plain, Step, Steps},
    edit::Edits,
    element::Element,
    header::{Field, HeaderIndex, Slot, Span},
    version::Version,
    write::fill,
};

/// What a hint in Meta begins with; a version follows.
const META: &str = "DM-Recommended-Version=";

/// Appends `<Item><Data>DM/1.3</Data></Item>` to the Status that answers the SyncHdr. `None` when there
/// is no such Status, when it says so already, when the message cannot be read so far, or when its
/// charset is one that protover does not write.
#[must_use]
pub fn status_item(raw: &[u8], index: &HeaderIndex, recommended: Version) -> Option<Edits> {
    if !index.editable() {
        return None;
    }
    let version = recommended.to_string();
    let mut cursor = Cursor::body(raw, index).ok()?;
    let mut status = Status { raw, index, version: &version, tag: Span::default(), header: true, said: false, place: None };
    loop {
        if cursor.open(COMMAND) == Element::Status {
            cursor.skim(|plain| status.take(plain));
        }
        let step = cursor.step().ok()??;
        let depth = cursor.depth();
        match step {
            Step::Start { tag, .. } if depth == COMMAND => {
                status = Status { tag, header: true, said: false, place: None, ..status };
            }
            Step::Text(field) if cursor.open(COMMAND) == Element::Status => {
                status.text(depth, cursor.open(depth - 1), cursor.open(depth), field);
            }
            // What follows is not read: it costs more than everything else, and is the server's business.
            Step::End { element: Element::Status, .. } if depth == COMMAND - 1 && status.header => {
                return status.place.filter(|_| !status.said).and_then(|slot| item(raw, index, slot, status.tag, &version));
            }
            Step::End { element, tag } => status.end(element, depth, tag, cursor.page()),
            Step::Start { .. } | Step::Text(_) => {}
        }
    }
}

fn item(raw: &[u8], index: &HeaderIndex, slot: Slot, tag: Span, version: &str) -> Option<Edits> {
    let with = fill(raw, index, slot, Some(tag), Element::Status, |writer| {
        writer.open(Element::Item);
        writer.leaf(Element::Data, version);
        writer.close();
    });
    let mut edits = Edits::new();
    edits.replace(slot.span, with).then_some(edits)
}

/// How deep the commands are.
const COMMAND: usize = 3;

/// A Status that is being read.
struct Status<'a> {
    raw: &'a [u8],
    index: &'a HeaderIndex,
    /// The version that it is to name.
    version: &'a str,
    tag: Span,
    /// Nothing says that it answers anything but the SyncHdr.
    header: bool,
    /// The version is in one of its Items.
    said: bool,
    place: Option<Slot>,
}

impl Status<'_> {
    /// Takes an element of it.
    #[inline]
    fn take(&mut self, plain: Plain) -> bool {
        let Some(Leaf { field, end, page }) = plain.leaf else {
            return !matches!(plain.element, Element::Cmd | Element::CmdRef | Element::Data | Element::Item);
        };
        self.text(plain.depth, plain.outer, plain.element, field);
        self.end(plain.element, plain.depth - 1, end, page);
        true
    }

    /// Takes a text: how deep, and in which element of which other.
    fn text(&mut self, depth: usize, outer: Element, element: Element, field: Field) {
        let says = |characters| self.index.says(self.raw, field, characters);
        match (depth - COMMAND, outer, element) {
            (1, _, Element::Cmd) => self.header &= says(Element::SyncHdr.name()),
            (1, _, Element::CmdRef) => self.header &= says("0"),
            (2, Element::Item, Element::Data) => self.said |= says(self.version),
            _ => {}
        }
    }

    /// Takes the end of an element, of which `depth` are still open. By the DTD the Items follow Data, and
    /// in 1.2 something may follow the Items.
    fn end(&mut self, element: Element, depth: usize, tag: Span, page: u8) {
        if depth == COMMAND && matches!(element, Element::Data | Element::Item) {
            self.place = Some(Slot { span: Span { start: tag.end, end: tag.end }, empty: false, page });
        }
    }
}

/// Adds `<EMI xmlns="syncml:metinf">DM-Recommended-Version=DM/1.3</EMI>` to SyncHdr/Meta, and Meta where
/// there is none. `None` when it is there already.
#[must_use]
pub fn header_meta(raw: &[u8], index: &HeaderIndex, recommended: Version) -> Option<Edits> {
    let text = format!("{META}{recommended}");
    let header = Span { start: 0, end: index.header.span.start };
    if !index.editable() || memchr::memmem::find(header.of(raw), text.as_bytes()).is_some() {
        return None;
    }
    let slot = index.meta.unwrap_or(index.header);
    let with = match index.meta {
        Some(meta) => fill(raw, index, meta, None, Element::Meta, |writer| writer.leaf(Element::EMI, &text)),
        None => fill(raw, index, index.header, None, Element::SyncHdr, |writer| {
            writer.open(Element::Meta);
            writer.leaf(Element::EMI, &text);
            writer.close();
        }),
    };
    let mut edits = Edits::new();
    edits.replace(slot.span, with).then_some(edits)
}

#[cfg(test)]
mod tests;
