//! Mail that goes to no host by SMTP: to a store by LMTP, to a program.

use crate::common::{Daemon, PASSWORD, Setup, Smtp, letter, wait_for};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

crate::tests![
    a_store_takes_mail_by_lmtp,
    a_program_gets_the_whole_message,
    facts_in_the_environment,
    what_its_status_means,
    a_program_that_does_not_end,
    stopping_does_not_wait_for_ever,
    killed_while_it_runs,
    a_domain_of_ours_may_be_routed,
];

/// A directory where anybody may write: the programs of a daemon that is root run as nobody.
fn open_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    dir
}

/// A daemon that gives mail for `program.test` to a script.
fn daemon(script: &str, more: &str) -> Daemon {
    let config = format!(
        "[[route]]\ndomain = \"program.test\"\nprogram = [\"/bin/sh\", \"-c\", {script:?}]\n[queue]\nretry = [\"1s\"]\nwarn = \"0s\"\n{more}"
    );
    Setup::default().config(&config).start()
}

fn submit(daemon: &Daemon, to: &[&str], message: &[u8]) {
    let mut smtp = Smtp::hello(daemon.at("submission")).unwrap();
    assert!(smtp.log_in("alice", PASSWORD).unwrap().starts_with("235"));
    let reply = smtp.send("alice@here.test", to, message).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
}

fn empty(daemon: &Daemon) {
    wait_for("an empty queue", 60, || daemon.queue().is_empty().then_some(()));
}

fn reads(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn report(daemon: &Daemon, number: usize) -> String {
    String::from_utf8_lossy(&daemon.wait_for_mail("alice", number, 60)[number - 1]).into_owned()
}

/// Over TCP and over a Unix socket; the store is a daemon of ours, whose name is no hindrance.
fn a_store_takes_mail_by_lmtp() {
    let listener = "[[listen]]\naddress = \"unix:lmtp.sock\"\nprotocol = \"lmtp\"\n";
    let store = Setup { domains: vec!["tcp.test".into(), "unix.test".into()], ..Setup::default() }.config(listener).start();
    let route = |domain: &str, to: String| format!("[[route]]\ndomain = \"{domain}\"\nlmtp = \"{to}\"\n");
    let socket = store.path("lmtp.sock");
    let config = route("tcp.test", store.at("lmtp").to_string()) + &route("unix.test", format!("unix:{}", socket.display()));
    let daemon = Setup::default().config(&(config + "[queue]\nretry = [\"1s\"]\n")).start();
    let body = "text\n.dot\nFrom me\n".to_owned() + &"Gr\u{fc}\u{df}e\n".repeat(1000);
    for (number, domain) in ["tcp", "unix"].into_iter().enumerate() {
        let to = ["alice", "bob", "nobody"].map(|user| format!("{user}@{domain}.test"));
        submit(&daemon, &to.each_ref().map(String::as_str), &letter("stored", &body));
        let report = report(&daemon, number + 1);
        assert!(report.contains(&format!("nobody@{domain}.test\r\nAction: failed\r\nStatus: 5.1.1")), "{report}");
        assert!(!report.contains("bob@"), "{report}");
        empty(&daemon);
        for user in ["alice", "bob"] {
            let text = String::from_utf8_lossy(&store.mail(user)[number]).into_owned();
            let wanted = String::from_utf8(letter("stored", &body)).unwrap();
            assert!(text.contains("with LMTP") && text.ends_with(wanted.split_once("\r\n\r\n").unwrap().1), "{text:.500}");
        }
    }
    // While it is away mail waits, without harm to its order.
    let told = String::from_utf8_lossy(&daemon.ctl(&["route", "x@tcp.test"]).stdout).into_owned();
    assert!(told.contains(&format!("lmtp:{}", store.at("lmtp"))), "{told}");
    drop(store);
    submit(&daemon, &["bob@unix.test"], &letter("waits", "x"));
    let reason = wait_for("a try", 60, || {
        let queue = daemon.queue();
        queue.first().map(|message| message["recipients"][0]["reason"].to_string()).filter(|reason| reason.contains("4.4.1"))
    });
    assert!(reason.contains("could not be reached"), "{reason}");
}

fn a_program_gets_the_whole_message() {
    let dir = open_dir();
    let at = |name: &str| dir.path().join(name);
    let daemon = daemon(&format!("cat > {0}/part && mv {0}/part {0}/got && echo thanks", dir.path().display()), "");
    let body = "From me\n>From you\n.\n..\n\u{fc}\n".repeat(60_000);
    submit(&daemon, &["x@program.test"], &letter("big", &body));
    empty(&daemon);
    let text = reads(&at("got"));
    let (head, rest) = text.split_once("\n\n").unwrap();
    assert!(head.starts_with("Return-Path: <alice@here.test>\nDelivered-To: x@program.test\nReceived: "), "{head}");
    assert!(head.ends_with("\nSubject: big"), "{head}");
    assert!(rest == body, "{} bytes, not {}", rest.len(), body.len());
    assert!(daemon.log().contains("to=<x@program.test> relay=none reply=\"thanks\""), "{}", daemon.log());
    let told = String::from_utf8_lossy(&daemon.ctl(&["route", "x@program.test"]).stdout).into_owned();
    assert!(told.starts_with("to the program /bin/sh -c"), "{told}");
}

fn facts_in_the_environment() {
    let dir = open_dir();
    let daemon = daemon(&format!("echo \"$SENDER|$RECIPIENT|$LOCAL|$DOMAIN\" >> {}/facts", dir.path().display()), "");
    submit(&daemon, &["a+b@program.test", "\"$(id) `x`\"@Program.Test", "c@PROGRAM.test"], &letter("x", "x"));
    empty(&daemon);
    let facts = reads(&dir.path().join("facts"));
    let mut lines: Vec<&str> = facts.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines[1..],
        ["alice@here.test|a+b@program.test|a+b|program.test", "alice@here.test|c@PROGRAM.test|c|PROGRAM.test",]
    );
    assert!(lines[0].contains("id") && lines[0].chars().all(|c| c.is_ascii_alphanumeric() || "@._|".contains(c)), "{facts}");
    // Been there already.
    submit(&daemon, &["c@program.test"], b"Delivered-To: C@program.test\r\nSubject: again\r\n\r\nx\r\n");
    assert!(report(&daemon, 1).contains("Status: 5.4.6"));
    assert_eq!(reads(&dir.path().join("facts")).lines().count(), 3);
}

