//! Writing XML that the strictest clients take: plain names, no white space between tags, references
//! only where a value needs them.

use std::borrow::Cow;

use quick_xml::escape::partial_escape;

use super::{
    super::{
        element::Element,
        header::{Field, Form, Span, XmlPrologue},
        version::Forms,
    },
    chars::is_space,
    scope::split,
};

/// Writes XML elements.
#[derive(Debug)]
pub struct Writer {
    out: Vec<u8>,
    /// With its colon.
    prefix: Vec<u8>,
    /// What to write as the root's name space.
    xmlns: Option<Vec<u8>>,
    open: Vec<Element>,
}

impl Writer {
    /// For a fragment of a message whose elements have this prefix (with its colon).
    #[must_use]
    pub fn fragment(prefix: &[u8]) -> Self {
        Self { out: Vec::with_capacity(64), prefix: prefix.to_vec(), xmlns: None, open: Vec::new() }
    }

    /// For a whole message that answers another: with a DOCTYPE and an `xmlns` when that has them.
    /// `forms` are those of the version to write; `None` repeats what the other message has. The
    /// name space of a prefix becomes the default, since many clients refuse prefixes.
    #[must_use]
    pub fn document(raw: &[u8], prologue: &XmlPrologue, forms: Option<&Forms>) -> Self {
        let mut out = Vec::with_capacity(1024);
        out.extend_from_slice(br#"<?xml version="1.0" encoding="UTF-8"?>"#);
        if let Some(doctype) = prologue.doctype {
            match forms {
                None => out.extend_from_slice(doctype.of(raw)),
                Some(forms) => {
                    out.extend_from_slice(format!(r#"<!DOCTYPE SyncML PUBLIC "{}" "{}">"#, forms.fpi, forms.dtd_url).as_bytes());
                }
            }
        }
        let xmlns = prologue.xmlns.map(|theirs| match forms {
            None => theirs.of(raw).to_vec(),
            Some(forms) => xmlns_as(theirs.of(raw), &forms.xmlns),
        });
        Self { out, prefix: Vec::new(), xmlns, open: Vec::new() }
    }

    /// Makes the end of an empty element's tag (`/>`) into its opening; [`Writer::close`] ends it.
    pub fn reopen(&mut self, element: Element) {
        self.out.push(b'>');
        self.open.push(element);
    }

    /// Opens an element.
    pub fn open(&mut self, element: Element) {
        self.tag(element, false);
        self.open.push(element);
    }

    /// Closes the element that was opened last.
    pub fn close(&mut self) {
        if let Some(element) = self.open.pop() {
            self.end_tag(element);
        }
    }

    /// Writes an element without content.
    pub fn empty(&mut self, element: Element) {
        self.tag(element, true);
    }

    /// Writes an element that holds a text.
    pub fn leaf(&mut self, element: Element, text: &str) {
        let text = escaped(text);
        self.tag(element, false);
        self.out.extend_from_slice(text.as_bytes());
        self.end_tag(element);
    }

    /// What was written.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    /// Whether a tag is the name and nothing else.
    fn is_bare(&self, element: Element) -> bool {
        self.prefix.is_empty() && !element.is_meta()
    }

    fn tag(&mut self, element: Element, empty: bool) {
        let (start, _) = element.tags();
        if self.is_bare(element) && self.xmlns.is_none() && !empty {
            return self.out.extend_from_slice(start.as_bytes());
        }
        self.out.push(b'<');
        self.name(element);
        if element.is_meta() {
            if self.open.last().is_none_or(|parent| !parent.is_meta()) {
                self.out.extend_from_slice(br#" xmlns="syncml:metinf""#);
            }
        } else if self.open.is_empty()
            && let Some(xmlns) = self.xmlns.take()
        {
            let quote = if xmlns.contains(&b'"') { b'\'' } else { b'"' };
            self.out.extend_from_slice(b" xmlns=");
            self.out.push(quote);
            self.out.extend_from_slice(&xmlns);
            self.out.push(quote);
        }
        self.out.extend_from_slice(if empty { b"/>" } else { b">" });
    }

    fn end_tag(&mut self, element: Element) {
        if self.is_bare(element) {
            let (_, end) = element.tags();
            return self.out.extend_from_slice(end.as_bytes());
        }
        self.out.extend_from_slice(b"</");
        self.name(element);
        self.out.push(b'>');
    }

    /// Meta information declares its own name space as the default, and so has no prefix.
    fn name(&mut self, element: Element) {
        if !element.is_meta() {
            self.out.extend_from_slice(&self.prefix);
        }
        self.out.extend_from_slice(element.name().as_bytes());
    }
}

/// As quick-xml escapes it. Most texts have nothing of that in them, which costs less to find out here.
fn escaped(text: &str) -> Cow<'_, str> {
    let special = |byte| matches!(byte, b'<' | b'>' | b'&' | b'\r');
    // All are looked at, which can be done for many at once.
    if text.bytes().fold(false, |found, byte| found | special(byte)) { partial_escape(text) } else { Cow::Borrowed(text) }
}

/// A name space in the form that someone wrote it: `SYNCML:SYNCML1.2` for `syncml:SYNCML1.1` is
/// `syncml:SYNCML1.2`. A form without a version stays as it is.
pub(crate) fn xmlns_as(theirs: &[u8], ours: &str) -> Vec<u8> {
    let digits = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    let stem = theirs.len() - theirs.iter().rev().take_while(|byte| digits(byte)).count();
    let (stem, number) = theirs.split_at_checked(stem).unwrap_or((theirs, b""));
    let our_stem = ours.trim_end_matches(|character: char| character.is_ascii_digit() || character == '.');
    if number.is_empty() {
        return theirs.to_vec();
    }
    if !stem.eq_ignore_ascii_case(our_stem.as_bytes()) {
        return ours.as_bytes().to_vec();
    }
    let ours = ours.as_bytes().get(our_stem.len()..).unwrap_or_default();
    [stem, ours].concat()
}

/// The name in a tag.
fn name(raw: &[u8], tag: Span) -> Span {
    let inside = tag.of(raw);
    let start = inside.iter().take_while(|byte| matches!(byte, b'<' | b'/')).count();
    let rest = inside.get(start..).unwrap_or_default();
    let len = rest.iter().position(|byte| is_space(*byte) || matches!(byte, b'/' | b'>')).unwrap_or(rest.len());
    let start = tag.start as usize + start;
    Span::new(start..start + len)
}

/// The prefix of a tag, with its colon; empty without.
#[must_use]
pub fn prefix(raw: &[u8], tag: Span) -> Span {
    let name = name(raw, tag);
    let (_, local) = split(raw, name);
    Span { start: name.start, end: local.start }
}

/// What to put in `field.place` so that `element` holds `text`, which has no `]]>` in it. Where the element
/// is written as empty, `field.place` is the `/>` of its tag, and is opened.
#[must_use]
pub fn value(raw: &[u8], prefix: Span, field: Field, element: Element, text: &str) -> Vec<u8> {
    if field.form == Form::Literal && field.text.is_empty() && field.place.of(raw) == b"/>" {
        let mut writer = Writer::fragment(prefix.of(raw));
        writer.reopen(element);
        writer.out.extend_from_slice(escaped(text).as_bytes());
        writer.close();
        return writer.finish();
    }
    let in_cdata = raw.get(..field.place.start as usize).is_some_and(|before| before.ends_with(b"<![CDATA["));
    if in_cdata { text.as_bytes().to_vec() } else { escaped(text).as_bytes().to_vec() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_reader_would_take_for_something_else_is_escaped() {
        let mut writer = Writer::fragment(b"");
        writer.leaf(Element::Data, "a\rb");
        writer.leaf(Element::Data, "<&>\n");
        assert_eq!(writer.finish(), b"<Data>a&#13;b</Data><Data>&lt;&amp;&gt;\n</Data>");
    }

    proptest! {
        #[test]
        fn texts_are_escaped_as_quick_xml_escapes_them(text in ".{0,8}|[a&<>\r\n\t\"']{0,8}") {
            prop_assert_eq!(escaped(&text), partial_escape(&text));
        }
    }
}
