use std::{
    fs,
    io::{BufRead, BufReader, PipeReader, Read, pipe},
    os::fd::OwnedFd,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use serde_json::Value;

use super::{
    Kind, Log, Open,
    destination::Destination,
    line::{KEYS, TEXT},
};
use crate::{
    policy::{
        facts::Integrity,
        reason::{Reason, Requirement, Verdict},
        site::{Decisions, DecisionsTo, DeviceIds, Mode, OnLogFailure},
    },
    syncml::{
        alert::StartedBy,
        header::Encoding,
        version::{Declared, Version},
    },
};

const IMEI: &str = "IMEI:493005100592800";

fn to(path: &Path) -> Decisions {
    Decisions { to: DecisionsTo::File(path.to_owned()), ..Decisions::default() }
}

fn open(log: &Log) -> Open {
    log.open(Arc::from("devices"), ([192, 0, 2, 7], 49152).into(), Kind::Message)
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "half a line at the end");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Waits until something holds; the disk and other threads take their time.
#[expect(clippy::disallowed_methods, reason = "a thread of its own")]
fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "not in time: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[expect(clippy::disallowed_methods, reason = "a thread of its own")]
fn pause(millis: u64) {
    thread::sleep(Duration::from_millis(millis));
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn full(log: &Log) -> Open {
    let mut open = open(log);
    open.site = Some("operator".into());
    open.server = Some("legacy".into());
    open.policy = Some("0123456789abcdef".into());
    open.mode = Some(Mode::Enforce);
    open.device = Some(log.pii(IMEI));
    open.session = Some("1F".into());
    open.message = Some("1".into());
    open.encoding = Some(Encoding::Wbxml);
    open.integrity = Some(Integrity::Hmac);
    open.started_by = Some(StartedBy::Client);
    open.declared = Some(Declared::Known(Version::DM_1_2));
    open.declared_dtd = Some("1.2".into());
    open.used = Some(Version::DM_1_1);
    open.recommended = Some(Version::DM_1_3);
    open.supported = vec![Version::DM_1_3, Version::DM_1_1];
    open.verdict = Verdict::Bridge;
    open.reason = Reason::Bridged;
    open.requirement = Some(Requirement::Server2);
    open.rule = Some("canary".into());
    open.store = Some("memory");
    open.edits = vec!["VerProto".into(), "VerDTD".into()];
    open.hints = vec!["http-header"];
    open.http_status = Some(200);
    open.syncml_status = Some(212);
    open.attempts = Some(1);
    open.bytes_in = 2048;
    open.bytes_out = 512;
    open.upstream = Some(Duration::from_micros(1500));
    open
}

/// The line with what differs from run to run replaced.
fn steady(line: &str) -> String {
    let value: Value = serde_json::from_str(line).unwrap();
    let mut line = line.to_owned();
    for key in ["ts", "id", "duration_us"] {
        let changing = format!("\"{key}\":{}", value[key]);
        assert!(line.contains(&changing), "{key} in {line}");
        line = line.replace(&changing, &format!("\"{key}\":_"));
    }
    line
}

#[test]
fn keys_order_and_forms() {
    let folder = folder();
    let path = folder.path().join("log");
    let log = Log::start(&to(&path)).unwrap();
    full(&log).finish();
    drop(open(&log));
    log.flush();
    let text = fs::read_to_string(&path).unwrap();
    let mut text = text.lines();
    insta::assert_snapshot!(steady(text.next().unwrap()), @r#"{"ts":_,"id":_,"listener":"devices","peer":"192.0.2.7:49152","site":"operator","server":"legacy","policy":"0123456789abcdef","mode":"enforce","kind":"message","device":"IMEI:493005100592800","session":"1F","message":"1","encoding":"wbxml","integrity":"hmac","started_by":"client","declared":"DM/1.2","declared_dtd":"1.2","used":"DM/1.1","recommended":"DM/1.3","supported":["DM/1.3","DM/1.1"],"verdict":"bridge","reason":"bridged","requirement":"Server-2","rule":"canary","store":"memory","edits":["VerProto","VerDTD"],"hints":["http-header"],"http_status":200,"syncml_status":212,"attempts":1,"bytes_in":2048,"bytes_out":512,"upstream_us":1500,"duration_us":_}"#);
    insta::assert_snapshot!(steady(text.next().unwrap()), @r#"{"ts":_,"id":_,"listener":"devices","peer":"192.0.2.7:49152","site":null,"server":null,"policy":null,"mode":null,"kind":"message","device":null,"session":null,"message":null,"encoding":null,"integrity":null,"started_by":null,"declared":null,"declared_dtd":null,"used":null,"recommended":null,"supported":null,"verdict":"abandon","reason":"client-gone","requirement":null,"rule":null,"store":null,"edits":null,"hints":null,"http_status":null,"syncml_status":null,"attempts":null,"bytes_in":0,"bytes_out":0,"upstream_us":null,"duration_us":_}"#);
}

#[test]
fn every_open_is_one_line_whatever_becomes_of_it() {
    const THREADS: usize = 8;
    const EACH: usize = 400;
    let folder = folder();
    let path = folder.path().join("log");
    let log = Log::start(&to(&path)).unwrap();
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let log = log.clone();
            scope.spawn(move || {
                for n in 0..EACH {
                    let open = full(&log);
                    match n % 4 {
                        0 => open.finish(),
                        1 => open.fail(Reason::UpstreamBroke),
                        2 => drop(open),
                        _ => {
                            let broken = catch_unwind(AssertUnwindSafe(move || {
                                let _open = open;
                                panic!("a handler");
                            }));
                            assert!(broken.is_err());
                        }
                    }
                }
            });
        }
    });
    std::panic::set_hook(quiet);
    log.flush();
    let lines = lines(&path);
    assert_eq!(lines.len(), THREADS * EACH);
    let count = |verdict: &str, reason: &str, status: u64| {
        lines
            .iter()
            .filter(|line| line["verdict"] == verdict && line["reason"] == reason && line["http_status"] == status)
            .count()
    };
    let quarter = THREADS * EACH / 4;
    assert_eq!(count("bridge", "bridged", 200), quarter);
    assert_eq!(count("fail", "upstream-broke", 200), quarter);
    assert_eq!(count("abandon", "client-gone", 200), quarter);
    assert_eq!(count("fail", "panic", 500), quarter);
    let mut ids: Vec<_> = lines.iter().map(|line| line["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), THREADS * EACH, "identifiers are unique");
}
