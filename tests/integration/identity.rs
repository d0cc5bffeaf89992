//! Mail comes out of every reader as it went in, by SMTP and by APPEND, byte for byte, with the size that was told; and who only
//! logs in does not make the daemon read it.

use crate::common::{Daemon, Imap, Setup, run, tool};
use std::fs;
use std::io::Write;

crate::tests![every_reader_gives_what_came, a_login_reads_no_mail, a_mailbox_is_emptied_while_it_is_read];

/// As it goes over the wire.
fn corpus() -> Vec<Vec<u8>> {
    let long = |length| "x".repeat(length);
    let mut corpus: Vec<Vec<u8>> = [
        "Subject: plain\n\nbody\n".to_owned(),
        "Subject: From lines\n\nFrom me to you\nFrom a@b Sat Nov  1 12:26:40 2025\n\nFrom a@b Sat Nov  1 12:26:40 2025\nX: y\n"
            .into(),
        "Subject: quoted\n\n>From a\n>>From b\n>>>From c\n> From d\n>from e\n>>From \n>>From\n".into(),
        "Subject: in the header\nX-Long: a\n >From b\n\tFrom c\n>From d: e\n\nbody\n".into(),
        ">From first@line Sat Nov  1 12:26:40 2025\nSubject: b\n\nbody\n".into(),
        format!("Subject: long\nX-Long: {}\n\n{}\n{}\n{}\n{}\n", long(900), long(997), long(998), long(999), long(100_000)),
        format!("Subject: long header\n{}\nbody\n", "X-Much: yes\n".repeat(10_000)),
        "Subject: empty body\n\n".into(),
        "Subject: header only\n".into(),
        "\nno header\n".into(),
        "Subject: blank lines\n\n\n\n\n".into(),
        "Subject: blank end\n\nbody\n\n\n".into(),
        "Subject: dots\n\n.\n..\n. \n.\n".into(),
        "Subject: dead?\nX-Other: 1\n\nX-UID: 0000000000\nX-Status: D\n\n".into(),
    ]
    .iter()
    .map(|text| text.replace('\n', "\r\n").into_bytes())
    .collect();
    corpus.push(b"Subject: \xfc\xe4\xff\r\n\r\n\x80\x81 gr\xc3\xbc\xc3\x9fe \xff\xfe\r\n".to_vec());
    // 25 MiB, with everything odd in it again and again.
    let mut big = b"Subject: big\r\n\r\n".to_vec();
    for n in 0..430_000 {
        big.extend_from_slice(format!("line {n} of many, the quick brown fox jumps over the lazy dog\r\n").as_bytes());
        if n % 1000 == 0 {
            big.extend_from_slice(b"From here on\r\n>From there\r\n.\r\n\r\nFrom a@b Sat Nov  1 12:26:40 2025\r\n\xff\r\n");
        }
    }
    assert!(big.len() > 25 << 20);
    corpus.push(big);
    corpus
}

/// What SMTP does not carry (RFC 5321 §2.3.8), and IMAP does.
fn odd() -> [&'static [u8]; 2] {
    [
        b"Subject: cr\r\n\r\na\rb\r\rc\r\n\rd\r\n\r\r\r\n\re\r\n",
        b"Subject: cr before from\r\n\r\n\rFrom a@b Sat Nov  1 12:26:40 2025\r\nx\r\n",
    ]
}

fn every_reader_gives_what_came() {
    let mut daemon = Setup::default().start();
    let (mut smtp, mut imap) = (daemon.smtp(), daemon.imap("bob"));
    let corpus = corpus();
    for message in &corpus {
        let reply = smtp.send("sender@sender.test", &["alice@here.test"], message).unwrap();
        assert!(reply.starts_with("250"), "{reply}: {}", start(message));
        append(&mut imap, message);
    }
    for message in odd() {
        let reply = smtp.send("sender@sender.test", &["alice@here.test"], message).unwrap();
        assert!(reply.starts_with('5'), "{reply}: {}", start(message));
        smtp = daemon.smtp();
        append(&mut imap, message);
    }
    let delivered: Vec<Vec<u8>> = corpus.iter().map(|message| closed(message)).collect();
    let appended = [delivered.clone(), odd().map(<[u8]>::to_vec).to_vec()].concat();
    compare(&daemon, "alice", &delivered, |got, sent| got.ends_with(sent));
    compare(&daemon, "bob", &appended, |got, sent| got == sent);
    other_programs_read(&daemon, "alice", &delivered);
    // And after a restart, with and without the index.
    assert!(daemon.stop().success());
    fs::remove_dir_all(daemon.spool().join("index/bob")).unwrap();
    daemon.start();
    compare(&daemon, "alice", &delivered, |got, sent| got.ends_with(sent));
    compare(&daemon, "bob", &appended, |got, sent| got == sent);
}

