//! What stands where a mailbox should be, or in its way. Mail waits; it is never lost, and never goes elsewhere.

use crate::common::{Daemon, Setup, Sink, is_root, letter, run, wait_for};
use crate::health::Watched;
use crate::runner::skip;
use nix::fcntl::{FcntlArg, fcntl};
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

crate::tests![
    symlink_at_the_mailbox,
    hard_link_at_the_mailbox,
    fifo_at_the_mailbox,
    directory_at_the_mailbox,
    foreign_text_at_the_mailbox,
    symlink_put_there_later,
    held_dotlock,
    stale_dotlock,
    held_fcntl_lock,
    mailbox_replaced_and_truncated,
    full_disk,
    full_disk_below_the_queue,
    no_permission,
];

/// Sends; the message must be accepted, wait in the queue while `obstacle` is there, and arrive when it is gone.
fn waits_while(daemon: &Daemon, obstacle: impl FnOnce(&Path), remove: impl FnOnce(&Path)) {
    let mailbox = daemon.mailbox("alice");
    obstacle(&mailbox);
    let reply = daemon.send(&["alice@here.test", "bob@here.test"], &letter("waiting", "for room"));
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(daemon.mail("bob").len(), 1, "bob's copy has no reason to wait");
    wait_for("the entry in the queue", 60, || {
        daemon.queue().first().map(|entry| entry.to_string()).filter(|text| text.contains("alice"))
    });
    assert!(!daemon.queue()[0].to_string().contains("\"bob@"), "{:?}", daemon.queue());
    remove(&mailbox);
    daemon.ctl(&["queue", "flush"]);
    let mail = wait_for("the mail", 60, || fs::read_to_string(&mailbox).ok().filter(|text| text.contains("Subject: waiting")));
    assert_eq!(mail.matches("Subject: waiting").count(), 1);
    wait_for("an empty queue", 60, || daemon.queue().is_empty().then_some(()));
    assert_eq!(daemon.mail("bob").len(), 1);
}

fn symlink_at_the_mailbox() {
    let daemon = Setup::default().start();
    let target = daemon.path("target");
    fs::write(&target, "From x Sat Nov 21 00:00:00 2026\n\nsecret\n\n").unwrap();
    let before = fs::read(&target).unwrap();
    waits_while(&daemon, |mailbox| symlink(&target, mailbox).unwrap(), |mailbox| fs::remove_file(mailbox).unwrap());
    assert_eq!(fs::read(&target).unwrap(), before, "the link was followed");
    // A link that leads nowhere makes no file there.
    let nowhere = daemon.path("nowhere");
    fs::remove_file(daemon.mailbox("alice")).unwrap();
    symlink(&nowhere, daemon.mailbox("alice")).unwrap();
    assert!(daemon.send(&["alice@here.test"], &letter("again", "x")).starts_with("250"));
    assert!(!nowhere.exists());
}

fn hard_link_at_the_mailbox() {
    let daemon = Setup::default().start();
    let target = daemon.path("target");
    fs::write(&target, "From x Sat Nov 21 00:00:00 2026\n\nsecret\n\n").unwrap();
    let before = fs::read(&target).unwrap();
    waits_while(&daemon, |mailbox| fs::hard_link(&target, mailbox).unwrap(), |mailbox| fs::remove_file(mailbox).unwrap());
    assert_eq!(fs::read(&target).unwrap(), before, "the link was written to");
}

fn fifo_at_the_mailbox() {
    let daemon = Setup::default().start();
    let make = |mailbox: &Path| drop(run(Command::new("mkfifo").arg(mailbox)));
    waits_while(&daemon, make, |mailbox| fs::remove_file(mailbox).unwrap());
}

fn directory_at_the_mailbox() {
    let daemon = Setup::default().start();
    waits_while(&daemon, |mailbox| fs::create_dir(mailbox).unwrap(), |mailbox| fs::remove_dir(mailbox).unwrap());
}

fn foreign_text_at_the_mailbox() {
    let daemon = Setup::default().start();
    waits_while(
        &daemon,
        |mailbox| fs::write(mailbox, "notes, not mail\n").unwrap(),
        |mailbox| {
            assert_eq!(fs::read_to_string(mailbox).unwrap(), "notes, not mail\n");
            fs::remove_file(mailbox).unwrap();
        },
    );
}

fn symlink_put_there_later() {
    let daemon = Setup::default().start();
    assert!(daemon.send(&["alice@here.test"], &letter("first", "x")).starts_with("250"));
    let target = daemon.path("target");
    fs::write(&target, "").unwrap();
    let kept = daemon.path("kept");
    fs::rename(daemon.mailbox("alice"), &kept).unwrap();
    waits_while(
        &daemon,
        |mailbox| symlink(&target, mailbox).unwrap(),
        |mailbox| {
            fs::remove_file(mailbox).unwrap();
            fs::rename(&kept, mailbox).unwrap();
        },
    );
    assert_eq!(fs::read(&target).unwrap(), b"");
    assert_eq!(daemon.mail("alice").len(), 2);
}

