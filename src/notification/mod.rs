//! Notifications: package 0, with which a server invites a device to a session, and the push message that
//! carries it. Pure: bytes in, bytes out.
//!
//! Only the general notification of DM 1.1.2 to 1.2.1 is read (OMA-TS-DM_Notification-V1_2_1, section 6.2).
//! That of DM 1.3 (`application/vnd.syncml.dm.notification`) has a layout that was never confirmed in public:
//! it is known by its media type, and passed on as it is.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

mod digest;
mod package0;
mod push;

pub use digest::{RESYNC, digest};
pub use package0::{Broken, Initiator, Package0, UiMode};
pub use push::{Push, Unreadable};

/// The media type of the notification of DM 1.1.2 to 1.2.1.
pub const GENERAL: &str = "application/vnd.syncml.notification";

/// The media type of the notification of DM 1.3.
pub const OF_1_3: &str = "application/vnd.syncml.dm.notification";

/// What the body of the vendor begins with when protover says the recommended version there. It is for
/// clients that were taught to look for it: vendor bodies have no form of their own.
const HINT: &[u8] = b"DM-Recommended-Version=";
