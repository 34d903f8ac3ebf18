//! TLS on both sides: towards devices with HTTP/1.1 and h2 by ALPN and client certificates; towards servers
//! with a private authority and a certificate of our own. The certificates are those of `protover certs init`.

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use protover::server::tls;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName, server::WebPkiClientVerifier};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

use crate::rig::{Answer, Does, Rig, Upstream, message, ok, post, site};

pub(crate) fn certificates(folder: &Path) {
    let certs = folder.join("certs");
    let made = Command::new(env!("CARGO_BIN_EXE_protover")).args(["certs", "init", "--dir"]).arg(&certs).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

fn client(certs: &Path, identity: bool, alpn: &[&[u8]]) -> ClientConfig {
    let builder = ClientConfig::builder().with_root_certificates(tls::roots(&certs.join("ca.pem")).unwrap());
    let mut config = if identity {
        let chain = tls::certificates(&certs.join("client.pem")).unwrap();
        builder.with_client_auth_cert(chain, tls::key(&certs.join("client.key")).unwrap()).unwrap()
    } else {
        builder.with_no_client_auth()
    };
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config
}

async fn connect(rig: &Rig, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(rig.address()).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

pub(crate) fn listener(certs: &Path, client_auth: &str) -> String {
    let path = |name: &str| certs.join(name).display().to_string();
    let client = if client_auth == "off" {
        String::new()
    } else {
        format!(", client_ca = {:?}, client_auth = {client_auth:?}", path("devices-ca.pem"))
    };
    format!("tls = {{ certificate = {:?}, key = {:?}{client} }}", path("server.pem"), path("server.key"))
}

#[tokio::test]
async fn devices_speak_http_1_and_h2_over_tls() {
    let home = tempfile::tempdir().unwrap();
    certificates(home.path());
    let certs = home.path().join("certs");
    let upstream = Upstream::echoing().await;
    let rig = Rig::with_listener(&listener(&certs, "off"), "", &[&site(upstream.address, "[\"DM/1.2\"]", "")]).await;
    let body = message("1.2", "DM/1.2");

    let mut one = connect(&rig, client(&certs, false, &[b"http/1.1"])).await.unwrap();
    for _ in 0..2 {
        one.write_all(&post("", body.as_bytes())).await.unwrap();
        let got = Answer::read(&mut one).await;
        assert_eq!((got.status, got.text()), (200, body.clone()));
    }

    let mut send = two(&rig, &certs).await;
    let request = |version: &str| {
        http::Request::post("https://dm.example/dm?a=%20b")
            .header("content-type", "application/vnd.syncml.dm+xml")
            .body(Full::new(Bytes::from(message("1.2", version))))
            .unwrap()
    };
    let first = send.send_request(request("DM/1.2"));
    let second = send.send_request(request("DM/9.9"));
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert!(first.headers().contains_key("protover-decision"));
    assert_eq!(first.into_body().collect().await.unwrap().to_bytes(), body.as_bytes());
    let refused = second.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&refused).contains("<Data>513</Data>"));

    let seen = upstream.seen();
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[2].header("host"), Some("dm.example"));
    assert_eq!(seen[2].header("via"), Some("2 protover"));
    assert_eq!(seen[2].header("x-forwarded-proto"), Some("https"));
    assert!(seen[2].head.starts_with("POST /dm?a=%20b HTTP/1.1"), "{}", seen[2].head);
    rig.lines(4).await;
}

