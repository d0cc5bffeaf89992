//! Writing, sending, answering.

use super::browser::{Browser, Page};
use crate::common::{Daemon, Setup, letter};

crate::tests![
    a_message_is_written_and_sent,
    drafts_are_kept_with_their_files,
    answers_go_to_whom_they_should,
    messages_are_forwarded_in_two_ways,
    what_cannot_be_sent_stays_a_draft,
    nothing_is_sent_or_lost_by_two_windows,
    a_file_that_was_forgotten_is_asked_for,
    forms_forge_nothing,
    a_page_from_before_the_last_login_loses_nothing,
    a_user_sends_no_more_than_he_may,
];

pub(super) fn mail(daemon: &Daemon, user: &str) -> Vec<String> {
    daemon.mail(user).iter().map(|message| String::from_utf8_lossy(message).into_owned()).collect()
}

fn value(page: &Page, name: &str) -> String {
    page.fields().into_iter().find(|(own, _)| own == name).map(|(_, value)| value).unwrap_or_default()
}

fn a_message_is_written_and_sent() {
    let daemon = Setup::default().start();
    let mut alice = Browser::of(&daemon, "alice");
    let form = alice.get("/compose");
    form.shows("Send").shows("Subject");
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let fields = [
        ("to", "Bob Berg <bob@here.test>"),
        ("bcc", "alice@here.test"),
        ("subject", "grün"),
        ("text", "Hello,\r\nFrom here.\r\n.\r\n"),
    ];
    let page = alice.write(&form, "send", &fields, &[("räder.bin", "application/x-thing", &bytes)]);
    page.shows("The message was sent.");
    let [message] = &mail(&daemon, "bob")[..] else { panic!() };
    for line in [
        "\r\nFrom: alice@here.test\r\n",
        "\r\nTo: Bob Berg <bob@here.test>\r\n",
        "\r\nSubject: =?utf-8?B?Z3LDvG4=?=\r\n",
        "\r\nMessage-ID: <",
        "\r\nMIME-Version: 1.0\r\n",
        "\r\nHello,\r\nFrom here.\r\n.\r\n",
    ] {
        assert!(message.contains(line), "{line:?} in {message:.2000}");
    }
    // Nobody learns of the blind copy, nor from where it was written.
    assert!(!message.contains("Bcc") && !message.contains("127.0.0.1"), "{message:.2000}");
    let mut bob = Browser::of(&daemon, "bob");
    let page = bob.open("grün");
    let file = bob.get(&page.link("räder.bin"));
    assert!(file.body == bytes, "{} bytes", file.body.len());
    // The blind copy came, and a copy that tells of it is among the sent ones; no draft is left.
    assert_eq!(mail(&daemon, "alice").len(), 1);
    let sent = alice.get("/m/Sent");
    sent.shows("To: <bdi>Bob Berg</bdi>").lacks("class=\"message unread\"");
    alice.get(&format!("{}?view=headers", sent.link("grün"))).shows("Bcc: alice@here.test");
    alice.get("/m/Drafts").shows("There is no mail here.");
    assert!(!daemon.imap("alice").ok("STATUS Sent (MESSAGES UNSEEN)").unwrap().join("").contains("MESSAGES 0"));
    let mut imap = daemon.imap("alice");
    imap.ok("SELECT Sent").unwrap();
    let flags = imap.ok("FETCH 1 (FLAGS)").unwrap().join("");
    assert!(flags.contains("\\Seen") && !flags.contains("\\Draft"), "{flags}");
}

