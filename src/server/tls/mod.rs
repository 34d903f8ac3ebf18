//! TLS towards devices: certificates from PEM files, one of several by the name that a client asks for,
//! clients' certificates with revocation, session tickets, HTTP/2 and HTTP/1.1 by ALPN.

use std::{io, path::Path, sync::Arc};

use rustls::{
    HandshakeKind, RootCertStore, ServerConfig,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem::PemObject},
    server::{VerifierBuilderError, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    decisions::clock,
    policy::{
        reason::Reason,
        site::{ClientAuth, ListenerTls},
    },
};

mod client;
mod expiry;
mod names;
mod tickets;

pub use client::ClientCertificate;
use client::{Telling, fingerprint, telling};
pub(crate) use expiry::watch;
pub use expiry::{Expires, Expiry, overdue};
use names::Named;
use tickets::Tickets;
pub use tickets::new_key;

/// TLS of a listener, as the files were when they were read.
pub struct Acceptor {
    tls: TlsAcceptor,
    tickets: Tickets,
    /// When what was read of the files ends.
    pub(super) expiries: Vec<Expires>,
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor").field("expiries", &self.expiries).finish_non_exhaustive()
    }
}

impl Acceptor {
    /// Reads the files of a listener. Sessions of the one `before` it go on, unless clients are trusted
    /// by other files now.
    ///
    /// # Errors
    /// When a file cannot be read, holds nothing that can be used, or a certificate and a key do not
    /// belong together. The text names the file.
    pub fn new(tls: &ListenerTls, before: Option<&Self>) -> io::Result<Self> {
        let mut expiries = Vec::new();
        let mut trust = Sha256::new();
        let verifier = match tls.client_auth {
            ClientAuth::Off => WebPkiClientVerifier::no_client_auth(),
            ClientAuth::Optional | ClientAuth::Required => verifier(tls, &mut trust, &mut expiries)?,
        };
        let provider = default_provider();
        let named = tls.certificates.iter().map(|identity| Named::load(identity, &provider, &mut expiries));
        let named = names::Picked(named.collect::<io::Result<_>>()?);
        let mut config = ServerConfig::builder().with_client_cert_verifier(verifier).with_cert_resolver(Arc::new(named));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // A session that is resumed is not verified again: a ticket is only good where clients are
        // trusted by the same files.
        let tickets = Tickets::new(tls, &trust.finalize().into(), before.map(|before| &before.tickets))?;
        config.ticketer = tickets.producer();
        // A device has one connection at a time.
        config.send_tls13_tickets = 1;
        Ok(Self { tls: TlsAcceptor::from(Arc::new(config)), tickets, expiries })
    }

    /// Shakes hands with a client.
    ///
    /// # Errors
    /// When that fails: why, and in words.
    pub(super) async fn accept(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, (Reason, String)> {
        let (accepted, refused) = telling(self.tls.accept(stream)).await;
        let stream = accepted.map_err(|error| {
            let reason = match error.get_ref().and_then(|error| error.downcast_ref()) {
                Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => Reason::ClientCertificate,
                _ => Reason::TlsHandshake,
            };
            let which = refused.map_or_else(String::new, |fingerprint| format!(" (certificate {fingerprint})"));
            (reason, format!("{error}{which}"))
        })?;
        let session = stream.get_ref().1;
        // One that is resumed was verified when it began.
        if session.handshake_kind() == Some(HandshakeKind::Resumed)
            && let Some(leaf) = session.peer_certificates().and_then(<[_]>::first)
            && expiry::of(leaf).is_some_and(|ends| ends < clock::now().wall)
        {
            let what = format!("the certificate of the resumed session has expired (certificate {})", fingerprint(leaf));
            return Err((Reason::ClientCertificate, what));
        }
        Ok(stream)
    }
}

/// What checks clients' certificates. All that it goes by is digested.
fn verifier(tls: &ListenerTls, trust: &mut Sha256, expiries: &mut Vec<Expires>) -> io::Result<Arc<dyn ClientCertVerifier>> {
    let authorities = tls.client_ca.as_deref().ok_or_else(|| invalid("client_auth needs client_ca"))?;
    trust.update([u8::from(tls.client_auth == ClientAuth::Optional)]);
    for certificate in certificates(authorities)? {
        trust.update(Sha256::digest(&certificate));
    }
    let mut lists = Vec::new();
    for path in &tls.client_crl {
        for list in revocations(path)? {
            trust.update(Sha256::digest(&list));
            expiries.extend(Expires::list(path, &list));
            lists.push(list);
        }
    }
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots(authorities)?)).with_crls(lists);
    let verifier = if tls.client_auth == ClientAuth::Optional { verifier.allow_unauthenticated() } else { verifier };
    let verifier = verifier.build().map_err(|error| match (&error, tls.client_crl.first()) {
        (VerifierBuilderError::InvalidCrl(what), Some(path)) => named(path, format!("a list cannot be used: {what:?}")),
        _ => named(authorities, error),
    })?;
    Ok(Arc::new(Telling(verifier)))
}

/// The certificates of a PEM file.
///
/// # Errors
/// When it cannot be read or holds none.
pub fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    all(path, "certificate")
}

/// The revocation lists of a PEM file.
fn revocations(path: &Path) -> io::Result<Vec<CertificateRevocationListDer<'static>>> {
    all(path, "revocation list")
}

fn all<T: PemObject>(path: &Path, what: &str) -> io::Result<Vec<T>> {
    let found: Result<Vec<_>, _> = T::pem_file_iter(path).map_err(|error| named(path, error))?.collect();
    let found = found.map_err(|error| named(path, error))?;
    if found.is_empty() { Err(named(path, format!("holds no {what}"))) } else { Ok(found) }
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
