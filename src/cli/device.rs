//! `protover device`: the reference DM client, for one session.

use std::{net::SocketAddr, path::PathBuf};

use http::Uri;

use super::{Failure, print, table};
use crate::{
    reference::{Credentials, Device, Outcome, Strictness},
    server::tls,
    syncml::{alert::StartedBy, header::Encoding, version::Version},
};

/// Runs one session with a server, as a DM client does, and says how it went.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  protover device --version 1.2 http://dm.example.com/dm\n  \
    protover device --version 1.1 --encoding wbxml --through 127.0.0.1:8080 http://dm.operator.example/dm\n\n\
    Exit status 0 when the session came to its regular end.")]
pub(super) struct DeviceCommand {
    /// The address of the server
    url: Uri,
    /// The version to speak
    #[arg(long, value_name = "VERSION", default_value = "1.2", value_parser = version)]
    version: Version,
    /// xml or wbxml
    #[arg(long, default_value = "xml", value_parser = encoding)]
    encoding: Encoding,
    /// Source/LocURI
    #[arg(long, value_name = "URI", default_value = "IMEI:490154203237518")]
    id: String,
    /// SessionID
    #[arg(long, value_name = "ID", default_value = "1")]
    session: String,
    /// Connect here, whatever the address says
    #[arg(long, value_name = "ADDRESS")]
    through: Option<SocketAddr>,
    /// PEM file with the authorities that the server's certificate may come from
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// `user:password`, or `@FILE` that holds it
    #[arg(long, value_name = "USER:PASSWORD")]
    credentials: Option<String>,
    /// The session was started by the server (Alert 1200)
    #[arg(long)]
    invited: bool,
    /// Look as strictly as a phone: motorola or windows
    #[arg(long, value_name = "PHONE", value_parser = strictness)]
    strict: Option<Strictness>,
    /// Begin anew in the next lower version when this one is refused, as some clients do
    #[arg(long)]
    step_down: bool,
    /// MaxMsgSize to tell the server
    #[arg(long, value_name = "BYTES")]
    max_msg_size: Option<u32>,
}

fn version(text: &str) -> Result<Version, String> {
    Version::from_spec(text).ok_or_else(|| "a version is written `1.2`, `DM/1.2` or `SyncML/1.2`".to_owned())
}

fn encoding(text: &str) -> Result<Encoding, String> {
    [Encoding::Xml, Encoding::Wbxml].into_iter().find(|encoding| encoding.name() == text).ok_or_else(|| "xml or wbxml".to_owned())
}

fn strictness(text: &str) -> Result<Strictness, String> {
    match text {
        "motorola" => Ok(Strictness::Motorola),
        "windows" => Ok(Strictness::Windows),
        _ => Err("motorola or windows".to_owned()),
    }
}

impl DeviceCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut device = Device::new(&self.id, self.version);
        if let Some(ca) = &self.ca {
            device = device.with_roots(tls::roots(ca).map_err(|error| Failure::Usage(error.to_string()))?);
        }
        device.encoding = self.encoding;
        device.session.clone_from(&self.session);
        device.strictness = self.strict.unwrap_or_default();
        device.started_by = if self.invited { StartedBy::Server } else { StartedBy::Client };
        device.max_msg_size = self.max_msg_size;
        device.step_down = self.step_down;
        device.credentials = self.credentials.as_deref().map(credentials).transpose()?;
        let runtime = tokio::runtime::Runtime::new().map_err(|error| Failure::doing("runtime", error))?;
        let outcome = runtime.block_on(device.run(&self.url, self.through));
        print(told(&outcome))?;
        match (&outcome.refused, &outcome.gave_up) {
            (None, None) => Ok(()),
            (Some(refused), _) => Err(Failure::Failed(format!("the server refused with status {}", refused.status))),
            (None, Some(why)) => Err(Failure::Failed(format!("the session was given up: {why}"))),
        }
    }
}

fn credentials(text: &str) -> Result<Credentials, Failure> {
    let text = match text.strip_prefix('@') {
        Some(path) => std::fs::read_to_string(path).map_err(|error| Failure::Usage(format!("{path}: {error}")))?,
        None => text.to_owned(),
    };
    let (user, password) =
        text.trim_end().split_once(':').ok_or_else(|| Failure::Usage("credentials are written `user:password`".to_owned()))?;
    Ok(Credentials { user: user.to_owned(), password: password.to_owned() })
}

fn told(outcome: &Outcome) -> String {
    let heading = ["message", "bytes sent", "http", "bytes got", "version", "recommended", "items"].map(str::to_owned).to_vec();
    let rows = outcome.exchanges.iter().enumerate().map(|(number, exchange)| {
        vec![
            (number + 1).to_string(),
            exchange.sent.len().to_string(),
            exchange.http_status.to_string(),
            exchange.got.len().to_string(),
            exchange.version.clone().unwrap_or_else(|| "-".to_owned()),
            exchange.recommended.map_or_else(|| "-".to_owned(), |version| version.to_string()),
            exchange.items.join(" | "),
        ]
    });
    let mut text = table::table(&std::iter::once(heading).chain(rows).collect::<Vec<_>>());
    for carried in &outcome.carried_out {
        text.push_str(&format!("carried out: {} {}\n", table::plain(&carried.name), table::plain(&carried.target)));
    }
    text
}
