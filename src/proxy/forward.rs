//! Takes a request to its server, and the answer back.

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Version, header, uri::PathAndQuery};
use tokio::time::Instant;

use super::{
    account::Accounting,
    annotate::{self, Return},
    arrived::{self, Arrived},
    body::{Sent, Through},
    bootstrap,
    exchange::{Body, Exchange, Judged, Known, Ruled},
    framing,
    gather::Gone,
    headers::{self, AskedWith},
    live::LiveSite,
    refuse,
    remembered::{Remembered, ends},
    translate::{OwnAddress, Translated, translate},
    trial::{Told, Trial, told},
};
use crate::{
    policy::{
        decision::Decision,
        reason::{Reason, Verdict},
        site::{HostHeader, Limits, Mode},
    },
    syncml::{self, integrity, version::Version as Protocol},
    upstream::{Address, Failure, Session, Upstream},
};

/// What comes of a request.
pub(super) type Outcome = Pin<Box<dyn Future<Output = Box<Ruled>> + Send>>;

fn at_once(ruled: Box<Ruled>) -> Outcome {
    Box::pin(std::future::ready(ruled))
}

/// Sends a request to the server that was decided on, and its answer back. All that has not to be waited for is
/// done before there is a future, which would have to keep room for it.
pub(super) fn forward(Judged { mut exchange, decision, remembered }: Judged) -> Outcome {
    let site = exchange.collected.site.clone();
    let Some(upstream) = site.upstream(decision.server()) else {
        let carried = exchange.collected.carried;
        return at_once(Ruled::http(StatusCode::BAD_GATEWAY, Verdict::Fail, Reason::UpstreamUnreachable, "", carried));
    };
    exchange.collected.carried.open.server = Some(upstream.server().name.clone());
    let chosen = upstream.choose(session(&exchange), &[]);
    let Some(address) = chosen else {
        return at_once(refuse::failed(Failure::Unreachable, exchange.collected.carried));
    };
    let host = framing::addressed(&exchange.collected.parts.uri, &exchange.collected.parts.headers).to_owned();
    let own = OwnAddress::of(&exchange, &address, &host);
    let translated = match translate(&exchange, &decision, own.as_ref()) {
        Ok(translated) => translated.filter(|_| site.site.mode == Mode::Enforce),
        Err(obstacle) if site.site.mode == Mode::Observe => {
            exchange.collected.carried.would_not_cross(&obstacle);
            None
        }
        Err(obstacle) => {
            return Box::pin(async move {
                ends(remembered).await;
                refuse::cannot_go(exchange, &obstacle, &decision)
            });
        }
    };
    let asked = exchange.collected.parts.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    let Some(target) = target(&mut exchange, &asked, &address, own.as_ref(), &host) else {
        let carried = exchange.collected.carried;
        let detail = "invalid request target";
        return at_once(Ruled::http(StatusCode::BAD_REQUEST, Verdict::Refuse, Reason::BadRequest, detail, carried));
    };
    let upstream = upstream.clone();
    let conversation = Conversation { site, upstream, address, host, asked, target, own };
    match exchange.collected.body {
        Body::Read { .. } => Box::pin(conversation.message(exchange, decision, remembered, translated)),
        Body::Through(_) | Body::Dm2(_) => Box::pin(conversation.through(exchange, decision)),
    }
}

/// What the server is asked for, and the headers to go with it.
fn target(
    exchange: &mut Exchange,
    asked: &PathAndQuery,
    upstream: &Address,
    own: Option<&OwnAddress>,
    host: &str,
) -> Option<PathAndQuery> {
    let parts = &mut exchange.collected.parts;
    let target = match own {
        Some(own) => own.path_and_query.parse().ok()?,
        None => upstream.target(asked)?,
    };
    headers::towards_server(&mut parts.headers, parts.version, host, &exchange.collected.carried);
    #[cfg(feature = "otlp")]
    if let Some(spans) = exchange.collected.carried.open.spans() {
        spans.towards_server(&mut parts.headers, upstream.authority());
    }
    let host = if keeps_host(upstream, host) { host } else { upstream.authority().as_str() };
    parts.headers.insert(header::HOST, HeaderValue::from_str(host).ok()?);
    parts.version = Version::HTTP_11;
    Some(target)
}

