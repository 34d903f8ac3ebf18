//! A small honest DM client and DM server: what demo, probe and the tests drive.
//!
//! They share no code with the proxy but the names of elements: messages are trees here, read by
//! quick-xml and by a WBXML reader of their own, so that each is a witness against the other.

mod accounts;
mod auth;
mod client;
mod device;
pub mod document;
mod gateway;
mod outcome;
mod server;
mod settings;
mod tree;
mod wbxml;
mod xml;

#[cfg(test)]
mod tests;

pub use accounts::Accounts;
pub use auth::{Auth, Credentials};
pub use device::{Device, Strictness};
pub use document::{Document, Node, Quirks};
pub use gateway::{Gateway, Submission, submission, submit};
pub use outcome::{Carried, Exchange, Outcome, Refused};
pub use server::Server;
pub use settings::{Refusal, Saw, Script, Settings};
pub use tree::{Manners, Tree, account_version, add_account};
