//! IMAP's SEARCH against a naive matcher: made-up messages, in many encodings, of which is known what they say, and made-up
//! searches.

use crate::common::{Daemon, PASSWORD, Random, Setup};
use pillarbox::net::{Connection, Line};
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

crate::tests![searches_find_what_a_naive_matcher_finds];

/// Words whose letters are one letter each in upper case.
const WORDS: [&str; 12] =
    ["alpha", "Beta", "gamma ray", "DELTA", "grün", "Ärger", "Отпуск", "señor", "naïve", "x-ray", "100%", "(paren)"];
const FLAGS: [&str; 4] = ["\\Seen", "\\Flagged", "\\Answered", "$Work"];

/// What a message says.
#[derive(Default)]
struct Letter {
    from: String,
    subject: String,
    note: Option<String>,
    body: String,
    /// All header fields, those of parts too, decoded.
    headers: String,
    size: usize,
    day: usize,
    flags: Vec<&'static str>,
}

enum Key {
    From(String),
    Subject(String),
    Note(String),
    Body(String),
    Text(String),
    Larger(usize),
    SentOn(usize),
    Flag(usize),
    Numbers(usize, usize),
    Not(Box<Key>),
    Or(Box<Key>, Box<Key>),
    And(Vec<Key>),
}

fn searches_find_what_a_naive_matcher_finds() {
    let mut random = Random(0x5ea7c4);
    let mut mailbox = Vec::new();
    let mut letters: Vec<Letter> = (0..60).map(|_| letter(&mut random, &mut mailbox)).collect();
    let mut daemon: Daemon = Setup::default().prepare();
    fs::write(daemon.mailbox("alice"), &mailbox).unwrap();
    daemon.start();
    let mut client = Client::log_in(&daemon);
    for (number, letter) in (1..).zip(&mut letters) {
        let flags = FLAGS.iter().filter(|_| random.below(3) == 0);
        letter.flags = flags.copied().collect();
        client.ok(format!("STORE {number} FLAGS.SILENT ({})", letter.flags.join(" ")).as_bytes());
    }
    let mut found_some = 0;
    for round in 0..250 {
        let key = key(&mut random, letters.len(), 3);
        let mut text = String::new();
        show(&key, &mut text);
        let expected: Vec<usize> =
            (1..).zip(&letters).filter(|(number, letter)| fits(&key, *number, letter)).map(|(number, _)| number).collect();
        let command = format!("{}SEARCH CHARSET UTF-8 {text}", if round % 2 == 0 { "" } else { "UID " });
        let found = client.numbers(command.as_bytes());
        assert_eq!(found, expected, "{text}");
        found_some += usize::from(!found.is_empty() && found.len() < letters.len());
    }
    assert!(found_some > 60, "{found_some}");
    drop(client);
    assert!(daemon.stop().success());
}

/// Makes a message up, and adds it to the mailbox.
fn letter(random: &mut Random, mailbox: &mut Vec<u8>) -> Letter {
    let text = |random: &mut Random| (0..random.below(4)).map(|_| WORDS[random.below(WORDS.len())]).collect::<Vec<_>>().join(" ");
    let mut letter = Letter {
        from: format!("{} <u{}@sender.test>", WORDS[random.below(2)], random.below(9)),
        subject: text(random),
        day: 1 + random.below(28),
        ..Letter::default()
    };
    let mut raw = String::new();
    letter.field(&mut raw, "From", &letter.from.clone(), &letter.from.clone());
    letter.field(&mut raw, "Subject", &letter.subject.clone(), &encoded(&letter.subject, random));
    let date = format!("{} Feb 2026 23:59:59 -1200", letter.day);
    letter.field(&mut raw, "Date", &date, &date);
    if random.below(2) == 0 {
        let note = text(random);
        letter.field(&mut raw, "X-Note", &note, &encoded(&note, random));
        letter.note = Some(note);
    }
    let (one, two) = (text(random), text(random));
    match random.below(3) {
        0 => letter.part(&mut raw, &one, random),
        1 => {
            letter.field(&mut raw, "Content-Type", "multipart/mixed; boundary=\"=_b\"", "multipart/mixed; boundary=\"=_b\"");
            raw += "\ngamma preamble\n--=_b\n";
            letter.part(&mut raw, &one, random);
            raw += "--=_b\n";
            letter.part(&mut raw, &two, random);
            raw += "--=_b\n";
            // Of an attachment only the header counts.
            letter.field(&mut raw, "Content-Type", "application/x-delta; name=omega", "application/x-delta; name=omega");
            raw += "\nalpha Beta\n--=_b--\n";
        }
        _ => {
            letter.field(&mut raw, "Content-Type", "message/rfc822", "message/rfc822");
            raw += "\n";
            letter.field(&mut raw, "Subject", &two, &encoded(&two, random));
            letter.part(&mut raw, &one, random);
        }
    }
    letter.size = raw.len() + raw.matches('\n').count();
    mailbox.extend_from_slice(b"From sender@sender.test Sat Nov 21 09:00:00 2026\n");
    mailbox.extend_from_slice(raw.as_bytes());
    mailbox.push(b'\n');
    letter
}

