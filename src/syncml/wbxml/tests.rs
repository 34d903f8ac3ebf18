//! Fixtures are written by hand, byte by byte, from the token tables.

mod skim;
mod walks;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::syncml::{
    alert::StartedBy,
    body::{Cursor as Walk, Step, Steps},
    bridge::{Crossing, Own, bridge},
    check,
    edit::Edits,
    element::Element,
    header::{Field, Form, PublicId},
    hint, scan as scan_as, started_by,
    version::{Forms, Version, VersionTable},
    write,
};

/// A message with these bytes before SyncHdr, SyncHdr and body; without its last END.
fn message(prologue: &[u8], header: &[&[u8]], body: &[&[u8]]) -> Vec<u8> {
    let mut out = prologue.to_vec();
    header.iter().for_each(|part| out.extend_from_slice(part));
    out.push(0x01);
    body.iter().for_each(|part| out.extend_from_slice(part));
    out.push(0x01);
    out
}

/// What it is, what stands before SyncHdr, VerProto before and after.
type Case = (&'static str, &'static [u8], &'static [u8], &'static [u8]);

/// WBXML 1.2, SyncML 1.2, UTF-8, no string table; root and SyncHdr open.
const PROLOGUE: &[u8] = b"\x02\xA4\x01\x6A\x00\x6D\x6C";
const DTD: &[u8] = b"\x71\x031.2\0\x01";
const PROTO: &[u8] = b"\x72\x03DM/1.2\0\x01";
const IDS: &[u8] = b"\x65\x0307\0\x01\x5B\x031\0\x01";
const TARGET: &[u8] = b"\x6E\x57\x03http://dm.example/\0\x01\x01";
const SOURCE: &[u8] = b"\x67\x57\x03IMEI:1\0\x01\x56\x03user\0\x01\x01";
const META: &[u8] = b"\x5A\x00\x01\x4C\x035000\0\x01\x01\x00\x00";
/// SyncBody with an Alert 1201 and Final.
const BODY: &[u8] = b"\x6B\x46\x4B\x031\0\x01\x4F\x031201\0\x01\x01\x12\x01";

fn package_1() -> Vec<u8> {
    message(PROLOGUE, &[DTD, PROTO, IDS, TARGET, SOURCE, META], &[BODY])
}

/// Package 1 with other bytes for VerProto.
fn with_proto(prologue: &[u8], proto: &[u8]) -> Vec<u8> {
    message(prologue, &[DTD, proto, IDS, TARGET, SOURCE, META], &[BODY])
}

fn indexed(raw: &[u8]) -> HeaderIndex {
    scan_as(Encoding::Wbxml, raw).unwrap()
}

fn forms(version: Version) -> Forms {
    VersionTable::default().get(version).cloned().unwrap()
}

fn prologue_of(index: &HeaderIndex) -> WbxmlPrologue {
    match index.prologue {
        Prologue::Wbxml(prologue) => prologue,
        Prologue::Xml(_) => panic!("not WBXML"),
    }
}

fn problem(raw: &[u8]) -> Option<Problem> {
    let index = match scan_as(Encoding::Wbxml, raw) {
        Err(malformed) => return Some(malformed.problem),
        Ok(index) => index,
    };
    check(raw, &index).err().map(|malformed| malformed.problem)
}

/// The message taken from one version to another.
fn bridged(raw: &[u8], from: Version, to: Version, own: Own<'_>) -> Vec<u8> {
    let (from, to) = (forms(from), forms(to));
    let crossing = Crossing { from: &from, to: &to, lossy: true, own };
    bridge(raw, &indexed(raw), &crossing).unwrap().edits.apply(&Bytes::copy_from_slice(raw)).to_vec()
}

