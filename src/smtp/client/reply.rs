//! What a server answers (RFC 5321 §4.2), read from lines of any content: bounded, cleaned, never trusted. Pure.

use std::fmt;

/// Lines a reply may have; a server that says more is not one we talk to.
const MOST_LINES: usize = 200;

/// Bytes of text that are kept of one line.
const MOST_TEXT: usize = 512;

/// Bytes of text that are told of one reply, in logs and reports.
const MOST_TOLD: usize = 600;

/// An enhanced status code (RFC 3463): class, subject, detail.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Enhanced(pub u8, pub u16, pub u16);

/// A whole reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 200 to 599.
    pub code: u16,
    /// Of the first line that has one of the reply's own class (RFC 2034 §4).
    pub enhanced: Option<Enhanced>,
    /// The text of each line without codes: printable ASCII, bounded.
    pub lines: Vec<String>,
}

/// Puts a reply together, line by line.
#[derive(Debug, Default)]
pub struct Parser {
    reply: Option<Reply>,
}

/// Why something is no reply.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Garbled(pub &'static str);

impl Parser {
    /// Takes one line, without its CRLF. Gives the reply with its last line.
    ///
    /// ```abnf
    /// Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF   ; RFC 5321 §4.2
    /// Reply-code = %x32-35 %x30-35 %x30-39
    /// ```
    pub fn push(&mut self, line: &[u8]) -> Result<Option<Reply>, Garbled> {
        let (code, last, text) = split(line)?;
        let text = clean(text);
        let (enhanced, text) = match Enhanced::parse_prefix(&text) {
            Some((enhanced, rest)) if u16::from(enhanced.0) == code / 100 => (Some(enhanced), rest.to_owned()),
            _ => (None, text),
        };
        let reply = self.reply.get_or_insert_with(|| Reply { code, enhanced, lines: Vec::new() });
        if reply.code != code {
            return Err(Garbled("reply changes its code"));
        }
        if reply.lines.len() >= MOST_LINES {
            return Err(Garbled("endless reply"));
        }
        reply.enhanced = reply.enhanced.or(enhanced);
        reply.lines.push(text);
        Ok(if last { self.reply.take() } else { None })
    }
}

fn split(line: &[u8]) -> Result<(u16, bool, &[u8]), Garbled> {
    let [a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] = line else {
        return Err(Garbled("no reply code"));
    };
    let code = [a, b, c].iter().fold(0, |code, digit| code * 10 + u16::from(**digit - b'0'));
    match rest {
        [] => Ok((code, true, rest)),
        [b' ', text @ ..] => Ok((code, true, text)),
        [b'-', text @ ..] => Ok((code, false, text)),
        _ => Err(Garbled("no reply code")),
    }
}

/// Printable ASCII on one line, bounded: what may stand in logs, reports and the outcome log.
pub fn clean(text: &[u8]) -> String {
    let printable = |byte: &u8| match byte {
        0..0x20 | 0x7f => ' ',
        0x20..0x7f => char::from(*byte),
        _ => '?',
    };
    text.iter().take(MOST_TEXT).map(printable).collect::<String>().trim_end().to_owned()
}

impl Reply {
    /// 2xx?
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 4xx?
    pub fn is_temporary(&self) -> bool {
        self.code / 100 == 4
    }

    /// 5xx?
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// The status for reports: the server's own, or one that says no more than its reply code (RFC 3463 §2).
    pub fn status(&self) -> Enhanced {
        self.enhanced.unwrap_or(Enhanced(if self.is_permanent() { 5 } else { (self.code / 100) as u8 }, 0, 0))
    }
}

impl fmt::Display for Reply {
    /// On one line, bounded: `550 5.1.1 first line second line`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(out, " {enhanced}")?;
        }
        let mut room = MOST_TOLD;
        for line in self.lines.iter().filter(|line| !line.is_empty()) {
            let told = line.get(..line.len().min(room)).unwrap_or_default();
            if told.is_empty() {
                return out.write_str(" ...");
            }
            write!(out, " {told}")?;
            room -= told.len();
        }
        Ok(())
    }
}

