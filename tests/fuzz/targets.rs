//! One function per parser: any bytes in, no panic, and what must hold of what comes out.
//!
//! They take what a fuzzer gives (`fn(&[u8])`); the stable test in tests/integration/fuzz.rs feeds them their corpus
//! (tests/fuzz/corpus/NAME/*) and mutations of it.

#[path = "imap.rs"]
mod imap;
#[path = "trust.rs"]
mod trust;

use pillarbox::auth::sasl::{Channel, Exchange, Judge, Mechanism, Step};
use pillarbox::auth::{Denied, Login};
use pillarbox::config::load::from_text;
use pillarbox::delivery::policy::{self, Mode, Policy};
use pillarbox::host::password::Hash;
use pillarbox::host::{ScramKeys, users};
use pillarbox::lists::{self, Bounces, Settings, members};
use pillarbox::mail::alias::{self, Table, Target as AliasTarget};
use pillarbox::mail::convert::{Census, Converter, Proof, Refusal};
use pillarbox::mail::imap_text::{self, Form};
use pillarbox::mail::mboxrd::{Quoter, ToWire};
use pillarbox::mail::sent::Sent;
use pillarbox::mail::structure::{self, Kind, Record, Scanner, Structure};
use pillarbox::mail::transfer::{Decoder, Encoding};
use pillarbox::mail::vacation::{Question, Reply, Vacation};
use pillarbox::mail::{Address, Domain, RcptDsn, header, mailboxes, parameters, subject, words};
use pillarbox::mailbox::{FolderName, utf7};
use pillarbox::net::dns::{Patience, Resolver};
use pillarbox::net::https;
use pillarbox::net::proxy::{self, Header};
use pillarbox::net::{Connection, Dots, Line};
use pillarbox::smtp::client::reply::Parser;
use pillarbox::smtp::command::{Command, ForwardPath, Rcpt};
use pillarbox::spool::SpoolId;
use pillarbox::sys::SystemClock;
use std::io::Write;
use std::net::UdpSocket;
use std::num::NonZeroU32;
use std::os::unix::net::UnixStream;
use std::path::{Component, Path};
use std::sync::Arc;
use std::time::Duration;

/// Takes any bytes and comes back.
pub type Target = fn(&[u8]);

/// A parser's name, which is that of its corpus, and its function.
pub const TARGETS: &[(&str, Target)] = &[
    ("address", address),
    ("aliases", aliases),
    ("vacation", vacation),
    ("list_files", list_files),
    ("header", header_fields),
    ("header_values", header_values),
    ("structure", mime_structure),
    ("structure_record", structure_record),
    ("convert", conversion),
    ("mboxrd", mboxrd),
    ("imap_command", imap::command),
    ("sasl", sasl),
    ("users", users_file),
    ("lines", lines),
    ("dots", dots),
    ("proxy", proxy_header),
    ("spool_id", spool_id),
    ("smtp_command", smtp_command),
    ("smtp_reply", smtp_reply),
    ("config", configuration),
    ("dns", dns),
    ("https_answer", https_answer),
    ("sts_policy", sts_policy),
    ("sts_record", sts_record),
    ("spf", trust::spf),
    ("trust", trust::checking),
    ("arc", trust::arc),
    ("dmarc_destinations", trust::destinations_of_reports),
    ("authentication_results", trust::authentication_results),
    ("folder_name", folder_name),
    ("utf7", modified_utf7),
    ("imap_set", imap::set),
    ("imap_mailbox", imap::mailbox),
    ("imap_append", imap::append),
    ("imap_url", imap::url),
    ("imap_search", imap::search),
];

