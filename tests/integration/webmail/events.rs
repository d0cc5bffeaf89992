//! What the script of the pages needs: events as they happen, drafts that are saved without a page, and the script itself.

use super::browser::{Browser, exchange};
use crate::common::{Daemon, Setup, letter};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

crate::tests![
    new_mail_is_told_at_once,
    streams_end_with_their_visit,
    many_streams_cost_little,
    drafts_are_saved_without_a_page,
    the_script_is_small_and_kept,
];

/// An open stream.
struct Events(BufReader<TcpStream>);

impl Events {
    fn open(daemon: &Daemon, browser: &Browser) -> Events {
        let mut stream = TcpStream::connect(daemon.at("http")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let cookie = browser.cookie.as_deref().unwrap();
        write!(stream, "GET /events HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\n\r\n").unwrap();
        let mut events = Events(BufReader::new(stream));
        let head = events.until("\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("Content-Type: text/event-stream\r\n"), "{head}");
        events
    }

    fn until(&mut self, end: &str) -> String {
        let mut text = String::new();
        while !text.ends_with(end) {
            assert!(self.0.read_line(&mut text).unwrap() > 0, "it ended: {text}");
        }
        text
    }

    /// Until a folder stands so.
    fn stands(&mut self, path: &str, numbers: (u64, u64)) {
        while self.folder(path) != numbers {}
    }

    /// The numbers of a folder, when they are told next.
    fn folder(&mut self, path: &str) -> (u64, u64) {
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "it ended");
            let Some(data) = line.strip_prefix("data: ") else { continue };
            let data: serde_json::Value = serde_json::from_str(data).unwrap();
            if data["path"] == path {
                return (data["messages"].as_u64().unwrap(), data["unseen"].as_u64().unwrap());
            }
        }
    }
}

fn new_mail_is_told_at_once() {
    let daemon = Setup::default().start();
    daemon.send(&["alice@here.test"], &letter("before", "text"));
    let mut alice = Browser::of(&daemon, "alice");
    let mut events = Events::open(&daemon, &alice);
    events.stands("/m/INBOX", (1, 1));
    assert!(daemon.send(&["alice@here.test"], &letter("new", "text")).starts_with("250"));
    let begun = Instant::now();
    events.stands("/m/INBOX", (2, 2));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    // What is read here, moved there, or done by another program.
    let names = alice.get("/m/INBOX").messages();
    alice.act("/m/INBOX", &[("do", "read"), ("m", &names[0])]);
    events.stands("/m/INBOX", (2, 1));
    alice.act("/m/INBOX", &[("do", "archive"), ("m", &names[1])]);
    events.stands("/m/Archive", (1, 1));
    alice.act("/folders", &[("do", "create"), ("name", "Gr\u{fc}n"), ("under", "")]);
    events.until("event: folders\n");
    events.stands("/m/Gr%C3%BCn", (0, 0));
    // Nothing of others.
    daemon.send(&["bob@here.test"], &letter("private", "text"));
    daemon.send(&["alice@here.test"], &letter("last", "text"));
    events.stands("/m/INBOX", (2, 1));
}

