//! Real messages, when their folder is there: `PROTOVER_CORPUS`, or `../shared/corpus`.

use std::{fs, path::PathBuf};

use bytes::Bytes;
use protover::syncml::{
    self,
    bridge::{Crossing, Obstacle, Own, bridge},
    header::Encoding,
    version::{Declared, VersionTable},
};

/// A message of the corpus, with what its manifest says about it.
pub(crate) struct Real {
    pub(crate) name: String,
    pub(crate) raw: Bytes,
    pub(crate) ver_dtd: String,
    pub(crate) ver_proto: String,
    pub(crate) features: String,
}

impl Real {
    /// Whether the manifest says that it is no well-formed message.
    pub(crate) fn is_broken(&self) -> bool {
        self.features.contains("NOT-WELL-FORMED")
    }
}

/// The messages in a folder of the corpus; empty, with a line that says so, when it is not there.
pub(crate) fn messages(folder: &str) -> Vec<Real> {
    let root = std::env::var_os("PROTOVER_CORPUS").map_or_else(|| PathBuf::from("../shared/corpus"), PathBuf::from);
    let Ok(manifest) = fs::read_to_string(root.join("manifest.tsv")) else {
        eprintln!("skipped: no corpus in {} (set PROTOVER_CORPUS)", root.display());
        return Vec::new();
    };
    let prefix = format!("{folder}/");
    let rows = manifest.lines().map(|line| line.split('\t').collect::<Vec<_>>()).filter(|row| row[0].starts_with(&prefix));
    rows.map(|row| Real {
        name: row[0].to_owned(),
        raw: fs::read(root.join(row[0])).unwrap().into(),
        ver_dtd: row[4].to_owned(),
        ver_proto: row[5].to_owned(),
        features: row.get(7).unwrap_or(&"").to_string(),
    })
    .collect()
}

#[test]
fn xml_versions_are_those_of_the_manifest() {
    for real in messages("xml") {
        match syncml::scan(Encoding::Xml, &real.raw) {
            Ok(index) => {
                let read = [index.text(&real.raw, index.ver_dtd), index.text(&real.raw, index.ver_proto)];
                assert_eq!(read, [&*real.ver_dtd, &*real.ver_proto], "{}", real.name);
                assert_eq!(syncml::check(&real.raw, &index).is_err(), real.is_broken(), "{}", real.name);
            }
            Err(malformed) => assert!(real.is_broken() || real.ver_dtd == "-", "{}: {malformed}", real.name),
        }
    }
}

#[test]
fn xml_bridged_there_and_back_is_the_same_bytes() {
    there_and_back(Encoding::Xml, "xml");
}

/// Takes every message to every other version of its family and back.
pub(crate) fn there_and_back(encoding: Encoding, folder: &str) {
    let table = VersionTable::default();
    let mut crossed = 0;
    for real in messages(folder) {
        if real.is_broken() {
            continue;
        }
        let Declared::Known(version) = table.recognise(&real.ver_proto) else { continue };
        let Ok(index) = syncml::scan(encoding, &real.raw) else { continue };
        let from = table.get(version).unwrap();
        for other in table.versions().into_iter().filter(|other| other.family() == version.family()) {
            let to = table.get(other).unwrap();
            let there = match bridge(&real.raw, &index, &Crossing { from, to, lossy: false, own: Own::default() }) {
                Ok(bridged) => bridged.edits.apply(&real.raw),
                Err(Obstacle::Malformed(_)) => {
                    assert!(real.is_broken(), "{}", real.name);
                    continue;
                }
                Err(Obstacle::Element { name, .. }) => {
                    println!("{} cannot go to {other}: {name}", real.name);
                    continue;
                }
            };
            crossed += 1;
            let there_index = syncml::scan(encoding, &there).unwrap();
            assert_eq!(there_index.text(&there, there_index.ver_proto), other.to_string(), "{}", real.name);
            assert_eq!(there_index.text(&there, there_index.ver_dtd), to.dtd, "{}", real.name);
            // On the way back a peer gets the names that it wrote itself, even if they contradict its version.
            let back =
                bridge(&there, &there_index, &Crossing { from: to, to: from, lossy: false, own: Own::of(&real.raw, &index) });
            let back = back.unwrap();
            assert!(back.edits.apply(&there) == real.raw, "{} by way of {other}", real.name);
        }
    }
    println!("{crossed} crossings");
}

#[tokio::test]
async fn every_message_that_can_be_read_passes_through_sockets_byte_for_byte() {
    use crate::rig::{Does, Rig, Upstream, ok};
    for (folder, encoding) in [("xml", Encoding::Xml), ("wbxml", Encoding::Wbxml)] {
        let kind = format!("application/vnd.syncml.dm+{}", encoding.name());
        let answer = kind.clone();
        let upstream = Upstream::start(move |seen| Does::Answer(ok(&answer, &seen.body))).await;
        let all = "[\"DM/1.1\", \"DM/1.2\", \"DM/1.3\", \"SyncML/1.0\", \"SyncML/1.1\", \"SyncML/1.2\"]";
        // Every version is recommended to those who use it, so that nothing is to be edited.
        let rules = "[[rule]]\nname = \"all\"\nwhen = { version = \">=DM/1.1\" }\nthen = { verdict = \"pass\" }\n\
            [[rule]]\nname = \"all of DS\"\nwhen = { version = \">=SyncML/1.0\" }\nthen = { verdict = \"pass\" }";
        let lenient = Rig::start("", &[&crate::rig::site(upstream.address, all, rules)]).await;
        let strict_rules = format!("strict = true\n{rules}");
        let strict = Rig::start("", &[&crate::rig::site(upstream.address, all, &strict_rules)]).await;
        let (mut passed, mut lines) = (0, 0);
        for real in messages(folder) {
            let readable = syncml::scan(encoding, &real.raw).is_ok();
            let head = format!(
                "POST / HTTP/1.1\r\nHost: dm.example\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
                real.raw.len()
            );
            let raw = [head.as_bytes(), &real.raw].concat();
            let got = lenient.send(&raw).await;
            lines += 1;
            if readable {
                let known = matches!(VersionTable::default().recognise(&real.ver_proto), Declared::Known(_));
                if known && got.text().contains("<Data>505</Data>") {
                    continue;
                }
                if known {
                    assert!(got.status == 200 && got.body == real.raw[..], "{}: {} {}", real.name, got.status, got.body.len());
                    assert_eq!(upstream.seen().pop().unwrap().body, real.raw);
                    passed += 1;
                }
            } else {
                assert_eq!(got.status, 400, "{}", real.name);
            }
            let whole = syncml::scan(encoding, &real.raw).and_then(|index| syncml::check(&real.raw, &index)).is_ok();
            if !whole {
                assert_eq!(strict.send(&raw).await.status, 400, "{}", real.name);
            }
        }
        println!("{folder}: {passed} passed byte for byte");
        lenient.lines(lines).await;
    }
}