/// What is an address is written so that it is the same address again, on one line, and if it can be told in ASCII leads to the
/// same mailbox then.
pub fn address(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok((address, rest)) = Address::parse_prefix(&text) {
        assert!(text.ends_with(rest));
        let written = address.to_string();
        assert!(!written.contains(|char: char| char.is_control() || "\u{2028}\u{2029}".contains(char)), "{written:?}");
        assert_eq!(written.parse::<Address>().as_ref(), Ok(&address));
        assert_eq!(address.to_ascii().is_some(), address.local().is_ascii());
        if let Some(ascii) = address.to_ascii() {
            assert!(ascii.is_ascii() && ascii.to_string().is_ascii() && ascii.key() == address.key());
            assert_eq!(ascii.to_string().parse().as_ref(), Ok(&ascii));
        }
    }
    let mut dsn = RcptDsn::default();
    if dsn.take("ORCPT", Some(&text)) == Ok(true) {
        let ascii = dsn.to_ascii();
        assert!(ascii.to_string().is_ascii());
        assert_eq!(ascii.to_ascii(), ascii);
        let told = [dsn.original.as_ref(), ascii.original.as_ref()].map(|original| original.unwrap().told(true));
        assert!(told.iter().all(|told| !told.contains(char::is_control)), "{told:?}");
        assert!(ascii.original.unwrap().told(false).is_ascii());
    }
    if let Ok(domain) = Domain::parse(&text) {
        assert!(domain.key().is_ascii());
        assert_eq!(Domain::parse(&domain.key()).map(|again| again.key()), Ok(domain.key()));
    }
}

/// What is understood stands on a line that is there, and a file or command begins as one and stays on its line.
pub fn aliases(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let lines = text.lines().count();
    let check = |(line, target): &(usize, AliasTarget)| {
        assert!((1..=lines).contains(line));
        match target {
            AliasTarget::Line(text) => assert!(text.starts_with(['/', '|']) && text.len() > 1 && !text.contains('\n')),
            AliasTarget::Include(path) => assert!(path.starts_with('/')),
            _ => {}
        }
    };
    for (parse, has_at) in [(alias::parse as fn(&str) -> Table, false), (alias::parse_virtual, true)] {
        let table = parse(&text);
        assert!(table.wrong.iter().all(|wrong| (1..=lines).contains(&wrong.line)));
        for (key, entry) in &table.entries {
            assert!((1..=lines).contains(&entry.line) && key.contains('@') == has_at, "{key}");
            assert!(entry.targets.is_some() || !table.wrong.is_empty());
            entry.targets.iter().flatten().for_each(check);
        }
    }
    match alias::parse_list(&text) {
        Ok(targets) => targets.iter().for_each(check),
        Err(wrong) => assert!((1..=lines).contains(&wrong.line)),
    }
}

