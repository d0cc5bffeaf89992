//! What programs are told that watch the daemon.

use crate::common::{Daemon, Setup, fixed_port, letter, wait_for};
use crate::webmail::browser::exchange;
use std::fs;
use std::net::SocketAddr;

crate::tests![all_is_well_and_counted, what_is_wrong_is_told, nothing_else_is_there];

/// A listener for them.
pub struct Watched(SocketAddr);

impl Watched {
    pub fn new() -> Watched {
        Watched(SocketAddr::from(([127, 0, 0, 1], fixed_port())))
    }

    pub fn config(&self) -> String {
        format!("[[listen]]\naddress = \"{}\"\nprotocol = \"metrics\"\n", self.0)
    }

    /// The whole answer.
    pub fn ask(&self, path: &str) -> String {
        self.say(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
    }

    fn say(&self, request: &str) -> String {
        String::from_utf8(exchange(self.0, request.as_bytes())).unwrap()
    }

    #[track_caller]
    fn counts(&self, name: &str, value: u64) {
        let text = self.ask("/metrics");
        let line = format!("pillarbox_{name} {value}");
        assert!(text.lines().any(|own| own == line), "no {line:?} in {text}");
    }
}

fn watched(options: &[&str]) -> (Daemon, Watched) {
    let watched = Watched::new();
    (Setup::options(options).config(&watched.config()).start(), watched)
}

fn all_is_well_and_counted() {
    let (daemon, watched) = watched(&["smtp.relay_networks=[\"127.0.0.0/8\"]"]);
    let answer = watched.ask("/health");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok\n"), "{answer}");
    watched.counts("messages_received_total", 0);
    assert!(daemon.send(&["alice@here.test", "bob@here.test"], &letter("counted", "x")).starts_with("250"));
    assert!(daemon.send(&["x@away.test"], &letter("waits", "x")).starts_with("250"));
    watched.counts("messages_received_total", 2);
    watched.counts("recipients_delivered_total", 2);
    watched.counts("queue_messages", 1);
    watched.counts("healthy", 1);
    let _session = daemon.pop3("alice");
    watched.counts("sessions{service=\"pop3\"}", 1);
    let text = watched.ask("/metrics");
    assert!(text.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{text}");
    // Nothing that is anybody's business.
    for secret in ["alice", "here.test", "away.test", "counted", "127.0.0.1"] {
        assert!(!text.contains(secret), "{text}");
    }
}

fn what_is_wrong_is_told() {
    let (daemon, watched) = watched(&[]);
    // Nothing can be written where this stands.
    let journal = fs::read_dir(daemon.spool().join("journal")).unwrap().next().unwrap().unwrap().path();
    fs::create_dir(journal.join("trial")).unwrap();
    let answer = watched.ask("/health");
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n") && answer.contains("\r\n\r\nthe spool: "), "{answer}");
    watched.counts("healthy", 0);
    fs::remove_dir(journal.join("trial")).unwrap();
    wait_for("health", 30, || watched.ask("/health").starts_with("HTTP/1.1 200 ").then_some(()));
    watched.counts("healthy", 1);
    assert!(journal.join("trial").is_file());
    drop(daemon);
    let (_daemon, watched) = self::watched(&["limits.min_free=\"1000000G\""]);
    let answer = watched.ask("/health");
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("limits.min_free"), "{answer}");
}

fn nothing_else_is_there() {
    let (daemon, watched) = watched(&[]);
    for path in ["/", "/login", "/m/INBOX", "/metrics/", "/unsubscribe", "/.well-known/mta-sts.txt"] {
        let answer = watched.ask(path);
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
    }
    let answer = watched.say("POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("\r\nAllow: GET, HEAD\r\n"), "{answer}");
    // And none of it where browsers are served.
    for path in ["/health", "/metrics"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = String::from_utf8(exchange(daemon.at("http"), request.as_bytes())).unwrap();
        assert!(answer.starts_with("HTTP/1.1 303 ") && answer.contains("\r\nLocation: /login?next="), "{answer}");
    }
}