/// A device that can speak HTTP/2, and so does.
async fn two(rig: &Rig, certs: &Path) -> SendRequest<Full<Bytes>> {
    let stream = connect(rig, client(certs, false, &[b"h2", b"http/1.1"])).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (send, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    send
}

#[tokio::test]
async fn an_answer_that_breaks_off_in_h2_is_reset_and_the_connection_goes_on() {
    let home = tempfile::tempdir().unwrap();
    certificates(home.path());
    let certs = home.path().join("certs");
    let half = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\nhalf".to_vec();
    let upstream = Upstream::start(move |seen| match seen.head.split(' ').nth(1) {
        Some("/broken") => Does::AnswerAndClose(half.clone()),
        Some("/stalled") => Does::AnswerAndStall(half.clone()),
        _ => Does::Answer(ok("text/plain", b"whole")),
    })
    .await;
    let limits = "[limits]\nupstream_timeout = \"300ms\"";
    let rig = Rig::with_listener(&listener(&certs, "off"), limits, &[&site(upstream.address, "[\"DM/1.2\"]", "")]).await;
    let mut send = two(&rig, &certs).await;
    let get = |path: &str| http::Request::get(format!("https://dm.example{path}")).body(Full::default()).unwrap();
    for path in ["/broken", "/stalled"] {
        let answer = send.send_request(get(path)).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers()["content-length"].as_bytes()), (200, &b"100"[..]));
        let mut body = answer.into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "half", "{path}");
        let error = body.frame().await.unwrap().unwrap_err();
        assert!(!error.is_closed(), "only the stream has ended: {error:?}");
        let answer = send.send_request(get("/whole")).await.unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "whole");
    }
    let lines = rig.lines(4).await;
    let said: Vec<_> = lines.iter().map(|line| (line["reason"].as_str().unwrap(), line["bytes_out"].as_u64())).collect();
    let whole = ("not-syncml", Some(5));
    assert_eq!(said, [("upstream-broke", Some(4)), whole, ("upstream-too-slow", Some(4)), whole]);
}

#[tokio::test]
async fn an_answer_that_an_h2_device_gives_up_is_logged_and_its_connection_to_the_server_closes() {
    let home = tempfile::tempdir().unwrap();
    certificates(home.path());
    let certs = home.path().join("certs");
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let rig = Rig::with_listener(&listener(&certs, "off"), "", &[&site(address, "[\"DM/1.2\"]", "")]).await;
    let mut send = two(&rig, &certs).await;
    let get = || http::Request::get("https://dm.example/file").body(Full::default()).unwrap();
    let begun = async {
        let (mut stream, _) = server.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\nbegin").await.unwrap();
        stream
    };
    let (mut stream, answer) = tokio::join!(begun, send.send_request(get()));
    let mut body = answer.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "begin");
    drop(body);
    let gone = async { while stream.write_all(&[b'x'; 4096]).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("it is closed to the server too");
    let line = rig.line().await;
    assert_eq!((line["verdict"].as_str(), line["reason"].as_str()), (Some("abandon"), Some("client-gone")));

    let other = async {
        let (mut stream, _) = server.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        stream.write_all(&ok("text/plain", b"whole")).await.unwrap();
        stream
    };
    let (_stream, answer) = tokio::join!(other, send.send_request(get()));
    assert_eq!(answer.unwrap().into_body().collect().await.unwrap().to_bytes(), "whole");
}

