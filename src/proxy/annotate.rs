//! The way back: bridges a server's answer, or adds the recommended version to it.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Uri, Version, header, request::Parts};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::{
    body::{Answer, Sent},
    exchange::{Carried, Known, Ruled, hint_headers, sniff},
    forward::name_versions,
    gather::{Gone, gather},
    headers,
    live::LiveSite,
    media::Packing,
    refuse,
};
use crate::{
    policy::{
        decision::Decision,
        reason::{Reason, Verdict},
    },
    syncml::{
        self,
        bridge::{Crossing, Obstacle, Own, bridge},
        edit::Edits,
        header::HeaderIndex,
        hint,
        media_type::MediaType,
        reply,
        version::{Declared, Version as Protocol},
    },
};

/// What an answer has to do with its request.
#[derive(Debug)]
pub(super) struct Return {
    pub(super) site: Arc<LiveSite>,
    pub(super) decision: Decision,
    /// Where the request went.
    pub(super) uri: Uri,
    /// The request's message.
    pub(super) known: Option<Known>,
    pub(super) enforce: bool,
}

impl Return {
    /// Whether the answer's body may have to be edited.
    pub(super) fn may_edit(&self) -> bool {
        self.enforce && self.known.is_some() && (self.bridges() || self.body_hints())
    }

    fn bridges(&self) -> bool {
        self.decision.verdict() == Verdict::Bridge
    }

    /// Whether a hint may go into the body. A client tells MaxMsgSize at the beginning of a session, so
    /// only there it is known how much room there is; once is enough in any case.
    fn body_hints(&self) -> bool {
        self.decision.verdict() == Verdict::Advise
            && self.decision.body_hints()
            && self.site.site.carriers.any_in_body()
            && self.known.as_ref().is_some_and(|known| known.first || known.index.max_msg_size.is_some())
    }
}

/// A server's answer that was read.
struct Read {
    raw: Bytes,
    plain: Bytes,
    index: HeaderIndex,
}

/// Makes an answer fit for the device. `plain` is the request's body, and `parts` its head, which is there
/// when the answer may have to be edited.
pub(super) async fn annotate(
    response: Response<Incoming>,
    returns: Return,
    parts: Option<&Parts>,
    plain: &Bytes,
    deadline: Instant,
    began: Instant,
    mut carried: Carried,
) -> Ruled {
    let (mut head, incoming) = response.into_parts();
    headers::towards_device(&mut head.headers, head.version);
    head.version = Version::HTTP_11;
    if returns.enforce && returns.decision.verdict() == Verdict::Advise {
        header_hints(&mut head.headers, &returns, &mut carried);
    }
    let content_type = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_syncml = content_type.and_then(MediaType::parse).is_some_and(|media_type| media_type.kind.encoding().is_some());
    let Some(parts) = parts.filter(|_| is_syncml) else {
        let stall = carried.live.limits().upstream_timeout;
        return Ruled::answered(Response::from_parts(head, Answer::through(incoming, stall)), carried);
    };

    let raw = match gather(incoming, carried.live.limits().body, deadline).await {
        Ok(raw) => raw,
        Err(gone) => return broke_off(gone, carried),
    };
    carried.open.upstream = Some(began.elapsed());
    let unedited = |head, raw: Bytes, carried| {
        let mut response = Response::from_parts(head, Answer::whole(raw.clone()));
        response.headers_mut().insert(header::CONTENT_LENGTH, raw.len().into());
        Ruled::answered(response, carried)
    };
    if raw.is_empty() {
        return unedited(head, raw, carried);
    }
    let limit = carried.live.limits().body;
    let read = Packing::of(&head.headers).and_then(|packing| packing.unpack(&raw, limit).ok()).and_then(|plain| {
        let index = syncml::scan(sniff(&plain), &plain).ok()?;
        Some(Read { raw: raw.clone(), plain, index })
    });
    let protected = is_protected(&head.headers);
    if !returns.bridges() {
        let Some(read) = read.filter(|_| !protected) else { return unedited(head, raw, carried) };
        return match body_hints(&returns, plain, &read, &mut carried) {
            Some(edits) => {
                let bytes = edits.apply(&read.plain);
                headers::describe_new_body(&mut head.headers, bytes.len());
                Ruled::answered(Response::from_parts(head, Answer::whole(bytes)), carried)
            }
            None => unedited(head, read.raw, carried),
        };
    }
    let Some(read) = read else {
        return Ruled::http(StatusCode::BAD_GATEWAY, Verdict::Fail, Reason::UpstreamMalformed, "", carried);
    };
    match bridge_back(&returns, plain, &read, protected, &carried) {
        Back::Same => unedited(head, read.raw, carried),
        Back::Edited(bytes, names, forms) => {
            headers::describe_new_body(&mut head.headers, bytes.len());
            if let Some(forms) = carried.live.clone().versions().get(forms) {
                name_versions(&mut head.headers, forms);
            }
            carried.edited(names);
            Ruled::answered(Response::from_parts(head, Answer::whole(bytes)), carried)
        }
        Back::Malformed => Ruled::http(StatusCode::BAD_GATEWAY, Verdict::Fail, Reason::UpstreamMalformed, "", carried),
        Back::CannotCome(obstacle, reason) => {
            cannot_come(obstacle.as_ref(), reason, &returns, parts, plain, &read, head, carried)
        }
    }
}

