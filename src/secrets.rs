//! The passwords of a site's server and clients, with which MACs are checked and made anew: a file that
//! nobody but its owner may read. Nothing of it is ever printed, not even where it is wrong.

use std::{fmt, fs, io, os::unix::fs::PermissionsExt, path::Path};

use base64::{Engine, prelude::BASE64_STANDARD};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::{policy::glob::Glob, syncml::integrity::Key};

/// What the file holds.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// The server, as devices know it.
    pub server: Option<Server>,
    /// The clients, by their user names.
    #[serde(default, rename = "client")]
    clients: Vec<Client>,
}

/// How the server proves that it is the one.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Its identifier.
    pub id: String,
    /// Its password.
    password: SecretString,
    /// The nonce that devices hold at first, in base64.
    #[serde(default)]
    pub nonce: Nonce,
}

/// How clients prove who they are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// The user name.
    user: String,
    /// The password.
    password: SecretString,
    /// The nonce that it holds at first, in base64.
    #[serde(default)]
    pub nonce: Nonce,
    /// Which devices: Source/LocURI.
    #[serde(default)]
    device: Option<String>,
}

/// A nonce, not in base64.
#[derive(Clone, Default, Deserialize)]
#[serde(try_from = "String")]
pub struct Nonce(pub Vec<u8>);

impl TryFrom<String> for Nonce {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        BASE64_STANDARD.decode(text).map(Self).map_err(|_| "a nonce is written in base64")
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nonce").finish_non_exhaustive()
    }
}

/// What a file holds that is for its owner alone.
///
/// # Errors
/// When it cannot be read, or when others than its owner may read it.
pub fn read(path: &Path) -> io::Result<SecretString> {
    let metadata = fs::metadata(path).map_err(|error| named(path, error.kind(), &error))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        let what = "others may read this file; secrets are for its owner alone (chmod 600)";
        return Err(named(path, io::ErrorKind::PermissionDenied, &what));
    }
    fs::read_to_string(path).map(SecretString::from).map_err(|error| named(path, error.kind(), &error))
}

fn named(path: &Path, kind: io::ErrorKind, what: &dyn fmt::Display) -> io::Error {
    io::Error::new(kind, format!("{}: {what}", path.display()))
}

impl Secrets {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, when others than its owner may read it, or when it is wrong: with the line,
    /// and without what stands there.
    pub fn load(path: &Path) -> io::Result<Self> {
        let text = read(path)?;
        let text = text.expose_secret();
        toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = 1 + before.matches('\n').count();
            // Messages of the parser name keys and types, but may repeat a value that is no choice.
            let what = error.message().split('`').next().unwrap_or_default().trim_end();
            named(path, io::ErrorKind::InvalidData, &format!("line {line}: {what}"))
        })
    }

    /// The client of a user name, on a device.
    #[must_use]
    pub fn client(&self, user: &str, device: &str) -> Option<&Client> {
        let fits = |client: &&Client| {
            client.user == user && client.device.as_ref().is_none_or(|pattern| Glob::new(pattern).matches(device))
        };
        self.clients.iter().find(fits)
    }
}

impl Server {
    /// The key of its MACs with a nonce.
    #[must_use]
    pub fn key<'a>(&'a self, nonce: &'a [u8]) -> Key<'a> {
        Key { user: &self.id, password: self.password.expose_secret(), nonce }
    }
}

impl Client {
    /// The key of its MACs with a nonce.
    #[must_use]
    pub fn key<'a>(&'a self, nonce: &'a [u8]) -> Key<'a> {
        Key { user: &self.user, password: self.password.expose_secret(), nonce }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, mode: u32) -> Result<Secrets, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secrets.toml");
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("permitted");
        Secrets::load(&path).map_err(|error| error.to_string().rsplit('/').next().unwrap_or_default().to_owned())
    }

    const GOOD: &str = "[server]\nid = \"mgmtsrv\"\npassword = \"hush\"\nnonce = \"Tm9uY2U=\"\n\
        [[client]]\nuser = \"Bruce2\"\npassword = \"OhBehave\"\ndevice = \"IMEI:1*\"\n[[client]]\nuser = \"Bruce2\"\npassword = \"other\"\n";

    #[test]
    fn clients_are_found_by_user_and_device() {
        let secrets = load(GOOD, 0o600).expect("good");
        let password = |device: &str| secrets.client("Bruce2", device).map(|client| client.key(b"").password.to_owned());
        assert_eq!(password("IMEI:12").as_deref(), Some("OhBehave"));
        assert_eq!(password("IMEI:2").as_deref(), Some("other"));
        assert!(secrets.client("bruce2", "IMEI:1").is_none());
        assert_eq!(secrets.server.as_ref().expect("a server").nonce.0, b"Nonce");
        let shown = format!("{secrets:?}");
        assert!(!shown.contains("hush") && !shown.contains("OhBehave"), "{shown}");
    }

    #[test]
    fn what_is_wrong_is_said_without_a_secret() {
        for (text, mode, expected) in [
            (GOOD, 0o640, "secrets.toml: others may read this file; secrets are for its owner alone (chmod 600)"),
            ("[server]\nid = \"a\"\npassword = hush\n", 0o600, "secrets.toml: line 3: "),
            ("[server]\nid = \"a\"\npasword = \"hush\"\n", 0o600, "secrets.toml: line 3: unknown field"),
            (
                "[[client]]\nuser = \"a\"\npassword = \"x\"\nnonce = \"hush!\"\n",
                0o600,
                "secrets.toml: line 4: a nonce is written in base64",
            ),
        ] {
            let error = load(text, mode).expect_err(text);
            assert!(error.starts_with(expected), "{error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }
}
