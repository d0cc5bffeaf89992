//! Address lists as they are found in headers (RFC 5322 §3.4 and §4.4), in the pieces that an IMAP ENVELOPE shows (RFC 3501
//! §7.4.2). One pass, no error: what is no address is shown as a mailbox without a domain.

use super::{Address, Domain, header};

/// One entry of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A mailbox.
    Mailbox(Mailbox),
    /// Mailboxes of this group follow.
    GroupStart(Vec<u8>),
    /// The group ends.
    GroupEnd,
}

/// A mailbox, undecoded: quotes and comments are taken off, encoded words are left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mailbox {
    /// The display name, or the comment behind an old address.
    pub name: Option<Vec<u8>>,
    /// `@a,@b` before the address (obsolete).
    pub route: Option<Vec<u8>>,
    /// Before the at sign.
    pub local: Vec<u8>,
    /// After it; empty if there was none.
    pub domain: Vec<u8>,
}

impl Entry {
    /// Of a mailbox that one can write to.
    pub fn address(&self) -> Option<Address> {
        let Entry::Mailbox(Mailbox { local, domain, .. }) = self else { return None };
        let domain = Domain::parse(std::str::from_utf8(domain).ok()?).ok()?;
        Address::new(std::str::from_utf8(local).ok()?, domain).ok()
    }
}

/// Entries of one list that are kept.
const ENTRIES: usize = 2000;

/// Reads a list. `value` may be folded.
pub fn parse(value: &[u8]) -> Vec<Entry> {
    read(value, ENTRIES)
}

/// The first entry of a list. What stands behind it is not read.
pub fn first(value: &[u8]) -> Option<Entry> {
    read(value, 1).into_iter().next()
}

/// Whom a header names as recipients, first or again (RFC 5322 §3.6.3, §3.6.6), as far as one can write to them.
pub fn recipients(head: &[u8]) -> Vec<Address> {
    const FIELDS: [&str; 6] = ["To", "Cc", "Bcc", "Resent-To", "Resent-Cc", "Resent-Bcc"];
    let fields = header::fields(head).filter(|field| FIELDS.iter().any(|name| field.is(head, name)));
    fields.flat_map(|field| parse(head.get(field.value).unwrap_or_default())).filter_map(|entry| entry.address()).collect()
}

fn read(value: &[u8], most: usize) -> Vec<Entry> {
    let mut reader = Reader { rest: value, in_group: false, entries: Vec::new() };
    while reader.entries.len() < most && !reader.rest.is_empty() {
        reader.entry();
    }
    if reader.in_group {
        reader.entries.push(Entry::GroupEnd);
    }
    reader.entries
}

#[derive(Debug, PartialEq)]
enum Token {
    /// An atom, a quoted string or a domain literal, and whether blanks stood before it.
    Word(Vec<u8>, bool),
    Comment(Vec<u8>),
    Special(u8),
}

struct Reader<'a> {
    rest: &'a [u8],
    in_group: bool,
    entries: Vec<Entry>,
}

/// Words as they are put together: a phrase with its blanks, an address without.
#[derive(Default)]
struct Words {
    phrase: Vec<u8>,
    joined: Vec<u8>,
    any: bool,
}

impl Words {
    fn add(&mut self, word: &[u8], blank: bool) {
        if blank && self.any {
            self.phrase.push(b' ');
        }
        self.phrase.extend_from_slice(word);
        self.joined.extend_from_slice(word);
        self.any = true;
    }
}

