//! Reads the bodies that are said to be SyncML; everything else is left to pass through.

use http::{HeaderValue, Method, StatusCode, header};
use hyper::body::Body as _;
use tokio::time::Instant;
use tower::Service;

use super::{
    Boxed, always_ready,
    exchange::{Body, Carried, Collected, Routed, Ruled},
    gather::{Gone, gather},
    media::{Packing, Unpack},
};
use crate::{
    policy::reason::{Reason, Verdict},
    syncml::media_type::{Kind, MediaType},
    wake::Calm,
};

/// Reads bodies.
#[derive(Clone, Debug)]
pub struct Collect<S>(pub(super) S);

impl<S> Service<Routed> for Collect<S>
where
    S: Service<Box<Collected>, Response = Box<Ruled>, Error = std::convert::Infallible, Future: Send> + Clone + Send + 'static,
{
    always_ready!();
    type Future = Boxed;

    fn call(&mut self, routed: Routed) -> Self::Future {
        let mut inner = self.0.clone();
        Box::pin(async move {
            match collect(routed).await {
                Ok(collected) => inner.call(collected).await,
                Err(ruled) => Ok(ruled),
            }
        })
    }
}

async fn collect(Routed { request, mut carried, site, given, past }: Routed) -> Result<Box<Collected>, Box<Ruled>> {
    let (parts, incoming) = request.into_parts();
    // Bytes that are no ASCII in a parameter do not make it another type.
    let content_type = parts.headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let essence = |text: &str| MediaType::parse(text.split(';').next().unwrap_or_default());
    let parsed = content_type.as_deref().and_then(|text| MediaType::parse(text).or_else(|| essence(text)));
    let kind = parsed.map_or(Kind::Other, |media_type| media_type.kind);
    let limits = *carried.live.limits();
    let body = match kind {
        Kind::Dm(_) | Kind::Ds(_) if !matches!(parts.method, Method::GET | Method::HEAD) => {
            let Some(packing) = Packing::of(&parts.headers) else {
                return Err(unknown_packing(carried));
            };
            let deadline = Instant::from_std(carried.open.started().steady) + limits.body_timeout;
            let gone = |gone, carried| Err(refused(gone, carried));
            let raw = match gather(Calm(incoming), limits.body, deadline).await {
                Ok(raw) => raw,
                Err(reason) => return gone(reason, carried),
            };
            carried.open.bytes_in = raw.len() as u64;
            let plain = match packing.unpack(&raw, limits.body) {
                Ok(plain) => plain,
                Err(Unpack::TooLarge) => return gone(Gone::TooLarge, carried),
                Err(Unpack::Broken) => {
                    let (status, detail) = (StatusCode::BAD_REQUEST, "broken Content-Encoding");
                    return Err(Ruled::http(status, Verdict::Refuse, Reason::Malformed, detail, carried));
                }
            };
            Body::Read { raw, plain, packing }
        }
        Kind::Dm2Json => Body::Dm2(incoming),
        _ => {
            if incoming.size_hint().lower() > limits.body as u64 {
                return Err(refused(Gone::TooLarge, carried));
            }
            Body::Through(incoming)
        }
    };
    Ok(Box::new(Collected { parts, body, carried, site, given, past }))
}

#[cold]
fn unknown_packing(carried: Carried) -> Box<Ruled> {
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    let mut ruled = Ruled::http(status, Verdict::Refuse, Reason::UnsupportedEncoding, "unknown Content-Encoding", carried);
    ruled.response.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate, identity"));
    ruled
}

#[cold]
pub(super) fn refused(gone: Gone, carried: Carried) -> Box<Ruled> {
    let (status, verdict, reason) = match gone {
        Gone::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, Verdict::Refuse, Reason::BodyTooLarge),
        Gone::TooSlow => (StatusCode::REQUEST_TIMEOUT, Verdict::Fail, Reason::ClientTooSlow),
        Gone::Cut => (StatusCode::BAD_REQUEST, Verdict::Abandon, Reason::ClientGone),
        Gone::Broken => (StatusCode::BAD_REQUEST, Verdict::Refuse, Reason::BadRequest),
    };
    let mut ruled = Ruled::http(status, verdict, reason, "", carried);
    // The rest of the body is still on its way, and nobody will read it.
    ruled.response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    ruled
}
