//! How often an address or a device may come: more is answered with 429, before it costs a server anything.

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use http::{HeaderValue, StatusCode, header};
use moka::sync::Cache;
use tower::Service;

use super::{
    Passing, always_ready,
    exchange::{Carried, Exchange, Ruled},
    here,
};
use crate::policy::{
    reason::{Reason, Verdict},
    site::{Limits, Rate},
};

/// How many addresses or devices are counted at one time; of more, those that came last. An entry takes
/// about 200 bytes.
const COUNTED: u64 = 100_000;

/// One for each address or device.
pub(super) struct Limiter {
    rate: Rate,
    /// By a keyed hash: nobody can choose identifiers that share a count.
    counts: Cache<u64, Arc<DefaultDirectRateLimiter>>,
    hash: RandomState,
}

impl std::fmt::Debug for Limiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limiter").field("rate", &self.rate).finish_non_exhaustive()
    }
}

impl Limiter {
    fn new(rate: Rate) -> Self {
        // Past this, a count is full again, and as good as none.
        let full = Duration::from_secs(u64::from(rate.burst.get() / rate.per_second.get()) + 2);
        let counts = Cache::builder().max_capacity(COUNTED).time_to_idle(full).build();
        Self { rate, counts, hash: RandomState::new() }
    }

    /// Whether it may come now.
    fn admits(&self, who: &impl std::hash::Hash) -> bool {
        let quota = || Quota::per_second(self.rate.per_second).allow_burst(self.rate.burst);
        let count = self.counts.get_with(self.hash.hash_one(who), || Arc::new(RateLimiter::direct(quota())));
        count.check().is_ok()
    }
}

/// The limits in force.
#[derive(Debug, Default)]
pub struct Paces {
    address: Option<Limiter>,
    device: Option<Limiter>,
}

impl Paces {
    /// By the policy; what was counted under the same limits before goes on.
    pub(super) fn new(limits: &Limits, before: Option<&Arc<Self>>) -> Arc<Self> {
        let rates = |paces: &Self| {
            let rate = |limiter: &Option<Limiter>| limiter.as_ref().map(|limiter| limiter.rate);
            (rate(&paces.address), rate(&paces.device))
        };
        match before.filter(|before| rates(before) == (limits.per_address, limits.per_device)) {
            Some(before) => Arc::clone(before),
            None => Arc::new(Self { address: limits.per_address.map(Limiter::new), device: limits.per_device.map(Limiter::new) }),
        }
    }

    /// Whether an address may come now.
    pub(super) fn admits_address(&self, address: IpAddr) -> bool {
        self.address.as_ref().is_none_or(|limiter| limiter.admits(&address))
    }
}

/// The answer to who comes too often.
#[cold]
pub(super) fn too_often(whose: &str, carried: Carried) -> Box<Ruled> {
    let mut ruled = Ruled::http(StatusCode::TOO_MANY_REQUESTS, Verdict::Refuse, Reason::RateLimited, whose, carried);
    ruled.response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    ruled
}

/// Turns away devices that come too often.
#[derive(Clone, Debug)]
pub struct Pace<S>(pub(super) S);

impl<S> Service<Exchange> for Pace<S>
where
    S: Service<Exchange, Response = Box<Ruled>, Error = std::convert::Infallible>,
{
    always_ready!();
    type Future = Passing<S::Future>;

    fn call(&mut self, exchange: Exchange) -> Self::Future {
        let limiter = exchange.collected.carried.live.paces().device.as_ref();
        let too_often = limiter.zip(exchange.message.as_ref()).is_some_and(|(limiter, known)| {
            let device = known.index.text(exchange.plain(), known.index.source);
            !limiter.admits(&(&*exchange.collected.site.site.name, &*device))
        });
        if too_often {
            return here(self::too_often("device", exchange.collected.carried));
        }
        Passing::Right(self.0.call(exchange))
    }
}
