//! Any bytes as an XML message: nothing panics, spans are inside the message, and what quick-xml cannot
//! read to its end passes no check.
//!
//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz scan_xml -- -max_total_time=600`
#![no_main]

use libfuzzer_sys::fuzz_target;
use protover::syncml::{self, header::Encoding, hint, version::Version};
use quick_xml::{Reader, events::Event};

fuzz_target!(|raw: &[u8]| {
    let Ok(index) = syncml::scan(Encoding::Xml, raw) else { return };
    for field in [index.ver_dtd, index.ver_proto, index.session_id, index.msg_id, index.target, index.source] {
        assert!(field.place.range().end <= raw.len() && field.text.range().end <= raw.len());
        let _ = index.text(raw, field);
    }
    let _ = syncml::started_by(raw, &index);
    let checked = syncml::check(raw, &index);
    let _ = (hint::status_item(raw, &index, Version::DM_1_3), hint::header_meta(raw, &index, Version::DM_1_3));
    if checked.is_ok() {
        let text = std::str::from_utf8(raw).expect("checked messages are UTF-8");
        let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
        loop {
            match reader.read_event().expect("quick-xml reads what was checked") {
                Event::Eof => break,
                _ => {}
            }
        }
    }
});
