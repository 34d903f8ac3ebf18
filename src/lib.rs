//! A version-negotiating proxy for OMA Device Management (SyncML DM).

pub mod account;
pub mod admin;
pub mod cli;
pub mod config;
pub mod decisions;
pub mod notification;
pub mod policy;
pub mod proxy;
pub mod reference;
pub mod secrets;
pub mod server;
pub mod session;
pub mod store;
pub mod syncml;
pub mod telemetry;
pub mod upstream;
mod wake;
