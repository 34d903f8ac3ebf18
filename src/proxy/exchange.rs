//! What travels through the stack. Each layer takes one of these and hands on the next, so the order
//! of the layers, and that none is missing, is checked by the compiler.

use std::{
    borrow::Cow,
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header, request::Parts};
use hyper::body::Incoming;

use super::{
    account::Accounting,
    body::Answer,
    headers::Said,
    live::Live,
    live::LiveSite,
    media::Packing,
    remembered::Remembered,
    resp_uri::{self, Given},
    seal::Seals,
};
use crate::{
    decisions::{Log, Open},
    policy::{
        decision::Decision,
        facts::{Content, Dtd, Facts, Integrity, Message},
        reason::{Reason, Requirement, Verdict},
    },
    server::{pulse::UnderWay, tls::ClientCertificate},
    store::Store,
    syncml::{
        alert::StartedBy,
        bridge::Obstacle,
        header::{Encoding, HeaderIndex},
        malformed::Malformed,
        version::{Declared, Version},
    },
};

/// What is known of a connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The listener's name.
    pub listener: Arc<str>,
    /// The client's address.
    pub peer: SocketAddr,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// The host that it asked for in the TLS handshake.
    pub server_name: Option<Box<str>>,
    /// Whether notifications come over it, not messages.
    pub push: bool,
    /// The certificate that the client showed.
    pub certificate: Option<Arc<ClientCertificate>>,
    /// Whether it comes from a proxy that is trusted: what it says of the client is believed.
    pub forwards: bool,
    /// What servers are told of it, made for the host that is asked for first: it is always the same.
    pub said: OnceLock<Said>,
    /// Held by all that is not over yet.
    pub alive: tokio::sync::mpsc::Sender<()>,
}

impl Connection {
    /// `http` or `https`.
    pub(super) const fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// What servers are told of the client, when it asks for a host. `peer` does not change any more when
    /// requests come.
    pub(super) fn said(&self, host: &str) -> Cow<'_, Said> {
        let first = self.said.get_or_init(|| Said::new(self, host));
        if first.is_of(host) { Cow::Borrowed(first) } else { Cow::Owned(Said::new(self, host)) }
    }
}

/// A request with its open record, as `record` hands it on.
#[derive(Debug)]
pub struct Arrival {
    /// The request.
    pub request: Request<Incoming>,
    /// What carries it.
    pub carried: Carried,
}

/// What accompanies a request from one end of the stack to the other.
#[derive(Debug)]
pub struct Carried {
    /// The decision record; one line comes of it whatever happens.
    pub open: Open,
    /// The log, for how device identifiers are written.
    pub log: Log,
    /// The connection.
    pub connection: Arc<Connection>,
    /// What is remembered between messages.
    pub store: Arc<dyn Store>,
    /// Keeps the connection's watchdog informed.
    pub under_way: UnderWay,
    /// The policy and the servers that this request sees, however often they are reloaded meanwhile.
    pub live: Arc<Live>,
}

/// A request that belongs to a site.
#[derive(Debug)]
pub struct Routed {
    /// The request.
    pub request: Request<Incoming>,
    /// Its company.
    pub carried: Carried,
    /// The site.
    pub site: Arc<LiveSite>,
    /// The server's address that it was given in a RespURI.
    pub given: Option<Given>,
    /// Whether the site is one of a policy that was replaced, and there is none for it now.
    pub past: bool,
}

/// A request whose body is here, or will be passed through.
#[derive(Debug)]
pub struct Collected {
    /// The head.
    pub parts: Parts,
    /// The body.
    pub body: Body,
    /// Its company.
    pub carried: Carried,
    /// The site.
    pub site: Arc<LiveSite>,
    /// The server's address that it was given in a RespURI.
    pub given: Option<Given>,
    /// Whether the site is one of a policy that was replaced, and there is none for it now.
    pub past: bool,
}

/// A request's body.
#[derive(Debug)]
pub enum Body {
    /// Said to be SyncML: read.
    Read {
        /// As it was sent.
        raw: Bytes,
        /// Unpacked; the same bytes when it was not packed.
        plain: Bytes,
        /// How it was packed.
        packing: Packing,
    },
    /// Something else: not touched.
    Through(Incoming),
    /// A DM 2.0 request: not read.
    Dm2(Incoming),
}

