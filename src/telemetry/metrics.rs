//! What is counted for Prometheus. Label sets are bounded: sites, servers and listeners are those of the policies,
//! and a version that nobody knows is `unrecognised`, whatever it says.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use prometheus_client::{
    encoding::{
        prometheus_text,
        text::{encode_eof, encode_registry},
    },
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

use super::{
    labels::{ByFailedConnection, ByResult, ByServer, BySite, ByStatus, Decision, Site, status},
    now::Now,
};
use crate::decisions::{Kind, Record, clock};

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// All metric families.
pub struct Metrics {
    registry: Mutex<Registry>,
    decisions: Family<Decision, Counter>,
    durations: Histograms<BySite>,
    upstream: Histograms<ByServer>,
    received: Family<BySite, Counter>,
    sent: Family<BySite, Counter>,
    statuses: Family<ByStatus, Counter>,
    failed: Family<ByFailedConnection, Counter>,
    degraded: Counter,
    reloads: Family<ByResult, Counter>,
    reloaded: Gauge,
    reloaded_at: Gauge,
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
        let statuses = Family::default();
        registry.register("syncml_status", "Answers that protover wrote, by their SyncML status", statuses.clone());
        let failed = Family::default();
        let help = "Connections that failed, or were turned away, before a request";
        registry.register("connections_failed", help, failed.clone());
        let reloads = Family::<ByResult, Counter>::default();
        registry.register("reloads", "Reloads of the policies", reloads.clone());
        // As Prometheus names its own. The policies that were read at the start count as loaded.
        let (reloaded, reloaded_at) = (Gauge::default(), Gauge::default());
        let help = "Whether the policies that were read last are in force";
        registry.register("config_last_reload_successful", help, reloaded.clone());
        let help = "When the policies in force were read, in seconds since 1970";
        registry.register_with_unit("config_last_reload_success_timestamp", help, Unit::Seconds, reloaded_at.clone());
        let reachable = Family::default();
        registry.register("server_reachable", "Whether a server took a connection when it was asked last", reachable.clone());
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "This release", build);
        for result in ["ok", "failed"] {
            drop(reloads.get_or_create(&ByResult { result }));
        }
        let registry = Mutex::new(registry);
        let metrics = Self {
            registry,
            decisions,
            durations,
            upstream,
            received,
            sent,
            statuses,
            failed,
            degraded,
            reloads,
            reloaded,
            reloaded_at,
            reachable,
        };
        metrics.in_force();
        metrics
    }
}

impl Metrics {
    /// Counts a decision.
    pub fn decided(&self, record: &Record, duration: Duration) {
        let site = Site(record.site.clone());
        let declared = record.declared.as_ref().into();
        let (verdict, reason) = (record.verdict.code(), record.reason.code());
        let by = Decision { site: site.clone(), kind: record.kind.code(), declared, verdict, reason };
        self.decisions.get_or_create(&by).inc();
        if record.kind == Kind::Connection {
            self.failed.get_or_create(&ByFailedConnection { listener: Arc::clone(record.listener()), reason }).inc();
            return;
        }
        if let (Some(took), Some(server)) = (record.upstream, &record.server) {
            let by = ByServer { site: site.clone(), server: Arc::clone(server) };
            self.upstream.get_or_create(&by).observe(took.as_secs_f64());
        }
        if let Some(code) = record.syncml_status {
            self.statuses.get_or_create(&ByStatus { site: site.clone(), status: status(code) }).inc();
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
        if ok {
            self.in_force();
        } else {
            self.reloaded.set(0);
        }
    }

    fn in_force(&self) {
        let now = clock::now().wall.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.reloaded.set(1);
        self.reloaded_at.set(i64::try_from(now).unwrap_or(i64::MAX));
    }

    /// Forgets which servers took connections.
    pub fn reachable_anew(&self) {
        self.reachable.clear();
    }

    /// Takes down whether a server took a connection.
    pub fn reachable(&self, site: &Arc<str>, server: &Arc<str>, reachable: bool) {
        let by = ByServer { site: Site(Some(Arc::clone(site))), server: Arc::clone(server) };
        self.reachable.get_or_create(&by).set(i64::from(reachable));
    }

    /// For Prometheus, in its own text format.
    #[must_use]
    pub fn text(&self, now: &Now) -> String {
        self.encoded(now, prometheus_text::encode)
    }

    /// The same as OpenMetrics.
    #[must_use]
    pub fn openmetrics(&self, now: &Now) -> String {
        let mut text = self.encoded(now, encode_registry);
        // Writing to a string does not fail.
        let _ = encode_eof(&mut text);
        text
    }

    fn encoded(&self, now: &Now, encode: fn(&mut String, &Registry) -> fmt::Result) -> String {
        let looked_up = now.registry();
        let counted = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for registry in [&*counted, &looked_up] {
            let _ = encode(&mut text, registry);
        }
        text
    }
}
