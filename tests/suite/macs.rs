//! MACs over messages (`x-syncml-hmac`): with the secrets they are checked and made anew, without them
//! nothing that they cover is edited.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use protover::{
    reference::{Auth, Credentials, Device, Outcome, Refusal, Server, Settings, Strictness},
    syncml::{header::Encoding, version::Version},
};
use serde_json::Value;

use crate::rig::Rig;

const DEVICE: &str = "IMEI:493005100592800";

fn bruce() -> Credentials {
    Credentials { user: "Bruce2".into(), password: "OhBehave".into() }
}

fn mgmtsrv() -> Credentials {
    Credentials { user: "mgmtsrv".into(), password: "secret".into() }
}

/// A file with the secrets; both sides begin with the nonce `reference`.
fn secrets(folder: &Path, password: &str) -> PathBuf {
    let path = folder.join("secrets.toml");
    let text = format!(
        "[server]\nid = \"mgmtsrv\"\npassword = \"secret\"\nnonce = \"cmVmZXJlbmNl\"\n\
         [[client]]\nuser = \"Bruce2\"\npassword = \"{password}\"\ndevice = \"IMEI:4930*\"\n"
    );
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

async fn server(version: Version, both_ways: bool) -> Server {
    let settings = Settings {
        versions: vec![version],
        refusal: Refusal::Status,
        credentials: Some((Auth::Mac, bruce())),
        own: both_ways.then(mgmtsrv),
        ..Settings::default()
    };
    Server::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), settings).await.unwrap()
}

fn site(server: SocketAddr, speaks: &str, secrets: Option<&Path>, more: &str) -> String {
    let secrets = secrets.map(|path| format!("secrets = {:?}", path.display().to_string())).unwrap_or_default();
    format!(
        "[site]\nname = \"s\"\nhosts = [\"dm.example\"]\n{secrets}\n[unsupported]\nthen = \"bridge\"\n\
         [[server]]\nname = \"old\"\nurl = \"http://{server}\"\nspeaks = {speaks}\n{more}"
    )
}

async fn run(rig: &Rig, version: Version, encoding: Encoding, both_ways: bool, session: &str) -> Outcome {
    let mut device = Device::new(DEVICE, version);
    device.encoding = encoding;
    device.strictness = Strictness::Motorola;
    device.credentials = Some(bruce());
    device.server = both_ways.then(mgmtsrv);
    device.session = session.to_owned();
    device.max_msg_size = Some(16_384);
    device.run(&"http://dm.example/dm".parse().unwrap(), Some(rig.address())).await
}

#[tokio::test]
async fn bridged_sessions_with_macs_complete_when_the_secrets_are_known() {
    for encoding in [Encoding::Xml, Encoding::Wbxml] {
        for both_ways in [false, true] {
            let case = format!("{encoding:?}, both ways {both_ways}");
            let home = tempfile::tempdir().unwrap();
            let old = server(Version::DM_1_1, both_ways).await;
            let secrets = secrets(home.path(), "OhBehave");
            let rig = Rig::start("", &[&site(old.address(), "[\"DM/1.1\"]", Some(&secrets), "")]).await;
            let outcome = run(&rig, Version::DM_1_2, encoding, both_ways, "1").await;
            assert!(outcome.is_complete(), "{case}: {:?} {:?}", outcome.refused, outcome.gave_up);
            assert_eq!(outcome.carried_out.len(), 5, "{case}");
            assert_eq!(old.versions_seen(), ["DM/1.1"], "{case}");
            let lines = rig.lines(outcome.exchanges.len()).await;
            // The first message has no MAC as yet: the server asks for one.
            for (number, line) in lines.iter().enumerate() {
                let integrity = if number == 0 { "none" } else { "hmac" };
                assert_eq!((&line["integrity"], &line["verdict"]), (&integrity.into(), &"bridge".into()), "{case}: {line}");
                assert_eq!(line["detail"], Value::Null, "{case}: {line}");
            }
        }
    }
}

