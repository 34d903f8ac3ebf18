//! Clients that begin and never come to an end: each is cut off in its time, with a line, wherever it stopped.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use crate::{
    downgrade::{Frames, Outcome, block, over_tls},
    rig::{Does, Rig, Upstream, message, ok, post, site},
    smuggling::Counting,
    tls::listener,
};

const LIMITS: &str = "[limits]\nheader_timeout = \"500ms\"\nbody_timeout = \"500ms\"\nidle_timeout = \"30s\"";
const SOON: Duration = Duration::from_millis(400);
const LATE: Duration = Duration::from_millis(1600);

/// Waits for the end of a connection, and sends a byte from time to time till then. How long it took.
async fn ended(mut stream: impl AsyncRead + AsyncWrite + Unpin, drip: Option<&[u8]>) -> Duration {
    let began = Instant::now();
    let mut sink = [0; 4096];
    loop {
        assert!(began.elapsed() < 3 * LATE, "still open");
        match tokio::time::timeout(Duration::from_millis(50), stream.read(&mut sink)).await {
            Ok(Ok(0) | Err(_)) => return began.elapsed(),
            Ok(Ok(_)) => {}
            Err(_) => {
                if let Some(drip) = drip {
                    let _ = stream.write_all(drip).await;
                }
            }
        }
    }
}

fn in_time(name: &str, took: Duration) {
    assert!(took > SOON && took < LATE, "{name}: {took:?}");
}

