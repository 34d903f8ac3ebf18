//! One process takes over from another under load, by the listening socket that both inherit.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet};

use crate::{
    activation::{at, with_sockets},
    life::Served,
    rig::{Answer, Does, Upstream, message, ok, post, site},
};

const XML: &str = "application/vnd.syncml.dm+xml";

/// What became of the requests of one client.
#[derive(Debug, Default)]
struct Tally {
    sent: usize,
    /// Why one got no answer with status 200.
    failed: Vec<String>,
    /// How often the answer said that the connection ends with it.
    told: usize,
    longest: Duration,
}

/// Sends a message; whether the connection may be used again.
async fn ask(stream: &mut TcpStream, tally: &mut Tally) -> bool {
    let began = Instant::now();
    let written = stream.write_all(&post("", message("1.1", "DM/1.1").as_bytes())).await;
    let got = Answer::read(stream).await;
    tally.sent += 1;
    tally.longest = tally.longest.max(began.elapsed());
    if got.status != 200 || written.is_err() {
        tally.failed.push(format!("{written:?} {}", got.head));
    }
    let last = got.header("connection") == Some("close");
    tally.told += usize::from(last);
    got.status == 200 && !last
}

/// Clients without patience: they keep their connection until they are told otherwise, or take a new one for
/// each message. None of them tries anything twice.
struct Load {
    over: Arc<AtomicBool>,
    clients: JoinSet<Tally>,
}

impl Load {
    fn start(address: SocketAddr) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for number in 0..12_u64 {
            let over = Arc::clone(&over);
            clients.spawn(async move {
                let mut tally = Tally::default();
                let mut kept: Option<TcpStream> = None;
                while !over.load(Ordering::Relaxed) {
                    let mut stream = match kept.take() {
                        Some(stream) => stream,
                        None => TcpStream::connect(address).await.unwrap(),
                    };
                    if ask(&mut stream, &mut tally).await && number % 2 == 0 {
                        kept = Some(stream);
                    }
                    // Those that pause are the ones whose idle connections could be closed under them.
                    tokio::time::sleep(Duration::from_millis(if number % 2 == 0 { number * number } else { 2 })).await;
                }
                tally
            });
        }
        Self { over, clients }
    }

    async fn end(self) -> Tally {
        self.over.store(true, Ordering::Relaxed);
        let mut all = Tally::default();
        for tally in self.clients.join_all().await {
            all.sent += tally.sent;
            all.failed.extend(tally.failed);
            all.told += tally.told;
            all.longest = all.longest.max(tally.longest);
        }
        all
    }
}

struct Rig {
    home: tempfile::TempDir,
    folder: PathBuf,
    socket: TcpListener,
    _upstream: Upstream,
}

impl Rig {
    async fn start() -> Self {
        let upstream = Upstream::start(|seen| Does::AnswerAfter(Duration::from_millis(3), ok(XML, &seen.body))).await;
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("policies");
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        at(&folder, socket.local_addr().unwrap(), "[runtime]\nworkers = 2\n", &site(upstream.address, "[\"DM/1.1\"]", ""));
        Self { home, folder, socket, _upstream: upstream }
    }

    async fn process(&self) -> Served {
        let command = with_sockets(&self.folder, vec![self.socket.try_clone().unwrap().into()], "devices");
        tokio::task::spawn_blocking(|| Served::spawn(command)).await.unwrap()
    }

    /// Both processes write into one file, each line whole, and every request has one.
    fn assert_no_request_failed(&self, tally: &Tally) {
        println!("{} requests, {} told to reconnect, longest {:?}", tally.sent, tally.told, tally.longest);
        assert!(tally.failed.is_empty(), "{} of {}: {:?}", tally.failed.len(), tally.sent, tally.failed.first());
        assert!(tally.sent > 100 && tally.told > 6, "{tally:?}");
        let passed = |line: &str| serde_json::from_str::<Value>(line).unwrap()["verdict"] == "pass";
        let lines = fs::read_to_string(Path::new(self.home.path()).join("decisions.log")).unwrap();
        assert_eq!(lines.lines().filter(|line| passed(line)).count(), tally.sent);
    }
}

/// Ends a process, without being in the way of the clients.
async fn ended(mut served: Served) {
    served.signal("TERM");
    assert_eq!(tokio::task::spawn_blocking(move || served.ended()).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_process_beside_the_old_one_takes_over_and_no_request_fails() {
    let rig = Rig::start().await;
    let mut serving = rig.process().await;
    let load = Load::start(serving.address);
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let next = rig.process().await;
        ended(std::mem::replace(&mut serving, next)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let tally = load.end().await;
    ended(serving).await;
    rig.assert_no_request_failed(&tally);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_process_after_the_old_one_serves_those_that_waited_and_no_request_fails() {
    let rig = Rig::start().await;
    let mut serving = rig.process().await;
    let load = Load::start(serving.address);
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        ended(serving).await;
        serving = rig.process().await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let tally = load.end().await;
    ended(serving).await;
    rig.assert_no_request_failed(&tally);
}