/// In a mailbox every header ends with an empty line.
fn closed(message: &[u8]) -> Vec<u8> {
    let has_end = message.starts_with(b"\r\n") || memchr::memmem::find(message, b"\r\n\r\n").is_some();
    [message, if has_end { b"" } else { b"\r\n" }].concat()
}

fn append(imap: &mut Imap, message: &[u8]) {
    let head = format!("APPEND INBOX {{{}+}}\r\n", message.len());
    let tag = imap.begin(&[head.as_bytes(), message].concat()).unwrap();
    let lines = imap.finish(&tag).unwrap();
    assert!(lines.last().unwrap().starts_with(&format!("{tag} OK")), "{lines:?}: {}", start(message));
}

/// All readers agree, with what came and with the sizes they tell.
fn compare(daemon: &Daemon, user: &str, sent: &[Vec<u8>], is_same: impl Fn(&[u8], &[u8]) -> bool) {
    let file = fs::read(daemon.mailbox(user)).unwrap();
    let (mut pop3, mut imap) = (daemon.pop3(user), daemon.imap(user));
    assert_eq!(pop3.count().unwrap(), sent.len());
    imap.ok("SELECT INBOX").unwrap();
    for (number, sent) in (1..).zip(sent) {
        let told = |bytes: &[u8]| format!("{user} {number}: {}\nfor {}", start(bytes), start(sent));
        let whole = imap.fetch(number, "BODY.PEEK[]").unwrap();
        assert!(is_same(&whole, sent), "{}", told(&whole));
        let size = imap.ok(&format!("FETCH {number} RFC822.SIZE")).unwrap();
        assert!(size[0].ends_with(&format!("RFC822.SIZE {})", whole.len())), "{size:?}: {}", start(sent));
        assert_eq!(pop3.ok(&format!("LIST {number}")).unwrap(), format!("+OK {number} {}", whole.len()));
        let retrieved = pop3.lines(&format!("RETR {number}")).unwrap();
        assert!(retrieved == whole, "by POP3 {}", told(&retrieved));
        let parts = [imap.fetch(number, "BODY.PEEK[HEADER]").unwrap(), imap.fetch(number, "BODY.PEEK[TEXT]").unwrap()].concat();
        assert!(parts == whole, "header and text {}", told(&parts));
        let step = whole.len() / 3 + 1;
        let ranges = (0..whole.len()).step_by(step).map(|at| format!("BODY.PEEK[]<{at}.{step}>"));
        let pieces: Vec<u8> = ranges.flat_map(|range| imap.fetch(number, &range).unwrap()).collect();
        assert!(pieces == whole, "ranges {}", told(&pieces));
        // In the file lines end in LF, and `From ` lines of the body are quoted. (A CR before a CRLF is kept in a way of its own.)
        let body = &whole[whole.windows(4).position(|four| four == b"\r\n\r\n").map_or(whole.len(), |at| at + 4)..];
        if memchr::memmem::find(body, b"\r\r").is_some() {
            continue;
        }
        let quoted = quoted(body);
        assert!(memchr::memmem::find(&file, &quoted).is_some(), "not in the file {}", told(&quoted));
    }
}

