//! Where things stand in a message: spans of the SyncHdr fields and of the places where something
//! may be added.
//!
//! An index borrows nothing, so a message and its index travel together without a lifetime, and an
//! edit is a span and the bytes to put there. XML and WBXML have the same index; policy and proxy do
//! not know which of them they handle.

use std::{borrow::Cow, ops::Range};

use super::{wbxml, xml};

/// A range of bytes in a message, from `start` up to but without `end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The first byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// A span from a range of indices. Messages are far below 4 GiB; larger indices saturate.
    #[must_use]
    pub fn new(range: Range<usize>) -> Self {
        let clamp = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
        Self { start: clamp(range.start), end: clamp(range.end) }
    }

    /// The empty span at an index: a place to insert at.
    #[must_use]
    pub fn at(index: usize) -> Self {
        Self::new(index..index)
    }

    /// The span as a range of indices.
    #[must_use]
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// How many bytes it covers.
    #[must_use]
    pub fn len(self) -> usize {
        self.range().len()
    }

    /// Whether it covers nothing.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.start >= self.end
    }

    /// The bytes it covers; nothing when it does not fit the message.
    #[must_use]
    pub fn of(self, raw: &[u8]) -> &[u8] {
        raw.get(self.range()).unwrap_or_default()
    }
}

/// How a message is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Text XML, `…+xml`.
    Xml,
    /// WAP Binary XML, `…+wbxml`.
    Wbxml,
}

impl Encoding {
    /// The name used in policies and log lines.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xml => "xml",
            Self::Wbxml => "wbxml",
        }
    }
}

/// How the characters of a value are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The bytes of `text` are the value, and can be replaced in place by other plain text: XML
    /// character data or one CDATA section; a WBXML inline string.
    Literal,
    /// XML content with references, comments or several pieces: `text` must be unescaped to be read,
    /// and is replaced as a whole.
    XmlMixed,
    /// A WBXML string-table reference: `text` is in the table, shared with others; `place` is the
    /// reference, replaced by an inline string.
    WbxmlTable,
    /// A WBXML opaque: `text` is its payload; `place` is the token, the length and the payload.
    WbxmlOpaque,
    /// Several WBXML pieces, or entities: `text` and `place` are the whole content.
    WbxmlMixed,
}

/// The value of one element of SyncHdr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The bytes to replace in order to replace the value.
    pub place: Span,
    /// Where the characters of the value are.
    pub text: Span,
    /// How they are written.
    pub form: Form,
}

/// A place at the end of an element's content, where a child can be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Before the end tag; or, for an element without content, the bytes that say so (`/>`, or the
    /// WBXML tag with its attributes).
    pub span: Span,
    /// Whether the element is written as empty (`<Meta/>`) and must be opened first.
    pub empty: bool,
    /// WBXML: the code page in force there. Always 0 in XML.
    pub page: u8,
}

/// Everything that protover knows about a message after reading SyncHdr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderIndex {
    /// How the message is encoded.
    pub encoding: Encoding,
    /// What stands before SyncHdr.
    pub prologue: Prologue,
    /// SyncHdr/VerDTD.
    pub ver_dtd: Field,
    /// SyncHdr/VerProto.
    pub ver_proto: Field,
    /// SyncHdr/SessionID.
    pub session_id: Field,
    /// SyncHdr/MsgID.
    pub msg_id: Field,
    /// SyncHdr/Target/LocURI.
    pub target: Field,
    /// SyncHdr/Source/LocURI: of a client's message, the device.
    pub source: Field,
    /// SyncHdr/Source/LocName: the user name that MACs are made with.
    pub source_name: Option<Field>,
    /// SyncHdr/RespURI.
    pub resp_uri: Option<Field>,
    /// Whether SyncHdr/NoResp is there.
    pub no_resp: bool,
    /// SyncHdr/Meta/MaxMsgSize: how many bytes the sender takes in one message.
    pub max_msg_size: Option<Field>,
    /// The end of SyncHdr/Meta, when there is one.
    pub meta: Option<Slot>,
    /// The end of SyncHdr.
    pub header: Slot,
    /// The first byte after SyncHdr.
    pub body: u32,
}

/// What stands before SyncHdr, by encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prologue {
    /// An XML prologue and root.
    Xml(XmlPrologue),
    /// A WBXML header and root.
    Wbxml(WbxmlPrologue),
}

/// The XML prologue and the root's start tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XmlPrologue {
    /// Where the root's tag begins.
    pub root: u32,
    /// The prefix of the elements with its colon (`s:`); empty without.
    pub prefix: Span,
    /// The value of the namespace declaration that covers SyncHdr.
    pub xmlns: Option<Span>,
    /// The whole DOCTYPE declaration.
    pub doctype: Option<Span>,
    /// The formal public identifier in it.
    pub fpi: Option<Span>,
    /// The system identifier in it: the address of the DTD.
    pub dtd_url: Option<Span>,
}

/// The WBXML header and the root's tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WbxmlPrologue {
    /// The version byte, `0x02` for WBXML 1.2.
    pub version: u8,
    /// The public identifier.
    pub public_id: PublicId,
    /// The IANA MIBenum of the charset; 106 is UTF-8, 3 US-ASCII, 0 unknown.
    pub charset: u32,
    /// The string table, without its length.
    pub string_table: Span,
    /// The value of an `xmlns` attribute on the root (Nokia).
    pub xmlns: Option<Field>,
}

/// How a WBXML document names its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicId {
    /// A registered number, and the bytes it is written in.
    Number {
        /// The number.
        value: u32,
        /// Its multi-byte integer.
        place: Span,
    },
    /// Zero, and an index into the string table where the formal public identifier stands.
    Text {
        /// The identifier, without its NUL.
        fpi: Span,
    },
}

impl HeaderIndex {
    /// The characters of a field.
    #[must_use]
    pub fn text<'a>(&self, raw: &'a [u8], field: Field) -> Cow<'a, str> {
        match field.form {
            Form::Literal | Form::WbxmlTable | Form::WbxmlOpaque => {
                let text = field.text.of(raw);
                std::str::from_utf8(text).map_or_else(|_| String::from_utf8_lossy(text), Cow::Borrowed)
            }
            Form::XmlMixed => Cow::Owned(xml::decode(field.text.of(raw))),
            Form::WbxmlMixed => match &self.prologue {
                Prologue::Wbxml(prologue) => Cow::Owned(wbxml::decode(raw, prologue, field.text)),
                Prologue::Xml(_) => Cow::Borrowed(""),
            },
        }
    }

    /// Whether a field has just these characters, with white space around them or not.
    #[must_use]
    #[inline]
    pub fn says(&self, raw: &[u8], field: Field, characters: &str) -> bool {
        match field.text.of(raw) {
            // As nearly all are written: there is no white space to look for.
            text if field.form == Form::Literal
                && [text.first(), text.last()].iter().flatten().all(|end| end.is_ascii_graphic()) =>
            {
                text == characters.as_bytes()
            }
            _ => self.text(raw, field).trim() == characters,
        }
    }

    /// Whether values may be edited: XML, which is UTF-8, and WBXML in UTF-8, in US-ASCII or without
    /// a charset. A message in another charset is read as far as it is ASCII, and passed on or
    /// refused as it is.
    #[must_use]
    pub const fn editable(&self) -> bool {
        match &self.prologue {
            Prologue::Xml(_) => true,
            Prologue::Wbxml(prologue) => wbxml::editable(prologue),
        }
    }
}
