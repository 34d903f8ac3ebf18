//! Edits: what to change in a message, as spans and bytes. Applying none gives the same bytes back.

use bytes::Bytes;

use super::header::Span;

/// One change: the bytes of `span` become `with`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// What is replaced; empty to insert.
    pub span: Span,
    /// What takes its place; empty to remove.
    pub with: Bytes,
}

/// Changes to one message, sorted by place and disjoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    list: Vec<Edit>,
}

impl Edits {
    /// No edits.
    #[must_use]
    pub const fn new() -> Self {
        Self { list: Vec::new() }
    }

    /// Adds a replacement. One that overlaps an earlier one is refused and changes nothing: two
    /// reasons to change the same bytes are a mistake of the caller. Insertions at the same place
    /// keep the order in which they were added.
    pub fn replace(&mut self, span: Span, with: impl Into<Bytes>) -> bool {
        let index = self.list.partition_point(|edit| edit.span.end <= span.start && edit.span.start <= span.start);
        let clashes = |other: &Edit| other.span.start < span.end && span.start < other.span.end;
        let before = index.checked_sub(1).and_then(|index| self.list.get(index));
        if span.end < span.start || before.is_some_and(clashes) || self.list.get(index).is_some_and(clashes) {
            debug_assert!(false, "overlapping edit at {span:?}");
            return false;
        }
        self.list.insert(index, Edit { span, with: with.into() });
        true
    }

    /// Adds an insertion before the byte at `index`.
    pub fn insert(&mut self, index: u32, with: impl Into<Bytes>) -> bool {
        self.replace(Span { start: index, end: index }, with)
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The edits, by place.
    pub fn iter(&self) -> impl Iterator<Item = &Edit> {
        self.list.iter()
    }

    /// How long a message of `len` bytes will be afterwards.
    #[must_use]
    pub fn len_after(&self, len: usize) -> usize {
        self.list.iter().fold(len, |len, edit| len + edit.with.len() - edit.span.len().min(len + edit.with.len()))
    }

    /// The message with the edits made. Without edits it is the same `Bytes`, not a copy. Edits
    /// outside the message are ignored.
    #[must_use]
    pub fn apply(&self, raw: &Bytes) -> Bytes {
        if self.is_empty() {
            return raw.clone();
        }
        let mut out = Vec::with_capacity(self.len_after(raw.len()));
        let mut at = 0;
        for Edit { span, with } in &self.list {
            let Some(kept) = raw.get(at..span.range().start) else { break };
            if span.range().end > raw.len() {
                break;
            }
            out.extend_from_slice(kept);
            out.extend_from_slice(with);
            at = span.range().end;
        }
        out.extend_from_slice(raw.get(at..).unwrap_or_default());
        out.into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_edits_is_the_same_bytes_not_a_copy() {
        let raw = Bytes::from_static(b"<SyncML/>");
        assert_eq!(Edits::new().apply(&raw).as_ptr(), raw.as_ptr());
    }

    #[test]
    fn edits_apply_in_order_of_place() {
        let raw = Bytes::from_static(b"0123456789");
        let mut edits = Edits::new();
        assert!(edits.replace(Span::new(6..8), "six"));
        assert!(edits.insert(2, "a"));
        assert!(edits.insert(2, "b"));
        assert!(edits.replace(Span::new(2..3), ""));
        assert_eq!(edits.apply(&raw), "01ab345six89");
        assert_eq!(edits.len_after(raw.len()), 12);
    }

    proptest! {
        #[test]
        fn edits_change_only_their_spans(raw in proptest::collection::vec(any::<u8>(), 0..200), cuts in proptest::collection::btree_set(0usize..200, 0..12), with in proptest::collection::vec(any::<u8>(), 0..9)) {
            let cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut <= raw.len()).collect();
            let spans: Vec<Span> = cuts.chunks_exact(2).map(|pair| Span::new(pair[0]..pair[1])).collect();
            let mut edits = Edits::new();
            for span in spans.iter().rev() {
                prop_assert!(edits.replace(*span, with.clone()));
            }
            let mut expected = raw.clone();
            for span in spans.iter().rev() {
                expected.splice(span.range(), with.iter().copied());
            }
            let out = edits.apply(&Bytes::from(raw.clone()));
            prop_assert_eq!(out.len(), edits.len_after(raw.len()));
            prop_assert_eq!(&out[..], &expected[..]);
        }
    }
}
