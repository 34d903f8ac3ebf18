//! A message as its server shall see it.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;

use super::{exchange::Exchange, resp_uri::Place};
use crate::{
    policy::{decision::Decision, reason::Verdict},
    syncml::{
        bridge::{Bridged, Crossing, Obstacle, Own, bridge},
        element::Element,
        version::Forms,
        write::value,
    },
    upstream::Address,
};

/// A message that was edited.
#[derive(Debug)]
pub(super) struct Translated {
    pub(super) bytes: Bytes,
    /// What was changed.
    pub(super) names: Vec<Cow<'static, str>>,
    /// The version that it is in now, when that is another one.
    pub(super) to: Option<Forms>,
}

/// Edits a message for its server: into the version that was decided on, and its Target from the address
/// that protover gave the device in a RespURI to that of the server, and without what answers a command of
/// protover's own. `None` when it stays as it is.
///
/// # Errors
/// [`Obstacle`] when it cannot be taken to that version.
pub(super) fn translate(
    exchange: &Exchange,
    decision: &Decision,
    own: Option<&OwnAddress>,
) -> Result<Option<Translated>, Obstacle> {
    let Some(known) = &exchange.message else { return Ok(None) };
    // What is taken out stands behind SyncHdr, so the index holds for either.
    let stripped = exchange.account.as_ref().and_then(|account| account.stripped.as_ref());
    let (raw, index) = (stripped.unwrap_or_else(|| exchange.plain()), &known.index);
    let versions = exchange.collected.carried.live.versions();
    let forms = |version| versions.get(version);
    let mut bridged = Bridged::default();
    let mut to = None;
    if decision.verdict() == Verdict::Bridge
        && let (Some(from), Some(other)) = (known.declared.known().and_then(forms), decision.used().and_then(forms))
    {
        bridged = bridge(raw, index, &Crossing { from, to: other, lossy: decision.lossy(), own: Own::default() })?;
        to = Some(other);
    }
    if let Some(own) = own.filter(|_| exchange.may_edit() && index.editable())
        && own.is(&index.text(raw, index.target))
    {
        bridged.replace("Target", index.target.place, value(raw, index, index.target, Element::LocURI, &own.uri));
    }
    let Bridged { edits, mut names } = bridged;
    if stripped.is_some() {
        names.push("account-answer".into());
    }
    Ok((!names.is_empty()).then(|| Translated { bytes: edits.apply(raw), names, to: to.cloned() }))
}

/// The address of a server that stands behind one that the device was given in a RespURI.
#[derive(Debug)]
pub(super) struct OwnAddress {
    /// As the device was given it, without its scheme: behind a terminator of TLS it is not ours.
    given: String,
    /// As the server knows it.
    uri: String,
    /// Path and query at the server.
    pub(super) path_and_query: String,
}

impl OwnAddress {
    /// That of a request, when it was addressed so.
    pub(super) fn of(exchange: &Exchange, upstream: &Address, host: &str) -> Option<Self> {
        let given = exchange.collected.given.as_ref().filter(|_| exchange.message.is_some())?;
        let site = &exchange.collected.site.site;
        let there = site
            .servers
            .get(given.server)
            .is_some_and(|server| Arc::ptr_eq(server, upstream.server()) || server == upstream.server());
        let path_and_query = match &given.place {
            Place::Below(rest) => format!("{}{}{rest}", upstream.prefix(), site.path.trim_end_matches('/')),
            Place::At(path_and_query) if there => path_and_query.to_string(),
            Place::At(_) | Place::Kept(_) => return None,
        };
        let target = exchange.collected.parts.uri.path_and_query()?;
        let own_host = if given.by_the_devices { host } else { upstream.authority().as_str() };
        let path = if path_and_query.starts_with('/') { "" } else { "/" };
        Some(Self {
            given: format!("{host}{target}"),
            uri: format!("{}://{own_host}{path}{path_and_query}", upstream.scheme()),
            path_and_query,
        })
    }

    /// Whether a Target repeats the address that the device was given.
    fn is(&self, target: &str) -> bool {
        let target = target.trim();
        ["http://", "https://"].iter().any(|scheme| target.strip_prefix(scheme).is_some_and(|rest| rest == self.given))
    }
}
