//! One session, one decision: what was decided at the first message holds for all of them, whichever
//! instance gets them and whatever policy is in force by then.
//!
//! Most sessions need no memory: the same message facts give the same decision. The store is asked only
//! where a later message could be decided otherwise: it was rewritten, the server's versions are found
//! out, rules look at what only the first message says, the policy was replaced while sessions ran, or a
//! RespURI has to be looked up.

use std::sync::Arc;

use futures_util::future::Either;
use http::{StatusCode, header};
use tower::Service;

use super::{
    Boxed, Shared, always_ready,
    exchange::{Exchange, Judged, Known, Ruled},
    framing,
    remembered::Remembered,
    resp_uri::Place,
    seal::Seals,
};
use crate::{
    policy::{
        decide::{decide, pinned},
        decision::Decision,
        reason::{Reason, Verdict},
        site::Mode,
    },
    syncml::{alert::StartedBy, header::Field},
};

/// Remembers sessions.
#[derive(Clone, Debug)]
pub struct Session<S> {
    pub(super) inner: S,
    pub(super) shared: Arc<Shared>,
}

impl<S> Service<Judged> for Session<S>
where
    S: Service<Judged, Response = Ruled, Error = std::convert::Infallible, Future: Send> + Clone + Send + 'static,
{
    always_ready!();
    type Future = Either<S::Future, Boxed>;

    fn call(&mut self, judged: Judged) -> Self::Future {
        let Some(remembered) = self.remembered(&judged) else {
            return Either::Left(self.inner.call(at_the_server_that_asked(judged)));
        };
        let (mut inner, shared) = (self.inner.clone(), Arc::clone(&self.shared));
        Either::Right(Box::pin(async move {
            match recall(judged, remembered, &shared).await {
                Ok(judged) => inner.call(at_the_server_that_asked(judged)).await,
                Err(ruled) => Ok(*ruled),
            }
        }))
    }
}

/// The host and path by which a request was routed.
fn addressed(exchange: &Exchange) -> (&str, &str) {
    let parts = &exchange.collected.parts;
    (framing::addressed(&parts.uri, &parts.headers), parts.uri.path())
}

impl<S> Session<S> {
    /// What the store knows, where it has to be asked.
    fn remembered(&self, judged: &Judged) -> Option<Remembered> {
        let Judged { exchange, decision, .. } = judged;
        let known = exchange.message.as_ref()?;
        let collected = &exchange.collected;
        let site = &collected.site.site;
        if site.mode == Mode::Observe {
            return None;
        }
        let keep = collected.carried.live.settings().sessions;
        let (host, path) = addressed(exchange);
        let kept_uri = collected.given.as_ref().is_some_and(|given| matches!(given.place, Place::Kept(_)));
        let needed = decision.verdict() == Verdict::Bridge
            || site.tries()
            || site.rules_may_change()
            || collected.site.secrets.is_some()
            || (site.notification.is_some() && known.first)
            || kept_uri
            || self.shared.earlier.differs(&collected.site, host, path, keep.idle);
        needed.then(|| {
            let text = |field: Field| known.index.text(exchange.plain(), field);
            let (device, session) = (text(known.index.source), text(known.index.session_id));
            Remembered::new(&collected.carried.store, keep, &site.name, &device, &session)
        })
    }
}

/// A later message goes to the server that gave it the address.
fn at_the_server_that_asked(judged: Judged) -> Judged {
    let Judged { exchange, decision, remembered } = judged;
    let later = is_later(exchange.message.as_ref());
    let decision = match &exchange.collected.given {
        Some(given) if later => decision.at(given.server),
        _ => decision,
    };
    Judged { exchange, decision, remembered }
}

