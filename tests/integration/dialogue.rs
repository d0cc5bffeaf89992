//! The interpreter of dialogues: plain text files that are carried out against a daemon.
//!
//! ```text
//! C: text       send a line, with CRLF            S: text      a line, exactly this
//! C= raw        send this, with \r \n \0 \xHH     S~ text      a line like this; * is anything, ? one character
//!               \\ and {text*100} repeated        S* text      read on until a line like this
//! C2: S2: …     on a second (third) connection    S! text      no line like this before the next S
//! $name         what was read here first stands there from then on (a run without spaces)
//! TLS  TLS2     begin to encrypt                  EOF  EOF2    the other side closes, saying no more
//! CLOSE CLOSE2  close without a word              DEFLATE      begin to compress
//! # …           a comment                         INFLATE      compress no longer
//! ```
//!
//! Options at the top, before the first step: `listener: NAME` (of [`crate::common::Daemon`]; `listener2:` for the second
//! connection), `set: key=value` for `-o`, `config: line` of the configuration file, `user: NAME` for one more user,
//! `mailbox: y.mbox` for another file's mailbox.
//!
//! A file `x.mbox` beside `x.txt` is alice's mailbox before; `x.expect` is what it must be like after the daemon has
//! stopped: each line a pattern with `*`, Received fields on one line, fields in which mailboxes keep state left out.

use crate::common::{Daemon, Setup};
use pillarbox::net::tls::ClientTls;
use pillarbox::net::{Connection, Line, NetError};
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// One connection of a dialogue and what must not come on it.
struct Side {
    connection: Option<Connection>,
    never: Vec<String>,
}

struct Dialogue<'a> {
    daemon: &'a Daemon,
    listeners: HashMap<u32, String>,
    sides: HashMap<u32, Side>,
    captured: HashMap<String, String>,
}

/// Carries out a file; fails with its line.
pub fn carry_out(file: &Path, listener: &str) {
    let text = fs::read_to_string(file).unwrap();
    let steps: Vec<(usize, &str)> = text
        .lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line))
        .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
        .collect();
    let options = steps.iter().take_while(|(_, line)| line.starts_with(|c: char| c.is_ascii_lowercase())).count();
    let mut setup = Setup::default();
    let mut listeners = HashMap::new();
    let mut mailbox = Some(file.with_extension("mbox")).filter(|own| own.exists());
    for (number, line) in &steps[..options] {
        let (key, value) = line.split_once(": ").unwrap_or_else(|| panic!("line {number}: not an option: {line}"));
        match key {
            _ if key.starts_with("listener") => {
                drop(listeners.insert(key["listener".len()..].parse().unwrap_or(1), value.to_owned()));
            }
            "set" => setup.options.push(value.to_owned()),
            "config" => setup.config += &format!("{value}\n"),
            "user" => setup.users.push(value.to_owned()),
            "mailbox" => mailbox = Some(file.with_file_name(value)),
            _ => panic!("line {number}: no such option: {key}"),
        }
    }
    listeners.entry(1).or_insert_with(|| listener.to_owned());
    let mut daemon = setup.prepare();
    if let Some(before) = mailbox {
        fs::copy(before, daemon.mailbox("alice")).unwrap();
    }
    daemon.start();
    let mut dialogue = Dialogue { daemon: &daemon, listeners, sides: HashMap::new(), captured: HashMap::new() };
    for (number, line) in &steps[options..] {
        dialogue.step(line).unwrap_or_else(|error| panic!("{}:{number}: {line}\n  {error}", file.display()));
    }
    drop(dialogue);
    assert!(daemon.stop().success());
    if let Ok(expected) = fs::read_to_string(file.with_extension("expect")) {
        let after = fs::read(daemon.mailbox("alice")).unwrap_or_default();
        compare(&expected, &String::from_utf8_lossy(&after));
    }
}

