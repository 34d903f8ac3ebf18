//! What a server is like, and what it saw.

use bytes::Bytes;

use super::auth::{Auth, Credentials};
use crate::syncml::{header::Encoding, version::Version};

/// How a server refuses a version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refusal {
    /// Status 513 with an Item for each version, in its own highest version; 505 for the DTD.
    #[default]
    Status,
    /// Status 505 in the place of 513, as servers do that look at VerDTD only.
    Dtd,
    /// HTTP 400, as Funambol does.
    Http400,
    /// HTTP 500 without a body.
    Http500,
}

/// Commands of one message: names and targets, with the data for Replace and Add.
pub type Script = Vec<Vec<(&'static str, &'static str, &'static str)>>;

/// What a server is like.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The versions it speaks, ascending.
    pub versions: Vec<Version>,
    /// The encodings it speaks.
    pub encodings: Vec<Encoding>,
    /// Whether VerDTD has to belong to VerProto.
    pub strict: bool,
    /// How it refuses.
    pub refusal: Refusal,
    /// Whom it lets in, and how they have to say who they are.
    pub credentials: Option<(Auth, Credentials)>,
    /// Its own identifier and password: it covers its messages with a MAC then.
    pub own: Option<Credentials>,
    /// The address that it gives each session, with `{host}` and `{session}` in it.
    pub resp_uri: Option<String>,
    /// What it wants done: the commands of its first message, of its second, and so on.
    pub script: Script,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            versions: vec![Version::DM_1_2],
            encodings: vec![Encoding::Xml, Encoding::Wbxml],
            strict: true,
            refusal: Refusal::default(),
            credentials: None,
            own: None,
            resp_uri: None,
            script: vec![
                vec![("Get", "./DevInfo/Man", ""), ("Get", "./DevInfo/Mod", "")],
                vec![("Replace", "./Work/Setting", "on"), ("Add", "./Work/App", "mail"), ("Exec", "./Work/Restart", "")],
            ],
        }
    }
}

/// A message that a server got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saw {
    /// The version that it declared; empty when it could not be read.
    pub version: String,
    /// How it was encoded.
    pub encoding: Option<Encoding>,
    /// What was asked for: path and query.
    pub path: String,
    /// Target/LocURI.
    pub target: String,
    /// It, byte for byte.
    pub raw: Bytes,
}
