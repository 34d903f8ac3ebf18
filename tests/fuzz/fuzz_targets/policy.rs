//! Any text as policy files: nothing panics, every mistake has a place that can be shown, and what compiles
//! decides about every version.
//!
//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz policy -- -max_total_time=600`
#![no_main]

use libfuzzer_sys::fuzz_target;
use protover::{
    policy::{
        self, Source,
        decide::decide,
        facts::{Content, Dtd, Facts, Integrity, Message},
    },
    syncml::header::Encoding,
};

const PROXY: &str = "[[listener]]\nname = \"d\"\naddress = \"127.0.0.1:0\"\n";

fuzz_target!(|texts: (&str, &str)| {
    let proxy = if texts.0.is_empty() { PROXY } else { texts.0 };
    let sources =
        [Source { name: "proxy.toml".into(), text: proxy.into() }, Source { name: "site.toml".into(), text: texts.1.into() }];
    let compiled = policy::compile(&sources);
    let _ = policy::diagnostic::render(&compiled.diagnostics, false);
    let Some(policies) = compiled.policies else {
        assert!(!compiled.diagnostics.is_empty(), "invalid without a reason");
        return;
    };
    for site in &policies.sites {
        let mut said: Vec<String> = policies.versions.versions().iter().map(ToString::to_string).collect();
        said.push("DM/9.9".into());
        for ver_proto in said {
            let content = Content::Message(Message {
                encoding: Encoding::Xml,
                declared: policies.versions.recognise(&ver_proto),
                dtd: Dtd::Agrees,
                media_type_agrees: true,
                device: "IMEI:1".into(),
                first: true,
                started_by: None,
                integrity: Integrity::None,
            });
            let facts = Facts { path: "/", user_agent: None, client_certificate: None, client_fingerprint: None, content, notified: None, learnt: &[] };
            let decision = decide(site, &policies.versions, &facts);
            assert!(decision.server() < site.servers.len());
        }
    }
});
