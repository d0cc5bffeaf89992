//! `pillarbox-drop`: mail that programs of this host hand in while the daemon is down.

use crate::common::{Daemon, Random, Setup, find_tool, is_root, run, wait_for, with_input};
use crate::runner::skip;
use crate::sendmail::called;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

crate::tests![
    mail_waits_for_the_daemon,
    smtp_is_spoken_to_nobody,
    a_daemon_at_work_looks_at_once,
    odd_things_in_the_directory,
    half_a_message_is_not_left,
    killed_again_and_again,
    the_program_as_it_is_installed,
];

const DROP: &str = env!("CARGO_BIN_EXE_pillarbox-drop");

fn batch(subject: &str) -> String {
    format!("MAIL FROM:<bob@here.test>\r\nRCPT TO:<alice@here.test>\r\nDATA\r\nSubject: {subject}\r\n\r\nx\r\n.\r\n")
}

fn drop_dir(daemon: &Daemon) -> PathBuf {
    daemon.spool().join("drop")
}

fn leave(dir: &Path, input: &str) -> Output {
    let mut command = Command::new(DROP);
    command.arg(dir);
    with_input(command, input.as_bytes())
}

/// What waits, or is being written.
fn waiting(daemon: &Daemon) -> Vec<PathBuf> {
    let entries = fs::read_dir(drop_dir(daemon)).unwrap().map(|entry| entry.unwrap());
    entries.filter(|entry| entry.file_type().unwrap().is_file()).map(|entry| entry.path()).collect()
}

fn count(daemon: &Daemon, subject: &str) -> usize {
    let text = fs::read(daemon.mailbox("alice")).unwrap_or_default();
    String::from_utf8_lossy(&text).matches(&format!("\nSubject: {subject}\n")).count()
}

fn mail_waits_for_the_daemon() {
    let mut daemon = Setup::default().config("[smtp]\nmax_message_size = \"1M\"\n").start();
    daemon.stop();
    let to = ["-f", "bob@here.test", "-i", "-N", "failure", "alice", "nobody-here"];
    let letter = b"Subject: waited\nBcc: secret@here.test\n\nhello\n.\n..\nJ\xc3\xb6rg\nFrom me\n";
    let output = called(&daemon, "sendmail", &to, letter);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let [file] = <[PathBuf; 1]>::try_from(waiting(&daemon)).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o604);
    // As a user whose login is known from the file alone.
    if is_root() {
        std::os::unix::fs::chown(&file, Some(65534), None).unwrap();
    }
    let big = format!("Subject: big\n\n{}", "0123456789\n".repeat(100_000));
    let output = called(&daemon, "sendmail", &["alice"], big.as_bytes());
    assert_eq!((output.status.code(), waiting(&daemon).len()), (Some(69), 1), "{output:?}");

    daemon.start();
    let text = String::from_utf8_lossy(&daemon.wait_for_mail("alice", 1, 60)[0]).into_owned();
    assert!(text.starts_with("Return-Path: <bob@here.test>\r\n"), "{text}");
    assert!(text.ends_with("\r\n\r\nhello\r\n.\r\n..\r\nJ\u{f6}rg\r\nFrom me\r\n"), "{text}");
    assert!(text.contains("with local id ") && !text.contains("secret"), "{text}");
    if is_root() {
        assert!(text.contains("(uid 65534)"), "{text}");
        daemon.wait_for_log(60, "uid=65534 user=nobody from=<bob@here.test> recipients=2");
    }
    // Who does not exist is told of by mail: nobody waits for a reply.
    let report = String::from_utf8_lossy(&daemon.wait_for_mail("bob", 1, 60)[0]).into_owned();
    assert!(report.contains("nobody-here@here.test") && report.contains("Action: failed"), "{report}");
    wait_for("an empty directory", 60, || waiting(&daemon).is_empty().then_some(()));
}

