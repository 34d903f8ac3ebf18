//! Characters and references, by the grammar of XML 1.0 (fifth edition).

/// Classes of bytes, so that most of them are looked at once.
pub(super) mod class {
    pub(in super::super) const NAME: u8 = 1;
    pub(in super::super) const SPACE: u8 = 2;
    /// Ends character data: `<` and `&`.
    pub(in super::super) const MARKUP: u8 = 4;
    /// Needs a closer look in character data: controls, `]`, what is not ASCII.
    pub(in super::super) const SUSPECT: u8 = 8;

    const fn of(byte: u8) -> u8 {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => SPACE,
            b'<' | b'&' => MARKUP,
            0..=0x1F | b']' | 0x80.. => SUSPECT,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b':' | b'_' | b'-' | b'.' => NAME,
            _ => 0,
        }
    }

    const TABLE: [u8; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            #[allow(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "evaluated by the compiler")]
            {
                table[byte] = of(byte as u8);
            }
            byte += 1;
        }
        table
    };

    #[inline]
    pub(in super::super) fn has(byte: u8, class: u8) -> bool {
        TABLE.get(usize::from(byte)).is_some_and(|classes| classes & class != 0)
    }
}

/// Most values are shorter than what pays for the set-up of a search.
pub(super) const SHORT: usize = 40;

/// The character that `&name;` stands for; `None` when nothing declares it.
pub(super) fn referred(name: &[u8]) -> Option<char> {
    let code = match name {
        b"lt" => return Some('<'),
        b"gt" => return Some('>'),
        b"amp" => return Some('&'),
        b"apos" => return Some('\''),
        b"quot" => return Some('"'),
        [b'#', b'x', digits @ ..] => number(digits, 16)?,
        [b'#', digits @ ..] => number(digits, 10)?,
        _ => return None,
    };
    char::from_u32(code).filter(|character| is_character(*character))
}

pub(super) fn number(digits: &[u8], radix: u32) -> Option<u32> {
    let plain = digits.iter().all(|digit| char::from(*digit).is_digit(radix));
    let text = std::str::from_utf8(digits).ok().filter(|_| plain)?;
    u32::from_str_radix(text, radix).ok()
}

pub(super) fn is_space(byte: u8) -> bool {
    class::has(byte, class::SPACE)
}

/// Production 2, `Char`.
pub(super) const fn is_character(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

pub(super) fn is_ascii_name(byte: u8) -> bool {
    class::has(byte, class::NAME)
}

/// Production 4a, `NameChar`. What may not stand first is told apart for ASCII only: no reader's view
/// of a message depends on the rest.
pub(super) const fn is_name(character: char) -> bool {
    matches!(character,
        'a'..='z' | 'A'..='Z' | '0'..='9' | ':' | '_' | '-' | '.' | '\u{B7}'
        | '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{37D}' | '\u{37F}'..='\u{1FFF}'
        | '\u{200C}'..='\u{200D}' | '\u{203F}'..='\u{2040}' | '\u{2070}'..='\u{218F}' | '\u{2C00}'..='\u{2FEF}'
        | '\u{3001}'..='\u{D7FF}' | '\u{F900}'..='\u{FDCF}' | '\u{FDF0}'..='\u{FFFD}' | '\u{10000}'..='\u{EFFFF}')
}
