//! `protover account`: versions in DM accounts, offline.

use std::{cell::RefCell, path::PathBuf};

use bytes::Bytes;

use super::{Failure, inspect, print, replace_file, table::plain};
use crate::{
    account::{Inline, provisioning, stamp_inline},
    policy::site::Account,
    syncml::{self, edit::Edits, header::Encoding, version::Version},
};

/// Puts versions into DM accounts
#[derive(Debug, clap::Args)]
pub(super) struct AccountCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Puts a version into the DM accounts of a bootstrap document
    ///
    /// A provisioning document (w7, in XML or WBXML) gets the parameter PROTOVER; a SyncML message that adds
    /// accounts gets the version leaf. Nothing else in it changes.
    #[command(after_help = "Examples:\n  protover account stamp bootstrap.xml --version 1.2 > stamped.xml\n  \
        protover account stamp bootstrap.wbxml --version 1.2 --provider-id com.example.dm -o bootstrap.wbxml\n\n\
        Exit status 1 when there is no such account in it.")]
    Stamp(Stamp),
}

#[derive(Debug, clap::Args)]
struct Stamp {
    /// The document; `-` is standard input
    file: PathBuf,
    /// The version that the accounts' server speaks
    #[arg(long, value_name = "VERSION", value_parser = super::device::version)]
    version: Version,
    /// Only accounts of this server: PROVIDER-ID, ServerID [default: all]
    #[arg(long, value_name = "ID")]
    provider_id: Vec<String>,
    /// Of a SyncML message: the version leaf below an account's node
    #[arg(long, value_name = "PATH", default_value_t = Account::default().below().to_owned())]
    leaf: String,
    /// Write here, and not to standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl AccountCommand {
    /// # Errors
    /// [`Failure`] when the file is no such document, or has no such account.
    pub(super) fn run(self) -> Result<(), Failure> {
        let What::Stamp(stamp) = self.what;
        stamp.run()
    }
}

impl Stamp {
    fn run(self) -> Result<(), Failure> {
        let failed = |why: &dyn std::fmt::Display| Failure::doing(self.file.display(), why);
        let raw = Bytes::from(inspect::read(&self.file).map_err(|error| failed(&error))?);
        let found = RefCell::new(Vec::new());
        let is_meant = |id: &str| {
            let meant = self.provider_id.is_empty() || self.provider_id.iter().any(|wanted| wanted == id);
            found.borrow_mut().extend(meant.then(|| plain(id)));
            meant
        };
        let (edits, changed) = match provisioning::Document::read(&raw) {
            Ok(_) if provisioning::highest(Some(self.version), &[]).is_none() => {
                return Err(Failure::Usage(format!("PROTOVER knows 1.1 and 1.2, not {}", self.version.number())));
            }
            Ok(document) => provisioning::stamp(&raw, &document, self.version, |account| is_meant(&account.provider_id)),
            Err(why) if inspect::is_provisioning(&raw) => return Err(failed(&why)),
            Err(_) => self.message(&raw, &is_meant).map_err(|why| failed(&why))?,
        };
        let found = found.into_inner();
        if found.is_empty() {
            return Err(failed(&"no DM account of this server in it"));
        }
        let stamped = edits.apply(&raw);
        match &self.output {
            Some(path) => replace_file(path, &stamped).map_err(|error| Failure::doing(path.display(), error))?,
            None => print(&stamped)?,
        }
        let what = if changed == 0 { "says so already".to_owned() } else { format!("{changed} changed") };
        eprintln!("{}: {} ({what})", self.version, found.join(", "));
        Ok(())
    }

    /// A message of the DM profile.
    fn message(&self, raw: &[u8], is_meant: &dyn Fn(&str) -> bool) -> Result<(Edits, usize), String> {
        let encoding = if matches!(raw.first(), Some(0..=3)) { Encoding::Wbxml } else { Encoding::Xml };
        let index = syncml::scan(encoding, raw)
            .map_err(|malformed| format!("neither a provisioning document nor a SyncML message: {malformed}"))?;
        let of_account = |account: &Inline| is_meant(&account.server_id);
        stamp_inline(raw, &index, &self.leaf, &self.version.number(), of_account).map_err(|malformed| malformed.to_string())
    }
}
