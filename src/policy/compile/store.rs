//! `[store]`.

use std::time::Duration;

use http::Uri;

use super::value;
use crate::policy::{
    diagnostic::Code,
    document::{Table, Value},
    site::{Redis, Store},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Memory,
    Redis,
}

const KINDS: [(&str, Kind); 2] = [("memory", Kind::Memory), ("redis", Kind::Redis)];

pub(super) fn read(table: Table<'_>) -> Store {
    let written = table.get("kind");
    let kind = written.map_or(Some(Kind::Memory), |value| value.choice(&KINDS));
    let of = |key| (key, table.get(key));
    let keys = [of("size"), of("url"), of("prefix"), of("timeout"), of("password_file"), of("ca")];
    // Of a kind that nobody knows, nobody can say which keys belong to it.
    if let Some(kind) = kind {
        for (key, value) in keys {
            let (belongs, name) = if key == "size" { (Kind::Memory, "memory") } else { (Kind::Redis, "redis") };
            if let Some(value) = value.filter(|_| kind != belongs) {
                let help = format!("it belongs to kind = \"{name}\"");
                value.report(Code::NoEffect, format!("`{key}` is not used"), "belongs to another kind of store", &help);
            }
        }
    }
    let store = match kind {
        Some(Kind::Redis) => redis(&table),
        Some(Kind::Memory) => table.get("size").as_ref().and_then(value::size).map(|size| Store::Memory { size }),
        None => None,
    };
    table.finish();
    // What could not be read was reported: no policy comes of this.
    store.unwrap_or_default()
}

fn redis(table: &Table<'_>) -> Option<Store> {
    let text = |key| table.get(key).and_then(|value| value.text());
    let url = table.require("url", EXAMPLE);
    let address = url.as_ref().and_then(address);
    let prefix = text("prefix").unwrap_or("protover:").into();
    let timeout = table.get("timeout").as_ref().and_then(value::duration).unwrap_or(Duration::from_millis(100));
    let password_file = text("password_file").map(Into::into);
    let ca = text("ca").map(Into::into);
    let address = address?;
    if let Some(value) = table.get("ca").filter(|_| !address.tls) {
        let help = "did you mean rediss:// in the `url`?";
        value.report(Code::TlsUnused, "`ca` is not used", "there is no TLS to this store", help);
    }
    if let Some(value) = url.filter(|_| address.user.is_some() && password_file.is_none()) {
        let help = "add password_file = \"certs/redis.password\"";
        value.report(Code::NoEffect, "the user name in `url` is not used", "it needs a password", help);
    }
    Some(Store::Redis(Redis { prefix, timeout, password_file, ca, ..address }))
}

const EXAMPLE: &str = "such as url = \"redis://127.0.0.1:6379/0\" or, with TLS, \"rediss://redis.example.com\"";

/// What the URL says; the rest is left empty.
fn address(value: &Value<'_>) -> Option<Redis> {
    let text = value.text()?;
    let credentials = text.rsplit_once('@').map(|(before, _)| before.split_once("://").map_or(before, |(_, rest)| rest));
    if credentials.is_some_and(|credentials| credentials.contains(':')) {
        value.report_hidden(
            Code::UrlCredentials,
            "a URL may not hold a password",
            "a password before the `@`",
            "policies are shown and logged; put it in a file of its own and name that as `password_file`",
        );
        return None;
    }
    match parse(text) {
        Ok(address) => Some(address),
        Err(wrong) => {
            value.report(Code::BadUrl, "this is not the URL of a Redis", wrong, EXAMPLE);
            None
        }
    }
}

