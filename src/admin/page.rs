//! A page for people: the sites, and what was decided of late. It needs nothing from elsewhere.

use std::fmt::Write as _;

use serde_json::Value;

use crate::proxy::Live;
use quick_xml::escape::escape;

/// What is shown of a decision.
const COLUMNS: [&str; 10] =
    ["ts", "site", "server", "declared", "used", "recommended", "verdict", "reason", "http_status", "detail"];

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>protover</title><style>\
    body{font:14px/1.5 system-ui,sans-serif;margin:2rem;color:#1b1f24;background:#fff}\
    h1{font-size:1.3rem}h2{font-size:1.05rem;margin-top:2rem}\
    table{border-collapse:collapse}th,td{text-align:left;padding:.25rem .75rem;border-bottom:1px solid #d8dee4;vertical-align:top}\
    th{font-weight:600;background:#f6f8fa}td.refuse,td.fail{color:#b42318;font-weight:600}td.bridge,td.advise{color:#7a4d00}\
    code{font:13px ui-monospace,monospace}</style></head><body>";

pub(super) fn html(live: &Live, lines: &str) -> String {
    let mut out = HEAD.to_owned();
    let _ = write!(out, "<h1>protover {}</h1><h2>Sites</h2><table>", env!("CARGO_PKG_VERSION"));
    row(&mut out, "th", ["site", "hosts", "mode", "server", "speaks", "url"].map(|name| (name.to_owned(), "")));
    for site in live.sites() {
        let site = &site.site;
        for server in &site.servers {
            let speaks: Vec<String> = server.speaks.iter().map(ToString::to_string).collect();
            let speaks = if speaks.is_empty() { "found out".to_owned() } else { speaks.join(", ") };
            let cells = [
                site.name.to_string(),
                site.hosts.join(", "),
                site.mode.code().to_owned(),
                server.name.to_string(),
                speaks,
                server.urls().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            ];
            row(&mut out, "td", cells.map(|text| (text, "")));
        }
    }
    out.push_str("</table><h2>Decisions of late</h2><table>");
    row(&mut out, "th", COLUMNS.map(|name| (name.to_owned(), "")));
    let decisions: Vec<Value> = serde_json::from_str(lines).unwrap_or_default();
    for decision in &decisions {
        let verdict = decision["verdict"].as_str().unwrap_or_default().to_owned();
        let cells = COLUMNS.map(|key| {
            let text = match &decision[key] {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            (text, if key == "verdict" { verdict.as_str() } else { "" })
        });
        row(&mut out, "td", cells);
    }
    out.push_str("</table><p><code>/decisions?limit=N&amp;site=…&amp;verdict=…&amp;reason=…</code> <code>/sites</code> <code>/metrics</code></p></body></html>\n");
    out
}

fn row<'c>(out: &mut String, tag: &str, cells: impl IntoIterator<Item = (String, &'c str)>) {
    out.push_str("<tr>");
    for (text, class) in cells {
        let class = if class.is_empty() { String::new() } else { format!(" class=\"{}\"", escape(class)) };
        let _ = write!(out, "<{tag}{class}>{}</{tag}>", escape(&text));
    }
    out.push_str("</tr>");
}
