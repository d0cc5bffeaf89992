//! Behind a proxy that tells who is there (PROXY protocol): that client is the one who counts, and nobody else can say so.

use crate::common::{Daemon, Imap, PASSWORD, Pop3, Setup, Smtp, Talk, base64, fixed_port, letter};
use pillarbox::net::tls::ClientTls;
use pillarbox::net::{Connection, Line};
use std::net::SocketAddr;
use std::time::Duration;

crate::tests![
    the_client_stands_in_trace_and_log,
    who_relays_is_the_client,
    the_header_comes_before_tls,
    passwords_need_tls_from_afar,
    sessions_are_the_clients,
    others_are_refused,
    what_is_no_header_ends_it,
    loopback_of_another_host,
];

/// What version 2 begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A daemon with one more listener, for proxies at this address.
fn behind(proxy: &str, protocol: &str, tls: &str, more: &str) -> (Daemon, SocketAddr) {
    set_up_behind(Setup::default(), proxy, protocol, tls, more)
}

pub fn set_up_behind(setup: Setup, proxy: &str, protocol: &str, tls: &str, more: &str) -> (Daemon, SocketAddr) {
    let at = SocketAddr::from(([127, 0, 0, 1], fixed_port()));
    let config = format!(
        "[[listen]]\naddress = \"{at}\"\nprotocol = \"{protocol}\"\ntls = \"{tls}\"\nproxy = [\"{proxy}\"]\n\
         [smtp]\nrelay_networks = [\"127.0.0.0/8\"]\n{more}"
    );
    (setup.config(&config).start(), at)
}

pub fn v1(client: &str) -> Vec<u8> {
    let family = if client.contains(':') { "TCP6" } else { "TCP4" };
    format!("PROXY {family} {client} {client} 40000 25\r\n").into_bytes()
}

fn v2(command: u8, family: u8, behind: &[u8]) -> Vec<u8> {
    let length = u16::try_from(behind.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[0x20 | command, family], &length, behind].concat()
}

/// A connection on which a header was sent.
fn talk(at: SocketAddr, header: &[u8]) -> Talk {
    let mut talk = Talk::connect(at).unwrap();
    talk.send(header).unwrap();
    talk
}

pub fn smtp(at: SocketAddr, header: &[u8]) -> Smtp {
    let mut smtp = Smtp { talk: talk(at, header) };
    assert!(smtp.reply().unwrap().starts_with("220"));
    smtp.expect("EHLO client.test", "250").unwrap();
    smtp
}

fn the_client_stands_in_trace_and_log() {
    let (daemon, at) = behind("127.0.0.0/8", "smtp", "none", "");
    let six = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[7], &[0; 16], &[1, 2, 0, 25], b"\x04\0\x02xx"].concat();
    for (number, (header, client)) in [
        (v1("198.51.100.7"), "[198.51.100.7]"),
        (v1("2001:db8::9"), "[IPv6:2001:db8::9]"),
        (v1("::ffff:198.51.100.8"), "[198.51.100.8]"),
        (v2(1, 0x11, &[198, 51, 100, 6, 127, 0, 0, 1, 1, 2, 0, 25]), "[198.51.100.6]"),
        (v2(1, 0x21, &six), "[IPv6:2001:db8::7]"),
        (v2(0, 0, b""), "[127.0.0.1]"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "[127.0.0.1]"),
    ]
    .into_iter()
    .enumerate()
    {
        let reply = smtp(at, &header).send("carol@sender.test", &["alice@here.test"], &letter("x", "x")).unwrap();
        assert!(reply.starts_with("250"), "{reply}");
        let text = String::from_utf8_lossy(&daemon.mail("alice")[number]).into_owned();
        assert!(text.contains(&format!("from client.test ({client})")), "{client}: {text}");
        let shown = client.trim_matches(['[', ']']).trim_start_matches("IPv6:");
        assert!(daemon.log().contains(&format!("smtp connect peer={shown} ")), "{client}: {}", daemon.log());
    }
}

fn who_relays_is_the_client() {
    let (_daemon, at) = behind("127.0.0.1", "smtp", "none", "");
    let asked = |header: &[u8]| {
        let mut smtp = smtp(at, header);
        smtp.expect("MAIL FROM:<carol@sender.test>", "250").unwrap();
        smtp.command("RCPT TO:<x@elsewhere.test>").unwrap()
    };
    assert!(asked(&v1("198.51.100.7")).starts_with("554 5.7.1"));
    assert!(asked(&v1("127.0.0.9")).starts_with("250"));
}

fn the_header_comes_before_tls() {
    let (daemon, at) = behind("127.0.0.1", "imap", "implicit", "");
    let mut connection = Connection::connect(at, Duration::from_secs(60)).unwrap();
    connection.put(&v1("198.51.100.7")).unwrap();
    connection.start_tls(&ClientTls::opportunistic(), "mail.here.test").unwrap();
    let mut line = Vec::new();
    assert_eq!(connection.read_line(10_000, &mut line).unwrap(), Line::Whole);
    assert!(line.starts_with(b"* OK"), "{line:?}");
    assert!(daemon.log().contains("imap connect peer=198.51.100.7 tls=TLSv1.3"));
}

