//! TLS sessions that are resumed, and what an answer takes on the wire.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use protover::policy::site::Policies;
use rustls::{ClientConfig, HandshakeKind, SupportedProtocolVersion, version};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    mtls::connect,
    pki::{Authority, client, days},
    rig::{Answer, Does, Rig, Upstream, answer, message, ok, policies, post, site},
};

/// A key, made by the command that the manual names.
fn key() -> String {
    let made = Command::new(env!("CARGO_BIN_EXE_protover")).args(["certs", "ticket-key"]).output().unwrap();
    assert!(made.status.success());
    String::from_utf8(made.stdout).unwrap()
}

fn write(path: &Path, keys: &[&str]) {
    fs::write(path, keys.concat()).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// How the handshake went; one request is answered, since TLS 1.3 sends the next ticket after it.
async fn handshake(rig: &Rig, config: &ClientConfig) -> HandshakeKind {
    let mut stream = connect(rig.address(), config.clone(), "localhost").await.unwrap();
    stream.write_all(&post("", message("1.2", "DM/1.2").as_bytes())).await.unwrap();
    assert_eq!(Answer::read(&mut stream).await.status, 200);
    stream.get_ref().1.handshake_kind().unwrap()
}

const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

#[tokio::test]
async fn a_session_is_resumed_at_another_instance_and_after_a_rotation() {
    let home = tempfile::tempdir().unwrap();
    let ours = Authority::new(home.path(), "authority");
    let server = ours.issue("server", 1, &["localhost"], days(90));
    let keys = home.path().join("ticket.keys");
    let (old, new) = (key(), key());
    let upstream = Upstream::echoing().await;
    let text = site(upstream.address, "[\"DM/1.2\"]", "");
    let listener = format!("tls = {{ certificate = {:?}, key = {:?}, ticket_keys = {keys:?} }}", server.0, server.1);
    for version in VERSIONS {
        write(&keys, &[&old]);
        let first = Rig::with_listener(&listener, "", &[&text]).await;
        let second = Rig::with_listener(&listener, "", &[&text]).await;
        let again = |rig: &Rig| {
            rig.proxy.reload(policies(&rig.log_path(), &listener, "", &[&text])).unwrap();
        };
        let config = client(&ours.pem, None, &[version]);
        assert_eq!(handshake(&first, &config).await, HandshakeKind::Full);
        assert_eq!(handshake(&second, &config).await, HandshakeKind::Resumed, "{version:?}: another instance");
        write(&keys, &[&new, &old]);
        again(&first);
        assert_eq!(handshake(&first, &config).await, HandshakeKind::Resumed, "{version:?}: by the old key");
        write(&keys, &[&new]);
        again(&first);
        again(&second);
        assert_eq!(handshake(&second, &config).await, HandshakeKind::Resumed, "{version:?}: by the new key");
        // A client of the time before has to introduce itself.
        write(&keys, &[&key()]);
        again(&second);
        assert_eq!(handshake(&second, &config).await, HandshakeKind::Full, "{version:?}: by no key");
    }
    write(&keys, &["hush\n"]);
    let broken = |mode| {
        fs::set_permissions(&keys, fs::Permissions::from_mode(mode)).unwrap();
        let listeners: Policies = policies(&home.path().join("log"), &listener, "", &[&text]);
        protover::server::expiries(&listeners.settings.listeners).unwrap_err().to_string()
    };
    let (wrong, open) = (broken(0o600), broken(0o644));
    assert!(wrong.contains("ticket.keys: line 1: a key is 32 bytes in base64") && !wrong.contains("hush"), "{wrong}");
    assert!(open.contains("chmod 600"), "{open}");
}

#[tokio::test]
async fn without_a_file_a_session_is_resumed_at_the_same_instance_also_after_a_reload() {
    let home = tempfile::tempdir().unwrap();
    let ours = Authority::new(home.path(), "authority");
    let server = ours.issue("server", 1, &["localhost"], days(90));
    let upstream = Upstream::echoing().await;
    let text = site(upstream.address, "[\"DM/1.2\"]", "");
    let listener = format!("tls = {{ certificate = {:?}, key = {:?} }}", server.0, server.1);
    for version in VERSIONS {
        let first = Rig::with_listener(&listener, "", &[&text]).await;
        let second = Rig::with_listener(&listener, "", &[&text]).await;
        let config = client(&ours.pem, None, &[version]);
        assert_eq!(handshake(&first, &config).await, HandshakeKind::Full);
        assert_eq!(handshake(&first, &config).await, HandshakeKind::Resumed, "{version:?}");
        first.proxy.reload(policies(&first.log_path(), &listener, "", &[&text])).unwrap();
        assert_eq!(handshake(&first, &config).await, HandshakeKind::Resumed, "{version:?}: after a reload");
        assert_eq!(handshake(&second, &config).await, HandshakeKind::Full, "{version:?}: elsewhere");
    }
}

#[tokio::test]
async fn a_session_is_not_resumed_once_clients_are_trusted_by_another_list() {
    let home = tempfile::tempdir().unwrap();
    let ours = Authority::new(home.path(), "authority");
    let server = ours.issue("server", 1, &["localhost"], days(90));
    let device = ours.issue("device", 2, &[], days(90));
    let (keys, crl) = (home.path().join("ticket.keys"), ours.revoke(&[3], days(30)));
    write(&keys, &[&key()]);
    let upstream = Upstream::echoing().await;
    let text = site(upstream.address, "[\"DM/1.2\"]", "");
    for (shared, version) in [(false, VERSIONS[0]), (false, VERSIONS[1]), (true, VERSIONS[0]), (true, VERSIONS[1])] {
        ours.revoke(&[3], days(30));
        let shared = if shared { format!(", ticket_keys = {keys:?}") } else { String::new() };
        let listener = format!(
            "tls = {{ certificate = {:?}, key = {:?}, client_auth = \"required\", client_ca = {:?}, client_crl = {crl:?}{shared} }}",
            server.0, server.1, ours.pem
        );
        let rig = Rig::with_listener(&listener, "", &[&text]).await;
        let config = client(&ours.pem, Some(&device), &[version]);
        assert_eq!(handshake(&rig, &config).await, HandshakeKind::Full);
        assert_eq!(handshake(&rig, &config).await, HandshakeKind::Resumed);
        // Who it is was not forgotten.
        assert!(upstream.seen().pop().unwrap().header("client-cert").is_some());
        ours.revoke(&[2], days(30));
        rig.proxy.reload(policies(&rig.log_path(), &listener, "", &[&text])).unwrap();
        let stream = connect(rig.address(), config.clone(), "localhost").await;
        let refused = match stream {
            Err(_) => true,
            Ok(mut stream) => {
                let _ = stream.write_all(&post("", message("1.2", "DM/1.2").as_bytes())).await;
                Answer::read(&mut stream).await.status == 0
            }
        };
        assert!(refused, "{version:?}{shared}");
        let lines = rig.lines(3).await;
        assert_eq!(lines[2]["reason"], "client-certificate");
    }
}

#[tokio::test]
async fn a_certificate_that_has_expired_meanwhile_resumes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let ours = Authority::new(home.path(), "authority");
    let server = ours.issue("server", 1, &["localhost"], days(90));
    let device = ours.issue("device", 2, &[], days(0) + Duration::from_secs(3));
    let upstream = Upstream::echoing().await;
    let text = site(upstream.address, "[\"DM/1.2\"]", "");
    let listener = format!(
        "tls = {{ certificate = {:?}, key = {:?}, client_auth = \"required\", client_ca = {:?} }}",
        server.0, server.1, ours.pem
    );
    let rig = Rig::with_listener(&listener, "", &[&text]).await;
    let config = client(&ours.pem, Some(&device), &[&version::TLS13]);
    assert_eq!(handshake(&rig, &config).await, HandshakeKind::Full);
    tokio::time::sleep(Duration::from_secs(4)).await;
    let mut stream = connect(rig.address(), config, "localhost").await.unwrap();
    assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
    let _ = stream.write_all(&post("", message("1.2", "DM/1.2").as_bytes())).await;
    assert_eq!(Answer::read(&mut stream).await.status, 0);
    let lines = rig.lines(2).await;
    assert_eq!(lines[1]["reason"], "client-certificate");
    assert!(lines[1]["detail"].as_str().unwrap().contains("resumed session has expired"), "{}", lines[1]);
}

