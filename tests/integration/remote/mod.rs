//! What becomes of mail for a host that fails, in each of the ways a host can: whether it waits, when it is tried again,
//! what its sender hears; and that none is lost.

mod chance;
mod server;
mod table;

use crate::common::{Daemon, PASSWORD, Setup, Smtp, letter, wait_for};
use serde_json::Value;
use server::{At, Dialect, PART, Server};
use table::{ROWS, Row, Then};

pub fn tests() -> Vec<crate::runner::Test> {
    let own = [
        crate::runner::Test::new(module_path!(), "every_failure_once", every_failure_once),
        crate::runner::Test::new(module_path!(), "every_failure_for_good", every_failure_for_good),
    ];
    own.into_iter().chain(chance::tests()).collect()
}

/// A row in one dialect, with a server and a domain of its own.
struct Case {
    row: &'static Row,
    dialect: Dialect,
    domain: String,
    server: Server,
}

impl Case {
    fn all() -> Vec<Case> {
        let rows = ROWS.iter().flat_map(|row| row.dialects.iter().map(move |dialect| (row, *dialect)));
        let case = |(number, (row, dialect)): (usize, (&'static Row, Dialect))| Case {
            row,
            dialect,
            domain: format!("d{number}.test"),
            server: Server::start(row.at, row.how, dialect),
        };
        rows.enumerate().map(case).collect()
    }

    fn recipients(&self) -> impl Iterator<Item = (&'static str, Then)> {
        ["first", "second"].into_iter().zip(self.row.then)
    }

    fn waits(&self) -> bool {
        self.row.then.iter().any(|then| matches!(then, Then::Waits(_)))
    }

    /// Recipients of which the sender hears at once.
    fn failed(&self) -> usize {
        self.row.then.iter().filter(|then| matches!(then, Then::Fails(_))).count()
    }

    /// How often a recipient's message came whole, and how often it was said so.
    fn given(&self, whom: &str) -> (usize, usize) {
        let given = self.server.given();
        let of = || given.iter().filter(|given| given.to.iter().any(|to| to == whom));
        (of().count(), of().filter(|given| given.taken).count())
    }

    /// For a failed check.
    fn told(&self) -> String {
        format!("{} ({:?} {:?} {:?})", self.domain, self.row.at, self.row.how, self.dialect)
    }
}

/// A daemon that sends each domain to its server, and has a letter from Alice for each of them.
fn daemon(cases: &[Case], queue: &str) -> Daemon {
    let mut config: String = format!("[timeouts]\nremote = \"2s\"\n[queue]\nworkers = 1000\nwarn = \"0s\"\n{queue}\n");
    for Case { domain, server, dialect, .. } in cases {
        let way = if *dialect == Dialect::Lmtp { "lmtp" } else { "host" };
        config += &format!("[[route]]\ndomain = \"{domain}\"\n{way} = \"{}\"\n", server.address);
    }
    let daemon = Setup::default().config(&config).start();
    let mut smtp = Smtp::hello(daemon.at("submission")).unwrap();
    assert!(smtp.log_in("alice", PASSWORD).unwrap().starts_with("235"));
    let big = "a line of text".repeat(5) + "\n";
    let big = big.repeat(30 * PART / big.len());
    for Case { domain, row, .. } in cases {
        let to = [format!("first@{domain}"), format!("second@{domain}")];
        let text = if row.at == At::Body { &big } else { "text" };
        let reply = smtp.send("alice@here.test", &[&to[0], &to[1]], &letter(domain, text)).unwrap();
        assert!(reply.starts_with("250"), "{reply}");
    }
    daemon
}

/// The recipients that wait, by their addresses.
fn waiting(daemon: &Daemon) -> Vec<(String, Value)> {
    let recipients = |message: Value| message["recipients"].as_array().cloned().unwrap_or_default();
    let named = |recipient: Value| (recipient["address"].as_str().unwrap_or_default().to_owned(), recipient);
    daemon.queue().into_iter().flat_map(recipients).map(named).collect()
}

fn seconds(time: &Value) -> i64 {
    time.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok()).map_or(0, |stamp| stamp.as_second())
}

/// Alice's reports that name an address.
fn reports<'a>(mail: &'a [String], address: &str) -> Vec<&'a String> {
    let name = format!("\r\nFinal-Recipient: rfc822; {address}\r\n");
    mail.iter().filter(|report| report.contains(&name)).collect()
}

fn mail(daemon: &Daemon) -> Vec<String> {
    daemon.mail("alice").iter().map(|mail| String::from_utf8_lossy(mail).into_owned()).collect()
}

