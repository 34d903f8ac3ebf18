//! Patterns with `*` (anything) and `?` (one character), compared exactly otherwise.

use wildmatch::WildMatch;

/// A pattern. What stands in front of the first wildcard is compared first: of a hundred rules most fail there.
#[derive(Clone, Debug, PartialEq)]
pub struct Glob {
    prefix: Box<str>,
    whole: WildMatch,
}

impl Glob {
    /// Any text is a pattern.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        let prefix = pattern.split(['*', '?']).next().unwrap_or_default();
        Self { prefix: prefix.into(), whole: WildMatch::new(pattern) }
    }

    /// Whether the whole of a text matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        text.starts_with(&*self.prefix) && self.whole.matches(text)
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
        fn the_prefix_changes_nothing(pattern in "[ab*?]{0,6}", text in "[ab]{0,6}") {
            prop_assert_eq!(Glob::new(&pattern).matches(&text), WildMatch::new(&pattern).matches(&text));
        }

        #[test]
        fn what_is_included_matches(wide in "[ab*?]{0,5}", narrow in "[ab*?]{0,5}", text in "[ab]{0,5}") {
            let (wide, narrow) = (Glob::new(&wide), Glob::new(&narrow));
            prop_assert!(!(wide.includes(&narrow) && narrow.matches(&text)) || wide.matches(&text));
        }
    }
}
