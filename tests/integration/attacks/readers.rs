//! Messages that are hard to keep come in by SMTP, by APPEND and by COPY, and every reader gives the same bytes, as many as were
//! announced: POP3's RETR and TOP; IMAP's BODY[], its header and text, parts of it put together, BINARY, and the old RFC822.

use super::content::{after_trace, is_same, odd_messages};
use crate::common::{Daemon, PASSWORD, Setup};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

crate::tests![every_reader_gives_the_same_bytes];

/// Bytes of the big message.
const BIG: usize = 25 << 20;

/// An IMAP client that reads literals byte for byte.
struct Raw(BufReader<TcpStream>);

impl Raw {
    fn log_in(daemon: &Daemon) -> Raw {
        let mut raw = Raw(BufReader::new(TcpStream::connect(daemon.at("imap")).unwrap()));
        raw.0.read_until(b'\n', &mut Vec::new()).unwrap();
        assert!(raw.command(format!("LOGIN alice {PASSWORD}").as_bytes()).1.contains("t OK"));
        raw
    }

    /// The literals of an answer, and what else it says.
    fn command(&mut self, line: &[u8]) -> (Vec<Vec<u8>>, String) {
        self.0.get_mut().write_all(&[b"t ", line, b"\r\n"].concat()).unwrap();
        let (mut literals, mut text) = (Vec::new(), String::new());
        loop {
            let mut line = Vec::new();
            assert!(self.0.read_until(b'\n', &mut line).unwrap() > 0, "it ends after {text}");
            let line = String::from_utf8(line).unwrap();
            text += &line;
            match line.strip_suffix("}\r\n").and_then(|line| line.rsplit_once('{')?.1.parse::<usize>().ok()) {
                Some(length) => {
                    let mut literal = vec![0; length];
                    self.0.read_exact(&mut literal).unwrap();
                    literals.push(literal);
                }
                None if line.starts_with("t ") => return (literals, text),
                None => {}
            }
        }
    }

    fn ok(&mut self, line: &str) -> String {
        let text = self.command(line.as_bytes()).1;
        assert!(text.contains("t OK"), "{line}: {text}");
        text
    }

    /// One item of one message.
    fn fetch(&mut self, number: usize, item: &str) -> Vec<u8> {
        let (mut literals, text) = self.command(format!("FETCH {number} {item}").as_bytes());
        assert!(text.contains("t OK"), "{item}: {text}");
        match literals.len() {
            1 => literals.remove(0),
            _ => quoted(&text, item),
        }
    }

    fn number(&mut self, number: usize, item: &str) -> usize {
        let text = self.ok(&format!("FETCH {number} {item}"));
        let said = text.split_once(&format!("{item} ")).unwrap_or_else(|| panic!("{item}: {text}")).1;
        said.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    }

    /// The same, in pieces of so many bytes.
    fn pieces(&mut self, number: usize, item: &str, whole: usize, size: usize) -> Vec<u8> {
        let starts = (0..=whole).step_by(size);
        starts.flat_map(|from| self.fetch(number, &format!("{item}<{from}.{size}>"))).collect()
    }

    /// Appends; what is refused is told.
    fn append(&mut self, folder: &str, message: &[u8]) -> Result<(), String> {
        let (_, text) = self.command(&[format!("APPEND {folder} {{{}+}}\r\n", message.len()).as_bytes(), message].concat());
        if text.contains("t OK") { Ok(()) } else { Err(text) }
    }
}

/// A short text in quotes, which has nothing to be unescaped here.
fn quoted(text: &str, item: &str) -> Vec<u8> {
    let line = text.lines().find(|line| line.contains(" FETCH (")).unwrap_or_else(|| panic!("{item}: {text}"));
    let inner = line.split_once('"').and_then(|(_, rest)| rest.rsplit_once('"')).unwrap_or_else(|| panic!("{item}: {text}")).0;
    assert!(!inner.contains('\\'), "{item}: {text}");
    inner.as_bytes().to_vec()
}

/// What only IMAP lets in: any line ends.
fn odd_lines() -> Vec<Vec<u8>> {
    let lines: [&[u8]; 8] = [
        b"Subject: LF\n\nFrom here\n>From there\n\nFrom a@b Sat Nov  1 12:26:40 2025\nX: y\n",
        b"Subject: CR\r\n\r\na\rb\r\rc\r\n\rd\r\n\r\r\n\r",
        b"Subject: CR before From\r\n\r\n\rFrom a@b Sat Nov  1 12:26:40 2025\r\nx\r\n",
        b"Subject: no last line end\r\n\r\n>From x",
        b"Subject: no end of the header",
        b"Subject: mixed\n\r\nX: in the body\r\n\nmore\n\r\n",
        b"Subject: From in the header\r\nX-Long: a\r\n >From b\r\n\tFrom c\r\n>From d: e\r\n>>From f: g\r\n\r\n>>From h\r\n",
        b"Subject: dead?\r\nX-Other: 1\r\n\r\nX-UID: 0000000000\r\nX-Status: D\r\n\r\n",
    ];
    lines.iter().map(|line| line.to_vec()).collect()
}

/// As DESIGN has it: an LF is made CRLF, a last line end is added, other CRs stay.
fn as_kept(message: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(message.len());
    for byte in message {
        if *byte == b'\n' && kept.last() != Some(&b'\r') {
            kept.push(b'\r');
        }
        kept.push(*byte);
    }
    if !kept.ends_with(b"\r\n") {
        kept.extend_from_slice(b"\r\n");
    }
    kept
}

