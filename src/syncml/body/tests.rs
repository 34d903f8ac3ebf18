//! Holds skimming against a walk step by step.

use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::syncml::{
    answer::{aborts, answer},
    bridge::{Crossing, Obstacle, Own, bridge},
    check,
    edit::Edits,
    hint, scan, started_by,
    version::{Family, Version, VersionTable},
    write::Writer,
};

/// The steps of a walk, with how many elements are open behind each and the code page in force there.
struct Steady {
    steps: Vec<(Step, usize, u8)>,
    at: usize,
    path: Vec<Element>,
}

impl Steady {
    fn next(&mut self) -> (Step, usize, u8) {
        let is = self.steps[self.at];
        match is.0 {
            Step::Start { element, .. } => self.path.push(element),
            Step::End { .. } => _ = self.path.pop(),
            Step::Text(_) => {}
        }
        self.at += 1;
        is
    }

    /// Passes the texts and Ends that skimming may pass without a word.
    fn catch_up(&mut self, open: usize, until: impl Fn((Step, usize, u8)) -> bool) {
        while self.at < self.steps.len() && !until(self.steps[self.at]) {
            match self.next() {
                (Step::Text(_), depth, _) => assert!(depth > open),
                (Step::End { .. }, depth, _) => assert!(depth >= open),
                (Step::Start { .. }, ..) => panic!("an element was not shown"),
            }
        }
    }
}

/// Walks that go the quick way where they may, each taking all but one kind of element, beside one that goes step by
/// step. How many elements they passed whole.
pub(in crate::syncml) fn skimming_shows_the_same<S: Steps>(mut slow: S, quick: impl Fn() -> S) -> usize {
    let mut steps = Vec::new();
    let end = loop {
        match slow.step() {
            Ok(Some(step)) => steps.push((step, slow.depth(), slow.page())),
            end => break end,
        }
    };
    let mut passed = 0;
    for not in [Element::Other, Element::SyncML, Element::SyncHdr, Element::Data] {
        let mut steady = Steady { steps: steps.clone(), at: 0, path: Vec::new() };
        let mut cursor = quick();
        loop {
            let open = cursor.depth();
            cursor.skim(|plain| {
                steady.catch_up(open, |(step, ..)| matches!(step, Step::Start { .. }));
                assert_eq!(steady.path.last().copied().unwrap_or(Element::Other), plain.outer);
                let Plain { element, depth, leaf, .. } = plain;
                let (step, at, _) = steady.steps[steady.at];
                assert!(matches!(step, Step::Start { element: is, empty: false, .. } if (is, at) == (element, depth)));
                if element == not {
                    return false;
                }
                steady.next();
                if let Some(Leaf { field, end, page }) = leaf {
                    passed += 1;
                    assert!(!field.text.is_empty());
                    let (step, at, _) = steady.next();
                    assert_eq!((step, at), (Step::Text(field), depth));
                    assert_eq!(steady.next(), (Step::End { element, tag: end }, depth - 1, page));
                }
                true
            });
            let step = cursor.step();
            let is = step.ok().flatten().map(|step| (step, cursor.depth(), cursor.page()));
            steady.catch_up(open, |step| Some(step) == is);
            if is.is_none() {
                assert_eq!((step, steady.at), (end, steady.steps.len()));
                break;
            }
            assert_eq!(is, Some(steady.next()));
            assert_eq!(steady.path.last().copied().unwrap_or(Element::Other), cursor.open(cursor.depth()));
        }
    }
    passed
}

