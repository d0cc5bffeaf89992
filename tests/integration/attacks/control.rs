//! The daemon's own doors: signals, the control socket, its configuration, its spool.

use crate::common::{Daemon, Random, Setup, Smtp, Talk, fixed_port, letter, run, wait_for};
use nix::sys::signal::Signal;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

crate::tests![
    garbage_on_the_control_socket,
    bad_configuration_keeps_the_old,
    good_configuration_is_taken,
    sigterm_lets_running_data_finish,
    sigterm_says_goodbye,
    sigint_stops_too,
    second_daemon_keeps_out,
    users_added_while_it_runs,
    queue_commands,
    folders_are_listed_and_links_among_them_are_not,
    a_mailbox_is_checked_and_compacted,
    logs_hold_no_secrets_and_no_forgeries,
    state_survives_a_restart,
    starts_in_the_background,
];

fn garbage_on_the_control_socket() {
    let mut daemon = Setup::default().start();
    let path = daemon.spool().join("ctl.sock");
    let mut random = Random(99);
    for round in 0..200 {
        let Ok(mut socket) = UnixStream::connect(&path) else { panic!("round {round}: cannot connect") };
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
        let length = [0, 1, 10, 1000, 100_000][random.below(5)];
        let mut bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        if round % 3 == 0 {
            let words = ["queue", "show", "\"", "{", "}", "\n", "remove", "0000000000000000-0", "\0", "[[[[[[["];
            bytes = (0..random.below(40)).flat_map(|_| words[random.below(words.len())].bytes()).collect();
        }
        let _ = socket.write_all(&bytes);
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        assert!(answer.len() < 1 << 20);
    }
    assert!(daemon.is_running());
    let status = daemon.ctl(&["status"]);
    assert!(status.status.success(), "{status:?}");
    assert!(daemon.send(&["alice@here.test"], &letter("fine", "x")).starts_with("250"));
}

fn bad_configuration_keeps_the_old() {
    let mut daemon = Setup::default().start();
    let good = fs::read_to_string(daemon.config()).unwrap();
    let lines = daemon.log().lines().count();
    fs::write(daemon.config(), format!("{good}\nnonsense = = 1\n")).unwrap();
    daemon.signal(Signal::SIGHUP);
    wait_for("a complaint in the log", 60, || {
        daemon.log().lines().skip(lines).any(|line| line.contains("pillarbox.conf")).then_some(())
    });
    assert!(daemon.is_running());
    assert!(daemon.send(&["alice@here.test"], &letter("old", "x")).starts_with("250"));
    fs::write(daemon.config(), good).unwrap();
    let output = daemon.ctl(&["reload"]);
    assert!(output.status.success(), "{output:?}");
    assert!(daemon.send(&["alice@here.test"], &letter("again", "x")).starts_with("250"));
}

fn good_configuration_is_taken() {
    let daemon = Setup::default().start();
    let mut before = daemon.smtp();
    let text = daemon.config_text("[limits]\nrecipients = 1\n[[route]]\ndomain = \"new.test\"\nhost = \"127.0.0.1:9\"\n");
    fs::write(daemon.config(), text).unwrap();
    daemon.signal(Signal::SIGHUP);
    let refused = |smtp: &mut Smtp| {
        smtp.expect("MAIL FROM:<a@b.test>", "250").unwrap();
        smtp.expect("RCPT TO:<alice@here.test>", "250").unwrap();
        smtp.command("RCPT TO:<bob@here.test>").unwrap().starts_with("452")
    };
    wait_for("the new limit", 60, || refused(&mut daemon.smtp()).then_some(()));
    assert!(!refused(&mut before), "a session keeps the configuration it began with");
}

