//! `[[listener]]`.

use core::net::SocketAddr;
use std::ops::Range;

use ipnet::IpNet;

use super::value;
use crate::policy::{
    diagnostic::{Code, Diagnostic},
    document::{Table, Value},
    site::{ClientAuth, Identity, Listener, ListenerTls},
};

pub(super) fn read(tables: Vec<Table<'_>>) -> Vec<Listener> {
    let mut names: Vec<(String, Range<usize>)> = Vec::new();
    let mut addresses: Vec<(SocketAddr, Range<usize>)> = Vec::new();
    let mut listeners = Vec::new();
    for table in tables {
        let file = table.file;
        let name = table.require("name", "such as name = \"devices\"; it labels the decision log");
        let address = table.require("address", "such as address = \"127.0.0.1:8080\"");
        let read = (name.and_then(|value| value.text()), address.as_ref().and_then(value::address));
        if let (Some(value), Some(name)) = (name, read.0) {
            super::site::once(file, "listener", name, value.span(), &mut names);
        }
        if let (Some(value), Some(address)) = (address, read.1.filter(|address| address.port() != 0)) {
            match addresses.iter().find(|(other, _)| *other == address) {
                Some((_, first)) => file.add(
                    Diagnostic::new(Code::AddressClash, format!("two listeners on {address}"))
                        .at(&file.source, value.span(), "taken")
                        .at(&file.source, first.clone(), "by this one"),
                ),
                None => addresses.push((address, value.span())),
            }
        }
        let push = table.get("kind").and_then(|kind| kind.choice(&[("dm", false), ("push", true)])).unwrap_or_default();
        let gateway = if push {
            table.require("gateway", "the push gateway behind it, such as gateway = \"http://127.0.0.1:9020\"")
        } else {
            table.get("gateway").filter(|value| {
                let help = "add kind = \"push\", or leave it out";
                value.report(Code::NoEffect, "`gateway` is not used", "devices are not pushed to here", help);
                false
            })
        };
        let gateway = gateway.as_ref().and_then(value::url);
        let tls = table.table("tls", "tls").and_then(tls);
        let (trusted_proxies, proxy_protocol) = proxies(&table);
        table.finish();
        if let (Some(name), Some(address)) = read {
            listeners.push(Listener { name: name.into(), address, tls, trusted_proxies, proxy_protocol, gateway });
        }
    }
    listeners
}

/// The proxies in front, and whether they speak the PROXY protocol.
fn proxies(table: &Table<'_>) -> (Vec<IpNet>, bool) {
    let proxy_protocol = table.get("proxy_protocol").and_then(|value| value.boolean()).unwrap_or_default();
    let written = if proxy_protocol {
        table.require("trusted_proxies", "who may say whom it speaks for, such as trusted_proxies = [\"10.0.0.0/8\"]")
    } else {
        table.get("trusted_proxies")
    };
    let Some(value) = written else { return (Vec::new(), proxy_protocol) };
    let items = value.list();
    if value.is_list() && items.is_empty() {
        value.report(Code::Empty, "`trusted_proxies` may not be empty", "nobody would be trusted", "");
    }
    (items.iter().filter_map(value::network).collect(), proxy_protocol)
}

fn tls(table: Table<'_>) -> Option<ListenerTls> {
    let more: Vec<Option<Identity>> = table
        .tables("certificates", "[[listener.tls.certificates]]")
        .into_iter()
        .map(|table| {
            let found = identity(&table, true);
            table.finish();
            found
        })
        .collect();
    let first = identity(&table, more.is_empty());
    let authorities = table.get("client_ca");
    let revoked = table.get("client_crl");
    let asks = table.get("client_auth");
    let choices = [("off", ClientAuth::Off), ("optional", ClientAuth::Optional), ("required", ClientAuth::Required)];
    let client_auth = asks.and_then(|value| value.choice(&choices));
    if client_auth.unwrap_or_default() == ClientAuth::Off {
        for (name, value) in [("client_ca", authorities), ("client_crl", revoked)] {
            if let Some(value) = value {
                let help = "add client_auth = \"optional\" or \"required\"";
                value.report(Code::TlsUnused, format!("`{name}` is not used"), "clients are not asked for a certificate", help);
            }
        }
    } else if let Some(value) = asks.filter(|_| authorities.is_none()) {
        let help = "add client_ca = \"certs/devices-ca.pem\"";
        value.report(Code::TlsIncomplete, "`client_auth` needs `client_ca`", "nobody would be trusted", help);
    }
    let client_ca = authorities.and_then(|value| value.text()).map(Into::into);
    let client_crl = revoked.iter().flat_map(Value::one_or_more).filter_map(|value| value.text()).map(Into::into).collect();
    let ticket_keys = table.get("ticket_keys").and_then(|value| value.text()).map(Into::into);
    table.finish();
    // What was not found was reported: no policy comes of this.
    let certificates = first.into_iter().chain(more.into_iter().flatten()).collect();
    Some(ListenerTls { certificates, client_ca, client_crl, client_auth: client_auth.unwrap_or_default(), ticket_keys })
}

/// A certificate and its key. They need each other, and have to be there when `needed`.
fn identity(table: &Table<'_>, needed: bool) -> Option<Identity> {
    let needed = needed || table.get("certificate").is_some() || table.get("key").is_some();
    let path = |key, help| if needed { table.require(key, help) } else { table.get(key) }.and_then(|value| value.text());
    let certificate = path("certificate", "a PEM file with the certificate and those between it and the root");
    let key = path("key", "a PEM file with the private key of the certificate");
    Some(Identity { certificate: certificate?.into(), key: key?.into() })
}