fn big() -> Vec<u8> {
    let mut big = b"Subject: big\r\n\r\n".to_vec();
    while big.len() < BIG {
        big.extend_from_slice("line upon line of a big message, the quick brown fox\r\n".repeat(1000).as_bytes());
        big.extend_from_slice(b"From here\r\n>From there\r\n.\r\n\r\nFrom a@b Sat Nov  1 12:26:40 2025\r\n\xff\r\n");
    }
    big
}

/// All readers of one message of the selected folder; what they give.
fn read(raw: &mut Raw, number: usize) -> Vec<u8> {
    let whole = raw.fetch(number, "BODY.PEEK[]");
    let size = whole.len();
    assert_eq!(raw.number(number, "RFC822.SIZE"), size);
    assert_eq!(raw.number(number, "BINARY.SIZE[]"), size);
    let (header, text) = (raw.fetch(number, "BODY.PEEK[HEADER]"), raw.fetch(number, "BODY.PEEK[TEXT]"));
    assert!([header.clone(), text.clone()].concat() == whole, "header and text of message {number}");
    for item in ["BINARY.PEEK[]", "RFC822"] {
        assert!(raw.fetch(number, item) == whole, "{item} of message {number}");
    }
    // Of the big one, that is enough.
    let counts: &[usize] = if size < 1000 { &[3, 40] } else { &[3] };
    let parts = [("BODY.PEEK[]", &whole), ("BODY.PEEK[HEADER]", &header), ("BODY.PEEK[TEXT]", &text), ("BINARY.PEEK[]", &whole)];
    for (item, part) in parts.iter().take(if size > BIG { 1 } else { 4 }) {
        for count in counts.iter().filter(|count| part.len() > **count) {
            let piece = part.len() / count + 1;
            assert!(raw.pieces(number, item, part.len(), piece) == **part, "{item} of message {number}, by {piece}");
        }
    }
    whole
}

fn compare(sent: &[Vec<u8>], found: &[Vec<u8>], how: &str) {
    for (number, (sent, found)) in sent.iter().zip(found).enumerate() {
        let text = |bytes: &[u8]| bytes[..bytes.len().min(300)].escape_ascii().to_string();
        assert!(is_same(&as_kept(sent), found), "{how} {number}:\n{}\nis not\n{}", text(found), text(sent));
    }
    assert_eq!(sent.len(), found.len(), "{how}");
}

fn every_reader_gives_the_same_bytes() {
    let daemon = Setup::default().start();
    // Of those that differ in their length only, some.
    let mut sent = odd_messages();
    let is_edge = |message: &[u8]| message.starts_with(b"Subject: edge");
    let mut edges = 0..;
    sent.retain(|message| !is_edge(message) || edges.next().is_none_or(|at: usize| at.is_multiple_of(4)));
    sent.push(big());
    let mut smtp = daemon.smtp();
    for message in &sent {
        assert!(smtp.send("sender@sender.test", &["alice@here.test"], message).unwrap().starts_with("250"));
    }
    let mut raw = Raw::log_in(&daemon);
    raw.ok("CREATE Work");
    raw.ok("CREATE Copy");
    let mut appended = Vec::new();
    for message in sent.iter().cloned().chain(odd_lines()) {
        match raw.append("Work", &message) {
            Ok(()) => appended.push(message),
            Err(why) => assert!(message.is_empty() || message.starts_with(b"Subject: \xff"), "{why}: {}", message.escape_ascii()),
        }
    }
    let nul = raw.append("Work", b"Subject: NUL\r\n\r\na\0b\r\n").unwrap_err();
    assert!(nul.contains("t NO [UNKNOWN-CTE]"), "{nul}");
    // By SMTP, and out by both protocols.
    raw.ok("SELECT INBOX");
    let inbox: Vec<Vec<u8>> = (1..=sent.len()).map(|number| read(&mut raw, number)).collect();
    compare(&sent, &inbox.iter().map(|message| after_trace(message)).collect::<Vec<_>>(), "by SMTP");
    let mut pop3 = daemon.pop3("alice");
    for (number, message) in (1..).zip(&inbox) {
        assert_eq!(pop3.ok(&format!("LIST {number}")).unwrap(), format!("+OK {number} {}", message.len()));
        assert!(pop3.lines(&format!("RETR {number}")).unwrap() == *message, "RETR {number}");
        assert!(pop3.lines(&format!("TOP {number} 1000000")).unwrap() == *message, "TOP {number}");
        let header = raw.fetch(number, "BODY.PEEK[HEADER]");
        assert!(pop3.lines(&format!("TOP {number} 0")).unwrap() == header, "TOP {number} 0");
    }
    // By APPEND and COPY.
    raw.ok("SELECT Work");
    assert!(raw.ok("NOOP").contains("t OK"));
    let work: Vec<Vec<u8>> = (1..=appended.len()).map(|number| read(&mut raw, number)).collect();
    compare(&appended, &work, "by APPEND");
    raw.ok("COPY 1:* Copy");
    raw.ok("SELECT Copy");
    for (number, message) in (1..).zip(&work) {
        assert!(raw.fetch(number, "BODY.PEEK[]") == *message, "copy {number}");
        assert_eq!(raw.number(number, "RFC822.SIZE"), message.len());
    }
    assert!(raw.command(format!("FETCH {} UID", work.len() + 1).as_bytes()).1.contains("t BAD"));
}