fn sigterm_lets_running_data_finish() {
    let mut daemon = Setup::options(&["timeouts.stop=\"20s\""]).start();
    let mut smtp = daemon.smtp();
    for command in ["MAIL FROM:<a@b.test>", "RCPT TO:<alice@here.test>", "DATA"] {
        smtp.command(command).unwrap();
    }
    smtp.talk.send(b"Subject: in time\r\n\r\nfirst half\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(200));
    daemon.signal(Signal::SIGTERM);
    wait_for("closed doors", 60, || Smtp::connect(daemon.at("smtp")).is_err().then_some(()));
    smtp.talk.send(b"second half\r\n.\r\n").unwrap();
    let reply = smtp.reply().unwrap_or_else(|error| panic!("no reply to the message: {error}"));
    assert!(reply.starts_with("250"), "{reply}");
    assert!(daemon.stop().success());
    daemon.start();
    let mail = daemon.mail("alice");
    assert!(mail.len() == 1 && String::from_utf8_lossy(&mail[0]).ends_with("first half\r\nsecond half\r\n"));
}

fn sigterm_says_goodbye() {
    let mut daemon = Setup::default().start();
    let (mut smtp, mut pop3) = (daemon.smtp(), daemon.pop3("alice"));
    let begun = Instant::now();
    daemon.signal(Signal::SIGTERM);
    let farewell = smtp.reply().unwrap();
    assert!(farewell.starts_with("421 4."), "{farewell}");
    assert!(smtp.talk.ends());
    assert!(pop3.talk.ends());
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(25), "it took {:?}", begun.elapsed());
    assert!(!daemon.path("pid").exists(), "the pid file is left");
}

fn sigint_stops_too() {
    let mut daemon = Setup::default().start();
    daemon.signal(Signal::SIGINT);
    assert_eq!(daemon.stop().code(), Some(0));
}

fn second_daemon_keeps_out() {
    let daemon = Setup::default().start();
    let output = daemon.command().output().unwrap();
    assert!(!output.status.success());
    assert!(!String::from_utf8_lossy(&output.stderr).contains("pillarbox ready"));
    assert!(daemon.send(&["alice@here.test"], &letter("mine", "x")).starts_with("250"));
    assert!(daemon.ctl(&["status"]).status.success(), "the first one's control socket is gone");
}

fn users_added_while_it_runs() {
    let daemon = Setup::default().start();
    let mut smtp = daemon.smtp();
    smtp.expect("MAIL FROM:<a@b.test>", "250").unwrap();
    smtp.expect("RCPT TO:<dave@here.test>", "550").unwrap();
    let output = crate::common::pillarboxctl(&daemon.config(), &["user", "add", "dave"], b"new password\n");
    assert!(output.status.success(), "{output:?}");
    wait_for("dave", 60, || {
        daemon.ctl(&["reload"]);
        daemon.send(&["dave@here.test"], &letter("welcome", "x")).starts_with("250").then_some(())
    });
    assert!(crate::common::Pop3::log_in(daemon.at("pop3"), "dave", "new password").is_ok());
    let listed = daemon.ctl(&["user", "list"]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("dave"));
    let output = crate::common::pillarboxctl(&daemon.config(), &["user", "passwd", "dave"], b"newer password\n");
    assert!(output.status.success(), "{output:?}");
    wait_for("the new password", 60, || {
        daemon.ctl(&["reload"]);
        crate::common::Pop3::log_in(daemon.at("pop3"), "dave", "newer password").ok()
    });
    assert!(daemon.ctl(&["user", "remove", "dave"]).status.success());
    wait_for("dave gone", 60, || {
        daemon.ctl(&["reload"]);
        daemon.send(&["dave@here.test"], &letter("too late", "x")).starts_with("550").then_some(())
    });
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(daemon.path("users")).unwrap().permissions().mode() & 0o777, 0o600);
}

fn folders_are_listed_and_links_among_them_are_not() {
    let daemon = Setup::default().start();
    let place = daemon.spool().join("folders/alice");
    fs::create_dir_all(place.join("Arbeit")).unwrap();
    fs::write(place.join("Arbeit/Entw\u{fc}rfe.mbox"), b"").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", place.join("passwd.mbox")).unwrap();
    std::os::unix::fs::symlink("/etc", place.join("etc")).unwrap();
    let list = |user: &str| daemon.ctl(&["mailbox", "list", user]);
    let output = list("alice");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let names: Vec<&str> = text.lines().map(|line| line.split_whitespace().nth(2).unwrap()).collect();
    assert_eq!(names, ["Arbeit", "Arbeit/Entw\u{fc}rfe", "INBOX"]);
    assert_eq!(String::from_utf8(list("alice").stdout).unwrap(), text, "ids stay");
    for nobody in ["mallory", "../alice", "."] {
        assert_eq!(list(nobody).status.code(), Some(67), "{nobody}");
    }
}

