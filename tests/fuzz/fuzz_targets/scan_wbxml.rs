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
    header::Encoding,
    hint,
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
        let again = syncml::scan(Encoding::Wbxml, &edited).expect("as readable as before");
        assert_eq!(syncml::check(&edited, &again).is_ok(), whole);
    }
    let table = VersionTable::default();
    let forms = |version| table.get(version).expect("built in");
    for (from, to) in [(Version::DM_1_2, Version::DM_1_1), (Version::DM_1_1, Version::DM_1_3)] {
        let crossing = Crossing { from: forms(from), to: forms(to), lossy: true, own: Own::default() };
        let Ok(bridged) = bridge(&raw, &index, &crossing) else { continue };
        let there = bridged.edits.apply(&raw);
        let index = syncml::scan(Encoding::Wbxml, &there).expect("as readable as before");
        assert_eq!(index.text(&there, index.ver_proto), to.to_string());
        assert_eq!(syncml::check(&there, &index).is_ok(), whole);
    }
    for edits in [hint::header_meta(&raw, &index, Version::DM_1_3), hint::status_item(&raw, &index, Version::DM_1_3)] {
        let Some(edits) = edits else { continue };
        let hinted = edits.apply(&raw);
        let index = syncml::scan(Encoding::Wbxml, &hinted).expect("as readable as before");
        assert_eq!(syncml::check(&hinted, &index).is_ok(), whole);
    }
});
