//! Pipelines of odd commands to a live IMAP session, in each of its states: every command has one answer, in its order, and no
//! byte of a literal is taken for a command.

use super::{bounds, corpus_of, mutate};
use crate::common::{Daemon, PASSWORD, Random, Setup, wait_for};
use crate::runner::{Test, note};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// They answer otherwise than by a line, or end the session or its state.
const LEFT_OUT: [&str; 8] = ["IDLE", "AUTHENTICATE", "STARTTLS", "COMPRESS", "LOGOUT", "UNAUTHENTICATE", "LOGIN", "NOTIFY"];
/// What may be OK before the login.
const OF_STRANGERS: [&str; 3] = ["CAPABILITY", "NOOP", "ID"];

pub fn tests() -> Vec<Test> {
    let states: [(&str, &[&str]); 4] = [
        ("stranger", &[]),
        ("known", &["LOGIN alice"]),
        ("selected", &["LOGIN alice", "SELECT INBOX"]),
        ("qresync", &["LOGIN alice", "ENABLE QRESYNC IMAP4rev2", "EXAMINE INBOX (CONDSTORE)"]),
    ];
    let test = |(name, before): (&'static str, &'static [&'static str])| {
        Test::named(format!("fuzz::imap_session_{name}"), move || replay(before)).longer(bounds().0)
    };
    states.map(test).into()
}

fn replay(before: &[&str]) {
    let daemon = Setup::options(&["limits.errors=100000"]).start();
    daemon.send(&["alice@here.test"], b"Subject: one\r\n\r\nbody\r\n");
    let corpus: Vec<Vec<u8>> = ["imap_command", "imap_append", "imap_search"].iter().flat_map(|name| corpus_of(name)).collect();
    let mut random = Random(0x5e55);
    let (begun, (time, most)) = (Instant::now(), bounds());
    let (mut rounds, mut whole) = (0, 0);
    while rounds < most && begun.elapsed() < time {
        let (tags, stream) = pipeline(&corpus, &mut random);
        let mut wire = Wire::begin(&daemon, before);
        wire.send(&stream, &mut random);
        match wire.answers(&tags, before.is_empty()) {
            Ok(all) => whole += usize::from(all),
            Err(why) => {
                panic!("round {rounds}: {why}: b\"{}\"", stream.escape_ascii().to_string().chars().take(4000).collect::<String>())
            }
        }
        rounds += 1;
    }
    note(format!("{rounds} pipelines, {whole} answered to the end"));
    assert!(before.is_empty() || whole * 2 > rounds as usize, "most sessions are thrown out");
    let listed = daemon.imap("alice").ok("LIST \"\" *").unwrap();
    assert!(!listed.iter().any(|line| line.ends_with(" evil")), "{listed:?}");
    assert!(!daemon.log().contains("event=bug"), "{}", daemon.log());
    wait_for("the sessions to end", 60, || {
        let log = daemon.log();
        (log.matches(" imap connect ").count() == log.matches(" imap end ").count()).then_some(())
    });
}

/// Tags with the first word of each command, and the bytes.
fn pipeline(corpus: &[Vec<u8>], random: &mut Random) -> (Vec<(String, String)>, Vec<u8>) {
    let (mut tags, mut stream) = (Vec::new(), Vec::new());
    for number in 0..1 + random.below(12) {
        let input = mutate(corpus, random);
        let mut text: Vec<u8> = input.splitn(2, |byte| *byte == b' ').last().unwrap_or_default().to_vec();
        text.retain(|byte| !matches!(byte, b'\r' | b'\n' | 0));
        text.truncate(1500);
        if word(&text).is_empty() || LEFT_OUT.contains(&word(&text).as_str()) {
            text.splice(0..0, *b"NOOP ");
        }
        tags.push((format!("p{number}"), word(&text)));
        stream.extend_from_slice(format!("p{number} ").as_bytes());
        for _ in 0..random.below(4) {
            let at = word(&text).len() + random.below((text.len() + 1).saturating_sub(word(&text).len()));
            let rest = text.split_off(at.min(text.len()));
            stream.append(&mut text);
            let literal = literal(corpus, random);
            stream.extend_from_slice(format!("{{{}+}}\r\n", literal.len()).as_bytes());
            stream.extend_from_slice(&literal);
            text = rest;
        }
        // At the end it would announce one more.
        if text.ends_with(b"}") {
            text.push(b' ');
        }
        stream.append(&mut text);
        stream.extend_from_slice(b"\r\n");
    }
    tags.push(("last".into(), "NOOP".into()));
    stream.extend_from_slice(b"last NOOP\r\n");
    (tags, stream)
}

fn word(text: &[u8]) -> String {
    let end = text.iter().position(|byte| *byte == b' ').unwrap_or(text.len());
    String::from_utf8_lossy(&text[..end]).to_ascii_uppercase()
}

/// It would be seen if any of it were a command.
fn literal(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut text = match random.below(3) {
        0 => mutate(corpus, random),
        1 => b"Subject: a\r\n\r\n".to_vec(),
        _ => Vec::new(),
    };
    text.truncate(1000);
    text.extend_from_slice(
        [&b"\r\nx CREATE evil\r\n"[..], b"\r\np1 OK\r\nx CREATE evil\r\n", b"INBOX", b"{9}\r\nx CREATE evil\r\n", b""]
            [random.below(5)],
    );
    text
}

struct Wire {
    stream: BufReader<TcpStream>,
}

impl Wire {
    fn begin(daemon: &Daemon, before: &[&str]) -> Wire {
        let stream = TcpStream::connect(daemon.at("imap")).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut wire = Wire { stream: BufReader::new(stream) };
        wire.response().unwrap();
        for command in before {
            let password = if command.starts_with("LOGIN") { format!(" {PASSWORD}") } else { String::new() };
            wire.stream.get_mut().write_all(format!("b {command}{password}\r\n").as_bytes()).unwrap();
            while !wire.response().unwrap().starts_with(b"b OK") {}
        }
        wire
    }

    /// In pieces of any size.
    fn send(&mut self, bytes: &[u8], random: &mut Random) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let most = if random.below(2) == 0 { 20 } else { 4000 };
            let (piece, more) = rest.split_at((1 + random.below(most)).min(rest.len()));
            // Who was thrown out reads why.
            if self.stream.get_mut().write_all(piece).is_err() {
                return;
            }
            rest = more;
        }
    }

    /// One line with the literals in it.
    fn response(&mut self) -> io::Result<Vec<u8>> {
        let mut whole = Vec::new();
        loop {
            let start = whole.len();
            self.stream.read_until(b'\n', &mut whole)?;
            let line = whole[start..].strip_suffix(b"\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
            let Some(length) = announced(line) else { return Ok(whole) };
            let start = whole.len();
            whole.resize(start + length, 0);
            self.stream.read_exact(&mut whole[start..])?;
        }
    }

    /// Holds the answers against the commands. True: all were answered; false: the server ended the session.
    fn answers(&mut self, tags: &[(String, String)], stranger: bool) -> Result<bool, String> {
        let (mut left, mut bye) = (tags.iter(), false);
        loop {
            let line = match self.response() {
                Ok(line) => line,
                Err(_) if bye => return Ok(false),
                Err(error) => return Err(format!("no BYE, but {error}; to come was {:?}", left.next())),
            };
            if line.starts_with(b"* ") {
                bye |= line.starts_with(b"* BYE ");
                continue;
            }
            // What has no tag that can be told is answered without.
            let Some((tag, verb)) = left.next() else { return Err("one answer too many".into()) };
            let text = String::from_utf8_lossy(&line);
            let status =
                text.strip_prefix(tag.as_str()).and_then(|rest| rest.strip_prefix(' ')).and_then(|rest| rest.split(' ').next());
            match status {
                Some("OK") if stranger && !OF_STRANGERS.contains(&verb.as_str()) => return Err(format!("a stranger may {verb}")),
                Some("OK" | "NO" | "BAD") => {}
                _ => return Err(format!("to {tag} {verb} came {text:?}")),
            }
            if tag == "last" {
                return Ok(true);
            }
        }
    }
}

fn announced(line: &[u8]) -> Option<usize> {
    let digits = line.strip_suffix(b"}")?.rsplit(|byte| *byte == b'{').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
