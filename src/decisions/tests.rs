mod destinations;

use std::{
    fs,
    io::{BufRead, BufReader, PipeReader, Read, Write, pipe},
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
    open.supported = [Version::DM_1_3, Version::DM_1_1].into();
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
    insta::assert_snapshot!(steady(text.next().unwrap()), @r#"{"ts":_,"id":_,"listener":"devices","peer":"192.0.2.7:49152","site":"operator","server":"legacy","policy":"0123456789abcdef","mode":"enforce","kind":"message","device":"IMEI:493005100592800","session":"1F","message":"1","encoding":"wbxml","integrity":"hmac","started_by":"client","declared":"DM/1.2","declared_dtd":"1.2","used":"DM/1.1","recommended":"DM/1.3","supported":["DM/1.3","DM/1.1"],"verdict":"bridge","reason":"bridged","requirement":"Server-2","rule":"canary","store":"memory","edits":["VerProto","VerDTD"],"hints":["http-header"],"http_status":200,"syncml_status":212,"attempts":1,"bytes_in":2048,"bytes_out":512,"upstream_us":1500,"duration_us":_,"detail":null}"#);
    insta::assert_snapshot!(steady(text.next().unwrap()), @r#"{"ts":_,"id":_,"listener":"devices","peer":"192.0.2.7:49152","site":null,"server":null,"policy":null,"mode":null,"kind":"message","device":null,"session":null,"message":null,"encoding":null,"integrity":null,"started_by":null,"declared":null,"declared_dtd":null,"used":null,"recommended":null,"supported":null,"verdict":"abandon","reason":"client-gone","requirement":null,"rule":null,"store":null,"edits":null,"hints":null,"http_status":null,"syncml_status":null,"attempts":null,"bytes_in":0,"bytes_out":0,"upstream_us":null,"duration_us":_,"detail":null}"#);
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

/// What a reader of the pipe gets, line by line.
fn through_pipe(settings: &Decisions, capacity: usize) -> (Log, PipeReader) {
    let (reader, writer) = pipe().unwrap();
    let destination = Destination::Stream(OwnedFd::from(writer).into());
    (Log::with(settings, destination, capacity).unwrap(), reader)
}

#[test]
fn dropped_while_draining() {
    let folder = folder();
    let path = folder.path().join("log");
    let log = Log::start(&to(&path)).unwrap();
    let open = open(&log);
    log.draining();
    drop(open);
    log.flush();
    let lines = lines(&path);
    assert_eq!((&lines[0]["verdict"], &lines[0]["reason"]), (&"fail".into(), &"draining".into()));
}

#[test]
fn the_last_clone_writes_out_what_is_left() {
    let folder = folder();
    let path = folder.path().join("log");
    let log = Log::start(&to(&path)).unwrap();
    let last = open(&log);
    for _ in 0..1000 {
        open(&log).finish();
    }
    drop(log);
    drop(last);
    assert_eq!(lines(&path).len(), 1001);
}

#[test]
fn no_filter_mutes_it_and_diagnostics_do_not_get_it() {
    use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt};
    struct Nothing;
    impl<S: tracing::Subscriber> Layer<S> for Nothing {
        fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
            panic!("a diagnostic: {event:?}");
        }
    }
    let folder = folder();
    for (n, filter) in ["off", "trace", "protover::decision=off", "protover::decision=trace"].into_iter().enumerate() {
        let path = folder.path().join(n.to_string());
        let log = Log::start(&to(&path)).unwrap();
        let diagnostics = tracing_subscriber::registry().with(Nothing.with_filter(EnvFilter::new(filter)));
        tracing::subscriber::with_default(diagnostics, || {
            open(&log).finish();
            drop(open(&log));
        });
        log.flush();
        assert_eq!(lines(&path).len(), 2, "{filter}");
    }
}

#[test]
fn identifiers_of_devices_appear_as_the_policy_says() {
    let folder = folder();
    let key = folder.path().join("key");
    fs::write(&key, "0123456789abcdef0123456789abcdef\n").unwrap();
    let number = IMEI.trim_start_matches("IMEI:");
    let mut hashes = Vec::new();
    for (device, key_file) in
        [(DeviceIds::Hash, Some(key.clone())), (DeviceIds::Hash, Some(key)), (DeviceIds::Hash, None), (DeviceIds::Omit, None)]
    {
        let path = folder.path().join("log");
        let log = Log::start(&Decisions { device, key_file, ..to(&path) }).unwrap();
        let pii = log.pii(IMEI);
        let open = full(&log);
        let said = format!("{pii} {pii:?} {pii:#?} {open:?} {log:?} {}", serde_json::to_string(&pii).unwrap());
        assert!(!said.contains(number) && !said.contains("IMEI"), "{said}");
        open.finish();
        log.flush();
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains(number) && !text.contains("IMEI"), "{text}");
        let line: Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(line["device"].as_str(), pii.shown());
        hashes.push(pii.shown().map(str::to_owned));
        assert_ne!(log.pii("IMEI:1").shown(), pii.shown().filter(|_| device == DeviceIds::Hash).or(Some("")));
        fs::remove_file(&path).unwrap();
    }
    assert_eq!(hashes[0], hashes[1], "the same with the same key");
    assert_eq!(hashes[0].as_ref().map(String::len), Some(16));
    assert_ne!(hashes[1], hashes[2], "another with a random key");
    assert_eq!(hashes[3], None);
    assert_eq!(Log::start(&to(&folder.path().join("log"))).unwrap().pii(IMEI).to_string(), IMEI);
}

