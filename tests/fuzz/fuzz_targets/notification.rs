//! Notifications and the push messages around them: whatever comes, nothing panics, what can be read is
//! written the same, and another notification in its place changes nothing else.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protover::{
    notification::{Package0, Push},
    syncml::version::Version,
};

fuzz_target!(|data: &[u8]| {
    if let Ok(mut package0) = Package0::read(data) {
        assert_eq!(package0.write().expect("it was read"), data);
        package0.recommend_in_vendor_body(Version::DM_1_2);
        assert_eq!(package0.recommended(), Some(Version::DM_1_2));
    }
    for content_type in ["application/vnd.syncml.notification", "multipart/related; boundary=b"] {
        let Ok(push) = Push::read(content_type, data) else { continue };
        assert_eq!(push.with(data, &push.notification).len(), data.len());
        let other = push.with(data, b"another");
        assert_eq!(Push::read(content_type, &other).expect("still one").notification, b"another");
    }
});
