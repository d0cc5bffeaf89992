//! The story of the classic picture: Alice writes through her server, Bob reads on his, and what happens
//! when his is away. Two daemons, a real DNS server, and the programs people use.

use crate::common::{Daemon, NameServer, PASSWORD, Setup, base64, find_tool, fixed_port, run, tool, wait_for};
use crate::runner::note;
use serde_json::Value;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

crate::tests![
    alice_writes_bob_reads,
    bobs_server_is_away_and_comes_back,
    lifetime_ends_and_alice_is_told,
    alice_is_warned_of_a_delay,
    bob_is_unknown_and_alice_is_told,
    null_mx_and_missing_domains_fail_at_once,
    the_smarthost_wants_a_login,
    the_fallback_takes_what_cannot_go_directly,
];

/// What is known of the hosts of these stories.
fn name_server() -> NameServer {
    NameServer::start(&[
        "--mx-host=a.test,mail.a.test,10",
        "--mx-host=b.test,gone.b.test,5",
        "--mx-host=b.test,mail.b.test,10",
        "--host-record=mail.a.test,127.0.0.1",
        "--host-record=mail.b.test,127.0.0.1",
        "--host-record=onlya.test,127.0.0.1",
        "--cname=alias.test,mail.b.test",
        "--mx-host=null.test,.,0",
    ])
}

/// Alice's server, which asks `dns` and finds other hosts' SMTP at `port`.
fn alices(dns: &NameServer, port: u16, queue: &[&str]) -> Daemon {
    let mut options = vec![format!("dns.servers=[\"{}\"]", dns.address), format!("queue.smtp_port={port}")];
    options.extend(queue.iter().map(|option| format!("queue.{option}")));
    let setup = Setup { hostname: "mail.a.test".into(), domains: vec!["a.test".into()], options, ..Setup::default() };
    setup.users(&["alice"]).start()
}

fn bobs() -> Daemon {
    let setup = Setup {
        hostname: "mail.b.test".into(),
        domains: vec!["b.test".into(), "onlya.test".into(), "mail.b.test".into()],
        ..Setup::default()
    };
    // His login sends for all of Alice's server, where that is asked of her. He comes back where he was, and nobody else is there
    // meanwhile.
    let granted = "[[sender]]\nuser = \"bob\"\naddresses = [\"a.test\"]\n";
    let mut daemon = setup.users(&["bob"]).config(granted).prepare();
    daemon.pin_ports();
    daemon.start();
    daemon
}

/// Alice submits with curl, over STARTTLS.
fn submit_with_curl(alices: &Daemon, to: &str, subject: &str, body: &str) {
    let file = alices.path("letter");
    fs::write(&file, format!("From: Alice <alice@a.test>\r\nTo: <{to}>\r\nSubject: {subject}\r\n\r\n{body}\r\n")).unwrap();
    let mut curl = tool("curl");
    curl.args(["--silent", "--show-error", "--max-time", "30", "--ssl-reqd", "--insecure", "--noproxy", "*"]);
    curl.arg("--url").arg(format!("smtp://{}/client.a.test", alices.at("submission")));
    curl.args(["--user", &format!("alice:{PASSWORD}"), "--mail-from", "alice@a.test", "--mail-rcpt", to]);
    run(curl.arg("--upload-file").arg(file));
}

/// Alice submits with swaks.
fn submit_with_swaks(alices: &Daemon, to: &str, subject: &str, body: &str) {
    let mut swaks = tool("swaks");
    swaks.args(["--server", &alices.at("submission").to_string(), "--ehlo", "client.a.test", "--timeout", "30s"]);
    swaks.args(["--auth", "PLAIN", "--auth-user", "alice", "--auth-password", PASSWORD, "--from", "alice@a.test", "--to", to]);
    run(swaks.args(["--header", &format!("Subject: {subject}"), "--body", body]));
}

/// Bob's mail as curl fetches it.
fn read_with_curl(bobs: &Daemon, number: usize) -> String {
    let mut curl = tool("curl");
    curl.args(["--silent", "--show-error", "--max-time", "30", "--ssl-reqd", "--insecure", "--noproxy", "*"]);
    curl.args(["--user", &format!("bob:{PASSWORD}")]).arg(format!("pop3://{}/{number}", bobs.at("pop3")));
    String::from_utf8_lossy(&run(&mut curl).stdout).into_owned()
}

