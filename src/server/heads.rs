//! Follows the requests on an HTTP/1 connection byte by byte, for the one thing that hyper does not tell:
//! whether a request said its length twice. Of `Content-Length` and `Transfer-Encoding` hyper drops the
//! first, and of equal lengths all but one. Two readers of such a request may see different bodies; RFC
//! 9112, section 6.3, calls it an attempt at smuggling. Reads nothing else and decides nothing: what is no
//! request is hyper's to refuse.

/// Where in the stream the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In the request line or before it.
    RequestLine,
    /// In the lines behind it.
    Fields,
    /// In a body or a chunk, with so many bytes to come.
    Data { left: u64, chunked: bool },
    /// In the line that says how long a chunk is.
    ChunkSize,
    /// In the lines behind the last chunk.
    Trailers,
}

/// The requests of one connection.
#[derive(Debug)]
pub(super) struct Heads {
    at: At,
    /// The beginning of the line that has not come to its end.
    line: Vec<u8>,
    length: Option<u64>,
    chunked: bool,
    twice: bool,
    ended: u32,
    ambiguous: Option<u32>,
}

/// How much of a line is looked at. What is longer is no header that matters.
const LONGEST: usize = 64;

/// The value, when the line is the header of this name.
fn value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (found, rest) = line.split_at_checked(name.len())?;
    let value = rest.trim_ascii_start().strip_prefix(b":")?;
    found.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

impl Default for Heads {
    fn default() -> Self {
        Self { at: At::RequestLine, line: Vec::new(), length: None, chunked: false, twice: false, ended: 0, ambiguous: None }
    }
}

impl Heads {
    /// The number of the first request that said its length twice, counted from 1. hyper closes the connection
    /// after it, so there is no second.
    pub(super) const fn ambiguous(&self) -> Option<u32> {
        self.ambiguous
    }

    /// Whether the next byte is the first of a request, as far as is known.
    pub(super) const fn is_between(&self) -> bool {
        matches!(self.at, At::RequestLine) && self.line.is_empty()
    }

    /// Takes the bytes that were read.
    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.ambiguous.is_none() {
            if let At::Data { left, chunked } = self.at {
                let taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                bytes = bytes.get(taken..).unwrap_or_default();
                let left = left - taken as u64;
                self.at = match left {
                    0 if chunked => At::ChunkSize,
                    0 => At::RequestLine,
                    _ => At::Data { left, chunked },
                };
                continue;
            }
            if self.at == At::ChunkSize && self.line.is_empty() {
                // However many zeros there are in front of the size of a chunk, they say nothing.
                let zeros = bytes.iter().take_while(|byte| **byte == b'0').count();
                bytes = bytes.get(zeros..).unwrap_or_default();
            }
            let Some(end) = memchr::memchr(b'\n', bytes) else {
                self.keep(bytes);
                return;
            };
            let (line, rest) = bytes.split_at(end);
            bytes = rest.get(1..).unwrap_or_default();
            // Most lines come whole.
            if self.line.is_empty() {
                self.line_ended(line.get(..LONGEST).unwrap_or(line));
            } else {
                self.keep(line);
                let mut line = std::mem::take(&mut self.line);
                self.line_ended(&line);
                line.clear();
                self.line = line;
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = LONGEST.saturating_sub(self.line.len()).min(bytes.len());
        self.line.extend_from_slice(bytes.get(..room).unwrap_or_default());
    }

    fn line_ended(&mut self, line: &[u8]) {
        let empty = matches!(line, [] | [b'\r']);
        match self.at {
            At::RequestLine if empty => {}
            At::RequestLine => {
                (self.length, self.chunked, self.twice) = (None, false, false);
                self.at = At::Fields;
            }
            At::Fields if empty => self.head_ended(),
            At::Fields => {
                if let Some(length) = value(line, b"content-length") {
                    let length = number(length, 10);
                    // One that cannot be read is hyper's to refuse, or is behind more white space than
                    // there is room for: nobody can say then where the next request begins.
                    self.twice |= self.length.is_some() || length.is_none();
                    self.length = Some(length.unwrap_or(0));
                }
                self.chunked |= value(line, b"transfer-encoding").is_some();
            }
            At::ChunkSize => {
                let text = line.trim_ascii_start();
                let digits = text.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
                self.at = match number(text.get(..digits).unwrap_or_default(), 16) {
                    Some(0) | None => At::Trailers,
                    // With the line end behind it.
                    Some(size) => At::Data { left: size.saturating_add(2), chunked: true },
                };
            }
            At::Trailers if empty => self.at = At::RequestLine,
            At::Trailers | At::Data { .. } => {}
        }
    }

    fn head_ended(&mut self) {
        self.ended += 1;
        if self.twice || (self.chunked && self.length.is_some()) {
            self.ambiguous = Some(self.ended);
        }
        self.at = match self.length {
            _ if self.chunked => At::ChunkSize,
            Some(0) | None => At::RequestLine,
            Some(left) => At::Data { left, chunked: false },
        };
    }
}

fn number(digits: &[u8], radix: u32) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: &str =
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 44\r\n\r\nTransfer-Encoding: x\r\nContent-Length: 1\r\n\r\n\n\n";
    const CHUNKED: &str = "POST / HTTP/1.1\r\nTRANSFER-encoding : chunked\r\n\r\n1b;x=y\r\nGET / H\r\nContent-Length: 1\r\n\r\n0\r\nContent-Length: 9\r\n\r\n";
    const BARE: &str = "\r\nGET / HTTP/1.1\nHost: a\n\n";
    const BOTH: &str = "POST / HTTP/1.1\r\ncontent-LENGTH:0\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";

