//! Requests that two readers could read in two ways, each with a second one hidden in or behind it. The server
//! writes down every byte and reads strictly: what protover cannot refuse must reach it in the one form that
//! nobody can misread, and once.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::rig::{PATIENCE, Rig, site};

/// A request as the strictest of readers sees it: target, body, and the decision's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Strict {
    pub(crate) target: String,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Strict {
    fn decision(&self) -> String {
        let named = |line: &'_ str| line.to_ascii_lowercase().starts_with("protover-decision:");
        let lines: Vec<&str> = self.head.lines().filter(|line| named(line)).collect();
        let [line] = lines[..] else { panic!("{}", self.head) };
        line.rsplit(' ').next().unwrap_or_default().to_owned()
    }
}

/// The requests of one connection, each at its place; `Err` with what is wrong, or with half a request.
pub(crate) fn strictly(mut raw: &[u8]) -> Result<Vec<Strict>, String> {
    let mut all = Vec::new();
    while !raw.is_empty() {
        let wrong = |what: &str| Err(format!("{what}: {:?}", String::from_utf8_lossy(raw)));
        let Some(end) = raw.windows(4).position(|window| window == b"\r\n\r\n") else { return wrong("half a head") };
        let head = String::from_utf8_lossy(&raw[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let first: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
        let [_, target, "HTTP/1.1"] = first[..] else { return wrong("request line") };
        let target = target.to_owned();
        let (mut hosts, mut lengths, mut codings) = (0, Vec::new(), Vec::new());
        for line in lines {
            let Some((name, value)) = line.split_once(':') else { return wrong("no colon") };
            let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            if name.is_empty() || !name.bytes().all(token) || value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
                return wrong("field");
            }
            match &*name.to_ascii_lowercase().replace('_', "-") {
                "host" => hosts += 1,
                "content-length" => lengths.push(value.trim().to_owned()),
                "transfer-encoding" => codings.push(value.trim().to_owned()),
                _ => {}
            }
        }
        raw = &raw[end + 4..];
        let mut body = Vec::new();
        match (hosts, &lengths[..], &codings[..]) {
            (1, [], []) => {}
            (1, [length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
                let length: usize = length.parse().unwrap();
                let Some(here) = raw.get(..length) else { return wrong("half a body") };
                body.extend_from_slice(here);
                raw = &raw[length..];
            }
            (1, [], [coding]) if coding == "chunked" => loop {
                let Some(end) = raw.windows(2).position(|window| window == b"\r\n") else { return wrong("half a chunk") };
                let digits = std::str::from_utf8(&raw[..end]).unwrap_or("?");
                let Ok(size) = u32::from_str_radix(digits.strip_prefix('+').map_or(digits, |_| "?"), 16) else {
                    return wrong("size of a chunk");
                };
                let (from, to) = (end + 2, end + 2 + size as usize);
                if raw.get(to..to + 2) != Some(b"\r\n") {
                    return wrong("end of a chunk");
                }
                body.extend_from_slice(&raw[from..to]);
                raw = &raw[to + 2..];
                if size == 0 {
                    break;
                }
            },
            _ => return wrong("framing"),
        }
        all.push(Strict { target, head, body });
    }
    Ok(all)
}

/// A server that writes down what comes over each connection, and answers what it reads strictly.
pub(crate) struct Counting {
    pub(crate) address: SocketAddr,
    connections: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Counting {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let all = Arc::clone(&all);
                tokio::spawn(async move {
                    let number = {
                        let mut all = all.lock().unwrap();
                        all.push(Vec::new());
                        all.len() - 1
                    };
                    let (mut answered, mut buffer) = (0, [0; 4096]);
                    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                        let there = {
                            let mut all = all.lock().unwrap();
                            all[number].extend_from_slice(&buffer[..read]);
                            strictly(&all[number]).map_or(answered, |requests| requests.len())
                        };
                        for _ in answered..there {
                            let answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";
                            if stream.write_all(answer).await.is_err() {
                                return;
                            }
                        }
                        answered = there;
                    }
                });
            }
        });
        Self { address, connections }
    }

    /// All whole requests, and what came besides.
    pub(crate) fn seen(&self) -> (Vec<Strict>, Vec<String>) {
        let (mut whole, mut broken) = (Vec::new(), Vec::new());
        for raw in self.connections.lock().unwrap().iter() {
            match strictly(raw) {
                Ok(requests) => whole.extend(requests),
                Err(wrong) => broken.push(wrong),
            }
        }
        (whole, broken)
    }
}