fn what_its_status_means() {
    let dir = open_dir();
    let status = dir.path().join("status");
    let script = format!(". {}; echo done >> {}/done", status.display(), dir.path().display());
    let daemon = daemon(&script, "");
    let set = |text: &str| fs::write(&status, text).unwrap();
    let mut reports = 0;
    for (line, wanted) in [
        ("echo 'no such list'; exit 67", "Status: 5.1.1\r\nDiagnostic-Code: x-unix; no such list\r\n"),
        ("echo '5.7.1 spam' >&2; exit 77", "Status: 5.7.1\r\nDiagnostic-Code: x-unix; 5.7.1 spam\r\n"),
        ("exit 1", "Status: 5.3.0\r\nDiagnostic-Code: x-pillarbox; 5.3.0 "),
        ("seq 100000; exit 65", "Status: 5.6.0\r\nDiagnostic-Code: x-unix; 1 2 3 "),
    ] {
        set(line);
        submit(&daemon, &["x@program.test"], &letter(line, "x"));
        reports += 1;
        let report = report(&daemon, reports);
        assert!(report.contains(wanted) && report.contains("refused it."), "{line}: {report}");
        empty(&daemon);
    }
    for (line, wanted) in
        [("echo busy; exit 75", "It said: busy"), ("kill -KILL $$", "(signal 9)"), ("exec kill -TERM $$", "(signal 15)")]
    {
        set(line);
        submit(&daemon, &["x@program.test"], &letter(line, "x"));
        wait_for(line, 60, || daemon.queue().first()?["recipients"][0]["reason"].as_str()?.contains(wanted).then_some(()));
        set("true");
        empty(&daemon);
    }
    assert_eq!(reads(&dir.path().join("done")).lines().count(), 3);
    assert_eq!(daemon.mail("alice").len(), reports, "nobody was told of what went well in the end");
    // What can't be run is ours to mend.
    let config = "[[route]]\ndomain = \"program.test\"\nprogram = [\"/nowhere/at/all\"]\n";
    let broken = Setup::default().config(config).start();
    submit(&broken, &["x@program.test"], &letter("x", "x"));
    wait_for("a try", 60, || broken.queue().first()?["recipients"][0]["reason"].as_str()?.contains("4.3.5").then_some(()));
    assert!(broken.log().contains("/nowhere/at/all: No such file"), "{}", broken.log());
}

