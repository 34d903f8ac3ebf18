//! Tests of the whole, on real sockets, with real messages and independent programs.

mod cli;
mod corpus;
mod fates;
mod http;
mod inspect;
mod life;
mod matrix;
mod policies;
mod rig;
mod telemetry;
mod verdicts;
mod wbxml;
