//! Who started a session: the Alert in package 1 (OMA-TS-DM_Protocol-V1_2_1, section 8.3).

/// Who started a session, from the Alert in package 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StartedBy {
    /// Alert 1200: the server, by a notification.
    Server,
    /// Alert 1201: the client.
    Client,
}

impl StartedBy {
    /// The name in policies and log lines.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }
}
