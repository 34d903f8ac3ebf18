//! The recommended version in the device's DM account, by commands in the session: what the device does with
//! it, and that the server sees nothing of it. Every session is run a second time without, and the server's
//! views are compared byte for byte.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt,
};

use protover::{
    reference::{Auth, Credentials, Device, Manners, Outcome, Server, Settings, Strictness, account_version, add_account},
    syncml::{header::Encoding, version::Version},
};
use serde_json::Value;

use crate::{
    redis::RedisServer,
    rig::{Answer, Does, Rig, Upstream, answer, message, numbered, ok, oracle, post},
};

const SERVER: &str = "com.example.dm";
const DEVICE: &str = "IMEI:493005100592800";
const WITH: &str = "[hint]\ncarriers = [\"http-header\", \"account\"]\n[account]\nserver_id = \"com.example.dm\"\n";

/// A site for a server; `account` is what makes the difference.
fn site(server: SocketAddr, speaks: &str, account: &str) -> String {
    format!(
        "[site]\nname = \"s\"\nhosts = [\"dm.example\"]\n[unsupported]\nthen = \"bridge\"\n\
         [[server]]\nname = \"upstream\"\nurl = \"http://{server}\"\nspeaks = {speaks}\n{account}"
    )
}

/// A server that speaks 1.2 and 1.3, with five messages of commands.
fn settings() -> Settings {
    let versions = vec![Version::DM_1_2, Version::DM_1_3];
    let mut script = Settings::default().script;
    script.push(vec![("Get", "./DevInfo/Lang", "")]);
    script.push(vec![("Replace", "./Work/Colour", "blue")]);
    script.push(vec![("Get", "./Work/Colour", "")]);
    Settings { versions, script, ..Settings::default() }
}

fn device(encoding: Encoding) -> Device {
    let mut device = Device::new(DEVICE, Version::DM_1_2);
    device.encoding = encoding;
    device.strictness = Strictness::Motorola;
    device.max_msg_size = Some(16_384);
    device
}

/// A stage with the carrier, and one without, alike in everything else.
struct Twins {
    with: (Rig, Server),
    without: (Rig, Server),
}

impl Twins {
    async fn start(settings: &Settings, speaks: &str, account: &str) -> Self {
        let stage = async |account: &str| {
            let server = Server::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), settings.clone()).await.unwrap();
            (Rig::start("", &[&site(server.address(), speaks, account)]).await, server)
        };
        Self { with: stage(account).await, without: stage("").await }
    }

    /// A session on both stages. What the servers saw is the same, byte for byte.
    async fn session(&self, device: &mut Device, session: &str) -> (Outcome, Outcome) {
        let mut twin = device.clone();
        let url = "http://dm.example/dm".parse().unwrap();
        let before = [&self.with, &self.without].map(|(_, server)| server.saw().len());
        let mut outcomes = Vec::new();
        for (device, (rig, _)) in [(&mut *device, &self.with), (&mut twin, &self.without)] {
            device.session = session.to_owned();
            outcomes.push(device.run(&url, Some(rig.address())).await);
        }
        let new = |(_, server): &(Rig, Server), before: usize| server.saw().split_off(before);
        let (saw, expected) = (new(&self.with, before[0]), new(&self.without, before[1]));
        for (number, (saw, expected)) in saw.iter().zip(&expected).enumerate() {
            let text = |raw: &[u8]| String::from_utf8_lossy(raw).into_owned();
            assert_eq!(text(&saw.raw), text(&expected.raw), "message {number} of session {session}");
        }
        let without = outcomes.pop().unwrap();
        let with = outcomes.pop().unwrap();
        if with.is_complete() {
            assert_eq!(saw.len(), expected.len(), "session {session}");
        }
        (with, without)
    }

    async fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.with.0.log_path()).unwrap_or_default();
        self.with.0.lines(text.lines().count().max(self.with.1.saw().len())).await
    }
}

