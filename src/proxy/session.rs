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
    Boxed, Shared,
    account::{self, Remains},
    always_ready,
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
        facts::{Content, Facts},
        reason::{Reason, Verdict},
        site::{Mode, Site, Speaks},
    },
    session::Pin,
    syncml::{alert::StartedBy, header::Field, version::Version},
};

/// Remembers sessions.
#[derive(Clone, Debug)]
pub struct Session<S> {
    pub(super) inner: S,
    pub(super) shared: Arc<Shared>,
}

impl<S> Service<Judged> for Session<S>
where
    S: Service<Judged, Response = Box<Ruled>, Error = std::convert::Infallible, Future: Send> + Clone + Send + 'static,
{
    always_ready!();
    type Future = Either<S::Future, Boxed>;

    fn call(&mut self, judged: Judged) -> Self::Future {
        if judged.exchange.collected.past && !is_later(judged.exchange.message.as_deref()) {
            // Only sessions that run are known where no site is any more.
            let carried = judged.exchange.collected.carried;
            let (status, reason) = (StatusCode::MISDIRECTED_REQUEST, Reason::NoSite);
            return Either::Right(Box::pin(async move { Ok(Ruled::http(status, Verdict::Refuse, reason, "", carried)) }));
        }
        let Some(remembered) = self.remembered(&judged) else {
            return Either::Left(self.inner.call(at_the_server_that_asked(judged)));
        };
        let (mut inner, shared) = (self.inner.clone(), Arc::clone(&self.shared));
        Either::Right(Box::pin(async move {
            match recall(judged, remembered, &shared).await {
                Ok(judged) => inner.call(at_the_server_that_asked(judged)).await,
                Err(ruled) => Ok(ruled),
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
        let known = exchange.message.as_deref()?;
        let collected = &exchange.collected;
        let site = &collected.site.site;
        let keep = collected.carried.live.settings().sessions;
        let (host, path) = addressed(exchange);
        let replaced = self.shared.earlier.differs(&collected.site, host, path, keep.idle);
        if site.mode == Mode::Observe && !replaced {
            return None;
        }
        let kept_uri = collected.given.as_ref().is_some_and(|given| matches!(given.place, Place::Kept(_)));
        let needed = decision.verdict() == Verdict::Bridge
            || if known.first { site.tries() } else { hangs_on_trial(site, decision) }
            || site.rules_may_change()
            || collected.site.secrets.is_some()
            || (site.notification.is_some() && known.first)
            || kept_uri
            || decision.account()
            || replaced;
        needed.then(|| {
            let text = |field: Field| known.index.text(exchange.plain(), field);
            let (device, session) = (text(known.index.source), text(known.index.session_id));
            Remembered::new(&collected.carried.store, keep, &site.name, &device, &session)
        })
    }
}

/// Whether what was learnt of a server could make the decision another one.
fn hangs_on_trial(site: &Site, decision: &Decision) -> bool {
    site.servers.iter().take(decision.server() + 1).any(|server| server.trial.is_some())
}

/// A later message goes to the server that gave it the address.
fn at_the_server_that_asked(judged: Judged) -> Judged {
    let Judged { exchange, decision, remembered } = judged;
    let later = is_later(exchange.message.as_deref());
    let decision = match &exchange.collected.given {
        Some(given) if later => decision.at(given.server),
        _ => decision,
    };
    Judged { exchange, decision, remembered }
}

/// Decides anew, where the store knows more than the decision was made by.
async fn recall(judged: Judged, mut remembered: Remembered, shared: &Shared) -> Result<Judged, Box<Ruled>> {
    let Judged { mut exchange, decision: so_far, .. } = judged;
    Seals::check(&mut exchange, &mut remembered).await;
    let decision = if is_later(exchange.message.as_deref()) {
        match remembered.recall_pin().await {
            Some(pin) => as_before(&mut exchange, &mut remembered, &pin, shared).await,
            None => in_the_middle(&mut exchange, &mut remembered, shared).await,
        }
    } else {
        let answers = answers_a_notification(&mut exchange, &mut remembered).await;
        let site = &exchange.collected.site;
        let more_is_known = answers || site.site.tries() || site.secrets.is_some();
        Ok(if more_is_known { anew(&exchange, &mut remembered).await } else { so_far })
    };
    let decision = match decision {
        Ok(decision) => decision,
        Err(why) => return Err(lost(exchange, &remembered, why)),
    };
    if let Some(given) = &mut exchange.collected.given
        && let Place::Kept(token) = &given.place
    {
        match remembered.recall_uri(&exchange.collected.site.site.name, token).await {
            Some(path) => given.place = Place::At(path.into()),
            None => return Err(lost(exchange, &remembered, "the address in RespURI is not known any more")),
        }
    }
    exchange.collected.carried.decided(&decision);
    let left = account::recall(&mut exchange, &decision, &mut remembered).await;
    exchange.collected.carried.open.store = Some(remembered.name());
    if left == Remains::Nothing {
        return Err(account::answered_here(exchange, remembered).await);
    }
    Ok(Judged { exchange, decision, remembered: Some(Box::new(remembered)) })
}

/// A later message of a session of which it is known how it began: by the policy that decided then.
async fn as_before(
    exchange: &mut Exchange,
    remembered: &mut Remembered,
    pin: &Pin,
    shared: &Shared,
) -> Result<Decision, &'static str> {
    let (host, path) = addressed(exchange);
    if *pin.policy != *exchange.collected.site.site.digest
        && let Some(before) = shared.earlier.with_digest(host, path, &pin.policy)
    {
        exchange.under(before);
    }
    let site = &exchange.collected.site.site;
    if let Some(decision) = pinned(site, exchange.collected.carried.live.versions(), &exchange.facts(), pin) {
        return Ok(decision);
    }
    if site.servers.iter().all(|server| *server.name != *pin.server) {
        return Err("the server of the session is not there any more");
    }
    exchange.collected.carried.open.detail = Some("not the version that the session began with".into());
    Ok(anew(exchange, remembered).await)
}

/// A later message of a session of which nothing is kept: it needed no memory, or the store has lost it.
/// Decided by the policy alone, as far as that knows enough.
async fn in_the_middle(exchange: &mut Exchange, remembered: &mut Remembered, shared: &Shared) -> Result<Decision, &'static str> {
    const DEGRADED: &str = "the store does not answer";
    let (host, path) = addressed(exchange);
    let idle = exchange.collected.carried.live.settings().sessions.idle;
    if shared.earlier.differs(&exchange.collected.site, host, path, idle) {
        // All sessions since the replacement are kept; so this one began before it.
        if remembered.is_degraded() {
            return Err(DEGRADED);
        }
        if let Some(before) = shared.earlier.oldest(host, path) {
            exchange.under(before);
        }
    }
    let decision = anew(exchange, remembered).await;
    let site = &exchange.collected.site.site;
    let declared = exchange.message.as_deref().and_then(|known| known.declared.known());
    let asks = |version: Option<Version>| {
        let server = site.servers.get(decision.server());
        let learnt = remembered.learnt().get(decision.server());
        version.zip(server).is_some_and(|(version, server)| server.speaks(version, learnt) == Speaks::Perhaps)
    };
    if remembered.is_degraded() && (hangs_on_trial(site, &decision) || !is_whoever_started(exchange, &decision)) {
        return Err(DEGRADED);
    }
    if site.mode == Mode::Enforce && (asks(declared) || asks(decision.used())) {
        return Err("nothing is known of the beginning of the session");
    }
    Ok(decision)
}

/// Whether the decision is the same whoever started the session.
fn is_whoever_started(exchange: &Exchange, decision: &Decision) -> bool {
    let site = &exchange.collected.site.site;
    [None, Some(StartedBy::Server), Some(StartedBy::Client)].into_iter().all(|started_by| {
        let mut facts = exchange.facts();
        if let Content::Message(message) = &mut facts.content {
            message.started_by = started_by;
        }
        let other = decide(site, exchange.collected.carried.live.versions(), &facts);
        (other.verdict(), other.server(), other.used()) == (decision.verdict(), decision.server(), decision.used())
    })
}

/// Finds out whether the session answers a notification: the device says so (Alert 1200), or says nothing
/// and has its session id. Whether it does.
async fn answers_a_notification(exchange: &mut Exchange, remembered: &mut Remembered) -> bool {
    let site = exchange.collected.site.site.clone();
    let Some(known) = exchange.message.as_deref().filter(|known| known.started_by != Some(StartedBy::Client)) else {
        return false;
    };
    if site.notification.is_none() {
        return false;
    }
    let session = known.index.text(exchange.plain(), known.index.session_id).into_owned();
    let Some(notified) = remembered.take_notified(&site.name, &session).await else { return false };
    exchange.notified = notified.version();
    let record = &mut exchange.collected.carried.open;
    record.started_by = Some(StartedBy::Server);
    if notified.version().is_none() {
        record.detail = Some("several devices were notified with this session id".into());
    }
    if let Some(known) = &mut exchange.message {
        known.started_by = Some(StartedBy::Server);
    }
    true
}

/// Decides by the policy, and by what was learnt of servers.
async fn anew(exchange: &Exchange, remembered: &mut Remembered) -> Decision {
    let site = &exchange.collected.site.site;
    if site.tries() {
        remembered.recall_learnt(site).await;
    }
    let facts = Facts { learnt: remembered.learnt(), ..exchange.facts() };
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
    ruled
}

/// Whether a message is a later one of its session.
fn is_later(known: Option<&Known>) -> bool {
    known.is_some_and(|known| !known.first)
}
