//! Another server's mailboxes, by IMAP (RFC 3501): as much of a client as reading everything takes. It changes nothing there:
//! folders are opened by EXAMINE, messages read by BODY.PEEK.

use super::super::users::ask_secret;
use super::{Failure, INBOX, Message, Source};
use crate::mail::date::from_imap;
use crate::mailbox::utf7;
use crate::net::tls::ClientTls;
use crate::net::{Connection, Line, NetError};
use crate::sys::{Clock, SystemClock, exit};
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

/// For each answer.
const PATIENCE: Duration = Duration::from_secs(300);
/// Bytes of a line.
const LONGEST: usize = 1 << 20;
/// Bytes of a message.
const BIGGEST: u64 = 1 << 30;
/// Lists within lists.
const DEEPEST: usize = 8;
/// Messages asked for by one command.
const AT_ONCE: usize = 50;

/// A connection that is logged in.
pub struct Imap {
    connection: Connection,
    host: String,
    number: u32,
    /// Names as they are here, and as the server has them.
    folders: Vec<(String, Vec<u8>)>,
}

/// What a response is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    /// An atom, a quoted string or a literal.
    Text(Vec<u8>),
    List(Vec<Item>),
}

impl Item {
    fn is(&self, word: &str) -> bool {
        matches!(self, Item::Text(text) if text.eq_ignore_ascii_case(word.as_bytes()))
    }

    fn bytes(&self) -> Option<&[u8]> {
        if let Item::Text(text) = self { Some(text) } else { None }
    }

    fn text(&self) -> String {
        self.bytes().map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default()
    }

    fn list(&self) -> &[Item] {
        if let Item::List(items) = self { items } else { &[] }
    }
}

/// `imap[s]://[USER@]HOST[:PORT][/]`
#[derive(Debug, PartialEq, Eq)]
struct Place {
    implicit: bool,
    user: Option<String>,
    host: String,
    port: u16,
}

impl Place {
    fn parse(url: &str) -> Option<Place> {
        let (implicit, rest) = match url.strip_prefix("imaps://") {
            Some(rest) => (true, rest),
            None => (false, url.strip_prefix("imap://")?),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        // A user's name may hold an @ itself.
        let (user, host) = rest.rsplit_once('@').map_or((None, rest), |(user, host)| (Some(user.to_owned()), host));
        let usual = if implicit { 993 } else { 143 };
        let (host, port) = match host.rsplit_once(':') {
            Some((host, port)) if !host.ends_with(':') && (!host.contains(':') || host.ends_with(']')) => {
                (host, port.parse().ok()?)
            }
            _ => (host, usual),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).to_owned();
        (!host.is_empty() && !host.contains('/')).then_some(Place { implicit, user, host, port })
    }
}

impl Imap {
    /// Connects and logs in. The password comes from standard input, before it the user, if the URL has none.
    pub fn connect(url: &str) -> Result<Imap, Failure> {
        let wrong = || Failure::new(exit::USAGE, format!("{url}: expected imaps://USER@HOST, or imap://USER@HOST"));
        let place = Place::parse(url).ok_or_else(wrong)?;
        let Some(user) = &place.user else { return Err(wrong()) };
        let password = ask_secret(&format!("Password of {user} at {}: ", place.host))?;
        let failed = |error: &dyn std::fmt::Display| Failure::new(exit::UNAVAILABLE, format!("{}: {error}", place.host));
        let addresses = (place.host.as_str(), place.port).to_socket_addrs().map_err(|error| failed(&error))?;
        let connection = connect(addresses).map_err(|error| failed(&error))?;
        let mut imap = Imap { connection, host: place.host.clone(), number: 0, folders: Vec::new() };
        imap.connection.set_timeout(PATIENCE);
        let tls = || ClientTls::verifying(None).map_err(|error| failed(&error));
        let here = imap.connection.peer().is_here();
        if place.implicit {
            let started = imap.connection.start_tls(&tls()?, &place.host);
            started.map_err(|error| imap.broken(&error))?;
        }
        imap.read_response()?;
        if !place.implicit {
            let offers = imap.ask(b"CAPABILITY")?.iter().flatten().any(|item| item.is("STARTTLS"));
            if offers {
                imap.ask(b"STARTTLS")?;
                // Nobody sits between us and a server on this host, whose certificate is often its own.
                let tls = if here { ClientTls::opportunistic() } else { tls()? };
                let started = imap.connection.start_tls(&tls, &place.host);
                started.map_err(|error| imap.broken(&error))?;
            } else if !here {
                let what = format!("{} offers no encryption, and a password must not go without", place.host);
                return Err(Failure::new(exit::UNAVAILABLE, what));
            }
        }
        imap.log_in(user.as_bytes(), &password)?;
        Ok(imap)
    }

