//! Destinations that are full, gone, slow or moved.

use super::*;

#[test]
fn a_full_disk_is_said_kept_and_by_policy_refuses_requests() {
    for (on_failure, available) in [(OnLogFailure::Serve, true), (OnLogFailure::Refuse, false)] {
        let settings = Decisions { on_failure, ..to(Path::new("/dev/full")) };
        let log = Log::start(&settings).unwrap();
        assert!(log.available());
        open(&log).finish();
        until("the failure is noticed", || log.0.sink.backlog() > 0 && !log.0.sink.writes());
        assert_eq!(log.available(), available);
        assert!(!log.flush_within(Duration::from_millis(20)));
        assert_eq!(log.lost(), 0, "kept for when there is room");
    }
}

#[test]
fn lines_wait_until_there_is_room_again() {
    let folder = folder();
    let path = folder.path().join("log");
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let log = Log::start(&Decisions { on_failure: OnLogFailure::Refuse, ..to(&path) }).unwrap();
    for _ in 0..10 {
        open(&log).finish();
    }
    until("the failure is noticed", || !log.available());
    fs::remove_file(&path).unwrap();
    assert!(log.flush_within(Duration::from_secs(20)));
    assert_eq!(lines(&path).len(), 10);
    assert!(log.available());
}

#[test]
fn beyond_the_capacity_lines_are_lost_and_counted() {
    let settings = Decisions { on_failure: OnLogFailure::Refuse, ..Decisions::default() };
    let destination = Destination::open(&DecisionsTo::File("/dev/full".into())).unwrap();
    let log = Log::with(&settings, destination, 4096).unwrap();
    for _ in 0..100 {
        open(&log).finish();
    }
    assert!(log.lost() > 80 && log.lost() < 100, "{}", log.lost());
    assert!(log.0.sink.backlog() <= 4096);
    assert!(!log.available());
}

#[test]
fn a_reader_that_went_away_for_good() {
    let settings = Decisions { on_failure: OnLogFailure::Refuse, ..Decisions::default() };
    let (log, reader) = through_pipe(&settings, crate::decisions::sink::CAPACITY);
    drop(reader);
    open(&log).finish();
    until("the failure is noticed", || !log.available());
    let start = Instant::now();
    drop(log);
    assert!(start.elapsed() < 2 * crate::decisions::FLUSH, "the process ends all the same");
}

#[test]
fn a_reader_that_stops_and_goes_on_gets_every_line_whole() {
    const LINES: usize = 2000;
    let (log, reader) = through_pipe(&Decisions::default(), crate::decisions::sink::CAPACITY);
    for _ in 0..LINES {
        full(&log).finish();
    }
    assert!(!log.flush_within(Duration::from_millis(50)), "the pipe holds 64 KiB");
    let log = thread::spawn(move || drop(log));
    let mut got = 0;
    for (n, line) in BufReader::new(reader).lines().enumerate() {
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        assert_eq!(line["kind"], "message");
        if n % 500 == 0 {
            pause(20);
        }
        got += 1;
    }
    log.join().unwrap();
    assert_eq!(got, LINES);
}

#[test]
fn a_stream_that_takes_only_parts_gets_every_line_whole() {
    const LINES: usize = 3000;
    let (reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
    writer.set_nonblocking(true).unwrap();
    let settings = Decisions { on_failure: OnLogFailure::Refuse, ..Decisions::default() };
    let log = Log::with(&settings, Destination::Stream(OwnedFd::from(writer).into()), crate::decisions::sink::CAPACITY).unwrap();
    for _ in 0..LINES {
        full(&log).finish();
    }
    assert!(!log.flush_within(Duration::from_millis(50)), "the socket holds about 200 KiB");
    assert!(log.available(), "full for the moment is no failure");
    let log = thread::spawn(move || drop(log));
    let mut got = 0;
    for line in BufReader::with_capacity(1000, reader).lines() {
        serde_json::from_str::<Value>(&line.unwrap()).unwrap();
        got += 1;
    }
    log.join().unwrap();
    assert_eq!(got, LINES);
}

#[test]
fn a_fifo_outlives_its_reader() {
    let folder = folder();
    let path = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    // Nobody reads yet: that does not keep the proxy from starting.
    let log = Log::start(&to(&path)).unwrap();
    open(&log).finish();
    log.flush();
    let mut first = BufReader::new(fs::File::open(&path).unwrap());
    let mut line = String::new();
    first.read_line(&mut line).unwrap();
    assert!(line.starts_with('{') && line.ends_with("}\n"));
    drop(first);
    for _ in 0..1000 {
        full(&log).finish();
    }
    assert!(!log.flush_within(Duration::from_millis(50)));
    assert!(log.available());
    let mut second = BufReader::new(fs::File::open(&path).unwrap());
    for _ in 0..1000 {
        line.clear();
        second.read_line(&mut line).unwrap();
        serde_json::from_str::<Value>(&line).unwrap();
    }
    assert!(log.flush_within(Duration::from_secs(5)));
}

#[test]
fn a_rotated_file_is_opened_again() {
    let folder = folder();
    let (path, old) = (folder.path().join("log"), folder.path().join("log.1"));
    let log = Log::start(&to(&path)).unwrap();
    open(&log).finish();
    log.flush();
    fs::rename(&path, &old).unwrap();
    until("the new file is there", || {
        open(&log).finish();
        log.flush();
        path.exists()
    });
    let before = lines(&old).len();
    fs::remove_file(&path).unwrap();
    until("the new file is there", || {
        open(&log).finish();
        log.flush();
        path.exists()
    });
    assert!(before >= 1);
    assert_eq!(lines(&old).len(), before, "the old one is left alone");
    assert_eq!(lines(&path).len(), 1);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a thread of its own")]
fn a_line_that_another_process_is_writing_is_not_mended() {
    let folder = folder();
    let path = folder.path().join("log");
    fs::write(&path, "{\"ts\":").unwrap();
    let other = thread::spawn({
        let path = path.clone();
        move || {
            thread::sleep(Duration::from_millis(2));
            fs::OpenOptions::new().append(true).open(path).unwrap().write_all(b"1}\n").unwrap();
        }
    });
    let log = Log::start(&to(&path)).unwrap();
    other.join().unwrap();
    open(&log).finish();
    drop(log);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("{\"ts\":1}\n{") && text.ends_with("}\n"), "{text}");
}

#[test]
fn a_file_is_appended_to_private_and_mended() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let path = folder.path().join("log");
    open(&Log::start(&to(&path)).unwrap()).finish();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777 & !0o640, 0);
    assert_eq!(lines(&path).len(), 1);
    let half = fs::read_to_string(&path).unwrap() + "{\"ts\":\"20";
    fs::write(&path, &half).unwrap();
    open(&Log::start(&to(&path)).unwrap()).finish();
    let text = fs::read_to_string(&path).unwrap();
    let rest = text.strip_prefix(&half).unwrap();
    assert!(rest.starts_with("\n{") && rest.ends_with("}\n"), "what was killed within a line does not spoil the next");
    let missing = Log::start(&to(&folder.path().join("no/folder"))).unwrap_err();
    assert!(missing.to_string().contains("no/folder"));
}
