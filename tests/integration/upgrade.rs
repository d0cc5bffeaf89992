//! Upgrade in place: what earlier versions of the formats left on the disk (`tests/kept/`) is taken up by this one, with every
//! message, UID and mark; and what a later version wrote is refused and left as it is.

use crate::common::{Daemon, PASSWORD, Pop3, Setup, Sink, letter, top, wait_for};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

crate::tests![
    journals_1_to_7_are_taken_up,
    a_later_journal_is_refused,
    a_later_state_is_refused,
    a_later_step_of_compaction_is_not_undone,
    later_caches_are_made_anew,
];

const LATEST: u32 = 7;

/// All files below a directory, by their paths in it.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut dirs) = (BTreeMap::new(), vec![dir.to_owned()]);
    while let Some(next) = dirs.pop() {
        for entry in fs::read_dir(&next).unwrap().map(Result::unwrap) {
            match entry.path() {
                path if path.is_dir() => dirs.push(path),
                path => drop(found.insert(path.strip_prefix(dir).unwrap().to_owned(), fs::read(&path).unwrap())),
            }
        }
    }
    found
}

/// A daemon that is to go on with what one of that version left; nothing has started yet. And what was to be seen there.
fn prepare(version: u32, sink: &Sink) -> (Daemon, Vec<Vec<String>>) {
    // However long ago that was.
    let config = format!(
        "[queue]\nlifetime = \"5000w\"\nwarn = \"5000w\"\n[[route]]\ndomain = \"elsewhere.test\"\nhost = \"{}\"\n",
        sink.address
    );
    let daemon = Setup::default().config(&config).prepare();
    let mut expected = Vec::new();
    for (path, bytes) in files(&top().join("tests/kept").join(version.to_string())) {
        let place = match path.strip_prefix("mail") {
            Ok(name) => daemon.mailbox(name.to_str().unwrap()),
            Err(_) => daemon.path(path.to_str().unwrap()),
        };
        if path == Path::new("expected") {
            let lines = String::from_utf8(bytes).unwrap();
            expected = lines.lines().map(|line| line.split_ascii_whitespace().map(str::to_owned).collect()).collect();
            continue;
        }
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(&place, bytes).unwrap();
        let mode = if path.starts_with("aliases") { 0o644 } else { 0o600 };
        fs::set_permissions(&place, fs::Permissions::from_mode(mode)).unwrap();
    }
    (daemon, expected)
}

fn host() -> Sink {
    let hello = "250-sink.test\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250 SIZE";
    Sink::with(move |line| line.starts_with("EHLO").then(|| hello.to_owned()))
}

/// The rest of those lines of `expected` that begin so.
fn those(expected: &[Vec<String>], kind: &str) -> BTreeSet<String> {
    expected.iter().filter(|words| words[0] == kind).map(|words| words[1..].join(" ")).collect()
}

fn subject(message: &str) -> String {
    message.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap_or_else(|| panic!("no subject: {message}")).to_owned()
}

/// UIDL and subject of each message of alice's.
fn uidls(daemon: &Daemon) -> BTreeSet<String> {
    let mut pop3 = daemon.pop3("alice");
    let list = String::from_utf8(pop3.lines("UIDL").unwrap()).unwrap();
    let messages = pop3.messages().unwrap();
    pop3.ok("QUIT").unwrap();
    let ids = list.lines().filter_map(|line| line.split(' ').nth(1)).map(str::to_owned);
    ids.zip(messages).map(|(id, message)| format!("{id} {}", subject(&String::from_utf8_lossy(&message)))).collect()
}

