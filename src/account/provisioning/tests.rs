use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::syncml::version::Version;

const XML: &str = "<?xml version=\"1.0\"?>\r\n<wap-provisioningdoc version=\"1.1\">\r\n  <characteristic type=\"APPLICATION\">\r\n\
    \x20   <parm name=\"APPID\" value=\"w7\"/>\r\n    <parm name='PROVIDER-ID'  value='dm&amp;server' />\r\n\
    \x20   <parm name=\"NAME\" value=\"DM\"/>\r\n    <characteristic type=\"APPADDR\">\r\n      <parm name=\"ADDR\" value=\"http://a/dm\"/>\r\n\
    \x20   </characteristic>\r\n  </characteristic>\r\n  <characteristic type=\"APPLICATION\"><parm name=\"APPID\" value=\"w4\"/>\
    <parm name=\"ADDR\" value=\"http://mms/\"/></characteristic>\r\n</wap-provisioningdoc>\r\n";

/// The same in WBXML: the attributes of page 1, a string table, a value in two pieces.
fn wbxml() -> Vec<u8> {
    let mut out = vec![3, 0x0B, 0x6A, 3, b'a', b'/', 0];
    out.extend([0xC5, 0x46, 0x03, b'1', b'.', b'1', 0, 1]); // version="1.0" with more behind it
    out.extend([0xC6, 0x00, 0x01, 0x55, 0x01]); // characteristic type="APPLICATION", page 1
    out.extend([0x87, 0x36, 0x06, 0x03, b'w', b'7', 0, 0x01]); // APPID
    out.extend([0x87, 0x38, 0x06, 0x03]);
    out.extend(*b"dm&server\0\x01"); // PROVIDER-ID
    out.extend([0x87, 0x07, 0x06, 0x03, b'D', b'M', 0, 0x01]); // NAME
    out.extend([0xC6, 0x56, 0x01]); // APPADDR
    out.extend([0x87, 0x34, 0x06, 0x03]);
    out.extend(*b"http://\0");
    out.extend([0x83, 0x00, 0x03, b'd', b'm', 0, 0x01, 0x01]); // ADDR
    out.extend([0x01, 0x01]);
    out
}

fn both() -> [Vec<u8>; 2] {
    [XML.as_bytes().to_vec(), wbxml()]
}

fn stamped(raw: &[u8], version: Version) -> (Bytes, usize) {
    let document = Document::read(raw).expect("a document");
    let (edits, changed) = stamp(raw, &document, version, |_| true);
    (edits.apply(&Bytes::copy_from_slice(raw)), changed)
}

#[test]
fn an_account_is_found_with_what_tells_whose_it_is() {
    for raw in both() {
        let accounts = Document::read(&raw).expect("a document").accounts();
        let [account] = accounts.as_slice() else { panic!("{accounts:?}") };
        assert_eq!((account.provider_id.as_str(), account.name.as_str()), ("dm&server", "DM"));
        assert!(account.addresses[0].starts_with("http://a/"), "{:?}", account.addresses);
        assert_eq!(account.version(), None);
    }
}

#[test]
fn a_parameter_is_added_in_the_style_of_its_neighbour() {
    let (bytes, changed) = stamped(XML.as_bytes(), Version::DM_1_2);
    let added = "\r\n    <parm name='PROTOVER'  value='1.2' />";
    assert_eq!(changed, 1);
    let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
    assert!(text.contains(&format!("value='dm&amp;server' />{added}\r\n")), "{text}");
    assert_eq!(text.replacen(added, "", 1), XML, "and nothing else");
    let raw = wbxml();
    let (bytes, _) = stamped(&raw, Version::DM_1_2);
    let added = b"\x87\x05\x03PROTOVER\0\x06\x031.2\0\x01";
    let at = bytes.windows(added.len()).position(|window| window == added).expect("added");
    assert_eq!([&bytes[..at], &bytes[at + added.len()..]].concat(), raw);
}

#[test]
fn stamping_again_changes_nothing_and_another_version_only_the_value() {
    for raw in both() {
        let (first, _) = stamped(&raw, Version::DM_1_2);
        assert_eq!(Document::read(&first).unwrap().accounts()[0].version(), Some("1.2"));
        let (again, changed) = stamped(&first, Version::DM_1_2);
        assert_eq!((&again, changed), (&first, 0));
        let (other, changed) = stamped(&first, Version::DM_1_1);
        assert_eq!((other.len(), changed), (first.len(), 1));
        assert_eq!(other.iter().zip(&first).filter(|(a, b)| a != b).count(), 1);
        assert_eq!(stamped(&other, Version::DM_1_2).0, first);
    }
    let bare = XML.replace("<parm name=\"NAME\" value=\"DM\"/>", "<parm name=\"PROTOVER\"></parm>");
    let (bytes, _) = stamped(bare.as_bytes(), Version::DM_1_1);
    assert!(String::from_utf8_lossy(&bytes).contains("<parm name=\"PROTOVER\" value=\"1.1\"></parm>"));
    assert_eq!(stamped(&bytes, Version::DM_1_1).1, 0);
}

