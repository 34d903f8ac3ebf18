//! `[admin]`: the listener for operators.

use super::value;
use crate::policy::{diagnostic::Code, document::Table, site::Admin};

pub(super) fn read(table: Table<'_>) -> Option<Admin> {
    let written = table.require("address", "such as address = \"127.0.0.1:9900\"");
    let address = written.as_ref().and_then(value::address);
    let token_file = table.get("token_file").and_then(|value| value.text()).map(Into::into);
    let ring = table.get("ring").and_then(|value| value.integer(1..=1_000_000)).unwrap_or(1000);
    table.finish();
    let admin = Admin { address: address?, token_file, ring: usize::try_from(ring).unwrap_or(1000) };
    if let Some(value) = written.filter(|_| !admin.address.ip().is_loopback() && admin.token_file.is_none()) {
        let help = "add token_file = \"…\", or listen on 127.0.0.1";
        value.report(Code::AdminExposed, "the admin listener needs a token here", "others can reach this address", help);
    }
    Some(admin)
}
