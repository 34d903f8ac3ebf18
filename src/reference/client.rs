//! HTTP as a device speaks it.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{ClientConfig, RootCertStore};

use super::gateway::Submission;
use crate::{
    syncml::{header::Encoding, version::Family},
    telemetry::chain,
};

/// Carries the MAC of a message.
pub(super) const HMAC: &str = "x-syncml-hmac";

/// Connections to servers.
#[derive(Clone, Debug)]
pub(super) struct Http(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

/// What came back.
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Http {
    /// With the authorities that servers' certificates may come from.
    pub(super) fn new(roots: RootCertStore) -> Self {
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
        Self(Client::builder(TokioExecutor::new()).set_host(false).build(connector))
    }

    /// Submits a notification.
    pub(super) async fn submit(&self, url: &Uri, submission: &Submission) -> Result<u16, String> {
        let request = Request::post(url.clone())
            .header(header::HOST, url.authority().ok_or("the address has no host")?.as_str())
            .header(header::CONTENT_TYPE, &submission.content_type)
            .body(Full::new(submission.body.clone()))
            .map_err(|error| error.to_string())?;
        self.0.request(request).await.map(|response| response.status().as_u16()).map_err(|error| chain(&error))
    }

    /// Sends a message. With `through`, the connection goes there, whatever the address says.
    pub(super) async fn post(
        &self,
        url: &Uri,
        through: Option<SocketAddr>,
        (family, encoding): (Family, Encoding),
        hmac: Option<String>,
        body: Vec<u8>,
    ) -> Result<Response, String> {
        let host = url.authority().ok_or("the address has no host")?.as_str();
        let mut parts = url.clone().into_parts();
        if let Some(address) = through {
            parts.authority = address.to_string().parse().ok();
        }
        let kind = media_type(family, encoding);
        let request = Request::post(Uri::from_parts(parts).map_err(|error| error.to_string())?)
            .header(header::HOST, host)
            .header(header::CONTENT_TYPE, &kind)
            .header(header::ACCEPT, &kind)
            .header(header::USER_AGENT, concat!("protover-device/", env!("CARGO_PKG_VERSION")));
        let request = match hmac {
            Some(hmac) => request.header(HMAC, hmac),
            None => request,
        };
        let request = request.body(Full::new(body.into())).map_err(|error| error.to_string())?;
        let response = self.0.request(request).await.map_err(|error| chain(&error))?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| chain(&error))?.to_bytes();
        Ok(Response { status: head.status.as_u16(), headers: head.headers, body })
    }
}

/// The media type of a message.
pub(super) fn media_type(family: Family, encoding: Encoding) -> String {
    let what = match family {
        Family::Dm => "syncml.dm",
        Family::SyncMl => "syncml",
    };
    format!("application/vnd.{what}+{}", encoding.name())
}

/// The address that a RespURI means (RFC 3986, section 5.2).
pub(super) fn resolve(base: &Uri, given: &str) -> Result<Uri, String> {
    let no_address = |_| format!("RespURI is no address: {given}");
    let resolve = || {
        let base = fluent_uri::Uri::parse(base.to_string()).ok()?;
        Some(fluent_uri::UriRef::parse(given).ok()?.resolve_against(&base).ok()?.into_string())
    };
    resolve().as_deref().unwrap_or(given).parse::<Uri>().map_err(no_address)
}
