//! `protover certs`: authorities and certificates to try TLS with. For production, bring your own.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Subcommand;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyIdMethod, KeyPair, KeyUsagePurpose,
};

use super::{Failure, print};
use crate::{decisions::clock, server::tls};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Certificates for development.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  protover certs init --dir certs")]
pub(super) struct Certs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Init(Init),
    TicketKey(TicketKey),
}

/// Prints a key for session tickets, a line of the file that `ticket_keys` names.
///
/// The first line of the file seals tickets, every line opens them. To rotate, put a new key into the second
/// line on every instance, then move it to the first, and drop the old one when its tickets are as old as you want.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  (umask 077; protover certs ticket-key > certs/ticket.keys)")]
struct TicketKey;

/// Makes development authorities, and a certificate and key for the proxy, a device and an upstream.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  protover certs init --dir certs --host dm.operator.example --host 127.0.0.1 --days 30")]
struct Init {
    /// The folder for the files; made when it is not there.
    #[arg(long, default_value = "certs")]
    dir: PathBuf,
    /// A name or address that the proxy's and the upstream's certificates are good for; repeatable.
    #[arg(long, value_name = "HOST", default_values = ["localhost", "127.0.0.1", "::1", "dm.operator.example"])]
    host: Vec<String>,
    /// How long they are good for.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// Replaces files that are there.
    #[arg(long)]
    force: bool,
}

/// An authority, and what it issues: one certificate.
struct Issue {
    authority: &'static str,
    authority_name: &'static str,
    leaf: &'static str,
    leaf_name: &'static str,
    usage: ExtendedKeyUsagePurpose,
    /// Whether the leaf is good for the hosts that were given.
    hosts: bool,
    purpose: &'static str,
}

const ISSUES: [Issue; 3] = [
    Issue {
        authority: "ca",
        authority_name: "protover development CA",
        leaf: "server",
        leaf_name: "protover",
        usage: ExtendedKeyUsagePurpose::ServerAuth,
        hosts: true,
        purpose: "what the listener shows to devices",
    },
    Issue {
        authority: "devices-ca",
        authority_name: "protover development devices CA",
        leaf: "client",
        leaf_name: "development device",
        usage: ExtendedKeyUsagePurpose::ClientAuth,
        hosts: false,
        purpose: "what a device shows to the listener",
    },
    Issue {
        authority: "upstream-ca",
        authority_name: "protover development upstream CA",
        leaf: "upstream",
        leaf_name: "development DM server",
        usage: ExtendedKeyUsagePurpose::ServerAuth,
        hosts: true,
        purpose: "what a DM server shows to the proxy",
    },
];

impl Certs {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.action {
            Action::Init(init) => init.run(),
            Action::TicketKey(TicketKey) => print(tls::new_key().map_err(|error| Failure::doing("ticket-key", error))? + "\n"),
        }
    }
}

impl Init {
    fn run(self) -> Result<(), Failure> {
        let mut files = self.files().map_err(|error| match error {
            rcgen::Error::InvalidAsn1String(_) => Failure::Usage(format!("--host: {error}")),
            error => Failure::doing("certificates", error),
        })?;
        let key = tls::new_key().map_err(|error| Failure::doing("ticket.keys", error))? + "\n";
        files.push(File { name: "ticket.keys".to_owned(), text: key, mode: 0o600 });
        write_all(&self.dir, &files, self.force)?;
        let mut story = format!("{} holds, for {} days:\n", self.dir.display(), self.days);
        for Issue { authority, leaf, purpose, .. } in &ISSUES {
            story += &format!("  {leaf}.pem, {leaf}.key  {purpose}; issued by {authority}.pem\n");
        }
        story += "  devices-ca.crl          what devices-ca.pem has revoked: nothing yet\n";
        story += "  ticket.keys             what TLS session tickets are sealed with\n";
        story += "Keys of authorities and certificates are for development only, and are not to be committed.\n";
        print(story)
    }

