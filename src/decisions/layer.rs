//! The way of a line through tracing: its own dispatcher, so that no filter of the diagnostics can
//! switch it off.

use std::sync::Arc;

use tracing::{
    Dispatch, Event, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    subscriber::Interest,
};
use tracing_subscriber::{
    layer::{Context, Layer, SubscriberExt},
    registry::Registry,
};

use super::sink::Sink;

/// The target of decision lines.
pub const TARGET: &str = "protover::decision";

/// Hands decision lines to the sink, and nothing else.
struct DecisionLayer {
    sink: Arc<Sink>,
}

impl<S: Subscriber> Layer<S> for DecisionLayer {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if metadata.target() == TARGET { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target() == TARGET
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        event.record(&mut Push(&self.sink));
    }
}

struct Push<'a>(&'a Sink);

impl Visit for Push<'_> {
    fn record_str(&mut self, _: &Field, line: &str) {
        self.0.push(line.as_bytes());
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

pub(super) fn dispatch(sink: Arc<Sink>) -> Dispatch {
    Dispatch::new(Registry::default().with(DecisionLayer { sink }))
}

/// Sends a line to this dispatcher and to no other.
pub(super) fn send(dispatch: &Dispatch, line: &str) {
    tracing::dispatcher::with_default(dispatch, || tracing::info!(target: TARGET, line));
}