const SECOND: &str = "GET /smuggled HTTP/1.1\r\nHost: dm.example\r\nConnection: close\r\n\r\n";

/// Sends a request with the second one behind it, and closes the sending side. Returns the statuses of the answers.
async fn statuses(address: SocketAddr, raw: &[u8]) -> Vec<u16> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(raw).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answers = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answers)).await.expect("an end");
    let text = String::from_utf8_lossy(&answers).into_owned();
    // Not those that only say `100 Continue`.
    text.split("HTTP/1.").skip(1).map(|answer| answer[2..5].parse().unwrap()).filter(|status| *status != 100).collect()
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
enum Becomes {
    /// Refused with this status and reason, and the connection is closed: what is behind it is no request.
    Refused(u16, &'static str),
    /// The server sees this target and body, and the second request is a second one.
    Passed(&'static str, &'static str),
    /// It is found out in the middle of the body: a message is refused before the server sees any of it; of what
    /// streams through the server sees a part, and never its end.
    BreaksOff,
}
use Becomes::{BreaksOff, Passed, Refused};

const BAD_HTTP: Becomes = Refused(400, "bad-http");
const BAD_REQUEST: Becomes = Refused(400, "bad-request");
const HELLO: Becomes = Passed("/dm", "hello");

/// A POST with more header lines and what follows the head.
fn post(fields: &str, rest: &str) -> Vec<u8> {
    format!("POST /dm HTTP/1.1\r\nHost: dm.example\r\nContent-Type: KIND\r\n{fields}\r\n{rest}").into_bytes()
}

fn chunks(rest: &str) -> Vec<u8> {
    post("Transfer-Encoding: chunked\r\n", rest)
}

fn head(line: &str, fields: &str) -> Vec<u8> {
    format!("{line}\r\n{fields}\r\n").into_bytes()
}

fn replaced(raw: &[u8], from: &str, to: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = raw;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from.as_bytes()) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    [out, rest.to_vec()].concat()
}