#[tokio::test]
async fn client_certificates_are_asked_for_and_checked() {
    let home = tempfile::tempdir().unwrap();
    certificates(home.path());
    let certs = home.path().join("certs");
    let upstream = Upstream::echoing().await;
    let body = message("1.2", "DM/1.2");
    for (client_auth, identity, served) in
        [("required", true, true), ("required", false, false), ("optional", true, true), ("optional", false, true)]
    {
        let rule = "[[rule]]\nname = \"known\"\nwhen = { client_certificate = \"*CN=*\" }\nthen = { verdict = \"pass\" }";
        let rig = Rig::with_listener(&listener(&certs, client_auth), "", &[&site(upstream.address, "[\"DM/1.2\"]", rule)]).await;
        let mut stream = connect(&rig, client(&certs, identity, &[])).await.unwrap();
        let _ = stream.write_all(&post("Client-Cert: :forged=:\r\n", body.as_bytes())).await;
        let got = Answer::read(&mut stream).await;
        assert_eq!(got.status == 200, served, "{client_auth} {identity}");
        let line = rig.line().await;
        if served {
            assert_eq!(line["kind"], "message");
            assert_eq!(line["rule"].as_str(), identity.then_some("known"));
            let pem = std::fs::read_to_string(certs.join("client.pem")).unwrap();
            let der: String = pem.lines().skip(1).take_while(|line| !line.starts_with('-')).collect();
            let seen = upstream.seen().pop().unwrap();
            assert_eq!(seen.header("client-cert").map(str::to_owned), identity.then(|| format!(":{der}:")));
        } else {
            assert_eq!((line["kind"].as_str(), line["reason"].as_str()), (Some("connection"), Some("client-certificate")));
            assert!(line["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
        }
    }
}

#[tokio::test]
async fn what_is_no_handshake_has_one_line_and_a_health_check_none() {
    let home = tempfile::tempdir().unwrap();
    certificates(home.path());
    let certs = home.path().join("certs");
    let limits = "[limits]\nheader_timeout = \"300ms\"";
    let rig =
        Rig::with_listener(&listener(&certs, "off"), limits, &[&site(crate::rig::nobody().await, "[\"DM/1.2\"]", "")]).await;
    drop(TcpStream::connect(rig.address()).await.unwrap());
    let mut plain = TcpStream::connect(rig.address()).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: dm.example\r\n\r\n").await.unwrap();
    let _ = plain.read_to_end(&mut Vec::new()).await;
    let mut silent = TcpStream::connect(rig.address()).await.unwrap();
    let _ = silent.read_to_end(&mut Vec::new()).await;
    // One that does not believe us.
    let config = ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    assert!(connect(&rig, config).await.is_err());
    let mut reasons: Vec<String> =
        rig.lines(3).await.iter().map(|line| line["reason"].as_str().unwrap_or_default().to_owned()).collect();
    reasons.sort();
    assert_eq!(reasons, ["connection-too-slow", "tls-handshake", "tls-handshake"]);
}

/// A server over TLS that wants a certificate of protover, and how its connections end.
async fn upstream(certs: &Path) -> (std::net::SocketAddr, mpsc::Receiver<std::io::Result<usize>>) {
    let verifier = WebPkiClientVerifier::builder(Arc::new(tls::roots(&certs.join("devices-ca.pem")).unwrap())).build().unwrap();
    let config = rustls::ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(tls::certificates(&certs.join("upstream.pem")).unwrap(), tls::key(&certs.join("upstream.key")).unwrap())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (ended, ends) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, ended) = (acceptor.clone(), ended.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut buffer = [0; 64 * 1024];
                loop {
                    match stream.read(&mut buffer).await {
                        Ok(1..) => stream.write_all(&ok("text/plain", b"secret")).await.unwrap(),
                        end => return ended.send(end).await.unwrap_or_default(),
                    }
                }
            });
        }
    });
    (address, ends)
}

#[tokio::test]
async fn a_connection_to_a_server_that_is_not_needed_any_more_ends_as_tls_has_it() {
    let home = tempfile::tempdir().unwrap();
    certificates(home.path());
    let certs = home.path().join("certs");
    let (address, mut ends) = upstream(&certs).await;
    let path = |name: &str| certs.join(name).display().to_string();
    let site = format!(
        "[site]\nname = \"s\"\nhosts = [\"dm.example\"]\n[[server]]\nname = \"u\"\nurl = \"https://localhost:{}\"\nspeaks = [\"DM/1.2\"]\n\
         ca = {:?}\nclient_certificate = {:?}\nclient_key = {:?}\nidle_timeout = \"300ms\"\n",
        address.port(),
        path("upstream-ca.pem"),
        path("client.pem"),
        path("client.key")
    );
    let rig = Rig::start("", &[&site]).await;
    assert_eq!(rig.send(post("", message("1.2", "DM/1.2").as_bytes())).await.status, 200);
    // Without close_notify it is an error.
    assert_eq!(ends.recv().await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn servers_have_private_authorities_and_may_ask_who_we_are() {
    let home = tempfile::tempdir().unwrap();
    certificates(home.path());
    let certs = home.path().join("certs");
    let port = upstream(&certs).await.0.port();
    let path = |name: &str| certs.join(name).display().to_string();
    let identity = format!("client_certificate = {:?}\nclient_key = {:?}\n", path("client.pem"), path("client.key"));
    let ca = format!("ca = {:?}\n", path("upstream-ca.pem"));
    for (keys, status) in [([&*ca, &*identity].concat(), 200), (ca.clone(), 502), (identity.clone(), 502)] {
        let site = format!(
            "[site]\nname = \"s\"\nhosts = [\"dm.example\"]\n[[server]]\nname = \"u\"\nurl = \"https://localhost:{port}\"\nspeaks = [\"DM/1.2\"]\n{keys}"
        );
        let rig = Rig::start("", &[&site]).await;
        let got = rig.send(post("", message("1.2", "DM/1.2").as_bytes())).await;
        assert_eq!(got.status, status, "{keys}: {}", got.text());
        rig.line().await;
    }
}
