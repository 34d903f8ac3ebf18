//! Reload and drain, in the process and by signals.

use std::{
    fs,
    io::{BufRead, BufReader, Write as _},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{
    activation::sockets,
    rig::{Answer, Does, PATIENCE, Rig, Upstream, answer, message, ok, policies, post, site},
};

const XML: &str = "application/vnd.syncml.dm+xml";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_loses_no_request_and_each_keeps_to_one_policy() {
    let upstream = Upstream::echoing().await;
    let rig = Rig::start("", &[&site(upstream.address, "[\"DM/1.1\"]", "")]).await;
    let sent = Arc::new(AtomicUsize::new(0));
    let over = Arc::new(AtomicBool::new(false));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (sent, over, address) = (sent.clone(), over.clone(), rig.address());
        clients.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            while !over.load(Ordering::Relaxed) {
                stream.write_all(&post("", message("1.1", "DM/1.1").as_bytes())).await.unwrap();
                let got = Answer::read(&mut stream).await;
                assert_eq!(got.status, 200);
                let said = got.header("dm-recommended-version");
                assert!(matches!(said, None | Some("DM/1.2")), "{said:?}");
                sent.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let log = rig.log_path();
    for round in 0..20 {
        let speaks = if round % 2 == 0 { "[\"DM/1.1\", \"DM/1.2\"]" } else { "[\"DM/1.1\"]" };
        let restart = rig.proxy.reload(policies(&log, "", "", &[&site(upstream.address, speaks, "")])).unwrap();
        assert!(restart.is_empty(), "{restart:?}");
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    over.store(true, Ordering::Relaxed);
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    let lines = rig.lines(sent.load(Ordering::Relaxed)).await;
    assert!(lines.iter().any(|line| line["verdict"] == "advise") && lines.iter().any(|line| line["verdict"] == "pass"));
}

#[tokio::test]
async fn a_drain_finishes_what_is_under_way_and_takes_nothing_new() {
    let upstream = Upstream::start(|seen| Does::AnswerAfter(Duration::from_millis(300), ok(XML, &seen.body))).await;
    let mut rig = Rig::start("", &[&site(upstream.address, "[\"DM/1.1\"]", "")]).await;
    let address = rig.address();
    let idle = TcpStream::connect(address).await.unwrap();
    let mut busy = TcpStream::connect(address).await.unwrap();
    busy.write_all(&post("", message("1.1", "DM/1.1").as_bytes())).await.unwrap();
    tokio::time::sleep(Duration::from_millis(80)).await;
    let began = Instant::now();
    let reading = tokio::spawn(async move { Answer::read(&mut busy).await });
    tokio::time::timeout(PATIENCE, rig.proxy.drain()).await.unwrap();
    assert_eq!(reading.await.unwrap().status, 200);
    assert!(began.elapsed() < Duration::from_secs(5), "an idle connection does not hold it up");
    assert!(TcpStream::connect(address).await.is_err());
    assert_eq!(rig.line().await["verdict"], "pass");
    drop(idle);
}

#[tokio::test]
async fn who_connected_before_a_drain_is_served() {
    let upstream = Upstream::echoing().await;
    let mut rig = Rig::start("", &[&site(upstream.address, "[\"DM/1.1\"]", "")]).await;
    let mut waiting = Vec::new();
    // The runtime has one thread, and it is here: nobody accepts these before the drain begins.
    for _ in 0..20 {
        let mut stream = std::net::TcpStream::connect(rig.address()).unwrap();
        stream.write_all(&post("", message("1.1", "DM/1.1").as_bytes())).unwrap();
        stream.set_nonblocking(true).unwrap();
        waiting.push(stream);
    }
    tokio::time::timeout(PATIENCE, rig.proxy.drain()).await.unwrap();
    for stream in waiting {
        let got = Answer::read(&mut TcpStream::from_std(stream).unwrap()).await;
        assert_eq!((got.status, got.header("connection")), (200, Some("close")));
    }
}

#[tokio::test]
async fn what_a_drain_cuts_off_has_its_line() {
    let upstream = Upstream::start(|_| Does::AnswerAndStall(Vec::new())).await;
    let mut rig = Rig::start("[limits]\ndrain_timeout = \"200ms\"", &[&site(upstream.address, "[\"DM/1.1\"]", "")]).await;
    let mut busy = TcpStream::connect(rig.address()).await.unwrap();
    busy.write_all(&post("", message("1.1", "DM/1.1").as_bytes())).await.unwrap();
    tokio::time::sleep(Duration::from_millis(80)).await;
    tokio::time::timeout(PATIENCE, rig.proxy.drain()).await.unwrap();
    let line = rig.line().await;
    assert_eq!((line["verdict"].as_str(), line["reason"].as_str()), (Some("fail"), Some("draining")));
}

/// `protover serve` as a process.
pub(crate) struct Served {
    child: Child,
    pub(crate) address: SocketAddr,
    stderr: std::sync::mpsc::Receiver<String>,
    /// What it said before it listened.
    pub(crate) began: String,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Served {
    pub(crate) fn start(folder: &Path, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_protover"));
        command.args(["serve", "--policies"]).arg(folder).envs(environment.iter().copied()).stdout(Stdio::null());
        Self::spawn(command)
    }

    /// The same, with a limit of the shell's.
    pub(crate) fn limited(folder: &Path, limit: &str) -> Self {
        let mut command = Command::new("sh");
        let script = format!("ulimit {limit} && exec \"$0\" serve --policies \"$1\"");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_protover")]).arg(folder).stdout(Stdio::null());
        Self::spawn(command)
    }

    /// By a command that becomes protover.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let (send, stderr) = std::sync::mpsc::channel();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(send.send(line))));
        let mut served = Self { child, address: SocketAddr::from(([0; 4], 0)), stderr, began: String::new() };
        let line = loop {
            let line = served.says("");
            served.began += &line;
            if line.contains("\"listening\"") {
                break line;
            }
        };
        let line: Value = serde_json::from_str(&line).unwrap();
        served.address = line["address"].as_str().or(line["fields"]["address"].as_str()).unwrap().parse().unwrap();
        served
    }

    /// The next line of stderr with these words.
    pub(crate) fn says(&self, words: &str) -> String {
        loop {
            let line = self.stderr.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("never says {words}"));
            if line.contains(words) {
                return line;
            }
        }
    }

    /// How often a line with these words comes until so much time has passed.
    pub(crate) fn times(&self, words: &str, span: Duration) -> usize {
        let until = Instant::now() + span;
        let mut times = 0;
        while let Ok(line) = self.stderr.recv_timeout(until.saturating_duration_since(Instant::now())) {
            times += usize::from(line.contains(words));
        }
        times
    }

    /// How much processor time it has used.
    pub(crate) fn processor(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let ticks = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2);
        // There are a hundred in a second, whatever the kernel counts in itself.
        Duration::from_millis(ticks.map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum())
    }

    pub(crate) fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap().success());
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn ended(&mut self) -> i32 {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(began.elapsed() < PATIENCE, "still running");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

pub(crate) fn write(folder: &Path, process: &str, site: &str) {
    let log = folder.parent().unwrap().join("decisions.log");
    let proxy = format!(
        "[[listener]]\nname = \"devices\"\nkind = \"dm\"\naddress = \"127.0.0.1:0\"\n[decisions]\nto = {:?}\n{process}",
        log.display().to_string()
    );
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("proxy.toml"), proxy).unwrap();
    fs::write(folder.join("site.toml"), site).unwrap();
}

async fn recommended(address: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&post("", message("1.1", "DM/1.1").as_bytes())).await.unwrap();
    let got = Answer::read(&mut stream).await;
    assert_eq!(got.status, 200, "{}", got.text());
    got.header("dm-recommended-version").map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_and_changed_files_reload_and_an_invalid_policy_changes_nothing() {
    let upstream = Upstream::start(|_| Does::Answer(ok(XML, answer("1.1", "DM/1.1", "").as_bytes()))).await;
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("policies");
    write(&folder, "", &site(upstream.address, "[\"DM/1.1\"]", ""));
    let mut served = Served::start(&folder, &[]);
    assert_eq!(recommended(served.address).await, None);

    write(&folder, "", &site(upstream.address, "[\"DM/1.1\", \"DM/1.2\"]", ""));
    served.signal("HUP");
    served.says("policies reloaded");
    assert_eq!(recommended(served.address).await.as_deref(), Some("DM/1.2"));

    write(&folder, "", "[site]\nname = 3\nnonsense = true\n");
    let said = served.says("not reloaded");
    assert!(said.contains("a file changed") && said.contains("P0"), "{said}");
    assert_eq!(recommended(served.address).await.as_deref(), Some("DM/1.2"));

    write(&folder, "", &site(upstream.address, "[\"DM/1.1\", \"DM/1.3\"]", ""));
    served.says("policies reloaded");
    assert_eq!(recommended(served.address).await.as_deref(), Some("DM/1.3"));

    served.signal("TERM");
    assert_eq!(served.ended(), 0);
    let lines = fs::read_to_string(home.path().join("decisions.log")).unwrap();
    assert_eq!(lines.lines().count(), 4, "{lines}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_sigterm_stops_at_once_and_no_line_is_lost() {
    let upstream = Upstream::start(|_| Does::AnswerAndStall(Vec::new())).await;
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("policies");
    write(&folder, "", &site(upstream.address, "[\"DM/1.1\"]", ""));
    let mut served = Served::start(&folder, &[]);
    let mut busy = TcpStream::connect(served.address).await.unwrap();
    busy.write_all(&post("", message("1.1", "DM/1.1").as_bytes())).await.unwrap();
    while upstream.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    served.signal("TERM");
    served.says("draining");
    let began = Instant::now();
    served.signal("TERM");
    assert_eq!(served.ended(), 0);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    let lines = fs::read_to_string(home.path().join("decisions.log")).unwrap();
    assert_eq!(lines.lines().count(), 1);
    let line: Value = serde_json::from_str(&lines).unwrap();
    assert_eq!(line["reason"], "draining");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_imei_or_a_credential_reaches_no_log_at_any_level() {
    const SECRETS: [&str; 4] = ["493005100592800", "Zm9vOmJhcg==", "c2VjcmV0LW5vbmNl", "hunter2"];
    let cred =
        "<Cred><Meta><Type xmlns=\"syncml:metinf\">syncml:auth-basic</Type></Meta><Data>Zm9vOmJhcg==</Data></Cred></SyncHdr>";
    let chal = "<Chal><Meta><NextNonce xmlns=\"syncml:metinf\">c2VjcmV0LW5vbmNl</NextNonce></Meta></Chal>";
    for device in ["hash", "omit"] {
        let upstream = Upstream::start(move |seen| {
            if String::from_utf8_lossy(&seen.body).contains("<SessionID>bad") {
                return Does::Reset;
            }
            Does::Answer(ok(XML, answer("1.1", "DM/1.1", chal).as_bytes()))
        })
        .await;
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("policies");
        let more = "[unsupported]\nthen = \"bridge\"\n[hint]\ncarriers = [\"http-header\", \"status-item\"]";
        write(&folder, &format!("device = {device:?}\n"), &site(upstream.address, "[\"DM/1.1\"]", more));
        let mut served = Served::start(&folder, &[("RUST_LOG", "trace")]);
        let good = message("1.2", "DM/1.2").replace("</SyncHdr>", cred);
        let all = [
            good.clone(),
            good.replace("DM/1.2", "DM/9.9"),
            good.replace("1.2<", "1.1<"),
            good.replace("0A<", "bad<"),
            good.replace("</VerProto>", "</Ver>"),
            good.replace("</SyncML>", ""),
            good.replace("<Data>1201", "<Data>1226"),
        ];
        for body in all {
            let mut stream = TcpStream::connect(served.address).await.unwrap();
            stream
                .write_all(&post("Authorization: Basic hunter2\r\nCookie: IMEI=493005100592800\r\n", body.as_bytes()))
                .await
                .unwrap();
            assert!(Answer::read(&mut stream).await.status >= 200);
        }
        served.signal("TERM");
        assert_eq!(served.ended(), 0);
        let mut logged = fs::read_to_string(home.path().join("decisions.log")).unwrap();
        assert_eq!(logged.lines().count(), 7);
        let hashed = logged.lines().filter(|line| serde_json::from_str::<Value>(line).unwrap()["device"].is_string()).count();
        assert_eq!(hashed > 0, device == "hash");
        while let Ok(line) = served.stderr.recv_timeout(Duration::from_millis(500)) {
            logged += &line;
            logged.push('\n');
        }
        for secret in SECRETS {
            let found = logged.lines().find(|line| line.contains(secret));
            assert_eq!(found, None, "{secret} with {device}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_share_an_address_with_each_other_and_with_no_other_process() {
    const CONNECTIONS: usize = 24;
    let upstream = Upstream::start(|_| Does::Answer(ok(XML, answer("1.1", "DM/1.1", "").as_bytes()))).await;
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("policies");
    write(&folder, "[runtime]\nworkers = 3\n", &site(upstream.address, "[\"DM/1.1\", \"DM/1.2\"]", ""));
    // The key is stronger than the variable.
    let mut served = Served::start(&folder, &[("TOKIO_WORKER_THREADS", "1")]);
    assert_eq!(sockets(served.address), 3);

    // Several requests on each, so that connections stay with their workers, and servers' are kept.
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        open.push(TcpStream::connect(served.address).await.unwrap());
    }
    for _ in 0..2 {
        for stream in &mut open {
            stream.write_all(&post("", message("1.1", "DM/1.1").as_bytes())).await.unwrap();
        }
        for stream in &mut open {
            assert_eq!(Answer::read(stream).await.header("dm-recommended-version"), Some("DM/1.2"));
        }
    }
    assert_eq!(upstream.seen().len(), 2 * CONNECTIONS);

    let other = home.path().join("other");
    write(&other, "[runtime]\nworkers = 2\n", &site(upstream.address, "[\"DM/1.1\"]", ""));
    let text = fs::read_to_string(other.join("proxy.toml")).unwrap();
    fs::write(other.join("proxy.toml"), text.replace("127.0.0.1:0", &served.address.to_string())).unwrap();
    let second = Command::new(env!("CARGO_BIN_EXE_protover")).args(["serve", "--policies"]).arg(&other).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("in use"), "{second:?}");

    served.signal("TERM");
    assert_eq!(served.ended(), 0);
    let lines = fs::read_to_string(home.path().join("decisions.log")).unwrap();
    assert_eq!(lines.lines().count(), 2 * CONNECTIONS);
}

#[test]
fn a_number_of_threads_that_is_none_is_said() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("policies");
    write(&folder, "", &site(([127, 0, 0, 1], 1).into(), "[\"DM/1.1\"]", ""));
    let mut command = Command::new(env!("CARGO_BIN_EXE_protover"));
    let ended = command.args(["serve", "--policies"]).arg(&folder).env("TOKIO_WORKER_THREADS", "many").output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("TOKIO_WORKER_THREADS is not a number"), "{ended:?}");
}
