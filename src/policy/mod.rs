//! Policy: from the facts about a request to what is done with it. Pure: no sockets, no files, no clock.
//!
//! [`compile()`] reads files and finds everything that is wrong in them at once; [`decide::decide`] is the
//! only place where decisions are made, and [`explain::explain`] says how it came to one.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

pub mod decide;
pub mod decision;
pub mod diagnostic;
pub mod explain;
pub mod facts;
pub mod glob;
pub mod notice;
pub mod reason;
pub mod site;

mod compile;
mod document;
mod lint;
mod matching;
mod routing;

pub use compile::{Compiled, PROXY, compile};
pub use diagnostic::{Diagnostic, Source};