/// A program in Python, with arguments; what it prints.
fn python(script: &str, arguments: &[String]) -> String {
    let output = run(tool("python3").arg("-c").arg(script).args(arguments));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Bob's mail as Python's poplib fetches it over TLS, removing it: the subjects.
fn read_with_poplib(bobs: &Daemon) -> String {
    let script = "
import email, poplib, ssl, sys
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
box = poplib.POP3_SSL('127.0.0.1', int(sys.argv[1]), context=context, timeout=30)
box.user('bob'); box.pass_(sys.argv[2])
for number in range(1, box.stat()[0] + 1):
    message = email.message_from_bytes(b'\\n'.join(box.retr(number)[1]))
    print(message['Subject'], '|', message.get_payload().strip())
    box.dele(number)
box.quit()
";
    python(script, &[bobs.at("pop3s").port().to_string(), PASSWORD.to_owned()])
}

fn alice_writes_bob_reads() {
    let dns = name_server();
    let bobs = bobs();
    let alices = alices(&dns, bobs.at("smtp").port(), &[]);
    submit_with_curl(&alices, "bob@b.test", "By curl", "Hello Bob.");
    let first = bobs.wait_for_mail("bob", 1, 60);
    submit_with_swaks(&alices, "bob@b.test", "By swaks", "Hello again.");
    bobs.wait_for_mail("bob", 2, 60);
    submit_with_curl(&alices, "bob@onlya.test", "By address alone", "No MX there.");
    bobs.wait_for_mail("bob", 3, 60);
    submit_with_curl(&alices, "bob@alias.test", "By alias", "A CNAME.");
    // The alias is no domain of Bob's server, so it is refused there: Alice is told.
    let report = alices.wait_for_mail("alice", 1, 60);
    assert!(String::from_utf8_lossy(&report[0]).contains("bob@alias.test"));

    let text = read_with_curl(&bobs, 1);
    for part in
        ["Return-Path: <alice@a.test>", "Delivered-To: bob@b.test", "Subject: By curl", "Hello Bob.", "Message-ID: <", "Date: "]
    {
        assert!(text.to_lowercase().contains(&part.to_lowercase()), "{part} is not in\n{text}");
    }
    assert_eq!(text.matches("Received: ").count(), 2, "{text}");
    // From client to server and from server to server: encrypted, since both sides can.
    assert!(text.contains("with ESMTPSA") && text.contains("with ESMTPS "), "{text}");
    assert_eq!(first[0], text.replace("\r\n", "\n").replace('\n', "\r\n").into_bytes());
    let subjects = read_with_poplib(&bobs);
    assert_eq!(subjects, "By curl | Hello Bob.\nBy swaks | Hello again.\nBy address alone | No MX there.\n");
    assert_eq!(bobs.mail("bob").len(), 0);
    wait_for("an empty queue", 60, || alices.queue().is_empty().then_some(()));
}

fn bobs_server_is_away_and_comes_back() {
    let dns = name_server();
    let mut bobs = bobs();
    let alices = alices(&dns, bobs.at("smtp").port(), &["retry=[\"1s\", \"2s\"]"]);
    assert!(bobs.stop().success());
    let begun = Instant::now();
    submit_with_curl(&alices, "bob@b.test", "Patience", "Later.");
    let entry = wait_for("two tries", 60, || {
        let queue = alices.queue();
        queue.into_iter().next().filter(|entry| tries(entry) >= 2)
    });
    assert!(begun.elapsed() >= Duration::from_secs(1), "the second try came too early");
    let text = entry.to_string();
    assert!(text.contains("bob@b.test") && text.contains("alice@a.test"), "{text}");
    let listed = alices.ctl(&["queue", "list"]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("bob@b.test"), "{listed:?}");
    bobs.start();
    let mail = bobs.wait_for_mail("bob", 1, 60);
    assert!(String::from_utf8_lossy(&mail[0]).contains("Subject: Patience"));
    wait_for("an empty queue", 60, || alices.queue().is_empty().then_some(()));
    assert_eq!(bobs.mail("bob").len(), 1);
    assert_eq!(alices.mail("alice").len(), 0, "nobody was to be told anything");
}

/// How often the first recipient of a queue entry was tried.
fn tries(entry: &Value) -> u64 {
    let recipients = entry["recipients"].as_array().unwrap_or_else(|| panic!("no recipients in {entry}"));
    recipients.first().and_then(|recipient| recipient["tries"].as_u64()).unwrap_or_else(|| panic!("no tries in {entry}"))
}

/// What an RFC 3464 report says, by Python's `email` package: one `key=value` a line.
fn parsed_report(message: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), message).unwrap();
    let script = "
