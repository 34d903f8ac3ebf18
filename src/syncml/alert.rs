//! Who started a session: the Alert in package 1 (OMA-TS-DM_Protocol-V1_2_1, section 8.3).

use super::{
    body::{Cursor, Step, Steps},
    element::Element,
    header::HeaderIndex,
    limits,
};

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

/// Who started the session, when this message says so. Looks at the first few commands only, and
/// stops without an answer at the first thing that cannot be read.
#[must_use]
pub fn started_by(raw: &[u8], index: &HeaderIndex) -> Option<StartedBy> {
    const COMMAND: usize = 3;
    let mut cursor = Cursor::body(raw, index).ok()?;
    let mut commands = 0;
    loop {
        // Other commands may be large.
        if cursor.depth() >= COMMAND && cursor.open(COMMAND) != Element::Alert {
            cursor.skim(|_| true);
        }
        let step = cursor.step().ok()??;
        let depth = cursor.depth();
        match step {
            Step::Start { .. } if depth == COMMAND => {
                commands += 1;
                if commands > limits::COMMANDS_BEFORE_ALERT {
                    return None;
                }
            }
            Step::Text(field)
                if depth == COMMAND + 1 && (cursor.open(COMMAND), cursor.open(depth)) == (Element::Alert, Element::Data) =>
            {
                match &*index.text(raw, field) {
                    "1200" => return Some(StartedBy::Server),
                    "1201" => return Some(StartedBy::Client),
                    _ => {}
                }
            }
            Step::Start { .. } | Step::Text(_) | Step::End { .. } => {}
        }
    }
}
