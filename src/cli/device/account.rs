//! The account file of the reference device: its servers, its credentials, and the version that is stored
//! for each (Client-4).

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};

use super::super::{Failure, inspect, replace_file};
use crate::{
    notification::{Package0, RESYNC},
    reference::{Accounts, Credentials, Outcome, Tree, account_version, add_account},
    syncml::{integrity::Key, version::Version},
};

/// What the file holds.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountFile {
    /// Source/LocURI.
    pub(super) id: String,
    /// The versions that the device speaks.
    speaks: Vec<String>,
    /// Its servers.
    #[serde(default, rename = "account")]
    accounts: Vec<Account>,
}

/// A server, as the device knows it.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Account {
    /// The server's identifier.
    server_id: String,
    /// Its address.
    pub(super) url: String,
    /// The version to use with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// Who the device is.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
    /// How the server proves that it is the one, in notifications.
    #[serde(skip_serializing_if = "Option::is_none")]
    server_password: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<String>,
}

/// A version, and how the device came to it.
pub(super) struct Choice {
    pub(super) version: Version,
    pub(super) why: String,
}

fn parse(text: &String) -> Result<Version, Failure> {
    Version::from_spec(text).ok_or_else(|| Failure::Usage(format!("\"{text}\" is not a version")))
}

impl AccountFile {
    /// Reads the file.
    pub(super) fn load(path: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(path).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?;
        // The parser would show the line, and there are passwords in it.
        toml::from_str(&text).map_err(|error| {
            let line = 1 + error.span().and_then(|span| text.get(..span.start)).unwrap_or_default().matches('\n').count();
            let what = error.message().split('`').next().unwrap_or_default().trim_end();
            Failure::Usage(format!("{}: line {line}: {what}", path.display()))
        })
    }

    fn save(&self, path: &Path) -> io::Result<()> {
        let text = toml::to_string(self).map_err(io::Error::other)?;
        replace_file(path, text.as_bytes())
    }

    /// The account of a server: the one that is named, or the only one.
    pub(super) fn account(&self, server_id: Option<&str>) -> Result<&Account, Failure> {
        let known = || self.accounts.iter().map(|account| account.server_id.as_str()).collect::<Vec<_>>().join(", ");
        match (server_id, self.accounts.as_slice()) {
            (Some(id), accounts) => accounts
                .iter()
                .find(|account| account.server_id == id)
                .ok_or_else(|| Failure::Failed(format!("no account for the server \"{id}\"; there are: {}", known()))),
            (None, [only]) => Ok(only),
            (None, _) => Err(Failure::Usage(format!("`--server` says which account; there are: {}", known()))),
        }
    }

    /// The version for a session, by Client-1 to Client-4.
    pub(super) fn choose(&self, account: &Account, notified: Option<Version>) -> Result<Choice, Failure> {
        let speaks: Vec<Version> = self.speaks.iter().map(parse).collect::<Result<_, _>>()?;
        let mut accounts = Accounts::default();
        let stored = account.version.as_ref().map(parse).transpose()?;
        if let Some(stored) = stored {
            accounts.store(&account.server_id, stored);
        }
        let version = accounts.select(&account.server_id, &speaks, notified).ok_or_else(|| {
            Failure::Failed(format!("the device speaks {}, and nothing as low as it should", self.speaks.join(", ")))
        })?;
        let why = match (notified, stored) {
            (Some(notified), _) if version == notified => "the notification recommends it (Client-1)".to_owned(),
            (Some(notified), _) => {
                format!("the notification recommends {notified}, which the device does not speak (Client-2, Client-3)")
            }
            (None, Some(stored)) if version == stored => "it is stored in the account (Client-4)".to_owned(),
            (None, Some(stored)) => format!("the account says {stored}, which the device does not speak (Client-4)"),
            (None, None) => "the highest that the device speaks; nothing is known of the server".to_owned(),
        };
        Ok(Choice { version, why })
    }

    /// The accounts as they stand in the device's management tree.
    pub(super) fn tree(&self) -> Result<Tree, Failure> {
        let mut tree = Tree::new();
        for (number, account) in self.accounts.iter().enumerate() {
            let node = format!("./DMAcc/account{}", number + 1);
            add_account(&mut tree, &node, &account.server_id, account.version.as_ref().map(parse).transpose()?);
        }
        Ok(tree)
    }

    /// Stores what the server wrote into the account, or recommended, for the next session. What was learnt, if
    /// anything.
    pub(super) fn learn(
        &mut self,
        path: &Path,
        server_id: &str,
        outcome: &Outcome,
        tree: &Tree,
    ) -> Result<Option<Version>, Failure> {
        let before = account_version(&self.tree()?, server_id);
        let written = account_version(tree, server_id).filter(|version| before != Some(*version));
        let mut items = outcome.exchanges.iter().rev().flat_map(|exchange| exchange.items.iter());
        let Some(version) = written.or_else(|| outcome.recommended()).or_else(|| items.find_map(|item| Version::parse(item)))
        else {
            return Ok(None);
        };
        let Some(account) = self.accounts.iter_mut().find(|account| account.server_id == server_id) else { return Ok(None) };
        if account.version.replace(version.to_string()).as_deref() == Some(&version.to_string()) {
            return Ok(None);
        }
        self.save(path).map_err(|error| Failure::doing(path.display(), error))?;
        Ok(Some(version))
    }
}

impl Account {
    pub(super) fn server_id(&self) -> &str {
        &self.server_id
    }

    pub(super) fn credentials(&self) -> Option<Credentials> {
        Some(Credentials { user: self.user.clone()?, password: self.password.clone()? })
    }

    /// Whether a notification is of this server.
    pub(super) fn verify(&self, package0: &Package0) -> Result<(), Failure> {
        let nonce = self.nonce.as_deref().map(|nonce| BASE64_STANDARD.decode(nonce)).transpose();
        let nonce = nonce.map_err(|_| Failure::Usage("a nonce is written in base64".to_owned()))?.unwrap_or_default();
        let password = self.server_password.as_deref().unwrap_or_default();
        let by = |nonce: &[u8]| package0.verifies(&Key { user: &self.server_id, password, nonce });
        if by(&nonce) || by(&RESYNC) {
            return Ok(());
        }
        Err(Failure::Failed(format!("the notification is not of \"{}\": its digest is wrong", self.server_id)))
    }
}

/// Where a notification comes from: a file, standard input (`-`), or a UDP port (`udp:127.0.0.1:2948`).
pub(super) fn notification(from: &str) -> Result<Package0, Failure> {
    /// Nobody waits for a notification for ever.
    const PATIENCE: Duration = Duration::from_secs(600);
    let broken = |why: &dyn std::fmt::Display| Failure::doing(from, why);
    let bytes = match from.strip_prefix("udp:") {
        None => inspect::read(&PathBuf::from(from)).map_err(|error| broken(&error))?,
        Some(address) => {
            let address: SocketAddr = address.parse().map_err(|error| Failure::Usage(format!("{from}: {error}")))?;
            let socket = std::net::UdpSocket::bind(address).map_err(|error| broken(&error))?;
            socket.set_read_timeout(Some(PATIENCE)).map_err(|error| broken(&error))?;
            let mut buffer = vec![0; 65_536];
            let len = socket.recv(&mut buffer).map_err(|error| broken(&error))?;
            buffer.truncate(len);
            buffer
        }
    };
    Package0::read(&bytes).map_err(|error| broken(&format!("no notification: {error}")))
}