#[test]
fn a_key_that_is_missing_or_too_short_is_an_error() {
    let folder = folder();
    let key = folder.path().join("key");
    let settings = Decisions { device: DeviceIds::Hash, key_file: Some(key.clone()), ..to(&folder.path().join("log")) };
    assert!(Log::start(&settings).unwrap_err().to_string().contains("decisions.key"));
    fs::write(&key, "short\n").unwrap();
    assert!(Log::start(&settings).unwrap_err().to_string().contains("16 bytes"));
}

#[test]
fn identifiers_sort_by_time() {
    let folder = folder();
    let log = Log::start(&to(&folder.path().join("log"))).unwrap();
    let ids: Vec<String> = (0..1000).map(|_| open(&log).id().to_owned()).collect();
    assert!(ids.is_sorted_by(|a, b| a < b));
    assert!(ids.iter().all(|id| id.len() == 15 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())));
}

fn text() -> impl Strategy<Value = Option<Box<str>>> {
    proptest::option::of("\\PC{0,20}|(?s).{0,400}").prop_map(|text| text.map(Box::from))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_record_is_one_line_with_every_key(
        session in text(), message in text(), declared in text(), dtd in text(), rule in text(), device in text(), site in text(),
        reason in 0..Reason::ALL.len(), sizes in any::<(u64, u64, u32, u16)>(), upstream in any::<u64>(), edits in proptest::collection::vec(".{0,9}", 0..4),
    ) {
        let (log, mut reader) = through_pipe(&Decisions::default(), super::sink::CAPACITY);
        let mut open = open(&log);
        open.device = device.as_deref().map(|device| log.pii(device));
        open.session = session.clone();
        open.message = message;
        open.declared = declared.map(Declared::Unrecognised);
        open.declared_dtd = dtd;
        open.rule = rule.map(Arc::from);
        open.site = site.clone().map(Arc::from);
        open.edits = edits.into_iter().map(Into::into).collect();
        (open.bytes_in, open.bytes_out, open.attempts, open.http_status) = (sizes.0, sizes.1, Some(sizes.2), Some(sizes.3));
        open.upstream = Some(Duration::from_micros(upstream));
        open.fail(Reason::ALL[reason]);
        drop(log);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        prop_assert_eq!(text.matches('\n').count(), 1);
        let whole = text.ends_with("}\n") && text.len() < 32 << 10;
        prop_assert!(whole, "{}", text);
        let line: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(line.len(), KEYS.len());
        prop_assert!(KEYS.iter().all(|key| line.contains_key(*key)));
        prop_assert_eq!(line["site"].as_str(), site.as_deref());
        let cut = session.as_deref().map(|text| text.chars().count() > TEXT);
        prop_assert_eq!(line["session"].as_str().map(|text| text.ends_with('…') && text.chars().count() == TEXT + 1), cut);
        prop_assert_eq!(&line["bytes_in"], &Value::from(sizes.0));
        prop_assert_eq!(&line["upstream_us"], &Value::from(upstream));
    }
}