#[test]
fn every_field_of_the_header_is_found() {
    let raw = package_1();
    let index = indexed(&raw);
    let texts = [
        (index.ver_dtd, "1.2"),
        (index.ver_proto, "DM/1.2"),
        (index.session_id, "07"),
        (index.msg_id, "1"),
        (index.target, "http://dm.example/"),
        (index.source, "IMEI:1"),
        (index.source_name.unwrap(), "user"),
        (index.max_msg_size.unwrap(), "5000"),
    ];
    for (field, text) in texts {
        assert_eq!((&*index.text(&raw, field), field.form), (text, Form::Literal));
    }
    assert_eq!(prologue_of(&index).public_id, PublicId::Number { value: 0x1201, place: Span::new(1..3) });
    assert_eq!((prologue_of(&index).version, prologue_of(&index).charset), (2, 106));
    let meta = index.meta.unwrap();
    assert_eq!((meta.page, meta.empty, raw[meta.span.range().start]), (1, false, 0x01), "Meta ends in page 1");
    assert_eq!((index.header.page, raw[index.header.span.range().start]), (0, 0x01));
    assert_eq!(raw[index.body as usize], 0x6B);
    assert_eq!(started_by(&raw, &index).map(StartedBy::code), Some("client"));
    assert_eq!(check(&raw, &index), Ok(()));
    assert!(index.editable() && !index.no_resp);
}

#[test]
fn every_form_of_a_value_is_read_and_replaced() {
    const TABLE: &[u8] = b"\x02\xA4\x01\x6A\x10DM/1.2\0xDM/\0/1.2\x6D\x6C";
    let cases: [(Form, Case); 13] = [
        (
            Form::WbxmlMixed,
            ("a switch there and behind", PROLOGUE, b"\x72\x03DM/\0\0\x01\x031.2\0\0\0\x01", b"\x72\x03DM/1.1\0\0\0\x01"),
        ),
        (
            Form::WbxmlMixed,
            ("a switch between two pieces", PROLOGUE, b"\x72\x03DM/\0\0\x01\0\0\x031.2\0\x01", b"\x72\x03DM/1.1\0\0\0\x01"),
        ),
        (Form::Literal, ("STR_I", PROLOGUE, b"\x72\x03DM/1.2\0\x01", b"\x72\x03DM/1.1\0\x01")),
        (Form::WbxmlTable, ("STR_T", TABLE, b"\x72\x83\x00\x01", b"\x72\x03DM/1.1\0\x01")),
        (Form::WbxmlTable, ("STR_T with a padded index", TABLE, b"\x72\x83\x80\x80\x00\x01", b"\x72\x03DM/1.1\0\x01")),
        (Form::WbxmlOpaque, ("OPAQUE", PROLOGUE, b"\x72\xC3\x06DM/1.2\x01", b"\x72\xC3\x06DM/1.1\x01")),
        (
            Form::WbxmlOpaque,
            ("OPAQUE with a padded length", PROLOGUE, b"\x72\xC3\x80\x06DM/1.2\x01", b"\x72\xC3\x80\x06DM/1.1\x01"),
        ),
        (Form::WbxmlOpaque, ("OPAQUE with its NUL", PROLOGUE, b"\x72\xC3\x07DM/1.2\0\x01", b"\x72\xC3\x07DM/1.1\0\x01")),
        (Form::WbxmlMixed, ("two inline strings", PROLOGUE, b"\x72\x03DM/\0\x031.2\0\x01", b"\x72\x03DM/1.1\0\x01")),
        (Form::WbxmlMixed, ("entity", PROLOGUE, b"\x72\x03DM/1\0\x02\x2E\x032\0\x01", b"\x72\x03DM/1.1\0\x01")),
        (Form::WbxmlMixed, ("table to its end, without NUL", TABLE, b"\x72\x83\x08\x83\x0D\x01", b"\x72\x03DM/1.1\0\x01")),
        (Form::WbxmlMixed, ("empty string and the rest", PROLOGUE, b"\x72\x03\0\xC3\x06DM/1.2\x01", b"\x72\x03DM/1.1\0\x01")),
        (
            Form::Literal,
            (
                "switches and an instruction around",
                PROLOGUE,
                b"\x72\0\0\x43\x05\x01\x03DM/1.2\0\0\0\x01",
                b"\x72\0\0\x43\x05\x01\x03DM/1.1\0\0\0\x01",
            ),
        ),
    ];
    for (form, (what, prologue, before, after)) in cases {
        let raw = with_proto(prologue, before);
        let index = indexed(&raw);
        assert_eq!(&*index.text(&raw, index.ver_proto), "DM/1.2", "{what}");
        assert_eq!(index.ver_proto.form, form, "{what}");
        let mut edits = Edits::new();
        assert!(edits.replace(index.ver_proto.place, value(&raw, &prologue_of(&index), index.ver_proto, "DM/1.1")));
        let edited = edits.apply(&raw.clone().into());
        assert_eq!(edited, with_proto(prologue, after), "{what}");
        let index = indexed(&edited);
        assert_eq!(&*index.text(&edited, index.ver_proto), "DM/1.1", "{what}");
    }
}

