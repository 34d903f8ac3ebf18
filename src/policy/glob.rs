//! Patterns with `*` (anything) and `?` (one character), compared exactly otherwise.

use wildmatch::WildMatch;

/// A pattern.
///
/// All rules of a site are looked at for every message, and most patterns fail: so the last character in
/// front of the first wildcard is compared first (device identifiers begin alike), and the rest is boxed.
#[derive(Clone, Debug, PartialEq)]
pub struct Glob {
    /// The last byte of what stands in front of the first wildcard, and its index.
    probe: Option<(u32, u8)>,
    whole: Box<WildMatch>,
}

impl Glob {
    /// Any text is a pattern.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        let prefix = pattern.split(['*', '?']).next().unwrap_or_default().as_bytes();
        let last = prefix.len().checked_sub(1).and_then(|last| u32::try_from(last).ok());
        Self { probe: last.zip(prefix.last().copied()), whole: Box::new(WildMatch::new(pattern)) }
    }

    /// Whether the whole of a text matches.
    #[must_use]
    #[inline]
    pub fn matches(&self, text: &str) -> bool {
        self.probe.is_none_or(|(index, byte)| text.as_bytes().get(index as usize) == Some(&byte)) && self.whole.matches(text)
    }

    /// The pattern as it was written, several `*` in a row as one.
    #[must_use]
    pub fn pattern(&self) -> String {
        self.whole.pattern()
    }

    /// Whether this matches everything that another pattern matches; false when in doubt. Read as a
    /// text, the other one matches only where its wildcards stand for themselves in a `*` of this one;
    /// a `?` may not stand for a whole `*`.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.pattern(), other.pattern());
        self.matches(&theirs) && !(ours.contains('?') && theirs.contains('*'))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wildmatch::WildMatch;

    use super::Glob;

    #[test]
    fn a_wider_pattern_includes_a_narrower_one() {
        for (wide, narrow, expected) in [
            ("A*", "AB*", true),
            ("*", "?", true),
            ("A?", "A*", false),
            ("A?", "AB", true),
            ("A*C", "AB*C", true),
            ("AB*", "A*", false),
            ("?*", "*", false),
            ("", "", true),
        ] {
            assert_eq!(Glob::new(wide).includes(&Glob::new(narrow)), expected, "{wide} {narrow}");
        }
    }

    proptest! {
        #[test]
        fn the_probe_changes_nothing(pattern in "[aä*?]{0,6}", text in "[aä]{0,6}") {
            prop_assert_eq!(Glob::new(&pattern).matches(&text), WildMatch::new(&pattern).matches(&text));
        }

        #[test]
        fn what_is_included_matches(wide in "[ab*?]{0,5}", narrow in "[ab*?]{0,5}", text in "[ab]{0,5}") {
            let (wide, narrow) = (Glob::new(&wide), Glob::new(&narrow));
            prop_assert!(!(wide.includes(&narrow) && narrow.matches(&text)) || wide.matches(&text));
        }
    }
}
