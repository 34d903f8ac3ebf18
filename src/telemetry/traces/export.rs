//! The way of spans to the collector: a bounded queue, batches, HTTP.

use std::{
    error::Error,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry::Context;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response, hyper::HyperClient};
use opentelemetry_otlp::WithHttpConfig;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor},
};
use rustls::ClientConfig;
use tokio::runtime::Handle;

use super::set;
use crate::{telemetry::chain, upstream};

/// Spans that may wait, unless `OTEL_BSP_MAX_QUEUE_SIZE` says otherwise.
const CAPACITY: usize = 2048;
/// For one batch, unless `OTEL_EXPORTER_OTLP_TIMEOUT` says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How often losses are said.
const AGAIN: Duration = Duration::from_secs(60);

/// Takes spans, and sends them in batches from a thread of its own.
pub(super) fn processor(runtime: &Handle, queue: &Arc<Queue>) -> Result<impl SpanProcessor + 'static, Box<dyn Error>> {
    let tls = ClientConfig::builder().with_root_certificates(upstream::system_roots()).with_no_client_auth();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
    let millis = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"].iter().find_map(|name| number(name));
    let http = HyperClient::new(connector, millis.map_or(TIMEOUT, Duration::from_millis), None);
    let client = Client { http, runtime: runtime.clone(), queue: Arc::clone(queue) };
    let exporter = opentelemetry_otlp::SpanExporter::builder().with_http().with_http_client(client).build()?;
    let config = BatchConfigBuilder::default().with_max_queue_size(queue.capacity).build();
    let batches = BatchSpanProcessor::new(Exporter { exporter, queue: Arc::clone(queue) }, config);
    Ok(Bounded { batches, queue: Arc::clone(queue) })
}

fn number<T: std::str::FromStr>(name: &str) -> Option<T> {
    set(name)?.parse().ok()
}

/// What waits to be sent, and what was lost.
#[derive(Debug)]
pub(super) struct Queue {
    capacity: usize,
    waiting: AtomicUsize,
    lost: AtomicU64,
    said: Mutex<Option<Instant>>,
    /// The last error of the connection; the exporter keeps it to itself.
    error: Mutex<String>,
}

impl Queue {
    pub(super) fn new() -> Self {
        let capacity = number("OTEL_BSP_MAX_QUEUE_SIZE").filter(|size| *size > 0).unwrap_or(CAPACITY);
        Self { capacity, waiting: AtomicUsize::new(0), lost: AtomicU64::new(0), said: Mutex::default(), error: Mutex::default() }
    }

    /// Whether there is room for one more.
    fn enter(&self) -> bool {
        let room = |waiting| (waiting < self.capacity).then_some(waiting + 1);
        self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok()
    }

    fn lose(&self, spans: usize, why: &str) {
        self.lost.fetch_add(spans as u64, Ordering::Relaxed);
        // Requests end here: none waits for another to have said it.
        if let Ok(mut said) = self.said.try_lock()
            && said.is_none_or(|at| at.elapsed() >= AGAIN)
        {
            *said = Some(Instant::now());
            self.say(why);
        }
    }

    fn say(&self, why: &str) {
        let spans = self.lost.swap(0, Ordering::Relaxed);
        if spans > 0 {
            let error = self.error.lock().unwrap_or_else(PoisonError::into_inner).clone();
            tracing::warn!(spans, why, error, "traces are incomplete: the collector did not get all spans");
        }
    }

    /// Says what was not said yet. `sent`: whether the collector got what was waiting.
    pub(super) fn end(&self, sent: bool) {
        if !sent {
            self.lost.fetch_add(self.waiting.load(Ordering::Relaxed) as u64, Ordering::Relaxed);
        }
        self.say("the process ends");
    }
}

/// Batches drop spans in silence when their queue is full. It never is: this one has the same size, and says so.
#[derive(Debug)]
struct Bounded {
    batches: BatchSpanProcessor,
    queue: Arc<Queue>,
}

impl SpanProcessor for Bounded {
    fn on_start(&self, span: &mut Span, cx: &Context) {
        self.batches.on_start(span, cx);
    }

    fn on_end(&self, span: SpanData) {
        if self.queue.enter() {
            self.batches.on_end(span);
        } else {
            self.queue.lose(1, "too many spans are waiting");
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

#[derive(Debug)]
struct Exporter {
    exporter: opentelemetry_otlp::SpanExporter,
    queue: Arc<Queue>,
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let sent = self.exporter.export(batch).await;
        self.queue.waiting.fetch_sub(spans, Ordering::Relaxed);
        if let Err(error) = &sent {
            self.queue.lose(spans, &error.to_string());
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// The client on a runtime of its own, as the thread of the batches has none.
#[derive(Debug)]
struct Client {
    http: HyperClient<HttpsConnector<HttpConnector>>,
    runtime: Handle,
    queue: Arc<Queue>,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let http = self.http.clone();
        let answer = self.runtime.spawn(async move { http.send_bytes(request).await }).await?;
        let error = answer.as_ref().err().map(|error| chain(&**error)).unwrap_or_default();
        *self.queue.error.lock().unwrap_or_else(PoisonError::into_inner) = error;
        answer
    }
}