fn a_program_that_does_not_end() {
    let dir = open_dir();
    let pids = dir.path().join("pids");
    let daemon = daemon(&format!("sleep 1000 & echo $! >> {}; wait", pids.display()), "[timeouts]\nprogram = \"1s\"\n");
    submit(&daemon, &["x@program.test"], &letter("x", "x"));
    wait_for("its end", 60, || daemon.queue().first()?["recipients"][0]["reason"].as_str()?.contains("too long").then_some(()));
    let pid = reads(&pids).lines().next().unwrap().to_owned();
    wait_for("the end of what it started", 60, || (!Path::new("/proc").join(&pid).join("exe").exists()).then_some(()));
}

fn stopping_does_not_wait_for_ever() {
    let dir = open_dir();
    let started = dir.path().join("started");
    let script = format!("echo $$ > {}; trap '' TERM; while :; do sleep 0.1; done", started.display());
    let mut daemon = daemon(&script, "[timeouts]\nstop = \"1s\"\n");
    submit(&daemon, &["x@program.test"], &letter("x", "x"));
    let pid = wait_for("its start", 60, || Some(reads(&started)).filter(|text| text.ends_with('\n')));
    let begun = Instant::now();
    assert!(daemon.stop().success());
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert!(!Path::new("/proc").join(pid.trim()).join("exe").exists());
}

/// The program has all of the message or none of it, whatever becomes of the daemon; and it comes again.
fn killed_while_it_runs() {
    let dir = open_dir();
    let at = |name: &str| dir.path().join(name);
    let script = format!(
        "cd {} && echo x >> started && while ! [ -e go ]; do sleep 0.05; done && cat > part.$$ && mv part.$$ got.$$",
        dir.path().display()
    );
    let mut daemon = daemon(&script, "");
    let body = "line of the message\n".repeat(200_000);
    submit(&daemon, &["x@program.test"], &letter("x", &body));
    wait_for("its start", 60, || at("started").exists().then_some(()));
    daemon.kill();
    fs::write(at("go"), "").unwrap();
    let copies = || -> Vec<String> {
        let files = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("got.")).map(|path| reads(&path)).collect()
    };
    wait_for("what it was at", 60, || (copies().len() == 1).then_some(()));
    daemon.start();
    empty(&daemon);
    let copies = copies();
    assert_eq!(copies.len(), 2);
    assert!(copies.iter().all(|copy| copy.split_once("\n\n").unwrap().1 == body));
}

/// Mail for it is taken from everybody, as for each of our domains; for others it is not.
fn a_domain_of_ours_may_be_routed() {
    let dir = open_dir();
    let route = |domain: &str| {
        format!("[[route]]\ndomain = \"{domain}\"\nprogram = [\"/bin/sh\", \"-c\", \"cat >> {}/got\"]\n", dir.path().display())
    };
    let domains = vec!["here.test".to_owned(), "list.test".to_owned()];
    let daemon = Setup { domains, ..Setup::default() }.config(&(route("list.test") + &route("other.test"))).start();
    assert!(daemon.send(&["any@list.test"], &letter("x", "x")).starts_with("250"));
    empty(&daemon);
    assert!(reads(&dir.path().join("got")).contains("Delivered-To: any@list.test"));
    assert!(daemon.send(&["any@other.test"], &letter("x", "x")).starts_with("554 5.7.1"));
}
