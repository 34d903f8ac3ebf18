//! The certificates of clients.

use std::fmt::Write as _;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderValue;
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_cert::{Certificate, der::Decode};

/// The certificate that a client showed, and that was checked.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// Its subject, as RFC 4514 writes it: `CN=fleet-7,O=Example`. Empty when it cannot be read.
    pub subject: Box<str>,
    /// Its SHA-256, in 64 lower-case hexadecimal digits.
    pub fingerprint: Box<str>,
    /// The value of `Client-Cert` (RFC 9440, section 2.1).
    pub header: HeaderValue,
}

impl ClientCertificate {
    /// From the certificate itself.
    #[must_use]
    pub fn of(der: &CertificateDer<'_>) -> Option<Self> {
        let header = HeaderValue::try_from(format!(":{}:", BASE64_STANDARD.encode(der))).ok()?;
        let subject = Certificate::from_der(der).map(|certificate| certificate.tbs_certificate().subject().to_string());
        let mut fingerprint = String::with_capacity(64);
        for byte in Sha256::digest(der) {
            let _ = write!(fingerprint, "{byte:02x}");
        }
        Some(Self { subject: subject.unwrap_or_default().into(), fingerprint: fingerprint.into(), header })
    }

    /// From the `Client-Cert` of a proxy that is trusted.
    #[must_use]
    pub fn from_header(value: &HeaderValue) -> Option<Self> {
        let text = value.to_str().ok()?.trim().strip_prefix(':')?.strip_suffix(':')?;
        let der = CertificateDer::from(BASE64_STANDARD.decode(text).ok()?);
        Self::of(&der).filter(|certificate| !certificate.subject.is_empty())
    }
}