/// Whether the server sees the host that the device addressed.
fn keeps_host(address: &Address, host: &str) -> bool {
    address.server().host == HostHeader::Keep && !host.is_empty()
}

/// The session that a message belongs to.
fn session(exchange: &Exchange) -> Option<Session<'_>> {
    let (known, plain) = (exchange.message.as_ref()?, exchange.plain());
    let (device, id) = (known.index.text(plain, known.index.source), known.index.text(plain, known.index.session_id));
    Some(Session { device, id, first: known.first })
}

/// A request on its way.
struct Conversation {
    site: Arc<LiveSite>,
    upstream: Upstream,
    address: Arc<Address>,
    /// The host that the device addressed, and what it asked for there.
    host: String,
    asked: PathAndQuery,
    /// What the server is asked for.
    target: PathAndQuery,
    own: Option<OwnAddress>,
}

impl Conversation {
    /// What is not SyncML streams through.
    async fn through(self, mut exchange: Exchange, decision: Decision) -> Box<Ruled> {
        let limits = *exchange.collected.carried.live.limits();
        // The answer to HEAD has no body to read.
        let reads = exchange.collected.parts.method != Method::HEAD;
        let mut request = self.request(&mut exchange, false, None);
        let mut carried = exchange.collected.carried;
        if let Body::Through(incoming) | Body::Dm2(incoming) = exchange.collected.body {
            *request.body_mut() = Sent::Through(Through::new(incoming, limits.body, &carried.under_way));
        }
        let began = Instant::now();
        carried.open.attempts = Some(1);
        let answer = self.address.send(request, began + limits.upstream_timeout).await;
        carried.open.upstream = Some(began.elapsed());
        #[cfg(feature = "otlp")]
        traced(&mut carried, &answer);
        match answer {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => refuse::failed(Failure::Broke, carried),
            Ok(response) if reads && bootstrap::is_bootstrap(&self.site, &response, limits.body) => {
                bootstrap::annotate(response, &self.returns(None, decision, None, None), carried).await
            }
            Ok(response) => annotate::through(response, &self.returns(None, decision, None, None), carried),
            Err(failure) => refuse::failed(failure, carried),
        }
    }

    fn returns(
        self,
        known: Option<Box<Known>>,
        decision: Decision,
        account: Option<Box<Accounting>>,
        asked_with: Option<Box<AskedWith>>,
    ) -> Box<Return> {
        let enforce = self.site.site.mode == Mode::Enforce;
        let Self { site, address, host, asked, target, .. } = self;
        Box::new(Return { site, decision, host, asked, address, target, known, enforce, account, asked_with })
    }

