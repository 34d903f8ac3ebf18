//! What the service manager is told, on a real socket by a real process.

use std::{fs, os::unix::net::UnixDatagram, path::Path, process::Command, time::Duration};

use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{
    life::{Served, write},
    rig::{Answer, Does, PATIENCE, Upstream, message, ok, post, site},
};

const XML: &str = "application/vnd.syncml.dm+xml";

/// A service manager, as far as it listens.
struct Manager(UnixDatagram);

impl Manager {
    fn start(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    /// The next message: its lines.
    fn told(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let read = self.0.recv(&mut buffer).expect("a message");
        String::from_utf8_lossy(&buffer[..read]).lines().map(str::to_owned).collect()
    }

    /// The next message that is no ping.
    fn told_but_pings(&self) -> Vec<String> {
        loop {
            let told = self.told();
            if told != ["WATCHDOG=1"] {
                return told;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_manager_is_told_of_start_reloads_drain_and_life() {
    let upstream = Upstream::start(|seen| Does::AnswerAfter(Duration::from_millis(2500), ok(XML, &seen.body))).await;
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("policies");
    let good = site(upstream.address, "[\"DM/1.1\"]", "");
    write(&folder, "[limits]\ndrain_timeout = \"9s\"\n[runtime]\nworkers = 3\n", &good);
    let path = home.path().join("notify");
    let manager = Manager::start(&path);
    let mut served = Served::start(&folder, &[("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "400000")]);
    let serving = ["READY=1", "STATUS=serving: 1 sites, 1 listeners"];
    assert_eq!(manager.told_but_pings(), serving);

    served.signal("HUP");
    let reloading = manager.told_but_pings();
    let since: u64 = reloading[1].strip_prefix("MONOTONIC_USEC=").unwrap().parse().unwrap();
    assert!(reloading[0] == "RELOADING=1" && since > 0, "{reloading:?}");
    assert_eq!(manager.told_but_pings(), serving);

    // Without a signal: the file may be looked at between the two, and then there are two reloads.
    fs::write(folder.join("site.toml"), "[site]\nname = 3\n").unwrap();
    assert_eq!(manager.told_but_pings()[0], "RELOADING=1");
    assert_eq!(manager.told_but_pings(), ["READY=1", "STATUS=policies not reloaded: the old ones are in force"]);

    for _ in 0..3 {
        assert_eq!(manager.told(), ["WATCHDOG=1"]);
    }

    let mut busy = TcpStream::connect(served.address).await.unwrap();
    busy.write_all(&post("", message("1.1", "DM/1.1").as_bytes())).await.unwrap();
    while upstream.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    served.signal("TERM");
    assert_eq!(manager.told_but_pings(), ["STOPPING=1", "EXTEND_TIMEOUT_USEC=19000000"]);
    for _ in 0..2 {
        assert_eq!(manager.told_but_pings(), ["STATUS=draining: 1 connections are open"]);
    }
    let got = Answer::read(&mut busy).await;
    assert_eq!((got.status, got.header("connection")), (200, Some("close")));
    assert_eq!(served.ended(), 0);
}

#[test]
fn nobody_is_told_that_it_is_ready_when_a_policy_or_an_address_cannot_be_used() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("notify");
    let manager = Manager::start(&path);
    let somebody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = somebody.local_addr().unwrap();
    let good = site(taken, "[\"DM/1.1\"]", "");
    let admin = format!("[admin]\naddress = \"{taken}\"\n");
    let listener = format!("[[listener]]\nname = \"second\"\naddress = \"{taken}\"\n");
    for (process, site, status) in [("", "[site]\nname = 3\n", 2), (&admin, &good, 1), (&listener, &good, 1)] {
        let folder = home.path().join("policies");
        write(&folder, process, site);
        let mut command = Command::new(env!("CARGO_BIN_EXE_protover"));
        let ended = command.args(["serve", "--policies"]).arg(&folder).env("NOTIFY_SOCKET", &path).output().unwrap();
        assert_eq!(ended.status.code(), Some(status), "{ended:?}");
    }
    manager.0.set_nonblocking(true).unwrap();
    assert_eq!(manager.0.recv(&mut [0; 64]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}
