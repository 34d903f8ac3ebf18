//! Authentication: `syncml:auth-basic`, `syncml:auth-md5` and `syncml:auth-MAC` (OMA-TS-DM_Security-V1_2_1,
//! sections 5.3 and 5.4).

use base64::{Engine, prelude::BASE64_STANDARD};
use md5::{Digest, Md5};

use super::document::Node;

/// How a device says who it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// User and password, in base64.
    Basic,
    /// A digest over them and the server's nonce.
    #[default]
    Md5,
    /// A MAC over each message, in an HTTP header.
    Mac,
}

impl Auth {
    /// Meta/Type.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Basic => "syncml:auth-basic",
            Self::Md5 => "syncml:auth-md5",
            Self::Mac => "syncml:auth-MAC",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Basic, Self::Md5, Self::Mac].into_iter().find(|auth| auth.name() == name)
    }
}

/// A user and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl Credentials {
    /// What stands in Cred/Data. `nonce` is not in base64.
    #[must_use]
    pub fn data(&self, auth: Auth, nonce: &[u8]) -> String {
        let plain = format!("{}:{}", self.user, self.password);
        match auth {
            Auth::Basic => BASE64_STANDARD.encode(plain),
            Auth::Md5 | Auth::Mac => {
                let inner = BASE64_STANDARD.encode(Md5::digest(plain));
                BASE64_STANDARD.encode(Md5::digest([inner.as_bytes(), b":", nonce].concat()))
            }
        }
    }

    /// The header that covers a message.
    #[must_use]
    pub fn hmac(&self, nonce: &[u8], body: &[u8]) -> String {
        let user = BASE64_STANDARD.encode(Md5::digest(format!("{}:{}", self.user, self.password)));
        let body = BASE64_STANDARD.encode(Md5::digest(body));
        let mac = Md5::digest([user.as_bytes(), b":", nonce, b":", body.as_bytes()].concat());
        format!("algorithm=MD5, username=\"{}\", mac={}", self.user, BASE64_STANDARD.encode(mac))
    }

    /// A Cred for SyncHdr.
    #[must_use]
    pub fn cred(&self, auth: Auth, nonce: &[u8]) -> Node {
        let meta = vec![Node::leaf("Format", "b64"), Node::leaf("Type", auth.name())];
        Node::new("Cred", vec![Node::new("Meta", meta), Node::leaf("Data", self.data(auth, nonce))])
    }
}

/// A Chal for the Status of SyncHdr.
pub(super) fn challenge(auth: Auth, nonce: &[u8]) -> Node {
    let mut meta = vec![Node::leaf("Format", "b64"), Node::leaf("Type", auth.name())];
    if auth != Auth::Basic {
        meta.push(Node::leaf("NextNonce", BASE64_STANDARD.encode(nonce)));
    }
    Node::new("Chal", vec![Node::new("Meta", meta)])
}

/// The nonce that both sides hold before any was handed out. A reference needs no secrets.
pub(super) const NONCE: &[u8] = b"reference";

/// The nonce that a message hands its receiver.
pub(super) fn handed(commands: &[Node]) -> Option<Vec<u8>> {
    let chal = commands.iter().filter(|command| command.name == "Status").find_map(|status| status.child("Chal"))?;
    asked(chal).map(|(_, nonce)| nonce)
}

/// What a Chal asks for: how, and with which nonce.
pub(super) fn asked(chal: &Node) -> Option<(Auth, Vec<u8>)> {
    let auth = Auth::named(chal.text_at(&["Meta", "Type"]))?;
    Some((auth, BASE64_STANDARD.decode(chal.text_at(&["Meta", "NextNonce"])).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_specification() {
        let bruce = Credentials { user: "Bruce2".into(), password: "OhBehave".into() };
        assert_eq!(bruce.data(Auth::Md5, b"Nonce"), "Zz6EivR3yeaaENcRN6lpAQ==");
        assert_eq!(bruce.data(Auth::Basic, b""), "QnJ1Y2UyOk9oQmVoYXZl");
    }
}
