//! How messages are sent, forwarded, and shown together.

use super::browser::Browser;
use super::compose::mail;
use crate::common::{Daemon, Setup, letter};

crate::tests![
    importance_and_reports_are_asked_for,
    known_addresses_are_offered,
    mail_is_forwarded,
    forwarding_reaches_no_files_and_no_commands,
    conversations_are_shown_together,
];

fn importance_and_reports_are_asked_for() {
    let daemon = Setup::default().start();
    let mut alice = Browser::of(&daemon, "alice");
    let form = alice.get("/compose");
    let draft = alice.write(&form, "save", &[("to", "bob"), ("subject", "urgent"), ("importance", "high")], &[]);
    draft.shows("<option value=\"high\" selected>");
    alice.write(&draft, "send", &[("importance", "high"), ("report", "1")], &[]).shows("The message was sent.");
    let [got] = &mail(&daemon, "bob")[..] else { panic!() };
    assert!(got.contains("\r\nImportance: high\r\nX-Priority: 1 (Highest)\r\n"), "{got}");
    let [report] = &daemon.wait_for_mail("alice", 1, 30)[..] else { panic!() };
    let report = String::from_utf8_lossy(report);
    assert!(report.contains("Action: delivered"), "{report}");
    // Nobody who did not ask is told, and nothing else can be written there.
    let form = alice.get("/compose");
    alice
        .write(&form, "send", &[("to", "bob"), ("importance", "high\r\nBcc: evil@evil.test")], &[])
        .shows("The message was sent.");
    assert_eq!(mail(&daemon, "alice").len(), 1);
    assert!(!mail(&daemon, "bob")[1].contains("Importance") && !mail(&daemon, "bob")[1].contains("evil"));
}

fn known_addresses_are_offered() {
    let daemon = Setup::default().start();
    daemon.send(&["alice@here.test"], b"From: \"<b>\" <evil@sender.test>\r\nTo: alice@here.test\r\nSubject: x\r\n\r\ntext\r\n");
    let mut alice = Browser::of(&daemon, "alice");
    let form = alice.get("/compose");
    form.shows("list=\"known\"").shows("evil@sender.test").lacks("<b>").lacks("bob@here.test");
    alice.write(&form, "send", &[("to", "Bob <bob@here.test>, alice@here.test"), ("subject", "y")], &[]);
    let page = alice.get("/compose");
    page.shows("<option value=\"Bob &lt;bob@here.test&gt;\">").lacks("<option value=\"alice@here.test\">");
    Browser::of(&daemon, "bob").get("/compose").lacks("evil@sender.test");
}

fn counts(daemon: &Daemon) -> (usize, usize) {
    (mail(daemon, "alice").len(), mail(daemon, "bob").len())
}

fn mail_is_forwarded() {
    let mut daemon = Setup::default().start();
    let mut alice = Browser::of(&daemon, "alice");
    let page = alice.act("/settings", &[("do", "forward"), ("to", "bob@here.test"), ("keep", "1")]);
    page.shows("Mail is forwarded as you said.").shows("bob@here.test");
    daemon.send(&["alice@here.test"], &letter("both", "text"));
    assert_eq!(counts(&daemon), (1, 1));
    alice.act("/settings", &[("do", "forward"), ("to", "bob\r\n")]);
    daemon.kill();
    daemon.start();
    daemon.send(&["alice@here.test"], &letter("only there", "text"));
    assert_eq!(counts(&daemon), (1, 2));
    let mut alice = Browser::of(&daemon, "alice");
    alice.act("/settings", &[("do", "stay")]).shows("not forwarded any more");
    daemon.send(&["alice@here.test"], &letter("only here", "text"));
    assert_eq!(counts(&daemon), (2, 2));
}

fn forwarding_reaches_no_files_and_no_commands() {
    let daemon = Setup::default().start();
    let mut alice = Browser::of(&daemon, "alice");
    let token = alice.token();
    let trap = daemon.mailbox("alice").with_file_name("trap");
    let (file, command) = (trap.display().to_string(), format!("|touch {}", trap.display()));
    let many: String = (0..11).map(|number| format!("u{number}@far.test\n")).collect();
    for to in ["", "alice", "ALICE@here.test", "x y@far.test", &file, &command, ":include:/etc/passwd", "\\bob", "\"|x\"", &many]
    {
        let page = alice.post("/settings", &[("token", &token), ("do", "forward"), ("to", to), ("keep", "1")]);
        if page.status == 303 {
            // Taken for an address of somebody who is not there, at most.
            alice.act("/settings", &[("do", "stay")]);
        } else {
            assert_eq!(page.status, 422, "{to}: {}", page.text());
        }
    }
    let page = alice.post("/settings", &[("token", &token), ("do", "forward"), ("to", "\"|touch x\"@here.test"), ("keep", "1")]);
    assert!([303, 422].contains(&page.status));
    daemon.send(&["alice@here.test"], &letter("one", "text"));
    assert!(!trap.exists());
    assert_eq!(mail(&daemon, "alice").iter().filter(|message| message.contains("Subject: one")).count(), 1);
    assert_eq!(alice.post("/settings", &[("do", "forward"), ("to", "bob")]).status, 403);
}

fn conversations_are_shown_together() {
    let daemon = Setup::default().start();
    let write = |id: &str, more: &str, subject: &str, text: &str| {
        let head = format!(
            "From: Carl <c@far.test>\r\nTo: alice@here.test\r\nMessage-ID: <{id}@far.test>\r\n{more}Subject: {subject}\r\n\r\n"
        );
        daemon.send(&["alice@here.test"], format!("{head}{text}\r\n").as_bytes());
    };
    write("1", "", "lunch", "shall we?");
    write("2", "", "lunch", "of another one");
    let mut alice = Browser::of(&daemon, "alice");
    let first = alice.get("/m/INBOX").link("shall we?");
    let page = alice.get(&first);
    let form = alice.get(&page.link(">Reply"));
    alice.write(&form, "send", &[("to", "bob"), ("text", "yes, <b>gladly</b>")], &[]).shows("The message was sent.");
    write("3", "References: <1@far.test>\r\n", "Re: lunch", "where?");
    write("4", "In-Reply-To: <3@far.test>\r\n", "Re: lunch (changed)", "at the harbour");
    let page = alice.get(&first);
    let whole = alice.get(&page.link("Conversation"));
    whole.shows("4 messages").shows("shall we?").shows("yes, &lt;b&gt;gladly&lt;/b&gt;").shows("where?").shows("at the harbour");
    whole.lacks("of another one");
    let text = whole.text();
    assert!(text.find("shall we?") < text.find("gladly") && text.find("gladly") < text.find("at the harbour"));
    assert_eq!(text.matches("<details class=\"part\"").count(), 4);
    let other = alice.get("/m/INBOX").link("of another one");
    alice.get(&format!("{other}/conversation")).shows("1 message").lacks("shall we?");
    assert_eq!(alice.get("/m/INBOX/1-1/conversation").status, 404);
}
