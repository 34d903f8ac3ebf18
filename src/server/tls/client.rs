//! The certificates of clients.

use std::{cell::RefCell, fmt::Write as _, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderValue;
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
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
        Some(Self { subject: subject.unwrap_or_default().into(), fingerprint: fingerprint(der), header })
    }

    /// From the `Client-Cert` of a proxy that is trusted.
    #[must_use]
    pub fn from_header(value: &HeaderValue) -> Option<Self> {
        let text = value.to_str().ok()?.trim().strip_prefix(':')?.strip_suffix(':')?;
        let der = CertificateDer::from(BASE64_STANDARD.decode(text).ok()?);
        Self::of(&der).filter(|certificate| !certificate.subject.is_empty())
    }
}

/// The SHA-256 of a certificate, in hexadecimal digits.
pub(super) fn fingerprint(der: &CertificateDer<'_>) -> Box<str> {
    let mut digits = String::with_capacity(64);
    for byte in Sha256::digest(der) {
        let _ = write!(digits, "{byte:02x}");
    }
    digits.into()
}

tokio::task_local! {
    /// The fingerprint of the certificate that is refused in a handshake.
    static REFUSED: RefCell<Option<Box<str>>>;
}

/// Runs a handshake, and tells which certificate was refused in it. Subjects may name devices, a
/// fingerprint can be looked up by whoever issued the certificate.
pub(super) async fn telling<F: Future>(handshake: F) -> (F::Output, Option<Box<str>>) {
    let told = async {
        let done = handshake.await;
        (done, REFUSED.with(RefCell::take))
    };
    REFUSED.scope(RefCell::default(), told).await
}

/// Verifies as another does, and remembers whom it refused: the error of a handshake does not say.
#[derive(Debug)]
pub(super) struct Telling(pub(super) Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Telling {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.0.verify_client_cert(leaf, between, now).inspect_err(|_| {
            // Outside of a handshake of ours there is nobody to tell.
            let _ = REFUSED.try_with(|refused| refused.replace(Some(fingerprint(leaf))));
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