impl Letter {
    /// Adds a field to the message, and to what is known of it.
    fn field(&mut self, raw: &mut String, name: &str, value: &str, written: &str) {
        let _ = writeln!(raw, "{name}: {written}");
        let _ = writeln!(self.headers, "{name}: {value}");
    }

    /// Adds header fields, an empty line and a body that says this.
    fn part(&mut self, raw: &mut String, text: &str, random: &mut Random) {
        let (kind, encoding, body) = match random.below(4) {
            0 => ("text/plain; charset=utf-8", "base64", base64(text.as_bytes())),
            1 => ("text/plain; charset=utf-8", "quoted-printable", quoted_printable(text.as_bytes())),
            2 => {
                let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
                ("text/html; charset=utf-16le", "base64", base64(&utf16))
            }
            _ => ("text/plain; charset=utf-8", "8bit", text.to_owned()),
        };
        self.field(raw, "Content-Type", kind, kind);
        self.field(raw, "Content-Transfer-Encoding", encoding, encoding);
        let _ = write!(raw, "\n{body}\n");
        let _ = writeln!(self.body, "{text}");
    }
}

/// A value of a header, as it is, in encoded words, or folded.
fn encoded(text: &str, random: &mut Random) -> String {
    match random.below(3) {
        0 if text.is_ascii() => text.replace(' ', "\n "),
        0 | 1 => format!("=?UTF-8?B?{}?=", base64(text.as_bytes())),
        _ => text.to_owned(),
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Every byte but letters encoded, and a soft line break after each word.
fn quoted_printable(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        match byte {
            b' ' => out += "=20=\n",
            byte if byte.is_ascii_alphanumeric() => out.push(char::from(*byte)),
            byte => {
                let _ = write!(out, "={byte:02X}");
            }
        }
        out
    })
}

fn key(random: &mut Random, count: usize, depth: usize) -> Key {
    let needle = |random: &mut Random| {
        let chars: Vec<char> = WORDS[random.below(WORDS.len())].chars().collect();
        let from = random.below(chars.len());
        let to = from + 1 + random.below(chars.len() - from);
        let piece: String = chars[from..to].iter().collect();
        if random.below(2) == 0 { piece.to_uppercase() } else { piece.to_lowercase() }
    };
    match random.below(if depth > 0 { 14 } else { 10 }) {
        0 => Key::From(needle(random)),
        1 | 2 => Key::Subject(needle(random)),
        3 => Key::Note(if random.below(3) == 0 { String::new() } else { needle(random) }),
        4 | 5 => Key::Body(needle(random)),
        6 => Key::Text(needle(random)),
        7 => Key::Larger(200 + random.below(300)),
        8 => Key::SentOn(1 + random.below(28)),
        9 if random.below(2) == 0 => Key::Flag(random.below(FLAGS.len())),
        9 => Key::Numbers(1 + random.below(count), 1 + random.below(count)),
        10 => Key::Not(Box::new(key(random, count, depth - 1))),
        11 | 12 => Key::Or(Box::new(key(random, count, depth - 1)), Box::new(key(random, count, depth - 1))),
        _ => Key::And((0..1 + random.below(3)).map(|_| key(random, count, depth - 1)).collect()),
    }
}

