//! `protover inspect`, as a program.

use assert_cmd::Command;

fn inspect(arguments: &[&str], input: impl Into<Vec<u8>>) -> (i32, String, String) {
    let output =
        Command::cargo_bin("protover").unwrap().arg("inspect").args(arguments).write_stdin(input.into()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

const PACKAGE_1: &str = concat!(
    "02a4016a006d6c7103312e3200017203444d2f312e32000165033100015b033100016e5703687474703a2f2f646d2e6578616d706c652f000101",
    "675703494d45493a310001015a00014c03353030300001010100006b464b033100014f0331323031000101120101",
);

#[test]
fn a_capture_in_hex_is_shown_as_xml_or_as_tokens() {
    let (status, out, err) = inspect(&["-"], PACKAGE_1);
    assert_eq!((status, &*err), (0, ""), "{out}");
    assert!(out.starts_with("captured as hex, 104 bytes\nSyncML in wbxml, 104 bytes\n  VerProto    DM/1.2\n"), "{out}");
    assert!(out.contains("00000e      <VerProto>DM/1.2</VerProto>\n"), "{out}");
    let (status, out, _) = inspect(&["--raw", "-"], PACKAGE_1);
    assert_eq!(status, 0);
    assert!(out.contains("00000f  03 44 4D 2F 31 2E 32 00          STR_I \"DM/1.2\"\n"), "{out}");
}

#[test]
fn what_is_there_of_a_cut_message_is_shown_and_the_status_is_1() {
    let (status, out, err) = inspect(&["-"], &PACKAGE_1[..160]);
    assert_eq!(status, 1);
    assert!(out.contains("<LocURI>http://dm.example/</LocURI>"), "{out}");
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(err.contains("truncated at byte 80"), "{err}");
}

#[test]
fn a_file_that_is_not_there_is_said() {
    assert_eq!(inspect(&["/nonexistent"], *b"").0, 1);
}
