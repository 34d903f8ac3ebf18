//! Connections to servers over their life: kept, unused, broken in the middle; and a server's addresses, each of
//! which has a host and a RespURI of its own.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::{
    rig::{Does, Rig, Upstream, answer, nobody, ok},
    upstream::{at, in_session, passes, until},
};

const XML: &str = "application/vnd.syncml.dm+xml";

/// A server that counts its connections, and keeps each until the other side ends it.
async fn counting_connections() -> (SocketAddr, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (opened, closed) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let counts = (Arc::clone(&opened), Arc::clone(&closed));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counts.0.fetch_add(1, Ordering::SeqCst);
            let closed = Arc::clone(&counts.1);
            tokio::spawn(async move {
                let mut raw = Vec::new();
                while stream.read_buf(&mut raw).await.is_ok_and(|read| read > 0) {
                    if raw.ends_with(b"</SyncML>") {
                        stream.write_all(&ok("text/plain", b"fine")).await.unwrap();
                        raw.clear();
                    }
                }
                closed.fetch_add(1, Ordering::SeqCst);
            });
        }
    });
    (address, opened, closed)
}

#[tokio::test]
async fn a_connection_that_is_not_used_ends_after_the_idle_timeout_and_one_in_use_is_kept() {
    let (address, opened, closed) = counting_connections().await;
    let rig = Rig::start("", &[&at(&[address], "idle_timeout = \"700ms\"")]).await;
    let counts = || (opened.load(Ordering::SeqCst), closed.load(Ordering::SeqCst));
    for _ in 0..4 {
        assert_eq!(passes(&rig).await.status, 200);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(counts(), (1, 0), "used again and again");
    let began = Instant::now();
    while counts() != (1, 1) {
        assert!(began.elapsed() < Duration::from_secs(5), "kept though nobody uses it: {:?}", counts());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((passes(&rig).await.status, counts()), (200, (2, 1)));
}

#[tokio::test]
async fn the_next_address_is_told_its_own_host_where_that_is_rewritten() {
    let dead = nobody().await;
    let good = Upstream::echoing().await;
    for (key, host) in [("host = \"rewrite\"", good.address.to_string()), ("host = \"keep\"", "dm.example".to_owned())] {
        let rig = Rig::start("", &[&at(&[dead, good.address], &format!("{key}\neject_after = 100"))]).await;
        let before = good.seen().len();
        for session in 0..4 {
            assert_eq!(rig.send(in_session(&session.to_string(), 1)).await.status, 200);
        }
        assert!(rig.lines(4).await.iter().any(|line| line["attempts"] == 2), "one of them failed over");
        let seen = good.seen();
        assert!(seen[before..].iter().all(|seen| seen.header("host") == Some(&host)), "{key}: {seen:?}");
    }
}

#[tokio::test]
async fn a_server_that_resets_in_the_middle_of_a_body_is_not_asked_again() {
    // In a message, which is read, and in what streams through.
    for (kind, code) in [(XML, 502), ("text/plain", 200)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let _ = stream.read(&mut [0; 4096]).await;
                let half = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: 100\r\n\r\n<SyncML");
                stream.write_all(half.as_bytes()).await.unwrap();
                tokio::time::sleep(Duration::from_millis(100)).await;
                stream.set_zero_linger().unwrap();
            }
        });
        let good = Upstream::echoing().await;
        let rig = Rig::start("", &[&at(&[address], "eject_after = 1")]).await;
        let got = passes(&rig).await;
        assert_eq!(got.status, code, "{kind}");
        assert!(got.body.len() < 100, "and cut there: {}", got.text());
        let line = rig.line().await;
        assert_eq!((line["verdict"].as_str(), line["reason"].as_str()), (Some("fail"), Some("upstream-broke")), "{kind}");
        assert_eq!((line["attempts"].as_u64(), asked.load(Ordering::SeqCst), good.seen().len()), (Some(1), 1, 0), "{kind}");
        until(&rig, kind, |all| all[0].broke == 1 && all[0].pending == 0 && all[0].ejected).await;
    }
}

#[tokio::test]
async fn a_resp_uri_of_one_address_leads_back_to_the_server_at_whichever_address_the_session_is() {
    let leading_to = |own: &str| {
        let message =
            answer("1.2", "DM/1.2", "<Get><CmdID>2</CmdID><Item><Target><LocURI>./DevInfo</LocURI></Target></Item></Get>");
        message.replace("</Source>", &format!("</Source><RespURI>http://{own}/session/7?x=1</RespURI>"))
    };
    let (one, other) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let addresses = [one.local_addr().unwrap(), other.local_addr().unwrap()];
    let servers = [one, other].map(|listener| {
        let own = listener.local_addr().unwrap().to_string();
        Upstream::at(listener, move |_| Does::Answer(ok(XML, leading_to(&own).as_bytes())))
    });
    let rig = Rig::start("", &[&at(&addresses, "").replace("[[server]]", "path = \"/dm\"\n[[server]]")]).await;
    for session in 0..4 {
        let session = session.to_string();
        let first = rig.send(in_session(&session, 1)).await.text();
        let uri = first.split("<RespURI>").nth(1).and_then(|rest| rest.split('<').next()).expect("a RespURI").to_owned();
        assert!(uri.starts_with("http://dm.example/"), "stays inside protover: {uri}");
        let path = uri.trim_start_matches("http://dm.example").to_owned();
        let next = String::from_utf8(in_session(&session, 2)).unwrap().replace("/dm?x=%20y", &path);
        assert_eq!(rig.send(next).await.status, 200);
    }
    for server in &servers {
        let heads: Vec<String> = server.seen().iter().map(|seen| seen.head.lines().next().unwrap().to_owned()).collect();
        assert_eq!(heads.iter().filter(|head| *head == "POST /session/7?x=1 HTTP/1.1").count(), 2, "{heads:?}");
        assert_eq!(heads.len(), 4, "both messages of a session are at one address");
    }
}
