//! Diagnostics: what protover says about itself, on stderr; and what it counts. The decision log is
//! something else and goes its own way.

mod labels;
pub mod manager;
mod metrics;
mod now;
#[cfg(feature = "otlp")]
pub mod traces;

pub use metrics::Metrics;
pub use now::{Address, Expires, Listener, Now};

use std::{
    env,
    io::{self, IsTerminal},
};

use tracing::Metadata;
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, filter_fn},
    layer::SubscriberExt,
    registry::Registry,
    util::SubscriberInitExt,
};

use crate::decisions;

/// What is said when `RUST_LOG` says nothing.
const DEFAULT: &str = "warn,protover=info";

/// Starts diagnostics: for people on a terminal (in colour unless `NO_COLOR` is set), else one JSON
/// object per line. `RUST_LOG` says how much. Does nothing when the process has a subscriber already.
pub fn start() {
    let terminal = io::stderr().is_terminal();
    let asked = env::var("RUST_LOG").unwrap_or_default();
    let parsed = if asked.is_empty() { Ok(EnvFilter::new(DEFAULT)) } else { EnvFilter::try_new(&asked) };
    let (filter, wrong) = match parsed {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new(DEFAULT), Some(error)),
    };
    let filter = filter.and(filter_fn(diagnostic));
    let base = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let layer = if terminal {
        let colour = env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        base.with_ansi(colour).with_target(false).with_filter(filter).boxed()
    } else {
        base.json().flatten_event(true).with_current_span(false).with_filter(filter).boxed()
    };
    if Registry::default().with(layer).try_init().is_ok()
        && let Some(error) = wrong
    {
        tracing::warn!(%error, "RUST_LOG cannot be read; using {DEFAULT}");
    }
}

/// Everything but decisions: those hold identifiers of devices, and have a log of their own.
fn diagnostic(metadata: &Metadata<'_>) -> bool {
    metadata.target() != decisions::TARGET
}

/// An error and what caused it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
