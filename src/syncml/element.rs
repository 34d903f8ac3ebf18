//! The elements of a SyncML message: their names, their WBXML tokens, and the DTD that has them first.
//!
//! From OMA-TS-SyncML_RepPro_DTD-V1_2 and OMA-TS-SyncML_MetaInfo_DTD-V1_2. The two name spaces share
//! no name, so a name alone says which element it is. DevInf and management trees have name spaces of
//! their own: what is in them is [`Element::Other`] and never touched.

/// The version of a DTD, `(1, 2)`.
pub type Dtd = (u8, u8);

/// Reads a VerDTD text.
#[must_use]
pub fn dtd(ver_dtd: &str) -> Option<Dtd> {
    let (major, minor) = ver_dtd.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Found by trial. Where a new element makes it fail, the compiler says so, and another is to be found.
const MULTIPLIER: u64 = 0xE402_574E_F3FF_C897;

/// Where the word of a name is looked up. No two names of SyncML have the same place.
#[inline]
const fn place(word: u128) -> u8 {
    let folded = word as u64 ^ (word >> 64) as u64;
    (folded.wrapping_mul(MULTIPLIER) >> 56) as u8
}

/// A name as a word. All names are shorter than 16 bytes, which the compiler sees to.
pub(super) const fn word_of(name: &str) -> u128 {
    assert!(name.len() < 16, "a byte for what follows the name");
    let mut word = 0;
    let mut rest = name.as_bytes();
    while let Some((last, before)) = rest.split_last() {
        word = word << 8 | *last as u128;
        rest = before;
    }
    word
}

macro_rules! elements {
    ($($variant:ident = $page:literal $token:literal since $dtd:expr;)*) => {
        /// An element of SyncML (code page 0) or of its meta information (code page 1).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the names are the specification's")]
        pub enum Element {
            $($variant,)*
            /// Anything else: another name space, another code page, an unknown name.
            Other,
        }

        impl Element {
            /// Every element but [`Element::Other`].
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The XML tags that begin and end it, without a prefix. Empty for [`Element::Other`].
            #[must_use]
            pub fn tags(self) -> (&'static str, &'static str) {
                static TAGS: [(&str, &str); Element::ALL.len()] =
                    [$((concat!("<", stringify!($variant), ">"), concat!("</", stringify!($variant), ">")),)*];
                TAGS.get(self as usize).copied().unwrap_or_default()
            }

            /// The local name. Empty for [`Element::Other`].
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)*
                    Self::Other => "",
                }
            }

            /// The element of a WBXML code page and tag token, without its content and attribute bits.
            #[must_use]
            pub const fn from_token(page: u8, token: u8) -> Self {
                match (page, token) {
                    $(($page, $token) => Self::$variant,)*
                    _ => Self::Other,
                }
            }

            /// The WBXML code page and tag token.
            #[must_use]
            pub const fn token(self) -> Option<(u8, u8)> {
                match self {
                    $(Self::$variant => Some(($page, $token)),)*
                    Self::Other => None,
                }
            }

            /// The first DTD that has it.
            #[must_use]
            pub const fn since(self) -> Dtd {
                match self {
                    $(Self::$variant => $dtd,)*
                    Self::Other => (1, 0),
                }
            }
        }
    };
}