/// A request that has been understood, as far as it can be.
#[derive(Debug)]
pub struct Exchange {
    /// The request. Boxed, as what follows is: every layer takes these by value.
    pub collected: Box<Collected>,
    /// The message, when it could be read.
    pub message: Option<Box<Known>>,
    /// Why not, when it could not.
    pub malformed: Option<Malformed>,
    /// What protects the body.
    pub integrity: Integrity,
    /// The version that the device was notified of, when its session answers a notification.
    pub notified: Option<Version>,
    /// The certificate that the client showed, here or to a proxy that is trusted.
    pub certificate: Option<Arc<ClientCertificate>>,
    /// What the carrier `account` has to do in the session.
    pub(super) account: Option<Box<Accounting>>,
}

/// What was read in a message.
#[derive(Clone, Debug)]
pub struct Known {
    /// Where things stand in it.
    pub index: HeaderIndex,
    /// VerProto.
    pub declared: Declared,
    /// VerDTD against VerProto.
    pub dtd: Dtd,
    /// Whether the Content-Type agrees with the body.
    pub media_type_agrees: bool,
    /// Whether it is the first message of a session.
    pub first: bool,
    /// Who started the session.
    pub started_by: Option<StartedBy>,
    /// What is known of the device's MACs, where the site's secrets are known.
    pub seals: Option<Box<Seals>>,
}

impl Exchange {
    /// The message in plain bytes; empty when there is none.
    #[must_use]
    pub fn plain(&self) -> &Bytes {
        static EMPTY: Bytes = Bytes::new();
        match &self.collected.body {
            Body::Read { plain, .. } => plain,
            Body::Through(_) | Body::Dm2(_) => &EMPTY,
        }
    }

    /// Whether the body may be edited: nothing protects it, or what does can be made anew.
    #[must_use]
    pub fn may_edit(&self) -> bool {
        let sealed = self.message.as_ref().and_then(|known| known.seals.as_ref()).is_some_and(|seals| seals.covers_request());
        self.integrity == Integrity::None || (self.integrity == Integrity::Hmac && sealed)
    }

    /// Goes on under another policy.
    pub fn under(&mut self, (live, site): (Arc<Live>, Arc<LiveSite>)) {
        self.collected.carried.open.site = Some(site.site.name.clone());
        self.collected.carried.open.policy = Some(site.site.digest.clone());
        self.collected.carried.open.mode = Some(site.site.mode);
        self.collected.given = self.collected.parts.uri.path_and_query().and_then(|target| resp_uri::find(&site.site, target));
        self.collected.carried.live = live;
        self.collected.site = site;
    }

    /// What a decision is made from.
    #[must_use]
    pub fn facts(&self) -> Facts<'_> {
        let content = match (&self.message, &self.collected.body) {
            (Some(known), _) => Content::Message(Message {
                encoding: known.index.encoding,
                declared: known.declared.clone(),
                dtd: known.dtd,
                media_type_agrees: known.media_type_agrees,
                device: known.index.text(self.plain(), known.index.source),
                first: known.first,
                started_by: known.started_by,
                integrity: if self.may_edit() { Integrity::None } else { self.integrity },
            }),
            (None, Body::Read { .. }) => Content::Malformed,
            (None, Body::Through(_)) => Content::NotSyncMl,
            (None, Body::Dm2(_)) => Content::Dm2,
        };
        Facts {
            path: self.collected.parts.uri.path(),
            user_agent: self.collected.parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()),
            client_certificate: self.certificate.as_ref().map(|certificate| &*certificate.subject),
            client_fingerprint: self.certificate.as_ref().map(|certificate| &*certificate.fingerprint),
            content,
            notified: self.notified,
            learnt: &[],
        }
    }
}

/// A request about which something has been decided.
#[derive(Debug)]
pub struct Judged {
    /// The request.
    pub exchange: Exchange,
    /// What to do with it.
    pub decision: Decision,
    /// What the store knows of the session, where that matters.
    pub remembered: Option<Box<Remembered>>,
}

