//! Policies as they are used: checked, resolved and complete.

use std::{path::PathBuf, sync::Arc};

use super::{glob::Glob, reason::Verdict, routing::Routes};
use crate::syncml::{
    alert::StartedBy,
    header::Encoding,
    version::{Family, Version, VersionTable},
};

mod account;
mod server;
mod settings;

pub use account::{Account, Node, ValueForm};
pub use server::{Health, HostHeader, Pool, RespUri, Server, Speaks, Trial, Trigger};
pub use settings::{
    Admin, ClientAuth, Decisions, DecisionsTo, DeviceIds, Identity, Limits, Listener, ListenerTls, OnLogFailure, Rate, Redis,
    Sessions, Settings, Store,
};

/// All that a folder of policies says.
#[derive(Clone, Debug)]
pub struct Policies {
    /// How the process runs.
    pub settings: Settings,
    /// The versions that protover knows.
    pub versions: VersionTable,
    /// The sites, in the order of their files' names.
    pub sites: Vec<Arc<Site>>,
    /// Where each host's are among them, which have to stay there.
    pub(super) routes: Routes,
}

/// What devices address, and the servers behind it.
#[derive(Clone, Debug)]
pub struct Site {
    /// Its name.
    pub name: Arc<str>,
    /// The first 16 hexadecimal digits of the SHA-256 of its file.
    pub digest: Arc<str>,
    /// Hosts in lower case without port, and addresses as [`core::net`] writes them; `*` matches any, `*.example.com` any below.
    pub hosts: Vec<Box<str>>,
    /// The prefix of the paths that belong to it, matched at segment boundaries.
    pub path: Box<str>,
    /// Whether decisions are carried out.
    pub mode: Mode,
    /// Whether whole messages are checked.
    pub strict: bool,
    /// The version that the policy recommends of each family, in the order of [`Family::ALL`]; where it
    /// names none, the highest that is spoken.
    pub recommend: [Option<Version>; 2],
    /// The versions of each family that its servers speak, in the order of [`Family::ALL`]: each once,
    /// descending.
    pub supported: [Arc<[Version]>; 2],
    /// At least one.
    pub servers: Vec<Arc<Server>>,
    /// What becomes of a known version that no server speaks.
    pub unsupported: Unsupported,
    /// What becomes of a malformed message.
    pub malformed: OnMalformed,
    /// Where the recommended version is said.
    pub carriers: Carriers,
    /// What is written into the DM accounts of devices.
    pub account: Option<Account>,
    /// The file with the passwords that MACs are made with.
    pub secrets: Option<PathBuf>,
    /// What becomes of notifications, and of the sessions that answer them.
    pub notification: Option<Notification>,
    /// First match wins.
    pub rules: Vec<Rule>,
}

impl Site {
    /// The version of a family that the policy recommends, when it names one.
    #[must_use]
    pub fn recommended(&self, family: Family) -> Option<Version> {
        let [dm, sync_ml] = self.recommend;
        match family {
            Family::Dm => dm,
            Family::SyncMl => sync_ml,
        }
    }

    /// The versions of a family that its servers speak, descending.
    #[must_use]
    pub const fn supported(&self, family: Family) -> &Arc<[Version]> {
        let [dm, sync_ml] = &self.supported;
        match family {
            Family::Dm => dm,
            Family::SyncMl => sync_ml,
        }
    }

    /// Whether some of its servers have versions that are found out by trial.
    #[must_use]
    pub fn tries(&self) -> bool {
        self.servers.iter().any(|server| server.trial.is_some())
    }

    /// Whether a later message of a session may match other rules than its first one did: only the first
    /// says who started the session, and a RespURI may lead to another path.
    #[must_use]
    pub fn rules_may_change(&self) -> bool {
        self.rules.iter().any(|rule| rule.when.started_by.is_some() || rule.when.path.is_some())
    }
}

/// Whether decisions are carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// They are.
    #[default]
    Enforce,
    /// They are made and logged; everything is passed unchanged.
    Observe,
}

impl Mode {
    /// The name in policies and log lines.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Observe => "observe",
        }
    }
}

/// What becomes of notifications, and of the sessions that answer them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Notification {
    /// Whether they are made to say the recommended version.
    pub recommend: bool,
    /// For which devices, by the address of the push; many clients take only what every notification has.
    pub devices: Vec<Glob>,
    /// Where they say it.
    pub carrier: NotificationCarrier,
    /// What becomes of a device that answers with a version above the one it was notified of.
    pub higher: Higher,
}

/// Where a notification says the recommended version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NotificationCarrier {
    /// In its version field: 12 for DM 1.2.
    #[default]
    VersionField,
    /// In front of the vendor's body.
    VendorBody,
}

/// What becomes of a device that answers a notification with a higher version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Higher {
    /// It is only taken down.
    #[default]
    Log,
    /// Its messages are rewritten to the version that it was notified of.
    Bridge,
    /// It is refused.
    Refuse,
}

/// What becomes of a known version that no server speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unsupported {
    /// It is rewritten to one that a server speaks.
    Bridge,
    /// It is answered with the error that names the recommended version.
    #[default]
    Refuse,
    /// It is passed to the first server.
    Pass,
}

/// What becomes of a malformed message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnMalformed {
    /// It is answered with HTTP 400.
    #[default]
    Refuse,
    /// It is passed to the first server.
    Pass,
}

/// Where the recommended version is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carriers {
    /// `DM-Recommended-Version` and `DM-Supported-Versions` of the HTTP answer.
    pub http_header: bool,
    /// An Item in the Status that answers SyncHdr.
    pub status_item: bool,
    /// An EMI in SyncHdr/Meta.
    pub header_meta: bool,
    /// A leaf of the device's DM account.
    pub account: bool,
}

impl Carriers {
    /// Whether any of them is in the body of an answer.
    #[must_use]
    pub const fn any_in_body(self) -> bool {
        self.status_item || self.header_meta
    }
}

/// A rule of a site.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name.
    pub name: Arc<str>,
    /// When it matches: all of these.
    pub when: When,
    /// What it says.
    pub then: Then,
}

/// The conditions of a rule; those that are `None` always hold.
#[derive(Clone, Debug, Default)]
pub struct When {
    /// The declared version is one of these (a comparison has been resolved over the table).
    pub version: Option<Vec<Version>>,
    /// Source/LocURI.
    pub device: Option<Glob>,
    /// `User-Agent`.
    pub user_agent: Option<Glob>,
    /// The encoding of the body.
    pub encoding: Option<Encoding>,
    /// The subject of the client's certificate.
    pub client_certificate: Option<Glob>,
    /// The fingerprint of the client's certificate is one of these; as in [`Facts`](super::facts::Facts).
    pub client_fingerprint: Option<Vec<Box<str>>>,
    /// The path of the request.
    pub path: Option<Glob>,
    /// Who started the session.
    pub started_by: Option<StartedBy>,
    /// The part of the devices, in hundredths of a per cent: 10 000 is all.
    pub share: Option<u16>,
}

/// What a rule says; what it leaves open is decided as without the rule.
#[derive(Clone, Debug, Default)]
pub struct Then {
    /// `pass`, `advise`, `bridge` or `refuse`.
    pub verdict: Option<Verdict>,
    /// The server that gets the message, as an index.
    pub server: Option<usize>,
    /// The version to bridge to.
    pub to: Option<Version>,
    /// The version to recommend.
    pub recommend: Option<Version>,
    /// Whether a bridge may drop what the other version has no word for.
    pub lossy: bool,
    /// Whether the recommended version is written into the device's account, where the site does that.
    pub account: Option<bool>,
}
