//! Users of the system: accounts from passwd and shadow, files that are theirs. The daemon is started by root and sees accounts
//! that only its own mounts have.

use crate::common::{Daemon, Imap, PASSWORD, Pop3, Setup, examples, is_root, letter, wait_for, with_input, with_mounts};
use crate::runner::{note, skip};
use crate::webmail::browser::Browser;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

crate::tests![
    mail_for_system_users_is_theirs,
    who_may_log_in,
    folders_are_their_users,
    planted_files_are_left_alone,
    both_kinds_of_users_live_side_by_side,
    the_daemon_is_in_its_cage,
    what_a_forward_says_is_done_as_its_owner,
    lines_of_the_alias_file_are_done_as_its_user,
    who_is_away_says_so_at_home,
    lists_outside_the_spool,
    the_examples_of_forward,
    what_is_known_of_users_is_not_asked_again_until_it_changes,
];

/// Of [`PASSWORD`], by `openssl passwd -6`.
const HASH: &str = "$6$abcdefgh$ltjgWl6579NluT/Vi1nwEvcil.G5Nbc4NiXZaNGStk8PSwGfQv72N2CKPPrVACtLtip/cZ/1GM/O6IND4WQhG.";

/// Who is added to the accounts of this host: name, uid, and the entry of shadow around the hash.
const ACCOUNTS: [(&str, u32, &str, &str); 8] = [
    ("pillarbox", 40_000, "!", ":19000::::::"),
    ("alice", 40_001, "", ":19000:0:99999:7:::"),
    ("bob", 40_002, "", ":19000:0:99999:7:::"),
    ("locked", 40_003, "!", ":19000:0:99999:7:::"),
    ("expired", 40_004, "", ":19000:0:99999:7::19000:"),
    ("unsure", 40_005, "", ":0:0:99999:7:::"),
    ("service", 900, "", ":19000:0:99999:7:::"),
    ("Carla", 40_006, "", ":19000:0:99999:7:::"),
];

const ALICE: u32 = 40_001;
const BOB: u32 = 40_002;

/// The group `mail`.
fn mail_gid() -> u32 {
    nix::unistd::Group::from_name("mail").unwrap().unwrap_or_else(|| skip("there is no group mail here")).gid.as_raw()
}

