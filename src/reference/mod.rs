//! A small honest DM client and DM server: what demo, probe and the tests drive.
//!
//! They share no code with the proxy but the names of elements: messages are trees here, read by
//! quick-xml and by a WBXML reader of their own, so that each is a witness against the other.

mod auth;
mod client;
mod device;
pub mod document;
mod server;
mod wbxml;
mod xml;

#[cfg(test)]
mod tests;

pub use auth::{Auth, Credentials};
pub use device::{Accounts, Carried, Device, Exchange, Outcome, Refused, Strictness};
pub use document::{Document, Node, Quirks};
pub use server::{Refusal, Saw, Script, Server, Settings};
