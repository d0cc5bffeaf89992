//! The same over TLS.

use super::*;
use crate::net::tls::{ClientTls, ServerTls};

pub(super) fn tls() -> ServerTls {
    let dir = tempfile::tempdir().unwrap();
    ServerTls::self_signed(dir.path(), "mail.example.org").unwrap()
}

/// A handshake between two of ours.
pub(super) fn tls_pair(server_tls: &ServerTls, name: &'static str) -> (Connection, Connection) {
    let (mut server, mut client) = two();
    let other = thread::spawn(move || {
        client.start_tls(&ClientTls::opportunistic(), name).unwrap();
        client
    });
    assert!(!server.accept_tls(server_tls).unwrap());
    (server, other.join().unwrap())
}

#[test]
fn tls_there_and_back() {
    for tls in [tls(), tls().without_tickets()] {
        let (mut server, mut client) = tls_pair(&tls, "mail.example.org.");
        let info = server.tls().unwrap().clone();
        assert_eq!((info.version.as_str(), info.sni.as_deref()), ("TLSv1.3", Some("mail.example.org")));
        assert!(info.cipher.starts_with("TLS_AES_"), "{}", info.cipher);
        assert_eq!(client.tls().unwrap().cipher, info.cipher);
        let text = b"line\r\n".repeat(200_000);
        let len = text.len();
        let writer = thread::spawn(move || {
            client.put(b"EHLO x\r\nDATA\r\n").unwrap();
            client.flush().unwrap();
            assert_eq!(line_of(&mut client), "354 go on");
            let mut writer = client.dot_writer();
            writer.write_all(&text).unwrap();
            writer.finish().unwrap();
            assert_eq!(line_of(&mut client), "250 ok");
            client
        });
        assert_eq!(line_of(&mut server), "EHLO x");
        assert!(server.has_input());
        assert_eq!(line_of(&mut server), "DATA");
        assert!(!server.input_pending());
        server.put(b"354 go on\r\n").unwrap();
        let mut sink = Sink::default();
        assert!(matches!(server.read_dots(len as u64, &mut sink), Ok(Dots::Whole)));
        assert!(sink.text == b"line\n".repeat(200_000));
        server.put(b"250 ok\r\n").unwrap();
        server.flush().unwrap();
        drop(writer.join().unwrap());
        assert!(matches!(server.read_line(100, &mut Vec::new()), Err(NetError::Closed)));
    }
}

#[test]
fn tls_input_is_found_wherever_it_lies() {
    let (mut server, mut client) = tls_pair(&tls(), "192.0.2.1");
    assert_eq!(server.tls().unwrap().sni, None);
    assert!(!server.input_pending() && !client.input_pending());
    client.put(b"one\r\ntwo\r\n").unwrap();
    client.flush().unwrap();
    wait_for(|| peek_len(&server) > 0);
    assert!(server.input_pending());
    assert!(server.has_input());
    assert_eq!(line_of(&mut server), "one");
    assert_eq!(line_of(&mut server), "two");
    assert!(!server.has_input());
    // A peer that vanishes without close_notify.
    client.stream.link().cut();
    assert!(matches!(server.read_line(100, &mut Vec::new()), Err(NetError::Closed)));
}

#[test]
fn plaintext_before_the_handshake_is_dropped() {
    let (mut server, mut client) = two();
    client.put(b"STARTTLS\r\nMAIL FROM:<evil@example.org>\r\n").unwrap();
    client.flush().unwrap();
    wait_for(|| peek_len(&server) > 20);
    assert_eq!(line_of(&mut server), "STARTTLS");
    server.put(b"220 go\r\n").unwrap();
    let other = thread::spawn(move || {
        assert_eq!(line_of(&mut client), "220 go");
        client.start_tls(&ClientTls::opportunistic(), "x.example").unwrap();
        client.put(b"EHLO x\r\n").unwrap();
        client.flush().unwrap();
        client
    });
    assert!(server.accept_tls(&tls()).unwrap());
    assert_eq!(line_of(&mut server), "EHLO x");
    drop(other.join().unwrap());
    // The client drops what was said before the handshake as well.
    let (mut server, mut client) = two();
    server.put(b"220 go\r\n250 injected\r\n").unwrap();
    server.flush().unwrap();
    wait_for(|| peek_len(&client) > 10);
    assert_eq!(line_of(&mut client), "220 go");
    let other = thread::spawn(move || {
        server.accept_tls(&tls()).unwrap();
        server.put(b"250 true\r\n").unwrap();
        server.flush().unwrap();
        server
    });
    client.start_tls(&ClientTls::opportunistic(), "x.example").unwrap();
    assert_eq!(line_of(&mut client), "250 true");
    drop(other.join().unwrap());
}

#[test]
fn a_handshake_with_something_else_fails_in_time() {
    for said in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], b"\x16\x03\x01\xff\xff\x01", b"\0\0\0\0\0\0\0\0\0", b""] {
        let (mut connection, mut peer) = pair();
        peer.write_all(said).unwrap();
        connection.set_timeout(Duration::from_millis(100));
        connection.set_deadline(Some(Duration::from_millis(100)));
        assert!(connection.accept_tls(&tls()).is_err());
        assert!(connection.tls().is_none());
        let (mut connection, mut peer) = pair();
        peer.write_all(said).unwrap();
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(connection.start_tls(&ClientTls::opportunistic(), "x.example").is_err());
    }
}
