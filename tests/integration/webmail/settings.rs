//! What users set for themselves, and who stands behind a message.

use super::browser::Browser;
use super::compose::mail;
use crate::common::{PASSWORD, Setup};
use std::io::Write;

crate::tests![
    a_password_is_changed_by_who_knows_it,
    mail_is_answered_while_one_is_away,
    names_and_signature_are_written,
    nobody_sets_anything_for_others,
    what_this_host_found_is_told,
];

fn a_password_is_changed_by_who_knows_it() {
    let daemon = Setup::default().start();
    let (mut alice, mut other) = (Browser::of(&daemon, "alice"), Browser::of(&daemon, "alice"));
    let token = alice.token();
    let mut change = |old: &str, new: &str, again: &str| {
        let fields = [("token", token.as_str()), ("do", "password"), ("old", old), ("new", new), ("again", again)];
        let page = alice.post("/settings", &fields);
        (page.status, page.text())
    };
    for (old, new, again, status, told) in [
        ("wrong", "a new password", "a new password", 403, "The old password is wrong."),
        (PASSWORD, "a new password", "another", 422, "twice"),
        (PASSWORD, "short", "short", 422, "8 characters"),
        (PASSWORD, "", "", 422, "8 characters"),
        (PASSWORD, "with a \0 in it", "with a \0 in it", 422, "can't be a password"),
    ] {
        let (got, text) = change(old, new, again);
        assert!(got == status && text.replace("&#39;", "'").contains(told), "{new:?}: {got} {text}");
    }
    assert_eq!(change(PASSWORD, "a n\u{e9}w password:", "a n\u{e9}w password:").0, 303);
    // This browser goes on, the other one has to log in anew, by the new password; so have mail programs.
    assert_eq!((alice.get("/m/INBOX").status, other.get("/m/INBOX").status), (200, 303));
    assert_eq!(other.post("/login", &[("name", "alice"), ("password", PASSWORD)]).status, 403);
    assert_eq!(other.post("/login", &[("name", "alice"), ("password", "a n\u{e9}w password:")]).status, 303);
    Browser::of(&daemon, "bob").get("/m/INBOX").shows("Inbox");
    let log = daemon.log();
    assert!(log.contains("auth changed user=alice sessions-ended=1") && !log.contains("a n"), "{log}");
}

fn mail_is_answered_while_one_is_away() {
    let daemon = Setup::default().start();
    let mut alice = Browser::of(&daemon, "alice");
    alice.get("/settings").shows("Mail is not answered.");
    let away = [("do", "away"), ("since", "2020-01-01"), ("until", ""), ("days", "3"), ("subject", "Gone & <away>")];
    let page = alice.act("/settings", &[&away[..], &[("text", "I am away.\r\nTill then.")]].concat());
    page.shows("Mail is answered today.").shows("Gone &amp; &lt;away&gt;").shows("I am away.\nTill then.").shows("2020-01-01");
    let mut bob = Browser::of(&daemon, "bob");
    let form = bob.get("/compose");
    bob.write(&form, "send", &[("to", "alice"), ("subject", "hello")], &[]).shows("The message was sent.");
    let [reply] = &mail(&daemon, "bob")[..] else { panic!("{:?}", mail(&daemon, "bob")) };
    assert!(reply.contains("Subject: Gone & <away>\r\n") && reply.contains("I am away.\r\nTill then."), "{reply}");
    // What is wrong is told, and what was typed is not lost.
    let token = alice.token();
    let mut wrong = |name: &str, value: &str| {
        let fields = [("token", token.as_str()), ("do", "away"), (name, value), ("text", "words of mine")];
        let page = alice.post("/settings", &fields);
        assert!(page.status == 422 && page.text().contains("This can"), "{name}: {}", page.text());
        page.text()
    };
    assert!(wrong("days", "100").contains("words of mine"));
    wrong("since", "soon");
    wrong("text", "");
    alice.act("/settings", &[("do", "back")]).shows("Mail is not answered any more.").shows("Mail is not answered.");
}

