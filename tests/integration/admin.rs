//! What an operator asks: is all well, what was done, what is logged, where is my mail?

use crate::common::{Daemon, NameServer, Setup, letter, tool, wait_for};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::Stdio;

crate::tests![
    all_is_well_or_the_daemon_is_down,
    taken_ports,
    names_that_lead_elsewhere,
    certificates,
    a_bad_configuration,
    counters,
    log_levels,
    answers_for_programs,
    where_is_my_mail,
    long_work_is_seen_on_a_terminal,
];

/// A daemon that does not run yet, with ports of its own, that asks a name server which knows its host and domain.
fn host(records: &[&str], more: &str) -> (NameServer, Daemon) {
    let dns = NameServer::start(records);
    let mut daemon = Setup::default().config(more).prepare();
    daemon.pin_ports();
    let text = daemon.config_text(more).replace("servers = [\"127.0.0.1:9\"]", &format!("servers = [\"{}\"]", dns.address));
    fs::write(daemon.config(), text).unwrap();
    for (path, mode) in [(daemon.config(), 0o644), (daemon.spool().to_owned(), 0o711), (daemon.path("mail"), 0o775)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    (dns, daemon)
}

const HERE: [&str; 2] = ["--host-record=mail.here.test,127.0.0.1", "--mx-host=here.test,mail.here.test,10"];

/// Exit code, and what is wrong.
fn check(daemon: &Daemon) -> (Option<i32>, Vec<Value>) {
    let output = daemon.ctl(&["check", "--json"]);
    let all: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let wrong = all.as_array().unwrap().iter().filter(|finding| finding["state"] == "wrong");
    (output.status.code(), wrong.cloned().collect())
}

fn is_about(findings: &[Value], about: &str, what: &str) -> bool {
    findings.iter().any(|one| one["about"] == about && one["what"].as_str().unwrap().contains(what) && one["advice"].is_string())
}

fn all_is_well_or_the_daemon_is_down() {
    let (_dns, mut daemon) = host(&HERE, "");
    let (code, wrong) = check(&daemon);
    assert_eq!((code, wrong.len()), (Some(1), 1), "{wrong:?}");
    assert!(is_about(&wrong, "daemon", "it does not run"), "{wrong:?}");
    daemon.start();
    assert_eq!(check(&daemon), (Some(0), Vec::new()));
    let said = daemon.ctl(&["check"]);
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success() && text.contains("fine    daemon       it runs, version"), "{text}");
    assert!(text.contains("mail for here.test comes to mail.here.test"), "{text}");
    fs::set_permissions(daemon.path("users"), fs::Permissions::from_mode(0o644)).unwrap();
    let said = daemon.ctl(&["check"]);
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let users = daemon.path("users");
    let expected =
        format!("WRONG   users        {0} can be read by others than its owner\n{1:<20} -> chmod 600 {0}\n", users.display(), "");
    assert!(said.status.code() == Some(1) && text.contains(&expected), "{text}");
}

fn taken_ports() {
    let (_dns, mut daemon) = host(&HERE, "");
    let text = fs::read_to_string(daemon.config()).unwrap();
    let address = text.lines().find_map(|line| line.strip_prefix("address = \"")?.strip_suffix('"')).unwrap().to_owned();
    let other = TcpListener::bind(&address).unwrap();
    let (code, wrong) = check(&daemon);
    assert_eq!((code, wrong.len()), (Some(1), 2), "{wrong:?}");
    let who = format!("{address} (smtp) is taken by integration");
    assert!(
        is_about(&wrong, "ports", &who) && is_about(&wrong, "ports", &format!("(process {})", std::process::id())),
        "{wrong:?}"
    );
    drop(other);
    daemon.start();
    assert_eq!(check(&daemon), (Some(0), Vec::new()));
}

