//! Domains that want to hear of it are told of the mail that came in their name (DMARC aggregate reports): each day one letter, with
//! what came, and nothing else. A day ends here when its file gets the name of the day before the last.

use crate::common::{Daemon, NameServer, Setup, Sink, fixed_port, run, tool, top, wait_for, watch_for, with_input};
use crate::trust::{client, signed, verified};
use pillarbox::sys::{Clock, SystemClock};
use pillarbox::trust::dkim::SigningKey;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

crate::tests![a_day_is_told, a_report_is_sent_once, nothing_is_told_unless_it_is_switched_on];

const KEY: &[u8] = include_bytes!("../trust/ed25519.pem");

/// A host that takes mail for here.test from anywhere, and sends all other to the sink.
fn host(names: &NameServer, sink: &Sink, domains: &[String], trust: &str) -> (Daemon, SocketAddr) {
    let at = SocketAddr::from(([127, 0, 0, 1], fixed_port()));
    let routes: String =
        domains.iter().map(|domain| format!("[[route]]\ndomain = \"{domain}\"\nhost = \"{}\"\n", sink.address)).collect();
    let config = format!(
        "[[listen]]\naddress = \"{at}\"\nprotocol = \"smtp\"\ntls = \"none\"\nproxy = [\"127.0.0.0/8\"]\n{routes}\
         [[dkim]]\ndomain = \"here.test\"\nselector = \"h\"\nkey = \"h.pem\"\n[trust]\n{trust}\n"
    );
    let options = vec![format!("dns.servers=[\"{}\"]", names.address)];
    let mut daemon = Setup { options, ..Setup::default().config(&config) }.prepare();
    fs::write(daemon.path("h.pem"), KEY).unwrap();
    fs::set_permissions(daemon.path("h.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    daemon.start();
    (daemon, at)
}

fn send(at: SocketAddr, ip: &str, sender: &str, message: &[u8]) -> String {
    client(at, ip).send(sender, &["alice@here.test"], message).unwrap()
}

fn plain(author: &str) -> Vec<u8> {
    format!("From: {author}\r\nSubject: x\r\n\r\nHi\r\n").into_bytes()
}

fn dir(daemon: &Daemon) -> PathBuf {
    daemon.spool().join("dmarc/mail.here.test")
}

/// The day is over, of a daemon that does not run. Gives its number, and its file.
fn end_day(daemon: &Daemon) -> (i64, PathBuf) {
    let today = SystemClock::default().now().seconds().div_euclid(86_400);
    // Midnight may have come since.
    let file = [today, today - 1].map(|day| dir(daemon).join(day.to_string())).into_iter().find(|file| file.exists()).unwrap();
    let past = dir(daemon).join((today - 2).to_string());
    fs::rename(file, &past).unwrap();
    (today - 2, past)
}

/// A letter taken apart: its fields, and each text of the report with the names of what it stands in.
const READER: &str = r#"
import email, email.policy, gzip, sys, xml.etree.ElementTree as tree
letter = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
print("Subject:", " ".join(letter["Subject"].split()))
print("From:", letter["From"])
(part,) = [part for part in letter.walk() if part.get_content_type() == "application/gzip"]
print("file:", part.get_filename())
def tell(path, element):
    if len(element) == 0:
        print(path + element.tag + ":", element.text)
    for child in element:
        tell(path + element.tag + " ", child)
report = gzip.decompress(part.get_content())
for element in tree.fromstring(report):
    tell("", element)
open(sys.argv[1], "wb").write(report)
"#;

/// What a report says, which is as the schema of RFC 7489 wants it.
fn read(letter: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut python = tool("python3");
    python.args(["-c", READER]).arg(file.path());
    let output = with_input(python, letter);
    assert!(output.status.success(), "{output:?}");
    run(tool("xmllint").args(["--noout", "--nonet", "--schema"]).arg(top().join("tests/trust/dmarc.xsd")).arg(file.path()));
    String::from_utf8(output.stdout).unwrap()
}

fn a_day_is_told() {
    let _ = (tool("python3"), tool("xmllint"));
    let key = SigningKey::from_pem(KEY).unwrap().record();
    let names = NameServer::start(&[
        &format!("--txt-record=s1._domainkey.a.test,{key}"),
        &format!("--txt-record=h._domainkey.here.test,{key}"),
        "--txt-record=a.test,v=spf1 ip4:192.0.2.1 -all",
        "--txt-record=_dmarc.a.test,v=DMARC1; p=reject; sp=quarantine; aspf=s; rua=mailto:r@a.test!1m",
        // One elsewhere wants them, the other does not; one has no room, one is no mailbox, one is in a name that is none.
        "--txt-record=_dmarc.b.test,v=DMARC1; p=none; rua=mailto:b@monitor.test",
        "--txt-record=b.test._report._dmarc.monitor.test,v=DMARC1",
        "--txt-record=_dmarc.c.test,v=DMARC1; p=none; rua=mailto:c@monitor.test",
        "--txt-record=_dmarc.d.test,v=DMARC1; p=none; rua=mailto:r@d.test!10",
        "--txt-record=_dmarc.e.test,v=DMARC1; p=none; rua=https://e.test/r",
    ]);
    let sink = Sink::start();
    let domains = ["a.test", "d.test", "e.test", "monitor.test"].map(str::to_owned);
    let (mut daemon, at) = host(&names, &sink, &domains, "dmarc = \"reject\"\ndmarc_reports = \"on\"");
    for _ in 0..2 {
        assert!(send(at, "192.0.2.1", "u@a.test", &signed("u@a.test", "Hi\n")).starts_with("250"));
    }
    assert!(send(at, "192.0.2.2", "u@a.test", &plain("u@a.test")).starts_with("550"));
    assert!(send(at, "192.0.2.3", "", &plain("u@sub.a.test")).starts_with("250"));
    for author in ["u@b.test", "u@c.test", "u@d.test", "u@e.test", "\"&<x>\"@b.test", "u@<&>.test", "u@unknown.test"] {
        assert!(send(at, "192.0.2.9", "s@other.test", &plain(author)).starts_with("250"), "{author}");
    }
    // Of reports nothing is told.
    let report = "From: u@b.test\r\nSubject: Report Domain: here.test\r\n Submitter: b.test Report-ID: <1@b.test>\r\n\r\nHi\r\n";
    assert!(send(at, "192.0.2.9", "", report.as_bytes()).starts_with("250"));
    daemon.kill();
    let (day, file) = end_day(&daemon);
    daemon.start();
    wait_for("all to be told", 60, || (!file.exists()).then_some(()));
    wait_for("two letters", 60, || (sink.count() >= 2 && daemon.queue().is_empty()).then_some(()));
    let arrived: BTreeMap<_, _> = sink.arrived().into_iter().map(|one| (one.to.join(" "), one)).collect();
    assert_eq!(arrived.keys().collect::<Vec<_>>(), ["<b@monitor.test>", "<r@a.test>"]);
    let (begin, end) = (day * 86_400, day * 86_400 + 86_399);
    let row = |ip: &str, count: u32, evaluated: &str, from: &str, author: &str, results: &str| {
        let mut lines = format!("record row source_ip: {ip}\nrecord row count: {count}\n");
        for line in evaluated.split('|') {
            lines += &format!("record row policy_evaluated {line}\n");
        }
        lines += &format!("record identifiers envelope_from: {from}\nrecord identifiers header_from: {author}\n");
        for line in results.split('|') {
            lines += &format!("record auth_results {line}\n");
        }
        lines
    };
    let top = |domain: &str, policy: &str| {
        let mut lines = format!(
            "Subject: Report Domain: {domain} Submitter: mail.here.test Report-ID: <{begin}.{domain}@mail.here.test>\n\
             From: DMARC reports <postmaster@here.test>\n\
             file: mail.here.test!{domain}!{begin}!{end}.xml.gz\n\
             version: 1.0\n\
             report_metadata org_name: mail.here.test\n\
             report_metadata email: postmaster@here.test\n\
             report_metadata report_id: {begin}.{domain}@mail.here.test\n\
             report_metadata date_range begin: {begin}\n\
             report_metadata date_range end: {end}\n\
             policy_published domain: {domain}\n"
        );
        for line in policy.split(' ') {
            lines += &format!("policy_published {}\n", line.replace('=', ": "));
        }
        lines
    };
    let expected = top("a.test", "adkim=r aspf=s p=reject sp=quarantine pct=100 fo=0")
        + &row(
            "192.0.2.1",
            2,
            "disposition: none|dkim: pass|spf: pass",
            "a.test",
            "a.test",
            "dkim domain: a.test|dkim selector: s1|dkim result: pass|spf domain: a.test|spf scope: mfrom|spf result: pass",
        )
        + &row(
            "192.0.2.2",
            1,
            "disposition: reject|dkim: fail|spf: fail",
            "a.test",
            "a.test",
            "spf domain: a.test|spf scope: mfrom|spf result: fail",
        )
        + &row(
            "192.0.2.3",
            1,
            "disposition: none|dkim: fail|spf: fail|reason type: local_policy|\
             reason comment: quarantine was wanted: taken, and marked as failed",
            "None",
            "sub.a.test",
            "spf domain: mx.a.test|spf scope: helo|spf result: none",
        );
    let letter = &arrived["<r@a.test>"];
    assert_eq!(read(&letter.message), expected);
    let expected = top("b.test", "adkim=r aspf=r p=none sp=none pct=100 fo=0")
        + &row(
            "192.0.2.9",
            2,
            "disposition: none|dkim: fail|spf: fail",
            "other.test",
            "b.test",
            "spf domain: other.test|spf scope: mfrom|spf result: none",
        );
    assert_eq!(read(&arrived["<b@monitor.test>"].message), expected);
    assert!(letter.from.starts_with("<>"), "{}", letter.from);
    assert_eq!(verified(&letter.message, &names), ["pass ed25519-sha256"]);
    for why in [
        "event=dmarc-ignored domain=c.test to=\"mailto:c@monitor.test\" reason=\"monitor.test does not say that it wants them\"",
        "event=dmarc-ignored domain=d.test to=<r@d.test> reason=",
        "event=dmarc-ignored domain=e.test to=\"https://e.test/r\" reason=\"it is no mailto\"",
        "event=dmarc-unwanted domain=c.test",
    ] {
        assert!(daemon.log().contains(why), "{why}");
    }
}

/// However often it is killed.
fn a_report_is_sent_once() {
    let domains: Vec<String> = (0..40).map(|number| format!("d{number}.test")).collect();
    let records: Vec<String> =
        domains.iter().map(|domain| format!("--txt-record=_dmarc.{domain},v=DMARC1; p=none; rua=mailto:r@{domain}")).collect();
    let names = NameServer::start(&records.iter().map(String::as_str).collect::<Vec<_>>());
    let sink = Sink::start();
    let (mut daemon, at) = host(&names, &sink, &domains, "dmarc_reports = \"on\"");
    for domain in &domains {
        assert!(send(at, "192.0.2.9", "s@other.test", &plain(&format!("u@{domain}"))).starts_with("250"));
    }
    daemon.kill();
    let (_, file) = end_day(&daemon);
    for _ in 0..8 {
        let before = sink.count();
        daemon.start();
        watch_for("the next letter", 60, || (sink.count() > before || !file.exists()).then_some(()));
        daemon.kill();
    }
    daemon.start();
    wait_for("all to be told", 60, || (!file.exists() && daemon.queue().is_empty()).then_some(()));
    let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for one in sink.arrived() {
        let text = String::from_utf8(one.message).unwrap();
        let id = text.lines().find(|line| line.starts_with("Message-ID:")).unwrap().to_owned();
        ids.entry(one.to.join(" ")).or_default().insert(id);
    }
    assert_eq!(ids.len(), domains.len());
    // What the sink took when the daemon was killed comes again: it is the same letter.
    assert!(ids.values().all(|ids| ids.len() == 1), "{ids:?}");
}

fn nothing_is_told_unless_it_is_switched_on() {
    let names = NameServer::start(&["--txt-record=_dmarc.b.test,v=DMARC1; p=none; rua=mailto:r@b.test"]);
    let sink = Sink::start();
    let (daemon, at) = host(&names, &sink, &["b.test".to_owned()], "");
    assert!(send(at, "192.0.2.9", "s@other.test", &plain("u@b.test")).starts_with("250"));
    assert!(
        daemon.log().contains("dmarc=fail author=b.test") && fs::read_dir(daemon.spool().join("dmarc")).unwrap().next().is_none()
    );
}