impl Enhanced {
    /// A code at the beginning of a text, and what follows it.
    ///
    /// ```abnf
    /// status-code = ( "2" / "4" / "5" ) "." 1*3DIGIT "." 1*3DIGIT   ; RFC 3463 §2
    /// ```
    pub fn parse_prefix(text: &str) -> Option<(Enhanced, &str)> {
        let (code, rest) = text.split_once(' ').unwrap_or((text, ""));
        let mut parts = code.split('.');
        let mut part = || {
            let digits = parts.next().filter(|digits| matches!(digits.len(), 1..=3))?;
            if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse::<u16>().ok() } else { None }
        };
        let class = part().filter(|class| matches!(class, 2 | 4 | 5))?;
        let found = Enhanced(class as u8, part()?, part()?);
        if parts.next().is_some() { None } else { Some((found, rest.trim_start())) }
    }
}

impl fmt::Display for Enhanced {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(lines: &[&[u8]]) -> Result<Option<Reply>, Garbled> {
        let mut parser = Parser::default();
        let mut found = None;
        for line in lines {
            assert_eq!(found, None, "a line after the last");
            found = parser.push(line)?;
        }
        Ok(found)
    }

    #[test]
    fn good_replies() {
        let told = |lines: &[&[u8]]| read(lines).unwrap().unwrap().to_string();
        assert_eq!(told(&[b"250"]), "250");
        assert_eq!(told(&[b"250 ok"]), "250 ok");
        assert_eq!(told(&[b"550-5.1.1 no such", b"550-5.1.1", b"550 5.1.1 user"]), "550 5.1.1 no such user");
        assert_eq!(told(&[b"250-mx.example", b"250-SIZE 1000", b"250 8BITMIME"]), "250 mx.example SIZE 1000 8BITMIME");
        assert_eq!(told(&[b"550 a\x1b[31m\tb\xff\r"]), "550 a [31m b?");
    }

    #[test]
    fn a_status_of_another_class_is_text() {
        let reply = read(&[b"450 5.1.1 try again"]).unwrap().unwrap();
        assert_eq!((reply.enhanced, reply.status().to_string()), (None, "4.0.0".to_owned()));
        assert_eq!(reply.lines, ["5.1.1 try again"]);
        let reply = read(&[b"550 5.7.1"]).unwrap().unwrap();
        assert_eq!((reply.status(), reply.lines), (Enhanced(5, 7, 1), vec![String::new()]));
        for text in ["5.1", "5.1.1.1", "5..1", "3.0.0", "5.1.1000", "5.+1.1", "", "5.1.1x"] {
            assert_eq!(Enhanced::parse_prefix(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_reply() {
        for lines in [
            &[&b""[..]] as &[&[u8]],
            &[b"25"],
            &[b"150 x"],
            &[b"600 x"],
            &[b"2500"],
            &[b"250_x"],
            &[b"x50 x"],
            &[b"HTTP/1.1 200 OK"],
            &[b"250-a", b"550 b"],
            &[b"250-a", b"b"],
        ] {
            assert!(read(lines).is_err(), "{lines:?}");
        }
        let mut parser = Parser::default();
        let last = (0..=MOST_LINES).map(|_| parser.push(b"250-more")).last().unwrap();
        assert_eq!(last, Err(Garbled("endless reply")));
        assert_eq!(read(&[b"250-a"]), Ok(None));
    }

    #[test]
    fn what_is_told_is_bounded() {
        let mut parser = Parser::default();
        let line = [b"250-".as_slice(), &[b'x'; 5000]].concat();
        for _ in 0..MOST_LINES - 1 {
            assert_eq!(parser.push(&line), Ok(None));
        }
        let told = parser.push(b"250 end").unwrap().unwrap().to_string();
        assert!(told.len() < MOST_TOLD + 20 && told.ends_with(" ..."), "{}", told.len());
    }

    proptest! {
        #[test]
        fn no_line_breaks_it(lines in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            "[245][0-9]{2}[- ]?([245]\\.[0-9.]{0,8} ?)?.{0,20}".prop_map(String::into_bytes),
        ], 0..8)) {
            let mut parser = Parser::default();
            for line in &lines {
                if let Ok(Some(reply)) = parser.push(line) {
                    let told = reply.to_string();
                    prop_assert!(told.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{told:?}");
                    prop_assert!((200..600).contains(&reply.code));
                }
            }
        }
    }
}