fn names_that_lead_elsewhere() {
    let records = [
        "--host-record=mail.here.test,192.0.2.7",
        "--host-record=mx.other.test,192.0.2.8",
        "--mx-host=here.test,mx.other.test,10",
        "--ptr-record=7.2.0.192.in-addr.arpa,dialup-7.isp.test",
    ];
    let (dns, daemon) = host(&records, "");
    let (_, wrong) = check(&daemon);
    assert!(is_about(&wrong, "dns", "mail for here.test goes to mx.other.test"), "{wrong:?}");
    assert!(is_about(&wrong, "dns", "192.0.2.7 is dialup-7.isp.test, not mail.here.test"), "{wrong:?}");
    drop((dns, daemon));
    let records = [&HERE[..], &["--address=/all.test/127.0.0.2", "--host-record=2.0.0.127.good.test,127.0.0.2"]].concat();
    let (dns, daemon) = host(&records, "[screen]\nblocklists = [\"all.test\", \"good.test\", \"gone.test\"]\n");
    let wrong = check(&daemon).1;
    assert!(is_about(&wrong, "blocklist", "all.test lists everybody"), "{wrong:?}");
    assert!(is_about(&wrong, "blocklist", "gone.test does not list 127.0.0.2"), "{wrong:?}");
    assert!(!wrong.iter().any(|one| one["what"].as_str().unwrap().contains("good.test")), "{wrong:?}");
    drop(dns);
    assert!(is_about(&check(&daemon).1, "dns", "no answer"));
    let (_dns, daemon) = host(&[], "");
    let (_, wrong) = check(&daemon);
    assert!(is_about(&wrong, "dns", "mail.here.test has no address"), "{wrong:?}");
    assert!(is_about(&wrong, "dns", "here.test has no MX record"), "{wrong:?}");
}

