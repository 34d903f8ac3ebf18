//! Host and path to a site.

use std::sync::Arc;

use http::StatusCode;
use tower::Service;

use super::{
    Passing, Shared, always_ready,
    exchange::{Arrival, Routed, Ruled},
    framing, here, resp_uri,
};
use crate::policy::reason::{Reason, Verdict};

/// Finds the site of a request. An absolute target is matched like any other: protover is never an
/// open proxy.
#[derive(Clone, Debug)]
pub struct Route<S> {
    pub(super) inner: S,
    pub(super) shared: Arc<Shared>,
}

impl<S> Service<Arrival> for Route<S>
where
    S: Service<Routed, Response = Box<Ruled>, Error = std::convert::Infallible>,
{
    always_ready!();
    type Future = Passing<S::Future>;

    fn call(&mut self, Arrival { request, mut carried }: Arrival) -> Self::Future {
        let host = framing::addressed(request.uri(), request.headers());
        // HTTP/1.0 has no Host; the handshake may have said it.
        let connection = Arc::clone(&carried.connection);
        let host = if host.is_empty() { connection.server_name.as_deref().unwrap_or_default() } else { host };
        let path = request.uri().path();
        let now = carried.live.site(host, path).cloned();
        let past = now.is_none();
        // A session that runs may belong to a site that is not there any more.
        let before = || {
            let (live, site) = self.shared.earlier.latest(host, path, carried.live.settings().sessions.idle)?;
            carried.live = live;
            Some(site)
        };
        let Some(site) = now.or_else(before) else {
            return here(Ruled::http(StatusCode::MISDIRECTED_REQUEST, Verdict::Refuse, Reason::NoSite, "", carried));
        };
        carried.open.site = Some(site.site.name.clone());
        carried.open.policy = Some(site.site.digest.clone());
        carried.open.mode = Some(site.site.mode);
        let given = request.uri().path_and_query().and_then(|target| resp_uri::find(&site.site, target));
        Passing::Right(self.inner.call(Routed { request, carried, site, given, past }))
    }
}
