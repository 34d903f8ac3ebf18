//! HTTP/2 on one side, HTTP/1.1 on the other: what could become two requests on the way, in raw frames, since no
//! library would send it.

use std::sync::Arc;

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    rig::{PATIENCE, Rig, site},
    smuggling::Counting,
    tls::{certificates, listener},
};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A client of HTTP/2 that sends frames as it is told.
pub(crate) struct Frames(TlsStream<TcpStream>);

impl Frames {
    pub(crate) async fn connect(rig: &Rig) -> Self {
        let roots = protover::server::tls::roots(&rig.folder.path().join("certs/ca.pem")).unwrap();
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(rig.address()).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut frames = Self(stream);
        // No settings of its own.
        frames.send(4, 0, 0, &[]).await;
        frames
    }

    pub(crate) async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let frame = [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat();
        // What is said behind a GOAWAY is for nobody.
        let _ = self.0.write_all(&frame).await;
        let _ = self.0.flush().await;
    }

    /// The next frame, but for those that only keep the connection going: kind, stream, payload.
    async fn next(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        loop {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.ok()?;
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            self.0.read_exact(&mut payload).await.ok()?;
            if matches!(head[3], DATA | HEADERS | RST_STREAM | GOAWAY) {
                return Some((head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload));
            }
        }
    }

