//! MACs over whole messages: `x-syncml-hmac` (OMA-TS-DM_Security-V1_2_1, section 5.4), and the nonces that
//! both sides hand each other in Chal.
//!
//! Despite its name it is not the HMAC of RFC 2104:
//! `B64(H(B64(H(username ":" password)) ":" nonce ":" B64(H(body))))`, with MD5 for H.

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD},
};
use md5::{Digest, Md5};

use super::{
    body::{Cursor, Step, Steps},
    element::Element,
    header::HeaderIndex,
};

/// The header, as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hmac {
    text: Box<str>,
    /// Where the `mac` stands in it.
    place: std::ops::Range<usize>,
    /// Where the `username` stands in it, without quotes.
    user: std::ops::Range<usize>,
    mac: [u8; 16],
    form: Form,
}

/// What is in base64 in the `mac`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The 16 bytes, as phones send them.
    Raw,
    /// Their 32 hexadecimal digits, as in the example of the specification.
    Hex,
}

/// Who makes a MAC.
#[derive(Clone, Copy)]
pub struct Key<'a> {
    /// The user name, or the server's identifier.
    pub user: &'a str,
    /// The password.
    pub password: &'a str,
    /// The nonce that the other side gave last, not in base64.
    pub nonce: &'a [u8],
}

impl std::fmt::Debug for Key<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").finish_non_exhaustive()
    }
}

impl Hmac {
    /// Reads the value of the header: `algorithm=MD5, username="…", mac=…`, in any order. `None` when the
    /// MAC is not MD5, or a part is missing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (mut user, mut place) = (None, None);
        let mut at = 0;
        while at < text.len() {
            let rest = text.get(at..)?;
            let start = at + (rest.len() - rest.trim_start_matches([' ', '\t', ',']).len());
            let Some((name, _)) = text.get(start..)?.split_once('=') else { break };
            let value = start + name.len() + 1;
            let value = value + (text.get(value..)?.len() - text.get(value..)?.trim_start().len());
            // The password is no part of it, but user names may hold a comma.
            let (range, end) = match text.get(value..)?.strip_prefix('"') {
                Some(quoted) => {
                    let end = value + 1 + quoted.find('"')?;
                    (value + 1..end, end + 1)
                }
                None => {
                    let end = text.get(value..)?.find(',').map_or(text.len(), |comma| value + comma);
                    (value..value + text.get(value..end)?.trim_end().len(), end)
                }
            };
            match name.trim().to_ascii_lowercase().as_str() {
                "algorithm" if !text.get(range.clone())?.eq_ignore_ascii_case("md5") => return None,
                "username" => user = Some(range),
                "mac" => place = Some(range),
                _ => {}
            }
            at = end;
        }
        let (user, place) = (user?, place?);
        let written = text.get(place.clone())?.trim_end_matches('=');
        let (mac, form) = read(&BASE64_STANDARD_NO_PAD.decode(written).ok()?)?;
        Some(Self { text: text.into(), place, user, mac, form })
    }

    /// The user name.
    #[must_use]
    pub fn user(&self) -> &str {
        self.text.get(self.user.clone()).unwrap_or_default()
    }

    /// Whether it is the MAC of a body under a key.
    #[must_use]
    pub fn verifies(&self, key: &Key<'_>, body: &[u8]) -> bool {
        // Compared without a short cut: how far it agrees is nobody's business.
        mac(key, body).iter().zip(&self.mac).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }

    /// The header for another body, everything else as it was written.
    #[must_use]
    pub fn with_body(&self, key: &Key<'_>, body: &[u8]) -> String {
        let mac = mac(key, body);
        let mac = match self.form {
            Form::Raw => BASE64_STANDARD.encode(mac),
            Form::Hex => BASE64_STANDARD.encode(hex(&mac)),
        };
        let mut text = self.text.to_string();
        text.replace_range(self.place.clone(), &mac);
        text
    }
}

/// A header for a message that had none.
#[must_use]
pub fn header(key: &Key<'_>, body: &[u8]) -> String {
    format!("algorithm=MD5, username=\"{}\", mac={}", key.user, BASE64_STANDARD.encode(mac(key, body)))
}