/// What a user wants is written so that it is read as the same again; and what a message says of itself gets nothing into the
/// header of its reply.
pub fn vacation(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let lines = text.lines().count().max(1);
    let own = match Vacation::parse(&text) {
        Ok(vacation) => vacation,
        Err(wrong) => {
            assert!((1..=lines).contains(&wrong.line) && !wrong.what.is_empty());
            Vacation { text: "away\n".to_owned(), ..Vacation::default() }
        }
    };
    assert_eq!(Vacation::parse(&own.to_string()).as_ref(), Ok(&own));
    let Some(question) = Question::of(input) else { return };
    let default: Address = "alice@here.test".parse().unwrap();
    let from = own.from.as_ref().map_or(("", &default), |(name, address)| (name.as_str(), address));
    let built = Reply { vacation: &own, question: &question, id: "<1@here.test>", date: "today", from, to: &default }.build();
    let names: Vec<&[u8]> = header::fields(&built).map(|field| &built[field.name]).collect();
    let expected = ["From", "To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "Auto-Submitted", "MIME-Version"];
    let rest = ["Content-Type", "Content-Transfer-Encoding"];
    let mut left = expected.iter().chain(&rest).map(|name| name.as_bytes());
    assert!(names.iter().all(|name| left.any(|expected| expected == *name)), "{}", built.escape_ascii());
    assert!(Question::of(&built).is_none(), "no reply gets one");
}

/// What is understood of a mailing list's files is written so that it is understood again.
pub fn list_files(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let lines = text.lines().count().max(1);
    match Settings::parse(&text) {
        Ok(settings) => assert_eq!(Settings::parse(&settings.to_string()), Ok(settings)),
        Err(wrong) => assert!((1..=lines).contains(&wrong.line)),
    }
    match Bounces::parse(&text) {
        Ok(bounces) => assert_eq!(Bounces::parse(&bounces.to_string()), Ok(bounces)),
        Err(wrong) => assert!((1..=lines).contains(&wrong.line)),
    }
    let (members, wrong) = members::parse(&text);
    assert!(members.len() + wrong.len() <= lines);
    for member in &members {
        assert!(members::with(&text, member).is_none());
        assert!(members::parse(&members::without(&text, member).unwrap()).0.iter().all(|other| other.key() != member.key()));
    }
    if let Some((name, _)) = lists::split(text.trim()) {
        assert!(!name.as_str().contains('/') && !name.as_str().starts_with('.'));
    }
}

/// Fields follow each other without a gap, from the start to the header's end.
pub fn header_fields(input: &[u8]) {
    let mut at = 0;
    for field in header::fields(input) {
        assert_eq!(field.whole.start, at);
        assert!(field.whole.end > at && field.whole.end <= input.len());
        assert!(
            field.name.start >= at
                && field.value.end <= field.whole.end
                && field.name.end <= field.value.start.max(field.name.end)
        );
        let value = header::unfold(&input[field.value.clone()]);
        assert!(!value.contains(&b'\n') && !value.contains(&b'\r'));
        at = field.whole.end;
    }
    assert!(header::end(input) <= at || at == header::end(input));
}

/// What a header's values are read as: text on one line, addresses, dates, decoded bodies.
pub fn header_values(input: &[u8]) {
    let text = words::decode(input);
    assert!(!text.contains(['\r', '\n', '\0']), "{text:?}");
    let (base, _) = subject::base(&text);
    assert!(base.len() <= text.len() && subject::base(&base).0 == base, "{base:?}");
    let entries = mailboxes::parse(input);
    let starts = entries.iter().filter(|entry| matches!(entry, mailboxes::Entry::GroupStart(_))).count();
    let ends = entries.iter().filter(|entry| matches!(entry, mailboxes::Entry::GroupEnd)).count();
    assert_eq!(starts, ends);
    if let Some(sent) = Sent::parse(input) {
        assert!(sent.offset.abs() < 24 * 60);
    }
    for encoding in [Encoding::Base64, Encoding::QuotedPrintable, Encoding::Identity] {
        let decoded = |size: usize| {
            let (mut decoder, mut out) = (Decoder::new(encoding), Vec::new());
            input.chunks(size).for_each(|piece| decoder.push(piece, &mut out));
            decoder.finish(&mut out);
            out
        };
        let whole = decoded(usize::MAX);
        assert!(whole.len() <= input.len());
        assert_eq!(decoded(1), whole);
        assert_eq!(decoded(3), whole);
    }
}

/// Every message has a structure: the same however it is cut, with parts that lie in their parents one behind the other,
/// and a client can read what is said of it.
pub fn mime_structure(input: &[u8]) {
    let taken_apart = |size| {
        let mut scanner = Scanner::new().into_global();
        input.chunks(size).for_each(|block| scanner.push(block));
        scanner.finish()
    };
    let whole = taken_apart(input.len().max(1));
    for size in [1, 3, 64] {
        assert_eq!(taken_apart(size), whole);
    }
    assert_eq!((whole.parts[0].header.start, whole.parts[0].body.end), (0, input.len() as u64));
    let mut before = vec![0; whole.parts.len()];
    for (index, part) in whole.parts.iter().enumerate() {
        assert!(part.header.start <= part.header.end && part.header.end == part.body.start && part.body.start <= part.body.end);
        let body = &input[part.body.start as usize..part.body.end as usize];
        assert_eq!(part.lines, body.iter().filter(|byte| **byte == b'\n').count() as u64);
        if let Some(parent) = part.parent {
            let container = &whole.parts[parent];
            assert!(parent < index && matches!(container.kind, Kind::Multipart | Kind::Message));
            assert!(container.body.start.max(before[parent]) <= part.header.start && part.body.end <= container.body.end);
            before[parent] = part.body.end;
        }
        if part.kind != Kind::Multipart && whole.parts.len() < 50 {
            assert_eq!(whole.part(&whole.number(index)), Some(index));
        }
        let _ = parameters::value(&part.parameters, "name");
    }
    is_balanced(&whole.envelope);
    for (extended, rev2) in [(false, false), (false, true), (true, false), (true, true)] {
        is_balanced(&imap_text::body(&whole, Form { extended, rev2 }));
    }
    assert!(whole.keys.preview.chars().count() <= 200);
    assert_eq!(structure::decode(&structure::encode(&whole)), Some(whole));
}

/// A message in 7 bits has the parts it had, and each decodes to what it was; where that can't be, it is refused. It is the
/// same however it comes, and is never converted twice. What is signed is not touched.
pub fn conversion(input: &[u8]) {
    fn convert(input: &[u8], size: usize) -> Result<Vec<u8>, Refusal> {
        let structure = Structure::of(input);
        let mut census = Census::new(&structure);
        input.chunks(size).for_each(|block| census.push(block));
        let plan = census.plan()?;
        let (mut converter, mut proof, mut out) = (Converter::new(&plan), Proof::default(), Vec::new());
        input.chunks(size).for_each(|block| converter.push(block, &mut out));
        proof.push(&out);
        let converted = proof.finish(&structure)?;
        assert_eq!((converted, plan.is_empty()), (out.len() as u64, out == input));
        Ok(out)
    }
    let whole = convert(input, usize::MAX);
    for size in [1, 3, 64] {
        assert_eq!(convert(input, size), whole);
    }
    let Ok(converted) = whole else { return };
    let (was, is) = (Structure::of(input), Structure::of(&converted));
    for (was, is) in was.parts.iter().zip(&is.parts) {
        let body = |part: &structure::Part, message: &[u8]| message[part.body.start as usize..part.body.end as usize].to_vec();
        if was.kind == Kind::Leaf {
            let decoded = |part: &structure::Part, message: &[u8]| {
                let (mut decoder, mut out) = (Decoder::new(part.transfer_encoding()), Vec::new());
                decoder.push(&body(part, message), &mut out);
                decoder.finish(&mut out);
                out
            };
            assert_eq!(decoded(was, input), decoded(is, &converted));
            assert!(body(is, &converted).is_ascii());
        } else if was.is("multipart", "signed") {
            assert_eq!(body(was, input), body(is, &converted));
        }
    }
    assert_eq!(convert(&converted, 64), Ok(converted));
}

/// Outside of strings: parentheses that close, and nothing but what stands between strings.
fn is_balanced(text: &[u8]) {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b'"' => {
                let end = text[at..].iter().position(|byte| *byte == b'"').unwrap();
                assert!(text[at..at + end].iter().all(|byte| matches!(byte, b' '..=b'~')));
                at += end + 1;
            }
            b'{' => {
                let end = at + text[at..].iter().position(|byte| *byte == b'}').unwrap();
                let len: usize = std::str::from_utf8(&text[at..end]).unwrap().parse().unwrap();
                assert_eq!(&text[end..end + 3], b"}\r\n");
                assert!(!text[end + 3..end + 3 + len].contains(&0));
                at = end + 3 + len;
            }
            _ => assert!(matches!(byte, b' ' | b'0'..=b'9' | b'N' | b'I' | b'L'), "{}", text.escape_ascii()),
        }
    }
    assert_eq!(depth, 0);
}