fn names_and_signature_are_written() {
    let daemon = Setup::default().start();
    let mut alice = Browser::of(&daemon, "alice");
    let page = alice
        .act("/settings", &[("do", "profile"), ("name", "Alice M\u{fc}ller, <Dr.>"), ("signature", "Alice\r\n<b>Here</b>\r\n")]);
    page.shows("It is kept.").shows("Alice Müller, &lt;Dr.&gt;").shows("&lt;b&gt;Here&lt;/b&gt;");
    let form = alice.get("/compose");
    let text = form.fields().into_iter().find(|(name, _)| name == "text").unwrap().1;
    assert_eq!(text, "\n\n-- \nAlice\n<b>Here</b>\n");
    alice.write(&form, "send", &[("to", "bob"), ("subject", "named")], &[]).shows("The message was sent.");
    let mut bob = Browser::of(&daemon, "bob");
    bob.open("named").shows("Alice Müller, &lt;Dr.&gt;").shows("alice@here.test");
    // Above what is answered; and a draft gets no second one.
    let page = bob.get("/settings");
    page.lacks("Alice");
    bob.act("/settings", &[("do", "profile"), ("signature", "Bob")]);
    let page = bob.open("named");
    let form = bob.get(&page.link(">Reply"));
    let draft = bob.write(&form, "save", &[], &[]);
    let text = draft.fields().into_iter().find(|(name, _)| name == "text").unwrap().1;
    assert!(text.starts_with("\n\nBob\n\nOn ") && text.matches("Bob").count() == 1, "{text:?}");
    // A name writes no fields.
    alice.act("/settings", &[("do", "profile"), ("name", "x\r\nBcc: evil@evil.test\r\n\r\nbody"), ("signature", "")]);
    let form = alice.get("/compose");
    alice.write(&form, "send", &[("to", "bob"), ("subject", "evil")], &[]).shows("The message was sent.");
    let last = mail(&daemon, "bob").pop().unwrap();
    assert!(!last.contains("\r\nBcc:") && last.contains("<alice@here.test>"), "{last}");
    let token = alice.token();
    let long = "x".repeat(5000);
    assert_eq!(alice.post("/settings", &[("token", &token), ("do", "profile"), ("signature", &long)]).status, 413);
}

fn nobody_sets_anything_for_others() {
    let daemon = Setup::default().start();
    let mut alice = Browser::of(&daemon, "alice");
    for word in ["password", "away", "back", "profile"] {
        assert_eq!(alice.post("/settings", &[("do", word), ("old", PASSWORD), ("text", "x")]).status, 403, "{word}");
    }
    let token = alice.token();
    assert_eq!(alice.post("/settings", &[("token", &token), ("do", "explode")]).status, 422);
}

fn what_this_host_found_is_told() {
    let daemon = Setup::default().start();
    let found = "Authentication-Results: mail.here.test;\n\tspf=pass smtp.mailfrom=b.test;\n\tdkim=pass header.d=b.test;\n\tdmarc=pass header.from=b.test\n";
    // As another program puts it there.
    let mut mailbox = std::fs::OpenOptions::new().create(true).append(true).open(daemon.mailbox("alice")).unwrap();
    for (subject, head) in [
        ("ours", found.to_owned()),
        ("theirs", found.replace("mail.here", "mx.b")),
        ("below", format!("Received: by x\n{found}")),
        ("forged", found.replace("dmarc=pass", "dmarc=fail").replace("=b.test", "=\"<b>.test\"")),
    ] {
        let date = "Sat Nov 21 09:18:51 2026";
        write!(mailbox, "From a@b.test {date}\n{head}From: a@b.test\nSubject: {subject}\n\ntext\n\n").unwrap();
    }
    let mut alice = Browser::of(&daemon, "alice");
    alice.open(">ours<").shows("This is from b.test: signed by b.test, sent by a host of b.test.");
    alice.open(">theirs<").lacks("class=\"proof");
    alice.open(">below<").lacks("class=\"proof");
    alice.open(">forged<").shows("Perhaps forged: &lt;b&gt;.test does not stand behind this message.");
}
