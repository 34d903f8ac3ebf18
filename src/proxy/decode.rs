//! Bytes to facts: what SyncHdr says, and what protects the body. No further than policy needs.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use tower::Service;

use super::{
    always_ready,
    exchange::{Body, Collected, Exchange, Known, Ruled, sniff},
};
use crate::{
    policy::facts::{Dtd, Integrity},
    server::tls::ClientCertificate,
    syncml::{
        self,
        header::{Field, HeaderIndex},
        malformed::Malformed,
        media_type::MediaType,
        version::{Declared, VersionTable},
    },
};

/// Reads messages.
#[derive(Clone, Debug)]
pub struct Decode<S>(pub(super) S);

impl<S> Service<Box<Collected>> for Decode<S>
where
    S: Service<Exchange, Response = Box<Ruled>, Error = std::convert::Infallible>,
{
    always_ready!();
    type Future = S::Future;

    fn call(&mut self, collected: Box<Collected>) -> Self::Future {
        self.0.call(decode(collected))
    }
}

fn decode(mut collected: Box<Collected>) -> Exchange {
    let integrity = integrity(&collected.parts.headers);
    let certificate = certificate(&collected);
    let Body::Read { plain, .. } = &collected.body else {
        return Exchange { collected, message: None, malformed: None, integrity, notified: None, certificate, account: None };
    };
    let encoding = sniff(plain);
    let record = &mut collected.carried.open;
    record.encoding = Some(encoding);
    record.integrity = Some(integrity);
    let content_type = collected.parts.headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = content_type.and_then(MediaType::parse);
    let read = read(plain, collected.site.site.strict, media_type.as_ref(), collected.carried.live.versions());
    let (message, malformed) = match read {
        Ok(known) => (Some(known), None),
        Err(malformed) => (None, Some(malformed)),
    };
    if let Some(known) = &message {
        if !known.media_type_agrees {
            record.detail = Some("Content-Type contradicts the message".into());
        }
        let text = |field: Field| known.index.text(plain, field);
        record.device = Some(collected.carried.log.pii(&bounded(&text(known.index.source), 256)));
        record.session = Some(bounded(&text(known.index.session_id), 64));
        record.message = Some(bounded(&text(known.index.msg_id), 64));
        record.started_by = known.started_by;
        record.declared = Some(match &known.declared {
            Declared::Unrecognised(text) => Declared::Unrecognised(bounded(text, 64)),
            version @ Declared::Known(_) => version.clone(),
        });
        record.declared_dtd = Some(bounded(&text(known.index.ver_dtd), 64));
    }
    Exchange { collected, message, malformed, integrity, notified: None, certificate, account: None }
}

/// The certificate that the client showed, here or to a proxy that is trusted.
fn certificate(collected: &Collected) -> Option<Arc<ClientCertificate>> {
    let connection = &collected.carried.connection;
    if connection.forwards {
        return collected.parts.headers.get("client-cert").and_then(ClientCertificate::from_header).map(Arc::new);
    }
    connection.certificate.clone()
}

/// What SyncHdr says, and (strict) whether the rest can be read.
pub(crate) fn read(
    plain: &[u8],
    strict: bool,
    media_type: Option<&MediaType>,
    versions: &VersionTable,
) -> Result<Box<Known>, Malformed> {
    let index = syncml::scan(sniff(plain), plain)?;
    if strict {
        syncml::check(plain, &index)?;
    }
    let ver_proto = index.text(plain, index.ver_proto);
    let ver_dtd = index.text(plain, index.ver_dtd);
    let declared = versions.recognise(&ver_proto);
    let dtd = match declared.known().and_then(|version| versions.get(version)) {
        Some(forms) if forms.dtd != ver_dtd => {
            if versions.knows_dtd(&ver_dtd) {
                Dtd::Contradicts
            } else {
                Dtd::Unknown
            }
        }
        Some(_) | None => Dtd::Agrees,
    };
    let says = |parameter: &Option<String>, value: &str| parameter.as_ref().is_none_or(|said| said == value);
    let media_type_agrees = media_type.is_none_or(|media_type| {
        media_type.kind.encoding() == Some(index.encoding)
            && says(&media_type.verproto, &ver_proto)
            && says(&media_type.verdtd, &ver_dtd)
    });
    let first = is_first(plain, &index);
    let started_by = if first { syncml::started_by(plain, &index) } else { None };
    Ok(Box::new(Known { index, declared, dtd, media_type_agrees, first, started_by, seals: None }))
}

/// Whether a message is the first of its session: its MsgID is 1 (OMA-TS-DM_Protocol-V1_2_1, section 8).
fn is_first(plain: &[u8], index: &HeaderIndex) -> bool {
    index.text(plain, index.msg_id).trim() == "1"
}

pub(crate) fn integrity(headers: &HeaderMap) -> Integrity {
    static HMAC: HeaderName = HeaderName::from_static("x-syncml-hmac");
    static SIGNATURES: [HeaderName; 2] = [HeaderName::from_static("ms-signature"), HeaderName::from_static("mdm-signature")];
    if headers.contains_key(&HMAC) {
        Integrity::Hmac
    } else if SIGNATURES.iter().any(|name| headers.contains_key(name)) {
        Integrity::Signed
    } else {
        Integrity::None
    }
}

/// At most so many bytes of a text: a log line stays readable whatever a client sends.
fn bounded(text: &str, limit: usize) -> Box<str> {
    let end = (0..=limit.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default().into()
}
