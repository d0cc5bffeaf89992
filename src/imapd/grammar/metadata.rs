//! GETMETADATA and SETMETADATA (RFC 5464). Pure.

use super::command::Command;
use super::cursor::{Bad, Cursor, Parsed};
use super::folder::mailbox;

/// Entries in one command.
const MOST: usize = 200;
/// Bytes of the name of one.
const LONGEST: usize = 250;

/// What GETMETADATA asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Values of more bytes are not told.
    pub most: Option<u64>,
    /// So many levels below each entry, too.
    pub depth: usize,
    /// Names, in lower case.
    pub entries: Vec<String>,
}

/// ```abnf
/// getmetadata         = "GETMETADATA" [SP getmetadata-options] SP mailbox SP entries      ; RFC 5464 §5
/// getmetadata-options = "(" getmetadata-option *(SP getmetadata-option) ")"
/// entries             = entry / "(" entry *(SP entry) ")"
/// ```
/// The RFC's examples have the options behind the mailbox; so may commands.
pub fn get(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    let mut wanted = Wanted::default();
    if cursor.peek() == Some(b'(') {
        options(cursor, &mut wanted)?;
        cursor.space()?;
    }
    let name = mailbox(cursor)?;
    cursor.space()?;
    if [b"(D", b"(d", b"(M", b"(m"].iter().any(|start| cursor.rest().starts_with(*start)) {
        options(cursor, &mut wanted)?;
        cursor.space()?;
    }
    wanted.entries = if cursor.peek() == Some(b'(') { cursor.list(entry)? } else { vec![entry(cursor)?] };
    if wanted.entries.is_empty() || wanted.entries.len() > MOST {
        return Err(Bad("no entries, or too many"));
    }
    Ok(Command::GetMetadata { name, wanted })
}

/// ```abnf
/// maxsize-opt = "MAXSIZE" SP number
/// scope-opt   = "DEPTH" SP ("0" / "1" / "infinity")
/// ```
fn options(cursor: &mut Cursor<'_>, wanted: &mut Wanted) -> Parsed<()> {
    cursor.list(|cursor| {
        let option = cursor.atom()?.to_ascii_uppercase();
        cursor.space()?;
        match option.as_str() {
            "MAXSIZE" => wanted.most = Some(cursor.number64()?),
            "DEPTH" => {
                wanted.depth = match cursor.atom()?.to_ascii_lowercase().as_str() {
                    "0" => 0,
                    "1" => 1,
                    "infinity" => usize::MAX,
                    _ => return Err(Bad("no such depth")),
                };
            }
            _ => return Err(Bad("no such option")),
        }
        Ok(())
    })?;
    Ok(())
}

/// ```abnf
/// setmetadata  = "SETMETADATA" SP mailbox SP entry-values
/// entry-values = "(" entry SP value *(SP entry SP value) ")"
/// value        = nstring / literal8
/// ```
pub fn set(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    let name = mailbox(cursor)?;
    cursor.space()?;
    let values = cursor.list(|cursor| {
        let name = entry(cursor)?;
        cursor.space()?;
        Ok((name, cursor.nstring()?.map(|value| value.into_owned())))
    })?;
    if values.is_empty() || values.len() > MOST {
        return Err(Bad("no entries, or too many"));
    }
    Ok(Command::SetMetadata { name, values })
}

/// `entry = astring`: a path below `/private` or `/shared`, the same in any case (RFC 5464 §3.1).
fn entry(cursor: &mut Cursor<'_>) -> Parsed<String> {
    let name = cursor.astring()?;
    let fine = |byte: &u8| (0x20..0x7f).contains(byte) && !matches!(byte, b'*' | b'%');
    let name = String::from_utf8(name.to_ascii_lowercase()).map_err(|_| Bad("this is no entry"))?;
    let top = name.split('/').nth(1).unwrap_or_default();
    let is_path = name.starts_with('/') && !name.ends_with('/') && !name.contains("//");
    match () {
        () if !is_path || !name.as_bytes().iter().all(fine) || name.len() > LONGEST => Err(Bad("this is no entry")),
        () if top != "private" && top != "shared" => Err(Bad("an entry is below /private or /shared")),
        () => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(read: fn(&mut Cursor<'_>) -> Parsed<Command>, text: &str) -> Parsed<Command> {
        let mut cursor = Cursor::new(text.as_bytes());
        let command = read(&mut cursor)?;
        cursor.end()?;
        Ok(command)
    }

    #[test]
    fn asked_for() {
        let entries = vec!["/shared/comment".to_owned(), "/private/comment".to_owned()];
        let wanted = Wanted { most: Some(1024), depth: usize::MAX, entries };
        let expected = Command::GetMetadata { name: b"INBOX".to_vec(), wanted };
        for text in [
            "(MAXSIZE 1024 DEPTH infinity) INBOX (/shared/comment /private/comment)",
            "\"INBOX\" (depth Infinity maxsize 1024) (/Shared/Comment \"/private/comment\")",
        ] {
            assert_eq!(read(get, text), Ok(expected.clone()), "{text}");
        }
        for bad in ["", "INBOX", "INBOX ()", "INBOX comment", "INBOX /other/x", "INBOX /shared/", "INBOX /shared//x"] {
            assert!(read(get, bad).is_err(), "{bad}");
        }
        for bad in ["(DEPTH 2) INBOX /shared/x", "(X 1) INBOX /shared/x", "INBOX \"/shared/*\"", "INBOX /shared/x /shared/y"] {
            assert!(read(get, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn given() {
        let values = vec![
            ("/private/a".to_owned(), Some(b"b c".to_vec())),
            ("/shared/d".to_owned(), None),
            ("/shared/e".to_owned(), Some(b"\0\r\n".to_vec())),
        ];
        let expected = Command::SetMetadata { name: Vec::new(), values };
        assert_eq!(read(set, "\"\" (/private/A \"b c\" /shared/d NIL /shared/e ~{3}\r\n\0\r\n)"), Ok(expected));
        for bad in ["INBOX", "INBOX ()", "INBOX (/private/a)", "INBOX /private/a x", "INBOX (/private/a x)", "INBOX (x \"y\")"] {
            assert!(read(set, bad).is_err(), "{bad}");
        }
    }
}
