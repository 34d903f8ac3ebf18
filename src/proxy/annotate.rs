//! The way back: bridges a server's answer, or adds the recommended version to it.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Version, header, response, uri::PathAndQuery};
use tokio::time::Instant;

use super::{
    account::{self, Accounting},
    arrived::{Arrived, Content},
    body::{Answer, Sent},
    decode::integrity,
    exchange::{Carried, Known, Ruled, hint_headers},
    gather::Gone,
    headers::{self, AskedWith},
    live::LiveSite,
    refuse,
    remembered::Remembered,
    resp_uri::{self, Way},
};
use crate::{
    policy::{
        decision::Decision,
        facts::Integrity,
        reason::{Reason, Verdict},
        site::RespUri,
    },
    syncml::{
        self,
        bridge::{Crossing, Obstacle, Own, bridge},
        edit::Edits,
        element::Element,
        header::HeaderIndex,
        hint,
        integrity::{Hmac, next_nonce},
        reply,
        version::{Declared, Version as Protocol},
        write::value,
    },
    upstream::{Address, Incoming},
};

/// What an answer has to do with its request.
#[derive(Debug)]
pub(super) struct Return {
    pub(super) site: Arc<LiveSite>,
    pub(super) decision: Decision,
    /// The host that the device addressed, and what it asked for there.
    pub(super) host: String,
    pub(super) asked: PathAndQuery,
    /// Where the request went, and what the server was asked for.
    pub(super) target: PathAndQuery,
    pub(super) address: Arc<Address>,
    /// The request's message.
    pub(super) known: Option<Box<Known>>,
    pub(super) enforce: bool,
    /// What the carrier `account` has to do.
    pub(super) account: Option<Box<Accounting>>,
    /// Of the request's head, when the answer is to be bridged.
    pub(super) asked_with: Option<Box<AskedWith>>,
}

/// Whether a hint may go into the body. A client tells MaxMsgSize at the beginning of a session, so
/// only there it is known how much room there is; once is enough in any case.
pub(super) fn body_hints_wanted(decision: &Decision, site: &LiveSite, known: &Known) -> bool {
    decision.verdict() == Verdict::Advise
        && decision.body_hints()
        && site.site.carriers.any_in_body()
        && (known.first || known.index.max_msg_size.is_some())
}

/// A server's answer that was read.
pub(super) struct Read {
    pub(super) plain: Bytes,
    pub(super) index: HeaderIndex,
    /// The MAC that covers it, when that can be made anew.
    hmac: Option<Hmac>,
    /// Whether something covers it that cannot.
    pub(super) protected: bool,
}

/// An answer to what is no message.
pub(super) fn through(response: Response<Incoming>, returns: &Return, mut carried: Carried) -> Box<Ruled> {
    let (head, incoming) = response.into_parts();
    let mut head = towards_device(head, returns, &mut carried);
    headers::agree(&mut head.headers, &incoming);
    let stall = carried.live.limits().upstream_timeout;
    Ruled::answered(Response::from_parts(head, Answer::through(incoming, stall)), carried)
}

pub(super) fn towards_device(mut head: response::Parts, returns: &Return, carried: &mut Carried) -> response::Parts {
    headers::towards_device(&mut head.headers, head.version);
    head.version = Version::HTTP_11;
    if returns.enforce && returns.decision.verdict() == Verdict::Advise {
        header_hints(&mut head.headers, returns, carried);
    }
    head
}

/// Makes an answer fit for the device. `plain` is the request's body. No `async fn`, which would keep room for
/// everything that it is given twice.
pub(super) fn annotate(
    arrived: Arrived,
    mut returns: Box<Return>,
    plain: &Bytes,
    mut carried: Carried,
) -> impl Future<Output = Box<Ruled>> {
    let Arrived { head, content, is_syncml } = arrived;
    let mut head = towards_device(head, &returns, &mut carried);
    async move {
        let (raw, message) = match content {
            Content::Through(incoming) => {
                let stall = carried.live.limits().upstream_timeout;
                headers::agree(&mut head.headers, &incoming);
                return Ruled::answered(Response::from_parts(head, Answer::through(incoming, stall)), carried);
            }
            Content::Read { raw, message, .. } => (raw, message),
        };
        let bridges = returns.decision.verdict() == Verdict::Bridge;
        let Some((answer, index)) = message.map(|message| *message) else {
            return if bridges && is_syncml && !raw.is_empty() {
                Ruled::http(StatusCode::BAD_GATEWAY, Verdict::Fail, Reason::UpstreamMalformed, "", carried)
            } else {
                whole(head, raw, carried)
            };
        };
        let seals = returns.known.as_ref().and_then(|known| known.seals.as_ref());
        let hmac = seals.and_then(|seals| seals.check_answer(returns.site.secrets.as_ref(), &head.headers, &raw));
        let protected = hmac.is_none() && integrity(&head.headers) != Integrity::None;
        let read = Read { plain: answer, index, hmac, protected };
        let mut changed = Changed::default();
        let mut version = None;
        if bridges {
            match bridge_back(&returns, plain, &read, &carried) {
                Back::Same => {}
                Back::Edited(edits, names, forms) => {
                    changed = Changed { edits, names };
                    version = Some(forms);
                }
                Back::Malformed => {
                    return Ruled::http(StatusCode::BAD_GATEWAY, Verdict::Fail, Reason::UpstreamMalformed, "", carried);
                }
                Back::CannotCome(obstacle, reason) => {
                    return cannot_come(obstacle.as_ref(), reason, &returns, plain, &read, head, carried);
                }
            }
        } else if returns.enforce && !read.protected {
            body_hints(&returns, plain, &read, &mut changed, &mut carried);
        }
        new_resp_uri(&returns, plain, &read, &mut changed, &mut carried).await;
        if let Some(accounting) = returns.account.take() {
            // Boxed: few answers need it, and every exchange would have to keep room for it.
            Box::pin(account::put_in(*accounting, &returns, &read, &mut changed, &mut carried)).await;
        }
        if changed.edits.is_empty() {
            return whole(head, raw, carried);
        }
        let bytes = changed.edits.apply(&read.plain);
        headers::describe_new_body(&mut head.headers, bytes.len());
        if let Some(forms) = version.and_then(|version| carried.live.versions().get(version)) {
            headers::name_versions(&mut head.headers, forms);
        }
        if let (Some(seals), Some(hmac)) = (seals, &read.hmac) {
            seals.seal_answer(&returns.site, hmac, &mut head.headers, &bytes);
        }
        carried.edited(changed.names);
        Ruled::answered(Response::from_parts(head, Answer::whole(bytes)), carried)
    }
}

