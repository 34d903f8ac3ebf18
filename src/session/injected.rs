//! What was put into the messages of a session for the device, and is to be taken out of its answers.

use serde::{Deserialize, Serialize};

use super::{FORM, Step};

/// For so many seconds a message that comes a second time is taken for a retransmission: the device did not
/// get the answer, and gets the same again.
const AGAIN: u64 = 120;

/// What was put into the messages of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Injected {
    v: u8,
    /// Tells the session from others with the same SessionID.
    pub token: String,
    /// MaxMsgSize, which devices tell at the beginning of a session.
    pub room: Option<usize>,
    /// Whether the device's last message had no Final: another follows that belongs to it.
    pub open: bool,
    /// One for each message, in their order.
    pub list: Vec<Injection>,
}

/// What was put into one message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Injection {
    /// MsgID of the device's message whose answer it is in.
    pub request: String,
    /// A digest of that message.
    pub digest: String,
    /// When it was put there, in seconds since 1970.
    pub at: u64,
    /// MsgID of the answer.
    pub answer: String,
    /// The CmdIDs that were used; the last is that of the command that counts.
    pub ids: Vec<String>,
    /// What was asked.
    pub step: Step,
    /// The status that the device gave.
    pub status: Option<u16>,
    /// What it has there.
    pub data: Option<String>,
    /// Whether its answer was taken down.
    pub heard: bool,
}

impl Injected {
    /// For a session that begins.
    #[must_use]
    pub const fn new(token: String, room: Option<usize>) -> Self {
        Self { v: FORM, token, room, open: false, list: Vec::new() }
    }

    /// Reads a stored value. `None` when it cannot be read.
    #[must_use]
    pub fn read(value: &[u8]) -> Option<Self> {
        serde_json::from_slice(value).ok().filter(|injected: &Self| injected.v <= FORM)
    }

    /// The value to store.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// What was put into the answer to this very message before.
    #[must_use]
    pub fn again(&self, request: &str, digest: &str, now: u64) -> Option<&Injection> {
        let same = |one: &&Injection| one.request == request && one.digest == digest && now.saturating_sub(one.at) <= AGAIN;
        self.list.iter().rev().find(same)
    }

    /// What a Status or Results with these references is about.
    pub fn about(&mut self, msg_ref: &str, cmd_ref: &str) -> Option<(&mut Injection, bool)> {
        let one = self.list.iter_mut().find(|one| one.answer == msg_ref && one.ids.iter().any(|id| id == cmd_ref))?;
        let counts = one.ids.last().is_some_and(|id| id == cmd_ref);
        Some((one, counts))
    }
}

impl Injection {
    /// Whether all of the device's answer is there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let reads = matches!(self.step, Step::List { .. } | Step::Identify { .. });
        self.status.is_some_and(|status| !(reads && (200..300).contains(&status)) || self.data.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> Injection {
        Injection {
            request: "2".into(),
            digest: "d".into(),
            at: 1000,
            answer: "3".into(),
            ids: vec!["7".into(), "8".into()],
            step: Step::List { root: "./DMAcc".into() },
            status: None,
            data: None,
            heard: false,
        }
    }

    #[test]
    fn it_comes_back_as_it_was_stored_and_is_found_by_its_references() {
        let mut injected = Injected { list: vec![one()], ..Injected::new("t".into(), Some(5000)) };
        injected = Injected::read(&injected.write()).expect("readable");
        assert_eq!(injected.room, Some(5000));
        assert!(!injected.about("3", "7").expect("there").1);
        assert!(injected.about("3", "8").expect("there").1);
        assert!(injected.about("3", "9").is_none() && injected.about("2", "7").is_none());
        assert!(Injected::read(br#"{"v":2,"token":"t","room":null,"open":false,"list":[]}"#).is_none());
    }

    #[test]
    fn only_the_very_same_message_soon_after_is_a_retransmission() {
        let injected = Injected { list: vec![one()], ..Injected::new("t".into(), None) };
        assert!(injected.again("2", "d", 1120).is_some());
        assert!(injected.again("2", "d", 1121).is_none());
        assert!(injected.again("2", "e", 1000).is_none() && injected.again("1", "d", 1000).is_none());
    }

    #[test]
    fn a_get_is_answered_by_status_and_results() {
        let mut get = one();
        assert!(!get.is_complete());
        get.status = Some(200);
        assert!(!get.is_complete());
        get.data = Some(String::new());
        assert!(get.is_complete());
        assert!(Injection { status: Some(404), data: None, ..one() }.is_complete());
        let step = Step::Replace { uri: "./a".into(), value: "1".into() };
        assert!(Injection { status: Some(200), step, data: None, ..one() }.is_complete());
    }
}
