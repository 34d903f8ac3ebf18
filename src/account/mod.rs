//! DM accounts of devices: how the recommended version gets into them (Tree-1), during a session and in
//! bootstrap documents.
//!
//! In a session a command of protover's own goes into a message of the server, and the device's answer to
//! it is taken out of the device's next message, so that the server's view of the session is what it would
//! be without.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

mod answers;
mod bootstrap;
mod commands;
mod node;
pub mod provisioning;
mod survey;

pub use answers::{Stripped, strip};
pub use bootstrap::{Inline, stamp_inline};
pub use commands::{Hindrance, append, may_follow};
pub use node::windows_node;

/// Where accounts are: DM 1.2 (OMA-TS-DM_StdObj-V1_2_1, section 5.3), and DM 1.1, as on Windows.
pub const ROOTS: [&str; 2] = ["./DMAcc", "./SyncML/DMAcc"];
