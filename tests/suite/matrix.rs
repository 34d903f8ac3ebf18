//! Every device with every server, through one protover: all sessions complete with all commands carried
//! out, the server only ever sees its own versions, the device only ever its own.

use std::net::{Ipv4Addr, SocketAddr};

use protover::{
    reference::{Auth, Credentials, Device, Document, Outcome, Server, Settings, Strictness},
    syncml::{header::Encoding, version::Version},
};
use serde_json::Value;

use crate::rig::Rig;

const DEVICES: [Version; 3] = [Version::DM_1_1, Version::DM_1_2, Version::DM_1_3];
const SERVERS: [(&str, &[Version]); 4] = [
    ("only11", &[Version::DM_1_1]),
    ("only12", &[Version::DM_1_2]),
    ("only13", &[Version::DM_1_3]),
    ("all", &[Version::DM_1_1, Version::DM_1_2, Version::DM_1_3]),
];

fn site(name: &str, server: SocketAddr, speaks: &[Version], more: &str) -> String {
    let speaks: Vec<String> = speaks.iter().map(|version| format!("\"{version}\"")).collect();
    format!(
        "[site]\nname = \"{name}\"\nhosts = [\"{name}.example\"]\n[unsupported]\nthen = \"bridge\"\n\
         [hint]\ncarriers = [\"http-header\", \"status-item\", \"header-meta\"]\n\
         [[server]]\nname = \"{name}\"\nurl = \"http://{server}\"\nspeaks = [{}]\n{more}",
        speaks.join(", ")
    )
}

async fn server(settings: Settings) -> Server {
    Server::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), settings).await.unwrap()
}

/// Every version that the device got a message in, each once.
fn got(outcome: &Outcome) -> Vec<String> {
    let mut versions: Vec<String> = outcome.exchanges.iter().filter_map(|exchange| exchange.version.clone()).collect();
    versions.dedup();
    versions
}

async fn all_with_all(encoding: Encoding) {
    let dolly = Credentials { user: "dolly".into(), password: "sheep".into() };
    let mut servers = Vec::new();
    for (name, speaks) in SERVERS {
        let credentials = Some((Auth::Md5, dolly.clone()));
        servers.push((
            name,
            speaks,
            server(Settings {
                versions: speaks.to_vec(),
                credentials,
                resp_uri: Some("http://{host}/session/{session}".into()),
                ..Settings::default()
            })
            .await,
        ));
    }
    let sites: Vec<String> = servers.iter().map(|(name, speaks, server)| site(name, server.address(), speaks, "")).collect();
    let rig = Rig::start("", &sites.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut messages = 0;
    for (name, speaks, server) in &servers {
        let mut before = 0;
        for version in DEVICES {
            let mut device = Device::new("IMEI:493005100592800", version);
            // The hint in Meta and in the Status must not trouble the strictest phone.
            device.strictness = Strictness::Motorola;
            device.encoding = encoding;
            device.credentials = Some(dolly.clone());
            device.session = format!("{version}").replace('/', "");
            device.max_msg_size = Some(16_384);
            let url = format!("http://{name}.example/dm").parse().unwrap();
            let outcome = device.run(&url, Some(rig.address())).await;
            assert!(outcome.is_complete(), "{version} with {name}: {:?} {:?}", outcome.refused, outcome.gave_up);
            assert_eq!(outcome.carried_out.len(), 5, "{version} with {name}");
            assert_eq!(got(&outcome), [version.to_string()], "the device only ever saw its own");
            let saw = server.saw();
            for saw in &saw[before..] {
                let expected = if speaks.contains(&version) { version } else { speaks[0] };
                assert_eq!(saw.version, expected.to_string(), "{version} with {name}");
                assert_eq!(saw.encoding, Some(encoding));
                let document = Document::read(encoding, &saw.raw).unwrap();
                let own = Document::new(expected, &Default::default(), Vec::new());
                assert_eq!(document.field(&["VerDTD"]), own.field(&["VerDTD"]));
                match encoding {
                    Encoding::Xml => assert_eq!(document.xmlns, own.xmlns),
                    Encoding::Wbxml => assert_eq!(document.public_id, own.public_id),
                }
            }
            assert_eq!(saw.len() - before, outcome.exchanges.len(), "no message was lost or sent twice");
            before = saw.len();
            messages += outcome.exchanges.len();
        }
        assert_eq!(server.results().len(), DEVICES.len() * 2, "every result arrived");
    }
    for line in rig.lines(messages).await {
        assert!(matches!(line["verdict"].as_str(), Some("pass" | "advise" | "bridge")), "{line}");
        assert_eq!(line["encoding"], encoding.name());
    }
}

#[tokio::test]
async fn every_device_with_every_server_in_xml() {
    all_with_all(Encoding::Xml).await;
}

#[tokio::test]
async fn every_device_with_every_server_in_wbxml() {
    all_with_all(Encoding::Wbxml).await;
}

#[tokio::test]
async fn a_server_that_takes_only_xml_is_no_server_for_wbxml() {
    let only_xml = server(Settings { encodings: vec![Encoding::Xml], ..Settings::default() }).await;
    let rig = Rig::start("", &[&site("xml", only_xml.address(), &[Version::DM_1_2], "encodings = [\"xml\"]\n")]).await;
    let url = "http://xml.example/dm".parse().unwrap();
    let mut device = Device::new("IMEI:1", Version::DM_1_2);
    device.strictness = Strictness::Motorola;
    device.encoding = Encoding::Wbxml;
    let outcome = device.run(&url, Some(rig.address())).await;
    assert_eq!(outcome.refused.unwrap().status, "415");
    assert!(only_xml.saw().is_empty(), "nothing was converted");
    let line = rig.lines(1).await.remove(0);
    assert_eq!((line["verdict"].as_str(), line["reason"].as_str()), (Some("refuse"), Some("unsupported-encoding")));
    assert_eq!((&line["syncml_status"], &line["http_status"]), (&Value::from(415), &Value::from(200)));
    device.encoding = Encoding::Xml;
    assert!(device.run(&url, Some(rig.address())).await.is_complete());
}

#[tokio::test]
async fn a_device_of_the_future_is_told_the_recommended_version_in_its_own_encoding() {
    let up_to_12 = server(Settings { versions: vec![Version::DM_1_1, Version::DM_1_2], ..Settings::default() }).await;
    let rig = Rig::start("", &[&site("now", up_to_12.address(), &[Version::DM_1_1, Version::DM_1_2], "")]).await;
    for encoding in [Encoding::Xml, Encoding::Wbxml] {
        let mut device = Device::new("IMEI:1", Version::parse("DM/2.0").unwrap());
        device.encoding = encoding;
        let outcome = device.run(&"http://now.example/dm".parse().unwrap(), Some(rig.address())).await;
        let refused = outcome.refused.unwrap();
        assert_eq!(refused.status, "513");
        assert_eq!(refused.items, ["DM/1.2", "DM/1.1", "Error - unsupported DM protocol version. Recommended version is 1.2"]);
        assert_eq!(outcome.exchanges[0].recommended, Some(Version::DM_1_2));
    }
    assert!(up_to_12.saw().is_empty());
    rig.lines(2).await;
}