/// Bytes behind a right version are a record or none; what is one is written again, and its parents come first.
pub fn structure_record(input: &[u8]) {
    let record = [&structure::encode(&Structure::of(b""))[..1], input].concat();
    let _ = Record::open(&record).and_then(Record::keys);
    if let Some(found) = structure::decode(&record) {
        assert!(found.parts.iter().enumerate().all(|(index, part)| part.parent.is_none_or(|parent| parent < index)));
        let _ = imap_text::body(&found, Form { extended: true, rev2: false });
        let again = structure::decode(&structure::encode(&found));
        assert_eq!(again, Some(found));
    }
}

/// Quoted, written to disk, read again: the same; and however it is cut into pieces.
pub fn mboxrd(input: &[u8]) {
    let lf: Vec<u8> = input.iter().copied().filter(|byte| *byte != b'\r').collect();
    let quote = |pieces: &[&[u8]]| {
        let (mut quoter, mut disk) = (Quoter::default(), Vec::new());
        pieces.iter().for_each(|piece| quoter.push(piece, &mut disk));
        quoter.finish(&mut disk);
        disk
    };
    let wire = |pieces: &[&[u8]]| {
        let (mut writer, mut out) = (ToWire::default(), Vec::new());
        pieces.iter().for_each(|piece| writer.push(piece, &mut out));
        writer.finish(&mut out);
        out
    };
    let disk = quote(&[&lf]);
    assert!(!disk.starts_with(b"From ") && !disk.windows(6).any(|window| window == b"\nFrom "));
    let mut expected = lf.clone();
    if !lf.is_empty() && !lf.ends_with(b"\n") {
        expected.push(b'\n');
    }
    let expected: Vec<u8> =
        expected.iter().flat_map(|byte| if *byte == b'\n' { b"\r\n".to_vec() } else { vec![*byte] }).collect();
    assert_eq!(wire(&[&disk]), expected);
    for size in [1, 2, 5, 7] {
        assert_eq!(quote(&lf.chunks(size).collect::<Vec<_>>()), disk);
        assert_eq!(wire(&disk.chunks(size).collect::<Vec<_>>()), expected);
    }
}