fn a_mailbox_is_checked_and_compacted() {
    let daemon = Setup::default().start();
    for subject in ["first", "second"] {
        assert!(daemon.send(&["alice@here.test"], &letter(subject, "x")).starts_with("250"));
    }
    let file = daemon.path("mail/alice");
    let size = || fs::metadata(&file).unwrap().len();
    let ctl = |act: &str, user: &str| {
        let output = daemon.ctl(&["mailbox", act, user]);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let mut pop3 = daemon.pop3("alice");
    pop3.ok("DELE 1").unwrap();
    pop3.ok("QUIT").unwrap();
    let before = size();
    assert_eq!(ctl("check", "alice"), (Some(0), String::new()));
    let (code, told) = ctl("compact", "alice");
    assert!(code == Some(0) && told.ends_with(" given back\n"), "{told}");
    assert!(size() < before);
    let left = daemon.mail("alice");
    assert!(left.len() == 1 && String::from_utf8_lossy(&left[0]).contains("Subject: second"));
    assert_eq!(ctl("check", "alice"), (Some(0), String::new()));
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    let (code, told) = ctl("check", "alice");
    assert!(code == Some(1) && told.contains(": the file does not end in an empty line ("), "{told}");
    assert_eq!(ctl("check", "mallory").0, Some(2));
    assert_eq!(daemon.ctl(&["mailbox", "check", "alice", "no//name"]).status.code(), Some(2));
}

fn queue_commands() {
    let sink = crate::common::Sink::with(|line| (line == "CONNECT").then(|| "421 not now".to_owned()));
    let config =
        format!("[[route]]\ndomain = \"away.test\"\nhost = \"{}\"\n[smtp]\nrelay_networks = [\"127.0.0.0/8\"]\n", sink.address);
    let daemon = Setup::default().config(&config).start();
    let id_of = |subject: &str| {
        assert!(daemon.send(&["x@away.test"], &letter(subject, "x")).starts_with("250"));
        wait_for("a try", 60, || {
            let queue = daemon.queue();
            let entry = queue.iter().max_by_key(|entry| entry["time"].to_string())?;
            (entry["recipients"][0]["tries"].as_u64()? > 0).then(|| entry["id"].as_str().unwrap().to_owned())
        })
    };
    let ok = |words: &[&str]| {
        let output = daemon.ctl(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let held = id_of("held");
    let shown = ok(&["queue", "show", &held]);
    assert!(shown.contains("Subject: held") && shown.contains("x@away.test"), "{shown}");
    ok(&["queue", "hold", &held]);
    sink.change(|_| None);
    ok(&["queue", "flush"]);
    std::thread::sleep(Duration::from_millis(300));
    assert!(sink.arrived().is_empty(), "it was held");
    assert!(!daemon.ctl(&["queue", "show", "0123456789abcdef-0"]).status.success());
    assert!(!daemon.ctl(&["queue", "remove", "nonsense"]).status.success());
    ok(&["queue", "release", &held]);
    ok(&["queue", "flush", &held]);
    wait_for("its arrival", 60, || (sink.arrived().len() == 1).then_some(()));
    // Perhaps over the line of the one before.
    sink.change(|line| (line == "CONNECT" || line.starts_with("MAIL")).then(|| "421 not now".to_owned()));
    let removed = id_of("removed");
    ok(&["queue", "remove", &removed]);
    sink.change(|_| None);
    ok(&["queue", "flush", "away.test"]);
    wait_for("an empty queue", 60, || daemon.queue().is_empty().then_some(()));
    assert_eq!(sink.arrived().len(), 1);
    assert!(daemon.mail("alice").is_empty() && daemon.mail("bob").is_empty());
    assert!(ok(&["route", "alice@here.test"]).contains("alice"));
    assert!(ok(&["route", "x@away.test"]).contains(&sink.address.port().to_string()));
    serde_json::from_str::<serde_json::Value>(&ok(&["status", "--json"])).unwrap();
}

fn logs_hold_no_secrets_and_no_forgeries() {
    let daemon = Setup::default().start();
    let mut smtp = Smtp::hello(daemon.at("submission")).unwrap();
    smtp.log_in("alice", "wr0ng-s3cret").unwrap();
    smtp.log_in("alice", crate::common::PASSWORD).unwrap();
    smtp.send("alice@here.test", &["bob@here.test"], &letter("x", "confidential-content")).unwrap();
    let mut talk = Talk::connect(daemon.at("pop3")).unwrap();
    talk.send(b"USER evil\x1b[31m\x07\x00\r\nPASS an0ther-s3cret\r\nUSER evil\x85session=1 login name=alice\r\nPASS y\r\n")
        .unwrap();
    let mut smtp = daemon.smtp();
    for line in [
        "EHLO \x1b]0;evil\x07",
        "EHLO c.test",
        "MAIL FROM:<\x1b[2J@b.test>",
        "MAIL FROM:<a@b.test>",
        "RCPT TO:<\"evil session=9\"@b.test>",
        "\u{202e}evil",
    ] {
        smtp.command(line).unwrap();
    }
    drop((smtp, talk));
    daemon.wait_for_log(60, "evil");
    let log = daemon.log();
    for secret in ["wr0ng-s3cret", "an0ther-s3cret", crate::common::PASSWORD, "confidential-content", "AHNlY3JldA"] {
        // The users' names and paths do not hold it.
        assert!(!log.contains(secret), "{secret} is in the log");
    }
    let strange = log.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t'));
    assert_eq!(strange, None, "a control character is in the log");
}

fn state_survives_a_restart() {
    let mut daemon = Setup::default().start();
    assert!(daemon.send(&["alice@here.test"], &letter("one", "x")).starts_with("250"));
    let uidl = daemon.pop3("alice").lines("UIDL").unwrap();
    assert!(daemon.stop().success());
    daemon.start();
    assert_eq!(daemon.pop3("alice").lines("UIDL").unwrap(), uidl);
    assert!(daemon.send(&["alice@here.test"], &letter("two", "x")).starts_with("250"));
    daemon.kill();
    daemon.start();
    let after = daemon.pop3("alice").lines("UIDL").unwrap();
    assert!(after.starts_with(&uidl), "{:?} {:?}", String::from_utf8_lossy(&uidl), String::from_utf8_lossy(&after));
    assert_eq!(after.iter().filter(|byte| **byte == b'\n').count(), 2);
}

fn starts_in_the_background() {
    let daemon: Daemon = Setup::default().prepare();
    let port = fixed_port();
    let text = fs::read_to_string(daemon.config()).unwrap().replacen("127.0.0.1:0", &format!("127.0.0.1:{port}"), 1);
    fs::write(daemon.config(), text.replace("to = \"stderr\"", "to = \"syslog\"")).unwrap();
    let mut launcher = Command::new(env!("CARGO_BIN_EXE_pillarbox"));
    run(launcher.arg("-f").arg(daemon.config()).stdin(std::process::Stdio::null()));
    // It is there as soon as the launcher has ended, and has said who it is.
    let pid: i32 = fs::read_to_string(daemon.path("pid")).unwrap().trim().parse().unwrap();
    let greeted = Smtp::hello(std::net::SocketAddr::from(([127, 0, 0, 1], port)));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    greeted.unwrap();
    wait_for("its end", 60, || (!std::path::Path::new(&format!("/proc/{pid}")).exists()).then_some(()));
    // A launcher whose daemon can't start says so.
    let mut launcher = Command::new(env!("CARGO_BIN_EXE_pillarbox"));
    let output = launcher.arg("-f").arg(daemon.config()).args(["-o", "spool=\"/proc/nowhere\""]).output().unwrap();
    assert!(!output.status.success());
}
