//! Sessions that wait: how soon they hear of what happens, whoever does it, and what they cost while nothing happens.

use crate::common::{Daemon, Imap, Setup, letter, wait_for};
use nix::fcntl::{FcntlArg, fcntl};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

crate::tests![
    idle_hears_other_programs,
    idle_hears_a_program_that_keeps_the_lock,
    every_session_hears_of_a_delivery,
    notify_hears_other_programs,
    notify_has_a_limit,
    waiting_costs_nothing,
];

/// What is promised is a tenth of a second; a machine that is busy with other tests gets this.
const PATIENCE: Duration = Duration::from_secs(2);

/// Another mail program: takes both locks, appends, gives them back.
struct Appender {
    path: PathBuf,
    dotlock: PathBuf,
}

impl Appender {
    fn new(path: &Path) -> Appender {
        let mut dotlock = path.as_os_str().to_owned();
        dotlock.push(".lock");
        Appender { path: path.to_owned(), dotlock: dotlock.into() }
    }

    /// Appends a message; `hold` is done before the locks are given back.
    fn append(&self, subject: &str, hold: impl FnOnce()) {
        let dotlock = || File::options().write(true).create_new(true).mode(0o444).open(&self.dotlock).ok().map(|_| ());
        wait_for("the dotlock", 20, dotlock);
        let mut file = File::options().append(true).create(true).mode(0o600).open(&self.path).unwrap();
        let lock = libc::flock { l_type: libc::F_WRLCK as i16, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };
        wait_for("the lock", 20, || fcntl(&file, FcntlArg::F_OFD_SETLK(&lock)).ok());
        write!(file, "From x@y.test Sat Nov  1 12:26:40 2025\nSubject: {subject}\n\nhello\n\n").unwrap();
        file.flush().unwrap();
        hold();
        drop(file);
        fs::remove_file(&self.dotlock).unwrap();
    }
}

/// Reads lines until one ends so; how long that took.
fn heard(imap: &mut Imap, since: Instant, wanted: impl Fn(&str) -> bool) -> Duration {
    while !wanted(&imap.talk.line().unwrap()) {}
    since.elapsed()
}

fn idling(daemon: &Daemon) -> Imap {
    let mut imap = daemon.imap("alice");
    imap.ok("SELECT INBOX").unwrap();
    imap.begin(b"IDLE").unwrap();
    assert!(imap.talk.line().unwrap().starts_with('+'));
    imap
}

fn tell(what: &str, mut took: Vec<Duration>) {
    took.sort();
    let millis = |at: usize| took[at].as_secs_f64() * 1e3;
    println!(
        "{what}: {:.1} ms in the middle, {:.1} ms at most, of {}",
        millis(took.len() / 2),
        millis(took.len() - 1),
        took.len()
    );
    assert!(took[took.len() - 1] < PATIENCE, "{took:?}");
}

fn idle_hears_other_programs() {
    let daemon = Setup::default().start();
    daemon.send(&["alice@here.test"], &letter("first", "hello"));
    let mut imap = idling(&daemon);
    let appender = Appender::new(&daemon.mailbox("alice"));
    let round = |round: usize| {
        let mut written = Instant::now();
        appender.append("by another", || written = Instant::now());
        heard(&mut imap, written, |line| line == format!("* {} EXISTS", round + 2))
    };
    tell("IDLE hears another program", (0..20).map(round).collect());
}

/// It has written, and keeps the locks for longer than anybody waits for them.
fn idle_hears_a_program_that_keeps_the_lock() {
    let daemon = Setup::default().start();
    daemon.send(&["alice@here.test"], &letter("first", "hello"));
    let mut imap = idling(&daemon);
    let mut released = Instant::now();
    Appender::new(&daemon.mailbox("alice")).append("by another", || {
        thread::sleep(Duration::from_secs(4));
        released = Instant::now();
    });
    tell("IDLE hears of it after the lock", vec![heard(&mut imap, released, |line| line == "* 2 EXISTS")]);
}

fn every_session_hears_of_a_delivery() {
    let daemon = Setup::default().start();
    let mut sessions: Vec<Imap> = (0..20).map(|_| idling(&daemon)).collect();
    for session in sessions.iter_mut().skip(10) {
        session.talk.send(b"DONE\r\n").unwrap();
        heard(session, Instant::now(), |line| line.contains(" OK "));
        session.ok("NOTIFY SET (selected (MessageNew MessageExpunge FlagChange))").unwrap();
    }
    let mut took = Vec::new();
    for round in 1..=5 {
        assert!(daemon.send(&["alice@here.test"], &letter("news", "hello")).starts_with("250"));
        let sent = Instant::now();
        let expected = format!("* {round} EXISTS");
        took.extend(sessions.iter_mut().map(|session| heard(session, sent, |line| line == expected)));
    }
    tell("every session hears after the sender's 250", took);
}