    fn log_in(&mut self, user: &[u8], password: &[u8]) -> Result<(), Failure> {
        let tag = self.next_tag();
        self.put(format!("{tag} LOGIN {{{}}}\r\n", user.len()).as_bytes())?;
        self.await_go_ahead()?;
        self.put(&[user, format!(" {{{}}}\r\n", password.len()).as_bytes()].concat())?;
        self.await_go_ahead()?;
        self.put(&[password, b"\r\n"].concat())?;
        self.finish(&tag, &mut |_| Ok(())).map_err(|failure| Failure { code: exit::NOPERM, ..failure })
    }

    fn await_go_ahead(&mut self) -> Result<(), Failure> {
        let response = self.read_response()?;
        match response.first() {
            Some(first) if first.is("+") => Ok(()),
            _ => Err(self.refused(&response)),
        }
    }

    fn next_tag(&mut self) -> String {
        self.number += 1;
        format!("a{}", self.number)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let put = self.connection.put(bytes).and_then(|()| self.connection.flush());
        put.map_err(|error| self.broken(&error))
    }

    fn broken(&self, error: &NetError) -> Failure {
        let why = match error {
            NetError::Closed => "it closed the connection".to_owned(),
            NetError::Timeout => "it does not answer".to_owned(),
            NetError::Io(error) => error.to_string(),
        };
        Failure::new(exit::TEMPFAIL, format!("{}: {why}", self.host))
    }

    fn refused(&self, response: &[Item]) -> Failure {
        let words: Vec<String> = response.iter().skip(1).map(|item| super::show::clean(&item.text())).collect();
        Failure::new(exit::UNAVAILABLE, format!("{} says: {}", self.host, words.join(" ")))
    }

    /// A command; its untagged responses.
    fn ask(&mut self, command: &[u8]) -> Result<Vec<Vec<Item>>, Failure> {
        let mut all = Vec::new();
        self.command(command, &mut |response| {
            all.push(response);
            Ok(())
        })?;
        Ok(all)
    }

    /// The same, each response when it comes.
    fn command(&mut self, command: &[u8], take: &mut dyn FnMut(Vec<Item>) -> Result<(), Failure>) -> Result<(), Failure> {
        let tag = self.next_tag();
        self.put(&[tag.as_bytes(), b" ", command, b"\r\n"].concat())?;
        self.finish(&tag, take)
    }

    fn finish(&mut self, tag: &str, take: &mut dyn FnMut(Vec<Item>) -> Result<(), Failure>) -> Result<(), Failure> {
        loop {
            let response = self.read_response()?;
            match response.first() {
                Some(first) if first.is("*") => take(response)?,
                Some(first) if first.is(tag) => {
                    let good = response.get(1).is_some_and(|word| word.is("OK"));
                    return if good { Ok(()) } else { Err(self.refused(&response)) };
                }
                _ => {}
            }
        }
    }

