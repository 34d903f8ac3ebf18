//! Tests of the whole, on real sockets, with real messages and independent programs.

mod cli;
mod corpus;
mod http;
mod rig;
mod telemetry;
mod verdicts;
