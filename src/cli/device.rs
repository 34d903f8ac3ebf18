//! `protover device`: the reference DM client, for one session.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use http::Uri;

use self::account::{AccountFile, notification};
use super::{Failure, print, table};
use crate::{
    notification::Package0,
    reference::{Credentials, Device, Outcome, Strictness, Tree},
    server::tls,
    syncml::{alert::StartedBy, header::Encoding, version::Version},
};

mod account;

/// Runs one session with a server, as a DM client does, and says how it went.
///
/// With an account file, server, version and credentials are taken from there: a notification's version
/// comes first, then the stored one (Client-1 to Client-4), and what the server recommends is stored for
/// the next session.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  protover device --version 1.2 http://dm.example.com/dm\n  \
    protover device --version 1.1 --encoding wbxml --through 127.0.0.1:8080 http://dm.operator.example/dm\n\n\
    protover device --account phone.toml --notification package0.bin\n  \
    protover device --account phone.toml --notification udp:127.0.0.1:2948\n\n\
    Exit status 0 when the session came to its regular end.")]
pub(super) struct DeviceCommand {
    /// The address of the server
    #[arg(required_unless_present = "account")]
    url: Option<Uri>,
    /// The version to speak [default: 1.2, or by the account]
    #[arg(long, value_name = "VERSION", value_parser = version)]
    version: Option<Version>,
    /// TOML file with the device's accounts; what is learnt is stored there
    #[arg(long, value_name = "FILE")]
    account: Option<PathBuf>,
    /// Which account, by the server's identifier
    #[arg(long, value_name = "ID", requires = "account")]
    server: Option<String>,
    /// The notification (package 0) that invites the device: a file, `-`, or `udp:ADDRESS:PORT`
    #[arg(long, value_name = "FROM", requires = "account")]
    notification: Option<String>,
    /// xml or wbxml
    #[arg(long, default_value = "xml", value_parser = encoding)]
    encoding: Encoding,
    /// Source/LocURI [default: that of the account file]
    #[arg(long, value_name = "URI")]
    id: Option<String>,
    /// SessionID [default: 1, or that of the notification]
    #[arg(long, value_name = "ID")]
    session: Option<String>,
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

pub(super) fn version(text: &str) -> Result<Version, String> {
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

/// With whom, in which version, and as whom.
struct Session {
    url: Uri,
    version: Version,
    id: String,
    session: String,
    invited: bool,
    credentials: Option<Credentials>,
    /// The accounts in its management tree.
    tree: Tree,
}

/// How a session went.
struct Went {
    outcome: Outcome,
    /// The management tree after it.
    tree: Tree,
    /// Whether it came to its regular end.
    ended: Result<(), Failure>,
}

impl DeviceCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        match &self.account {
            None => self.outcome(&self.by_hand()?)?.ended,
            Some(path) => self.by_account(path),
        }
    }

    fn by_hand(&self) -> Result<Session, Failure> {
        Ok(Session {
            url: self.url.clone().unwrap_or_default(),
            version: self.version.unwrap_or(Version::DM_1_2),
            id: self.id.clone().unwrap_or_else(|| "IMEI:490154203237518".to_owned()),
            session: self.session.clone().unwrap_or_else(|| "1".to_owned()),
            invited: self.invited,
            credentials: self.credentials.as_deref().map(credentials).transpose()?,
            tree: Tree::new(),
        })
    }

    /// As a device does that was invited, or that has something to tell.
    fn by_account(&self, path: &Path) -> Result<(), Failure> {
        let mut file = AccountFile::load(path)?;
        let package0 = self.notification.as_deref().map(notification).transpose()?;
        let named = package0.as_ref().map(|package0| package0.server_id.as_str()).or(self.server.as_deref());
        let account = file.account(named)?.clone();
        if let Some(package0) = &package0 {
            account.verify(package0)?;
            print(format!("invited by {} to session {}\n", table::plain(account.server_id()), package0.session()))?;
        }
        let choice = file.choose(&account, package0.as_ref().and_then(Package0::recommended))?;
        let version = self.version.unwrap_or(choice.version);
        let why = if self.version.is_some() { "said by hand".to_owned() } else { choice.why };
        print(format!("{version}: {why}\n"))?;
        let url = self.url.clone().map_or_else(|| account.url.parse(), Ok);
        let session = Session {
            url: url.map_err(|error| Failure::Usage(format!("{}: {error}", account.url)))?,
            version,
            id: self.id.clone().unwrap_or_else(|| file.id.clone()),
            session: self.session.clone().or(package0.as_ref().map(Package0::session)).unwrap_or_else(|| "1".to_owned()),
            invited: self.invited || package0.is_some(),
            credentials: match &self.credentials {
                Some(given) => Some(credentials(given)?),
                None => account.credentials(),
            },
            tree: file.tree()?,
        };
        let Went { outcome, tree, ended } = self.outcome(&session)?;
        if let Some(learnt) = file.learn(path, account.server_id(), &outcome, &tree)? {
            print(format!("learnt: {learnt} is for the next session with {}\n", table::plain(account.server_id())))?;
        }
        ended
    }

    /// Runs a session and tells of it.
    fn outcome(&self, session: &Session) -> Result<Went, Failure> {
        let mut device = Device::new(&session.id, session.version);
        if let Some(ca) = &self.ca {
            device = device.with_roots(tls::roots(ca).map_err(|error| Failure::Usage(error.to_string()))?);
        }
        device.encoding = self.encoding;
        device.session.clone_from(&session.session);
        device.strictness = self.strict.unwrap_or_default();
        device.started_by = if session.invited { StartedBy::Server } else { StartedBy::Client };
        device.max_msg_size = self.max_msg_size;
        device.step_down = self.step_down;
        device.credentials.clone_from(&session.credentials);
        device.tree.extend(session.tree.clone());
        let runtime = tokio::runtime::Runtime::new().map_err(|error| Failure::doing("runtime", error))?;
        let outcome = runtime.block_on(device.run(&session.url, self.through));
        print(told(&outcome))?;
        let ended = match (&outcome.refused, &outcome.gave_up) {
            (None, None) => Ok(()),
            (Some(refused), _) => Err(Failure::Failed(format!("the server refused with status {}", refused.status))),
            (None, Some(why)) => Err(Failure::Failed(format!("the session was given up: {why}"))),
        };
        Ok(Went { outcome, tree: device.tree, ended })
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
