//! Proxies in front: the PROXY protocol, whom it is believed, and what they say in headers.

use std::time::Duration;

use rustls::ALL_VERSIONS;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    mtls::connect,
    pki::{Authority, client, days},
    rig::{Answer, Rig, Upstream, message, post, site},
};

const TRUSTING: &str = "proxy_protocol = true\ntrusted_proxies = [\"127.0.0.0/8\", \"::1\"]\n";
const V1: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 443\r\n";

/// A header of version 2.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[0x20 | command, family][..], &length, rest].concat()
}

const FOUR: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x34, 1, 187];

/// `PP2_TYPE_SSL` of a client that spoke TLS 1.0, with its version and a name it asked for.
fn ssl() -> Vec<u8> {
    let version = [&[0x21, 0, 7][..], b"TLSv1.0"].concat();
    let value = [&[0x01, 0, 0, 0, 1][..], &version].concat();
    let authority = [&[0x02, 0, 10][..], b"dm.example"].concat();
    [&FOUR[..], &authority, &[0x20, 0, u8::try_from(value.len()).unwrap()], &value].concat()
}

#[tokio::test]
async fn what_a_trusted_proxy_says_reaches_log_and_server() {
    let upstream = Upstream::echoing().await;
    let rig = Rig::with_listener(TRUSTING, "", &[&site(upstream.address, "[\"DM/1.2\"]", "")]).await;
    let six = [&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7][..], &[0; 16], &[0x12, 0x34, 1, 187]].concat();
    let cases = [
        (V1.to_vec(), Some("192.0.2.7:4660"), "192.0.2.7", "192.0.2.7", "http"),
        (
            b"PROXY TCP6 2001:db8::7 ::1 4660 443\r\n".to_vec(),
            Some("[2001:db8::7]:4660"),
            "\"[2001:db8::7]\"",
            "2001:db8::7",
            "http",
        ),
        (v2(1, 0x11, &FOUR), Some("192.0.2.7:4660"), "192.0.2.7", "192.0.2.7", "http"),
        (v2(1, 0x21, &six), Some("[2001:db8::7]:4660"), "\"[2001:db8::7]\"", "2001:db8::7", "http"),
        (v2(1, 0x11, &ssl()), Some("192.0.2.7:4660"), "192.0.2.7", "192.0.2.7", "https"),
        (v2(0, 0, &[]), None, "127.0.0.1", "127.0.0.1", "http"),
        (b"PROXY UNKNOWN\r\n".to_vec(), None, "127.0.0.1", "127.0.0.1", "http"),
        (v2(1, 0x31, &[0; 216]), None, "127.0.0.1", "127.0.0.1", "http"),
    ];
    for (number, (header, peer, node, address, scheme)) in cases.iter().enumerate() {
        // In one piece, and byte by byte. What the client says of itself is not believed.
        for (round, piece) in [usize::MAX, 1].into_iter().enumerate() {
            let mut stream = TcpStream::connect(rig.address()).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let own = stream.local_addr().unwrap().to_string();
            let forged =
                "Forwarded: for=1.2.3.4\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: gopher\r\nClient-Cert: :Zm9v:\r\n";
            let all = [&header[..], &post(forged, message("1.2", "DM/1.2").as_bytes())].concat();
            let (head, rest) = all.split_at(header.len());
            for piece in head.chunks(piece.min(head.len())) {
                stream.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            stream.write_all(rest).await.unwrap();
            assert_eq!(Answer::read(&mut stream).await.status, 200);
            let lines = rig.lines(2 * number + round + 1).await;
            assert_eq!(lines.last().unwrap()["peer"].as_str(), Some(peer.unwrap_or(&own)));
            let seen = upstream.seen().pop().unwrap();
            assert_eq!(seen.header("forwarded"), Some(&*format!("for={node};host=\"dm.example\";proto={scheme}")));
            assert_eq!(seen.header("x-forwarded-for"), Some(*address));
            assert_eq!(seen.header("x-forwarded-proto"), Some(*scheme));
            assert_eq!(seen.header("client-cert"), None);
        }
    }
}

