use std::net::{Ipv4Addr, SocketAddr};

use http::Uri;
use proptest::prelude::*;

use super::*;
use crate::syncml::{
    self,
    header::Encoding,
    version::{Version, VersionTable},
};

const BOTH: [Encoding; 2] = [Encoding::Xml, Encoding::Wbxml];
const ALL: [Version; 3] = [Version::DM_1_1, Version::DM_1_2, Version::DM_1_3];

async fn server(settings: Settings) -> (Server, Uri) {
    let server = Server::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), settings).await.unwrap();
    let uri = format!("http://{}/dm", server.address()).parse().unwrap();
    (server, uri)
}

fn device(version: Version, encoding: Encoding) -> Device {
    Device { encoding, strictness: Strictness::Motorola, ..Device::new("IMEI:1", version) }
}

#[tokio::test]
async fn every_command_is_carried_out_in_every_version_and_encoding() {
    for version in ALL {
        for encoding in BOTH {
            let (server, uri) = server(Settings {
                versions: vec![version],
                resp_uri: Some("http://{host}/session/{session}".into()),
                ..Settings::default()
            })
            .await;
            let outcome = device(version, encoding).run(&uri, None).await;
            assert!(outcome.is_complete(), "{outcome:?}");
            assert_eq!(outcome.carried_out.len(), 5);
            assert_eq!(outcome.exchanges.len(), 3);
            assert_eq!(server.versions_seen(), [version.to_string()]);
            assert_eq!(server.results().len(), 2);
        }
    }
}

#[tokio::test]
async fn credentials_are_asked_for_and_checked() {
    let dolly = Credentials { user: "dolly".into(), password: "sheep".into() };
    for auth in [Auth::Basic, Auth::Md5] {
        for encoding in BOTH {
            let (_server, uri) = server(Settings { credentials: Some((auth, dolly.clone())), ..Settings::default() }).await;
            let mut device = device(Version::DM_1_2, encoding);
            device.credentials = Some(dolly.clone());
            let outcome = device.run(&uri, None).await;
            assert!(outcome.is_complete(), "{outcome:?}");
            assert_eq!((outcome.carried_out.len(), outcome.exchanges.len()), (5, 4));
            device.credentials = Some(Credentials { user: "dolly".into(), password: "wolf".into() });
            device.session = "2".into();
            assert_eq!(device.run(&uri, None).await.refused.unwrap().status, "401");
            device.credentials = None;
            device.session = "3".into();
            assert_eq!(device.run(&uri, None).await.refused.unwrap().status, "407");
        }
    }
}

#[tokio::test]
async fn servers_refuse_as_real_ones_do() {
    let versions = vec![Version::DM_1_1, Version::DM_1_2];
    for (refusal, expected) in
        [(Refusal::Status, None), (Refusal::Http400, Some("HTTP 400")), (Refusal::Http500, Some("HTTP 500"))]
    {
        let (_server, uri) = server(Settings { versions: versions.clone(), refusal, ..Settings::default() }).await;
        let outcome = Device::new("IMEI:1", Version::DM_1_3).run(&uri, None).await;
        assert_eq!(outcome.gave_up.as_deref(), expected);
        if let Some(refused) = outcome.refused {
            assert_eq!((&*refused.status, &*refused.items), ("513", &["DM/1.2".to_owned(), "DM/1.1".to_owned()][..]));
        }
    }
}

#[test]
fn the_selection_prefers_what_was_notified_and_never_goes_above() {
    let mut accounts = Accounts::default();
    let select = |accounts: &Accounts, notified| accounts.select("it", &ALL, notified);
    assert_eq!(select(&accounts, None), Some(Version::DM_1_3), "nothing is known: the highest");
    accounts.store("it", Version::DM_1_1);
    assert_eq!(select(&accounts, None), Some(Version::DM_1_1), "Client-4");
    assert_eq!(select(&accounts, Some(Version::DM_1_2)), Some(Version::DM_1_2), "Client-1");
    let old = [Version::DM_1_1];
    assert_eq!(accounts.select("it", &old, Some(Version::DM_1_3)), Some(Version::DM_1_1), "Client-2");
    assert_eq!(accounts.select("it", &[Version::DM_1_3], Some(Version::DM_1_2)), None, "Client-3");
}

/// An answer of a server that speaks DM 1.2, with one thing changed.
async fn taken(strictness: Strictness, change: impl Fn(String) -> String + Send + 'static) -> Option<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/dm", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 16_384]).await.unwrap();
        let body = "<?xml version=\"1.0\"?><SyncML xmlns=\"SYNCML:SYNCML1.2\"><SyncHdr><VerDTD>1.2</VerDTD><VerProto>DM/1.2</VerProto><SessionID>1</SessionID>\
            <MsgID>1</MsgID><Target><LocURI>IMEI:1</LocURI></Target><Source><LocURI>s</LocURI></Source></SyncHdr><SyncBody><Status><CmdID>1</CmdID>\
            <MsgRef>1</MsgRef><CmdRef>0</CmdRef><Cmd>SyncHdr</Cmd><Data>212</Data></Status><Final/></SyncBody></SyncML>";
        let body = change(body.to_owned());
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    });
    let mut device = Device { strictness, ..Device::new("IMEI:1", Version::DM_1_2) };
    device.run(&uri, None).await.gave_up
}