/// What is to be changed in an answer.
#[derive(Default)]
pub(super) struct Changed {
    pub(super) edits: Edits,
    pub(super) names: Vec<Cow<'static, str>>,
}

/// An answer as it came.
pub(super) fn whole(head: response::Parts, raw: Bytes, carried: Carried) -> Box<Ruled> {
    let len = raw.len();
    let mut response = Response::from_parts(head, Answer::whole(raw));
    response.headers_mut().insert(header::CONTENT_LENGTH, len.into());
    Ruled::answered(response, carried)
}

/// The scheme by which the device addresses protover. Behind a terminator of TLS only the device knows it,
/// and says so in Target/LocURI.
fn scheme(returns: &Return, request: &[u8], carried: &Carried) -> &'static str {
    let ours = carried.connection.scheme();
    let Some(known) = &returns.known else { return ours };
    let target = known.index.text(request, known.index.target);
    let same_host = |rest: &str| rest.get(..returns.host.len()).is_some_and(|host| host.eq_ignore_ascii_case(&returns.host));
    let says = |scheme: &str| target.trim().strip_prefix(scheme).is_some_and(same_host);
    match ours {
        "http" if says("https://") => "https",
        _ => ours,
    }
}

/// Keeps the device from going round protover, where the answer's RespURI would lead it.
async fn new_resp_uri(returns: &Return, request: &[u8], answer: &Read, changed: &mut Changed, carried: &mut Carried) {
    let decision = &returns.decision;
    let wanted = returns.site.site.servers.get(decision.server()).is_some_and(|server| server.resp_uri == RespUri::Rewrite);
    let Some(field) = answer.index.resp_uri.filter(|_| returns.enforce && wanted) else { return };
    let given = answer.index.text(&answer.plain, field);
    let blank = given.trim().is_empty() || returns.host.is_empty();
    if blank {
        return;
    }
    let way = Way {
        scheme: scheme(returns, request, carried),
        host: &returns.host,
        target: &returns.asked,
        live: &carried.live,
        site: &returns.site.site,
        server: decision.server(),
        address: &returns.address,
        sent: &returns.target,
    };
    // The device goes round protover for the rest of the session then; the record says why.
    let left =
        |carried: &mut Carried, why: &str| carried.open.detail = Some(format!("RespURI leads past protover: {why}").into());
    let rewritten = match resp_uri::rewrite(&given, &way) {
        Ok(Some(rewritten)) => rewritten,
        Ok(None) => return,
        Err(past) => return left(carried, past.reason()),
    };
    if answer.protected {
        return left(carried, Reason::IntegrityProtected.code());
    }
    if !answer.index.editable() {
        return left(carried, "charset");
    }
    if let Some((token, path_and_query)) = rewritten.keep {
        let mut remembered = Box::new(Remembered::new(&carried.store, carried.live.settings().sessions, "", "", ""));
        let kept = Box::pin(remembered.keep_uri(&returns.site.site.name, &token, path_and_query)).await;
        carried.open.store = Some(remembered.name());
        if !kept {
            return left(carried, "the store does not answer");
        }
    }
    let with = value(&answer.plain, &answer.index, field, Element::RespURI, &rewritten.uri);
    if changed.edits.replace(field.place, with) {
        changed.names.push("RespURI".into());
    }
}