/// Folder, UIDVALIDITY, UID, flags and subject of each.
fn by_imap(daemon: &Daemon) -> BTreeSet<String> {
    let mut imap = daemon.imap("alice");
    let mut all = BTreeSet::new();
    for folder in ["INBOX", "Work"] {
        let Ok(said) = imap.ok(&format!("EXAMINE {folder}")) else { continue };
        let said = said.join("\n");
        let validity = said.split("[UIDVALIDITY ").nth(1).unwrap().split(']').next().unwrap().to_owned();
        let said = imap.ok("FETCH 1:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])").unwrap().join("\n");
        for item in said.split("FETCH (").skip(1) {
            let after = |mark: &str, end: char| item.split(mark).nth(1).unwrap().split(end).next().unwrap().to_owned();
            let flags = after("FLAGS (", ')');
            let mut flags: Vec<&str> = flags.split(' ').filter(|flag| !flag.is_empty() && *flag != "\\Recent").collect();
            flags.sort_unstable();
            let flags = if flags.is_empty() { "-".to_owned() } else { flags.join(",") };
            let uid = after("UID ", ' ');
            all.insert(format!("{folder} {validity} {} {flags} {}", uid.trim_end_matches(')'), subject(&item.replace('\r', ""))));
        }
    }
    all
}

/// What a daemon of this version does with all of it, in two lives.
fn journals_1_to_7_are_taken_up() {
    for version in 1..=LATEST {
        let sink = host();
        let (mut daemon, expected) = prepare(version, &sink);
        let segment = fs::read(daemon.spool().join("journal/mail.here.test/00000001.mbox")).unwrap();
        assert!(String::from_utf8_lossy(&segment).contains(&format!("\nX-Spool-Segment: {version}\n")));
        daemon.start();
        for life in 0..2 {
            let case = format!("version {version}, life {life}");
            // The last one was in the journal only: its mailbox was not synced yet. It comes under a number that nobody has seen.
            let fresh = those(&expected, "fresh");
            let is_fresh = |line: &String| fresh.iter().any(|subject| line.ends_with(subject));
            let (seen, old): (BTreeSet<_>, BTreeSet<_>) = uidls(&daemon).into_iter().partition(is_fresh);
            assert_eq!((old, seen.len()), (those(&expected, "uidl"), fresh.len()), "{case}");
            let (new, old): (BTreeSet<_>, BTreeSet<_>) = by_imap(&daemon).into_iter().partition(is_fresh);
            let known = those(&expected, "imap");
            assert!(known.is_subset(&old) && (version == 1 || known == old), "{case}: {old:?}, not {known:?}");
            assert_eq!(new.len(), fresh.len(), "{case}");
            assert_eq!(daemon.mail("bob").len(), 1, "{case}");
            assert!(version == 1 || daemon.imap("alice").ok("LSUB \"\" *").unwrap().join("").contains("Work"), "{case}");
            // What was to be sent is sent, and once; what can't be done waits on.
            let (stays, leaves): (BTreeSet<_>, BTreeSet<_>) =
                those(&expected, "queue").into_iter().partition(|line| line.starts_with("cmd "));
            let waits = |daemon: &Daemon| serde_json::to_string(&daemon.queue()).unwrap();
            daemon.ctl(&["queue", "flush"]);
            wait_for(&format!("{case}: a queue without mail for elsewhere"), 60, || {
                (!waits(&daemon).contains("elsewhere.test")).then_some(())
            });
            let arrived: Vec<String> =
                sink.arrived().iter().map(|mail| subject(&String::from_utf8_lossy(&mail.message))).collect();
            let subjects: BTreeSet<String> = leaves.iter().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect();
            assert_eq!((arrived.len(), arrived.into_iter().collect()), (subjects.len(), subjects), "{case}");
            let asks = sink.arrived().iter().filter(|mail| mail.to[0].contains("NOTIFY=FAILURE,DELAY")).count();
            assert_eq!(asks, usize::from(version > 2), "{case}");
            assert_eq!(daemon.queue().len(), stays.len(), "{case}: {}", waits(&daemon));
            assert!(!daemon.log().contains("spool damaged"), "{case}");
            daemon.stop();
            daemon.start();
        }
        assert!(daemon.send(&["alice@here.test"], &letter("new", "text")).starts_with("250"));
    }
}