elements! {
    Add = 0 0x05 since (1, 0);
    Alert = 0 0x06 since (1, 0);
    Archive = 0 0x07 since (1, 0);
    Atomic = 0 0x08 since (1, 0);
    Chal = 0 0x09 since (1, 0);
    Cmd = 0 0x0A since (1, 0);
    CmdID = 0 0x0B since (1, 0);
    CmdRef = 0 0x0C since (1, 0);
    Copy = 0 0x0D since (1, 0);
    Cred = 0 0x0E since (1, 0);
    Data = 0 0x0F since (1, 0);
    Delete = 0 0x10 since (1, 0);
    Exec = 0 0x11 since (1, 0);
    Final = 0 0x12 since (1, 0);
    Get = 0 0x13 since (1, 0);
    Item = 0 0x14 since (1, 0);
    Lang = 0 0x15 since (1, 0);
    LocName = 0 0x16 since (1, 0);
    LocURI = 0 0x17 since (1, 0);
    Map = 0 0x18 since (1, 0);
    MapItem = 0 0x19 since (1, 0);
    Meta = 0 0x1A since (1, 0);
    MsgID = 0 0x1B since (1, 0);
    MsgRef = 0 0x1C since (1, 0);
    NoResp = 0 0x1D since (1, 0);
    NoResults = 0 0x1E since (1, 0);
    Put = 0 0x1F since (1, 0);
    Replace = 0 0x20 since (1, 0);
    RespURI = 0 0x21 since (1, 0);
    Results = 0 0x22 since (1, 0);
    Search = 0 0x23 since (1, 0);
    Sequence = 0 0x24 since (1, 0);
    SessionID = 0 0x25 since (1, 0);
    SftDel = 0 0x26 since (1, 0);
    Source = 0 0x27 since (1, 0);
    SourceRef = 0 0x28 since (1, 0);
    Status = 0 0x29 since (1, 0);
    Sync = 0 0x2A since (1, 0);
    SyncBody = 0 0x2B since (1, 0);
    SyncHdr = 0 0x2C since (1, 0);
    SyncML = 0 0x2D since (1, 0);
    Target = 0 0x2E since (1, 0);
    TargetRef = 0 0x2F since (1, 0);
    VerDTD = 0 0x31 since (1, 0);
    VerProto = 0 0x32 since (1, 0);
    NumberOfChanges = 0 0x33 since (1, 1);
    MoreData = 0 0x34 since (1, 1);
    Field = 0 0x35 since (1, 2);
    Filter = 0 0x36 since (1, 2);
    Record = 0 0x37 since (1, 2);
    FilterType = 0 0x38 since (1, 2);
    SourceParent = 0 0x39 since (1, 2);
    TargetParent = 0 0x3A since (1, 2);
    Move = 0 0x3B since (1, 2);
    Correlator = 0 0x3C since (1, 2);
    Anchor = 1 0x05 since (1, 0);
    EMI = 1 0x06 since (1, 0);
    Format = 1 0x07 since (1, 0);
    FreeID = 1 0x08 since (1, 0);
    FreeMem = 1 0x09 since (1, 0);
    Last = 1 0x0A since (1, 0);
    Mark = 1 0x0B since (1, 0);
    MaxMsgSize = 1 0x0C since (1, 0);
    Mem = 1 0x0D since (1, 0);
    MetInf = 1 0x0E since (1, 0);
    Next = 1 0x0F since (1, 0);
    NextNonce = 1 0x10 since (1, 0);
    SharedMem = 1 0x11 since (1, 0);
    Size = 1 0x12 since (1, 0);
    Type = 1 0x13 since (1, 0);
    Version = 1 0x14 since (1, 0);
    MaxObjSize = 1 0x15 since (1, 1);
    FieldLevel = 1 0x16 since (1, 2);
}

/// The elements by the places of their words.
static BY_WORD: [Element; 256] = {
    let mut by_word = [Element::Other; 256];
    let mut rest = Element::ALL;
    while let [element, more @ ..] = rest {
        let (_, from) = by_word.split_at_mut(place(word_of(element.name())) as usize);
        if let [free, ..] = from {
            assert!(matches!(free, Element::Other), "two names have the same place");
            *free = *element;
        }
        rest = more;
    }
    by_word
};

impl Element {
    /// The element that a name given as a word can only be, if it is one.
    #[inline]
    pub(super) fn guess(word: u128) -> Self {
        BY_WORD.get(usize::from(place(word))).copied().unwrap_or(Self::Other)
    }

    /// The element of this local name.
    #[must_use]
    pub fn named(name: impl AsRef<[u8]>) -> Self {
        let name = name.as_ref();
        let mut word = [0; 16];
        let Some(room) = word.get_mut(..name.len()) else { return Self::Other };
        room.copy_from_slice(name);
        let element = Self::guess(u128::from_le_bytes(word));
        if element.name().as_bytes() == name { element } else { Self::Other }
    }

