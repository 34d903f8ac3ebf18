//! Notifications on their way to the push gateway, and the sessions that answer them.

use std::{fs, net::SocketAddr, os::unix::fs::PermissionsExt, path::Path};

use protover::{
    notification::{Initiator, Package0, UiMode},
    reference::{Device, Server, Settings},
    syncml::{alert::StartedBy, integrity::Key, version::Version},
};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::rig::{Answer, Does, Rig, Upstream};

const KEY: Key<'static> = Key { user: "mgmtsrv", password: "secret", nonce: b"nonce" };

fn package0(session: u16, key: &Key<'_>) -> Vec<u8> {
    let mut package0 = Package0 {
        digest: [0; 16],
        version: 11,
        ui_mode: UiMode::Background,
        initiator: Initiator::Server,
        session_id: session,
        server_id: "mgmtsrv".into(),
        vendor: b"vendor's own".to_vec(),
    };
    package0.sign(key).unwrap();
    package0.write().unwrap()
}

/// A PAP submission to an address; the binary part holds the boundary.
fn pap(address: &str, notification: &[u8]) -> Vec<u8> {
    let body = [
        format!(
            "--b0und\r\nContent-Type: application/xml\r\n\r\n<?xml version=\"1.0\"?><pap><push-message push-id=\"1\">\
             <address address-value=\"{address}\"/></push-message></pap>\r\n--b0und\r\n\
             Content-Type: application/vnd.syncml.notification\r\nX-Wap-Application-Id: x-wap-application:syncml.dm\r\n\r\n"
        )
        .as_bytes(),
        notification,
        b"\r\n--b0und--\r\n",
    ]
    .concat();
    let head = format!(
        "POST /pap?x=%20 HTTP/1.1\r\nHost: ppg.example\r\nContent-Type: multipart/related; boundary=b0und; type=\"application/xml\"\r\n\
         Content-MD5: abc\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), &body].concat()
}

struct Setting {
    rig: Rig,
    gateway: Upstream,
    server: Server,
    _home: tempfile::TempDir,
}

async fn setting(notification: &str, unsupported: &str) -> Setting {
    let home = tempfile::tempdir().unwrap();
    let secrets = home.path().join("secrets.toml");
    fs::write(&secrets, "[server]\nid = \"mgmtsrv\"\npassword = \"secret\"\nnonce = \"bm9uY2U=\"\n").unwrap();
    fs::set_permissions(&secrets, fs::Permissions::from_mode(0o600)).unwrap();
    let gateway = Upstream::start(|_| Does::Answer(b"HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n\r\n<pap>".to_vec())).await;
    let versions = vec![Version::DM_1_1, Version::DM_1_2, Version::DM_1_3];
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::start(any, Settings { versions, ..Settings::default() }).await.unwrap();
    let process = format!(
        "[[listener]]\nname = \"push\"\nkind = \"push\"\naddress = \"127.0.0.1:0\"\ngateway = \"http://{}/gw\"\n",
        gateway.address
    );
    let rig = Rig::start(&process, &[&site(server.address(), &secrets, notification, unsupported)]).await;
    Setting { rig, gateway, server, _home: home }
}

fn site(server: SocketAddr, secrets: &Path, notification: &str, more: &str) -> String {
    format!(
        "[site]\nname = \"operator\"\nhosts = [\"dm.example\"]\nrecommend = \"1.2\"\nsecrets = {:?}\n{more}\n\
         [notification]\n{notification}\n[[server]]\nname = \"s\"\nurl = \"http://{server}\"\nspeaks = [\"1.1\", \"1.2\", \"1.3\"]\n",
        secrets.display().to_string()
    )
}

impl Setting {
    async fn push(&self, raw: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.rig.proxy.address("push").unwrap()).await.unwrap();
        stream.write_all(raw).await.unwrap();
        Answer::read(&mut stream).await
    }

    /// The first message of the session that answers, and what it says.
    async fn answer(&self, session: &str, version: Version, invited: bool) -> protover::reference::Outcome {
        let mut device = Device::new("IMEI:1", version);
        device.session = session.to_owned();
        device.started_by = if invited { StartedBy::Server } else { StartedBy::Client };
        device.run(&"http://dm.example/dm".parse().unwrap(), Some(self.rig.address())).await
    }

    async fn of_kind(&self, kind: &str, all: usize) -> Vec<Value> {
        self.rig.lines(all).await.into_iter().filter(|line| line["kind"] == kind).collect()
    }
}

