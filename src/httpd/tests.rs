//! Requests in bytes, answers in bytes, over a socket.

use super::*;
use crate::net::Connection;
use crate::sys::clock::SystemClock;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// Tells what was asked, and what body came with it.
#[derive(Debug)]
struct Echo;

impl Site for Echo {
    fn answer(&self, request: &mut Request<'_>) -> Result<Response, Status> {
        let path = request.head.path.clone();
        match path.as_str() {
            "/long" => Ok(Response::text(Status::OK, &"0123456789".repeat(1000)).with("ETag", "\"a\"")),
            "/ranged" => {
                Ok(Response::of(Status::OK, "x/y", &b"0123456789"[..]).with("Accept-Ranges", "bytes").with("ETag", "\"a\""))
            }
            "/stream" => Ok(Response::new(
                Status::OK,
                Body::Stream(None, Box::new(|out| out.write_all(b"one").and_then(|()| out.write_all(b"two")))),
            )),
            "/broken" => Ok(Response::new(Status::OK, Body::Stream(Some(10), Box::new(|out| out.write_all(b"few"))))),
            "/unread" => Ok(Response::text(Status::OK, "unread")),
            "/refused" => Err(Status::FORBIDDEN),
            _ => {
                let mut body = Vec::new();
                request.read_body(100, |block| body.extend_from_slice(block))?;
                let told = format!("{:?} {path} {}", request.head.method, String::from_utf8_lossy(&body));
                Ok(Response::text(Status::OK, &told))
            }
        }
    }
}

