//! Which certificate is shown: by the name that the client asks for, and by what it can verify.

use std::{io, sync::Arc};

use rustls::{
    crypto::CryptoProvider,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use x509_cert::{
    Certificate,
    der::Decode,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use super::{Expires, certificates, key, named};
use crate::policy::site::Identity;

/// A certificate, and the names it is good for.
#[derive(Debug)]
pub(super) struct Named {
    key: Arc<CertifiedKey>,
    /// In lower case; `*.example.com` for each name with one more label.
    names: Vec<Box<str>>,
}

impl Named {
    pub(super) fn load(identity: &Identity, provider: &CryptoProvider, expiries: &mut Vec<Expires>) -> io::Result<Self> {
        let chain = certificates(&identity.certificate)?;
        expiries.extend(Expires::chain(&identity.certificate, &chain));
        let names = chain.first().map(|leaf| names(leaf)).unwrap_or_default();
        // Tells too when certificate and key do not belong together.
        let key = CertifiedKey::from_der(chain, key(&identity.key)?, provider)
            .map_err(|error| named(&identity.certificate, format!("{error} (key {})", identity.key.display())))?;
        Ok(Self { key: Arc::new(key), names })
    }

    fn is_for(&self, host: &str) -> bool {
        let above = host.split_once('.').map(|(_, above)| above);
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(parent) => above.is_some_and(|above| above.eq_ignore_ascii_case(parent)),
            None => name.eq_ignore_ascii_case(host),
        })
    }
}

/// The DNS names of a certificate. One that cannot be read has none; it may still be the first.
fn names(leaf: &[u8]) -> Vec<Box<str>> {
    let Ok(certificate) = Certificate::from_der(leaf) else { return Vec::new() };
    let found = certificate.tbs_certificate().get_extension::<SubjectAltName>();
    let Ok(Some((_, alternatives))) = found else { return Vec::new() };
    let names = alternatives.0.iter().filter_map(|name| match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase().into()),
        _ => None,
    });
    names.collect()
}

/// The certificates of a listener, the first of them for whoever asks for no name, or for another.
#[derive(Debug)]
pub(super) struct Picked(pub(super) Vec<Named>);

impl ResolvesServerCert for Picked {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // Old clients verify RSA only: an RSA certificate may stand beside one with an elliptic curve.
        let fits = |named: &&Named| named.key.key.choose_scheme(hello.signature_schemes()).is_some();
        let asked = hello.server_name();
        let mut of_name = self.0.iter().filter(|named| asked.is_some_and(|host| named.is_for(host)));
        let picked = of_name.find(fits).or_else(|| self.0.iter().find(fits)).or_else(|| self.0.first());
        picked.map(|named| Arc::clone(&named.key))
    }
}