impl Reader<'_> {
    /// One entry up to its comma.
    fn entry(&mut self) {
        let (mut words, mut comment) = (Words::default(), None);
        loop {
            match self.token() {
                Some(Token::Word(word, blank)) => words.add(&word, blank),
                // A name stands behind the address that it is a comment to.
                Some(Token::Comment(text)) => comment = Some(text).filter(|_| words.any),
                Some(Token::Special(b'<')) => return self.route_address(words, comment),
                Some(Token::Special(b'@')) => return self.domain(words.joined, comment),
                Some(Token::Special(b':')) if !self.in_group && words.any => {
                    self.in_group = true;
                    self.entries.push(Entry::GroupStart(words.phrase));
                    return;
                }
                Some(Token::Special(end @ (b',' | b';'))) => {
                    self.bare(words, comment);
                    return self.ended(end);
                }
                Some(Token::Special(other)) => words.add(&[other], false),
                None => return self.bare(words, comment),
            }
        }
    }

    /// Words that no address followed.
    fn bare(&mut self, words: Words, comment: Option<Vec<u8>>) {
        if words.any {
            self.push(Mailbox { name: comment, local: words.joined, ..Mailbox::default() });
        }
    }

    fn push(&mut self, mailbox: Mailbox) {
        self.entries.push(Entry::Mailbox(mailbox));
    }

    /// After a comma or a semicolon.
    fn ended(&mut self, end: u8) {
        if end == b';' && self.in_group {
            self.in_group = false;
            self.entries.push(Entry::GroupEnd);
        }
    }

    /// `addr-spec` after its at sign, and the comments behind it.
    fn domain(&mut self, local: Vec<u8>, mut comment: Option<Vec<u8>>) {
        let mut domain = Vec::new();
        let end = loop {
            let before = self.rest;
            match self.token() {
                // `a@b c@d`: only around dots may there be blanks (RFC 5322 §4.4). The comma was forgotten.
                Some(Token::Word(word, true)) if !(domain.is_empty() || domain.ends_with(b".") || word.starts_with(b".")) => {
                    self.rest = before;
                    return self.push(Mailbox { name: comment, route: None, local, domain });
                }
                Some(Token::Word(word, _)) => domain.extend_from_slice(&word),
                Some(Token::Comment(text)) => comment = Some(text),
                // `joe@example.org <joe@example.org>`: the first was meant as a name.
                Some(Token::Special(b'<')) => {
                    let phrase = [local.as_slice(), b"@", &domain].concat();
                    let joined = phrase.clone();
                    return self.route_address(Words { phrase, joined, any: true }, comment);
                }
                Some(Token::Special(end @ (b',' | b';'))) => break end,
                Some(Token::Special(other)) => domain.push(other),
                None => break b',',
            }
        };
        self.push(Mailbox { name: comment, route: None, local, domain });
        self.ended(end);
    }

    /// `[obs-route] addr-spec ">"` after its bracket, and what follows it up to the comma.
    fn route_address(&mut self, name: Words, mut comment: Option<Vec<u8>>) {
        let (mut mailbox, mut in_domain) = (Mailbox::default(), false);
        let mut end = None;
        while end.is_none() {
            match self.token() {
                Some(Token::Word(word, _)) if in_domain => mailbox.domain.extend_from_slice(&word),
                Some(Token::Word(word, _)) => mailbox.local.extend_from_slice(&word),
                Some(Token::Comment(text)) => comment = Some(text),
                Some(Token::Special(b'@')) if mailbox.local.is_empty() && mailbox.route.is_none() => self.route(&mut mailbox),
                Some(Token::Special(b'@')) if !in_domain => in_domain = true,
                Some(Token::Special(b'<')) => {}
                Some(Token::Special(b'>')) => end = Some(b'>'),
                // A bracket that was never closed ends with the entry.
                Some(Token::Special(byte @ (b',' | b';'))) => end = Some(byte),
                Some(Token::Special(other)) if in_domain => mailbox.domain.push(other),
                Some(Token::Special(other)) => mailbox.local.push(other),
                None => end = Some(b','),
            }
        }
        while end == Some(b'>') {
            match self.token() {
                Some(Token::Comment(text)) => comment = Some(text),
                Some(Token::Special(byte @ (b',' | b';'))) => end = Some(byte),
                Some(_) => {}
                None => end = Some(b','),
            }
        }
        mailbox.name = if name.any { Some(name.phrase) } else { comment };
        self.push(mailbox);
        self.ended(end.unwrap_or(b','));
    }

    /// `"@" Domain *("," "@" Domain) ":"` after its first at sign.
    fn route(&mut self, mailbox: &mut Mailbox) {
        let mut route = vec![b'@'];
        // Without a colon it was none: the bracket's end is left for the caller.
        while !matches!(self.rest.first(), None | Some(b'>')) {
            match self.token() {
                Some(Token::Special(b':')) => break,
                Some(Token::Word(word, _)) => route.extend_from_slice(&word),
                Some(Token::Special(other)) => route.push(other),
                Some(Token::Comment(_)) => {}
                None => break,
            }
        }
        mailbox.route = Some(route);
    }

    fn token(&mut self) -> Option<Token> {
        let start = self.rest.len();
        while let Some((b' ' | b'\t' | b'\r' | b'\n' | 0, rest)) = self.rest.split_first() {
            self.rest = rest;
        }
        let blank = self.rest.len() < start;
        let (&byte, rest) = self.rest.split_first()?;
        Some(match byte {
            b'"' => {
                self.rest = rest;
                Token::Word(self.quoted(b'"', None), blank)
            }
            b'(' => {
                self.rest = rest;
                Token::Comment(self.quoted(b')', Some(b'(')))
            }
            b'<' | b'>' | b'@' | b',' | b';' | b':' => {
                self.rest = rest;
                Token::Special(byte)
            }
            b'[' => {
                let end = rest
                    .iter()
                    .position(|byte| matches!(byte, b']' | b',' | b'>' | b'"'))
                    .map_or(rest.len(), |at| at + usize::from(rest.get(at) == Some(&b']')));
                self.word(end + 1, blank)
            }
            _ => {
                let is_end = |byte: &u8| b" \t\r\n\0\"(<>@,;:[".contains(byte);
                // At least one byte, so that every token is a step.
                let end = rest.iter().position(is_end).unwrap_or(rest.len());
                self.word(end + 1, blank)
            }
        })
    }

    fn word(&mut self, len: usize, blank: bool) -> Token {
        let (word, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        let mut word = word.to_vec();
        word.retain(|byte| !matches!(byte, b'\r' | b'\n' | 0));
        Token::Word(word, blank)
    }

    /// The inside of a quoted string, or of a comment, which may nest, up to its end.
    fn quoted(&mut self, end: u8, opening: Option<u8>) -> Vec<u8> {
        let (mut text, mut depth) = (Vec::new(), 0_usize);
        while let Some((&byte, rest)) = self.rest.split_first() {
            self.rest = rest;
            match byte {
                _ if byte == end && depth == 0 => break,
                _ if byte == end => {
                    depth -= 1;
                    text.push(byte);
                }
                b'\\' => {
                    if let Some((&escaped, rest)) = self.rest.split_first() {
                        self.rest = rest;
                        text.extend(Some(escaped).filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)));
                    }
                }
                b'\r' | b'\n' | 0 => {}
                _ => {
                    depth += usize::from(Some(byte) == opening);
                    text.push(byte);
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name|route|local|domain`, groups in braces.
    fn told(value: &str) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let optional = |bytes: &Option<Vec<u8>>| bytes.as_deref().map_or("-".into(), text);
        let one = |entry: &Entry| match entry {
            Entry::Mailbox(m) => {
                format!("{}|{}|{}|{}", optional(&m.name), optional(&m.route), text(&m.local), text(&m.domain))
            }
            Entry::GroupStart(name) => format!("{{{}", text(name)),
            Entry::GroupEnd => "}".into(),
        };
        parse(value.as_bytes()).iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_addresses_of_rfc_5322_are_read() {
        for (value, expected) in [
            ("John Doe <jdoe@machine.example>", "John Doe|-|jdoe|machine.example"),
            ("\"Joe Q. Public\" <john.q.public@example.com>", "Joe Q. Public|-|john.q.public|example.com"),
            (
                "Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
                "Mary Smith|-|mary|x.test -|-|jdoe|example.org Who?|-|one|y.test",
            ),
            (
                "<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>",
                "-|-|boss|nil.test Giant; \"Big\" Box|-|sysservices|example.net",
            ),
            (
                "A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
                "{A Group Ed Jones|-|c|a.test -|-|joe|where.test John|-|jdoe|one.test }",
            ),
            ("Undisclosed recipients:;", "{Undisclosed recipients }"),
            ("Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", "Pete|-|pete|silly.test"),
            (
                "A Group(Some people)\r\n     :Chris Jones <c@(Chris's host.)public.example>,\r\n  joe@example.org,\r\n John <jdoe@one.test> (my dear friend); (the end of the group)",
                "{A Group Chris Jones|-|c|public.example -|-|joe|example.org John|-|jdoe|one.test }",
            ),
            ("(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;", "{Hidden recipients }"),
            ("Joe Q. Public <john . q . public@example.com>", "Joe Q. Public|-|john.q.public|example.com"),
            ("<@node1.test, @node2.test:jdoe@x.test>", "-|@node1.test,@node2.test|jdoe|x.test"),
            ("joe@[192.0.2.1]", "-|-|joe|[192.0.2.1]"),
        ] {
            assert_eq!(told(value), expected, "{value}");
        }
    }

    #[test]
    fn what_else_is_found_is_read_too() {
        for (value, expected) in [
            ("joe@example.org (Joe Doe)", "Joe Doe|-|joe|example.org"),
            ("root", "-|-|root|"),
            (",, ,", ""),
            ("", ""),
            ("joe@example.org <joe@example.org>", "joe@example.org|-|joe|example.org"),
            ("Joe <joe@example.org", "Joe|-|joe|example.org"),
            ("Joe <joe@example.org, a@b", "Joe|-|joe|example.org -|-|a|b"),
            ("\"open <joe@example.org>", "-|-|open <joe@example.org>|"),
            ("a@b; c@d", "-|-|a|b -|-|c|d"),
            ("=?utf-8?q?J=C3=B6?= <j@x>", "=?utf-8?q?J=C3=B6?=|-|j|x"),
            ("g: a@b", "{g -|-|a|b }"),
            ("Joe <>", "Joe|-||"),
            ("<@>", "-|@||"),
            ("a@b@c", "-|-|a|b@c"),
            ("a@b c@d, e @ f . g", "-|-|a|b -|-|c|d -|-|e|f.g"),
            ("(x) a@b, (y) <c@d>, a@b (x) c@d", "-|-|a|b -|-|c|d x|-|a|b -|-|c|d"),
            ("A <<a@b>>, <c@d>", "A|-|a|b -|-|c|d"),
        ] {
            assert_eq!(told(value), expected, "{value}");
        }
    }

    #[test]
    fn long_lists_have_a_bound_and_take_no_long_time() {
        assert_eq!(parse("a@b,".repeat(1_000_000).as_bytes()).len(), ENTRIES);
        for piece in [",", "(", "<", "\"", "a:", ":", ";", "@", "[", "\\", "<@", "a "] {
            assert!(parse(piece.repeat(1_000_000).as_bytes()).len() <= ENTRIES + 1);
        }
    }
}