/// `sendmail -bs` without a daemon.
fn smtp_is_spoken_to_nobody() {
    let mut daemon = Setup::default().config("[smtp]\nmax_message_size = \"9K\"\n[limits]\nrecipients = 2\n").start();
    daemon.stop();
    let script = "RCPT TO:<a@here.test>\r\nMAIL FROM:<bob@here.test>\r\nHELO x\r\nDATA\r\nEHLO localhost\r\nMAIL FROM:<bob@here.test> RET=HDRS\r\n\
                  MAIL FROM:<bob@here.test> SIZE=10000\r\nMAIL FROM:<bob@here.test>\r\nMAIL FROM:<bob@here.test>\r\nDATA\r\n\
                  RCPT TO:<alice@here.test> NOTIFY=NEVER\r\nRCPT TO:<alice@here.test>\r\nRCPT TO:<x y>\r\nRCPT TO:<Postmaster>\r\n\
                  RCPT TO:<bob@here.test>\r\nDATA\r\nSubject: by -bs\r\n\r\n..x\r\nJ\u{f6}rg\r\n.\r\nDATA\r\nFROB\r\nSTARTTLS\r\nNOOP\r\n\
                  MAIL FROM:<>\r\nRSET\r\nMAIL FROM:<>\r\nRCPT TO:<bob@here.test>\r\nDATA\r\nbare\nline\r\n.\r\nQUIT\r\nNOOP\r\n";
    let output = called(&daemon, "sendmail", &["-bs"], script.as_bytes());
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let codes: Vec<&str> = said.lines().filter(|line| line.as_bytes()[3] == b' ').map(|line| &line[..3]).collect();
    let expected = [
        "220", "503", "503", "250", "503", "250", "555", "552", "250", "503", "503", "555", "250", "501", "250", "452", "354",
        "250", "503", "500", "502", "250", "250", "250", "250", "250", "354", "550", "221",
    ];
    assert_eq!(codes, expected, "{said}");
    assert_eq!(waiting(&daemon).len(), 1);
    // What breaks off is nothing.
    let output = called(&daemon, "sendmail", &["-bs"], b"HELO x\r\nMAIL FROM:<>\r\nRCPT TO:<bob@here.test>\r\nDATA\r\nhalf");
    assert!(output.status.success() && waiting(&daemon).len() == 1, "{output:?}");
    daemon.start();
    let text = String::from_utf8_lossy(&daemon.wait_for_mail("alice", 1, 60)[0]).into_owned();
    assert!(text.starts_with("Return-Path: <bob@here.test>\r\n") && text.ends_with("\r\n\r\n.x\r\nJ\u{f6}rg\r\n"), "{text}");
    assert_eq!(daemon.mail("bob").len(), 0);
}

fn a_daemon_at_work_looks_at_once() {
    let daemon = Setup::default().start();
    for n in 1..=3 {
        assert!(leave(&drop_dir(&daemon), &batch("now")).status.success());
        daemon.wait_for_mail("alice", n, 30);
    }
}