#[test]
fn a_neighbour_with_an_end_tag_of_its_own_is_not_cut_in_two() {
    let long =
        XML.replace("<parm name='PROVIDER-ID'  value='dm&amp;server' />", "<parm name=\"PROVIDER-ID\" value=\"x\"></parm>");
    let (bytes, changed) = stamped(long.as_bytes(), Version::DM_1_2);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert_eq!(changed, 1);
    assert!(text.contains("value=\"x\"></parm>\r\n    <parm name=\"PROTOVER\" value=\"1.2\"/>"), "{text}");
    Document::read(&bytes).expect("well-formed");
}

#[test]
fn a_code_page_that_is_switched_in_a_value_is_in_force_behind_it() {
    // PROTOVER in two pieces with a switch to page 0 between them; what follows depends on it.
    let mut raw = vec![3, 0x0B, 0x6A, 0, 0x45];
    raw.extend([0xC6, 0x00, 0x01, 0x55, 0x01, 0x87, 0x36, 0x06, 0x03, b'w', b'7', 0, 0x01]);
    raw.extend(*b"\x87\x05\x03PROTOVER\0\x06\x031.\0\x00\x00\x031\0\x01");
    raw.extend(*b"\x87\x07\x06\x03DM\0\x01\x87\x20\x06\x03h\0\x01\x01\x01");
    let names = |raw: &[u8]| -> Vec<String> {
        let document = Document::read(raw).expect("a document");
        let starts = document.events.iter().filter_map(|event| match event {
            Event::Start(tag) => Some(tag.says("name").to_owned()),
            Event::End(_) => None,
        });
        starts.collect()
    };
    assert_eq!(names(&raw).last().map(String::as_str), Some("PXADDR"), "of page 0");
    let (bytes, changed) = stamped(&raw, Version::DM_1_2);
    assert_eq!((changed, names(&bytes)), (1, names(&raw)));
    assert_eq!(Document::read(&bytes).expect("a document").accounts()[0].version(), Some("1.2"));
}

#[test]
fn every_one_of_several_parameters_says_the_same() {
    let twice = XML.replace(
        "<parm name=\"NAME\" value=\"DM\"/>",
        "<parm name=\"PROTOVER\" value=\"1.1\"/><parm name=\"PROTOVER\" value=\"1.2\"/>",
    );
    let (bytes, changed) = stamped(twice.as_bytes(), Version::DM_1_2);
    assert_eq!(changed, 1);
    assert_eq!(String::from_utf8_lossy(&bytes), twice.replace("\"1.1\"/><", "\"1.2\"/><"));
}

#[test]
fn only_the_accounts_that_are_meant() {
    let document = Document::read(XML.as_bytes()).expect("a document");
    assert_eq!(stamp(XML.as_bytes(), &document, Version::DM_1_2, |account| account.provider_id == "other").1, 0);
}

#[test]
fn the_version_is_one_that_may_stand_there() {
    let (v11, v12, v13) = (Version::DM_1_1, Version::DM_1_2, Version::DM_1_3);
    assert_eq!(highest(Some(v13), &[v13, v12, v11]), Some(v12));
    assert_eq!(highest(Some(v11), &[v13, v12, v11]), Some(v11));
    assert_eq!(highest(Some(v13), &[v13]), None);
    assert_eq!(highest(None, &[Version::SYNCML_1_2]), None);
}

#[test]
fn what_is_no_document_says_why() {
    let deep = "<characteristic type=\"x\">".repeat(100);
    let cases: [(Vec<u8>, &str); 9] = [
        (b"<SyncML/>".to_vec(), "no provisioning document"),
        (b"".to_vec(), "truncated"),
        (XML.as_bytes()[..200].to_vec(), "truncated"),
        (format!("{XML}<wap-provisioningdoc/>").into_bytes(), "behind"),
        (XML.replace("</wap-provisioningdoc>", "</wap>").into_bytes(), "not well-formed"),
        (format!("<wap-provisioningdoc>{deep}").into_bytes(), "nested"),
        (wbxml()[..40].to_vec(), "truncated"),
        ([wbxml(), vec![1]].concat(), "behind"),
        (vec![3, 0xA4, 0x01, 0x6A, 0, 0x45, 1], "no provisioning document"),
    ];
    for (raw, why) in cases {
        let said = Document::read(&raw).expect_err("none").to_string();
        let why = if why == "behind" { "after the end" } else { why };
        assert!(said.contains(why), "{said} for {:?}", String::from_utf8_lossy(&raw));
    }
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(which in 0usize..2, at in any::<prop::sample::Index>(), byte: u8, cut in any::<prop::sample::Index>()) {
        let mut raw = both()[which].clone();
        let at = at.index(raw.len());
        raw[at] = byte;
        for raw in [&raw[..], &raw[..cut.index(raw.len())]] {
            if let Ok(document) = Document::read(raw) {
                let (edits, changed) = stamp(raw, &document, Version::DM_1_2, |_| true);
                let bytes = edits.apply(&Bytes::copy_from_slice(raw));
                let again = Document::read(&bytes).expect("still a document");
                prop_assert_eq!(stamp(&bytes, &again, Version::DM_1_2, |_| true).1, 0, "{} first", changed);
            }
        }
    }
}
