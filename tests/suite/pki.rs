//! Authorities for tests, and what they issue: also what no authority in its right mind would.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use protover::server::tls;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use rustls::{ClientConfig, SupportedProtocolVersion};

const DAY: i64 = 86_400;

/// So many days from now; negative ones are past.
pub(crate) fn days(count: i64) -> SystemTime {
    let seconds = Duration::from_secs((count * DAY).unsigned_abs());
    let now = protover::decisions::clock::now().wall;
    if count < 0 { now - seconds } else { now + seconds }
}

/// An authority, whose files are in a folder.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
    /// Its certificate.
    pub(crate) pem: PathBuf,
}

impl Authority {
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let pem = folder.join(format!("{name}.pem"));
        std::fs::write(&pem, issuer.pem()).unwrap();
        Self { issuer, folder: folder.to_owned(), pem }
    }

    /// A certificate with its key, as `(certificate, key)` files.
    pub(crate) fn issue(&self, name: &str, serial: u64, hosts: &[&str], ends: SystemTime) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(SerialNumber::from(serial));
        params.not_before = days(-60).into();
        params.not_after = ends.into();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let files = (self.folder.join(format!("{name}.pem")), self.folder.join(format!("{name}.key")));
        std::fs::write(&files.0, certificate.pem()).unwrap();
        std::fs::write(&files.1, key.serialize_pem()).unwrap();
        files
    }

    /// A list of what it has revoked.
    pub(crate) fn revoke(&self, serials: &[u64], next: SystemTime) -> PathBuf {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: days(-40).into(),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: days(-50).into(),
            next_update: next.into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let path = self.pem.with_extension("crl");
        std::fs::write(&path, params.signed_by(&self.issuer).unwrap().pem().unwrap()).unwrap();
        path
    }
}

/// A client that trusts an authority, and may have a certificate of its own.
pub(crate) fn client(
    authority: &Path,
    identity: Option<&(PathBuf, PathBuf)>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let builder = ClientConfig::builder_with_protocol_versions(versions);
    let builder = builder.with_root_certificates(tls::roots(authority).unwrap());
    match identity {
        Some((certificate, key)) => {
            builder.with_client_auth_cert(tls::certificates(certificate).unwrap(), tls::key(key).unwrap()).unwrap()
        }
        None => builder.with_no_client_auth(),
    }
}
