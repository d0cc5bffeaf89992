//! Hidden copies: who they are for stands nowhere but in their own.

use crate::common::{PASSWORD, Setup, Sink, Smtp, wait_for, with_input};
use std::fs;
use std::process::Command;

crate::tests![nobody_learns_of_hidden_copies, sendmail_keeps_them_hidden];

/// None of these words is in it.
fn says_nothing_of(text: &str, words: &[&str]) {
    let text = text.to_lowercase();
    for word in words {
        assert!(!text.contains(word), "{word}: {text}");
    }
}

fn nobody_learns_of_hidden_copies() {
    let sink = Sink::with(|line| line.starts_with("RCPT TO:<gone").then(|| "550 5.1.1 no".to_owned()));
    let config = format!("[[route]]\ndomain = \"far.test\"\nhost = \"{}\"\n", sink.address);
    let mut daemon = Setup::default().config(&config).users(&["alice", "bob", "carol"]).prepare();
    fs::write(daemon.path("aliases"), "lurkers: carol, secret@far.test\n").unwrap();
    daemon.start();
    let mut smtp = Smtp::hello(daemon.at("submission")).unwrap();
    assert!(smtp.log_in("alice", PASSWORD).unwrap().starts_with("235"));
    smtp.expect("MAIL FROM:<alice@here.test> RET=FULL", "250").unwrap();
    // As they come: the hidden ones are not the last.
    for to in ["lurkers@here.test", "gone@far.test", "blind@far.test", "open@far.test", "bob@here.test", "also@far.test"] {
        smtp.expect(&format!("RCPT TO:<{to}>"), "250").unwrap();
    }
    smtp.expect("DATA", "354").unwrap();
    let letter = "From: alice@here.test\r\nbcc: lurkers@here.test,\r\n gone@far.test\r\nTo: Open <OPEN@far.test>, bob@here.test\r\n\
                  BCC : blind@far.test\r\nCc: also@far.test\r\nResent-Bcc: gone@far.test\r\nSubject: hello\r\n\r\ntext\r\n.\r\n";
    smtp.talk.send(letter.as_bytes()).unwrap();
    assert!(smtp.reply().unwrap().starts_with("250"));
    let (bob, carol) = (daemon.wait_for_mail("bob", 1, 30).remove(0), daemon.wait_for_mail("carol", 1, 30).remove(0));
    let report = daemon.wait_for_mail("alice", 1, 30).remove(0);
    wait_for("the queue", 30, || daemon.queue().is_empty().then_some(()));
    let [bob, carol, report] = [bob, carol, report].map(|text| String::from_utf8(text).unwrap());
    says_nothing_of(&bob, &["bcc", "lurkers", "gone", "blind", "secret", "carol"]);
    says_nothing_of(&carol, &["bcc", "gone", "blind", "secret"]);
    // The sender hears of what failed, and gets back what was sent.
    assert!(report.contains("Final-Recipient: rfc822; gone@far.test") && report.contains("\r\ntext\r\n"), "{report}");
    says_nothing_of(&report, &["bcc", "lurkers", "blind", "secret", "carol"]);
    // No envelope of those who are named holds one of those who are not, and no message names them.
    let mut envelopes = Vec::new();
    for arrived in sink.arrived() {
        let mut to: Vec<String> = arrived.to.iter().map(|one| one.split(['<', '>']).nth(1).unwrap().to_owned()).collect();
        to.sort();
        let text = String::from_utf8(arrived.message).unwrap();
        says_nothing_of(&text, &["bcc", "gone", "blind", "secret", "carol"]);
        assert_eq!(text.contains("lurkers"), to == ["secret@far.test"], "{to:?}: {text}");
        envelopes.push(to);
    }
    envelopes.sort();
    let expected: [&[&str]; 3] = [&["also@far.test", "open@far.test"], &["blind@far.test"], &["secret@far.test"]];
    assert_eq!(envelopes, expected);
}

fn sendmail_keeps_them_hidden() {
    let sink = Sink::start();
    let config = format!("[[route]]\ndomain = \"far.test\"\nhost = \"{}\"\n", sink.address);
    let daemon = Setup::default().config(&config).start();
    let send = |letter: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pillarboxctl"));
        command.arg("-f").arg(daemon.config()).args(["sendmail", "-t", "-f", "alice@here.test"]);
        let output = with_input(command, letter.as_bytes());
        assert!(output.status.success(), "{output:?}");
    };
    send("To: open@far.test\nBcc: blind@far.test,\n bob@here.test\nSubject: one\n\nx\n");
    send("Resent-To: open@far.test\nResent-Bcc: blind@far.test\nTo: y@away.test\nBcc: z@away.test\nSubject: two\n\nx\n");
    let arrived = wait_for("both, twice", 30, || Some(sink.arrived()).filter(|arrived| arrived.len() == 4));
    for one in arrived {
        assert_eq!(one.to.len(), 1, "{:?}", one.to);
        says_nothing_of(&String::from_utf8(one.message).unwrap(), &["bcc", "blind", "bob@", "z@"]);
    }
    let bob = daemon.wait_for_mail("bob", 1, 30).remove(0);
    says_nothing_of(&String::from_utf8(bob).unwrap(), &["bcc", "blind"]);
}
