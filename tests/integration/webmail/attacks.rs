//! What is done to HTTP servers: hidden requests, slow ones, endless ones.

use super::browser::{Browser, exchange};
use crate::common::{Daemon, Setup};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

crate::tests![no_request_hides_in_another, sizes_are_bounded, slow_clients_are_given_up, many_slow_clients_keep_nobody_out];

fn codes(answer: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(answer);
    text.match_indices("HTTP/1.1 ").filter_map(|(at, _)| text.get(at + 9..at + 12)?.parse().ok()).collect()
}

/// RFC 9112 §11.2: what two programs could read differently is refused, and the connection ends.
fn no_request_hides_in_another() {
    let daemon = Setup::default().start();
    let to = daemon.at("http");
    let hidden = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n";
    for head in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 5 \n",
        "Content-Length : 5\r\n",
        " Content-Length: 5\r\n",
        "X: y\r\n Content-Length: 5\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: \u{b}chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "X: y\rTransfer-Encoding: chunked\r\n",
        "X: y\0\r\nContent-Length: 5\r\n",
        "Content-Length: 99999999999999999999999\r\n",
    ] {
        let request = format!("POST /login HTTP/1.1\r\nHost: x\r\n{head}\r\n0\r\n\r\n{hidden}");
        let answers = codes(&exchange(to, request.as_bytes()));
        assert!(matches!(answers.as_slice(), [400 | 501]), "{head:?}: {answers:?}");
    }
    for chunks in [
        "5\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "-5\r\n",
        "5\r\nhelloworld\r\n",
        "\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5;a=\"\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n",
        "5\r\nhello0\r\n\r\n",
    ] {
        let kind = "Content-Type: application/x-www-form-urlencoded";
        let request = format!("POST /login HTTP/1.1\r\nHost: x\r\n{kind}\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}{hidden}");
        let answers = codes(&exchange(to, request.as_bytes()));
        assert_eq!(answers, [400], "{chunks:?}");
    }
    for line in [
        "GET  /login HTTP/1.1",
        "GET /login  HTTP/1.1",
        "GET\t/login HTTP/1.1",
        "GET /lo gin HTTP/1.1",
        "GET /login",
        "GET /login HTTP/2.0",
        "GET /login HTTP/1.1 x",
        "get /login HTTP/1.1",
        "EHLO x",
        "GET \0 HTTP/1.1",
        "CONNECT x:25 HTTP/1.1",
    ] {
        let answers = codes(&exchange(to, format!("{line}\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()));
        assert!(matches!(answers.as_slice(), [400 | 405 | 501 | 505]), "{line}: {answers:?}");
    }
    for hosts in ["", "Host: a\r\nHost: b\r\n"] {
        assert_eq!(codes(&exchange(to, format!("GET /login HTTP/1.1\r\n{hosts}\r\n").as_bytes())), [400], "{hosts:?}");
    }
    assert!(!daemon.log().contains("/hidden"));
}

fn sizes_are_bounded() {
    let daemon = Setup::default().start();
    let to = daemon.at("http");
    let get =
        |path: &str, fields: &str| codes(&exchange(to, format!("GET {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n").as_bytes()));
    assert_eq!(get(&format!("/{}", "x".repeat(20_000)), ""), [414]);
    assert_eq!(get("/login", &format!("X: {}\r\n", "x".repeat(20_000))), [431]);
    assert_eq!(get("/login", &"X: y\r\n".repeat(200)), [431]);
    assert_eq!(get("/login", &format!("X: {}\r\n", "x".repeat(7_000)).repeat(8)), [431]);
    let post = |length: &str| {
        let kind = "Content-Type: application/x-www-form-urlencoded";
        codes(&exchange(to, format!("POST /login HTTP/1.1\r\nHost: x\r\n{kind}\r\n{length}\r\n").as_bytes()))
    };
    // Who asks first sends nothing.
    assert_eq!(post("Content-Length: 1000000000000\r\nExpect: 100-continue\r\n"), [413]);
    assert_eq!(post("Content-Length: 1000000\r\n"), [413]);
    assert_eq!(post(""), [411]);
    assert_eq!(post("Expect: a-miracle\r\nContent-Length: 5\r\n"), [417]);
    let request = "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: 4\r\n\r\n<x/>GET /login HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_eq!(codes(&exchange(to, request.as_bytes())), [415, 200]);
    // Ranges without end are one whole answer.
    let mut browser = Browser::new(&daemon);
    browser.more = format!("Range: bytes={}\r\n", "0-1,".repeat(1000));
    assert_eq!(browser.get("/login").status, 200);
}

fn slow(daemon: &Daemon, begins: &[u8]) -> (Vec<u16>, Duration) {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(daemon.at("http")).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    stream.write_all(begins).unwrap();
    let mut answer = Vec::new();
    let mut block = [0; 4096];
    // One byte after the other, until the other side has had enough.
    while begun.elapsed() < Duration::from_secs(60) {
        match stream.read(&mut block) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&block[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if stream.write_all(b"x").is_err() {
                    break;
                }
            }
            Err(_) => break,
        }
    }
    (codes(&answer), begun.elapsed())
}

fn slow_clients_are_given_up() {
    let daemon = Setup::options(&["timeouts.command=2s", "timeouts.data=2s"]).start();
    for (begins, codes) in [
        ("", vec![400]),
        ("GET /login HTTP/1.1\r\nHost: x\r\nX: ", vec![408]),
        (
            "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 900\r\n\r\n",
            vec![408],
        ),
    ] {
        let (answers, took) = slow(&daemon, begins.as_bytes());
        assert!(answers == codes || begins.is_empty() && answers.is_empty(), "{begins}: {answers:?}");
        assert!(took < Duration::from_secs(20), "{begins}: {took:?}");
    }
}

fn many_slow_clients_keep_nobody_out() {
    let daemon = Setup::default().start();
    let slow: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = TcpStream::connect(daemon.at("http")).unwrap();
            stream.write_all(b"GET /login HTTP/1.1\r\nHost: x\r\n").unwrap();
            stream
        })
        .collect();
    let begun = Instant::now();
    Browser::new(&daemon).get("/login").shows("Password");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    drop(slow);
}