    /// What becomes of a stream.
    pub(crate) async fn outcome(&mut self, stream: u32) -> Outcome {
        let read = async {
            loop {
                match self.next().await {
                    // The static table has 200 and 400, at these places (RFC 7541, appendix A).
                    Some((HEADERS, of, block)) if of == stream => match block.iter().find(|byte| **byte & 0xe0 != 0x20) {
                        Some(0x88) => return Outcome::Status(200),
                        Some(0x8c) => return Outcome::Status(400),
                        _ => return Outcome::Status(0),
                    },
                    Some((RST_STREAM, of, code)) if of == stream => return Outcome::Reset(code[3]),
                    Some((GOAWAY, _, payload)) => return Outcome::GoAway(payload[7]),
                    Some(_) => {}
                    None => return Outcome::Closed,
                }
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("an outcome")
    }

    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
        self.0.flush().await.unwrap();
    }

    pub(crate) fn into_inner(self) -> TlsStream<TcpStream> {
        self.0
    }

    pub(crate) async fn close(mut self) {
        let _ = self.0.shutdown().await;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Status(u16),
    Reset(u8),
    GoAway(u8),
    Closed,
}

/// A header block without compression, each name written out.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

pub(crate) async fn over_tls(upstream: &Counting, process: &str) -> Rig {
    let home = tempfile::tempdir().unwrap();
    certificates(home.path());
    let with = listener(&home.path().join("certs"), "off");
    let rig = Rig::with_listener(&with, process, &[&site(upstream.address, "[\"DM/1.2\"]", "")]).await;
    std::fs::rename(home.path().join("certs"), rig.folder.path().join("certs")).unwrap();
    rig
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
enum Becomes {
    /// The server sees this target and body.
    Passed(&'static str, &'static str),
    /// protover answers in the server's stead.
    Refused(u16),
    /// The stream is reset, or the connection ended, before there is a request.
    NoRequest(Outcome),
    /// The stream is reset when its body does not fit its length. The server has seen the head, and nothing that
    /// it did not announce.
    Torn,
}
use Becomes::{NoRequest, Passed, Refused, Torn};

const PROTOCOL_ERROR: u8 = 1;
const RESET: Becomes = NoRequest(Outcome::Reset(PROTOCOL_ERROR));
const ENDED: Becomes = NoRequest(Outcome::GoAway(PROTOCOL_ERROR));
const SECOND: &str = "GET /smuggled HTTP/1.1\r\nHost: dm.example\r\n\r\n";

type Field = (&'static str, &'static str);
const POST: [Field; 4] = [(":method", "POST"), (":scheme", "https"), (":path", "/dm"), (":authority", "dm.example")];

/// A request with more fields.
fn with(more: &[Field]) -> Vec<Field> {
    [&POST[..], more].concat()
}

/// A request with another pseudo-header, or without.
fn instead(name: &str, value: Option<&'static str>) -> Vec<Field> {
    let other = |field: &Field| if field.0 == name { value.map(|value| (field.0, value)) } else { Some(*field) };
    POST.iter().filter_map(other).collect()
}

async fn hold(rows: Vec<(&str, Vec<Field>, &str, Becomes)>) {
    for (name, fields, body, becomes) in rows {
        let upstream = Counting::start().await;
        let rig = over_tls(&upstream, "").await;
        let mut frames = Frames::connect(&rig).await;
        frames.send(HEADERS, if body.is_empty() { END_HEADERS | END_STREAM } else { END_HEADERS }, 1, &block(&fields)).await;
        if !body.is_empty() {
            frames.send(DATA, END_STREAM, 1, body.as_bytes()).await;
        }
        let got = frames.outcome(1).await;
        frames.close().await;
        let line = rig.line().await;
        let (whole, broken) = upstream.seen();
        let seen: Vec<(&str, &[u8])> = whole.iter().map(|request| (&*request.target, &*request.body)).collect();
        let logged = (line["reason"].as_str().unwrap(), line["http_status"].as_u64(), line["attempts"].as_u64());
        match becomes {
            Passed(target, body) => {
                assert_eq!((got, &seen[..]), (Outcome::Status(200), &[(target, body.as_bytes())][..]), "{name}");
                assert_eq!((logged, broken.len()), (("not-syncml", Some(200), Some(1)), 0), "{name}");
            }
            Refused(status) => {
                // 405 is not in the static table.
                assert_eq!(got, Outcome::Status(if status == 400 { 400 } else { 0 }), "{name}");
                assert_eq!((logged, seen.len()), (("bad-request", Some(status.into()), None), 0), "{name}");
            }
            NoRequest(outcome) => {
                assert_eq!((got, seen.len(), broken.len()), (outcome, 0, 0), "{name}");
                assert_eq!((logged, line["kind"].as_str()), (("bad-http", None, None), Some("connection")), "{name}");
            }
            Torn => {
                assert_eq!(got, Outcome::Reset(PROTOCOL_ERROR), "{name}");
                assert!(matches!(logged.0, "client-gone" | "bad-request"), "{name}: {line}");
                assert!(whole.iter().all(|request| request.target == "/dm" && request.body.is_empty()), "{name}: {whole:?}");
                assert!(broken.iter().all(|part| !part.contains("smuggled")), "{name}: {broken:?}");
            }
        }
    }
}

#[tokio::test]
async fn lengths_and_headers_of_http_1_in_http_2() {
    hold(vec![
        ("no length", with(&[]), "hello", Passed("/dm", "hello")),
        ("its length", with(&[("content-length", "5")]), "hello", Passed("/dm", "hello")),
        ("a shorter length", with(&[("content-length", "3")]), SECOND, Torn),
        ("a longer length", with(&[("content-length", "99")]), SECOND, Torn),
        ("no length at all", with(&[("content-length", "0")]), SECOND, Torn),
        ("two lengths", with(&[("content-length", "5"), ("content-length", "5")]), "hello", Refused(400)),
        ("two lengths that differ", with(&[("content-length", "5"), ("content-length", "0")]), "hello", RESET),
        ("a list of lengths", with(&[("content-length", "5, 5")]), "hello", RESET),
        ("a length with a sign", with(&[("content-length", "+5")]), "hello", RESET),
        ("a coding", with(&[("transfer-encoding", "chunked")]), SECOND, RESET),
        ("a coding with an underscore", with(&[("transfer_encoding", "chunked")]), "hello", Refused(400)),
        ("a coding with a space", with(&[("transfer-encoding ", "chunked")]), "", ENDED),
        ("a coding in capitals", with(&[("Transfer-Encoding", "chunked")]), "", ENDED),
        ("connection", with(&[("connection", "close")]), "", RESET),
        ("keep-alive", with(&[("keep-alive", "5")]), "", RESET),
        ("proxy-connection", with(&[("proxy-connection", "keep-alive")]), "", RESET),
        ("upgrade", with(&[("upgrade", "h2c")]), "", RESET),
        ("te, as it may be", with(&[("te", "trailers")]), "hello", Passed("/dm", "hello")),
        ("te, as it may not be", with(&[("te", "gzip")]), "", RESET),
        ("expect", with(&[("expect", "100-continue")]), "hello", Passed("/dm", "hello")),
    ])
    .await;
}

#[tokio::test]
async fn line_ends_and_tricks_with_pseudo_headers() {
    hold(vec![
        ("CR LF in a value", with(&[("x", "a\r\nTransfer-Encoding: chunked")]), "0\r\n\r\n", ENDED),
        ("LF in a value", with(&[("x", "a\nb: c")]), "", ENDED),
        ("NUL in a value", with(&[("x", "a\0b")]), "", ENDED),
        ("CR LF in a name", with(&[("x\r\ny", "a")]), "", ENDED),
        ("a colon in a name", with(&[("x: y\r\nz", "a")]), "", ENDED),
        ("a request in :path", instead(":path", Some("/ HTTP/1.1\r\nHost: evil\r\n\r\nGET /smuggled")), "", RESET),
        ("a space in :path", instead(":path", Some("/a b")), "", RESET),
        ("an empty :path", instead(":path", Some("")), "", RESET),
        ("no :path", instead(":path", None), "", RESET),
        ("a :path without a slash", instead(":path", Some("dm")), "", RESET),
        ("a :path with a host", instead(":path", Some("https://evil/dm")), "", RESET),
        ("a :path with a fragment", instead(":path", Some("/a#b")), "", Passed("/a", "")),
        ("two :path", with(&[(":path", "/smuggled")]), "", RESET),
        ("a request in :method", instead(":method", Some("GET /smuggled HTTP/1.1")), "", ENDED),
        ("a path in :scheme", instead(":scheme", Some("https://dm.example/x?")), "", RESET),
        ("a host that contradicts :authority", with(&[("host", "other.example")]), "", Refused(400)),
        ("a host that agrees with :authority", with(&[("host", "dm.example")]), "", Passed("/dm", "")),
        ("two hosts", with(&[("host", "dm.example"), ("host", "dm.example")]), "", Refused(400)),
        (
            "a host without :authority",
            [&instead(":authority", None)[..], &[("host", "dm.example")]].concat(),
            "",
            Passed("/dm", ""),
        ),
        ("neither", instead(":authority", None), "", Refused(400)),
        ("a user in :authority", instead(":authority", Some("dm.example@evil")), "", Refused(400)),
        ("a path in :authority", instead(":authority", Some("dm.example/x")), "", RESET),
        ("CR LF in :authority", instead(":authority", Some("dm.example\r\nx: y")), "", RESET),
        ("a pseudo-header behind another", [&[("x", "y")], &POST[..]].concat(), "", RESET),
        ("a pseudo-header that nobody knows", with(&[(":evil", "x")]), "", ENDED),
        ("CONNECT", vec![(":method", "CONNECT"), (":authority", "dm.example:443")], "", Refused(405)),
    ])
    .await;
}

#[tokio::test]
async fn requests_that_http_2_resets_have_a_line_each_beside_those_that_pass() {
    let upstream = Counting::start().await;
    let rig = over_tls(&upstream, "").await;
    let mut frames = Frames::connect(&rig).await;
    for number in 0..6 {
        let (stream, bad) = (2 * number + 1, number % 2 == 1);
        let fields = if bad { with(&[("connection", "close")]) } else { with(&[]) };
        frames.send(HEADERS, END_HEADERS | END_STREAM, stream, &block(&fields)).await;
        let expected = if bad { Outcome::Reset(PROTOCOL_ERROR) } else { Outcome::Status(200) };
        assert_eq!(frames.outcome(stream).await, expected);
    }
    frames.close().await;
    let lines = rig.lines(6).await;
    assert_eq!(lines.iter().filter(|line| line["reason"] == "bad-http" && line["kind"] == "connection").count(), 3);
    assert_eq!((lines.iter().filter(|line| line["attempts"] == 1).count(), upstream.seen().0.len()), (3, 3));
}