    fn first(stream: &str, cuts: &[usize]) -> Option<u32> {
        let mut heads = Heads::default();
        let mut rest = stream.as_bytes();
        for cut in cuts {
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            heads.read(now);
            rest = later;
        }
        heads.read(rest);
        heads.ambiguous()
    }

    #[test]
    fn only_a_head_with_two_lengths_is_ambiguous() {
        let padded = |zeros: usize, spaces: usize| {
            let (zeros, spaces) = ("0".repeat(zeros), " ".repeat(spaces));
            format!(
                "POST / HTTP/1.1\r\nTransfer-Encoding:{spaces}chunked\r\n\r\n{zeros}14\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n{zeros}0\r\n\r\n"
            )
        };
        let length = |spaces: usize| format!("POST / HTTP/1.1\r\nContent-Length:{}3\r\n\r\nabc", " ".repeat(spaces));
        let twice = "POST / HTTP/1.1\r\nContent-Length: 3\r\nX: y\r\nContent-Length: 3\r\n\r\nabc";
        for (stream, expected) in [
            ([&padded(100, 100), BOTH].concat(), Some(2)),
            ([&length(20), PLAIN, BOTH].concat(), Some(3)),
            (length(100), Some(1)),
            ([PLAIN, twice].concat(), Some(2)),
            ([PLAIN, PLAIN, CHUNKED, BARE, CHUNKED].concat(), None),
            ([PLAIN, CHUNKED, BARE, BOTH, PLAIN].concat(), Some(4)),
            (BOTH.to_owned(), Some(1)),
        ] {
            assert_eq!(first(&stream, &[]), expected, "{stream}");
        }
        let long =
            format!("GET / HTTP/1.1\r\nX: {}content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "y".repeat(100));
        assert_eq!(first(&long, &[]), None);
    }

    #[test]
    fn between_requests_is_behind_the_body_and_before_the_next_line() {
        let body = "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\na\r\nb";
        for stream in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", body, CHUNKED, BARE] {
            for cut in 1..stream.len() {
                let (now, later) = stream.split_at(cut);
                let mut heads = Heads::default();
                assert!(heads.is_between());
                heads.read(now.as_bytes());
                assert_eq!(heads.is_between(), now == "\r\n", "{now:?}");
                heads.read(later.as_bytes());
                assert!(heads.is_between(), "{stream:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn how_it_is_cut_does_not_matter(cuts in proptest::collection::vec(0_usize..40, 0..40)) {
            prop_assert_eq!(first(&[PLAIN, CHUNKED, BARE, BOTH].concat(), &cuts), Some(4));
            prop_assert_eq!(first(&[PLAIN, CHUNKED, BARE].concat(), &cuts), None);
        }

        #[test]
        fn anything_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            Heads::default().read(&bytes);
        }
    }
}
