//! Mail that wants to do something in the browser of who reads it.

use super::browser::Browser;
use crate::common::Setup;
use std::time::{Duration, Instant};

crate::tests![nothing_of_a_hostile_message_is_alive, huge_and_deep_messages_are_shown_as_text, odd_messages_have_pages];

/// What was used against other webmail programs, and what the cleaner has to know.
fn hostile() -> Vec<&'static str> {
    let pieces = include_str!("../../webmail/hostile.txt").split("\n\n").map(|piece| piece.trim_matches('\n'));
    pieces.filter(|piece| !piece.is_empty() && !piece.starts_with("# ")).collect()
}

fn mail(kind: &str, body: &str) -> Vec<u8> {
    format!("From: evil@evil.test\r\nSubject: watch out\r\nMIME-Version: 1.0\r\nContent-Type: {kind}\r\n\r\n{body}\r\n")
        .into_bytes()
}

fn nothing_of_a_hostile_message_is_alive() {
    let daemon = Setup::default().start();
    let mut smtp = daemon.smtp();
    for (at, html) in hostile().into_iter().enumerate() {
        let message = mail("text/html; charset=utf-8", &format!("<p>begins {at}</p>{html}<p>ends</p>"));
        smtp.send("evil@evil.test", &["alice@here.test"], &message).unwrap();
    }
    let mut alice = Browser::of(&daemon, "alice");
    let names: Vec<String> = alice.get("/m/INBOX").messages().into_iter().rev().collect();
    assert_eq!(names.len(), hostile().len());
    for (at, name) in names.iter().enumerate() {
        let page = alice.get(&format!("/m/INBOX/{name}"));
        page.shows("watch out").lacks("alert(1)");
        let frame = alice.get(&page.attribute(&["iframe"], "src").unwrap());
        frame.shows(&format!("begins {at}"));
        let text = frame.text();
        let (_, inside) = text.split_once("<body").unwrap();
        for tag in inside.split('<').skip(1).filter_map(|rest| rest.split_once('>')).map(|(tag, _)| tag.to_ascii_lowercase()) {
            let name: String = tag.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
            for bad in
                ["script", "style", "svg", "math", "iframe", "form", "input", "button", "meta", "base", "link", "object", "embed"]
            {
                assert_ne!(name, bad, "{at}: {inside}");
            }
            // What stands in a title is text; no attribute begins like this.
            for bad in [" on", "javascript:", "evil.test", "data:", "expression", "position", "url(", "srcset", "ping", "usemap"]
            {
                assert!(!tag.contains(bad) || tag.contains("title="), "{at}: {bad} in {tag}: {inside}");
            }
        }
    }
}

fn huge_and_deep_messages_are_shown_as_text() {
    let daemon = Setup::default().start();
    let mut alice = Browser::of(&daemon, "alice");
    for (what, html) in [
        ("deep", format!("<p>words of deep</p>{}", "<div><b><table><tr><td>\r\n".repeat(40_000))),
        ("big", format!("<p>words of big</p>{}", "<p>more and more of it</p>\r\n".repeat(60_000))),
        ("open", format!("<p>words of open</p>{}", "<a href=\"x\r\n".repeat(80_000))),
    ] {
        daemon.send(&["alice@here.test"], &mail("text/html", &html));
        let path = alice.get("/m/INBOX").link(">watch out<");
        let begun = Instant::now();
        let page = alice.get(&path);
        let took = begun.elapsed();
        page.shows(&format!("words of {what}"));
        // A second is what it must take at most where it is optimised.
        let most = if cfg!(debug_assertions) { 10 } else { 1 };
        assert!(took < Duration::from_secs(most), "{what}: {took:?}");
    }
}

/// Whatever a message is, its page says so.
fn odd_messages_have_pages() {
    let daemon = Setup::default().start();
    let odd = [
        ("empty", String::from("\r\n")),
        ("no header", String::from("\r\njust text\r\n")),
        ("no parts", String::from("Content-Type: multipart/mixed; boundary=x\r\n\r\n")),
        ("no end", String::from("Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\ntext\r\n")),
        ("unknown", String::from("Content-Type: nothing/known\r\n\r\n\u{1}\u{2}\r\n")),
        ("charset", String::from("Content-Type: text/plain; charset=nonsense\r\n\r\n=E4\r\n")),
        ("encoding", String::from("Content-Type: text/html\r\nContent-Transfer-Encoding: nonsense\r\n\r\n<p>x\r\n")),
        ("base64", String::from("Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!!\r\n")),
        ("nested", "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n".repeat(500)),
        ("message", String::from("Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ninner text\r\n")),
    ];
    let mut alice = Browser::of(&daemon, "alice");
    for (what, message) in &odd {
        daemon.send(&["alice@here.test"], format!("From: <\r\nX-What: {what}\r\n{message}").as_bytes());
        let page = alice.get("/m/INBOX");
        let name = page.messages().remove(0);
        for view in ["", "?view=text", "?view=headers", "/source"] {
            assert_eq!(alice.get(&format!("/m/INBOX/{name}{view}")).status, 200, "{what}{view}");
        }
    }
}
