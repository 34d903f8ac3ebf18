//! DM accounts: whatever a document or a message holds, nothing panics, what is stamped can be read again, and
//! stamping twice is stamping once.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use protover::{
    account::{provisioning, stamp_inline, strip},
    session::Injected,
    syncml::{self, header::Encoding, version::Version},
};

fuzz_target!(|data: &[u8]| {
    let raw = Bytes::copy_from_slice(data);
    if let Ok(document) = provisioning::Document::read(&raw) {
        let stamped = provisioning::stamp(&raw, &document, Version::DM_1_2, |_| true).0.apply(&raw);
        let again = provisioning::Document::read(&stamped).expect("still a document");
        assert_eq!(provisioning::stamp(&stamped, &again, Version::DM_1_2, |_| true).1, 0);
    }
    for encoding in [Encoding::Xml, Encoding::Wbxml] {
        let Ok(index) = syncml::scan(encoding, &raw) else { continue };
        if let Ok((edits, _)) = stamp_inline(&raw, &index, "Ext/V/ProtoVer", "1.2", |_| true) {
            let stamped = edits.apply(&raw);
            let index = syncml::scan(encoding, &stamped).expect("still a message");
            assert_eq!(stamp_inline(&stamped, &index, "Ext/V/ProtoVer", "1.2", |_| true).expect("readable").1, 0);
        }
        let mut injected = Injected::new(String::new(), None);
        let _ = strip(&raw, &index, &mut injected);
    }
});
