//! Answers in the server's stead.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::{
    body::Answer,
    collect,
    exchange::{Body, Carried, Exchange, Known, Ruled, hint_headers},
    gather::Gone,
    live::LiveSite,
    seal,
};
use crate::{
    policy::{
        decision::Decision,
        reason::{Reason, Verdict},
    },
    syncml::{
        self,
        bridge::Obstacle,
        header::Encoding,
        media_type::{self, MediaType},
        reply,
        status::Status,
        version::Family,
    },
    upstream::Failure,
};

/// Refuses a request: in SyncML when it is a message, else in HTTP's own words.
pub(super) fn refuse(exchange: Exchange, decision: &Decision) -> Box<Ruled> {
    let Exchange { collected, message, malformed, .. } = exchange;
    let carried = collected.carried;
    match (collected.body, message) {
        (Body::Read { plain, .. }, Some(known)) => {
            server_3(&plain, &known, decision.status(), decision, &collected.parts.headers, &collected.site, carried)
        }
        (Body::Read { .. }, None) => {
            let detail = malformed.map(|malformed| malformed.to_string()).unwrap_or_default();
            http_400(&detail, carried)
        }
        (Body::Dm2(_), _) => dm2(decision, carried),
        (Body::Through(_), _) => Ruled::http(StatusCode::FORBIDDEN, Verdict::Refuse, decision.reason(), "", carried),
    }
}

/// A message that cannot be read.
pub(super) fn http_400(detail: &str, mut carried: Carried) -> Box<Ruled> {
    carried.open.detail = Some(detail.into());
    Ruled::http(StatusCode::BAD_REQUEST, Verdict::Refuse, Reason::Malformed, detail, carried)
}

/// A request to which no answer came.
#[cold]
pub(super) fn failed(failure: Failure, carried: Carried) -> Box<Ruled> {
    let (status, reason) = match failure {
        Failure::Unreachable => (StatusCode::BAD_GATEWAY, Reason::UpstreamUnreachable),
        Failure::Broke => (StatusCode::BAD_GATEWAY, Reason::UpstreamBroke),
        Failure::TooSlow => (StatusCode::GATEWAY_TIMEOUT, Reason::UpstreamTooSlow),
        Failure::Busy => (StatusCode::SERVICE_UNAVAILABLE, Reason::UpstreamBusy),
        Failure::Body(gone) => return collect::refused(gone, carried),
    };
    Ruled::http(status, Verdict::Fail, reason, "", carried)
}

/// An answer that did not come whole.
#[cold]
pub(super) fn broke_off(gone: Gone, carried: Carried) -> Box<Ruled> {
    let (status, reason) = match gone {
        Gone::TooLarge => (StatusCode::BAD_GATEWAY, Reason::UpstreamTooLarge),
        Gone::TooSlow => (StatusCode::GATEWAY_TIMEOUT, Reason::UpstreamTooSlow),
        Gone::Cut | Gone::Broken => (StatusCode::BAD_GATEWAY, Reason::UpstreamBroke),
    };
    Ruled::http(status, Verdict::Fail, reason, "", carried)
}

/// A message that cannot cross the bridge. The first of a session is told that its version is not
/// supported; a later one, that it itself is not.
#[cold]
pub(super) fn cannot_go(exchange: Exchange, obstacle: &Obstacle, decision: &Decision) -> Box<Ruled> {
    let Exchange { collected, message, .. } = exchange;
    let mut carried = collected.carried;
    let (name, status) = match obstacle {
        Obstacle::Malformed(malformed) => {
            (carried.open.used, carried.open.server) = (None, None);
            return http_400(&malformed.to_string(), carried);
        }
        Obstacle::Element { name, status, .. } => (*name, *status),
    };
    carried.cannot_bridge(Reason::CannotBridge, name);
    (carried.open.used, carried.open.server) = (None, None);
    let (Body::Read { plain, .. }, Some(known)) = (collected.body, message) else {
        return Ruled::http(StatusCode::BAD_REQUEST, Verdict::Refuse, Reason::CannotBridge, name, carried);
    };
    if known.first {
        let status = Status::PROTOCOL_VERSION_NOT_SUPPORTED;
        return server_3(&plain, &known, status, decision, &collected.parts.headers, &collected.site, carried);
    }
    carried.open.syncml_status = Some(status.0);
    let message = reply::cannot_go(&plain, &known.index, obstacle);
    let content_type = collected.parts.headers.get(header::CONTENT_TYPE);
    let mut response = syncml(message, content_type, &known, &collected.site, None);
    hinted(&mut response, decision, &mut carried);
    Ruled::answered(response, carried)
}