/// Python takes the file apart by its `From ` lines, and leaves quotes as they are.
fn other_programs_read(daemon: &Daemon, user: &str, sent: &[Vec<u8>]) {
    let out = daemon.path("taken-apart");
    fs::create_dir(&out).unwrap();
    let script = "import mailbox, sys\nfor key, message in mailbox.mbox(sys.argv[1], create=False).items():\n    \
                  open(f'{sys.argv[2]}/{key}', 'wb').write(message.as_bytes())\n";
    run(tool("python3").args(["-c", script]).arg(daemon.mailbox(user)).arg(&out));
    assert_eq!(fs::read_dir(&out).unwrap().count(), sent.len());
    for (number, sent) in sent.iter().enumerate() {
        let got = fs::read(out.join(number.to_string())).unwrap();
        let body = &sent[sent.windows(4).position(|four| four == b"\r\n\r\n").map_or(sent.len(), |at| at + 4)..];
        // The last empty lines are the file's or the message's: nobody can tell.
        let (got, body) = (got.trim_ascii_end(), quoted(body));
        assert!(got.ends_with(body.trim_ascii_end()), "{number}: {}\nfor {}", start(got), start(sent));
    }
}

/// Another program empties the file in the middle of a FETCH: what came until then is right, and nothing else comes.
fn a_mailbox_is_emptied_while_it_is_read() {
    let daemon = Setup::default().start();
    let line = "a line of text that is not like any other in this file, but for its number\r\n";
    let big: String = (0..300_000).map(|number| format!("{number} {line}")).collect();
    let big = format!("Subject: big\r\n\r\n{big}").into_bytes();
    let mut imap = daemon.imap("alice");
    append(&mut imap, &big);
    append(&mut imap, b"Subject: small\r\n\r\nsmall\r\n");
    imap.ok("SELECT INBOX").unwrap();
    let tag = imap.begin(b"FETCH 1:2 (BODY.PEEK[])").unwrap();
    assert!(imap.talk.line().unwrap().ends_with(&format!("{{{}}}", big.len())));
    let mut got = imap.talk.bytes(64 << 10).unwrap();
    fs::File::options().write(true).truncate(true).open(daemon.mailbox("alice")).unwrap();
    let rest = imap.talk.rest();
    got.extend_from_slice(&rest);
    let same = got.len().min(big.len());
    assert!(got[..same] == big[..same], "other bytes after {} of {}", got.len(), big.len());
    // All of it was on its way, or the connection ends where the literal breaks off.
    assert!(got.len() <= big.len() || !got[same..].is_empty() && memchr::memmem::find(&got[same..], tag.as_bytes()).is_none());
    assert_eq!(daemon.mail("alice").len(), 0);
    assert!(daemon.send(&["alice@here.test"], b"Subject: new\r\n\r\nnew\r\n").starts_with("250"));
    let mail = daemon.wait_for_mail("alice", 1, 30);
    assert!(mail[0].ends_with(b"Subject: new\r\n\r\nnew\r\n"));
}

fn quoted(wire: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(wire.len() + 64);
    for line in wire.split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r\n").unwrap_or(line);
        let marks = line.iter().take_while(|byte| **byte == b'>').count();
        if line[marks..].starts_with(b"From ") {
            out.push(b'>');
        }
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out
}

fn start(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(300)].escape_ascii().to_string()
}

/// Bytes that the daemon has read, from files and sockets.
fn read_by(daemon: &Daemon) -> u64 {
    let io = fs::read_to_string(format!("/proc/{}/io", daemon.pid())).unwrap();
    io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}

fn a_login_reads_no_mail() {
    let mut daemon = Setup::default().prepare();
    let path = daemon.mailbox("alice");
    let mut file = std::io::BufWriter::new(fs::File::create(&path).unwrap());
    let body = "a line of text that is long enough to fill a kilobyte with some others\n".repeat(15);
    for n in 0..50_000 {
        write!(file, "From a@b.test Sat Nov  1 12:26:40 2025\nSubject: {n}\n\n{body}\n").unwrap();
    }
    file.into_inner().unwrap();
    let size = fs::metadata(&path).unwrap().len();
    daemon.start();
    assert_eq!(daemon.pop3("alice").count().unwrap(), 50_000);
    assert!(read_by(&daemon) > size, "the first login must read it, or this measures nothing");
    // What is known is kept over a restart.
    assert!(daemon.stop().success());
    daemon.start();
    for login in ["the first", "the second"] {
        let before = read_by(&daemon);
        let mut pop3 = daemon.pop3("alice");
        assert_eq!(pop3.count().unwrap(), 50_000);
        assert!(pop3.lines("UIDL").unwrap().len() > 50_000 * 8);
        let read = read_by(&daemon) - before;
        assert!(read < size / 10, "{login} login after a restart read {read} bytes, of {size}");
    }
}
