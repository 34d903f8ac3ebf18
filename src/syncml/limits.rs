//! How large and how deep a message may be. All of them are far above what any SyncML message needs
//! and low enough to bound time and memory. The size of a whole message is the proxy's `[limits]`.

/// How many elements may be open at once. Messages reach 12; a management tree written out inline
/// may reach twice that.
pub const DEPTH: usize = 64;

/// How many bytes may stand before the end of SyncHdr, prologue included.
pub const HEADER: usize = 64 * 1024;

/// How many bytes one value in SyncHdr may have. The longest in the field are RespURIs with a
/// session token, below 1 KiB.
pub const VALUE: usize = 8 * 1024;

/// How many bytes one name may have.
pub const NAME: usize = 256;

/// How many attributes one tag may have.
pub const ATTRIBUTES: usize = 32;

/// How many elements a message may have.
pub const ELEMENTS: usize = 200_000;

/// How many commands at the start of SyncBody are looked at for the Alert that says who started
/// the session. It is the first, or follows the Status of the header.
pub const COMMANDS_BEFORE_ALERT: usize = 8;

/// How many bytes of a WBXML string table a message may look up. A few bytes of body can refer to the
/// same long string again and again.
pub const LOOKUPS: usize = 4 * 1024 * 1024;
