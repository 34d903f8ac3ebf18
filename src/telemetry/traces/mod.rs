//! Traces of protover's own, sent by OTLP to the collector that the environment names. What waits for it is
//! bounded and sent by threads of its own: a collector that is slow or gone costs spans, never a request.

mod export;
mod spans;

use std::{env, sync::Arc, time::Duration};

use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_sdk::{
    Resource,
    resource::{EnvResourceDetector, TelemetryResourceDetector},
    trace::{Config, SdkTracer, SdkTracerProvider},
};
use tokio::runtime::{Builder, Runtime};

use export::Queue;
pub use spans::Spans;

/// How long the end of the process waits for the collector.
const FLUSH: Duration = Duration::from_secs(3);

/// What sends spans.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    queue: Arc<Queue>,
    runtime: Runtime,
}

impl Traces {
    /// Starts to send, when the environment names a collector and `OTEL_SDK_DISABLED` does not forbid it. When
    /// it cannot be sent to, that is said, and protover serves without.
    #[must_use]
    pub fn start() -> Option<Self> {
        let disabled = set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let named = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"].iter().any(|name| set(name).is_some());
        if disabled || !named {
            return None;
        }
        match Self::to_collector() {
            // What the sampler is taken to be: a wrong value of OTEL_TRACES_SAMPLER is not an error.
            Ok(traces) => {
                tracing::info!(sampler = ?Config::default().sampler, "sending traces");
                Some(traces)
            }
            Err(error) => {
                tracing::error!(error, "no traces are sent");
                None
            }
        }
    }

    fn to_collector() -> Result<Self, Box<dyn std::error::Error>> {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("protover-traces").enable_all().build()?;
        let queue = Arc::new(Queue::new());
        let processor = export::processor(runtime.handle(), &queue)?;
        let provider = SdkTracerProvider::builder().with_resource(resource()).with_span_processor(processor).build();
        Ok(Self { provider, queue, runtime })
    }

    /// Makes spans.
    #[must_use]
    pub fn tracer(&self) -> SdkTracer {
        self.provider.tracer("protover")
    }

    /// Sends what is left, for three seconds at most, and says what was lost.
    pub fn end(self) {
        let sent = self.provider.shutdown_with_timeout(FLUSH);
        self.queue.end(sent.is_ok());
        self.runtime.shutdown_background();
    }
}

/// Who sends, unless the environment says otherwise.
fn resource() -> Resource {
    let resource = Resource::builder_empty()
        .with_service_name("protover")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_detector(Box::new(EnvResourceDetector::new()));
    match set("OTEL_SERVICE_NAME") {
        Some(name) => resource.with_service_name(name).build(),
        None => resource.build(),
    }
}

/// A variable of the environment; an empty one counts as none.
fn set(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