    /// A line with its literals.
    fn read_response(&mut self) -> Result<Vec<Item>, Failure> {
        let (mut reader, mut line) = (Reader::default(), Vec::new());
        loop {
            match self.connection.read_line(LONGEST, &mut line) {
                Ok(Line::Whole) => {}
                Ok(Line::TooLong | Line::Malformed) => {
                    return Err(Failure::new(exit::UNAVAILABLE, format!("{} sends what is no IMAP", self.host)));
                }
                Err(error) => return Err(self.broken(&error)),
            }
            let (text, literal) = literal_of(&line);
            reader.take(text);
            let Some(size) = literal else { return Ok(reader.items()) };
            if size > BIGGEST {
                return Err(Failure::new(exit::UNAVAILABLE, format!("{} sends a message of {size} bytes", self.host)));
            }
            let mut content = Vec::new();
            let read = self.connection.read_bytes(size, |block| content.extend_from_slice(block));
            read.map_err(|error| self.broken(&error))?;
            reader.add(Item::Text(content));
        }
    }
}

fn connect(addresses: impl Iterator<Item = SocketAddr>) -> Result<Connection, String> {
    let mut last = "it has no address".to_owned();
    for address in addresses {
        match Connection::connect(address, Duration::from_secs(30)) {
            Ok(connection) => return Ok(connection),
            Err(NetError::Io(error)) => last = error.to_string(),
            Err(NetError::Closed | NetError::Timeout) => last = "it does not answer".to_owned(),
        }
    }
    Err(last)
}

/// A line, and the size of the literal that it announces at its end.
fn literal_of(line: &[u8]) -> (&[u8], Option<u64>) {
    let announced = || {
        let rest = line.strip_suffix(b"}")?;
        let at = memchr::memrchr(b'{', rest)?;
        let digits = std::str::from_utf8(rest.get(at + 1..)?).ok()?;
        Some((line.get(..at)?, digits.trim_end_matches('+').parse().ok()?))
    };
    announced().map_or((line, None), |(text, size)| (text, Some(size)))
}

/// Puts a response together. What is opened and never closed ends with the response.
#[derive(Default)]
struct Reader {
    lists: Vec<Vec<Item>>,
    top: Vec<Item>,
}

impl Reader {
    fn add(&mut self, item: Item) {
        self.lists.last_mut().unwrap_or(&mut self.top).push(item);
    }

    fn close(&mut self) {
        if let Some(list) = self.lists.pop() {
            self.add(Item::List(list));
        }
    }

    fn items(mut self) -> Vec<Item> {
        while !self.lists.is_empty() {
            self.close();
        }
        self.top
    }

    fn take(&mut self, mut text: &[u8]) {
        while let Some((&byte, rest)) = text.split_first() {
            text = rest;
            match byte {
                b' ' => {}
                b'(' if self.lists.len() < DEEPEST => self.lists.push(Vec::new()),
                b'(' => {}
                b')' => self.close(),
                b'"' => {
                    let mut string = Vec::new();
                    while let Some((&byte, rest)) = text.split_first() {
                        text = rest;
                        match byte {
                            b'"' => break,
                            b'\\' => {
                                string.extend(text.first());
                                text = text.get(1..).unwrap_or_default();
                            }
                            _ => string.push(byte),
                        }
                    }
                    self.add(Item::Text(string));
                }
                _ => {
                    let end = text.iter().position(|byte| matches!(byte, b' ' | b'(' | b')')).unwrap_or(text.len());
                    let (atom, rest) = text.split_at(end);
                    self.add(Item::Text([&[byte], atom].concat()));
                    text = rest;
                }
            }
        }
    }
}

/// The value behind a name in the list of a FETCH response.
fn fetched<'a>(items: &'a [Item], name: &str) -> Option<&'a Item> {
    items.chunks(2).find(|pair| pair.first().is_some_and(|key| key.is(name)))?.get(1)
}

/// The list of a FETCH response: `* 12 FETCH (…)`
fn fetch(response: &[Item]) -> Option<&[Item]> {
    match response {
        [_, _, verb, items] if verb.is("FETCH") => Some(items.list()),
        _ => None,
    }
}

impl Source for Imap {
    fn folders(&mut self) -> Result<Vec<String>, Failure> {
        for response in self.ask(b"LIST \"\" \"*\"")? {
            let [_, verb, flags, delimiter, name] = response.as_slice() else { continue };
            let closed = flags.list().iter().any(|flag| flag.is("\\Noselect") || flag.is("\\NonExistent"));
            let Some(raw) = name.bytes().filter(|_| verb.is("LIST") && !closed) else { continue };
            let shown = utf7::decode(raw).unwrap_or_else(|_| String::from_utf8_lossy(raw).into_owned());
            let shown = match delimiter.text().as_str() {
                "/" | "" | "NIL" => shown,
                // A slash that is no delimiter there would be one here.
                other => shown.replace('/', "_").replace(other, "/"),
            };
            let shown = if shown.eq_ignore_ascii_case(INBOX) { INBOX.to_owned() } else { shown };
            self.folders.push((shown, raw.to_vec()));
        }
        self.folders.sort();
        Ok(self.folders.iter().map(|(name, _)| name.clone()).collect())
    }