/// Decides anew, by what the store knows.
async fn recall(judged: Judged, mut remembered: Remembered, shared: &Shared) -> Result<Judged, Box<Ruled>> {
    let Judged { mut exchange, mut decision, .. } = judged;
    let later = is_later(exchange.message.as_ref());
    Seals::check(&mut exchange, &mut remembered).await;
    if !later {
        answers_a_notification(&mut exchange, &mut remembered).await;
    }
    let pin = if later { remembered.recall_pin().await } else { None };
    if let Some(pin) = pin {
        let (host, path) = addressed(&exchange);
        let site = &exchange.collected.site.site;
        if *pin.policy != *site.digest
            && let Some(before) = shared.earlier.with_digest(host, path, &pin.policy)
        {
            exchange.under(before);
        }
        match pinned(&exchange.collected.site.site, exchange.collected.carried.live.versions(), &exchange.facts(), &pin) {
            Some(as_before) => decision = as_before,
            None => {
                exchange.collected.carried.open.detail = Some("not as at the beginning of the session".into());
                decision = anew(&exchange, &mut remembered).await;
            }
        }
    } else {
        if later {
            let (host, path) = addressed(&exchange);
            let idle = exchange.collected.carried.live.settings().sessions.idle;
            if shared.earlier.differs(&exchange.collected.site, host, path, idle)
                && let Some(before) = shared.earlier.oldest(host, path)
            {
                exchange.under(before);
            }
            if remembered.is_degraded() && exchange.collected.site.site.tries() {
                return Err(lost(exchange, &remembered, "the store does not answer"));
            }
        }
        decision = match exchange.collected.site.site.mode {
            Mode::Observe => decision,
            Mode::Enforce => anew(&exchange, &mut remembered).await,
        };
    }
    if let Some(given) = &mut exchange.collected.given
        && let Place::Kept(token) = &given.place
    {
        match remembered.recall_uri(&exchange.collected.site.site.name, token).await {
            Some(path) => given.place = Place::At(path.into()),
            None => return Err(lost(exchange, &remembered, "the address in RespURI is not known any more")),
        }
    }
    exchange.collected.carried.decided(&decision);
    exchange.collected.carried.open.store = Some(remembered.name());
    Ok(Judged { exchange, decision, remembered: Some(remembered) })
}

/// Finds out whether the session answers a notification: the device says so (Alert 1200), or says nothing
/// and has its session id.
async fn answers_a_notification(exchange: &mut Exchange, remembered: &mut Remembered) {
    let site = exchange.collected.site.site.clone();
    let Some(known) = exchange.message.as_ref().filter(|known| known.started_by != Some(StartedBy::Client)) else { return };
    if site.notification.is_none() {
        return;
    }
    let session = known.index.text(exchange.plain(), known.index.session_id).into_owned();
    let Some(notified) = remembered.take_notified(&site.name, &session).await else { return };
    exchange.notified = notified.version();
    let record = &mut exchange.collected.carried.open;
    record.started_by = Some(StartedBy::Server);
    if notified.version().is_none() {
        record.detail = Some("several devices were notified with this session id".into());
    }
    if let Some(known) = &mut exchange.message {
        known.started_by = Some(StartedBy::Server);
    }
}

/// Decides by the policy, and by what was learnt of servers.
async fn anew(exchange: &Exchange, remembered: &mut Remembered) -> Decision {
    let site = &exchange.collected.site.site;
    if site.tries() {
        remembered.recall_learnt(site).await;
    }
    let facts = crate::policy::facts::Facts { learnt: remembered.learnt(), ..exchange.facts() };
    decide(site, exchange.collected.carried.live.versions(), &facts)
}

/// A later message of a session of which too little is known. The device comes back with a new session.
fn lost(exchange: Exchange, remembered: &Remembered, why: &str) -> Box<Ruled> {
    let mut carried = exchange.collected.carried;
    carried.open.store = Some(remembered.name());
    carried.open.detail = Some(why.into());
    (carried.open.used, carried.open.server) = (None, None);
    let mut ruled = Ruled::http(StatusCode::SERVICE_UNAVAILABLE, Verdict::Fail, Reason::SessionLost, why, carried);
    ruled.response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    ruled.into()
}

/// Whether a message is a later one of its session.
fn is_later(known: Option<&Known>) -> bool {
    known.is_some_and(|known| !known.first)
}