    fn files(&self) -> Result<Vec<File>, rcgen::Error> {
        let mut files = Vec::new();
        for issue in &ISSUES {
            let mut params = self.params(issue.authority_name, Vec::new())?;
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;

            let hosts = if issue.hosts { self.host.clone() } else { Vec::new() };
            let mut params = self.params(issue.leaf_name, hosts)?;
            params.is_ca = IsCa::ExplicitNoCa;
            params.use_authority_key_identifier_extension = true;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![issue.usage.clone()];
            let key = KeyPair::generate()?;
            let leaf = params.signed_by(&key, &authority)?;

            if issue.usage == ExtendedKeyUsagePurpose::ClientAuth {
                let text = self.nothing_revoked().signed_by(&authority)?.pem()?;
                files.push(File { name: format!("{}.crl", issue.authority), text, mode: 0o644 });
            }
            files.push(File::public(issue.authority, authority.pem()));
            files.push(File::secret(issue.authority, authority.key().serialize_pem()));
            files.push(File::public(issue.leaf, leaf.pem()));
            files.push(File::secret(issue.leaf, key.serialize_pem()));
        }
        Ok(files)
    }

    fn nothing_revoked(&self) -> CertificateRevocationListParams {
        let now = clock::now().wall;
        CertificateRevocationListParams {
            this_update: (now - DAY).into(),
            next_update: (now + DAY * self.days).into(),
            crl_number: 1_u64.into(),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        }
    }

    fn params(&self, name: &str, hosts: Vec<String>) -> Result<CertificateParams, rcgen::Error> {
        let mut params = CertificateParams::new(hosts)?;
        params.distinguished_name.push(DnType::CommonName, name);
        let now = clock::now().wall;
        // Devices' clocks lag.
        params.not_before = (now - DAY).into();
        params.not_after = (now + DAY * self.days).into();
        Ok(params)
    }
}

/// A file to be written.
struct File {
    name: String,
    text: String,
    mode: u32,
}

impl File {
    fn public(name: &str, text: String) -> Self {
        Self { name: format!("{name}.pem"), text, mode: 0o644 }
    }

    fn secret(name: &str, text: String) -> Self {
        Self { name: format!("{name}.key"), text, mode: 0o600 }
    }
}

/// Writes all files or, when one is there that may not be replaced, none. Each appears whole: it is
/// written under another name first.
fn write_all(dir: &Path, files: &[File], force: bool) -> Result<(), Failure> {
    fs::create_dir_all(dir).map_err(|error| Failure::doing(dir.display(), error))?;
    if !force {
        let there: Vec<_> =
            files.iter().filter(|file| dir.join(&file.name).symlink_metadata().is_ok()).map(|file| &*file.name).collect();
        if !there.is_empty() {
            return Err(Failure::Failed(format!(
                "{}: files are there already; --force replaces them\n  {}",
                dir.display(),
                there.join(" ")
            )));
        }
    }
    let aside = |file: &File| dir.join(format!(".{}.new", file.name));
    let written = files.iter().try_for_each(|file| write_aside(&aside(file), file).map_err(|error| (file, error)));
    let placed = written.and_then(|()| {
        files.iter().try_for_each(|file| place(&aside(file), &dir.join(&file.name), force).map_err(|error| (file, error)))
    });
    placed.map_err(|(file, error)| {
        for file in files {
            // Whatever is left of them; those in place are gone from here.
            let _ = fs::remove_file(aside(file));
        }
        Failure::doing(dir.join(&file.name).display(), error)
    })
}

fn write_aside(path: &Path, file: &File) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut out = OpenOptions::new().write(true).create_new(true).mode(file.mode).open(path)?;
    out.write_all(file.text.as_bytes())?;
    out.sync_all()
}

/// Puts a file in its place. Without force a link, which unlike a rename replaces nothing.
fn place(from: &Path, to: &Path, force: bool) -> io::Result<()> {
    if force {
        return fs::rename(from, to);
    }
    fs::hard_link(from, to)?;
    fs::remove_file(from)
}