fn show(key: &Key, out: &mut String) {
    let _ = match key {
        Key::From(text) => write!(out, "FROM \"{text}\""),
        Key::Subject(text) => write!(out, "SUBJECT \"{text}\""),
        Key::Note(text) => write!(out, "HEADER x-note \"{text}\""),
        Key::Body(text) => write!(out, "BODY \"{text}\""),
        Key::Text(text) => write!(out, "TEXT {{{}+}}\r\n{text}", text.len()),
        Key::Larger(size) => write!(out, "LARGER {size}"),
        Key::SentOn(day) => write!(out, "SENTON {day}-Feb-2026"),
        Key::Flag(at) => match FLAGS[*at].strip_prefix('\\') {
            Some(flag) => write!(out, "{}", flag.to_uppercase()),
            None => write!(out, "KEYWORD {}", FLAGS[*at]),
        },
        Key::Numbers(one, other) => write!(out, "{one}:{other}"),
        Key::Not(key) => {
            *out += "NOT ";
            show(key, out);
            Ok(())
        }
        Key::Or(one, other) => {
            *out += "OR ";
            show(one, out);
            *out += " ";
            show(other, out);
            Ok(())
        }
        Key::And(keys) => {
            for (at, key) in keys.iter().enumerate() {
                *out += if at == 0 { "(" } else { " " };
                show(key, out);
            }
            *out += ")";
            Ok(())
        }
    };
}

fn fits(key: &Key, number: usize, letter: &Letter) -> bool {
    let has = |text: &str, needle: &str| folded(text).contains(&folded(needle));
    match key {
        Key::From(text) => has(&letter.from, text),
        Key::Subject(text) => has(&letter.subject, text),
        Key::Note(text) => letter.note.as_ref().is_some_and(|note| has(note, text)),
        Key::Body(text) => has(&letter.body, text),
        Key::Text(text) => has(&letter.headers, text) || has(&letter.body, text),
        Key::Larger(size) => letter.size > *size,
        Key::SentOn(day) => letter.day == *day,
        Key::Flag(at) => letter.flags.contains(&FLAGS[*at]),
        Key::Numbers(one, other) => (*one.min(other)..=*one.max(other)).contains(&number),
        Key::Not(key) => !fits(key, number, letter),
        Key::Or(one, other) => fits(one, number, letter) || fits(other, number, letter),
        Key::And(keys) => keys.iter().all(|key| fits(key, number, letter)),
    }
}

/// In upper case, a letter before its accent (RFC 5051).
fn folded(text: &str) -> String {
    let accents = [('Ä', "A\u{308}"), ('Ü', "U\u{308}"), ('Ï', "I\u{308}"), ('Ñ', "N\u{303}")];
    accents.iter().fold(text.to_uppercase(), |text, (letter, pair)| text.replace(*letter, pair))
}

/// A session with the mailbox selected.
struct Client(Connection);

impl Client {
    fn log_in(daemon: &Daemon) -> Client {
        let connection = Connection::connect(daemon.at("imap"), Duration::from_secs(60)).unwrap();
        let mut client = Client(connection);
        client.0.set_timeout(Duration::from_secs(60));
        client.line();
        client.ok(format!("LOGIN alice {PASSWORD}").as_bytes());
        client.ok(b"SELECT INBOX");
        client
    }

    fn line(&mut self) -> String {
        let mut line = Vec::new();
        assert_eq!(self.0.read_line(1 << 20, &mut line).unwrap(), Line::Whole);
        String::from_utf8(line).unwrap()
    }

    /// The untagged lines that come before OK.
    fn ok(&mut self, command: &[u8]) -> Vec<String> {
        self.0.put(&[b"t ", command, b"\r\n"].concat()).unwrap();
        self.0.flush().unwrap();
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            if line.starts_with("t ") {
                assert!(line.starts_with("t OK"), "{line}: {}", String::from_utf8_lossy(command));
                return lines;
            }
            lines.push(line);
        }
    }

    fn numbers(&mut self, command: &[u8]) -> Vec<usize> {
        let lines = self.ok(command);
        let found = lines.iter().find_map(|line| line.strip_prefix("* SEARCH"));
        found.unwrap().split_whitespace().map(|number| number.parse().unwrap()).collect()
    }
}
