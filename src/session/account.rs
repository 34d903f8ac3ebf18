//! What is known of a device's DM account, and what to ask of the device next, so that the account comes to
//! say the recommended version (Tree-1). One step a message, each tried once.
//!
//! Real devices call for this care (OMA-TS-DM_StdObj-V1_2_1, section 5.3, leaves the names of account nodes
//! to the device): some refuse the leaf for good, and some do not survive the question.

use serde::{Deserialize, Serialize};

use super::FORM;

/// What is asked of a device, in one message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// The names of its accounts: Get of the node that they are below.
    List {
        /// `./DMAcc`
        root: String,
    },
    /// The server's identifier in one of them: Get of a leaf.
    Identify {
        /// `./DMAcc`
        root: String,
        /// The account's node and the leaf: `x1/ServerID`.
        leaf: String,
    },
    /// Replace of the version leaf.
    Replace {
        /// The leaf.
        uri: String,
        /// What it is to say.
        value: String,
    },
    /// Add of the version leaf, with the nodes between it and the account in front.
    Add {
        /// The account's node.
        node: String,
        /// The leaf below it: `Ext/Protover/ProtoVer`.
        below: String,
        /// What it is to say.
        value: String,
    },
}

impl Step {
    /// The command.
    #[must_use]
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::List { .. } | Self::Identify { .. } => "Get",
            Self::Replace { .. } => "Replace",
            Self::Add { .. } => "Add",
        }
    }

    /// What it is about.
    #[must_use]
    pub fn uri(&self) -> String {
        match self {
            Self::List { root } => root.clone(),
            Self::Identify { root, leaf } => format!("{root}/{leaf}"),
            Self::Replace { uri, .. } => uri.clone(),
            Self::Add { node, below, .. } => format!("{node}/{below}"),
        }
    }
}

/// What the policy wants of a device's account.
#[derive(Clone, Debug)]
pub struct Wanted<'p> {
    /// Where accounts may be, the likeliest first.
    pub roots: &'p [&'p str],
    /// The name of the account's node, when the policy knows it.
    pub name: Option<&'p str>,
    /// The leaf below the account's node.
    pub below: &'p str,
    /// The server's identifier, by which the account is found.
    pub server_id: &'p str,
    /// What the leaf is to say.
    pub value: &'p str,
}

/// Why nothing is asked of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Its account says the version.
    Stored,
    /// It was asked once, and nothing came back: it may not have survived it.
    Unanswered,
    /// It does not want the leaf, and said so with this status.
    Refused(u16),
    /// It has no account of this server.
    NoAccount,
    /// It has no such leaf yet; that is for a later session.
    NextSession,
}

impl std::fmt::Display for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stored => f.write_str("it says so already"),
            Self::Unanswered => f.write_str("left alone: the device was asked once and did not answer"),
            Self::Refused(status) => write!(f, "left alone: the device refused with {status}"),
            Self::NoAccount => f.write_str("left alone: the device has no account of this server"),
            Self::NextSession => f.write_str("in a later session"),
        }
    }
}

/// What is known of a device's account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    v: u8,
    found: Found,
    wrote: Option<Wrote>,
    /// What the device was asked and has not answered, and the session in which it was.
    asked: Option<(Step, String)>,
}

/// How far the search for the account is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Found {
    /// So many places where accounts may be were looked at.
    Looking { places: usize },
    /// These are left to look at, as [`Step::Identify`] has them.
    Listed { place: usize, leaves: Vec<String> },
    /// Here it is.
    At { node: String },
    /// There is none.
    Nowhere,
}

/// What was written last, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Wrote {
    value: String,
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Outcome {
    Stored,
    /// There is no leaf to replace; that was said in this session.
    Missing {
        session: String,
    },
    Refused {
        status: u16,
    },
}

impl Default for Account {
    fn default() -> Self {
        Self { v: FORM, found: Found::Looking { places: 0 }, wrote: None, asked: None }
    }
}

/// How many accounts of a device are looked at; no device has so many.
const ACCOUNTS: usize = 16;

/// `Not found`: there is no such node.
const NOT_FOUND: u16 = 404;

impl Account {
    /// Reads a stored value. `None` when it cannot be read.
    #[must_use]
    pub fn read(value: &[u8]) -> Option<Self> {
        serde_json::from_slice(value).ok().filter(|account: &Self| account.v <= FORM)
    }