impl Dialogue<'_> {
    fn step(&mut self, line: &str) -> Result<(), String> {
        let end = line.find([':', '~', '*', '!', '=', ' ']).unwrap_or(line.len());
        let word = &line[..end];
        let kind = line[end..].chars().next().unwrap_or(' ');
        let rest = line.get(end + 1..).unwrap_or_default();
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        let verb = word.trim_end_matches(|c: char| c.is_ascii_digit());
        let number = word[verb.len()..].parse().unwrap_or(1);
        match (verb, kind) {
            ("C", ':') => {
                let line = self.fill_in(rest);
                self.send(number, format!("{line}\r\n").as_bytes())
            }
            ("C", '=') => {
                let raw = unescape(&self.fill_in(rest))?;
                self.send(number, &raw)
            }
            ("S", ':') => self.expect(number, rest, false),
            ("S", '~') => self.expect(number, rest, true),
            ("S", '*') => self.skip_until(number, rest),
            ("S", '!') => {
                self.side(number)?.never.push(rest.to_owned());
                Ok(())
            }
            ("TLS", _) => {
                let connection = self.connection(number)?;
                connection.start_tls(&ClientTls::opportunistic(), "mail.here.test").map_err(|error| error.to_string())
            }
            ("DEFLATE", _) => self.connection(number)?.compress().map_err(|error| error.to_string()),
            ("INFLATE", _) => self.connection(number)?.decompress().map_err(|error| error.to_string()),
            ("EOF", _) => match self.read(number) {
                Err(error) if error.contains("closed") || error.contains("reset") => Ok(()),
                Err(error) => Err(error),
                Ok(line) => Err(format!("not the end, but {line:?}")),
            },
            ("CLOSE", _) => {
                self.side(number)?.connection = None;
                Ok(())
            }
            _ => Err("not understood".to_owned()),
        }
    }

    fn side(&mut self, number: u32) -> Result<&mut Side, String> {
        if !self.sides.contains_key(&number) {
            let listener = self.listeners.get(&number).or(self.listeners.get(&1)).ok_or("no listener")?;
            let mut connection =
                Connection::connect(self.daemon.at(listener), Duration::from_secs(60)).map_err(|error| error.to_string())?;
            connection.set_timeout(Duration::from_secs(60));
            if ["submissions", "pop3s", "imaps"].contains(&listener.as_str()) {
                connection.start_tls(&ClientTls::opportunistic(), "mail.here.test").map_err(|error| error.to_string())?;
            }
            self.sides.insert(number, Side { connection: Some(connection), never: Vec::new() });
        }
        self.sides.get_mut(&number).ok_or_else(|| "gone".to_owned())
    }

    fn connection(&mut self, number: u32) -> Result<&mut Connection, String> {
        self.side(number)?.connection.as_mut().ok_or_else(|| "closed by us".to_owned())
    }

    fn send(&mut self, number: u32, bytes: &[u8]) -> Result<(), String> {
        let connection = self.connection(number)?;
        // The other side may have closed already, in the middle of what it refuses: the next S tells.
        match connection.put(bytes).and_then(|()| connection.flush()) {
            Err(NetError::Timeout) => Err("cannot send".to_owned()),
            _ => Ok(()),
        }
    }

    fn read(&mut self, number: u32) -> Result<String, String> {
        let mut line = Vec::new();
        match self.connection(number)?.read_line(1 << 20, &mut line) {
            Ok(Line::Whole) => {}
            Ok(other) => return Err(format!("{other:?}: {:?}", String::from_utf8_lossy(&line))),
            Err(error) => return Err(error.to_string()),
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        let captured = self.captured.clone();
        match self.side(number)?.never.iter().find(|never| matches(never, &line, true, &captured).is_some()) {
            Some(never) => Err(format!("must not come ({never}): {line:?}")),
            None => Ok(line),
        }
    }

    fn expect(&mut self, number: u32, pattern: &str, stars: bool) -> Result<(), String> {
        let line = self.read(number)?;
        let new = matches(pattern, &line, stars, &self.captured).ok_or_else(|| format!("but {line:?} came"))?;
        self.captured.extend(new);
        self.side(number)?.never.clear();
        Ok(())
    }

    fn skip_until(&mut self, number: u32, pattern: &str) -> Result<(), String> {
        loop {
            let line = self.read(number)?;
            if let Some(new) = matches(pattern, &line, true, &self.captured) {
                self.captured.extend(new);
                self.side(number)?.never.clear();
                return Ok(());
            }
        }
    }

    fn fill_in(&self, text: &str) -> String {
        self.captured.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${name}"), value))
    }
}

/// Does the line fit? Gives what was captured by it.
fn matches(pattern: &str, line: &str, stars: bool, known: &HashMap<String, String>) -> Option<HashMap<String, String>> {
    let mut new = HashMap::new();
    fits(pattern, line, stars, known, &mut new).then_some(new)
}

