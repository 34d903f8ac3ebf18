//! Takes a request to its server.

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, Version, header, request::Parts, uri::PathAndQuery};
use tokio::time::Instant;

use super::{
    annotate::{self, Return},
    body::{Sent, Through},
    exchange::{Body, Carried, Exchange, Ruled},
    framing, headers,
    media::Packing,
    refuse,
};
use crate::{
    policy::{
        decision::Decision,
        reason::{Reason, Verdict},
        site::{HostHeader, Mode},
    },
    syncml::{
        bridge::{Crossing, Obstacle, Own, bridge},
        media_type,
        version::{Forms, VersionTable},
    },
    upstream::{Failure, Upstream},
};

/// Sends a request to the server that was decided on, and its answer back.
pub(super) async fn forward(mut exchange: Exchange, decision: Decision) -> Ruled {
    let site = exchange.collected.site.clone();
    let live = exchange.collected.carried.live.clone();
    let enforce = site.site.mode == Mode::Enforce;
    let Some(upstream) = site.upstream(decision.server()) else {
        return Ruled::http(StatusCode::BAD_GATEWAY, Verdict::Fail, Reason::UpstreamUnreachable, "", exchange.collected.carried);
    };
    exchange.collected.carried.open.server = Some(upstream.server().name.clone());

    let mut edited = None;
    if decision.verdict() == Verdict::Bridge
        && let Some((from, to)) = way(&exchange, &decision, live.versions())
        && let Some(known) = &exchange.message
    {
        let crossing = Crossing { from, to, lossy: decision.lossy(), own: Own::default() };
        match bridge(exchange.plain(), &known.index, &crossing) {
            Ok(bridged) if enforce && !bridged.names.is_empty() => {
                edited = Some((bridged.edits.apply(exchange.plain()), to));
                exchange.collected.carried.edited(bridged.names);
            }
            Ok(_) => {}
            Err(obstacle) if enforce => return refuse::cannot_go(exchange, &obstacle, &decision),
            Err(Obstacle::Element { name, .. }) => exchange.collected.carried.cannot_bridge(Reason::CannotBridge, name),
            Err(Obstacle::Malformed(malformed)) => {
                exchange.collected.carried.cannot_bridge(Reason::Malformed, &malformed.to_string());
            }
        }
    }

    let Exchange { collected, message, .. } = exchange;
    let (mut parts, mut carried) = (collected.parts, collected.carried);
    let Some(uri) = address(&mut parts, upstream, &carried) else {
        return Ruled::http(StatusCode::BAD_REQUEST, Verdict::Refuse, Reason::BadRequest, "invalid request target", carried);
    };
    let returns = Return { site: site.clone(), decision, uri: uri.clone(), known: message, enforce };
    let original = returns.may_edit().then(|| parts.clone());
    if returns.may_edit() {
        // What has to be read must not be packed in a way that protover cannot read.
        parts.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    let (body, plain) = match collected.body {
        Body::Read { raw, plain, packing } => (Sent::whole(whole(&mut parts, raw, packing, edited)), plain),
        Body::Through(incoming) | Body::Dm2(incoming) => {
            (Sent::Through(Through::new(incoming, live.limits().body, &carried.under_way)), Bytes::new())
        }
    };
    let mut request = Request::new(body);
    *request.method_mut() = parts.method;
    *request.uri_mut() = uri;
    *request.headers_mut() = parts.headers;
    *request.extensions_mut() = parts.extensions;

    carried.open.attempts = Some(1);
    let began = Instant::now();
    let deadline = began + live.limits().upstream_timeout;
    let answer = tokio::time::timeout_at(deadline, upstream.send(request)).await;
    carried.open.upstream = Some(began.elapsed());
    match answer {
        Ok(Ok(response)) => annotate::annotate(response, returns, original.as_ref(), &plain, deadline, began, carried).await,
        Ok(Err(failure)) => failed(failure, carried),
        Err(_) => Ruled::http(StatusCode::GATEWAY_TIMEOUT, Verdict::Fail, Reason::UpstreamTooSlow, "", carried),
    }
}

/// From which version to which a message is bridged.
fn way<'a>(exchange: &Exchange, decision: &Decision, versions: &'a VersionTable) -> Option<(&'a Forms, &'a Forms)> {
    let from = versions.get(exchange.message.as_ref()?.declared.known()?)?;
    Some((from, versions.get(decision.used()?)?))
}

/// The address of a request at the server, and the headers to go with it.
fn address(parts: &mut Parts, upstream: &Upstream, carried: &Carried) -> Option<Uri> {
    let host = framing::addressed(&parts.uri, &parts.headers).to_owned();
    let target = parts.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    let uri = upstream.uri(&target)?;
    headers::towards_server(&mut parts.headers, parts.version, &host, carried);
    let keep = upstream.server().host == HostHeader::Keep && !host.is_empty();
    let host = if keep { host.as_str() } else { upstream.authority().as_str() };
    parts.headers.insert(header::HOST, HeaderValue::from_str(host).ok()?);
    parts.version = Version::HTTP_11;
    Some(uri)
}

/// The body to send. One that was not edited is sent as it came, packed or not.
fn whole(parts: &mut Parts, raw: Bytes, packing: Packing, edited: Option<(Bytes, &Forms)>) -> Bytes {
    let Some((bytes, forms)) = edited else {
        parts.headers.insert(header::CONTENT_LENGTH, raw.len().into());
        return raw;
    };
    debug_assert!(packing != Packing::Identity || !parts.headers.contains_key(header::CONTENT_ENCODING));
    headers::describe_new_body(&mut parts.headers, bytes.len());
    name_versions(&mut parts.headers, forms);
    bytes
}

/// Makes the parameters of Content-Type say what the body says.
pub(super) fn name_versions(headers: &mut http::HeaderMap, forms: &Forms) {
    let Some(theirs) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return };
    let ours = media_type::rewrite(theirs, &forms.version.to_string(), &forms.dtd);
    if ours != theirs
        && let Ok(value) = HeaderValue::try_from(ours)
    {
        headers.insert(header::CONTENT_TYPE, value);
    }
}

fn failed(failure: Failure, carried: Carried) -> Ruled {
    let (status, verdict, reason) = match failure {
        Failure::Unreachable => (StatusCode::BAD_GATEWAY, Verdict::Fail, Reason::UpstreamUnreachable),
        Failure::Broke => (StatusCode::BAD_GATEWAY, Verdict::Fail, Reason::UpstreamBroke),
        Failure::Body => (StatusCode::BAD_REQUEST, Verdict::Abandon, Reason::ClientGone),
        Failure::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, Verdict::Refuse, Reason::BodyTooLarge),
    };
    Ruled::http(status, verdict, reason, "", carried)
}