    /// The value to store.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// What to ask of the device next, in a session of its.
    ///
    /// # Errors
    /// [`Left`] when there is nothing to ask.
    pub fn next(&self, wanted: &Wanted<'_>, session: &str) -> Result<Step, Left> {
        if self.asked.is_some() {
            return Err(Left::Unanswered);
        }
        let root = |place: usize| wanted.roots.get(place).copied().map(str::to_owned);
        let node = match (wanted.name, &self.found) {
            (Some(name), _) => format!("{}/{name}", root(0).ok_or(Left::NoAccount)?),
            (None, Found::At { node }) => node.clone(),
            (None, Found::Looking { places }) => return Ok(Step::List { root: root(*places).ok_or(Left::NoAccount)? }),
            (None, Found::Listed { place, leaves }) => {
                let (Some(root), Some(leaf)) = (root(*place), leaves.first()) else { return Err(Left::NoAccount) };
                return Ok(Step::Identify { root, leaf: leaf.clone() });
            }
            (None, Found::Nowhere) => return Err(Left::NoAccount),
        };
        let (below, value) = (wanted.below.to_owned(), wanted.value.to_owned());
        match self.wrote.as_ref().filter(|wrote| wrote.value == value).map(|wrote| &wrote.outcome) {
            None => Ok(Step::Replace { uri: format!("{node}/{below}"), value }),
            Some(Outcome::Stored) => Err(Left::Stored),
            Some(Outcome::Missing { session: then }) if then == session => Err(Left::NextSession),
            Some(Outcome::Missing { .. }) => Ok(Step::Add { node, below, value }),
            Some(Outcome::Refused { status }) => Err(Left::Refused(*status)),
        }
    }

    /// The device is asked; until it answers it is asked nothing else.
    pub fn ask(&mut self, step: Step, session: &str) {
        self.asked = Some((step, session.to_owned()));
    }

    /// The device answered: with a status, and for a Get with what it has there.
    pub fn hear(&mut self, step: &Step, status: u16, data: Option<&str>, wanted: &Wanted<'_>) {
        let Some((_, session)) = self.asked.take_if(|(asked, _)| asked == step) else { return };
        let done = (200..300).contains(&status);
        let wrote = |value: &String, outcome| Some(Wrote { value: value.clone(), outcome });
        match step {
            Step::List { root } => {
                let place = wanted.roots.iter().position(|other| other == root).unwrap_or(0);
                let names = data.unwrap_or_default().split('/').map(str::trim).filter(|name| !name.is_empty());
                let leaves: Vec<String> = names.take(ACCOUNTS).flat_map(|name| identifiers(root, name)).collect();
                self.found = match (done && !leaves.is_empty(), place + 1 < wanted.roots.len()) {
                    (true, _) => Found::Listed { place, leaves },
                    (false, true) => Found::Looking { places: place + 1 },
                    (false, false) => Found::Nowhere,
                };
            }
            Step::Identify { root, leaf } => {
                let (name, _) = leaf.rsplit_once('/').unwrap_or((leaf, ""));
                if done && data.is_some_and(|data| data.trim() == wanted.server_id) {
                    self.found = Found::At { node: format!("{root}/{name}") };
                } else if let Found::Listed { place, leaves } = &mut self.found {
                    // An account that has this leaf has no other for the same.
                    leaves.retain(|other| other != leaf && !(done && other.starts_with(&format!("{name}/"))));
                    let more = *place + 1 < wanted.roots.len();
                    if leaves.is_empty() {
                        self.found = if more { Found::Looking { places: *place + 1 } } else { Found::Nowhere };
                    }
                }
            }
            Step::Replace { value, .. } if done => self.wrote = wrote(value, Outcome::Stored),
            Step::Replace { value, .. } if status == NOT_FOUND => self.wrote = wrote(value, Outcome::Missing { session }),
            Step::Add { value, .. } if done => self.wrote = wrote(value, Outcome::Stored),
            Step::Replace { value, .. } | Step::Add { value, .. } => self.wrote = wrote(value, Outcome::Refused { status }),
        }
    }
}

