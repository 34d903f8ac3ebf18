//! What collectors are told: of a process, over the wire.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};

use crate::{
    admin::{ask, get, served},
    life::Served,
    rig::{Answer, Does, PATIENCE, Upstream, nobody, ok},
    upstream::{at, in_session},
};

const XML: &str = "application/vnd.syncml.dm+xml";

/// The value of a sample.
fn value(metrics: &str, sample: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')).map(|value| value.parse().unwrap())
}

async fn metrics(admin: SocketAddr) -> String {
    get(admin, "/metrics").await.text()
}

/// Waits until a sample has a value; `None` when there is no such sample.
async fn until(admin: SocketAddr, sample: &str, expected: Option<f64>) {
    let began = Instant::now();
    loop {
        let text = metrics(admin).await;
        if value(&text, sample) == expected {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{sample} is not {expected:?}:\n{text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The first message of a session of its own.
async fn begins(served: &Served, session: u32) -> u16 {
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(&in_session(&session.to_string(), 1)).await.unwrap();
    Answer::read(&mut stream).await.status
}

/// The name of a sample of an address.
fn of(family: &str, address: SocketAddr) -> String {
    format!("protover_address_{family}{{site=\"s\",server=\"upstream\",address=\"http://{address}/\"}}")
}

fn failures(kind: &str, address: SocketAddr) -> String {
    of("failures_total", address).replace('}', &format!(",failure=\"{kind}\"}}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ejection_of_an_address_and_its_return_are_seen() {
    let ill = nobody().await;
    let good = Upstream::echoing().await;
    let home = tempfile::tempdir().unwrap();
    let policy = home.path().join("policies/site.toml");
    let (served, admin) = served(home.path(), "", &at(&[ill, good.address], "eject_after = 2")).await;
    for sample in [of("requests_total", ill), of("ejections_total", ill), of("ejected", ill), failures("unreachable", ill)] {
        assert_eq!(value(&metrics(admin).await, &sample), Some(0.0), "known before it is used: {sample}");
    }
    // Nobody listens there, so each message that goes there first goes to the other one too.
    let mut session = 0;
    while value(&metrics(admin).await, &of("ejected", ill)) == Some(0.0) {
        assert_eq!(begins(&served, session).await, 200);
        session += 1;
        assert!(session < 100, "never ejected");
    }
    let text = metrics(admin).await;
    assert_eq!(value(&text, &failures("unreachable", ill)), Some(2.0), "{text}");
    assert_eq!(value(&text, &of("requests_total", ill)), Some(2.0));
    assert_eq!(value(&text, &of("ejections_total", ill)), Some(1.0));
    assert_eq!(value(&text, &of("ejected", good.address)), Some(0.0));
    assert!(value(&text, &of("healthy", ill)).is_none(), "nobody asks how it is");

    let back = Upstream::at(TcpListener::bind(ill).await.unwrap(), |seen| Does::Answer(ok(XML, &seen.body)));
    until(admin, &of("ejected", ill), Some(0.0)).await;
    while back.seen().is_empty() {
        assert_eq!(begins(&served, session).await, 200);
        session += 1;
        assert!(session < 100, "never asked again");
    }
    until(admin, &of("requests_total", ill), Some(3.0)).await;
    until(admin, &of("requests_in_flight", ill), Some(0.0)).await;
    let before = metrics(admin).await;
    assert_eq!(value(&before, &of("ejections_total", ill)), Some(1.0), "{before}");
    assert_eq!(value(&before, &failures("unreachable", ill)), Some(2.0));

    // Another policy with the same server: what was counted stays. Another server by the same name: it begins anew.
    let text = fs::read_to_string(&policy).unwrap();
    fs::write(&policy, text.replace("[site]", "[site]\nrecommend = [\"DM/1.2\"]")).unwrap();
    assert_eq!(ask(admin, "POST", "/reload", "").await.status, 200);
    let after = metrics(admin).await;
    for family in ["requests_total", "ejections_total"] {
        assert_eq!(value(&after, &of(family, ill)), value(&before, &of(family, ill)), "{family}");
    }
    fs::write(&policy, text.replace("eject_after = 2", "eject_after = 3")).unwrap();
    assert_eq!(ask(admin, "POST", "/reload", "").await.status, 200);
    assert_eq!(value(&metrics(admin).await, &of("requests_total", ill)), Some(0.0));
    fs::write(&policy, at(&[good.address], "")).unwrap();
    assert_eq!(ask(admin, "POST", "/reload", "").await.status, 200);
    assert!(!metrics(admin).await.contains(&ill.to_string()), "what is gone raises no alert");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_of_failure_and_health_are_told_apart() {
    let ill = Arc::new(AtomicBool::new(true));
    let is_ill = Arc::clone(&ill);
    let checked = Upstream::start(move |seen| match seen.head.starts_with("GET /health ") {
        true if is_ill.load(Ordering::Relaxed) => Does::Answer(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".to_vec()),
        _ => Does::Answer(ok(XML, &seen.body)),
    })
    .await;
    let resets = Upstream::start(|_| Does::Reset).await;
    let slow = Upstream::start(|_| Does::AnswerAndStall(Vec::new())).await;
    let home = tempfile::tempdir().unwrap();
    let mut policies = Vec::new();
    for (name, server, more) in [
        ("checked", checked.address, "health = { path = \"/health\", interval = \"100ms\" }"),
        ("resets", resets.address, ""),
        ("slow", slow.address, "max_pending = 1"),
    ] {
        let policy =
            at(&[server], more).replace("\"s\"", &format!("\"{name}\"")).replace("dm.example", &format!("{name}.example"));
        policies.push(policy);
    }
    let (served, admin) = served(home.path(), "[limits]\nupstream_timeout = \"3s\"", &policies[0]).await;
    for (name, policy) in [("resets.toml", &policies[1]), ("slow.toml", &policies[2])] {
        fs::write(home.path().join("policies").join(name), policy).unwrap();
    }
    assert_eq!(ask(admin, "POST", "/reload", "").await.status, 200);
    let of = |family: &str, site: &str, address| of(family, address).replace("\"s\"", &format!("\"{site}\""));
    let failed = |kind: &str, site: &str, address| failures(kind, address).replace("\"s\"", &format!("\"{site}\""));
    until(admin, &of("healthy", "checked", checked.address), Some(0.0)).await;
    ill.store(false, Ordering::Relaxed);
    until(admin, &of("healthy", "checked", checked.address), Some(1.0)).await;

    let sends = async |site: &str| {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        let raw = String::from_utf8(in_session("1", 1)).unwrap().replace("dm.example", &format!("{site}.example"));
        stream.write_all(raw.as_bytes()).await.unwrap();
        stream
    };
    let mut stream = sends("resets").await;
    assert_eq!(Answer::read(&mut stream).await.status, 502);
    until(admin, &failed("broke", "resets", resets.address), Some(1.0)).await;

    let mut first = sends("slow").await;
    until(admin, &of("requests_in_flight", "slow", slow.address), Some(1.0)).await;
    let mut second = sends("slow").await;
    assert_eq!(Answer::read(&mut second).await.status, 503);
    until(admin, &failed("busy", "slow", slow.address), Some(1.0)).await;
    assert_eq!(Answer::read(&mut first).await.status, 504);
    until(admin, &failed("too-slow", "slow", slow.address), Some(1.0)).await;
    until(admin, &of("requests_in_flight", "slow", slow.address), Some(0.0)).await;
    let text = metrics(admin).await;
    assert_eq!(value(&text, &of("requests_total", "slow", slow.address)), Some(1.0), "what was busy was not sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_sites_at_one_server_are_counted_apart_also_after_a_reload() {
    let upstream = Upstream::echoing().await;
    let home = tempfile::tempdir().unwrap();
    let first = at(&[upstream.address], "");
    let (served, admin) = served(home.path(), "", &first).await;
    let other = first.replace("\"s\"", "\"other\"").replace("dm.example", "other.example");
    fs::write(home.path().join("policies/other.toml"), other).unwrap();
    assert_eq!(begins(&served, 1).await, 200);
    let (its, others) =
        (of("requests_total", upstream.address), of("requests_total", upstream.address).replace("\"s\"", "\"other\""));
    until(admin, &its, Some(1.0)).await;
    for _ in 0..2 {
        assert_eq!(ask(admin, "POST", "/reload", "").await.status, 200);
        let text = metrics(admin).await;
        assert_eq!((value(&text, &its), value(&text, &others)), (Some(1.0), Some(0.0)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_text_formats_have_the_same_samples() {
    let upstream = Upstream::echoing().await;
    let home = tempfile::tempdir().unwrap();
    let (served, admin) = served(home.path(), "", &at(&[upstream.address], "")).await;
    assert_eq!(begins(&served, 1).await, 200);
    until(admin, "protover_duration_seconds_count{site=\"s\"}", Some(1.0)).await;
    let plain = get(admin, "/metrics").await;
    assert_eq!(plain.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let accept = "Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2\r\n";
    let open = ask(admin, "GET", "/metrics", accept).await;
    assert_eq!(open.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    let (plain, open) = (plain.text(), open.text());
    assert!(open.ends_with("# EOF\n") && !plain.contains("# EOF"), "{open}");
    assert!(open.contains("# TYPE protover_decisions counter") && plain.contains("# TYPE protover_decisions_total counter"));
    // But for buckets, whose labels have another order.
    let samples = |text: &str| -> Vec<String> {
        let mut names: Vec<_> = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.contains("_bucket{"))
            .map(|line| line.split(' ').next().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(samples(&plain), samples(&open));
    assert!(samples(&plain).len() > 25, "{plain}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_requests_and_refusals_are_seen() {
    let slow = Upstream::start(|_| Does::AnswerAndStall(Vec::new())).await;
    let home = tempfile::tempdir().unwrap();
    let (served, admin) =
        served(home.path(), "[limits]\nconnections = 2\nupstream_timeout = \"3s\"", &at(&[slow.address], "")).await;
    let (open, accepted) =
        ("protover_connections{listener=\"devices\"}", "protover_connections_accepted_total{listener=\"devices\"}");
    let idle = TcpStream::connect(served.address).await.unwrap();
    let mut refused = TcpStream::connect(served.address).await.unwrap();
    let raw = String::from_utf8(in_session("1", 1)).unwrap().replace("DM/1.2", "DM/9.9");
    refused.write_all(raw.as_bytes()).await.unwrap();
    assert_eq!(Answer::read(&mut refused).await.status, 200);
    until(admin, "protover_syncml_status_total{site=\"s\",status=\"513\"}", Some(1.0)).await;
    refused.write_all(&in_session("2", 1)).await.unwrap();
    until(admin, "protover_requests_in_flight", Some(1.0)).await;
    until(admin, open, Some(2.0)).await;
    let mut third = TcpStream::connect(served.address).await.unwrap();
    assert_eq!(Answer::read(&mut third).await.status, 503);
    until(admin, "protover_connections_failed_total{listener=\"devices\",reason=\"overloaded\"}", Some(1.0)).await;
    until(admin, open, Some(2.0)).await;
    assert_eq!(Answer::read(&mut refused).await.status, 504);
    drop((idle, refused));
    until(admin, "protover_requests_in_flight", Some(0.0)).await;
    until(admin, open, Some(0.0)).await;
    until(admin, accepted, Some(3.0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_reload_is_seen_until_one_succeeds() {
    let upstream = Upstream::echoing().await;
    let home = tempfile::tempdir().unwrap();
    let (_served, admin) = served(home.path(), "", &at(&[upstream.address], "")).await;
    let (result, at) = ("protover_config_last_reload_successful", "protover_config_last_reload_success_timestamp_seconds");
    let started = value(&metrics(admin).await, at).unwrap();
    assert!(started > 1.7e9, "{started}");
    assert_eq!(value(&metrics(admin).await, result), Some(1.0), "the start counts");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let broken = home.path().join("policies/broken.toml");
    fs::write(&broken, "[site]\nnames = 1\n").unwrap();
    assert_eq!(ask(admin, "POST", "/reload", "").await.status, 422);
    let text = metrics(admin).await;
    assert_eq!((value(&text, result), value(&text, at)), (Some(0.0), Some(started)));
    fs::remove_file(&broken).unwrap();
    assert_eq!(ask(admin, "POST", "/reload", "").await.status, 200);
    let text = metrics(admin).await;
    assert_eq!(value(&text, result), Some(1.0));
    assert!(value(&text, at).unwrap() > started);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_that_wait_are_seen_till_they_are_written() {
    const LINES: u32 = 200;
    let upstream = Upstream::echoing().await;
    let home = tempfile::tempdir().unwrap();
    let log = home.path().join("decisions.log");
    assert!(Command::new("mkfifo").arg(&log).status().unwrap().success());
    let (served, admin) = served(home.path(), "", &at(&[upstream.address], "")).await;
    assert_eq!(value(&metrics(admin).await, "protover_decision_log_writable"), Some(1.0));
    // More than a pipe holds, and nobody reads.
    for session in 0..LINES {
        assert_eq!(begins(&served, session).await, 200);
    }
    until(admin, "protover_decision_log_writable", Some(0.0)).await;
    let text = metrics(admin).await;
    let (written, pending) = ("protover_decision_lines_written_total", "protover_decision_lines_pending");
    let waiting = value(&text, pending).unwrap();
    assert!(waiting > 50.0 && waiting + value(&text, written).unwrap() == f64::from(LINES), "{text}");
    let reader = BufReader::new(fs::File::open(&log).unwrap());
    let reading = std::thread::spawn(move || reader.lines().map_while(Result::ok).take(LINES as usize).count());
    until(admin, written, Some(f64::from(LINES))).await;
    until(admin, pending, Some(0.0)).await;
    until(admin, "protover_decision_log_writable", Some(1.0)).await;
    assert_eq!(reading.join().unwrap(), LINES as usize);
}
