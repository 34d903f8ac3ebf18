//! `protover probe`: which versions a server accepts, by asking with each.

use std::{net::SocketAddr, path::PathBuf};

use http::Uri;

use super::{Failure, print, table};
use crate::{
    reference::{Device, Outcome},
    server::tls,
    syncml::{
        header::Encoding,
        version::{Version, VersionTable},
    },
};

/// Asks a server with each version and each encoding, and shows what it says.
///
/// A session is begun with each, as a device does; the server's commands are carried out on a tree that
/// exists only here. A version counts as accepted when the session comes to its regular end, or when the
/// server asks for credentials in that version.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  protover probe http://127.0.0.1:9011/dm")]
pub(super) struct Probe {
    /// The address of the server
    url: Uri,
    /// Source/LocURI
    #[arg(long, value_name = "URI", default_value = "IMEI:490154203237518")]
    id: String,
    /// Connect here, whatever the address says
    #[arg(long, value_name = "ADDRESS")]
    through: Option<SocketAddr>,
    /// PEM file with the authorities that the server's certificate may come from
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl Probe {
    pub(super) fn run(self) -> Result<(), Failure> {
        let runtime = tokio::runtime::Runtime::new().map_err(|error| Failure::doing("runtime", error))?;
        let heading = ["version", "encoding", "accepted", "answers in", "recommended", "detail"].map(str::to_owned).to_vec();
        let mut rows = vec![heading];
        let mut answered = false;
        let versions = VersionTable::default().versions();
        for (number, (version, encoding)) in
            versions.into_iter().flat_map(|version| [(version, Encoding::Xml), (version, Encoding::Wbxml)]).enumerate()
        {
            let mut device = Device::new(&self.id, version);
            if let Some(ca) = &self.ca {
                device = device.with_roots(tls::roots(ca).map_err(|error| Failure::Usage(error.to_string()))?);
            }
            device.encoding = encoding;
            device.session = format!("{:X}", number + 1);
            let outcome = runtime.block_on(device.run(&self.url, self.through));
            answered |= !outcome.exchanges.is_empty();
            rows.push(row(version, encoding, &outcome));
        }
        if !answered {
            let why = rows.get(1).and_then(|row| row.last()).map_or("no answer", String::as_str);
            return Err(Failure::Failed(format!("{} does not answer: {why}", self.url)));
        }
        print(table::table(&rows))
    }
}

fn row(version: Version, encoding: Encoding, outcome: &Outcome) -> Vec<String> {
    let first = outcome.exchanges.first();
    let answers_in = first.and_then(|exchange| exchange.version.as_deref()).unwrap_or("-");
    let (accepted, detail) = match (&outcome.refused, &outcome.gave_up) {
        (Some(refused), _) if matches!(&*refused.status, "401" | "407") => ("yes", "asks for credentials".to_owned()),
        (Some(refused), _) => ("no", format!("{} {}", refused.status, refused.items.join(" | "))),
        (None, Some(why)) => ("no", why.clone()),
        (None, None) => ("yes", format!("{} commands", outcome.carried_out.len())),
    };
    vec![
        version.to_string(),
        encoding.name().to_owned(),
        accepted.to_owned(),
        answers_in.to_owned(),
        outcome.recommended().map_or_else(|| "-".to_owned(), |version| version.to_string()),
        detail.trim().to_owned(),
    ]
}
