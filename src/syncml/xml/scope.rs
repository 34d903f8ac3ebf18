//! Name spaces: which prefix means what, in which part of the message.

use super::{
    super::{element::Element, header::Span, malformed::Malformed},
    attribute::attributes,
};

/// A declaration in force: `xmlns="…"` or `xmlns:prefix="…"`.
#[derive(Clone, Copy, Debug)]
struct Binding {
    /// How many elements were open outside of the one that has it.
    depth: usize,
    /// Without the colon; empty for the default.
    prefix: Span,
    value: Span,
    /// Whether the name space is SyncML's, or its meta information's.
    ours: bool,
}

/// The declarations in force.
#[derive(Debug, Default)]
pub(super) struct Scope {
    bindings: Vec<Binding>,
    /// Whether the default is another name space than SyncML's.
    foreign: bool,
}

impl Scope {
    /// Takes the declarations of a start tag.
    pub(super) fn enter(&mut self, raw: &[u8], inside: Span, depth: usize) -> Result<(), Malformed> {
        for attribute in attributes(raw, inside) {
            let attribute = attribute?;
            let Some(rest) = attribute.name.of(raw).strip_prefix(b"xmlns") else { continue };
            let prefix = match rest {
                [] => Span::default(),
                [b':', ..] => Span { start: attribute.name.start + 6, end: attribute.name.end },
                _ => continue,
            };
            let value = attribute.value;
            self.bindings.push(Binding { depth, prefix, value, ours: is_ours(value.of(raw)) });
        }
        self.foreign = self.is_foreign();
        Ok(())
    }

    /// Takes a declaration of one of SyncML's name spaces as the default, ` xmlns="…"`.
    pub(super) fn declare(&mut self, inside: Span, depth: usize) {
        let value = Span { start: inside.start + 8, end: inside.end - 1 };
        self.bindings.push(Binding { depth, prefix: Span::default(), value, ours: true });
        self.foreign = false;
    }

    /// Forgets the declarations of an element that ends.
    pub(super) fn leave(&mut self, depth: usize) {
        while self.bindings.last().is_some_and(|binding| binding.depth >= depth) {
            self.bindings.pop();
        }
        self.foreign = self.is_foreign();
    }

    fn is_foreign(&self) -> bool {
        self.bindings.iter().rev().find(|binding| binding.prefix.is_empty()).is_some_and(|binding| !binding.ours)
    }

    /// Whether a name without a prefix is none of SyncML's.
    pub(super) fn foreign(&self) -> bool {
        self.foreign
    }

    /// Which element a name is. A prefix that nothing declares, and no name space at all, are taken
    /// for SyncML's: many clients declare nothing.
    pub(super) fn element(&self, raw: &[u8], name: Span) -> Element {
        // Nearly all are known and have no prefix.
        let known = Element::named(name.of(raw));
        if known != Element::Other {
            return if self.foreign { Element::Other } else { known };
        }
        let (prefix, local) = split(raw, name);
        let ours = match self.binding(raw, prefix) {
            Some(binding) => binding.ours,
            None => prefix.of(raw) != b"xml",
        };
        if ours { Element::named(local.of(raw)) } else { Element::Other }
    }

    /// The value of the declaration that covers names with a prefix.
    pub(super) fn declaration(&self, raw: &[u8], prefix: Span) -> Option<Span> {
        self.binding(raw, prefix).map(|binding| binding.value)
    }

    fn binding(&self, raw: &[u8], prefix: Span) -> Option<&Binding> {
        let same = |other: Span| other.len() == prefix.len() && (prefix.is_empty() || other.of(raw) == prefix.of(raw));
        self.bindings.iter().rev().find(|binding| same(binding.prefix))
    }
}

/// A name's prefix without the colon, and its local part.
pub(super) fn split(raw: &[u8], name: Span) -> (Span, Span) {
    // Names are shorter than it takes to set up a search.
    match name.of(raw).iter().position(|byte| *byte == b':') {
        Some(colon) => {
            let colon = name.start + u32::try_from(colon).unwrap_or_default();
            (Span { start: name.start, end: colon }, Span { start: colon + 1, end: name.end })
        }
        None => (Span { start: name.start, end: name.start }, name),
    }
}

/// `SYNCML:SYNCML1.2`, `syncml:SYNCML1.1`, `syncml:syncml`; `syncml:metinf`; and no name space.
fn is_ours(value: &[u8]) -> bool {
    let begins = |known: &[u8]| value.get(..known.len()).is_some_and(|start| start.eq_ignore_ascii_case(known));
    let usual = value == b"syncml:metinf" || value.starts_with(b"SYNCML:SYNCML");
    usual || value.is_empty() || begins(b"syncml:syncml") || begins(b"syncml:metinf")
}