import email, email.policy, sys
message = email.message_from_binary_file(open(sys.argv[1], 'rb'), policy=email.policy.default)
print('type=' + message.get_content_type(), message.get_param('report-type'))
print('from=' + message['From']); print('to=' + message['To']); print('return=' + message['Return-Path'])
print('auto=' + str(message['Auto-Submitted']))
parts = list(message.iter_parts())
print('parts=' + ' '.join(part.get_content_type() for part in parts))
for group in parts[1].get_payload():
    for name, value in group.items():
        print('%s=%s' % (name.lower(), ' '.join(value.split())))
print('original=' + ' '.join(str(parts[2].get_payload()).split()))
print('defects=' + ' '.join(str(type(d).__name__) for part in message.walk() for d in part.defects))
";
    let text = python(script, &[file.path().to_string_lossy().into_owned()]);
    note(format!("{text}\n{}", String::from_utf8_lossy(message)));
    text
}

fn value<'a>(report: &'a str, name: &str) -> &'a str {
    report.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_else(|| panic!("no {name} in\n{report}"))
}

/// Checks what every report must have; gives it parsed.
fn check_report(message: &[u8], action: &str, status: &str, recipient: &str, subject: &str) -> String {
    let report = parsed_report(message);
    assert_eq!(value(&report, "type"), "multipart/report delivery-status");
    assert_eq!(value(&report, "return"), "<>");
    assert!(value(&report, "to").contains("alice@a.test"));
    assert!(value(&report, "auto").starts_with("auto-"), "{report}");
    let parts: Vec<&str> = value(&report, "parts").split(' ').collect();
    assert_eq!(parts[..2], ["text/plain", "message/delivery-status"]);
    assert!(matches!(parts[2], "text/rfc822-headers" | "message/rfc822"), "{parts:?}");
    assert_eq!(value(&report, "reporting-mta").to_lowercase().replace(' ', ""), "dns;mail.a.test");
    assert!(!value(&report, "arrival-date").is_empty());
    assert_eq!(value(&report, "final-recipient").to_lowercase().replace(' ', ""), format!("rfc822;{recipient}"));
    assert_eq!(value(&report, "action"), action);
    assert!(value(&report, "status").starts_with(status), "{report}");
    assert!(value(&report, "original").contains(&format!("Subject: {subject}")), "{report}");
    assert_eq!(value(&report, "defects"), "");
    report
}

fn lifetime_ends_and_alice_is_told() {
    need_python();
    let dns = name_server();
    let mut bobs = bobs();
    let alices = alices(&dns, bobs.at("smtp").port(), &["retry=[\"1s\"]", "lifetime=\"3s\"", "warn=\"0s\""]);
    assert!(bobs.stop().success());
    submit_with_curl(&alices, "bob@b.test", "In vain", "Never.");
    let mail = alices.wait_for_mail("alice", 1, 60);
    check_report(&mail[0], "failed", "4.", "bob@b.test", "In vain");
    wait_for("an empty queue", 60, || alices.queue().is_empty().then_some(()));
    bobs.start();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!((alices.mail("alice").len(), bobs.mail("bob").len()), (1, 0));
}

fn alice_is_warned_of_a_delay() {
    need_python();
    let dns = name_server();
    let mut bobs = bobs();
    let alices = alices(&dns, bobs.at("smtp").port(), &["retry=[\"1s\"]", "warn=\"1s\""]);
    assert!(bobs.stop().success());
    submit_with_curl(&alices, "bob@b.test", "Slow", "Soon.");
    let mail = alices.wait_for_mail("alice", 1, 60);
    check_report(&mail[0], "delayed", "4.", "bob@b.test", "Slow");
    bobs.start();
    bobs.wait_for_mail("bob", 1, 60);
    wait_for("an empty queue", 60, || alices.queue().is_empty().then_some(()));
    assert_eq!(alices.mail("alice").len(), 1, "one warning, no more");
}

fn bob_is_unknown_and_alice_is_told() {
    need_python();
    let dns = name_server();
    let bobs = bobs();
    let alices = alices(&dns, bobs.at("smtp").port(), &[]);
    submit_with_curl(&alices, "bobby@b.test", "Who", "Nobody.");
    let mail = alices.wait_for_mail("alice", 1, 60);
    let report = check_report(&mail[0], "failed", "5.1.1", "bobby@b.test", "Who");
    assert!(value(&report, "diagnostic-code").to_lowercase().starts_with("smtp"), "{report}");
    assert!(value(&report, "remote-mta").contains("mail.b.test"), "{report}");
}