#[test]
fn a_value_goes_into_an_element_without_one() {
    let table: &[u8] = b"\x02\xA4\x01\x6A\x08VerProto\x6D\x6C";
    let cases: [Case; 4] = [
        ("token without content", PROLOGUE, b"\x32", b"\x72\x03DM/1.2\0\x01"),
        ("opened and closed", PROLOGUE, b"\x72\x01", b"\x72\x03DM/1.2\0\x01"),
        ("empty string", PROLOGUE, b"\x72\x03\0\x01", b"\x72\x03DM/1.2\0\x01"),
        ("literal without content", table, b"\x04\x00", b"\x44\x00\x03DM/1.2\0\x01"),
    ];
    for (what, prologue, before, after) in cases {
        let raw = with_proto(prologue, before);
        let index = indexed(&raw);
        assert_eq!(&*index.text(&raw, index.ver_proto), "", "{what}");
        let mut edits = Edits::new();
        assert!(edits.replace(index.ver_proto.place, value(&raw, &prologue_of(&index), index.ver_proto, "DM/1.2")));
        assert_eq!(edits.apply(&raw.into()), with_proto(prologue, after), "{what}");
    }
}

#[test]
fn what_stands_before_the_root_is_read() {
    const FPI: &str = "-//SYNCML//DTD SyncML 1.2//EN";
    let text = |version: u8, index: &[u8], charset: &[u8], table: &[u8]| {
        let mut out = vec![version, 0];
        out.extend_from_slice(index);
        out.extend_from_slice(charset);
        integer(&mut out, table.len());
        out.extend_from_slice(table);
        out.extend_from_slice(b"\x6D\x6C");
        out
    };
    let bare = FPI.as_bytes();
    let with_nul = [bare, b"\0"].concat();
    let second = [b"x\0".as_slice(), bare, b"\0y"].concat();
    let cases = [
        ("WBXML 1.0 has no charset", text(0, b"\0", b"", bare), Some(0)),
        ("1.1", text(1, b"\0", b"\x6A", bare), Some(106)),
        ("1.2, with its NUL", text(2, b"\0", b"\x6A", &with_nul), Some(106)),
        ("1.3, US-ASCII", text(3, b"\0", b"\x03", bare), Some(3)),
        ("second in the table", text(2, b"\x02", b"\x6A", &second), Some(106)),
        ("padded integers", text(2, b"\x80\x80\x02", b"\x80\x6A", &second), Some(106)),
        ("Latin-1", text(2, b"\0", b"\x04", bare), Some(4)),
        ("charset unknown", text(2, b"\0", b"\0", bare), Some(0)),
        ("index out of range", text(2, b"\x7F", b"\x6A", bare), None),
        ("UTF-16", text(2, b"\0", b"\x87\x77", bare), None),
        ("WBXML 1.4", text(4, b"\0", b"\x6A", bare), None),
    ];
    for (what, start, charset) in cases {
        let raw = message(&start, &[DTD, PROTO, IDS, TARGET, SOURCE], &[BODY]);
        let index = scan_as(Encoding::Wbxml, &raw);
        assert_eq!(index.ok().map(|index| prologue_of(&index).charset), charset, "{what}");
        let Ok(index) = index else { continue };
        let PublicId::Text { fpi } = prologue_of(&index).public_id else { panic!("{what}: not textual") };
        assert_eq!(fpi.of(&raw), bare, "{what}");
        assert_eq!(index.editable(), charset != Some(4), "{what}");
    }
}

