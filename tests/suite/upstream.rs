//! Servers at several addresses, and servers that fail: what devices get, what the log says, and what is
//! known of the address afterwards.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use protover::upstream::Status;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket},
};

use crate::rig::{Answer, Does, PATIENCE, Rig, Upstream, message, nobody, numbered, ok, post};

const XML: &str = "application/vnd.syncml.dm+xml";

/// A site with one server at these addresses.
pub(crate) fn at(addresses: &[SocketAddr], more: &str) -> String {
    let urls: Vec<String> = addresses.iter().map(|address| format!("\"http://{address}\"")).collect();
    format!(
        "[site]\nname = \"s\"\nhosts = [\"dm.example\"]\n[[server]]\nname = \"upstream\"\nurls = [{}]\nspeaks = [\"DM/1.2\"]\n{more}\n",
        urls.join(", ")
    )
}

pub(crate) fn status(rig: &Rig) -> Vec<Status> {
    rig.proxy.watched().live().sites()[0].upstreams[0].status()
}

pub(crate) async fn until(rig: &Rig, what: &str, holds: impl Fn(&[Status]) -> bool) {
    let began = Instant::now();
    while !holds(&status(rig)) {
        assert!(began.elapsed() < PATIENCE, "{what}: {:?}", status(rig));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn in_session(session: &str, number: u32) -> Vec<u8> {
    let alert = "<Alert><CmdID>1</CmdID><Data>1201</Data></Alert>";
    let commands = if number == 1 {
        alert
    } else {
        "<Status><CmdID>1</CmdID><MsgRef>1</MsgRef><CmdRef>0</CmdRef><Cmd>SyncHdr</Cmd><Data>200</Data></Status>"
    };
    let message = numbered("1.2", "DM/1.2", number, commands);
    post("", message.replace("<SessionID>0A<", &format!("<SessionID>{session}<")).as_bytes())
}

pub(crate) async fn passes(rig: &Rig) -> Answer {
    rig.send(post("", message("1.2", "DM/1.2").as_bytes())).await
}

#[tokio::test]
async fn sessions_take_turns_among_addresses_and_stay_where_they_began() {
    let servers = [Upstream::echoing().await, Upstream::echoing().await];
    let rig = Rig::start("", &[&at(&[servers[0].address, servers[1].address], "")]).await;
    for session in 0..6 {
        assert_eq!(rig.send(in_session(&session.to_string(), 1)).await.status, 200);
    }
    for number in 2..4 {
        for session in (0..6).rev() {
            assert_eq!(rig.send(in_session(&session.to_string(), number)).await.status, 200);
        }
    }
    for server in &servers {
        let mut sessions: Vec<String> = server
            .seen()
            .iter()
            .map(|seen| {
                let text = String::from_utf8_lossy(&seen.body).into_owned();
                text.split("<SessionID>").nth(1).unwrap().split('<').next().unwrap().to_owned()
            })
            .collect();
        sessions.sort();
        assert_eq!(sessions.len(), 9);
        assert!(sessions.chunks(3).all(|of| of[0] == of[1] && of[1] == of[2]), "{sessions:?}");
    }
    let all = status(&rig);
    assert!(all.iter().all(|address| (address.requests, address.pending, address.ejections) == (9, 0, 0)), "{all:?}");
}

#[tokio::test]
async fn the_address_with_fewer_requests_under_way_is_chosen() {
    let slow = Upstream::start(|seen| Does::AnswerAfter(Duration::from_secs(1), ok(XML, &seen.body))).await;
    let quick = Upstream::echoing().await;
    let rig = Rig::start("", &[&at(&[slow.address, quick.address], "")]).await;
    let waiting = async { rig.send(in_session("slow", 1)).await.status };
    let others = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        for session in 0..6 {
            assert_eq!(rig.send(in_session(&session.to_string(), 1)).await.status, 200);
        }
    };
    // Whichever came first, only one of them can be at the slow address at a time.
    let (first, ()) = tokio::join!(waiting, others);
    assert_eq!(first, 200);
    assert!(slow.seen().len() <= 2 && quick.seen().len() >= 5, "{} {}", slow.seen().len(), quick.seen().len());
}

#[tokio::test]
async fn a_message_goes_to_another_address_when_nothing_was_sent_and_a_dead_one_is_left_out_till_it_is_back() {
    let dead = nobody().await;
    let good = Upstream::echoing().await;
    let rig = Rig::start("", &[&at(&[dead, good.address], "eject_after = 2")]).await;
    for session in 0..8 {
        assert_eq!(rig.send(in_session(&session.to_string(), 1)).await.status, 200);
    }
    let lines = rig.lines(8).await;
    let twice = lines.iter().filter(|line| line["attempts"] == 2).count();
    assert_eq!(twice, 2, "then it was left out");
    assert!(lines.iter().all(|line| line["verdict"] == "pass"));
    assert_eq!(good.seen().len(), 8, "each once");
    let out = &status(&rig)[0];
    assert_eq!((out.ejected, out.consecutive_failures, out.unreachable, out.ejections), (true, 2, 2, 1));

    let back = Upstream::at(TcpListener::bind(dead).await.unwrap(), |seen| Does::Answer(ok(XML, &seen.body)));
    until(&rig, "tried again", |all| !all[0].ejected).await;
    for session in 10..14 {
        assert_eq!(rig.send(in_session(&session.to_string(), 1)).await.status, 200);
    }
    assert_eq!(back.seen().len(), 2);
    let returned = &status(&rig)[0];
    assert_eq!((returned.ejected, returned.consecutive_failures, returned.ejections), (false, 0, 1));
}

#[tokio::test]
async fn when_all_addresses_are_left_out_all_are_tried() {
    let (one, other) = (nobody().await, nobody().await);
    let rig = Rig::start("", &[&at(&[one, other], "eject_after = 1")]).await;
    for _ in 0..3 {
        assert_eq!(passes(&rig).await.status, 502);
    }
    for line in rig.lines(3).await {
        assert_eq!((line["reason"].as_str(), line["attempts"].as_u64()), (Some("upstream-unreachable"), Some(2)));
    }
    assert!(status(&rig).iter().all(|address| address.ejected && address.unreachable == 3 && address.ejections == 1));
}

/// What goes wrong, and what is known of the address then: unreachable, broke, too slow.
type Fault = (&'static str, u16, &'static str, Does, (u64, u64, u64));

#[tokio::test]
async fn a_server_that_fails_is_answered_for_and_ejected_and_harms_nobody_else() {
    let head = |length: usize, body: &str| {
        format!("HTTP/1.1 200 OK\r\nContent-Type: {XML}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
    };
    let large = ok(XML, &vec![b' '; 10 << 20]);
    let faults: [Fault; 7] = [
        ("dies", 502, "upstream-broke", Does::Reset, (0, 2, 0)),
        ("closes", 502, "upstream-broke", Does::AnswerAndClose(Vec::new()), (0, 2, 0)),
        ("is silent", 504, "upstream-too-slow", Does::AnswerAndStall(Vec::new()), (0, 0, 2)),
        ("is silent after the head", 504, "upstream-too-slow", Does::AnswerAndStall(head(100, "")), (0, 0, 2)),
        ("stops in the middle", 502, "upstream-broke", Does::AnswerAndClose(head(100, "<SyncML")), (0, 2, 0)),
        ("sends garbage", 502, "upstream-broke", Does::Answer(b"\x16\x03\x01 what?\r\n\r\n".to_vec()), (0, 2, 0)),
        ("sends too much", 502, "upstream-too-large", Does::AnswerAndClose(large), (0, 0, 0)),
    ];
    for (name, code, reason, does, counts) in faults {
        let bad = Upstream::start(move |_| does.clone()).await;
        let good = Upstream::echoing().await;
        let other = at(&[good.address], "").replace("dm.example", "other.example").replace("\"s\"", "\"t\"");
        let limits = "[limits]\nupstream_timeout = \"500ms\"\nbody = \"1MiB\"";
        let rig = Rig::start(limits, &[&at(&[bad.address], "eject_after = 2"), &other]).await;
        let elsewhere = String::from_utf8(post("", message("1.2", "DM/1.2").as_bytes())).unwrap();
        let elsewhere = elsewhere.replace("Host: dm.example", "Host: other.example");
        let (first, second, unharmed) = tokio::join!(passes(&rig), passes(&rig), rig.send(&elsewhere));
        assert_eq!((first.status, second.status, unharmed.status), (code, code, 200), "{name}");
        let lines = rig.lines(3).await;
        assert_eq!(lines.iter().filter(|line| line["reason"] == reason && line["attempts"] == 1).count(), 2, "{name}");
        assert_eq!(bad.seen().len(), 2, "{name}: never sent twice");
        let ejected = counts != (0, 0, 0);
        until(&rig, name, |all| all[0].ejected == ejected && all[0].pending == 0).await;
        let now = &status(&rig)[0];
        assert_eq!((now.unreachable, now.broke, now.too_slow), counts, "{name}");
    }
}

#[tokio::test]
async fn an_answer_longer_than_it_says_ends_where_it_says_and_does_not_become_the_next_one() {
    let count = AtomicUsize::new(0);
    let upstream = Upstream::start(move |_| {
        let mut answer = ok("text/plain", format!("answer {}", count.fetch_add(1, Ordering::Relaxed)).as_bytes());
        answer.extend_from_slice(&ok("text/plain", b"smuggled"));
        Does::Answer(answer)
    })
    .await;
    let rig = Rig::start("", &[&at(&[upstream.address], "")]).await;
    for number in 0..3 {
        assert_eq!(passes(&rig).await.text(), format!("answer {number}"));
    }
    assert_eq!(rig.lines(3).await.len(), 3);
}

#[tokio::test]
async fn a_server_that_hangs_at_connect_is_given_up_and_another_address_is_asked() {
    // A listener that accepts nothing, with its backlog full.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = socket.listen(1).unwrap();
    let address = full.local_addr().unwrap();
    let mut held = Vec::new();
    while let Ok(connected) = tokio::time::timeout(Duration::from_millis(200), tokio::net::TcpStream::connect(address)).await {
        held.push(connected.unwrap());
        assert!(held.len() < 64, "the backlog never fills");
    }
    let good = Upstream::echoing().await;
    let keys = "connect_timeout = \"150ms\"\neject_after = 1";
    let rig = Rig::start("", &[&at(&[address, good.address], keys)]).await;
    for session in 0..3 {
        assert_eq!(rig.send(in_session(&session.to_string(), 1)).await.status, 200);
    }
    assert_eq!(rig.lines(3).await.iter().filter(|line| line["attempts"] == 2).count(), 1);
    assert_eq!((status(&rig)[0].unreachable, status(&rig)[0].ejections), (1, 1));

    let alone = Rig::start("", &[&at(&[address], keys)]).await;
    assert_eq!(passes(&alone).await.status, 502);
    assert_eq!(alone.line().await["reason"], "upstream-unreachable");
    drop(held);
}

#[tokio::test]
async fn what_was_written_is_never_sent_again_and_a_closed_connection_is_replaced_before() {
    // Raw bytes, so that nothing is seen twice unseen: `closes` after each answer, or dies on the second request.
    for dies in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&seen);
        let server = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut raw = Vec::new();
                let mut answered = 0;
                while stream.read_buf(&mut raw).await.is_ok_and(|read| read > 0) {
                    if !raw.ends_with(b"</SyncML>") {
                        continue;
                    }
                    raw.clear();
                    counted.fetch_add(1, Ordering::SeqCst);
                    if answered > 0 {
                        stream.set_zero_linger().unwrap();
                        break;
                    }
                    stream.write_all(&ok("text/plain", b"fine")).await.unwrap();
                    answered += 1;
                    if !dies {
                        break;
                    }
                }
            }
        });
        let rig = Rig::start("", &[&at(&[address], "")]).await;
        let expected = if dies { [200, 502] } else { [200, 200] };
        for code in expected {
            assert_eq!(passes(&rig).await.status, code);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(seen.load(Ordering::SeqCst), 2, "each once");
        assert!(rig.lines(2).await.iter().all(|line| line["attempts"] == 1));
        server.abort();
    }
}