fn fits(pattern: &str, line: &str, stars: bool, known: &HashMap<String, String>, new: &mut HashMap<String, String>) -> bool {
    let Some(first) = pattern.chars().next() else { return line.is_empty() };
    let after = &pattern[first.len_utf8()..];
    let name: String = after.chars().take_while(char::is_ascii_alphanumeric).collect();
    match first {
        '*' if stars => {
            line.char_indices().map(|(at, _)| at).chain([line.len()]).any(|at| fits(after, &line[at..], stars, known, new))
        }
        '?' if stars => line.chars().next().is_some_and(|char| fits(after, &line[char.len_utf8()..], stars, known, new)),
        '$' if !name.is_empty() => {
            let after = &after[name.len()..];
            if let Some(value) = known.get(&name).or(new.get(&name)).cloned() {
                return line.strip_prefix(value.as_str()).is_some_and(|rest| fits(after, rest, stars, known, new));
            }
            let longest = line.find(' ').unwrap_or(line.len());
            (1..=longest).rev().filter(|at| line.is_char_boundary(*at)).any(|at| {
                new.insert(name.clone(), line[..at].to_owned());
                fits(after, &line[at..], stars, known, new) || new.remove(&name).is_none()
            })
        }
        _ => line.strip_prefix(first).is_some_and(|rest| fits(after, rest, stars, known, new)),
    }
}

/// `\r \n \0 \t \\ \{ \xHH`, and `{text*100}`.
fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        rest = &rest[char.len_utf8()..];
        if char == '{' {
            let (inner, after) = rest.split_once('}').ok_or("no }")?;
            let (text, times) = inner.rsplit_once('*').ok_or("no * in {}")?;
            bytes.extend(unescape(text)?.repeat(times.parse().map_err(|_| "not a number")?));
            rest = after;
        } else if char == '\\' {
            let escape = rest.chars().next().ok_or("\\ at the end")?;
            rest = &rest[escape.len_utf8()..];
            match escape {
                'r' => bytes.push(b'\r'),
                'n' => bytes.push(b'\n'),
                't' => bytes.push(b'\t'),
                '0' => bytes.push(0),
                'x' => {
                    let digits = rest.get(..2).ok_or("\\x needs two digits")?;
                    bytes.push(u8::from_str_radix(digits, 16).map_err(|error| error.to_string())?);
                    rest = &rest[2..];
                }
                other => bytes.extend(other.to_string().as_bytes()),
            }
        } else {
            bytes.extend(char.to_string().as_bytes());
        }
    }
    Ok(bytes)
}

/// Compares a mailbox with the patterns of an `.expect` file.
fn compare(expected: &str, found: &str) {
    let found = unfolded(found);
    let mut found: Vec<&str> = found.lines().filter(|line| !keeps_state(line)).collect();
    let mut expected: Vec<&str> = expected.lines().filter(|line| !line.starts_with("# ")).collect();
    for lines in [&mut found, &mut expected] {
        while lines.last().is_some_and(|line| line.is_empty()) {
            lines.pop();
        }
    }
    let none = HashMap::new();
    for (number, pattern) in expected.iter().enumerate() {
        let line = found.get(number).copied().unwrap_or("(the end)");
        assert!(
            matches(pattern, line, true, &none).is_some(),
            "mailbox, line {}:\n  {pattern}\nexpected, found:\n  {line}",
            number + 1
        );
    }
    assert_eq!(found.len(), expected.len(), "more lines than expected: {:?}", found.get(expected.len()));
}

/// With each Received field on one line.
fn unfolded(mailbox: &str) -> String {
    let mut text = String::new();
    let mut in_received = false;
    for line in mailbox.split_inclusive('\n') {
        match line.strip_prefix(['\t', ' ']) {
            Some(rest) if in_received => {
                text.truncate(text.trim_end().len());
                text = text + " " + rest.trim_start();
            }
            _ => {
                in_received = line.starts_with("Received: ");
                text.push_str(line);
            }
        }
    }
    text
}

fn keeps_state(line: &str) -> bool {
    let name = line.split(':').next().unwrap_or_default();
    matches!(name, "Status" | "X-Status" | "X-Keywords" | "X-UID" | "X-IMAPbase" | "X-Pillarbox")
}
