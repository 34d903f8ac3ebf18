//! Provisioning documents for people to read. Passwords are not shown.

use std::fmt::Write as _;

use quick_xml::escape::escape;

use crate::{
    account::provisioning::{Document, Element, Event, Tag},
    cli::table::plain,
};

/// Parameters that hold secrets (OMA-WAP-TS-ProvCont-V1_1, section 4.6, and OMA-SUP-ac_w7_dm-V1_0).
const SECRETS: [&str; 6] = ["AAUTHSECRET", "AAUTHDATA", "AUTHSECRET", "BASAUTH-PW", "PROXY-PW", "PXAUTH-PW"];

pub(super) fn shown(document: &Document, len: usize) -> String {
    let mut out = format!("a provisioning document in {}, {len} bytes\n", document.encoding.name());
    for account in document.accounts() {
        let _ = writeln!(out, "  DM account  {} {}", plain(&account.provider_id), plain(&account.name));
        for address in &account.addresses {
            let _ = writeln!(out, "  address     {}", plain(address));
        }
        let _ = writeln!(out, "  PROTOVER    {}", plain(account.version().unwrap_or("(none)")));
    }
    out.push('\n');
    let mut open: Vec<&Tag> = Vec::new();
    for event in &document.events {
        match event {
            Event::Start(tag) => {
                let width = 2 * open.len();
                let _ = write!(out, "{:06x}  {:width$}<{}", tag.span.start, "", plain(tag.element.name()));
                attributes(&mut out, tag);
                out.push_str(if tag.empty { "/>\n" } else { ">\n" });
                if !tag.empty {
                    open.push(tag);
                }
            }
            Event::End(span) => {
                let name = open.pop().map_or("", |tag| tag.element.name());
                let _ = writeln!(out, "{:06x}  {:width$}</{}>", span.start, "", plain(name), width = 2 * open.len());
            }
        }
    }
    out
}

fn attributes(out: &mut String, tag: &Tag) {
    let says = |name: &str| tag.attribute(name).map_or("", |attribute| &attribute.text);
    let secret = tag.element == Element::Parm && SECRETS.contains(&says("name"));
    for attribute in &tag.attributes {
        let text = if secret && attribute.name == "value" { "***" } else { &attribute.text };
        let _ = write!(out, " {}=\"{}\"", plain(&attribute.name), escape(plain(text)));
    }
}
