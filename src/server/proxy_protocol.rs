//! The PROXY protocol (HAProxy, `doc/proxy-protocol.txt`), versions 1 and 2: what a proxy that passes
//! connections on says of the client, before anything else.

use std::{fmt, io, net::SocketAddr};

use ppp::{v1, v2};
use tokio::{io::AsyncReadExt, net::TcpStream};

/// The longest header that is read: addresses, and more TLVs than any proxy sends.
const LONGEST: usize = 4096;

/// The longest header of version 1, with its line end (section 2.1).
const LONGEST_V1: usize = 107;

/// Version 2 without addresses: the signature, version and command, family and protocol, length.
const FIXED_V2: usize = 16;

/// `PP2_TYPE_SSL`, and `PP2_CLIENT_SSL` in its first byte (section 2.2.6).
const TYPE_SSL: u8 = 0x20;
const CLIENT_SSL: u8 = 0x01;

/// What a proxy says of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Its address; none when the proxy speaks for itself, or does not know it.
    pub(super) client: Option<SocketAddr>,
    /// Whether it spoke TLS with the proxy.
    pub(super) tls: bool,
}

/// Why there is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// Something else came.
    Missing,
    /// It is longer than any that makes sense.
    TooLong,
    /// It cannot be read.
    Broken,
    /// The connection ended in the middle of it.
    Short,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "no header of the PROXY protocol",
            Self::TooLong => "a header of the PROXY protocol that is too long",
            Self::Broken => "a header of the PROXY protocol that cannot be read",
            Self::Short => "a header of the PROXY protocol that breaks off",
        })
    }
}

/// Reads the header from a connection, and nothing beyond it.
pub(super) async fn read(stream: &mut TcpStream) -> io::Result<Result<Told, Wrong>> {
    let mut head = Vec::with_capacity(256);
    loop {
        // What is there is only looked at, until it is known to belong to the header.
        let begun = head.len();
        head.resize(LONGEST, 0);
        let there = stream.peek(head.get_mut(begun..).unwrap_or_default()).await?;
        head.truncate(begun + there);
        if there == 0 {
            return Ok(Err(Wrong::Short));
        }
        let end = match length(&head) {
            Err(wrong) => return Ok(Err(wrong)),
            Ok(end) => end,
        };
        head.truncate(end.unwrap_or(head.len()));
        stream.read_exact(head.get_mut(begun..).unwrap_or_default()).await?;
        if end.is_some() {
            return Ok(parse(&head));
        }
    }
}

/// How long the header is that something begins with; `None` when too little of it is there to say, or
/// when not all of it is.
fn length(begun: &[u8]) -> Result<Option<usize>, Wrong> {
    let begins = |with: &[u8]| begun.starts_with(with) || with.starts_with(begun);
    if begins(v2::PROTOCOL_PREFIX) {
        let Some([high, low]) = begun.get(FIXED_V2 - 2..FIXED_V2) else { return Ok(None) };
        let end = FIXED_V2 + usize::from(u16::from_be_bytes([*high, *low]));
        if end > LONGEST { Err(Wrong::TooLong) } else { Ok(Some(end).filter(|end| *end <= begun.len())) }
    } else if begins(b"PROXY ") {
        match begun.iter().take(LONGEST_V1).position(|byte| *byte == b'\n') {
            Some(last) => Ok(Some(last + 1)),
            None if begun.len() >= LONGEST_V1 => Err(Wrong::TooLong),
            None => Ok(None),
        }
    } else {
        Err(Wrong::Missing)
    }
}

