//! Clients that mean no good, or do no good.

use super::*;
use proptest::prelude::*;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

fn with_mail(house: &House, bytes: usize) {
    let line = format!("{}\n", "0123456789".repeat(7));
    let text = line.repeat(bytes / line.len());
    fs::write(house.mbox(), format!("From a@b.test Sat Nov 21 09:00:00 2026\nSubject: big\n\n{text}\n")).unwrap();
}

/// A bare socket, and the session at its other end.
fn bare(house: &House) -> (TcpStream, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let thread = house.serve(Connection::from_tcp(listener.accept().unwrap().0).unwrap(), true, false);
    (socket, thread)
}

const LOGIN: &str = "USER alice\r\nPASS secret\r\n";

#[test]
fn numbers_of_all_kinds() {
    let house = House::new();
    with_mail(&house, 1000);
    let mut client = house.logged_in();
    for verb in ["LIST", "UIDL", "RETR", "DELE"] {
        for number in
            ["0", "-1", "2", "99999999999", "18446744073709551617", "1x", "1 x", "+1", "1.0", "\u{661}", "0x1", "1,1", "*"]
        {
            client.expect(&format!("{verb} {number}"), "-ERR");
        }
    }
    for arguments in ["1", "1 -1", "1 x", "0 0", "2 0", "1 99999999999999999999", "1 1 1", "x 1"] {
        client.expect(&format!("TOP {arguments}"), "-ERR");
    }
    assert_eq!(client.ask_for_lines("TOP 0001 00"), ["Subject: big", ""]);
    assert_eq!(client.ask_for_lines("TOP 1 18446744073709551615").len(), 2 + 1000 / 71);
    client.expect("DELE 0001", "+OK");
    client.expect("DELE 1", "-ERR");
    client.hang_up();
}

/// Many thousand commands at once: each gets its reply, in order.
#[test]
fn a_flood_of_commands() {
    let house = House::with(|config| config.limits.errors = usize::MAX);
    with_mail(&house, 1000);
    let (socket, thread) = bare(&house);
    let mut flood = LOGIN.to_owned();
    for _ in 0..10_000 {
        flood.push_str("STAT\r\nLIST\r\nBOGUS\r\nRETR 1\r\nTOP 1 0\r\n");
    }
    flood.push_str("DELE 1\r\nQUIT\r\n");
    let mut writer = socket.try_clone().unwrap();
    let sender = thread::spawn(move || writer.write_all(flood.as_bytes()).unwrap());
    let mut got = String::new();
    (&socket).read_to_string(&mut got).unwrap();
    sender.join().unwrap();
    thread.join().unwrap();
    assert_eq!(got.matches("\r\n-ERR unknown command\r\n").count(), 10_000);
    assert_eq!(got.matches("\r\nSubject: big\r\n").count(), 20_000);
    assert!(got.ends_with("+OK it goes away when you quit\r\n+OK goodbye\r\n"));
}

/// Who closes its writing side is answered to the end.
#[test]
fn a_half_closed_socket() {
    let house = House::new();
    with_mail(&house, 300_000);
    let (mut socket, thread) = bare(&house);
    socket.write_all(format!("{LOGIN}RETR 1\r\nDELE 1\r\n").as_bytes()).unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    let mut got = String::new();
    socket.read_to_string(&mut got).unwrap();
    thread.join().unwrap();
    assert!(got.ends_with("\r\n.\r\n+OK it goes away when you quit\r\n"));
    // But without QUIT nothing is deleted.
    let mut client = house.logged_in();
    client.expect("STAT", "+OK 1 ");
    client.hang_up();
}

#[test]
fn a_slow_reader_gets_all_of_it() {
    let house = House::new();
    with_mail(&house, 25 << 20);
    let (mut socket, thread) = bare(&house);
    socket.write_all(format!("{LOGIN}RETR 1\r\nQUIT\r\n").as_bytes()).unwrap();
    let mut block = vec![0; 1 << 20];
    let mut got = 0;
    let mut tail = Vec::new();
    loop {
        let read = socket.read(&mut block).unwrap();
        if read == 0 {
            break;
        }
        if got < 3 << 20 {
            thread::sleep(Duration::from_millis(2));
        }
        got += read;
        tail.extend_from_slice(&block[..read]);
        tail.drain(..tail.len().saturating_sub(100));
    }
    thread.join().unwrap();
    assert!(tail.ends_with(b"0123456789\r\n.\r\n+OK goodbye\r\n"));
    let line = 72;
    let text = (25 << 20) / (line - 1) * line;
    assert!(got > text && got < text + 400, "{got} for {text}");
}