fn header_hints(headers: &mut HeaderMap, returns: &Return, carried: &mut Carried) {
    let carriers = returns.site.site.carriers;
    if !carriers.http_header && (!carriers.any_in_body() || returns.body_hints()) {
        return;
    }
    let Some(known) = &returns.known else { return };
    let recommended = returns.decision.recommended();
    let supported = returns.site.site.supported_with_first(known.declared.family(), recommended);
    if hint_headers(headers, recommended, supported) {
        carried.open.hints.push("http-header");
    }
}

/// The edits that put the recommended version into an answer, as far as the device has room for it.
fn body_hints(returns: &Return, request: &[u8], answer: &Read, carried: &mut Carried) -> Option<Edits> {
    let recommended = returns.decision.recommended()?;
    let known = returns.known.as_ref()?;
    let room = known.index.max_msg_size.and_then(|field| known.index.text(request, field).trim().parse::<usize>().ok());
    let carriers = returns.site.site.carriers;
    let mut all = Edits::new();
    type Hint = fn(&[u8], &HeaderIndex, Protocol) -> Option<Edits>;
    let hints: [(bool, &'static str, Hint); 2] =
        [(carriers.status_item, "status-item", hint::status_item), (carriers.header_meta, "header-meta", hint::header_meta)];
    for (wanted, name, make) in hints {
        let Some(edits) = wanted.then(|| make(&answer.plain, &answer.index, recommended)).flatten() else { continue };
        let more = edits.len_after(all.len_after(answer.plain.len()));
        if room.is_some_and(|room| more > room) {
            continue;
        }
        for edit in edits.iter() {
            all.replace(edit.span, edit.with.clone());
        }
        carried.open.hints.push(name);
        carried.edited([name.into()]);
    }
    (!all.is_empty()).then_some(all)
}

enum Back {
    /// It is in the device's version already.
    Same,
    /// The answer, what was changed, and the version it is in now.
    Edited(Bytes, Vec<std::borrow::Cow<'static, str>>, Protocol),
    /// It is in no version that can be bridged.
    Malformed,
    /// It has no equal in the device's version.
    CannotCome(Option<Obstacle>, Reason),
}

fn bridge_back(returns: &Return, request: &[u8], answer: &Read, protected: bool, carried: &Carried) -> Back {
    let versions = carried.live.versions();
    let theirs = versions.recognise(&answer.index.text(&answer.plain, answer.index.ver_proto));
    let known = returns.known.as_ref();
    let (Declared::Known(theirs), Some(known)) = (theirs, known) else { return Back::Malformed };
    let (Some(from), Some(to)) = (versions.get(theirs), known.declared.known().and_then(|version| versions.get(version))) else {
        return Back::Malformed;
    };
    if theirs == to.version {
        return Back::Same;
    }
    if protected {
        return Back::CannotCome(None, Reason::IntegrityProtected);
    }
    let own = Own::of(request, &known.index);
    match bridge(&answer.plain, &answer.index, &Crossing { from, to, lossy: returns.decision.lossy(), own }) {
        Ok(bridged) if bridged.names.is_empty() => Back::Same,
        Ok(bridged) => Back::Edited(bridged.edits.apply(&answer.plain), bridged.names, to.version),
        Err(Obstacle::Malformed(_)) => Back::Malformed,
        Err(obstacle) => Back::CannotCome(Some(obstacle), Reason::CannotBridge),
    }
}

/// Tells both sides that the server's message cannot come: the device gets a Status that ends the
/// session, and the server one in the device's stead, so that it does not wait for ever.
#[allow(clippy::too_many_arguments, reason = "both sides of the exchange, and nothing else")]
fn cannot_come(
    obstacle: Option<&Obstacle>,
    reason: Reason,
    returns: &Return,
    parts: &Parts,
    plain: &Bytes,
    answer: &Read,
    head: http::response::Parts,
    mut carried: Carried,
) -> Ruled {
    let what = match obstacle {
        Some(Obstacle::Element { name, .. }) => name,
        Some(Obstacle::Malformed(_)) | None => "the server's answer",
    };
    carried.cannot_bridge(reason, what);
    let Some(known) = &returns.known else { return broke_off(Gone::Broken, carried) };
    carried.open.syncml_status = Some(syncml::status::Status::BAD_GATEWAY.0);
    tell_server(obstacle, returns, parts, known, plain, answer, &head.headers, &mut carried);
    let message = reply::cannot_come(plain, &known.index);
    let mut like = Response::from_parts(head, ());
    *like.status_mut() = StatusCode::OK;
    Ruled::answered(refuse::syncml(message, parts, plain, known, Some(like)), carried)
}

/// Sends the server a message in the device's stead. Nobody waits for it, and it is not tried again:
/// a server that does not take it ends the session by its own timeout, as with any lost device.
#[allow(clippy::too_many_arguments, reason = "both sides of the exchange, and nothing else")]
fn tell_server(
    obstacle: Option<&Obstacle>,
    returns: &Return,
    parts: &Parts,
    known: &Known,
    plain: &Bytes,
    answer: &Read,
    answered: &HeaderMap,
    carried: &mut Carried,
) {
    let Some(upstream) = returns.site.upstream(returns.decision.server()).cloned() else { return };
    let last = known.index.text(plain, known.index.msg_id);
    let message = reply::in_the_clients_stead(&answer.plain, &answer.index, obstacle, &last);
    let mut request = Request::new(Sent::whole(message.into()));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = returns.uri.clone();
    let headers = request.headers_mut();
    for name in [header::HOST, header::USER_AGENT, header::VIA, headers::DECISION.clone()] {
        if let Some(value) = parts.headers.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    if let Some(content_type) = answered.get(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, content_type.clone());
    }
    carried.open.attempts = Some(2);
    let limit = carried.live.limits().upstream_timeout;
    let connection = carried.connection.clone();
    tokio::spawn(async move {
        let _keeps_the_drain_waiting = connection;
        if !matches!(tokio::time::timeout(limit, upstream.send(request)).await, Ok(Ok(_))) {
            tracing::info!(server = &*upstream.server().name, "the server was not told that its message cannot cross");
        }
    });
}

fn broke_off(gone: Gone, carried: Carried) -> Ruled {
    let (status, reason) = match gone {
        Gone::TooLarge => (StatusCode::BAD_GATEWAY, Reason::UpstreamTooLarge),
        Gone::TooSlow => (StatusCode::GATEWAY_TIMEOUT, Reason::UpstreamTooSlow),
        Gone::Cut | Gone::Broken => (StatusCode::BAD_GATEWAY, Reason::UpstreamBroke),
    };
    Ruled::http(status, Verdict::Fail, reason, "", carried)
}

/// Whether a MAC or signature in the head covers the body.
pub(super) fn is_protected(headers: &HeaderMap) -> bool {
    super::decode::integrity(headers) != crate::policy::facts::Integrity::None
}
