//! Writing elements, and values in the form that they have.

use super::{
    super::{
        element::Element,
        header::{Field, Form, HeaderIndex, Prologue, PublicId, WbxmlPrologue},
        version::Forms,
        xml::xmlns_as,
    },
    text::last_switch,
    token::{ATTRIBUTES, CONTENT, END, LITERAL, OPAQUE, STR_I, SWITCH_PAGE, US_ASCII, UTF_8},
};

/// Writes WBXML elements: a fragment of a message, or a whole one. Switches code pages as needed.
#[derive(Debug)]
pub struct Writer {
    out: Vec<u8>,
    /// The code page in force.
    page: u8,
    /// The one to leave in force; nothing may follow a whole message.
    last: Option<u8>,
    open: usize,
    /// What to write as the root's `xmlns` attribute.
    xmlns: Option<Vec<u8>>,
}

impl Writer {
    /// For a fragment at a place where `page` is in force; [`Writer::finish`] leaves that page in force.
    #[must_use]
    pub fn fragment(page: u8) -> Self {
        Self { out: Vec::new(), page, last: Some(page), open: 0, xmlns: None }
    }

    /// For a whole message that answers another: its WBXML version, the form of its public id, UTF-8
    /// (or US-ASCII when that is what the other says), no string table but for a textual public id,
    /// and the `xmlns` attribute of Nokia's root. `forms` are those of the version to write, or `None`
    /// to write exactly what the other message has. The root is opened by the caller, as any element.
    #[must_use]
    pub fn document(raw: &[u8], index: &HeaderIndex, forms: Option<&Forms>) -> Self {
        let Prologue::Wbxml(prologue) = index.prologue else { return Self::fragment(0) };
        let mut table = Vec::new();
        let mut out = vec![prologue.version];
        match prologue.public_id {
            PublicId::Number { value, .. } => integer(&mut out, forms.map_or(value, |forms| forms.public_id)),
            PublicId::Text { fpi } => {
                integer(&mut out, 0);
                integer(&mut out, 0);
                table.extend_from_slice(forms.map_or(fpi.of(raw), |forms| forms.fpi.as_bytes()));
                if fpi.end < prologue.string_table.end {
                    table.push(0);
                }
            }
        }
        if prologue.version > 0 {
            integer(&mut out, if prologue.charset == US_ASCII { US_ASCII } else { UTF_8 });
        }
        counted(&mut out, &table);
        // A name of the attribute needs a string table, except for Nokia's, which are content with none.
        let nokia = prologue.xmlns.filter(|_| prologue.string_table.is_empty());
        let xmlns = nokia.map(|field| match forms {
            None => field.text.of(raw).to_vec(),
            Some(forms) => xmlns_as(field.text.of(raw), &forms.xmlns),
        });
        Self { out, page: 0, last: None, open: 0, xmlns }
    }

    /// Opens an element that is written as empty: its tag, with content. [`Writer::close`] ends it.
    pub(in super::super) fn reopen(&mut self, tag: &[u8]) {
        if let Some((first, rest)) = tag.split_first() {
            self.out.push(first | CONTENT);
            self.out.extend_from_slice(rest);
            self.open += 1;
        }
    }

    /// Opens an element.
    pub fn open(&mut self, element: Element) {
        self.tag(element, CONTENT);
        self.open += 1;
    }

    /// Closes the element that was opened last.
    pub fn close(&mut self) {
        if let Some(open) = self.open.checked_sub(1) {
            self.open = open;
            self.out.push(END);
        }
    }

    /// Writes an element without content.
    pub fn empty(&mut self, element: Element) {
        self.tag(element, 0);
    }

    /// Writes an element that holds a text.
    pub fn leaf(&mut self, element: Element, text: &str) {
        self.tag(element, CONTENT);
        string(&mut self.out, text);
        self.out.push(END);
    }

    /// What was written.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        if let Some(page) = self.last {
            self.switch(page);
        }
        self.out
    }

    fn switch(&mut self, page: u8) {
        if self.page != page {
            self.out.extend_from_slice(&[SWITCH_PAGE, page]);
            self.page = page;
        }
    }

    fn tag(&mut self, element: Element, content: u8) {
        let Some((page, code)) = element.token() else { return };
        self.switch(page);
        match self.xmlns.take() {
            None => self.out.push(code | content),
            Some(xmlns) => {
                self.out.extend_from_slice(&[code | content | ATTRIBUTES, LITERAL, 0, STR_I]);
                self.out.extend_from_slice(&xmlns);
                self.out.extend_from_slice(&[0, END]);
            }
        }
    }
}

/// What to put in `field.place` so that the element holds `text`, which is ASCII without NULs. A reference to the
/// string table becomes an inline string, so that no other reference changes; an opaque stays one,
/// with the padding and the length form that it has when the length is the same, so that changing the
/// value back gives the bytes there were. Where the element is written as empty, `field.place` is its
/// tag, and is opened.
#[must_use]
pub fn value(raw: &[u8], prologue: &WbxmlPrologue, field: Field, text: &str) -> Vec<u8> {
    let place = field.place.of(raw);
    let mut out = Vec::with_capacity(place.len() + text.len() + 3);
    match field.form {
        Form::Literal if field.place == field.text && !at_end(raw, field) => {
            out.extend_from_slice(text.as_bytes());
        }
        Form::Literal if field.text.is_empty() && !place.is_empty() => {
            let mut writer = Writer::fragment(0);
            writer.reopen(place);
            string(&mut writer.out, text);
            writer.close();
            return writer.finish();
        }
        Form::WbxmlOpaque if field.text.len() == text.len() => {
            let before = field.text.start.saturating_sub(field.place.start) as usize;
            out.extend_from_slice(place.get(..before).unwrap_or_default());
            out.extend_from_slice(text.as_bytes());
            out.extend_from_slice(place.get(before + text.len()..).unwrap_or_default());
        }
        Form::WbxmlOpaque => {
            out.push(OPAQUE);
            counted(&mut out, text.as_bytes());
        }
        Form::WbxmlMixed => {
            string(&mut out, text);
            // What follows is read in the code page that it was read in, unless it switches itself.
            let switches = raw.get(field.place.range().end) == Some(&SWITCH_PAGE);
            if !switches && let Some(page) = last_switch(raw, prologue.string_table, field.place) {
                out.extend_from_slice(&[SWITCH_PAGE, page]);
            }
        }
        Form::Literal | Form::XmlMixed | Form::WbxmlTable => string(&mut out, text),
    }
    out
}

/// Whether a value is missing in an element that is opened and closed: its place is before the END.
fn at_end(raw: &[u8], field: Field) -> bool {
    field.place.is_empty() && raw.get(field.place.range().start) == Some(&END)
}

/// A string: inline, or opaque when it has a NUL in it.
fn string(out: &mut Vec<u8>, text: &str) {
    if text.contains('\0') {
        out.push(OPAQUE);
        counted(out, text.as_bytes());
    } else {
        out.push(STR_I);
        out.extend_from_slice(text.as_bytes());
        out.push(0);
    }
}

/// Bytes with their length before them.
fn counted(out: &mut Vec<u8>, bytes: &[u8]) {
    integer(out, u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(bytes);
}

/// A multi-byte integer, in as few bytes as it takes.
pub(super) fn integer(out: &mut Vec<u8>, value: u32) {
    for shift in [28, 21, 14, 7] {
        if value >> shift != 0 {
            out.push(0x80 | (value >> shift & 0x7F) as u8);
        }
    }
    out.push((value & 0x7F) as u8);
}