/// All that comes back for these bytes, after which the client says no more.
fn talk(input: &[u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let connection = Connection::from_tcp(listener.accept().unwrap().0).unwrap();
    let server = thread::spawn(move || {
        let span = Duration::from_secs(20);
        serve(connection, "1", Terms { idle: span, data: span }, &SystemClock::default(), &Echo);
    });
    client.write_all(input).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut output = Vec::new();
    client.read_to_end(&mut output).unwrap();
    server.join().unwrap();
    String::from_utf8_lossy(&output).into_owned()
}

fn codes(answers: &str) -> Vec<u16> {
    answers.lines().filter_map(|line| line.split("HTTP/1.1 ").nth(1)?.get(..3)?.parse().ok()).collect()
}

#[test]
fn requests_in_a_row_are_answered_in_order() {
    let answers = talk(
        b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nPOST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc\
          POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: v\r\n\r\n\
          POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc\r\n\
          HEAD /d HTTP/1.1\r\nHost: x\r\n\r\nGET http://x/e?q HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nGET /f HTTP/1.1\r\n",
    );
    assert_eq!(codes(&answers), [200; 6], "{answers}");
    for told in ["Get /a ", "Post /b abc", "Post /c abcde", "unread", "Get /e "] {
        assert!(answers.contains(&format!("\r\n\r\n{told}")), "{told}: {answers}");
    }
    assert!(!answers.contains("Head /d") && !answers.contains("/f"), "{answers}");
}

/// Each is refused with this status, and what follows is not taken for a request.
#[test]
fn what_could_be_two_requests_is_none() {
    let long = "a".repeat(9000);
    let many: String = (0..100).map(|number| format!("F{number}: x\r\n")).collect();
    let cases: &[(u16, String)] = &[
        (400, "GET / HTTP/1.1\r\n\r\n".into()),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".into()),
        (400, "GET / HTTP/1.1\nHost: a\r\n\r\n".into()),
        (400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n".into()),
        (400, "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n".into()),
        (400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        (400, "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        (505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n".into()),
        (400, "GET / HTTP/1.1x\r\nHost: a\r\n\r\n".into()),
        (501, "BREW / HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        (414, format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n")),
        (431, format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n")),
        (431, format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n")),
        (411, "POST / HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        (417, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: more\r\n\r\nx".into()),
        (413, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\nx".into()),
        (413, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n65\r\nx".into()),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx".into()),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx".into()),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx".into()),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nx".into()),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into()),
        (501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n".into()),
        (400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into()),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n".into()),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n".into()),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n".into()),
        (400, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n".into()),
    ];
    for (code, case) in cases {
        let answers = talk(format!("{case}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        assert_eq!(codes(&answers), [*code], "{case:?}: {answers}");
        assert!(answers.contains("\r\nConnection: close\r\n"), "{case:?}: {answers}");
    }
}

#[test]
fn old_clients_keep_the_connection_only_if_they_say_so() {
    let answers = talk(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /b HTTP/1.0\r\n\r\nGET /c HTTP/1.0\r\n\r\n");
    assert_eq!(codes(&answers), [200; 2], "{answers}");
    let answers = talk(b"GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /b HTTP/1.0\r\n\r\n");
    assert!(answers.ends_with("\r\n\r\nonetwo") && !answers.contains("chunked"), "{answers}");
}

#[test]
fn a_client_that_waits_is_told_to_go_on_or_not() {
    let answers = talk(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 200\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(codes(&answers), [413], "{answers}");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let connection = Connection::from_tcp(listener.accept().unwrap().0).unwrap();
    let span = Duration::from_secs(20);
    let server = thread::spawn(move || serve(connection, "1", Terms { idle: span, data: span }, &SystemClock::default(), &Echo));
    client.write_all(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n").unwrap();
    let mut word = [0; 25];
    client.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"abc").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("Post /a abc"), "{answer}");
    server.join().unwrap();
}

#[test]
fn what_the_client_has_is_not_sent_again() {
    let get = |path: &str, field: &str| talk(format!("GET {path} HTTP/1.1\r\nHost: x\r\n{field}\r\n\r\n").as_bytes());
    for (code, field) in [
        (304, "If-None-Match: \"b\", W/\"a\""),
        (304, "If-None-Match: *"),
        (200, "If-None-Match: \"b\""),
        (412, "If-Match: \"b\""),
        (200, "If-Match: \"a\""),
        (206, "Range: bytes=2-3"),
        (206, "Range: bytes=-3"),
        (206, "Range: bytes=9-99999999999999999999"),
        (416, "Range: bytes=10-"),
        (416, "Range: bytes=-0"),
        (200, "Range: bytes=3-2"),
        (200, "Range: bytes=0-1,3-4"),
        (200, "Range: lines=0-1"),
        (200, "Range: bytes=2-3\r\nIf-Range: \"b\""),
        (206, "Range: bytes=2-3\r\nIf-Range: \"a\""),
    ] {
        assert_eq!(codes(&get("/ranged", field)), [code], "{field}");
    }
    let part = get("/ranged", "Range: bytes=2-3");
    assert!(part.contains("\r\nContent-Range: bytes 2-3/10\r\n") && part.ends_with("\r\n\r\n23"), "{part}");
    assert!(get("/ranged", "Range: bytes=-3").ends_with("\r\n\r\n789"));
    assert_eq!(codes(&get("/long", "Range: bytes=2-3")), [200], "where no ranges are offered there are none");
}

#[test]
fn text_is_compressed_for_who_wants_it() {
    let get = |field: &str| talk(format!("GET /long HTTP/1.1\r\nHost: x\r\n{field}\r\n\r\n").as_bytes());
    let packed = get("Accept-Encoding: br, gzip;q=0.8");
    assert!(packed.contains("\r\nContent-Encoding: gzip\r\n") && packed.contains("\r\nETag: W/\"a\"\r\n"), "{packed}");
    assert!(packed.len() < 1000, "{} bytes", packed.len());
    for field in ["Accept-Encoding: gzip;q=0", "Accept-Encoding: gzip;q=0.00", "Accept-Encoding: br", "X: y"] {
        let plain = get(field);
        assert!(plain.len() > 10_000 && plain.contains("\r\nVary: Accept-Encoding\r\n"), "{field}");
    }
}

#[test]
fn a_stream_comes_in_chunks_and_one_that_breaks_off_has_no_end() {
    let answers = talk(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answers.contains("\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\nHTTP/1.1 200"), "{answers}");
    let answers = talk(b"GET /broken HTTP/1.1\r\nHost: x\r\n\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(codes(&answers).len() <= 1 && !answers.contains("Get /a"), "the connection must not go on: {answers}");
}

#[test]
fn no_value_ends_its_line() {
    let response = Response::see_other("/x\r\nSet-Cookie: y");
    assert_eq!(response.field("location"), Some("/xSet-Cookie: y"));
}