fn certificates() {
    let (_dns, daemon) = host(&HERE, "[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n");
    let pair = rcgen::KeyPair::generate().unwrap();
    fs::write(daemon.path("key.pem"), pair.serialize_pem()).unwrap();
    fs::set_permissions(daemon.path("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    assert!(is_about(&check(&daemon).1, "certificate", "cert.pem: No such file"));
    let day = |days: i64| {
        let date =
            (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days)).to_zoned(jiff::tz::TimeZone::UTC).date();
        rcgen::date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    let write = |name: &str, from: i64, until: i64| {
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (day(from), day(until));
        fs::write(daemon.path("cert.pem"), params.self_signed(&pair).unwrap().pem()).unwrap();
    };
    for (name, from, until, what) in [
        ("mail.here.test", -9, -2, "has expired"),
        ("mail.here.test", -9, 13, "expires soon"),
        ("mail.here.test", 2, 90, "does not hold before"),
        ("here.test", -9, 90, "is not for mail.here.test"),
    ] {
        write(name, from, until);
        let (_, wrong) = check(&daemon);
        assert!(wrong.len() == 2 && is_about(&wrong, "certificate", what), "{what}: {wrong:?}");
    }
    write("*.here.test", -9, 17);
    assert_eq!(check(&daemon).1.len(), 1, "only the daemon is down");
    fs::write(daemon.path("key.pem"), rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(is_about(&check(&daemon).1, "certificate", "key.pem"));
    fs::set_permissions(daemon.path("key.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(is_about(&check(&daemon).1, "secrets", "everybody can get at"));
}

fn a_bad_configuration() {
    let daemon = Setup::default().prepare();
    fs::write(daemon.config(), "hostnam = \"x\"\n").unwrap();
    let (code, wrong) = check(&daemon);
    assert_eq!((code, wrong.len()), (Some(1), 1));
    assert!(is_about(&wrong, "config", "hostnam"), "{wrong:?}");
}

fn status(daemon: &Daemon) -> Value {
    let output = daemon.ctl(&["status", "--json"]);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn counters() {
    let route = "[[route]]\ndomain = \"away.test\"\nhost = \"127.0.0.1:9\"\n[smtp]\nrelay_networks = [\"127.0.0.0/8\"]\nmax_message_size = \"9K\"\n";
    let daemon = Setup::default().config(route).start();
    let count = |name: &str| status(&daemon)["counters"][name].as_u64().unwrap_or_else(|| panic!("no counter {name}"));
    assert!(status(&daemon)["counters"].as_object().unwrap().values().all(|count| *count == 0));
    assert!(daemon.send(&["alice@here.test", "bob@here.test"], &letter("x", "x")).starts_with("250"));
    assert!(daemon.send(&["somebody@away.test"], &letter("x", "x")).starts_with("250"));
    assert!(daemon.smtp().send("s@s.test", &["nobody@here.test"], &letter("x", "x")).unwrap().starts_with('5'));
    assert!(daemon.send(&["alice@here.test"], &letter("x", &"too big\r\n".repeat(2000))).starts_with("552"));
    assert_eq!(daemon.mail("alice").len(), 1);
    assert!(crate::common::Pop3::log_in(daemon.at("pop3"), "alice", "wrong").is_err());
    wait_for("a try", 60, || (count("recipients_deferred") == 1).then_some(()));
    for (name, expected) in [
        ("messages_received", 2),
        ("messages_refused", 1),
        ("addresses_refused", 1),
        ("strangers_refused", 0),
        ("recipients_delivered", 2),
        ("recipients_relayed", 0),
        ("recipients_failed", 0),
        ("reports_sent", 0),
        ("logins_ok", 1),
        ("logins_failed", 1),
    ] {
        assert_eq!(count(name), expected, "{name}");
    }
    assert!(status(&daemon)["memory"].as_u64().unwrap() > 1 << 20 && status(&daemon)["threads"].as_u64().unwrap() > 1);
    let text = String::from_utf8_lossy(&daemon.ctl(&["status"]).stdout).into_owned();
    assert!(text.contains("recipients   2 delivered, 0 relayed, 1 deferred, 0 failed\n"), "{text}");
}

fn log_levels() {
    let daemon = Setup::default().start();
    let ctl = |words: &[&str]| {
        let output = daemon.ctl(words);
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let shown = || ctl(&["log"]).1.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(shown(), "all debug");
    assert_eq!(ctl(&["log", "off"]).0, Some(0));
    // A new level of the whole forgets those of modules; a module is one with all inside it.
    assert_eq!(ctl(&["log", "info", "delivery"]).0, Some(0));
    assert_eq!(shown(), "all off delivery info");
    let before = daemon.log().lines().count();
    daemon.send(&["alice@here.test"], &letter("x", "x"));
    daemon.wait_for_log(60, "event=delivered to=<alice@here.test>");
    let log = daemon.log();
    let new: Vec<&str> = log.lines().skip(before).collect();
    assert!(new.iter().all(|line| line.contains(" msg=")), "{new:?}");
    let (code, said) = ctl(&["log", "debug", "kitchen"]);
    assert!(code == Some(64) && said.contains("there is no module kitchen"), "{said}");
    assert_eq!(ctl(&["log", "loud"]).0, Some(64));
    assert_eq!(ctl(&["reload"]).0, Some(0));
    assert_eq!(shown(), "all debug");
}

fn answers_for_programs() {
    let daemon = Setup::default().start();
    let told = |words: &[&str]| -> Value {
        let output = daemon.ctl(words);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{words:?}: {error}: {output:?}"))
    };
    assert_eq!(told(&["user", "list", "--json"]), serde_json::json!(["alice", "bob"]));
    assert_eq!(told(&["log", "--json"]), serde_json::json!({ "": "debug" }));
    assert_eq!(told(&["route", "--json", "alice@here.test"])["to"], "mailbox");
    assert_eq!(told(&["mailbox", "check", "alice", "--json"]), serde_json::json!([]));
    let folders = told(&["mailbox", "list", "alice", "--json"]);
    assert!(folders.as_array().unwrap().iter().any(|folder| folder["name"] == "INBOX"), "{folders}");
    assert_eq!(daemon.ctl(&["reload", "--json"]).status.code(), Some(64));
}

/// The lines of a log that have something in them.
fn lines(daemon: &Daemon, what: &str) -> Vec<String> {
    daemon.log().lines().filter(|line| line.contains(what)).map(str::to_owned).collect()
}

/// The word that stands behind `key` in a line.
fn word<'a>(line: &'a str, key: &str) -> &'a str {
    let rest = line.split_once(key).unwrap_or_else(|| panic!("no {key} in {line}")).1;
    rest.split(|c: char| c.is_whitespace() || c == '"').next().unwrap()
}

fn where_is_my_mail() {
    let second =
        Setup { hostname: "mail.there.test".to_owned(), domains: vec!["there.test".to_owned()], ..Setup::default() }.start();
    let route = format!(
        "[[route]]\ndomain = \"there.test\"\nhost = \"{}\"\n[smtp]\nrelay_networks = [\"127.0.0.0/8\"]\n",
        second.at("smtp")
    );
    let first = Setup::default().config(&route).start();
    let text = b"From: a@here.test\r\nMessage-ID:\r\n <find-me.1@here.test>\r\nSubject: x\r\n\r\nx\r\n";
    assert!(first.smtp().send("a@here.test", &["bob@there.test"], text).unwrap().starts_with("250"));
    second.wait_for_mail("bob", 1, 60);
    // All that is known is the Message-ID. It leads to the id here; that to the session that brought it and to the other host,
    // whose reply has the id there; and that to the mailbox.
    let queued = lines(&first, "message-id=<find-me.1@here.test>");
    assert_eq!(queued.len(), 1, "{queued:?}");
    let id = word(&queued[0], "msg=").to_owned();
    let accepted = lines(&first, &format!("message id={id}"));
    assert!(
        accepted.len() == 1 && !lines(&first, &format!("session={} smtp connect", word(&accepted[0], "session="))).is_empty()
    );
    let left = wait_for("the delivery in the log", 60, || lines(&first, &format!("msg={id} event=delivered")).pop());
    assert!(left.contains("to=<bob@there.test>") && left.contains("Ok: queued as "), "{left}");
    let there = word(&left, "queued as ").to_owned();
    let came = lines(&second, &format!("msg={there} "));
    assert!(came.iter().any(|line| line.contains("message-id=<find-me.1@here.test>")), "{came:?}");
    assert!(
        came.iter().any(|line| line.contains("event=delivered to=<bob@there.test> mailbox=bob folder=INBOX uid=1")),
        "{came:?}"
    );
}

/// A daemon that takes its time, until that is seen.
fn long_work_is_seen_on_a_terminal() {
    let daemon = Setup::default().prepare();
    let listener = UnixListener::bind(daemon.spool().join("ctl.sock")).unwrap();
    let words = format!("{} -f {} mailbox compact alice", env!("CARGO_BIN_EXE_pillarboxctl"), daemon.config().display());
    let mut command = tool("script");
    command.args(["-qec", &words, "/dev/null"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut socket, _) = listener.accept().unwrap();
    let mut request = String::new();
    BufReader::new(&socket).read_line(&mut request).unwrap();
    assert_eq!(request, "mailbox compact alice\r\n");
    let mut out = child.stdout.take().unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("working, 2 s") {
        let mut block = [0; 100];
        let read = out.read(&mut block).unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&block[..read]);
    }
    socket.write_all(b"{\"ok\":true,\"result\":{\"moved\":3,\"freed\":4096}}\r\n").unwrap();
    drop(socket);
    out.read_to_end(&mut seen).unwrap();
    assert!(child.wait().unwrap().success());
    let seen = String::from_utf8_lossy(&seen).into_owned();
    let (_, last) = seen.rsplit_once("\r\x1b[K").unwrap();
    assert!(last.contains(" moved, ") && last.contains(" given back"), "{seen:?}");
}