const LISTED: &str = "version = \"recommended\"\ndevices = [\"WAPPUSH=+1555*\", \"/push/*\"]\n";

#[tokio::test]
async fn a_notification_is_made_to_say_the_recommended_version_and_nothing_else_changes() {
    for (carrier, edited) in [("version-field", "version-field"), ("vendor-body", "vendor-body")] {
        let setting = setting(&format!("{LISTED}carrier = \"{carrier}\"\n"), "").await;
        let original = package0(0x1A, &KEY);
        let raw = pap("WAPPUSH=+15551234/TYPE=PLMN@ppg.example", &original);
        let answer = setting.push(&raw).await;
        assert_eq!((answer.status, answer.text().as_str()), (202, "<pap>"), "{carrier}");
        let seen = setting.gateway.seen().remove(0);
        assert!(seen.head.starts_with("POST /gw/pap?x=%20 "), "{}", seen.head);
        assert_eq!(seen.header("content-md5"), None, "a digest of the old body");
        let body = raw.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let at = raw.windows(16).position(|window| window == &original[..16]).unwrap() - body;
        let end = seen.body.len() - b"\r\n--b0und--\r\n".len();
        assert_eq!((&seen.body[..at], &seen.body[end..]), (&raw[body..body + at], &b"\r\n--b0und--\r\n"[..]));
        let got = Package0::read(&seen.body[at..end]).unwrap();
        assert!(got.verifies(&KEY), "{carrier}");
        assert_eq!(got.recommended(), Some(Version::DM_1_2));
        if carrier == "version-field" {
            assert_eq!((got.version, seen.body.len()), (12, raw.len() - body), "no length changed");
        } else {
            assert_eq!((got.version, &got.vendor[..]), (11, &b"DM-Recommended-Version=DM/1.2;vendor's own"[..]));
        }
        let line = setting.rig.line().await;
        let said = ["kind", "site", "server", "verdict", "reason", "requirement", "session", "recommended", "store"];
        let said: Vec<&str> = said.iter().map(|key| line[*key].as_str().unwrap_or("-")).collect();
        assert_eq!(said, ["notification", "operator", "push", "advise", "notified", "Server-1", "1A", "DM/1.2", "memory"]);
        assert_eq!(line["edits"], serde_json::json!([edited, "digest"]));
    }
}

#[tokio::test]
async fn what_must_not_be_changed_goes_on_byte_for_byte_with_the_reason() {
    let good = package0(1, &KEY);
    let tlv = pap("WAPPUSH=+1555", &good);
    let tlv = String::from_utf8_lossy(&tlv).replace("syncml.notification", "syncml.dm.notification").into_bytes();
    let cases: [(&str, Vec<u8>, &str, Option<&str>); 7] = [
        ("version = \"keep\"", pap("WAPPUSH=+1555", &good), "notification-kept", None),
        (LISTED, pap("WAPPUSH=+49", &good), "not-listed", None),
        (LISTED, pap("WAPPUSH=+1555", &package0(1, &Key { password: "wrong", ..KEY })), "digest-mismatch", None),
        (LISTED, pap("WAPPUSH=+1555", &package0(1, &Key { nonce: b"other", ..KEY })), "digest-mismatch", None),
        (LISTED, pap("WAPPUSH=+1555", &good[..20]), "no-notification", Some("truncated: 24 bytes are needed")),
        (LISTED, pap("WAPPUSH=+1555", b""), "no-notification", Some("truncated: 24 bytes are needed")),
        (LISTED, tlv, "no-notification", Some("a notification of DM 1.3")),
    ];
    for (policy, raw, reason, detail) in cases {
        let setting = setting(policy, "").await;
        // Lengths may differ from what the text says where bytes were replaced.
        let head_end = raw.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let (head, body) = raw.split_at(head_end);
        let head = String::from_utf8_lossy(head).into_owned();
        let head: Vec<&str> = head.lines().filter(|line| !line.starts_with("Content-Length") && !line.is_empty()).collect();
        let raw = [format!("{}\r\nContent-Length: {}\r\n\r\n", head.join("\r\n"), body.len()).as_bytes(), body].concat();
        assert_eq!(setting.push(&raw).await.status, 202, "{reason}");
        assert_eq!(setting.gateway.seen()[0].body, body, "{reason}");
        assert_eq!(setting.gateway.seen()[0].header("content-md5"), Some("abc"), "{reason}");
        let line = setting.rig.line().await;
        assert_eq!((&line["verdict"], &line["reason"]), (&"pass".into(), &reason.into()), "{line}");
        assert_eq!(line["detail"].as_str(), detail, "{reason}");
        assert!(!line.to_string().contains("secret\""), "{line}");
    }
}