fn null_mx_and_missing_domains_fail_at_once() {
    need_python();
    let dns = name_server();
    let alices = alices(&dns, 9, &[]);
    submit_with_curl(&alices, "bob@null.test", "To nowhere", "RFC 7505.");
    let mail = alices.wait_for_mail("alice", 1, 60);
    check_report(&mail[0], "failed", "5.1.10", "bob@null.test", "To nowhere");
    submit_with_curl(&alices, "bob@nosuch.test", "To nobody", "NXDOMAIN.");
    let mail = alices.wait_for_mail("alice", 2, 60);
    check_report(&mail[1], "failed", "5.1.2", "bob@nosuch.test", "To nobody");
    wait_for("an empty queue", 60, || alices.queue().is_empty().then_some(()));
}

fn need_python() {
    if find_tool("python3").is_none() {
        drop::<Command>(tool("python3"));
    }
}

/// All of Alice's mail goes over Bob's submission service, where she has to log in, and his server has to prove its name.
fn the_smarthost_wants_a_login() {
    let dns = name_server();
    let bobs = bobs();
    let login = bobs.path("login");
    let write = |password: &str| {
        fs::write(&login, format!("bob\n{password}\n")).unwrap();
        fs::set_permissions(&login, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    };
    write("wrong");
    let certificate = bobs.spool().join("tls/cert.pem");
    for (service, tls) in [("submission", "verify"), ("submissions", "implicit")] {
        let host = format!("mail.b.test:{}", bobs.at(service).port());
        let way = format!("[queue]\nsmarthost = \"{host}\"\n[[relay]]\nhost = \"{host}\"\ntls = \"{tls}\"\nlogin = {login:?}\n");
        let options = [format!("dns.servers=[\"{}\"]", dns.address)].into();
        let setup = Setup { hostname: "mail.a.test".into(), domains: vec!["a.test".into()], options, ..Setup::default() };
        let mut alices = setup.users(&["alice"]).config(&way).start();
        write("wrong");
        // Nobody knows who has signed that certificate: no password is told to its server.
        let seen = || bobs.log().matches("auth ").count();
        let before = seen();
        submit_with_curl(&alices, "bob@b.test", tls, "Through my provider.");
        let waits = |what: &str| {
            wait_for(what, 60, || alices.queue().first().is_some_and(|entry| entry.to_string().contains(what)).then_some(()));
        };
        waits("4.7.5");
        assert_eq!(seen(), before);
        // With somebody who vouches for it, but the wrong password.
        alices.stop();
        fs::write(alices.config(), alices.config_text(&format!("{way}ca = {certificate:?}\n"))).unwrap();
        alices.start();
        alices.ctl(&["queue", "flush"]);
        let waits = |what: &str| {
            wait_for(what, 60, || alices.queue().first().is_some_and(|entry| entry.to_string().contains(what)).then_some(()));
        };
        waits("535 5.7.8");
        let count = bobs.mail("bob").len();
        // The right one is known at once. (A few failures make logging in slow.)
        write(PASSWORD);
        alices.ctl(&["queue", "flush"]);
        let mail = bobs.wait_for_mail("bob", count + 1, 60).remove(count);
        let text = String::from_utf8_lossy(&mail).into_owned();
        assert!(text.contains("with ESMTPSA") && text.contains(&format!("Subject: {tls}")), "{text}");
        // As it went over the wire.
        let told = base64(format!("\0bob\0{PASSWORD}").as_bytes());
        assert!(!alices.log().contains(&told) && !alices.log().contains("=secret"));
    }
}

/// What no host of its domain can be reached for goes to another, which takes it.
fn the_fallback_takes_what_cannot_go_directly() {
    let dns = name_server();
    let bobs = bobs();
    let nowhere = fixed_port();
    let fallback = format!("fallback=127.0.0.1:{}", bobs.at("smtp").port());
    let alices = alices(&dns, nowhere, &[&fallback]);
    submit_with_curl(&alices, "bob@b.test", "Round about", "Nobody is at home.");
    let mail = bobs.wait_for_mail("bob", 1, 60);
    assert!(String::from_utf8_lossy(&mail[0]).contains("Subject: Round about"));
    wait_for("an empty queue", 60, || alices.queue().is_empty().then_some(()));
    // What does not exist at all is not the fallback's affair.
    submit_with_curl(&alices, "bob@nonexistent.test", "Nowhere", "No such domain.");
    let report = alices.wait_for_mail("alice", 1, 60);
    assert!(String::from_utf8_lossy(&report[0]).contains("5.1.2"));
}
