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
    let mut alert = false;
    let mut data = false;
    while let Some(step) = cursor.step().ok()? {
        let said = match step {
            Step::Start { element, .. } if cursor.depth() == COMMAND => {
                commands += 1;
                alert = element == Element::Alert;
                if commands > limits::COMMANDS_BEFORE_ALERT {
                    return None;
                }
                None
            }
            Step::Start { element, .. } => {
                let is_data = alert && cursor.depth() == COMMAND + 1 && element == Element::Data;
                let leaf = cursor.leaf();
                data = is_data && leaf.is_none();
                leaf.filter(|_| is_data).map(|(field, _)| field)
            }
            Step::End { .. } => {
                data = false;
                None
            }
            Step::Text(field) => data.then_some(field),
        };
        match said.map(|field| index.text(raw, field)).as_deref() {
            Some("1200") => return Some(StartedBy::Server),
            Some("1201") => return Some(StartedBy::Client),
            _ => {}
        }
    }
    None
}
