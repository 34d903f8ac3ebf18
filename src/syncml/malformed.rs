//! What is wrong with a message that cannot be read, and where.

use std::fmt;

/// Why a message cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Problem {
    /// Not well-formed: a tag that is not closed, a stray character, a broken token.
    Syntax,
    /// It ends before it is complete.
    Truncated,
    /// Not UTF-8 (XML), or a charset that cannot be read (WBXML).
    Charset,
    /// The root is not SyncML.
    NotSyncMl,
    /// SyncHdr is not the first child of the root.
    NoSyncHdr,
    /// A required element of SyncHdr is missing; its name.
    Missing(&'static str),
    /// An element of SyncHdr is there twice; its name.
    Duplicate(&'static str),
    /// Elements where a value must be; the name of the element that holds them.
    NotText(&'static str),
    /// Nested deeper than any SyncML message is.
    TooDeep,
    /// A value, a tag or the number of items is larger than any SyncML message needs.
    TooLarge,
    /// A DOCTYPE that declares entities.
    Entities,
    /// A reference to something that is not declared.
    Reference,
    /// Something after the end of the document.
    Trailing,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax => f.write_str("not well-formed"),
            Self::Truncated => f.write_str("truncated"),
            Self::Charset => f.write_str("charset cannot be read"),
            Self::NotSyncMl => f.write_str("the root is not SyncML"),
            Self::NoSyncHdr => f.write_str("no SyncHdr first"),
            Self::Missing(name) => write!(f, "{name} is missing"),
            Self::Duplicate(name) => write!(f, "{name} is there twice"),
            Self::NotText(name) => write!(f, "{name} holds no plain value"),
            Self::TooDeep => f.write_str("nested too deep"),
            Self::TooLarge => f.write_str("too large"),
            Self::Entities => f.write_str("DOCTYPE declares entities"),
            Self::Reference => f.write_str("reference to something undeclared"),
            Self::Trailing => f.write_str("bytes after the end of the document"),
        }
    }
}

/// A message that cannot be read: what is wrong, and at which byte it was noticed. It never quotes
/// the message, which may hold identifiers and credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{problem} at byte {at}")]
pub struct Malformed {
    /// What is wrong.
    pub problem: Problem,
    /// The byte at which it was noticed.
    pub at: u32,
}

impl Malformed {
    /// A problem noticed at an index.
    #[must_use]
    pub fn new(problem: Problem, at: usize) -> Self {
        Self { problem, at: u32::try_from(at).unwrap_or(u32::MAX) }
    }
}
