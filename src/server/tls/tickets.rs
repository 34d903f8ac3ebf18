//! Session tickets: a client that comes back shows one, and both sides save the certificates and the
//! signature. What the server would have to remember is in the ticket, sealed with a key.

use std::{fmt, io, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use ring::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom, SystemRandom},
};
use rustls::{crypto::ring::Ticketer, server::ProducesTickets};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use super::{invalid, named};
use crate::{policy::site::ListenerTls, secrets};

/// For how many seconds clients are told to keep a ticket. How long it is good is for who rotates the keys.
const LIFETIME: u32 = 12 * 60 * 60;

/// A longer one is not ours. They hold the client's chain.
const LONGEST: usize = 32 * 1024;

const KEY: usize = 32;
const NAME: usize = 16;

/// A key, as a line of the file with the keys.
///
/// # Errors
/// When the system has no randomness to give.
pub fn new_key() -> io::Result<String> {
    let mut key = [0; KEY];
    SystemRandom::new().fill(&mut key).map_err(|_| io::Error::other("no randomness"))?;
    Ok(BASE64_STANDARD.encode(key))
}

/// What makes and reads tickets, and what it is bound to.
#[derive(Clone)]
pub(super) struct Tickets {
    /// The digest of the keys, and of all by which clients are trusted.
    bound_to: [u8; 32],
    producer: Arc<dyn ProducesTickets>,
}

impl Tickets {
    /// With the keys of the file, or with one that the process keeps to itself and changes by the hour.
    pub(super) fn new(tls: &ListenerTls, trust: &[u8; 32], before: Option<&Self>) -> io::Result<Self> {
        let mut digest = Sha256::new_with_prefix(trust);
        let keys = match &tls.ticket_keys {
            None => None,
            Some(path) => {
                let text = secrets::read(path)?;
                digest.update(text.expose_secret());
                let keys = parse(text.expose_secret(), trust).map_err(|what| named(path, what))?;
                Some(keys)
            }
        };
        let bound_to = digest.finalize().into();
        if let Some(before) = before.filter(|before| before.bound_to == bound_to) {
            return Ok(before.clone());
        }
        let producer: Arc<dyn ProducesTickets> = match keys {
            Some(keys) => Arc::new(Shared { keys, random: SystemRandom::new() }),
            None => Ticketer::new().map_err(|error| invalid(format!("session tickets: {error}")))?,
        };
        Ok(Self { bound_to, producer })
    }

    pub(super) fn producer(&self) -> Arc<dyn ProducesTickets> {
        Arc::clone(&self.producer)
    }
}

/// A key of each line: the first seals, all open.
fn parse(text: &str, trust: &[u8; 32]) -> Result<Vec<Key>, String> {
    let mut keys = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let secret = BASE64_STANDARD.decode(line).ok().filter(|secret| secret.len() == KEY);
        let key = secret.and_then(|secret| Key::derive(&secret, trust));
        keys.push(key.ok_or_else(|| format!("line {}: a key is 32 bytes in base64", number + 1))?);
    }
    if keys.is_empty() { Err("holds no key".to_owned()) } else { Ok(keys) }
}

/// A key for one way of trusting clients.
struct Key {
    name: [u8; NAME],
    key: LessSafeKey,
}

impl Key {
    fn derive(secret: &[u8], trust: &[u8; 32]) -> Option<Self> {
        let derived = |label: &[u8]| -> Option<[u8; 32]> {
            let mac = Hmac::<Sha256>::new_from_slice(secret).ok()?.chain_update(label).chain_update(trust);
            Some(mac.finalize().into_bytes().into())
        };
        let name = *derived(b"protover ticket name")?.first_chunk()?;
        let key = UnboundKey::new(&CHACHA20_POLY1305, &derived(b"protover ticket key")?).ok()?;
        Some(Self { name, key: LessSafeKey::new(key) })
    }
}

/// Tickets with keys that several instances share. A ticket is the key's name, a nonce, and what was sealed.
struct Shared {
    keys: Vec<Key>,
    random: SystemRandom,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

impl ProducesTickets for Shared {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let Key { name, key } = self.keys.first()?;
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(*name), &mut sealed).ok()?;
        Some([&name[..], &nonce, &sealed].concat()).filter(|ticket| ticket.len() <= LONGEST)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        if ticket.len() > LONGEST {
            return None;
        }
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let Key { key, .. } = self.keys.iter().find(|key| key.name == *name)?;
        let mut sealed = sealed.to_vec();
        let len = key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(*name), &mut sealed).ok()?.len();
        sealed.truncate(len);
        Some(sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(lines: &[&str], trust: u8) -> Shared {
        Shared { keys: parse(&lines.join("\n"), &[trust; 32]).expect("keys"), random: SystemRandom::new() }
    }

    #[test]
    fn the_first_key_seals_and_all_open() {
        let (old, new) = (new_key().expect("a key"), new_key().expect("a key"));
        let before = shared(&[&old], 0);
        let rotated = shared(&["# newest first", &new, "", &old], 0);
        let after = shared(&[&new], 0);
        let ticket = before.encrypt(b"state").expect("sealed");
        assert_eq!(rotated.decrypt(&ticket).as_deref(), Some(&b"state"[..]));
        assert_eq!(after.decrypt(&ticket), None);
        let ticket = rotated.encrypt(b"state").expect("sealed");
        assert_eq!(after.decrypt(&ticket).as_deref(), Some(&b"state"[..]));
        assert_eq!(before.decrypt(&ticket), None);
        // Where clients are trusted by other files, the ticket is worth nothing.
        assert_eq!(shared(&[&new], 1).decrypt(&ticket), None);
        for at in 0..ticket.len() {
            let mut forged = ticket.clone();
            forged[at] ^= 1;
            assert_eq!(after.decrypt(&forged), None, "byte {at}");
            assert_eq!(after.decrypt(&ticket[..at]), None, "first {at} bytes");
        }
        assert_eq!(after.decrypt(&vec![0; LONGEST + 1]), None);
    }

    #[test]
    fn what_is_no_key_is_said_without_it() {
        let good = new_key().expect("a key");
        for (text, expected) in [
            (String::new(), "holds no key"),
            ("# nothing\n".to_owned(), "holds no key"),
            (format!("{good}\nhush\n"), "line 2: a key is 32 bytes in base64"),
            (BASE64_STANDARD.encode([0; 16]), "line 1: a key is 32 bytes in base64"),
        ] {
            assert_eq!(parse(&text, &[0; 32]).err().as_deref(), Some(expected));
        }
    }
}
