//! The pure folders know bytes and rules, not sockets, files or clocks.

use std::{fs, path::Path};

const PURE: [&str; 5] = ["src/syncml", "src/notification", "src/account", "src/policy", "src/session"];
/// Addresses as data come from `core::net`, which has no sockets.
const NAMES: [&str; 19] = [
    "tokio",
    "hyper",
    "tower",
    "tracing",
    "std::net",
    "{net::",
    " net::",
    "std::fs",
    "{fs,",
    "{fs::",
    "std::io",
    "std::time::Instant",
    "SystemTime",
    "Instant::now",
    "std::thread",
    "std::process",
    "std::env",
    "async fn",
    ".await",
];
fn files(folder: &Path, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            found.push(path.display().to_string());
        }
    }
}

/// The code without comments and without what is compiled for tests only.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn pure_folders_name_nothing_impure() {
    let mut found = Vec::new();
    for folder in PURE {
        files(Path::new(folder), &mut found);
    }
    assert!(found.len() > 30, "{found:?}");
    for path in found {
        let code = code(&fs::read_to_string(&path).unwrap());
        for name in NAMES {
            assert!(!code.contains(name), "{path} names {name}");
        }
    }
}

#[test]
fn pure_folders_deny_panics() {
    for module in ["src/syncml/mod.rs", "src/policy/mod.rs"] {
        let text = fs::read_to_string(module).unwrap();
        for lint in ["clippy::unwrap_used", "clippy::expect_used", "clippy::indexing_slicing", "clippy::panic"] {
            assert!(text.contains("#![cfg_attr(not(test), deny(") && text.contains(lint), "{module} does not deny {lint}");
        }
    }
}
