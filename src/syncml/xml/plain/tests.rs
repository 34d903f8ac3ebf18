use proptest::prelude::*;

use crate::syncml::{
    body::{Step, Steps, tests::skimming_shows_the_same},
    limits,
    malformed::Malformed,
    xml::Cursor,
};

const MESSAGE: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><SyncML xmlns=\"SYNCML:SYNCML1.2\"><SyncHdr><VerDTD>1.2</VerDTD>\
    <VerProto>DM/1.2</VerProto><Source><LocURI>IMEI:493005100592800</LocURI></Source>\r\n  <Meta>\r\n    \
    <MaxMsgSize xmlns=\"syncml:metinf\">16384</MaxMsgSize></Meta></SyncHdr><SyncBody><Sync><NumberOfChanges>1</NumberOfChanges>\
    <Meta><Type xmlns=\"syncml:metinf\">chr</Type></Meta><Item><Data></Data><Data>x</Data></Item></Sync><Final/></SyncBody></SyncML>";

/// What makes a tag or a text another one than nearly all are.
const PIECES: &[&str] = &[
    " ",
    "/",
    "<",
    ">",
    "&",
    "&lt;",
    "]",
    "]]>",
    "<!---->",
    "<![CDATA[y]]>",
    "<?p?>",
    ":",
    "s:",
    "1",
    "-",
    "@",
    "\u{1}",
    "\u{e9}",
    "\r\n\t",
    "</Data>",
    "<Data>",
    "<Data/>",
    "<Data />",
    "<s:Data>",
    "<NumberOfChanges>",
    "<NumberOfChanges/>",
    "<NumberOfChangesX>",
    "<Vendor>",
    "</Vendor>",
    "<SyncHdr>",
    " xmlns=\"urn:x\"",
    " xmlns=\"SYNCML:SYNCML1.2\"",
    " xmlns=\"syncml:metinf\"",
    " xmlns=\"syncml:metinf\" ",
    " xmlns=''",
    " xmlns=\"a\"b\"",
    " xmlns:s=\"urn:x\"",
    "a text of more than forty characters, with no markup in it",
];

fn walk(raw: &[u8], slow: bool) -> Result<Vec<Step>, Malformed> {
    let mut cursor = Cursor::document(raw)?;
    cursor.slow = slow;
    std::iter::from_fn(|| cursor.step().transpose()).collect()
}

/// Holds the plain reading against that by the whole grammar.
fn compare(raw: &[u8]) {
    let shown = || String::from_utf8_lossy(raw).into_owned();
    let expected = walk(raw, true);
    assert_eq!(walk(raw, false), expected, "{}", shown());
    let Ok(mut slow) = Cursor::document(raw) else { return };
    slow.slow = true;
    skimming_shows_the_same(slow, || Cursor::document(raw).unwrap());
}

/// The message with something put in the place of a part of it.
fn with(part: &str, by: &[u8]) -> Vec<u8> {
    let at = MESSAGE.find(part).unwrap();
    [&MESSAGE.as_bytes()[..at], by, &MESSAGE.as_bytes()[at + part.len()..]].concat()
}

#[test]
fn a_message_is_plain_but_for_empty_tags() {
    assert!(walk(MESSAGE.as_bytes(), true).is_ok());
    let mut cursor = Cursor::document(MESSAGE.as_bytes()).unwrap();
    let mut by_grammar = Vec::new();
    loop {
        let plain = cursor.plain();
        let step = if plain.is_some() { plain } else { cursor.step().unwrap() };
        let Some(step) = step else { break };
        if plain.is_none() {
            by_grammar.push(step);
        }
    }
    let is: Vec<String> = by_grammar
        .iter()
        .map(|step| match step {
            Step::Start { element, .. } => format!("<{}>", element.name()),
            Step::End { element, .. } => format!("</{}>", element.name()),
            Step::Text(_) => "text".to_owned(),
        })
        .collect();
    // Too little is left behind the last one to be looked at as a whole.
    assert_eq!(is.join(" "), "<Final> </Final> </SyncML>");
}

