//! Notifications: those of the corpus, and the command for them.

use assert_cmd::Command;
use protover::{
    notification::{Broken, Package0},
    syncml::integrity::Key,
};

use crate::corpus::messages;

const VER_11: &str = "43509e84bd7bf8388c31595b368be7c702d80000000001076d676d74737276";
const VER_12: &str = "e5a19c0e2f19c06e919be86ddf704d1d03180000000001076d676d74737276";

#[test]
fn every_notification_of_the_corpus_is_read_or_rejected_with_a_reason() {
    let key = Key { user: "srvid-é.example", password: "srvpwd", nonce: b"nonce" };
    for real in messages("notification") {
        let said = |name: &str| real.features.split_whitespace().find_map(|word| word.strip_prefix(name)).unwrap_or_default();
        match Package0::read(&real.raw) {
            Ok(package0) => {
                assert_eq!(package0.version.to_string(), said("ver="), "{}", real.name);
                assert_eq!(format!("0x{:04x}", package0.session_id), said("session="), "{}", real.name);
                assert_eq!(package0.write().unwrap(), real.raw, "{}", real.name);
                assert!(package0.verifies(&key), "{}", real.name);
                // Another version and back is the same, digest and all.
                let mut patched = package0.clone();
                patched.version = 13;
                patched.sign(&key).unwrap();
                assert_eq!(patched.write().unwrap().len(), real.raw.len());
                patched.version = package0.version;
                patched.sign(&key).unwrap();
                assert_eq!(patched.write().unwrap(), real.raw, "{}", real.name);
            }
            Err(broken) => {
                assert_eq!((broken, said("session=")), (Broken::SessionId, "0x0000"), "{}", real.name);
            }
        }
    }
}

fn notify(arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("protover").unwrap();
    command.arg("notify").args(arguments);
    command
}

fn stdout(command: &mut Command) -> String {
    String::from_utf8(command.assert().success().get_output().stdout.clone()).unwrap()
}

#[test]
fn notifications_are_made_shown_checked_and_changed() {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "secret\n").unwrap();
    let password = format!("@{}", password.display());
    let secret = ["--password", &password, "--nonce", "bm9uY2U="];
    let made = ["encode", "--server-id", "mgmtsrv", "--session", "1", "--ui", "background", "--initiator", "server", "--hex"];
    assert_eq!(stdout(notify(&made).args(secret)).trim(), VER_11);
    assert_eq!(stdout(notify(&made).args(secret).args(["--version", "1.2.1"])).trim(), VER_12);
    assert_eq!(stdout(notify(&made).args(secret).args(["--version-field", "12"])).trim(), VER_12);

    let shown = stdout(notify(&["decode", "--hex", "-"]).write_stdin(VER_12));
    for line in
        ["version      12 (1.2)", "ui-mode      background", "initiator    server", "session      1", "recommended  DM/1.2"]
    {
        assert!(shown.contains(line), "{shown}");
    }
    assert_eq!(stdout(notify(&["rewrite", "--version", "1.2", "--hex", "-"]).args(secret).write_stdin(VER_11)).trim(), VER_12);
    stdout(notify(&["verify", "--hex", "-"]).args(secret).write_stdin(VER_11));

    // Raw bytes in a file, raw bytes out.
    let file = folder.path().join("package0.bin");
    let raw: Vec<u8> = (0..VER_11.len()).step_by(2).map(|at| u8::from_str_radix(&VER_11[at..at + 2], 16).unwrap()).collect();
    std::fs::write(&file, &raw).unwrap();
    let out = notify(&["rewrite"]).args(secret).arg(&file).assert().success().get_output().stdout.clone();
    assert_eq!(out, raw);
    let vendor =
        notify(&["rewrite", "--vendor", "DEADBEEF"]).args(secret).arg(&file).assert().success().get_output().stdout.clone();
    assert!(vendor.ends_with(b"mgmtsrv\xDE\xAD\xBE\xEF"));
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    let long = "x".repeat(256);
    let encode = ["encode", "--server-id", "a", "--password", "p", "--nonce", "", "--session", "1"];
    for (arguments, stdin, status, expected) in [
        (vec!["verify", "--hex", "--password", "wrong", "--nonce", "bm9uY2U=", "-"], VER_11, 1, "the digest is wrong"),
        (vec!["verify", "--hex", "--password", "secret", "--nonce", "AAAAAA==", "-"], VER_11, 1, "the digest is wrong"),
        (vec!["verify", "--hex", "--password", "secret", "--nonce", "!", "-"], VER_11, 2, "a nonce is written in base64"),
        (vec!["decode", "--hex", "-"], &VER_11[..60], 1, "truncated: 31 bytes are needed"),
        (vec!["decode", "-"], "", 1, "truncated: 24 bytes are needed"),
        (vec!["decode", "--hex", "-"], "xyz", 1, "not hexadecimal digits"),
        (vec!["decode", "no/such/file"], "", 1, "no/such/file: No such file"),
        ([&encode[..], &["--version-field", "1024"]].concat(), "", 2, "more than 1023"),
        ([&encode[..], &["--session", "0"]].concat(), "", 2, "cannot be used multiple times"),
        (vec!["encode", "--server-id", &long, "--password", "p", "--nonce", "", "--session", "1"], "", 2, "more than 255 bytes"),
        (
            vec!["encode", "--server-id", "a", "--password", "@no/such/file", "--nonce", "", "--session", "1"],
            "",
            2,
            "no/such/file: No such",
        ),
    ] {
        let output = notify(&arguments).write_stdin(stdin).assert().code(status).get_output().stderr.clone();
        let said = String::from_utf8(output).unwrap();
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}
