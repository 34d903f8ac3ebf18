//! `check` and `explain` as programs, on the policies of the repository.
#![allow(clippy::unwrap_used, reason = "a test ends where it is surprised")]

use std::fs;

use assert_cmd::Command;

fn protover(args: &[&str], stdin: impl Into<Vec<u8>>) -> (i32, String, String) {
    let mut command = Command::cargo_bin("protover").unwrap();
    let output = command.env_remove("RUST_LOG").args(args).write_stdin(stdin.into()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn message(ver_proto: &str, ver_dtd: &str, host: &str) -> String {
    format!(
        "<SyncML xmlns=\"SYNCML:SYNCML{ver_dtd}\"><SyncHdr><VerDTD>{ver_dtd}</VerDTD><VerProto>{ver_proto}</VerProto><SessionID>7</SessionID>\
         <MsgID>1</MsgID><Target><LocURI>https://{host}:443/dm?x=1</LocURI></Target><Source><LocURI>IMEI:493005100592800</LocURI></Source></SyncHdr>\
         <SyncBody><Alert><CmdID>1</CmdID><Data>1201</Data></Alert><Final/></SyncBody></SyncML>"
    )
}

fn explained(args: &[&str], stdin: impl Into<Vec<u8>>) -> serde_json::Value {
    let (status, out, err) = protover(&[&["explain", "--json"], args, &["-"]].concat(), stdin);
    assert_eq!((status, err.as_str()), (0, ""));
    serde_json::from_str(&out).unwrap()
}

#[test]
fn the_policies_of_the_repository_are_valid() {
    let (status, out, err) = protover(&["check"], "");
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.contains("operator       DM/1.2      advise      supported-not-recommended  dm13"), "{out}");
    assert!(out.ends_with("The policies are valid: no warnings.\n"), "{out}");
}

#[test]
fn invalid_policies_are_status_2_with_everything_that_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("proxy.toml"), "[[listener]]\nname = \"d\"\naddress = \"localhost:1\"\n[limits]\nbodies = 1\n")
        .unwrap();
    fs::write(dir.path().join("a.toml"), "[site]\nname = \"a\"\n").unwrap();
    let folder = dir.path().to_str().unwrap();
    for command in [&["check", "--policies", folder][..], &["explain", "--policies", folder, "-"]] {
        let (status, out, err) = protover(command, "");
        assert_eq!((status, out.as_str()), (2, ""));
        assert!(err.starts_with("protover: the policies are invalid: 4 errors\n\nerror[P0"), "{err}");
        for part in ["P0303", "P0102", "P0104", "--> proxy.toml:3:11", "--> a.toml:1:1"] {
            assert!(err.contains(part), "{part} is not in\n{err}");
        }
        assert!(!err.contains('\u{1b}'), "colour without a terminal");
    }
    let (status, _, err) = protover(&["check", "--policies", "no/such/folder"], "");
    assert_eq!((status, err.lines().count()), (2, 1), "{err}");
}

#[test]
fn warnings_go_to_stderr_and_are_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("proxy.toml"), "[[listener]]\nname = \"d\"\naddress = \"127.0.0.1:1\"\n").unwrap();
    let site = "[site]\nname = \"a\"\nhosts = [\"*\"]\nrecommend = \"1.3\"\n[[server]]\nname = \"s\"\nurl = \"http://a\"\nspeaks = [\"1.2\"]\n";
    fs::write(dir.path().join("a.toml"), site).unwrap();
    let (status, out, err) = protover(&["check", "--policies", dir.path().to_str().unwrap()], "");
    assert!(status == 0 && out.ends_with("valid: 1 warning.\n") && err.starts_with("warning[P0204]"), "{out}{err}");
}

#[test]
fn a_bridged_message_is_shown_as_the_server_would_see_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("sent.xml");
    let sent = explained(&["--write", file.to_str().unwrap()], message("DM/1.3", "1.2", "dm.it.example"));
    assert_eq!((&sent["verdict"], &sent["server"], &sent["used"]), (&"bridge".into(), &"dm11".into(), &"DM/1.1".into()));
    assert_eq!(sent["sent"]["text"], message("DM/1.1", "1.1", "dm.it.example"));
    assert_eq!(fs::read_to_string(file).unwrap(), message("DM/1.1", "1.1", "dm.it.example"));
    // What the older version has no word for stops it.
    let findings = message("DM/1.3", "1.2", "dm.it.example").replace("<Data>1201", "<Correlator>c</Correlator><Data>1226");
    let stopped = explained(&[], findings);
    assert_eq!((&stopped["verdict"], &stopped["reason"]), (&"refuse".into(), &"cannot-bridge".into()));
    assert_eq!(stopped["syncml_status"], 513);
}

#[test]
fn rules_that_do_not_match_say_why() {
    let advised = explained(&["--header", "User-Agent: Phone/1"], message("DM/1.2", "1.2", "dm.operator.example"));
    assert_eq!(advised["missed"][0]["is"], "Phone/1");
    assert_eq!((&advised["verdict"], &advised["requirement"]), (&"advise".into(), &"Server-2".into()));
    assert_eq!(advised["sent"]["text"], message("DM/1.2", "1.2", "dm.operator.example"));
    let ruled = explained(&["--header", "User-Agent: MSFT OMA DM Client/1.2"], message("DM/1.1", "1.1", "dm.operator.example"));
    assert_eq!((&ruled["verdict"], &ruled["rule"]), (&"pass".into(), &"windows is never downgraded".into()));
}

#[test]
fn what_is_refused_shows_the_answer() {
    let refused = explained(&[], message("DM/9.9", "1.2", "dm.operator.example"));
    assert_eq!((&refused["reason"], &refused["syncml_status"]), (&"unrecognised-version".into(), &513.into()));
    assert!(
        refused["sent"]["text"].as_str().unwrap().contains("<Item><Data>DM/1.3</Data></Item><Item><Data>DM/1.2</Data></Item>")
    );
    let host = ["--host", "dm.operator.example"];
    let malformed = explained(&host, "<SyncML><SyncHdr>");
    assert_eq!((&malformed["reason"], &malformed["http_status"]), (&"malformed".into(), &400.into()));
    let json = explained(&[&host[..], &["--content-type", "application/vnd.oma.dm.request+json"]].concat(), "{}");
    assert_eq!((&json["reason"], &json["http_status"]), (&"unrecognised-version".into(), &415.into()));
    let other = explained(&[&host[..], &["--content-type", "text/plain"]].concat(), "hello");
    assert_eq!((&other["verdict"], &other["reason"]), (&"pass".into(), &"not-syncml".into()));
    let nowhere = explained(&["--host", "elsewhere"], "");
    assert_eq!((&nowhere["reason"], &nowhere["http_status"]), (&"no-site".into(), &421.into()));
}

#[test]
fn what_a_device_wrote_does_not_command_the_terminal() {
    let evil = message("DM/1.2\u{9b}2J", "1.2", "dm.operator.example");
    let (status, out, _) = protover(&["explain", "-"], evil);
    assert!(status == 0 && !out.contains('\u{9b}'), "{out}");
}