/// The answer to a request, with the reason for it in its record. Below `record` every service
/// answers with this, boxed since every layer hands it on, and none can fail, so nothing gets past the log.
#[derive(Debug)]
pub struct Ruled {
    /// The answer.
    pub response: Response<Answer>,
    /// What accompanied the request.
    pub carried: Carried,
}

impl Ruled {
    /// A server's answer, or one in its stead.
    #[must_use]
    pub fn answered(response: Response<Answer>, carried: Carried) -> Box<Self> {
        Box::new(Self { response, carried })
    }

    /// An answer of HTTP's own: a status and one line of text.
    #[must_use]
    #[cold]
    pub fn http(status: StatusCode, verdict: Verdict, reason: Reason, detail: &str, mut carried: Carried) -> Box<Self> {
        carried.open.verdict = verdict;
        carried.open.reason = reason;
        let separator = if detail.is_empty() { "" } else { ": " };
        let text = format!("{} {reason}{separator}{detail} (decision {})\n", status.as_u16(), carried.open.id());
        let mut response = Response::new(Answer::whole(text.into()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("30"));
        }
        Box::new(Self { response, carried })
    }
}

impl Carried {
    /// Writes a decision into the record.
    pub fn decided(&mut self, decision: &Decision) {
        self.open.verdict = decision.verdict();
        self.open.reason = decision.reason();
        self.open.requirement = decision.requirement();
        self.open.rule = decision.rule().cloned();
        self.open.used = decision.used();
        self.open.recommended = decision.recommended();
        self.open.supported = Arc::clone(decision.supported());
    }

    /// Turns a bridge into a refusal, because the message cannot cross; `what` stands in the way.
    pub fn cannot_bridge(&mut self, reason: Reason, what: &str) {
        self.open.verdict = Verdict::Refuse;
        self.open.reason = reason;
        self.open.requirement = Some(Requirement::Server3);
        self.open.detail = Some(what.into());
    }

    /// Observe mode: takes down that a message would not have crossed.
    #[cold]
    pub(super) fn would_not_cross(&mut self, obstacle: &Obstacle) {
        match obstacle {
            Obstacle::Element { name, .. } => self.cannot_bridge(Reason::CannotBridge, name),
            Obstacle::Malformed(malformed) => self.cannot_bridge(Reason::Malformed, &malformed.to_string()),
        }
    }

    /// Adds names of what was changed, each once.
    pub fn edited(&mut self, names: impl IntoIterator<Item = Cow<'static, str>>) {
        for name in names {
            if !self.open.edits.contains(&name) {
                self.open.edits.push(name);
            }
        }
    }
}

const RECOMMENDED: HeaderName = HeaderName::from_static("dm-recommended-version");
const SUPPORTED: HeaderName = HeaderName::from_static("dm-supported-versions");

/// Says the recommended version and the supported ones in the head of an answer.
pub fn hint_headers(headers: &mut HeaderMap, recommended: Option<Version>, supported: &[Version]) -> bool {
    let Some(recommended) = recommended else { return false };
    let value = |text: Cow<'static, str>| match text {
        Cow::Borrowed(text) => Ok(HeaderValue::from_static(text)),
        Cow::Owned(text) => HeaderValue::try_from(text),
    };
    let mut list = String::with_capacity(supported.len() * "SyncML/1.2, ".len());
    for version in supported {
        list.push_str(if list.is_empty() { "" } else { ", " });
        list.push_str(&version.text());
    }
    let (Ok(recommended), Ok(list)) = (value(recommended.text()), HeaderValue::try_from(list)) else { return false };
    headers.insert(RECOMMENDED, recommended);
    headers.insert(SUPPORTED, list);
    true
}

/// The encoding that a body has, whatever its Content-Type says: WBXML begins with its version
/// number, XML with a mark, a space or a bracket.
#[must_use]
pub fn sniff(plain: &[u8]) -> Encoding {
    match plain.first() {
        Some(0x00..=0x03) => Encoding::Wbxml,
        _ => Encoding::Xml,
    }
}