/// Lets nobody in, but only after a look at what is said.
struct Doorman;

impl Channel for Doorman {
    fn binding(&self, kind: &str) -> Option<Vec<u8>> {
        (kind == "tls-exporter").then(|| b"channel".to_vec())
    }
    fn can_bind(&self) -> bool {
        true
    }
}

impl Judge for Doorman {
    fn password(&self, name: &str, password: &[u8]) -> Result<Login, Denied> {
        assert!(!name.is_empty() && !name.contains('\0') && !password.contains(&0));
        Err(Denied::Credentials)
    }
    fn keys(&self, name: &str) -> Result<ScramKeys, Denied> {
        assert!(!name.is_empty() && !name.contains('\0'));
        Ok(ScramKeys::derive(b"pencil", b"salt".to_vec(), NonZeroU32::MIN))
    }
    fn proven(&self, _: &str, right: bool) -> Result<Login, Denied> {
        assert!(!right, "nobody can prove it without a nonce of ours");
        Err(Denied::Credentials)
    }
}

/// Whatever comes, an exchange ends after a few lines, and nobody gets in.
pub fn sasl(input: &[u8]) {
    let mut lines = input.split(|byte| *byte == b'\n');
    for mechanism in [Mechanism::Plain, Mechanism::Login, Mechanism::ScramSha256, Mechanism::ScramSha256Plus] {
        let first = lines.next().filter(|line| !line.is_empty());
        let Ok((mut exchange, _)) = Exchange::begin(mechanism, first, &Doorman) else { continue };
        let steps = (0..5).take_while(|_| match exchange.respond(lines.next().unwrap_or(b"*"), &Doorman) {
            Ok(step) => matches!(step, Step::Challenge(_)),
            Err(_) => false,
        });
        assert!(steps.count() < 4);
    }
}