/// A multi-byte integer below 16,384.
fn integer(out: &mut Vec<u8>, value: usize) {
    let value = u8::try_from(value & 0x7F).unwrap();
    out.push(value);
}

#[test]
fn the_root_of_nokia_has_its_name_space_in_an_attribute() {
    let start: &[u8] = b"\x02\xA4\x01\x6A\x00\xED\x04\x00\x03SYNCML:SYNCML1.2\0\x01\x6C";
    let raw = message(start, &[DTD, PROTO, IDS, TARGET, SOURCE], &[BODY]);
    let index = indexed(&raw);
    assert_eq!(prologue_of(&index).xmlns.map(|field| field.text.of(&raw)), Some(b"SYNCML:SYNCML1.2".as_slice()));
    let down = bridged(&raw, Version::DM_1_2, Version::DM_1_1, Own::default());
    let other: &[u8] = b"\x02\x9F\x53\x6A\x00\xED\x04\x00\x03SYNCML:SYNCML1.1\0\x01\x6C";
    assert!(down.starts_with(other));
    assert_eq!(bridged(&down, Version::DM_1_1, Version::DM_1_2, Own::default()), raw);
    let mut answer = Writer::document(&raw, &index, Some(&forms(Version::DM_1_1)));
    answer.open(Element::SyncML);
    answer.empty(Element::SyncHdr);
    answer.close();
    assert_eq!(answer.finish(), b"\x02\x9F\x53\x6A\x00\xED\x04\x00\x03SYNCML:SYNCML1.1\0\x01\x2C\x01");
}

#[test]
fn an_attribute_named_by_the_table_is_read() {
    let start: &[u8] = b"\x03\xA4\x01\x6A\x19id\0xmlns\0syncml:syncml1.2\x6D\x6C";
    for (root, xmlns) in [
        (b"\xED\x04\x03\x83\x09\x01".as_slice(), Some(b"syncml:syncml1.2".as_slice())),
        (b"\xED\x04\x00\x03x\0\x04\x03\x03SYNCML:SYNCML1.2\0\x01", Some(b"SYNCML:SYNCML1.2")),
        (b"\xED\x04\x00\x83\x09\x01", None),
        (b"\xED\x05\x85\x01", None),
        (b"\xED\0\x01\x05\x03x\0\x01", None),
    ] {
        let start = [&start[..start.len() - 2], root, b"\x6C"].concat();
        let raw = message(&start, &[DTD, PROTO, IDS, TARGET, SOURCE], &[BODY]);
        let index = indexed(&raw);
        assert_eq!(prologue_of(&index).xmlns.map(|field| field.text.of(&raw)), xmlns);
    }
}

