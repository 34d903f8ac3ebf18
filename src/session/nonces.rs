//! The nonces of a device's MACs, both ways. Each message hands its receiver the nonce for the next one
//! that comes back, and they last from one session to the next.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};

use super::FORM;

/// What both sides were handed last.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nonces {
    v: u8,
    /// For the device's next message, in base64.
    client: Option<String>,
    /// For the server's next message, in base64.
    server: Option<String>,
}

impl std::fmt::Debug for Nonces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nonces").finish_non_exhaustive()
    }
}

impl Default for Nonces {
    fn default() -> Self {
        Self { v: FORM, client: None, server: None }
    }
}

impl Nonces {
    /// Reads a stored value. `None` when it cannot be read.
    #[must_use]
    pub fn read(value: &[u8]) -> Option<Self> {
        serde_json::from_slice(value).ok().filter(|nonces: &Self| nonces.v <= FORM)
    }

    /// The value to store.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// For the device's next message.
    #[must_use]
    pub fn client(&self) -> Option<Vec<u8>> {
        BASE64_STANDARD.decode(self.client.as_ref()?).ok()
    }

    /// For the server's next message.
    #[must_use]
    pub fn server(&self) -> Option<Vec<u8>> {
        BASE64_STANDARD.decode(self.server.as_ref()?).ok()
    }

    /// The server handed the device a nonce.
    pub fn for_client(&mut self, nonce: &[u8]) {
        self.client = Some(BASE64_STANDARD.encode(nonce));
    }

    /// The device handed the server a nonce.
    pub fn for_server(&mut self, nonce: &[u8]) {
        self.server = Some(BASE64_STANDARD.encode(nonce));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonces_come_back_as_they_were_stored() {
        let mut nonces = Nonces::default();
        assert_eq!((nonces.client(), nonces.server()), (None, None));
        nonces.for_client(b"\x00\xff");
        nonces.for_server(b"");
        let read = Nonces::read(&nonces.write()).expect("readable");
        assert_eq!((read.client().as_deref(), read.server().as_deref()), (Some(&b"\x00\xff"[..]), Some(&b""[..])));
        assert!(Nonces::read(br#"{"v":2,"client":null,"server":null}"#).is_none());
    }
}