/// Who does not read at all is not waited for longer than the time-out says, and then the maildrop is free.
#[test]
fn a_reader_that_stopped() {
    let house = House::with(|config| config.timeouts.data = Duration::from_millis(300));
    with_mail(&house, 25 << 20);
    let (mut socket, thread) = bare(&house);
    socket.write_all(format!("{LOGIN}DELE 1\r\nRSET\r\nRETR 1\r\nDELE 1\r\nQUIT\r\n").as_bytes()).unwrap();
    thread.join().unwrap();
    let mut client = house.logged_in();
    client.expect("STAT", "+OK 1 ");
    client.hang_up();
    let mut got = Vec::new();
    let _ = socket.read_to_end(&mut got);
    assert!(!got.ends_with(b"\r\n.\r\n"));
}

/// No bytes that a client may send make a session panic, and each line gets one reply.
#[test]
fn noise() {
    let house = House::with(|config| config.limits.errors = usize::MAX);
    with_mail(&house, 100);
    for bytes in [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n"[..], b"\0\r\n", b"\r\r\n", b"\n\r\n", b"\xff\xfb\x01\r\n"]
    {
        let (mut socket, thread) = bare(&house);
        socket.write_all(&[bytes, b"QUIT\r\n"].concat()).unwrap();
        let mut got = String::new();
        socket.read_to_string(&mut got).unwrap();
        thread.join().unwrap();
        let replies: Vec<&str> = got.split_terminator("\r\n").collect();
        assert!(replies.len() == 3 && replies[1].starts_with("-ERR") && replies[2] == "+OK goodbye", "{got:?}");
    }
}

fn any_line() -> impl Strategy<Value = Vec<u8>> {
    let regex = |arguments: &str| {
        let command = "(USER|PASS|AUTH|AUTH PLAIN|CAPA|STLS|UTF8|STAT|LIST|RETR|DELE|NOOP|RSET|TOP|UIDL)";
        proptest::string::string_regex(&format!("{command}{arguments}")).unwrap().prop_map(String::into_bytes)
    };
    prop_oneof![3 => regex("( [0-3])?( [0-3])?"), 1 => regex(" ?.{0,20}"), 1 => proptest::collection::vec(any::<u8>(), 0..40)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Every line in every state: an outcome, and the numbers stay what they are.
    #[test]
    fn any_order_of_commands(before in proptest::collection::vec(any_line(), 0..10), after in proptest::collection::vec(any_line(), 0..30)) {
        thread_local!(static HOUSE: House = {
            let house = House::new();
            fs::write(house.mbox(), "From a@b.test Sat Nov 21 09:00:00 2026\nSubject: s\n\none\n\nFrom a@b.test Sat Nov 21 09:00:00 2026\nSubject: s\n\ntwo\n\n").unwrap();
            house
        });
        HOUSE.with(|house| -> Result<(), TestCaseError> {
            let peer = crate::net::Peer::Unix { uid: 0, pid: 0 };
            let terms = authorization::Terms { stls: true, passwords: true };
            let context = authorization::Context { server: &house.server, session: "t", peer, tls: None, terms };
            let mut state = authorization::Authorization::default();
            for line in before.iter().filter(|line| !line.to_ascii_uppercase().starts_with(b"PASS")) {
                prop_assert!(!matches!(state.take(&context, Ok(line)), outcome::Outcome::LoggedIn(..) | outcome::Outcome::Message(..)));
            }
            let account = TwoUsers::made("alice").unwrap();
            let mut maildrop = transaction::Maildrop::open(&house.server.store, &account, "t").unwrap();
            for line in &after {
                let outcome = maildrop.take(&context, Ok(line));
                let wrong = matches!(outcome, outcome::Outcome::LoggedIn(..) | outcome::Outcome::Stls | outcome::Outcome::Challenge(_));
                prop_assert!(!wrong);
                if let outcome::Outcome::Message(_, mut message) = outcome {
                    let sent = message.send(&mut Vec::new()).unwrap();
                    prop_assert!(sent <= 19);
                }
            }
            maildrop.take(&context, Ok(b"RSET"));
            prop_assert_eq!(maildrop.count(), (2, 38));
            Ok(())
        })?;
    }
}