fn read(bytes: &[u8]) -> Option<([u8; 16], Form)> {
    if let Ok(mac) = bytes.try_into() {
        return Some((mac, Form::Raw));
    }
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let digits: Vec<u8> = bytes.iter().map(digit).collect::<Option<_>>()?;
    let pairs: Vec<u8> = digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
    Some((pairs.try_into().ok()?, Form::Hex)).filter(|_| digits.len() == 32)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `H(B64(H(user ":" password)) ":" nonce ":" B64(H(body)))`, with MD5 for H.
#[must_use]
pub fn mac(key: &Key<'_>, body: &[u8]) -> [u8; 16] {
    let user = BASE64_STANDARD.encode(Md5::digest(format!("{}:{}", key.user, key.password)));
    let body = BASE64_STANDARD.encode(Md5::digest(body));
    Md5::digest([user.as_bytes(), b":", key.nonce, b":", body.as_bytes()].concat()).into()
}

/// The nonce that a message hands to its receiver: NextNonce of the first Chal, in front of all commands.
#[must_use]
pub fn next_nonce(raw: &[u8], index: &HeaderIndex) -> Option<Vec<u8>> {
    const COMMAND: usize = 3;
    let mut cursor = Cursor::body(raw, index).ok()?;
    let mut inside = [false; 2];
    while let Some(step) = cursor.step().ok()? {
        match step {
            Step::Start { element, .. } => {
                if cursor.depth() == COMMAND && element != Element::Status {
                    return None;
                }
                let [chal, nonce] = &mut inside;
                *chal |= element == Element::Chal;
                *nonce = *chal && element == Element::NextNonce;
            }
            Step::Text(field) if inside == [true, true] => {
                let text = index.text(raw, field);
                let text = text.trim().trim_end_matches('=');
                // Some write it plain, whatever Format says.
                return Some(BASE64_STANDARD_NO_PAD.decode(text).unwrap_or_else(|_| text.as_bytes().to_vec()));
            }
            Step::Text(_) => {}
            Step::End { element, .. } => {
                if element == Element::Chal {
                    inside = [false; 2];
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syncml::{self, header::Encoding};

    const BODY: &[u8] = br#"<SyncML xmlns="SYNCML:SYNCML1.2"><SyncHdr/></SyncML>"#;
    const BRUCE: Key<'static> = Key { user: "Bruce2", password: "OhBehave", nonce: b"Nonce" };

    #[test]
    fn the_mac_is_that_of_a_phone() {
        // Computed with the function that Motorola's client has for it.
        assert_eq!(header(&BRUCE, BODY), r#"algorithm=MD5, username="Bruce2", mac=ty/tTMIrV4MCZSFyuaB7qg=="#);
    }

    #[test]
    fn whatever_form_it_is_written_in_it_is_read_and_kept() {
        for text in [
            "algorithm=MD5, username=\"Bruce2\", mac=ty/tTMIrV4MCZSFyuaB7qg==",
            "mac=ty/tTMIrV4MCZSFyuaB7qg== ,USERNAME=Bruce2",
            "username = \"Bruce2\",  algorithm = md5 , mac = ty/tTMIrV4MCZSFyuaB7qg",
            // Hexadecimal digits in base64, as in the example of the specification.
            "algorithm=MD5, username=\"Bruce2\", mac=YjcyZmVkNGNjMjJiNTc4MzAyNjUyMTcyYjlhMDdiYWE=",
        ] {
            let hmac = Hmac::parse(text).expect(text);
            assert_eq!(hmac.user(), "Bruce2", "{text}");
            assert!(hmac.verifies(&BRUCE, BODY), "{text}");
            assert!(!hmac.verifies(&BRUCE, b"another"), "{text}");
            assert!(!hmac.verifies(&Key { nonce: b"", ..BRUCE }, BODY), "{text}");
            let other = hmac.with_body(&BRUCE, b"another");
            assert!(Hmac::parse(&other).expect("the same form").verifies(&BRUCE, b"another"), "{other}");
            assert_eq!(other.split("mac").next(), text.split("mac").next());
            assert_eq!(hmac.with_body(&BRUCE, BODY).trim_end_matches('='), text.trim_end_matches('='), "there and back");
        }
    }

    #[test]
    fn what_is_no_mac_is_none() {
        for text in [
            "",
            "mac=ty/tTMIrV4MCZSFyuaB7qg==",
            "username=\"a\"",
            "username=\"a, mac=ty/tTMIrV4MCZSFyuaB7qg==",
            "algorithm=SHA1, username=a, mac=ty/tTMIrV4MCZSFyuaB7qg==",
            "username=a, mac=ty/tTMI",
            "username=a, mac=!!!!",
            "username=a, mac=",
        ] {
            assert_eq!(Hmac::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_next_nonce_is_that_of_the_first_chal() {
        let nonce = |body: &str| {
            let raw = format!(
                "<SyncML><SyncHdr><VerDTD>1.2</VerDTD><VerProto>DM/1.2</VerProto><SessionID>1</SessionID><MsgID>1</MsgID>\
                 <Target><LocURI>a</LocURI></Target><Source><LocURI>b</LocURI></Source></SyncHdr><SyncBody>{body}</SyncBody></SyncML>"
            );
            next_nonce(raw.as_bytes(), &syncml::scan(Encoding::Xml, raw.as_bytes()).expect("a header"))
        };
        let chal = |nonce: &str| {
            format!(
                "<Status><CmdID>1</CmdID><Chal><Meta><Format xmlns=\"syncml:metinf\">b64</Format><Type xmlns=\"syncml:metinf\">\
                 syncml:auth-MAC</Type><NextNonce xmlns=\"syncml:metinf\">{nonce}</NextNonce></Meta></Chal><Data>212</Data></Status>"
            )
        };
        assert_eq!(nonce(&chal("Tm9uY2U=")).as_deref(), Some(&b"Nonce"[..]));
        assert_eq!(
            nonce(&format!("<Status><Data>200</Data></Status>{}<Final/>", chal("Tm9uY2U"))).as_deref(),
            Some(&b"Nonce"[..])
        );
        assert_eq!(nonce(&chal("not b64!")).as_deref(), Some(&b"not b64!"[..]));
        assert_eq!(nonce("<Status><Data>200</Data></Status><Final/>"), None);
        assert_eq!(nonce(&format!("<Get><CmdID>1</CmdID></Get>{}", chal("Tm9uY2U="))), None);
    }

    proptest::proptest! {
        #[test]
        fn no_header_makes_it_panic(text in "[ -~]{0,60}") {
            if let Some(hmac) = Hmac::parse(&text) {
                let _ = hmac.with_body(&BRUCE, BODY);
            }
        }
    }
}
