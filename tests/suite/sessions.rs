//! One session, one decision: over two instances with one real Redis, over a reload, and among thousands
//! of sessions with the same names.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
    sync::Arc,
};

use protover::{
    reference::{Device, Outcome, Refusal, Server, Settings, Strictness},
    syncml::{header::Encoding, version::Version},
};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::Semaphore};

use crate::{
    life::{Served, write},
    redis::RedisServer,
    rig::{Answer, Does, Rig, Upstream, numbered, ok, oracle, policies, post},
};

const XML: &str = "application/vnd.syncml.dm+xml";

/// A site with a server that is found out, and one with a list.
fn sites(server: SocketAddr) -> [String; 2] {
    let found_out = format!(
        "[site]\nname = \"found\"\nhosts = [\"found.example\"]\n[[server]]\nname = \"old\"\nurl = \"http://{server}\"\nspeaks = \"discover\"\n"
    );
    let listed = format!(
        "[site]\nname = \"listed\"\nhosts = [\"listed.example\"]\n[unsupported]\nthen = \"bridge\"\n\
         [[server]]\nname = \"old\"\nurl = \"http://{server}\"\nspeaks = [\"DM/1.1\"]\n"
    );
    [found_out, listed]
}

async fn old_server() -> Server {
    let settings = Settings { versions: vec![Version::DM_1_1], refusal: Refusal::Status, ..Settings::default() };
    Server::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), settings).await.unwrap()
}

async fn run(host: &str, ways: &[SocketAddr], encoding: Encoding, session: &str) -> Outcome {
    let mut device = Device::new("IMEI:493005100592800", Version::DM_1_2);
    device.encoding = encoding;
    device.strictness = Strictness::Motorola;
    device.session = session.to_owned();
    device.other_ways = ways[1..].to_vec();
    device.run(&format!("http://{host}/dm").parse().unwrap(), Some(ways[0])).await
}