fn set(path: &Path, mode: u32, uid: u32, gid: u32) {
    chown(path, Some(uid), Some(gid)).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Mode, owner, group.
fn facts(path: &Path) -> (u32, u32, u32) {
    let meta = fs::symlink_metadata(path).unwrap();
    (meta.mode() & 0o7777, meta.uid(), meta.gid())
}

/// A daemon for these users, not started yet.
fn prepare(users: &str) -> Daemon {
    if !is_root() {
        skip("only root can start a daemon for users of the system");
    }
    let can_mount = Command::new("unshare").args(["--mount", "true"]).output().is_ok_and(|output| output.status.success());
    if !can_mount {
        skip("no mounts of our own can be made here");
    }
    let mut daemon = Setup::options(&[users, "user=pillarbox", "postmaster=root"]).prepare();
    let control = daemon.path("ctl.sock");
    daemon.replace_config(|text| format!("control = {control:?}\n{text}"));
    let top = daemon.path("");
    set(&top, 0o755, 0, 0);
    set(daemon.spool(), 0o711, 40_000, 40_000);
    set(&daemon.mailbox(""), 0o2775, 0, mail_gid());
    set(&daemon.path("users"), 0o600, 40_000, 40_000);
    let mut files = ["passwd", "group", "shadow"].map(|name| fs::read_to_string(Path::new("/etc").join(name)).unwrap());
    for (name, uid, before, after) in ACCOUNTS {
        let home = top.join("home").join(name);
        fs::create_dir_all(&home).unwrap();
        set(&home, 0o700, uid, uid);
        files[0] += &format!("{name}:x:{uid}:{uid}::{}:/usr/sbin/nologin\n", home.display());
        files[1] += &format!("{name}:x:{uid}:\n");
        files[2] += &format!("{name}:{before}{HASH}{after}\n");
    }
    let mounts = ["passwd", "group", "shadow"].iter().zip(files).map(|(name, text)| {
        let file = top.join(name);
        fs::write(&file, text).unwrap();
        set(&file, if *name == "shadow" { 0o600 } else { 0o644 }, 0, 0);
        format!("mount --bind {} /etc/{name}", file.display())
    });
    daemon.mounts = Some(mounts.collect::<Vec<_>>().join(" && "));
    daemon
}

fn start(users: &str) -> Daemon {
    let mut daemon = prepare(users);
    daemon.start();
    daemon
}

const SYSTEM: &str = "users=[\"system\"]";

fn mail_for_system_users_is_theirs() {
    let mut daemon = prepare(SYSTEM);
    // As Postfix makes them.
    let old = daemon.mailbox("bob");
    fs::write(&old, "From a@b.test Thu Jan  1 00:00:00 2026\nSubject: old\n\nold\n\n").unwrap();
    set(&old, 0o600, BOB, BOB);
    // What procmail left an hour ago.
    let left = daemon.mailbox("alice.lock");
    fs::write(&left, "0").unwrap();
    let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    fs::File::options().write(true).open(&left).unwrap().set_modified(hour_ago).unwrap();
    daemon.start();
    let recipients = ["alice@here.test", "bob@here.test", "root@here.test", "service@here.test", "postmaster@here.test"];
    assert!(daemon.send(&recipients, &letter("one", "text")).starts_with("250"));
    let mail = mail_gid();
    assert_eq!(facts(&daemon.mailbox("alice")), (0o660, ALICE, mail));
    assert!(!left.exists() && daemon.log().contains("event=stale-dotlock"));
    assert!(!daemon.log().contains("no-dotlock"), "{}", daemon.log());
    assert_eq!((daemon.mail("alice").len(), daemon.mail("bob").len()), (1, 2));
    assert_eq!(facts(&old), (0o600, BOB, BOB));
    assert_eq!(facts(&daemon.mailbox("root")), (0o660, 0, mail));
    assert_eq!(facts(&daemon.mailbox("service")), (0o660, 900, mail));
    assert_eq!((daemon.mail("alice").len(), daemon.mail("bob").len()), (1, 2));
    // Names in any case are those in lower case, as for Postfix and Dovecot: so nobody finds Carla.
    for name in ["nobody-here", "Carla", "carla"] {
        let refused = daemon.smtp().send("sender@sender.test", &[&format!("{name}@here.test")], &letter("x", "x")).unwrap();
        assert!(refused.starts_with("550"), "{name}: {refused}");
    }
    assert!(daemon.send(&["Alice@here.test"], &letter("two", "text")).starts_with("250"));
    assert_eq!((daemon.mail("alice").len(), daemon.mail("ALICE").len()), (2, 2));
    // Removed messages and flags are written to the same file.
    let mut pop3 = daemon.pop3("bob");
    pop3.ok("DELE 1").unwrap();
    pop3.ok("QUIT").unwrap();
    let mut imap = daemon.imap("bob");
    imap.ok("SELECT INBOX").unwrap();
    imap.ok("STORE 1 +FLAGS (\\Flagged)").unwrap();
    imap.ok("LOGOUT").unwrap();
    let inode = fs::metadata(&old).unwrap().ino();
    daemon.stop();
    assert_eq!((facts(&old), fs::metadata(&old).unwrap().ino()), ((0o600, BOB, BOB), inode));
    daemon.start();
    assert_eq!(daemon.mail("bob").len(), 1);
    let names: Vec<String> =
        fs::read_dir(daemon.mailbox("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(
        names.iter().all(|name| ["alice", "bob", "root", "service"].contains(&name.as_str()) || name.starts_with(".lock-")),
        "{names:?}"
    );
}

fn who_may_log_in() {
    let daemon = start(SYSTEM);
    let (pop3, imap) = (daemon.at("pop3"), daemon.at("imap"));
    assert!(Pop3::log_in(pop3, "alice", PASSWORD).is_ok() && Imap::log_in(imap, "Alice", PASSWORD).is_ok());
    assert!(daemon.smtp().send("sender@sender.test", &["expired@here.test"], &letter("x", "x")).unwrap().starts_with("250"));
    for (name, password) in [
        ("alice", "wrong"),
        ("alice", ""),
        ("locked", PASSWORD),
        ("expired", PASSWORD),
        ("unsure", PASSWORD),
        ("service", PASSWORD),
        ("pillarbox", PASSWORD),
        ("root", PASSWORD),
        ("nobody-here", PASSWORD),
        ("Carla", PASSWORD),
    ] {
        assert!(Pop3::log_in(pop3, name, password).is_err(), "{name} {password:?}");
    }
    daemon.wait_for_log(10, "event=login-refused user=expired why=\"the account has expired\"");
    let system = fs::read_to_string(daemon.config()).unwrap().replace("user = \"\"", "user = \"pillarbox\"");
    let users = system.lines().map(|line| if line.starts_with("users = ") { "users = \"system\"" } else { line });
    let config = daemon.path("system.conf");
    fs::write(&config, users.collect::<Vec<_>>().join("\n")).unwrap();
    let mut list = Command::new(env!("CARGO_BIN_EXE_pillarboxctl"));
    list.arg("-f").arg(&config).args(["user", "list"]);
    let output = with_mounts(&list, daemon.mounts.as_ref().unwrap()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.lines().any(|name| name == "alice") && !said.lines().any(|name| ["root", "service"].contains(&name)), "{said}");
}

fn folders_are_their_users() {
    let mut daemon = start(SYSTEM);
    let root = daemon.spool().join("folders/alice");
    let mail = mail_gid();
    let mut imap = daemon.imap("alice");
    imap.ok("CREATE Work/Plans").unwrap();
    assert!(daemon.send(&["alice@here.test"], &letter("one", "text")).starts_with("250"));
    imap.ok("SELECT INBOX").unwrap();
    imap.ok("COPY 1 Work/Plans").unwrap();
    for dir in [root.clone(), root.join("Work")] {
        assert_eq!(facts(&dir), (0o2770, ALICE, mail), "{}", dir.display());
    }
    let file = root.join("Work/Plans.mbox");
    assert_eq!(facts(&file), (0o660, ALICE, mail));
    // One that alice's own program made is for her eyes only, and is moved all the same.
    set(&file, 0o600, ALICE, ALICE);
    imap.ok("RENAME Work/Plans Old").unwrap();
    assert_eq!(facts(&root.join("Old.mbox")), (0o600, ALICE, ALICE));
    assert!(!file.exists());
    imap.ok("SELECT Old").unwrap();
    assert!(imap.ok("FETCH 1 (BODY[TEXT])").unwrap().join("").contains("text"));
    imap.ok("SELECT INBOX").unwrap();
    imap.ok("DELETE Old").unwrap();
    assert!(!root.join("Old.mbox").exists());
    imap.ok("LOGOUT").unwrap();
    daemon.stop();
    daemon.start();
    assert_eq!(daemon.mail("alice").len(), 1);
}

/// What stands in a mailbox's place, and what it must still be afterwards.
fn planted_files_are_left_alone() {
    let mut daemon = prepare(SYSTEM);
    let secret = daemon.path("secret");
    fs::write(&secret, "From nobody\n").unwrap();
    set(&secret, 0o666, 0, 0);
    symlink(&secret, daemon.mailbox("alice")).unwrap();
    fs::hard_link(&secret, daemon.mailbox("bob")).unwrap();
    fs::create_dir(daemon.mailbox("locked")).unwrap();
    assert!(Command::new("mkfifo").arg(daemon.mailbox("expired")).status().unwrap().success());
    set(&daemon.mailbox("expired"), 0o666, 40_004, 40_004);
    fs::write(daemon.mailbox("service"), "").unwrap();
    set(&daemon.mailbox("service"), 0o666, ALICE, ALICE);
    daemon.start();
    let planted = ["alice", "bob", "locked", "expired", "service"];
    let recipients: Vec<String> = planted.iter().chain(&["root"]).map(|name| format!("{name}@here.test")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    assert!(daemon.send(&recipients, &letter("one", "text")).starts_with("250"));
    assert_eq!(fs::metadata(daemon.mailbox("root")).unwrap().uid(), 0);
    wait_for("all are kept back", 30, || {
        let queue = daemon.queue();
        let text = serde_json::to_string(&queue).unwrap();
        planted.iter().all(|name| text.contains(&format!("{name}@here.test"))).then_some(())
    });
    assert_eq!(fs::read(&secret).unwrap(), b"From nobody\n");
    assert_eq!(fs::read(daemon.mailbox("service")).unwrap(), b"");
    assert!(daemon.is_running());
}

fn both_kinds_of_users_live_side_by_side() {
    let mut daemon = prepare("log.level=debug");
    let users: PathBuf = daemon.path("users");
    // Alice is a user of the system, bob one of the file; carol stands there only.
    let text = fs::read_to_string(&users).unwrap();
    let carol = text.lines().find(|line| line.starts_with("bob:")).unwrap().replacen("bob:", "carol:", 1);
    fs::write(&users, format!("{text}{carol}\n")).unwrap();
    daemon.replace_config(|text| text.replace("users = [", "users = [\"system\", "));
    daemon.start();
    assert!(daemon.send(&["alice@here.test", "carol@here.test"], &letter("one", "text")).starts_with("250"));
    assert_eq!(facts(&daemon.mailbox("alice")).1, ALICE);
    assert_eq!(facts(&daemon.mailbox("carol")).1, 40_000);
    assert_eq!((daemon.mail("alice").len(), daemon.mail("carol").len()), (1, 1));
    for name in ["alice", "carol", "nobody-here"] {
        assert!(Pop3::log_in(daemon.at("pop3"), name, "wrong").is_err());
    }
    // Neither's folders are opened by who talks to the network.
    for (name, owner) in [("alice", (0o660, ALICE, mail_gid())), ("carol", (0o600, 40_000, mail_gid()))] {
        let mut imap = daemon.imap(name);
        imap.ok("SELECT INBOX").unwrap();
        let folders: Vec<String> = (0..50).map(|n| format!("Work/{n}")).collect();
        for folder in &folders {
            imap.ok(&format!("CREATE {folder}")).unwrap();
            imap.ok(&format!("COPY 1 {folder}")).unwrap();
        }
        imap.ok("RENAME Work/1 Old/1").unwrap();
        imap.ok("DELETE Work/2").unwrap();
        let file = daemon.spool().join("folders").join(name).join("Old/1.mbox");
        assert_eq!(facts(&file), owner, "{name}");
        imap.ok("LOGOUT").unwrap();
        daemon.stop();
        daemon.start();
        let mut imap = daemon.imap(name);
        let begun = Instant::now();
        for folder in folders.iter().skip(3) {
            assert!(imap.ok(&format!("SELECT {folder}")).unwrap().join("").contains("1 EXISTS"));
            assert!(imap.ok("FETCH 1 (BODY.PEEK[TEXT])").unwrap().join("").contains("text"));
        }
        note(format!("{name} opens a folder in {:.1?}", begun.elapsed() / 47));
    }
    assert!(!daemon.log().contains("event=no-dotlock"), "{}", daemon.log());
}

/// The process that serves: not root, no way to become it, and a filter before its calls.
fn the_daemon_is_in_its_cage() {
    let daemon = start(SYSTEM);
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", daemon.pid())).unwrap();
    let serves = |pid: &&str| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line == "Uid:\t40000\t40000\t40000\t40000")
    };
    let pid = children.split(' ').find(serves).unwrap_or_else(|| panic!("nobody serves: {children:?}"));
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let mut seen = 0;
    for task in tasks {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        for line in ["NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000"] {
            assert!(status.lines().any(|known| known == line), "{line} is not in\n{status}");
        }
        seen += 1;
    }
    assert!(seen > 1);
    daemon.wait_for_log(10, "event=sandbox files=true calls=true");
}

fn home(daemon: &Daemon, user: &str) -> PathBuf {
    daemon.path("home").join(user)
}

/// A `.forward` of this user's.
fn forward(daemon: &Daemon, user: &str, uid: u32, text: &str) -> PathBuf {
    let path = home(daemon, user).join(".forward");
    fs::write(&path, text).unwrap();
    set(&path, 0o644, uid, uid);
    path
}

fn what_a_forward_says_is_done_as_its_owner() {
    let mut daemon = prepare(SYSTEM);
    let (box_of_bob, got) = (home(&daemon, "bob").join("box"), home(&daemon, "alice").join("got"));
    forward(
        &daemon,
        "alice",
        ALICE,
        "# a copy here, and what procmail's page says\n\\alice, \"|IFS=' ' && cat > $HOME/got && id -u >> $HOME/got || exit 75 #alice\"\n",
    );
    forward(&daemon, "bob", BOB, &format!("{}\n", box_of_bob.display()));
    // Two that lead to each other; one that others can write to, one that is another's, one that is no file, one without end.
    forward(&daemon, "locked", 40_003, "expired@here.test\n");
    forward(&daemon, "expired", 40_004, "locked@here.test\n");
    set(&forward(&daemon, "unsure", 40_005, "|touch /tmp/unsure\n"), 0o666, 40_005, 40_005);
    set(&forward(&daemon, "service", 900, "|touch /tmp/service\n"), 0o644, BOB, BOB);
    daemon.start();
    let everybody = ["alice", "bob", "locked", "expired", "unsure", "service"].map(|user| format!("{user}@here.test"));
    let everybody: Vec<&str> = everybody.iter().map(String::as_str).collect();
    assert!(daemon.send(&everybody, &letter("forwarded", "text")).starts_with("250"));
    let text = wait_for("the command's file", 60, || {
        let text = fs::read_to_string(&got).ok()?;
        text.ends_with(&format!("{ALICE}\n")).then_some(text)
    });
    let prefix = "\nReturn-Path: <sender@sender.test>\nDelivered-To: alice@here.test\n";
    assert!(text.starts_with("From sender@sender.test ") && text.contains(prefix), "{text}");
    assert!(text.contains("Subject: forwarded\n"), "{text}");
    assert_eq!((facts(&got).1, daemon.wait_for_mail("alice", 1, 30).len()), (ALICE, 1));
    let text = wait_for("the file", 60, || fs::read_to_string(&box_of_bob).ok().filter(|text| text.ends_with("text\n\n")));
    assert!(text.starts_with("From sender@sender.test ") && text.contains("Subject: forwarded\n"), "{text}");
    assert_eq!((facts(&box_of_bob), daemon.mailbox("bob").exists()), ((0o600, BOB, BOB), false));
    for user in ["locked", "expired", "unsure", "service"] {
        let file = daemon.mailbox(user);
        let text = wait_for("what no .forward keeps away", 60, || fs::read_to_string(&file).ok().filter(|text| !text.is_empty()));
        assert_eq!(text.matches("Subject: forwarded\n").count(), 1, "{user}: {text}");
    }
    daemon.wait_for_log(30, "event=forward-refused user=unsure");
    wait_for("an empty queue", 30, || daemon.queue().is_empty().then_some(()));
    // Who takes its line back has it done no more.
    fs::remove_file(&got).unwrap();
    forward(&daemon, "alice", ALICE, "\\alice\n");
    assert!(daemon.send(&["alice@here.test"], &letter("again", "text")).starts_with("250"));
    assert_eq!(daemon.wait_for_mail("alice", 2, 30).len(), 2);
    assert!(!got.exists());
}

fn lines_of_the_alias_file_are_done_as_its_user() {
    let mut daemon = prepare(SYSTEM);
    let dir = daemon.path("out");
    fs::create_dir(&dir).unwrap();
    set(&dir, 0o777, 0, 0);
    let (ran, filed) = (dir.join("ran"), dir.join("filed"));
    let text = format!(
        "cmd: \"|id -un > {}\"\nfile: {}\nboth: cmd, file, alice\nfacts: \"|env > {2}/env; mv {2}/env {2}/facts\"\n",
        ran.display(),
        filed.display(),
        dir.display()
    );
    fs::write(daemon.path("aliases"), text).unwrap();
    set(&daemon.path("aliases"), 0o644, 0, 0);
    daemon.start();
    assert!(daemon.send(&["both@here.test"], &letter("filed", "text")).starts_with("250"));
    let user = wait_for("the command", 60, || fs::read_to_string(&ran).ok().filter(|text| text.ends_with('\n')));
    assert_eq!(user, "nobody\n");
    wait_for("the file", 60, || fs::read_to_string(&filed).ok().filter(|text| text.contains("Subject: filed\n")));
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    assert_eq!((facts(&filed).1, daemon.wait_for_mail("alice", 1, 30).len()), (nobody.uid.as_raw(), 1));
    // Nothing of the envelope gets into the line, nor as it came into what the line may use (CVE-2020-7247).
    let taken = dir.join("taken");
    for local in
        [format!(";touch {};", taken.display()), format!("$(touch {})", taken.display()), format!("`touch {}`", taken.display())]
    {
        let text = b"Subject: `id`\r\nX: $(id)\r\n\r\n|id\r\n~!id\r\n";
        let reply = daemon.smtp().send(&format!("\"{local}\"@far.test"), &["\"facts+;x=$(id)|&\"@here.test"], text);
        assert!(reply.as_ref().unwrap().starts_with("250"), "{reply:?}");
        let env = wait_for("the facts", 60, || fs::read_to_string(dir.join("facts")).ok());
        let line = |name: &str| env.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
        for name in ["SENDER=", "RECIPIENT=", "LOCAL="] {
            assert!(!line(name).is_empty() && !line(name).contains(['$', '`', ';', '|', '&', '(', '"', '\'', ' ']), "{env}");
        }
        assert!(line("SENDER=").ends_with("@far.test") && !env.contains("`id`"), "{env}");
        fs::remove_file(dir.join("facts")).unwrap();
    }
    wait_for("an empty queue", 30, || daemon.queue().is_empty().then_some(()));
    assert!(!taken.exists());
}

/// The user's own file is read as that user, and only believed as a `.forward` is; what a user sets is the user's alone.
fn who_is_away_says_so_at_home() {
    let mut daemon = prepare(SYSTEM);
    let wishes = |user: &str, mode: u32, uid: u32| {
        let path = home(&daemon, user).join(".vacation");
        fs::write(&path, format!("Subject: {user} is away\n\nSo long.\n")).unwrap();
        set(&path, mode, uid, uid);
    };
    wishes("alice", 0o600, ALICE);
    wishes("bob", 0o666, BOB);
    daemon.start();
    let send = |from: &str, to: &str| {
        let letter = format!("From: {from}\r\nTo: {to}\r\nSubject: hello\r\n\r\ntext\r\n");
        assert!(daemon.smtp().send(from, &[to], letter.as_bytes()).unwrap().starts_with("250"));
    };
    send("bob@here.test", "alice@here.test");
    let reply = String::from_utf8(daemon.wait_for_mail("bob", 1, 30).remove(0)).unwrap();
    assert!(reply.contains("Subject: alice is away\r\n") && reply.ends_with("So long.\r\n"), "{reply}");
    send("alice@here.test", "bob@here.test");
    daemon.wait_for_log(30, "event=unanswered mailbox=bob");
    assert_eq!((daemon.mail("alice").len(), daemon.mail("bob").len()), (1, 2));
    let tool = |uid: u32, words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pillarboxctl"));
        command.arg("-f").arg(daemon.config()).arg("vacation").args(words).uid(uid).gid(uid);
        with_input(command, b"Set.\n")
    };
    assert_eq!(tool(BOB, &["set", "alice"]).status.code(), Some(77));
    assert_eq!(tool(BOB, &["show", "alice"]).status.code(), Some(77));
    let output = tool(BOB, &["set", "bob", "--subject", "set by bob"]);
    assert!(output.status.success(), "{output:?}");
    send("alice@here.test", "bob@here.test");
    let reply = String::from_utf8(daemon.wait_for_mail("alice", 2, 30).remove(1)).unwrap();
    assert!(reply.contains("Subject: set by bob\r\n") && reply.ends_with("Set.\r\n"), "{reply}");
}

