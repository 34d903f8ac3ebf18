//! The reference device with an account file: which version it chooses, and why; what it learns.

use std::{fs, net::SocketAddr, path::Path};

use assert_cmd::Command;
use protover::{
    notification::{Initiator, Package0, UiMode},
    reference::{Server, Settings},
    syncml::{integrity::Key, version::Version},
};

use crate::rig::{Rig, site};

/// A notification of the server `mgmtsrv` that recommends DM 1.2.
fn notification(path: &Path, password: &str) {
    let mut package0 = Package0 {
        digest: [0; 16],
        version: 12,
        ui_mode: UiMode::default(),
        initiator: Initiator::Server,
        session_id: 0xBEEF,
        server_id: "mgmtsrv".into(),
        vendor: Vec::new(),
    };
    package0.sign(&Key { user: "mgmtsrv", password, nonce: b"nonce" }).unwrap();
    fs::write(path, package0.write().unwrap()).unwrap();
}

fn account(path: &Path, speaks: &str, url: &str, more: &str) {
    let text = format!(
        "id = \"IMEI:1\"\nspeaks = {speaks}\n[[account]]\nserver_id = \"mgmtsrv\"\nurl = \"{url}\"\nserver_password = \"secret\"\nnonce = \"bm9uY2U=\"\n{more}"
    );
    fs::write(path, text).unwrap();
}

async fn device(arguments: Vec<String>, status: i32) -> String {
    let run = move || {
        let mut command = Command::cargo_bin("protover").unwrap();
        let output = command.arg("device").args(&arguments).assert().code(status).get_output().clone();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notified_device_uses_that_version_or_a_lower_one_and_learns_for_the_next_time() {
    let home = tempfile::tempdir().unwrap();
    let (accounts, note) = (home.path().join("phone.toml"), home.path().join("package0.bin"));
    let versions = vec![Version::DM_1_1, Version::DM_1_2, Version::DM_1_3];
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::start(any, Settings { versions, ..Settings::default() }).await.unwrap();
    let rig = Rig::start("", &[&site(server.address(), "[\"DM/1.1\", \"DM/1.2\", \"DM/1.3\"]", "")]).await;
    let arguments = |more: &[&str]| {
        let all = ["--account", &accounts.display().to_string(), "--through", &rig.address().to_string()];
        all.iter().chain(more).map(|argument| (*argument).to_owned()).collect::<Vec<_>>()
    };
    notification(&note, "secret");
    let note = note.display().to_string();
    for (speaks, used, why) in
        [("[\"1.1\", \"1.2\", \"1.3\"]", "DM/1.2", "(Client-1)"), ("[\"1.1\"]", "DM/1.1", "(Client-2, Client-3)")]
    {
        account(&accounts, speaks, "http://dm.example/dm", "");
        let said = device(arguments(&["--notification", &note]), 0).await;
        assert!(said.contains("invited by mgmtsrv to session BEEF"), "{said}");
        assert!(said.contains(&format!("{used}: ")) && said.contains(why), "{said}");
        assert_eq!(server.saw().pop().unwrap().version, used);
        // The answer recommended DM/1.3: that is for the next session, as far as the device speaks it.
        assert!(said.contains("learnt: DM/1.3"), "{said}");
        let next = device(arguments(&["--session", "2"]), 0).await;
        assert!(next.contains("(Client-4)"), "{next}");
        assert_eq!(server.saw().pop().unwrap().version, if used == "DM/1.2" { "DM/1.3" } else { "DM/1.1" });
    }
    let lines = rig.lines(server.saw().len()).await;
    let session = &lines[0];
    assert_eq!((&session["session"], &session["started_by"]), (&"BEEF".into(), &"server".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_is_refused_learns_from_the_items() {
    let home = tempfile::tempdir().unwrap();
    let accounts = home.path().join("phone.toml");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::start(any, Settings { versions: vec![Version::DM_1_1], ..Settings::default() }).await.unwrap();
    let url = format!("http://{}/dm", server.address());
    account(&accounts, "[\"1.1\", \"1.3\"]", &url, "user = \"dolly\"\npassword = \"sheep\"\n");
    let arguments = vec!["--account".to_owned(), accounts.display().to_string()];
    let said = device(arguments.clone(), 1).await;
    assert!(said.contains("DM/1.3: the highest that the device speaks") && said.contains("refused with status 513"), "{said}");
    assert!(said.contains("learnt: DM/1.1"), "{said}");
    let kept = fs::read_to_string(&accounts).unwrap();
    assert!(kept.contains("sheep") && kept.contains("version = \"DM/1.1\""), "{kept}");
    let said = device(arguments, 0).await;
    assert!(said.contains("DM/1.1: it is stored in the account (Client-4)"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notification_comes_by_udp_and_is_checked() {
    let home = tempfile::tempdir().unwrap();
    let (accounts, note) = (home.path().join("phone.toml"), home.path().join("package0.bin"));
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::start(any, Settings { versions: vec![Version::DM_1_2], ..Settings::default() }).await.unwrap();
    account(&accounts, "[\"1.2\"]", &format!("http://{}/dm", server.address()), "");
    for (password, status, expected) in [("secret", 0, "(Client-1)"), ("wrong", 1, "its digest is wrong")] {
        notification(&note, password);
        let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let from = format!("udp:127.0.0.1:{port}");
        let arguments = ["--account", &accounts.display().to_string(), "--notification", &from].map(str::to_owned).to_vec();
        let told = tokio::spawn(device(arguments, status));
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let bytes = fs::read(&note).unwrap();
        while !told.is_finished() {
            // Until it listens, nobody hears.
            let _ = socket.send_to(&bytes, ("127.0.0.1", port));
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let said = told.await.unwrap();
        assert!(said.contains(expected), "{said}");
    }
    for (arguments, expected) in [
        (vec!["--account", "no/such/file"], "no/such/file: No such file"),
        (vec!["--server", "x"], "--account"),
        (vec![], "required"),
    ] {
        let said = device(arguments.into_iter().map(str::to_owned).collect(), 2).await;
        assert!(said.contains(expected), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_into_its_account_is_for_the_next_session() {
    let home = tempfile::tempdir().unwrap();
    let accounts = home.path().join("phone.toml");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let versions = vec![Version::DM_1_2, Version::DM_1_3];
    let server = Server::start(any, Settings { versions, ..Settings::default() }).await.unwrap();
    let carrier =
        "[hint]\ncarriers = [\"account\"]\n[account]\nserver_id = \"mgmtsrv\"\naccount = \"name\"\nname = \"account1\"\n";
    let rig = Rig::start("", &[&site(server.address(), "[\"DM/1.2\", \"DM/1.3\"]", carrier)]).await;
    account(&accounts, "[\"1.2\", \"1.3\"]", "http://dm.example/dm", "version = \"DM/1.2\"\n");
    let arguments = |session: &str| {
        let all = ["--account", &accounts.display().to_string(), "--through", &rig.address().to_string(), "--session", session];
        all.map(str::to_owned).to_vec()
    };
    let said = device(arguments("1"), 0).await;
    assert!(said.contains("DM/1.2: it is stored in the account (Client-4)"), "{said}");
    assert!(said.contains("carried out: Replace ./DMAcc/account1/Ext/Protover/ProtoVer"), "{said}");
    assert!(said.contains("learnt: DM/1.3 is for the next session with mgmtsrv"), "{said}");
    let next = device(arguments("2"), 0).await;
    assert!(next.contains("DM/1.3: it is stored in the account (Client-4)"), "{next}");
    assert_eq!(server.saw().pop().unwrap().version, "DM/1.3");
}
