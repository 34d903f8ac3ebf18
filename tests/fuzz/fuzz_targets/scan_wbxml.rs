//! Any bytes as a WBXML message: nothing panics, and what is edited can be read again.
//!
//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz scan_wbxml -- -max_total_time=600`
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use protover::syncml::{
    self,
    bridge::{Crossing, Own, bridge},
    edit::Edits,
    element::Element,
    header::{Encoding, HeaderIndex},
    hint,
    malformed::{Malformed, Problem},
    version::{Version, VersionTable},
    wbxml, write,
};

fuzz_target!(|raw: &[u8]| {
    let _ = (wbxml::listing(raw), wbxml::dump(raw));
    let Ok(index) = syncml::scan(Encoding::Wbxml, raw) else { return };
    let raw = Bytes::copy_from_slice(raw);
    let whole = syncml::check(&raw, &index).is_ok();
    let _ = syncml::started_by(&raw, &index);
    for field in [index.ver_dtd, index.ver_proto, index.session_id, index.msg_id, index.target, index.source] {
        let mut edits = Edits::new();
        assert!(edits.replace(field.place, write::value(&raw, &index, field, Element::VerProto, "DM/1.3")));
        let edited = edits.apply(&raw);
        reread(&edited, whole);
    }
    let table = VersionTable::default();
    let forms = |version| table.get(version).expect("built in");
    for (from, to) in [(Version::DM_1_2, Version::DM_1_1), (Version::DM_1_1, Version::DM_1_3)] {
        let crossing = Crossing { from: forms(from), to: forms(to), lossy: true, own: Own::default() };
        let Ok(bridged) = bridge(&raw, &index, &crossing) else { continue };
        let there = bridged.edits.apply(&raw);
        let Some(index) = reread(&there, whole) else { continue };
        assert_eq!(index.text(&there, index.ver_proto), to.to_string());
    }
    for edits in [hint::header_meta(&raw, &index, Version::DM_1_3), hint::status_item(&raw, &index, Version::DM_1_3)] {
        let Some(edits) = edits else { continue };
        let hinted = edits.apply(&raw);
        reread(&hinted, whole);
    }
});

/// Reads an edited message, which is as well-formed as it was. It may now be just above a limit of
/// our own: one page switch more, or two runs of them with nothing left between.
fn reread(raw: &[u8], whole: bool) -> Option<HeaderIndex> {
    let limit = |malformed: &Malformed| malformed.problem == Problem::TooLarge;
    let index = match syncml::scan(Encoding::Wbxml, raw) {
        Err(malformed) if limit(&malformed) => return None,
        read => read.expect("as readable as before"),
    };
    match syncml::check(raw, &index) {
        Err(malformed) if limit(&malformed) => {}
        checked => assert_eq!(checked.is_ok(), whole),
    }
    Some(index)
}
