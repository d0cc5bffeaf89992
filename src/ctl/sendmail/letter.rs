//! A message on its way from standard input to the daemon.
//!
//! Programs end lines with LF or CRLF. A CR alone (progress bars in cron's mail) is taken as a line end, and NULs are left
//! out: no mail can hold either, and half the mail of a job is better than none.

use super::addresses;
use crate::ctl::Failure;
use crate::mail::{header, words};
use crate::sys::exit;
use std::io::{self, Read, Seek, SeekFrom, Write};
use tempfile::SpooledTempFile;

/// Up to this size a message is held in memory, else in a file without a name.
const IN_MEMORY: usize = 1 << 20;
/// Bytes of a header.
const MOST_HEADER: usize = 1 << 20;

/// A whole message: LF line ends, the header apart.
#[derive(Debug)]
pub struct Letter {
    /// Fields only, each ended by LF.
    header: Vec<u8>,
    /// From after the header; with its empty line, if there is one.
    rest: SpooledTempFile,
    /// Bytes beyond ASCII.
    eight_bit: bool,
}

impl Letter {
    /// Reads a message to its end, which is a line with a lone dot, too, unless these are ignored.
    pub fn read(input: &mut dyn Read, ignore_dots: bool) -> Result<Letter, Failure> {
        let unreadable = |error: io::Error| Failure::new(exit::NOINPUT, format!("reading the message: {error}"));
        let mut lines = Lines { ignore_dots, ..Lines::default() };
        let mut all = SpooledTempFile::new(IN_MEMORY);
        let mut eight_bit = false;
        let mut buffer = vec![0; 64 << 10];
        let mut out = Vec::with_capacity(buffer.len() + 1);
        while !lines.ended {
            let read = match input.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(unreadable(error)),
            };
            lines.push(buffer.get(..read).unwrap_or_default(), &mut out);
            eight_bit |= !out.is_ascii();
            all.write_all(&out)?;
            out.clear();
        }
        lines.finish(&mut out);
        all.write_all(&out)?;
        let header = take_header(&mut all)?;
        Ok(Letter { header, rest: all, eight_bit })
    }

    /// Does it need 8BITMIME (RFC 6152)?
    pub fn is_eight_bit(&self) -> bool {
        self.eight_bit
    }

    /// Whom the header names: To, Cc and Bcc; if it has been sent again, only those it is resent to (RFC 5322 §3.6.6).
    pub fn recipients(&self) -> Vec<String> {
        let named = |names: [&str; 3]| -> Vec<String> {
            let fields = header::fields(&self.header).filter(|field| names.iter().any(|name| field.is(&self.header, name)));
            let values = fields.map(|field| header::unfold(self.header.get(field.value).unwrap_or_default()));
            values.flat_map(|value| addresses::scan(&String::from_utf8_lossy(&value))).collect()
        };
        let again = named(["Resent-To", "Resent-Cc", "Resent-Bcc"]);
        if again.is_empty() { named(["To", "Cc", "Bcc"]) } else { again }
    }

    /// Adds a From field if there is none (RFC 5322 §3.6: there must be one).
    pub fn add_from(&mut self, full_name: &str, address: &str) {
        if header::fields(&self.header).any(|field| field.is(&self.header, "From")) {
            return;
        }
        let name = words::phrase(full_name);
        let field = if name.is_empty() { format!("From: {address}\n") } else { format!("From: {name} <{address}>\n") };
        self.header.splice(0..0, field.bytes());
    }

    /// Bytes of what [`Letter::write_wire`] writes.
    pub fn wire_size(&mut self) -> io::Result<u64> {
        struct Count(u64);
        impl Write for Count {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 += bytes.len() as u64;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut count = Count(0);
        self.write_wire(&mut count)?;
        Ok(count.0)
    }

    /// Writes all of it with CRLF line ends.
    pub fn write_wire(&mut self, out: &mut dyn Write) -> io::Result<()> {
        write_crlf(&self.header, out)?;
        self.rest.seek(SeekFrom::Start(0))?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = self.rest.read(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            write_crlf(buffer.get(..read).unwrap_or_default(), out)?;
        }
    }
}

fn write_crlf(lines: &[u8], out: &mut dyn Write) -> io::Result<()> {
    for piece in lines.split_inclusive(|byte| *byte == b'\n') {
        match piece.strip_suffix(b"\n") {
            Some(line) => {
                out.write_all(line)?;
                out.write_all(b"\r\n")?;
            }
            None => out.write_all(piece)?,
        }
    }
    Ok(())
}

/// Takes the header off the front; what is left begins with the empty line. Text that begins without any header, or goes on
/// without an empty line, gets one. A line `From ` of an mbox is dropped.
fn take_header(all: &mut SpooledTempFile) -> Result<Vec<u8>, Failure> {
    let mut front = Vec::new();
    all.seek(SeekFrom::Start(0))?;
    all.take(MOST_HEADER as u64 + 1).read_to_end(&mut front)?;
    let skipped = match front.starts_with(b"From ") {
        true => front.iter().position(|byte| *byte == b'\n').map_or(front.len(), |at| at + 1),
        false => 0,
    };
    split(all, front.get(skipped..).unwrap_or_default(), skipped as u64)
}