#[test]
fn a_bridge_there_and_back_gives_the_same_bytes() {
    let fpi = |number: &str| format!("\x1D-//SYNCML//DTD SyncML {number}//EN").into_bytes();
    for (what, prologue, same) in [
        ("number", PROLOGUE.to_vec(), true),
        ("padded number", b"\x02\x80\xA4\x01\x6A\x00\x6D\x6C".to_vec(), true),
        ("text", [b"\x02\0\0\x6A".as_slice(), &fpi("1.2"), b"\x6D\x6C"].concat(), true),
        ("number of the other version", b"\x02\x9F\x53\x6A\x00\x6D\x6C".to_vec(), false),
        ("text of the other version", [b"\x02\0\0\x6A".as_slice(), &fpi("1.1"), b"\x6D\x6C"].concat(), false),
        ("number unknown", b"\x02\x01\x6A\x00\x6D\x6C".to_vec(), true),
    ] {
        let raw = message(&prologue, &[DTD, b"\x72\xC3\x80\x07DM/1.2\0\x01", IDS, TARGET, SOURCE, META], &[BODY]);
        let there = bridged(&raw, Version::DM_1_2, Version::DM_1_1, Own::default());
        let index = indexed(&there);
        assert_eq!((&*index.text(&there, index.ver_dtd), &*index.text(&there, index.ver_proto)), ("1.1", "DM/1.1"));
        assert_eq!(there.len(), raw.len(), "{what}");
        assert_eq!(bridged(&there, Version::DM_1_1, Version::DM_1_2, Own::default()) == raw, same, "{what}");
        let own = Own::of(&raw, &indexed(&raw));
        assert_eq!(bridged(&there, Version::DM_1_1, Version::DM_1_2, own), raw, "{what}: with the receiver's own names");
    }
}

#[test]
fn an_identifier_of_another_length_leaves_every_reference_alone() {
    let table = "-//SYNCML//DTD SyncML 1.2//EN\0DM/1.2\0IMEI:1";
    let start = [b"\x02\0\0\x6A\x2B".as_slice(), table.as_bytes(), b"\x6D\x6C"].concat();
    let raw = message(&start, &[DTD, b"\x72\x83\x1E\x01", IDS, TARGET, b"\x67\x57\x83\x25\x01\x01"], &[BODY]);
    let (from, mut to) = (forms(Version::DM_1_2), forms(Version::DM_1_3));
    to.fpi = "-//OMA//DTD SyncML 1.10//EN".into();
    let crossing = Crossing { from: &from, to: &to, lossy: false, own: Own::default() };
    let edits = bridge(&raw, &indexed(&raw), &crossing).unwrap().edits;
    let after = edits.apply(&raw.into());
    let index = indexed(&after);
    let PublicId::Text { fpi } = prologue_of(&index).public_id else { panic!("not textual") };
    assert_eq!(fpi.of(&after), to.fpi.as_bytes());
    assert_eq!((&*index.text(&after, index.source), &*index.text(&after, index.ver_proto)), ("IMEI:1", "DM/1.3"));
    assert_eq!(check(&after, &index), Ok(()));
}

#[test]
fn versions_are_found_at_their_path_only() {
    // VerDTD of a management tree (page 2) and one behind SyncHdr; a DevInf document as OPAQUE.
    let tree: &[u8] = b"\x5A\x00\x02\x77\x037.7\0\x01\x00\x00\x01";
    let body: &[u8] = b"\x6B\x62\x54\x4F\xC3\x09\x02\xA4\x03\x6A\x00\x4A\x65\x03\x01\x01\x01\x01\x71\x039.9\0\x01\x12\x01";
    let raw = message(PROLOGUE, &[tree, DTD, PROTO, IDS, TARGET, SOURCE], &[body]);
    let index = indexed(&raw);
    assert_eq!(&*index.text(&raw, index.ver_dtd), "1.2");
    assert_eq!(check(&raw, &index), Ok(()));
    // Spelt out, it is the same element: nobody reads another version than we do.
    let spelt: &[u8] = b"\x02\xA4\x01\x6A\x07VerDTD\0\x6D\x6C\x44\0\x031.1\0\x01";
    assert_eq!(problem(&message(spelt, &[DTD, PROTO, IDS, TARGET, SOURCE], &[BODY])), Some(Problem::Duplicate("VerDTD")));
}