#[tokio::test]
async fn above_the_ceiling_requests_wait_for_a_second_and_are_refused() {
    let upstream = Upstream::start(|seen| Does::AnswerAfter(Duration::from_millis(1500), ok(XML, &seen.body))).await;
    let rig = Rig::start("", &[&at(&[upstream.address], "max_pending = 1")]).await;
    let (one, other) = tokio::join!(passes(&rig), passes(&rig));
    let (served, refused) = if one.status == 200 { (one, other) } else { (other, one) };
    assert_eq!((served.status, refused.status), (200, 503));
    assert!(refused.header("retry-after").is_some());
    let lines = rig.lines(2).await;
    assert_eq!(lines.iter().filter(|line| line["reason"] == "upstream-busy" && line["verdict"] == "fail").count(), 1);
    assert_eq!(upstream.seen().len(), 1);
    let now = &status(&rig)[0];
    assert_eq!((now.busy, now.pending, now.consecutive_failures), (1, 0, 0));
}

#[tokio::test]
async fn an_address_whose_check_fails_is_left_out_till_it_succeeds() {
    let well = Arc::new(AtomicBool::new(false));
    let says = Arc::clone(&well);
    let ill = Upstream::start(move |seen| match seen.head.starts_with("GET /health ") {
        true if !says.load(Ordering::SeqCst) => Does::Answer(b"HTTP/1.1 503 Ill\r\nContent-Length: 0\r\n\r\n".to_vec()),
        _ => Does::Answer(ok(XML, &seen.body)),
    })
    .await;
    let good = Upstream::echoing().await;
    let keys = "health = { path = \"/health\", interval = \"100ms\" }";
    let rig = Rig::start("", &[&at(&[ill.address, good.address], keys)]).await;
    let messages = |server: &Upstream| server.seen().iter().filter(|seen| seen.head.starts_with("POST")).count();
    until(&rig, "ill", |all| all[0].healthy == Some(false) && all[1].healthy == Some(true)).await;
    for session in 0..4 {
        assert_eq!(rig.send(in_session(&session.to_string(), 1)).await.status, 200);
    }
    assert_eq!((messages(&ill), messages(&good)), (0, 4));
    well.store(true, Ordering::SeqCst);
    until(&rig, "well", |all| all[0].healthy == Some(true)).await;
    for session in 10..14 {
        assert_eq!(rig.send(in_session(&session.to_string(), 1)).await.status, 200);
    }
    assert_eq!((messages(&ill), messages(&good)), (2, 6));
}
