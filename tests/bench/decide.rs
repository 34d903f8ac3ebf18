//! How long a decision takes. Budget: under 1 µs with 100 rules of which none matches.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use protover::{
    policy::{
        self, Source,
        decide::decide,
        facts::{Content, Dtd, Facts, Integrity, Message},
    },
    syncml::{
        header::Encoding,
        version::{Declared, Version},
    },
};

/// A site with so many rules, of the kinds that operators write.
fn sources(rules: usize) -> [Source; 2] {
    let mut site = "[site]\nname = \"a\"\nhosts = [\"dm.example\"]\n[[server]]\nname = \"s\"\nurl = \"http://a\"\nspeaks = [\"1.2\", \"1.3\"]\n".to_owned();
    for rule in 0..rules {
        let when = match rule % 4 {
            0 => format!("device = \"IMEI:35{rule:03}*\""),
            1 => format!("version = \"DM/1.1\", device = \"IMEI:49{rule:03}*\""),
            2 => format!("user_agent = \"Vendor {rule} *\""),
            _ => format!("share = \"0.{:02}%\", path = \"/fleet{rule}/*\"", 1 + rule % 50),
        };
        site += &format!("[[rule]]\nname = \"r{rule}\"\nwhen = {{ {when} }}\nthen = {{ verdict = \"pass\" }}\n");
    }
    let proxy = "[[listener]]\nname = \"d\"\naddress = \"127.0.0.1:0\"\n".to_owned();
    [("proxy.toml", proxy), ("a.toml", site)].map(|(name, text)| Source { name: name.to_owned(), text })
}

fn benches(criterion: &mut Criterion) {
    let message = Message {
        encoding: Encoding::Xml,
        declared: Declared::Known(Version::DM_1_2),
        dtd: Dtd::Agrees,
        media_type_agrees: true,
        device: "IMEI:493005100592800".into(),
        first: true,
        started_by: None,
        integrity: Integrity::None,
    };
    let facts = Facts {
        path: "/dm",
        user_agent: Some("MSFT OMA DM Client/1.2.0.1"),
        client_certificate: None,
        client_fingerprint: None,
        content: Content::Message(message),
        notified: None,
        learnt: &[],
    };
    for rules in [0, 100] {
        let policies = policy::compile(&sources(rules)).policies.expect("valid");
        let site = &*policies.sites[policies.site("dm.example", "/dm").expect("there")];
        criterion.bench_function(&format!("decide, {rules} rules"), |bencher| {
            bencher.iter(|| decide(black_box(site), &policies.versions, black_box(&facts)));
        });
    }
    let hundred = sources(100);
    criterion.bench_function("compile, 100 rules", |bencher| bencher.iter(|| policy::compile(black_box(&hundred))));
}

criterion_group!(group, benches);
criterion_main!(group);