/// A users file that is understood stays so after a change.
pub fn users_file(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let _ = Hash::parse(&text);
    let _ = users::is_name(&text);
    if users::parse(&text).is_ok() {
        for name in text.lines().filter_map(|line| line.split(':').next()).filter(|name| users::is_name(name)).take(3) {
            if let Ok(without) = users::remove(&text, name) {
                assert!(users::parse(&without).is_ok());
            }
        }
    }
}

/// A connection whose other end sends this and closes.
fn receiving(input: &[u8]) -> Connection {
    let (mut theirs, ours) = UnixStream::pair().unwrap();
    // It fits into the socket's buffer.
    theirs.write_all(&input[..input.len().min(60_000)]).unwrap();
    let mut connection = Connection::from_unix(ours).unwrap();
    connection.set_timeout(Duration::from_secs(5));
    connection
}

/// Lines end with CRLF and nothing else.
pub fn lines(input: &[u8]) {
    let input = &input[..input.len().min(60_000)];
    const LIMIT: usize = 64;
    let mut connection = receiving(input);
    let (mut line, mut rest) = (Vec::new(), input);
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let whole = &rest[..end];
        let clean = !whole.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
        match connection.read_line(LIMIT, &mut line).unwrap() {
            Line::Whole => assert!(clean && whole == line, "{whole:?} {line:?}"),
            Line::TooLong => assert!(whole.len() + 2 > LIMIT),
            Line::Malformed => assert!(!clean),
        }
        rest = &rest[end + 2..];
    }
    assert!(connection.read_line(LIMIT, &mut line).is_err());
}

/// A message ends with CRLF.CRLF and nothing else, and has no other line ends.
pub fn dots(input: &[u8]) {
    let input = &input[..input.len().min(60_000)];
    let mut connection = receiving(input);
    let mut sink = Vec::new();
    let found = connection.read_dots(1 << 20, &mut sink);
    // The line before the first counts as ended: an empty message is ".CRLF".
    let framed = [b"\r\n", input].concat();
    let Some(end) = framed.windows(5).position(|window| window == b"\r\n.\r\n") else {
        assert!(found.is_err());
        return;
    };
    let message = &framed[2..(end + 2).max(2)];
    let text = String::from_utf8_lossy(message).into_owned();
    let clean = !message.contains(&0) && !text.replace("\r\n", "").contains(['\r', '\n']);
    match found.unwrap() {
        Dots::Whole => {
            assert!(clean, "{text:?}");
            let mut wire = Vec::new();
            for line in message.split_inclusive(|byte| *byte == b'\n') {
                wire.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
            }
            wire.retain(|byte| *byte != b'\r');
            assert_eq!(wire, sink);
        }
        Dots::Malformed => assert!(!clean, "{text:?}"),
        other => panic!("{other:?}"),
    }
}

/// A header asks for no byte that is not its own: read on as it asks, it ends, and not later than the whole input does.
pub fn proxy_header(input: &[u8]) {
    let mut taken = 0;
    while let Header::More(more) = proxy::read(&input[..taken]) {
        assert!(more > 0);
        taken += more;
        if taken > input.len() {
            return;
        }
    }
    // Whatever follows, it was this header.
    assert!(taken <= 16 + 4096, "{taken}");
}

/// An id that is read is written as it was, in lower case.
pub fn spool_id(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(id) = text.parse::<SpoolId>() {
        assert_eq!(id.to_string().parse::<SpoolId>(), Ok(id));
    }
}

