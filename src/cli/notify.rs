//! `protover notify`: notifications (package 0), for those who send them or wonder about one.

use std::{fmt::Write as _, path::PathBuf};

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{Failure, inspect, print, table::plain};
use crate::{
    notification::{Initiator, Package0, UiMode},
    syncml::{integrity::Key, version::Version},
};

/// Makes, shows, checks and changes notifications (package 0)
#[derive(Debug, clap::Args)]
pub(super) struct Notify {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Makes a notification and writes it to stdout
    #[command(
        after_help = "Example:\n  protover notify encode --server-id mgmtsrv --password @password.txt --nonce bm9uY2U= --session 1 --hex"
    )]
    Encode {
        #[command(flatten)]
        secret: Secret,
        #[command(flatten)]
        fields: Fields,
        /// The server's identifier
        #[arg(long, value_name = "ID")]
        server_id: String,
        /// The session that shall answer it, in hexadecimal digits
        #[arg(long, value_name = "ID", value_parser = session)]
        session: u16,
        /// Write hexadecimal digits
        #[arg(long)]
        hex: bool,
    },
    /// Shows what is in a notification
    #[command(after_help = "Example:\n  protover notify decode package0.bin\n  echo 43509e84… | protover notify decode --hex -")]
    Decode {
        #[command(flatten)]
        file: File,
    },
    /// Checks the digest of a notification: exit status 1 when it is wrong
    #[command(after_help = "Example:\n  protover notify verify --password @password.txt --nonce bm9uY2U= package0.bin")]
    Verify {
        #[command(flatten)]
        secret: Secret,
        #[command(flatten)]
        file: File,
    },
    /// Changes a notification, makes its digest anew and writes it to stdout
    #[command(
        after_help = "Example:\n  protover notify rewrite --password @password.txt --nonce bm9uY2U= --version 1.2 package0.bin > new.bin"
    )]
    Rewrite {
        #[command(flatten)]
        secret: Secret,
        #[command(flatten)]
        fields: Fields,
        #[command(flatten)]
        file: File,
    },
}

/// What the digest is made with.
#[derive(Debug, clap::Args)]
struct Secret {
    /// The server's password, or `@FILE` that holds it
    #[arg(long, value_name = "PASSWORD")]
    password: String,
    /// The nonce that the device holds for the server, in base64, or `@FILE` that holds it; four zero bytes
    /// are `AAAAAA==`
    #[arg(long, value_name = "BASE64")]
    nonce: String,
}

/// What can be said in a notification.
#[derive(Debug, clap::Args)]
struct Fields {
    /// Recommend this version, in the version field
    #[arg(long, value_name = "VERSION", value_parser = version, conflicts_with = "version_field")]
    version: Option<Version>,
    /// The version field itself: 11 is what every client takes
    #[arg(long, value_name = "NUMBER")]
    version_field: Option<u16>,
    /// not-specified, background, informative or user-interaction
    #[arg(long, value_name = "MODE", value_parser = ui_mode)]
    ui: Option<UiMode>,
    /// client or server
    #[arg(long, value_name = "WHO", value_parser = initiator)]
    initiator: Option<Initiator>,
    /// The vendor's body, in hexadecimal digits
    #[arg(long, value_name = "HEX", value_parser = vendor)]
    vendor: Option<Vendor>,
}

/// The bytes of `--vendor`.
#[derive(Clone, Debug)]
struct Vendor(Vec<u8>);

#[derive(Debug, clap::Args)]
struct File {
    /// The notification; `-` is stdin
    file: PathBuf,
    /// It is written in hexadecimal digits, and so is what comes of it
    #[arg(long)]
    hex: bool,
}

fn version(text: &str) -> Result<Version, String> {
    Version::from_spec(text).ok_or_else(|| "a version is written `1.2` or `DM/1.2`".to_owned())
}

fn session(text: &str) -> Result<u16, String> {
    u16::from_str_radix(text, 16).ok().filter(|id| *id > 0).ok_or_else(|| "1 to FFFF".to_owned())
}

fn ui_mode(text: &str) -> Result<UiMode, String> {
    let names = || UiMode::ALL.map(UiMode::name).join(", ");
    UiMode::ALL.into_iter().find(|mode| mode.name() == text).ok_or_else(names)
}

fn initiator(text: &str) -> Result<Initiator, String> {
    let all = [Initiator::Client, Initiator::Server];
    all.into_iter().find(|who| who.name() == text).ok_or_else(|| "client or server".to_owned())
}

