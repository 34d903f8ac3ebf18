//! Notifications on their way to the push gateway: made to say the recommended version where the policy
//! wants it, and remembered, so that the session which answers can be judged by it.

use bytes::Bytes;
use futures_util::future::Either;
use http::{HeaderValue, Request, StatusCode, header, uri::PathAndQuery};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tower::Service;

use super::{
    Boxed, always_ready,
    body::{Answer, Sent},
    collect,
    exchange::{Arrival, Carried, Ruled},
    gather::gather,
    headers,
    live::LiveSite,
    remembered::Remembered,
};
use crate::{
    notification::{Package0, Push, RESYNC, Unreadable},
    policy::{
        decision::Decision,
        notice::{Notice, notice, unknown},
        reason::{Reason, Verdict},
        site::{Mode, NotificationCarrier},
    },
    syncml::version::Version,
    wake::Calm,
};

/// Sends what comes over push listeners another way.
#[derive(Clone, Debug)]
pub struct Notifications<S>(pub(super) S);

impl<S> Service<Arrival> for Notifications<S>
where
    S: Service<Arrival, Response = Box<Ruled>, Error = std::convert::Infallible>,
{
    always_ready!();
    type Future = Either<Boxed, S::Future>;

    fn call(&mut self, arrival: Arrival) -> Self::Future {
        if arrival.carried.connection.push {
            Either::Left(Box::pin(async { Ok(submitted(arrival).await) }))
        } else {
            Either::Right(self.0.call(arrival))
        }
    }
}

/// Takes a submission to the gateway, and its answer back.
async fn submitted(Arrival { request, mut carried }: Arrival) -> Box<Ruled> {
    let (mut parts, incoming) = request.into_parts();
    let live = carried.live.clone();
    let limits = *live.limits();
    let Some(gateway) = live.gateway(&carried.connection.listener) else {
        return Ruled::http(StatusCode::BAD_GATEWAY, Verdict::Fail, Reason::UpstreamUnreachable, "no gateway", carried);
    };
    carried.open.server = Some(gateway.server().name.clone());
    let raw = match gather(Calm(incoming), limits.body, Instant::now() + limits.body_timeout).await {
        Ok(raw) => raw,
        Err(gone) => return collect::refused(gone, carried),
    };
    carried.open.bytes_in = raw.len() as u64;
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let target = parts.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    let Submission { body, remembers } = judge(content_type, target.as_str(), raw, &mut carried);

    let address = gateway.choose(None, &[]);
    let Some((target, gateway)) = address.and_then(|address| Some((address.target(&target)?, address))) else {
        return Ruled::http(StatusCode::BAD_REQUEST, Verdict::Refuse, Reason::BadRequest, "invalid request target", carried);
    };
    headers::towards_server(&mut parts.headers, parts.version, gateway.authority().as_str(), &carried);
    #[cfg(feature = "otlp")]
    if let Some(spans) = carried.open.spans() {
        spans.towards_server(&mut parts.headers, gateway.authority());
    }
    if let Ok(host) = HeaderValue::from_str(gateway.authority().as_str()) {
        parts.headers.insert(header::HOST, host);
    }
    if carried.open.verdict == Verdict::Advise && carried.open.mode == Some(Mode::Enforce) {
        headers::describe_new_body(&mut parts.headers, body.len());
    } else {
        parts.headers.insert(header::CONTENT_LENGTH, body.len().into());
    }
    let mut onward = Request::new(Sent::whole(body));
    *onward.method_mut() = parts.method;
    *onward.uri_mut() = target.into();
    *onward.headers_mut() = parts.headers;
    *onward.extensions_mut() = parts.extensions;
    carried.open.attempts = Some(1);
    // Before the device can answer.
    if let Some(waiting) = remembers {
        waiting.keep(&mut carried).await;
    }
    let began = Instant::now();
    let answer = gateway.send(onward.into(), began + limits.upstream_timeout).await;
    carried.open.upstream = Some(began.elapsed());
    #[cfg(feature = "otlp")]
    super::forward::traced(&mut carried, &answer);
    match answer {
        Ok(response) => {
            let (mut head, incoming) = response.into_parts();
            headers::towards_device(&mut head.headers, head.version);
            head.version = http::Version::HTTP_11;
            Ruled::answered(http::Response::from_parts(head, Answer::through(incoming, limits.upstream_timeout)), carried)
        }
        Err(failure) => super::refuse::failed(failure, carried),
    }
}

