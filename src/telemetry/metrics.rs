//! What Prometheus asks for. Label sets are bounded: sites, servers and listeners are those of the policies,
//! and a version that nobody knows is `unrecognised`, whatever it says.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

use crate::{
    decisions::{Kind, Record},
    syncml::version::Declared,
};

/// What a decision is counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Decision {
    site: String,
    kind: &'static str,
    declared: String,
    verdict: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BySite {
    site: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByServer {
    site: String,
    server: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByResult {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCertificate {
    listener: String,
    certificate: String,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// All metric families.
pub struct Metrics {
    registry: Mutex<Registry>,
    decisions: Family<Decision, Counter>,
    durations: Histograms<BySite>,
    upstream: Histograms<ByServer>,
    received: Family<BySite, Counter>,
    sent: Family<BySite, Counter>,
    degraded: Counter,
    reloads: Family<ByResult, Counter>,
    connections: Gauge,
    draining: Gauge,
    expiry: Family<ByCertificate, Gauge>,
    lost: Counter,
    reachable: Family<ByServer, Gauge>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Half a millisecond to a minute: a message that passes takes about one, a server that is ill any time.
fn seconds() -> Histogram {
    Histogram::new([0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0])
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("protover");
        let decisions = Family::default();
        registry.register("decisions", "Decisions, as the log has them", decisions.clone());
        let durations = Histograms::new_with_constructor(seconds as fn() -> Histogram);
        registry.register_with_unit("duration", "From the request to the end of its answer", Unit::Seconds, durations.clone());
        let upstream = Histograms::new_with_constructor(seconds as fn() -> Histogram);
        registry.register_with_unit("upstream", "What servers took for their answers", Unit::Seconds, upstream.clone());
        let (received, sent) = (Family::default(), Family::default());
        registry.register_with_unit("received", "Bodies of requests", Unit::Bytes, received.clone());
        registry.register_with_unit("sent", "Bodies of answers", Unit::Bytes, sent.clone());
        let degraded = Counter::default();
        registry.register("store_degraded", "Requests for which the store did not answer", degraded.clone());
        let reloads = Family::<ByResult, Counter>::default();
        registry.register("reloads", "Reloads of the policies", reloads.clone());
        let connections = Gauge::default();
        registry.register("connections", "Connections of clients that are open", connections.clone());
        let draining = Gauge::default();
        registry.register("draining", "Whether protover is shutting down", draining.clone());
        let expiry = Family::default();
        let help = "When certificates of listeners expire, in seconds since 1970";
        registry.register_with_unit("certificate_expiry", help, Unit::Seconds, expiry.clone());
        let lost = Counter::default();
        registry.register("decision_lines_lost", "Decision lines that could not be written", lost.clone());
        let reachable = Family::default();
        registry.register("server_reachable", "Whether a server took a connection when it was asked last", reachable.clone());
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "This release", build);
        for result in ["ok", "failed"] {
            drop(reloads.get_or_create(&ByResult { result }));
        }
        let registry = Mutex::new(registry);
        Self {
            registry,
            decisions,
            durations,
            upstream,
            received,
            sent,
            degraded,
            reloads,
            connections,
            draining,
            expiry,
            lost,
            reachable,
        }
    }
}

/// What is looked up when somebody asks.
#[derive(Clone, Debug, Default)]
pub struct Now {
    /// Connections of clients that are open.
    pub connections: usize,
    /// Whether protover is shutting down.
    pub draining: bool,
    /// Decision lines that could not be written.
    pub lost: u64,
    /// Listener, certificate, and when that expires, in seconds since 1970.
    pub expiries: Vec<(String, String, i64)>,
}

impl Metrics {
    /// Counts a decision.
    pub fn decided(&self, record: &Record, duration: Duration) {
        let site = record.site.as_deref().unwrap_or("none").to_owned();
        let declared = match &record.declared {
            Some(Declared::Known(version)) => version.to_string(),
            Some(Declared::Unrecognised(_)) => "unrecognised".to_owned(),
            None => "none".to_owned(),
        };
        let (verdict, reason) = (record.verdict.code(), record.reason.code());
        let by = Decision { site: site.clone(), kind: record.kind.code(), declared, verdict, reason };
        self.decisions.get_or_create(&by).inc();
        if record.kind == Kind::Connection {
            return;
        }
        if let (Some(took), Some(server)) = (record.upstream, record.server.as_deref()) {
            let by = ByServer { site: site.clone(), server: server.to_owned() };
            self.upstream.get_or_create(&by).observe(took.as_secs_f64());
        }
        if record.store == Some("degraded") {
            self.degraded.inc();
        }
        let by = BySite { site };
        self.received.get_or_create(&by).inc_by(record.bytes_in);
        self.sent.get_or_create(&by).inc_by(record.bytes_out);
        self.durations.get_or_create(&by).observe(duration.as_secs_f64());
    }

    /// Counts a reload.
    pub fn reloaded(&self, ok: bool) {
        self.reloads.get_or_create(&ByResult { result: if ok { "ok" } else { "failed" } }).inc();
    }

    /// Forgets which servers took connections.
    pub fn reachable_anew(&self) {
        self.reachable.clear();
    }

    /// Takes down whether a server took a connection.
    pub fn reachable(&self, site: &str, server: &str, reachable: bool) {
        let by = ByServer { site: site.to_owned(), server: server.to_owned() };
        self.reachable.get_or_create(&by).set(i64::from(reachable));
    }

    /// The text for Prometheus.
    #[must_use]
    pub fn text(&self, now: &Now) -> String {
        self.connections.set(i64::try_from(now.connections).unwrap_or(i64::MAX));
        self.draining.set(i64::from(now.draining));
        let lost = now.lost.saturating_sub(self.lost.get());
        self.lost.inc_by(lost);
        self.expiry.clear();
        for (listener, certificate, seconds) in &now.expiries {
            let by = ByCertificate { listener: listener.clone(), certificate: certificate.clone() };
            self.expiry.get_or_create(&by).set(*seconds);
        }
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a string does not fail.
        let _ = encode(&mut text, &registry);
        text
    }
}