#[tokio::test]
async fn the_nonce_of_resynchronisation_and_a_bare_post_do_too() {
    let setting = setting(LISTED, "").await;
    let note = package0(7, &Key { nonce: &[0; 4], ..KEY });
    let head = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/vnd.syncml.notification\r\nContent-Length: {}\r\n\r\n",
            note.len()
        )
    };
    for (path, changed) in [("/push/1", true), ("/other/1", false)] {
        setting.push(&[head(path).as_bytes(), &note].concat()).await;
        let seen = setting.gateway.seen().pop().unwrap();
        let got = Package0::read(&seen.body).unwrap();
        assert!(got.verifies(&Key { nonce: &[0; 4], ..KEY }), "{path}");
        assert_eq!(got.recommended().is_some(), changed, "{path}");
    }
    // Anything else a gateway is asked passes.
    assert_eq!(setting.push(b"GET /status HTTP/1.1\r\nHost: a\r\n\r\n").await.status, 202);
    setting.rig.lines(3).await;
}

#[tokio::test]
async fn the_session_that_answers_is_judged_by_what_was_notified() {
    for (higher, device, verdict, reason, requirement, used) in [
        ("log", Version::DM_1_2, "pass", "recommended", "Client-1", "DM/1.2"),
        ("log", Version::DM_1_1, "advise", "supported-not-recommended", "Client-2", "DM/1.1"),
        ("log", Version::DM_1_3, "advise", "supported-not-recommended", "Client-3", "DM/1.3"),
        ("bridge", Version::DM_1_3, "bridge", "higher-than-notified", "Client-3", "DM/1.2"),
        ("refuse", Version::DM_1_3, "refuse", "higher-than-notified", "Client-3", "-"),
        ("refuse", Version::DM_1_2, "pass", "recommended", "Client-1", "DM/1.2"),
    ] {
        let setting = setting(&format!("{LISTED}higher = \"{higher}\"\n"), "").await;
        setting.push(&pap("WAPPUSH=+1555", &package0(0xAB, &KEY))).await;
        // Devices write the session id as they please.
        let outcome = setting.answer("00ab", device, true).await;
        let case = format!("{higher} {device}");
        let lines = setting.of_kind("message", outcome.exchanges.len() + 1).await;
        let said: Vec<&str> = ["verdict", "reason", "requirement", "used", "started_by"]
            .iter()
            .map(|key| lines[0][*key].as_str().unwrap_or("-"))
            .collect();
        assert_eq!(said, [verdict, reason, requirement, used, "server"], "{case}");
        if verdict == "refuse" {
            let refused = outcome.refused.unwrap();
            assert_eq!((refused.status.as_str(), refused.items[0].as_str()), ("513", "DM/1.2"), "{case}");
        } else {
            assert!(outcome.is_complete(), "{case}: {outcome:?}");
            assert_eq!(setting.server.versions_seen(), [used], "{case}: in every message");
        }
        // The notification is answered; a session that the device starts by itself is not judged by it.
        let own = setting.answer("AB", device, false).await;
        assert!(own.is_complete(), "{case}");
    }
}

#[tokio::test]
async fn two_devices_with_one_session_id_are_never_guessed() {
    let setting = setting(&format!("{LISTED}higher = \"refuse\"\n"), "").await;
    for address in ["WAPPUSH=+15551", "WAPPUSH=+15552"] {
        setting.push(&pap(address, &package0(5, &KEY))).await;
    }
    for device in 1..=2 {
        let outcome = setting.answer("5", Version::DM_1_3, true).await;
        assert!(outcome.is_complete(), "{device}: {outcome:?}");
    }
    let lines = setting.rig.lines(2 + setting.server.saw().len()).await;
    let firsts: Vec<&Value> = lines.iter().filter(|line| line["kind"] == "message" && line["message"] == "1").collect();
    assert_eq!(firsts.len(), 2);
    for first in firsts {
        assert_eq!(first["detail"], "several devices were notified with this session id");
        assert_eq!(first["requirement"], "Server-2", "{first}");
    }
}