/// A list in a directory of its own, which the operator edits as root, at work for a daemon that owns nothing else there.
fn lists_outside_the_spool() {
    let mut daemon = prepare(SYSTEM);
    let (control, dir) = (daemon.path("ctl.sock"), daemon.path("lists"));
    daemon.replace_config(|text| {
        format!("control = {control:?}\nlists = {dir:?}\nwebmail_url = \"https://mail.here.test\"\n{text}")
    });
    daemon.start();
    assert_eq!(facts(&dir), (0o750, 40_000, 40_000));
    let ctl = |daemon: &Daemon, words: &[&str]| {
        let output = daemon.ctl(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    ctl(&daemon, &["list", "create", "team", "bob@here.test"]);
    // Another one with the name of the list as root's editor leaves it.
    let settings = fs::read_to_string(dir.join("team/settings")).unwrap();
    let settings = settings.replace("posting = members", "posting = moderated").replace("archive =", "archive = bob Lists/team");
    fs::write(dir.join("team/new"), settings).unwrap();
    set(&dir.join("team/new"), 0o644, 0, 0);
    fs::rename(dir.join("team/new"), dir.join("team/settings")).unwrap();
    let say = |daemon: &Daemon, from: &str, to: &str, subject: &str| {
        let text = format!("From: {from}\r\nSubject: {subject}\r\n\r\ntext\r\n");
        assert!(daemon.smtp().send(from, &[to], text.as_bytes()).unwrap().starts_with("250"));
    };
    let answer_to = |daemon: &Daemon, user: &str| {
        let text = String::from_utf8_lossy(&daemon.mail(user).pop().unwrap()).into_owned();
        text.split("Reply-To: <").nth(1).unwrap().split('>').next().unwrap().to_owned()
    };
    say(&daemon, "alice@here.test", "team-subscribe@here.test", "me");
    say(&daemon, "alice@here.test", &answer_to(&daemon, "alice"), "yes");
    assert_eq!(ctl(&daemon, &["list", "members", "team"]), "alice@here.test\n");
    assert_eq!(facts(&dir.join("team/members")), (0o640, 40_000, 40_000));
    say(&daemon, "alice@here.test", "team@here.test", "for all");
    // What waits outlives the daemon.
    daemon.kill();
    daemon.start();
    assert!(ctl(&daemon, &["list", "held", "team"]).ends_with("  for all\n"));
    say(&daemon, "bob@here.test", &answer_to(&daemon, "bob"), "approve");
    let copy = daemon.mail("alice").pop().map(|mail| String::from_utf8_lossy(&mail).into_owned()).unwrap();
    assert!(copy.contains("Subject: for all\r\n"), "{copy}");
    let mut imap = daemon.imap("bob");
    assert!(imap.ok("SELECT Lists/team").unwrap().iter().any(|line| line == "* 1 EXISTS"));
    assert_eq!(facts(&daemon.spool().join("folders/bob/Lists/team.mbox")).1, BOB);
    let link = copy.split("<https://mail.here.test").nth(1).unwrap().split('>').next().unwrap().to_owned();
    Browser::new(&daemon).post(&link, &[("List-Unsubscribe", "One-Click")]).shows("gets no more mail");
    assert_eq!(ctl(&daemon, &["list", "members", "team"]), "");
    ctl(&daemon, &["list", "delete", "team"]);
    assert!(!dir.join("team").exists() && dir.exists());
}

/// What forward(5) shows leads where it says.
fn the_examples_of_forward() {
    let daemon = start(SYSTEM);
    let wanted: [&[&str]; 3] = [
        &["mailbox of alice", "alice@example.org: by DNS"],
        &["command of alice: exec /usr/bin/procmail || exit 75"],
        &["file /home/alice/archive"],
    ];
    let blocks = examples("forward.5");
    assert_eq!(blocks.len(), wanted.len(), "{blocks:?}");
    for (block, ends) in blocks.iter().zip(wanted) {
        forward(&daemon, "alice", ALICE, block);
        let output = daemon.ctl(&["route", "alice@here.test"]);
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && ends.iter().all(|end| told.contains(end)), "{block}: {told}");
    }
}

/// Page faults of the monitor's children that have ended: as many as before, and there was none.
fn of_children(daemon: &Daemon) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').nth(8).unwrap().parse().unwrap()
}