#[tokio::test]
async fn a_strict_device_stops_at_what_old_phones_stop_at() {
    let cases: [(&str, &str, &str); 9] = [
        ("<VerDTD>1.2", "<VerDTD>1.1", "VerDTD is not mine"),
        ("DM/1.2", "DM/1.3", "VerProto is not mine"),
        ("SYNCML:SYNCML1.2", "syncml:SYNCML1.2", "xmlns is not mine"),
        ("<SessionID>1", "<SessionID>01", "SessionID is not mine"),
        ("IMEI:1", "IMEI:2", "I am not the Target"),
        ("SyncHdr</Cmd>", "Alert</Cmd>", "no Status for the SyncHdr"),
        ("<?xml", "\u{feff}<?xml", "a byte-order mark"),
        ("DM/1.2", "DM/1&#46;2", "references in VerProto"),
        ("</Source></SyncHdr>", "</Source><Vendor>x</Vendor></SyncHdr>", "unknown elements in SyncHdr"),
    ];
    for (from, to, expected) in cases {
        assert_eq!(taken(Strictness::Motorola, move |body| body.replace(from, to)).await.as_deref(), Some(expected));
        assert_eq!(taken(Strictness::Lenient, move |body| body.replace(from, to)).await, None, "{expected}");
    }
    let prefixed = |body: String| body.replace("<Final/>", "<s:Final/>");
    assert_eq!(taken(Strictness::Motorola, prefixed).await.as_deref(), Some("element prefixes"));
    let spaced = |body: String| body.replace("><", ">\n<");
    assert_eq!(taken(Strictness::Windows, spaced).await.as_deref(), Some("white space between tags"));
    assert_eq!(taken(Strictness::Motorola, |body| body).await, None);
    assert_eq!(taken(Strictness::Windows, |body| body).await, None);
}

proptest! {
    #[test]
    fn what_is_written_is_read_again_and_the_proxy_reads_the_same(
        session in "[A-F0-9]{1,8}", uri in "[ -~é]{0,40}", values in proptest::collection::vec("[ -~ü]{1,20}", 0..6), which in 0_usize..3,
    ) {
        let header = document::Header { session: &session, message: 7, target: "t", source: &uri, max_msg_size: Some(9000), ..Default::default() };
        let items = values.iter().map(|value| Node::new("Item", vec![Node::leaf("Data", value)])).collect();
        let document = Document::new(ALL[which], &header, vec![Node::new("Replace", items)]);
        for encoding in BOTH {
            let raw = document.write(encoding);
            let read = Document::read(encoding, &raw).unwrap();
            prop_assert_eq!(&read.root, &document.root);
            let index = syncml::scan(encoding, &raw).unwrap();
            syncml::check(&raw, &index).unwrap();
            prop_assert_eq!(index.text(&raw, index.ver_proto), ALL[which].to_string());
            prop_assert_eq!(index.text(&raw, index.source), uri.as_str());
            prop_assert_eq!(index.text(&raw, index.session_id), session.as_str());
            prop_assert_eq!(index.text(&raw, index.max_msg_size.unwrap()), "9000");
        }
    }

    #[test]
    fn readers_never_panic(raw in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = (Document::read(Encoding::Xml, &raw), Document::read(Encoding::Wbxml, &raw));
    }
}

#[test]
fn refusals_that_the_proxy_writes_are_messages_to_a_device() {
    let table = VersionTable::default();
    for encoding in BOTH {
        let header = document::Header { session: "A", message: 1, target: "http://dm", source: "IMEI:1", ..Default::default() };
        let raw = Document::new(Version::DM_1_2, &header, Vec::new()).write(encoding);
        let index = syncml::scan(encoding, &raw).unwrap();
        let refusal = syncml::reply::Refusal {
            status: syncml::status::Status::PROTOCOL_VERSION_NOT_SUPPORTED,
            supported: &[Version::DM_1_1],
            recommended: Some(Version::DM_1_1),
            table: &table,
        };
        let answer = Document::read(encoding, &syncml::reply::refusal(&raw, &index, &refusal)).unwrap();
        assert_eq!(answer.field(&["Target", "LocURI"]), "IMEI:1");
        let status = &answer.commands()[0];
        assert_eq!((status.text_at(&["Data"]), status.text_at(&["Item", "Data"])), ("513", "DM/1.1"));
    }
}