/// Changes a file of text.
fn change(path: &Path, how: impl FnOnce(String) -> String) {
    let text = String::from_utf8(fs::read(path).unwrap()).unwrap();
    fs::write(path, how(text)).unwrap();
}

fn a_later_journal_is_refused() {
    let sink = host();
    let (mut daemon, expected) = prepare(LATEST, &sink);
    let dir = daemon.spool().join("journal/mail.here.test");
    let [segment, log] = ["00000001.mbox", "00000001.log"].map(|name| dir.join(name));
    let (old_segment, old_log) = (fs::read(&segment).unwrap(), fs::read(&log).unwrap());
    let generation = String::from_utf8(old_log.clone()).unwrap()[..].lines().next().unwrap()[15..31].to_owned();
    let generation = u64::from_str_radix(&generation, 16).unwrap();
    for part in ["segment", "log"] {
        match part {
            "segment" => change(&segment, |text| {
                let (tag, rest) = text.split_once('\n').unwrap();
                let fields = "X-Spool-Segment: 99\n".to_owned();
                let crc = crc32c::crc32c_append(crc32c::crc32c(fields.as_bytes()), format!("{tag}\n").as_bytes());
                let rest = rest.splitn(3, '\n').nth(2).unwrap();
                format!("{tag}\n{fields}X-Spool-Crc32c: {crc:08x}\n{rest}")
            }),
            _ => change(&log, |text| {
                let line = format!("log 99 {generation:016x}");
                let crc = crc32c::crc32c_append(crc32c::crc32c(&generation.to_be_bytes()), line.as_bytes());
                format!("{crc:08x} {line}\n{}", text.split_once('\n').unwrap().1)
            }),
        }
        let journal = || [&segment, &log].map(|path| fs::read(path).unwrap());
        let before = journal();
        let said = daemon.try_start().unwrap_err();
        assert!(said.contains("which this version of the program does not know"), "{part}: {said}");
        assert!(before == journal(), "{part}");
        fs::write(&segment, &old_segment).unwrap();
        fs::write(&log, &old_log).unwrap();
    }
    daemon.start();
    assert_eq!(uidls(&daemon).len(), those(&expected, "uidl").len() + 1);
}

/// A state log of alice's, as a later version could begin it. Gives it as it was, and as it is.
fn a_later_log(daemon: &Daemon, name: &str) -> (PathBuf, Vec<u8>, Vec<u8>) {
    let path = daemon.spool().join("state/alice").join(name);
    let old = fs::read(&path).unwrap();
    change(&path, |text| {
        let words = "pillarbox-state 2";
        format!("{words} {:08x}\n{}", crc32c::crc32c(words.as_bytes()), text.split_once('\n').unwrap().1)
    });
    let new = fs::read(&path).unwrap();
    (path, old, new)
}

fn a_later_state_is_refused() {
    let sink = host();
    let (mut daemon, expected) = prepare(LATEST, &sink);
    let (path, old, new) = a_later_log(&daemon, "INBOX");
    let mail = fs::read(daemon.mailbox("alice")).unwrap();
    daemon.start();
    daemon.wait_for_log(30, "of another version");
    // Others have their mail; hers waits, and nothing of hers is touched.
    assert!(daemon.send(&["alice@here.test", "bob@here.test"], &letter("new", "text")).starts_with("250"));
    assert_eq!(daemon.wait_for_mail("bob", 2, 30).len(), 2);
    assert!(Pop3::log_in(daemon.at("pop3"), "alice", PASSWORD).is_err());
    assert!(daemon.imap("alice").ok("SELECT INBOX").is_err());
    daemon.stop();
    assert!(fs::read(&path).unwrap() == new && fs::read(daemon.mailbox("alice")).unwrap() == mail);
    fs::write(&path, &old).unwrap();
    daemon.start();
    wait_for("all of her mail", 60, || (uidls(&daemon).len() == those(&expected, "uidl").len() + 2).then_some(()));
    assert!(those(&expected, "uidl").is_subset(&uidls(&daemon)));

    // That of her folders.
    daemon.stop();
    let (path, old, new) = a_later_log(&daemon, "user");
    let work = fs::read(daemon.spool().join("folders/alice/Work.mbox")).unwrap();
    daemon.start();
    let mut imap = daemon.imap("alice");
    for command in ["SELECT Work", "CREATE More", "RENAME Work Play", "DELETE Work", "LIST \"\" *"] {
        assert!(imap.ok(command).is_err(), "{command}");
    }
    daemon.stop();
    assert!(fs::read(&path).unwrap() == new && fs::read(daemon.spool().join("folders/alice/Work.mbox")).unwrap() == work);
    fs::write(&path, &old).unwrap();
    daemon.start();
    assert!(those(&expected, "imap").is_subset(&by_imap(&daemon)));
}

