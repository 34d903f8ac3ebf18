//! The recommended version inside a message, for clients whose HTTP stack hides headers.

use std::borrow::Cow;

use super::{
    body::{Cursor, Step, Steps},
    edit::Edits,
    element::Element,
    header::{HeaderIndex, Slot, Span},
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
    let mut status = Status::default();
    let mut path = [Element::Other; 6];
    while let Some(step) = cursor.step().ok()? {
        let depth = cursor.depth();
        match step {
            Step::Start { element, tag, .. } => {
                if let Some(open) = path.get_mut(depth) {
                    *open = element;
                }
                if depth == COMMAND {
                    status = Status { tag, ..Status::default() };
                } else if let Some((field, end)) = cursor.leaf() {
                    status.text(path, depth, &version, || index.text(raw, field));
                    status.end(element, depth - 1, end, cursor.page());
                }
            }
            Step::Text(field) => status.text(path, depth, &version, || index.text(raw, field)),
            // What follows is not read: it costs more than everything else, and is the server's business.
            Step::End { element: Element::Status, .. } if depth == COMMAND - 1 && status.header => {
                return status.place.filter(|_| !status.said).and_then(|slot| item(raw, index, slot, status.tag, &version));
            }
            Step::End { element, tag } => status.end(element, depth, tag, cursor.page()),
        }
    }
    None
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
struct Status {
    tag: Span,
    /// Nothing says that it answers anything but the SyncHdr.
    header: bool,
    /// The version is in one of its Items.
    said: bool,
    place: Option<Slot>,
}

impl Status {
    /// Takes a text at a path.
    fn text<'a>(&mut self, path: [Element; 6], depth: usize, version: &str, text: impl FnOnce() -> Cow<'a, str>) {
        let [_, _, _, Element::Status, child, grandchild] = path else { return };
        match (depth, child, grandchild) {
            (4, Element::Cmd, _) => self.header &= text().trim() == "SyncHdr",
            (4, Element::CmdRef, _) => self.header &= text().trim() == "0",
            (5, Element::Item, Element::Data) => self.said |= text().trim() == version,
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

impl Default for Status {
    fn default() -> Self {
        Self { tag: Span::default(), header: true, said: false, place: None }
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