fn drafts_are_kept_with_their_files() {
    let daemon = Setup::default().start();
    let mut alice = Browser::of(&daemon, "alice");
    let form = alice.get("/compose");
    let page = alice.write(
        &form,
        "save",
        &[("to", "bo"), ("subject", "\"half\" <done>"), ("text", "\r\nfirst line empty\r\n<b>&amp;")],
        &[],
    );
    page.shows("The draft is saved.");
    assert_eq!(value(&page, "to"), "bo@here.test");
    assert_eq!(value(&page, "subject"), "\"half\" <done>");
    assert_eq!(value(&page, "text"), "\nfirst line empty\n<b>&amp;\n");
    // It is a draft for every program.
    let mut imap = daemon.imap("alice");
    imap.ok("SELECT Drafts").unwrap();
    assert!(imap.ok("FETCH 1 (FLAGS)").unwrap().join("").contains("\\Draft"));
    let page = alice.write(
        &page,
        "attach",
        &[("text", "second")],
        &[("a.txt", "text/plain", b"alpha"), ("b.txt", "text/plain", b"beta")],
    );
    let page = alice.write(&page, "attach", &[], &[("c.txt", "text/plain", b"gamma")]);
    page.shows("a.txt").shows("b.txt").shows("c.txt");
    let list = alice.get("/m/Drafts");
    assert_eq!(list.messages().len(), 1);
    let page = alice.get(&list.link("half"));
    assert_eq!(value(&page, "text"), "second\n");
    // The second one is not kept, and the message goes out.
    let mut keeps: Vec<(String, String)> = page.fields().into_iter().filter(|(name, _)| name == "keep").collect();
    assert_eq!(keeps.len(), 3);
    keeps.remove(1);
    let kept: Vec<(&str, &str)> = keeps.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let page = alice.write(&page, "send", &[&[("to", "bob")], &kept[..]].concat(), &[]);
    page.shows("The message was sent.");
    let mut bob = Browser::of(&daemon, "bob");
    let page = bob.open("half");
    page.shows("a.txt").shows("c.txt").lacks("b.txt");
    assert_eq!(bob.get(&page.link("c.txt")).body, b"gamma");
    // What is discarded is in the trash.
    let form = alice.get("/compose");
    let page = alice.write(&form, "save", &[("subject", "away")], &[]);
    alice.write(&page, "discard", &[], &[]).shows("1 message moved to").shows("There is no mail here.");
    alice.get("/m/Trash").shows(">away<");
}

fn answers_go_to_whom_they_should() {
    let daemon = Setup::default().start();
    let text = "From: \"Carl, C.\" <carl@far.test>\r\nTo: alice@here.test, Dora <dora@far.test>\r\nCc: bob@here.test, carl@far.test\r\n\
                Date: Sat, 21 Nov 2026 09:18:51 +0000\r\nMessage-ID: <one@far.test>\r\nReferences: <zero@far.test>\r\nSubject: plan\r\n\r\n\
                line\r\n> older\r\n";
    daemon.send(&["alice@here.test"], text.as_bytes());
    let mut alice = Browser::of(&daemon, "alice");
    let path = alice.get("/m/INBOX").link(">plan<");
    let page = alice.get(&path);
    let form = alice.get(&page.link(">Reply"));
    assert_eq!((value(&form, "to"), value(&form, "cc")), ("\"Carl, C.\" <carl@far.test>".into(), String::new()));
    assert_eq!(value(&form, "subject"), "Re: plan");
    assert_eq!(value(&form, "text"), "\n\nOn Sat, 21 Nov 2026 09:18:51 +0000, Carl, C. wrote:\n> line\n>> older\n");
    let form = alice.get(&page.link("Reply to all"));
    assert_eq!(value(&form, "cc"), "Dora <dora@far.test>, bob@here.test");
    // Saved in between, it is an answer all the same.
    let form = alice.write(&form, "save", &[("to", "bob@here.test"), ("cc", "")], &[]);
    alice.write(&form, "send", &[], &[]).shows("The message was sent.").shows("answered");
    let [message] = &mail(&daemon, "bob")[..] else { panic!() };
    assert!(
        message.contains("\r\nIn-Reply-To: <one@far.test>\r\nReferences: <zero@far.test>\r\n <one@far.test>\r\n"),
        "{message}"
    );
    let mut imap = daemon.imap("alice");
    imap.ok("SELECT INBOX").unwrap();
    assert!(imap.ok("FETCH 1 (FLAGS)").unwrap().join("").contains("\\Answered"));
    // To an answer of one's own one adds for the same people; Reply-To is where answers go.
    let sent = alice.get("/m/Sent");
    let page = alice.get(&sent.link("Re: plan"));
    let form = alice.get(&page.link(">Reply"));
    assert_eq!((value(&form, "to"), value(&form, "subject")), ("bob@here.test".into(), "Re: plan".into()));
    let text = "From: carl@far.test\r\nReply-To: list@far.test\r\nSubject: RE: listed\r\n\r\nx\r\n";
    daemon.send(&["alice@here.test"], text.as_bytes());
    let page = alice.get("/m/INBOX").link("listed");
    let form = alice.get(&page);
    let form = alice.get(&form.link(">Reply"));
    assert_eq!((value(&form, "to"), value(&form, "subject")), ("list@far.test".into(), "RE: listed".into()));
}