/// The error that names the recommended version.
fn server_3(
    plain: &Bytes,
    known: &Known,
    status: Status,
    decision: &Decision,
    headers: &HeaderMap,
    site: &LiveSite,
    mut carried: Carried,
) -> Box<Ruled> {
    let (recommended, supported) = (decision.recommended(), decision.supported());
    let table = carried.live.versions();
    let message = reply::refusal(plain, &known.index, &reply::Refusal { status, supported, recommended, table });
    let mut response = syncml(message, headers.get(header::CONTENT_TYPE), known, site, None);
    carried.open.syncml_status = Some(status.0);
    hinted(&mut response, decision, &mut carried);
    Ruled::answered(response, carried)
}

/// Says the recommended version in the head of an answer.
pub(super) fn hinted(response: &mut Response<Answer>, decision: &Decision, carried: &mut Carried) {
    if hint_headers(response.headers_mut(), decision.recommended(), decision.supported()) {
        carried.open.hints.push("http-header");
    }
}

/// A response with a message that protover wrote, in answer to the request: with that one's media type, which
/// names the versions that the message has. `like` is a server's head to keep, when there is one.
pub(super) fn syncml(
    message: Vec<u8>,
    theirs: Option<&HeaderValue>,
    known: &Known,
    site: &LiveSite,
    like: Option<Response<()>>,
) -> Response<Answer> {
    let theirs = theirs.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let same_encoding = MediaType::parse(theirs).and_then(|theirs| theirs.kind.encoding()) == Some(known.index.encoding);
    let plain_type = match (known.declared.family(), known.index.encoding) {
        (Family::Dm, Encoding::Xml) => "application/vnd.syncml.dm+xml",
        (Family::Dm, Encoding::Wbxml) => "application/vnd.syncml.dm+wbxml",
        (Family::SyncMl, Encoding::Xml) => "application/vnd.syncml+xml",
        (Family::SyncMl, Encoding::Wbxml) => "application/vnd.syncml+wbxml",
    };
    let content_type = if same_encoding { theirs } else { plain_type };
    // Only parameters name versions.
    let written = if content_type.contains(';') { syncml::scan(known.index.encoding, &message).ok() } else { None };
    let content_type = match written {
        Some(index) => {
            let text = |field| index.text(&message, field);
            Cow::Owned(media_type::rewrite(content_type, &text(index.ver_proto), &text(index.ver_dtd)))
        }
        None => Cow::Borrowed(content_type),
    };
    let mut head = match like {
        Some(like) => {
            let (mut head, ()) = like.into_parts();
            seal::unseal(&mut head.headers);
            head
        }
        None => Response::new(()).into_parts().0,
    };
    super::headers::describe_new_body(&mut head.headers, message.len());
    let message = Bytes::from(message);
    if let Some(seals) = &known.seals {
        seals.seal_in_the_servers_stead(site, &mut head.headers, &message);
    }
    if let Ok(content_type) = HeaderValue::from_str(&content_type) {
        head.headers.insert(header::CONTENT_TYPE, content_type);
    }
    Response::from_parts(head, Answer::whole(message))
}

/// A DM 2.0 request: JSON, which has no bridge to SyncML.
fn dm2(decision: &Decision, mut carried: Carried) -> Box<Ruled> {
    let recommended = decision.recommended();
    let error = serde_json::json!({
        "error": "unsupported DM protocol version",
        "recommended": recommended.map(|version| version.to_string()),
        "decision": carried.open.id(),
    });
    let mut response = Response::new(Answer::whole(format!("{error}\n").into()));
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/vnd.syncml.dm+xml, application/vnd.syncml.dm+wbxml"));
    if hint_headers(headers, recommended, decision.supported()) {
        carried.open.hints.push("http-header");
    }
    Ruled::answered(response, carried)
}