#[tokio::test]
async fn hints_go_into_the_body_when_the_secrets_are_known() {
    let home = tempfile::tempdir().unwrap();
    let known = secrets(home.path(), "OhBehave");
    for (secrets, hints) in [(Some(&known), "status-item"), (None, "http-header")] {
        let server = server(Version::DM_1_2, true).await;
        let more = "[hint]\ncarriers = [\"status-item\"]\n";
        let rig =
            Rig::start("", &[&site(server.address(), "[\"DM/1.2\", \"DM/1.3\"]", secrets.map(PathBuf::as_path), more)]).await;
        let outcome = run(&rig, Version::DM_1_2, Encoding::Xml, true, "1").await;
        assert!(outcome.is_complete(), "{:?}", outcome.gave_up);
        let items = outcome.exchanges[0].items.iter().any(|item| item == "DM/1.3");
        let lines = rig.lines(outcome.exchanges.len()).await;
        // The first request has no MAC, but its answer has one.
        assert_eq!(items, secrets.is_some(), "{:?}", lines[0]);
        let said = lines.iter().find_map(|line| line["hints"][0].as_str());
        assert_eq!(said, if secrets.is_some() { Some(hints) } else { said }, "{lines:?}");
    }
}

#[tokio::test]
async fn without_the_secrets_or_with_wrong_ones_nothing_is_edited() {
    for password in [None, Some("wrong")] {
        let home = tempfile::tempdir().unwrap();
        let old = server(Version::DM_1_1, false).await;
        let secrets = password.map(|password| secrets(home.path(), password));
        let rig = Rig::start("", &[&site(old.address(), "[\"DM/1.1\"]", secrets.as_deref(), "")]).await;
        let outcome = run(&rig, Version::DM_1_2, Encoding::Xml, false, "1").await;
        let refused = outcome.refused.unwrap();
        assert_eq!(refused.status, "513", "{password:?}");
        let lines = rig.lines(2).await;
        assert_eq!((&lines[0]["verdict"], &lines[1]["verdict"]), (&"bridge".into(), &"refuse".into()));
        assert_eq!(lines[1]["reason"], "integrity-protected", "{password:?}");
        let detail = if password.is_some() { "x-syncml-hmac does not verify".into() } else { Value::Null };
        assert_eq!(lines[1]["detail"], detail);
        assert_eq!(old.saw().len(), 1, "nothing with a MAC went through the bridge");
        for line in &lines {
            assert!(!line.to_string().contains("OhBehave") && !line.to_string().contains("mac="));
        }
    }
}

#[tokio::test]
async fn a_mac_is_passed_as_it_came_where_nothing_is_edited() {
    let home = tempfile::tempdir().unwrap();
    let same = server(Version::DM_1_2, true).await;
    // Even with secrets that are wrong: who is to judge is the server.
    let wrong = secrets(home.path(), "wrong");
    let rig = Rig::start("", &[&site(same.address(), "[\"DM/1.2\"]", Some(&wrong), "")]).await;
    let outcome = run(&rig, Version::DM_1_2, Encoding::Wbxml, true, "1").await;
    assert!(outcome.is_complete(), "{:?}", outcome.gave_up);
    let sent: Vec<&[u8]> = outcome.exchanges.iter().map(|exchange| &exchange.sent[..]).collect();
    assert_eq!(same.saw().iter().map(|saw| saw.raw.to_vec()).collect::<Vec<_>>(), sent, "byte for byte");
    let lines = rig.lines(sent.len()).await;
    assert_eq!(lines[1]["detail"], "x-syncml-hmac does not verify");
}

#[tokio::test]
async fn nonces_last_from_one_session_to_the_next_and_secrets_are_read_again() {
    let home = tempfile::tempdir().unwrap();
    let old = server(Version::DM_1_1, false).await;
    let path = secrets(home.path(), "wrong");
    let text = site(old.address(), "[\"DM/1.1\"]", Some(&path), "");
    let rig = Rig::start("", &[&text]).await;
    assert!(!run(&rig, Version::DM_1_2, Encoding::Xml, false, "1").await.is_complete());
    // The file was put right; the policy itself did not change.
    secrets(home.path(), "OhBehave");
    rig.proxy.reload(crate::rig::policies(&rig.log_path(), "", "", &[&text])).unwrap();
    assert!(run(&rig, Version::DM_1_2, Encoding::Xml, false, "2").await.is_complete());
    assert!(run(&rig, Version::DM_1_2, Encoding::Xml, false, "3").await.is_complete());
    // One that others may read is not taken, and the policy before it stays.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let error = rig.proxy.reload(crate::rig::policies(&rig.log_path(), "", "", &[&text])).unwrap_err().to_string();
    assert!(error.contains("chmod 600") && !error.contains("OhBehave"), "{error}");
    assert!(run(&rig, Version::DM_1_2, Encoding::Xml, false, "4").await.is_complete());
}
