//! What skimming shows is what a walk step by step finds.

use super::*;
use crate::syncml::body::tests::skimming_shows_the_same;

/// A message with something of all that stands in messages: a string table, switches, opaques.
fn all_sorts() -> Vec<u8> {
    let start: &[u8] = b"\x02\xA4\x01\x6A\x0BIMEI:1\0Type\x6D\x6C";
    let body: &[u8] = b"\x6B\x46\x4B\x031\0\x01\x4F\x031201\0\x01\x01\x60\x4B\x032\0\x01\x54\x67\x57\x83\x00\x01\x01\
        \x5A\x00\x01\x47\x03chr\0\x01\x53\x03text/plain\0\x01\x01\x00\x00\x4F\xC3\x04text\x01\x01\x01\
        \x69\x4C\x030\0\x01\x4A\x03SyncHdr\0\x01\x4F\x83\x00\x01\x01\x12\x01";
    message(start, &[DTD, PROTO, IDS, TARGET, SOURCE, META], &[body])
}

fn compare(raw: &[u8]) -> usize {
    let Ok(slow) = Cursor::document(raw) else { return 0 };
    skimming_shows_the_same(slow, || Cursor::document(raw).unwrap())
}

#[test]
fn nearly_all_texts_are_passed_with_their_elements() {
    // Of 18 texts two are in the table. Of the others two are in a Data, which one of the four walks does not take.
    assert_eq!(compare(&all_sorts()), 4 * 16 - 2);
}

#[test]
fn a_message_that_is_cut_off_anywhere() {
    let raw = all_sorts();
    for cut in 0..=raw.len() {
        compare(&raw[..cut]);
    }
}

#[test]
fn every_byte_anywhere() {
    let raw = all_sorts();
    for at in 0..raw.len() {
        for byte in 0..=u8::MAX {
            let mut raw = raw.clone();
            raw[at] = byte;
            compare(&raw);
        }
    }
}

#[test]
fn the_limits_are_the_same() {
    let body = |body: &[u8]| message(PROLOGUE, &[DTD, PROTO, IDS, TARGET, SOURCE], &[b"\x6B", body, b"\x01"]);
    for depth in 58..66 {
        compare(&body(&[b"\x54".repeat(depth), b"\x4F\x03x\0\x01".to_vec(), b"\x01".repeat(depth)].concat()));
    }
    for switches in [1, 2, 15, 16, 17, 18] {
        let switches = b"\x00\x01".repeat(switches);
        compare(&body(&[&switches, b"\x53\x03x\0\x01".as_slice()].concat()));
        compare(&body(&[b"\x53\x03x\0".as_slice(), &switches, b"\x01"].concat()));
    }
    compare(&body(&b"\x4F\x03x\0\x01".repeat(limits::ELEMENTS)));
}

/// What stands in messages, whole or in pieces.
const PIECES: &[&[u8]] = &[
    b"\x00\x01",
    b"\x00\x00",
    b"\x00\x02",
    b"\x00",
    b"\x01",
    b"\x02\x41",
    b"\x03x\0",
    b"\x03\0",
    b"\x03",
    b"\x04\x00",
    b"\x44\x07",
    b"\xC4\x07\x05\x01",
    b"\x43\x05\x01",
    b"\x83\x00",
    b"\x83\x7F",
    b"\xC3\x02xx",
    b"\xC3\x00",
    b"\xC3\x02\0\0",
    b"\xC3\x80\x01x",
    b"\xC3\x7F",
    b"\x40",
    b"\x12",
    b"\x4F",
    b"\x4F\x03x\0\x01",
    b"\xCF\x05\x01",
    b"\x54",
    b"\x7F",
    b"\x45",
    b"\x05",
    b"\xEF",
];

proptest! {
    #[test]
    fn whatever_stands_in_it(
        pieces in proptest::collection::vec(
            (any::<proptest::sample::Index>(), proptest::sample::select(PIECES), any::<bool>()), 0..6),
        cut in proptest::option::weighted(0.3, any::<proptest::sample::Index>()),
    ) {
        let mut raw = all_sorts();
        for (at, piece, over) in pieces {
            let at = at.index(raw.len());
            let end = if over { (at + piece.len()).min(raw.len()) } else { at };
            raw.splice(at..end, piece.iter().copied());
        }
        if let Some(cut) = cut {
            raw.truncate(cut.index(raw.len()));
        }
        compare(&raw);
    }
}
