//! A server's answer as it arrives: read where something depends on what is in it, else passed through.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header, response};
use tokio::time::Instant;

use super::{
    annotate::body_hints_wanted,
    exchange::{Exchange, sniff},
    gather::{Gone, gather},
    live::LiveSite,
    media::Packing,
};
use crate::{
    policy::{
        decision::Decision,
        reason::Verdict,
        site::{Mode, RespUri},
    },
    syncml::{self, header::HeaderIndex, media_type::MediaType},
    upstream::Incoming,
};

/// What is needed for an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needs {
    /// The answer's message.
    pub(super) message: bool,
    /// The answer whatever it says it is: it has to be rewritten, or decides whether the server is asked again.
    pub(super) any: bool,
    /// The answer unpacked: it may have to be edited.
    pub(super) edits: bool,
}

/// What will be needed for the answer to a message.
pub(super) fn needs(exchange: &Exchange, decision: &Decision, site: &LiveSite, remembers: bool) -> Needs {
    let Some(known) = exchange.message.as_ref().filter(|_| site.site.mode == Mode::Enforce) else {
        return Needs { message: false, any: false, edits: false };
    };
    let account = exchange.account.is_some();
    let edits = account || decision.verdict() == Verdict::Bridge || body_hints_wanted(decision, site, known);
    let server = site.site.servers.get(decision.server());
    let resp_uri = server.is_some_and(|server| server.resp_uri == RespUri::Rewrite);
    Needs { message: edits || remembers || resp_uri, any: decision.trial() || decision.verdict() == Verdict::Bridge, edits }
}

/// Asks the server for an answer that can be read where it has to be.
pub(super) fn only_readable(headers: &mut HeaderMap, needs: Needs) {
    let readable = |coding: &str| {
        let name = coding.split(';').next().unwrap_or_default().trim();
        ["gzip", "x-gzip", "deflate", "identity"].iter().any(|known| known.eq_ignore_ascii_case(name))
    };
    let accepts = |value: &HeaderValue| value.to_str().is_ok_and(|list| list.split(',').all(readable));
    if needs.edits || (needs.message && !headers.get_all(header::ACCEPT_ENCODING).iter().all(accepts)) {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
}

/// An answer that came from a server.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) head: response::Parts,
    pub(super) content: Content,
    /// Whether its Content-Type says that it is SyncML.
    pub(super) is_syncml: bool,
}

/// What is in an answer.
#[derive(Debug)]
pub(super) enum Content {
    /// It was read; with what is in it, when that is a message. `opaque`: what is in it cannot be known.
    Read { raw: Bytes, message: Option<Box<(Bytes, HeaderIndex)>>, opaque: bool },
    /// Nobody has to know what is in it.
    Through(Incoming),
}

impl Arrived {
    /// Takes an answer in, and reads it when it is SyncML that is needed.
    pub(super) async fn receive(
        response: Response<Incoming>,
        needs: Needs,
        limit: usize,
        deadline: Instant,
    ) -> Result<Self, Gone> {
        let (head, incoming) = response.into_parts();
        let content_type = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_syncml = content_type.and_then(MediaType::parse).is_some_and(|media_type| media_type.kind.encoding().is_some());
        if !(needs.any || (needs.message && is_syncml)) {
            return Ok(Self { head, content: Content::Through(incoming), is_syncml });
        }
        let raw = gather(incoming, limit, deadline).await?;
        let plain = Packing::of(&head.headers).and_then(|packing| packing.unpack(&raw, limit).ok());
        let opaque = plain.is_none();
        let message = plain.and_then(|plain| {
            let index = syncml::scan(sniff(&plain), &plain).ok()?;
            Some(Box::new((plain, index)))
        });
        Ok(Self { head, content: Content::Read { raw, message, opaque }, is_syncml })
    }

    /// Whether nobody can know what is in it.
    pub(super) const fn is_opaque(&self) -> bool {
        matches!(self.content, Content::Read { opaque: true, .. })
    }

    /// The message, when it was read and is one.
    pub(super) fn message(&self) -> Option<(&Bytes, &HeaderIndex)> {
        match &self.content {
            Content::Read { message: Some(message), .. } => Some((&message.0, &message.1)),
            Content::Read { .. } | Content::Through(_) => None,
        }
    }
}