    fn each(&mut self, folder: &str, take: &mut dyn FnMut(Message) -> Result<(), Failure>) -> Result<(), Failure> {
        let found = self.folders.iter().find(|(name, _)| name == folder).map(|(_, raw)| raw.clone());
        let Some(raw) = found else { return Ok(()) };
        let name: Vec<u8> = raw.iter().flat_map(|&b| if matches!(b, b'"' | b'\\') { vec![b'\\', b] } else { vec![b] }).collect();
        self.ask(&[b"EXAMINE \"", name.as_slice(), b"\""].concat())?;
        let mut uids = Vec::new();
        for response in self.ask(b"UID SEARCH ALL")? {
            if response.get(1).is_some_and(|verb| verb.is("SEARCH")) {
                uids.extend(response.iter().skip(2).filter_map(|item| item.text().parse::<u32>().ok()));
            }
        }
        uids.sort_unstable();
        for some in uids.chunks(AT_ONCE) {
            let set: Vec<String> = some.iter().map(u32::to_string).collect();
            let command = format!("UID FETCH {} (UID FLAGS INTERNALDATE BODY.PEEK[])", set.join(","));
            self.command(command.as_bytes(), &mut |response| {
                let items = fetch(&response).unwrap_or_default();
                match fetched(items, "BODY[]").and_then(Item::bytes) {
                    Some(content) => take(message(items, content)),
                    // Somebody else has set a flag.
                    None => Ok(()),
                }
            })?;
        }
        Ok(())
    }
}

fn message(items: &[Item], content: &[u8]) -> Message {
    let words: Vec<String> = fetched(items, "FLAGS").map(Item::list).unwrap_or_default().iter().map(Item::text).collect();
    let (flags, keywords): (Vec<_>, Vec<_>) = words.into_iter().partition(|word| word.starts_with('\\'));
    const KNOWN: [&str; 5] = ["\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft"];
    let known = |flag: String| KNOWN.iter().find(|known| known.eq_ignore_ascii_case(&flag)).map(|known| (*known).to_owned());
    let date = fetched(items, "INTERNALDATE").and_then(|date| from_imap(&date.text()));
    let date = date.map_or_else(|| SystemClock::default().now(), |(time, _)| time);
    Message { content: content.to_vec(), flags: flags.into_iter().filter_map(known).collect(), keywords, date }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let place = |url: &str| Place::parse(url).map(|place| (place.implicit, place.user, place.host, place.port));
        let at = |implicit, user: &str, host: &str, port| Some((implicit, Some(user.to_owned()), host.to_owned(), port));
        assert_eq!(place("imaps://a@b.test@mail.test/"), at(true, "a@b.test", "mail.test", 993));
        assert_eq!(place("imap://a@[::1]:1143"), at(false, "a", "::1", 1143));
        assert_eq!(place("imap://a@[::1]"), at(false, "a", "::1", 143));
        for wrong in ["http://x", "imap://", "imap://a@", "imap://a@b:x/", "imap://a@b/folder"] {
            assert_eq!(place(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn responses() {
        let mut reader = Reader::default();
        let (text, literal) = literal_of(b"* 1 FETCH (UID 5 FLAGS (\\Seen $X) INTERNALDATE \"a \\\" b\" BODY[] {3}");
        assert_eq!(literal, Some(3));
        reader.take(text);
        reader.add(Item::Text(b"(\r\n".to_vec()));
        reader.take(b")");
        let items = reader.items();
        let list = fetch(&items).unwrap();
        assert_eq!(fetched(list, "body[]").and_then(Item::bytes), Some(&b"(\r\n"[..]));
        assert_eq!(fetched(list, "INTERNALDATE").map(Item::text).as_deref(), Some("a \" b"));
        assert_eq!(fetched(list, "FLAGS").map(|flags| flags.list().len()), Some(2));
        for broken in ["(((((((((((((", ")))", "\"", "\"\\", "(a \"b"] {
            let mut reader = Reader::default();
            reader.take(broken.as_bytes());
            drop(reader.items());
        }
        assert_eq!(literal_of(b"x {9"), (&b"x {9"[..], None));
        assert_eq!(literal_of(b"x {99999999999999999999}").1, None);
    }
}