/// The leaves that may hold the server's identifier: `ServerId` in DM 1.1 (OMA-SyncML-DM-StdObj-V1_1_2),
/// `ServerID` since, which Windows has at the old place.
fn identifiers(root: &str, name: &str) -> Vec<String> {
    let leaves: &[&str] = if root == "./SyncML/DMAcc" { &["ServerId", "ServerID"] } else { &["ServerID"] };
    leaves.iter().map(|leaf| format!("{name}/{leaf}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [&str; 2] = ["./DMAcc", "./SyncML/DMAcc"];

    fn wanted<'a>() -> Wanted<'a> {
        Wanted { roots: &BOTH, name: None, below: "Ext/V/ProtoVer", server_id: "me", value: "1.3" }
    }

    type Reply = Option<(u16, Option<&'static str>)>;

    /// What a device that replies like this is asked, one session after the other, and why that ends.
    fn asked(wanted: &Wanted<'_>, answers: &dyn Fn(&Step) -> Reply) -> (Vec<String>, Left) {
        let mut account = Account::default();
        let mut log = Vec::new();
        for session in 0..40 {
            let session = session.to_string();
            account = Account::read(&account.write()).expect("readable");
            match account.next(wanted, &session) {
                Ok(step) => {
                    log.push(format!("{} {}", step.verb(), step.uri()));
                    account.ask(step.clone(), &session);
                    if let Some((status, data)) = answers(&step) {
                        account.hear(&step, status, data, wanted);
                    }
                }
                Err(left) => return (log, left),
            }
        }
        panic!("it never ends: {log:?}");
    }

    #[test]
    fn one_account_of_three_is_found_and_written() {
        let answers = |step: &Step| match step {
            Step::List { .. } => Some((200, Some("x1/test/secret"))),
            Step::Identify { leaf, .. } => Some((200, Some(if leaf == "test/ServerID" { "me" } else { "other" }))),
            Step::Replace { .. } | Step::Add { .. } => Some((200, None)),
        };
        let (log, left) = asked(&wanted(), &answers);
        let expected =
            ["Get ./DMAcc", "Get ./DMAcc/x1/ServerID", "Get ./DMAcc/test/ServerID", "Replace ./DMAcc/test/Ext/V/ProtoVer"];
        assert_eq!((log.as_slice(), left), (&expected.map(str::to_owned)[..], Left::Stored));
    }

    #[test]
    fn the_other_root_is_looked_at_and_either_spelling() {
        for leaf_there in ["x/ServerId", "x/ServerID"] {
            let answers = |step: &Step| match step {
                Step::List { root } if root == "./DMAcc" => Some((406, None)),
                Step::List { .. } => Some((200, Some("x"))),
                Step::Identify { leaf, .. } if leaf == leaf_there => Some((200, Some("me"))),
                Step::Identify { .. } => Some((404, None)),
                _ => Some((200, None)),
            };
            let (log, left) = asked(&wanted(), &answers);
            assert_eq!(left, Left::Stored);
            assert_eq!(log.last().map(String::as_str), Some("Replace ./SyncML/DMAcc/x/Ext/V/ProtoVer"));
        }
    }

    #[test]
    fn a_device_without_the_account_is_left_alone() {
        let others = |step: &Step| match step {
            Step::List { .. } => Some((200, Some("a/b"))),
            _ => Some((200, Some("other"))),
        };
        let (log, left) = asked(&wanted(), &others);
        assert_eq!((log.len(), left), (6, Left::NoAccount));
        assert_eq!(asked(&wanted(), &|_| Some((404, None))).1, Left::NoAccount);
    }

    #[test]
    fn a_missing_leaf_is_added_in_a_later_session_and_a_refusal_is_final() {
        let wanted = Wanted { name: Some("x"), ..wanted() };
        let mut account = Account::default();
        let replace = account.next(&wanted, "1").expect("a step");
        account.ask(replace.clone(), "1");
        account.hear(&replace, 404, None, &wanted);
        assert_eq!(account.next(&wanted, "1"), Err(Left::NextSession));
        let add = account.next(&wanted, "2").expect("a step");
        assert_eq!(add, Step::Add { node: "./DMAcc/x".into(), below: "Ext/V/ProtoVer".into(), value: "1.3".into() });
        account.ask(add.clone(), "2");
        account.hear(&add, 500, None, &wanted);
        assert_eq!(account.next(&wanted, "3"), Err(Left::Refused(500)));
        // Another version is another matter.
        let other = Wanted { value: "1.4", ..wanted };
        assert!(matches!(account.next(&other, "3"), Ok(Step::Replace { .. })));
    }

    #[test]
    fn who_does_not_answer_is_never_asked_again() {
        let (log, left) = asked(&wanted(), &|_| None);
        assert_eq!((log.len(), left), (1, Left::Unanswered));
    }

    #[test]
    fn an_answer_to_something_else_changes_nothing() {
        let mut account = Account::default();
        let list = account.next(&wanted(), "1").expect("a step");
        account.ask(list, "1");
        let before = account.clone();
        account.hear(&Step::Replace { uri: "./a".into(), value: "1".into() }, 200, None, &wanted());
        assert_eq!(account, before);
    }
}
