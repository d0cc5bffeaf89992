//! What mail programs are told of the servers here. Python's XML parser reads it.

use super::browser::{Browser, Page};
use crate::common::{Daemon, Setup, tool, with_input};

crate::tests![programs_find_the_servers, strangers_are_told_nothing_of_others, people_find_them_too];

/// A daemon with the same ports in its configuration as it has.
fn pinned() -> Daemon {
    let mut daemon = Setup::default().prepare();
    daemon.pin_ports();
    daemon.start();
    daemon
}

/// All texts of the elements (or strings after keys) of a document, as `name=text` lines.
fn read(page: &Page) -> Vec<String> {
    assert_eq!(page.status, 200, "{}", page.text());
    let mut python = tool("python3");
    python.arg("-c").arg(
        "import sys, xml.etree.ElementTree as E\n\
         for e in E.fromstring(sys.stdin.buffer.read()).iter():\n \
         t = e.tag.split('}')[-1]; k = ' '.join(e.attrib.values()); print(t + (':' + k if k else '') + '=' + (e.text or '').strip())",
    );
    let output = with_input(python, &page.body);
    assert!(output.status.success(), "{output:?}\n{}", page.text());
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Are these there, one behind the other?
#[track_caller]
fn in_order(lines: &[String], wanted: &[String]) {
    let mut rest = lines.iter();
    for want in wanted {
        assert!(rest.any(|line| line == want), "no {want} in its place: {lines:#?}");
    }
}

fn programs_find_the_servers() {
    let daemon = pinned();
    let mut browser = Browser::new(&daemon);
    let port = |name: &str| daemon.at(name).port();
    let thunderbird = |page: &Page| {
        let lines = read(page);
        let incoming = |kind: &str, socket: &str, port: u16| {
            [
                format!("incomingServer:{kind}="),
                "hostname=mail.here.test".into(),
                format!("port={port}"),
                format!("socketType={socket}"),
            ]
        };
        in_order(&lines, &incoming("imap", "SSL", port("imaps")));
        in_order(&lines, &incoming("imap", "STARTTLS", port("imap")));
        in_order(&lines, &incoming("pop3", "SSL", port("pop3s")));
        let outgoing = ["outgoingServer:smtp=".into(), format!("port={}", port("submissions")), "socketType=SSL".into()];
        in_order(&lines, &[&["domain=here.test".into()], &outgoing[..], &["username=%EMAILLOCALPART%".into()]].concat());
    };
    thunderbird(&browser.get("/.well-known/autoconfig/mail/config-v1.1.xml?emailaddress=alice%40here.test"));
    thunderbird(&browser.get("/mail/config-v1.1.xml"));
    let question = b"<Autodiscover><Request><EMailAddress>a'b&c@Here.test</EMailAddress></Request></Autodiscover>";
    let begins = format!("POST /Autodiscover/Autodiscover.xml HTTP/1.1\r\nContent-Length: {}\r\n", question.len());
    let page = browser.send(&begins, question);
    let lines = read(&page);
    let imap = ["Type=IMAP".into(), format!("Port={}", port("imaps")), "LoginName=a'b&c".into(), "Encryption=SSL".into()];
    in_order(&lines, &imap);
    in_order(&lines, &["Type=SMTP".into(), format!("Port={}", port("submission")), "Encryption=TLS".into()]);
    let profile = browser.get("/apple.mobileconfig?address=alice%40here.test");
    assert_eq!(profile.field("content-type"), Some("application/x-apple-aspen-config"));
    let lines = read(&profile);
    in_order(&lines, &["key=EmailAddress".into(), "string=alice@here.test".into()]);
    in_order(&lines, &["key=IncomingMailServerPortNumber".into(), format!("integer={}", port("imaps"))]);
    in_order(&lines, &["key=OutgoingMailServerPortNumber".into(), format!("integer={}", port("submissions"))]);
    assert_eq!(browser.get("/apple.mobileconfig?address=alice%40here.test").body, profile.body, "it replaces itself");
}

fn strangers_are_told_nothing_of_others() {
    let daemon = pinned();
    let mut browser = Browser::new(&daemon);
    for (address, status) in [("alice%40other.test", 404), ("%3Cx%3E", 400), ("", 400)] {
        assert_eq!(browser.get(&format!("/mail/config-v1.1.xml?emailaddress={address}")).status, status, "{address}");
        assert_eq!(browser.get(&format!("/apple.mobileconfig?address={address}")).status, status, "{address}");
    }
    for (question, status) in [(&b"<EMailAddress>"[..], 400), (b"\xff", 400), (&[b'x'; 20_000], 413)] {
        let begins = format!("POST /autodiscover/autodiscover.xml HTTP/1.1\r\nContent-Length: {}\r\n", question.len());
        assert_eq!(browser.send(&begins, question).status, status);
    }
}

fn people_find_them_too() {
    let daemon = pinned();
    let mut browser = Browser::new(&daemon);
    let path = browser.get("/login").link("Set up a mail program");
    browser.get(&path).shows("mail.here.test").shows(&format!("port {}, SSL/TLS", daemon.at("imaps").port()));
}