fn parse(text: &str) -> Result<Redis, &'static str> {
    let url: Uri = text.parse().map_err(|_| "cannot be read")?;
    let tls = match url.scheme_str() {
        Some("redis") => false,
        Some("rediss") => true,
        Some(_) => return Err("neither redis nor rediss"),
        None => return Err("no redis:// or rediss:// in front"),
    };
    if url.query().is_some() || text.contains('#') {
        return Err("nothing follows the number of the database");
    }
    let authority = url.authority().ok_or("no host")?;
    let (user, address) = authority.as_str().rsplit_once('@').unwrap_or(("", authority.as_str()));
    let host = authority.host();
    // Not `Authority::port`, for which one that is too large is none.
    let port = match address.strip_prefix(host).unwrap_or_default().strip_prefix(':') {
        None => 6379,
        Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or("not a port")?,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err("no host");
    }
    let database = match url.path().trim_start_matches('/') {
        "" => 0,
        number => number.parse().map_err(|_| "the path is not the number of a database")?,
    };
    let user = Some(user).filter(|user| !user.is_empty()).map(Into::into);
    Ok(Redis {
        tls,
        host: host.into(),
        port,
        user,
        database,
        prefix: Box::default(),
        timeout: Duration::ZERO,
        password_file: None,
        ca: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{
        compile::{Compiled, compile},
        diagnostic::Source,
    };

    fn compiled(store: &str) -> Compiled {
        let proxy = format!("[[listener]]\nname = \"d\"\naddress = \"127.0.0.1:0\"\n[store]\n{store}");
        let site = "[site]\nname = \"a\"\nhosts = [\"*\"]\n[[server]]\nname = \"s\"\nurl = \"http://h\"\nspeaks = [\"1.2\"]\n";
        compile(
            &[("proxy.toml", proxy.as_str()), ("a.toml", site)]
                .map(|(name, text)| Source { name: name.into(), text: text.into() }),
        )
    }

    /// Of each diagnostic its code, its line and what is at the caret.
    fn found(store: &str) -> Vec<(String, usize, String)> {
        let diagnostics = compiled(store).diagnostics.into_iter();
        let of = |diagnostic: crate::policy::Diagnostic| {
            let place = &diagnostic.places[0];
            (diagnostic.code.to_string(), place.line(), place.source.text[place.span.clone()].to_owned())
        };
        diagnostics.map(of).collect()
    }

    fn store(text: &str) -> Store {
        assert_eq!(found(text), []);
        compiled(text).policies.unwrap().settings.store
    }

    fn redis(text: &str) -> Redis {
        match store(&format!("kind = \"redis\"\n{text}")) {
            Store::Redis(redis) => redis,
            store @ Store::Memory { .. } => panic!("{store:?}"),
        }
    }

    #[test]
    fn a_store_becomes_what_it_says() {
        assert_eq!(store(""), Store::Memory { size: 64 << 20 });
        assert_eq!(store("kind = \"memory\"\nsize = \"1MiB\""), Store::Memory { size: 1 << 20 });
        let plain = redis("url = \"redis://10.0.0.1\"");
        assert_eq!((plain.tls, &*plain.host, plain.port, plain.database, plain.user), (false, "10.0.0.1", 6379, 0, None));
        assert_eq!((&*plain.prefix, plain.timeout), ("protover:", Duration::from_millis(100)));
        assert_eq!((plain.password_file, plain.ca), (None, None));
        let full = redis(
            "url = \"rediss://dm@[::1]:7000/3\"\nprefix = \"x\"\ntimeout = \"1s 500ms\"\npassword_file = \"p\"\nca = \"c\"",
        );
        assert_eq!((full.tls, &*full.host, full.port, full.database, full.user.as_deref()), (true, "::1", 7000, 3, Some("dm")));
        assert_eq!((&*full.prefix, full.timeout), ("x", Duration::from_millis(1500)));
        assert_eq!((full.password_file, full.ca), (Some("p".into()), Some("c".into())));
        assert_eq!(redis("url = \"redis://redis.example/\"").database, 0);
    }

    #[test]
    fn what_is_wrong_is_said_where_it_is() {
        let quoted = |text: &str| format!("\"{text}\"");
        let url = |url: &str| found(&format!("kind = \"redis\"\nurl = \"{url}\"\n"));
        for wrong in [
            "http://h",
            "h:6379",
            "redis://",
            "redis://:6379",
            "redis://h:0",
            "redis://h:70000",
            "redis://h/x",
            "redis://h/1/2",
            "redis://h/70000",
            "redis://h?db=1",
            "redis://h#1",
            "redis://h h",
        ] {
            assert_eq!(url(wrong), [("P0304".to_owned(), 6, quoted(wrong))], "{wrong}");
        }
        let alone = |code: &str, line, at: &str| vec![(code.to_owned(), line, at.to_owned())];
        assert_eq!(found("kind = \"valkey\"\nurl = \"redis://h\""), alone("P0105", 5, "\"valkey\""));
        assert_eq!(found("kind = \"redis\""), alone("P0104", 4, "[store]"));
        assert_eq!(found("url = \"redis://h\""), alone("P0509", 5, "\"redis://h\""));
        assert_eq!(found("kind = \"redis\"\nurl = \"redis://h\"\nsize = \"1MiB\""), alone("P0509", 7, "\"1MiB\""));
        assert_eq!(found("kind = \"redis\"\nurl = \"redis://h\"\nca = \"c\""), alone("P0406", 7, "\"c\""));
        assert_eq!(found("kind = \"redis\"\nurl = \"redis://me@h\""), alone("P0509", 6, "\"redis://me@h\""));
        assert_eq!(found("kind = \"redis\"\nurl = \"redis://h\"\ntimeout = \"0s\""), alone("P0302", 7, "\"0s\""));
        assert_eq!(found("size = \"none\""), alone("P0301", 5, "\"none\""));
    }

    #[test]
    fn a_password_in_the_url_is_refused_and_not_shown() {
        for url in ["redis://:hush@h", "redis://me:hush@h:1/0", "rediss://me:hu@sh@h"] {
            let compiled = compiled(&format!("kind = \"redis\"\nurl = \"{url}\"\n"));
            let shown: String = compiled.diagnostics.iter().map(ToString::to_string).collect();
            assert!(shown.contains("P0305") && !shown.contains("hu"), "{shown}");
        }
    }
}
