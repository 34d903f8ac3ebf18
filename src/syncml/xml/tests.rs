use proptest::prelude::*;
use quick_xml::{Reader, events::Event};

use super::*;
use crate::syncml::{check, header::Field, scan, started_by};

const HEADER: &str = "<SyncHdr><VerDTD>1.2</VerDTD><VerProto>DM/1.2</VerProto><SessionID>1</SessionID><MsgID>1</MsgID>\
    <Target><LocURI>http://dm</LocURI></Target><Source><LocURI>IMEI:1</LocURI></Source></SyncHdr>";
const BODY: &str = "<SyncBody><Alert><CmdID>1</CmdID><Data>1201</Data></Alert><Final/></SyncBody>";

fn message() -> String {
    format!("<SyncML xmlns=\"SYNCML:SYNCML1.2\">{HEADER}{BODY}</SyncML>")
}

fn read(raw: &[u8]) -> HeaderIndex {
    scan(Encoding::Xml, raw).unwrap_or_else(|malformed| panic!("{malformed}: {}", String::from_utf8_lossy(raw)))
}

fn texts(raw: &str) -> Vec<String> {
    let index = read(raw.as_bytes());
    let text = |field: Field| index.text(raw.as_bytes(), field).into_owned();
    vec![
        text(index.ver_dtd),
        text(index.ver_proto),
        text(index.session_id),
        text(index.msg_id),
        text(index.target),
        text(index.source),
    ]
}

fn problem(raw: impl AsRef<[u8]>) -> Problem {
    let raw = raw.as_ref();
    match scan(Encoding::Xml, raw) {
        Ok(_) => panic!("reads: {}", String::from_utf8_lossy(raw)),
        Err(malformed) => malformed.problem,
    }
}

