//! A decision log that is rotated while lines are written to it.

use std::{
    collections::HashSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet};

use crate::{
    life::{Served, write},
    rig::{Answer, Upstream, message, oracle, post, site},
};

/// Policies with the log at a path.
fn policies(home: &Path, log: &Path, upstream: &Upstream) -> PathBuf {
    let folder = home.join("policies");
    write(&folder, "", &site(upstream.address, "[\"DM/1.1\"]", ""));
    let text = fs::read_to_string(folder.join("proxy.toml")).unwrap();
    let usual = home.join("decisions.log").display().to_string();
    fs::write(folder.join("proxy.toml"), text.replace(&usual, &log.display().to_string())).unwrap();
    folder
}

/// Clients that ask without a pause until they are told to stop, and how often each did.
struct Load {
    over: Arc<AtomicBool>,
    clients: JoinSet<usize>,
}

impl Load {
    fn start(served: &Served) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for _ in 0..4 {
            let (over, address) = (Arc::clone(&over), served.address);
            clients.spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                let mut sent = 0;
                while !over.load(Ordering::Relaxed) {
                    stream.write_all(&post("", message("1.1", "DM/1.1").as_bytes())).await.unwrap();
                    assert_eq!(Answer::read(&mut stream).await.status, 200);
                    sent += 1;
                }
                sent
            });
        }
        Self { over, clients }
    }

    async fn end(self) -> usize {
        self.over.store(true, Ordering::Relaxed);
        self.clients.join_all().await.into_iter().sum()
    }
}

async fn ask(served: &Served) {
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(&post("", message("1.1", "DM/1.1").as_bytes())).await.unwrap();
    assert_eq!(Answer::read(&mut stream).await.status, 200);
}

/// The identifiers in a file of whole lines.
fn ids(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{} ends in half a line", path.display());
    text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned()).collect()
}

/// Every line is in one of the files, and in one only.
fn assert_whole(files: &[PathBuf], sent: usize) {
    let ids: Vec<String> = files.iter().flat_map(|file| ids(file)).collect();
    assert_eq!(ids.len(), sent);
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), sent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigusr1_opens_the_log_again_and_every_line_is_in_one_of_the_files() {
    let upstream = Upstream::echoing().await;
    let home = tempfile::tempdir().unwrap();
    let log = home.path().join("decisions.log");
    let mut served = Served::start(&policies(home.path(), &log, &upstream), &[]);
    let load = Load::start(&served);
    let mut files = vec![log.clone()];
    for round in 0..5 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let old = home.path().join(format!("decisions.log.{round}"));
        fs::rename(&log, &old).unwrap();
        served.signal("USR1");
        served.says("decision log opened again");
        assert!(log.exists());
        let size = fs::metadata(&old).unwrap().len();
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert_eq!(fs::metadata(&old).unwrap().len(), size, "nothing goes into the old file once it is said");
        files.push(old);
    }
    let sent = load.end().await;
    served.signal("TERM");
    assert_eq!(served.ended(), 0);
    assert_whole(&files, sent);
    assert!(files.iter().all(|file| !ids(file).is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_cannot_be_opened_again_goes_on_in_the_old_file() {
    let upstream = Upstream::echoing().await;
    let home = tempfile::tempdir().unwrap();
    let (folder, away) = (home.path().join("logs"), home.path().join("away"));
    fs::create_dir(&folder).unwrap();
    let log = folder.join("decisions.log");
    let mut served = Served::start(&policies(home.path(), &log, &upstream), &[]);
    ask(&served).await;

    fs::rename(&folder, &away).unwrap();
    served.signal("USR1");
    let said = served.says("goes on in the file that was there");
    assert!(said.contains(&log.display().to_string()), "{said}");
    // Also once the path has been looked at again.
    for _ in 0..3 {
        ask(&served).await;
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    assert_eq!(ids(&away.join("decisions.log")).len(), 4);

    fs::create_dir(&folder).unwrap();
    served.signal("USR1");
    served.says("decision log opened again");
    ask(&served).await;
    served.signal("TERM");
    assert_eq!(served.ended(), 0);
    assert_eq!(ids(&away.join("decisions.log")).len(), 4);
    assert_eq!(ids(&log).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logrotate_with_the_example_loses_no_line() {
    if !oracle("logrotate") {
        return;
    }
    let upstream = Upstream::echoing().await;
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("logs");
    fs::create_dir(&folder).unwrap();
    let log = folder.join("decisions.log");
    let mut served = Served::start(&policies(home.path(), &log, &upstream), &[]);
    let signal = "systemctl kill --signal=USR1 protover.service";
    let example = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/dist/logrotate/protover")).unwrap();
    assert!(example.contains(signal), "{example}");
    let user = "    su protover protover\n";
    assert!(example.contains(user), "{example}");
    let here = example.replace("/var/log/protover", &folder.display().to_string()).replace(user, "");
    let configuration = home.path().join("logrotate.conf");
    fs::write(&configuration, here.replace(signal, &format!("kill -USR1 {}", served.id()))).unwrap();
    fs::set_permissions(&configuration, fs::Permissions::from_mode(0o644)).unwrap();

    let load = Load::start(&served);
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let state = home.path().join("state");
        let done = Command::new("logrotate").args(["--force", "--state"]).args([&state, &configuration]).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        served.says("decision log opened again");
    }
    let sent = load.end().await;
    served.signal("TERM");
    assert_eq!(served.ended(), 0);
    assert!(
        Command::new("gunzip")
            .args([folder.join("decisions.log.2.gz"), folder.join("decisions.log.3.gz")])
            .status()
            .unwrap()
            .success()
    );
    let files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 4, "{files:?}");
    assert_whole(&files, sent);
}
