//! The tokens of IMAP (RFC 9051 §9, RFC 3501 §9), read from one whole command: its lines, with the bytes of its literals
//! where they were announced. Pure.

use std::borrow::Cow;

/// What is wrong with a command, for the text after `BAD`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Bad(pub &'static str);

/// A token, or why there is none.
pub type Parsed<T> = Result<T, Bad>;

/// A place in a command.
#[derive(Copy, Clone, Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

/// `atom-specials` but `]`, which an astring may hold; and what is no CHAR.
pub(super) fn is_atom(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']')
}

fn is_astring(byte: u8) -> bool {
    is_atom(byte) || byte == b']'
}

impl<'a> Cursor<'a> {
    /// At the beginning.
    pub fn new(command: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: command }
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next byte, not taken.
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Takes this byte, if it is next.
    pub fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.skip(1);
        }
        found
    }

    /// Takes this word, in any case, if it is next.
    pub fn eat_word(&mut self, word: &str) -> bool {
        let found = self.rest.get(..word.len()).is_some_and(|next| next.eq_ignore_ascii_case(word.as_bytes()));
        if found {
            self.skip(word.len());
        }
        found
    }

    /// Takes this byte.
    pub fn expect(&mut self, byte: u8, else_bad: &'static str) -> Parsed<()> {
        if self.eat(byte) { Ok(()) } else { Err(Bad(else_bad)) }
    }

    /// `SP`
    pub fn space(&mut self) -> Parsed<()> {
        self.expect(b' ', "a space is missing")
    }

    /// Nothing follows.
    pub fn end(&self) -> Parsed<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(Bad("too much for this command")) }
    }

    /// All bytes like this, perhaps none.
    pub fn take_while(&mut self, like: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| !like(*byte)).unwrap_or(self.rest.len());
        self.take(end)
    }

    /// So many bytes; fewer at the end.
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at_checked(count).unwrap_or((self.rest, &[]));
        self.rest = rest;
        taken
    }

    fn skip(&mut self, count: usize) {
        self.take(count);
    }

    /// `atom = 1*ATOM-CHAR`
    pub fn atom(&mut self) -> Parsed<&'a str> {
        let atom = self.take_while(is_atom);
        match std::str::from_utf8(atom) {
            Ok(atom) if !atom.is_empty() => Ok(atom),
            _ => Err(Bad("a word is missing")),
        }
    }

    /// `tag = 1*<any ASTRING-CHAR except "+">`
    pub fn tag(&mut self) -> Parsed<&'a str> {
        let tag = self.take_while(|byte| is_astring(byte) && byte != b'+');
        match std::str::from_utf8(tag) {
            Ok(tag) if !tag.is_empty() => Ok(tag),
            _ => Err(Bad("a tag is missing")),
        }
    }

    /// `number = 1*DIGIT`, of 32 bits.
    pub fn number(&mut self) -> Parsed<u32> {
        self.number64().and_then(|number| u32::try_from(number).map_err(|_| Bad("a number is too big")))
    }

    /// `number64 = 1*DIGIT`, of 63 bits (RFC 9051 §9).
    pub fn number64(&mut self) -> Parsed<u64> {
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        let text = std::str::from_utf8(digits).unwrap_or_default();
        if text.is_empty() {
            return Err(Bad("a number is missing"));
        }
        text.parse::<u64>().ok().filter(|number| *number < 1 << 63).ok_or(Bad("a number is too big"))
    }

    /// `nz-number`
    pub fn nz_number(&mut self) -> Parsed<u32> {
        self.number().and_then(|number| if number == 0 { Err(Bad("zero can't be here")) } else { Ok(number) })
    }

    /// `astring = 1*ASTRING-CHAR / string`
    pub fn astring(&mut self) -> Parsed<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"' | b'{') => self.string(),
            // Alone it is a character like others.
            Some(b'~') if self.rest().starts_with(b"~{") => self.string(),
            _ => {
                let atom = self.take_while(is_astring);
                if atom.is_empty() { Err(Bad("a string is missing")) } else { Ok(Cow::Borrowed(atom)) }
            }
        }
    }

    /// `string = quoted / literal`
    pub fn string(&mut self) -> Parsed<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{' | b'~') => self.literal().map(Cow::Borrowed),
            _ => Err(Bad("a string is missing")),
        }
    }

    /// `nstring = string / nil`
    pub fn nstring(&mut self) -> Parsed<Option<Cow<'a, [u8]>>> {
        if matches!(self.peek(), Some(b'"' | b'{' | b'~')) {
            return self.string().map(Some);
        }
        if self.eat_word("NIL") { Ok(None) } else { Err(Bad("a string or NIL is missing")) }
    }

    /// `list-mailbox = 1*list-char / string`, where list-chars are ASTRING-CHARs and wildcards.
    pub fn list_mailbox(&mut self) -> Parsed<Cow<'a, [u8]>> {
        if matches!(self.peek(), Some(b'"' | b'{')) {
            return self.string();
        }
        let pattern = self.take_while(|byte| is_astring(byte) || matches!(byte, b'%' | b'*'));
        if pattern.is_empty() { Err(Bad("a pattern is missing")) } else { Ok(Cow::Borrowed(pattern)) }
    }

    /// `quoted = DQUOTE *QUOTED-CHAR DQUOTE`, where what is not ASCII is UTF-8 (RFC 6855 §3).
    fn quoted(&mut self) -> Parsed<Cow<'a, [u8]>> {
        let text = self.quoted_bytes()?;
        if std::str::from_utf8(&text).is_ok() { Ok(text) } else { Err(Bad("a quoted string is not in UTF-8")) }
    }

    fn quoted_bytes(&mut self) -> Parsed<Cow<'a, [u8]>> {
        self.expect(b'"', "a string is missing")?;
        let plain = self.take_while(|byte| !matches!(byte, b'"' | b'\\' | b'\r' | b'\n'));
        if self.eat(b'"') {
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.to_vec();
        loop {
            if self.eat(b'"') {
                return Ok(Cow::Owned(text));
            }
            self.expect(b'\\', "a string does not end")?;
            match self.take(1) {
                [byte @ (b'"' | b'\\')] => text.push(*byte),
                _ => return Err(Bad("only a quote or a backslash can follow a backslash")),
            }
            text.extend_from_slice(self.take_while(|byte| !matches!(byte, b'"' | b'\\' | b'\r' | b'\n')));
        }
    }

    /// `literal = "{" number64 ["+"] "}" CRLF *CHAR8`, `literal8 = "~" literal`; read before by whoever framed the command.
    pub fn literal(&mut self) -> Parsed<&'a [u8]> {
        self.eat(b'~');
        self.expect(b'{', "a literal is missing")?;
        let length = self.number64()?;
        self.eat(b'+');
        self.expect(b'}', "a literal is not announced right")?;
        self.expect(b'\r', "a literal is not announced right")?;
        self.expect(b'\n', "a literal is not announced right")?;
        let length = usize::try_from(length).map_err(|_| Bad("a literal is too long"))?;
        let bytes = self.take(length);
        if bytes.len() == length { Ok(bytes) } else { Err(Bad("a literal is not whole")) }
    }

    /// `"(" item *(SP item) ")"`; perhaps without items.
    pub fn list<T>(&mut self, mut item: impl FnMut(&mut Cursor<'a>) -> Parsed<T>) -> Parsed<Vec<T>> {
        self.expect(b'(', "a list is missing")?;
        let mut items = Vec::new();
        if self.eat(b')') {
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            if self.eat(b')') {
                return Ok(items);
            }
            self.space()?;
        }
    }
}

