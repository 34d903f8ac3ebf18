//! What is looked up when somebody asks. It goes into a registry of its own each time, so that what is gone is
//! gone, and nobody who asks meanwhile sees half of it.

use std::sync::Arc;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::labels::{ByAddress, ByCertificate, ByFailure, ByListener, Site};
use crate::{decisions::Lines, upstream::Status};

type Gauges = Family<ByAddress, Gauge>;
type Counters = Family<ByAddress, Counter>;

/// How things stand.
#[derive(Clone, Debug, Default)]
pub struct Now {
    /// Connections of clients that are open.
    pub connections: usize,
    /// Those of each listener.
    pub listeners: Vec<Listener>,
    /// Requests that are under way.
    pub requests: usize,
    /// Whether protover is shutting down.
    pub draining: bool,
    /// What became of decision lines.
    pub lines: Lines,
    /// When certificates expire.
    pub expiries: Vec<Expires>,
    /// How the addresses of servers are doing.
    pub addresses: Vec<Address>,
}

/// A listener and its connections.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name.
    pub name: Arc<str>,
    /// Those that are open.
    pub open: usize,
    /// Those that were accepted so far.
    pub accepted: u64,
}

/// A certificate that a listener uses.
#[derive(Clone, Debug)]
pub struct Expires {
    /// The listener.
    pub listener: Arc<str>,
    /// The file.
    pub certificate: String,
    /// When it expires, in seconds since 1970.
    pub seconds: i64,
}

/// An address of a server.
#[derive(Clone, Debug)]
pub struct Address {
    /// The site; a push gateway belongs to none.
    pub site: Option<Arc<str>>,
    /// The server.
    pub server: Arc<str>,
    /// How it is doing.
    pub status: Status,
}

fn gauge(value: impl TryInto<i64>) -> Gauge {
    let gauge = Gauge::default();
    gauge.set(value.try_into().unwrap_or(i64::MAX));
    gauge
}

fn counter(value: u64) -> Counter {
    let counter = Counter::default();
    counter.inc_by(value);
    counter
}

impl Now {
    /// As it is told to Prometheus.
    pub(super) fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("protover");
        let to = &mut registry;
        let (open, accepted) = (Family::<ByListener, Gauge>::default(), Family::<ByListener, Counter>::default());
        for Listener { name, open: now, accepted: so_far } in &self.listeners {
            let by = ByListener { listener: Arc::clone(name) };
            open.get_or_create(&by).set(i64::try_from(*now).unwrap_or(i64::MAX));
            accepted.get_or_create(&by).inc_by(*so_far);
        }
        to.register("connections", "Connections of clients that are open", open);
        to.register("connections_accepted", "Connections of clients", accepted);
        to.register("requests_in_flight", "Requests that are under way", gauge(self.requests));
        to.register("draining", "Whether protover is shutting down", gauge(self.draining));
        to.register("decision_lines_written", "Decision lines that were written", counter(self.lines.written));
        to.register("decision_lines_pending", "Decision lines that wait to be written", gauge(self.lines.pending));
        to.register("decision_lines_lost", "Decision lines that could not be written", counter(self.lines.lost));
        to.register("decision_log_writable", "Whether the decision log takes lines", gauge(self.lines.writable));
        let expiry = Family::<ByCertificate, Gauge>::default();
        for Expires { listener, certificate, seconds } in &self.expiries {
            let by = ByCertificate { listener: Arc::clone(listener), certificate: certificate.clone() };
            expiry.get_or_create(&by).set(*seconds);
        }
        let help = "When certificates of listeners expire, in seconds since 1970";
        to.register_with_unit("certificate_expiry", help, Unit::Seconds, expiry);
        self.addresses(to);
        registry
    }

    fn addresses(&self, registry: &mut Registry) {
        let (pending, ejected, healthy) = (Gauges::default(), Gauges::default(), Gauges::default());
        let (requests, ejections) = (Counters::default(), Counters::default());
        let failures = Family::<ByFailure, Counter>::default();
        for Address { site, server, status } in &self.addresses {
            let (site, server, address) = (Site(site.clone()), Arc::clone(server), Arc::<str>::from(&*status.url));
            for (failure, count) in [
                ("unreachable", status.unreachable),
                ("broke", status.broke),
                ("too-slow", status.too_slow),
                ("busy", status.busy),
            ] {
                let (site, server, address) = (site.clone(), Arc::clone(&server), Arc::clone(&address));
                failures.get_or_create(&ByFailure { site, server, address, failure }).inc_by(count);
            }
            let by = ByAddress { site, server, address };
            pending.get_or_create(&by).set(i64::try_from(status.pending).unwrap_or(i64::MAX));
            requests.get_or_create(&by).inc_by(status.requests);
            ejections.get_or_create(&by).inc_by(status.ejections);
            ejected.get_or_create(&by).set(status.ejected.into());
            if let Some(well) = status.healthy {
                healthy.get_or_create(&by).set(well.into());
            }
        }
        let help = "Requests at an address that are under way or wait for their turn";
        registry.register("address_requests_in_flight", help, pending);
        registry.register("address_requests", "Requests that were sent to an address, or tried", requests);
        registry.register("address_failures", "Requests that failed at an address", failures);
        registry.register("address_ejections", "How often an address was ejected for its failures", ejections);
        registry.register("address_ejected", "Whether an address is left out for its failures, while there are others", ejected);
        registry.register("address_healthy", "What the last health check of an address found", healthy);
    }
}
