//! Header fields as ranges of bytes (RFC 5322 §2.2), for LF and CRLF line ends alike. Never an error: a line that is no
//! field is told as one without a name.

use std::ops::Range;

/// One field, or one line that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Of the name, without blanks before the colon; empty if the line is not a field.
    pub name: Range<usize>,
    /// From after the colon to the last line end, folded lines included.
    pub value: Range<usize>,
    /// All of it, from the name's first byte to after its last line end.
    pub whole: Range<usize>,
}

impl Field {
    /// Is this the field of that name, in any case?
    pub fn is(&self, message: &[u8], name: &str) -> bool {
        message.get(self.name.clone()).is_some_and(|own| own.eq_ignore_ascii_case(name.as_bytes()))
    }
}

/// The fields of a message, in order, up to the empty line or the end.
pub fn fields(message: &[u8]) -> impl Iterator<Item = Field> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = message.get(at..)?;
        if rest.is_empty() || is_blank(rest) {
            return None;
        }
        let start = at;
        at += line_len(rest);
        while matches!(message.get(at), Some(b' ' | b'\t')) {
            at += line_len(message.get(at..).unwrap_or_default());
        }
        Some(field(message, start..at))
    })
}

fn field(message: &[u8], whole: Range<usize>) -> Field {
    let bytes = message.get(whole.clone()).unwrap_or_default();
    let colon = bytes.iter().position(|&byte| !(33..127).contains(&byte) || byte == b':').and_then(|end| {
        let blanks = bytes.get(end..)?.iter().take_while(|&&byte| matches!(byte, b' ' | b'\t')).count();
        (end > 0 && bytes.get(end + blanks) == Some(&b':')).then_some((end, end + blanks + 1))
    });
    match colon {
        Some((end, value)) => {
            Field { name: whole.start..whole.start + end, value: whole.start + value..whole.end - line_end(bytes), whole }
        }
        None => Field { name: whole.start..whole.start, value: whole.start..whole.end - line_end(bytes), whole },
    }
}

/// Where the header ends: the offset of the empty line, or the length if there is none.
pub fn end(message: &[u8]) -> usize {
    let mut at = 0;
    while let Some(rest) = message.get(at..).filter(|rest| !rest.is_empty() && !is_blank(rest)) {
        at += line_len(rest);
    }
    at
}

/// A value on one line, without line ends and outer blanks (RFC 5322 §2.2.3).
pub fn unfold(value: &[u8]) -> Vec<u8> {
    let mut line = value.trim_ascii().to_vec();
    line.retain(|byte| !matches!(byte, b'\r' | b'\n'));
    line
}

/// The field in which a draft of webmail keeps how it is to be sent. Nobody gets it.
pub const DRAFT: &str = "X-Pillarbox-Draft";

/// Fields in which mailboxes keep state: stripped when mail is delivered, not shown to clients.
pub fn is_state(name: &[u8]) -> bool {
    const NAMES: [&str; 10] =
        ["Status", "X-Status", "X-Keywords", "X-UID", "X-IMAP", "X-IMAPbase", "X-Pillarbox", "X-UIDL", "Content-Length", "Lines"];
    NAMES.iter().any(|state| name.eq_ignore_ascii_case(state.as_bytes()))
}

fn is_blank(line: &[u8]) -> bool {
    line.starts_with(b"\n") || line.starts_with(b"\r\n")
}

fn line_len(bytes: &[u8]) -> usize {
    memchr::memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1)
}

/// Bytes of the line end at the end: 0, 1 or 2.
fn line_end(bytes: &[u8]) -> usize {
    match bytes {
        [.., b'\r', b'\n'] => 2,
        [.., b'\n'] => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(message: &str) -> Vec<(&str, &str)> {
        fields(message.as_bytes()).map(|f| (&message[f.name], &message[f.value])).collect()
    }

    #[test]
    fn fields_are_told_in_order_with_their_folds() {
        assert_eq!(told("A: 1\nB:2\n 3\n\nC: 4\n"), [("A", " 1"), ("B", "2\n 3")]);
        assert_eq!(told("A: 1\r\nB : x\r\n\ty\r\n\r\nbody"), [("A", " 1"), ("B", " x\r\n\ty")]);
        assert_eq!(told("no field\nA:\n\n"), [("", "no field"), ("A", "")]);
        assert_eq!(told(" first line folded\n:x\nA: b"), [("", " first line folded"), ("", ":x"), ("A", " b")]);
        assert_eq!(told("\nA: b"), []);
        assert_eq!(told(""), []);
    }

    #[test]
    fn the_header_ends_at_the_first_empty_line() {
        assert_eq!(end(b"A: 1\n\nbody"), 5);
        assert_eq!(end(b"A: 1\r\n\r\nbody"), 6);
        assert_eq!(end(b"\nbody"), 0);
        assert_eq!(end(b"A: 1"), 4);
    }

    #[test]
    fn values_unfold_to_one_line() {
        assert_eq!(unfold(b" a\r\n b\t\n\tc "), b"a b\t\tc");
    }
}
