use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::{
    reference::{Document, Node, document::Header},
    session::{Injection, Step},
    syncml::{self, version::Version},
};

fn answer(name: &str, cmd_id: &str, msg_ref: &str, cmd_ref: &str, data: &str) -> Node {
    let mut children = vec![Node::leaf("CmdID", cmd_id), Node::leaf("MsgRef", msg_ref), Node::leaf("CmdRef", cmd_ref)];
    if name == "Results" {
        let format = Node::new("Meta", vec![Node::leaf("Format", "chr")]);
        children.push(Node::new("Item", vec![Node::location("Source", "./DMAcc"), format, Node::leaf("Data", data)]));
    } else {
        children.extend([Node::leaf("Cmd", if cmd_ref == "0" { "SyncHdr" } else { "Get" }), Node::leaf("Data", data)]);
    }
    Node::new(name, children)
}

fn message(number: u32, commands: &[Node], last: bool, form: Form) -> Bytes {
    let header = Header { session: "5", message: number, target: "http://a/", source: "IMEI:1", ..Header::default() };
    let mut document = Document::new(Version::DM_1_2, &header, commands.to_vec());
    if !last && let Some(body) = document.root.children.last_mut() {
        body.children.pop();
    }
    match form {
        Form::Wbxml => document.write(Encoding::Wbxml).into(),
        Form::Xml => document.write(Encoding::Xml).into(),
        Form::Pretty => {
            String::from_utf8(document.write(Encoding::Xml)).expect("UTF-8").replace("><", ">\r\n  <").into_bytes().into()
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Xml,
    Pretty,
    Wbxml,
}

impl Form {
    const ALL: [Self; 3] = [Self::Xml, Self::Pretty, Self::Wbxml];

    fn encoding(self) -> Encoding {
        if self == Self::Wbxml { Encoding::Wbxml } else { Encoding::Xml }
    }
}

fn injection(answer: &str, ids: &[&str], step: Step) -> Injection {
    Injection {
        request: "1".into(),
        digest: String::new(),
        at: 0,
        answer: answer.into(),
        ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        step,
        status: None,
        data: None,
        heard: false,
    }
}

fn list() -> Step {
    Step::List { root: "./DMAcc".into() }
}

/// What is left of a message.
fn left(raw: &Bytes, form: Form, injected: &mut Injected) -> (Bytes, Stripped) {
    let index = syncml::scan(form.encoding(), raw).expect("a header");
    let stripped = strip(raw, &index, injected).expect("readable");
    (stripped.edits.apply(raw), stripped)
}

#[test]
fn status_and_results_go_and_everything_else_stays() {
    for form in Form::ALL {
        let header = answer("Status", "1", "4", "0", "200");
        let theirs = answer("Status", "2", "4", "2", "200");
        let (status, results) = (answer("Status", "3", "4", "9", "200"), answer("Results", "4", "4", "9", "x1/test"));
        let other_message = answer("Status", "5", "3", "9", "404");
        let all = message(2, &[header.clone(), theirs.clone(), status, results, other_message.clone()], true, form);
        let mut injected = Injected::new(String::new(), None);
        injected.list.push(injection("4", &["9"], list()));
        let (bytes, stripped) = left(&all, form, &mut injected);
        assert_eq!(bytes, message(2, &[header, theirs, other_message], true, form), "{form:?}");
        assert!(stripped.last && !stripped.empty);
        let heard = &injected.list[0];
        assert_eq!((heard.status, heard.data.as_deref()), (Some(200), Some("x1/test")), "{form:?}");
    }
}

#[test]
fn a_message_of_nothing_else_is_empty() {
    for form in Form::ALL {
        for last in [true, false] {
            let header = answer("Status", "1", "4", "0", "200");
            let both = message(2, &[header.clone(), answer("Status", "2", "4", "7", "404")], last, form);
            let mut injected = Injected::new(String::new(), None);
            injected.list.push(injection("4", &["6", "7"], list()));
            let (bytes, stripped) = left(&both, form, &mut injected);
            assert_eq!(bytes, message(2, std::slice::from_ref(&header), last, form));
            assert_eq!((stripped.empty, stripped.last), (true, last));
            // Without anything of ours it is as the device wants it.
            let (_, stripped) = left(&message(2, &[header], last, form), form, &mut injected);
            assert!(!stripped.empty && stripped.edits.is_empty());
        }
    }
}

#[test]
fn of_several_commands_the_last_one_counts() {
    let step = Step::Add { node: "./DMAcc/x".into(), below: "Ext/V".into(), value: "1".into() };
    let commands = [answer("Status", "2", "4", "8", "200"), answer("Status", "3", "4", "7", "418")];
    let mut injected = Injected::new(String::new(), None);
    injected.list.push(injection("4", &["7", "8"], step));
    left(&message(2, &commands, true, Form::Xml), Form::Xml, &mut injected);
    assert_eq!(injected.list[0].status, Some(200));
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let all = message(2, &[answer("Status", "1", "4", "0", "200")], true, Form::Xml);
    let index = syncml::scan(Encoding::Xml, &all).expect("a header");
    assert!(strip(&all[..all.len() - 12], &index, &mut Injected::new(String::new(), None)).is_err());
}

/// CmdIDs as clients write them.
fn cmd_id() -> impl Strategy<Value = String> {
    prop_oneof![
        (1u32..2000).prop_map(|number| number.to_string()),
        "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}",
        Just(u64::MAX.to_string()),
    ]
}

proptest! {
    /// Arbitrary sessions: commands of several messages, answers shuffled and split over messages, CmdIDs
    /// of any form. What is left is byte for byte what a device would have sent that was asked nothing.
    #[test]
    fn the_stripped_stream_is_the_one_without(
        form in select(&Form::ALL[..]),
        theirs in vec((cmd_id(), any::<bool>()), 0..12),
        ours in vec((any::<bool>(), any::<prop::sample::Index>()), 1..4),
        cuts in vec(any::<prop::sample::Index>(), 0..4),
        ids in vec(cmd_id(), 40),
    ) {
        let mut injected = Injected::new(String::new(), None);
        // `(the answer, whether it is ours)`; each injection is in a message of its own.
        let mut answers: Vec<(Node, bool)> = Vec::new();
        let mut ids = ids.into_iter();
        let mut id = || ids.next().unwrap_or_else(|| "1".to_owned());
        for (number, (cmd_ref, with_results)) in theirs.iter().enumerate() {
            let msg_ref = (number % 3 + 1).to_string();
            answers.push((answer("Status", &id(), &msg_ref, &format!("s{cmd_ref}"), "200"), false));
            if *with_results {
                answers.push((answer("Results", &id(), &msg_ref, &format!("s{cmd_ref}"), "v"), false));
            }
        }
        for (number, (with_results, at)) in ours.iter().enumerate() {
            let (msg_ref, cmd_ref) = ((number + 1).to_string(), format!("{}", 900 + number));
            injected.list.push(injection(&msg_ref, &[&cmd_ref], list()));
            let at = at.index(answers.len() + 1);
            answers.insert(at, (answer("Status", &id(), &msg_ref, &cmd_ref, "200"), true));
            if *with_results {
                let at = at + (cmd_ref.len() % (answers.len() - at + 1));
                answers.insert(at, (answer("Results", &id(), &msg_ref, &cmd_ref, "names"), true));
            }
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(answers.len() + 1)).collect();
        cuts.extend([0, answers.len()]);
        cuts.sort_unstable();
        for (number, bounds) in cuts.windows(2).enumerate() {
            let last = bounds[1] == answers.len();
            let header = (answer("Status", "1", "4", "0", "200"), false);
            let chunk: Vec<(Node, bool)> = std::iter::once(header).chain(answers[bounds[0]..bounds[1]].iter().cloned()).collect();
            let all: Vec<Node> = chunk.iter().map(|(node, _)| node.clone()).collect();
            let without: Vec<Node> = chunk.iter().filter(|(_, ours)| !ours).map(|(node, _)| node.clone()).collect();
            let number = u32::try_from(number).unwrap() + 2;
            let (bytes, stripped) = left(&message(number, &all, last, form), form, &mut injected);
            prop_assert_eq!(&bytes, &message(number, &without, last, form));
            prop_assert_eq!(stripped.empty, without.len() == 1 && all.len() > 1);
            prop_assert_eq!(stripped.last, last);
        }
        for (one, (with_results, _)) in injected.list.iter().zip(&ours) {
            prop_assert_eq!(one.status, Some(200));
            prop_assert_eq!(one.data.is_some(), *with_results);
        }
    }

    #[test]
    fn nothing_makes_it_panic(form in select(&Form::ALL[..]), at in any::<prop::sample::Index>(), byte: u8) {
        let commands = [answer("Status", "1", "4", "0", "200"), answer("Status", "2", "4", "7", "404"), answer("Results", "3", "4", "7", "x")];
        let mut raw = message(2, &commands, true, form).to_vec();
        let at = at.index(raw.len());
        raw[at] = byte;
        let raw = Bytes::from(raw);
        if let Ok(index) = syncml::scan(form.encoding(), &raw) {
            let mut injected = Injected::new(String::new(), None);
            injected.list.push(injection("4", &["7"], list()));
            if let Ok(stripped) = strip(&raw, &index, &mut injected) {
                prop_assert!(stripped.edits.apply(&raw).len() <= raw.len());
            }
        }
    }
}
