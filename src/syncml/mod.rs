//! SyncML messages: from bytes to meaning and back. Pure: no clock, no I/O, nothing async.

pub mod alert;
pub mod edit;
pub mod header;
pub mod malformed;
pub mod status;
pub mod version;
