//! Good and bad command lines.

use super::*;
use proptest::prelude::*;

fn number(value: u32) -> Number {
    Number(NonZeroU32::new(value).unwrap())
}

#[test]
fn good_commands() {
    use Command::*;
    let plain = |initial| Auth { mechanism: "PLAIN", initial };
    let table: [(&[u8], Command<'_>); 31] = [
        (b"CAPA", Capa),
        (b"capa", Capa),
        (b"CaPa  ", Capa),
        (b"NOOP", Noop),
        (b"QUIT ", Quit),
        (b"RSET", Rset),
        (b"STAT", Stat),
        (b"STLS", Stls),
        (b"UTF8", Utf8),
        (b"LIST", List(None)),
        (b"LIST ", List(None)),
        (b"LIST 1", List(Some(number(1)))),
        (b"list  0012 ", List(Some(number(12)))),
        (b"UIDL", Uidl(None)),
        (b"UIDL 4294967295", Uidl(Some(number(u32::MAX)))),
        (b"RETR 7", Retr(number(7))),
        (b"DELE 000000000000000000000000000007", Dele(number(7))),
        (b"TOP 1 0", Top { number: number(1), lines: 0 }),
        (b"TOP 1 10", Top { number: number(1), lines: 10 }),
        (b"TOP 1 18446744073709551615", Top { number: number(1), lines: u64::MAX }),
        (b"USER alice", User("alice")),
        (b"USER alice@example.org", User("alice@example.org")),
        (b"USER j\xc3\xbcrgen", User("j\u{fc}rgen")),
        (b"PASS secret", Pass(Secret(b"secret"))),
        (b"pass  two  words ", Pass(Secret(b" two  words "))),
        (b"PASS ", Pass(Secret(b""))),
        (b"PASS \xff\x01", Pass(Secret(b"\xff\x01"))),
        (b"AUTH PLAIN", plain(None)),
        (b"AUTH PLAIN =", plain(Some(b"="))),
        (b"AUTH PLAIN AGE=", plain(Some(b"AGE="))),
        (b"auth GSSAPI", Auth { mechanism: "GSSAPI", initial: None }),
    ];
    for (line, command) in table {
        assert_eq!(parse(line), Ok(command), "{}", line.escape_ascii());
    }
}

#[test]
fn bad_commands() {
    let unknown: [&[u8]; 12] = [
        b"",
        b" ",
        b" STAT",
        b"STA",
        b"STATS",
        b"STAT\t",
        b"APOP alice c4c9334bac560ecc979e58001b3e22fb",
        b"XTND XMIT",
        b"LANG *",
        b"EHLO x",
        b"\xff\xfe",
        b"\x16\x03\x01",
    ];
    for line in unknown {
        assert_eq!(parse(line), Err(Fault::Unknown), "{}", line.escape_ascii());
    }
    let arguments: [&[u8]; 26] = [
        b"STAT now",
        b"QUIT now",
        b"NOOP x",
        b"RSET 1",
        b"CAPA x",
        b"STLS x",
        b"UTF8 USER",
        b"LIST one",
        b"LIST -1",
        b"LIST 1 2",
        b"LIST +1",
        b"RETR",
        b"RETR 1x",
        b"RETR 1 x",
        b"RETR 0x1",
        b"RETR \xd9\xa1",
        b"DELE",
        b"DELE 1,2",
        b"TOP 1",
        b"TOP 1 -1",
        b"TOP 1 1 1",
        b"USER",
        b"USER a b",
        b"USER \xff",
        b"PASS",
        b"AUTH",
    ];
    for line in arguments {
        assert!(matches!(parse(line), Err(Fault::Arguments(_))), "{}", line.escape_ascii());
    }
    let numbers: [&[u8]; 7] = [
        b"RETR 0",
        b"RETR 000",
        b"LIST 0",
        b"DELE 4294967296",
        b"UIDL 99999999999999999999999999",
        b"TOP 0 1",
        b"TOP 3 99999999999999999999",
    ];
    for line in numbers {
        assert_eq!(parse(line), Err(Fault::Number), "{}", line.escape_ascii());
    }
    for line in [&b"GET / HTTP/1.1"[..], b"post /", b"CONNECT a:25 HTTP/1.1", b"Host: mail", b"DELETE /x", b"HEAD"] {
        assert_eq!(parse(line), Err(Fault::Http), "{}", line.escape_ascii());
    }
}

#[test]
fn the_length_of_a_line_is_bounded() {
    let fits = [b"PASS ".as_slice(), &[b'x'; 248]].concat();
    assert_eq!(fits.len() + 2, MOST_LINE);
    assert!(matches!(parse(&fits), Ok(Command::Pass(_))));
    assert_eq!(parse(&[fits.as_slice(), b"x"].concat()), Err(Fault::TooLong));
    let long = [b"AUTH PLAIN ".as_slice(), &[b'A'; 2000]].concat();
    assert!(matches!(parse(&long), Ok(Command::Auth { .. })));
    assert_eq!(parse(&[b'x'; 2000]), Err(Fault::Unknown));
}

#[test]
fn the_password_is_not_shown() {
    let shown = format!("{:?}", parse(b"PASS secret"));
    assert!(!shown.contains("secret") && !shown.contains("115"), "{shown}");
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(line in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&line);
    }

    #[test]
    fn no_arguments_make_it_panic(row in 0..GRAMMAR.len(), rest in "[ 0-9a-z=\\-\u{0}-\u{ff}]{0,40}") {
        let line = format!("{} {rest}", GRAMMAR[row].0);
        if let Ok(Command::Pass(Secret(password))) = parse(line.as_bytes()) {
            prop_assert_eq!(password, rest.as_bytes());
        }
    }

    #[test]
    fn every_number_is_read(value in 1..=u32::MAX, zeros in 0..5_usize) {
        let line = format!("DELE {}{value}", "0".repeat(zeros));
        prop_assert_eq!(parse(line.as_bytes()), Ok(Command::Dele(number(value))));
    }
}
