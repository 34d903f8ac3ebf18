//! Packed bodies: `Content-Encoding` gzip and deflate are read through, with a limit on what they
//! unpack to.

use std::io::Read;

use bytes::Bytes;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::{HeaderMap, header::CONTENT_ENCODING};

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not.
    Identity,
    /// `gzip`, `x-gzip`.
    Gzip,
    /// `deflate`: zlib by the standard, raw deflate by custom.
    Deflate,
}

/// Why a body cannot be unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpack {
    /// It unpacks to more than the limit.
    TooLarge,
    /// It is broken.
    Broken,
}

impl Packing {
    /// How a body with these headers is packed; `None` when protover cannot read it.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut packing = Self::Identity;
        for value in headers.get_all(CONTENT_ENCODING) {
            for coding in value.to_str().ok()?.split(',') {
                let coding = coding.trim().to_ascii_lowercase();
                let next = match coding.as_str() {
                    "" | "identity" => continue,
                    "gzip" | "x-gzip" => Self::Gzip,
                    "deflate" => Self::Deflate,
                    _ => return None,
                };
                if packing != Self::Identity {
                    return None;
                }
                packing = next;
            }
        }
        Some(packing)
    }

    /// The plain bytes.
    ///
    /// # Errors
    /// When they are more than `limit`, or the packing is broken.
    pub fn unpack(self, raw: &Bytes, limit: usize) -> Result<Bytes, Unpack> {
        match self {
            Self::Identity => Ok(raw.clone()),
            Self::Gzip => read(MultiGzDecoder::new(&raw[..]), limit),
            // The first nibble of a zlib stream is its method, always 8.
            Self::Deflate if raw.first().is_some_and(|byte| byte & 0x0F == 8) => read(ZlibDecoder::new(&raw[..]), limit),
            Self::Deflate => read(DeflateDecoder::new(&raw[..]), limit),
        }
    }
}

fn read(unpacking: impl Read, limit: usize) -> Result<Bytes, Unpack> {
    let mut plain = Vec::new();
    let one_more = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    unpacking.take(one_more).read_to_end(&mut plain).map_err(|_| Unpack::Broken)?;
    if plain.len() > limit { Err(Unpack::TooLarge) } else { Ok(plain.into()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write};

    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (CONTENT_ENCODING, value.parse().unwrap())).collect()
    }

    #[test]
    fn what_is_understood() {
        for (values, packing) in [
            (&[][..], Some(Packing::Identity)),
            (&["identity"], Some(Packing::Identity)),
            (&["GZip"], Some(Packing::Gzip)),
            (&["x-gzip, identity"], Some(Packing::Gzip)),
            (&["deflate"], Some(Packing::Deflate)),
            (&["br"], None),
            (&["gzip, gzip"], None),
            (&["gzip", "deflate"], None),
        ] {
            assert_eq!(Packing::of(&headers(values)), packing, "{values:?}");
        }
    }

    #[test]
    fn every_packing_unpacks_to_the_same_up_to_the_limit() {
        let plain = vec![b'x'; 5000];
        let mut gzip = write::GzEncoder::new(Vec::new(), Compression::default());
        let mut zlib = write::ZlibEncoder::new(Vec::new(), Compression::default());
        let mut raw = write::DeflateEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&plain).unwrap();
        zlib.write_all(&plain).unwrap();
        raw.write_all(&plain).unwrap();
        let packed = [
            (Packing::Gzip, gzip.finish().unwrap()),
            (Packing::Deflate, zlib.finish().unwrap()),
            (Packing::Deflate, raw.finish().unwrap()),
        ];
        for (packing, bytes) in packed {
            let bytes = Bytes::from(bytes);
            assert_eq!(packing.unpack(&bytes, 5000).unwrap(), plain);
            assert_eq!(packing.unpack(&bytes, 4999), Err(Unpack::TooLarge));
            assert_eq!(packing.unpack(&bytes.slice(..bytes.len() / 2), 5000), Err(Unpack::Broken));
        }
    }
}
