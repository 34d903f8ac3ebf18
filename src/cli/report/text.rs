//! A summary, for people and for programs.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::summary::{Device, NONE, Name, Refusal, Summary};
use crate::cli::table::table;

/// For people.
pub(super) fn text(summary: &Summary, devices: usize) -> String {
    let span = summary.span.as_ref().map_or_else(String::new, |(first, last)| format!(", {first} to {last}"));
    let mut text = format!("{} decision lines{span}\n", summary.lines);
    if summary.unreadable > 0 {
        text += &format!("{} lines could not be read\n", summary.unreadable);
    }
    text += &days(summary);
    text += &latest(summary);
    text += &left(summary, devices);
    text += &refusals(summary);
    text
}

/// Messages by day and declared version.
fn days(summary: &Summary) -> String {
    if summary.days.is_empty() {
        return "\nNo message declares a version.\n".into();
    }
    let seen = |name: &Name| summary.days.values().any(|day| day.contains_key(name));
    let versions: Vec<Name> = summary.in_order().into_iter().filter(seen).collect();
    let mut rows = vec![heading("day", versions.iter().map(|name| &*summary.versions[*name]))];
    for (day, counts) in &summary.days {
        let counts = versions.iter().map(|name| counts.get(name).copied().unwrap_or(0).to_string());
        rows.push([day.to_string()].into_iter().chain(counts).collect());
    }
    format!("\nMessages by day and declared version\n{}", table(&rows))
}

/// Devices by the version that they declared last.
fn latest(summary: &Summary) -> String {
    if summary.devices.is_empty() {
        return "\nNo device is named.\n".into();
    }
    let counts = counts(summary, |_| true);
    let mut rows = vec![heading("version", ["devices"].into_iter())];
    rows.extend(counts.iter().map(|(version, count)| vec![(*version).to_owned(), count.to_string()]));
    let mut text = format!("\nDevices by the version that they declared last\n{}", table(&rows));
    if summary.devices_left_out > 0 {
        text += &format!("  (and {} messages of devices beyond the first {})\n", summary.devices_left_out, summary.devices.len());
    }
    text
}

/// Devices left on old versions, those not seen for longest first.
fn left(summary: &Summary, devices: usize) -> String {
    let mut left: Vec<(&str, &Device)> =
        summary.devices.iter().filter(|(_, device)| summary.is_left(device)).map(|(name, device)| (&**name, device)).collect();
    if left.is_empty() {
        return "\nNo device is left on a version below the recommended one.\n".into();
    }
    left.sort_unstable_by_key(|(name, device)| (&*device.seen, *name));
    let mut rows = vec![heading("device", ["declared", "recommended", "last seen"].into_iter())];
    for (name, device) in left.iter().take(devices) {
        let recommended = device.recommended.map_or(NONE, |name| &*summary.versions[name]);
        rows.push([*name, &*summary.versions[device.declared], recommended, &*device.seen].map(str::to_owned).to_vec());
    }
    let mut text = format!("\n{} devices are left on a version below the recommended one\n{}", left.len(), table(&rows));
    if left.len() > devices {
        text += &format!("  (and {} more; --devices names more)\n", left.len() - devices);
    }
    text
}

/// What was refused, failed or given up, the most frequent first.
fn refusals(summary: &Summary) -> String {
    if summary.refusals.is_empty() {
        return "\nNothing was refused, failed or abandoned.\n".into();
    }
    let mut rows = vec![heading("count", ["site", "verdict", "reason", "declared"].into_iter())];
    for (refusal, count) in by_count(summary) {
        let declared = &*summary.versions[refusal.declared];
        let names = [&*refusal.site, &*refusal.verdict, &*refusal.reason, declared].map(str::to_owned);
        rows.push([count.to_string()].into_iter().chain(names).collect());
    }
    let mut text = format!("\nRefused, failed or abandoned\n{}", table(&rows));
    if summary.refusals_left_out > 0 {
        text += &format!("  (and {} of further kinds)\n", summary.refusals_left_out);
    }
    text
}

/// For programs.
pub(super) fn json(summary: &Summary, devices: usize) -> String {
    let name = |name: Name| &*summary.versions[name];
    let days: Map<String, Value> = summary
        .days
        .iter()
        .map(|(day, counts)| {
            (day.to_string(), counts.iter().map(|(version, count)| (name(*version).to_owned(), json!(count))).collect())
        })
        .collect();
    let refusals: Vec<Value> = by_count(summary)
        .into_iter()
        .map(|(Refusal { site, verdict, reason, declared }, count)| {
            json!({ "count": count, "site": site, "verdict": verdict, "reason": reason, "declared": name(*declared) })
        })
        .collect();
    let mut left: Vec<_> = summary.devices.iter().filter(|(_, device)| summary.is_left(device)).collect();
    left.sort_unstable_by_key(|(name, device)| (&device.seen, *name));
    let named: Vec<Value> = left
        .iter()
        .take(devices)
        .map(|(device, Device { seen, declared, recommended })| {
            json!({ "device": device, "declared": name(*declared), "recommended": recommended.map(name), "last_seen": seen })
        })
        .collect();
    let report = json!({
        "lines": summary.lines,
        "unreadable": summary.unreadable,
        "first": summary.span.as_ref().map(|(first, _)| first),
        "last": summary.span.as_ref().map(|(_, last)| last),
        "messages_by_day": days,
        "devices_by_version": counts(summary, |_| true).into_iter().collect::<BTreeMap<_, _>>(),
        "devices_left_by_version": counts(summary, |device| summary.is_left(device)).into_iter().collect::<BTreeMap<_, _>>(),
        "devices_left": named,
        "messages_of_devices_left_out": summary.devices_left_out,
        "refusals": refusals,
        "refusals_left_out": summary.refusals_left_out,
    });
    format!("{report}\n")
}

/// Devices by the version that they declared last, in the order of tables.
fn counts(summary: &Summary, which: impl Fn(&Device) -> bool) -> Vec<(&str, u64)> {
    let mut counts = vec![0; summary.versions.len()];
    for device in summary.devices.values().filter(|device| which(device)) {
        counts[device.declared] += 1;
    }
    let order = summary.in_order().into_iter();
    order.filter(|name| counts[*name] > 0).map(|name| (&*summary.versions[name], counts[name])).collect()
}

fn by_count(summary: &Summary) -> Vec<(&Refusal, u64)> {
    let mut refusals: Vec<_> = summary.refusals.iter().map(|(refusal, count)| (refusal, *count)).collect();
    refusals.sort_unstable_by(|(a, n), (b, m)| m.cmp(n).then_with(|| a.cmp(b)));
    refusals
}

fn heading<'a>(first: &'a str, others: impl Iterator<Item = &'a str>) -> Vec<String> {
    [first].into_iter().chain(others).map(str::to_owned).collect()
}
