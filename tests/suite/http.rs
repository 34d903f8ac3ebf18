//! HTTP as old devices speak it, and as attackers do.

use std::{io::Write, time::Duration};

use flate2::{Compression, write::GzEncoder, write::ZlibEncoder};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::rig::{Answer, Does, PATIENCE, Rig, Upstream, answer, message, nobody, ok, post, site};

const XML: &str = "application/vnd.syncml.dm+xml";

async fn both(speaks: &str, more: &str) -> (Upstream, Rig) {
    let upstream = Upstream::echoing().await;
    let rig = Rig::start("", &[&site(upstream.address, speaks, more)]).await;
    (upstream, rig)
}

#[tokio::test]
async fn what_nginx_refuses_gets_a_400_and_one_line_and_never_reaches_a_server() {
    let (upstream, rig) = both("[\"DM/1.2\"]", "").await;
    let line = "POST /dm HTTP/1.1\r\n";
    let host = "Host: dm.example\r\n";
    let cases = [
        format!("{line}{host}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{line}{host}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{line}{host}Transfer_Encoding: chunked\r\nContent-Length: 0\r\n\r\n"),
        format!("{line}Content-Length: 0\r\n\r\n"),
        format!("{line}{host}{host}Content-Length: 0\r\n\r\n"),
        format!("{line}Host: dm.example, evil.example\r\nContent-Length: 0\r\n\r\n"),
        format!("{line}Host: a@b\r\nContent-Length: 0\r\n\r\n"),
        format!("POST http://other.example/ HTTP/1.1\r\n{host}Content-Length: 0\r\n\r\n"),
        format!("{line}{host}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc"),
        format!("{line}{host}Content-Length: -1\r\n\r\n"),
        format!("{line}{host}Content-Length: 3, 3\r\n\r\nabc"),
        format!("{line}{host}Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n"),
        format!("{line}{host}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        format!("POST /dm HTTP/1.0\r\n{host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{line}{host}Broken Name: 1\r\nContent-Length: 0\r\n\r\n"),
        format!("{line}{host}Folded: 1\r\n 2\r\nContent-Length: 0\r\n\r\n"),
        "nonsense\r\n\r\n".to_owned(),
        format!("{line}{host}X: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(40_000)),
    ];
    for (number, raw) in cases.iter().enumerate() {
        let got = rig.send(raw).await;
        let shown: String = raw.chars().take(120).collect();
        assert!(matches!(got.status, 400 | 431 | 501), "{}: {shown:?}", got.status);
        assert_eq!(got.header("connection"), Some("close"), "{shown:?}");
        let lines = rig.lines(number + 1).await;
        assert_eq!(lines[number]["http_status"], got.status, "{shown:?}");
        assert!(matches!(lines[number]["reason"].as_str(), Some("bad-request" | "bad-http")), "{}", lines[number]);
    }
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn hop_by_hop_and_forwarding_headers_are_ours() {
    let (upstream, rig) = both("[\"DM/1.2\"]", "").await;
    let more = "Connection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nUpgrade: h2c\r\nProxy-Authorization: x\r\n\
        X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nForwarded: for=6.6.6.6\r\nClient-Cert: :AAAA:\r\n\
        Protover-Decision: mine\r\nVia: 1.0 gateway\r\nX-End: 2\r\nx_wap_profile: kept\r\n";
    let got = rig.send(post(more, message("1.2", "DM/1.2").as_bytes())).await;
    assert_eq!(got.status, 200);
    let seen = &upstream.seen()[0];
    for gone in ["x-hop", "keep-alive", "te", "upgrade", "proxy-authorization", "client-cert"] {
        assert_eq!(seen.header(gone), None, "{gone}");
    }
    for (name, value) in [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "dm.example"),
        ("forwarded", "for=127.0.0.1;host=\"dm.example\";proto=http"),
        ("via", "1.1 protover"),
        ("x-end", "2"),
        ("x_wap_profile", "kept"),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
    assert_eq!(got.header("via"), Some("1.1 protover"));
    assert_eq!(seen.head.matches("rotover-").count(), 1, "{}", seen.head);
}

#[tokio::test]
async fn every_request_of_a_connection_is_forwarded_with_the_host_that_it_names() {
    let (upstream, rig) = both("[\"DM/1.2\"]", "").await;
    let body = message("1.2", "DM/1.2");
    let hosts = ["dm.example", "DM.example:8080", "dm.example"];
    let requests = hosts.map(|host| {
        format!("POST /dm HTTP/1.1\r\nHost: {host}\r\nContent-Type: {XML}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    });
    assert_eq!(rig.send(requests.concat()).await.status, 200);
    rig.lines(3).await;
    let told: Vec<_> = upstream
        .seen()
        .iter()
        .map(|seen| (seen.header("x-forwarded-host").map(str::to_owned), seen.header("forwarded").map(str::to_owned)))
        .collect();
    assert_eq!(told.len(), hosts.len());
    for (host, told) in hosts.iter().zip(told) {
        assert_eq!(told, (Some((*host).to_owned()), Some(format!("for=127.0.0.1;host=\"{host}\";proto=http"))));
    }
}

#[tokio::test]
async fn hosts_are_found_with_and_without_port_and_in_either_form_of_target() {
    let (upstream, rig) = both("[\"DM/1.2\"]", "").await;
    let body = message("1.2", "DM/1.2");
    let request = |target: &str, version: &str, host: &str| {
        format!("POST {target} {version}\r\n{host}Content-Type: {XML}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    for (status, raw) in [
        (200, request("/dm", "HTTP/1.1", "Host: DM.example:8080\r\n")),
        (200, request("/dm", "HTTP/1.1", "Host: dm.example.\r\n")),
        (200, request("http://dm.example/dm", "HTTP/1.1", "Host: dm.example\r\n")),
        (200, request("http://dm.example:80/dm", "HTTP/1.0", "")),
        (200, request("/dm", "HTTP/1.0", "Host: dm.example\r\n")),
        (421, request("/dm", "HTTP/1.1", "Host: other.example\r\n")),
        (421, request("http://other.example/dm", "HTTP/1.1", "Host: other.example\r\n")),
        (421, request("/dm", "HTTP/1.0", "")),
    ] {
        let got = rig.send(&raw).await;
        assert_eq!(got.status, status, "{raw}");
    }
    assert!(upstream.seen().iter().all(|seen| seen.head.starts_with("POST /dm HTTP/1.1")));
    let lines = rig.lines(8).await;
    assert_eq!(lines.iter().filter(|line| line["reason"] == "no-site").count(), 3);
}

#[tokio::test]
async fn connections_are_kept_pipelined_and_half_closed() {
    let (upstream, rig) = both("[\"DM/1.2\"]", "").await;
    let one = post("", message("1.2", "DM/1.2").as_bytes());
    let mut stream = TcpStream::connect(rig.address()).await.unwrap();
    for _ in 0..3 {
        stream.write_all(&one).await.unwrap();
        assert_eq!(Answer::read(&mut stream).await.status, 200);
    }
    stream.write_all(&[one.clone(), one.clone(), one.clone()].concat()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&rest).matches("HTTP/1.1 200 OK").count(), 3);
    assert_eq!((upstream.seen().len(), rig.lines(6).await.len()), (6, 6));
}

#[tokio::test]
async fn a_device_that_waits_for_100_continue_is_refused_before_it_sends_anything() {
    let (upstream, rig) = both("[\"DM/1.2\"]", "").await;
    let body = message("1.2", "DM/1.2");
    for (status, host, length, content_type) in [
        (421, "other.example", body.len(), XML),
        (413, "dm.example", 9_000_000, XML),
        (415, "dm.example", body.len(), "application/vnd.oma.dm.initiation+json"),
    ] {
        let mut stream = TcpStream::connect(rig.address()).await.unwrap();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: {host}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut first = [0; 12];
        tokio::time::timeout(PATIENCE, stream.read_exact(&mut first)).await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&first), format!("HTTP/1.1 {status}"));
    }
    let mut stream = TcpStream::connect(rig.address()).await.unwrap();
    let raw = post("Expect: 100-continue\r\n", body.as_bytes());
    let (head, body) = raw.split_at(raw.len() - body.len());
    stream.write_all(head).await.unwrap();
    let mut first = [0; 25];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body).await.unwrap();
    assert_eq!(Answer::read(&mut stream).await.status, 200);
    assert_eq!(upstream.seen().len(), 1);
    assert_eq!(upstream.seen()[0].header("expect"), None);
    rig.lines(4).await;
}

#[tokio::test]
async fn chunks_are_read_and_what_leaves_has_a_length() {
    let upstream = Upstream::start(|_| {
        let body = answer("1.1", "DM/1.1", "");
        let (one, two) = body.split_at(100);
        Does::Answer(
            format!("HTTP/1.1 200 OK\r\nContent-Type: {XML}\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n", two.len())
                .into_bytes(),
        )
    })
    .await;
    let rig = Rig::start("", &[&site(upstream.address, "[\"DM/1.1\"]", "[unsupported]\nthen = \"bridge\"")]).await;
    let body = message("1.2", "DM/1.2");
    let (one, two) = body.split_at(50);
    let raw = format!(
        "POST /dm HTTP/1.1\r\nHost: dm.example\r\nContent-Type: {XML}\r\nTransfer-Encoding: chunked\r\n\r\n32\r\n{one}\r\n{:x};ext=1\r\n{two}\r\n0\r\n\r\n",
        two.len()
    );
    let got = rig.send(raw).await;
    assert_eq!(got.text(), answer("1.2", "DM/1.2", ""));
    assert_eq!((got.header("transfer-encoding"), got.header("content-length")), (None, Some(&*got.body.len().to_string())));
    let seen = &upstream.seen()[0];
    assert_eq!(String::from_utf8(seen.body.clone()).unwrap(), message("1.1", "DM/1.1"));
    assert_eq!(seen.header("transfer-encoding"), None);
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut packing = GzEncoder::new(Vec::new(), Compression::best());
    packing.write_all(plain).unwrap();
    packing.finish().unwrap()
}

fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut packing = ZlibEncoder::new(Vec::new(), Compression::best());
    packing.write_all(plain).unwrap();
    packing.finish().unwrap()
}

#[tokio::test]
async fn packed_bodies_are_read_through_and_edited_ones_leave_plain() {
    let upstream = Upstream::start(|_| {
        let packed = gzip(answer("1.1", "DM/1.1", "").as_bytes());
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {XML}\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
            packed.len()
        );
        Does::Answer([head.into_bytes(), packed].concat())
    })
    .await;
    let rig = Rig::start("", &[&site(upstream.address, "[\"DM/1.1\"]", "[unsupported]\nthen = \"bridge\"")]).await;
    for (coding, packed) in
        [("gzip", gzip(message("1.2", "DM/1.2").as_bytes())), ("deflate", zlib(message("1.2", "DM/1.2").as_bytes()))]
    {
        let got = rig.send(post(&format!("Content-Encoding: {coding}\r\nAccept-Encoding: gzip\r\n"), &packed)).await;
        assert_eq!((got.text(), got.header("content-encoding")), (answer("1.2", "DM/1.2", ""), None));
        let seen = upstream.seen().pop().unwrap();
        assert_eq!(
            (String::from_utf8(seen.body.clone()).unwrap(), seen.header("content-encoding")),
            (message("1.1", "DM/1.1"), None)
        );
    }
    // Untouched means untouched: packed as it came.
    let packed = gzip(message("1.1", "DM/1.1").as_bytes());
    let got = rig.send(post("Content-Encoding: gzip\r\n", &packed)).await;
    assert_eq!((got.header("content-encoding"), &got.body), (Some("gzip"), &gzip(answer("1.1", "DM/1.1", "").as_bytes())));
    assert_eq!(upstream.seen().pop().unwrap().body, packed);
    // A bomb, a broken one, and one that nobody can read.
    let bomb = gzip(&vec![b' '; 3 << 20]);
    for (status, coding, body) in
        [(413, "gzip", &bomb[..]), (400, "gzip", &packed[..20]), (415, "br", &packed[..]), (415, "gzip, gzip", &packed[..])]
    {
        let got = rig.send(post(&format!("Content-Encoding: {coding}\r\n"), body)).await;
        assert_eq!(got.status, status, "{coding}");
        assert_eq!(got.header("accept-encoding").is_some(), status == 415);
    }
    assert_eq!(upstream.seen().len(), 3);
    rig.lines(7).await;
}

#[tokio::test]
async fn anything_else_passes_through_as_it_streams() {
    let upstream = Upstream::start(|seen| {
        if seen.head.starts_with("HEAD") {
            return Does::Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\nContent-Type: text/html\r\n\r\n".to_vec());
        }
        Does::Answer(ok("text/html", &vec![b'x'; 3 << 20]))
    })
    .await;
    let rig = Rig::start("", &[&site(upstream.address, "[\"DM/1.2\"]", "")]).await;
    let got = rig.send("GET /status HTTP/1.1\r\nHost: dm.example\r\n\r\n").await;
    assert_eq!((got.status, got.body.len()), (200, 3 << 20), "an answer that is not read has no limit");
    let mut stream = TcpStream::connect(rig.address()).await.unwrap();
    stream.write_all(b"HEAD /status HTTP/1.1\r\nHost: dm.example\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut head = String::new();
    stream.read_to_string(&mut head).await.unwrap();
    assert!(head.contains("ontent-length: 12345") || head.contains("ontent-Length: 12345"), "{head}");
    let form = "POST /upload HTTP/1.1\r\nHost: dm.example\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    assert_eq!(rig.send(form).await.status, 200);
    let too_large =
        format!("POST / HTTP/1.1\r\nHost: dm.example\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", 2 << 20);
    assert_eq!(rig.send(too_large).await.status, 413);
    let lines = rig.lines(4).await;
    let reasons: Vec<&Value> = lines.iter().map(|line| &line["reason"]).collect();
    assert_eq!(reasons, [&json!("not-syncml"), &json!("not-syncml"), &json!("not-syncml"), &json!("body-too-large")]);
}

#[tokio::test]
async fn limits_end_what_is_silent_stalled_or_dripping() {
    let (upstream, rig) = {
        let upstream = Upstream::echoing().await;
        let limits =
            "[limits]\nheader_timeout = \"300ms\"\nbody_timeout = \"300ms\"\nupstream_timeout = \"300ms\"\nbody = \"4KiB\"";
        let rig = Rig::start(limits, &[&site(upstream.address, "[\"DM/1.2\"]", "")]).await;
        (upstream, rig)
    };
    let closed = async |mut stream: TcpStream| {
        let mut rest = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
        assert!(read.is_ok(), "still open");
        String::from_utf8_lossy(&rest).into_owned()
    };
    // Silent from the beginning.
    let silent = TcpStream::connect(rig.address()).await.unwrap();
    assert_eq!(closed(silent).await, "");
    // A head that drips.
    let mut dripping = TcpStream::connect(rig.address()).await.unwrap();
    let began = std::time::Instant::now();
    for byte in b"POST /dm HTTP/1.1\r\nHost: dm.example\r\nX: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" {
        if dripping.write_all(&[*byte]).await.is_err() || began.elapsed() > Duration::from_secs(3) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(began.elapsed() < Duration::from_secs(2), "a dripping head has a limit of its own");
    // A body that stalls.
    let whole = post("", message("1.2", "DM/1.2").as_bytes());
    let mut stalled = TcpStream::connect(rig.address()).await.unwrap();
    stalled.write_all(&whole[..whole.len() - 10]).await.unwrap();
    let text = closed(stalled).await;
    assert!(text.starts_with("HTTP/1.1 408") && text.contains("client-too-slow"), "{text}");
    // A body that is too large, and says so or not.
    let large = post("", &vec![b' '; 5000]);
    assert_eq!(rig.send(&large).await.status, 413);
    let chunked = format!(
        "POST /dm HTTP/1.1\r\nHost: dm.example\r\nContent-Type: {XML}\r\nTransfer-Encoding: chunked\r\n\r\n1388\r\n{}\r\n0\r\n\r\n",
        " ".repeat(5000)
    );
    assert_eq!(rig.send(chunked).await.status, 413);
    assert!(upstream.seen().is_empty());
    let lines = rig.lines(5).await;
    let mut reasons: Vec<&str> = lines.iter().map(|line| line["reason"].as_str().unwrap()).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["body-too-large", "body-too-large", "client-too-slow", "connection-too-slow", "connection-too-slow"]);
}

#[tokio::test]
async fn broken_servers_are_said_to_be() {
    let xml = |body: &str| ok(XML, body.as_bytes());
    let cut = |raw: Vec<u8>| raw[..raw.len() - 20].to_vec();
    let whole = xml(&answer("1.1", "DM/1.1", ""));
    let large = xml(&"x".repeat(10_000));
    let cases = [
        (502, "upstream-broke", Does::Reset),
        (502, "upstream-broke", Does::AnswerAndClose(Vec::new())),
        (502, "upstream-broke", Does::AnswerAndClose(b"nonsense\r\n\r\n".to_vec())),
        (502, "upstream-broke", Does::AnswerAndClose(cut(whole.clone()))),
        (504, "upstream-too-slow", Does::AnswerAndStall(Vec::new())),
        (504, "upstream-too-slow", Does::AnswerAndStall(cut(whole))),
        (502, "upstream-too-large", Does::Answer(large)),
    ];
    for (status, reason, does) in cases {
        let upstream = Upstream::start(move |_| does.clone()).await;
        let limits = "[limits]\nupstream_timeout = \"300ms\"\nbody = \"4KiB\"";
        let rig = Rig::start(limits, &[&site(upstream.address, "[\"DM/1.1\"]", "[unsupported]\nthen = \"bridge\"")]).await;
        let got = rig.send(post("", message("1.2", "DM/1.2").as_bytes())).await;
        let line = rig.line().await;
        assert_eq!((got.status, line["reason"].as_str()), (status, Some(reason)));
        assert_eq!(line["verdict"], "fail");
        let text = got.text();
        assert_eq!(text.lines().count(), 1);
        assert!(text.contains(line["id"].as_str().unwrap()) && !text.contains("127.0.0.1"), "{text}");
    }
    let rig = Rig::start("", &[&site(nobody().await, "[\"DM/1.2\"]", "")]).await;
    assert_eq!(rig.send(post("", message("1.2", "DM/1.2").as_bytes())).await.status, 502);
    assert_eq!(rig.line().await["reason"], "upstream-unreachable");
}

#[tokio::test]
async fn an_answer_that_breaks_off_on_its_way_through_is_cut_and_logged() {
    let half = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\nhalf".to_vec();
    for (reason, does) in
        [("upstream-broke", Does::AnswerAndClose(half.clone())), ("upstream-too-slow", Does::AnswerAndStall(half))]
    {
        let upstream = Upstream::start(move |_| does.clone()).await;
        let rig = Rig::start("[limits]\nupstream_timeout = \"300ms\"", &[&site(upstream.address, "[\"DM/1.2\"]", "")]).await;
        let got = rig.send("GET / HTTP/1.1\r\nHost: dm.example\r\n\r\n").await;
        assert_eq!(got.body, b"half", "and the connection is closed");
        let line = rig.line().await;
        assert_eq!((line["verdict"].as_str(), line["reason"].as_str()), (Some("fail"), Some(reason)));
    }
}

#[tokio::test]
async fn too_many_connections_are_turned_away_politely() {
    let upstream = Upstream::echoing().await;
    let rig = Rig::start("[limits]\nconnections = 2", &[&site(upstream.address, "[\"DM/1.2\"]", "")]).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(rig.address()).await.unwrap();
        stream.write_all(&post("", message("1.2", "DM/1.2").as_bytes())).await.unwrap();
        assert_eq!(Answer::read(&mut stream).await.status, 200);
        held.push(stream);
    }
    let got = rig.send(post("", message("1.2", "DM/1.2").as_bytes())).await;
    assert_eq!((got.status, got.header("retry-after")), (503, Some("30")));
    let lines = rig.lines(3).await;
    assert_eq!((lines[2]["reason"].as_str(), lines[2]["kind"].as_str()), (Some("overloaded"), Some("connection")));
    drop(held);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(rig.send(post("", message("1.2", "DM/1.2").as_bytes())).await.status, 200);
}

#[tokio::test]
async fn a_connection_to_a_server_is_used_again() {
    let connections = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = connections.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            tokio::spawn(async move {
                let mut buffer = [0; 64 * 1024];
                while stream.read(&mut buffer).await.unwrap_or(0) > 0 {
                    stream.write_all(&ok("text/plain", b"x")).await.unwrap();
                }
            });
        }
    });
    let rig = Rig::start("", &[&site(address, "[\"DM/1.2\"]", "")]).await;
    for _ in 0..5 {
        assert_eq!(rig.send(post("", message("1.2", "DM/1.2").as_bytes())).await.status, 200);
    }
    assert_eq!(connections.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test]
