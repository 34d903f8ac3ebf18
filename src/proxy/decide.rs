//! Facts to a decision, by the site's policy.

use tower::Service;

use super::{
    always_ready,
    exchange::{Exchange, Judged, Ruled},
};
use crate::policy;

/// Decides.
#[derive(Clone, Debug)]
pub struct Decide<S>(pub(super) S);

impl<S> Service<Exchange> for Decide<S>
where
    S: Service<Judged, Response = Box<Ruled>, Error = std::convert::Infallible>,
{
    always_ready!();
    type Future = S::Future;

    fn call(&mut self, mut exchange: Exchange) -> Self::Future {
        let site = &exchange.collected.site.site;
        let decision = policy::decide::decide(site, exchange.collected.carried.live.versions(), &exchange.facts());
        exchange.collected.carried.decided(&decision);
        self.0.call(Judged { exchange, decision, remembered: None })
    }
}