/// What a body is made of: something to open, to close, or an element with a text.
#[derive(Clone, Debug)]
enum Part {
    Open(Element),
    Leaf(Element, &'static str),
    Empty(Element),
    Close,
}

/// What the readers look for, and a little else.
fn part() -> impl Strategy<Value = Part> {
    use Element::{
        Add, Alert, Atomic, Chal, Cmd, CmdID, CmdRef, Correlator, Data, Final, Item, Meta, Move, Source, SourceParent, Status,
        Type,
    };
    let text = select(vec![
        "0",
        "1",
        "200",
        "513",
        "1200",
        "1201",
        "1223",
        "1226",
        "SyncHdr",
        "Alert",
        "DM/1.2",
        "DM/1.3",
        "1.1",
        "application/vnd.syncml.dmtnds+xml",
        " 1226 ",
        "a &amp; <b>",
        "\u{e9}",
    ]);
    prop_oneof![
        4 => select(vec![Status, Alert, Add, Atomic, Item, Meta, Chal, Move, Correlator, Source]).prop_map(Part::Open),
        6 => (select(vec![CmdID, CmdRef, Cmd, Data, Type, Correlator, SourceParent, Meta]), text).prop_map(|(at, text)| Part::Leaf(at, text)),
        1 => select(vec![Final, Item, Data, Status, Meta, Chal]).prop_map(Part::Empty),
        4 => Just(Part::Close),
    ]
}

/// A message with a body, in the encoding of another.
fn written(like: &[u8], encoding: Encoding, body: &[Part]) -> Vec<u8> {
    let index = scan(encoding, like).unwrap();
    let mut writer = Writer::document(like, &index, None);
    writer.open(Element::SyncML);
    writer.open(Element::SyncHdr);
    for (element, text) in
        [(Element::VerDTD, "1.2"), (Element::VerProto, "DM/1.2"), (Element::SessionID, "1"), (Element::MsgID, "1")]
    {
        writer.leaf(element, text);
    }
    for element in [Element::Target, Element::Source] {
        writer.open(element);
        writer.leaf(Element::LocURI, "IMEI:1");
        writer.close();
    }
    writer.close();
    writer.open(Element::SyncBody);
    let mut depth = 0;
    for part in body {
        match part {
            Part::Open(element) => writer.open(*element),
            Part::Leaf(element, text) => writer.leaf(*element, text),
            Part::Empty(element) => writer.empty(*element),
            Part::Close if depth > 0 => writer.close(),
            Part::Close => {}
        }
        depth = match part {
            Part::Open(_) => depth + 1,
            Part::Close => usize::saturating_sub(depth, 1),
            Part::Leaf(..) | Part::Empty(_) => depth,
        };
    }
    for _ in 0..depth + 2 {
        writer.close();
    }
    writer.finish()
}

/// The elements and texts of a message, as far as it can be read.
fn content(encoding: Encoding, raw: &[u8]) -> String {
    let index = scan(encoding, raw).unwrap();
    let mut cursor = Cursor::body(raw, &index).unwrap();
    let mut content = String::new();
    while let Ok(Some(step)) = cursor.step() {
        content += &match step {
            Step::Start { element, .. } => format!("<{}>", element.name()),
            Step::Text(field) => index.text(raw, field).into_owned(),
            Step::End { element, .. } => format!("</{}>", element.name()),
        };
    }
    content
}

/// All that is read of a message behind SyncHdr, and what is made of it, but for where it stands.
fn read(encoding: Encoding, raw: &[u8]) -> String {
    let index = scan(encoding, raw).unwrap();
    let whole = Bytes::copy_from_slice(raw);
    let edited = |edits: &Edits| content(encoding, &edits.apply(&whole));
    let table = VersionTable::default();
    let forms = |version| table.get(version).unwrap();
    let crosses = [false, true].map(|lossy| {
        let crossing = Crossing { from: forms(Version::DM_1_2), to: forms(Version::DM_1_1), lossy, own: Own::default() };
        match bridge(raw, &index, &crossing) {
            Ok(bridged) => {
                let dropped = bridged.names.iter().filter(|name| name.contains(':')).map(ToString::to_string);
                dropped.chain([edited(&bridged.edits)]).collect()
            }
            Err(Obstacle::Element { name, command, status, .. }) => vec![format!("{name} {command:?} {status:?}")],
            Err(Obstacle::Malformed(malformed)) => vec![format!("{:?}", malformed.problem)],
        }
    });
    let hint = hint::status_item(raw, &index, Version::DM_1_3).map(|edits| edited(&edits));
    let (answer, abort, by) = (answer(raw, &index, Family::Dm), aborts(raw, &index), started_by(raw, &index));
    format!("{crosses:?} {hint:?} {answer:?} {abort} {by:?} {:?}", check(raw, &index))
}

proptest! {
    #[test]
    fn both_encodings_of_a_message_say_the_same(body in vec(part(), 0..40)) {
        const LIKE: &str = "<SyncML xmlns=\"SYNCML:SYNCML1.2\"><SyncHdr><VerDTD>1.2</VerDTD><VerProto>DM/1.2</VerProto><SessionID>1\
            </SessionID><MsgID>1</MsgID><Target><LocURI>a</LocURI></Target><Source><LocURI>b</LocURI></Source></SyncHdr></SyncML>";
        const BINARY: &[u8] = b"\x02\xA4\x01\x6A\x00\x6D\x6C\x71\x031.2\0\x01\x72\x03DM/1.2\0\x01\x65\x031\0\x01\x5B\x031\0\x01\
            \x6E\x57\x03a\0\x01\x01\x67\x57\x03b\0\x01\x01\x01\x01";
        let xml = written(LIKE.as_bytes(), Encoding::Xml, &body);
        let wbxml = written(BINARY, Encoding::Wbxml, &body);
        prop_assert_eq!(read(Encoding::Xml, &xml), read(Encoding::Wbxml, &wbxml), "{}", String::from_utf8_lossy(&xml));
    }
}