/// Each server fails until all were tried; then the next try finds it mended.
fn every_failure_once() {
    let mut cases = Case::all();
    let begun = jiff::Timestamp::now().as_second();
    let daemon = daemon(&cases, "retry = [\"1h\"]");
    let expected: usize =
        cases.iter().map(|case| case.row.then.iter().filter(|then| matches!(then, Then::Waits(_))).count()).sum();
    // A first try for all of them, and no second one.
    let queue = wait_for("the first try of all", 100, || {
        let queue = waiting(&daemon);
        let tried = queue.iter().all(|(_, recipient)| recipient["tries"] == 1);
        (tried && queue.len() <= expected).then_some(queue)
    });
    let now = jiff::Timestamp::now().as_second();
    for case in &cases {
        for (whom, then) in case.recipients() {
            let address = format!("{whom}@{}", case.domain);
            let found = queue.iter().find(|(known, _)| *known == address).map(|(_, recipient)| recipient);
            match (then, found) {
                (Then::Waits(why), Some(recipient)) => {
                    let reason = recipient["reason"].as_str().unwrap_or_default();
                    assert!(reason.contains(why), "{}: {address} waits for {reason:?}", case.told());
                    assert!(!reason.contains(char::is_control), "{}: {reason:?}", case.told());
                    let due = seconds(&recipient["due"]);
                    assert!((begun + 3600..=now + 3600).contains(&due), "{}: due {} s from now", case.told(), due - now);
                }
                (Then::Arrives | Then::Fails(_), None) => {}
                (_, found) => panic!("{}: {address} should be {then:?}, and is {found:?}", case.told()),
            }
        }
    }
    let mail = mail(&daemon);
    for case in &cases {
        for (whom, then) in case.recipients() {
            let reports = reports(&mail, &format!("{whom}@{}", case.domain));
            match then {
                Then::Fails(status) => {
                    let told = format!("\r\nAction: failed\r\nStatus: {status}\r\n");
                    assert!(reports.len() == 1 && reports[0].contains(&told), "{}: {whom}: {reports:?}", case.told());
                }
                Then::Arrives | Then::Waits(_) => assert!(reports.is_empty(), "{}: {whom}: {reports:?}", case.told()),
            }
        }
    }
    assert_eq!(mail.len(), cases.iter().filter(|case| case.failed() > 0).count(), "a report for each message");
    let before: Vec<usize> = cases.iter().map(|case| case.server.connections()).collect();
    cases.iter_mut().for_each(|case| case.server.mend());
    assert!(daemon.ctl(&["queue", "flush"]).status.success());
    wait_for("an empty queue", 100, || daemon.queue().is_empty().then_some(()));
    for (case, before) in cases.iter().zip(before) {
        for (whom, then) in case.recipients() {
            // One that said nothing after the message got it twice.
            let lost = usize::from(case.row.at == At::Dot || case.row.at == At::Each && whom == "second");
            let expected = match then {
                Then::Fails(_) => (lost, 0),
                Then::Arrives => (1, 1),
                Then::Waits(_) => (1 + lost, 1),
            };
            assert_eq!(case.given(whom), expected, "{}: {whom}", case.told());
        }
        let more = case.server.connections() - before;
        assert_eq!(more, usize::from(case.waits()), "{}: connections of the second try", case.told());
    }
    assert_eq!(daemon.mail("alice").len(), mail.len(), "no further report");
}

/// No server is ever mended: whatever waited is given up, each of it in one report.
fn every_failure_for_good() {
    let cases = Case::all();
    let daemon = daemon(&cases, "retry = [\"1s\"]\nlifetime = \"3s\"");
    wait_for("an empty queue", 200, || daemon.queue().is_empty().then_some(()));
    let mail = mail(&daemon);
    for case in &cases {
        for (whom, then) in case.recipients() {
            let reports = reports(&mail, &format!("{whom}@{}", case.domain));
            let status = match then {
                Then::Arrives => {
                    assert!(reports.is_empty(), "{}: {whom}: {reports:?}", case.told());
                    continue;
                }
                Then::Waits(_) => "4.4.7",
                Then::Fails(status) => status,
            };
            let told = format!("\r\nAction: failed\r\nStatus: {status}\r\n");
            assert!(reports.len() == 1 && reports[0].contains(&told), "{}: {whom}: {reports:?}", case.told());
            let tries = if let Then::Waits(_) = then { 3..=5 } else { 1..=2 };
            assert!(
                case.row.at == At::Connect || tries.contains(&case.server.connections()),
                "{}: {}",
                case.told(),
                case.server.connections()
            );
        }
    }
}