#[test]
fn what_is_wrong_is_named() {
    let all = |extra: &[u8]| message(PROLOGUE, &[DTD, PROTO, IDS, TARGET, SOURCE, extra], &[BODY]);
    let body = |body: &[u8]| message(PROLOGUE, &[DTD, PROTO, IDS, TARGET, SOURCE], &[body]);
    let deep = |count: usize| [b"\x6B".repeat(count), b"\x01".repeat(count)].concat();
    let instruction = |len: usize| [b"\x43".as_slice(), &b"\x05".repeat(len), b"\x01"].concat();
    let long = [b"\x61\x03".as_slice(), &b"x".repeat(limits::VALUE + 1), b"\0\x01"].concat();
    let cases: [(&str, Vec<u8>, Problem); 27] = [
        ("nothing", vec![], Problem::Truncated),
        ("a version only", vec![2], Problem::Truncated),
        ("an integer without end", vec![2, 0x80, 0x80], Problem::Truncated),
        ("an integer above 32 bits", b"\x02\xFF\xFF\xFF\xFF\x7F\x6A\x00".to_vec(), Problem::TooLarge),
        ("an integer of padding", [b"\x02".as_slice(), &[0x80; 40]].concat(), Problem::TooLarge),
        ("a table beyond the message", b"\x02\xA4\x01\x6A\x8F\xFF\xFF\xFF\x7F\x6D".to_vec(), Problem::Truncated),
        ("no root", b"\x02\xA4\x01\x6A\x00".to_vec(), Problem::Truncated),
        ("text before the root", b"\x02\xA4\x01\x6A\x00\x03x\0\x6D".to_vec(), Problem::Syntax),
        ("another root", b"\x02\xA4\x01\x6A\x00\x6C\x01".to_vec(), Problem::NotSyncMl),
        ("the root in another page", b"\x02\xA4\x01\x6A\x00\x00\x01\x6D\x6C".to_vec(), Problem::NotSyncMl),
        ("an empty root", b"\x02\xA4\x01\x6A\x00\x2D".to_vec(), Problem::NoSyncHdr),
        ("SyncBody first", b"\x02\xA4\x01\x6A\x00\x6D\x6B\x12\x01\x01".to_vec(), Problem::NoSyncHdr),
        ("an empty SyncHdr", b"\x02\xA4\x01\x6A\x00\x6D\x2C\x01".to_vec(), Problem::Missing("VerDTD")),
        ("no VerProto", message(PROLOGUE, &[DTD, IDS, TARGET, SOURCE], &[BODY]), Problem::Missing("VerProto")),
        ("VerDTD twice", all(DTD), Problem::Duplicate("VerDTD")),
        ("an element in a value", all(b"\x61\x57\x01\x01"), Problem::NotText("RespURI")),
        ("a value too long", all(&long), Problem::TooLarge),
        ("an index beyond the table", all(b"\x61\x83\x05\x01"), Problem::Reference),
        ("an opaque beyond the message", all(b"\x61\xC3\x8F\xFF\xFF\xFF\x7F\x01"), Problem::Truncated),
        ("an entity that is no character", all(b"\x61\x02\x83\xB0\x00\x01"), Problem::Syntax),
        ("an extension", all(b"\x61\x40x\0\x01"), Problem::Syntax),
        ("attributes without number", all(&instruction(limits::ATTRIBUTES + 1)), Problem::TooLarge),
        ("nested too deep", body(&deep(limits::DEPTH)), Problem::TooDeep),
        ("no SyncBody", body(b""), Problem::Missing("SyncBody")),
        ("two SyncBodies", body(&[BODY, BODY].concat()), Problem::Duplicate("SyncBody")),
        ("a second root", [package_1(), b"\x2D".to_vec()].concat(), Problem::Trailing),
        ("zeros at the end", [package_1(), vec![0, 0]].concat(), Problem::Trailing),
    ];
    for (what, raw, expected) in cases {
        assert_eq!(problem(&raw), Some(expected), "{what}");
    }
    assert_eq!(problem(&body(&[b"\x6B".as_slice(), &deep(limits::DEPTH - 2), b"\x01"].concat())), None, "as deep as may be");
    assert_eq!(problem(&[package_1(), instruction(1)].concat()), None, "an instruction at the end");
}
