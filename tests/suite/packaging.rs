//! The units, as systemd reads them.

use std::{collections::HashSet, fs, path::Path, process::Command};

use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{
    life::{Served, write},
    rig::{Answer, Upstream, message, oracle, post, site},
};

const UNITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/dist/systemd");

fn said(mut command: Command) -> (bool, String) {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn systemd_analyze_takes_the_units() {
    if !oracle("systemd-analyze") {
        return;
    }
    // It wants the program to be where the unit says.
    let home = tempfile::tempdir().unwrap();
    let files = ["protover.service", "protover.socket"].map(|name| {
        let text = fs::read_to_string(Path::new(UNITS).join(name)).unwrap();
        let file = home.path().join(name);
        fs::write(&file, text.replace("/usr/bin/protover", env!("CARGO_BIN_EXE_protover"))).unwrap();
        file
    });
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no"]).args(files);
    let (well, said) = said(command);
    assert!(well && said.is_empty(), "{said}");
}

#[test]
fn systemd_analyze_finds_the_unit_no_more_exposed_than_the_readme_says() {
    if !oracle("systemd-analyze") {
        return;
    }
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let stated = readme.split("`systemd-analyze security` says ").nth(1).unwrap();
    let stated: f32 = stated.split_whitespace().next().unwrap().parse().unwrap();
    let unit = Path::new(UNITS).join("protover.service");
    let mut command = Command::new("systemd-analyze");
    command.args(["security", "--offline=true"]).arg(&unit);
    let (_, said) = said(command);
    let found = said.split("protover.service: ").nth(1).and_then(|rest| rest.split_whitespace().next());
    assert!(found.unwrap().parse::<f32>().unwrap() <= stated, "{said}");
}

/// The system calls of a set, with those of the sets in it.
fn calls(set: &str) -> HashSet<String> {
    let mut command = Command::new("systemd-analyze");
    command.args(["syscall-filter", set]);
    let (well, said) = said(command);
    assert!(well, "{said}");
    let mut found = HashSet::new();
    for word in said.lines().skip(1).map(str::trim).filter(|word| !word.is_empty() && !word.starts_with('#')) {
        if word.starts_with('@') {
            found.extend(calls(word));
        } else {
            found.insert(word.to_owned());
        }
    }
    found
}

/// What the unit lets pass.
fn allowed() -> HashSet<String> {
    let unit = fs::read_to_string(Path::new(UNITS).join("protover.service")).unwrap();
    let mut allowed = calls("@default");
    for filter in unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        match filter.strip_prefix('~') {
            Some(denied) => {
                let denied: HashSet<String> = denied.split_whitespace().flat_map(calls).collect();
                allowed.retain(|call| !denied.contains(call));
            }
            None => allowed.extend(filter.split_whitespace().flat_map(calls)),
        }
    }
    allowed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strace_sees_no_system_call_that_the_unit_forbids() {
    if !oracle("systemd-analyze") || !oracle("strace") {
        return;
    }
    if !Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status().unwrap().success() {
        eprintln!("skipped: strace may not trace here");
        return;
    }
    let upstream = Upstream::echoing().await;
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("policies");
    // By name, so that it is looked up.
    let site = site(upstream.address, "[\"DM/1.1\"]", "").replace("127.0.0.1", "localhost");
    write(&folder, "[admin]\naddress = \"127.0.0.1:0\"\n[runtime]\nworkers = 2\n", &site);
    let trace = home.path().join("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o"]).arg(&trace).args([env!("CARGO_BIN_EXE_protover"), "serve", "--policies"]).arg(&folder);
    command.stdout(std::process::Stdio::null());
    let mut served = Served::spawn(command);
    let ask = async || {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(&post("", message("1.1", "DM/1.1").as_bytes())).await.unwrap();
        Answer::read(&mut stream).await.status
    };
    assert_eq!(ask().await, 200);
    // The first process is strace: the traced one is its child.
    let children = format!("/proc/{0}/task/{0}/children", served.id());
    let traced = fs::read_to_string(children).unwrap().trim().to_owned();
    for (signal, says) in [("HUP", "policies reloaded"), ("USR1", "opened again")] {
        assert!(Command::new("kill").args([&format!("-{signal}"), &traced]).status().unwrap().success());
        served.says(says);
        assert_eq!(ask().await, 200);
    }
    assert!(Command::new("kill").args(["-TERM", &traced]).status().unwrap().success());
    assert_eq!(served.ended(), 0);

    let allowed = allowed();
    assert!(allowed.contains("epoll_wait") && !allowed.contains("mount"), "{allowed:?}");
    let text = fs::read_to_string(&trace).unwrap();
    let called = text.lines().filter_map(|line| {
        let (name, _) = line.split_once(' ')?.1.trim_start().split_once('(')?;
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_').then_some(name)
    });
    let called: HashSet<&str> = called.collect();
    assert!(called.contains("accept4") && called.contains("epoll_wait"), "{called:?}");
    let forbidden: Vec<_> = called.iter().filter(|name| !allowed.contains(**name)).collect();
    assert!(forbidden.is_empty(), "{forbidden:?}");
    // Memory is never made executable: MemoryDenyWriteExecute.
    let executable = text.lines().find(|line| line.contains("PROT_WRITE|PROT_EXEC"));
    assert_eq!(executable, None);
}
