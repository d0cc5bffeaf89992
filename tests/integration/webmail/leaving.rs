//! Mailing lists that are left from a message's page: by one click (RFC 8058), which this host sends on, or by a letter.

use super::browser::{Browser, Page};
use crate::common::{Daemon, Listening, Setup, fixed_port, letter};
use crate::outbound::certificates::{Authority, Certificate};
use crate::outbound::zone::Zone;
use crate::trust::client;
use pillarbox::net::Connection;
use pillarbox::trust::dkim::{Body, SigningKey, sign};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

crate::tests![
    a_click_is_sent_on,
    what_no_signature_covers_is_no_link,
    what_the_list_says_is_told,
    no_click_goes_into_networks_of_our_own,
    lists_of_this_host_are_left,
    a_letter_is_ready,
];

const KEY: &[u8] = include_bytes!("../../trust/ed25519.pem");
const CLICK: &str = "List-Unsubscribe-Post: List-Unsubscribe=One-Click\n";

/// The host of a list, by HTTPS: hears requests, and answers.
struct ListHost {
    heard: Arc<Mutex<Vec<String>>>,
    _listening: Listening,
}

impl ListHost {
    fn start(address: SocketAddr, certificate: &Certificate) -> ListHost {
        let (tls, heard) = (certificate.tls(), Arc::<Mutex<Vec<String>>>::default());
        let ours = heard.clone();
        let listening = Listening::on(TcpListener::bind(address).unwrap(), move |stream| {
            let mut connection = Connection::from_tcp(stream).ok()?;
            connection.set_timeout(Duration::from_secs(60));
            connection.accept_tls(&tls).ok()?;
            let (mut line, mut request, mut length) = (Vec::new(), String::new(), 0);
            while connection.read_line(4000, &mut line).is_ok() && !line.is_empty() {
                let text = String::from_utf8_lossy(&line).into_owned();
                length = text.strip_prefix("Content-Length: ").map_or(length, |digits| digits.parse().unwrap());
                request.push_str(&format!("{text}\n"));
            }
            connection.read_bytes(length, |block| request.push_str(&String::from_utf8_lossy(block))).ok()?;
            // What is asked for it says itself.
            let status = request.split("?say=").nth(1).map_or("200 OK", |rest| rest.split(' ').next().unwrap());
            ours.lock().unwrap().push(request.clone());
            let place = "Location: https://news.a.test/elsewhere";
            connection.put(format!("HTTP/1.1 {status} Said\r\n{place}\r\nContent-Length: 0\r\n\r\n").as_bytes()).ok()?;
            connection.flush().ok()
        });
        ListHost { heard, _listening: listening }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

/// Names of a.test, the host news.a.test, and a daemon that strangers reach.
struct Stage {
    host: ListHost,
    port: u16,
    daemon: Daemon,
    mx: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Stage {
    fn new(options: &[&str]) -> Stage {
        let (authority, port, dir, zone) = (Authority::new(), fixed_port(), tempfile::tempdir().unwrap(), Zone::start());
        let ca = dir.path().join("ca.pem");
        fs::write(&ca, &authority.pem).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let host = ListHost::start(address, &authority.vouch("news.a.test"));
        zone.text("s1._domainkey.a.test", &SigningKey::from_pem(KEY).unwrap().record());
        for name in ["news.a.test", "other.a.test"] {
            zone.host(name, address, false);
        }
        let mx = SocketAddr::from(([127, 0, 0, 1], fixed_port()));
        let listen = format!("[[listen]]\naddress = \"{mx}\"\nprotocol = \"smtp\"\ntls = \"none\"\nproxy = [\"127.0.0.0/8\"]\n");
        let own = [format!("dns.servers=[\"{}\"]", zone.address), format!("outbound.ca={ca:?}")];
        let options = own.into_iter().chain(options.iter().map(|option| (*option).to_owned())).collect();
        let daemon = Setup { options, ..Setup::default().config(&listen) }.start();
        Stage { host, port, daemon, mx, _dir: dir }
    }

    fn field(&self, path: &str) -> String {
        format!("List-Unsubscribe: <mailto:leave@a.test>, <https://news.a.test:{}{path}>\n", self.port)
    }

    fn send(&self, message: &str) {
        let reply = client(self.mx, "192.0.2.1").send("u@a.test", &["alice@here.test"], message.replace('\n', "\r\n").as_bytes());
        assert!(reply.as_ref().unwrap().starts_with("250"), "{reply:?}");
    }
}

/// Signed by a.test, with these fields of a list.
fn signed(subject: &str, fields: &str) -> String {
    let (header, body) = (format!("From: u@a.test\nSubject: {subject}\n{fields}"), "Hi\n");
    let mut hash = Body::default();
    hash.push(body.as_bytes());
    let key = SigningKey::from_pem(KEY).unwrap();
    let field = sign(&key, "a.test", "s1", header.as_bytes(), &hash.finish(), 1_700_000_000).unwrap();
    format!("{field}{header}\n{body}")
}

fn path(browser: &mut Browser, subject: &str) -> String {
    browser.get("/m/INBOX").link(subject).split('?').next().unwrap().to_owned()
}

fn press(browser: &mut Browser, subject: &str) -> Page {
    let path = path(browser, subject);
    browser.get(&path).shows("<button>Unsubscribe</button>");
    browser.act(&format!("{path}/unsubscribe"), &[])
}

fn a_click_is_sent_on() {
    let stage = Stage::new(&["outbound.unsubscribe=\"anywhere\""]);
    stage.send(&signed("news", &(stage.field("/u/1?t=a%20b") + CLICK)));
    let mut alice = Browser::of(&stage.daemon, "alice");
    let path = path(&mut alice, "news");
    alice.get(&path).shows("can be left at news.a.test, as a.test has signed.").shows("<button>Unsubscribe</button>");
    // Neither to look nor what another site sends does anything.
    assert_eq!(alice.get(&format!("{path}/unsubscribe")).status, 404);
    assert_eq!(alice.post(&format!("{path}/unsubscribe"), &[("token", "x")]).status, 403);
    assert_eq!(Browser::of(&stage.daemon, "bob").post(&format!("{path}/unsubscribe"), &[]).status, 403);
    assert_eq!(stage.host.heard(), Vec::<String>::new());
    alice.act(&format!("{path}/unsubscribe"), &[]).shows("You have unsubscribed.");
    let request = format!(
        "POST /u/1?t=a%20b HTTP/1.1\nHost: news.a.test:{}\nUser-Agent: Pillarbox\nConnection: close\n\
         Content-Type: application/x-www-form-urlencoded\nContent-Length: 26\nList-Unsubscribe=One-Click",
        stage.port
    );
    assert_eq!(stage.host.heard(), [request]);
}

fn what_no_signature_covers_is_no_link() {
    let stage = Stage::new(&["outbound.unsubscribe=\"anywhere\""]);
    let (field, evil) = (stage.field("/u"), stage.field("/evil"));
    let whole = signed("changed", &format!("{field}{CLICK}"));
    let cases = [
        ("unsigned", format!("From: u@a.test\nSubject: unsigned\n{field}{CLICK}\nHi\n")),
        (
            "forged",
            format!(
                "Authentication-Results: mail.here.test; dkim=pass header.d=a.test\nDKIM-Signature: v=1; a=ed25519-sha256; d=a.test; s=s1; \
                 h=from:list-unsubscribe:list-unsubscribe-post; bh=aGk=; b=aGk=\nFrom: u@a.test\nSubject: forged\n{field}{CLICK}\nHi\n"
            ),
        ),
        ("changed", whole.replace("\nHi\n", "\nHo\n")),
        ("not covered", format!("{field}{CLICK}{}", signed("not covered", ""))),
        ("half covered", format!("{CLICK}{}", signed("half covered", &field))),
        ("one above", format!("{evil}{}", signed("one above", &format!("{field}{CLICK}")))),
        ("no click", signed("no click", &field)),
        ("another click", signed("another click", &format!("{field}List-Unsubscribe-Post: List-Unsubscribe=Maybe\n"))),
        ("plain", signed("plain", &format!("List-Unsubscribe: <http://news.a.test:{}/u>\n{CLICK}", stage.port))),
    ];
    let mut alice = Browser::of(&stage.daemon, "alice");
    for (subject, message) in cases {
        stage.send(&message);
        let path = path(&mut alice, subject);
        alice.get(&path).shows(subject).lacks("<button>Unsubscribe</button>");
        let token = alice.token();
        assert_eq!(alice.post(&format!("{path}/unsubscribe"), &[("token", &token)]).status, 404, "{subject}");
    }
    assert_eq!(stage.host.heard(), Vec::<String>::new());
}

fn what_the_list_says_is_told() {
    let stage = Stage::new(&["outbound.unsubscribe=\"anywhere\""]);
    let mut alice = Browser::of(&stage.daemon, "alice");
    for (subject, path, told) in [
        ("unknown", "/u?say=404", "it answered with status 404."),
        ("moved", "/u?say=302", "it answered with status 302."),
        ("empty", "/u?say=204", "You have unsubscribed."),
    ] {
        stage.send(&signed(subject, &(stage.field(path) + CLICK)));
        press(&mut alice, subject).shows(told);
    }
    assert_eq!(stage.host.heard().len(), 3, "no redirection is followed");
    // One that can't prove its name, and one that is not there.
    for (subject, name) in [("impostor", "other.a.test"), ("nowhere", "none.a.test")] {
        stage.send(&signed(subject, &(stage.field("/u").replace("news.a.test", name) + CLICK)));
        press(&mut alice, subject).shows("could not be reached");
    }
    assert_eq!(stage.host.heard().len(), 3);
}

fn no_click_goes_into_networks_of_our_own() {
    let stage = Stage::new(&[]);
    stage.send(&signed("inside", &(stage.field("/u") + CLICK)));
    let mut alice = Browser::of(&stage.daemon, "alice");
    press(&mut alice, "inside").shows("nothing was sent there");
    assert_eq!(stage.host.heard(), Vec::<String>::new());
    let stage = Stage::new(&["outbound.unsubscribe=\"off\""]);
    stage.send(&signed("off", &(stage.field("/u") + CLICK)));
    let mut alice = Browser::of(&stage.daemon, "alice");
    let path = path(&mut alice, "off");
    alice.get(&path).shows("off").lacks("<button>Unsubscribe</button>");
}

fn lists_of_this_host_are_left() {
    let mut daemon = Setup::default().prepare();
    daemon.replace_config(|text| format!("webmail_url = \"https://mail.here.test/\"\n{text}"));
    daemon.start();
    for words in [&["list", "create", "team", "bob@here.test"][..], &["list", "add", "team", "alice@here.test", "bob@here.test"]]
    {
        assert!(daemon.ctl(words).status.success());
    }
    let reply = daemon.smtp().send("bob@here.test", &["team@here.test"], &letter("to all", "text")).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    daemon.wait_for_mail("alice", 1, 30);
    let mut alice = Browser::of(&daemon, "alice");
    press(&mut alice, "to all").shows("You have unsubscribed.");
    let members = String::from_utf8(daemon.ctl(&["list", "members", "team"]).stdout).unwrap();
    assert!(members.contains("bob@here.test") && !members.contains("alice"), "{members}");
}

fn a_letter_is_ready() {
    let daemon = Setup::default().start();
    let field = "List-Unsubscribe: <mailto:leave@here.test?subject=leave%20%26%20go&body=me>, <ftp://a.test/>\r\n";
    daemon.send(&["alice@here.test"], &[field.as_bytes(), &letter("by letter", "text")[..]].concat());
    let mut alice = Browser::of(&daemon, "alice");
    let page = alice.open("by letter");
    let form = alice.get(&page.link("Unsubscribe by mail"));
    let fields = form.fields();
    for (name, value) in [("to", "leave@here.test"), ("subject", "leave & go"), ("text", "me")] {
        assert!(fields.iter().any(|(own, held)| own == name && held.trim() == value), "{name}: {fields:?}");
    }
}
