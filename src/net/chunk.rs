//! Text that is counted, not ended by a dot (BDAT, RFC 3030): lines in wire form to lines ended by LF, as strict as
//! [`super::dot`] is. A chunk may end anywhere, between CR and LF too.

use memchr::memchr3;

/// Wire form to lines ended by LF, over all chunks of a message.
#[derive(Debug, Default)]
pub struct Unwire {
    /// The last byte was a CR; what it ends is not known yet.
    cr: bool,
    /// The last line has no end yet.
    open: bool,
    malformed: bool,
    size: u64,
}

impl Unwire {
    /// Bytes so far, in wire form: what SIZE counts (RFC 1870 §3).
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Was there a bare CR, a bare LF or a NUL? Nothing is decoded from then on.
    pub fn is_malformed(&self) -> bool {
        self.malformed
    }

    /// Counts bytes of a message that is too big as it is.
    pub fn pass_over(&mut self, count: usize) {
        self.size = self.size.saturating_add(count as u64);
    }

    /// Adds what the next bytes come to.
    pub fn push(&mut self, block: &[u8], out: &mut Vec<u8>) {
        self.size += block.len() as u64;
        let mut rest = block;
        while !self.malformed {
            if self.cr && !rest.is_empty() {
                let Some(after) = rest.strip_prefix(b"\n") else {
                    self.malformed = true;
                    break;
                };
                out.push(b'\n');
                (self.cr, self.open, rest) = (false, false, after);
            }
            let run = memchr3(b'\r', b'\n', 0, rest).unwrap_or(rest.len());
            let (text, stop) = rest.split_at(run);
            if !text.is_empty() {
                out.extend_from_slice(text);
                self.open = true;
            }
            let Some((stop, after)) = stop.split_first() else { break };
            (self.cr, self.malformed, rest) = (*stop == b'\r', *stop != b'\r', after);
        }
    }

    /// After the last chunk: ends a line that has no end.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.malformed |= self.cr;
        if self.open && !self.malformed {
            out.push(b'\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What comes of chunks; none if they are malformed.
    fn told(chunks: &[&[u8]]) -> Option<String> {
        let (mut unwire, mut out) = (Unwire::default(), Vec::new());
        for chunk in chunks {
            unwire.push(chunk, &mut out);
        }
        unwire.finish(&mut out);
        assert_eq!(unwire.size(), chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>());
        (!unwire.is_malformed()).then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn lines_end_in_crlf_wherever_chunks_end() {
        assert_eq!(told(&[b"a\r\n.\r\n..b\r\n"]).unwrap(), "a\n.\n..b\n");
        assert_eq!(told(&[b"a\r", b"", b"\nb", b"c\r\n", b"\r", b"\n"]).unwrap(), "a\nbc\n\n");
        assert_eq!(told(&[b"no end"]).unwrap(), "no end\n");
        assert_eq!((told(&[]).unwrap(), told(&[b""]).unwrap()), (String::new(), String::new()));
        for bad in
            [&[&b"a\nb"[..]][..], &[b"a\rb"], &[b"a\r", b"b"], &[b"a\r\r\n"], &[b"a\0"], &[b"a\r"], &[b"\n"], &[b"a\r", b"\r\n"]]
        {
            assert_eq!(told(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_border_matters(text in "([a.]{0,3}(\r\n|\r|\n|\0)?){0,9}", at in 0usize..30, second in 0usize..30) {
            let bytes = text.as_bytes();
            let (at, second) = (at.min(bytes.len()), second.min(bytes.len()));
            let (one, two) = (at.min(second), at.max(second));
            prop_assert_eq!(told(&[bytes]), told(&[&bytes[..one], &bytes[one..two], &bytes[two..]]));
            if let Some(found) = told(&[bytes]) {
                let whole = found.replace('\n', "\r\n");
                prop_assert!(whole == text || whole == text.clone() + "\r\n");
            }
        }
    }
}
