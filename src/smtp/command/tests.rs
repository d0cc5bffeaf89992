use super::*;
use proptest::prelude::*;

fn sender(line: &str) -> Result<String, CommandError> {
    match Command::parse(line.as_bytes())? {
        Command::Mail(mail) => Ok(mail.reverse_path.to_string()),
        other => panic!("{other:?}"),
    }
}

fn recipient(line: &str) -> Result<String, CommandError> {
    match Command::parse(line.as_bytes())? {
        Command::Rcpt(Rcpt { path: ForwardPath::Postmaster, .. }) => Ok("postmaster".into()),
        Command::Rcpt(Rcpt { path: ForwardPath::Address(address), .. }) => Ok(address.to_string()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn verbs_are_known_in_any_case() {
    let table: [(&str, Command<'_>); 23] = [
        ("EHLO client.test", Command::Ehlo("client.test")),
        ("ehlo [192.0.2.1]", Command::Ehlo("[192.0.2.1]")),
        ("Helo under_score", Command::Helo("under_score")),
        ("HELO  x  ", Command::Helo("x")),
        ("DATA", Command::Data),
        ("data \t", Command::Data),
        ("BDAT 0", Command::Bdat { size: 0, last: false }),
        ("bdat 86 last ", Command::Bdat { size: 86, last: true }),
        ("BDAT  7 LAST", Command::Bdat { size: 7, last: true }),
        ("BDAT 99999999999999999999999", Command::Bdat { size: u64::MAX, last: false }),
        ("RSET", Command::Rset),
        ("NOOP", Command::Noop),
        ("NOOP some words", Command::Noop),
        ("QUIT", Command::Quit),
        ("VRFY somebody", Command::Vrfy),
        ("VRFY j\u{f6}rg SMTPUTF8", Command::Vrfy),
        ("VRFY SMTPUTF8=", Command::Vrfy),
        ("HELP", Command::Help),
        ("HELP me", Command::Help),
        ("STARTTLS", Command::Starttls),
        ("AUTH PLAIN", Command::Auth { mechanism: "PLAIN", initial: None }),
        ("auth LOGIN dGlt", Command::Auth { mechanism: "LOGIN", initial: Some(b"dGlt") }),
        ("AUTH PLAIN =", Command::Auth { mechanism: "PLAIN", initial: Some(b"=") }),
    ];
    for (line, command) in table {
        assert_eq!(Command::parse(line.as_bytes()), Ok(command), "{line}");
    }
}

#[test]
fn what_is_no_command_is_told_apart() {
    let long_auth = format!("AUTH PLAIN {}", "A".repeat(4000));
    assert!(Command::parse(long_auth.as_bytes()).is_ok());
    let (long_noop, long_foo) = (format!("NOOP {}", "y".repeat(3000)), format!("FOO {}", "y".repeat(3000)));
    let table: [(&str, CommandError); 54] = [
        ("BDAT", CommandError::Arguments),
        ("BDAT LAST", CommandError::Arguments),
        ("BDAT -1", CommandError::Arguments),
        ("BDAT +1", CommandError::Arguments),
        ("BDAT 0x10", CommandError::Arguments),
        ("BDAT 1 LAST 2", CommandError::Arguments),
        ("BDAT 1 FIRST", CommandError::Arguments),
        ("", CommandError::Unknown),
        (" ", CommandError::Unknown),
        (" QUIT", CommandError::Unknown),
        ("FOO bar", CommandError::Unknown),
        ("MAILFROM:<a@b>", CommandError::Unknown),
        ("QUIT\tnow", CommandError::Unreadable),
        ("NOOP \u{e4}", CommandError::Unreadable),
        ("NOOP \u{7f}", CommandError::Unreadable),
        ("NOOP\0", CommandError::Unreadable),
        ("EHLO a\x01b", CommandError::Unreadable),
        ("MAIL FROM:<\"a\x0bb\"@c>", CommandError::Unreadable),
        (&long_noop, CommandError::TooLong),
        (&long_foo, CommandError::Unknown),
        ("GET / HTTP/1.1", CommandError::Foreign),
        ("post / HTTP/1.1", CommandError::Foreign),
        ("CONNECT a:25 HTTP/1.1", CommandError::Foreign),
        ("HOST: a", CommandError::Foreign),
        ("EXPN staff", CommandError::NotImplemented),
        ("TURN", CommandError::NotImplemented),
        ("EHLO", CommandError::Arguments),
        ("EHLO a b", CommandError::Arguments),
        ("DATA now", CommandError::Arguments),
        ("RSET now", CommandError::Arguments),
        ("QUIT now", CommandError::Arguments),
        ("STARTTLS now", CommandError::Arguments),
        ("VRFY", CommandError::Arguments),
        ("AUTH", CommandError::Arguments),
        ("AUTH PLAIN a b", CommandError::Arguments),
        ("MAIL", CommandError::Arguments),
        ("MAIL TO:<a@b>", CommandError::Arguments),
        ("MAIL FROM", CommandError::Arguments),
        ("MAIL FROM :<a@b>", CommandError::Arguments),
        ("RCPT", CommandError::Arguments),
        ("MAIL FROM:<a@b> SIZE=", CommandError::Arguments),
        ("MAIL FROM:<a@b> SIZE", CommandError::Arguments),
        ("MAIL FROM:<a@b> SIZE=1 SIZE=2", CommandError::Arguments),
        ("MAIL FROM:<a@b> BODY=BINARYMIME", CommandError::Arguments),
        ("MAIL FROM:<a@b> AUTH=+4", CommandError::Arguments),
        ("MAIL FROM:<a@b> -X=1", CommandError::Arguments),
        ("MAIL FROM:<a@b> SMTPUTF8=1", CommandError::Arguments),
        ("MAIL FROM:<a@b> SMTPUTF8 smtputf8", CommandError::Arguments),
        ("RCPT TO:<a@b> SMTPUTF8", CommandError::Parameter),
        ("VRFY a SMTPUTF8=", CommandError::Arguments),
        ("EXPN \u{f6} SMTPUTF8", CommandError::NotImplemented),
        ("EHLO b\u{fc}cher.example", CommandError::Unreadable),
        ("VRFY a\u{7f}\u{f6}", CommandError::Unreadable),
        ("RCPT TO:<a@b> NOTIFY=NEVER NOTIFY=NEVER", CommandError::Arguments),
    ];
    for (line, error) in table {
        assert_eq!(Command::parse(line.as_bytes()), Err(error), "{line:?}");
    }
    for line in [b"NOOP \xff" as &[u8], b"MAIL FROM:<\xf6@b> SMTPUTF8", b"RCPT TO:<a\xc3>"] {
        assert_eq!(Command::parse(line), Err(CommandError::Unreadable));
    }
}

#[test]
fn paths_come_out_without_their_routes() {
    for (path, address) in [
        ("<>", ""),
        ("<a@b.test>", "a@b.test"),
        (" <a@b.test>", "a@b.test"),
        ("<@x:a@b>", "a@b"),
        ("<@x,@y.z:a@b>", "a@b"),
        ("<@[IPv6:::1]:a@b>", "a@b"),
        ("<\"a b\"@c>", "\"a b\"@c"),
        ("<\"<>:@,\"@c>", "\"<>:@,\"@c"),
        ("<a%b@c>", "a%b@c"),
        ("<b!a@c>", "b!a@c"),
        ("<a@[192.0.2.1]>", "a@[192.0.2.1]"),
        ("<@\u{fc}.example:\u{f6}@b\u{fc}cher.example>", "\u{f6}@b\u{fc}cher.example"),
    ] {
        assert_eq!(sender(&format!("MAIL FROM:{path}")).as_deref(), Ok(address), "{path}");
        assert_eq!(sender(&format!("mail from:{path} size=5 body=8bitmime auth=<>")).as_deref(), Ok(address), "{path}");
        if !address.is_empty() {
            assert_eq!(recipient(&format!("RCPT TO:{path}")).as_deref(), Ok(address), "{path}");
        }
    }
    assert_eq!(recipient("RCPT TO:<PostMaster>").as_deref(), Ok("postmaster"));
    assert_eq!(recipient("RCPT TO: <postmaster>").as_deref(), Ok("postmaster"));
}

#[test]
fn what_is_no_path_is_refused() {
    let long = format!("<{}@b>", "z".repeat(300));
    for path in [
        "",
        "a@b",
        "<a@b",
        "a@b>",
        "<a>",
        "<a@>",
        "<@b>",
        "<a@@b>",
        "<a@b@c>",
        "<a@b..c>",
        "<a b@c>",
        "<a@b >",
        "< a@b>",
        "  <a@b>",
        "<@x>",
        "<@x:>",
        "<@x,y:a@b>",
        "<@x,:a@b>",
        "<@x:@y:a@b>",
        "<@:a@b>",
        "<@x a@b>",
        "<\"a@b>",
        "<a@b>x",
        "<a@b>,<c@d>",
        "<<a@b>>",
        "<postmaster",
        "<a@[1.2.3]>",
        "<a@b\u{3002}c>",
        "<a@b>\u{a0}",
        &long,
    ] {
        assert_eq!(sender(&format!("MAIL FROM:{path}")), Err(CommandError::Sender), "{path}");
        assert_eq!(recipient(&format!("RCPT TO:{path}")), Err(CommandError::Recipient), "{path}");
    }
    assert_eq!(recipient("RCPT TO:<>"), Err(CommandError::Recipient));
    assert_eq!(recipient("RCPT TO:<postmaster>x"), Err(CommandError::Recipient));
    assert!(sender("MAIL FROM:<a@b> <c@d>").is_err());
    assert!(recipient("RCPT TO:<a@b> <c@d>").is_err());
}

#[test]
fn parameters_are_taken() {
    let line = "MAIL FROM:<a@b>  SIZE=123  BODY=8bitmime AUTH=e+3Dmc2@example.com ";
    let Ok(Command::Mail(mail)) = Command::parse(line.as_bytes()) else { panic!() };
    assert_eq!((mail.size, mail.body), (Some(123), Body::EightBitMime));
    assert!(!mail.utf8);
    let Ok(Command::Mail(mail)) = Command::parse("MAIL FROM:<ö@b> smtputf8 BODY=8BITMIME".as_bytes()) else { panic!() };
    assert!(mail.utf8 && !mail.reverse_path.is_ascii());
    let Ok(Command::Mail(mail)) = Command::parse(b"MAIL FROM:<a@b> BODY=7BIT SIZE=99999999999999999999999999") else { panic!() };
    assert_eq!((mail.size, mail.body), (Some(u64::MAX), Body::SevenBit));
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(line in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = Command::parse(&line);
    }

    #[test]
    fn nothing_after_a_verb_makes_it_panic(verb in "(MAIL FROM:|RCPT TO:|AUTH |EHLO )", rest in "[<>@a-c.,:\"\\\\\\[\\] =+0-9A-C]{0,30}") {
        let line = format!("{verb}{rest}");
        if let Ok(Command::Mail(mail)) = Command::parse(line.as_bytes()) {
            prop_assert_eq!(sender(&format!("MAIL FROM:<{}>", mail.reverse_path)), Ok(mail.reverse_path.to_string()));
        }
    }

    #[test]
    fn accepted_paths_print_back(local in "[a-z]{1,8}([.][a-z!%+]{1,8}){0,2}|\"[ -!#-\\[\\]-~]{1,20}\"", domain in "[a-z]{1,8}([.][a-z0-9]{1,8}){0,2}") {
        let address = format!("{local}@{domain}");
        let printed = recipient(&format!("RCPT TO:<{address}>")).unwrap();
        prop_assert_eq!(recipient(&format!("RCPT TO:<{}>", printed)), Ok(printed.clone()));
        prop_assert!(printed == address || local.starts_with('"'));
    }
}