fn vendor(text: &str) -> Result<Vendor, String> {
    unhex(text).map(Vendor).ok_or_else(|| "hexadecimal digits, two for each byte".to_owned())
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    digits.chunks(2).map(pair).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A secret as it is given, or the first line of the file that holds it.
fn secret(given: &str) -> Result<String, Failure> {
    let Some(path) = given.strip_prefix('@') else { return Ok(given.to_owned()) };
    let text = std::fs::read_to_string(path).map_err(|error| Failure::Usage(format!("{path}: {error}")))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

impl Secret {
    /// The password and the nonce.
    fn read(&self) -> Result<(String, Vec<u8>), Failure> {
        let nonce = secret(&self.nonce)?;
        let nonce =
            BASE64_STANDARD.decode(nonce.trim()).map_err(|_| Failure::Usage("a nonce is written in base64".to_owned()))?;
        Ok((secret(&self.password)?, nonce))
    }

    fn sign(&self, package0: &mut Package0) -> Result<Vec<u8>, Failure> {
        let (password, nonce) = self.read()?;
        let user = package0.server_id.clone();
        let signed = package0.sign(&Key { user: &user, password: &password, nonce: &nonce });
        signed.and_then(|()| package0.write()).map_err(|error| Failure::Usage(error.to_string()))
    }
}

impl Fields {
    fn into(self, package0: &mut Package0) {
        if let Some(version) = self.version {
            package0.recommend_in_version_field(version);
        }
        package0.version = self.version_field.unwrap_or(package0.version);
        package0.ui_mode = self.ui.unwrap_or(package0.ui_mode);
        package0.initiator = self.initiator.unwrap_or(package0.initiator);
        if let Some(Vendor(vendor)) = self.vendor {
            package0.vendor = vendor;
        }
    }
}

impl File {
    fn read(&self) -> Result<Package0, Failure> {
        let broken = |why: &dyn std::fmt::Display| Failure::doing(self.file.display(), why);
        let bytes = inspect::read(&self.file).map_err(|error| broken(&error))?;
        let bytes = if self.hex {
            unhex(&String::from_utf8_lossy(&bytes)).ok_or_else(|| broken(&"not hexadecimal digits"))?
        } else {
            bytes
        };
        Package0::read(&bytes).map_err(|error| broken(&format!("no notification: {error}")))
    }
}

fn written(bytes: &[u8], as_hex: bool) -> Result<(), Failure> {
    if as_hex { print(hex(bytes) + "\n") } else { print(bytes) }
}

impl Notify {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.what {
            What::Encode { secret, fields, server_id, session, hex } => {
                // What every notification of DM 1.2.1 has.
                const ORDINARY: u16 = 11;
                let mut package0 = Package0 {
                    digest: [0; 16],
                    version: ORDINARY,
                    ui_mode: UiMode::default(),
                    initiator: Initiator::default(),
                    session_id: session,
                    server_id,
                    vendor: Vec::new(),
                };
                fields.into(&mut package0);
                written(&secret.sign(&mut package0)?, hex)
            }
            What::Decode { file } => print(shown(&file.read()?)),
            What::Verify { secret, file } => {
                let package0 = file.read()?;
                let (password, nonce) = secret.read()?;
                if package0.verifies(&Key { user: &package0.server_id, password: &password, nonce: &nonce }) {
                    return print("the digest is right\n");
                }
                Err(Failure::Failed("the digest is wrong: another password or nonce, or a changed notification".to_owned()))
            }
            What::Rewrite { secret, fields, file } => {
                let mut package0 = file.read()?;
                fields.into(&mut package0);
                written(&secret.sign(&mut package0)?, file.hex)
            }
        }
    }
}

/// A notification for people to read.
pub(super) fn shown(package0: &Package0) -> String {
    let recommended = package0.recommended().map_or_else(|| "-".to_owned(), |version| version.to_string());
    let rows = [
        ("digest", hex(&package0.digest)),
        ("version", format!("{} ({}.{})", package0.version, package0.version / 10, package0.version % 10)),
        ("ui-mode", package0.ui_mode.name().to_owned()),
        ("initiator", package0.initiator.name().to_owned()),
        ("session", package0.session()),
        ("server-id", plain(&package0.server_id)),
        ("vendor", if package0.vendor.is_empty() { "-".to_owned() } else { hex(&package0.vendor) }),
        ("recommended", recommended),
    ];
    let mut text = String::new();
    for (name, value) in rows {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<12} {value}");
    }
    text
}
