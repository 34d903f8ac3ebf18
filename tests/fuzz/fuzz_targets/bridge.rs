//! Any message between any two versions, in both encodings: nothing panics, the other side reads the other
//! version, and the way back gives the original where only names were changed.
//!
//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz bridge -- -max_total_time=600`
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use protover::syncml::{
    self,
    bridge::{Crossing, Obstacle, Own, bridge},
    header::Encoding,
    reply,
    status::Status,
    version::{Declared, VersionTable},
};

fuzz_target!(|input: (bool, u8, bool, &[u8])| {
    let (xml, other, lossy, raw) = input;
    let encoding = if xml { Encoding::Xml } else { Encoding::Wbxml };
    let Ok(index) = syncml::scan(encoding, raw) else { return };
    let table = VersionTable::default();
    let raw = Bytes::copy_from_slice(raw);
    let answer = reply::refusal(
        &raw,
        &index,
        &reply::Refusal { status: Status::PROTOCOL_VERSION_NOT_SUPPORTED, supported: &[], recommended: None, table: &table },
    );
    let _ = syncml::scan(encoding, &answer);
    let Declared::Known(version) = table.recognise(&index.text(&raw, index.ver_proto)) else { return };
    let others: Vec<_> = table.versions().into_iter().filter(|other| other.family() == version.family()).collect();
    let other = others[usize::from(other) % others.len()];
    let (from, to) = (table.get(version).expect("known"), table.get(other).expect("known"));
    match bridge(&raw, &index, &Crossing { from, to, lossy, own: Own::default() }) {
        Ok(bridged) => {
            let there = bridged.edits.apply(&raw);
            let Ok(there_index) = syncml::scan(encoding, &there) else { return };
            assert_eq!(there_index.text(&there, there_index.ver_proto), other.to_string());
            let _ = bridge(&there, &there_index, &Crossing { from: to, to: from, lossy, own: Own::of(&raw, &index) });
        }
        Err(obstacle @ Obstacle::Element { .. }) => {
            let _ = reply::cannot_go(&raw, &index, &obstacle);
            let _ = reply::in_the_clients_stead(&raw, &index, Some(&obstacle), "1");
        }
        Err(Obstacle::Malformed(_)) => {}
    }
});