type Row = (&'static str, Vec<u8>, Becomes);

/// Runs every row as a message and as what streams through.
async fn hold(rows: Vec<Row>) {
    for (name, raw, becomes) in rows {
        for kind in ["text/plain", "application/vnd.syncml.dm+xml"] {
            let case = format!("{name}, {kind}");
            let upstream = Counting::start().await;
            let rig = Rig::start("", &[&site(upstream.address, "[\"DM/1.2\"]", "[malformed]\nthen = \"pass\"\n")]).await;
            let raw = [replaced(&raw, "KIND", kind.as_bytes()), SECOND.into()].concat();
            let got = statuses(rig.address(), &raw).await;
            let lines = rig.lines(if matches!(becomes, Passed(..)) { 2 } else { 1 }).await;
            let (whole, broken) = upstream.seen();
            let seen: Vec<(&str, &[u8])> = whole.iter().map(|request| (&*request.target, &*request.body)).collect();
            match becomes {
                Refused(status, reason) => {
                    assert_eq!((&got[..], &seen[..], broken.len()), (&[status][..], &[][..], 0), "{case}");
                    assert_eq!((&lines[0]["http_status"], &lines[0]["reason"]), (&status.into(), &reason.into()), "{case}");
                    assert!(lines[0]["attempts"].is_null(), "{case}");
                }
                Passed(target, body) => {
                    let expected = [(target, body.as_bytes()), ("/smuggled", b"")];
                    assert_eq!((&got[..], &seen[..], broken.len()), (&[200, 200][..], &expected[..], 0), "{case}");
                }
                BreaksOff => {
                    assert_eq!((&got[..], &seen[..]), (&[400][..], &[][..]), "{case}");
                    assert_eq!((&lines[0]["http_status"], &lines[0]["reason"]), (&400.into(), &"bad-request".into()), "{case}");
                    assert!(
                        broken.iter().all(|part| kind == "text/plain" && !part.contains("/smuggled HTTP")),
                        "{case}: {broken:?}"
                    );
                }
            }
            // Each request at the server is the one of its line, and of no other.
            let mut ids: Vec<String> = whole.iter().map(Strict::decision).collect();
            let mut logged: Vec<&str> =
                lines.iter().filter(|line| line["attempts"] == 1).map(|line| line["id"].as_str().unwrap()).collect();
            ids.sort();
            logged.sort_unstable();
            if !matches!(becomes, BreaksOff) {
                assert_eq!(ids, logged, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn lengths_that_can_be_read_in_two_ways() {
    let (five, coded) = ("Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n");
    let length = |value: &str| post(&format!("Content-Length:{value}\r\n"), "hello");
    let coding = |line: &str| post(&format!("{line}\r\n"), "5\r\nhello\r\n0\r\n\r\n");
    let hidden = SECOND.replace("Connection: close\r\n", "");
    hold(vec![
        ("CL.TE", post(&format!("{five}{coded}"), "0\r\n\r\n"), BAD_REQUEST),
        ("TE.CL", post(&format!("{coded}{five}"), "0\r\n\r\n"), BAD_REQUEST),
        ("TE.CL, with a chunk", post(&format!("{coded}Content-Length: 4\r\n"), "3c\r\nhello\r\n0\r\n\r\n"), BAD_REQUEST),
        (
            "CL.TE, of which one is folded",
            post("Content-Length: 5\r\nX: y\r\n\tTransfer-Encoding: chunked\r\n", "hello"),
            BAD_HTTP,
        ),
        ("two lengths that differ", post("Content-Length: 5\r\nContent-Length: 0\r\n", "hello"), BAD_HTTP),
        ("two lengths that are equal", post(&format!("{five}{five}"), "hello"), BAD_REQUEST),
        ("a list of lengths", length(" 5, 5"), BAD_HTTP),
        ("a length with a sign", length(" +5"), BAD_HTTP),
        ("a negative length", length(" -5"), BAD_HTTP),
        ("a length in hex", length(" 0x5"), BAD_HTTP),
        ("two numbers", length(" 5 0"), BAD_HTTP),
        ("no number", length(""), BAD_HTTP),
        ("a length that overflows", length(" 18446744073709551621"), BAD_HTTP),
        ("a length with zeros in front", length(" 00005"), HELLO),
        ("a length with spaces about it", length(" \t 5 \t"), HELLO),
        ("a length behind a hundred spaces", length(&format!("{}5", " ".repeat(100))), BAD_REQUEST),
        ("a length of GET", [head("GET /dm HTTP/1.1", &format!("Host: dm.example\r\n{five}")), b"hello".into()].concat(), HELLO),
        (
            "a request in a body",
            post(&format!("Content-Length: {}\r\n", hidden.len()), &hidden),
            Passed("/dm", hidden.clone().leak()),
        ),
        ("a coding that is none", coding("Transfer-Encoding: xchunked"), BAD_HTTP),
        ("chunked and not", coding("Transfer-Encoding: chunked, identity"), BAD_HTTP),
        ("not chunked", coding("Transfer-Encoding: identity"), BAD_HTTP),
        ("not chunked, with a length", post(&format!("Transfer-Encoding: identity\r\n{five}"), "hello"), BAD_HTTP),
        ("packed and chunked", coding("Transfer-Encoding: gzip, chunked"), BAD_REQUEST),
        ("chunked twice", coding("Transfer-Encoding: chunked, chunked"), BAD_REQUEST),
        ("chunked twice, in two lines", coding("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), BAD_REQUEST),
        ("chunked and then not", coding("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"), BAD_HTTP),
        ("chunked in capitals", coding("transfer-ENCODING: CHUNKED"), HELLO),
        ("chunked in quotes", coding("Transfer-Encoding: \"chunked\""), BAD_HTTP),
        ("chunked with a parameter", coding("Transfer-Encoding: chunked;q=1"), BAD_HTTP),
        ("chunked behind a tab", coding("Transfer-Encoding:\tchunked"), HELLO),
        ("chunked behind a vertical tab", coding("Transfer-Encoding: \x0bchunked"), BAD_HTTP),
        ("chunked in a folded line", coding("Transfer-Encoding:\r\n chunked"), BAD_HTTP),
        ("chunked behind a folded line", coding("X: y\r\n Transfer-Encoding: chunked"), BAD_HTTP),
        ("a space in front of the colon", coding("Transfer-Encoding : chunked"), BAD_HTTP),
        ("a space in front of the colon of a length", post("Content-Length : 5\r\n", "hello"), BAD_HTTP),
        ("a name with a space", post("Content Length: 5\r\n", "hello"), BAD_HTTP),
        ("a name with an underscore", post(&format!("Transfer_Encoding: chunked\r\n{five}"), "hello"), BAD_REQUEST),
        ("Connection that names the length", post(&format!("Connection: Content-Length\r\n{five}"), "hello"), HELLO),
    ])
    .await;
}

#[tokio::test]
async fn lines_and_bytes_that_are_no_http() {
    let five = "Content-Length: 5\r\n";
    let line = |line: &str| post(&format!("{line}\r\n{five}"), "hello");
    hold(vec![
        ("lines that end with LF", replaced(&post(five, "hello"), "\r\n", b"\n"), HELLO),
        ("a head that ends with LF", replaced(&post(five, "hello"), "5\r\n\r\n", b"5\n\n"), HELLO),
        ("a CR in a value", line("X: a\rContent-Length: 0"), BAD_HTTP),
        ("lines that end with CR", replaced(&post(five, "hello"), "\r\n", b"\r"), BAD_HTTP),
        ("a NUL in a value", line("X: a\0b"), BAD_HTTP),
        ("a NUL in a name", line("X\0: a"), BAD_HTTP),
        ("bytes that are no ASCII", replaced(&line("X: a~b"), "~", b"\xe9"), HELLO),
        ("a line without a colon", line("X"), BAD_HTTP),
        ("a line without a name", line(": x"), BAD_HTTP),
        (
            "a first line that is folded",
            b"POST /dm HTTP/1.1\r\n Host: dm.example\r\nContent-Length: 5\r\n\r\nhello".into(),
            BAD_HTTP,
        ),
        ("empty lines in front", [b"\r\n\r\n".into(), post(five, "hello")].concat(), HELLO),
        ("100-continue", line("Expect: 100-continue"), HELLO),
        ("two expectations", line("Expect: 100-continue\r\nExpect: x"), BAD_REQUEST),
        (
            "an upgrade to HTTP/2",
            line("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__"),
            HELLO,
        ),
    ])
    .await;
}

#[tokio::test]
async fn chunks_that_can_be_read_in_two_ways() {
    hold(vec![
        ("a chunk", chunks("5\r\nhello\r\n0\r\n\r\n"), HELLO),
        ("a hundred zeros", chunks(&format!("{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(100))), HELLO),
        ("a size that overflows", chunks("10000000000000005\r\nhello\r\n0\r\n\r\n"), BreaksOff),
        ("a negative size", chunks("-5\r\nhello\r\n0\r\n\r\n"), BreaksOff),
        ("a size with a sign", chunks("+5\r\nhello\r\n0\r\n\r\n"), BreaksOff),
        ("a size with 0x", chunks("0x5\r\nhello\r\n0\r\n\r\n"), BreaksOff),
        ("no size", chunks("\r\nhello\r\n0\r\n\r\n"), BreaksOff),
        ("a space behind the size", chunks("5 \r\nhello\r\n0\r\n\r\n"), HELLO),
        ("a space in front of the size", chunks(" 5\r\nhello\r\n0\r\n\r\n"), BreaksOff),
        ("extensions", chunks("5;a=b;c=\"d\"\r\nhello\r\n0;x\r\n\r\n"), HELLO),
        ("an extension that ends with LF", chunks("5;a\nhello\r\n0\r\n\r\n"), BreaksOff),
        ("chunks that end with LF", chunks("5\nhello\n0\n\n"), BreaksOff),
        ("no CRLF behind a chunk", chunks("5\r\nhello0\r\n\r\n"), BreaksOff),
        ("a chunk that is longer than it says", chunks("3\r\nhello\r\n0\r\n\r\n"), BreaksOff),
        (
            "trailers that would be headers",
            chunks("5\r\nhello\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\nHost: evil\r\nX: y\r\n\r\n"),
            HELLO,
        ),
    ])
    .await;
}

#[tokio::test]
async fn request_lines_and_hosts_that_can_be_read_in_two_ways() {
    let host = "Host: dm.example\r\n";
    let get = |line: &str| head(line, host);
    let hosts = |fields: &str| head("GET / HTTP/1.1", fields);
    let old = |fields: &str, rest: &str| [head("POST /dm HTTP/1.0", &format!("{host}{fields}")), rest.into()].concat();
    hold(vec![
        ("a target that contradicts Host", get("GET http://other.example/ HTTP/1.1"), BAD_REQUEST),
        ("a target that agrees with Host", get("GET http://dm.example/abs HTTP/1.1"), Passed("/abs", "")),
        ("a target with a user", get("GET http://dm.example@evil/ HTTP/1.1"), BAD_REQUEST),
        ("two hosts", hosts(&format!("{host}{host}")), BAD_REQUEST),
        ("two hosts, one of them folded", hosts(&format!("{host}X: y\r\n {host}")), BAD_HTTP),
        ("no host", hosts(""), BAD_REQUEST),
        ("an empty host", hosts("Host:\r\n"), BAD_REQUEST),
        ("a list of hosts", hosts("Host: dm.example, evil\r\n"), BAD_REQUEST),
        ("a host with a path", hosts("Host: dm.example/x\r\n"), BAD_REQUEST),
        ("a host with a user", hosts("Host: evil@dm.example\r\n"), BAD_REQUEST),
        ("HTTP/1.0 with a coding", old("Transfer-Encoding: chunked\r\n", "0\r\n\r\n"), BAD_HTTP),
        ("HTTP/1.0 that is kept", old("Connection: keep-alive\r\nContent-Length: 5\r\n", "hello"), HELLO),
        ("HTTP/0.9", b"GET /\r\n".into(), BAD_HTTP),
        ("HTTP/1.2", get("GET / HTTP/1.2"), BAD_HTTP),
        ("HTTP/2.0", get("GET / HTTP/2.0"), BAD_HTTP),
        ("http/1.1", get("GET / http/1.1"), BAD_HTTP),
        ("two spaces", get("GET  / HTTP/1.1"), BAD_HTTP),
        ("tabs", get("GET\t/\tHTTP/1.1"), BAD_HTTP),
        ("a target with a space", get("GET /a b HTTP/1.1"), BAD_HTTP),
        ("a target with a vertical tab", get("GET /a\x0bb HTTP/1.1"), BAD_HTTP),
        ("a target with a fragment", get("GET /a#b HTTP/1.1"), Passed("/a", "")),
        ("a method that is none", get("GE(T / HTTP/1.1"), BAD_HTTP),
        ("CONNECT", get("CONNECT dm.example:443 HTTP/1.1"), Refused(405, "bad-request")),
        ("TRACE", get("TRACE / HTTP/1.1"), Refused(405, "bad-request")),
    ])
    .await;
}

#[tokio::test]
async fn an_old_client_gets_one_answer_and_the_end() {
    let upstream = Counting::start().await;
    let rig = Rig::start("", &[&site(upstream.address, "[\"DM/1.2\"]", "")]).await;
    let raw = format!("POST /dm HTTP/1.0\r\nHost: dm.example\r\nContent-Length: 5\r\n\r\nhello{SECOND}");
    assert_eq!(statuses(rig.address(), raw.as_bytes()).await, [200]);
    assert_eq!((upstream.seen().0.len(), rig.lines(1).await.len()), (1, 1));
}