fn messages_are_forwarded_in_two_ways() {
    let daemon = Setup::default().start();
    let text = "From: carl@far.test\nSubject: files\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\n\
                the text\n--x\nContent-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: base64\n\nJVBERi0=\n--x--\n";
    let original = text.replace('\n', "\r\n");
    daemon.send(&["alice@here.test"], original.as_bytes());
    daemon.send(
        &["alice@here.test"],
        b"From: carl@far.test\r\nSubject: only\r\nContent-Type: application/pdf; name=b.pdf\r\n\r\n%PDF-only\r\n",
    );
    let mut alice = Browser::of(&daemon, "alice");
    let (list, mut bob) = (alice.get("/m/INBOX"), Browser::of(&daemon, "bob"));
    let page = alice.get(&list.link(">files<"));
    let form = alice.get(&page.link(">Forward"));
    assert_eq!(value(&form, "subject"), "Fwd: files");
    assert!(value(&form, "text").contains("Forwarded message ----------\nFrom: carl@far.test\nSubject: files\n\nthe text"));
    alice.write(&form, "send", &[("to", "bob")], &[]).shows("The message was sent.");
    let got = bob.open("Fwd: files");
    assert_eq!(bob.get(&got.link("a.pdf")).body, b"%PDF-");
    // The whole message as a file is there to the byte.
    let form = alice.get(&page.link("Forward as a file"));
    alice.write(&form, "send", &[("to", "bob"), ("subject", "whole")], &[]).shows("The message was sent.");
    let [_, whole] = &mail(&daemon, "bob")[..] else { panic!() };
    assert!(whole.contains("Content-Type: message/rfc822\r\n") && whole.contains(&original), "{whole}");
    // A message that is nothing but a file.
    let page = alice.get(&list.link(">only<"));
    let form = alice.get(&page.link(">Forward"));
    alice.write(&form, "send", &[("to", "bob")], &[]).shows("The message was sent.");
    let got = bob.open("Fwd: only");
    assert_eq!(bob.get(&got.link("b.pdf")).body, b"%PDF-only\r\n");
    let mut imap = daemon.imap("alice");
    imap.ok("SELECT INBOX").unwrap();
    assert!(imap.ok("FETCH 1:2 (FLAGS)").unwrap().iter().filter(|line| line.contains("$Forwarded")).count() == 2);
}

fn what_cannot_be_sent_stays_a_draft() {
    let daemon = Setup::default().start();
    let mut alice = Browser::of(&daemon, "alice");
    for (to, told) in [
        ("", "Nobody is named"),
        ("nobody@here.test", "There is nobody called nobody@here.test here."),
        ("a@@b", "is no address"),
        ("bob, <x y@z>", "is no address"),
    ] {
        let form = alice.get("/compose");
        let page =
            alice.write(&form, "send", &[("to", to), ("subject", "precious"), ("text", "words")], &[("f", "x/y", b"file")]);
        page.shows("It was not sent.").shows(told).shows("words").shows("precious");
        assert_eq!(page.fields().iter().filter(|(name, _)| name == "keep").count(), 1, "{to}");
        // Mended, it goes.
        let page = alice.write(&page, "send", &[("to", "bob")], &[]);
        page.shows("The message was sent.");
    }
    let messages = mail(&daemon, "bob");
    assert!(messages.len() == 4 && messages.iter().all(|message| message.contains("ZmlsZQ==")), "{messages:?}");
    alice.get("/m/Drafts").shows("There is no mail here.");
}

fn nothing_is_sent_or_lost_by_two_windows() {
    let daemon = Setup::default().start();
    let mut alice = Browser::of(&daemon, "alice");
    // Two clicks are one message.
    let form = alice.get("/compose");
    alice.write(&form, "send", &[("to", "bob"), ("subject", "once")], &[]).shows("The message was sent.");
    alice.write(&form, "send", &[("to", "bob"), ("subject", "once")], &[]).shows("it was not sent");
    assert_eq!(mail(&daemon, "bob").len(), 1);
    // Two windows on one draft: both texts are there.
    let form = alice.get("/compose");
    let draft = alice.write(&form, "save", &[("subject", "mine")], &[]);
    alice.write(&draft, "save", &[("text", "of the first window")], &[]).shows("The draft is saved.");
    let page = alice.write(&draft, "send", &[("to", "bob"), ("text", "of the second window")], &[]);
    page.shows("it was not sent").shows("of the second window");
    assert_eq!(mail(&daemon, "bob").len(), 1);
    let list = alice.get("/m/Drafts");
    assert_eq!(list.messages().len(), 3);
    list.shows("of the first window").shows("of the second window");
}

fn a_file_that_was_forgotten_is_asked_for() {
    let daemon = Setup::default().start();
    let mut alice = Browser::of(&daemon, "alice");
    let form = alice.get("/compose");
    let page = alice.write(&form, "send", &[("to", "bob"), ("text", "The tables are attached.")], &[]);
    page.shows("there is no file");
    assert_eq!((mail(&daemon, "bob").len(), value(&page, "text")), (0, "The tables are attached.\n".into()));
    // With a file, or when it is said once more, it goes; and what others wrote asks for nothing.
    alice.write(&page, "send", &[], &[]).shows("The message was sent.");
    let words = [("to", "bob"), ("text", "see the attachment")];
    let form = alice.get("/compose");
    alice.write(&form, "send", &words, &[("a.txt", "text/plain", b"a")]).shows("The message was sent.");
    let form = alice.get("/compose");
    let quoted = [("to", "bob"), ("text", "no\n> see the attachment\n---------- Forwarded message ----------\nattached\n")];
    alice.write(&form, "send", &quoted, &[]).shows("The message was sent.");
    assert_eq!(mail(&daemon, "bob").len(), 3);
}

