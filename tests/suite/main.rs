//! Tests of the whole, on real sockets, with real messages and independent programs.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::large_futures,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that fails panics, and its helpers with it"
)]

mod account;
mod activation;
mod addresses;
mod admin;
mod bootstrap;
mod certificates;
mod cli;
mod corpus;
mod device;
mod discover;
mod downgrade;
mod fates;
mod files;
mod hops;
mod http;
mod inspect;
mod life;
mod macs;
mod matrix;
mod metrics;
mod mtls;
mod notify;
mod old_handsets;
mod overload;
mod packaging;
mod pki;
mod policies;
mod pool;
mod proxy_protocol;
mod purity;
mod push;
mod redis;
mod resp_uri;
mod review;
mod rig;
mod rotation;
mod service;
mod sessions;
mod slow;
mod smuggling;
mod step_down;
mod store;
mod telemetry;
mod tickets;
mod tls;
mod traces;
mod upgrade;
mod upstream;
mod verdicts;
mod wbxml;
