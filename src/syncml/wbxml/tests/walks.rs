//! Walks through messages that are cut, damaged or absurd, and what edits leave behind.

use super::*;

#[test]
fn every_truncation_is_noticed() {
    let raw = package_1();
    for end in 0..raw.len() {
        assert!(problem(&raw[..end]).is_some(), "cut at {end}");
    }
}

#[test]
fn twenty_thousand_page_switches_are_too_many() {
    let switches = b"\x00\x01".repeat(20_000);
    let raw = message(PROLOGUE, &[DTD, PROTO, IDS, TARGET, SOURCE], &[&switches, BODY]);
    assert_eq!(problem(&raw), Some(Problem::TooLarge));
    let raw = message(&[PROLOGUE, &switches].concat(), &[DTD, PROTO, IDS, TARGET, SOURCE], &[BODY]);
    assert_eq!(problem(&raw), Some(Problem::TooLarge));
    let few = [b"\x00\x01".repeat(7), b"\x00\x00".to_vec()].concat();
    assert_eq!(problem(&message(PROLOGUE, &[DTD, PROTO, IDS, TARGET, SOURCE, &few], &[BODY])), None);
}

#[test]
fn a_long_string_looked_up_again_and_again_is_too_much() {
    let table = vec![b'x'; 30_000];
    let start = [b"\x02\xA4\x01\x6A\x81\xEA\x30".as_slice(), &table, b"\x6D\x6C"].concat();
    let again = [b"\x6B\x54\x4F".as_slice(), &b"\x83\x00".repeat(100_000), b"\x01\x01\x01"].concat();
    let raw = message(&start, &[DTD, PROTO, IDS, TARGET, SOURCE], &[&again]);
    assert_eq!(problem(&raw), Some(Problem::TooLarge));
}

#[test]
fn what_is_added_leaves_the_code_page_as_it_was() {
    let raw = package_1();
    let edits = hint::header_meta(&raw, &indexed(&raw), Version::DM_1_3).unwrap();
    let with = edits.apply(&raw.into());
    let index = indexed(&with);
    assert_eq!(check(&with, &index), Ok(()));
    // Meta ends in page 1, where EMI is: no switch is needed.
    let emi = [b"\x4C\x035000\0\x01".as_slice(), b"\x46\x03DM-Recommended-Version=DM/1.3\0\x01\x01\x00\x00\x01\x6B"].concat();
    assert!(with.windows(emi.len()).any(|bytes| bytes == emi));

    // Without Meta, and with an empty one, also with attributes.
    for (meta, expected) in [
        (b"".as_slice(), b"\x5A\x00\x01\x46\x03DM-Recommended-Version=DM/1.3\0\x01\x01\x00\x00\x01\x6B".as_slice()),
        (b"\x1A", b"\x5A\x00\x01\x46\x03DM-Recommended-Version=DM/1.3\0\x01\x01\x00\x00\x01\x6B"),
        (b"\x9A\x05\x01", b"\xDA\x05\x01\x00\x01\x46\x03DM-Recommended-Version=DM/1.3\0\x01\x01\x00\x00\x01\x6B"),
    ] {
        let raw = message(PROLOGUE, &[DTD, PROTO, IDS, TARGET, SOURCE, meta], &[BODY]);
        let with = hint::header_meta(&raw, &indexed(&raw), Version::DM_1_3).unwrap().apply(&raw.into());
        assert!(with.windows(expected.len()).any(|bytes| bytes == expected), "{meta:02x?}");
        assert_eq!(check(&with, &indexed(&with)), Ok(()));
    }
}

#[test]
fn what_is_dropped_leaves_the_code_page_as_it_was() {
    // A Correlator is new in 1.2; here a switch to page 1 hides in it, for the Type behind it.
    let body: &[u8] = b"\x6B\x51\x4B\x031\0\x01\x7C\x03c\0\x00\x01\x01\x53\x03x\0\x01\x00\x00\x01\x12\x01";
    let raw = message(PROLOGUE, &[DTD, PROTO, IDS, TARGET, SOURCE], &[body]);
    let down = bridged(&raw, Version::DM_1_2, Version::DM_1_1, Own::default());
    let dropped: &[u8] = b"\x6B\x51\x4B\x031\0\x01\x00\x01\x53\x03x\0\x01\x00\x00\x01\x12\x01\x01";
    assert!(down.ends_with(dropped), "{down:02x?}");
    assert_eq!(check(&down, &indexed(&down)), Ok(()));
}

#[test]
fn both_encodings_give_the_same_steps() {
    const XML: &str = concat!(
        r#"<SyncML xmlns="SYNCML:SYNCML1.2"><SyncHdr><VerDTD>1.2</VerDTD><VerProto>DM/1.2</VerProto><SessionID>07</SessionID>"#,
        r#"<MsgID>1</MsgID><Target><LocURI>http://dm.example/</LocURI></Target><Source><LocURI>IMEI:1</LocURI><LocName>user</LocName>"#,
        r#"</Source><Meta><MaxMsgSize xmlns="syncml:metinf">5000</MaxMsgSize></Meta></SyncHdr><SyncBody><Alert><CmdID>1</CmdID>"#,
        r#"<Data>1201</Data></Alert><Final/></SyncBody></SyncML>"#,
    );
    let raw = package_1();
    assert_eq!(steps(Encoding::Wbxml, &raw), steps(Encoding::Xml, XML.as_bytes()));
}