/// What a command carries into headers and logs holds no control character.
pub fn smtp_command(input: &[u8]) {
    let clean = |text: &str| assert!(text.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{text:?}");
    let harmless =
        |text: &str| assert!(!text.contains(|char: char| char.is_control() || "\u{2028}\u{2029}".contains(char)), "{text:?}");
    for line in input.split(|byte| *byte == b'\n') {
        match Command::parse(line) {
            Ok(Command::Helo(name) | Command::Ehlo(name) | Command::Lhlo(name)) => clean(name),
            Ok(Command::Mail(mail)) => {
                harmless(&mail.reverse_path.to_string());
                let id = mail.dsn.id.as_ref().map(|id| id.decode());
                clean(&id.unwrap_or_default());
                let again = format!("MAIL FROM:<{}>{}", mail.reverse_path, mail.dsn);
                assert!(matches!(Command::parse(again.as_bytes()), Ok(Command::Mail(other)) if other.dsn == mail.dsn), "{again}");
            }
            Ok(Command::Rcpt(Rcpt { path, dsn })) => {
                if let ForwardPath::Address(address) = path {
                    harmless(&address.to_string());
                }
                for utf8 in [false, true] {
                    harmless(&dsn.original.as_ref().map(|original| original.told(utf8)).unwrap_or_default());
                }
                clean(&dsn.to_ascii().to_string());
                let again = format!("RCPT TO:<a@b>{dsn}");
                assert!(matches!(Command::parse(again.as_bytes()), Ok(Command::Rcpt(other)) if other.dsn == dsn), "{again}");
            }
            Ok(Command::Auth { mechanism, .. }) => clean(mechanism),
            Ok(_) => {}
            Err(error) => drop(error.reply()),
        }
    }
}

/// A reply is made of the lines since the one before, of one code, and told on one short line, which is such a reply itself.
pub fn smtp_reply(input: &[u8]) {
    let (mut parser, mut lines) = (Parser::default(), Vec::new());
    for line in input.split(|byte| *byte == b'\n') {
        lines.push(line);
        match parser.push(line) {
            Ok(Some(reply)) => {
                let code = reply.code.to_string();
                assert!(lines.iter().all(|line| line.starts_with(code.as_bytes())) && (200..600).contains(&reply.code));
                assert!(reply.lines.len() == lines.len() && lines.len() <= 200);
                assert!(reply.lines.iter().all(|text| text.len() <= 512));
                let told = reply.to_string();
                assert!(told.len() < 1000 && told.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{told:?}");
                let again = Parser::default().push(told.as_bytes()).unwrap().unwrap();
                assert_eq!((again.code, again.enhanced), (reply.code, reply.enhanced), "{told:?}");
                lines.clear();
            }
            Ok(None) => assert_eq!(line.get(3), Some(&b'-')),
            Err(_) => {
                parser = Parser::default();
                lines.clear();
            }
        }
    }
}

/// Every complaint about a configuration points into it.
pub fn configuration(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Err(report) = from_text("fuzz.conf", &text, Path::new("/nowhere"), &[]) {
        assert!(!report.to_string().is_empty());
    }
    let options: Vec<String> = text.lines().take(3).map(str::to_owned).collect();
    let _ = from_text("fuzz.conf", "", Path::new("/nowhere"), &options);
}

/// A server that answers with this, the question's number and name in front, so that it is looked at.
pub fn dns(input: &[u8]) {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    server.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let patience = Patience { one: Duration::from_millis(10), rounds: 1, whole: Duration::from_millis(30) };
    let resolver = Resolver::new(Arc::new(SystemClock::default()), &[address]).with_patience(patience);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut question = [0; 512];
            if let Ok((length, from)) = server.recv_from(&mut question) {
                // The counts and what follows the question are the input's.
                let counts = input.get(..6).unwrap_or(&[0, 1, 0, 0, 0, 0]);
                let rest = input.get(6..).unwrap_or_default();
                let name_and_type = question.get(12..length).unwrap_or_default();
                let end = name_and_type.iter().position(|byte| *byte == 0).map_or(0, |at| (at + 5).min(name_and_type.len()));
                let answer = [&question[..2], &[0x81, 0x80, 0, 1], counts, &name_and_type[..end], rest].concat();
                let _ = server.send_to(&answer[..answer.len().min(1200)], from);
            }
        });
        let _ = resolver.mx("fuzz.test");
    });
}