fn told(lines: &[Value]) -> Vec<String> {
    lines.iter().filter_map(|line| line["detail"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn the_account_is_found_among_several_at_either_root_or_left_alone() {
    let one = vec![("./DMAcc/x1", SERVER)];
    let three = vec![("./DMAcc/a", "other"), ("./DMAcc/mine", SERVER), ("./DMAcc/z", "third")];
    let none = vec![("./DMAcc/a", "other")];
    let old_root = vec![("./SyncML/DMAcc/p", "other"), ("./SyncML/DMAcc/q", SERVER)];
    for encoding in [Encoding::Xml, Encoding::Wbxml] {
        for (accounts, leaf) in [
            (&one, Some("./DMAcc/x1/Ext/Protover/ProtoVer")),
            (&three, Some("./DMAcc/mine/Ext/Protover/ProtoVer")),
            (&none, None),
            (&old_root, Some("./SyncML/DMAcc/q/Ext/Protover/ProtoVer")),
        ] {
            // The server speaks the device's version, or does not: then the session is bridged.
            for speaks in ["[\"DM/1.2\", \"DM/1.3\"]", "[\"DM/1.1\"]"] {
                let case = format!("{encoding:?} {accounts:?} {speaks}");
                let versions = if speaks.contains("1.1") { vec![Version::DM_1_1] } else { settings().versions };
                let recommended = *versions.last().unwrap();
                let twins = Twins::start(&Settings { versions, ..settings() }, speaks, WITH).await;
                let mut device = device(encoding);
                for (node, id) in accounts {
                    add_account(&mut device.tree, node, id, None);
                }
                for session in 1..=4 {
                    let (outcome, _) = twins.session(&mut device, &session.to_string()).await;
                    assert!(outcome.is_complete(), "{case}: {outcome:?}");
                }
                let value = leaf.and_then(|leaf| device.tree.get(leaf).cloned());
                assert_eq!(
                    value,
                    leaf.map(|_| recommended.number()),
                    "{case}: {:?} {:?}",
                    device.tree,
                    told(&twins.lines().await)
                );
                // And the device uses it from then on.
                if let Some(version) = account_version(&device.tree, SERVER) {
                    device.version = version;
                    let (outcome, without) = twins.session(&mut device, "9").await;
                    assert!(outcome.is_complete(), "{case}");
                    assert_eq!(outcome.exchanges.last().unwrap().got, without.exchanges.last().unwrap().got);
                    assert_eq!(twins.with.1.saw().last().unwrap().version, recommended.to_string(), "{case}");
                }
                let lines = twins.lines().await;
                assert!(lines.iter().all(|line| line["store"] == "memory" || line["verdict"] == "pass"), "{case}");
                let last = told(&lines).join("\n");
                let said =
                    if leaf.is_some() { "ProtoVer with 200" } else { "left alone: the device has no account of this server" };
                assert!(last.contains(said), "{case}: {last}");
            }
        }
    }
}

#[tokio::test]
async fn a_device_that_does_not_want_it_is_not_harmed_and_is_left_alone() {
    for manners in [Manners::Refuses("404"), Manners::Refuses("405"), Manners::Refuses("500"), Manners::BreaksOff] {
        let known = format!("{WITH}account = \"name\"\nname = \"x1\"\n");
        let twins = Twins::start(&settings(), "[\"DM/1.2\", \"DM/1.3\"]", &known).await;
        let mut device = device(Encoding::Xml);
        device.manners = manners;
        let (mut asked, mut first) = (0, true);
        for session in 1..=4 {
            let (outcome, without) = twins.session(&mut device, &session.to_string()).await;
            let differs = outcome.exchanges.iter().zip(&without.exchanges).filter(|(with, without)| with.got != without.got);
            asked += differs.count();
            assert_eq!(outcome.is_complete(), !(first && manners == Manners::BreaksOff), "{manners:?} {session}: {outcome:?}");
            first = false;
        }
        // Replace; what was missing is then added, once.
        assert_eq!(asked, if manners == Manners::Refuses("404") { 2 } else { 1 }, "{manners:?}");
        let said = told(&twins.lines().await).join("\n");
        match manners {
            Manners::Refuses(status) => {
                let refused = format!("account: the device answered Replace ./DMAcc/x1/Ext/Protover/ProtoVer with {status}");
                assert!(said.contains(&refused), "{said}");
                assert!(said.contains(&format!("account: left alone: the device refused with {status}")), "{said}");
            }
            _ => assert!(said.contains("left alone: the device was asked once and did not answer"), "{said}"),
        }
    }
}

#[tokio::test]
async fn the_servers_view_is_the_same_in_every_kind_of_session() {
    let bruce = || Credentials { user: "Bruce2".into(), password: "OhBehave".into() };
    let home = tempfile::tempdir().unwrap();
    let secrets = home.path().join("secrets.toml");
    let text = "[server]\nid = \"com.example.dm\"\npassword = \"secret\"\nnonce = \"cmVmZXJlbmNl\"\n\
        [[client]]\nuser = \"Bruce2\"\npassword = \"OhBehave\"\n";
    fs::write(&secrets, text).unwrap();
    fs::set_permissions(&secrets, fs::Permissions::from_mode(0o600)).unwrap();
    let server_side = || Credentials { user: SERVER.into(), password: "secret".into() };
    let kinds = [
        ("basic", Settings { credentials: Some((Auth::Basic, bruce())), ..settings() }),
        ("md5", Settings { credentials: Some((Auth::Md5, bruce())), ..settings() }),
        ("mac", Settings { credentials: Some((Auth::Mac, bruce())), ..settings() }),
        ("mac both ways", Settings { credentials: Some((Auth::Mac, bruce())), own: Some(server_side()), ..settings() }),
        ("RespURI", Settings { resp_uri: Some("http://{host}/s/{session}".into()), ..settings() }),
    ];
    for encoding in [Encoding::Xml, Encoding::Wbxml] {
        for (kind, settings) in &kinds {
            for versions in [vec![Version::DM_1_2, Version::DM_1_3], vec![Version::DM_1_1]] {
                let case = format!("{kind} {encoding:?} {versions:?}");
                let speaks: Vec<String> = versions.iter().map(|version| format!("\"{version}\"")).collect();
                // Bridging under a MAC takes the secrets too.
                let secret = format!("secrets = {:?}\n", secrets.display().to_string());
                let settings = Settings { versions: versions.clone(), ..settings.clone() };
                let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                let mut stages = Vec::new();
                for account in [WITH, ""] {
                    let server = Server::start(any, settings.clone()).await.unwrap();
                    let site = site(server.address(), &format!("[{}]", speaks.join(", ")), account)
                        .replace("[unsupported]", &format!("{secret}[unsupported]"));
                    stages.push((Rig::start("", &[&site]).await, server));
                }
                let (without, with) = (stages.pop().unwrap(), stages.pop().unwrap());
                let twins = Twins { with, without };
                let mut device = device(encoding);
                device.credentials = Some(bruce());
                device.server = settings.own.clone();
                add_account(&mut device.tree, "./DMAcc/x1", SERVER, Some(Version::DM_1_2));
                let (outcome, _) = twins.session(&mut device, "1").await;
                assert!(outcome.is_complete(), "{case}: {:?} {:?}", outcome.refused, outcome.gave_up);
                let expected = versions.last().copied();
                assert_eq!(account_version(&device.tree, SERVER), expected, "{case}: {:?}", told(&twins.lines().await));
            }
        }
    }
}

fn body(status: &str, more: &str, msg_ref: u32) -> String {
    format!(
        "<Status><CmdID>1</CmdID><MsgRef>{msg_ref}</MsgRef><CmdRef>0</CmdRef><Cmd>SyncHdr</Cmd><Data>{status}</Data></Status>{more}"
    )
}

fn named(more: &str) -> String {
    format!("{WITH}account = \"name\"\nname = \"x1\"\n{more}")
}

/// A server that answers its first message with a Get, whatever it is asked.
async fn upstream() -> Upstream {
    let get = "<Get><CmdID>7</CmdID><Item><Target><LocURI>./DevInfo/Man</LocURI></Target></Item></Get>";
    let answer = answer("1.2", "DM/1.2", get);
    Upstream::start(move |_| Does::Answer(ok("application/vnd.syncml.dm+xml", answer.as_bytes()))).await
}

const BOTH: &str = "[\"DM/1.2\", \"DM/1.3\"]";

#[tokio::test]
async fn a_retransmission_gets_the_same_bytes_and_a_new_session_does_not() {
    let upstream = upstream().await;
    let rig = Rig::start("", &[&site(upstream.address, BOTH, &named(""))]).await;
    let first = rig.send(post("Connection: close\r\n", message("1.2", "DM/1.2").as_bytes())).await;
    assert!(first.text().contains("<Replace><CmdID>8</CmdID>"), "{}", first.text());
    let again = rig.send(post("Connection: close\r\n", message("1.2", "DM/1.2").as_bytes())).await;
    assert_eq!(again.body, first.body);
    // Another message under the same SessionID is another session: the device did not answer in the first.
    let other = message("1.2", "DM/1.2").replace("1201", "1200");
    let other = rig.send(post("Connection: close\r\n", other.as_bytes())).await;
    assert!(!other.text().contains("<Replace>"), "{}", other.text());
    let lines = rig.lines(3).await;
    assert_eq!((&lines[0]["edits"][0], &lines[0]["hints"][1]), (&"account".into(), &"account".into()), "{}", lines[0]);
    assert_eq!(lines[2]["detail"], "account: left alone: the device was asked once and did not answer");
}

#[tokio::test]
async fn a_message_that_would_be_empty_is_answered_here_and_a_package_that_is_open_goes_on() {
    let upstream = upstream().await;
    let rig = Rig::start("", &[&site(upstream.address, BOTH, &named(""))]).await;
    let send = async |body: &str| rig.send(post("Connection: close\r\n", body.as_bytes())).await;
    send(&message("1.2", "DM/1.2")).await;
    let ours = "<Status><CmdID>2</CmdID><MsgRef>1</MsgRef><CmdRef>8</CmdRef><Cmd>Replace</Cmd><Data>200</Data></Status>";
    let only_ours = numbered("1.2", "DM/1.2", 2, &body("200", ours, 1));
    // Such a message a device sends only for our sake; it is told that there is nothing more.
    let here = send(&only_ours).await;
    assert_eq!(upstream.seen().len(), 1, "the server sees nothing of it");
    let text = here.text();
    for part in
        ["<MsgID>2</MsgID>", "<MsgRef>2</MsgRef><CmdRef>0</CmdRef><Cmd>SyncHdr</Cmd>", "<Data>200</Data></Status><Final/>"]
    {
        assert!(text.contains(part), "{text}");
    }
    assert!(here.header("content-type").unwrap().starts_with("application/vnd.syncml.dm+xml"));
    assert_eq!(send(&only_ours).await.body, here.body, "again, when the device asks again");
    let lines = rig.lines(3).await;
    assert_eq!((&lines[1]["server"], &lines[1]["http_status"]), (&Value::Null, &200.into()), "{}", lines[1]);
    let detail = lines[1]["detail"].as_str().unwrap();
    assert!(detail.contains("with 200; account: the message held nothing else, and was answered here"), "{detail}");

    // A package in two messages, with the Status that is not the server's in the second.
    let rig = Rig::start("", &[&site(upstream.address, BOTH, &named(""))]).await;
    let send = async |body: &str| rig.send(post("Connection: close\r\n", body.as_bytes())).await;
    let before = upstream.seen().len();
    send(&message("1.2", "DM/1.2")).await;
    let theirs = "<Status><CmdID>2</CmdID><MsgRef>1</MsgRef><CmdRef>7</CmdRef><Cmd>Get</Cmd><Data>200</Data></Status>";
    send(&numbered("1.2", "DM/1.2", 2, &body("200", theirs, 1)).replace("<Final/>", "")).await;
    send(&numbered("1.2", "DM/1.2", 3, &body("200", ours, 1))).await;
    let seen = upstream.seen();
    assert_eq!(seen.len() - before, 3, "the server waits for Final");
    assert_eq!(String::from_utf8_lossy(&seen.last().unwrap().body), numbered("1.2", "DM/1.2", 3, &body("200", "", 1)));
}

#[tokio::test]
async fn where_it_would_not_fit_nothing_is_put_and_the_log_says_why() {
    let get = "<Get><CmdID>7</CmdID></Get>";
    let sized = |size: &str| {
        message("1.2", "DM/1.2")
            .replace("</SyncHdr>", &format!("<Meta><MaxMsgSize xmlns=\"syncml:metinf\">{size}</MaxMsgSize></Meta></SyncHdr>"))
    };
    let chunk = "<Replace><CmdID>7</CmdID><Item><Data>x</Data><MoreData/></Item></Replace>";
    for (request, answered, head, why) in [
        (message("1.2", "DM/1.2"), answer("1.2", "DM/1.2", ""), "", "nothing but Status and Final"),
        (message("1.2", "DM/1.2"), answer("1.2", "DM/1.2", get).replace("<Final/>", ""), "", "no Final"),
        (message("1.2", "DM/1.2"), answer("1.2", "DM/1.2", chunk), "", "a large object or an unfinished package is on its way"),
        (message("1.2", "DM/1.2"), answer("1.2", "DM/1.2", get).replace("212", "401"), "", "the status of SyncHdr is 401"),
        (sized("600"), answer("1.2", "DM/1.2", get), "", "MaxMsgSize"),
        (message("1.2", "DM/1.2"), answer("1.2", "DM/1.2", get), "MS-Signature: x\r\n", "integrity-protected"),
        (message("1.2", "DM/1.2").replace("1201", "1223"), answer("1.2", "DM/1.2", get), "", "the session is aborted"),
    ] {
        let answered = answered.into_bytes();
        let expected = answered.clone();
        let upstream = Upstream::start(move |_| Does::Answer(ok("application/vnd.syncml.dm+xml", &answered))).await;
        let rig = Rig::start("", &[&site(upstream.address, BOTH, &named(""))]).await;
        let got: Answer = rig.send(post(&format!("Connection: close\r\n{head}"), request.as_bytes())).await;
        assert_eq!(String::from_utf8_lossy(&got.body), String::from_utf8_lossy(&expected), "{why}");
        let line = rig.line().await;
        assert_eq!(line["detail"], format!("account: not now: {why}"), "{line}");
    }
}

#[tokio::test]
async fn a_rule_limits_it_to_a_part_of_the_devices() {
    let rules = "[[rule]]\nname = \"a few\"\nwhen = { device = \"IMEI:4930*\" }\nthen = { account = true }\n\
        [[rule]]\nname = \"the rest\"\nwhen = {}\nthen = { account = false }\n";
    let upstream = upstream().await;
    let rig = Rig::start("", &[&site(upstream.address, BOTH, &named(rules))]).await;
    for (imei, there) in [("IMEI:493005100592800", true), ("IMEI:111111111111111", false)] {
        let message = message("1.2", "DM/1.2").replace("IMEI:493005100592800", imei);
        let got = rig.send(post("Connection: close\r\n", message.as_bytes())).await;
        assert_eq!(got.text().contains("<Replace>"), there, "{imei}");
    }
}

#[tokio::test]
async fn windows_accounts_are_found_by_their_hash_and_never_get_what_windows_does_not_know() {
    let upstream = upstream().await;
    let windows = |speaks: &str| site(upstream.address, speaks, &WITH.replace("[account]", "[account]\npreset = \"windows\""));
    let rig = Rig::start("", &[&windows("[\"DM/1.1\", \"DM/1.2\"]")]).await;
    let got = rig.send(post("Connection: close\r\n", message("1.1", "DM/1.1").as_bytes())).await;
    let node = protover::account::windows_node(SERVER);
    assert!(got.text().contains(&format!("<LocURI>./SyncML/DMAcc/{node}/Ext/Microsoft/ProtoVer</LocURI>")), "{}", got.text());
    assert!(got.text().contains("<Data>1.2</Data></Item></Replace>"), "{}", got.text());
    let rig = Rig::start("", &[&windows(BOTH)]).await;
    let got = rig.send(post("Connection: close\r\n", message("1.2", "DM/1.2").as_bytes())).await;
    assert!(!got.text().contains("ProtoVer"), "{}", got.text());
    assert_eq!(rig.line().await["detail"], "account: the recommended version cannot stand there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_share_the_bookkeeping_over_a_real_redis_and_without_it_nothing_is_put() {
    if !oracle("redis-server") {
        return;
    }
    let mut redis = RedisServer::start(&[]).await;
    let process = format!("[store]\nkind = \"redis\"\nurl = \"redis://127.0.0.1:{}\"\n", redis.port);
    for encoding in [Encoding::Xml, Encoding::Wbxml] {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = Server::start(any, settings()).await.unwrap();
        let control = Server::start(any, settings()).await.unwrap();
        let site_with = site(server.address(), BOTH, WITH);
        let (a, b) = (Rig::start(&process, &[&site_with]).await, Rig::start(&process, &[&site_with]).await);
        let plain = Rig::start("", &[&site(control.address(), BOTH, "")]).await;
        let mut device = device(encoding);
        device.id = format!("{DEVICE}-{}", encoding.name());
        add_account(&mut device.tree, "./DMAcc/x1", SERVER, Some(Version::DM_1_2));
        let mut twin = device.clone();
        device.other_ways = vec![b.address()];
        let url = "http://dm.example/dm".parse().unwrap();
        let outcome = device.run(&url, Some(a.address())).await;
        let expected = twin.run(&url, Some(plain.address())).await;
        assert!(outcome.is_complete() && expected.is_complete(), "{outcome:?}");
        assert_eq!(account_version(&device.tree, SERVER), Some(Version::DM_1_3));
        let raw = |server: &Server| server.saw().into_iter().map(|saw| saw.raw).collect::<Vec<_>>();
        assert_eq!(raw(&server), raw(&control));

        redis.kill();
        let mut other = twin.clone();
        other.id = "IMEI:1".to_owned();
        other.session = "2".to_owned();
        let (mut with, mut without) = (other.clone(), other);
        let outcome = with.run(&url, Some(a.address())).await;
        let expected = without.run(&url, Some(plain.address())).await;
        let got = |outcome: &Outcome| outcome.exchanges.iter().map(|exchange| exchange.got.clone()).collect::<Vec<_>>();
        assert!(outcome.is_complete());
        assert_eq!(got(&outcome), got(&expected), "nothing is injected");
        redis.restart().await;
    }
}
