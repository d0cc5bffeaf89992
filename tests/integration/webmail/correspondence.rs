//! How messages are sent, taken back, forwarded, and shown together.

use super::browser::{Browser, Page};
use super::compose::mail;
use crate::common::{Daemon, Setup, letter};

crate::tests![
    importance_and_reports_are_asked_for,
    what_waits_is_taken_back,
    a_message_leaves_no_sooner_and_no_later_than_may_be,
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

/// The fields of the form that takes a message back.
fn recall(page: &Page) -> [(&'static str, String); 2] {
    page.shows("The message waits to be sent.");
    ["id", "copy"].map(|name| (name, page.attribute(&["type=\"hidden\"", &format!("name=\"{name}\"")], "value").unwrap()))
}

fn what_waits_is_taken_back() {
    let daemon = Setup::default().start();
    let (mut alice, mut bob) = (Browser::of(&daemon, "alice"), Browser::of(&daemon, "bob"));
    alice.act("/settings", &[("do", "profile"), ("recall", "1")]).shows("checked");
    let send = |alice: &mut Browser| {
        let form = alice.get("/compose");
        let page = alice.write(
            &form,
            "send",
            &[("to", "bob"), ("subject", "too soon"), ("text", "hot words")],
            &[("f", "x/y", b"file")],
        );
        recall(&page)
    };
    let fields = send(&mut alice);
    let [(_, id), (_, copy)] = &fields;
    assert_eq!((mail(&daemon, "bob").len(), daemon.queue().len()), (0, 1));
    alice.get("/m/Sent").shows("too soon");
    // Nobody else takes it back, by any name of a message.
    let token = bob.token();
    assert_eq!(bob.post("/recall", &[("token", &token), ("id", id), ("copy", copy)]).status, 404);
    let form = bob.get("/compose");
    bob.write(&form, "send", &[("to", "bob"), ("subject", "own")], &[]);
    let own = bob.get("/m/Sent").messages().remove(0);
    let page = bob.act("/recall", &[("id", id), ("copy", &own)]);
    page.shows("It was too late");
    assert_eq!(alice.post("/recall", &[("id", id), ("copy", copy)]).status, 403);
    assert_eq!(daemon.queue().len(), 1);
    let draft = alice.act("/recall", &[("id", id), ("copy", copy)]);
    draft.shows("hot words");
    assert_eq!(draft.fields().iter().filter(|(name, _)| name == "keep").count(), 1);
    assert!(daemon.queue().is_empty() && mail(&daemon, "bob").len() == 1);
    alice.get("/m/Sent").lacks("too soon");
    alice.get("/m/Drafts").shows("too soon");
    // What has left stays sent.
    let fields = send(&mut alice);
    let [(_, id), (_, copy)] = &fields;
    assert!(daemon.ctl(&["queue", "remove", id]).status.success());
    alice.act("/recall", &[("id", id), ("copy", copy)]).shows("It was too late");
    alice.get("/m/Sent").shows("too soon");
}

fn a_message_leaves_no_sooner_and_no_later_than_may_be() {
    let daemon = Setup::default().start();
    let mut alice = Browser::of(&daemon, "alice");
    for (at, told) in [
        ("2020-01-01T09:00", "The time to send it is over."),
        ("2199-01-01T09:00", "A message can wait for 30 days at most."),
        ("soon", "The time to send it can"),
    ] {
        let form = alice.get("/compose");
        let page = alice.write(&form, "send", &[("to", "bob"), ("text", "kept"), ("at", at)], &[]);
        page.shows("It was not sent.").shows(told).shows("kept").shows(&format!("value=\"{at}\""));
    }
    assert!(mail(&daemon, "bob").is_empty() && daemon.queue().is_empty());
    let form = alice.get("/compose");
    let hour = std::process::Command::new("date").args(["-d", "+2 hours", "+%Y-%m-%dT%H:%M"]).output().unwrap();
    let hour = String::from_utf8(hour.stdout).unwrap();
    let page = alice.write(&form, "send", &[("to", "bob"), ("at", hour.trim())], &[]);
    let fields = recall(&page);
    assert_eq!((mail(&daemon, "bob").len(), daemon.queue().len()), (0, 1));
    alice.act("/recall", &[("id", &fields[0].1), ("copy", &fields[1].1)]);
    assert!(daemon.queue().is_empty());
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