fn what_is_known_of_users_is_not_asked_again_until_it_changes() {
    let mut daemon = prepare(SYSTEM);
    daemon.start();
    let send = |text: &str| daemon.smtp().send("sender@sender.test", &["alice@here.test"], &letter(text, "text")).unwrap();
    let quiet = || {
        // What has just changed is asked for each time.
        wait_for("a message that needs no child of the monitor's", 60, || {
            let before = of_children(&daemon);
            assert!(send("quiet").starts_with("250"));
            // A child is waited for after it has answered.
            let monitor = daemon.pid();
            wait_for("children that have ended", 10, || {
                let children = fs::read_to_string(format!("/proc/{monitor}/task/{monitor}/children")).ok()?;
                (children.split_whitespace().count() == 1).then_some(())
            });
            (of_children(&daemon) == before).then_some(())
        });
        daemon.mail("alice").len()
    };
    let got = quiet();
    let elsewhere = forward(&daemon, "alice", ALICE, "bob@here.test\n");
    assert!(send("forwarded").starts_with("250"));
    assert!(String::from_utf8(daemon.wait_for_mail("bob", 1, 30).remove(0)).unwrap().contains("Subject: forwarded"));
    assert_eq!(daemon.mail("alice").len(), got);
    fs::remove_file(elsewhere).unwrap();
    assert!(send("at home").starts_with("250"));
    assert_eq!(daemon.mail("alice").len(), got + 1);
    let got = quiet();

    // A reply from away, too.
    let away = home(&daemon, "alice").join(".vacation");
    fs::write(&away, "Subject: away\n\nSo long.\n").unwrap();
    set(&away, 0o600, ALICE, ALICE);
    let letter = "From: bob@here.test\r\nTo: alice@here.test\r\nSubject: hello\r\n\r\ntext\r\n";
    assert!(daemon.smtp().send("bob@here.test", &["alice@here.test"], letter.as_bytes()).unwrap().starts_with("250"));
    assert!(String::from_utf8(daemon.wait_for_mail("bob", 2, 30).remove(1)).unwrap().contains("Subject: away"));
    fs::remove_file(away).unwrap();
    assert_eq!(daemon.mail("alice").len(), got + 1);
    quiet();

    // Who has gone has no mail.
    let passwd = daemon.path("passwd");
    let text = fs::read_to_string(&passwd).unwrap();
    let alice = text.lines().find(|line| line.starts_with("alice:")).unwrap();
    fs::write(&passwd, text.replace(&format!("{alice}\n"), "")).unwrap();
    assert!(send("gone").starts_with("550"));
    fs::write(&passwd, &text).unwrap();
    assert!(send("back").starts_with("250"));
    quiet();
    let other = daemon.path("home/other");
    fs::create_dir(&other).unwrap();
    set(&other, 0o700, ALICE, ALICE);
    forward(&daemon, "other", ALICE, "bob@here.test\n");
    let elsewhere = alice.replace(home(&daemon, "alice").to_str().unwrap(), other.to_str().unwrap());
    let elsewhere = text.replace(alice, &elsewhere);
    fs::write(&passwd, elsewhere).unwrap();
    let got = daemon.mail("alice").len();
    assert!(send("by another home").starts_with("250"));
    daemon.wait_for_mail("bob", 3, 30);
    assert_eq!(daemon.mail("alice").len(), got);
}
