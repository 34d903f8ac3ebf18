//! Tests of the whole, on real sockets, with real messages and independent programs.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cli;
mod corpus;
mod inspect;
mod telemetry;
mod wbxml;
