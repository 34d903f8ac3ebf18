//! How the DM accounts of devices come to know the recommended version (Tree-1, Client-4).

use crate::syncml::version::{Family, Version};

/// What is written into DM accounts, and into which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The version leaf, with `{account}` in the place of the account's node.
    pub uri: Box<str>,
    /// How the account's node is found.
    pub node: Node,
    /// The server's identifier, as its account has it: ServerID, PROVIDER-ID. Without, that of the site's
    /// secrets.
    pub server_id: Option<Box<str>>,
    /// How a version is written there.
    pub form: ValueForm,
    /// The highest version that may stand there; a higher one is not written.
    pub highest: Option<Version>,
    /// Whether bootstrap documents that pass through get the version too.
    pub bootstrap: bool,
}

/// How the node of the account is found: its name is the device's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// By asking the device for its accounts, and for the server's identifier in each.
    Discover,
    /// It has the same name on every device.
    Named(Box<str>),
    /// As Windows names it: by the SHA-256 of the server's identifier.
    Sha256,
}

/// How a version is written into an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ValueForm {
    /// `1.3`
    #[default]
    Number,
    /// `DM/1.3`
    VerProto,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            uri: "./DMAcc/{account}/Ext/Protover/ProtoVer".into(),
            node: Node::Discover,
            server_id: None,
            form: ValueForm::Number,
            highest: None,
            bootstrap: false,
        }
    }
}

impl Account {
    /// The value of the leaf for a version. `None` for one that may not stand there.
    #[must_use]
    pub fn value(&self, version: Version) -> Option<String> {
        let may = version.family() == Family::Dm && self.highest.is_none_or(|highest| version <= highest);
        may.then(|| match self.form {
            ValueForm::Number => version.number(),
            ValueForm::VerProto => version.to_string(),
        })
    }

    /// Where accounts are: `./DMAcc` or `./SyncML/DMAcc`, without a last slash.
    #[must_use]
    pub fn root(&self) -> &str {
        self.uri.split_once("/{account}").map_or(&*self.uri, |(root, _)| root)
    }

    /// The path of the leaf below the account's node, such as `Ext/Microsoft/ProtoVer`.
    #[must_use]
    pub fn below(&self) -> &str {
        self.uri.split_once("/{account}/").map_or("", |(_, below)| below)
    }
}