fn dotlock(mailbox: &Path) -> std::path::PathBuf {
    mailbox.with_extension("lock")
}

fn held_dotlock() {
    let daemon = Setup::default().start();
    // Held by a process that lives: this one.
    let lock = |mailbox: &Path| fs::write(dotlock(mailbox), format!("{}\n", std::process::id())).unwrap();
    waits_while(&daemon, lock, |mailbox| fs::remove_file(dotlock(mailbox)).unwrap());
    assert!(!dotlock(&daemon.mailbox("alice")).exists(), "a lock was left behind");
}

fn stale_dotlock() {
    let daemon = Setup::default().start();
    let lock = dotlock(&daemon.mailbox("alice"));
    // The holder is gone, and that ten minutes ago.
    let gone = Command::new("true").spawn().map(|mut child| child.wait().map(|_| child.id())).unwrap().unwrap();
    fs::write(&lock, format!("{gone}\n")).unwrap();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(600);
    File::options().write(true).open(&lock).unwrap().set_modified(old).unwrap();
    assert!(daemon.send(&["alice@here.test"], &letter("over it", "x")).starts_with("250"));
    daemon.wait_for_mail("alice", 1, 60);
    assert!(!lock.exists());
}

fn held_fcntl_lock() {
    let daemon = Setup::default().start();
    assert!(daemon.send(&["alice@here.test"], &letter("first", "x")).starts_with("250"));
    let file = File::options().read(true).write(true).open(daemon.mailbox("alice")).unwrap();
    // POSIX locks, as other mail programs take them: this process is another program to the daemon.
    let lock = |kind| {
        let region = libc::flock { l_type: kind, l_whence: libc::SEEK_SET as i16, l_start: 0, l_len: 0, l_pid: 0 };
        assert_eq!(fcntl(&file, FcntlArg::F_SETLK(&region)), Ok(0));
    };
    waits_while(&daemon, |_| lock(libc::F_WRLCK as i16), |_| lock(libc::F_UNLCK as i16));
    assert_eq!(daemon.mail("alice").len(), 2);
}

fn mailbox_replaced_and_truncated() {
    let mut daemon = Setup::default().start();
    let mailbox = daemon.mailbox("alice");
    let send =
        |daemon: &Daemon, subject: &str| assert!(daemon.send(&["alice@here.test"], &letter(subject, "x")).starts_with("250"));
    send(&daemon, "one");
    // Another program writes the file anew, under a new inode.
    let copy = daemon.path("copy");
    fs::copy(&mailbox, &copy).unwrap();
    let inode = fs::metadata(&mailbox).unwrap().ino();
    fs::rename(&copy, &mailbox).unwrap();
    assert_ne!(fs::metadata(&mailbox).unwrap().ino(), inode);
    send(&daemon, "two");
    assert_eq!(daemon.mail("alice").len(), 2);
    // Its owner empties it while a session reads.
    let mut pop3 = daemon.pop3("alice");
    assert_eq!(pop3.count().unwrap(), 2);
    File::create(&mailbox).unwrap();
    let reply = pop3.command("RETR 2").unwrap_or_default();
    assert!(!reply.starts_with("+OK"), "{reply}");
    drop(pop3);
    send(&daemon, "three");
    let mail =
        wait_for("the lease", 60, || crate::common::Pop3::log_in(daemon.at("pop3"), "alice", crate::common::PASSWORD).ok())
            .messages()
            .unwrap();
    assert!(String::from_utf8_lossy(mail.last().unwrap()).contains("Subject: three"));
    // Cut in the middle of a message.
    send(&daemon, "four");
    let length = fs::metadata(&mailbox).unwrap().len();
    File::options().write(true).open(&mailbox).unwrap().set_len(length - 10).unwrap();
    send(&daemon, "five");
    let text = fs::read_to_string(&mailbox).unwrap();
    assert!(text.contains("\n\nFrom "), "a message begins after a blank line:\n{text}");
    let found = daemon.mail("alice");
    assert_eq!(found.iter().filter(|mail| String::from_utf8_lossy(mail).contains("Subject: five\r\n\r\nx\r\n")).count(), 1);
    assert_eq!(found.len(), 3);
    assert!(daemon.is_running());
}

/// A small file system of its own, gone when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> SmallDisk {
        if !is_root() {
            skip("a small disk of its own needs root");
        }
        let dir = tempfile::tempdir().unwrap();
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(dir.path()).output();
        match output {
            Ok(output) if output.status.success() => SmallDisk(dir),
            _ => skip("mounting a tmpfs is not allowed here"),
        }
    }
}

impl SmallDisk {
    fn ballast(&self) -> std::path::PathBuf {
        self.0.path().join("ballast")
    }

    /// Everything but so many bytes is taken by others.
    fn fill(&self, leave: u64) {
        let free = nix::sys::statvfs::statvfs(self.0.path()).unwrap();
        let bytes = free.blocks_available() as u64 * free.fragment_size() as u64;
        let mut have = fs::metadata(self.ballast()).map_or(0, |metadata| metadata.len());
        have += bytes.saturating_sub(leave);
        run(Command::new("fallocate").args(["-l", &have.to_string()]).arg(self.ballast()));
    }