/// It may hold what is nowhere else by now.
fn a_later_step_of_compaction_is_not_undone() {
    let sink = host();
    let (mut daemon, expected) = prepare(LATEST, &sink);
    let redo = daemon.spool().join("state/alice/INBOX.redo");
    let words = format!("pillarbox-redo 2 open {:020} {:020} 00000000", 512, 12);
    let text = format!("{words} {:08x}\n{}moved bytes.", crc32c::crc32c(words.as_bytes()), "\0".repeat(512));
    fs::write(&redo, &text).unwrap();
    let before = fs::read(daemon.mailbox("alice")).unwrap();
    daemon.start();
    daemon.wait_for_log(30, "a redo file of another version");
    assert!(daemon.send(&["alice@here.test"], &letter("new", "text")).starts_with("250"));
    daemon.stop();
    assert!(fs::read(&redo).unwrap() == text.as_bytes() && fs::read(daemon.mailbox("alice")).unwrap() == before);
    fs::remove_file(&redo).unwrap();
    daemon.start();
    wait_for("all of her mail", 60, || (uidls(&daemon).len() == those(&expected, "uidl").len() + 2).then_some(()));
}

/// An index, what messages are made of, and policies of other hosts are caches. What a users file says is not.
fn later_caches_are_made_anew() {
    let sink = host();
    let (mut daemon, expected) = prepare(LATEST, &sink);
    let index = daemon.spool().join("index/alice/INBOX.idx");
    let cache = index.with_extension("cache");
    let policies = daemon.spool().join("mta-sts/mail.here.test");
    fs::create_dir_all(policies.parent().unwrap()).unwrap();
    fs::write(&policies, "pillarbox-mta-sts 2\nwhatever\n").unwrap();
    let mut bytes = fs::read(&index).unwrap();
    bytes[6] = 0x77;
    fs::write(&index, bytes).unwrap();
    fs::write(&cache, b"PBXSTR\x77\nwhatever").unwrap();
    daemon.start();
    daemon.imap("alice").ok("EXAMINE INBOX").unwrap();
    let mut imap = daemon.imap("alice");
    imap.ok("EXAMINE INBOX").unwrap();
    assert!(imap.ok("FETCH 1:* (ENVELOPE BODYSTRUCTURE)").unwrap().join("").contains("kept one"));
    assert!(those(&expected, "imap").is_subset(&by_imap(&daemon)));
    daemon.stop();
    let written = fs::read(&index).unwrap();
    assert!(written.starts_with(b"PBXIDX") && written[6] < 0x77);
    assert!(fs::read(&cache).is_ok_and(|bytes| bytes.starts_with(b"PBXSTR") && bytes[6] < 0x77));
    // Nobody is let in or kept out by half of what stands there.
    let users = daemon.path("users");
    let text = fs::read_to_string(&users).unwrap();
    fs::write(&users, text.replacen(" 1", " 2", 1)).unwrap();
    let said = daemon.try_start().unwrap_err();
    assert!(said.contains("users") && said.contains("version"), "{said}");
    fs::write(&users, text).unwrap();
    daemon.start();
}
