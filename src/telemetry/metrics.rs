//! What is counted for Prometheus. Label sets are bounded: sites, servers and listeners are those of the policies,
//! and a version that nobody knows is `unrecognised`, whatever it says.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    encoding::text::{encode_eof, encode_registry},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

use super::{
    labels::{ByResult, ByServer, BySite, Decision, Site},
    now::Now,
};
use crate::decisions::{Kind, Record};

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
        let reachable = Family::default();
        registry.register("server_reachable", "Whether a server took a connection when it was asked last", reachable.clone());
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "This release", build);
        for result in ["ok", "failed"] {
            drop(reloads.get_or_create(&ByResult { result }));
        }
        let registry = Mutex::new(registry);
        Self { registry, decisions, durations, upstream, received, sent, degraded, reloads, reachable }
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
            return;
        }
        if let (Some(took), Some(server)) = (record.upstream, &record.server) {
            let by = ByServer { site: site.clone(), server: Arc::clone(server) };
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
    pub fn reachable(&self, site: &Arc<str>, server: &Arc<str>, reachable: bool) {
        let by = ByServer { site: Site(Some(Arc::clone(site))), server: Arc::clone(server) };
        self.reachable.get_or_create(&by).set(i64::from(reachable));
    }

    /// The text for Prometheus.
    #[must_use]
    pub fn text(&self, now: &Now) -> String {
        let looked_up = now.registry();
        let counted = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode_registry(&mut text, &counted);
        let _ = encode_registry(&mut text, &looked_up);
        let _ = encode_eof(&mut text);
        text
    }
}