/// Reads a whole header.
fn parse(head: &[u8]) -> Result<Told, Wrong> {
    if head.first() == Some(&b'P') {
        let header = v1::Header::try_from(head).map_err(|_| Wrong::Broken)?;
        let client = match header.addresses {
            v1::Addresses::Unknown => None,
            v1::Addresses::Tcp4(ip) => Some((ip.source_address, ip.source_port).into()),
            v1::Addresses::Tcp6(ip) => Some((ip.source_address, ip.source_port).into()),
        };
        return Ok(Told { client, tls: false });
    }
    let header = v2::Header::try_from(head).map_err(|_| Wrong::Broken)?;
    if header.command == v2::Command::Local {
        return Ok(Told::default());
    }
    let client = match header.addresses {
        v2::Addresses::IPv4(ip) => Some((ip.source_address, ip.source_port).into()),
        v2::Addresses::IPv6(ip) => Some((ip.source_address, ip.source_port).into()),
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
    };
    let mut tls = false;
    for tlv in header.tlvs() {
        let tlv = tlv.map_err(|_| Wrong::Broken)?;
        tls |= tlv.kind == TYPE_SSL && tlv.value.first().is_some_and(|flags| flags & CLIENT_SSL != 0);
    }
    Ok(Told { client, tls })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All at once, as the parser sees it after it was put together.
    fn whole(bytes: &[u8]) -> Result<Option<(Told, usize)>, Wrong> {
        let Some(end) = length(bytes)? else { return Ok(None) };
        Ok(Some((parse(&bytes[..end])?, end)))
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("short");
        [v2::PROTOCOL_PREFIX, &[0x20 | command, family], &length.to_be_bytes(), rest].concat()
    }

    #[test]
    fn headers_are_read() {
        let four = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x34, 0, 80];
        let six = [&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7][..], &[0; 16], &[0x12, 0x34, 0, 80]].concat();
        let ssl = |flags| [&four[..], &[0x04, 0, 1, 0], &[TYPE_SSL, 0, 8, flags, 0, 0, 0, 0, 0x21, 0, 0]].concat();
        for (bytes, expected) in [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 80\r\n".to_vec(), Ok((Some("192.0.2.7:4660"), false))),
            (b"PROXY TCP6 2001:db8::7 ::1 4660 80\r\n".to_vec(), Ok((Some("[2001:db8::7]:4660"), false))),
            (b"PROXY UNKNOWN\r\n".to_vec(), Ok((None, false))),
            (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(), Ok((None, false))),
            (v2(1, 0x11, &four), Ok((Some("192.0.2.7:4660"), false))),
            (v2(1, 0x21, &six), Ok((Some("[2001:db8::7]:4660"), false))),
            (v2(0, 0x11, &four), Ok((None, false))),
            (v2(0, 0, &[]), Ok((None, false))),
            (v2(1, 0, &[9; 20]), Ok((None, false))),
            (v2(1, 0x11, &[&four[..], &[TYPE_SSL, 0xff, 0xff, 1]].concat()), Err(Wrong::Broken)),
            (v2(1, 0x31, &[0; 216]), Ok((None, false))),
            (v2(1, 0x11, &ssl(1)), Ok((Some("192.0.2.7:4660"), true))),
            (v2(1, 0x11, &ssl(0)), Ok((Some("192.0.2.7:4660"), false))),
            (v2(1, 0x11, &four[..11]), Err(Wrong::Broken)),
            (v2(2, 0x11, &four), Err(Wrong::Broken)),
            (v2(1, 0x41, &four), Err(Wrong::Broken)),
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 65536\r\n".to_vec(), Err(Wrong::Broken)),
            (b"PROXY TCP4 2001:db8::7 ::1 4660 80\r\n".to_vec(), Err(Wrong::Broken)),
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 80\n".to_vec(), Err(Wrong::Broken)),
            (b"PROXY UDP4 192.0.2.7 10.0.0.1 4660 80\r\n".to_vec(), Err(Wrong::Broken)),
            (b"GET / HTTP/1.1\r\n".to_vec(), Err(Wrong::Missing)),
            (b"\x16\x03\x01\x02\x00".to_vec(), Err(Wrong::Missing)),
            ([b"PROXY UNKNOWN ".to_vec(), vec![b'1'; 100]].concat(), Err(Wrong::TooLong)),
            (v2(1, 0x11, &[0; LONGEST]), Err(Wrong::TooLong)),
        ] {
            let end = bytes.len();
            let followed = [&bytes[..], b"\x16\x03\x01GET"].concat();
            let expected = expected
                .map(|(client, tls)| (Told { client: client.map(|client: &str| client.parse().expect("an address")), tls }, end));
            let shown = String::from_utf8_lossy(&bytes);
            assert_eq!(whole(&followed).map(|told| told.expect("whole")), expected, "{shown}");
            if expected.is_ok() {
                for at in 1..end {
                    assert_eq!(whole(&bytes[..at]), Ok(None), "the first {at} bytes of {shown}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn nothing_that_comes_is_too_much(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), begins in 0..3) {
            let prefix: &[u8] = match begins { 0 => b"PROXY ", 1 => v2::PROTOCOL_PREFIX, _ => b"" };
            bytes.splice(0..0, prefix.iter().copied());
            if let Ok(Some((_, end))) = whole(&bytes) {
                prop_assert!(end <= bytes.len() && end <= LONGEST);
                // What follows changes nothing.
                prop_assert_eq!(whole(&bytes[..end]), whole(&bytes));
            }
        }

        #[test]
        fn what_another_program_writes_is_read(ip in any::<[u8; 4]>(), port: u16, wide in any::<[u8; 16]>()) {
            for client in [SocketAddr::from((ip, port)), SocketAddr::from((wide, port))] {
                let (kind, family, ip, other) = match client.ip() {
                    std::net::IpAddr::V4(ip) => ("TCP4", 0x11, ip.octets().to_vec(), "10.0.0.1"),
                    std::net::IpAddr::V6(ip) => ("TCP6", 0x21, ip.octets().to_vec(), "::1"),
                };
                let line = format!("PROXY {kind} {} {other} {port} 80\r\n", client.ip());
                let told = Told { client: Some(client), tls: false };
                prop_assert_eq!(whole(line.as_bytes()), Ok(Some((told, line.len()))));
                let rest = [&ip[..], &vec![0; ip.len()], &port.to_be_bytes(), &[0, 80]].concat();
                let bytes = v2(1, family, &rest);
                prop_assert_eq!(whole(&bytes), Ok(Some((told, bytes.len()))));
            }
        }
    }
}
