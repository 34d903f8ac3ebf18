//! Follows the frames that come over an HTTP/2 connection, for the two things that hyper does not tell: how
//! many requests were begun, since those that are malformed are reset without a word, and whether the head
//! of one is still on its way. Reads nothing else and decides nothing.

/// What a client says first (RFC 9113, section 3.4).
const PREFACE: usize = 24;

/// The head of a frame: three bytes of length, type, flags, stream (section 4.1).
const FRAME: usize = 9;

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// The requests of one connection.
#[derive(Debug)]
pub(super) struct Streams {
    frame: [u8; FRAME],
    /// How much of the head of a frame is there, and how much comes before the next one.
    there: usize,
    skip: usize,
    last: u32,
    begun: u32,
    /// Whether headers are to follow the frame that is being read.
    open: bool,
}

impl Default for Streams {
    fn default() -> Self {
        Self { frame: [0; FRAME], there: 0, skip: PREFACE, last: 0, begun: 0, open: false }
    }
}

impl Streams {
    /// How many requests were begun.
    pub(super) const fn begun(&self) -> u32 {
        self.begun
    }

    /// Whether a part of a head is there, and not all of it.
    pub(super) const fn in_head(&self) -> bool {
        self.open || (self.skip > 0 && matches!(self.frame[3], HEADERS | CONTINUATION))
    }

    /// Takes the bytes that were read.
    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = if self.skip > 0 { self.skip } else { FRAME - self.there }.min(bytes.len());
            let (now, later) = bytes.split_at(taken);
            bytes = later;
            if self.skip > 0 {
                self.skip -= taken;
                continue;
            }
            for (place, byte) in self.frame.iter_mut().skip(self.there).zip(now) {
                *place = *byte;
            }
            self.there += taken;
            if self.there == FRAME {
                self.framed();
            }
        }
    }

    fn framed(&mut self) {
        let [high, middle, low, kind, flags, id @ ..] = self.frame;
        let stream = u32::from_be_bytes(id) & (u32::MAX >> 1);
        self.there = 0;
        self.skip = usize::try_from(u32::from_be_bytes([0, high, middle, low])).unwrap_or(usize::MAX);
        match kind {
            HEADERS | CONTINUATION => self.open = flags & END_HEADERS == 0,
            _ => {}
        }
        // The second HEADERS of a stream are trailers.
        if kind == HEADERS && stream > self.last {
            self.last = stream;
            self.begun += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        [&[0, 0, u8::try_from(payload.len()).unwrap(), kind, flags, 0, 0, 0, stream], payload].concat()
    }

    /// Two requests, one of them in two frames and with trailers, and frames between.
    fn stream() -> Vec<u8> {
        [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(4, 0, 0, &[]),
            frame(HEADERS, 0, 1, &[HEADERS; 20]),
            frame(CONTINUATION, END_HEADERS, 1, &[0; 3]),
            frame(0, 0, 1, b"body"),
            frame(HEADERS, END_HEADERS | 1, 1, b"trailers"),
            frame(8, 0, 0, &[0, 0, 1, 0]),
            frame(HEADERS, END_HEADERS | 1, 3, b"x"),
        ]
        .concat()
    }

    #[test]
    fn a_head_is_on_its_way_until_all_of_it_is_there() {
        let mut streams = Streams::default();
        let (mut begun, mut in_head) = (Vec::new(), 0);
        for byte in stream() {
            streams.read(&[byte]);
            begun.push(streams.begun());
            in_head += usize::from(streams.in_head());
        }
        begun.dedup();
        assert_eq!(begun, [0, 1, 2]);
        // From the frame's head on: the first, with what is between it and its second; two more.
        assert_eq!(in_head, (1 + 20 + 9 - 1) + 3 + 8 + 1, "{streams:?}");
        assert!(!streams.in_head());
    }

    proptest! {
        #[test]
        fn how_it_is_cut_does_not_matter(cuts in proptest::collection::vec(1_usize..30, 0..30)) {
            let whole = stream();
            let (mut streams, mut rest) = (Streams::default(), &whole[..]);
            for cut in cuts {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                streams.read(now);
                rest = later;
            }
            streams.read(rest);
            prop_assert_eq!((streams.begun(), streams.in_head()), (2, false));
        }

        #[test]
        fn anything_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            Streams::default().read(&bytes);
        }
    }
}