fn notify_hears_other_programs() {
    let daemon = Setup::default().start();
    let mut imap = daemon.imap("alice");
    imap.ok("CREATE Work").unwrap();
    imap.ok("NOTIFY SET (personal (MessageNew MessageExpunge MailboxName))").unwrap();
    let folders = daemon.spool().join("folders/alice");
    let appender = Appender::new(&folders.join("Work.mbox"));
    let round = |round: usize| {
        let mut written = Instant::now();
        appender.append("by another", || written = Instant::now());
        heard(&mut imap, written, |line| line.starts_with(&format!("* STATUS \"Work\" (MESSAGES {} ", round + 1)))
    };
    tell("NOTIFY hears another program", (0..20).map(round).collect());
    // Folders that it makes, too, and in directories that it makes, and what comes there.
    let made = Instant::now();
    fs::write(folders.join("Made.mbox"), "").unwrap();
    let mut took = vec![heard(&mut imap, made, |line| line == "* LIST (\\HasNoChildren) \"/\" \"Made\"")];
    let made = Instant::now();
    fs::create_dir(folders.join("Deep")).unwrap();
    fs::write(folders.join("Deep/er.mbox"), "").unwrap();
    took.push(heard(&mut imap, made, |line| line == "* LIST (\\HasNoChildren) \"/\" \"Deep/er\""));
    let made = Instant::now();
    fs::write(folders.join("Deep/est.mbox"), "").unwrap();
    took.push(heard(&mut imap, made, |line| line == "* LIST (\\HasNoChildren) \"/\" \"Deep/est\""));
    let mut written = Instant::now();
    Appender::new(&folders.join("Deep/est.mbox")).append("by another", || written = Instant::now());
    took.push(heard(&mut imap, written, |line| line.starts_with("* STATUS \"Deep/est\" (MESSAGES 1 ")));
    tell("NOTIFY hears of folders that another program makes", took);
}

fn notify_has_a_limit() {
    let daemon = Setup::default().start();
    let mut imap = daemon.imap("alice");
    let listed = imap.ok("LIST \"\" *").unwrap().len() - 1;
    let folders = daemon.spool().join("folders/alice");
    for number in listed..500 {
        fs::write(folders.join(format!("f{number}.mbox")), "").unwrap();
    }
    imap.ok("NOTIFY SET (personal (MessageNew MessageExpunge)) (selected (MessageNew MessageExpunge))").unwrap();
    let mut other = daemon.imap("alice");
    other.ok("CREATE onemore").unwrap();
    heard(&mut imap, Instant::now(), |line| line.starts_with("* OK [NOTIFICATIONOVERFLOW] "));
    // From here on it is as after NOTIFY NONE.
    imap.ok("SELECT INBOX").unwrap();
    assert!(daemon.send(&["alice@here.test"], &letter("news", "hello")).starts_with("250"));
    assert_eq!(imap.ok("NOOP").unwrap().len(), 1);
    // It is refused, and what was asked for before stays.
    imap.ok("NOTIFY SET (mailboxes onemore (MessageNew MessageExpunge))").unwrap();
    let refused = imap.command("NOTIFY SET (personal (MessageNew MessageExpunge))").unwrap();
    assert!(refused.last().unwrap().starts_with("NO [NOTIFICATIONOVERFLOW] "), "{refused:?}");
    imap.ok("NOTIFY SET (subtree INBOX (MessageNew MessageExpunge))").unwrap();
    assert!(daemon.send(&["alice@here.test"], &letter("news", "hello")).starts_with("250"));
    let left = imap.ok("UNSELECT").unwrap();
    assert!(left[0].starts_with("* STATUS \"INBOX\" (MESSAGES 2 "), "{left:?}");
}

/// Processor time of the daemon and its threads so far.
fn spent(daemon: &Daemon) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap().flatten();
    let nanos = tasks.filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// Sessions in IDLE, and in NOTIFY with many folders. Nothing happens, and so nothing is done for them.
fn waiting_costs_nothing() {
    let daemon = Setup::default().start();
    let wait = Duration::from_secs(3);
    let alone = {
        let before = spent(&daemon);
        thread::sleep(wait);
        spent(&daemon) - before
    };
    let mut maker = daemon.imap("alice");
    for number in 0..50 {
        maker.ok(&format!("CREATE f{number}")).unwrap();
    }
    let mut sessions: Vec<Imap> = (0..40).map(|_| idling(&daemon)).collect();
    for _ in 0..40 {
        let mut imap = daemon.imap("alice");
        imap.ok("SELECT INBOX").unwrap();
        let what =
            "NOTIFY SET (selected (MessageNew MessageExpunge FlagChange)) (personal (MessageNew MessageExpunge MailboxName))";
        imap.ok(what).unwrap();
        sessions.push(imap);
    }
    // What they began with is over when it is quiet.
    let mut last = spent(&daemon);
    let quiet = || {
        thread::sleep(Duration::from_millis(250));
        let (before, now) = (last, spent(&daemon));
        last = now;
        (now - before < Duration::from_millis(5)).then_some(())
    };
    wait_for("an idle daemon", 60, quiet);
    // A single look by each of them would take longer. What the daemon has to do once may fall into one span, not into each.
    let span = |_| {
        let before = spent(&daemon);
        thread::sleep(wait);
        spent(&daemon) - before
    };
    let spans: Vec<Duration> = (0..3).map(span).collect();
    let idle = *spans.iter().min().unwrap();
    println!(
        "80 waiting sessions: {:.2} ms of processor time in {wait:?}; without them {:.2} ms",
        idle.as_secs_f64() * 1e3,
        alone.as_secs_f64() * 1e3
    );
    assert!(idle < alone + Duration::from_millis(20), "{spans:?} {alone:?}");
    // They are awake all the same.
    assert!(daemon.send(&["alice@here.test"], &letter("news", "hello")).starts_with("250"));
    for session in &mut sessions {
        heard(session, Instant::now(), |line| line == "* 1 EXISTS");
    }
}
