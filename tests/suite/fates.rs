//! One line for every request, whatever becomes of it.

use std::{collections::BTreeMap, time::Duration};

use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet};

use crate::rig::{Does, Rig, Upstream, answer, message, nobody, numbered, ok, post};

const XML: &str = "application/vnd.syncml.dm+xml";
const EACH: usize = 12;

/// A request for a host, and how its client behaves.
#[derive(Clone)]
struct Fate {
    verdict: &'static str,
    reason: &'static str,
    raw: Vec<u8>,
    client: Client,
}

#[derive(Clone, Copy)]
enum Client {
    Waits,
    /// Sends all but so many bytes, and goes away.
    CutsOff(usize),
    /// Sends all but so many bytes, and waits.
    Stalls(usize),
    /// Sends all and resets the connection after so many milliseconds: one that merely closes may be
    /// half-closing, and still wants its answer.
    Leaves(u64),
}

fn to(host: &str, raw: &[u8]) -> Vec<u8> {
    let head = "Host: dm.example";
    let at = raw.windows(head.len()).position(|window| window == head.as_bytes()).unwrap();
    [&raw[..at], format!("Host: {host}").as_bytes(), &raw[at + head.len()..]].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_of_every_fate_at_once_has_exactly_one_line() {
    let sane = Upstream::start(|seen| {
        let old = String::from_utf8_lossy(&seen.body).contains("DM/1.1");
        Does::Answer(ok(XML, if old { answer("1.1", "DM/1.1", "") } else { answer("1.2", "DM/1.2", "") }.as_bytes()))
    })
    .await;
    let resetting = Upstream::start(|_| Does::Reset).await;
    let silent = Upstream::start(|_| Does::AnswerAndStall(Vec::new())).await;
    let half = Upstream::start(|_| {
        let whole = ok(XML, answer("1.1", "DM/1.1", "").as_bytes());
        Does::AnswerAndClose(whole[..whole.len() - 30].to_vec())
    })
    .await;
    let servers = [
        ("both", sane.address.to_string(), "[\"DM/1.1\", \"DM/1.2\"]"),
        ("old", sane.address.to_string(), "[\"DM/1.1\"]"),
        ("resetting", resetting.address.to_string(), "[\"DM/1.1\"]"),
        ("silent", silent.address.to_string(), "[\"DM/1.1\"]"),
        ("half", half.address.to_string(), "[\"DM/1.1\"]"),
        ("down", nobody().await.to_string(), "[\"DM/1.1\"]"),
    ];
    let sites: Vec<String> = servers
        .iter()
        .map(|(name, server, speaks)| {
            format!(
                "[site]\nname = \"{name}\"\nhosts = [\"{name}\"]\n[unsupported]\nthen = \"bridge\"\n[[server]]\nname = \"{name}\"\n\
                 url = \"http://{server}\"\nspeaks = {speaks}\n"
            )
        })
        .collect();
    let sites: Vec<&str> = sites.iter().map(String::as_str).collect();
    let limits = "[limits]\nbody = \"16KiB\"\nbody_timeout = \"900ms\"\nheader_timeout = \"900ms\"\nupstream_timeout = \"700ms\"";
    let rig = Rig::start(limits, &sites).await;

    let (old, new) = (message("1.1", "DM/1.1"), message("1.2", "DM/1.2"));
    let fate = |verdict, reason, host: &str, body: &str, client| Fate {
        verdict,
        reason,
        raw: to(host, &post("", body.as_bytes())),
        client,
    };
    let alert = numbered("1.2", "DM/1.2", 1, "<Alert><CmdID>1</CmdID><Data>1226</Data></Alert>");
    let waits = Client::Waits;
    let fates = [
        fate("pass", "recommended", "both", &new, waits),
        fate("advise", "supported-not-recommended", "both", &old, waits),
        fate("bridge", "bridged", "old", &new, waits),
        fate("refuse", "unrecognised-version", "old", &message("1.2", "DM/9.9"), waits),
        fate("refuse", "cannot-bridge", "old", &alert, waits),
        fate("refuse", "malformed", "old", "<SyncML", waits),
        fate("refuse", "body-too-large", "old", &" ".repeat(20_000), waits),
        fate("refuse", "no-site", "elsewhere", &new, waits),
        fate("fail", "upstream-unreachable", "down", &old, waits),
        fate("fail", "upstream-broke", "resetting", &old, waits),
        fate("fail", "upstream-too-slow", "silent", &old, waits),
        fate("fail", "upstream-broke", "half", &new, waits),
        fate("fail", "upstream-broke", "half", &old, waits),
        fate("fail", "client-too-slow", "old", &old, Client::Stalls(20)),
        fate("abandon", "client-gone", "old", &old, Client::CutsOff(20)),
        fate("abandon", "client-gone", "silent", &old, Client::Leaves(100)),
        fate("abandon", "client-gone", "both", &old, Client::CutsOff(old.len() + 10)),
        Fate {
            verdict: "refuse",
            reason: "bad-request",
            raw: b"POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_vec(),
            client: waits,
        },
        Fate { verdict: "fail", reason: "bad-http", raw: b"nonsense\r\n\r\n".to_vec(), client: waits },
        Fate {
            verdict: "fail",
            reason: "connection-too-slow",
            raw: b"POST / HTTP/1.1\r\nHost".to_vec(),
            client: Client::Stalls(0),
        },
    ];

    let address = rig.address();
    let mut clients = JoinSet::new();
    for _ in 0..EACH {
        for fate in fates.clone() {
            clients.spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                let sent = match fate.client {
                    Client::Waits | Client::Leaves(_) => fate.raw.len(),
                    Client::CutsOff(less) | Client::Stalls(less) => fate.raw.len() - less,
                };
                let _ = stream.write_all(&fate.raw[..sent]).await;
                match fate.client {
                    Client::Waits | Client::Stalls(_) => {
                        crate::rig::Answer::read(&mut stream).await;
                    }
                    Client::CutsOff(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                    Client::Leaves(after) => {
                        tokio::time::sleep(Duration::from_millis(after)).await;
                        stream.set_zero_linger().unwrap();
                    }
                }
            });
        }
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    let lines = rig.lines(fates.len() * EACH).await;
    let mut expected = BTreeMap::new();
    let mut found = BTreeMap::new();
    for fate in &fates {
        *expected.entry(format!("{} {}", fate.verdict, fate.reason)).or_insert(0) += EACH;
    }
    for line in &lines {
        *found.entry(format!("{} {}", line["verdict"].as_str().unwrap(), line["reason"].as_str().unwrap())).or_insert(0) += 1;
    }
    assert_eq!(found, expected);
    let ids: std::collections::BTreeSet<&str> = lines.iter().map(|line| line["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), lines.len(), "every line has an id of its own");
}

#[tokio::test]
async fn what_is_on_its_way_upstream_finishes_though_the_device_has_gone() {
    let upstream = Upstream::start(|seen| Does::AnswerAfter(Duration::from_millis(200), ok(XML, &seen.body))).await;
    let rig = Rig::start("", &[&crate::rig::site(upstream.address, "[\"DM/1.1\"]", "")]).await;
    let mut stream = TcpStream::connect(rig.address()).await.unwrap();
    stream.write_all(&post("", message("1.1", "DM/1.1").as_bytes())).await.unwrap();
    tokio::time::sleep(Duration::from_millis(60)).await;
    // With a reset: one that merely closes may be half-closing, and still wants its answer.
    stream.set_zero_linger().unwrap();
    drop(stream);
    let line = rig.line().await;
    assert_eq!((line["verdict"].as_str(), line["server"].as_str()), (Some("abandon"), Some("upstream")));
    assert!(line["upstream_us"].as_u64().unwrap() >= 150_000, "the exchange was brought to its end: {line}");
}