fn streams_end_with_their_visit() {
    let daemon = Setup::default().start();
    let (alice, mut other) = (Browser::of(&daemon, "alice"), Browser::of(&daemon, "alice"));
    let mut events = Events::open(&daemon, &alice);
    events.folder("/m/INBOX");
    other.act("/sessions", &[("do", "others")]);
    // Whatever happens next is not told any more.
    daemon.send(&["alice@here.test"], &letter("secret", "text"));
    let mut rest = String::new();
    while events.0.read_line(&mut rest).unwrap() > 0 && !rest.ends_with("\r\n0\r\n") {}
    assert!(!rest.contains("\"messages\":1") && rest.ends_with("0\r\n"), "{rest}");
    let answer = exchange(daemon.at("http"), b"GET /events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with(b"HTTP/1.1 303"));
}

/// Memory of the daemon in KiB.
fn memory(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn many_streams_cost_little() {
    const MANY: u64 = 500;
    let daemon = Setup::options(&["limits.per_network=600"]).start();
    let alice = Browser::of(&daemon, "alice");
    let open = || {
        let mut events = Events::open(&daemon, &alice);
        events.folder("/m/Trash");
        events
    };
    let first = open();
    let before = memory(&daemon);
    let mut streams: Vec<Events> = (0..MANY).map(|_| open()).collect();
    let each = memory(&daemon).saturating_sub(before) / MANY;
    eprintln!("a stream costs {each} KiB");
    assert!(each <= 64, "{each} KiB each");
    daemon.send(&["alice@here.test"], &letter("new", "text"));
    for events in &mut streams {
        events.stands("/m/INBOX", (1, 1));
    }
    drop(first);
}

fn drafts_are_saved_without_a_page() {
    let daemon = Setup::default().start();
    let mut alice = Browser::of(&daemon, "alice");
    let form = alice.get("/compose");
    let told = |page: super::browser::Page| -> serde_json::Value {
        assert_eq!((page.status, page.field("content-type")), (200, Some("application/json")), "{}", page.text());
        serde_json::from_slice(&page.body).unwrap()
    };
    let json = ("answer", "json");
    let first = told(alice.try_write(&form, "save", &[json, ("text", "one")], &[]));
    let name = first["draft"].as_str().unwrap().to_owned();
    assert_eq!((&first["conflict"], first["files"].as_array().unwrap().len()), (&false.into(), 0));
    let draft = alice.get(&format!("/compose?draft={name}"));
    let second = told(alice.try_write(&draft, "attach", &[json, ("text", "two")], &[("a <b>.txt", "text/plain", b"file")]));
    assert_eq!(second["files"][0]["name"], "a <b>.txt");
    // The next save goes on from there, with the file where it is now.
    let (name, keep) = (second["draft"].as_str().unwrap(), second["files"][0]["source"].as_str().unwrap());
    let third = told(alice.try_write(&draft, "save", &[json, ("draft", name), ("keep", keep), ("text", "three")], &[]));
    assert_eq!((&third["conflict"], third["files"].as_array().unwrap().len()), (&false.into(), 1));
    assert_eq!(alice.get("/m/Drafts").messages().len(), 1);
    // It outlives the daemon.
    let mut daemon = daemon;
    daemon.kill();
    daemon.start();
    let mut alice = Browser::of(&daemon, "alice");
    let list = alice.get("/m/Drafts");
    let kept = alice.get(&format!("/compose?draft={}", list.messages()[0]));
    kept.shows("three").shows("a &lt;b&gt;.txt");
    // Two windows: the second is told, and both texts stay.
    told(alice.try_write(&kept, "save", &[json, ("text", "of the first")], &[]));
    let other = told(alice.try_write(&kept, "save", &[json, ("keep", "x"), ("text", "of the second")], &[]));
    assert_eq!(other["conflict"], true);
    let list = alice.get("/m/Drafts");
    assert_eq!(list.messages().len(), 2);
    list.shows("of the first").shows("of the second");
    assert_eq!(alice.try_write(&kept, "save", &[json, ("token", "x")], &[]).status, 403);
}

fn the_script_is_small_and_kept() {
    let daemon = Setup::default().start();
    let mut alice = Browser::of(&daemon, "alice");
    let page = alice.get("/m/INBOX");
    let path = page.attribute(&["script", "type=\"module\""], "src").unwrap();
    let script = alice.get(&path);
    assert!(script.body.len() <= 15 << 10, "{} bytes", script.body.len());
    assert_eq!(script.field("content-type"), Some("text/javascript; charset=utf-8"));
    alice.more = format!("If-None-Match: {}\r\n", script.field("etag").unwrap());
    assert_eq!(alice.get(&path).status, 304);
    alice.more = "Accept-Encoding: gzip\r\n".into();
    let packed = alice.get(&path);
    assert!(packed.field("content-encoding") == Some("gzip") && packed.body.len() < 6 << 10, "{} bytes", packed.body.len());
    // Nothing of it stands in a page.
    for path in ["/m/INBOX", "/compose", "/settings", "/folders", "/sessions"] {
        let text = alice.get(path);
        assert!(text.field("content-security-policy").unwrap().contains("script-src 'self';"));
    }
    alice.more.clear();
    for path in ["/m/INBOX", "/compose", "/settings", "/folders", "/sessions"] {
        let text = alice.get(path).text();
        assert!(!text.contains(" onclick") && !text.contains("style=") && text.matches("<script").count() == 1, "{path}");
    }
    alice.cookie = None;
    alice.get("/login").lacks("<script");
}
