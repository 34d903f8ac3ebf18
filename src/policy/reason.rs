//! Why things went as they did: one closed list of stable codes. The same codes label the decision
//! log, the metrics and the filters of the admin listener.

use std::fmt;

use serde::{Serialize, Serializer};

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Passed as it was.
    Pass,
    /// Passed, and the recommended version added to the answer.
    Advise,
    /// Rewritten to a version that a server speaks, and the answer back.
    Bridge,
    /// Answered in the server's stead.
    Refuse,
    /// Tried, and something broke: the upstream, a limit, protover itself.
    Fail,
    /// The client went away before it was answered.
    Abandon,
}

impl Verdict {
    /// The code in log lines and policies.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Advise => "advise",
            Self::Bridge => "bridge",
            Self::Refuse => "refuse",
            Self::Fail => "fail",
            Self::Abandon => "abandon",
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])+ $name:ident = $code:literal,)+) => {
        /// Why a verdict was given. The codes are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])+ $name,)+ }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The code in log lines and metrics.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }
        }
    };
}

reasons! {
    /// A rule of the site's policy said so.
    Rule = "rule",
    /// The device uses the recommended version.
    Recommended = "recommended",
    /// The device uses a version that a server speaks, but not the recommended one.
    SupportedNotRecommended = "supported-not-recommended",
    /// No server speaks the version; the message was rewritten to one that a server speaks.
    Bridged = "bridged",
    /// Nobody knows yet whether the server speaks the version; it is asked.
    Discovering = "discovering",
    /// The server refused the version, and took the message in another one.
    SteppedDown = "stepped-down",
    /// As decided at the first message of the session.
    SessionPinned = "session-pinned",
    /// How the session began is not known, since the store does not answer, and cannot be decided anew.
    SessionLost = "session-lost",
    /// The notification was made to say the recommended version.
    Notified = "notified",
    /// The notification stays as it is, as the site's policy has it.
    NotificationKept = "notification-kept",
    /// The notification goes to a device that is not on the list of those that may be told a version so.
    NotListed = "not-listed",
    /// The notification is of a server whose secret is not known.
    NoSecret = "no-secret",
    /// The digest of the notification does not verify.
    DigestMismatch = "digest-mismatch",
    /// The push message holds no notification that could be read.
    NoNotification = "no-notification",
    /// The device uses a higher version than the one that it was notified of.
    HigherThanNotified = "higher-than-notified",
    /// A known version that no server of the site speaks.
    UnsupportedVersion = "unsupported-version",
    /// A version that protover does not know.
    UnrecognisedVersion = "unrecognised-version",
    /// VerDTD is unknown, or (strict) not the one that belongs to VerProto.
    DtdMismatch = "dtd-mismatch",
    /// Strict: the Content-Type contradicts the message.
    MediaTypeMismatch = "media-type-mismatch",
    /// The message holds something that the other version has no word for.
    CannotBridge = "cannot-bridge",
    /// A MAC or signature covers the body and cannot be recomputed.
    IntegrityProtected = "integrity-protected",
    /// The message cannot be read as far as protover has to read it.
    Malformed = "malformed",
    /// Not SyncML.
    NotSyncMl = "not-syncml",
    /// The content is encoded in a way that protover cannot read, or that no server of the site takes.
    UnsupportedEncoding = "unsupported-encoding",
    /// No site for the host and path.
    NoSite = "no-site",
    /// The HTTP request is ambiguous or broken.
    BadRequest = "bad-request",
    /// The body is larger than the limit.
    BodyTooLarge = "body-too-large",
    /// The client sent too slowly.
    ClientTooSlow = "client-too-slow",
    /// The client went away.
    ClientGone = "client-gone",
    /// More connections than the limit.
    Overloaded = "overloaded",
    /// It came too often.
    RateLimited = "rate-limited",
    /// protover is shutting down.
    Draining = "draining",
    /// The decision log cannot be written, and policy says not to serve without it.
    LogUnavailable = "log-unavailable",
    /// The upstream could not be reached.
    UpstreamUnreachable = "upstream-unreachable",
    /// As many requests as may be are under way at the upstream.
    UpstreamBusy = "upstream-busy",
    /// The upstream broke off, or answered something that is not HTTP.
    UpstreamBroke = "upstream-broke",
    /// The upstream did not answer in time.
    UpstreamTooSlow = "upstream-too-slow",
    /// The upstream's answer is larger than the limit.
    UpstreamTooLarge = "upstream-too-large",
    /// The upstream's answer cannot be read where it has to be rewritten.
    UpstreamMalformed = "upstream-malformed",
    /// The TLS handshake failed.
    TlsHandshake = "tls-handshake",
    /// The client showed no certificate where it must, or one that is not accepted.
    ClientCertificate = "client-certificate",
    /// The connection does not come from a proxy that is trusted, where only those may connect.
    UntrustedProxy = "untrusted-proxy",
    /// A proxy that is trusted did not begin with a header of the PROXY protocol.
    BadProxyHeader = "bad-proxy-header",
    /// What came over the connection is not HTTP.
    BadHttp = "bad-http",
    /// The connection said nothing, or too little, in time.
    ConnectionTooSlow = "connection-too-slow",
    /// A handler panicked.
    Panic = "panic",
}

/// A requirement of the OMA DM 1.3 contribution that a decision fulfils.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Requirement {
    /// The notification says the recommended version.
    Server1,
    /// The answer to a client on a non-recommended version says the recommended one.
    Server2,
    /// An unsupported or unrecognised version is answered with an error.
    Server3,
    /// The client uses the version of the notification.
    Client1,
    /// The client uses a lower one.
    Client2,
    /// The client uses a higher one.
    Client3,
    /// The client uses the version of its DM account.
    Client4,
    /// The DM account says the highest version of the server.
    Tree1,
}

impl Requirement {
    /// The label of the contribution.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Server1 => "Server-1",
            Self::Server2 => "Server-2",
            Self::Server3 => "Server-3",
            Self::Client1 => "Client-1",
            Self::Client2 => "Client-2",
            Self::Client3 => "Client-3",
            Self::Client4 => "Client-4",
            Self::Tree1 => "Tree-1",
        }
    }
}

macro_rules! by_code {
    ($($name:ty),+) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.code())
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.code())
            }
        }
    )+};
}
by_code!(Verdict, Reason, Requirement);