    /// Sends a message, in other versions too where that is to be tried, and sees to what is remembered. No
    /// `async fn`, which would keep room for everything that it is given twice.
    fn message(
        mut self,
        mut exchange: Exchange,
        mut decision: Decision,
        mut remembered: Option<Box<Remembered>>,
        mut translated: Option<Translated>,
    ) -> impl Future<Output = Box<Ruled>> {
        let &Limits { body: limit, upstream_timeout, .. } = exchange.collected.carried.live.limits();
        let began = Instant::now();
        let deadline = began + upstream_timeout;
        async move {
            let needs = arrived::needs(&exchange, &decision, &self.site, remembered.is_some());
            arrived::only_readable(&mut exchange.collected.parts.headers, needs);
            let mut trial = Trial::new(&exchange, &decision);
            let keeps = trial.is_some() || self.upstream.has_choice();
            let mut tried = Vec::new();
            let mut attempts = 0;
            let (arrived, asked_with) = loop {
                // Nobody waits for an answer to another attempt any more.
                if attempts > 0 && Instant::now() >= deadline {
                    exchange.collected.carried.open.upstream = Some(began.elapsed());
                    return refuse::failed(Failure::TooSlow, exchange.collected.carried);
                }
                // Whatever becomes of it, this is what was sent.
                exchange.collected.carried.open.edits.clear();
                if let Some(translated) = &translated {
                    exchange.collected.carried.edited(translated.names.iter().cloned());
                }
                let bridges = decision.verdict() == Verdict::Bridge;
                let asked_with = bridges.then(|| AskedWith::of(&exchange.collected.parts.headers));
                let request = self.request(&mut exchange, keeps, translated.as_ref());
                attempts += 1;
                exchange.collected.carried.open.attempts = Some(attempts);
                let answer = self.address.send(request, deadline).await;
                #[cfg(feature = "otlp")]
                traced(&mut exchange.collected.carried, &answer);
                let arrived = match answer {
                    // Nobody asked for another protocol.
                    Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => Err(Gone::Broken),
                    Ok(response) => Arrived::receive(response, needs, limit, deadline).await,
                    // Nothing was sent: another address may do.
                    Err(Failure::Unreachable) if self.elsewhere(&mut exchange, &mut tried) => continue,
                    Err(failure) => {
                        exchange.collected.carried.open.upstream = Some(began.elapsed());
                        return refuse::failed(failure, exchange.collected.carried);
                    }
                };
                exchange.collected.carried.open.upstream = Some(began.elapsed());
                let arrived = match arrived {
                    Ok(arrived) => arrived,
                    Err(gone) => return refuse::broke_off(gone, exchange.collected.carried),
                };
                let Some(trial) = &mut trial else { break (arrived, asked_with) };
                let learnt = remembered.as_ref().and_then(|remembered| remembered.learnt().get(decision.server()));
                let Told::Refused(named) = trial.hear(&arrived, learnt) else { break (arrived, asked_with) };
                match self.next(&exchange, &decision, trial, &named, remembered.as_deref()) {
                    Some((next, body)) => {
                        // Whatever becomes of it: this is what the server is asked with now.
                        exchange.collected.carried.decided(&next);
                        exchange.collected.carried.open.detail = Some(trial.detail().into());
                        (decision, translated) = (next, body);
                    }
                    None => return Box::pin(self.exhausted(exchange, decision, trial, remembered)).await,
                }
            };
            if let Some(remembered) = &mut remembered {
                Box::pin(self.remember(&exchange, &decision, trial.as_ref(), &arrived, remembered)).await;
                exchange.collected.carried.open.store = Some(remembered.name());
            }
            let plain = exchange.plain().clone();
            let returns = self.returns(exchange.message, decision, exchange.account, asked_with);
            annotate::annotate(arrived, returns, &plain, exchange.collected.carried).await
        }
    }

    /// Turns to an address that was not tried. What the message says of the server stays as it is: in the
    /// middle of a session, where it may be the address that failed, no other one may know the session anyway.
    #[cold]
    fn elsewhere(&mut self, exchange: &mut Exchange, tried: &mut Vec<Arc<Address>>) -> bool {
        tried.push(Arc::clone(&self.address));
        let Some(next) = self.upstream.choose(session(exchange), tried) else { return false };
        if !keeps_host(&next, &self.host)
            && let Ok(host) = HeaderValue::from_str(next.authority().as_str())
        {
            exchange.collected.parts.headers.insert(header::HOST, host);
        }
        #[cfg(feature = "otlp")]
        if let Some(spans) = exchange.collected.carried.open.spans() {
            spans.towards_server(&mut exchange.collected.parts.headers, next.authority());
        }
        self.address = next;
        true
    }

    /// The request for one attempt. `keeps`: the head is needed again.
    fn request(&self, exchange: &mut Exchange, keeps: bool, translated: Option<&Translated>) -> Box<Request<Sent>> {
        let collected = &mut exchange.collected;
        let mut request = Box::new(Request::new(Sent::whole(Bytes::new())));
        if keeps {
            (*request.headers_mut(), *request.extensions_mut()) =
                (collected.parts.headers.clone(), collected.parts.extensions.clone());
        } else {
            (*request.headers_mut(), *request.extensions_mut()) =
                (std::mem::take(&mut collected.parts.headers), std::mem::take(&mut collected.parts.extensions));
        }
        *request.method_mut() = collected.parts.method.clone();
        *request.uri_mut() = self.target.clone().into();
        let raw = match &collected.body {
            Body::Read { raw, .. } => raw,
            Body::Through(_) | Body::Dm2(_) => return request,
        };
        let body = match translated {
            // One that was not edited is sent as it came, packed or not.
            None => {
                request.headers_mut().insert(header::CONTENT_LENGTH, raw.len().into());
                raw.clone()
            }
            Some(Translated { bytes, to, .. }) => {
                headers::describe_new_body(request.headers_mut(), bytes.len());
                if let Some(forms) = to {
                    headers::name_versions(request.headers_mut(), forms);
                }
                if let Some(seals) = exchange.message.as_ref().and_then(|known| known.seals.as_ref()) {
                    seals.seal_request(request.headers_mut(), bytes);
                }
                bytes.clone()
            }
        };
        *request.body_mut() = Sent::whole(body);
        request
    }

