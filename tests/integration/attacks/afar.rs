//! A client that is not on this host, as far as addresses tell: nobody logs in without TLS.

use crate::common::{Daemon, Imap, PASSWORD, Pop3, Setup, Smtp, base64};
use crate::runner::skip;
use pillarbox::net::tls::ClientTls;
use pillarbox::net::{Connection, Line};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Duration;

crate::tests![no_login_without_tls, plaintext_always];

/// A daemon at an address of this host that is none of loopback: who connects to it comes from there.
fn afar(setup: Setup) -> Daemon {
    Setup { address: own_address(), ..setup }.start()
}

/// An address of this host that is none of loopback.
pub fn own_address() -> IpAddr {
    // Nothing is sent; the system tells which address it would send from.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let found = socket.connect((Ipv4Addr::new(192, 0, 2, 77), 9)).and_then(|()| socket.local_addr());
    match found.map(|address| address.ip()) {
        Ok(address @ IpAddr::V4(_)) if !address.is_loopback() => address,
        _ => skip("this host has no address but loopback".to_owned()),
    }
}

fn line(connection: &mut Connection) -> String {
    let mut line = Vec::new();
    assert_eq!(connection.read_line(10_000, &mut line).unwrap(), Line::Whole);
    String::from_utf8(line).unwrap()
}

fn ask(connection: &mut Connection, text: &str) -> String {
    connection.put(format!("{text}\r\n").as_bytes()).unwrap();
    connection.flush().unwrap();
    line(connection)
}

fn no_login_without_tls() {
    let daemon = afar(Setup::default());
    let plain = base64(format!("\0alice\0{PASSWORD}").as_bytes());

    let mut connection = Connection::connect(daemon.at("imap"), Duration::from_secs(60)).unwrap();
    let greeting = line(&mut connection);
    assert!(greeting.contains("STARTTLS LOGINDISABLED]") && !greeting.contains("AUTH="), "{greeting}");
    for command in [
        &format!("LOGIN alice {PASSWORD}"),
        &format!("AUTHENTICATE PLAIN {plain}"),
        "AUTHENTICATE PLAIN",
        "AUTHENTICATE LOGIN",
        "AUTHENTICATE SCRAM-SHA-256",
    ] {
        let answer = ask(&mut connection, &format!("a {command}"));
        assert!(answer.starts_with("a NO [PRIVACYREQUIRED]"), "{command}: {answer}");
    }
    assert!(ask(&mut connection, "b SELECT INBOX").starts_with("b BAD"));
    assert!(ask(&mut connection, "c STARTTLS").starts_with("c OK"));
    connection.start_tls(&ClientTls::opportunistic(), "mail.here.test").unwrap();
    let capabilities = ask(&mut connection, "d CAPABILITY");
    assert!(capabilities.contains("AUTH=PLAIN") && !capabilities.contains("LOGINDISABLED"), "{capabilities}");
    assert!(line(&mut connection).starts_with("d OK"));
    assert!(ask(&mut connection, &format!("e LOGIN alice {PASSWORD}")).starts_with("e OK"));

    let mut pop3 = Pop3::connect(daemon.at("pop3")).unwrap();
    let capabilities = String::from_utf8(pop3.lines("CAPA").unwrap()).unwrap();
    assert!(capabilities.contains("STLS") && !capabilities.contains("USER") && !capabilities.contains("SASL"), "{capabilities}");
    for command in ["USER alice", &format!("AUTH PLAIN {plain}"), "AUTH SCRAM-SHA-256"] {
        let answer = pop3.command(command).unwrap();
        assert!(answer.starts_with("-ERR [AUTH]"), "{command}: {answer}");
    }

    let mut smtp = Smtp::connect(daemon.at("submission")).unwrap();
    let hello = smtp.command("EHLO client.test").unwrap();
    assert!(hello.contains("STARTTLS") && !hello.contains("AUTH"), "{hello}");
    for command in [&format!("AUTH PLAIN {plain}"), "AUTH SCRAM-SHA-256"] {
        let answer = smtp.command(command).unwrap();
        assert!(answer.starts_with("530 ") || answer.starts_with("538 "), "{command}: {answer}");
    }
    // Of all these, only the one under TLS came to a check.
    assert_eq!(daemon.log().matches(" auth ").count(), 1);
}

/// Where the operator does not mind.
fn plaintext_always() {
    let daemon = afar(Setup::options(&["auth.plaintext=\"always\""]));
    Imap::log_in(daemon.at("imap"), "alice", PASSWORD).unwrap();
    Pop3::log_in(daemon.at("pop3"), "alice", PASSWORD).unwrap();
    assert!(Smtp::hello(daemon.at("submission")).unwrap().log_in("alice", PASSWORD).unwrap().starts_with("235"));
}
