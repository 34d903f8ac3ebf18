//! Where a server wants the next message, when a device may not know.

use serde::{Deserialize, Serialize};

use super::FORM;

/// Path and query at a server.
#[derive(Debug, Serialize, Deserialize)]
pub struct Address {
    v: u8,
    at: String,
}

impl Address {
    /// Reads a stored value. `None` when it cannot be read.
    #[must_use]
    pub fn read(value: &[u8]) -> Option<String> {
        serde_json::from_slice(value).ok().filter(|address: &Self| address.v <= FORM).map(|address| address.at)
    }

    /// The value to store.
    #[must_use]
    pub fn write(at: String) -> Vec<u8> {
        serde_json::to_vec(&Self { v: FORM, at }).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_back_as_it_was_stored() {
        assert_eq!(Address::read(&Address::write("/a?b".to_owned())).as_deref(), Some("/a?b"));
        assert_eq!(Address::read(br#"{"v":2,"at":"/"}"#), None);
    }
}
