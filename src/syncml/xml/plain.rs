//! What nearly all tags and texts are, read many bytes at once. What is not plain, right or wrong, is left to
//! the whole grammar.

use super::{
    super::element::Element,
    chars::{SHORT, class},
};

/// What a plain start tag with an attribute has.
pub(super) const METINF: &[u8] = b" xmlns=\"syncml:metinf\"";

/// A plain start tag: a known name without a prefix, and nothing else or the declaration of Meta's name space.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    pub(super) element: Element,
    /// How long its name is.
    pub(super) name: usize,
    /// How long the tag is.
    pub(super) len: usize,
    /// Whether it has the declaration.
    pub(super) metinf: bool,
    pub(super) end: End,
}

impl Start {
    /// The tag, from the byte behind its `<` on.
    #[inline]
    pub(super) fn read(rest: &[u8]) -> Option<Self> {
        let word = first(rest)?;
        // The letters have this bit, and what may end a name has not.
        let ends = !word & u128::from_le_bytes([0x40; 16]);
        let mask = ((ends & ends.wrapping_neg()) >> 6).wrapping_sub(1);
        let element = Element::of_word(word & mask);
        if element == Element::Other {
            return None;
        }
        let name = ends.trailing_zeros() as usize / 8;
        let (declared, metinf) = match rest.get(name..)? {
            [b'>', ..] => (0, false),
            declared if declared.get(..METINF.len()) == Some(METINF) && declared.get(METINF.len()) == Some(&b'>') => {
                (METINF.len(), true)
            }
            _ => return None,
        };
        let end = End { word: (word & mask) | (u128::from(b'>') << (name * 8)), mask: mask << 8 | 0xFF, len: name + 1 };
        Some(Self { element, name, len: name + declared + 2, metinf, end })
    }
}

/// The end tag of an element without white space in it, behind its `</`.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    word: u128,
    mask: u128,
    len: usize,
}

impl End {
    /// Of an element by its name as written.
    pub(super) fn of(name: &[u8]) -> Self {
        let mut word = [0; 16];
        match word.split_at_mut_checked(name.len()) {
            Some((room, [end, ..])) => {
                room.copy_from_slice(name);
                *end = b'>';
                let mask = u128::MAX >> (8 * (15 - name.len()));
                Self { word: u128::from_le_bytes(word), mask, len: name.len() + 1 }
            }
            // Too long: left to the whole grammar, since no word is like this one.
            _ => Self { word: 1, mask: 0, len: 0 },
        }
    }

    /// Its length, when it comes next.
    #[inline]
    pub(super) fn len(&self, rest: &[u8]) -> Option<usize> {
        first(rest).filter(|word| word & self.mask == self.word).map(|_| self.len)
    }
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
    // Line ends are no controls, and before a tag there is little behind them.
    for (at, byte) in rest.get(len..)?.iter().take(SHORT).enumerate() {
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