fn lines(log: &Path) -> Vec<Value> {
    let text = fs::read_to_string(log).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// An instance of its own, in a folder of its own.
fn instance(home: &Path, name: &str, redis: u16, server: SocketAddr) -> Served {
    let folder = home.join(name).join("policies");
    let [found_out, listed] = sites(server);
    write(&folder, &format!("[store]\nkind = \"redis\"\nurl = \"redis://127.0.0.1:{redis}\"\n"), &found_out);
    fs::write(folder.join("listed.toml"), listed).unwrap();
    Served::start(&folder, &[])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_share_sessions_over_a_real_redis_and_do_without_it_where_they_can() {
    if !oracle("redis-server") {
        return;
    }
    let mut redis = RedisServer::start(&[]).await;
    let old = old_server().await;
    let home = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| instance(home.path(), name, redis.port, old.address()));
    let ways = [a.address, b.address];

    // Every message goes to the other instance, in both encodings, to both kinds of server.
    for encoding in [Encoding::Xml, Encoding::Wbxml] {
        for (number, host) in ["found.example", "listed.example"].into_iter().enumerate() {
            let outcome = run(host, &ways, encoding, &format!("{number}{}", encoding.name())).await;
            assert!(outcome.is_complete() && outcome.carried_out.len() == 5, "{host} {encoding:?}: {outcome:?}");
        }
    }
    let seen = [home.path().join("a/decisions.log"), home.path().join("b/decisions.log")].map(|log| lines(&log));
    assert!(
        seen.iter().all(|lines| lines.iter().all(|line| line["store"] == "redis" && line["verdict"] == "bridge")),
        "{seen:?}"
    );
    assert!(seen[1].iter().any(|line| line["reason"] == "session-pinned"), "{:?}", seen[1]);
    // What one instance has learnt the other knows.
    let firsts = seen.iter().flatten().filter(|line| line["site"] == "found" && line["message"] == "1");
    assert_eq!(firsts.map(|line| line["attempts"].as_u64().unwrap()).sum::<u64>(), 2 + 1);
    // Finished sessions are forgotten; what was learnt is not.
    let keys = redis.ask("DBSIZE").await;
    assert_eq!(keys, ":1", "one key: what was learnt of the server");

    // Anyone who has the policies can ask what was learnt.
    let file = home.path().join("package1.xml");
    fs::write(&file, numbered("1.2", "DM/1.2", 1, "")).unwrap();
    let explained = Command::new(env!("CARGO_BIN_EXE_protover"))
        .args(["explain", "--host", "found.example", "--policies"])
        .args([&home.path().join("a/policies"), &file])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&explained.stdout).into_owned();
    assert!(
        said.contains("old takes DM/1.1 and refuses DM/1.2; learnt "),
        "{said}{}",
        String::from_utf8_lossy(&explained.stderr)
    );
    assert!(said.contains("verdict       bridge"), "{said}");

    // A session that is under way when Redis dies: the policy knows what to do for one site, not for the other.
    let message = |number: u32| numbered("1.2", "DM/1.2", number, "<Alert><CmdID>1</CmdID><Data>1201</Data></Alert>");
    let send = |way: SocketAddr, host: &'static str, number: u32| {
        let raw = String::from_utf8(post("", message(number).as_bytes()))
            .unwrap()
            .replace("Host: dm.example", &format!("Host: {host}"));
        async move {
            let mut stream = TcpStream::connect(way).await.unwrap();
            stream.write_all(raw.as_bytes()).await.unwrap();
            Answer::read(&mut stream).await
        }
    };
    for host in ["found.example", "listed.example"] {
        assert_eq!(send(a.address, host, 1).await.status, 200);
    }
    redis.kill();
    let listed = send(b.address, "listed.example", 2).await;
    assert_eq!(listed.status, 200, "{}", listed.text());
    assert!(listed.text().contains("DM/1.2"), "{}", listed.text());
    let found = send(b.address, "found.example", 2).await;
    assert_eq!((found.status, found.header("retry-after").is_some()), (503, true), "{}", found.text());
    assert!(found.text().contains("session-lost"), "{}", found.text());
    // A session that begins now is tried as if nothing were known.
    assert_eq!(send(b.address, "found.example", 1).await.status, 200);
    // Lines are gathered for a moment before they are written, each when its answer has gone out.
    let log = home.path().join("b/decisions.log");
    let said = || {
        let lines = lines(&log);
        let last = lines.iter().rev().take(3).rev();
        let mut said: Vec<_> = last.map(|line| format!("{} {}", line["store"], line["reason"]).replace('"', "")).collect();
        said.sort_unstable();
        said
    };
    let began = std::time::Instant::now();
    while said().last().is_none_or(|last| last != "degraded stepped-down") {
        assert!(began.elapsed() < crate::rig::PATIENCE, "{:?}", said());
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(said(), ["degraded bridged", "degraded session-lost", "degraded stepped-down"]);

    // Redis is back: nothing has to be done.
    redis.restart().await;
    let began = std::time::Instant::now();
    for round in 0.. {
        let outcome = run("found.example", &ways, Encoding::Xml, &format!("back{round}")).await;
        if outcome.is_complete() && lines(&log).last().unwrap()["store"] == "redis" {
            break;
        }
        assert!(began.elapsed() < crate::rig::PATIENCE, "{:?}", lines(&log).last());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// A server that answers every message in its own version, with work left to do.
async fn answering(version: &'static str) -> Upstream {
    Upstream::start(move |seen| {
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        let field =
            |name: &str| body.split(&format!("<{name}>")).nth(1).and_then(|rest| rest.split('<').next()).unwrap_or_default();
        let code = if field("VerProto") == version { "200" } else { "513" };
        let work = "<Status><CmdID>1</CmdID><MsgRef>1</MsgRef><CmdRef>0</CmdRef><Cmd>SyncHdr</Cmd><Data>CODE</Data></Status>\
                    <Get><CmdID>2</CmdID><Item><Target><LocURI>./DevInfo/Man</LocURI></Target></Item></Get>";
        let work =
            if code == "200" { work.replace("CODE", code) } else { work.split("<Get>").next().unwrap().replace("CODE", code) };
        let answer =
            numbered(&version[3..], version, 1, &work).replace("<SessionID>0A<", &format!("<SessionID>{}<", field("SessionID")));
        Does::Answer(ok(XML, answer.as_bytes()))
    })
    .await
}

fn of_session(version: &str, session: &str, device: &str, number: u32) -> String {
    let dtd = if version == "DM/1.1" { "1.1" } else { "1.2" };
    numbered(dtd, version, number, "<Alert><CmdID>1</CmdID><Data>1201</Data></Alert>")
        .replace("<SessionID>0A<", &format!("<SessionID>{session}<"))
        .replace("IMEI:493005100592800", device)
}

async fn ask(stream: &mut TcpStream, host: &str, message: &str) -> Answer {
    let raw = String::from_utf8(post("", message.as_bytes())).unwrap().replace("Host: dm.example", &format!("Host: {host}"));
    stream.write_all(raw.as_bytes()).await.unwrap();
    Answer::read(stream).await
}

fn declares(answer: &Answer, version: &str) -> bool {
    answer.text().contains(&format!("<VerProto>{version}</VerProto>"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_sessions_with_the_same_names_are_not_confused() {
    const DEVICES: usize = 2_500;
    let (eleven, twelve) = (answering("DM/1.1").await, answering("DM/1.2").await);
    let site = |name: &str, server: SocketAddr| {
        format!(
            "[site]\nname = \"{name}\"\nhosts = [\"{name}.example\"]\n[[server]]\nname = \"s\"\nurl = \"http://{server}\"\nspeaks = \"discover\"\n"
        )
    };
    let rig = Rig::start("", &[&site("eleven", eleven.address), &site("twelve", twelve.address)]).await;
    // Devices differ only where names end; every device has the same SessionIDs at both sites.
    let tasks: Vec<_> = (0..16)
        .map(|lane| {
            let address = rig.address();
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                for number in [1, 2] {
                    for device in (0..DEVICES).skip(lane).step_by(16) {
                        for session in ["1", "11"] {
                            for (host, used) in [("eleven.example", "DM/1.1"), ("twelve.example", "DM/1.2")] {
                                let (device, version) =
                                    (format!("IMEI:{device}"), if device % 2 == 0 { "DM/1.2" } else { "DM/1.3" });
                                let answer = ask(&mut stream, host, &of_session(version, session, &device, number)).await;
                                assert_eq!(answer.status, 200, "{}", answer.text());
                                assert!(declares(&answer, version), "{used} {}", answer.text());
                            }
                        }
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let lines = rig.lines(DEVICES * 2 * 2 * 2).await;
    let mut pinned = 0;
    for line in &lines {
        let used = if line["site"] == "eleven" { "DM/1.1" } else { "DM/1.2" };
        assert_eq!(line["used"], used, "{line}");
        pinned += usize::from(line["reason"] == "session-pinned");
    }
    assert_eq!(pinned, lines.len() / 2, "every second message");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_end_in_the_version_they_began_with_whatever_is_reloaded() {
    const SESSIONS: usize = 500;
    let upstream = Upstream::start(|seen| {
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        let version = if body.contains("DM/1.1") { "DM/1.1" } else { "DM/1.2" };
        let work = "<Status><CmdID>1</CmdID><MsgRef>1</MsgRef><CmdRef>0</CmdRef><Cmd>SyncHdr</Cmd><Data>200</Data></Status>\
                    <Get><CmdID>2</CmdID><Item><Target><LocURI>./DevInfo/Man</LocURI></Target></Item></Get>";
        Does::Answer(ok(XML, numbered(&version[3..], version, 1, work).as_bytes()))
    })
    .await;
    let site = |speaks: &str, then: &str| {
        format!(
            "[site]\nname = \"s\"\nhosts = [\"dm.example\"]\n[unsupported]\nthen = \"{then}\"\n\
             [[server]]\nname = \"s\"\nurl = \"http://{}\"\nspeaks = [{speaks}]\n",
            upstream.address
        )
    };
    // Devices on DM 1.2 pass at first, are bridged after the first reload, and refused after the second.
    let policy = [site("\"DM/1.2\"", "refuse"), site("\"DM/1.1\"", "bridge"), site("\"DM/1.1\"", "refuse")];
    let rig = Arc::new(Rig::start("", &[&policy[0]]).await);
    let send = |session: usize, number: u32| {
        let (rig, permits) = (Arc::clone(&rig), Arc::new(Semaphore::new(1)));
        async move {
            let _permit = permits.acquire().await.unwrap();
            let mut stream = TcpStream::connect(rig.address()).await.unwrap();
            ask(&mut stream, "dm.example", &of_session("DM/1.2", &format!("S{session}"), "IMEI:1", number)).await
        }
    };
    let used = |lines: &[Value], session: usize| {
        let of = lines.iter().filter(|line| line["session"] == format!("S{session}"));
        of.map(|line| line["used"].as_str().unwrap_or("-").to_owned()).collect::<Vec<_>>()
    };
    for session in 0..SESSIONS {
        assert_eq!(send(session, 1).await.status, 200);
    }
    rig.proxy.reload(policies(&rig.log_path(), "", "", &[&policy[1]])).unwrap();
    for session in 0..SESSIONS {
        assert_eq!(send(session, 2).await.status, 200);
        assert_eq!(send(SESSIONS + session, 1).await.status, 200);
    }
    rig.proxy.reload(policies(&rig.log_path(), "", "", &[&policy[2]])).unwrap();
    for session in 0..2 * SESSIONS {
        let answer = send(session, 3).await;
        assert!(declares(&answer, "DM/1.2"), "{}", answer.text());
    }
    assert!(send(2 * SESSIONS, 1).await.text().contains("513"), "a new session is decided by the new policy");
    let lines = rig.lines(SESSIONS * 5 + 1).await;
    for session in 0..SESSIONS {
        assert_eq!(used(&lines, session), ["DM/1.2", "DM/1.2", "DM/1.2"]);
        assert_eq!(used(&lines, SESSIONS + session), ["DM/1.1", "DM/1.1"]);
    }
}

#[tokio::test]
async fn a_session_goes_on_where_its_site_is_only_observed_now_or_gone() {
    let upstream = answering("DM/1.1").await;
    let site = |head: &str, host: &str| {
        format!(
            "[site]\nname = \"s\"\nhosts = [\"{host}\"]\n{head}\n[unsupported]\nthen = \"bridge\"\n\
             [[server]]\nname = \"s\"\nurl = \"http://{}\"\nspeaks = [\"DM/1.1\"]\n",
            upstream.address
        )
    };
    for after in [site("mode = \"observe\"", "dm.example"), site("", "moved.example")] {
        let rig = Rig::start("", &[&site("", "dm.example")]).await;
        let mut stream = TcpStream::connect(rig.address()).await.unwrap();
        assert_eq!(ask(&mut stream, "dm.example", &of_session("DM/1.2", "1", "IMEI:1", 1)).await.status, 200);
        rig.proxy.reload(policies(&rig.log_path(), "", "", &[&after])).unwrap();
        let later = ask(&mut stream, "dm.example", &of_session("DM/1.2", "1", "IMEI:1", 2)).await;
        assert!(declares(&later, "DM/1.2"), "{after}: {}", later.text());
        let new = ask(&mut stream, "dm.example", &of_session("DM/1.2", "2", "IMEI:1", 1)).await;
        let lines = rig.lines(3).await;
        assert_eq!((&lines[1]["used"], &lines[1]["mode"], &lines[1]["site"]), (&"DM/1.1".into(), &"enforce".into(), &"s".into()));
        if after.contains("moved") {
            assert_eq!((new.status, &lines[2]["reason"]), (421, &"no-site".into()));
        } else {
            assert_eq!((new.status, &lines[2]["mode"]), (200, &"observe".into()));
        }
    }
}

#[tokio::test]
async fn strangers_do_not_end_a_session() {
    // It accepts only the messages of the right device.
    let upstream = Upstream::start(|seen| {
        let code = if String::from_utf8_lossy(&seen.body).contains("<Cred>") { "200" } else { "401" };
        let work = format!(
            "<Status><CmdID>1</CmdID><MsgRef>1</MsgRef><CmdRef>0</CmdRef><Cmd>SyncHdr</Cmd><Data>{code}</Data></Status>\
             <Get><CmdID>2</CmdID><Item><Target><LocURI>./A</LocURI></Target></Item></Get>"
        );
        Does::Answer(ok(XML, numbered("1.1", "DM/1.1", 1, &work).as_bytes()))
    })
    .await;
    let site = format!(
        "[site]\nname = \"s\"\nhosts = [\"dm.example\"]\n[unsupported]\nthen = \"bridge\"\n\
         [[server]]\nname = \"s\"\nurl = \"http://{}\"\nspeaks = [\"DM/1.1\"]\n",
        upstream.address
    );
    let rig = Rig::start("", &[&site]).await;
    let mut stream = TcpStream::connect(rig.address()).await.unwrap();
    let own = |number| of_session("DM/1.2", "1", "IMEI:1", number).replace("</SyncHdr>", "<Cred><Data>x</Data></Cred></SyncHdr>");
    ask(&mut stream, "dm.example", &own(1)).await;
    ask(&mut stream, "dm.example", &of_session("DM/1.2", "1", "IMEI:1", 2).replace("1201", "1223")).await;
    ask(&mut stream, "dm.example", &own(2)).await;
    assert_eq!(rig.lines(3).await[2]["reason"], "session-pinned");
}

#[tokio::test]
async fn who_started_a_session_is_known_to_the_end_of_it() {
    let upstream = answering("DM/1.2").await;
    let site = format!(
        "[site]\nname = \"s\"\nhosts = [\"dm.example\"]\n[[server]]\nname = \"s\"\nurl = \"http://{}\"\nspeaks = [\"DM/1.2\", \"DM/1.3\"]\n\
         [[rule]]\nname = \"invited\"\nwhen = {{ started_by = \"server\" }}\nthen = {{ verdict = \"pass\" }}\n",
        upstream.address
    );
    let rig = Rig::start("", &[&site]).await;
    let mut stream = TcpStream::connect(rig.address()).await.unwrap();
    for (alert, session) in [("1200", "1"), ("1201", "2")] {
        for number in [1, 2] {
            let message =
                of_session("DM/1.2", session, "IMEI:1", number).replace("1201", if number == 1 { alert } else { "1222" });
            assert_eq!(ask(&mut stream, "dm.example", &message).await.status, 200);
        }
    }
    let said: Vec<String> = rig
        .lines(4)
        .await
        .iter()
        .map(|line| format!("{} {} {}", line["verdict"], line["reason"], line["rule"]).replace('"', ""))
        .collect();
    assert_eq!(
        said,
        [
            "pass rule invited",
            "pass session-pinned invited",
            "advise supported-not-recommended null",
            "advise session-pinned null"
        ]
    );
}

#[tokio::test]
async fn a_session_that_needs_no_memory_costs_no_call_and_one_that_ended_is_forgotten() {
    let upstream = answering("DM/1.2").await;
    let one = |more: &str| {
        format!(
            "[site]\nname = \"s\"\nhosts = [\"dm.example\"]\n[[server]]\nname = \"s\"\nurl = \"http://{}\"\nspeaks = [\"DM/1.2\", \"DM/1.3\"]\n{more}",
            upstream.address
        )
    };
    let rig = Rig::start("", &[&one("")]).await;
    let mut stream = TcpStream::connect(rig.address()).await.unwrap();
    for number in [1, 2] {
        ask(&mut stream, "dm.example", &of_session("DM/1.2", "1", "IMEI:1", number)).await;
    }
    assert!(rig.lines(2).await.iter().all(|line| line["store"].is_null() && line["verdict"] == "advise"));

    // The device ends a bridged session with Alert 1223: what comes after it is another one.
    let rig = Rig::start("", &[&one("[unsupported]\nthen = \"bridge\"\n")]).await;
    let mut stream = TcpStream::connect(rig.address()).await.unwrap();
    for (number, alert) in [(1, "1201"), (2, "1222"), (3, "1223"), (4, "1222")] {
        let message = of_session("DM/1.1", "1", "IMEI:1", number).replace("1201", alert);
        ask(&mut stream, "dm.example", &message).await;
    }
    let reasons: Vec<Value> = rig.lines(4).await.into_iter().map(|line| line["reason"].clone()).collect();
    assert_eq!(reasons, ["bridged", "session-pinned", "session-pinned", "bridged"]);
}