#[tokio::test]
async fn half_a_head_is_cut_off_after_the_header_timeout() {
    let upstream = Upstream::echoing().await;
    let sites = site(upstream.address, "[\"DM/1.2\"]", "");
    let home = tempfile::tempdir().unwrap();
    crate::tls::certificates(home.path());
    let tls = listener(&home.path().join("certs"), "off");
    let proxy = "proxy_protocol = true\ntrusted_proxies = [\"127.0.0.1\"]\n";
    let head = b"POST /dm HTTP/1.1\r\nHost: dm.example\r\nX: ".to_vec();
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0".to_vec();
    let cases = [
        ("nothing", "", Vec::new(), None),
        ("half a head", "", head.clone(), None),
        ("a head that drips", "", head.clone(), Some(&b"x"[..])),
        ("empty lines", "", Vec::new(), Some(b"\r\n")),
        ("no ClientHello", &tls, Vec::new(), None),
        ("half a ClientHello", &tls, b"\x16\x03\x01\x02\x00\x01\x00".to_vec(), None),
        ("a ClientHello that drips", &tls, b"\x16\x03\x01\x02\x00\x01\x00".to_vec(), Some(b"\0")),
        ("no PROXY header", proxy, Vec::new(), None),
        ("half a PROXY header", proxy, b"PROXY TCP4 192.0.2.7".to_vec(), None),
        ("a PROXY header that drips", proxy, b"PROXY TCP4 1".to_vec(), Some(b"9")),
        ("half a PROXY header of version 2", proxy, v2, None),
        ("nothing behind the PROXY header", proxy, b"PROXY UNKNOWN\r\n".to_vec(), None),
        ("half a head behind the PROXY header", proxy, [&b"PROXY UNKNOWN\r\n"[..], &head].concat(), Some(b"x")),
    ];
    for (name, front, begins, drip) in cases {
        let rig = Rig::with_listener(front, LIMITS, &[&sites]).await;
        let mut stream = TcpStream::connect(rig.address()).await.unwrap();
        stream.write_all(&begins).await.unwrap();
        in_time(name, ended(stream, drip).await);
        let line = rig.line().await;
        assert_eq!((line["reason"].as_str(), line["kind"].as_str()), (Some("connection-too-slow"), Some("connection")), "{name}");
    }
    // The same after a request on the same connection, whose idle time is long.
    let rig = Rig::start(LIMITS, &[&sites]).await;
    let mut stream = TcpStream::connect(rig.address()).await.unwrap();
    stream.write_all(&post("", message("1.2", "DM/1.2").as_bytes())).await.unwrap();
    assert_eq!(crate::rig::Answer::read(&mut stream).await.status, 200);
    tokio::time::sleep(LATE).await;
    stream.write_all(&head).await.unwrap();
    in_time("half a second head", ended(stream, Some(b"x")).await);
    assert_eq!(rig.lines(2).await[1]["reason"], "connection-too-slow");
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn half_a_head_of_http_2_is_cut_off_after_the_header_timeout() {
    let fields = block(&[(":method", "GET"), (":scheme", "https"), (":path", "/dm"), (":authority", "dm.example")]);
    let upstream = Counting::start().await;
    for used in [false, true] {
        for name in ["no request", "half a frame", "no end of headers", "headers that drip"] {
            // Then it is idle, which has a time of its own.
            if used && name == "no request" {
                continue;
            }
            let rig = over_tls(&upstream, LIMITS).await;
            let mut frames = Frames::connect(&rig).await;
            if used {
                frames.send(1, 5, 1, &fields).await;
                assert_eq!(frames.outcome(1).await, Outcome::Status(200));
                tokio::time::sleep(LATE).await;
            }
            match name {
                "no request" => {}
                "half a frame" | "headers that drip" => frames.raw(&[0, 0, 200, 1, 5, 0, 0, 0, 3, 0, 1]).await,
                _ => frames.send(1, 1, 3, &fields).await,
            }
            let drip = (name == "headers that drip").then_some(&b"x"[..]);
            in_time(name, ended(frames.into_inner(), drip).await);
            let lines = rig.lines(1 + usize::from(used)).await;
            let line = lines.last().unwrap();
            assert_eq!(
                (line["reason"].as_str(), line["kind"].as_str()),
                (Some("connection-too-slow"), Some("connection")),
                "{name}"
            );
        }
    }
}

#[tokio::test]
async fn a_body_that_stalls_is_cut_off_after_the_body_timeout() {
    let upstream = Counting::start().await;
    let body = message("1.2", "DM/1.2");
    for kind in ["application/vnd.syncml.dm+xml", "text/plain"] {
        let rig = Rig::start(LIMITS, &[&site(upstream.address, "[\"DM/1.2\"]", "")]).await;
        for drip in [None, Some(&b" "[..])] {
            // What streams through may come slowly, as long as it comes.
            if drip.is_some() && kind == "text/plain" {
                continue;
            }
            let mut stream = TcpStream::connect(rig.address()).await.unwrap();
            let head =
                format!("POST /dm HTTP/1.1\r\nHost: dm.example\r\nContent-Type: {kind}\r\nContent-Length: 9999\r\n\r\n{body}");
            stream.write_all(head.as_bytes()).await.unwrap();
            in_time(kind, ended(stream, drip).await);
        }
        let lines = rig.lines(if kind == "text/plain" { 1 } else { 2 }).await;
        assert!(lines.iter().all(|line| line["reason"] == "client-too-slow"), "{lines:?}");

        let rig = over_tls(&upstream, LIMITS).await;
        let mut frames = Frames::connect(&rig).await;
        let head =
            [(":method", "POST"), (":scheme", "https"), (":path", "/dm"), (":authority", "dm.example"), ("content-type", kind)];
        frames.send(1, 4, 1, &block(&head)).await;
        frames.send(0, 0, 1, body.as_bytes()).await;
        let began = Instant::now();
        let outcome = frames.outcome(1).await;
        in_time(kind, began.elapsed());
        assert!(!matches!(outcome, Outcome::Status(200)), "{outcome:?}");
        assert_eq!(rig.line().await["reason"], "client-too-slow", "{kind}");
    }
    assert_eq!(upstream.seen().0.len(), 0);
}

#[tokio::test]
async fn an_answer_that_is_taken_a_few_bytes_at_a_time_is_cut_off() {
    let upstream = Upstream::start(|_| Does::Answer(ok("text/plain", &vec![b'x'; 8 << 20]))).await;
    let rig = Rig::start(LIMITS, &[&site(upstream.address, "[\"DM/1.2\"]", "")]).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    let mut stream = socket.connect(rig.address()).await.unwrap();
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: dm.example\r\n\r\n").await.unwrap();
    let began = Instant::now();
    let mut taken = 0;
    // It is always on the way, and would be for days.
    let end = loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        match stream.read(&mut [0; 32]).await {
            Ok(read @ 1..) => taken += read,
            end => break end,
        }
        assert!(began.elapsed() < Duration::from_secs(10), "still open after {taken} bytes");
    };
    assert!(end.is_err(), "what it has not taken is thrown away: {end:?} after {taken} bytes");
    let line = rig.line().await;
    assert_eq!((line["verdict"].as_str(), line["reason"].as_str()), (Some("fail"), Some("client-too-slow")));
}
