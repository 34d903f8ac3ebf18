use proptest::prelude::*;

use super::*;

const NOTE: &[u8] = b"\x43\x50\x9e\x84\xbd\x7b\xf8\x38\x8c\x31\x59\x5b\x36\x8b\xe7\xc7\x02\xd8\0\0\0\0\x01\x07mgmtsrv";
const CONTROL: &str = "<?xml version=\"1.0\"?><!DOCTYPE pap PUBLIC \"-//WAPFORUM//DTD PAP 2.0//EN\" \"http://www.wapforum.org/DTD/pap_2.0.dtd\">\
    <pap><push-message push-id=\"1@a\"><address address-value=\"WAPPUSH=+1555/TYPE=PLMN@ppg.example\"/>\
    <address address-value='a&amp;b'></address></push-message></pap>";

/// A submission, with lines that end like this.
fn submission(ending: &str, encoding: &str, content: &[u8]) -> (String, Vec<u8>) {
    let encoding = if encoding.is_empty() { String::new() } else { format!("Content-Transfer-Encoding: {encoding}{ending}") };
    let head = format!(
        "a preamble with --asdlfkjiurwgh in it{ending}--asdlfkjiurwgh{ending}Content-Type: application/xml; charset=UTF-8{ending}{ending}\
         {CONTROL}{ending}--asdlfkjiurwgh \t{ending}CONTENT-type:{ending} application/vnd.syncml.notification{ending}\
         X-Wap-Application-Id: x-wap-application:syncml.dm{ending}{encoding}{ending}"
    );
    let tail = format!("{ending}--asdlfkjiurwgh--{ending}an epilogue{ending}--asdlfkjiurwgh{ending}");
    let body = [head.as_bytes(), content, tail.as_bytes()].concat();
    ("multipart/related; type=\"application/xml\"; boundary=\"asdlfkjiurwgh\"".to_owned(), body)
}

fn replaced(content_type: &str, body: &[u8], note: &[u8], by: &[u8]) -> Vec<u8> {
    let push = Push::read(content_type, body).unwrap();
    assert_eq!(push.notification, note);
    assert_eq!(push.with(body, note), body, "the same notification changes nothing");
    let new = push.with(body, by);
    let again = Push::read(content_type, &new).unwrap();
    assert_eq!(again.notification, by);
    assert_eq!(again.addresses, push.addresses);
    new
}

/// The notification with another version, and another digest.
fn other() -> Vec<u8> {
    let mut other = NOTE.to_vec();
    other[..16].copy_from_slice(b"\xe5\xa1\x9c\x0e\x2f\x19\xc0\x6e\x91\x9b\xe8\x6d\xdf\x70\x4d\x1d");
    other[16..18].copy_from_slice(b"\x03\x18");
    other
}

#[test]
fn only_the_octets_of_the_notification_change() {
    let big = [NOTE, &[0xAB; 200_000]].concat();
    let tricky = [NOTE, b"\r\n--asdlfkjiurwghX\r\n--asdlfkjiurwg\n--asdlfkjiurwgh--x asdlfkjiurwgh \r\r\n".as_slice()].concat();
    for ending in ["\r\n", "\n"] {
        for note in [NOTE, &big, if ending == "\n" { &big } else { &tricky }] {
            let (content_type, body) = submission(ending, "binary", note);
            let by = [&other(), &note[NOTE.len()..]].concat();
            let new = replaced(&content_type, &body, note, &by);
            assert_eq!(new.len(), body.len());
            let at = memchr::memmem::find(&body, NOTE).unwrap();
            assert_eq!((&new[..at], &new[at + 18..]), (&body[..at], &body[at + 18..]), "all but digest and version");
        }
    }
}

