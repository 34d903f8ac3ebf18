//! Whether the servers of each site can be reached.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::{net::TcpStream, sync::Mutex, time::Instant};

use crate::{policy::site::Server, proxy::Live, telemetry::Metrics};

/// How long an answer stands: whoever asks often is told the same.
const FRESH: Duration = Duration::from_secs(2);
/// For a server to take a connection.
const PATIENCE: Duration = Duration::from_secs(1);

/// What was found last.
#[derive(Debug, Default)]
pub(super) struct Reach(Mutex<Option<(Instant, Vec<String>)>>);

impl Reach {
    /// The sites of which no server takes a connection.
    pub(super) async fn unreachable(&self, live: &Live, metrics: &Metrics) -> Vec<String> {
        let mut last = self.0.lock().await;
        if let Some((_, sites)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return sites.clone();
        }
        // Servers of a policy that was replaced are no concern any more.
        metrics.reachable_anew();
        let found = join_all(live.sites().iter().map(async |site| {
            let servers = join_all(site.site.servers.iter().map(async |server| {
                let reached = takes_a_connection(server).await;
                metrics.reachable(&site.site.name, &server.name, reached);
                reached
            }))
            .await;
            (!servers.contains(&true)).then(|| site.site.name.to_string())
        }))
        .await;
        let sites: Vec<String> = found.into_iter().flatten().collect();
        *last = Some((Instant::now(), sites.clone()));
        sites
    }
}

/// Whether one of a server's addresses takes a connection.
async fn takes_a_connection(server: &Server) -> bool {
    let reached = join_all(server.urls().map(async |url| {
        let Some(host) = url.host() else { return false };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("https") { 443 } else { 80 });
        tokio::time::timeout(PATIENCE, TcpStream::connect((host, port))).await.is_ok_and(|connected| connected.is_ok())
    }));
    reached.await.contains(&true)
}