#[test]
fn every_way_to_write_the_same_header_reads_the_same() {
    let plain = message();
    let expected = texts(&plain);
    assert_eq!(expected, ["1.2", "DM/1.2", "1", "1", "http://dm", "IMEI:1"]);
    for (what, raw) in [
        ("byte-order mark", format!("\u{feff}{plain}")),
        ("XML declaration", format!("<?xml version='1.0' encoding=\"utf-8\" standalone='yes' ?>\r\n{plain}")),
        ("XML declaration, usual", format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>{plain}")),
        ("XML declaration, short", format!("<?xml version=\"1.0\"?>\n{plain}")),
        ("line ends", plain.replace("><", ">\r\n\t <")),
        ("comments", plain.replace("><", "><!-- <VerProto>DM/9.9</VerProto> --><")),
        ("processing instructions", plain.replace("><", "><?pi <VerProto> ?><")),
        ("DOCTYPE", format!("<!DOCTYPE SyncML PUBLIC \"-//SYNCML//DTD SyncML 1.2//EN\" 'http://x/d.dtd'>{plain}")),
        ("DOCTYPE, system", format!("<!DOCTYPE SyncML SYSTEM 'http://x/<d>.dtd' >{plain}")),
        ("no name space", plain.replace(" xmlns=\"SYNCML:SYNCML1.2\"", "")),
        ("single quotes", plain.replace('"', "'")),
        ("other attributes", plain.replace("<SyncML ", "<SyncML\n  a='>' b=\"/>\" ")),
        ("prefix", plain.replace('<', "<s:").replace("<s:/", "</s:").replace("xmlns=", "xmlns:s=")),
        ("undeclared prefix", plain.replace('<', "<s:").replace("<s:/", "</s:")),
        ("CDATA", plain.replace("DM/1.2", "<![CDATA[DM/1.2]]>")),
        ("references", plain.replace("DM/1.2", "D&#77;/1&#x2e;2")),
        ("comment in a value", plain.replace("DM/1.2", "DM<!-- / -->/1.2")),
        ("mixed", plain.replace("DM/1.2", "<![CDATA[DM]]>&#47;1<?x?>.2")),
        ("spaces in tags", plain.replace("VerProto>", "VerProto \n>")),
        ("unknown elements", plain.replace("</SyncHdr>", "<Vendor><VerProto>x</VerProto></Vendor></SyncHdr>")),
        ("foreign elements", plain.replace("</SyncHdr>", "<VerProto xmlns='urn:x'>x</VerProto></SyncHdr>")),
    ] {
        assert_eq!(texts(&raw), expected, "{what}");
        let index = read(raw.as_bytes());
        check(raw.as_bytes(), &index).unwrap_or_else(|malformed| panic!("{what}: {malformed}"));
        assert_eq!(started_by(raw.as_bytes(), &index).map(crate::syncml::alert::StartedBy::code), Some("client"), "{what}");
    }
}

#[test]
fn values_keep_their_spaces_and_entities_are_read() {
    let raw = message().replace("IMEI:1", " a&amp;b &lt;\u{fc}&gt;&quot;&apos; ");
    assert_eq!(texts(&raw)[5], " a&b <\u{fc}>\"' ");
    assert_eq!(texts(&message().replace("DM/1.2", " DM/1.2 "))[1], " DM/1.2 ");
    assert_eq!(texts(&message().replace("<VerProto>DM/1.2</VerProto>", "<VerProto/>"))[1], "");
    assert_eq!(texts(&message().replace("DM/1.2", ""))[1], "");
}

#[test]
fn what_is_no_message_is_said() {
    let plain = message();
    let twice = |name: &str| {
        let start = plain.find(&format!("<{name}>")).unwrap();
        let end = plain.find(&format!("</{name}>")).unwrap() + name.len() + 3;
        format!("{}{}{}", &plain[..end], &plain[start..end], &plain[end..])
    };
    let deep = format!("{}{}", "<a>".repeat(100), "</a>".repeat(100));
    for (raw, expected) in [
        (String::new(), Problem::Truncated),
        ("hello".to_owned(), Problem::Syntax),
        ("<html></html>".to_owned(), Problem::NotSyncMl),
        ("<SyncML/>".to_owned(), Problem::NoSyncHdr),
        (format!("<SyncML>{BODY}</SyncML>"), Problem::NoSyncHdr),
        (format!("<SyncML>{BODY}{HEADER}</SyncML>"), Problem::NoSyncHdr),
        ("<SyncML><SyncHdr/></SyncML>".to_owned(), Problem::Missing("VerDTD")),
        (plain.replace("<VerProto>DM/1.2</VerProto>", ""), Problem::Missing("VerProto")),
        (plain.replace("<VerDTD>1.2</VerDTD>", ""), Problem::Missing("VerDTD")),
        (plain.replace("<SessionID>1</SessionID>", ""), Problem::Missing("SessionID")),
        (plain.replace("<MsgID>1</MsgID>", ""), Problem::Missing("MsgID")),
        (plain.replace("<LocURI>IMEI:1</LocURI>", ""), Problem::Missing("Source/LocURI")),
        (plain.replace("<Target><LocURI>http://dm</LocURI></Target>", ""), Problem::Missing("Target/LocURI")),
        (twice("VerProto"), Problem::Duplicate("VerProto")),
        (twice("VerDTD"), Problem::Duplicate("VerDTD")),
        (twice("Source"), Problem::Duplicate("Source")),
        (twice("LocURI"), Problem::Duplicate("LocURI")),
        (plain.replace("DM/1.2", "DM/<b/>1.2"), Problem::NotText("VerProto")),
        (plain.replace("</SyncHdr>", &format!("{deep}</SyncHdr>")), Problem::TooDeep),
        (plain.replace("IMEI:1", &"9".repeat(limits::VALUE + 1)), Problem::TooLarge),
        (plain.replace("><", &format!(">{}<", " ".repeat(limits::HEADER))), Problem::TooLarge),
        (format!("<!DOCTYPE SyncML [<!ENTITY v \"DM/1.2\">]>{plain}"), Problem::Entities),
        (plain.replace("DM/1.2", "&v;"), Problem::Reference),
        (plain.replace("DM/1.2", "&#0;"), Problem::Reference),
        (plain.replace("DM/1.2", "&#xD800;"), Problem::Reference),
        (plain.replace("DM/1.2", "a & b"), Problem::Syntax),
        (plain.replace("</VerProto>", "</VerProt>"), Problem::Syntax),
        (plain.replace("<VerProto>", "<VerProto a=1>"), Problem::Syntax),
        (plain.replace("<VerProto>", "<VerProto a='1' a='2'>"), Problem::Syntax),
        (plain.replace("DM/1.2", "a ]]> b"), Problem::Syntax),
        (plain.replace("DM/1.2", "\u{1}"), Problem::Syntax),
        (format!("<?xml version='1.0' encoding='ISO-8859-1'?>{plain}"), Problem::Charset),
        (format!("<?xml version='1.0'?><?xml version='1.0'?>{plain}"), Problem::Syntax),
        (format!("<!DOCTYPE a><!DOCTYPE a>{plain}"), Problem::Syntax),
    ] {
        let shown: String = raw.chars().take(300).collect();
        assert_eq!(problem(&raw), expected, "{shown}");
    }
    assert_eq!(problem([&b"\xff\xfe"[..], b"<\0S\0"].concat()), Problem::Charset, "UTF-16");
    assert_eq!(problem(message().replace("IMEI", "IM\u{fc}I").replace('\u{fc}', "\u{0}").as_bytes()), Problem::Syntax, "NUL");
    let latin: Vec<u8> = message().replace("IMEI", "IM~I").bytes().map(|byte| if byte == b'~' { 0xfc } else { byte }).collect();
    assert_eq!(problem(latin), Problem::Charset, "not UTF-8");
}

#[test]
fn every_truncation_is_noticed_in_the_header_or_by_the_check() {
    let plain = message();
    let end = plain.find("<SyncBody>").unwrap();
    for cut in 0..plain.len() {
        let raw = &plain.as_bytes()[..cut];
        match scan(Encoding::Xml, raw) {
            Err(malformed) => assert!(cut < end, "{cut}: {malformed}"),
            Ok(index) => {
                assert!(cut >= end, "{cut}");
                check(raw, &index).unwrap_err();
            }
        }
    }
}

#[test]
fn only_the_check_reads_what_follows_the_header() {
    let plain = message();
    for (raw, expected) in [
        (plain.replace("<Final/>", "<Final>"), Problem::Syntax),
        (plain.replace("</SyncML>", ""), Problem::Truncated),
        (plain.clone() + "<SyncML/>", Problem::Trailing),
        (plain.clone() + "x", Problem::Trailing),
        (plain.clone() + "\0", Problem::Trailing),
        (plain.replace("<Final/>", "&nope;<Final/>"), Problem::Reference),
        (plain.replace(BODY, &[BODY, BODY].concat()), Problem::Duplicate("SyncBody")),
        (plain.replace(BODY, ""), Problem::Missing("SyncBody")),
        (plain.replace(BODY, &[BODY, HEADER].concat()), Problem::Duplicate("SyncHdr")),
        (plain.replace("<Final/>", &format!("{}{}", "<a>".repeat(100), "</a>".repeat(100))), Problem::TooDeep),
    ] {
        let index = read(raw.as_bytes());
        assert_eq!(check(raw.as_bytes(), &index).unwrap_err().problem, expected, "{raw}");
    }
    let fine = plain + "\r\n<!-- bye --> <?pi?>\n";
    check(fine.as_bytes(), &read(fine.as_bytes())).unwrap();
}

#[test]
fn the_index_says_where_things_stand() {
    let raw = message().replace("</Source>", "<LocName>u</LocName></Source><RespURI>http://r</RespURI><NoResp/><Meta><MaxMsgSize xmlns='syncml:metinf'>5000</MaxMsgSize></Meta>");
    let bytes = raw.as_bytes();
    let index = read(bytes);
    let Prologue::Xml(prologue) = index.prologue else { panic!() };
    assert_eq!(prologue.xmlns.unwrap().of(bytes), b"SYNCML:SYNCML1.2");
    assert!(bytes[index.body as usize..].starts_with(b"<SyncBody>"));
    assert!(bytes[index.header.span.range().start..].starts_with(b"</SyncHdr>"));
    assert!(bytes[index.meta.unwrap().span.range().start..].starts_with(b"</Meta>"));
    assert_eq!(index.text(bytes, index.max_msg_size.unwrap()), "5000");
    assert_eq!(index.text(bytes, index.source_name.unwrap()), "u");
    assert_eq!(index.text(bytes, index.resp_uri.unwrap()), "http://r");
    assert!(index.no_resp);
}

#[test]
fn only_the_data_of_an_alert_says_who_started_the_session() {
    let started = |alert: &str| {
        let raw = message().replace("<Data>1201</Data>", alert);
        started_by(raw.as_bytes(), &read(raw.as_bytes())).map(crate::syncml::alert::StartedBy::code)
    };
    assert_eq!(started("<Data>1200</Data>"), Some("server"));
    assert_eq!(started("<Data>12<!---->00</Data>"), Some("server"));
    assert_eq!(started("<Data>1200</Data >"), Some("server"));
    for none in ["<Data>1224</Data>1200", "<Data/>1200", "<Item><Data>1200</Data></Item>", "<Data>1200<", "<Cmd>1200</Cmd>"] {
        assert_eq!(started(none), None, "{none}");
    }
}

/// What quick-xml reads: the text of the element at a path of names.
fn by_quick_xml(raw: &str, path: &[&str]) -> Option<String> {
    let mut reader = Reader::from_str(raw);
    let mut open: Vec<String> = Vec::new();
    let mut text = String::new();
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => {
                open.push(start.local_name().as_ref().to_owned());
                text.clear();
            }
            Event::Text(piece) => text.push_str(&piece),
            Event::CData(piece) => text.push_str(&piece),
            Event::GeneralRef(reference) => match reference.resolve_char_ref().ok()? {
                Some(character) => text.push(character),
                None => text.push_str(quick_xml::escape::resolve_predefined_entity(&reference)?),
            },
            Event::End(_) => {
                if open == path {
                    return Some(text);
                }
                open.pop();
            }
            Event::Eof => return None,
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn scan_never_panics(raw in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(index) = scan(Encoding::Xml, &raw) {
            let _ = check(&raw, &index);
        }
    }

    #[test]
    fn a_message_with_broken_bytes_never_panics(flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut raw = message().into_bytes();
        for (at, byte) in flips {
            let at = at.index(raw.len());
            raw[at] = byte;
        }
        if let Ok(index) = scan(Encoding::Xml, &raw) {
            let _ = check(&raw, &index);
            let _ = started_by(&raw, &index);
        }
    }

    #[test]
    fn values_are_read_as_quick_xml_reads_them(pieces in proptest::collection::vec(
        prop_oneof!["[a-zA-Z0-9 ./:é]{1,8}", Just("&amp;".to_owned()), Just("&#65;".to_owned()), Just("&#x20AC;".to_owned()),
            Just("<![CDATA[<&>]]>".to_owned()), Just("<!-- c -->".to_owned())], 1..6)) {
        let value = pieces.concat();
        let raw = message().replace("IMEI:1", &value);
        let ours = &texts(&raw)[5];
        let theirs = by_quick_xml(&raw, &["SyncML", "SyncHdr", "Source", "LocURI"]).unwrap();
        prop_assert_eq!(ours, &theirs);
    }
}