#[test]
fn a_packed_part_stays_packed_in_the_same_lines() {
    for ending in ["\r\n", "\n"] {
        let text = BASE64.encode(NOTE);
        let lines = [&text[..20], ending, &text[20..], ending].concat();
        let (content_type, body) = submission(ending, "Base64", lines.as_bytes());
        let new = replaced(&content_type, &body, NOTE, &other());
        let breaks =
            |body: &[u8]| body.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect::<Vec<_>>();
        assert_eq!(breaks(&new), breaks(&body));
        replaced(&content_type, &body, NOTE, &[NOTE, b"longer"].concat());
        replaced(&content_type, &body, NOTE, &NOTE[..30]);

        let quoted: String = NOTE
            .iter()
            .enumerate()
            .map(|(at, byte)| {
                let soft = if at == 11 { format!("={ending}") } else { String::new() };
                if byte.is_ascii_alphanumeric() { format!("{soft}{}", char::from(*byte)) } else { format!("{soft}={byte:02x}") }
            })
            .collect();
        let (content_type, body) = submission(ending, "quoted-printable", quoted.as_bytes());
        let new = replaced(&content_type, &body, NOTE, &other());
        assert!(memchr::memmem::find(&new, b"mgmtsrv").is_some() && memchr::memmem::find(&new, b"=00=00=00=00=01=07").is_some());
        replaced(&content_type, &body, NOTE, &[NOTE, &[0; 100]].concat());
    }
}

#[test]
fn whom_it_goes_to_is_in_the_control_entity() {
    let (content_type, body) = submission("\r\n", "", NOTE);
    assert_eq!(Push::read(&content_type, &body).unwrap().addresses, ["WAPPUSH=+1555/TYPE=PLMN@ppg.example", "a&b"]);
}

#[test]
fn a_notification_by_itself_is_one_too() {
    let push = Push::read("Application/vnd.SyncML.notification", NOTE).unwrap();
    assert_eq!((push.with(NOTE, &other()), push.addresses.len()), (other(), 0));
}

#[test]
fn what_is_no_notification_is_said() {
    let (content_type, body) = submission("\r\n", "", NOTE);
    let with = |old: &str, new: &str| {
        let at = memchr::memmem::find(&body, old.as_bytes()).unwrap();
        [&body[..at], new.as_bytes(), &body[at + old.len()..]].concat()
    };
    for (content_type, body, expected) in [
        ("text/plain", body.clone(), Unreadable::NoNotification),
        ("application/vnd.syncml.dm.notification; a=b", NOTE.to_vec(), Unreadable::Of13),
        ("multipart/related", body.clone(), Unreadable::Boundary),
        ("multipart/related; boundary=", body.clone(), Unreadable::Boundary),
        ("multipart/related; boundary=other", body.clone(), Unreadable::Boundary),
        (&content_type, with("syncml.notification", "oma.ulp"), Unreadable::NoNotification),
        (&content_type, with("syncml.notification", "syncml.dm.notification"), Unreadable::Of13),
        (&content_type, with("X-Wap-Application-Id", "Content-Transfer-Encoding"), Unreadable::TransferEncoding),
        (&content_type, body[..body.len() - 40].to_vec(), Unreadable::Boundary),
    ] {
        assert_eq!(Push::read(content_type, &body).unwrap_err(), expected, "{content_type}");
    }
    // Only headers: there is no content that could be another.
    let headers = b"--b\r\nContent-Type: application/vnd.syncml.notification\r\nX: y\n\nz\r\n--b--\r\n";
    assert_eq!(Push::read("multipart/related; boundary=b", headers).unwrap_err(), Unreadable::NoNotification);
    let (content_type, empty) = submission("\n", "base64", b"\n \n");
    replaced(&content_type, &empty, b"", NOTE);
    let (content_type, body) = submission("\n", "base64", b"!!!");
    assert_eq!(Push::read(&content_type, &body).unwrap_err(), Unreadable::TransferEncoding);
}

proptest! {
    #[test]
    fn no_body_makes_it_panic(body in "(--b|\r\n|\n|--|Content-Type: application/vnd.syncml.notification|Content-Transfer-Encoding: (base64|quoted-printable)|=4|[ -~]|:| ){0,40}") {
        if let Ok(push) = Push::read("multipart/related; boundary=b", body.as_bytes()) {
            prop_assert_eq!(push.with(body.as_bytes(), &push.notification).len(), body.len());
            let _ = push.with(body.as_bytes(), b"x");
        }
    }
}
