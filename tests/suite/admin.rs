//! The admin listener, of a process of its own: what operators and their collectors see.

use std::{
    fs,
    io::Write as _,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{
    life::{Served, write},
    rig::{Answer, Does, PATIENCE, Upstream, message, nobody, ok, oracle, post, site},
};

/// A process with an admin listener, and where that is.
pub(crate) async fn served(home: &Path, admin: &str, sites: &str) -> (Served, SocketAddr) {
    served_with(home, admin, sites, |_| ()).await
}

/// The same, after something was changed in the folder with the policies.
pub(crate) async fn served_with(home: &Path, admin: &str, sites: &str, change: impl Fn(&Path)) -> (Served, SocketAddr) {
    let address = nobody().await;
    let folder = home.join("policies");
    write(&folder, &format!("[admin]\naddress = \"{address}\"\n{admin}\n"), sites);
    change(&folder);
    let served = Served::start(&folder, &[]);
    let began = Instant::now();
    while TcpStream::connect(address).await.is_err() {
        assert!(began.elapsed() < PATIENCE, "nobody listens");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    (served, address)
}

pub(crate) async fn ask(address: SocketAddr, method: &str, path: &str, more: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let host = if more.contains("Host:") { String::new() } else { format!("Host: {address}\r\n") };
    let head = format!("{method} {path} HTTP/1.1\r\n{host}{more}Connection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    Answer::read(&mut stream).await
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, "GET", path, "").await
}

async fn send(served: &Served, body: &str) {
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(&post("Connection: close\r\n", body.as_bytes())).await.unwrap();
    assert_eq!(Answer::read(&mut stream).await.status, 200);
}

/// Names of families and samples in the text of `/metrics`.
fn names(metrics: &str) -> Vec<String> {
    let samples = metrics.lines().filter(|line| !line.starts_with('#'));
    let mut names: Vec<String> =
        samples.filter_map(|line| line.split(['{', ' ']).next()).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_sites_and_metrics_are_there_to_be_looked_at() {
    let upstream = Upstream::start(|seen| Does::Answer(ok("application/vnd.syncml.dm+xml", &seen.body))).await;
    let home = tempfile::tempdir().unwrap();
    let (served, admin) = served(home.path(), "", &site(upstream.address, "[\"DM/1.1\", \"DM/1.2\"]", "")).await;
    let mut decisions = Value::Null;
    for (before, version) in ["DM/1.1", "DM/1.2", "DM/9.9"].into_iter().enumerate() {
        send(&served, &message("1.2", version)).await;
        // The record is written when the last byte has gone, which the client may know first.
        let began = Instant::now();
        while decisions.as_array().map_or(0, Vec::len) <= before {
            decisions = serde_json::from_slice(&get(admin, "/decisions").await.body).unwrap();
            assert!(began.elapsed() < PATIENCE, "{decisions}");
        }
    }
    let said: Vec<&str> = decisions.as_array().unwrap().iter().map(|line| line["verdict"].as_str().unwrap()).collect();
    assert_eq!(said, ["refuse", "pass", "advise"], "the newest first");
    for (query, count) in [("limit=2", 2), ("verdict=pass", 1), ("reason=unrecognised-version", 1), ("site=s", 3), ("site=x", 0)]
    {
        let got: Value = serde_json::from_slice(&get(admin, &format!("/decisions?{query}")).await.body).unwrap();
        assert_eq!(got.as_array().unwrap().len(), count, "{query}");
    }
    assert_eq!(get(admin, "/decisions?colour=red").await.status, 400);

    let sites: Value = serde_json::from_slice(&get(admin, "/sites").await.body).unwrap();
    assert_eq!((&sites[0]["name"], &sites[0]["servers"][0]["speaks"][1]), (&"s".into(), &"DM/1.2".into()), "{sites}");

    let text = get(admin, "/metrics").await.text();
    for sample in [
        "protover_decisions_total{site=\"s\",kind=\"message\",declared=\"unrecognised\",verdict=\"refuse\",reason=\"unrecognised-version\"} 1",
        "protover_decisions_total{site=\"s\",kind=\"message\",declared=\"DM/1.1\",verdict=\"advise\",reason=\"supported-not-recommended\"} 1",
        "protover_duration_seconds_count{site=\"s\"} 3",
        "protover_upstream_seconds_count{site=\"s\",server=\"upstream\"} 2",
        "protover_draining 0",
        "protover_reloads_total{result=\"ok\"} 0",
    ] {
        assert!(text.contains(sample), "{sample}\n{text}");
    }
    assert!(!text.contains("9.9"), "what a client says is no label");

    let page = get(admin, "/").await.text();
    assert!(page.contains("<td class=\"refuse\">refuse</td>") && !page.contains("http-equiv"), "{page}");
    for (method, path, status) in
        [("GET", "/nothing", 404), ("POST", "/metrics", 405), ("GET", "/reload", 405), ("HEAD", "/livez", 200)]
    {
        assert_eq!(ask(admin, method, path, "").await.status, status, "{method} {path}");
    }
    // Admin requests are no decisions.
    let log = fs::read_to_string(home.path().join("decisions.log")).unwrap();
    assert_eq!(log.lines().count(), 3, "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_is_about_servers_and_the_drain() {
    let upstream = Upstream::start(|_| Does::AnswerAndStall(Vec::new())).await;
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("policies");
    let good = site(upstream.address, "[\"DM/1.2\"]", "");
    let (served, admin) = served(home.path(), "", &good).await;
    assert_eq!((get(admin, "/livez").await.status, get(admin, "/readyz").await.status), (200, 200));
    let dead = site(nobody().await, "[\"DM/1.2\"]", "").replace("\"s\"", "\"dead\"").replace("dm.example", "dead.example");
    fs::write(folder.join("dead.toml"), dead).unwrap();
    assert_eq!(ask(admin, "POST", "/reload", "").await.status, 200);
    tokio::time::sleep(Duration::from_millis(2100)).await;
    // Collectors see it without anybody asking whether protover is ready.
    assert!(get(admin, "/metrics").await.text().contains("protover_server_reachable{site=\"dead\",server=\"upstream\"} 0"));
    let ready = get(admin, "/readyz").await;
    assert_eq!((ready.status, ready.text().as_str()), (503, "no server can be reached of: dead\n"));
    fs::remove_file(folder.join("dead.toml")).unwrap();
    assert_eq!(ask(admin, "POST", "/reload", "").await.status, 200);
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert!(!get(admin, "/metrics").await.text().contains("site=\"dead\""), "what is gone raises no alert");

    let mut busy = TcpStream::connect(served.address).await.unwrap();
    busy.write_all(&post("", message("1.2", "DM/1.2").as_bytes())).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    served.signal("TERM");
    let began = Instant::now();
    loop {
        let ready = get(admin, "/readyz").await;
        if ready.text() == "draining: 1 connections are open\n" {
            assert_eq!(ready.status, 503);
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{}", ready.text());
    }
    assert_eq!(get(admin, "/livez").await.status, 200, "it lives while it drains");
    let reload = ask(admin, "POST", "/reload", "").await;
    assert!(reload.status == 422 && reload.text().contains("shutting down"), "{}", reload.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_answers_with_the_diagnostics() {
    let upstream = Upstream::echoing().await;
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("policies");
    let good = site(upstream.address, "[\"DM/1.2\"]", "");
    let (_served, admin) = served(home.path(), "", &good).await;
    let reload = async || {
        let answer = ask(admin, "POST", "/reload", "").await;
        assert_eq!(answer.header("content-type"), Some("application/json"));
        (answer.status, serde_json::from_slice::<Value>(&answer.body).unwrap())
    };
    let (status, said) = reload().await;
    assert_eq!((status, &said["reloaded"]), (200, &true.into()), "{said}");
    let people = async || ask(admin, "POST", "/reload", "Accept: text/plain\r\n").await;
    let said = people().await;
    assert_eq!((said.header("content-type"), said.text().as_str()), (Some("text/plain; charset=utf-8"), "reloaded\n"));
    let process = fs::read_to_string(folder.join("proxy.toml")).unwrap();
    fs::write(folder.join("proxy.toml"), format!("{process}[limits]\nconnections = 77\n")).unwrap();
    let said = people().await.text();
    assert_eq!(said, "reloaded\nlimits.connections: this change needs a restart; the old value stays\n");
    fs::write(folder.join("broken.toml"), "[site]\nnames = 1\n").unwrap();
    let (status, said) = reload().await;
    assert_eq!((status, &said["reloaded"]), (422, &false.into()));
    assert!(said["diagnostics"].as_str().unwrap().contains("error[P0102]"), "{said}");
    let said = people().await;
    let (status, said) = (said.status, said.text());
    assert!(status == 422 && said.starts_with("not reloaded: the old policies stay in force\n"), "{said}");
    assert!(said.contains("\nerror[P0102]"), "{said}");
    let text = get(admin, "/metrics").await.text();
    // A file that was changed may have been noticed besides.
    for result in ["failed", "ok"] {
        let none = format!("protover_reloads_total{{result=\"{result}\"}} 0");
        assert!(!text.contains(&none) && text.contains(none.trim_end_matches('0')), "{text}");
    }
    // A page elsewhere cannot make the operator's browser do it, by a name of its own or by a form.
    for more in ["Host: evil.example\r\n", "Origin: https://evil.example\r\n"] {
        assert_eq!(ask(admin, "POST", "/reload", more).await.status, 403, "{more}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_token_nobody_is_let_in_without() {
    let upstream = Upstream::echoing().await;
    let home = tempfile::tempdir().unwrap();
    let token = home.path().join("token");
    fs::write(&token, "s3same\n").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let key = format!("token_file = {:?}", token.display().to_string());
    let (_served, admin) = served(home.path(), &key, &site(upstream.address, "[\"DM/1.2\"]", "")).await;
    for (more, status) in [
        ("", 401),
        ("Authorization: Bearer wrong\r\n", 401),
        ("Authorization: Basic s3same\r\n", 401),
        ("Authorization: Bearer s3same\r\n", 200),
        ("Host: proxy.example\r\nAuthorization: Bearer s3same\r\n", 200),
    ] {
        assert_eq!(ask(admin, "GET", "/metrics", more).await.status, status, "{more}");
    }
    // A token that others may read is none.
    fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).unwrap();
    let folder = home.path().join("policies");
    let output = Command::new(env!("CARGO_BIN_EXE_protover")).args(["serve", "--policies"]).arg(&folder).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("others may read this file"));
    // Nor is an empty one, which everybody knows.
    fs::write(&token, "\n").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_protover")).args(["serve", "--policies"]).arg(&folder).output().unwrap();
    assert!(output.status.code() == Some(1) && String::from_utf8_lossy(&output.stderr).contains("there is no token in it"));
}

/// Reads the decisions until there are so many.
async fn decisions(admin: SocketAddr, query: &str, count: usize) -> Vec<Value> {
    let began = Instant::now();
    loop {
        let read: Vec<Value> = serde_json::from_slice(&get(admin, &format!("/decisions{query}")).await.body).unwrap();
        if read.len() == count {
            return read;
        }
        assert!(began.elapsed() < PATIENCE, "{read:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_decisions_are_kept_and_no_more() {
    let upstream = Upstream::echoing().await;
    let home = tempfile::tempdir().unwrap();
    let (served, admin) = served(home.path(), "ring = 3", &site(upstream.address, "[\"DM/1.2\"]", "")).await;
    let sessions = |read: &[Value]| read.iter().map(|line| line["session"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    for number in 1..=5_usize {
        send(&served, &message("1.2", "DM/1.2").replace(">0A<", &format!(">{number}<"))).await;
        // One after the other: the order is the one in which they are written.
        let began = Instant::now();
        while sessions(&decisions(admin, "", number.min(3)).await)[0] != number.to_string() {
            assert!(began.elapsed() < PATIENCE, "{number} is not there");
        }
    }
    assert_eq!(sessions(&decisions(admin, "", 3).await), ["5", "4", "3"]);
    assert_eq!(sessions(&decisions(admin, "?limit=1000000", 3).await), ["5", "4", "3"]);
    assert_eq!(sessions(&decisions(admin, "?limit=1", 1).await), ["5"]);
    assert!(decisions(admin, "?limit=0", 0).await.is_empty());
    for wrong in ["-1", "1e3", "99999999999999999999999"] {
        assert_eq!(get(admin, &format!("/decisions?limit={wrong}")).await.status, 400, "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_that_are_hidden_in_the_log_are_hidden_here_too() {
    for how in ["omit", "hash"] {
        let upstream = Upstream::echoing().await;
        let home = tempfile::tempdir().unwrap();
        let policy = site(upstream.address, "[\"DM/1.2\"]", "");
        let (served, admin) = served_with(home.path(), "", &policy, |folder| {
            let process = fs::read_to_string(folder.join("proxy.toml")).unwrap();
            let hidden = process.replace("[decisions]", &format!("[decisions]\ndevice = \"{how}\""));
            fs::write(folder.join("proxy.toml"), hidden).unwrap();
        })
        .await;
        send(&served, &message("1.2", "DM/1.2")).await;
        let device = decisions(admin, "", 1).await[0]["device"].clone();
        assert_eq!(device.is_null(), how == "omit", "{device}");
        for path in ["/decisions", "/", "/metrics", "/sites"] {
            let text = get(admin, path).await.text();
            assert!(!text.contains("493005100592800"), "{how} {path}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_say_is_no_markup_on_the_page() {
    const HOSTILE: &str = "&lt;script&gt;alert(1)&lt;/script&gt;\"'&amp;";
    let upstream = Upstream::echoing().await;
    let home = tempfile::tempdir().unwrap();
    let (served, admin) = served(home.path(), "", &site(upstream.address, "[\"DM/1.2\"]", "")).await;
    let hostile = message("1.2", HOSTILE)
        .replace(">0A<", &format!(">{HOSTILE}<"))
        .replace("IMEI:493005100592800", HOSTILE)
        .replace("<MsgID>1<", &format!("<MsgID>{HOSTILE}<"));
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let agent = "User-Agent: <script>alert(1)</script>\r\nConnection: close\r\n";
    stream.write_all(&post(agent, hostile.as_bytes())).await.unwrap();
    Answer::read(&mut stream).await;
    let line = &decisions(admin, "", 1).await[0];
    assert_eq!(line["declared"], "<script>alert(1)</script>\"'&", "it came as far as the log");
    let page = get(admin, "/").await;
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let page = page.text();
    assert!(page.contains("<td>&lt;script&gt;alert(1)&lt;/script&gt;&quot;&apos;&amp;</td>"), "{page}");
    assert!(!page.contains("<script"), "{page}");
    assert!(!get(admin, "/metrics").await.text().contains("script"), "what a client says is no label");
}

/// Metric names in a text of PromQL.
fn asked_for(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let mut names: Vec<String> = words.filter(|word| word.starts_with("protover_")).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dashboard_and_alerts_ask_for_metrics_that_there_are() {
    let upstream = Upstream::start(|seen| Does::Answer(ok("application/vnd.syncml.dm+xml", &seen.body))).await;
    let home = tempfile::tempdir().unwrap();
    let certs = home.path().join("certs");
    let made = Command::new(env!("CARGO_BIN_EXE_protover")).args(["certs", "init", "--dir"]).arg(&certs).status().unwrap();
    assert!(made.success());
    let tls = format!(
        "[[listener]]\nname = \"tls\"\naddress = \"127.0.0.1:0\"\ntls = {{ certificate = {:?}, key = {:?} }}",
        certs.join("server.pem").display().to_string(),
        certs.join("server.key").display().to_string()
    );
    let policy = site(upstream.address, "[\"DM/1.2\"]", "") + "\nhealth = { path = \"/\", interval = \"100ms\" }\n";
    let (served, admin) = served(home.path(), &format!("{tls}\n[limits]\nconnections = 1"), &policy).await;
    send(&served, &message("1.2", "DM/1.2")).await;
    // The connection before may still be counted.
    let _kept = loop {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(&post("", message("1.2", "DM/9.9").as_bytes())).await.unwrap();
        if Answer::read(&mut stream).await.status == 200 {
            break stream;
        }
    };
    let mut turned_away = TcpStream::connect(served.address).await.unwrap();
    assert_eq!(Answer::read(&mut turned_away).await.status, 503);
    // As above: the record may come after the answer, and so may the first health check.
    let began = Instant::now();
    let mut text = String::new();
    let last = ["protover_syncml_status_total{", "protover_connections_failed_total{", "protover_address_healthy{"];
    while !last.iter().all(|family| text.contains(family)) {
        text = get(admin, "/metrics").await.text();
        assert!(began.elapsed() < PATIENCE, "{text}");
    }
    let there = names(&text);
    let dashboard = include_str!("../../dist/grafana/protover.json");
    let rules = include_str!("../../dist/prometheus/protover.rules.yml");
    serde_json::from_str::<Value>(dashboard).unwrap();
    for (file, least) in [(dashboard, 8), (rules, 6)] {
        let asked = asked_for(file);
        assert!(asked.len() >= least, "{asked:?}");
        for name in asked {
            assert!(there.contains(&name), "{name} is not in {there:?}");
        }
    }
}

#[test]
fn promtool_takes_the_alert_rules() {
    if !oracle("promtool") {
        return;
    }
    let output = Command::new("promtool").args(["check", "rules", "dist/prometheus/protover.rules.yml"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promtool_takes_the_metrics() {
    if !oracle("promtool") {
        return;
    }
    let upstream = Upstream::echoing().await;
    let home = tempfile::tempdir().unwrap();
    let (served, admin) = served(home.path(), "", &site(upstream.address, "[\"DM/1.2\"]", "")).await;
    send(&served, &message("1.2", "DM/1.2")).await;
    let text = get(admin, "/metrics").await.text();
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
}
