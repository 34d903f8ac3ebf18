//! Turns away what must not or cannot be served, before it costs anything.

use std::sync::Arc;

use http::{HeaderValue, StatusCode, header};
use tower::Service;

use super::{
    Passing, Shared, always_ready,
    exchange::{Arrival, Ruled},
    framing, here, pace,
};
use crate::policy::reason::{Reason, Verdict};

/// Admits requests.
#[derive(Clone, Debug)]
pub struct Admit<S> {
    pub(super) inner: S,
    pub(super) shared: Arc<Shared>,
}

impl<S> Service<Arrival> for Admit<S>
where
    S: Service<Arrival, Response = Box<Ruled>, Error = std::convert::Infallible>,
{
    always_ready!();
    type Future = Passing<S::Future>;

    fn call(&mut self, mut arrival: Arrival) -> Self::Future {
        // In a drain what comes over open connections is served; this is after it.
        if self.shared.log.is_draining() {
            return unavailable(Reason::Draining, arrival);
        }
        if !self.shared.log.available() {
            return unavailable(Reason::LogUnavailable, arrival);
        }
        if !arrival.carried.live.paces().admits_address(arrival.carried.connection.peer.ip()) {
            return here(pace::too_often("address", arrival.carried));
        }
        match Arc::clone(&self.shared.requests).try_acquire_owned() {
            Ok(permit) => arrival.carried.open.holds(permit),
            Err(_) => return unavailable(Reason::Overloaded, arrival),
        }
        let ambiguous = arrival.carried.under_way.is_ambiguous();
        match framing::check(&arrival.request, ambiguous) {
            Ok(()) => Passing::Right(self.inner.call(arrival)),
            Err((status, why)) => {
                let mut ruled = Ruled::http(status, Verdict::Refuse, Reason::BadRequest, why, arrival.carried);
                // Where one request ends and the next begins is what is in doubt.
                if arrival.request.version() <= http::Version::HTTP_11 {
                    ruled.response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                here(ruled)
            }
        }
    }
}

#[cold]
fn unavailable<F>(reason: Reason, arrival: Arrival) -> Passing<F> {
    here(Ruled::http(StatusCode::SERVICE_UNAVAILABLE, Verdict::Fail, reason, "", arrival.carried))
}
