//! Diagnostics and decisions in a process of their own: which goes where, whatever `RUST_LOG` says.

#![allow(clippy::unwrap_used, reason = "a test ends where it is surprised")]

use std::process::{Command, Output};

use protover::{
    decisions::{Kind, Log},
    policy::site::Decisions,
    telemetry,
};
use serde_json::Value;

/// The child: one diagnostic, and one decision on stdout.
#[test]
#[ignore = "started by the tests below, in a process of its own"]
fn child() {
    telemetry::start();
    tracing::info!(target: "protover::test", "a diagnostic");
    let log = Log::start(&Decisions::default()).unwrap();
    log.open("devices".into(), ([192, 0, 2, 7], 49152).into(), Kind::Message).finish();
    log.flush();
}

fn run(rust_log: Option<&str>) -> Output {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "telemetry::child", "--ignored", "--nocapture"]).env_remove("RUST_LOG");
    if let Some(rust_log) = rust_log {
        child.env("RUST_LOG", rust_log);
    }
    let output = child.output().unwrap();
    assert!(output.status.success());
    output
}

fn json(text: &[u8]) -> Vec<Value> {
    str::from_utf8(text)
        .unwrap()
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn no_filter_mutes_decisions_and_none_shows_them_among_diagnostics() {
    let cases = [
        (None, true),
        (Some(""), true),
        (Some("off"), false),
        (Some("protover=off"), false),
        (Some("protover::decision=off"), false),
        (Some("trace"), true),
        (Some("protover::decision=trace,info"), true),
    ];
    for (rust_log, diagnostic) in cases {
        let output = run(rust_log);
        let decisions: Vec<_> = json(&output.stdout).into_iter().filter(|line| line["verdict"] == "abandon").collect();
        assert_eq!(decisions.len(), 1, "{rust_log:?}");
        let diagnostics = json(&output.stderr);
        assert!(
            diagnostics.iter().all(|line| line["target"] != "protover::decision" && line["verdict"].is_null()),
            "{rust_log:?}"
        );
        assert_eq!(diagnostics.iter().any(|line| line["message"] == "a diagnostic"), diagnostic, "{rust_log:?}: {diagnostics:?}");
    }
}

#[test]
fn a_filter_that_cannot_be_read_is_said() {
    let diagnostics = json(&run(Some("protover=loud")).stderr);
    assert!(diagnostics.iter().any(|line| line["message"].as_str().unwrap_or_default().contains("RUST_LOG")), "{diagnostics:?}");
}
