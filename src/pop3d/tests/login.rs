//! The authorization phase.

use super::*;

#[test]
fn user_and_pass() {
    let house = House::new();
    let mut client = house.client();
    client.expect("PASS secret", "-ERR");
    client.expect("user alice", "+OK");
    client.expect("NOOP", "-ERR");
    client.expect("PASS secret", "-ERR");
    let nobody = [client.ask("USER nobody"), client.ask("PASS wrong")];
    let alice = [client.ask("USER alice"), client.ask("PASS wrong")];
    assert_eq!(nobody, alice);
    assert_eq!(alice[1], "-ERR [AUTH] wrong name or password");
    client.expect("PASS secret", "-ERR");
    client.expect("USER broken", "+OK");
    client.expect("PASS secret", "-ERR [SYS/TEMP]");
    client.expect("USER alice", "+OK");
    client.expect("PASS secret ", "-ERR [AUTH]");
    client.expect("USER alice", "+OK");
    client.expect("PASS  two  words ", "+OK 0 messages (0 octets)");
    client.expect("USER alice", "-ERR");
    client.expect("STAT", "+OK 0 0");
    client.expect("QUIT", "+OK");
    client.ended();
}

#[test]
fn auth_plain() {
    let house = House::new();
    let mut client = house.client();
    for bad in ["AUTH", "AUTH GSSAPI", "AUTH LOGIN", "AUTH PLAIN ???", "AUTH PLAIN =", "AUTH PLAIN YWxpY2U=", "AUTH PLAIN a b"] {
        client.expect(bad, "-ERR");
    }
    // Somebody else's name to act for; a wrong password.
    client.expect("AUTH PLAIN Ym9iAGFsaWNlAHNlY3JldA==", "-ERR [AUTH] wrong name or password");
    client.expect("AUTH PLAIN AGFsaWNlAHdyb25n", "-ERR [AUTH] wrong name or password");
    for answer in ["*", "", "STAT", "=AAA", &"A".repeat(20_000), "a\nb", "AGFsaWNlAHdyb25n"] {
        assert_eq!(client.ask("auth plain"), "+ ");
        client.expect(answer, "-ERR");
        client.expect("STAT", "-ERR log in first");
    }
    assert_eq!(client.ask("AUTH PLAIN"), "+ ");
    client.expect("AGFsaWNlAHNlY3JldA==", "+OK 0 messages");
    client.expect("AUTH PLAIN", "-ERR");
    client.expect("QUIT", "+OK");
    client.ended();
    let mut client = house.client();
    client.expect("AUTH PLAIN YWxpY2UAYWxpY2UAc2VjcmV0", "+OK 0 messages");
    client.hang_up();
}

