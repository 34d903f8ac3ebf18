//! What nearly all tags and texts are, read many bytes at once. What is not plain, right or wrong, is left to
//! the whole grammar.

use super::{
    super::element::{Element, word_of},
    chars::{SHORT, class},
};

/// How nearly all declarations of SyncML's name spaces are written, and the end of the tag.
const METINF: &[u8] = b" xmlns=\"syncml:metinf\">";
const SYNCML: [&[u8]; 4] = [
    b" xmlns=\"SYNCML:SYNCML1.2\">",
    b" xmlns=\"SYNCML:SYNCML1.1\">",
    b" xmlns=\"syncml:SYNCML1.1\">",
    b" xmlns=\"syncml:SYNCML1.2\">",
];

/// The names of SyncML, by element, so that each is compared at once.
static NAMES: [Name; Element::ALL.len()] = {
    let mut names = [Name { word: 0, end: 0, mask: 0, len: 0 }; Element::ALL.len()];
    let mut rest = Element::ALL;
    let mut to: &mut [Name] = &mut names;
    while let ([first, more @ ..], [name, others @ ..]) = (rest, to) {
        *name = Name::new(first.name());
        (rest, to) = (more, others);
    }
    names
};

/// A name of SyncML and the end of its tag.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name {
    word: u128,
    /// With `>` behind it.
    end: u128,
    mask: u128,
    /// Without the `>`.
    len: usize,
}

impl Name {
    const fn new(name: &str) -> Self {
        let len = name.len();
        let word = word_of(name);
        Self { word, end: word | (b'>' as u128) << (8 * len), mask: u128::MAX >> (8 * (15 - len)), len }
    }

    /// How long an end tag is that goes on with the name and `>` behind its `</`.
    #[inline]
    pub(super) fn ends(element: Element, rest: &[u8]) -> Option<usize> {
        let name = NAMES.get(element as usize)?;
        first(rest).filter(|word| word & name.mask == name.end).map(|_| name.len + 3)
    }
}

/// The same for any name, as with a prefix.
#[cold]
pub(super) fn ends(name: &[u8], rest: &[u8]) -> Option<usize> {
    let rest = rest.strip_prefix(name)?;
    (rest.first() == Some(&b'>')).then_some(name.len() + 3)
}

/// A plain start tag: a known name without a prefix, and nothing else or one of these declarations.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    pub(super) element: Element,
    /// How long it is.
    pub(super) len: usize,
    /// How much of it is the declaration.
    pub(super) declared: u32,
}

impl Start {
    /// The tag, from the byte behind its `<` on.
    #[inline(always)]
    pub(super) fn read(rest: &[u8]) -> Option<Self> {
        let word = first(rest)?;
        // The letters have this bit, and what may end a name has not: of these bits the lowest.
        let ends = !word & u128::from_le_bytes([0x40; 16]);
        let end = ends & ends.wrapping_neg();
        let word = word & (end >> 6).wrapping_sub(1);
        let element = Element::guess(word);
        let name = NAMES.get(element as usize).filter(|name| name.word == word)?;
        let declared = match rest.get(name.len)? {
            b'>' => 0,
            b' ' => declaration(rest.get(name.len..)?)?,
            _ => return None,
        };
        Some(Self { element, len: name.len + declared as usize + 2, declared })
    }
}

/// How long the declaration is that a plain tag ends with.
fn declaration(rest: &[u8]) -> Option<u32> {
    if rest.starts_with(METINF) {
        return Some(METINF.len() as u32 - 1);
    }
    SYNCML.iter().find(|space| rest.starts_with(space)).map(|space| space.len() as u32 - 1)
}

#[inline]
fn first(rest: &[u8]) -> Option<u128> {
    rest.first_chunk().map(|chunk| u128::from_le_bytes(*chunk))
}

/// The length of the character data at the beginning, when nothing in it needs a closer look.
#[inline]
pub(super) fn text(rest: &[u8]) -> Option<usize> {
    const fn each(byte: u8) -> u64 {
        u64::from_le_bytes([byte; 8])
    }
    let mut len = 0;
    while let Some(chunk) = rest.get(len..)?.first_chunk() {
        let chunk = u64::from_le_bytes(*chunk);
        let is = |byte: u8| (chunk ^ each(byte)).wrapping_sub(each(1));
        // The highest bit of each byte that is markup, a control, `]` or no ASCII. A borrow may set others, above.
        let found = (chunk | chunk.wrapping_sub(each(0x20)) | is(b'<') | is(b'&') | is(b']')) & each(0x80);
        if found != 0 {
            len += found.trailing_zeros() as usize / 8;
            break;
        }
        len += 8;
    }
    let rest = rest.get(len..)?;
    if rest.first() == Some(&b'<') {
        return Some(len);
    }
    // Line ends are no controls, and before a tag there is little behind them.
    for (at, byte) in rest.iter().take(SHORT).enumerate() {
        if class::has(*byte, class::MARKUP) {
            return Some(len + at);
        }
        if class::has(*byte, class::SUSPECT) {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests;