#[tokio::test]
async fn what_is_no_header_has_one_line_and_no_answer() {
    let upstream = Upstream::echoing().await;
    let text = site(upstream.address, "[\"DM/1.2\"]", "");
    let rig = Rig::with_listener(TRUSTING, "[limits]\nheader_timeout = \"300ms\"", &[&text]).await;
    // A health check that does not say a word, one that says who it is and nothing else.
    drop(TcpStream::connect(rig.address()).await.unwrap());
    let mut check = TcpStream::connect(rig.address()).await.unwrap();
    check.write_all(&v2(0, 0, &[])).await.unwrap();
    check.shutdown().await.unwrap();
    let _ = check.read_to_end(&mut Vec::new()).await;
    let cases: [(Vec<u8>, bool, &str, &str); 8] = [
        (post("", message("1.2", "DM/1.2").as_bytes()), false, "bad-proxy-header", "no header of the PROXY protocol"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), false, "bad-proxy-header", "no header"),
        (b"PROXY TCP4 999.0.2.7 10.0.0.1 4660 443\r\n".to_vec(), false, "bad-proxy-header", "cannot be read"),
        (v2(1, 0x11, &FOUR[..8]), false, "bad-proxy-header", "cannot be read"),
        ([b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat(), false, "bad-proxy-header", "too long"),
        (v2(1, 0x11, &[0; 60_000]), false, "bad-proxy-header", "too long"),
        (V1[..20].to_vec(), true, "bad-proxy-header", "breaks off"),
        (V1[..20].to_vec(), false, "connection-too-slow", ""),
    ];
    for (number, (bytes, close, reason, detail)) in cases.iter().enumerate() {
        let mut stream = TcpStream::connect(rig.address()).await.unwrap();
        let _ = stream.write_all(bytes).await;
        if *close {
            stream.shutdown().await.unwrap();
        }
        let mut got = Vec::new();
        let _ = stream.read_to_end(&mut got).await;
        assert!(got.is_empty(), "{}", String::from_utf8_lossy(&got));
        let lines = rig.lines(number + 1).await;
        let line = lines.last().unwrap();
        assert_eq!((line["kind"].as_str(), line["reason"].as_str()), (Some("connection"), Some(*reason)), "{line}");
        assert!(line["detail"].as_str().unwrap_or_default().contains(detail), "{line}");
    }
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn nobody_else_may_speak_for_a_client() {
    let upstream = Upstream::echoing().await;
    let text = site(upstream.address, "[\"DM/1.2\"]", "");
    let distrusting = "proxy_protocol = true\ntrusted_proxies = [\"192.0.2.0/24\"]\n";
    let rig = Rig::with_listener(distrusting, "", &[&text]).await;
    let request = post("", message("1.2", "DM/1.2").as_bytes());
    for (number, bytes) in [[V1, &request].concat(), [&v2(1, 0x11, &FOUR)[..], &request].concat(), request].iter().enumerate() {
        let mut stream = TcpStream::connect(rig.address()).await.unwrap();
        let own = stream.local_addr().unwrap().to_string();
        let _ = stream.write_all(bytes).await;
        let mut got = Vec::new();
        let _ = stream.read_to_end(&mut got).await;
        assert!(got.is_empty());
        let lines = rig.lines(number + 1).await;
        let line = lines.last().unwrap();
        assert_eq!((line["reason"].as_str(), line["peer"].as_str()), (Some("untrusted-proxy"), Some(&*own)), "{line}");
    }
    assert!(upstream.seen().is_empty());

    // Whom to trust is read again; where the protocol is off, its header is no HTTP.
    rig.proxy.reload(crate::rig::policies(&rig.log_path(), TRUSTING, "", &[&text])).unwrap();
    assert_eq!(rig.send([V1, &post("", message("1.2", "DM/1.2").as_bytes())].concat()).await.status, 200);
    rig.proxy.reload(crate::rig::policies(&rig.log_path(), "", "", &[&text])).unwrap();
    assert_eq!(rig.send([V1, &post("", message("1.2", "DM/1.2").as_bytes())].concat()).await.status, 400);
    assert_eq!(rig.lines(5).await[4]["reason"], "bad-http");
}

#[tokio::test]
async fn the_header_comes_before_tls() {
    let home = tempfile::tempdir().unwrap();
    let ours = Authority::new(home.path(), "authority");
    let server = ours.issue("server", 1, &["localhost"], days(90));
    let listener = format!("{TRUSTING}tls = {{ certificate = {:?}, key = {:?} }}", server.0, server.1);
    let upstream = Upstream::echoing().await;
    let rig = Rig::with_listener(&listener, "", &[&site(upstream.address, "[\"DM/1.2\"]", "")]).await;
    for (number, (header, pause)) in [(V1.to_vec(), false), (v2(1, 0x11, &FOUR), true)].into_iter().enumerate() {
        let mut stream = TcpStream::connect(rig.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        for piece in header.chunks(if pause { 1 } else { header.len() }) {
            stream.write_all(piece).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(client(&ours.pem, None, ALL_VERSIONS)));
        let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
        stream.write_all(&post("", message("1.2", "DM/1.2").as_bytes())).await.unwrap();
        assert_eq!(Answer::read(&mut stream).await.status, 200);
        let lines = rig.lines(number + 1).await;
        assert_eq!(lines.last().unwrap()["peer"], "192.0.2.7:4660");
        assert_eq!(upstream.seen().pop().unwrap().header("x-forwarded-proto"), Some("https"));
    }
    // A handshake without one, and one that fails behind one: the line says whose it was.
    assert!(connect(rig.address(), client(&ours.pem, None, ALL_VERSIONS), "localhost").await.is_err());
    let mut stream = TcpStream::connect(rig.address()).await.unwrap();
    stream.write_all(&[V1, b"GET / HTTP/1.1\r\n\r\n"].concat()).await.unwrap();
    let _ = stream.read_to_end(&mut Vec::new()).await;
    let lines = rig.lines(4).await;
    assert_eq!(lines[2]["reason"], "bad-proxy-header");
    assert_eq!((lines[3]["reason"].as_str(), lines[3]["peer"].as_str()), (Some("tls-handshake"), Some("192.0.2.7:4660")));
}

#[tokio::test]
async fn an_address_of_ipv4_is_one_also_on_a_socket_for_ipv6() {
    let upstream = Upstream::echoing().await;
    let home = tempfile::tempdir().unwrap();
    let log = home.path().join("decisions.log");
    let text = site(upstream.address, "[\"DM/1.2\"]", "");
    let mut policies = crate::rig::policies(&log, TRUSTING, "", &[&text]);
    policies.settings.listeners[0].address = "[::ffff:127.0.0.1]:0".parse().unwrap();
    let lines = protover::decisions::Log::start(&policies.settings.decisions).unwrap();
    let proxy = protover::server::Proxy::start(policies, lines.clone()).await.unwrap();
    let port = proxy.address("devices").unwrap().port();
    for header in [&b"PROXY UNKNOWN\r\n"[..], b"PROXY TCP6 ::ffff:192.0.2.7 ::1 4660 443\r\n"] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(&[header, &post("", message("1.2", "DM/1.2").as_bytes())].concat()).await.unwrap();
        assert_eq!(Answer::read(&mut stream).await.status, 200);
    }
    let seen: Vec<String> = upstream.seen().iter().map(|seen| seen.header("x-forwarded-for").unwrap().to_owned()).collect();
    assert_eq!(seen, ["127.0.0.1", "192.0.2.7"]);
    tokio::task::spawn_blocking(move || lines.flush()).await.unwrap();
    let text = std::fs::read_to_string(log).unwrap();
    assert!(text.contains("\"peer\":\"127.0.0.1:") && text.contains("\"peer\":\"192.0.2.7:4660\""), "{text}");
}

#[tokio::test]
async fn headers_of_a_trusted_proxy_are_kept_and_extended() {
    let home = tempfile::tempdir().unwrap();
    let ours = Authority::new(home.path(), "authority");
    let device = ours.issue("fleet-7", 2, &[], days(90));
    let pem = std::fs::read_to_string(&device.0).unwrap();
    let der: String = pem.lines().skip(1).take_while(|line| !line.starts_with('-')).collect();
    let said = format!(
        "Forwarded: for=192.0.2.7;proto=https\r\nForwarded: for=10.9.9.9\r\nX-Forwarded-For: 192.0.2.7, 10.9.9.9\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: dm.public.example\r\nClient-Cert: :{der}:\r\nClient-Cert-Chain: :Zm9v:\r\nClient_Cert: :YmFy:\r\n"
    );
    let rule = "[[rule]]\nname = \"fleet\"\nwhen = { client_certificate = \"CN=fleet-7*\" }\nthen = { verdict = \"pass\" }";
    let upstream = Upstream::echoing().await;
    let text = site(upstream.address, "[\"DM/1.2\"]", rule);
    for trusted in [true, false] {
        let proxies = if trusted { "[\"127.0.0.1\"]" } else { "[\"192.0.2.0/24\"]" };
        let rig = Rig::with_listener(&format!("trusted_proxies = {proxies}\n"), "", &[&text]).await;
        assert_eq!(rig.send(post(&said, message("1.2", "DM/1.2").as_bytes())).await.status, 200);
        let seen = upstream.seen().pop().unwrap();
        let own = "for=127.0.0.1;host=\"dm.example\";proto=http";
        let expected = if trusted {
            [
                ("forwarded", Some(format!("for=192.0.2.7;proto=https, for=10.9.9.9, {own}"))),
                ("x-forwarded-for", Some("192.0.2.7, 10.9.9.9, 127.0.0.1".to_owned())),
                ("x-forwarded-proto", Some("https".to_owned())),
                ("x-forwarded-host", Some("dm.public.example".to_owned())),
                ("client-cert", Some(format!(":{der}:"))),
                ("client-cert-chain", Some(":Zm9v:".to_owned())),
                ("client_cert", None),
            ]
        } else {
            [
                ("forwarded", Some(own.to_owned())),
                ("x-forwarded-for", Some("127.0.0.1".to_owned())),
                ("x-forwarded-proto", Some("http".to_owned())),
                ("x-forwarded-host", Some("dm.example".to_owned())),
                ("client-cert", None),
                ("client-cert-chain", None),
                ("client_cert", None),
            ]
        };
        for (name, value) in expected {
            assert_eq!(seen.header(name).map(str::to_owned), value, "{name}, {trusted}");
        }
        assert_eq!(rig.line().await["rule"].as_str(), trusted.then_some("fleet"));
    }
}