/// A literal that ends a line: how long it is, and whether the client waits to be asked for it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Bytes.
    pub length: u64,
    /// `{n}`, not `{n+}` (RFC 7888).
    pub waits: bool,
}

/// Does this line, given without its CRLF, end in a literal's announcement?
pub fn announced(line: &[u8]) -> Option<Announced> {
    let line = line.strip_suffix(b"}")?;
    let open = line.iter().rposition(|byte| *byte == b'{')?;
    let (mut digits, mut waits) = (line.get(open + 1..)?, true);
    if let Some(before) = digits.strip_suffix(b"+") {
        (digits, waits) = (before, false);
    }
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    Some(Announced { length: text.parse().ok()?, waits })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Cursor<'_> {
        Cursor::new(text.as_bytes())
    }

    #[test]
    fn strings_in_every_form() {
        assert_eq!(at("abc] x").astring().unwrap(), b"abc]".as_slice());
        assert_eq!(at("\"a \\\"b\\\\ \"").astring().unwrap(), b"a \"b\\ ".as_slice());
        assert_eq!(at("{3}\r\na\r\nrest").astring().unwrap(), b"a\r\n".as_slice());
        assert_eq!(at("~{3+}\r\na\0brest").string().unwrap(), b"a\0b".as_slice());
        assert_eq!(at("nil").nstring().unwrap(), None);
        assert_eq!(at("a%b*]").list_mailbox().unwrap(), b"a%b*]".as_slice());
        assert!(Cursor::new(b"\"\xff\"").astring().is_err() && at("\"ä\"").astring().is_ok());
        for bad in ["", " ", "(", "\"open", "\"a\\n\"", "{4}\r\nabc", "{3}abc", "{x}\r\n", "{99999999999999999999}\r\n"] {
            assert!(at(bad).astring().is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_have_bounds() {
        assert_eq!(at("4294967295").number(), Ok(u32::MAX));
        assert_eq!(at("9223372036854775807").number64(), Ok(i64::MAX as u64));
        for bad in ["4294967296", "-1", "", "x"] {
            assert!(at(bad).number().is_err(), "{bad}");
        }
        assert!(at("9223372036854775808").number64().is_err() && at("0").nz_number().is_err());
    }

    #[test]
    fn lists_and_announcements() {
        assert_eq!(at("(a b c)").list(Cursor::atom), Ok(vec!["a", "b", "c"]));
        assert_eq!(at("()").list(Cursor::atom), Ok(vec![]));
        assert!(at("(a b").list(Cursor::atom).is_err() && at("(a  b)").list(Cursor::atom).is_err());
        assert_eq!(announced(b"a LOGIN {5}"), Some(Announced { length: 5, waits: true }));
        assert_eq!(announced(b"a LOGIN {5+}"), Some(Announced { length: 5, waits: false }));
        assert_eq!(
            (announced(b"a b}"), announced(b"a {}"), announced(b"a {5} "), announced(b"a {-5}")),
            (None, None, None, None)
        );
    }
}