/// The steps of a walk without their places, with the depth behind each.
fn steps(encoding: Encoding, raw: &[u8]) -> Vec<(String, usize)> {
    let index = scan_as(encoding, raw).unwrap();
    let mut walk = Walk::document(encoding, raw).unwrap();
    let mut out = Vec::new();
    while let Some(step) = walk.step().unwrap() {
        let text = match step {
            Step::Start { element, empty, .. } => format!("<{}{}>", element.name(), if empty { "/" } else { "" }),
            Step::Text(field) => index.text(raw, field).into_owned(),
            Step::End { element, .. } => format!("</{}>", element.name()),
        };
        out.push((text, walk.depth()));
    }
    out
}

/// What a writer is told.
#[derive(Clone, Debug)]
enum Told {
    Open(Element),
    Leaf(Element, String),
    Empty(Element),
    Close,
}

fn told() -> impl Strategy<Value = Vec<Told>> {
    let element = || proptest::sample::select(Element::ALL);
    let one = prop_oneof![
        element().prop_map(Told::Open),
        (element(), "\\PC{1,12}|[a-z\0]{1,9}x").prop_map(|(element, text)| Told::Leaf(element, text)),
        element().prop_map(Told::Empty),
        Just(Told::Close),
    ];
    proptest::collection::vec(one, 0..60)
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(told in told()) {
        let raw = package_1();
        let index = indexed(&raw);
        let mut writer = write::Writer::document(&raw, &index, None);
        let mut expected = vec![("<SyncML>".to_owned(), 1)];
        let mut open = vec![Element::SyncML];
        writer.open(Element::SyncML);
        let close = |writer: &mut write::Writer, open: &mut Vec<Element>, expected: &mut Vec<(String, usize)>| {
            writer.close();
            let element = open.pop().unwrap();
            expected.push((format!("</{}>", element.name()), open.len()));
        };
        for told in told {
            match told {
                Told::Open(element) if open.len() < limits::DEPTH - 1 => {
                    writer.open(element);
                    open.push(element);
                    expected.push((format!("<{}>", element.name()), open.len()));
                }
                Told::Leaf(element, text) => {
                    writer.leaf(element, &text);
                    expected.push((format!("<{}>", element.name()), open.len() + 1));
                    expected.push((text, open.len() + 1));
                    expected.push((format!("</{}>", element.name()), open.len()));
                }
                Told::Empty(element) => {
                    writer.empty(element);
                    expected.push((format!("<{}/>", element.name()), open.len() + 1));
                    expected.push((format!("</{}>", element.name()), open.len()));
                }
                Told::Close if open.len() > 1 => close(&mut writer, &mut open, &mut expected),
                Told::Open(_) | Told::Close => {}
            }
        }
        while !open.is_empty() {
            close(&mut writer, &mut open, &mut expected);
        }
        let written = writer.finish();
        let mut walk = Walk::document(Encoding::Wbxml, &written).unwrap();
        let mut found = Vec::new();
        while let Some(step) = walk.step().unwrap() {
            let text = match step {
                Step::Start { element, empty, .. } => format!("<{}{}>", element.name(), if empty { "/" } else { "" }),
                Step::Text(field) => index.text(&written, field).into_owned(),
                Step::End { element, .. } => format!("</{}>", element.name()),
            };
            found.push((text, walk.depth()));
        }
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn no_bytes_make_it_panic(raw in proptest::collection::vec(any::<u8>(), 0..300)) {
        exercise(&raw);
        exercise(&[PROLOGUE, &raw].concat());
        exercise(&[&package_1()[..], &raw].concat());
    }

    #[test]
    fn no_changed_byte_makes_it_panic(at in 0usize..200, byte: u8, more in any::<proptest::sample::Index>(), other: u8) {
        let mut raw = package_1();
        let len = raw.len();
        raw[at % len] = byte;
        raw[more.index(len)] = other;
        exercise(&raw);
    }
}

/// Everything that reads or edits a message.
fn exercise(raw: &[u8]) {
    let _ = (listing(raw), dump(raw));
    let Ok(index) = scan_as(Encoding::Wbxml, raw) else { return };
    let fields: [Field; 6] = [index.ver_dtd, index.ver_proto, index.session_id, index.msg_id, index.target, index.source];
    for field in fields {
        assert!(index.text(raw, field).len() <= 4 * raw.len() * raw.len().max(16));
        let mut edits = Edits::new();
        assert!(edits.replace(field.place, value(raw, &prologue_of(&index), field, "DM/1.3")));
        let edited = edits.apply(&Bytes::copy_from_slice(raw));
        let again = indexed(&edited);
        let place = |index: &HeaderIndex| {
            let texts = [index.ver_dtd, index.ver_proto, index.session_id, index.msg_id, index.target, index.source];
            texts.iter().position(|other| index.text(&edited, *other) == "DM/1.3").is_some()
        };
        assert!(place(&again), "the value is there");
    }
    let (from, to) = (forms(Version::DM_1_2), forms(Version::DM_1_1));
    let crossing = Crossing { from: &from, to: &to, lossy: true, own: Own::default() };
    if let Ok(bridged) = bridge(raw, &index, &crossing) {
        let after = bridged.edits.apply(&Bytes::copy_from_slice(raw));
        let index = indexed(&after);
        assert_eq!(index.text(&after, index.ver_proto), "DM/1.1");
    }
    let whole = check(raw, &index);
    if let Some(edits) = hint::header_meta(raw, &index, Version::DM_1_3) {
        let after = edits.apply(&Bytes::copy_from_slice(raw));
        assert_eq!(check(&after, &indexed(&after)).is_ok(), whole.is_ok());
    }
    let _ = started_by(raw, &index);
}