#[test]
fn a_message_that_is_cut_off_anywhere() {
    for cut in 0..=MESSAGE.len() {
        compare(&MESSAGE.as_bytes()[..cut]);
    }
}

#[test]
fn every_byte_anywhere() {
    for at in 0..MESSAGE.len() {
        for byte in (0..0x80).chain([0x80, 0xBF, 0xC3, 0xE9, 0xFF]) {
            let mut raw = MESSAGE.as_bytes().to_vec();
            raw[at] = byte;
            compare(&raw);
        }
    }
}

#[test]
fn every_byte_in_texts_of_every_length() {
    for len in 0..20 {
        for at in 0..len {
            for byte in 0..=u8::MAX {
                let mut text = vec![b'a'; len];
                text[at] = byte;
                compare(&with("IMEI:493005100592800", &text));
            }
        }
    }
}

#[test]
fn names_of_every_length_known_or_not() {
    let mut names: Vec<String> = (0..20).map(|len| "NumberOfChangesXXXXX"[..len].to_owned()).collect();
    names.extend(
        ["Data", "s:Data", ":Data", "Data:", "data", "Dat\u{e9}", "Data\u{0}", "1Data", "SyncHdr", "xml:Data"].map(str::to_owned),
    );
    for name in &names {
        for rest in ["", " ", "/", " /", " xmlns=\"syncml:metinf\"", " xmlns=\"syncml:metinf\"/", " xmlns=\"urn:x\"", " a='>'"] {
            for end in ["", " ", "\n", "X", ":"] {
                let element = format!("<{name}{rest}>text</{name}{end}>");
                compare(&with("<Data>x</Data>", element.as_bytes()));
                for cut in 0..element.len() {
                    compare(&[b"<SyncML>", &element.as_bytes()[..cut]].concat());
                }
            }
        }
    }
}

#[test]
fn name_spaces_inside_each_other() {
    const SPACES: [&str; 8] = [
        "",
        " xmlns=\"syncml:metinf\"",
        " xmlns=\"urn:x\"",
        " xmlns=\"SYNCML:SYNCML1.2\"",
        " xmlns=\"syncml:SYNCML1.1\"",
        " xmlns='SYNCML:SYNCML1.1'",
        " xmlns:s=\"urn:x\"",
        " xmlns=\"SYNCML:SYNCML1.2\" xmlns:s=\"syncml:metinf\"",
    ];
    for root in SPACES {
        for outer in SPACES {
            for inner in SPACES {
                let raw = format!(
                    "<SyncML{root}><SyncHdr{outer}><Meta{inner}><Type>x</Type><s:Type>x</s:Type></Meta><Data>x</Data></SyncHdr>\
                     <SyncBody><Data>a long enough rest</Data></SyncBody></SyncML>"
                );
                compare(raw.as_bytes());
            }
        }
    }
}

#[test]
fn the_limits_are_the_same() {
    for depth in [60, 61, 62, 63, 64, 65, 66] {
        compare(format!("<SyncML>{}<Data>x</Data>{}</SyncML>", "<Item>".repeat(depth), "</Item>".repeat(depth)).as_bytes());
    }
    compare(format!("<SyncML>{}</SyncML>", "<Data>x</Data>".repeat(limits::ELEMENTS)).as_bytes());
}

proptest! {
    #[test]
    fn what_is_plain_is_read_as_by_the_whole_grammar(
        pieces in proptest::collection::vec((any::<prop::sample::Index>(), prop::sample::select(PIECES), any::<bool>()), 0..5),
        cut in proptest::option::weighted(0.3, any::<prop::sample::Index>()),
    ) {
        let mut raw = MESSAGE.as_bytes().to_vec();
        for (at, piece, between) in pieces {
            let at = at.index(raw.len());
            // Between tag and text more may happen than inside of them.
            let to_tag = raw[at..].iter().position(|byte| *byte == b'<').filter(|_| between).unwrap_or_default();
            raw.splice(at + to_tag..at + to_tag, piece.bytes());
        }
        if let Some(cut) = cut {
            raw.truncate(cut.index(raw.len()));
        }
        compare(&raw);
    }
}
