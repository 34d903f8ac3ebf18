//! The global tokens of WBXML (WAP-192-WBXML, section 7.1) and the bits of tags (section 5.8.2).

/// What follows is the number of the code page for the tags after it.
pub(crate) const SWITCH_PAGE: u8 = 0x00;
/// The end of an element's content, of an attribute list or of a processing instruction.
pub(crate) const END: u8 = 0x01;
/// A character by its number.
pub(crate) const ENTITY: u8 = 0x02;
/// Characters up to a NUL.
pub(crate) const STR_I: u8 = 0x03;
/// A name in the string table; as a tag also with [`CONTENT`] and [`ATTRIBUTES`].
pub(crate) const LITERAL: u8 = 0x04;
/// A processing instruction.
pub(crate) const PI: u8 = 0x43;
/// Characters in the string table.
pub(crate) const STR_T: u8 = 0x83;
/// A length and as many bytes.
pub(crate) const OPAQUE: u8 = 0xC3;

/// The bit of a tag that has content.
pub(crate) const CONTENT: u8 = 0x40;
/// The bit of a tag that has attributes.
pub(crate) const ATTRIBUTES: u8 = 0x80;
/// The bits of a tag that say which one it is.
pub(crate) const CODE: u8 = 0x3F;
/// UTF-8, as an IANA MIBenum: the charset of what protover writes.
pub(crate) const UTF_8: u32 = 106;
/// US-ASCII, likewise.
pub(crate) const US_ASCII: u32 = 3;
/// The bit of a byte of a multi-byte integer that another follows.
pub(crate) const CONTINUES: u8 = 0x80;