fn header_hints(headers: &mut HeaderMap, returns: &Return, carried: &mut Carried) {
    let carriers = returns.site.site.carriers;
    // Where no hint can go into the body, one in the head is better than none.
    let in_body = returns.known.as_ref().is_some_and(|known| body_hints_wanted(&returns.decision, &returns.site, known));
    if !carriers.http_header && (!carriers.any_in_body() || in_body) {
        return;
    }
    if hint_headers(headers, returns.decision.recommended(), returns.decision.supported()) {
        carried.open.hints.push("http-header");
    }
}

/// The edits that put the recommended version into an answer, as far as the device has room for it.
fn body_hints(returns: &Return, request: &[u8], answer: &Read, changed: &mut Changed, carried: &mut Carried) {
    let (Some(recommended), Some(known)) = (returns.decision.recommended(), &returns.known) else { return };
    if !body_hints_wanted(&returns.decision, &returns.site, known) {
        return;
    }
    let room = known.index.max_msg_size.and_then(|field| known.index.text(request, field).trim().parse::<usize>().ok());
    let carriers = returns.site.site.carriers;
    let all = &mut changed.edits;
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
        changed.names.push(name.into());
    }
}

enum Back {
    /// It is in the device's version already.
    Same,
    /// What is to be changed, and the version it is in then.
    Edited(Edits, Vec<Cow<'static, str>>, Protocol),
    /// It is in no version that can be bridged.
    Malformed,
    /// It has no equal in the device's version.
    CannotCome(Option<Obstacle>, Reason),
}

fn bridge_back(returns: &Return, request: &[u8], answer: &Read, carried: &Carried) -> Back {
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
    if answer.protected {
        return Back::CannotCome(None, Reason::IntegrityProtected);
    }
    let own = Own::of(request, &known.index);
    match bridge(&answer.plain, &answer.index, &Crossing { from, to, lossy: returns.decision.lossy(), own }) {
        Ok(bridged) if bridged.names.is_empty() => Back::Same,
        Ok(bridged) => Back::Edited(bridged.edits, bridged.names, to.version),
        Err(Obstacle::Malformed(_)) => Back::Malformed,
        Err(obstacle) => Back::CannotCome(Some(obstacle), Reason::CannotBridge),
    }
}

/// Tells both sides that the server's message cannot come: the device gets a Status that ends the
/// session, and the server one in the device's stead, so that it does not wait for ever.
#[allow(clippy::too_many_arguments, reason = "both sides of the exchange, and nothing else")]
#[cold]
fn cannot_come(
    obstacle: Option<&Obstacle>,
    reason: Reason,
    returns: &Return,
    plain: &Bytes,
    answer: &Read,
    head: response::Parts,
    mut carried: Carried,
) -> Box<Ruled> {
    let what = match obstacle {
        Some(Obstacle::Element { name, .. }) => name,
        Some(Obstacle::Malformed(_)) | None => "the server's answer",
    };
    carried.cannot_bridge(reason, what);
    let (Some(known), Some(asked_with)) = (&returns.known, &returns.asked_with) else {
        return refuse::broke_off(Gone::Broken, carried);
    };
    carried.open.syncml_status = Some(syncml::status::Status::BAD_GATEWAY.0);
    tell_server(obstacle, returns, asked_with, known, plain, answer, &head.headers, &mut carried);
    let message = reply::cannot_come(plain, &known.index);
    let mut like = Response::from_parts(head, ());
    *like.status_mut() = StatusCode::OK;
    let mut response = refuse::syncml(message, asked_with.content_type.as_ref(), known, &returns.site, Some(like));
    refuse::hinted(&mut response, &returns.decision, &mut carried);
    Ruled::answered(response, carried)
}

/// Sends the server a message in the device's stead. Nobody waits for it, and it is not tried again:
/// a server that does not take it ends the session by its own timeout, as with any lost device.
#[allow(clippy::too_many_arguments, reason = "both sides of the exchange, and nothing else")]
fn tell_server(
    obstacle: Option<&Obstacle>,
    returns: &Return,
    asked_with: &AskedWith,
    known: &Known,
    plain: &Bytes,
    answer: &Read,
    answered: &HeaderMap,
    carried: &mut Carried,
) {
    let last = known.index.text(plain, known.index.msg_id);
    let message: Bytes = reply::in_the_clients_stead(&answer.plain, &answer.index, obstacle, &last).into();
    let mut request = Request::new(Sent::whole(message.clone()));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = returns.target.clone().into();
    let headers = request.headers_mut();
    asked_with.again(headers, &carried.open);
    if let Some(content_type) = answered.get(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, content_type.clone());
    }
    if let Some(seals) = &known.seals {
        seals.seal_in_the_clients_stead(headers, &message, next_nonce(&answer.plain, &answer.index).as_deref());
    }
    carried.open.attempts = carried.open.attempts.map(|attempts| attempts + 1);
    let limit = carried.live.limits().upstream_timeout;
    let connection = carried.connection.clone();
    let address = Arc::clone(&returns.address);
    tokio::spawn(async move {
        let _keeps_the_drain_waiting = connection;
        if address.send(request.into(), Instant::now() + limit).await.is_err() {
            tracing::info!(server = &*address.server().name, "the server was not told that its message cannot cross");
        }
    });
}