fn forms_forge_nothing() {
    let daemon = Setup::default().start();
    let mut alice = Browser::of(&daemon, "alice");
    let form = alice.get("/compose");
    let evil = "x\r\nX-Evil: 1\r\n\r\nbody";
    let page = alice.write(
        &form,
        "send",
        &[("from", "bob@here.test"), ("to", "bob"), ("subject", evil)],
        &[("e\r\nX-Evil: 2.txt", "a/b\r\nX-Evil: 3", b"x")],
    );
    page.shows("The message was sent.");
    let [message] = &mail(&daemon, "bob")[..] else { panic!() };
    assert!(message.contains("\r\nFrom: alice@here.test\r\n") && !message.contains("\r\nX-Evil"), "{message}");
    // Without a token nothing is kept, whatever comes first.
    for token in ["", "x"] {
        let page = alice.try_write(&form, "save", &[("token", token), ("subject", "evil")], &[("f", "x/y", &[b'x'; 100_000])]);
        // It may be a page from before the last login: what was written is shown.
        assert_eq!(page.status, 403);
        assert!(page.text().contains("It was not sent.") && page.text().contains("value=\"evil\""));
    }
    alice.get("/m/Drafts").shows("There is no mail here.");
    // Parts of others' messages are not to be had.
    daemon.send(&["bob@here.test"], &letter("private", "text"));
    let mut bob = Browser::of(&daemon, "bob");
    let theirs = bob.get("/m/INBOX").messages().remove(0);
    let form = alice.get("/compose");
    let page = alice.try_write(&form, "save", &[("keep", &format!("INBOX/{theirs}"))], &[]);
    assert_eq!(page.status, 404);
    assert_eq!(alice.get("/compose?reply=x").status, 404);
    assert_eq!(alice.get("/compose?draft=1-1").status, 404);
    assert_eq!(alice.post("/compose", &[("token", "x")]).status, 415);
}

fn a_page_from_before_the_last_login_loses_nothing() {
    let daemon = Setup::default().start();
    let mut alice = Browser::of(&daemon, "alice");
    let form = alice.get("/compose");
    alice.write(&form, "save", &[("subject", "first"), ("text", "one")], &[("kept.txt", "text/plain", b"file")]);
    let draft = alice.get("/m/Drafts").messages().remove(0);
    let old = alice.get(&format!("/compose?draft={draft}"));
    let keep = old.attribute(&["name=\"keep\""], "value").unwrap();
    let mut alice = Browser::of(&daemon, "alice");
    let written = [("to", "bob"), ("subject", "first"), ("text", "two <b>"), ("keep", keep.as_str())];
    let page = alice.try_write(&old, "send", &written, &[("new.txt", "text/plain", b"new")]);
    assert_eq!(page.status, 403);
    assert!(["You have logged in again", "two &lt;b&gt;", "kept.txt"].iter().all(|part| page.text().contains(part)));
    assert_eq!(mail(&daemon, "bob").len(), 0);
    alice.write(&page, "send", &written, &[]).shows("The message was sent.");
    let [message] = &mail(&daemon, "bob")[..] else { panic!() };
    assert!(message.contains("two <b>") && message.contains("kept.txt"), "{message}");
    alice.get("/m/Drafts").shows("There is no mail here.");
}

fn a_user_sends_no_more_than_he_may() {
    let daemon = Setup::options(&["submission.per_hour=1", "smtp.max_message_size=100K"]).start();
    let mut alice = Browser::of(&daemon, "alice");
    let form = alice.get("/compose");
    let big = vec![b'x'; 90_000];
    let page = alice.write(&form, "send", &[("to", "bob")], &[("big", "x/y", &big)]);
    page.shows("It was not sent.").shows("too big");
    let page = alice.try_write(&form, "send", &[("to", "bob")], &[("big", "x/y", &[b'x'; 200_000])]);
    assert_eq!(page.status, 413);
    let form = alice.get("/compose");
    alice.write(&form, "send", &[("to", "bob")], &[]).shows("The message was sent.");
    let form = alice.get("/compose");
    let page = alice.write(&form, "send", &[("to", "bob"), ("text", "kept words")], &[]);
    page.shows("You have sent so much").shows("kept words");
    assert_eq!(mail(&daemon, "bob").len(), 1);
}
