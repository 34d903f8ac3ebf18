//! The policies in the repository: they are right as they are, and every key in a comment is right too.

use super::*;
use crate::policy::diagnostic;

const FILES: [(&str, &str); 3] = [
    (PROXY, include_str!("../../../policies/proxy.toml")),
    ("operator.toml", include_str!("../../../policies/operator.toml")),
    ("it-department.toml", include_str!("../../../policies/it-department.toml")),
];

fn with(name: &str, text: &str) -> Compiled {
    let file = |(known, original): (&str, &str)| Source {
        name: known.to_owned(),
        text: if known == name { text.to_owned() } else { original.to_owned() },
    };
    compile(&FILES.map(file))
}

/// Whether a line is a key or a table in a comment.
fn example(line: &str) -> Option<&str> {
    let code = line.strip_prefix("# ")?;
    let is_key = |key: &str| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let is_example = code.starts_with('[') || code.split_once(" = ").is_some_and(|(key, _)| is_key(key));
    is_example.then_some(code)
}

/// The file once for each example, with that alone: a key, or a table with the keys after it.
fn variants(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut variants = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let Some(code) = example(lines[at]) else {
            at += 1;
            continue;
        };
        // A table, and keys that stand together with nothing in front but a sentence, belong together.
        let after_sentence = at > 0 && lines[at - 1].starts_with("# ") && example(lines[at - 1]).is_none();
        let alone = !(code.starts_with('[') || after_sentence);
        let mut end = at + 1;
        while !alone && end < lines.len() && example(lines[end]).is_some_and(|next| !next.starts_with('[')) {
            end += 1;
        }
        let variant: Vec<&str> = lines
            .iter()
            .enumerate()
            .map(|(n, line)| if (at..end).contains(&n) { example(line).unwrap() } else { *line })
            .collect();
        variants.push(variant.join("\n"));
        at = end;
    }
    variants
}

#[test]
fn the_examples_are_right_as_they_are_and_uncommented() {
    let complaints = |compiled: &Compiled| diagnostic::render(&compiled.diagnostics, false);
    let mut tried = 0;
    for (name, text) in FILES {
        let compiled = with(name, text);
        assert!(compiled.diagnostics.is_empty(), "{}", complaints(&compiled));
        for variant in variants(text) {
            let compiled = with(name, &variant);
            // A rule on client certificates wants a listener that asks for them; that is another example.
            let bad = compiled.diagnostics.iter().any(|diagnostic| diagnostic.code != Code::NoClientCertificates);
            assert!(!bad && compiled.policies.is_some(), "{}\n{variant}", complaints(&compiled));
            tried += 1;
        }
    }
    assert!(tried >= 26, "only {tried} examples");
}

#[test]
fn every_key_has_an_example() {
    let all: String = FILES.iter().map(|(_, text)| *text).collect();
    // What the compiler says that it takes, asked with a key that nothing is like.
    let unknown = "z9 = 1\n";
    let asked = |text: &str| {
        let sources = [Source { name: PROXY.into(), text: text.into() }, Source { name: "a.toml".into(), text: text.into() }];
        let helps = compile(&sources).diagnostics.into_iter().filter(|diagnostic| diagnostic.code == Code::UnknownKey);
        helps.filter_map(|diagnostic| Some(diagnostic.help?.split_once(" takes: ")?.1.to_owned())).collect::<Vec<_>>()
    };
    let tables = [
        "",
        "[[listener]]\n",
        "[[listener]]\n[listener.tls]\n",
        "[[listener]]\n[[listener.tls.certificates]]\n",
        "[admin]\n",
        "[limits]\n",
        "[limits.per_device]\n",
        "[limits.per_address]\n",
        "[decisions]\n",
        "[runtime]\n",
        "[session]\n",
        "[store]\n",
        "[[version]]\n",
        "[site]\n",
        "[[server]]\n",
        "[unsupported]\n",
        "[malformed]\n",
        "[hint]\n",
        "[account]\n",
        "[notification]\n",
        "[[rule]]\n",
        "[[rule]]\n[rule.when]\n",
        "[[rule]]\n[rule.then]\n",
    ];
    let mut keys = 0;
    for table in tables {
        for key in asked(&format!("{table}{unknown}")).iter().flat_map(|keys| keys.split(", ")) {
            let shown = [format!("{key} ="), format!("[{key}]"), format!("[[{key}]]"), format!(".{key}]]")]
                .iter()
                .any(|form| all.contains(form.as_str()));
            assert!(shown, "`{key}` of {table:?} has no example");
            keys += 1;
        }
    }
    assert!(keys > 50, "only {keys} keys were looked at");
}