/// `skipped` bytes stand before `front` in `all`.
fn split(all: &mut SpooledTempFile, front: &[u8], skipped: u64) -> Result<Vec<u8>, Failure> {
    let odd = header::fields(front).find(|field| field.name.is_empty() || field.whole.start == field.name.end);
    let end = odd.as_ref().map_or_else(|| header::end(front), |field| field.whole.start);
    if end > MOST_HEADER {
        return Err(Failure::new(exit::DATAERR, "the header of the message is too long"));
    }
    let mut rest = SpooledTempFile::new(IN_MEMORY);
    if odd.is_some() {
        rest.write_all(b"\n")?;
    }
    all.seek(SeekFrom::Start(skipped + end as u64))?;
    io::copy(all, &mut rest)?;
    *all = rest;
    let mut header = front.get(..end).unwrap_or_default().to_vec();
    if !header.is_empty() && header.last() != Some(&b'\n') {
        header.push(b'\n');
    }
    Ok(header)
}

/// Brings lines into form, piece by piece.
#[derive(Debug, Default)]
struct Lines {
    ignore_dots: bool,
    /// The message is over: a lone dot was read.
    ended: bool,
    /// A CR, and it is not known yet what follows.
    cr: bool,
    /// A dot at the start of a line, and it is not known yet what follows.
    dot: bool,
    /// Something of this line is out.
    in_line: bool,
}

impl Lines {
    fn push(&mut self, input: &[u8], out: &mut Vec<u8>) {
        for &byte in input {
            if self.ended {
                return;
            }
            let after_cr = std::mem::take(&mut self.cr);
            match byte {
                b'\n' => self.end_line(out),
                _ if after_cr => {
                    self.end_line(out);
                    if !self.ended {
                        self.byte(byte, out);
                    }
                }
                _ => self.byte(byte, out),
            }
        }
    }

    /// Not a line end.
    fn byte(&mut self, byte: u8, out: &mut Vec<u8>) {
        match byte {
            0 => {}
            b'\r' => self.cr = true,
            b'.' if !self.in_line && !self.dot && !self.ignore_dots => self.dot = true,
            _ => {
                if std::mem::take(&mut self.dot) {
                    out.push(b'.');
                }
                out.push(byte);
                self.in_line = true;
            }
        }
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.dot) {
            self.ended = true;
            return;
        }
        out.push(b'\n');
        self.in_line = false;
    }

    /// The input is over; a last line that has no end gets one.
    fn finish(&mut self, out: &mut Vec<u8>) {
        if !self.ended && (self.cr || self.dot || self.in_line) {
            self.end_line(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The wire form, fed in pieces of one byte.
    fn wire(text: &[u8], ignore_dots: bool) -> String {
        struct Drops<'a>(&'a [u8]);
        impl Read for Drops<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let most = buffer.len().min(1);
                self.0.read(&mut buffer[..most])
            }
        }
        let mut letter = Letter::read(&mut Drops(text), ignore_dots).unwrap();
        let mut out = Vec::new();
        letter.write_wire(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_of_all_kinds() {
        assert_eq!(wire(b"A: 1\n\nx\ny", false), "A: 1\r\n\r\nx\r\ny\r\n");
        assert_eq!(wire(b"A: 1\r\n\r\nx\r\n", false), "A: 1\r\n\r\nx\r\n");
        assert_eq!(wire(b"A: 1\n\n50%\r100%\n\0x\n", false), "A: 1\r\n\r\n50%\r\n100%\r\nx\r\n");
        assert_eq!(wire(b"A: 1\n\nx\n.\nnot this\n", false), "A: 1\r\n\r\nx\r\n");
        assert_eq!(wire(b"A: 1\n\nx\r\n.\r\nnot this\n", false), "A: 1\r\n\r\nx\r\n");
        assert_eq!(wire(b"A: 1\n\nx\n.\n.y\n..\n", true), "A: 1\r\n\r\nx\r\n.\r\n.y\r\n..\r\n");
        assert_eq!(wire(b"A: 1\n\n.y\n..\nz\n.", false), "A: 1\r\n\r\n.y\r\n..\r\nz\r\n");
        assert_eq!(wire(b"", false), "");
    }

    #[test]
    fn headers_are_made_whole() {
        assert_eq!(wire(b"just text\n", false), "\r\njust text\r\n");
        assert_eq!(wire(b"A: 1\ntext at once\n", false), "A: 1\r\n\r\ntext at once\r\n");
        assert_eq!(wire(b"From me Sat Nov 21\nA: 1\n\nx\n", false), "A: 1\r\n\r\nx\r\n");
        assert_eq!(wire(b"A: 1\n", false), "A: 1\r\n");
        assert_eq!(wire(b"\nbody", false), "\r\nbody\r\n");
    }

    #[test]
    fn recipients_and_sender_of_the_header() {
        let text = b"To: a@b.test,\n  \"C, D\" <c@d.test>\nCC: e@f.test\nBcc: g: h@i.test;\nX-To: no@x.test\n\nTo: j@k.test\n";
        let mut letter = Letter::read(&mut text.as_slice(), false).unwrap();
        assert_eq!(letter.recipients(), ["a@b.test", "c@d.test", "e@f.test", "h@i.test"]);
        letter.add_from("A. Person", "me@b.test");
        letter.add_from("Again", "me@b.test");
        assert!(letter.header.starts_with(b"From: \"A. Person\" <me@b.test>\nTo: "));
        let again = b"To: a@b.test\nResent-To: c@d.test\n\nx\n";
        assert_eq!(Letter::read(&mut again.as_slice(), false).unwrap().recipients(), ["c@d.test"]);
    }
}
