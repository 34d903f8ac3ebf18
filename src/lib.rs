//! A version-negotiating proxy for OMA Device Management (SyncML DM).

pub mod cli;
pub mod decisions;
pub mod policy;
pub mod syncml;
pub mod telemetry;