/// What goes on to the gateway, and what is to be remembered of it.
struct Submission {
    body: Bytes,
    remembers: Option<Waiting>,
}

/// A notification that waits for its session.
struct Waiting {
    site: std::sync::Arc<str>,
    session: String,
    version: Version,
    /// Stands for the address: push addresses are telephone numbers.
    to: String,
}

impl Waiting {
    async fn keep(self, carried: &mut Carried) {
        let mut remembered = Remembered::new(&carried.store, carried.live.settings().sessions, "", "", "");
        remembered.keep_notified(&self.site, &self.session, self.version, &self.to).await;
        carried.open.store = Some(remembered.name());
    }
}

/// Decides about a submission, and writes the decision into the record.
fn judge(content_type: &str, target: &str, raw: Bytes, carried: &mut Carried) -> Submission {
    let passed = |decision: &Decision, detail: &str, carried: &mut Carried| {
        carried.decided(decision);
        carried.open.detail = (!detail.is_empty()).then(|| detail.into());
    };
    let mut push = match Push::read(content_type, &raw) {
        Ok(push) => push,
        Err(unreadable) => {
            let detail = if unreadable == Unreadable::NoNotification { String::new() } else { unreadable.to_string() };
            passed(&unknown(false), &detail, carried);
            return Submission { body: raw, remembers: None };
        }
    };
    let mut package0 = match Package0::read(&push.notification) {
        Ok(package0) => package0,
        Err(broken) => {
            passed(&unknown(false), &broken.to_string(), carried);
            return Submission { body: raw, remembers: None };
        }
    };
    if push.addresses.is_empty() {
        // A notification by itself goes to whom its address says.
        push.addresses.push(target.to_owned());
    }
    carried.open.session = Some(package0.session().into());
    let Some(live_site) = carried.live.site_of_server(&package0.server_id).cloned() else {
        passed(&unknown(true), &package0.server_id, carried);
        return Submission { body: raw, remembers: None };
    };
    let LiveSite { site, secrets, .. } = &*live_site;
    let Some(server) = secrets.as_ref().and_then(|secrets| secrets.server.as_ref()) else {
        return Submission { body: raw, remembers: None };
    };
    carried.open.site = Some(site.name.clone());
    carried.open.policy = Some(site.digest.clone());
    carried.open.mode = Some(site.mode);
    // What a device is addressed by is as personal as its IMEI.
    carried.open.device = push.addresses.first().map(|address| carried.log.pii(address));
    let nonce = [&server.nonce.0[..], &RESYNC].into_iter().find(|nonce| package0.verifies(&server.key(nonce)));
    let facts = Notice { verifies: nonce.is_some(), says: package0.recommended(), addresses: &push.addresses };
    let decision = notice(site, &facts);
    carried.decided(&decision);
    let mut body = raw;
    if let (Verdict::Advise, Mode::Enforce, Some(recommended), Some(nonce)) =
        (decision.verdict(), site.mode, decision.recommended(), nonce)
    {
        let carrier = site.notification.as_ref().map(|notification| notification.carrier).unwrap_or_default();
        let name = match carrier {
            NotificationCarrier::VersionField => {
                package0.recommend_in_version_field(recommended);
                "version-field"
            }
            NotificationCarrier::VendorBody => {
                package0.recommend_in_vendor_body(recommended);
                "vendor-body"
            }
        };
        let signed = package0.sign(&server.key(nonce)).and_then(|()| package0.write());
        if let Ok(notification) = signed {
            body = push.with(&body, &notification).into();
            carried.edited([name.into(), "digest".into()]);
            carried.open.hints.push(name);
        }
    }
    // Only what was said with the server's secret is believed.
    let version = package0.recommended().filter(|_| nonce.is_some());
    let to = push.addresses.join(",");
    let to = Sha256::digest(to.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let remembers = version.map(|version| Waiting { site: site.name.clone(), session: package0.session(), version, to });
    Submission { body, remembers }
}