fn odd_things_in_the_directory() {
    let mut daemon = Setup::default().start();
    daemon.stop();
    let (dir, users) = (drop_dir(&daemon), daemon.path("users"));
    let before = fs::read(&users).unwrap();
    symlink(&users, dir.join("1symlink")).unwrap();
    fs::hard_link(&users, dir.join("2hard")).unwrap();
    nix::unistd::mkfifo(&dir.join("3fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::create_dir(dir.join("4directory")).unwrap();
    fs::write(dir.join("5text"), "hello\n").unwrap();
    fs::write(dir.join("6half"), "MAIL FROM:<bob@here.test>\r\nRCPT TO:<alice@here.test>\r\nDATA\r\nSubject: half\r\n").unwrap();
    fs::write(dir.join("7\u{1b}[2J\nname"), "x").unwrap();
    for (name, days) in [(".old", 2), (".new", 0)] {
        let file = File::create(dir.join(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(days * 86_400)).unwrap();
    }
    assert!(leave(&dir, &batch("good")).status.success());
    daemon.start();
    daemon.wait_for_mail("alice", 1, 60);
    wait_for("an empty directory", 60, || (waiting(&daemon) == [dir.join(".new")]).then_some(()));
    let mut aside: Vec<String> =
        fs::read_dir(dir.join("bad")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    aside.sort();
    let initials: String = aside.iter().filter_map(|name| name.chars().next()).collect();
    assert_eq!(initials, "1234567");
    assert_eq!((count(&daemon, "good"), count(&daemon, "half"), fs::read(&users).unwrap()), (1, 0, before));
    assert!(daemon.log().contains("event=set-aside") && !daemon.log().contains("\u{1b}[2J"), "{}", daemon.log());
}

fn half_a_message_is_not_left() {
    let dir = tempfile::tempdir().unwrap();
    let names = || fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    let output = leave(dir.path(), batch("x").trim_end_matches(".\r\n"));
    assert_eq!((output.status.code(), names().len()), (Some(65), 0), "{output:?}");
    assert!(!output.stderr.is_empty());
    let missing = leave(&dir.path().join("nothing"), &batch("x"));
    assert_eq!(missing.status.code(), Some(75), "{missing:?}");

    let begin = || {
        let mut child = Command::new(DROP).arg(dir.path()).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(b"MAIL FROM:<>\r\n").unwrap();
        wait_for("its file", 60, || names().iter().any(|name| name.as_encoded_bytes()[0] == b'.').then_some(()));
        let pid = Pid::from_raw(child.id() as i32);
        (child, pid)
    };
    // What can be held back is.
    let (mut child, pid) = begin();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGALRM, Signal::SIGXFSZ, Signal::SIGTSTP] {
        kill(pid, signal).unwrap();
    }
    child.stdin.take().unwrap().write_all(b"RCPT TO:<a@b.test>\r\nDATA\r\n.\r\n").unwrap();
    assert!(child.wait().unwrap().success());
    let [whole] = <[_; 1]>::try_from(names()).unwrap();
    assert_ne!(whole.as_encoded_bytes()[0], b'.');
    let (mut child, pid) = begin();
    kill(pid, Signal::SIGKILL).unwrap();
    child.wait().unwrap();
    assert_eq!(names().iter().filter(|name| name.as_encoded_bytes()[0] != b'.').count(), 1);
}

/// Each message comes once, however often the daemon is killed while it picks them up.
fn killed_again_and_again() {
    let mut daemon = Setup::default().start();
    daemon.kill();
    let mut random = Random(0x5eed);
    let rounds = 12;
    for round in 0..rounds {
        for n in 0..8 {
            assert!(leave(&drop_dir(&daemon), &batch(&format!("r{round}n{n}"))).status.success());
        }
        daemon.start();
        let kept = 8 - random.below(8);
        wait_for("some to be taken", 60, || (waiting(&daemon).len() < kept).then_some(()));
        daemon.kill();
    }
    daemon.start();
    wait_for("an empty directory", 60, || waiting(&daemon).is_empty().then_some(()));
    daemon.wait_for_mail("alice", rounds * 8, 60);
    for round in 0..rounds {
        for n in 0..8 {
            assert_eq!(count(&daemon, &format!("r{round}n{n}")), 1, "round {round}, message {n}");
        }
    }
    assert!(!drop_dir(&daemon).join("bad").exists());
}

/// Set-gid, called by a user that could else put nothing there, and see nothing there.
fn the_program_as_it_is_installed() {
    if !is_root() || find_tool("unshare").is_none() || find_tool("setpriv").is_none() {
        skip("root, unshare and setpriv are needed to run a set-gid program");
    }
    let script = r#"set -eu
        mount -t tmpfs -o mode=755 none /mnt
        mount -t tmpfs -o mode=755,size=100m none /var/spool
        mkdir -m 711 /var/spool/pillarbox; mkdir /var/spool/pillarbox/drop; mkdir -m 777 /mnt/other
        dir=/var/spool/pillarbox/drop
        chown 4242:12345 $dir; chmod 1770 $dir
        cp "$0" /mnt/pillarbox-drop; chown 0:12345 /mnt/pillarbox-drop; chmod 2755 /mnt/pillarbox-drop
        user() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
        drop() { code=0; printf '%s\r\n' "MAIL FROM:<root@here.test>" "RCPT TO:<a@here.test>" DATA "$1" . | user env PILLARBOX_DROP_DIR=/mnt/other TMPDIR=/mnt/other /mnt/pillarbox-drop ${2-} || code=$?; }
        expect() { [ "$1" = "$2" ] || { echo "expected $2, got $1: $3"; exit 1; }; }

        drop hello; expect $code 0 "a message"
        drop hello $dir; expect $code 0 "a message where it is expected"
        expect "$(stat -c '%U %g %a' $dir/*-* | uniq)" 'nobody 12345 604' "what a file looks like"
        drop hello /mnt/other; expect $code 78 "another directory"
        user ls $dir 2>/dev/null && { echo "everybody can look"; exit 1; }
        user cat $dir/*-* 2>/dev/null && { echo "everybody can read"; exit 1; }
        user ln -s /etc/passwd $dir/link 2>/dev/null && { echo "everybody can write"; exit 1; }
        # Another one who came in by the group can neither read nor remove it.
        other() { setpriv --reuid 65533 --regid 12345 --clear-groups "$@"; }
        file=$(ls $dir/*-* | head -n 1)
        other cat "$file" 2>/dev/null && { echo "the group can read"; exit 1; }
        other rm -f "$file" 2>/dev/null && { echo "the group can remove"; exit 1; }
        # The account that owns the directory can, though it is not in the group.
        setpriv --reuid 4242 --regid 4242 --clear-groups cat "$file" | grep -q hello
        setpriv --reuid 4242 --regid 4242 --clear-groups rm "$file"

        expect "$(ls -A $dir | wc -l)" 1 "what is left"
        # Too many, and too much: root is not bounded by that, nor are others' files counted.
        for n in $(seq 999); do : > $dir/n$n; done
        drop hello; expect $code 0 "others' files"
        chown 65534 $dir/n*
        drop hello; expect $code 75 "too many files"
        expect "$(ls -A $dir | grep -c '^\.')" 0 "no half file"
        rm -f $dir/*
        truncate -s 256M $dir/n1; chown 65534 $dir/n1
        drop hello; expect $code 75 "too many bytes"
        printf 'DATA\r\n.\r\n' | /mnt/pillarbox-drop
        rm -f $dir/*
        # The last of the disk is nobody's.
        { head -c 50000000 /dev/zero; printf '\r\n.\r\n'; } | user /mnt/pillarbox-drop && { echo "the disk was filled"; exit 1; }
        expect "$(ls -A $dir | wc -l)" 0 "nothing is left"
        # A limit of the caller's ends it in order.
        ( ulimit -f 16; { head -c 500000 /dev/zero; printf '\r\n.\r\n'; } | user /mnt/pillarbox-drop ) && { echo "beyond the limit"; exit 1; }
        expect "$(ls -A $dir | wc -l)" 0 "nothing is left"
        chmod 4755 /mnt/pillarbox-drop
        drop hello; expect $code 78 "set-uid"
    "#;
    run(Command::new("unshare").args(["-m", "sh", "-c", script, DROP]));
}
