//! Who gets in, and who does not.

use super::browser::Browser;
use crate::common::{Daemon, Setup, letter};
use pillarbox::net::{Connection, Line, tls::ClientTls};
use std::time::Duration;

crate::tests![
    strangers_see_the_login_only,
    a_visit_begins_and_ends,
    a_wrong_password_is_told_and_logged,
    other_sites_log_nobody_in,
    forms_without_token_do_nothing,
    users_see_their_own_mail_only,
    passwords_are_asked_for_over_tls,
];

fn strangers_see_the_login_only() {
    let daemon = Setup::default().start();
    daemon.send(&["alice@here.test"], &letter("private", "text"));
    let mut browser = Browser::new(&daemon);
    for path in ["/m/INBOX", "/m/INBOX/1-1", "/m/INBOX/1-1/html", "/m/INBOX/1-1/source", "/m/INBOX/1-1/part/1", "/nothing"] {
        let page = browser.get(path);
        let login = format!("/login?next={}", path.replace('/', "%2F"));
        assert_eq!((page.status, page.field("location")), (303, Some(login.as_str())), "{path}");
        assert_eq!(browser.post(path, &[("do", "delete"), ("m", "1-1")]).status, 403, "{path}");
        browser.cookie = Some("__Host-pillarbox=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".into());
        assert_eq!(browser.get(path).status, 303, "{path}");
        browser.cookie = None;
    }
    browser.get("/").shows("Password").lacks("private");
    let page = browser.get("/login");
    page.shows("Password").lacks("private");
    for (name, part) in [
        ("content-security-policy", "default-src 'none'"),
        ("content-security-policy", "frame-ancestors 'none'"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cache-control", "private"),
    ] {
        assert!(page.field(name).is_some_and(|value| value.contains(part)), "{name}: {}", page.head);
    }
}

fn a_visit_begins_and_ends() {
    let daemon = Setup::default().start();
    let mut browser = Browser::of(&daemon, "alice");
    browser.get("/m/INBOX").shows("Inbox").shows("alice");
    let (first, token) = (browser.cookie.clone(), browser.token());
    // Another login of the same browser has another cookie, and the first one is worth nothing any more.
    let page = browser.post("/login", &[("name", "alice"), ("password", "secret"), ("next", "/m/INBOX?q=x")]);
    assert_eq!(page.field("location"), Some("/m/INBOX?q=x"));
    let set = page.field("set-cookie").unwrap();
    for part in ["__Host-pillarbox=", "; Path=/", "; Secure", "; HttpOnly", "; SameSite=Strict"] {
        assert!(set.contains(part), "{set}");
    }
    assert!(!set.contains("Domain"), "{set}");
    let second = std::mem::replace(&mut browser.cookie, first);
    assert_eq!(browser.get("/m/INBOX").status, 303);
    browser.cookie = second;
    // The form token of the first is not that of the second.
    assert_eq!(browser.post("/logout", &[("token", &token)]).status, 403);
    let (token, kept) = (browser.token(), browser.cookie.clone());
    let page = browser.post("/logout", &[("token", &token)]);
    assert_eq!((page.status, page.field("location")), (303, Some("/login")));
    browser.cookie = kept;
    assert_eq!(browser.get("/m/INBOX").status, 303);
    // Nobody is sent elsewhere by a link to the login.
    for next in ["//evil.test/", "https://evil.test/", "/\\evil.test", "/\t/evil.test"] {
        let page = browser.post("/login", &[("name", "alice"), ("password", "secret"), ("next", next)]);
        assert_eq!(page.field("location"), Some("/m/INBOX"), "{next:?}");
    }
}

fn a_wrong_password_is_told_and_logged() {
    let daemon = Setup::default().start();
    let mut browser = Browser::new(&daemon);
    let wrong = browser.post("/login", &[("name", "alice"), ("password", "wrong")]);
    let unknown = browser.post("/login", &[("name", "nobody"), ("password", "wrong")]);
    assert_eq!((wrong.status, unknown.status), (403, 403));
    assert_eq!(wrong.text().replace("alice", "nobody"), unknown.text());
    assert!(wrong.text().contains("Name or password are wrong.") && browser.cookie.is_none());
    let log = daemon.log();
    assert!(log.contains("auth failed user=alice") && log.contains("service=http") && !log.contains("=wrong"), "{log}");
}

fn other_sites_log_nobody_in() {
    let daemon = Setup::default().start();
    let mut browser = Browser::new(&daemon);
    let status = |browser: &mut Browser, more: &str| {
        browser.more = more.to_owned();
        browser.post("/login", &[("name", "alice"), ("password", "secret")]).status
    };
    assert_eq!(status(&mut browser, "Origin: https://evil.test\r\n"), 403);
    assert_eq!(status(&mut browser, "Origin: null\r\n"), 403);
    assert_eq!(status(&mut browser, "Sec-Fetch-Site: cross-site\r\n"), 403);
    assert_eq!(status(&mut browser, "Sec-Fetch-Site: same-site\r\n"), 403);
    // Chromium and Firefox say so, where they may not tell the page.
    assert_eq!(status(&mut browser, "Origin: null\r\nSec-Fetch-Site: same-origin\r\n"), 303);
    let own = format!("Origin: http://{}\r\nSec-Fetch-Site: same-origin\r\n", daemon.at("http"));
    assert_eq!(status(&mut browser, &own), 303);
}

fn forms_without_token_do_nothing() {
    let daemon = Setup::default().start();
    daemon.send(&["alice@here.test"], &letter("stays", "text"));
    let (mut alice, mut bob) = (Browser::of(&daemon, "alice"), Browser::of(&daemon, "bob"));
    let name = alice.get("/m/INBOX").messages().remove(0);
    for token in ["", "x", &bob.token()] {
        let page = alice.post("/m/INBOX", &[("token", token), ("do", "delete"), ("m", &name)]);
        assert_eq!(page.status, 403, "{token}");
    }
    assert_eq!(alice.post("/m/INBOX", &[("do", "delete"), ("m", &name)]).status, 403);
    alice.get("/m/INBOX").shows("stays");
    // A link does nothing.
    assert_eq!(alice.get("/logout").status, 405);
    alice.get(&format!("/m/INBOX?do=delete&m={name}")).shows("stays");
}

fn users_see_their_own_mail_only() {
    let daemon = Setup::default().start();
    daemon.send(&["alice@here.test"], &letter("private", "text"));
    let mut bob = Browser::of(&daemon, "bob");
    bob.get("/m/INBOX").lacks("private");
    let name = Browser::of(&daemon, "alice").get("/m/INBOX").messages().remove(0);
    assert_eq!(bob.get(&format!("/m/INBOX/{name}")).status, 404);
    for folder in ["..%2Falice%2FINBOX", "..", "%2E%2E", "alice", "%2Fvar%2Fmail%2Falice", "a%00b", "%FF", "..%5Calice"] {
        let status = bob.get(&format!("/m/{folder}")).status;
        assert!([400, 404].contains(&status), "{folder}: {status}");
    }
}

/// By TLS from the first byte, with ALPN as a browser offers it.
fn passwords_are_asked_for_over_tls() {
    let daemon = Setup::default().start();
    let answer = over_tls(&daemon, "GET /login HTTP/1.1\r\nHost: mail.here.test\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

fn over_tls(daemon: &Daemon, request: &str) -> String {
    let mut connection = Connection::connect(daemon.at("https"), Duration::from_secs(20)).unwrap();
    connection.start_tls(&ClientTls::opportunistic(), "mail.here.test").unwrap();
    connection.put(request.as_bytes()).unwrap();
    connection.flush().unwrap();
    let mut line = Vec::new();
    let Ok(Line::Whole) = connection.read_line(1000, &mut line) else { panic!("{line:?}") };
    String::from_utf8(line).unwrap()
}
