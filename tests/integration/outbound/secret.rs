//! REQUIRETLS and `TLS-Required: No` (RFC 8689): what is secret goes only where it stays so, and comes back else.

use super::certificates::{publish, self_signed};
use super::host::Host;
use super::policies::{PolicyHost, policy};
use super::sts::{Stage, delivered};
use super::{local, reason};
use crate::common::{Daemon, PASSWORD, base64, wait_for};
use pillarbox::net::tls::ClientTls;
use pillarbox::net::{Connection, Line};
use std::fs;
use std::time::Duration;

crate::tests![
    it_goes_where_it_stays_secret_and_comes_back_else,
    it_stays_secret_by_an_alias_and_over_a_kill,
    what_comes_back_is_as_secret_as_can_be,
    encryption_can_be_waived,
];

/// A session under TLS.
struct Secret(Connection);

impl Secret {
    /// Logged in as alice.
    fn submission(daemon: &Daemon) -> Secret {
        let mut secret = Secret::to(daemon, "submissions", true);
        secret.say(&format!("AUTH PLAIN {}", base64(format!("\0alice\0{PASSWORD}").as_bytes())), "235");
        secret
    }

    /// As another host.
    fn host(daemon: &Daemon) -> Secret {
        Secret::to(daemon, "smtp", false)
    }

    fn to(daemon: &Daemon, name: &str, implicit: bool) -> Secret {
        let mut secret = Secret(Connection::connect(daemon.at(name), Duration::from_secs(30)).unwrap());
        secret.0.set_timeout(Duration::from_secs(60));
        if !implicit {
            secret.reply("220");
            let said = secret.say("EHLO client.test", "250");
            assert!(!said.contains("REQUIRETLS"), "{said}");
            secret.say("MAIL FROM:<x@client.test> REQUIRETLS", "530 5.7.10");
            secret.say("STARTTLS", "220");
        }
        secret.0.start_tls(&ClientTls::opportunistic(), "mail.here.test").unwrap();
        if implicit {
            secret.reply("220");
        }
        let said = secret.say("EHLO client.test", "250");
        assert!(said.contains("REQUIRETLS"), "{said}");
        secret
    }

    fn reply(&mut self, code: &str) -> String {
        let (mut all, mut line) = (String::new(), Vec::new());
        loop {
            assert!(matches!(self.0.read_line(1000, &mut line), Ok(Line::Whole)), "after {all}");
            let text = String::from_utf8_lossy(&line).into_owned();
            all.push_str(&text);
            all.push('\n');
            if text.get(3..4) != Some("-") {
                assert!(text.starts_with(code), "{code}: {all}");
                return all;
            }
        }
    }

    fn say(&mut self, line: &str, code: &str) -> String {
        self.0.put(format!("{line}\r\n").as_bytes()).unwrap();
        self.0.flush().unwrap();
        self.reply(code)
    }

    fn send(&mut self, from: &str, to: &str, parameters: &str, head: &str) {
        self.say(&format!("MAIL FROM:<{from}>{parameters}"), "250");
        self.say(&format!("RCPT TO:<{to}>"), "250");
        self.say("DATA", "354");
        self.say(&format!("From: {from}\r\n{head}Subject: {to}\r\n\r\nthe text\r\n."), "250");
    }
}

/// The host of a domain with a policy that names it.
fn with_policy(stage: &Stage, number: u8, keeps_secrets: bool) -> (Host, PolicyHost) {
    let certificate = stage.authority.vouch(&format!("mx{number}.test"));
    let host = stage.host(number, Some(&certificate));
    if keeps_secrets {
        host.keep_secrets();
    }
    let name = format!("mta-sts.d{number}.test");
    let policy = policy("enforce", &[&format!("mx{number}.test")]);
    let policies = stage.policy(number, &stage.authority.vouch(&name), policy);
    (host, policies)
}

/// The report to alice about mail for this address.
fn report(daemon: &Daemon, to: &str) -> String {
    let is_it = |text: &String| text.contains("Action: failed") && text.contains(&format!("Final-Recipient: rfc822; {to}"));
    let all = || daemon.mail("alice").into_iter().map(|message| String::from_utf8_lossy(&message).into_owned());
    wait_for(&format!("the report on {to}"), 30, || all().find(is_it))
}

