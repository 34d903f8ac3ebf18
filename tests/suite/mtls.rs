//! The certificates of clients, in every state.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use protover::server::tls::{self, ClientCertificate};
use rustls::{ALL_VERSIONS, ClientConfig, pki_types::ServerName, version};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    pki::{Authority, client, days},
    rig::{Answer, Rig, Upstream, message, oracle, post, site},
};

pub(crate) async fn connect(address: SocketAddr, config: ClientConfig, host: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(host.to_owned()).unwrap(), stream).await
}

/// Sends a message; the status of the answer, 0 when there is none.
async fn status(stream: std::io::Result<TlsStream<TcpStream>>) -> u16 {
    let Ok(mut stream) = stream else { return 0 };
    let _ = stream.write_all(&post("", message("1.2", "DM/1.2").as_bytes())).await;
    Answer::read(&mut stream).await.status
}

pub(crate) fn shown(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}

#[tokio::test]
async fn every_client_certificate_is_judged_as_the_listener_asks() {
    let home = tempfile::tempdir().unwrap();
    let (ours, other) = (Authority::new(home.path(), "devices"), Authority::new(home.path(), "others"));
    let server = ours.issue("server", 1, &["localhost"], days(90));
    let crl = ours.revoke(&[4], days(30));
    let clients = [
        ("none", None, "peer sent no certificates"),
        ("good", Some(ours.issue("good", 2, &[], days(90))), ""),
        ("expired", Some(ours.issue("expired", 3, &[], days(-1))), "certificate expired"),
        ("revoked", Some(ours.issue("revoked", 4, &[], days(90))), "Revoked"),
        ("wrong CA", Some(other.issue("wrong", 5, &[], days(90))), "UnknownIssuer"),
    ];
    let upstream = Upstream::echoing().await;
    for client_auth in ["off", "optional", "required"] {
        let asks = match client_auth {
            "off" => String::new(),
            asks => format!(", client_auth = {asks:?}, client_ca = {}, client_crl = {}", shown(&ours.pem), shown(&crl)),
        };
        let listener = format!("tls = {{ certificate = {}, key = {}{asks} }}", shown(&server.0), shown(&server.1));
        let rig = Rig::with_listener(&listener, "", &[&site(upstream.address, "[\"DM/1.2\"]", "")]).await;
        let mut expected = Vec::new();
        for version in [&version::TLS12, &version::TLS13] {
            for (name, identity, why) in &clients {
                let served = match (client_auth, *name) {
                    ("off", _) | (_, "good") => true,
                    (asks, "none") => asks == "optional",
                    _ => false,
                };
                let stream = connect(rig.address(), client(&ours.pem, identity.as_ref(), &[version]), "localhost").await;
                assert_eq!(status(stream).await == 200, served, "{client_auth}, {name}, {version:?}");
                expected.push((client_auth, *name, served, *why));
                let lines = rig.lines(expected.len()).await;
                let (line, said) = (lines.last().unwrap(), |key: &str| lines.last().unwrap()[key].as_str());
                if served {
                    assert_eq!((said("kind"), said("verdict")), (Some("message"), Some("pass")), "{line}");
                    let subject = upstream.seen().pop().unwrap().header("client-cert").is_some();
                    assert_eq!(subject, client_auth != "off" && *name == "good", "{client_auth}, {name}");
                } else {
                    assert_eq!((said("kind"), said("verdict")), (Some("connection"), Some("fail")), "{line}");
                    assert_eq!(said("reason"), Some("client-certificate"), "{line}");
                    let detail = said("detail").unwrap_or_default();
                    assert!(detail.contains(why), "{client_auth}, {name}: {detail}");
                    // Which one it was, in a form that names no device.
                    let print = identity.as_ref().map(|(certificate, _)| {
                        ClientCertificate::of(&tls::certificates(certificate).unwrap()[0]).unwrap().fingerprint
                    });
                    assert!(detail.contains(print.as_deref().unwrap_or_default()) && !detail.contains("CN="), "{detail}");
                }
            }
        }
    }
}

#[tokio::test]
async fn rules_know_a_certificate_by_the_fingerprint_that_openssl_prints() {
    if !oracle("openssl") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let ours = Authority::new(home.path(), "devices");
    let server = ours.issue("server", 1, &["localhost"], days(90));
    let (known, unknown) = (ours.issue("known", 2, &[], days(90)), ours.issue("unknown", 3, &[], days(90)));
    let printed = Command::new("openssl").args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(&known.0).output();
    let printed = String::from_utf8(printed.unwrap().stdout).unwrap();
    let print = printed.trim().split_once('=').unwrap().1;
    let rule =
        format!("[[rule]]\nname = \"known\"\nwhen = {{ client_fingerprint = {print:?} }}\nthen = {{ verdict = \"refuse\" }}\n");
    let upstream = Upstream::echoing().await;
    let text = site(upstream.address, "[\"DM/1.2\"]", &rule);
    let listener = format!(
        "tls = {{ certificate = {}, key = {}, client_auth = \"required\", client_ca = {} }}",
        shown(&server.0),
        shown(&server.1),
        shown(&ours.pem)
    );
    let rig = Rig::with_listener(&listener, "", &[&text]).await;
    for (identity, rule) in [(&known, Some("known")), (&unknown, None)] {
        let stream = connect(rig.address(), client(&ours.pem, Some(identity), ALL_VERSIONS), "localhost").await;
        assert_eq!(status(stream).await, 200);
        let count = if rule.is_some() { 1 } else { 2 };
        assert_eq!(rig.lines(count).await.last().unwrap()["rule"].as_str(), rule);
    }

    // The same without a socket.
    let folder = home.path().join("policies");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("proxy.toml"), format!("[[listener]]\nname = \"d\"\naddress = \"127.0.0.1:0\"\n{listener}\n")).unwrap();
    fs::write(folder.join("s.toml"), text).unwrap();
    fs::write(home.path().join("message.xml"), message("1.2", "DM/1.2")).unwrap();
    let explain = |identity: &(PathBuf, PathBuf)| {
        let certificate = format!("--client-certificate=@{}", identity.0.display());
        let explained = Command::new(env!("CARGO_BIN_EXE_protover"))
            .args(["explain", "--policies"])
            .args([&folder, &home.path().join("message.xml")])
            .arg(certificate)
            .output()
            .unwrap();
        String::from_utf8(explained.stdout).unwrap()
    };
    let digits = print.replace(':', "").to_ascii_lowercase();
    let (of_known, of_unknown) = (explain(&known), explain(&unknown));
    assert!(of_known.contains(&digits) && of_known.contains("CN=known") && of_known.contains("refuse"), "{of_known}");
    assert!(of_unknown.contains("client_fingerprint") && of_unknown.contains("CN=unknown"), "{of_unknown}");
}
