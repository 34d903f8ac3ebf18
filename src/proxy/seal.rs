//! MACs over messages, where the site's secrets are known: checked as messages come, and made anew for
//! those that were edited. A message whose MAC does not verify is passed on as it is.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{exchange::Exchange, live::LiveSite, remembered::Remembered};
use crate::{
    policy::facts::Integrity,
    secrets::{Client, Secrets},
    syncml::integrity::{Hmac, header, next_nonce},
};

/// Carries the MAC of a message.
pub(super) static HMAC: HeaderName = HeaderName::from_static("x-syncml-hmac");

/// What is known of the MACs of a device.
#[derive(Clone, Debug)]
pub struct Seals {
    /// The MAC of its message, when it verifies; and who made it, with which nonce.
    request: Option<(Hmac, Client, Vec<u8>)>,
    /// The nonce of the server's answer.
    answer: Vec<u8>,
}

/// The MAC that a header holds.
fn hmac(headers: &HeaderMap) -> Option<Hmac> {
    headers.get(&HMAC).and_then(|value| value.to_str().ok()).and_then(Hmac::parse)
}

impl Seals {
    /// Checks a message, and keeps the nonce that it hands the server. Called for each message of a site
    /// with secrets, also for those without a MAC: they may hand out the nonce of the next one.
    pub(super) async fn check(exchange: &mut Exchange, remembered: &mut Remembered) {
        let site = exchange.collected.site.clone();
        let Some(secrets) = &site.secrets else { return };
        let Some(known) = &exchange.message else { return };
        let raw = exchange.plain().clone();
        let raw = &raw;
        let mut nonces = remembered.recall_nonces(&site.site.name, &known.index.text(raw, known.index.source)).await;
        let request = (exchange.integrity == Integrity::Hmac).then(|| hmac(&exchange.collected.parts.headers)).flatten();
        let request = request.and_then(|hmac| {
            let client = secrets.client(hmac.user(), &known.index.text(raw, known.index.source))?;
            // A device whose nonce is not known, since it is new or the store is, holds that of its account.
            let nonces = [nonces.client(), Some(client.nonce.0.clone())];
            let nonce = nonces.into_iter().flatten().find(|nonce| hmac.verifies(&client.key(nonce), raw))?;
            Some((hmac, client.clone(), nonce))
        });
        if let Some(nonce) = next_nonce(raw, &known.index) {
            nonces.for_server(&nonce);
        }
        let at_first = || secrets.server.as_ref().map(|server| server.nonce.0.clone());
        let answer = nonces.server().or_else(at_first).unwrap_or_default();
        remembered.keep_nonces(nonces);
        if exchange.integrity == Integrity::Hmac && request.is_none() {
            exchange.collected.carried.open.detail = Some("x-syncml-hmac does not verify".into());
        }
        if let Some(known) = &mut exchange.message {
            known.seals = Some(Box::new(Self { request, answer }));
        }
    }

    /// Whether the message's MAC was checked, so that it can be made anew.
    pub(super) const fn covers_request(&self) -> bool {
        self.request.is_some()
    }

    /// Makes the MAC of a message that was edited.
    pub(super) fn seal_request(&self, headers: &mut HeaderMap, body: &[u8]) {
        if let Some((hmac, client, nonce)) = &self.request {
            insert(headers, hmac.with_body(&client.key(nonce), body));
        }
    }

    /// The MAC of a message that goes to the server in the device's stead, after `answer`.
    pub(super) fn seal_in_the_clients_stead(&self, headers: &mut HeaderMap, body: &[u8], handed: Option<&[u8]>) {
        if let Some((_, client, nonce)) = &self.request {
            insert(headers, header(&client.key(handed.unwrap_or(nonce)), body));
        }
    }

    /// Checks an answer. `None` when it has no MAC that verifies.
    pub(super) fn check_answer(&self, secrets: Option<&Secrets>, headers: &HeaderMap, raw: &[u8]) -> Option<Hmac> {
        let server = secrets?.server.as_ref()?;
        hmac(headers).filter(|hmac| hmac.verifies(&server.key(&self.answer), raw))
    }

    /// Makes the MAC of an answer that was edited.
    pub(super) fn seal_answer(&self, site: &LiveSite, hmac: &Hmac, headers: &mut HeaderMap, body: &[u8]) {
        if let Some(server) = site.secrets.as_ref().and_then(|secrets| secrets.server.as_ref()) {
            insert(headers, hmac.with_body(&server.key(&self.answer), body));
        }
    }

    /// The MAC of an answer in the server's stead, to a device that uses MACs.
    pub(super) fn seal_in_the_servers_stead(&self, site: &LiveSite, headers: &mut HeaderMap, body: &Bytes) {
        let server = site.secrets.as_ref().and_then(|secrets| secrets.server.as_ref());
        if let Some(server) = server.filter(|_| self.covers_request()) {
            insert(headers, header(&server.key(&self.answer), body));
        }
    }
}

/// Removes what covered the body that another one takes the place of.
pub(super) fn unseal(headers: &mut HeaderMap) {
    for name in [HMAC.as_str(), "ms-signature", "mdm-signature"] {
        headers.remove(name);
    }
}

fn insert(headers: &mut HeaderMap, text: String) {
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(&HMAC, value);
    }
}