    /// The next version to ask with, and the message in it. Versions that it cannot be taken to are left
    /// out.
    fn next(
        &self,
        exchange: &Exchange,
        decision: &Decision,
        trial: &mut Trial,
        named: &[Protocol],
        remembered: Option<&Remembered>,
    ) -> Option<(Decision, Option<Translated>)> {
        let versions = exchange.collected.carried.live.versions();
        let learnt = remembered.and_then(|remembered| remembered.learnt().get(decision.server()));
        while let Some(version) = trial.next(named, versions, learnt) {
            let declared = exchange.message.as_ref()?.declared.known()?;
            let decision = decision.clone().stepped_down(declared, version, &trial.refused(true));
            if let Ok(translated) = translate(exchange, &decision, self.own.as_ref()) {
                return Some((decision, translated));
            }
        }
        None
    }

    /// The server took the message in no version: the device gets the error that it understands.
    async fn exhausted(
        &self,
        mut exchange: Exchange,
        decision: Decision,
        trial: &Trial,
        remembered: Option<Box<Remembered>>,
    ) -> Box<Ruled> {
        let supported = trial.left(decision.supported());
        let decision = decision.exhausted(supported.into());
        exchange.collected.carried.decided(&decision);
        exchange.collected.carried.open.detail = Some(trial.detail().into());
        if let Some(mut remembered) = remembered {
            remembered.learn(&self.site.site, decision.server(), None, &trial.refused(false), false).await;
            remembered.store_nonces(None).await;
            remembered.end().await;
            exchange.collected.carried.open.store = Some(remembered.name());
        }
        refuse::refuse(exchange, &decision)
    }

    /// Keeps what the rest of the session, and the sessions after it, depend on.
    async fn remember(
        &self,
        exchange: &Exchange,
        decision: &Decision,
        trial: Option<&Trial>,
        arrived: &Arrived,
        remembered: &mut Remembered,
    ) {
        let message = arrived.message().filter(|_| remembered.follows_nonces());
        let handed = message.and_then(|(plain, index)| integrity::next_nonce(plain, index));
        remembered.store_nonces(handed).await;
        let (Some(known), Some(used)) = (&exchange.message, decision.used()) else { return };
        let (site, server) = (&*self.site.site, decision.server());
        if let Some(policy) = site.servers.get(server).and_then(|server| server.trial.as_ref()) {
            match (told(arrived, policy, used.family(), false), trial) {
                (Told::Took, Some(trial)) => {
                    let refused = trial.refused(true);
                    remembered.learn(site, server, Some(trial.asked()), &refused, trial.suspects()).await;
                }
                (Told::Took, None) if known.first => remembered.learn(site, server, Some(used), &[], false).await,
                // What was known is not true any more. What HTTP says may have other causes.
                (Told::Refused(_), None) if arrived.message().is_some() => {
                    remembered.learn(site, server, None, &[used], false).await;
                }
                _ => {}
            }
        }
        let Some((plain, index)) = arrived.message() else { return };
        let Ok(answer) = syncml::answer::answer(plain, index, used.family()) else { return };
        // Anybody can write a SessionID into a message: what the server does not accept changes nothing.
        let accepted = answer.status.is_none_or(|status| status.0 < 400) || answer.challenge;
        let over =
            answer.ends() || syncml::answer::aborts(plain, index) || syncml::answer::aborts(exchange.plain(), &known.index);
        if accepted && over {
            remembered.end().await;
        } else if accepted && (known.first || !remembered.is_pinned()) {
            // Also a session that was met in its middle: from now on it is known how it goes on.
            remembered.begin(site, known.declared.known(), decision).await;
        }
    }
}

/// Tells the spans what the server answered.
#[cfg(feature = "otlp")]
pub(super) fn traced<B>(carried: &mut super::exchange::Carried, answer: &Result<http::Response<B>, Failure>) {
    if let (Some(spans), Ok(response)) = (carried.open.spans(), answer) {
        spans.answered(response.status());
    }
}
