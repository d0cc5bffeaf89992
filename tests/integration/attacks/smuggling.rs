//! A message behind a message: whatever some server takes for the end of one, only the true end is one here (VU#302671).

use crate::common::{Daemon, PASSWORD, Setup, Smtp, Talk, wait_for};

crate::tests![only_the_true_end_ends_a_message, a_domain_that_goes_in_a_circle];

const ENDS: [&str; 16] = [
    "\r\n", "\n", "\r", "\r\r\n", "\n\r", "\r\n\r", "\n\n", "\r\r", "\0\n", "\r\0\n", "\0\r\n", "\r\n\0", "\u{b}", "\u{c}",
    "\u{85}", "\u{2028}",
];

/// A message, what comes behind its true or untrue end, and the true end of both.
fn text(way: &str) -> Vec<u8> {
    let hidden = "MAIL FROM:<evil@sender.test>\r\nRCPT TO:<alice@here.test>\r\nDATA\r\nSubject: hidden\r\n\r\nhidden\r\n.\r\n";
    format!("Subject: open\r\n\r\ntext{way}{hidden}QUIT\r\n").into_bytes()
}

/// The lines that it says from here to its end.
fn rest(talk: &mut Talk) -> Vec<String> {
    std::iter::from_fn(|| talk.line().ok()).collect()
}

fn only_the_true_end_ends_a_message() {
    let daemon = Setup::default().start();
    let begin = |listener: &str| -> Smtp {
        let mut smtp = Smtp::connect(daemon.at(listener)).unwrap();
        smtp.expect(if listener == "lmtp" { "LHLO client.test" } else { "EHLO client.test" }, "250").unwrap();
        if listener == "submission" {
            assert!(smtp.log_in("alice", PASSWORD).unwrap().starts_with("235"));
        }
        smtp.expect("MAIL FROM:<alice@here.test>", "250").unwrap();
        smtp.expect("RCPT TO:<bob@here.test>", "250").unwrap();
        smtp
    };
    let dots = [".", "..", ".\0", "\0.", ". "];
    let pairs = ENDS.iter().flat_map(|before| ENDS.iter().map(move |after| format!("{before}.{after}")));
    let dotted = dots.iter().flat_map(|dot| ["\r\n", "\n"].map(|end| format!("{end}{dot}{end}")));
    let ways: Vec<String> = pairs.chain(dotted).filter(|way| !way.contains("\r\n.\r\n")).collect();
    assert!(ways.len() > 250);
    for (number, way) in ways.iter().enumerate() {
        // On one listener all of them, on the others each third.
        let listeners = if number % 3 == 0 { &["smtp", "submission", "lmtp"][..] } else { &["smtp"] };
        for listener in listeners {
            let mut smtp = begin(listener);
            smtp.expect("DATA", "354").unwrap();
            smtp.talk.send(&text(way)).unwrap();
            let said = rest(&mut smtp.talk);
            // One answer to one message; if it went on, one to QUIT.
            let fine = matches!(said.as_slice(), [taken, bye] if taken.starts_with("250") && bye.starts_with("221"));
            let refused = said.first().is_some_and(|first| first.starts_with("550 5.6.0")) && said.len() <= 2;
            assert!(fine || refused, "{listener} {way:?}: {said:?}");
        }
        // In a chunk its length is its end.
        let (mut smtp, chunk) = (begin("smtp"), text(way));
        smtp.talk.send(&[format!("BDAT {} LAST\r\n", chunk.len()).as_bytes(), &chunk, b"QUIT\r\n"].concat()).unwrap();
        let said = rest(&mut smtp.talk);
        assert!(said.len() == 2 && said[1].starts_with("221"), "BDAT {way:?}: {said:?}");
    }
    for user in ["alice", "bob"] {
        let subjects = |text: &[u8]| String::from_utf8_lossy(text).contains("\nSubject: open\r\n");
        assert!(daemon.mail(user).iter().all(|mail| subjects(mail)), "{user} has a message that was hidden");
    }
    assert!(daemon.mail("alice").is_empty() && !daemon.mail("bob").is_empty());
}

/// Two hosts that each think the other has a domain: mail for it comes to its end, its sender hears so, once.
fn a_domain_that_goes_in_a_circle() {
    let config = |to: &Daemon| {
        let route = |to: &Daemon| format!("[[route]]\ndomain = \"circle.test\"\nhost = \"{}\"\n", to.at("smtp"));
        route(to) + "[smtp]\nrelay_networks = [\"127.0.0.0/8\"]\n[queue]\nper_destination = 1\n"
    };
    let mut other =
        Setup { hostname: "mail.other.test".into(), domains: vec!["other.test".into()], ..Setup::default() }.prepare();
    other.pin_ports();
    other.start();
    let ours = Setup::default().config(&config(&other)).start();
    assert!(other.stop().success());
    let back = format!("[[route]]\ndomain = \"here.test\"\nhost = \"{}\"\n", ours.at("smtp"));
    std::fs::write(other.config(), other.config_text(&(config(&ours) + &back))).unwrap();
    other.start();
    let mut smtp = Smtp::hello(ours.at("submission")).unwrap();
    assert!(smtp.log_in("alice", PASSWORD).unwrap().starts_with("235"));
    let sent = smtp.send("alice@here.test", &["x@circle.test"], b"Subject: round\r\n\r\nx\r\n").unwrap();
    assert!(sent.starts_with("250"), "{sent}");
    let report = String::from_utf8_lossy(&ours.wait_for_mail("alice", 1, 120)[0]).into_owned();
    assert!(report.contains("Status: 5.4.6") && report.contains("Subject: round"), "{report}");
    wait_for("empty queues", 60, || (ours.queue().is_empty() && other.queue().is_empty()).then_some(()));
    assert_eq!(ours.mail("alice").len(), 1);
}