/// Passes a connection on, and keeps what the server sent.
async fn relay(to: std::net::SocketAddr) -> (std::net::SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let sent = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&sent);
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = TcpStream::connect(to).await.unwrap().into_split();
        tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
            kept.lock().unwrap().extend_from_slice(&buffer[..read]);
            to_client.write_all(&buffer[..read]).await.unwrap();
        }
    });
    (address, sent)
}

/// The types of TLS records.
fn records(mut bytes: &[u8]) -> Vec<u8> {
    let mut types = Vec::new();
    while let [kind, _, _, high, low, rest @ ..] = bytes {
        types.push(*kind);
        bytes = &rest[usize::from(u16::from_be_bytes([*high, *low]))..];
    }
    types
}

#[tokio::test]
async fn a_small_answer_is_one_tls_record() {
    const APPLICATION_DATA: u8 = 23;
    let home = tempfile::tempdir().unwrap();
    let ours = Authority::new(home.path(), "authority");
    let server = ours.issue("server", 1, &["localhost"], days(90));
    let listener = format!("tls = {{ certificate = {:?}, key = {:?} }}", server.0, server.1);
    let upstream = Upstream::start(|seen| {
        let version = if seen.body.windows(6).any(|window| window == b"DM/1.1") { ("1.1", "DM/1.1") } else { ("1.2", "DM/1.2") };
        Does::Answer(ok("application/vnd.syncml.dm+xml", answer(version.0, version.1, "").as_bytes()))
    })
    .await;
    let hints = "[hint]\ncarriers = [\"http-header\", \"status-item\"]\n";
    let rig = Rig::with_listener(&listener, "", &[&site(upstream.address, "[\"DM/1.1\", \"DM/1.2\"]", hints)]).await;
    let (address, sent) = relay(rig.address()).await;
    let mut stream = connect(address, client(&ours.pem, None, &[&version::TLS13]), "localhost").await.unwrap();
    // Before the first answer there is a ticket.
    for (verproto, verdict, expected) in
        [("DM/1.2", "pass", None), ("DM/1.2", "pass", Some(1)), ("DM/1.1", "advise", Some(1)), ("DM/9.9", "refuse", Some(1))]
    {
        sent.lock().unwrap().clear();
        stream.write_all(&post("", message(&verproto[3..], verproto).as_bytes())).await.unwrap();
        let got = Answer::read(&mut stream).await;
        assert_eq!(got.status, 200);
        let records = records(&sent.lock().unwrap());
        if let Some(expected) = expected {
            assert_eq!(records, vec![APPLICATION_DATA; expected], "{verdict}: {} bytes", got.body.len());
        }
    }
    let lines = rig.lines(4).await;
    let verdicts: Vec<&str> = lines.iter().map(|line| line["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["pass", "pass", "advise", "refuse"]);
}