    fn relieve(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn full_disk() {
    let disk = SmallDisk::mount("160M");
    let (spool, mail) = (disk.0.path().join("spool"), disk.0.path().join("mail"));
    fs::create_dir_all(&mail).unwrap();
    let setup = Setup { spool: Some(spool), mail: Some(mail), ..Setup::options(&["limits.min_free=\"8M\""]) };
    let watched = Watched::new();
    let mut daemon = setup.config(&watched.config()).start();
    assert!(daemon.send(&["alice@here.test"], &letter("before", "x")).starts_with("250"));
    disk.fill(1 << 20);
    // The amount of room may be looked at once a second or so.
    wait_for("452", 60, || {
        let reply = daemon.smtp().command("MAIL FROM:<sender@sender.test>").unwrap();
        reply.starts_with("452 4.3.1").then_some(())
    });
    wait_for("who watches to be told", 10, || watched.ask("/health").starts_with("HTTP/1.1 503 ").then_some(()));
    // Reading goes on, and so does freeing room by removing.
    let mut pop3 = daemon.pop3("alice");
    assert_eq!(pop3.messages().unwrap().len(), 1);
    pop3.ok("QUIT").unwrap();
    disk.relieve();
    wait_for("room again", 60, || daemon.send(&["alice@here.test"], &letter("after", "x")).starts_with("250").then_some(()));
    wait_for("who watches to be told", 10, || watched.ask("/health").starts_with("HTTP/1.1 200 ").then_some(()));
    // Full in the middle of a big message: refused, nothing half done.
    disk.fill(12 << 20);
    let big = letter("big", &"0123456789012345678901234567890123456789\n".repeat(500_000));
    let reply = daemon.send(&["alice@here.test"], &big);
    assert!(reply.starts_with("452 4.3.1") || reply.starts_with("451 4.3."), "{reply}");
    disk.relieve();
    wait_for("room again", 60, || daemon.send(&["alice@here.test"], &letter("last", "x")).starts_with("250").then_some(()));
    assert_eq!(daemon.wait_for_mail("alice", 3, 60).len(), 3);
    assert!(daemon.stop().success());
    daemon.start();
    assert_eq!(daemon.mail("alice").len(), 3);
}

/// What waits is sent once, and is known to be sent, with no room left and after a kill.
fn full_disk_below_the_queue() {
    const MESSAGES: usize = 40;
    let disk = SmallDisk::mount("160M");
    let spool = disk.0.path().join("spool");
    let sink = Sink::with(|line| line.starts_with("RCPT").then(|| "451 4.7.1 later".to_owned()));
    let route = format!("[[route]]\ndomain = \"away.test\"\nhost = \"{}\"\n", sink.address);
    let options = ["limits.min_free=\"8M\"", "queue.retry=[\"1s\"]", "smtp.relay_networks=[\"127.0.0.0/8\"]"].map(str::to_owned);
    let mut daemon = Setup { spool: Some(spool), options: options.to_vec(), ..Setup::default() }.config(&route).start();
    let subjects: Vec<String> = (0..MESSAGES).map(|number| format!("number {number}")).collect();
    for subject in &subjects {
        assert!(daemon.send(&["x@away.test", "y@away.test"], &letter(subject, "text")).starts_with("250"));
    }
    let is_refused = || sink.seen().iter().any(|line| line.starts_with("RCPT"));
    wait_for("a try", 60, || is_refused().then_some(()));
    disk.fill(0);
    // Marks can't be written any more; nobody knows less for that.
    daemon.kill();
    disk.relieve();
    daemon.start();
    disk.fill(0);
    // They are taken while there is no room.
    sink.change(|_| None);
    wait_for("half of them", 60, || (sink.count() >= MESSAGES / 2).then_some(()));
    disk.relieve();
    wait_for("an empty queue", 60, || daemon.queue().is_empty().then_some(()));
    let taken = |sink: &Sink| {
        let arrived = sink.arrived();
        let times = |subject: &String| {
            let field = format!("Subject: {subject}\r\n");
            arrived.iter().filter(|one| String::from_utf8_lossy(&one.message).contains(&field)).map(|one| one.to.len()).sum()
        };
        subjects.iter().map(times).collect::<Vec<usize>>()
    };
    assert_eq!(taken(&sink), vec![2; MESSAGES], "each to both, once");
    daemon.kill();
    daemon.start();
    assert!(daemon.queue().is_empty());
    assert_eq!(taken(&sink), vec![2; MESSAGES], "nothing comes again");
}

fn no_permission() {
    if is_root() {
        skip("root may write everywhere");
    }
    let daemon = Setup::default().start();
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    fs::write(daemon.mailbox("alice"), "").unwrap();
    waits_while(&daemon, |mailbox| mode(mailbox, 0o000), |mailbox| mode(mailbox, 0o600));
}
