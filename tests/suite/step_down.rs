//! Clients that step down by themselves, as libsynthesis does: the answer that protover writes brings them
//! to a version that the server speaks.

use std::net::{Ipv4Addr, SocketAddr};

use protover::{
    reference::{Device, Refusal, Server, Settings},
    syncml::{header::Encoding, version::Version},
};

use crate::rig::Rig;

fn site(server: SocketAddr, speaks: Version) -> String {
    format!(
        "[site]\nname = \"s\"\nhosts = [\"dm.example\"]\n[unsupported]\nthen = \"refuse\"\n\
         [[server]]\nname = \"old\"\nurl = \"http://{server}\"\nspeaks = [\"{speaks}\"]\n"
    )
}

async fn server(version: Version, refusal: Refusal) -> Server {
    let settings = Settings { versions: vec![version], refusal, ..Settings::default() };
    Server::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), settings).await.unwrap()
}

#[tokio::test]
async fn the_answer_that_protover_writes_brings_a_device_to_the_servers_version() {
    let sync = Version::SYNCML_1_2;
    for (device_version, speaks, tried, commands) in [
        (Version::DM_1_3, Version::DM_1_1, "DM/1.3 DM/1.2 DM/1.1", 5),
        (Version::DM_1_2, Version::DM_1_1, "DM/1.2 DM/1.1", 5),
        (sync, Version::SYNCML_1_1, "SyncML/1.2 SyncML/1.1", 0),
        (sync, Version::SYNCML_1_0, "SyncML/1.2 SyncML/1.1 SyncML/1.0", 0),
    ] {
        for encoding in [Encoding::Xml, Encoding::Wbxml] {
            let case = format!("{device_version} {speaks} {encoding:?}");
            let old = server(speaks, Refusal::Status).await;
            let rig = Rig::start("", &[&site(old.address(), speaks)]).await;
            let mut device = Device::new("IMEI:493005100592800", device_version);
            device.encoding = encoding;
            device.step_down = true;
            let outcome = device.run(&"http://dm.example/dm".parse().unwrap(), Some(rig.address())).await;
            assert!(outcome.is_complete(), "{case}: {outcome:?}");
            let versions: Vec<String> = outcome.versions.iter().map(Version::to_string).collect();
            assert_eq!(versions.join(" "), tried, "{case}");
            assert_eq!(outcome.carried_out.len(), commands, "{case}");
            assert_eq!(old.versions_seen(), [speaks.to_string()], "{case}");
            // Each refusal came in the device's own version, and each has its line.
            let lines = rig.lines(outcome.exchanges.len()).await;
            let refusals = outcome.versions.len() - 1;
            for (line, exchange) in lines.iter().zip(&outcome.exchanges).take(refusals) {
                assert_eq!((&line["verdict"], &line["syncml_status"]), (&"refuse".into(), &513.into()), "{case}: {line}");
                assert_eq!(exchange.version.as_deref(), line["declared"].as_str(), "{case}");
            }
            let sessions: std::collections::BTreeSet<&str> = lines.iter().filter_map(|line| line["session"].as_str()).collect();
            assert_eq!(sessions.len(), outcome.versions.len(), "{case}: each began a new session");
        }
    }
}

#[tokio::test]
async fn a_device_that_does_not_step_down_stops() {
    let old = server(Version::DM_1_1, Refusal::Status).await;
    let rig = Rig::start("", &[&site(old.address(), Version::DM_1_1)]).await;
    let mut device = Device::new("IMEI:1", Version::DM_1_2);
    let outcome = device.run(&"http://dm.example/dm".parse().unwrap(), Some(rig.address())).await;
    assert_eq!(outcome.refused.unwrap().status, "513");
    assert!(old.saw().is_empty());
}

#[tokio::test]
async fn a_device_steps_down_on_a_status_and_on_nothing_else() {
    for (refusal, complete) in
        [(Refusal::Status, true), (Refusal::Dtd, true), (Refusal::Http400, false), (Refusal::Http500, false)]
    {
        let old = server(Version::DM_1_1, refusal).await;
        let mut device = Device::new("IMEI:1", Version::DM_1_3);
        device.step_down = true;
        let outcome = device.run(&format!("http://{}/dm", old.address()).parse().unwrap(), None).await;
        assert_eq!(outcome.is_complete(), complete, "{refusal:?}: {outcome:?}");
    }
}