    /// Whether it belongs to the meta information, which has a name space (`syncml:metinf`) and a
    /// code page of its own.
    #[must_use]
    pub const fn is_meta(self) -> bool {
        // They follow the others; the tests hold this against the code pages.
        self as usize >= Self::Anchor as usize && self as usize <= Self::FieldLevel as usize
    }

    /// Whether it is a command: it has a CmdID and is answered by a Status.
    #[must_use]
    pub const fn is_command(self) -> bool {
        matches!(
            self,
            Self::Add
                | Self::Alert
                | Self::Atomic
                | Self::Copy
                | Self::Delete
                | Self::Exec
                | Self::Get
                | Self::Map
                | Self::Move
                | Self::Put
                | Self::Replace
                | Self::Results
                | Self::Search
                | Self::Sequence
                | Self::Status
                | Self::Sync
        )
    }
}

/// A set of elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Elements([u64; 2]);

impl Elements {
    /// These elements.
    #[must_use]
    pub const fn of(elements: &[Element]) -> Self {
        let mut set = Self([0; 2]);
        let mut rest = elements;
        while let [element, more @ ..] = rest {
            set = set.with(*element);
            rest = more;
        }
        set
    }

    /// All elements that came after a DTD.
    #[must_use]
    pub const fn after(dtd: Dtd) -> Self {
        let mut set = Self([0; 2]);
        let mut rest = Element::ALL;
        while let [element, more @ ..] = rest {
            let since = element.since();
            if since.0 > dtd.0 || since.0 == dtd.0 && since.1 > dtd.1 {
                set = set.with(*element);
            }
            rest = more;
        }
        set
    }

    /// With one more.
    #[must_use]
    pub const fn with(self, element: Element) -> Self {
        let Self([low, high]) = self;
        let bit = 1 << (element as u32 % 64);
        if (element as u32) < 64 { Self([low | bit, high]) } else { Self([low, high | bit]) }
    }

    /// Whether an element is one of them.
    #[inline]
    #[must_use]
    pub const fn has(self, element: Element) -> bool {
        let Self([low, high]) = self;
        let word = if (element as u32) < 64 { low } else { high };
        word >> (element as u32 % 64) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_tokens_lead_back_to_the_element() {
        for element in Element::ALL {
            assert_eq!(Element::named(element.name()), *element);
            let (page, token) = element.token().unwrap();
            assert_eq!(Element::from_token(page, token), *element);
            assert_eq!(element.is_meta(), page == 1);
            assert_eq!(element.tags(), (&*format!("<{}>", element.name()), &*format!("</{}>", element.name())));
        }
        for name in ["", "syncml", "SYNCML", "DevInf", "Other", "Add\0", "Ad", "NumberOfChanges1", "NumberOfChanges\0\0"] {
            assert_eq!(Element::named(name), Element::Other, "{name:?}");
        }
        assert_eq!(Element::from_token(0, 0x30), Element::Other);
        assert_eq!(Element::from_token(2, 0x37), Element::Other, "VerDTD of a management tree");
    }

    #[test]
    fn what_is_new_in_1_2() {
        let new: Vec<&str> =
            Element::ALL.iter().filter(|element| element.since() == (1, 2)).map(|element| element.name()).collect();
        assert_eq!(
            new,
            ["Field", "Filter", "Record", "FilterType", "SourceParent", "TargetParent", "Move", "Correlator", "FieldLevel"]
        );
        for (dtd, has) in [((1, 2), 0), ((1, 1), 9), ((1, 0), 12), ((0, 9), 73)] {
            let set = Elements::after(dtd);
            assert!(Element::ALL.iter().all(|element| set.has(*element) == (element.since() > dtd)));
            assert_eq!(Element::ALL.iter().filter(|element| set.has(**element)).count(), has);
        }
        assert_eq!([dtd("1.2"), dtd("12"), dtd("1.x"), dtd("")], [Some((1, 2)), None, None, None]);
    }
}