#[test]
fn no_passwords_in_the_clear_from_afar() {
    // A listener on loopback sees loopback peers only, so the terms are tested beside the table; here: the table obeys.
    let house = House::new();
    let mut state = authorization::Authorization::default();
    let peer = crate::net::Peer::Tcp("192.0.2.1:1000".parse().unwrap());
    let terms = authorization::Terms::of(&peer, false, true, false);
    let context = authorization::Context { server: &house.server, session: "t", peer, tls: None, terms };
    for line in ["USER alice", "PASS secret", "AUTH PLAIN", "AUTH PLAIN AGFsaWNlAHNlY3JldA=="] {
        match state.take(&context, Ok(line.as_bytes())) {
            outcome::Outcome::Reply(reply) => assert_eq!(reply.to_string(), "-ERR [AUTH] no passwords without TLS\r\n"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn stls_makes_all_new() {
    let house = House::new();
    let mut client = house.client();
    assert!(client.ask_for_lines("CAPA").contains(&"STLS".to_owned()));
    client.expect("USER alice", "+OK");
    client.expect("STLS", "+OK");
    client.start_tls();
    client.expect("PASS secret", "-ERR");
    assert!(!client.ask_for_lines("CAPA").contains(&"STLS".to_owned()));
    client.expect("STLS", "-ERR");
    client.log_in();
    client.expect("STLS", "-ERR");
    client.expect("STAT", "+OK 0 0");
    client.expect("QUIT", "+OK");
    client.ended();
}

#[test]
fn stls_where_it_is_not_offered() {
    let house = House::new();
    for (offered, implicit) in [(false, false), (true, true)] {
        let mut client = house.client_at(offered, implicit);
        assert!(!client.ask_for_lines("CAPA").contains(&"STLS".to_owned()));
        client.expect("STLS", "-ERR");
        client.log_in();
        client.expect("QUIT", "+OK");
        client.ended();
    }
    let mut client = house.unix_client();
    client.log_in();
    client.expect("QUIT", "+OK");
    client.ended();
}

/// CVE-2011-0411.
#[test]
fn nothing_is_carried_out_behind_stls() {
    let house = House::new();
    let mut client = house.client();
    client.send(b"STLS\r\nUSER alice\r\nPASS secret\r\n");
    for _ in 0..3 {
        assert!(client.line().starts_with("-ERR nothing may be sent behind STLS"));
    }
    client.expect("STAT", "-ERR log in first");
    client.expect("STLS", "+OK");
    client.start_tls();
    client.log_in();
    client.hang_up();
    // What comes a moment later is no handshake.
    let mut client = house.client();
    client.expect("STLS", "+OK");
    client.send(b"USER alice\r\nPASS secret\r\nQUIT\r\n");
    client.joined();
}

#[test]
fn capabilities_stay_after_login() {
    let house = House::new();
    let mut client = house.client();
    let mut before = client.ask_for_lines("capa");
    before.retain(|line| line != "STLS");
    client.log_in();
    assert_eq!(client.ask_for_lines("CAPA"), before);
    client.hang_up();
}

#[test]
fn utf8_is_for_before_login() {
    let house = House::new();
    let mut client = house.client();
    client.expect("UTF8", "+OK");
    client.expect("UTF8 USER", "-ERR");
    client.expect("LANG *", "-ERR");
    client.log_in();
    client.expect("UTF8", "-ERR");
    client.hang_up();
}

#[test]
fn the_last_error_ends_it() {
    let house = House::with(|config| config.limits.errors = 3);
    let mut client = house.client();
    client.send(b"BOGUS\r\n\r\nCAPA\r\nNO\nOP\r\nUSER alice\r\n");
    assert!(client.line().starts_with("-ERR"));
    assert!(client.line().starts_with("-ERR"));
    assert!(client.line().starts_with("+OK"));
    client.rest();
    assert!(client.line().starts_with("-ERR"));
    client.ended();
    let mut client = house.client();
    client.expect("USER alice", "+OK");
    client.send(b"POST / HTTP/1.1\r\nUSER alice\r\nPASS secret\r\n");
    assert!(client.line().starts_with("-ERR"));
    client.ended();
}

#[test]
fn long_lines() {
    let house = House::new();
    let mut client = house.client();
    client.expect(&format!("USER {}", "a".repeat(249)), "-ERR line too long");
    client.expect(&"A".repeat(100_000), "-ERR line too long");
    client.expect(&format!("AUTH PLAIN {}", "A".repeat(12_000)), "-ERR");
    client.expect(&format!("USER {}", "a".repeat(248)), "+OK");
    client.log_in();
    client.expect(&format!("RETR {}", "1".repeat(3000)), "-ERR line too long");
    // An endless one ends the session, however long it goes on.
    let junk = vec![b'x'; 1 << 16];
    while client.connection.put(&junk).and_then(|()| client.connection.flush()).is_ok() {}
    client.joined();
}

#[test]
fn told_to_leave() {
    let house = House::new();
    let mut client = house.client();
    client.log_in();
    house.registry.tell_all_to_leave();
    assert_eq!(client.line(), "-ERR [SYS/TEMP] server shutting down");
    client.ended();
}

/// RFC 1939 §3: no reply when the timer expires.
#[test]
fn silence_and_slowness_end_it() {
    let house = House::with(|config| config.timeouts.idle = Duration::from_millis(200));
    house.client().ended();
    let mut client = house.client();
    for byte in b"AUTH PLAIN AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" {
        if client.connection.put(&[*byte]).and_then(|()| client.connection.flush()).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    client.joined();
}