fn passwords_need_tls_from_afar() {
    let (daemon, at) = behind("127.0.0.1", "imap", "starttls", "");
    let greeting = talk(at, &v1("198.51.100.7")).line().unwrap();
    assert!(greeting.contains("LOGINDISABLED"), "{greeting}");
    assert!(!talk(at, &v2(0, 0, b"")).line().unwrap().contains("LOGINDISABLED"));
    assert!(Imap::log_in(daemon.at("imap"), "alice", PASSWORD).is_ok());

    let (daemon, at) = behind("127.0.0.1", "pop3", "none", "[auth]\nplaintext = \"always\"\n");
    let mut pop3 = Pop3 { talk: talk(at, &v1("198.51.100.7")) };
    assert!(pop3.talk.line().unwrap().starts_with("+OK"));
    let plain = |password: &str| base64(format!("\0alice\0{password}").as_bytes());
    assert!(pop3.command(&format!("AUTH PLAIN {}", plain("wrong"))).unwrap().starts_with("-ERR"));
    pop3.ok(&format!("AUTH PLAIN {}", plain(PASSWORD))).unwrap();
    for word in ["failed", "ok"] {
        assert!(daemon.log().contains(&format!("auth {word} user=alice peer=198.51.100.7 service=pop3")), "{}", daemon.log());
    }
}

fn sessions_are_the_clients() {
    let (_daemon, at) = behind("127.0.0.1", "smtp", "none", "[limits]\nper_network = 2\n");
    let _first = smtp(at, &v1("198.51.100.7"));
    let _second = smtp(at, &v2(1, 0x11, &[198, 51, 100, 7, 127, 0, 0, 1, 1, 2, 0, 25]));
    let mut third = talk(at, &v1("198.51.100.7"));
    assert!(third.line().unwrap().starts_with("421 "));
    assert!(third.ends());
    let _other = smtp(at, &v1("198.51.100.8"));
}

fn others_are_refused() {
    let (daemon, at) = behind("192.0.2.1", "smtp", "none", "");
    for header in [v1("198.51.100.7"), v2(0, 0, b""), b"EHLO x\r\n".to_vec()] {
        let mut talk = Talk::connect(at).unwrap();
        // It may be gone already.
        let _ = talk.send(&header);
        assert!(talk.line().is_err());
    }
    assert!(daemon.log().contains("turned-away service=smtp peer=127.0.0.1 reason=no-proxy"));
    // Nor is a header anything elsewhere.
    let mut talk = talk(daemon.at("smtp"), &v1("198.51.100.7"));
    let said = talk.line().unwrap();
    assert!(said.starts_with("554 ") || talk.line().unwrap().starts_with("500 "), "{said}");
}

fn what_is_no_header_ends_it() {
    let (daemon, at) = behind("127.0.0.1", "smtp", "none", "");
    for wrong in [
        &b"EHLO client.test\r\nMAIL FROM:<a@b.test>\r\n"[..],
        b"PROXY TCP4 198.51.100.7\r\nEHLO client.test\r\n",
        b"PROXY TCP4 198.51.100.7 127.0.0.1 1 25\nEHLO client.test\r\n",
        &[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200], b"\r\n"].concat(),
        &v2(3, 0x11, &[0; 12]),
        &v2(1, 0x12, &[0; 12]),
        &v2(1, 0x11, &[0; 4]),
        &[SIGNATURE, &[0x21, 0x11, 0xff, 0xff], &[0; 100]].concat(),
    ] {
        assert!(talk(at, wrong).line().is_err(), "{wrong:?}");
    }
    daemon.wait_for_log(60, "connect-failed service=smtp error=\"PROXY of 127.0.0.1: not a header\"");
    // Who says nothing, or not all of it, is not waited for; no banner tells more meanwhile.
    assert!(talk(at, b"PROXY TCP4 198.51").line().is_err());
    daemon.wait_for_log(60, "PROXY of 127.0.0.1: timed out");
    // In pieces it is a header all the same.
    let mut slow = Talk::connect(at).unwrap();
    for byte in v1("198.51.100.7") {
        slow.send(&[byte]).unwrap();
    }
    assert!(slow.line().unwrap().starts_with("220 "));
}

/// A proxy that is not on this host can't make a client one of this host.
fn loopback_of_another_host() {
    let ours = crate::attacks::afar::own_address();
    let at = SocketAddr::new(ours, fixed_port());
    let config = format!("[[listen]]\naddress = \"{at}\"\nprotocol = \"imap\"\nproxy = [\"{ours}\"]\n");
    let daemon = Setup::default().config(&config).start();
    assert!(talk(at, &v1("127.0.0.1")).line().unwrap().contains("LOGINDISABLED"));
    assert!(daemon.log().contains(&format!("imap connect peer={ours} ")), "{}", daemon.log());
}