fn it_goes_where_it_stays_secret_and_comes_back_else() {
    let stage = Stage::new();
    let (keeps, _p0) = with_policy(&stage, 0, true);
    let (tells, _p1) = with_policy(&stage, 1, false);
    // Nothing vouches for these names: whoever is on the way could have put them there.
    let unnamed = stage.host(2, Some(&stage.authority.vouch("mx2.test")));
    unnamed.keep_secrets();
    let own = self_signed("mx3.test");
    let dane = stage.host(3, Some(&own));
    dane.keep_secrets();
    stage.zone.secure("d3.test", "mx3.test");
    publish(&stage.zone, "mx3.test", stage.smtp, [3, 0, 1], true, &own.der);
    let (plain, _p4) = with_policy(&stage, 4, true);
    plain.change(None);
    let secure = stage.host(5, Some(&stage.authority.vouch("mx5.test")));
    secure.keep_secrets();
    stage.zone.secure("d5.test", "mx5.test");
    let (liar, _p6) = with_policy(&stage, 6, true);
    liar.change(Some(self_signed("mx6.test").tls()));
    // The first host of this domain does not keep secrets, the second does.
    stage.zone.mx("d7.test", 10, "mx7.test", false);
    stage.zone.mx("d7.test", 20, "mx5.test", false);
    stage.zone.secure("d7.test", "mx7.test");
    let first = Host::start(local(17, stage.smtp), Some(stage.authority.vouch("mx7.test").tls()));
    stage.zone.host("mx7.test", first.address, true);
    let daemon = stage.daemon(&[]);
    let mut session = Secret::submission(&daemon);
    for number in 0..8 {
        session.send("alice@here.test", &format!("x@d{number}.test"), " RET=FULL REQUIRETLS", "");
    }
    for (number, proof) in [(0, "MTA-STS"), (3, "DANE"), (5, "verified"), (7, "verified")] {
        let line = delivered(&daemon, &format!("x@d{number}.test"));
        assert!(line.contains(&format!(", {proof}\"")), "{line}");
    }
    for (number, status) in [(1, "5.7.30"), (2, "5.7.10"), (4, "5.7.10"), (6, "5.7.10")] {
        let report = report(&daemon, &format!("x@d{number}.test"));
        assert!(report.contains(&format!("Status: {status}")), "{number}: {report}");
        // As if RET=HDRS had been said (§5).
        assert!(!report.contains("the text") && report.contains(&format!("Subject: x@d{number}.test")), "{report}");
    }
    for (host, mails) in [(&keeps, 1), (&dane, 1), (&secure, 2), (&tells, 0), (&unnamed, 0), (&plain, 0), (&liar, 0), (&first, 0)]
    {
        assert_eq!(host.given().len(), mails, "{:?}", host.mails());
        assert!(host.mails().iter().all(|mail| mail.ends_with(" REQUIRETLS")), "{:?}", host.mails());
    }
    // Other mail goes where it went, and says nothing of that.
    for number in [0, 1, 2] {
        session.send("alice@here.test", &format!("y@d{number}.test"), "", "");
        delivered(&daemon, &format!("y@d{number}.test"));
    }
    assert!([keeps, tells, unnamed].iter().all(|host| !host.mails().last().unwrap().contains("REQUIRETLS")));
    session.say("MAIL FROM:<alice@here.test> REQUIRETLS=YES", "501");
    session.say("MAIL FROM:<alice@here.test> REQUIRETLS REQUIRETLS", "501");
}

fn it_stays_secret_by_an_alias_and_over_a_kill() {
    let stage = Stage::new();
    stage.zone.mx("d0.test", 10, "mx0.test", false);
    let address = local(10, stage.smtp);
    stage.zone.host("mx0.test", address, true);
    stage.zone.secure("d0.test", "mx0.test");
    let mut daemon = stage.daemon(&[]);
    daemon.pin_ports();
    fs::write(daemon.path("aliases"), "friend: friend@d0.test, bob\n").unwrap();
    Secret::host(&daemon).send("x@client.test", "friend@here.test", " REQUIRETLS", "TLS-Required: No\r\n");
    // Here it needs nothing more.
    daemon.wait_for_mail("bob", 1, 30);
    wait_for("a try", 30, || (!reason(&daemon, "friend@d0.test").is_empty()).then_some(()));
    daemon.kill();
    daemon.start();
    let host = Host::start(address, Some(stage.authority.vouch("mx0.test").tls()));
    host.keep_secrets();
    assert!(daemon.ctl(&["queue", "flush"]).status.success());
    delivered(&daemon, "friend@d0.test");
    assert!(host.mails()[0].ends_with(" REQUIRETLS"), "{:?}", host.mails());
}

/// A report is rather read by others than lost (§5).
fn what_comes_back_is_as_secret_as_can_be() {
    let stage = Stage::new();
    let (keeps, _p0) = with_policy(&stage, 0, true);
    let (_tells, _p1) = with_policy(&stage, 1, false);
    let plain = stage.host(2, None);
    let daemon = stage.daemon(&[]);
    fs::write(daemon.path("aliases"), "out: x@d1.test\n").unwrap();
    for domain in ["d0.test", "d2.test"] {
        Secret::host(&daemon).send(&format!("sender@{domain}"), "out@here.test", " REQUIRETLS", "");
        delivered(&daemon, &format!("sender@{domain}"));
    }
    assert_eq!((keeps.mails(), plain.mails()), (vec!["MAIL FROM:<> REQUIRETLS".to_owned()], vec!["MAIL FROM:<>".to_owned()]));
}

fn encryption_can_be_waived() {
    let stage = Stage::new();
    let (host, _policy) = with_policy(&stage, 0, true);
    host.change(Some(self_signed("mx0.test").tls()));
    let daemon = stage.daemon(&[]);
    let mut session = Secret::submission(&daemon);
    session.send("alice@here.test", "a@d0.test", "", "");
    wait_for("a try", 30, || (!reason(&daemon, "a@d0.test").is_empty()).then_some(()));
    assert!(host.given().is_empty());
    // The lane rests now.
    assert!(daemon.ctl(&["queue", "remove", "a@d0.test"]).status.code().is_some());
    session.send("alice@here.test", "postmaster@d0.test", "", "TLS-Required: No\r\n");
    assert!(daemon.ctl(&["queue", "flush", "d0.test"]).status.success());
    delivered(&daemon, "postmaster@d0.test");
    assert_eq!(host.given(), [Some("mx0.test".to_owned())], "encrypted all the same");
    // The other mail did not use that line.
    assert!(!reason(&daemon, "a@d0.test").is_empty());
}