async fn idle_connections_end_and_so_do_those_that_do_not_take_their_answer() {
    let upstream = Upstream::start(|seen| {
        if seen.head.starts_with("GET") {
            return Does::Answer(ok("text/plain", &vec![b'x'; 64 << 20]));
        }
        Does::Answer(ok(XML, &seen.body))
    })
    .await;
    let limits = "[limits]\nidle_timeout = \"300ms\"\nbody_timeout = \"400ms\"\nheader_timeout = \"20s\"";
    let rig = Rig::start(limits, &[&site(upstream.address, "[\"DM/1.2\"]", "")]).await;
    let mut idle = TcpStream::connect(rig.address()).await.unwrap();
    idle.write_all(&post("", message("1.2", "DM/1.2").as_bytes())).await.unwrap();
    assert_eq!(Answer::read(&mut idle).await.status, 200);
    let closed = tokio::time::timeout(Duration::from_secs(3), idle.read(&mut [0; 1])).await;
    assert_eq!(closed.unwrap().unwrap(), 0, "nothing is lost, and nothing is logged");
    let mut deaf = TcpStream::connect(rig.address()).await.unwrap();
    deaf.write_all(b"GET /large HTTP/1.1\r\nHost: dm.example\r\n\r\n").await.unwrap();
    let lines = rig.lines(2).await;
    assert_eq!((lines[1]["verdict"].as_str(), lines[1]["reason"].as_str()), (Some("fail"), Some("client-too-slow")));
    assert!(lines[1]["bytes_out"].as_u64().unwrap() < 64 << 20);
    drop(deaf);
}
