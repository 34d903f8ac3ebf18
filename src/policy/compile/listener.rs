//! `[[listener]]`.

use core::net::SocketAddr;
use std::ops::Range;

use super::value;
use crate::policy::{
    diagnostic::{Code, Diagnostic},
    document::Table,
    site::{ClientAuth, Listener, ListenerTls},
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
        table.finish();
        if let (Some(name), Some(address)) = read {
            listeners.push(Listener { name: name.into(), address, tls, gateway });
        }
    }
    listeners
}

fn tls(table: Table<'_>) -> Option<ListenerTls> {
    let path = |key, help| table.require(key, help).and_then(|value| value.text());
    let certificate = path("certificate", "a PEM file with the certificate and those between it and the root");
    let key = path("key", "a PEM file with the private key of the certificate");
    let authorities = table.get("client_ca");
    let asks = table.get("client_auth");
    let choices = [("off", ClientAuth::Off), ("optional", ClientAuth::Optional), ("required", ClientAuth::Required)];
    let client_auth = asks.and_then(|value| value.choice(&choices));
    match (authorities, asks) {
        (None, Some(value)) if client_auth.is_some_and(|auth| auth != ClientAuth::Off) => {
            let help = "add client_ca = \"certs/devices-ca.pem\"";
            value.report(Code::TlsIncomplete, "`client_auth` needs `client_ca`", "nobody would be trusted", help);
        }
        (Some(value), _) if client_auth.unwrap_or_default() == ClientAuth::Off => {
            let help = "add client_auth = \"optional\" or \"required\"";
            value.report(Code::TlsUnused, "`client_ca` is not used", "clients are not asked for a certificate", help);
        }
        _ => {}
    }
    let client_ca = authorities.and_then(|value| value.text()).map(Into::into);
    table.finish();
    Some(ListenerTls {
        certificate: certificate?.into(),
        key: key?.into(),
        client_ca,
        client_auth: client_auth.unwrap_or_default(),
    })
}