/// A text is no longer than it may be, and has one type.
pub fn https_answer(input: &[u8]) {
    const MOST: usize = 100;
    let mut connection = receiving(&input[..input.len().min(60_000)]);
    if let Ok(text) = https::read(&mut connection, MOST) {
        assert!(text.bytes.len() <= MOST);
        assert!(!text.kind.contains([';', '\r', '\n', '\0']) && text.kind == text.kind.to_ascii_lowercase(), "{:?}", text.kind);
        assert!(input.starts_with(b"HTTP/1.") && input.windows(4).any(|window| window == b" 200"));
        // A text that is short enough is told whole, whatever may be told.
        let mut again = receiving(&input[..input.len().min(60_000)]);
        assert_eq!(https::read(&mut again, text.bytes.len()), Ok(text));
    }
}

/// A policy holds for a bounded time, names hosts, and means the same when it is written down.
pub fn sts_policy(input: &[u8]) {
    let Ok(policy) = Policy::parse(input) else { return };
    assert!(policy.max_age.as_secs() <= 31_557_600);
    assert!(policy.mode == Mode::None || !policy.mx.is_empty());
    let mut text = format!("version: STSv1\nmode: {}\nmax_age: {}\n", policy.mode.name(), policy.max_age.as_secs());
    for name in &policy.mx {
        let is_name = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
        assert!(name.strip_prefix("*.").unwrap_or(name).bytes().all(is_name), "{name:?}");
        let host = name.replacen('*', "mx", 1);
        assert!(policy.allows(&host) && policy.allows(&host.to_ascii_uppercase()));
        assert!(!policy.allows(&format!("{host}.")) && !policy.allows(&format!(".{host}")));
        text.push_str(&format!("mx: {name}\n"));
    }
    assert_eq!(Policy::parse(text.as_bytes()), Ok(policy));
}

/// Of several records only one may be a policy's, and its id is one that can be kept.
pub fn sts_record(input: &[u8]) {
    let records: Vec<Vec<u8>> = input.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    if let Some(id) = policy::id(&records) {
        assert!((1..=32).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id:?}");
        let ours: Vec<Vec<u8>> =
            records.into_iter().filter(|record| policy::id(std::slice::from_ref(record)).is_some()).collect();
        assert_eq!(ours.len(), 1);
        assert_eq!(policy::id(&[ours[0].clone(), format!("v=STSv1; id={id}").into_bytes()]), None);
        assert_eq!(policy::id(&[format!("v=STSv1; id={id};").into_bytes()]), Some(id));
    }
}

/// Whatever may be a name comes back from the disk, where it stays below its directory.
pub fn folder_name(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(name) = FolderName::parse(&text) {
        let file = name.file();
        assert_eq!(FolderName::of_file(&file), Some(name.clone()));
        assert_eq!(FolderName::parse(name.as_str()), Ok(name));
        assert!(file.as_os_str().len() <= 260);
        for part in file.components() {
            assert!(matches!(part, Component::Normal(part) if !part.as_encoded_bytes().starts_with(b".")), "{text:?}");
        }
    }
    if let Some(name) = FolderName::of_file(Path::new(&*text)) {
        assert_eq!(name.file(), Path::new(&*text));
    }
}

/// What is understood has this one form, and any text has one.
pub fn modified_utf7(input: &[u8]) {
    if let Ok(text) = utf7::decode(input) {
        assert_eq!(utf7::encode(&text).as_bytes(), input);
    }
    let text = String::from_utf8_lossy(input);
    assert_eq!(utf7::decode(utf7::encode(&text).as_bytes()).as_deref(), Ok(&*text));
}
