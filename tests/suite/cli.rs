//! The command line: what it prints, and its exit status.
#![allow(clippy::unwrap_used, reason = "a test ends where it is surprised")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command as Process, Stdio},
};

use assert_cmd::Command;

fn protover() -> Command {
    let mut command = Command::cargo_bin("protover").unwrap();
    command.env_remove("RUST_LOG");
    command
}

fn stdout(command: &mut Command) -> String {
    String::from_utf8(command.assert().success().get_output().stdout.clone()).unwrap()
}

fn stderr(command: &mut Command, status: i32) -> String {
    String::from_utf8(command.assert().code(status).get_output().stderr.clone()).unwrap()
}

const LINE: &str = r#"{"ts":"2026-07-01T10:00:00.000000Z","id":"0","listener":"devices","peer":"192.0.2.7:1","site":"operator","kind":"message","device":"IMEI:1","declared":"DM/1.1","recommended":"DM/1.3","verdict":"refuse","reason":"unsupported-version"}"#;

/// Nothing fails when the allocator is not linked in the place of `malloc`; it is only slower.
#[test]
fn memory_is_of_our_own_allocator() {
    let output = protover().arg("--version").env("MIMALLOC_VERBOSE", "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // It says so when the first memory is asked of it.
    assert!(said.contains("mimalloc: reserved "), "{said}");
}

#[test]
fn wrong_usage_is_status_2_and_help_is_status_0() {
    for wrong in [
        &["nonsense"][..],
        &["report"],
        &["report", "--devices", "x", "-"],
        &["completions", "tcsh?"],
        &["certs", "init", "--days", "0"],
    ] {
        assert!(stderr(protover().args(wrong), 2).starts_with("error: "), "{wrong:?}");
    }
    assert!(stderr(&mut protover(), 2).contains("Usage"));
    assert!(stdout(protover().arg("--help")).contains("Exit status"));
    assert!(stdout(protover().arg("--version")).starts_with("protover "));
    assert!(stdout(protover().args(["report", "--help"])).contains("Examples:"));
}

#[test]
fn report_reads_files_and_stdin() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("decisions.log");
    fs::write(&log, format!("{LINE}\nrubbish\n")).unwrap();
    let from_file = stdout(protover().arg("report").arg(&log));
    assert!(from_file.contains("1 decision lines") && from_file.contains("1 lines could not be read"), "{from_file}");
    assert!(from_file.contains("unsupported-version") && from_file.contains("IMEI:1"), "{from_file}");
    assert_eq!(stdout(protover().args(["report", "-"]).write_stdin(format!("{LINE}\nrubbish\n"))), from_file);
    let json = stdout(protover().args(["report", "--json"]).arg(&log));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["devices_left"][0]["device"], "IMEI:1");
    assert_eq!(json["unreadable"], 1);
}

#[test]
fn report_fails_where_there_is_nothing_to_report() {
    assert!(stderr(protover().args(["report", "/nonexistent/log"]), 1).starts_with("protover: /nonexistent/log: "));
    assert!(stderr(protover().args(["report", "-"]).write_stdin("rubbish\n"), 1).starts_with("protover: no decision lines"));
    assert!(stdout(protover().args(["report", "-"]).write_stdin("")).starts_with("0 decision lines"));
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    for arguments in [&["man"][..], &["completions", "bash"], &["--help"], &["report", "--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child =
            Process::new(assert_cmd::cargo::cargo_bin("protover")).args(arguments).stdout(writer).stderr(Stdio::piped()).spawn();
        let output = child.unwrap().wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && stderr.is_empty(), "{arguments:?}: {:?} {stderr}", output.status);
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn certs_are_made_once_and_keys_are_private() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("certs");
    stdout(protover().args(["certs", "init", "--dir"]).arg(&dir));
    let mut names: Vec<_> = fs::read_dir(&dir).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let expected = "ca.key ca.pem client.key client.pem devices-ca.crl devices-ca.key devices-ca.pem server.key server.pem ticket.keys upstream-ca.key upstream-ca.pem upstream.key upstream.pem";
    assert_eq!(names.join(" "), expected);
    for name in &names {
        assert_eq!(
            mode(&dir.join(name)),
            if name.ends_with(".key") || name.ends_with(".keys") { 0o600 } else { 0o644 },
            "{name}"
        );
    }
    let before = fs::read(dir.join("server.key")).unwrap();
    fs::remove_file(dir.join("ca.pem")).unwrap();
    let refused = stderr(protover().args(["certs", "init", "--dir"]).arg(&dir), 1);
    assert!(refused.contains("--force") && refused.contains("server.key"), "{refused}");
    assert_eq!(fs::read(dir.join("server.key")).unwrap(), before);
    assert!(!dir.join("ca.pem").exists(), "all or nothing");
    stdout(protover().args(["certs", "init", "--force", "--dir"]).arg(&dir));
    assert_ne!(fs::read(dir.join("server.key")).unwrap(), before);
    assert_eq!(mode(&dir.join("server.key")), 0o600);
    assert!(dir.join("ca.pem").exists());
}

#[test]
fn completions_and_manual_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stdout(protover().args(["completions", shell]));
        assert!(script.contains("protover") && script.contains("report"), "{shell}");
    }
    assert!(stdout(protover().arg("man")).contains(".TH protover 1"));
    let folder = tempfile::tempdir().unwrap();
    stdout(protover().args(["man", "--dir"]).arg(folder.path().join("man1")));
    let page = fs::read_to_string(folder.path().join("man1/protover-report.1")).unwrap();
    assert!(page.contains("zcat"), "the example is in the manual");
}
