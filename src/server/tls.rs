//! TLS towards devices: certificates from PEM files, HTTP/2 and HTTP/1.1 by ALPN.

use std::{io, path::Path, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderValue;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio_rustls::TlsAcceptor;
use x509_cert::{Certificate, der::Decode};

use crate::policy::site::{ClientAuth, ListenerTls};

/// An acceptor for a listener.
///
/// # Errors
/// When a file cannot be read, holds no certificate or key, or these do not belong together. The
/// text names the file.
pub fn acceptor(tls: &ListenerTls) -> io::Result<TlsAcceptor> {
    let builder = ServerConfig::builder();
    let builder = match tls.client_auth {
        ClientAuth::Off => builder.with_no_client_auth(),
        ClientAuth::Optional | ClientAuth::Required => {
            let path = tls.client_ca.as_deref().ok_or_else(|| invalid("client_auth needs client_ca"))?;
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots(path)?));
            let verifier = if tls.client_auth == ClientAuth::Optional { verifier.allow_unauthenticated() } else { verifier };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| named(path, error))?)
        }
    };
    let mut config = builder
        .with_single_cert(certificates(&tls.certificate)?, key(&tls.key)?)
        .map_err(|error| named(&tls.certificate, error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The certificate that a client showed, and that was checked.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// Its subject, as RFC 4514 writes it: `CN=fleet-7,O=Example`. Empty when it cannot be read.
    pub subject: Box<str>,
    /// The value of `Client-Cert` (RFC 9440, section 2.1).
    pub header: HeaderValue,
}

impl ClientCertificate {
    /// From the certificate itself.
    #[must_use]
    pub fn of(der: &CertificateDer<'_>) -> Option<Self> {
        let header = HeaderValue::try_from(format!(":{}:", BASE64_STANDARD.encode(der))).ok()?;
        let subject = Certificate::from_der(der).map(|certificate| certificate.tbs_certificate().subject().to_string());
        Some(Self { subject: subject.unwrap_or_default().into(), header })
    }
}

/// The certificates of a PEM file.
///
/// # Errors
/// When it cannot be read or holds none.
pub fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(|error| named(path, error))?.collect();
    let found = found.map_err(|error| named(path, error))?;
    if found.is_empty() { Err(named(path, "holds no certificate")) } else { Ok(found) }
}

/// The private key of a PEM file.
///
/// # Errors
/// When it cannot be read or holds none.
pub fn key(path: &Path) -> io::Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| named(path, error))
}

/// The authorities of a PEM file.
///
/// # Errors
/// When it cannot be read, or holds one that cannot be used.
pub fn roots(path: &Path) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| named(path, error))?;
    }
    Ok(roots)
}

fn named(path: &Path, what: impl std::fmt::Display) -> io::Error {
    invalid(format!("{}: {what}", path.display()))
}

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what.into())
}
