//! Addresses as people and programs write them (RFC 5322 §3.4): names, comments, groups, quotes. Whatever can't be
//! understood comes out as it stands, for the one who checks it.

use crate::mail::{Address, Domain};

/// The addresses in a list. Display names, comments, group names and source routes are left out.
pub fn scan(list: &str) -> Vec<String> {
    let mut scanner = Scanner::default();
    let mut chars = list.chars();
    while let Some(c) = chars.next() {
        let escaped = if c == '\\' { chars.next() } else { None };
        scanner.take(c, escaped);
    }
    scanner.end();
    scanner.found
}

#[derive(Default)]
struct Scanner {
    found: Vec<String>,
    /// Outside of angle brackets: an address, or a display name.
    plain: String,
    /// Inside of them.
    angle: Option<String>,
    in_angle: bool,
    in_quotes: bool,
    in_literal: bool,
    /// Blanks were passed over since the last character that was kept.
    blank: bool,
    /// Comments within comments.
    comments: u32,
}

impl Scanner {
    fn take(&mut self, c: char, escaped: Option<char>) {
        if self.comments > 0 {
            match c {
                '(' => self.comments += 1,
                ')' => self.comments -= 1,
                _ => {}
            }
            return;
        }
        match c {
            '"' => {
                self.in_quotes = !self.in_quotes;
                self.keep(c);
            }
            _ if self.in_quotes => self.keep(c),
            '(' => self.comments = 1,
            '<' if !self.in_angle => {
                self.in_angle = true;
                self.angle = Some(String::new());
            }
            '>' => self.in_angle = false,
            ',' | ';' if !self.in_angle => self.end(),
            // What came before is the name of a group.
            ':' if !self.in_angle && !self.in_literal => self.plain.clear(),
            _ if c.is_whitespace() => self.blank = true,
            _ => {
                self.in_literal = c == '[' || (self.in_literal && c != ']');
                self.keep(c);
            }
        }
        if let Some(escaped) = escaped {
            self.keep(escaped);
        }
    }

    fn keep(&mut self, c: char) {
        let blank = std::mem::take(&mut self.blank);
        let word = match &mut self.angle {
            Some(angle) if self.in_angle => angle,
            // Words after the brackets mean nothing.
            Some(_) => return,
            None => &mut self.plain,
        };
        // Blanks may stand around `@` and dots (RFC 5322 §4.4); two words are no address, and must not become one.
        if blank && !word.is_empty() && !word.ends_with(['@', '.']) && !matches!(c, '@' | '.') {
            word.push(' ');
        }
        word.push(c);
    }

    fn end(&mut self) {
        let plain = std::mem::take(&mut self.plain);
        let address = match self.angle.take() {
            // A source route (RFC 5321 §4.1.1.3) is left out.
            Some(routed) if routed.starts_with('@') => routed.split_once(':').map_or(String::new(), |(_, rest)| rest.to_owned()),
            Some(address) => address,
            None => plain,
        };
        self.in_angle = false;
        self.in_literal = false;
        self.blank = false;
        if !address.is_empty() {
            self.found.push(address);
        }
    }
}

/// Puts a domain behind a name that has none. None: that is not an address either way.
pub fn qualify(text: &str, here: &Domain) -> Option<String> {
    let address: Result<Address, _> = text.parse();
    let address = address.or_else(|_| format!("{text}@{here}").parse());
    address.ok().map(|address| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_as_people_write_them() {
        for (list, found) in [
            ("a@b.test", &["a@b.test"][..]),
            (" a@b.test , c@d.test,", &["a@b.test", "c@d.test"]),
            ("\"Doe, Jane\" <jane@b.test>, root", &["jane@b.test", "root"]),
            ("Jane (the one, who) <jane@b.test> (x)", &["jane@b.test"]),
            ("a@b.test (A (nested), comment)", &["a@b.test"]),
            ("Friends: a@b.test, B <b@c.test>;, d@e.test", &["a@b.test", "b@c.test", "d@e.test"]),
            ("undisclosed-recipients:;", &[]),
            ("\"a b\"@c.test", &["\"a b\"@c.test"]),
            ("\"a\\\"b\"@c.test", &["\"a\\\"b\"@c.test"]),
            ("<@x.test,@y.test:a@b.test>", &["a@b.test"]),
            ("a@[IPv6:::1]", &["a@[IPv6:::1]"]),
            ("a @ b . test", &["a@b.test"]),
            ("two words, <two words>", &["two words", "two words"]),
            ("<>", &[]),
            ("\"open", &["\"open"]),
            ("J\u{f6}rg <j@b.test>", &["j@b.test"]),
        ] {
            assert_eq!(scan(list), found, "{list}");
        }
    }

    #[test]
    fn names_get_a_domain() {
        let here = Domain::parse("here.test").unwrap();
        assert_eq!(qualify("root", &here).as_deref(), Some("root@here.test"));
        assert_eq!(qualify("a@b.test", &here).as_deref(), Some("a@b.test"));
        assert_eq!(qualify("j\u{f6}rg", &here).as_deref(), Some("j\u{f6}rg@here.test"));
        assert_eq!(qualify("j\u{fffd}rg@b.test", &here), None);
        assert_eq!(qualify("a b", &here), None);
        assert_eq!(qualify("a@", &here), None);
    }
}
